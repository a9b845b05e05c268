//! Upper-tail dependence: how often two variables are extreme together.
//!
//! With u and v the ranks of x and y over n + 1 (average ties) and q_u, q_v their empirical quantiles of
//! order q (linear interpolation),
//!
//! λ_q = #{u > q_u and v > q_v} / #{u > q_u}.
//!
//! Two baselines belong beside it. Under independence λ_q is 1 − q: 0.07 at q = 0.93. Published figures
//! draw this one, by independent Gaussian vectors, although they call it a Gaussian copula. The right
//! baseline for "more than a Gaussian model explains" is the Gaussian copula with the pair's own
//! correlation ρ = 2 sin(π ρ_S / 6), ρ_S Spearman's (the relation holds exactly in that copula):
//!
//! P(V > q | U > q) = L(h, ρ) / (1 − q),  h = Φ⁻¹(q),
//! L(h, ρ) = (1 − q)² + 1/(2π) ∫_0^{arcsin ρ} exp(−h² / (1 + sin θ)) dθ   (Plackett 1954).
//!
//! Where a variable ties so heavily that nothing lies above its quantile, λ_q is 0/0 and `None`.

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::ranks::average_ranks;
use crate::data::Matrix;
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};

/// Empirical quantile of order q of n ≥ 1 values, linear between neighbours: NumPy's default.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// Which entries are above the empirical quantile of their ranks.
fn extreme(ranks: &[f64], q: f64) -> Vec<bool> {
    // Ranks over n + 1, as published; the factor matters only to the rounding of the comparison.
    let u: Vec<f64> = ranks.iter().map(|r| r / (ranks.len() as f64 + 1.0)).collect();
    let limit = quantile(&u, q);
    u.iter().map(|v| *v > limit).collect()
}

/// λ_q of two variables of equal length; `None` for none observation above the first quantile.
pub fn upper_tail(x: &[f64], y: &[f64], q: f64) -> Option<f64> {
    if x.is_empty() || x.len() != y.len() {
        return None;
    }
    share(&extreme(&average_ranks(x), q), &extreme(&average_ranks(y), q))
}

fn share(first: &[bool], second: &[bool]) -> Option<f64> {
    let above = first.iter().filter(|a| **a).count();
    let both = first.iter().zip(second).filter(|(a, b)| **a && **b).count();
    (above > 0).then(|| both as f64 / above as f64)
}

/// P(V > q | U > q) in the Gaussian copula of correlation ρ; 1 − q at ρ = 0, 1 at ρ = 1.
pub fn gaussian_tail(rho: f64, q: f64) -> f64 {
    /// Even; Simpson's error is below 1e-13 for |h| up to 5.
    const STEPS: usize = 1024;
    let h = Normal::standard().inverse_cdf(q);
    let end = rho.clamp(-1.0, 1.0).asin();
    let width = end / STEPS as f64;
    let value = |i: usize| {
        let below = 1.0 + (width * i as f64).sin();
        if below > 0.0 { (-h * h / below).exp() } else { f64::from(u8::from(h == 0.0)) }
    };
    let inner: f64 = (1..STEPS).map(|i| (if i % 2 == 1 { 4.0 } else { 2.0 }) * value(i)).sum();
    let integral = (value(0) + inner + value(STEPS)) * width / 3.0;
    let upper = 1.0 - q;
    ((upper * upper + integral / std::f64::consts::TAU) / upper).clamp(0.0, 1.0)
}

/// How pairs are drawn and what counts as extreme.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailOptions {
    /// Pairs drawn, with replacement; at least 1. Default 1000 (MED-MAGMA paper, Figure 1).
    pub pairs: usize,
    /// q; 0 < q < 1. Default 0.93 (the same).
    pub quantile: f64,
    /// Whether the two of a pair must differ. Default true; the paper's code lets them be the same.
    pub distinct: bool,
}

impl Default for TailOptions {
    fn default() -> TailOptions {
        TailOptions { pairs: 1000, quantile: 0.93, distinct: true }
    }
}

/// One pair of variables.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailPair {
    /// Row of the first.
    pub first: usize,
    /// Row of the second.
    pub second: usize,
    /// λ_q; `None` where nothing lies above the quantile of the first.
    pub observed: Option<f64>,
    /// ρ = 2 sin(π ρ_S / 6); 0 where either is constant.
    pub correlation: f64,
    /// λ_q of the Gaussian copula with that ρ.
    pub gaussian: f64,
    /// λ_q of two independent vectors of the same length, drawn anew.
    pub independent: f64,
}

