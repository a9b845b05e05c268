//! The methods that are compared: their parameters, their fits, and which of them are run on how many data sets.

use ndarray::Array2;
use serde_json::Value;
use unbraid::Seed;
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method, Stop};
use unbraid::methods::multistudy::each::SvaeMerge;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::linear::Msfa;
use unbraid::methods::multistudy::mssvae::{Mssvae, PriorScale};
use unbraid::methods::multistudy::studies::Studies;
use unbraid::params::Params;
use unbraid::preprocess::prepare::DEPTH;
use unbraid::preprocess::totals::to_total;
use unbraid::report::SupportRule;
use unbraid::simulate::multistudy::MultistudySample;

use super::Design;
use super::data::{Data, STUDIES};
use crate::fault::Fault;
use crate::set::listed;
use crate::watch::UntilInterrupted;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Mssvae,
    /// MSSVAE that starts from the true numbers of columns, as the linear model that is told them.
    Told,
    Paper,
    Each,
    /// The linear model, told how many factors there are.
    Linear,
    /// The linear model with as many columns as MSSVAE starts from.
    Many,
}

unbraid::words!(
    Way,
    "a method",
    Mssvae = "mssvae",
    Told = "told",
    Paper = "paper",
    Each = "each",
    Linear = "linear",
    Many = "many",
);

/// Methods in the order they are run in, each on all data sets or on the first few: `mssvae,paper:6,many`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways(pub Vec<(Way, Option<usize>)>);

impl Ways {
    pub fn all(ways: &[Way]) -> Ways {
        Ways(ways.iter().map(|w| (*w, None)).collect())
    }

    /// Each with its number of data sets of so many.
    pub fn counted(&self, seeds: usize) -> Vec<(Way, usize)> {
        self.0.iter().map(|&(way, most)| (way, most.map_or(seeds, |most| most.min(seeds)))).collect()
    }
}

impl std::fmt::Display for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (way, most)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{way}")?;
            most.iter().try_for_each(|most| write!(f, ":{most}"))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Ways {
    type Err = String;

    fn from_str(text: &str) -> Result<Ways, String> {
        let mut ways: Vec<(Way, Option<usize>)> = Vec::new();
        for word in text.split(',').map(str::trim) {
            let (way, most) = match word.split_once(':') {
                None => (word.parse()?, None),
                Some((way, most)) => match most.parse() {
                    Ok(most) if most > 0 => (way.parse()?, Some(most)),
                    _ => {
                        return Err(format!("`{word}`: after the colon stands a number of data sets from 1"));
                    }
                },
            };
            if ways.iter().any(|(known, _)| *known == way) {
                return Err(format!("`{way}` is there twice; name each method once"));
            }
            ways.push((way, most));
        }
        Ok(Ways(ways))
    }
}

unbraid::serde_as_text!(Ways);

fn mssvae(design: &Design, data: Data, base: Mssvae) -> Mssvae {
    match data {
        Data::Gaussian => Mssvae { epochs: design.epochs, ..base },
        Data::Rna => Mssvae {
            likelihood: Law::NegBinomial,
            shared: 50,
            specific: 10,
            hidden: design.rna_hidden,
            encoder: design.rna_encoder,
            batch: design.rna_batch,
            epochs: design.rna_epochs,
            learning_rate: design.rna_rate,
            learning_rate_w: design.rna_rate_w,
            prior_scale: design.rna_prior_scale,
            stages: design.rna_stages,
            ..base
        },
    }
}

/// MSSVAE with as many columns as there are factors.
fn told(design: &Design, data: Data) -> Mssvae {
    let (shared, specific) = data.numbers(design);
    Mssvae { shared, specific, ..mssvae(design, data, Mssvae::default()) }
}

/// The published way of fitting.
fn published(design: &Design, data: Data) -> Mssvae {
    mssvae(design, data, Mssvae::preset("paper").unwrap_or_default())
}

/// The fit of one study alone: as many steps as MSSVAE takes, which has as many epochs of mini-batches from all studies, unless a
/// schedule of its own is set. Where the penalty stands beside a number of samples of all studies, this one has its share of them, so that a
/// sample weighs as much as it does in MSSVAE.
fn alone(design: &Design, data: Data) -> SvaeMerge {
    let like = mssvae(design, data, Mssvae::default());
    let (epochs, batch) = match (data, design.rna_each) {
        (Data::Gaussian, _) | (_, [0, 0]) => (STUDIES * like.epochs, like.batch),
        (Data::Rna, [epochs, batch]) => (epochs, batch),
    };
    let prior_scale = match like.prior_scale {
        PriorScale::Samples(all) => PriorScale::Samples((all / STUDIES as u32).max(1)),
        given => given,
    };
    SvaeMerge(Mssvae { epochs, batch, prior_scale, ..like })
}

/// The linear model, which is told how many factors there are, or is given `many` columns as MSSVAE is.
fn linear(design: &Design, data: Data, many: bool) -> Msfa {
    let like = mssvae(design, data, Mssvae::default());
    let (shared, specific) = if many { (like.shared, like.specific) } else { data.numbers(design) };
    Msfa { shared, specific, max_steps: design.linear_steps, ..Msfa::default() }
}

/// Refuses what the methods would.
///
/// # Errors
/// The first parameter that is out of range.
pub fn validate(design: &Design, data: Data) -> Result<(), Fault> {
    mssvae(design, data, Mssvae::default()).validate()?;
    alone(design, data).validate()?;
    linear(design, data, true).validate()?;
    Ok(())
}

