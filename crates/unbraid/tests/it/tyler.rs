//! Tyler's scatter: invariance, a slow twin, and what it is for.

use ndarray::{Array2, ArrayView2, Axis};
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method, Seed, Stop};
use unbraid::graph::edges::Rule;
use unbraid::methods::kronecker::tyler::{Shrinkage, Side, Tyler, TylerFit};

use crate::contract::{gap, random};

fn fit(method: &Tyler, x: &Array2<f64>) -> TylerFit {
    let matrix = Matrix::Dense(x.clone());
    method.fit(Values { what: "X", matrix: &matrix }, &mut Ctx::new(Seed(0), &mut ())).unwrap()
}

fn why(method: &Tyler, x: &Array2<f64>) -> String {
    let matrix = Matrix::Dense(x.clone());
    let input = Values { what: "X", matrix: &matrix };
    method.fit(input, &mut Ctx::new(Seed(0), &mut ())).unwrap_err().to_string()
}

fn plain() -> Tyler {
    Tyler { shrinkage: Shrinkage::Fixed(0.0), tol: 1e-12, keep: Rule::Dense.into(), ..Tyler::default() }
}

/// Gauss–Jordan, for the twin only.
fn inverse(a: ArrayView2<'_, f64>) -> Array2<f64> {
    let n = a.nrows();
    let (mut a, mut out) = (a.to_owned(), Array2::eye(n));
    for c in 0..n {
        let p = a[[c, c]];
        for j in 0..n {
            a[[c, j]] /= p;
            out[[c, j]] /= p;
        }
        for i in (0..n).filter(|&i| i != c) {
            let f = a[[i, c]];
            for j in 0..n {
                a[[i, j]] -= f * a[[c, j]];
                out[[i, j]] -= f * out[[c, j]];
            }
        }
    }
    out
}

/// The fixed point as it is written, 2000 times.
fn twin(x: &Array2<f64>, rho: f64) -> Array2<f64> {
    let (n, p) = x.dim();
    let mut sigma: Array2<f64> = Array2::eye(p);
    for _ in 0..2000 {
        let precision = inverse(sigma.view());
        let mut new: Array2<f64> = Array2::eye(p) * rho;
        for row in x.rows() {
            let q = row.dot(&precision.dot(&row));
            let outer = Array2::from_shape_fn((p, p), |(i, j)| row[i] * row[j]);
            new += &(outer * ((1.0 - rho) * p as f64 / n as f64 / q));
        }
        sigma = &new * (p as f64 / new.diag().sum());
    }
    sigma
}

#[test]
fn agrees_with_the_slow_fixed_point() {
    let x = random(60, 6, 1);
    for rho in [0.0, 0.3] {
        let f = fit(&Tyler { shrinkage: Shrinkage::Fixed(rho), ..plain() }, &x);
        assert_eq!(f.stop, Stop::Converged);
        assert!(gap(&f.scatter, &twin(&x, rho)) < 1e-10, "ρ = {rho}");
        let identity = f.network.precision.to_dense().dot(&f.scatter);
        assert!(gap(&identity, &Array2::eye(6)) < 1e-10);
    }
    // More variables than samples.
    let wide = random(5, 9, 2);
    let f = fit(&Tyler { shrinkage: Shrinkage::Fixed(0.5), ..plain() }, &wide);
    assert!(gap(&f.scatter, &twin(&wide, 0.5)) < 1e-10);
}

