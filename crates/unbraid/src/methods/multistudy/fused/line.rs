//! Rows with one active column. The first layer has no bias, so its output is homogeneous of degree one in t = w_jk z_ik,
//!
//! ```text
//! V₂ h₁ = |t| u_k,   u_k = V₂ relu(±V₁_k) with the sign of t,      o_j(t) = Σ_h v_jh relu(|t| u_kh + b₂_h),
//! ```
//!
//! and o_j is piecewise linear in |t| on either side of 0, with breaks at |t| = −b₂_h/u_kh: places that depend on the column
//! alone. They are sorted once for each column, and so are the samples by |z_ik|; a feature then walks along both with a
//! running slope and intercept, and back again with the sums of g and g|t| over the samples beyond each break. That is one
//! multiplication for each sample and a few for each hidden unit, in place of H₁H₂ for each sample.
//!
//! The derivative of a weight that is 0 is Σ_i z_il g_i r_l, where r = Σ_{h on} v_jh Q_h and Q = V₂ diag(on) V₁ (H₂ × K; which units of the
//! first layer are on depends on the side alone): r changes at each break by one row of Q, so that a sample costs K multiplications.

use ndarray::{Array2, s};

use super::row;
use crate::linalg::{Accum, gemm_alone};
use crate::nn::Real;
use crate::nn::lanes::axpy;

/// The two sides of 0.
const SIDES: [usize; 2] = [0, 1];

/// A column alone, the same for every feature; index 0 is t > 0, index 1 is t < 0.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// u.
    up: [Vec<f64>; 2],
    /// Where hidden units switch: |t|, the unit, and whether it comes on; ascending.
    breaks: [Vec<(f64, usize, bool)>; 2],
    /// Q, up to whole panels; empty where it is not asked for.
    others: [Vec<T>; 2],
}

/// The samples of a tile by |z| in one column: those with z ≥ 0, those with z < 0.
#[derive(Debug)]
pub(super) struct Order([Vec<usize>; 2]);

/// Derivative in u of both sides.
pub(super) type Turn = [Vec<f64>; 2];

/// What the walk forward leaves to the walk back.
#[derive(Debug, Default)]
pub(super) struct Memory {
    v: Vec<f64>,
    /// Slope of o in |t| at each sample.
    slope: Vec<f64>,
    /// Breaks below each sample.
    below: Vec<usize>,
    dv: Vec<f64>,
    db: Vec<f64>,
}

impl<T: Real> Line<T> {
    /// Of row `k` of V₁ᵀ, whose rows end in zeros; Q is formed where `width` is not 0.
    pub fn new(v1t: &Array2<T>, k: usize, v2: &Array2<T>, b2: &[f64], width: usize) -> Line<T> {
        let v1 = row(v1t, k);
        let side = |sign: f64| -> Vec<f64> {
            let one: Vec<f64> = v1.iter().map(|v| (sign * v.wide()).max(0.0)).collect();
            v2.rows().into_iter().map(|r| r.iter().zip(&one).map(|(v, h)| v.wide() * h).sum()).collect()
        };
        let up = [side(1.0), side(-1.0)];
        let breaks = SIDES.map(|s| {
            let at = |(h, (&u, &b)): (usize, (&f64, &f64))| {
                let place = -b / u;
                let switches = u != 0.0 && (place > 0.0 || (b == 0.0 && u > 0.0));
                switches.then_some((place.max(0.0), h, u > 0.0))
            };
            let mut breaks: Vec<_> = up[s].iter().zip(b2).enumerate().filter_map(at).collect();
            breaks.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            breaks
        });
        let mut line = Line { up, breaks, others: [Vec::new(), Vec::new()] };
        if width > 0 {
            for (s, sign) in SIDES.into_iter().zip([T::ONE, -T::ONE]) {
                line.others[s] = others_of(sign, v1, v1t, v2, width);
            }
        }
        line
    }

