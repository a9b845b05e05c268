//! MSSVAE on the Gaussian simulation, one line for each seed:
//! `mssvae_gaussian FROM TO [preset=paper] [size=FEATURES,OBSERVATIONS,SHARED,OWN] [rna=FEATURES,OBSERVATIONS[,SHARED,OWN]] [NAME=VALUE …]`.
//!
//! `size` is another size of the design, with so many observations in each study.
//! With `rna` on the simulation of counts of that size, from 50 shared and 10 own columns, shared factors of more than a quarter of
//! the features left out as published.
//!
//! Seeds FROM to TO − 1 are those of the data and of the fit. Scores are those of `unbraid evaluate factors`. With SHOW in the
//! environment the factors are listed on standard error; NODIS leaves the disentanglement at 0, which saves seconds.

use std::time::Instant;

use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method, Seed};
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::mssvae::{Mssvae, MssvaeFit};
use unbraid::methods::multistudy::studies::Studies;
use unbraid::metrics::disentanglement::disentanglement;
use unbraid::metrics::supports::{BlockScores, block_scores};
use unbraid::params::Params;
use unbraid::report::SupportRule;
use unbraid::simulate::multistudy::MultistudySample;
use unbraid::simulate::multistudy::gaussian::MultistudyDesign;
use unbraid::simulate::multistudy::rna::MultistudyRnaDesign;

fn params(settings: &[String]) -> Mssvae {
    let preset = settings.iter().find_map(|s| s.strip_prefix("preset="));
    let base = preset.map_or(Some(Mssvae::default()), Mssvae::preset).expect("no such preset");
    let base = match counts(settings) {
        Some(_) => Mssvae { likelihood: Law::NegBinomial, shared: 50, specific: 10, ..base },
        None => base,
    };
    let mut all = serde_json::to_value(base).expect("parameters");
    let pairs = settings.iter().filter_map(|s| s.split_once('='));
    for (name, value) in pairs.filter(|(n, _)| !["preset", "rna", "size"].contains(n)) {
        let text = all[name].is_string();
        let read = serde_json::from_str(value).ok().filter(|_| !text);
        let value = read.unwrap_or_else(|| value.into());
        all[name] = value;
    }
    serde_json::from_value(all).expect("a parameter and its value")
}

fn numbers(settings: &[String], name: &str) -> Option<Vec<usize>> {
    let numbers = settings.iter().find_map(|s| s.strip_prefix(name))?.split(',');
    Some(numbers.map(|n| n.parse().expect("a number")).collect())
}

/// The simulation with Gaussian noise, of its own size or another.
fn gaussian(settings: &[String]) -> MultistudyDesign {
    match numbers(settings, "size=").as_deref() {
        None => MultistudyDesign::default(),
        Some(&[features, observations, shared, specific]) => {
            MultistudyDesign { features, observations, shared, specific, ..MultistudyDesign::default() }
        }
        Some(_) => panic!("four numbers"),
    }
}

/// Sizes of the simulation of counts, if it is asked for.
fn counts(settings: &[String]) -> Option<MultistudyRnaDesign> {
    let numbers = numbers(settings, "rna=")?;
    let base = MultistudyRnaDesign::default();
    Some(match numbers[..] {
        [features, observations, shared, specific] => {
            MultistudyRnaDesign { features, observations, shared, specific, ..base }
        }
        [features, observations] => MultistudyRnaDesign { features, observations, ..base },
        _ => panic!("two or four numbers"),
    })
}

fn judge(sample: &MultistudySample, fit: &MssvaeFit) -> BlockScores {
    let truth = sample.loadings.mapv(|w| w != 0.0);
    let owners = fit.owners();
    let widest = if fit.network.decoder.law == Law::NegBinomial { 0.25 } else { 1.0 };
    let rule = SupportRule { threshold: fit.threshold, relative: false, fewest: 1, widest };
    let found = rule.apply(fit.mask().view(), &owners);
    block_scores((truth.view(), &sample.owner), (found.view(), &owners), 3).expect("the same features")
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [from, to]: [u64; 2] = [1, 2].map(|at| args[at].parse().expect("a seed"));
    let params = params(&args[3..]);
    println!(
        "seed,shared_consensus,shared_relevance,shared_recovery,specific_consensus,specific_relevance,specific_recovery,disentanglement,columns,seconds"
    );
    for seed in (from..to).map(Seed) {
        let sample = match counts(&args[3..]) {
            Some(design) => design.sample(seed),
            None => gaussian(&args[3..]).sample(seed),
        };
        let sample = sample.expect("the design");
        let study: Vec<u32> = sample.study.iter().map(|&m| m as u32).collect();
        let names: Vec<String> = (0..3).map(|m| format!("study{m}")).collect();
        let matrix = Matrix::Dense(sample.x.clone());
        let input = Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
        let begun = Instant::now();
        let fit = params.fit(input, &mut Ctx::new(seed, &mut ())).expect("a fit");
        let seconds = begun.elapsed().as_secs_f64();
        let scores = judge(&sample, &fit);
        let codes = fit.codes();
        let apart = match codes.is_empty() || std::env::var_os("NODIS").is_some() {
            true => 0.0,
            false => disentanglement(codes.view(), sample.scores.view()).expect("as many rows").score,
        };
        let (shared, own) = (scores.shared.expect("shared factors"), scores.mean().expect("own factors"));
        println!(
            "{},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4},{apart:.4},{},{seconds:.1}",
            seed.0,
            shared.consensus,
            shared.relevance,
            shared.recovery,
            own.consensus,
            own.relevance,
            own.recovery,
            fit.parts.len()
        );
        if std::env::var_os("SHOW").is_some() {
            eprintln!(
                "seed {}: loss {:.3}, promoted {}",
                seed.0,
                fit.objective.last().expect("an epoch"),
                fit.promoted
            );
            let name = |o: &Option<usize>| o.map_or("shared".to_owned(), |m| format!("study{m}"));
            for (part, support) in fit.parts.iter().zip(fit.supports()) {
                eprintln!("  {} {:?} {support:?}", name(&part.owner), part.from);
            }
        }
    }
}
