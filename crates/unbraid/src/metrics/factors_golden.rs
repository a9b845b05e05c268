//! Golden values of supports and disentanglement: testdata/golden/mssvae/metrics.json, and scikit-learn's importances:
//! testdata/golden/metrics/boosting.json.

use ndarray::{Array1, Array2};
use serde::Deserialize;

use super::boosting::Features;
use super::disentanglement::score;
use super::supports::support_scores;

#[derive(Deserialize)]
struct Metrics {
    tolerance: f64,
    support: Vec<Support>,
    disentanglement: Vec<Importances>,
}

/// Supports column by column.
#[derive(Deserialize)]
struct Support {
    name: String,
    #[serde(rename = "true")]
    truth: Vec<Vec<u8>>,
    est: Vec<Vec<u8>>,
    expect: Expected,
}

#[derive(Deserialize)]
struct Expected {
    consensus: f64,
    relevance: f64,
    recovery: f64,
    #[serde(rename = "K_hat")]
    found: usize,
}

#[derive(Deserialize)]
struct Importances {
    name: String,
    #[serde(rename = "R")]
    r: Vec<Vec<f64>>,
    expect: f64,
}

#[derive(Deserialize)]
struct Boosting {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    x: Vec<Vec<f64>>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    y: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

fn metrics() -> Metrics {
    serde_json::from_str(include_str!("../../../../testdata/golden/mssvae/metrics.json")).unwrap()
}

#[test]
fn supports_score_as_the_equations_say() {
    let Metrics { tolerance, support, .. } = metrics();
    assert!(support.len() > 10);
    for case in support {
        let columns = |v: &[Vec<u8>]| Array2::from_shape_fn((v[0].len(), v.len()), |(j, k)| v[k][j] == 1);
        let (truth, found) = (columns(&case.truth), columns(&case.est));
        let got = support_scores(truth.view(), found.view()).unwrap().unwrap();
        let want = &case.expect;
        assert_eq!(got.found, want.found, "{}", case.name);
        let pairs =
            [(got.consensus, want.consensus), (got.relevance, want.relevance), (got.recovery, want.recovery)];
        assert!(pairs.iter().all(|(a, b)| (a - b).abs() <= tolerance), "{}: {pairs:?}", case.name);
    }
}

#[test]
fn importances_score_as_the_equations_say() {
    let Metrics { tolerance, disentanglement, .. } = metrics();
    assert!(disentanglement.len() > 4);
    for case in disentanglement {
        let r = Array2::from_shape_fn((case.r.len(), case.r[0].len()), |(i, j)| case.r[i][j]);
        let got = score(r.view());
        assert!((got - case.expect).abs() <= tolerance, "{}: {got} is not {}", case.name, case.expect);
    }
}

/// Where no splits tie, the importances are scikit-learn's; elsewhere they lie about as far from those of one of its
/// seeds as its seeds lie from each other.
#[test]
fn importances_are_those_of_scikit_learn() {
    let text = include_str!("../../../../testdata/golden/metrics/boosting.json");
    let Boosting { cases } = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let x = Array2::from_shape_fn((case.x.len(), case.x[0].len()), |(i, j)| case.x[i][j]);
        let features = Features::new(x.view()).unwrap();
        for (at, t) in case.targets.iter().enumerate() {
            let got = features.importances(Array1::from(t.y.clone()).view()).unwrap();
            let spread = t.low.iter().zip(&t.high).map(|(l, h)| h - l).fold(0.0, f64::max);
            let slack = if case.name == "coarse" { 1e-10 } else { 0.5 * spread };
            assert!(case.name != "coarse" || spread < 1e-12);
            for (c, (&low, &high)) in t.low.iter().zip(&t.high).enumerate() {
                let there = (low - slack..=high + slack).contains(&got[c]);
                assert!(there, "{} {at} {c}: {} is not within {low} to {high} ± {slack}", case.name, got[c]);
            }
        }
    }
}
