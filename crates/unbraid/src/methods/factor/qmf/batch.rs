//! One batch of features: U V → squash → transport → loss, and back, row by row in one pass; then the step of Adam.
//!
//! The features of a batch are cut into parts, whatever the threads. A part brings its rows of Û, F and R up to date,
//! evaluates them and moves them; only V̄ is summed over the parts, in order.

use std::sync::PoisonError;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::super::adam::{Pace, Pause, Row, Tensor, pick};
use super::super::divergence::exp;
use super::super::maps::{softmax, softmax_adjoint};
use super::Sharing;
use super::problem::{Problem, State};
use crate::linalg::{matmul_alone_into, settle};
use crate::soft::Work;

/// Most parts a batch is cut into.
const PARTS: usize = 16;
/// Entries of n × m tables below which a part is too short to be worth a thread.
const SHORT: usize = 6_400;
/// Entries of Z that a part holds at a time: they stay in the cache.
const HELD: usize = 16_384;

/// Numbers kept of the potentials of a feature.
pub(super) fn trail(m: usize) -> usize {
    2 * m + 1
}

/// A feature in a batch, and what is its own.
struct Visit<'a> {
    i: usize,
    u: Row<'a>,
    map: Map<'a>,
    trail: &'a mut [f64],
    /// Inverse of the Laplacian at the last visit, m × m, or nothing.
    inverse: &'a mut [f32],
}

/// Rows of F and R.
enum Map<'a> {
    Own(Row<'a>, Row<'a>),
    Tied(&'a [f64], &'a [f64]),
}

impl Map<'_> {
    fn rows(&self) -> (&[f64], &[f64]) {
        match self {
            Map::Own(f, r) => (f.values, r.values),
            Map::Tied(f, r) => (f, r),
        }
    }
}

/// What all parts of a batch read.
struct Batch<'a> {
    /// V, k × n.
    v: ArrayView2<'a, f64>,
    /// F̄ and R̄ of each group, for `shrink`.
    centre: &'a [f64],
    /// Steps of Adam before this one, and its pace.
    before: u32,
    pace: Pace,
    /// Features, and 1 over measured entries.
    rows: usize,
    scale: f64,
}

/// What one part of a batch gives.
struct Part {
    loss: f64,
    penalty: f64,
    dv: Array2<f64>,
    /// F̄ and R̄ of each group, where maps are tied.
    tied: Vec<f64>,
}

/// What a part works in.
#[derive(Default)]
pub(super) struct Room {
    work: Work,
    pause: Pause,
    /// U, Z, Z̄, Ū, F̄, R̄ of the features at hand, by rows.
    u: Array2<f64>,
    z: Array2<f64>,
    dz: Array2<f64>,
    du: Array2<f64>,
    df: Vec<f64>,
    dr: Vec<f64>,
    /// Of one feature: b, q and the steps of q, cotangents of b and q, the potentials before; T and its cotangent.
    small: [Vec<f64>; 6],
    long: [Vec<f64>; 2],
}

impl Room {
    fn resize(&mut self, rows: usize, [k, n, m, width]: [usize; 4]) {
        if self.z.dim() != (rows, n) {
            let table = |columns| Array2::zeros((rows, columns));
            [self.u, self.z, self.dz, self.du] = [table(k), table(n), table(n), table(k)];
            (self.df, self.dr) = (vec![0.0; rows * m], vec![0.0; rows * width]);
            self.small = [(); 6].map(|()| vec![0.0; m]);
            self.long = [(); 2].map(|()| vec![0.0; n]);
        }
    }
}

/// The numbers of a table, by rows.
fn flat(table: &Array2<f64>) -> &[f64] {
    table.as_slice().unwrap_or_default()
}

fn flat_mut(table: &mut Array2<f64>) -> &mut [f64] {
    table.as_slice_mut().unwrap_or_default()
}

