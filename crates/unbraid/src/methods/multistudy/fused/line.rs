//! Rows with one active column. The first layer has no bias, so its output is homogeneous of degree one in t = w_jk z_ik,
//!
//! ```text
//! V₂ h₁ = |t| u_k,   u_k = V₂ relu(±V₁_k) with the sign of t,      o_j(t) = Σ_h v_jh relu(|t| u_kh + b₂_h),
//! do/d|t| = Σ_{h on} v_jh u_kh,    G_h = Σ_{i: h on} g_i,  F_h = Σ_{i: h on} g_i |t_i|,
//! dv_h = u_h F_h + b_h G_h,   db_h = v_h G_h,   du_h = v_h F_h,
//! ```
//!
//! with u once for each column and pass. That is H₂ instead of H₁H₂ multiplications for each sample. The samples of a tile are put in
//! order once for each column, those with z ≥ 0 before the others, so that a register of samples has one u. o_j is piecewise
//! linear in |t|, and a walk along its breaks takes fewer operations still; but each waits for the one before, and registers full
//! of samples are several times faster at the sizes in use.
//!
//! The derivative of a weight that is 0 is Σ_i z_il g_i r_l, where r = Σ_{h on} v_jh Q_h and Q = V₂ diag(on) V₁ (H₂ × K; which units of the
//! first layer are on depends on the side alone). r is the same between two breaks |t| = −b₂_h/u_kh, and changes by one row of
//! Q at each: the sums Σ g_i z_i between breaks are formed first, so that a sample costs K multiplications.

use ndarray::{Array2, s};
use pulp::Simd;

use super::row;
use crate::linalg::{Accum, gemm_alone};
use crate::nn::Real;
use crate::nn::lanes::{axpy, dot};
use crate::nn::panels::{Buffer, lanes};

/// The two sides of 0.
const SIDES: [usize; 2] = [0, 1];

/// Registers of samples, or hidden units, that are worked on at once.
const ABREAST: usize = 3;

/// A column alone, the same for every feature; index 0 is t > 0, index 1 is t < 0.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// u, up to whole panels.
    up: [Vec<T>; 2],
    /// Where the derivatives of other weights are asked for.
    others: Option<[Others<T>; 2]>,
}

/// What the derivatives of other weights take, on one side.
#[derive(Debug)]
struct Others<T> {
    /// Where hidden units switch: |t|, the unit, and whether it comes on; ascending.
    breaks: Vec<(T, usize, bool)>,
    /// Q, up to whole panels.
    q: Vec<T>,
}

/// The samples of a tile by the sign of z in one column: those with z ≥ 0, then the others, each up to whole registers.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// The samples of both sides.
    samples: [Vec<usize>; 2],
    /// |z| of both sides; 0 where there is no sample.
    size: [Vec<T>; 2],
}

/// Derivative in u of both sides.
pub(super) type Turn<T> = [Vec<T>; 2];

/// What the way forward leaves to the way back, side by side.
#[derive(Debug, Default)]
pub(super) struct Memory<T> {
    /// |t|.
    t: Buffer<T>,
    /// Slope of o in |t| at each sample; 0 where t is 0.
    slope: Buffer<T>,
    /// o; then g.
    o: Buffer<T>,
    /// g |t|.
    gt: Buffer<T>,
    /// v u; then G and F.
    hidden: Buffer<T>,
    /// Breaks below each sample, and Σ g z between breaks.
    below: Vec<usize>,
    between: Vec<T>,
}

/// What a call says of its feature.
#[derive(Clone, Copy)]
pub(super) struct Lone<'a, T> {
    /// The weight, which is not 0.
    pub w: T,
    /// v.
    pub v: &'a [T],
    /// b₂, up to whole panels.
    pub b2: &'a [T],
}

impl<T: Real> Line<T> {
    /// Of row `k` of V₁ᵀ and V₂ᵀ, whose rows end in zeros; with what other weights take where `width` is not 0.
    pub fn new(v1t: &Array2<T>, k: usize, v2t: &Array2<T>, b2: &[T], width: usize) -> Line<T> {
        let v1 = row(v1t, k);
        let mut up = SIDES.map(|_| vec![T::ZERO; v2t.ncols()]);
        for h in 0..v2t.nrows() {
            if v1[h] > T::ZERO {
                axpy(v1[h], row(v2t, h), &mut up[0]);
            } else {
                axpy(-v1[h], row(v2t, h), &mut up[1]);
            }
        }
        let others = (width > 0).then(|| {
            SIDES.map(|s| Others {
                breaks: breaks(&up[s], b2),
                q: others_of(if s == 0 { T::ONE } else { -T::ONE }, v1, v1t, v2t, width),
            })
        });
        Line { up, others }
    }

