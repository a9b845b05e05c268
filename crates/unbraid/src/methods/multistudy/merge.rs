//! What a fitted mask W is turned into before anyone reads it.
//!
//! **Merge.** Columns of different studies with the same support are one shared column (Theorem 2 of `moran2026`, whose
//! proof is this construction). Over tuples (k_1, …, k_M) of one non-empty own column per study, with the smallest
//! pairwise Jaccard index of their supports as score, the best tuple of score τ or more becomes a shared column, until none
//! is left: its support is where at least half of the M columns have one, its values the mean of |w| over those with the
//! sign of study 0. Tuples are grown from each column of study 0 and its best match in every other study.
//!
//! **Stubs.** Columns of fewer features than `min_support` are dropped: two features of its own are what tells a factor
//! from noise, and columns of one or two are what is left of others.
//!
//! **Idle columns.** A latent that the encoder leaves at its prior has codes without variance, whatever its weights: such a
//! column says nothing about any observation, and is dropped (`burda2016`, active units).
//!
//! **Signs.** (w_k, z_k) and (−w_k, −z_k) are the same model; columns are turned to a positive sum.
//!
//! Every step keeps for each column the columns it was made of, with signs, so that scores follow ([`Part::from`],
//! [`codes`]).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::error::{Error, Result};
use crate::metrics::supports::jaccard;

/// One column of a mask on its way through the steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The study it belongs to; `None` for a shared one.
    pub owner: Option<usize>,
    /// w_k, one value per feature.
    pub weights: Array1<f64>,
    /// Columns of W it was made of, each with the sign by which its scores are multiplied.
    pub from: Vec<(usize, f64)>,
}

impl Part {
    /// Features with |w| above the threshold, rising.
    pub fn support(&self, threshold: f64) -> Vec<usize> {
        (0..self.weights.len()).filter(|&j| self.weights[j].abs() > threshold).collect()
    }

    fn flip(&mut self) {
        self.weights.mapv_inplace(|w| -w);
        self.from.iter_mut().for_each(|(_, sign)| *sign = -*sign);
    }
}

/// The columns of W, features in rows.
///
/// # Errors
/// [`Error::Shape`] unless there is one owner per column.
pub fn parts(w: ArrayView2<'_, f64>, owner: &[Option<usize>]) -> Result<Vec<Part>> {
    if w.ncols() != owner.len() {
        let found = vec![w.ncols(), owner.len()];
        return Err(Error::Shape { what: "the mask".into(), found, rule: "one owner per column" });
    }
    let part = |(k, column): (usize, ArrayView1<'_, f64>)| Part {
        owner: owner[k],
        weights: column.to_owned(),
        from: vec![(k, 1.0)],
    };
    Ok(w.columns().into_iter().enumerate().map(part).collect())
}

/// Merges own columns that are copies of one shared column; returns how many shared columns were made. They stand behind
/// the shared ones there were, and the columns they came from are gone. With one study there is nothing to compare.
pub fn merge(parts: &mut Vec<Part>, studies: usize, threshold: f64, tau: f64) -> usize {
    let mut made = 0;
    while let Some(tuple) = best_tuple(parts, studies, threshold, tau) {
        let one = join(parts, &tuple, threshold);
        let mut rest: Vec<Part> = Vec::with_capacity(parts.len());
        rest.extend(parts.drain(..).enumerate().filter(|(at, _)| !tuple.contains(at)).map(|(_, p)| p));
        let at = rest.iter().rposition(|p| p.owner.is_none()).map_or(0, |last| last + 1);
        rest.insert(at, one);
        *parts = rest;
        made += 1;
    }
    made
}

