//! The metagenes M at given mixtures.
//!
//! ```text
//! min ½ tr(M Q Mᵗ) − tr(Lᵗ M),    Q = Σ_t w_t (X_t + 1 β^tᵗ)ᵗ(X_t + 1 β^tᵗ),    L = Σ_t w_t Y_tᵗ(X_t + 1 β^tᵗ),    w_t = 1/σ_t²,
//! ```
//!
//! over M whose columns lie on the simplex of the genes (Σ_g M_gk = 1, M ≥ 0). One column at a time, given the others, is the point of the
//! simplex next to (L_k − Σ_{j≠k} Q_kj m_j)/Q_kk: an exact step, so that no round raises the objective.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | M      | G × K | metagenes |
//! | Q      | K × K | second moments of the mixtures |
//! | L      | G × K | expression times mixtures |

use ndarray::{Array2, ArrayView2};

use super::quadratic::project_to_simplex;

/// L_a − Σ_{b≠a} Q_ab m_b into `column`; `linear` is Lᵗ.
fn remainder(
    a: usize,
    moments: ArrayView2<'_, f64>,
    linear: &Array2<f64>,
    turned: &Array2<f64>,
    column: &mut [f64],
) {
    column.iter_mut().zip(linear.row(a)).for_each(|(c, l)| *c = *l);
    for b in (0..turned.nrows()).filter(|&b| b != a) {
        let weight = moments[[a, b]];
        column.iter_mut().zip(turned.row(b)).for_each(|(c, m)| *c -= weight * m);
    }
}

/// Rounds over the columns until no entry moves by more than `tol` / G, at most `most`; returns how many. `turned` is Mᵗ, K × G.
pub fn on_the_simplex(
    moments: ArrayView2<'_, f64>,
    linear: ArrayView2<'_, f64>,
    turned: &mut Array2<f64>,
    most: usize,
    tol: f64,
) -> usize {
    let (k, g) = turned.dim();
    let linear = linear.t().as_standard_layout().into_owned();
    let mut room = Vec::new();
    let mut column = vec![0.0; g];
    for round in 0..most {
        let mut moved: f64 = 0.0;
        for a in 0..k {
            let own = moments[[a, a]];
            if !(own > 0.0) {
                continue;
            }
            remainder(a, moments, &linear, turned, &mut column);
            column.iter_mut().for_each(|c| *c /= own);
            project_to_simplex(&mut column, &mut room);
            for (m, c) in turned.row_mut(a).iter_mut().zip(&column) {
                moved = moved.max((*m - c).abs());
                *m = *c;
            }
        }
        if moved <= tol / g as f64 {
            return round + 1;
        }
    }
    most
}

/// The same over M ≥ 0 alone, after which columns are brought to the simplex; the scales taken off are returned and belong to the columns of
/// the mixtures. A column that nothing uses any more stays as it is, with scale 1.
pub fn free(
    moments: ArrayView2<'_, f64>,
    linear: ArrayView2<'_, f64>,
    turned: &mut Array2<f64>,
    rounds: usize,
) -> Vec<f64> {
    let (k, g) = turned.dim();
    let linear = linear.t().as_standard_layout().into_owned();
    let mut column = vec![0.0; g];
    for _ in 0..rounds {
        for a in 0..k {
            let own = moments[[a, a]];
            if !(own > 0.0) {
                continue;
            }
            remainder(a, moments, &linear, turned, &mut column);
            if column.iter().any(|c| *c > 0.0) {
                turned.row_mut(a).iter_mut().zip(&column).for_each(|(m, c)| *m = (c / own).max(0.0));
            }
        }
    }
    turned
        .rows_mut()
        .into_iter()
        .map(|mut m| {
            let sum = m.sum();
            if !(sum > 0.0) {
                return 1.0;
            }
            m /= sum;
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// ½ tr(M Q Mᵗ) − tr(LᵗM).
    fn objective(moments: ArrayView2<'_, f64>, linear: ArrayView2<'_, f64>, turned: &Array2<f64>) -> f64 {
        let gram = turned.dot(&turned.t());
        0.5 * (&gram * &moments).sum() - (turned * &linear.t()).sum()
    }

    #[test]
    fn rounds_never_rise_and_end_at_the_minimum() {
        for seed in 0..30 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let (n, g, k) = (40, 15, 2 + seed as usize % 7);
            let mut table = |r, c| Array2::from_shape_simple_fn((r, c), || rng.random::<f64>());
            let (x, y, mut m) = (table(n, k), table(n, g), table(k, g));
            m.rows_mut().into_iter().for_each(|mut r| {
                let sum = r.sum();
                r /= sum;
            });
            let (moments, linear) = (x.t().dot(&x), y.t().dot(&x));
            let mut before = objective(moments.view(), linear.view(), &m);
            let mut freed = m.clone();
            for _ in 0..20 {
                on_the_simplex(moments.view(), linear.view(), &mut m, 1, 0.0);
                let after = objective(moments.view(), linear.view(), &m);
                assert!(after <= before + 1e-12 * before.abs(), "{seed}");
                before = after;
                assert!(
                    m.rows()
                        .into_iter()
                        .all(|r| (r.sum() - 1.0).abs() < 1e-12 && r.iter().all(|v| *v >= 0.0))
                );
            }
            on_the_simplex(moments.view(), linear.view(), &mut m, 100_000, 1e-13);
            // The slow twin: projected gradients.
            let (mut slow, mut room) = (m.clone(), Vec::new());
            slow.fill(1.0 / g as f64);
            let step = 1.0 / moments.diag().sum();
            for _ in 0..60_000 {
                slow = &slow - &(step * (moments.dot(&slow) - linear.t()));
                for mut row in slow.rows_mut() {
                    let mut v = row.to_vec();
                    project_to_simplex(&mut v, &mut room);
                    row.iter_mut().zip(v).for_each(|(r, v)| *r = v);
                }
            }
            let gap = (&slow - &m).iter().fold(0.0, |w: f64, d| w.max(d.abs()));
            assert!(gap < 1e-8, "{seed}: {gap}");
            // Free columns with their scales fit at least as well as they did.
            let scales = free(moments.view(), linear.view(), &mut freed, 5);
            let mut scaled = freed.clone();
            scaled.rows_mut().into_iter().zip(&scales).for_each(|(mut r, s)| r *= *s);
            assert!(objective(moments.view(), linear.view(), &scaled) <= before + 1e-9);
        }
    }
}
