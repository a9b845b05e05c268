//! Golden values of tiny models: forward, gradients, three optimiser steps with E-steps, evaluation. And finite differences.

use ndarray::{Array1, Axis, Ix1, Ix2, Ix3, s};
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;

use super::*;
use crate::fit::{Draw, Seed};
use crate::golden::Golden;
use crate::methods::multistudy::Columns;
use crate::methods::multistudy::fused::Fused;
use crate::methods::multistudy::likelihood::{Law, Row};
use crate::methods::multistudy::network::{Network, SkipKind};
use crate::methods::multistudy::plain::Plain;
use crate::nn::adam::Adam;
use crate::nn::check;

const CASES: [&str; 5] = ["gauss_direct", "gauss_projected", "gauss_noskip", "gauss_sparse", "nb_direct"];

/// A golden case as a model.
struct Case {
    golden: Golden,
    note: Value,
    net: Network<f64>,
    /// Original places of the samples, study by study.
    order: Vec<usize>,
    /// Study of each sample, in that order.
    study: Vec<usize>,
    x: Array2<f64>,
    prior: Prior,
    slab: Slab,
}

impl Case {
    fn open(name: &str) -> Case {
        let golden = Golden::open(&format!("mssvae/{name}"));
        let note = format!("{}/../../testdata/golden/mssvae/{name}/origin.json", env!("CARGO_MANIFEST_DIR"));
        let note: Value = serde_json::from_str(&std::fs::read_to_string(note).unwrap()).unwrap();
        let whole = |v: &Value| v.as_u64().unwrap() as usize;
        let list = |v: &Value| v.as_array().unwrap().iter().map(whole).collect::<Vec<_>>();
        let columns = Columns { shared: whole(&note["K_S"]), specific: list(&note["K_m"]) };
        let law = if note["likelihood"] == "gauss" { Law::Gaussian } else { Law::NegBinomial };
        let skip: SkipKind = note["skip"].as_str().unwrap().parse().unwrap();
        let hidden = list(&note["hidden"]);
        let x = golden.array::<Ix2>("x");
        let mut net = Network::new(law, x.ncols(), columns, [hidden[0], hidden[1]].into(), skip, Seed(0));
        net.visit(&mut |name, p| p.value = read(&golden, &format!("param/{name}"), p.value.dim()));
        // The study of a sample shows in its latents: a study's own columns are 0 in the others'.
        let mu = golden.array::<Ix2>("fwd/mu");
        let study: Vec<usize> = (mu.rows().into_iter())
            .map(|row| (0..net.own.len()).find(|&m| net.columns.own(m).any(|k| row[k] != 0.0)).unwrap())
            .collect();
        let mut order: Vec<usize> = (0..x.nrows()).collect();
        order.sort_by_key(|&i| study[i]);
        let float = |v: &Value| v.as_f64().unwrap();
        let noise = match &note["inverse_gamma"] {
            Value::Null => None,
            v => Some(Noise { variance: 1.0, alpha: float(&v["alpha"]), beta: float(&v["beta"]) }),
        };
        let size = match &note["library_prior"] {
            Value::Null => (0.0, 1.0),
            v => (float(&v[0]), float(&v[1])),
        };
        let prior = Prior { size, noise, divisor: float(&note["N"]), kl: 1.0 };
        let slab = Slab {
            lambda0: float(&note["lambda0"]),
            lambda1: float(&note["lambda1"]),
            a: float(&note["a"]),
            b: float(&note["b"]),
        };
        let study = order.iter().map(|&i| study[i]).collect();
        Case { golden, note, net, order, study, x, prior, slab }
    }

    fn input(&self) -> Array2<f64> {
        let x = self.x.select(Axis(0), &self.order);
        if self.net.decoder.law == Law::Gaussian { x } else { x.mapv(f64::ln_1p) }
    }

