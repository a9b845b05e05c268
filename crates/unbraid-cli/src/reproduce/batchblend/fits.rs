//! The methods on slices with labels, which score and never choose.

use std::time::Instant;

use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unbraid::Seed;
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method};
use unbraid::graph::kmeans::kmeans;
use unbraid::graph::pca::{Scale, principal_components};
use unbraid::methods::factor::common::{Loss, Nonnegative};
use unbraid::methods::factor::nmf::{Init, Nmf};
use unbraid::methods::spatial::Amount;
use unbraid::methods::spatial::batchblend::Batchblend;
use unbraid::methods::spatial::fit::TissueFit;
use unbraid::methods::spatial::neighbours::Rule;
use unbraid::methods::spatial::popari::Popari;
use unbraid::metrics::clustering::{ari, nmi};
use unbraid::metrics::integration::{explained, silhouette_batch, silhouette_label};
use unbraid::params::Params;

use super::sets::Set;
use crate::fault::Fault;
use crate::reproduce::kept::Runs;
use crate::reproduce::plain;
use crate::set::listed;
use crate::watch::UntilInterrupted;

/// Starts of k-means, of which the one of least inertia counts.
const STARTS: u64 = 10;
/// Components of the table before integration, and of the principal components that compete.
pub const BEFORE: usize = 50;
const COMPONENTS: usize = 20;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// The true mixtures of a simulation.
    Truth,
    /// Squared-error factorisation of all slices.
    Nmf,
    /// Principal components after the mean of each batch is taken out.
    Pca,
    /// POPARI as published: 10 iterations of factorisation, 50 in the tissue.
    Popari,
    /// POPARI as this program runs it unless told otherwise.
    Own,
    /// The thesis: its prior, 50 iterations of factorisation.
    Thesis,
    /// With the prior of β of its section 2.6.
    Prior,
    /// With POPARI's iterations in the tissue afterwards.
    Tissue,
    /// Shared rays without the tissue.
    Alone,
    /// The default: shared rays, then the tissue.
    Ray,
    /// The same with as much of the neighbours as predicts held-out genes best.
    Asked,
}

impl Way {
    /// In figures and tables.
    pub fn name(self) -> &'static str {
        match self {
            Way::Truth => "true mixtures",
            Way::Nmf => "NMF",
            Way::Pca => "batch-centred PCA",
            Way::Popari => "POPARI, preset=paper",
            Way::Own => "POPARI",
            Way::Thesis => "BATCHBLEND, thesis",
            Way::Prior => "thesis, prior of β",
            Way::Tissue => "thesis, then tissue",
            Way::Alone => "BATCHBLEND, hmrf=false",
            Way::Ray => "BATCHBLEND",
            Way::Asked => "BATCHBLEND, neighbor_weight=auto",
        }
    }

    /// In file names.
    fn file(self) -> &'static str {
        match self {
            Way::Truth => "truth",
            Way::Nmf => "nmf",
            Way::Pca => "pca",
            Way::Popari => "popari",
            Way::Own => "own",
            Way::Thesis => "thesis",
            Way::Prior => "prior",
            Way::Tissue => "tissue",
            Way::Alone => "alone",
            Way::Ray => "ray",
            Way::Asked => "asked",
        }
    }

    fn batchblend(self, k: usize, graph: Rule) -> Batchblend {
        let paper = Batchblend::preset("paper").unwrap_or_default();
        let base = match self {
            Way::Thesis => paper,
            Way::Prior => Batchblend { lambda_beta: 1.0, ..paper },
            Way::Tissue => Batchblend { hmrf: true, max_steps: 50, relearn: true, ..paper },
            Way::Alone => Batchblend { hmrf: false, ..Batchblend::default() },
            Way::Asked => Batchblend { neighbor_weight: Amount::Auto, ..Batchblend::default() },
            _ => Batchblend::default(),
        };
        Batchblend { k, graph, ..base }
    }

    /// Of the two forms of POPARI, the one that is meant.
    fn popari(self, k: usize, graph: Rule) -> Popari {
        let paper = Popari::preset("paper").unwrap_or_default();
        Popari { k, graph, ..if self == Way::Popari { paper } else { Popari::default() } }
    }

    fn nmf(k: usize) -> Nmf {
        Nmf { k, loss: Loss::Frobenius, init: Init::Nndsvda, tol: 1e-7, ..Nmf::default() }
    }

    /// The parameters of the method.
    fn settings(self, k: usize, graph: Rule) -> Value {
        Value::Object(match self {
            Way::Truth => serde_json::Map::new(),
            Way::Nmf => listed(&Way::nmf(k)),
            Way::Pca => [("components".into(), COMPONENTS.into())].into_iter().collect(),
            Way::Popari | Way::Own => listed(&self.popari(k, graph)),
            _ => listed(&self.batchblend(k, graph)),
        })
    }
}

