//! Where a picture begins: the smoothest functions on the graph.
//!
//! ```text
//! D^{-1/2} P D^{-1/2} v = λ v,     λ_1 = 1, v_1 ∝ √d left out;     y = (v_2, v_3), largest |entry| 10
//! ```
//!
//! A graph in several parts has λ = 1 once for each, and its vectors say only which part a point is in. Then every part has a start of its
//! own; their middles are the two principal axes of the means of their points, and each reaches half-way to the nearest middle. Both coordinates
//! are stretched to 0 … 10 after a little noise, which separates points that lie on each other.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::data::Csr;
use crate::error::Result;
use crate::fit::{Draw, Seed};
use crate::linalg::lanczos::{Effort, largest};
use crate::linalg::svd;

/// Width of the start.
const WIDE: f64 = 10.0;
/// Noise, against it.
const NOISE: f64 = 1e-5;
/// Parts with fewer points are scattered: two smooth functions need more.
const FEW: usize = 5;
/// A start needs the direction of a vector and not its digits.
const EFFORT: Effort = Effort { basis: 48, restarts: 30, tol: 1e-5 };

/// The part of each vertex of a symmetric graph, counted from 0 by their first vertices, and how many there are.
pub fn parts(graph: &Csr) -> (Vec<usize>, usize) {
    let n = graph.shape().0;
    let mut part = vec![usize::MAX; n];
    let mut count = 0;
    let mut open = Vec::new();
    for first in 0..n {
        if part[first] != usize::MAX {
            continue;
        }
        part[first] = count;
        open.push(first);
        while let Some(i) = open.pop() {
            for &j in graph.row(i).0 {
                if part[j as usize] == usize::MAX {
                    part[j as usize] = count;
                    open.push(j as usize);
                }
            }
        }
        count += 1;
    }
    (part, count)
}

/// The start, n × 2, of the picture of `points` with the neighbour graph `graph`.
///
/// # Errors
/// [`crate::Error::Numeric`] when a decomposition does not converge.
pub fn spectral(graph: &Csr, points: ArrayView2<'_, f64>, seed: Seed) -> Result<Array2<f64>> {
    let (part, count) = parts(graph);
    let n = part.len();
    let mut members = vec![Vec::new(); count];
    part.iter().enumerate().for_each(|(i, &c)| members[c].push(i));
    let middles = match count {
        1 => Array2::zeros((1, 2)),
        _ => middles(&members, points)?,
    };
    let mut out = Array2::zeros((n, 2));
    for (c, rows) in members.iter().enumerate() {
        let reach = match count {
            1 => WIDE,
            _ => 0.5 * gap(&middles, c).max(1e-2 * WIDE),
        };
        let seed = seed.child(Draw::Init, c as u64);
        let own = smooth(&within(graph, rows), seed)?;
        let far = own.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        for (&i, y) in rows.iter().zip(own.rows()) {
            out.row_mut(i).assign(&(&middles.row(c) + &(&y * (reach / far))));
        }
    }
    let mut rng = seed.stream(Draw::Init, 0);
    for mut column in out.columns_mut() {
        column.iter_mut().for_each(|v| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            *v += NOISE * WIDE * noise;
        });
        let (low, high) =
            column.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        column.mapv_inplace(|v| WIDE * (v - low) / (high - low).max(f64::MIN_POSITIVE));
    }
    Ok(out)
}

/// The edges among some vertices, renumbered.
fn within(graph: &Csr, rows: &[usize]) -> Csr {
    let mut place = vec![0u32; graph.shape().0];
    rows.iter().enumerate().for_each(|(at, &i)| place[i] = at as u32);
    let edges = rows.iter().enumerate().flat_map(|(at, &i)| {
        let (to, p) = graph.row(i);
        to.iter().zip(p).map(move |(&j, &p)| (at as u32, j, p)).collect::<Vec<_>>()
    });
    let entries = edges.map(|(at, j, p)| (at, place[j as usize], p)).collect();
    Csr::from_triplets((rows.len(), rows.len()), entries)
}

/// v_2 and v_3 of a connected graph.
fn smooth(graph: &Csr, seed: Seed) -> Result<Array2<f64>> {
    let n = graph.shape().0;
    if n < FEW {
        let mut rng = seed.stream(Draw::Init, 0);
        return Ok(Array2::from_shape_simple_fn((n, 2), || rng.random::<f64>() - 0.5));
    }
    let degree: Vec<f64> = (0..n).map(|i| graph.row(i).1.iter().sum()).collect();
    let root: Vec<f64> = degree.iter().map(|d: &f64| d.max(f64::MIN_POSITIVE).sqrt()).collect();
    let scaled = graph.map_at(|i, j, p| p / (root[i] * root[j]));
    let apply = |x: &[f64], out: &mut [f64]| {
        out.par_iter_mut().with_min_len(256).enumerate().for_each(|(i, out)| {
            let (at, p) = scaled.row(i);
            *out = at.iter().zip(p).map(|(&j, p)| p * x[j as usize]).sum();
        });
    };
    let length = degree.iter().sum::<f64>().sqrt();
    let flat = Array2::from_shape_fn((1, n), |(_, i)| root[i] / length);
    Ok(largest(n, 2, &apply, flat.view(), EFFORT, seed)?.vectors)
}

/// Middles of the parts: principal axes of their means, each part counting as much as any other.
fn middles(members: &[Vec<usize>], points: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let mut means = Array2::zeros((members.len(), points.ncols()));
    for (mut mean, rows) in means.rows_mut().into_iter().zip(members) {
        for &i in rows {
            mean += &points.row(i);
        }
        mean /= rows.len() as f64;
    }
    let centre = means.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(points.ncols()));
    means -= &centre;
    let axes = svd(means.view())?;
    let mut out = Array2::zeros((members.len(), 2));
    for f in 0..axes.s.len().min(2) {
        // A sign that does not depend on the decomposition.
        let column = axes.u.column(f);
        let far = column.iter().fold(0.0f64, |best, v| if v.abs() > best.abs() { *v } else { best });
        out.column_mut(f).assign(&(&column * (axes.s[f] * far.signum())));
    }
    let far = out.iter().fold(f64::MIN_POSITIVE, |m: f64, v| m.max(v.abs()));
    Ok(out * (WIDE / far))
}

/// Distance from a middle to the nearest other.
fn gap(middles: &Array2<f64>, c: usize) -> f64 {
    let own = middles.row(c);
    let to = |other: ndarray::ArrayView1<'_, f64>| (&own - &other).mapv(|v| v * v).sum().sqrt();
    middles
        .rows()
        .into_iter()
        .enumerate()
        .filter(|(t, _)| *t != c)
        .map(|(_, m)| to(m))
        .fold(f64::INFINITY, f64::min)
}
