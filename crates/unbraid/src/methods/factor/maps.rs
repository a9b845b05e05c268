//! One increasing map per feature, and how its parameters are learnt.
//!
//! A map is the soft quantile normalisation of [`crate::soft`] at its solution,
//!
//! ```text
//! T_i(z) = Σ_j q_ij softmax_j((g_ij − (x − y_j)²) / ε),   x = squash((z − μ_i) / σ_i),
//! b_i = softmax(F_i),
//! q_i = s_i + (t_i − s_i) [0, cumsum(softmax(R_i))]   (`pinned` to the least and largest value s_i, t_i of the feature)
//! q_i = cumsum(exp(R_i))                              (`free`).
//! ```
//!
//! | symbol | shape        | meaning                                              | field        |
//! |--------|--------------|------------------------------------------------------|--------------|
//! | μ, σ   | d            | mean and standard deviation of the inputs of the fit | `location`, `spread` |
//! | B      | d × m        | weights of the target quantiles, rows sum to 1       | `weights`    |
//! | Q      | d × m        | quantile values, increasing                          | `quantiles`  |
//! | G      | d × m        | potentials of the transport problem                  | `potentials` |
//! | F, R   | d × m, d × (m − 1) or d × m | what is learnt                        |              |
//!
//! Cuturi et al. (2020), sections 3.2 to 3.4: `cuturi2020`.

use ndarray::{Array2, ArrayView1};

use super::divergence::exp;
use crate::data::{Annotations, Column, Slot};
use crate::error::Result;
use crate::soft::{Layer, Squash};

/// How the quantile values of a map are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantiles {
    /// The first and last are the least and largest value of the feature.
    Pinned,
    /// All of them.
    Free,
}

crate::words!(Quantiles, "a rule for quantiles", Pinned = "pinned", Free = "free");

impl Quantiles {
    /// Length of a row of R for m levels.
    pub fn width(self, levels: usize) -> usize {
        match self {
            Quantiles::Pinned => levels - 1,
            Quantiles::Free => levels,
        }
    }

    /// q from a row of R, and how far it rises at each step: softmax(R) (`pinned`) or exp(R) (`free`); `range` is (s, t).
    pub fn values(self, r: &[f64], range: (f64, f64), rise: &mut [f64], q: &mut [f64]) {
        match self {
            Quantiles::Pinned => {
                softmax(r, rise);
                let (low, high) = range;
                q[0] = low;
                let mut sum = 0.0;
                for (value, rise) in q[1..].iter_mut().zip(&*rise) {
                    sum += *rise;
                    // Rounding must not lift a value above the largest.
                    *value = low + (high - low) * sum.min(1.0);
                }
            }
            Quantiles::Free => {
                rise.copy_from_slice(r);
                exp(rise, 0.0);
                let mut sum = 0.0;
                for (value, rise) in q.iter_mut().zip(&*rise) {
                    sum += *rise;
                    *value = sum;
                }
            }
        }
    }

    /// Cotangent of R from that of q, with `rise` as [`Quantiles::values`] left it.
    pub fn adjoint(self, rise: &[f64], range: (f64, f64), q_bar: &[f64], r_bar: &mut [f64]) {
        match self {
            Quantiles::Pinned => {
                // c_l = (t − s) Σ_{j > l} q̄_j,  R̄ = p ∘ (c − p·c),  p = softmax(R)
                let (mut tail, mut mean) = (0.0, 0.0);
                for l in (0..rise.len()).rev() {
                    tail += q_bar[l + 1];
                    r_bar[l] = (range.1 - range.0) * tail;
                    mean += rise[l] * r_bar[l];
                }
                r_bar.iter_mut().zip(rise).for_each(|(c, p)| *c = p * (*c - mean));
            }
            Quantiles::Free => {
                // R̄_l = exp(R_l) Σ_{j ≥ l} q̄_j
                let mut tail = 0.0;
                for l in (0..rise.len()).rev() {
                    tail += q_bar[l];
                    r_bar[l] = rise[l] * tail;
                }
            }
        }
    }
}

/// Softmax of `f` into `out`.
pub fn softmax(f: &[f64], out: &mut [f64]) {
    let top = f.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    out.copy_from_slice(f);
    exp(out, top);
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|o| *o /= sum);
}

/// F̄ = b ∘ (b̄ − b·b̄).
pub fn softmax_adjoint(b: &[f64], b_bar: &[f64], f_bar: &mut [f64]) {
    let mean: f64 = b.iter().zip(b_bar).map(|(b, c)| b * c).sum();
    f_bar.iter_mut().zip(b.iter().zip(b_bar)).for_each(|(f, (b, c))| *f = b * (c - mean));
}

/// One increasing map per feature.
#[derive(Clone, Debug)]
pub struct Maps {
    /// Targets, ε, squash.
    pub layer: Layer,
    /// μ: mean of the inputs of the fit, by feature.
    pub location: Vec<f64>,
    /// σ: their standard deviation.
    pub spread: Vec<f64>,
    /// B, d × m.
    pub weights: Array2<f64>,
    /// Q, d × m.
    pub quantiles: Array2<f64>,
    /// G, d × m.
    pub potentials: Array2<f64>,
}

