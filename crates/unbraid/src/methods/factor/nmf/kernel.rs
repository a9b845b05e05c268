//! Loops over the entries of a line, written once and compiled for each vector width.
//!
//! The factor of the other side comes as rows of one long array, one row per factor, so that loops run along
//! the entries; rows are as long as a multiple of [`PAD`] and zero beyond the last entry.

use pulp::{Simd, WithSimd};

use crate::methods::factor::common::TINY;
use crate::methods::factor::divergence::{fused, ln};

/// Lines that go through coordinate descent side by side.
pub(super) const LANES: usize = 8;
/// Entries of a line that are worked on at once.
pub(super) const CHUNK: usize = 128;
/// Entries are padded to a multiple of this: the widest vector.
pub(super) const PAD: usize = 8;
/// A curvature below this is none.
const FLAT: f64 = 1e-290;
/// Coordinate descent ends with a pass that gains less than this share of what the first did.
const SHARE: f64 = 0.01;

/// Lowers ½ vᵀ G v − bᵀ v over v ≥ 0 for [`LANES`] lines, coordinate by coordinate, each to its minimum.
pub(super) struct Descend<'a> {
    /// G, k × k for all lines, or k × k × lanes.
    pub gram: &'a [f64],
    /// 1 / diagonal for steps upwards and downwards, k × 2 × lanes.
    pub inverse: &'a mut [f64],
    /// b − G v, k × lanes; kept up to date.
    pub rest: &'a mut [f64],
    /// k × lanes.
    pub v: &'a mut [f64],
    pub passes: usize,
}

impl WithSimd for Descend<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // The vectors of a batch as a constant: loops over them are unrolled.
        match LANES / S::F64_LANES {
            1 => descend::<S, 1>(simd, self),
            2 => descend::<S, 2>(simd, self),
            4 => descend::<S, 4>(simd, self),
            _ => descend::<S, LANES>(simd, self),
        }
    }
}

#[inline(always)]
fn descend<S: Simd, const N: usize>(simd: S, problem: Descend<'_>) {
    let Descend { gram, inverse, rest, v, passes } = problem;
    let k = v.len() / LANES;
    let own = gram.len() > k * k;
    // Without curvature the loss is linear: it falls to the bound, by a step as long as one likes, or not at all.
    let mut flat = false;
    for (a, inverse) in inverse.chunks_exact_mut(2 * LANES).enumerate() {
        let (up, down) = inverse.split_at_mut(LANES);
        for l in 0..LANES {
            let g = if own { gram[(a * k + a) * LANES + l] } else { gram[a * k + a] };
            (up[l], down[l]) = if g > FLAT { (1.0 / g, 1.0 / g) } else { (0.0, 1.0 / FLAT) };
            flat |= g <= FLAT || g.is_nan();
        }
    }
    let zero = simd.splat_f64s(0.0);
    let (inverse, _) = S::as_simd_f64s(inverse).0.as_chunks::<N>();
    let (rest, _) = S::as_mut_simd_f64s(rest).0.as_chunks_mut::<N>();
    let (v, _) = S::as_mut_simd_f64s(v).0.as_chunks_mut::<N>();
    let grams = if own { S::as_simd_f64s(gram).0.as_chunks::<N>().0 } else { &[] };
    let mut first = [0.0; LANES];
    for pass in 0..passes {
        let mut gains = [zero; N];
        for (a, v) in v.iter_mut().enumerate() {
            let (up, down, r) = (&inverse[2 * a], &inverse[2 * a + 1], rest[a]);
            let mut back = [zero; N];
            for l in 0..N {
                let new = if flat {
                    let rise = simd.mul_f64s(simd.max_f64s(r[l], zero), up[l]);
                    simd.add_f64s(v[l], simd.mul_add_e_f64s(simd.min_f64s(r[l], zero), down[l], rise))
                } else {
                    simd.mul_add_e_f64s(r[l], up[l], v[l])
                };
                let new = simd.max_f64s(new, zero);
                back[l] = simd.sub_f64s(v[l], new);
                v[l] = new;
                gains[l] = simd.sub_f64s(gains[l], simd.mul_f64s(back[l], r[l]));
            }
            if own {
                for (r, g) in rest.iter_mut().zip(&grams[a * k..(a + 1) * k]) {
                    for l in 0..N {
                        r[l] = simd.mul_add_e_f64s(g[l], back[l], r[l]);
                    }
                }
            } else {
                for (r, &g) in rest.iter_mut().zip(&gram[a * k..(a + 1) * k]) {
                    let g = simd.splat_f64s(g);
                    for l in 0..N {
                        r[l] = simd.mul_add_e_f64s(g, back[l], r[l]);
                    }
                }
            }
        }
        let mut gained = [0.0; LANES];
        S::as_mut_simd_f64s(&mut gained).0.copy_from_slice(&gains);
        if pass == 0 {
            first = gained;
        } else if (0..LANES).all(|l| gained[l] <= SHARE * first[l]) {
            break;
        }
    }
}

