//! What the factorisations share: the divergences, the view of a table they read, the slots they write.

use ndarray::{Array2, ArrayView2};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::data::{Annotations, Matrix, Missing, Slot, Value, Values};
use crate::error::{Error, Result};
use crate::fit::{Check, Ctx, Stop};
use crate::methods::factor::divergence::dispatch;

/// What is made small between a table X and its reconstruction Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Generalised Kullback–Leibler divergence, Σ x log(x / z) − x + z.
    Kl,
    /// Squared error, ½ Σ (x − z)².
    Frobenius,
}

crate::words!(Loss, "a loss", Kl = "kl", Frobenius = "frobenius");

/// Added to both arguments of the logarithm, so that zeros have a finite divergence (Cuturi et al. 2020, code).
pub const TINY: f64 = 1e-20;

impl Loss {
    /// The loss of one entry.
    #[inline]
    pub fn of(self, x: f64, z: f64) -> f64 {
        match self {
            // 0 log 0 counts as 0.
            Loss::Kl if x == 0.0 => z,
            Loss::Kl => x * ((x + TINY) / (z + TINY)).ln() - x + z,
            Loss::Frobenius => 0.5 * (x - z) * (x - z),
        }
    }
    /// Its derivative in z.
    #[inline]
    pub fn slope(self, x: f64, z: f64) -> f64 {
        match self {
            Loss::Kl => 1.0 - x / (z + TINY),
            Loss::Frobenius => z - x,
        }
    }
}

/// A table of values that are not negative; NaN is a missing entry where that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Nonnegative<'a> {
    /// Samples × features.
    pub values: Values<'a>,
    /// How NaN is read.
    pub missing: Missing,
    /// Which table or group each feature belongs to, for maps tied within groups.
    pub groups: Option<&'a [Option<u32>]>,
}

impl<'a> Nonnegative<'a> {
    /// A table without missing entries or groups.
    pub fn new(values: Values<'a>) -> Self {
        Nonnegative { values, missing: Missing::Error, groups: None }
    }
}

impl Check for Nonnegative<'_> {
    /// At least one row and column; every value finite and not negative, or NaN where NaN is missing; no row or
    /// column without any measured value; some value above 0.
    fn check(&self) -> Result<()> {
        let (what, matrix) = (self.values.what, self.values.matrix);
        let (n, m) = matrix.shape();
        if n == 0 || m == 0 {
            return Err(Error::Shape { what: what.into(), found: vec![n, m], rule: "at least 1 × 1" });
        }
        // Most tables are clean throughout, which is seen at the speed of memory.
        let clean = |x: &[f64]| {
            let both = |a: (bool, f64), b: (bool, f64)| (a.0 & b.0, a.1.max(b.1));
            x.par_chunks(1 << 15).map(|values| dispatch(Clean { values })).reduce(|| (true, 0.0), both)
        };
        let (ok, top) = match matrix {
            Matrix::Dense(x) => x.as_slice().map_or((false, 0.0), clean),
            Matrix::Sparse(x) => clean(x.values()),
        };
        if ok && top > 0.0 {
            return Ok(());
        }
        let mut odd = None;
        let (mut absent, mut positive) = (Vec::new(), false);
        matrix.for_each_nonzero(|i, j, v| {
            if self.missing == Missing::Nan && v.is_nan() {
                absent.push((i, j));
            } else if odd.is_none() && !(v.is_finite() && v >= 0.0) {
                odd = Some(((i, j), v));
            }
            positive |= v > 0.0;
        });
        if let Some((at, found)) = odd {
            let rule = match found {
                v if v.is_nan() => "a number; `--set missing=nan` takes NaN as a missing entry",
                v if v < 0.0 => "0 or larger; shift the table, or use log1p of counts",
                _ => "finite",
            };
            return Err(Error::Value { what: what.into(), found, at, rule });
        }
        if !positive {
            let what = format!("a value above 0 in {what}");
            return Err(Error::Missing { what, hint: "there is nothing to fit".into() });
        }
        for (axis, length, other) in [("row", n, m), ("column", m, n)] {
            let mut count = vec![0usize; length];
            absent.iter().for_each(|&(i, j)| count[if axis == "row" { i } else { j }] += 1);
            let at: Vec<usize> = (0..length).filter(|&i| count[i] == other).collect();
            if !at.is_empty() {
                let problem = "holds no measured value";
                return Err(Error::Line { what: what.into(), axis, at, problem, hint: "drop it".into() });
            }
        }
        Ok(())
    }

    fn digest(&self, hash: &mut Sha256) {
        self.values.digest(hash);
        hash.update(self.missing.to_string());
        for group in self.groups.into_iter().flatten() {
            hash.update(group.map_or(u64::MAX, u64::from).to_le_bytes());
        }
    }
}

