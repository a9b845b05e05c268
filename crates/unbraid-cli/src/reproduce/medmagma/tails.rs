//! Figure 1: how often two cells, or two genes, are extreme together.
//!
//! A Gaussian model of either axis leaves λ_q of its copula; multiplicative noise on the other axis makes
//! the values elliptical with heavier tails, and λ_q larger. The published figure compares with independent
//! vectors; the Gaussian copula with the pair's own correlation stands beside it here.

use unbraid::fit::Draw;
use unbraid::preprocess::genes::Genes;
use unbraid::stats::tail::{TailDependence, TailOptions, tail_dependence};

use super::contender::is_about_data;
use super::sets::{Labelled, Sources};
use super::{Work, nearest_to_published};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::section::{Check, Figure, Section, Table};

/// What is drawn: values of pairs, colour.
const OBSERVED: (&str, usize) = ("observed", 0);
const GAUSSIAN: (&str, usize) = ("Gaussian copula, same correlation", 1);
const INDEPENDENT: (&str, usize) = ("independent (published baseline)", figure::GREY);
/// Width of the bins of λ.
const BIN: f64 = 0.1;

/// Both axes of one data set.
struct Tails {
    name: String,
    shape: (usize, usize),
    /// Rows, columns.
    axes: [TailDependence; 2],
}
const AXES: [&str; 2] = ["cells (rows)", "genes (columns)"];

/// Pieces of work.
pub fn pieces(sources: &Sources) -> u64 {
    sources.sets.len() as u64
}

/// Runs the part.
///
/// # Errors
/// A file that cannot be read, the user's interrupt.
pub fn run(work: &Work<'_>) -> Result<Section, Fault> {
    let options = TailOptions { pairs: work.design.pairs, ..TailOptions::default() };
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    for source in &work.sources.sets {
        match source.load()?.and_then(|set| match set.data.shape().0 <= work.design.max_rows {
            true => Ok(set),
            false => Err("it has more rows than max_rows".into()),
        }) {
            Ok(set) => match measured(&set, options, work) {
                Ok(tails) => all.push(tails),
                Err(why) if is_about_data(&why) => notes.push(format!("{} is left out: {why}.", set.name)),
                Err(why) => return Err(why),
            },
            Err(why) => notes.push(format!("{} is left out: {why}.", source.name)),
        }
        work.progress.done(1, &format!("tails of {}", source.name))?;
    }
    if all.is_empty() {
        notes.push("There is no labelled data set under --data, so there are no tails to measure.".into());
    }
    let shown = nearest_to_published(all.iter().map(|t| t.shape.0)).map(|at| &all[at]);
    let mut figures = Vec::new();
    if let Some(tails) = shown {
        figures.push(histogram(tails, options)?);
        figures.push(strips(&all)?);
    }
    Ok(Section {
        title: "Tail dependence: figure 1".into(),
        about: vec![
            format!(
                "λ is the chance that the second of two variables lies above its {}-quantile when the first does, estimated on \
                 {} random pairs of cells and of genes; only ranks are read. Genes are chosen as in Appendix F of the paper, \
                 about as many as there are cells.",
                options.quantile, options.pairs
            ),
            format!(
                "Independent vectors have λ near {:.2}; the paper draws these under the name of a Gaussian copula. What a Gaussian \
                 model explains is λ of the Gaussian copula with the pair's own correlation (2 sin(πρ/6) of Spearman's ρ). \
                 Beyond it lies what the model of magnitudes is for.",
                1.0 - options.quantile
            ),
        ],
        figures,
        tables: vec![means(&all), pairs(&all)],
        checks: checks(&all),
        notes,
    })
}

fn measured(set: &Labelled, options: TailOptions, work: &Work<'_>) -> Result<Tails, Fault> {
    let on = |e| Fault::on(&set.data, e);
    let chosen = Genes::AppendixF.choose(set.data.values()).map_err(on)?;
    let x = match chosen {
        Some(at) => set.data.x.columns(&at),
        None => set.data.x.clone(),
    };
    let of = |x, axis| tail_dependence(x, options, work.seed.child(Draw::Simulate, axis)).map_err(on);
    Ok(Tails { name: set.name.clone(), shape: x.shape(), axes: [of(&x, 0)?, of(&x.transpose(), 1)?] })
}

