//! The Laplacian diag(s) − Wᵀ diag(a) W: a graph on the targets with edge weights e_jk = Σ_i a_i W_ij W_ik.
//!
//! Elimination of a node replaces its edges by edges between its neighbours,
//!
//! ```text
//! e_kl += e_jk e_jl / Σ_i e_ji,
//! ```
//!
//! sums of positive numbers alone, diagonal included: every entry of the factor has a small relative error, however
//! far the weights are apart (grassmann1985). Nodes go from the lightest to the heaviest, and the last one is pinned at 0.

use pulp::{Arch, Simd, WithSimd};

use super::kernel::{PAD, padded};

/// A factorised Laplacian; reused.
#[derive(Clone, Debug, Default)]
pub struct Laplacian {
    /// Node at each place of the elimination.
    order: Vec<usize>,
    /// m' × m', row p holds the edges from place p to later places, as they were when p was eliminated, over their
    /// sum; and the same transposed.
    edges: Vec<f64>,
    turned: Vec<f64>,
    /// 1 / sum of the edges left, 0 if there is none.
    over: Vec<f64>,
    /// Right-hand side in elimination order, and the size below which it is rounding.
    right: Vec<f64>,
    size: Vec<f64>,
    /// For the inverse.
    room: Vec<f64>,
}

/// Weights further apart than this are eliminated in the order of their size.
const APART: f64 = 1e-3;
/// A sum of terms of size 1 is known to about this.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

impl Laplacian {
    /// Room for the edges between m targets: a symmetric m' × m' table, m' = `padded(m)`, whose diagonal is left out.
    pub fn edges(&mut self, m: usize) -> &mut [f64] {
        let wide = padded(m);
        if self.order.len() != m {
            for table in [&mut self.edges, &mut self.turned] {
                table.clear();
                table.resize(wide * wide, 0.0);
            }
            self.order.resize(m, 0);
        }
        &mut self.edges
    }

    /// Factorises, with the edges that [`Laplacian::edges`] was given and their sums s.
    pub fn factorise(&mut self, arch: Arch, s: &[f64]) {
        let m = s.len();
        let wide = padded(m);
        self.order.clear();
        self.order.extend(0..m);
        let (mut light, mut heavy) = (0, 0);
        for (j, v) in s.iter().enumerate() {
            light = if *v < s[light] { j } else { light };
            heavy = if *v > s[heavy] { j } else { heavy };
        }
        let Laplacian { order, edges, room, .. } = self;
        if s[light] < APART * s[heavy] {
            order.sort_unstable_by(|&j, &k| s[j].total_cmp(&s[k]));
            room.clear();
            room.extend_from_slice(edges);
            for (to, &j) in edges.chunks_exact_mut(wide).zip(&*order) {
                let from = &room[j * wide..(j + 1) * wide];
                to.iter_mut().zip(&*order).for_each(|(to, &k)| *to = from[k]);
            }
        } else if heavy != m - 1 {
            order.swap(heavy, m - 1);
            let (above, last) = edges.split_at_mut((m - 1) * wide);
            above[heavy * wide..(heavy + 1) * wide].swap_with_slice(&mut last[..wide]);
            edges.chunks_exact_mut(wide).take(m).for_each(|row| row.swap(heavy, m - 1));
        }
        self.over.clear();
        self.over.resize(m, 0.0);
        let Laplacian { edges, turned, over, .. } = self;
        arch.dispatch(Eliminate { edges, turned, over });
    }

    /// Solves in place for a right-hand side that sums to 0, up to a constant: the heaviest component is 0.
    ///
    /// `size` bounds the terms that each component of `r` was summed from. What a group of targets receives in
    /// all, if below the rounding of those terms, counts as 0: it would be divided by the edges that join the
    /// group to the others, which may be nothing but rounding too.
    pub fn solve(&mut self, arch: Arch, r: &mut [f64], size: &[f64]) {
        let Laplacian { order, edges, turned, over, right, size: sizes, .. } = self;
        let wide = padded(order.len());
        for (to, from) in [(&mut *right, &*r), (&mut *sizes, size)] {
            to.clear();
            to.extend(order.iter().map(|&j| from[j]));
            to.resize(wide, 0.0);
        }
        arch.dispatch(Substitute { edges, turned, over, right, size: sizes });
        for (&j, z) in order.iter().zip(&*right) {
            r[j] = *z;
        }
    }