/// What a method found.
pub struct Found {
    pub loadings: Array2<f64>,
    pub owner: Vec<Option<usize>>,
    pub codes: Array2<f64>,
    /// W before anything was merged or dropped.
    pub raw: Option<(Array2<f64>, Vec<Option<usize>>)>,
}

impl Way {
    /// In figures and tables.
    pub fn name(self) -> &'static str {
        match self {
            Way::Mssvae => "MSSVAE",
            Way::Told => "MSSVAE, told how many",
            Way::Paper => "preset=paper",
            Way::Each => "one per study, merged",
            Way::Linear => "linear, told how many",
            Way::Many => "linear, as many columns",
        }
    }

    /// Its colour.
    pub fn tint(self) -> usize {
        match self {
            Way::Mssvae => 0,
            Way::Told => 4,
            Way::Paper => 5,
            Way::Each => 1,
            Way::Linear => 2,
            Way::Many => 3,
        }
    }

    /// How supports are read. Synthetic RNA: shared columns of more than a quarter of the genes are left out, as published.
    pub fn rule(self, design: &Design, data: Data) -> SupportRule {
        let widest = if data == Data::Rna { 0.25 } else { 1.0 };
        match self {
            Way::Linear | Way::Many => {
                let threshold = linear(design, data, false).threshold;
                SupportRule { threshold, relative: true, fewest: 1, widest }
            }
            _ => SupportRule { threshold: Mssvae::default().threshold, relative: false, fewest: 1, widest },
        }
    }

    /// The parameters of the method.
    pub fn settings(self, design: &Design, data: Data) -> serde_json::Map<String, Value> {
        match self {
            Way::Mssvae => listed(&mssvae(design, data, Mssvae::default())),
            Way::Told => listed(&told(design, data)),
            Way::Each => listed(&alone(design, data)),
            Way::Paper => listed(&published(design, data)),
            Way::Linear | Way::Many => listed(&linear(design, data, self == Way::Many)),
        }
    }

    /// Fits data.
    ///
    /// # Errors
    /// What the method fails with, and the user's interrupt.
    pub fn fit(
        self,
        design: &Design,
        data: Data,
        sample: &MultistudySample,
        seed: u64,
    ) -> Result<Found, Fault> {
        let counts = Matrix::Dense(sample.x.clone());
        let values = Values { what: "simulated data", matrix: &counts };
        let scaled = match (self, data) {
            (Way::Linear | Way::Many, Data::Rna) => Some(to_total(values, DEPTH)?.map(f64::ln_1p)),
            _ => None,
        };
        let study: Vec<u32> = sample.study.iter().map(|m| *m as u32).collect();
        let names: Vec<String> = (0..STUDIES).map(|m| format!("study{m}")).collect();
        let matrix = scaled.as_ref().unwrap_or(&counts);
        let input = Studies { values: Values { matrix, ..values }, study: &study, names: &names };
        let mut observer = UntilInterrupted;
        let mut ctx = Ctx::new(Seed(seed), &mut observer);
        let (found, stop) = match self {
            Way::Mssvae | Way::Told | Way::Paper => {
                let params = match self {
                    Way::Told => told(design, data),
                    Way::Paper => published(design, data),
                    _ => mssvae(design, data, Mssvae::default()),
                };
                let fit = params.fit(input, &mut ctx)?;
                let raw = (fit.weights(), fit.columns.owners());
                (
                    Found { loadings: fit.mask(), owner: fit.owners(), codes: fit.codes(), raw: Some(raw) },
                    fit.stop,
                )
            }
            Way::Each => {
                let fit = alone(design, data).fit(input, &mut ctx)?;
                (Found { loadings: fit.mask(), owner: fit.owners(), codes: fit.codes(), raw: None }, fit.stop)
            }
            Way::Linear | Way::Many => {
                let fit = linear(design, data, self == Way::Many).fit(input, &mut ctx)?;
                let owner = fit.owners();
                (Found { loadings: fit.loadings, owner, codes: fit.codes, raw: None }, fit.stop)
            }
        };
        match stop {
            Stop::Cancelled => Err(Fault::Interrupted("stopped by the user".into())),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_study_has_its_share_of_a_penalty_beside_a_number_of_samples() {
        let scale = |rna_prior_scale| {
            let design = Design { rna_prior_scale, ..Design::default() };
            let of_all = mssvae(&design, Data::Rna, Mssvae::default()).prior_scale;
            (of_all, alone(&design, Data::Rna).0.prior_scale)
        };
        assert_eq!(scale(PriorScale::Samples(256)), (PriorScale::Samples(256), PriorScale::Samples(85)));
        assert_eq!(scale(PriorScale::Samples(2)).1, PriorScale::Samples(1));
        assert_eq!(scale(PriorScale::Dataset).1, PriorScale::Dataset);
    }

    #[test]
    fn methods_are_typed_as_words_each_with_its_number_of_data_sets() {
        let ways: Ways = "mssvae, paper:6,many".parse().unwrap();
        assert_eq!(ways.0, [(Way::Mssvae, None), (Way::Paper, Some(6)), (Way::Many, None)]);
        assert_eq!(ways.to_string(), "mssvae,paper:6,many");
        assert_eq!(ways.counted(4), [(Way::Mssvae, 4), (Way::Paper, 4), (Way::Many, 4)]);
        assert_eq!(ways.counted(30)[1], (Way::Paper, 6));
        for (text, part) in
            [("mssva", "allowed are"), ("mssvae,mssvae:2", "twice"), ("paper:0", "from 1"), ("", "``")]
        {
            let why = text.parse::<Ways>().unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
