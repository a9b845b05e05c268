//! One side of an NMF given the other: every line x (a sample, or a feature) has its own problem in k numbers,
//!
//! ```text
//! minimise over v ≥ 0   Σ_i loss(x_i, (F v)_i),   F the factor of the other side.
//! ```
//!
//! `coordinate` goes through the k numbers a few times. For squared error each takes its exact minimum (HALS).
//! For KL with S = Σ f x / z, H = Σ f² x / z² and c = Σ f it takes Newton's step for 1/S(v) = 1/c, which is
//! S (S − c) / (c H). As 1/S is concave, a step upwards never passes the minimum; a step downwards is cut
//! to the bound 0.68 of self-concordance, or to the multiplicative rule's where that is longer: no step raises the
//! loss. Hsieh and Dhillon (2011); Hien and Gillis (2021). Zeros of x are never visited for KL.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::Solver;
use crate::data::Matrix;
use crate::linalg::gram;
use crate::methods::factor::common::{Loss, TINY};

/// One line: its stored values, and where it was not measured.
pub(super) struct Line {
    at: Vec<u32>,
    x: Vec<f64>,
    absent: Vec<u32>,
}

/// The rows of a matrix; zeros are not stored.
pub(super) fn lines(matrix: &Matrix) -> Vec<Line> {
    let n = matrix.shape().0;
    let mut out: Vec<Line> = Vec::with_capacity(n);
    out.resize_with(n, || Line { at: Vec::new(), x: Vec::new(), absent: Vec::new() });
    matrix.for_each_nonzero(|i, j, v| {
        if v.is_nan() {
            out[i].absent.push(j as u32);
        } else {
            out[i].at.push(j as u32);
            out[i].x.push(v);
        }
    });
    out
}

/// Updates every row of `v` (lines × k) for the factor `f` of the other side; returns the total loss.
pub(super) fn sweep(
    (loss, solver, repeats): (Loss, Solver, usize),
    lines: &[Line],
    f: ArrayView2<'_, f64>,
    v: &mut Array2<f64>,
) -> f64 {
    let k = f.ncols();
    let whole = Shape { sums: f.sum_axis(ndarray::Axis(0)).to_vec(), gram: gram(f.t()) };
    let solved: Vec<(Vec<f64>, f64)> = lines
        .par_iter()
        .enumerate()
        .map(|(i, line)| {
            let mut own = v.row(i).to_vec();
            let shape = if line.absent.is_empty() { None } else { Some(Shape::without(f, &line.absent)) };
            let shape = shape.as_ref().unwrap_or(&whole);
            let total = match loss {
                Loss::Kl => kl(line, f, shape, solver, repeats, &mut own),
                Loss::Frobenius => squares(line, f, shape, solver, repeats, &mut own),
            };
            (own, total)
        })
        .collect();
    let mut total = 0.0;
    for (i, (own, part)) in solved.into_iter().enumerate() {
        (0..k).for_each(|a| v[[i, a]] = own[a]);
        total += part;
    }
    total
}

/// Column sums and Gram matrix of the factor over the measured entries.
struct Shape {
    sums: Vec<f64>,
    gram: Array2<f64>,
}

impl Shape {
    fn without(f: ArrayView2<'_, f64>, absent: &[u32]) -> Shape {
        let k = f.ncols();
        let (mut sums, mut gram) = (vec![0.0; k], Array2::zeros((k, k)));
        let mut absent = absent.iter().peekable();
        for (i, row) in f.rows().into_iter().enumerate() {
            if absent.next_if(|&&j| j as usize == i).is_some() {
                continue;
            }
            for a in 0..k {
                sums[a] += row[a];
                (0..k).for_each(|b| gram[[a, b]] += row[a] * row[b]);
            }
        }
        Shape { sums, gram }
    }
}

/// Σ f x w and Σ f² x w², in eight running sums each.
fn moments(f: &[f64], x: &[f64], w: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut s, mut h) = ([0.0; LANES], [0.0; LANES]);
    let whole = f.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let (f, x, w) = (&f[at..at + LANES], &x[at..at + LANES], &w[at..at + LANES]);
        for l in 0..LANES {
            let t = f[l] * w[l];
            s[l] += t * x[l];
            h[l] += t * t * x[l];
        }
    }
    for i in whole..f.len() {
        let t = f[i] * w[i];
        s[0] += t * x[i];
        h[0] += t * t * x[i];
    }
    (s.iter().sum(), h.iter().sum())
}

