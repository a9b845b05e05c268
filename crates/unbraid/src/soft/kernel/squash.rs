//! Squashing and its transposed Jacobian.

use pulp::{Simd, WithSimd};

use super::exp::exp_each;
use super::sum_of;

/// Σ_i w_i over padded values.
pub struct Total<'a> {
    pub w: &'a [f64],
}

impl WithSimd for Total<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (w, _) = S::as_simd_f64s(self.w);
        sum_of(simd, w.len(), |i| w[i])
    }
}

/// w_i − μ into the first n places of z, and Σ_i (w_i − μ)².
pub struct Centre<'a> {
    pub location: f64,
    pub n: usize,
    pub z: &'a mut [f64],
}

impl WithSimd for Centre<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        for z in &mut self.z[..self.n] {
            *z -= self.location;
        }
        let (z, _) = S::as_simd_f64s(self.z);
        sum_of(simd, z.len(), |i| simd.mul_f64s(z[i], z[i]))
    }
}

/// x = 1 / (1 + exp(−z · rate)).
pub struct Logistic<'a> {
    pub z: &'a [f64],
    pub rate: f64,
    pub x: &'a mut [f64],
}

impl WithSimd for Logistic<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        exp_each::<S>(self.z, self.x, |z| -z * self.rate, |e| 1.0 / (1.0 + e));
    }
}

/// z̄_i = x̄_i x_i (1 − x_i) in place, and Σ z̄_i and Σ z̄_i z_i.
pub struct Unsquash<'a> {
    pub x: &'a [f64],
    pub z: &'a [f64],
    pub bar: &'a mut [f64],
}

impl WithSimd for Unsquash<'_> {
    type Output = (f64, f64);
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f64, f64) {
        for (bar, x) in self.bar.iter_mut().zip(self.x) {
            *bar *= x * (1.0 - x);
        }
        let (bar, _) = S::as_simd_f64s(self.bar);
        let (z, _) = S::as_simd_f64s(self.z);
        let first = sum_of(simd, bar.len(), |i| bar[i]);
        (first, sum_of(simd, bar.len(), |i| simd.mul_f64s(bar[i], z[i])))
    }
}

/// w̄_i = (z̄_i − first − z_i · second) · scale.
pub struct Spread<'a> {
    pub z: &'a [f64],
    pub bar: &'a [f64],
    pub first: f64,
    pub second: f64,
    pub scale: f64,
    pub out: &'a mut [f64],
}

impl WithSimd for Spread<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((out, z), bar) in self.out.iter_mut().zip(self.z).zip(self.bar) {
            *out = (bar - self.first - z * self.second) * self.scale;
        }
    }
}
