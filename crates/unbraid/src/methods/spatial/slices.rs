//! Slices of a tissue: cells × genes, the slice of each cell, and where it lies.

use ndarray::ArrayView2;
use sha2::{Digest, Sha256};

use super::neighbours::{Neighbours, Rule};
use crate::data::{Csr, Values};
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
    /// A graph of the cells for [`Rule::Given`], cells × cells: every entry other than 0 makes two cells of a slice neighbours.
    pub edges: Option<&'a Csr>,
}

impl Slices<'_> {
    /// Neighbours of the cells by a rule; `nearest` is the k of `knn`.
    ///
    /// # Errors
    /// As [`Neighbours::find`].
    pub fn neighbours(&self, rule: Rule, nearest: usize) -> Result<Neighbours> {
        match (rule, self.edges) {
            (Rule::Given, Some(edges)) => Ok(Neighbours::from_edges(edges.shape().0, joined(edges))),
            _ => {
                let batch: Vec<usize> = self.batch.iter().map(|&t| t as usize).collect();
                Neighbours::find(self.places, &batch, rule, nearest)
            }
        }
    }
}

/// Pairs that a graph joins.
fn joined(edges: &Csr) -> impl Iterator<Item = (u32, u32)> {
    (0..edges.shape().0).flat_map(|i| {
        let (ends, values) = edges.row(i);
        ends.iter().zip(values).filter(|(_, v)| **v != 0.0).map(move |(&j, _)| (i as u32, j))
    })
}

impl Check for Slices<'_> {
    /// Values finite and not negative, some above 0; a slice for each cell, none of them empty; finite coordinates; edges between cells of
    /// one slice.
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
        let Some(edges) = self.edges else { return Ok(()) };
        let (rows, columns) = edges.shape();
        if (rows, columns) != (n, n) {
            return shape("the graph of neighbours", vec![rows, columns], "cells × cells");
        }
        for i in 0..n {
            let (ends, values) = edges.row(i);
            for (&j, &found) in ends.iter().zip(values) {
                let what = "the graph of neighbours".into();
                if !(found >= 0.0 && found.is_finite()) {
                    let rule = "finite and 0 or larger";
                    return Err(Error::Value { what, found, at: (i, j as usize), rule });
                }
                if found > 0.0 && self.batch[i] != self.batch[j as usize] {
                    let rule = "0 between cells of two batches";
                    return Err(Error::Value { what, found, at: (i, j as usize), rule });
                }
            }
        }
        Ok(())
    }

    fn digest(&self, hash: &mut Sha256) {
        self.values.digest(hash);
        self.batch.iter().for_each(|t| hash.update(t.to_le_bytes()));
        self.places.iter().for_each(|v| hash.update(v.to_le_bytes()));
        for (i, j) in self.edges.into_iter().flat_map(joined) {
            hash.update(i.to_le_bytes());
            hash.update(j.to_le_bytes());
        }
    }
}
