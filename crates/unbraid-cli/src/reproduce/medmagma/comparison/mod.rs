//! Figure 3: every method on every labelled data set, judged by the labels.
//!
//! A graph of observations is judged at k = 3, 5 and 10: assortativity of the labels, and agreement of
//! its Leiden communities with the labels, the best of 12 resolutions, chosen with the labels in view for
//! every method alike. Beside the networks stand the neighbour graphs that users have anyway.

mod checks;
mod figures;
mod tables;

use rayon::prelude::*;
use unbraid::Seed;
use unbraid::data::{Csr, Dataset, Matrix};
use unbraid::fit::Draw;
use unbraid::graph::knn::{Weighting, knn_graph};
use unbraid::graph::pca::{Scale, principal_components};
use unbraid::metrics::network::{Judged, LabelOptions, Score, judge, judge_top_k};
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::totals::to_total;
use unbraid::stats::summary::bootstrap_mean;

use super::contender::{Fit, is_about_data};
use super::sets::{Labelled, Sources, published};
use super::{Design, Work};
use crate::fault::Fault;
use crate::reproduce::section::Section;

/// A way to a graph of observations.
struct Contender {
    name: &'static str,
    tint: usize,
    how: How,
}

enum How {
    /// A method; `true` where its cost grows with the cube of the rows.
    Fit(Fit, bool),
    /// Nearest neighbours on 20 principal components of log1p of the 2000 most variable features, after
    /// each row was brought to a total of 10 000 where `true`.
    Neighbours(bool),
}

const PAPER: &str = "MED-MAGMA (paper)";
const FULL: &str = "MED-MAGMA (full rank)";
const DEFAULT: &str = "MED-MAGMA (default)";
const GMGM: &str = "GmGM (published settings)";
const GMGM_ALL: &str = "GmGM (all components)";
const SINGLE: &str = "single axis";
const NEIGHBOURS: &str = "neighbours, log1p";
const NORMALISED: &str = "neighbours, per 10 000, log1p";

/// All of them, in the order of the figures. One more method is one more line.
const CONTENDERS: &[Contender] = &[
    Contender {
        name: PAPER,
        tint: 0,
        how: How::Fit(
            Fit { method: "medmagma", set: &["preset=paper", "genes=appendix-f", "max_steps=20"] },
            true,
        ),
    },
    Contender { name: DEFAULT, tint: 1, how: How::Fit(Fit { method: "medmagma", set: &[] }, false) },
    Contender {
        name: FULL,
        tint: 4,
        how: How::Fit(Fit { method: "medmagma", set: &["rank=full", "genes=appendix-f"] }, true),
    },
    Contender {
        name: GMGM,
        tint: 2,
        how: How::Fit(
            Fit {
                method: "gmgm",
                set: &["preset=paper", "transform=log1p", "genes=appendix-f", "n_comps={side}"],
            },
            true,
        ),
    },
    Contender {
        name: GMGM_ALL,
        tint: 8,
        how: How::Fit(
            Fit { method: "gmgm", set: &["preset=paper", "transform=log1p", "genes=appendix-f"] },
            true,
        ),
    },
    Contender {
        name: SINGLE,
        tint: 3,
        how: How::Fit(Fit { method: "single-axis", set: &["genes=appendix-f"] }, true),
    },
    Contender { name: NEIGHBOURS, tint: 5, how: How::Neighbours(false) },
    Contender { name: NORMALISED, tint: 6, how: How::Neighbours(true) },
];

/// Neighbours kept per vertex.
const KS: [usize; 3] = [3, 5, 10];
/// The k of the figures.
const SHOWN: usize = 10;
/// Most variable features of the neighbour graphs.
const VARIABLE: usize = 2000;
/// Principal components of the neighbour graphs.
const COMPONENTS: usize = 20;
/// Total of a row after normalisation.
const TOTAL: f64 = 1e4;
/// Level of the intervals over data sets, and draws for them.
const LEVEL: f64 = 0.95;
const TIMES: usize = 4000;

/// One method on one data set.
struct Outcome {
    set: usize,
    method: usize,
    /// One per k; empty where there is no graph.
    at: Vec<Judged>,
    stop: String,
}

/// Pieces of work.
pub fn pieces(sources: &Sources) -> u64 {
    (sources.sets.len() * CONTENDERS.len()) as u64
}

