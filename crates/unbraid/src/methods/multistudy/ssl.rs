//! The spike-and-slab lasso: expected membership of each weight, its rate, and the weight of its absolute value.
//!
//! ```text
//! t  = log(η_k/(1 − η_k)) + log(λ₁/λ₀) + (λ₀ − λ₁)|w_jk|,     E γ = 1/(1 + e⁻ᵗ),     λ* = λ₁ + (λ₀ − λ₁)/(1 + eᵗ)
//! η_k = (Σ_j E γ_jk + a − 1) / (a + b + G − 2)
//! ```
//!
//! by log odds, because the two Laplace densities underflow where |w| is large. At E γ = ½ the weight is
//! [`Slab::boundary`]. λ₀ rises in stages, so that weights choose sides late. Rockova and George (2018): `rockova2018`;
//! as in `moran2026`.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::nn::Real;
use crate::nn::elementary::exp;
use crate::nn::wide::fast;

/// Rates η stay this far from 0 and 1.
const EDGE: f64 = 1e-10;

/// The two scales and the law of the rates.
#[derive(Clone, Copy, Debug)]
pub struct Slab {
    /// λ₀ of the spike.
    pub lambda0: f64,
    /// λ₁ of the slab, at most λ₀.
    pub lambda1: f64,
    /// a of the Beta law.
    pub a: f64,
    /// b of the Beta law.
    pub b: f64,
}

/// Log odds that a weight is in the slab.
fn log_odds(slab: &Slab, w: f64, eta: f64) -> f64 {
    eta.ln() - (-eta).ln_1p() + (slab.lambda1 / slab.lambda0).ln() + (slab.lambda0 - slab.lambda1) * w.abs()
}

impl Slab {
    /// E γ, 1 − E γ and λ* of one weight.
    pub fn weight(&self, w: f64, eta: f64) -> [f64; 3] {
        let t = log_odds(self, w, eta);
        let (member, rest) = (1.0 / (1.0 + (-t).exp()), 1.0 / (1.0 + t.exp()));
        [member, rest, self.lambda1 + (self.lambda0 - self.lambda1) * rest]
    }

    /// |w| at which E γ = ½.
    pub fn boundary(&self, eta: f64) -> f64 {
        (((1.0 - eta) / eta).ln() + (self.lambda0 / self.lambda1).ln()) / (self.lambda0 - self.lambda1)
    }
}

/// λ₀ in epoch `epoch` of `epochs`: 1, then 10, then `last`, from the shares `stages` of the epochs on.
pub fn annealed(epoch: usize, epochs: usize, last: f64, stages: [f64; 2]) -> f64 {
    let share = epoch as f64 / epochs.max(1) as f64;
    match stages.iter().position(|&end| share < end) {
        Some(0) => last.min(1.0),
        Some(_) => last.min(10.0),
        None => last,
    }
}

/// Membership and its rates, which the E-step moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// E γ, G × K.
    pub member: Array2<f64>,
    /// η, one for each column.
    pub eta: Vec<f64>,
}

impl Membership {
    /// Everything at ½.
    pub fn new(features: usize, columns: usize) -> Membership {
        Membership { member: Array2::from_elem((features, columns), 0.5), eta: vec![0.5; columns] }
    }

    /// E γ from the weights and the present η, then η.
    pub fn update<T: Real>(&mut self, slab: &Slab, w: ArrayView2<'_, T>) {
        // The odds of each column at w = 0.
        let at_zero: Vec<f64> = self.eta.iter().map(|&eta| log_odds(slab, 0.0, eta)).collect();
        let steep = slab.lambda0 - slab.lambda1;
        let mut sums = vec![0.0; self.eta.len()];
        fast!(|| {
            for (mut member, w) in self.member.rows_mut().into_iter().zip(w.rows()) {
                let entries = member.iter_mut().zip(w).zip(at_zero.iter().zip(&mut sums));
                for ((member, w), (at_zero, sum)) in entries {
                    *member = 1.0 / (1.0 + exp(-(at_zero + steep * w.wide().abs())));
                    *sum += *member;
                }
            }
        });
        let below = slab.a + slab.b + w.nrows() as f64 - 2.0;
        for (eta, sum) in self.eta.iter_mut().zip(sums) {
            *eta = ((sum + slab.a - 1.0) / below).clamp(EDGE, 1.0 - EDGE);
        }
    }