impl Maps {
    /// Maps of `features` features, to be filled.
    pub fn new(layer: Layer, features: usize) -> Maps {
        let m = layer.levels();
        let table = || Array2::zeros((features, m));
        Maps {
            layer,
            location: vec![0.0; features],
            spread: vec![1.0; features],
            weights: table(),
            quantiles: table(),
            potentials: table(),
        }
    }

    /// T_i at the points `z`.
    pub fn evaluate(&self, feature: usize, z: &[f64], out: &mut [f64]) {
        let (g, q) = (row(self.potentials.row(feature)), row(self.quantiles.row(feature)));
        self.layer.evaluate(self.location[feature], self.spread[feature], &g, &q, z, out);
    }

    /// T_i(z) and its derivative in z, (2 / ε) Cov(q, y) dx/dz under the weights of the closed form.
    pub fn evaluate_with_slope(&self, feature: usize, z: f64) -> (f64, f64) {
        let (epsilon, targets) = (self.layer.epsilon(), self.layer.targets());
        let (x, rise) = squashed(self.layer.squash(), (z - self.location[feature]) / self.spread[feature]);
        let (g, q) = (self.potentials.row(feature), self.quantiles.row(feature));
        let logit = |j: usize| (g[j] - (x - targets[j]).powi(2)) / epsilon;
        let top = (0..targets.len()).map(logit).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut mean_q, mut mean_y, mut both) = (0.0, 0.0, 0.0, 0.0);
        for j in 0..targets.len() {
            let w = (logit(j) - top).exp();
            sum += w;
            mean_q += w * q[j];
            mean_y += w * targets[j];
            both += w * q[j] * targets[j];
        }
        let (mean_q, mean_y) = (mean_q / sum, mean_y / sum);
        (mean_q, 2.0 / epsilon * (both / sum - mean_q * mean_y) * rise / self.spread[feature])
    }

    /// A z with T_i(z) = `value`, within three standard deviations of the inputs of the fit: the map is increasing, and
    /// reaches its least and largest value only at infinity.
    pub fn invert(&self, feature: usize, value: f64) -> f64 {
        let (mu, sigma) = (self.location[feature], self.spread[feature]);
        let (mut low, mut high) = (mu - 3.0 * sigma, mu + 3.0 * sigma);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            match self.evaluate_with_slope(feature, middle).0 < value {
                true => low = middle,
                false => high = middle,
            }
        }
        0.5 * (low + high)
    }

    /// U with every row over the mean signal of its feature: a map takes any scale of it, so that only relative loadings
    /// compare features. Rows of features without signal are 0.
    pub fn relative(&self, loadings: &Array2<f64>) -> Array2<f64> {
        let mut out = loadings.clone();
        for (mut row, &mean) in out.rows_mut().into_iter().zip(&self.location) {
            row.mapv_inplace(|u| if mean > 0.0 { u / mean } else { 0.0 });
        }
        out
    }

    /// By feature, log₂ of the mean rise above the middle of the inputs over the mean rise below: above 0 where the map
    /// inflates high values, below 0 where it deflates them, 0 for a straight map. The inputs run over μ ± 2σ.
    pub fn stretch(&self) -> Vec<f64> {
        let mut t = [0.0; 3];
        (0..self.location.len())
            .map(|i| {
                let (mu, sigma) = (self.location[i], self.spread[i]);
                self.evaluate(i, &[mu - 2.0 * sigma, mu, mu + 2.0 * sigma], &mut t);
                let (below, above) = (t[1] - t[0], t[2] - t[1]);
                // A map that does not rise on one side has no ratio; the range of doubles bounds it.
                match below > 0.0 || above > 0.0 {
                    true => (above.max(f64::MIN_POSITIVE) / below.max(f64::MIN_POSITIVE)).log2(),
                    false => 0.0,
                }
            })
            .collect()
    }

    /// Writes the maps under their names; `which` is empty or `in_` (the first map of QMFQ).
    pub fn annotate(&self, out: &mut Annotations, key: &str, which: &str) {
        for (name, table) in
            [("quantiles", &self.quantiles), ("weights", &self.weights), ("potentials", &self.potentials)]
        {
            out.varm.insert(format!("{key}_{which}{name}"), Slot::F64(table.clone()));
        }
        let columns = [
            ("location", self.location.clone()),
            ("spread", self.spread.clone()),
            ("stretch", self.stretch()),
        ];
        for (name, values) in columns {
            out.var.insert(format!("{key}_{which}{name}"), Column::Float(values));
        }
    }
}