impl Problem<'_> {
    /// Features in rising order, to be changed side by side.
    fn visits<'s>(
        &self,
        [u, f, r]: [&'s mut Tensor; 3],
        (g, inverse): (&'s mut [f64], &'s mut [f32]),
        rows: &'s [usize],
    ) -> Vec<Visit<'s>> {
        let kept = pick(g, trail(self.layer.levels()), rows).zip(pick(inverse, self.remembered(), rows));
        let own = u.rows_mut(rows).zip(kept).zip(rows);
        match self.params.maps {
            Sharing::Each => own
                .zip(f.rows_mut(rows).zip(r.rows_mut(rows)))
                .map(|(((u, (trail, inverse)), &i), (f, r))| Visit {
                    i,
                    u,
                    map: Map::Own(f, r),
                    trail,
                    inverse,
                })
                .collect(),
            Sharing::Tied => {
                let (f, r): (&'s Tensor, &'s Tensor) = (f, r);
                let map = |i: usize| Map::Tied(f.row(self.map_of[i]), r.row(self.map_of[i]));
                own.map(|((u, (trail, inverse)), &i)| Visit { i, u, map: map(i), trail, inverse }).collect()
            }
        }
    }

    /// Σ of the loss over some features. Gradients, of `scale` times the sum, go to `room.du`, `room.df`, `room.dr` and are
    /// added to V̄.
    fn gradient(
        &self,
        on: &Batch<'_>,
        visits: &mut [Visit<'_>],
        room: &mut Room,
        dv: &mut Array2<f64>,
    ) -> f64 {
        let (k, n, m) = (self.params.k, self.x.ncols(), self.layer.levels());
        let width = self.params.quantiles.width(m);
        let Room { work, u, z, dz, du, df, dr, small: [b, q, rise, db, dq, old], long: [t, cot], .. } = room;
        for (visit, u) in visits.iter().zip(flat_mut(u).chunks_mut(k)) {
            u.copy_from_slice(visit.u.values);
        }
        exp(&mut flat_mut(u)[..visits.len() * k], 0.0);
        let here = s![..visits.len(), ..];
        // Z = U V
        matmul_alone_into(z.slice_mut(here), false, u.slice(here), on.v);
        let mut total = 0.0;
        for (at, visit) in visits.iter_mut().enumerate() {
            let (w, dw) = (&flat(z)[at * n..(at + 1) * n], &mut flat_mut(dz)[at * n..(at + 1) * n]);
            let (df, dr) = (&mut df[at * m..(at + 1) * m], &mut dr[at * width..(at + 1) * width]);
            let i = visit.i;
            if !self.varies(i) {
                [dw, df, dr].into_iter().for_each(|gradient| gradient.fill(0.0));
                continue;
            }
            let (f, r) = visit.map.rows();
            softmax(f, b);
            self.params.quantiles.values(r, self.ranges[i], &mut rise[..width], q);
            let (g, trail) = visit.trail.split_at_mut(m);
            old.copy_from_slice(g);
            expect(g, trail);
            if !visit.inverse.is_empty() {
                work.recall(m, visit.inverse);
            }
            // T_i = T_{b,q}(squash(Z_i))
            self.layer.forward(w, None, b, q, g, work, t);
            follow(g, old, trail);
            let x = &flat(&self.x)[i * n..(i + 1) * n];
            total += self.params.loss.with_slopes(x, t, on.scale, cot);
            self.layer.backward(w, None, q, cot, work, Some(dw), db, dq);
            if !visit.inverse.is_empty() {
                work.keep(m, visit.inverse);
            }
            softmax_adjoint(b, db, df);
            self.params.quantiles.adjoint(&rise[..width], self.ranges[i], dq, dr);
        }
        // Ū = Z̄ Vᵀ ∘ U,  V̄ = Uᵀ Z̄
        matmul_alone_into(du.slice_mut(here), false, dz.slice(here), on.v.t());
        flat_mut(du).iter_mut().zip(flat(u)).for_each(|(g, u)| *g *= u);
        matmul_alone_into(dv.view_mut(), true, u.slice(here).reversed_axes(), dz.slice(here));
        total
    }

    /// Some features of a batch: brought up to date, evaluated, and moved.
    fn part(&self, on: &Batch<'_>, visits: &mut [Visit<'_>]) -> Part {
        settle();
        let p = self.params;
        let (k, n, m) = (p.k, self.x.ncols(), self.layer.levels());
        let width = p.quantiles.width(m);
        let (rule, rate) = (p.adam, p.learning_rate);
        let tied = if p.maps == Sharing::Tied { self.group.1 * (m + width) } else { 0 };
        let mut out = Part { loss: 0.0, penalty: 0.0, dv: Array2::zeros((k, n)), tied: vec![0.0; tied] };
        let rooms = || self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = rooms().pop().unwrap_or_default();
        let held = (HELD / n).clamp(4, 64);
        room.resize(held, [k, n, m, width]);
        let each = p.rho / (on.rows * k) as f64;
        let pull = p.shrink / (on.rows * (m + width)) as f64;
        for visits in visits.chunks_mut(held) {
            for visit in &mut *visits {
                visit.u.catch_up(rule, on.before, rate, &mut room.pause);
                if let Map::Own(f, r) = &mut visit.map {
                    f.catch_up(rule, on.before, rate, &mut room.pause);
                    r.catch_up(rule, on.before, rate, &mut room.pause);
                }
            }
            out.loss += self.gradient(on, visits, &mut room, &mut out.dv);
            for (at, Visit { i, u, map, .. }) in visits.iter_mut().enumerate() {
                let du = &mut flat_mut(&mut room.du)[at * k..(at + 1) * k];
                if p.rho > 0.0 {
                    out.penalty += 0.5 * each * u.values.iter().map(|l| l * l).sum::<f64>();
                    du.iter_mut().zip(&*u.values).for_each(|(g, l)| *g += each * l);
                }
                u.descend(rule, on.pace, du);
                let df = &mut room.df[at * m..(at + 1) * m];
                let dr = &mut room.dr[at * width..(at + 1) * width];
                let of = self.group.0[*i] * (m + width);
                match map {
                    Map::Tied(..) => {
                        let into = &mut out.tied[of..of + m + width];
                        into.iter_mut().zip(df.iter().chain(&*dr)).for_each(|(t, g)| *t += g);
                    }
                    Map::Own(f, r) => {
                        if pull > 0.0 && self.varies(*i) {
                            let values = f.values.iter().chain(&*r.values);
                            let centre = &on.centre[of..of + m + width];
                            for ((g, p), c) in df.iter_mut().chain(&mut *dr).zip(values).zip(centre) {
                                *g += pull * (p - c);
                                out.penalty += 0.5 * pull * (p - c) * (p - c);
                            }
                        }
                        f.descend(rule, on.pace, df);
                        r.descend(rule, on.pace, dr);
                    }
                }
            }
        }
        rooms().push(room);
        out
    }

    /// V = exp(V̂)
    pub(super) fn v(&self, s: &State) -> Array2<f64> {
        let n = self.x.ncols();
        let mut v = Array2::zeros((self.params.k, n));
        let rows = flat_mut(&mut v).par_chunks_mut(n).zip(s.v.values.par_chunks(n));
        rows.with_min_len(self.together()).for_each(|(v, log)| {
            v.copy_from_slice(log);
            exp(v, 0.0);
        });
        v
    }

    /// Rows of V that are worth a thread.
    fn together(&self) -> usize {
        (4096 / self.x.ncols()).max(1)
    }

    /// One step of Adam on a batch of features, in rising order; mean divergence and penalty before it, and the number of
    /// measured entries.
    pub(super) fn batch(&self, s: &mut State, rows: &[usize]) -> [f64; 3] {
        let p = self.params;
        let (k, n, m) = (p.k, self.x.ncols(), self.layer.levels());
        let entries: usize = rows.iter().map(|&i| self.measured[i]).sum();
        let scale = 1.0 / entries.max(1) as f64;
        let v = self.v(s);
        let pace = Pace::of(s.step + 1, p.learning_rate);
        let on = Batch { v: v.view(), centre: &s.centre, before: s.step, pace, rows: rows.len(), scale };
        let size = rows.len().div_ceil(PARTS).max(SHORT.div_ceil(n * m)).max(1);
        let mut visits = self.visits([&mut s.u, &mut s.f, &mut s.r], (&mut s.g, &mut s.inverse), rows);
        let parts: Vec<Part> = visits.par_chunks_mut(size).map(|visits| self.part(&on, visits)).collect();
        drop(visits);
        s.step += 1;
        // V̂: the sum of the parts, in order.
        let (rule, rate) = (p.adam, p.learning_rate);
        let each = p.rho / (k * n) as f64;
        let all: Vec<usize> = (0..k).collect();
        let factors: Vec<Row<'_>> = s.v.rows_mut(&all).collect();
        let one = |(l, mut row): (usize, Row<'_>)| -> f64 {
            let mut gradient = vec![0.0; n];
            for part in &parts {
                let of = &flat(&part.dv)[l * n..(l + 1) * n];
                gradient.iter_mut().zip(of).for_each(|(sum, g)| *sum += g);
            }
            let mut square = 0.0;
            for ((g, v), log) in gradient.iter_mut().zip(&flat(&v)[l * n..]).zip(&*row.values) {
                *g = *g * v + each * log;
                square += log * log;
            }
            row.descend(rule, pace, &gradient);
            square
        };
        let squares: Vec<f64> =
            factors.into_par_iter().enumerate().with_min_len(self.together()).map(one).collect();
        if p.maps == Sharing::Tied {
            let mut sum = vec![0.0; self.group.1 * (m + s.r.width)];
            for part in &parts {
                sum.iter_mut().zip(&part.tied).for_each(|(sum, g)| *sum += g);
            }
            for (group, gradient) in sum.chunks(m + s.r.width).enumerate() {
                s.f.descend(rule, group, s.step, rate, &gradient[..m]);
                s.r.descend(rule, group, s.step, rate, &gradient[m..]);
            }
        }
        let divergence = scale * parts.iter().map(|p| p.loss).sum::<f64>();
        let penalty = 0.5 * each * squares.iter().sum::<f64>() + parts.iter().map(|p| p.penalty).sum::<f64>();
        [divergence, penalty, entries as f64]
    }
}

