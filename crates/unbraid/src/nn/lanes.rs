//! Sums over contiguous values in a fixed number of lanes: the compiler may use vectors, and the order of the sum does not
//! depend on which.

use super::Real;

const LANES: usize = 16;

/// s := f(s, aᵢ, bᵢ) over all i from s = 0, lane by lane, and the lanes added up: f adds something to s.
#[inline(always)]
pub fn fold<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut rest = T::ZERO;
    for (a, b) in a.remainder().iter().zip(b.remainder()) {
        rest = f(rest, *a, *b);
    }
    for (a, b) in a.zip(b) {
        for l in 0..LANES {
            lanes[l] = f(lanes[l], a[l], b[l]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

/// a · b of two slices of one length.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    fold(a, b, |s, a, b| s + a * b)
}

/// Σ a.
#[inline(always)]
pub fn sum<T: Real>(a: &[T]) -> T {
    fold(a, a, |s, a, _| s + a)
}

/// y += α x.
#[inline(always)]
pub fn axpy<T: Real>(alpha: T, x: &[T], y: &mut [T]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += alpha * *x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_every_value_once() {
        for n in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f64> = (0..n).map(|i| f64::from(i) + 0.5).collect();
            let b: Vec<f64> = (0..n).map(|i| f64::from(i % 7)).collect();
            assert_eq!(dot(&a, &b), a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>());
            assert_eq!(sum(&a), a.iter().sum::<f64>());
            let mut y = b.clone();
            axpy(2.0, &a, &mut y);
            assert!(y.iter().zip(&a).zip(&b).all(|((y, a), b)| *y == b + 2.0 * a));
        }
    }
}