/// Whether all values are finite and 0 or larger, and the largest.
struct Clean<'a> {
    values: &'a [f64],
}

impl WithSimd for Clean<'_> {
    type Output = (bool, f64);
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (bool, f64) {
        let (zero, most) = (simd.splat_f64s(0.0), simd.splat_f64s(f64::MAX));
        let (mut odd, mut top) = (zero, zero);
        let one = simd.splat_f64s(1.0);
        let (whole, rest) = S::as_simd_f64s(self.values);
        let last = [simd.partial_load_f64s(rest)];
        for &x in whole.iter().chain(&last) {
            // Neither comparison holds for NaN.
            let low = simd.select_f64s(simd.less_than_or_equal_f64s(zero, x), zero, one);
            odd = simd.add_f64s(odd, simd.select_f64s(simd.less_than_or_equal_f64s(x, most), low, one));
            top = simd.max_f64s(top, x);
        }
        (simd.reduce_sum_f64s(odd) == 0.0, simd.reduce_max_f64s(top))
    }
}

impl Nonnegative<'_> {
    /// X as the papers write it: features × samples, dense. Missing entries are NaN.
    pub fn features_by_samples(&self) -> Array2<f64> {
        match self.values.matrix {
            Matrix::Dense(x) => x.t().as_standard_layout().into_owned(),
            Matrix::Sparse(x) => x.transpose().to_dense(),
        }
    }
}

/// How a fit went, as it is written beside its factors.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// What was made small.
    pub loss: Loss,
    /// Its mean over the measured entries at the end.
    pub divergence: f64,
    /// Objective of each step.
    pub objective: &'a [f64],
    /// How it ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: &'a [String],
    /// T(U V), n × d, where it was asked for.
    pub reconstruction: Option<&'a Array2<f64>>,
}

impl Course<'_> {
    /// Writes the reconstruction as a layer and the rest into `uns[key]`.
    pub fn annotate(&self, key: &str, out: &mut Annotations) {
        if let Some(table) = self.reconstruction {
            out.layers.insert(format!("{key}_reconstruction"), Slot::F64(table.clone()));
        }
        let notes = out.notes(key);
        notes.insert("loss".into(), self.loss.to_string().into());
        notes.insert("divergence".into(), self.divergence.into());
        notes.insert("objective".into(), Value::Floats(self.objective.to_vec()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.to_vec()));
    }
}

/// Writes U (d × k) and Vᵀ (n × k) under their names.
pub fn annotate_factors(out: &mut Annotations, key: &str, loadings: &Array2<f64>, scores: &Array2<f64>) {
    out.varm.insert(format!("{key}_loadings"), Slot::F64(loadings.clone()));
    out.obsm.insert(format!("X_{key}"), Slot::F64(scores.clone()));
}

/// Refuses more factors than a table of d features and n samples can have.
///
/// # Errors
/// [`Error::Param`] for `k`.
pub fn refuse_rank(k: usize, d: usize, n: usize) -> Result<()> {
    if k == 0 || k > d.min(n) {
        let found = format!("{k} for {n} samples and {d} features");
        return Err(Error::Param { name: "k", found, rule: "from 1 to the smaller of the two" });
    }
    Ok(())
}

