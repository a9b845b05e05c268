//! Labelled slices of tissue: all methods, two preparations, some seeds. Every run is written as it is done.

use super::Design;
use super::fits::{Outcome, SCORES, Way, outcome};
use super::halves;
use super::sets::{self, Scale, Sources};
use crate::cells;
use crate::fault::Fault;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Cell, Check, Section, Table};
use crate::reproduce::{Run, mean};

/// What is compared.
const WAYS: [Way; 10] = [
    Way::Nmf,
    Way::Pca,
    Way::Popari,
    Way::Own,
    Way::Thesis,
    Way::Prior,
    Way::Tissue,
    Way::Alone,
    Way::Ray,
    Way::Asked,
];
/// How much worse within slices than NMI of NMF is no loss.
const SLACK: f64 = 0.01;

/// Fewest metagenes: few labels are told apart by more programmes than labels.
const LEAST: usize = 10;

/// Pieces of work.
pub fn pieces(design: &Design, sources: &Sources) -> u64 {
    let sets =
        sources.slices.iter().map(sets::choices).sum::<usize>() + halves::COUNT * sources.sections.len();
    (sets * Scale::ALL.len() * WAYS.len() * design.seeds) as u64
}

/// The runs of a set, a preparation and a method.
struct Row {
    set: String,
    scale: Scale,
    way: Way,
    outcomes: Vec<Outcome>,
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    let labelled =
        sources.slices.iter().map(|s| (s, false)).chain(sources.sections.iter().map(|s| (s, true)));
    for (source, halved) in labelled {
        for scale in Scale::ALL {
            let found = match halved {
                true => halves::halves(source, scale, design.genes)?,
                false => sets::tissues(source, scale, design.genes)?,
            };
            for set in found {
                let (n, g) = set.data.shape();
                let labels = set.kinds.len();
                let k = if design.k > 0 { design.k } else { labels.max(LEAST).min((g / 2).max(2)) };
                notes.push(format!(
                    "{}, {}: {n} cells of {} slices × {g} genes, {} labels, K = {k}.",
                    set.name,
                    scale.name(),
                    set.batch.names.len(),
                    labels
                ));
                for way in WAYS {
                    let mut outcomes = Vec::new();
                    for seed in 0..design.seeds as u64 {
                        let seed = run.seed.0.wrapping_add(seed);
                        let file = format!("{} {}", set.name, scale.file());
                        outcomes.push(outcome(runs, &set, &file, way, k, seed)?);
                        run.progress.done(
                            1,
                            &format!("{}, {}, {}, seed {seed}", set.name, scale.name(), way.name()),
                        )?;
                    }
                    rows.push(Row { set: set.name.clone(), scale, way, outcomes });
                }
            }
        }
    }
    notes.extend(runs.notes());
    Ok(Section {
        title: "Labelled slices of tissue".into(),
        about: vec![
            "Not in the thesis. Labels score and never choose: K is their number, 10 at least, no other setting differs from the default. NMI over all slices rewards whatever tells \
             slices apart where labels and slices go together; NMI within slices is clustered and scored slice by slice."
                .into(),
            "A section of one batch is cut in two at its middle, as if two technologies had measured it: each half lacks another eighth of the genes, and the right one \
             has a batch effect, which adds an expression of the size of the mean to all of its cells, or scales genes (standard deviation of the logarithm 0.5). At \
             most half as many metagenes as genes are asked for."
                .into(),
            "Counts as they are, and 10 000 a cell with log(1 + x). Sizes of cells tell a cell from its batch, so that after the second there is less to tell by."
                .into(),
        ],
        figures: Vec::new(),
        tables: vec![summary(&rows), every(&rows)],
        checks: checks(&rows),
        notes,
    })
}

/// Mean of a score over the seeds.
fn of(row: &Row, score: usize) -> f64 {
    mean(&row.outcomes.iter().map(|o| (SCORES[score].1)(o)).collect::<Vec<_>>())
}

fn summary(rows: &[Row]) -> Table {
    let columns = [
        "set",
        "values",
        "method",
        "k-means NMI",
        "NMI within slices",
        "silhouette batch",
        "silhouette label",
        "PCR comparison",
        "drift of sizes",
        "seconds",
    ];
    let mut table = Table::new("slices.csv", "Means over the seeds.", &columns);
    for row in rows {
        let drift: Vec<f64> = row.outcomes.iter().filter_map(|o| o.drift).collect();
        let seconds = mean(&row.outcomes.iter().map(|o| o.seconds).collect::<Vec<_>>());
        let short = |v: f64| Cell::from((1000.0 * v).round() / 1000.0);
        let mut line = cells![row.set.as_str(), row.scale.name(), row.way.name()];
        line.extend([2, 5, 0, 4, 1].map(|s| short(of(row, s))));
        line.extend([short(mean(&drift)), Cell::from((10.0 * seconds).round() / 10.0)]);
        table.rows.push(line);
    }
    table
}

fn every(rows: &[Row]) -> Table {
    let mut table = Table::new("slices_runs.csv", "Every run.", &["set", "values", "method", "seed"]);
    table.columns.extend(SCORES.iter().map(|s| s.0.to_owned()));
    table.columns.extend(["drift of sizes".into(), "size left".into(), "seconds".into()]);
    table.shown = false;
    for row in rows {
        for o in &row.outcomes {
            let mut line = cells![row.set.as_str(), row.scale.name(), row.way.name(), o.seed as usize];
            line.extend(SCORES.iter().map(|(_, score)| Cell::from(score(o))));
            line.extend(cells![o.drift, o.left, o.seconds]);
            table.rows.push(line);
        }
    }
    table
}

fn checks(rows: &[Row]) -> Vec<Check> {
    let ours = "test of ours";
    let mut out = Vec::new();
    for ray in rows.iter().filter(|r| r.way == Way::Ray) {
        let beside =
            |way: Way| rows.iter().find(|r| r.way == way && r.set == ray.set && r.scale == ray.scale);
        let Some(nmf) = beside(Way::Nmf) else { continue };
        let place = format!("{}, {}", ray.set, ray.scale.name());
        out.push(Check::number(
            format!("{place}: NMI within slices, the default less NMF"),
            ours,
            "at least −0.01",
            Some(of(ray, 5) - of(nmf, 5)),
            |v| v >= -SLACK,
        ));
        out.push(Check::number(
            format!("{place}: silhouette of batches, the default less NMF"),
            ours,
            "above 0",
            Some(of(ray, 0) - of(nmf, 0)),
            |v| v > 0.0,
        ));
        if let Some(pca) = beside(Way::Pca) {
            let both = (of(ray, 2) - of(pca, 2)).min(of(ray, 0) - of(pca, 0));
            out.push(Check::number(
                format!("{place}: NMI and silhouette of batches, the default less batch-centred PCA, the smaller difference"),
                ours,
                "above 0",
                Some(both),
                |v| v > 0.0,
            ));
        }
    }
    out
}
