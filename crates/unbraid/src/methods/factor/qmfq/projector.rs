//! The factorisation inside QMFQ as a function of its input, and the transpose of its derivative.
//!
//! Multiplicative rounds from a fixed start, L times: V by X′ and U, then U by X′ and the new V. One half of a round, for
//! the factor R beside a fixed L (X′ ≈ L R; the other half is the same on X′ᵀ ≈ Rᵀ Lᵀ):
//!
//! ```text
//! kl:         E = X′ / (L R),  N = Lᵀ E,   c = Lᵀ 1,        R⁺ = R ∘ N / c
//! frobenius:  N = Lᵀ X′,  G = Lᵀ L R,                       R⁺ = R ∘ N / G
//! ```
//!
//! and back, from R̄⁺:
//!
//! ```text
//! N̄ = R̄⁺ ∘ R / c,  R̄ = R̄⁺ ∘ N / c
//! kl:         c̄ = −(R̄⁺ ∘ R⁺) 1 / c,  Ē = L N̄,  X̄′ += Ē / (L R),  Ȳ = −Ē ∘ E / (L R),
//!             L̄ += E N̄ᵀ + 1 c̄ᵀ + Ȳ Rᵀ,  R̄ += Lᵀ Ȳ
//! frobenius:  Ḡ = −R̄⁺ ∘ R⁺ / G,  X̄′ += L N̄,  S = Lᵀ L,  R̄ += S Ḡ,  S̄ = Ḡ Rᵀ,
//!             L̄ += X′ N̄ᵀ + L (S̄ + S̄ᵀ)
//! ```
//!
//! Where M is 1 for measured entries and 0 for missing ones, every sum over entries runs over measured ones: X′ and L R
//! become M ∘ X′ and M ∘ (L R), and c = Lᵀ M has a column for each column of X′,
//!
//! ```text
//! kl:         C̄ = −R̄⁺ ∘ R⁺ / C,  L̄ += M C̄ᵀ in place of 1 c̄ᵀ
//! frobenius:  G = Lᵀ (M ∘ L R),   Ȳ = M ∘ (L Ḡ),   R̄ += Lᵀ Ȳ,   L̄ += (M ∘ L R) Ḡᵀ + Ȳ Rᵀ
//! ```
//!
//! All halves are kept: 8 (d + n) k bytes a round. The truncated singular value decomposition Π_k(X′) is the other
//! projector; its derivative is self-adjoint, so one routine is both (spec of the method, section 8).

use ndarray::{Array2, ArrayView2, Axis};

use super::super::common::{Loss, TINY};
use super::super::nmf::half;
use crate::error::Result;
use crate::linalg::{matmul, svd};

/// X′ with 0 for missing entries, and M; `None` where all are measured.
struct Masked {
    x: Array2<f64>,
    mask: Array2<f64>,
}

impl Masked {
    fn of(x: ArrayView2<'_, f64>) -> Option<Masked> {
        let seen = |v: f64| if v.is_nan() { 0.0 } else { 1.0 };
        let filled = |v: f64| if v.is_nan() { 0.0 } else { v };
        x.iter().any(|v| v.is_nan()).then(|| Masked { x: x.mapv(filled), mask: x.mapv(seen) })
    }
}

/// Cotangents of X′ (added to), L (added to) and R, from that of R⁺.
fn half_back(
    loss: Loss,
    x: ArrayView2<'_, f64>,
    mask: Option<ArrayView2<'_, f64>>,
    l: ArrayView2<'_, f64>,
    r: ArrayView2<'_, f64>,
    r_new: ArrayView2<'_, f64>,
    bar: ArrayView2<'_, f64>,
    x_bar: &mut Array2<f64>,
    l_bar: &mut Array2<f64>,
) -> Array2<f64> {
    match loss {
        Loss::Kl => {
            let mut y = matmul(l, r);
            y += TINY;
            let mut e = x.to_owned();
            e /= &y;
            let c = match mask {
                Some(mask) => matmul(l.t(), mask) + TINY,
                None => (l.sum_axis(Axis(0)) + TINY).insert_axis(Axis(1)),
            };
            let n_bar = &bar * &r / &c;
            let mut r_bar = &bar * &matmul(l.t(), e.view()) / &c;
            let mut e_bar = matmul(l, n_bar.view());
            e_bar /= &y;
            *l_bar += &matmul(e.view(), n_bar.t());
            match mask {
                Some(mask) => {
                    // E is 0 where nothing was measured, whatever X′ and Y are there.
                    e_bar *= &mask;
                    let c_bar = -(&bar * &r_new / &c);
                    *l_bar += &matmul(mask, c_bar.t());
                }
                None => *l_bar += &(-((&bar * &r_new).sum_axis(Axis(1)) / c.column(0))),
            }
            *x_bar += &e_bar;
            let y_bar = -(e_bar * &e);
            *l_bar += &matmul(y_bar.view(), r.t());
            r_bar += &matmul(l.t(), y_bar.view());
            r_bar
        }
        Loss::Frobenius => {
            let (n, s) = (matmul(l.t(), x), matmul(l.t(), l));
            let y = mask.map(|mask| matmul(l, r) * mask);
            let mut g = match &y {
                Some(y) => matmul(l.t(), y.view()),
                None => matmul(s.view(), r),
            };
            g += TINY;
            let n_bar = &bar * &r / &g;
            let g_bar = -(&bar * &r_new / &g);
            let mut r_bar = &bar * &n / &g;
            let mut from_n = matmul(l, n_bar.view());
            *l_bar += &matmul(x, n_bar.t());
            if let (Some(mask), Some(y)) = (mask, y) {
                from_n *= &mask;
                *x_bar += &from_n;
                let y_bar = matmul(l, g_bar.view()) * mask;
                r_bar += &matmul(l.t(), y_bar.view());
                *l_bar += &matmul(y.view(), g_bar.t());
                *l_bar += &matmul(y_bar.view(), r.t());
                return r_bar;
            }
            *x_bar += &from_n;
            r_bar += &matmul(s.view(), g_bar.view());
            let s_bar = matmul(g_bar.view(), r.t());
            let both = &s_bar + &s_bar.t();
            *l_bar += &matmul(l, both.view());
            r_bar
        }
    }
}

