//! Where a picture begins: the smoothest functions on the graph.
//!
//! ```text
//! D^{-1/2} P D^{-1/2} v = λ v,     λ_1 = 1, v_1 ∝ √d left out;     y = (v_2, v_3), largest |entry| 10
//! ```
//!
//! A graph in several parts has λ = 1 once for each, and its vectors say only which part a point is in. Then every part has a start of its
//! own, as wide as the root of its share of the points. The largest lies in the middle, the others, by falling size, around it: each in the direction that its
//! mean has on the two principal axes of all means, and as near as those that are there allow. Both coordinates are stretched to 0 … 10
//! after a little noise, which separates points that lie on each other.

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
/// Gap between parts, against it.
const GAP: f64 = 0.2;
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
    let reach: Vec<f64> = members.iter().map(|m| WIDE * (m.len() as f64 / n as f64).sqrt()).collect();
    let middles = match count {
        1 => vec![[0.0; 2]],
        _ => placed(&axes(&members, points)?, &reach),
    };
    let mut out = Array2::zeros((n, 2));
    for (c, rows) in members.iter().enumerate() {
        let seed = seed.child(Draw::Init, c as u64);
        let own = smooth(&within(graph, rows), seed)?;
        let far = own.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        for (&i, y) in rows.iter().zip(own.rows()) {
            for axis in 0..2 {
                out[[i, axis]] = middles[c][axis] + y[axis] * reach[c] / far;
            }
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

/// Means of the parts on their two principal axes, each part counting as much as any other.
fn axes(members: &[Vec<usize>], points: ArrayView2<'_, f64>) -> Result<Vec<[f64; 2]>> {
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
    let mut out = vec![[0.0; 2]; members.len()];
    for f in 0..axes.s.len().min(2) {
        // A sign that does not depend on the decomposition.
        let column = axes.u.column(f);
        let far = column.iter().fold(0.0f64, |best, v| if v.abs() > best.abs() { *v } else { best });
        out.iter_mut().zip(&column).for_each(|(at, u)| at[f] = u * axes.s[f] * far.signum());
    }
    Ok(out)
}

/// Middles of discs in given directions from the largest, none within [`GAP`] of another.
fn placed(towards: &[[f64; 2]], reach: &[f64]) -> Vec<[f64; 2]> {
    let mut order: Vec<usize> = (0..reach.len()).collect();
    order.sort_by(|&a, &b| reach[b].total_cmp(&reach[a]).then(a.cmp(&b)));
    let mut out = vec![[0.0; 2]; reach.len()];
    let first = order[0];
    for (turn, &c) in order.iter().enumerate().skip(1) {
        let (x, y) = (towards[c][0] - towards[first][0], towards[c][1] - towards[first][1]);
        let length = x.hypot(y);
        // Equal means: one direction after the other, by the golden angle.
        let angle = 2.399_963_229_728_653 * turn as f64;
        let way = if length > 0.0 { [x / length, y / length] } else { [angle.cos(), angle.sin()] };
        // Along its way a disc is too near another between the roots of |t way − middle|² = apart²; the first free t is 0 or the end of such a stretch.
        let stretches: Vec<(f64, f64)> = order[..turn]
            .iter()
            .filter_map(|&o| {
                let apart = reach[c] + reach[o] + GAP * WIDE;
                let along = way[0] * out[o][0] + way[1] * out[o][1];
                let rest = along * along + apart * apart - out[o][0].powi(2) - out[o][1].powi(2);
                (rest > 0.0).then(|| (along - rest.sqrt(), along + rest.sqrt()))
            })
            .collect();
        let mut t = 0.0f64;
        // Each pass leaves one stretch behind for good.
        for _ in 0..stretches.len() {
            let beyond = stretches.iter().filter(|(from, to)| *from < t && t < *to).map(|s| s.1);
            t = beyond.fold(t, f64::max);
        }
        out[c] = [t * way[0], t * way[1]];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_are_placed_near_the_largest_without_touching() {
        let reach = [1.0, 8.0, 2.0, 2.0, 0.5];
        let towards = [[1.0, 0.0], [0.0, 0.0], [2.0, 0.1], [-1.0, 0.0], [0.0, 0.0]];
        let found = placed(&towards, &reach);
        assert_eq!(found[1], [0.0, 0.0]);
        for i in 0..5 {
            for j in 0..i {
                let d = (found[i][0] - found[j][0]).hypot(found[i][1] - found[j][1]);
                assert!(d >= reach[i] + reach[j] + GAP * WIDE - 1e-9, "{i} {j} {d}");
            }
        }
        // In its direction, as near as can be.
        assert!((found[3][0] + 12.0).abs() < 1e-9 && found[0][0] > 11.0);
    }
}
