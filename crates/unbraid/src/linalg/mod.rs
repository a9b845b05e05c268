//! Dense kernels on ndarray views, computed by faer without a copy.
//!
//! Every call passes [`par`], a fixed degree of splitting, so that the bits of a result do not depend
//! on the size of the thread pool; faer's forms that read its global setting stay out of the code.

pub mod anderson;
pub mod cholesky;
pub mod lanczos;
pub mod lbfgs;
pub mod nndsvd;
pub mod randomized;
pub mod sparse_svd;

pub use faer::Accum;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::traits::ComplexField;
use faer::traits::math_utils::{one, zero};
use faer::{Mat, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Splitting of large kernels: fixed at 16, whatever the pool (measured: the same bits in pools of 1
/// to 8 threads, at no cost).
pub fn par() -> Par {
    Par::rayon(16)
}

/// Splitting for a problem of side `n`: below this size threads cost more than they give.
fn par_for(n: usize) -> Par {
    if n < 192 { Par::Seq } else { par() }
}

/// Clears the upper halves of the vector registers of the calling thread.
///
/// Products by wide instructions leave them dirty, and plain code on the same thread then runs up to ten
/// times slower (measured: 14 ms instead of 0.4 for the same sums; a stall of the processor, not a wrong
/// result). The functions of this module clear them on the thread that called; the threads of the pool
/// that helped stay dirty, so a hot loop of our own calls this at the head of each parallel task.
#[inline]
pub fn settle() {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx")]
        fn clear() {
            std::arch::x86_64::_mm256_zeroupper();
        }
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX; the upper halves hold nothing that compiled code relies on
            // across a call.
            unsafe { clear() }
        }
    }
}

