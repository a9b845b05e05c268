//! How much neighbours count, by genes that were held out.
//!
//! Affinities are fitted to mixtures that expression has made, noise included, and a pseudo-likelihood says nothing of how well they
//! predict. So w Λ stands for Λ, and w is chosen by what a cell's neighbours add to its own expression: with the genes of a fold H set aside,
//!
//! ```text
//! x_i(w) = mixtures from y_ig, g ∉ H, in the tissue with w Λ (w = 0: every cell alone),
//! w*     = argmin_w Σ_H Σ_i Σ_{g ∈ H} (y_ig − (M (x_i(w) + β))_g)² / σ_t².
//! ```
//!
//! Nothing of gene space is formed: with M split as M_H and the rest, MᵗM and Y M split into sums over both.

use ndarray::Array2;
use rand::seq::SliceRandom;

use super::{State, Tissue};
use crate::fit::Draw;
use crate::methods::spatial::mixtures::{self, LEAST};

/// Weights that are tried; 0 stands for no neighbours.
pub const WEIGHTS: [f64; 5] = [0.0, 0.03, 0.1, 0.3, 1.0];
/// Folds of genes.
const FOLDS: usize = 5;

impl Tissue<'_> {
    /// Prediction error of the held-out genes at each of [`WEIGHTS`], per cell and gene in units of σ².
    pub(super) fn held_out(&self, s: &State) -> [f64; WEIGHTS.len()] {
        let mut order: Vec<usize> = (0..self.genes).collect();
        order.shuffle(&mut self.seed.stream(Draw::Shuffle, 0));
        let whole = (s.turned.dot(&s.turned.t()), self.project(s));
        let mut errors = [0.0; WEIGHTS.len()];
        for fold in 0..FOLDS {
            let mut kept = s.clone();
            for &g in order.iter().skip(fold).step_by(FOLDS) {
                kept.turned.column_mut(g).fill(0.0);
            }
            let (gram, projected) = (kept.turned.dot(&kept.turned.t()), self.project(&kept));
            let offset = s.beta.dot(&gram);
            let grams = [gram];
            let target = self.target(&s.noise, &projected, &grams, &offset);
            let (own, seen) = (&whole.0 - &grams[0], &whole.1 - &projected);
            mixtures::alone(&target, &mut kept.x);
            let (mut sizes, alone) = mixtures::parts(&kept.x);
            sizes.iter_mut().for_each(|s| *s = s.max(LEAST));
            for (error, weight) in errors.iter_mut().zip(WEIGHTS) {
                if weight > 0.0 {
                    let (mut sizes, mut z) = (sizes.clone(), alone.clone());
                    let felt = self.felt(s, weight);
                    let each: Vec<&Array2<f64>> = felt.iter().collect();
                    let (rounds, tol) = (self.plan.rounds, 10.0 * self.plan.tol);
                    mixtures::in_tissue(&target, &each, &self.neighbours, &mut sizes, &mut z, rounds, tol);
                    z.rows_mut().into_iter().zip(&sizes).for_each(|(mut row, s)| row *= *s);
                    kept.x = z;
                }
                let w = self.blended(&kept);
                let image = w.dot(&own);
                for (i, w) in w.rows().into_iter().enumerate() {
                    let fitted: f64 = w
                        .iter()
                        .zip(seen.row(i))
                        .zip(image.row(i))
                        .map(|((w, y), g)| w * (g - 2.0 * y))
                        .sum();
                    *error += fitted / s.noise[self.batch[i]];
                }
            }
        }
        errors.map(|e| e / (self.batch.len() * self.genes) as f64)
    }
}