    /// No derivative yet.
    pub fn turn(&self) -> Turn {
        SIDES.map(|s| vec![0.0; self.up[s].len()])
    }

    /// Adds the derivatives of all weights, columns of `zt` (samples × K, up to whole panels), to `dw`, after the walk forward.
    #[inline(always)]
    pub fn others(
        &self,
        order: &Order,
        (column, w): (usize, T),
        v: &[T],
        b2: &[f64],
        memory: &Memory,
        g: &[T],
        zt: &[T],
        slopes: &mut [T],
        dw: &mut [T],
    ) {
        let (w, width) = (w.wide(), slopes.len());
        for s in SIDES {
            let (q, breaks) = (&self.others[s], &self.breaks[s]);
            slopes.fill(T::ZERO);
            for h in 0..v.len() {
                if b2[h] > 0.0 {
                    axpy(v[h], &q[h * width..(h + 1) * width], slopes);
                }
            }
            let mut passed = 0;
            for &i in Self::samples(s, w, order) {
                while passed < memory.below[i] {
                    let (_, h, on) = breaks[passed];
                    axpy(if on { v[h] } else { -v[h] }, &q[h * width..(h + 1) * width], slopes);
                    passed += 1;
                }
                let (g, z) = (g[i], &zt[i * width..(i + 1) * width]);
                if z[column] == T::ZERO {
                    continue;
                }
                for k in 0..width {
                    dw[k] += g * z[k] * slopes[k];
                }
            }
        }
    }

    /// The samples on side `s` of t = w z.
    fn samples(s: usize, w: f64, order: &Order) -> &[usize] {
        &order.0[if (w > 0.0) == (s == 0) { 0 } else { 1 }]
    }

    /// Adds v · h₂ to `o`.
    #[inline(always)]
    pub fn forward(
        &self,
        order: &Order,
        z: &[T],
        w: T,
        v: &[T],
        b2: &[f64],
        memory: &mut Memory,
        o: &mut [T],
    ) {
        let w = w.wide();
        memory.v.clear();
        memory.v.extend(v.iter().map(|v| v.wide()));
        memory.slope.resize(z.len(), 0.0);
        memory.below.resize(z.len(), 0);
        let v = &memory.v;
        for s in SIDES {
            let (up, breaks) = (&self.up[s], &self.breaks[s]);
            let (mut slope, mut height) = (0.0, 0.0);
            for h in 0..v.len() {
                if b2[h] > 0.0 {
                    slope += v[h] * up[h];
                    height += v[h] * b2[h];
                }
            }
            let mut passed = 0;
            for &i in Self::samples(s, w, order) {
                let t = (w * z[i].wide()).abs();
                while passed < breaks.len() && breaks[passed].0 < t {
                    let (_, h, on) = breaks[passed];
                    let sign = if on { v[h] } else { -v[h] };
                    slope += sign * up[h];
                    height += sign * b2[h];
                    passed += 1;
                }
                o[i] += T::of(slope * t + height);
                // At 0 no unit of the first layer is on, and relu′(0) = 0.
                (memory.slope[i], memory.below[i]) = (if t > 0.0 { slope } else { 0.0 }, passed);
            }
        }
    }

