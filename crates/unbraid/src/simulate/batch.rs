//! A batch effect put into counts at hand.
//!
//! ```text
//! adds:    y'_ig = y_ig + Poisson(b_g),   b_g = σ e_g ȳ_g,   e_g ~ Exp(1)
//! scales:  y'_ig = round(f_g y_ig),       f_g = exp(σ n_g − mean of σ n),   n_g ~ N(0, 1)
//! ```
//!
//! for the cells of one batch, ȳ_g the mean of gene g over all cells. Zeros stay sparse under `scales`.

use ndarray::Array1;
use rand_distr::{Distribution, Exp1, Poisson, StandardNormal};

use crate::data::{Csr, Matrix};
use crate::fit::{Draw, Seed};

/// What a batch does to its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It adds an expression.
    Adds,
    /// It scales every gene.
    Scales,
}

impl Effect {
    /// Counts (cells × genes) with the effect of strength σ in the cells for which `of` is true.
    pub fn put(self, counts: &Matrix, of: &[bool], strength: f64, seed: Seed) -> Matrix {
        let (n, g) = counts.shape();
        let mut rng = seed.stream(Draw::Simulate, 0);
        let mut out = counts.to_dense();
        match self {
            Effect::Adds => {
                let mean = out.sum_axis(ndarray::Axis(0)) / n.max(1) as f64;
                let added: Array1<f64> = mean.mapv(|m| {
                    let e: f64 = Exp1.sample(&mut rng);
                    strength * m * e
                });
                for (mut row, _) in out.rows_mut().into_iter().zip(of).filter(|(_, of)| **of) {
                    for (y, b) in row.iter_mut().zip(&added) {
                        // Poisson laws of rate 0 are refused: nothing is added.
                        *y += Poisson::new(*b).map_or(0.0, |law| law.sample(&mut rng));
                    }
                }
            }
            Effect::Scales => {
                let log: Array1<f64> = (0..g)
                    .map(|_| {
                        let n: f64 = StandardNormal.sample(&mut rng);
                        strength * n
                    })
                    .collect();
                let factor = (&log - log.mean().unwrap_or(0.0)).mapv(f64::exp);
                for (mut row, _) in out.rows_mut().into_iter().zip(of).filter(|(_, of)| **of) {
                    row.iter_mut().zip(&factor).for_each(|(y, f)| *y = (*y * f).round());
                }
            }
        }
        match counts {
            Matrix::Dense(_) => Matrix::Dense(out),
            Matrix::Sparse(_) => {
                let entry =
                    |((i, j), v): ((usize, usize), &f64)| (*v != 0.0).then_some((i as u32, j as u32, *v));
                Matrix::Sparse(Csr::from_triplets((n, g), out.indexed_iter().filter_map(entry).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_batch_adds_or_scales_in_its_cells_alone() {
        let y = Array2::from_shape_fn((400, 6), |(i, j)| ((i * 7 + j * 3) % 9 * (j + 1)) as f64);
        let of: Vec<bool> = (0..400).map(|i| i >= 200).collect();
        for effect in [Effect::Adds, Effect::Scales] {
            let dense = effect.put(&Matrix::Dense(y.clone()), &of, 0.5, Seed(1));
            let triplets =
                y.indexed_iter().filter(|(_, v)| **v != 0.0).map(|((i, j), v)| (i as u32, j as u32, *v));
            let sparse = Matrix::Sparse(Csr::from_triplets((400, 6), triplets.collect()));
            let same = effect.put(&sparse, &of, 0.5, Seed(1));
            assert!(matches!(same, Matrix::Sparse(_)));
            let out = dense.to_dense();
            assert_eq!(out, same.to_dense());
            assert!(out.iter().all(|v| *v >= 0.0 && v.fract() == 0.0));
            assert_eq!(out.slice(ndarray::s![..200, ..]), y.slice(ndarray::s![..200, ..]));
            let moved = &out.slice(ndarray::s![200.., ..]) - &y.slice(ndarray::s![200.., ..]);
            match effect {
                // What is added has one mean for all cells, whatever they hold: of cells without a gene as of the others.
                Effect::Adds => {
                    assert!(moved.iter().all(|d| *d >= 0.0));
                    assert!(moved.sum() > 0.2 * y.sum() / 2.0);
                }
                Effect::Scales => {
                    let zero = y
                        .slice(ndarray::s![200.., ..])
                        .indexed_iter()
                        .all(|(at, v)| *v > 0.0 || moved[at] == 0.0);
                    assert!(zero && moved.iter().any(|d| *d > 0.0) && moved.iter().any(|d| *d < 0.0));
                }
            }
            assert_eq!(effect.put(&Matrix::Dense(y.clone()), &of, 0.0, Seed(1)).to_dense(), y);
        }
    }
}
