//! All methods behind one list: how each reads its input and what a person sees of its fit.

mod coclusters;
pub mod factors;
mod groups;
mod networks;
mod ranks;
mod slices;
pub mod studies;

use std::time::Instant;

use unbraid::data::{Annotations, Dataset};
use unbraid::fit::{Annotate, Ctx, Method, Stop};
use unbraid::methods::cocluster::fit::Coclusters;
use unbraid::methods::cocluster::itcc::Itcc;
use unbraid::methods::cocluster::kmeans::Kmeans;
use unbraid::methods::cocluster::lbm::Lbm;
use unbraid::methods::cocluster::nmtf::Nmtf;
use unbraid::methods::cocluster::spectral::SpectralCoclustering;
use unbraid::methods::cocluster::svcc::Svcc;
use unbraid::methods::factor::choice::{Choice, Ranked};
use unbraid::methods::factor::nmf::Nmf;
use unbraid::methods::factor::qmf::Qmf;
use unbraid::methods::factor::qmfq::Qmfq;
use unbraid::methods::kronecker::common::Network;
use unbraid::methods::kronecker::gmgm::Gmgm;
use unbraid::methods::kronecker::med_magma::MedMagma;
use unbraid::methods::kronecker::single_axis::SingleAxis;
use unbraid::methods::kronecker::stability::{Refit, Refits};
use unbraid::methods::kronecker::tyler::Tyler;
use unbraid::methods::multistudy::each::SvaeMerge;
use unbraid::methods::multistudy::linear::Msfa;
use unbraid::methods::multistudy::mssvae::Mssvae;
use unbraid::params::{ParamDoc, Params};
use unbraid::preprocess::prepare::{Prepare, Scale, Shift};
use unbraid::report::{Factors, LineChart, Maps, Parameter};

use crate::fault::Fault;
use crate::picture::Page;
use crate::set::{Settings, listed};

pub use networks::axis;

/// One method, with its types hidden.
pub struct Entry {
    /// As typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// A setting for the example in the help.
    pub example: &'static str,
    /// What it makes of several tables.
    pub joins: Joins,
    /// The parameters with their documentation.
    pub help: fn() -> String,
    /// Reads the parameters.
    pub plan: fn(Settings) -> Result<Box<dyn Plan>, Fault>,
    /// Reads the parameters of refits by this method; `None` for a method without networks.
    pub stability: Option<Refitted>,
    /// Reads how its number of factors is judged; `None` for a method without factors.
    pub choice: Option<ByK>,
}

/// From settings to refits that are ready to run.
pub type Refitted = fn(Settings, Refits) -> Result<Box<dyn Plan>, Fault>;

/// From settings to a choice of k that is ready to run.
pub type ByK = fn(Settings, Choice) -> Result<Box<dyn Plan>, Fault>;

/// All methods, in the order of the help.
pub const ALL: &[Entry] = &[
    network::<MedMagma>(),
    network::<Gmgm>(),
    network::<SingleAxis>(),
    network::<Tyler>(),
    factors::<Nmf>(),
    factors::<Qmf>(),
    factors::<Qmfq>(),
    studies::entry::<Mssvae>(),
    studies::entry::<SvaeMerge>(),
    studies::entry::<Msfa>(),
    entry::<Svcc>(),
    entry::<Itcc>(),
    entry::<SpectralCoclustering>(),
    entry::<Lbm>(),
    entry::<Nmtf>(),
    entry::<Kmeans>(),
    slices::POPARI,
    slices::BATCHBLEND,
];

/// A method that is fitted.
const fn entry<M: Shown>() -> Entry {
    Entry {
        name: M::NAME,
        about: M::ABOUT,
        example: M::EXAMPLE,
        joins: M::JOINS,
        help: help::<M>,
        plan: plan::<M>,
        stability: None,
        choice: None,
    }
}

/// A method whose networks can also be judged by refits.
const fn network<M: Shown + Refit>() -> Entry {
    Entry { stability: Some(networks::stability::<M>), ..entry::<M>() }
}

/// A factorisation, whose number of factors can also be chosen.
const fn factors<M: Shown + Ranked>() -> Entry {
    Entry { choice: Some(ranks::plan::<M>), ..entry::<M>() }
}

/// The methods whose number of factors can be chosen, in the order of the help.
pub fn ranked() -> impl Iterator<Item = (&'static Entry, ByK)> {
    ALL.iter().filter_map(|m| Some((m, m.choice?)))
}

/// The methods that can be refitted, in the order of the help.
pub fn refitted() -> impl Iterator<Item = (&'static Entry, Refitted)> {
    ALL.iter().filter_map(|m| Some((m, m.stability?)))
}

/// What a method makes of several tables of the same observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// It reads one table.
    No,
    /// It reads them as they are.
    Tables,
    /// It reads one table, in which their features stand side by side.
    Stacked,
    /// It reads one table, in which their observations stand below each other: every file is a study.
    Studies,
    /// The same: every file is a slice.
    Slices,
}

