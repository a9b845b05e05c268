//! Adam, every parameter in every step, and its proximal form for a weighted sum of absolute values.
//!
//! ```text
//! m := β₁ m + (1 − β₁) g,   v := β₂ v + (1 − β₂) g²,   d = √(v / (1 − β₂ᵗ)) + ϵ,
//! p := p − η (m / (1 − β₁ᵗ)) / d,                     β₁ = 0.9, β₂ = 0.999, ϵ = 10⁻⁸
//! proximal:  p := sign(p) max(|p| − η ω / d, 0) after that, for the penalty Σ ω |p|
//! ```
//!
//! [`crate::methods`]' factorisations have their own form, which lets rows rest between visits.

use ndarray::Array2;
use rayon::prelude::*;

use super::wide::fast;
use super::{Param, Real};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Entries a task takes; the work is entry by entry, so that its size changes no bits.
const CHUNK: usize = 1 << 14;

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    rate: f64,
    /// 1/(1 − β₁ᵗ) and 1/(1 − β₂ᵗ).
    spread: [f64; 2],
    /// What gradients are multiplied by.
    shrink: f64,
}

impl Adam {
    /// Step t, counted from 1, of size η = `rate`.
    pub fn at(step: u64, rate: f64) -> Adam {
        let spread = |beta: f64| 1.0 / (1.0 - beta.powf(step as f64));
        Adam { rate, spread: [spread(BETA1), spread(BETA2)], shrink: 1.0 }
    }

    /// The same step for gradients times `by`: where their norm is to be kept below a bound.
    pub fn shrunk(self, by: f64) -> Adam {
        Adam { shrink: by, ..self }
    }

    /// Moves the parameter against its gradient.
    pub fn descend<T: Real>(&self, p: &mut Param<T>) {
        self.each::<T, false, false>(p, None, |p, move_by, _, _| p - move_by);
    }

    /// The same with the new value times `keep` and the gradient forgotten, in one pass: a step with decoupled decay.
    pub fn descend_and_clear<T: Real>(&self, p: &mut Param<T>, keep: f64) {
        let keep = T::of(keep);
        self.each::<T, true, false>(p, None, move |p, move_by, _, _| (p - move_by) * keep);
    }

    /// Moves against the gradient, then shrinks by the penalty's weights ω: the way to exact zeros. With `rest`, entries that
    /// are 0 stay there and keep their moments, for steps in which their gradient is not known.
    pub fn descend_proximal<T: Real>(&self, p: &mut Param<T>, omega: &[T], rest: bool) {
        let to = |p: T, move_by: T, size: T, omega: T| {
            let (moved, by) = (p - move_by, size * omega);
            let kept = if moved < T::ZERO { -moved } else { moved } - by;
            match kept > T::ZERO {
                false => T::ZERO,
                true if moved < T::ZERO => -kept,
                true => kept,
            }
        };
        match rest {
            true => self.each::<T, false, true>(p, Some(omega), to),
            false => self.each::<T, false, false>(p, Some(omega), to),
        }
    }

    /// One pass: `to(p, η m̂ / d, η / d, ω)` is the new value. Numbers are captured by value, or the loop would not become vectors.
    fn each<T: Real, const CLEAR: bool, const REST: bool>(
        &self,
        p: &mut Param<T>,
        omega: Option<&[T]>,
        to: impl Fn(T, T, T, T) -> T + Sync + Copy,
    ) {
        let [first, two] = self.spread.map(T::of);
        let (b1, b2, eps, rate) = (T::of(BETA1), T::of(BETA2), T::of(EPSILON), T::of(self.rate));
        let (c1, c2) = (T::of(1.0 - BETA1), T::of(1.0 - BETA2));
        let shrink = T::of(self.shrink);
        let run = |value: &mut [T], grad: &mut [T], m: &mut [T], v: &mut [T], omega: Option<&[T]>| {
            let one = move |((value, grad), (m, v)): ((&mut T, &mut T), (&mut T, &mut T)), omega: T| {
                let g = *grad * shrink;
                let mean = b1 * *m + c1 * g;
                let square = b2 * *v + c2 * g * g;
                let size = rate / ((square * two).root() + eps);
                let moved = to(*value, size * (mean * first), size, omega);
                if REST {
                    let still = *value == T::ZERO;
                    (*value, *m, *v) = if still { (*value, *m, *v) } else { (moved, mean, square) };
                } else {
                    (*value, *m, *v) = (moved, mean, square);
                }
                if CLEAR {
                    *grad = T::ZERO;
                }
            };
            let all = value.iter_mut().zip(grad).zip(m.iter_mut().zip(v));
            match omega {
                None => fast!(move || all.for_each(move |entry| one(entry, T::ZERO))),
                Some(omega) => {
                    fast!(move || all.zip(omega).for_each(move |(entry, omega)| one(entry, *omega)))
                }
            }
        };
        let Param { value, grad, m, v } = p;
        let [value, grad, m, v] = [value, grad, m, v].map(flat);
        if value.len() <= CHUNK {
            return run(value, grad, m, v, omega);
        }
        let parts = value.par_chunks_mut(CHUNK).zip(grad.par_chunks_mut(CHUNK));
        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
        parts.zip(moments).enumerate().for_each(|(at, ((value, grad), (m, v)))| {
            let from = at * CHUNK;
            run(value, grad, m, v, omega.map(|o| &o[from..]));
        });
    }
}

