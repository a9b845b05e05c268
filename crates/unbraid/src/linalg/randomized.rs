//! Leading singular vectors of a matrix that is only multiplied with.
//!
//! Randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1): multiply a
//! random block, alternate with the transpose, orthonormalise in between, decompose the small rest.

use ndarray::{Array2, ArrayView2, s};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::cholesky::Cholesky;
use super::{Svd, gram, matmul, mirror_lower, par_for, settle, svd, view};
use crate::data::Csr;
use crate::error::Result;
use crate::fit::{Draw, Seed};

/// A matrix known by its products with blocks of vectors.
pub trait Operator: Sync {
    /// Rows and columns.
    fn shape(&self) -> (usize, usize);
    /// `A x`.
    fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64>;
    /// `Aᵀ y`.
    fn apply_transposed(&self, y: ArrayView2<'_, f64>) -> Array2<f64>;
}

impl Operator for ArrayView2<'_, f64> {
    fn shape(&self) -> (usize, usize) {
        self.dim()
    }
    fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        matmul(*self, x)
    }
    fn apply_transposed(&self, y: ArrayView2<'_, f64>) -> Array2<f64> {
        matmul(self.t(), y)
    }
}

/// A sparse matrix plus a matrix of rank one, `A + left rightᵀ`, never made dense: what centring and
/// ranking make of a sparse matrix.
#[derive(Clone, Debug)]
pub struct SparseShifted {
    matrix: Csr,
    transpose: Csr,
    left: Vec<f64>,
    right: Vec<f64>,
}

impl SparseShifted {
    /// `matrix + left rightᵀ`; `left` is as long as the matrix has rows, `right` as it has columns.
    pub fn new(matrix: Csr, left: Vec<f64>, right: Vec<f64>) -> SparseShifted {
        assert_eq!((left.len(), right.len()), matrix.shape(), "one number per row and per column");
        let transpose = matrix.transpose();
        SparseShifted { matrix, transpose, left, right }
    }

    /// The matrix alone.
    pub fn plain(matrix: Csr) -> SparseShifted {
        let (n, m) = matrix.shape();
        SparseShifted::new(matrix, vec![0.0; n], vec![0.0; m])
    }

    /// The transpose.
    pub fn t(&self) -> SparseShifted {
        SparseShifted {
            matrix: self.transpose.clone(),
            transpose: self.matrix.clone(),
            left: self.right.clone(),
            right: self.left.clone(),
        }
    }

    /// `A x` for one vector.
    pub fn times(&self, x: &[f64]) -> Vec<f64> {
        sums(&self.matrix, &self.left, &self.right, x)
    }

    /// `Aᵀ y` for one vector.
    pub fn transposed_times(&self, y: &[f64]) -> Vec<f64> {
        sums(&self.transpose, &self.right, &self.left, y)
    }

    /// `A Aᵀ`, exactly symmetric. Row i costs one pass over the columns that it meets.
    pub fn gram(&self) -> Array2<f64> {
        let n = self.matrix.shape().0;
        let mut out = Array2::zeros((n, n));
        if 5 * self.matrix.nnz() > n * self.matrix.shape().1 {
            // Mostly filled: the dense product is faster than gathering.
            out = gram(self.matrix.to_dense().view());
        } else {
            let rows = out.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(n.max(1));
            rows.enumerate().for_each(|(i, to)| {
                settle();
                let (at, values) = self.matrix.row(i);
                for (&j, &v) in at.iter().zip(values) {
                    let (others, theirs) = self.transpose.row(j as usize);
                    others.iter().zip(theirs).for_each(|(&o, &w)| to[o as usize] += v * w);
                }
            });
        }
        // (M + l rᵀ)(M + l rᵀ)ᵀ = M Mᵀ + (M r) lᵀ + l (M r)ᵀ + ‖r‖² l lᵀ
        if self.left.iter().any(|l| *l != 0.0) {
            let reach = sums(&self.matrix, &vec![0.0; n], &self.right, &self.right);
            let size: f64 = self.right.iter().map(|r| r * r).sum();
            for (i, mut row) in out.rows_mut().into_iter().enumerate() {
                let (mi, li) = (reach[i], self.left[i]);
                row.iter_mut()
                    .zip(reach.iter().zip(&self.left))
                    .for_each(|(g, (mj, lj))| *g += (mi * lj + li * mj) + size * (li * lj));
            }
        }
        mirror_lower(&mut out);
        out
    }

