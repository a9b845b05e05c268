//! How well clusterings of the same samples agree over restarts.
//!
//! C̄_ij is the share of R clusterings that put samples i and j together, and
//!
//! ```text
//! ρ = 1/n² Σ_ij 4 (C̄_ij − ½)²,
//! ```
//!
//! the dispersion of the consensus matrix: 1 where all agree, 0 where every pair is as often together as apart (Brunet et al.
//! 2004, `brunet2004`; Kim and Park 2007, `kim2007`). C̄ itself, n × n, is never formed: Σ C̄ and Σ C̄² are sums over
//! the tables of counts n_ab of each pair of clusterings,
//!
//! ```text
//! Σ_ij C̄_ij = 1/R Σ_r Σ_a n_a²,     Σ_ij C̄_ij² = 1/R² Σ_{r,s} Σ_ab n_ab².
//! ```

use super::clustering::Contingency;
use crate::error::Result;

/// Dispersion of the consensus of clusterings, each with a cluster for every sample; 1 for a single one.
///
/// # Errors
/// [`crate::Error::Shape`] for clusterings of no or of different samples.
pub fn dispersion(clusterings: &[Vec<usize>]) -> Result<f64> {
    let (mut first, mut second) = (0.0, 0.0);
    for (r, a) in clusterings.iter().enumerate() {
        for (s, b) in clusterings.iter().enumerate().skip(r) {
            let together = Contingency::new(a, b)?.pairs_together();
            // Of (r, s) and (s, r).
            second += if r == s { together } else { 2.0 * together };
            first += if r == s { together } else { 0.0 };
        }
    }
    let (count, n) = (clusterings.len().max(1) as f64, clusterings.first().map_or(1, Vec::len) as f64);
    Ok((4.0 * (second / (count * count) - first / count) / (n * n) + 1.0).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dispersion_is_that_of_the_consensus_matrix() {
        let labels = [vec![0, 0, 1, 1, 2], vec![1, 1, 0, 0, 0], vec![0, 1, 1, 2, 2], vec![3, 3, 1, 1, 3]];
        let together =
            |i: usize, j: usize| labels.iter().filter(|l| l[i] == l[j]).count() as f64 / labels.len() as f64;
        let mut sum = 0.0;
        for i in 0..5 {
            for j in 0..5 {
                sum += 4.0 * (together(i, j) - 0.5) * (together(i, j) - 0.5) / 25.0;
            }
        }
        assert!((dispersion(&labels).unwrap() - sum).abs() < 1e-12);
        // Other names of the same clusters.
        assert_eq!(dispersion(&[vec![0, 0, 1], vec![5, 5, 2]]).unwrap(), 1.0);
        // Every pair but the diagonal half together.
        let half = dispersion(&[vec![0, 0], vec![0, 1]]).unwrap();
        assert!((half - 0.5).abs() < 1e-12);
        assert!(dispersion(&[vec![0, 1], vec![0]]).is_err());
    }
}