    /// The mini-batch of step `t`.
    fn batch(&self, t: usize) -> Batch<f64> {
        let eps = self.golden.array::<Ix3>("eps").index_axis(Axis(0), t).select(Axis(0), &self.order);
        let size_noise = match self.net.library {
            None => Vec::new(),
            Some(_) => {
                let eps = self.golden.array::<Ix2>("eps_lib");
                self.order.iter().map(|&i| eps[[t, i]]).collect()
            }
        };
        let x = self.x.select(Axis(0), &self.order);
        let shares = (0..self.net.own.len()).map(|study| {
            let from = self.study.partition_point(|&m| m < study);
            let rows = from..self.study.partition_point(|&m| m <= study);
            let x = x.slice(s![rows.clone(), ..]).t().as_standard_layout().into_owned();
            let noise = eps.slice(s![rows.clone(), ..]).select(Axis(1), &self.net.columns.of(study));
            Share { study, rows, x, noise }
        });
        Batch { input: self.input(), shares: shares.collect(), size_noise }
    }

    /// One pass and one optimiser step; the loss.
    fn step(&mut self, t: usize, membership: &mut Membership, decode: &mut impl Decode<f64>) -> f64 {
        self.net.visit(&mut |_, p| p.clear());
        let batch = self.batch(t);
        let loss = pass(&mut self.net, &batch, &self.prior, (membership, &self.slab), decode);
        add_penalty_gradient(&mut self.net.decoder.w, (membership, &self.slab), self.prior.divisor);
        let [other, w] = ["other", "W"].map(|key| self.note["lr"][key].as_f64().unwrap());
        self.net.visit(&mut |name, p| {
            Adam::at(t as u64 + 1, if name == "W" { w } else { other }).descend(p);
        });
        membership.update(&self.slab, self.net.decoder.w.value.view());
        loss.total(&self.prior)
    }

    fn membership(&self) -> Membership {
        Membership::new(self.x.ncols(), self.net.columns.total())
    }
}

fn read(golden: &Golden, name: &str, dim: (usize, usize)) -> Array2<f64> {
    golden.array::<ndarray::IxDyn>(name).into_shape_with_order(dim).unwrap()
}

/// The tolerance of the golden notes: relative 1e-9, absolute 1e-12.
fn near(what: &str, found: impl IntoIterator<Item = f64>, gold: impl IntoIterator<Item = f64>) {
    near_to(what, found, gold, 1e-12);
}

fn near_to(
    what: &str,
    found: impl IntoIterator<Item = f64>,
    gold: impl IntoIterator<Item = f64>,
    absolute: f64,
) {
    let (mut found, mut gold) = (found.into_iter(), gold.into_iter());
    loop {
        match (found.next(), gold.next()) {
            (Some(a), Some(b)) => {
                assert!((a - b).abs() <= 1e-9 * b.abs() + absolute, "{what}: {a:e}, but golden is {b:e}");
            }
            (None, None) => return,
            _ => panic!("{what}: other shapes"),
        }
    }
}

fn scalar(golden: &Golden, name: &str) -> f64 {
    golden.array::<ndarray::Ix0>(name).into_scalar()
}

#[test]
fn a_pass_agrees_with_golden_values() {
    for name in CASES {
        let mut case = Case::open(name);
        let batch = case.batch(0);
        let membership = case.membership();
        let net = &mut case.net;
        let loss = pass(net, &batch, &case.prior, (&membership, &case.slab), &mut Plain);
        near(name, [loss.data], [scalar(&case.golden, "fwd/loss_batch")]);
        near(name, [loss.penalty], [scalar(&case.golden, "fwd/W_penalty")]);
        near(name, [loss.total(&case.prior)], [scalar(&case.golden, "fwd/loss_total")]);
        if case.prior.noise.is_some() {
            near(name, [loss.noise], [scalar(&case.golden, "fwd/log_prior_sigma")]);
        }
        add_penalty_gradient(&mut net.decoder.w, (&membership, &case.slab), case.prior.divisor);
        net.visit(&mut |of, p| {
            let gold = read(&case.golden, &format!("grad/{of}"), p.grad.dim());
            near(&format!("{name} grad {of}"), p.grad.iter().copied(), gold);
        });
    }
}

