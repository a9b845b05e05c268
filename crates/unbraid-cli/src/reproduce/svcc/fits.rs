//! The methods on a table.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use unbraid::Seed;
use unbraid::data::Missing;
use unbraid::fit::{Ctx, Method};
use unbraid::methods::cocluster::fit::Coclusters;
use unbraid::methods::cocluster::itcc::Itcc;
use unbraid::methods::cocluster::kmeans::Kmeans;
use unbraid::methods::cocluster::lbm::Lbm;
use unbraid::methods::cocluster::nmtf::Nmtf;
use unbraid::methods::cocluster::spectral::SpectralCoclustering;
use unbraid::methods::cocluster::start::Labels;
use unbraid::methods::cocluster::svcc::Svcc;
use unbraid::methods::cocluster::svcc::input::Observed;
use unbraid::metrics::coclusters::{Agreement, agreement};

use super::sets::Set;
use crate::fault::Fault;
use crate::reproduce::kept::Runs;
use crate::reproduce::plain;
use crate::set::listed;
use crate::watch::UntilInterrupted;

/// A method with its settings, but for the numbers of clusters.
#[derive(Clone, Debug)]
pub enum Way {
    Kmeans,
    Spectral,
    Nmtf,
    Itcc,
    Lbm,
    /// The name of a variant, and its parameters.
    Svcc(&'static str, Box<Svcc>),
}

/// Where in a fit labels were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Start,
    Before,
    End,
}

impl Way {
    /// What competes, in the order of tables.
    pub fn others() -> [Way; 5] {
        [Way::Kmeans, Way::Spectral, Way::Nmtf, Way::Itcc, Way::Lbm]
    }

    /// In tables.
    pub fn name(&self) -> String {
        match self {
            Way::Kmeans => "k-means".into(),
            Way::Spectral => "spectral".into(),
            Way::Nmtf => "NMTF".into(),
            Way::Itcc => "ITCC".into(),
            Way::Lbm => "LBM".into(),
            Way::Svcc(name, _) => (*name).into(),
        }
    }

    /// Its colour in every figure.
    pub fn tint(&self) -> usize {
        match self {
            Way::Kmeans => 0,
            Way::Spectral => 1,
            Way::Nmtf => 3,
            Way::Itcc => 2,
            Way::Lbm => 5,
            Way::Svcc(..) => 6,
        }
    }

    fn settings(&self, (rows, cols): (usize, usize)) -> Map<String, Value> {
        match self {
            Way::Kmeans => listed(&Kmeans { rows, cols, ..Kmeans::default() }),
            Way::Spectral => listed(&SpectralCoclustering { rows, cols, ..SpectralCoclustering::default() }),
            Way::Nmtf => listed(&Nmtf { rows, cols, ..Nmtf::default() }),
            Way::Itcc => listed(&Itcc { rows, cols, ..Itcc::default() }),
            Way::Lbm => listed(&Lbm { rows, cols, ..Lbm::default() }),
            Way::Svcc(_, p) => listed(&Svcc { rows, cols, ..(**p).clone() }),
        }
    }
}

/// Labels beside the classes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Scores {
    pub rows: Agreement,
    pub cols: Option<Agreement>,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub seconds: f64,
    /// Start, before the polish, end; of other methods the end alone.
    pub scores: Vec<Scores>,
    /// I(Q)/I(P) of the labels at the end.
    pub kept: Option<f64>,
    /// I(Q) of the same, in nats.
    pub information: Option<f64>,
    /// Share of squares that the blocks explain.
    pub explained: f64,
    /// Further numbers of the method.
    pub numbers: Map<String, Value>,
}

impl Outcome {
    /// Scores at a stage; the end of methods that have none.
    pub fn at(&self, stage: Stage) -> &Scores {
        let last = self.scores.len() - 1;
        &self.scores[if last == 0 { 0 } else { stage as usize }]
    }
}

/// The run of a method on a set, kept under the name of `file`.
///
/// # Errors
/// What the fit fails with, the user's interrupt, a file that cannot be written.
pub fn outcome(runs: &Runs, set: &Set, file: &str, way: &Way, seed: u64) -> Result<Outcome, Fault> {
    let settings = json!({ "data": set.identity, "method": way.settings(set.shape), "seed": seed });
    let name = format!("{}-{}-{seed}", plain(file), plain(&way.name()));
    runs.get(&name, settings, || ran(set, way, seed))
}

fn scores(set: &Set, labels: &Labels) -> Result<Scores, Fault> {
    let cols = set.cols.as_ref().map(|known| agreement(known, &labels.1)).transpose()?;
    Ok(Scores { rows: agreement(&set.rows, &labels.0)?, cols })
}

fn ran(set: &Set, way: &Way, seed: u64) -> Result<Outcome, Fault> {
    let mut observer = UntilInterrupted;
    let mut ctx = Ctx::new(Seed(seed), &mut observer);
    let (rows, cols) = set.shape;
    let begun = Instant::now();
    // Those that read no negative values are given the table less its smallest value.
    let lifted =
        if set.signed() && !matches!(way, Way::Kmeans | Way::Svcc(..)) { Some(set.lifted()) } else { None };
    let values = lifted.as_ref().unwrap_or(set).values();
    let mut stages = Vec::new();
    let found: Coclusters = match way {
        Way::Kmeans => Kmeans { rows, cols, ..Kmeans::default() }.fit(values, &mut ctx)?,
        Way::Spectral => {
            SpectralCoclustering { rows, cols, ..SpectralCoclustering::default() }.fit(values, &mut ctx)?
        }
        Way::Nmtf => Nmtf { rows, cols, ..Nmtf::default() }.fit(values, &mut ctx)?,
        Way::Itcc => Itcc { rows, cols, ..Itcc::default() }.fit(values, &mut ctx)?,
        Way::Lbm => Lbm { rows, cols, ..Lbm::default() }.fit(values, &mut ctx)?,
        Way::Svcc(_, p) => {
            let params = Svcc { rows, cols, ..(**p).clone() };
            let fit = params.fit(Observed { values, missing: Missing::Error }, &mut ctx)?;
            for labels in &fit.labels[..2] {
                stages.push(scores(set, labels)?);
            }
            fit.clusters
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    stages.push(scores(set, &(found.rows.labels.clone(), found.cols.labels.clone()))?);
    Ok(Outcome {
        seconds,
        scores: stages,
        kept: found.blocks.kept(),
        information: found.blocks.information.map(|i| i.0),
        explained: found.blocks.explained,
        numbers: found.numbers.iter().map(|(name, v)| ((*name).to_owned(), json!(v))).collect(),
    })
}
