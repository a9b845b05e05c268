//! P-values of many tests at once.
//!
//! With p₍₁₎ ≤ … ≤ p₍m₎, the adjusted values are min(1, m p) (Bonferroni), min_{j≥i} m p₍j₎ / j
//! (Benjamini and Hochberg 1995) and the same times Σ_{k≤m} 1/k (Benjamini and Yekutieli 2001, valid
//! for any dependence). A hypothesis whose adjusted value is at most q is rejected at level q.

/// How p-values are adjusted for the number of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// Chance of any false rejection.
    Bonferroni,
    /// Share of false rejections, tests independent or positively dependent.
    BenjaminiHochberg,
    /// Share of false rejections, tests dependent in any way.
    BenjaminiYekutieli,
}

/// Adjusted values in the order given; `p` lies in [0, 1], and a NaN counts as 1.
pub fn adjust(p: &[f64], how: Adjust) -> Vec<f64> {
    let known: Vec<f64> = p.iter().map(|&p| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) }).collect();
    let m = known.len() as f64;
    let factor = match how {
        Adjust::Bonferroni => return known.iter().map(|p| (p * m).min(1.0)).collect(),
        Adjust::BenjaminiHochberg => 1.0,
        Adjust::BenjaminiYekutieli => (1..=known.len()).map(|k| 1.0 / k as f64).sum(),
    };
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by(|&a, &b| known[a].total_cmp(&known[b]).then(a.cmp(&b)));
    let mut out = vec![1.0; known.len()];
    let mut least = 1.0f64;
    for (at, &i) in order.iter().enumerate().rev() {
        least = least.min(known[i] * factor * m / (at as f64 + 1.0));
        out[i] = least;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_order_ties_and_limits() {
        let p = [0.01, 0.04, 0.03, 0.005, f64::NAN];
        assert_eq!(adjust(&p, Adjust::Bonferroni), [0.05, 0.2, 0.15, 0.025, 1.0]);
        let bh = adjust(&p, Adjust::BenjaminiHochberg);
        let expected = [0.025, 0.05, 0.05, 0.025, 1.0];
        assert!(bh.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{bh:?}");
        assert!(adjust(&[], Adjust::BenjaminiYekutieli).is_empty());
        assert_eq!(adjust(&[0.3], Adjust::BenjaminiYekutieli), [0.3]);
    }
}
