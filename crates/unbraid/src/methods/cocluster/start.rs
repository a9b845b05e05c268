//! Where an ascent starts.

use ndarray::{Array2, ArrayView2};
use rand::RngExt;

use super::kmeans::sparse_means;
use super::spectral;
use super::table::Joint;
use super::weight::Weighting;
use crate::error::Result;
use crate::fit::{Draw, Seed};

/// Where ascents start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// One from k-means, one from the spectrum, the others from random labels.
    Mixed,
    /// Random labels.
    Random,
    /// k-means of either side, weighted by [`Weighting::Tfidf`].
    Kmeans,
    /// Spectral co-clustering.
    Spectral,
}

crate::words!(Init, "a start", Mixed = "mixed", Random = "random", Kmeans = "kmeans", Spectral = "spectral");

/// Labels of rows and of columns.
pub type Labels = (Vec<usize>, Vec<usize>);

/// Labels for ascent number `at`, (g, h) clusters.
///
/// # Errors
/// [`crate::Error::Numeric`] where a decomposition does not converge.
pub fn labels(init: Init, at: usize, joint: &Joint, (g, h): (usize, usize), seed: Seed) -> Result<Labels> {
    match (init, at) {
        (Init::Kmeans, _) | (Init::Mixed, 0) => Ok(means(joint, (g, h), seed)),
        (Init::Spectral, _) | (Init::Mixed, 1) => spectral::labels(joint, (g, h), 10, seed),
        (Init::Random | Init::Mixed, _) => {
            let (n, m) = joint.shape();
            let draw = |lines: usize, clusters: usize, item| {
                let mut rng = seed.stream(Draw::Init, item);
                (0..lines).map(|_| rng.random_range(0..clusters)).collect()
            };
            Ok((draw(n, g, 0), draw(m, h, 1)))
        }
    }
}

fn means(joint: &Joint, (g, h): (usize, usize), seed: Seed) -> Labels {
    let side = |x, clusters, item| {
        let points = Weighting::Tfidf.apply(x);
        sparse_means(&points, clusters, 3, 100, seed.child(Draw::Restart, item)).labels
    };
    (side(&joint.rows, g, 0), side(&joint.cols, h, 1))
}

/// Labels as memberships of 0 and 1.
pub fn one_hot(labels: &[usize], clusters: usize) -> Array2<f64> {
    let mut out = Array2::zeros((labels.len(), clusters));
    labels.iter().enumerate().for_each(|(i, &l)| out[[i, l]] = 1.0);
    out
}

/// The cluster of largest membership of each row, the first of equals.
pub fn hardest(membership: ArrayView2<'_, f64>) -> Vec<usize> {
    let top = |row: ndarray::ArrayView1<'_, f64>| {
        row.iter().enumerate().fold((0, f64::NEG_INFINITY), |b, (c, &v)| if v > b.1 { (c, v) } else { b }).0
    };
    membership.rows().into_iter().map(top).collect()
}
