//! Small dense networks, forward and backward written out: layers, batch norm, activations, Adam.
//!
//! ```text
//! linear     y = x Vᵀ + b                                  dx = dy V,  dV = dyᵀ x,  db = Σᵢ dyᵢ
//! batch norm y = γ (x − x̄)/√(s² + ϵ) + β  column by column   [`norm`]
//! block      relu(norm(linear x)), the hidden layer of an encoder   [`mlp`]
//! ```
//!
//! Samples are rows. Everything is written for `f64`, in which the derivatives are checked, and for `f32`, in which
//! networks are trained ([`Real`]). A parameter carries its gradient and the moments of its optimiser ([`Param`]); a
//! backward pass adds to gradients, the caller clears them. Sums run in a fixed order, so that a pass gives the same bits
//! on any number of threads.

pub mod abreast;
pub mod activation;
pub mod adam;
pub mod elementary;
pub mod lanes;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod panels;
pub mod wide;

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use ndarray::Array2;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// `f32` or `f64`.
pub trait Real:
    faer::traits::ComplexField
    + wide::Wide
    + Copy
    + PartialOrd
    + Default
    + Send
    + Sync
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Serialize
    + DeserializeOwned
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value.
    fn of(value: f64) -> Self;
    /// As `f64`, exactly.
    fn wide(self) -> f64;
    /// Square root.
    fn root(self) -> Self;
    /// eˣ to its own precision, kept to the range of normal numbers ([`elementary`]).
    fn exponential(self) -> Self;
    /// The larger of two values that are not NaN.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

macro_rules! real {
    ($t:ty, $exp:path) => {
        impl Real for $t {
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            #[inline(always)]
            #[allow(clippy::unnecessary_cast)] // a cast for one of the two widths only
            fn of(value: f64) -> $t {
                value as $t
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn root(self) -> $t {
                self.sqrt()
            }
            #[inline(always)]
            fn exponential(self) -> $t {
                $exp(self)
            }
        }
    };
}

real!(f32, elementary::exp32);
real!(f64, elementary::exp);

/// A parameter, its gradient, and the moments of Adam. A vector is a matrix of one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Param<T> {
    /// Values.
    pub value: Array2<T>,
    /// Derivative of the loss, filled by backward passes.
    pub grad: Array2<T>,
    /// Mean of gradients, as Adam keeps it.
    m: Array2<T>,
    /// Mean of their squares.
    v: Array2<T>,
}

impl<T: Real> Param<T> {
    /// Before the first step.
    pub fn new(value: Array2<T>) -> Param<T> {
        let zero = Array2::from_elem(value.raw_dim(), T::ZERO);
        Param { value, grad: zero.clone(), m: zero.clone(), v: zero }
    }

    /// All entries equal.
    pub fn filled(shape: (usize, usize), value: f64) -> Param<T> {
        Param::new(Array2::from_elem(shape, T::of(value)))
    }

    /// Uniform on ±1/√`fan_in`, the usual start of dense layers.
    pub fn uniform(shape: (usize, usize), fan_in: usize, rng: &mut impl Rng) -> Param<T> {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        Param::new(Array2::from_shape_simple_fn(shape, || T::of(bound * (2.0 * rng.random::<f64>() - 1.0))))
    }

    /// Sets a column to another, with what Adam knows of it.
    pub fn copy_column(&mut self, from: usize, to: usize) {
        for part in [&mut self.value, &mut self.m, &mut self.v] {
            let column = part.column(from).to_owned();
            part.column_mut(to).assign(&column);
        }
    }

    /// The same, and leaves zeros.
    pub fn move_column(&mut self, from: usize, to: usize) {
        self.copy_column(from, to);
        self.clear_column(from);
    }

    /// Sets a column to 0 and forgets its mean gradient; the mean squares stay, so that it comes back in small steps.
    pub fn clear_column(&mut self, column: usize) {
        self.value.column_mut(column).fill(T::ZERO);
        self.m.column_mut(column).fill(T::ZERO);
    }

    /// Sets a row; its mean gradient is forgotten, and the mean squares become the largest of each column, so that its
    /// first steps are no longer than those of rows that have been at work.
    pub fn set_row(&mut self, row: usize, values: impl IntoIterator<Item = f64>) {
        for (j, value) in values.into_iter().enumerate().take(self.value.ncols()) {
            let largest = self.v.column(j).iter().fold(T::ZERO, |a, b| a.larger(*b));
            (self.value[[row, j]], self.m[[row, j]], self.v[[row, j]]) = (T::of(value), T::ZERO, largest);
        }
    }

    /// The same for an entry of a vector.
    pub fn set_entry(&mut self, at: usize, value: f64) {
        let largest = self.v.iter().fold(T::ZERO, |a, b| a.larger(*b));
        (self.value[[0, at]], self.m[[0, at]], self.v[[0, at]]) = (T::of(value), T::ZERO, largest);
    }

    /// Forgets the gradient.
    pub fn clear(&mut self) {
        self.grad.fill(T::ZERO);
    }
}

/// The entries of a matrix in standard layout, row by row.
pub(crate) fn flat<T>(a: &Array2<T>) -> &[T] {
    debug_assert!(a.is_standard_layout());
    a.as_slice().unwrap_or_default()
}

/// The entries of a matrix in standard layout, row by row.
pub(crate) fn flat_mut<T>(a: &mut Array2<T>) -> &mut [T] {
    debug_assert!(a.is_standard_layout());
    a.as_slice_mut().unwrap_or_default()
}

/// Adds the columns' sums of `rows` to a gradient of one row.
pub(crate) fn add_column_sums<T: Real>(rows: &Array2<T>, into: &mut Array2<T>) {
    let (from, to) = (flat(rows), flat_mut(into));
    wide::fast!(|| from.chunks_exact(to.len().max(1)).for_each(|row| lanes::axpy(T::ONE, row, to)));
}

/// Finite differences, for the tests of this module and of the networks built on it.
#[cfg(test)]
pub(crate) mod check {
    use super::*;

    /// Asserts that `grad` is the derivative of `loss` in the parameter that `at` finds, at a spread of its entries.
    pub(crate) fn slopes<S: Clone>(
        what: &str,
        state: &S,
        at: impl Fn(&mut S) -> &mut Array2<f64>,
        grad: &Array2<f64>,
        loss: impl Fn(&S) -> f64,
    ) {
        let mut state = state.clone();
        assert_eq!(at(&mut state).dim(), grad.dim(), "{what}");
        let columns = grad.ncols();
        let every = grad.len().div_ceil(12).max(1);
        for entry in (0..grad.len()).step_by(every) {
            let place = [entry / columns, entry % columns];
            let before = at(&mut state)[place];
            let mut side = |h: f64| {
                at(&mut state)[place] = before + h;
                let value = loss(&state);
                at(&mut state)[place] = before;
                value
            };
            let slope = (side(1e-5) - side(-1e-5)) / 2e-5;
            let found = grad[place];
            assert!(
                (slope - found).abs() <= 1e-7 + 2e-6 * slope.abs(),
                "{what} at {place:?}: {found}, but differences give {slope}"
            );
        }
    }

    /// Standard normal values.
    pub(crate) fn normal(n: usize, m: usize, seed: u64) -> Array2<f64> {
        use rand_distr::{Distribution, StandardNormal};
        let mut rng = crate::fit::Seed(seed).stream(crate::fit::Draw::Simulate, 0);
        Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng))
    }
}
