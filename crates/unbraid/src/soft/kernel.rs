//! Passes over the table of one row: n samples by m targets, in blocks of [`BLOCK`] samples.
//!
//! A block holds its m columns one after another, so that a pass streams through memory and the products of
//! two columns stay in the nearest cache. Samples are padded to a multiple of [`PAD`] with weight 0.
//! Every pass is written once and compiled for each vector width; the width is chosen by the processor.

use pulp::{Simd, WithSimd};

/// Samples per block.
pub const BLOCK: usize = 128;
/// Samples are padded to a multiple of this: the widest vector.
pub const PAD: usize = 8;

/// Width of the tables that hold m columns or rows of second moments.
pub fn padded(m: usize) -> usize {
    m.next_multiple_of(4)
}

fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    // Detection is cached by the standard library's macro inside.
    pulp::Arch::new().dispatch(op)
}

#[inline(always)]
fn fused<S: Simd>(a: f64, b: f64, c: f64) -> f64 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// exp(x) for x in [−708, 709], clamped outside: x = k log 2 + r, a polynomial in r, k added to the exponent.
#[inline(always)]
fn exp<S: Simd>(x: f64) -> f64 {
    const MAGIC: f64 = 6755399441055744.0; // 1.5 · 2⁵²: adding it rounds to an integer in the low bits.
    const LN2_HI: f64 = 6.931_471_803_691_238e-1;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    let x = x.clamp(-708.0, 709.0);
    let t = fused::<S>(x, std::f64::consts::LOG2_E, MAGIC);
    let k = t - MAGIC;
    let r = fused::<S>(-k, LN2_LO, fused::<S>(-k, LN2_HI, x));
    let mut p = 1.0 / 6_227_020_800.0;
    p = fused::<S>(p, r, 1.0 / 479_001_600.0);
    p = fused::<S>(p, r, 1.0 / 39_916_800.0);
    p = fused::<S>(p, r, 1.0 / 3_628_800.0);
    p = fused::<S>(p, r, 1.0 / 362_880.0);
    p = fused::<S>(p, r, 1.0 / 40_320.0);
    p = fused::<S>(p, r, 1.0 / 5_040.0);
    p = fused::<S>(p, r, 1.0 / 720.0);
    p = fused::<S>(p, r, 1.0 / 120.0);
    p = fused::<S>(p, r, 1.0 / 24.0);
    p = fused::<S>(p, r, 1.0 / 6.0);
    p = fused::<S>(p, r, 0.5);
    p = fused::<S>(p, r, 1.0);
    p = fused::<S>(p, r, 1.0);
    p * f64::from_bits((t.to_bits() << 52).wrapping_add(1023 << 52))
}

/// x = 1 / (1 + exp(−(w − μ) · rate)), slope = dx/dw · 1/rate = x (1 − x).
pub struct Logistic<'a> {
    pub w: &'a [f64],
    pub location: f64,
    pub rate: f64,
    pub x: &'a mut [f64],
}

impl WithSimd for Logistic<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (x, w) in self.x.iter_mut().zip(self.w) {
            *x = 1.0 / (1.0 + exp::<S>((self.location - w) * self.rate));
        }
    }
}

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
    fn with_simd<S: Simd>(self, _: S) {
        let m = self.m;
        let half = 0.5 * (m - 1) as f64;
        let mut ratio = [0.0; BLOCK];
        for (x, block) in self.x.chunks(BLOCK).zip(self.table.chunks_mut(BLOCK * m)) {
            let nb = x.len();
            let ratio = &mut ratio[..nb];
            let (first, rest) = block.split_at_mut(nb);
            for ((r, p), x) in ratio.iter_mut().zip(first.iter_mut()).zip(x) {
                let u = self.rate * (x - self.centre);
                *r = exp::<S>(u);
                *p = exp::<S>(-half * u);
            }
            let mut before = &*first;
            for column in rest.chunks_exact_mut(nb) {
                for ((p, b), r) in column.iter_mut().zip(before).zip(&*ratio) {
                    *p = b * r;
                }
                before = column;
            }
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
                for (l, t) in column.iter_mut().zip(&*top) {
                    *l = exp::<S>(*l - t);
                }
            }
        }
    }
}

