//! The state of a fit of QMF, its epochs, and what is read off at the end.

use std::sync::Mutex;

use ndarray::{Array2, Axis, s};
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::adam::{Adam, Tensor};
use super::super::common::{Nonnegative, by_share, warn_of_the_end};
use super::super::maps::{self, Maps, Quantiles, softmax};
use super::batch::{Room, trail};
use super::{Qmf, QmfFit, Sharing};
use crate::error::Result;
use crate::fit::{Course, Ctx, Draw, Iterate, Seed, Step, Stop};
use crate::linalg::{matmul_alone, settle};
use crate::soft::{Layer, Work};

/// Epochs over which the stop rule looks.
const WINDOW: usize = 50;

pub(super) struct Problem<'a> {
    pub(super) params: &'a Qmf,
    seed: Seed,
    pub(super) layer: Layer,
    /// X, d × n; NaN where an entry is missing.
    pub(super) x: Array2<f64>,
    /// Least and largest measured value of each feature.
    pub(super) ranges: Vec<(f64, f64)>,
    /// Measured entries of each feature.
    pub(super) measured: Vec<usize>,
    /// Row of F and R that each feature uses.
    pub(super) map_of: Vec<usize>,
    /// Group of each feature, counted from 0, and how many there are.
    pub(super) group: (Vec<usize>, usize),
    /// Room of parts that are done, for those to come.
    pub(super) rooms: Mutex<Vec<Room>>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Û, d rows of k.
    pub u: Tensor,
    /// V̂, k rows of n.
    pub v: Tensor,
    pub f: Tensor,
    pub r: Tensor,
    /// Of each feature, [`trail`] numbers: potentials of the last visit (NaN before the first), how much they had moved
    /// since the one before, and the share of that move by which they are expected to go on.
    pub g: Vec<f64>,
    /// Of each feature, what the layer keeps of its Laplacian: m × m numbers, or none if it works to a fine tolerance.
    pub inverse: Vec<f32>,
    /// F̄ and R̄ of each group at the start of the epoch, for `shrink`.
    pub centre: Vec<f64>,
    /// Steps of Adam so far.
    pub step: u32,
    epoch: u32,
    /// First feature of the next batch in the epoch's order.
    next: usize,
    /// Objective times entries, and entries, of this epoch so far.
    sums: (f64, f64),
    /// Order of the features in this epoch; made again where it is empty.
    #[serde(skip)]
    order: Vec<usize>,
}

