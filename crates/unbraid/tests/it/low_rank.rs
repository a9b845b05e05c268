//! MED-MAGMA's low-rank mode against its definition in plain loops, and against the full EM.

use ndarray::{Array1, Array2, Axis, aview1, s};
use rand_distr::{Distribution, Poisson};
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Draw, Method, Seed};
use unbraid::graph::edges::Rule;
use unbraid::linalg::svd;
use unbraid::methods::kronecker::med_magma::{Fit, Form, MedMagma, Rank};

use crate::contract::{gap, random};

fn fit(method: &MedMagma, x: &Array2<f64>) -> Fit {
    let matrix = Matrix::Dense(x.clone());
    method.fit(Values { what: "X", matrix: &matrix }, &mut Ctx::new(Seed(0), &mut ())).unwrap()
}

/// Counts of three groups of cells that differ in a third of the genes each, depth by cell.
fn grouped_counts(n: usize, m: usize) -> Array2<f64> {
    let mut rng = Seed(11).stream(Draw::Simulate, 0);
    Array2::from_shape_fn((n, m), |(i, j)| {
        let rate = (0.4 + (i % 7) as f64 / 5.0) * if i % 3 == j % 3 { 3.0 } else { 1.0 };
        Poisson::new(rate).unwrap().sample(&mut rng)
    })
}

#[test]
fn auto_takes_low_rank_for_groups_and_the_full_mode_for_noise() {
    let x = grouped_counts(90, 120);
    let found = fit(&MedMagma::default(), &x);
    let components = found.components.as_ref().expect("groups are low rank");
    assert_eq!(components.s.len(), 3, "the mean and two contrasts of three groups");
    // The graph joins cells of a group.
    let graph = found.networks[0].connectivities();
    let same = graph.entries().filter(|(i, j, _)| i % 3 == j % 3).count();
    assert!(same as f64 > 0.95 * graph.nnz() as f64, "{same} of {}", graph.nnz());
    let genes = found.networks[1].connectivities();
    let same = genes.entries().filter(|(i, j, _)| i % 3 == j % 3).count();
    assert!(same as f64 > 0.8 * genes.nnz() as f64, "{same} of {}", genes.nnz());
    let noise = fit(&MedMagma { max_steps: 2, ..MedMagma::default() }, &random(60, 80, 3));
    assert!(noise.components.is_none());
    assert!(noise.evidence.is_some_and(|e| !e.low));
}

#[test]
fn low_rank_networks_are_the_definition() {
    let x = grouped_counts(40, 30);
    let method = MedMagma { rank: Rank::Components(3), keep: Rule::Dense.into(), ..MedMagma::default() };
    let found = fit(&method, &x);
    // Sinkhorn on the squares with the floor, by plain loops.
    let e = x.mapv(|v| v * v);
    let (rows, columns, total) = (e.sum_axis(Axis(1)), e.sum_axis(Axis(0)), e.sum());
    let e = Array2::from_shape_fn(e.dim(), |(i, j)| e[[i, j]] + 0.01 * rows[i] * columns[j] / total);
    let (mut rho, mut gamma) = (Array1::<f64>::ones(40), Array1::<f64>::ones(30));
    for _ in 0..500 {
        gamma = e.t().dot(&rho).mapv(|s| 40.0 / s);
        rho = e.dot(&gamma).mapv(|s| 30.0 / s);
    }
    let z = Array2::from_shape_fn(x.dim(), |(i, j)| (rho[i] * gamma[j]).sqrt() * x[[i, j]]);
    let d = svd(z.view()).unwrap();
    let cosines = |x: &Array2<f64>| {
        Array2::from_shape_fn((x.nrows(), x.nrows()), |(i, j)| {
            let (a, b) = (x.row(i), x.row(j));
            if i == j { 1.0 } else { -a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt() }
        })
    };
    let leading = &d.u.slice(s![.., ..3]) * &aview1(&d.s[..3]);
    assert!(gap(&found.precision(0).to_dense(), &cosines(&leading)) < 1e-8);
    assert!(gap(&found.precision(1).to_dense(), &cosines(&z.t().to_owned())) < 1e-8);
    for k in 0..3 {
        assert!((found.components.as_ref().unwrap().s[k] - d.s[k]).abs() < 1e-8);
    }
    // X ∝ diag(r) Z diag(c), each of geometric mean 1.
    let log = |v: &Array1<f64>| v.mapv(|v| -0.5 * v.ln());
    let r = log(&rho);
    let r = (&r - r.mean().unwrap()).exp();
    assert!(found.scale[0].iter().zip(&r).all(|(a, b)| (a / b - 1.0).abs() < 1e-8));
}

#[test]
fn low_rank_em_with_all_components_is_the_full_em() {
    // Without zeros there is no floor, so the two modes state the same problem.
    let x = grouped_counts(14, 18) + 0.5;
    let common = MedMagma { keep: Rule::Dense.into(), max_steps: 5, tol: 0.0, ..MedMagma::default() };
    let full = fit(&MedMagma { rank: Rank::Full, ..common.clone() }, &x);
    let low = MedMagma { rank: Rank::Components(14), form: Form::Precision, ..common };
    let low = fit(&low, &x);
    for axis in 0..2 {
        let (a, b) = (low.precision(axis).to_dense(), full.precision(axis).to_dense());
        let size = b.iter().fold(0.0f64, |m, v| v.abs().max(m));
        assert!(gap(&a, &b) < 1e-6 * size, "axis {axis}: {:e} of {size:e}", gap(&a, &b));
    }
    assert!(low.objective.iter().zip(&full.objective).all(|(a, b)| (a - b).abs() < 1e-6 * b.abs()));
}

#[test]
fn a_rank_the_table_does_not_have_is_refused() {
    let matrix = Matrix::Dense(grouped_counts(6, 5));
    let input = Values { what: "X", matrix: &matrix };
    let method = MedMagma { rank: Rank::Components(6), ..MedMagma::default() };
    let why = method.fit(input, &mut Ctx::new(Seed(0), &mut ())).unwrap_err().to_string();
    assert!(why.contains("`rank` is 6"), "{why}");
}
