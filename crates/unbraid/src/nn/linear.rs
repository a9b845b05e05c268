//! The dense layer `y = x Vᵀ + b`.

use ndarray::{Array2, ArrayView2};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Param, Real, add_column_sums, repeated};
use crate::linalg::{Accum, gemm_in_parts};

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
        let mut y = repeated(&self.bias.value, x.nrows());
        gemm_in_parts(y.view_mut(), Accum::Add, x, self.weight.value.t());
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
        let mut dx = Array2::zeros((7, 5));
        layer.backward_input(&weights, &mut dx);
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
