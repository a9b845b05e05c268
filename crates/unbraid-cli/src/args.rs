//! What a user types.

mod reproduce;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use unbraid::methods::factor::choice::Ks;
use unbraid::methods::kronecker::stability::Edges;
use unbraid::params::Params;
use unbraid::report::Split;
use unbraid::stats::cox::Ties;

use crate::choice::{Chosen, Entry, List};
use crate::enrich;
use crate::evaluate;
use crate::fault::Fault;
use crate::methods;
use crate::set::Settings;
use crate::simulate;

pub use self::reproduce::{
    BatchblendArgs, MedmagmaArgs, MssvaeArgs, QmfArgs, Reproduce, ReproduceArgs, SvccArgs,
};

/// Takes expression matrices apart and names the strands: cell and gene networks, magnitudes, factors,
/// blocks, batches.
#[derive(Debug, Parser)]
#[command(name = "unbraid", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Example:\n  unbraid fit medmagma cells.h5ad -o cells.fit.h5ad --report cells.html")]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate data with known networks, fit the methods, score them, write an h5ad file and a page
    #[command(after_help = "Example:\n  unbraid demo -o demo")]
    Demo(DemoArgs),
    /// Say what a file holds: shape, slots, kinds of values, problems a method would stop at
    #[command(after_help = "Example:\n  unbraid inspect cells.h5ad --json")]
    Inspect(InspectArgs),
    /// Write data with known truth
    #[command(subcommand)]
    Simulate(Chosen<Designs>),
    /// Fit a method to a file and write the result beside the input's own slots
    #[command(subcommand)]
    Fit(Chosen<Fits>),
    /// Give new samples the scores of a stored factorisation, without fitting again
    #[command(
        after_help = "Example:\n  unbraid apply tumours.qmfq.h5ad new.h5ad -o new.scored.h5ad --report new.html\n\nNew samples of the studies of a fit of mssvae, named in obs[\"batch\"]:\n  unbraid apply cells.fit.h5ad new.h5ad -o new.scored.h5ad --study batch"
    )]
    Apply(ApplyArgs),
    /// Judge what a fit found by known labels, known truth, and perturbation
    #[command(subcommand)]
    Evaluate(Chosen<Suites>),
    /// Refit a method to half-samples and write how often each edge is found again
    #[command(subcommand)]
    Stability(Chosen<Stabilities>),
    /// Choose the number of factors: held-out entries and agreement of restarts for each k
    #[command(subcommand)]
    ChooseK(Chosen<Choices>),
    /// Test whether the factors of a fit go with survival: Cox proportional hazards, jointly and one by one
    #[command(
        after_help = "Example:\n  unbraid survival tumours.fit.h5ad --key nmf --time days --event died --obs clinical.tsv \\\n      --report survival.html"
    )]
    Survival(SurvivalArgs),
    /// Test which gene sets the factors of a fit stand for: over-representation among the genes of each factor
    #[command(after_help = enrich::help())]
    Enrich(EnrichArgs),
    /// Run a paper's experiments again: tables, figures, the printed numbers beside ours
    #[command(subcommand, subcommand_value_name = "medmagma|qmf|mssvae", subcommand_help_heading = "Papers")]
    #[command(after_help = "Example:\n  unbraid reproduce qmf -o reproduced --quick")]
    Reproduce(Reproduce),
}

