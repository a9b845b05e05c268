//! The objective of QMF and its gradient, row by row in one pass: U V → squash → transport → loss, and back.

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::adam::{Adam, Tensor};
use super::super::common::{Nonnegative, by_share, warn_of_the_end};
use super::super::maps::{self, Maps, Quantiles, softmax, softmax_adjoint};
use super::{Qmf, QmfFit, Sharing};
use crate::error::Result;
use crate::fit::{Course, Ctx, Draw, Iterate, Seed, Step, Stop};
use crate::linalg::{matmul_alone, settle};
use crate::soft::{Layer, Work};

/// Most parts a batch is cut into; sums of the parts are added in order, so that results do not depend on threads.
const PARTS: usize = 16;
/// Epochs over which the stop rule looks.
const WINDOW: usize = 50;

pub(super) struct Problem<'a> {
    params: &'a Qmf,
    seed: Seed,
    layer: Layer,
    /// X, d × n; NaN where an entry is missing.
    x: Array2<f64>,
    /// Least and largest measured value of each feature.
    ranges: Vec<(f64, f64)>,
    /// Measured entries of each feature.
    measured: Vec<usize>,
    /// Row of F and R that each feature uses.
    map_of: Vec<usize>,
    /// Group of each feature, counted from 0, and how many there are.
    group: (Vec<usize>, usize),
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Û, d rows of k.
    pub u: Tensor,
    /// V̂, one row of k · n.
    pub v: Tensor,
    pub f: Tensor,
    pub r: Tensor,
    /// Potentials of the last visit, d rows of m; NaN before the first.
    g: Vec<f64>,
    /// F̄ and R̄ of each group at the start of the epoch, for `shrink`.
    centre: Vec<f64>,
    /// Steps of Adam so far.
    step: u32,
    epoch: u32,
    /// First feature of the next batch in the epoch's order.
    next: usize,
    /// Objective times entries, and entries, of this epoch so far.
    sums: (f64, f64),
    /// Order of the features in this epoch; made again where it is empty.
    #[serde(skip)]
    order: Vec<usize>,
}