/// How cells of a set are joined.
pub fn rule(set: &Set) -> Rule {
    if set.grid { Rule::Grid } else { Rule::Delaunay }
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What was run.
    pub way: Way,
    /// Of the fit.
    pub seed: u64,
    /// Of the fit.
    pub seconds: f64,
    /// k-means of as many clusters as labels, best of ten starts, with the labels.
    pub nmi: f64,
    /// The same.
    pub ari: f64,
    /// The same slice by slice, mean over slices.
    pub within: f64,
    /// Silhouettes.
    pub silhouette_label: f64,
    /// Silhouettes of batches within labels.
    pub silhouette_batch: Option<f64>,
    /// How much less batches explain than of the principal components of the table.
    pub pcr: Option<f64>,
    /// Mean size of a cell at the end against that at the start of the iterations in the tissue; of methods that have both.
    pub drift: Option<f64>,
    /// Mean size of a cell at the end, against the first iteration.
    pub left: Option<f64>,
}

/// What of a run is shown and counted, by name.
pub type Score = (&'static str, fn(&Outcome) -> f64);

/// The scores by name, in the order of tables.
pub const SCORES: [Score; 6] = [
    ("silhouette batch", |o| o.silhouette_batch.unwrap_or(f64::NAN)),
    ("PCR comparison", |o| o.pcr.unwrap_or(f64::NAN)),
    ("k-means NMI", |o| o.nmi),
    ("k-means ARI", |o| o.ari),
    ("silhouette label", |o| o.silhouette_label),
    ("NMI within slices", |o| o.within),
];

/// A fit of a method of slices.
///
/// # Errors
/// What the method fails with, and the user's interrupt.
pub fn tissue(way: Way, set: &Set, k: usize, seed: u64) -> Result<TissueFit, Fault> {
    let mut observer = UntilInterrupted;
    let mut ctx = Ctx::new(Seed(seed), &mut observer);
    Ok(match way {
        Way::Popari | Way::Own => way.popari(k, rule(set)).fit(set.input(), &mut ctx)?,
        _ => way.batchblend(k, rule(set)).fit(set.input(), &mut ctx)?,
    })
}

/// Rows over their sums; a row without anything stays 0.
pub fn parts(mut x: Array2<f64>) -> Array2<f64> {
    for mut row in x.rows_mut() {
        let sum = row.sum();
        if sum > 0.0 {
            row /= sum;
        }
    }
    x
}

/// What is scored of a method, and how sizes of cells went.
struct Embedding {
    points: Array2<f64>,
    drift: Option<f64>,
    left: Option<f64>,
}

impl From<Array2<f64>> for Embedding {
    fn from(points: Array2<f64>) -> Embedding {
        Embedding { points, drift: None, left: None }
    }
}

/// What of a method is scored, cells × anything.
///
/// # Errors
/// As [`tissue`].
pub fn points(way: Way, set: &Set, k: usize, seed: u64) -> Result<Array2<f64>, Fault> {
    Ok(embedding(way, set, k, seed)?.points)
}

fn embedding(way: Way, set: &Set, k: usize, seed: u64) -> Result<Embedding, Fault> {
    match way {
        Way::Truth => {
            let none = || Array2::zeros((set.labels.len(), k));
            Ok(parts(set.truth.clone().unwrap_or_else(none)).into())
        }
        Way::Nmf => {
            let mut observer = UntilInterrupted;
            let mut ctx = Ctx::new(Seed(seed), &mut observer);
            Ok(parts(Way::nmf(k).fit(Nonnegative::new(set.values()), &mut ctx)?.scores).into())
        }
        Way::Pca => {
            let mut x = set.values().matrix.to_dense();
            for t in 0..set.batch.names.len() {
                let at: Vec<usize> = (0..x.nrows()).filter(|&i| set.batch.codes[i] as usize == t).collect();
                let mean = x.select(Axis(0), &at).mean_axis(Axis(0));
                let mean = mean.unwrap_or_else(|| Array1::zeros(x.ncols()));
                at.iter().for_each(|&i| {
                    let mut row = x.row_mut(i);
                    row -= &mean;
                });
            }
            let matrix = Matrix::Dense(x);
            let values = Values { what: "the table", matrix: &matrix };
            Ok(principal_components(values, Scale::Raw, COMPONENTS)?.scores.into())
        }
        _ => {
            let fit = tissue(way, set, k, seed)?;
            let (first, last) = (fit.sizes.first().copied(), fit.sizes.last().copied());
            let before = fit.sizes.get(fit.before.wrapping_sub(1)).copied();
            let over = |a: Option<f64>, b: Option<f64>| Some(b? / a.filter(|a| *a > 0.0)?);
            let drift = if fit.sizes.len() > fit.before { over(before, last) } else { None };
            Ok(Embedding { points: fit.mixtures(), drift: drift.map(|d| d - 1.0), left: over(first, last) })
        }
    }
}

/// The run of a method on a set, kept under the name of `file`.
///
/// # Errors
/// What the fit fails with, the user's interrupt, a file that cannot be written.
pub fn outcome(runs: &Runs, set: &Set, file: &str, way: Way, k: usize, seed: u64) -> Result<Outcome, Fault> {
    let settings =
        json!({ "data": set.identity, "method": way.settings(k, rule(set)), "k": k, "seed": seed });
    runs.get(&format!("{}-{}-{seed}", plain(file), way.file()), settings, || {
        let begun = Instant::now();
        let Embedding { points, drift, left } = embedding(way, set, k, seed)?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Outcome { drift, left, ..scored(way, set, &points, seed, seconds)? })
    })
}