    /// The inverse of L with the heaviest component pinned at 0, m' × m', m' = `padded(m)`.
    pub fn inverse(&mut self, arch: Arch, h: &mut [f64]) {
        let Laplacian { order, edges, over, room, .. } = self;
        let wide = padded(order.len());
        room.resize(2 * wide * wide, 0.0);
        let (x, by_place) = room.split_at_mut(wide * wide);
        arch.dispatch(Invert { edges, over, order, x, by_place, h });
    }
}

struct Invert<'a> {
    edges: &'a [f64],
    over: &'a [f64],
    order: &'a [usize],
    x: &'a mut [f64],
    by_place: &'a mut [f64],
    h: &'a mut [f64],
}

impl WithSimd for Invert<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Invert { edges, over, order, x, by_place, h } = self;
        let m = over.len();
        let wide = padded(m);
        x.fill(0.0);
        by_place.fill(0.0);
        h.fill(0.0);
        // X, whose row l says what place l receives of every right-hand side: X_l = 1_l + Σ_{p<l} e_pl X_p.
        for p in 0..m - 1 {
            let (row, later) = x[p * wide..].split_at_mut(wide);
            row[p] = 1.0;
            let (row, _) = S::as_simd_f64s(row);
            let row = &row[..(p + 1).div_ceil(S::F64_LANES)];
            for (target, edge) in later.chunks_exact_mut(wide).zip(&edges[p * wide + p + 1..p * wide + m - 1])
            {
                let edge = simd.splat_f64s(*edge);
                let (target, _) = S::as_mut_simd_f64s(target);
                for (t, r) in target.iter_mut().zip(row) {
                    *t = simd.mul_add_e_f64s(edge, *r, *t);
                }
            }
        }
        // Xᵗ diag(over) X
        for l in 0..m - 1 {
            let x = &x[l * wide..(l + 1) * wide];
            let (row, _) = S::as_simd_f64s(x);
            let row = &row[..(l + 1).div_ceil(S::F64_LANES)];
            for (target, x) in by_place.chunks_exact_mut(wide).zip(&x[..=l]) {
                let c = simd.splat_f64s(over[l] * x);
                let (target, _) = S::as_mut_simd_f64s(target);
                for (t, r) in target.iter_mut().zip(row) {
                    *t = simd.mul_add_e_f64s(c, *r, *t);
                }
            }
        }
        for (row, &j) in by_place.chunks_exact(wide).zip(order) {
            for (&value, &k) in row.iter().zip(order) {
                h[j * wide + k] = value;
            }
        }
    }
}

struct Eliminate<'a> {
    edges: &'a mut [f64],
    turned: &'a mut [f64],
    over: &'a mut [f64],
}

impl WithSimd for Eliminate<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Loops over the vectors of a row are unrolled where their number is known.
        match self.edges.len().isqrt() / S::F64_LANES {
            1 => self.run(simd, 1),
            2 => self.run(simd, 2),
            4 => self.run(simd, 4),
            lanes => self.run(simd, lanes),
        }
    }
}

/// Zeros, then ones: the part from place r on of a vector of ones begins at PAD − r.
const STEP: [f64; 2 * PAD] = {
    let mut step = [0.0; 2 * PAD];
    let mut i = PAD;
    while i < 2 * PAD {
        step[i] = 1.0;
        i += 1;
    }
    step
};