/// Settings of a command that fits nothing, and the form of its answer.
#[derive(Args, Clone, Debug)]
pub struct SettingArgs {
    /// A TOML file of settings
    #[arg(long, value_name = "FILE.toml")]
    pub params: Option<PathBuf>,
    /// One setting; may be repeated and wins over --params
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl SettingArgs {
    /// Everything that was set, all of which must belong to `P`.
    pub fn taken<P: Params>(&self) -> Result<P, Fault> {
        let mut settings = Settings::new(self.params.as_deref(), &self.set)?;
        let found = settings.take(false)?;
        settings.finish(&P::DOCS.iter().map(|d| d.name).collect::<Vec<_>>())?;
        Ok(found)
    }
}

/// `unbraid demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder for the data, the fits and the page; made if missing
    #[arg(short, long, default_value = "unbraid-demo", value_name = "DIR")]
    pub output: PathBuf,
    /// Seed of the simulation
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// `unbraid inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// An .h5ad, .npy, .npz, .mtx, .csv or .tsv file, or a 10x folder
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How several files become one problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Join {
    /// The same observations, a table of features each (multi-omics)
    Obs,
}

/// `unbraid fit METHOD`.
#[derive(Args, Clone, Debug)]
pub struct FitArgs {
    /// Input: .h5ad, .npy, .npz, .mtx, .csv, .tsv (also .gz) or a 10x folder; rows are observations. Or a
    /// folder of one cohort's tables as the multi-omics benchmarks lay it out: `exp`, `methy` and `mirna`
    /// (features in rows; any may be absent) and `survival` (PatientID, Survival, Death)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Output .h5ad: the input's slots unchanged plus the new ones
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How several files belong together
    #[arg(long, value_enum)]
    pub join: Option<Join>,
    /// Also write a self-contained page about the fit
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// An obs column with known labels, used to judge networks and factors on the page, never to fit
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Threads; all cores if not given. The result does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Name under which the results are stored; the method's name if not given
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// A layer to fit instead of X, or `raw` for raw/X
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// The input files have features in rows and observations in columns, as many tables of expression do
    #[arg(long)]
    pub transpose: bool,
    /// A table whose first column names observations; its columns are added to obs of the output, as
    /// survival times or labels. Separated by tabs, commas or semicolons; numbers stay numbers; a name that
    /// no observation has is an error
    #[arg(long, value_name = "FILE.tsv")]
    pub obs: Option<PathBuf>,
    /// A TOML file of parameters, as `steps = 200`
    #[arg(long, value_name = "FILE.toml")]
    pub params: Option<PathBuf>,
    /// One parameter; may be repeated and wins over --params. KEY@FILE=VALUE sets a preparation for one of
    /// several files only, named as typed, by its name or by its name without endings: `transform@mirna=log2p1`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Save the state here while fitting; the same command run again goes on from it
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Seconds between saves
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub checkpoint_every: f64,
    /// Most memory the fit may take, as 4GB; what is free now if not given
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// No progress bar and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// What becomes of features of a model that new samples do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Absent {
    /// An error that names them
    Error,
    /// They were not measured: scores come from the other features. NaN is then taken so, too
    Unmeasured,
    /// Their values are 0, as of genes that a count table left out because they were never seen
    Zero,
}

/// `unbraid apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// An .h5ad file that `fit nmf`, `fit qmf`, `fit qmfq`, `fit mssvae` or `fit svcc` wrote
    #[arg(value_name = "MODEL.h5ad")]
    pub model: PathBuf,
    /// New samples, in any format that `fit` reads; features are matched by name, in any order, and those that
    /// the model does not have are ignored. A model of several tables takes as many files, in its order, or
    /// one with all features
    #[arg(value_name = "NEW", required = true)]
    pub files: Vec<PathBuf>,
    /// Output .h5ad: the slots of the new file unchanged plus scores and losses
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name under which the fit is stored, and under which scores are written; the only one of the model if not
    /// given
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// The obs column with the study of each new sample, for a fit of studies; the column of the fit if not given.
    /// Samples of a study that the fit does not know have codes on the shared factors alone
    #[arg(long, value_name = "COLUMN")]
    pub study: Option<String>,
    /// How several files belong together
    #[arg(long, value_enum)]
    pub join: Option<Join>,
    /// What becomes of features of the model that the new file does not have
    #[arg(long, value_enum, default_value_t = Absent::Error, value_name = "POLICY")]
    pub missing_features: Absent,
    /// Also write the reconstruction of the new values, prepared as those of the fit, as a layer
    #[arg(long)]
    pub reconstruction: bool,
    /// A layer to read instead of X, or `raw` for raw/X
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// The new files have features in rows and observations in columns
    #[arg(long)]
    pub transpose: bool,
    /// A table whose first column names observations; its columns are added to obs of the output
    #[arg(long, value_name = "FILE.tsv")]
    pub obs: Option<PathBuf>,
    /// Also write a self-contained page about the scores
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// An obs column with known labels, beside which the page shows the scores
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Threads; all cores if not given. The result does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Most memory that one array may take, as 4GB; what is free now if not given
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// No summary
    #[arg(short, long)]
    pub quiet: bool,
}

