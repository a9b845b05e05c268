//! The bound with a linear encoder and decoder: golden values, and means and variances over many draws.

use ndarray::{Array2, Array3, Ix0, Ix1, aview1};

use super::linear::{Linear, compare, iwae, model};
use super::*;
use crate::golden::Golden;
use crate::methods::cocluster::svcc::mixture::Mixture;
use crate::nn::Param;

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
