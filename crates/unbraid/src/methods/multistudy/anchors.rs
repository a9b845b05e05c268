//! Factors counted from correlations, without any model fitted: the parallel rows behind Theorem 1 of `moran2026`.
//!
//! An anchor is a feature of one factor alone. With R the correlations of the features in one study,
//!
//! ```text
//! x_j = a_j f(z_k) + e_j,  x_l = a_l f(z_k) + e_l     ⇒     R_jt = c R_lt  for every other feature t,
//! s_jl = 1 − (Σ_t R_jt R_lt)² / (Σ_t R_jt² Σ_t R_lt²),      sums over t ≠ j, l
//! ```
//!
//! so that two anchors of a factor have parallel rows: s_jl is 0 but for noise, which n samples of G features leave at about
//! (G − 2)/n in each sum. Features with s_jl of at most max(0.05, (G − 2)/(n Σ_t R²)), sums above twice that noise and R_jl above 4/√n
//! are joined to groups.
//!
//! Features that mix the same factors with the same weights have parallel rows too. The features that correlate with an anchor of k
//! are a part of those that correlate with a mixture that holds k. Groups are therefore taken by rising number of
//! these, and one is kept if its common part is not explained by those kept before: with Γ the correlations between the groups'
//! common parts, 1 − γᵀ Γ⁻¹ γ > 0.3.
//!
//! Correlations do not see that z and z² are one factor. Kept groups of which the square of one correlates with the other by
//! 0.5 or more are made one: the number that is left is K of the study. What all studies have, by [`merge`], is shared.
//!
//! A factor without two anchors of the same shape is not counted, and where nothing is an anchor the count says nothing: a
//! check of K, not an estimate. Counts are brought to the same total and taken as log(1 + x). Bing, Bunea and Wegkamp (2020):
//! `bing2020`, who find parallel rows and the dimension in linear models; the order by what correlates and the joining by
//! squares are ours.

use ndarray::{Array2, ArrayView2};

use super::likelihood::Law;
use super::merge::{self, Part};
use super::studies::Studies;
use crate::error::Result;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::{gram, matmul};

/// s below which rows are parallel however many samples there are: weights of anchors, and what noise does to them, are
/// never quite equal.
const PARALLEL: f64 = 0.05;
/// How many times what noise alone leaves in a row's sum of squares must be exceeded.
const ROW: f64 = 2.0;
/// Standard errors of a correlation that is not noise.
const ERRORS: f64 = 4.0;
/// Part of a group that others must leave unexplained.
const UNEXPLAINED: f64 = 0.3;
/// Correlation with a square from which two groups are one factor.
const SAME: f64 = 0.5;

/// Anchors of every factor that has some.
#[derive(Clone, Debug)]
pub struct Anchors {
    /// One for each factor: its study, `None` for a shared one, and weights of 1 at its anchors.
    pub parts: Vec<Part>,
}

impl Anchors {
    /// Of all studies: groups of each study, of which those that overlap by a Jaccard index of `tau` in all of them are
    /// shared.
    ///
    /// # Errors
    /// None for input that was checked.
    pub fn find(input: &Studies<'_>, law: Law, tau: f64) -> Result<Anchors> {
        let features = input.values.matrix.shape().1;
        let samples = input.samples();
        let (mut columns, mut owners) = (Vec::new(), Vec::new());
        for (m, rows) in samples.iter().enumerate() {
            let mut x = input.values.matrix.rows(rows).to_dense();
            if law == Law::NegBinomial {
                level(&mut x);
            }
            for group in of_study(x.view()) {
                columns.push(group);
                owners.push(Some(m));
            }
        }
        let marks = Array2::from_shape_fn((features, columns.len()), |(j, k)| {
            f64::from(u8::from(columns[k].binary_search(&j).is_ok()))
        });
        let mut parts = merge::parts(marks.view(), &owners)?;
        merge::merge(&mut parts, samples.len(), 0.5, tau);
        Ok(Anchors { parts })
    }

    /// Factors of an owner.
    pub fn count(&self, owner: Option<usize>) -> usize {
        self.parts.iter().filter(|p| p.owner == owner).count()
    }

    /// The study of each factor; `None` for a shared one.
    pub fn owners(&self) -> Vec<Option<usize>> {
        self.parts.iter().map(|p| p.owner).collect()
    }
}

/// log(1 + x) of counts brought to the mean total.
fn level(x: &mut Array2<f64>) {
    let mean = x.sum() / x.nrows().max(1) as f64;
    for mut row in x.rows_mut() {
        let total = row.sum();
        let by = if total > 0.0 { mean / total } else { 0.0 };
        row.mapv_inplace(|v| (by * v).ln_1p());
    }
}

