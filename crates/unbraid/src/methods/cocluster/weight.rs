//! Weights for methods that compare lines by distance.
//!
//! ```text
//! tfidf:  t_ij = x_ij ( log((1 + n)/(1 + d_j)) + 1 ),   x̃_i = t_i / ‖t_i‖,     d_j rows in which column j is not 0
//! ```
//!
//! The smoothed form, as scikit-learn's `TfidfTransformer` has it: frequent columns count less, and the size of a row not at all.

use crate::data::Csr;

/// What values are taken for before distances are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// `Tfidf` where no value is negative, else `None`.
    Auto,
    /// As they are.
    None,
    /// Less for frequent columns, then rows of length 1.
    Tfidf,
}

crate::words!(Weighting, "a weighting", Auto = "auto", None = "none", Tfidf = "tfidf");

impl Weighting {
    /// The rows of the table, weighted.
    pub fn apply(self, x: &Csr) -> Csr {
        let signed = || x.values().iter().any(|v| *v < 0.0);
        match self {
            Weighting::None => x.clone(),
            Weighting::Auto if signed() => x.clone(),
            Weighting::Auto | Weighting::Tfidf => tfidf(x),
        }
    }
}

fn tfidf(x: &Csr) -> Csr {
    weighted(x, &rarity(x))
}

/// log((1 + n)/(1 + d_j)) + 1 of every column.
pub fn rarity(x: &Csr) -> Vec<f64> {
    let (n, m) = x.shape();
    let mut seen = vec![0usize; m];
    x.entries().filter(|e| e.2 != 0.0).for_each(|(_, j, _)| seen[j] += 1);
    seen.iter().map(|&d| ((1 + n) as f64 / (1 + d) as f64).ln() + 1.0).collect()
}

/// Rows times the rarity of columns, of length 1; rows of zeros stay.
pub fn weighted(x: &Csr, rarity: &[f64]) -> Csr {
    let n = x.shape().0;
    let weighted = x.map_at(|_, j, v| v * rarity[j]);
    let size: Vec<f64> =
        (0..n).map(|i| weighted.row(i).1.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
    weighted.map_at(|i, _, v| if size[i] > 0.0 { v / size[i] } else { v })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn weights_are_those_of_the_usual_transformer() {
        let x = Csr::from_dense(array![[1.0, 2.0, 0.0], [0.0, 3.0, 0.0], [4.0, 0.0, 5.0]].view());
        // scikit-learn 1.9.1, TfidfTransformer() with its defaults.
        let right = array![
            [0.4472135954999579, 0.8944271909999159, 0.0],
            [0.0, 1.0, 0.0],
            [0.5197754962997538, 0.0, 0.8543028932681572],
        ];
        let found = Weighting::Auto.apply(&x).to_dense();
        assert!((&found - &right).iter().all(|v| v.abs() < 1e-9), "{found}");
        let signed = x.map(|v| -v);
        assert_eq!(Weighting::Auto.apply(&signed), signed);
    }
}
