//! Batch norm over samples.
//!
//! ```text
//! training:    x̂ = (x − x̄) / √(s² + ϵ),  y = γ x̂ + β,    x̄, s² mean and *biased* variance of the batch, ϵ = 10⁻⁵
//!              dx = γ/√(s² + ϵ) (dy − mean dy − x̂ mean(dy x̂)),   dγ = Σ dy x̂,   dβ = Σ dy
//! running:     r := 0.9 r + 0.1 (x̄, s² n/(n − 1)):  the *unbiased* variance
//! evaluation:  the running values in place of x̄ and s²
//! ```

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::wide::fast;
use super::{Param, Real, flat, flat_mut};

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Batch norm of every column.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct BatchNorm<T> {
    /// γ, 1 × columns.
    pub weight: Param<T>,
    /// β, 1 × columns.
    pub bias: Param<T>,
    /// Running mean, for evaluation.
    pub mean: Vec<T>,
    /// Running unbiased variance.
    pub variance: Vec<T>,
}

/// What the backward pass needs of a forward pass.
pub struct Normed<T> {
    /// x̂.
    pub unit: Array2<T>,
    /// 1/√(s² + ϵ) of each column.
    scale: Vec<T>,
}

impl<T: Real> BatchNorm<T> {
    /// γ = 1, β = 0, running mean 0 and variance 1.
    pub fn new(columns: usize) -> BatchNorm<T> {
        let (weight, bias) = (Param::filled((1, columns), 1.0), Param::filled((1, columns), 0.0));
        BatchNorm { weight, bias, mean: vec![T::ZERO; columns], variance: vec![T::ONE; columns] }
    }

    /// y in place of x, by the statistics of the batch, which has at least 2 rows; moves the running values.
    pub fn train(&mut self, x: &mut Array2<T>) -> Normed<T> {
        let (n, columns) = x.dim();
        let (mut mean, mut square) = (vec![0.0f64; columns], vec![0.0f64; columns]);
        let values = flat(x);
        fast!(|| {
            let rows = || values.chunks_exact(columns.max(1));
            for row in rows() {
                mean.iter_mut().zip(row).for_each(|(m, v)| *m += v.wide());
            }
            mean.iter_mut().for_each(|m| *m /= n as f64);
            for row in rows() {
                square
                    .iter_mut()
                    .zip(row)
                    .zip(&mean)
                    .for_each(|((s, v), m)| *s += (v.wide() - m) * (v.wide() - m));
            }
        });
        let unbiased = (n as f64 - 1.0).max(1.0);
        for c in 0..columns {
            let keep = |running: T, new: f64| T::of((1.0 - MOMENTUM) * running.wide() + MOMENTUM * new);
            self.mean[c] = keep(self.mean[c], mean[c]);
            self.variance[c] = keep(self.variance[c], square[c] / unbiased);
        }
        let scale = square.iter().map(|s| 1.0 / (s / n as f64 + EPSILON).sqrt());
        let scale: Vec<T> = scale.map(T::of).collect();
        let mean: Vec<T> = mean.into_iter().map(T::of).collect();
        let unit = self.apply(x, &mean, &scale, true);
        Normed { unit, scale }
    }

    /// y in place of x, by the running values.
    pub fn evaluate(&self, x: &mut Array2<T>) {
        let scale = self.variance.iter().map(|v| T::of(1.0 / (v.wide() + EPSILON).sqrt()));
        self.apply(x, &self.mean, &scale.collect::<Vec<T>>(), false);
    }