/// What one part of a batch gives.
struct Part {
    loss: f64,
    dv: Array2<f64>,
    /// Rows of Ū, F̄, R̄ and the new potentials.
    du: Array2<f64>,
    df: Vec<f64>,
    dr: Vec<f64>,
    g: Vec<f64>,
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
        Ok(Problem { params, seed, layer, x, ranges, measured, map_of, group })
    }

    /// Features without variation.
    pub fn constant(&self) -> Vec<usize> {
        (0..self.ranges.len()).filter(|&i| !self.varies(i)).collect()
    }

    fn varies(&self, i: usize) -> bool {
        self.ranges[i].0 < self.ranges[i].1
    }

    /// The state with the given factors and map parameters.
    pub fn state(&self, u: Vec<f64>, v: Vec<f64>, f: Vec<f64>, r: Vec<f64>) -> State {
        let (k, m) = (self.params.k, self.layer.levels());
        let (d, n) = self.x.dim();
        State {
            u: Tensor::new(u, k),
            v: Tensor::new(v, k * n),
            f: Tensor::new(f, m),
            r: Tensor::new(r, self.params.quantiles.width(m)),
            g: vec![f64::NAN; d * m],
            centre: Vec::new(),
            step: 0,
            epoch: 0,
            next: 0,
            sums: (0.0, 0.0),
            order: Vec::new(),
        }
    }

    /// Loss, gradients and potentials of some features; the loss is summed, gradients are of `scale` times the sum.
    fn part(&self, s: &State, v: ArrayView2<'_, f64>, rows: &[usize], scale: f64, work: &mut Work) -> Part {
        settle();
        let (k, n, m) = (self.params.k, self.x.ncols(), self.layer.levels());
        let width = self.params.quantiles.width(m);
        let u = Array2::from_shape_fn((rows.len(), k), |(at, l)| s.u.row(rows[at])[l].exp());
        // Z = U V
        let z = matmul_alone(u.view(), v);
        let mut dz = Array2::zeros((rows.len(), n));
        let mut out = Part {
            loss: 0.0,
            dv: Array2::zeros((0, 0)),
            du: Array2::zeros((0, 0)),
            df: vec![0.0; rows.len() * m],
            dr: vec![0.0; rows.len() * width],
            g: vec![0.0; rows.len() * m],
        };
        let (mut b, mut q, mut t, mut cot) = (vec![0.0; m], vec![0.0; m], vec![0.0; n], vec![0.0; n]);
        let (mut db, mut dq, mut w, mut dw) = (vec![0.0; m], vec![0.0; m], vec![0.0; n], vec![0.0; n]);
        for (at, &i) in rows.iter().enumerate() {
            let g = &mut out.g[at * m..(at + 1) * m];
            g.copy_from_slice(&s.g[i * m..(i + 1) * m]);
            if !self.varies(i) {
                continue;
            }
            let (f, r) = (s.f.row(self.map_of[i]), s.r.row(self.map_of[i]));
            softmax(f, &mut b);
            self.params.quantiles.values(r, self.ranges[i], &mut q);
            z.row(at).iter().zip(&mut w).for_each(|(z, w)| *w = *z);
            // T_i = T_{b,q}(squash(Z_i))
            self.layer.forward(&w, None, &b, &q, g, work, &mut t);
            let loss = self.params.loss;
            let mut sum = 0.0;
            for ((c, &t), &x) in cot.iter_mut().zip(&t).zip(self.x.row(i)) {
                (*c, sum) = match x.is_nan() {
                    true => (0.0, sum),
                    false => (scale * loss.slope(x, t), sum + loss.of(x, t)),
                };
            }
            out.loss += sum;
            self.layer.backward(&w, None, &q, &cot, work, Some(&mut dw), &mut db, &mut dq);
            dz.row_mut(at).iter_mut().zip(&dw).for_each(|(z, w)| *z = *w);
            softmax_adjoint(&b, &db, &mut out.df[at * m..(at + 1) * m]);
            self.params.quantiles.adjoint(r, self.ranges[i], &dq, &mut out.dr[at * width..(at + 1) * width]);
        }
        // Ū = Z̄ Vᵀ ∘ U,  V̄ = Uᵀ Z̄
        out.du = matmul_alone(dz.view(), v.t()) * &u;
        out.dv = matmul_alone(u.t(), dz.view());
        out
    }

    /// One step of Adam on a batch of features; mean divergence and penalty before it, and the number of measured entries.
    pub fn batch(&self, s: &mut State, rows: &[usize]) -> [f64; 3] {
        let p = self.params;
        let (k, n, m) = (p.k, self.x.ncols(), self.layer.levels());
        let (rule, rate, before) = (p.adam, p.learning_rate, s.step);
        for &i in rows {
            s.u.catch_up(rule, i, before, rate);
            s.f.catch_up(rule, self.map_of[i], before, rate);
            s.r.catch_up(rule, self.map_of[i], before, rate);
        }
        let entries: usize = rows.iter().map(|&i| self.measured[i]).sum();
        let scale = 1.0 / entries.max(1) as f64;
        let v = Array2::from_shape_fn((k, n), |(l, j)| s.v.values[l * n + j].exp());
        let size = rows.len().div_ceil(PARTS).max(1);
        let parts: Vec<Part> = rows
            .par_chunks(size)
            .map_init(Work::default, |work, rows| self.part(s, v.view(), rows, scale, work))
            .collect();
        s.step += 1;
        let divergence = scale * parts.iter().map(|p| p.loss).sum::<f64>();
        // V̂: the sum of the parts, in order.
        let mut dv = Array2::<f64>::zeros((k, n));
        parts.iter().for_each(|part| dv += &part.dv);
        let each = 1.0 / (k * n) as f64;
        let mut square = 0.0;
        for ((g, v), log) in dv.iter_mut().zip(&v).zip(&s.v.values) {
            *g = *g * v + p.rho * each * log;
            square += log * log;
        }
        let mut penalty = 0.5 * p.rho * each * square;
        let width = s.r.width;
        let mut tied = (p.maps == Sharing::Tied).then(|| vec![vec![0.0; m + width]; self.group.1]);
        let each = 1.0 / (rows.len() * k) as f64;
        let pull = p.shrink / (rows.len() * (m + width)) as f64;
        for (part, rows) in parts.into_iter().zip(rows.chunks(size)) {
            let Part { mut du, mut df, mut dr, g, .. } = part;
            for (at, &i) in rows.iter().enumerate() {
                s.g[i * m..(i + 1) * m].copy_from_slice(&g[at * m..(at + 1) * m]);
                if p.rho > 0.0 {
                    let log = s.u.row(i);
                    penalty += 0.5 * p.rho * each * log.iter().map(|l| l * l).sum::<f64>();
                    du.row_mut(at).iter_mut().zip(log).for_each(|(g, l)| *g += p.rho * each * l);
                }
                let (df, dr) = (&mut df[at * m..(at + 1) * m], &mut dr[at * width..(at + 1) * width]);
                if let Some(tied) = &mut tied {
                    let into = &mut tied[self.map_of[i]];
                    into.iter_mut().zip(df.iter().chain(&*dr)).for_each(|(t, g)| *t += g);
                } else {
                    if pull > 0.0 && self.varies(i) {
                        let centre = &s.centre[self.group.0[i] * (m + width)..][..m + width];
                        let values = s.f.row(i).iter().chain(s.r.row(i));
                        for ((g, p), c) in df.iter_mut().chain(&mut *dr).zip(values).zip(centre) {
                            *g += pull * (p - c);
                            penalty += 0.5 * pull * (p - c) * (p - c);
                        }
                    }
                    s.f.descend(rule, i, s.step, rate, df);
                    s.r.descend(rule, i, s.step, rate, dr);
                }
                let row = du.row(at);
                s.u.descend(rule, i, s.step, rate, row.as_slice().unwrap_or(&row.to_vec()));
            }
        }
        for (group, gradient) in tied.into_iter().flatten().enumerate() {
            s.f.descend(rule, group, s.step, rate, &gradient[..m]);
            s.r.descend(rule, group, s.step, rate, &gradient[m..]);
        }
        let flat: Vec<f64> = dv.iter().copied().collect();
        s.v.descend(rule, 0, s.step, rate, &flat);
        [divergence, penalty, entries as f64]
    }

    /// Brings every row to the last step, as `dense` Adam has it.
    fn settle_rows(&self, s: &mut State) {
        let (rule, rate, step) = (self.params.adam, self.params.learning_rate, s.step);
        for tensor in [&mut s.u, &mut s.f, &mut s.r] {
            let rows = tensor.values.len() / tensor.width.max(1);
            (0..rows).for_each(|i| tensor.catch_up(rule, i, step, rate));
        }
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
        let v = Array2::from_shape_fn((k, n), |(l, j)| s.v.values[l * n + j].exp());
        let mut loadings = Array2::from_shape_fn((d, k), |(i, l)| s.u.row(i)[l].exp());
        constant.iter().for_each(|&i| loadings.row_mut(i).fill(0.0));
        let rows: Vec<usize> = (0..d).collect();
        type Row = (f64, f64, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, f64);
        let one = |work: &mut Work, &i: &usize| -> Row {
            settle();
            let (mut b, mut q, mut t) = (vec![0.0; m], vec![0.0; m], vec![0.0; n]);
            softmax(s.f.row(self.map_of[i]), &mut b);
            self.params.quantiles.values(s.r.row(self.map_of[i]), self.ranges[i], &mut q);
            if !self.varies(i) {
                q.fill(self.ranges[i].0);
                return (0.0, 1.0, b, q, vec![0.0; m], vec![self.ranges[i].0; n], 0.0);
            }
            let w: Vec<f64> =
                matmul_alone(loadings.slice(s![i..i + 1, ..]), v.view()).into_raw_vec_and_offset().0;
            let mut g = s.g[i * m..(i + 1) * m].to_vec();
            let solved = self.layer.forward(&w, None, &b, &q, &mut g, work, &mut t);
            let loss = t
                .iter()
                .zip(self.x.row(i))
                .filter(|(_, x)| !x.is_nan())
                .map(|(&t, &x)| self.params.loss.of(x, t))
                .sum();
            (solved.location, solved.spread, b, q, g, t, loss)
        };
        let found: Vec<Row> = rows.par_iter().map_init(Work::default, one).collect();
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
    use crate::methods::factor::common::{Loss, Missing};
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

    #[test]
    fn gradients_match_finite_differences() {
        let mut rng = Seed(2).stream(Draw::Simulate, 0);
        let mut x = Array2::from_shape_simple_fn((9, 5), || rng.random::<f64>() * 4.0);
        x[[3, 1]] = f64::NAN;
        x[[8, 4]] = f64::NAN;
        let matrix = Matrix::Dense(x);
        let input =
            Nonnegative { missing: Missing::Nan, ..Nonnegative::new(Values { what: "X", matrix: &matrix }) };
        for (loss, quantiles) in
            [(Loss::Kl, Quantiles::Pinned), (Loss::Frobenius, Quantiles::Pinned), (Loss::Kl, Quantiles::Free)]
        {
            let params =
                Qmf { k: 2, levels: 4, epsilon: 0.05, accuracy: 1e-12, loss, quantiles, ..Qmf::default() };
            let problem = Problem::new(&params, &input, Seed(1)).unwrap();
            let mut s = problem.start(Seed(1)).unwrap();
            s.f.values.iter_mut().chain(&mut s.r.values).for_each(|p| *p += 0.4 * rng.random::<f64>() - 0.2);
            let rows: Vec<usize> = (0..5).collect();
            let scale = 1.0 / 43.0;
            let part = |s: &State| {
                let v = Array2::from_shape_fn((2, 9), |(l, j)| s.v.values[l * 9 + j].exp());
                problem.part(s, v.view(), &rows, scale, &mut Work::default())
            };
            let found = part(&s);
            let slope = |change: &dyn Fn(&mut State, f64)| {
                let at = |h: f64| {
                    let mut moved = s.clone();
                    change(&mut moved, h);
                    scale * part(&moved).loss
                };
                (at(1e-5) - at(-1e-5)) / 2e-5
            };
            let near = |a: f64, b: f64| {
                assert!((a - b).abs() < 1e-8 + 1e-5 * b.abs(), "{loss} {quantiles}: {a} {b}")
            };
            let width = quantiles.width(4);
            for i in [0, 3, 4] {
                near(slope(&|s, h| s.u.values[2 * i + 1] += h), found.du[[i, 1]]);
                near(slope(&|s, h| s.f.values[4 * i + 2] += h), found.df[4 * i + 2]);
                near(slope(&|s, h| s.r.values[width * i + 1] += h), found.dr[width * i + 1]);
                let v = s.v.values[9 + i].exp();
                near(slope(&|s, h| s.v.values[9 + i] += h), found.dv[[1, i]] * v);
            }
        }
    }
}
