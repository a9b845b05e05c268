//! Figure 3: every method on every labelled data set, judged by the labels.
//!
//! A graph of observations is judged at k = 3, 5 and 10: assortativity of the labels, and agreement of
//! its Leiden communities with the labels, the best of 12 resolutions, chosen with the labels in view for
//! every method alike. Beside the networks stand the neighbour graphs that users have anyway.

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
use super::section::{Check, Figure, Section, Table};
use super::sets::{Labelled, Published, Sources, published};
use super::{Design, Work};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};

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

/// Published data that lie here under another name.
const ALIASES: [(&str, &str); 3] =
    [("yan2013_embryo", "E-GEOD-36552"), ("buettner_mesc", "E-MTAB-2805"), ("pancreas_wang", "E-GEOD-83139")];
/// Names of methods in the published file, and ours.
const PUBLISHED: [(&str, &str); 3] = [("EM", PAPER), ("GmGM", GMGM), ("Basic", SINGLE)];

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
    let design = &work.design;
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

    fn means(&self) -> Table {
        let columns = ["k", "measure", "method", "data sets", "mean", "low", "high"];
        let caption = "Means over the data sets each method could be run on, with bootstrap intervals (95 %) over data sets. \
                       Means of different numbers of data sets cannot be compared; the paired table can.";
        let mut table = Table::new("comparison_means.csv", caption, &columns);
        for k in KS.into_iter().rev() {
            for measure in MEASURES {
                for (method, c) in CONTENDERS.iter().enumerate() {
                    let values = self.values(method, k, measure);
                    let of = self.interval(&values);
                    table.rows.push(cells![
                        k,
                        measure.name,
                        c.name,
                        values.len(),
                        of.map(|i| i[1]),
                        of.map(|i| i[0]),
                        of.map(|i| i[2])
                    ]);
                }
            }
        }
        table
    }

    /// Differences of two methods on the data sets both were run on, with the names of the sets.
    fn differences(&self, a: &str, b: &str, k: usize, measure: Measure) -> Vec<(usize, f64)> {
        let of = |name: &str| CONTENDERS.iter().position(|c| c.name == name);
        let (Some(a), Some(b)) = (of(a), of(b)) else { return Vec::new() };
        let both = |set| Some((set, self.value(set, a, k, measure)? - self.value(set, b, k, measure)?));
        (0..self.sets.len()).filter_map(both).collect()
    }

    fn paired(&self) -> Table {
        let columns = [
            "k",
            "measure",
            "method",
            "minus",
            "data sets",
            "mean",
            "low",
            "high",
            "better on",
            "least",
            "least on",
        ];
        let caption = "Paired differences over the data sets both were run on, with bootstrap intervals (95 %) over data sets.";
        let mut table = Table::new("comparison_paired.csv", caption, &columns);
        let ours = CONTENDERS.iter().filter(|c| [DEFAULT, FULL, PAPER].contains(&c.name));
        let pairs: Vec<(&str, &str)> = ours
            .flat_map(|a| CONTENDERS.iter().map(move |b| (a.name, b.name)))
            // Every pair once: the methods of this program in the order of the list.
            .filter(|(a, b)| {
                a != b && ![(PAPER, FULL), (PAPER, DEFAULT), (FULL, DEFAULT)].contains(&(*a, *b))
            })
            .collect();
        for k in KS.into_iter().rev() {
            for measure in MEASURES {
                for (a, b) in &pairs {
                    let differences = self.differences(a, b, k, measure);
                    let values: Vec<f64> = differences.iter().map(|d| d.1).collect();
                    let of = self.interval(&values);
                    let least = differences.iter().min_by(|a, b| a.1.total_cmp(&b.1));
                    table.rows.push(cells![
                        k,
                        measure.name,
                        *a,
                        *b,
                        values.len(),
                        of.map(|i| i[1]),
                        of.map(|i| i[0]),
                        of.map(|i| i[2]),
                        values.iter().filter(|v| **v > 0.0).count(),
                        least.map(|l| l.1),
                        least.map(|l| self.sets[l.0].name.as_str())
                    ]);
                }
            }
        }
        table
    }

    fn data_sets(&self) -> Table {
        let columns: Vec<String> = ["data set", "rows", "columns", "non-zero", "labels", "classes"]
            .iter()
            .map(|c| c.to_string())
            .chain(
                CONTENDERS
                    .iter()
                    .flat_map(|c| [ASSORTATIVITY, AMI].map(|m| format!("{}: {}", c.name, m.name))),
            )
            .collect();
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let caption = format!("Every data set at k = {SHOWN}: nominal assortativity and AMI.");
        let mut table = Table::new("comparison_sets.csv", caption, &names);
        for (at, set) in self.sets.iter().enumerate() {
            let (n, m) = set.data.shape();
            let mut used = set.labels.clone();
            used.sort_unstable();
            used.dedup();
            let mut row = cells![
                set.name.as_str(),
                n,
                m,
                set.data.x.nonzeros() as f64 / (n as f64 * m as f64),
                set.column.as_str(),
                used.len()
            ];
            for method in 0..CONTENDERS.len() {
                row.extend([ASSORTATIVITY, AMI].map(|measure| self.value(at, method, SHOWN, measure).into()));
            }
            table.rows.push(row);
        }
        table
    }

    fn every(&self) -> Table {
        let columns = [
            "data_set",
            "method",
            "k",
            "edges",
            "assortativity_nominal",
            "assortativity_numeric",
            "ami",
            "ami_resolution",
            "ami_communities",
            "balanced_ami",
            "ari",
            "balanced_ari",
            "stop",
        ];
        let mut table = Table::new("comparison.csv", "Every graph.", &columns);
        table.shown = false;
        for o in self.outcomes {
            let (set, method) = (self.sets[o.set].name.as_str(), CONTENDERS[o.method].name);
            for j in &o.at {
                let best = j.best(Score::Ami);
                table.rows.push(cells![
                    set,
                    method,
                    j.k,
                    j.edges,
                    j.nominal,
                    j.numeric,
                    best.map(|p| p.ami),
                    best.map(|p| p.resolution),
                    best.map(|p| p.communities),
                    j.best(Score::BalancedAmi).map(|p| p.balanced_ami),
                    j.best(Score::Ari).map(|p| p.ari),
                    j.best(Score::BalancedAri).map(|p| p.balanced_ari),
                    o.stop.as_str()
                ]);
            }
            if o.at.is_empty() {
                let none = None::<f64>;
                table.rows.push(cells![
                    set,
                    method,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    none,
                    o.stop.as_str()
                ]);
            }
        }
        table
    }

    /// A dot per data set, a mean per method.
    fn strips(&self) -> Result<Figure, Fault> {
        let order: Vec<usize> = (0..CONTENDERS.len()).rev().collect();
        let panels = [ASSORTATIVITY, AMI].map(|measure| {
            let all = order.iter().flat_map(|&m| self.values(m, SHOWN, measure));
            let names = order.iter().map(|&m| {
                let count = self.values(m, SHOWN, measure).len();
                format!("{} ({count})", CONTENDERS[m].name)
            });
            let series = order.iter().enumerate().map(|(at, &m)| {
                let values = self.values(m, SHOWN, measure);
                let y = at as f64;
                // Dots are moved apart a little, in a fixed pattern, so that equal values show.
                let dots = values.iter().enumerate().map(|(i, &v)| (v, y + 0.09 * ((i % 5) as f64 - 2.0)));
                let mean = self.interval(&values).map(|i| (i[0], i[1], i[2], y));
                Series {
                    name: CONTENDERS[m].name.into(),
                    tint: CONTENDERS[m].tint,
                    marks: vec![
                        Mark::Dots(dots.collect(), false),
                        Mark::Interval(mean.into_iter().collect()),
                    ],
                }
            });
            Panel {
                title: format!("{} at k = {SHOWN}", measure.name),
                x: Axis::around(measure.name, all.chain([0.0, 1.0])),
                y: Axis::names("", names.collect()),
                series: series.collect(),
            }
        });
        Ok(Figure {
            file: "figure3_comparison.svg".into(),
            title: "Figure 3, extended: all methods beside the neighbour graphs".into(),
            caption: "Small rings: data sets. Large ring and bar: mean and its bootstrap interval (95 %) over data sets; their \
                      number stands in brackets."
                .into(),
            svg: figure::draw(&panels, Names::None, 56 + 46 * CONTENDERS.len() as u32 + 40)?,
        })
    }

    /// Values of each method sorted on their own, as the paper draws them.
    fn sorted(&self, results: &[Published]) -> Result<Figure, Fault> {
        let curve = |mut values: Vec<f64>| -> Vec<(f64, f64)> {
            values.retain(|v| v.is_finite());
            values.sort_by(|a, b| b.total_cmp(a));
            let last = values.len().saturating_sub(1).max(1) as f64;
            values.into_iter().enumerate().map(|(i, v)| (i as f64 / last, v)).collect()
        };
        let panels = [NUMERIC, BALANCED].map(|measure| {
            let mut series = Vec::new();
            for (method, c) in CONTENDERS.iter().enumerate() {
                let values = (0..self.sets.len()).filter_map(|s| self.largest(s, method, measure)).collect();
                series.push(Series {
                    name: c.name.into(),
                    tint: c.tint,
                    marks: vec![Mark::Line(curve(values))],
                });
            }
            for (theirs, ours) in PUBLISHED {
                let Some(c) = CONTENDERS.iter().find(|c| c.name == ours) else { continue };
                let values: Vec<f64> = results
                    .iter()
                    .filter(|r| r.method == theirs)
                    .map(|r| if measure.name == NUMERIC.name { r.assortativity } else { r.ami })
                    .collect();
                if !values.is_empty() {
                    let name = format!("published: {}", ours.split(" (").next().unwrap_or(ours));
                    series.push(Series { name, tint: c.tint, marks: vec![Mark::Dashes(curve(values))] });
                }
            }
            let values = series.iter().flat_map(|s| &s.marks).flat_map(|m| match m {
                Mark::Line(p) | Mark::Dashes(p) => p.iter().map(|p| p.1).collect::<Vec<_>>(),
                _ => Vec::new(),
            });
            Panel {
                title: format!("{}, largest over k", measure.name),
                x: Axis::numbers("rank among the data sets, from best to worst", 0.0..1.0),
                y: Axis::around(measure.name, values.chain([0.0, 1.0])),
                series,
            }
        });
        let whose = match results.is_empty() {
            true => "The published results are not under --data.".to_owned(),
            false => {
                "Dashes: the published results on the paper's 30 data sets, which are other data.".to_owned()
            }
        };
        Ok(Figure {
            file: "figure3.svg".into(),
            title: "Figure 3: values of each method, sorted".into(),
            caption: format!(
                "As in the paper each curve is sorted on its own, so that one place on two curves may be two data sets. {whose}"
            ),
            svg: figure::draw(&panels, Names::Ends, 460)?,
        })
    }

    /// Ours against the published value, where a published data set is here.
    fn beside(&self, results: &[Published]) -> Result<Option<Figure>, Fault> {
        let accession = |name: &str| {
            let alias = ALIASES.iter().find(|a| name.starts_with(a.0)).map(|a| a.1);
            results.iter().map(|r| r.dataset.as_str()).find(|d| name.contains(d) || alias == Some(*d))
        };
        let mut matched = Vec::new();
        let panels = [NUMERIC, BALANCED].map(|measure| {
            let mut series = vec![Series {
                name: "equal".into(),
                tint: figure::GREY,
                marks: vec![Mark::Dashes(vec![(-0.2, -0.2), (1.0, 1.0)])],
            }];
            for (theirs, ours) in PUBLISHED {
                let Some(method) = CONTENDERS.iter().position(|c| c.name == ours) else { continue };
                let mut dots = Vec::new();
                for (set, s) in self.sets.iter().enumerate() {
                    let Some(accession) = accession(&s.name) else { continue };
                    let row = results.iter().find(|r| r.method == theirs && r.dataset == accession);
                    let printed =
                        row.map(|r| if measure.name == NUMERIC.name { r.assortativity } else { r.ami });
                    if let (Some(printed), Some(own)) = (printed, self.largest(set, method, measure)) {
                        dots.push((printed, own));
                        matched.push(format!("{} is {accession}", s.name));
                    }
                }
                let tint = CONTENDERS[method].tint;
                series.push(Series { name: ours.into(), tint, marks: vec![Mark::Dots(dots, true)] });
            }
            Panel {
                title: measure.name.into(),
                x: Axis::numbers("published", -0.2..1.0),
                y: Axis::numbers("ours", -0.2..1.0),
                series,
            }
        });
        matched.sort();
        matched.dedup();
        if matched.is_empty() {
            return Ok(None);
        }
        Ok(Some(Figure {
            file: "figure3_published.svg".into(),
            title: "Ours against the published values".into(),
            caption: format!(
                "Data of the paper that are here in another preparation: {}. Cells, genes and labels differ from those of the \
                 Single Cell Expression Atlas, so that points need not lie on the line.",
                matched.join("; ")
            ),
            svg: figure::draw(&panels, Names::Above, 420)?,
        }))
    }

    /// The statements about the default, where it takes part.
    fn checks(&self) -> Vec<Check> {
        let Some(default) = CONTENDERS.iter().position(|c| c.name == DEFAULT) else { return Vec::new() };
        let mut out = Vec::new();
        let mean = |v: &[f64]| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
        let ten: Vec<usize> =
            TEN.iter().filter_map(|name| self.sets.iter().position(|s| s.name == *name)).collect();
        if ten.len() == TEN.len() {
            for (measure, least) in [(ASSORTATIVITY, 0.79), (AMI, 0.74)] {
                let values: Vec<f64> =
                    ten.iter().filter_map(|&s| self.value(s, default, SHOWN, measure)).collect();
                let found = (values.len() == TEN.len()).then(|| mean(&values)).flatten();
                out.push(Check::number(
                    format!("the default's mean {} at k = {SHOWN} on the ten single-cell sets is at least {least}", measure.name),
                    "aim of this program",
                    format!("≥ {least}"),
                    found,
                    move |v| v >= least,
                ));
            }
        }
        for k in [5, 10] {
            for measure in [ASSORTATIVITY, AMI] {
                for other in [PAPER, FULL] {
                    let differences = self.differences(DEFAULT, other, k, measure);
                    let least = differences.iter().min_by(|a, b| a.1.total_cmp(&b.1));
                    let on = least.map_or(String::new(), |l| format!(", least on {}", self.sets[l.0].name));
                    out.push(Check::number(
                        format!(
                            "the default's {} at k = {k} is on no data set below that of {other}{on}",
                            measure.name
                        ),
                        "aim of this program",
                        "least difference ≥ 0",
                        least.map(|l| l.1),
                        |v| v >= 0.0,
                    ));
                }
                let values: Vec<f64> =
                    self.differences(DEFAULT, NORMALISED, k, measure).iter().map(|d| d.1).collect();
                let (text, least) = match measure.name == AMI.name {
                    true => ("at most 0.03 below", -0.03),
                    false => ("above", 0.0),
                };
                out.push(Check::number(
                    format!("the default's mean {} at k = {k} is {text} that of {NORMALISED}", measure.name),
                    "aim of this program",
                    format!("mean difference > {least}"),
                    mean(&values),
                    move |v| v > least,
                ));
            }
        }
        out
    }
}

/// The ten single-cell sets on which the aim for the default was stated.
const TEN: [&str; 10] = [
    "islam_es_mef_92",
    "deng_embryo_133",
    "usoskin_neurons_150",
    "treutlein_lung_time_185",
    "treutlein_lung_80",
    "buettner_mesc_cellcycle_182",
    "ginhoux_dendritic_245",
    "pollen_brain_lines_299",
    "ipsc_cardiomyocyte_time_315",
    "zheng_pbmc_500",
];
