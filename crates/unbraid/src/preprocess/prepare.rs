//! What happens to a table before any method sees it: features chosen, empty lines, transform.

use super::genes::Genes;
use crate::data::{Dataset, Selection};
use crate::error::{Error, Result};
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
}

crate::words!(Empty, "a treatment of empty lines", Error = "error", Drop = "drop");
crate::words!(Transform, "a transform", None = "none", Log1p = "log1p");

crate::params! {
    /// Preparation of a table, the same for every method.
    pub struct Prepare {
        /// Features that take part: `all`, `variable:N` (the N most variable, Seurat's dispersion) or
        /// `appendix-f` (of the 2000 most variable about as many as there are observations; MED-MAGMA
        /// paper, Appendix F). Default all.
        pub genes: Genes = Genes::All,
        /// Rows and columns without a non-zero value, after `genes`: `error` leaves them to the method,
        /// `drop` leaves them out with a warning. Default error.
        pub empty: Empty = Empty::Error,
        /// Transform of the values, after `genes`: `none` or `log1p`. Default none.
        pub transform: Transform = Transform::None,
    }
}

impl Params for Prepare {
    const DOCS: &'static [ParamDoc] = Prepare::FIELDS;
}

impl Prepare {
    /// The table a method sees, and which rows and columns of `data` it holds. Warnings are whole
    /// sentences.
    ///
    /// # Errors
    /// [`Error::Value`] where a choice or transform is not defined for an entry, [`Error::Shape`] when
    /// nothing is left.
    pub fn apply(&self, data: &Dataset, warnings: &mut Vec<String>) -> Result<(Dataset, Selection)> {
        let mut chosen = Selection { obs: None, var: self.genes.choose(data.values())? };
        let mut out = data.select(&chosen);
        if self.empty == Empty::Drop {
            let (n, m) = out.shape();
            let (mut rows, mut columns) = (vec![false; n], vec![false; m]);
            out.x.for_each_nonzero(|i, j, _| (rows[i], columns[j]) = (true, true));
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
        if self.transform == Transform::Log1p {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;
    use ndarray::array;

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
    fn log1p_below_its_domain_is_located() {
        let data = Dataset::from_matrix("t", Matrix::Dense(array![[1.0, -2.0]]));
        let prepare = Prepare { transform: Transform::Log1p, ..Prepare::default() };
        let why = prepare.apply(&data, &mut Vec::new()).unwrap_err().to_string();
        assert!(why.contains("-2 at row 0, column 1"), "{why}");
    }
}
