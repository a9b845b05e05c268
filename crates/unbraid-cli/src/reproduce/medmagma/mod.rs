//! Andrew, Westhead and Cutillo (2026), MED-MAGMA: simulated networks, tails, labelled data, gene modules.

mod comparison;
mod contender;
mod modules;
mod sets;
mod synthetic;
mod tails;

use serde_json::{Map, Value};
use unbraid::Seed;
use unbraid::params::{ParamDoc, Params};

use self::sets::Sources;
use super::section::Section;
use super::{About, Paper, Run, design, least, name, output};
use crate::args::MedmagmaArgs;
use crate::fault::Fault;
use crate::set::listed;
use crate::watch::Progress;

unbraid::params! {
    /// Sizes of the experiments. The defaults are the published ones.
    pub struct Design {
        /// Simulated data sets per point; at least 1. Default 20, `--quick` 3.
        pub seeds: usize = 20,
        /// Points along the noise and the density; at least 2. Default 10.
        pub points: usize = 10,
        /// Rows of the smaller simulated data (figure 2); at least 4. Default 100.
        pub rows: usize = 100,
        /// Columns of the smaller simulated data; at least 4. Default 150.
        pub columns: usize = 150,
        /// Rows of the larger simulated data (figures 5 and 6); at least 4. Default 200.
        pub large_rows: usize = 200,
        /// Columns of the larger simulated data; at least 4. Default 201.
        pub large_columns: usize = 201,
        /// Leiden resolutions tried per graph of simulated data; at least 1. Default 100, `--quick` 12.
        pub resolutions: usize = 100,
        /// Data sets with more rows are left out of the comparison; at least 8. Default 5000, `--quick` 500.
        pub max_rows: usize = 5000,
        /// Methods that decompose a square matrix of all rows are run up to this many; at least 0.
        /// Default 1500, `--quick` 250. The published evaluation stops at 1000.
        pub max_rows_dense: usize = 1500,
        /// Pairs per axis for the tail dependence (figure 1); at least 1. Default 1000.
        pub pairs: usize = 1000,
        /// Curves per network in the test of robustness; at least 2. Default 10.
        pub repeats: usize = 10,
        /// Rewired graphs per value of a curve; at least 1. Default 10, as robin; `--quick` 1.
        pub averaged: usize = 10,
        /// Whether the networks of all data sets are tested for robustness, and not only those of one.
        /// Default true, `--quick` false.
        pub all_robust: bool = true,
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: fewer data sets and resolutions, the same sizes.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design {
            seeds: 3,
            resolutions: 12,
            max_rows: 500,
            max_rows_dense: 250,
            averaged: 1,
            all_robust: false,
            ..Design::default()
        })
    }
}

impl Design {
    fn validate(&self) -> Result<(), Fault> {
        least(&[
            ("seeds", self.seeds, 1, "at least 1"),
            ("points", self.points, 2, "at least 2"),
            ("rows", self.rows, 4, "at least 4"),
            ("columns", self.columns, 4, "at least 4"),
            ("large_rows", self.large_rows, 4, "at least 4"),
            ("large_columns", self.large_columns, 4, "at least 4"),
            ("resolutions", self.resolutions, 1, "at least 1"),
            ("max_rows", self.max_rows, 8, "at least 8"),
            ("pairs", self.pairs, 1, "at least 1"),
            ("repeats", self.repeats, 2, "at least 2"),
            ("averaged", self.averaged, 1, "at least 1"),
        ])
    }
}

/// `count` numbers from `low` to `high`, evenly spaced, both ends included.
fn grid(low: f64, high: f64, count: usize) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count)
        .map(|i| if i + 1 == count && i > 0 { high } else { low + (high - low) * i as f64 / last })
        .collect()
}

/// Which of several data sets has about as many cells as the paper's case study (E-MTAB-7249), the first
/// of equals.
fn nearest_to_published(cells: impl Iterator<Item = usize>) -> Option<usize> {
    const PUBLISHED: usize = 185;
    cells.enumerate().min_by_key(|(at, n)| (n.abs_diff(PUBLISHED), *at)).map(|(at, _)| at)
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Figures 2, 5 and 6: simulated data
    Synthetic,
    /// Figure 1: how often two cells, or two genes, are extreme together
    Tails,
    /// Figure 3: all methods on all labelled data under --data
    Comparison,
    /// Figure 4: gene modules, their analysis of variance, robustness of communities
    Modules,
}

