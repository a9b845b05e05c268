//! What the data say before the first step.
//!
//! ```text
//! q    5 % quantile over features of the sample variance, constant features left out;  σ_j² = q at the start
//! β    such that P(σ² ≤ q) = 0.9 under InverseGamma(α, β):  β = q · (10 % quantile of Gamma(α, 1))
//! φ_j  mean² / (variance − mean), on [10⁻⁴, 10⁴]; 10⁴ where the variance is not above the mean
//! ℓ    mean and variance of the log totals of samples
//! ```

use ndarray::{ArrayView1, ArrayView2};
use statrs::function::gamma::{gamma_lr, ln_gamma};

use crate::stats::summary::quantile;

/// Share of features whose variance is taken for noise.
const QUIET: f64 = 0.05;
/// Prior probability that the variance of the noise is below [`Noise::variance`].
const BELOW: f64 = 0.9;

/// The prior of the noise.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Noise {
    /// q, the variance at the start.
    pub variance: f64,
    /// α.
    pub alpha: f64,
    /// β.
    pub beta: f64,
}

/// Mean and variance (ddof 1).
fn moments(values: ArrayView1<'_, f64>) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, square / (n - 1.0).max(1.0))
}

impl Noise {
    /// From samples × features.
    pub fn of(x: ArrayView2<'_, f64>, alpha: f64) -> Noise {
        // A constant feature says nothing about noise; its variance is 0 but for rounding.
        let varies = |c| Some(moments(c)).filter(|(mean, v)| *v > 1e-24 * mean * mean).map(|(_, v)| v);
        let variances: Vec<f64> = x.columns().into_iter().filter_map(varies).collect();
        let q = quantile(&variances, QUIET).unwrap_or(0.0);
        let variance = if q > 0.0 { q } else { 1e-6 };
        Noise { variance, alpha, beta: variance * gamma_quantile(1.0 - BELOW, alpha) }
    }
}

/// x with P(Gamma(a, 1) ≤ x) = p.
fn gamma_quantile(p: f64, a: f64) -> f64 {
    let (mut low, mut high) = (0.0, a + 1.0);
    while gamma_lr(a, high) < p {
        high *= 2.0;
    }
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if gamma_lr(a, middle) < p { low = middle } else { high = middle }
    }
    // One Newton step takes off what the bisection leaves.
    let x = 0.5 * (low + high);
    let density = ((a - 1.0) * x.ln() - x - ln_gamma(a)).exp();
    x - (gamma_lr(a, x) - p) / density
}

/// φ of one feature's counts, by moments.
pub fn inverse_dispersion(counts: ArrayView1<'_, f64>) -> f64 {
    let (mean, variance) = moments(counts);
    if variance > mean && mean > 0.0 { (mean * mean / (variance - mean)).clamp(1e-4, 1e4) } else { 1e4 }
}

/// Mean and variance of the log totals of the samples in rows; a sample without counts counts as a total of 1.
pub fn log_totals(counts: ArrayView2<'_, f64>) -> (f64, f64) {
    let totals: Vec<f64> = counts.rows().into_iter().map(|row| row.sum().max(1.0).ln()).collect();
    moments(ArrayView1::from(&totals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use ndarray::Ix2;

    #[test]
    fn values_agree_with_golden_ones() {
        let case = Golden::open("mssvae/init");
        let note = include_str!("../../../../../testdata/golden/mssvae/init/origin.json");
        let note: serde_json::Value = serde_json::from_str(note).unwrap();
        let near = |a: f64, b: &serde_json::Value| {
            let b = b.as_f64().unwrap();
            assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} {b}");
        };
        let noise = Noise::of(case.array::<Ix2>("X").view(), 1.5);
        near(noise.variance, &note["q05"]);
        near(noise.beta, &note["beta"]);
        near(gamma_quantile(0.1, 1.5), &note["gamma_ppf_0p1"]);
        let counts = case.array::<Ix2>("C");
        for (column, phi) in counts.columns().into_iter().zip(note["phi_mom2"].as_array().unwrap()) {
            near(inverse_dispersion(column), phi);
        }
        let (mean, variance) = log_totals(counts.view());
        near(mean, &note["library"]["log_mean"]);
        near(variance, &note["library"]["log_var"]);
    }

    #[test]
    fn constant_features_leave_a_positive_variance() {
        let noise = Noise::of(ndarray::Array2::zeros((4, 3)).view(), 1.5);
        assert!(noise.variance > 0.0 && noise.beta > 0.0);
        assert_eq!(inverse_dispersion(ndarray::aview1(&[2.0, 2.0])), 1e4);
    }
}