/// All scores of an embedding, of the cells whose label is known.
fn scored(way: Way, set: &Set, points: &Array2<f64>, seed: u64, seconds: f64) -> Result<Outcome, Fault> {
    let known: Vec<usize> = (0..set.labels.len()).filter(|&i| set.labels[i].is_some()).collect();
    let labels: Vec<usize> = known.iter().filter_map(|&i| set.labels[i]).collect();
    let batch: Vec<usize> = known.iter().map(|&i| set.batch.codes[i] as usize).collect();
    let of = points.select(Axis(0), &known);
    let found = kmeans(of.view(), set.kinds.len(), STARTS, Seed(seed)).labels;
    let mut within = Vec::new();
    for t in 0..set.batch.names.len() {
        let at: Vec<usize> = (0..batch.len()).filter(|&i| batch[i] == t).collect();
        let own: Vec<usize> = at.iter().map(|&i| labels[i]).collect();
        let classes = own.iter().collect::<std::collections::BTreeSet<_>>().len();
        if classes > 1 {
            let clusters = kmeans(of.select(Axis(0), &at).view(), classes, STARTS, Seed(seed)).labels;
            within.push(nmi(&own, &clusters)?);
        }
    }
    let before = principal_components(set.values(), Scale::Raw, BEFORE)?.scores;
    let codes: Vec<usize> = set.batch.codes.iter().map(|&t| t as usize).collect();
    let (pre, post) = (explained(before.view(), &codes)?, explained(points.view(), &codes)?);
    Ok(Outcome {
        way,
        seed,
        seconds,
        nmi: nmi(&labels, &found)?,
        ari: ari(&labels, &found)?,
        within: within.iter().sum::<f64>() / within.len().max(1) as f64,
        silhouette_label: silhouette_label(of.view(), &labels)?,
        silhouette_batch: silhouette_batch(of.view(), &labels, &batch)?,
        pcr: (pre > 0.0).then(|| ((pre - post) / pre).max(0.0)),
        drift: None,
        left: None,
    })
}
