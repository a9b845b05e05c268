//! Whether the factors found are made of the features that the true ones are made of.
//!
//! The support of a factor is the set of its features, here those with |w_jk| > `threshold`. With T the true
//! supports and F those found, empty ones left out on both sides, and J(A, B) = |A ∩ B| / |A ∪ B|,
//!
//! ```text
//! relevance = mean_{f ∈ F} max_{t ∈ T} J(f, t)       are the found ones true?
//! recovery  = mean_{t ∈ T} max_{f ∈ F} J(f, t)       are the true ones found?
//! consensus = max Σ J over one-to-one pairs / max(|T|, |F|)       both at once, every factor counted once
//! ```
//!
//! as in `moran2026` and, for clusters of rows and columns, `prelic2006` and `hochreiter2010`. All lie between 0 and 1
//! and all are 0 where either side is empty.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::assignment::best_assignment;

/// How well supports agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupportScores {
    /// Sum over the best one-to-one pairs by the larger number of supports.
    pub consensus: f64,
    /// Mean over the found of the best among the true.
    pub relevance: f64,
    /// Mean over the true of the best among the found.
    pub recovery: f64,
    /// Found supports that are not empty, |F|.
    pub found: usize,
    /// True supports that are not empty, |T|.
    pub truth: usize,
}

/// Scores of each block of columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockScores {
    /// Shared columns; `None` where neither side has any.
    pub shared: Option<SupportScores>,
    /// Each study's own columns; likewise.
    pub studies: Vec<Option<SupportScores>>,
}

/// Means of scores over the studies that have some.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanScores {
    /// Mean consensus.
    pub consensus: f64,
    /// Mean relevance.
    pub relevance: f64,
    /// Mean recovery.
    pub recovery: f64,
}

impl BlockScores {
    /// The mean over the studies; `None` where none has columns.
    pub fn mean(&self) -> Option<MeanScores> {
        let known: Vec<&SupportScores> = self.studies.iter().flatten().collect();
        let mean =
            |of: fn(&SupportScores) -> f64| known.iter().map(|s| of(s)).sum::<f64>() / known.len() as f64;
        (!known.is_empty()).then(|| MeanScores {
            consensus: mean(|s| s.consensus),
            relevance: mean(|s| s.relevance),
            recovery: mean(|s| s.recovery),
        })
    }
}

/// Where |w| is larger than the threshold. A NaN is not.
pub fn supports(w: ArrayView2<'_, f64>, threshold: f64) -> Array2<bool> {
    w.mapv(|v| v.abs() > threshold)
}

/// J(A, B) of two rising lists; 0 where both are empty.
pub fn jaccard(a: &[usize], b: &[usize]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
        }
    }
    match a.len() + b.len() - both {
        0 => 0.0,
        all => both as f64 / all as f64,
    }
}

/// The features of each column, empty columns included.
pub fn members(supports: ArrayView2<'_, bool>) -> Vec<Vec<usize>> {
    let features = |c: ndarray::ArrayView1<'_, bool>| (0..c.len()).filter(|&j| c[j]).collect();
    supports.columns().into_iter().map(features).collect()
}

/// Scores of the columns of `found` against those of `truth`, features in rows; `None` where both are empty.
///
/// # Errors
/// [`Error::Shape`] for different numbers of features.
pub fn support_scores(
    truth: ArrayView2<'_, bool>,
    found: ArrayView2<'_, bool>,
) -> Result<Option<SupportScores>> {
    same_features(truth, found)?;
    Ok(scores(&members(truth), &members(found)))
}

