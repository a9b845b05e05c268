//! Sinkhorn's iteration with all its potentials kept, and its derivative taken back through every sweep: what
//! automatic differentiation does, and what closed forms of the Jacobian are compared with in figure 2.
//!
//! One sweep is g from f, then f from g, at the sweep's ε:
//!
//! ```text
//! g_j = ε log b_j − ε log Σ_i exp((f_i − C_ij)/ε),   V_ij = softmax_i((f_i − C_ij)/ε)
//! f_i = ε log a_i − ε log Σ_j exp((g_j − C_ij)/ε),   W_ij = softmax_j((g_j − C_ij)/ε)
//! ```
//!
//! and back, from the cotangent H of the plan P_ij = exp((f_i + g_j − C_ij)/ε):
//!
//! ```text
//! f̄_i = Σ_j H_ij P_ij/ε,   ḡ_j = Σ_i H_ij P_ij/ε,   C̄ = −H∘P/ε;   then for each sweep from the last
//! ḡ_j −= Σ_i f̄_i W_ij,  C̄_ij += f̄_i W_ij,  f̄ = 0;   f̄_i −= Σ_j ḡ_j V_ij,  C̄_ij += ḡ_j V_ij,  b̄_j += ε ḡ_j/b_j,  ḡ = 0
//! x̄_i = Σ_j 2 C̄_ij (x_i − y_j).
//! ```

use ndarray::{Array1, Array2, ArrayView2};
use unbraid::soft::sinkhorn::Schedule;

/// The potentials before each sweep and after the last, with the ε of each.
pub struct Unrolled {
    cost: Array2<f64>,
    /// f before a sweep, g in it, and its ε.
    sweeps: Vec<(Array1<f64>, Array1<f64>, f64)>,
    /// The plan at the end.
    pub plan: Array2<f64>,
}

/// Sinkhorn's iteration as in [`unbraid::soft::sinkhorn::solve`], kept.
pub fn solve(x: &[f64], y: &[f64], a: &[f64], b: &[f64], epsilon: f64, schedule: Schedule) -> Unrolled {
    let (n, m) = (x.len(), y.len());
    let cost = Array2::from_shape_fn((n, m), |(i, j)| (x[i] - y[j]).powi(2));
    let mut f = Array1::<f64>::zeros(n);
    let mut sweeps = Vec::new();
    let mut plan = Array2::zeros((n, m));
    let mut e = schedule.from.max(epsilon);
    while sweeps.len() < schedule.sweeps {
        let g = Array1::from_shape_fn(m, |j| {
            e * (b[j].ln() - log_sum((0..n).map(|i| (f[i] - cost[[i, j]]) / e)))
        });
        let next = Array1::from_shape_fn(n, |i| {
            e * (a[i].ln() - log_sum((0..m).map(|j| (g[j] - cost[[i, j]]) / e)))
        });
        sweeps.push((std::mem::replace(&mut f, next), g, e));
        if e <= epsilon && (sweeps.len() % 5 == 0 || sweeps.len() == schedule.sweeps) {
            let g = &sweeps[sweeps.len() - 1].1;
            plan = Array2::from_shape_fn((n, m), |(i, j)| ((f[i] + g[j] - cost[[i, j]]) / e).exp());
            let off = (0..m).map(|j| (plan.column(j).sum() - b[j]).abs() / b[j]).fold(0.0, f64::max);
            if off <= schedule.tol {
                break;
            }
        }
        e = (0.95 * e).max(epsilon);
    }
    Unrolled { cost, sweeps, plan }
}

impl Unrolled {
    /// Sweeps done.
    pub fn len(&self) -> usize {
        self.sweeps.len()
    }

    /// Cotangents of x and of b, for a cotangent of the plan.
    pub fn pull(
        &self,
        x: &[f64],
        y: &[f64],
        b: &[f64],
        h: ArrayView2<'_, f64>,
    ) -> (Array1<f64>, Array1<f64>) {
        let (n, m) = self.plan.dim();
        let epsilon = self.sweeps.last().map_or(1.0, |s| s.2);
        let hp = &h * &self.plan / epsilon;
        let mut f_bar = hp.sum_axis(ndarray::Axis(1));
        let mut g_bar = hp.sum_axis(ndarray::Axis(0));
        let mut b_bar = Array1::zeros(m);
        let mut c_bar = -hp;
        for (f, g, e) in self.sweeps.iter().rev() {
            for i in 0..n {
                let top = log_sum((0..m).map(|j| (g[j] - self.cost[[i, j]]) / e));
                for j in 0..m {
                    let part = f_bar[i] * ((g[j] - self.cost[[i, j]]) / e - top).exp();
                    g_bar[j] -= part;
                    c_bar[[i, j]] += part;
                }
            }
            f_bar.fill(0.0);
            for j in 0..m {
                let top = log_sum((0..n).map(|i| (f[i] - self.cost[[i, j]]) / e));
                for i in 0..n {
                    let part = g_bar[j] * ((f[i] - self.cost[[i, j]]) / e - top).exp();
                    f_bar[i] -= part;
                    c_bar[[i, j]] += part;
                }
                b_bar[j] += e * g_bar[j] / b[j];
            }
            g_bar.fill(0.0);
        }
        let x_bar =
            Array1::from_shape_fn(n, |i| (0..m).map(|j| 2.0 * c_bar[[i, j]] * (x[i] - y[j])).sum::<f64>());
        (x_bar, b_bar)
    }
}

fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    top + values.map(|v| (v - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use unbraid::soft::sinkhorn;

    #[test]
    fn the_way_back_is_that_of_algorithm_2_once_converged() {
        let x: Vec<f64> = (0..23).map(|i| ((i * 37 % 23) as f64 + 0.5) / 23.0).collect();
        let y = [0.0, 0.25, 0.5, 0.75, 1.0];
        let (a, b) = (vec![1.0 / 23.0; 23], [0.1, 0.3, 0.2, 0.15, 0.25]);
        let schedule = Schedule { from: 0.1, tol: 1e-13, sweeps: 4000 };
        let h = Array2::from_shape_fn((23, 5), |(i, j)| ((3 * i + 7 * j) % 11) as f64 - 5.0);
        let unrolled = solve(&x, &y, &a, &b, 0.03, schedule);
        let closed = sinkhorn::solve(&x, &y, &a, &b, 0.03, schedule);
        assert_eq!(unrolled.len(), closed.sweeps);
        let (x_bar, mut b_bar) = unrolled.pull(&x, &y, &b, h.view());
        let (wanted, mut wanted_b) = sinkhorn::pull(&x, &y, 0.03, closed.plan.view(), h.view());
        // b̄ is defined up to a constant.
        for bar in [&mut b_bar, &mut wanted_b] {
            let mean = bar.sum() / 5.0;
            *bar -= mean;
        }
        let scale = wanted.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(x_bar.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-8 * scale), "{x_bar} {wanted}");
        let scale = wanted_b.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(b_bar.iter().zip(&wanted_b).all(|(a, b)| (a - b).abs() < 1e-8 * scale), "{b_bar} {wanted_b}");
    }
}