impl ApplyArgs {
    /// The new files as a fit would read them.
    pub fn reading(&self) -> FitArgs {
        FitArgs {
            files: self.files.clone(),
            output: self.output.clone(),
            join: self.join,
            report: self.report.clone(),
            label: self.label.clone(),
            seed: 0,
            threads: self.threads,
            key: self.key.clone(),
            layer: self.layer.clone(),
            transpose: self.transpose,
            obs: self.obs.clone(),
            params: None,
            set: Vec::new(),
            checkpoint: None,
            checkpoint_every: 30.0,
            max_memory: self.max_memory,
            json: self.json,
            quiet: self.quiet,
        }
    }
}

/// A size such as `4GB`, `500 MB` or `1000000`.
fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match text[at..].to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        _ => return Err("write a size as 500MB or 4GB".into()),
    };
    let number: f64 = text[..at].trim().parse().map_err(|_| "write a size as 500MB or 4GB".to_owned())?;
    if number > 0.0 { Ok((number * unit) as u64) } else { Err("must be larger than 0".into()) }
}

/// One entry per method, with its parameters and an example of `command`.
fn of_methods<'a>(
    methods: impl Iterator<Item = &'a methods::Entry>,
    command: &str,
    output: &str,
) -> Vec<Entry> {
    let help = |m: &methods::Entry| {
        let (settings, name, set) = ((m.help)(), m.name, m.example);
        let more = if command == "fit" { several(m) } else { String::new() };
        format!(
            "{settings}\nExample:\n  unbraid {command} {name} cells.h5ad -o {output} --report cells.html --set {set}{more}"
        )
    };
    methods.map(|m| Entry { name: m.name, about: m.about, help: help(m) }).collect()
}

/// Examples of several tables, for a method that takes them.
fn several(method: &methods::Entry) -> String {
    let name = method.name;
    match method.joins {
        methods::Joins::No => return String::new(),
        methods::Joins::Studies => {
            return format!(
                "\n\nCounts in a layer:\n  unbraid fit {name} cells.h5ad -o cells.fit.h5ad --layer counts --set study=donor \\\n      \
                 --set likelihood=nb --set genes=pearson:2000\n\nA file for each study, features matched by name:\n  \
                 unbraid fit {name} first.h5ad second.h5ad third.h5ad -o all.h5ad\n\n\
                 New observations of the same studies:\n  unbraid apply cells.fit.h5ad new.h5ad -o new.scored.h5ad"
            );
        }
        methods::Joins::Slices => {
            return format!(
                "\n\nA file for each slice, genes matched by name:\n  \
                 unbraid fit {name} first.h5ad second.h5ad -o slices.fit.h5ad"
            );
        }
        methods::Joins::Tables | methods::Joins::Stacked => {}
    }
    format!(
        "\n\nSeveral tables of the same observations, features in rows, the second in logarithms:\n  \
         unbraid fit {name} expression.tsv.gz mirna.tsv.gz --join obs --transpose --obs clinical.tsv \\\n      \
         -o tumours.h5ad --set transform@mirna=log2p1\n\n\
         A folder with exp, methy, mirna and survival:\n  unbraid fit {name} gbm/ -o gbm.h5ad"
    )
}

/// `unbraid fit` with the method as a subcommand, so that each has its own help.
#[derive(Debug)]
pub struct Fits;

impl List for Fits {
    type Args = FitArgs;
    const WORD: &'static str = "METHOD";
    const HEADING: &'static str = "Methods";
    const EXAMPLE: &'static str = "unbraid fit medmagma cells.h5ad -o cells.fit.h5ad

Several tables of the same observations (--join obs), features in rows (--transpose), a table of columns for
obs (--obs), and a preparation for one file only (KEY@FILE=VALUE):
  unbraid fit qmf expression.tsv.gz mirna.tsv.gz --join obs --transpose --obs clinical.tsv \\
      -o tumours.h5ad --set transform@mirna=log2p1

A folder of one cohort, with exp, methy, mirna and survival:
  unbraid fit qmf gbm/ -o gbm.h5ad

Parameters of a method: unbraid fit METHOD --help";
    fn entries() -> Vec<Entry> {
        of_methods(methods::ALL.iter(), "fit", "cells.fit.h5ad")
    }
}

