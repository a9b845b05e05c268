//! Which entries of a symmetric matrix count as edges.
//!
//! A precision matrix Ψ is dense; the graph that is read from it is not. [`Keep`] names the rules,
//! [`select`] applies one, [`connectivities`] turns the result into a graph for community detection.
//! The matrix is read by blocks of rows ([`SymmetricRows`]), so that a Ψ known only as
//! `c I + U diag(d) Uᵀ` ([`LowRank`]) is never formed. Every rule follows its definition; where two
//! entries tie, the one with the smaller row and then the smaller column is kept.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2, CowArray, Ix2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::closest::{Partner, closest};
pub use super::keep::{Keep, Rule};
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::linalg;

/// A symmetric matrix that can show any block of its rows.
pub trait SymmetricRows: Sync {
    /// Number of rows and of columns.
    fn side(&self) -> usize;
    /// The rows of one block, `rows.len()` × side.
    fn row_block(&self, rows: Range<usize>) -> CowArray<'_, f64, Ix2>;
    /// The diagonal.
    fn diagonal(&self) -> Vec<f64>;
    /// The k entries of largest size in each row off the diagonal as (row, column, entry), zeros left out;
    /// `None` where there is no faster way than to look at every entry.
    fn top_of_rows(&self, _k: usize) -> Option<Vec<(u32, u32, f64)>> {
        None
    }
}

impl SymmetricRows for ArrayView2<'_, f64> {
    fn side(&self) -> usize {
        self.nrows()
    }
    fn row_block(&self, rows: Range<usize>) -> CowArray<'_, f64, Ix2> {
        self.slice(s![rows, ..]).into()
    }
    fn diagonal(&self) -> Vec<f64> {
        self.diag().to_vec()
    }
}

impl SymmetricRows for Array2<f64> {
    fn side(&self) -> usize {
        self.nrows()
    }
    fn row_block(&self, rows: Range<usize>) -> CowArray<'_, f64, Ix2> {
        self.slice(s![rows, ..]).into()
    }
    fn diagonal(&self) -> Vec<f64> {
        self.diag().to_vec()
    }
}

/// `shift · I + U diag(values) Uᵀ`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowRank {
    /// Multiple of the identity, c.
    pub shift: f64,
    /// U, side × k.
    pub vectors: Array2<f64>,
    /// k numbers of either sign.
    pub values: Vec<f64>,
}

impl LowRank {
    /// The dense matrix, exactly symmetric.
    pub fn to_dense(&self) -> Array2<f64> {
        let mut out = linalg::symmetric_product(self.scaled(0..self.side()).view(), self.vectors.t());
        out.diag_mut().iter_mut().for_each(|v| *v += self.shift);
        out
    }

    fn scaled(&self, rows: Range<usize>) -> Array2<f64> {
        let mut out = self.vectors.slice(s![rows, ..]).to_owned();
        out.columns_mut().into_iter().zip(&self.values).for_each(|(mut c, &v)| c *= v);
        out
    }
}

/// Rows from which [`closest`] is faster than all products.
const MANY: usize = 4096;

impl SymmetricRows for LowRank {
    /// With values of one sign the entries are ± inner products of the rows of U |diag(values)|^½.
    fn top_of_rows(&self, k: usize) -> Option<Vec<(u32, u32, f64)>> {
        let sign = if self.values.iter().all(|v| *v <= 0.0) { -1.0 } else { 1.0 };
        if self.side() < MANY || self.values.iter().any(|v| v * sign < 0.0) {
            return None;
        }
        let mut x = self.vectors.clone();
        x.columns_mut().into_iter().zip(&self.values).for_each(|(mut c, v)| c *= v.abs().sqrt());
        let found = closest(x.view(), k);
        let of_row = |(i, list): (usize, Vec<Partner>)| {
            list.into_iter().map(move |p| (i as u32, p.row, sign * p.product))
        };
        Some(found.into_iter().enumerate().flat_map(of_row).collect())
    }
    fn side(&self) -> usize {
        self.vectors.nrows()
    }
    fn row_block(&self, rows: Range<usize>) -> CowArray<'_, f64, Ix2> {
        let mut out = linalg::matmul(self.scaled(rows.clone()).view(), self.vectors.t());
        for (at, i) in rows.enumerate() {
            out[[at, i]] += self.shift;
        }
        out.into()
    }
    fn diagonal(&self) -> Vec<f64> {
        let of = |row: ArrayView1<'_, f64>| row.iter().zip(&self.values).map(|(u, d)| d * u * u).sum::<f64>();
        self.vectors.outer_iter().map(|row| self.shift + of(row)).collect()
    }
}