/// Tail dependence over random pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailDependence {
    /// What was asked.
    pub options: TailOptions,
    /// Every pair drawn, in order.
    pub pairs: Vec<TailPair>,
    /// Mean λ_q over the pairs where it is defined; `None` where it is defined for none.
    pub observed: Option<f64>,
    /// Mean of the Gaussian copula's λ_q over the same pairs.
    pub gaussian: Option<f64>,
    /// Mean λ_q of the independent vectors, over all pairs: the published baseline, near 1 − q.
    pub independent: f64,
    /// Share of the defined pairs whose λ_q is above that of their own Gaussian copula.
    pub above_gaussian: Option<f64>,
    /// Pairs where λ_q is undefined.
    pub undefined: usize,
}

/// Draws pairs of rows of `x` and measures each; transpose for the columns. Only ranks are read, so
/// that log1p and scaling do not matter. The same seed gives the same pairs on any number of threads.
///
/// # Errors
/// [`Error::Param`] for the options, [`Error::Shape`] for fewer than two rows or columns.
pub fn tail_dependence(x: &Matrix, options: TailOptions, seed: Seed) -> Result<TailDependence> {
    let (n, m) = x.shape();
    if !(options.quantile > 0.0 && options.quantile < 1.0) {
        let found = options.quantile.to_string();
        return Err(Error::Param { name: "quantile", found, rule: "above 0 and below 1" });
    }
    if options.pairs == 0 {
        return Err(Error::Param { name: "pairs", found: "0".into(), rule: "at least 1" });
    }
    if n < 2 || m < 2 {
        let rule = "two variables of two values or more for tail dependence";
        return Err(Error::Shape { what: "values".into(), found: vec![n, m], rule });
    }
    let one = |at: u64| {
        crate::linalg::settle();
        let mut rng = seed.stream(Draw::Shuffle, at);
        let first = rng.random_range(0..n);
        let second = match options.distinct {
            true => (first + rng.random_range(1..n)) % n,
            false => rng.random_range(0..n),
        };
        let ranks = [first, second].map(|i| average_ranks(&row(x, i)));
        let [above_first, above_second] = ranks.each_ref().map(|r| extreme(r, options.quantile));
        let correlation = 2.0 * (std::f64::consts::PI / 6.0 * pearson(&ranks[0], &ranks[1])).sin();
        // Ranks of independent continuous vectors are independent random orders.
        let chance = [(); 2].map(|()| {
            let noise: Vec<f64> = (0..m).map(|_| rng.random::<f64>()).collect();
            extreme(&average_ranks(&noise), options.quantile)
        });
        TailPair {
            first,
            second,
            observed: share(&above_first, &above_second),
            correlation,
            gaussian: gaussian_tail(correlation, options.quantile),
            independent: share(&chance[0], &chance[1]).unwrap_or(0.0),
        }
    };
    let pairs: Vec<TailPair> = (0..options.pairs as u64).into_par_iter().map(one).collect();
    let known: Vec<(f64, f64)> = pairs.iter().filter_map(|p| Some((p.observed?, p.gaussian))).collect();
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        (!known.is_empty()).then(|| values.sum::<f64>() / known.len() as f64)
    };
    Ok(TailDependence {
        options,
        observed: mean(&mut known.iter().map(|p| p.0)),
        gaussian: mean(&mut known.iter().map(|p| p.1)),
        above_gaussian: mean(&mut known.iter().map(|p| f64::from(u8::from(p.0 > p.1)))),
        independent: pairs.iter().map(|p| p.independent).sum::<f64>() / pairs.len() as f64,
        undefined: pairs.len() - known.len(),
        pairs,
    })
}

fn row(x: &Matrix, i: usize) -> Vec<f64> {
    match x {
        Matrix::Dense(x) => x.row(i).to_vec(),
        Matrix::Sparse(x) => {
            let mut out = vec![0.0; x.shape().1];
            let (at, values) = x.row(i);
            at.iter().zip(values).for_each(|(&j, &v)| out[j as usize] = v);
            out
        }
    }
}

