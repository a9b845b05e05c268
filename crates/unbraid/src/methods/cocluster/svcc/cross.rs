//! What joins rows and columns: the memberships of both sides must keep the table's mutual information.
//!
//! ```text
//! data:        Q = Γᵀ P Δ,  L = 1 − I(Q)/I(P) in [0, 1],   E_rc = ∂I/∂Q_rc = log(Q_rc/(Q_r Q_c)) − 1,
//!              ∂I/∂Γ = P Δ Eᵀ,   ∂I/∂Δ = Pᵀ Γ E
//! squares:     of a table Y less its mean:  L = 1 − Σ_rc S_rc²/(n_r m_c) / Σ Y²,   S = Γᵀ Y Δ,  n_r = Σ Γ_ir,  m_c = Σ Δ_jc
//! assignment:  T = Γ Δᵀ/Σ, T̂ its table by the largest memberships of both sides,  L = log(1 + |1 − I(T̂)/I(T)|);  g = h
//! ```
//!
//! `data` is the default; `squares` is its analogue for tables with negative values (Bregman co-clustering, Banerjee and others
//! 2007: `banerjee2007`); `assignment` does not read the table and is here for parity with the code of DeepCC (Xu and others 2019:
//! `xu2019`).
//!
//! N I(Q) is the profile log-likelihood of the Poisson block model, so that κ N I(P)/n is the weight that puts L beside a mean over
//! rows of log-likelihoods. A line of the batch then feels κ times the slope of its own part, N Σ_c (P Δ)_ic E_rc, whatever n: this
//! is how batches are weighed here, for rows and for columns alike. Memberships of lines that are not in the batch are those of
//! the banks, so that Q is that of the whole table.

use ndarray::{Array2, ArrayView2};

use super::super::blocks::{information, soft_profiles, xlogx};
use super::super::start::hardest;
use crate::data::Csr;
use crate::linalg::matmul;

/// Which cross-loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cross {
    /// `Data` where no value is negative, else `Squares`.
    Auto,
    /// Mutual information of the blocks of the table.
    Data,
    /// Sum of squares between the blocks of the table.
    Squares,
    /// Mutual information of the memberships among themselves.
    Assignment,
}

crate::words!(
    Cross,
    "a cross-loss",
    Auto = "auto",
    Data = "data",
    Squares = "squares",
    Assignment = "assignment"
);

/// E_rc, with rates of empty blocks kept from −∞.
pub fn slopes_of_information(q: ArrayView2<'_, f64>) -> Array2<f64> {
    super::super::fit::lift(q).mapv(|v| v.max(1e-6).ln() - 1.0)
}

/// I(Q) of memberships, and its derivatives in both, P given by rows and by columns.
pub fn data(
    rows: &Csr,
    cols: &Csr,
    gamma: ArrayView2<'_, f64>,
    delta: ArrayView2<'_, f64>,
) -> (f64, Array2<f64>, Array2<f64>) {
    let (right, left) = (soft_profiles(rows, delta), soft_profiles(cols, gamma));
    let q = matmul(gamma.t(), right.view());
    let e = slopes_of_information(q.view());
    (information(q.view()), matmul(right.view(), e.t()), matmul(left.view(), e.view()))
}

/// The between-block sum of squares of memberships and its derivatives in both. `right` is Y Δ, `left` Yᵀ Γ.
pub fn squares(
    gamma: ArrayView2<'_, f64>,
    delta: ArrayView2<'_, f64>,
    right: ArrayView2<'_, f64>,
    left: ArrayView2<'_, f64>,
) -> (f64, Array2<f64>, Array2<f64>) {
    let s = matmul(gamma.t(), right);
    let (n, m) = (masses(gamma), masses(delta));
    let mean = Array2::from_shape_fn(s.dim(), |(r, c)| s[[r, c]] / (n[r] * m[c]));
    let value = (&s * &mean).sum();
    (value, squares_slope(&mean, &m, right), squares_slope(&mean.t().to_owned(), &n, left))
}

