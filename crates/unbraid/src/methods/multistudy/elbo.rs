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

use super::init::Noise;
use super::network::{Decode, Network, Tile};
use super::ssl::{Membership, Slab};
use crate::nn::mlp::{Encoder, Trace};
use crate::nn::{Param, Real};

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
    clamped: Vec<bool>,
    /// z.
    pub z: Array2<T>,
}

impl<T: Real> Drawn<T> {
    fn new(mean: Array2<T>, mut log_variance: Array2<T>, noise: ArrayView2<'_, T>) -> Drawn<T> {
        let clamped = clamp(&mut log_variance);
        let mut z = mean.clone();
        for ((z, s), e) in z.iter_mut().zip(&log_variance).zip(noise) {
            *z += T::of((0.5 * s.wide()).exp()) * *e;
        }
        Drawn { mean, log_variance, clamped, z }
    }

    /// Gradients of both heads, from that of z and a prior N(`law`); each KL counts `scale`. Also Σ KL.
    fn backward(
        &self,
        noise: ArrayView2<'_, T>,
        dz: ArrayView2<'_, T>,
        law: (f64, f64),
        scale: f64,
    ) -> (Array2<T>, Array2<T>, f64) {
        let (mut dmean, mut dspread) = (self.mean.clone(), self.mean.clone());
        let mut sum = 0.0;
        let heads = self.mean.iter().zip(&self.log_variance).zip(&self.clamped);
        let grads = dmean.iter_mut().zip(&mut dspread);
        for ((((mean, s), clamped), (noise, dz)), (dmean, dspread)) in
            heads.zip(noise.iter().zip(dz)).zip(grads)
        {
            let (mean, s, dz) = (mean.wide(), s.wide(), dz.wide());
            sum += kl(mean, s, law);
            *dmean = T::of(dz + scale * (mean - law.0) / law.1);
            let slope = 0.5 * (dz * noise.wide() * (0.5 * s).exp() + scale * (s.exp() / law.1 - 1.0));
            *dspread = T::of(if *clamped { 0.0 } else { slope });
        }
        (dmean, dspread, sum)
    }
}

/// KL of N(mean, eˢ) from N(law).
pub(in crate::methods::multistudy) fn kl(mean: f64, s: f64, law: (f64, f64)) -> f64 {
    0.5 * (((mean - law.0).powi(2) + s.exp()) / law.1 - 1.0 - s + law.1.ln())
}

/// Keeps log variances in range; where one was outside.
fn clamp<T: Real>(log_variance: &mut Array2<T>) -> Vec<bool> {
    let [low, high] = LOG_VARIANCE;
    let one = |s: &mut T| {
        let outside = !(s.wide() >= low && s.wide() <= high);
        *s = T::of(s.wide().clamp(low, high));
        outside
    };
    log_variance.iter_mut().map(one).collect()
}

/// An encoder's forward pass in training.
struct Run<T> {
    trace: Trace<T>,
    drawn: Drawn<T>,
}

impl<T: Real> Run<T> {
    fn new(encoder: &mut Encoder<T>, x: ArrayView2<'_, T>, noise: ArrayView2<'_, T>) -> Run<T> {
        let (trace, mean, spread) = encoder.train(x);
        Run { trace, drawn: Drawn::new(mean, spread, noise) }
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
    let k_shared = net.columns.shared;
    // The noise of the shared columns, sample by sample as in the batch.
    let mut noise = Array2::from_elem((samples, k_shared), T::ZERO);
    for share in &batch.shares {
        noise.slice_mut(s![share.rows.clone(), ..]).assign(&share.noise.slice(s![.., ..k_shared]));
    }
    let shared = net.shared.as_mut().map(|e| Run::new(e, input, noise.view()));
    let size_noise = ArrayView2::from_shape((batch.size_noise.len(), 1), &batch.size_noise);
    let size_noise = size_noise.unwrap_or(ArrayView2::from_shape((0, 1), &[]).unwrap_or(noise.view()));
    let library = net.library.as_mut().map(|e| Run::new(e, input, size_noise));
    let mut own = Vec::new();
    let mut tiles = Vec::new();
    for share in &batch.shares {
        let rows = s![share.rows.clone(), ..];
        let run = net.own[share.study]
            .as_mut()
            .map(|e| Run::new(e, input.slice(rows), share.noise.slice(s![.., k_shared..])));
        let columns = net.columns.of(share.study);
        let mut z = Array2::from_elem((columns.len(), share.rows.len()), T::ZERO);
        if let Some(shared) = &shared {
            z.slice_mut(s![..k_shared, ..]).assign(&shared.drawn.z.slice(rows).t());
        }
        if let Some(run) = &run {
            z.slice_mut(s![k_shared.., ..]).assign(&run.drawn.z.t());
        }
        let size = library.as_ref().map_or(Vec::new(), |l| l.drawn.z.slice(rows).iter().copied().collect());
        tiles.push(Tile { columns, z, x: share.x.clone(), size });
        own.push(run);
    }
    let done = decode.pass(&mut net.decoder, &tiles, scale);
    // Back through the latents and their encoders.
    let mut sum = -done.log_lik;
    let unit = (0.0, 1.0);
    let mut dz = Array2::from_elem(noise.raw_dim(), T::ZERO);
    let mut dsize = Array2::from_elem((size_noise.nrows(), 1), T::ZERO);
    for (at, share) in batch.shares.iter().enumerate() {
        let rows = s![share.rows.clone(), ..];
        dz.slice_mut(rows).assign(&done.dz[at].slice(s![..k_shared, ..]).t());
        if library.is_some() {
            dsize.slice_mut(rows).iter_mut().zip(&done.dsize[at]).for_each(|(to, d)| *to = T::of(*d));
        }
        if let (Some(run), Some(encoder)) = (&own[at], &mut net.own[share.study]) {
            let dz = done.dz[at].slice(s![k_shared.., ..]).reversed_axes();
            let noise = share.noise.slice(s![.., k_shared..]);
            let (dmean, dspread, kl) = run.drawn.backward(noise, dz, unit, scale * prior.kl);
            encoder.backward(input.slice(rows), &run.trace, &dmean, &dspread);
            sum += prior.kl * kl;
        }
    }
    for (run, encoder, noise, dz, law, weight) in [
        (&shared, &mut net.shared, noise.view(), dz.view(), unit, prior.kl),
        (&library, &mut net.library, size_noise, dsize.view(), prior.size, 1.0),
    ] {
        if let (Some(run), Some(encoder)) = (run, encoder) {
            let (dmean, dspread, kl) = run.drawn.backward(noise, dz, law, scale * weight);
            encoder.backward(input, &run.trace, &dmean, &dspread);
            sum += weight * kl;
        }
    }
    let noise = prior.noise.map_or(0.0, |law| noise_prior(&mut net.decoder.noise, &law, prior.divisor));
    Loss { data: sum * scale, penalty: penalty(&net.decoder.w, membership), noise }
}

/// log p(σ); adds the gradient of −log p(σ)/D.
fn noise_prior<T: Real>(log_sigma: &mut Param<T>, law: &Noise, divisor: f64) -> f64 {
    let mut sum = 0.0;
    for (log_sigma, grad) in log_sigma.value.iter().zip(&mut log_sigma.grad) {
        let (l, rate) = (log_sigma.wide(), law.beta * (-2.0 * log_sigma.wide()).exp());
        sum += law.log_density(l);
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
