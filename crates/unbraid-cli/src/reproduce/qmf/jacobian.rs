//! Figure 2: the time that the transposed Jacobian of the soft quantiles takes, and that of an epoch of QMF.
//!
//! One row of n values is normalised to m = 10 quantiles at ε = 0.01 and a cotangent is taken back to the
//! values and the weights, in three ways:
//!
//! | way | forward | back |
//! |-----|---------|------|
//! | this program | Newton's method on the m potentials, to 1e-8 | closed form |
//! | Algorithm 2 | Sinkhorn's sweeps as released, to 1e-2 | the paper's Algorithm 2 |
//! | unrolled | the same sweeps | the sweeps one by one, from the last |
//!
//! Times are those of this machine on one thread; nothing else here depends on it.

use std::time::Instant;

use ndarray::{Array1, Array2};
use unbraid::Seed;
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Draw, Flow, Method, Observer, Step};
use unbraid::methods::factor::common::Nonnegative;
use unbraid::methods::factor::qmf::Qmf;
use unbraid::simulate::quantile::QuantileDesign;
use unbraid::soft::sinkhorn::{self, Schedule};
use unbraid::soft::{Layer, Squash, Work};
use unbraid::stats::summary::{median, quantile};

use super::fits::{EPSILON, RATE};
use super::{Design, unrolled};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Figure, Section, Table};

/// Quantiles of the paper's figure.
const LEVELS: usize = 10;
/// Names of the ways.
const WAYS: [&str; 3] = ["this program", "Sinkhorn and Algorithm 2", "Sinkhorn, unrolled"];

/// Values per row.
fn lengths(design: &Design) -> Vec<usize> {
    std::iter::successors(Some(64), |n| Some(2 * n)).take_while(|&n| n <= design.longest).collect()
}

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    lengths(design).len() as u64 + 1
}

