//! The dense layer `y = x Vᵀ + b`.

use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::wide::fast;
use super::{Param, Real, add_column_sums, flat, flat_mut};
use crate::linalg::{Accum, gemm_in_parts, product_in_memory, product_in_parts, settle};

/// Rows to which a task adds the biases.
const ROWS: usize = 64;

/// max(y + b, 0) in place of every row y.
pub fn rectify<T: Real>(y: &mut Array2<T>, bias: &Array2<T>) {
    let bias = flat(bias);
    fast!(|| for row in flat_mut(y).chunks_exact_mut(bias.len().max(1)) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y = (*y + *b).larger(T::ZERO));
    });
}

/// A dense layer; a row of V for each output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Linear<T> {
    /// V, outputs × inputs.
    pub weight: Param<T>,
    /// b, 1 × outputs.
    pub bias: Param<T>,
}

impl<T: Real> Linear<T> {
    /// Weights and biases uniform on ±1/√inputs.
    pub fn new(inputs: usize, outputs: usize, rng: &mut impl Rng) -> Linear<T> {
        let weight = Param::uniform((outputs, inputs), inputs, rng);
        Linear { weight, bias: Param::uniform((1, outputs), inputs, rng) }
    }

    /// y of every row of x.
    pub fn forward(&self, x: ArrayView2<'_, T>) -> Array2<T> {
        self.forward_in(Vec::new(), x)
    }

    /// The same in memory that was used before.
    pub fn forward_in(&self, spare: Vec<T>, x: ArrayView2<'_, T>) -> Array2<T> {
        let mut y = product_in_memory(spare, x, self.weight.value.t());
        let bias = flat(&self.bias.value);
        flat_mut(&mut y).par_chunks_mut(bias.len().max(1) * ROWS).for_each(|rows| {
            settle();
            fast!(|| for row in rows.chunks_exact_mut(bias.len().max(1)) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += *b);
            });
        });
        y
    }

    /// max(y, 0) of every row of x, in one pass over the product.
    pub fn rectified(&self, x: ArrayView2<'_, T>) -> Array2<T> {
        let mut y = product_in_parts(x, self.weight.value.t());
        rectify(&mut y, &self.bias.value);
        y
    }

    /// Adds dV and db.
    pub fn backward(&mut self, x: ArrayView2<'_, T>, dy: &Array2<T>) {
        gemm_in_parts(self.weight.grad.view_mut(), Accum::Add, dy.t(), x);
        add_column_sums(dy, &mut self.bias.grad);
    }

    /// Adds the derivative in x, `dy V`.
    pub fn backward_input(&self, dy: &Array2<T>, dx: &mut Array2<T>) {
        gemm_in_parts(dx.view_mut(), Accum::Add, dy.view(), self.weight.value.view());
    }

    /// The derivative in x alone.
    pub fn input_gradient(&self, dy: &Array2<T>) -> Array2<T> {
        product_in_parts(dy.view(), self.weight.value.view())
    }

    /// Calls `f` with each parameter and its name after `at`.
    pub fn visit(&mut self, at: &str, f: &mut impl FnMut(&str, &mut Param<T>)) {
        f(&format!("{at}.weight"), &mut self.weight);
        f(&format!("{at}.bias"), &mut self.bias);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{normal, slopes};
    use super::*;
    use crate::fit::{Draw, Seed};

    #[test]
    fn derivatives_match_differences() {
        let mut rng = Seed(1).stream(Draw::Init, 0);
        let (mut layer, x, weights) = (Linear::<f64>::new(5, 3, &mut rng), normal(7, 5, 2), normal(7, 3, 3));
        let loss = |(layer, x): &(Linear<f64>, Array2<f64>)| (layer.forward(x.view()) * &weights).sum();
        layer.backward(x.view(), &weights);
        let dx = layer.input_gradient(&weights);
        let mut twice = dx.clone();
        layer.backward_input(&weights, &mut twice);
        assert!((&twice - 2.0 * &dx).iter().all(|v| v.abs() < 1e-14));
        let relu = layer.forward(x.view()).mapv(|v| v.max(0.0));
        assert!((layer.rectified(x.view()) - relu).iter().all(|v| v.abs() < 1e-14));
        let state = (layer.clone(), x);
        slopes("weight", &state, |s| &mut s.0.weight.value, &layer.weight.grad, loss);
        slopes("bias", &state, |s| &mut s.0.bias.value, &layer.bias.grad, loss);
        slopes("input", &state, |s| &mut s.1, &dx, loss);
    }

    #[test]
    fn large_layers_give_the_same_bits_on_any_threads() {
        let mut rng = Seed(1).stream(Draw::Init, 0);
        let layer = Linear::<f32>::new(300, 128, &mut rng);
        let x = normal(257, 300, 2).mapv(|v| v as f32);
        let dy = normal(257, 128, 3).mapv(|v| v as f32);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut layer = layer.clone();
                layer.backward(x.view(), &dy);
                (layer.forward(x.view()), layer.weight.grad)
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(8));
    }
}