/// Pearson's correlation; 0 where either is constant.
fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xy += (a - mx) * (b - my);
        xx += (a - mx).powi(2);
        yy += (b - my).powi(2);
    }
    if xx > 0.0 && yy > 0.0 { (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use ndarray::Array2;
    use rand_distr::{Distribution, StandardNormal};

    /// ∫_h^∞ φ(z) Φ((ρ z − h) / √(1 − ρ²)) dz / (1 − q), by a fine sum.
    #[test]
    fn gaussian_tail_equals_the_plain_integral_and_its_limits() {
        let normal = Normal::standard();
        for q in [0.5, 0.8, 0.93, 0.99] {
            let h = normal.inverse_cdf(q);
            for rho in [-0.95f64, -0.4, 0.0, 0.2, 0.7, 0.98] {
                let steps = 200_000;
                let width = 12.0 / f64::from(steps);
                let sum: f64 = (0..steps)
                    .map(|i| {
                        let z = h + (f64::from(i) + 0.5) * width;
                        let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
                        density * normal.cdf((rho * z - h) / (1.0 - rho * rho).sqrt()) * width
                    })
                    .sum();
                let found = gaussian_tail(rho, q);
                assert!((found - sum / (1.0 - q)).abs() < 1e-8, "{rho} {q}: {found} {}", sum / (1.0 - q));
            }
            assert!((gaussian_tail(0.0, q) - (1.0 - q)).abs() < 1e-12);
            assert!((gaussian_tail(1.0, q) - 1.0).abs() < 1e-9, "{}", gaussian_tail(1.0, q));
            assert!(gaussian_tail(-1.0, q) < 1e-9);
        }
    }

    #[test]
    fn ties_give_none_and_never_a_nan() {
        assert_eq!(upper_tail(&[0.0; 20], &[1.0; 20], 0.93), None);
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        assert_eq!(upper_tail(&x, &x, 0.93), Some(1.0));
        assert_eq!(upper_tail(&x, &[0.0; 20], 0.93), Some(0.0));
        assert_eq!(upper_tail(&[], &[], 0.93), None);
    }

    /// Bivariate Gaussian data lies at its own baseline, t data with one degree of freedom above it.
    #[test]
    fn gaussian_data_follow_their_copula_and_heavy_tails_do_not() {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let (n, m, rho) = (20, 4000, 0.6f64);
        let mut draw = |heavy: bool| {
            let mut x = Array2::zeros((n, m));
            for j in 0..m {
                let radius: f64 = if heavy {
                    let e: f64 = StandardNormal.sample(&mut rng);
                    1.0 / e.abs().max(1e-9)
                } else {
                    1.0
                };
                let common: f64 = StandardNormal.sample(&mut rng);
                for i in 0..n {
                    let own: f64 = StandardNormal.sample(&mut rng);
                    x[[i, j]] = radius * (rho.sqrt() * common + (1.0 - rho).sqrt() * own);
                }
            }
            x
        };
        let options = TailOptions { pairs: 150, ..Default::default() };
        let plain = draw(false);
        let of = |x: &Matrix| tail_dependence(x, options, Seed(2)).unwrap();
        let found = of(&Matrix::Dense(plain.clone()));
        assert!((found.observed.unwrap() - found.gaussian.unwrap()).abs() < 0.01, "{found:?}");
        assert!((found.independent - 0.07).abs() < 0.005 && found.undefined == 0);
        assert!(found.pairs.iter().all(|p| p.first != p.second && (p.correlation - rho).abs() < 0.06));
        let sparse = Matrix::Sparse(Csr::from_dense(plain.view()));
        assert_eq!(of(&sparse), found);
        let heavy = of(&Matrix::Dense(draw(true)));
        assert!(heavy.observed.unwrap() > heavy.gaussian.unwrap() + 0.1, "{:?}", heavy.observed);
        assert!(heavy.above_gaussian.unwrap() > 0.95);
    }

    #[test]
    fn options_are_checked_and_pools_agree() {
        let x = Matrix::Dense(Array2::from_shape_fn((5, 30), |(i, j)| ((i * 7 + j * 3) % 11) as f64));
        let bad = |o: TailOptions| tail_dependence(&x, o, Seed(0)).unwrap_err().to_string();
        assert!(bad(TailOptions { quantile: 1.0, ..Default::default() }).contains("quantile"));
        assert!(bad(TailOptions { pairs: 0, ..Default::default() }).contains("pairs"));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                tail_dependence(&x, TailOptions { distinct: false, ..Default::default() }, Seed(3))
            })
            .unwrap()
        };
        assert_eq!(run(1), run(8));
    }
}
