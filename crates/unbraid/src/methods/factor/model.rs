//! A fitted factorisation on new samples.
//!
//! With U and the maps as stored, a new sample x of d values gets
//!
//! ```text
//! nmf:   v = argmin D(x ‖ U v),                                    x̂ = U v
//! qmfq:  x′_i = T′_i(x_i),   v = argmin Δ(x′ ‖ U v),               x̂_i = T_i((U v)_i)
//! qmf:   v = argmin D(x ‖ T(U v)),                                 x̂_i = T_i((U v)_i)
//! ```
//!
//! over v ≥ 0, Δ what the projector makes small (with `svd` least squares over all v). The first two minimisations are
//! convex: multiplicative rounds on v from one start. The last is not; it is
//! started where the maps, inverted one by one, ask for z_i = T_i⁻¹(x_i) (least squares in units of the spreads), and
//! descends in log v from there. A value outside the range of the fit goes to the end of its map: T saturates.
//!
//! On its own samples a fit of `qmfq` gives its own scores; one of `nmf` up to its `tol`; one of `qmf` another local
//! minimum, as good or nearly so. Cuturi et al. (2020), section 3.4: `cuturi2020`.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use super::common::{Loss, TINY};
use super::maps::Maps;
use super::nmf::NmfFit;
use super::qmf::QmfFit;
use super::qmfq::{Projector, QmfqFit};
use crate::error::{Error, Result};
use crate::linalg::cholesky::Cholesky;
use crate::linalg::{gram, settle};

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
    /// What scores make small where that is not `loss` behind the maps: Δ.
    pub projector: Projector,
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
    /// The same of each sample; 0 for one without any.
    pub losses: Vec<f64>,
}

impl From<NmfFit> for Model {
    fn from(fit: NmfFit) -> Model {
        let projector = if fit.loss == Loss::Kl { Projector::Kl } else { Projector::Frobenius };
        Model { loss: fit.loss, projector, loadings: fit.loadings, input_maps: None, maps: None }
    }
}

impl From<QmfFit> for Model {
    fn from(fit: QmfFit) -> Model {
        let (projector, maps) = (Projector::Frobenius, Some(fit.maps));
        Model { loss: fit.loss, projector, loadings: fit.loadings, input_maps: None, maps }
    }
}

impl From<QmfqFit> for Model {
    fn from(fit: QmfqFit) -> Model {
        let (input_maps, maps) = (Some(fit.input_maps), Some(fit.maps));
        Model { loss: fit.loss, projector: fit.projector, loadings: fit.loadings, input_maps, maps }
    }
}

impl Model {
    /// Scores and reconstruction of new samples, `x` d × n; NaN is a missing entry, which takes no part and is predicted.
    ///
    /// # Errors
    /// [`Error::Shape`] where the features are not those of the fit, [`Error::Value`] for a value that is negative or
    /// infinite.
    pub fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Applied> {
        let d = self.loadings.nrows();
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
        let v = match (&self.input_maps, &self.maps) {
            (Some(first), _) => {
                scores(self.projector, self.normalised(first, x).view(), self.loadings.view())?
            }
            (None, Some(maps)) => self.each(x, |x| self.descend(maps, x)),
            (None, None) => scores(self.projector, x, self.loadings.view())?,
        };
        let fitted = self.each(v.view(), |v| self.reconstruct(v));
        let mut out = Applied {
            scores: v.t().as_standard_layout().into_owned(),
            reconstruction: fitted,
            divergence: 0.0,
            losses: vec![0.0; x.ncols()],
        };
        let (mut sum, mut count) = (0.0, 0usize);
        for (j, mean) in out.losses.iter_mut().enumerate() {
            let pairs =
                out.reconstruction.column(j).into_iter().zip(x.column(j)).filter(|(_, x)| !x.is_nan());
            let (own, seen) = pairs.fold((0.0, 0usize), |(s, c), (&t, &x)| (s + self.loss.of(x, t), c + 1));
            *mean = own / seen.max(1) as f64;
            (sum, count) = (sum + own, count + seen);
        }
        out.divergence = sum / count.max(1) as f64;
        Ok(out)
    }

    /// By feature, how many of the new values lie outside what its map can give, which for pinned quantiles is the range
    /// of the table of the fit; nothing without maps.
    pub fn outside(&self, x: ArrayView2<'_, f64>) -> Vec<usize> {
        let Some(maps) = &self.maps else { return vec![0; x.nrows()] };
        let beyond = |(row, q): (ArrayView1<'_, f64>, ArrayView1<'_, f64>)| {
            let (low, high) = (q[0], q[q.len() - 1]);
            let slack = 1e-9 * (high - low) + 1e-12 * high.abs();
            row.iter().filter(|v| **v < low - slack || **v > high + slack).count()
        };
        x.rows().into_iter().zip(maps.quantiles.rows()).map(beyond).collect()
    }

