//! Cells by expression: counts of the most variable genes, beside k-means of principal components of logarithms.

use unbraid::Seed;
use unbraid::graph::kmeans::kmeans;
use unbraid::graph::pca::{Scale, principal_components};
use unbraid::metrics::coclusters::agreement;

use super::fits::{Outcome, Stage, Way};
use super::sets::{Set, Sources};
use super::{Design, Job, all, over, short};
use crate::cells;
use crate::fault::Fault;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Check, Section, Table};
use crate::reproduce::{Run, mean};

/// Components and starts of the baseline.
const COMPONENTS: usize = 20;
const STARTS: u64 = 20;

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let mut notes = Vec::new();
    let mut sets: Vec<(Set, f64, f64)> = Vec::new();
    for source in &sources.cells {
        match source.expression(design.genes, design.gene_clusters)? {
            Err(why) => {
                notes.push(format!("{} is left out: {why}.", source.name));
                run.progress.done(design.seeds as u64, &source.name)?;
            }
            Ok((set, logs)) => {
                let components = COMPONENTS.min(logs.shape().0 - 1);
                let scores = principal_components(logs.values(), Scale::Raw, components)?.scores;
                let found = kmeans(scores.view(), set.shape.0, STARTS, Seed(0)).labels;
                let baseline = agreement(&set.rows, &found)?;
                sets.push((set, baseline.nmi, baseline.ari));
            }
        }
    }
    let way = Way::Svcc("SVCC", Box::new(design.svcc()));
    let jobs: Vec<Job<'_>> = (sets.iter())
        .flat_map(|(set, ..)| (0..design.seeds as u64).map(move |s| (set, s)))
        .map(|(set, s)| Job { set, way: &way, file: set.name.clone(), seed: run.seed.0.wrapping_add(s) })
        .collect();
    let outcomes = all(&jobs, runs, run)?;
    let columns = [
        "set",
        "cells",
        "genes",
        "classes",
        "NMI before polish",
        "ARI before polish",
        "NMI",
        "ARI",
        "baseline NMI",
        "baseline ARI",
        "seconds",
    ];
    let mut table =
        Table::new("expression.csv", "Cells beside their classes: means over the seeds.", &columns);
    let (mut before, mut end, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
    for ((set, nmi, ari), found) in sets.iter().zip(outcomes.chunks(design.seeds)) {
        let of =
            |stage: Stage| (over(found, |o| o.at(stage).rows.nmi), over(found, |o| o.at(stage).rows.ari));
        let (b, e) = (of(Stage::Before), of(Stage::End));
        let (n, m) = set.x.shape();
        let mut row = cells![set.name.as_str(), n, m, set.shape.0];
        row.extend([b.0, b.1, e.0, e.1, *nmi, *ari, over(found, |o: &Outcome| o.seconds)].map(short));
        table.rows.push(row);
        before.push(b.1);
        end.push(e.1);
        baseline.push(*ari);
    }
    let claim = |what: &str| format!("Mean ARI of SVCC {what} beside that of the baseline: difference");
    let difference = |of: &[f64]| (!of.is_empty()).then(|| mean(of) - mean(&baseline));
    notes.extend(runs.notes());
    Ok(Section {
        title: "Cells by expression".into(),
        about: vec![format!(
            "Counts of the {} most variable genes, {} clusters of genes, as many of cells as classes. The baseline: logarithms of counts per 10 000 of all genes, {COMPONENTS} \
             principal components, k-means with {STARTS} starts. Classes score and never choose.",
            design.genes, design.gene_clusters
        )],
        figures: Vec::new(),
        tables: vec![table],
        checks: vec![
            Check::number(claim("at its end"), "test of ours", "0 or more", difference(&end), |v| v >= 0.0),
            Check::number(
                claim("before the polish"),
                "test of ours",
                "0 or more",
                difference(&before),
                |v| v >= 0.0,
            ),
        ],
        notes,
    })
}
