//! Adam on a table whose rows are visited in turn.
//!
//! ```text
//! m := β₁ m + (1 − β₁) ḡ,   v := β₂ v + (1 − β₂) ḡ²,
//! p := p − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ϵ),    β₁ = 0.9, β₂ = 0.999, ϵ = 10⁻⁷,
//! ```
//!
//! with ϵ outside the root, as in Keras. The published code updates *every* row in every step: a row outside the
//! mini-batch has a zero gradient, yet its moments decay and it still moves (`dense`). What such a row does between two
//! visits depends on nothing else, so it is done when the row is visited next: the same numbers, but only the rows of
//! the batch are touched in a step. `lazy` leaves out these steps, and counts them for each row on its own.

use serde::{Deserialize, Serialize};

/// What rows outside a mini-batch do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adam {
    /// They go on by their momentum, as in the published code.
    Dense,
    /// They stand still.
    Lazy,
}

crate::words!(Adam, "a rule of Adam", Dense = "dense", Lazy = "lazy");

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-7;
/// Momentum below this share of where it began moves nothing any more: the step it makes is lost in rounding.
const FADED: f64 = 1e-20;

/// Parameters in rows, with their moments and the step of each row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tensor {
    /// Values by rows.
    pub values: Vec<f64>,
    /// Length of a row.
    pub width: usize,
    m: Vec<f64>,
    v: Vec<f64>,
    /// Step up to which each row is done: of all rows together (`dense`) or its own (`lazy`).
    at: Vec<u32>,
}

impl Tensor {
    /// Before the first step.
    pub fn new(values: Vec<f64>, width: usize) -> Tensor {
        let (size, rows) = (values.len(), values.len().checked_div(width).unwrap_or(0));
        Tensor { values, width, m: vec![0.0; size], v: vec![0.0; size], at: vec![0; rows] }
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// Brings row `i` to the end of step `step` without a gradient.
    pub fn catch_up(&mut self, rule: Adam, i: usize, step: u32, rate: f64) {
        let from = self.at[i];
        if rule == Adam::Lazy || from >= step {
            return;
        }
        self.at[i] = step;
        let range = i * self.width..(i + 1) * self.width;
        let (p, m, v) = (&mut self.values[range.clone()], &mut self.m[range.clone()], &mut self.v[range]);
        if m.iter().all(|m| *m == 0.0) {
            let decay = BETA2.powi((step - from) as i32);
            v.iter_mut().for_each(|v| *v *= decay);
            return;
        }
        let (mut power1, mut power2) = (BETA1.powi(from as i32), BETA2.powi(from as i32));
        let mut share = 1.0;
        for done in from..step {
            if share < FADED {
                let left = (step - done) as i32;
                let (decay1, decay2) = (BETA1.powi(left), BETA2.powi(left));
                m.iter_mut().for_each(|m| *m *= decay1);
                v.iter_mut().for_each(|v| *v *= decay2);
                break;
            }
            share *= BETA1;
            (power1, power2) = (power1 * BETA1, power2 * BETA2);
            let (size, spread) = (rate / (1.0 - power1), 1.0 / (1.0 - power2));
            for ((p, m), v) in p.iter_mut().zip(&mut *m).zip(&mut *v) {
                *m *= BETA1;
                *v *= BETA2;
                *p -= size * *m / ((*v * spread).sqrt() + EPSILON);
            }
        }
    }

    /// One step of row `i` with its gradient; `step` counts from 1 over all batches.
    pub fn descend(&mut self, rule: Adam, i: usize, step: u32, rate: f64, gradient: &[f64]) {
        self.catch_up(rule, i, step - 1, rate);
        let t = match rule {
            Adam::Dense => step,
            Adam::Lazy => self.at[i] + 1,
        };
        self.at[i] = t;
        let range = i * self.width..(i + 1) * self.width;
        let (size, spread) = (rate / (1.0 - BETA1.powi(t as i32)), 1.0 / (1.0 - BETA2.powi(t as i32)));
        let moments = self.m[range.clone()].iter_mut().zip(&mut self.v[range.clone()]);
        for ((p, (m, v)), g) in self.values[range].iter_mut().zip(moments).zip(gradient) {
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            *p -= size * *m / ((*v * spread).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook form: every row in every step.
    fn textbook(p: &mut [f64], m: &mut [f64], v: &mut [f64], t: i32, rate: f64, g: &[f64]) {
        for i in 0..p.len() {
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
            p[i] -=
                rate * (m[i] / (1.0 - 0.9f64.powi(t))) / ((v[i] / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-7);
        }
    }

    #[test]
    fn dense_rows_move_between_visits_as_if_visited() {
        let start = vec![0.3, -0.2, 1.0, 0.5, 0.1, 0.2];
        let mut ours = Tensor::new(start.clone(), 2);
        let (mut p, mut m, mut v) = (start, vec![0.0; 6], vec![0.0; 6]);
        for t in 1..900u32 {
            // Row 2 is seen twice only, with a gap over which its momentum fades.
            let row = if t == 3 || t == 800 { 2 } else { (t % 2) as usize };
            let g = [(t as f64).sin(), 1e-3 * (t as f64).cos()];
            ours.descend(Adam::Dense, row, t, 0.01, &g);
            let mut all = [0.0; 6];
            all[2 * row..2 * row + 2].copy_from_slice(&g);
            textbook(&mut p, &mut m, &mut v, t as i32, 0.01, &all);
        }
        (0..3).for_each(|i| ours.catch_up(Adam::Dense, i, 899, 0.01));
        for (a, b) in ours.values.iter().zip(&p) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn lazy_rows_count_their_own_steps() {
        let mut ours = Tensor::new(vec![0.0; 2], 1);
        let (mut p, mut m, mut v) = ([0.0], [0.0], [0.0]);
        for t in 1..20u32 {
            ours.descend(Adam::Lazy, 0, t, 0.1, &[0.5]);
            if t % 3 == 0 {
                ours.descend(Adam::Lazy, 1, t, 0.1, &[f64::from(t)]);
                textbook(&mut p, &mut m, &mut v, (t / 3) as i32, 0.1, &[f64::from(t)]);
            }
        }
        assert!((ours.values[1] - p[0]).abs() < 1e-14);
    }
}
