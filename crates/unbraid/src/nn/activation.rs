//! The rectifier and the soft one.
//!
//! ```text
//! relu(x) = max(x, 0),   relu′(0) = 0;      softplus(x) = log(1 + eˣ),   softplus′(x) = 1/(1 + e⁻ˣ)
//! ```

use super::Real;
use super::elementary::{exp, ln_1p};

/// relu in place.
#[inline(always)]
pub fn relu<T: Real>(x: &mut [T]) {
    x.iter_mut().for_each(|x| *x = x.larger(T::ZERO));
}

/// Clears the gradients where the output of relu is 0.
#[inline(always)]
pub fn relu_adjoint<T: Real>(y: &[T], dy: &mut [T]) {
    dy.iter_mut().zip(y).for_each(|(d, y)| *d = if *y > T::ZERO { *d } else { T::ZERO });
}

/// softplus and its derivative, for any x without overflow; the value keeps its relative precision down to the smallest
/// numbers.
#[inline(always)]
pub fn softplus(x: f64) -> (f64, f64) {
    let e = exp(-x.abs());
    let (above, top) = if x > 0.0 { (x, 1.0) } else { (0.0, e) };
    (above + ln_1p(e), top / (1.0 + e))
}

/// x with softplus(x) = y > 0, precise for small and large y.
pub fn softplus_inverse(y: f64) -> f64 {
    // log(eʸ − 1) = y + log(1 − e⁻ʸ)
    y + (-(-y).exp_m1()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_is_precise_at_both_ends() {
        for (x, value, slope) in [
            (0.0, std::f64::consts::LN_2, 0.5),
            (-40.0, (-40.0f64).exp(), (-40.0f64).exp()),
            (-700.0, (-700.0f64).exp(), (-700.0f64).exp()),
            (800.0, 800.0, 1.0),
            (1.0, 1.3132616875182228, 0.7310585786300049),
        ] {
            let (v, s) = softplus(x);
            assert!((v - value).abs() <= 1e-15 * value && (s - slope).abs() <= 1e-15 * slope, "{x}: {v} {s}");
        }
        for y in [1e-8, 1e-3, 0.7, 5.0, 900.0] {
            assert!((softplus(softplus_inverse(y)).0 - y).abs() <= 1e-14 * y, "{y}");
        }
    }

    #[test]
    fn relu_is_flat_at_zero() {
        let mut x = [-1.0f32, 0.0, 2.0];
        relu(&mut x);
        assert_eq!(x, [0.0, 0.0, 2.0]);
        let mut d = [3.0, 3.0, 3.0];
        relu_adjoint(&x, &mut d);
        assert_eq!(d, [0.0, 0.0, 3.0]);
    }
}
