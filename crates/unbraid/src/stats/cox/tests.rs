//! Models beside their definitions, and what is refused.

use super::*;
use crate::fit::{Draw, Seed};
use rand::RngExt;

/// Covariates, times on a coarse grid, so that many tie, and events.
fn data(n: usize, k: usize, grid: f64, seed: u64) -> (Array2<f64>, Vec<f64>, Vec<bool>) {
    let mut rng = Seed(seed).stream(Draw::Simulate, 0);
    let x = Array2::from_shape_fn((n, k), |_| rng.random_range(-1.0..1.0));
    let time = (0..n)
        .map(|i| {
            let rate = (x.row(i).iter().sum::<f64>() * 0.7).exp();
            let t: f64 = -rng.random_range(1e-6..1.0f64).ln() / rate;
            (t * grid).ceil() / grid
        })
        .collect();
    let event = (0..n).map(|_| rng.random_bool(0.7)).collect();
    (x, time, event)
}

/// ℓ by its definition, every sum anew.
fn slow(x: &Array2<f64>, time: &[f64], event: &[bool], ties: Ties, beta: &[f64]) -> f64 {
    let score = |i: usize| x.row(i).iter().zip(beta).map(|(a, b)| a * b).sum::<f64>();
    let mut times: Vec<f64> = time.to_vec();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let mut value = 0.0;
    for t in times {
        let dead: Vec<usize> = (0..time.len()).filter(|&i| time[i] == t && event[i]).collect();
        let risk: f64 = (0..time.len()).filter(|&i| time[i] >= t).map(|i| score(i).exp()).sum();
        let gone: f64 = dead.iter().map(|&i| score(i).exp()).sum();
        for (l, &i) in dead.iter().enumerate() {
            let share = if ties == Ties::Efron { l as f64 / dead.len() as f64 } else { 0.0 };
            value += score(i) - (risk - share * gone).ln();
        }
    }
    value
}

#[test]
fn the_likelihood_is_its_definition_and_its_derivatives_are_differences() {
    let (x, time, event) = data(60, 3, 5.0, 1);
    let beta = [0.3, -0.8, 1.1];
    for ties in [Ties::Efron, Ties::Breslow] {
        let risk = Risk::new(x.view(), &time, &event, ties);
        let here = risk.look(&beta).unwrap();
        assert!((here.value - slow(&x, &time, &event, ties, &beta)).abs() < 1e-10);
        let h = 1e-5;
        for a in 0..3 {
            let moved = |by: f64| {
                let mut b = beta;
                b[a] += by;
                b
            };
            let (up, down) = (moved(h), moved(-h));
            let value = |b: &[f64]| slow(&x, &time, &event, ties, b);
            assert!((here.gradient[a] - (value(&up) - value(&down)) / (2.0 * h)).abs() < 1e-7);
            let (up, down) = (risk.look(&up).unwrap(), risk.look(&down).unwrap());
            for b in 0..3 {
                let slope = -(up.gradient[b] - down.gradient[b]) / (2.0 * h);
                assert!((here.information[[a, b]] - slope).abs() < 1e-6);
            }
        }
    }
    let efron = Risk::new(x.view(), &time, &event, Ties::Efron).look(&beta).unwrap().value;
    assert!((efron - slow(&x, &time, &event, Ties::Breslow, &beta)).abs() > 0.1, "times do tie");
}

#[test]
fn the_maximum_is_one_and_no_unit_changes_it() {
    let (x, time, event) = data(150, 3, 20.0, 2);
    for ties in [Ties::Efron, Ties::Breslow] {
        let plain = Cox { ties, standardise: false, ..Cox::default() };
        let fit = plain.fit(x.view(), &time, &event).unwrap();
        let best = slow(&x, &time, &event, ties, &fit.coef);
        assert!((best - fit.log_likelihood).abs() < 1e-9);
        for j in 0..3 {
            for by in [-1e-3, 1e-3] {
                let mut near = fit.coef.clone();
                near[j] += by;
                assert!(slow(&x, &time, &event, ties, &near) < best);
            }
        }
        let moved = x.mapv(|v| 1e6 * v + 3e7);
        let other = plain.fit(moved.view(), &time, &event).unwrap();
        for j in 0..3 {
            assert!((other.coef[j] * 1e6 - fit.coef[j]).abs() < 1e-6);
            assert!((other.p[j] - fit.p[j]).abs() < 1e-6);
        }
        let scaled = Cox { ties, ..Cox::default() }.fit(x.view(), &time, &event).unwrap();
        assert!((scaled.z[1] - fit.z[1]).abs() < 1e-10 && fit.warnings.is_empty());
        assert!(fit.p.iter().all(|p| *p < 0.05) && fit.lr_p < 1e-6 && fit.concordance > 0.6);
    }
}