impl Part {
    /// Whether there is nothing to do without data.
    fn needs_data(self) -> bool {
        self != Part::Synthetic
    }
}

/// The experiments: their sizes, and the data under `--data`.
#[derive(Default)]
struct MedMagma {
    design: Design,
    sources: Sources,
}

/// What every part is given.
struct Work<'a> {
    design: &'a Design,
    sources: &'a Sources,
    seed: Seed,
    progress: &'a Progress,
}

impl MedMagma {
    fn work<'a>(&'a self, run: &Run<'a>) -> Work<'a> {
        Work { design: &self.design, sources: &self.sources, seed: run.seed, progress: run.progress }
    }
}

impl Paper for MedMagma {
    type Part = Part;
    const ABOUT: About = About {
        name: "medmagma",
        title: "MED-MAGMA",
        authors: "Andrew, Westhead and Cutillo",
        work: "Making Multi-Axis Models Robust to Multiplicative Noise: How, and Why?",
        place: "arXiv 2603.26327",
    };

    fn sizes(&self) -> Map<String, Value> {
        listed(&self.design)
    }
    fn reads(&self, part: Part) -> Value {
        if part.needs_data() { self.sources.fingerprint() } else { Value::Null }
    }
    fn pieces(&self, part: Part) -> u64 {
        match part {
            Part::Synthetic => synthetic::pieces(&self.design),
            Part::Tails => tails::pieces(&self.sources),
            Part::Comparison => comparison::pieces(&self.sources),
            Part::Modules => modules::pieces(&self.design, &self.sources),
        }
    }
    fn run(&self, part: Part, run: &Run<'_>) -> Result<Section, Fault> {
        let work = self.work(run);
        match part {
            Part::Synthetic => synthetic::run(&work),
            Part::Tails => tails::run(&work),
            Part::Comparison => comparison::run(&work),
            Part::Modules => modules::run(&work),
        }
    }
}

/// Runs the command for this paper.
pub fn run(args: &MedmagmaArgs) -> Result<(), Fault> {
    let design: Design = design(&args.common)?;
    design.validate()?;
    if let Some(part) = args.only.iter().find(|p| p.needs_data() && args.data.is_empty()) {
        let name = name(*part);
        return Err(Fault::Usage(format!(
            "`--only {name}` needs labelled data: give a folder with `--data DIR`"
        )));
    }
    let sources = Sources::find(&args.data, &args.label)?;
    // Without data the parts that need them have nothing to say.
    let wanted = |p: &Part| match args.only.is_empty() {
        true => !(p.needs_data() && args.data.is_empty()),
        false => args.only.contains(p),
    };
    super::run(&MedMagma { design, sources }, &args.common, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::fingerprint;

    #[test]
    fn grids_have_both_ends() {
        assert_eq!(grid(0.0, 1.0, 3), [0.0, 0.5, 1.0]);
        assert_eq!(grid(0.1, 1.0, 10)[9], 1.0);
        assert_eq!((grid(0.0, 1.0, 1), grid(0.0, 1.0, 0)), (vec![0.0], vec![]));
    }

    #[test]
    fn a_fingerprint_changes_with_everything_that_matters() {
        let of = |part: Part, program, seed, change: fn(&mut MedMagma)| {
            let mut paper = MedMagma::default();
            change(&mut paper);
            fingerprint(&paper, part, program, seed)
        };
        let published: fn(&mut MedMagma) = |w| w.sources.published = Some(("p.csv".into(), "hash".into()));
        let first = of(Part::Comparison, "a", 0, |_| ());
        assert_eq!(first.len(), 64);
        assert_eq!(first, of(Part::Comparison, "a", 0, |_| ()));
        let other = [
            of(Part::Synthetic, "a", 0, |_| ()),
            of(Part::Comparison, "b", 0, |_| ()),
            of(Part::Comparison, "a", 0, |w| w.design.seeds = 3),
            of(Part::Comparison, "a", 1, |_| ()),
            of(Part::Comparison, "a", 0, published),
        ];
        assert!(other.iter().all(|h| *h != first));
        assert_eq!(other[0], of(Part::Synthetic, "a", 0, published));
    }

    #[test]
    fn sizes_are_checked() {
        let bad = Design { points: 1, ..Design::default() }.validate().unwrap_err();
        assert!(bad.to_string().contains("`points` is 1") && bad.exit_code() == 2, "{bad}");
        assert!(Design::preset("quick").unwrap().validate().is_ok());
    }
}
