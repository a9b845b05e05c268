//! Cox models beside lifelines.

use ndarray::{Array1, Array2, Axis, concatenate};
use unbraid::stats::cox::{Cox, CoxFit};

use crate::golden::Golden;

fn row(fit: &CoxFit, j: usize) -> Array2<f64> {
    ndarray::array![[fit.coef[j], fit.se[j], fit.z[j], fit.p[j]]]
}

#[test]
fn joint_and_single_fits_equal_lifelines() {
    let golden = Golden::open("cox/gbm");
    let x: Array2<f64> = golden.array("factors");
    let time: Array1<f64> = golden.array("time");
    let event: Vec<bool> = golden.array::<ndarray::Ix1>("event").iter().map(|e| *e == 1.0).collect();
    let (time, cox) = (time.to_vec(), Cox::default());
    let joint = cox.fit(x.view(), &time, &event).unwrap();
    let single = cox.univariate(x.view(), &time, &event).unwrap();
    let rows: Vec<_> = (0..5).map(|j| row(&joint, j)).collect();
    let table = |rows: &[Array2<f64>]| {
        concatenate(Axis(0), &rows.iter().map(|r| r.view()).collect::<Vec<_>>()).unwrap()
    };
    // Column by column: each has its own size.
    for (name, found) in [
        ("joint", table(&rows)),
        ("univariate", table(&single.iter().map(|f| row(f, 0)).collect::<Vec<_>>())),
    ] {
        let gold: Array2<f64> = golden.array(name);
        for ((at, g), f) in gold.indexed_iter().zip(&found) {
            assert!((g - f).abs() <= 1e-5 * g.abs().max(1e-3), "{name} {at:?}: {f}, not {g}");
        }
    }
    let loglik = golden.array::<ndarray::Ix0>("loglik").into_scalar();
    assert!((joint.log_likelihood - loglik).abs() < 1e-6);
    assert_eq!((joint.observations, joint.events), (100, 96));
    assert!((joint.bonferroni[2] - 5.0 * joint.p[2]).abs() < 1e-15);
    assert!((single[0].bonferroni[0] - 5.0 * single[0].p[0]).abs() < 1e-15);
}
