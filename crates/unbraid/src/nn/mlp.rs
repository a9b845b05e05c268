//! A chain of hidden layers with two linear heads, as encoders have it.
//!
//! ```text
//! a₀ = x,   aₗ = relu(norm(Vₗ aₗ₋₁ + bₗ)),   μ = V_μ a_L + b_μ,   ℓ = V_ℓ a_L + b_ℓ
//! ```

use ndarray::{Array2, ArrayView2};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::activation::{relu, relu_adjoint};
use super::linear::Linear;
use super::norm::{BatchNorm, Normed};
use super::{Param, Real};

/// Hidden layers and two heads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Encoder<T> {
    /// The hidden layers in order.
    pub hidden: Vec<(Linear<T>, BatchNorm<T>)>,
    /// The head of μ.
    pub mean: Linear<T>,
    /// The head of ℓ.
    pub spread: Linear<T>,
}

/// What the backward pass needs of a forward pass.
pub struct Trace<T> {
    /// aₗ, from a₁.
    layers: Vec<(Array2<T>, Normed<T>)>,
}

impl<T: Real> Encoder<T> {
    /// Dense layers start uniform, batch norms as the identity.
    pub fn new(inputs: usize, hidden: &[usize], outputs: usize, rng: &mut impl Rng) -> Encoder<T> {
        let mut width = inputs;
        let layers = hidden.iter().map(|&size| {
            let layer = (Linear::new(width, size, rng), BatchNorm::new(size));
            width = size;
            layer
        });
        let hidden = layers.collect();
        let (mean, spread) = (Linear::new(width, outputs, rng), Linear::new(width, outputs, rng));
        Encoder { hidden, mean, spread }
    }

    /// μ and ℓ of every row of x by the statistics of the batch, which has at least 2 rows.
    pub fn train(&mut self, x: ArrayView2<'_, T>) -> (Trace<T>, Array2<T>, Array2<T>) {
        let mut layers: Vec<(Array2<T>, Normed<T>)> = Vec::new();
        for (linear, norm) in &mut self.hidden {
            let mut a = linear.forward(layers.last().map_or(x, |(a, _)| a.view()));
            let normed = norm.train(&mut a);
            a.as_slice_mut().into_iter().for_each(relu);
            layers.push((a, normed));
        }
        let top = layers.last().map_or(x, |(a, _)| a.view());
        let heads = (self.mean.forward(top), self.spread.forward(top));
        (Trace { layers }, heads.0, heads.1)
    }

    /// The last hidden layer by the running values; x itself without hidden layers.
    pub fn top(&self, x: ArrayView2<'_, T>) -> Array2<T> {
        let mut last: Option<Array2<T>> = None;
        for (linear, norm) in &self.hidden {
            let mut a = linear.forward(last.as_ref().map_or(x, |a| a.view()));
            norm.evaluate(&mut a);
            a.as_slice_mut().into_iter().for_each(relu);
            last = Some(a);
        }
        last.unwrap_or_else(|| x.to_owned())
    }

    /// μ and ℓ by the running values.
    pub fn evaluate(&self, x: ArrayView2<'_, T>) -> (Array2<T>, Array2<T>) {
        let top = self.top(x);
        (self.mean.forward(top.view()), self.spread.forward(top.view()))
    }

    /// Makes an output of μ a given line in the last hidden layer, and the same output of ℓ a constant.
    pub fn set_output(&mut self, at: usize, slopes: &[f64], constant: f64, spread: f64) {
        let none = vec![0.0; slopes.len()];
        for (head, slopes, constant) in
            [(&mut self.mean, slopes, constant), (&mut self.spread, &none[..], spread)]
        {
            head.weight.set_row(at, slopes.iter().copied());
            // A bias is a row of outputs.
            head.bias.set_entry(at, constant);
        }
    }

    /// Adds the gradients of every parameter, from those of μ and ℓ. The input's is not formed: it is data.
    pub fn backward(
        &mut self,
        x: ArrayView2<'_, T>,
        trace: &Trace<T>,
        dmean: &Array2<T>,
        dspread: &Array2<T>,
    ) {
        let top = trace.layers.last().map_or(x, |(a, _)| a.view());
        self.mean.backward(top, dmean);
        self.spread.backward(top, dspread);
        let mut d = Array2::from_elem(top.dim(), T::ZERO);
        if !self.hidden.is_empty() {
            self.mean.backward_input(dmean, &mut d);
            self.spread.backward_input(dspread, &mut d);
        }
        for (at, (linear, norm)) in self.hidden.iter_mut().enumerate().rev() {
            let (a, normed) = &trace.layers[at];
            if let (Some(a), Some(d)) = (a.as_slice(), d.as_slice_mut()) {
                relu_adjoint(a, d);
            }
            norm.backward(normed, &mut d);
            let below = if at == 0 { x } else { trace.layers[at - 1].0.view() };
            linear.backward(below, &d);
            if at > 0 {
                let next = linear.input_gradient(&d);
                d = next;
            }
        }
    }

    /// Calls `f` with each parameter and its name after `at`: `l1`, `bn1`, `l2`, …, `mu`, `logvar`.
    pub fn visit(&mut self, at: &str, f: &mut impl FnMut(&str, &mut Param<T>)) {
        for (l, (linear, norm)) in self.hidden.iter_mut().enumerate() {
            linear.visit(&format!("{at}.l{}", l + 1), f);
            norm.visit(&format!("{at}.bn{}", l + 1), f);
        }
        self.mean.visit(&format!("{at}.mu"), f);
        self.spread.visit(&format!("{at}.logvar"), f);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{normal, slopes};
    use super::*;
    use crate::fit::{Draw, Seed};

    #[test]
    fn derivatives_match_differences() {
        let (x, to_mean, to_spread) = (normal(9, 6, 1), normal(9, 2, 2), normal(9, 2, 3));
        for hidden in [&[][..], &[4], &[5, 4], &[5, 4, 3]] {
            let mut rng = Seed(3).stream(Draw::Init, 0);
            let mut encoder = Encoder::<f64>::new(6, hidden, 2, &mut rng);
            let start = encoder.clone();
            let loss = |e: &Encoder<f64>| {
                let (_, mean, spread) = e.clone().train(x.view());
                (mean * &to_mean).sum() + (spread * &to_spread).sum()
            };
            let (trace, ..) = encoder.train(x.view());
            encoder.backward(x.view(), &trace, &to_mean, &to_spread);
            let mut names = Vec::new();
            encoder.visit("e", &mut |name, _| names.push(name.to_owned()));
            assert_eq!(names.len(), 4 * hidden.len() + 4);
            for (at, name) in names.iter().enumerate() {
                fn nth(e: &mut Encoder<f64>, at: usize) -> &mut Param<f64> {
                    match (at / 4, at % 4) {
                        (l, part) if l < e.hidden.len() => match part {
                            0 => &mut e.hidden[l].0.weight,
                            1 => &mut e.hidden[l].0.bias,
                            2 => &mut e.hidden[l].1.weight,
                            _ => &mut e.hidden[l].1.bias,
                        },
                        (_, 0) => &mut e.mean.weight,
                        (_, 1) => &mut e.mean.bias,
                        (_, 2) => &mut e.spread.weight,
                        _ => &mut e.spread.bias,
                    }
                }
                let grad = nth(&mut encoder, at).grad.clone();
                slopes(name, &start, |e| &mut nth(e, at).value, &grad, loss);
            }
        }
    }
}