/// `unbraid stability METHOD`.
#[derive(Args, Clone, Debug)]
pub struct StabilityArgs {
    /// The rest is that of a fit.
    #[command(flatten)]
    pub fit: FitArgs,
    /// Refits of each network, two for each pair of complementary halves [default: 100]
    #[arg(long, value_name = "N")]
    pub refits: Option<usize>,
    /// Share of the refits in which a stable edge is found at least [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    pub threshold: Option<f64>,
    /// Edges that one refit selects: a rule of `keep`, per-vertex:R (the R·d strongest pairs among d
    /// vertices) or errors:V (as many as bound the expected false ones by V) [default: top:3]
    #[arg(long, value_name = "RULE")]
    pub edges: Option<Edges>,
    /// Refit to the method's own tolerance, and not only as far as the order of edges needs
    #[arg(long)]
    pub exact: bool,
}

/// `unbraid stability` with the method as a subcommand.
#[derive(Debug)]
pub struct Stabilities;

impl List for Stabilities {
    type Args = StabilityArgs;
    const WORD: &'static str = "METHOD";
    const HEADING: &'static str = "Methods";
    const EXAMPLE: &'static str = "unbraid stability medmagma cells.h5ad -o cells.stable.h5ad";
    fn entries() -> Vec<Entry> {
        of_methods(methods::refitted().map(|(m, _)| m), "stability", "cells.stable.h5ad")
    }
}

/// `unbraid choose-k METHOD`.
#[derive(Args, Clone, Debug)]
pub struct ChoiceArgs {
    /// The rest is that of a fit.
    #[command(flatten)]
    pub fit: FitArgs,
    /// Numbers of factors: FROM..TO (both included), FROM..TO:STEP or a list as 2,4,8 [default: 2..12]
    #[arg(long, value_name = "LIST")]
    pub k: Option<Ks>,
    /// Masks of held-out entries, the same for every k [default: 5]
    #[arg(long, value_name = "N")]
    pub masks: Option<usize>,
    /// Share of the measured entries that a mask holds out [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub held_out: Option<f64>,
    /// Fits of each k to the whole table, for the agreement of restarts; 0 leaves it out [default: 5]
    #[arg(long, value_name = "N")]
    pub restarts: Option<usize>,
    /// Also write the table as comma-separated text
    #[arg(long, value_name = "FILE.csv")]
    pub csv: Option<PathBuf>,
}

/// `unbraid choose-k` with the method as a subcommand.
#[derive(Debug)]
pub struct Choices;

impl List for Choices {
    type Args = ChoiceArgs;
    const WORD: &'static str = "METHOD";
    const HEADING: &'static str = "Methods";
    const EXAMPLE: &'static str =
        "unbraid choose-k qmf tumours.h5ad -o tumours.k.h5ad --k 2..12 --report k.html";
    fn entries() -> Vec<Entry> {
        let help = |m: &methods::Entry| {
            let (settings, name) = ((m.help)(), m.name);
            format!(
                "{settings}\nExample:\n  unbraid choose-k {name} cells.h5ad -o cells.k.h5ad --k 2..12 --report k.html"
            )
        };
        methods::ranked().map(|(m, _)| Entry { name: m.name, about: m.about, help: help(m) }).collect()
    }
}

/// `unbraid simulate DESIGN`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Output .h5ad with the data and the truth
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Seed
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Settings of the design.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// `unbraid simulate` with the design as a subcommand.
#[derive(Debug)]
pub struct Designs;

impl List for Designs {
    type Args = SimulateArgs;
    const WORD: &'static str = "DESIGN";
    const HEADING: &'static str = "Designs";
    const EXAMPLE: &'static str = "unbraid simulate kronecker -o truth.h5ad --set noise=1";
    fn entries() -> Vec<Entry> {
        let help = |d: &simulate::Design| {
            let (settings, name, example) = ((d.help)(), d.name, d.example);
            format!("{settings}\nExample:\n  unbraid simulate {name} -o truth.h5ad --seed 1 --set {example}")
        };
        simulate::ALL.iter().map(|d| Entry { name: d.name, about: d.about, help: help(d) }).collect()
    }
}

/// `unbraid evaluate SUITE`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// An .h5ad file that a fit wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name under which the fit is stored; the only one of the file if not given
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// An obs column with known labels to judge by; `factors` takes several, numbers too, and says how much of
    /// each factor they explain
    #[arg(long, value_name = "COLUMN")]
    pub label: Vec<String>,
    /// Name under which the true networks or factors are stored; `truth` in files of `simulate`
    #[arg(long, value_name = "KEY")]
    pub truth: Option<String>,
    /// A layer to read values from instead of X, or `raw` for raw/X
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// Also write a self-contained page
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Threads; all cores if not given. The result does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Settings of the suite.
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Most memory that one array may take, as 4GB; what is free now if not given
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,
    /// No progress bar
    #[arg(short, long)]
    pub quiet: bool,
}

