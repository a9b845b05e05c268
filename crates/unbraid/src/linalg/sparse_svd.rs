//! Singular triplets of a sparse matrix, exact where one side is short.
//!
//! With d the shorter side, `A Aᵀ = U diag(σ²) Uᵀ` (d × d) gives every singular value and the vectors of
//! that side, one product gives those of the other: O(Σ (entries of a line)² + d³), linear in the longer
//! side and independent of any random draw. Values below about 1e-8 of the largest are lost to the
//! squaring; what is asked for here stands far above them. Where both sides are long, subspace iteration
//! ([`randomized`](super::randomized)) gives the leading ones.

use ndarray::{Array2, s};

use super::randomized::{Effort, Operator, SparseShifted, leading};
use super::{Svd, eigh};
use crate::error::Result;
use crate::fit::Seed;

/// Longest short side that is decomposed whole: two seconds on two cores.
const WHOLE: usize = 3000;
/// Effort beyond it. More power than for an approximation, because values near the bulk are asked for.
const EFFORT: Effort = Effort { power: 7, oversamples: 50 };

/// Singular values and the leading vectors.
#[derive(Clone, Debug)]
pub struct Leading {
    /// The `k` leading triplets; the entry of largest size in each column of `v` is positive.
    pub svd: Svd,
    /// All singular values where the short side is decomposed whole, else the `k` leading ones;
    /// descending.
    pub values: Vec<f64>,
}

/// The `k` leading singular triplets (fewer when the matrix is smaller).
///
/// # Errors
/// [`crate::Error::Numeric`] when a decomposition does not converge.
pub fn leading_triplets(a: &SparseShifted, k: usize, seed: Seed) -> Result<Leading> {
    let (n, m) = a.shape();
    let k = k.min(n).min(m);
    if n.min(m) > WHOLE {
        let mut svd = leading(a, k, EFFORT, seed)?;
        orient(&mut svd);
        return Ok(Leading { values: svd.s.clone(), svd });
    }
    let wide = n <= m;
    let short = eigh(if wide { a.gram() } else { a.t().gram() }.view())?;
    let d = n.min(m);
    let values: Vec<f64> = short.values.iter().rev().map(|e| e.max(0.0).sqrt()).collect();
    let own = Array2::from_shape_fn((d, k), |(i, j)| short.vectors[[i, d - 1 - j]]);
    let mut other = if wide { a.apply_transposed(own.view()) } else { a.apply(own.view()) };
    for (mut column, s) in other.columns_mut().into_iter().zip(&values) {
        // A direction without energy has no partner; it stays zero.
        column *= if *s > 1e-12 * values[0] { 1.0 / s } else { 0.0 };
    }
    let (u, v) = if wide { (own, other) } else { (other, own) };
    let mut svd = Svd { u, s: values[..k].to_vec(), v };
    orient(&mut svd);
    Ok(Leading { svd, values })
}

/// Turns every pair of vectors such that the entry of largest size in `v` is positive.
fn orient(svd: &mut Svd) {
    for k in 0..svd.s.len() {
        let largest =
            svd.v.column(k).iter().fold(0.0f64, |best, v| if v.abs() > best.abs() { *v } else { best });
        if largest < 0.0 {
            svd.u.slice_mut(s![.., k]).mapv_inplace(|v| -v);
            svd.v.slice_mut(s![.., k]).mapv_inplace(|v| -v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use crate::fit::Draw;
    use rand::RngExt;

    #[test]
    fn triplets_are_those_of_the_dense_decomposition() {
        let mut rng = Seed(4).stream(Draw::Simulate, 0);
        for (n, m) in [(40, 70), (70, 40)] {
            let x = Array2::from_shape_simple_fn((n, m), || {
                if rng.random::<f64>() < 0.3 { rng.random::<f64>() + 0.2 } else { 0.0 }
            });
            let left: Vec<f64> = (0..n).map(|i| -0.1 * (i as f64).cos()).collect();
            let right: Vec<f64> = (0..m).map(|j| 0.5 + (j as f64).sin()).collect();
            let full = Array2::from_shape_fn((n, m), |(i, j)| x[[i, j]] + left[i] * right[j]);
            let a = SparseShifted::new(Csr::from_dense(x.view()), left, right);
            let found = leading_triplets(&a, 5, Seed(0)).unwrap();
            let twin = super::super::svd(full.view()).unwrap();
            assert_eq!(found.values.len(), 40);
            assert!(found.values.iter().zip(&twin.s).take(30).all(|(a, b)| (a - b).abs() < 1e-10));
            let part = |d: &Svd| {
                let s = ndarray::aview1(&d.s[..5]).to_owned();
                (&d.u.slice(s![.., ..5]) * &s).dot(&d.v.slice(s![.., ..5]).t())
            };
            assert!((part(&found.svd) - part(&twin)).iter().all(|v| v.abs() < 1e-10));
            for column in found.svd.v.columns() {
                let (hi, lo) = column.iter().fold((0.0f64, 0.0f64), |(h, l), v| (h.max(*v), l.min(*v)));
                assert!(hi >= -lo);
            }
        }
    }
}
