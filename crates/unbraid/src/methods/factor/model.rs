//! A fitted factorisation on new samples.
//!
//! With U and the maps as stored, a new sample x of d values gets
//!
//! ```text
//! nmf:   v = argmin D(x ‖ U v),                                    x̂ = U v
//! qmfq:  x′_i = T′_i(x_i),   v = argmin D(x′ ‖ U v),               x̂_i = T_i((U v)_i)
//! qmf:   v = argmin D(x ‖ T(U v)),                                 x̂_i = T_i((U v)_i)
//! ```
//!
//! over v ≥ 0. The first two minimisations are convex: multiplicative rounds on v from one start. The last is not; it is
//! started where the maps, inverted one by one, ask for z_i = T_i⁻¹(x_i) (least squares in units of the spreads), and
//! descends in log v from there. A value outside the range of the fit goes to the end of its map: T saturates.
//!
//! On the samples of the fit, `qmfq` gives the fit itself up to the rounds on v, which here run to convergence.
//! Cuturi et al. (2020), section 3.4: `cuturi2020`.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::common::{Loss, TINY};
use super::maps::Maps;
use crate::error::{Error, Result};
use crate::linalg::settle;

/// Rounds on v, and the relative change that ends them.
const ROUNDS: usize = 500;
const CHANGE: f64 = 1e-8;
/// Descents of `qmf` in log v: the most, and the relative decrease over ten that ends them.
const DESCENTS: usize = 400;
const DECREASE: f64 = 1e-6;

/// What new samples need of a fit.
#[derive(Clone, Debug)]
pub struct Model {
    /// What was made small.
    pub loss: Loss,
    /// U, d × k.
    pub loadings: Array2<f64>,
    /// T′ of QMFQ.
    pub input_maps: Option<Maps>,
    /// T of QMF and QMFQ.
    pub maps: Option<Maps>,
}

/// New samples in terms of a fit.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Vᵀ, n × k.
    pub scores: Array2<f64>,
    /// X̂, d × n.
    pub reconstruction: Array2<f64>,
    /// Mean divergence over the measured entries.
    pub divergence: f64,
}

impl Model {
    /// Scores and reconstruction of new samples, `x` d × n; NaN is a missing entry, which takes no part and is predicted.
    ///
    /// # Errors
    /// [`Error::Shape`] where the features are not those of the fit, [`Error::Value`] for a value that is negative or
    /// infinite.
    pub fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Applied> {
        let (d, k) = self.loadings.dim();
        if x.nrows() != d || x.ncols() == 0 {
            let (what, found) = ("the new samples".into(), vec![x.ncols(), x.nrows()]);
            return Err(Error::Shape { what, found, rule: "at least one sample of the features of the fit" });
        }
        if let Some(((i, j), &found)) =
            x.indexed_iter().find(|(_, v)| !(**v >= 0.0 && v.is_finite() || v.is_nan()))
        {
            let rule = "finite and 0 or larger, as the table of the fit";
            return Err(Error::Value { what: "the new samples".into(), found, at: (j, i), rule });
        }
        let samples: Vec<(Vec<f64>, Vec<f64>)> = (0..x.ncols())
            .into_par_iter()
            .map(|j| {
                settle();
                let x: Vec<f64> = x.column(j).to_vec();
                let v = self.scores(&x);
                let fitted = self.reconstruct(&v);
                (v, fitted)
            })
            .collect();
        let mut out = Applied {
            scores: Array2::zeros((x.ncols(), k)),
            reconstruction: Array2::zeros(x.dim()),
            divergence: 0.0,
        };
        let (mut sum, mut count) = (0.0, 0usize);
        for (j, (v, fitted)) in samples.into_iter().enumerate() {
            for (i, (&t, &x)) in fitted.iter().zip(x.column(j)).enumerate() {
                out.reconstruction[[i, j]] = t;
                if !x.is_nan() {
                    sum += self.loss.of(x, t);
                    count += 1;
                }
            }
            out.scores.row_mut(j).iter_mut().zip(v).for_each(|(to, v)| *to = v);
        }
        out.divergence = sum / count.max(1) as f64;
        Ok(out)
    }

