//! Cuturi, Teboul, Niles-Weed and Vert (2020), QMF and QMFQ: the toy experiment.

mod fits;
mod toy;

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
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: fewer data sets and steps, the same data.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design { seeds: 2, epochs: 200, outer: 40, ..Design::default() })
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
        ])
    }
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Figures 5 and 6: losses of NMF, QMF and QMFQ, and the maps they find
    Toy,
}

/// The experiments with their sizes.
#[derive(Default)]
struct Qmf {
    design: Design,
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
            Part::Toy => Value::Null,
        }
    }
    fn pieces(&self, part: Part) -> u64 {
        match part {
            Part::Toy => toy::pieces(&self.design),
        }
    }
    fn run(&self, part: Part, run: &Run<'_>) -> Result<Section, Fault> {
        match part {
            Part::Toy => toy::run(&self.design, run),
        }
    }
}

/// Runs the command for this paper.
pub fn run(args: &QmfArgs) -> Result<(), Fault> {
    let design: Design = design(&args.common)?;
    design.validate()?;
    let wanted = |p: &Part| args.only.is_empty() || args.only.contains(p);
    super::run(&Qmf { design }, &args.common, wanted)
}
