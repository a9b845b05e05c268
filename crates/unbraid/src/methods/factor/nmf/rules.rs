//! The multiplicative rules of Lee and Seung.
//!
//! For X ≈ U V, first V and then, with the new V, U (its rule is the transpose of V's):
//!
//! ```text
//! kl:         V ← V ∘ Uᵀ(X / UV) / Uᵀ1        frobenius:  V ← V ∘ UᵀX / UᵀUV
//! ```
//!
//! Sums run over measured entries only where some are NaN. Neither rule ever raises its loss.

use ndarray::{Array2, ArrayView2, Axis, Zip};

use crate::linalg::matmul;
use crate::methods::factor::common::{Loss, TINY};

/// One round on X (d × n, NaN = missing) in place: V (k × n), then U (d × k) with the new V.
pub fn multiplicative_round(loss: Loss, x: ArrayView2<'_, f64>, u: &mut Array2<f64>, v: &mut Array2<f64>) {
    let mask = mask_of(x);
    let mask = mask.as_ref().map(|m| m.view());
    *v = half(loss, x, mask, u.view(), v.view());
    let other = half(loss, x.t(), mask.map(|m| m.reversed_axes()), v.t(), u.t());
    *u = other.t().as_standard_layout().into_owned();
}

/// 1 where X is measured, 0 where it is NaN; `None` where all of it is measured.
fn mask_of(x: ArrayView2<'_, f64>) -> Option<Array2<f64>> {
    x.iter().any(|v| v.is_nan()).then(|| x.mapv(|v| if v.is_nan() { 0.0 } else { 1.0 }))
}

/// V by its rule, for X (d × n) and U; `mask` is 1 where X is measured and 0 where it is NaN, if that occurs.
pub fn half(
    loss: Loss,
    x: ArrayView2<'_, f64>,
    mask: Option<ArrayView2<'_, f64>>,
    u: ArrayView2<'_, f64>,
    v: ArrayView2<'_, f64>,
) -> Array2<f64> {
    let measured = |x: f64| if x.is_nan() { 0.0 } else { x };
    let mut out = v.to_owned();
    let (up, down) = match (loss, mask) {
        (Loss::Kl, mask) => {
            let mut ratio = matmul(u, v);
            Zip::from(&mut ratio).and(x).for_each(|z, &x| *z = measured(x) / (*z + TINY));
            let up = matmul(u.t(), ratio.view());
            let Some(mask) = mask else {
                let down = u.sum_axis(Axis(0)) + TINY;
                for (mut row, (up, down)) in out.rows_mut().into_iter().zip(up.rows().into_iter().zip(&down))
                {
                    Zip::from(&mut row).and(up).for_each(|v, up| *v *= up / down);
                }
                return out;
            };
            (up, matmul(u.t(), mask))
        }
        (Loss::Frobenius, Some(mask)) => {
            let fitted = matmul(u, v) * mask;
            (matmul(u.t(), x.mapv(measured).view()), matmul(u.t(), fitted.view()))
        }
        (Loss::Frobenius, None) => (matmul(u.t(), x), matmul(matmul(u.t(), u).view(), v)),
    };
    Zip::from(&mut out).and(&up).and(&down).for_each(|v, &up, &down| *v *= up / (down + TINY));
    out
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
}
