//! Magnitudes under Ψ = I: row and column factors after which every line carries the same energy.
//!
//! For Ψ₁ = I, Ψ₂ = I the problem of z* (`balance`) is Sinkhorn's: with energies `E = T ∘ T`, find
//! ρ, γ > 0 such that
//!
//! ```text
//! ρᵢ Σⱼ Eᵢⱼ γⱼ = m,   γⱼ Σᵢ Eᵢⱼ ρᵢ = n,      Zᵢⱼ = √ρᵢ Tᵢⱼ √γⱼ
//! ```
//!
//! so that ‖row of Z‖² = m and ‖column of Z‖² = n. Multiplying rows and columns of T beforehand changes
//! ρ and γ and not Z: multiplicative noise is removed exactly. One sweep costs O(non-zeros).
//!
//! Where T has zeros, ρ and γ need not exist: a word used in two documents only, which use no other
//! word, can be scaled without end. The energies of such a table therefore get a floor of rank one,
//! `E + ε (E 1)(1ᵀ E) / 1ᵀE1`, with which they always do (every entry is positive). On tables for which
//! both exist ε = 0.01 changes little; Z's line energies then fall short of m and n by the floor's part.

use ndarray::Array1;

use crate::data::Csr;
use crate::error::{Error, Result};
use crate::linalg::randomized::{Operator, SparseShifted};

/// Deviation of a row sum at which the scaling ends.
const BALANCED: f64 = 1e-11;
/// Deviation that is still good enough when the sweeps run out.
const ACCEPTED: f64 = 1e-4;
/// Most sweeps; where convergence is slowest the deviation falls as one over twice their number.
const SWEEPS: usize = 10_000;
/// ε, the share of the floor in the energies of a table with zeros.
pub const FLOOR: f64 = 0.01;

/// √ρ (n) and √γ (m).
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Factors of the rows.
    pub rows: Vec<f64>,
    /// Factors of the columns.
    pub columns: Vec<f64>,
}

impl Scaling {
    /// `diag(rows) T diag(columns)`.
    pub fn apply(&self, t: &Csr) -> Csr {
        t.map_at(|i, j, v| self.rows[i] * v * self.columns[j])
    }
}

/// The floor's factors: ε E1 / 1ᵀE1 (n) and Eᵀ1 (m); zero where T has no zero.
pub fn floor(t: &Csr) -> [Vec<f64>; 2] {
    let (n, m) = t.shape();
    let (mut rows, mut columns) = (vec![0.0; n], vec![0.0; m]);
    if t.nnz() == n * m {
        return [rows, columns];
    }
    for (i, j, v) in t.entries() {
        rows[i] += v * v;
        columns[j] += v * v;
    }
    let total: f64 = rows.iter().sum();
    rows.iter_mut().for_each(|r| *r *= FLOOR / total);
    [rows, columns]
}

/// The table in a unit in which its largest value is near 1. Squares of very large or small values leave the
/// range of doubles; a power of two changes no digit.
pub fn in_units(t: Csr) -> Csr {
    let largest = t.values().iter().fold(0.0f64, |l, v| l.max(v.abs()));
    let unit = 2f64.powi(-(largest.log2().floor() as i32).clamp(-1000, 1000));
    t.map(|v| v * unit)
}

/// Scaling of a table named `what`, with the floor where it has zeros.
///
/// # Errors
/// [`Error::Line`] naming the rows that cannot be brought to the energy of the others.
pub fn of_table(t: &Csr, what: &str) -> Result<Scaling> {
    let [rows, columns] = floor(t);
    let Sinkhorn { scaling, off } = sinkhorn(&SparseShifted::new(t.map(|v| v * v), rows, columns));
    let bad = |i: &usize| off[*i].is_nan() || off[*i] > ACCEPTED || !scaling.rows[*i].is_normal();
    let mut at: Vec<usize> = (0..off.len()).filter(bad).collect();
    if at.is_empty() && !scaling.columns.iter().all(|c| c.is_normal()) {
        at = (0..off.len()).collect();
    }
    if at.is_empty() {
        return Ok(scaling);
    }
    Err(Error::Line {
        what: what.to_owned(),
        axis: "row",
        at,
        problem: "cannot be scaled to the energy of the others",
        hint: "leave out features seen in few observations, or use `--set rank=full`".into(),
    })
}

