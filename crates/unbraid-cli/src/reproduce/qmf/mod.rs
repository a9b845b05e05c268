//! Cuturi, Teboul, Niles-Weed and Vert (2020), QMF and QMFQ: the toy experiment, new samples, larger data
//! with noise, the time of the Jacobian and the genomics protocol.

mod fits;
mod genomics;
mod jacobian;
mod samples;
mod sweeps;
mod toy;
mod unrolled;

use serde_json::{Map, Value};
use unbraid::params::{ParamDoc, Params};

use super::section::Section;
use super::{About, Paper, Run, design, least};
use crate::args::QmfArgs;
use crate::fault::Fault;
use crate::set::listed;

unbraid::params! {
    /// Sizes of the experiments. The defaults are the published ones.
    pub struct Design {
        /// Simulated data sets of the toy experiment; at least 1. Default 8, `--quick` 2.
        pub seeds: usize = 8,
        /// Features of the toy experiment; at least 16. Default 160.
        pub features: usize = 160,
        /// Samples of the toy experiment; at least 8. Default 80.
        pub samples: usize = 80,
        /// Rank of the matrix behind the maps, and factors fitted; at least 1. Default 8.
        pub k: usize = 8,
        /// Target quantiles of each map; at least 2. Default 8.
        pub levels: usize = 8,
        /// Rounds of NMF and epochs of QMF; at least 1. Default 1000, `--quick` 200.
        pub epochs: usize = 1000,
        /// Steps of QMFQ; at least 1. Default 300, `--quick` 40.
        pub outer: usize = 300,
        /// Rounds of the factorisation in a step of QMFQ; at least 1. Default 100.
        pub inner: usize = 100,
        /// New samples, simulated with those of the toy experiment; at least 1. Default 20.
        pub held: usize = 20,
        /// Simulated data sets with noise; at least 1. Default 8, `--quick` 1.
        pub sweep_seeds: usize = 8,
        /// Features of the data with noise; at least 16. Default 500, `--quick` 100.
        pub sweep_features: usize = 500,
        /// Samples of the data with noise; at least 16. Default 256, `--quick` 64.
        pub sweep_samples: usize = 256,
        /// Rounds of NMF and epochs of QMF on the data with noise; at least 1. Default 300, `--quick` 30.
        pub sweep_epochs: usize = 300,
        /// Steps of QMFQ on the data with noise; at least 1. Default 100, `--quick` 10.
        pub sweep_outer: usize = 100,
        /// Rows over which the times of a Jacobian are taken; at least 1. Default 10, `--quick` 3.
        pub averages: usize = 10,
        /// Most values of a row of which the Jacobian is timed, from 64 in doublings; at least 64. Default 4096,
        /// `--quick` 512.
        pub longest: usize = 4096,
        /// Starts of each method on a cohort; at least 1. Default 5, `--quick` 2.
        pub starts: usize = 5,
        /// Epochs of QMF on a cohort; at least 1. Default 1000, `--quick` 60.
        pub genomics: usize = 1000,
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: fewer data sets and steps, the same data.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design {
            seeds: 2,
            epochs: 200,
            outer: 40,
            sweep_seeds: 1,
            sweep_features: 100,
            sweep_samples: 64,
            sweep_epochs: 30,
            sweep_outer: 10,
            averages: 3,
            longest: 512,
            starts: 2,
            genomics: 60,
            ..Design::default()
        })
    }
}

impl Design {
    fn validate(&self) -> Result<(), Fault> {
        least(&[
            ("seeds", self.seeds, 1, "at least 1"),
            ("features", self.features, 16, "at least 16"),
            ("samples", self.samples, 8, "at least 8"),
            ("k", self.k, 1, "at least 1"),
            ("levels", self.levels, 2, "at least 2"),
            ("epochs", self.epochs, 1, "at least 1"),
            ("outer", self.outer, 1, "at least 1"),
            ("inner", self.inner, 1, "at least 1"),
            ("held", self.held, 1, "at least 1"),
            ("sweep_seeds", self.sweep_seeds, 1, "at least 1"),
            ("sweep_features", self.sweep_features, 16, "at least 16"),
            ("sweep_samples", self.sweep_samples, 16, "at least 16"),
            ("sweep_epochs", self.sweep_epochs, 1, "at least 1"),
            ("sweep_outer", self.sweep_outer, 1, "at least 1"),
            ("averages", self.averages, 1, "at least 1"),
            ("longest", self.longest, 64, "at least 64"),
            ("starts", self.starts, 1, "at least 1"),
            ("genomics", self.genomics, 1, "at least 1"),
        ])
    }
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Figures 5 and 6: losses of NMF, QMF and QMFQ, and the maps they find
    Toy,
    /// The toy experiment on new samples
    #[value(name = "new-samples")]
    NewSamples,
    /// Figure 4: features per step, quantiles and rounds, on larger data with noise
    Sweeps,
    /// Figure 2: time of the Jacobian, and of an epoch of QMF
    Jacobian,
    /// Figures 3 and 7: NMF and QMF on cohorts of several omics, and survival
    Genomics,
}

/// The experiments with their sizes.
#[derive(Default)]
struct Qmf {
    design: Design,
    cohorts: Vec<genomics::Cohort>,
}

impl Paper for Qmf {
    type Part = Part;
    const ABOUT: About = About {
        name: "qmf",
        title: "QMF and QMFQ",
        authors: "Cuturi, Teboul, Niles-Weed and Vert",
        work: "Supervised Quantile Normalization for Low-rank Matrix Approximation",
        place: "ICML 2020",
    };

    fn sizes(&self) -> Map<String, Value> {
        listed(&self.design)
    }
    fn reads(&self, part: Part) -> Value {
        match part {
            Part::Toy | Part::NewSamples | Part::Sweeps | Part::Jacobian => Value::Null,
            Part::Genomics => genomics::fingerprint(&self.cohorts),
        }
    }
    fn pieces(&self, part: Part) -> u64 {
        match part {
            Part::Toy => toy::pieces(&self.design),
            Part::NewSamples => samples::pieces(&self.design),
            Part::Sweeps => sweeps::pieces(&self.design),
            Part::Jacobian => jacobian::pieces(&self.design),
            Part::Genomics => genomics::pieces(&self.design, &self.cohorts),
        }
    }
    fn run(&self, part: Part, run: &Run<'_>) -> Result<Section, Fault> {
        match part {
            Part::Toy => toy::run(&self.design, run),
            Part::NewSamples => samples::run(&self.design, run),
            Part::Sweeps => sweeps::run(&self.design, run),
            Part::Jacobian => jacobian::run(&self.design, run),
            Part::Genomics => genomics::run(&self.design, &self.cohorts, run),
        }
    }
}

/// Runs the command for this paper.
pub fn run(args: &QmfArgs) -> Result<(), Fault> {
    let design: Design = design(&args.common)?;
    design.validate()?;
    let wanted = |p: &Part| args.only.is_empty() || args.only.contains(p);
    super::run(&Qmf { design, cohorts: genomics::find(&args.data)? }, &args.common, wanted)
}
