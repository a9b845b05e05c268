//! Passes over the table of one row: n samples by m targets, in blocks of [`BLOCK`] samples.
//!
//! A block holds its m columns one after another, so that a pass streams through memory and a block stays in the
//! nearest cache. Samples are padded to a multiple of [`PAD`] with weight 0. Vectors run over samples, and every
//! pass is written once for any number of lanes up to [`PAD`]; the processor chooses the width when the program
//! runs (AVX-512, AVX2 with FMA, or portable code). Sums over samples are added lane by lane, so that results differ in
//! their last bits between instruction sets; on one of them they depend on nothing but the input.

use pulp::Simd;

/// Calls a body for 8, 4, 2 and 1 vectors of a block.
macro_rules! groups {
    ($lanes:expr, $at:ident, $eight:expr, $four:expr, $two:expr, $one:expr) => {
        let mut $at = 0;
        while $at + 8 <= $lanes {
            $eight;
            $at += 8;
        }
        while $at + 4 <= $lanes {
            $four;
            $at += 4;
        }
        if $at + 2 <= $lanes {
            $two;
            $at += 2;
        }
        while $at < $lanes {
            $one;
            $at += 1;
        }
    };
}

mod exp;
mod hankel;
mod jacobian;
mod plan;
mod squash;
mod table;

pub use exp::Exp;
pub use hankel::Hankel;
pub use jacobian::{Pull, Push, Transport};
pub use plan::{Carry, Edges, Excess, Marginals, sums};
pub use squash::{Centre, Logistic, Spread, Total, Unsquash};
pub use table::{Direct, Factors, Powers};

/// Samples per block.
pub const BLOCK: usize = 128;
/// Samples are padded to a multiple of this: the widest vector.
pub const PAD: usize = 8;

/// Width of the tables with a column for each target: whole vectors.
pub fn padded(m: usize) -> usize {
    m.next_multiple_of(PAD)
}

#[inline(always)]
pub fn fused<S: Simd>(a: f64, b: f64, c: f64) -> f64 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// Σ f(i) over `count` vectors, in four partial sums.
#[inline(always)]
fn sum_of<S: Simd>(simd: S, count: usize, f: impl Fn(usize) -> S::f64s) -> f64 {
    let mut sums = [simd.splat_f64s(0.0); 4];
    let mut i = 0;
    while i + 4 <= count {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = simd.add_f64s(*sum, f(i + k));
        }
        i += 4;
    }
    for i in i..count {
        sums[0] = simd.add_f64s(sums[0], f(i));
    }
    let [a, b, c, d] = sums;
    simd.reduce_sum_f64s(simd.add_f64s(simd.add_f64s(a, b), simd.add_f64s(c, d)))
}

