//! What Newton needs of the plan: its column sums and the edges of its Laplacian.

use pulp::{Simd, WithSimd};

use super::{BLOCK, PAD, combine, padded};

/// 1/row sums and s = Wᵀ a, with W_ij = v_j p_ij / row sum.
pub struct Marginals<'a> {
    pub table: &'a [f64],
    pub v: &'a [f64],
    /// Weights, zero on the padding.
    pub a: &'a [f64],
    pub inverse: &'a mut [f64],
    pub s: &'a mut [f64],
    /// At least m vectors.
    pub scratch: &'a mut [f64],
}

impl WithSimd for Marginals<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Marginals { table, v, a, inverse, s, scratch } = self;
        let m = v.len();
        let (sums, _) = S::as_mut_simd_f64s(scratch);
        let sums = &mut sums[..m];
        sums.fill(simd.splat_f64s(0.0));
        for ((block, a), inverse) in
            table.chunks(BLOCK * m).zip(a.chunks(BLOCK)).zip(inverse.chunks_mut(BLOCK))
        {
            let (block, _) = S::as_simd_f64s(block);
            let (a, _) = S::as_simd_f64s(a);
            let (inverse, _) = S::as_mut_simd_f64s(inverse);
            groups!(
                a.len(),
                i,
                marginals::<S, 8>(simd, block, v, a, inverse, sums, i),
                marginals::<S, 4>(simd, block, v, a, inverse, sums, i),
                marginals::<S, 2>(simd, block, v, a, inverse, sums, i),
                marginals::<S, 1>(simd, block, v, a, inverse, sums, i)
            );
        }
        for ((s, sum), v) in s.iter_mut().zip(sums).zip(v) {
            *s = v * simd.reduce_sum_f64s(*sum);
        }
    }
}

#[inline(always)]
fn marginals<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    v: &[f64],
    a: &[S::f64s],
    inverse: &mut [S::f64s],
    sums: &mut [S::f64s],
    i: usize,
) {
    let one = simd.splat_f64s(1.0);
    let mut c = combine::<S, G>(simd, block, a.len(), v, i);
    for ((c, out), a) in c.iter_mut().zip(&mut inverse[i..i + G]).zip(&a[i..i + G]) {
        *out = simd.div_f64s(one, *c);
        *c = simd.mul_f64s(*out, *a);
    }
    gather::<S, G>(simd, block, a.len(), &c, sums, i);
}

/// Σ_i c_i p_ij of G vectors of samples from the i-th on, added to the sums of the columns.
#[inline(always)]
fn gather<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    lanes: usize,
    c: &[S::f64s; G],
    sums: &mut [S::f64s],
    i: usize,
) {
    for (column, sum) in block.chunks_exact(lanes).zip(sums) {
        let mut total = *sum;
        for (p, c) in column[i..i + G].iter().zip(c) {
            total = simd.mul_add_e_f64s(*p, *c, total);
        }
        *sum = total;
    }
}

/// max_j |s_j − b_j| / b_j, infinite if one of them is not a number.
pub struct Excess<'a> {
    pub s: &'a [f64],
    pub b: &'a [f64],
}

impl WithSimd for Excess<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut most = [0.0f64; PAD];
        let excess = |s: f64, b: f64, most: &mut f64| {
            let e = (s - b).abs() / b;
            let e = if e < f64::INFINITY { e } else { f64::INFINITY };
            *most = if e > *most { e } else { *most };
        };
        let ((s, s_rest), (b, b_rest)) = (self.s.as_chunks::<PAD>(), self.b.as_chunks::<PAD>());
        for (s, b) in s.iter().zip(b) {
            for l in 0..PAD {
                excess(s[l], b[l], &mut most[l]);
            }
        }
        for ((s, b), most) in s_rest.iter().zip(b_rest).zip(&mut most) {
            excess(*s, *b, most);
        }
        most.iter().fold(0.0, |m: f64, e| m.max(*e))
    }
}

