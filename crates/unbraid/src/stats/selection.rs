//! How many false discoveries stability selection expects: three bounds, from few to more assumptions.
//!
//! A procedure selects about q of p candidates from half of the data. It is run on 2B halves, two of a
//! pair complementary; candidate k is *stable* when the share Π̂(k) of its selections is at least τ. A
//! candidate whose selection probability is at most θ = q/p, what blind choice would give it, is called
//! a candidate of low selection probability. The expected number E\[V\] of those among the stable ones is
//! at most
//!
//! ```text
//! q² / ((2τ − 1) p)                                        1/2 < τ        meinshausen2010, theorem 1
//! C(τ, B) q² / p                                           unimodal       shah2013, theorem 2
//!     C = 1 / (2 (2τ − 1 − 1/(2B)))    τ ≤ 3/4
//!     C = 4 (1 − τ + 1/(2B)) / (1 + 1/B)    τ > 3/4
//! p · min{ D(θ², 2τ − 1, B, −1/2), D(θ, τ, 2B, −1/4) }     r-concave      shah2013, equation (8)
//! ```
//!
//! with D(η, t, B, r) the largest P(X ≥ t) of any X on {0, 1/B, …, 1} with mean η whose probabilities are
//! r-concave. These count *false* discoveries where no false candidate is likelier selected than by blind
//! choice; exchangeable false candidates and a procedure no worse than guessing are enough.
//!
//! | symbol | meaning | argument |
//! |---|---|---|
//! | q | candidates selected from one half, in the mean | `q` |
//! | p | candidates | `p` |
//! | τ | threshold on the share of selections | `threshold` |
//! | B | complementary pairs | `pairs` |

/// The bound without a shape, q² / ((2τ − 1) p); infinite for τ ≤ 1/2.
pub fn general(q: f64, p: f64, threshold: f64) -> f64 {
    if threshold <= 0.5 { f64::INFINITY } else { q * q / p / (2.0 * threshold - 1.0) }
}

/// The bound for unimodal distributions of the share of pairs in which both halves select a candidate.
/// Infinite where the theorem says nothing: B < 2, θ > 1/√3, or τ too close to 1/2.
pub fn unimodal(q: f64, p: f64, threshold: f64, pairs: usize) -> f64 {
    let (b, theta) = (pairs as f64, q / p);
    let least = (0.5 + theta * theta).min(0.5 + 1.0 / (2.0 * b) + 0.75 * theta * theta);
    let constant = if pairs < 2 || theta > 1.0 / 3f64.sqrt() || threshold <= least.max(0.5 + 1.0 / (4.0 * b))
    {
        f64::INFINITY
    } else if threshold <= 0.75 {
        0.5 / (2.0 * threshold - 1.0 - 0.5 / b)
    } else {
        4.0 * (1.0 - threshold + 0.5 / b) / (1.0 + 1.0 / b)
    };
    constant * q * q / p
}

/// The bound for r-concave distributions: −1/2 for the share of pairs, −1/4 for the share of halves, the
/// values Shah and Samworth recommend. `threshold` counts as the next multiple of 1/(2B). At most `p`.
pub fn concave(q: f64, p: f64, threshold: f64, pairs: usize) -> f64 {
    let theta = q / p;
    if theta.is_nan() || theta <= 0.0 {
        return 0.0;
    }
    let halves = 2 * pairs;
    // Selections needed of 2B; rounding of τ · 2B must not ask for one more.
    let needed = needed(threshold, halves);
    let both = needed.saturating_sub(pairs);
    p * tail(theta * theta, both, pairs, -0.5).min(tail(theta, needed, halves, -0.25))
}

/// The fewest of `refits` selections whose share is at least `threshold`.
pub fn needed(threshold: f64, refits: usize) -> usize {
    (threshold * refits as f64 - 1e-9).ceil().max(0.0) as usize
}

/// D(η, t/B, B, r): the largest P(X ≥ t) of an X on 0, 1, …, B with mean ηB and r-concave probabilities,
/// r < 0.
///
/// The extreme laws are f(i) ∝ (a + i)^{1/r} on 0 … k with what is missing to the mean on k + 1; they are
/// searched over k and a.
fn tail(eta: f64, t: usize, b: usize, r: f64) -> f64 {
    let (mean, s) = (eta * b as f64, 1.0 / r);
    let first = (2.0 * mean).ceil() as usize + 1;
    if t < first || t == 0 {
        return 1.0;
    }
    if t > b {
        return 0.0;
    }
    if first >= b {
        return 1.0;
    }
    let sum = |a: f64, to: usize, weight: &dyn Fn(f64) -> f64| -> f64 {
        (0..=to).map(|i| weight(i as f64) * (a + i as f64).powf(s)).sum()
    };
    // log a at which the law on 0 … k has the mean; the mean rises with a.
    let balanced = |k: usize| {
        let (mut low, mut high) = (-60.0f64, 60.0f64);
        for _ in 0..100 {
            let mid = 0.5 * (low + high);
            let a = mid.exp();
            if sum(a, k, &|i| i) < mean * sum(a, k, &|_| 1.0) { low = mid } else { high = mid }
        }
        0.5 * (low + high)
    };
    let beyond = |log_a: f64, k: usize| {
        let (a, end) = (log_a.exp(), k as f64 + 1.0);
        1.0 - (end - mean) * sum(a, t - 1, &|_| 1.0) / sum(a, k, &|i| end - i)
    };
    let mut best = 0.0f64;
    let mut high = balanced(first);
    // Below k + 1 = t nothing reaches t.
    for k in first..b {
        let low = balanced(k + 1);
        if k + 1 >= t {
            best = best.max(largest(low, high, |x| beyond(x, k)));
        }
        high = low;
    }
    best.clamp(0.0, 1.0)
}

