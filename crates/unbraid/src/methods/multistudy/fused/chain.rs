//! The two hidden layers of one feature as products of matrices, for rows with any number of active columns.
//!
//! Everything that goes from one product to the next lies in panels ([`crate::nn::panels`]) of hidden units, sample by sample, and stays in
//! the caches of one core. V₂ is packed once for each pass, in both directions; rectifiers, the last row v and the masks of
//! the way back are applied while sums are still in registers. dh₁ exists for two panels at a time.

use pulp::Simd;

use super::kernels::{all_outer, all_weights, first, latents, second, third, turn};
use super::{Frame, Sums, row, row_mut};
use crate::nn::Real;
use crate::nn::panels::{Buffer, ROWS, lanes, pack};

/// Samples of one go: h₁ and h₂ of so many fit into a core's cache.
pub(super) const BLOCK: usize = 32 * ROWS;

/// The second layer, packed.
#[derive(Debug)]
pub(super) struct Second<T> {
    /// H₁ and H₂, up to whole panels.
    pub width: [usize; 2],
    /// V₂ᵀ in panels of H₂.
    ahead: Buffer<T>,
    /// V₂ in panels of H₁.
    back: Buffer<T>,
    /// b₂ with zeros.
    b2: Buffer<T>,
}

impl<T: Real> Second<T> {
    /// Packs V₂ (H₂ × H₁) and b₂.
    pub fn new(v2: &ndarray::Array2<T>, b2: &ndarray::Array2<T>) -> Second<T> {
        let lanes = lanes::<T>();
        let (h2, h1) = v2.dim();
        let width = [h1, h2].map(|h| h.next_multiple_of(lanes));
        Second {
            width,
            ahead: pack(lanes, (width[0], h1), h2, |r, c| v2[[c, r]]),
            back: pack(lanes, (width[1], h2), h1, |r, c| v2[[r, c]]),
            b2: pack(lanes, (1, 1), h2, |_, c| b2[[0, c]]),
        }
    }

    /// b₂ up to whole panels.
    pub fn bias(&self) -> &[T] {
        self.b2.taken(self.width[1])
    }

    /// Adds panels of H₂, as [`backward`] sums them, to a gradient of V₂.
    pub fn unpack(&self, panels: &[T], into: &mut ndarray::Array2<T>) {
        let lanes = lanes::<T>();
        for ((h2, h1), to) in into.indexed_iter_mut() {
            *to += panels[((h2 / lanes) * self.width[0] + h1) * lanes + h2 % lanes];
        }
    }
}

/// V₁ of some columns in panels of columns, as the way back to z reads it.
pub(super) fn pack_first<T: Real>(width: usize, v1t: &ndarray::Array2<T>, columns: &[usize]) -> Buffer<T> {
    pack(lanes::<T>(), (width, width), columns.len(), |h, k| v1t[[columns[k], h]])
}

/// A_jᵀ, z, V₁ of the active columns, h₁, h₂, two panels of what comes back to h₁, and the rest.
#[derive(Debug, Default)]
pub(super) struct Memory<T> {
    a: Buffer<T>,
    z: Buffer<T>,
    first: Buffer<T>,
    h1: Buffer<T>,
    h2: Buffer<T>,
    d1: Buffer<T>,
    dz: Buffer<T>,
    /// v with zeros, and its gradient.
    v: Buffer<T>,
    dv: Buffer<T>,
    /// o in lanes; then g with zeros.
    o: Buffer<T>,
}

impl<T: Real> Memory<T> {
    /// h₂ in `width`/lanes panels of `np` rows, to be filled, and v up to whole panels.
    pub fn second(&mut self, width: usize, np: usize, v: &[T]) -> (&mut [T], &[T]) {
        let own = self.v.zeros(width);
        own[..v.len()].copy_from_slice(v);
        (self.h2.take(width * np), own)
    }

    /// The same h₂ and v as they are, and memory for the gradient of v.
    pub fn third(&mut self, width: usize, np: usize) -> (&mut [T], &[T], &mut [T]) {
        (self.h2.take(width * np), self.v.taken(width), self.dv.take(width))
    }
}

