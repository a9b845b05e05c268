//! The K-sample bound of one side and its gradients.
//!
//! ```text
//! z_k = m + s ε_k,  u_k = z_k + (f − 1) m,   a_k = log p_θ(x | u_k),   log w_k = a_k + β ( log p_λ(z_k) − log q_φ(z_k | x) ),
//! F = logsumexp_k log w_k − log K   (to be large),   ŵ_k = softmax_k(log w_k)
//! ```
//!
//! | symbol | shape  | meaning                                      | field              |
//! |--------|--------|----------------------------------------------|--------------------|
//! | m, s   | B × L  | mean and standard deviation of q              | `Posterior`        |
//! | ε, z   | BK × L | noise and samples, K of an item in a row      | `Samples`          |
//! | f      | L      | stretch of the mean on the way to the decoder | `stretch`          |
//! | r_k    | BK × L | ŵ_k ∂a_k/∂u                                   | from the decoder   |
//! | β      |        | weight of the divergence                      | `Objective::beta`  |
//!
//! With A_k = r_k + β ŵ_k ( ∂ log p/∂z + (z − m)/s² ), which is ŵ_k ∂ log w_k/∂z, the encoder's gradient is
//!
//! ```text
//! plain:  Σ_k A_k ∂z_k/∂φ − β ŵ_k ∂ log q(z_k)/∂φ|_z + ŵ_k D_k
//! dreg:   Σ_k ((1 − β) + β ŵ_k) A_k ∂z_k/∂φ + ŵ_k D_k,         ŵ_k D_k = (f − 1) r_k into m
//! ```
//!
//! Both are unbiased (Tucker and others 2019: `tucker2019`, extended to β and to the stretch). Of the mixture
//!
//! ```text
//! plain:  β Σ_k ŵ_k ∂ log p(z_k)/∂λ
//! gdreg:  v_k = r_k − c_k A_k,  c_k = (1 − β) + β ŵ_k:   ∂/∂μ_c = Σ_k γ_c v_k,   ∂/∂ log σ_c = Σ_k γ_c v_k (z_k − μ_c)
//! mix:    plain + α (gdreg − plain),  α = (Var p − Cov)/(Var p + Var g − 2 Cov) from earlier steps, parameter by parameter
//! ```
//!
//! (Bauer and Mnih 2021: `bauer2021`; the form for mixtures, in which the terms of single components cancel, is ours.) Logits have
//! the plain form alone. Everything here is in f64; networks may be in f32.

pub mod linear;

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::mixture::{Gradient, Ready, Sums, softmax};
use crate::nn::abreast::{EIGHT, Lanes, add_lanes, by_eight, each, into_lanes};
use crate::nn::elementary::exp;
use crate::nn::wide::fast;
use crate::nn::{flat, flat_mut};

/// How the divergence from the mixture is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// By the samples, within the K-sample bound (Burda and others 2016).
    Iwae,
    /// Jiang and others' bound in closed form.
    Vade,
    /// Hershey and Olsen's bound in closed form.
    Bound,
}

/// Which gradient of the K-sample bound the encoder follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderGradient {
    /// Pathwise, with the score term.
    Plain,
    /// Doubly reparametrised.
    Dreg,
}

/// Which gradient of the K-sample bound the mixture follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorGradient {
    /// As the density says.
    Plain,
    /// Doubly reparametrised through the components.
    Gdreg,
    /// The mixture of both with the least variance in earlier steps.
    Mix,
}

crate::words!(Divergence, "a divergence", Iwae = "iwae", Vade = "vade", Bound = "bound");
crate::words!(EncoderGradient, "a gradient of the encoder", Plain = "plain", Dreg = "dreg");
crate::words!(PriorGradient, "a gradient of the mixture", Plain = "plain", Gdreg = "gdreg", Mix = "mix");

/// What is made large.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    /// Samples K of an item.
    pub samples: usize,
    /// β.
    pub beta: f64,
    /// How the divergence is taken.
    pub divergence: Divergence,
    /// Which gradient the encoder follows.
    pub encoder: EncoderGradient,
}

/// q(z | x) of a batch.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// m, B × L.
    pub mean: Array2<f64>,
    /// log s², B × L.
    pub log_variance: Array2<f64>,
}

impl Posterior {
    /// s, row by row.
    pub fn deviations(&self) -> Vec<f64> {
        let mut roots: Vec<f64> = self.log_variance.iter().map(|lv| 0.5 * lv).collect();
        fast!(|| roots.iter_mut().for_each(|v| *v = exp(*v)));
        roots
    }

