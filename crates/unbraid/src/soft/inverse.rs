//! An inverse H of the Laplacian that is kept and improved: from step to step, and from one visit of a row to the next.
//!
//! In a fit a row comes back a little changed, and L with it. H is first made from a factor of L; every step p whose image
//! y = L p is known then improves it by the rule of Broyden, Fletcher, Goldfarb and Shanno (nocedal2006, equation 6.17),
//!
//! ```text
//! H := (I − p yᵗ / pᵗy) H (I − y pᵗ / pᵗy) + p pᵗ / pᵗy,
//! ```
//!
//! the symmetric matrix next to H that takes y to p. A step with H costs two products of m × m numbers where a new factor
//! takes the sums over the samples of all pairs of targets. L is singular, constants are its kernel: residuals sum to 0, and
//! H p is right up to a constant.
//!
//! | symbol | shape  | meaning                         |
//! |--------|--------|---------------------------------|
//! | H      | m × m  | L⁺ up to constants, about       |
//! | p, y   | m      | a step, and its image under L   |
//!
//! Vectors are as long as m rounded up to [`padded`], with 0 in the places after m.

use pulp::{Arch, Simd, WithSimd};

use super::kernel::padded;
use super::laplacian::Laplacian;

/// H, and room for a step with it.
#[derive(Clone, Debug, Default)]
pub struct Inverse {
    /// m' × m'.
    h: Vec<f64>,
    /// H y.
    moved: Vec<f64>,
    /// Whether H may be used for the row at hand.
    pub ready: bool,
}

impl Inverse {
    /// Takes the H that [`Inverse::keep`] left for this row, if there is one.
    pub fn recall(&mut self, m: usize, kept: &[f32]) {
        self.resize(m);
        self.ready = kept.first().is_some_and(|first| first.is_finite());
        if self.ready {
            for (row, kept) in self.h.chunks_exact_mut(padded(m)).zip(kept.chunks_exact(m)) {
                row.iter_mut().zip(kept).for_each(|(h, k)| *h = f64::from(*k));
            }
        }
    }

    /// Stores H, m × m, in single precision, enough for what is improved at every step.
    pub fn keep(&self, m: usize, kept: &mut [f32]) {
        if !self.ready {
            return kept.fill(f32::NAN);
        }
        for (row, kept) in self.h.chunks_exact(padded(m)).zip(kept.chunks_exact_mut(m)) {
            kept.iter_mut().zip(row).for_each(|(k, h)| *k = *h as f32);
        }
    }

    fn resize(&mut self, m: usize) {
        let wide = padded(m);
        if self.moved.len() != wide || self.h.len() != wide * wide {
            self.h = vec![0.0; wide * wide];
            self.moved = vec![0.0; wide];
        }
    }

    /// H from a factor of L.
    pub fn of(&mut self, arch: Arch, m: usize, factor: &mut Laplacian) {
        self.resize(m);
        factor.inverse(arch, &mut self.h);
        self.ready = true;
    }

    /// H r.
    pub fn times(&self, arch: Arch, r: &[f64], out: &mut [f64]) {
        arch.dispatch(Times { h: &self.h, r, out });
    }

    /// Learns that y is the image of p. What rounding may have turned against the step is left out.
    pub fn learn(&mut self, arch: Arch, p: &[f64], y: &[f64]) {
        let Inverse { h, moved, .. } = self;
        arch.dispatch(Times { h, r: y, out: moved });
        let along = dot(p, y);
        let (over, back) = (1.0 / along, dot(y, moved));
        if !(along > 0.0 && over.is_finite() && back.is_finite()) {
            return;
        }
        arch.dispatch(Learn { h, p, moved, both: over * (1.0 + over * back), over });
    }
}

/// aᵗb.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (mut sums, (a, a_rest), (b, b_rest)) = ([0.0; 8], a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for l in 0..8 {
            sums[l] += a[l] * b[l];
        }
    }
    let halves: [f64; 4] = std::array::from_fn(|l| sums[l] + sums[l + 4]);
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (halves[0] + halves[2]) + (halves[1] + halves[3]) + rest
}

struct Times<'a> {
    h: &'a [f64],
    r: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for Times<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Times { h, r, out } = self;
        let (h, _) = S::as_simd_f64s(h);
        let (out, _) = S::as_mut_simd_f64s(out);
        let lanes = out.len();
        let mut i = 0;
        while i + 4 <= lanes {
            times::<S, 4>(simd, h, lanes, r, out, i);
            i += 4;
        }
        while i < lanes {
            times::<S, 1>(simd, h, lanes, r, out, i);
            i += 1;
        }
    }
}

/// G vectors of H r from the i-th on, H being its own transpose: rows in two sums, that one need not wait for the other.
#[inline(always)]
fn times<S: Simd, const G: usize>(
    simd: S,
    h: &[S::f64s],
    lanes: usize,
    r: &[f64],
    out: &mut [S::f64s],
    i: usize,
) {
    let mut even = [simd.splat_f64s(0.0); G];
    let mut odd = even;
    for (rows, r) in h.chunks_exact(2 * lanes).zip(r.chunks_exact(2)) {
        let (first, second) = (simd.splat_f64s(r[0]), simd.splat_f64s(r[1]));
        for k in 0..G {
            even[k] = simd.mul_add_e_f64s(first, rows[i + k], even[k]);
            odd[k] = simd.mul_add_e_f64s(second, rows[lanes + i + k], odd[k]);
        }
    }
    for k in 0..G {
        out[i + k] = simd.add_f64s(even[k], odd[k]);
    }
}

/// H + `both` p pᵗ − `over` (p (H y)ᵗ + (H y) pᵗ).
struct Learn<'a> {
    h: &'a mut [f64],
    p: &'a [f64],
    moved: &'a [f64],
    both: f64,
    over: f64,
}

