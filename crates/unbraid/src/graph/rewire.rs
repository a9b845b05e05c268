//! Graphs with the same degrees and other edges.
//!
//! One trial takes two edges a–b and c–d at random and puts a–d and c–b in their place, unless that
//! would make a loop or a double edge; degrees never change. Trials are counted whether or not they
//! succeed, as igraph's `rewire(keeping_degseq)` and therefore the R package robin count them: to perturb
//! a share f of E edges, round(f E) trials are made, each of which moves up to two edges.

use std::collections::HashSet;

use rand::{Rng, RngExt};

use super::Square;
use crate::data::Csr;
use crate::error::{Error, Result};

/// Trials per edge after which a graph counts as random.
const MIXING: usize = 10;

/// An undirected graph without weights and loops, as its edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeList {
    /// Number of vertices.
    pub vertices: usize,
    /// (smaller end, larger end), each once.
    pub edges: Vec<(u32, u32)>,
}

impl EdgeList {
    /// The edges of a symmetric matrix, read below the diagonal; weights are not read.
    ///
    /// # Errors
    /// [`Error::Shape`] for a matrix that is not square, [`Error::Value`] for an entry that is not finite.
    pub fn new<'a>(graph: impl Into<Square<'a>>) -> Result<EdgeList> {
        let graph = graph.into();
        let vertices = graph.vertices("graph")?;
        let mut edges = Vec::new();
        graph.edges(|i, j, _| edges.push((j as u32, i as u32)));
        Ok(EdgeList { vertices, edges })
    }

    /// The symmetric matrix with 1 for every edge.
    pub fn to_csr(&self) -> Csr {
        let both = self.edges.iter().flat_map(|&(i, j)| [(i, j, 1.0), (j, i, 1.0)]);
        Csr::from_triplets((self.vertices, self.vertices), both.collect())
    }

    /// A copy after round(`share` · E) trials; 0 ≤ `share`.
    ///
    /// # Errors
    /// [`Error::Param`] naming `share`.
    pub fn perturbed(&self, share: f64, rng: &mut impl Rng) -> Result<EdgeList> {
        if !(share.is_finite() && share >= 0.0) {
            return Err(Error::Param { name: "share", found: share.to_string(), rule: "0 or larger" });
        }
        let mut out = self.clone();
        out.swap_edges((share * self.edges.len() as f64).round() as usize, rng);
        Ok(out)
    }

    /// A random graph with the same degrees: ten trials per edge.
    pub fn randomised(&self, rng: &mut impl Rng) -> EdgeList {
        let mut out = self.clone();
        out.swap_edges(MIXING * self.edges.len(), rng);
        out
    }

    fn swap_edges(&mut self, trials: usize, rng: &mut impl Rng) {
        let count = self.edges.len();
        if count < 2 {
            return;
        }
        // Only asked whether an edge is in it, so that its own order is of no account.
        let mut there: HashSet<(u32, u32)> = self.edges.iter().copied().collect();
        let ordered = |a: u32, b: u32| (a.min(b), a.max(b));
        for _ in 0..trials {
            let (e, f) = (rng.random_range(0..count), rng.random_range(0..count));
            let (a, b) = self.edges[e];
            let (c, d) =
                if rng.random_bool(0.5) { self.edges[f] } else { (self.edges[f].1, self.edges[f].0) };
            let (new_e, new_f) = (ordered(a, d), ordered(c, b));
            if e == f
                || a == d
                || c == b
                || there.contains(&new_e)
                || there.contains(&new_f)
                || new_e == new_f
            {
                continue;
            }
            there.remove(&self.edges[e]);
            there.remove(&self.edges[f]);
            there.extend([new_e, new_f]);
            (self.edges[e], self.edges[f]) = (new_e, new_f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};

    fn ring(n: u32, reach: u32) -> EdgeList {
        let edges = (0..n).flat_map(|i| {
            (1..=reach).map(move |r| {
                let j = (i + r) % n;
                (i.min(j), i.max(j))
            })
        });
        EdgeList { vertices: n as usize, edges: edges.collect() }
    }

    fn degrees(g: &EdgeList) -> Vec<usize> {
        let mut d = vec![0; g.vertices];
        g.edges.iter().for_each(|&(i, j)| {
            d[i as usize] += 1;
            d[j as usize] += 1;
        });
        d
    }

    fn kept(a: &EdgeList, b: &EdgeList) -> f64 {
        let there: HashSet<_> = a.edges.iter().collect();
        b.edges.iter().filter(|e| there.contains(e)).count() as f64 / a.edges.len() as f64
    }

    #[test]
    fn degrees_stay_edges_move_and_nothing_doubles() {
        let g = ring(120, 4);
        for (share, low, high) in [(0.0, 1.0, 1.0), (0.05, 0.88, 0.92), (0.6, 0.2, 0.45)] {
            let h = g.perturbed(share, &mut Seed(1).stream(Draw::Shuffle, 0)).unwrap();
            assert_eq!(degrees(&h), degrees(&g));
            let mut unique = h.edges.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), g.edges.len());
            assert!(h.edges.iter().all(|(i, j)| i < j));
            let left = kept(&g, &h);
            assert!((low..=high).contains(&left), "{share}: {left}");
            assert_eq!(h.to_csr(), h.to_csr().transpose());
            assert_eq!(EdgeList::new(&h.to_csr()).unwrap().to_csr(), h.to_csr());
        }
        let null = g.randomised(&mut Seed(1).stream(Draw::Shuffle, 1));
        assert_eq!(degrees(&null), degrees(&g));
        // By chance an edge of a graph of degree 8 on 120 vertices is kept with 8/119.
        assert!(kept(&g, &null) < 0.15);
    }

    #[test]
    fn every_graph_of_the_degrees_is_reached_equally_often() {
        // Degrees 1, 1, 1, 1: three pairings.
        let g = EdgeList { vertices: 4, edges: vec![(0, 1), (2, 3)] };
        let mut seen = std::collections::BTreeMap::new();
        for item in 0..3000 {
            let mut h = g.randomised(&mut Seed(2).stream(Draw::Shuffle, item)).edges;
            h.sort_unstable();
            *seen.entry(h).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 3);
        assert!(seen.values().all(|&c| (850..1150).contains(&c)), "{seen:?}");
    }

    #[test]
    fn graphs_that_cannot_move_stay_and_bad_shares_are_refused() {
        let star = EdgeList { vertices: 4, edges: vec![(0, 1), (0, 2), (0, 3)] };
        assert_eq!(degrees(&star.randomised(&mut Seed(1).stream(Draw::Shuffle, 0))), [3, 1, 1, 1]);
        let none = EdgeList { vertices: 3, edges: Vec::new() };
        assert_eq!(none.randomised(&mut Seed(1).stream(Draw::Shuffle, 0)), none);
        assert!(star.perturbed(-0.1, &mut Seed(1).stream(Draw::Shuffle, 0)).is_err());
        assert!(star.perturbed(f64::NAN, &mut Seed(1).stream(Draw::Shuffle, 0)).is_err());
    }
}
