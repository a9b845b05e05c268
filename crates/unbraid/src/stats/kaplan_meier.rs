//! The share that is still without the event, over time, and whether groups differ in it.
//!
//! With d_t events at time t among the r_t subjects watched until t or longer (Kaplan and Meier 1958)
//!
//! S(t) = Π_{s ≤ t} (1 − d_s / r_s),  σ²(t) = Σ_{s ≤ t} d_s / (r_s (r_s − d_s)),
//!
//! σ² after Greenwood (1926) is the variance of ln S. The band is an interval for ln(−ln S), so that it stays within 0
//! and 1: S^exp(±z σ / ln S) with z the normal quantile, 1.96 for 95 %.
//!
//! The log-rank test (Mantel 1966; Peto and Peto 1972) compares the events O_g of group g with those expected if all
//! groups had one hazard, r_gt its subjects at risk at t:
//!
//! E_g = Σ_t d_t r_gt / r_t,  V_gh = Σ_t d_t (r_t − d_t) / (r_t − 1) · (r_gt / r_t) ([g = h] − r_ht / r_t),
//!
//! and (O − E)ᵀ V⁻ (O − E) is χ² with as many degrees of freedom as V has rank, usually one less than groups.

use super::cox::chi_square_tail;
use crate::error::{Error, Result};

/// The 97.5 % quantile of the normal distribution, for bands of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// S just after one time at which something happened or a watch ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survived {
    /// t.
    pub time: f64,
    /// S(t).
    pub share: f64,
    /// Lower end of the 95 % band; 1 before the first event. Where S is 0 no interval is defined, and the band reaches from 0 to
    /// its upper end before.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// r_t.
    pub at_risk: usize,
    /// d_t.
    pub events: usize,
    /// Subjects whose watch ended at t without the event.
    pub censored: usize,
}

/// The curve at every distinct time, rising; S is 1 before the first.
///
/// # Errors
/// [`Error::Shape`] when there is not one event flag per time, [`Error::Value`] for a time that is not
/// finite or negative.
pub fn kaplan_meier(time: &[f64], event: &[bool]) -> Result<Vec<Survived>> {
    check(time, event)?;
    let order = by_time(time);
    let (mut curve, mut share, mut variance, mut high) = (Vec::new(), 1.0, 0.0, 1.0);
    let mut start = 0;
    while start < order.len() {
        let same = tied(time, &order[start..]);
        let at_risk = order.len() - start;
        let events = order[start..start + same].iter().filter(|&&i| event[i]).count();
        let (d, r) = (events as f64, at_risk as f64);
        share *= 1.0 - d / r;
        let low = if events == at_risk {
            share = 0.0;
            0.0
        } else {
            variance += d / (r * (r - d));
            let by = (Z * f64::sqrt(variance) / f64::ln(share)).exp();
            // Before the first event the exponent is that of 0/0.
            match share < 1.0 {
                true => {
                    high = share.powf(by);
                    share.powf(1.0 / by)
                }
                false => 1.0,
            }
        };
        let time = time[order[start]];
        curve.push(Survived { time, share, low, high, at_risk, events, censored: same - events });
        start += same;
    }
    Ok(curve)
}

/// The first time at which no more than half are without the event; `None` where the curve ends above.
pub fn median(curve: &[Survived]) -> Option<f64> {
    // The product of many factors can miss one half by rounding.
    curve.iter().find(|s| s.share <= 0.5 + 1e-12).map(|s| s.time)
}

/// The log-rank test.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRank {
    /// χ² of the test.
    pub chi2: f64,
    /// Its degrees of freedom, the rank of V.
    pub degrees: usize,
    /// P(χ² ≥ chi2); 1 without degrees of freedom.
    pub p: f64,
    /// O, one per group.
    pub observed: Vec<f64>,
    /// E.
    pub expected: Vec<f64>,
}

/// Compares groups, which are numbered from 0 without a gap.
///
/// # Errors
/// As [`kaplan_meier`]; [`Error::Shape`] when there is not one group per time, or fewer than two groups.
pub fn log_rank(time: &[f64], event: &[bool], group: &[usize]) -> Result<LogRank> {
    check(time, event)?;
    if group.len() != time.len() {
        let found = vec![group.len()];
        return Err(Error::Shape { what: "groups".into(), found, rule: "one per time" });
    }
    let groups = group.iter().max().map_or(0, |g| g + 1);
    let mut at_risk = vec![0.0; groups];
    group.iter().for_each(|&g| at_risk[g] += 1.0);
    if groups < 2 || at_risk.contains(&0.0) {
        let rule = "at least two, none of them empty";
        return Err(Error::Shape { what: "groups".into(), found: vec![groups], rule });
    }
    let order = by_time(time);
    let (mut observed, mut expected) = (vec![0.0; groups], vec![0.0; groups]);
    let mut v = vec![vec![0.0; groups]; groups];
    let mut start = 0;
    while start < order.len() {
        let same = &order[start..start + tied(time, &order[start..])];
        let r = (order.len() - start) as f64;
        let d = same.iter().filter(|&&i| event[i]).count() as f64;
        if d > 0.0 {
            let share: Vec<f64> = at_risk.iter().map(|g| g / r).collect();
            let weight = if r > 1.0 { d * (r - d) / (r - 1.0) } else { 0.0 };
            for g in 0..groups {
                expected[g] += d * share[g];
                for (h, other) in share.iter().enumerate() {
                    let own = if g == h { 1.0 } else { 0.0 };
                    v[g][h] += weight * share[g] * (own - other);
                }
            }
        }
        for &i in same {
            at_risk[group[i]] -= 1.0;
            observed[group[i]] += f64::from(u8::from(event[i]));
        }
        start += same.len();
    }
    let gap: Vec<f64> = observed.iter().zip(&expected).map(|(o, e)| o - e).collect();
    let (chi2, degrees) = semidefinite(v, gap);
    let p = if degrees == 0 { 1.0 } else { chi_square_tail(chi2, degrees) };
    Ok(LogRank { chi2, degrees, p, observed, expected })
}

