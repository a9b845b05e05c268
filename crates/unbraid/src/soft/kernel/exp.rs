//! Exponentials.

use pulp::{Simd, WithSimd};

use super::fused;

/// Exponentials computed side by side, so that constants are loaded once and the chains overlap.
const SIDE: usize = 16;
/// And what is left of a row.
const FEW: usize = 4;

/// exp(x) for x in [−708, 709], clamped outside: x = k log 2 + r, a polynomial in r, k added to the exponent.
#[inline(always)]
pub(super) fn exp<S: Simd, const N: usize>(mut x: [f64; N]) -> [f64; N] {
    const MAGIC: f64 = 6755399441055744.0; // 1.5 · 2⁵²: adding it rounds to an integer in the low bits.
    const LN2_HI: f64 = 6.931_471_803_691_238e-1;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    // 1/13! to 1/0!
    const TAYLOR: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let mut t = [0.0; N];
    for (x, t) in x.iter_mut().zip(&mut t) {
        let clamped = x.clamp(-708.0, 709.0);
        *t = fused::<S>(clamped, std::f64::consts::LOG2_E, MAGIC);
        let k = *t - MAGIC;
        *x = fused::<S>(-k, LN2_LO, fused::<S>(-k, LN2_HI, clamped));
    }
    let mut p = [TAYLOR[0]; N];
    for c in &TAYLOR[1..] {
        for (p, r) in p.iter_mut().zip(&x) {
            *p = fused::<S>(*p, *r, *c);
        }
    }
    for (p, t) in p.iter_mut().zip(&t) {
        *p *= f64::from_bits((t.to_bits() << 52).wrapping_add(1023 << 52));
    }
    p
}

/// exp of the value that `of` makes of each input, handed to `put` with the place it belongs to.
#[inline(always)]
pub(super) fn exp_each<S: Simd>(
    input: &[f64],
    out: &mut [f64],
    of: impl Fn(f64) -> f64,
    put: impl Fn(f64) -> f64,
) {
    let (chunks, rest) = input.as_chunks::<SIDE>();
    let (to, last) = out.split_at_mut(chunks.len() * SIDE);
    for (x, to) in chunks.iter().zip(to.as_chunks_mut::<SIDE>().0) {
        *to = exp::<S, SIDE>(x.map(&of)).map(&put);
    }
    let (chunks, rest) = rest.as_chunks::<FEW>();
    let (to, last) = last.split_at_mut(chunks.len() * FEW);
    for (x, to) in chunks.iter().zip(to.as_chunks_mut::<FEW>().0) {
        *to = exp::<S, FEW>(x.map(&of)).map(&put);
    }
    for (x, to) in rest.iter().zip(last) {
        [*to] = exp::<S, 1>([of(*x)]).map(&put);
    }
}

/// exp(value − less) in place.
#[derive(Debug)]
pub struct Exp<'a> {
    pub values: &'a mut [f64],
    pub less: f64,
}

impl WithSimd for Exp<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (many, rest) = self.values.as_chunks_mut::<SIDE>();
        let (few, rest) = rest.as_chunks_mut::<FEW>();
        many.iter_mut().for_each(|v| *v = exp::<S, SIDE>(v.map(|v| v - self.less)));
        few.iter_mut().for_each(|v| *v = exp::<S, FEW>(v.map(|v| v - self.less)));
        rest.iter_mut().for_each(|v| [*v] = exp::<S, 1>([*v - self.less]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soft::kernel::tests::paths;

    /// Distance in units of the last place of `b`.
    fn ulps(a: f64, b: f64) -> f64 {
        (a - b).abs() / (b.abs() * f64::EPSILON)
    }

    #[test]
    fn exponentials_are_right_to_two_ulps() {
        for arch in paths() {
            let mut worst: f64 = 0.0;
            for i in 0..200_000 {
                let x = -707.9 + 1416.8 * f64::from(i) / 200_000.0;
                let mut e = [x];
                arch.dispatch(Exp { values: &mut e, less: 0.0 });
                worst = worst.max(ulps(e[0], x.exp()));
            }
            assert!(worst <= 2.0, "{arch:?}: {worst}");
            let mut ends = [0.0, 1e4, -1e4, f64::INFINITY, f64::NEG_INFINITY];
            arch.dispatch(Exp { values: &mut ends, less: 0.0 });
            assert_eq!(ends[0], 1.0);
            assert!(ends.iter().all(|e| e.is_finite() && *e > 0.0), "{ends:?}");
        }
    }

    #[test]
    fn sixteen_at_once_have_the_bits_of_one() {
        struct Both<'a>(&'a [f64], &'a mut [f64], &'a mut [f64]);
        impl WithSimd for Both<'_> {
            type Output = ();
            fn with_simd<S: Simd>(self, _: S) {
                exp_each::<S>(self.0, self.1, |x| x, |e| e);
                self.2.iter_mut().zip(self.0).for_each(|(o, x)| [*o] = exp::<S, 1>([*x]));
            }
        }
        let x: Vec<f64> = (0..1003).map(|i| (f64::from(i) * 0.77).sin() * 600.0).collect();
        for arch in paths() {
            let (mut many, mut one) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            arch.dispatch(Both(&x, &mut many, &mut one));
            assert_eq!(many, one, "{arch:?}");
        }
    }
}