    /// The sum of all squares.
    pub fn energy(&self) -> f64 {
        let square = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>();
        let cross: f64 = self.matrix.entries().map(|(i, j, v)| v * self.left[i] * self.right[j]).sum();
        square(self.matrix.values()) + 2.0 * cross + square(&self.left) * square(&self.right)
    }
}

/// `A x + left (rightᵀ x)`, one output row at a time.
fn product(a: &Csr, left: &[f64], right: &[f64], x: ArrayView2<'_, f64>) -> Array2<f64> {
    let x = x.as_standard_layout();
    let k = x.ncols();
    let mut shift = vec![0.0; k];
    for (&r, row) in right.iter().zip(x.outer_iter()).filter(|(r, _)| **r != 0.0) {
        shift.iter_mut().zip(row).for_each(|(s, v)| *s += r * v);
    }
    let mut out = Array2::zeros((a.shape().0, k));
    let rows = out.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(k.max(1));
    rows.enumerate().for_each(|(i, to)| {
        settle();
        to.iter_mut().zip(&shift).for_each(|(t, s)| *t = left[i] * s);
        let (at, values) = a.row(i);
        for (&j, &v) in at.iter().zip(values) {
            let from = x.row(j as usize);
            let from = from.as_slice().expect("rows of a standard layout are contiguous");
            to.iter_mut().zip(from).for_each(|(t, f)| *t += v * f);
        }
    });
    out
}

/// [`product`] for one vector.
fn sums(a: &Csr, left: &[f64], right: &[f64], x: &[f64]) -> Vec<f64> {
    let shift: f64 = right.iter().zip(x).map(|(r, v)| r * v).sum();
    let one = |i: usize| {
        let (at, values) = a.row(i);
        left[i] * shift + at.iter().zip(values).map(|(&j, v)| v * x[j as usize]).sum::<f64>()
    };
    let n = a.shape().0;
    if a.nnz() < 1 << 15 {
        return (0..n).map(one).collect();
    }
    let line = |i| {
        settle();
        one(i)
    };
    (0..n).into_par_iter().with_min_len(64).map(line).collect()
}

impl Operator for SparseShifted {
    fn shape(&self) -> (usize, usize) {
        self.matrix.shape()
    }
    fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        product(&self.matrix, &self.left, &self.right, x)
    }
    fn apply_transposed(&self, y: ArrayView2<'_, f64>) -> Array2<f64> {
        product(&self.transpose, &self.right, &self.left, y)
    }
}

/// Matrices with the same rows, side by side.
pub struct Beside<'a>(pub Vec<Box<dyn Operator + 'a>>);

impl Operator for Beside<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.0.first().map_or(0, |a| a.shape().0), self.0.iter().map(|a| a.shape().1).sum())
    }
    fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut out = Array2::zeros((self.shape().0, x.ncols()));
        let mut at = 0;
        for a in &self.0 {
            let m = a.shape().1;
            out += &a.apply(x.slice(s![at..at + m, ..]));
            at += m;
        }
        out
    }
    fn apply_transposed(&self, y: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut out = Array2::zeros((self.shape().1, y.ncols()));
        let mut at = 0;
        for a in &self.0 {
            let m = a.shape().1;
            out.slice_mut(s![at..at + m, ..]).assign(&a.apply_transposed(y));
            at += m;
        }
        out
    }
}

/// How hard the subspace iteration tries.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Multiplications with `A Aᵀ` after the first product.
    pub power: usize,
    /// Random vectors beyond the wanted number.
    pub oversamples: usize,
}

impl Default for Effort {
    /// Four power iterations and 100 extra vectors, as GmGM takes them.
    fn default() -> Effort {
        Effort { power: 4, oversamples: 100 }
    }
}

/// Smallest over largest entry of the diagonal of a Cholesky factor at which the factor is trusted.
const TRUSTED: f64 = 1e-5;

/// Orthonormal columns that span those of `y`, which has at least as many rows as columns.
///
/// By the Cholesky factor of `yᵀ y`, twice, which is products only (columns are brought to unit length
/// first); by Householder reflections where the columns are too close to dependent for that.
fn orthonormal(y: Array2<f64>) -> Array2<f64> {
    let mut q = y;
    for _ in 0..2 {
        let mut unit = q.clone();
        unit.columns_mut().into_iter().for_each(|mut c| {
            let size = c.dot(&c).sqrt();
            if size > 0.0 {
                c /= size;
            }
        });
        let Some(factor) = Cholesky::new(gram(unit.t()).view()).filter(|f| f.spread() > TRUSTED) else {
            return householder(q);
        };
        // Qᵀ = L⁻¹ Yᵀ
        q = factor.whiten(unit.t()).reversed_axes().as_standard_layout().into_owned();
    }
    q
}