impl Eliminate<'_> {
    /// With rows of `lanes` vectors.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, lanes: usize) {
        let Eliminate { edges, turned, over } = self;
        let m = over.len();
        let wide = lanes * S::F64_LANES;
        let mut rest = &mut edges[..];
        for p in 0..m - 1 {
            let (row, below) = rest.split_at_mut(wide);
            rest = below;
            // Updates by whole vectors also wrote to the places up to p.
            let (first, part) = ((p + 1) / S::F64_LANES, (p + 1) % S::F64_LANES);
            let (vectors, _) = S::as_mut_simd_f64s(row);
            let vectors = &mut vectors[..lanes];
            vectors[..first].fill(simd.splat_f64s(0.0));
            if let Some(v) = vectors.get_mut(first) {
                let (step, _) = S::as_simd_f64s(&STEP[PAD - part..][..S::F64_LANES]);
                *v = simd.mul_f64s(*v, step[0]);
            }
            let mut sum = simd.splat_f64s(0.0);
            for v in &*vectors {
                sum = simd.add_f64s(sum, *v);
            }
            let sum = simd.reduce_sum_f64s(sum);
            over[p] = if sum >= f64::MIN_POSITIVE { 1.0 / sum } else { 0.0 };
            let share = simd.splat_f64s(over[p]);
            for v in &mut *vectors {
                *v = simd.mul_f64s(*v, share);
            }
            let turned = &mut turned[p..];
            for (k, target) in (p + 1..m - 1).zip(rest.chunks_exact_mut(wide)) {
                turned[k * wide] = row[k];
                // e_kl += e_kp (e_pl / sum)
                let edge = simd.splat_f64s(row[k] * sum);
                let (target, _) = S::as_mut_simd_f64s(target);
                let (row, _) = S::as_simd_f64s(row);
                for (t, v) in target[..lanes].iter_mut().zip(&row[..lanes]) {
                    *t = simd.mul_add_e_f64s(edge, *v, *t);
                }
            }
        }
    }
}

struct Substitute<'a> {
    edges: &'a [f64],
    turned: &'a [f64],
    over: &'a [f64],
    right: &'a mut [f64],
    size: &'a mut [f64],
}

impl WithSimd for Substitute<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.right.len() / S::F64_LANES {
            1 => self.run(simd, 1),
            2 => self.run(simd, 2),
            4 => self.run(simd, 4),
            lanes => self.run(simd, lanes),
        }
    }
}

impl Substitute<'_> {
    /// With rows of `lanes` vectors.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, lanes: usize) {
        let Substitute { edges, turned, over, right, size } = self;
        let m = over.len();
        let wide = lanes * S::F64_LANES;
        let (right, size) = (&mut right[..wide], &mut size[..wide]);
        for (p, row) in edges.chunks_exact(wide).take(m - 1).enumerate() {
            // A place is written by whole vectors alone, as they are read, but in the rare case.
            if right[p].abs() <= ROUNDING * size[p] {
                right[p] = 0.0;
            }
            let (r, z) = (simd.splat_f64s(right[p]), simd.splat_f64s(size[p]));
            // Edges up to place p are 0, so that whole vectors may be added.
            let (row, _) = S::as_simd_f64s(row);
            let (to, _) = S::as_mut_simd_f64s(right);
            let (bound, _) = S::as_mut_simd_f64s(size);
            for ((to, bound), e) in to.iter_mut().zip(bound).zip(&row[..lanes]) {
                *to = simd.mul_add_e_f64s(r, *e, *to);
                *bound = simd.mul_add_e_f64s(z, *e, *bound);
            }
        }
        for (r, over) in right.iter_mut().zip(over) {
            *r *= over;
        }
        right[m - 1..].fill(0.0);
        for (k, column) in turned.chunks_exact(wide).enumerate().take(m - 1).skip(1).rev() {
            let z = simd.splat_f64s(right[k]);
            let (column, _) = S::as_simd_f64s(column);
            let (to, _) = S::as_mut_simd_f64s(right);
            // Only places before k are edges of the column: the others are 0.
            for (to, e) in to.iter_mut().zip(&column[..lanes]) {
                *to = simd.mul_add_e_f64s(z, *e, *to);
            }
        }
    }
}
