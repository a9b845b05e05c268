//! Adam on a table whose rows are visited in turn.
//!
//! ```text
//! m := β₁ m + (1 − β₁) ḡ,   v := β₂ v + (1 − β₂) ḡ²,
//! p := p − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ϵ),    β₁ = 0.9, β₂ = 0.999, ϵ = 10⁻⁷,
//! ```
//!
//! with ϵ outside the root, as in Keras. The published code updates *every* row in every step: a row outside the
//! mini-batch has a zero gradient, yet its moments decay and it still moves (`dense`). What such a row does between two
//! visits depends on nothing else, so it is done when the row is visited next. Over the steps t + 1, t + 2, …, with m, v
//! the moments after step t and r = √v,
//!
//! ```text
//! p := p − m Σ_j w_j / (r c_j + ϵ),   w_j = η β₁ʲ / (1 − β₁ᵗ⁺ʲ),   c_j = √(β₂ʲ / (1 − β₂ᵗ⁺ʲ)),
//! ```
//!
//! where w and c are the same for every parameter. Where the c_j are near their mean c̄, as they are but for the first
//! steps of all, the sum is that of a short series,
//!
//! ```text
//! Σ_j w_j / (r c_j + ϵ) = h Σ_i M_i (−r h)ⁱ,   h = 1 / (r c̄ + ϵ),   M_i = Σ_j w_j (c_j − c̄)ⁱ,
//! ```
//!
//! so that a long pause costs a parameter no more than a short one. `lazy` leaves out these steps, and counts them for
//! each row on its own.

use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

use super::divergence::{dispatch, fused};

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
/// Terms of the series, and the largest share of the movement that the terms left out may hold.
const TERMS: usize = 10;
/// Steps whose moments are summed side by side.
const SIDE: usize = 8;
const LOST: f64 = 1e-14;

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

/// One row of a [`Tensor`].
#[derive(Debug)]
pub struct Row<'a> {
    /// Its parameters.
    pub values: &'a mut [f64],
    m: &'a mut [f64],
    v: &'a mut [f64],
    at: &'a mut u32,
}

/// What a row does from one step to another without a gradient; kept from row to row.
#[derive(Clone, Debug, Default)]
pub struct Pause {
    span: (u32, u32),
    rate: f64,
    /// w_j and c_j.
    each: Vec<(f64, f64)>,
    /// c̄ and M, where the series holds.
    series: Option<(f64, [f64; TERMS])>,
    /// β₁ and β₂ to the power of the steps.
    decay: (f64, f64),
}

impl Pause {
    /// The steps after `from` up to `to`.
    fn over(&mut self, from: u32, to: u32, rate: f64) {
        if self.span == (from, to) && self.rate == rate {
            return;
        }
        (self.span, self.rate) = ((from, to), rate);
        let steps = (to - from) as i32;
        self.decay = (BETA1.powi(steps), BETA2.powi(steps));
        let (mut share1, mut share2) = (1.0, 1.0);
        let (power1, power2) = (BETA1.powi(from as i32), BETA2.powi(from as i32));
        self.each.clear();
        let (mut total, mut mean) = (0.0, 0.0);
        for _ in 0..steps {
            if share1 < FADED {
                break;
            }
            (share1, share2) = (share1 * BETA1, share2 * BETA2);
            let w = rate * share1 / (1.0 - power1 * share1);
            let c = (share2 / (1.0 - power2 * share2)).sqrt();
            total += w;
            mean += w * c;
            self.each.push((w, c));
        }
        mean /= total;
        // Steps side by side, or each of the few products of a step would wait for the one before.
        let (mut moments, mut lost) = ([0.0; TERMS], 0.0);
        for steps in self.each.chunks(SIDE) {
            let (mut term, mut off, mut least) = ([0.0; SIDE], [0.0; SIDE], [0.0; SIDE]);
            for (j, &(w, c)) in steps.iter().enumerate() {
                (term[j], off[j], least[j]) = (w, c - mean, mean / c);
            }
            for moment in &mut moments {
                let halves: [f64; SIDE / 2] = std::array::from_fn(|j| term[j] + term[j + SIDE / 2]);
                *moment += halves.iter().sum::<f64>();
                term.iter_mut().zip(&off).for_each(|(t, o)| *t *= o);
            }
            // r h is at most 1 / c̄.
            lost += term.iter().zip(&least).map(|(t, l)| t.abs() * l).sum::<f64>();
        }
        let holds = lost <= LOST * total * mean.powi(TERMS as i32);
        self.series = holds.then_some((mean, moments));
    }
}

/// What one step multiplies the moments with: η / (1 − β₁ᵗ) and 1 / (1 − β₂ᵗ).
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    step: u32,
    rate: f64,
    size: f64,
    spread: f64,
}

impl Pace {
    /// Of step t, counted from 1.
    pub fn of(step: u32, rate: f64) -> Pace {
        let t = step as i32;
        let (size, spread) = (rate / (1.0 - BETA1.powi(t)), 1.0 / (1.0 - BETA2.powi(t)));
        Pace { step, rate, size, spread }
    }
}

