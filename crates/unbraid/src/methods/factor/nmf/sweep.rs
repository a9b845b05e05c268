//! One side of an NMF given the other. Every line x (a sample, or a feature) has a problem of its own in k numbers,
//!
//! ```text
//! minimise over v ≥ 0   Σ_i loss(x_i, (F v)_i),   F (entries × k) the factor of the other side.
//! ```
//!
//! Squared error is the quadratic ½ vᵀ G v − bᵀ v with G = Fᵀ F and b = Fᵀ x, lowered coordinate by coordinate
//! ([`Descend`]; hierarchical alternating least squares, repeated while it pays: `gillis2012`).
//!
//! KL takes Newton's step: the same descent on the quadratic that has, with z = F v, slope c − s and curvature H,
//!
//! ```text
//! c = Fᵀ 1,   s = Fᵀ (x / z),   H = Fᵀ diag(x / z²) F,
//! ```
//!
//! towards v + δ, and then v + t δ with the first t ≤ 1 at which the loss still falls along δ. The loss is convex, so it
//! fell all the way, and no step raises it. Before, v is scaled such that Σ z = Σ x, the best of all scales.
//! An entry x_i = 0 has no part in s and H and is never visited.

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::super::divergence::dispatch;
use super::Solver;
use super::kernel::{
    CHUNK, Descend, Divergence, Dots, Fitted, Gathered, LANES, Less, Moments, PAD, Pull, Ratios,
};
use super::table::{Entries, Side};
use crate::linalg::{gram, matmul, settle};
use crate::methods::factor::common::{Loss, TINY};

/// A slope this small beside the first counts as none: rounding.
const LEVEL: f64 = 1e-12;
/// Shorter and shorter steps that are tried.
const TRIES: usize = 40;

/// How a side is improved.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub loss: Loss,
    pub solver: Solver,
    pub passes: usize,
    /// Whether the loss is wanted, whose logarithms cost as much as a third of the rest.
    pub measured: bool,
}

/// Updates every row of `v` (lines × k) for the factor `f` (entries × k) of the other side; returns the total loss,
/// where it is wanted. `known`: the products of every line with `f` (lines × k), where squared error has them already.
pub(super) fn sweep(
    how: How,
    side: &Side<'_>,
    f: ArrayView2<'_, f64>,
    known: Option<Array2<f64>>,
    v: &mut Array2<f64>,
) -> f64 {
    let other = Other::new(side, how.loss, f);
    let k = other.k;
    let products = known.or_else(|| (how.loss == Loss::Frobenius).then(|| products(side, &other, f)));
    let part = |scratch: &mut Scratch, at: usize, v: &mut [f64]| {
        settle();
        match &products {
            Some(b) => {
                let b = b.slice(s![at..at + v.len() / k, ..]);
                squares(how, side, &other, b, at, v, scratch)
            }
            None => divergence(how, side, &other, at, v, scratch),
        }
    };
    let parts: Vec<f64> = match v.as_slice_mut() {
        Some(v) => v
            .par_chunks_mut(k * LANES)
            .enumerate()
            .map_init(|| Scratch::new(&other), |scratch, (at, v)| part(scratch, at * LANES, v))
            .collect(),
        None => Vec::new(),
    };
    // Only squared error has an energy; both losses are 0 at least but for rounding.
    (parts.iter().sum::<f64>() + 0.5 * side.energy).max(0.0)
}

/// The factor of the other side in the forms that the loops read.
pub(super) struct Other {
    pub k: usize,
    /// k to the next multiple of four.
    rows_k: usize,
    /// Rows of Fᵀ, `stride` long; where some loop runs along all entries.
    rows: Vec<f64>,
    stride: usize,
    entries: usize,
    /// F, `width` numbers a row; where entries are gathered.
    gathered: Vec<f64>,
    width: usize,
    sums: Vec<f64>,
    gram: Array2<f64>,
}

