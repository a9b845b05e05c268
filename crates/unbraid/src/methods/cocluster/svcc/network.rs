//! The networks of one side: lines to q(z | x), and z to what the likelihood reads.
//!
//! ```text
//! encoder:  h₁ = relu(x W₁ + b₁),  hₗ = relu(Vₗ hₗ₋₁ + bₗ),   m = V_m h + b_m,   log s² = clamp(V_s h + b_s, −8, 4)
//! decoder:  the same layers from u, in reverse order, to o = V_o h + b_o
//! ```
//!
//! | symbol | shape      | meaning                            |
//! |--------|------------|------------------------------------|
//! | x      | B × width  | lines as the encoder sees them     |
//! | W₁     | width × h  | first layer; a row for each input  |
//! | o      | BK × width | outputs                            |

use ndarray::{Array2, ArrayView2, s};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::bound::Posterior;
use super::lines::Batch;
use crate::nn::activation::relu_adjoint;
use crate::nn::linear::{Linear, rectify};
use crate::nn::wide::fast;
use crate::nn::{Param, Real, add_column_sums};

/// Least and largest log s².
pub const SPREAD: (f64, f64) = (-8.0, 4.0);

/// The first layer, x W + b.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct First<T> {
    /// W, inputs × outputs.
    pub weight: Param<T>,
    /// b, 1 × outputs.
    pub bias: Param<T>,
}

impl<T: Real> First<T> {
    fn new(inputs: usize, outputs: usize, rng: &mut impl Rng) -> First<T> {
        First {
            weight: Param::uniform((inputs, outputs), inputs, rng),
            bias: Param::filled((1, outputs), 0.0),
        }
    }

    /// relu(x W + b).
    fn rectified(&self, x: &Batch<T>) -> Array2<T> {
        let mut y = x.times(&self.weight.value);
        rectify(&mut y, &self.bias.value);
        y
    }

    fn backward(&mut self, x: &Batch<T>, dy: &Array2<T>) {
        add_column_sums(dy, &mut self.bias.grad);
        x.add_turned(dy, &mut self.weight.grad);
    }
}

fn rectify_adjoint<T: Real>(a: &Array2<T>, d: &mut Array2<T>) {
    if let (Some(a), Some(d)) = (a.as_slice(), d.as_slice_mut()) {
        fast!(|| relu_adjoint(a, d));
    }
}

/// Lines to q(z | x).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Encoder<T> {
    first: First<T>,
    deeper: Vec<Linear<T>>,
    mean: Linear<T>,
    spread: Linear<T>,
}

/// What the backward pass needs of a forward pass.
pub struct Coded<T> {
    /// h₁, h₂, …
    pub layers: Vec<Array2<T>>,
    /// m and log s².
    pub posterior: Posterior,
    /// Where log s² is not at its ends.
    free: Array2<bool>,
}

impl<T: Real> Coded<T> {
    /// The last hidden layer.
    pub fn hidden(&self) -> &Array2<T> {
        &self.layers[self.layers.len() - 1]
    }
}

impl<T: Real> Encoder<T> {
    /// Of lines of the given width; there is at least one hidden layer.
    pub fn new(width: usize, hidden: &[usize], latent: usize, rng: &mut impl Rng) -> Encoder<T> {
        let first = First::new(width, hidden[0], rng);
        let deeper = hidden.windows(2).map(|w| Linear::new(w[0], w[1], rng)).collect();
        let top = hidden[hidden.len() - 1];
        Encoder { first, deeper, mean: Linear::new(top, latent, rng), spread: Linear::new(top, latent, rng) }
    }

    /// q(z | x) of some lines.
    pub fn forward(&self, x: &Batch<T>) -> Coded<T> {
        let mut layers = vec![self.first.rectified(x)];
        for linear in &self.deeper {
            layers.push(linear.rectified(layers[layers.len() - 1].view()));
        }
        let top = layers[layers.len() - 1].view();
        let raw = self.spread.forward(top).mapv(|v| v.wide());
        let mean = self.mean.forward(top).mapv(|v| v.wide());
        let free = raw.mapv(|v| v > SPREAD.0 && v < SPREAD.1);
        let log_variance = raw.mapv(|v| v.clamp(SPREAD.0, SPREAD.1));
        Coded { layers, posterior: Posterior { mean, log_variance }, free }
    }

    /// Entries of a line.
    pub fn width(&self) -> usize {
        self.first.weight.value.nrows()
    }

    /// W₁, and what else m needs: b₁ and in turn the weights and biases of the deeper layers and of m, row by row.
    pub fn stored(&self) -> (&Array2<T>, Vec<T>) {
        let mut rest: Vec<T> = self.first.bias.value.iter().copied().collect();
        for linear in self.deeper.iter().chain([&self.mean]) {
            rest.extend(linear.weight.value.iter().chain(&linear.bias.value).copied());
        }
        (&self.first.weight.value, rest)
    }

