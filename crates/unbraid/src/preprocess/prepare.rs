//! What happens to a table before any method sees it: features chosen, empty lines, transform.

use super::genes::Genes;
use super::totals::to_total;
use crate::data::{Dataset, Matrix, Selection};
use crate::error::{Error, Result};
use crate::fit::Check;
use crate::params::{ParamDoc, Params};

/// What to do with rows and columns that hold no non-zero value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Leave them to the method, most of which refuse them.
    Error,
    /// Drop them with a warning; they come back as unused in the output.
    Drop,
}

/// Transform of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// As they are.
    None,
    /// log(1 + x).
    Log1p,
    /// log(1 + 10⁴ x / sum of the row), the sum over all features before any is left out: the usual
    /// first step for counts, which takes the sequencing depth out.
    Lognorm,
    /// `lognorm` where no value is negative, else `none`.
    Auto,
}

/// Sum of a row after `lognorm` has scaled it.
const DEPTH: f64 = 1e4;

crate::words!(Empty, "a treatment of empty lines", Error = "error", Drop = "drop");
crate::words!(Transform, "a transform", None = "none", Log1p = "log1p", Lognorm = "lognorm", Auto = "auto");

crate::params! {
    /// Preparation of a table, the same for every method.
    pub struct Prepare {
        /// Features that take part: `all`, `variable:N` (the N most variable, Seurat's dispersion),
        /// `appendix-f` (of the 2000 most variable about as many as there are observations; MED-MAGMA
        /// paper, Appendix F) or `auto` (where no value is negative, the 2000 most variable of those seen in
        /// at least 3 observations; else all). Default all.
        pub genes: Genes = Genes::All,
        /// Rows and columns without a non-zero value, after `genes`: `error` leaves them to the method,
        /// `drop` leaves them out with a warning. Default error.
        pub empty: Empty = Empty::Error,
        /// Transform of the values: `none`, `log1p`, `lognorm` (every row scaled to a sum of 10 000 over all
        /// features, then log(1 + x)) or `auto` (lognorm where no value is negative, else none). Features
        /// are chosen on the scaled values before the logarithm. Default none.
        pub transform: Transform = Transform::None,
    }
}

impl Params for Prepare {
    const DOCS: &'static [ParamDoc] = Prepare::FIELDS;
}

impl Prepare {
    /// Whether the values that a method sees are logarithms.
    pub fn takes_logs(&self, data: &Dataset) -> bool {
        self.transform_of(&data.x) != Transform::None
    }

    /// `auto` decided.
    fn transform_of(&self, x: &Matrix) -> Transform {
        match self.transform {
            Transform::Auto if nonnegative(x) => Transform::Lognorm,
            Transform::Auto => Transform::None,
            given => given,
        }
    }

