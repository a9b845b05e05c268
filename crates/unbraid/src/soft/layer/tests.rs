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