/// Scale of an entry of Ψ under the null of no edge, for `significant` and `bonferroni`.
///
/// The coefficient of an axis of length d_ℓ is `sqrt(Σ_γ d_γ v_γ² / d_ℓ)` over the tensors γ that have
/// the axis, d_γ the number of values of γ and v_γ the variance given to it, one over the number of its
/// axes unless known better (Andrew et al. 2024, GmGM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Significance {
    /// The coefficient; larger means that smaller entries are significant.
    pub coefficient: f64,
}

impl Significance {
    /// From (number of values, variance) of each tensor with the axis, and the axis' length.
    pub fn new(tensors: &[(f64, f64)], axis: usize) -> Significance {
        let sum: f64 = tensors.iter().map(|(d, v)| d * v * v).sum();
        Significance { coefficient: (sum / axis as f64).sqrt() }
    }

    /// For one matrix with two axes, the first of length `axis`.
    pub fn of_matrix(axis: usize, other: usize) -> Significance {
        Significance::new(&[(axis as f64 * other as f64, 0.5)], axis)
    }

    /// Smallest |ψ| that is significant at level α among `pairs` tests.
    fn threshold(&self, alpha: f64, pairs: f64) -> f64 {
        let quantile = Normal::standard().inverse_cdf(1.0 - alpha / pairs.max(1.0));
        2.0 * (quantile / self.coefficient).max(0.0)
    }
}

/// Most rows read at a time.
const BLOCK: usize = 256;
/// Numbers in a block of rows (64 MB), which is what selection costs in memory where d is large.
const ROOM: usize = 1 << 23;

/// Rows read at a time for a matrix of side `d`.
fn block_rows(d: usize) -> usize {
    (ROOM / d.max(1)).clamp(16, BLOCK)
}

/// `f(i, row i)` for every row, in order; blocks are read one after the other, rows in parallel.
fn by_row<T: Send>(
    matrix: &(impl SymmetricRows + ?Sized),
    f: impl Fn(usize, ArrayView1<'_, f64>) -> T + Sync,
) -> Vec<T> {
    let d = matrix.side();
    let mut out = Vec::with_capacity(d);
    let step = block_rows(d);
    for start in (0..d).step_by(step) {
        let block = matrix.row_block(start..(start + step).min(d));
        let of_row = |at| {
            linalg::settle();
            f(start + at, block.row(at))
        };
        out.par_extend((0..block.nrows()).into_par_iter().map(of_row));
    }
    out
}

/// An edge: the smaller end, the larger end, the signed entry.
type Edge = (u32, u32, f64);

fn edge(i: usize, j: usize, v: f64) -> Edge {
    (i.min(j) as u32, i.max(j) as u32, v)
}

/// An edge that competes for a place.
#[derive(Clone, Copy)]
struct Candidate {
    score: f64,
    edge: Edge,
}

/// Larger scores first, ties by position.
fn better_first(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let at = |c: &Candidate| (c.edge.0, c.edge.1);
    b.score.total_cmp(&a.score).then_with(|| at(a).cmp(&at(b)))
}

/// Leaves the `k` best, in any order.
fn keep_best(all: &mut Vec<Candidate>, k: usize) {
    if k == 0 {
        all.clear();
    } else if all.len() > k {
        all.select_nth_unstable_by(k - 1, better_first);
        all.truncate(k);
    }
}

/// The k largest |ψ_ij| / weight_j of each row; zeros are never edges.
fn top_of_rows(matrix: &(impl SymmetricRows + ?Sized), k: usize, weight: Option<&[f64]>) -> Vec<Edge> {
    if weight.is_none()
        && let Some(found) = matrix.top_of_rows(k)
    {
        return found.into_iter().map(|(i, j, v)| edge(i as usize, j as usize, v)).collect();
    }
    let of_row = |i: usize, row: ArrayView1<'_, f64>| {
        let score = |j: usize, v: f64| v.abs() / weight.map_or(1.0, |w| w[j]);
        let room = 2 * k + 30;
        let mut best = Vec::with_capacity(room);
        // Columns come in the order in which ties are broken, so what only equals the floor has lost.
        let mut floor = 0.0;
        for (j, &v) in row.iter().enumerate() {
            let score = score(j, v);
            if score > floor && j != i {
                best.push(Candidate { score, edge: edge(i, j, v) });
                if best.len() == room {
                    keep_best(&mut best, k);
                    floor = best.iter().map(|c| c.score).fold(f64::INFINITY, f64::min);
                }
            }
        }
        keep_best(&mut best, k);
        best.into_iter().map(|c| c.edge).collect::<Vec<Edge>>()
    };
    by_row(matrix, of_row).concat()
}