/// A view of an array, whatever its strides.
pub fn view<T>(a: ArrayView2<'_, T>) -> MatRef<'_, T> {
    let (n, m) = a.dim();
    let strides = a.strides();
    // SAFETY: pointer, shape and strides describe the borrowed array, and the result borrows as long.
    unsafe { MatRef::from_raw_parts(a.as_ptr(), n, m, strides[0], strides[1]) }
}

/// A mutable view of an array, whatever its strides.
pub fn view_mut<T>(mut a: ArrayViewMut2<'_, T>) -> MatMut<'_, T> {
    let (n, m) = a.dim();
    let (r, c) = (a.strides()[0], a.strides()[1]);
    // SAFETY: as above; the mutable borrow moves into the result.
    unsafe { MatMut::from_raw_parts_mut(a.as_mut_ptr(), n, m, r, c) }
}

/// `out = alpha · a b`.
pub fn matmul_into(out: &mut Array2<f64>, alpha: f64, a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) {
    let side = a.nrows().max(a.ncols()).max(b.ncols());
    let out = view_mut(out.view_mut());
    faer::linalg::matmul::matmul(out, Accum::Replace, view(a), view(b), alpha, par_for(side));
    settle();
}

/// `a b`.
pub fn matmul(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    matmul_into(&mut out, 1.0, a, b);
    out
}

/// Whether [`gemm`] of these three sizes stays on the calling thread: below eight million multiplications it lasts a few
/// tenths of a millisecond, and callers run several such products side by side. It depends on the shape alone, as bits do.
pub fn alone(sizes: [usize; 3]) -> bool {
    sizes.iter().product::<usize>() < 1 << 23
}

/// `out = a b` with `Accum::Replace`, `out += a b` with `Accum::Add`, for both widths of float.
pub fn gemm<T: ComplexField>(
    out: ArrayViewMut2<'_, T>,
    how: Accum,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
) {
    let small = alone([a.nrows(), a.ncols(), b.ncols()]);
    faer::linalg::matmul::matmul(
        view_mut(out),
        how,
        view(a),
        view(b),
        one(),
        if small { Par::Seq } else { par() },
    );
    settle();
}

/// Multiplications of a part of [`gemm_in_parts`]: some tenths of a millisecond.
const PART: usize = 1 << 24;

/// [`gemm`] cut along one side of the result into parts that any thread may take while others are at work elsewhere: for products
/// that run side by side. The cut depends on the shape and the layout alone, as bits do.
pub fn gemm_in_parts<T: ComplexField + Send + Sync>(
    out: ArrayViewMut2<'_, T>,
    how: Accum,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
) {
    let (rows, cols) = out.dim();
    // A right factor whose columns are contiguous is packed by every product that reads it, so that it is the one to be cut.
    let by_cols = cols > rows || (b.strides()[0] == 1 && b.strides()[1] > 1);
    let (axis, size, unit) = if by_cols { (Axis(1), cols, 96) } else { (Axis(0), rows, 64) };
    let parts = (rows * cols * a.ncols() / PART).clamp(1, 16).min(size.div_ceil(unit));
    cut(out, how, a, b, (axis, unit, parts));
}

/// `a b` by [`gemm_in_parts`].
pub fn product_in_parts<T: ComplexField + Copy + Send + Sync>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
) -> Array2<T> {
    let shape = (a.nrows(), b.ncols());
    if a.ncols() == 0 {
        return Array2::from_elem(shape, zero());
    }
    let mut out = Array2::<T>::uninit(shape);
    // SAFETY: the view is of all of `out`, alone; a product that replaces writes every entry and reads none.
    unsafe {
        let all = ArrayViewMut2::from_shape_ptr(shape, out.as_mut_ptr().cast::<T>());
        gemm_in_parts(all, Accum::Replace, a, b);
        out.assume_init()
    }
}

/// The same in memory that was used before: large arrays are the system's to clear page by page whenever they are new.
pub fn product_in_memory<T: ComplexField + Copy + Send + Sync>(
    mut spare: Vec<T>,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
) -> Array2<T> {
    let shape = (a.nrows(), b.ncols());
    if spare.capacity() < shape.0 * shape.1 {
        return product_in_parts(a, b);
    }
    spare.resize(shape.0 * shape.1, zero());
    let Ok(mut out) = Array2::from_shape_vec(shape, spare) else { return product_in_parts(a, b) };
    gemm_in_parts(out.view_mut(), Accum::Replace, a, b);
    out
}

fn cut<T: ComplexField + Send + Sync>(
    out: ArrayViewMut2<'_, T>,
    how: Accum,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    (axis, unit, parts): (Axis, usize, usize),
) {
    if parts < 2 {
        return gemm_alone(out, how, a, b);
    }
    let size = out.len_of(axis);
    let at = (size * (parts / 2) / parts).next_multiple_of(unit).min(size);
    let (first, second) = out.split_at(axis, at);
    let ((a1, b1), (a2, b2)) = match axis {
        Axis(0) => {
            let (a1, a2) = a.split_at(axis, at);
            ((a1, b), (a2, b))
        }
        _ => {
            let (b1, b2) = b.split_at(axis, at);
            ((a, b1), (a, b2))
        }
    };
    let (left, right) = ((axis, unit, parts / 2), (axis, unit, parts - parts / 2));
    rayon::join(|| cut(first, how, a1, b1, left), || cut(second, how, a2, b2, right));
}

/// [`gemm`] on the calling thread alone, for products inside parallel tasks.
pub fn gemm_alone<T: ComplexField>(
    out: ArrayViewMut2<'_, T>,
    how: Accum,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
) {
    faer::linalg::matmul::matmul(view_mut(out), how, view(a), view(b), one(), Par::Seq);
    settle();
}

/// `a b` on the calling thread alone, for products inside parallel tasks.
pub fn matmul_alone<T: ComplexField>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) -> Array2<T> {
    let mut out = Array2::from_elem((a.nrows(), b.ncols()), zero());
    gemm_alone(out.view_mut(), Accum::Replace, a, b);
    out
}

/// `out := a b`, or `out += a b` where `add` is set, on the calling thread alone.
pub fn matmul_alone_into(
    out: ArrayViewMut2<'_, f64>,
    add: bool,
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
) {
    gemm_alone(out, if add { Accum::Add } else { Accum::Replace }, a, b);
}

/// `a b` where the caller knows that the product is symmetric: half the work, exactly symmetric.
pub fn symmetric_product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let n = a.nrows();
    let mut out = Array2::zeros((n, n));
    triangular::matmul(
        view_mut(out.view_mut()),
        BlockStructure::TriangularLower,
        Accum::Replace,
        view(a),
        BlockStructure::Rectangular,
        view(b),
        BlockStructure::Rectangular,
        1.0,
        par_for(n.max(a.ncols())),
    );
    settle();
    mirror_lower(&mut out);
    out
}