    /// The encoder with one deeper layer of which [`stored`](Self::stored) gave these; log s² is 0. `None` where sizes do not fit.
    pub fn restored(first: Array2<T>, latent: usize, rest: &[f64]) -> Option<Encoder<T>> {
        let width = first.ncols();
        // b₁, and with H₂ numbers in the second layer H₂ (H₁ + 1) + L (H₂ + 1).
        let left = rest.len().checked_sub(width + latent)?;
        let top = left / (width + 1 + latent);
        if top == 0 || left != top * (width + 1 + latent) {
            return None;
        }
        let mut rest = rest.iter().map(|v| T::of(*v));
        let mut take = |rows, cols| {
            Param::new(Array2::from_shape_simple_fn((rows, cols), || rest.next().unwrap_or(T::ZERO)))
        };
        let bias = take(1, width);
        let deeper = vec![Linear { weight: take(top, width), bias: take(1, top) }];
        let mean = Linear { weight: take(latent, top), bias: take(1, latent) };
        let none = |rows, cols| Param::new(Array2::from_elem((rows, cols), T::ZERO));
        let spread = Linear { weight: none(latent, top), bias: none(1, latent) };
        Some(Encoder { first: First { weight: Param::new(first), bias }, deeper, mean, spread })
    }

    /// Adds the gradients of every parameter from those of m and log s², and of the last hidden layer of the first lines where there
    /// is one.
    pub fn backward(&mut self, x: &Batch<T>, coded: &Coded<T>, d: &Posterior, hidden: Option<&Array2<T>>) {
        let top = coded.hidden();
        let dm = d.mean.mapv(T::of);
        let mut ds = d.log_variance.mapv(T::of);
        ds.zip_mut_with(&coded.free, |d, free| *d = if *free { *d } else { T::ZERO });
        self.mean.backward(top.view(), &dm);
        self.spread.backward(top.view(), &ds);
        let mut dh = Array2::from_elem(top.dim(), T::ZERO);
        if let Some(hidden) = hidden {
            dh.slice_mut(s![..hidden.nrows(), ..]).assign(hidden);
        }
        self.mean.backward_input(&dm, &mut dh);
        self.spread.backward_input(&ds, &mut dh);
        for (l, linear) in self.deeper.iter_mut().enumerate().rev() {
            rectify_adjoint(&coded.layers[l + 1], &mut dh);
            let below = &coded.layers[l];
            linear.backward(below.view(), &dh);
            dh = linear.input_gradient(&dh);
        }
        rectify_adjoint(&coded.layers[0], &mut dh);
        self.first.backward(x, &dh);
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        f("encoder.first.weight", &mut self.first.weight);
        f("encoder.first.bias", &mut self.first.bias);
        for (l, linear) in self.deeper.iter_mut().enumerate() {
            linear.visit(&format!("encoder.l{}", l + 2), f);
        }
        self.mean.visit("encoder.mean", f);
        self.spread.visit("encoder.spread", f);
    }
}

/// Points to what the likelihood reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Decoder<T> {
    hidden: Vec<Linear<T>>,
    /// The last layer, whose bias starts at the log shares of the outputs.
    pub out: Linear<T>,
}

impl<T: Real> Decoder<T> {
    /// From L numbers through the given hidden layers to lines of the given width, whose biases start at `bias`.
    pub fn new(latent: usize, hidden: &[usize], bias: &[f64], rng: &mut impl Rng) -> Decoder<T> {
        let mut width = latent;
        let layers = hidden.iter().map(|&size| {
            let layer = Linear::new(width, size, rng);
            width = size;
            layer
        });
        let hidden = layers.collect();
        let mut out = Linear::new(width, bias.len(), rng);
        out.bias.value.iter_mut().zip(bias).for_each(|(to, v)| *to = T::of(*v));
        Decoder { hidden, out }
    }

    /// Hidden layers, and outputs in memory that was used before.
    pub fn forward(&self, u: ArrayView2<'_, T>, spare: Vec<T>) -> (Vec<Array2<T>>, Array2<T>) {
        let mut layers: Vec<Array2<T>> = Vec::new();
        for linear in &self.hidden {
            layers.push(linear.rectified(layers.last().map_or(u, |h| h.view())));
        }
        let out = self.out.forward_in(spare, layers.last().map_or(u, |h| h.view()));
        (layers, out)
    }