/// b − G v in place of b, for [`LANES`] lines.
pub(super) struct Less<'a> {
    /// As for [`Descend`].
    pub gram: &'a [f64],
    pub v: &'a [f64],
    pub rest: &'a mut [f64],
}

impl WithSimd for Less<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match LANES / S::F64_LANES {
            1 => less::<S, 1>(simd, self),
            2 => less::<S, 2>(simd, self),
            4 => less::<S, 4>(simd, self),
            _ => less::<S, LANES>(simd, self),
        }
    }
}

#[inline(always)]
fn less<S: Simd, const N: usize>(simd: S, of: Less<'_>) {
    let (v, _) = S::as_simd_f64s(of.v).0.as_chunks::<N>();
    let (rest, _) = S::as_mut_simd_f64s(of.rest).0.as_chunks_mut::<N>();
    let k = v.len();
    let own = of.gram.len() > k * k;
    let grams = if own { S::as_simd_f64s(of.gram).0.as_chunks::<N>().0 } else { &[] };
    for (a, rest) in rest.iter_mut().enumerate() {
        let mut sum = *rest;
        if own {
            for (v, g) in v.iter().zip(&grams[a * k..(a + 1) * k]) {
                for l in 0..N {
                    sum[l] = simd.sub_f64s(sum[l], simd.mul_f64s(g[l], v[l]));
                }
            }
        } else {
            for (v, g) in v.iter().zip(&of.gram[a * k..(a + 1) * k]) {
                let g = simd.splat_f64s(-g);
                for l in 0..N {
                    sum[l] = simd.mul_add_e_f64s(g, v[l], sum[l]);
                }
            }
        }
        *rest = sum;
    }
}

/// z = Σ_a v_a f_a over a chunk.
pub(super) struct Fitted<'a> {
    pub rows: &'a [f64],
    pub stride: usize,
    pub v: &'a [f64],
    pub z: &'a mut [f64],
}

impl WithSimd for Fitted<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (z, _) = S::as_mut_simd_f64s(self.z);
        z.fill(simd.splat_f64s(0.0));
        for (row, &v) in self.rows.chunks(self.stride).zip(self.v).filter(|(_, v)| **v != 0.0) {
            let (v, (row, _)) = (simd.splat_f64s(v), S::as_simd_f64s(row));
            for (z, f) in z.iter_mut().zip(row) {
                *z = simd.mul_add_e_f64s(v, *f, *z);
            }
        }
    }
}

/// w = x / z and q = x / z².
pub(super) struct Ratios<'a> {
    pub x: &'a [f64],
    pub z: &'a [f64],
    pub w: &'a mut [f64],
    pub q: &'a mut [f64],
}

impl WithSimd for Ratios<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((x, z), (w, q)) in self.x.iter().zip(self.z).zip(self.w.iter_mut().zip(self.q.iter_mut())) {
            let over = 1.0 / (z + TINY);
            *w = x * over;
            *q = *w * over;
        }
    }
}

/// Adds s_a += Σ f_a w and the lower triangle of Σ f_a f_b q, over a chunk of rows padded to a multiple of four.
pub(super) struct Moments<'a> {
    pub rows: &'a [f64],
    pub stride: usize,
    pub w: &'a [f64],
    pub q: &'a [f64],
    pub s: &'a mut [f64],
    /// k' × k' where the second moments are wanted.
    pub second: Option<&'a mut [f64]>,
}

