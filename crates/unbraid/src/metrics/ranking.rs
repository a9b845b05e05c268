//! Precision and recall of a ranking: how well the size of an estimated entry says where the true
//! edges are.
//!
//! At a threshold t, precision is the share of true edges among the pairs scored t or more, recall the
//! share of the true edges that are among them. The area under the curve is the trapezoidal one,
//! scikit-learn's `auc(recall, precision)`, which is what the network papers print; average precision
//! Σ (R_n − R_{n−1}) P_n is given beside it.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::Square;

/// A precision–recall curve, one point per distinct score.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// One longer than `thresholds`; the last is 1.
    pub precision: Vec<f64>,
    /// One longer than `thresholds`, falling; the last is 0.
    pub recall: Vec<f64>,
    /// The distinct scores, rising.
    pub thresholds: Vec<f64>,
    /// Share of true edges among all pairs: the precision of guessing.
    pub chance: f64,
}

/// What a pair's score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankBy {
    /// |Ψ_ij|: an edge of either sign.
    Magnitude,
    /// Ψ_ij: where the true entries are positive.
    Signed,
    /// −Ψ_ij: where the true entries are negative, positive partial correlations.
    Negated,
}

/// The curve of `scores` against `truth`, one entry per pair; ties share one point.
///
/// # Errors
/// [`Error::Shape`] for different lengths, [`Error::Value`] for a score that is not finite,
/// [`Error::Missing`] when nothing is true, since recall is then undefined.
pub fn precision_recall(truth: &[bool], scores: &[f64]) -> Result<Curve> {
    if truth.len() != scores.len() {
        let found = vec![scores.len()];
        return Err(Error::Shape { what: "scores".into(), found, rule: "as long as the truth" });
    }
    if let Some((i, &found)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
        return Err(Error::Value { what: "scores".into(), found, at: (i, 0), rule: "finite" });
    }
    curve(truth.iter().zip(scores).map(|(&t, &s)| (s, u64::from(t), u64::from(!t))).collect())
}

/// The curve of an estimated matrix against a true one, both n × n and symmetric, over the pairs
/// below the diagonal: a pair is true when its entry in `truth` is not zero.
///
/// # Errors
/// [`Error::Shape`] when the matrices are not square or differ in size, [`Error::Value`] for an entry
/// that is not finite, [`Error::Missing`] when the true graph has no edge.
pub fn edge_ranking<'a>(
    truth: impl Into<Square<'a>>,
    estimate: impl Into<Square<'a>>,
    by: RankBy,
) -> Result<Curve> {
    let (truth, estimate) = (truth.into(), estimate.into());
    let n = truth.vertices("the true graph")?;
    if estimate.vertices("the estimated graph")? != n {
        let found = vec![estimate.shape().0, estimate.shape().1];
        return Err(Error::Shape {
            what: "the estimated graph".into(),
            found,
            rule: "as large as the true one",
        });
    }
    // Pairs that are zero in both are counted, not listed.
    let mut listed: BTreeMap<(usize, usize), (f64, bool)> = BTreeMap::new();
    let mut points: Vec<(f64, u64, u64)> = Vec::new();
    truth.edges(|i, j, _| {
        listed.insert((i, j), (0.0, true));
    });
    estimate.edges(|i, j, v| {
        let score = match by {
            RankBy::Magnitude => v.abs(),
            RankBy::Signed => v,
            RankBy::Negated => -v,
        };
        match listed.get_mut(&(i, j)) {
            Some(entry) => entry.0 = score,
            None => points.push((score, 0, 1)),
        }
    });
    let pairs = (n as u64) * (n as u64).saturating_sub(1) / 2;
    points.push((0.0, 0, pairs - (points.len() + listed.len()) as u64));
    points.extend(listed.values().map(|&(score, _)| (score, 1, 0)));
    curve(points)
}