/// The same by reflections.
fn householder(y: Array2<f64>) -> Array2<f64> {
    use faer::linalg::householder::{
        apply_block_householder_sequence_on_the_left_in_place_scratch as scratch,
        apply_block_householder_sequence_on_the_left_in_place_with_conj as apply,
    };
    use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
    use faer::{Conj, Mat, dyn_stack::MemBuffer, dyn_stack::MemStack};
    let (n, k) = y.dim();
    let par = par_for(n);
    let block = recommended_block_size::<f64>(n, k);
    let mut factor = view(y.view()).to_owned();
    let mut householder = Mat::<f64>::zeros(block, k);
    let mut memory = MemBuffer::new(qr_in_place_scratch::<f64>(n, k, block, par, Default::default()));
    let stack = MemStack::new(&mut memory);
    qr_in_place(factor.as_mut(), householder.as_mut(), par, stack, Default::default());
    let mut q = Mat::<f64>::identity(n, k);
    let mut memory = MemBuffer::new(scratch::<f64>(n, block, k));
    let stack = MemStack::new(&mut memory);
    apply(factor.as_ref(), householder.as_ref(), Conj::No, q.as_mut(), par, stack);
    settle();
    Array2::from_shape_fn((n, k), |(i, j)| q[(i, j)])
}