/// Some samples of a tile and the active columns of a feature.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, T> {
    /// Place of the tile.
    pub tile: usize,
    /// First sample, a multiple of [`BLOCK`], and how many.
    pub from: usize,
    pub n: usize,
    /// Positions of the active columns.
    pub active: &'a [usize],
    pub w: &'a [T],
    pub v: &'a [T],
}

/// Calls the kernel for two panels at a time, and for the last one alone where their number is odd.
macro_rules! by_two {
    ($count:expr, $panel:ident => $kernel:ident :: <$($generic:ty),*> ($($arg:expr),* $(,)?)) => {{
        let count = $count;
        let mut $panel = 0;
        while $panel + 2 <= count {
            $kernel::<$($generic,)* 2>($($arg),*);
            $panel += 2;
        }
        if $panel < count {
            $kernel::<$($generic,)* 1>($($arg),*);
        }
    }};
}

/// A_jᵀ, z of the active columns and h₁, in the memory.
#[inline(always)]
fn first_layer<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: &Block<'_, T>,
    memory: &mut Memory<T>,
) {
    let lanes = T::lanes::<S>();
    let (np, s, w1) = (block.n.next_multiple_of(ROWS), block.active.len(), frame.second.width[0]);
    let columns = &frame.tiles[block.tile].columns;
    let z = memory.z.take(s * np);
    let a = memory.a.take(s * w1);
    for (at, &p) in block.active.iter().enumerate() {
        z[at * np..(at + 1) * np].copy_from_slice(&row(&frame.z[block.tile], p)[block.from..block.from + np]);
        let (w, v1) = (block.w[columns[p]], row(&frame.v1t, columns[p]));
        for panel in 0..w1 / lanes {
            for l in 0..lanes {
                a[(panel * s + at) * lanes + l] = w * v1[panel * lanes + l];
            }
        }
    }
    let (z, a, h1) = (z.as_ptr(), a.as_ptr(), memory.h1.take(w1 * np).as_mut_ptr());
    // SAFETY: the memories were taken with the sizes that the kernel states.
    unsafe {
        by_two!(w1 / lanes, p => first::<T, S>(simd, np, (z, np, s), a.add(p * s * lanes), h1.add(p * np * lanes)));
    }
}

/// Adds v · h₂ to `o`, the outputs of the block's samples.
#[inline(always)]
pub(super) fn forward<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: Block<'_, T>,
    memory: &mut Memory<T>,
    o: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let (np, [w1, w2]) = (block.n.next_multiple_of(ROWS), frame.second.width);
    first_layer(simd, frame, &block, memory);
    let h1 = memory.h1.taken(w1 * np).as_ptr();
    let wide = memory.o.zeros(np * lanes).as_mut_ptr();
    let (h2, v) = memory.second(w2, np, block.v);
    let (h2, v) = (h2.as_mut_ptr(), v.as_ptr());
    let (ahead, b2) = (frame.second.ahead.taken(w1 * w2).as_ptr(), frame.second.bias().as_ptr());
    // SAFETY: as above.
    unsafe {
        by_two!(w2 / lanes, q => second::<T, S>(
            simd,
            np,
            (h1, w1),
            (ahead.add(q * w1 * lanes), b2.add(q * lanes), v.add(q * lanes)),
            h2.add(q * np * lanes),
            wide,
        ));
        for (i, o) in o.iter_mut().enumerate() {
            *o += T::sum(simd, T::load::<S>(wide.add(i * lanes)));
        }
    }
}

