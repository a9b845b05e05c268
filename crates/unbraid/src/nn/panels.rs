//! Products of small matrices that stay in cache, on panels.
//!
//! A panel holds as many columns of a matrix as a register has lanes, row by row, so that a row of it is one load. A matrix
//! of r × c is ⌈c/lanes⌉ panels of r × lanes one after another, with zeros in the columns that are not there. Constant matrices are
//! packed once and products write panels, so that nothing is packed between one product and the next.
//!
//! [`rows_by`] and [`sums_by`] fill the registers of a processor with sixteen of them: 6 × 2 and 4 × 2 sums.

use pulp::{Simd, WithSimd};

use super::Real;
use super::wide::Wide;

/// Rows that [`rows_by`] takes at once; panels have a multiple of it.
pub const ROWS: usize = 6;

struct Lanes<T>(std::marker::PhantomData<T>);

impl<T: Wide> WithSimd for Lanes<T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        T::lanes::<S>()
    }
}

/// Lanes of the processor's registers.
pub fn lanes<T: Wide>() -> usize {
    pulp::Arch::new().dispatch(Lanes::<T>(std::marker::PhantomData))
}

/// Memory that starts on a cache line.
#[derive(Clone, Debug, Default)]
pub struct Buffer<T>(Vec<T>);

impl<T: Real> Buffer<T> {
    /// The first `len` values, whatever they hold.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> &mut [T] {
        let spare = 64 / size_of::<T>();
        if self.0.len() < len + spare {
            self.0.resize(len + spare, T::ZERO);
        }
        let from = self.0.as_ptr().align_offset(64).min(spare);
        &mut self.0[from..from + len]
    }

    /// The first `len` values, all 0.
    #[inline(always)]
    pub fn zeros(&mut self, len: usize) -> &mut [T] {
        let all = self.take(len);
        all.fill(T::ZERO);
        all
    }

    /// The first `len` values of what was taken before.
    #[inline(always)]
    pub fn taken(&self, len: usize) -> &[T] {
        let from = self.0.as_ptr().align_offset(64).min(64 / size_of::<T>());
        &self.0[from..from + len]
    }
}

/// Panels of a matrix with `rows` × `columns` entries `at(r, c)`; rows beyond `filled` are 0.
pub fn pack<T: Real>(
    lanes: usize,
    (rows, filled): (usize, usize),
    columns: usize,
    at: impl Fn(usize, usize) -> T,
) -> Buffer<T> {
    let mut out = Buffer::default();
    let to = out.zeros(columns.div_ceil(lanes) * rows * lanes);
    for c in 0..columns {
        for r in 0..filled {
            to[((c / lanes) * rows + r) * lanes + c % lanes] = at(r, c);
        }
    }
    out
}

/// The left factor of [`rows_by`]: x_rk lies at `at + r row + (k / inner.0) outer.1 + (k mod inner.0) inner.1`.
#[derive(Clone, Copy)]
pub struct Left<T> {
    /// x₀₀.
    pub at: *const T,
    /// Distance of rows.
    pub row: usize,
    /// Steps of the outer loop over k, and their distance.
    pub outer: (usize, usize),
    /// Steps of the inner loop over k, and their distance.
    pub inner: (usize, usize),
}

/// Σ_k x_rk b_kc for R rows and Q panels of b.
///
/// # Safety
/// All of x and of the panels' rows can be read.
#[inline(always)]
pub unsafe fn rows_by<T: Real, S: Simd, const R: usize, const Q: usize>(
    simd: S,
    x: Left<T>,
    b: [*const T; Q],
) -> [[T::Vector<S>; Q]; R] {
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::ZERO);
    let mut sums = [[zero; Q]; R];
    let mut row = 0;
    for outer in 0..x.outer.0 {
        for inner in 0..x.inner.0 {
            // SAFETY: the caller's.
            unsafe {
                let at = x.at.add(outer * x.outer.1 + inner * x.inner.1);
                let mut right = [zero; Q];
                for q in 0..Q {
                    right[q] = T::load(b[q].add(row));
                }
                for r in 0..R {
                    let left = T::splat(simd, *at.add(r * x.row));
                    for q in 0..Q {
                        sums[r][q] = T::times_plus(simd, left, right[q], sums[r][q]);
                    }
                }
            }
            row += lanes;
        }
    }
    sums
}

