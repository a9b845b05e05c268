//! MSSVAE on the Gaussian simulation, one line for each seed: `mssvae_gaussian FROM TO [preset=paper] [NAME=VALUE …]`.
//!
//! Seeds FROM to TO − 1 are those of the data and of the fit. Scores are those of `unbraid evaluate factors`.

use std::time::Instant;

use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method, Seed};
use unbraid::methods::multistudy::mssvae::{Mssvae, MssvaeFit};
use unbraid::methods::multistudy::studies::Studies;
use unbraid::metrics::disentanglement::disentanglement;
use unbraid::metrics::supports::{BlockScores, block_scores, supports};
use unbraid::params::Params;
use unbraid::simulate::multistudy::MultistudySample;
use unbraid::simulate::multistudy::gaussian::MultistudyDesign;

fn params(settings: &[String]) -> Mssvae {
    let preset = settings.iter().find_map(|s| s.strip_prefix("preset="));
    let base = preset.map_or(Some(Mssvae::default()), Mssvae::preset).expect("no such preset");
    let mut all = serde_json::to_value(base).expect("parameters");
    for (name, value) in settings.iter().filter_map(|s| s.split_once('=')).filter(|(n, _)| *n != "preset") {
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        all[name] = value;
    }
    serde_json::from_value(all).expect("a parameter and its value")
}

fn judge(sample: &MultistudySample, fit: &MssvaeFit) -> BlockScores {
    let truth = sample.loadings.mapv(|w| w != 0.0);
    let (found, owners) = (supports(fit.mask().view(), fit.threshold), fit.owners());
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
        let sample = MultistudyDesign::default().sample(seed).expect("the design");
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
            let name = |o: &Option<usize>| o.map_or("shared".to_owned(), |m| format!("study{m}"));
            for (part, support) in fit.parts.iter().zip(fit.supports()) {
                eprintln!("  {} {:?} {support:?}", name(&part.owner), part.from);
            }
        }
    }
}
