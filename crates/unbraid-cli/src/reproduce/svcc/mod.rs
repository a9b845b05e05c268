//! Vinod and Bajaj (2025), SVCC: clusters of rows and columns on the matrices of the literature, what each term does, the estimators,
//! corrupted entries, and cells by expression.

mod ablation;
mod corruption;
mod estimators;
mod expression;
mod fits;
mod printed;
mod sets;
mod tables;

use serde_json::{Map, Value};
use unbraid::params::{ParamDoc, Params};

use self::fits::{Outcome, Way, outcome};
use self::sets::{Set, Sources};
use super::kept::Runs;
use super::section::Section;
use super::{About, Paper, Run, design, least, mean, name};
use crate::args::SvccArgs;
use crate::fault::Fault;
use crate::set::listed;

unbraid::params! {
    /// Sizes of the experiments.
    pub struct Design {
        /// Seeds of every method on every table; at least 1. Default 5, `--quick` 1.
        pub seeds: usize = 5,
        /// Restarts of SVCC; at least 1. Default 1.
        pub restarts: usize = 1,
        /// Joint epochs of SVCC; at least 1. Default 30.
        pub epochs: usize = 30,
        /// Epochs of pre-training; 0 or larger. Default 25.
        pub pretrain: usize = 25,
        /// Tables on which terms are left out and entries corrupted, with commas between them; where there are none of these, all.
        /// Default planted_p,planted_o,cstr.
        pub ablated: String = "planted_p,planted_o,cstr".into(),
        /// Seeds of each variant and of each share of corrupted entries; at least 1. Default 3, `--quick` 1.
        pub few: usize = 3,
        /// Rows of the drawn tables, where `--data` has none; at least 30. Default 600, `--quick` 150.
        pub side: usize = 600,
        /// Draws with which estimators are compared; at least 1000. Default 12000, `--quick` 3000.
        pub draws: usize = 12000,
        /// Genes of expression, the most variable; at least 20. Default 2000, `--quick` 300.
        pub genes: usize = 2000,
        /// Clusters of genes; at least 1. Default 10.
        pub gene_clusters: usize = 10,
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: one seed, smaller drawn tables, fewer draws and genes.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design {
            seeds: 1,
            few: 1,
            side: 150,
            draws: 3000,
            genes: 300,
            ..Design::default()
        })
    }
}

impl Design {
    fn validate(&self) -> Result<(), Fault> {
        least(&[
            ("seeds", self.seeds, 1, "at least 1"),
            ("restarts", self.restarts, 1, "at least 1"),
            ("epochs", self.epochs, 1, "at least 1"),
            ("few", self.few, 1, "at least 1"),
            ("side", self.side, 30, "at least 30"),
            ("draws", self.draws, 1000, "at least 1000"),
            ("genes", self.genes, 20, "at least 20"),
            ("gene_clusters", self.gene_clusters, 1, "at least 1"),
        ])
    }

    /// SVCC with these sizes.
    fn svcc(&self) -> unbraid::methods::cocluster::svcc::Svcc {
        let (restarts, epochs, pretrain) = (self.restarts, self.epochs, self.pretrain);
        unbraid::methods::cocluster::svcc::Svcc { restarts, epochs, pretrain, ..Default::default() }
    }

    /// The tables on which terms are left out.
    fn some(&self, all: Vec<Set>) -> Vec<Set> {
        let wanted = |s: &Set| self.ablated.split(',').any(|n| n.trim() == s.name);
        match all.iter().any(wanted) {
            true => all.into_iter().filter(wanted).collect(),
            false => all,
        }
    }
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Every method on every table, beside what is printed
    Tables,
    /// SVCC with each of its terms left out or changed
    Ablation,
    /// Variance of the gradient estimators beside the plain ones
    Estimators,
    /// Scores where 10 to 70 % of the entries are replaced
    Corruption,
    /// Cells by expression under --data, beside k-means of principal components
    Expression,
}

/// The experiments with their sizes and data.
struct Experiments {
    design: Design,
    sources: Sources,
    runs: Runs,
}

