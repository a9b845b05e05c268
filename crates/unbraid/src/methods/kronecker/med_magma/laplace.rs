//! Corrections of the expected Gram matrices for the spread of z around z*.
//!
//! The expected statistic of EM is `E[ZZᵀ]` over the magnitudes, of which z* gives the plug-in ZZᵀ. The
//! paper adds a Laplace term ½ tr[…]; its authors' code subtracts it; neither is a good approximation
//! (the tangent of {uᵢ + vⱼ} is taken in z-space instead of z∘(uᵢ + vⱼ)), and to leading order the
//! term is a constant on all off-diagonals that favours one sign of edges. [`Laplace::None`] is the
//! default for that reason, [`Laplace::LogCoord`] is the expansion in the right coordinates.
//!
//! **Closed form of the published term.** With P the row and column sums, G = P Ω Pᵀ has blocks
//!
//! ```text
//! A = m Ψ₁ + σ₂ I,  B = n Ψ₂ + σ₁ I,  K = α1ᵀ + 1βᵀ,   α = Ψ₁1, β = Ψ₂1, σ₁ = 1ᵀα, σ₂ = 1ᵀβ
//! G⁻ = [[L, K̃], [K̃ᵀ, M]]
//! C₁ = 2 tr(M) 11ᵀ + 2m L + 2(k₁1ᵀ + 1k₁ᵀ),  k₁ = K̃1;    C₂ likewise
//! ```
//!
//! A and B are functions of Ψ₁ and Ψ₂, and G differs from blockdiag(A, B) by rank 4, so L is a function
//! of Ψ₁ plus rank 2 and no inverse is formed: O(n² + m²) once eigenvectors are known.
//!
//! **Log-coordinates.** zᵢⱼ = z*ᵢⱼ exp(uᵢ + vⱼ), scaled so that z*ᵀΩz* = nm; the Hessian of ½zᵀΩz in
//! (u, v) is that of the balance problem ([`super::balance`]); with Σ its pseudo-inverse on
//! Σu = Σv = 0, to first order
//!
//! ```text
//! E[ZZᵀ]ₐᵦ = Σⱼ zₐⱼ zᵦⱼ exp ½Var(uₐ + uᵦ + 2vⱼ)
//!          = exp(½Σᵤₐᵤₐ + ½Σᵤᵦᵤᵦ + Σᵤₐᵤᵦ) Σⱼ (zₐⱼ e^{2Σᵤₐᵥⱼ}) e^{2Σᵥⱼᵥⱼ} (zᵦⱼ e^{2Σᵤᵦᵥⱼ})
//! ```

use ndarray::{Array2, ArrayView2, Axis, s};

use super::balance::Curvature;
use crate::error::{Error, Result};
use crate::linalg::{self, Eigen};

/// Which correction is applied to the expected Gram matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laplace {
    /// S = ZZᵀ.
    None,
    /// S = ZZᵀ − C/2, as the authors' code has it.
    Code,
    /// S = ZZᵀ + C/2, as the paper's text has it.
    Paper,
    /// First-order expansion in log-coordinates.
    LogCoord,
}

crate::words!(
    Laplace,
    "a Laplace term",
    None = "none",
    Code = "code",
    Paper = "paper",
    LogCoord = "logcoord"
);

/// What a term needs of one axis: eigenvectors, eigenvalues and their sums against 1.
struct Side<'a> {
    eigen: &'a Eigen,
    /// Vᵀ1.
    q: Vec<f64>,
    /// 1ᵀΨ1.
    sigma: f64,
}

