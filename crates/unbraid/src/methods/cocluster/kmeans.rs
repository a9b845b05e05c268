//! k-means of the rows and of the columns, each side by itself: the baseline that knows nothing of the other side.
//!
//! ```text
//! minimise  Σᵢ ‖x̃_i − μ_{r(i)}‖²     over labels r and centres μ,    x̃ the weighted rows ([`super::weight`]);
//! columns alike, on the weighted rows of the transpose
//! ```
//!
//! | symbol | shape | meaning                | field            |
//! |--------|-------|------------------------|------------------|
//! | r, c   | n, m  | labels                 | `labels`         |
//! | g, h   |       | numbers of clusters    | `rows`, `cols`   |
//!
//! Starts by k-means++ (Arthur and Vassilvitskii 2007: `arthur2007`), then Lloyd's iteration; of several the one with the least
//! sum of squares. Sparse rows stay sparse: distances are ‖x‖² − 2 x·μ + ‖μ‖².

use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngExt};

use super::blocks::soft_profiles;
use super::fit::{Coclusters, Side};
use super::table::{at_least_one, filled, refuse_clusters};
use super::weight::Weighting;
use crate::data::{Csr, Values};
use crate::error::Result;
use crate::fit::{Ctx, Draw, Method, Seed};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of k-means on both sides.
    pub struct Kmeans {
        /// Number of clusters of rows g; 1 ≤ g ≤ rows. Default 5.
        pub rows: usize = 5,
        /// Number of clusters of columns h; 1 ≤ h ≤ columns. Default 5.
        pub cols: usize = 5,
        /// What values count for in distances: `tfidf` (frequent columns less, every row of length 1), `none`, or `auto`: tfidf
        /// unless some value is negative. Default auto.
        pub weighting: Weighting = Weighting::Auto,
        /// Starts, of which the best is kept; 1 ≤ restarts. Default 10.
        pub restarts: usize = 10,
        /// Most rounds from one start; 1 ≤ max_steps. Default 300.
        pub max_steps: usize = 300,
    }
}

impl Params for Kmeans {
    const DOCS: &'static [ParamDoc] = Kmeans::FIELDS;
}

impl Method for Kmeans {
    const NAME: &'static str = "kmeans";
    type Input<'a> = Values<'a>;
    type Fitted = Coclusters;

    fn validate(&self) -> Result<()> {
        let Kmeans { rows, cols, restarts, max_steps, .. } = *self;
        at_least_one(&[("rows", rows), ("cols", cols), ("restarts", restarts), ("max_steps", max_steps)])
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<Coclusters> {
        refuse_clusters(input.matrix, self.rows, self.cols)?;
        filled(input)?;
        let x = input.matrix.to_csr();
        let side = |x: &Csr, clusters, item| {
            let points = self.weighting.apply(x);
            let seed = ctx.seed.child(Draw::Restart, item);
            sparse_means(&points, clusters, self.restarts, self.max_steps, seed).labels
        };
        let rows = Side::hard(side(&x, self.rows, 0), self.rows);
        let cols = Side::hard(side(&x.transpose(), self.cols, 1), self.cols);
        Coclusters::new(input, rows, cols, Vec::new(), None, ctx)
    }
}

/// Labels and centres.
#[derive(Clone, Debug)]
pub struct Means {
    /// Cluster of each row.
    pub labels: Vec<usize>,
    /// Sum of squared distances.
    pub inertia: f64,
}

/// Clusters the rows of a sparse matrix; of `restarts` starts the one of least inertia, the first of equals.
pub fn sparse_means(x: &Csr, clusters: usize, restarts: usize, rounds: usize, seed: Seed) -> Means {
    let size: Vec<f64> = (0..x.shape().0).map(|i| x.row(i).1.iter().map(|v| v * v).sum()).collect();
    let mut best: Option<Means> = None;
    for start in 0..restarts.max(1) as u64 {
        let found = once(x, &size, clusters, rounds, &mut seed.stream(Draw::Restart, start));
        if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
            best = Some(found);
        }
    }
    best.unwrap_or(Means { labels: Vec::new(), inertia: 0.0 })
}