    /// Adds the gradients of every parameter from that of the outputs; the gradient of u.
    pub fn backward(&mut self, u: ArrayView2<'_, T>, layers: &[Array2<T>], dout: &Array2<T>) -> Array2<T> {
        let top = layers.last().map_or(u, |h| h.view());
        self.out.backward(top, dout);
        let mut d = self.out.input_gradient(dout);
        for (l, linear) in self.hidden.iter_mut().enumerate().rev() {
            rectify_adjoint(&layers[l], &mut d);
            let below = if l == 0 { u } else { layers[l - 1].view() };
            linear.backward(below, &d);
            d = linear.input_gradient(&d);
        }
        d
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        for (l, linear) in self.hidden.iter_mut().enumerate() {
            linear.visit(&format!("decoder.l{}", l + 1), f);
        }
        self.out.visit("decoder.out", f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::methods::cocluster::svcc::lines::tests::sparse;
    use crate::nn::check::{normal, slopes};

    #[test]
    fn encoders_follow_differences_sparse_or_not() {
        let mut rng = Seed(1).stream(Draw::Init, 0);
        let mut encoder = Encoder::<f64>::new(6, &[5, 4], 2, &mut rng);
        let x = normal(7, 6, 2).mapv(|v| if v > 0.2 { v } else { 0.0 });
        let (to_mean, to_spread, to_hidden) = (normal(7, 2, 3), normal(7, 2, 4), normal(7, 4, 5));
        let loss = |e: &Encoder<f64>| {
            let c = e.forward(&Batch::Dense(x.clone()));
            (&c.posterior.mean * &to_mean).sum()
                + (&c.posterior.log_variance * &to_spread).sum()
                + (c.hidden() * &to_hidden).sum()
        };
        let start = encoder.clone();
        let d = Posterior { mean: to_mean.clone(), log_variance: to_spread.clone() };
        let mut grads = Vec::new();
        for batch in [Batch::Dense(x.clone()), sparse(&x)] {
            let mut e = start.clone();
            let coded = e.forward(&batch);
            e.backward(&batch, &coded, &d, Some(&to_hidden));
            let mut all = Vec::new();
            e.visit(&mut |name, p| all.push((name.to_owned(), p.grad.clone())));
            grads.push(all);
        }
        for (a, b) in grads[0].iter().zip(&grads[1]) {
            assert!((&a.1 - &b.1).iter().all(|v| v.abs() < 1e-12), "{}", a.0);
        }
        fn nth(e: &mut Encoder<f64>, at: usize) -> &mut Array2<f64> {
            match at {
                0 => &mut e.first.weight.value,
                1 => &mut e.first.bias.value,
                2 => &mut e.deeper[0].weight.value,
                3 => &mut e.deeper[0].bias.value,
                4 => &mut e.mean.weight.value,
                5 => &mut e.mean.bias.value,
                6 => &mut e.spread.weight.value,
                _ => &mut e.spread.bias.value,
            }
        }
        for (at, (name, grad)) in grads[0].iter().enumerate() {
            slopes(name, &start, |e| nth(e, at), grad, loss);
        }
        encoder.visit(&mut |_, p| p.clear());
    }

    #[test]
    fn stored_encoders_give_the_same_means() {
        let encoder = Encoder::<f64>::new(6, &[5, 4], 2, &mut Seed(1).stream(Draw::Init, 0));
        let x = Batch::Dense(normal(7, 6, 2));
        let (first, rest) = encoder.stored();
        let again = Encoder::restored(first.clone(), 2, &rest).unwrap();
        assert_eq!(again.forward(&x).posterior.mean, encoder.forward(&x).posterior.mean);
        assert!(Encoder::<f64>::restored(first.clone(), 2, &rest[1..]).is_none());
        assert!(Encoder::<f64>::restored(first.clone(), 3, &rest).is_none());
    }

    #[test]
    fn decoders_follow_differences() {
        let mut rng = Seed(2).stream(Draw::Init, 0);
        let mut decoder = Decoder::<f64>::new(2, &[4, 5], &[0.1; 6], &mut rng);
        let (u, weights) = (normal(7, 2, 6), normal(7, 6, 7));
        let state = (decoder.clone(), u.clone());
        let loss = |s: &(Decoder<f64>, Array2<f64>)| (s.0.forward(s.1.view(), Vec::new()).1 * &weights).sum();
        let (layers, _) = decoder.forward(u.view(), vec![9.0; 50]);
        let du = decoder.backward(u.view(), &layers, &weights);
        slopes("u", &state, |s| &mut s.1, &du, loss);
        slopes("out", &state, |s| &mut s.0.out.weight.value, &decoder.out.weight.grad, loss);
        slopes("l1", &state, |s| &mut s.0.hidden[0].weight.value, &decoder.hidden[0].weight.grad, loss);
        slopes("l2", &state, |s| &mut s.0.hidden[1].bias.value, &decoder.hidden[1].bias.grad, loss);
    }
}
