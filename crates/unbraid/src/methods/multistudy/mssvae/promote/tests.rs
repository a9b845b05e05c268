//! A factor of both studies that one of them holds in a column of its own, and what becomes of it.

use ndarray::Array2;

use super::*;
use crate::data::{Matrix, Values};
use crate::fit::{Course, Ctx, Iterate, Seed, Step, Stop};
use crate::methods::multistudy::merge::Part;
use crate::methods::multistudy::mssvae::Mssvae;
use crate::methods::multistudy::mssvae::tests::{planted, small};
use crate::methods::multistudy::network::Skip;
use crate::methods::multistudy::studies::Studies;

/// Trains to the end of so many epochs.
fn train(problem: &Problem<'_>, s: &mut State, epochs: usize) {
    while s.epoch < epochs || s.promotions.trial.is_some() {
        problem.step(s).unwrap();
    }
}

fn set(problem: &Problem<'_>, s: &State, k: usize) -> Vec<usize> {
    let w = s.network.decoder.w.value.column(k);
    (0..w.len()).filter(|&j| f64::from(w[j].abs()) > problem.params.threshold).collect()
}

/// A shared column becomes own columns of some studies, every second with the other sign, as if no other had learnt it.
fn lose(problem: &Problem<'_>, s: &mut State, shared: usize, to: &[usize]) -> Vec<usize> {
    let x = &problem.x;
    let codes: Array1<f64> = elbo::encode(&s.network, 0, x.view()).mean.column(shared).mapv(f64::from);
    let member = s.membership.member.column(shared).to_owned();
    let mut made = Vec::new();
    for &m in to {
        let own =
            problem.columns.own(m).find(|&k| set(problem, s, k).is_empty()).expect("an empty own column");
        let sign = if made.len() % 2 == 0 { 1.0 } else { -1.0 };
        let decoder = &mut s.network.decoder;
        decoder.w.copy_column(shared, own);
        decoder.w.value.column_mut(own).mapv_inplace(|w| w * sign as f32);
        decoder.v1.copy_column(shared, own);
        if let Skip::Projected(p) = &mut decoder.skip {
            p.copy_column(shared, own);
        }
        s.membership.member.column_mut(own).assign(&member);
        let encoder = s.network.own[m].as_mut().unwrap();
        let (slopes, constant, left) =
            regression(&encoder.top(x.view()).mapv(f64::from), codes.mapv(|z| z * sign));
        encoder.set_output(own - problem.columns.own(m).start, &slopes, constant, left.ln());
        made.push(own);
    }
    s.network.decoder.w.clear_column(shared);
    s.membership.member.column_mut(shared).fill(0.0);
    let encoder = s.network.shared.as_mut().unwrap();
    let none = vec![0.0; encoder.mean.weight.value.ncols()];
    encoder.set_output(shared, &none, 0.0, 0.0);
    made
}

/// The shared column on these features.
fn on(problem: &Problem<'_>, s: &State, block: &[usize]) -> usize {
    (0..problem.columns.shared).find(|&k| set(problem, s, k) == block).expect("a shared column")
}

fn correlation(pairs: &[[f64; 2]]) -> f64 {
    let mean = |f: &dyn Fn(&[f64; 2]) -> f64| pairs.iter().map(f).sum::<f64>() / pairs.len() as f64;
    let (a, b) = (mean(&|p| p[0]), mean(&|p| p[1]));
    mean(&|p| (p[0] - a) * (p[1] - b))
        / (mean(&|p| (p[0] - a).powi(2)) * mean(&|p| (p[1] - b).powi(2))).sqrt()
}

