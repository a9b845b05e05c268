//! The table by lines: its samples, or its features. Few zeros: dense; many: sparse, whatever the input was.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::data::{Csr, Matrix};
use crate::linalg::settle;
use crate::methods::factor::common::Loss;
use crate::methods::factor::divergence::dispatch;

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
    Sparse(Cow<'a, Csr>),
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
        if loss == Loss::Kl {
            side.sums = (0..side.shape().0).map(|i| side.line(i).values().iter().sum()).collect();
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

/// What one pass over the values finds.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// Entries that are NaN, and those that are neither NaN nor 0.
    pub absent: usize,
    pub filled: usize,
    /// Σ x and Σ x² of those that were measured.
    pub total: f64,
    pub energy: f64,
}

/// Values that one task counts.
const SPAN: usize = 1 << 15;

impl Tally {
    /// Of a table multiplied by `scale`; sums run in fixed lanes over fixed spans of the stored values.
    pub fn of(matrix: &Matrix, scale: f64) -> Tally {
        let over = |values: &[f64]| {
            let spans: Vec<Tally> = values
                .par_chunks(SPAN)
                .map(|values| {
                    settle();
                    dispatch(Count { values, scale })
                })
                .collect();
            spans.into_iter().fold(Tally::default(), |a, b| Tally {
                absent: a.absent + b.absent,
                filled: a.filled + b.filled,
                total: a.total + b.total,
                energy: a.energy + b.energy,
            })
        };
        match matrix {
            Matrix::Dense(x) => over(x.as_standard_layout().as_slice().unwrap_or(&[])),
            Matrix::Sparse(x) => over(x.values()),
        }
    }
}

/// A [`Tally`] of some values.
struct Count<'a> {
    values: &'a [f64],
    scale: f64,
}

impl WithSimd for Count<'_> {
    type Output = Tally;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Tally {
        let Count { values, scale } = self;
        let (zero, one, scale) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0), simd.splat_f64s(scale));
        // Numbers below 2⁵³ count exactly.
        let (mut total, mut energy, mut absent, mut empty) = (zero, zero, zero, zero);
        let (whole, rest) = S::as_simd_f64s(values);
        let last = [simd.partial_load_f64s(rest)];
        for &x in whole.iter().chain(&last) {
            let measured = simd.equal_f64s(x, x);
            let v = simd.mul_f64s(simd.select_f64s(measured, x, zero), scale);
            total = simd.add_f64s(total, v);
            energy = simd.mul_add_e_f64s(v, v, energy);
            absent = simd.add_f64s(absent, simd.select_f64s(measured, zero, one));
            empty = simd.add_f64s(empty, simd.select_f64s(simd.equal_f64s(x, zero), one, zero));
        }
        let absent = simd.reduce_sum_f64s(absent) as usize;
        Tally {
            absent,
            filled: (whole.len() + 1) * S::F64_LANES - absent - simd.reduce_sum_f64s(empty) as usize,
            total: simd.reduce_sum_f64s(total),
            energy: simd.reduce_sum_f64s(energy),
        }
    }
}

/// The table sparse where less than half is filled and dense otherwise, whatever it was, so that both forms of one table give the
/// same bits; and what one pass over it finds.
pub(super) fn stored(matrix: &Matrix) -> (Cow<'_, Matrix>, Tally) {
    let (n, d) = matrix.shape();
    let tally = Tally::of(matrix, 1.0);
    // From half full on, 24 bytes for an entry and its mirror weigh more than 8 for each of both.
    let other = match (matrix, 2 * tally.filled < n * d) {
        (Matrix::Dense(x), true) => Matrix::Sparse(Csr::from_dense(x.view())),
        (Matrix::Sparse(x), false) => Matrix::Dense(x.to_dense()),
        _ => return (Cow::Borrowed(matrix), tally),
    };
    let tally = Tally::of(&other, 1.0);
    (Cow::Owned(other), tally)
}

/// Samples and features of a table as it is [`stored`], whose values are multiplied by `scale`, a power of two; `tally` is
/// [`Tally::of`] both.
pub(super) fn sides(matrix: &Matrix, tally: Tally, loss: Loss, scale: f64) -> (Side<'_>, Side<'_>) {
    let (n, d) = matrix.shape();
    let (mut absent, mut across) = (Vec::new(), Vec::new());
    if tally.absent > 0 {
        (absent, across) = (vec![Vec::new(); n], vec![Vec::new(); d]);
        matrix.for_each_nonzero(|i, j, v| {
            if v.is_nan() {
                absent[i].push(j as u32);
                across[j].push(i as u32);
            }
        });
    }
    let as_is = absent.is_empty() && scale == 1.0;
    let clean = |v: f64| if v.is_nan() { 0.0 } else { v * scale };
    let (samples, features) = match matrix {
        Matrix::Sparse(x) => {
            let kept = if as_is && x.nnz() == tally.filled {
                Cow::Borrowed(x)
            } else {
                Cow::Owned(Matrix::Sparse(x.map(clean)).to_csr())
            };
            let features = Cow::Owned(kept.transpose());
            (Store::Sparse(kept), Store::Sparse(features))
        }
        Matrix::Dense(values) => {
            let x: CowArray<'_, f64, Ix2> = if as_is && values.is_standard_layout() {
                values.view().into()
            } else {
                values.mapv(clean).as_standard_layout().into_owned().into()
            };
            // Squared error reads the table by products alone, which take any layout.
            let features: CowArray<'_, f64, Ix2> = if loss == Loss::Frobenius && as_is {
                values.t().into()
            } else {
                transposed(x.view()).into()
            };
            (Store::Dense(x), Store::Dense(features))
        }
    };
    let mut both = (Side::new(samples, absent, loss), Side::new(features, across, loss));
    if loss == Loss::Frobenius {
        (both.0.energy, both.1.energy) = (tally.energy, tally.energy);
    }
    both
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