/// The `count` pairs with the largest |ψ_ij| / min(weight_i, weight_j), in one pass and with room for
/// twice as many.
fn top_of_all(matrix: &(impl SymmetricRows + ?Sized), count: usize, weight: Option<&[f64]>) -> Vec<Edge> {
    let d = matrix.side();
    let score = |i: usize, j: usize, v: f64| v.abs() / weight.map_or(1.0, |w| w[i].min(w[j]));
    let room = 2 * count.max(1 << 12);
    let mut best: Vec<Candidate> = Vec::new();
    // What comes later and only equals the floor loses its tie, so it need not be looked at.
    let mut floor = 0.0;
    let step = block_rows(d);
    for start in (0..d).step_by(step) {
        let block = matrix.row_block(start..(start + step).min(d));
        for (i, row) in (start..).zip(block.rows()) {
            for (j, &v) in row.iter().enumerate().skip(i + 1) {
                let score = score(i, j, v);
                if score > floor {
                    best.push(Candidate { score, edge: edge(i, j, v) });
                }
                if best.len() == room {
                    keep_best(&mut best, count);
                    floor = best.iter().map(|c| c.score).fold(f64::INFINITY, f64::min);
                }
            }
        }
    }
    keep_best(&mut best, count);
    best.into_iter().map(|c| c.edge).collect()
}

/// Every pair with |ψ| at or above the threshold; zeros are never edges.
fn at_least(matrix: &(impl SymmetricRows + ?Sized), threshold: f64) -> Vec<Edge> {
    let of_row = |i: usize, row: ArrayView1<'_, f64>| {
        let later = row.iter().enumerate().skip(i + 1).filter(|(_, v)| v.abs() >= threshold && **v != 0.0);
        later.map(|(j, &v)| edge(i, j, v)).collect::<Vec<Edge>>()
    };
    by_row(matrix, of_row).concat()
}

/// The largest threshold at which ⌈P d⌉ rows have an edge.
fn threshold_of_rows(matrix: &(impl SymmetricRows + ?Sized), p: f64) -> f64 {
    let largest = |i: usize, row: ArrayView1<'_, f64>| {
        row.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, v)| v.abs()).fold(0.0, f64::max)
    };
    let mut largest = by_row(matrix, largest);
    largest.sort_by(|a, b| b.total_cmp(a));
    let rows = ((p * largest.len() as f64).ceil() as usize).clamp(1, largest.len());
    largest[rows - 1]
}

/// Column sums of |ψ| without the diagonal, 1 where they are 0.
fn column_weights(matrix: &(impl SymmetricRows + ?Sized)) -> Vec<f64> {
    let of_row = |i: usize, row: ArrayView1<'_, f64>| {
        let sum: f64 = row.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, v)| v.abs()).sum();
        if sum > 0.0 { sum } else { 1.0 }
    };
    by_row(matrix, of_row)
}

