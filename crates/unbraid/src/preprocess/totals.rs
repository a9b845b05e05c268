//! Every observation brought to one total, the first step of the usual pipeline for counts.

use crate::data::{Matrix, Values};
use crate::error::{Error, Result};

/// Each row times `target` over its sum: counts per `target`. A row without a value stays as it is.
///
/// # Errors
/// [`Error::Value`] at an entry that is negative or not finite, [`Error::Param`] for a target that is
/// not a positive number.
pub fn to_total(x: Values<'_>, target: f64) -> Result<Matrix> {
    if !(target > 0.0 && target.is_finite()) {
        return Err(Error::Param { name: "target", found: target.to_string(), rule: "a positive number" });
    }
    let mut sums = vec![0.0; x.matrix.shape().0];
    let mut odd = None;
    x.matrix.for_each_nonzero(|i, j, v| {
        if !(v >= 0.0 && v.is_finite()) && odd.is_none() {
            odd = Some(((i, j), v));
        }
        sums[i] += v;
    });
    if let Some((at, found)) = odd {
        let rule = "finite and 0 or larger to be brought to one total";
        return Err(Error::Value { what: x.what.into(), found, at, rule });
    }
    let factor: Vec<f64> = sums.iter().map(|&s| if s > 0.0 { target / s } else { 1.0 }).collect();
    Ok(match x.matrix {
        Matrix::Dense(x) => {
            let mut out = x.clone();
            out.rows_mut().into_iter().zip(&factor).for_each(|(mut row, f)| row *= *f);
            Matrix::Dense(out)
        }
        Matrix::Sparse(x) => Matrix::Sparse(x.map_at(|i, _, v| v * factor[i])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use ndarray::array;

    #[test]
    fn rows_get_the_total_in_both_forms_and_empty_rows_stay() {
        let x = array![[1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]];
        let expected = array![[2.5, 0.0, 7.5], [0.0, 0.0, 0.0], [0.0, 10.0, 0.0]];
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))] {
            let out = to_total(Values { what: "X", matrix: &matrix }, 10.0).unwrap();
            assert_eq!(out.to_dense(), expected);
            assert_eq!(matches!(out, Matrix::Sparse(_)), matches!(matrix, Matrix::Sparse(_)));
        }
    }

    #[test]
    fn negative_values_and_bad_targets_are_refused() {
        let of = |x, target| to_total(Values { what: "X", matrix: &Matrix::Dense(x) }, target);
        assert!(of(array![[1.0, -2.0]], 1.0).unwrap_err().to_string().contains("-2 at row 0, column 1"));
        assert!(of(array![[1.0]], 0.0).unwrap_err().to_string().contains("target"));
        assert!(of(array![[f64::NAN]], 1.0).is_err());
    }
}