/// One length: seconds of each way, and how far the others' x̄ is from ours.
struct Timed {
    n: usize,
    seconds: [Vec<f64>; 3],
    sweeps: f64,
    apart: f64,
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(design: &Design, run: &Run<'_>) -> Result<Section, Fault> {
    // Alone on one thread, whatever --threads says.
    let pool = crate::fit::pool(Some(1))?;
    let mut all = Vec::new();
    for n in lengths(design) {
        all.push(pool.install(|| timed(n, design.averages, run.seed))?);
        run.progress.done(1, &format!("Jacobian of {n} values"))?;
    }
    let epochs = pool.install(|| epoch_seconds(design, run.seed))?;
    run.progress.done(1, "an epoch of QMF")?;
    let mut epoch = Table::new(
        "epoch.csv",
        "Milliseconds of a full-batch epoch of QMF on one thread, toy experiment; the median and the 10th and 90th percentile.",
        &["features", "samples", "quantiles", "epochs", "median", "10 %", "90 %"],
    );
    let at = |q| quantile(&epochs, q).map(|s| 1e3 * s);
    epoch.rows.push(cells![
        design.features,
        design.samples,
        design.levels,
        epochs.len(),
        at(0.5),
        at(0.1),
        at(0.9)
    ]);
    Ok(Section {
        title: "Jacobians: figure 2".into(),
        about: vec![format!(
            "Seconds for the soft quantiles of one row of n logistic values, standardised and squashed, at {LEVELS} quantiles, ε = {EPSILON}, and the \
             cotangents of its values and weights; medians over {} rows, one thread. Sinkhorn's iteration stops as in the authors' \
             code, at an error of 1e-2 of the column sums; this program goes to 1e-8.",
            design.averages
        )],
        figures: vec![times(&all)?],
        tables: vec![table(&all), epoch],
        checks: checks(&all, &epochs),
        notes: vec![
            "Times depend on the machine and on what else runs on it: they are not the same in another run. Both Sinkhorn ways are \
             plain loops of this program, not a library for automatic differentiation."
                .into(),
        ],
    })
}

fn timed(n: usize, rows: usize, seed: Seed) -> Result<Timed, Fault> {
    // The rows are squashed beforehand: Sinkhorn's iteration starts from x.
    let layer = Layer::new(LEVELS, EPSILON, Squash::None)?;
    let y = layer.targets().to_vec();
    let (a, b) = (vec![1.0 / n as f64; n], vec![1.0 / LEVELS as f64; LEVELS]);
    let q: Vec<f64> = (0..LEVELS).map(|j| (j as f64).powi(2)).collect();
    let mut out = Timed { n, seconds: Default::default(), sweeps: 0.0, apart: 0.0 };
    let mut work = Work::default();
    for row in 0..rows {
        let seed = seed.child(Draw::Simulate, (n * rows + row) as u64);
        // In (0, 1), the ends left out.
        let uniform =
            |i: usize| ((seed.child(Draw::Latent, i as u64).0 >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
        let w: Vec<f64> = (0..n).map(uniform).map(|u| (u / (1.0 - u)).ln()).collect();
        let cot: Vec<f64> = (n..2 * n).map(|i| uniform(i) - 0.5).collect();
        let x = squashed(&w);
        let (mut t, mut g) = (vec![0.0; n], vec![f64::NAN; LEVELS]);
        let (mut dx, mut db, mut dq) = (vec![0.0; n], vec![0.0; LEVELS], vec![0.0; LEVELS]);
        let begun = Instant::now();
        layer.forward(&x, None, &b, &q, &mut g, &mut work, &mut t);
        layer.backward(&x, None, &q, &cot, &mut work, Some(&mut dx), &mut db, &mut dq);
        out.seconds[0].push(begun.elapsed().as_secs_f64());

        // H_ij = t_i q_j / a_i
        let h = Array2::from_shape_fn((n, LEVELS), |(i, j)| cot[i] * q[j] / a[i]);
        let begun = Instant::now();
        let solved = sinkhorn::solve(&x, &y, &a, &b, EPSILON, Schedule::RELEASED);
        let (closed, _) = sinkhorn::pull(&x, &y, EPSILON, solved.plan.view(), h.view());
        out.seconds[1].push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let kept = unrolled::solve(&x, &y, &a, &b, EPSILON, Schedule::RELEASED);
        let (back, _) = kept.pull(&x, &y, &b, h.view());
        out.seconds[2].push(begun.elapsed().as_secs_f64());
        out.sweeps += kept.len() as f64 / rows as f64;
        for other in [closed, back] {
            out.apart = out.apart.max(apart(&dx, &other));
        }
    }
    Ok(out)
}

/// Largest difference over the largest entry.
fn apart(ours: &[f64], other: &Array1<f64>) -> f64 {
    let top = |v: f64, m: f64| m.max(v.abs());
    let scale = ours.iter().fold(0.0, |m, v| top(*v, m));
    ours.iter().zip(other).fold(0.0, |m, (a, b)| top(a - b, m)) / scale
}

/// Logistic of the standardised values.
fn squashed(w: &[f64]) -> Vec<f64> {
    let n = w.len() as f64;
    let mu = w.iter().sum::<f64>() / n;
    let sigma = (w.iter().map(|v| (v - mu).powi(2)).sum::<f64>() / n).sqrt();
    let rate = std::f64::consts::PI / 3f64.sqrt();
    w.iter().map(|v| 1.0 / (1.0 + (-rate * (v - mu) / sigma).exp())).collect()
}

/// Notes when each epoch ends.
struct Clock(Vec<Instant>);

impl Observer for Clock {
    fn step(&mut self, at: Step, _: usize, _: usize) -> Flow {
        if let Step::Sweep(_) = at {
            self.0.push(Instant::now());
        }
        match crate::watch::interrupted() {
            true => Flow::Stop,
            false => Flow::Continue,
        }
    }
}

/// Seconds of the epochs of QMF on the toy data.
fn epoch_seconds(design: &Design, seed: Seed) -> Result<Vec<f64>, Fault> {
    let Design { features, samples, k, levels, epochs, .. } = *design;
    let x =
        QuantileDesign { features, observations: samples, k, ..QuantileDesign::default() }.sample(seed)?.x;
    let matrix = Matrix::Dense(x.t().as_standard_layout().into_owned());
    let input = Nonnegative::new(Values { what: "simulated data", matrix: &matrix });
    let mut clock = Clock(Vec::new());
    let max_steps = epochs.clamp(2, 300);
    let method =
        Qmf { k, levels, epsilon: EPSILON, learning_rate: RATE, max_steps, tol: 0.0, ..Qmf::default() };
    method.fit(input, &mut Ctx::new(seed, &mut clock))?;
    Ok(clock.0.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect())
}

fn times(all: &[Timed]) -> Result<Figure, Fault> {
    let middle = |way: usize| all.iter().filter_map(move |t| Some((t.n, median(&t.seconds[way])?)));
    let series = WAYS.iter().enumerate().map(|(way, name)| {
        let points: Vec<(f64, f64)> =
            middle(way).map(|(n, s)| ((n as f64).log10(), (1e3 * s).log10())).collect();
        Series {
            name: (*name).into(),
            tint: way,
            marks: vec![Mark::Line(points.clone()), Mark::Dots(points, true)],
        }
    });
    let panel = Panel {
        title: String::new(),
        x: Axis::decades("values per row", all.iter().map(|t| t.n as f64)),
        y: Axis::decades(
            "milliseconds",
            (0..WAYS.len()).flat_map(|w| middle(w).map(|p| 1e3 * p.1).collect::<Vec<_>>()),
        ),
        series: series.collect(),
    };
    Ok(Figure {
        file: "figure2.svg".into(),
        title: "Figure 2: time of the Jacobian".into(),
        caption: "Forward and back, one row, one thread. Both axes are logarithmic. Times of this machine."
            .into(),
        svg: figure::draw(&[panel], Names::Ends, 420)?,
    })
}

fn table(all: &[Timed]) -> Table {
    let columns = [
        "values",
        WAYS[0],
        WAYS[1],
        WAYS[2],
        "Algorithm 2 / this program",
        "unrolled / this program",
        "sweeps",
        "apart",
    ];
    let caption = "Milliseconds by way; how many times this program's; mean number of Sinkhorn sweeps; largest difference of x̄ from \
                   this program's, as a share of its largest entry, which comes from where the sweeps stop.";
    let mut table = Table::new("jacobian.csv", caption, &columns);
    for t in all {
        let of = |way: usize| median(&t.seconds[way]).map(|s| 1e3 * s);
        let times = |way: usize| Some(of(way)? / of(0)?);
        table.rows.push(cells![t.n, of(0), of(1), of(2), times(1), times(2), t.sweeps, t.apart]);
    }
    table
}

fn checks(all: &[Timed], epochs: &[f64]) -> Vec<Check> {
    let least = |way: usize| {
        let times = all.iter().filter_map(|t| Some(median(&t.seconds[way])? / median(&t.seconds[0])?));
        times.fold(f64::INFINITY, f64::min)
    };
    vec![
        Check::number(
            "the closed form of this program is faster than unrolled sweeps at every length (least ratio)",
            "paper, figure 2",
            "> 1",
            Some(least(2)),
            |v| v > 1.0,
        ),
        Check::number(
            "an epoch of QMF on the toy data takes less than a millisecond on one thread (median, ms)",
            "aim of this program",
            "< 1",
            median(epochs).map(|s| 1e3 * s),
            |v| v < 1.0,
        ),
    ]
}