/// Σ of each column, kept above 0.
pub fn masses(membership: ArrayView2<'_, f64>) -> Vec<f64> {
    membership.columns().into_iter().map(|c| c.sum().max(1e-9)).collect()
}

/// 2 (Y Δ) meanᵀ less Σ_c m_c mean_rc², the derivative of Σ S²/(n m) in memberships of the side whose profile is given.
pub fn squares_slope(mean: &Array2<f64>, other: &[f64], profile: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = matmul(profile, mean.t()) * 2.0;
    let off: Vec<f64> =
        mean.rows().into_iter().map(|row| row.iter().zip(other).map(|(v, m)| v * v * m).sum()).collect();
    out.rows_mut().into_iter().for_each(|mut r| r.iter_mut().zip(&off).for_each(|(v, o)| *v -= o));
    out
}

/// The assignment form: loss, and derivatives in both memberships, the largest memberships held.
pub fn assignment(gamma: ArrayView2<'_, f64>, delta: ArrayView2<'_, f64>) -> (f64, Array2<f64>, Array2<f64>) {
    let raw = matmul(gamma, delta.t());
    let total = raw.sum();
    let t = &raw / total;
    let clusters = gamma.ncols();
    let (rows, cols) = (hardest(gamma), hardest(delta));
    let mut reduced = Array2::<f64>::zeros((clusters, delta.ncols()));
    t.indexed_iter().for_each(|((i, j), v)| reduced[[rows[i], cols[j]]] += v);
    let (kept, all) = (information(reduced.view()), information(t.view()));
    if all <= 0.0 {
        return (0.0, Array2::zeros(gamma.dim()), Array2::zeros(delta.dim()));
    }
    let lost = 1.0 - kept / all;
    let value = lost.abs().ln_1p();
    // dL/dI(T̂) and dL/dI(T)
    let outer = lost.signum() / (1.0 + lost.abs());
    let (by_kept, by_all) = (-outer / all, outer * kept / (all * all));
    // ∂I/∂T_ij = log(T_ij/(T_i T_j)) − 1 where it is above 0, of the whole and of the reduced table.
    let plain = |q: &Array2<f64>| {
        super::super::fit::lift(q.view()).mapv(|v| if v > 0.0 { v.ln() - 1.0 } else { 0.0 })
    };
    let (of_all, of_kept) = (plain(&t), plain(&reduced));
    let slope = Array2::from_shape_fn(t.dim(), |(i, j)| {
        by_all * of_all[[i, j]] + by_kept * of_kept[[rows[i], cols[j]]]
    });
    // T = raw/Σ raw
    let mean = (&slope * &t).sum();
    let slope = slope.mapv(|v| (v - mean) / total);
    (value, matmul(slope.view(), delta), matmul(slope.t(), gamma))
}

/// The softmax' Jacobian: derivatives in the log weights of memberships from those in memberships, tempered by T.
pub fn through_softmax(
    membership: ArrayView2<'_, f64>,
    slope: ArrayView2<'_, f64>,
    temperature: f64,
) -> Array2<f64> {
    let mut out = Array2::zeros(membership.dim());
    for ((mut to, g), e) in out.rows_mut().into_iter().zip(membership.rows()).zip(slope.rows()) {
        let mean = g.dot(&e);
        to.iter_mut().zip(g.iter().zip(e)).for_each(|(t, (g, e))| *t = g * (e - mean) / temperature);
    }
    out
}

