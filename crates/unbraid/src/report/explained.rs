//! How much known columns explain of the scores of factors: what `evaluate factors --label` prints, writes as JSON and
//! shows. The shares are those of [`crate::metrics::explained`].

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::truth::SHARED;
use crate::data::Column;
use crate::error::{Error, Result};
use crate::metrics::explained::{Covariate, Explained, explained};

/// Factors beside known columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedFigure {
    /// Name under which the fit is stored.
    pub key: String,
    /// Observations compared.
    pub observations: usize,
    /// The column that tells studies apart, where the fit knows studies.
    pub study: Option<String>,
    /// In the order given.
    pub columns: Vec<ExplainedColumn>,
    /// Every factor.
    pub factors: Vec<ExplainedFactor>,
    /// Means over the shared factors and over those of one study.
    pub means: Vec<ExplainedMean>,
}

/// One known column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedColumn {
    /// Its name in obs.
    pub name: String,
    /// Groups that occur; `None` for a column of numbers.
    pub groups: Option<usize>,
    /// The share that a column without any relation gets on average.
    pub chance: Option<f64>,
}

/// One factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedFactor {
    /// Its column, from 0.
    pub factor: usize,
    /// `shared` or its study.
    pub study: String,
    /// One per known column.
    pub shares: Vec<NamedShare>,
}

/// What one column explains of one factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedShare {
    /// Over all observations.
    pub all: Option<f64>,
    /// Within studies.
    pub within: Option<f64>,
    /// The group that departs most from the mean.
    pub group: Option<String>,
}

/// Means over the factors of a kind that have a share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedMean {
    /// `shared`, or `of one study`.
    pub name: String,
    /// Factors of that kind.
    pub factors: usize,
    /// Mean over all observations, one per known column.
    pub all: Vec<Option<f64>>,
    /// Mean within studies.
    pub within: Vec<Option<f64>>,
}

