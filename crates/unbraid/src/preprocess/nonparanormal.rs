//! Making a Gram matrix robust to unknown monotone maps of the values.
//!
//! A nonparanormal vector is Gaussian after an unknown increasing map of each of its variables
//! (Liu, Lafferty and Wasserman 2009). Ranks do not see such maps, and Spearman's ρ of two variables
//! gives the correlation of the Gaussian vector as `2 sin(π ρ / 6)`: the skeptic of Liu, Han, Yuan,
//! Lafferty and Wasserman (2012). For the graph of the rows of a matrix the rows are the variables and
//! the columns the samples, so ranks run along each row.
//!
//! | choice   | what a Gram matrix is built from                                                     |
//! |----------|--------------------------------------------------------------------------------------|
//! | `none`   | the values                                                                           |
//! | `rank`   | Spearman's ρ of the rows, through `2 sin(π ρ / 6)`                                    |
//! | `scores` | normal scores Φ⁻¹(rank / (n + 1)) along each row                                      |
//! | `code`   | what the GmGM package does, for comparison with it only: no ranks on the Gram path,  |
//! |          | `sin(π/6 · G_ij / (G_ii G_jj))`; on the path of few components, scores down columns  |

use ndarray::{Array2, ArrayView2, s};

use crate::data::Csr;
use crate::linalg;
use crate::linalg::randomized::{Operator, SparseShifted};
use crate::stats::ranks::{average_ranks, normal_score, normal_scores, rows_through, spearman};

/// Which Gram matrix is built; see the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonparanormal {
    /// `none`: of the values.
    #[default]
    None,
    /// `rank`: the skeptic.
    Rank,
    /// `scores`: of normal scores.
    Scores,
    /// `code`: as the GmGM package computes it.
    Code,
}

crate::words!(
    Nonparanormal,
    "a nonparanormal form",
    None = "none",
    Rank = "rank",
    Scores = "scores",
    Code = "code"
);

/// The skeptic correlation `2 sin(π ρ / 6)` of every two rows; not always positive semidefinite.
pub fn skeptic(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut s = spearman(rows);
    s.mapv_inplace(|rho| 2.0 * (std::f64::consts::PI / 6.0 * rho).sin());
    // sin(π/6) is not exactly one half in floating point.
    s.diag_mut().fill(1.0);
    s
}

/// Every row replaced by its normal scores.
pub fn row_scores(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    rows_through(rows, normal_scores)
}

/// What the GmGM package makes of a Gram matrix: `sin(π/6 · G_ij / (G_ii G_jj))`. For comparison only.
pub fn as_the_package(gram: &Array2<f64>) -> Array2<f64> {
    let scale: Vec<f64> = gram.diag().iter().map(|&v| if v == 0.0 { 1.0 } else { v }).collect();
    let entry = |(i, j): (usize, usize)| {
        let (i, j) = (i.max(j), i.min(j));
        (std::f64::consts::PI / 6.0 * (gram[[i, j]] / scale[i] / scale[j])).sin()
    };
    Array2::from_shape_fn(gram.dim(), entry)
}

/// Replaces each row of a sparse matrix through its ranks, zeros included, without making it dense.
///
/// All zeros of a row share one average rank, hence one value b_i: the result is a sparse matrix plus
/// `b 1ᵀ`. `f` maps a rank among n values.
fn sparse_rows(x: &Csr, f: impl Fn(f64, usize) -> f64) -> SparseShifted {
    let (n, m) = x.shape();
    let mut entries = Vec::with_capacity(x.nnz());
    let mut zero = vec![0.0; n];
    for i in 0..n {
        let (at, values) = x.row(i);
        // Stored zeros rank with the others.
        let kept: Vec<(u32, f64)> =
            at.iter().copied().zip(values.iter().copied()).filter(|(_, v)| *v != 0.0).collect();
        let values: Vec<f64> = kept.iter().map(|&(_, v)| v).collect();
        let negative = values.iter().filter(|v| **v < 0.0).count() as f64;
        let zeros = (m - values.len()) as f64;
        // Zeros hold the ranks negative + 1 … negative + zeros.
        zero[i] = if zeros > 0.0 { f(negative + (zeros + 1.0) / 2.0, m) } else { 0.0 };
        for (&(j, v), rank) in kept.iter().zip(average_ranks(&values)) {
            let rank = if v > 0.0 { rank + zeros } else { rank };
            entries.push((i as u32, j, f(rank, m) - zero[i]));
        }
    }
    SparseShifted::new(Csr::from_triplets((n, m), entries), zero, vec![1.0; m])
}

