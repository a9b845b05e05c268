//! One network, judged: against known labels of its vertices, or against a true graph.
//!
//! **Labels.** The graph's Leiden partitions over a grid of resolutions γ are compared with the labels
//! (adjusted mutual information, adjusted Rand index, and both after the *found* communities were given
//! equal mass: the argument order of the published evaluation), and the labels' assortativity over the
//! edges is taken. Where a precision matrix is known beyond the edges kept of it, the graph is made anew
//! for every k: each vertex with its k largest |ψ|, in either direction. The best of a grid is chosen
//! with the labels in view: a comparison of graphs, not an estimate of how well labels would be found.
//!
//! **Truth.** Pairs below the diagonal are ranked by |ψ̂|, by ψ̂ and by −ψ̂, and the area under the
//! precision–recall curve is taken by trapezoids (the published form) and as average precision. The
//! chance level of both is the share of true pairs.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::assortativity;
use super::clustering::Contingency;
use super::ranking::{Curve, RankBy, edge_ranking};
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::graph::Square;
use crate::graph::edges::{self, Keep, Rule};
use crate::graph::leiden::leiden;
use crate::linalg;

/// `count` resolutions from `low` to `high`, evenly spaced, both ends included.
pub fn resolutions(low: f64, high: f64, count: usize) -> Vec<f64> {
    let step = (high - low) / count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| low + step * i as f64).collect()
}

/// How partitions are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelOptions {
    /// Leiden resolutions γ, each at least 0. Default 12 from 0.1 to 2; the published evaluations use
    /// 100 from 0.01 (simulated) or 0.02 (real data) to 2.
    pub resolutions: Vec<f64>,
    /// Whether Leiden reads the weights. Default false, as in the published evaluation of real data;
    /// that of simulated data reads them.
    pub weighted: bool,
}

impl Default for LabelOptions {
    fn default() -> LabelOptions {
        LabelOptions { resolutions: resolutions(0.1, 2.0, 12), weighted: false }
    }
}

/// A measure of agreement of communities with labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Adjusted mutual information.
    Ami,
    /// The same after the communities were given equal mass.
    BalancedAmi,
    /// Adjusted Rand index.
    Ari,
    /// The same after the communities were given equal mass.
    BalancedAri,
}

impl Score {
    /// All of them.
    pub const ALL: [Score; 4] = [Score::Ami, Score::BalancedAmi, Score::Ari, Score::BalancedAri];

    /// As a reader sees it.
    pub fn name(self) -> &'static str {
        match self {
            Score::Ami => "AMI",
            Score::BalancedAmi => "balanced AMI",
            Score::Ari => "ARI",
            Score::BalancedAri => "balanced ARI",
        }
    }
}

/// The communities at one resolution beside the labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// γ.
    pub resolution: f64,
    /// Number of communities.
    pub communities: usize,
    /// Adjusted mutual information.
    pub ami: f64,
    /// After the communities were given equal mass.
    pub balanced_ami: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// After the communities were given equal mass.
    pub balanced_ari: f64,
}

impl Partition {
    /// One of the four.
    pub fn score(&self, which: Score) -> f64 {
        match which {
            Score::Ami => self.ami,
            Score::BalancedAmi => self.balanced_ami,
            Score::Ari => self.ari,
            Score::BalancedAri => self.balanced_ari,
        }
    }
}

/// One graph beside the labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Neighbours kept per vertex, where the graph was made so.
    pub k: Option<usize>,
    /// Pairs joined.
    pub edges: usize,
    /// Nominal assortativity of the labels; `None` where it is undefined.
    pub nominal: Option<f64>,
    /// Numeric assortativity of the label codes, which depends on their order; `None` where undefined.
    pub numeric: Option<f64>,
    /// One per resolution, in the order asked.
    pub partitions: Vec<Partition>,
}

impl Judged {
    /// The partition with the largest score, the first of equals.
    pub fn best(&self, which: Score) -> Option<&Partition> {
        self.partitions.iter().reduce(|best, p| if p.score(which) > best.score(which) { p } else { best })
    }
}