impl ExplainedFigure {
    /// What each of `columns` explains of each column of `scores`. `owner` names the study of each factor ([`SHARED`] for
    /// none), `study` is the column that tells studies apart with its name. A column of numbers is taken as such, whole
    /// numbers and texts are groups.
    ///
    /// # Errors
    /// As [`explained`]; [`Error::Missing`] for a column of studies without texts or without a study that owns a factor.
    pub fn new(
        key: &str,
        scores: ArrayView2<'_, f64>,
        owner: &[String],
        study: Option<(&str, &Column)>,
        columns: &[(&str, &Column)],
    ) -> Result<ExplainedFigure> {
        let labels = |name: &str, column: &Column| {
            column.labels().ok_or_else(|| Error::Missing {
                what: format!("obs[{name:?}] as labels"),
                hint: "numbers tell no studies apart; name a column of texts or whole numbers".into(),
            })
        };
        let studies = study.map(|(name, column)| labels(name, column)).transpose()?;
        let titles = studies.as_ref().map_or(&[][..], |(_, titles)| &titles[..]);
        let owners = owner.iter().map(|name| match name.as_str() {
            SHARED => Ok(None),
            name => match titles.iter().position(|t| t == name) {
                Some(m) => Ok(Some(m)),
                None if studies.is_none() => Ok(None),
                None => Err(Error::Missing {
                    what: format!("the study {name:?} of a factor"),
                    hint: "name the column of obs that the fit took its studies from".into(),
                }),
            },
        });
        let owners: Vec<Option<usize>> = owners.collect::<Result<_>>()?;
        let of = studies.as_ref().map(|(codes, _)| &codes[..]);
        let (mut known, mut shares) = (Vec::new(), vec![Vec::new(); scores.ncols()]);
        for &(name, column) in columns {
            let groups = column.labels();
            let covariate = match (&groups, column) {
                (Some((codes, _)), _) => Covariate::Groups(codes),
                (None, Column::Float(values)) => Covariate::Numbers(values),
                // Every other kind of column has labels.
                (None, _) => continue,
            };
            let titles = groups.as_ref().map_or(&[][..], |(_, titles)| &titles[..]);
            for (at, e) in explained(scores, &owners, of, covariate)?.into_iter().enumerate() {
                let Explained { all, within, group } = e;
                let group = group.and_then(|g| titles.get(g).cloned());
                shares[at].push(NamedShare { all, within, group });
            }
            known.push(ExplainedColumn {
                name: name.to_owned(),
                groups: groups.as_ref().map(|(_, titles)| titles.len()),
                chance: covariate.chance(),
            });
        }
        let factors: Vec<ExplainedFactor> = shares
            .into_iter()
            .enumerate()
            .map(|(factor, shares)| ExplainedFactor { factor, study: owner[factor].clone(), shares })
            .collect();
        let kinds: &[(&str, bool)] = match factors.iter().any(|f| f.study != SHARED) {
            true => &[(SHARED, true), ("of one study", false)],
            false => &[(SHARED, true)],
        };
        let means = kinds.iter().map(|&(name, shared)| {
            let those: Vec<&ExplainedFactor> =
                factors.iter().filter(|f| (f.study == SHARED) == shared).collect();
            let mean = |of: &dyn Fn(&NamedShare) -> Option<f64>| {
                let at = |c: usize| {
                    let values: Vec<f64> = those.iter().filter_map(|f| of(&f.shares[c])).collect();
                    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
                };
                (0..known.len()).map(at).collect::<Vec<_>>()
            };
            let (all, within) = (mean(&|s| s.all), mean(&|s| s.within));
            ExplainedMean { name: name.to_owned(), factors: those.len(), all, within }
        });
        Ok(ExplainedFigure {
            key: key.to_owned(),
            observations: scores.nrows(),
            study: study.map(|(name, _)| name.to_owned()),
            means: means.collect(),
            columns: known,
            factors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn texts(of: &[&str]) -> Column {
        Column::Text(of.iter().map(|t| Some((*t).to_owned())).collect())
    }

    #[test]
    fn factors_are_named_and_averaged_by_kind() {
        let kind = texts(&["b", "b", "t", "t", "b", "b", "t", "t"]);
        let study = texts(&["one", "one", "one", "one", "two", "two", "two", "two"]);
        let dose = Column::Float((0..8).map(f64::from).collect());
        let value = |i: usize, k: usize| match k {
            0 => (i / 2 % 2) as f64 + 0.1 * (i % 2) as f64,
            _ => {
                if i < 4 {
                    0.0
                } else {
                    3.0 + (i / 2 % 2) as f64
                }
            }
        };
        let z = Array2::from_shape_fn((8, 2), |(i, k)| value(i, k));
        let owner = [SHARED.to_owned(), "two".to_owned()];
        let columns = [("kind", &kind), ("study", &study), ("dose", &dose)];
        let f = ExplainedFigure::new("m", z.view(), &owner, Some(("study", &study)), &columns).unwrap();
        assert_eq!((f.columns[0].groups, f.columns[2].groups, f.means.len()), (Some(2), None, 2));
        assert!(f.factors[0].shares[0].within.unwrap() > 0.98 && f.factors[0].shares[1].all.unwrap() < 1e-12);
        assert_eq!(f.factors[1].shares[0].within, Some(1.0));
        assert!(f.factors[1].shares[1].all.unwrap() > 0.95 && f.factors[1].shares[1].within.is_none());
        assert_eq!(f.factors[0].shares[0].group.as_deref(), Some("b"));
        assert_eq!(
            (f.means[1].name.as_str(), f.means[1].all[1]),
            ("of one study", f.factors[1].shares[1].all)
        );
        let text = serde_json::to_string(&f).unwrap();
        assert_eq!(serde_json::from_str::<ExplainedFigure>(&text).unwrap(), f);
        let why = ExplainedFigure::new("m", z.view(), &owner, Some(("kind", &kind)), &columns).unwrap_err();
        assert!(why.to_string().contains("the study \"two\""), "{why}");
        assert!(ExplainedFigure::new("m", z.view(), &owner, Some(("dose", &dose)), &columns).is_err());
        let plain = ExplainedFigure::new("m", z.view(), &owner, None, &columns[..1]).unwrap();
        assert_eq!(plain.factors[0].shares[0].within, None);
    }
}
