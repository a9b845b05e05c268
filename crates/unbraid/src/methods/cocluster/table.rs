//! The table as a joint distribution, by rows and by columns, never dense.

use crate::data::{Csr, Matrix, Values};
use crate::error::{Error, Result};

/// P by rows and by columns, with what is read of it again and again.
#[derive(Clone, Debug)]
pub struct Joint {
    /// P, n × m.
    pub rows: Csr,
    /// Pᵀ, m × n.
    pub cols: Csr,
    /// Σⱼ P_ij.
    pub row_mass: Vec<f64>,
    /// Σᵢ P_ij.
    pub col_mass: Vec<f64>,
    /// N = Σ X.
    pub total: f64,
    /// I(P), in nats.
    pub information: f64,
}

impl Joint {
    /// Reads a table without negative values.
    ///
    /// # Errors
    /// [`Error::Value`] for the first negative entry, [`Error::Line`] for rows and columns without a value above 0.
    pub fn new(values: Values<'_>) -> Result<Joint> {
        nonnegative(values, "0 or larger; `--set shift=min` makes it so")?;
        filled(values)?;
        let x = values.matrix.to_csr();
        let mass = |x: &Csr| -> Vec<f64> { (0..x.shape().0).map(|i| x.row(i).1.iter().sum()).collect() };
        let total: f64 = mass(&x).iter().sum();
        let rows = x.map(|v| v / total);
        let cols = rows.transpose();
        let (row_mass, col_mass) = (mass(&rows), mass(&cols));
        let term = |(i, j, p): (usize, usize, f64)| p * (p / row_mass[i] / col_mass[j]).ln();
        // Row by row, so that the sum of a large table keeps its digits.
        let mut sums = vec![0.0; rows.shape().0];
        rows.entries().for_each(|e| sums[e.0] += term(e));
        let information = sums.iter().sum::<f64>().max(0.0);
        Ok(Joint { rows, cols, row_mass, col_mass, total, information })
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.rows.shape()
    }

    /// φ = Σ (x − e)²/e / ((n − 1)(m − 1)), e the product of the margins over N: the dispersion that is left beside the margins. It
    /// is in the unit of the values, 1 for counts without blocks; 1 where it cannot be told.
    pub fn dispersion(&self) -> f64 {
        let (n, m) = self.shape();
        let free = n.saturating_sub(1) as f64 * m.saturating_sub(1) as f64;
        let mut sums = vec![0.0; n];
        self.rows.entries().for_each(|(i, j, p)| sums[i] += p * p / (self.row_mass[i] * self.col_mass[j]));
        let found = self.total * (sums.iter().sum::<f64>() - 1.0) / free;
        if found.is_finite() && found > 1e-12 { found } else { 1.0 }
    }

    /// The same distribution of N/`by`: what it weighs as a sum of counts.
    pub fn divided(self, by: f64) -> Joint {
        Joint { total: self.total / by, ..self }
    }
}

/// Refuses negative values.
///
/// # Errors
/// [`Error::Value`] for the first, with `rule`.
pub fn nonnegative(values: Values<'_>, rule: &'static str) -> Result<()> {
    let mut odd = None;
    values.matrix.for_each_nonzero(|i, j, v| {
        if v < 0.0 && odd.is_none() {
            odd = Some(((i, j), v));
        }
    });
    match odd {
        Some((at, found)) => Err(Error::Value { what: values.what.into(), found, at, rule }),
        None => Ok(()),
    }
}

/// Refuses rows and columns of zeros.
///
/// # Errors
/// [`Error::Line`] with all of them, rows first.
pub fn filled(values: Values<'_>) -> Result<()> {
    let (n, m) = values.matrix.shape();
    let (mut rows, mut cols) = (vec![false; n], vec![false; m]);
    values.matrix.for_each_nonzero(|i, j, _| (rows[i], cols[j]) = (true, true));
    for (axis, seen) in [("row", rows), ("column", cols)] {
        let at: Vec<usize> = (0..seen.len()).filter(|&i| !seen[i]).collect();
        if !at.is_empty() {
            return Err(Error::Line {
                what: values.what.into(),
                axis,
                at,
                problem: "holds no value but 0 and belongs to no cluster",
                hint: "drop it (`--set empty=drop`)".into(),
            });
        }
    }
    Ok(())
}

