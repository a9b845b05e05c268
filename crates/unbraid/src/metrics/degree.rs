//! How a network is laid out, whatever it means: degrees, components, density, weights.
//!
//! The graph is undirected and has no loops: pairs below the diagonal whose entry is not zero are the
//! edges. With E edges over n vertices, density = E / (n (n − 1) / 2) and the mean degree is 2 E / n.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Square;

/// Counts and averages of one graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegreeStatistics {
    /// n.
    pub vertices: usize,
    /// E.
    pub edges: usize,
    /// Mean of the degrees; `None` without vertices.
    pub mean: Option<f64>,
    /// Median of the degrees, the mean of the middle two for even n; `None` without vertices.
    pub median: Option<f64>,
    /// Largest degree.
    pub max: usize,
    /// Vertices without an edge.
    pub isolated: usize,
    /// Connected components, an isolated vertex being one.
    pub components: usize,
    /// Share of all pairs that are joined; `None` for fewer than two vertices.
    pub density: Option<f64>,
    /// Mean |weight| of the edges; `None` without edges.
    pub mean_weight: Option<f64>,
}

/// Statistics of a symmetric matrix read below its diagonal; signed weights count by size.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for a matrix that is not square,
/// [`Error::Value`](crate::Error::Value) for an entry that is not finite.
pub fn degree_statistics<'a>(graph: impl Into<Square<'a>>) -> Result<DegreeStatistics> {
    let graph = graph.into();
    let n = graph.vertices("graph")?;
    let mut degree = vec![0usize; n];
    let mut forest = Forest::new(n);
    let (mut edges, mut weight) = (0usize, 0.0);
    graph.edges(|i, j, v| {
        edges += 1;
        weight += v.abs();
        degree[i] += 1;
        degree[j] += 1;
        forest.join(i, j);
    });
    let mut sorted = degree.clone();
    sorted.sort_unstable();
    let median = || (sorted[(n - 1) / 2] + sorted[n / 2]) as f64 / 2.0;
    Ok(DegreeStatistics {
        vertices: n,
        edges,
        mean: (n > 0).then(|| 2.0 * edges as f64 / n as f64),
        median: (n > 0).then(median),
        max: sorted.last().copied().unwrap_or(0),
        isolated: degree.iter().filter(|d| **d == 0).count(),
        components: forest.trees,
        density: (n > 1).then(|| edges as f64 / (n as f64 * (n as f64 - 1.0) / 2.0)),
        mean_weight: (edges > 0).then(|| weight / edges as f64),
    })
}

/// Disjoint sets of vertices, joined by edges.
struct Forest {
    parent: Vec<usize>,
    trees: usize,
}

impl Forest {
    fn new(n: usize) -> Forest {
        Forest { parent: (0..n).collect(), trees: n }
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, i: usize, j: usize) {
        let (a, b) = (self.root(i), self.root(j));
        if a != b {
            self.parent[a.max(b)] = a.min(b);
            self.trees -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn small_graphs_by_hand() {
        let g = array![
            [9.0, -2.0, 0.0, 0.0, 0.0],
            [-2.0, 0.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 5.0]
        ];
        let found = degree_statistics(&g).unwrap();
        assert_eq!((found.vertices, found.edges, found.max), (5, 2, 2));
        assert_eq!((found.isolated, found.components), (2, 3));
        assert_eq!((found.mean, found.median), (Some(0.8), Some(1.0)));
        assert_eq!((found.density, found.mean_weight), (Some(0.2), Some(1.5)));
        let none: Array2<f64> = Array2::zeros((0, 0));
        let found = degree_statistics(&none).unwrap();
        assert_eq!((found.mean, found.median, found.components), (None, None, 0));
        assert_eq!(degree_statistics(&array![[1.0]]).unwrap().density, None);
        assert!(degree_statistics(&array![[0.0, f64::NAN], [0.0, 0.0]]).is_err());
    }
}
