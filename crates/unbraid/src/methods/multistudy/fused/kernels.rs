//! The products of [`super::chain`], two panels of a result at a time ([`crate::nn::panels`]), each with what follows it while its
//! sums are in registers: rectifiers, the last row v, the masks of the way back.

use pulp::Simd;

use super::{Frame, row, row_mut};
use crate::nn::Real;
use crate::nn::panels::{Left, ROWS, rows_by, sums_by};

/// Pointers of consecutive panels, which are `size` values apart.
#[inline(always)]
pub(super) fn panels<T, const Q: usize>(at: *const T, size: usize) -> [*const T; Q] {
    let mut out = [at; Q];
    for q in 1..Q {
        out[q] = at.wrapping_add(q * size);
    }
    out
}

/// h₁ of Q panels.
#[inline(always)]
pub(super) unsafe fn first<T: Real, S: Simd, const Q: usize>(
    simd: S,
    np: usize,
    (z, ld, s): (*const T, usize, usize),
    a: *const T,
    h1: *mut T,
) {
    let lanes = T::lanes::<S>();
    for i in (0..np).step_by(ROWS) {
        // SAFETY: z has `s` rows of at least `np`, a and h₁ Q panels of `s` and of `np` rows.
        unsafe {
            let left = Left { at: z.add(i), row: 1, outer: (s, ld), inner: (1, 0) };
            let sums = rows_by::<T, S, ROWS, Q>(simd, left, panels(a, s * lanes));
            for r in 0..ROWS {
                for q in 0..Q {
                    T::store::<S>(h1.add((q * np + i + r) * lanes), T::relu(simd, sums[r][q]));
                }
            }
        }
    }
}

/// h₂ of Q panels, and their share of v · h₂ in lanes.
#[inline(always)]
pub(super) unsafe fn second<T: Real, S: Simd, const Q: usize>(
    simd: S,
    np: usize,
    (h1, width): (*const T, usize),
    (ahead, b2, v): (*const T, *const T, *const T),
    h2: *mut T,
    o: *mut T,
) {
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::ZERO);
    let (mut bias, mut last) = ([zero; Q], [zero; Q]);
    for q in 0..Q {
        // SAFETY: b₂ and v have Q panels.
        unsafe { (bias[q], last[q]) = (T::load::<S>(b2.add(q * lanes)), T::load::<S>(v.add(q * lanes))) };
    }
    for i in (0..np).step_by(ROWS) {
        // SAFETY: h₁ has `width`/lanes panels of `np` rows, V₂ᵀ Q panels of `width` rows, h₂ Q panels of `np` rows, o `np`.
        unsafe {
            let left = Left {
                at: h1.add(i * lanes),
                row: lanes,
                outer: (width / lanes, np * lanes),
                inner: (lanes, 1),
            };
            let sums = rows_by::<T, S, ROWS, Q>(simd, left, panels(ahead, width * lanes));
            for r in 0..ROWS {
                let to = o.add((i + r) * lanes);
                let mut sum = T::load::<S>(to);
                for q in 0..Q {
                    let h = T::plus(simd, sums[r][q], bias[q]);
                    let h = T::relu(simd, h);
                    T::store::<S>(h2.add((q * np + i + r) * lanes), h);
                    sum = T::times_plus(simd, last[q], h, sum);
                }
                T::store::<S>(to, sum);
            }
        }
    }
}

/// dh₂ in place of h₂, and the gradients of v and b₂.
#[inline(always)]
pub(super) unsafe fn turn<T: Real, S: Simd>(
    simd: S,
    np: usize,
    (v, g): (*const T, *const T),
    h2: *mut T,
    (dv, db): (*mut T, *mut T),
) {
    let lanes = T::lanes::<S>();
    // SAFETY: h₂ is a panel of `np` rows, g has `np` values, the others a panel's lanes.
    unsafe {
        let last = T::load::<S>(v);
        let (mut of_v, mut of_b) = (T::load::<S>(dv), T::load::<S>(db));
        for i in 0..np {
            let (at, g) = (h2.add(i * lanes), T::splat(simd, *g.add(i)));
            let h = T::load::<S>(at);
            of_v = T::times_plus(simd, h, g, of_v);
            let d = T::where_positive(simd, h, T::times(simd, last, g));
            of_b = T::plus(simd, of_b, d);
            T::store::<S>(at, d);
        }
        T::store::<S>(dv, of_v);
        T::store::<S>(db, of_b);
    }
}

/// dh₁ of Q panels.
#[inline(always)]
pub(super) unsafe fn third<T: Real, S: Simd, const Q: usize>(
    simd: S,
    np: usize,
    (d2, width): (*const T, usize),
    back: *const T,
    h1: *const T,
    d1: *mut T,
) {
    let lanes = T::lanes::<S>();
    for i in (0..np).step_by(ROWS) {
        // SAFETY: dh₂ has `width`/lanes panels of `np` rows, V₂ Q panels of `width` rows, h₁ and dh₁ Q panels of `np` rows.
        unsafe {
            let left = Left {
                at: d2.add(i * lanes),
                row: lanes,
                outer: (width / lanes, np * lanes),
                inner: (lanes, 1),
            };
            let sums = rows_by::<T, S, ROWS, Q>(simd, left, panels(back, width * lanes));
            for r in 0..ROWS {
                for q in 0..Q {
                    let at = (q * np + i + r) * lanes;
                    T::store::<S>(d1.add(at), T::where_positive(simd, T::load::<S>(h1.add(at)), sums[r][q]));
                }
            }
        }
    }
}

