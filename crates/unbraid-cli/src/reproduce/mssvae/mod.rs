//! Moran and Krishnan (2026), MSSVAE: both simulations, the example of W, data against factors, and the worst replicate.

mod data;
mod fits;
mod maps;
mod scores;
mod ways;
mod worst;

use serde_json::{Map, Value};
use unbraid::methods::multistudy::mssvae::PriorScale;
use unbraid::params::{ParamDoc, Params};

use self::data::Data;
use self::ways::{Way, Ways};
use super::kept::Runs;
use super::section::Section;
use super::{About, Paper, Run, design, least};
use crate::args::MssvaeArgs;
use crate::fault::Fault;
use crate::set::listed;

unbraid::params! {
    /// Sizes of the experiments. The defaults are the published ones.
    pub struct Design {
        /// Gaussian data sets; at least 1. Default 30, `--quick` 2.
        pub seeds: usize = 30,
        /// Methods on Gaussian data, separated by commas: `mssvae`, `told` (MSSVAE that starts from the true numbers of columns), `paper`
        /// (`preset=paper`), `each` (one autoencoder per study, merged), `linear` (told the true numbers) and `many` (linear, as many
        /// columns as MSSVAE); `paper:6` runs it on the first 6 data sets only. Default mssvae,paper,each,linear,many.
        pub methods: Ways = Ways::all(&[Way::Mssvae, Way::Paper, Way::Each, Way::Linear, Way::Many]),
        /// Samples of each of the three studies of the Gaussian simulation; at least 40. Default 1000.
        pub observations: usize = 1000,
        /// Features of the Gaussian simulation; at least 100. Default 100.
        pub features: usize = 100,
        /// Epochs on Gaussian data; at least 1. Default 500, `--quick` 200.
        pub epochs: usize = 500,
        /// Data sets of counts; at least 1. Default 30, `--quick` 1.
        pub rna_seeds: usize = 30,
        /// Methods on counts, as `methods`. Default mssvae,told,linear,many,each. The published way of fitting has no exact zeros, so
        /// that every step costs what a dense W costs.
        pub rna_methods: Ways = Ways::all(&[Way::Mssvae, Way::Told, Way::Linear, Way::Many, Way::Each]),
        /// Samples of all three studies of the simulation of counts; at least 240. Default 3200, `--quick` 1600.
        pub rna_observations: usize = 3200,
        /// Features of the simulation of counts; at least 130. Default 5000, `--quick` 300.
        pub rna_features: usize = 5000,
        /// Epochs on counts; at least 1. Default 800, `--quick` 60.
        pub rna_epochs: usize = 800,
        /// Hidden layers on counts; at least 1. Default [256, 128], `--quick` [64, 32].
        pub rna_hidden: [usize; 2] = [256, 128],
        /// Hidden layers of the encoders on counts; [0, 0] for those of `rna_hidden`. Default [256, 128].
        pub rna_encoder: [usize; 2] = [256, 128],
        /// Samples of a mini-batch on counts; at least 4. Default 512, `--quick` 128.
        pub rna_batch: usize = 512,
        /// What the priors are divided by on counts: `batch`, `dataset` or a number of samples of all studies, of which one study's
        /// autoencoder has a third. Default batch, `--quick` 256.
        pub rna_prior_scale: PriorScale = PriorScale::Batch,
        /// Shares of the epochs at which λ₀ rises on counts. Default [0.05, 0.3], `--quick` [0.2, 0.5].
        pub rna_stages: [f64; 2] = [0.05, 0.3],
        /// Step size on counts, but for W; above 0. Default 0.001, `--quick` 0.003.
        pub rna_rate: f64 = 0.001,
        /// Step size of W and of dispersions on counts; above 0. Default 0.01.
        pub rna_rate_w: f64 = 0.01,
        /// Epochs and samples of a mini-batch of one study's autoencoder on counts; [0, 0] for three times `rna_epochs` and for
        /// `rna_batch`, which are as many steps as MSSVAE takes. Default [0, 0].
        pub rna_each: [usize; 2] = [0, 0],
        /// Most steps of the linear model; at least 1. Default 1000, `--quick` 300.
        pub linear_steps: usize = 1000,
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: fewer data sets and epochs, fewer genes.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design {
            seeds: 2,
            epochs: 200,
            rna_seeds: 1,
            rna_observations: 1600,
            rna_features: 300,
            rna_epochs: 60,
            rna_hidden: [64, 32],
            rna_batch: 128,
            rna_rate: 0.003,
            rna_prior_scale: PriorScale::Samples(256),
            rna_stages: [0.2, 0.5],
            linear_steps: 300,
            ..Design::default()
        })
    }
}

