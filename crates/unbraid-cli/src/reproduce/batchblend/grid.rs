//! Figures 3.5 to 3.7: scores over the strength of the batch effect and the share of metagenes that it touches.

use rayon::prelude::*;
use unbraid::simulate::msrt::MsrtDesign;

use super::Design;
use super::fits::{Outcome, SCORES, Way, outcome};
use super::scores::METAGENES;
use super::sets;
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Check, Figure, Section, Table};
use crate::reproduce::{Run, mean};

/// What is compared.
const WAYS: [Way; 4] = [Way::Nmf, Way::Popari, Way::Thesis, Way::Ray];

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    (design.strengths.0.len() * design.touched.0.len() * design.grid_seeds * WAYS.len()) as u64
}

/// A run at a point of the grid.
struct Point {
    sigma: f64,
    touched: f64,
    outcome: Outcome,
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, the user's interrupt.
pub fn run(design: &Design, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let mut jobs = Vec::new();
    for &sigma in &design.strengths.0 {
        for &touched in &design.touched.0 {
            for seed in 0..design.grid_seeds as u64 {
                jobs.push((sigma, touched, run.seed.0.wrapping_add(seed)));
            }
        }
    }
    let one = |&(sigma, touched, seed): &(f64, f64, u64)| -> Result<Vec<Point>, Fault> {
        let of = MsrtDesign { side: design.side, sigma, touched, ..MsrtDesign::default() };
        let set = sets::drawn(&of, seed)?;
        let file = format!("grid {sigma} {touched} {seed}");
        WAYS.iter()
            .map(|&way| {
                let outcome = outcome(runs, &set, &file, way, METAGENES, run.seed.0)?;
                run.progress.done(1, &format!("σ_β {sigma}, K̂ {touched}, seed {seed}, {}", way.name()))?;
                Ok(Point { sigma, touched, outcome })
            })
            .collect()
    };
    let points: Vec<Vec<Point>> = jobs.par_iter().map(one).collect::<Result<_, Fault>>()?;
    let points: Vec<Point> = points.into_iter().flatten().collect();
    let figures = [
        (2, "figure3_5.svg", "Figure 3.5"),
        (4, "figure3_6.svg", "Figure 3.6"),
        (0, "figure3_7.svg", "Figure 3.7"),
    ];
    Ok(Section {
        title: "Robustness against the batch effect: figures 3.5 to 3.7".into(),
        about: vec![format!(
            "Two simulated slices for every strength σ_β and every share K̂ of the metagenes that the batch touches; {} seeds each. K = 11. Where σ_β or K̂ is 0 there \
             is no batch effect.",
            design.grid_seeds
        )],
        figures: figures
            .into_iter()
            .map(|(score, file, title)| lines(design, &points, score, file, title))
            .collect::<Result<_, Fault>>()?,
        tables: vec![table(design, &points)],
        checks: checks(design, &points),
        notes: ["The thesis shows its grid as plots without numbers; which score is in which of its figures we do not know.".into()]
            .into_iter()
            .chain(runs.notes())
            .collect(),
    })
}

/// Mean of a score over the seeds of a point of the grid.
fn at(points: &[Point], way: Way, sigma: f64, touched: f64, score: usize) -> f64 {
    let here = points.iter().filter(|p| p.outcome.way == way && p.sigma == sigma && p.touched == touched);
    mean(&here.map(|p| (SCORES[score].1)(&p.outcome)).collect::<Vec<_>>())
}

fn lines(design: &Design, points: &[Point], score: usize, file: &str, title: &str) -> Result<Figure, Fault> {
    let panels: Vec<Panel> = WAYS
        .iter()
        .map(|&way| Panel {
            title: way.name().into(),
            x: Axis::around("strength σ_β", design.strengths.0.iter().copied()),
            y: Axis::numbers(SCORES[score].0, -0.03..1.03),
            series: design
                .touched
                .0
                .iter()
                .enumerate()
                .map(|(tint, &touched)| {
                    let line: Vec<(f64, f64)> =
                        design.strengths.0.iter().map(|&s| (s, at(points, way, s, touched, score))).collect();
                    let name = format!("K̂ = {touched}");
                    Series { name, tint, marks: vec![Mark::Line(line.clone()), Mark::Dots(line, true)] }
                })
                .collect(),
        })
        .collect();
    Ok(Figure {
        file: file.into(),
        title: format!("{title}: {}", SCORES[score].0),
        caption: "Mean over the seeds; a line for each share of metagenes that the batch touches.".into(),
        svg: figure::draw(&panels, Names::Ends, 320)?,
    })
}

fn table(design: &Design, points: &[Point]) -> Table {
    let mut table = Table::new("grid.csv", "Means over the seeds.", &["σ_β", "K̂", "method"]);
    table.columns.extend(SCORES.iter().map(|s| s.0.to_owned()));
    table.shown = false;
    for &sigma in &design.strengths.0 {
        for &touched in &design.touched.0 {
            for way in WAYS {
                let mut row = cells![sigma, touched, way.name()];
                row.extend((0..SCORES.len()).map(|s| at(points, way, sigma, touched, s).into()));
                table.rows.push(row);
            }
        }
    }
    table
}

fn checks(design: &Design, points: &[Point]) -> Vec<Check> {
    let all = |way: Way, score: usize| {
        let grid = design.strengths.0.iter().flat_map(|&s| design.touched.0.iter().map(move |&t| (s, t)));
        grid.map(|(s, t)| at(points, way, s, t, score)).collect::<Vec<_>>()
    };
    let least = |v: Vec<f64>| v.into_iter().filter(|v| v.is_finite()).reduce(f64::min);
    let ours = "test of ours";
    vec![
        Check::number(
            "The default finds the cell types at every point: least mean NMI",
            ours,
            "at least 0.90",
            least(all(Way::Ray, 2)),
            |v| v >= 0.90,
        ),
        Check::number(
            "… and mixes the batches: least mean silhouette",
            ours,
            "at least 0.85",
            least(all(Way::Ray, 0)),
            |v| v >= 0.85,
        ),
        Check::number(
            "… while POPARI does not: least mean silhouette",
            ours,
            "below 0.85",
            least(all(Way::Popari, 0)),
            |v| v < 0.85,
        ),
    ]
}