/// Runs the part.
///
/// # Errors
/// A file that cannot be read, a fault of a method, the user's interrupt.
pub fn run(work: &Work<'_>) -> Result<Section, Fault> {
    let design = work.design;
    let (mut sets, mut notes) = (Vec::new(), Vec::new());
    for source in &work.sources.sets {
        let all = CONTENDERS.len() as u64;
        match source.load()? {
            Ok(set) if set.data.shape().0 > design.max_rows => {
                let rows = set.data.shape().0;
                notes.push(format!("{} is left out: {rows} rows, more than max_rows.", source.name));
                work.progress.done(all, &source.name)?;
            }
            Ok(set) => sets.push(set),
            Err(why) => {
                notes.push(format!("{} is left out: {why}.", source.name));
                work.progress.done(all, &source.name)?;
            }
        }
    }
    let jobs: Vec<(usize, usize)> =
        (0..sets.len()).flat_map(|set| (0..CONTENDERS.len()).map(move |method| (set, method))).collect();
    let outcomes: Vec<Outcome> = jobs
        .par_iter()
        .map(|&(set, method)| {
            let out = outcome(design, &sets[set], set, method, work.seed)?;
            work.progress.done(1, &format!("{}, {}", sets[set].name, CONTENDERS[method].name))?;
            Ok(out)
        })
        .collect::<Result<_, Fault>>()?;
    let results = match &work.sources.published {
        Some((path, _)) => published(path)?,
        None => Vec::new(),
    };
    let all = All { sets: &sets, outcomes: &outcomes, seed: work.seed };
    if sets.is_empty() {
        notes.push("There is no labelled data set under --data, so there is nothing to compare.".into());
    }
    let mut figures = Vec::new();
    if !sets.is_empty() {
        figures.push(all.strips()?);
        figures.push(all.sorted(&results)?);
        figures.extend(all.beside(&results)?);
    }
    Ok(Section {
        title: "Labelled data: figure 3".into(),
        about: about(design, &sets),
        figures,
        tables: vec![all.means(), all.paired(), all.data_sets(), all.every()],
        checks: all.checks(),
        notes,
    })
}

fn about(design: &Design, sets: &[Labelled]) -> Vec<String> {
    let typed = CONTENDERS.iter().filter_map(|c| match &c.how {
        How::Fit(fit, _) => Some(format!("{}: {}", c.name, fit.typed(&[]))),
        How::Neighbours(_) => None,
    });
    vec![
        format!(
            "{} labelled data sets. Of every method the graph of the k largest |Ψ| per row, in either direction and without \
             weights, is judged by the labels: nominal assortativity (1: edges join equals only, 0: as by chance), numeric \
             assortativity (of the category codes, as published; it depends on their order), and the agreement of its Leiden \
             communities with the labels, the best of 12 resolutions from 0.1 to 2: adjusted mutual information (AMI), balanced \
             AMI (every community given equal mass, as published), adjusted Rand index.",
            sets.len()
        ),
        format!(
            "Methods, as typed after `unbraid fit`: {}. Neighbour graphs: {COMPONENTS} principal components of log1p of the \
             {VARIABLE} most variable features, with and without bringing each row to a total of 10 000 first. Methods that \
             decompose a square matrix of all rows run on data up to {} rows.",
            typed.collect::<Vec<_>>().join("; "),
            design.max_rows_dense
        ),
    ]
}

fn outcome(design: &Design, set: &Labelled, at: usize, method: usize, seed: Seed) -> Result<Outcome, Fault> {
    let n = set.data.shape().0;
    let ks: Vec<usize> = KS.into_iter().filter(|&k| k < n).collect();
    let none = |stop: String| Outcome { set: at, method, at: Vec::new(), stop };
    let options = LabelOptions::default();
    match &CONTENDERS[method].how {
        How::Fit(_, true) if n > design.max_rows_dense => {
            Ok(none(format!("not run: {n} rows, more than max_rows_dense = {}", design.max_rows_dense)))
        }
        How::Fit(fit, _) => {
            let more =
                [format!("keep=top:{}", ks.iter().max().copied().unwrap_or(1)), "empty=drop".to_owned()];
            match fit.run(&set.data, &more, seed) {
                Ok(fitted) => {
                    let stop = fitted.stop.map_or("direct", |s| s.name()).to_owned();
                    let kept = fitted.observations(n).ok_or_else(|| Fault::Usage("no kept edges".into()))?;
                    Ok(Outcome { at: judge_top_k(&kept, &ks, &set.labels, &options, seed)?.at, ..none(stop) })
                }
                // Data that a method cannot take are a result about the method.
                Err(why) if is_about_data(&why) => Ok(none(why.to_string())),
                Err(why) => Err(why),
            }
        }
        How::Neighbours(normalised) => {
            let points = components(&set.data, *normalised).map_err(|e| Fault::on(&set.data, e))?;
            let judged = ks.iter().map(|&k| {
                let graph: Csr = knn_graph(points.view(), k, Weighting::Unit)?;
                Ok(Judged { k: Some(k), ..judge(&graph, &set.labels, &options, seed)? })
            });
            Ok(Outcome { at: judged.collect::<Result<_, unbraid::Error>>()?, ..none("direct".into()) })
        }
    }
}

