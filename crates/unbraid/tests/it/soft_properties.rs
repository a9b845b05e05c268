//! What holds for every row: monotone, bounded, exact marginals, finite; gradients against differences and the slow twin.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unbraid::soft::sinkhorn::{self, Schedule};
use unbraid::soft::{Layer, Plan, Squash, Work};

const SQUASHES: [Squash; 4] = [Squash::Logistic, Squash::LogisticUnitStd, Squash::Arctan, Squash::None];

/// A row to try: values, weights, layer.
struct Case {
    layer: Layer,
    w: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    q: Vec<f64>,
    what: String,
}

fn pick<T: Copy>(rng: &mut ChaCha8Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// Positive, sum 1; a share `light` of them is tiny, down to 1e-12.
fn simplex(rng: &mut ChaCha8Rng, len: usize, light: f64) -> Vec<f64> {
    let mut draw = || {
        let tiny = rng.random::<f64>() < light;
        let exponent = if tiny { -12.0 * rng.random::<f64>().sqrt() } else { 0.0 };
        (0.1 + 0.9 * rng.random::<f64>()) * 10f64.powf(exponent)
    };
    let v: Vec<f64> = (0..len).map(|_| draw().max(1e-12)).collect();
    let sum: f64 = v.iter().sum();
    v.into_iter().map(|v| v / sum).collect()
}

impl Case {
    /// Free values, few levels, a constant row, mostly zeros, outliers; even and weighted; ε from 1e-4 to 1.
    fn draw(seed: u64) -> Case {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let n = pick(rng, &[1, 2, 3, 17, 60, 129, 200, 520]);
        let m = pick(rng, &[1, 2, 3, 4, 5, 8, 9, 16, 21]);
        let squash = pick(rng, &SQUASHES);
        let epsilon = 10f64.powf(-4.0 * rng.random::<f64>());
        let kind = rng.random_range(0..5);
        let w: Vec<f64> = (0..n)
            .map(|_| match kind {
                0 => rng.random(),
                1 => f64::from(rng.random_range(0..3)) / 3.0,
                2 => 0.37,
                3 => (rng.random::<f64>() - 0.9).max(0.0),
                _ => rng.random::<f64>().powi(12),
            })
            .collect();
        let light = pick(rng, &[0.0, 0.0, 0.05, 0.5]);
        let (a, b) = (simplex(rng, n, light), simplex(rng, m, light));
        let q = (0..m).map(|j| (j * j) as f64 - 3.0).collect();
        let layer = if rng.random::<f64>() < 0.2 && m > 1 {
            let mut y: Vec<f64> = (0..m).map(|j| (j as f64 + 0.8 * rng.random::<f64>()) / m as f64).collect();
            y[0] = 0.0;
            Layer::with_targets(y, epsilon, squash)
        } else {
            Layer::new(m, epsilon, squash)
        };
        let what =
            format!("seed {seed}: n {n}, m {m}, ε {epsilon:.1e}, {squash:?}, kind {kind}, light {light}");
        Case { layer: layer.unwrap(), w, a, b, q, what }
    }
}

fn rises(values: impl IntoIterator<Item = f64>, slack: f64) -> bool {
    let values: Vec<f64> = values.into_iter().collect();
    values.windows(2).all(|v| v[1] >= v[0] - slack)
}

fn dot(a: &[f64], b: impl IntoIterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn every_row_is_solved_and_mapped_monotonely() {
    let mut work = Work::default();
    for seed in 0..10_000 {
        let Case { layer, w, a, b, q, what } = Case::draw(seed);
        let (n, m) = (w.len(), b.len());
        let (mut g, mut t) = (vec![f64::NAN; m], vec![0.0; n]);
        let solved = layer.forward(&w, Some(&a), &b, &q, &mut g, &mut work, &mut t);
        assert!(solved.error <= 1e-8, "{what}: {solved:?}");
        let cot: Vec<f64> = w.iter().map(|w| (9.0 * w).sin()).collect();
        let (mut dw, mut db, mut dq) = (vec![0.0; n], vec![0.0; m], vec![0.0; m]);
        layer.backward(&w, Some(&a), &q, &cot, &mut work, Some(&mut dw), &mut db, &mut dq);
        assert!([&g, &t, &dw, &db, &dq].iter().all(|v| v.iter().all(|v| v.is_finite())), "{what}");
        // Bounds, order, equal values for equal inputs.
        let range = q[m - 1] - q[0];
        let slack = 1e-12 * (range + 3.0);
        assert!(t.iter().all(|&t| t >= q[0] - slack && t <= q[m - 1] + slack), "{what}");
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| w[i].total_cmp(&w[j]));
        assert!(rises(order.iter().map(|&i| t[i]), slack), "{what}");
        assert!(order.windows(2).all(|p| w[p[0]] != w[p[1]] || t[p[0]] == t[p[1]]), "{what}");
        // Σ a T = bᵀq
        let gap = (dot(&a, t.iter().copied()) - dot(&b, q.iter().copied())).abs();
        assert!(gap <= 2e-8 * (range + 3.0), "{what}: {gap:e}");
        // The closed form of the fitted map gives the same values; potentials carry 1e-16 and are divided by ε.
        let mut again = vec![0.0; n];
        layer.evaluate(solved.location, solved.spread, &g, &q, &w, &mut again);
        let slack = 1e-13 / layer.epsilon() * (range + 3.0) * m as f64;
        assert!(t.iter().zip(&again).all(|(t, e)| (t - e).abs() <= slack), "{what}");
        // From its own solution no step is needed.
        let stored = g.clone();
        let warm = layer.forward(&w, Some(&a), &b, &q, &mut g, &mut work, &mut t);
        assert!(warm.error <= 1e-8 && warm.iterations <= 1, "{what}: {warm:?}");
        assert!(g.iter().zip(&stored).all(|(g, s)| (g - s).abs() <= 1e-6), "{what}");
    }
}

#[test]
fn plans_have_their_marginals_and_ranks_and_sorts_their_order() {
    for seed in 20_000..23_000 {
        let Case { layer, w, a, b, what, .. } = Case::draw(seed);
        let (n, m) = (w.len(), b.len());
        let plan = Plan::solve(&layer, &w, Some(&a), &b);
        let p = plan.conditional();
        assert!(p.iter().all(|p| (0.0..=1.0 + 1e-12).contains(p)), "{what}");
        assert!(p.rows().into_iter().all(|p| (p.sum() - 1.0).abs() <= 1e-12), "{what}");
        let error = (0..m).map(|j| (dot(&a, p.column(j).to_vec()) / b[j] - 1.0).abs()).fold(0.0, f64::max);
        assert!((error - plan.solved.error).abs() <= 1e-11, "{what}: {error:e} {:?}", plan.solved);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| w[i].total_cmp(&w[j]));
        let ranks = plan.rank();
        let size = n as f64;
        assert!(ranks.iter().all(|r| *r >= 0.0 && *r <= size * (1.0 + 1e-12)), "{what}");
        assert!(rises(order.iter().map(|&i| ranks[i]), 1e-12 * size), "{what}");
        // Σ a R = n Σ_j b_j (b_1 + … + b_j)
        let mut level = 0.0;
        let mean: f64 = b
            .iter()
            .map(|b| {
                level += b;
                b * level
            })
            .sum();
        assert!((dot(&a, ranks.to_vec()) - size * mean).abs() <= 2e-8 * size, "{what}");
        let x = plan.x().to_vec();
        let (low, high) = x.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
        let sorted = plan.sort(&x).to_vec();
        // Columns sum to b up to the tolerance.
        let slack = 4e-8 * (high.abs() + low.abs());
        assert!(sorted.iter().all(|s| *s >= low - slack && *s <= high + slack), "{what}");
        assert!(rises(sorted, slack), "{what}");
    }
}