/// One matrix beside the labels, at every k asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelEvaluation {
    /// One per k, in the order asked.
    pub at: Vec<Judged>,
}

impl LabelEvaluation {
    /// The graph and partition with the largest score over all k and resolutions, the first of equals.
    pub fn best(&self, which: Score) -> Option<(&Judged, &Partition)> {
        let each = self.at.iter().filter_map(|j| Some((j, j.best(which)?)));
        each.reduce(|best, next| if next.1.score(which) > best.1.score(which) { next } else { best })
    }

    /// The largest nominal assortativity over all k.
    pub fn nominal(&self) -> Option<f64> {
        self.at.iter().filter_map(|j| j.nominal).reduce(f64::max)
    }

    /// The largest numeric assortativity over all k.
    pub fn numeric(&self) -> Option<f64> {
        self.at.iter().filter_map(|j| j.numeric).reduce(f64::max)
    }
}

/// Judges one graph as it stands, its diagonal included, by one label per vertex.
///
/// The partition at a resolution depends on the seed, not on which other resolutions are asked, and
/// not on the number of threads.
///
/// # Errors
/// [`Error::Shape`] for a graph that is not square or labels of another number, [`Error::Value`] for a
/// weight that is negative, not finite or not symmetric, [`Error::Param`] for a resolution.
pub fn judge(graph: &Csr, labels: &[usize], options: &LabelOptions, seed: Seed) -> Result<Judged> {
    let nominal = assortativity::nominal(graph, labels)?;
    let codes: Vec<f64> = labels.iter().map(|&l| l as f64).collect();
    let numeric = assortativity::numeric(graph, &codes)?;
    let unit;
    let read = match options.weighted {
        true => graph,
        false => {
            unit = graph.map(|w| f64::from(u8::from(w != 0.0)));
            &unit
        }
    };
    let one = |&resolution: &f64| {
        linalg::settle();
        let found = leiden(read, resolution, seed)?;
        let table = Contingency::new(&found, labels)?;
        let balanced = table.balanced();
        Ok(Partition {
            resolution,
            communities: found.iter().max().map_or(0, |l| l + 1),
            ami: table.ami(),
            balanced_ami: balanced.ami(),
            ari: table.ari(),
            balanced_ari: balanced.ari(),
        })
    };
    let partitions = options.resolutions.par_iter().map(one).collect::<Result<Vec<_>>>()?;
    let edges = graph.entries().filter(|&(i, j, w)| j < i && w != 0.0).count();
    Ok(Judged { k: None, edges, nominal, numeric, partitions })
}

/// Judges the top-k graphs of a symmetric signed matrix, one per k; see [`top_k`].
///
/// # Errors
/// As [`judge`] and [`top_k`].
pub fn judge_top_k<'a>(
    matrix: impl Into<Square<'a>>,
    ks: &[usize],
    labels: &[usize],
    options: &LabelOptions,
    seed: Seed,
) -> Result<LabelEvaluation> {
    let matrix = matrix.into();
    let at = ks.iter().map(|&k| {
        let judged = judge(&top_k(matrix, k)?, labels, options, seed)?;
        Ok(Judged { k: Some(k), ..judged })
    });
    Ok(LabelEvaluation { at: at.collect::<Result<_>>()? })
}