/// The usual embedding.
fn components(data: &Dataset, normalised: bool) -> unbraid::error::Result<ndarray::Array2<f64>> {
    let own: Matrix;
    let mut values = data.values();
    if normalised {
        own = to_total(values, TOTAL)?;
        values.matrix = &own;
    }
    let chosen: Matrix;
    if let Some(at) = Genes::Variable(VARIABLE).choose(values)? {
        chosen = values.matrix.columns(&at);
        values.matrix = &chosen;
    }
    Ok(principal_components(values, Scale::Log1p, COMPONENTS)?.scores)
}

/// A number that says how good a graph is.
#[derive(Clone, Copy)]
struct Measure {
    name: &'static str,
    of: fn(&Judged) -> Option<f64>,
}

const MEASURES: [Measure; 5] = [
    Measure { name: "assortativity", of: |j| j.nominal },
    Measure { name: "numeric assortativity", of: |j| j.numeric },
    Measure { name: "AMI", of: |j| Some(j.best(Score::Ami)?.ami) },
    Measure { name: "balanced AMI", of: |j| Some(j.best(Score::BalancedAmi)?.balanced_ami) },
    Measure { name: "ARI", of: |j| Some(j.best(Score::Ari)?.ari) },
];
const ASSORTATIVITY: Measure = MEASURES[0];
const NUMERIC: Measure = MEASURES[1];
const AMI: Measure = MEASURES[2];
const BALANCED: Measure = MEASURES[3];

/// All outcomes with what they belong to.
struct All<'a> {
    sets: &'a [Labelled],
    outcomes: &'a [Outcome],
    seed: Seed,
}

impl All<'_> {
    fn find(&self, set: usize, method: usize) -> Option<&Outcome> {
        self.outcomes.iter().find(|o| o.set == set && o.method == method)
    }

    /// One value.
    fn value(&self, set: usize, method: usize, k: usize, measure: Measure) -> Option<f64> {
        let judged = self.find(set, method)?.at.iter().find(|j| j.k == Some(k))?;
        (measure.of)(judged).filter(|v| v.is_finite())
    }

    /// The largest over all k.
    fn largest(&self, set: usize, method: usize, measure: Measure) -> Option<f64> {
        let at = &self.find(set, method)?.at;
        at.iter().filter_map(|j| (measure.of)(j)).filter(|v| v.is_finite()).reduce(f64::max)
    }

    /// Values of a method over the data sets it could be run on.
    fn values(&self, method: usize, k: usize, measure: Measure) -> Vec<f64> {
        (0..self.sets.len()).filter_map(|set| self.value(set, method, k, measure)).collect()
    }

    /// Mean with its interval; the stream depends on what is averaged, not on the order of the tables.
    fn interval(&self, values: &[f64]) -> Option<[f64; 3]> {
        let b =
            bootstrap_mean(values, LEVEL, TIMES, self.seed.child(Draw::Restart, values.len() as u64)).ok()?;
        Some([b.low, b.mean, b.high])
    }
    /// Differences of two methods on the data sets both were run on, with the names of the sets.
    fn differences(&self, a: &str, b: &str, k: usize, measure: Measure) -> Vec<(usize, f64)> {
        let of = |name: &str| CONTENDERS.iter().position(|c| c.name == name);
        let (Some(a), Some(b)) = (of(a), of(b)) else { return Vec::new() };
        let both = |set| Some((set, self.value(set, a, k, measure)? - self.value(set, b, k, measure)?));
        (0..self.sets.len()).filter_map(both).collect()
    }
}
