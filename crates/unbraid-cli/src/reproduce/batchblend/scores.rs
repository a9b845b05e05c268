//! Tables 3.1 to 3.5: scores on simulated slices beside the printed ones.

use rayon::prelude::*;

use super::Design;
use super::fits::{Outcome, SCORES, Way, outcome};
use super::sets::{self, Set, Sources};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Cell, Check, Figure, Section, Table};
use crate::reproduce::{Run, mean};

/// Metagenes of the simulation.
pub const METAGENES: usize = 11;
/// What is compared, in order.
const WAYS: [Way; 8] =
    [Way::Truth, Way::Nmf, Way::Popari, Way::Thesis, Way::Prior, Way::Tissue, Way::Alone, Way::Ray];
/// Printed in Tables 3.1 and 3.2 of the thesis: silhouette batch, PCR comparison, k-means NMI, k-means ARI, silhouette label.
const PRINTED: [(&str, [f64; 5]); 5] = [
    ("PyLiger", [0.486, 0.964, 0.627, 0.431, 0.589]),
    ("scVI", [0.932, 0.909, 0.090, 0.031, 0.482]),
    ("STAligner", [0.680, 0.872, 0.271, 0.123, 0.411]),
    ("POPARI", [0.527, 0.373, 0.651, 0.459, 0.605]),
    ("BATCHBLEND", [0.833, 0.547, 0.061, 0.012, 0.479]),
];
/// The same of Tables 3.4 and 3.5, coronal slices of three technologies.
const CORONAL: [(&str, [f64; 5]); 2] =
    [("POPARI", [0.831, 0.148, 0.229, 0.113, 0.477]), ("BATCHBLEND", [0.815, 0.439, 0.109, 0.021, 0.451])];

/// Pieces of work.
pub fn pieces(design: &Design, sources: &Sources) -> u64 {
    (sets::count(sources, design.sets) * WAYS.len()) as u64
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let sets = sets::simulated(sources, design.sets, design.side, run.seed)?;
    let jobs: Vec<(&Set, Way)> = sets
        .iter()
        .flat_map(|s| WAYS.iter().filter(|w| **w != Way::Truth || s.truth.is_some()).map(move |&w| (s, w)))
        .collect();
    let one = |&(set, way): &(&Set, Way)| {
        let found = outcome(runs, set, &set.name, way, METAGENES, run.seed.0)?;
        run.progress.done(1, &format!("{}, {}", set.name, way.name()))?;
        Ok((set.name.clone(), found))
    };
    let all: Vec<(String, Outcome)> = jobs.par_iter().map(one).collect::<Result<_, Fault>>()?;
    let missing = pieces(design, sources) - jobs.len() as u64;
    run.progress.done(missing, "simulated slices")?;
    let of = |way: Way| all.iter().filter(|(_, o)| o.way == way).map(|(_, o)| o).collect::<Vec<_>>();
    let mut notes = vec![
        "iLISI, kBET and graph connectivity of Tables 3.1 to 3.3, isolated labels and cLISI are not computed here, so that the totals of Table 3.3 \
         (printed: PyLiger .60, scVI .50, STAligner .47, POPARI .54, BATCHBLEND .40) have no number beside them."
            .into(),
        "The slices of Tables 3.4 and 3.5 (coronal mouse brain, MERFISH, MERSCOPE and STARmap, 258 shared genes) are not at hand; the table shows \
         what was printed. Labelled slices under `--data` have a part of their own."
            .into(),
        "The thesis does not say how k-means was started; here it is the best of ten starts. It scored mixtures by single starts of a package."
            .into(),
    ];
    notes.extend(runs.notes());
    let data = match sources.simulated.is_empty() {
        true => format!("{} sets drawn by `unbraid simulate msrt`, seeds from {}", sets.len(), run.seed.0),
        false => format!("{} sets found under `--data`", sets.len()),
    };
    Ok(Section {
        title: "Simulated slices: tables 3.1 to 3.5".into(),
        about: vec![
            format!(
                "{data}: two slices each, nine cell types, a batch that adds to six of eleven metagenes (σ_β = 2). K = 11, four neighbours on the grid. \
                 Scored are mixtures Z, rows of sum 1; labels score and never choose."
            ),
            "POPARI is `preset=paper` (10 iterations of factorisation, 50 in the tissue). The thesis' form is `preset=paper` (50 iterations, its prior, no \
             tissue); once with the prior of β of its section 2.6 (weight 1), once followed by POPARI's 50 iterations, as it proposes. BATCHBLEND is \
             the default, shared rays, with and without the tissue."
                .into(),
        ],
        figures: vec![strips(&WAYS.map(|w| (w, of(w))))?],
        tables: vec![summary(&WAYS.map(|w| (w, of(w)))), coronal(), every(&all)],
        checks: checks(&of),
        notes,
    })
}

/// Mean and standard deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let middle = mean(values);
    let square = values.iter().map(|v| (v - middle).powi(2)).sum::<f64>();
    (middle, (square / (values.len().max(2) - 1) as f64).sqrt())
}

fn text((middle, spread): (f64, f64)) -> Cell {
    if middle.is_finite() { format!("{middle:.3} ± {spread:.3}").into() } else { Cell::None }
}

fn columns(first: &[&str]) -> Vec<String> {
    first.iter().map(|c| c.to_string()).chain(SCORES.iter().map(|s| s.0.to_owned())).collect()
}

