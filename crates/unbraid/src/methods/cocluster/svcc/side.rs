//! One side of the model: its networks, its mixture, and a step of its bound.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bound::{
    Divergence, Mixing, Objective, Posterior, PriorGradient, PriorGradients, Samples, Weights, noise,
};
use super::contrast::Critic;
use super::cross::through_softmax;
use super::likelihood::{Law, Targets};
use super::mixture::{Gradient, Mixture, Ready};
use super::network::{Batch, Coded, Decoder, Encoder, Lines};
use crate::fit::{Draw, Seed};
use crate::nn::adam::Adam;
use crate::nn::wide::fast;
use crate::nn::{Param, Real, lanes};

/// Lines of one side, as encoder and likelihood read them.
pub struct Data<T> {
    /// What the encoder sees.
    pub lines: Lines<T>,
    /// What the likelihood reads.
    pub targets: Targets<T>,
    /// Its law.
    pub law: Law,
    /// Where the decoder's biases start.
    pub bias: Vec<f64>,
}

/// Sizes of the networks.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Hidden layers of the encoder; the decoder has them in reverse order.
    pub hidden: Vec<usize>,
    /// L.
    pub latent: usize,
}

/// Parameters of one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Side<T> {
    /// Lines to codes.
    pub encoder: Encoder<T>,
    /// Codes to lines.
    pub decoder: Decoder<T>,
    /// Prior of the codes.
    pub mixture: Mixture,
    /// What `mix` remembers.
    pub mixing: Mixing,
    /// log τ² or log θ.
    pub noise: Param<f64>,
    /// Maps of the contrastive term.
    pub critic: Critic<T>,
    /// f.
    pub stretch: Vec<f64>,
    /// Steps of Adam so far; those of the mixture begin anew with it.
    pub steps: u64,
    /// Steps of the mixture.
    pub prior_steps: u64,
}

/// A batch on its way.
pub struct Pass<T> {
    /// The lines, by number.
    pub items: Vec<usize>,
    input: Batch<T>,
    /// q(z | x) and what is behind it.
    pub coded: Coded<T>,
    /// z and densities.
    pub samples: Samples,
    /// The mixture at the time.
    pub ready: Ready,
    u: Array2<T>,
    layers: Vec<Array2<T>>,
    out: Array2<T>,
    /// ŵ and F.
    pub weights: Weights,
    /// Derivatives of the loss in z of the first sample, from what others add; B × L.
    pub extra: Array2<f64>,
    /// And in the mixture.
    pub extra_prior: Gradient,
    /// The same in the last hidden layer.
    hidden: Option<Array2<T>>,
}

/// How steps are made.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Step size of the networks.
    pub network: f64,
    /// Step size of the mixture.
    pub prior: f64,
    /// Decoupled decay of weights.
    pub decay: f64,
    /// Which gradient the mixture follows.
    pub gradient: PriorGradient,
    /// Whether the mixture moves at all.
    pub moves: bool,
}

/// Largest norm of a gradient.
const CLIP: f64 = 100.0;
/// Standard deviation that the stretch aims at, and its largest value.
const SPREAD: f64 = 1.0;
const STRETCH: f64 = 10.0;
/// Share of entries that are dropped from a corrupted copy.
const CORRUPTED: f64 = 0.2;

/// Σ a², in the float's own precision over short stretches.
fn squares<T: Real>(a: &Array2<T>) -> f64 {
    let Some(a) = a.as_slice() else { return a.iter().map(|v| v.wide() * v.wide()).sum() };
    a.chunks(1 << 12).map(|part| fast(|| lanes::dot(part, part)).wide()).sum()
}

/// Noise of `samples` for each line: a stream for each line, epoch and side.
pub fn noise_of(seed: Seed, place: u64, items: &[usize], samples: usize, dims: usize) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = items
        .par_iter()
        .with_min_len(32)
        .map(|&i| noise(samples, dims, &mut seed.stream(Draw::Latent, place << 32 | i as u64)))
        .collect();
    Array2::from_shape_vec((items.len() * samples, dims), rows.concat())
        .unwrap_or_else(|_| Array2::zeros((items.len() * samples, dims)))
}