impl WithSimd for Moments<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Moments { rows, stride, w, q, s, second } = self;
        let wide = s.len();
        let (nb, (w, _), (q, _)) = (w.len(), S::as_simd_f64s(w), S::as_simd_f64s(q));
        let lanes = w.len();
        let q = &q[..lanes];
        let row = |a: usize| &S::as_simd_f64s(&rows[a * stride..][..nb]).0[..lanes];
        let zero = simd.splat_f64s(0.0);
        for a in (0..wide).step_by(4) {
            let (f0, f1, f2, f3) = (row(a), row(a + 1), row(a + 2), row(a + 3));
            let (mut s0, mut s1, mut s2, mut s3) = (zero, zero, zero, zero);
            for i in 0..lanes {
                s0 = simd.mul_add_e_f64s(f0[i], w[i], s0);
                s1 = simd.mul_add_e_f64s(f1[i], w[i], s1);
                s2 = simd.mul_add_e_f64s(f2[i], w[i], s2);
                s3 = simd.mul_add_e_f64s(f3[i], w[i], s3);
            }
            for (to, sum) in s[a..a + 4].iter_mut().zip([s0, s1, s2, s3]) {
                *to += simd.reduce_sum_f64s(sum);
            }
        }
        let Some(second) = second else { return };
        for b in (0..wide).step_by(2) {
            let (g0, g1) = (row(b), row(b + 1));
            for a in (b / 4 * 4..wide).step_by(4) {
                let (f0, f1, f2, f3) = (row(a), row(a + 1), row(a + 2), row(a + 3));
                let (mut c0, mut c1, mut c2, mut c3) = (zero, zero, zero, zero);
                let (mut d0, mut d1, mut d2, mut d3) = (zero, zero, zero, zero);
                for i in 0..lanes {
                    let (x, y) = (simd.mul_f64s(g0[i], q[i]), simd.mul_f64s(g1[i], q[i]));
                    c0 = simd.mul_add_e_f64s(f0[i], x, c0);
                    d0 = simd.mul_add_e_f64s(f0[i], y, d0);
                    c1 = simd.mul_add_e_f64s(f1[i], x, c1);
                    d1 = simd.mul_add_e_f64s(f1[i], y, d1);
                    c2 = simd.mul_add_e_f64s(f2[i], x, c2);
                    d2 = simd.mul_add_e_f64s(f2[i], y, d2);
                    c3 = simd.mul_add_e_f64s(f3[i], x, c3);
                    d3 = simd.mul_add_e_f64s(f3[i], y, d3);
                }
                for (at, (c, d)) in [(c0, d0), (c1, d1), (c2, d2), (c3, d3)].into_iter().enumerate() {
                    let to = &mut second[(a + at) * wide + b..][..2];
                    to[0] += simd.reduce_sum_f64s(c);
                    to[1] += simd.reduce_sum_f64s(d);
                }
            }
        }
    }
}

/// Σ x y / (z + t y): minus the slope of Σ −x log(z + t y) in t.
pub(super) struct Pull<'a> {
    pub x: &'a [f64],
    pub z: &'a [f64],
    pub y: &'a [f64],
    pub t: f64,
}

impl WithSimd for Pull<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let ((x, _), (z, _), (y, _)) =
            (S::as_simd_f64s(self.x), S::as_simd_f64s(self.z), S::as_simd_f64s(self.y));
        let (t, tiny) = (simd.splat_f64s(self.t), simd.splat_f64s(TINY));
        let mut sum = simd.splat_f64s(0.0);
        for ((x, z), y) in x.iter().zip(z).zip(y) {
            let there = simd.max_f64s(simd.mul_add_e_f64s(t, *y, *z), simd.splat_f64s(0.0));
            let there = simd.add_f64s(there, tiny);
            sum = simd.add_f64s(sum, simd.div_f64s(simd.mul_f64s(*x, *y), there));
        }
        simd.reduce_sum_f64s(sum)
    }
}

