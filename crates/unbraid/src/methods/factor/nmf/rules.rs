//! The multiplicative rules of Lee and Seung, and scores of new samples with the loadings fixed.
//!
//! For X ≈ U V, first V and then, with the new V, U (its rule is the transpose of V's):
//!
//! ```text
//! kl:         V ← V ∘ Uᵀ(X / UV) / Uᵀ1        frobenius:  V ← V ∘ UᵀX / UᵀUV
//! ```
//!
//! Sums run over measured entries only where some are NaN. Neither rule ever raises its loss.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, Zip};
use rayon::prelude::*;

use crate::linalg::matmul;
use crate::methods::factor::common::{Loss, TINY};

/// One round on X (d × n, NaN = missing) in place: V (k × n), then U (d × k) with the new V.
pub fn multiplicative_round(loss: Loss, x: ArrayView2<'_, f64>, u: &mut Array2<f64>, v: &mut Array2<f64>) {
    let mask = mask_of(x);
    let mask = mask.as_ref().map(|m| m.view());
    half(loss, x, mask, u.view(), v.view_mut());
    half(loss, x.t(), mask.map(|m| m.reversed_axes()), v.t(), u.view_mut().reversed_axes());
}

/// 1 where X is measured, 0 where it is NaN; `None` where all of it is measured.
fn mask_of(x: ArrayView2<'_, f64>) -> Option<Array2<f64>> {
    x.iter().any(|v| v.is_nan()).then(|| x.mapv(|v| if v.is_nan() { 0.0 } else { 1.0 }))
}

/// V's rule.
fn half(
    loss: Loss,
    x: ArrayView2<'_, f64>,
    mask: Option<ArrayView2<'_, f64>>,
    u: ArrayView2<'_, f64>,
    mut v: ArrayViewMut2<'_, f64>,
) {
    let measured = |x: f64| if x.is_nan() { 0.0 } else { x };
    let (up, down) = match loss {
        Loss::Kl => {
            let mut ratio = matmul(u, v.view());
            Zip::from(&mut ratio).and(x).for_each(|z, &x| *z = measured(x) / (*z + TINY));
            let down = match mask {
                Some(mask) => matmul(u.t(), mask),
                None => {
                    let sums: Array1<f64> = u.sum_axis(Axis(0));
                    sums.insert_axis(Axis(1))
                        .broadcast(v.dim())
                        .map_or_else(|| v.to_owned(), |s| s.to_owned())
                }
            };
            (matmul(u.t(), ratio.view()), down)
        }
        Loss::Frobenius => match mask {
            Some(mask) => {
                let fitted = matmul(u, v.view()) * mask;
                (matmul(u.t(), x.mapv(measured).view()), matmul(u.t(), fitted.view()))
            }
            None => (matmul(u.t(), x), matmul(matmul(u.t(), u).view(), v.view())),
        },
    };
    Zip::from(&mut v).and(&up).and(&down).for_each(|v, &up, &down| *v *= up / (down + TINY));
}

/// Scores (k × n) of the samples in the columns of X (d × n, NaN = missing) with U (d × k) fixed: V's rule, each
/// sample on its own until its loss falls by less than `tol` of itself in a round, or for `max_steps` rounds.
///
/// A sample without any value above 0 has scores 0.
pub fn project(
    loss: Loss,
    x: ArrayView2<'_, f64>,
    u: ArrayView2<'_, f64>,
    max_steps: usize,
    tol: f64,
) -> Array2<f64> {
    let columns: Vec<usize> = (0..x.ncols()).collect();
    let solved: Vec<Vec<f64>> =
        columns.par_iter().map(|&j| project_one(loss, x.column(j), u, max_steps, tol)).collect();
    Array2::from_shape_fn((u.ncols(), x.ncols()), |(a, j)| solved[j][a])
}

fn project_one(
    loss: Loss,
    x: ArrayView1<'_, f64>,
    u: ArrayView2<'_, f64>,
    max_steps: usize,
    tol: f64,
) -> Vec<f64> {
    let k = u.ncols();
    let at: Vec<usize> = (0..x.len()).filter(|&i| !x[i].is_nan()).collect();
    let total: f64 = at.iter().map(|&i| x[i]).sum();
    let size: f64 = at.iter().map(|&i| u.row(i).sum()).sum();
    let mut v = vec![if size > 0.0 { total / size } else { 0.0 }; k];
    if total <= 0.0 || size <= 0.0 {
        return vec![0.0; k];
    }
    let fitted = |v: &[f64], i: usize| -> f64 { u.row(i).iter().zip(v).map(|(u, v)| u * v).sum() };
    let mut before = f64::INFINITY;
    for _ in 0..max_steps {
        let (mut up, mut down, mut now) = (vec![0.0; k], vec![0.0; k], 0.0);
        for &i in &at {
            let z = fitted(&v, i);
            now += loss.of(x[i], z);
            let (rise, fall) = match loss {
                Loss::Kl => (x[i] / (z + TINY), 1.0),
                Loss::Frobenius => (x[i], z),
            };
            for (a, &u) in u.row(i).iter().enumerate() {
                up[a] += u * rise;
                down[a] += u * fall;
            }
        }
        if before - now <= tol * now.abs() {
            break;
        }
        before = now;
        v.iter_mut().zip(up.iter().zip(&down)).for_each(|(v, (up, down))| *v *= up / (down + TINY));
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;

    fn uniform(n: usize, m: usize, item: u64) -> Array2<f64> {
        let mut rng = Seed(5).stream(Draw::Simulate, item);
        Array2::from_shape_simple_fn((n, m), || rng.random::<f64>() + 0.01)
    }

    fn total(loss: Loss, x: &Array2<f64>, u: &Array2<f64>, v: &Array2<f64>) -> f64 {
        let z = u.dot(v);
        x.iter().zip(&z).filter(|(x, _)| !x.is_nan()).map(|(&x, &z)| loss.of(x, z)).sum()
    }

    #[test]
    fn no_round_raises_the_loss_with_and_without_missing_entries() {
        for loss in [Loss::Kl, Loss::Frobenius] {
            for absent in [false, true] {
                let mut x = uniform(17, 13, 0);
                x[[2, 3]] = 0.0;
                if absent {
                    x.indexed_iter_mut()
                        .filter(|((i, j), _)| (i * 3 + j * 5) % 7 == 0)
                        .for_each(|(_, v)| *v = f64::NAN);
                }
                let (mut u, mut v) = (uniform(17, 4, 1), uniform(4, 13, 2));
                let mut before = total(loss, &x, &u, &v);
                let first = before;
                for _ in 0..40 {
                    multiplicative_round(loss, x.view(), &mut u, &mut v);
                    let now = total(loss, &x, &u, &v);
                    assert!(now <= before * (1.0 + 1e-12), "{loss}: {now} after {before}");
                    before = now;
                }
                assert!(before < 0.5 * first, "{loss}");
            }
        }
    }

    #[test]
    fn new_samples_find_the_scores_they_were_made_with() {
        let (u, v) = (uniform(30, 3, 3), uniform(3, 6, 4));
        let mut x = u.dot(&v);
        x[[4, 2]] = f64::NAN;
        for loss in [Loss::Kl, Loss::Frobenius] {
            let found = project(loss, x.view(), u.view(), 20_000, 1e-14);
            let gap = (&found - &v).iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            assert!(gap < 1e-4, "{loss}: {gap}");
        }
    }
}