    /// A column computed from each column of `x`, side by side.
    fn each(&self, x: ArrayView2<'_, f64>, f: impl Fn(&[f64]) -> Vec<f64> + Sync) -> Array2<f64> {
        columns((0..x.ncols()).into_par_iter().map(|j| {
            settle();
            f(&x.column(j).to_vec())
        }))
    }

    /// X′ = T′(X).
    fn normalised(&self, first: &Maps, x: ArrayView2<'_, f64>) -> Array2<f64> {
        self.each(x, |x| {
            let mut inner = vec![f64::NAN; x.len()];
            for (i, &v) in x.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                first.evaluate(i, &[v], &mut inner[i..i + 1]);
            }
            inner
        })
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

/// Columns of equal length as a matrix.
fn columns(made: impl IndexedParallelIterator<Item = Vec<f64>>) -> Array2<f64> {
    let made: Vec<Vec<f64>> = made.collect();
    let rows = made.first().map_or(0, Vec::len);
    Array2::from_shape_fn((rows, made.len()), |(i, j)| made[j][i])
}

/// V (k × n) beside a fixed U for the columns of X′ (d × n, NaN = missing).
///
/// # Errors
/// [`Error::Numeric`] for `svd` where the measured features do not tell the factors apart.
pub(super) fn scores(
    projector: Projector,
    x: ArrayView2<'_, f64>,
    u: ArrayView2<'_, f64>,
) -> Result<Array2<f64>> {
    let loss = match projector {
        Projector::Kl => Loss::Kl,
        Projector::Frobenius => Loss::Frobenius,
        Projector::Svd => return least_squares(x, u),
    };
    Ok(columns((0..x.ncols()).into_par_iter().map(|j| {
        settle();
        project(loss, &x.column(j).to_vec(), u)
    })))
}

/// v = (UᵀU)⁻¹ Uᵀ x over the measured features of each column.
fn least_squares(x: ArrayView2<'_, f64>, u: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let why =
        "the measured features do not tell the factors apart; choose a smaller k, or measure more of them";
    let normal = |u: ArrayView2<'_, f64>| {
        let what = "the least squares of the scores";
        Cholesky::new(gram(u.t()).view()).ok_or(Error::Numeric { what, why: why.into() })
    };
    let whole = normal(u)?;
    let mut out = Array2::zeros((u.ncols(), x.ncols()));
    for (j, x) in x.columns().into_iter().enumerate() {
        let seen: Vec<usize> = (0..x.len()).filter(|&i| !x[i].is_nan()).collect();
        let own = if seen.len() < x.len() { Some(normal(u.select(Axis(0), &seen).view())?) } else { None };
        let right = |l: usize| seen.iter().map(|&i| u[[i, l]] * x[i]).sum();
        let v = own.as_ref().unwrap_or(&whole).solve(&(0..u.ncols()).map(right).collect::<Vec<f64>>());
        out.column_mut(j).iter_mut().zip(v).for_each(|(to, v)| *to = v);
    }
    Ok(out)
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
        let again = Model::from(fit.clone()).transform(x.view()).unwrap();
        let gap = (&again.scores - &fit.scores).fold(0.0, |m: f64, g| m.max(g.abs()));
        assert!(gap <= 1e-6 * fit.scores.fold(0.0, |m: f64, v| m.max(*v)), "{gap}");
        assert!((again.divergence - fit.divergence).abs() < 1e-6 * fit.divergence);
        let mean = again.losses.iter().sum::<f64>() / again.losses.len() as f64;
        assert!((mean - again.divergence).abs() < 1e-12 * mean);
        // The factors of the decomposition may be negative.
        let svd = Qmfq { projector: Projector::Svd, ..common };
        let fit = svd.fit(input, &mut Ctx::new(Seed(1), &mut no)).unwrap();
        let again = Model::from(fit.clone()).transform(x.view()).unwrap();
        let gap = (&again.scores - &fit.scores).fold(0.0, |m: f64, g| m.max(g.abs()));
        assert!(gap <= 1e-6 * fit.scores.fold(0.0, |m: f64, v| m.max(v.abs())), "{gap}");
        let own = Qmf { k: 3, levels: 8, max_steps: 400, ..Qmf::default() };
        let fit = own.fit(input, &mut Ctx::new(Seed(1), &mut no)).unwrap();
        let again = Model::from(fit.clone()).transform(x.view()).unwrap();
        assert!(again.divergence < 1.1 * fit.divergence, "{} {}", again.divergence, fit.divergence);
    }

    #[test]
    fn missing_entries_are_predicted_and_odd_ones_refused() {
        let mut rng = Seed(5).stream(Draw::Simulate, 0);
        let mut draw = |n, m| Array2::from_shape_simple_fn((n, m), || rng.random::<f64>() + 0.1);
        let (u, v) = (draw(20, 2), draw(2, 4));
        let truth = matmul(u.view(), v.view());
        let model =
            Model { loss: Loss::Kl, projector: Projector::Kl, loadings: u, input_maps: None, maps: None };
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
