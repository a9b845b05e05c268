//! The linear start: a linear model of the same data says where W and the encoders begin.
//!
//! ```text
//! x̃ = x, of counts log(1 + 10⁴ x_ij / Σ_j x_ij);       x̃ = μ_s + Φ f + Λ_s l + e       ([`linear`], 200 steps)
//! w_jk = 1 where |λ_jk| > 0.3 max_j |λ_jk| and |λ_jk| > 0.1 sd(x̃_j), else 0;            λ the columns of [Φ Λ_0 Λ_1 …] after varimax
//! encoders: min mean_i Σ_k (μ_k(x_i) − E f_ik)² by Adam in mini-batches, 10 epochs; then e^s = 0.1 but for what the heads add
//! ```
//!
//! The linear model finds factors that move their features about in proportion, in a few seconds, but cannot drop a column, and
//! knows neither the law of counts nor curved decoders. Its sets and scores are where the networks begin, instead of W = 1 and
//! encoders that say nothing: every column belongs to a factor from the first step, so that a few hundred steps do what takes thousands
//! from the random start, and W is sparse throughout, so that they are fast ones. Factors whose features follow a square are not
//! seen by correlations: for those the random start is better.
//!
//! W is held while the KL terms rise (`warmup`): the decoder must have learnt to use a column before its penalty may take it.
//!
//! [`linear`]: crate::methods::multistudy::linear

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::train::{Problem, State, batch_end};
use crate::error::Result;
use crate::fit::{Draw, Iterate, Seed, Step};
use crate::methods::multistudy::Columns;
use crate::methods::multistudy::likelihood::Law;
use crate::methods::multistudy::linear::{self, Turned};
use crate::methods::multistudy::network::Network;
use crate::nn::Param;
use crate::nn::adam::Adam;
use crate::preprocess::prepare::DEPTH;

/// Steps of the linear model.
const STEPS: usize = 200;
/// Share of the largest |loading| of a column above which a feature is in its set.
const SHARE: f64 = 0.3;
/// Least correlation with the factor.
const CORRELATION: f64 = 0.1;
/// Epochs of the encoders on the linear scores.
const EPOCHS: usize = 10;
/// Variance of the latents' posterior to start with.
const SPREAD: f64 = 0.1;

/// Where the way to the first step stands.
#[derive(Serialize, Deserialize)]
pub(super) enum Warm {
    /// In the linear model.
    Linear(linear::State),
    /// In the encoders.
    Encoders(Following),
}

/// Encoders on the way to the linear scores.
#[derive(Serialize, Deserialize)]
pub(super) struct Following {
    /// E f and E l, N × K.
    codes: Array2<f32>,
    /// Steps of Adam so far.
    step: u64,
    epoch: usize,
    /// First sample of the next mini-batch in the epoch's order.
    next: usize,
}

/// The linear model of a data set.
pub(super) struct Lead {
    model: linear::Problem,
    /// Standard deviations of x̃.
    spread: Vec<f64>,
}

impl Lead {
    /// Of samples × features.
    pub fn new(mut x: Array2<f64>, law: Law, samples: &[Vec<usize>], columns: &Columns) -> Lead {
        if law == Law::NegBinomial {
            for mut row in x.rows_mut() {
                let total = row.sum();
                let scale = if total > 0.0 { DEPTH / total } else { 1.0 };
                row.mapv_inplace(|v| (v * scale).ln_1p());
            }
        }
        let spread = x.columns().into_iter().map(|c| c.std(0.0)).collect();
        Lead { model: linear::Problem::new(x.view(), samples, columns.clone(), true), spread }
    }

    /// The first state.
    pub fn start(&self, seed: Seed) -> Result<Warm> {
        Ok(Warm::Linear(self.model.start(seed)?))
    }
}