/// `a aᵀ`, exactly symmetric.
pub fn gram(a: ArrayView2<'_, f64>) -> Array2<f64> {
    symmetric_product(a, a.t())
}

/// Copies the lower triangle onto the upper one, in square blocks.
pub fn mirror_lower(a: &mut Array2<f64>) {
    const BLOCK: usize = 32;
    let n = a.nrows();
    for i0 in (0..n).step_by(BLOCK) {
        for j0 in (0..=i0).step_by(BLOCK) {
            for i in i0..(i0 + BLOCK).min(n) {
                for j in j0..(j0 + BLOCK).min(i) {
                    a[[j, i]] = a[[i, j]];
                }
            }
        }
    }
}

/// Eigenvalues, ascending, and eigenvectors in columns of a symmetric matrix.
#[derive(Clone, Debug)]
pub struct Eigen {
    /// Ascending.
    pub values: Vec<f64>,
    /// Column k belongs to value k; signs are arbitrary.
    pub vectors: Array2<f64>,
}

/// Stored column by column, so that a restored copy has the same layout and gives the same bits.
#[derive(Serialize, Deserialize)]
struct Columns {
    values: Vec<f64>,
    vectors: Vec<f64>,
}

impl Serialize for Eigen {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let vectors = self.vectors.t().iter().copied().collect();
        Columns { values: self.values.clone(), vectors }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Eigen {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let stored = Columns::deserialize(from)?;
        let n = stored.values.len();
        let vectors = Array2::from_shape_vec((n, n).f(), stored.vectors).map_err(serde::de::Error::custom)?;
        Ok(Eigen { values: stored.values, vectors })
    }
}

/// Full eigendecomposition of a symmetric matrix; only the lower triangle is read.
///
/// # Errors
/// [`Error::Numeric`] when the iteration does not converge (an entry that is not finite).
pub fn eigh(a: ArrayView2<'_, f64>) -> Result<Eigen> {
    let n = a.nrows();
    let par = par_for(n);
    let mut values = vec![0.0; n];
    let mut vectors = Array2::zeros((n, n).f());
    let mut memory = faer::dyn_stack::MemBuffer::new(faer::linalg::evd::self_adjoint_evd_scratch::<f64>(
        n,
        faer::linalg::evd::ComputeEigenvectors::Yes,
        par,
        Default::default(),
    ));
    faer::linalg::evd::self_adjoint_evd(
        view(a),
        faer::diag::DiagMut::from_slice_mut(&mut values),
        Some(view_mut(vectors.view_mut())),
        par,
        faer::dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|e| Error::Numeric { what: "the symmetric eigendecomposition", why: format!("{e:?}") })?;
    settle();
    Ok(Eigen { values, vectors })
}

impl Eigen {
    /// `V diag(f) Vᵀ`, exactly symmetric.
    pub fn recompose(&self, f: &[f64]) -> Array2<f64> {
        let mut scaled = self.vectors.clone();
        scaled.columns_mut().into_iter().zip(f).for_each(|(mut column, &f)| column *= f);
        symmetric_product(scaled.view(), self.vectors.t())
    }
}

/// Thin singular value decomposition `u diag(s) vᵀ`, singular values descending.
#[derive(Clone, Debug)]
pub struct Svd {
    /// n × k, k = min(n, m).
    pub u: Array2<f64>,
    /// Descending.
    pub s: Vec<f64>,
    /// m × k.
    pub v: Array2<f64>,
}

