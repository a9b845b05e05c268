//! The two hidden layers of one feature as products of matrices, for rows with any number of active columns.

use super::{Frame, Sums, matrix, matrix_mut, row, row_mut, shaped};
use crate::linalg::{Accum, gemm_alone};
use crate::methods::multistudy::network::Tile;
use crate::nn::Real;
use crate::nn::activation::{relu, relu_adjoint};
use crate::nn::lanes::{axpy, dot, sum};

/// A_jᵀ, the active rows of z, h₁, h₂ and what comes back to h₁.
#[derive(Debug, Default)]
pub(super) struct Memory<T> {
    a: Vec<T>,
    z: Vec<T>,
    h1: Vec<T>,
    h2: Vec<T>,
    d1: Vec<T>,
    da: Vec<T>,
}

/// Adds v · h₂ to `o`.
#[inline(always)]
pub(super) fn forward<T: Real>(
    frame: &Frame<'_, T>,
    tile: &Tile<T>,
    active: &[usize],
    w: &[T],
    v: &[T],
    memory: &mut Memory<T>,
    o: &mut [T],
) {
    let d = frame.decoder;
    let (s, n, (h2, h1)) = (active.len(), tile.z.ncols(), d.v2.value.dim());
    let a = shaped(&mut memory.a, s, h1);
    let z = shaped(&mut memory.z, s, n);
    for (at, &p) in active.iter().enumerate() {
        let k = tile.columns[p];
        for (a, v) in a[at * h1..(at + 1) * h1].iter_mut().zip(row(&frame.v1t, k)) {
            *a = w[k] * *v;
        }
        z[at * n..(at + 1) * n].copy_from_slice(row(&tile.z, p));
    }
    let one = shaped(&mut memory.h1, h1, n);
    gemm_alone(matrix_mut(one, h1, n), Accum::Replace, matrix(a, s, h1).t(), matrix(z, s, n));
    relu(one);
    let two = shaped(&mut memory.h2, h2, n);
    gemm_alone(matrix_mut(two, h2, n), Accum::Replace, d.v2.value.view(), matrix(one, h1, n));
    for (h, b) in d.b2.value.iter().enumerate() {
        let two = &mut two[h * n..(h + 1) * n];
        for (o, h2) in o.iter_mut().zip(two) {
            *h2 = (*h2 + *b).larger(T::ZERO);
            *o += v[h] * *h2;
        }
    }
}

/// The way back from `g`; h₁ and h₂ are those of the last forward call.
#[inline(always)]
pub(super) fn backward<T: Real>(
    frame: &Frame<'_, T>,
    tile: &Tile<T>,
    active: &[usize],
    w: &[T],
    v: &[T],
    memory: &mut Memory<T>,
    g: &[T],
    sums: &mut Sums<T>,
    at: usize,
    dw: &mut [T],
    dv: &mut [T],
) {
    let d = frame.decoder;
    let (s, n, (h2, h1)) = (active.len(), tile.z.ncols(), d.v2.value.dim());
    let Memory { a, z, h1: one, h2: two, d1, da } = memory;
    let (one, two) = (shaped(one, h1, n), shaped(two, h2, n));
    // dh₂ takes the place of h₂.
    for h in 0..h2 {
        let two = &mut two[h * n..(h + 1) * n];
        dv[h] += dot(two, g);
        for (h2, g) in two.iter_mut().zip(g) {
            *h2 = if *h2 > T::ZERO { v[h] * *g } else { T::ZERO };
        }
        sums.b2[h] += sum(two);
    }
    let two = matrix(two, h2, n);
    gemm_alone(sums.v2.view_mut(), Accum::Add, two, matrix(one, h1, n).t());
    let d1 = shaped(d1, h1, n);
    gemm_alone(matrix_mut(d1, h1, n), Accum::Replace, d.v2.value.t(), two);
    relu_adjoint(one, d1);
    // dA and dw, of all columns where weights that are 0 count too.
    let (rows, zs) = if frame.full { (tile.columns.len(), tile.z.view()) } else { (s, matrix(z, s, n)) };
    let da = shaped(da, rows, h1);
    gemm_alone(matrix_mut(da, rows, h1), Accum::Replace, zs, matrix(d1, h1, n).t());
    for (r, da) in da.chunks_exact(h1).enumerate() {
        let k = tile.columns[if frame.full { r } else { active[r] }];
        dw[k] += dot(da, row(&frame.v1t, k));
        if w[k] != T::ZERO {
            axpy(w[k], da, row_mut(&mut sums.v1t, k));
        }
    }
    // dz
    let z = shaped(z, s, n);
    gemm_alone(matrix_mut(z, s, n), Accum::Replace, matrix(a, s, h1), matrix(d1, h1, n));
    for (z, &p) in z.chunks_exact(n).zip(active) {
        axpy(T::ONE, z, row_mut(&mut sums.dz[at], p));
    }
}