/// Multiplicative rounds with everything that the way back needs.
pub struct Rounds {
    loss: Loss,
    /// U and V before the first round and after each.
    course: Vec<(Array2<f64>, Array2<f64>)>,
}

impl Rounds {
    /// `rounds` rounds on X′ (d × n, NaN = missing) from U (d × k) and V (k × n).
    pub fn run(loss: Loss, x: ArrayView2<'_, f64>, u: Array2<f64>, v: Array2<f64>, rounds: usize) -> Rounds {
        let masked = Masked::of(x);
        let (x, mask) = masked.as_ref().map_or((x, None), |m| (m.x.view(), Some(m.mask.view())));
        let mut course = vec![(u, v)];
        for at in 0..rounds {
            let (u, v) = &course[at];
            let v = half(loss, x, mask, u.view(), v.view());
            // Uᵀ from X′ᵀ ≈ Vᵀ Uᵀ
            let u = half(loss, x.t(), mask.map(|m| m.reversed_axes()), v.t(), u.t())
                .t()
                .as_standard_layout()
                .into_owned();
            course.push((u, v));
        }
        Rounds { loss, course }
    }

    /// U and V after the last round.
    pub fn last(&self) -> (&Array2<f64>, &Array2<f64>) {
        let (u, v) = &self.course[self.course.len() - 1];
        (u, v)
    }

    /// X̄′ from the cotangent of U V after the last round; 0 for missing entries.
    pub fn back(&self, x: ArrayView2<'_, f64>, z_bar: ArrayView2<'_, f64>) -> Array2<f64> {
        let masked = Masked::of(x);
        let (x, mask) = masked.as_ref().map_or((x, None), |m| (m.x.view(), Some(m.mask.view())));
        let mut x_bar = Array2::zeros(x.dim());
        let mut x_bar_t = Array2::zeros((x.ncols(), x.nrows()));
        let (u, v) = self.last();
        let mut u_bar = matmul(z_bar, v.t());
        let mut v_bar = matmul(u.t(), z_bar);
        for at in (1..self.course.len()).rev() {
            let ((u_old, v_old), (u, v)) = (&self.course[at - 1], &self.course[at]);
            let mut v_bar_t = v_bar.t().to_owned();
            let u_bar_t = half_back(
                self.loss,
                x.t(),
                mask.map(|m| m.reversed_axes()),
                v.t(),
                u_old.t(),
                u.t(),
                u_bar.t(),
                &mut x_bar_t,
                &mut v_bar_t,
            );
            u_bar = u_bar_t.t().to_owned();
            let bar = v_bar_t.t().to_owned();
            v_bar = half_back(
                self.loss,
                x,
                mask,
                u_old.view(),
                v_old.view(),
                v.view(),
                bar.view(),
                &mut x_bar,
                &mut u_bar,
            );
        }
        x_bar + x_bar_t.t()
    }
}

/// Π_k(X′) by the full thin decomposition, kept for the way back.
pub struct Truncated {
    k: usize,
    /// U, σ, V of X′.
    parts: crate::linalg::Svd,
}

/// Relative gap of σ_k and σ_{k+1} below which the derivative of the projector is not defined.
const GAP: f64 = 1e-9;

impl Truncated {
    /// The decomposition of X′.
    ///
    /// # Errors
    /// [`crate::Error::Numeric`] where the decomposition fails or σ_k = σ_{k+1}.
    pub fn run(x: ArrayView2<'_, f64>, k: usize) -> Result<Truncated> {
        let parts = svd(x)?;
        if let [a, b, ..] = parts.s[k - 1..]
            && a - b <= GAP * parts.s[0]
        {
            let why = format!("singular values {k} and {} are equal ({a:e}); choose another k", k + 1);
            return Err(crate::Error::Numeric { what: "the derivative of the truncated decomposition", why });
        }
        Ok(Truncated { k, parts })
    }

