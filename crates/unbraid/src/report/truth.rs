//! Factors beside the true ones of simulated data: what `evaluate factors` prints, writes as JSON and shows.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::disentanglement::disentanglement;
use crate::metrics::supports::{
    MeanScores, SupportScores, block_scores, jaccard, members, support_scores, supports,
};

/// Word for columns that belong to no study.
pub const SHARED: &str = "shared";

/// How supports are read from loadings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupportRule {
    /// |w| above which a feature belongs to a factor.
    pub threshold: f64,
    /// Whether each column is divided by its largest |w| first.
    pub relative: bool,
    /// Fewest features of a support; smaller ones are emptied.
    pub fewest: usize,
    /// Largest share of the features that a shared support may have; larger ones are emptied.
    pub widest: f64,
}

impl SupportRule {
    /// The supports of loadings, features in rows, whose columns are shared (`None`) or a study's own.
    pub fn apply(&self, w: ArrayView2<'_, f64>, owner: &[Option<usize>]) -> Array2<bool> {
        let mut w = w.to_owned();
        if self.relative {
            for mut column in w.columns_mut() {
                let top = column.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                if top > 0.0 {
                    column /= top;
                }
            }
        }
        let mut out = supports(w.view(), self.threshold);
        let most = self.widest * out.nrows() as f64;
        for (mut column, owner) in out.columns_mut().into_iter().zip(owner) {
            let size = column.iter().filter(|s| **s).count();
            if size < self.fewest || (owner.is_none() && size as f64 > most) {
                column.fill(false);
            }
        }
        out
    }
}

/// One side of the comparison, features and observations the same on both.
#[derive(Clone, Copy, Debug)]
pub struct FactorSide<'a> {
    /// Features × factors.
    pub supports: ArrayView2<'a, bool>,
    /// Observations × factors, where they are known.
    pub scores: Option<ArrayView2<'a, f64>>,
    /// The study of each column, an index into the names; `None` for shared ones.
    pub owner: &'a [Option<usize>],
}

/// Scores of one block of columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// `shared` or the study.
    pub name: String,
    /// `None` where neither side has columns.
    pub scores: Option<SupportScores>,
}

/// One true factor and the found one that is most like it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrueFactor {
    /// Its column, from 0.
    pub factor: usize,
    /// `shared` or its study.
    pub study: String,
    /// Features of its support.
    pub features: usize,
    /// The found column of largest Jaccard index, from 0; `None` where nothing overlaps.
    pub found: Option<usize>,
    /// `shared` or the study of that column.
    pub found_in: Option<String>,
    /// That index.
    pub jaccard: f64,
}

/// A factorisation beside the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorTruth {
    /// Name under which the fit is stored.
    pub key: String,
    /// Name under which the truth is stored.
    pub truth: String,
    /// How supports were read.
    pub rule: SupportRule,
    /// Features compared.
    pub features: usize,
    /// Observations compared.
    pub observations: usize,
    /// Shared columns, then each study's own; a fit that knows no studies has the first alone.
    pub blocks: Vec<Block>,
    /// Mean over the studies.
    pub mean: Option<MeanScores>,
    /// All columns against all, whatever their block.
    pub all: Option<SupportScores>,
    /// Disentanglement of all scores; `None` where it was not asked for or scores are not known.
    pub disentanglement: Option<f64>,
    /// Every true factor.
    pub factors: Vec<TrueFactor>,
}