impl<'a> Side<'a> {
    fn new(eigen: &'a Eigen) -> Side<'a> {
        let q = eigen.vectors.sum_axis(Axis(0)).to_vec();
        let sigma = eigen.values.iter().zip(&q).map(|(a, q)| a * q * q).sum();
        Side { eigen, q, sigma }
    }
}

/// C₁/2 and C₂/2 of the published term from the eigendecompositions of Ψ₁ and Ψ₂.
pub fn published(psi: [&Eigen; 2]) -> [Array2<f64>; 2] {
    let sides = psi.map(Side::new);
    let size = psi.map(|e| e.values.len() as f64);
    let total = [sides[0].sigma, sides[1].sigma];
    // Axis k: eigenvalues of A⁻¹, and the vectors A⁻¹1 and A⁻¹α.
    let inverse = [0, 1].map(|k| -> Vec<f64> {
        psi[k].values.iter().map(|a| 1.0 / (size[1 - k] * a + total[1 - k])).collect()
    });
    let basis = [0, 1].map(|k| {
        let wq: Vec<f64> = inverse[k].iter().zip(&sides[k].q).map(|(w, q)| w * q).collect();
        let p = sides[k].eigen.vectors.dot(&ndarray::aview1(&wq));
        let h = p.mapv(|p| (1.0 - total[1 - k] * p) / size[1 - k]);
        ndarray::stack![Axis(1), p, h]
    });
    // [1 α]ᵀ A⁻¹ [1 α], in the eigenbasis.
    let inner = [0, 1].map(|k| {
        let mut g = [[0.0; 2]; 2];
        for ((w, q), a) in inverse[k].iter().zip(&sides[k].q).zip(&psi[k].values) {
            let t = w * q * q;
            g[0][0] += t;
            g[0][1] += t * a;
            g[1][1] += t * a * a;
        }
        g[1][0] = g[0][1];
        g
    });
    // G = diag(A, B) + U N Uᵀ with a multiple τ of its null direction added, which no trace sees.
    let tau = (total[0] + total[1]) / (size[0] * size[1]);
    let n = [[tau, 0.0, -tau, 1.0], [0.0, 0.0, 1.0, 0.0], [-tau, 1.0, tau, 0.0], [1.0, 0.0, 0.0, 0.0]];
    let mut core = inverse4(n);
    for k in 0..2 {
        for a in 0..2 {
            for b in 0..2 {
                core[2 * k + a][2 * k + b] += inner[k][a][b];
            }
        }
    }
    let t = inverse4(core);
    let block = |a: usize, b: usize| ndarray::arr2(&[[t[a][b], t[a][b + 1]], [t[a + 1][b], t[a + 1][b + 1]]]);
    // tr L = Σ w − tr(T₁₁ P₁ᵀP₁)
    let trace = [0, 1].map(|k| {
        let spread = block(2 * k, 2 * k).dot(&basis[k].t().dot(&basis[k]));
        inverse[k].iter().sum::<f64>() - spread.diag().sum()
    });
    [0, 1].map(|k| {
        let other = 1 - k;
        let ones = basis[other].sum_axis(Axis(0));
        let cross = (-basis[k].dot(&block(2 * k, 2 * other).dot(&ones))).to_vec();
        let mut half = psi[k].recompose(&inverse[k]);
        let low = basis[k].dot(&block(2 * k, 2 * k));
        let (p, h) = (basis[k].column(0).to_vec(), basis[k].column(1).to_vec());
        let scale = size[other];
        linalg::settle();
        for ((mut row, low), own) in half.rows_mut().into_iter().zip(low.rows()).zip(&cross) {
            let (first, second, shift) = (scale * low[0], scale * low[1], trace[other] + own);
            let row = row.as_slice_mut().expect("row-major");
            for j in 0..row.len() {
                row[j] = scale * row[j] - first * p[j] - second * h[j] + shift + cross[j];
            }
        }
        half
    })
}

/// Inverse of a 4 × 4 matrix by Gauss–Jordan elimination with row pivoting.
fn inverse4(a: [[f64; 4]; 4]) -> [[f64; 4]; 4] {
    let mut m = [[0.0; 8]; 4];
    for i in 0..4 {
        m[i][..4].copy_from_slice(&a[i]);
        m[i][4 + i] = 1.0;
    }
    for c in 0..4 {
        let pivot = (c..4).max_by(|&i, &j| m[i][c].abs().total_cmp(&m[j][c].abs())).unwrap_or(c);
        m.swap(c, pivot);
        let p = m[c][c];
        m[c].iter_mut().for_each(|v| *v /= p);
        for i in (0..4).filter(|&i| i != c) {
            let f = m[i][c];
            for j in 0..8 {
                m[i][j] -= f * m[c][j];
            }
        }
    }
    [0, 1, 2, 3].map(|i| [m[i][4], m[i][5], m[i][6], m[i][7]])
}

/// `E[ZZᵀ]` and `E[ZᵀZ]` to first order in log-coordinates, in the units of `z`.
///
/// `curvature` is the Hessian at the same point, scaled so that zᵀΩz = nm. O((n + m)³).
///
/// # Errors
/// [`Error::Numeric`] where the Hessian is not positive definite on the free directions.
pub fn log_coordinates(z: ArrayView2<'_, f64>, curvature: &Curvature) -> Result<[Array2<f64>; 2]> {
    let n = z.nrows();
    let sigma = spread(curvature)?;
    let (uu, uv, vv) = (sigma.slice(s![..n, ..n]), sigma.slice(s![..n, n..]), sigma.slice(s![n.., n..]));
    let one = |z: ArrayView2<'_, f64>,
               own: ArrayView2<'_, f64>,
               cross: ArrayView2<'_, f64>,
               other: ArrayView2<'_, f64>| {
        let tilted = &z * &cross.mapv(|c| (2.0 * c).exp());
        let weighted = &tilted * &other.diag().mapv(|v| (2.0 * v).exp());
        let mut s = linalg::symmetric_product(weighted.view(), tilted.t());
        let d = own.diag();
        ndarray::Zip::indexed(&mut s)
            .and(&own)
            .for_each(|(a, b), s, c| *s *= (0.5 * (d[a] + d[b]) + c).exp());
        s
    };
    Ok([one(z, uu, uv, vv), one(z.t(), vv, uv.t(), uu)])
}

