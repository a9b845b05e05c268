//! What methods read and what they write: a numeric [`Dataset`], borrowed views of it, and
//! [`Annotations`] under AnnData names.

mod annotations;
mod matrix;
mod missing;
mod table;

pub use annotations::{Annotations, Selection, Slot, Value};
pub use matrix::{Csr, Matrix, Values};
pub use missing::Missing;
pub use table::{Column, Table};

use std::collections::BTreeMap;

use ndarray::Array2;

/// One feature table in memory: rows are observations (cells, samples), columns features (genes).
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What messages call the data, usually the file's name.
    pub source: String,
    /// The slot the matrix came from: `X` or `layers["counts"]`.
    pub slot: String,
    /// Observations × features.
    pub x: Matrix,
    /// Names and columns of the observations.
    pub obs: Table,
    /// Names and columns of the features.
    pub var: Table,
    /// Embeddings and coordinates of the observations, n × anything.
    pub obsm: BTreeMap<String, Array2<f64>>,
    /// Graphs of the observations that were asked for, n × n.
    pub obsp: BTreeMap<String, Csr>,
}

impl Dataset {
    /// A data set with generated names (`obs0`, `var0`), for matrices that come without any.
    pub fn from_matrix(source: impl Into<String>, x: Matrix) -> Dataset {
        let (n, m) = x.shape();
        Dataset {
            source: source.into(),
            slot: "X".into(),
            x,
            obs: Table::numbered("obs", n),
            var: Table::numbered("var", m),
            obsm: BTreeMap::new(),
            obsp: BTreeMap::new(),
        }
    }

    /// Observations and features.
    pub fn shape(&self) -> (usize, usize) {
        self.x.shape()
    }

    /// The view that matrix methods read.
    pub fn values(&self) -> Values<'_> {
        Values { what: &self.slot, matrix: &self.x }
    }

    /// The chosen rows and columns; `None` keeps all.
    pub fn select(&self, chosen: &Selection) -> Dataset {
        let mut x = self.x.clone();
        if let Some(var) = &chosen.var {
            x = x.columns(var);
        }
        if let Some(obs) = &chosen.obs {
            x = x.rows(obs);
        }
        let pick =
            |t: &Table, at: &Option<Vec<usize>>| at.as_ref().map_or_else(|| t.clone(), |at| t.rows(at));
        Dataset {
            source: self.source.clone(),
            slot: self.slot.clone(),
            x,
            obs: pick(&self.obs, &chosen.obs),
            var: pick(&self.var, &chosen.var),
            obsm: self
                .obsm
                .iter()
                .map(|(name, a)| {
                    let a =
                        chosen.obs.as_ref().map_or_else(|| a.clone(), |at| a.select(ndarray::Axis(0), at));
                    (name.clone(), a)
                })
                .collect(),
            obsp: self
                .obsp
                .iter()
                .map(|(name, a)| {
                    let a = match &chosen.obs {
                        Some(at) => Matrix::Sparse(a.clone()).rows(at).columns(at).to_csr(),
                        None => a.clone(),
                    };
                    (name.clone(), a)
                })
                .collect(),
        }
    }
}