/// The graph of the k largest |ψ| of every row, in either direction: weights |ψ|, symmetric, zero
/// diagonal.
///
/// A sparse matrix is read as the entries kept of a larger one: where those were the top K of every
/// row, the result is that of the whole matrix for every k up to K.
///
/// # Errors
/// [`Error::Param`] for k = 0, [`Error::Shape`] for a matrix that is not square, [`Error::Value`] for an
/// entry that is not finite.
pub fn top_k<'a>(matrix: impl Into<Square<'a>>, k: usize) -> Result<Csr> {
    let matrix = matrix.into();
    let n = matrix.vertices("the matrix")?;
    let kept = match matrix {
        Square::Dense(m) => edges::select(&m, &Keep::from(Rule::Top(k)), None)?,
        Square::Sparse(_) if k == 0 => {
            return Err(Error::Param { name: "k", found: "0".into(), rule: "at least 1" });
        }
        Square::Sparse(m) => {
            let mut chosen: Vec<(u32, u32, f64)> = Vec::new();
            for i in 0..n {
                let (at, values) = m.row(i);
                let others = at.iter().zip(values).filter(|&(&j, &v)| j as usize != i && v != 0.0);
                let mut row: Vec<(u32, u32, f64)> =
                    others.map(|(&j, &v)| (j.min(i as u32), j.max(i as u32), v)).collect();
                // Larger first, ties by position, as `edges::select` has it.
                row.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()).then((a.0, a.1).cmp(&(b.0, b.1))));
                chosen.extend(row.into_iter().take(k));
            }
            chosen.sort_by_key(|&(i, j, _)| (i, j));
            chosen.dedup_by_key(|&mut (i, j, _)| (i, j));
            Csr::from_triplets((n, n), chosen.iter().flat_map(|&(i, j, v)| [(i, j, v), (j, i, v)]).collect())
        }
    };
    Ok(edges::connectivities(&kept))
}

/// Both areas under one curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Areas {
    /// By trapezoids: scikit-learn's `auc(recall, precision)`.
    pub aupr: f64,
    /// Average precision: scikit-learn's `average_precision_score`.
    pub average_precision: f64,
}

impl From<&Curve> for Areas {
    fn from(curve: &Curve) -> Areas {
        Areas { aupr: curve.aupr(), average_precision: curve.average_precision() }
    }
}

/// One matrix beside a true graph.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthEvaluation {
    /// Pairs of vertices.
    pub pairs: u64,
    /// True edges.
    pub edges: u64,
    /// Share of true pairs, the precision of guessing.
    pub chance: f64,
    /// Pairs ranked by |ψ̂|: an edge of either sign. What published figures show.
    pub magnitude: Areas,
    /// Pairs ranked by ψ̂, for true entries above 0.
    pub signed: Areas,
    /// Pairs ranked by −ψ̂, for true entries below 0.
    pub negated: Areas,
}