/// Where the sweeps ended.
struct Sinkhorn {
    scaling: Scaling,
    /// Deviation of each row sum.
    off: Vec<f64>,
}

/// Scaling of energies given as a sparse matrix plus one of rank one; every entry is 0 or larger.
fn sinkhorn(energies: &SparseShifted) -> Sinkhorn {
    let (n, m) = energies.shape();
    let mut rho = vec![1.0; n];
    let mut off = vec![f64::INFINITY; n];
    for _ in 0..SWEEPS {
        // γ := n / Eᵀρ, after which the columns hold; ρ := m / Eγ.
        let gamma: Vec<f64> = energies.transposed_times(&rho).into_iter().map(|sum| n as f64 / sum).collect();
        let next: Vec<f64> = energies.times(&gamma).into_iter().map(|sum| m as f64 / sum).collect();
        off = next.iter().zip(&rho).map(|(a, b)| (a / b - 1.0).abs()).collect();
        rho = next;
        if off.iter().all(|o| *o < BALANCED) || off.iter().any(|o| o.is_nan()) {
            break;
        }
    }
    let gamma = energies.transposed_times(&rho).into_iter().map(|sum| (n as f64 / sum).sqrt()).collect();
    Sinkhorn { scaling: Scaling { rows: rho.into_iter().map(f64::sqrt).collect(), columns: gamma }, off }
}

