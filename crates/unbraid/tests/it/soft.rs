//! The soft layer against golden values of unrolled Sinkhorn iterations.

use ndarray::{Array1, Array2};
use unbraid::soft::{Layer, Squash, Work};

use crate::golden::Golden;

pub const CASES: [&str; 3] = ["soft/uniform_squash", "soft/weighted_nosquash", "soft/m16_eps001"];

/// The layer of a case; its ε is in the origin note.
fn layer(case: &str, golden: &Golden) -> (Layer, bool) {
    let note = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../testdata/golden")
            .join(case)
            .join("origin.json"),
    )
    .unwrap();
    let note: serde_json::Value = serde_json::from_str(&note).unwrap();
    let squash = if note["squash"].as_bool().unwrap() { Squash::Logistic } else { Squash::None };
    let levels = golden.array::<ndarray::Ix2>("y").ncols();
    let layer = Layer::new(levels, note["eps"].as_f64().unwrap(), squash).unwrap().with_tol(1e-13);
    (layer, note["uniform_a"].as_bool().unwrap())
}

#[test]
fn the_layer_agrees_with_unrolled_sinkhorn() {
    for case in CASES {
        let golden = Golden::open(case);
        let (layer, uniform) = layer(case, &golden);
        let [w, a, b, q, cot] =
            ["w", "a", "b", "q", "cot_quantile"].map(|name| golden.array::<ndarray::Ix2>(name));
        let ((d, n), m) = (w.dim(), b.ncols());
        let mut t = Array2::zeros((d, n));
        let (mut dw, mut db, mut dq) = (Array2::zeros((d, n)), Array2::zeros((d, m)), Array2::zeros((d, m)));
        let mut potentials = Array2::zeros((d, m));
        let mut work = Work::default();
        for i in 0..d {
            let row = |x: &Array2<f64>| x.row(i).to_vec();
            let (w, a, b, q) = (row(&w), row(&a), row(&b), row(&q));
            let a = (!uniform).then_some(&a[..]);
            let mut g = vec![f64::NAN; m];
            let mut out = vec![0.0; n];
            let solved = layer.forward(&w, a, &b, &q, &mut g, &mut work, &mut out);
            assert!(solved.error <= 1e-12 && solved.rescues == 0, "{case} row {i}: {solved:?}");
            t.row_mut(i).assign(&Array1::from(out));
            let (mut w_bar, mut b_bar, mut q_bar) = (vec![0.0; n], vec![0.0; m], vec![0.0; m]);
            layer.backward(&w, a, &q, &row(&cot), &mut work, Some(&mut w_bar), &mut b_bar, &mut q_bar);
            dw.row_mut(i).assign(&Array1::from(w_bar));
            db.row_mut(i).assign(&Array1::from(b_bar));
            dq.row_mut(i).assign(&Array1::from(q_bar));
            let golden_g = golden.array::<ndarray::Ix2>("g").row(i).to_owned();
            let shift = golden_g.mean().unwrap();
            potentials.row_mut(i).assign(&(Array1::from(g) + shift));
        }
        golden.assert_close("quantile", &t, 1e-9);
        golden.assert_close("g", &potentials, 1e-9);
        golden.assert_close("dw_quantile", &dw, 1e-9);
        golden.assert_close("db_quantile_centred", &db, 1e-9);
        golden.assert_close("dq_quantile", &dq, 1e-9);
    }
}
