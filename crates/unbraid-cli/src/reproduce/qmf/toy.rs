//! Figures 5 and 6: losses of the three methods on data whose features passed unknown increasing maps, and
//! the maps that were found.
//!
//! Of a map the truth is Q*_i, the sorted values of row i: value r of n is the quantile of the levels from
//! (r − 1)/n to r/n. What was learnt is the measure with weights b_ij at q_ij, value q_ij for the levels from
//! b_i1 + … + b_i,j−1 to b_i1 + … + b_ij. Both are drawn and compared as lines through the middles of these
//! steps. The lines through their right ends, (b_i1 + … + b_ij, q_ij), are compared as well: they lie half a
//! step too far to the right, as soft transport gives the value half way from q_ij to q_i,j+1 to a sample at
//! the level b_i1 + … + b_ij.

use rayon::prelude::*;
use unbraid::Seed;
use unbraid::simulate::quantile::{QuantileDesign, QuantileSample};

use super::Design;
use super::fits::{Fitted, Way, along, mean};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Figure, Section, Table};

/// One method on one data set.
struct Outcome {
    seed: u64,
    way: Way,
    course: Vec<f64>,
    divergence: f64,
    /// Distance of the learnt quantile function from the truth, as a share of the feature's range, by feature:
    /// of the line through the middles of the steps, through their right ends, and of the sorted fitted values.
    middles: Vec<f64>,
    ends: Vec<f64>,
    fitted: Vec<f64>,
    /// Of the first data set, the curves of all features: learnt points and sorted fitted values.
    curves: Vec<Curve>,
}

struct Curve {
    learnt: Vec<(f64, f64)>,
    fitted: Vec<f64>,
}

/// The methods at the sizes of the experiment.
pub fn ways(design: &Design) -> [Way; 3] {
    let &Design { k, levels, epochs, outer, inner, .. } = design;
    [
        Way::Nmf { k, rounds: epochs },
        Way::Qmf { k, levels, epochs, batch: 0 },
        Way::Qmfq { k, levels, steps: outer, rounds: inner },
    ]
}

/// The data of a seed.
fn simulated(design: &Design, seed: u64) -> Result<QuantileSample, Fault> {
    let Design { features, samples, k, .. } = *design;
    Ok(QuantileDesign { features, observations: samples, k, ..QuantileDesign::default() }
        .sample(Seed(seed))?)
}

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    (design.seeds * ways(design).len()) as u64
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(design: &Design, run: &Run<'_>) -> Result<Section, Fault> {
    let seeds: Vec<u64> = (0..design.seeds as u64).map(|i| run.seed.0.wrapping_add(i)).collect();
    // The slowest first, so that no thread waits for it in the end.
    let jobs: Vec<(u64, Way)> =
        ways(design).into_iter().rev().flat_map(|way| seeds.iter().map(move |&seed| (seed, way))).collect();
    let outcomes: Vec<Outcome> = jobs
        .par_iter()
        .map(|&(seed, way)| {
            let truth = simulated(design, seed)?;
            let fit = way.fit(truth.x.view(), Seed(seed))?;
            run.progress.done(1, &format!("toy experiment, seed {seed}, {}", way.name()))?;
            Ok(judged(&truth, fit, way, seed, seed == run.seed.0))
        })
        .collect::<Result<_, Fault>>()?;
    let of: Vec<Vec<&Outcome>> =
        ways(design).iter().map(|w| outcomes.iter().filter(|o| o.way == *w).collect()).collect();
    let truth = simulated(design, run.seed.0)?;
    Ok(Section {
        title: "Toy experiment: figures 5 and 6".into(),
        about: about(design),
        figures: vec![losses(&of)?, maps(&of, &truth)?],
        tables: vec![summary(&of), every(&of)],
        checks: checks(&of),
        notes: vec![
            "The paper prints curves only. Beside ours stand the numbers of a prototype in another language, one seed, 1000 \
             rounds or epochs and 300 steps: NMF 1.517, QMF 0.0868, QMFQ 0.180."
                .into(),
        ],
    })
}

fn about(design: &Design) -> Vec<String> {
    let Design { seeds, features, samples, k, levels, .. } = design;
    let typed: Vec<String> = ways(design).map(|w| w.typed()).into();
    vec![
        format!(
            "{seeds} simulated data sets of {features} features and {samples} samples: the order of the samples within a feature \
             is that of a product of rank {k}, the values are the feature's own, cumulative sums of exp(G) with G standard \
             normal. Seed i is `unbraid simulate quantile --seed i`. NMF has to explain the values; QMF and QMFQ learn an \
             increasing map of {levels} quantiles per feature. Losses are means of the KL divergence over all entries."
        ),
        format!("As typed after `unbraid fit`: {}.", typed.join("; ")),
    ]
}

