//! Fits of small studies with known factors, and what is refused.

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::data::{Column, Matrix, Value, Values};
use crate::fit::{Draw, Flow, Observer, Seed, Step};
use crate::metrics::supports::{SupportScores, block_scores};
use crate::simulate::multistudy::MultistudySample;
use crate::simulate::multistudy::rna::MultistudyRnaDesign;

/// Two studies of 200 samples; features 0–9 follow a shared factor, 10–19 another, 20–25 one of study 0, 26–31 one of
/// study 1; unit noise of variance 0.04.
pub(super) fn planted(seed: u64) -> (Array2<f64>, Vec<u32>, Vec<String>) {
    let mut rng = Seed(seed).stream(Draw::Simulate, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let study: Vec<u32> = (0..400).map(|i| i % 2).collect();
    let mut x = Array2::zeros((400, 32));
    for (i, mut row) in x.rows_mut().into_iter().enumerate() {
        let z = [normal(), normal(), normal()];
        for (j, to) in row.iter_mut().enumerate() {
            let factor = match j {
                0..10 => 2.0 * z[0],
                10..20 => 2.0 * z[1],
                20..26 if study[i] == 0 => 2.0 * z[2],
                26.. if study[i] == 1 => 2.0 * z[2],
                _ => 0.0,
            };
            *to = factor + 0.2 * normal();
        }
    }
    (x, study, vec!["a".into(), "b".into()])
}

pub(super) fn small() -> Mssvae {
    Mssvae { shared: 4, specific: 2, hidden: [16, 16], epochs: 150, batch: 100, ..Mssvae::default() }
}

/// Steps of the linear start as they are told: done, and of how many.
#[derive(Default)]
struct Starts(Vec<(usize, usize)>);

impl Observer for Starts {
    fn step(&mut self, at: Step, _: usize, _: usize) -> Flow {
        if let Step::Start(done, of) = at {
            self.0.push((done, of));
        }
        Flow::Continue
    }
}

fn fit(params: &Mssvae, x: &Array2<f64>, study: &[u32], names: &[String]) -> Result<MssvaeFit> {
    watched(params, x, study, names, &mut Starts::default())
}

fn watched(
    params: &Mssvae,
    x: &Array2<f64>,
    study: &[u32],
    names: &[String],
    starts: &mut Starts,
) -> Result<MssvaeFit> {
    let matrix = Matrix::Dense(x.clone());
    let input = Studies { values: Values { what: "X", matrix: &matrix }, study, names };
    params.fit(input, &mut Ctx::new(Seed(1), starts))
}

#[test]
fn planted_factors_are_found_with_exact_zeros_elsewhere() {
    let (x, study, names) = planted(1);
    let found = fit(&small(), &x, &study, &names).unwrap();
    let (supports, owners) = (found.supports(), found.owners());
    let of = |who| (0..owners.len()).filter(|&f| owners[f] == who).map(|f| supports[f].clone()).collect();
    let shared: Vec<Vec<usize>> = of(None);
    assert!(shared.contains(&(0..10).collect()), "{supports:?}");
    assert!(shared.contains(&(10..20).collect()), "{supports:?}");
    // So short a fit may take a study's factor for noise, but not both.
    assert!(owners.iter().any(Option::is_some), "{supports:?}");
    let raw = found.weights();
    let zeros = raw.iter().filter(|w| **w == 0.0).count();
    assert!(2 * zeros > raw.len(), "{zeros} zeros");
    // Factors are columns of W, and scores their latents, turned together.
    for (f, part) in found.parts.iter().enumerate() {
        let [(k, sign)] = part.from[..] else { panic!("two studies' copies of one block") };
        assert!(found.mask().column(f).iter().zip(raw.column(k)).all(|(a, b)| *a == sign * b));
        assert!(found.mask().column(f).sum() >= 0.0);
        assert_eq!(found.codes()[[7, f]], sign * found.latents[[7, k]]);
        assert_eq!(found.member().column(f), found.membership.member.column(k));
    }
    let mut slots = crate::data::Annotations::default();
    crate::fit::Annotate::annotate(&found, "m", &mut slots);
    let Value::Map(notes) = &slots.uns["m"] else { panic!("no notes") };
    let Value::Table(table) = &notes["factors"] else { panic!("no table") };
    let named = |o: &Option<usize>| Some(o.map_or("shared".into(), |m: usize| names[m].clone()));
    assert_eq!(table.column("study"), Some(&Column::Text(owners.iter().map(named).collect())));
    assert!(found.objective[149] < found.objective[0]);
    assert!(found.latents.iter().chain(&found.noise()).all(|v| v.is_finite()));
    // A sample has nothing in the columns of the other study.
    assert!((0..400).all(|i| found.columns.own(1 - i % 2).all(|k| found.latents[[i, k]] == 0.0)));
}

#[test]
fn counts_are_fitted_and_other_values_refused() {
    let (x, study, names) = planted(2);
    let counts = x.mapv(|v| (20.0 * (0.5 * v).exp()).floor());
    let params = Mssvae { likelihood: Law::NegBinomial, epochs: 6, learning_rate: 1e-3, ..small() };
    let found = fit(&params, &counts, &study, &names).unwrap();
    assert!(found.objective[5] < found.objective[0], "{:?}", found.objective);
    assert_eq!(found.log_sizes.len(), 400);
    let text = |e: Error| e.to_string();
    let halves = counts.mapv(|v| v + 0.5);
    assert!(text(fit(&params, &halves, &study, &names).unwrap_err()).contains("fractions=true"));
    assert!(fit(&Mssvae { fractions: true, epochs: 1, ..params.clone() }, &halves, &study, &names).is_ok());
    assert!(text(fit(&params, &x, &study, &names).unwrap_err()).contains("0 or larger"));
}

/// Half of ten epochs in steps that fall to a fifth, and a fit that ends otherwise.
#[test]
fn steps_fall_at_the_end_where_they_are_asked_to() {
    let (x, study, names) = planted(1);
    let matrix = Matrix::Dense(x.clone());
    let input = Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
    let params = Mssvae { epochs: 10, decay: 0.5, ..small() };
    let problem = Problem::new(&params, &input).unwrap();
    let pace: Vec<f64> = (0..10).map(|epoch| problem.pace(epoch)).collect();
    assert_eq!(pace, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]);
    let even = Mssvae { decay: 0.0, ..params.clone() };
    let [falling, even] = [params, even].map(|p| fit(&p, &x, &study, &names).unwrap().objective);
    assert_eq!(falling[..6], even[..6]);
    assert_ne!(falling[9], even[9]);
}

