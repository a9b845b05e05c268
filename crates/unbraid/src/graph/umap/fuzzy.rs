//! Weights of the edges between nearest neighbours.
//!
//! ```text
//! p_{j|i} = exp(−max(0, d_ij − ρ_i)/σ_i),   ρ_i = the smallest d_ij above 0,   Σ_j p_{j|i} = log₂ k,   σ_i ≥ mean of d / 1000
//! p_ij    = p_{j|i} + p_{i|j} − p_{j|i} p_{i|j}
//! ```
//!
//! The mean is that of the point's own distances where ρ_i > 0, else that of all; it keeps σ from vanishing among equal points.

use rayon::prelude::*;

use crate::data::Csr;
use crate::graph::knn::Neighbours;

/// Steps of the search for σ.
const STEPS: usize = 64;
/// Remaining error of Σ p over log₂ k.
const CLOSE: f64 = 1e-10;
/// Least σ over the mean distance.
const LEAST: f64 = 1e-3;

/// The nearest distance and the scale of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Local {
    /// ρ.
    pub rho: f64,
    /// σ.
    pub sigma: f64,
}

/// ρ and σ of every point; a neighbourhood has one point more than `near` has columns, the point itself.
pub fn local(near: &Neighbours) -> Vec<Local> {
    let k = near.distance.ncols() + 1;
    let target = (k as f64).log2();
    let n = near.distance.nrows();
    let sums: Vec<f64> = near.distance.rows().into_iter().map(|row| row.sum()).collect();
    let overall = sums.iter().sum::<f64>() / (n * k).max(1) as f64;
    (0..n)
        .into_par_iter()
        .map(|i| {
            let row = near.distance.row(i);
            let rho = row.iter().copied().find(|d| *d > 0.0).unwrap_or(0.0);
            // Σ p rises with σ: bisection, doubling as long as there is no upper end.
            let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
            for _ in 0..STEPS {
                let sum: f64 = row.iter().map(|d| weight(*d, Local { rho, sigma })).sum();
                if (sum - target).abs() < CLOSE {
                    break;
                }
                if sum > target {
                    high = sigma;
                } else {
                    low = sigma;
                }
                sigma = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * sigma };
            }
            let mean = if rho > 0.0 { sums[i] / k as f64 } else { overall };
            Local { rho, sigma: sigma.max(LEAST * mean) }
        })
        .collect()
}

/// p_{j|i} at a distance.
fn weight(distance: f64, of: Local) -> f64 {
    let beyond = distance - of.rho;
    if beyond <= 0.0 || of.sigma <= 0.0 { 1.0 } else { (-beyond / of.sigma).exp() }
}

/// The symmetric graph of p, n × n, zero diagonal, entries in (0, 1].
pub fn graph(near: &Neighbours) -> Csr {
    let (n, scales) = (near.index.nrows(), local(near));
    let directed = near.index.indexed_iter().map(|((i, t), &j)| {
        let p = weight(near.distance[[i, t]], scales[i]);
        (i as u32, j, p)
    });
    let own = Csr::from_triplets((n, n), directed.filter(|(_, _, p)| *p > 0.0).collect());
    let back = own.transpose();
    let mut union = Vec::with_capacity(own.nnz() + back.nnz());
    for i in 0..n {
        let ((at, p), (bt, q)) = (own.row(i), back.row(i));
        let (mut s, mut t) = (0, 0);
        while s < at.len() || t < bt.len() {
            let (j, k) = (at.get(s).copied().unwrap_or(u32::MAX), bt.get(t).copied().unwrap_or(u32::MAX));
            let here = if j <= k { p[s] } else { 0.0 };
            let there = if k <= j { q[t] } else { 0.0 };
            union.push((i as u32, j.min(k), here + there - here * there));
            s += usize::from(j <= k);
            t += usize::from(k <= j);
        }
    }
    Csr::from_triplets((n, n), union)
}