/// Wᵀ diag(a) W z: what the samples carry from target to target.
pub struct Carry<'a> {
    pub table: &'a [f64],
    pub v: &'a [f64],
    /// Weights, zero on the padding.
    pub a: &'a [f64],
    pub inverse: &'a [f64],
    /// v_j z_j.
    pub vz: &'a [f64],
    pub out: &'a mut [f64],
    /// At least m vectors.
    pub scratch: &'a mut [f64],
}

impl WithSimd for Carry<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Carry { table, v, a, inverse, vz, out, scratch } = self;
        let m = v.len();
        let (sums, _) = S::as_mut_simd_f64s(scratch);
        let sums = &mut sums[..m];
        sums.fill(simd.splat_f64s(0.0));
        for ((block, a), inverse) in table.chunks(BLOCK * m).zip(a.chunks(BLOCK)).zip(inverse.chunks(BLOCK)) {
            let (block, _) = S::as_simd_f64s(block);
            let (a, _) = S::as_simd_f64s(a);
            let (inverse, _) = S::as_simd_f64s(inverse);
            groups!(
                a.len(),
                i,
                carry::<S, 8>(simd, block, vz, a, inverse, sums, i),
                carry::<S, 4>(simd, block, vz, a, inverse, sums, i),
                carry::<S, 2>(simd, block, vz, a, inverse, sums, i),
                carry::<S, 1>(simd, block, vz, a, inverse, sums, i)
            );
        }
        for ((out, sum), v) in out.iter_mut().zip(sums).zip(v) {
            *out = v * simd.reduce_sum_f64s(*sum);
        }
    }
}

#[inline(always)]
fn carry<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    vz: &[f64],
    a: &[S::f64s],
    inverse: &[S::f64s],
    sums: &mut [S::f64s],
    i: usize,
) {
    // a_i Σ_k W_ik z_k / row sum
    let mut c = combine::<S, G>(simd, block, a.len(), vz, i);
    for ((c, r), a) in c.iter_mut().zip(&inverse[i..i + G]).zip(&a[i..i + G]) {
        *c = simd.mul_f64s(*c, simd.mul_f64s(*a, simd.mul_f64s(*r, *r)));
    }
    gather::<S, G>(simd, block, a.len(), &c, sums, i);
}

/// Σ_i a_i W_ij W_ik for all j ≠ k, the weights of the edges of the Laplacian, from any table.
pub struct Edges<'a> {
    pub table: &'a [f64],
    pub v: &'a [f64],
    /// √a, zero on the padding.
    pub root: &'a [f64],
    pub inverse: &'a [f64],
    /// m' × m' with m' = [`padded`]`(m)`, symmetric; the diagonal is of no meaning.
    pub edges: &'a mut [f64],
    /// (m' + 1) × [`BLOCK`].
    pub scratch: &'a mut [f64],
    /// Room for [`sums`]`(m)`.
    pub sums: &'a mut [f64],
}

/// Room for the partial sums of [`Edges`].
pub fn sums(m: usize) -> usize {
    let pairs = m.div_ceil(2);
    let tiles: usize = (0..pairs).map(|p| (2 * p).div_ceil(4)).sum();
    (8 * tiles + pairs.div_ceil(2).next_multiple_of(4)) * PAD
}

