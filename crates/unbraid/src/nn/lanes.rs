//! Sums over contiguous values in a fixed number of lanes: the compiler may use vectors, and the order of the sum does not
//! depend on which.

use super::Real;

const LANES: usize = 16;

/// s := f(s, aᵢ, bᵢ) over all i from s = `from`, lane by lane, and the lanes put together by `both`.
#[inline(always)]
fn lanes<T: Real>(a: &[T], b: &[T], from: T, f: impl Fn(T, T, T) -> T, both: impl Fn(T, T) -> T + Copy) -> T {
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [from; LANES];
    for (a, b) in a.iter().zip(b) {
        // All are there before one is stored, so that they become a vector.
        let before = lanes;
        for (l, to) in lanes.iter_mut().enumerate() {
            *to = f(before[l], a[l], b[l]);
        }
    }
    let rest = last_a.iter().zip(last_b).fold(from, |rest, (a, b)| f(rest, *a, *b));
    both(together(lanes, both), rest)
}

/// The lanes, halves onto one another. A function of its own: inlined, it takes the vectors of the loop before it apart.
#[inline(never)]
fn together<T: Real>(mut lanes: [T; LANES], both: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = both(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// s := f(s, aᵢ, bᵢ) over all i from s = 0, lane by lane, and the lanes added up: f adds something to s.
#[inline(always)]
pub fn fold<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T, T) -> T) -> T {
    lanes(a, b, T::ZERO, f, |a, b| a + b)
}

/// The largest of some values that are not NaN, −∞ of none.
#[inline(always)]
pub fn largest<T: Real>(a: &[T]) -> T {
    lanes(a, a, T::of(f64::NEG_INFINITY), |s, a, _| s.larger(a), T::larger)
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
            assert_eq!(largest(&b), b.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let mut y = b.clone();
            axpy(2.0, &a, &mut y);
            assert!(y.iter().zip(&a).zip(&b).all(|((y, a), b)| *y == b + 2.0 * a));
        }
    }
}
