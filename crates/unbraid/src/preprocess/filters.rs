//! Which observations and features have enough counts to take part.
//!
//! In this order: observations whose total is at least `min_total`; of those, features whose total is at least
//! `min_count`; of those, features with more than `min_cpm` counts per million in at least a share `min_share` of the
//! observations, where 10⁶ is the total of an observation over all features, before any is left out. The platelet
//! study of `moran2026` has 268337 (e^12.5), 25, 1 and 0.2.

use crate::data::{Selection, Values};
use crate::error::{Error, Result};

/// Thresholds; 0 leaves a filter out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Filters {
    /// Smallest total of an observation.
    pub min_total: f64,
    /// Smallest total of a feature.
    pub min_count: f64,
    /// Counts per million above which a feature counts as seen.
    pub min_cpm: f64,
    /// Smallest share of the observations in which a feature is seen.
    pub min_share: f64,
}

impl Filters {
    /// Whether any filter is on.
    pub fn any(&self) -> bool {
        self.min_total != 0.0 || self.min_count != 0.0 || self.min_share != 0.0
    }

    /// Refuses thresholds outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let sizes = [("min_total", self.min_total), ("min_count", self.min_count), ("min_cpm", self.min_cpm)];
        for (name, v) in sizes {
            if !(v >= 0.0 && v.is_finite()) {
                let found = v.to_string();
                return Err(Error::Param { name, found, rule: "finite and 0 or larger" });
            }
        }
        if !(0.0..=1.0).contains(&self.min_share) {
            let found = self.min_share.to_string();
            return Err(Error::Param { name: "min_share", found, rule: "from 0 to 1" });
        }
        if self.min_cpm > 0.0 && self.min_share == 0.0 {
            let rule =
                "above 0 where min_cpm is set: the share of observations in which a feature must exceed it";
            return Err(Error::Param { name: "min_share", found: "0".into(), rule });
        }
        Ok(())
    }

    /// The observations and features that stay; `None` is all. Warnings are whole sentences.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); [`Error::Value`] at a value that is negative or not a number, since totals say
    /// nothing about such values.
    pub fn choose(&self, x: Values<'_>, warnings: &mut Vec<String>) -> Result<Selection> {
        self.validate()?;
        if !self.any() {
            return Ok(Selection::default());
        }
        let (n, m) = x.matrix.shape();
        let (mut total, mut odd) = (vec![0.0; n], None);
        x.matrix.for_each_nonzero(|i, j, v| {
            if !(v >= 0.0) && odd.is_none() {
                odd = Some(((i, j), v));
            }
            total[i] += v;
        });
        if let Some((at, found)) = odd {
            let rule = "a number, 0 or larger, where min_total, min_count or min_share is set";
            return Err(Error::Value { what: x.what.to_owned(), found, at, rule });
        }
        let stays: Vec<bool> = total.iter().map(|t| *t >= self.min_total).collect();
        let left = stays.iter().filter(|s| **s).count();
        let (mut count, mut seen) = (vec![0.0; m], vec![0usize; m]);
        x.matrix.for_each_nonzero(|i, j, v| {
            if stays[i] {
                count[j] += v;
                seen[j] += usize::from(v * 1e6 / total[i] > self.min_cpm);
            }
        });
        let often = |j: usize| seen[j] as f64 >= self.min_share * left as f64;
        let (enough, both): (Vec<usize>, Vec<usize>) = (
            (0..m).filter(|&j| count[j] >= self.min_count).collect(),
            (0..m).filter(|&j| count[j] >= self.min_count && often(j)).collect(),
        );
        let mut say = |gone: usize, axis: &str, why: String| {
            if gone > 0 {
                warnings.push(format!("{gone} {axis} {why} were left out."));
            }
        };
        say(n - left, "observations", format!("with a total below {}", self.min_total));
        say(m - enough.len(), "features", format!("with a total below {}", self.min_count));
        let rarely =
            format!("above {} per million in less than {} of the observations", self.min_cpm, self.min_share);
        say(enough.len() - both.len(), "features", rarely);
        Ok(Selection {
            obs: (left < n).then(|| (0..n).filter(|&i| stays[i]).collect()),
            var: (both.len() < m).then_some(both),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Csr, Matrix};
    use ndarray::array;

    #[test]
    fn each_filter_works_on_what_the_one_before_left() {
        let x = array![
            [400_000.0, 3.0, 599_996.0, 1.0],
            [499_996.0, 2.0, 499_999.0, 3.0],
            [9.0, 90.0, 0.0, 0.0],
            [1_999_990.0, 4.0, 2.0, 4.0],
        ];
        let filters = Filters { min_total: 1000.0, min_count: 9.0, min_cpm: 1.0, min_share: 0.9 };
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))] {
            let mut warnings = Vec::new();
            let values = Values { what: "X", matrix: &matrix };
            let left = filters.choose(values, &mut warnings).unwrap();
            // Without the third row feature 3 has a total of 8. Feature 2 has 2 counts of 2 million in the last row,
            // exactly 1 per million, which is not above 1; feature 1 has 2 per million there and 3 in the first row.
            assert_eq!(left, Selection { obs: Some(vec![0, 1, 3]), var: Some(vec![0, 1]) });
            assert_eq!(warnings.len(), 3, "{warnings:?}");
            let loose = Filters { min_share: 0.6, ..filters };
            assert_eq!(loose.choose(values, &mut Vec::new()).unwrap().var, Some(vec![0, 1, 2]));
            let none = Filters::default();
            assert_eq!(none.choose(values, &mut Vec::new()).unwrap(), Selection::default());
        }
    }

    #[test]
    fn thresholds_and_values_are_checked() {
        let matrix = Matrix::Dense(array![[1.0, -2.0]]);
        let values = Values { what: "X", matrix: &matrix };
        let why = |f: Filters| f.choose(values, &mut Vec::new()).unwrap_err().to_string();
        assert!(why(Filters { min_total: 1.0, ..Filters::default() }).contains("-2 at row 0, column 1"));
        assert!(why(Filters { min_total: f64::NAN, ..Filters::default() }).contains("min_total"));
        assert!(why(Filters { min_count: -1.0, ..Filters::default() }).contains("min_count"));
        assert!(why(Filters { min_share: 1.5, ..Filters::default() }).contains("min_share"));
        assert!(why(Filters { min_cpm: 1.0, ..Filters::default() }).contains("min_share"));
    }
}
