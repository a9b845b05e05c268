use ndarray::{Array2, s};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;

use super::curve::Curve;
use super::*;
use crate::data::Csr;
use crate::fit::Draw;

#[derive(Deserialize)]
struct Golden {
    graphs: Vec<Graph>,
    curves: Vec<Shape>,
}

#[derive(Deserialize)]
struct Graph {
    name: String,
    points: Vec<Vec<f64>>,
    neighbors: usize,
    entries: Vec<(u32, u32, f64)>,
}

#[derive(Deserialize)]
struct Shape {
    min_dist: f64,
    spread: f64,
    a: f64,
    b: f64,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/golden/umap/pictures.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn table(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

/// Groups of points around far means.
fn groups(sizes: &[usize], d: usize, apart: f64, seed: u64) -> Array2<f64> {
    let mut rng = Seed(seed).stream(Draw::Simulate, 0);
    let mut out = Array2::from_shape_simple_fn((sizes.iter().sum(), d), || StandardNormal.sample(&mut rng));
    let mut from = 0;
    for &size in sizes {
        let mean = Array2::from_shape_simple_fn((1, d), || apart * (rng.random::<f64>() - 0.5));
        let mut own = out.slice_mut(s![from..from + size, ..]);
        own += &mean;
        from += size;
    }
    out
}

#[test]
fn weights_are_those_of_umap_learn() {
    for case in golden().graphs {
        let points = table(&case.points);
        let graph = fuzzy::graph(&nearest(points.view(), case.neighbors - 1).unwrap());
        assert_eq!(graph, graph.transpose());
        let ours: Vec<(u32, u32, f64)> = graph.entries().map(|(i, j, p)| (i as u32, j as u32, p)).collect();
        let theirs = &case.entries;
        assert_eq!(ours.len(), theirs.len(), "{}", case.name);
        for (a, b) in ours.iter().zip(theirs) {
            // Theirs are computed in single precision, and σ to 1e-5 of Σ p.
            assert!((a.0, a.1) == (b.0, b.1) && (a.2 - b.2).abs() < 2e-4, "{}: {a:?} {b:?}", case.name);
        }
    }
}

#[test]
fn neighbourhoods_weigh_log2_k() {
    let points = groups(&[80], 6, 0.0, 1);
    let near = nearest(points.view(), 9).unwrap();
    for (of, row) in fuzzy::local(&near).iter().zip(near.distance.rows()) {
        let sum: f64 = row.iter().map(|d| (-(d - of.rho).max(0.0) / of.sigma).exp()).sum();
        assert!((sum - 10f64.log2()).abs() < 1e-9);
        assert_eq!(of.rho, row[0]);
    }
}

#[test]
fn curves_are_those_of_scipy() {
    for case in golden().curves {
        let found = Curve::fit(case.min_dist, case.spread);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5 * b;
        assert!(close(found.a, case.a) && close(found.b, case.b), "{found:?} {} {}", case.a, case.b);
    }
}

#[test]
fn coefficients_are_the_derivatives_of_the_cross_entropy() {
    let c = Curve::fit(0.1, 1.0);
    let h = 1e-6;
    for d in [0.3, 1.0, 4.0] {
        let slope = ((c.at(d + h)).ln() - (c.at(d - h)).ln()) / (2.0 * h);
        assert!((slope - c.pull(d * d) * d).abs() < 1e-8);
        // Without the 0.001 the other is exact too.
        let slope = ((1.0 - c.at(d + h)).ln() - (1.0 - c.at(d - h)).ln()) / (2.0 * h);
        let push = c.push(d * d) * (0.001 + d * d) / (d * d);
        assert!((slope - push * d).abs() < 1e-6 * slope.abs());
    }
}

#[test]
fn starts_are_the_smooth_functions_of_the_dense_laplacian() {
    // A path folded in many dimensions: its smoothest function orders it.
    let points = Array2::from_shape_fn((120, 5), |(i, c)| (i as f64 * 0.05 * (c + 1) as f64).sin());
    let graph = fuzzy::graph(&nearest(points.view(), 6).unwrap());
    assert_eq!(start::parts(&graph).1, 1);
    let degree: Vec<f64> = (0..120).map(|i| graph.row(i).1.iter().sum()).collect();
    let scaled = graph.map_at(|i, j, p| p / (degree[i] * degree[j]).sqrt()).to_dense();
    let all = crate::linalg::eigh(scaled.view()).unwrap();
    assert!((all.values[119] - 1.0).abs() < 1e-12);
    let found = start::spectral(&graph, points.view(), Seed(0)).unwrap();
    for f in 0..2 {
        let (own, twin) = (found.column(f), all.vectors.column(118 - f));
        let centred = |v: ndarray::ArrayView1<'_, f64>| &v - v.mean().unwrap();
        let (a, b) = (centred(own), centred(twin));
        let cosine = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
        assert!(cosine.abs() > 0.9999, "{f}: {cosine}");
        assert!(own.iter().all(|v| (0.0..=10.0).contains(v)));
    }
}

#[test]
fn parts_that_do_not_hang_together_start_apart() {
    let points = groups(&[40, 30, 3, 25], 4, 400.0, 5);
    let graph = fuzzy::graph(&nearest(points.view(), 2).unwrap());
    let (part, count) = start::parts(&graph);
    assert!(count >= 4 && part[0] == 0);
    let found = Umap { neighbors: 3, ..Umap::default() }.picture(points.view(), Seed(1)).unwrap();
    assert!(found.iter().all(|v| v.is_finite()));
    // Groups are not mixed: the nearest point of the picture is in the same group, but for a few.
    let group: Vec<usize> = [40, 30, 3, 25].iter().enumerate().flat_map(|(g, n)| vec![g; *n]).collect();
    let near = nearest(found.view(), 1).unwrap();
    let strays =
        near.index.column(0).iter().enumerate().filter(|(i, j)| group[*i] != group[**j as usize]).count();
    assert!(strays <= 3, "{strays}");
}

#[test]
fn pictures_have_the_same_bits_on_any_number_of_threads() {
    let points = groups(&[900, 700, 600, 500], 8, 30.0, 2);
    let umap = Umap { epochs: Some(60), ..Umap::default() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| umap.picture(points.view(), Seed(4)).unwrap())
    };
    let one = run(1);
    assert_eq!(run(2), one);
    assert_eq!(run(8), one);
    assert_ne!(umap.picture(points.view(), Seed(5)).unwrap(), one);
}

#[test]
fn odd_points_have_a_picture_and_wrong_settings_none() {
    let umap = Umap::default();
    for points in [
        Array2::zeros((20, 3)),
        Array2::eye(2),
        groups(&[4], 2, 0.0, 1),
        Array2::from_shape_fn((9, 1), |(i, _)| i as f64),
    ] {
        let found = umap.picture(points.view(), Seed(0)).unwrap();
        assert!(found.dim() == (points.nrows(), 2) && found.iter().all(|v| v.is_finite()));
    }
    let x = groups(&[30], 2, 0.0, 1);
    let refused = |u: Umap| u.picture(x.view(), Seed(0)).unwrap_err().to_string();
    assert!(refused(Umap { neighbors: 1, ..umap.clone() }).contains("`neighbors` is 1"));
    assert!(refused(Umap { min_dist: 1.5, ..umap.clone() }).contains("`min_dist`"));
    assert!(refused(Umap { min_dist: f64::NAN, ..umap.clone() }).contains("`min_dist`"));
    assert!(refused(Umap { spread: 0.0, ..umap.clone() }).contains("`spread`"));
    assert!(refused(Umap { epochs: Some(0), ..umap.clone() }).contains("`epochs`"));
    assert!(refused(Umap { negatives: 0, ..umap.clone() }).contains("`negatives`"));
    assert!(umap.picture(x.slice(s![..1, ..]), Seed(0)).is_err());
    let mut y = x.clone();
    y[[3, 1]] = f64::NAN;
    assert!(umap.picture(y.view(), Seed(0)).unwrap_err().to_string().contains("row 3, column 1"));
}

/// A graph with one edge is drawn together, two without are pushed apart.
#[test]
fn edges_pull_and_samples_push() {
    let start = ndarray::array![[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]];
    let pair = Csr::from_triplets((4, 4), vec![(0, 1, 1.0), (1, 0, 1.0), (2, 3, 1.0), (3, 2, 1.0)]);
    let pace = layout::Pace { epochs: 200, negatives: 5 };
    let y = layout::layout(&pair, start, Curve::fit(0.1, 1.0), pace, Seed(0));
    let d = |i: usize, j: usize| (&y.row(i) - &y.row(j)).mapv(|v| v * v).sum().sqrt();
    assert!(d(0, 1) < 3.0 && d(2, 3) < 3.0 && d(0, 2) > d(0, 1) && d(1, 3) > d(2, 3));
}
