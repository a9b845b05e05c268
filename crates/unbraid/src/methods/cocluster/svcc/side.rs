//! One side of the model: its networks, its mixture, and a step of its bound.

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bound::{
    Divergence, Mixing, Objective, Posterior, PriorGradient, PriorGradients, Samples, Weights, noise,
};
use super::contrast::Critic;
use super::cross::through_softmax;
use super::likelihood::{Law, Targets};
use super::lines::{Batch, Lines};
use super::mixture::{Gradient, Mixture, Ready, Sums};
use super::network::{Coded, Decoder, Encoder};
use crate::fit::{Draw, Seed};
use crate::nn::abreast::{EIGHT, add_lanes, by_eight, into_lanes};
use crate::nn::adam::Adam;
use crate::nn::wide::fast;
use crate::nn::{Param, Real, flat, flat_mut, lanes};

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
    /// Memory of the outputs of the last step, for those of the next one.
    #[serde(skip)]
    pub spare: Vec<T>,
}

/// What a batch is to the terms that join both sides.
pub struct Seen {
    /// The lines, by number.
    pub items: Vec<usize>,
    /// q(z | x).
    pub posterior: Posterior,
    /// z and densities.
    pub samples: Samples,
    /// The mixture at the time.
    pub ready: Ready,
}

/// A batch in the encoder: the lines and, where they are contrasted, their corrupted copies after them.
pub struct Encoded<T> {
    input: Batch<T>,
    coded: Coded<T>,
    /// Derivatives of the contrastive term: in q of the copies, and in the last hidden layer of the lines.
    contrast: Option<(Posterior, Array2<T>)>,
}

/// A batch in the decoder.
pub struct Decoded<T> {
    u: Array2<T>,
    layers: Vec<Array2<T>>,
    out: Array2<T>,
    /// ŵ and F.
    weights: Weights,
}

impl<T> Decoded<T> {
    /// ŵ and F, and the memory of the outputs.
    pub fn done(self) -> (Weights, Vec<T>) {
        (self.weights, self.out.into_raw_vec_and_offset().0)
    }
}

/// A batch on its way.
pub struct Pass<T> {
    /// What other terms read.
    pub seen: Seen,
    /// In the encoder.
    pub encoded: Encoded<T>,
    /// In the decoder.
    pub decoded: Decoded<T>,
}

