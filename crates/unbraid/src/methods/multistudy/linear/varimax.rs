//! Varimax: the rotation after which squared loadings differ most within each column.
//!
//! ```text
//! max over rotations R of Σ_k Σ_j (b²_jk − mean_j b²_jk)²,   B = A R
//! ```
//!
//! by rotations of two columns x, y at a time, of which the best angle θ is known: with u = x² − y², v = 2 x y,
//! tan 4θ = (2 Σ u v − 2 Σu Σv / G) / (Σ (u² − v²) − ((Σu)² − (Σv)²) / G). No rotation lowers the criterion. Kaiser (1958):
//! `kaiser1958`.

use ndarray::{Array2, ArrayView1};

/// Most rounds over all pairs; some ten are enough as a rule.
const ROUNDS: usize = 200;
/// Angles below this one are left.
const STILL: f64 = 1e-9;

/// R, such that `loadings · R` is best.
pub(super) fn rotation(loadings: &Array2<f64>) -> Array2<f64> {
    let k = loadings.ncols();
    let (mut b, mut r) = (loadings.clone(), Array2::eye(k));
    for _ in 0..ROUNDS {
        let mut moved = false;
        for p in 0..k {
            for q in p + 1..k {
                let theta = angle(b.column(p), b.column(q));
                if theta.abs() > STILL {
                    turn(&mut b, p, q, theta);
                    turn(&mut r, p, q, theta);
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
    r
}

fn angle(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> f64 {
    let g = x.len() as f64;
    let [mut su, mut sv, mut even, mut odd] = [0.0; 4];
    for (x, y) in x.iter().zip(y) {
        let (u, v) = (x * x - y * y, 2.0 * x * y);
        su += u;
        sv += v;
        even += u * u - v * v;
        odd += 2.0 * u * v;
    }
    0.25 * (odd - 2.0 * su * sv / g).atan2(even - (su * su - sv * sv) / g)
}

fn turn(b: &mut Array2<f64>, p: usize, q: usize, theta: f64) {
    let (sin, cos) = theta.sin_cos();
    for mut row in b.rows_mut() {
        let (x, y) = (row[p], row[q]);
        row[p] = cos * x + sin * y;
        row[q] = cos * y - sin * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand_distr::{Distribution, StandardNormal};

    fn criterion(b: &Array2<f64>) -> f64 {
        let column = |c: ArrayView1<'_, f64>| {
            let mean = c.iter().map(|v| v * v).sum::<f64>() / c.len() as f64;
            c.iter().map(|v| (v * v - mean).powi(2)).sum::<f64>()
        };
        b.columns().into_iter().map(column).sum()
    }

    #[test]
    fn the_angle_of_two_columns_is_the_best_of_all_tried() {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let a: Array2<f64> = Array2::from_shape_simple_fn((9, 2), || StandardNormal.sample(&mut rng));
        let r = rotation(&a);
        let best = criterion(&a.dot(&r));
        for step in 0..360 {
            let mut other = a.clone();
            turn(&mut other, 0, 1, f64::from(step).to_radians());
            assert!(criterion(&other) <= best + 1e-12 * best, "{step}");
        }
        assert!((r.t().dot(&r) - Array2::<f64>::eye(2)).iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn rotated_blocks_are_found_again() {
        let blocks =
            Array2::from_shape_fn((30, 3), |(j, k)| if j / 10 == k { 2.0 + 0.1 * j as f64 } else { 0.0 });
        let mut mixed = blocks.clone();
        [(0, 1, 0.7), (1, 2, -0.4), (0, 2, 1.1)].iter().for_each(|&(p, q, t)| turn(&mut mixed, p, q, t));
        let found = mixed.dot(&rotation(&mixed));
        for row in found.rows() {
            assert_eq!(row.iter().filter(|v| v.abs() > 1e-6).count(), 1, "{row}");
        }
    }
}