/// Anchors of each factor of one study, samples × features; rising within and by their first.
pub fn of_study(x: ArrayView2<'_, f64>) -> Vec<Vec<usize>> {
    let n = x.nrows().max(1) as f64;
    let rows = standardised(x.t().to_owned());
    let r = gram(rows.view()) / n;
    let groups = components(r.nrows(), |j, l| parallel(&r, n, j, l));
    let groups: Vec<Vec<usize>> = groups.into_iter().filter(|g| g.len() > 1).collect();
    let (scores, gamma) = common(&rows, &r, &groups);
    let kept = unexplained(&gamma, &groups.iter().map(|g| reach(&r, n, g)).collect::<Vec<_>>());
    let scores = standardised(scores);
    let squares = standardised(scores.mapv(|v| v * v));
    let follow = matmul(squares.view(), scores.t()) / n;
    let same = |a: usize, b: usize| {
        let (a, b) = (kept[a], kept[b]);
        follow[[a, b]].abs().max(follow[[b, a]].abs()) >= SAME
    };
    let mut found: Vec<Vec<usize>> = components(kept.len(), same)
        .into_iter()
        .map(|members| {
            let mut all: Vec<usize> = members.iter().flat_map(|&a| groups[kept[a]].iter().copied()).collect();
            all.sort_unstable();
            all
        })
        .collect();
    found.sort();
    found
}

/// Rows of mean 0 and mean square 1; 0 where a row does not vary.
fn standardised(mut rows: Array2<f64>) -> Array2<f64> {
    for mut row in rows.rows_mut() {
        let n = row.len().max(1) as f64;
        let mean = row.sum() / n;
        row.mapv_inplace(|v| v - mean);
        let square = row.dot(&row) / n;
        let by = if square > 1e-12 * (1.0 + mean * mean) { 1.0 / square.sqrt() } else { 0.0 };
        row.mapv_inplace(|v| v * by);
    }
    rows
}

/// Whether rows j and l are parallel: the sums without their own entries, as those come of noise too.
fn parallel(r: &Array2<f64>, n: f64, j: usize, l: usize) -> bool {
    if r[[j, l]].abs() <= ERRORS / n.sqrt() {
        return false;
    }
    let (mut cross, mut first, mut second) = (0.0, 0.0, 0.0);
    for (t, (a, b)) in r.row(j).iter().zip(r.row(l)).enumerate() {
        if t != j && t != l {
            (cross, first, second) = (cross + a * b, first + a * a, second + b * b);
        }
    }
    let (least, noise) = (f64::min(first, second), r.nrows().saturating_sub(2) as f64 / n);
    least > ROW * noise && cross * cross >= (1.0 - (noise / least).max(PARALLEL)) * first * second
}

/// Connected components of 0..n, each rising.
fn components(n: usize, joined: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut free = vec![true; n];
    let mut found = Vec::new();
    for first in 0..n {
        if !std::mem::replace(&mut free[first], false) {
            continue;
        }
        let mut group = vec![first];
        let mut at = 0;
        while at < group.len() {
            let next: Vec<usize> = (first + 1..n).filter(|&l| free[l] && joined(group[at], l)).collect();
            next.iter().for_each(|&l| free[l] = false);
            group.extend(next);
            at += 1;
        }
        group.sort_unstable();
        found.push(group);
    }
    found
}

/// The mean of each group's features, turned to the same sign, and the correlations between what is common to each group: its
/// variance is the mean correlation within.
fn common(rows: &Array2<f64>, r: &Array2<f64>, groups: &[Vec<usize>]) -> (Array2<f64>, Array2<f64>) {
    let signs =
        Array2::from_shape_fn((groups.len(), r.nrows()), |(a, j)| match groups[a].binary_search(&j) {
            Ok(_) => r[[groups[a][0], j]].signum() / groups[a].len() as f64,
            Err(_) => 0.0,
        });
    let mut gamma = matmul(matmul(signs.view(), r.view()).view(), signs.t());
    let size = |a: usize| groups[a].len() as f64;
    let within = |a: usize| ((size(a) * gamma[[a, a]] - 1.0) / (size(a) - 1.0)).max(1e-6).sqrt();
    let scale: Vec<f64> = (0..groups.len()).map(within).collect();
    gamma
        .indexed_iter_mut()
        .for_each(|((a, b), v)| *v = if a == b { 1.0 } else { *v / (scale[a] * scale[b]) });
    (matmul(signs.view(), rows.view()), gamma)
}

/// How many features correlate with a group.
fn reach(r: &Array2<f64>, n: f64, group: &[usize]) -> usize {
    let mean = |t: usize| group.iter().map(|&j| r[[j, t]].abs()).sum::<f64>() / group.len() as f64;
    (0..r.nrows()).filter(|&t| mean(t) > ERRORS / n.sqrt()).count()
}