    /// U_k Σ_k (d × k) and V_kᵀ (k × n).
    pub fn factors(&self) -> (Array2<f64>, Array2<f64>) {
        let k = self.k;
        let mut u = self.parts.u.slice(ndarray::s![.., ..k]).to_owned();
        u.columns_mut().into_iter().zip(&self.parts.s).for_each(|(mut c, s)| c *= *s);
        (u, self.parts.v.slice(ndarray::s![.., ..k]).t().as_standard_layout().into_owned())
    }

    /// X̄′ from the cotangent of Π_k(X′); the map is its own transpose.
    pub fn back(&self, e: ArrayView2<'_, f64>) -> Array2<f64> {
        let (u, v, s, k) = (&self.parts.u, &self.parts.v, &self.parts.s, self.k);
        let (uk, vk) = (u.slice(ndarray::s![.., ..k]), v.slice(ndarray::s![.., ..k]));
        // D = P_U E + E P_V − P_U E P_V
        let ue = matmul(uk.t(), e);
        let ev = matmul(e, vk);
        let uev = matmul(ue.view(), vk);
        let rest = &ev - &matmul(uk, uev.view());
        let mut d = matmul(uk, ue.view()) + matmul(rest.view(), vk.t());
        // + Σ_{i ≤ k < j} σ_j / (σ_i² − σ_j²) [(σ_j E′_ij + σ_i E′_ji) u_i v_jᵀ + (σ_j E′_ji + σ_i E′_ij) u_j v_iᵀ]
        let inner = matmul(matmul(u.t(), e).view(), v.view());
        let mut mixed = Array2::zeros(inner.dim());
        for i in 0..k {
            for j in k..s.len() {
                let share = s[j] / (s[i] * s[i] - s[j] * s[j]);
                mixed[[i, j]] = share * (s[j] * inner[[i, j]] + s[i] * inner[[j, i]]);
                mixed[[j, i]] = share * (s[j] * inner[[j, i]] + s[i] * inner[[i, j]]);
            }
        }
        d += &matmul(matmul(u.view(), mixed.view()).view(), v.t());
        d
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;

    fn random(n: usize, m: usize, item: u64) -> Array2<f64> {
        let mut rng = Seed(9).stream(Draw::Simulate, item);
        Array2::from_shape_simple_fn((n, m), || rng.random::<f64>() + 0.1)
    }

    #[test]
    fn the_way_back_is_the_derivative_of_the_rounds() {
        let (x, u, v, cot) = (random(6, 7, 0), random(6, 2, 1), random(2, 7, 2), random(6, 7, 3));
        let mut holed = x.clone();
        [(0, 1), (2, 0), (3, 3), (5, 5)].into_iter().for_each(|at| holed[at] = f64::NAN);
        for (loss, x) in
            [(Loss::Kl, &x), (Loss::Frobenius, &x), (Loss::Kl, &holed), (Loss::Frobenius, &holed)]
        {
            let value = |x: &Array2<f64>| {
                let rounds = Rounds::run(loss, x.view(), u.clone(), v.clone(), 5);
                let (u, v) = rounds.last();
                (matmul(u.view(), v.view()) * &cot).sum()
            };
            let found = Rounds::run(loss, x.view(), u.clone(), v.clone(), 5).back(x.view(), cot.view());
            for at in [(0, 0), (2, 5), (5, 6)] {
                let (mut up, mut down) = (x.clone(), x.clone());
                (up[at], down[at]) = (x[at] + 1e-6, x[at] - 1e-6);
                let slope = (value(&up) - value(&down)) / 2e-6;
                assert!((slope - found[at]).abs() < 1e-7, "{loss} {at:?}: {slope} {}", found[at]);
            }
        }
    }

    #[test]
    fn the_truncated_decomposition_has_the_derivative_of_the_reference() {
        let case = crate::golden::Golden::open("qmfq/svd_projector");
        let (x, e): (Array2<f64>, Array2<f64>) = (case.array("X"), case.array("E"));
        let found = Truncated::run(x.view(), 3).unwrap();
        let (u, v) = found.factors();
        case.assert_close("proj", &matmul(u.view(), v.view()), 1e-12);
        case.assert_close("adjoint_of_E", &found.back(e.view()), 1e-10);
    }

    #[test]
    fn equal_singular_values_have_no_derivative() {
        let why = Truncated::run(Array2::eye(4).view(), 2).map(|_| ()).unwrap_err().to_string();
        assert!(why.contains("singular values 2 and 3"), "{why}");
        assert!(Truncated::run(Array2::eye(4).view(), 4).is_ok());
    }
}
