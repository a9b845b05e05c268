use super::*;

/// Outputs of a row on one path: T, w̄, b̄, q̄, steps.
fn through(arch: pulp::Arch, layer: &Layer, n: usize) -> ([Vec<f64>; 4], usize) {
    let m = layer.levels();
    let w: Vec<f64> = (0..n).map(|i| (0.7 * i as f64).sin() * (1.0 + i as f64 / n as f64)).collect();
    let b = vec![1.0 / m as f64; m];
    let q: Vec<f64> = (0..m).map(|j| (j * j) as f64).collect();
    let cot: Vec<f64> = w.iter().map(|w| w.cos()).collect();
    let mut work = Work::default();
    work.row.arch = arch;
    let (mut t, mut dw, mut db, mut dq) = (vec![0.0; n], vec![0.0; n], vec![0.0; m], vec![0.0; m]);
    let solved = layer.forward(&w, None, &b, &q, &mut vec![f64::NAN; m], &mut work, &mut t);
    assert!(solved.error <= 1e-12, "{arch:?} n {n} m {m}: {solved:?}");
    layer.backward(&w, None, &q, &cot, &mut work, Some(&mut dw), &mut db, &mut dq);
    ([t, dw, db, dq], solved.iterations)
}

#[test]
fn portable_and_vector_code_agree() {
    for (n, m, epsilon) in
        [(1, 4, 0.1), (33, 1, 0.1), (80, 8, 0.01), (257, 16, 0.01), (999, 5, 1e-3), (70, 9, 5e-4)]
    {
        let layer = Layer::new(m, epsilon, Squash::Logistic).unwrap().with_tol(1e-12);
        let (wide, _) = through(pulp::Arch::new(), &layer, n);
        let (plain, _) = through(pulp::Arch::Scalar, &layer, n);
        for (a, b) in wide.iter().zip(&plain) {
            let size = b.iter().fold(1e-6, |m: f64, v| m.max(v.abs()));
            let gap = a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
            assert!(gap <= 1e-9 * size, "n {n} m {m} ε {epsilon}: {gap:e} of {size:e}");
        }
        // The same path gives the same bits, whatever the thread.
        let again =
            std::thread::scope(|s| s.spawn(|| through(pulp::Arch::new(), &layer, n).0).join().unwrap());
        assert_eq!(wide, again);
    }
}

#[test]
fn a_factor_from_before_solves_to_the_tolerance() {
    let (n, m, tol) = (100, 16, 1e-4);
    let layer = Layer::new(m, 0.01, Squash::Logistic).unwrap().with_tol(tol);
    let q: Vec<f64> = (0..m).map(|j| (j * j) as f64).collect();
    let mut used = 0;
    for seed in 0..50 {
        let at = |i: usize| ((seed * n + i) as f64 * 0.7).sin();
        let mut w: Vec<f64> = (0..n).map(|i| at(i).exp()).collect();
        let mut b: Vec<f64> = (0..m).map(|j| 1.0 + 0.5 * at(7 * j)).collect();
        let sum: f64 = b.iter().sum();
        b.iter_mut().for_each(|b| *b /= sum);
        let cot: Vec<f64> = w.iter().map(|w| w.cos()).collect();
        let (mut g, mut work, mut t) = (vec![f64::NAN; m], Work::default(), vec![0.0; n]);
        layer.forward(&w, None, &b, &q, &mut g, &mut work, &mut t);
        // Where a step of training takes the row.
        w.iter_mut().enumerate().for_each(|(i, w)| *w *= 1.0 + 0.02 * at(3 * i + 1));
        layer.forward(&w, None, &b, &q, &mut g, &mut work, &mut t);
        let gradients = |work: &mut Work| {
            let (mut dw, mut db, mut dq) = (vec![0.0; n], vec![0.0; m], vec![0.0; m]);
            layer.backward(&w, None, &q, &cot, work, Some(&mut dw), &mut db, &mut dq);
            [db, dw, dq]
        };
        let mut other = Work { near: false, ..work.clone() };
        let ([lambda, dw, dq], new) = (gradients(&mut work), gradients(&mut other));
        used += usize::from(!work.factorised);
        // The slow twin: γ − L λ from W itself.
        let plan = work.row.conditional(m);
        let range =
            lambda.iter().fold(f64::MIN, |h, l| h.max(*l)) - lambda.iter().fold(f64::MAX, |h, l| h.min(*l));
        let a = 1.0 / n as f64;
        for j in 0..m {
            let s: f64 = (0..n).map(|i| a * plan[[i, j]]).sum();
            let gamma: f64 = (0..n).map(|i| cot[i] * plan[[i, j]] * (q[j] - t[i])).sum();
            let mean = |i: usize| (0..m).map(|k| plan[[i, k]] * lambda[k]).sum::<f64>();
            let image = s * lambda[j] - (0..n).map(|i| a * plan[[i, j]] * mean(i)).sum::<f64>();
            assert!((gamma - image).abs() <= 1.01 * tol * s * range, "{seed} {j}: {gamma} {image}");
        }
        // 1 / the least eigenvalue of L / s bounds what that makes of λ.
        let gap = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        let size = |a: &[f64]| gap(a, &vec![0.0; a.len()]);
        assert!(gap(&lambda, &new[0]) <= 100.0 * tol * size(&lambda), "{seed}");
        assert!(gap(&dw, &new[1]) <= 100.0 * tol * size(&dw), "{seed}");
        assert_eq!(dq, new[2]);
    }
    assert!(used >= 40, "{used} of 50");
}

