//! The objective of one mini-batch: encoders, latents from given noise, the decoder, KL terms, priors, and the way back.
//!
//! ```text
//! loss = mean_i(−log p(x_i | z_i, ℓ_i) + KL_i) + (Σ λ*_jk |w_jk| − log p(σ)) / D
//! KL_i = ½ Σ_k (μ² + e^s − 1 − s) + ½ ((μ_ℓ − m)²/v + e^{s_ℓ}/v − 1 − s_ℓ + log v),     z = μ + e^{s/2} ε
//! log p(σ) = Σ_j (−(2α + 2) log σ_j − β/σ_j²)
//! ```
//!
//! s the encoders' log variances, kept on [−20, 10]; m, v the law of log totals. A mini-batch holds its samples study by
//! study: the shared encoders see all of it, a study's encoder its own part, the decoder one tile for each study.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::init::Noise;
use super::network::{Decode, Network, Tile};
use super::ssl::{Membership, Slab};
use crate::linalg::{alone, settle};
use crate::nn::elementary::exp;
use crate::nn::lanes::sum;
use crate::nn::mlp::{Encoder, Trace};
use crate::nn::wide::fast;
use crate::nn::{Param, Real, flat, flat_mut};

/// Log variances are kept in here.
const LOG_VARIANCE: [f64; 2] = [-20.0, 10.0];

/// The samples of one study in a mini-batch.
#[derive(Clone, Debug)]
pub struct Share<T> {
    /// Which study.
    pub study: usize,
    /// Its rows of [`Batch::input`]; at least 2.
    pub rows: Range<usize>,
    /// x, features × samples.
    pub x: Array2<T>,
    /// ε, samples × columns of the study.
    pub noise: Array2<T>,
}

/// A mini-batch, study by study.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    /// What encoders read, samples × features.
    pub input: Array2<T>,
    /// The studies in order.
    pub shares: Vec<Share<T>>,
    /// ε of the log sizes; empty for a Gaussian law.
    pub size_noise: Vec<T>,
}

/// What does not change between mini-batches.
#[derive(Clone, Copy, Debug)]
pub struct Prior {
    /// Mean and variance of log totals.
    pub size: (f64, f64),
    /// Law of σ², for a Gaussian likelihood.
    pub noise: Option<Noise>,
    /// D, what the priors are divided by.
    pub divisor: f64,
    /// Weight of the KL term of the latents; 1 but for a warm-up.
    pub kl: f64,
}

/// The parts of the loss.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Mean over samples of −log p + KL.
    pub data: f64,
    /// Σ λ* |w|.
    pub penalty: f64,
    /// log p(σ).
    pub noise: f64,
}

impl Loss {
    /// The loss.
    pub fn total(&self, prior: &Prior) -> f64 {
        self.data + (self.penalty - self.noise) / prior.divisor
    }
}

/// Latents drawn from an encoder's heads.
pub struct Drawn<T> {
    mean: Array2<T>,
    log_variance: Array2<T>,
    /// e^{s/2}.
    spread: Array2<T>,
    clamped: Vec<bool>,
    /// z.
    pub z: Array2<T>,
}

impl<T: Real> Drawn<T> {
    fn new(mean: Array2<T>, mut log_variance: Array2<T>, noise: &Array2<T>) -> Drawn<T> {
        let clamped = clamp(&mut log_variance);
        let (mut spread, mut z) = (log_variance.clone(), mean.clone());
        let (sd, to, noise) = (flat_mut(&mut spread), flat_mut(&mut z), flat(noise));
        fast!(|| {
            sd.iter_mut().for_each(|s| *s = T::of(exp(0.5 * s.wide())));
            to.iter_mut().zip(&*sd).zip(noise).for_each(|((z, sd), noise)| *z += *sd * *noise);
        });
        Drawn { mean, log_variance, spread, clamped, z }
    }