/// Derivatives of the loss from the terms that join both sides.
pub struct Joined {
    /// In z of the first sample, B × L.
    pub z: Array2<f64>,
    /// In the mixture.
    pub prior: Gradient,
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
/// Entries that a task squares.
const STRETCHES: usize = 1 << 15;

/// Σ a², in the float's own precision over short stretches.
fn squares<T: Real>(a: &Array2<T>) -> f64 {
    let Some(a) = a.as_slice() else { return a.iter().map(|v| v.wide() * v.wide()).sum() };
    let part = |part: &[T]| fast!(|| lanes::dot(part, part)).wide();
    if a.len() <= STRETCHES {
        return a.chunks(1 << 12).map(part).sum();
    }
    let all = a.par_chunks(STRETCHES).map(|a| a.chunks(1 << 12).map(part).sum());
    all.collect::<Vec<f64>>().iter().sum()
}

/// The derivative in log s² of z = m + s ε, given that in z.
fn through_noise(dz: ArrayView2<'_, f64>, eps: ArrayView2<'_, f64>, q: &Posterior) -> Array2<f64> {
    let mut out = q.log_variance.mapv(|lv| 0.5 * (0.5 * lv).exp());
    out *= &dz;
    out *= &eps;
    out
}

/// Whether each stored entry of each line is dropped from its corrupted copy: a stream for each line, epoch and side.
fn dropped<T: Real>(lines: &Lines<T>, items: &[usize], seed: Seed, place: u64) -> Vec<Vec<bool>> {
    let below = (CORRUPTED * 256.0) as u8;
    let of = |&i: &usize| {
        let mut bytes = vec![0; lines.stored(i)];
        seed.stream(Draw::Shuffle, place << 32 | i as u64).fill_bytes(&mut bytes);
        let mut gone = vec![false; bytes.len()];
        fast!(|| gone.iter_mut().zip(&bytes).for_each(|(to, b)| *to = *b < below));
        gone
    };
    items.par_iter().with_min_len(16).map(of).collect()
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

/// How the contrastive term of a step is taken.
#[derive(Clone, Copy, Debug)]
pub struct Contrast {
    /// Whether rows and columns of the batch are both told apart.
    pub symmetric: bool,
    /// Its weight.
    pub weight: f64,
    /// Seed and place of its noise.
    pub stream: (Seed, u64),
}

impl Contrast {
    /// `weight` times the loss of the corrupted copies beside the lines' own hidden layers; adds the gradients of its maps, and keeps
    /// the others for the encoder.
    fn pull<T: Real>(self, critic: &mut Critic<T>, seen: &Seen, encoded: &mut Encoded<T>) -> f64 {
        let (items, coded, (seed, place)) = (&seen.items, &encoded.coded, self.stream);
        let q = coded.posterior.lines(items.len(), coded.posterior.mean.nrows());
        let eps = noise_of(seed.child(Draw::Latent, 1), place, items, 1, q.mean.ncols());
        let z = Array2::from_shape_fn(q.mean.dim(), |at| {
            T::of(q.mean[at] + (0.5 * q.log_variance[at]).exp() * eps[at])
        });
        let hidden = coded.hidden().slice(s![..items.len(), ..]);
        let (value, dz, dh) = critic.loss(&z, hidden, self.symmetric, self.weight);
        let mean = dz.mapv(|v| v.wide());
        let log_variance = through_noise(mean.view(), eps.view(), &q);
        encoded.contrast = Some((Posterior { mean, log_variance }, dh));
        value
    }
}

impl Seen {
    /// z of the first sample of every line, B × L.
    pub fn first(&self) -> Array2<f64> {
        let k = self.samples.z.nrows() / self.items.len().max(1);
        self.samples.z.slice(s![..;k.max(1), ..]).to_owned()
    }

    /// Adds the gradient of a loss that is `slope` in the tempered memberships of the first samples.
    pub fn pull_memberships(
        &self,
        memberships: ArrayView2<'_, f64>,
        slope: ArrayView2<'_, f64>,
        temperature: f64,
        to: &mut Joined,
    ) {
        let d = through_softmax(memberships, slope, temperature);
        let (first, dims, clusters) = (self.first(), to.z.ncols(), d.ncols());
        let lines = flat_mut(&mut to.z);
        let mut sums = Sums::new((clusters, dims));
        fast!(|| {
            let (mut weights, mut slope) = (vec![[0.0; EIGHT]; clusters], vec![[0.0; EIGHT]; dims]);
            by_eight(
                flat(&first),
                dims,
                #[inline(always)]
                |from, count, z| {
                    into_lanes(&flat(&d)[from * clusters..(from + count) * clusters], &mut weights);
                    slope.fill([0.0; EIGHT]);
                    self.ready.add_slope(z, &weights, &mut slope);
                    let all: [usize; EIGHT] = std::array::from_fn(|l| from + l);
                    add_lanes(&slope, 1.0, &all[..count], lines);
                    sums.add(&self.ready, z, &weights);
                },
            );
        });
        sums.into(&self.ready, &mut to.prior);
    }

    /// Adds the Dirichlet prior of concentration α₀ on the shares, beside a mean over `lines` lines.
    pub fn lean(&self, concentration: f64, lines: usize, to: &mut Joined) {
        let weight = (1.0 - concentration) / lines as f64;
        let (components, shares) = (self.ready.len() as f64, &self.ready.shares);
        to.prior.logits.iter_mut().zip(shares).for_each(|(to, s)| *to += weight * (1.0 - components * s));
    }

    /// No derivatives yet.
    pub fn joined(&self) -> Joined {
        let shape = (self.ready.len(), self.posterior.mean.ncols());
        Joined { z: Array2::zeros(self.posterior.mean.dim()), prior: Gradient::zeros(shape) }
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
            spare: Vec::new(),
        }
    }

    /// Forward through encoder, samples, decoder and likelihood; with `copies`, seed and place of the noise that corrupts them, the
    /// encoder reads copies of the lines too. Outputs are in `spare`, where that is large enough.
    pub fn forward(
        &self,
        data: &Data<T>,
        items: &[usize],
        objective: Objective,
        eps: Array2<f64>,
        (copies, spare): (Option<(Seed, u64)>, Vec<T>),
    ) -> Pass<T> {
        let dropped = copies.map(|(seed, place)| dropped(&data.lines, items, seed, place));
        let input = data.lines.batch(items, dropped.as_deref());
        let coded = self.encoder.forward(&input);
        let posterior = coded.posterior.lines(0, items.len());
        let ready = self.mixture.ready();
        let samples = Samples::draw(&posterior, eps, &ready);
        let u = samples.stretched(&posterior, &self.stretch).mapv(T::of);
        let (layers, mut out) = self.decoder.forward(u.view(), spare);
        let log = data.law.log_likelihood(&mut out, &data.targets, items, self.noise_slice());
        let weights = objective.weigh(&log, &samples);
        Pass {
            seen: Seen { items: items.to_vec(), posterior, samples, ready },
            encoded: Encoded { input, coded, contrast: None },
            decoded: Decoded { u, layers, out, weights },
        }
    }

    /// Σ F of some lines.
    pub fn value(&self, data: &Data<T>, items: &[usize], objective: Objective, eps: Array2<f64>) -> f64 {
        let Pass { seen: Seen { posterior: q, ready, .. }, decoded, .. } =
            self.forward(data, items, objective, eps, (None, Vec::new()));
        let mut gamma = vec![0.0; ready.len()];
        let mut sum: f64 = decoded.weights.value.iter().sum();
        for (m, lv) in q.mean.rows().into_iter().zip(q.log_variance.rows()) {
            let (m, lv) = (m.to_vec(), lv.to_vec());
            sum -= objective.beta
                * match objective.divergence {
                    Divergence::Iwae => 0.0,
                    Divergence::Vade => ready.vade(&m, &lv, &mut gamma),
                    Divergence::Bound => ready.bound(&m, &lv, &mut gamma),
                };
        }
        sum
    }

    fn noise_slice(&self) -> &[f64] {
        self.noise.value.as_slice().unwrap_or(&[])
    }

    /// Adds the gradients of the decoder and of the noise for the mean loss −F of the batch, and beside it those of the contrastive
    /// term: its value, and r, which the encoder needs.
    pub fn turn(
        &mut self,
        data: &Data<T>,
        seen: &Seen,
        encoded: &mut Encoded<T>,
        decoded: &mut Decoded<T>,
        contrast: Option<Contrast>,
    ) -> (f64, Array2<f64>) {
        let Side { critic, decoder, noise, .. } = self;
        rayon::join(
            || contrast.map_or(0.0, |how| how.pull(critic, seen, encoded)),
            || {
                let scale = -1.0 / seen.items.len() as f64;
                let seeds: Vec<f64> = decoded.weights.share.iter().map(|w| scale * w).collect();
                let mut slope = vec![0.0; noise.value.len()];
                data.law.pull(
                    &mut decoded.out,
                    &data.targets,
                    &seen.items,
                    &seeds,
                    flat(&noise.value),
                    &mut slope,
                );
                noise.grad.iter_mut().zip(&slope).for_each(|(to, v)| *to += v);
                decoder.backward(decoded.u.view(), &decoded.layers, &decoded.out).mapv(|v| v.wide())
            },
        )
    }

    /// Adds those of the encoder and of the mixture, of the contrastive term too, given r and what joins the sides; the mean of F.
    pub fn backward_encoder(
        &mut self,
        seen: &Seen,
        encoded: &Encoded<T>,
        mut weights: Weights,
        r: ArrayView2<'_, f64>,
        joined: &Joined,
        objective: Objective,
        rates: &Rates,
    ) -> f64 {
        let scale = vec![-1.0 / seen.items.len() as f64; seen.items.len()];
        let mut prior = PriorGradients::zeros(self.mixture.shape());
        let q = &seen.posterior;
        let by = (&self.stretch[..], &scale[..]);
        let mut d = objective.pull(q, &seen.samples, &mut weights, r, by, &seen.ready, &mut prior);
        d.mean += &joined.z;
        // z₀ = m + s ε₀
        let first = seen.samples.noise.slice(s![..;objective.samples, ..]);
        d.log_variance += &through_noise(joined.z.view(), first, q);
        let mut hidden = None;
        if let Some((copies, of_hidden)) = &encoded.contrast {
            let both = |a: &Array2<f64>, b: &Array2<f64>| {
                ndarray::concatenate(Axis(0), &[a.view(), b.view()]).unwrap_or_else(|_| a.clone())
            };
            d = Posterior {
                mean: both(&d.mean, &copies.mean),
                log_variance: both(&d.log_variance, &copies.log_variance),
            };
            hidden = Some(of_hidden);
        }
        self.encoder.backward(&encoded.input, &encoded.coded, &d, hidden);
        if rates.moves {
            let how =
                if objective.divergence == Divergence::Iwae { rates.gradient } else { PriorGradient::Plain };
            let mut gradient = self.mixing.combine(how, prior);
            gradient.add(&joined.prior);
            self.mixture.mean.grad += &gradient.mean;
            self.mixture.log_sigma.grad += &gradient.log_sigma;
            self.mixture.logits.grad.iter_mut().zip(&gradient.logits).for_each(|(to, v)| *to += v);
        }
        weights.value.iter().sum::<f64>() / seen.items.len() as f64
    }

    /// One step of Adam on everything, gradients cleared.
    pub fn descend(&mut self, rates: &Rates) {
        self.steps += 1;
        let mut square = 0.0;
        self.visit(&mut |_, p| square += squares(&p.grad));
        let norm = square.sqrt();
        let shrink = if norm > CLIP { CLIP / norm } else { 1.0 };
        let adam = Adam::at(self.steps, rates.network);
        let clipped = adam.shrunk(shrink);
        self.visit(&mut |name, p| {
            let decay = if name.ends_with("weight") { rates.network * rates.decay } else { 0.0 };
            clipped.descend_and_clear(p, 1.0 - decay);
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