#[test]
fn magnitudes_of_samples_do_not_matter_and_sides_transpose() {
    let x = random(50, 8, 3);
    let mut scaled = x.clone();
    for (i, mut row) in scaled.rows_mut().into_iter().enumerate() {
        row *= 10f64.powi(i as i32 % 9 - 4) * if i % 2 == 0 { 1.0 } else { -1.0 };
    }
    for method in [plain(), Tyler { shrinkage: Shrinkage::Auto, ..plain() }] {
        let (a, b) = (fit(&method, &x), fit(&method, &scaled));
        assert!(gap(&a.scatter, &b.scatter) < 1e-9);
        assert!((a.scatter.diag().sum() - 8.0).abs() < 1e-10);
        let turned = fit(&Tyler { axis: Side::Obs, ..method }, &x.t().to_owned());
        assert!(gap(&a.scatter, &turned.scatter) < 1e-12);
    }
    let order: Vec<usize> = (0..8).map(|j| (j * 3 + 1) % 8).collect();
    let (a, b) = (fit(&plain(), &x), fit(&plain(), &x.select(Axis(1), &order)));
    let moved = Array2::from_shape_fn((8, 8), |(i, j)| a.scatter[[order[i], order[j]]]);
    assert!(gap(&moved, &b.scatter) < 1e-9);
}

#[test]
fn the_plain_objective_never_rises() {
    let f = fit(&plain(), &random(80, 10, 4));
    assert!(f.objective.windows(2).all(|w| w[1] <= w[0] + 1e-10 * w[0].abs()));
}

#[test]
fn finds_the_shape_of_elliptical_data_where_the_covariance_does_not() {
    let (n, p) = (400, 10);
    // Shape with a decaying correlation, magnitudes with tails as heavy as Cauchy's.
    let shape = Array2::from_shape_fn((p, p), |(i, j)| 0.6f64.powi((i as i32 - j as i32).abs()));
    let root = {
        let e = unbraid::linalg::eigh(shape.view()).unwrap();
        e.recompose(&e.values.iter().map(|v| v.sqrt()).collect::<Vec<_>>())
    };
    let mut x = random(n, p, 5).dot(&root);
    let magnitude = random(n, 1, 6);
    for (mut row, r) in x.rows_mut().into_iter().zip(&magnitude) {
        row *= 1.0 / r.abs().max(1e-3);
    }
    let to_trace = |s: Array2<f64>| {
        let t = s.diag().sum();
        s * (p as f64 / t)
    };
    let error = |s: &Array2<f64>| (s - &shape).iter().map(|v| v * v).sum::<f64>().sqrt();
    let covariance = to_trace(x.t().dot(&x));
    let (tyler, shrunk) = (fit(&plain(), &x), fit(&Tyler::default(), &x));
    assert!(error(&tyler.scatter) < 0.25 * error(&covariance));
    assert!(error(&shrunk.scatter) < 0.25 * error(&covariance));
    assert!(shrunk.shrinkage > 0.0 && shrunk.shrinkage < 0.2, "{}", shrunk.shrinkage);
    // Few samples: the plug-in shrinks more, and beats both extremes.
    let few = x.slice(ndarray::s![..12, ..]).to_owned();
    let auto = fit(&Tyler::default(), &few);
    let at = |rho| error(&fit(&Tyler { shrinkage: Shrinkage::Fixed(rho), ..plain() }, &few).scatter);
    assert!(auto.shrinkage > shrunk.shrinkage);
    assert!(error(&auto.scatter) < at(0.02) && error(&auto.scatter) < 1.15 * at(1.0));
}

#[test]
fn bad_input_is_named() {
    let x = random(6, 6, 1);
    assert!(why(&plain(), &x).contains("`shrinkage` is 0 with 6 samples of 6 variables"));
    assert!(why(&Tyler { shrinkage: Shrinkage::Fixed(1.5), ..plain() }, &x).contains("`shrinkage`"));
    assert!(why(&Tyler { tol: -1.0, ..plain() }, &x).contains("`tol`"));
    assert!(why(&Tyler { max_steps: 0, ..plain() }, &x).contains("`max_steps`"));
    assert!(why(&Tyler::default(), &Array2::zeros((3, 2))).contains("other than 0"));
    let mut zero = random(20, 4, 2);
    zero.row_mut(3).fill(0.0);
    let f = fit(&Tyler::default(), &zero);
    assert!(f.warnings[0].contains("1 samples hold only zeros"));
    // Samples in a subspace: a message, no panic.
    let mut flat = random(20, 4, 2);
    flat.column_mut(2).fill(0.0);
    assert!(why(&plain(), &flat).contains("larger shrinkage"));
}