/// 1/row sums, s = Wᵀ a and the lower triangle of Wᵀ diag(a) W, with W_ij = v_j p_ij / row sum.
pub struct Moments<'a> {
    pub table: &'a [f64],
    pub v: &'a [f64],
    /// √a, zero on the padding.
    pub root: &'a [f64],
    pub inverse: &'a mut [f64],
    pub s: &'a mut [f64],
    /// m' × m' with m' = [`padded`]`(m)`; row j, column k ≤ j.
    pub second: &'a mut [f64],
    /// [`padded`]`(m)` × [`BLOCK`], zero on the padding.
    pub scratch: &'a mut [f64],
}

impl WithSimd for Moments<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Moments { table, v, root, inverse, s, second, scratch } = self;
        let m = v.len();
        let wide = padded(m);
        s.fill(0.0);
        second.fill(0.0);
        for ((block, root), inverse) in
            table.chunks(BLOCK * m).zip(root.chunks(BLOCK)).zip(inverse.chunks_mut(BLOCK))
        {
            let nb = root.len();
            let (root, _) = S::as_simd_f64s(root);
            let (inverse, _) = S::as_mut_simd_f64s(inverse);
            let lanes = root.len();
            // Row sums.
            inverse.fill(simd.splat_f64s(0.0));
            for (column, &v) in block.chunks_exact(nb).zip(v) {
                let v = simd.splat_f64s(v);
                let (column, _) = S::as_simd_f64s(column);
                for (r, p) in inverse.iter_mut().zip(column) {
                    *r = simd.mul_add_e_f64s(v, *p, *r);
                }
            }
            let one = simd.splat_f64s(1.0);
            for r in inverse.iter_mut() {
                *r = simd.div_f64s(one, *r);
            }
            // √a_i W_ij / v_j and its sums against √a_i.
            for (j, (column, s)) in block.chunks_exact(nb).zip(s.iter_mut()).enumerate() {
                let (column, _) = S::as_simd_f64s(column);
                let (w, _) = S::as_mut_simd_f64s(&mut scratch[j * BLOCK..][..nb]);
                let mut sum = simd.splat_f64s(0.0);
                for (((w, p), r), a) in w.iter_mut().zip(column).zip(&*inverse).zip(root) {
                    *w = simd.mul_f64s(simd.mul_f64s(*r, *a), *p);
                    sum = simd.mul_add_e_f64s(*w, *a, sum);
                }
                *s += simd.reduce_sum_f64s(sum);
            }
            // Products of columns, two by four at a time.
            let column = |j: usize| &S::as_simd_f64s(&scratch[j * BLOCK..][..nb]).0[..lanes];
            for j in (0..m).step_by(2) {
                let (a0, a1) = (column(j), column(j + 1));
                for k in (0..j + 2).step_by(4) {
                    let (b0, b1, b2, b3) = (column(k), column(k + 1), column(k + 2), column(k + 3));
                    let zero = simd.splat_f64s(0.0);
                    let (mut c0, mut c1, mut c2, mut c3) = (zero, zero, zero, zero);
                    let (mut d0, mut d1, mut d2, mut d3) = (zero, zero, zero, zero);
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
                    for (row, tile) in [[c0, c1, c2, c3], [d0, d1, d2, d3]].into_iter().enumerate() {
                        let out = &mut second[(j + row) * wide + k..][..4];
                        for (out, c) in out.iter_mut().zip(tile) {
                            *out += simd.reduce_sum_f64s(c);
                        }
                    }
                }
            }
        }
        for (s, v) in s.iter_mut().zip(v) {
            *s *= v;
        }
        for j in 0..m {
            for k in 0..=j {
                second[j * wide + k] *= v[j] * v[k];
            }
        }
    }
}

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
        for ((block, inverse), t) in
            self.table.chunks(BLOCK * m).zip(self.inverse.chunks(BLOCK)).zip(self.t.chunks_mut(BLOCK))
        {
            let nb = t.len();
            let (t, _) = S::as_mut_simd_f64s(t);
            t.fill(simd.splat_f64s(0.0));
            for (column, &c) in block.chunks_exact(nb).zip(self.c) {
                let c = simd.splat_f64s(c);
                for (t, p) in t.iter_mut().zip(S::as_simd_f64s(column).0) {
                    *t = simd.mul_add_e_f64s(c, *p, *t);
                }
            }
            for (t, r) in t.iter_mut().zip(S::as_simd_f64s(inverse).0) {
                *t = simd.mul_f64s(*t, *r);
            }
        }
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
}