#[test]
fn maps_are_monotone_for_any_potentials() {
    for seed in 30_000..33_000 {
        let Case { layer, w, q, what, .. } = Case::draw(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let g: Vec<f64> = q.iter().map(|_| rng.random::<f64>() - 0.5).collect();
        let mut sorted = w.clone();
        sorted.sort_by(f64::total_cmp);
        let mut t = vec![0.0; w.len()];
        layer.evaluate(0.3, 0.5, &g, &q, &sorted, &mut t);
        let range = q[q.len() - 1] - q[0] + 3.0;
        assert!(rises(t.iter().copied(), 1e-12 * range), "{what}");
        assert!(
            t.iter().all(|t| *t >= q[0] - 1e-12 * range && *t <= q[q.len() - 1] + 1e-12 * range),
            "{what}"
        );
    }
}

#[test]
fn order_and_affine_scale_of_the_inputs_do_not_matter() {
    let mut work = Work::default();
    for seed in 40_000..41_000 {
        let Case { layer, w, a, b, q, what } = Case::draw(seed);
        let layer = layer.with_tol(1e-11);
        let (n, m) = (w.len(), b.len());
        let mut map = |w: &[f64], a: &[f64]| {
            let mut t = vec![0.0; n];
            let solved = layer.forward(w, Some(a), &b, &q, &mut vec![f64::NAN; m], &mut work, &mut t);
            (t, solved.error)
        };
        let (t, error) = map(&w, &a);
        let range = q[m - 1] - q[0] + 3.0;
        // An error of the column sums moves T by as much at most, times the conditioning of the row.
        let near = |found: &[f64], other: f64, tol: f64| {
            let tol = tol + 1e3 * (error + other);
            t.iter().zip(found).all(|(t, f)| (t - f).abs() <= tol * range)
        };
        let turn = |v: &[f64]| v.iter().rev().copied().collect::<Vec<_>>();
        let (back, other) = map(&turn(&w), &turn(&a));
        assert!(near(&turn(&back), other, 1e-9), "{what}");
        if layer.squash() != Squash::None && w.iter().any(|v| *v != w[0]) {
            let scaled: Vec<f64> = w.iter().map(|w| 8.0 * w - 2.0).collect();
            let (scaled, other) = map(&scaled, &a);
            // x moves by rounding, and logits by that over ε.
            assert!(near(&scaled, other, 1e-13 / layer.epsilon() + 1e-9), "{what}");
        }
    }
}

#[test]
fn without_smoothing_values_go_to_quantiles_and_ranks() {
    let n = 12;
    let w: Vec<f64> = (0..n).map(|i| ((7 * i) % 12) as f64).collect();
    let q: Vec<f64> = (0..n).map(|j| (j as f64).exp()).collect();
    let b = vec![1.0 / n as f64; n];
    let plan = Plan::solve(&Layer::new(n, 1e-4, Squash::Logistic).unwrap(), &w, None, &b);
    let (ranks, t) = (plan.rank(), plan.quantile(&q));
    for i in 0..n {
        assert!((ranks[i] - (w[i] + 1.0)).abs() < 1e-6, "{} {}", w[i], ranks[i]);
        assert!((t[i] - q[w[i] as usize]).abs() < 1e-6 * q[n - 1], "{} {}", w[i], t[i]);
    }
}

#[test]
fn huge_and_tiny_values_are_squashed_like_others() {
    let layer = Layer::new(6, 0.02, Squash::Logistic).unwrap();
    let (b, q) = (vec![1.0 / 6.0; 6], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let w: Vec<f64> = (0..40).map(|i| f64::from(i * i % 37) - 11.0).collect();
    let mut work = Work::default();
    let mut run = |scale: f64| {
        let w: Vec<f64> = w.iter().map(|w| w * scale).collect();
        let (mut t, mut again, mut g) = (vec![0.0; 40], vec![0.0; 40], vec![f64::NAN; 6]);
        let solved = layer.forward(&w, None, &b, &q, &mut g, &mut work, &mut t);
        let (mut dw, mut db, mut dq) = (vec![0.0; 40], vec![0.0; 6], vec![0.0; 6]);
        let cot: Vec<f64> = (0..40).map(|i| f64::from(i).sin()).collect();
        layer.backward(&w, None, &q, &cot, &mut work, Some(&mut dw), &mut db, &mut dq);
        layer.evaluate(solved.location, solved.spread, &g, &q, &w, &mut again);
        assert!(t.iter().zip(&again).all(|(t, e)| (t - e).abs() < 1e-9), "{scale:e}");
        (t, dw.iter().map(|d| d * scale).collect::<Vec<_>>(), db)
    };
    let (t, dw, db) = run(1.0);
    for scale in [1e-8, 1e100, 1e153, 1e160, 1e250, 4e306] {
        let (t1, dw1, db1) = run(scale);
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9);
        assert!(near(&t, &t1) && near(&dw, &dw1) && near(&db, &db1), "{scale:e}");
    }
}

/// Relative distance in the largest component.
fn gap(found: &[f64], wanted: &[f64]) -> f64 {
    let size = wanted.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    found.iter().zip(wanted).fold(0.0, |m: f64, (f, w)| m.max((f - w).abs())) / size
}

#[test]
fn gradients_agree_with_central_differences() {
    for (seed, squash) in SQUASHES.iter().cycle().take(60).enumerate() {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed as u64);
        let (n, m) = (pick(rng, &[2, 5, 19, 230]), pick(rng, &[1, 2, 5, 8]));
        let epsilon = pick(rng, &[0.01, 0.05, 0.3, 1.0]);
        let layer = Layer::new(m, epsilon, *squash).unwrap().with_tol(1e-13);
        let w: Vec<f64> = (0..n).map(|_| rng.random()).collect();
        let (a, b) = (simplex(rng, n, 0.2), simplex(rng, m, 0.0));
        let q: Vec<f64> = (0..m).map(|j| j as f64 + rng.random::<f64>()).collect();
        let cot: Vec<f64> = (0..n).map(|_| rng.random::<f64>() - 0.5).collect();
        let mut work = Work::default();
        let mut value = |w: &[f64], b: &[f64], q: &[f64]| {
            let mut t = vec![0.0; n];
            layer.forward(w, Some(&a), b, q, &mut vec![f64::NAN; m], &mut work, &mut t);
            dot(&cot, t)
        };
        let slope = |f: &mut dyn FnMut(f64) -> f64, h: f64| {
            // Fourth order.
            (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
        };
        let h = 1e-4 * epsilon.sqrt();
        let along = |v: &[f64], i: usize, h: f64| {
            let mut v = v.to_vec();
            v[i] += h;
            v
        };
        let by_w: Vec<f64> =
            (0..n.min(20)).map(|i| slope(&mut |h| value(&along(&w, i, h), &b, &q), h)).collect();
        let by_q: Vec<f64> = (0..m).map(|j| slope(&mut |h| value(&w, &b, &along(&q, j, h)), h)).collect();
        // Weights move against the last one, so that they sum to 1.
        let move_b = |j: usize, h: f64| {
            let mut b = along(&b, j, h);
            b[m - 1] -= h;
            b
        };
        let hb = 1e-4 * b.iter().fold(1.0, |m: f64, b| m.min(*b));
        let by_b: Vec<f64> = (0..m).map(|j| slope(&mut |h| value(&w, &move_b(j, h), &q), hb)).collect();
        let (mut t, mut dw, mut db, mut dq) = (vec![0.0; n], vec![0.0; n], vec![0.0; m], vec![0.0; m]);
        layer.forward(&w, Some(&a), &b, &q, &mut vec![f64::NAN; m], &mut work, &mut t);
        layer.backward(&w, Some(&a), &q, &cot, &mut work, Some(&mut dw), &mut db, &mut dq);
        let db: Vec<f64> = db.iter().map(|d| d - db[m - 1]).collect();
        let what = format!("seed {seed}: n {n}, m {m}, ε {epsilon}, {squash:?}");
        for (name, found, wanted) in [("w", &dw[..n.min(20)], by_w), ("b", &db, by_b), ("q", &dq, by_q)] {
            assert!(gap(found, &wanted) <= 1e-6, "{what}, {name}: {found:?} {wanted:?}");
        }
    }
}

#[test]
fn the_slow_twin_agrees_on_weighted_rows() {
    for seed in 0..60 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (n, m) = (pick(rng, &[2, 7, 40, 210]), pick(rng, &[1, 2, 5, 12]));
        let epsilon = pick(rng, &[0.02, 0.1, 1.0]);
        let layer = Layer::new(m, epsilon, SQUASHES[seed as usize % 4]).unwrap().with_tol(1e-12);
        let w: Vec<f64> = (0..n).map(|_| rng.random()).collect();
        let (a, b) = (simplex(rng, n, 0.3), simplex(rng, m, 0.1));
        let plan = Plan::solve(&layer, &w, Some(&a), &b);
        let x = plan.x().to_vec();
        let schedule = Schedule { from: 0.1, tol: 1e-11, sweeps: 20_000 };
        let slow = sinkhorn::solve(&x, layer.targets(), &a, &b, epsilon, schedule);
        let what = format!("seed {seed}: n {n}, m {m}, ε {epsilon}");
        assert!(slow.error <= 1e-11, "{what}: {}", slow.error);
        for ((i, j), p) in slow.plan.indexed_iter() {
            let ours = a[i] * plan.conditional()[[i, j]];
            assert!((p - ours).abs() <= 1e-8 * b[j], "{what}");
        }
        let q: Vec<f64> = (0..m).map(|j| (j as f64).sqrt()).collect();
        let cot: Vec<f64> = a.iter().map(|a| a * (rng.random::<f64>() - 0.5)).collect();
        let (dw, db, _) = plan.pull_quantile(&q, &cot);
        let h = ndarray::Array2::from_shape_fn((n, m), |(i, j)| cot[i] * q[j] / a[i]);
        let (dx, slow_db) = sinkhorn::pull(&x, layer.targets(), epsilon, slow.plan.view(), h.view());
        let centred = |db: &[f64]| {
            let mean = dot(&b, db.iter().copied());
            db.iter().map(|d| d - mean).collect::<Vec<f64>>()
        };
        assert!(gap(&centred(&db.to_vec()), &centred(&slow_db.to_vec())) <= 1e-6, "{what}");
        if layer.squash() == Squash::None {
            assert!(gap(&dw.to_vec(), &dx.to_vec()) <= 1e-6, "{what}");
        }
        // The layer's own passes give what the plan gives.
        let (mut work, mut t) = (Work::default(), vec![0.0; n]);
        layer.forward(&w, Some(&a), &b, &q, &mut vec![f64::NAN; m], &mut work, &mut t);
        let (mut dw1, mut db1, mut dq1) = (vec![0.0; n], vec![0.0; m], vec![0.0; m]);
        layer.backward(&w, Some(&a), &q, &cot, &mut work, Some(&mut dw1), &mut db1, &mut dq1);
        assert!(gap(&dw1, &dw.to_vec()) <= 1e-9 && gap(&db1, &db.to_vec()) <= 1e-9, "{what}");
    }
}
