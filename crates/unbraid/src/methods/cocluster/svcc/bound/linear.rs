//! A linear encoder and decoder, small enough for many draws: what the estimators of [`super`] are compared with.
//!
//! ```text
//! m = A x + a,  s = exp(log_sigma);   x ~ N(W u + d, exp(log_var)),  u as in [`super`];   five values, two numbers, three components
//! ```

use ndarray::{Array1, Array2, Axis};
use rand_distr::{Distribution, StandardNormal};

use super::{
    Divergence, EncoderGradient, Mixing, Objective, Posterior, PriorGradient, PriorGradients, Samples,
    Weights, noise,
};
use crate::fit::{Draw, Seed};
use crate::methods::cocluster::svcc::mixture::{Gradient, Mixture};
use crate::nn::Param;

/// Standard normal values.
fn normal(n: usize, m: usize, seed: u64) -> Array2<f64> {
    let mut rng = Seed(seed).stream(Draw::Simulate, 0);
    Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng))
}
/// m = A x + a, s = exp(log_sigma); x ~ N(W u + d, exp(log_var)).
#[derive(Clone, Debug)]
pub struct Linear {
    /// Items × values.
    pub x: Array2<f64>,
    /// A.
    pub a: Array2<f64>,
    /// a.
    pub offset: Array1<f64>,
    /// log s.
    pub log_sigma: Array1<f64>,
    /// W.
    pub w: Array2<f64>,
    /// d.
    pub d: Array1<f64>,
    /// log τ².
    pub log_var: f64,
    /// The prior.
    pub mixture: Mixture,
    /// f.
    pub stretch: Vec<f64>,
}

/// Every gradient in one row: A, a, log_sigma; W, d; μ and log σ plain; both pathwise; logits.
pub struct Found {
    /// A row by row, a, log s.
    pub encoder: Vec<f64>,
    /// W row by row, d.
    pub decoder: Vec<f64>,
    /// Both of the mixture.
    pub prior: PriorGradients,
    /// Σ F.
    pub value: f64,
    /// ŵ and F.
    pub weights: Weights,
    /// z and densities.
    pub samples: Samples,
    /// log p(x | u).
    pub log_px: Vec<f64>,
}

impl Linear {
    fn posterior(&self) -> Posterior {
        let mean = self.x.dot(&self.a.t()) + &self.offset;
        let log_variance = Array2::from_shape_fn(mean.dim(), |(_, d)| 2.0 * self.log_sigma[d]);
        Posterior { mean, log_variance }
    }

    /// Values and gradients for given noise.
    pub fn run(&self, objective: Objective, noise: Array2<f64>) -> Found {
        let (q, ready, k) = (self.posterior(), self.mixture.ready(), objective.samples);
        let samples = Samples::draw(&q, noise, &ready);
        let u = samples.stretched(&q, &self.stretch);
        let out = u.dot(&self.w.t()) + &self.d;
        let rest = Array2::from_shape_fn(out.dim(), |(at, j)| self.x[[at / k, j]] - out[[at, j]]);
        let half = 0.5 * (std::f64::consts::TAU.ln() + self.log_var);
        let log_px: Vec<f64> = rest
            .rows()
            .into_iter()
            .map(|r| r.iter().map(|e| -0.5 * e * e / self.log_var.exp() - half).sum())
            .collect();
        let mut weights = objective.weigh(&log_px, &samples);
        let mut seeds = rest / self.log_var.exp();
        seeds.rows_mut().into_iter().zip(&weights.share).for_each(|(mut r, w)| r *= *w);
        let r = seeds.dot(&self.w);
        let mut prior = PriorGradients::zeros(self.mixture.shape());
        let g = objective.pull(
            &q,
            &samples,
            &mut weights,
            r.view(),
            (&self.stretch, &vec![1.0; q.mean.nrows()]),
            &ready,
            &mut prior,
        );
        let mut encoder: Vec<f64> = g.mean.t().dot(&self.x).iter().copied().collect();
        encoder.extend(g.mean.sum_axis(Axis(0)));
        encoder.extend(g.log_variance.sum_axis(Axis(0)).mapv(|v| 2.0 * v));
        let mut decoder: Vec<f64> = seeds.t().dot(&u).iter().copied().collect();
        decoder.extend(seeds.sum_axis(Axis(0)));
        let value = weights.value.iter().sum();
        Found { encoder, decoder, prior, value, weights, samples, log_px }
    }
}

/// The K-sample bound.
pub fn iwae(samples: usize, beta: f64, encoder: EncoderGradient) -> Objective {
    Objective { samples, beta, divergence: Divergence::Iwae, encoder }
}

