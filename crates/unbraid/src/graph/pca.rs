//! Principal components, the embedding that a plain neighbour graph is built on.
//!
//! With X centred by columns, X = U S Vᵀ, the scores are U S = X V. The smaller of X Xᵀ and Xᵀ X is
//! decomposed; a sparse X is never centred or made dense, its Gram matrix is corrected by the means.

use ndarray::{Array1, Array2, ArrayView1, Axis};
use rayon::prelude::*;

use crate::data::{Csr, Matrix, Values};
use crate::error::{Error, Result};
use crate::fit::Check;
use crate::linalg;

/// Leading principal components.
#[derive(Clone, Debug)]
pub struct Components {
    /// n × k, columns orthogonal with zero mean, in order of falling variance. The entry of largest
    /// size in each column is positive.
    pub scores: Array2<f64>,
    /// k variances (divisor n − 1), falling.
    pub variance: Vec<f64>,
    /// Sum of the variances of all columns.
    pub total_variance: f64,
}

/// Whether values are read as they are or through log(1 + x).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As stored.
    Raw,
    /// log(1 + x); entries must be above −1.
    Log1p,
}

/// The first `k` principal components of the rows of `x` (n × m), fewer where n − 1 or m is smaller.
///
/// # Errors
/// [`Error::Param`] for k = 0, [`Error::Shape`] for fewer than two rows, [`Error::Value`] for an entry
/// that is not finite or that has no logarithm.
pub fn principal_components(x: Values<'_>, scale: Scale, k: usize) -> Result<Components> {
    x.check()?;
    let (n, m) = x.matrix.shape();
    if k == 0 {
        return Err(Error::Param { name: "k", found: "0".into(), rule: "at least 1" });
    }
    if n < 2 {
        return Err(Error::Shape { what: x.what.into(), found: vec![n, m], rule: "two rows or more" });
    }
    let taken;
    let matrix = match scale {
        Scale::Raw => x.matrix,
        Scale::Log1p => {
            let mut odd = None;
            x.matrix.for_each_nonzero(|i, j, v| {
                if v <= -1.0 && odd.is_none() {
                    odd = Some((i, j, v));
                }
            });
            if let Some((i, j, found)) = odd {
                return Err(Error::Value {
                    what: x.what.into(),
                    found,
                    at: (i, j),
                    rule: "above -1 for log1p",
                });
            }
            taken = x.matrix.map(f64::ln_1p);
            &taken
        }
    };
    match matrix {
        Matrix::Dense(x) => {
            let mean = x.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(m));
            let centred = x - &mean;
            if n <= m {
                from_rows(linalg::gram(centred.view()), n, m, k)
            } else {
                let (v, values, total) = leading(linalg::gram(centred.t()), n, m, k)?;
                finish(linalg::matmul(centred.view(), v.view()), values, total, n)
            }
        }
        Matrix::Sparse(x) => sparse(x, k),
    }
}

/// Sparse X: (X − 1μᵀ)(X − 1μᵀ)ᵀ = X Xᵀ − q 1ᵀ − 1 qᵀ + |μ|², q = Xμ; (X − 1μᵀ)ᵀ(X − 1μᵀ) = XᵀX − n μμᵀ.
fn sparse(x: &Csr, k: usize) -> Result<Components> {
    let (n, m) = x.shape();
    let across = x.transpose();
    let mean: Array1<f64> = (0..m).map(|j| across.row(j).1.iter().sum::<f64>() / n as f64).collect();
    if n <= m {
        let q = sparse_times(x, mean.view());
        let mut gram = sparse_gram(x, &across);
        let square = mean.dot(&mean);
        gram.indexed_iter_mut().for_each(|((i, j), g)| *g += square - q[i] - q[j]);
        from_rows(gram, n, m, k)
    } else {
        let mut gram = sparse_gram(&across, x);
        gram.indexed_iter_mut().for_each(|((i, j), g)| *g -= n as f64 * mean[i] * mean[j]);
        let (v, values, total) = leading(gram, n, m, k)?;
        let mut scores = Array2::zeros((n, v.ncols()));
        for (c, column) in v.columns().into_iter().enumerate() {
            let shift = mean.dot(&column);
            scores.column_mut(c).assign(&(sparse_times(x, column) - shift));
        }
        finish(scores, values, total, n)
    }
}

fn sparse_times(x: &Csr, v: ArrayView1<'_, f64>) -> Array1<f64> {
    (0..x.shape().0)
        .map(|i| {
            let (at, values) = x.row(i);
            at.iter().zip(values).map(|(&j, &x)| x * v[j as usize]).sum::<f64>()
        })
        .collect()
}

