//! Pictures of neighbourhoods: UMAP on the exact nearest neighbours (`mcinnes2018`).
//!
//! ```text
//! p_{j|i} = exp(−max(0, d_ij − ρ_i)/σ_i),   Σ_j p_{j|i} = log₂ k,        j among the k nearest of i, itself counted and left out
//! p_ij    = p_{j|i} + p_{i|j} − p_{j|i} p_{i|j}
//! q_ij    = 1 / (1 + a |y_i − y_j|^{2b})
//! min_Y   − Σ_ij p_ij log q_ij + (1 − p_ij) log(1 − q_ij)
//! ```
//!
//! | symbol | shape | meaning | where |
//! |--------|-------|---------|-------|
//! | d      | n × k | distances to the nearest points | [`knn`](super::knn) |
//! | ρ, σ, p | n, n, n × n sparse | distance to the nearest, scale, weights of edges | [`fuzzy`] |
//! | a, b   |       | shape of q, fitted to `min_dist` and `spread` | [`curve`] |
//! | Y      | n × 2 | the picture | [`start`] where it begins, [`layout`] how it goes on |
//!
//! The order of the work is fixed by the seed and the sums by the points, so that the picture has the same bits on any number of
//! threads. What differs from umap-learn: neighbours are exact; the second of the two steps that an edge makes comes when its other end is
//! visited; an edge draws its samples of the rest in whole numbers; parts of the graph that do not hang together are placed by the principal
//! axes of their means. Distances between far groups of the picture mean nothing.

pub mod curve;
pub mod fuzzy;
pub mod layout;
pub mod start;

use ndarray::{Array2, ArrayView2};

use super::knn::nearest;
use crate::error::{Error, Result};
use crate::fit::Seed;

/// Points up to which the picture takes 500 epochs by default; above it 200.
const FEW: usize = 10_000;

/// How a picture is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Umap {
    /// Points in a neighbourhood, k, the point itself counted; at least 2, capped at the number of points. Default 15.
    pub neighbors: usize,
    /// Distance in the picture below which points are not told apart; from 0 to `spread`. Default 0.1.
    pub min_dist: f64,
    /// Scale of the picture; above 0. Default 1.
    pub spread: f64,
    /// Rounds over all edges; `None` for 500 up to 10 000 points and 200 above.
    pub epochs: Option<usize>,
    /// Samples of the rest for each edge; at least 1. Default 5.
    pub negatives: usize,
}

impl Default for Umap {
    fn default() -> Umap {
        Umap { neighbors: 15, min_dist: 0.1, spread: 1.0, epochs: None, negatives: 5 }
    }
}

impl Umap {
    /// The picture, n × 2, of points (rows of an n × d table).
    ///
    /// # Errors
    /// [`Error::Param`] for a setting outside its range, [`Error::Shape`] for fewer than two points, [`Error::Value`] for an entry that is not finite.
    pub fn picture(&self, points: ArrayView2<'_, f64>, seed: Seed) -> Result<Array2<f64>> {
        self.validate()?;
        let n = points.nrows();
        if n < 2 {
            return Err(Error::Shape {
                what: "points".into(),
                found: vec![n, points.ncols()],
                rule: "at least two rows",
            });
        }
        let near = nearest(points, (self.neighbors.min(n) - 1).max(1))?;
        let graph = fuzzy::graph(&near);
        let start = start::spectral(&graph, points, seed)?;
        let curve = curve::Curve::fit(self.min_dist, self.spread);
        let epochs = self.epochs.unwrap_or(if n <= FEW { 500 } else { 200 });
        Ok(layout::layout(&graph, start, curve, layout::Pace { epochs, negatives: self.negatives }, seed))
    }

    fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if self.neighbors < 2 {
            return bad("neighbors", self.neighbors.to_string(), "at least 2");
        }
        if !(self.spread > 0.0 && self.spread.is_finite()) {
            return bad("spread", self.spread.to_string(), "finite and above 0");
        }
        if !(self.min_dist >= 0.0 && self.min_dist <= self.spread) {
            return bad("min_dist", self.min_dist.to_string(), "from 0 to spread");
        }
        if self.epochs == Some(0) {
            return bad("epochs", "0".into(), "at least 1");
        }
        if self.negatives == 0 {
            return bad("negatives", "0".into(), "at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