fn kl(
    line: &Line,
    f: ArrayView2<'_, f64>,
    shape: &Shape,
    solver: Solver,
    repeats: usize,
    v: &mut [f64],
) -> f64 {
    let (k, p, x) = (v.len(), line.x.len(), &line.x);
    let mut rows = vec![0.0; k * p];
    for (t, &i) in line.at.iter().enumerate() {
        f.row(i as usize).iter().enumerate().for_each(|(a, &f)| rows[a * p + t] = f);
    }
    let row = |a: usize| &rows[a * p..(a + 1) * p];
    let fitted = |v: &[f64]| {
        let mut z = vec![0.0; p];
        (0..k).for_each(|a| z.iter_mut().zip(row(a)).for_each(|(z, f)| *z += v[a] * f));
        z
    };
    let mut z = fitted(v);
    let mut w: Vec<f64> = z.iter().map(|z| 1.0 / (z + TINY)).collect();
    if solver == Solver::Multiplicative {
        for a in 0..k {
            v[a] *= moments(row(a), x, &w).0 / (shape.sums[a] + TINY);
        }
    } else {
        let least = x.iter().fold(f64::INFINITY, |m, &x| m.min(x));
        for _ in 0..repeats {
            for a in 0..k {
                let c = shape.sums[a];
                if c <= 0.0 {
                    continue;
                }
                let (s, h) = moments(row(a), x, &w);
                let mut step = if h > 0.0 { s * (s - c) / (c * h) } else { -v[a] };
                if s < c && h > 0.0 {
                    let newton = (c - s) / h;
                    let decrement = (h / least).sqrt() * newton.min(v[a]);
                    let cut = if decrement > 0.68 { newton / (1.0 + decrement) } else { newton };
                    step = -(-step).min(cut).max(v[a] * (1.0 - s / c));
                }
                let new = (v[a] + step).max(0.0);
                let moved = new - v[a];
                if moved == 0.0 || !moved.is_finite() {
                    continue;
                }
                v[a] = new;
                for ((z, w), f) in z.iter_mut().zip(&mut w).zip(row(a)) {
                    *z = (*z + moved * f).max(0.0);
                    *w = 1.0 / (*z + TINY);
                }
            }
        }
    }
    let z = fitted(v);
    let stored: f64 = x.iter().zip(&z).map(|(&x, &z)| x * ((x + TINY) / (z + TINY)).ln() - x).sum();
    stored + v.iter().zip(&shape.sums).map(|(v, c)| v * c).sum::<f64>()
}

fn squares(
    line: &Line,
    f: ArrayView2<'_, f64>,
    shape: &Shape,
    solver: Solver,
    repeats: usize,
    v: &mut [f64],
) -> f64 {
    let k = v.len();
    let mut b = vec![0.0; k];
    for (&i, &x) in line.at.iter().zip(&line.x) {
        b.iter_mut().zip(f.row(i as usize)).for_each(|(b, f)| *b += x * f);
    }
    let times = |v: &[f64], a: usize| -> f64 { shape.gram.row(a).iter().zip(v).map(|(g, v)| g * v).sum() };
    if solver == Solver::Multiplicative {
        let down: Vec<f64> = (0..k).map(|a| times(v, a)).collect();
        (0..k).for_each(|a| v[a] *= b[a] / (down[a] + TINY));
    } else {
        for _ in 0..repeats {
            for a in 0..k {
                let g = shape.gram[[a, a]];
                if g > 0.0 {
                    v[a] = (v[a] + (b[a] - times(v, a)) / g).max(0.0);
                }
            }
        }
    }
    let energy: f64 = line.x.iter().map(|x| x * x).sum();
    let cross: f64 = v.iter().zip(&b).map(|(v, b)| v * b).sum();
    let own: f64 = (0..k).map(|a| v[a] * times(v, a)).sum();
    (0.5 * (energy - 2.0 * cross + own)).max(0.0)
}
