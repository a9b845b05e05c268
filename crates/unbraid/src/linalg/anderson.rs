//! Anderson acceleration of a fixed-point iteration x ← G(x).
//!
//! With gₖ = G(xₖ) and fₖ = gₖ − xₖ, the next x is the affine combination of the last g whose f has
//! the smallest norm:
//!
//! ```text
//! γ := argmin ‖fₖ − Σⱼ γⱼ (fₖ − fⱼ)‖,    xₖ₊₁ := gₖ − Σⱼ γⱼ (gₖ − gⱼ),    j over the last few
//! ```
//!
//! The fixed point is the same; a linear rate becomes nearly the square of itself. Anderson (1965):
//! `anderson1965`; Walker and Ni (2011): `walker2011`.

use serde::{Deserialize, Serialize};

/// Earlier points that take part.
const DEPTH: usize = 2;
/// The history is dropped when the residual grows by this factor.
const WORSE: f64 = 2.0;

/// The iteration's memory: the point last proposed and the history behind it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Anderson {
    x: Vec<f64>,
    /// (g, f) of earlier steps, the oldest first.
    past: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Anderson {
    /// The point last proposed.
    pub fn point(&self) -> &[f64] {
        &self.x
    }

    /// Takes G(x) at the last point and proposes the next; the first call proposes `g` itself.
    pub fn next(&mut self, g: Vec<f64>) -> &[f64] {
        if self.x.len() != g.len() {
            self.past.clear();
            self.x = g;
            return &self.x;
        }
        super::settle();
        let f: Vec<f64> = g.iter().zip(&self.x).map(|(g, x)| g - x).collect();
        let size = dot(&f, &f);
        if self.past.last().is_some_and(|(_, old)| size > WORSE * WORSE * dot(old, old)) {
            self.past.clear();
        }
        self.x.copy_from_slice(&g);
        for ((old, _), gamma) in self.past.iter().zip(weights(&self.past, &f)) {
            self.x.iter_mut().zip(g.iter().zip(old)).for_each(|(x, (g, old))| *x -= gamma * (g - old));
        }
        if self.past.len() == DEPTH {
            self.past.remove(0);
        }
        self.past.push((g, f));
        &self.x
    }

    /// Forgets the history but keeps the point.
    pub fn forget(&mut self) {
        self.past.clear();
    }
}

/// γ by the normal equations with a ridge of rounding size; there are at most [`DEPTH`] unknowns.
fn weights(past: &[(Vec<f64>, Vec<f64>)], f: &[f64]) -> Vec<f64> {
    let k = past.len();
    // ⟨f − fᵢ, f − fⱼ⟩ and ⟨f − fᵢ, f⟩ without forming the differences.
    let mut a = vec![vec![0.0; k + 1]; k];
    for i in 0..k {
        for j in 0..=k {
            let other = past.get(j).map(|p| p.1.as_slice());
            a[i][j] = f
                .iter()
                .zip(&past[i].1)
                .enumerate()
                .map(|(t, (f, fi))| (f - fi) * other.map_or(*f, |o| f - o[t]))
                .sum();
        }
    }
    let ridge = 1e-14 * (0..k).map(|i| a[i][i]).fold(0.0, f64::max);
    for i in 0..k {
        a[i][i] += ridge;
        let pivot = a[i][i];
        if pivot <= 0.0 {
            return vec![0.0; k];
        }
        for r in 0..k {
            if r != i {
                let c = a[r][i] / pivot;
                for j in 0..=k {
                    a[r][j] -= c * a[i][j];
                }
            }
        }
    }
    (0..k).map(|i| a[i][k] / a[i][i]).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x ← Ax + b with eigenvalues .9, .5 and −.3: the fixed point is reached in few steps.
    #[test]
    fn a_linear_iteration_ends_in_as_many_steps_as_it_has_modes() {
        let rate = [0.9, 0.5, -0.3];
        let target = [1.0, -2.0, 3.0];
        let map =
            |x: &[f64]| -> Vec<f64> { (0..3).map(|i| target[i] + rate[i] * (x[i] - target[i])).collect() };
        let gap = |x: &[f64]| x.iter().zip(&target).map(|(x, t)| (x - t).abs()).fold(0.0, f64::max);
        let mut plain = vec![0.0; 3];
        let mut mixed = Anderson::default();
        mixed.next(vec![0.0; 3]);
        for _ in 0..12 {
            plain = map(&plain);
            let g = map(mixed.point());
            mixed.next(g);
        }
        assert!(gap(&plain) > 0.2);
        assert!(gap(mixed.point()) < 1e-6, "{:e}", gap(mixed.point()));
    }

    #[test]
    fn a_stored_copy_goes_on_to_the_same_bits() {
        let map = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| (x + 2.0 / x) / 2.5 + 0.1).collect() };
        let mut one = Anderson::default();
        one.next(vec![1.0, 3.0, 0.4]);
        for _ in 0..4 {
            let g = map(one.point());
            one.next(g);
        }
        let mut two: Anderson = postcard::from_bytes(&postcard::to_stdvec(&one).unwrap()).unwrap();
        for _ in 0..3 {
            let (g, h) = (map(one.point()), map(two.point()));
            assert_eq!(one.next(g), two.next(h));
        }
    }
}