    /// The way back from `g`: adds to the derivatives in v, b₂, u and z, and returns that in w.
    #[inline(always)]
    pub fn backward(
        &self,
        order: &Order,
        z: &[T],
        w: T,
        b2: &[f64],
        memory: &mut Memory,
        g: &[T],
        dv: &mut [T],
        db2: &mut [T],
        turn: &mut Turn,
        dz: &mut [T],
    ) -> T {
        let w = w.wide();
        let Memory { v, slope, below, dv: own_dv, db } = memory;
        for own in [&mut *own_dv, &mut *db] {
            own.clear();
            own.resize(v.len(), 0.0);
        }
        let mut dw = 0.0;
        for s in SIDES {
            let (up, breaks, turn) = (&self.up[s], &self.breaks[s], &mut turn[s]);
            let mut add = |h: usize, sign: f64, sum: f64, with_t: f64| {
                turn[h] += sign * v[h] * with_t;
                own_dv[h] += sign * (up[h] * with_t + b2[h] * sum);
                db[h] += sign * v[h] * sum;
            };
            // Sums of g and g|t| beyond the present break.
            let (mut sum, mut with_t) = (0.0, 0.0);
            let mut left = breaks.len();
            let mut pass = |to: usize, sum: f64, with_t: f64| {
                while left > to {
                    left -= 1;
                    let (_, h, on) = breaks[left];
                    add(h, if on { 1.0 } else { -1.0 }, sum, with_t);
                }
            };
            for &i in Self::samples(s, w, order).iter().rev() {
                pass(below[i], sum, with_t);
                let (g, z) = (g[i].wide(), z[i].wide());
                sum += g;
                with_t += g * (w * z).abs();
                let dt = if s == 0 { g * slope[i] } else { -g * slope[i] };
                dw += dt * z;
                dz[i] += T::of(dt * w);
            }
            pass(0, sum, with_t);
            // A unit that is on at 0 counts everywhere; the breaks above took off what lies beyond its end.
            for h in 0..v.len() {
                if b2[h] > 0.0 {
                    add(h, 1.0, sum, with_t);
                }
            }
        }
        for (to, own) in [(dv, &*own_dv), (db2, &*db)] {
            to.iter_mut().zip(own).for_each(|(to, d)| *to += T::of(*d));
        }
        T::of(dw)
    }

    /// From the derivative in u to those in V₁ᵀ (the column's row) and V₂.
    pub fn fold(turn: &Turn, v1: &[T], v2: &Array2<T>, dv1: &mut [T], dv2: &mut Array2<T>) {
        for (s, sign) in SIDES.into_iter().zip([T::ONE, -T::ONE]) {
            let one: Vec<T> = v1.iter().map(|v| (sign * *v).larger(T::ZERO)).collect();
            let mut back = vec![T::ZERO; v1.len()];
            for (r, (turn, mut to)) in turn[s].iter().zip(dv2.rows_mut()).enumerate() {
                let turn = T::of(*turn);
                to.iter_mut().zip(&one).for_each(|(to, h)| *to += turn * *h);
                axpy(turn, row(v2, r), &mut back);
            }
            for ((to, d), h) in dv1.iter_mut().zip(back).zip(one) {
                *to += if h > T::ZERO { sign * d } else { T::ZERO };
            }
        }
    }
}

/// V₂ diag(on) V₁ where the units with a positive `sign` V₁_k are on.
fn others_of<T: Real>(sign: T, v1: &[T], v1t: &Array2<T>, v2: &Array2<T>, width: usize) -> Vec<T> {
    let ((h2, h1), columns) = (v2.dim(), v1t.nrows());
    let mut on = Array2::from_elem((h1, columns), T::ZERO);
    for k in 0..columns {
        for h in 0..h1 {
            on[[h, k]] = if sign * v1[h] > T::ZERO { v1t[[k, h]] } else { T::ZERO };
        }
    }
    let mut out = Array2::from_elem((h2, width), T::ZERO);
    gemm_alone(out.slice_mut(s![.., ..columns]), Accum::Replace, v2.view(), on.view());
    out.into_raw_vec_and_offset().0
}

impl Order {
    /// Of a row of z.
    pub fn new<T: Real>(z: &[T]) -> Order {
        let (mut above, mut below): (Vec<usize>, Vec<usize>) = (0..z.len()).partition(|&i| z[i] >= T::ZERO);
        let key = |i: &usize| z[*i].wide().abs();
        for side in [&mut above, &mut below] {
            side.sort_by(|a, b| key(a).total_cmp(&key(b)).then(a.cmp(b)));
        }
        Order([above, below])
    }
}