    /// No derivative yet.
    pub fn turn(&self) -> Turn<T> {
        SIDES.map(|s| vec![T::ZERO; self.up[s].len()])
    }

    /// The side of t = w z for the samples of side `s` of z.
    fn side(s: usize, w: T) -> usize {
        if w > T::ZERO { s } else { 1 - s }
    }

    /// Adds v · h₂ to `o`.
    #[inline(always)]
    pub fn forward<S: Simd>(
        &self,
        simd: S,
        order: &Order<T>,
        lone: Lone<'_, T>,
        memory: &mut Memory<T>,
        o: &mut [T],
    ) {
        let (w, width) = (if lone.w > T::ZERO { lone.w } else { -lone.w }, T::lanes::<S>());
        let sizes = order.size.each_ref().map(Vec::len);
        let all = sizes[0] + sizes[1];
        let (t, slope, out) = (memory.t.take(all), memory.slope.take(all), memory.o.zeros(all));
        let mut from = 0;
        for s in SIDES {
            let up = &self.up[Self::side(s, lone.w)];
            let vu = memory.hidden.take(lone.v.len());
            for ((to, v), u) in vu.iter_mut().zip(lone.v).zip(up) {
                *to = *v * *u;
            }
            let t = &mut t[from..from + sizes[s]];
            t.iter_mut().zip(&order.size[s]).for_each(|(t, z)| *t = w * *z);
            let of_hidden = [up.as_ptr(), lone.b2.as_ptr(), lone.v.as_ptr(), vu.as_ptr()];
            let (slope, out) = (&mut slope[from..from + sizes[s]], &mut out[from..from + sizes[s]]);
            let mut at = 0;
            while at < t.len() {
                let to = [out[at..].as_mut_ptr(), slope[at..].as_mut_ptr()];
                let n = lone.v.len();
                // SAFETY: so many registers of samples are left in t, o and slopes; u, b₂, v and v u have `n` values.
                unsafe {
                    match (t.len() - at) / width {
                        1 => ahead::<T, S, 1>(simd, t[at..].as_ptr(), of_hidden, n, to),
                        2 => ahead::<T, S, 2>(simd, t[at..].as_ptr(), of_hidden, n, to),
                        _ => ahead::<T, S, ABREAST>(simd, t[at..].as_ptr(), of_hidden, n, to),
                    }
                }
                at += ABREAST * width;
            }
            order.samples[s].iter().zip(&*out).for_each(|(&i, found)| o[i] += *found);
            from += sizes[s];
        }
    }

    /// The way back from `g`: adds to the derivatives in v, b₂, u and z, and returns that in w.
    #[inline(always)]
    pub fn backward<S: Simd>(
        &self,
        simd: S,
        order: &Order<T>,
        lone: Lone<'_, T>,
        memory: &mut Memory<T>,
        g: &[T],
        (dv, db2): (&mut [T], &mut [T]),
        turn: &mut Turn<T>,
        dz: &mut [T],
    ) -> T {
        let h2 = lone.v.len();
        let sizes = order.size.each_ref().map(Vec::len);
        let all = sizes[0] + sizes[1];
        let Memory { t, slope, o, gt, hidden, .. } = memory;
        let (t, slope, own, gt) = (t.take(all), slope.take(all), o.zeros(all), gt.take(all));
        let size = if lone.w > T::ZERO { lone.w } else { -lone.w };
        let (mut from, mut dw) = (0, T::ZERO);
        for s in SIDES {
            let range = from..from + sizes[s];
            let (t, own, gt) = (&t[range.clone()], &mut own[range.clone()], &mut gt[range.clone()]);
            order.samples[s].iter().zip(&mut *own).for_each(|(&i, to)| *to = g[i]);
            for i in 0..t.len() {
                gt[i] = own[i] * t[i];
            }
            let slope = &mut slope[range];
            slope.iter_mut().zip(&*own).for_each(|(to, g)| *to *= *g);
            dw += dot(slope, &order.size[s]);
            let back = if s == 0 { size } else { -size };
            order.samples[s].iter().zip(&*slope).for_each(|(&i, dt)| dz[i] += back * *dt);
            let side = Self::side(s, lone.w);
            let up = &self.up[side];
            let sums = hidden.take(2 * h2);
            let (on, with_t) = sums.split_at_mut(h2);
            let of_samples = [t.as_ptr(), own.as_ptr(), gt.as_ptr()];
            let mut h = 0;
            while h < h2 {
                let of_hidden = [up[h..].as_ptr(), lone.b2[h..].as_ptr()];
                let to = (&mut on[h..], &mut with_t[h..]);
                // SAFETY: whole registers of samples; so many hidden units are left.
                unsafe {
                    match h2 - h {
                        1 => behind::<T, S, 1>(simd, t.len(), of_samples, of_hidden, to),
                        2 => behind::<T, S, 2>(simd, t.len(), of_samples, of_hidden, to),
                        _ => behind::<T, S, ABREAST>(simd, t.len(), of_samples, of_hidden, to),
                    }
                }
                h += ABREAST;
            }
            let turn = &mut turn[side];
            for h in 0..h2 {
                let (v, g, gt) = (lone.v[h], on[h], with_t[h]);
                dv[h] += up[h] * gt + lone.b2[h] * g;
                db2[h] += v * g;
                turn[h] += v * gt;
            }
            from += sizes[s];
        }
        if lone.w > T::ZERO { dw } else { -dw }
    }

