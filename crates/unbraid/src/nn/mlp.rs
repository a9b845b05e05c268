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

/// What a unit that carries a line of mean 0 and variance 1 is raised by, so that almost all of it is above 0.
const RAISED: f64 = 4.0;

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
                let mut next = Array2::from_elem(below.dim(), T::ZERO);
                linear.backward_input(&d, &mut next);
                d = next;
            }
        }
    }

    /// Makes output `at` of μ a line in x, and the same output of ℓ constant at its bias: of each hidden layer the unit that the next
    /// layer uses least carries `weights · x + constant`, which has mean 0 and variance 1 over the data, raised so that
    /// ReLU passes it; μ is `scale` times it.
    pub fn carry(&mut self, weights: &[f64], constant: f64, at: usize, scale: f64) {
        let mut below: Option<usize> = None;
        for l in 0..self.hidden.len() {
            let unit = self.least_used(l);
            let (linear, norm) = &mut self.hidden[l];
            for i in 0..linear.weight.value.ncols() {
                let value = below.map_or_else(|| weights[i], |b| f64::from(u8::from(b == i)));
                linear.weight.place([unit, i], T::of(value), [unit, i]);
            }
            // What the unit below was to the others is gone.
            for u in (0..linear.weight.value.nrows()).filter(|u| *u != unit) {
                below.iter().for_each(|&b| linear.weight.place([u, b], T::ZERO, [u, b]));
            }
            let shift = below.map_or(constant, |_| -RAISED);
            linear.bias.place([0, unit], T::of(shift), [0, unit]);
            norm.weight.place([0, unit], T::ONE, [0, unit]);
            norm.bias.place([0, unit], T::of(RAISED), [0, unit]);
            (norm.mean[unit], norm.variance[unit]) = (T::ZERO, T::ONE);
            below = Some(unit);
        }
        for (head, scale) in [(&mut self.mean, scale), (&mut self.spread, 0.0)] {
            for u in 0..head.weight.value.nrows() {
                below.iter().for_each(|&b| head.weight.place([u, b], T::ZERO, [u, b]));
            }
            for i in 0..head.weight.value.ncols() {
                let value = below.map_or_else(|| weights[i], |b| f64::from(u8::from(b == i)));
                head.weight.place([at, i], T::of(scale * value), [at, i]);
            }
        }
        let shift = below.map_or(constant, |_| -RAISED);
        self.mean.bias.place([0, at], T::of(scale * shift), [0, at]);
    }

    /// The unit of a hidden layer whose part in the next layer, or in the heads, is the smallest: γ² Σ v².
    fn least_used(&self, l: usize) -> usize {
        let next: Vec<&Linear<T>> = match self.hidden.get(l + 1) {
            Some((linear, _)) => vec![linear],
            None => vec![&self.mean, &self.spread],
        };
        let gamma = &self.hidden[l].1.weight.value;
        let part = |u: usize| {
            let square = |v: &T| v.wide() * v.wide();
            let out: f64 = next.iter().flat_map(|n| n.weight.value.column(u).into_iter().map(square)).sum();
            square(&gamma[[0, u]]) * out
        };
        (0..gamma.ncols()).reduce(|a, b| if part(b) < part(a) { b } else { a }).unwrap_or(0)
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
    fn a_line_is_carried_to_an_output() {
        for hidden in [&[][..], &[4], &[5, 4]] {
            let mut encoder = Encoder::<f64>::new(3, hidden, 2, &mut Seed(3).stream(Draw::Init, 0));
            let x = normal(50, 3, 5);
            let before = encoder.evaluate(x.view()).0;
            encoder.carry(&[0.6, -0.8, 0.0], 0.1, 1, 0.5);
            let (mean, spread) = encoder.evaluate(x.view());
            for (x, mean) in x.rows().into_iter().zip(mean.column(1)) {
                // Running variances are kept away from 0 by 10⁻⁵.
                assert!((0.5 * (0.6 * x[0] - 0.8 * x[1] + 0.1) - mean).abs() < 1e-4, "{hidden:?}");
            }
            let first = spread[[0, 1]];
            assert!(spread.column(1).iter().all(|s| (s - first).abs() < 1e-12));
            // The other output has lost no more than the least used units.
            assert!(hidden.is_empty() || mean.column(0).iter().zip(before.column(0)).any(|(a, b)| a != b));
        }
    }

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