impl Problem<'_> {
    /// One step on the way to the first step.
    pub(super) fn warm_up(&self, s: &mut State, lead: &Lead, warm: Warm) -> Result<Step> {
        let batches = self.study.len().div_ceil(self.params.batch);
        let done;
        s.warm = match warm {
            Warm::Linear(mut at) if at.steps < STEPS => {
                lead.model.step(&mut at)?;
                done = at.steps;
                Some(Warm::Linear(at))
            }
            Warm::Linear(at) => {
                let Turned { loadings, codes } = lead.model.turned(&at, &self.samples)?;
                let w = &mut s.network.decoder.w.value;
                for (k, column) in loadings.columns().into_iter().enumerate() {
                    let least = SHARE * column.iter().fold(0.0f64, |most, v| most.max(v.abs()));
                    for (j, (v, sd)) in column.iter().zip(&lead.spread).enumerate() {
                        let inside = v.abs() > least && v.abs() > CORRELATION * sd;
                        w[[j, k]] = if inside { 1.0 } else { 0.0 };
                    }
                }
                s.membership.update(&self.slab(0), w.view());
                let codes = codes.mapv(|v| v as f32);
                done = STEPS;
                Some(Warm::Encoders(Following { codes, step: 0, epoch: 0, next: 0 }))
            }
            Warm::Encoders(f) if f.epoch == EPOCHS => {
                done = STEPS + EPOCHS * batches;
                ready(&mut s.network);
                None
            }
            Warm::Encoders(mut f) => {
                done = STEPS + f.step as usize;
                if s.order.is_empty() {
                    s.order = self.order(s.seed.child(Draw::Restart, 0), f.epoch);
                }
                let end = batch_end(s.order.len(), self.params.batch, f.next);
                f.step += 1;
                self.follow(&mut s.network, &s.order[f.next..end], &f);
                f.next = end;
                if f.next == s.order.len() {
                    (f.epoch, f.next) = (f.epoch + 1, 0);
                    s.order.clear();
                }
                Some(Warm::Encoders(f))
            }
        };
        Ok(Step::Start(done, STEPS + EPOCHS * batches))
    }

    /// One step of every encoder towards the scores of some samples.
    fn follow(&self, network: &mut Network<f32>, rows: &[usize], f: &Following) {
        let adam = Adam::at(f.step, self.params.learning_rate);
        let owned = (0..self.samples.len()).map(|m| (Some(m), self.columns.own(m)));
        for (of, columns) in std::iter::once((None, 0..self.columns.shared)).chain(owned) {
            let encoder = match of {
                None => network.shared.as_mut(),
                Some(m) => network.own[m].as_mut(),
            };
            let theirs = |i: &usize| of.is_none_or(|m| self.study[*i] as usize == m);
            let rows: Vec<usize> = rows.iter().copied().filter(theirs).collect();
            let Some(encoder) = encoder.filter(|_| rows.len() >= 2) else { continue };
            let mut input = self.x.select(Axis(0), &rows);
            self.params.likelihood.read(&mut input);
            encoder.visit("", &mut |_, p| p.clear());
            let (trace, mut gap, spread) = encoder.train(input.view());
            for (mut row, &i) in gap.rows_mut().into_iter().zip(&rows) {
                row.iter_mut().zip(columns.clone()).for_each(|(g, k)| *g -= f.codes[[i, k]]);
            }
            gap /= rows.len() as f32;
            encoder.backward(input.view(), &trace, &gap, &Array2::zeros(spread.raw_dim()));
            encoder.visit("", &mut |_, p| adam.descend(p));
        }
    }
}

/// Encoders as the first step takes them.
fn ready(network: &mut Network<f32>) {
    for encoder in network.shared.iter_mut().chain(network.own.iter_mut().flatten()) {
        encoder.spread.weight.value.mapv_inplace(|v| SPREAD as f32 * v);
        encoder.spread.bias.value.fill(SPREAD.ln() as f32);
        // The moments of Adam are those of another objective.
        encoder.visit("", &mut |_, p| *p = Param::new(p.value.clone()));
    }
}