impl Joins {
    /// Where files stand below each other, what each of them is, and the column of obs that says which.
    pub fn below(self) -> Option<(&'static str, &'static str)> {
        match self {
            Joins::Studies => Some(("study", STUDY)),
            Joins::Slices => Some(("slice", SLICE)),
            Joins::No | Joins::Tables | Joins::Stacked => None,
        }
    }
}

/// The columns of `obs` that say which file an observation came from.
pub const STUDY: &str = "study";
pub const SLICE: &str = "batch";

/// What the program adds to a method.
pub trait Shown: Method + Send + Sync + 'static {
    /// One line for the help.
    const ABOUT: &'static str;
    /// A setting for the example.
    const EXAMPLE: &'static str;
    /// What it makes of several tables of the same observations.
    const JOINS: Joins = Joins::No;
    /// The preparation unless the user says otherwise. Tables that are stacked are brought to one scale.
    fn prepare(&self) -> Prepare {
        match Self::JOINS {
            Joins::Stacked => Prepare { shift: Shift::Auto, scale: Scale::Auto, ..Prepare::default() },
            _ => Prepare::default(),
        }
    }
    /// Whether NaN in a table is a missing entry, and not an error.
    fn allows_missing(&self) -> bool {
        false
    }
    /// The method's view of the tables, of which there is at least one.
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a>;
    /// What a person looks at.
    fn picture(fit: &Self::Fitted) -> Picture<'_>;
}

/// What a person looks at.
#[derive(Default)]
pub struct Picture<'a> {
    /// Objective after each sweep.
    pub objective: &'a [f64],
    /// Other traces by name.
    pub traces: Vec<(&'static str, Vec<f64>)>,
    /// How the fit ended; `None` for a direct method.
    pub stop: Option<Stop>,
    /// Networks by axis: `observations` or `features`.
    pub networks: Vec<(&'static str, &'a Network)>,
    /// Factors of a factorisation.
    pub factors: Option<Factors<'a>>,
    /// Learnt increasing maps by what they act on.
    pub maps: Vec<(&'static str, Maps<'a>)>,
    /// Clusters of rows and columns.
    pub blocks: Option<&'a Coclusters>,
    /// What else the fit was judged by.
    pub charts: Vec<LineChart>,
    /// What to say in place of how the fit ended, where that says little.
    pub how: Option<String>,
}

/// A fit after its types are gone.
pub struct Done {
    /// Slots for the output.
    pub annotations: Annotations,
    /// Wall-clock seconds of the fit alone.
    pub seconds: f64,
    /// Steps taken, as [`Plan::words`] calls them.
    pub steps: usize,
    /// Objective after the last, where there is one.
    pub objective: Option<f64>,
    /// How it ended.
    pub stop: Option<Stop>,
    /// What to say in place of that.
    pub how: Option<String>,
    /// The networks in a few words.
    pub networks: Vec<Summary>,
    /// The factorisations in a few words.
    pub factors: Vec<FactorSummary>,
    /// Further members of the JSON object.
    pub more: serde_json::Map<String, serde_json::Value>,
    /// Further lines for people.
    pub lines: Vec<String>,
    /// A table as comma-separated text.
    pub csv: Option<String>,
    /// What to do next, in place of the usual.
    pub next: Option<String>,
}

/// What is said of one factorisation at the end.
pub struct FactorSummary {
    /// Number of factors.
    pub k: usize,
    /// Name of the loss.
    pub loss: &'static str,
    /// The loss after the last step, where there was one.
    pub value: Option<f64>,
}

/// What is said of one network at the end.
pub struct Summary {
    /// `observations` or `features`.
    pub axis: &'static str,
    /// Vertices.
    pub nodes: usize,
    /// Kept edges.
    pub edges: usize,
    /// Further numbers for `--json`.
    pub more: serde_json::Map<String, serde_json::Value>,
    /// A further line for people, or nothing.
    pub line: String,
}

/// Parameters that are ready to fit.
pub trait Plan: Sync + Send {
    /// Name of what is run: the method, or `stability of …`.
    fn name(&self) -> &'static str;
    /// Name of the method.
    fn method(&self) -> &'static str;
    /// The map of `uns` that holds parameters and how it went, for results under `key`.
    fn notes(&self, key: &str) -> String {
        key.to_owned()
    }
    /// What steps are called and what is measured after each.
    fn words(&self) -> [&'static str; 2] {
        ["sweeps", "objective"]
    }
    /// The map of `uns` by which Scanpy finds the graph.
    fn neighbours(&self, key: &str) -> String {
        format!("{key}_neighbors")
    }
    /// What it makes of several tables.
    fn joins(&self) -> Joins;
    /// The slot of obsp that it reads, if any.
    fn graph(&self) -> Option<&str> {
        None
    }
    /// The preparation before it.
    fn prepare(&self) -> &Prepare;
    /// Whether NaN is a missing entry, and not an error.
    fn allows_missing(&self) -> bool {
        false
    }
    /// Whether it reads counts, so that a user may have meant a layer that holds them.
    fn reads_counts(&self) -> bool {
        false
    }
    /// All parameters, those of the preparation first.
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value>;
    /// The same with documentation, for the page.
    fn documented(&self) -> Vec<Parameter>;
    /// Fits and annotates under `key`; draws onto `page` where there is one.
    fn fit(
        &self,
        tables: &[Dataset],
        key: &str,
        ctx: &mut Ctx<'_>,
        page: Option<&mut Page>,
    ) -> Result<Done, unbraid::Error>;
}