impl WithSimd for Edges<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Edges { table, v, root, inverse, edges, scratch, sums } = self;
        let m = v.len();
        let wide = padded(m);
        let zero = simd.splat_f64s(0.0);
        let room = sums.len() / PAD;
        let (sums, _) = S::as_mut_simd_f64s(sums);
        // Fewer lanes need fewer of the doubles.
        sums[..room].fill(zero);
        for ((block, root), inverse) in
            table.chunks(BLOCK * m).zip(root.chunks(BLOCK)).zip(inverse.chunks(BLOCK))
        {
            let nb = root.len();
            let (root, _) = S::as_simd_f64s(root);
            let (inverse, _) = S::as_simd_f64s(inverse);
            let lanes = root.len();
            // √a_i W_ij / v_j, columns close to each other so that they and the table fit into the nearest cache.
            let (scale, columns) = scratch.split_at_mut(BLOCK);
            let (scale, _) = S::as_mut_simd_f64s(scale);
            for ((scale, r), a) in scale.iter_mut().zip(inverse).zip(root) {
                *scale = simd.mul_f64s(*r, *a);
            }
            for (w, column) in columns.chunks_exact_mut(nb).zip(block.chunks_exact(nb)) {
                let (column, _) = S::as_simd_f64s(column);
                let (w, _) = S::as_mut_simd_f64s(w);
                for ((w, p), c) in w.iter_mut().zip(column).zip(&scale[..lanes]) {
                    *w = simd.mul_f64s(*c, *p);
                }
            }
            columns[m * nb..wide * nb].fill(0.0);
            let column = |j: usize| &S::as_simd_f64s(&columns[j * nb..][..nb]).0[..lanes];
            let mut at = 0;
            // Two columns by four, all of them left of the pair or inside it.
            for j in (2..m).step_by(2) {
                let (a0, a1) = (column(j), column(j + 1));
                for k in (0..j).step_by(4) {
                    let (b0, b1, b2, b3) = (column(k), column(k + 1), column(k + 2), column(k + 3));
                    let tile = &mut sums[at..at + 8];
                    at += 8;
                    let [mut c0, mut c1, mut c2, mut c3] = [tile[0], tile[1], tile[2], tile[3]];
                    let [mut d0, mut d1, mut d2, mut d3] = [tile[4], tile[5], tile[6], tile[7]];
                    for i in 0..lanes {
                        let (x, y) = (a0[i], a1[i]);
                        c0 = simd.mul_add_e_f64s(x, b0[i], c0);
                        d0 = simd.mul_add_e_f64s(y, b0[i], d0);
                        c1 = simd.mul_add_e_f64s(x, b1[i], c1);
                        d1 = simd.mul_add_e_f64s(y, b1[i], d1);
                        c2 = simd.mul_add_e_f64s(x, b2[i], c2);
                        d2 = simd.mul_add_e_f64s(y, b2[i], d2);
                        c3 = simd.mul_add_e_f64s(x, b3[i], c3);
                        d3 = simd.mul_add_e_f64s(y, b3[i], d3);
                    }
                    tile.copy_from_slice(&[c0, c1, c2, c3, d0, d1, d2, d3]);
                }
            }
            // The tiles of a pair (j, j + 1) with j a multiple of four end before j: its own edge is left.
            for j in (0..m).step_by(16) {
                let pair = |k: usize| {
                    let j = (j + 4 * k).min(wide - 4);
                    (column(j), column(j + 1))
                };
                let [p0, p1, p2, p3] = [pair(0), pair(1), pair(2), pair(3)];
                let four = &mut sums[at..at + 4];
                at += 4;
                let [mut c0, mut c1, mut c2, mut c3] = [four[0], four[1], four[2], four[3]];
                for i in 0..lanes {
                    c0 = simd.mul_add_e_f64s(p0.0[i], p0.1[i], c0);
                    c1 = simd.mul_add_e_f64s(p1.0[i], p1.1[i], c1);
                    c2 = simd.mul_add_e_f64s(p2.0[i], p2.1[i], c2);
                    c3 = simd.mul_add_e_f64s(p3.0[i], p3.1[i], c3);
                }
                four.copy_from_slice(&[c0, c1, c2, c3]);
            }
        }
        let mut at = 0;
        let mut put = |j: usize, k: usize, sum: S::f64s| {
            if j < m && k < j {
                let edge = simd.reduce_sum_f64s(sum) * (v[j] * v[k]);
                (edges[j * wide + k], edges[k * wide + j]) = (edge, edge);
            }
        };
        for j in (2..m).step_by(2) {
            for k in (0..j).step_by(4) {
                for (c, &sum) in sums[at..at + 8].iter().enumerate() {
                    put(j + c / 4, k + c % 4, sum);
                }
                at += 8;
            }
        }
        for j in (0..m).step_by(16) {
            for (c, &sum) in sums[at..at + 4].iter().enumerate() {
                put(j + 4 * c + 1, j + 4 * c, sum);
            }
            at += 4;
        }
    }
}
