//! How much of a factor's scores something known explains: cell types, studies, a dose.
//!
//! With z_i the score of observation i on one factor and g(i) the group of i,
//!
//! ```text
//! η² = Σ_g n_g (z̄_g − z̄)² / Σ_i (z_i − z̄)²
//! ```
//!
//! is the share of the variance of z that lies between the groups: 0 where their means are equal, 1 where every
//! group is a point (`fisher1925`). For a covariate of numbers it is the share that a line explains, the squared
//! correlation. Groups that have nothing to do with z get (number of groups − 1) / (n − 1) on average.
//!
//! Two shares are taken of every factor ([`Explained`]).
//!
//! - `all`, over all observations. A factor of one study is 0 in every other, as its scores are stored: a score that is
//!   mostly above 0 in its study is then explained by the study.
//! - `within`, with the studies apart: Σ_m SS_between,m / Σ_m SS_total,m over the studies m that may have the factor (its
//!   own, or all for a shared one) and in which the covariate varies. What a study as a whole has more of than another
//!   does not enter, so that a cell type that only some studies have is not taken for an effect of the studies, nor
//!   the other way round.

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stats::anova::{Squares, squares};

/// Something known of every observation.
#[derive(Clone, Copy, Debug)]
pub enum Covariate<'a> {
    /// The group of each observation, any distinct numbers.
    Groups(&'a [usize]),
    /// A number of each observation; observations with one that is not finite are left out.
    Numbers(&'a [f64]),
}

impl Covariate<'_> {
    fn len(&self) -> usize {
        match self {
            Covariate::Groups(g) => g.len(),
            Covariate::Numbers(v) => v.len(),
        }
    }

    /// The share that a covariate without any relation gets on average; `None` for fewer than two observations.
    pub fn chance(&self) -> Option<f64> {
        let (spent, n) = match self {
            Covariate::Groups(g) => {
                let groups: std::collections::BTreeSet<usize> = g.iter().copied().collect();
                (groups.len().saturating_sub(1), g.len())
            }
            Covariate::Numbers(v) => (1, v.iter().filter(|v| v.is_finite()).count()),
        };
        (n > 1).then(|| spent as f64 / (n as f64 - 1.0))
    }

    /// Explained and whole sum of squares of the scores of some observations; (0, 0) where the covariate does not
    /// vary among them.
    fn sums(&self, z: ArrayView1<'_, f64>, at: &[usize]) -> (f64, f64) {
        match self {
            Covariate::Groups(g) => {
                let (values, groups): (Vec<f64>, Vec<usize>) = at.iter().map(|&i| (z[i], g[i])).unzip();
                let Squares { between, within, groups } = squares(&values, &groups);
                if groups < 2 { (0.0, 0.0) } else { (between, between + within) }
            }
            Covariate::Numbers(v) => {
                let at: Vec<usize> = at.iter().copied().filter(|&i| v[i].is_finite()).collect();
                let mean = |x: &dyn Fn(usize) -> f64| at.iter().map(|&i| x(i)).sum::<f64>() / at.len() as f64;
                let (mz, mv) = (mean(&|i| z[i]), mean(&|i| v[i]));
                let (mut zz, mut vv, mut zv) = (0.0, 0.0, 0.0);
                for &i in &at {
                    let (a, b) = (z[i] - mz, v[i] - mv);
                    (zz, vv, zv) = (zz + a * a, vv + b * b, zv + a * b);
                }
                if vv > 0.0 { ((zv * zv / vv).min(zz), zz) } else { (0.0, 0.0) }
            }
        }
    }
}

/// Shares of the variance of one factor's scores; `None` where they, or the covariate, do not vary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Over all observations.
    pub all: Option<f64>,
    /// Within studies; `None` too where no studies are known.
    pub within: Option<f64>,
    /// The group that departs most from the mean, largest n_g (z̄_g − z̄)², among the observations that may have the factor.
    pub group: Option<usize>,
}

