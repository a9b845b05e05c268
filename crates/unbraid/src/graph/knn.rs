//! Exact k nearest neighbours in Euclidean distance, and the graph they span.
//!
//! ‖a − b‖² = ‖a‖² + ‖b‖² − 2 a·b gives a block of distances as one matrix product; the pairs that
//! could be among the k nearest within its rounding are then measured again by the plain sum, so that
//! the result is that of the double loop.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::pca::{Scale, principal_components};
use crate::data::{Csr, Values};
use crate::error::{Error, Result};
use crate::linalg;

/// Points per block of distances.
const BLOCK: usize = 128;

/// The k nearest other points of every point, nearest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// n × k, which points; of points at one distance the first ones.
    pub index: Array2<u32>,
    /// n × k, Euclidean distances, rising along a row.
    pub distance: Array2<f64>,
}

/// What an edge of a neighbour graph weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Every edge 1.
    Unit,
    /// exp(−d² / s_i s_j) with s the distance to the k-th neighbour (Zelnik-Manor and Perona 2004);
    /// 1 where s_i s_j = 0.
    LocalScale,
}

/// The k nearest other points of every row of `points` (n × d); needs 1 ≤ k < n and finite entries.
///
/// # Errors
/// [`Error::Param`] for k, [`Error::Value`] for an entry that is not finite.
pub fn nearest(points: ArrayView2<'_, f64>, k: usize) -> Result<Neighbours> {
    let n = points.nrows();
    if k == 0 || k >= n {
        return Err(Error::Param {
            name: "k",
            found: k.to_string(),
            rule: "at least 1 and smaller than the number of points",
        });
    }
    if let Some((at, &found)) = points.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "points".into(), found, at, rule: "finite" });
    }
    // Distances do not change when the points are shifted, and rounding is smallest around the mean.
    let centred = &points - &points.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(points.ncols()));
    let centred = centred.as_standard_layout();
    let norms: Vec<f64> = centred.rows().into_iter().map(|r| r.dot(&r)).collect();
    let longest = norms.iter().fold(0.0f64, |m, &v| m.max(v));
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let blocks: Vec<Vec<Vec<(f64, u32)>>> = starts
        .par_iter()
        .map(|&start| {
            let rows = centred.slice(s![start..(start + BLOCK).min(n), ..]);
            let products = linalg::matmul(rows, centred.t());
            let mut order: Vec<f64> = Vec::with_capacity(n);
            products
                .rows()
                .into_iter()
                .enumerate()
                .map(|(r, products)| {
                    let i = start + r;
                    let rough = |j: usize| norms[i] + norms[j] - 2.0 * products[j];
                    order.clear();
                    order.extend((0..n).filter(|&j| j != i).map(rough));
                    let (_, &mut kth, _) = order.select_nth_unstable_by(k - 1, f64::total_cmp);
                    // Above the rounding of a sum of d products, each at most the longest norm.
                    let slack = 8.0 * (points.ncols() + 4) as f64 * f64::EPSILON * (norms[i] + longest);
                    let mut near: Vec<(f64, u32)> = (0..n)
                        .filter(|&j| j != i && rough(j) <= kth + slack)
                        .map(|j| (squared(centred.row(i), centred.row(j)), j as u32))
                        .collect();
                    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    near.truncate(k);
                    near
                })
                .collect()
        })
        .collect();
    let (mut index, mut distance) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
    for (i, near) in blocks.into_iter().flatten().enumerate() {
        for (t, (d, j)) in near.into_iter().enumerate() {
            (index[[i, t]], distance[[i, t]]) = (j, d.sqrt());
        }
    }
    Ok(Neighbours { index, distance })
}