    /// Gradients of both heads, from that of z and a prior N(`law`); each KL counts `scale`. Also Σ KL.
    fn backward(
        &self,
        noise: &Array2<T>,
        dz: &Array2<T>,
        law: (f64, f64),
        scale: f64,
    ) -> (Array2<T>, Array2<T>, f64) {
        let (mut dmean, mut dspread) = (self.mean.clone(), self.log_variance.clone());
        let mut kls = vec![0.0; self.mean.len()];
        let (to_mean, to_spread, sd) = (flat_mut(&mut dmean), flat_mut(&mut dspread), flat(&self.spread));
        let given = flat(noise).iter().zip(flat(dz)).zip(&self.clamped);
        let constant = law.1.ln() - 1.0;
        fast!(|| {
            let grads = to_mean.iter_mut().zip(to_spread).zip(sd);
            for ((((to_mean, to_spread), sd), ((noise, dz), clamped)), kl) in grads.zip(given).zip(&mut kls) {
                // Both hold their heads until now.
                let (gap, s, sd, dz) = (to_mean.wide() - law.0, to_spread.wide(), sd.wide(), dz.wide());
                let share = sd * sd / law.1;
                *kl = 0.5 * (gap * gap / law.1 + share - s + constant);
                *to_mean = T::of(dz + scale * gap / law.1);
                let slope = 0.5 * (dz * noise.wide() * sd + scale * (share - 1.0));
                *to_spread = T::of(if *clamped { 0.0 } else { slope });
            }
        });
        (dmean, dspread, sum(&kls))
    }
}

/// KL of N(mean, eˢ) from N(law).
pub(super) fn kl(mean: f64, s: f64, law: (f64, f64)) -> f64 {
    0.5 * (((mean - law.0).powi(2) + s.exp()) / law.1 - 1.0 - s + law.1.ln())
}

/// Keeps log variances in range; where one was outside.
fn clamp<T: Real>(log_variance: &mut Array2<T>) -> Vec<bool> {
    let [low, high] = LOG_VARIANCE;
    let mut clamped = vec![false; log_variance.len()];
    let values = flat_mut(log_variance);
    fast!(|| {
        for (s, clamped) in values.iter_mut().zip(&mut clamped) {
            let wide = s.wide();
            *clamped = !(wide >= low && wide <= high);
            *s = T::of(wide.clamp(low, high));
        }
    });
    clamped
}

/// An encoder's pass in training, there and back.
struct Job<'a, T> {
    encoder: &'a mut Encoder<T>,
    x: ArrayView2<'a, T>,
    noise: Array2<T>,
    /// The prior, and the weight of its KL.
    law: (f64, f64),
    weight: f64,
    run: Option<(Trace<T>, Drawn<T>)>,
    /// Gradient of z; then Σ KL.
    dz: Array2<T>,
    kl: f64,
}

impl<'a, T: Real> Job<'a, T> {
    fn new(
        encoder: &'a mut Encoder<T>,
        x: ArrayView2<'a, T>,
        noise: Array2<T>,
        (law, weight): ((f64, f64), f64),
    ) -> Job<'a, T> {
        let dz = Array2::from_elem(noise.raw_dim(), T::ZERO);
        Job { encoder, x, noise, law, weight, run: None, dz, kl: 0.0 }
    }

    fn forward(&mut self) {
        let (trace, mean, spread) = self.encoder.train(self.x);
        self.run = Some((trace, Drawn::new(mean, spread, &self.noise)));
    }

    fn backward(&mut self, scale: f64) {
        if let Some((trace, drawn)) = &self.run {
            let (dmean, dspread, kl) = drawn.backward(&self.noise, &self.dz, self.law, scale * self.weight);
            self.encoder.backward(self.x, trace, &dmean, &dspread);
            self.kl = kl;
        }
    }

    /// z of some samples, or nothing before the way forward.
    fn z(&self, samples: Range<usize>) -> Option<ArrayView2<'_, T>> {
        self.run.as_ref().map(|(_, drawn)| drawn.z.slice(s![samples, ..]))
    }
}