/// What `covariate` explains of each column of `scores`. `owner` is the study of each column (`None`: shared), `study`
/// that of each observation, where there are studies.
///
/// # Errors
/// [`Error::Shape`] where lengths differ, [`Error::Value`] for a score that is not finite.
pub fn explained(
    scores: ArrayView2<'_, f64>,
    owner: &[Option<usize>],
    study: Option<&[usize]>,
    covariate: Covariate<'_>,
) -> Result<Vec<Explained>> {
    let n = scores.nrows();
    let fits = covariate.len() == n && study.is_none_or(|s| s.len() == n) && owner.len() == scores.ncols();
    if !fits {
        let found = vec![n, scores.ncols(), covariate.len(), owner.len()];
        let rule = "one covariate and one study per observation, one owner per factor";
        return Err(Error::Shape { what: "scores and covariate".into(), found, rule });
    }
    if let Some((at, &found)) = scores.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "scores".into(), found, at, rule: "finite" });
    }
    let everyone: Vec<usize> = (0..n).collect();
    let mut studies: Vec<Vec<usize>> = Vec::new();
    for (i, &m) in study.into_iter().flatten().enumerate() {
        if m >= studies.len() {
            studies.resize(m + 1, Vec::new());
        }
        studies[m].push(i);
    }
    let share = |(part, whole): (f64, f64)| (whole > 0.0).then(|| (part / whole).clamp(0.0, 1.0));
    let one = |k: usize| {
        let z = scores.column(k);
        let having: Vec<&Vec<usize>> = match owner[k] {
            Some(m) => studies.get(m).into_iter().collect(),
            None => studies.iter().collect(),
        };
        let pooled = having.iter().map(|at| covariate.sums(z, at));
        let pooled = pooled.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        let among = match (owner[k], having.first()) {
            (Some(_), Some(own)) => own,
            _ => &everyone,
        };
        Explained {
            all: share(covariate.sums(z, &everyone)),
            within: share(pooled),
            group: match covariate {
                Covariate::Groups(g) => farthest(z, g, among),
                Covariate::Numbers(_) => None,
            },
        }
    };
    Ok((0..scores.ncols()).into_par_iter().map(one).collect())
}