#[test]
fn three_steps_and_the_evaluation_agree_with_golden_values() {
    for name in CASES {
        let mut case = Case::open(name);
        let mut membership = case.membership();
        let losses = case.golden.array::<Ix1>("losses");
        for t in 0..3 {
            let loss = case.step(t, &mut membership, &mut Plain);
            near(&format!("{name} loss {t}"), [loss], [losses[t]]);
            let at = match t {
                0 => "step1",
                2 => "after3",
                _ => continue,
            };
            near(name, membership.eta.iter().copied(), case.golden.array::<Ix1>(&format!("{at}/eta")));
            let gold = case.golden.array::<Ix2>(&format!("{at}/E_gamma"));
            near(name, membership.member.iter().copied(), gold);
            near(
                name,
                case.net.decoder.w.value.iter().copied(),
                case.golden.array::<Ix2>(&format!("{at}/W")),
            );
        }
        let golden = &case.golden;
        case.net.visit(&mut |of, p| {
            let gold = read(golden, &format!("after3/{of}"), p.value.dim());
            // A bias before a batch norm has the gradient 0: what is left of it is rounding, which Adam divides by 1e-8.
            let rounding = of.starts_with("enc") && (of.contains("l1.bias") || of.contains("l2.bias"));
            let absolute = if rounding { 1e-7 } else { 1e-12 };
            near_to(&format!("{name} after3 {of}"), p.value.iter().copied(), gold.iter().copied(), absolute);
            p.value = gold;
        });
        let encoders = [("encS", &mut case.net.shared), ("encL", &mut case.net.library)].into_iter();
        let own = ["enc0", "enc1", "enc2"].into_iter().zip(&mut case.net.own);
        for (of, encoder) in encoders.chain(own).filter_map(|(of, e)| Some((of, e.as_mut()?))) {
            for (l, (_, norm)) in encoder.hidden.iter_mut().enumerate() {
                // The mean carries that bias; the variance does not.
                for (what, running, absolute) in
                    [("mean", &mut norm.mean, 1e-7), ("var", &mut norm.variance, 1e-12)]
                {
                    let what = format!("after3/{of}.bn{}.running_{what}", l + 1);
                    let gold = golden.array::<Ix1>(&what);
                    near_to(&what, running.iter().copied(), gold.iter().copied(), absolute);
                    *running = gold.to_vec();
                }
            }
        }
        // From the golden state, so that the rounding above does not count twice.
        evaluation(&case);
    }
}

/// Running statistics, z = μ.
fn evaluation(case: &Case) {
    let golden = |name: &str| case.golden.array::<Ix2>(&format!("eval/{name}")).select(Axis(0), &case.order);
    let of_samples =
        |name: &str| case.golden.array::<Ix1>(&format!("eval/{name}")).select(Axis(0), &case.order);
    let (mu, f) = (golden("mu"), golden("f"));
    let (log_lik, kl) = (of_samples("loglik"), of_samples("kl"));
    let decoder = &case.net.decoder;
    let mut law = Row::new(decoder.law);
    for share in case.batch(0).shares {
        let columns = case.net.columns.of(share.study);
        let input = case.input();
        let encoded = encode(&case.net, share.study, input.slice(s![share.rows.clone(), ..]));
        let rows = s![share.rows.clone(), ..];
        near("eval mu", encoded.mean.iter().copied(), mu.slice(rows).select(Axis(1), &columns));
        let z = encoded.mean.t().as_standard_layout().into_owned();
        let tile = Tile { columns, z, x: share.x, size: encoded.size.clone() };
        let o = Plain::outputs(decoder, &tile);
        let mut sums = Array1::<f64>::zeros(o.ncols());
        for ((j, i), o) in o.indexed_iter() {
            law.take(decoder.noise.value[[0, j]]);
            let size = tile.size.get(i).copied().unwrap_or(0.0);
            sums[i] += law.log_p(tile.x[[j, i]], *o, size);
        }
        near("eval f", o.t().iter().copied(), f.slice(rows).iter().copied());
        near("eval loglik", sums, log_lik.slice(s![share.rows.clone()]).iter().copied());
        let found = (0..share.rows.len()).map(|i| latent_kl(&encoded, i));
        near("eval kl", found, kl.slice(s![share.rows.clone()]).iter().copied());
    }
}