/// Calls `f` for every encoder: side by side where no product is so large that it uses several threads itself.
fn each<T: Real>(jobs: &mut [Job<'_, T>], f: impl Fn(&mut Job<'_, T>) + Sync) {
    let sizes = |job: &Job<'_, T>| {
        let widths = job.encoder.hidden.iter().map(|(layer, _)| layer.weight.value.dim());
        widths.map(|(to, from)| [job.x.nrows(), from, to]).collect::<Vec<_>>()
    };
    if jobs.iter().flat_map(sizes).all(alone) {
        jobs.par_iter_mut().with_max_len(1).for_each(|job| {
            settle();
            f(job);
        });
    } else {
        jobs.iter_mut().for_each(f);
    }
}

/// Loss of a mini-batch; adds the gradients of every parameter, but for the penalty of W, which belongs to the way W is
/// updated ([`add_penalty_gradient`]).
pub fn pass<T: Real>(
    net: &mut Network<T>,
    batch: &Batch<T>,
    prior: &Prior,
    membership: (&Membership, &Slab),
    decode: &mut impl Decode<T>,
) -> Loss {
    let samples = batch.input.nrows();
    let scale = 1.0 / samples as f64;
    let input = batch.input.view();
    let Network { columns, shared, own, library, decoder } = net;
    let k_shared = columns.shared;
    let unit = (0.0, 1.0);
    // The shared encoders first, then those of the studies in order; the place of each among them.
    let mut jobs = Vec::new();
    let mut place = [None, None];
    if let Some(encoder) = shared {
        // The noise of the shared columns, sample by sample as in the batch.
        let mut noise = Array2::from_elem((samples, k_shared), T::ZERO);
        for share in &batch.shares {
            noise.slice_mut(s![share.rows.clone(), ..]).assign(&share.noise.slice(s![.., ..k_shared]));
        }
        place[0] = Some(jobs.len());
        jobs.push(Job::new(encoder, input, noise, (unit, prior.kl)));
    }
    if let Some(encoder) = library {
        let noise = Array2::from_shape_fn((batch.size_noise.len(), 1), |(i, _)| batch.size_noise[i]);
        place[1] = Some(jobs.len());
        jobs.push(Job::new(encoder, input, noise, (prior.size, 1.0)));
    }
    let mut own_place = vec![None; batch.shares.len()];
    for (study, encoder) in own.iter_mut().enumerate() {
        let share = batch.shares.iter().position(|share| share.study == study);
        if let (Some(at), Some(encoder)) = (share, encoder) {
            let share = &batch.shares[at];
            let noise = share.noise.slice(s![.., k_shared..]).as_standard_layout().into_owned();
            own_place[at] = Some(jobs.len());
            jobs.push(Job::new(
                encoder,
                input.slice_move(s![share.rows.clone(), ..]),
                noise,
                (unit, prior.kl),
            ));
        }
    }
    each(&mut jobs, |job| job.forward());
    let drawn = |place: Option<usize>, rows: Range<usize>| place.and_then(|at| jobs[at].z(rows));
    let mut tiles = Vec::new();
    for (share, own) in batch.shares.iter().zip(&own_place) {
        let (rows, columns) = (share.rows.clone(), columns.of(share.study));
        let mut z = Array2::from_elem((columns.len(), rows.len()), T::ZERO);
        if let Some(found) = drawn(place[0], rows.clone()) {
            z.slice_mut(s![..k_shared, ..]).assign(&found.t());
        }
        if let Some(found) = drawn(*own, 0..rows.len()) {
            z.slice_mut(s![k_shared.., ..]).assign(&found.t());
        }
        let size = drawn(place[1], rows).map_or(Vec::new(), |z| z.iter().copied().collect());
        tiles.push(Tile { columns, z, x: share.x.clone(), size });
    }
    let done = decode.pass(decoder, &tiles, scale);
    // Back through the latents and their encoders.
    for ((share, own), (dz, dsize)) in
        batch.shares.iter().zip(&own_place).zip(done.dz.iter().zip(&done.dsize))
    {
        let rows = s![share.rows.clone(), ..];
        if let Some(at) = place[0] {
            jobs[at].dz.slice_mut(rows).assign(&dz.slice(s![..k_shared, ..]).t());
        }
        if let Some(at) = place[1] {
            jobs[at].dz.slice_mut(rows).iter_mut().zip(dsize).for_each(|(to, d)| *to = T::of(*d));
        }
        if let Some(at) = *own {
            jobs[at].dz.assign(&dz.slice(s![k_shared.., ..]).t());
        }
    }
    each(&mut jobs, |job| job.backward(scale));
    let sum = jobs.iter().fold(-done.log_lik, |sum, job| sum + job.weight * job.kl);
    let noise = prior.noise.map_or(0.0, |law| noise_prior(&mut decoder.noise, &law, prior.divisor));
    Loss { data: sum * scale, penalty: penalty(&decoder.w, membership), noise }
}

