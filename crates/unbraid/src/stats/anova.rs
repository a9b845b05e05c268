//! One-way analysis of variance: whether the mean of a number differs between groups.
//!
//! With k groups of n_g values, N in all, means m_g and the grand mean m,
//!
//! SS_between = Σ_g n_g (m_g − m)²,  SS_within = Σ_g Σ_i (x_gi − m_g)²,
//! F = (SS_between / (k − 1)) / (SS_within / (N − k)),
//! p = P(F_{k−1, N−k} ≥ F) = I_x((N − k)/2, (k − 1)/2),  x = (N − k) / (N − k + (k − 1) F).
//!
//! The regularised incomplete beta function I is taken in logarithms, so that p is known far below the
//! smallest number a double holds.

use serde::{Deserialize, Serialize};
use statrs::function::beta::ln_beta;

use crate::error::{Error, Result};

/// One analysis of variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anova {
    /// The ratio of variances; infinite when every group is constant and their values differ.
    pub f: f64,
    /// k − 1.
    pub between: usize,
    /// N − k.
    pub within: usize,
    /// P(F ≥ f) under equal means; 0 where it is below the smallest double.
    pub p: f64,
    /// log₁₀ p, finite however small p is; −∞ only for an infinite F.
    pub log10_p: f64,
}

/// Sums of squares of values in groups.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squares {
    /// SS_between.
    pub between: f64,
    /// SS_within.
    pub within: f64,
    /// k, the groups that occur.
    pub groups: usize,
}

/// The sums of squares of `values`, each of which belongs to a group.
pub fn squares(values: &[f64], groups: &[usize]) -> Squares {
    let mut by_group: std::collections::BTreeMap<usize, Vec<f64>> = Default::default();
    values.iter().zip(groups).for_each(|(&v, &g)| by_group.entry(g).or_default().push(v));
    if values.is_empty() {
        return Squares::default();
    }
    // Means around a first value: exact for constant values.
    let mean = |v: &[f64]| v[0] + v.iter().map(|x| x - v[0]).sum::<f64>() / v.len() as f64;
    let grand = mean(values);
    let mut out = Squares { groups: by_group.len(), ..Squares::default() };
    for group in by_group.values() {
        let m = mean(group);
        out.between += group.len() as f64 * (m - grand).powi(2);
        out.within += group.iter().map(|x| (x - m).powi(2)).sum::<f64>();
    }
    out
}

/// Compares the means of `values` between `groups`, any distinct numbers for the groups of the values.
///
/// `None` where the test is undefined: fewer than two groups, no group with a second value, or all
/// values equal.
///
/// # Errors
/// [`Error::Shape`] when there is not one group per value, [`Error::Value`] for a value that is not
/// finite.
pub fn one_way(values: &[f64], groups: &[usize]) -> Result<Option<Anova>> {
    if values.len() != groups.len() {
        let found = vec![groups.len()];
        return Err(Error::Shape { what: "groups".into(), found, rule: "one per value" });
    }
    if let Some((i, &found)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "values".into(), found, at: (i, 0), rule: "finite" });
    }
    let Squares { between: ss_between, within: ss_within, groups: k } = squares(values, groups);
    let n = values.len();
    if k < 2 || n == k {
        return Ok(None);
    }
    let (between, within) = (k - 1, n - k);
    if values.iter().all(|v| *v == values[0]) {
        return Ok(None);
    }
    let f = (ss_between / between as f64) / (ss_within / within as f64);
    let ln_p = ln_f_tail(f, between as f64, within as f64);
    Ok(Some(Anova { f, between, within, p: ln_p.exp(), log10_p: ln_p / std::f64::consts::LN_10 }))
}

/// ln P(F_{a,b} ≥ f).
pub fn ln_f_tail(f: f64, a: f64, b: f64) -> f64 {
    if f <= 0.0 {
        return 0.0;
    }
    if f.is_infinite() {
        return f64::NEG_INFINITY;
    }
    // x = b / (b + a f) and 1 − x, each without cancellation.
    let ratio = a * f / b;
    ln_beta_regularized(b / 2.0, a / 2.0, 1.0 / (1.0 + ratio), ratio / (1.0 + ratio))
}

/// ln I_x(a, b) for a, b > 0, x in [0, 1] and y = 1 − x.
fn ln_beta_regularized(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    }
    // x^a y^b / B(a, b); the logarithm of the larger of x and y is taken from the smaller.
    let (ln_x, ln_y) = if x < y { (x.ln(), (-x).ln_1p()) } else { ((-y).ln_1p(), y.ln()) };
    let ln_front = a * ln_x + b * ln_y - ln_beta(a, b);
    // The continued fraction converges fast below the mean; above it the other tail is summed.
    if x < (a + 1.0) / (a + b + 2.0) {
        ln_front - a.ln() + fraction(a, b, x).ln()
    } else {
        let other = (ln_front - b.ln() + fraction(b, a, y).ln()).exp();
        (-other).ln_1p()
    }
}

/// The continued fraction of I_x(a, b) without its front factor, by Lentz's method (DLMF 8.17.22).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const MOST: usize = 100_000;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..MOST {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, FisherSnedecor};

    #[test]
    fn undefined_tests_are_none_and_bad_input_is_refused() {
        assert_eq!(one_way(&[1.0, 2.0], &[0, 0]).unwrap(), None);
        assert_eq!(one_way(&[1.0, 2.0], &[0, 1]).unwrap(), None);
        assert_eq!(one_way(&[0.1; 6], &[0, 0, 0, 1, 1, 1]).unwrap(), None);
        assert_eq!(one_way(&[], &[]).unwrap(), None);
        assert!(one_way(&[1.0], &[]).is_err());
        assert!(one_way(&[1.0, f64::NAN], &[0, 1]).unwrap_err().to_string().contains("NaN"));
        // Constant groups that differ: no doubt at all.
        let sure = one_way(&[0.1, 0.1, 0.1, 0.3, 0.3], &[0, 0, 0, 1, 1]).unwrap().unwrap();
        assert_eq!((sure.f, sure.p, sure.log10_p), (f64::INFINITY, 0.0, f64::NEG_INFINITY));
        // A group of one takes part in the means only.
        let one = one_way(&[1.0, 2.0, 3.0, 9.0], &[0, 0, 0, 7]).unwrap().unwrap();
        assert_eq!((one.between, one.within), (1, 2));
    }

    #[test]
    fn the_tail_is_that_of_the_distribution_where_both_are_known() {
        for (a, b) in [(1.0, 1.0), (2.0, 7.0), (5.0, 180.0), (11.0, 40.0), (3.0, 3000.0)] {
            let law = FisherSnedecor::new(a, b).unwrap();
            for f in [0.01, 0.3, 1.0, 1.7, 4.0, 20.0] {
                let (found, expected) = (ln_f_tail(f, a, b).exp(), law.sf(f));
                assert!(
                    (found - expected).abs() < 1e-11 * expected.max(1e-3),
                    "{a} {b} {f}: {found} {expected}"
                );
            }
        }
        assert_eq!(ln_f_tail(0.0, 2.0, 3.0), 0.0);
    }
}