impl<T> Pass<T> {
    /// Adds the Dirichlet prior of concentration α₀ on the shares, beside a mean over `lines` lines.
    pub fn lean(&mut self, concentration: f64, lines: usize) {
        let weight = (1.0 - concentration) / lines as f64;
        let components = self.ready.len() as f64;
        let shares = &self.ready.shares;
        self.extra_prior
            .logits
            .iter_mut()
            .zip(shares)
            .for_each(|(to, s)| *to += weight * (1.0 - components * s));
    }
}

impl<T: Real> Side<T> {
    /// Before the first step: one standard normal component.
    pub fn new(data: &Data<T>, sizes: &Sizes, seed: Seed, side: u64) -> Side<T> {
        let mut rng = seed.stream(Draw::Init, side);
        let width = data.lines.width();
        let encoder = Encoder::new(width, &sizes.hidden, sizes.latent, &mut rng);
        let reverse: Vec<usize> = sizes.hidden.iter().rev().copied().collect();
        let decoder = Decoder::new(sizes.latent, &reverse, &data.bias, &mut rng);
        let top = sizes.hidden[sizes.hidden.len() - 1];
        let mixture = Mixture::standard(sizes.latent);
        Side {
            encoder,
            decoder,
            mixing: Mixing::new(mixture.shape()),
            mixture,
            noise: Param::filled((1, data.law.noises(data.bias.len())), 0.0),
            critic: Critic::new(sizes.latent, top, &mut rng),
            stretch: vec![1.0; sizes.latent],
            steps: 0,
            prior_steps: 0,
        }
    }

    /// Forward through encoder, samples, decoder and likelihood.
    pub fn forward(
        &self,
        data: &Data<T>,
        items: &[usize],
        objective: Objective,
        eps: Array2<f64>,
    ) -> Pass<T> {
        let input = data.lines.batch(items, None);
        let coded = self.encoder.forward(&input);
        let ready = self.mixture.ready();
        let samples = Samples::draw(&coded.posterior, eps, &ready);
        let u = samples.stretched(&coded.posterior, &self.stretch).mapv(T::of);
        let (layers, mut out) = self.decoder.forward(u.view());
        let log = data.law.log_likelihood(&mut out, &data.targets, items, self.noise_slice());
        let weights = objective.weigh(&log, &samples);
        let extra = Array2::zeros(coded.posterior.mean.dim());
        let extra_prior = Gradient::zeros(self.mixture.shape());
        let items = items.to_vec();
        Pass {
            items,
            input,
            coded,
            samples,
            ready,
            u,
            layers,
            out,
            weights,
            extra,
            extra_prior,
            hidden: None,
        }
    }

    /// Σ F of some lines.
    pub fn value(&self, data: &Data<T>, items: &[usize], objective: Objective, eps: Array2<f64>) -> f64 {
        let pass = self.forward(data, items, objective, eps);
        let q = &pass.coded.posterior;
        let mut gamma = vec![0.0; pass.ready.len()];
        let mut sum: f64 = pass.weights.value.iter().sum();
        for (m, lv) in q.mean.rows().into_iter().zip(q.log_variance.rows()) {
            let (m, lv) = (m.to_vec(), lv.to_vec());
            sum -= objective.beta
                * match objective.divergence {
                    Divergence::Iwae => 0.0,
                    Divergence::Vade => pass.ready.vade(&m, &lv, &mut gamma),
                    Divergence::Bound => pass.ready.bound(&m, &lv, &mut gamma),
                };
        }
        sum
    }

    fn noise_slice(&self) -> &[f64] {
        self.noise.value.as_slice().unwrap_or(&[])
    }