impl WithSimd for Learn<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Learn { h, p, moved, both, over } = self;
        let (p_lanes, _) = S::as_simd_f64s(p);
        let (moved_lanes, _) = S::as_simd_f64s(moved);
        for (row, (&pi, &moved)) in h.chunks_exact_mut(p.len()).zip(p.iter().zip(moved)) {
            let (row, _) = S::as_mut_simd_f64s(row);
            let with_p = simd.splat_f64s(both * pi - over * moved);
            let with_moved = simd.splat_f64s(-over * pi);
            for ((h, p), m) in row.iter_mut().zip(p_lanes).zip(moved_lanes) {
                *h = simd.mul_add_e_f64s(with_p, *p, simd.mul_add_e_f64s(with_moved, *m, *h));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soft::kernel::tests::paths;

    /// Edges between m targets, all of them positive, and the sums of each.
    fn graph(m: usize) -> (Vec<f64>, Vec<f64>) {
        let wide = padded(m);
        let mut edges = vec![0.0; wide * wide];
        let mut s = vec![0.1; m];
        for j in 0..m {
            for k in 0..j {
                let edge = 0.01 + ((3 * j + 7 * k) as f64).sin().powi(2) / (1 + j - k) as f64;
                (edges[j * wide + k], edges[k * wide + j]) = (edge, edge);
                s[j] += edge;
                s[k] += edge;
            }
        }
        (edges, s)
    }

    /// L v, entry by entry.
    fn image(edges: &[f64], m: usize, v: &[f64]) -> Vec<f64> {
        let wide = padded(m);
        let mut out = vec![0.0; wide];
        for j in 0..m {
            for k in (0..m).filter(|&k| k != j) {
                out[j] += edges[j * wide + k] * (v[j] - v[k]);
            }
        }
        out
    }

    fn centred(v: &[f64], m: usize) -> Vec<f64> {
        let mean = v[..m].iter().sum::<f64>() / m as f64;
        v[..m].iter().map(|v| v - mean).collect()
    }

    #[test]
    fn a_factor_gives_the_inverse() {
        for m in [2, 3, 8, 16, 21] {
            let (edges, s) = graph(m);
            for arch in paths() {
                let (mut factor, mut inverse) = (Laplacian::default(), Inverse::default());
                factor.edges(s.len()).copy_from_slice(&edges);
                factor.factorise(arch, &s);
                inverse.of(arch, m, &mut factor);
                let v: Vec<f64> =
                    (0..padded(m)).map(|j| if j < m { (j as f64).cos() } else { 0.0 }).collect();
                let mut found = vec![0.0; padded(m)];
                inverse.times(arch, &image(&edges, m, &v), &mut found);
                for (a, b) in centred(&found, m).iter().zip(centred(&v, m)) {
                    assert!((a - b).abs() < 1e-12, "{arch:?} {m}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn steps_mend_a_wrong_inverse() {
        let m = 16;
        let (edges, s) = graph(m);
        for arch in paths() {
            let (mut factor, mut inverse) = (Laplacian::default(), Inverse::default());
            let wide = padded(m);
            let pair = |i: usize| (i / wide).max(i % wide) * wide + (i / wide).min(i % wide);
            let others: Vec<f64> =
                edges.iter().enumerate().map(|(i, e)| e * (1.5 + (pair(i) as f64).sin())).collect();
            factor.edges(s.len()).copy_from_slice(&others);
            factor.factorise(arch, &s);
            inverse.of(arch, m, &mut factor);
            // Steps of full length towards a solution: H takes every image to its step, and the error falls ever faster.
            let v: Vec<f64> = (0..m).map(|j| (2.0 * j as f64).cos()).collect();
            let mut residual = image(&edges, m, &v);
            let (mut step, mut back) = (vec![0.0; m], vec![0.0; m]);
            let size = |r: &[f64]| r.iter().fold(0.0, |w: f64, r| w.max(r.abs()));
            let first = size(&residual);
            for _ in 0..24 {
                inverse.times(arch, &residual, &mut step);
                let y = image(&edges, m, &step);
                residual.iter_mut().zip(&y).for_each(|(r, y)| *r -= y);
                inverse.learn(arch, &step, &y);
                inverse.times(arch, &y, &mut back);
                for (a, b) in centred(&back, m).iter().zip(centred(&step, m)) {
                    assert!((a - b).abs() <= 1e-9 * (size(&step) + 1e-6), "{arch:?}: {a} {b}");
                }
            }
            assert!(size(&residual) < 1e-8 * first, "{arch:?}: {} of {first}", size(&residual));
            // Kept in single precision it is the same to its digits.
            let mut kept = vec![0.0f32; m * m];
            inverse.keep(m, &mut kept);
            let mut again = Inverse::default();
            again.recall(m, &kept);
            inverse.times(arch, &v, &mut step);
            again.times(arch, &v, &mut back);
            assert!(step.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-5 * size(&step)));
        }
    }

    #[test]
    fn a_step_without_an_image_teaches_nothing() {
        let (edges, s) = graph(4);
        let (mut factor, mut inverse) = (Laplacian::default(), Inverse::default());
        factor.edges(s.len()).copy_from_slice(&edges);
        factor.factorise(Arch::new(), &s);
        inverse.of(Arch::new(), 4, &mut factor);
        let before = inverse.h.clone();
        inverse.learn(Arch::new(), &[0.0; 8], &[0.0; 8]);
        inverse.learn(Arch::new(), &[1.0; 8], &[-1.0; 8]);
        inverse.learn(Arch::new(), &[1.0; 8], &[f64::NAN; 8]);
        assert_eq!(before, inverse.h);
    }
}