struct Ready<M> {
    prepare: Prepare,
    params: M,
}

/// Parameters as help: a heading, the values, the documentation.
pub fn documented(parts: &[(&str, &serde_json::Map<String, serde_json::Value>, &[ParamDoc])]) -> String {
    let mut out = String::new();
    for (heading, values, docs) in parts {
        out += &format!("{heading}\n");
        for d in *docs {
            let value = match &values[d.name] {
                serde_json::Value::String(s) => s.clone(),
                other => other.to_string(),
            };
            out += &format!("  {} [{value}]\n", d.name);
            for line in wrap(d.doc, 92) {
                out += &format!("      {line}\n");
            }
        }
    }
    out
}

fn help<M: Shown>() -> String {
    let own = documented(&[(
        "Parameters for --set and --params, with their defaults:",
        &listed(&M::default()),
        M::DOCS,
    )]);
    let preset = match M::preset("paper") {
        Some(_) => {
            "  preset [default]\n      `paper` is the published algorithm; settings go on top of it.\n"
        }
        None => "",
    };
    own + preset
        + &documented(&[(
            "Preparation, the same for every method:",
            &listed(&M::default().prepare()),
            Prepare::DOCS,
        )])
}

/// Words into lines of at most `width`.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn plan<M: Shown>(mut settings: Settings) -> Result<Box<dyn Plan>, Fault> {
    let params: M = settings.take(true)?;
    let prepare: Prepare = settings.take_over(params.prepare())?;
    let known: Vec<&str> = M::DOCS.iter().chain(Prepare::DOCS).map(|d| d.name).chain(["preset"]).collect();
    settings.finish(&known)?;
    params.validate()?;
    Ok(Box::new(Ready { prepare, params }))
}

impl<M: Shown> Plan for Ready<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn method(&self) -> &'static str {
        M::NAME
    }
    fn joins(&self) -> Joins {
        M::JOINS
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
    }
    fn allows_missing(&self) -> bool {
        self.params.allows_missing()
    }
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = listed(&self.prepare);
        all.extend(listed(&self.params));
        all
    }
    fn documented(&self) -> Vec<Parameter> {
        let mut all = Parameter::list(&self.params);
        all.extend(preparation(&self.prepare, &self.params.prepare()));
        all
    }
    fn fit(
        &self,
        tables: &[Dataset],
        key: &str,
        ctx: &mut Ctx<'_>,
        page: Option<&mut Page>,
    ) -> Result<Done, unbraid::Error> {
        let begun = Instant::now();
        let fit = self.params.fit(self.params.input(tables), ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let picture = M::picture(&fit);
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        if let Some(page) = page {
            page.draw(&picture, tables)?;
        }
        let edges = |n: &Network| n.connectivities().nnz() / 2;
        Ok(Done {
            seconds,
            steps: picture.objective.len(),
            objective: picture.objective.last().copied(),
            stop: picture.stop,
            how: picture.how,
            networks: picture
                .networks
                .iter()
                .map(|(axis, n)| Summary {
                    axis,
                    nodes: unbraid::graph::edges::SymmetricRows::side(&n.precision),
                    edges: edges(n),
                    more: serde_json::Map::new(),
                    line: String::new(),
                })
                .collect(),
            factors: picture
                .factors
                .iter()
                .map(|f| FactorSummary {
                    k: f.scores.ncols(),
                    loss: f.loss,
                    value: picture.objective.last().copied(),
                })
                .collect(),
            annotations,
            more: picture.blocks.map(coclusters::numbers).unwrap_or_default(),
            lines: picture.blocks.map(coclusters::lines).unwrap_or_default(),
            csv: None,
            next: picture.blocks.map(|_| "`unbraid evaluate coclusters OUTPUT --label COLUMN`".into()),
        })
    }
}

/// The preparation, beside what the method takes where nothing is set.
fn preparation(set: &Prepare, usual: &Prepare) -> Vec<Parameter> {
    let usual = Parameter::list(usual);
    let beside = |p: Parameter, usual: &Parameter| Parameter { default: p.value == usual.value, ..p };
    Parameter::list(set).into_iter().zip(&usual).map(|(p, usual)| beside(p, usual)).collect()
}