fn with<T>(params: &Mssvae, f: impl FnOnce(&Problem<'_>) -> T) -> T {
    let (x, study, names) = planted(1);
    let matrix = Matrix::Dense(x);
    let values = Values { what: "X", matrix: &matrix };
    f(&Problem::new(params, &Studies { values, study: &study, names: &names }).unwrap())
}

fn params(promote: bool) -> Mssvae {
    Mssvae { promote, epochs: 200, ..small() }
}

#[test]
fn a_survivor_in_one_study_becomes_a_shared_column() {
    let (lost, own) = with(&params(false), |problem| {
        let mut s = problem.start(Seed(1)).unwrap();
        train(problem, &mut s, 80);
        let block: Vec<usize> = (0..10).collect();
        let shared = on(problem, &s, &block);
        let own = lose(problem, &mut s, shared, &[0])[0];
        train(problem, &mut s, 99);
        let found = problem.candidates(&s);
        assert_eq!(found.iter().map(|c| c.column).collect::<Vec<_>>(), [own]);
        assert_eq!(found[0].emptied, [own]);
        (postcard::to_stdvec(&s).unwrap(), own)
    });
    let end = |promote: bool| {
        with(&params(promote), |problem| {
            let mut s: State = postcard::from_bytes(&lost).unwrap();
            train(problem, &mut s, 200);
            let block: Vec<usize> = (0..10).collect();
            let on: Vec<usize> =
                (0..problem.columns.total()).filter(|&k| set(problem, &s, k) == block).collect();
            (s.promotions.made, on, elbo::encode(&s.network, 1, problem.x.view()).mean)
        })
    };
    // Left alone it stays where it is, and nothing tells of b.
    let (made, on, _) = end(false);
    assert_eq!((made, on), (0, vec![own]));
    let (made, on, codes) = end(true);
    assert_eq!((made, on.len()), (1, 1));
    assert!(on[0] < 4, "{on:?}");
    let (x, study, _) = planted(1);
    // The mean of its features is 2 z but for noise of variance 0.004.
    let of_b: Vec<usize> = (0..400).filter(|&i| study[i] == 1).collect();
    let pairs: Vec<[f64; 2]> = of_b
        .iter()
        .map(|&i| [f64::from(codes[[i, on[0]]]), (0..10).map(|j| x[[i, j]]).sum::<f64>() / 20.0])
        .collect();
    let cor = correlation(&pairs);
    assert!(cor.abs() > 0.98, "{cor}");
}

/// The simulator's data, whose every third feature follows squares: a shared factor is taken from all studies but one, or is
/// a copy in each.
#[test]
fn a_block_of_the_simulation_is_promoted_or_merged() {
    use crate::simulate::multistudy::gaussian::MultistudyDesign;
    let design = MultistudyDesign {
        studies: 2,
        observations: 300,
        features: 60,
        shared: 3,
        specific: 1,
        noise: 0.05,
        ..Default::default()
    };
    let sample = design.sample(Seed(3)).unwrap();
    let matrix = Matrix::Dense(sample.x.clone());
    let study: Vec<u32> = sample.study.iter().map(|m| *m as u32).collect();
    let names = ["a".to_owned(), "b".to_owned()];
    let params = Mssvae {
        promote: true,
        shared: 5,
        specific: 2,
        hidden: [16, 16],
        epochs: 400,
        batch: 100,
        ..Mssvae::default()
    };
    let input = Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
    let problem = Problem::new(&params, &input).unwrap();
    let mut s = problem.start(Seed(1)).unwrap();
    train(&problem, &mut s, 180);
    // The shared column whose set overlaps a true block most.
    let blocks = design.blocks();
    let like = |k: usize, b: usize| {
        let block: Vec<usize> = blocks[b].clone().collect();
        crate::metrics::supports::jaccard(&set(&problem, &s, k), &block)
    };
    let pairs = (0..5).flat_map(|k| (0..3).map(move |b| (k, b)));
    let (shared, block) = pairs.max_by(|p, q| like(p.0, p.1).total_cmp(&like(q.0, q.1))).unwrap();
    assert!(like(shared, block) > 0.6);
    let healthy = postcard::to_stdvec(&s).unwrap();

    lose(&problem, &mut s, shared, &[1]);
    train(&problem, &mut s, 300);
    assert_eq!(s.promotions.made, 1);
    let codes = elbo::encode(&s.network, 0, problem.x.view()).mean;
    let of_a: Vec<usize> = (0..600).filter(|&i| study[i] == 0).collect();
    let cor = (0..5).map(|k| {
        let pairs: Vec<[f64; 2]> =
            of_a.iter().map(|&i| [f64::from(codes[[i, k]]), sample.scores[[i, block]]]).collect();
        correlation(&pairs).abs()
    });
    let best = cor.filter(|c| c.is_finite()).fold(0.0, f64::max);
    assert!(best > 0.95, "{best}");

    let mut s: State = postcard::from_bytes(&healthy).unwrap();
    let block = set(&problem, &s, shared);
    let made = lose(&problem, &mut s, shared, &[0, 1]);
    assert!(problem.candidates(&s).is_empty(), "merge sees to copies");
    let course = Course { state: s, objective: vec![1.0] };
    let fit = problem.finish(course, Stop::MaxSteps, &mut Ctx::new(Seed(1), &mut ())).unwrap();
    let merged: Vec<&Part> = fit.parts.iter().filter(|p| p.from.len() == 2).collect();
    assert_eq!(merged.len(), 1);
    assert_eq!((merged[0].owner, merged[0].support(params.threshold)), (None, block));
    let mut from: Vec<usize> = merged[0].from.iter().map(|(k, _)| *k).collect();
    from.sort_unstable();
    assert_eq!(from, made);
    assert!(merged[0].from[0].1 * merged[0].from[1].1 < 0.0, "one study has the other sign");
}

/// Own columns that hold most of a block, and whether a shared one does.
fn holders(problem: &Problem<'_>, s: &State, block: &[usize]) -> (Vec<usize>, bool) {
    let like = |k: &usize| crate::metrics::supports::jaccard(&set(problem, s, *k), block) >= 0.5;
    let shared = problem.columns.shared;
    ((shared..problem.columns.total()).filter(like).collect(), (0..shared).any(|k| like(&k)))
}

/// Seeds of the simulation that fail where there is no warm-up and little time: in 11, study 2 alone keeps the shared block 36–47; in
/// 12 each study has a copy of 27–38. On a processor whose last bits lead elsewhere the block is taken out by hand.
#[test]
fn failing_seeds_of_the_simulation_are_repaired() {
    use crate::simulate::multistudy::gaussian::MultistudyDesign;
    let params = Mssvae { promote: true, warmup: 0.0, epochs: 100, ..Mssvae::default() };
    let names = ["a", "b", "c"].map(String::from);
    for (seed, block, keepers) in [(11, 36..48, &[2][..]), (12, 27..39, &[0, 1, 2])] {
        let sample = MultistudyDesign::default().sample(Seed(seed)).unwrap();
        let matrix = Matrix::Dense(sample.x.clone());
        let study: Vec<u32> = sample.study.iter().map(|m| *m as u32).collect();
        let values = Values { what: "X", matrix: &matrix };
        let problem = Problem::new(&params, &Studies { values, study: &study, names: &names }).unwrap();
        let block: Vec<usize> = block.collect();
        let mut s = problem.start(Seed(seed)).unwrap();
        // The last look before candidates are due.
        train(&problem, &mut s, 49);
        let (own, shared) = holders(&problem, &s, &block);
        if shared || own.len() != keepers.len() {
            let like = |k: &usize| crate::metrics::supports::jaccard(&set(&problem, &s, *k), &block);
            let best = (0..problem.columns.shared).max_by(|a, b| like(a).total_cmp(&like(b))).unwrap();
            lose(&problem, &mut s, best, keepers);
        }
        train(&problem, &mut s, 100);
        assert_eq!(s.promotions.made, usize::from(keepers.len() == 1), "seed {seed}");
        let (_, shared) = holders(&problem, &s, &block);
        assert_eq!(shared, keepers.len() == 1, "seed {seed}: before merging");
        let course = Course { state: s, objective: vec![1.0] };
        let fit = problem.finish(course, Stop::MaxSteps, &mut Ctx::new(Seed(1), &mut ())).unwrap();
        let found = fit.parts.iter().find(|p| {
            p.owner.is_none() && crate::metrics::supports::jaccard(&p.support(params.threshold), &block) > 0.8
        });
        assert_eq!(found.unwrap().from.len(), keepers.len(), "seed {seed}");
    }
}

/// A comparison that is cut off in either run goes on to the same bits, and the one without counts for no epoch.
#[test]
fn a_trial_goes_on_from_a_snapshot() {
    with(&params(true), |problem| {
        let mut s = problem.start(Seed(1)).unwrap();
        train(problem, &mut s, 80);
        let shared = on(problem, &s, &(0..10).collect::<Vec<_>>());
        lose(problem, &mut s, shared, &[0]);
        while s.promotions.trial.is_none() {
            problem.step(&mut s).unwrap();
        }
        assert_eq!(s.epoch, 100);
        let mut sweeps = 0;
        let mut snapshots = vec![postcard::to_stdvec(&s).unwrap()];
        let mut steps = 0;
        while s.promotions.trial.is_some() {
            sweeps += usize::from(matches!(problem.step(&mut s).unwrap(), Step::Sweep(_)));
            steps += 1;
            if [13, 130].contains(&steps) {
                snapshots.push(postcard::to_stdvec(&s).unwrap());
            }
        }
        assert_eq!((steps, sweeps, s.epoch), (160, 20, 120));
        let w = s.network.decoder.w.value.clone();
        for bytes in snapshots {
            let mut again: State = postcard::from_bytes(&bytes).unwrap();
            while again.promotions.trial.is_some() {
                problem.step(&mut again).unwrap();
            }
            assert_eq!(again.network.decoder.w.value, w);
        }
    });
}

/// Studies' own factors and copies that merge joins are left alone.
#[test]
fn factors_of_one_study_and_copies_are_no_candidates() {
    with(&params(true), |problem| {
        let mut s = problem.start(Seed(1)).unwrap();
        train(problem, &mut s, 100);
        let own = (0..2).flat_map(|m| problem.columns.own(m));
        let held: Vec<usize> = own.filter(|&k| set(problem, &s, k).len() >= 3).collect();
        assert!(!held.is_empty());
        let found = problem.candidates(&s);
        assert!(found.iter().all(|c| set(problem, &s, c.column).iter().all(|j| *j < 20)), "{found:?}");
    });
}

#[test]
fn the_regression_is_that_of_a_line() {
    let a = ndarray::array![[0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [4.0, 0.5]];
    let (slopes, constant, left) = regression(&a, a.column(0).mapv(|v| 3.0 * v - 1.0));
    assert!((slopes[0] - 3.0).abs() < 0.01 && slopes[1].abs() < 0.01);
    assert!((constant + 1.0).abs() < 0.01 && left < 1e-3);
    // Nothing that varies leaves the constant.
    let (_, constant, left) = regression(&Array2::ones((3, 2)), ndarray::array![1.0, 2.0, 3.0]);
    assert!((constant - 2.0).abs() < 1e-9 && (left - 2.0 / 3.0).abs() < 1e-9);
}
