//! Golden values of scikit-learn, igraph and leidenalg: testdata/golden/metrics.

use serde::Deserialize;

use super::clustering::{ami, ari, balanced_ami, balanced_ari, nmi, variation_of_information};
use super::degree::degree_statistics;
use super::{assortativity, ranking};
use crate::data::Csr;
use crate::fit::Seed;
use crate::graph::leiden::{leiden, modularity};

const TOLERANCE: f64 = 1e-10;

#[derive(Deserialize)]
struct Metrics {
    clustering: Vec<Clustering>,
    ranking: Vec<Ranking>,
    assortativity: Vec<Assortativity>,
}

#[derive(Deserialize)]
struct Clustering {
    first: Vec<usize>,
    second: Vec<usize>,
    ami: f64,
    nmi: f64,
    ari: f64,
    balanced_ami: f64,
    balanced_ari: f64,
}

#[derive(Deserialize)]
struct Ranking {
    truth: Vec<bool>,
    scores: Vec<f64>,
    precision: Vec<f64>,
    recall: Vec<f64>,
    thresholds: Vec<f64>,
    aupr: f64,
    average_precision: f64,
}

#[derive(Deserialize)]
struct Assortativity {
    n: usize,
    arcs: Vec<(u32, u32)>,
    codes: Vec<usize>,
    nominal: f64,
    numeric: f64,
}

#[derive(Deserialize)]
struct Leiden {
    graphs: Vec<Graph>,
}

#[derive(Deserialize)]
struct Graph {
    name: String,
    n: usize,
    edges: Vec<(u32, u32)>,
    weights: Vec<f64>,
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    resolution: f64,
    leidenalg: f64,
    igraph: f64,
    labels: Vec<usize>,
    quality_of_labels: f64,
}

#[derive(Deserialize)]
struct Network {
    degrees: Vec<Degrees>,
    partitions: Vec<Pair>,
}

#[derive(Deserialize)]
struct Degrees {
    n: usize,
    edges: Vec<(u32, u32)>,
    weights: Vec<f64>,
    count: usize,
    mean: f64,
    median: f64,
    max: usize,
    isolated: usize,
    components: usize,
    density: f64,
    mean_weight: f64,
}

#[derive(Deserialize)]
struct Pair {
    first: Vec<usize>,
    second: Vec<usize>,
    vi: f64,
}

fn metrics() -> Metrics {
    serde_json::from_str(include_str!("../../../../testdata/golden/metrics/metrics.json")).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < TOLERANCE, "{found} is not {expected}");
}

#[test]
fn agreement_equals_scikit_learn() {
    for c in metrics().clustering {
        let of = |f: fn(&[usize], &[usize]) -> crate::Result<f64>| f(&c.first, &c.second).unwrap();
        close(of(ami), c.ami);
        close(of(nmi), c.nmi);
        close(of(ari), c.ari);
        close(of(balanced_ami), c.balanced_ami);
        close(of(balanced_ari), c.balanced_ari);
    }
}

#[test]
fn curves_equal_scikit_learn() {
    for c in metrics().ranking {
        let found = ranking::precision_recall(&c.truth, &c.scores).unwrap();
        close(found.aupr(), c.aupr);
        close(found.average_precision(), c.average_precision);
        let columns =
            [(&found.precision, c.precision), (&found.recall, c.recall), (&found.thresholds, c.thresholds)];
        for (found, expected) in columns {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(&expected).for_each(|(f, e)| close(*f, *e));
        }
    }
}

#[test]
fn assortativity_equals_igraph() {
    for c in metrics().assortativity {
        let g = Csr::from_triplets((c.n, c.n), c.arcs.iter().map(|&(i, j)| (i, j, 1.0)).collect());
        close(assortativity::nominal(&g, &c.codes).unwrap().unwrap(), c.nominal);
        let codes: Vec<f64> = c.codes.iter().map(|&c| c as f64).collect();
        close(assortativity::numeric(&g, &codes).unwrap().unwrap(), c.numeric);
    }
}

#[test]
fn degrees_and_information_equal_igraph() {
    let golden: Network =
        serde_json::from_str(include_str!("../../../../testdata/golden/metrics/network.json")).unwrap();
    for c in golden.degrees {
        let both = c.edges.iter().zip(&c.weights).flat_map(|(&(i, j), &w)| [(i, j, w), (j, i, w)]).collect();
        let found = degree_statistics(&Csr::from_triplets((c.n, c.n), both)).unwrap();
        assert_eq!((found.vertices, found.edges, found.max), (c.n, c.count, c.max));
        assert_eq!((found.isolated, found.components), (c.isolated, c.components));
        for (found, expected) in [
            (found.mean, c.mean),
            (found.median, c.median),
            (found.density, c.density),
            (found.mean_weight, c.mean_weight),
        ] {
            close(found.unwrap(), expected);
        }
    }
    for c in golden.partitions {
        close(variation_of_information(&c.first, &c.second).unwrap(), c.vi);
    }
}

/// Our result against the better of two references over ten seeds each.
#[test]
fn leiden_is_as_good_as_the_references() {
    let golden: Leiden =
        serde_json::from_str(include_str!("../../../../testdata/golden/metrics/leiden.json")).unwrap();
    for g in golden.graphs {
        let both = g.edges.iter().zip(&g.weights).flat_map(|(&(i, j), &w)| [(i, j, w), (j, i, w)]).collect();
        let graph = Csr::from_triplets((g.n, g.n), both);
        for p in g.partitions {
            // The same formula first: quality of their labels.
            close(modularity(&graph, &p.labels, p.resolution).unwrap(), p.quality_of_labels);
            let labels = leiden(&graph, p.resolution, Seed(0)).unwrap();
            let found = modularity(&graph, &labels, p.resolution).unwrap();
            let best = p.leidenalg.max(p.igraph);
            println!("{} γ {}: {found:.5}, best {best:.5}", g.name, p.resolution);
            assert!(found > best - 0.004, "{} at {}: {found} v {best}", g.name, p.resolution);
        }
    }
}
