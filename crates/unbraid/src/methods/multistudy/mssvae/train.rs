//! The loop over mini-batches.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::factors::factors;
use super::promote::Promotions;
use super::warm::{Lead, Warm};
use super::{Mssvae, MssvaeFit, Origin, PriorScale, WUpdate};
use crate::data::Matrix;
use crate::error::{Error, Result};
use crate::fit::{Course, Ctx, Draw, Iterate, Seed, Step, Stop};
use crate::methods::multistudy::Columns;
use crate::methods::multistudy::elbo::{self, Batch, Prior, Share};
use crate::methods::multistudy::fused::Fused;
use crate::methods::multistudy::init::{self, Noise};
use crate::methods::multistudy::likelihood::Law;
use crate::methods::multistudy::network::{Network, Sizes};
use crate::methods::multistudy::ssl::{Membership, Slab, annealed};
use crate::methods::multistudy::studies::Studies;
use crate::nn::activation::softplus_inverse;
use crate::nn::adam::Adam;

/// Parameters bound to data.
pub(in crate::methods::multistudy) struct Problem<'a> {
    pub(super) params: &'a Mssvae,
    /// Samples × features.
    pub(super) x: Array2<f32>,
    /// Study of each sample.
    pub(super) study: &'a [u32],
    /// Samples of each study.
    pub(super) samples: Vec<Vec<usize>>,
    names: &'a [String],
    pub(super) columns: Columns,
    start: Start,
    /// For the linear start.
    lead: Option<Lead>,
}

/// What the data say before the first step.
struct Start {
    /// log σ or log φ of each feature.
    noise: Vec<f64>,
    /// Share of all counts of each feature; empty for a Gaussian law.
    shares: Vec<f64>,
    law: Option<Noise>,
    /// Mean and variance of log totals.
    size: (f64, f64),
}

#[derive(Serialize, Deserialize)]
pub(in crate::methods::multistudy) struct State {
    pub(super) network: Network<f32>,
    pub(super) membership: Membership,
    pub(super) seed: Seed,
    /// Until the first step of the linear start.
    pub(super) warm: Option<Warm>,
    /// Steps of Adam so far.
    pub(super) step: u64,
    pub(super) epoch: usize,
    pub(super) promotions: Promotions,
    /// First sample of the next batch in the epoch's order.
    next: usize,
    /// Loss times samples, and samples, of this epoch so far.
    sums: (f64, f64),
    /// Samples of this epoch; drawn again where it is empty.
    #[serde(skip)]
    pub(super) order: Vec<usize>,
    /// Memory of the decoder, which changes no result.
    #[serde(skip)]
    fused: Fused<f32>,
}

