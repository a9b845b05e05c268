//! Clusters of rows and columns beside known classes.
//!
//! With n_kc the items of class k in cluster c and N items in all:
//!
//! ```text
//! accuracy = max over one-to-one pairings of classes with clusters of Σ n_kc / N
//! purity   = Σ_c max_k n_kc / N,     at least the accuracy, and rising with the number of clusters
//! ```
//!
//! Much of the literature prints purity as accuracy; both are given, with the number of clusters. Cells (i, j) have the pair of the
//! labels of their row and column: their table of counts is the product of both sides' tables, and a cell is matched where its
//! row and its column are.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::clustering::Contingency;
use crate::error::Result;
use crate::graph::assignment::best_assignment;

/// One labelling beside the classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// One-to-one accuracy.
    pub accuracy: f64,
    /// Purity.
    pub purity: f64,
    /// Normalised mutual information, arithmetic mean of the entropies.
    pub nmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// Classes that occur.
    pub classes: usize,
    /// Clusters that hold an item.
    pub clusters: usize,
}

/// Items by class and cluster.
fn counts(table: &Contingency) -> Array2<f64> {
    let (classes, clusters) = table.shape();
    let mut out = Array2::zeros((classes, clusters));
    table.cells().for_each(|(k, c, n)| out[[k, c]] = n as f64);
    out
}

/// Accuracy, purity, NMI and ARI of clusters beside classes.
///
/// # Errors
/// As [`Contingency::new`].
pub fn agreement(classes: &[usize], clusters: &[usize]) -> Result<Agreement> {
    let table = Contingency::new(classes, clusters)?;
    let counts = counts(&table);
    let total = counts.sum();
    let pairs = best_assignment(counts.view());
    let matched: f64 = pairs.iter().enumerate().filter_map(|(k, c)| Some(counts[[k, (*c)?]])).sum();
    let pure: f64 = counts.columns().into_iter().map(|c| c.iter().fold(0.0, |a: f64, b| a.max(*b))).sum();
    let (classes, clusters) = table.shape();
    let (nmi, ari) = (table.nmi(), table.ari());
    Ok(Agreement { accuracy: matched / total, purity: pure / total, nmi, ari, classes, clusters })
}

/// The cells of a table, whose classes and clusters are pairs of those of rows and columns.
///
/// # Errors
/// As [`Contingency::new`].
pub fn agreement_of_blocks(rows: [&[usize]; 2], cols: [&[usize]; 2]) -> Result<Agreement> {
    let (a, b) = (agreement(rows[0], rows[1])?, agreement(cols[0], cols[1])?);
    let table = Contingency::new(rows[0], rows[1])?.product(&Contingency::new(cols[0], cols[1])?);
    Ok(Agreement {
        accuracy: a.accuracy * b.accuracy,
        purity: a.purity * b.purity,
        nmi: table.nmi(),
        ari: table.ari(),
        classes: a.classes * b.classes,
        clusters: a.clusters * b.clusters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;

    #[test]
    fn scores_are_those_of_the_golden_case() {
        let case = Golden::open("svcc/metrics");
        let labels = |name: &str| -> Vec<usize> {
            case.array::<ndarray::Ix1>(name).iter().map(|v| *v as usize).collect()
        };
        let found = agreement(&labels("true"), &labels("pred")).unwrap();
        let value = |name: &str| case.array::<ndarray::Ix0>(name).into_scalar();
        assert!((found.accuracy - value("acc")).abs() < 1e-12);
        assert!((found.purity - value("purity")).abs() < 1e-12);
        assert!((found.nmi - value("nmi")).abs() < 1e-12);
        assert!((found.ari - value("ari")).abs() < 1e-12);
    }

    #[test]
    fn many_clusters_are_pure_and_not_accurate() {
        let classes = [0, 0, 0, 1, 1, 1];
        let found = agreement(&classes, &[0, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!((found.purity, found.accuracy, found.clusters), (1.0, 2.0 / 6.0, 6));
        let found = agreement(&classes, &[4, 4, 4, 9, 9, 9]).unwrap();
        assert_eq!((found.purity, found.accuracy, found.ari), (1.0, 1.0, 1.0));
    }

    #[test]
    fn blocks_are_the_labels_of_all_cells() {
        let rows = [&[0, 0, 1, 1, 2][..], &[1, 0, 0, 0, 2]];
        let cols = [&[0, 1, 1][..], &[0, 0, 1]];
        let pairs = |a: &[usize], b: &[usize]| -> Vec<usize> {
            a.iter().flat_map(|i| b.iter().map(move |j| 10 * i + j)).collect()
        };
        let plain = agreement(&pairs(rows[0], cols[0]), &pairs(rows[1], cols[1])).unwrap();
        let found = agreement_of_blocks(rows, cols).unwrap();
        assert!((found.nmi - plain.nmi).abs() < 1e-12 && (found.ari - plain.ari).abs() < 1e-12);
        assert!((found.purity - plain.purity).abs() < 1e-12);
    }
}