/// `unbraid evaluate` with the suite as a subcommand.
#[derive(Debug)]
pub struct Suites;

impl List for Suites {
    type Args = EvaluateArgs;
    const WORD: &'static str = "SUITE";
    const HEADING: &'static str = "Suites";
    const EXAMPLE: &'static str = "unbraid evaluate network cells.fit.h5ad --label cell_type";
    fn entries() -> Vec<Entry> {
        let help = |s: &evaluate::Suite| {
            let (settings, name, example) = ((s.help)(), s.name, s.example);
            format!("{settings}\nExample:\n  unbraid evaluate {name} {example}")
        };
        evaluate::ALL.iter().map(|s| Entry { name: s.name, about: s.about, help: help(s) }).collect()
    }
}

/// `unbraid enrich`.
#[derive(Args, Clone, Debug)]
pub struct EnrichArgs {
    /// An .h5ad file that a factor method wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Gene sets, one a line: name, description, genes, with tabs between (.gmt, .gmt.gz); may be repeated
    #[arg(long, value_name = "FILE.gmt", required = true)]
    pub gmt: Vec<PathBuf>,
    /// Name under which the fit is stored; the only one of the file if not given
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// The column with the genes' symbols, of var or of the table --var; if not given the names of the features, or
    /// the only column of that table
    #[arg(long, value_name = "COLUMN")]
    pub symbols: Option<String>,
    /// A table to take the symbols from instead of var, as Ensembl numbers with their symbols; its first column names
    /// features as the file does, and may name others too. Separated by tabs, commas or semicolons
    #[arg(long, value_name = "FILE.tsv")]
    pub var: Option<PathBuf>,
    /// A column of obs; the page and --json say how much of each factor it explains. May be repeated
    #[arg(long, value_name = "COLUMN")]
    pub label: Vec<String>,
    /// Also write every test as comma-separated text
    #[arg(long, value_name = "FILE.csv")]
    pub csv: Option<PathBuf>,
    /// Also write a self-contained page: dots of the top gene sets of each factor, shared and of each study
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Settings of the tests.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// `unbraid survival`.
#[derive(Args, Clone, Debug)]
pub struct SurvivalArgs {
    /// An .h5ad file that a factor method wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name under which the fit is stored: factors are the columns of obsm["X_NAME"]; the only one of the
    /// file if not given
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Column with the time each observation was watched, 0 or later; observations without are dropped
    #[arg(long, value_name = "COLUMN")]
    pub time: String,
    /// Column with 1 where the event happened at that time and 0 where it had not; likewise
    #[arg(long, value_name = "COLUMN")]
    pub event: String,
    /// A table to take the columns from instead of obs, separated by tabs, commas or semicolons; its first
    /// column names observations, as the file does
    #[arg(long, value_name = "FILE.tsv")]
    pub obs: Option<PathBuf>,
    /// How events at one time are counted: efron or breslow
    #[arg(long, default_value_t = Ties::Efron, value_name = "RULE")]
    pub ties: Ties,
    /// How observations are grouped by a factor for curves and log-rank tests: median or tertiles
    #[arg(long, default_value_t = Split::Median, value_name = "RULE")]
    pub split: Split,
    /// Also write both tables as comma-separated text
    #[arg(long, value_name = "FILE.csv")]
    pub csv: Option<PathBuf>,
    /// Also write a self-contained page: both tables, hazard ratios, Kaplan-Meier curves by each factor
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command as Clap, CommandFactory};

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("4GB"), Ok(4_000_000_000));
        assert_eq!(size("1.5 mb"), Ok(1_500_000));
        assert!(size("4 apples").is_err());
        assert!(size("-1GB").is_err());
    }

    #[test]
    fn every_command_has_an_example() {
        fn visit(command: &Clap, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example:"), "{path} has no example");
            command.get_subcommands().filter(|c| c.get_name() != "help").for_each(|c| visit(c, &path));
        }
        visit(&Cli::command(), "");
    }
}
