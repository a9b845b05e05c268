//! Which features a fit is given.
//!
//! *Variable features* follow Seurat's first recipe as Scanpy implements it (`flavor="seurat"`): the
//! dispersion (variance over mean of the values on their original scale) is compared within 20 bins of
//! log1p(mean), and the N with the largest normalised dispersion are kept.
//!
//! *Pearson residuals*: the N of largest variance of the analytic residuals ([`super::pearson`]).
//!
//! *Appendix F* of `andrew2026medmagma` makes the matrix about square: of the 2000 most variable
//! features it keeps those seen in more than a fraction p of the observations, with p among 0, 0.01, …,
//! 1 such that their number is closest to the number of observations (the first such p); a p that keeps
//! none is passed over.

use std::fmt;
use std::str::FromStr;

use crate::data::{Matrix, Values};
use crate::error::{Error, Result};

/// Which features take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genes {
    /// All of them.
    All,
    /// The N most variable.
    Variable(usize),
    /// The N of largest standard deviation after the transform.
    Variance(usize),
    /// The N of largest variance of analytic Pearson residuals.
    Pearson(usize),
    /// Appendix F of the MED-MAGMA paper: about as many as there are observations.
    AppendixF,
    /// Where no value is negative the 2000 most variable of those seen in 3 observations or more; else all.
    Auto,
}

crate::serde_as_text!(Genes);

impl fmt::Display for Genes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Genes::All => f.write_str("all"),
            Genes::Variable(n) => write!(f, "variable:{n}"),
            Genes::Variance(n) => write!(f, "variance:{n}"),
            Genes::Pearson(n) => write!(f, "pearson:{n}"),
            Genes::AppendixF => f.write_str("appendix-f"),
            Genes::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Genes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse().ok().filter(|n| *n > 0);
        let counted = |word: &str| text.strip_prefix(word).and_then(number);
        match text {
            "all" => return Ok(Genes::All),
            "appendix-f" => return Ok(Genes::AppendixF),
            "auto" => return Ok(Genes::Auto),
            _ => {}
        }
        let variable = counted("variable:").map(Genes::Variable);
        variable
            .or_else(|| counted("variance:").map(Genes::Variance))
            .or_else(|| counted("pearson:").map(Genes::Pearson))
            .ok_or_else(|| {
                format!(
                    "`{text}` is not a choice of genes; allowed are all, variable:N, variance:N, pearson:N, \
                     appendix-f, auto"
                )
            })
    }
}

/// Variable features from which Appendix F chooses, and that `auto` keeps.
const CANDIDATES: usize = 2000;
/// Observations in which `auto` wants a feature seen.
const SEEN: usize = 3;
/// Bins of the mean.
const BINS: usize = 20;

impl Genes {
    /// Positions of the chosen features, ascending; `None` is all.
    ///
    /// # Errors
    /// [`Error::Value`] at a negative entry: dispersions are defined for counts and the like.
    pub fn choose(self, x: Values<'_>) -> Result<Option<Vec<usize>>> {
        match self {
            Genes::All => Ok(None),
            Genes::Variable(n) => Ok(Some(most_variable(x, n)?)),
            Genes::Variance(n) => Ok(widest(x.matrix, n)),
            Genes::Pearson(n) => Ok(Some(super::pearson::most_residual(x, n)?)),
            Genes::AppendixF => {
                let variable = most_variable(x, CANDIDATES)?;
                Ok(Some(about_square(x.matrix, variable)))
            }
            Genes::Auto => {
                let (mut seen, mut signed) = (vec![0usize; x.matrix.shape().1], false);
                x.matrix.for_each_nonzero(|_, j, v| {
                    seen[j] += 1;
                    signed |= v < 0.0;
                });
                if signed {
                    return Ok(None);
                }
                let candidates = match seen.len() > CANDIDATES {
                    true => most_variable(x, CANDIDATES)?,
                    false => (0..seen.len()).collect(),
                };
                let kept: Vec<usize> = candidates.into_iter().filter(|&j| seen[j] >= SEEN).collect();
                Ok((kept.len() < seen.len()).then_some(kept))
            }
        }
    }
}