/// Normal scores of the rows of a sparse matrix, zeros included, as a sparse matrix plus one of rank one.
pub fn sparse_row_scores(x: &Csr) -> SparseShifted {
    sparse_rows(x, normal_score)
}

/// The skeptic correlation of the rows of a sparse matrix, which is never made dense; O(nnz · rows).
pub fn sparse_skeptic(x: &Csr) -> Array2<f64> {
    const BLOCK: usize = 256;
    let n = x.shape().0;
    let centred = sparse_rows(x, |rank, m| rank - (m as f64 + 1.0) / 2.0);
    let mut gram = Array2::zeros((n, n));
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let unit = Array2::from_shape_fn((n, end - start), |(i, j)| f64::from(u8::from(i == start + j)));
        let columns = centred.apply(centred.apply_transposed(unit.view()).view());
        gram.slice_mut(s![.., start..end]).assign(&columns);
    }
    linalg::mirror_lower(&mut gram);
    let scale = gram.diag().mapv(|v| if v > 0.0 { 1.0 / v.sqrt() } else { 0.0 });
    Array2::from_shape_fn((n, n), |(i, j)| match i == j {
        true => 1.0,
        false => 2.0 * (std::f64::consts::PI / 6.0 * gram[[i, j]] * (scale[i] * scale[j])).sin(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_skeptic_does_not_see_increasing_maps() {
        let x = array![[0.3, -1.2, 2.0, 0.9, 0.1], [1.0, -0.5, 0.7, 0.8, -2.0], [0.0, 3.0, 1.0, 2.0, 5.0]];
        let mut bent = x.clone();
        bent.row_mut(0).mapv_inplace(f64::exp);
        bent.row_mut(1).mapv_inplace(|v| v * v * v);
        assert_eq!(skeptic(x.view()), skeptic(bent.view()));
        let rho = spearman(x.view())[[0, 1]];
        assert!((skeptic(x.view())[[0, 1]] - 2.0 * (std::f64::consts::PI * rho / 6.0).sin()).abs() < 1e-15);
        assert_eq!(skeptic(x.view()).diag().to_vec(), [1.0; 3]);
    }

    #[test]
    fn sparse_scores_equal_dense_scores() {
        let x = array![[0.0, -1.0, 0.0, 2.0, 2.0], [1.0, 3.0, 2.0, 5.0, 4.0], [0.0, 0.0, 0.0, 0.0, 0.0]];
        let sparse = sparse_row_scores(&Csr::from_dense(x.view()));
        let found = sparse.apply(Array2::eye(5).view());
        assert!((found - row_scores(x.view())).iter().all(|v| v.abs() < 1e-12));
        let s = sparse_skeptic(&Csr::from_dense(x.view()));
        assert!((s - skeptic(x.view())).iter().all(|v| v.abs() < 1e-14));
    }

    #[test]
    fn the_package_divides_by_both_variances() {
        let g = array![[4.0, 1.0], [1.0, 0.0]];
        let s = as_the_package(&g);
        assert!((s[[0, 1]] - (std::f64::consts::PI / 24.0).sin()).abs() < 1e-15);
        assert!((s[[0, 0]] - (std::f64::consts::PI / 24.0).sin()).abs() < 1e-15);
    }

    #[test]
    fn words_go_both_ways() {
        for word in ["none", "rank", "scores", "code"] {
            assert_eq!(word.parse::<Nonparanormal>().unwrap().to_string(), word);
        }
        assert!("ranks".parse::<Nonparanormal>().unwrap_err().contains("allowed are none, rank"));
    }
}