/// Counts whose factors move them by an order of magnitude: their moments look like dispersion alone, from which no factor was ever
/// found.
#[test]
fn factors_of_counts_are_found() {
    let (x, study, names) = planted(2);
    let counts = x.mapv(|v| (20.0 * v.exp()).floor());
    let base = Mssvae { likelihood: Law::NegBinomial, epochs: 400, ..small() };
    let supports = fit(&base, &counts, &study, &names).unwrap().supports();
    let blocks = [0..10, 10..20, 20..26, 26..32].map(|block| block.collect::<Vec<usize>>());
    // So short a fit may leave two blocks in one factor, or one out, but not more.
    let there = blocks.iter().filter(|block| supports.contains(block)).count();
    assert!(there >= 2, "{supports:?}");
}

/// Recovery of the shared factors and of the studies' own, on average.
fn recovered(found: &MssvaeFit, sample: &MultistudySample) -> [f64; 2] {
    let truth = sample.loadings.mapv(|w| w != 0.0);
    let supports = found.mask().mapv(|w| w.abs() > found.threshold);
    let owners = found.owners();
    let scores = block_scores((truth.view(), &sample.owner), (supports.view(), &owners), 3).unwrap();
    let of = |s: Option<SupportScores>| s.map_or(0.0, |s| s.recovery);
    [of(scores.shared), scores.studies.into_iter().map(of).sum::<f64>() / 3.0]
}

#[test]
fn the_linear_start_finds_factors_of_counts_in_few_steps() {
    let design = MultistudyRnaDesign {
        features: 200,
        observations: 900,
        shared: 8,
        specific: 2,
        ..Default::default()
    };
    let sample = design.sample(Seed(5)).unwrap();
    let study: Vec<u32> = sample.study.iter().map(|m| *m as u32).collect();
    let names: Vec<String> = ["a", "b", "c"].map(String::from).into();
    let base = Mssvae {
        likelihood: Law::NegBinomial,
        shared: 14,
        specific: 4,
        hidden: [32, 16],
        encoder: [64, 32],
        batch: 60,
        prior_scale: PriorScale::Samples(256),
        stages: [0.2, 0.5],
        learning_rate: 0.003,
        epochs: 30,
        ..Mssvae::default()
    };
    let of = |start| {
        let mut starts = Starts::default();
        let params = Mssvae { start, ..base.clone() };
        (watched(&params, &sample.x, &study, &names, &mut starts).unwrap(), starts.0)
    };
    let ((auto, starts), (random, none)) = (of(Origin::Auto), of(Origin::Random));
    assert!(none.is_empty(), "a random start has no steps");
    let all = starts[0].1;
    assert!(starts.iter().all(|s| s.1 == all) && starts.windows(2).all(|w| w[0].0 <= w[1].0));
    assert!(starts[0].0 == 1 && starts[starts.len() - 1].0 == all, "{starts:?}");
    let [linear, random] = [&auto, &random].map(|found| recovered(found, &sample));
    assert!(linear[0] > 0.95 && linear[1] > 0.75, "{linear:?}");
    assert!(random[0] < 0.8 && random[1] < 0.7, "{random:?}");
}