/// Σ of x log x of a line of memberships: 0 for a hard one.
pub fn hardness(membership: ArrayView2<'_, f64>) -> f64 {
    membership.iter().map(|v| xlogx(*v)).sum::<f64>() / membership.nrows().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use crate::methods::cocluster::svcc::mixture::softmax;
    use crate::nn::check::{normal, slopes};
    use ndarray::Ix0;

    fn soft(logits: &Array2<f64>) -> Array2<f64> {
        let mut out = logits.clone();
        out.rows_mut().into_iter().for_each(|mut r| {
            softmax(r.as_slice_mut().unwrap());
        });
        out
    }

    #[test]
    fn losses_and_gradients_are_those_of_the_golden_case() {
        let case = Golden::open("svcc/mi_cross");
        let number = |name: &str| case.array::<Ix0>(name).into_scalar();
        let x: Array2<f64> = case.array("X");
        let p = Csr::from_dense((&x / x.sum()).view());
        let (gamma, delta) = (soft(&case.array("row_logits")), soft(&case.array("col_logits")));
        case.assert_close("gamma_row", &gamma, 1e-12);
        let (kept, dg, dd) = data(&p, &p.transpose(), gamma.view(), delta.view());
        let all = information(p.to_dense().view());
        assert!((all - number("I_XY")).abs() < 1e-12 && (kept - number("I_RC")).abs() < 1e-12);
        assert!((1.0 - kept / all - number("loss")).abs() < 1e-12);
        let (dg, dd) = (dg / -all, dd / -all);
        // A constant of each row is lost in the softmax, so that slopes of memberships are compared without their mean.
        let centred =
            |a: &Array2<f64>| a - &a.mean_axis(ndarray::Axis(1)).unwrap().insert_axis(ndarray::Axis(1));
        let near =
            |a: &Array2<f64>, b: &Array2<f64>| assert!((a - b).iter().all(|v| v.abs() < 1e-10), "{a} {b}");
        near(&centred(&dg), &centred(&case.array("grad_gamma_row")));
        near(&centred(&dd), &centred(&case.array("grad_gamma_col")));
        case.assert_close("grad_row_logits", &through_softmax(gamma.view(), dg.view(), 1.0), 1e-9);
        case.assert_close("grad_col_logits", &through_softmax(delta.view(), dd.view(), 1.0), 1e-9);
        let delta = soft(&case.array("assign_col_logits"));
        let (value, dg, dd) = assignment(gamma.view(), delta.view());
        assert!((value - number("assign_loss")).abs() < 1e-12);
        case.assert_close("assign_grad_row_logits", &through_softmax(gamma.view(), dg.view(), 1.0), 1e-8);
        case.assert_close("assign_grad_col_logits", &through_softmax(delta.view(), dd.view(), 1.0), 1e-8);
    }

    #[test]
    fn squares_follow_differences_and_are_those_between_blocks_for_labels() {
        let y = normal(7, 5, 1);
        let y = &y - y.mean().unwrap();
        let (a, b) = (normal(7, 3, 2), normal(5, 2, 3));
        let value = |s: &(Array2<f64>, Array2<f64>)| {
            let (g, d) = (soft(&s.0), soft(&s.1));
            squares(g.view(), d.view(), y.dot(&d).view(), y.t().dot(&g).view()).0
        };
        let (g, d) = (soft(&a), soft(&b));
        let (_, dg, dd) = squares(g.view(), d.view(), y.dot(&d).view(), y.t().dot(&g).view());
        let state = (a, b);
        slopes("rows", &state, |s| &mut s.0, &through_softmax(g.view(), dg.view(), 1.0), value);
        slopes("cols", &state, |s| &mut s.1, &through_softmax(d.view(), dd.view(), 1.0), value);
        let (rows, cols) = ([0, 1, 2, 0, 1, 2, 0], [0, 1, 1, 0, 1]);
        let one = super::super::super::start::one_hot;
        let (g, d) = (one(&rows, 3), one(&cols, 2));
        let (between, ..) = squares(g.view(), d.view(), y.dot(&d).view(), y.t().dot(&g).view());
        let blocks = super::super::super::fit::Blocks::of(&Csr::from_dense(y.view()), (&rows, 3), (&cols, 2));
        let all: f64 = y.iter().map(|v| v * v).sum();
        assert!((between / all - blocks.explained).abs() < 1e-12);
    }
}