/// The entries by rows, brought into that order if they are not.
fn flat<T: Real>(a: &mut Array2<T>) -> &mut [T] {
    if !a.is_standard_layout() {
        *a = a.as_standard_layout().into_owned();
    }
    a.as_slice_mut().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published algorithm for one number.
    fn textbook(p: &mut f64, m: &mut f64, v: &mut f64, t: i32, g: f64) -> f64 {
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        let d = (*v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8;
        *p -= 0.01 * (*m / (1.0 - 0.9f64.powi(t))) / d;
        d
    }

    #[test]
    fn steps_are_those_of_the_published_algorithm() {
        let size = CHUNK + 3;
        let mut p = Param::<f64>::filled((1, size), 0.5);
        let mut q = p.clone();
        let omega = vec![2.0; size];
        let (mut plain, mut prox) = ([0.5, 0.0, 0.0], [0.5, 0.0, 0.0]);
        for t in 1..40 {
            let g = (t as f64).sin() + 0.3;
            p.grad.fill(g);
            q.grad.fill(g);
            Adam::at(t as u64, 0.01).descend(&mut p);
            Adam::at(t as u64, 0.01).descend_proximal(&mut q, &omega, false);
            let [a, m, v] = &mut plain;
            textbook(a, m, v, t, g);
            let [a, m, v] = &mut prox;
            let d = textbook(a, m, v, t, g);
            *a = a.signum() * (a.abs() - 0.01 * 2.0 / d).max(0.0);
            for at in [0, CHUNK + 2] {
                assert!((p.value[[0, at]] - plain[0]).abs() < 1e-14);
                assert!((q.value[[0, at]] - prox[0]).abs() < 1e-14);
            }
        }
        assert_eq!(q.value[[0, 0]], 0.0, "the penalty ends in an exact zero");
        Adam::at(40, 0.01).descend_proximal(&mut q, &vec![0.0; size], true);
        assert_eq!(q.value[[0, 0]], 0.0, "and an entry at rest stays there");
    }

    #[test]
    fn decay_and_shrinking_in_one_pass_are_those_of_three() {
        let mut p = Param::<f32>::filled((1, CHUNK + 3), 0.5);
        p.grad.iter_mut().enumerate().for_each(|(i, g)| *g = (i as f32).sin());
        let mut q = p.clone();
        for _ in 0..3 {
            q.grad.mapv_inplace(|g| g * 0.5);
            Adam::at(2, 0.01).descend(&mut q);
            q.value.mapv_inplace(|v| v * 0.75);
            Adam::at(2, 0.01).shrunk(0.5).descend_and_clear(&mut p, 0.75);
            assert!(p.value == q.value && p.grad.iter().all(|g| *g == 0.0));
            p.grad.assign(&q.grad);
        }
    }

    #[test]
    fn a_matrix_made_any_way_is_stepped() {
        let mut p = Param::new(Array2::from_shape_fn((3, 2), |(i, j)| (i + j) as f64).reversed_axes());
        p.grad.fill(1.0);
        Adam::at(1, 0.1).descend(&mut p);
        assert!((p.value[[1, 2]] - 2.9).abs() < 1e-7);
    }
}
