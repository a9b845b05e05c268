//! Rays: the batch effect as the point where the lines of all cell types of a slice meet.
//!
//! Cells of one type differ mostly in size, y_i = s_i M z + M β^t + e_i. Those of one type and slice lie on a line whose direction
//! all slices share, through the apex M β^t of the slice; lines of several types give the apex, whatever the composition of the slices:
//!
//! ```text
//! min_{d, β ≥ 0} Σ_i min_s |y_i − M β^{t(i)} − s d_{κ(i)}|²,    |d_c| = 1
//! d_c   = leading eigenvector of Σ_t Σ_{i in c,t} (y_i − M β^t)(y_i − M β^t)ᵗ
//! β^t   = argmin_{b ≥ 0} ½ bᵗH_t b − h_tᵗ b,   H_t = Σ_c n_tc Mᵗ(I − d_c d_cᵗ)M,   h_t = Σ_c Mᵗ(I − d_c d_cᵗ) Σ_{i in c,t} y_i.
//! ```
//!
//! In coordinates of the span of M (M = U R, ỹ = Uᵗ y = R⁻ᵗ Mᵗ y) all of it is K-dimensional, and cells enter by the counts, sums
//! and second moments of each ray in each slice alone.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | κ      | N     | ray of each cell |
//! | d      | P × K | directions, in coordinates |
//! | β      | T × K | batch effects |
//!
//! The shared-ray formulation is ours; the model it serves is BATCHBLEND's (`shah2025`).

use ndarray::{Array1, Array2, ArrayView2};

use super::quadratic::Quadratic;
use crate::error::{Error, Result};
use crate::linalg::cholesky::Cholesky;
use crate::linalg::eigh;

/// Counts, sums and second moments of the cells of each ray in each slice, in coordinates of the span of M.
#[derive(Clone, Debug)]
pub struct Rays {
    k: usize,
    rays: usize,
    slices: usize,
    /// Rᵗ, lower triangular, MᵗM = Rᵗ R.
    lower: Array2<f64>,
    /// Uᵗ 1, which turns directions to positive sums.
    ones: Array1<f64>,
    count: Vec<f64>,
    sum: Vec<Array1<f64>>,
    square: Vec<Array2<f64>>,
}

impl Rays {
    /// From MᵗM, YM (N × K), and the ray and slice of each cell. Columns of M sum to 1.
    ///
    /// # Errors
    /// [`Error::Numeric`] if metagenes are linearly dependent.
    pub fn new(
        gram: ArrayView2<'_, f64>,
        projected: ArrayView2<'_, f64>,
        kappa: &[usize],
        batch: &[usize],
    ) -> Result<Rays> {
        let k = gram.nrows();
        let dependent = || Error::Numeric {
            what: "the metagenes",
            why: "they are linearly dependent; take a smaller k".into(),
        };
        let factor = Cholesky::new(gram).ok_or_else(dependent)?;
        let rays = kappa.iter().max().map_or(0, |c| c + 1);
        let slices = batch.iter().max().map_or(0, |t| t + 1);
        // Rᵗ and the coordinates R⁻ᵗ (YM)ᵗ.
        let lower = factor.whiten(gram.view()).reversed_axes().as_standard_layout().into_owned();
        let coordinates = factor.whiten(projected.t());
        let ones = factor.whiten(Array2::ones((k, 1)).view()).column(0).to_owned();
        let mut count = vec![0.0; rays * slices];
        let mut sum = vec![Array1::zeros(k); rays * slices];
        let mut square = vec![Array2::<f64>::zeros((k, k)); rays * slices];
        for (i, (&c, &t)) in kappa.iter().zip(batch).enumerate() {
            let at = c * slices + t;
            let y = coordinates.column(i);
            count[at] += 1.0;
            sum[at] += &y;
            for (mut row, v) in square[at].rows_mut().into_iter().zip(&y) {
                row.scaled_add(*v, &y);
            }
        }
        Ok(Rays { k, rays, slices, lower, ones, count, sum, square })
    }

    /// Apexes Rβ of the slices, T × K.
    fn apexes(&self, beta: &Array2<f64>) -> Array2<f64> {
        beta.dot(&self.lower)
    }

