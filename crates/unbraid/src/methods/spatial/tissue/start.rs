//! Where the factorisation starts.

use ndarray::Array2;

use super::expression::Whole;
use super::{STARTS, Tissue};
use crate::error::Result;
use crate::fit::Seed;
use crate::graph::kmeans::kmeans;
use crate::linalg::nndsvd;
use crate::linalg::randomized::{Effort, leading};

impl<'a> Tissue<'a> {
    fn whole(&self) -> Whole<'_, 'a> {
        Whole(&self.table, &self.cells, (self.batch.len(), self.genes))
    }

    /// NNDSVDa: non-negative parts of the singular vectors, the mean in place of zeros (`boutsidis2008`).
    pub(super) fn singular(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let k = self.plan.k;
        let svd = leading(&self.whole(), k, Effort { power: 4, oversamples: 30 }, seed)?;
        let (n, g) = (self.batch.len(), self.genes);
        let (mut x, mut turned) = (Array2::zeros((n, k)), Array2::zeros((k, g)));
        for a in 0..k.min(svd.s.len()) {
            let (u, v) = nndsvd::pair(a == 0, svd.s[a], svd.u.column(a), svd.v.column(a));
            x.column_mut(a).assign(&u);
            turned.row_mut(a).assign(&v);
        }
        let mean = |table: &Array2<f64>| table.mean().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        let (of_x, of_m) = (mean(&x), mean(&turned));
        x.mapv_inplace(|v: f64| if v > 0.0 { v } else { of_x });
        turned.mapv_inplace(|v: f64| if v > 0.0 { v } else { of_m });
        Ok((x, turned))
    }

    /// Mean profiles of clusters, and the cluster of each cell.
    pub(super) fn clusters(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let k = self.plan.k;
        let svd = leading(&self.whole(), 20, Effort { power: 4, oversamples: 30 }, seed)?;
        let mut scores = svd.u;
        scores.columns_mut().into_iter().zip(&svd.s).for_each(|(mut c, s)| c *= *s);
        scores.rows_mut().into_iter().zip(&self.batch).for_each(|(mut r, &t)| r *= self.scale[t]);
        let labels = kmeans(scores.view(), k, STARTS, seed).labels;
        let mut x = Array2::from_elem((labels.len(), k), 1e-10);
        let mut count = vec![0.0; k];
        labels.iter().for_each(|&c| count[c] += 1.0);
        let mut share = Array2::zeros((labels.len(), k));
        for (i, &c) in labels.iter().enumerate() {
            x[[i, c]] = 1.0;
            share[[i, c]] = self.scale[self.batch[i]] / count[c];
        }
        let mut turned = self
            .table
            .whole_transposed(&self.cells, share.view())
            .reversed_axes()
            .as_standard_layout()
            .into_owned();
        turned.mapv_inplace(|v| v.max(1e-10));
        Ok((x, turned))
    }
}