impl FactorTruth {
    /// Compares both sides. Blocks of studies are compared where the fit or the truth has any and the fit knows its
    /// studies (`by_study`).
    ///
    /// # Errors
    /// [`Error::Shape`] where sides differ in features or observations, [`Error::Value`] at scores that are not finite.
    pub fn new(
        (key, truth): (&str, &str),
        found: FactorSide<'_>,
        true_side: FactorSide<'_>,
        studies: &[String],
        by_study: bool,
        rule: SupportRule,
    ) -> Result<FactorTruth> {
        let scores = block_scores(
            (true_side.supports, true_side.owner),
            (found.supports, found.owner),
            studies.len(),
        )?;
        let mean = if by_study { scores.mean() } else { None };
        let mut blocks = vec![Block { name: SHARED.into(), scores: scores.shared }];
        if by_study {
            let named = studies.iter().zip(scores.studies);
            blocks.extend(named.map(|(name, scores)| Block { name: name.clone(), scores }));
        }
        let codes = found.scores.zip(true_side.scores);
        let disentanglement = match codes {
            Some((codes, factors)) if codes.nrows() != factors.nrows() => {
                let shape = vec![codes.nrows(), factors.nrows()];
                return Err(Error::Shape {
                    what: "scores".into(),
                    found: shape,
                    rule: "as many on both sides",
                });
            }
            Some((codes, factors)) if codes.ncols() > 0 && factors.ncols() > 0 => {
                Some(disentanglement(codes, factors)?.score)
            }
            _ => None,
        };
        let study = |owner: &Option<usize>| {
            owner.and_then(|m| studies.get(m)).map_or_else(|| SHARED.to_owned(), String::clone)
        };
        let lists = members(found.supports);
        let factors = members(true_side.supports).into_iter().enumerate().map(|(factor, list)| {
            let likeness: Vec<f64> = lists.iter().map(|l| jaccard(&list, l)).collect();
            let best = (0..lists.len()).reduce(|a, b| if likeness[b] > likeness[a] { b } else { a });
            let best = best.filter(|&b| likeness[b] > 0.0);
            TrueFactor {
                factor,
                study: study(&true_side.owner[factor]),
                features: list.len(),
                found: best,
                found_in: best.map(|b| study(&found.owner[b])),
                jaccard: best.map_or(0.0, |b| likeness[b]),
            }
        });
        Ok(FactorTruth {
            key: key.to_owned(),
            truth: truth.to_owned(),
            rule,
            features: true_side.supports.nrows(),
            observations: codes.map_or(0, |(c, _)| c.nrows()),
            blocks,
            mean,
            all: support_scores(true_side.supports, found.supports)?,
            disentanglement,
            factors: factors.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn supports_follow_the_rule() {
        let rule = SupportRule { threshold: 0.5, relative: false, fewest: 1, widest: 1.0 };
        let w = array![[4.0, 0.1, 0.0], [1.0, 0.2, 9.0], [-3.0, 0.1, 0.0], [0.0, -0.2, 0.0]];
        let owner = [None, Some(0), Some(0)];
        let sizes = |rule: SupportRule| -> Vec<usize> {
            members(rule.apply(w.view(), &owner).view()).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(rule), [3, 0, 1]);
        assert_eq!(sizes(SupportRule { relative: true, ..rule }), [2, 2, 1]);
        assert_eq!(sizes(SupportRule { fewest: 2, ..rule }), [3, 0, 0]);
        assert_eq!(sizes(SupportRule { widest: 0.5, ..rule }), [0, 0, 1]);
    }

    #[test]
    fn a_fit_without_studies_has_a_shared_block_alone() {
        let truth = array![[true, false], [true, false], [false, true], [false, true]];
        let found = array![[false, true], [false, true], [true, false], [false, false]];
        let rule = SupportRule { threshold: 0.5, relative: false, fewest: 1, widest: 1.0 };
        // Every pair of a value of one factor and a value of the other.
        let scores = Array2::from_shape_fn((40, 2), |(i, k)| if k == 0 { i % 8 } else { i / 8 } as f64);
        let side = |supports, owner| FactorSide { supports, scores: Some(scores.view()), owner };
        let (study, owner) = (["a".to_owned()], [None, Some(0)]);
        let mine = side(found.view(), &[None, None]);
        let r = FactorTruth::new(("nmf", "truth"), mine, side(truth.view(), &owner), &study, false, rule)
            .unwrap();
        assert_eq!((r.blocks.len(), r.mean, r.all.unwrap().consensus), (1, None, 0.75));
        // Against the one shared factor two were found, one of them right.
        assert_eq!(r.blocks[0].scores.unwrap().consensus, 0.5);
        assert!(r.disentanglement.unwrap() > 0.99);
        assert_eq!(
            (r.factors[1].found, r.factors[1].study.as_str(), r.factors[1].jaccard),
            (Some(0), "a", 0.5)
        );
        let known = side(found.view(), &owner);
        let r =
            FactorTruth::new(("m", "truth"), known, side(truth.view(), &owner), &study, true, rule).unwrap();
        assert_eq!((r.blocks[1].scores.unwrap().consensus, r.mean.unwrap().recovery), (0.0, 0.0));
        let short = scores.slice(ndarray::s![..9, ..]);
        let wrong = FactorSide { scores: Some(short), ..known };
        assert!(FactorTruth::new(("m", "t"), wrong, side(truth.view(), &owner), &study, true, rule).is_err());
    }
}