/// The squash of a value in standard units, and its derivative.
fn squashed(squash: Squash, z: f64) -> (f64, f64) {
    let logistic = |rate: f64| {
        let x = 1.0 / (1.0 + (-rate * z).exp());
        (x, rate * x * (1.0 - x))
    };
    match squash {
        Squash::Logistic => logistic(std::f64::consts::PI / 3f64.sqrt()),
        Squash::LogisticUnitStd => logistic(1.0),
        Squash::Arctan => {
            (0.5 + z.atan() / std::f64::consts::PI, 1.0 / (std::f64::consts::PI * (1.0 + z * z)))
        }
        Squash::None => (z, 1.0),
    }
}

fn row(view: ArrayView1<'_, f64>) -> Vec<f64> {
    view.to_vec()
}

/// Whether the best of an objective fell by less than `tol` of itself over the last `window` values; never with `tol` 0.
pub fn settled(objective: &[f64], window: usize, tol: f64) -> bool {
    let least = |o: &[f64]| o.iter().copied().fold(f64::INFINITY, f64::min);
    match objective.len().checked_sub(window) {
        Some(before) if before > 0 && tol > 0.0 => {
            let (old, new) = (least(&objective[..before]), least(objective));
            old - new <= tol * old.abs()
        }
        _ => false,
    }
}

/// The layer of both methods, refusing what only the bare operators accept.
///
/// # Errors
/// [`crate::Error::Param`] for fewer than two levels or an ε that is not positive.
pub fn layer(levels: usize, epsilon: f64, squash: Squash, accuracy: f64) -> Result<Layer> {
    if levels < 2 {
        let rule = "at least 2: a map with one quantile is a constant";
        return Err(crate::Error::Param { name: "levels", found: levels.to_string(), rule });
    }
    if !(accuracy > 0.0 && accuracy <= 0.1) {
        let rule = "above 0 and at most 0.1";
        return Err(crate::Error::Param { name: "accuracy", found: accuracy.to_string(), rule });
    }
    Ok(Layer::new(levels, epsilon, squash)?.with_tol(accuracy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjoints_of_the_quantiles_match_finite_differences() {
        let r = [0.3, -0.4, 1.1, 0.2];
        for rule in [Quantiles::Pinned, Quantiles::Free] {
            let m = if rule == Quantiles::Pinned { 5 } else { 4 };
            assert_eq!(rule.width(m), 4);
            let cotangent: Vec<f64> = (0..m).map(|j| (j as f64 + 1.3).sin()).collect();
            let value = |r: &[f64]| {
                let (mut q, mut rise) = (vec![0.0; m], vec![0.0; 4]);
                rule.values(r, (0.5, 3.0), &mut rise, &mut q);
                q.iter().zip(&cotangent).map(|(q, c)| q * c).sum::<f64>()
            };
            let (mut q, mut rise, mut r_bar) = (vec![0.0; m], [0.0; 4], [0.0; 4]);
            rule.values(&r, (0.5, 3.0), &mut rise, &mut q);
            rule.adjoint(&rise, (0.5, 3.0), &cotangent, &mut r_bar);
            for l in 0..4 {
                let (mut up, mut down) = (r, r);
                (up[l], down[l]) = (r[l] + 1e-6, r[l] - 1e-6);
                let slope = (value(&up) - value(&down)) / 2e-6;
                assert!((slope - r_bar[l]).abs() < 1e-8, "{rule} {l}");
            }
        }
    }

    #[test]
    fn pinned_quantiles_end_where_the_feature_does() {
        let mut q = [0.0; 4];
        Quantiles::Pinned.values(&[0.0, 3.0, -1.0], (2.0, 7.0), &mut [0.0; 3], &mut q);
        assert!(
            q[0] == 2.0 && (q[3] - 7.0).abs() < 1e-14 && q[3] <= 7.0 && q.windows(2).all(|w| w[0] < w[1])
        );
    }

    #[test]
    fn slopes_and_inverses_are_those_of_the_map() {
        for squash in [Squash::Logistic, Squash::LogisticUnitStd, Squash::Arctan, Squash::None] {
            let mut maps = Maps::new(Layer::new(5, 0.05, squash).unwrap(), 1);
            (maps.location[0], maps.spread[0]) = if squash == Squash::None { (0.0, 1.0) } else { (1.0, 0.7) };
            maps.potentials.row_mut(0).assign(&ndarray::arr1(&[0.01, -0.02, 0.0, 0.03, -0.02]));
            maps.quantiles.row_mut(0).assign(&ndarray::arr1(&[0.0, 1.0, 1.5, 4.0, 9.0]));
            for z in [0.2, 0.5, 0.9] {
                let (t, slope) = maps.evaluate_with_slope(0, z);
                let mut near = [0.0; 3];
                maps.evaluate(0, &[z - 1e-6, z, z + 1e-6], &mut near);
                assert!((near[1] - t).abs() < 1e-12, "{squash}");
                assert!(((near[2] - near[0]) / 2e-6 - slope).abs() < 1e-6 * (1.0 + slope), "{squash}");
                assert!((maps.invert(0, t) - z).abs() < 1e-9, "{squash}");
            }
        }
    }
}
