//! The multiplicative rules against NumPy; whole fits on odd tables.

use ndarray::{Array1, Array2};
use rand::RngExt;
use unbraid::data::{Csr, Matrix, Missing, Values};
use unbraid::fit::{Ctx, Draw, Method, Seed};
use unbraid::methods::factor::common::{Loss, Nonnegative};
use unbraid::methods::factor::nmf::{Init, Nmf, Solver, multiplicative_round};

use crate::golden::Golden;

#[test]
fn the_rules_are_those_of_the_golden_case() {
    let case = Golden::open("nmf/rules_12x15");
    let x: Array2<f64> = case.array("X");
    for (loss, name) in [(Loss::Kl, "kl"), (Loss::Frobenius, "fro")] {
        let (mut u, mut v): (Array2<f64>, Array2<f64>) = (case.array("U0"), case.array("V0"));
        let mut course = Vec::new();
        for round in 0..=20 {
            if round > 0 {
                multiplicative_round(loss, x.view(), &mut u, &mut v);
            }
            let z = u.dot(&v);
            let sum: f64 = x.iter().zip(&z).map(|(&x, &z)| Loss::Kl.of(x, z)).sum();
            course.push(sum / x.len() as f64);
        }
        case.assert_close(&format!("{name}_U"), &u, 1e-10);
        case.assert_close(&format!("{name}_V"), &v, 1e-10);
        case.assert_close(&format!("{name}_kl_mean"), &Array1::from(course), 1e-10);
    }
}

#[test]
fn no_step_raises_the_loss_and_sparse_tables_fit_as_dense_ones() {
    let x = crate::contract::random(40, 30, 9).mapv(|v| v.max(0.0));
    let forms = [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))];
    for loss in [Loss::Kl, Loss::Frobenius] {
        for solver in [Solver::Coordinate, Solver::Multiplicative] {
            let method = Nmf { k: 4, loss, solver, tol: 0.0, max_steps: 60, ..Nmf::default() };
            let [dense, sparse] = forms.each_ref().map(|matrix| {
                let input = Nonnegative::new(Values { what: "X", matrix });
                method.fit(input, &mut Ctx::new(Seed(3), &mut ())).unwrap()
            });
            assert_eq!(dense.objective, sparse.objective);
            assert!(dense.objective.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-10)), "{loss} {solver}");
            let z = dense.scores.dot(&dense.loadings.t());
            let mean = x.iter().zip(&z).map(|(&x, &z)| loss.of(x, z)).sum::<f64>() / x.len() as f64;
            assert!((mean - dense.objective.last().unwrap()).abs() < 1e-9 * mean, "{loss} {solver}");
        }
    }
}