/// The kept entries of a symmetric matrix, signed, symmetric, with the whole diagonal.
///
/// `significance` is read by the rules `significant` and `bonferroni` only. Costs one to three passes
/// over the matrix, O(d²) comparisons, and memory for the kept entries and one block of rows.
///
/// # Errors
/// [`Error::Param`] naming `keep` when a number is outside its range, or when a rule needs a
/// significance that is not given.
pub fn select(
    precision: &(impl SymmetricRows + ?Sized),
    keep: &Keep,
    significance: Option<&Significance>,
) -> Result<Csr> {
    keep.validate()?;
    let d = precision.side();
    if d == 0 {
        return Ok(Csr::from_triplets((0, 0), Vec::new()));
    }
    let pairs = (d as f64 * d as f64 - d as f64) / 2.0;
    let weight = match keep.rule {
        Rule::Weighted(_) | Rule::TopWeighted(_) => Some(column_weights(precision)),
        _ => None,
    };
    let weight = weight.as_deref();
    let significant = |alpha: f64, tests: f64| match significance {
        Some(s) => Ok(at_least(precision, s.threshold(alpha, tests))),
        None => Err(Error::Param {
            name: "keep",
            found: keep.to_string(),
            rule: "a rule without a significance level, which this method does not define",
        }),
    };
    let mut edges = match keep.rule {
        Rule::Dense => at_least(precision, 0.0),
        Rule::Top(k) | Rule::TopWeighted(k) => top_of_rows(precision, k, weight),
        Rule::Fraction(p) | Rule::Weighted(p) => match (p * pairs) as usize {
            0 => Vec::new(),
            count => top_of_all(precision, count, weight),
        },
        Rule::Nonsingleton(p) => at_least(precision, threshold_of_rows(precision, p)),
        Rule::Significant(alpha) => significant(alpha, 1.0)?,
        Rule::Bonferroni(alpha) => significant(alpha, pairs)?,
    };
    if keep.min_edges > 0 {
        edges.extend(top_of_rows(precision, keep.min_edges, weight));
    }
    // A pair may have been chosen by both of its rows. Blocks of a low-rank matrix may round the two
    // entries differently; the first one stands for both.
    edges.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    edges.dedup_by_key(|&mut (i, j, _)| (i, j));
    let mut entries = Vec::with_capacity(2 * edges.len() + d);
    entries.extend(precision.diagonal().into_iter().enumerate().map(|(i, v)| (i as u32, i as u32, v)));
    entries.extend(edges.iter().flat_map(|&(i, j, v)| [(i, j, v), (j, i, v)]));
    Ok(Csr::from_triplets((d, d), entries))
}

/// The graph of the kept entries: weights |ψ|, symmetric, zero diagonal, for community detection.
pub fn connectivities(kept: &Csr) -> Csr {
    let entries = kept.entries().filter(|&(i, j, v)| i != j && v != 0.0);
    Csr::from_triplets(kept.shape(), entries.map(|(i, j, v)| (i as u32, j as u32, v.abs())).collect())
}