    /// y in place of x; x̂ where it is asked for.
    fn apply(&self, x: &mut Array2<T>, mean: &[T], scale: &[T], keep: bool) -> Array2<T> {
        let mut unit = Array2::from_elem(if keep { x.dim() } else { (0, x.ncols()) }, T::ZERO);
        let columns = x.ncols().max(1);
        let (gamma, beta) = (flat(&self.weight.value), flat(&self.bias.value));
        let (x, hats) = (flat_mut(x), flat_mut(&mut unit));
        fast!(|| {
            for row in x.chunks_exact_mut(columns) {
                for ((x, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
                    *x = (*x - *mean) * *scale;
                }
            }
            if keep {
                hats.copy_from_slice(x);
            }
            for row in x.chunks_exact_mut(columns) {
                for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                    *x = *gamma * *x + *beta;
                }
            }
        });
        unit
    }

    /// dx in place of dy; adds dγ and dβ.
    pub fn backward(&mut self, normed: &Normed<T>, dy: &mut Array2<T>) {
        let (n, columns) = dy.dim();
        let (mut sum, mut with_unit) = (vec![0.0f64; columns], vec![0.0f64; columns]);
        let (d, hats) = (flat_mut(dy), flat(&normed.unit));
        fast!(|| {
            for (row, hat) in d.chunks_exact(columns.max(1)).zip(hats.chunks_exact(columns.max(1))) {
                sum.iter_mut().zip(row).for_each(|(s, d)| *s += d.wide());
                with_unit.iter_mut().zip(row).zip(hat).for_each(|((s, d), hat)| *s += (*d * *hat).wide());
            }
        });
        for c in 0..columns {
            self.weight.grad[[0, c]] += T::of(with_unit[c]);
            self.bias.grad[[0, c]] += T::of(sum[c]);
        }
        let share = 1.0 / n as f64;
        let [sum, with_unit] =
            [sum, with_unit].map(|s| s.iter().map(|v| T::of(v * share)).collect::<Vec<T>>());
        let slope = flat(&self.weight.value).iter().zip(&normed.scale).map(|(w, s)| *w * *s);
        let slope: Vec<T> = slope.collect();
        fast!(|| {
            for (row, hat) in d.chunks_exact_mut(columns.max(1)).zip(hats.chunks_exact(columns.max(1))) {
                let of_columns = slope.iter().zip(&sum).zip(&with_unit);
                for ((d, hat), ((slope, sum), with_unit)) in row.iter_mut().zip(hat).zip(of_columns) {
                    *d = *slope * (*d - *sum - *hat * *with_unit);
                }
            }
        });
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

    #[test]
    fn derivatives_match_differences() {
        let (mut norm, x, weights) = (BatchNorm::<f64>::new(3), normal(6, 3, 2) * 2.0 + 1.0, normal(6, 3, 3));
        norm.weight.value = normal(1, 3, 4);
        norm.bias.value = normal(1, 3, 5);
        let loss = |(norm, x): &(BatchNorm<f64>, Array2<f64>)| {
            let mut y = x.clone();
            norm.clone().train(&mut y);
            (y * &weights).sum()
        };
        let state = (norm.clone(), x.clone());
        let (normed, mut dx) = (norm.train(&mut x.clone()), weights.clone());
        norm.backward(&normed, &mut dx);
        slopes("weight", &state, |s| &mut s.0.weight.value, &norm.weight.grad, loss);
        slopes("bias", &state, |s| &mut s.0.bias.value, &norm.bias.grad, loss);
        slopes("input", &state, |s| &mut s.1, &dx, loss);
    }

    #[test]
    fn running_values_are_unbiased_and_used_in_evaluation() {
        let mut norm = BatchNorm::<f64>::new(1);
        let mut x = ndarray::array![[1.0], [2.0], [6.0]];
        for _ in 0..400 {
            norm.train(&mut x.clone());
        }
        // Mean 3, sum of squares 14.
        assert!((norm.mean[0] - 3.0).abs() < 1e-12 && (norm.variance[0] - 7.0).abs() < 1e-12);
        norm.evaluate(&mut x);
        assert!((x[[2, 0]] - 3.0 / (7.0f64 + 1e-5).sqrt()).abs() < 1e-12);
    }
}