impl Other {
    pub fn new(side: &Side<'_>, loss: Loss, f: ArrayView2<'_, f64>) -> Other {
        let (entries, k) = f.dim();
        let (rows_k, stride, width) =
            (k.next_multiple_of(4), entries.next_multiple_of(PAD) + PAD, k.next_multiple_of(PAD));
        let sparse = side.dense().is_none();
        let (mut rows, mut gathered) = (Vec::new(), Vec::new());
        if side.has_absent() || (!sparse && loss == Loss::Kl) {
            rows = vec![0.0; rows_k * stride];
            for (i, row) in f.rows().into_iter().enumerate() {
                row.iter().enumerate().for_each(|(a, &f)| rows[a * stride + i] = f);
            }
        }
        if sparse {
            gathered = vec![0.0; entries * width];
            for (to, row) in gathered.chunks_exact_mut(width).zip(f.rows()) {
                to.iter_mut().zip(row).for_each(|(to, &f)| *to = f);
            }
        }
        let gram = if loss == Loss::Frobenius { gram(f.t()) } else { Array2::zeros((0, 0)) };
        let sums = f.sum_axis(Axis(0)).to_vec();
        Other { k, rows_k, rows, stride, entries, gathered, width, sums, gram }
    }

    /// 1 for entries that were measured, 0 for others and the padding.
    fn mask(&self, absent: &[u32]) -> Vec<f64> {
        let mut mask = vec![1.0; self.entries];
        absent.iter().for_each(|&i| mask[i as usize] = 0.0);
        mask.resize(self.entries.next_multiple_of(PAD), 0.0);
        mask
    }

    /// Column sums and, where wanted, second moments over the measured entries.
    fn measured(&self, absent: &[u32], second: &mut [f64], both: bool) -> Vec<f64> {
        let (mask, mut sums) = (self.mask(absent), vec![0.0; self.rows_k]);
        second.fill(0.0);
        for (at, mask) in mask.chunks(CHUNK).enumerate() {
            let second = if both { Some(&mut *second) } else { None };
            let rows = &self.rows[at * CHUNK..];
            dispatch(Moments { rows, stride: self.stride, w: mask, q: mask, s: &mut sums, second });
        }
        sums.truncate(self.k);
        sums
    }
}

/// Fᵀ x of every line, lines × k.
fn products(side: &Side<'_>, other: &Other, f: ArrayView2<'_, f64>) -> Array2<f64> {
    if let Some(x) = side.dense() {
        return matmul(x, f);
    }
    let k = other.k;
    let mut out = Array2::zeros((side.shape().0, k));
    if let Some(out) = out.as_slice_mut() {
        let line = |sum: &mut Vec<f64>, i: usize, out: &mut [f64]| {
            settle();
            if let Entries::Some(at, x) = side.line(i) {
                dispatch(Gathered { f: &other.gathered, at, x, out: sum });
                out.copy_from_slice(&sum[..k]);
            }
        };
        out.par_chunks_mut(k)
            .with_min_len(16)
            .enumerate()
            .for_each_init(|| vec![0.0; other.width], |sum, (i, out)| line(sum, i, out));
    }
    out
}

/// What a batch of lines needs besides its results.
pub(super) struct Scratch {
    gram: Vec<f64>,
    inverse: Vec<f64>,
    rest: Vec<f64>,
    v: Vec<f64>,
    second: Vec<f64>,
    /// Gathered rows of a chunk, and its w and q.
    rows: Vec<f64>,
    w: [f64; CHUNK],
    q: [f64; CHUNK],
    lines: Vec<Line>,
}

/// One line of a batch: padded x, z = F v and y = F δ; s and c.
#[derive(Clone, Default)]
struct Line {
    x: Vec<f64>,
    z: Vec<f64>,
    y: Vec<f64>,
    s: Vec<f64>,
    c: Vec<f64>,
}

impl Line {
    /// Σ x over the entries that are fitted by 0: of x log(x / z), with [`TINY`] beside z, the share that no factor on z
    /// changes.
    fn lost(&self) -> f64 {
        let dead = |(_, z): &(&f64, &f64)| **z < 1e6 * TINY;
        self.x.iter().zip(&self.z).filter(dead).map(|(x, z)| x * (TINY / (z + TINY))).sum()
    }
}

/// Apart by an odd number of cache lines, so that rows do not compete for the same places of the cache.
const APART: usize = CHUNK + PAD;

impl Scratch {
    pub fn new(other: &Other) -> Scratch {
        let Other { k, rows_k, .. } = *other;
        let zeros = |n: usize| vec![0.0; n];
        Scratch {
            gram: zeros(k * k * LANES),
            inverse: zeros(2 * k * LANES),
            rest: zeros(k * LANES),
            v: zeros(k * LANES),
            second: zeros(rows_k * rows_k),
            rows: zeros(rows_k * APART),
            w: [0.0; CHUNK],
            q: [0.0; CHUNK],
            lines: vec![Line::default(); LANES],
        }
    }