/// From (score, true pairs, false pairs) in any order.
fn curve(mut points: Vec<(f64, u64, u64)>) -> Result<Curve> {
    points.retain(|p| p.1 + p.2 > 0);
    points.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positive: u64 = points.iter().map(|p| p.1).sum();
    let all: u64 = points.iter().map(|p| p.1 + p.2).sum();
    if positive == 0 {
        return Err(Error::Missing {
            what: "a true edge".into(),
            hint: "precision and recall need at least one".into(),
        });
    }
    let (mut precision, mut recall, mut thresholds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hits, mut seen) = (0, 0);
    for (at, &(score, t, f)) in points.iter().enumerate() {
        hits += t;
        seen += t + f;
        // -0 and 0 are one score.
        if points.get(at + 1).is_none_or(|next| next.0 != score) {
            precision.push(hits as f64 / seen as f64);
            recall.push(hits as f64 / positive as f64);
            thresholds.push(score);
        }
    }
    for v in [&mut precision, &mut recall, &mut thresholds] {
        v.reverse();
    }
    precision.push(1.0);
    recall.push(0.0);
    Ok(Curve { precision, recall, thresholds, chance: positive as f64 / all as f64 })
}

impl Curve {
    /// Area under the curve by trapezoids.
    pub fn aupr(&self) -> f64 {
        self.steps().map(|(width, left, right)| width * (left + right) / 2.0).sum()
    }

    /// Average precision: every step of recall at the precision reached there.
    pub fn average_precision(&self) -> f64 {
        self.steps().map(|(width, left, _)| width * left).sum()
    }

    /// (fall of recall, precision before, precision after) from the lowest threshold up.
    fn steps(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        self.recall.windows(2).zip(self.precision.windows(2)).map(|(r, p)| (r[0] - r[1], p[0], p[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use ndarray::{Array2, array};

    #[test]
    fn sparse_and_dense_estimates_give_the_curve_of_the_listed_pairs() {
        let mut truth: Array2<f64> = Array2::zeros((6, 6));
        let mut estimate: Array2<f64> = Array2::zeros((6, 6));
        for (i, j, t, e) in
            [(1, 0, 1.0, -0.5), (2, 1, -1.0, 0.25), (4, 3, 1.0, 0.0), (5, 0, 0.0, 0.4), (5, 4, 0.0, -0.1)]
        {
            (truth[[i, j]], truth[[j, i]]) = (t, t);
            (estimate[[i, j]], estimate[[j, i]]) = (e, e);
        }
        for by in [RankBy::Magnitude, RankBy::Signed, RankBy::Negated] {
            let (mut labels, mut scores) = (Vec::new(), Vec::new());
            for i in 0..6 {
                for j in 0..i {
                    labels.push(truth[[i, j]] != 0.0);
                    let v: f64 = estimate[[i, j]];
                    scores.push(match by {
                        RankBy::Magnitude => v.abs(),
                        RankBy::Signed => v,
                        RankBy::Negated => -v,
                    });
                }
            }
            let listed = precision_recall(&labels, &scores).unwrap();
            let sparse = Csr::from_dense(estimate.view());
            assert_eq!(edge_ranking(&truth, &estimate, by).unwrap(), listed);
            assert_eq!(edge_ranking(&truth, &sparse, by).unwrap(), listed);
            assert_eq!(listed.chance, 3.0 / 15.0);
        }
    }

    #[test]
    fn perfect_and_worst_rankings() {
        let best = precision_recall(&[true, true, false], &[3.0, 2.0, 1.0]).unwrap();
        assert_eq!((best.aupr(), best.average_precision()), (1.0, 1.0));
        let flat = precision_recall(&[true, false, false, false], &[0.0; 4]).unwrap();
        assert_eq!((flat.precision.clone(), flat.average_precision()), (vec![0.25, 1.0], 0.25));
        assert!(precision_recall(&[false], &[1.0]).unwrap_err().to_string().contains("true edge"));
        assert!(precision_recall(&[true], &[f64::NAN]).is_err());
        assert!(precision_recall(&[true], &[]).is_err());
        let (a, b) = (array![[1.0, 1.0]], array![[1.0]]);
        assert!(edge_ranking(&a, &b, RankBy::Magnitude).is_err());
    }
}
