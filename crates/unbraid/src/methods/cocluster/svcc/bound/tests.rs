//! The bound with a linear encoder and decoder: golden values, and means and variances over many draws.

use ndarray::{Array1, Array2, Array3, Ix0, Ix1, aview1};

use super::*;
use crate::fit::{Draw, Seed};
use crate::golden::Golden;
use crate::methods::cocluster::svcc::mixture::Mixture;
use crate::nn::Param;

/// m = A x + a, s = exp(log_sigma); x ~ N(W u + d, exp(log_var)).
struct Linear {
    x: Array2<f64>,
    a: Array2<f64>,
    offset: Array1<f64>,
    log_sigma: Array1<f64>,
    w: Array2<f64>,
    d: Array1<f64>,
    log_var: f64,
    mixture: Mixture,
    stretch: Vec<f64>,
}

/// Every gradient in one row: A, a, log_sigma; W, d; μ and log σ plain; both pathwise; logits.
struct Found {
    encoder: Vec<f64>,
    decoder: Vec<f64>,
    prior: PriorGradients,
    value: f64,
    weights: Weights,
    samples: Samples,
    log_px: Vec<f64>,
}

impl Linear {
    fn posterior(&self) -> Posterior {
        let mean = self.x.dot(&self.a.t()) + &self.offset;
        let log_variance = Array2::from_shape_fn(mean.dim(), |(_, d)| 2.0 * self.log_sigma[d]);
        Posterior { mean, log_variance }
    }

    fn run(&self, objective: Objective, noise: Array2<f64>) -> Found {
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
        let g =
            objective.pull(&q, &samples, &mut weights, r.view(), (&self.stretch, 1.0), &ready, &mut prior);
        let mut encoder: Vec<f64> = g.mean.t().dot(&self.x).iter().copied().collect();
        encoder.extend(g.mean.sum_axis(Axis(0)));
        encoder.extend(g.log_variance.sum_axis(Axis(0)).mapv(|v| 2.0 * v));
        let mut decoder: Vec<f64> = seeds.t().dot(&u).iter().copied().collect();
        decoder.extend(seeds.sum_axis(Axis(0)));
        let value = weights.value.iter().sum();
        Found { encoder, decoder, prior, value, weights, samples, log_px }
    }
}

fn iwae(samples: usize, beta: f64, encoder: EncoderGradient) -> Objective {
    Objective { samples, beta, divergence: Divergence::Iwae, encoder }
}

#[test]
fn values_and_gradients_are_those_of_the_golden_cases() {
    for name in ["svcc/iwae", "svcc/iwae_beta_scale"] {
        let case = Golden::open(name);
        let number = |name: &str| case.array::<Ix0>(name).into_scalar();
        let vector = |name: &str| case.array::<Ix1>(name);
        let mixture = Mixture {
            logits: Param::new(vector("logits").insert_axis(Axis(0))),
            mean: Param::new(case.array("mu")),
            log_sigma: Param::new(case.array("log_sigma")),
        };
        let model = Linear {
            x: case.array("x"),
            a: case.array("enc_A"),
            offset: vector("enc_a"),
            log_sigma: vector("enc_log_sigma"),
            w: case.array("dec_W"),
            d: vector("dec_d"),
            log_var: number("dec_log_var"),
            mixture,
            stretch: vector("scale_f").to_vec(),
        };
        let eps: Array3<f64> = case.array("eps");
        let (k, n, dims) = eps.dim();
        let noise = Array2::from_shape_fn((n * k, dims), |(at, d)| eps[[at % k, at / k, d]]);
        // Back to the order of the case: samples first.
        let turn = |v: &[f64]| Array2::from_shape_fn((k, n), |(s, i)| v[i * k + s]);
        for (how, word) in [(EncoderGradient::Plain, "plain"), (EncoderGradient::Dreg, "dreg")] {
            let found = model.run(iwae(k, number("beta"), how), noise.clone());
            assert!((found.value - number("objective")).abs() < 1e-10);
            case.assert_close("log_px", &turn(&found.log_px), 1e-12);
            case.assert_close("log_pz", &turn(&found.samples.log_p), 1e-12);
            case.assert_close("log_q", &turn(&found.samples.log_q), 1e-12);
            case.assert_close("w_norm", &turn(&found.weights.share), 1e-10);
            let (inputs, dims) = (model.x.ncols(), model.a.nrows());
            let (matrix, rest) = found.encoder.split_at(inputs * dims);
            let matrix = ArrayView2::from_shape((dims, inputs), matrix).unwrap();
            case.assert_close(&format!("grad_{word}_enc_A"), &matrix, 1e-9);
            case.assert_close(&format!("grad_{word}_enc_a"), &aview1(&rest[..dims]), 1e-9);
            case.assert_close(&format!("grad_{word}_enc_log_sigma"), &aview1(&rest[dims..]), 1e-9);
            let (matrix, rest) = found.decoder.split_at(inputs * dims);
            let matrix = ArrayView2::from_shape((inputs, dims), matrix).unwrap();
            case.assert_close("grad_dec_W", &matrix, 1e-9);
            case.assert_close("grad_dec_d", &aview1(rest), 1e-9);
            let PriorGradients { plain, path } = &found.prior;
            case.assert_close("grad_plain_logits", &aview1(&plain.logits), 1e-9);
            case.assert_close("grad_plain_mu", &plain.mean, 1e-9);
            case.assert_close("grad_plain_log_sigma", &plain.log_sigma, 1e-9);
            case.assert_close("grad_gdreg_mu", &path.mean, 1e-9);
            case.assert_close("grad_gdreg_log_sigma", &path.log_sigma, 1e-9);
        }
    }
}