/// log p(σ); adds the gradient of −log p(σ)/D.
fn noise_prior<T: Real>(log_sigma: &mut Param<T>, law: &Noise, divisor: f64) -> f64 {
    let mut sum = 0.0;
    for (log_sigma, grad) in log_sigma.value.iter().zip(&mut log_sigma.grad) {
        let (l, rate) = (log_sigma.wide(), law.beta * (-2.0 * log_sigma.wide()).exp());
        sum -= (2.0 * law.alpha + 2.0) * l + rate;
        *grad += T::of((2.0 * law.alpha + 2.0 - 2.0 * rate) / divisor);
    }
    sum
}

/// Σ λ* |w|.
fn penalty<T: Real>(w: &Param<T>, (membership, slab): (&Membership, &Slab)) -> f64 {
    w.value.indexed_iter().map(|((j, k), w)| membership.penalty(slab, j, k) * w.wide().abs()).sum()
}

/// Adds λ* sign(w)/D to the gradient of W; 0 at 0.
pub fn add_penalty_gradient<T: Real>(w: &mut Param<T>, membership: (&Membership, &Slab), divisor: f64) {
    for (((j, k), w), grad) in w.value.indexed_iter().zip(&mut w.grad) {
        let sign = f64::from(i8::from(*w > T::ZERO) - i8::from(*w < T::ZERO));
        *grad += T::of(membership.0.penalty(membership.1, j, k) * sign / divisor);
    }
}

/// Latents of samples of one study in evaluation: z = μ over the study's columns, samples × columns.
pub struct Encoded<T> {
    /// μ.
    pub mean: Array2<T>,
    /// s.
    pub log_variance: Array2<T>,
    /// μ_ℓ; empty for a Gaussian law.
    pub size: Vec<T>,
}

/// Evaluates the encoders with their running statistics.
pub fn encode<T: Real>(net: &Network<T>, study: usize, input: ArrayView2<'_, T>) -> Encoded<T> {
    let (shared, width) = (net.columns.shared, net.columns.of(study).len());
    let mut mean = Array2::from_elem((input.nrows(), width), T::ZERO);
    let mut log_variance = mean.clone();
    for (encoder, range) in [(&net.shared, 0..shared), (&net.own[study], shared..width)] {
        if let Some(encoder) = encoder {
            let (m, s) = encoder.evaluate(input);
            mean.slice_mut(s![.., range.clone()]).assign(&m);
            log_variance.slice_mut(s![.., range]).assign(&s);
        }
    }
    clamp(&mut log_variance);
    let size = net.library.as_ref().map_or(Vec::new(), |e| e.evaluate(input).0.iter().copied().collect());
    Encoded { mean, log_variance, size }
}

/// KL of one sample's latents from N(0, I).
pub fn latent_kl<T: Real>(encoded: &Encoded<T>, sample: usize) -> f64 {
    let (mean, s) = (encoded.mean.row(sample), encoded.log_variance.row(sample));
    mean.iter().zip(s).map(|(m, s)| kl(m.wide(), s.wide(), (0.0, 1.0))).sum()
}

#[cfg(test)]
mod tests;