/// `R = Z − σ u vᵀ`, with its lines scaled to equal energies again: what is left of a table when its
/// first component is taken out.
/// `None` where nothing is left. The scaling is as good as the sweeps make it: it serves a judgement, and
/// where lines cannot be made equal, the closest there is will do.
pub fn residual(z: &Csr, sigma: f64, u: &Array1<f64>, v: &Array1<f64>) -> Option<SparseShifted> {
    let (n, m) = z.shape();
    let plain = SparseShifted::new(z.clone(), u.iter().map(|u| -sigma * u).collect(), v.to_vec());
    // ‖Z‖² is about nm; what cancels to less than this of it is rounding.
    if plain.energy() <= 1e-10 * (n * m) as f64 {
        return None;
    }
    // (z − σuv)² = z² − 2σzuv on the pattern, plus σ²u²v² everywhere. The floor keeps a line that the
    // component explains whole from being scaled without end.
    let energy = z.map_at(|i, j, z| z * z - 2.0 * sigma * z * u[i] * v[j]);
    let of = |w: &Array1<f64>, c: f64| -> Vec<f64> { w.iter().map(|w| c * w * w).collect() };
    let tiny = 1e-9;
    let left: Vec<f64> = of(u, sigma * sigma).into_iter().map(|l| l + tiny).collect();
    let right: Vec<f64> = of(v, 1.0).into_iter().map(|r| r + tiny).collect();
    let Scaling { rows, columns } = sinkhorn(&SparseShifted::new(energy, left, right)).scaling;
    if !rows.iter().chain(&columns).all(|f| f.is_normal()) {
        return Some(plain);
    }
    let scaled = z.map_at(|i, j, z| rows[i] * z * columns[j]);
    let left = u.iter().zip(&rows).map(|(u, r)| -sigma * u * r).collect();
    let right = v.iter().zip(&columns).map(|(v, c)| v * c).collect();
    Some(SparseShifted::new(scaled, left, right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::linalg::sparse_svd::leading_triplets;
    use ndarray::Array2;
    use rand::RngExt;

    fn table(n: usize, m: usize, filled: f64) -> Csr {
        let mut rng = Seed(2).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_simple_fn((n, m), || {
            let (keep, v) = (rng.random::<f64>() < filled, rng.random::<f64>() + 0.1);
            if keep { v } else { 0.0 }
        });
        Csr::from_dense(x.view())
    }

    #[test]
    fn lines_have_equal_energy_and_magnitudes_do_not_matter() {
        let t = table(30, 45, 1.0);
        let z = of_table(&t, "X").unwrap().apply(&t).to_dense();
        for (axis, energy) in [(1, 45.0), (0, 30.0)] {
            let sums = (&z * &z).sum_axis(ndarray::Axis(axis));
            assert!(sums.iter().all(|s| (s / energy - 1.0).abs() < 1e-9));
        }
        let noisy = t.map_at(|i, j, v| v * ((i as f64).sin() * 3.0).exp() * (0.1 + j as f64));
        let again = of_table(&noisy, "X").unwrap().apply(&noisy).to_dense();
        assert!((&again - &z).iter().all(|d| d.abs() < 1e-9));
    }

    #[test]
    fn a_pattern_without_a_scaling_gets_one_by_the_floor() {
        // Row 0 meets column 0 only, row 1 meets columns 0 and 1: no exact scaling exists.
        let t = Csr::from_triplets((2, 2), vec![(0, 0, 1.0), (1, 0, 2.0), (1, 1, 1.0)]);
        let exact = sinkhorn(&SparseShifted::plain(t.map(|v| v * v)));
        let range =
            |f: &[f64]| f.iter().fold(0.0f64, |m, v| m.max(*v)) / f.iter().fold(f64::MAX, |m, v| m.min(*v));
        assert!(range(&exact.scaling.rows) > 10.0 * range(&of_table(&t, "X").unwrap().rows));
        let s = of_table(&t, "X").unwrap();
        assert!(s.rows.iter().chain(&s.columns).all(|v| v.is_finite() && *v > 0.0));
    }

    #[test]
    fn the_unit_of_the_table_does_not_matter_and_a_product_leaves_nothing() {
        let t = table(12, 9, 0.7);
        let z = of_table(&t, "X").unwrap().apply(&t).to_dense();
        for unit in [1e-290, 1e290] {
            let far = in_units(t.map(|v| v * unit));
            let again = of_table(&far, "X").unwrap().apply(&far).to_dense();
            assert!((&again - &z).iter().all(|d| d.abs() < 1e-9));
        }
        let product =
            Csr::from_dense(Array2::from_shape_fn((6, 5), |(i, j)| (i + 1) as f64 * (j + 2) as f64).view());
        let z = of_table(&product, "X").unwrap().apply(&product);
        let first = leading_triplets(&SparseShifted::plain(z.clone()), 1, Seed(0)).unwrap().svd;
        assert!(
            residual(&z, first.s[0], &first.u.column(0).to_owned(), &first.v.column(0).to_owned()).is_none()
        );
    }

    #[test]
    fn the_residual_is_the_dense_one() {
        let t = table(25, 40, 0.4);
        let z = of_table(&t, "X").unwrap().apply(&t);
        let first = leading_triplets(&SparseShifted::plain(z.clone()), 1, Seed(0)).unwrap().svd;
        let (u, v) = (first.u.column(0).to_owned(), first.v.column(0).to_owned());
        let r = residual(&z, first.s[0], &u, &v).unwrap();
        let gram = r.gram();
        // All entries of the plain residual differ from zero, so its own scaling has no floor.
        let dense = Csr::from_dense(
            (Array2::from_shape_fn((25, 40), |(i, j)| -first.s[0] * u[i] * v[j]) + z.to_dense()).view(),
        );
        let twin = of_table(&dense, "X").unwrap().apply(&dense).to_dense();
        assert!((twin.dot(&twin.t()) - gram).iter().all(|d| d.abs() < 1e-5));
    }
}