impl Row<'_> {
    /// Brings the row to the end of step `step` without a gradient.
    pub fn catch_up(&mut self, rule: Adam, step: u32, rate: f64, pause: &mut Pause) {
        let from = *self.at;
        if rule == Adam::Lazy || from >= step {
            return;
        }
        *self.at = step;
        pause.over(from, step, rate);
        match pause.series {
            Some(series) => dispatch(Glide { row: self, series, decay: pause.decay }),
            None => {
                for ((p, m), v) in self.values.iter_mut().zip(&mut *self.m).zip(&mut *self.v) {
                    *p -= *m * pause.each.iter().map(|(w, c)| w / (v.sqrt() * c + EPSILON)).sum::<f64>();
                    *m *= pause.decay.0;
                    *v *= pause.decay.1;
                }
            }
        }
    }

    /// One step with a gradient; `pace` is that of the step, counted over all batches, and the row is done up to the one before.
    pub fn descend(&mut self, rule: Adam, pace: Pace, gradient: &[f64]) {
        let pace = match rule {
            Adam::Dense => pace,
            Adam::Lazy => Pace::of(*self.at + 1, pace.rate),
        };
        *self.at = pace.step;
        dispatch(Descend { row: self, pace, gradient });
    }
}

/// A row over a pause, by the series.
struct Glide<'r, 'a> {
    row: &'r mut Row<'a>,
    series: (f64, [f64; TERMS]),
    decay: (f64, f64),
}

impl WithSimd for Glide<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Glide { row, series: (mean, moments), decay } = self;
        for ((p, m), v) in row.values.iter_mut().zip(&mut *row.m).zip(&mut *row.v) {
            let r = v.sqrt();
            let h = 1.0 / fused::<S>(r, mean, EPSILON);
            let mut sum = moments[TERMS - 1];
            for i in (0..TERMS - 1).rev() {
                sum = fused::<S>(sum, -r * h, moments[i]);
            }
            *p -= *m * (h * sum);
            *m *= decay.0;
            *v *= decay.1;
        }
    }
}

/// A row over one step with a gradient.
struct Descend<'r, 'a> {
    row: &'r mut Row<'a>,
    pace: Pace,
    gradient: &'r [f64],
}

impl WithSimd for Descend<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Descend { row, pace: Pace { size, spread, .. }, gradient } = self;
        let moments = row.m.iter_mut().zip(&mut *row.v);
        for ((p, (m, v)), g) in row.values.iter_mut().zip(moments).zip(gradient) {
            *m = fused::<S>(BETA1, *m, (1.0 - BETA1) * g);
            *v = fused::<S>(BETA2, *v, (1.0 - BETA2) * g * g);
            *p -= size * *m / ((*v * spread).sqrt() + EPSILON);
        }
    }
}

impl Tensor {
    /// Before the first step.
    pub fn new(values: Vec<f64>, width: usize) -> Tensor {
        let (size, rows) = (values.len(), values.len().checked_div(width).unwrap_or(0));
        Tensor { values, width, m: vec![0.0; size], v: vec![0.0; size], at: vec![0; rows] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.at.len()
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// Some rows, in rising order, to be changed side by side.
    pub fn rows_mut(&mut self, rows: &[usize]) -> impl Iterator<Item = Row<'_>> {
        let parts = pick(&mut self.values, self.width, rows)
            .zip(pick(&mut self.m, self.width, rows))
            .zip(pick(&mut self.v, self.width, rows));
        parts.zip(pick(&mut self.at, 1, rows)).map(|(((values, m), v), at)| Row {
            values,
            m,
            v,
            at: &mut at[0],
        })
    }

    /// Brings every row to the end of step `step` without a gradient.
    pub fn catch_up(&mut self, rule: Adam, step: u32, rate: f64) {
        let all: Vec<usize> = (0..self.rows()).collect();
        let mut pause = Pause::default();
        self.rows_mut(&all).for_each(|mut row| row.catch_up(rule, step, rate, &mut pause));
    }

    /// One step of row `i` with its gradient; `step` counts from 1 over all batches.
    pub fn descend(&mut self, rule: Adam, i: usize, step: u32, rate: f64, gradient: &[f64]) {
        let mut pause = Pause::default();
        for mut row in self.rows_mut(&[i]) {
            row.catch_up(rule, step - 1, rate, &mut pause);
            row.descend(rule, Pace::of(step, rate), gradient);
        }
    }
}

/// Rows of a table, in rising order, to be changed side by side.
pub fn pick<'a, T>(values: &'a mut [T], width: usize, rows: &[usize]) -> impl Iterator<Item = &'a mut [T]> {
    let (mut rest, mut done) = (values, 0);
    rows.iter().map(move |&i| {
        let (_, from) = std::mem::take(&mut rest).split_at_mut((i - done) * width);
        let (row, after) = from.split_at_mut(width);
        (rest, done) = (after, i + 1);
        row
    })
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
        for t in 1..3000u32 {
            // Row 2 is seen a few times only, with gaps over which its momentum fades. Gradients are large and as small
            // as ϵ, and pauses early, where the sum is taken step by step, and late, where it is that of the series.
            let row = if [3, 800, 1900, 2600].contains(&t) { 2 } else { (t / 40 % 2) as usize };
            let g = [(t as f64).sin(), 1e-7 * (t as f64).cos()];
            ours.descend(Adam::Dense, row, t, 0.01, &g);
            let mut all = [0.0; 6];
            all[2 * row..2 * row + 2].copy_from_slice(&g);
            textbook(&mut p, &mut m, &mut v, t as i32, 0.01, &all);
        }
        ours.catch_up(Adam::Dense, 2999, 0.01);
        let mut pause = Pause::default();
        let early_and_late = [(3, 43), (1900, 2600)].map(|(from, to)| {
            pause.over(from, to, 0.01);
            pause.series.is_some()
        });
        assert_eq!(early_and_late, [false, true]);
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