/// Positions of the tuple of largest score, one per study, if it reaches `tau`.
fn best_tuple(parts: &[Part], studies: usize, threshold: f64, tau: f64) -> Option<Vec<usize>> {
    if studies < 2 {
        return None;
    }
    let supports: Vec<Vec<usize>> = parts.iter().map(|p| p.support(threshold)).collect();
    let of = |m: usize| (0..parts.len()).filter(move |&k| parts[k].owner == Some(m));
    let filled: Vec<Vec<usize>> =
        (0..studies).map(|m| of(m).filter(|&k| !supports[k].is_empty()).collect()).collect();
    let like = |a: usize, b: usize| jaccard(&supports[a], &supports[b]);
    let mut best: Option<(f64, Vec<usize>)> = None;
    for &first in &filled[0] {
        let nearest = |m: &Vec<usize>| {
            m.iter().copied().reduce(|a, b| if like(first, b) > like(first, a) { b } else { a })
        };
        let others = filled[1..].iter().map(nearest).collect::<Option<Vec<usize>>>()?;
        let tuple: Vec<usize> = std::iter::once(first).chain(others).collect();
        let pairs = (0..tuple.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let score = pairs.map(|(a, b)| like(tuple[a], tuple[b])).fold(1.0, f64::min);
        if score >= tau && best.as_ref().is_none_or(|(s, _)| score > *s) {
            best = Some((score, tuple));
        }
    }
    best.map(|(_, tuple)| tuple)
}

/// The shared column of a tuple.
fn join(parts: &[Part], tuple: &[usize], threshold: f64) -> Part {
    let first = &parts[tuple[0]];
    // A study may have the column with the other sign.
    let sign = |k: usize| if first.weights.dot(&parts[k].weights) < 0.0 { -1.0 } else { 1.0 };
    let signs: Vec<f64> = tuple.iter().map(|&k| sign(k)).collect();
    let mut weights = Array1::zeros(first.weights.len());
    for j in 0..weights.len() {
        let value = |at: usize| signs[at] * parts[tuple[at]].weights[j];
        let voters: Vec<f64> = (0..tuple.len()).map(value).filter(|w| w.abs() > threshold).collect();
        if !voters.is_empty() && 2 * voters.len() >= tuple.len() {
            let mean = voters.iter().map(|w| w.abs()).sum::<f64>() / voters.len() as f64;
            // Where study 0 has no weight the first voter says the sign.
            let lead = if value(0) != 0.0 { value(0) } else { voters[0] };
            weights[j] = mean * lead.signum();
        }
    }
    let from = tuple.iter().zip(&signs);
    let from = from.flat_map(|(&k, &sign)| parts[k].from.iter().map(move |&(c, s)| (c, s * sign))).collect();
    Part { owner: None, weights, from }
}

/// Drops columns of fewer than `min_support` features, empty ones always.
pub fn drop_stubs(parts: &mut Vec<Part>, threshold: f64, min_support: usize) {
    parts.retain(|p| p.support(threshold).len() >= min_support.max(1));
}

/// Drops columns whose scores have a variance of at most `least` in every study; 0 keeps all. `samples` are the rows of `z` of
/// each study.
pub fn drop_idle(parts: &mut Vec<Part>, z: ArrayView2<'_, f64>, samples: &[Vec<usize>], least: f64) {
    let codes = codes(parts, z);
    let variance = |k: usize, of: &Vec<usize>| {
        let mean =
            |f: &dyn Fn(f64) -> f64| of.iter().map(|&i| f(codes[[i, k]])).sum::<f64>() / of.len() as f64;
        let centre = mean(&|c| c);
        mean(&|c| (c - centre) * (c - centre))
    };
    let mut at = 0..;
    parts.retain(|_| {
        let k = at.next().unwrap_or_default();
        least == 0.0 || samples.iter().any(|of| variance(k, of) > least)
    });
}

/// Turns every column to a sum of 0 or more.
pub fn orient(parts: &mut [Part]) {
    parts.iter_mut().filter(|p| p.weights.sum() < 0.0).for_each(Part::flip);
}

/// The columns side by side.
pub fn mask(parts: &[Part], features: usize) -> Array2<f64> {
    Array2::from_shape_fn((features, parts.len()), |(j, k)| parts[k].weights[j])
}

/// Scores of the columns, from the scores of the columns of W: z is 0 in the columns of other studies, so that a sum takes
/// the score of the observation's own study.
pub fn codes(parts: &[Part], z: ArrayView2<'_, f64>) -> Array2<f64> {
    Array2::from_shape_fn((z.nrows(), parts.len()), |(i, k)| {
        parts[k].from.iter().map(|&(c, sign)| sign * z[[i, c]]).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[derive(serde::Deserialize)]
    struct Golden {
        merge: Vec<Case>,
    }

    /// Columns as lists.
    #[derive(serde::Deserialize)]
    struct Case {
        tau: f64,
        shared: Vec<Vec<f64>>,
        specific: Vec<Vec<Vec<f64>>>,
        expect: Expected,
    }

    #[derive(serde::Deserialize)]
    struct Expected {
        n_merged: usize,
        shared: Vec<Vec<f64>>,
        specific: Vec<Vec<Vec<f64>>>,
    }

    fn flat(shared: &[Vec<f64>], specific: &[Vec<Vec<f64>>]) -> Vec<(Option<usize>, Vec<f64>)> {
        let own = specific.iter().enumerate();
        let own = own.flat_map(|(m, columns)| columns.iter().map(move |c| (Some(m), c.clone())));
        shared.iter().map(|c| (None, c.clone())).chain(own).collect()
    }

    #[test]
    fn merged_columns_are_those_of_the_golden_cases() {
        let text = include_str!("../../../../../testdata/golden/mssvae/metrics.json");
        let Golden { merge: cases } = serde_json::from_str(text).unwrap();
        assert!(cases.len() > 1);
        for case in cases {
            let columns = flat(&case.shared, &case.specific);
            let w = Array2::from_shape_fn((columns[0].1.len(), columns.len()), |(j, k)| columns[k].1[j]);
            let owner: Vec<Option<usize>> = columns.iter().map(|c| c.0).collect();
            let mut found = parts(w.view(), &owner).unwrap();
            let made = merge(&mut found, case.specific.len(), 0.5, case.tau);
            assert_eq!(made, case.expect.n_merged);
            // The cases keep empty columns where ours are gone.
            let filled = |list: Vec<(Option<usize>, Vec<f64>)>| -> Vec<(Option<usize>, Vec<f64>)> {
                list.into_iter().filter(|(_, c)| c.iter().any(|v| *v != 0.0)).collect()
            };
            let found = found.into_iter().map(|p| (p.owner, p.weights.to_vec())).collect();
            assert_eq!(filled(found), filled(flat(&case.expect.shared, &case.expect.specific)));
        }
    }

    /// A shared block that each of three studies learnt by itself, in study 1 with the other sign and one feature less.
    #[test]
    fn a_copied_block_becomes_one_shared_column_and_scores_follow() {
        let mut w = Array2::zeros((12, 5));
        for j in 0..4 {
            w[[j, 0]] = 8.0;
        }
        for j in 4..8 {
            (w[[j, 1]], w[[j, 2]], w[[j, 4]]) = (6.0, -7.0, 8.0);
        }
        w[[7, 2]] = 0.0;
        for j in 9..12 {
            w[[j, 3]] = -5.0;
        }
        let owner = [None, Some(0), Some(1), Some(1), Some(2)];
        let mut found = parts(w.view(), &owner).unwrap();
        assert_eq!(merge(&mut found, 3, 0.5, 0.5), 1);
        drop_stubs(&mut found, 0.5, 3);
        orient(&mut found);
        let owners: Vec<Option<usize>> = found.iter().map(|p| p.owner).collect();
        assert_eq!(owners, [None, None, Some(1)]);
        let mask = mask(&found, 12);
        assert_eq!(mask.column(1).to_vec()[3..9], [0.0, 7.0, 7.0, 7.0, 7.0, 0.0]);
        assert_eq!(mask.column(2)[10], 5.0);
        // One observation of study 0 and one of study 1.
        let z = array![[1.0, 2.0, 0.0, 0.0, 0.0], [1.0, 0.0, 3.0, 4.0, 0.0]];
        assert_eq!(codes(&found, z.view()), array![[1.0, 2.0, 0.0], [1.0, -3.0, -4.0]]);
        // W z is the same for both up to the mean over the studies' weights.
        assert_eq!(found[1].from, [(1, 1.0), (2, -1.0), (4, 1.0)]);
    }

    /// The last column has weights and the same code for everybody; the middle one moves in study 1 alone.
    #[test]
    fn columns_without_scores_are_idle() {
        let mut found = parts(Array2::ones((4, 3)).view(), &[None, Some(1), None]).unwrap();
        let z = array![[1.0, 0.0, 0.3], [-1.0, 0.0, 0.3], [0.5, 0.1, 0.3], [0.5, -0.3, 0.3]];
        let samples = [vec![0, 1], vec![2, 3]];
        drop_idle(&mut found, z.view(), &samples, 0.0);
        assert_eq!(found.len(), 3);
        drop_idle(&mut found, z.view(), &samples, 0.01);
        assert_eq!(found.iter().map(|p| p.from[0].0).collect::<Vec<_>>(), [0, 1]);
        // Variance of 0.1 and −0.3.
        drop_idle(&mut found, z.view(), &samples, 0.05);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn one_study_or_unlike_columns_are_left_alone_and_stubs_go() {
        let w = array![[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]];
        let mut one = parts(w.view(), &[Some(0); 3]).unwrap();
        assert_eq!(merge(&mut one, 1, 0.5, 0.5), 0);
        let mut two = parts(w.view(), &[Some(0), Some(1), None]).unwrap();
        assert_eq!(merge(&mut two, 2, 0.5, 0.5), 0);
        drop_stubs(&mut two, 0.5, 2);
        assert_eq!(two.len(), 2);
        drop_stubs(&mut two, 1.0, 0);
        assert!(two.is_empty());
        assert!(parts(w.view(), &[None]).is_err());
        // A study without any column has no copy of anything.
        let mut three = parts(w.view(), &[Some(0), Some(1), None]).unwrap();
        assert_eq!(merge(&mut three, 3, 0.5, 0.0), 0);
    }
}