/// Squared distances of every row to every column of `centres` (d × k), n × k.
fn distances(x: &Csr, size: &[f64], centres: ArrayView2<'_, f64>) -> Array2<f64> {
    let norms: Vec<f64> = centres.columns().into_iter().map(|c| c.dot(&c)).collect();
    let mut out = soft_profiles(x, centres);
    for (mut row, s) in out.rows_mut().into_iter().zip(size) {
        row.iter_mut().zip(&norms).for_each(|(v, n)| *v = (s - 2.0 * *v + n).max(0.0));
    }
    out
}

fn once(x: &Csr, size: &[f64], k: usize, rounds: usize, rng: &mut impl Rng) -> Means {
    let (n, d) = x.shape();
    let mut centres = Array2::zeros((d, k));
    let point = |at: &[usize]| {
        let mut out = Array2::zeros((d, at.len()));
        for (c, &i) in at.iter().enumerate() {
            let (j, v) = x.row(i);
            j.iter().zip(v).for_each(|(&j, &v)| out[[j as usize, c]] = v);
        }
        out
    };
    // The next centre with a chance in proportion to the squared distance from those there are, the best of a few.
    let tries = 2 + (k as f64).ln() as usize;
    let mut nearest = vec![f64::INFINITY; n];
    let mut at = rng.random_range(0..n);
    for c in 0..k {
        if c > 0 {
            let total: f64 = nearest.iter().sum();
            let candidates: Vec<usize> = (0..tries)
                .map(|_| {
                    let mut level = rng.random::<f64>() * total;
                    let found = nearest.iter().position(|v| {
                        level -= v;
                        level < 0.0
                    });
                    found.unwrap_or(n - 1)
                })
                .collect();
            let to = distances(x, size, point(&candidates).view());
            let left = |t: usize| nearest.iter().zip(to.column(t)).map(|(a, b)| a.min(*b)).sum::<f64>();
            let sums: Vec<f64> = (0..tries).map(left).collect();
            at = (0..tries).min_by(|a, b| sums[*a].total_cmp(&sums[*b])).map_or(at, |t| candidates[t]);
        }
        let one = point(&[at]);
        centres.column_mut(c).assign(&one.column(0));
        let to = distances(x, size, one.view());
        nearest.iter_mut().zip(to.column(0)).for_each(|(a, b)| *a = a.min(*b));
    }
    let mut labels = vec![usize::MAX; n];
    let mut inertia = f64::INFINITY;
    for _ in 0..rounds {
        let to = distances(x, size, centres.view());
        let mut changed = false;
        inertia = 0.0;
        for (label, row) in labels.iter_mut().zip(to.rows()) {
            let best = (0..k).min_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
            inertia += row[best];
            changed |= *label != best;
            *label = best;
        }
        if !changed {
            break;
        }
        let mut count = vec![0.0f64; k];
        let mut sums = Array2::<f64>::zeros((d, k));
        for (i, &label) in labels.iter().enumerate() {
            count[label] += 1.0;
            let (j, v) = x.row(i);
            j.iter().zip(v).for_each(|(&j, &v)| sums[[j as usize, label]] += v);
        }
        // An empty cluster keeps its centre.
        for c in (0..k).filter(|&c| count[c] > 0.0) {
            centres.column_mut(c).assign(&(&sums.column(c) / count[c]));
        }
    }
    Means { labels, inertia }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::kmeans::kmeans;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn sparse_means_find_what_dense_ones_find() {
        let mut rng = Seed(4).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_fn((90, 6), |(i, j)| {
            let z: f64 = StandardNormal.sample(&mut rng);
            0.3 * z + 2.0 * f64::from(i % 3 == j % 3)
        });
        let sparse = sparse_means(&Csr::from_dense(x.view()), 3, 10, 100, Seed(1));
        let dense = kmeans(x.view(), 3, 10, Seed(2));
        assert!((sparse.inertia - dense.inertia).abs() < 1e-9 * dense.inertia);
        assert!((0..87).all(|i| sparse.labels[i] == sparse.labels[i + 3]));
    }
}