/// Σ_j c_j p_ij of G vectors of samples from the i-th on.
#[inline(always)]
fn combine<S: Simd, const G: usize>(
    simd: S,
    block: &[S::f64s],
    lanes: usize,
    c: &[f64],
    i: usize,
) -> [S::f64s; G] {
    let mut sums = [simd.splat_f64s(0.0); G];
    for (column, &c) in block.chunks_exact(lanes).zip(c) {
        let c = simd.splat_f64s(c);
        for (sum, p) in sums.iter_mut().zip(&column[i..i + G]) {
            *sum = simd.mul_add_e_f64s(c, *p, *sum);
        }
    }
    sums
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use pulp::Arch;

    /// The widest vectors of this machine, and portable code.
    pub(in crate::soft) fn paths() -> [Arch; 2] {
        [Arch::new(), Arch::Scalar]
    }

    #[test]
    fn passes_agree_with_plain_sums() {
        for (n, m) in [(1, 1), (7, 2), (129, 3), (80, 5), (300, 16), (61, 21), (40, 33)] {
            let at = |i: usize| (0.37 * i as f64).sin();
            let padded_n = usize::next_multiple_of(n, PAD);
            let x: Vec<f64> = (0..padded_n).map(|i| 0.5 + 0.5 * at(i)).collect();
            let v: Vec<f64> = (0..m).map(|j| 1.0 + 0.5 * at(3 * j + 1)).collect();
            let weight = |i: usize| if i < n { (1.5 + at(5 * i)) / n as f64 } else { 0.0 };
            let a: Vec<f64> = (0..padded_n).map(weight).collect();
            let root: Vec<f64> = a.iter().map(|a| a.sqrt()).collect();
            // The slow twin: W from powf, sums one after another.
            let rate = 3.0;
            let p =
                |i: usize, j: usize| v[j] * (rate * (x[i] - 0.4) * (j as f64 - 0.5 * (m - 1) as f64)).exp();
            let total = |i: usize| (0..m).map(|j| p(i, j)).sum::<f64>();
            let w = |i: usize, j: usize| p(i, j) / total(i);
            for arch in paths() {
                let mut table = vec![0.0; padded_n * m];
                arch.dispatch(Powers { x: &x, centre: 0.4, rate, m, table: &mut table });
                let (mut inverse, mut s) = (vec![0.0; padded_n], vec![0.0; m]);
                let mut scratch = vec![f64::NAN; (padded(m) + 1) * BLOCK];
                arch.dispatch(Marginals {
                    table: &table,
                    v: &v,
                    a: &a,
                    inverse: &mut inverse,
                    s: &mut s,
                    scratch: &mut scratch,
                });
                for j in 0..m {
                    let twin: f64 = (0..n).map(|i| a[i] * w(i, j)).sum();
                    assert!((s[j] - twin).abs() <= 1e-13 * twin, "{arch:?} {n} {m}: {} {twin}", s[j]);
                }
                let z = |j: usize| (1.1 * j as f64).cos();
                let vz: Vec<f64> = (0..m).map(|j| v[j] * z(j)).collect();
                let mut carried = vec![f64::NAN; m];
                arch.dispatch(Carry {
                    table: &table,
                    v: &v,
                    a: &a,
                    inverse: &inverse,
                    vz: &vz,
                    out: &mut carried,
                    scratch: &mut scratch,
                });
                for j in 0..m {
                    let mean = |i: usize| (0..m).map(|k| w(i, k) * z(k)).sum::<f64>();
                    let twin: f64 = (0..n).map(|i| a[i] * w(i, j) * mean(i)).sum();
                    assert!(
                        (carried[j] - twin).abs() <= 1e-13 * s[j],
                        "{arch:?} {n} {m}: {} {twin}",
                        carried[j]
                    );
                }
                let wide = padded(m);
                let (mut edges, mut same) = (vec![0.0; wide * wide], vec![0.0; wide * wide]);
                arch.dispatch(Edges {
                    table: &table,
                    v: &v,
                    root: &root,
                    inverse: &inverse,
                    edges: &mut edges,
                    scratch: &mut scratch,
                    sums: &mut vec![0.0; sums(m)],
                });
                arch.dispatch(Hankel {
                    table: &table,
                    v: &v,
                    root: &root,
                    inverse: &inverse,
                    edges: &mut same,
                    scratch: &mut scratch,
                });
                for (j, k) in (0..m).flat_map(|j| (0..m).map(move |k| (j, k))).filter(|(j, k)| j != k) {
                    let twin: f64 = (0..n).map(|i| a[i] * w(i, j) * w(i, k)).sum();
                    for found in [edges[j * wide + k], same[j * wide + k]] {
                        assert!(
                            (found - twin).abs() <= 1e-13 * twin,
                            "{arch:?} {n} {m} {j} {k}: {found} {twin}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn excess_and_factors_agree_with_plain_ones() {
        for m in [1, 2, 7, 8, 16, 21] {
            let at = |f: f64| (0..m).map(move |j| 1.5 + (f * j as f64).sin()).collect::<Vec<f64>>();
            let (mut s, b, g, y) = (at(1.3), at(0.7), at(2.9), at(0.1));
            let logit = |j: usize| (g[j] - y[j] * y[j] + 2.0 * 0.4 * y[j]) * 3.0;
            let (low, high) = (0..m).map(logit).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
            for arch in paths() {
                let twin = s.iter().zip(&b).map(|(s, b)| (s - b).abs() / b).fold(0.0, f64::max);
                assert_eq!(arch.dispatch(Excess { s: &s, b: &b }), twin, "{arch:?} {m}");
                let mut v = vec![0.0; m];
                let range = arch.dispatch(Factors { g: &g, y: &y, centre: 0.4, over: 3.0, v: &mut v });
                assert!((range - (high - low)).abs() <= 1e-14 * high.abs(), "{arch:?} {m}: {range}");
                for (j, v) in v.iter().enumerate() {
                    let twin = (logit(j) - high).exp();
                    assert!((v - twin).abs() <= 1e-13 * twin, "{arch:?} {m} {j}: {v} {twin}");
                }
            }
            for bad in [f64::NAN, f64::INFINITY] {
                s[m / 2] = bad;
                assert!(paths().iter().all(|arch| arch.dispatch(Excess { s: &s, b: &b }) == f64::INFINITY));
            }
        }
    }
}