    /// The table a method sees, and which rows and columns of `data` it holds. Warnings are whole
    /// sentences.
    ///
    /// # Errors
    /// [`Error::Value`] where an entry is not finite or a choice or transform is not defined for it,
    /// [`Error::Shape`] when nothing is there or left.
    pub fn apply(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<(Dataset, Selection)> {
        // Before anything is scaled, so that a value that is not finite is named as it stands in the file.
        data.values().check()?;
        self.carry_out(data, warnings)
    }

    /// As [`apply`](Self::apply) for a table in which NaN is a missing entry. Missing entries stay NaN and count as
    /// no value where empty lines are dropped. Statistics of features and row totals are not defined with them, so a
    /// table that has some is taken with all of its features (`genes=auto`) and untransformed (`transform=auto`).
    ///
    /// # Errors
    /// As [`apply`](Self::apply) for an infinite entry; [`Error::Value`] at the first missing entry where `genes` or
    /// `transform` needs every value.
    pub fn apply_with_missing(
        &self,
        data: &Dataset,
        warnings: &mut Vec<String>,
    ) -> Result<(Dataset, Selection)> {
        let (mut infinite, mut missing) = (None, None);
        data.x.for_each_nonzero(|i, j, v| {
            if v.is_nan() {
                missing.get_or_insert((i, j));
            } else if v.is_infinite() {
                infinite.get_or_insert(((i, j), v));
            }
        });
        if let Some((at, found)) = infinite {
            return Err(Error::Value {
                what: data.slot.clone(),
                found,
                at,
                rule: "finite, or NaN if missing",
            });
        }
        let Some(at) = missing else { return self.apply(data, warnings) };
        let mut given = self.clone();
        if given.genes == Genes::Auto {
            given.genes = Genes::All;
        }
        if given.transform == Transform::Auto {
            given.transform = Transform::None;
        }
        let rule = match (given.genes == Genes::All, given.transform == Transform::Lognorm) {
            (false, _) => "a number where features are chosen; `--set genes=all` takes missing entries",
            (_, true) => "a number where rows are scaled; use transform=log1p or none",
            _ => return given.carry_out(data, warnings),
        };
        Err(Error::Value { what: data.slot.clone(), found: f64::NAN, at, rule })
    }

    fn carry_out(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<(Dataset, Selection)> {
        let transform = self.transform_of(&data.x);
        let scaled;
        let data = if transform == Transform::Lognorm {
            scaled = Dataset { x: to_total(data.values(), DEPTH)?, ..data.clone() };
            &scaled
        } else {
            data
        };
        let mut chosen = Selection { obs: None, var: self.genes.choose(data.values())? };
        let mut out = data.select(&chosen);
        if self.empty == Empty::Drop {
            let (n, m) = out.shape();
            let (mut rows, mut columns) = (vec![false; n], vec![false; m]);
            out.x.for_each_nonzero(|i, j, v| {
                if !v.is_nan() {
                    (rows[i], columns[j]) = (true, true);
                }
            });
            let keep = |seen: &[bool]| -> Option<Vec<usize>> {
                seen.contains(&false).then(|| (0..seen.len()).filter(|&i| seen[i]).collect())
            };
            let inner = Selection { obs: keep(&rows), var: keep(&columns) };
            for (axis, seen, at) in [("rows", n, &inner.obs), ("columns", m, &inner.var)] {
                if let Some(at) = at {
                    warnings
                        .push(format!("{} {axis} without a non-zero value were left out.", seen - at.len()));
                }
            }
            out = out.select(&inner);
            chosen.obs = inner.obs;
            chosen.var = match (chosen.var, inner.var) {
                (Some(outer), Some(inner)) => Some(inner.into_iter().map(|j| outer[j]).collect()),
                (outer, inner) => outer.or(inner),
            };
        }
        let (n, m) = out.shape();
        if n == 0 || m == 0 {
            let rule = "at least 1 × 1 after the choice of genes";
            return Err(Error::Shape { what: data.slot.clone(), found: vec![n, m], rule });
        }
        if matches!(transform, Transform::Log1p | Transform::Lognorm) {
            let mut low = None;
            out.x.for_each_nonzero(|i, j, v| {
                if v <= -1.0 && low.is_none() {
                    low = Some(((i, j), v));
                }
            });
            if let Some((at, found)) = low {
                let rule = "larger than -1 for transform=log1p";
                return Err(Error::Value { what: data.slot.clone(), found, at, rule });
            }
            out.x = out.x.map(f64::ln_1p);
        }
        Ok((out, chosen))
    }
}

fn nonnegative(x: &Matrix) -> bool {
    let mut all = true;
    x.for_each_nonzero(|_, _, v| all &= v >= 0.0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn lognorm_takes_depth_out_before_features_are_chosen() {
        let x = array![[1.0, 3.0, 0.0], [20.0, 60.0, 0.0], [0.0, 5.0, 5.0]];
        for matrix in [Matrix::Dense(x.clone()), Matrix::Sparse(crate::data::Csr::from_dense(x.view()))] {
            let data = Dataset::from_matrix("t", matrix);
            let prepare = Prepare { transform: Transform::Auto, ..Prepare::default() };
            let (out, _) = prepare.apply(&data, &mut Vec::new()).unwrap();
            let out = out.x.to_dense();
            assert!((out[[0, 1]] - 7501f64.ln()).abs() < 1e-12);
            assert!((&out.row(0) - &out.row(1)).iter().all(|d| d.abs() < 1e-12));
            assert_eq!(out[[2, 0]], 0.0);
        }
        let signed = Dataset::from_matrix("t", Matrix::Dense(array![[1.0, -3.0], [2.0, 1.0]]));
        let auto = Prepare { transform: Transform::Auto, genes: Genes::Auto, ..Prepare::default() };
        let (out, chosen) = auto.apply(&signed, &mut Vec::new()).unwrap();
        assert_eq!((out.x, chosen), (signed.x.clone(), Selection::default()));
        let set = Prepare { transform: Transform::Lognorm, ..Prepare::default() };
        let why = set.apply(&signed, &mut Vec::new()).unwrap_err().to_string();
        assert!(why.contains("-3 at row 0, column 1"), "{why}");
    }

    #[test]
    fn empty_lines_are_dropped_and_positions_refer_to_the_input() {
        let x = array![[0.0, 1.0, 0.0, 2.0], [0.0; 4], [3.0, 0.0, 0.0, 1.0]];
        let data = Dataset::from_matrix("t", Matrix::Dense(x));
        let prepare = Prepare { empty: Empty::Drop, transform: Transform::Log1p, ..Prepare::default() };
        let mut warnings = Vec::new();
        let (out, chosen) = prepare.apply(&data, &mut warnings).unwrap();
        assert_eq!(chosen, Selection { obs: Some(vec![0, 2]), var: Some(vec![0, 1, 3]) });
        assert_eq!(out.x.to_dense()[[1, 0]], 4f64.ln());
        assert_eq!(out.var.names, ["var0", "var1", "var3"]);
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn missing_entries_pass_where_the_method_allows_them() {
        let nan = f64::NAN;
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[nan, 1.0, 0.0], [3.0, 0.0, nan]]));
        let auto = Prepare { transform: Transform::Auto, genes: Genes::Auto, ..Prepare::default() };
        let (out, chosen) = auto.apply_with_missing(&data, &mut Vec::new()).unwrap();
        assert!(out.x.to_dense()[[0, 0]].is_nan() && chosen == Selection::default());
        // A column of nothing but zeros and missing entries holds no value.
        let log = Prepare { transform: Transform::Log1p, empty: Empty::Drop, ..Prepare::default() };
        let (out, chosen) = log.apply_with_missing(&data, &mut Vec::new()).unwrap();
        assert_eq!((out.x.to_dense()[[1, 0]], chosen.var), (4f64.ln(), Some(vec![0, 1])));
        assert!(log.apply(&data, &mut Vec::new()).unwrap_err().to_string().contains("row 0, column 0"));
        let why = |p: Prepare, d: &Dataset| p.apply_with_missing(d, &mut Vec::new()).unwrap_err().to_string();
        let scaled = Prepare { transform: Transform::Lognorm, ..Prepare::default() };
        assert!(why(scaled, &data).contains("transform=log1p or none"));
        let chosen = Prepare { genes: Genes::Variable(2), ..Prepare::default() };
        assert!(why(chosen, &data).contains("genes=all"));
        let endless = Dataset::from_matrix("t", Matrix::Dense(array![[nan, f64::INFINITY]]));
        assert!(why(Prepare::default(), &endless).contains("column 1"));
    }

    #[test]
    fn log1p_below_its_domain_is_located() {
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[1.0, -2.0]]));
        let prepare = Prepare { transform: Transform::Log1p, ..Prepare::default() };
        let why = prepare.apply(&data, &mut Vec::new()).unwrap_err().to_string();
        assert!(why.contains("-2 at row 0, column 1"), "{why}");
    }
}
