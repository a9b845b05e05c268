//! Figure 4: what the features per step, the quantiles per map and the rounds inside QMFQ do, on larger data
//! with noise.

use rayon::prelude::*;
use unbraid::Seed;
use unbraid::simulate::quantile::QuantileDesign;

use super::Design;
use super::fits::{Way, along, mean};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Figure, Section, Table};

/// Strength of the noise, and factors.
const NOISE: f64 = 10.0;
const FACTORS: usize = 10;
/// Quantiles per map where they do not vary.
const LEVELS: usize = 8;
/// Features per step (0 is all of them), quantiles per map, rounds inside QMFQ.
const BATCHES: [usize; 4] = [16, 64, 128, 0];
const QUANTILES: [usize; 4] = [4, 8, 16, 32];
const ROUNDS: [usize; 3] = [10, 50, 100];

/// What varies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Batch,
    Levels,
    Rounds,
}

impl Sweep {
    const ALL: [Sweep; 3] = [Sweep::Batch, Sweep::Levels, Sweep::Rounds];

    fn name(self) -> &'static str {
        match self {
            Sweep::Batch => "QMF: features per step",
            Sweep::Levels => "QMF: quantiles per map",
            Sweep::Rounds => "QMFQ: rounds of NMF",
        }
    }

    /// The fits of the sweep, with the value that varies in words.
    fn ways(self, design: &Design) -> Vec<(String, Way)> {
        let (k, epochs, steps) = (FACTORS, design.sweep_epochs, design.sweep_outer);
        match self {
            Sweep::Batch => BATCHES
                .into_iter()
                .map(|b| {
                    let way = Way::Qmf { k, levels: LEVELS, epochs, batch: b };
                    (if b == 0 { "all".into() } else { b.to_string() }, way)
                })
                .collect(),
            Sweep::Levels => QUANTILES
                .into_iter()
                .map(|levels| (levels.to_string(), Way::Qmf { k, levels, epochs, batch: 0 }))
                .collect(),
            Sweep::Rounds => ROUNDS
                .into_iter()
                .map(|rounds| (rounds.to_string(), Way::Qmfq { k, levels: LEVELS, steps, rounds }))
                .collect(),
        }
    }
}

/// One fit.
struct Outcome {
    seed: u64,
    way: Way,
    course: Vec<f64>,
    divergence: f64,
}

/// Every fit once, though two sweeps may share it; the slowest first.
fn fits(design: &Design) -> Vec<Way> {
    let mut out: Vec<Way> = Vec::new();
    for sweep in Sweep::ALL.into_iter().rev() {
        for (_, way) in sweep.ways(design).into_iter().rev() {
            if !out.contains(&way) {
                out.push(way);
            }
        }
    }
    out.push(Way::Nmf { k: FACTORS, rounds: design.sweep_epochs });
    out
}

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    (design.sweep_seeds * fits(design).len()) as u64
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(design: &Design, run: &Run<'_>) -> Result<Section, Fault> {
    let seeds = || (0..design.sweep_seeds as u64).map(|i| run.seed.0.wrapping_add(i));
    let jobs: Vec<(u64, Way)> =
        fits(design).into_iter().flat_map(|way| seeds().map(move |seed| (seed, way))).collect();
    let outcomes: Vec<Outcome> = jobs
        .par_iter()
        .map(|&(seed, way)| {
            let Design { sweep_features: features, sweep_samples: observations, .. } = *design;
            let data = QuantileDesign {
                features,
                observations,
                k: FACTORS,
                noise: NOISE,
                ..QuantileDesign::default()
            };
            let fit = way.fit(data.sample(Seed(seed))?.x.view(), Seed(seed))?;
            run.progress.done(1, &format!("sweeps, seed {seed}, {}", way.typed()))?;
            Ok(Outcome { seed, way, course: fit.course, divergence: fit.divergence })
        })
        .collect::<Result<_, Fault>>()?;
    let Design { sweep_features, sweep_samples, sweep_epochs, sweep_outer, sweep_seeds, .. } = design;
    Ok(Section {
        title: "Larger data with noise: figure 4".into(),
        about: vec![format!(
            "{sweep_seeds} simulated data sets of {sweep_features} features and {sweep_samples} samples, rank {FACTORS}, with \
             max({NOISE} E, 0), E standard normal, added to every value after the maps (`unbraid simulate quantile --set \
             noise={NOISE}`). {sweep_epochs} epochs of QMF and {sweep_outer} steps of QMFQ, learning rate 0.01; {LEVELS} quantiles \
             per map and all features in one step where these do not vary."
        )],
        figures: vec![courses(design, &outcomes)?],
        tables: vec![summary(design, &outcomes), every(&outcomes)],
        checks: checks(design, &outcomes),
        notes: vec![
            "The paper shows curves; the values swept, the epochs and the steps are ours. An epoch of small batches takes more steps of Adam than one of large batches: curves by epoch compare equal work, \
             not equal numbers of steps."
                .into(),
        ],
    })
}