    /// Second moments of one line into its place among those of the batch.
    fn place(&mut self, k: usize, l: usize) {
        let wide = k.next_multiple_of(4);
        for a in 0..k {
            for b in 0..=a {
                let g = self.second[a * wide + b];
                self.gram[(a * k + b) * LANES + l] = g;
                self.gram[(b * k + a) * LANES + l] = g;
            }
        }
    }
}

/// Squared error of the lines from `first` on, `v` their rows and `b` their products with F, less ½ Σ x².
pub(super) fn squares(
    how: How,
    side: &Side<'_>,
    other: &Other,
    b: ArrayView2<'_, f64>,
    first: usize,
    v: &mut [f64],
    scratch: &mut Scratch,
) -> f64 {
    let k = other.k;
    let count = v.len() / k;
    let own = (first..first + count).any(|i| !side.absent(i).is_empty());
    let shared = other.gram.as_slice().unwrap_or(&[]);
    scratch.v.fill(0.0);
    scratch.rest.fill(0.0);
    for l in 0..count {
        if own {
            other.measured(side.absent(first + l), &mut scratch.second, true);
            scratch.place(k, l);
        }
        (0..k).for_each(|a| scratch.v[a * LANES + l] = v[l * k + a]);
    }
    let rest = |scratch: &mut Scratch| {
        // b − G v
        for (l, b) in b.rows().into_iter().enumerate() {
            b.iter().enumerate().for_each(|(a, &b)| scratch.rest[a * LANES + l] = b);
        }
        let Scratch { gram, rest, v, .. } = scratch;
        dispatch(Less { gram: if own { &gram[..] } else { shared }, v, rest });
    };
    rest(scratch);
    match how.solver {
        Solver::Coordinate => {
            let Scratch { gram, inverse, rest, v, .. } = scratch;
            let gram = if own { &gram[..] } else { shared };
            dispatch(Descend { gram, inverse, rest, v, passes: how.passes });
        }
        Solver::Multiplicative => {
            for l in 0..count {
                for a in 0..k {
                    let up = b[[l, a]];
                    let down = up - scratch.rest[a * LANES + l];
                    scratch.v[a * LANES + l] *= up / (down + TINY);
                }
            }
            rest(scratch);
        }
    }
    let mut total = 0.0;
    for l in 0..count {
        // ½ ‖x − F v‖² = ½ (‖x‖² − vᵀ (b + (b − G v)))
        let mut cross = 0.0;
        for a in 0..k {
            let new = scratch.v[a * LANES + l];
            cross += new * (b[[l, a]] + scratch.rest[a * LANES + l]);
            v[l * k + a] = new;
        }
        total -= 0.5 * cross;
    }
    total
}

/// Divergence of the lines from `first` on, `v` their rows.
fn divergence(
    how: How,
    side: &Side<'_>,
    other: &Other,
    first: usize,
    v: &mut [f64],
    scratch: &mut Scratch,
) -> f64 {
    let k = other.k;
    let newton = how.solver == Solver::Coordinate;
    scratch.v.fill(0.0);
    scratch.rest.fill(0.0);
    scratch.gram.fill(0.0);
    for (l, v) in v.chunks_exact_mut(k).enumerate() {
        let absent = side.absent(first + l);
        let c = if absent.is_empty() {
            other.sums.clone()
        } else {
            other.measured(absent, &mut scratch.second, false)
        };
        if newton {
            balance(side.sums[first + l], &c, v);
        }
        slopes(side.line(first + l), other, v, scratch, l, newton);
        // No factor reaches entries that are fitted by 0; the best one is that of the others.
        let lost = if newton { scratch.lines[l].lost() } else { 0.0 };
        if lost > 1e-14 * side.sums[first + l] {
            let factor = 1.0 - lost / side.sums[first + l];
            if factor > 0.0 {
                v.iter_mut().for_each(|v| *v *= factor);
                slopes(side.line(first + l), other, v, scratch, l, newton);
            }
        }
        for a in 0..k {
            scratch.v[a * LANES + l] = v[a];
            scratch.rest[a * LANES + l] = scratch.lines[l].s[a] - c[a];
        }
        scratch.lines[l].c = c;
    }
    if newton {
        let Scratch { gram, inverse, rest, v, .. } = scratch;
        dispatch(Descend { gram, inverse, rest, v, passes: how.passes });
    }
    let mut total = 0.0;
    let mut delta = vec![0.0; other.width.max(other.rows_k)];
    for (l, v) in v.chunks_exact_mut(k).enumerate() {
        let Line { x, z, y, s, c } = &mut scratch.lines[l];
        for a in 0..k {
            let target = if newton { scratch.v[a * LANES + l] } else { v[a] * (s[a] / (c[a] + TINY)) };
            delta[a] = target - v[a];
        }
        match side.line(first + l) {
            Entries::All(_) => {
                for (at, y) in y.chunks_mut(CHUNK).enumerate() {
                    let rows = &other.rows[at * CHUNK..];
                    dispatch(Fitted { rows, stride: other.stride, v: &delta, z: y });
                }
            }
            Entries::Some(at, _) => {
                let v = &delta[..other.width];
                dispatch(Dots { f: &other.gathered, at, v, out: &mut y[..at.len()] });
            }
        }
        let rise: f64 = c.iter().zip(&delta).map(|(c, d)| c * d).sum();
        let start: f64 = rise - s.iter().zip(&delta).map(|(s, d)| s * d).sum::<f64>();
        let t = if newton { length(x, z, y, rise, start) } else { 1.0 };
        for (a, v) in v.iter_mut().enumerate() {
            *v = (*v + t * delta[a]).max(0.0);
            total += *v * c[a];
        }
        if how.measured {
            total += dispatch(Divergence { x, z, y, t });
        }
    }
    total
}

