//! The methods on simulated studies, judged by the truth. Every run is kept as a file, and is not run again where its settings
//! are the same.

use std::path::PathBuf;
use std::time::Instant;

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unbraid::Seed;
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method, Stop};
use unbraid::methods::multistudy::each::SvaeMerge;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::linear::Msfa;
use unbraid::methods::multistudy::mssvae::Mssvae;
use unbraid::methods::multistudy::studies::Studies;
use unbraid::metrics::supports::{BlockScores, block_scores};
use unbraid::params::Params;
use unbraid::preprocess::totals::to_total;
use unbraid::report::{FactorSide, FactorTruth, SupportRule};
use unbraid::simulate::multistudy::MultistudySample;
use unbraid::simulate::multistudy::gaussian::MultistudyDesign;
use unbraid::simulate::multistudy::rna::MultistudyRnaDesign;

use super::Design;
use crate::fault::Fault;
use crate::reproduce::output;
use crate::set::listed;
use crate::watch::UntilInterrupted;

/// Number of studies in both simulations.
pub const STUDIES: usize = 3;
/// Total to which counts are scaled before log(1 + x), for the linear model.
const TOTAL: f64 = 1e4;

/// A simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    Gaussian,
    Rna,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Data {
    /// In file names and after `unbraid simulate`.
    pub fn name(self) -> &'static str {
        match self {
            Data::Gaussian => "gaussian",
            Data::Rna => "rna",
        }
    }

    /// The methods that are run, in order; on counts the longest last. The published way of fitting is left out on counts: it has no exact zeros, so that
    /// every step costs what a dense W costs.
    pub fn ways(self) -> &'static [Way] {
        match self {
            Data::Gaussian => &[Way::Mssvae, Way::Paper, Way::Each, Way::Linear, Way::Many],
            Data::Rna => &[Way::Mssvae, Way::Told, Way::Linear, Way::Many, Way::Each],
        }
    }

    /// Number of data sets.
    pub fn seeds(self, design: &Design) -> usize {
        match self {
            Data::Gaussian => design.seeds,
            Data::Rna => design.rna_seeds,
        }
    }

    /// The data of a seed.
    pub fn simulated(self, design: &Design, seed: u64) -> Result<MultistudySample, Fault> {
        Ok(match self {
            Data::Gaussian => gaussian(design).sample(Seed(seed))?,
            Data::Rna => rna(design).sample(Seed(seed))?,
        })
    }

    fn listed(self, design: &Design) -> serde_json::Map<String, Value> {
        match self {
            Data::Gaussian => listed(&gaussian(design)),
            Data::Rna => listed(&rna(design)),
        }
    }
}

fn gaussian(design: &Design) -> MultistudyDesign {
    let &Design { observations, features, .. } = design;
    MultistudyDesign { studies: STUDIES, observations, features, ..MultistudyDesign::default() }
}

fn rna(design: &Design) -> MultistudyRnaDesign {
    let &Design { rna_observations: observations, rna_features: features, .. } = design;
    MultistudyRnaDesign { studies: STUDIES, observations, features, ..MultistudyRnaDesign::default() }
}

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
    let (shared, specific) = numbers(design, data);
    Mssvae { shared, specific, ..mssvae(design, data, Mssvae::default()) }
}

/// Numbers of factors in truth: of all studies, and of each.
fn numbers(design: &Design, data: Data) -> (usize, usize) {
    match data {
        Data::Gaussian => (gaussian(design).shared, gaussian(design).specific),
        Data::Rna => (rna(design).shared, rna(design).specific),
    }
}

/// The fit of one study alone: as many steps as MSSVAE takes, which has as many epochs of mini-batches from all studies.
fn alone(design: &Design, data: Data) -> SvaeMerge {
    let like = mssvae(design, data, Mssvae::default());
    SvaeMerge(Mssvae { epochs: STUDIES * like.epochs, ..like })
}

/// The linear model, which is told how many factors there are, or is given `many` columns as MSSVAE is.
fn linear(design: &Design, data: Data, many: bool) -> Msfa {
    let like = mssvae(design, data, Mssvae::default());
    let (shared, specific) = if many { (like.shared, like.specific) } else { numbers(design, data) };
    Msfa { shared, specific, max_steps: design.linear_steps, ..Msfa::default() }
}

