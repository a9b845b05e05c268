//! Communities of a weighted graph by the Leiden algorithm (Traag, Waltman and van Eck 2019).
//!
//! The partition maximises modularity with a resolution γ (Reichardt and Bornholdt 2006),
//!
//! Q = 1/(2w) Σ_ij (A_ij − γ k_i k_j / 2w) [c_i = c_j],   k_i = Σ_j A_ij,   2w = Σ_i k_i,
//!
//! with the convention of igraph that a loop counts twice towards k_i. The search is that of crate
//! `single-clustering`; this module checks the graph, scales its weights (the crate keeps them in
//! single precision) and numbers the communities by size.

use rayon::prelude::*;
use single_clustering::community_search::leiden::{self as engine, LeidenConfig, ObjectiveKind};
use single_clustering::network::CSRNetwork;

use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};

/// Passes over the graph; each goes on from the partition of the one before, and two without a gain
/// end the search.
const PASSES: usize = 10;
/// Searches from the start, each with its own stream; the best partition is kept. On graphs without
/// clear communities one search ends up to 0.01 of modularity below the best of twenty.
const SEARCHES: u64 = 8;

/// Labels of the vertices, numbered by falling size of their community (ties: by the first vertex).
///
/// `graph` is n × n, symmetric, with finite weights ≥ 0; a stored zero is no edge, a vertex without
/// an edge is a community of its own. `resolution` γ ≥ 0: 1 is plain modularity, larger values give
/// more communities. The same seed gives the same labels.
///
/// # Errors
/// [`Error::Param`] for the resolution, [`Error::Shape`] or [`Error::Value`] for the graph.
pub fn leiden(graph: &Csr, resolution: f64, seed: Seed) -> Result<Vec<usize>> {
    search(graph, resolution, SEARCHES, seed)
}

/// As [`leiden`] with another number of searches, at least 1. Published evaluations that try hundreds of
/// resolutions search once at each.
///
/// # Errors
/// As [`leiden`], and [`Error::Param`] for no search.
pub fn search(graph: &Csr, resolution: f64, searches: u64, seed: Seed) -> Result<Vec<usize>> {
    if searches == 0 {
        return Err(Error::Param { name: "searches", found: "0".into(), rule: "at least 1" });
    }
    if !(resolution.is_finite() && resolution >= 0.0) {
        let found = resolution.to_string();
        return Err(Error::Param { name: "resolution", found, rule: "finite and at least 0" });
    }
    let largest = check(graph)?;
    // Modularity does not change when all weights are scaled; the largest becomes 1, so that single
    // precision neither overflows nor loses all of them.
    let scale = if largest > 0.0 { 1.0 / largest } else { 1.0 };
    let weights = graph.values().iter().map(|&w| (w * scale) as f32).collect();
    let fault = |e: single_clustering::ClusteringError| Error::Numeric {
        what: "the search for communities",
        why: e.to_string(),
    };
    let network =
        CSRNetwork::from_csr_parts(graph.indptr().to_vec(), graph.indices().to_vec(), weights, None)
            .map_err(fault)?;
    let found: Vec<(f64, Vec<usize>)> = (0..searches)
        .into_par_iter()
        .map(|search| {
            let config = LeidenConfig {
                objective: ObjectiveKind::Rb { resolution },
                seed: Some(seed.child(Draw::Restart, search).0),
                n_iterations: PASSES,
                ..LeidenConfig::default()
            };
            let found = engine::leiden(&network, &config).map_err(fault)?;
            Ok((quality(graph, found.labels(), resolution), found.labels().to_vec()))
        })
        .collect::<Result<_>>()?;
    // The first of the best, whichever thread found it.
    let best = found.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
    Ok(by_size(&best.map(|b| b.1).unwrap_or_default()))
}