fn summary(of: &[(Way, Vec<&Outcome>)]) -> Table {
    let caption =
        "Means and standard deviations over the sets; below, what the thesis printed (Tables 3.1 and 3.2).";
    let mut table = Table::new("table3_1.csv", caption, &[]);
    table.columns = columns(&["method", "from"]);
    for (way, all) in of.iter().filter(|(_, all)| !all.is_empty()) {
        let mut row = cells![way.name(), "here"];
        for (_, score) in SCORES {
            row.push(text(spread(&all.iter().map(|o| score(o)).collect::<Vec<_>>())));
        }
        table.rows.push(row);
    }
    printed(&mut table, &PRINTED);
    table
}

fn printed(table: &mut Table, rows: &[(&str, [f64; 5])]) {
    for (name, values) in rows {
        let mut row = cells![*name, "printed"];
        row.extend(values.iter().map(|v| Cell::from(*v)));
        row.push(Cell::None);
        table.rows.push(row);
    }
}

fn coronal() -> Table {
    let mut table = Table::new(
        "table3_4.csv",
        "Printed for coronal slices of three technologies (Tables 3.4 and 3.5).",
        &[],
    );
    table.columns = columns(&["method", "from"]);
    printed(&mut table, &CORONAL);
    table
}

fn every(all: &[(String, Outcome)]) -> Table {
    let mut table = Table::new("scores.csv", "Every run.", &[]);
    table.columns = columns(&["set", "method"]);
    table.columns.extend(["drift of sizes".into(), "size left".into(), "seconds".into()]);
    table.shown = false;
    for (set, o) in all {
        let mut row = cells![set.as_str(), o.way.name()];
        row.extend(SCORES.iter().map(|(_, score)| Cell::from(score(o))));
        row.extend(cells![o.drift, o.left, o.seconds]);
        table.rows.push(row);
    }
    table
}

fn strips(of: &[(Way, Vec<&Outcome>)]) -> Result<Figure, Fault> {
    let of: Vec<_> = of.iter().filter(|(_, all)| !all.is_empty()).rev().collect();
    let names: Vec<String> = of.iter().map(|(w, _)| w.name().to_owned()).collect();
    let panels: Vec<Panel> = [2, 4, 0]
        .into_iter()
        .enumerate()
        .map(|(place, at)| {
            let (name, score) = SCORES[at];
            let series = of.iter().enumerate().map(|(y, (way, all))| {
                let dots = all.iter().map(|o| (score(o), y as f64)).collect();
                Series {
                    name: way.name().into(),
                    tint: if *way == Way::Ray { 0 } else { 1 },
                    marks: vec![Mark::Dots(dots, false)],
                }
            });
            Panel {
                title: String::new(),
                x: Axis::numbers(name, -0.03..1.03),
                y: Axis::names("", if place == 0 { names.clone() } else { vec![String::new(); names.len()] }),
                series: series.collect(),
            }
        })
        .collect();
    Ok(Figure {
        file: "table3_1.svg".into(),
        title: "Scores set by set".into(),
        caption: "One circle is one set. From left to right: agreement of clusters with cell types, cell types apart, batches mixed within cell types.".into(),
        svg: figure::draw(&panels, Names::None, 380)?,
    })
}

fn checks<'a>(of: &impl Fn(Way) -> Vec<&'a Outcome>) -> Vec<Check> {
    let values = |way: Way, score: usize| of(way).iter().map(|o| (SCORES[score].1)(o)).collect::<Vec<f64>>();
    let least = |v: &[f64]| v.iter().copied().reduce(f64::min);
    let ours = "test of ours";
    let drift = of(Way::Ray).iter().filter_map(|o| o.drift).map(f64::abs).reduce(f64::max);
    let left = of(Way::Thesis).iter().filter_map(|o| o.left).reduce(f64::max);
    let kept = Some(mean(&values(Way::Tissue, 2)));
    let (popari, thesis) = (Some(mean(&values(Way::Popari, 2))), Some(mean(&values(Way::Thesis, 2))));
    vec![
        Check::number(
            "The default finds the cell types: mean NMI",
            ours,
            "at least 0.93",
            Some(mean(&values(Way::Ray, 2))),
            |v| v >= 0.93,
        ),
        Check::number("… and in every set", ours, "at least 0.90", least(&values(Way::Ray, 2)), |v| {
            v >= 0.90
        }),
        Check::number(
            "Batches are mixed within cell types: mean silhouette",
            ours,
            "at least 0.90",
            Some(mean(&values(Way::Ray, 0))),
            |v| v >= 0.90,
        ),
        Check::number(
            "Sizes of cells stay while neighbours count: largest drift",
            ours,
            "below 0.01",
            drift,
            |v| v < 0.01,
        ),
        Check::number(
            "The thesis' form loses nine tenths of the sizes of cells to the batch: largest mean size left",
            ours,
            "below 0.1",
            left,
            |v| v < 0.1,
        ),
        Check::number(
            "POPARI's iterations afterwards find the cell types no better: mean NMI",
            ours,
            "below that of POPARI alone",
            kept,
            |v| popari.is_some_and(|alone| v < alone),
        ),
        Check::number("POPARI agrees with the printed NMI", "Table 3.2", "0.651 ± 0.12", popari, |v| {
            (v - 0.651).abs() <= 0.12
        }),
        Check::number(
            "The thesis' form is as bad as printed: NMI",
            "Table 3.2",
            "0.061 ± 0.12",
            thesis,
            |v| (v - 0.061).abs() <= 0.12,
        ),
        Check::number(
            "POPARI mixes batches less than the default: difference of silhouettes",
            "Table 3.1",
            "above 0",
            Some(mean(&values(Way::Ray, 0)) - mean(&values(Way::Popari, 0))),
            |v| v > 0.0,
        ),
    ]
}