/// Refuses what the methods or the simulations would.
pub fn validate(design: &Design, data: Data) -> Result<(), Fault> {
    mssvae(design, data, Mssvae::default()).validate()?;
    linear(design, data, true).validate()?;
    match data {
        Data::Gaussian => gaussian(design).validate()?,
        Data::Rna => rna(design).validate()?,
    }
    Ok(())
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

    /// In file names.
    fn file(self) -> &'static str {
        match self {
            Way::Mssvae => "mssvae",
            Way::Told => "told",
            Way::Paper => "paper",
            Way::Each => "each",
            Way::Linear => "linear",
            Way::Many => "many",
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
    fn rule(self, data: Data, design: &Design) -> SupportRule {
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
            Way::Paper => listed(&mssvae(design, data, published())),
            Way::Linear | Way::Many => listed(&linear(design, data, self == Way::Many)),
        }
    }

    fn fit(self, design: &Design, data: Data, sample: &MultistudySample, seed: u64) -> Result<Found, Fault> {
        let counts = Matrix::Dense(sample.x.clone());
        let values = Values { what: "simulated data", matrix: &counts };
        let scaled = match (self, data) {
            (Way::Linear | Way::Many, Data::Rna) => Some(to_total(values, TOTAL)?.map(f64::ln_1p)),
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
                    Way::Paper => mssvae(design, data, published()),
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

fn published() -> Mssvae {
    Mssvae::preset("paper").unwrap_or_default()
}

/// What a method found.
struct Found {
    loadings: Array2<f64>,
    owner: Vec<Option<usize>>,
    codes: Array2<f64>,
    /// W before anything was merged or dropped.
    raw: Option<(Array2<f64>, Vec<Option<usize>>)>,
}

/// A column of loadings: weights of the members alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    pub owner: Option<usize>,
    pub members: Vec<(usize, f32)>,
}

/// A run, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// All that decides the result.
    settings: Value,
    /// Hash of the program that ran it.
    pub program: String,
    pub way: Way,
    pub seed: u64,
    pub seconds: f64,
    pub truth: FactorTruth,
    /// Scores of W as it was fitted, before merge and all that follows.
    pub before: Option<BlockScores>,
    /// Factors found.
    pub columns: Vec<Column>,
    /// Columns of W as it was fitted.
    pub raw: Vec<Column>,
    /// Scores of the samples in the factors found, row by row; of the first data set alone.
    pub codes: Vec<Vec<f32>>,
}

/// The columns that have members under a rule.
fn columns(w: &Array2<f64>, owner: &[Option<usize>], rule: SupportRule) -> Vec<Column> {
    let inside = rule.apply(w.view(), owner);
    let one = |k: usize| {
        let members = (0..w.nrows()).filter(|&j| inside[[j, k]]);
        Column { owner: owner[k], members: members.map(|j| (j, w[[j, k]] as f32)).collect() }
    };
    (0..w.ncols()).map(one).collect()
}

/// The folder of runs.
pub struct Runs {
    folder: PathBuf,
    /// Hash of this program.
    program: String,
}

impl Runs {
    pub fn new(folder: PathBuf, program: String) -> Runs {
        Runs { folder, program }
    }

    /// How many of some runs another build of this program made.
    pub fn of_others(&self, all: &[Outcome]) -> usize {
        all.iter().filter(|o| o.program != self.program).count()
    }

    /// The run of a method on the data of a seed: from its file, else now.
    ///
    /// # Errors
    /// What the fit fails with, the user's interrupt, a file that cannot be written.
    pub fn get(
        &self,
        design: &Design,
        data: Data,
        way: Way,
        (seed, first): (u64, u64),
    ) -> Result<Outcome, Fault> {
        let settings = json!({
            "data": data.listed(design), "method": way.settings(design, data), "seed": seed, "scores": seed == first,
            "version": env!("CARGO_PKG_VERSION"),
        });
        let path = self.folder.join(format!("{}-{}-{seed}.json", data.name(), way.file()));
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Outcome>(&bytes).ok());
        if let Some(kept) = kept.filter(|k| k.settings == settings) {
            return Ok(kept);
        }
        let sample = data.simulated(design, seed)?;
        let begun = Instant::now();
        let found = way.fit(design, data, &sample, seed)?;
        let seconds = begun.elapsed().as_secs_f64();
        let rule = way.rule(data, design);
        let names: Vec<String> = (0..STUDIES).map(|m| format!("study{m}")).collect();
        let expected = sample.loadings.mapv(|w| w != 0.0);
        let supports = rule.apply(found.loadings.view(), &found.owner);
        let side =
            FactorSide { supports: supports.view(), scores: Some(found.codes.view()), owner: &found.owner };
        let truth = FactorSide {
            supports: expected.view(),
            scores: Some(sample.scores.view()),
            owner: &sample.owner,
        };
        let before = match &found.raw {
            Some((w, owner)) => {
                let raw = rule.apply(w.view(), owner);
                Some(block_scores((expected.view(), &sample.owner), (raw.view(), owner), STUDIES)?)
            }
            None => None,
        };
        let raw = found.raw.as_ref().map_or_else(Vec::new, |(w, owner)| columns(w, owner, rule));
        let keep = seed == first && data == Data::Gaussian;
        let codes = found.codes.rows().into_iter().filter(|_| keep);
        let outcome = Outcome {
            settings,
            program: self.program.clone(),
            way,
            seed,
            seconds,
            truth: FactorTruth::new((way.name(), "truth"), side, truth, &names, true, rule)?,
            before,
            columns: columns(&found.loadings, &found.owner, rule),
            raw,
            codes: codes.map(|r| r.iter().map(|v| *v as f32).collect()).collect(),
        };
        std::fs::create_dir_all(&self.folder).map_err(|e| output(&self.folder, &e))?;
        let bytes = serde_json::to_vec(&outcome).map_err(|e| output(&path, &e))?;
        unbraid_io::write_bytes_atomically(&path, &bytes)?;
        // From the file's own digits, so that a run gives what a kept one gives.
        serde_json::from_slice(&bytes).map_err(|e| output(&path, &e))
    }
}

impl Outcome {
    /// Consensus, relevance and recovery of the shared block; 0 where nothing was found.
    pub fn shared(&self) -> [f64; 3] {
        let scores = self.truth.blocks.first().and_then(|b| b.scores);
        scores.map_or([0.0; 3], |s| [s.consensus, s.relevance, s.recovery])
    }

    /// The same of the studies' blocks, their mean.
    pub fn specific(&self) -> [f64; 3] {
        self.truth.mean.map_or([0.0; 3], |s| [s.consensus, s.relevance, s.recovery])
    }

    /// Factors found: shared, and all of the studies.
    pub fn sizes(&self) -> (usize, usize) {
        let count = |shared: bool| {
            self.columns.iter().filter(|c| c.owner.is_none() == shared && !c.members.is_empty()).count()
        };
        (count(true), count(false))
    }
}
