//! A fitted model: its clusters, what they were before the polish, and new rows.

use ndarray::Array2;

use super::input::{Reader, lines};
use super::likelihood::Law;
use super::side::Side;
use crate::data::{Annotations, Values};
use crate::error::{Error, Result};
use crate::fit::Annotate;
use crate::methods::cocluster::fit::{Coclusters, Side as Found};
use crate::methods::cocluster::start::{Labels, hardest};
use crate::methods::cocluster::table::nonnegative;

/// A fit of SVCC.
#[derive(Clone, Debug)]
pub struct SvccFit {
    /// Clusters and blocks.
    pub clusters: Coclusters,
    /// Labels at the start of the joint epochs, at their end, and after the polish, numbered as the mixture's components.
    pub labels: [Labels; 3],
    /// The rows' side, which codes new rows.
    pub rows: Side<f32>,
    /// The columns' side.
    pub cols: Side<f32>,
    /// How rows are read.
    pub reader: Reader,
    /// Law of the values.
    pub law: Law,
    /// Component of each cluster of rows, as `clusters` numbers them.
    pub components: Vec<usize>,
}

impl SvccFit {
    /// Clusters of new rows over the same columns: responsibilities at the means of their codes. No polish.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of columns; [`Error::Value`] and [`Error::Line`] for what the likelihood cannot read.
    pub fn assign(&self, values: Values<'_>) -> Result<Found> {
        let (n, m) = values.matrix.shape();
        let width = self.cols_of_model();
        if m != width {
            let rule = "as many columns as the table that was fitted";
            return Err(Error::Shape { what: values.what.into(), found: vec![n, m], rule });
        }
        if self.law != Law::Gaussian {
            nonnegative(values, "0 or larger")?;
        }
        let x = values.matrix.to_csr();
        if let Some(at) = (0..n).find(|&i| x.row(i).0.is_empty()) {
            return Err(Error::Line {
                what: values.what.into(),
                axis: "row",
                at: vec![at],
                problem: "holds no value but 0 and belongs to no cluster",
                hint: "drop it".into(),
            });
        }
        let all: Vec<usize> = (0..n).collect();
        let q = self.rows.embed(&lines(&self.reader.read(&x)), &all);
        let of_components = self.rows.mixture.responsibilities(q.mean.view(), 1.0);
        let membership: Array2<f64> = of_components.select(ndarray::Axis(1), &self.components);
        let labels = hardest(membership.view());
        Ok(Found {
            embedding: Some(q.mean),
            clusters: membership.ncols(),
            membership: Some(membership),
            labels,
        })
    }

    fn cols_of_model(&self) -> usize {
        self.clusters.cols.labels.len()
    }
}

impl Annotate for SvccFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        self.clusters.annotate(key, out);
    }
}