/// Refuses counts of 0.
///
/// # Errors
/// [`Error::Param`] for the first.
pub fn refuse_zero(counts: &[(&'static str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, value)| *value == 0) {
        Some(&(name, _)) => Err(Error::Param { name, found: "0".into(), rule: "at least 1" }),
        None => Ok(()),
    }
}

/// Refuses a step size that is not above 0, and weights or tolerances below 0.
///
/// # Errors
/// [`Error::Param`] for the first.
pub fn refuse_sizes(learning_rate: f64, weights: &[(&'static str, f64)]) -> Result<()> {
    let bad = |name, found: f64, rule| Err(Error::Param { name, found: found.to_string(), rule });
    if !(learning_rate > 0.0 && learning_rate.is_finite()) {
        return bad("learning_rate", learning_rate, "a positive number");
    }
    match weights.iter().find(|(_, value)| !(*value >= 0.0 && value.is_finite())) {
        Some(&(name, found)) => bad(name, found, "0 or a positive number"),
        None => Ok(()),
    }
}

/// Says how many of `features` features have no variation, or refuses a table in which none has.
///
/// # Errors
/// [`Error::Missing`] where no feature varies.
pub fn pass_constant(what: &str, count: usize, features: usize, ctx: &mut Ctx<'_>) -> Result<()> {
    if count == features {
        let what = format!("a feature that varies in {what}");
        return Err(Error::Missing { what, hint: "there is nothing to fit".into() });
    }
    if count > 0 {
        let (s, have, they, take) =
            if count == 1 { ("", "has", "it is", "takes") } else { ("s", "have", "they are", "take") };
        ctx.warn(format!(
            "{count} feature{s} {have} the same value in all samples; {they} reproduced as measured and {take} no part in the factors."
        ));
    }
    Ok(())
}

/// Says that a fit with a stop rule did not meet it.
pub fn warn_of_the_end(name: &str, steps: (usize, &str), tol: f64, stop: Stop, ctx: &mut Ctx<'_>) {
    if stop == Stop::MaxSteps && tol > 0.0 {
        let (count, what) = steps;
        ctx.warn(format!(
            "{name} took all {count} {what} and its objective was still falling; set a larger `max_steps` or `learning_rate`."
        ));
    }
}

/// Factors by falling share of U V: Σ_ij u_il v_lj.
pub fn by_share(u: ArrayView2<'_, f64>, v: ArrayView2<'_, f64>) -> Vec<usize> {
    let share: Vec<f64> = (0..u.ncols()).map(|l| u.column(l).sum() * v.row(l).sum()).collect();
    let mut order: Vec<usize> = (0..share.len()).collect();
    order.sort_by(|&a, &b| share[b].total_cmp(&share[a]).then(a.cmp(&b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn why(x: Array2<f64>, missing: Missing) -> String {
        let matrix = Matrix::Dense(x);
        let input = Nonnegative { missing, ..Nonnegative::new(Values { what: "X", matrix: &matrix }) };
        input.check().map_or_else(|e| e.to_string(), |()| "good".into())
    }

    #[test]
    fn slopes_are_those_of_the_losses() {
        for loss in [Loss::Kl, Loss::Frobenius] {
            for (x, z) in [(0.0, 0.3), (2.0, 0.5), (1e-3, 4.0)] {
                let h = 1e-6 * z;
                let slope = (loss.of(x, z + h) - loss.of(x, z - h)) / (2.0 * h);
                assert!((slope - loss.slope(x, z)).abs() < 1e-6 * (1.0 + slope.abs()), "{loss} {x} {z}");
            }
            assert_eq!(loss.of(0.7, 0.7), 0.0);
        }
    }

    #[test]
    fn what_cannot_be_factorised_is_located() {
        let nan = f64::NAN;
        assert_eq!(why(array![[0.0, 1.0]], Missing::Error), "good");
        assert!(why(array![[0.0, -1.0]], Missing::Error).contains("-1 at row 0, column 1"));
        assert!(why(array![[nan, 1.0]], Missing::Error).contains("missing=nan"));
        assert!(why(array![[nan, f64::INFINITY]], Missing::Nan).contains("column 1"));
        assert!(why(array![[nan, 1.0]], Missing::Nan).contains("column 0 holds no measured value"));
        assert!(why(array![[nan, nan], [1.0, 2.0]], Missing::Nan).contains("row 0 holds no measured"));
        assert_eq!(why(array![[nan, 1.0], [2.0, nan]], Missing::Nan), "good");
        assert!(why(array![[0.0, 0.0]], Missing::Error).contains("above 0"));
    }
}
