//! The edges of the Laplacian from a table of powers.
//!
//! With p_ij = r_i^(j − c) the weight of the edge between two targets depends on the sum of their places alone,
//!
//! ```text
//! e_jk = Σ_i a_i W_ij W_ik = v_j v_k h_{j+k},   h_s = Σ_i a_i r_i^(s − 2c) / (row sum of i)²,
//! ```
//!
//! a Hankel matrix between two diagonal ones: 2 m − 3 sums over the samples in place of m (m − 1)/2. The two powers of a term are
//! those in the middle, of places next to each other or the same, which is as far from overflow as any pair with that sum.

use pulp::{Simd, WithSimd};

use super::{BLOCK, padded};

/// Σ_i a_i W_ij W_ik for all j ≠ k, from a table of [`Powers`](super::Powers).
pub struct Hankel<'a> {
    pub table: &'a [f64],
    pub v: &'a [f64],
    /// √a, zero on the padding.
    pub root: &'a [f64],
    pub inverse: &'a [f64],
    /// m' × m' with m' = [`padded`]`(m)`, symmetric; the diagonal is of no meaning.
    pub edges: &'a mut [f64],
    /// At least 2 m vectors, and 2 m numbers more.
    pub scratch: &'a mut [f64],
}

impl WithSimd for Hankel<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Hankel { table, v, root, inverse, edges, scratch } = self;
        let m = v.len();
        let wide = padded(m);
        let (h, sums) = scratch.split_at_mut(2 * wide);
        let (sums, _) = S::as_mut_simd_f64s(sums);
        let sums = &mut sums[..2 * m];
        sums.fill(simd.splat_f64s(0.0));
        for ((block, root), inverse) in
            table.chunks(BLOCK * m).zip(root.chunks(BLOCK)).zip(inverse.chunks(BLOCK))
        {
            let (block, _) = S::as_simd_f64s(block);
            let (root, _) = S::as_simd_f64s(root);
            let (inverse, _) = S::as_simd_f64s(inverse);
            groups!(
                root.len(),
                i,
                {
                    products::<S, 4>(simd, block, root, inverse, sums, i);
                    products::<S, 4>(simd, block, root, inverse, sums, i + 4)
                },
                products::<S, 4>(simd, block, root, inverse, sums, i),
                products::<S, 2>(simd, block, root, inverse, sums, i),
                products::<S, 1>(simd, block, root, inverse, sums, i)
            );
        }
        // Places 0 and 2 m − 2 are on the diagonal alone.
        h.fill(0.0);
        for (h, sum) in h.iter_mut().zip(&*sums) {
            *h = simd.reduce_sum_f64s(*sum);
        }
        for (j, (row, share)) in edges.chunks_exact_mut(wide).zip(v).enumerate() {
            for ((e, v), h) in row.iter_mut().zip(v).zip(&h[j..]) {
                *e = share * v * h;
            }
        }
    }
}

/// Σ_i w_ij w_ij and Σ_i w_ij w_i,j+1, w_ij = √a_i p_ij / row sum, of G vectors of samples from the i-th on, added to places 2 j
/// and 2 j + 1.
#[inline(always)]
fn products<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    root: &[S::f64s],
    inverse: &[S::f64s],
    sums: &mut [S::f64s],
    i: usize,
) {
    let mut scale = [simd.splat_f64s(0.0); G];
    let mut before = scale;
    for (scale, (r, a)) in scale.iter_mut().zip(inverse[i..i + G].iter().zip(&root[i..i + G])) {
        *scale = simd.mul_f64s(*r, *a);
    }
    // Places 2 j − 1 and 2 j are summed when column j comes.
    let mut columns = block.chunks_exact(root.len());
    if let Some(first) = columns.next() {
        for ((w, p), c) in before.iter_mut().zip(&first[i..i + G]).zip(&scale) {
            *w = simd.mul_f64s(*c, *p);
        }
    }
    for (column, sums) in columns.zip(sums[1..].chunks_exact_mut(2)) {
        let (mut mixed, mut square) = (sums[0], sums[1]);
        for ((w, p), c) in before.iter_mut().zip(&column[i..i + G]).zip(&scale) {
            let next = simd.mul_f64s(*c, *p);
            mixed = simd.mul_add_e_f64s(*w, next, mixed);
            square = simd.mul_add_e_f64s(next, next, square);
            *w = next;
        }
        (sums[0], sums[1]) = (mixed, square);
    }
}