impl<'a> Problem<'a> {
    pub fn new(params: &'a Mssvae, input: &Studies<'a>) -> Result<Problem<'a>> {
        let samples = input.samples();
        let columns = Columns { shared: params.shared, specific: vec![params.specific; samples.len()] };
        let dense = match input.values.matrix {
            Matrix::Dense(x) => Cow::Borrowed(x),
            Matrix::Sparse(x) => Cow::Owned(x.to_dense()),
        };
        let start = match params.likelihood {
            Law::Gaussian => {
                let law = Noise::of(dense.view(), params.alpha);
                let noise = vec![0.5 * law.variance.ln(); dense.ncols()];
                Start { noise, shares: Vec::new(), law: Some(law), size: (0.0, 1.0) }
            }
            Law::NegBinomial => {
                counts(params, input, &dense)?;
                let least = params.dispersion.recip();
                let columns = dense.columns().into_iter();
                let noise = columns.map(|c| init::inverse_dispersion(c).max(least).ln()).collect();
                let total = dense.sum().max(f64::MIN_POSITIVE);
                let shares = dense.columns().into_iter().map(|c| (c.sum() / total).max(1e-8)).collect();
                let (mean, variance) = init::log_totals(dense.view());
                Start { noise, shares, law: None, size: (mean, variance.max(1e-4)) }
            }
        };
        let linear = params.origin(&samples, dense.ncols())? == Origin::Linear;
        let x = dense.mapv(|v| v as f32);
        let lead = linear.then(|| Lead::new(dense.into_owned(), params.likelihood, &samples, &columns));
        Ok(Problem { params, x, study: input.study, samples, names: input.names, columns, start, lead })
    }

    /// N samples with replacement, every study as often as any other.
    pub(super) fn order(&self, seed: Seed, epoch: usize) -> Vec<usize> {
        let mut rng = seed.stream(Draw::Shuffle, epoch as u64);
        let one = |_| {
            let of = &self.samples[rng.random_range(0..self.samples.len())];
            of[rng.random_range(0..of.len())]
        };
        (0..self.x.nrows()).map(one).collect()
    }

    /// Some samples with the noise of their step, study by study; a study with fewer than 2 of them is left out.
    fn batch(&self, rows: &[usize], seed: Seed, step: u64) -> Batch<f32> {
        let mut rng = seed.stream(Draw::Latent, step);
        let mut draw = || -> f32 { StandardNormal.sample(&mut rng) };
        let (mut used, mut shares) = (Vec::new(), Vec::new());
        for study in 0..self.samples.len() {
            let own: Vec<usize> = rows.iter().copied().filter(|&i| self.study[i] as usize == study).collect();
            if own.len() < 2 {
                continue;
            }
            let shape = (own.len(), self.columns.of(study).len());
            let noise = Array2::from_shape_simple_fn(shape, &mut draw);
            let rows = used.len()..used.len() + own.len();
            shares.push(Share { study, rows, x: Array2::zeros((0, 0)), noise });
            used.extend(own);
        }
        let counts = self.params.likelihood == Law::NegBinomial;
        let mut input = self.x.select(Axis(0), &used);
        shares.par_iter_mut().for_each(|share| share.x = turned(input.slice(s![share.rows.clone(), ..])));
        self.params.likelihood.read(&mut input);
        let size_noise = (0..if counts { used.len() } else { 0 }).map(|_| draw()).collect();
        Batch { input, shares, size_noise }
    }

    pub(super) fn slab(&self, epoch: usize) -> Slab {
        let p = self.params;
        let b = if p.b == 0.0 { self.x.ncols() as f64 } else { p.b };
        let lambda0 = annealed(epoch, p.epochs, p.lambda0, p.stages).max(p.lambda1);
        Slab { lambda0, lambda1: p.lambda1, a: p.a, b }
    }

    /// What step sizes are multiplied by in an epoch: 1, and at the end a line that would reach 0 after the last.
    pub(super) fn pace(&self, epoch: usize) -> f64 {
        let left = self.params.epochs.saturating_sub(epoch) as f64;
        let falling = self.params.decay * self.params.epochs as f64;
        if left < falling { left / falling } else { 1.0 }
    }

    /// One step of everything; the loss before it.
    fn descend(&self, s: &mut State, batch: &Batch<f32>) -> f64 {
        let (p, slab) = (self.params, self.slab(s.epoch));
        let divisor = match p.prior_scale {
            PriorScale::Batch => batch.input.nrows() as f64,
            PriorScale::Dataset => self.x.nrows() as f64,
            PriorScale::Samples(samples) => samples as f64,
        };
        let rise = (p.warmup * p.epochs as f64).max(1.0);
        let kl = ((s.epoch as f64 + 1.0) / rise).min(1.0);
        let prior = Prior { size: self.start.size, noise: self.start.law, divisor, kl };
        let linear = self.lead.is_some();
        let held = linear && (s.epoch as f64) < rise;
        // The linear start has its zeros from the beginning.
        let rising = slab.lambda0 <= 1.0 && p.lambda0 > 1.0 && !linear;
        let full = p.w_update == WUpdate::Gradient || rising || s.step.is_multiple_of(p.refresh as u64);
        s.fused.set_full(full);
        s.network.visit(&mut |_, p| p.clear());
        let membership = (&s.membership, &slab);
        let loss = elbo::pass(&mut s.network, batch, &prior, membership, &mut s.fused);
        if p.w_update == WUpdate::Gradient {
            elbo::add_penalty_gradient(&mut s.network.decoder.w, membership, divisor);
        }
        s.step += 1;
        let pace = self.pace(s.epoch);
        let [all, of_w] = [p.learning_rate, p.learning_rate_w].map(|rate| Adam::at(s.step, pace * rate));
        let proximal = p.w_update == WUpdate::Prox;
        s.network.visit(&mut |name, param| match name {
            "W" if proximal || held => {}
            "W" | "log_phi" => of_w.descend(param),
            _ => all.descend(param),
        });
        if proximal && !held {
            let omega: Vec<f32> = s
                .membership
                .member
                .iter()
                .map(|g| ((slab.lambda1 + (slab.lambda0 - slab.lambda1) * (1.0 - g)) / divisor) as f32)
                .collect();
            of_w.descend_proximal(&mut s.network.decoder.w, &omega, !full);
        }
        if !held {
            s.membership.update(&slab, s.network.decoder.w.value.view());
        }
        loss.total(&prior)
    }

    /// The fit from the last state.
    pub fn finish(&self, course: Course<State>, stop: Stop, ctx: &mut Ctx<'_>) -> Result<MssvaeFit> {
        let State { network, membership, promotions, .. } = course.state;
        let counts = self.params.likelihood == Law::NegBinomial;
        let mut latents = Array2::zeros((self.x.nrows(), self.columns.total()));
        let mut log_sizes = vec![0.0; if counts { self.x.nrows() } else { 0 }];
        for (study, samples) in self.samples.iter().enumerate() {
            let columns = self.columns.of(study);
            for rows in samples.chunks(self.params.batch) {
                let mut input = self.x.select(Axis(0), rows);
                self.params.likelihood.read(&mut input);
                let found = elbo::encode(&network, study, input.view());
                for (at, &i) in rows.iter().enumerate() {
                    let mut to = latents.slice_mut(s![i, ..]);
                    columns.iter().zip(found.mean.row(at)).for_each(|(&k, v)| to[k] = f64::from(*v));
                    if let Some(size) = found.size.get(at) {
                        log_sizes[i] = f64::from(*size);
                    }
                }
            }
        }
        let parts =
            factors(self.params, &self.columns, &network.decoder.w.value, latents.view(), &self.samples);
        if parts.is_empty() {
            ctx.warn(
                "No factor is left: no column of W with `min_support` weights above `threshold` has codes that vary; set a smaller `lambda0`, a larger `prior_scale` (`dataset`), or train for more epochs.",
            );
        }
        Ok(MssvaeFit {
            network,
            columns: self.columns.clone(),
            membership,
            parts,
            studies: self.names.to_vec(),
            latents,
            log_sizes,
            objective: course.objective,
            threshold: self.params.threshold,
            promoted: promotions.made,
            anchors: None,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }
}

/// Where the mini-batch that begins at `next` ends. A rest of less than half a batch would stand under a penalty more than twice
/// as strong as the others do: then all are of one size, to a sample.
pub(super) fn batch_end(samples: usize, batch: usize, next: usize) -> usize {
    let rest = samples % batch;
    if rest == 0 || 2 * rest >= batch {
        return (next + batch).min(samples);
    }
    let count = samples.div_ceil(batch);
    let first = next * count / samples;
    (first..=count).map(|at| at * samples / count).find(|end| *end > next).unwrap_or(samples)
}

/// The transpose, in blocks that stay in the nearest cache.
fn turned(x: ArrayView2<'_, f32>) -> Array2<f32> {
    const BLOCK: usize = 16;
    let mut out = Array2::zeros((x.ncols(), x.nrows()));
    let blocks =
        (0..x.nrows()).step_by(BLOCK).flat_map(|i| (0..x.ncols()).step_by(BLOCK).map(move |j| (i, j)));
    for (i, j) in blocks {
        for i in i..x.nrows().min(i + BLOCK) {
            for j in j..x.ncols().min(j + BLOCK) {
                out[[j, i]] = x[[i, j]];
            }
        }
    }
    out
}

/// Refuses what cannot be counts.
fn counts(params: &Mssvae, input: &Studies<'_>, x: &Array2<f64>) -> Result<()> {
    let bad = |(_, v): &((usize, usize), &f64)| **v < 0.0 || (!params.fractions && v.fract() != 0.0);
    let Some((at, &found)) = x.indexed_iter().find(bad) else { return Ok(()) };
    let rule = if found < 0.0 {
        "0 or larger with `likelihood=nb`"
    } else {
        "a whole number with `likelihood=nb`; `fractions=true` takes it as it is"
    };
    Err(Error::Value { what: input.values.what.into(), found, at, rule })
}

impl Iterate for Problem<'_> {
    type State = State;

    fn start(&self, seed: Seed) -> Result<State> {
        let p = self.params;
        let features = self.x.ncols();
        let sizes = Sizes { encoders: p.encoder_sizes(), decoder: p.hidden };
        let mut network = Network::new(p.likelihood, features, self.columns.clone(), sizes, p.skip, seed);
        let decoder = &mut network.decoder;
        decoder.noise.value.iter_mut().zip(&self.start.noise).for_each(|(to, v)| *to = *v as f32);
        // Counts start at their features' shares and at their samples' typical total: from the default draws the first
        // means are wrong by a factor of the number of features, and the first epochs go to that alone.
        let biases = decoder.b3.value.iter_mut();
        biases.zip(&self.start.shares).for_each(|(to, v)| *to = softplus_inverse(*v) as f32);
        if let Some(library) = &mut network.library {
            library.mean.bias.value.fill(self.start.size.0 as f32);
            library.spread.bias.value.fill(self.start.size.1.ln() as f32);
        }
        let warm = self.lead.as_ref().map(|lead| lead.start(seed.child(Draw::Init, 0))).transpose()?;
        Ok(State {
            warm,
            network,
            membership: Membership::new(features, self.columns.total()),
            seed,
            step: 0,
            epoch: 0,
            promotions: Promotions::default(),
            next: 0,
            sums: (0.0, 0.0),
            order: Vec::new(),
            fused: Fused::new(true),
        })
    }

    /// One mini-batch; the last of an epoch closes it.
    fn step(&self, s: &mut State) -> Result<Step> {
        if let (Some(lead), Some(warm)) = (&self.lead, s.warm.take()) {
            return self.warm_up(s, lead, warm);
        }
        if s.order.is_empty() {
            s.order = self.order(s.seed, s.epoch);
        }
        let end = batch_end(s.order.len(), self.params.batch, s.next);
        let rows = s.order[s.next..end].to_vec();
        let batch = self.batch(&rows, s.seed, s.step);
        if !batch.shares.is_empty() {
            let samples = batch.input.nrows() as f64;
            s.sums.0 += samples * self.descend(s, &batch);
            s.sums.1 += samples;
        }
        s.next = end;
        if s.next < s.order.len() {
            return Ok(Step::Part);
        }
        let loss = s.sums.0 / s.sums.1.max(1.0);
        (s.epoch, s.next, s.sums) = (s.epoch + 1, 0, (0.0, 0.0));
        s.order.clear();
        Ok(if self.promote(s, loss) { Step::Sweep(loss) } else { Step::Part })
    }

    /// The schedule of λ₀ belongs to the number of epochs, so that all are taken.
    fn converged(&self, _: &State, _: f64, _: &[f64]) -> bool {
        false
    }
}
