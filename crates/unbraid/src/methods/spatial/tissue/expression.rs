//! Products with the expression of the slices, which stays as it is stored.

use ndarray::{Array2, ArrayView2, Axis};

use crate::data::Csr;
use crate::linalg::randomized::{Operator, SparseShifted};

/// Expression as it is stored: of all cells, or by slice where its genes have scales of their own.
pub(super) enum Table<'a> {
    Dense(ArrayView2<'a, f64>),
    Sparse(SparseShifted),
    Slices(Vec<Slice>),
}

/// Expression of one slice.
pub(super) enum Slice {
    Dense(Array2<f64>),
    Sparse(Box<(SparseShifted, Csr)>),
}

impl Slice {
    pub(super) fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        match self {
            Slice::Dense(y) => y.view().apply(x),
            Slice::Sparse(y) => y.0.apply(x),
        }
    }

    pub(super) fn apply_transposed(&self, w: ArrayView2<'_, f64>) -> Array2<f64> {
        match self {
            Slice::Dense(y) => y.view().apply_transposed(w),
            Slice::Sparse(y) => y.0.apply_transposed(w),
        }
    }

    /// Σ_g y_ig² v_g of each cell.
    pub(super) fn squares(&self, v: &[f64]) -> Vec<f64> {
        match self {
            Slice::Dense(y) => {
                y.rows().into_iter().map(|row| row.iter().zip(v).map(|(y, v)| y * y * v).sum()).collect()
            }
            Slice::Sparse(y) => (0..y.1.shape().0)
                .map(|i| {
                    let (at, values) = y.1.row(i);
                    at.iter().zip(values).map(|(&g, y)| y * y * v[g as usize]).sum()
                })
                .collect(),
        }
    }
}

impl Table<'_> {
    /// The whole table, for starts and for fits without scales of genes.
    pub(super) fn whole(&self, slices: &[Vec<usize>], x: ArrayView2<'_, f64>) -> Array2<f64> {
        match self {
            Table::Dense(y) => y.apply(x),
            Table::Sparse(y) => y.apply(x),
            Table::Slices(parts) => {
                let n = slices.iter().map(Vec::len).sum();
                let mut out = Array2::zeros((n, x.ncols()));
                for (part, cells) in parts.iter().zip(slices) {
                    scatter(&part.apply(x), cells, &mut out);
                }
                out
            }
        }
    }

    pub(super) fn whole_transposed(&self, slices: &[Vec<usize>], w: ArrayView2<'_, f64>) -> Array2<f64> {
        match self {
            Table::Dense(y) => y.apply_transposed(w),
            Table::Sparse(y) => y.apply_transposed(w),
            Table::Slices(parts) => {
                let products = parts.iter().zip(slices).map(|(part, cells)| {
                    let own = w.select(Axis(0), cells);
                    part.apply_transposed(own.view())
                });
                products.reduce(|a, b| a + b).unwrap_or_else(|| Array2::zeros((0, w.ncols())))
            }
        }
    }
}

/// Rows of a slice to their places among all cells.
pub(super) fn scatter(rows: &Array2<f64>, cells: &[usize], out: &mut Array2<f64>) {
    for (row, &i) in rows.rows().into_iter().zip(cells) {
        out.row_mut(i).assign(&row);
    }
}

/// The table of all cells as an operator, for its singular vectors.
pub(super) struct Whole<'t, 'a>(
    pub(super) &'t Table<'a>,
    pub(super) &'t [Vec<usize>],
    pub(super) (usize, usize),
);

impl Operator for Whole<'_, '_> {
    fn shape(&self) -> (usize, usize) {
        self.2
    }
    fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        self.0.whole(self.1, x)
    }
    fn apply_transposed(&self, y: ArrayView2<'_, f64>) -> Array2<f64> {
        self.0.whole_transposed(self.1, y)
    }
}