impl<'a> Problem<'a> {
    pub fn new(params: &'a Qmf, input: &Nonnegative<'_>, seed: Seed) -> Result<Problem<'a>> {
        let x = input.features_by_samples();
        let layer = maps::layer(params.levels, params.epsilon, params.squash, params.accuracy)?;
        let range = |row: ndarray::ArrayView1<'_, f64>| {
            // NaN is passed over by min and max.
            row.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)))
        };
        let ranges: Vec<(f64, f64)> = x.rows().into_iter().map(range).collect();
        let measured = x.rows().into_iter().map(|r| r.iter().filter(|v| !v.is_nan()).count()).collect();
        let group = groups(input.groups, x.nrows());
        let map_of = match params.maps {
            Sharing::Each => (0..x.nrows()).collect(),
            Sharing::Tied => group.0.clone(),
        };
        Ok(Problem { params, seed, layer, x, ranges, measured, map_of, group, rooms: Mutex::default() })
    }

    /// Features without variation.
    pub fn constant(&self) -> Vec<usize> {
        (0..self.ranges.len()).filter(|&i| !self.varies(i)).collect()
    }

    pub(super) fn varies(&self, i: usize) -> bool {
        self.ranges[i].0 < self.ranges[i].1
    }

    /// The state with the given factors and map parameters.
    pub fn state(&self, u: Vec<f64>, v: Vec<f64>, f: Vec<f64>, r: Vec<f64>) -> State {
        let (k, m) = (self.params.k, self.layer.levels());
        let (d, n) = self.x.dim();
        State {
            u: Tensor::new(u, k),
            v: Tensor::new(v, n),
            f: Tensor::new(f, m),
            r: Tensor::new(r, self.params.quantiles.width(m)),
            g: vec![f64::NAN; d * trail(m)],
            inverse: vec![f32::NAN; d * self.remembered()],
            centre: Vec::new(),
            step: 0,
            epoch: 0,
            next: 0,
            sums: (0.0, 0.0),
            order: Vec::new(),
        }
    }

    /// Numbers that the layer keeps of the Laplacian of a feature.
    pub(super) fn remembered(&self) -> usize {
        if self.layer.remembers() { self.layer.levels().pow(2) } else { 0 }
    }

    /// Brings every row to the last step, as `dense` Adam has it.
    fn settle_rows(&self, s: &mut State) {
        let (rule, rate, step) = (self.params.adam, self.params.learning_rate, s.step);
        [&mut s.u, &mut s.f, &mut s.r].into_iter().for_each(|tensor| tensor.catch_up(rule, step, rate));
    }

    /// F̄ and R̄ of each group, for `shrink`.
    fn centres(&self, s: &State) -> Vec<f64> {
        let (m, width) = (s.f.width, s.r.width);
        let mut centre = vec![0.0; self.group.1 * (m + width)];
        let mut count = vec![0.0; self.group.1];
        for i in (0..self.x.nrows()).filter(|&i| self.varies(i)) {
            let of = self.group.0[i];
            count[of] += 1.0;
            let into = &mut centre[of * (m + width)..(of + 1) * (m + width)];
            into.iter_mut().zip(s.f.row(i).iter().chain(s.r.row(i))).for_each(|(c, v)| *c += v);
        }
        for (of, count) in count.iter().enumerate() {
            centre[of * (m + width)..(of + 1) * (m + width)]
                .iter_mut()
                .for_each(|c| *c /= f64::max(*count, 1.0));
        }
        centre
    }

    /// Order of the features in an epoch; with one batch there is nothing to shuffle.
    fn order(&self, epoch: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.x.nrows()).collect();
        if self.batch_size() < order.len() {
            order.shuffle(&mut self.seed.stream(Draw::Shuffle, u64::from(epoch)));
            // Within a batch the order has no meaning.
            order.chunks_mut(self.batch_size()).for_each(<[usize]>::sort_unstable);
        }
        order
    }

    fn batch_size(&self) -> usize {
        match self.params.minibatch {
            0 => self.x.nrows(),
            size => size.min(self.x.nrows()),
        }
    }

    /// The fit from the last state: every row brought up to date and evaluated once more.
    pub fn finish(
        &self,
        course: Course<State>,
        stop: Stop,
        constant: Vec<usize>,
        ctx: &mut Ctx<'_>,
    ) -> Result<QmfFit> {
        let mut s = course.state;
        self.settle_rows(&mut s);
        let (k, m) = (self.params.k, self.layer.levels());
        let (d, n) = self.x.dim();
        let v = self.v(&s);
        let mut loadings = Array2::from_shape_fn((d, k), |(i, l)| s.u.row(i)[l].exp());
        constant.iter().for_each(|&i| loadings.row_mut(i).fill(0.0));
        let rows: Vec<usize> = (0..d).collect();
        let kept = |t: Vec<f64>| if self.params.reconstruction { t } else { Vec::new() };
        type Found = (f64, f64, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, f64);
        let one = |work: &mut Work, &i: &usize| -> Found {
            settle();
            let (mut b, mut q, mut rise) = (vec![0.0; m], vec![0.0; m], vec![0.0; s.r.width]);
            let mut t = vec![0.0; n];
            softmax(s.f.row(self.map_of[i]), &mut b);
            self.params.quantiles.values(s.r.row(self.map_of[i]), self.ranges[i], &mut rise, &mut q);
            if !self.varies(i) {
                q.fill(self.ranges[i].0);
                t.fill(self.ranges[i].0);
                return (0.0, 1.0, b, q, vec![0.0; m], kept(t), 0.0);
            }
            let w: Vec<f64> =
                matmul_alone(loadings.slice(s![i..i + 1, ..]), v.view()).into_raw_vec_and_offset().0;
            let mut g = s.g[i * trail(m)..][..m].to_vec();
            let solved = self.layer.forward(&w, None, &b, &q, &mut g, work, &mut t);
            let loss = t
                .iter()
                .zip(self.x.row(i))
                .filter(|(_, x)| !x.is_nan())
                .map(|(&t, &x)| self.params.loss.of(x, t))
                .sum();
            (solved.location, solved.spread, b, q, g, kept(t), loss)
        };
        let found: Vec<Found> = rows.par_iter().map_init(Work::default, one).collect();
        let mut maps = Maps::new(self.layer.clone(), d);
        let mut table = self.params.reconstruction.then(|| Array2::zeros((n, d)));
        let mut sum = 0.0;
        for (i, (location, spread, b, q, g, t, loss)) in found.into_iter().enumerate() {
            (maps.location[i], maps.spread[i]) = (location, spread);
            maps.weights.row_mut(i).iter_mut().zip(b).for_each(|(to, v)| *to = v);
            maps.quantiles.row_mut(i).iter_mut().zip(q).for_each(|(to, v)| *to = v);
            maps.potentials.row_mut(i).iter_mut().zip(g).for_each(|(to, v)| *to = v);
            if let Some(table) = &mut table {
                table.column_mut(i).iter_mut().zip(t).for_each(|(to, v)| *to = v);
            }
            sum += loss;
        }
        let steps = (self.params.max_steps, "epochs");
        warn_of_the_end("QMF", steps, self.params.tol, stop, ctx);
        let entries: usize = self.measured.iter().sum();
        let order = by_share(loadings.view(), v.view());
        Ok(QmfFit {
            loadings: loadings.select(Axis(1), &order),
            scores: v.select(Axis(0), &order).t().as_standard_layout().into_owned(),
            maps,
            loss: self.params.loss,
            divergence: sum / entries as f64,
            objective: course.objective,
            constant,
            reconstruction: table,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }
}

/// Groups counted from 0; features without a group form one of their own.
fn groups(given: Option<&[Option<u32>]>, features: usize) -> (Vec<usize>, usize) {
    let Some(given) = given else { return (vec![0; features], 1) };
    let mut seen: Vec<Option<u32>> = Vec::new();
    let of = given
        .iter()
        .map(|g| {
            seen.iter().position(|s| s == g).unwrap_or_else(|| {
                seen.push(*g);
                seen.len() - 1
            })
        })
        .collect();
    (of, seen.len())
}

impl Iterate for Problem<'_> {
    type State = State;

    /// Û and V̂ uniform on (−½, ½), F and R zero (free quantiles: evenly over the feature's range).
    fn start(&self, seed: Seed) -> Result<State> {
        let (d, n) = self.x.dim();
        let (k, m) = (self.params.k, self.layer.levels());
        let mut rng = seed.stream(Draw::Init, 0);
        let mut draw = |count: usize| (0..count).map(|_| rng.random::<f64>() - 0.5).collect::<Vec<f64>>();
        let (u, v) = (draw(d * k), draw(k * n));
        let rows = self.map_of.iter().max().map_or(0, |top| top + 1);
        let r = match self.params.quantiles {
            Quantiles::Pinned => vec![0.0; rows * (m - 1)],
            Quantiles::Free => self
                .ranges
                .iter()
                .flat_map(|&(low, high)| {
                    let step = ((high - low) / (m - 1) as f64).max(f64::MIN_POSITIVE);
                    // A first quantile of 0 has no logarithm.
                    let first = low.max(1e-3 * step);
                    (0..m).map(move |j| if j == 0 { first.ln() } else { step.ln() })
                })
                .collect(),
        };
        Ok(self.state(u, v, vec![0.0; rows * m], r))
    }

    /// One batch; the last of an epoch closes it.
    fn step(&self, s: &mut State) -> Result<Step> {
        if s.next == 0 && self.params.shrink > 0.0 && self.params.maps == Sharing::Each {
            // The means need every row at the same step.
            if self.params.adam == Adam::Dense {
                self.settle_rows(s);
            }
            s.centre = self.centres(s);
        }
        let order = match s.order.is_empty() {
            true => self.order(s.epoch),
            false => std::mem::take(&mut s.order),
        };
        let rows = &order[s.next..(s.next + self.batch_size()).min(order.len())];
        let [divergence, penalty, entries] = self.batch(s, rows);
        s.sums.0 += (divergence + penalty) * entries;
        s.sums.1 += entries;
        s.next += rows.len();
        if s.next < order.len() {
            s.order = order;
            return Ok(Step::Part);
        }
        let mean = s.sums.0 / s.sums.1;
        (s.next, s.epoch, s.sums) = (0, s.epoch + 1, (0.0, 0.0));
        Ok(Step::Sweep(mean))
    }

    fn converged(&self, _: &State, tol: f64, objective: &[f64]) -> bool {
        maps::settled(objective, WINDOW, tol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Values};
    use crate::golden::Golden;
    use ndarray::Ix2;

    fn flat(case: &Golden, name: &str) -> Vec<f64> {
        case.array::<Ix2>(name).iter().copied().collect()
    }

    fn square(values: &[f64], width: usize) -> Array2<f64> {
        Array2::from_shape_vec((values.len() / width, width), values.to_vec()).unwrap()
    }

    /// The reference takes rows 0..d/2 and d/2..d in turn, four steps of dense Adam.
    #[test]
    fn four_steps_are_those_of_the_reference() {
        for (name, k, levels, epsilon, rho) in [("small", 3, 4, 0.03, 0.01), ("m8", 4, 8, 0.02, 0.0)] {
            let case = Golden::open(&format!("qmf/{name}"));
            let matrix = Matrix::Dense(case.array::<Ix2>("X").t().as_standard_layout().into_owned());
            let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
            let params = Qmf { k, levels, epsilon, rho, accuracy: 1e-12, ..Qmf::default() };
            let problem = Problem::new(&params, &input, Seed(0)).unwrap();
            let d = problem.x.nrows();
            let n = problem.x.ncols();
            let start = ["U", "V", "F", "R"].map(|name| flat(&case, name));
            let [u, v, f, r] = start.clone();
            let mut s = problem.state(u, v, f, r);
            let all: Vec<usize> = (0..d).collect();
            let losses: Vec<f64> = case.array::<ndarray::Ix1>("adam_losses").to_vec();
            for (step, loss) in losses.iter().enumerate() {
                let rows = if step % 2 == 0 { &all[..d / 2] } else { &all[d / 2..] };
                let [divergence, ..] = problem.batch(&mut s, rows);
                let gap = (divergence - loss).abs();
                assert!(gap < 1e-7 * loss.abs(), "{name} step {step}: {divergence} {loss}");
            }
            problem.settle_rows(&mut s);
            case.assert_close("adam_U", &square(&s.u.values, k), 1e-7);
            case.assert_close("adam_V", &square(&s.v.values, n), 1e-7);
            case.assert_close("adam_F", &square(&s.f.values, levels), 1e-7);
            case.assert_close("adam_R", &square(&s.r.values, levels - 1), 1e-7);
            // Loss and reconstruction at the start.
            let [u, v, f, r] = start;
            let mut first = problem.state(u.clone(), v.clone(), f.clone(), r.clone());
            let [divergence, penalty, _] = problem.batch(&mut first, &all);
            let penalty_there = case.array::<ndarray::Ix0>("loss_reg").into_scalar();
            assert!(
                (penalty - penalty_there).abs() <= 1e-12 * penalty_there,
                "{name}: {penalty} {penalty_there}"
            );
            let kl = case.array::<ndarray::Ix0>("loss_kl").into_scalar();
            assert!((divergence - kl).abs() < 1e-9 * kl, "{name}: {divergence} {kl}");
            let course = Course { state: problem.state(u, v, f, r), objective: Vec::new() };
            let params = Qmf { reconstruction: true, ..params.clone() };
            let problem = Problem::new(&params, &input, Seed(0)).unwrap();
            let mut no = ();
            let fit =
                problem.finish(course, Stop::MaxSteps, Vec::new(), &mut Ctx::new(Seed(0), &mut no)).unwrap();
            case.assert_close("recon", &fit.reconstruction.unwrap().t(), 1e-9);
            case.assert_close("Q", &fit.maps.quantiles, 1e-12);
            case.assert_close("B", &fit.maps.weights, 1e-12);
            let kl = case.array::<ndarray::Ix0>("loss_kl").into_scalar();
            assert!((fit.divergence - kl).abs() < 1e-9 * kl);
        }
    }
}