/// dA of R columns and Q panels of hidden units: to dw, and times w to dV₁.
#[inline(always)]
pub(super) unsafe fn outer<T: Real, S: Simd, const R: usize, const Q: usize>(
    simd: S,
    np: usize,
    (z, ld): (*const T, usize),
    d1: *const T,
    (rows, panel): (&[usize], usize),
    frame: &Frame<'_, T>,
    (w, dw, dv1): (&[T], &mut [T], &mut ndarray::Array2<T>),
) {
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::ZERO);
    let mut sums = [[zero; Q]; R];
    // SAFETY: z has R rows of `np`, dh₁ Q panels of `np` rows; rows of V₁ᵀ have whole panels.
    unsafe {
        sums_by::<T, S, R, Q>(simd, np, z, (ld, 1), panels(d1, np * lanes), &mut sums);
        for r in 0..R {
            let k = rows[r];
            let v1 = row(&frame.v1t, k)[panel * lanes..].as_ptr();
            let mut dot = zero;
            for q in 0..Q {
                dot = T::times_plus(simd, sums[r][q], T::load::<S>(v1.add(q * lanes)), dot);
            }
            dw[k] += T::sum(simd, dot);
            if w[k] != T::ZERO {
                let (w, to) = (T::splat(simd, w[k]), row_mut(dv1, k)[panel * lanes..].as_mut_ptr());
                for q in 0..Q {
                    let to = to.add(q * lanes);
                    T::store::<S>(to, T::times_plus(simd, w, sums[r][q], T::load::<S>(to)));
                }
            }
        }
    }
}

/// [`outer`] for any number of columns.
#[inline(always)]
pub(super) unsafe fn all_outer<T: Real, S: Simd, const Q: usize>(
    simd: S,
    np: usize,
    (z, ld): (*const T, usize),
    d1: *const T,
    (rows, panel): (&[usize], usize),
    frame: &Frame<'_, T>,
    (w, dw, dv1): (&[T], &mut [T], &mut ndarray::Array2<T>),
) {
    let mut k = 0;
    while k < rows.len() {
        // SAFETY: as in `outer`, for all rows.
        unsafe {
            let (left, some, to) = ((z.add(k * ld), ld), (&rows[k..], panel), (w, &mut *dw, &mut *dv1));
            match rows.len() - k {
                1 => outer::<T, S, 1, Q>(simd, np, left, d1, some, frame, to),
                2 => outer::<T, S, 2, Q>(simd, np, left, d1, some, frame, to),
                3 => outer::<T, S, 3, Q>(simd, np, left, d1, some, frame, to),
                _ => outer::<T, S, 4, Q>(simd, np, left, d1, some, frame, to),
            }
        }
        k += 4;
    }
}

/// Adds dh₁ V₁ of `depth` panels of hidden units to Q panels of dz.
#[inline(always)]
pub(super) unsafe fn latents<T: Real, S: Simd, const Q: usize>(
    simd: S,
    np: usize,
    (d1, depth): (*const T, usize),
    (first, width): (*const T, usize),
    dz: *mut T,
) {
    let lanes = T::lanes::<S>();
    for i in (0..np).step_by(ROWS) {
        // SAFETY: dh₁ has `depth` panels of `np` rows, V₁ Q panels of `width` rows with enough from here on, dz Q panels.
        unsafe {
            let left =
                Left { at: d1.add(i * lanes), row: lanes, outer: (depth, np * lanes), inner: (lanes, 1) };
            let sums = rows_by::<T, S, ROWS, Q>(simd, left, panels(first, width * lanes));
            for r in 0..ROWS {
                for q in 0..Q {
                    let to = dz.add((q * np + i + r) * lanes);
                    T::store::<S>(to, T::plus(simd, sums[r][q], T::load::<S>(to)));
                }
            }
        }
    }
}

/// Adds dh₂ h₁ᵀ for R hidden units h₁ and Q panels of h₂.
#[inline(always)]
pub(super) unsafe fn weights<T: Real, S: Simd, const R: usize, const Q: usize>(
    simd: S,
    np: usize,
    h1: *const T,
    d2: *const T,
    (dv2, width): (*mut T, usize),
) {
    let lanes = T::lanes::<S>();
    let mut sums = [[T::splat(simd, T::ZERO); Q]; R];
    // SAFETY: h₁ is a panel from some unit on, dh₂ Q panels, dV₂ Q panels of `width` rows from that unit on.
    unsafe {
        for r in 0..R {
            for q in 0..Q {
                sums[r][q] = T::load::<S>(dv2.add((q * width + r) * lanes));
            }
        }
        sums_by::<T, S, R, Q>(simd, np, h1, (1, lanes), panels(d2, np * lanes), &mut sums);
        for r in 0..R {
            for q in 0..Q {
                T::store::<S>(dv2.add((q * width + r) * lanes), sums[r][q]);
            }
        }
    }
}

/// All of dV₂ for a panel of h₁.
#[inline(always)]
pub(super) unsafe fn all_weights<T: Real, S: Simd, const R: usize>(
    simd: S,
    np: usize,
    h1: *const T,
    (d2, count): (*const T, usize),
    (dv2, width): (*mut T, usize),
) {
    let lanes = T::lanes::<S>();
    for a in (0..lanes).step_by(R) {
        let mut q = 0;
        // SAFETY: as in `weights`; R divides the number of lanes.
        unsafe {
            while q + 2 <= count {
                let to = dv2.add((q * width + a) * lanes);
                weights::<T, S, R, 2>(simd, np, h1.add(a), d2.add(q * np * lanes), (to, width));
                q += 2;
            }
            if q < count {
                let to = dv2.add((q * width + a) * lanes);
                weights::<T, S, R, 1>(simd, np, h1.add(a), d2.add(q * np * lanes), (to, width));
            }
        }
    }
}
