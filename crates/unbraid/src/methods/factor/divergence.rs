//! Loops compiled for each vector width, and the loss over the entries of a row.
//!
//! The sums of D(X, Z) and the slopes ∂D/∂Z are what an epoch of QMF does once for every entry; one at a time the logarithms
//! of KL would cost as much as a step of Newton's method.

use pulp::{Simd, WithSimd};

use super::common::{Loss, TINY};
use crate::soft::Exp;
pub(super) use crate::soft::fused;

/// Entries that are worked on side by side.
const SIDE: usize = 8;

/// Runs a loop with the widest vectors that the processor has.
pub(super) fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}

/// exp(value − less) in place.
pub(super) fn exp(values: &mut [f64], less: f64) {
    dispatch(Exp { values, less });
}

/// log x for normal x > 0: x = 2ᵉ m with m about 1, and the series of artanh in (m − 1)/(m + 1).
#[inline(always)]
pub(super) fn ln<S: Simd>(x: f64) -> f64 {
    const LN2_HI: f64 = 6.931_471_803_691_238e-1;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    const HALF: u64 = 0x3fe6_a09e_667f_3bcd; // bits of √½
    const SHIFT: f64 = 4_503_599_627_370_496.0; // 2⁵²: its low bits hold an integer.
    let bits = x.to_bits().wrapping_sub(HALF);
    let exponent = (bits.wrapping_add(1 << 62) >> 52) | SHIFT.to_bits();
    let e = f64::from_bits(exponent) - (SHIFT + 1024.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(HALF));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let mut p = 1.0 / 23.0;
    p = fused::<S>(p, s2, 1.0 / 21.0);
    p = fused::<S>(p, s2, 1.0 / 19.0);
    p = fused::<S>(p, s2, 1.0 / 17.0);
    p = fused::<S>(p, s2, 1.0 / 15.0);
    p = fused::<S>(p, s2, 1.0 / 13.0);
    p = fused::<S>(p, s2, 1.0 / 11.0);
    p = fused::<S>(p, s2, 1.0 / 9.0);
    p = fused::<S>(p, s2, 1.0 / 7.0);
    p = fused::<S>(p, s2, 1.0 / 5.0);
    p = fused::<S>(p, s2, 1.0 / 3.0);
    let tail = fused::<S>(p * s2, 2.0 * s, e * LN2_LO);
    fused::<S>(e, LN2_HI, fused::<S>(2.0, s, tail))
}

impl Loss {
    /// Σ over measured entries of the loss between `x` (NaN = missing) and `z`; `scale` times its slopes in z go to `slope`, 0
    /// where x is missing. All have the same length; x and z are finite and not negative.
    pub fn with_slopes(self, x: &[f64], z: &[f64], scale: f64, slope: &mut [f64]) -> f64 {
        dispatch(WithSlopes { loss: self, x, z, scale, slope })
    }
}

struct WithSlopes<'a> {
    loss: Loss,
    x: &'a [f64],
    z: &'a [f64],
    scale: f64,
    slope: &'a mut [f64],
}

/// Loss and scaled slope of entries side by side, the loss added to `sums`.
#[inline(always)]
fn entries<S: Simd, const N: usize>(
    loss: Loss,
    x: [f64; N],
    z: [f64; N],
    scale: f64,
    slope: &mut [f64; N],
    sums: &mut [f64; N],
) {
    for l in 0..N {
        let (x, z) = (x[l], z[l]);
        let (of, at) = match loss {
            Loss::Kl => {
                let there = z + TINY;
                (fused::<S>(x, ln::<S>((x + TINY) / there), z - x), 1.0 - x / there)
            }
            Loss::Frobenius => (0.5 * (x - z) * (x - z), z - x),
        };
        // All bits of what is measured, none of what is missing: a choice would be made by slow masked stores.
        let measured = (x.is_nan() as u64).wrapping_sub(1);
        sums[l] += f64::from_bits(of.to_bits() & measured);
        slope[l] = f64::from_bits((scale * at).to_bits() & measured);
    }
}

impl WithSimd for WithSlopes<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let WithSlopes { loss, x, z, scale, slope } = self;
        let (x, x_rest) = x.as_chunks::<SIDE>();
        let (z, z_rest) = z.as_chunks::<SIDE>();
        let (slope, slope_rest) = slope.as_chunks_mut::<SIDE>();
        let mut sums = [0.0; SIDE];
        for ((x, z), slope) in x.iter().zip(z).zip(slope) {
            entries::<S, SIDE>(loss, *x, *z, scale, slope, &mut sums);
        }
        let mut last = [0.0];
        for ((x, z), slope) in x_rest.iter().zip(z_rest).zip(slope_rest) {
            entries::<S, 1>(loss, [*x], [*z], scale, std::array::from_mut(slope), &mut last);
        }
        sums.iter().sum::<f64>() + last[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;

    struct Logarithm(f64);

    impl WithSimd for Logarithm {
        type Output = f64;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> f64 {
            ln::<S>(self.0)
        }
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        let mut x = 1e-300;
        while x < 1e300 {
            assert!((dispatch(Logarithm(x)) - x.ln()).abs() <= 4e-16 * (1.0 + x.ln().abs()), "{x}");
            x *= 1.37;
        }
    }

    #[test]
    fn a_row_is_the_sum_of_its_entries() {
        let mut rng = Seed(3).stream(Draw::Simulate, 0);
        for n in [1, 7, 8, 9, 40] {
            let mut x: Vec<f64> = (0..n).map(|_| 9.0 * rng.random::<f64>()).collect();
            let z: Vec<f64> = (0..n).map(|_| 9.0 * rng.random::<f64>()).collect();
            x[n / 2] = 0.0;
            if n > 1 {
                x[0] = f64::NAN;
            }
            for loss in [Loss::Kl, Loss::Frobenius] {
                let mut slope = vec![f64::NAN; n];
                let found = loss.with_slopes(&x, &z, 0.5, &mut slope);
                let right: f64 =
                    x.iter().zip(&z).filter(|(x, _)| !x.is_nan()).map(|(&x, &z)| loss.of(x, z)).sum();
                assert!((found - right).abs() < 1e-14 * (1.0 + right), "{loss} {n}: {found} {right}");
                for i in 0..n {
                    let right = if x[i].is_nan() { 0.0 } else { 0.5 * loss.slope(x[i], z[i]) };
                    assert!((slope[i] - right).abs() <= 1e-15 * (1.0 + right.abs()), "{loss} {n} {i}");
                }
            }
        }
    }
}
