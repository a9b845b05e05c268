//! Cholesky factor, kept for several solves.

use faer::Mat;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use ndarray::{Array2, ArrayView2};

use super::{par_for, settle, view};

/// `a = L Lᵀ`.
#[derive(Clone, Debug)]
pub struct Cholesky {
    lower: Mat<f64>,
}

impl Cholesky {
    /// Factor of a symmetric positive definite matrix, of which the lower triangle is read; `None` when
    /// it is not positive definite.
    pub fn new(a: ArrayView2<'_, f64>) -> Option<Cholesky> {
        let n = a.nrows();
        let par = par_for(n);
        let mut lower = view(a).to_owned();
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, par, Default::default()));
        let stack = MemStack::new(&mut memory);
        cholesky_in_place(lower.as_mut(), Default::default(), par, stack, Default::default()).ok()?;
        settle();
        Some(Cholesky { lower })
    }

    /// `L⁻¹ b`, so that the squared norm of its column i is `b_iᵀ a⁻¹ b_i`.
    pub fn whiten(&self, b: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut x = view(b).to_owned();
        solve_lower_triangular_in_place(self.lower.as_ref(), x.as_mut(), par_for(b.ncols().max(b.nrows())));
        settle();
        Array2::from_shape_fn(b.dim(), |(i, j)| x[(i, j)])
    }

    /// `a⁻¹ b`.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let par = par_for(b.len());
        let mut x = Mat::from_fn(b.len(), 1, |i, _| b[i]);
        solve_lower_triangular_in_place(self.lower.as_ref(), x.as_mut(), par);
        solve_upper_triangular_in_place(self.lower.transpose(), x.as_mut(), par);
        x.col_as_slice(0).to_vec()
    }

    /// Smallest over largest entry of the diagonal of L: near 0 where `a` is close to singular.
    pub fn spread(&self) -> f64 {
        let diagonal = (0..self.lower.nrows()).map(|i| self.lower[(i, i)]);
        let (low, high) = diagonal.fold((f64::INFINITY, 0.0f64), |(l, h), d| (l.min(d), h.max(d)));
        if high > 0.0 { low / high } else { 0.0 }
    }

    /// `log det a`.
    pub fn log_det(&self) -> f64 {
        2.0 * (0..self.lower.nrows()).map(|i| self.lower[(i, i)].ln()).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn whitening_and_determinant_on_a_small_matrix() {
        let a = array![[4.0, 2.0], [2.0, 5.0]];
        let c = Cholesky::new(a.view()).unwrap();
        assert!((c.log_det() - 16f64.ln()).abs() < 1e-14);
        // b = (1, 2): bᵀ a⁻¹ b = (5 − 8 + 16) / 16.
        let w = c.whiten(array![[1.0], [2.0]].view());
        assert!((w[[0, 0]].powi(2) + w[[1, 0]].powi(2) - 13.0 / 16.0).abs() < 1e-14);
        let x = c.solve(&[1.0, 2.0]);
        assert!((x[0] - 1.0 / 16.0).abs() < 1e-15 && (x[1] - 6.0 / 16.0).abs() < 1e-15);
        assert!(Cholesky::new(array![[1.0, 2.0], [2.0, 1.0]].view()).is_none());
    }
}
