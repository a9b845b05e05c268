//! Whether two bundles of curves are one, by Gaussian processes and by permutation.
//!
//! Each bundle holds R noisy copies of one curve, measured at the same x_1 … x_T:
//!
//! y_rt = f(x_t) + ε_rt,  ε ~ N(0, σ²),  f ~ GP(0, s² exp(−(x − x')² / 2ℓ²)).
//!
//! Values are first centred and scaled together by their pooled mean and standard deviation. With the
//! mean curve ȳ and W = Σ_rt (y_rt − ȳ_t)², the likelihood of a bundle with f integrated out is
//!
//! ln p(Y) = ln N(ȳ; 0, K + σ²/R I) − (T (R − 1)/2) ln 2πσ² − W / 2σ² − (T/2) ln R.
//!
//! [`two_sample`] compares one curve behind both bundles with a curve of its own behind each, both
//! models with one s², ℓ and σ² chosen by largest likelihood:
//!
//! ln B = max ln p(Y₁) p(Y₂) − max ln p(Y₁ ∪ Y₂),
//!
//! as Stegle et al. (2010) do for time courses. [`signal`] is the one-bundle form of gprege (Kalaitzis
//! and Lawrence 2011): a curve against none, s² = 0. Both models of [`two_sample`] have three numbers
//! chosen by likelihood, so that neither is favoured by their count.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::linalg::cholesky::Cholesky;

/// The three numbers of a Gaussian process, for values scaled to variance 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// s², from 1e-4 to 100.
    pub variance: f64,
    /// ℓ in units of x, from a fiftieth of the range of x to ten times it.
    pub length: f64,
    /// σ², from 1e-6 to 10.
    pub noise: f64,
}

/// Evidence that curves differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Natural logarithm of the Bayes factor: above 0 for the richer model.
    pub ln_bayes: f64,
    /// The best process of the simpler model; `None` where it has none.
    pub simple: Option<Process>,
    /// The best process of the richer model; `None` where all values are equal.
    pub rich: Option<Process>,
}

/// What the likelihood reads of a bundle.
pub(crate) struct Bundle {
    mean: Vec<f64>,
    copies: f64,
    within: f64,
}

impl Bundle {
    pub(crate) fn new(curves: ArrayView2<'_, f64>) -> Bundle {
        let copies = curves.nrows() as f64;
        let mean: Vec<f64> = curves.columns().into_iter().map(|c| c.sum() / copies).collect();
        let within =
            curves.rows().into_iter().map(|r| r.iter().zip(&mean).map(|(y, m)| (y - m).powi(2)).sum::<f64>());
        Bundle { within: within.sum(), mean, copies }
    }

    /// ln p(Y); `None` where the covariance is not positive definite to rounding.
    pub(crate) fn ln_likelihood(&self, x: &[f64], p: Process) -> Option<f64> {
        let (t, r) = (x.len(), self.copies);
        let ln_two_pi = std::f64::consts::TAU.ln();
        let covariance = Array2::from_shape_fn((t, t), |(i, j)| {
            let smooth = p.variance * (-((x[i] - x[j]) / p.length).powi(2) / 2.0).exp();
            smooth + if i == j { p.noise / r } else { 0.0 }
        });
        let factor = Cholesky::new(covariance.view())?;
        let fit: f64 = factor.solve(&self.mean).iter().zip(&self.mean).map(|(a, b)| a * b).sum();
        let t = t as f64;
        let curve = -(fit + factor.log_det() + t * ln_two_pi) / 2.0;
        let rest = t * (r - 1.0) / 2.0 * (ln_two_pi + p.noise.ln()) + self.within / (2.0 * p.noise);
        Some(curve - rest - t / 2.0 * r.ln())
    }
}

/// ln p of all bundles under one process.
fn joint(bundles: &[&Bundle], x: &[f64], p: Process) -> f64 {
    let each: Option<Vec<f64>> = bundles.iter().map(|b| b.ln_likelihood(x, p)).collect();
    each.map_or(f64::NEG_INFINITY, |v| v.iter().sum())
}

/// The process of largest likelihood: from the best point of a grid at each length, ever smaller steps.
fn fit(bundles: &[&Bundle], x: &[f64]) -> (Process, f64) {
    const GRID: usize = 7;
    let (low, high) = x.iter().fold((x[0], x[0]), |(a, b), &v| (a.min(v), b.max(v)));
    let range = if high > low { high - low } else { 1.0 };
    let bounds =
        [(1e-4f64, 100.0), (range / 50.0, 10.0 * range), (1e-6, 10.0)].map(|(a, b)| (a.ln(), b.ln()));
    let process = |at: [f64; 3]| Process { variance: at[0].exp(), length: at[1].exp(), noise: at[2].exp() };
    let value = |at: [f64; 3]| (at, joint(bundles, x, process(at)));
    let better = |a: ([f64; 3], f64), b: ([f64; 3], f64)| if b.1 > a.1 { b } else { a };
    let place =
        |d: usize, at: usize| bounds[d].0 + (bounds[d].1 - bounds[d].0) * at as f64 / (GRID - 1) as f64;
    let climb = |start: ([f64; 3], f64)| {
        let (mut best, mut step) = (start, 1.0);
        while step > 1e-7 {
            let before = best.1;
            for d in 0..3 {
                for sign in [1.0, -1.0] {
                    let mut at = best.0;
                    at[d] = (at[d] + sign * step).clamp(bounds[d].0, bounds[d].1);
                    best = better(best, value(at));
                }
            }
            if best.1 <= before {
                step /= 2.0;
            }
        }
        best
    };
    let best = (0..GRID).map(|length| {
        let cells =
            (0..GRID * GRID).map(|c| value([place(0, c % GRID), place(1, length), place(2, c / GRID)]));
        climb(cells.reduce(better).unwrap_or(([0.0; 3], f64::NEG_INFINITY)))
    });
    let best = best.reduce(better).unwrap_or(([0.0; 3], f64::NEG_INFINITY));
    (process(best.0), best.1)
}