/// Thin singular value decomposition.
///
/// # Errors
/// [`Error::Numeric`] when the iteration does not converge.
pub fn svd(a: ArrayView2<'_, f64>) -> Result<Svd> {
    let (n, m) = a.dim();
    let k = n.min(m);
    let par = par_for(n.max(m));
    let (mut u, mut v, mut s) = (Mat::<f64>::zeros(n, k), Mat::<f64>::zeros(m, k), vec![0.0; k]);
    use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
    let mut memory = faer::dyn_stack::MemBuffer::new(svd_scratch::<f64>(
        n,
        m,
        ComputeSvdVectors::Thin,
        ComputeSvdVectors::Thin,
        par,
        Default::default(),
    ));
    svd(
        view(a),
        faer::diag::DiagMut::from_slice_mut(&mut s),
        Some(u.as_mut()),
        Some(v.as_mut()),
        par,
        faer::dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|e| Error::Numeric { what: "the singular value decomposition", why: format!("{e:?}") })?;
    settle();
    let array = |m: Mat<f64>| Array2::from_shape_fn((m.nrows(), m.ncols()), |(i, j)| m[(i, j)]);
    Ok(Svd { u: array(u), s, v: array(v) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand_distr::{Distribution, StandardNormal};

    fn random(n: usize, m: usize, seed: u64) -> Array2<f64> {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng))
    }

    fn gap(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().fold(0.0, |m, v| v.abs().max(m))
    }

    #[test]
    fn products_agree_with_ndarray_in_any_layout() {
        for (n, k, m) in [(3, 4, 5), (40, 17, 33), (200, 210, 230)] {
            let (a, b) = (random(n, k, 1), random(m, k, 2));
            assert!(gap(&matmul(a.view(), b.t()), &a.dot(&b.t())) < 1e-11);
            assert!(gap(&gram(a.view()), &a.dot(&a.t())) < 1e-11);
            assert!(gap(&gram(a.t()), &a.t().dot(&a)) < 1e-11);
        }
    }

    #[test]
    fn parts_give_the_product_with_the_same_bits_on_any_threads() {
        for (n, k, m) in [(3, 4, 5), (300, 401, 390), (700, 130, 500)] {
            let (a, b, start) = (random(n, k, 1), random(m, k, 2), random(n, m, 3));
            let c = b.t().as_standard_layout().into_owned();
            for right in [b.t(), c.view()] {
                let run = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut out = start.clone();
                    pool.install(|| gemm_in_parts(out.view_mut(), Accum::Add, a.view(), right));
                    out
                };
                let one = run(1);
                assert!(one == run(2) && gap(&one, &(&start + &a.dot(&right))) < 1e-11);
            }
        }
    }

    #[test]
    fn memory_that_was_used_makes_no_difference() {
        let (a, b) = (random(30, 20, 1), random(20, 50, 2));
        let plain = product_in_parts(a.view(), b.view());
        for spare in [vec![], vec![f64::NAN; 1400], vec![f64::NAN; 1500], vec![f64::NAN; 2000]] {
            let kept = (spare.capacity() >= 1500).then_some(spare.as_ptr());
            let found = product_in_memory(spare, a.view(), b.view());
            assert!(found == plain && kept.is_none_or(|at| at == found.as_ptr()));
        }
        let none =
            product_in_memory(vec![1.0; 6], Array2::zeros((2, 0)).view(), Array2::zeros((0, 3)).view());
        assert_eq!(none, Array2::<f64>::zeros((2, 3)));
    }

    #[test]
    fn eigenvectors_diagonalise_and_recompose() {
        for n in [1, 5, 60, 200] {
            let s = gram(random(n, n + 3, 3).view());
            let e = eigh(s.view()).unwrap();
            assert!(e.values.windows(2).all(|w| w[0] <= w[1]));
            assert!(gap(&e.recompose(&e.values), &s) < 1e-10 * n as f64);
            assert!(gap(&e.vectors.t().dot(&e.vectors), &Array2::eye(n)) < 1e-12 * n as f64);
        }
    }

    #[test]
    fn svd_recomposes() {
        for (n, m) in [(4, 7), (30, 12)] {
            let a = random(n, m, 4);
            let d = svd(a.view()).unwrap();
            let back = (&d.u * &ndarray::aview1(&d.s)).dot(&d.v.t());
            assert!(gap(&back, &a) < 1e-12);
            assert!(d.s.windows(2).all(|w| w[0] >= w[1]));
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_pool() {
        let a = random(300, 260, 6);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let s = gram(a.view());
                let e = eigh(s.view()).unwrap();
                (e.recompose(&e.values), e.values)
            })
        };
        let one = run(1);
        for threads in [2, 8] {
            assert_eq!(run(threads), one);
        }
    }
}
