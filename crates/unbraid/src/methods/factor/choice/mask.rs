//! Entries to hold out: a speckled mask.
//!
//! Every row loses the asked share of its measured entries, rounded up or down at random; no row and no column loses more
//! than one and a half times that share (and one entry), nor the last two of what was measured.

use rand::RngExt;
use rand::seq::SliceRandom;

use ndarray::Array2;

use crate::data::{Csr, Matrix};
use crate::fit::{Draw, Seed};

/// Most of a column that may be held out, as a multiple of the share.
const MOST: f64 = 1.5;

/// Positions of the entries that mask number `mask` holds out, by rows; NaN entries are never among them.
pub(super) fn draw(matrix: &Matrix, share: f64, seed: Seed, mask: usize) -> Vec<(u32, u32)> {
    let (n, m) = matrix.shape();
    let mut absent = vec![Vec::new(); n];
    let mut left = vec![n; m];
    matrix.for_each_nonzero(|i, j, v| {
        if v.is_nan() {
            absent[i].push(j);
            left[j] -= 1;
        }
    });
    let most = |count: usize| {
        let share = (MOST * share * count as f64).ceil() as usize + 1;
        share.min(count.saturating_sub(2))
    };
    let mut room: Vec<usize> = left.iter().map(|&count| most(count)).collect();
    let mut rng = seed.stream(Draw::Shuffle, mask as u64);
    let mut rows: Vec<usize> = (0..n).collect();
    rows.shuffle(&mut rng);
    let mut out = Vec::new();
    for i in rows {
        let mut columns: Vec<usize> = match absent[i].is_empty() {
            true => (0..m).collect(),
            false => (0..m).filter(|j| !absent[i].contains(j)).collect(),
        };
        let quota = (share * columns.len() as f64 + rng.random::<f64>()).floor() as usize;
        let quota = quota.min(columns.len().saturating_sub(2));
        columns.shuffle(&mut rng);
        let free = columns.into_iter().filter(|&j| room[j] > 0).take(quota).collect::<Vec<_>>();
        for j in free {
            room[j] -= 1;
            out.push((i as u32, j as u32));
        }
    }
    out.sort_unstable();
    out
}

/// The matrix with NaN at the given positions, which are sorted.
pub(super) fn without(matrix: &Matrix, held: &[(u32, u32)]) -> Matrix {
    match matrix {
        Matrix::Dense(x) => {
            let mut x: Array2<f64> = x.clone();
            held.iter().for_each(|&(i, j)| x[[i as usize, j as usize]] = f64::NAN);
            Matrix::Dense(x)
        }
        Matrix::Sparse(x) => {
            let kept = x.entries().map(|(i, j, v)| (i as u32, j as u32, v));
            let kept = kept.filter(|(i, j, _)| held.binary_search(&(*i, *j)).is_err());
            let entries = kept.chain(held.iter().map(|&(i, j)| (i, j, f64::NAN))).collect();
            Matrix::Sparse(Csr::from_triplets(x.shape(), entries))
        }
    }
}

/// Values at sorted positions; 0 where a sparse matrix stores nothing.
pub(super) fn values(matrix: &Matrix, held: &[(u32, u32)]) -> Vec<f64> {
    match matrix {
        Matrix::Dense(x) => held.iter().map(|&(i, j)| x[[i as usize, j as usize]]).collect(),
        Matrix::Sparse(x) => held
            .iter()
            .map(|&(i, j)| {
                let (columns, values) = x.row(i as usize);
                columns.binary_search(&j).map_or(0.0, |at| values[at])
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Array2<f64> {
        Array2::from_shape_fn((20, 12), |(i, j)| if (i + 2 * j) % 3 == 0 { 0.0 } else { (i * 12 + j) as f64 })
    }

    #[test]
    fn every_line_loses_about_the_share_and_never_all() {
        for share in [0.05, 0.1, 0.3, 0.5] {
            let mut x = table();
            (0..10).for_each(|j| x[[3, j]] = f64::NAN);
            (0..18).for_each(|i| x[[i, 7]] = f64::NAN);
            let held = draw(&Matrix::Dense(x.clone()), share, Seed(1), 0);
            let measured = x.iter().filter(|v| !v.is_nan()).count() as f64;
            assert!((held.len() as f64 - share * measured).abs() < 0.25 * share * measured + 3.0, "{share}");
            let masked = without(&Matrix::Dense(x.clone()), &held).to_dense();
            assert!(held.iter().all(|&(i, j)| !x[[i as usize, j as usize]].is_nan()), "nothing twice");
            for line in masked.rows().into_iter().chain(masked.columns()) {
                assert!(line.iter().filter(|v| !v.is_nan()).count() >= 2, "{share}: {line}");
            }
            for (column, before) in masked.columns().into_iter().zip(x.columns()) {
                let count = |c: ndarray::ArrayView1<'_, f64>| c.iter().filter(|v| !v.is_nan()).count() as f64;
                assert!(count(before) - count(column) <= 1.5 * share * count(before) + 2.0, "{share}");
            }
            assert_ne!(held, draw(&Matrix::Dense(x), share, Seed(1), 1));
        }
    }

    #[test]
    fn a_sparse_table_loses_the_same_entries() {
        let x = table();
        let (dense, sparse) = (Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view())));
        let held = draw(&dense, 0.2, Seed(2), 3);
        assert_eq!(held, draw(&sparse, 0.2, Seed(2), 3));
        assert_eq!(values(&dense, &held), values(&sparse, &held));
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a == b || a.is_nan() && b.is_nan();
        let (a, b) = (without(&dense, &held).to_dense(), without(&sparse, &held).to_dense());
        assert!(a.iter().zip(&b).all(|(a, b)| same(*a, *b)));
    }
}
