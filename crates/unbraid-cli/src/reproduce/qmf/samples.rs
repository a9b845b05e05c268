//! New samples: the methods fitted on some samples of the toy experiment, and applied to others of the same
//! simulation.
//!
//! All samples are simulated together, since a value says which rank its sample has among all of them; the
//! first `samples` are fitted, the others, `held`, are new. For a new sample NMF keeps U and finds v; QMFQ maps
//! the sample, finds v, and maps back; QMF finds v behind its maps. The mean of each feature over the fitted
//! samples is the answer of no method at all.

use ndarray::{Axis, s};
use rayon::prelude::*;
use unbraid::Seed;
use unbraid::methods::factor::common::Loss;
use unbraid::simulate::quantile::QuantileDesign;

use super::Design;
use super::fits::{Way, mean};
use super::toy::ways;
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis as Scale, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Figure, Section, Table};

/// One method on one data set.
struct Outcome {
    seed: u64,
    name: &'static str,
    tint: usize,
    /// KL of the fitted samples and of the new ones.
    fitted: f64,
    new: f64,
}

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    (design.seeds * 3) as u64
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(design: &Design, run: &Run<'_>) -> Result<Section, Fault> {
    let jobs: Vec<(u64, Way)> = ways(design)
        .into_iter()
        .rev()
        .flat_map(|way| (0..design.seeds as u64).map(move |i| (run.seed.0.wrapping_add(i), way)))
        .collect();
    let mut outcomes: Vec<Outcome> = jobs
        .par_iter()
        .map(|&(seed, way)| {
            let out = outcome(design, seed, Some(way))?;
            run.progress.done(1, &format!("new samples, seed {seed}, {}", way.name()))?;
            Ok(out)
        })
        .collect::<Result<_, Fault>>()?;
    for i in 0..design.seeds as u64 {
        outcomes.push(outcome(design, run.seed.0.wrapping_add(i), None)?);
    }
    let names = ["QMFQ", "QMF", "NMF", MEANS];
    let of = |name: &str| outcomes.iter().filter(|o| o.name == name).collect::<Vec<_>>();
    let all = names.map(of);
    let Design { samples, held, seeds, .. } = design;
    Ok(Section {
        title: "New samples".into(),
        about: vec![format!(
            "{seeds} simulations of {} samples; each method is fitted on the first {samples} as in the toy experiment and \
             applied to the other {held}. NMF keeps its loadings and finds scores; QMFQ maps a sample to the learnt scale, finds \
             scores there and maps back; QMF finds scores behind its maps.",
            samples + held
        )],
        figures: vec![strips(&all)?],
        tables: vec![summary(&all), every(&outcomes)],
        checks: checks(&all),
        notes: vec![
            "The paper has no such experiment. A prototype in another language (one seed, QMFQ after 150 steps) has .255 on the \
             fitted and .561 on the new samples, NMF 2.343 and row means 16.8 on the new ones."
                .into(),
        ],
    })
}

const MEANS: &str = "feature means";

fn outcome(design: &Design, seed: u64, way: Option<Way>) -> Result<Outcome, Fault> {
    let Design { features, samples, held, k, .. } = *design;
    let whole = QuantileDesign { features, observations: samples + held, k, ..QuantileDesign::default() };
    let x = whole.sample(Seed(seed))?.x;
    let (train, test) = (x.slice(s![.., ..samples]), x.slice(s![.., samples..]));
    let Some(way) = way else {
        let means = train.sum_axis(Axis(1)) / samples as f64;
        let loss = |part: ndarray::ArrayView2<'_, f64>| {
            part.indexed_iter().map(|((i, _), v)| Loss::Kl.of(*v, means[i])).sum::<f64>() / part.len() as f64
        };
        return Ok(Outcome { seed, name: MEANS, tint: figure::GREY, fitted: loss(train), new: loss(test) });
    };
    let fit = way.fit(train, Seed(seed))?;
    let new = fit.model.transform(test)?.divergence;
    Ok(Outcome { seed, name: way.name(), tint: way.tint(), fitted: fit.divergence, new })
}

fn strips(all: &[Vec<&Outcome>; 4]) -> Result<Figure, Fault> {
    let series = all.iter().rev().enumerate().filter(|(_, of)| !of.is_empty()).map(|(y, of)| {
        let dots = of
            .iter()
            .enumerate()
            .map(|(i, o)| (o.new.log10(), y as f64 + 0.06 * (i as f64 - 0.5 * (of.len() - 1) as f64)));
        let values: Vec<f64> = of.iter().map(|o| o.new).collect();
        let m = mean(&values).log10();
        let marks = vec![Mark::Dots(dots.collect(), false), Mark::Interval(vec![(m, m, m, y as f64)])];
        Series { name: of[0].name.into(), tint: of[0].tint, marks }
    });
    let names = all.iter().rev().map(|of| of.first().map_or("", |o| o.name).to_owned()).collect();
    let panel = Panel {
        title: String::new(),
        x: Scale::decades("mean KL divergence of new samples", all.iter().flatten().map(|o| o.new)),
        y: Scale::names("", names),
        series: series.collect(),
    };
    Ok(Figure {
        file: "new_samples.svg".into(),
        title: "New samples".into(),
        caption: "Rings: simulations. Points: their means. Logarithmic scale.".into(),
        svg: figure::draw(&[panel], Names::None, 290)?,
    })
}

fn new_of(all: &[&Outcome]) -> Vec<f64> {
    all.iter().map(|o| o.new).collect()
}

fn summary(all: &[Vec<&Outcome>; 4]) -> Table {
    let columns = ["method", "data sets", "KL, fitted", "KL, new", "smallest", "largest"];
    let caption = "KL of the fitted and of the new samples, means over data sets; the smallest and the largest of the new ones.";
    let mut table = Table::new("new_samples.csv", caption, &columns);
    for of in all {
        let new = new_of(of);
        table.rows.push(cells![
            of.first().map_or("", |o| o.name),
            of.len(),
            mean(&of.iter().map(|o| o.fitted).collect::<Vec<_>>()),
            mean(&new),
            new.iter().copied().fold(f64::INFINITY, f64::min),
            new.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        ]);
    }
    table
}

fn every(outcomes: &[Outcome]) -> Table {
    let mut table =
        Table::new("new_samples_runs.csv", "Every fit.", &["seed", "method", "kl_fitted", "kl_new"]);
    table.rows = outcomes.iter().map(|o| cells![o.seed as usize, o.name, o.fitted, o.new]).collect();
    table
}

fn checks(all: &[Vec<&Outcome>; 4]) -> Vec<Check> {
    let (qmfq, nmf) = (mean(&new_of(&all[0])), mean(&new_of(&all[2])));
    let aim = "aim of this program";
    vec![
        Check::number("the mean KL of QMFQ on new samples is at most 0.8", aim, "≤ 0.8", Some(qmfq), |v| {
            v <= 0.8
        }),
        Check::number(
            "on new samples the mean KL of QMFQ is at most a third of NMF's with its loadings kept",
            aim,
            "≤ 0.3333",
            Some(qmfq / nmf),
            |v| v <= 1.0 / 3.0,
        ),
    ]
}
