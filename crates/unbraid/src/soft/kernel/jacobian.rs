//! Transport of the quantile values and its transposed Jacobian.

use pulp::{Simd, WithSimd};

use super::{BLOCK, combine};

/// T_i = Σ_j c_j p_ij / row sum, c_j = v_j q_j.
pub struct Transport<'a> {
    pub table: &'a [f64],
    pub c: &'a [f64],
    pub inverse: &'a [f64],
    pub t: &'a mut [f64],
}

impl WithSimd for Transport<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let m = self.c.len();
        let c = self.c;
        for ((block, inverse), t) in
            self.table.chunks(BLOCK * m).zip(self.inverse.chunks(BLOCK)).zip(self.t.chunks_mut(BLOCK))
        {
            let (block, _) = S::as_simd_f64s(block);
            let (inverse, _) = S::as_simd_f64s(inverse);
            let (t, _) = S::as_mut_simd_f64s(t);
            groups!(
                inverse.len(),
                i,
                transport::<S, 8>(simd, block, c, inverse, t, i),
                transport::<S, 4>(simd, block, c, inverse, t, i),
                transport::<S, 2>(simd, block, c, inverse, t, i),
                transport::<S, 1>(simd, block, c, inverse, t, i)
            );
        }
    }
}

#[inline(always)]
fn transport<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    c: &[f64],
    inverse: &[S::f64s],
    t: &mut [S::f64s],
    i: usize,
) {
    let sums = combine::<S, G>(simd, block, inverse.len(), c, i);
    for ((t, r), sum) in t[i..i + G].iter_mut().zip(&inverse[i..i + G]).zip(sums) {
        *t = simd.mul_f64s(sum, *r);
    }
}

/// s0_j = Σ_i c_i W_ij and s1_j = Σ_i c_i T_i W_ij, for a cotangent c of T.
pub struct Pull<'a> {
    pub table: &'a [f64],
    pub v: &'a [f64],
    pub inverse: &'a [f64],
    pub t: &'a [f64],
    pub cot: &'a [f64],
    pub s0: &'a mut [f64],
    pub s1: &'a mut [f64],
    /// At least 2 m vectors.
    pub scratch: &'a mut [f64],
}

impl WithSimd for Pull<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Pull { table, v, inverse, t, cot, s0, s1, scratch } = self;
        let m = v.len();
        let (sums, _) = S::as_mut_simd_f64s(scratch);
        let sums = &mut sums[..2 * m];
        sums.fill(simd.splat_f64s(0.0));
        for (at, block) in table.chunks(BLOCK * m).enumerate() {
            let range = at * BLOCK..at * BLOCK + block.len() / m;
            let (inverse, _) = S::as_simd_f64s(&inverse[range.clone()]);
            let (t, _) = S::as_simd_f64s(&t[range.clone()]);
            let (cot, _) = S::as_simd_f64s(&cot[range]);
            let (block, _) = S::as_simd_f64s(block);
            groups!(
                t.len(),
                i,
                {
                    pull::<S, 4>(simd, block, inverse, t, cot, sums, i);
                    pull::<S, 4>(simd, block, inverse, t, cot, sums, i + 4)
                },
                pull::<S, 4>(simd, block, inverse, t, cot, sums, i),
                pull::<S, 2>(simd, block, inverse, t, cot, sums, i),
                pull::<S, 1>(simd, block, inverse, t, cot, sums, i)
            );
        }
        for (j, v) in v.iter().enumerate() {
            s0[j] = v * simd.reduce_sum_f64s(sums[2 * j]);
            s1[j] = v * simd.reduce_sum_f64s(sums[2 * j + 1]);
        }
    }
}

#[inline(always)]
fn pull<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    inverse: &[S::f64s],
    t: &[S::f64s],
    cot: &[S::f64s],
    sums: &mut [S::f64s],
    i: usize,
) {
    let lanes = t.len();
    let mut c = [simd.splat_f64s(0.0); G];
    let mut d = c;
    for k in 0..G {
        c[k] = simd.mul_f64s(cot[i + k], inverse[i + k]);
        d[k] = simd.mul_f64s(c[k], t[i + k]);
    }
    for (column, sums) in block.chunks_exact(lanes).zip(sums.chunks_exact_mut(2)) {
        let (mut first, mut second) = (sums[0], sums[1]);
        for ((p, c), d) in column[i..i + G].iter().zip(&c).zip(&d) {
            first = simd.mul_add_e_f64s(*p, *c, first);
            second = simd.mul_add_e_f64s(*p, *d, second);
        }
        (sums[0], sums[1]) = (first, second);
    }
}

/// x̄_i = scale · (c_i cov(q, y) − a_i cov(λ, y)), covariances under the distribution W_i.
pub struct Push<'a> {
    pub table: &'a [f64],
    pub inverse: &'a [f64],
    pub t: &'a [f64],
    pub cot: &'a [f64],
    pub a: &'a [f64],
    /// v_j y_j, v_j q_j y_j, v_j λ_j, v_j λ_j y_j.
    pub c: &'a [[f64; 4]],
    pub scale: f64,
    pub out: &'a mut [f64],
}

impl WithSimd for Push<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Push { table, inverse, t, cot, a, c, scale, out } = self;
        let m = c.len();
        for (at, block) in table.chunks(BLOCK * m).enumerate() {
            let range = at * BLOCK..at * BLOCK + block.len() / m;
            let (inverse, _) = S::as_simd_f64s(&inverse[range.clone()]);
            let (t, _) = S::as_simd_f64s(&t[range.clone()]);
            let (cot, _) = S::as_simd_f64s(&cot[range.clone()]);
            let (a, _) = S::as_simd_f64s(&a[range.clone()]);
            let (out, _) = S::as_mut_simd_f64s(&mut out[range]);
            let (block, _) = S::as_simd_f64s(block);
            let mut i = 0;
            while i + 2 <= out.len() {
                push::<S, 2>(simd, block, inverse, t, cot, a, c, scale, out, i);
                i += 2;
            }
            if i < out.len() {
                push::<S, 1>(simd, block, inverse, t, cot, a, c, scale, out, i);
            }
        }
    }
}

#[inline(always)]
fn push<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    inverse: &[S::f64s],
    t: &[S::f64s],
    cot: &[S::f64s],
    a: &[S::f64s],
    c: &[[f64; 4]],
    scale: f64,
    out: &mut [S::f64s],
    i: usize,
) {
    let lanes = out.len();
    let scale = simd.splat_f64s(scale);
    let mut sums = [[simd.splat_f64s(0.0); 4]; G];
    for (column, c) in block.chunks_exact(lanes).zip(c) {
        let c = c.map(|c| simd.splat_f64s(c));
        for (sums, p) in sums.iter_mut().zip(&column[i..i + G]) {
            for (sum, c) in sums.iter_mut().zip(c) {
                *sum = simd.mul_add_e_f64s(c, *p, *sum);
            }
        }
    }
    for (k, [y, qy, l, ly]) in sums.into_iter().enumerate() {
        let k = i + k;
        let r = inverse[k];
        let y = simd.mul_f64s(y, r);
        let of_q = simd.sub_f64s(simd.mul_f64s(qy, r), simd.mul_f64s(t[k], y));
        let of_l = simd.mul_f64s(r, simd.sub_f64s(ly, simd.mul_f64s(l, y)));
        let d = simd.sub_f64s(simd.mul_f64s(cot[k], of_q), simd.mul_f64s(a[k], of_l));
        out[k] = simd.mul_f64s(scale, d);
    }
}
