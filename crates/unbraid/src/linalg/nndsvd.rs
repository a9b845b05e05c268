//! Non-negative factors from singular vectors, NNDSVD.
//!
//! NNDSVD: with the leading triplets X ≈ Σ_a σ_a u_a v_aᵀ, the first factor is √σ₁ |u₁|, √σ₁ |v₁|; of every later pair
//! the positive parts (u⁺, v⁺) or the negative ones (u⁻, v⁻) are kept, those with the larger μ = ‖u^±‖ ‖v^±‖:
//!
//! ```text
//! √(σ_a μ) u^± / ‖u^±‖,   √(σ_a μ) v^± / ‖v^±‖.
//! ```
//!
//! Neither the signs of a pair nor which side is called u matters. `boutsidis2008`.

use ndarray::{Array1, ArrayView1};

/// One factor from one pair of singular vectors, `first` if it is that of the largest value σ₁.
pub fn pair(
    first: bool,
    sigma: f64,
    u: ArrayView1<'_, f64>,
    v: ArrayView1<'_, f64>,
) -> (Array1<f64>, Array1<f64>) {
    if first {
        let root = sigma.sqrt();
        return (u.mapv(|u| root * u.abs()), v.mapv(|v| root * v.abs()));
    }
    let norm = |x: &Array1<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let side = |sign: f64| {
        let (u, v) = (u.mapv(|u| (sign * u).max(0.0)), v.mapv(|v| (sign * v).max(0.0)));
        let (p, q) = (norm(&u), norm(&v));
        (u, v, p, q)
    };
    let (plus, minus) = (side(1.0), side(-1.0));
    let (u, v, p, q) = if plus.2 * plus.3 > minus.2 * minus.3 { plus } else { minus };
    if p * q <= 0.0 {
        return (Array1::zeros(u.len()), Array1::zeros(v.len()));
    }
    let size = (sigma * p * q).sqrt();
    (u * (size / p), v * (size / q))
}