/// Groups that those of smaller reach do not explain, rising.
fn unexplained(gamma: &Array2<f64>, reach: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..reach.len()).collect();
    order.sort_by_key(|&a| (reach[a], a));
    let mut kept: Vec<usize> = Vec::new();
    for a in order {
        let among = Array2::from_shape_fn((kept.len(), kept.len()), |(p, q)| gamma[[kept[p], kept[q]]]);
        let with: Vec<f64> = kept.iter().map(|&b| gamma[[a, b]]).collect();
        let left = match Cholesky::new(among.view()) {
            _ if kept.is_empty() => 1.0,
            Some(c) => 1.0 - c.solve(&with).iter().zip(&with).map(|(x, y)| x * y).sum::<f64>(),
            None => 0.0,
        };
        if left > UNEXPLAINED {
            kept.push(a);
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Values};
    use crate::fit::Seed;
    use crate::simulate::multistudy::gaussian::MultistudyDesign;

    /// The formula of s, entry by entry, from correlations by their definition.
    fn slow(x: ArrayView2<'_, f64>) -> Array2<bool> {
        let (n, g) = x.dim();
        let mean: Vec<f64> = (0..g).map(|j| (0..n).map(|i| x[[i, j]]).sum::<f64>() / n as f64).collect();
        let cov = |j: usize, l: usize| {
            (0..n).map(|i| (x[[i, j]] - mean[j]) * (x[[i, l]] - mean[l])).sum::<f64>() / n as f64
        };
        let r = Array2::from_shape_fn((g, g), |(j, l)| cov(j, l) / (cov(j, j) * cov(l, l)).sqrt());
        Array2::from_shape_fn((g, g), |(j, l)| {
            let others = || (0..g).filter(move |t| *t != j && *t != l);
            let dot = |a: usize, b: usize| others().map(|t| r[[a, t]] * r[[b, t]]).sum::<f64>();
            let (first, second) = (dot(j, j), dot(l, l));
            let noise = (g as f64 - 2.0) / n as f64;
            let s = 1.0 - dot(j, l).powi(2) / (first * second);
            j != l
                && r[[j, l]].abs() > 4.0 / (n as f64).sqrt()
                && first.min(second) > 2.0 * noise
                && s <= f64::max(0.05, noise / first.min(second))
        })
    }

    #[test]
    fn parallel_rows_are_those_of_the_formula() {
        let sample = MultistudyDesign { observations: 300, ..Default::default() }.sample(Seed(1003)).unwrap();
        let x = sample.x.slice(ndarray::s![..300, ..60]);
        let rows = standardised(x.t().to_owned());
        let r = gram(rows.view()) / 300.0;
        let expected = slow(x);
        let mut pairs = 0;
        for ((j, l), &is) in expected.indexed_iter().filter(|((j, l), _)| j != l) {
            assert_eq!(parallel(&r, 300.0, j, l), is, "{j} {l}");
            pairs += usize::from(is);
        }
        assert!(pairs > 40, "{pairs}");
    }

    fn found(design: &MultistudyDesign, seed: u64) -> (Anchors, Array2<f64>) {
        let sample = design.sample(Seed(seed)).unwrap();
        let matrix = Matrix::Dense(sample.x);
        let study: Vec<u32> = sample.study.iter().map(|m| *m as u32).collect();
        let names: Vec<String> = (0..design.studies).map(|m| m.to_string()).collect();
        let input = Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
        (Anchors::find(&input, Law::Gaussian, 0.5).unwrap(), sample.loadings)
    }

    #[test]
    fn factors_of_the_simulation_are_counted_by_features_of_one_factor() {
        for (seed, observations) in (1000..1006).map(|s| (s, 1000)).chain((1000..1006).map(|s| (s, 300))) {
            let (anchors, w) = found(&MultistudyDesign { observations, ..Default::default() }, seed);
            let counts: Vec<usize> =
                [None, Some(0), Some(1), Some(2)].into_iter().map(|o| anchors.count(o)).collect();
            assert_eq!(counts, [8, 2, 2, 2], "seed {seed}, {observations} observations");
            for part in &anchors.parts {
                let support = part.support(0.5);
                let owner = |k: usize| if k < 8 { None } else { Some((k - 8) / 2) };
                // What others of the study do to an anchor is nothing: one column of all that the study sees.
                let seen = |k: usize| part.owner.is_none() || owner(k).is_none() || owner(k) == part.owner;
                let on = |k: usize| support.iter().all(|&j| w[[j, k]] != 0.0);
                assert_eq!((0..14).filter(|&k| seen(k) && on(k)).count(), 1, "seed {seed}: {support:?}");
            }
        }
    }

    #[test]
    fn noise_and_constants_have_no_anchors() {
        let design = MultistudyDesign { observations: 100, noise: 1e4, ..Default::default() };
        let (anchors, _) = found(&design, 1000);
        assert!(anchors.parts.is_empty());
        assert!(of_study(Array2::ones((5, 4)).view()).is_empty());
        assert!(of_study(Array2::zeros((2, 0)).view()).is_empty());
    }

    /// Two factors, two features of each and two of their sum, whose rows are parallel as well.
    #[test]
    fn mixtures_are_told_from_anchors() {
        use crate::fit::Draw;
        use rand_distr::{Distribution, StandardNormal};
        let mut rng = Seed(5).stream(Draw::Simulate, 0);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let mut x = Array2::zeros((500, 7));
        for mut row in x.rows_mut() {
            let z = [normal(), normal()];
            for j in 0..7 {
                let signal = [z[0], -z[0], z[1], z[1], z[0] + z[1], z[0] + z[1], 0.0][j];
                row[j] = signal + 0.2 * normal();
            }
        }
        assert_eq!(of_study(x.view()), [vec![0, 1], vec![2, 3]]);
    }
}