/// Scores of the shared columns and of each study's own. The owner of a column is the number of its study, `None`
/// for shared ones; columns of studies from `studies` on are left out.
///
/// # Errors
/// [`Error::Shape`] for different numbers of features, or owners that are not one per column.
pub fn block_scores(
    truth: (ArrayView2<'_, bool>, &[Option<usize>]),
    found: (ArrayView2<'_, bool>, &[Option<usize>]),
    studies: usize,
) -> Result<BlockScores> {
    same_features(truth.0, found.0)?;
    for (columns, owner) in [truth, found] {
        if columns.ncols() != owner.len() {
            let shape = vec![columns.ncols(), owner.len()];
            return Err(Error::Shape { what: "supports".into(), found: shape, rule: "one owner per column" });
        }
    }
    let (truth, found) = ((members(truth.0), truth.1), (members(found.0), found.1));
    let of = |(lists, owner): &(Vec<Vec<usize>>, &[Option<usize>]), who: Option<usize>| {
        lists.iter().zip(*owner).filter(|(_, o)| **o == who).map(|(l, _)| l.clone()).collect::<Vec<_>>()
    };
    let block = |who| scores(&of(&truth, who), &of(&found, who));
    Ok(BlockScores { shared: block(None), studies: (0..studies).map(|m| block(Some(m))).collect() })
}

fn same_features(truth: ArrayView2<'_, bool>, found: ArrayView2<'_, bool>) -> Result<()> {
    match truth.nrows() == found.nrows() {
        true => Ok(()),
        false => Err(Error::Shape {
            what: "true and found supports".into(),
            found: vec![truth.nrows(), found.nrows()],
            rule: "over the same features",
        }),
    }
}

fn scores(truth: &[Vec<usize>], found: &[Vec<usize>]) -> Option<SupportScores> {
    let filled = |lists: &[Vec<usize>]| -> Vec<Vec<usize>> {
        lists.iter().filter(|l| !l.is_empty()).cloned().collect()
    };
    let (truth, found) = (filled(truth), filled(found));
    let (t, f) = (truth.len(), found.len());
    if t == 0 && f == 0 {
        return None;
    }
    let mut out = SupportScores { consensus: 0.0, relevance: 0.0, recovery: 0.0, found: f, truth: t };
    if t > 0 && f > 0 {
        let j = Array2::from_shape_fn((t, f), |(a, b)| jaccard(&truth[a], &found[b]));
        let best = |line: ndarray::ArrayView1<'_, f64>| line.iter().copied().fold(0.0, f64::max);
        let pairs = best_assignment(j.view());
        let sum: f64 = pairs.iter().enumerate().filter_map(|(a, b)| Some(j[[a, (*b)?]])).sum();
        out.consensus = sum / t.max(f) as f64;
        out.relevance = j.columns().into_iter().map(best).sum::<f64>() / f as f64;
        out.recovery = j.rows().into_iter().map(best).sum::<f64>() / t as f64;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn blocks_are_scored_apart_and_unknown_studies_left_out() {
        let w =
            array![[1.0, 0.0, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0], [0.0, 1.0, -2.0, 0.0], [0.0, 0.0, 3.0, 0.4]];
        let found = supports(w.view(), 0.5);
        assert_eq!(members(found.view()), [vec![0, 1], vec![2], vec![2, 3], vec![]]);
        let truth = array![[true, false], [true, false], [true, true], [false, true]];
        let owners = [None, Some(0), Some(1), Some(1)];
        let scores = block_scores((truth.view(), &[None, Some(1)]), (found.view(), &owners), 2).unwrap();
        let shared = scores.shared.unwrap();
        assert_eq!((shared.consensus, shared.found, shared.truth), (2.0 / 3.0, 1, 1));
        // Study 0 has a column that is not there in truth; study 1 has its own and an empty one.
        let own = scores.studies[0].unwrap();
        assert_eq!((own.consensus, own.relevance, own.truth), (0.0, 0.0, 0));
        assert_eq!(scores.studies[1].unwrap().consensus, 1.0);
        assert_eq!(scores.mean().unwrap().relevance, 0.5);
        let none = block_scores((truth.view(), &[None, None]), (found.view(), &[None; 4]), 1).unwrap();
        assert_eq!((none.studies, none.shared.unwrap().truth), (vec![None], 2));
        assert!(block_scores((truth.view(), &[None]), (found.view(), &owners), 2).is_err());
        let short = found.slice(ndarray::s![..3, ..]);
        assert!(support_scores(truth.view(), short).unwrap_err().to_string().contains("[4, 3]"));
        assert!(BlockScores { shared: None, studies: vec![None] }.mean().is_none());
    }
}