/// Five values of which two numbers and three components are behind, and an encoder that is the posterior of the moments of
/// the mixture, or a poor one.
pub fn model(poor: bool, log_var: f64, stretch: [f64; 2]) -> Linear {
    let (w, d) = (normal(5, 2, 11), normal(1, 5, 12).row(0).to_owned());
    let mixture = Mixture {
        logits: Param::new(0.4 * normal(1, 3, 13)),
        mean: Param::new(1.2 * normal(3, 2, 14)),
        log_sigma: Param::new(0.2 * normal(3, 2, 15) - 0.3),
    };
    let shares = mixture.ready().shares;
    let sum = |f: &dyn Fn(usize) -> f64| (0..3).map(|c| shares[c] * f(c)).sum::<f64>();
    let mean = Array1::from_shape_fn(2, |l| sum(&|c| mixture.mean.value[[c, l]]));
    let cov = Array2::from_shape_fn((2, 2), |(a, b)| {
        sum(&|c| {
            let own = if a == b { (2.0 * mixture.log_sigma.value[[c, a]]).exp() } else { 0.0 };
            own + (mixture.mean.value[[c, a]] - mean[a]) * (mixture.mean.value[[c, b]] - mean[b])
        })
    });
    let invert = |m: &Array2<f64>| {
        let det = m[[0, 0]] * m[[1, 1]] - m[[0, 1]] * m[[1, 0]];
        Array2::from_shape_vec(
            (2, 2),
            vec![m[[1, 1]] / det, -m[[0, 1]] / det, -m[[1, 0]] / det, m[[0, 0]] / det],
        )
        .unwrap_or_else(|_| Array2::eye(2))
    };
    // (Σ⁻¹ + WᵀW/τ²)⁻¹
    let inside = invert(&cov) + w.t().dot(&w) / log_var.exp();
    let spread = invert(&inside);
    let a = spread.dot(&w.t()) / log_var.exp();
    let offset = &mean - a.dot(&(w.dot(&mean) + &d));
    let log_sigma = Array1::from_shape_fn(2, |l| 0.5 * spread[[l, l]].ln());
    // One observation of the model.
    let z = mixture.mean.value.row(0).to_owned() + 0.5;
    let x = (w.dot(&z) + &d + (0.5 * log_var).exp() * &normal(1, 5, 16).row(0)).insert_axis(Axis(0));
    match poor {
        true => Linear {
            x,
            a: 0.3 * normal(2, 5, 17),
            offset: Array1::zeros(2),
            log_sigma: Array1::from_elem(2, -0.3),
            w,
            d,
            log_var,
            mixture,
            stretch: stretch.to_vec(),
        },
        false => Linear { x, a, offset, log_sigma, w, d, log_var, mixture, stretch: stretch.to_vec() },
    }
}

/// Largest |z| of the mean difference of two estimators over coordinates, and the ratio of the sums of their variances.
#[derive(Clone, Debug)]
pub struct Tally {
    differences: Vec<[f64; 2]>,
    first: Vec<[f64; 2]>,
    second: Vec<[f64; 2]>,
    draws: f64,
}

impl Tally {
    fn new(coordinates: usize) -> Tally {
        let zero = vec![[0.0; 2]; coordinates];
        Tally { differences: zero.clone(), first: zero.clone(), second: zero, draws: 0.0 }
    }
    fn add(&mut self, first: &[f64], second: &[f64]) {
        self.draws += 1.0;
        for (at, (a, b)) in first.iter().zip(second).enumerate() {
            for (to, v) in
                [(&mut self.first[at], *a), (&mut self.second[at], *b), (&mut self.differences[at], b - a)]
            {
                to[0] += v;
                to[1] += v * v;
            }
        }
    }
    fn variance(&self, sums: &[f64; 2]) -> f64 {
        (sums[1] - sums[0] * sums[0] / self.draws) / (self.draws - 1.0)
    }
    /// Largest |z| of the difference of means.
    pub fn furthest(&self) -> f64 {
        self.differences
            .iter()
            .fold(0.0, |m: f64, d| m.max((d[0] / (self.draws * self.variance(d)).sqrt()).abs()))
    }
    /// Variance of the second over that of the first.
    pub fn ratio(&self) -> f64 {
        let sum = |all: &[[f64; 2]]| all.iter().map(|s| self.variance(s)).sum::<f64>();
        sum(&self.second) / sum(&self.first)
    }
}

/// Encoder: dreg beside plain. Mixture: gdreg beside plain, and the best fixed mixture of both.
pub fn compare(model: &Linear, samples: usize, beta: f64, draws: u64) -> (Tally, Tally, Tally) {
    let mut encoder = Tally::new(4);
    let (mut prior, mut mixed) = (Tally::new(12), Tally::new(12));
    let mut mixing = Mixing::new(model.mixture.shape());
    for draw in 0..draws {
        let noise = noise(samples, 2, &mut Seed(21).stream(Draw::Latent, draw));
        let noise =
            Array2::from_shape_vec((samples, 2), noise).unwrap_or_else(|_| Array2::zeros((samples, 2)));
        let plain = model.run(iwae(samples, beta, EncoderGradient::Plain), noise.clone());
        let dreg = model.run(iwae(samples, beta, EncoderGradient::Dreg), noise);
        // a and log σ of the encoder: the other coordinates are those of a times x.
        let tail = |v: &[f64]| v[v.len() - 4..].to_vec();
        encoder.add(&tail(&plain.encoder), &tail(&dreg.encoder));
        let flat = |g: &Gradient| g.mean.iter().chain(&g.log_sigma).copied().collect::<Vec<f64>>();
        let both = [flat(&dreg.prior.plain), flat(&dreg.prior.path)];
        prior.add(&both[0], &both[1]);
        let followed = mixing.combine(PriorGradient::Mix, dreg.prior);
        if draw > 200 {
            mixed.add(&both[0], &flat(&followed));
        }
    }
    (encoder, prior, mixed)
}