fn squared(a: ndarray::ArrayView1<'_, f64>, b: ndarray::ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

impl Neighbours {
    /// The undirected graph: i and j are joined when either is among the other's neighbours. n × n,
    /// symmetric, zero diagonal.
    pub fn graph(&self, weighting: Weighting) -> Csr {
        let (n, k) = self.index.dim();
        let scale = |i: usize| self.distance[[i, k - 1]];
        let mut entries: Vec<(u32, u32, f64)> = Vec::with_capacity(2 * n * k);
        for ((i, t), &j) in self.index.indexed_iter() {
            let weight = match weighting {
                Weighting::Unit => 1.0,
                Weighting::LocalScale => {
                    let s = scale(i) * scale(j as usize);
                    if s > 0.0 { (-self.distance[[i, t]].powi(2) / s).exp() } else { 1.0 }
                }
            };
            entries.push((i as u32, j, weight));
            entries.push((j, i as u32, weight));
        }
        // A mutual pair comes twice with the same weight; it is one edge.
        entries.sort_by_key(|&(i, j, _)| (i, j));
        entries.dedup_by_key(|&mut (i, j, _)| (i, j));
        Csr::from_triplets((n, n), entries)
    }
}

/// The symmetric graph of the k nearest neighbours of the rows of `points`.
///
/// # Errors
/// As [`nearest`].
pub fn knn_graph(points: ArrayView2<'_, f64>, k: usize, weighting: Weighting) -> Result<Csr> {
    Ok(nearest(points, k)?.graph(weighting))
}

/// The graph users have anyway, and its name: the k nearest neighbours by the 20 leading principal
/// components of log(1 + x), or of x itself where it is `logged` already or an entry at or below −1 has no
/// logarithm.
///
/// # Errors
/// As [`principal_components`] and [`nearest`].
pub fn expression_neighbours(x: Values<'_>, k: usize, logged: bool) -> Result<(Csr, String)> {
    const COMPONENTS: usize = 20;
    let mut lowest = 0.0f64;
    x.matrix.for_each_nonzero(|_, _, v| lowest = lowest.min(v));
    let (scale, of) = match logged {
        true => (Scale::Raw, " of the log values"),
        false if lowest > -1.0 => (Scale::Log1p, " of log1p"),
        false => (Scale::Raw, ""),
    };
    let components = principal_components(x, scale, COMPONENTS)?.scores;
    let name = format!("nearest neighbours ({} PCs{of})", components.ncols());
    Ok((knn_graph(components.view(), k, Weighting::Unit)?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;

    fn brute(x: &Array2<f64>, k: usize) -> Vec<Vec<u32>> {
        let c = x - &x.mean_axis(Axis(0)).unwrap();
        (0..x.nrows())
            .map(|i| {
                let mut all: Vec<(f64, u32)> = (0..x.nrows())
                    .filter(|&j| j != i)
                    .map(|j| (squared(c.row(i), c.row(j)), j as u32))
                    .collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                all.into_iter().take(k).map(|e| e.1).collect()
            })
            .collect()
    }

    #[test]
    fn equals_the_double_loop_with_ties_and_large_offsets() {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        for (n, d, k, grid) in [(40, 3, 5, false), (300, 20, 10, false), (150, 2, 7, true)] {
            let mut x = Array2::from_shape_simple_fn((n, d), || {
                if grid { f64::from(rng.random_range(0..4u8)) } else { rng.random::<f64>() }
            });
            x += 1e4;
            let found = nearest(x.view(), k).unwrap();
            for (row, expected) in found.index.rows().into_iter().zip(brute(&x, k)) {
                assert_eq!(row.to_vec(), expected);
            }
            let g = found.graph(Weighting::LocalScale);
            assert_eq!(g, g.transpose());
            assert!(g.entries().all(|(i, j, w)| i != j && w > 0.0 && w <= 1.0));
            assert!(found.graph(Weighting::Unit).values().iter().all(|&w| w == 1.0));
        }
    }

    #[test]
    fn expression_neighbours_take_the_scale_that_the_values_allow() {
        use crate::data::Matrix;
        let mut rng = Seed(2).stream(Draw::Simulate, 0);
        let mut x = Array2::from_shape_simple_fn((30, 25), || rng.random::<f64>());
        let of = |x: &Array2<f64>| {
            expression_neighbours(Values { what: "X", matrix: &Matrix::Dense(x.clone()) }, 3, false).unwrap()
        };
        let (g, name) = of(&x);
        assert_eq!((g.shape(), name.as_str()), ((30, 30), "nearest neighbours (20 PCs of log1p)"));
        x[[0, 0]] = -2.0;
        assert_eq!(of(&x).1, "nearest neighbours (20 PCs)");
    }

    #[test]
    fn bad_input_is_refused() {
        let x = Array2::zeros((3, 2));
        assert!(nearest(x.view(), 0).is_err() && nearest(x.view(), 3).is_err());
        let mut y = x.clone();
        y[[2, 1]] = f64::INFINITY;
        assert!(nearest(y.view(), 1).unwrap_err().to_string().contains("row 2, column 1"));
        // Equal points: distance 0, the first ones win.
        assert_eq!(nearest(x.view(), 2).unwrap().index.row(2).to_vec(), [0, 1]);
    }
}