/// Refuses more clusters than there are lines.
///
/// # Errors
/// [`Error::Param`] for `rows` or `cols`.
pub fn refuse_clusters(matrix: &Matrix, rows: usize, cols: usize) -> Result<()> {
    let (n, m) = matrix.shape();
    for (name, clusters, lines, rule) in [
        ("rows", rows, n, "from 1 to the number of rows"),
        ("cols", cols, m, "from 1 to the number of columns"),
    ] {
        if clusters == 0 || clusters > lines {
            let kind = if name == "rows" { "row" } else { "column" };
            let found = format!("{clusters} for {lines} {kind}{}", if lines == 1 { "" } else { "s" });
            return Err(Error::Param { name, found, rule });
        }
    }
    Ok(())
}

/// Refuses counts of 0, for `validate`.
///
/// # Errors
/// [`Error::Param`] for the first.
pub fn at_least_one(counts: &[(&'static str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, value)| *value == 0) {
        Some(&(name, _)) => Err(Error::Param { name, found: "0".into(), rule: "at least 1" }),
        None => Ok(()),
    }
}

/// Refuses a tolerance below 0.
///
/// # Errors
/// [`Error::Param`] for `tol`.
pub fn tolerance(tol: f64) -> Result<()> {
    if tol >= 0.0 && tol.is_finite() {
        return Ok(());
    }
    Err(Error::Param { name: "tol", found: tol.to_string(), rule: "0 or a positive number" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn why(x: Array2<f64>) -> String {
        let matrix = Matrix::Dense(x);
        Joint::new(Values { what: "X", matrix: &matrix }).map_or_else(|e| e.to_string(), |_| "good".into())
    }

    #[test]
    fn what_is_no_distribution_is_located() {
        assert!(why(array![[1.0, 2.0], [0.0, -3.0]]).contains("-3 at row 1, column 1"));
        assert!(why(array![[1.0, 2.0], [0.0, 0.0]]).contains("row 1 holds no value but 0"));
        assert!(why(array![[1.0, 0.0], [2.0, 0.0]]).contains("column 1 holds no value"));
        assert_eq!(why(array![[1.0, 0.0], [2.0, 1.0]]), "good");
        let x = Matrix::Dense(array![[1.0, 2.0]]);
        assert!(refuse_clusters(&x, 2, 1).unwrap_err().to_string().contains("2 for 1 row,"));
        assert!(refuse_clusters(&x, 1, 0).unwrap_err().to_string().contains("0 for 2 columns"));
    }

    #[test]
    fn information_is_zero_for_products_and_the_entropy_for_a_diagonal() {
        let outer = Array2::from_shape_fn((4, 3), |(i, j)| (i + 1) as f64 * (j + 2) as f64);
        let matrix = Matrix::Dense(outer);
        let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
        assert!(joint.information < 1e-14 && (joint.total - 90.0).abs() < 1e-12);
        assert!(joint.dispersion() == 1.0 && joint.divided(3.0).total == 30.0);
        let matrix = Matrix::Dense(Array2::eye(4) * 7.0);
        let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
        assert!((joint.information - 4f64.ln()).abs() < 1e-14);
        // Σ (x − e)²/e with e = 7/4 everywhere, over 9.
        let plain = (4.0 * (7.0f64 - 1.75).powi(2) / 1.75 + 12.0 * 1.75) / 9.0;
        assert!((joint.dispersion() - plain).abs() < 1e-12, "{}", joint.dispersion());
    }
}
