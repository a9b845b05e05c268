//! The linear system of the transposed Jacobian, L λ = γ, with L = diag(s) − Wᵀ diag(a) W at the potentials found.
//!
//! Newton's method leaves a factor of L at potentials a step or two before the last: L̃. Where the layer is not asked
//! for more than a few digits, conjugate gradients with L̃⁻¹ as preconditioner (hestenes1952) need two or three products
//! with L, each the work of a pass for the column sums, where a new factor takes four to eight times that. The residual is
//! held to what Newton's method holds b − s to, in units of λ:
//!
//! ```text
//! max_j |γ − L λ|_j / s_j  ≤  tol · (max λ − min λ).
//! ```

use super::row::Row;

/// Finest tolerance of the layer for which the factor at hand may do.
const LOOSE: f64 = 1e-6;
/// Most products with L.
const PRODUCTS: usize = 3;
/// Weights of targets further apart than this leave too few digits of the products.
const APART: f64 = 1e-3;

/// What the iteration needs; reused.
#[derive(Clone, Debug, Default)]
pub struct Conjugate {
    residual: Vec<f64>,
    found: Vec<f64>,
    along: Vec<f64>,
    moved: Vec<f64>,
    image: Vec<f64>,
}

impl Conjugate {
    /// Solves L λ = γ in place, with the factor that `row` holds; `size` as for the solution by the factor itself. Returns
    /// false, with γ as it was, if that takes more than a new factor would.
    pub fn solve(&mut self, row: &mut Row, gamma: &mut [f64], size: &[f64], tol: f64) -> bool {
        let (light, heavy) =
            row.s.iter().fold((f64::MAX, 0.0), |(l, h): (f64, f64), s| (l.min(*s), h.max(*s)));
        if tol < LOOSE || light < APART * heavy {
            return false;
        }
        let Conjugate { residual, found, along, moved, image } = self;
        for copy in [&mut *residual, &mut *moved] {
            copy.clear();
            copy.extend_from_slice(gamma);
        }
        found.clear();
        found.resize(gamma.len(), 0.0);
        image.resize(gamma.len(), 0.0);
        row.laplacian.solve(row.arch, moved, size);
        along.clear();
        along.extend_from_slice(moved);
        let mut energy = dot(residual, moved);
        for _ in 0..PRODUCTS {
            row.apply(along, image);
            let step = energy / dot(along, image);
            if !(step > 0.0 && step.is_finite()) {
                // γ is 0, or rounding.
                return energy == 0.0;
            }
            let (mut worst, mut low, mut high) = (0.0_f64, f64::MAX, f64::MIN);
            for j in 0..gamma.len() {
                found[j] += step * along[j];
                residual[j] -= step * image[j];
                worst = worst.max(residual[j].abs() / row.s[j]);
                (low, high) = (low.min(found[j]), high.max(found[j]));
            }
            if worst <= tol * (high - low) {
                gamma.copy_from_slice(found);
                return true;
            }
            moved.copy_from_slice(residual);
            row.laplacian.solve(row.arch, moved, size);
            let before = std::mem::replace(&mut energy, dot(residual, moved));
            let turn = energy / before;
            along.iter_mut().zip(&*moved).for_each(|(p, z)| *p = z + turn * *p);
        }
        false
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
