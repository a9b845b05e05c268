//! Squared error of a dense table, read once a step.
//!
//! The half of the samples needs X U_y, that of the features Xᵀ V_y, and row i of V_y depends on row i of X alone. So a block
//! R of samples goes all the way while it is in the cache:
//!
//! ```text
//! B_R = X_R U_y,   V′_R := better(V_R; U_y, B_R),   V_y,R := beyond(V′_R, V_R),   C += X_Rᵀ V_y,R.
//! ```
//!
//! 4 n d k operations a step and n d + O((n + d) k) numbers read, where two products read 2 n d. C is summed over a fixed number
//! of parts, each its blocks in order, so that its bits do not depend on the threads.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::kernel::{LANES, PAD};
use super::sweep::{How, Other, Scratch, squares};
use super::table::Side;
use crate::linalg::settle;
use crate::methods::factor::divergence::dispatch;

/// Samples of a block: its rows stay in the second cache up to about a thousand features.
const BLOCK: usize = 32;
/// Features that products and sums go through at once: as much of a few factors stays in the first cache.
const STRETCH: usize = 1024;
/// Sums of C that run side by side.
const PARTS: usize = 16;
/// Rows (or vectors of columns) of the table, and factors, whose sums stay in registers.
const TALL: usize = 3;
const WIDE: usize = 4;

/// V_y (n × k) and C = Xᵀ V_y (d × k) from U_y `f` (d × k) and V `v` (n × k); `x` lies row by row and has no absent entry.
pub(super) fn pass(
    how: How,
    side: &Side<'_>,
    x: ArrayView2<'_, f64>,
    f: ArrayView2<'_, f64>,
    v: &Array2<f64>,
    beyond: impl Fn(f64, f64) -> f64 + Sync,
) -> (Array2<f64>, Array2<f64>) {
    let (n, d) = x.dim();
    let other = Other::new(side, how.loss, f);
    let (k, stride) = (other.k, d.next_multiple_of(PAD));
    let mut turned = Array2::zeros((k, stride));
    turned.slice_mut(s![.., ..d]).assign(&f.t());
    let rows = turned.as_slice().unwrap_or(&[]);
    let part = n.div_ceil(BLOCK).div_ceil(PARTS) * BLOCK;
    let one = |at: usize, ahead: &mut [f64]| -> Array2<f64> {
        settle();
        let mut scratch = Scratch::new(&other);
        let mut sum = Array2::zeros((k, stride));
        let mut products = Array2::zeros((BLOCK, k));
        for (block, new) in ahead.chunks_mut(BLOCK * k).enumerate() {
            let (first, count) = (at * part + block * BLOCK, new.len() / k);
            let (x, old) = (x.slice(s![first..first + count, ..]), v.slice(s![first..first + count, ..]));
            let Some(x) = x.to_slice() else { continue };
            if let Some(out) = products.as_slice_mut() {
                dispatch(Products { x, d, rows, stride, k, out: &mut out[..count * k] });
            }
            for (batch, new) in new.chunks_mut(LANES * k).enumerate() {
                let (from, lines) = (batch * LANES, new.len() / k);
                let b = products.slice(s![from..from + lines, ..]);
                squares(how, side, &other, b, first + from, new, &mut scratch);
            }
            new.iter_mut().zip(&old).for_each(|(new, old)| *new = beyond(*new, *old));
            if let Some(sum) = sum.as_slice_mut() {
                dispatch(Crossed { x, d, v: new, k, sum, stride });
            }
        }
        sum
    };
    let mut ahead = v.clone();
    let sums: Vec<Array2<f64>> = match ahead.as_slice_mut() {
        Some(ahead) => ahead.par_chunks_mut(part * k).enumerate().map(|(at, rows)| one(at, rows)).collect(),
        None => Vec::new(),
    };
    let mut crossed = Array2::zeros((d, k));
    let mut stretches: Vec<_> = crossed.axis_chunks_iter_mut(Axis(0), STRETCH).collect();
    stretches.par_iter_mut().enumerate().for_each(|(at, to)| {
        let columns = at * STRETCH..at * STRETCH + to.nrows();
        sums.iter().for_each(|sum| *to += &sum.slice(s![.., columns.clone()]).t());
    });
    (ahead, crossed)
}