/// A row that drifts from visit to visit, with what is kept of it, beside a new solution to the last digit.
#[test]
fn a_kept_inverse_follows_a_row() {
    for (n, m) in [(100, 16), (80, 8), (257, 5), (40, 21)] {
        let tol = 1e-4;
        let layer = Layer::new(m, 0.01, Squash::Logistic).unwrap().with_tol(tol);
        let exact = Layer::new(m, 0.01, Squash::Logistic).unwrap().with_tol(1e-12);
        let q: Vec<f64> = (0..m).map(|j| (j * j) as f64 / (m * m) as f64).collect();
        let (mut g, mut kept, mut shared) = (vec![f64::NAN; m], vec![f32::NAN; m * m], Work::default());
        let mut factors = 0;
        for visit in 0..60 {
            let at = |i: usize| (0.7 * i as f64 + 0.02 * visit as f64 * (1.3 * i as f64).sin()).sin();
            let w: Vec<f64> = (0..n).map(|i| at(i).exp()).collect();
            let mut b: Vec<f64> = (0..m).map(|j| 1.0 + 0.5 * at(7 * j)).collect();
            let sum: f64 = b.iter().sum();
            b.iter_mut().for_each(|b| *b /= sum);
            let cot: Vec<f64> = w.iter().map(|w| w.cos()).collect();
            let run = |layer: &Layer, g: &mut [f64], work: &mut Work, kept: Option<&mut [f32]>| {
                let mut out = [vec![0.0; n], vec![0.0; n], vec![0.0; m], vec![0.0; m]];
                let [t, dw, db, dq] = &mut out;
                if let Some(kept) = &kept {
                    work.recall(m, kept);
                }
                let solved = layer.forward(&w, None, &b, &q, g, work, t);
                assert!(solved.error <= layer.tol, "{solved:?}");
                layer.backward(&w, None, &q, &cot, work, Some(dw), db, dq);
                if let Some(kept) = kept {
                    work.keep(m, kept);
                }
                out
            };
            // What is kept is all there is: another room gives the same bits.
            let (mut other, mut other_g, mut other_kept) = (Work::default(), g.clone(), kept.clone());
            let found = run(&layer, &mut g, &mut shared, Some(&mut kept));
            factors += usize::from(shared.factorised || shared.near);
            assert_eq!(found, run(&layer, &mut other_g, &mut other, Some(&mut other_kept)));
            assert!(kept == other_kept && g == other_g, "{n} {m} {visit}");
            let right = run(&exact, &mut vec![f64::NAN; m], &mut other, None);
            for (name, (a, b)) in ["T", "w̄", "b̄", "q̄"].into_iter().zip(found.iter().zip(&right)) {
                let size = b.iter().fold(0.0, |s: f64, v| s.max(v.abs()));
                let gap = a.iter().zip(b).fold(0.0, |s: f64, (a, b)| s.max((a - b).abs()));
                assert!(gap <= 100.0 * tol * size, "{n} {m} {visit} {name}: {gap:e} of {size:e}");
            }
        }
        assert!(factors <= 20, "{n} {m}: {factors} of 60");
    }
}

/// What was kept of one row is of no use for another; the solution does not depend on it.
#[test]
fn an_inverse_of_another_row_does_no_harm() {
    let (n, m, tol) = (100, 16, 1e-6);
    let layer = Layer::new(m, 0.01, Squash::Logistic).unwrap().with_tol(tol);
    let (b, q) = (vec![1.0 / m as f64; m], (0..m).map(|j| j as f64).collect::<Vec<_>>());
    let row = |k: f64| (0..n).map(|i| (k * (0.7 * i as f64).sin()).exp()).collect::<Vec<f64>>();
    let (mut work, mut kept) = (Work::default(), vec![f32::NAN; m * m]);
    let mut solve = |w: &[f64], kept: &mut [f32]| {
        let (mut g, mut t, mut db, mut dq) = (vec![f64::NAN; m], vec![0.0; n], vec![0.0; m], vec![0.0; m]);
        layer.forward(w, None, &b, &q, &mut g, &mut work, &mut t);
        // The start is good, what is kept need not be.
        work.recall(m, kept);
        g.iter_mut().enumerate().for_each(|(j, g)| *g += 1e-4 * (j as f64).sin());
        let solved = layer.forward(w, None, &b, &q, &mut g, &mut work, &mut t);
        assert!(solved.error <= tol, "{solved:?}");
        layer.backward(w, None, &q, w, &mut work, None, &mut db, &mut dq);
        work.keep(m, kept);
        db
    };
    let right = solve(&row(0.3), &mut kept);
    solve(&row(3.0), &mut kept);
    for strange in [kept.clone(), vec![0.0; m * m], vec![1e30; m * m], vec![-1.0; m * m]] {
        let found = solve(&row(0.3), &mut strange.clone());
        let size = right.iter().fold(0.0, |s: f64, v| s.max(v.abs()));
        assert!(found.iter().zip(&right).all(|(a, b)| (a - b).abs() <= 1e-3 * size), "{found:?} {right:?}");
    }
}
