//! Slices of a tissue: cells × genes, the slice of each cell, and where it lies.

use ndarray::ArrayView2;
use sha2::{Digest, Sha256};

use crate::data::Values;
use crate::error::{Error, Result};
use crate::fit::Check;

/// Cells of one or more slices.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a> {
    /// Cells × genes.
    pub values: Values<'a>,
    /// Slice (batch) of each cell, an index of `names`.
    pub batch: &'a [u32],
    /// Names of the slices.
    pub names: &'a [String],
    /// Coordinates, cells × 2 or more, each slice on its own.
    pub places: ArrayView2<'a, f64>,
}

impl Check for Slices<'_> {
    /// Values finite and not negative, some above 0; a slice for each cell, none of them empty; finite coordinates.
    fn check(&self) -> Result<()> {
        let (what, matrix) = (self.values.what, self.values.matrix);
        let (n, g) = matrix.shape();
        if n == 0 || g == 0 {
            return Err(Error::Shape { what: what.into(), found: vec![n, g], rule: "at least 1 × 1" });
        }
        let shape =
            |what: &str, found: Vec<usize>, rule| Err(Error::Shape { what: what.into(), found, rule });
        if self.batch.len() != n {
            return shape("the column of batches", vec![self.batch.len()], "one for each cell");
        }
        if self.places.nrows() != n || self.places.ncols() == 0 {
            let (rows, columns) = self.places.dim();
            return shape("the coordinates", vec![rows, columns], "a row for each cell, at least one column");
        }
        let mut cells = vec![0usize; self.names.len()];
        for &t in self.batch {
            match cells.get_mut(t as usize) {
                Some(count) => *count += 1,
                None => {
                    let what = format!("the name of batch {t}");
                    return Err(Error::Missing { what, hint: "name every batch that occurs".into() });
                }
            }
        }
        if let Some(t) = cells.iter().position(|count| *count == 0) {
            let what = format!("a cell of batch `{}`", self.names[t]);
            return Err(Error::Missing { what, hint: "leave out batches without cells".into() });
        }
        let (mut odd, mut positive) = (None, false);
        matrix.for_each_nonzero(|i, j, v| {
            if odd.is_none() && !(v.is_finite() && v >= 0.0) {
                odd = Some(((i, j), v));
            }
            positive |= v > 0.0;
        });
        if let Some((at, found)) = odd {
            let rule = match found {
                v if v < 0.0 => "0 or larger; shift the table, or use log1p of counts",
                _ => "finite",
            };
            return Err(Error::Value { what: what.into(), found, at, rule });
        }
        if !positive {
            let what = format!("a value above 0 in {what}");
            return Err(Error::Missing { what, hint: "the table is empty; choose another layer".into() });
        }
        if let Some((at, &found)) = self.places.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::Value { what: "the coordinates".into(), found, at, rule: "finite" });
        }
        Ok(())
    }

    fn digest(&self, hash: &mut Sha256) {
        self.values.digest(hash);
        self.batch.iter().for_each(|t| hash.update(t.to_le_bytes()));
        self.places.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
}
