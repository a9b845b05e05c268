//! Where the iteration starts.
//!
//! Random, or the non-negative parts of the leading singular vectors ([`crate::linalg::nndsvd`]); `nndsvda` puts the mean of X where
//! these are 0.
//! Boutsidis and Gallopoulos (2008): `boutsidis2008`. Missing entries count as the mean here.

use ndarray::Array2;
use rand::RngExt;

use crate::data::Matrix;
use crate::error::Result;
use crate::fit::{Draw, Seed};
use crate::linalg::randomized::{Effort, SparseShifted, leading};
use crate::linalg::{nndsvd, svd};

/// Where the iteration starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Uniform numbers about √(mean / k).
    Random,
    /// The non-negative parts of the leading singular vectors.
    Nndsvd,
    /// The same, with the mean of the table in place of zeros.
    Nndsvda,
}

crate::words!(Init, "a start", Random = "random", Nndsvd = "nndsvd", Nndsvda = "nndsvda");

/// Tables with a side up to this are decomposed exactly.
const SMALL: usize = 200;
/// The spectrum of a table falls fast from the vectors that matter; ten more are carried along.
const EFFORT: Effort = Effort { power: 4, oversamples: 10 };

/// A start for `scale` · X, X with the given mean of its measured entries: loadings (features × k) and scores (samples × k).
///
/// # Errors
/// [`crate::Error::Numeric`] where a decomposition does not converge.
pub(super) fn start(
    init: Init,
    matrix: &Matrix,
    k: usize,
    (mean, scale): (f64, f64),
    seed: Seed,
) -> Result<(Array2<f64>, Array2<f64>)> {
    let (n, d) = matrix.shape();
    let mean = mean * scale;
    if init == Init::Random {
        let size = (mean / k as f64).sqrt();
        let draw = |rows: usize, item| {
            let mut rng = seed.stream(Draw::Init, item);
            Array2::from_shape_simple_fn((rows, k), || 2.0 * size * (rng.random::<f64>() + 0.01))
        };
        return Ok((draw(d, 0), draw(n, 1)));
    }
    let known = |v: f64| if v.is_nan() { mean } else { v * scale };
    let exact = n.min(d) <= SMALL && n.max(d) <= 100 * SMALL;
    let svd = match matrix {
        Matrix::Dense(x) if exact => svd(x.mapv(known).view())?,
        Matrix::Sparse(x) if exact => svd(x.map(known).to_dense().view())?,
        Matrix::Dense(x) if scale == 1.0 && !x.iter().any(|v| v.is_nan()) => {
            leading(&x.view(), k, EFFORT, seed)?
        }
        Matrix::Dense(x) => leading(&x.mapv(known).view(), k, EFFORT, seed)?,
        Matrix::Sparse(x) => leading(&SparseShifted::plain(x.map(known)), k, EFFORT, seed)?,
    };
    let fill = if init == Init::Nndsvda { mean } else { 0.0 };
    let (mut loadings, mut scores) = (Array2::zeros((d, k)), Array2::zeros((n, k)));
    for (a, &sigma) in svd.s.iter().take(k).enumerate() {
        let (u, v) = nndsvd::pair(a == 0, sigma, svd.u.column(a), svd.v.column(a));
        scores.column_mut(a).assign(&u);
        loadings.column_mut(a).assign(&v);
    }
    for side in [&mut loadings, &mut scores] {
        side.mapv_inplace(|v: f64| if v > 0.0 { v } else { fill });
    }
    Ok((loadings, scores))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Csr;
    use crate::golden::Golden;

    #[test]
    fn starts_are_those_of_the_golden_case() {
        let case = Golden::open("nmf/nndsvd_30x20");
        let x: Array2<f64> = case.array("X");
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))] {
            for (init, name) in [(Init::Nndsvd, "nndsvd"), (Init::Nndsvda, "nndsvda")] {
                let (loadings, scores) = start(init, &matrix, 5, (mean, 1.0), Seed(1)).unwrap();
                case.assert_close(&format!("{name}_W"), &scores, 1e-10);
                case.assert_close(&format!("{name}_H"), &loadings.t().to_owned(), 1e-10);
                // Of the transpose the sides change places.
                let (scores, loadings) = start(init, &matrix.transpose(), 5, (mean, 1.0), Seed(2)).unwrap();
                case.assert_close(&format!("{name}_W"), &scores, 1e-10);
                case.assert_close(&format!("{name}_H"), &loadings.t().to_owned(), 1e-10);
            }
        }
    }

    #[test]
    fn any_table_has_a_start() {
        // One line, zeros only beyond rank one, missing entries, values whose squares overflow.
        let one = Array2::from_shape_fn((1, 7), |(_, j)| j as f64);
        let rank = Array2::from_shape_fn((9, 6), |(i, j)| if i < 3 { (i * j) as f64 } else { 0.0 });
        let mut gaps = Array2::from_shape_fn((8, 8), |(i, j)| ((i * 3 + j * 5) % 7) as f64);
        gaps[[2, 3]] = f64::NAN;
        let huge = gaps.mapv(|v| if v.is_nan() { 0.0 } else { v * 1e300 });
        for (x, k, scale) in [(one, 1, 1.0), (rank, 4, 1.0), (gaps, 8, 1.0), (huge, 3, 2f64.powi(-996))] {
            let known: Vec<f64> = x.iter().copied().filter(|v| !v.is_nan()).collect();
            let mean = known.iter().map(|v| v / known.len() as f64).sum();
            for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))] {
                for init in [Init::Random, Init::Nndsvd, Init::Nndsvda] {
                    let (u, v) = start(init, &matrix, k, (mean, scale), Seed(3)).unwrap();
                    assert!(u.iter().chain(&v).all(|v| v.is_finite() && *v >= 0.0), "{init}");
                    assert!(u.sum() > 0.0 && v.sum() > 0.0, "{init}");
                }
            }
        }
    }
}
