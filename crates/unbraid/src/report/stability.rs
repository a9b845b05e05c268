//! What a page shows of the stability of one network: how often edges were found, and what to expect.

use serde::{Deserialize, Serialize};

use super::finite;
use crate::methods::kronecker::stability::{Bounds, Stable};

/// Edges listed on a page.
const LISTED: usize = 500;

/// The stability of one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StabilityFigure {
    /// What it joins: `observations`.
    pub name: String,
    /// Vertices.
    pub nodes: usize,
    /// Refits that were counted.
    pub refits: usize,
    /// Share of refits from which on an edge is stable.
    pub threshold: f64,
    /// Edges selected in one refit, in the mean.
    pub selected: f64,
    /// Pairs selected in at least one refit.
    pub ever: usize,
    /// Stable edges.
    pub stable: usize,
    /// The bounds at the threshold.
    pub at: Point,
    /// Number of pairs selected in 1, 2, … refits.
    pub histogram: Vec<usize>,
    /// Edges and bounds at every threshold above one half.
    pub curve: Vec<Point>,
    /// Pairs by falling frequency, at most 500.
    pub strongest: Vec<Frequent>,
}

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The threshold.
    pub threshold: f64,
    /// Edges at or above it.
    pub edges: usize,
    /// Bounds on the expected number of false ones, `None` where one says nothing: without a shape,
    pub general: Option<f64>,
    /// unimodal,
    pub unimodal: Option<f64>,
    /// r-concave.
    pub concave: Option<f64>,
}

/// One pair that was selected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frequent {
    /// Name of one end.
    pub source: String,
    /// Name of the other.
    pub target: String,
    /// Share of the refits.
    pub frequency: f64,
}

impl Point {
    fn of(network: &Stable) -> Point {
        let Bounds { general, unimodal, concave } = network.bounds();
        Point {
            threshold: network.threshold,
            edges: network.edges(),
            general: finite(general),
            unimodal: finite(unimodal),
            concave: finite(concave),
        }
    }
}

impl StabilityFigure {
    /// The figure of one network; `names` are those of its vertices.
    pub fn new(name: impl Into<String>, names: &[String], network: &Stable) -> StabilityFigure {
        let refits = network.refits;
        let curve = (refits / 2 + 1..=refits).map(|count| {
            let threshold = count as f64 / refits as f64;
            Point::of(&Stable { threshold, ..network.clone() })
        });
        let mut order: Vec<_> = network.counts.iter().collect();
        order.sort_by_key(|&&(i, j, count)| (std::cmp::Reverse(count), i, j));
        let named = |i: u32| names.get(i as usize).cloned().unwrap_or_default();
        let frequent = |&&(i, j, count): &&(u32, u32, u32)| Frequent {
            source: named(i),
            target: named(j),
            frequency: f64::from(count) / refits.max(1) as f64,
        };
        StabilityFigure {
            name: name.into(),
            nodes: network.nodes,
            refits,
            threshold: network.threshold,
            selected: network.selected(),
            ever: network.counts.len(),
            stable: network.edges(),
            at: Point::of(network),
            histogram: network.histogram(),
            curve: curve.collect(),
            strongest: order.iter().take(LISTED).map(frequent).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::kronecker::tyler::Side;

    #[test]
    fn the_figure_counts_what_the_network_holds() {
        let network = Stable {
            side: Side::Obs,
            nodes: 4,
            refits: 10,
            threshold: 0.9,
            counts: vec![(0, 1, 10), (0, 2, 1), (1, 3, 9), (2, 3, 6)],
            absent: 0,
        };
        let names: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        let f = StabilityFigure::new("cells", &names, &network);
        assert_eq!((f.ever, f.stable, f.selected), (4, 2, 2.6));
        assert_eq!(f.histogram, [1, 0, 0, 0, 0, 1, 0, 0, 1, 1]);
        let edges: Vec<usize> = f.curve.iter().map(|p| p.edges).collect();
        assert_eq!(edges, [3, 2, 2, 2, 1]);
        assert_eq!(f.at, f.curve[3]);
        let order: Vec<_> = f.strongest.iter().map(|e| (e.source.as_str(), e.target.as_str())).collect();
        assert_eq!(order, [("a", "b"), ("b", "d"), ("c", "d"), ("a", "c")]);
        assert!((f.at.general.unwrap() - 2.6 * 2.6 / (0.8 * 6.0)).abs() < 1e-12);
    }
}