/// dh₂ in place of h₂ in all panels, as the last forward call left it; adds to the gradients of v and b₂. Returns dh₂.
#[inline(always)]
pub(super) fn turn_all<'m, T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: Block<'_, T>,
    memory: &'m mut Memory<T>,
    g: &[T],
    sums: &mut Sums<T>,
    dv: &mut [T],
) -> &'m [T] {
    let lanes = T::lanes::<S>();
    let (np, w2) = (block.n.next_multiple_of(ROWS), frame.second.width[1]);
    let wide = memory.o.zeros(np);
    wide[..block.n].copy_from_slice(g);
    let (g, v) = (wide.as_ptr(), memory.v.taken(w2).as_ptr());
    let h2 = memory.h2.take(w2 * np);
    let own = memory.dv.zeros(w2);
    for q in 0..w2 / lanes {
        // SAFETY: panels of the sizes that the forward call took; the sums of b₂ have whole panels.
        unsafe {
            turn::<T, S>(
                simd,
                np,
                (v.add(q * lanes), g),
                h2[q * np * lanes..].as_mut_ptr(),
                (own[q * lanes..].as_mut_ptr(), sums.b2[q * lanes..].as_mut_ptr()),
            );
        }
    }
    dv.iter_mut().zip(own).for_each(|(to, d)| *to += *d);
    h2
}

/// The way back through Q panels of h₁.
#[inline(always)]
unsafe fn panel_back<T: Real, S: Simd, const Q: usize>(
    simd: S,
    frame: &Frame<'_, T>,
    block: &Block<'_, T>,
    panel: usize,
    [z, first, h1, d2]: [*const T; 4],
    ld: usize,
    rows: &[usize],
    d1: *mut T,
    dz: *mut T,
    dw: &mut [T],
    (dv1, dv2): (&mut ndarray::Array2<T>, *mut T),
) {
    let lanes = T::lanes::<S>();
    let (np, [w1, w2]) = (block.n.next_multiple_of(ROWS), frame.second.width);
    // SAFETY: the pointers are those of the memories taken in `backward`.
    unsafe {
        let back = frame.second.back.taken(w1 * w2).as_ptr();
        let h1 = h1.add(panel * np * lanes);
        third::<T, S, Q>(simd, np, (d2, w2), back.add(panel * w2 * lanes), h1, d1);
        all_outer::<T, S, Q>(simd, np, (z, ld), d1, (rows, panel), frame, (block.w, &mut *dw, &mut *dv1));
        by_two!(block.active.len().div_ceil(lanes), k => latents::<T, S>(
            simd,
            np,
            (d1, Q),
            (first.add((k * w1 + panel * lanes) * lanes), w1),
            dz.add(k * np * lanes),
        ));
        for q in 0..Q {
            let (h1, dv2) = (h1.add(q * np * lanes), (dv2.add((panel + q) * lanes * lanes), w1));
            match lanes {
                1 => all_weights::<T, S, 1>(simd, np, h1, (d2, w2 / lanes), dv2),
                2 => all_weights::<T, S, 2>(simd, np, h1, (d2, w2 / lanes), dv2),
                _ => all_weights::<T, S, 4>(simd, np, h1, (d2, w2 / lanes), dv2),
            }
        }
    }
}

