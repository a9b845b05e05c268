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

use ndarray::Array2;

use super::row;
use crate::nn::Real;
use crate::nn::lanes::axpy;

/// The two sides of 0.
const SIDES: [usize; 2] = [0, 1];

/// A column alone, the same for every feature; index 0 is t > 0, index 1 is t < 0.
#[derive(Debug)]
pub(super) struct Line {
    /// u.
    up: [Vec<f64>; 2],
    /// Where hidden units switch: |t|, the unit, and whether it comes on; ascending.
    breaks: [Vec<(f64, usize, bool)>; 2],
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

impl Line {
    /// Of a row of V₁ᵀ.
    pub fn new<T: Real>(v1: &[T], v2: &Array2<T>, b2: &[f64]) -> Line {
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
        Line { up, breaks }
    }

    /// No derivative yet.
    pub fn turn(&self) -> Turn {
        SIDES.map(|s| vec![0.0; self.up[s].len()])
    }

    /// The samples on side `s` of t = w z.
    fn samples<'a>(s: usize, w: f64, order: &'a Order) -> &'a [usize] {
        &order.0[if (w > 0.0) == (s == 0) { 0 } else { 1 }]
    }

    /// Adds v · h₂ to `o`.
    #[inline(always)]
    pub fn forward<T: Real>(
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
            for &i in Line::samples(s, w, order) {
                let t = (w * z[i].wide()).abs();
                while passed < breaks.len() && breaks[passed].0 < t {
                    let (_, h, on) = breaks[passed];
                    let sign = if on { v[h] } else { -v[h] };
                    slope += sign * up[h];
                    height += sign * b2[h];
                    passed += 1;
                }
                o[i] += T::of(slope * t + height);
                (memory.slope[i], memory.below[i]) = (slope, passed);
            }
        }
    }

    /// The way back from `g`: adds to the derivatives in v, b₂, u and z, and returns that in w.
    #[inline(always)]
    pub fn backward<T: Real>(
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
            for &i in Line::samples(s, w, order).iter().rev() {
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
    pub fn fold<T: Real>(turn: &Turn, v1: &[T], v2: &Array2<T>, dv1: &mut [T], dv2: &mut Array2<T>) {
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