    /// λ* of entry (j, k), from E γ.
    #[inline]
    pub fn penalty(&self, slab: &Slab, j: usize, k: usize) -> f64 {
        slab.lambda1 + (slab.lambda0 - slab.lambda1) * (1.0 - self.member[[j, k]])
    }

    /// log prior of η and γ: Σ_k (Σ_j E γ + a − 1) log η + (G − Σ_j E γ + b − 1) log(1 − η).
    pub fn log_prior(&self, slab: &Slab) -> f64 {
        let features = self.member.nrows() as f64;
        let column = |(eta, member): (&f64, ndarray::ArrayView1<'_, f64>)| {
            let sum: f64 = member.iter().sum();
            (sum + slab.a - 1.0) * eta.ln() + (features - sum + slab.b - 1.0) * (-eta).ln_1p()
        };
        self.eta.iter().zip(self.member.columns()).map(column).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use ndarray::{Axis, Ix2, Ix3};

    #[test]
    fn single_weights_agree_with_sixty_digits() {
        let grid = Golden::open("mssvae/ssl").array::<Ix2>("grid");
        for row in grid.rows() {
            let slab = Slab { lambda0: row[2], lambda1: row[3], a: 1.0, b: 1.0 };
            let found = slab.weight(row[0], row[1]);
            for (found, gold) in found.iter().zip([row[5], row[6], row[7]]) {
                // The golden values are differences from 1 in sixty digits.
                assert!((found - gold).abs() <= 1e-12 * gold + 1e-60, "{row}: {found:e}");
            }
        }
    }

    #[test]
    fn steps_agree_with_golden_values() {
        let case = Golden::open("mssvae/ssl");
        let (w, p, eta) = (case.array::<Ix2>("W"), case.array::<Ix3>("p"), case.array::<Ix2>("eta"));
        let slab = Slab { lambda0: 10.0, lambda1: 0.1, a: 1.0, b: w.nrows() as f64 };
        let mut state = Membership::new(w.nrows(), w.ncols());
        for t in 0..3 {
            state.update(&slab, w.view());
            let near = |a: &f64, b: &f64| (a - b).abs() <= 1e-12 * b.abs();
            assert!(state.member.iter().zip(p.index_axis(Axis(0), t)).all(|(a, b)| near(a, b)));
            assert!(state.eta.iter().zip(eta.row(t + 1)).all(|(a, b)| near(a, b)));
        }
    }

    #[test]
    fn the_boundary_is_where_a_weight_is_as_likely_in_as_out() {
        let slab = Slab { lambda0: 15.0, lambda1: 0.1, a: 1.0, b: 1.0 };
        let at = slab.boundary(0.1);
        assert!((at - 0.4838).abs() < 1e-4 && (slab.weight(at, 0.1)[0] - 0.5).abs() < 1e-12);
    }

    /// η as updated is where the log prior is largest.
    #[test]
    fn the_rate_is_the_best_one() {
        let slab = Slab { lambda0: 10.0, lambda1: 0.1, a: 2.0, b: 7.0 };
        let w = ndarray::array![[0.0, 1.0], [0.4, 0.1], [2.0, 0.0]];
        let mut state = Membership::new(3, 2);
        state.update(&slab, w.view());
        let best = state.log_prior(&slab);
        for change in [-1e-3, 1e-3] {
            let mut moved = state.clone();
            moved.eta[1] += change;
            assert!(moved.log_prior(&slab) < best);
        }
    }

    #[test]
    fn the_spike_sharpens_in_stages() {
        let at = |epoch| annealed(epoch, 500, 15.0, [0.05, 0.3]);
        assert_eq!([at(0), at(24), at(25), at(149), at(150), at(499)], [1.0, 1.0, 10.0, 10.0, 15.0, 15.0]);
        assert_eq!(annealed(0, 10, 0.5, [0.05, 0.3]), 0.5);
    }
}