/// The `k` leading singular triplets (fewer when the matrix is smaller); signs are arbitrary.
///
/// With `k + oversamples` at the smaller side the result is exact to rounding. The random block comes
/// from the stream [`Draw::Init`] of `seed`, so the same seed gives the same bits.
///
/// # Errors
/// [`crate::Error::Numeric`] when the small decomposition does not converge.
pub fn leading(a: &(impl Operator + ?Sized), k: usize, effort: Effort, seed: Seed) -> Result<Svd> {
    let (n, m) = a.shape();
    let k = k.min(n).min(m);
    let width = (k + effort.oversamples).min(n).min(m);
    let mut rng = seed.stream(Draw::Init, 0);
    let start: Array2<f64> = Array2::from_shape_simple_fn((m, width), || StandardNormal.sample(&mut rng));
    let mut q = orthonormal(a.apply(start.view()));
    // Orthonormal once a round: A Aᵀ squares the range of the columns, which double precision holds for
    // values down to 1e-7 of the largest.
    for _ in 0..effort.power {
        q = orthonormal(a.apply(a.apply_transposed(q.view()).view()));
    }
    // Aᵀ Q = W S Rᵀ, hence A ≈ Q Qᵀ A = (Q R) S Wᵀ.
    let rest = svd(a.apply_transposed(q.view()).view())?;
    let cut = s![.., ..k];
    let u = matmul(q.view(), rest.v.slice(cut));
    Ok(Svd { u, s: rest.s[..k].to_vec(), v: rest.u.slice(cut).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decaying(n: usize, m: usize) -> Array2<f64> {
        let r = 60.min(n).min(m);
        let mut rng = Seed(3).stream(Draw::Simulate, 0);
        let mut draw = |n, m| Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng));
        let (u, v): (Array2<f64>, Array2<f64>) = (orthonormal(draw(n, r)), orthonormal(draw(m, r)));
        let s = ndarray::Array1::from_shape_fn(r, |i| 10.0 * 0.8f64.powi(i as i32));
        (&u * &s).dot(&v.t())
    }

    fn gap(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().fold(0.0, |m, v| v.abs().max(m))
    }

    /// Rank-k part, free of the signs.
    fn part(d: &Svd, k: usize) -> Array2<f64> {
        let s = ndarray::aview1(&d.s[..k]);
        (&d.u.slice(s![.., ..k]) * &s).dot(&d.v.slice(s![.., ..k]).t())
    }

    #[test]
    fn leading_triplets_agree_with_the_full_decomposition() {
        let a = decaying(220, 140);
        let full = svd(a.view()).unwrap();
        for (k, effort) in [(5, Effort { power: 4, oversamples: 10 }), (12, Effort::default())] {
            let d = leading(&a.view(), k, effort, Seed(0)).unwrap();
            assert!(d.s.iter().zip(&full.s).all(|(x, y)| (x - y).abs() < 1e-9));
            assert!(gap(&part(&d, k), &part(&full, k)) < 1e-7);
            assert!(gap(&d.u.t().dot(&d.u), &Array2::eye(k)) < 1e-12);
        }
        // Wide, and more components than there are.
        let d = leading(&a.t(), 500, Effort::default(), Seed(1)).unwrap();
        assert_eq!(d.s.len(), 140);
        assert!(gap(&part(&d, 140), &a.t().to_owned()) < 1e-10);
    }

    #[test]
    fn columns_become_orthonormal_however_they_lie() {
        let plain = decaying(120, 30);
        let mut dependent = plain.clone();
        let first = dependent.column(0).to_owned();
        dependent.column_mut(7).assign(&first);
        let mut scaled = plain.clone();
        scaled.columns_mut().into_iter().enumerate().for_each(|(j, mut c)| c *= 10f64.powi(-(j as i32)));
        for y in [plain, dependent, scaled] {
            let q = orthonormal(y.clone());
            assert!(gap(&q.t().dot(&q), &Array2::eye(30)) < 1e-13);
            // The span is kept: what is left of y beside Q is rounding.
            let rest = &y - &q.dot(&q.t().dot(&y));
            assert!(rest.iter().all(|v| v.abs() < 1e-10));
        }
    }

    #[test]
    fn a_shifted_sparse_matrix_acts_like_its_dense_form() {
        let mut dense = decaying(50, 30);
        dense.mapv_inplace(|v| if v.abs() < 0.15 { 0.0 } else { v });
        let left: Vec<f64> = (0..50).map(|i| (i as f64).sin()).collect();
        let right: Vec<f64> = (0..30).map(|j| (j as f64).cos()).collect();
        let a = SparseShifted::new(Csr::from_dense(dense.view()), left.clone(), right.clone());
        let full = Array2::from_shape_fn((50, 30), |(i, j)| dense[[i, j]] + left[i] * right[j]);
        let x = decaying(30, 60);
        assert!(gap(&a.apply(x.view()), &full.dot(&x)) < 1e-12);
        let y = decaying(50, 60);
        assert!(gap(&a.apply_transposed(y.view()), &full.t().dot(&y)) < 1e-12);
        assert!(gap(&a.t().apply(y.view()), &full.t().dot(&y)) < 1e-12);
        assert!((a.energy() - full.iter().map(|v| v * v).sum::<f64>()).abs() < 1e-10);
        let near =
            |a: Vec<f64>, b: ndarray::Array1<f64>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(a.times(&right), full.dot(&ndarray::aview1(&right))));
        assert!(near(a.transposed_times(&left), full.t().dot(&ndarray::aview1(&left))));
        assert!(gap(&a.gram(), &full.dot(&full.t())) < 1e-11);
        assert!(gap(&a.t().gram(), &full.t().dot(&full)) < 1e-11);
        let mut few = dense.clone();
        few.mapv_inplace(|v| if v.abs() < 0.8 { 0.0 } else { v });
        let thin = SparseShifted::new(Csr::from_dense(few.view()), left.clone(), right.clone());
        assert!(5 * thin.matrix.nnz() < 50 * 30, "sparse enough to take the other path");
        let full_few = Array2::from_shape_fn((50, 30), |(i, j)| few[[i, j]] + left[i] * right[j]);
        assert!(gap(&thin.gram(), &full_few.dot(&full_few.t())) < 1e-11);
        let both = Beside(vec![Box::new(a), Box::new(full.view())]);
        let wide = ndarray::concatenate![ndarray::Axis(1), full, full];
        let d = leading(&both, 4, Effort::default(), Seed(0)).unwrap();
        let e = svd(wide.view()).unwrap();
        assert!(gap(&part(&d, 4), &part(&e, 4)) < 1e-8);
    }

    #[test]
    fn bits_depend_on_the_seed_and_not_on_the_pool() {
        let a = decaying(300, 250);
        let sparse = SparseShifted::plain(Csr::from_dense(a.view()));
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let few = Effort { power: 1, oversamples: 5 };
                let d = leading(&a.view(), 6, few, Seed(seed)).unwrap();
                let e = leading(&sparse, 6, few, Seed(seed)).unwrap();
                (d.u, d.s, e.u, e.s)
            })
        };
        let one = run(1, 1);
        assert_eq!(run(2, 1), one);
        assert_eq!(run(8, 1), one);
        assert_ne!(run(1, 2), one);
    }
}
