//! The table of one row: powers, or the softmax itself.

use pulp::{Simd, WithSimd};

use super::exp::{Exp, exp, exp_each};
use super::{BLOCK, PAD};

/// Table of powers r_i^(j − c), r_i = exp(rate · (x_i − centre)), c = (m − 1)/2: two exponentials a sample.
pub struct Powers<'a> {
    pub x: &'a [f64],
    pub centre: f64,
    pub rate: f64,
    pub m: usize,
    pub table: &'a mut [f64],
}

impl WithSimd for Powers<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let m = self.m;
        let half = 0.5 * (m - 1) as f64;
        let mut ratio = [0.0; BLOCK];
        for (x, block) in self.x.chunks(BLOCK).zip(self.table.chunks_mut(BLOCK * m)) {
            let nb = x.len();
            let ratio = &mut ratio[..nb];
            let u = |x| self.rate * (x - self.centre);
            exp_each::<S>(x, ratio, u, |e| e);
            exp_each::<S>(x, &mut block[..nb], |x| -half * u(x), |e| e);
            let (ratio, _) = S::as_simd_f64s(ratio);
            let (block, _) = S::as_mut_simd_f64s(block);
            let lanes = ratio.len();
            groups!(
                lanes,
                i,
                {
                    powers::<S, 4>(simd, ratio, block, i);
                    powers::<S, 4>(simd, ratio, block, i + 4)
                },
                powers::<S, 4>(simd, ratio, block, i),
                powers::<S, 2>(simd, ratio, block, i),
                powers::<S, 1>(simd, ratio, block, i)
            );
        }
    }
}

/// v_j = exp(l_j − max l), what the columns of the table of powers are multiplied by, with
///
/// ```text
/// (g_j − (x_i − y_j)²)/ε = l_j + (j − (m−1)/2) log r_i + a constant of the row,   l_j = (g_j − y_j² + 2 c y_j)/ε;
/// ```
///
/// max l − min l is returned.
pub struct Factors<'a> {
    pub g: &'a [f64],
    pub y: &'a [f64],
    /// c, and 1/ε.
    pub centre: f64,
    pub over: f64,
    pub v: &'a mut [f64],
}

impl WithSimd for Factors<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let Factors { g, y, centre, over, v } = self;
        let twice = 2.0 * centre;
        for ((v, g), y) in v.iter_mut().zip(g).zip(y) {
            *v = (g - y * y + twice * y) * over;
        }
        let (mut low, mut high) = ([f64::MAX; PAD], [f64::MIN; PAD]);
        let (chunks, rest) = v.as_chunks::<PAD>();
        let mut bound = |l: usize, v: f64| {
            low[l] = if v < low[l] { v } else { low[l] };
            high[l] = if v > high[l] { v } else { high[l] };
        };
        for v in chunks {
            (0..PAD).for_each(|l| bound(l, v[l]));
        }
        rest.iter().enumerate().for_each(|(l, v)| bound(l, *v));
        let low = low.iter().fold(f64::MAX, |m: f64, v| m.min(*v));
        let high = high.iter().fold(f64::MIN, |m: f64, v| m.max(*v));
        Exp { values: v, less: high }.with_simd(simd);
        high - low
    }
}

#[inline(always)]
fn powers<S: Simd, const G: usize>(simd: S, ratio: &[S::f64s], block: &mut [S::f64s], i: usize) {
    let (first, rest) = block.split_at_mut(ratio.len());
    let (mut p, mut r) = ([simd.splat_f64s(0.0); G], [simd.splat_f64s(0.0); G]);
    for k in 0..G {
        (p[k], r[k]) = (first[i + k], ratio[i + k]);
    }
    for column in rest.chunks_exact_mut(ratio.len()) {
        let out = &mut column[i..i + G];
        for k in 0..G {
            p[k] = simd.mul_f64s(p[k], r[k]);
            out[k] = p[k];
        }
    }
}

/// Table of exp((g_j − (x_i − y_j)²)/ε − max_j): the form that cannot overflow, renewed whenever g changes.
pub struct Direct<'a> {
    pub x: &'a [f64],
    pub y: &'a [f64],
    pub g: &'a [f64],
    pub epsilon: f64,
    pub table: &'a mut [f64],
}

impl WithSimd for Direct<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let m = self.y.len();
        let over = 1.0 / self.epsilon;
        let mut top = [0.0; BLOCK];
        for (x, block) in self.x.chunks(BLOCK).zip(self.table.chunks_mut(BLOCK * m)) {
            let nb = x.len();
            let top = &mut top[..nb];
            top.fill(f64::NEG_INFINITY);
            for ((column, y), g) in block.chunks_exact_mut(nb).zip(self.y).zip(self.g) {
                for ((l, x), t) in column.iter_mut().zip(x).zip(top.iter_mut()) {
                    *l = (g - (x - y) * (x - y)) * over;
                    *t = if *l > *t { *l } else { *t };
                }
            }
            for column in block.chunks_exact_mut(nb) {
                for (l, t) in column.as_chunks_mut::<PAD>().0.iter_mut().zip(top.as_chunks::<PAD>().0) {
                    let mut below = *l;
                    below.iter_mut().zip(t).for_each(|(l, t)| *l -= t);
                    *l = exp::<S, PAD>(below);
                }
            }
        }
    }
}