/// xᵀ V⁻ x and the rank of V, positive semidefinite, for an x in its range: Cholesky steps that pass over pivots of 0.
fn semidefinite(mut v: Vec<Vec<f64>>, mut x: Vec<f64>) -> (f64, usize) {
    let whole: Vec<f64> = (0..x.len()).map(|j| v[j][j]).collect();
    let (mut sum, mut rank) = (0.0, 0);
    for j in 0..x.len() {
        let pivot = v[j][j];
        if pivot <= 1e-9 * whole[j] {
            continue;
        }
        sum += x[j] * x[j] / pivot;
        rank += 1;
        for i in j + 1..x.len() {
            let by = v[i][j] / pivot;
            x[i] -= by * x[j];
            for k in j + 1..=i {
                v[i][k] -= by * v[k][j];
            }
        }
    }
    (sum, rank)
}

fn check(time: &[f64], event: &[bool]) -> Result<()> {
    if event.len() != time.len() {
        let found = vec![event.len()];
        return Err(Error::Shape { what: "events".into(), found, rule: "one per time" });
    }
    match time.iter().enumerate().find(|(_, t)| !(t.is_finite() && **t >= 0.0)) {
        Some((i, &found)) => {
            Err(Error::Value { what: "time".into(), found, at: (i, 0), rule: "a finite time, 0 or later" })
        }
        None => Ok(()),
    }
}

fn by_time(time: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..time.len()).collect();
    order.sort_by(|&a, &b| (time[a] + 0.0).total_cmp(&(time[b] + 0.0)));
    order
}

/// How many at the head of `order` have the time of the first.
fn tied(time: &[f64], order: &[usize]) -> usize {
    order.iter().take_while(|&&i| time[i] == time[order[0]]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_curve_by_hand() {
        let curve = kaplan_meier(&[3.0, 1.0, 2.0, 2.0, 5.0], &[false, true, true, false, true]).unwrap();
        let found: Vec<_> = curve.iter().map(|s| (s.time, s.at_risk, s.events, s.censored)).collect();
        assert_eq!(found, [(1.0, 5, 1, 0), (2.0, 4, 1, 1), (3.0, 2, 0, 1), (5.0, 1, 1, 0)]);
        for (s, expected) in curve.iter().zip([0.8, 0.6, 0.6, 0.0]) {
            assert!((s.share - expected).abs() < 1e-15);
            assert!(0.0 <= s.low && s.low <= s.share && s.share <= s.high && s.high <= 1.0, "{s:?}");
        }
        assert_eq!(median(&curve), Some(5.0));
        assert_eq!(median(&curve[..3]), None);
        assert!(kaplan_meier(&[], &[]).unwrap().is_empty());
        assert!(kaplan_meier(&[1.0], &[]).is_err());
        assert!(kaplan_meier(&[-1.0], &[true]).unwrap_err().to_string().contains("-1"));
        let none = kaplan_meier(&[1.0, 2.0], &[false, false]).unwrap();
        assert!(none.iter().all(|s| (s.low, s.share, s.high) == (1.0, 1.0, 1.0)));
    }

    #[test]
    fn groups_without_a_common_time_take_degrees_of_freedom_away() {
        let time = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let event = [true, true, true, true, true, false];
        let all = log_rank(&time, &event, &[0, 1, 0, 1, 0, 1]).unwrap();
        assert_eq!(all.degrees, 1);
        assert!((all.observed.iter().sum::<f64>() - all.expected.iter().sum::<f64>()).abs() < 1e-12);
        // A group that leaves before the first event says nothing.
        let gone = log_rank(&[0.5, 0.5, 1.0, 2.0], &[false, false, true, true], &[0, 0, 1, 2]).unwrap();
        assert_eq!((gone.degrees, gone.expected[0]), (1, 0.0));
        let alone = log_rank(&[0.5, 1.0], &[false, true], &[0, 1]).unwrap();
        assert_eq!((alone.degrees, alone.chi2, alone.p), (0, 0.0, 1.0));
        assert!(log_rank(&[1.0, 2.0], &[true, true], &[0, 0]).is_err());
        assert!(log_rank(&[1.0, 2.0], &[true, true], &[0, 2]).is_err());
        assert!(log_rank(&[1.0, 2.0], &[true, true], &[0]).is_err());
    }
}