impl Paper for Experiments {
    type Part = Part;
    const ABOUT: About = About {
        name: "svcc",
        title: "SVCC",
        authors: "Vinod and Bajaj",
        work: "Scalable Robust Bayesian Co-Clustering with Compositional ELBOs",
        place: "arXiv 2504.04079",
    };

    fn sizes(&self) -> Map<String, Value> {
        listed(&self.design)
    }
    fn reads(&self, part: Part) -> Value {
        if part == Part::Estimators { Value::Null } else { self.sources.fingerprint() }
    }
    fn pieces(&self, part: Part) -> u64 {
        match part {
            Part::Tables => tables::pieces(&self.design, &self.sources),
            Part::Ablation => ablation::pieces(&self.design, &self.sources),
            Part::Estimators => estimators::CASES.len() as u64,
            Part::Corruption => corruption::pieces(&self.design, &self.sources),
            Part::Expression => (self.sources.cells.len() * self.design.seeds) as u64,
        }
    }
    fn run(&self, part: Part, run: &Run<'_>) -> Result<Section, Fault> {
        match part {
            Part::Tables => tables::run(&self.design, &self.sources, &self.runs, run),
            Part::Ablation => ablation::run(&self.design, &self.sources, &self.runs, run),
            Part::Estimators => estimators::run(&self.design, run),
            Part::Corruption => corruption::run(&self.design, &self.sources, &self.runs, run),
            Part::Expression => expression::run(&self.design, &self.sources, &self.runs, run),
        }
    }
}

/// How many tables [`Design::some`] takes of those that are there.
fn ablated(design: &Design, sources: &Sources) -> usize {
    let wanted = |name: &str| design.ablated.split(',').any(|n| n.trim() == name);
    match (sources.tables.len(), sources.tables.iter().filter(|s| wanted(&s.name)).count()) {
        (0, _) => 2,
        (all, 0) => all,
        (_, some) => some,
    }
}

/// A method on a set with one seed after another.
struct Job<'a> {
    set: &'a Set,
    way: &'a Way,
    /// In the name of the file of the run.
    file: String,
    seed: u64,
}

/// Runs jobs side by side, in their order.
fn all(jobs: &[Job<'_>], runs: &Runs, run: &Run<'_>) -> Result<Vec<Outcome>, Fault> {
    use rayon::prelude::*;
    let one = |job: &Job<'_>| {
        let found = outcome(runs, job.set, &job.file, job.way, job.seed)?;
        run.progress.done(1, &format!("{}, {}, seed {}", job.file, job.way.name(), job.seed))?;
        Ok(found)
    };
    jobs.par_iter().map(one).collect()
}

/// Mean of a score over outcomes.
fn over(outcomes: &[Outcome], score: impl Fn(&Outcome) -> f64) -> f64 {
    mean(&outcomes.iter().map(score).collect::<Vec<_>>())
}

/// Three digits behind the point.
fn short(v: f64) -> super::section::Cell {
    super::section::Cell::from((1000.0 * v).round() / 1000.0)
}

/// Runs the command for this paper.
pub fn run(args: &SvccArgs) -> Result<(), Fault> {
    let design: Design = design(&args.common)?;
    design.validate()?;
    let sources = Sources::find(&args.data)?;
    if let Some(part) = args.only.iter().find(|p| **p == Part::Expression && sources.cells.is_empty()) {
        let name = name(*part);
        return Err(Fault::Usage(format!(
            "`--only {name}` needs expression: give a folder with .h5ad files with `--data DIR`"
        )));
    }
    let runs = Runs::new(&args.common.output)?;
    let wanted = |p: &Part| match args.only.is_empty() {
        true => *p != Part::Expression || !sources.cells.is_empty(),
        false => args.only.contains(p),
    };
    super::run(&Experiments { design, sources: sources.clone(), runs }, &args.common, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert!(Design::default().validate().is_ok() && Design::preset("quick").unwrap().validate().is_ok());
        let bad = |d: Design| d.validate().unwrap_err().to_string();
        assert!(bad(Design { seeds: 0, ..Design::default() }).contains("`seeds` is 0"));
        assert!(bad(Design { draws: 10, ..Design::default() }).contains("`draws` is 10"));
    }
}
