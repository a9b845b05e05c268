//! Features whose counts vary more than depth and level explain: analytic Pearson residuals (`lause2021`).
//!
//! With r_i the total of observation i, c_j that of feature j and T that of the table,
//!
//! ```text
//! μ_ij = r_i c_j / T,     R_ij = (x_ij − μ_ij) / √(μ_ij + μ_ij² / 100)  cut to ±√n,
//! ```
//!
//! and a feature is ranked by the variance (over n) of its residuals: those of a negative binomial of inverse
//! dispersion 100 around depth alone would all be near 1. A feature without a count has variance 0. The residual of a zero
//! is not 0, but it needs no storage: one feature is looked at after another.

use rayon::prelude::*;

use crate::data::{Matrix, Values};
use crate::error::{Error, Result};

/// Inverse dispersion θ.
const THETA: f64 = 100.0;

/// Variance of the Pearson residuals of each feature.
///
/// # Errors
/// [`Error::Value`] at an entry that is negative or not finite.
pub fn residual_variances(x: Values<'_>) -> Result<Vec<f64>> {
    let (n, m) = x.matrix.shape();
    let (mut row, mut column, mut odd) = (vec![0.0; n], vec![0.0; m], None);
    x.matrix.for_each_nonzero(|i, j, v| {
        if !(v >= 0.0 && v.is_finite()) && odd.is_none() {
            odd = Some(((i, j), v));
        }
        row[i] += v;
        column[j] += v;
    });
    if let Some((at, found)) = odd {
        let rule = "finite and 0 or larger to choose by Pearson residuals (use the counts, `--layer NAME`)";
        return Err(Error::Value { what: x.what.to_owned(), found, at, rule });
    }
    let total: f64 = row.iter().sum();
    let limit = (n as f64).sqrt();
    // The variance of one feature, given its values by observation.
    let of = |j: usize, values: &mut [f64]| {
        if column[j] == 0.0 {
            return 0.0;
        }
        let mut sum = 0.0;
        for (v, r) in values.iter_mut().zip(&row) {
            let mu = r * column[j] / total;
            // An observation without counts has nothing to deviate from.
            let residual = if mu > 0.0 { (*v - mu) / (mu + mu * mu / THETA).sqrt() } else { 0.0 };
            *v = residual.clamp(-limit, limit);
            sum += *v;
        }
        let mean = sum / n as f64;
        values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n as f64
    };
    Ok(match x.matrix {
        Matrix::Dense(x) => (0..m).into_par_iter().map(|j| of(j, &mut x.column(j).to_vec())).collect(),
        Matrix::Sparse(x) => {
            let turned = x.transpose();
            (0..m)
                .into_par_iter()
                .map_init(
                    || vec![0.0; n],
                    |values, j| {
                        values.fill(0.0);
                        let (at, v) = turned.row(j);
                        at.iter().zip(v).for_each(|(&i, &v)| values[i as usize] = v);
                        of(j, values)
                    },
                )
                .collect()
        }
    })
}

/// The `count` features of largest residual variance, ascending; of those that tie the first ones.
///
/// # Errors
/// As [`residual_variances`].
pub fn most_residual(x: Values<'_>, count: usize) -> Result<Vec<usize>> {
    let variance = residual_variances(x)?;
    let mut order: Vec<usize> = (0..variance.len()).collect();
    // Stable, so that ties are in the order of the table.
    order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
    order.truncate(count);
    order.sort_unstable();
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use crate::golden::Golden;
    use ndarray::{Array1, Array2, array};

    fn forms(x: &Array2<f64>) -> [Matrix; 2] {
        [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))]
    }

    /// The formula of the module, entry by entry.
    fn plain(x: &Array2<f64>) -> Vec<f64> {
        let (n, m) = x.dim();
        let total: f64 = x.sum();
        let r = Array2::from_shape_fn((n, m), |(i, j)| {
            let mu = x.row(i).sum() * x.column(j).sum() / total;
            let z = (x[[i, j]] - mu) / (mu + mu * mu / 100.0).sqrt();
            z.max(-(n as f64).sqrt()).min((n as f64).sqrt())
        });
        r.columns().into_iter().map(|c| c.var(0.0)).collect()
    }

    #[test]
    fn variances_and_choice_are_scanpys_and_those_of_the_formula() {
        let case = Golden::open("mssvae/pearson_hvg");
        let x: Array2<f64> = case.array("counts");
        // Scanpy's ranks; those beyond the eighth are -1.
        let rank: Array1<f64> = case.array("rank");
        let chosen: Vec<usize> = (0..rank.len()).filter(|&j| rank[j] >= 0.0).collect();
        let gold: Array1<f64> = case.array("residual_variances");
        for matrix in forms(&x) {
            let values = Values { what: "X", matrix: &matrix };
            let found = residual_variances(values).unwrap();
            for ((f, g), p) in found.iter().zip(&gold).zip(plain(&x)) {
                assert!((f - g).abs() <= 1e-4 * g && (f - p).abs() <= 1e-10 * p.max(1.0), "{f} {g} {p}");
            }
            assert_eq!(most_residual(values, 8).unwrap(), chosen);
            assert_eq!(most_residual(values, 99).unwrap().len(), 30);
        }
    }

    #[test]
    fn lines_without_counts_have_no_residual() {
        let x = array![[0.0, 0.0, 0.0], [3.0, 0.0, 1.0], [1.0, 0.0, 4.0]];
        for matrix in forms(&x) {
            let found = residual_variances(Values { what: "X", matrix: &matrix }).unwrap();
            assert!(found[1] == 0.0 && found[0] > 0.0 && found.iter().all(|v| v.is_finite()), "{found:?}");
        }
        let bad = Matrix::Dense(array![[1.0, -2.0]]);
        let why = most_residual(Values { what: "X", matrix: &bad }, 1).unwrap_err().to_string();
        assert!(why.contains("-2 at row 0, column 1"), "{why}");
    }
}
