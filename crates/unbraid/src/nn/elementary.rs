//! eˣ and log x without branches or calls, so that loops over them become vectors; within two units in the last place. The
//! same bits as vectors and alone.

/// 1.5 · 2⁵²: added to a small number it leaves the nearest whole one in the low bits.
const SHIFT: f64 = 6_755_399_441_055_744.0;
/// log 2 in two parts; multiples of the first up to 2¹¹ are exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Bits of √½, where mantissas start.
const HALF_ROOT: u64 = 0x3FE6_A09E_667F_3BCD;
const ONE: u64 = 0x3FF0_0000_0000_0000;
const MANTISSA: u64 = 0x000F_FFFF_FFFF_FFFF;

/// eˣ, for x kept to [−708, 709].
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let x = if x > -708.0 { x } else { -708.0 };
    let x = if x < 709.0 { x } else { 709.0 };
    // x = k log 2 + r
    let shifted = x * std::f64::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    // Σ rⁿ/n!, |r| ≤ ½ log 2
    let mut sum = 1.0 / 6_227_020_800.0;
    sum = sum * r + 1.0 / 479_001_600.0;
    sum = sum * r + 1.0 / 39_916_800.0;
    sum = sum * r + 1.0 / 3_628_800.0;
    sum = sum * r + 1.0 / 362_880.0;
    sum = sum * r + 1.0 / 40_320.0;
    sum = sum * r + 1.0 / 5_040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = (sum * r) * r + r;
    let power = f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52);
    power + power * sum
}

/// eˣ in single precision, for x kept to [−87, 88].
#[inline(always)]
pub fn exp32(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let mut sum = 1.0 / 5_040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = (sum * r) * r + r;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    power + power * sum
}

/// log x, for normal x > 0.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    // x = 2ᵏ m, √½ ≤ m < √2
    let bits = x.to_bits().wrapping_add(ONE - HALF_ROOT);
    let k = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & MANTISSA) + HALF_ROOT);
    // log m = 2 artanh s
    let f = m - 1.0;
    let s = f / (m + 1.0);
    let z = s * s;
    let mut sum = 1.0 / 23.0;
    sum = sum * z + 1.0 / 21.0;
    sum = sum * z + 1.0 / 19.0;
    sum = sum * z + 1.0 / 17.0;
    sum = sum * z + 1.0 / 15.0;
    sum = sum * z + 1.0 / 13.0;
    sum = sum * z + 1.0 / 11.0;
    sum = sum * z + 1.0 / 9.0;
    sum = sum * z + 1.0 / 7.0;
    sum = sum * z + 0.2;
    sum = sum * z + 1.0 / 3.0;
    // 2s = f − s f, so that the large part is exact.
    let small = s * (f - 2.0 * z * sum);
    k * LN2_HIGH + (f - (small - k * LN2_LOW))
}

/// log(1 + x) for x ≥ 0, with its relative precision near 0.
#[inline(always)]
pub fn ln_1p(x: f64) -> f64 {
    let u = 1.0 + x;
    // What the sum lost.
    let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    ln(u) + lost / u
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(what: &str, x: f64, found: f64, right: f64) {
        assert!((found - right).abs() <= 4.5e-16 * right.abs(), "{what} of {x:e}: {found:e}, not {right:e}");
    }

    #[test]
    fn both_agree_with_the_library() {
        for i in -7000..7000 {
            let x = f64::from(i) * 0.1 + 0.013;
            near("exp", x, exp(x), x.exp());
        }
        for i in -2000..2000 {
            let x = (f64::from(i) * 0.345 + 1e-3).exp();
            near("ln", x, ln(x), x.ln());
            let x = 1.0 + f64::from(i) * 1e-4;
            near("ln", x, ln(x), x.ln());
            let x = (f64::from(i) * 0.0351).exp();
            near("ln_1p", x, ln_1p(x), x.ln_1p());
        }
        for i in -8699..8799 {
            let x = i as f32 * 0.01 + 0.0013;
            let (found, right) = (f64::from(exp32(x)), f64::from(x).exp());
            assert!((found - right).abs() <= 2.4e-7 * right, "exp32 of {x:e}: {found:e}, not {right:e}");
        }
        assert!(exp32(0.0) == 1.0 && exp32(-1e9) < 1e-37 && exp32(1e9).is_finite());
        assert_eq!([exp(0.0), ln(1.0), ln_1p(0.0)], [1.0, 0.0, 0.0]);
        assert!(exp(-1e9) < 1e-300 && exp(1e9).is_finite());
    }
}