    /// That of the lines from `from` up to `to`.
    pub fn lines(&self, from: usize, to: usize) -> Posterior {
        let part = |a: &Array2<f64>| a.slice(s![from..to, ..]).to_owned();
        Posterior { mean: part(&self.mean), log_variance: part(&self.log_variance) }
    }
}

/// Samples of a batch and what densities say of them.
#[derive(Clone, Debug)]
pub struct Samples {
    /// ε, BK × L.
    pub noise: Array2<f64>,
    /// z, BK × L.
    pub z: Array2<f64>,
    /// γ(z), BK × c.
    pub gamma: Array2<f64>,
    /// log p(z).
    pub log_p: Vec<f64>,
    /// log q(z).
    pub log_q: Vec<f64>,
}

/// Standard normal numbers for `samples` of an item.
pub fn noise(samples: usize, dims: usize, rng: &mut impl Rng) -> Vec<f64> {
    (0..samples * dims).map(|_| StandardNormal.sample(rng)).collect()
}

impl Samples {
    /// Samples of a posterior, K of an item in a row.
    pub fn draw(q: &Posterior, noise: Array2<f64>, prior: &Ready) -> Samples {
        let (rows, dims) = noise.dim();
        let (k, components) = (rows / q.mean.nrows().max(1), prior.len());
        let (mut z, mut gamma) = (Array2::zeros((rows, dims)), Array2::zeros((rows, components)));
        let (mut log_p, mut log_q) = (vec![0.0; rows], vec![0.0; rows]);
        let half = 0.5 * std::f64::consts::TAU.ln();
        let roots = q.deviations();
        let (points, shares) = (flat_mut(&mut z), flat_mut(&mut gamma));
        fast!(|| {
            for at in 0..rows {
                let line = (at / k) * dims..(at / k + 1) * dims;
                let (m, lv) = (&flat(&q.mean)[line.clone()], &flat(&q.log_variance)[line.clone()]);
                let (root, e) = (&roots[line], &flat(&noise)[at * dims..][..dims]);
                let point = &mut points[at * dims..][..dims];
                for d in 0..dims {
                    point[d] = m[d] + root[d] * e[d];
                    log_q[at] -= 0.5 * (e[d] * e[d] + lv[d]) + half;
                }
            }
            prior.densities(points, shares, &mut log_p);
        });
        Samples { noise, z, gamma, log_p, log_q }
    }

    /// u = z + (f − 1) m, what the decoder sees.
    pub fn stretched(&self, q: &Posterior, stretch: &[f64]) -> Array2<f64> {
        let k = self.z.nrows() / q.mean.nrows().max(1);
        let mut u = self.z.clone();
        for (at, mut row) in u.rows_mut().into_iter().enumerate() {
            let m = q.mean.row(at / k);
            row.iter_mut().zip(m).zip(stretch).for_each(|((u, m), f)| *u += (f - 1.0) * m);
        }
        u
    }
}

/// ŵ of every sample and F of every item.
#[derive(Clone, Debug)]
pub struct Weights {
    /// ŵ, BK; 1/K each where the divergence is in closed form.
    pub share: Vec<f64>,
    /// F, B; without the divergence where that is in closed form.
    pub value: Vec<f64>,
}

impl Objective {
    /// The weights of samples with log-likelihoods a.
    pub fn weigh(&self, a: &[f64], s: &Samples) -> Weights {
        let k = self.samples;
        let mut share = a.to_vec();
        if self.divergence != Divergence::Iwae {
            let value = a.chunks(k).map(|a| a.iter().sum::<f64>() / k as f64).collect();
            share.fill(1.0 / k as f64);
            return Weights { share, value };
        }
        share.iter_mut().zip(s.log_p.iter().zip(&s.log_q)).for_each(|(w, (p, q))| *w += self.beta * (p - q));
        let value = share.chunks_mut(k).map(|w| softmax(w) - (k as f64).ln()).collect();
        Weights { share, value }
    }