/// The way back from `g`; h₁ and h₂ are those of the last forward call.
#[inline(always)]
pub(super) fn backward<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: Block<'_, T>,
    memory: &mut Memory<T>,
    g: &[T],
    sums: &mut Sums<T>,
    dw: &mut [T],
    dv: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let (np, s, [w1, w2]) = (block.n.next_multiple_of(ROWS), block.active.len(), frame.second.width);
    let columns = &frame.tiles[block.tile].columns;
    let h2 = turn_all(simd, frame, block, memory, g, sums, dv).as_ptr();
    let h1 = memory.h1.taken(w1 * np).as_ptr();
    // Where every column is active, and where weights that are 0 count too, z is read where it lies.
    let all = &frame.z[block.tile];
    let whole = s == columns.len();
    let (z, ld) = match frame.full || whole {
        true => (row(all, 0)[block.from..].as_ptr(), all.ncols()),
        false => (memory.z.taken(s * np).as_ptr(), np),
    };
    let list: Vec<usize> = match frame.full {
        true => columns.clone(),
        false => block.active.iter().map(|&p| columns[p]).collect(),
    };
    let depth = s.next_multiple_of(lanes);
    let first = match whole {
        true => frame.first[block.tile].taken(depth * w1).as_ptr(),
        false => {
            let to = memory.first.zeros(depth * w1);
            for (at, &p) in block.active.iter().enumerate() {
                for (h, v) in row(&frame.v1t, columns[p]).iter().enumerate() {
                    to[((at / lanes) * w1 + h) * lanes + at % lanes] = *v;
                }
            }
            to.as_ptr()
        }
    };
    let d1 = memory.d1.take(2 * np * lanes).as_mut_ptr();
    let dz = memory.dz.zeros(depth * np);
    let Sums { v1t, v2, dz: into, .. } = sums;
    let (pointers, dv2) = ([z, first, h1, h2], v2.take(w1 * w2).as_mut_ptr());
    let to = dz.as_mut_ptr();
    // SAFETY: the memories have the sizes that the kernels state.
    unsafe {
        by_two!(w1 / lanes, p => panel_back::<T, S>(
            simd, frame, &block, p, pointers, ld, &list, d1, to, dw, (&mut *v1t, dv2),
        ));
    }
    for (at, &p) in block.active.iter().enumerate() {
        let w = block.w[columns[p]];
        let to = &mut row_mut(&mut into[block.tile], p)[block.from..block.from + block.n];
        let from = dz[(at / lanes) * np * lanes..].chunks_exact(lanes);
        to.iter_mut().zip(from).for_each(|(to, d)| *to += w * d[at % lanes]);
    }
}

/// The gradients of the weights that are 0, from dh₂ as [`turn_all`] left it.
#[inline(always)]
pub(super) fn zeros<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: Block<'_, T>,
    memory: &mut Memory<T>,
    sums: &mut Sums<T>,
    dw: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let (np, [w1, w2]) = (block.n.next_multiple_of(ROWS), frame.second.width);
    let columns = &frame.tiles[block.tile].columns;
    first_layer(simd, frame, &block, memory);
    let (h1, d2) = (memory.h1.taken(w1 * np).as_ptr(), memory.h2.taken(w2 * np).as_ptr());
    let d1 = memory.d1.take(2 * np * lanes).as_mut_ptr();
    let all = &frame.z[block.tile];
    let (z, ld) = (row(all, 0)[block.from..].as_ptr(), all.ncols());
    // What the active columns have is kept.
    let mut own = [T::ZERO; 2];
    own.iter_mut().zip(block.active).for_each(|(own, &p)| *own = dw[columns[p]]);
    // SAFETY: as in `backward`.
    unsafe {
        let back = frame.second.back.taken(w1 * w2).as_ptr();
        by_two!(w1 / lanes, p => zeros_back::<T, S>(
            simd,
            frame,
            (np, p, columns),
            (d2, back, h1, d1),
            (z, ld),
            (dw, &mut sums.v1t),
        ));
    }
    own.iter().zip(block.active).for_each(|(own, &p)| dw[columns[p]] = *own);
}

/// Q panels of dh₁ to the weights of all columns, and no further.
#[inline(always)]
unsafe fn zeros_back<T: Real, S: Simd, const Q: usize>(
    simd: S,
    frame: &Frame<'_, T>,
    (np, panel, columns): (usize, usize, &[usize]),
    (d2, back, h1, d1): (*const T, *const T, *const T, *mut T),
    (z, ld): (*const T, usize),
    (dw, dv1): (&mut [T], &mut ndarray::Array2<T>),
) {
    let (lanes, w2) = (T::lanes::<S>(), frame.second.width[1]);
    // SAFETY: the pointers are those of the memories taken in `zeros`.
    unsafe {
        let h1 = h1.add(panel * np * lanes);
        third::<T, S, Q>(simd, np, (d2, w2), back.add(panel * w2 * lanes), h1, d1);
        all_outer::<T, S, Q>(simd, np, (z, ld), d1, (columns, panel), frame, (&frame.none, dw, dv1));
    }
}