/// Σ x log(x / (z + t y)) − x; zeros of x add nothing. Leaves the terms in z.
pub(super) struct Divergence<'a> {
    pub x: &'a [f64],
    pub z: &'a mut [f64],
    pub y: &'a [f64],
    pub t: f64,
}

impl WithSimd for Divergence<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let t = self.t;
        for ((x, z), y) in self.x.iter().zip(self.z.iter_mut()).zip(self.y) {
            let there = fused::<S>(t, *y, *z);
            let there = if there > 0.0 { there } else { 0.0 };
            let ratio = (x + TINY) / (there + TINY);
            *z = x * ln::<S>(ratio) - x;
        }
        let mut sum = simd.splat_f64s(0.0);
        for z in S::as_simd_f64s(self.z).0 {
            sum = simd.add_f64s(sum, *z);
        }
        simd.reduce_sum_f64s(sum)
    }
}

/// (F v)_i at some rows i of F (rows × width, a multiple of [`PAD`]).
pub(super) struct Dots<'a> {
    pub f: &'a [f64],
    pub at: &'a [u32],
    pub v: &'a [f64],
    pub out: &'a mut [f64],
}

impl WithSimd for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.v.len();
        let (v, _) = S::as_simd_f64s(self.v);
        for (out, &i) in self.out.iter_mut().zip(self.at) {
            let (row, _) = S::as_simd_f64s(&self.f[i as usize * width..][..width]);
            let mut sum = simd.splat_f64s(0.0);
            for (f, v) in row.iter().zip(v) {
                sum = simd.mul_add_e_f64s(*f, *v, sum);
            }
            *out = simd.reduce_sum_f64s(sum);
        }
    }
}

/// Σ x_i F_i over some rows i of F.
pub(super) struct Gathered<'a> {
    pub f: &'a [f64],
    pub at: &'a [u32],
    pub x: &'a [f64],
    pub out: &'a mut [f64],
}

impl WithSimd for Gathered<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.out.len();
        let (out, _) = S::as_mut_simd_f64s(self.out);
        let mut done = 0;
        // As many sums as stay in registers.
        while done < out.len() {
            let n = (out.len() - done).min(6);
            let from = done * S::F64_LANES;
            let to = &mut out[done..done + n];
            match n {
                1 => gathered::<S, 1>(simd, self.f, width, from, self.at, self.x, to),
                2 => gathered::<S, 2>(simd, self.f, width, from, self.at, self.x, to),
                3 => gathered::<S, 3>(simd, self.f, width, from, self.at, self.x, to),
                4 => gathered::<S, 4>(simd, self.f, width, from, self.at, self.x, to),
                5 => gathered::<S, 5>(simd, self.f, width, from, self.at, self.x, to),
                _ => gathered::<S, 6>(simd, self.f, width, from, self.at, self.x, to),
            }
            done += n;
        }
    }
}

#[inline(always)]
fn gathered<S: Simd, const N: usize>(
    simd: S,
    f: &[f64],
    width: usize,
    from: usize,
    at: &[u32],
    x: &[f64],
    out: &mut [S::f64s],
) {
    let mut sums = [simd.splat_f64s(0.0); N];
    for (&i, &x) in at.iter().zip(x) {
        let (row, _) = S::as_simd_f64s(&f[i as usize * width + from..][..N * S::F64_LANES]);
        let x = simd.splat_f64s(x);
        for (sum, f) in sums.iter_mut().zip(row) {
            *sum = simd.mul_add_e_f64s(x, *f, *sum);
        }
    }
    out.copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::factor::divergence::dispatch;

    #[test]
    fn a_divergence_of_one_value_is_its_formula() {
        let mut x = 1e-40;
        while x < 1e40 {
            let (mut z, y) = ([1.0; PAD], [0.0; PAD]);
            let found = dispatch(Divergence { x: &[x; PAD], z: &mut z, y: &y, t: 0.0 });
            let right = PAD as f64 * (x * x.ln() - x);
            assert!((found - right).abs() <= 1e-15 * PAD as f64 * x * (1.0 + x.ln().abs()) + 1e-17, "{x}");
            x *= 1.37;
        }
    }
}