    /// Gradients of Σ_i scale_i F_i in m and in log s² (B × L both), given r, the cotangents at u that the decoder returned for seeds
    /// scale_i ŵ. Adds the gradients of the mixture. Where the divergence is in closed form, subtracts it from `w.value`.
    pub fn pull(
        &self,
        q: &Posterior,
        s: &Samples,
        w: &mut Weights,
        r: ArrayView2<'_, f64>,
        (stretch, scale): (&[f64], &[f64]),
        prior: &Ready,
        to: &mut PriorGradients,
    ) -> Posterior {
        let (items, dims) = q.mean.dim();
        let (mut dm, mut dlv) = (Array2::zeros((items, dims)), Array2::zeros((items, dims)));
        let k = self.samples;
        let iwae = self.divergence == Divergence::Iwae;
        let roots = q.deviations();
        let (components, beta) = (prior.len(), self.beta);
        let r = r.as_standard_layout();
        let (to_m, to_lv, r) = (flat_mut(&mut dm), flat_mut(&mut dlv), r.as_slice().unwrap_or_default());
        let (mut plain, mut path) = (Sums::new((components, dims)), Sums::new((components, dims)));
        fast!(|| {
            let lanes = |count| vec![[0.0; EIGHT]; count];
            let [mut e, mut pull, mut root, mut slope, mut v, mut gz, mut gs] = [(); 7].map(|()| lanes(dims));
            let (mut gamma, mut weights) = (lanes(components), lanes(components));
            by_eight(
                flat(&s.z),
                dims,
                #[inline(always)]
                |from, count, z| {
                    let (rows, all) = (from * dims..(from + count) * dims, from..from + count);
                    into_lanes(&flat(&s.noise)[rows.clone()], &mut e);
                    into_lanes(&r[rows], &mut pull);
                    into_lanes(&flat(&s.gamma)[from * components..(from + count) * components], &mut gamma);
                    let mut share = [0.0; EIGHT];
                    share[..count].copy_from_slice(&w.share[all.clone()]);
                    root.fill([1.0; EIGHT]);
                    for (l, at) in all.clone().enumerate() {
                        let line = &roots[(at / k) * dims..][..dims];
                        root.iter_mut().zip(line).for_each(|(to, v)| to[l] = *v);
                    }
                    slope.fill([0.0; EIGHT]);
                    if iwae {
                        prior.add_slope(z, &gamma, &mut slope);
                    }
                    // c_k, and that by which the encoder's path is weighed.
                    let c: Lanes<EIGHT> = each(|l| (1.0 - beta) + beta * share[l]);
                    let along = if iwae && self.encoder == EncoderGradient::Dreg { c } else { [1.0; EIGHT] };
                    // β ŵ_k, scaled, where the samples tell of the divergence.
                    let mut own_scale = [0.0; EIGHT];
                    if iwae {
                        own_scale.iter_mut().zip(all.clone()).for_each(|(to, at)| *to = scale[at / k]);
                    }
                    let of_prior: Lanes<EIGHT> = each(|l| own_scale[l] * beta * share[l]);
                    let score = if self.encoder == EncoderGradient::Plain { of_prior } else { [0.0; EIGHT] };
                    for d in 0..dims {
                        let (pull, root, e, slope, stretch) =
                            (pull[d], root[d], e[d], slope[d], stretch[d] - 1.0);
                        let over: Lanes<EIGHT> = each(|l| e[l] / root[l]);
                        let own: Lanes<EIGHT> = each(|l| pull[l] + of_prior[l] * (slope[l] + over[l]));
                        v[d] = each(|l| pull[l] - c[l] * own[l]);
                        gz[d] = each(|l| along[l] * own[l] - score[l] * over[l] + stretch * pull[l]);
                        gs[d] = each(|l| along[l] * own[l] * root[l] * e[l] - score[l] * (e[l] * e[l] - 1.0));
                    }
                    let mut lines = [0; EIGHT];
                    lines.iter_mut().zip(all).for_each(|(to, at)| *to = at / k);
                    add_lanes(&gz, 1.0, &lines[..count], to_m);
                    add_lanes(&gs, 0.5, &lines[..count], to_lv);
                    if iwae {
                        for (w, g) in weights.iter_mut().zip(&gamma) {
                            *w = each(|l| of_prior[l] * g[l]);
                        }
                        plain.add(prior, z, &weights);
                        path.add_pathwise(prior, z, &gamma, &v);
                    }
                },
            );
        });
        plain.into(prior, &mut to.plain);
        path.into(prior, &mut to.path);
        if !iwae {
            let mut gamma = vec![0.0; prior.len()];
            for i in 0..items {
                let (m, lv) = (q.mean.row(i).to_vec(), q.log_variance.row(i).to_vec());
                let (mut gm, mut glv) = (vec![0.0; dims], vec![0.0; dims]);
                let (at, by) = ((&m[..], &lv[..]), -scale[i] * self.beta);
                let value = match self.divergence {
                    Divergence::Vade => {
                        let value = prior.vade(&m, &lv, &mut gamma);
                        prior.add_vade_gradient(at, &gamma, by, (&mut gm, &mut glv), &mut to.plain);
                        value
                    }
                    _ => {
                        let value = prior.bound(&m, &lv, &mut gamma);
                        prior.add_bound_gradient(at, &gamma, by, (&mut gm, &mut glv), &mut to.plain);
                        value
                    }
                };
                w.value[i] -= self.beta * value;
                for d in 0..dims {
                    dm[[i, d]] += gm[d];
                    dlv[[i, d]] += glv[d];
                }
            }
        }
        Posterior { mean: dm, log_variance: dlv }
    }
}