#[test]
fn whole_fits_go_down_on_tables_of_any_size_and_scale() {
    for item in 0..120u64 {
        let mut rng = Seed(23).stream(Draw::Simulate, item);
        let mut size = |most: usize| 1 + (rng.random::<f64>() * most as f64) as usize;
        let (n, d) = (size(25), size(25));
        let k = [1, n.min(d), size(n.min(d))][item as usize % 3];
        let filled = [1.0, 0.2][item as usize % 2];
        let mut x = Array2::from_shape_simple_fn((n, d), || match rng.random::<f64>() < filled {
            true => -(1.0 - rng.random::<f64>()).ln(),
            false => 0.0,
        });
        x[[0, 0]] = 1.0;
        let gaps = item % 5 == 0 && n > 2 && d > 2;
        if gaps {
            (1..n.min(d)).for_each(|i| x[[i, i - 1]] = f64::NAN);
        }
        for (loss, scale) in [
            (Loss::Kl, 1.0),
            (Loss::Kl, 1e-200),
            (Loss::Kl, 1e200),
            (Loss::Frobenius, 1e100),
            (Loss::Frobenius, 1e-100),
        ] {
            let init = [Init::Random, Init::Nndsvd, Init::Nndsvda][item as usize % 3];
            let matrix = Matrix::Dense(x.mapv(|v| v * scale));
            let input = Nonnegative {
                missing: Missing::Nan,
                ..Nonnegative::new(Values { what: "X", matrix: &matrix })
            };
            let method =
                Nmf { k, loss, init, tol: 0.0, max_steps: 25, missing: Missing::Nan, ..Nmf::default() };
            let fit = method.fit(input, &mut Ctx::new(Seed(item), &mut ())).unwrap();
            assert!(fit.loadings.iter().chain(&fit.scores).all(|v| v.is_finite() && *v >= 0.0));
            let unit = if loss == Loss::Kl { scale } else { scale * scale };
            for w in fit.objective.windows(2) {
                assert!(w[1] <= w[0] * (1.0 + 1e-10) + 1e-14 * unit, "{item} {loss} {scale}: {w:?}");
            }
            let z = fit.scores.dot(&fit.loadings.t());
            let seen = x.iter().zip(&z).filter(|(x, _)| !x.is_nan());
            let (sum, count) = seen.fold((0.0, 0.0), |(s, c), (x, z)| (s + loss.of(*x, z / scale), c + 1.0));
            let last = fit.objective.last().unwrap() / unit;
            // Where 0 stands for an entry x, its divergence x log(x / TINY) counts the powers of two by which the table was
            // brought near 1: no more than e²⁰.
            let lost = x.iter().zip(&z).filter(|(x, z)| **x > 0.0 && **z / scale < 1e-12);
            let apart = if loss == Loss::Kl { 20.0 * lost.map(|(x, _)| x).sum::<f64>() / count } else { 0.0 };
            assert!(
                (sum / count - last).abs() <= 1e-9 * (1.0 + last) + apart,
                "{item} {loss} {scale}: {} {last}",
                sum / count
            );
        }
    }
}

#[test]
fn a_fit_goes_on_from_where_another_ended() {
    let x = crate::contract::random(30, 20, 4).mapv(|v| v.max(0.0));
    let matrix = Matrix::Dense(x);
    let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
    let short = Nmf { k: 3, tol: 0.0, max_steps: 20, scaled: false, ..Nmf::default() };
    let first = short.fit(input, &mut Ctx::new(Seed(1), &mut ())).unwrap();
    let on = |u: Array2<f64>, v: Array2<f64>| short.fit_from(input, u, v, &mut Ctx::new(Seed(1), &mut ()));
    let second = on(first.loadings.clone(), first.scores.clone()).unwrap();
    assert!(second.objective[0] <= first.objective[19] * (1.0 + 1e-12));
    assert!(
        on(first.scores.clone(), first.loadings.clone()).unwrap_err().to_string().contains("first loadings")
    );
    let mut odd = first.scores.clone();
    odd[[4, 1]] = -1.0;
    let why = on(first.loadings.clone(), odd).unwrap_err().to_string();
    assert!(why.contains("first scores") && why.contains("row 4, column 1"), "{why}");
}

#[test]
fn bits_do_not_depend_on_the_pool_where_lines_are_many() {
    let x = crate::contract::random(300, 210, 5).mapv(|v| v.max(0.0));
    let few = x.mapv(|v| if v > 1.0 { v } else { 0.0 });
    for matrix in [Matrix::Dense(x), Matrix::Sparse(Csr::from_dense(few.view()))] {
        for (loss, init) in [(Loss::Kl, Init::Nndsvda), (Loss::Frobenius, Init::Random)] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
                let method = Nmf { k: 6, loss, init, max_steps: 15, ..Nmf::default() };
                let fit = pool.install(|| method.fit(input, &mut Ctx::new(Seed(2), &mut ()))).unwrap();
                (fit.loadings, fit.scores, fit.objective)
            };
            let one = run(1);
            assert!([2, 8].iter().all(|&t| run(t) == one), "{loss}");
        }
    }
}