/// Adds Σ_i x_ir d_ic over `n` rows to R rows and Q panels of sums; x_ir lies at `x + i step + r row`.
///
/// # Safety
/// All of x and of the panels' rows can be read.
#[inline(always)]
pub unsafe fn sums_by<T: Real, S: Simd, const R: usize, const Q: usize>(
    simd: S,
    n: usize,
    x: *const T,
    (row, step): (usize, usize),
    d: [*const T; Q],
    sums: &mut [[T::Vector<S>; Q]; R],
) {
    let lanes = T::lanes::<S>();
    for i in 0..n {
        // SAFETY: the caller's.
        unsafe {
            let mut right = [T::splat(simd, T::ZERO); Q];
            for q in 0..Q {
                right[q] = T::load(d[q].add(i * lanes));
            }
            for r in 0..R {
                let left = T::splat(simd, *x.add(i * step + r * row));
                for q in 0..Q {
                    sums[r][q] = T::times_plus(simd, left, right[q], sums[r][q]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::normal;
    use super::*;
    use ndarray::Array2;

    /// Both kernels on panels against plain products.
    struct Both<'a> {
        x: &'a Array2<f64>,
        b: &'a Array2<f64>,
    }

    impl WithSimd for Both<'_> {
        type Output = (Array2<f64>, Array2<f64>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let lanes = f64::lanes::<S>();
            let ((n, k), c) = (self.x.dim(), self.b.ncols());
            let (rows, depth) = (n.next_multiple_of(ROWS), k.next_multiple_of(lanes));
            let x = pack(lanes, (rows, n), k, |r, c| self.x[[r, c]]);
            let b = pack(lanes, (depth, k), c, |r, c| self.b[[r, c]]);
            let (x, b) = (x.taken(rows * depth), b.taken(depth * c.next_multiple_of(lanes)));
            let mut product = Array2::zeros((rows, c.next_multiple_of(lanes)));
            let mut gram = Array2::zeros((depth, depth));
            for panel in 0..c.div_ceil(lanes) {
                for from in (0..rows).step_by(ROWS) {
                    let at = x[from * lanes..].as_ptr();
                    let left =
                        Left { at, row: lanes, outer: (depth / lanes, rows * lanes), inner: (lanes, 1) };
                    // SAFETY: panels of `rows` and `depth` rows.
                    let sums: [[_; 1]; ROWS] =
                        unsafe { rows_by(simd, left, [b[panel * depth * lanes..].as_ptr()]) };
                    for (r, sum) in sums.iter().enumerate() {
                        let to =
                            product.row_mut(from + r).into_slice().unwrap()[panel * lanes..].as_mut_ptr();
                        // SAFETY: the product has whole panels.
                        unsafe { f64::store::<S>(to, sum[0]) };
                    }
                }
            }
            for k in 0..depth {
                for panel in 0..depth / lanes {
                    let at = x[(k / lanes) * rows * lanes + k % lanes..].as_ptr();
                    let mut sums = [[f64::splat(simd, 1.0)]];
                    let d = x[panel * rows * lanes..].as_ptr();
                    // SAFETY: panels of `rows` rows.
                    unsafe { sums_by(simd, rows, at, (1, lanes), [d], &mut sums) };
                    let to = gram.row_mut(k).into_slice().unwrap()[panel * lanes..].as_mut_ptr();
                    // SAFETY: the matrix has whole panels.
                    unsafe { f64::store::<S>(to, sums[0][0]) };
                }
            }
            (product, gram)
        }
    }

    #[test]
    fn panels_multiply_as_matrices() {
        for (n, k, c) in [(1, 1, 1), (13, 9, 5), (24, 16, 32)] {
            let (x, b) = (normal(n, k, 1), normal(k, c, 2));
            let (product, gram) = pulp::Arch::new().dispatch(Both { x: &x, b: &b });
            let near = |a: &Array2<f64>, b: Array2<f64>| {
                b.indexed_iter().all(|(at, b)| (a[at] - b).abs() < 1e-13 * k.max(n) as f64)
            };
            assert!(near(&product, x.dot(&b)) && near(&gram, x.t().dot(&x) + 1.0));
            assert!(product.rows().into_iter().skip(n).all(|r| r.iter().all(|v| *v == 0.0)));
        }
    }
}