fn judged(truth: &QuantileSample, fit: Fitted, way: Way, seed: u64, first: bool) -> Outcome {
    let (d, n) = truth.x.dim();
    let mut out = Outcome {
        seed,
        way,
        divergence: fit.divergence,
        middles: Vec::new(),
        ends: Vec::new(),
        fitted: Vec::new(),
        curves: Vec::new(),
        course: Vec::new(),
    };
    for i in 0..d {
        let wanted: Vec<f64> = truth.quantiles.row(i).to_vec();
        let mut fitted = fit.row(i);
        fitted.sort_by(f64::total_cmp);
        let range = wanted[n - 1] - wanted[0];
        let off = |of: &dyn Fn(usize) -> f64| {
            (0..n).map(|r| (of(r) - wanted[r]).abs()).sum::<f64>() / (n as f64 * range)
        };
        out.fitted.push(off(&|r| fitted[r]));
        let mut learnt = Vec::new();
        if let Some(maps) = &fit.model.maps {
            let mut level = 0.0;
            let mut right = Vec::new();
            for (b, q) in maps.weights.row(i).iter().zip(maps.quantiles.row(i)) {
                learnt.push((level + 0.5 * b, *q));
                level += b;
                right.push((level, *q));
            }
            out.middles.push(off(&|r| interpolated(&learnt, (r as f64 + 0.5) / n as f64)));
            out.ends.push(off(&|r| interpolated(&right, (r + 1) as f64 / n as f64)));
        }
        if first {
            out.curves.push(Curve { learnt, fitted });
        }
    }
    out.course = fit.course;
    out
}

/// The line through rising points at `x`, level outside them.
fn interpolated(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|p| p.0 < x);
    match (after.checked_sub(1).and_then(|i| points.get(i)), points.get(after)) {
        (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0),
        (Some(a), None) => a.1,
        (None, Some(b)) => b.1,
        (None, None) => f64::NAN,
    }
}

fn losses(of: &[Vec<&Outcome>]) -> Result<Figure, Fault> {
    let mut values = Vec::new();
    let mut longest = 1;
    let series: Vec<Series> = of
        .iter()
        .map(|all| {
            let (way, courses) = (all[0].way, all.iter().map(|o| &o.course).collect::<Vec<_>>());
            let along = along(&courses);
            longest = longest.max(along.len());
            values.extend(along.iter().flatten().copied());
            let at = |i: usize| (i + 1) as f64;
            let band = along.iter().enumerate().map(|(i, v)| (at(i), v[1].log10(), v[2].log10()));
            let line = along.iter().enumerate().map(|(i, v)| (at(i), v[0].log10()));
            let marks = vec![Mark::Band(band.collect()), Mark::Line(line.collect())];
            Series { name: way.name().into(), tint: way.tint(), marks }
        })
        .collect();
    let panel = Panel {
        title: String::new(),
        x: Axis::numbers("rounds of NMF, epochs of QMF, steps of QMFQ", 0.0..longest as f64),
        y: Axis::decades("mean KL divergence", values),
        series,
    };
    Ok(Figure {
        file: "figure5.svg".into(),
        title: "Figure 5: losses".into(),
        caption: format!(
            "Lines: means over {} data sets; bands: from the smallest to the largest of them. Logarithmic scale.",
            of[0].len()
        ),
        svg: figure::draw(&[panel], Names::Ends, 420)?,
    })
}

/// Features at three places of the order by how well QMF found their maps.
fn maps(of: &[Vec<&Outcome>], truth: &QuantileSample) -> Result<Figure, Fault> {
    let first: Vec<&Outcome> =
        of.iter().filter_map(|all| all.iter().find(|o| !o.curves.is_empty()).copied()).collect();
    let (d, n) = truth.x.dim();
    let mut order: Vec<usize> = (0..d).collect();
    if let Some(qmf) = first.iter().find(|o| matches!(o.way, Way::Qmf { .. })) {
        order.sort_by(|&a, &b| qmf.middles[a].total_cmp(&qmf.middles[b]));
    }
    let panels: Vec<Panel> = [0.1, 0.5, 0.9]
        .into_iter()
        .map(|share| {
            let i = order[(share * (d - 1) as f64).round() as usize];
            let level = |r: usize| (r as f64 + 0.5) / n as f64;
            let by_level = |v: &[f64]| v.iter().enumerate().map(|(r, v)| (level(r), *v)).collect::<Vec<_>>();
            let wanted = by_level(&truth.quantiles.row(i).to_vec());
            let mut series = vec![Series {
                name: "truth".into(),
                tint: figure::GREY,
                marks: vec![Mark::Dots(wanted, false)],
            }];
            for o in &first {
                let Curve { learnt, fitted } = &o.curves[i];
                let marks = match learnt.is_empty() {
                    true => vec![Mark::Dashes(by_level(fitted))],
                    false => vec![Mark::Line(learnt.clone()), Mark::Dots(learnt.clone(), true)],
                };
                series.push(Series { name: o.way.name().into(), tint: o.way.tint(), marks });
            }
            let values = series.iter().flat_map(|s| &s.marks).flat_map(|m| match m {
                Mark::Dots(p, _) | Mark::Line(p) | Mark::Dashes(p) => p.iter().map(|p| p.1).collect(),
                _ => Vec::new(),
            });
            Panel {
                title: format!("feature {i}"),
                x: Axis::numbers("level", 0.0..1.0),
                y: Axis::around("value", values),
                series,
            }
        })
        .collect();
    Ok(Figure {
        file: "figure6.svg".into(),
        title: "Figure 6: true and learnt quantile functions".into(),
        caption: "First data set; features at the 10th, 50th and 90th percentile of the distance that QMF has from the truth. \
                  Rings: the true values. Lines with points: learnt quantiles at the middles of their weights. Dashes: sorted \
                  fitted values of NMF."
            .into(),
        svg: figure::draw(&panels, Names::Above, 420)?,
    })
}

