//! Whether each learnt code stands for one true factor (the D of DCI, `eastwood2018`).
//!
//! For every true factor f a gradient-boosted regression on all codes gives importances R_cf, which sum to 1 over
//! the codes c. With F factors, P the rows of R divided by their sums, and ρ_c the share of row c in the sum of R,
//!
//! ```text
//! D_c = 1 + Σ_f P_cf log_F P_cf,        score = Σ_c ρ_c D_c :
//! ```
//!
//! 1 where every code that matters serves one factor, 0 where all serve all alike. Codes of no importance weigh
//! nothing. The score does not see supports: it can be near 1 where they are wrong.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::boosting::Features;
use crate::error::{Error, Result};

/// Score and what it was computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disentanglement {
    /// Σ ρ D.
    pub score: f64,
    /// R, codes × true factors; columns sum to 1, or to 0 for a factor that does not vary.
    pub importances: Array2<f64>,
}

/// The score of importances; 0 where all of them are 0, and with one factor only 1 where any is not.
pub fn score(importances: ArrayView2<'_, f64>) -> f64 {
    let total: f64 = importances.sum();
    if !(total > 0.0) {
        return 0.0;
    }
    let base = (importances.ncols() as f64).ln();
    let of_row = |row: ndarray::ArrayView1<'_, f64>| {
        let sum = row.sum();
        // 0 log 0 = 0.
        let entropy: f64 = row.iter().map(|r| r / sum).filter(|p| *p > 0.0).map(|p| p * p.ln()).sum();
        if sum > 0.0 { sum / total * if base > 0.0 { 1.0 + entropy / base } else { 1.0 } } else { 0.0 }
    };
    importances.rows().into_iter().map(of_row).sum()
}

/// Codes (observations × codes) against true factors (observations × factors), such as posterior means of all
/// columns against all true scores, with zeros for columns of other studies. Factors are regressed in parallel, each
/// by itself, so that the number of threads changes nothing.
///
/// # Errors
/// [`Error::Shape`] where rows differ in number or a side is empty, [`Error::Value`] at an entry that is not finite.
pub fn disentanglement(codes: ArrayView2<'_, f64>, factors: ArrayView2<'_, f64>) -> Result<Disentanglement> {
    let (n, f) = factors.dim();
    if f == 0 || n != codes.nrows() {
        let found = vec![n, f];
        return Err(Error::Shape {
            what: "true factors".into(),
            found,
            rule: "a row for each row of codes, at least one column",
        });
    }
    let features = Features::new(codes)?;
    let columns: Vec<_> =
        (0..f).into_par_iter().map(|j| features.importances(factors.column(j))).collect::<Result<_>>()?;
    let importances = Array2::from_shape_fn((codes.ncols(), f), |(c, j)| columns[j][c]);
    Ok(Disentanglement { score: score(importances.view()), importances })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn zeros_one_factor_and_empty_sides() {
        assert_eq!(score(Array2::zeros((3, 2)).view()), 0.0);
        assert_eq!(score(array![[0.3], [0.7]].view()), 1.0);
        let x = Array2::from_shape_fn((9, 2), |(i, j)| (i * (j + 1)) as f64);
        assert!(disentanglement(x.view(), Array2::zeros((8, 2)).view()).is_err());
        assert!(disentanglement(x.view(), Array2::zeros((9, 0)).view()).is_err());
    }

    #[test]
    fn codes_that_are_the_factors_in_any_order_and_sign_score_1() {
        let z = Array2::from_shape_fn((200, 3), |(i, j)| ((i * (7 + 4 * j) + j) % 101) as f64);
        let codes = Array2::from_shape_fn((200, 4), |(i, c)| if c == 3 { 0.0 } else { -2.0 * z[[i, 2 - c]] });
        let found = disentanglement(codes.view(), z.view()).unwrap();
        assert!(found.score > 0.999, "{}", found.score);
        let best = |f: usize| {
            (0..4).max_by(|&a, &b| found.importances[[a, f]].total_cmp(&found.importances[[b, f]]))
        };
        assert_eq!((best(0), best(1), best(2)), (Some(2), Some(1), Some(0)));
        let mixed = Array2::from_shape_fn((200, 3), |(i, c)| z.row(i).sum() + 0.01 * z[[i, c]]);
        assert!(disentanglement(mixed.view(), z.view()).unwrap().score < 0.5);
    }
}