/// A random model with the given studies, for checks without golden values.
fn random(law: Law, skip: SkipKind, seed: u64) -> (Network<f64>, Batch<f64>) {
    let columns = Columns { shared: 2, specific: vec![2, 0, 1] };
    let features = 5;
    let mut net = Network::new(law, features, columns, [6, 4].into(), skip, Seed(seed));
    net.visit(&mut |name, p| {
        if name.contains("bias") || name == "W" {
            let mut rng = Seed(seed).stream(Draw::Simulate, name.len() as u64);
            p.value.mapv_inplace(|v| v + 0.3 * Distribution::<f64>::sample(&StandardNormal, &mut rng));
        }
    });
    let sizes = [4, 3, 5];
    let samples: usize = sizes.iter().sum();
    let x = check::normal(samples, features, seed + 1);
    let x = if law == Law::Gaussian { x } else { x.mapv(|v| (3.0 * v.exp()).floor()) };
    let noise = check::normal(samples, net.columns.total(), seed + 2);
    let mut from = 0;
    let shares = sizes.iter().enumerate().map(|(study, size)| {
        let rows = from..from + size;
        from += size;
        let noise = noise.slice(s![rows.clone(), ..]).select(Axis(1), &net.columns.of(study));
        Share { study, x: x.slice(s![rows.clone(), ..]).t().as_standard_layout().into_owned(), rows, noise }
    });
    let shares = shares.collect();
    let size_noise = if law == Law::Gaussian { Vec::new() } else { noise.column(0).to_vec() };
    let input = if law == Law::Gaussian { x.clone() } else { x.mapv(f64::ln_1p) };
    (net, Batch { input, shares, size_noise })
}

#[test]
fn gradients_match_finite_differences() {
    for (law, skip) in [
        (Law::Gaussian, SkipKind::Projected),
        (Law::NegBinomial, SkipKind::Projected),
        (Law::NegBinomial, SkipKind::Direct),
        (Law::Gaussian, SkipKind::None),
    ] {
        let (mut net, batch) = random(law, skip, 5);
        let noise = Noise { variance: 0.1, alpha: 1.5, beta: 0.03 };
        let noise = (law == Law::Gaussian).then_some(noise);
        let prior = Prior { size: (2.0, 0.3), noise, divisor: 12.0, kl: 1.0 };
        let membership = Membership::new(5, net.columns.total());
        let slab = Slab { lambda0: 10.0, lambda1: 0.1, a: 1.0, b: 5.0 };
        let loss = |net: &Network<f64>| {
            let mut net = net.clone();
            pass(&mut net, &batch, &prior, (&membership, &slab), &mut Plain).total(&prior)
        };
        let start = net.clone();
        pass(&mut net, &batch, &prior, (&membership, &slab), &mut Plain);
        add_penalty_gradient(&mut net.decoder.w, (&membership, &slab), prior.divisor);
        let mut names = Vec::new();
        net.visit(&mut |name, _| names.push(name.to_owned()));
        for name in names {
            let mut grad = Array2::zeros((0, 0));
            net.visit(&mut |of, p| {
                if of == name {
                    grad = p.grad.clone();
                }
            });
            // The walk over the network finds the parameter by name and swaps it into a plain matrix.
            let value = |net: &Network<f64>| {
                let mut found = Array2::zeros((0, 0));
                net.clone().visit(&mut |of, p| {
                    if of == name {
                        found = p.value.clone();
                    }
                });
                found
            };
            let state = (start.clone(), value(&start));
            let with = |(net, value): &(Network<f64>, Array2<f64>)| {
                let mut net = net.clone();
                net.visit(&mut |of, p| {
                    if of == name {
                        p.value.assign(value);
                    }
                });
                loss(&net)
            };
            check::slopes(&format!("{law} {skip} {name}"), &state, |s| &mut s.1, &grad, with);
        }
    }
}

/// Every case again, by the fused decoder.
#[test]
fn the_fused_decoder_agrees_with_golden_values() {
    for name in CASES {
        let mut case = Case::open(name);
        let mut membership = case.membership();
        let mut fused = Fused::new(true);
        let losses = case.golden.array::<Ix1>("losses");
        for t in 0..3 {
            let loss = case.step(t, &mut membership, &mut fused);
            near(&format!("{name} fused loss {t}"), [loss], [losses[t]]);
        }
        near(name, case.net.decoder.w.value.iter().copied(), case.golden.array::<Ix2>("after3/W"));
    }
}
