//! The paper's own road: Sinkhorn's iteration on both potentials and its Algorithm 2 for the Jacobians
//! (cuturi2020), plain and slow; the Newton form is tested against it.
//!
//! ```text
//! g_j = ε log b_j − ε log Σ_i exp((f_i − C_ij)/ε),   f_i = ε log a_i − ε log Σ_j exp((g_j − C_ij)/ε)
//! ```
//!
//! Algorithm 2 as it is here, for a cotangent H of P, with f_1 pinned; signs and factors ε that the printed
//! text lacks were settled against finite differences:
//!
//! ```text
//! M1 = diag(1/P1) P, first row 0,   M2 = diag(1/Pᵀ1) Pᵀ,   S = I − M1ᵀ M2ᵀ,   D_ij = 2 (x_i − y_j)
//! zf = (H∘P) 1/ε, zf_1 = 0,   zg = (H∘P)ᵀ 1/ε,   λ = S⁻¹ (zg − M1ᵀ zf),   ν = zf − M2ᵀ λ, ν_1 = 0
//! x̄ = −(D∘H∘P) 1/ε + ν∘((M1∘D) 1) + (M2ᵀ∘D) λ,   b̄ = ε λ / b
//! ```

use ndarray::{Array1, Array2, ArrayView2};

/// Both potentials, the plan and how it was reached.
#[derive(Clone, Debug)]
pub struct Sinkhorn {
    /// Potentials of the samples.
    pub f: Array1<f64>,
    /// Potentials of the targets.
    pub g: Array1<f64>,
    /// The plan, n × m.
    pub plan: Array2<f64>,
    /// Pairs of updates done.
    pub sweeps: usize,
    /// max_j |(Pᵀ1)_j − b_j| / b_j.
    pub error: f64,
}

/// How ε falls and when to stop.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// ε of the first sweep; multiplied by 0.95 after every pair until it reaches its final value.
    pub from: f64,
    /// Largest relative error of the column sums, tested every five pairs.
    pub tol: f64,
    /// Most pairs.
    pub sweeps: usize,
}

impl Schedule {
    /// As the authors released it: from 0.1, to 1e-2, at most 2,000 pairs.
    pub const RELEASED: Schedule = Schedule { from: 0.1, tol: 1e-2, sweeps: 2000 };
}

fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    top + values.map(|v| (v - top).exp()).sum::<f64>().ln()
}

/// Sinkhorn's iteration in the log domain, from zero; row sums of the plan are exact.
pub fn solve(x: &[f64], y: &[f64], a: &[f64], b: &[f64], epsilon: f64, schedule: Schedule) -> Sinkhorn {
    let (n, m) = (x.len(), y.len());
    let cost = Array2::from_shape_fn((n, m), |(i, j)| (x[i] - y[j]).powi(2));
    let (mut f, mut g) = (Array1::zeros(n), Array1::zeros(m));
    let mut plan = Array2::zeros((n, m));
    let (mut e, mut error, mut sweeps) = (schedule.from.max(epsilon), f64::INFINITY, 0);
    while sweeps < schedule.sweeps {
        for j in 0..m {
            g[j] = e * (b[j].ln() - log_sum((0..n).map(|i| (f[i] - cost[[i, j]]) / e)));
        }
        for i in 0..n {
            f[i] = e * (a[i].ln() - log_sum((0..m).map(|j| (g[j] - cost[[i, j]]) / e)));
        }
        sweeps += 1;
        let arrived = e <= epsilon;
        if arrived && (sweeps % 5 == 0 || sweeps == schedule.sweeps) {
            plan = Array2::from_shape_fn((n, m), |(i, j)| ((f[i] + g[j] - cost[[i, j]]) / e).exp());
            error = (0..m).fold(0.0, |worst: f64, j| worst.max((plan.column(j).sum() - b[j]).abs() / b[j]));
            if error <= schedule.tol {
                break;
            }
        }
        e = (0.95 * e).max(epsilon);
    }
    Sinkhorn { f, g, plan, sweeps, error }
}

/// Cotangents of x and of b for a cotangent `h` of the plan, by Algorithm 2.
pub fn pull(
    x: &[f64],
    y: &[f64],
    epsilon: f64,
    plan: ArrayView2<'_, f64>,
    h: ArrayView2<'_, f64>,
) -> (Array1<f64>, Array1<f64>) {
    let (n, m) = plan.dim();
    let (rows, columns) = (plan.sum_axis(ndarray::Axis(1)), plan.sum_axis(ndarray::Axis(0)));
    let m1 = Array2::from_shape_fn((n, m), |(i, j)| if i == 0 { 0.0 } else { plan[[i, j]] / rows[i] });
    let m2 = Array2::from_shape_fn((m, n), |(j, i)| plan[[i, j]] / columns[j]);
    let d = Array2::from_shape_fn((n, m), |(i, j)| 2.0 * (x[i] - y[j]));
    let s = Array2::<f64>::eye(m) - m1.t().dot(&m2.t());
    let hp = &h * &plan;
    let mut zf = hp.sum_axis(ndarray::Axis(1)) / epsilon;
    zf[0] = 0.0;
    let zg = hp.sum_axis(ndarray::Axis(0)) / epsilon;
    let lambda = eliminate(s, zg - m1.t().dot(&zf));
    let mut nu = zf - m2.t().dot(&lambda);
    nu[0] = 0.0;
    let xbar = (&d * &hp).sum_axis(ndarray::Axis(1)) / -epsilon
        + nu * (&m1 * &d).sum_axis(ndarray::Axis(1))
        + (&m2.t() * &d).dot(&lambda);
    (xbar, lambda * epsilon / columns)
}

/// Solves s z = r by elimination with row exchanges.
fn eliminate(mut s: Array2<f64>, mut r: Array1<f64>) -> Array1<f64> {
    let m = r.len();
    for j in 0..m {
        let best = (j..m).max_by(|&p, &q| s[[p, j]].abs().total_cmp(&s[[q, j]].abs())).unwrap_or(j);
        for k in 0..m {
            s.swap([j, k], [best, k]);
        }
        r.swap(j, best);
        for i in j + 1..m {
            let factor = s[[i, j]] / s[[j, j]];
            for k in j..m {
                s[[i, k]] -= factor * s[[j, k]];
            }
            r[i] -= factor * r[j];
        }
    }
    for j in (0..m).rev() {
        let known: f64 = (j + 1..m).map(|k| s[[j, k]] * r[k]).sum();
        r[j] = (r[j] - known) / s[[j, j]];
    }
    r
}
