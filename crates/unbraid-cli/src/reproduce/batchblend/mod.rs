//! Shah (2025), BATCHBLEND: simulated slices, robustness against the batch effect, maps, and labelled slices of tissue.

mod drawings;
mod fits;
mod grid;
mod halves;
mod maps;
mod patterns;
mod scores;
mod sets;
mod slices;

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use serde_json::{Map, Value};
use unbraid::params::{ParamDoc, Params};

use self::sets::Sources;
use super::kept::Runs;
use super::section::Section;
use super::{About, Paper, Run, design, least, name};
use crate::args::BatchblendArgs;
use crate::fault::Fault;
use crate::set::listed;

/// Numbers typed as `0,1.5,2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl Display for Numbers {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(f64::to_string).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Numbers {
    type Err = String;
    fn from_str(text: &str) -> Result<Numbers, String> {
        let one = |t: &str| {
            t.trim().parse().map_err(|_| format!("`{t}` is no number; allowed are numbers as 0,1.5,2"))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Numbers)
    }
}

unbraid::serde_as_text!(Numbers);

unbraid::params! {
    /// Sizes of the experiments. The defaults are the published ones where they are known.
    pub struct Design {
        /// Simulated sets where `--data` has no `msrt_seed*.h5ad`; at least 1. Default 5, `--quick` 2.
        pub sets: usize = 5,
        /// Cells along one side of a simulated slice; at least 8. Default 15.
        pub side: usize = 15,
        /// Seeds of each point of the grid of batch effects; at least 1. Default 5, `--quick` 1.
        pub grid_seeds: usize = 5,
        /// Strengths σ_β of the batch effect on the grid. Default 0,1,1.5,2,3,5, `--quick` 0,2,5.
        pub strengths: Numbers = Numbers(vec![0.0, 1.0, 1.5, 2.0, 3.0, 5.0]),
        /// Shares K̂ of the metagenes that the batch effect touches on the grid. Default 0,0.25,0.5,0.75,1, `--quick` 0.5,1.
        pub touched: Numbers = Numbers(vec![0.0, 0.25, 0.5, 0.75, 1.0]),
        /// Seeds of the fits of labelled slices; at least 1. Default 3, `--quick` 1.
        pub seeds: usize = 3,
        /// Genes of labelled slices, the most variable; at least 20. Default 500, `--quick` 150.
        pub genes: usize = 500,
        /// Metagenes of labelled slices; 0 for the number of labels, 10 at least. Default 0.
        pub k: usize = 0,
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: fewer sets and seeds, a coarser grid, fewer genes.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design {
            sets: 2,
            grid_seeds: 1,
            strengths: Numbers(vec![0.0, 2.0, 5.0]),
            touched: Numbers(vec![0.5, 1.0]),
            seeds: 1,
            genes: 150,
            ..Design::default()
        })
    }
}

impl Design {
    fn validate(&self) -> Result<(), Fault> {
        least(&[
            ("sets", self.sets, 1, "at least 1"),
            ("side", self.side, 8, "at least 8"),
            ("grid_seeds", self.grid_seeds, 1, "at least 1"),
            ("strengths", self.strengths.0.len(), 1, "one number or more"),
            ("touched", self.touched.0.len(), 1, "one number or more"),
            ("seeds", self.seeds, 1, "at least 1"),
            ("genes", self.genes, 20, "at least 20"),
        ])?;
        let bad = |name, found: f64, rule| {
            Err(unbraid::Error::Param { name, found: found.to_string(), rule }.into())
        };
        if let Some(v) = self.strengths.0.iter().find(|v| !(**v >= 0.0 && v.is_finite())) {
            return bad("strengths", *v, "finite and 0 or larger");
        }
        if let Some(v) = self.touched.0.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            return bad("touched", *v, "from 0 to 1");
        }
        if self.k == 1 || self.k > 64 {
            return bad("k", self.k as f64, "0, or from 2 to 64");
        }
        Ok(())
    }
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Figures 3.1 to 3.4, 3.8 and 3.9: metagenes in space, their affinities, cells before and after, of the first simulated set
    Maps,
    /// Tables 3.1 to 3.5: scores on the simulated sets beside the printed ones
    Scores,
    /// Figures 3.5 to 3.7: scores over the strength of the batch effect and the share of metagenes it touches
    Robustness,
    /// Labelled slices of tissue under --data
    Slices,
    /// Affinities of a section under --data beside how often its cell types meet, and metagenes of batches without labels
    Patterns,
}