/// Moves the potentials g on by the share of their last move that is expected; the rows of a batch change smoothly, and a
/// nearer start saves a step of Newton's method.
fn expect(g: &mut [f64], trail: &[f64]) {
    let (moved, share) = trail.split_at(g.len());
    if g[0].is_finite() {
        g.iter_mut().zip(moved).for_each(|(g, moved)| *g += share[0] * moved);
    }
}

/// Keeps the move from `old` to `g`, and by which share of the move before it would have been foretold best.
fn follow(g: &[f64], old: &[f64], trail: &mut [f64]) {
    let (moved, share) = trail.split_at_mut(g.len());
    if !old[0].is_finite() {
        return trail.fill(0.0);
    }
    let (mut along, mut square) = (0.0, 0.0);
    for ((g, old), moved) in g.iter().zip(old).zip(moved) {
        along += (g - old) * *moved;
        square += *moved * *moved;
        *moved = g - old;
    }
    share[0] = if square > 0.0 { (along / square).clamp(0.0, 1.0) } else { 0.0 };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Missing, Values};
    use crate::fit::{Draw, Iterate, Seed};
    use crate::methods::factor::common::{Loss, Nonnegative};
    use crate::methods::factor::maps::Quantiles;
    use crate::methods::factor::qmf::Qmf;
    use rand::RngExt;

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
            let width = quantiles.width(4);
            let part = |s: &State| {
                let (v, mut s) = (problem.v(s), s.clone());
                let (mut room, mut dv) = (Room::default(), Array2::zeros((2, 9)));
                room.resize(5, [2, 9, 4, width]);
                let on =
                    Batch { v: v.view(), centre: &[], before: 0, pace: Pace::of(1, 0.1), rows: 5, scale };
                let mut visits =
                    problem.visits([&mut s.u, &mut s.f, &mut s.r], (&mut s.g, &mut s.inverse), &rows);
                let loss = problem.gradient(&on, &mut visits, &mut room, &mut dv);
                (loss, room, dv)
            };
            let (_, found, dv) = part(&s);
            let slope = |change: &dyn Fn(&mut State, f64)| {
                let at = |h: f64| {
                    let mut moved = s.clone();
                    change(&mut moved, h);
                    scale * part(&moved).0
                };
                (at(1e-5) - at(-1e-5)) / 2e-5
            };
            let near = |a: f64, b: f64| {
                assert!((a - b).abs() < 1e-8 + 1e-5 * b.abs(), "{loss} {quantiles}: {a} {b}")
            };
            for i in [0, 3, 4] {
                near(slope(&|s, h| s.u.values[2 * i + 1] += h), found.du[[i, 1]]);
                near(slope(&|s, h| s.f.values[4 * i + 2] += h), found.df[4 * i + 2]);
                near(slope(&|s, h| s.r.values[width * i + 1] += h), found.dr[width * i + 1]);
                let v = s.v.values[9 + i].exp();
                near(slope(&|s, h| s.v.values[9 + i] += h), dv[[1, i]] * v);
            }
        }
    }
}
