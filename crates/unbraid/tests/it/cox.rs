//! Cox models, survival curves and their tests beside lifelines.

use ndarray::{Array1, Array2, Axis, concatenate};
use unbraid::stats::cox::{Cox, CoxFit};
use unbraid::stats::kaplan_meier::{kaplan_meier, log_rank, median};

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

#[test]
fn curves_tests_and_residuals_equal_lifelines() {
    let golden = Golden::open("survival/curves");
    let vector = |name: &str| golden.array::<ndarray::Ix1>(name).to_vec();
    let near = |found: f64, gold: f64, what: &str| {
        assert!((found - gold).abs() <= 1e-9 * gold.abs().max(1e-3), "{what}: {found}, not {gold}");
    };
    for case in ["ties", "fine"] {
        let time = vector(&format!("{case}_time"));
        let event: Vec<bool> = vector(&format!("{case}_event")).iter().map(|e| *e == 1.0).collect();
        let group: Vec<usize> = vector(&format!("{case}_group")).iter().map(|g| *g as usize).collect();
        let curve = kaplan_meier(&time, &event).unwrap();
        let gold: Array2<f64> = golden.array(&format!("{case}_curve"));
        assert_eq!(curve.len(), gold.nrows());
        for (s, g) in curve.iter().zip(gold.rows()) {
            let counts = [s.at_risk, s.events, s.censored].map(|c| c as f64);
            assert_eq!((s.time, &counts[..]), (g[0], &g.to_vec()[4..]), "{case}");
            near(s.share, g[1], "share");
            if s.share > 0.0 {
                near(s.low, g[2], "low");
                near(s.high, g[3], "high");
            }
        }
        assert_eq!(
            median(&curve),
            Some(golden.array::<ndarray::Ix0>(&format!("{case}_median")).into_scalar())
        );
        let (test, gold) = (log_rank(&time, &event, &group).unwrap(), vector(&format!("{case}_log_rank")));
        near(test.chi2, gold[0], "log-rank");
        assert_eq!(test.degrees as f64, gold[1]);
        near(test.p, gold[2], "log-rank p");
        let x: Array2<f64> = golden.array(&format!("{case}_x"));
        let fit = Cox::default().fit(x.view(), &time, &event).unwrap();
        let gold: Array2<f64> = golden.array(&format!("{case}_ph"));
        for (j, g) in gold.rows().into_iter().enumerate() {
            // Their fit stops where a step gains little; a residual is as exact as its coefficients.
            assert!(
                (fit.ph[j] - g[0]).abs() < 1e-6 * g[0].max(1.0),
                "{case} {j}: {}, not {}",
                fit.ph[j],
                g[0]
            );
            assert!((fit.ph_p[j] - g[1]).abs() < 1e-6, "{case} {j}: {}, not {}", fit.ph_p[j], g[1]);
        }
        // The first covariate's effect turns round in the simulation.
        assert!(fit.ph_p[0] < 0.01, "{:?}", fit.ph_p);
    }
}