impl WithSimd for Pull<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Pull { table, v, inverse, t, cot, s0, s1 } = self;
        let m = v.len();
        s0.fill(0.0);
        s1.fill(0.0);
        let mut pair = [[0.0; BLOCK]; 2];
        for (at, block) in table.chunks(BLOCK * m).enumerate() {
            let nb = block.len() / m;
            let range = at * BLOCK..at * BLOCK + nb;
            let (inverse, t, cot) = (&inverse[range.clone()], &t[range.clone()], &cot[range]);
            let [c0, c1] = &mut pair;
            for i in 0..nb {
                c0[i] = cot[i] * inverse[i];
                c1[i] = c0[i] * t[i];
            }
            let (c0, _) = S::as_simd_f64s(&c0[..nb]);
            let (c1, _) = S::as_simd_f64s(&c1[..nb]);
            for (j, column) in block.chunks_exact(nb).enumerate() {
                let (mut sum0, mut sum1) = (simd.splat_f64s(0.0), simd.splat_f64s(0.0));
                for ((p, c0), c1) in S::as_simd_f64s(column).0.iter().zip(c0).zip(c1) {
                    sum0 = simd.mul_add_e_f64s(*p, *c0, sum0);
                    sum1 = simd.mul_add_e_f64s(*p, *c1, sum1);
                }
                s0[j] += simd.reduce_sum_f64s(sum0);
                s1[j] += simd.reduce_sum_f64s(sum1);
            }
        }
        for j in 0..m {
            s0[j] *= v[j];
            s1[j] *= v[j];
        }
    }
}

/// x̄_i = scale · (c_i cov(q, y) − a_i cov(λ, y)), covariances under the distribution W_i.
pub struct Push<'a> {
    pub table: &'a [f64],
    pub inverse: &'a [f64],
    pub t: &'a [f64],
    pub cot: &'a [f64],
    pub root: &'a [f64],
    /// v_j y_j, v_j q_j y_j, v_j λ_j, v_j λ_j y_j.
    pub c: &'a [[f64; 4]],
    pub scale: f64,
    pub out: &'a mut [f64],
}

impl WithSimd for Push<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Push { table, inverse, t, cot, root, c, scale, out } = self;
        let m = c.len();
        let scale = simd.splat_f64s(scale);
        for (at, block) in table.chunks(BLOCK * m).enumerate() {
            let nb = block.len() / m;
            let range = at * BLOCK..at * BLOCK + nb;
            let (inverse, _) = S::as_simd_f64s(&inverse[range.clone()]);
            let (t, _) = S::as_simd_f64s(&t[range.clone()]);
            let (cot, _) = S::as_simd_f64s(&cot[range.clone()]);
            let (root, _) = S::as_simd_f64s(&root[range.clone()]);
            let (out, _) = S::as_mut_simd_f64s(&mut out[range]);
            let (block, _) = S::as_simd_f64s(block);
            let lanes = out.len();
            for i in 0..lanes {
                let zero = simd.splat_f64s(0.0);
                let (mut y, mut qy, mut l, mut ly) = (zero, zero, zero, zero);
                for (p, c) in block[i..].iter().step_by(lanes).zip(c) {
                    y = simd.mul_add_e_f64s(simd.splat_f64s(c[0]), *p, y);
                    qy = simd.mul_add_e_f64s(simd.splat_f64s(c[1]), *p, qy);
                    l = simd.mul_add_e_f64s(simd.splat_f64s(c[2]), *p, l);
                    ly = simd.mul_add_e_f64s(simd.splat_f64s(c[3]), *p, ly);
                }
                let r = inverse[i];
                let y = simd.mul_f64s(y, r);
                let of_q = simd.sub_f64s(simd.mul_f64s(qy, r), simd.mul_f64s(t[i], y));
                let of_l = simd.mul_f64s(r, simd.sub_f64s(ly, simd.mul_f64s(l, y)));
                let a = simd.mul_f64s(root[i], root[i]);
                let d = simd.sub_f64s(simd.mul_f64s(cot[i], of_q), simd.mul_f64s(a, of_l));
                out[i] = simd.mul_f64s(scale, d);
            }
        }
    }
}

/// Runs a pass on the widest vectors the processor has.
pub fn run<Op: WithSimd<Output = ()>>(op: Op) {
    dispatch(op);
}
