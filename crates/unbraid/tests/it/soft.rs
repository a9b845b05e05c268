//! The soft layer against golden values of unrolled Sinkhorn iterations.

use ndarray::{Array1, Array2};
use unbraid::soft::sinkhorn::{self, Schedule};
use unbraid::soft::{Layer, Plan, Squash, Work};

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

/// F̄ = b ∘ (b̄ − bᵀb̄): free of the constant that b̄ is defined up to.
fn of_logits(b: &[f64], bbar: &Array1<f64>) -> Array1<f64> {
    let b = Array1::from(b.to_vec());
    let mean = b.dot(bbar);
    b * bbar.mapv(|v| v - mean)
}

#[test]
fn the_operators_and_algorithm_2_agree_with_unrolled_sinkhorn() {
    for case in CASES {
        let golden = Golden::open(case);
        let (layer, uniform) = layer(case, &golden);
        let table = |name: &str| golden.array::<ndarray::Ix2>(name);
        let (w, a, b, q) = (table("w"), table("a"), table("b"), table("q"));
        let cots: ndarray::Array3<f64> = golden.array("cot_plan");
        let same = |name: &str, i: usize, found: &Array1<f64>, tol: f64| {
            let gold = table(name);
            let size = gold.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            let gap = gold.row(i).iter().zip(found).fold(0.0, |m: f64, (g, f)| m.max((g - f).abs()));
            assert!(gap <= tol * size, "{case} {name} row {i}: {gap:e} of {size:e}");
        };
        for i in 0..w.nrows() {
            let row = |x: &Array2<f64>| x.row(i).to_vec();
            let (wi, ai, bi, qi) = (row(&w), row(&a), row(&b), row(&q));
            let plan = Plan::solve(&layer, &wi, (!uniform).then_some(&ai[..]), &bi);
            same("rank", i, &plan.rank(), 1e-9);
            same("sort_of_x", i, &plan.sort(&plan.x().to_vec()), 1e-9);
            same("sort_of_w", i, &plan.sort(&wi), 1e-9);
            same("quantile", i, &plan.quantile(&qi), 1e-9);
            let (dw, db) = plan.pull_rank(&row(&table("cot_rank")));
            same("dw_rank", i, &dw, 1e-9);
            same("dF_rank", i, &of_logits(&bi, &db), 1e-9);
            let (dw, db) = plan.pull_sort(&row(&table("cot_sort")));
            same("dw_sort_of_x", i, &dw, 1e-9);
            same("dF_sort_of_x", i, &of_logits(&bi, &db), 1e-9);
            let (dw, db, dq) = plan.pull_quantile(&qi, &row(&table("cot_quantile")));
            same("dw_quantile", i, &dw, 1e-9);
            same("dF_quantile", i, &of_logits(&bi, &db), 1e-9);
            same("dq_quantile", i, &dq, 1e-9);
            let cot = cots.index_axis(ndarray::Axis(0), i);
            let (dw, db) = plan.pull(cot);
            same("dw_plan", i, &dw, 1e-9);
            same("dF_plan", i, &of_logits(&bi, &db), 1e-9);
            // The slow twin.
            let x = plan.x().to_vec();
            let schedule = Schedule { from: 0.1, tol: 1e-12, sweeps: 50_000 };
            let slow = sinkhorn::solve(&x, layer.targets(), &ai, &bi, layer.epsilon(), schedule);
            assert!(slow.error <= 1e-12, "{case}: {}", slow.error);
            let (dx, db) = sinkhorn::pull(&x, layer.targets(), layer.epsilon(), slow.plan.view(), cot);
            same("dx_plan", i, &dx, 1e-8);
            same("dF_plan", i, &of_logits(&bi, &db), 1e-8);
            // Forward and transposed Jacobians are adjoint: ⟨H, Ṗ⟩ = ⟨w̄, ẇ⟩ + ⟨b̄, ḃ⟩.
            let dw: Vec<f64> = wi.iter().map(|v| (3.0 * v).sin()).collect();
            let mut db: Vec<f64> = bi.iter().map(|v| (50.0 * v).cos()).collect();
            let mean = db.iter().sum::<f64>() / db.len() as f64;
            db.iter_mut().for_each(|v| *v -= mean);
            let pushed = plan.push(&dw, &db);
            let (wbar, bbar) = plan.pull(cot);
            let left: f64 = pushed.indexed_iter().map(|((i, j), d)| ai[i] * d * cot[[i, j]]).sum();
            let right = wbar.dot(&Array1::from(dw)) + bbar.dot(&Array1::from(db));
            assert!((left - right).abs() <= 1e-9 * left.abs().max(1e-3), "{case}: {left} {right}");
        }
    }
}
