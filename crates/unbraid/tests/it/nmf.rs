//! The multiplicative rules against NumPy.

use ndarray::{Array1, Array2};
use unbraid::data::{Csr, Matrix, Values};
use unbraid::fit::{Ctx, Method, Seed};
use unbraid::methods::factor::common::{Loss, Nonnegative};
use unbraid::methods::factor::nmf::{Nmf, Solver, multiplicative_round};

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