fn histogram(tails: &Tails, options: TailOptions) -> Result<Figure, Fault> {
    let bins = (1.0 / BIN).round() as usize;
    let panels = [1, 0].map(|axis| {
        let d = &tails.axes[axis];
        let defined = || d.pairs.iter().filter(|p| p.observed.is_some());
        let share = |value: &dyn Fn(&unbraid::stats::tail::TailPair) -> Option<f64>| -> Vec<(f64, f64)> {
            let mut count = vec![0usize; bins];
            defined().filter_map(value).for_each(|v| count[((v / BIN) as usize).min(bins - 1)] += 1);
            let all = defined().count().max(1) as f64;
            // A line of steps.
            let edge = |b: usize| b as f64 * BIN;
            (0..bins)
                .flat_map(|b| [(edge(b), count[b] as f64 / all), (edge(b + 1), count[b] as f64 / all)])
                .collect()
        };
        let lines = [
            (OBSERVED, share(&|p| p.observed)),
            (GAUSSIAN, share(&|p| Some(p.gaussian))),
            (INDEPENDENT, share(&|p| Some(p.independent))),
        ];
        let highest = lines.iter().flat_map(|l| &l.1).fold(0.0f64, |m, p| m.max(p.1));
        let series = lines.map(|((name, tint), line)| Series {
            name: name.into(),
            tint,
            marks: vec![Mark::Band(line.iter().map(|p| (p.0, 0.0, p.1)).collect()), Mark::Line(line)],
        });
        Panel {
            title: format!("pairs of {}", AXES[axis]),
            x: Axis::numbers("tail dependence λ", 0.0..1.0),
            y: Axis::numbers("share of pairs", 0.0..(highest * 1.06).max(0.01)),
            series: series.to_vec(),
        }
    });
    Ok(Figure {
        file: "figure1.svg".into(),
        title: format!("Figure 1: tail dependence in {}", tails.name),
        caption: format!(
            "{} pairs each, {} cells × {} genes, bins of {BIN}. The paper shows E-MTAB-7249 (185 × 185); this is the data \
             set given whose number of cells is nearest to it.",
            options.pairs, tails.shape.0, tails.shape.1
        ),
        svg: figure::draw(&panels, Names::Above, 380)?,
    })
}

fn strips(all: &[Tails]) -> Result<Figure, Fault> {
    let panels = [1, 0].map(|axis| {
        let values = |value: &dyn Fn(&TailDependence) -> Option<f64>| -> Vec<(f64, f64)> {
            let count = all.len();
            all.iter()
                .enumerate()
                .filter_map(|(at, t)| Some((value(&t.axes[axis])?, (count - 1 - at) as f64)))
                .collect()
        };
        let series = [
            (INDEPENDENT, Mark::Dots(values(&|d| Some(d.independent)), true)),
            (GAUSSIAN, Mark::Dots(values(&|d| d.gaussian), true)),
            (OBSERVED, Mark::Dots(values(&|d| d.observed), true)),
        ];
        Panel {
            title: format!("pairs of {}", AXES[axis]),
            x: Axis::numbers("mean tail dependence λ", 0.0..1.0),
            y: Axis::names("", all.iter().rev().map(|t| t.name.clone()).collect()),
            series: series
                .map(|((name, tint), mark)| Series { name: name.into(), tint, marks: vec![mark] })
                .to_vec(),
        }
    });
    Ok(Figure {
        file: "figure1_sets.svg".into(),
        title: "Tail dependence in every data set".into(),
        caption: "Means over the pairs of each data set.".into(),
        svg: figure::draw(&panels, Names::Above, 110 + 24 * all.len() as u32)?,
    })
}

fn means(all: &[Tails]) -> Table {
    let columns = [
        "data set",
        "cells",
        "genes",
        "pairs of",
        "pairs",
        "undefined",
        "observed",
        "Gaussian copula",
        "independent",
        "share above their Gaussian copula",
    ];
    let mut table = Table::new("tails.csv", "Means over the pairs.", &columns);
    for t in all {
        for (axis, d) in AXES.iter().zip(&t.axes) {
            table.rows.push(cells![
                t.name.as_str(),
                t.shape.0,
                t.shape.1,
                *axis,
                d.pairs.len(),
                d.undefined,
                d.observed,
                d.gaussian,
                d.independent,
                d.above_gaussian
            ]);
        }
    }
    table
}

fn pairs(all: &[Tails]) -> Table {
    let columns =
        ["data_set", "axis", "first", "second", "observed", "correlation", "gaussian", "independent"];
    let mut table = Table::new("tails_pairs.csv", "Every pair.", &columns);
    table.shown = false;
    for t in all {
        for (axis, d) in AXES.iter().zip(&t.axes) {
            for p in &d.pairs {
                table.rows.push(cells![
                    t.name.as_str(),
                    *axis,
                    p.first,
                    p.second,
                    p.observed,
                    p.correlation,
                    p.gaussian,
                    p.independent
                ]);
            }
        }
    }
    table
}

fn checks(all: &[Tails]) -> Vec<Check> {
    let mut out = Vec::new();
    type Value = fn(&TailDependence) -> Option<f64>;
    let baselines: [(&str, &str, Value); 2] = [
        ("that of independent vectors", "paper, figure 1", |d| Some(d.independent)),
        ("that of Gaussian copulas with the same correlations", "what the model of magnitudes is for", |d| {
            d.gaussian
        }),
    ];
    for (axis, name) in AXES.iter().enumerate() {
        for (baseline, source, value) in baselines {
            let over: Vec<bool> =
                all.iter().filter_map(|t| Some(t.axes[axis].observed? > value(&t.axes[axis])?)).collect();
            let share = over.iter().filter(|o| **o).count() as f64 / over.len() as f64;
            out.push(Check::number(
                format!(
                    "{name}: the mean tail dependence is above {baseline} in every data set ({} sets)",
                    over.len()
                ),
                source,
                "share of data sets = 1",
                Some(share),
                |v| v == 1.0,
            ));
        }
    }
    out
}