/// The factor on v with which its fit has the sum of the line; a v of zeros starts anew.
fn balance(total: f64, c: &[f64], v: &mut [f64]) {
    let reach: f64 = c.iter().zip(&*v).map(|(c, v)| c * v).sum();
    let factor = total / reach;
    if reach > 0.0 && factor.is_finite() {
        v.iter_mut().for_each(|v| *v *= factor);
    } else {
        let whole: f64 = c.iter().sum();
        v.fill(if whole > 0.0 { total / whole } else { 0.0 });
    }
}

/// z, s and, where wanted, H of one line at v.
fn slopes(entries: Entries<'_>, other: &Other, v: &[f64], scratch: &mut Scratch, l: usize, second: bool) {
    let Scratch { rows: buffer, w, q, lines, second: h, .. } = scratch;
    let line = &mut lines[l];
    let x = entries.values();
    let long = x.len().next_multiple_of(PAD);
    line.x.clear();
    line.x.extend_from_slice(x);
    line.x.resize(long, 0.0);
    // What is left from an earlier line of other length must not stay in the padding.
    line.z.clear();
    line.z.resize(long, 0.0);
    line.y.clear();
    line.y.resize(long, 0.0);
    line.s.clear();
    line.s.resize(other.rows_k, 0.0);
    h.fill(0.0);
    for (at, (x, z)) in line.x.chunks(CHUNK).zip(line.z.chunks_mut(CHUNK)).enumerate() {
        let nb = x.len();
        let (rows, stride) = match entries {
            Entries::All(_) => (&other.rows[at * CHUNK..], other.stride),
            Entries::Some(places, _) => {
                let places = &places[at * CHUNK..(at * CHUNK + nb).min(places.len())];
                for (t, &i) in places.iter().enumerate() {
                    let row = &other.gathered[i as usize * other.width..][..other.k];
                    row.iter().zip(buffer[t..].iter_mut().step_by(APART)).for_each(|(&f, to)| *to = f);
                }
                for t in places.len()..nb {
                    (0..other.k).for_each(|a| buffer[a * APART + t] = 0.0);
                }
                (&buffer[..], APART)
            }
        };
        dispatch(Fitted { rows, stride, v, z });
        let (w, q) = (&mut w[..nb], &mut q[..nb]);
        dispatch(Ratios { x, z, w, q });
        dispatch(Moments { rows, stride, w, q, s: &mut line.s, second: second.then_some(&mut h[..]) });
    }
    if second {
        scratch.place(other.k, l);
    }
}

/// The first of 1 and shorter lengths at which the loss of a line does not rise along y any more; 0 where there is none.
fn length(x: &[f64], z: &[f64], y: &[f64], rise: f64, start: f64) -> f64 {
    if start >= 0.0 || start.is_nan() {
        return 0.0;
    }
    let mut t = 1.0;
    for _ in 0..TRIES {
        let slope = rise - dispatch(Pull { x, z, y, t });
        if slope <= -LEVEL * start {
            return t;
        }
        t *= (0.97 * start / (start - slope)).clamp(0.1, 0.97);
    }
    0.0
}
