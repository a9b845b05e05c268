//! What lies together in a tissue: of one value, and of types of cells.
//!
//! ```text
//! I = (n/W) Σ_i Σ_{j ~ i} (v_i − v̄)(v_j − v̄) / Σ_i (v_i − v̄)²,    W = Σ_i Σ_{j ~ i} 1
//! R_ab = log((E_ab + 1/2)/(E_a E_b/E + 1/2))
//! ```
//!
//! I is Moran's (`moran1950`): near 0 for values without order, near 1 where neighbours are alike. E_ab counts edges from a cell of type a to
//! one of type b, both ends of an edge being one; R_ab is above 0 where the types meet more often than by chance.

use ndarray::{Array2, ArrayView1, Axis};
use rand::seq::SliceRandom;

use super::neighbours::Neighbours;
use crate::fit::{Draw, Seed};
use crate::stats::ranks::correlation;

/// Moran's I of a value of each cell; `None` where all values are the same or no cell has a neighbour.
pub fn morans_i(values: ArrayView1<'_, f64>, neighbours: &Neighbours) -> Option<f64> {
    let mean = values.mean()?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let edges = neighbours.directed();
    if edges == 0 || squares <= f64::MIN_POSITIVE {
        return None;
    }
    let sum: f64 = (0..neighbours.len())
        .map(|i| {
            let near: f64 = neighbours.of(i).iter().map(|&j| values[j as usize] - mean).sum();
            (values[i] - mean) * near
        })
        .sum();
    Some(values.len() as f64 / edges as f64 * sum / squares)
}

/// R of `types` types, types × types; cells of no type are left out.
pub fn meetings(kind: &[Option<usize>], types: usize, neighbours: &Neighbours) -> Array2<f64> {
    let mut found = Array2::zeros((types, types));
    for (i, a) in kind.iter().enumerate() {
        for &j in neighbours.of(i) {
            if let (Some(a), Some(b)) = (a, kind[j as usize]) {
                found[[*a, b]] += 1.0;
            }
        }
    }
    let of: Vec<f64> = found.rows().into_iter().map(|row| row.sum()).collect();
    let all = of.iter().sum::<f64>().max(1.0);
    found.indexed_iter_mut().for_each(|((a, b), e)| *e = ((*e + 0.5) / (of[a] * of[b] / all + 0.5)).ln());
    found
}

/// A table of types × types between two families of types, less the means of its rows and of its columns: what each prefers of the
/// other family, beyond what all do.
pub fn preferences(m: &Array2<f64>, rows: &[usize], columns: &[usize]) -> Array2<f64> {
    let mut out = m.select(Axis(0), rows).select(Axis(1), columns);
    for axis in [Axis(1), Axis(0)] {
        if let Some(mean) = out.mean_axis(axis) {
            out -= &mean.insert_axis(axis);
        }
    }
    out
}

/// Rank correlation of two tables of one shape, and its p-value: the share, itself counted, of `exchanges` of the names of the rows and
/// of the columns of the first that reach it.
pub fn agreement(a: &Array2<f64>, b: &Array2<f64>, exchanges: usize, seed: Seed) -> (f64, f64) {
    let flat = |m: &Array2<f64>| m.iter().copied().collect::<Vec<f64>>();
    let of = flat(b);
    let found = correlation(&flat(a), &of);
    let mut rng = seed.stream(Draw::Shuffle, 0);
    let (mut rows, mut columns): (Vec<usize>, Vec<usize>) =
        ((0..a.nrows()).collect(), (0..a.ncols()).collect());
    let reached = (0..exchanges)
        .filter(|_| {
            rows.shuffle(&mut rng);
            columns.shuffle(&mut rng);
            correlation(&flat(&a.select(Axis(0), &rows).select(Axis(1), &columns)), &of) >= found
        })
        .count();
    (found, (reached + 1) as f64 / (exchanges + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of cells.
    fn ring(n: u32) -> Neighbours {
        Neighbours::from_edges(n as usize, (0..n).map(|i| (i, (i + 1) % n)))
    }

    #[test]
    fn order_is_told_from_none() {
        let halves = ndarray::Array1::from_shape_fn(40, |i| f64::from(u8::from(i < 20)));
        let turns = ndarray::Array1::from_shape_fn(40, |i| (i % 2) as f64);
        // Two edges of forty join the halves: 1 − 2 · 2/40; neighbours in turns are all opposite.
        assert!((morans_i(halves.view(), &ring(40)).unwrap() - 0.9).abs() < 1e-12);
        assert!((morans_i(turns.view(), &ring(40)).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(morans_i(ndarray::Array1::ones(40).view(), &ring(40)), None);
        assert_eq!(morans_i(halves.view(), &Neighbours::from_edges(40, [])), None);
    }

    #[test]
    fn types_that_meet_are_found() {
        // a a b b a a b b …, and a cell of no type.
        let mut kind: Vec<Option<usize>> = (0..40).map(|i| Some(i / 2 % 2)).collect();
        let even = meetings(&kind, 2, &ring(40));
        // Every cell has a neighbour of each type: 20 edges where 20 are expected.
        assert!(even.iter().all(|r| r.abs() < 1e-12), "{even}");
        kind.iter_mut().enumerate().for_each(|(i, k)| *k = Some(usize::from(i >= 20)));
        kind[39] = None;
        let apart = meetings(&kind, 3, &ring(40));
        assert!(apart[[0, 0]] > 0.5 && apart[[1, 1]] > 0.5 && apart[[0, 1]] < -2.0, "{apart}");
        // A type without cells meets nothing, and is not NaN.
        assert_eq!(apart[[2, 2]], 0.0);
        assert_eq!(apart, apart.t());
    }

    #[test]
    fn preferences_are_found_and_their_chance_told() {
        let m = Array2::from_shape_fn((5, 6), |(i, j)| 3.0 * i as f64 + j as f64 + ((i * j) as f64).sin());
        let own = preferences(&m, &[0, 2, 3, 4], &[0, 1, 2, 4, 5]);
        assert_eq!(own.dim(), (4, 5));
        assert!(own.sum_axis(Axis(0)).iter().chain(&own.sum_axis(Axis(1))).all(|v| v.abs() < 1e-12));
        let (rho, p) = agreement(&own, &own, 999, Seed(1));
        assert!((rho - 1.0).abs() < 1e-12 && p < 0.01, "{rho} {p}");
        let other = Array2::from_shape_fn((4, 5), |(i, j)| ((7 * i + 3 * j) as f64).cos());
        let (rho, p) = agreement(&own, &other, 999, Seed(1));
        assert!(rho < 0.9 && p > 0.02, "{rho} {p}");
        assert_eq!(agreement(&own, &other, 999, Seed(1)), (rho, p));
    }
}
