//! Where the factorisation starts.

use std::cmp::Ordering;

use ndarray::{Array2, ArrayView1};

use super::expression::Whole;
use super::{STARTS, Tissue};
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::graph::kmeans::kmeans;
use crate::graph::knn::{Weighting, knn_graph};
use crate::graph::leiden::search;
use crate::linalg::nndsvd;
use crate::linalg::randomized::{Effort, leading};

/// What stands for 0 at a start.
const TINY: f64 = 1e-10;
/// Neighbours in the graph whose communities are a start; more where no resolution gives as many as are asked for (POPARI's program).
const NEAREST: [usize; 3] = [20, 30, 45];
/// Resolutions between which the right one is looked for, and how often.
const RESOLUTIONS: (f64, f64) = (1e-2, 1e2);
const BISECTIONS: usize = 20;

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

    /// The start of POPARI's program (`initialization.py` of popari 1.3.4). Of a pair u, v of singular vectors the sign counts whose positive parts
    /// have the larger |u⁺|₁ |v⁺|₁, and
    ///
    /// ```text
    /// m = max(v, ε),    x_i = σ u_i where that is above ε, else the mean of those entries in the slice of cell i.
    /// ```
    ///
    /// X has the units of the table, as there: where these are not those of the fit, the first metagenes make up for it as far as the simplex lets
    /// them, so that the fit depends on them.
    pub(super) fn signed(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let k = self.plan.k;
        let svd = leading(&self.whole(), k, Effort { power: 4, oversamples: 30 }, seed)?;
        let mut x = Array2::from_elem((self.batch.len(), k), TINY);
        let mut turned = Array2::from_elem((k, self.genes), TINY);
        for a in 0..k.min(svd.s.len()) {
            let (u, v) = (svd.u.column(a), svd.v.column(a));
            let part =
                |of: ArrayView1<'_, f64>, sign: f64| of.iter().map(|x| (sign * x).max(0.0)).sum::<f64>();
            let mass = |sign| part(u, sign) * part(v, sign);
            let sign = if mass(1.0) >= mass(-1.0) { 1.0 } else { -1.0 };
            turned.row_mut(a).iter_mut().zip(v).for_each(|(m, v)| *m = (sign * v).max(TINY));
            let size = sign * svd.s[a];
            for cells in &self.cells {
                let present = cells.iter().map(|&i| size * u[i]).filter(|x| *x > TINY);
                let (sum, count) = present.fold((0.0, 0), |(sum, count), x| (sum + x, count + 1));
                let mean = if count > 0 { sum / f64::from(count) } else { TINY };
                for &i in cells {
                    let own = size * u[i];
                    x[[i, a]] = if own > TINY { own } else { mean };
                }
            }
        }
        Ok((x, turned))
    }

    /// Mean profiles of clusters, and the cluster of each cell: k-means of twenty leading components.
    pub(super) fn clusters(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let labels = kmeans(self.components(20, seed)?.view(), self.plan.k, STARTS, seed).labels;
        Ok(self.profiles(&labels))
    }

    /// The same of communities in the graph of the nearest cells by fifty leading components, at the resolution that gives as many
    /// communities as there are metagenes (bisection on its logarithm; `traag2019`).
    pub(super) fn communities(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let (n, k) = (self.batch.len(), self.plan.k);
        let points = self.components(50.min(n.min(self.genes)), seed)?;
        let mut near = 0usize;
        for nearest in NEAREST {
            let graph = knn_graph(points.view(), nearest.min(n - 1), Weighting::Unit)?;
            let (mut low, mut high) = RESOLUTIONS;
            for _ in 0..BISECTIONS {
                let middle = (low * high).sqrt();
                let labels = search(&graph, middle, 1, seed)?;
                let found = labels.iter().max().map_or(0, |most| most + 1);
                match found.cmp(&k) {
                    Ordering::Equal => return Ok(self.profiles(&labels)),
                    Ordering::Less => low = middle,
                    Ordering::Greater => high = middle,
                }
                near = if found.abs_diff(k) < near.abs_diff(k) { found } else { near };
            }
        }
        let what = format!("{k} communities of cells (the nearest number is {near})");
        Err(Error::Missing { what, hint: format!("choose `k={near}`, or another start, as `init=svd`") })
    }

    /// Leading components of all cells, N × anything, in the units of X.
    fn components(&self, count: usize, seed: Seed) -> Result<Array2<f64>> {
        let svd = leading(&self.whole(), count, Effort { power: 4, oversamples: 30 }, seed)?;
        let mut scores = svd.u;
        scores.columns_mut().into_iter().zip(&svd.s).for_each(|(mut c, s)| c *= *s);
        scores.rows_mut().into_iter().zip(&self.batch).for_each(|(mut r, &t)| r *= self.scale[t]);
        Ok(scores)
    }

    /// A metagene for each group of cells, its mean profile, and cells that have their own group's alone.
    fn profiles(&self, labels: &[usize]) -> (Array2<f64>, Array2<f64>) {
        let k = self.plan.k;
        let mut x = Array2::from_elem((labels.len(), k), TINY);
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
        turned.mapv_inplace(|v| v.max(TINY));
        (x, turned)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::data::{Matrix, Values};
    use crate::fit::{Iterate, Seed};
    use crate::methods::spatial::neighbours::Neighbours;
    use crate::methods::spatial::popari::Popari;
    use crate::methods::spatial::slices::Slices;
    use crate::methods::spatial::tissue::{Init, Tissue};

    /// The state of popari 1.3.4 after `Popari(K=2, initialization_method="svd")` on these two slices, in double precision.
    #[test]
    fn signed_starts_where_the_package_starts() {
        let y = array![
            [3.0, 1.0, 0.0, 2.0, 1.0],
            [0.0, 2.0, 4.0, 1.0, 0.0],
            [1.0, 1.0, 1.0, 0.0, 5.0],
            [2.0, 0.0, 1.0, 3.0, 1.0],
            [0.0, 5.0, 1.0, 0.0, 2.0],
            [4.0, 1.0, 0.0, 1.0, 0.0],
        ];
        let places = array![[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0]];
        let matrix = Matrix::Dense(y);
        let input = Slices {
            values: Values { what: "X", matrix: &matrix },
            batch: &[0, 0, 0, 1, 1, 1],
            names: &["a".into(), "b".into()],
            places: places.view(),
            edges: None,
        };
        let plan = Popari { k: 2, init: Init::Signed, ..Popari::default() }.plan();
        let neighbours = Neighbours::from_edges(6, vec![(0, 1), (1, 2), (3, 4), (4, 5)]);
        let state = Tissue::new(plan, &input, neighbours, Seed(0)).unwrap().start(Seed(0)).unwrap();
        let metagenes = array![
            [0.20664989271, 0.25711373688, 0.15603055935, 0.13880281994, 0.24140299112],
            [0.63164978152, 0.0, 0.0, 0.36835021821, 0.0],
        ];
        let mixtures = array![
            [6.6259131596, 2.6486697184],
            [6.0615079191, 2.6486697184],
            [8.6702393227, 2.6486697184],
            [5.8241514083, 2.5223610825],
            [9.1334411771, 2.8805999137],
            [5.8021974734, 3.2388387449],
        ];
        let gap =
            |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().fold(0.0, |m: f64, d: &f64| m.max(d.abs()));
        assert!(gap(&state.turned, &metagenes) < 1e-9, "{}", state.turned);
        assert!(gap(&state.x, &mixtures) < 1e-8, "{}", state.x);
        for (ours, package) in state.noise.iter().zip([3.0827934961, 3.0118509432]) {
            assert!((ours - package).abs() < 1e-8, "{ours} {package}");
        }
    }
}
