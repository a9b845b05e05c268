//! Golden values of SciPy, scikit-learn and mpmath: testdata/golden/stats.

use ndarray::Array2;
use serde::Deserialize;

use super::anova::one_way;
use super::curves::{Bundle, Process, two_sample};
use super::enrichment::{Collection, EnrichmentOptions, GeneSet, ln_hypergeometric_tail};
use super::multiple::{Adjust, adjust};
use super::tail::{gaussian_tail, upper_tail};

#[derive(Deserialize)]
struct Stats {
    anova: Vec<Groups>,
    tail: Vec<Tail>,
    gaussian_tail: Vec<GaussianTail>,
    hypergeometric: Vec<Hypergeometric>,
    adjusted: Vec<Adjusted>,
    process: Vec<Likelihood>,
    two_sample: Vec<TwoSample>,
}

#[derive(Deserialize)]
struct Groups {
    values: Vec<f64>,
    groups: Vec<usize>,
    f: f64,
    p: f64,
    between: usize,
    within: usize,
    log10_p: f64,
}

#[derive(Deserialize)]
struct Tail {
    x: Vec<f64>,
    y: Vec<f64>,
    q: f64,
    tail: Option<f64>,
}

#[derive(Deserialize)]
struct GaussianTail {
    rho: f64,
    q: f64,
    tail: f64,
}

#[derive(Deserialize)]
struct Hypergeometric {
    k: u64,
    total: u64,
    marked: u64,
    drawn: u64,
    sf: f64,
    exact: f64,
    ln: f64,
}

#[derive(Deserialize)]
struct Adjusted {
    p: Vec<f64>,
    bh: Vec<f64>,
    by: Vec<f64>,
}

#[derive(Deserialize)]
struct Likelihood {
    x: Vec<f64>,
    curves: Vec<Vec<f64>>,
    variance: f64,
    length: f64,
    noise: f64,
    ln_likelihood: f64,
}

#[derive(Deserialize)]
struct TwoSample {
    x: Vec<f64>,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
    ln_bayes: f64,
}

fn stats() -> Stats {
    serde_json::from_str(include_str!("../../../../testdata/golden/stats/stats.json")).unwrap()
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1e-290), "{found} is not {expected}");
}

fn rows(v: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((v.len(), v[0].len()), |(i, j)| v[i][j])
}

#[test]
fn anova_equals_scipy_and_mpmath_far_into_the_tail() {
    for c in stats().anova {
        let found = one_way(&c.values, &c.groups).unwrap().unwrap();
        assert_eq!((found.between, found.within), (c.between, c.within));
        close(found.f, c.f, 1e-10);
        close(found.log10_p, c.log10_p, 1e-10);
        if c.p > 1e-290 {
            close(found.p, c.p, 1e-10);
        }
        assert!((found.p - c.p).abs() < 1e-10);
    }
}

#[test]
fn tails_equal_scipy_and_mpmath() {
    for c in stats().tail {
        assert_eq!(upper_tail(&c.x, &c.y, c.q), c.tail);
    }
    for c in stats().gaussian_tail {
        assert!((gaussian_tail(c.rho, c.q) - c.tail).abs() < 1e-10, "{} {}", c.rho, c.q);
    }
}

#[test]
fn hypergeometric_tails_equal_scipy_and_the_exact_sum() {
    for c in stats().hypergeometric {
        let found = ln_hypergeometric_tail(c.k, c.total, c.marked, c.drawn).unwrap();
        assert!((found - c.ln).abs() < 1e-12 * c.ln.abs().max(1.0), "{found} is not {}", c.ln);
        close(found.exp(), c.exact, 1e-12);
        close(found.exp(), c.sf, 1e-10);
    }
}

#[derive(Deserialize)]
struct OverRepresentation {
    genes: Vec<String>,
    sets: Vec<(String, Vec<String>)>,
    cases: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    list: Vec<String>,
    annotated_only: bool,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    set: String,
    size: usize,
    overlap: usize,
    p: f64,
    fold: f64,
    by: f64,
}

/// SciPy's hypergeometric tails and statsmodels' fdr_by, with both universes.
#[test]
fn over_representation_equals_scipy_and_statsmodels() {
    let text = include_str!("../../../../testdata/golden/stats/enrichment.json");
    let OverRepresentation { genes, sets, cases } = serde_json::from_str(text).unwrap();
    let sets: Vec<GeneSet> =
        sets.into_iter().map(|(name, genes)| GeneSet { name, description: String::new(), genes }).collect();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let options =
            EnrichmentOptions { annotated_only: case.annotated_only, ..EnrichmentOptions::of_factors() };
        let collection = Collection::new(&genes, &sets, options).unwrap();
        assert_eq!(
            (collection.universe(), collection.len()),
            (if case.annotated_only { 500 } else { 600 }, case.rows.len())
        );
        let found = collection.test(&case.list).unwrap();
        assert!(found.windows(2).all(|w| w[0].p <= w[1].p));
        for row in case.rows {
            let e = found.iter().find(|e| e.set == row.set).unwrap();
            assert_eq!((e.size, e.overlap), (row.size, row.overlap), "{}", row.set);
            close(e.p, row.p, 1e-10);
            close(e.by, row.by, 1e-10);
            close(e.fold, row.fold, 1e-12);
        }
    }
}

#[derive(Deserialize)]
struct Printed {
    universe: u64,
    pathway: u64,
    set: u64,
    overlap: u64,
    p: f64,
    p_by: f64,
}

/// Values of the equations in 60 digits; they are adjusted over all of the pathways listed.
#[test]
fn tails_and_adjusted_values_equal_those_of_the_equations() {
    #[derive(Deserialize)]
    struct Case {
        over_representation: Vec<Printed>,
    }
    let text = include_str!("../../../../testdata/golden/mssvae/metrics.json");
    let rows = serde_json::from_str::<Case>(text).unwrap().over_representation;
    let tail = |r: &Printed| ln_hypergeometric_tail(r.overlap, r.universe, r.pathway, r.set).unwrap().exp();
    let p: Vec<f64> = rows.iter().map(tail).collect();
    assert!(rows.len() > 8);
    for ((r, p), by) in rows.iter().zip(&p).zip(adjust(&p, Adjust::BenjaminiYekutieli)) {
        close(*p, r.p, 1e-12);
        close(by, r.p_by, 1e-12);
    }
}

#[test]
fn adjusted_values_equal_scipy() {
    for c in stats().adjusted {
        for (how, expected) in [(Adjust::BenjaminiHochberg, c.bh), (Adjust::BenjaminiYekutieli, c.by)] {
            let found = adjust(&c.p, how);
            found.iter().zip(&expected).for_each(|(f, e)| close(*f, *e, 1e-13));
        }
    }
}

#[test]
fn likelihoods_equal_scikit_learn() {
    for c in stats().process {
        let process = Process { variance: c.variance, length: c.length, noise: c.noise };
        let found = Bundle::new(rows(&c.curves).view()).ln_likelihood(&c.x, process).unwrap();
        close(found, c.ln_likelihood, 1e-10);
    }
    // Both optima are searched for, ours from a grid, theirs from thirty random starts.
    for c in stats().two_sample {
        let found = two_sample(&c.x, rows(&c.first).view(), rows(&c.second).view()).unwrap();
        assert!((found.ln_bayes - c.ln_bayes).abs() < 1e-3, "{} is not {}", found.ln_bayes, c.ln_bayes);
    }
}