/// Mean over data sets of a mean over features.
fn over(all: &[&Outcome], of: impl Fn(&Outcome) -> &Vec<f64>) -> Option<f64> {
    all.iter().all(|o| !of(o).is_empty()).then(|| mean(&all.iter().map(|o| mean(of(o))).collect::<Vec<_>>()))
}

/// NMF's divergence over that of another method on the same data: the least and the mean's.
fn ratios(of: &[Vec<&Outcome>], method: usize) -> (f64, f64) {
    let final_of = |m: usize| of[m].iter().map(|o| o.divergence).collect::<Vec<f64>>();
    let (nmf, other) = (final_of(0), final_of(method));
    let least = nmf.iter().zip(&other).map(|(a, b)| a / b).fold(f64::INFINITY, f64::min);
    (least, mean(&nmf) / mean(&other))
}

fn summary(of: &[Vec<&Outcome>]) -> Table {
    let columns = [
        "method",
        "data sets",
        "KL",
        "smallest",
        "largest",
        "NMF / method",
        "least",
        "curve off",
        "ends off",
        "fitted off",
    ];
    let caption = "KL at the end, the mean, smallest and largest over data sets; how many times NMF's it is, by means and at \
                   least. Then the mean distance from the true quantile functions as a share of a feature's range: of the learnt \
                   line through the middles of the weights, through their right ends, and of the sorted fitted values.";
    let mut table = Table::new("toy.csv", caption, &columns);
    for (method, all) in of.iter().enumerate() {
        let final_of: Vec<f64> = all.iter().map(|o| o.divergence).collect();
        let (least, ratio) = ratios(of, method);
        table.rows.push(cells![
            all[0].way.name(),
            all.len(),
            mean(&final_of),
            final_of.iter().copied().fold(f64::INFINITY, f64::min),
            final_of.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ratio,
            least,
            over(all, |o| &o.middles),
            over(all, |o| &o.ends),
            over(all, |o| &o.fitted)
        ]);
    }
    table
}

fn every(of: &[Vec<&Outcome>]) -> Table {
    let columns = ["seed", "method", "kl", "curve_off", "ends_off", "fitted_off"];
    let mut table = Table::new("toy_runs.csv", "Every fit.", &columns);
    for o in of.iter().flatten() {
        let one = |v: &[f64]| (!v.is_empty()).then(|| mean(v));
        table.rows.push(cells![
            o.seed as usize,
            o.way.name(),
            o.divergence,
            one(&o.middles),
            one(&o.ends),
            one(&o.fitted)
        ]);
    }
    table
}

fn checks(of: &[Vec<&Outcome>]) -> Vec<Check> {
    let aim = "aim of this program";
    let mut out = Vec::new();
    for (method, times) in [(1, 10.0), (2, 5.0)] {
        let name = of[method][0].way.name();
        out.push(Check::number(
            format!("the final KL of {name} is at least {times} times below NMF's (means over data sets)"),
            aim,
            format!("≥ {times}"),
            Some(ratios(of, method).1),
            move |v| v >= times,
        ));
        out.push(Check::number(
            format!("the quantile functions that {name} learnt are within 5 % of the range of the true ones"),
            aim,
            "< 0.05",
            over(&of[method], |o| &o.middles),
            |v| v < 0.05,
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_level_outside_their_points() {
        let points = [(0.2, 1.0), (0.4, 3.0), (0.8, 3.0)];
        let at = |x| interpolated(&points, x);
        assert_eq!((at(0.0), at(0.2), at(0.8), at(1.0)), (1.0, 1.0, 3.0, 3.0));
        assert!((at(0.3) - 2.0).abs() < 1e-12);
        assert!(interpolated(&[], 0.5).is_nan());
    }
}
