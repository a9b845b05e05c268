//! The contrastive term: a code must tell its own line from the others of the batch.
//!
//! ```text
//! S_ij = cos(a_i, b_j)/T,    one-sided:  −(1/B) Σ_i ( S_ii − logsumexp_j S_ij ),
//! symmetric: the mean of that and of the same with S transposed;    I(x; z) ≥ log B − loss
//! ```
//!
//! | symbol | shape | meaning                                   |
//! |--------|-------|-------------------------------------------|
//! | a      | B × 16 | codes z through a linear map              |
//! | b      | B × 16 | the encoder's last hidden layer through a linear map |
//! | T      |       | temperature                               |
//!
//! Van den Oord, Li and Vinyals (2018): `oord2018`.

use ndarray::{Array2, ArrayView2};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::linalg::matmul;
use crate::nn::elementary::exp;
use crate::nn::linear::Linear;
use crate::nn::wide::fast;
use crate::nn::{Param, Real, flat_mut, lanes};

/// Temperature of the critic.
pub const TEMPERATURE: f64 = 0.2;
/// Numbers a line and its code are compared by.
const WIDTH: usize = 16;

/// Rows of length 1, and the lengths they had.
fn unit(a: ArrayView2<'_, f64>) -> (Array2<f64>, Vec<f64>) {
    let size: Vec<f64> = a.rows().into_iter().map(|r| r.dot(&r).sqrt().max(1e-12)).collect();
    let mut out = a.to_owned();
    out.rows_mut().into_iter().zip(&size).for_each(|(mut r, s)| r /= *s);
    (out, size)
}

/// dx of y = x/‖x‖ for a given dy.
fn unit_adjoint(y: &Array2<f64>, size: &[f64], dy: &Array2<f64>) -> Array2<f64> {
    let mut out = dy.clone();
    for ((mut d, y), s) in out.rows_mut().into_iter().zip(y.rows()).zip(size) {
        let along = d.dot(&y);
        d.iter_mut().zip(y).for_each(|(d, y)| *d = (*d - along * y) / s);
    }
    out
}

/// The loss of rows a and b that belong together, and its derivatives in both.
pub fn loss(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    temperature: f64,
    symmetric: bool,
) -> (f64, Array2<f64>, Array2<f64>) {
    let items = a.nrows() as f64;
    let ((u, of_a), (v, of_b)) = (unit(a), unit(b));
    let mut e = matmul(u.view(), v.t());
    // exp(S − 1/T): no cosine is above 1, so that one exponential serves rows and columns.
    let (count, by, top) = (e.ncols().max(1), 1.0 / temperature, 1.0 / temperature);
    let mut own = 0.0;
    let (mut of_rows, mut of_cols) = (vec![0.0; e.nrows()], vec![0.0; count]);
    for ((i, row), sum) in flat_mut(&mut e).chunks_exact_mut(count).enumerate().zip(&mut of_rows) {
        own += row[i] * by - top;
        fast!(|| {
            row.iter_mut().for_each(|v| *v = exp(*v * by - top));
            *sum = lanes::sum(row);
            lanes::axpy(1.0, row, &mut of_cols);
        });
    }
    let logs = |sums: &[f64]| sums.iter().map(|s| s.ln()).sum::<f64>();
    let (value, of_row, of_col) = match symmetric {
        true => ((0.5 * (logs(&of_rows) + logs(&of_cols)) - own) / items, 0.5, 0.5),
        false => ((logs(&of_rows) - own) / items, 1.0, 0.0),
    };
    // Both softmaxes, less the pairs themselves.
    let scale = by / items;
    let right: Vec<f64> = of_cols.iter().map(|s| of_col * scale / s).collect();
    let mut slope = e;
    for ((i, row), sum) in flat_mut(&mut slope).chunks_exact_mut(count).enumerate().zip(&of_rows) {
        let left = of_row * scale / sum;
        fast!(|| row.iter_mut().zip(&right).for_each(|(v, right)| *v *= left + right));
        row[i] -= scale;
    }
    let (du, dv) = (matmul(slope.view(), v.view()), matmul(slope.t(), u.view()));
    (value, unit_adjoint(&u, &of_a, &du), unit_adjoint(&v, &of_b, &dv))
}

/// The two linear maps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Critic<T> {
    code: Linear<T>,
    line: Linear<T>,
}

impl<T: Real> Critic<T> {
    /// For codes of L numbers and a hidden layer of the given width.
    pub fn new(latent: usize, hidden: usize, rng: &mut impl Rng) -> Critic<T> {
        Critic { code: Linear::new(latent, WIDTH, rng), line: Linear::new(hidden, WIDTH, rng) }
    }

    /// The loss of codes and hidden layers; adds `scale` times the gradients of the maps, and returns those of the inputs, also
    /// times `scale`.
    pub fn loss(
        &mut self,
        codes: &Array2<T>,
        hidden: ArrayView2<'_, T>,
        symmetric: bool,
        scale: f64,
    ) -> (f64, Array2<T>, Array2<T>) {
        let wide = |a: Array2<T>| a.mapv(|v| v.wide());
        let (a, b) = (wide(self.code.forward(codes.view())), wide(self.line.forward(hidden)));
        let (value, da, db) = loss(a.view(), b.view(), TEMPERATURE, symmetric);
        let narrow = |a: Array2<f64>| a.mapv(|v| T::of(scale * v));
        let back = |map: &mut Linear<T>, x: ArrayView2<'_, T>, d: Array2<T>| {
            map.backward(x, &d);
            map.input_gradient(&d)
        };
        let dz = back(&mut self.code, codes.view(), narrow(da));
        let dh = back(&mut self.line, hidden, narrow(db));
        (value, dz, dh)
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        self.code.visit("critic.code", f);
        self.line.visit("critic.line", f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::golden::Golden;
    use crate::nn::check::{normal, slopes};
    use ndarray::Ix0;

    #[test]
    fn losses_and_gradients_are_those_of_the_golden_case() {
        let case = Golden::open("svcc/infonce");
        let (a, b): (Array2<f64>, Array2<f64>) = (case.array("a"), case.array("b"));
        let number = |name: &str| case.array::<Ix0>(name).into_scalar();
        let (one, ..) = loss(a.view(), b.view(), number("tau"), false);
        let (both, da, db) = loss(a.view(), b.view(), number("tau"), true);
        assert!((one - number("loss_one_sided")).abs() < 1e-12);
        assert!((both - number("loss_symmetric")).abs() < 1e-12);
        case.assert_close("grad_a", &da, 1e-8);
        case.assert_close("grad_b", &db, 1e-8);
    }

    #[test]
    fn the_critic_follows_differences() {
        let mut critic = Critic::<f64>::new(3, 5, &mut Seed(1).stream(Draw::Init, 0));
        let (z, h) = (normal(6, 3, 2), normal(6, 5, 3));
        let state = (critic.clone(), z.clone(), h.clone());
        let (_, dz, dh) = critic.loss(&z, h.view(), false, 1.3);
        let value = |s: &(Critic<f64>, Array2<f64>, Array2<f64>)| {
            1.3 * s.0.clone().loss(&s.1, s.2.view(), false, 1.0).0
        };
        slopes("z", &state, |s| &mut s.1, &dz, value);
        slopes("hidden", &state, |s| &mut s.2, &dh, value);
        slopes("code", &state, |s| &mut s.0.code.weight.value, &critic.code.weight.grad, value);
        slopes("line", &state, |s| &mut s.0.line.bias.value, &critic.line.bias.grad, value);
    }
}
