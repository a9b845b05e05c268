//! Ranks with average ties, and what is built on them.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::linalg;

/// Ranks from 1; values that tie share the average of their ranks.
pub fn average_ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    let mut start = 0;
    while start < order.len() {
        // `==` and not the order of the sort, so that 0 and −0 tie.
        let tie = order[start..].iter().take_while(|&&i| x[i] == x[order[start]]).count().max(1);
        // Ranks start + 1 … start + tie share their mean.
        let rank = start as f64 + (tie as f64 + 1.0) / 2.0;
        order[start..start + tie].iter().for_each(|&i| ranks[i] = rank);
        start += tie;
    }
    ranks
}

/// Φ⁻¹ of a rank among n, at rank / (n + 1).
pub fn normal_score(rank: f64, n: usize) -> f64 {
    Normal::standard().inverse_cdf(rank / (n as f64 + 1.0))
}

/// Normal scores Φ⁻¹(rank / (n + 1)), average ties.
pub fn normal_scores(x: &[f64]) -> Vec<f64> {
    average_ranks(x).into_iter().map(|r| normal_score(r, x.len())).collect()
}

/// `f` of every row, each as long as the row.
pub(crate) fn rows_through(x: ArrayView2<'_, f64>, f: impl Fn(&[f64]) -> Vec<f64> + Sync) -> Array2<f64> {
    let of_row = |i| {
        linalg::settle();
        f(&x.row(i).to_vec())
    };
    let new: Vec<Vec<f64>> = (0..x.nrows()).into_par_iter().map(of_row).collect();
    Array2::from_shape_fn(x.dim(), |(i, j)| new[i][j])
}

/// Spearman's rank correlation of every two rows, exactly symmetric, 1 on the diagonal. A constant row
/// has correlation 0 with every other.
pub fn spearman(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    let middle = (rows.ncols() as f64 + 1.0) / 2.0;
    let unit = rows_through(rows, |row| {
        let centred: Vec<f64> = average_ranks(row).into_iter().map(|r| r - middle).collect();
        let norm = centred.iter().map(|v| v * v).sum::<f64>().sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        centred.into_iter().map(|v| v * scale).collect()
    });
    let mut rho = linalg::gram(unit.view());
    rho.iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0));
    rho.diag_mut().fill(1.0);
    rho
}

/// Spearman's rank correlation of two lists of the same length; 0 where one of them is constant.
///
/// # Panics
/// Lists of different lengths.
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "a pair of each");
    let both = Array2::from_shape_fn((2, a.len()), |(i, j)| if i == 0 { a[j] } else { b[j] });
    spearman(both.view())[[0, 1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn ties_share_their_average_rank() {
        assert_eq!(average_ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(average_ranks(&[0.0, -0.0, 5.0]), [1.5, 1.5, 3.0]);
        assert_eq!(average_ranks(&[7.0; 4]), [2.5; 4]);
        assert!(average_ranks(&[]).is_empty());
        assert_eq!(average_ranks(&[f64::NAN, 1.0]).len(), 2);
    }

    #[test]
    fn two_lists_are_two_rows() {
        let (a, b) = ([1.0, 5.0, 2.0, 9.0], [0.1, 0.2, 0.4, 0.3]);
        assert!((correlation(&a, &b) - 0.4).abs() < 1e-12);
        assert_eq!(correlation(&a, &[1.0; 4]), 0.0);
    }

    #[test]
    fn spearman_agrees_with_the_textbook() {
        // Without ties: ρ = 1 − 6 Σ d² / (n (n² − 1)), here Σ d² = 194 with n = 10.
        let iq = [106.0, 100.0, 86.0, 101.0, 99.0, 103.0, 97.0, 113.0, 112.0, 110.0];
        let tv = [7.0, 27.0, 2.0, 50.0, 28.0, 29.0, 20.0, 12.0, 6.0, 17.0];
        let rho = spearman(Array2::from_shape_fn((2, 10), |(i, j)| [iq, tv][i][j]).view());
        assert!((rho[[0, 1]] - (1.0 - 6.0 * 194.0 / 990.0)).abs() < 1e-14);
        // With ties, Pearson's r of the average ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4).
        let rho = spearman(array![[1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]].view());
        assert!((rho[[0, 1]] - 4.5 / (4.5f64 * 5.0).sqrt()).abs() < 1e-14);
        assert_eq!(rho[[0, 2]], 0.0);
        assert_eq!(rho[[2, 2]], 1.0);
    }

    #[test]
    fn normal_scores_are_symmetric_quantiles() {
        let z = normal_scores(&[10.0, 30.0, 20.0]);
        // Φ⁻¹(1/4) = −0.6744897501960817
        assert!((z[0] + 0.674_489_750_196_081_7).abs() < 1e-12);
        assert!((z[1] - 0.674_489_750_196_081_7).abs() < 1e-12);
        assert!(z[2].abs() < 1e-15);
    }
}