/// The largest value of a function with one peak on an interval, by golden sections.
fn largest(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    let ends = f(low).max(f(high));
    while high - low > 1e-9 {
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = f(right);
        }
    }
    ends.max(at_left).max(at_right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        q: f64,
        p: f64,
        threshold: f64,
        pairs: usize,
        general: f64,
        unimodal: f64,
        concave: f64,
    }

    #[test]
    fn bounds_equal_the_published_formulas() {
        let text = include_str!("../../../../testdata/golden/stability/bounds.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        assert!(golden.cases.len() > 100);
        let close = |found: f64, expected: f64, tol: f64| {
            assert!((found - expected).abs() <= tol * expected, "{found} is not {expected}");
        };
        for c in golden.cases {
            close(general(c.q, c.p, c.threshold), c.general, 1e-12);
            close(unimodal(c.q, c.p, c.threshold, c.pairs), c.unimodal, 1e-12);
            close(concave(c.q, c.p, c.threshold, c.pairs), c.concave, 1e-7);
        }
        // By hand: 2² / 9 / 2 / (0.5 − 0.01), and 4 (0.1 + 0.01) / 1.02 · 100² / 4950.
        close(unimodal(2.0, 9.0, 0.75, 50), 4.0 / 9.0 / 0.98, 1e-12);
        close(unimodal(100.0, 4950.0, 0.9, 50), 0.44 / 1.02 * 1e4 / 4950.0, 1e-12);
    }

    #[test]
    fn no_concave_law_reaches_beyond_its_tail() {
        // Random r-concave laws (f^r convex for r < 0) with their own means stay below the bound.
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let (mut tried, mut near) = (0, 0.0f64);
        for _ in 0..200 {
            let b = rng.random_range(6..40usize);
            let r: f64 = if rng.random_bool(0.5) { -0.5 } else { -0.25 };
            // A convex g = f^r: increments that rise, from any first value.
            let mut slope: f64 = rng.random_range(-0.02..0.5);
            let (mut g, mut law) = (rng.random_range(0.01..1.0f64), Vec::new());
            let support = rng.random_range(3..=b);
            for _ in 0..=support {
                law.push(g.powf(1.0 / r));
                g += slope;
                slope += rng.random_range(0.0..0.02);
                if g <= 0.0 {
                    break;
                }
            }
            let total: f64 = law.iter().sum();
            let mean = law.iter().enumerate().map(|(i, f)| i as f64 * f / total).sum::<f64>();
            for t in 1..law.len() {
                let beyond = law[t..].iter().sum::<f64>() / total;
                let bound = tail(mean / b as f64, t, b, r);
                assert!(beyond <= bound + 1e-9, "P(X ≥ {t}) = {beyond} > {bound}, B = {b}, r = {r}");
                if bound < 1.0 {
                    (tried, near) = (tried + 1, near.max(beyond / bound));
                }
            }
        }
        assert!(tried > 500 && near > 0.8, "{tried} tried, the closest at {near} of the bound");
    }

    #[test]
    fn bounds_say_nothing_where_nothing_is_known() {
        assert_eq!(general(10.0, 100.0, 0.5), f64::INFINITY);
        assert_eq!(unimodal(10.0, 100.0, 0.5, 50), f64::INFINITY);
        assert_eq!(unimodal(70.0, 100.0, 0.9, 50), f64::INFINITY);
        assert_eq!(unimodal(10.0, 100.0, 0.9, 1), f64::INFINITY);
        assert_eq!(concave(0.0, 100.0, 0.9, 50), 0.0);
        assert_eq!(concave(80.0, 100.0, 0.9, 50), 100.0);
        for p in [2.0, 10.0, 1e9] {
            for q in [1e-3, 1.0, 2.0] {
                for pairs in [0, 1, 2, 50] {
                    assert!((0.0..=p).contains(&concave(q, p, 0.9, pairs)), "{q} of {p}, {pairs}");
                }
            }
        }
        assert_eq!([needed(0.9, 100), needed(0.901, 100), needed(1.0, 7), needed(0.55, 20)], [90, 91, 7, 11]);
    }
}