/// Labels renumbered by falling size; communities of one size keep the order of their first member.
pub fn by_size(labels: &[usize]) -> Vec<usize> {
    let mut seen: std::collections::BTreeMap<usize, (usize, usize)> = std::collections::BTreeMap::new();
    for (i, &c) in labels.iter().enumerate() {
        seen.entry(c).or_insert((0, i)).0 += 1;
    }
    let mut order: Vec<(usize, usize, usize)> = seen.iter().map(|(&c, &(size, at))| (size, at, c)).collect();
    order.sort_by_key(|&(size, at, _)| (std::cmp::Reverse(size), at));
    let number: std::collections::BTreeMap<usize, usize> =
        order.iter().enumerate().map(|(new, &(_, _, old))| (old, new)).collect();
    labels.iter().map(|c| number[c]).collect()
}

/// Modularity Q of a partition at a resolution; 0 for a graph without edges.
///
/// # Errors
/// [`Error::Shape`] when there is not one label per vertex, and as [`leiden`] for the graph.
pub fn modularity(graph: &Csr, labels: &[usize], resolution: f64) -> Result<f64> {
    check(graph)?;
    if labels.len() != graph.shape().0 {
        let found = vec![labels.len()];
        return Err(Error::Shape { what: "labels".into(), found, rule: "one per vertex" });
    }
    Ok(quality(graph, labels, resolution))
}

/// [`modularity`] of a checked graph and labels.
fn quality(graph: &Csr, labels: &[usize], resolution: f64) -> f64 {
    let mut total = 0.0;
    let mut inside = 0.0;
    let mut strength: std::collections::BTreeMap<usize, f64> = std::collections::BTreeMap::new();
    for (i, j, w) in graph.entries() {
        let w = if i == j { 2.0 * w } else { w };
        total += w;
        *strength.entry(labels[i]).or_default() += w;
        if labels[i] == labels[j] {
            inside += w;
        }
    }
    if total == 0.0 {
        return 0.0;
    }
    let expected: f64 = strength.values().map(|k| (k / total).powi(2)).sum();
    inside / total - resolution * expected
}