    /// Adds the derivatives of all weights to `dw`, after the way back; `zt` is zᵀ (samples × K, up to whole panels).
    #[inline(always)]
    pub fn others(
        &self,
        order: &Order<T>,
        lone: Lone<'_, T>,
        memory: &mut Memory<T>,
        zt: &Array2<T>,
        slopes: &mut [T],
        dw: &mut [T],
    ) {
        let width = slopes.len();
        let sizes = order.size.each_ref().map(Vec::len);
        let Memory { t, o, below, between, .. } = memory;
        let (t, g) = (t.taken(sizes[0] + sizes[1]), o.taken(sizes[0] + sizes[1]));
        let mut from = 0;
        let Some(of_sides) = &self.others else { return };
        for s in SIDES {
            let (t, g) = (&t[from..from + sizes[s]], &g[from..from + sizes[s]]);
            let Others { breaks, q } = &of_sides[Self::side(s, lone.w)];
            below.clear();
            below.resize(t.len(), 0);
            for (place, ..) in breaks {
                below.iter_mut().zip(t).for_each(|(below, t)| *below += usize::from(*place < *t));
            }
            between.clear();
            between.resize((breaks.len() + 1) * width, T::ZERO);
            for (at, &i) in order.samples[s].iter().enumerate() {
                // At 0 no unit of the first layer is on.
                if t[at] > T::ZERO {
                    axpy(g[at], row(zt, i), &mut between[below[at] * width..(below[at] + 1) * width]);
                }
            }
            slopes.fill(T::ZERO);
            for (h, v) in lone.v.iter().enumerate() {
                if lone.b2[h] > T::ZERO {
                    axpy(*v, &q[h * width..(h + 1) * width], slopes);
                }
            }
            for (at, sum) in between.chunks_exact(width).enumerate() {
                if at > 0 {
                    let (_, h, on) = breaks[at - 1];
                    let v = if on { lone.v[h] } else { -lone.v[h] };
                    axpy(v, &q[h * width..(h + 1) * width], slopes);
                }
                for ((to, sum), slope) in dw.iter_mut().zip(sum).zip(&*slopes) {
                    *to += *sum * *slope;
                }
            }
            from += sizes[s];
        }
    }

    /// From the derivative in u to those in V₁ᵀ (the column's row) and V₂ᵀ.
    pub fn fold(turn: &Turn<T>, v1: &[T], v2t: &Array2<T>, dv1: &mut [T], dv2t: &mut Array2<T>) {
        for h in 0..v2t.nrows() {
            if v1[h] > T::ZERO {
                axpy(v1[h], &turn[0], super::row_mut(dv2t, h));
                dv1[h] += dot(&turn[0], row(v2t, h));
            } else if v1[h] < T::ZERO {
                axpy(-v1[h], &turn[1], super::row_mut(dv2t, h));
                dv1[h] += -dot(&turn[1], row(v2t, h));
            }
        }
    }
}