/// The k largest scores of each row, the rest zero, plus the transpose: an edge chosen by both of its
/// ends counts twice, and so does a diagonal entry. The graph of the published evaluations.
///
/// Scores are ranked as they stand, the diagonal with them; zero its diagonal first where the
/// evaluation did.
pub fn keep_top_k(scores: ArrayView2<'_, f64>, k: usize) -> Csr {
    let of_row = |i: usize, row: ArrayView1<'_, f64>| {
        let mut best: Vec<Candidate> = row
            .iter()
            .enumerate()
            .map(|(j, &v)| Candidate { score: v, edge: (i as u32, j as u32, v) })
            .collect();
        keep_best(&mut best, k);
        best.into_iter().map(|c| c.edge).filter(|e| e.2 != 0.0).collect::<Vec<Edge>>()
    };
    let chosen = by_row(&scores, of_row).concat();
    let both = chosen.iter().flat_map(|&(i, j, v)| [(i, j, v), (j, i, v)]).collect();
    Csr::from_triplets(scores.dim(), both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use ndarray::array;
    use rand_distr::{Distribution, StandardNormal};
    use std::collections::BTreeSet;

    /// A random symmetric matrix; `levels` > 0 rounds its entries, so that many tie.
    fn random(d: usize, seed: u64, levels: f64) -> Array2<f64> {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        let a: Array2<f64> = Array2::from_shape_simple_fn((d, d), || StandardNormal.sample(&mut rng));
        let a = &a + &a.t();
        if levels > 0.0 { a.mapv(|v| (v * levels).round() / levels) } else { a }
    }

    /// All pairs by descending score, ties by position.
    fn sorted_pairs(psi: &Array2<f64>, score: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
        let d = psi.nrows();
        let mut all: Vec<(usize, usize)> = (0..d).flat_map(|i| (i + 1..d).map(move |j| (i, j))).collect();
        all.sort_by(|&(a, b), &(c, e)| score(c, e).total_cmp(&score(a, b)).then((a, b).cmp(&(c, e))));
        all.retain(|&(i, j)| psi[[i, j]] != 0.0);
        all
    }

    fn rows_by_definition(
        psi: &Array2<f64>,
        k: usize,
        score: impl Fn(usize, usize) -> f64,
    ) -> BTreeSet<(usize, usize)> {
        let d = psi.nrows();
        let mut out = BTreeSet::new();
        for i in 0..d {
            let mut others: Vec<usize> = (0..d).filter(|&j| j != i && psi[[i, j]] != 0.0).collect();
            others.sort_by(|&a, &b| score(i, b).total_cmp(&score(i, a)).then(a.cmp(&b)));
            out.extend(others.iter().take(k).map(|&j| (i.min(j), i.max(j))));
        }
        out
    }

    /// The definition of every rule, as slow as it reads.
    fn by_definition(psi: &Array2<f64>, keep: &Keep, s: &Significance) -> BTreeSet<(usize, usize)> {
        let d = psi.nrows();
        let off = |i: usize, j: usize| if i == j { 0.0 } else { psi[[i, j]].abs() };
        let sum = |j: usize| (0..d).map(|i| off(i, j)).sum::<f64>();
        let weight: Vec<f64> = (0..d).map(|j| if sum(j) > 0.0 { sum(j) } else { 1.0 }).collect();
        let pairs = d * (d - 1) / 2;
        let z = |q: f64| Normal::standard().inverse_cdf(q).max(0.0);
        let weighted = matches!(keep.rule, Rule::Weighted(_) | Rule::TopWeighted(_));
        let row_score = |i: usize, j: usize| if weighted { off(i, j) / weight[j] } else { off(i, j) };
        let pair_score = |i: usize, j: usize| row_score(i, j).max(row_score(j, i));
        let all = sorted_pairs(psi, off);
        let above = |t: f64| all.iter().copied().filter(|&(i, j)| off(i, j) >= t).collect();
        let mut out: BTreeSet<(usize, usize)> = match keep.rule {
            Rule::Dense => above(0.0),
            Rule::Top(k) | Rule::TopWeighted(k) => rows_by_definition(psi, k, row_score),
            Rule::Fraction(p) | Rule::Weighted(p) => {
                sorted_pairs(psi, pair_score).into_iter().take((p * pairs as f64) as usize).collect()
            }
            Rule::Nonsingleton(p) => {
                let with_edge = |t: f64| (0..d).filter(|&i| (0..d).any(|j| off(i, j) >= t && j != i)).count();
                let enough = |t: &f64| with_edge(*t) as f64 >= p * d as f64;
                let thresholds = all.iter().map(|&(i, j)| off(i, j));
                above(thresholds.filter(enough).fold(0.0, f64::max))
            }
            Rule::Significant(a) => above(2.0 * z(1.0 - a) / s.coefficient),
            Rule::Bonferroni(a) => above(2.0 * z(1.0 - a / pairs.max(1) as f64) / s.coefficient),
        };
        out.extend(rows_by_definition(psi, keep.min_edges, row_score));
        out
    }

    const RULES: [&str; 18] = [
        "dense",
        "top:1",
        "top:3",
        "top:500",
        "fraction:0.07",
        "fraction:1",
        "fraction:0.0001",
        "weighted:0.1",
        "top-weighted:2",
        "nonsingleton:0.5",
        "nonsingleton:1",
        "significant:0.05",
        "bonferroni:0.05",
        "fraction:0.02+min_edges:1",
        "weighted:0.02+min_edges:2",
        "bonferroni:0.01+min_edges:1",
        "significant:0.4",
        "top:2+min_edges:3",
    ];

    #[test]
    fn every_rule_keeps_what_its_definition_says_ties_included() {
        for (d, levels) in [(1, 0.0), (2, 0.0), (17, 0.0), (40, 2.0), (300, 0.0), (300, 3.0)] {
            let psi = random(d, d as u64, levels);
            let s = Significance::of_matrix(d, d + 10);
            for rule in RULES {
                let keep: Keep = rule.parse().unwrap();
                let kept = select(&psi.view(), &keep, Some(&s)).unwrap();
                let pairs: BTreeSet<_> = kept.entries().filter(|e| e.0 < e.1).map(|e| (e.0, e.1)).collect();
                assert_eq!(pairs, by_definition(&psi, &keep, &s), "{rule}, d = {d}, levels {levels}");
                assert!(kept.entries().all(|(i, j, v)| v == psi[[i, j]]), "{rule}: values are Ψ's own");
                let (dense, g) = (kept.to_dense(), connectivities(&kept).to_dense());
                assert_eq!(dense, dense.t());
                assert_eq!(dense.diag(), psi.diag());
                assert_eq!(g, g.t());
                assert!(g.diag().iter().all(|&v| v == 0.0) && g.iter().all(|&v| v >= 0.0));
            }
        }
    }

    #[test]
    fn a_low_rank_matrix_is_selected_like_its_dense_form() {
        let mut rng = Seed(5).stream(Draw::Simulate, 1);
        let vectors = Array2::from_shape_simple_fn((300, 4), || StandardNormal.sample(&mut rng));
        let low = LowRank { shift: 0.7, vectors, values: vec![3.0, -2.0, 0.5, 1.0] };
        let dense = low.to_dense();
        for rule in RULES {
            let keep: Keep = rule.parse().unwrap();
            let s = Significance::of_matrix(300, 200);
            let (a, b) = (select(&low, &keep, Some(&s)).unwrap(), select(&dense, &keep, Some(&s)).unwrap());
            assert_eq!((a.indptr(), a.indices()), (b.indptr(), b.indices()), "{rule}");
            assert!(a.values().iter().zip(b.values()).all(|(x, y)| (x - y).abs() < 1e-11));
            let a = a.to_dense();
            assert_eq!(a, a.t());
        }
    }

    #[test]
    fn many_candidates_are_pruned_to_the_same_edges() {
        // More pairs than the room of the running selection, so that it prunes several times.
        let psi = random(400, 9, 5.0);
        let keep: Keep = "fraction:0.001".parse().unwrap();
        let kept = select(&psi, &keep, None).unwrap();
        let pairs: BTreeSet<_> = kept.entries().filter(|e| e.0 < e.1).map(|e| (e.0, e.1)).collect();
        assert_eq!(pairs, by_definition(&psi, &keep, &Significance { coefficient: 1.0 }));
    }

    #[test]
    fn published_top_k_doubles_mutual_edges() {
        let m = array![[9.0, 2.0, 1.0], [2.0, 0.0, 3.0], [1.0, 3.0, 0.5]];
        let one = keep_top_k(m.view(), 1).to_dense();
        assert_eq!(one, array![[18.0, 0.0, 0.0], [0.0, 0.0, 6.0], [0.0, 6.0, 0.0]]);
        let two = keep_top_k(m.view(), 2).to_dense();
        assert_eq!(two, array![[18.0, 4.0, 1.0], [4.0, 0.0, 6.0], [1.0, 6.0, 0.0]]);
        let t = array![[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]];
        let ties = keep_top_k(t.view(), 1).to_dense();
        assert_eq!(ties, array![[0.0, 2.0, 1.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
    }

    #[test]
    fn significance_follows_the_formula() {
        // Two tensors share an axis of 25: 25 × 30 and 25 × 18.
        let s = Significance::new(&[(750.0, 0.5), (450.0, 0.5)], 25);
        assert!((s.coefficient - (1200.0_f64 * 0.25 / 25.0).sqrt()).abs() < 1e-15);
        let t = s.threshold(0.05, 1.0);
        assert!((t / 2.0 * s.coefficient - 1.6448536269514722).abs() < 1e-9);
        let psi = array![[1.0, 0.5], [0.5, 1.0]];
        assert!(select(&psi, &"significant:0.05".parse().unwrap(), None).is_err());
    }
}