fn check(x: &[f64], curves: ArrayView2<'_, f64>) -> Result<()> {
    if curves.nrows() == 0 || x.len() < 2 || curves.ncols() != x.len() {
        let found = vec![curves.nrows(), curves.ncols()];
        let rule = "one curve or more of two points or more, one point per x";
        return Err(Error::Shape { what: "curves".into(), found, rule });
    }
    if let Some((at, &found)) = curves.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "curves".into(), found, at, rule: "finite" });
    }
    if let Some((i, &found)) = x.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "x".into(), found, at: (i, 0), rule: "finite" });
    }
    Ok(())
}

/// All curves centred and scaled to variance 1; `None` where they are constant.
fn scaled(curves: &Array2<f64>) -> Option<Array2<f64>> {
    let count = curves.len() as f64;
    let first = curves[[0, 0]];
    let mean = first + curves.iter().map(|v| v - first).sum::<f64>() / count;
    let sd = (curves.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    (sd > 0.0).then(|| curves.mapv(|v| (v - mean) / sd))
}

/// Both bundles below each other.
fn stacked(first: ArrayView2<'_, f64>, second: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((first.nrows() + second.nrows(), first.ncols()));
    out.axis_iter_mut(Axis(0))
        .zip(first.axis_iter(Axis(0)).chain(second.axis_iter(Axis(0))))
        .for_each(|(mut to, from)| to.assign(&from));
    out
}

/// Two curves against one: `first` and `second` are copies × points, measured at `x`.
///
/// # Errors
/// [`Error::Shape`] for bundles without a curve, fewer than two points or another number of them,
/// [`Error::Value`] for a value that is not finite.
pub fn two_sample(x: &[f64], first: ArrayView2<'_, f64>, second: ArrayView2<'_, f64>) -> Result<Evidence> {
    check(x, first)?;
    check(x, second)?;
    let Some(all) = scaled(&stacked(first, second)) else {
        return Ok(Evidence { ln_bayes: 0.0, simple: None, rich: None });
    };
    let (a, b) = all.view().split_at(Axis(0), first.nrows());
    let (a, b) = (Bundle::new(a), Bundle::new(b));
    let (simple, one) = fit(&[&Bundle::new(all.view())], x);
    let (rich, two) = fit(&[&a, &b], x);
    Ok(Evidence { ln_bayes: two - one, simple: Some(simple), rich: Some(rich) })
}

/// A curve against noise around a constant: `curves` is copies × points, measured at `x`.
///
/// # Errors
/// As [`two_sample`].
pub fn signal(x: &[f64], curves: ArrayView2<'_, f64>) -> Result<Evidence> {
    check(x, curves)?;
    let Some(all) = scaled(&curves.to_owned()) else {
        return Ok(Evidence { ln_bayes: 0.0, simple: None, rich: None });
    };
    // Values of variance 1 are likeliest under noise of variance 1.
    let none = -(all.len() as f64) / 2.0 * (std::f64::consts::TAU.ln() + 1.0);
    let (rich, one) = fit(&[&Bundle::new(all.view())], x);
    Ok(Evidence { ln_bayes: one - none, simple: None, rich: Some(rich) })
}

/// One-sided permutation p-value that the second bundle lies above the first: the difference of the
/// mean over all curves and points, against `times` random exchanges of whole curves;
/// (1 + number at least as large) / (1 + times).
///
/// # Errors
/// [`Error::Shape`] for bundles without a curve or of different lengths.
pub fn permutation(
    first: ArrayView2<'_, f64>,
    second: ArrayView2<'_, f64>,
    times: usize,
    seed: Seed,
) -> Result<f64> {
    if first.nrows() == 0 || second.nrows() == 0 || first.ncols() != second.ncols() {
        let found = vec![first.nrows(), second.nrows()];
        return Err(Error::Shape { what: "curves".into(), found, rule: "one or more of equal length each" });
    }
    // The statistic rises with the sum over the second bundle, since the sum over both is fixed.
    let sums: Vec<f64> = stacked(first, second).rows().into_iter().map(|r| r.sum()).collect();
    let observed: f64 = sums[first.nrows()..].iter().sum();
    // Equal sums in another order count as equal.
    let slack = 1e-12 * sums.iter().map(|v| v.abs()).sum::<f64>();
    let mut rng = seed.stream(Draw::Shuffle, 0);
    let mut order: Vec<usize> = (0..sums.len()).collect();
    let mut as_large = 0usize;
    for _ in 0..times {
        order.shuffle(&mut rng);
        let sum: f64 = order[first.nrows()..].iter().map(|&i| sums[i]).sum();
        as_large += usize::from(sum >= observed - slack);
    }
    Ok((1 + as_large) as f64 / (1 + times) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    fn bundle(copies: usize, noise: f64, item: u64, f: impl Fn(f64) -> f64) -> Array2<f64> {
        let mut rng = Seed(9).stream(Draw::Simulate, item);
        Array2::from_shape_fn((copies, 12), |(_, t)| {
            let e: f64 = StandardNormal.sample(&mut rng);
            f(t as f64 / 11.0) + noise * e
        })
    }

    fn at() -> Vec<f64> {
        (0..12).map(|t| f64::from(t) / 11.0).collect()
    }

    /// The closed form against the density of all R T values under their full covariance.
    #[test]
    fn likelihood_of_the_means_is_that_of_all_values() {
        let y = bundle(3, 0.3, 0, |x| x * x);
        let x = at();
        let p = Process { variance: 0.8, length: 0.4, noise: 0.09 };
        let n = y.len();
        let full = Array2::from_shape_fn((n, n), |(a, b)| {
            let d: f64 = (x[a % 12] - x[b % 12]) / p.length;
            p.variance * (-d * d / 2.0).exp() + if a == b { p.noise } else { 0.0 }
        });
        let factor = Cholesky::new(full.view()).unwrap();
        let values: Vec<f64> = y.iter().copied().collect();
        let fit: f64 = factor.solve(&values).iter().zip(&values).map(|(a, b)| a * b).sum();
        let direct = -(fit + factor.log_det() + n as f64 * std::f64::consts::TAU.ln()) / 2.0;
        let found = Bundle::new(y.view()).ln_likelihood(&x, p).unwrap();
        assert!((found - direct).abs() < 1e-9, "{found} {direct}");
    }

    #[test]
    fn evidence_grows_with_the_difference_and_is_against_it_for_one_curve() {
        let first = bundle(10, 0.1, 1, |x| x.sqrt());
        let same = two_sample(&at(), first.view(), bundle(10, 0.1, 2, |x| x.sqrt()).view()).unwrap();
        assert!(same.ln_bayes < 0.0, "{same:?}");
        let mut last = same.ln_bayes;
        for shift in [0.1, 0.2, 0.5] {
            let other = bundle(10, 0.1, 2, |x| x.sqrt() + shift * x);
            let found = two_sample(&at(), first.view(), other.view()).unwrap().ln_bayes;
            assert!(found > last + 1.0, "{shift}: {found} after {last}");
            last = found;
        }
        let curve = signal(&at(), first.view()).unwrap();
        assert!(curve.ln_bayes > 20.0);
        let flat = signal(&at(), bundle(10, 1.0, 3, |_| 0.0).view()).unwrap();
        assert!(flat.ln_bayes < 2.0, "{flat:?}");
        let constant = Array2::from_elem((3, 12), 0.1);
        assert_eq!(two_sample(&at(), constant.view(), constant.view()).unwrap().ln_bayes, 0.0);
    }

    #[test]
    fn permutations_are_one_sided_and_uniform_without_a_difference() {
        let low = bundle(8, 0.1, 4, |x| x);
        let high = bundle(8, 0.1, 5, |x| x + 0.5);
        let p = |a: &Array2<f64>, b: &Array2<f64>| permutation(a.view(), b.view(), 999, Seed(1)).unwrap();
        assert!(p(&low, &high) < 0.005 && p(&high, &low) > 0.995);
        assert_eq!(p(&low, &low), p(&low, &low));
        let equal = Array2::from_elem((4, 12), 0.3);
        assert_eq!(p(&equal, &equal), 1.0);
        let small = (0..200).filter(|&i| {
            let (a, b) = (bundle(5, 1.0, 100 + i, |_| 0.0), bundle(5, 1.0, 500 + i, |_| 0.0));
            permutation(a.view(), b.view(), 199, Seed(i)).unwrap() < 0.25
        });
        assert!((30..70).contains(&small.count()));
        assert!(permutation(low.view(), Array2::zeros((0, 12)).view(), 9, Seed(0)).is_err());
    }

    #[test]
    fn bad_curves_are_refused() {
        let y = Array2::zeros((2, 3));
        assert!(signal(&[0.0, 1.0], y.view()).is_err());
        let mut odd = y.clone();
        odd[[1, 2]] = f64::NAN;
        assert!(signal(&[0.0, 1.0, 2.0], odd.view()).unwrap_err().to_string().contains("row 1, column 2"));
        assert!(signal(&[0.0, f64::NAN, 2.0], y.view()).is_err());
    }
}