fn of(outcomes: &[Outcome], way: Way) -> Vec<&Outcome> {
    outcomes.iter().filter(|o| o.way == way).collect()
}

fn final_of(outcomes: &[Outcome], way: Way) -> Vec<f64> {
    of(outcomes, way).iter().map(|o| o.divergence).collect()
}

fn courses(design: &Design, outcomes: &[Outcome]) -> Result<Figure, Fault> {
    let panels = Sweep::ALL.map(|sweep| {
        let (mut values, mut longest) = (Vec::new(), 1);
        let series: Vec<Series> = sweep
            .ways(design)
            .into_iter()
            .enumerate()
            .map(|(tint, (value, way))| {
                let all: Vec<&Vec<f64>> = of(outcomes, way).iter().map(|o| &o.course).collect();
                let along = along(&all);
                longest = longest.max(along.len());
                values.extend(along.iter().flatten().copied());
                let at = |i: usize| (i + 1) as f64;
                let band = along.iter().enumerate().map(|(i, v)| (at(i), v[1].log10(), v[2].log10()));
                let line = along.iter().enumerate().map(|(i, v)| (at(i), v[0].log10()));
                let marks = vec![Mark::Band(band.collect()), Mark::Line(line.collect())];
                Series { name: value, tint, marks }
            })
            .collect();
        let x = if sweep == Sweep::Rounds { "steps" } else { "epochs" };
        Panel {
            title: sweep.name().into(),
            x: Axis::numbers(x, 0.0..longest as f64),
            y: Axis::decades("mean KL divergence", values),
            series,
        }
    });
    Ok(Figure {
        file: "figure4.svg".into(),
        title: "Figure 4: losses by batch, quantiles and rounds".into(),
        caption: "Lines: means over data sets, with the value that varies at their ends; bands: from the smallest to the largest. \
                  Logarithmic scale."
            .into(),
        svg: figure::draw(&panels, Names::Each, 420)?,
    })
}

fn summary(design: &Design, outcomes: &[Outcome]) -> Table {
    let columns = ["what varies", "value", "data sets", "KL", "smallest", "largest"];
    let mut table =
        Table::new("sweeps.csv", "KL at the end: mean, smallest and largest over data sets.", &columns);
    let nmf = Way::Nmf { k: FACTORS, rounds: design.sweep_epochs };
    let rows = Sweep::ALL
        .into_iter()
        .flat_map(|s| s.ways(design).into_iter().map(move |(value, way)| (s.name(), value, way)))
        .chain([("NMF", "–".to_owned(), nmf)]);
    for (name, value, way) in rows {
        let all = final_of(outcomes, way);
        table.rows.push(cells![
            name,
            value,
            all.len(),
            mean(&all),
            all.iter().copied().fold(f64::INFINITY, f64::min),
            all.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        ]);
    }
    table
}

fn every(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new("sweeps_runs.csv", "Every fit.", &["seed", "fit", "kl"]);
    table.shown = false;
    table.rows = outcomes.iter().map(|o| cells![o.seed as usize, o.way.typed(), o.divergence]).collect();
    table
}

fn checks(design: &Design, outcomes: &[Outcome]) -> Vec<Check> {
    let nmf = mean(&final_of(outcomes, Way::Nmf { k: FACTORS, rounds: design.sweep_epochs }));
    let sweeps = [(Sweep::Levels, LEVELS.to_string()), (Sweep::Rounds, ROUNDS[ROUNDS.len() - 1].to_string())];
    sweeps
        .into_iter()
        .filter_map(|(sweep, wanted)| {
            let (value, way) = sweep.ways(design).into_iter().find(|(value, _)| *value == wanted)?;
            Some(Check::number(
                format!("with noise the mean KL is below NMF's: {} = {value}, share of NMF's", sweep.name()),
                "paper, figure 4",
                "< 1",
                Some(mean(&final_of(outcomes, way)) / nmf),
                |v| v < 1.0,
            ))
        })
        .collect()
}
