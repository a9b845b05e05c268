//! The table by lines: its samples, or its features. Few zeros: dense; many: sparse, whatever the input was.

use ndarray::{Array2, ArrayView2, CowArray, Ix2};

use crate::data::{Csr, Matrix};
use crate::methods::factor::common::Loss;

/// The entries of one line: all of them, or those that are not zero and their places. Missing entries are 0.
#[derive(Clone, Copy)]
pub(super) enum Entries<'a> {
    All(&'a [f64]),
    Some(&'a [u32], &'a [f64]),
}

impl<'a> Entries<'a> {
    /// The values that are stored.
    pub fn values(self) -> &'a [f64] {
        let (Entries::All(x) | Entries::Some(_, x)) = self;
        x
    }
}

enum Store<'a> {
    Dense(CowArray<'a, f64, Ix2>),
    Sparse(Csr),
}

/// A table by lines.
pub(super) struct Side<'a> {
    store: Store<'a>,
    /// Places that were not measured, line by line; empty where every entry was.
    absent: Vec<Vec<u32>>,
    /// Σ x of each line, for KL.
    pub sums: Vec<f64>,
    /// Σ x² of the whole table, for squared error.
    pub energy: f64,
}

impl<'a> Side<'a> {
    fn new(store: Store<'a>, absent: Vec<Vec<u32>>, loss: Loss) -> Side<'a> {
        let mut side = Side { store, absent, sums: Vec::new(), energy: 0.0 };
        let lines = side.shape().0;
        match (loss, &side.store) {
            (Loss::Kl, _) => side.sums = (0..lines).map(|i| side.line(i).values().iter().sum()).collect(),
            (Loss::Frobenius, Store::Dense(x)) => side.energy = x.iter().map(|x| x * x).sum(),
            (Loss::Frobenius, Store::Sparse(x)) => side.energy = x.values().iter().map(|x| x * x).sum(),
        }
        side
    }

    /// Lines and entries of a line.
    pub fn shape(&self) -> (usize, usize) {
        match &self.store {
            Store::Dense(x) => x.dim(),
            Store::Sparse(x) => x.shape(),
        }
    }
    /// The whole table where it is dense.
    pub fn dense(&self) -> Option<ArrayView2<'_, f64>> {
        match &self.store {
            Store::Dense(x) => Some(x.view()),
            Store::Sparse(_) => None,
        }
    }
    /// The entries of line `i`; a dense table must lie row by row.
    pub fn line(&self, i: usize) -> Entries<'_> {
        match &self.store {
            Store::Dense(x) => Entries::All(x.row(i).to_slice().unwrap_or(&[])),
            Store::Sparse(x) => Entries::Some(x.row(i).0, x.row(i).1),
        }
    }
    /// Whether some entry was not measured.
    pub fn has_absent(&self) -> bool {
        !self.absent.is_empty()
    }
    /// The places of line `i` that were not measured.
    pub fn absent(&self, i: usize) -> &[u32] {
        self.absent.get(i).map_or(&[], |a| a)
    }
}

/// Samples and features of a table whose values are multiplied by `scale`, a power of two.
pub(super) fn sides(matrix: &Matrix, loss: Loss, scale: f64) -> (Side<'_>, Side<'_>) {
    let (n, d) = matrix.shape();
    let (mut filled, mut absent) = (0usize, vec![Vec::new(); n]);
    let mut across = vec![Vec::new(); d];
    matrix.for_each_nonzero(|i, j, v| {
        if v.is_nan() {
            absent[i].push(j as u32);
            across[j].push(i as u32);
        } else if v != 0.0 {
            filled += 1;
        }
    });
    if across.iter().all(|a: &Vec<u32>| a.is_empty()) {
        (absent, across) = (Vec::new(), Vec::new());
    }
    let clean = |v: f64| if v.is_nan() { 0.0 } else { v * scale };
    // From half full on, 24 bytes for an entry and its mirror weigh more than 8 for each of both.
    if 2 * filled < n * d {
        let kept = match matrix {
            Matrix::Dense(x) => Csr::from_dense(x.mapv(clean).view()),
            Matrix::Sparse(x) => Matrix::Sparse(x.map(clean)).to_csr(),
        };
        let features = kept.transpose();
        return (
            Side::new(Store::Sparse(kept), absent, loss),
            Side::new(Store::Sparse(features), across, loss),
        );
    }
    let x: CowArray<'_, f64, Ix2> = match matrix {
        Matrix::Dense(x) if absent.is_empty() && scale == 1.0 && x.is_standard_layout() => x.view().into(),
        Matrix::Dense(x) => x.mapv(clean).as_standard_layout().into_owned().into(),
        Matrix::Sparse(x) => x.map(clean).to_dense().into(),
    };
    // Squared error reads the table by products alone, which take any layout.
    let features: CowArray<'_, f64, Ix2> = match (loss, matrix) {
        (Loss::Frobenius, Matrix::Dense(x)) if absent.is_empty() && scale == 1.0 => x.t().into(),
        _ => transposed(x.view()).into(),
    };
    (Side::new(Store::Dense(x), absent, loss), Side::new(Store::Dense(features), across, loss))
}

/// A transposed copy, in square blocks.
fn transposed(x: ArrayView2<'_, f64>) -> Array2<f64> {
    const BLOCK: usize = 16;
    let (n, d) = x.dim();
    let mut out = Array2::zeros((d, n));
    for i0 in (0..n).step_by(BLOCK) {
        for j0 in (0..d).step_by(BLOCK) {
            for i in i0..(i0 + BLOCK).min(n) {
                for j in j0..(j0 + BLOCK).min(d) {
                    out[[j, i]] = x[[i, j]];
                }
            }
        }
    }
    out
}