    /// Adds to every gradient that of the mean loss −F of the batch and of what was added to the pass; returns the mean of F.
    pub fn backward(
        &mut self,
        data: &Data<T>,
        mut pass: Pass<T>,
        objective: Objective,
        rates: &Rates,
    ) -> f64 {
        let scale = -1.0 / pass.items.len() as f64;
        let seeds: Vec<f64> = pass.weights.share.iter().map(|w| scale * w).collect();
        let mut slope = vec![0.0; self.noise.value.len()];
        let noise = self.noise_slice().to_vec();
        data.law.pull(&mut pass.out, &data.targets, &pass.items, &seeds, &noise, &mut slope);
        self.noise.grad.iter_mut().zip(&slope).for_each(|(to, v)| *to += v);
        let r = self.decoder.backward(pass.u.view(), &pass.layers, &pass.out).mapv(|v| v.wide());
        let mut prior = PriorGradients::zeros(self.mixture.shape());
        let q = &pass.coded.posterior;
        let mut d = objective.pull(
            q,
            &pass.samples,
            &mut pass.weights,
            r.view(),
            (&self.stretch, scale),
            &pass.ready,
            &mut prior,
        );
        // z₀ = m + s ε₀
        let k = objective.samples;
        for ((i, l), v) in pass.extra.indexed_iter() {
            d.mean[[i, l]] += v;
            d.log_variance[[i, l]] +=
                0.5 * v * pass.samples.noise[[i * k, l]] * (0.5 * q.log_variance[[i, l]]).exp();
        }
        self.encoder.backward(&pass.input, &pass.coded, &d, pass.hidden.as_ref());
        if rates.moves {
            let how =
                if objective.divergence == Divergence::Iwae { rates.gradient } else { PriorGradient::Plain };
            let mut gradient = self.mixing.combine(how, prior);
            gradient.mean += &pass.extra_prior.mean;
            gradient.log_sigma += &pass.extra_prior.log_sigma;
            gradient.logits.iter_mut().zip(&pass.extra_prior.logits).for_each(|(to, v)| *to += v);
            self.mixture.mean.grad += &gradient.mean;
            self.mixture.log_sigma.grad += &gradient.log_sigma;
            self.mixture.logits.grad.iter_mut().zip(&gradient.logits).for_each(|(to, v)| *to += v);
        }
        pass.weights.value.iter().sum::<f64>() / pass.items.len() as f64
    }

    /// Adds `weight` times the contrastive loss of corrupted copies beside the lines' own hidden layers; the loss.
    pub fn contrast(
        &mut self,
        data: &Data<T>,
        pass: &mut Pass<T>,
        symmetric: bool,
        weight: f64,
        seed: Seed,
        place: u64,
    ) -> f64 {
        use rand::RngExt;
        let width = data.lines.width();
        let dropped: Vec<Vec<bool>> = pass
            .items
            .par_iter()
            .map(|&i| {
                let mut rng = seed.stream(Draw::Shuffle, place << 32 | i as u64);
                let entries = match &data.lines {
                    Lines::Dense(_) => width,
                    Lines::Sparse(begin, ..) => begin[i + 1] - begin[i],
                };
                let below = (CORRUPTED * f64::from(u32::MAX)) as u32;
                (0..entries).map(|_| rng.random::<u32>() < below).collect()
            })
            .collect();
        let input = data.lines.batch(&pass.items, Some(&|b, e| dropped[b][e]));
        let coded = self.encoder.forward(&input);
        let q = &coded.posterior;
        let dims = q.mean.ncols();
        let eps = noise_of(seed.child(Draw::Latent, 1), place, &pass.items, 1, dims);
        let z = Array2::from_shape_fn(q.mean.dim(), |at| {
            T::of(q.mean[at] + (0.5 * q.log_variance[at]).exp() * eps[at])
        });
        let (value, dz, dh) = self.critic.loss(&z, pass.coded.hidden(), symmetric, weight);
        let mean = dz.mapv(|v| v.wide());
        let log_variance = Array2::from_shape_fn(q.mean.dim(), |at| {
            0.5 * mean[at] * eps[at] * (0.5 * q.log_variance[at]).exp()
        });
        self.encoder.backward(&input, &coded, &Posterior { mean, log_variance }, None);
        // The clean lines' hidden layer goes back with everything else.
        pass.hidden = Some(dh);
        value
    }

    /// Adds to the pass the gradient of a loss that is `slope` in the tempered memberships of the first samples.
    pub fn pull_memberships(
        &self,
        pass: &mut Pass<T>,
        memberships: ArrayView2<'_, f64>,
        slope: ArrayView2<'_, f64>,
        temperature: f64,
    ) {
        let d = through_softmax(memberships, slope, temperature);
        let samples = pass.samples.z.nrows() / pass.items.len().max(1);
        for i in 0..pass.items.len() {
            let z = pass.samples.z.row(i * samples).to_vec();
            let weights = d.row(i).to_vec();
            if let Some(to) = pass.extra.row_mut(i).as_slice_mut() {
                pass.ready.add_slope(&z, &weights, to);
            }
            pass.ready.add_gradient(&z, &weights, &mut pass.extra_prior);
        }
    }