/// The group with the largest part of the sum of squares between groups; `None` where there is none.
fn farthest(z: ArrayView1<'_, f64>, groups: &[usize], at: &[usize]) -> Option<usize> {
    let mean = at.iter().map(|&i| z[i]).sum::<f64>() / at.len() as f64;
    let mut of: std::collections::BTreeMap<usize, (f64, f64)> = Default::default();
    for &i in at {
        let (sum, n) = of.entry(groups[i]).or_default();
        (*sum, *n) = (*sum + z[i] - mean, *n + 1.0);
    }
    let part = |(sum, n): (f64, f64)| sum * sum / n;
    let best = of.iter().reduce(|a, b| if part(*b.1) > part(*a.1) { b } else { a })?;
    (of.len() > 1 && part(*best.1) > 0.0).then_some(*best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        scores: Vec<Vec<f64>>,
        owner: Vec<Option<usize>>,
        study: Vec<usize>,
        groups: Vec<usize>,
        numbers: Vec<f64>,
        expected: Expected,
    }

    /// Lists by factor; `null` where undefined.
    #[derive(Deserialize)]
    struct Expected {
        groups_all: Vec<Option<f64>>,
        groups_within: Vec<Option<f64>>,
        study_all: Vec<Option<f64>>,
        study_within: Vec<Option<f64>>,
        numbers_all: Vec<Option<f64>>,
        numbers_within: Vec<Option<f64>>,
    }

    #[test]
    fn shares_equal_the_r_squared_of_statsmodels_regressions() {
        let text = include_str!("../../../../testdata/golden/metrics/explained.json");
        let case: Golden = serde_json::from_str(text).unwrap();
        let (n, k) = (case.study.len(), case.owner.len());
        let scores = Array2::from_shape_fn((n, k), |(i, k)| case.scores[k][i]);
        let close = |found: Option<f64>, expected: Option<f64>| match (found, expected) {
            (Some(f), Some(e)) => assert!((f - e).abs() < 1e-10, "{f} is not {e}"),
            (f, e) => assert_eq!(f, e),
        };
        let e = &case.expected;
        for (covariate, all, within) in [
            (Covariate::Groups(&case.groups), &e.groups_all, &e.groups_within),
            (Covariate::Groups(&case.study), &e.study_all, &e.study_within),
            (Covariate::Numbers(&case.numbers), &e.numbers_all, &e.numbers_within),
        ] {
            let found = explained(scores.view(), &case.owner, Some(&case.study), covariate).unwrap();
            assert_eq!(found.len(), 5);
            for ((f, a), w) in found.iter().zip(all).zip(within) {
                close(f.all, *a);
                close(f.within, *w);
            }
        }
    }

    #[test]
    fn planted_factors_are_explained_by_what_they_were_planted_for() {
        // Two types in both studies; a shared factor that is the type, one of study 1 that is always 2 there, one that
        // splits the types of study 1, and an empty one.
        let kind = [0, 0, 1, 1, 0, 0, 1, 1];
        let study = [0, 0, 0, 0, 1, 1, 1, 1];
        let value = |i: usize, k: usize| match k {
            0 => kind[i] as f64,
            1 => 2.0 * study[i] as f64,
            2 => study[i] as f64 * (2.0 * kind[i] as f64 - 1.0),
            _ => 0.0,
        };
        let z = Array2::from_shape_fn((8, 4), |(i, k)| value(i, k));
        let owner = [None, Some(1), Some(1), None];
        let by = |c: &[usize]| explained(z.view(), &owner, Some(&study), Covariate::Groups(c)).unwrap();
        let (by_kind, by_study) = (by(&kind), by(&study));
        assert_eq!((by_kind[0].all, by_kind[0].within), (Some(1.0), Some(1.0)));
        assert_eq!((by_study[0].all, by_study[0].within), (Some(0.0), None));
        assert_eq!((by_study[1].all, by_study[1].group, by_kind[1].within), (Some(1.0), None, None));
        // Half of the variance lies between the types over all, all of it within study 1.
        assert_eq!((by_kind[2].all, by_kind[2].within, by_study[2].all), (Some(0.5), Some(1.0), Some(0.0)));
        assert_eq!(by_kind[3], Explained { all: None, within: None, group: None });
        assert!(by_kind[2].group.is_some());
        let alone = explained(z.view(), &owner, None, Covariate::Groups(&kind)).unwrap();
        assert_eq!((alone[0].all, alone[0].within), (Some(1.0), None));
        assert_eq!(Covariate::Groups(&kind).chance(), Some(1.0 / 7.0));
        assert_eq!(Covariate::Numbers(&[1.0, f64::NAN]).chance(), None);
    }

    #[test]
    fn bad_input_is_refused_and_missing_numbers_are_left_out() {
        let z = array![[1.0], [2.0], [4.0], [100.0]];
        let numbers = [1.0, 2.0, 4.0, f64::NAN];
        let found = explained(z.view(), &[None], None, Covariate::Numbers(&numbers)).unwrap();
        assert!((found[0].all.unwrap() - 1.0).abs() < 1e-15);
        let same = explained(z.view(), &[None], None, Covariate::Numbers(&[3.0; 4])).unwrap();
        assert_eq!(same[0].all, None);
        assert!(explained(z.view(), &[], None, Covariate::Numbers(&numbers)).is_err());
        assert!(explained(z.view(), &[None], Some(&[0]), Covariate::Numbers(&numbers)).is_err());
        let bad = array![[1.0], [f64::NAN]];
        let why = explained(bad.view(), &[None], None, Covariate::Groups(&[0, 1])).unwrap_err().to_string();
        assert!(why.contains("NaN at row 1, column 0"), "{why}");
    }
}