/// Five values of which two numbers and three components are behind, and an encoder that is the posterior of the moments of
/// the mixture, or a poor one.
fn model(poor: bool, log_var: f64, stretch: [f64; 2]) -> Linear {
    use crate::nn::check::normal;
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
        .unwrap()
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
struct Tally {
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
    fn furthest(&self) -> f64 {
        self.differences
            .iter()
            .fold(0.0, |m: f64, d| m.max((d[0] / (self.draws * self.variance(d)).sqrt()).abs()))
    }
    /// Variance of the second over that of the first.
    fn ratio(&self) -> f64 {
        let sum = |all: &[[f64; 2]]| all.iter().map(|s| self.variance(s)).sum::<f64>();
        sum(&self.second) / sum(&self.first)
    }
}

/// Encoder: dreg beside plain. Mixture: gdreg beside plain, and the best fixed mixture of both.
fn compare(model: &Linear, samples: usize, beta: f64, draws: u64) -> (Tally, Tally, Tally) {
    let mut encoder = Tally::new(4);
    let (mut prior, mut mixed) = (Tally::new(12), Tally::new(12));
    let mut mixing = Mixing::new(model.mixture.shape());
    for draw in 0..draws {
        let noise = noise(samples, 2, &mut Seed(21).stream(Draw::Latent, draw));
        let noise = Array2::from_shape_vec((samples, 2), noise).unwrap();
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

#[test]
fn estimators_have_the_same_mean_and_the_variances_of_their_kind() {
    let draws = 12_000;
    for (poor, k) in [(true, 1), (true, 5), (false, 1), (false, 5)] {
        let model = model(poor, 0.6f64.ln(), [1.0, 1.0]);
        let (encoder, prior, mixed) = compare(&model, k, 1.0, draws);
        let what = format!("poor {poor}, K {k}");
        println!(
            "{what}: z {:.2} {:.2} {:.2}, ratios {:.4} {:.3} {:.3}",
            encoder.furthest(),
            prior.furthest(),
            mixed.furthest(),
            encoder.ratio(),
            prior.ratio(),
            mixed.ratio()
        );
        assert!(encoder.furthest() < 4.0 && prior.furthest() < 4.0 && mixed.furthest() < 4.0, "{what}");
        // A reasonable encoder gains more from dreg than a poor one, and more with more samples; mix never loses.
        if !poor {
            assert!(encoder.ratio() < if k == 1 { 0.5 } else { 0.1 }, "{what}: {}", encoder.ratio());
        }
        assert!(mixed.ratio() < 1.02, "{what}: {}", mixed.ratio());
    }
}

#[test]
fn the_mixture_gains_where_the_data_are_weak() {
    for (noise, low, high) in [(0.6, 1.5, f64::INFINITY), (20.0, 0.0, 0.6), (80.0, 0.0, 0.6)] {
        let model = model(false, f64::ln(noise), [1.0, 1.0]);
        let (_, prior, mixed) = compare(&model, 5, 1.0, 6_000);
        println!("noise {noise}: {:.3} {:.3}", prior.ratio(), mixed.ratio());
        assert!(prior.furthest() < 4.0 && (low..high).contains(&prior.ratio()), "{noise}: {}", prior.ratio());
        assert!(mixed.ratio() < 1.02 && mixed.ratio() < 1.1 * prior.ratio(), "{noise}: {}", mixed.ratio());
    }
}

#[test]
fn the_divergence_may_be_weighted_and_the_mean_stretched() {
    let model = model(false, 0.6f64.ln(), [1.0, 1.7]);
    let (encoder, prior, mixed) = compare(&model, 4, 0.8, 12_000);
    assert!(encoder.furthest() < 4.0 && prior.furthest() < 4.0 && mixed.furthest() < 4.0);
}

#[test]
fn closed_divergences_follow_differences_with_the_noise_held() {
    use crate::nn::check::slopes;
    let base = model(true, 0.3, [1.0, 1.4]);
    let noise = crate::nn::check::normal(3, 2, 5);
    for divergence in [Divergence::Vade, Divergence::Bound, Divergence::Iwae] {
        // The plain pathwise form with its score term is the derivative of F at fixed noise.
        let objective = Objective { samples: 3, beta: 0.7, divergence, encoder: EncoderGradient::Plain };
        type State = (Array2<f64>, Array2<f64>, Array2<f64>);
        let with = |s: &State| {
            let mixture = Mixture {
                logits: base.mixture.logits.clone(),
                mean: Param::new(s.2.clone()),
                log_sigma: base.mixture.log_sigma.clone(),
            };
            let Linear { x, a, offset: _, log_sigma: _, w, d, log_var, mixture: _, stretch } = &base;
            Linear {
                x: x.clone(),
                a: a.clone(),
                offset: s.0.row(0).to_owned(),
                log_sigma: s.1.row(0).to_owned(),
                w: w.clone(),
                d: d.clone(),
                log_var: *log_var,
                mixture,
                stretch: stretch.clone(),
            }
        };
        let loss = |s: &State| with(s).run(objective, noise.clone()).value;
        let row = |v: &[f64]| Array2::from_shape_vec((1, v.len()), v.to_vec()).unwrap();
        let state =
            (row(&base.offset.to_vec()), row(&base.log_sigma.to_vec()), base.mixture.mean.value.clone());
        let found = base.run(objective, noise.clone());
        let tail = &found.encoder[found.encoder.len() - 4..];
        slopes("m", &state, |s| &mut s.0, &row(&tail[..2]), loss);
        slopes("log s", &state, |s| &mut s.1, &row(&tail[2..]), loss);
        slopes("mu", &state, |s| &mut s.2, &found.prior.plain.mean, loss);
    }
}