#[test]
fn monotone_likelihood_is_said() {
    // The larger the covariate, the earlier the event.
    let x = Array2::from_shape_fn((30, 1), |(i, _)| 30.0 - i as f64);
    let time: Vec<f64> = (1..=30).map(f64::from).collect();
    let fit = Cox::default().fit(x.view(), &time, &[true; 30]).unwrap();
    assert_eq!(fit.infinite, [true], "{fit:?}");
    assert!(fit.warnings[0].contains("without limit"), "{:?}", fit.warnings);
    assert!(fit.lr_p < 1e-6 && fit.concordance == 1.0);
    let numbers = [&fit.coef, &fit.se, &fit.z, &fit.p].map(|v| v[0]);
    assert!(numbers.iter().all(|v| v.is_finite()), "{fit:?}");
    // A group in which nothing happens.
    let (mut x, time, mut event) = data(80, 2, 1e9, 3);
    for i in 0..80 {
        x[[i, 1]] = f64::from(u8::from(i < 20));
        event[i] &= i >= 20;
    }
    let fit = Cox::default().fit(x.view(), &time, &event).unwrap();
    assert_eq!(fit.infinite, [false, true]);
    assert!(fit.warnings[0].contains("covariate 2"), "{:?}", fit.warnings);
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (x, time, event) = data(20, 2, 1e9, 4);
    let cox = Cox::default();
    let says = |e: Error, part: &str| assert!(e.to_string().contains(part), "{e}");
    let mut bad = time.clone();
    bad[3] = -1.0;
    says(cox.fit(x.view(), &bad, &event).unwrap_err(), "time holds -1 at row 3");
    bad[3] = f64::NAN;
    says(cox.fit(x.view(), &bad, &event).unwrap_err(), "NaN at row 3");
    says(cox.fit(x.view(), &time, &[false; 20]).unwrap_err(), "an event among 20 subjects is missing");
    let mut one = [false; 20];
    one[0] = true;
    says(cox.fit(x.view(), &time, &one).unwrap_err(), "at least as many as covariates");
    says(cox.fit(x.view(), &time[..9], &event).unwrap_err(), "times has shape [9]");
    says(cox.fit(x.view(), &time, &event[..9]).unwrap_err(), "events has shape [9]");
    says(cox.fit(x.slice(ndarray::s![.., ..0]), &time, &event).unwrap_err(), "at least one column");
    let mut y = x.clone();
    y.column_mut(1).fill(0.1);
    says(cox.fit(y.view(), &time, &event).unwrap_err(), "column 1 has the same value");
    says(cox.univariate(y.view(), &time, &event).unwrap_err(), "column 1 has the same value");
    y.column_mut(1).assign(&(2.0 * &x.column(0) + 1.0));
    says(cox.fit(y.view(), &time, &event).unwrap_err(), "linear combination");
    y[[5, 1]] = f64::INFINITY;
    says(cox.univariate(y.view(), &time, &event).unwrap_err(), "row 5, column 1");
    says(Cox { max_steps: 0, ..cox.clone() }.fit(x.view(), &time, &event).unwrap_err(), "max_steps");
    // Only one subject differs, and it is gone before the first event.
    let early = Array2::from_shape_fn((20, 1), |(i, _)| f64::from(u8::from(i == 0)));
    let time: Vec<f64> = (0..20).map(f64::from).collect();
    let event: Vec<bool> = (0..20).map(|i| i > 0).collect();
    says(cox.fit(early.view(), &time, &event).unwrap_err(), "among the subjects at risk");
}

#[test]
fn concordance_counts_pairs() {
    let (x, time, event) = data(70, 1, 4.0, 5);
    let score: Vec<f64> = x.column(0).mapv(|v| (v * 4.0).round()).to_vec();
    let (mut pairs, mut good) = (0.0, 0.0);
    for i in 0..70 {
        for j in 0..70 {
            if event[i] && (time[i] < time[j] || (time[i] == time[j] && !event[j])) {
                pairs += 1.0;
                good += f64::from(u8::from(score[i] > score[j]));
                good += 0.5 * f64::from(u8::from(score[i] == score[j]));
            }
        }
    }
    assert!((concordance(&score, &time, &event) - good / pairs).abs() < 1e-14);
    assert_eq!(concordance(&[1.0], &[1.0], &[true]), 0.5);
}

#[test]
fn tails_at_known_quantiles() {
    for (found, expected) in [
        (two_sided(-1.959963984540054), 0.05),
        (two_sided(6.0), 1.9731752900753e-9),
        (two_sided(0.0), 1.0),
        (chi_square_tail(5.991464547107979, 2), 0.05),
        (chi_square_tail(0.0, 4), 1.0),
    ] {
        assert!((found - expected).abs() < 1e-9 * expected, "{found}, not {expected}");
    }
    assert_eq!(chi_square_tail(-1.0, 3), 1.0);
}