/// o and its slope in |t| for R registers of samples.
#[inline(always)]
unsafe fn ahead<T: Real, S: Simd, const R: usize>(
    simd: S,
    t: *const T,
    [u, b, v, vu]: [*const T; 4],
    n: usize,
    [o, slope]: [*mut T; 2],
) {
    let (lanes, zero) = (T::lanes::<S>(), T::splat(simd, T::ZERO));
    let (mut at, mut sum, mut steep) = ([zero; R], [zero; R], [zero; R]);
    // SAFETY: the caller's.
    unsafe {
        for r in 0..R {
            at[r] = T::load::<S>(t.add(r * lanes));
        }
        for h in 0..n {
            let [u, b, v, vu] = [u, b, v, vu].map(|x| T::splat(simd, *x.add(h)));
            for r in 0..R {
                let before = T::times_plus(simd, at[r], u, b);
                sum[r] = T::times_plus(simd, v, T::relu(simd, before), sum[r]);
                steep[r] = T::plus(simd, steep[r], T::where_positive(simd, before, vu));
            }
        }
        for r in 0..R {
            T::store::<S>(o.add(r * lanes), sum[r]);
            T::store::<S>(slope.add(r * lanes), T::where_positive(simd, at[r], steep[r]));
        }
    }
}

/// Σ g and Σ g |t| over the `n` samples where they are on, for R hidden units.
#[inline(always)]
unsafe fn behind<T: Real, S: Simd, const R: usize>(
    simd: S,
    n: usize,
    [t, g, gt]: [*const T; 3],
    [u, b]: [*const T; 2],
    (on, with_t): (&mut [T], &mut [T]),
) {
    let zero = T::splat(simd, T::ZERO);
    let (mut up, mut bias, mut sum, mut sum_t) = ([zero; R], [zero; R], [zero; R], [zero; R]);
    // SAFETY: the caller's.
    unsafe {
        for r in 0..R {
            (up[r], bias[r]) = (T::splat(simd, *u.add(r)), T::splat(simd, *b.add(r)));
        }
        for at in (0..n).step_by(T::lanes::<S>()) {
            let [t, g, gt] = [t, g, gt].map(|x| T::load::<S>(x.add(at)));
            for r in 0..R {
                let before = T::times_plus(simd, t, up[r], bias[r]);
                sum[r] = T::plus(simd, sum[r], T::where_positive(simd, before, g));
                sum_t[r] = T::plus(simd, sum_t[r], T::where_positive(simd, before, gt));
            }
        }
    }
    for r in 0..R {
        (on[r], with_t[r]) = (T::sum(simd, sum[r]), T::sum(simd, sum_t[r]));
    }
}

/// Where hidden units switch, in order.
fn breaks<T: Real>(up: &[T], b2: &[T]) -> Vec<(T, usize, bool)> {
    let at = |(h, (&u, &b)): (usize, (&T, &T))| {
        let place = -b / u;
        let switches = u != T::ZERO && (place > T::ZERO || (b == T::ZERO && u > T::ZERO));
        switches.then_some((place.larger(T::ZERO), h, u > T::ZERO))
    };
    let mut breaks: Vec<_> = up.iter().zip(b2).enumerate().filter_map(at).collect();
    breaks.sort_by(|a, b| a.0.wide().total_cmp(&b.0.wide()).then(a.1.cmp(&b.1)));
    breaks
}

/// V₂ diag(on) V₁ where the units with a positive `sign` V₁_k are on.
fn others_of<T: Real>(sign: T, v1: &[T], v1t: &Array2<T>, v2t: &Array2<T>, width: usize) -> Vec<T> {
    let ((h1, h2), columns) = (v2t.dim(), v1t.nrows());
    let mut on = Array2::from_elem((h1, columns), T::ZERO);
    for k in 0..columns {
        for h in 0..h1 {
            on[[h, k]] = if sign * v1[h] > T::ZERO { v1t[[k, h]] } else { T::ZERO };
        }
    }
    let mut out = Array2::from_elem((h2, width), T::ZERO);
    gemm_alone(out.slice_mut(s![.., ..columns]), Accum::Replace, v2t.t(), on.view());
    out.into_raw_vec_and_offset().0
}

impl<T: Real> Order<T> {
    /// Of a row of z.
    pub fn new(z: &[T]) -> Order<T> {
        let (above, below): (Vec<usize>, Vec<usize>) = (0..z.len()).partition(|&i| z[i] >= T::ZERO);
        let samples = [above, below];
        let size = samples.each_ref().map(|own| {
            let mut size: Vec<T> = own.iter().map(|&i| if z[i] < T::ZERO { -z[i] } else { z[i] }).collect();
            size.resize(own.len().next_multiple_of(lanes::<T>()), T::ZERO);
            size
        });
        Order { samples, size }
    }
}