#[test]
fn a_linear_start_needs_samples_and_features_for_its_columns() {
    let (x, study, names) = planted(2);
    let counts = x.mapv(|v| (20.0 * v.exp()).floor());
    let base = Mssvae { likelihood: Law::NegBinomial, shared: 31, specific: 2, epochs: 1, ..small() };
    let why = fit(&Mssvae { start: Origin::Linear, ..base.clone() }, &counts, &study, &names).unwrap_err();
    let why = why.to_string();
    assert!(why.contains("`start`") && why.contains("33 columns"), "{why}");
    assert!(fit(&base, &counts, &study, &names).is_ok(), "the random start where there are too few");
    let one = Mssvae { shared: 4, start: Origin::Linear, ..base };
    assert!(fit(&one, &counts, &study, &names).unwrap().weights().iter().any(|w| *w == 0.0));
}

#[test]
fn a_short_rest_of_an_epoch_is_dealt_to_all_batches() {
    let sizes = |samples, batch| {
        let (mut at, mut out) = (0, Vec::new());
        while at < samples {
            let end = train::batch_end(samples, batch, at);
            assert!(end > at && end <= samples);
            out.push(end - at);
            at = end;
        }
        out
    };
    assert_eq!(sizes(3200, 512), [457, 457, 457, 457, 457, 457, 458]);
    assert_eq!(sizes(3000, 512), [512, 512, 512, 512, 512, 440]);
    assert_eq!(sizes(1024, 512), [512, 512]);
    assert_eq!(sizes(700, 512), [350, 350]);
    assert_eq!(sizes(100, 512), [100]);
}

#[test]
fn a_scale_of_priors_is_a_word_or_a_number() {
    for scale in [PriorScale::Batch, PriorScale::Dataset, PriorScale::Samples(256)] {
        assert_eq!(scale.to_string().parse(), Ok(scale));
    }
    assert!("0".parse::<PriorScale>().is_err() && "half".parse::<PriorScale>().is_err());
}

#[test]
fn studies_and_parameters_out_of_range_are_refused() {
    let (x, study, names) = planted(3);
    let one = vec![0u32; 400];
    let lone: Vec<u32> = (0..400).map(|i| u32::from(i == 7)).collect();
    for (study, names, word) in [
        (&one, &names[..1], "second study"),
        (&lone, &names[..], "second sample of study `b`"),
        (&study[..9].to_vec(), &names[..], "studies"),
        (&study, &names[..1], "study 1"),
    ] {
        let why = fit(&small(), &x, study, names).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
    for (params, word) in [
        (Mssvae { lambda0: 0.05, ..small() }, "lambda0"),
        (Mssvae { batch: 3, ..small() }, "batch"),
        (Mssvae { hidden: [0, 5], ..small() }, "hidden"),
        (Mssvae { encoder: [0, 5], ..small() }, "encoder"),
        (Mssvae { dispersion: 0.0, ..small() }, "dispersion"),
        (Mssvae { epochs: 0, ..small() }, "epochs"),
        (Mssvae { learning_rate: f64::NAN, ..small() }, "learning_rate"),
        (Mssvae { b: 0.5, ..small() }, "`b`"),
        (Mssvae { warmup: -0.1, ..small() }, "warmup"),
        (Mssvae { decay: 1.1, ..small() }, "decay"),
        (Mssvae { stages: [0.3, 0.2], ..small() }, "stages"),
        (Mssvae { stages: [0.3, f64::NAN], ..small() }, "stages"),
        (Mssvae { tau: 1.5, ..small() }, "tau"),
        (Mssvae { min_support: 0, ..small() }, "min_support"),
        (Mssvae { shared: 0, specific: 0, ..small() }, "shared"),
    ] {
        let why = fit(&params, &x, &study, &names).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
    let mut odd = x.clone();
    odd[[3, 4]] = f64::NAN;
    assert!(fit(&small(), &odd, &study, &names).unwrap_err().to_string().contains("row 3, column 4"));
}