impl Part {
    /// Whether the data for it are there.
    fn has_data(self, sources: &Sources) -> bool {
        match self {
            Part::Slices => !(sources.slices.is_empty() && sources.sections.is_empty()),
            Part::Patterns => !(sources.unlabelled.is_empty() && sources.sections.is_empty()),
            Part::Maps | Part::Scores | Part::Robustness => true,
        }
    }
}

/// The experiments with their sizes and data.
struct BatchBlend {
    design: Design,
    sources: Sources,
    runs: Runs,
}

impl Paper for BatchBlend {
    type Part = Part;
    const ABOUT: About = About {
        name: "batchblend",
        title: "BATCHBLEND",
        authors: "Shah",
        work: "BATCHBLEND: A Batch-Aware Interpretable Probabilistic Graphical Model for Integrating Spatially Resolved Transcriptomes",
        place: "thesis, 2025",
    };

    fn sizes(&self) -> Map<String, Value> {
        listed(&self.design)
    }
    fn reads(&self, part: Part) -> Value {
        match part {
            Part::Robustness => Value::Null,
            Part::Maps | Part::Scores => self.sources.simulated_fingerprint(),
            Part::Slices => self.sources.slices_fingerprint(),
            Part::Patterns => self.sources.patterns_fingerprint(),
        }
    }
    fn pieces(&self, part: Part) -> u64 {
        match part {
            Part::Maps => maps::PIECES,
            Part::Scores => scores::pieces(&self.design, &self.sources),
            Part::Robustness => grid::pieces(&self.design),
            Part::Slices => slices::pieces(&self.design, &self.sources),
            Part::Patterns => patterns::pieces(&self.sources),
        }
    }
    fn run(&self, part: Part, run: &Run<'_>) -> Result<Section, Fault> {
        match part {
            Part::Maps => maps::run(&self.design, &self.sources, run),
            Part::Scores => scores::run(&self.design, &self.sources, &self.runs, run),
            Part::Robustness => grid::run(&self.design, &self.runs, run),
            Part::Slices => slices::run(&self.design, &self.sources, &self.runs, run),
            Part::Patterns => patterns::run(&self.design, &self.sources, run),
        }
    }
}

/// Runs the command for this paper.
pub fn run(args: &BatchblendArgs) -> Result<(), Fault> {
    let design: Design = design(&args.common)?;
    design.validate()?;
    let sources = Sources::find(&args.data)?;
    if let Some(part) = args.only.iter().find(|p| !p.has_data(&sources)) {
        let what = match part {
            Part::Patterns => "a labelled section of one batch, or batches without labels",
            _ => "labelled slices",
        };
        let name = name(*part);
        return Err(Fault::Usage(format!(
            "`--only {name}` needs {what}: give a folder with .h5ad files with `--data DIR`"
        )));
    }
    let runs = Runs::new(&args.common.output)?;
    let wanted = |p: &Part| match args.only.is_empty() {
        true => p.has_data(&sources),
        false => args.only.contains(p),
    };
    let paper = BatchBlend { design, sources: sources.clone(), runs };
    super::run(&paper, &args.common, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert!(Design::default().validate().is_ok() && Design::preset("quick").unwrap().validate().is_ok());
        let bad = |d: Design| d.validate().unwrap_err().to_string();
        assert!(bad(Design { side: 3, ..Design::default() }).contains("`side` is 3"));
        assert!(
            bad(Design { strengths: Numbers(vec![-1.0]), ..Design::default() }).contains("`strengths` is -1")
        );
        assert!(
            bad(Design { touched: Numbers(vec![0.5, f64::NAN]), ..Design::default() }).contains("`touched`")
        );
        assert!(bad(Design { touched: Numbers(Vec::new()), ..Design::default() }).contains("`touched` is 0"));
        assert_eq!("0, 1.5,2".parse::<Numbers>().unwrap().to_string(), "0,1.5,2");
        assert!("0,x".parse::<Numbers>().unwrap_err().contains("`x` is no number"));
        assert!(bad(Design { k: 1, ..Design::default() }).contains("`k` is 1"));
    }
}