    /// One step of Adam on everything, gradients cleared.
    pub fn descend(&mut self, rates: &Rates) {
        self.steps += 1;
        let mut square = 0.0;
        self.visit(&mut |_, p| square += squares(&p.grad));
        let norm = square.sqrt();
        let shrink = if norm > CLIP { CLIP / norm } else { 1.0 };
        let adam = Adam::at(self.steps, rates.network);
        self.visit(&mut |name, p| {
            if shrink < 1.0 {
                let by = T::of(shrink);
                p.grad.mapv_inplace(|g| g * by);
            }
            adam.descend(p);
            if rates.decay > 0.0 && name.ends_with("weight") {
                let keep = T::of(1.0 - rates.network * rates.decay);
                p.value.mapv_inplace(|v| v * keep);
            }
            p.clear();
        });
        adam.descend(&mut self.noise);
        self.noise.value.mapv_inplace(|v| v.clamp(-10.0, 10.0));
        self.noise.clear();
        if rates.moves {
            self.prior_steps += 1;
            let adam = Adam::at(self.prior_steps, rates.prior);
            for p in [&mut self.mixture.logits, &mut self.mixture.mean, &mut self.mixture.log_sigma] {
                adam.descend(p);
                p.clear();
            }
            self.mixture.confine();
        }
    }

    /// Calls `f` with each parameter of the networks and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        self.encoder.visit(f);
        self.decoder.visit(f);
        self.critic.visit(f);
    }

    /// m and log s² of the given lines.
    pub fn embed(&self, lines: &Lines<T>, items: &[usize]) -> Posterior {
        let parts: Vec<Posterior> =
            items.chunks(512).map(|some| self.encoder.forward(&lines.batch(some, None)).posterior).collect();
        let join = |part: fn(&Posterior) -> ArrayView2<'_, f64>| {
            let all: Vec<_> = parts.iter().map(part).collect();
            ndarray::concatenate(Axis(0), &all).unwrap_or_else(|_| Array2::zeros((0, 0)))
        };
        Posterior { mean: join(|p| p.mean.view()), log_variance: join(|p| p.log_variance.view()) }
    }

    /// f from the spread of the means: small codes are stretched towards spread 1.
    pub fn set_stretch(&mut self, mean: &Array2<f64>) {
        let n = mean.nrows().max(1) as f64;
        for (f, column) in self.stretch.iter_mut().zip(mean.columns()) {
            let centre = column.sum() / n;
            let sd = (column.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / n).sqrt();
            *f = (SPREAD / sd.max(1e-12)).clamp(1.0, STRETCH);
        }
    }

    /// Mixture of labels of the means: centres, spreads within plus that of q, shares.
    pub fn set_mixture(&mut self, q: &Posterior, labels: &[usize], clusters: usize) {
        let (n, dims) = q.mean.dim();
        let mut size = vec![0.0f64; clusters];
        let (mut mean, mut within) =
            (Array2::<f64>::zeros((clusters, dims)), Array2::<f64>::zeros((clusters, dims)));
        for (i, &c) in labels.iter().enumerate() {
            size[c] += 1.0;
            let mut to = mean.row_mut(c);
            to += &q.mean.row(i);
        }
        mean.rows_mut().into_iter().zip(&size).for_each(|(mut r, s)| r /= s.max(1.0));
        for (i, &c) in labels.iter().enumerate() {
            for d in 0..dims {
                let e = q.mean[[i, d]] - mean[[c, d]];
                within[[c, d]] += e * e;
            }
        }
        let spread = q.log_variance.mapv(f64::exp).mean_axis(Axis(0)).map(|v| v.to_vec()).unwrap_or_default();
        let sigma = Array2::from_shape_fn((clusters, dims), |(c, d)| {
            (within[[c, d]] / size[c].max(1.0) + spread[d] + 1e-3).sqrt()
        });
        let shares: Vec<f64> = size.iter().map(|s| s.max(0.5) / n as f64).collect();
        self.mixture = Mixture::new(mean, &sigma, &shares);
        self.mixing = Mixing::new(self.mixture.shape());
        self.prior_steps = 0;
    }

    /// The chosen components alone, with new shares.
    pub fn keep(&mut self, at: &[usize], shares: &[f64]) {
        self.mixture = self.mixture.select(at);
        self.mixture.logits.value.iter_mut().zip(shares).for_each(|(to, s)| *to = s.max(1e-12).ln());
        self.mixing = self.mixing.select(at);
        self.prior_steps = 0;
    }
}