/// Refuses what has no communities: not square, negative or infinite weights, one direction only.
/// Returns the largest weight.
fn check(graph: &Csr) -> Result<f64> {
    let (n, m) = graph.shape();
    let what = || "graph".to_owned();
    if n != m {
        return Err(Error::Shape { what: what(), found: vec![n, m], rule: "square" });
    }
    let mut largest = 0.0f64;
    for (i, j, found) in graph.entries() {
        if !(found.is_finite() && found >= 0.0) {
            return Err(Error::Value { what: what(), found, at: (i, j), rule: "finite and not negative" });
        }
        largest = largest.max(found);
    }
    let back = graph.transpose();
    let rule = "equal to the entry on the other side of the diagonal";
    let (mut a, mut b) = (graph.entries(), back.entries());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ok(largest),
            (Some(x), Some(y)) if x == y => {}
            (Some((i, j, found)), _) | (None, Some((i, j, found))) => {
                return Err(Error::Value { what: what(), found, at: (i, j), rule });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn graph(n: u32, edges: &[(u32, u32, f64)]) -> Csr {
        let both = edges
            .iter()
            .flat_map(|&(i, j, w)| if i == j { vec![(i, j, w)] } else { vec![(i, j, w), (j, i, w)] });
        Csr::from_triplets((n as usize, n as usize), both.collect())
    }

    #[test]
    fn two_triangles_a_pair_and_a_lonely_vertex() {
        let g = graph(
            9,
            &[
                (0, 1, 1.0),
                (1, 2, 1.0),
                (0, 2, 1.0),
                (2, 3, 0.1),
                (3, 4, 1.0),
                (4, 5, 1.0),
                (3, 5, 1.0),
                (6, 7, 2.0),
            ],
        );
        let labels = leiden(&g, 1.0, Seed(1)).unwrap();
        assert_eq!(labels, [0, 0, 0, 1, 1, 1, 2, 2, 3]);
        // The scale of the weights is of no account, however small.
        assert_eq!(leiden(&g.map(|w| w * 1e-60), 1.0, Seed(1)).unwrap(), labels);
        assert_eq!(leiden(&graph(3, &[]), 1.0, Seed(1)).unwrap(), [0, 1, 2]);
        assert_eq!(leiden(&graph(0, &[]), 1.0, Seed(1)).unwrap(), [0; 0]);
    }

    #[test]
    fn bad_graphs_are_refused_with_the_place() {
        let why =
            |entries| leiden(&Csr::from_triplets((2, 2), entries), 1.0, Seed(0)).unwrap_err().to_string();
        assert!(why(vec![(0, 1, -1.0), (1, 0, -1.0)]).contains("row 0, column 1"));
        assert!(why(vec![(0, 1, 1.0)]).contains("other side"));
        assert!(why(vec![(0, 1, 1.0), (1, 0, 2.0)]).contains("other side"));
        assert!(why(vec![(0, 1, f64::NAN), (1, 0, f64::NAN)]).contains("NaN"));
        assert!(leiden(&graph(2, &[]), -1.0, Seed(0)).unwrap_err().to_string().contains("resolution"));
        assert!(search(&graph(2, &[]), 1.0, 0, Seed(0)).unwrap_err().to_string().contains("searches"));
        assert!(leiden(&Csr::from_triplets((2, 3), vec![]), 1.0, Seed(0)).is_err());
    }

    #[test]
    fn modularity_agrees_with_the_double_sum() {
        let mut rng = Seed(3).stream(Draw::Simulate, 0);
        let mut edges = Vec::new();
        for i in 0..20u32 {
            for j in 0..=i {
                if rng.random_bool(0.2) {
                    edges.push((i, j, rng.random::<f64>()));
                }
            }
        }
        let g = graph(20, &edges);
        let labels: Vec<usize> = (0..20).map(|_| rng.random_range(0..4)).collect();
        let a = g.to_dense();
        let a = &a + &ndarray::Array2::from_diag(&a.diag());
        let k = a.sum_axis(ndarray::Axis(1));
        let two_w = k.sum();
        let mut q = 0.0;
        for i in 0..20 {
            for j in 0..20 {
                if labels[i] == labels[j] {
                    q += (a[[i, j]] - 0.7 * k[i] * k[j] / two_w) / two_w;
                }
            }
        }
        assert!((modularity(&g, &labels, 0.7).unwrap() - q).abs() < 1e-14);
    }

    #[test]
    fn same_labels_on_any_pool() {
        let mut rng = Seed(8).stream(Draw::Simulate, 0);
        let edges: Vec<(u32, u32, f64)> = (0..900)
            .map(|_| (rng.random_range(0..300), rng.random_range(0..300), rng.random::<f64>()))
            .collect();
        let g = graph(300, &edges);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| leiden(&g, 1.0, Seed(4)).unwrap())
        };
        let one = run(1);
        assert!(run(2) == one && run(8) == one);
        // The best of eight searches is no worse than the first alone, which is one of them.
        let first = search(&g, 1.0, 1, Seed(4)).unwrap();
        assert!(modularity(&g, &one, 1.0).unwrap() >= modularity(&g, &first, 1.0).unwrap());
    }

    /// Blocks that a partition can be compared with: the planted one is found, and quality is no worse.
    #[test]
    fn planted_blocks_are_found() {
        let mut rng = Seed(5).stream(Draw::Simulate, 1);
        let mut edges = Vec::new();
        for i in 0..300u32 {
            for j in 0..i {
                let p = if i % 6 == j % 6 { 0.3 } else { 0.01 };
                if rng.random_bool(p) {
                    edges.push((i, j, 1.0 + rng.random::<f64>()));
                }
            }
        }
        let g = graph(300, &edges);
        let labels = leiden(&g, 1.0, Seed(2)).unwrap();
        let planted: Vec<usize> = (0..300).map(|i| i % 6).collect();
        assert!(modularity(&g, &labels, 1.0).unwrap() >= modularity(&g, &planted, 1.0).unwrap() - 1e-12);
        assert_eq!(labels, by_size(&planted));
        assert_eq!(labels, leiden(&g, 1.0, Seed(2)).unwrap());
    }
}