/// `x xᵀ`, each row summed by one thread in the order of the entries.
fn sparse_gram(x: &Csr, transpose: &Csr) -> Array2<f64> {
    let n = x.shape().0;
    let mut out = vec![0.0; n * n];
    out.par_chunks_mut(n.max(1)).enumerate().for_each(|(i, row)| {
        let (at, values) = x.row(i);
        for (&c, &v) in at.iter().zip(values) {
            let (others, theirs) = transpose.row(c as usize);
            others.iter().zip(theirs).for_each(|(&j, &w)| row[j as usize] += v * w);
        }
    });
    Array2::from_shape_vec((n, n), out).expect("n rows of n values")
}

/// Leading eigenvectors and eigenvalues of a Gram matrix, values falling, and its trace.
fn leading(gram: Array2<f64>, n: usize, m: usize, k: usize) -> Result<(Array2<f64>, Vec<f64>, f64)> {
    let eigen = linalg::eigh(gram.view())?;
    let k = k.min(n - 1).min(m);
    let last = eigen.values.len();
    let values = (0..k).map(|c| eigen.values[last - 1 - c].max(0.0)).collect();
    let vectors = Array2::from_shape_fn((last, k), |(i, c)| eigen.vectors[[i, last - 1 - c]]);
    Ok((vectors, values, gram.diag().sum().max(0.0)))
}

fn from_rows(gram: Array2<f64>, n: usize, m: usize, k: usize) -> Result<Components> {
    let (mut u, values, total) = leading(gram, n, m, k)?;
    u.columns_mut().into_iter().zip(&values).for_each(|(mut c, v)| c *= v.sqrt());
    finish(u, values, total, n)
}

fn finish(mut scores: Array2<f64>, values: Vec<f64>, total: f64, n: usize) -> Result<Components> {
    for mut column in scores.columns_mut() {
        let largest = column.iter().fold(0.0f64, |m, &v| if v.abs() > m.abs() { v } else { m });
        if largest < 0.0 {
            column.mapv_inplace(|v| -v);
        }
    }
    let over = (n - 1) as f64;
    Ok(Components {
        scores,
        variance: values.iter().map(|v| v / over).collect(),
        total_variance: total / over,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;

    fn counts(n: usize, m: usize) -> Array2<f64> {
        let mut rng = Seed(7).stream(Draw::Simulate, 0);
        Array2::from_shape_simple_fn((n, m), || {
            if rng.random_bool(0.6) { 0.0 } else { f64::from(rng.random_range(1..9u8)) }
        })
    }

    #[test]
    fn sparse_dense_and_svd_agree_on_both_sides() {
        for (n, m) in [(12, 30), (40, 9), (15, 15)] {
            let x = counts(n, m);
            let of =
                |x: &Matrix| principal_components(Values { what: "X", matrix: x }, Scale::Log1p, 4).unwrap();
            let dense = of(&Matrix::Dense(x.clone()));
            let sparse = of(&Matrix::Sparse(Csr::from_dense(x.view())));
            let l = x.mapv(f64::ln_1p);
            let c = &l - &l.mean_axis(Axis(0)).unwrap();
            let svd = linalg::svd(c.view()).unwrap();
            for a in 0..4 {
                let expected = &svd.u.column(a) * svd.s[a];
                let sign = expected.dot(&dense.scores.column(a)).signum();
                for i in 0..n {
                    assert!((dense.scores[[i, a]] - sign * expected[i]).abs() < 1e-9);
                    assert!((dense.scores[[i, a]] - sparse.scores[[i, a]]).abs() < 1e-9);
                }
                assert!((dense.variance[a] - svd.s[a].powi(2) / (n - 1) as f64).abs() < 1e-10);
            }
            let all: f64 = svd.s.iter().map(|s| s * s).sum::<f64>() / (n - 1) as f64;
            assert!((dense.total_variance - all).abs() < 1e-9 && (sparse.total_variance - all).abs() < 1e-9);
        }
    }

    #[test]
    fn bad_input_is_refused_and_few_rows_give_few_components() {
        let of = |x: Array2<f64>, k| {
            principal_components(Values { what: "X", matrix: &Matrix::Dense(x) }, Scale::Log1p, k)
        };
        assert!(of(Array2::ones((1, 4)), 2).unwrap_err().to_string().contains("two rows"));
        assert!(of(ndarray::array![[0.0, 1.0], [1.0, -1.0]], 1).unwrap_err().to_string().contains("log1p"));
        assert!(of(Array2::ones((3, 4)), 0).is_err());
        assert_eq!(of(counts(3, 8), 20).unwrap().scores.dim(), (3, 2));
    }
}