/// The `count` features of largest standard deviation, ascending, and of those that tie the first ones;
/// `None` where these are all.
pub fn widest(x: &Matrix, count: usize) -> Option<Vec<usize>> {
    let (n, m) = x.shape();
    if count >= m {
        return None;
    }
    let mut mean = vec![0.0; m];
    x.for_each_nonzero(|_, j, v| mean[j] += v / n as f64);
    // Σ (v − mean)² over the non-zeros, then mean² for each zero.
    let (mut square, mut seen) = (vec![0.0; m], vec![0usize; m]);
    x.for_each_nonzero(|_, j, v| {
        square[j] += (v - mean[j]) * (v - mean[j]);
        seen[j] += 1;
    });
    let spread = |j: usize| square[j] + (n - seen[j]) as f64 * mean[j] * mean[j];
    let mut order: Vec<usize> = (0..m).collect();
    // Stable, so that ties are in the order of the table.
    order.sort_by(|&a, &b| spread(b).total_cmp(&spread(a)));
    order.truncate(count);
    order.sort_unstable();
    Some(order)
}

/// The `count` features of largest normalised dispersion; all that tie with the last are kept.
///
/// # Errors
/// [`Error::Value`] at a negative entry.
pub fn most_variable(x: Values<'_>, count: usize) -> Result<Vec<usize>> {
    let (n, m) = x.matrix.shape();
    let mut negative = None;
    let mut mean = vec![0.0; m];
    x.matrix.for_each_nonzero(|i, j, v| {
        if v < 0.0 && negative.is_none() {
            negative = Some(((i, j), v));
        }
        mean[j] += v / n as f64;
    });
    if let Some((at, found)) = negative {
        let rule =
            "0 or larger to choose variable features (use the counts, `--layer NAME`, or `--set genes=all`)";
        return Err(Error::Value { what: x.what.to_owned(), found, at, rule });
    }
    // Σ (v − mean)² over the non-zeros, then mean² for each zero.
    let (mut square, mut seen) = (vec![0.0; m], vec![0usize; m]);
    x.matrix.for_each_nonzero(|_, j, v| {
        square[j] += (v - mean[j]) * (v - mean[j]);
        seen[j] += 1;
    });
    let dispersion: Vec<f64> = (0..m)
        .map(|j| {
            let sum = square[j] + (n - seen[j]) as f64 * mean[j] * mean[j];
            let ratio = sum / (n as f64 - 1.0) / if mean[j] == 0.0 { 1e-12 } else { mean[j] };
            if ratio > 0.0 { ratio.ln() } else { f64::NAN }
        })
        .collect();
    let level: Vec<f64> = mean.iter().map(|&v| if v == 0.0 { 1e-12 } else { v }.ln_1p()).collect();
    let normalised = within_bins(&dispersion, &level);
    let mut sorted: Vec<f64> = normalised.iter().copied().filter(|d| d.is_finite()).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let Some(&cut) = sorted.get(count.min(sorted.len()).saturating_sub(1)) else { return Ok(Vec::new()) };
    Ok((0..m).filter(|&j| normalised[j] >= cut).collect())
}

/// (dispersion − mean of its bin) / standard deviation of its bin; a bin with one member has mean 0 and
/// its own dispersion as deviation, so that the member gets 1.
fn within_bins(dispersion: &[f64], level: &[f64]) -> Vec<f64> {
    let (lo, hi) = level.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let edge = |b: usize| lo + (hi - lo) * b as f64 / BINS as f64;
    // Bins are open on the left and closed on the right; the first also takes the smallest.
    let bin = |v: f64| (1..BINS).find(|&b| v <= edge(b)).unwrap_or(BINS) - 1;
    let bins: Vec<usize> = level.iter().map(|v| bin(*v)).collect();
    let mut members = vec![Vec::new(); BINS];
    bins.iter().zip(dispersion).filter(|(_, d)| d.is_finite()).for_each(|(b, d)| members[*b].push(*d));
    let moments: Vec<(f64, f64)> = members
        .iter()
        .map(|d| match d.as_slice() {
            [] => (f64::NAN, f64::NAN),
            [one] => (0.0, *one),
            _ => {
                let mean = d.iter().sum::<f64>() / d.len() as f64;
                let square: f64 = d.iter().map(|d| (d - mean) * (d - mean)).sum();
                (mean, (square / (d.len() as f64 - 1.0)).sqrt())
            }
        })
        .collect();
    bins.iter().zip(dispersion).map(|(b, d)| (d - moments[*b].0) / moments[*b].1).collect()
}