/// Ranks all pairs of a symmetric estimate, and compares with the pairs whose entry in `truth` is not
/// zero; diagonals are not read.
///
/// # Errors
/// As [`edge_ranking`].
pub fn against_truth<'a>(
    truth: impl Into<Square<'a>>,
    estimate: impl Into<Square<'a>>,
) -> Result<TruthEvaluation> {
    let (truth, estimate) = (truth.into(), estimate.into());
    let curve = |by| edge_ranking(truth, estimate, by);
    let magnitude = curve(RankBy::Magnitude)?;
    let n = truth.shape().0 as u64;
    let mut edges = 0;
    truth.edges(|_, _, _| edges += 1);
    Ok(TruthEvaluation {
        pairs: n * n.saturating_sub(1) / 2,
        edges,
        chance: magnitude.chance,
        magnitude: (&magnitude).into(),
        signed: (&curve(RankBy::Signed)?).into(),
        negated: (&curve(RankBy::Negated)?).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Draw;
    use crate::metrics::clustering::{ami, balanced_ami, balanced_ari};
    use ndarray::Array2;
    use rand::RngExt;

    /// Three blocks, entries of both signs larger within; `levels` makes entries tie.
    fn blocks(n: usize, levels: f64) -> (Array2<f64>, Vec<usize>) {
        let mut rng = Seed(4).stream(Draw::Simulate, 0);
        let labels: Vec<usize> = (0..n).map(|i| i * 3 / n).collect();
        let mut m = Array2::zeros((n, n));
        for i in 0..n {
            m[[i, i]] = 3.0;
            for j in 0..i {
                let size = if labels[i] == labels[j] { 1.0 } else { 0.5 };
                let v: f64 = size * (rng.random::<f64>() - 0.5);
                let v = if levels > 0.0 { (v * levels).round() / levels } else { v };
                (m[[i, j]], m[[j, i]]) = (v, v);
            }
        }
        (m, labels)
    }

    #[test]
    fn top_k_of_the_kept_entries_is_that_of_the_whole_matrix() {
        for levels in [0.0, 8.0] {
            let (m, _) = blocks(60, levels);
            let kept = edges::select(&m, &Keep::from(Rule::Top(10)), None).unwrap();
            for k in [1, 3, 10] {
                assert_eq!(top_k(&kept, k).unwrap(), top_k(&m, k).unwrap(), "k = {k}, levels {levels}");
            }
        }
        let (m, _) = blocks(9, 0.0);
        assert!(top_k(&m, 0).is_err() && top_k(&Csr::from_dense(m.view()), 0).is_err());
    }

    /// Every number again from the functions it is made of.
    #[test]
    fn an_evaluation_is_its_parts() {
        let (m, labels) = blocks(60, 0.0);
        let options = LabelOptions { resolutions: vec![0.3, 1.0], weighted: true };
        let found = judge_top_k(&m, &[2, 5], &labels, &options, Seed(1)).unwrap();
        for (judged, k) in found.at.iter().zip([2, 5]) {
            let graph = top_k(&m, k).unwrap();
            assert_eq!((judged.k, judged.edges), (Some(k), graph.nnz() / 2));
            assert_eq!(judged.nominal, assortativity::nominal(&graph, &labels).unwrap());
            for (p, resolution) in judged.partitions.iter().zip([0.3, 1.0]) {
                let communities = leiden(&graph, resolution, Seed(1)).unwrap();
                assert_eq!(p.ami, ami(&communities, &labels).unwrap());
                assert_eq!(p.balanced_ami, balanced_ami(&communities, &labels).unwrap());
                assert_eq!(p.balanced_ari, balanced_ari(&communities, &labels).unwrap());
            }
        }
        let best = found.best(Score::Ami).unwrap();
        assert!(found.at.iter().flat_map(|j| &j.partitions).all(|p| p.ami <= best.1.ami));
        assert!(found.nominal() >= found.at[0].nominal);
        // Without weights the graph of all pairs tells nothing.
        let flat = LabelOptions { weighted: false, ..options };
        let all = judge_top_k(&m, &[59], &labels, &flat, Seed(1)).unwrap();
        assert!(all.best(Score::Ami).unwrap().1.ami < 1e-12);
        let weighted = LabelOptions { weighted: true, ..flat.clone() };
        assert!(
            judge_top_k(&m, &[59], &labels, &weighted, Seed(1)).unwrap().best(Score::Ami).unwrap().1.ami
                > 0.5
        );
        assert!(judge_top_k(&m, &[5], &labels[1..], &flat, Seed(1)).is_err());
    }

    #[test]
    fn same_bits_on_any_pool() {
        let (m, labels) = blocks(150, 0.0);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| judge_top_k(&m, &[4, 8], &labels, &LabelOptions::default(), Seed(2)).unwrap())
        };
        let one = run(1);
        assert!(run(2) == one && run(8) == one);
    }

    #[test]
    fn truth_counts_and_ranks_by_sign() {
        let n = 30;
        let mut truth = Array2::zeros((n, n));
        for i in 1..n {
            (truth[[i, i - 1]], truth[[i - 1, i]]) = (-1.0, -1.0);
        }
        let estimate = truth.mapv(|v: f64| v * 0.2) + Array2::<f64>::eye(n);
        let found = against_truth(&truth, &estimate).unwrap();
        assert_eq!((found.pairs, found.edges), (435, 29));
        assert!((found.chance - 29.0 / 435.0).abs() < 1e-15);
        assert_eq!((found.magnitude.aupr, found.negated.average_precision), (1.0, 1.0));
        assert!(found.signed.average_precision < 0.1);
        let none: Array2<f64> = Array2::eye(n);
        assert!(against_truth(&none, &estimate).unwrap_err().to_string().contains("true edge"));
    }

    #[test]
    fn grids_are_even() {
        let grid = resolutions(0.1, 2.0, 12);
        assert_eq!((grid.len(), grid[0]), (12, 0.1));
        assert!((grid[11] - 2.0).abs() < 1e-15 && (grid[1] - grid[0] - 1.9 / 11.0).abs() < 1e-15);
        assert_eq!(resolutions(1.0, 1.0, 1), [1.0]);
    }
}