/// Σ: the inverse of the Hessian on Σu = Σv = 0, zero across it.
fn spread(curvature: &Curvature) -> Result<Array2<f64>> {
    let h = curvature.dense();
    let (n, total) = (curvature.rows(), h.nrows());
    // With J the two normalised all-ones directions, (H' + cJ)⁻¹ − J/c is the pseudo-inverse of the
    // projected Hessian H' = (I − J)H(I − J).
    let m = total - n;
    let centre = |a: &mut Array2<f64>| {
        for (from, to) in [(0, n), (n, total)] {
            let mean = a.slice(s![from..to, ..]).mean_axis(Axis(0)).expect("both axes have entries");
            a.slice_mut(s![from..to, ..]).rows_mut().into_iter().for_each(|mut r| r -= &mean);
        }
    };
    let mut projected = h;
    centre(&mut projected);
    let mut projected = projected.reversed_axes().as_standard_layout().into_owned();
    centre(&mut projected);
    let c = projected.diag().sum() / total as f64;
    projected.slice_mut(s![..n, ..n]).mapv_inplace(|v| v + c / n as f64);
    projected.slice_mut(s![n.., n..]).mapv_inplace(|v| v + c / m as f64);
    let eigen = linalg::eigh(projected.view())?;
    if eigen.values[0] <= 1e-12 * c {
        let why = "the Hessian in log-coordinates is not positive definite; use `--set laplace=none`".into();
        return Err(Error::Numeric { what: "the log-coordinate Laplace term", why });
    }
    let mut sigma = eigen.recompose(&eigen.values.iter().map(|v| 1.0 / v).collect::<Vec<_>>());
    sigma.slice_mut(s![..n, ..n]).mapv_inplace(|v| v - 1.0 / (c * n as f64));
    sigma.slice_mut(s![n.., n..]).mapv_inplace(|v| v - 1.0 / (c * m as f64));
    Ok(sigma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand_distr::{Distribution, StandardNormal};

    fn random_precision(n: usize, seed: u64) -> Array2<f64> {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        let a = Array2::from_shape_simple_fn((n, n), || -> f64 { StandardNormal.sample(&mut rng) });
        linalg::gram(a.view()) / n as f64 + 0.3 * Array2::eye(n)
    }

    fn kron(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
        let (p, q) = (b.nrows(), b.ncols());
        Array2::from_shape_fn((a.nrows() * p, a.ncols() * q), |(i, j)| a[[i / p, j / q]] * b[[i % p, j % q]])
    }

    /// The definition with explicit Kronecker matrices and a general inverse of G.
    fn brute(psi: [&Array2<f64>; 2]) -> [Array2<f64>; 2] {
        let (n, m) = (psi[0].nrows(), psi[1].nrows());
        // vec stacks columns: index i + n j.
        let omega = kron(psi[1], &Array2::eye(n)) + kron(&Array2::eye(m), psi[0]);
        let rows = kron(&Array2::ones((1, m)), &Array2::eye(n));
        let cols = kron(&Array2::eye(m), &Array2::ones((1, n)));
        let p = ndarray::concatenate![Axis(0), rows, cols];
        let g = p.dot(&omega).dot(&p.t());
        let e = linalg::eigh(g.view()).unwrap();
        let f: Vec<f64> = e.values.iter().map(|v| if *v > 1e-9 { 1.0 / v } else { 0.0 }).collect();
        let back = p.t().dot(&e.recompose(&f)).dot(&p);
        let pair = |size: usize, a: usize, b: usize| {
            let mut j = Array2::zeros((size, size));
            j[[a, b]] += 1.0;
            j[[b, a]] += 1.0;
            j
        };
        let trace = |h: Array2<f64>| (&h * &back).sum();
        [
            Array2::from_shape_fn((n, n), |(a, b)| trace(kron(&Array2::eye(m), &pair(n, a, b)))),
            Array2::from_shape_fn((m, m), |(a, b)| trace(kron(&pair(m, a, b), &Array2::eye(n)))),
        ]
    }

    #[test]
    fn the_closed_form_is_the_definition() {
        for (n, m) in [(3, 4), (5, 5), (7, 4), (2, 6)] {
            let (p1, p2) = (random_precision(n, 1), random_precision(m, 2));
            let e = [linalg::eigh(p1.view()).unwrap(), linalg::eigh(p2.view()).unwrap()];
            let fast = published([&e[0], &e[1]]);
            let slow = brute([&p1, &p2]);
            for k in 0..2 {
                let largest = slow[k].iter().fold(0.0f64, |a, v| a.max(v.abs()));
                let gap = (2.0 * &fast[k] - &slow[k]).iter().fold(0.0f64, |a, v| a.max(v.abs()));
                assert!(gap < 1e-11 * largest, "{n} × {m}, axis {k}: {gap:e}");
            }
            let sum = 2.0 * ((&fast[0] * &p1).sum() + (&fast[1] * &p2).sum());
            assert!(
                (sum - 2.0 * (n + m - 1) as f64).abs() < 1e-10,
                "⟨C₁,Ψ₁⟩ + ⟨C₂,Ψ₂⟩ = 2(n + m − 1): {sum}"
            );
        }
    }
}