/// Both gradients of a mixture.
#[derive(Clone, Debug)]
pub struct PriorGradients {
    /// As the density says; logits too.
    pub plain: Gradient,
    /// Through the components: μ and log σ.
    pub path: Gradient,
}

impl PriorGradients {
    /// Zeros for c components in L dimensions.
    pub fn zeros(shape: (usize, usize)) -> PriorGradients {
        PriorGradients { plain: Gradient::zeros(shape), path: Gradient::zeros(shape) }
    }
}

/// Moments of both gradients over earlier steps, for `mix`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mixing {
    /// Means of p, g, p², g² and pg, entry by entry of μ and of log σ in turn.
    moments: [Array2<f64>; 5],
    steps: u64,
}

/// What a step forgets of the moments, and the steps before they are trusted.
const FORGET: f64 = 0.02;
const TRUSTED: u64 = 20;

impl Mixing {
    /// Of a mixture of c components in L dimensions.
    pub fn new((components, dims): (usize, usize)) -> Mixing {
        let zero = Array2::zeros((2 * components, dims));
        Mixing { moments: [0; 5].map(|_| zero.clone()), steps: 0 }
    }

    /// The gradients to follow for μ and log σ; the moments learn of this step afterwards.
    pub fn combine(&mut self, how: PriorGradient, both: PriorGradients) -> Gradient {
        let PriorGradients { plain, path } = both;
        match how {
            PriorGradient::Plain => plain,
            PriorGradient::Gdreg => Gradient { logits: plain.logits, ..path },
            PriorGradient::Mix => {
                let join = |a: &Array2<f64>, b: &Array2<f64>| {
                    ndarray::concatenate(Axis(0), &[a.view(), b.view()]).unwrap_or_else(|_| a.clone())
                };
                let (p, g) = (join(&plain.mean, &plain.log_sigma), join(&path.mean, &path.log_sigma));
                let mut out = p.clone();
                // An average that began at 0 is brought to its size.
                let whole = 1.0 - (1.0 - FORGET).powf(self.steps as f64);
                for (at, to) in out.indexed_iter_mut() {
                    if self.steps >= TRUSTED {
                        let [ep, eg, pp, gg, pg] = [0, 1, 2, 3, 4].map(|m| self.moments[m][at] / whole);
                        let (vp, vg, cov) = (pp - ep * ep, gg - eg * eg, pg - ep * eg);
                        let below = vp + vg - 2.0 * cov;
                        let alpha = if below > 0.0 { ((vp - cov) / below).clamp(-1.0, 2.0) } else { 0.0 };
                        *to += alpha * (g[at] - p[at]);
                    }
                    let now = [p[at], g[at], p[at] * p[at], g[at] * g[at], p[at] * g[at]];
                    for (m, v) in self.moments.iter_mut().zip(now) {
                        m[at] += FORGET * (v - m[at]);
                    }
                }
                self.steps += 1;
                let components = plain.mean.nrows();
                let (mean, log_sigma) = out.view().split_at(Axis(0), components);
                Gradient { logits: plain.logits, mean: mean.to_owned(), log_sigma: log_sigma.to_owned() }
            }
        }
    }

    /// Of the chosen components alone.
    pub fn select(&self, at: &[usize]) -> Mixing {
        let components = self.moments[0].nrows() / 2;
        let both: Vec<usize> = at.iter().copied().chain(at.iter().map(|c| components + c)).collect();
        Mixing { moments: self.moments.each_ref().map(|m| m.select(Axis(0), &both)), steps: self.steps }
    }
}

#[cfg(test)]
mod tests;