    fn scores(&self, x: &[f64]) -> Vec<f64> {
        match (&self.input_maps, &self.maps) {
            (Some(first), _) => {
                // x′ = T′(x)
                let mut inner = vec![f64::NAN; x.len()];
                for (i, &v) in x.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                    first.evaluate(i, &[v], &mut inner[i..i + 1]);
                }
                project(self.loss, &inner, self.loadings.view())
            }
            (None, Some(maps)) => self.descend(maps, x),
            (None, None) => project(self.loss, x, self.loadings.view()),
        }
    }

    /// x̂ of scores v.
    fn reconstruct(&self, v: &[f64]) -> Vec<f64> {
        let z = product(self.loadings.view(), v);
        let Some(maps) = &self.maps else { return z };
        let mut out = vec![0.0; z.len()];
        (0..z.len()).for_each(|i| maps.evaluate(i, &z[i..i + 1], &mut out[i..i + 1]));
        out
    }

    /// v of QMF: a start from the inverted maps, then descent of the whole loss in log v.
    fn descend(&self, maps: &Maps, x: &[f64]) -> Vec<f64> {
        let (d, k) = self.loadings.dim();
        // z_i / σ_i ≈ (U v)_i / σ_i, the features that vary only
        let mut target = vec![f64::NAN; d];
        let mut rows = self.loadings.clone();
        for i in 0..d {
            if !x[i].is_nan() && self.loadings.row(i).iter().any(|u| *u > 0.0) {
                target[i] = (maps.invert(i, x[i]) / maps.spread[i]).max(0.0);
                rows.row_mut(i).mapv_inplace(|u| u / maps.spread[i]);
            }
        }
        let start = project(Loss::Frobenius, &target, rows.view());
        let top = start.iter().copied().fold(0.0, f64::max).max(TINY);
        // Not nearer to 0 than this: there the slope in log v vanishes, and a factor would stay away for good.
        let mut log: Vec<f64> = start.iter().map(|v| v.max(0.05 * top).ln()).collect();
        let objective = |log: &[f64], slope: Option<&mut [f64]>| -> f64 {
            let v: Vec<f64> = log.iter().map(|l| l.exp()).collect();
            let z = product(self.loadings.view(), &v);
            let mut sum = 0.0;
            let mut bar = vec![0.0; k];
            for i in (0..d).filter(|&i| !x[i].is_nan()) {
                let (t, rise) = maps.evaluate_with_slope(i, z[i]);
                sum += self.loss.of(x[i], t);
                let cot = self.loss.slope(x[i], t) * rise;
                bar.iter_mut().zip(self.loadings.row(i)).for_each(|(b, u)| *b += cot * u);
            }
            if let Some(slope) = slope {
                slope.iter_mut().zip(&bar).zip(&v).for_each(|((s, b), v)| *s = b * v);
            }
            sum
        };
        // Steepest descent with steps of Barzilai and Borwein, each held to a decrease.
        let mut slope = vec![0.0; k];
        let mut value = objective(&log, Some(&mut slope));
        let mut rate = 0.1 / slope.iter().fold(0.0, |m: f64, s| m.max(s.abs())).max(TINY);
        let mut history = vec![value];
        for _ in 0..DESCENTS {
            let norm: f64 = slope.iter().map(|s| s * s).sum();
            if norm <= TINY {
                break;
            }
            let mut next = None;
            for _ in 0..30 {
                let moved: Vec<f64> =
                    log.iter().zip(&slope).map(|(l, s)| l - (rate * s).clamp(-2.0, 2.0)).collect();
                if objective(&moved, None) < value {
                    next = Some(moved);
                    break;
                }
                rate *= 0.3;
            }
            let Some(moved) = next else { break };
            let mut turned = vec![0.0; k];
            value = objective(&moved, Some(&mut turned));
            let (mut far, mut turn) = (0.0, 0.0);
            for l in 0..k {
                let (a, b) = (moved[l] - log[l], turned[l] - slope[l]);
                far += a * a;
                turn += a * b;
            }
            rate = if turn > 0.0 { (far / turn).min(1e3 * rate) } else { 2.0 * rate };
            (log, slope) = (moved, turned);
            history.push(value);
            if let [.., old, _, _, _, _, _, _, _, _, _, new] = history[..]
                && old - new <= DECREASE * old.abs()
            {
                break;
            }
        }
        log.iter().map(|l| l.exp()).collect()
    }
}

/// U v.
fn product(u: ArrayView2<'_, f64>, v: &[f64]) -> Vec<f64> {
    u.rows().into_iter().map(|row| row.iter().zip(v).map(|(u, v)| u * v).sum()).collect()
}