impl Design {
    /// The methods that are run on a simulation, each with its number of data sets.
    fn ways(&self, data: Data) -> Vec<(Way, usize)> {
        let ways = match data {
            Data::Gaussian => &self.methods,
            Data::Rna => &self.rna_methods,
        };
        ways.counted(data.seeds(self))
    }

    fn validate(&self) -> Result<(), Fault> {
        least(&[
            ("seeds", self.seeds, 1, "at least 1"),
            ("observations", self.observations, 40, "at least 40"),
            ("features", self.features, 100, "at least 100"),
            ("epochs", self.epochs, 1, "at least 1"),
            ("rna_seeds", self.rna_seeds, 1, "at least 1"),
            ("rna_observations", self.rna_observations, 240, "at least 240"),
            ("rna_features", self.rna_features, 130, "at least 130"),
            ("rna_epochs", self.rna_epochs, 1, "at least 1"),
            ("linear_steps", self.linear_steps, 1, "at least 1"),
        ])?;
        // Hidden sizes and rates are the method's to judge.
        [Data::Gaussian, Data::Rna].into_iter().try_for_each(|data| {
            ways::validate(self, data)?;
            data.validate(self)
        })
    }
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Figure 2a to c: scores on Gaussian data of three studies
    Gaussian,
    /// Figure 2: true and fitted W of the first data set, and data against factors
    Maps,
    /// Figure 6: the worst replicate, and what merging makes of it
    Worst,
    /// Figure 3: scores on simulated counts
    Rna,
}

/// The experiments with their sizes.
struct Mssvae {
    design: Design,
    runs: Runs,
}

impl Paper for Mssvae {
    type Part = Part;
    const ABOUT: About = About {
        name: "mssvae",
        title: "MSSVAE",
        authors: "Moran and Krishnan",
        work: "Nonlinear multi-study factor analysis",
        place: "arXiv 2601.18128",
    };

    fn sizes(&self) -> Map<String, Value> {
        listed(&self.design)
    }
    fn reads(&self, _: Part) -> Value {
        Value::Null
    }
    fn pieces(&self, part: Part) -> u64 {
        match part {
            Part::Gaussian => scores::pieces(&self.design, Data::Gaussian),
            Part::Rna => scores::pieces(&self.design, Data::Rna),
            Part::Maps => maps::PIECES,
            Part::Worst => worst::pieces(&self.design),
        }
    }
    fn run(&self, part: Part, run: &Run<'_>) -> Result<Section, Fault> {
        match part {
            Part::Gaussian => scores::run(&self.design, Data::Gaussian, &self.runs, run),
            Part::Rna => scores::run(&self.design, Data::Rna, &self.runs, run),
            Part::Maps => maps::run(&self.design, &self.runs, run),
            Part::Worst => worst::run(&self.design, &self.runs, run),
        }
    }
}

/// Runs the command for this paper.
pub fn run(args: &MssvaeArgs) -> Result<(), Fault> {
    let design: Design = design(&args.common)?;
    design.validate()?;
    let runs = Runs::new(&args.common.output)?;
    let wanted = |p: &Part| args.only.is_empty() || args.only.contains(p);
    super::run(&Mssvae { design, runs }, &args.common, wanted)
}