/// Of the candidates, those seen in more than p·n observations, p such that about n are left.
fn about_square(x: &Matrix, candidates: Vec<usize>) -> Vec<usize> {
    let (n, m) = x.shape();
    let mut seen = vec![0usize; m];
    x.for_each_nonzero(|_, j, v| seen[j] += usize::from(v > 0.0));
    let often = |j: usize, percent: usize| 100 * seen[j] > percent * n;
    let count = |percent: usize| candidates.iter().filter(|&&j| often(j, percent)).count();
    // No feature at all is never the answer, although 0 may be nearest to n where every entry is above 0.
    let some = (0..=100).filter(|&percent| count(percent) > 0);
    let best = some.min_by_key(|&percent| count(percent).abs_diff(n)).unwrap_or(0);
    candidates.into_iter().filter(|&j| often(j, best)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn words_round_trip() {
        for text in ["all", "variable:20", "variance:7", "pearson:9", "appendix-f", "auto"] {
            assert_eq!(text.parse::<Genes>().unwrap().to_string(), text);
        }
        assert!("variable:0".parse::<Genes>().is_err());
        assert!("variance:0".parse::<Genes>().is_err());
        assert!("pearson:".parse::<Genes>().is_err());
    }

    /// A count table with the choice that Scanpy makes; the file names its origin.
    fn golden() -> (Matrix, usize, Vec<usize>, Vec<usize>) {
        let text = include_str!("../../../../testdata/golden/preprocess/variable.json");
        let case: serde_json::Value = serde_json::from_str(text).unwrap();
        let list = |v: &serde_json::Value| -> Vec<usize> {
            v.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
        };
        let rows: Vec<Vec<usize>> = case["counts"].as_array().unwrap().iter().map(list).collect();
        let x = Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j] as f64);
        let top = case["top"].as_u64().unwrap() as usize;
        (Matrix::Dense(x), top, list(&case["variable"]), list(&case["square"]))
    }

    #[test]
    fn the_choice_is_scanpys() {
        let (x, top, variable, square) = golden();
        let chosen = most_variable(Values { what: "X", matrix: &x }, top).unwrap();
        assert_eq!(chosen, variable);
        assert_eq!(about_square(&x, chosen), square);
        let sparse = Matrix::Sparse(crate::data::Csr::from_dense(x.to_dense().view()));
        assert_eq!(most_variable(Values { what: "X", matrix: &sparse }, top).unwrap(), variable);
    }

    #[test]
    fn the_widest_features_are_those_of_largest_deviation() {
        // Variances 2/3, 0, 8/3, 2/3 (the last after its mean of 100), negative values allowed.
        let x = ndarray::array![[1.0, 5.0, -2.0, 99.0], [0.0, 5.0, 0.0, 100.0], [-1.0, 5.0, 2.0, 101.0]];
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(crate::data::Csr::from_dense(x.view()))] {
            assert_eq!(widest(&matrix, 1), Some(vec![2]));
            assert_eq!(widest(&matrix, 2), Some(vec![0, 2]));
            assert_eq!(widest(&matrix, 3), Some(vec![0, 2, 3]));
            assert_eq!(widest(&matrix, 4), None);
        }
    }

    #[test]
    fn auto_keeps_what_is_seen_and_leaves_signed_tables_alone() {
        let x = golden().0.to_dense();
        let mut rare = x.clone();
        rare.column_mut(5).fill(0.0);
        rare[[0, 5]] = 3.0;
        let m = Matrix::Dense(rare);
        let kept = Genes::Auto.choose(Values { what: "X", matrix: &m }).unwrap().unwrap();
        assert!(!kept.contains(&5) && kept.windows(2).all(|w| w[0] < w[1]));
        let m = Matrix::Dense(-x);
        assert_eq!(Genes::Auto.choose(Values { what: "X", matrix: &m }).unwrap(), None);
    }

    #[test]
    fn a_negative_value_is_located() {
        let mut x = golden().0.to_dense();
        x[[3, 4]] = -1.0;
        let m = Matrix::Dense(x);
        let why = Genes::AppendixF.choose(Values { what: "X", matrix: &m }).unwrap_err().to_string();
        assert!(why.contains("-1 at row 3, column 4"), "{why}");
    }

    #[test]
    fn a_table_without_zeros_keeps_all_of_its_features() {
        let x = Matrix::Dense(Array2::from_shape_fn((4, 30), |(i, j)| (1 + (i * 7 + j * j) % 5) as f64));
        assert_eq!(about_square(&x, (0..30).collect()).len(), 30);
    }
}