/// B = X F for some rows of X (d numbers each): `rows` holds those of Fᵀ, `stride` apart and 0 beyond d; `out` is rows × k.
struct Products<'a> {
    x: &'a [f64],
    d: usize,
    rows: &'a [f64],
    stride: usize,
    k: usize,
    out: &'a mut [f64],
}

impl WithSimd for Products<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { x, d, rows, stride, k, out } = self;
        out.fill(0.0);
        for (from, a) in (0..d).step_by(STRETCH).flat_map(|j| (0..k).step_by(WIDE).map(move |a| (j, a))) {
            let f = &rows[a * stride..];
            let to = (from + STRETCH).min(d);
            for (x, out) in x.chunks(TALL * d).zip(out.chunks_mut(TALL * k)) {
                let out = &mut out[a..];
                match (x.len() / d, (k - a).min(WIDE)) {
                    (3, 4) => products::<S, 3, 4>(simd, x, d, from..to, f, stride, out, k),
                    (3, 3) => products::<S, 3, 3>(simd, x, d, from..to, f, stride, out, k),
                    (3, 2) => products::<S, 3, 2>(simd, x, d, from..to, f, stride, out, k),
                    (3, _) => products::<S, 3, 1>(simd, x, d, from..to, f, stride, out, k),
                    (_, wide) => {
                        for (x, out) in x.chunks(d).zip(out.chunks_mut(k)) {
                            for (f, out) in f.chunks(stride).zip(&mut out[..wide]) {
                                let out = std::slice::from_mut(out);
                                products::<S, 1, 1>(simd, x, d, from..to, f, stride, out, k);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The part of entries `span`, whose start is a multiple of [`PAD`], for `R` rows and `A` factors.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn products<S: Simd, const R: usize, const A: usize>(
    simd: S,
    x: &[f64],
    d: usize,
    span: Range<usize>,
    f: &[f64],
    stride: usize,
    out: &mut [f64],
    k: usize,
) {
    let padded = span.start..span.end.next_multiple_of(PAD);
    let x: [_; R] = std::array::from_fn(|r| S::as_simd_f64s(&x[r * d..][span.clone()]));
    let f: [_; A] = std::array::from_fn(|a| S::as_simd_f64s(&f[a * stride..][padded.clone()]).0);
    let whole = x[0].0.len();
    let (x_whole, f_whole) = (x.map(|x| &x.0[..whole]), f.map(|f| &f[..whole]));
    let mut sums = [[simd.splat_f64s(0.0); A]; R];
    for j in 0..whole {
        let f = f_whole.map(|f| f[j]);
        for (sums, x) in sums.iter_mut().zip(x_whole) {
            for (sum, f) in sums.iter_mut().zip(f) {
                *sum = simd.mul_add_e_f64s(x[j], f, *sum);
            }
        }
    }
    for (r, (sums, x)) in sums.into_iter().zip(x).enumerate() {
        let rest = simd.partial_load_f64s(x.1);
        for (a, sum) in sums.into_iter().enumerate() {
            let sum = if x.1.is_empty() { sum } else { simd.mul_add_e_f64s(rest, f[a][whole], sum) };
            out[r * k + a] += simd.reduce_sum_f64s(sum);
        }
    }
}

/// Adds Vᵀ X for some rows of X (d numbers each) and of V (k each) to `sum` (k rows, `stride` apart).
struct Crossed<'a> {
    x: &'a [f64],
    d: usize,
    v: &'a [f64],
    k: usize,
    sum: &'a mut [f64],
    stride: usize,
}

impl WithSimd for Crossed<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Crossed { x, d, v, k, sum, stride } = self;
        let lanes = S::F64_LANES;
        let group = TALL * lanes;
        for from in (0..d).step_by(group) {
            for a in (0..k).step_by(WIDE) {
                let sum = &mut sum[a * stride..];
                match ((d - from) / lanes >= TALL, (k - a).min(WIDE)) {
                    (true, 4) => crossed::<S, 3, 4>(simd, x, d, from, &v[a..], k, sum, stride),
                    (true, 3) => crossed::<S, 3, 3>(simd, x, d, from, &v[a..], k, sum, stride),
                    (true, 2) => crossed::<S, 3, 2>(simd, x, d, from, &v[a..], k, sum, stride),
                    (true, _) => crossed::<S, 3, 1>(simd, x, d, from, &v[a..], k, sum, stride),
                    (_, wide) => {
                        for (from, c) in (from..d).step_by(lanes).flat_map(|j| (0..wide).map(move |c| (j, c)))
                        {
                            crossed::<S, 1, 1>(
                                simd,
                                x,
                                d,
                                from,
                                &v[a + c..],
                                k,
                                &mut sum[c * stride..],
                                stride,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// The part of `C` vectors of columns from `from` on, for the first `A` columns of V; a last vector may be cut short.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn crossed<S: Simd, const C: usize, const A: usize>(
    simd: S,
    x: &[f64],
    d: usize,
    from: usize,
    v: &[f64],
    k: usize,
    sum: &mut [f64],
    stride: usize,
) {
    let lanes = S::F64_LANES;
    let span = C * lanes;
    let mut sums = [[simd.splat_f64s(0.0); C]; A];
    for (sums, sum) in sums.iter_mut().zip(sum.chunks(stride)) {
        sums.copy_from_slice(S::as_simd_f64s(&sum[from..from + span]).0);
    }
    for (x, v) in x.chunks_exact(d).zip(v.chunks(k)) {
        let x: [S::f64s; C] = match x.get(from..from + span) {
            Some(x) => std::array::from_fn(|c| S::as_simd_f64s(x).0[c]),
            None => [simd.partial_load_f64s(&x[from..]); C],
        };
        for (sums, &v) in sums.iter_mut().zip(&v[..A]) {
            let v = simd.splat_f64s(v);
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = simd.mul_add_e_f64s(v, x, *sum);
            }
        }
    }
    for (sums, sum) in sums.iter().zip(sum.chunks_mut(stride)) {
        S::as_mut_simd_f64s(&mut sum[from..from + span]).0.copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::Solver;
    use super::super::sweep::sweep;
    use super::super::table::{Tally, sides};
    use super::*;
    use crate::data::Matrix;
    use crate::fit::{Draw, Seed};
    use crate::methods::factor::common::Loss;

    #[test]
    fn one_pass_is_the_half_of_the_samples_and_the_product_of_its_result() {
        let loss = Loss::Frobenius;
        let sizes = [
            (1, 1, 1),
            (3, 2, 2),
            (31, 7, 3),
            (32, 4, 4),
            (33, 1500, 5),
            (70, 30, 13),
            (600, 261, 10),
            (65, 40, 29),
        ];
        for (item, (n, d, k)) in sizes.into_iter().enumerate() {
            let mut rng = Seed(5).stream(Draw::Simulate, item as u64);
            let mut table = |n, d| Array2::from_shape_simple_fn((n, d), || rng.random::<f64>());
            let (x, u, v) = (table(n, d), table(d, k), table(n, k));
            let matrix = Matrix::Dense(x.clone());
            let (side, _) = sides(&matrix, Tally::of(&matrix, 1.0), loss, 1.0);
            for solver in [Solver::Coordinate, Solver::Multiplicative] {
                let how = How { loss, solver, passes: 3, measured: false };
                let beyond = |new: f64, old: f64| (new + 0.7 * (new - old)).max(0.0);
                let (ahead, crossed) = pass(how, &side, x.view(), u.view(), &v, beyond);
                let mut slow = v.clone();
                sweep(how, &side, u.view(), None, &mut slow);
                slow.zip_mut_with(&v, |new, &old| *new = beyond(*new, old));
                let product = x.t().dot(&ahead);
                let gap = |a: &Array2<f64>, b: &Array2<f64>| {
                    let size = b.iter().fold(1.0, |m: f64, b| m.max(b.abs()));
                    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / size
                };
                assert!(gap(&ahead, &slow) < 1e-9, "{n} {d} {k} {solver}: {}", gap(&ahead, &slow));
                assert!(gap(&crossed, &product) < 1e-12, "{n} {d} {k} {solver}");
            }
        }
    }
}
