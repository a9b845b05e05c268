//! The linear system of the transposed Jacobian, L λ = γ, with L = diag(s) − Wᵀ diag(a) W at the potentials found.
//!
//! Where the layer is not asked for more than a few digits, an inverse H of L at potentials nearby ([`Inverse`]) replaces a
//! new factor, which takes four to eight times the work of a product with L. Steps p = H r are taken to the point where
//! they reduce the error most, and H learns from each, which makes them those of conjugate gradients (hestenes1952,
//! nocedal2006). The residual is held to what Newton's method holds b − s to, in units of λ:
//!
//! ```text
//! max_j |γ − L λ|_j / s_j  ≤  tol · (max λ − min λ).
//! ```

use super::inverse::{Inverse, dot};
use super::kernel::padded;
use super::row::Row;

/// Most products with L.
const PRODUCTS: usize = 4;

/// What the iteration needs; reused.
#[derive(Clone, Debug, Default)]
pub struct Adjoint {
    residual: Vec<f64>,
    found: Vec<f64>,
    step: Vec<f64>,
    image: Vec<f64>,
}

impl Adjoint {
    /// Solves L λ = γ in place with H. Returns false, with γ as it was, if that takes more than a new factor would.
    pub fn solve(&mut self, row: &mut Row, inverse: &mut Inverse, gamma: &mut [f64], tol: f64) -> bool {
        let m = gamma.len();
        let Adjoint { residual, found, step, image } = self;
        for each in [&mut *residual, &mut *step, &mut *image] {
            each.resize(padded(m), 0.0);
            each[m..].fill(0.0);
        }
        found.clear();
        found.resize(m, 0.0);
        residual[..m].copy_from_slice(gamma);
        for _ in 0..PRODUCTS {
            inverse.times(row.arch, residual, step);
            row.apply(&step[..m], &mut image[..m]);
            let length = dot(residual, step) / dot(step, image);
            if !(length > 0.0 && length.is_finite()) {
                // γ is 0, or rounding.
                return residual.iter().all(|r| *r == 0.0);
            }
            let (mut worst, mut low, mut high) = (0.0_f64, f64::MAX, f64::MIN);
            for j in 0..m {
                found[j] += length * step[j];
                residual[j] -= length * image[j];
                worst = worst.max(residual[j].abs() / row.s[j]);
                (low, high) = (low.min(found[j]), high.max(found[j]));
            }
            inverse.learn(row.arch, step, image);
            if worst <= tol * (high - low) {
                gamma.copy_from_slice(found);
                return true;
            }
        }
        false
    }
}