/// argmin over v ≥ 0 of D(x ‖ U v) by multiplicative rounds on v; NaN in x takes no part.
fn project(loss: Loss, x: &[f64], u: ArrayView2<'_, f64>) -> Vec<f64> {
    let k = u.ncols();
    let seen: Vec<usize> = (0..x.len()).filter(|&i| !x[i].is_nan()).collect();
    let (rows, x): (Array2<f64>, Vec<f64>) = (u.select(Axis(0), &seen), seen.iter().map(|&i| x[i]).collect());
    let total: Array1<f64> = rows.sum_axis(Axis(0));
    let level = x.iter().sum::<f64>() / total.sum().max(TINY);
    let mut v = vec![level; k];
    for _ in 0..ROUNDS {
        let z = product(rows.view(), &v);
        let (mut above, mut below) = (vec![0.0; k], vec![0.0; k]);
        for ((row, &z), &x) in rows.rows().into_iter().zip(&z).zip(&x) {
            let (a, b) = match loss {
                Loss::Kl => (x / (z + TINY), 1.0),
                Loss::Frobenius => (x, z),
            };
            for l in 0..k {
                above[l] += row[l] * a;
                below[l] += row[l] * b;
            }
        }
        let (mut moved, mut size) = (0.0, 0.0);
        for l in 0..k {
            let new = v[l] * above[l] / (below[l] + TINY);
            moved += (new - v[l]).abs();
            size += new;
            v[l] = new;
        }
        if moved <= CHANGE * size {
            break;
        }
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Values};
    use crate::fit::{Ctx, Draw, Method, Seed};
    use crate::linalg::matmul;
    use crate::methods::factor::common::Nonnegative;
    use crate::methods::factor::qmf::Qmf;
    use crate::methods::factor::qmfq::Qmfq;
    use rand::RngExt;

    fn table() -> (Matrix, Array2<f64>) {
        let mut rng = Seed(3).stream(Draw::Simulate, 0);
        let mut draw = |n, m| Array2::from_shape_simple_fn((n, m), || rng.random::<f64>().powi(2));
        let (u, v) = (draw(30, 3), draw(3, 25));
        // An increasing map of a table of rank 3.
        let x = matmul(u.view(), v.view()).mapv(|z| (2.0 * z).exp());
        (Matrix::Dense(x.t().as_standard_layout().into_owned()), x)
    }

    #[test]
    fn samples_of_the_fit_are_fitted_again() {
        let (matrix, x) = table();
        let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
        let mut no = ();
        let common = Qmfq { k: 3, levels: 8, max_steps: 60, ..Qmfq::default() };
        let fit = common.fit(input, &mut Ctx::new(Seed(1), &mut no)).unwrap();
        let (input_maps, maps) = (Some(fit.input_maps), Some(fit.maps));
        let model = Model { loss: fit.loss, loadings: fit.loadings, input_maps, maps };
        let again = model.transform(x.view()).unwrap();
        assert!(again.divergence < 1.05 * fit.divergence, "{} {}", again.divergence, fit.divergence);
        let own = Qmf { k: 3, levels: 8, max_steps: 400, ..Qmf::default() };
        let fit = own.fit(input, &mut Ctx::new(Seed(1), &mut no)).unwrap();
        let model = Model { loss: fit.loss, loadings: fit.loadings, input_maps: None, maps: Some(fit.maps) };
        let again = model.transform(x.view()).unwrap();
        assert!(again.divergence < 1.1 * fit.divergence, "{} {}", again.divergence, fit.divergence);
    }

    #[test]
    fn missing_entries_are_predicted_and_odd_ones_refused() {
        let mut rng = Seed(5).stream(Draw::Simulate, 0);
        let mut draw = |n, m| Array2::from_shape_simple_fn((n, m), || rng.random::<f64>() + 0.1);
        let (u, v) = (draw(20, 2), draw(2, 4));
        let truth = matmul(u.view(), v.view());
        let model = Model { loss: Loss::Kl, loadings: u, input_maps: None, maps: None };
        let mut x = truth.clone();
        x[[3, 1]] = f64::NAN;
        let found = model.transform(x.view()).unwrap();
        assert!((found.reconstruction[[3, 1]] - truth[[3, 1]]).abs() < 1e-3 * truth[[3, 1]]);
        x[[2, 0]] = -1.0;
        assert!(model.transform(x.view()).unwrap_err().to_string().contains("row 0, column 2"));
        assert!(
            model
                .transform(x.slice(ndarray::s![..5, ..]))
                .unwrap_err()
                .to_string()
                .contains("features of the fit")
        );
    }
}