    /// Σ over the cells of ray c of (ỹ − o)(ỹ − o)ᵗ.
    fn scatter(&self, c: usize, apexes: &Array2<f64>) -> Array2<f64> {
        let mut out = Array2::zeros((self.k, self.k));
        for t in 0..self.slices {
            let at = c * self.slices + t;
            if self.count[at] == 0.0 {
                continue;
            }
            out += &self.square[at];
            let (o, s) = (apexes.row(t), &self.sum[at]);
            for a in 0..self.k {
                for b in 0..self.k {
                    out[[a, b]] += self.count[at] * o[a] * o[b] - s[a] * o[b] - o[a] * s[b];
                }
            }
        }
        out
    }

    /// Directions at β, P × K; 0 for a ray without cells.
    ///
    /// # Errors
    /// [`Error::Numeric`] if an eigendecomposition fails.
    pub fn directions(&self, beta: &Array2<f64>) -> Result<Array2<f64>> {
        let apexes = self.apexes(beta);
        let mut out = Array2::zeros((self.rays, self.k));
        for c in 0..self.rays {
            let scatter = self.scatter(c, &apexes);
            if !(scatter.diag().sum() > 0.0) {
                continue;
            }
            let eigen = eigh(scatter.view())?;
            let last = eigen.values.len() - 1;
            let d = eigen.vectors.column(last).to_owned();
            let sign = if d.dot(&self.ones) < 0.0 { -1.0 } else { 1.0 };
            out.row_mut(c).assign(&(sign * d));
        }
        Ok(out)
    }

    /// Σ_i |(I − d dᵗ)(ỹ_i − o)|²: what the rays leave.
    pub fn left(&self, beta: &Array2<f64>, directions: &Array2<f64>) -> f64 {
        let apexes = self.apexes(beta);
        (0..self.rays)
            .map(|c| {
                let scatter = self.scatter(c, &apexes);
                let d = directions.row(c);
                scatter.diag().sum() - d.dot(&scatter.dot(&d))
            })
            .sum()
    }

    /// β of every slice at the directions, warm from the β given.
    pub fn shift(&self, directions: &Array2<f64>, beta: &mut Array2<f64>) {
        let mut room = Quadratic::default();
        for t in 0..self.slices {
            let (mut metric, mut pull) =
                (Array2::<f64>::zeros((self.k, self.k)), Array1::<f64>::zeros(self.k));
            for c in 0..self.rays {
                let at = c * self.slices + t;
                let (d, n, s) = (directions.row(c), self.count[at], &self.sum[at]);
                let along = d.dot(s);
                for a in 0..self.k {
                    metric[[a, a]] += n;
                    for b in 0..self.k {
                        metric[[a, b]] -= n * d[a] * d[b];
                    }
                    pull[a] += s[a] - along * d[a];
                }
            }
            let metric = self.lower.dot(&metric).dot(&self.lower.t());
            let pull = self.lower.dot(&pull);
            let flat: Vec<f64> = metric.iter().copied().collect();
            let mut b = beta.row(t).to_vec();
            room.orthant(&flat, 1.0, pull.as_slice().unwrap_or_default(), &mut b);
            beta.row_mut(t).iter_mut().zip(b).for_each(|(to, b)| *to = b);
        }
    }

    /// Takes turns of directions and β until what is left falls by less than `tol` of itself, at most `most` times.
    ///
    /// # Errors
    /// As [`Rays::directions`].
    pub fn meet(&self, beta: &mut Array2<f64>, most: usize, tol: f64) -> Result<Array2<f64>> {
        let mut directions = self.directions(beta)?;
        let mut before = self.left(beta, &directions);
        for _ in 0..most {
            self.shift(&directions, beta);
            directions = self.directions(beta)?;
            let now = self.left(beta, &directions);
            if before - now <= tol * before {
                break;
            }
            before = now;
        }
        Ok(directions)
    }

    /// Least eigenvalue of the mean of I − d dᵗ over the cells of each slice, seen in the span of the metagenes: near 0 where all rays
    /// are parallel and the apex is not determined.
    ///
    /// # Errors
    /// [`Error::Numeric`] if an eigendecomposition fails.
    pub fn conditioning(&self, directions: &Array2<f64>) -> Result<Vec<f64>> {
        (0..self.slices)
            .map(|t| {
                let mut mean = Array2::<f64>::zeros((self.k, self.k));
                let mut all = 0.0;
                for c in 0..self.rays {
                    let n = self.count[c * self.slices + t];
                    all += n;
                    let d = directions.row(c);
                    for a in 0..self.k {
                        mean[[a, a]] += n;
                        for b in 0..self.k {
                            mean[[a, b]] -= n * d[a] * d[b];
                        }
                    }
                }
                Ok(eigh((mean / f64::max(all, 1.0)).view())?.values[0])
            })
            .collect()
    }
}
