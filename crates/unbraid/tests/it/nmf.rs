//! The multiplicative rules against NumPy.

use ndarray::{Array1, Array2};
use unbraid::methods::factor::common::Loss;
use unbraid::methods::factor::nmf::multiplicative_round;

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
