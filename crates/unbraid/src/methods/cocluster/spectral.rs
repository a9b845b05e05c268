//! Spectral co-clustering: the bipartite graph of rows and columns cut into few pieces.
//!
//! ```text
//! A = D_r^{−½} X D_c^{−½},   D_r, D_c the sums of rows and columns,   A = U Σ Vᵀ,
//! Z = [ D_r^{−½} U_{2..l+1} ; D_c^{−½} V_{2..l+1} ],   l = ⌈log₂ k⌉,   k-means on the rows of Z
//! ```
//!
//! | symbol | shape | meaning                         | field                    |
//! |--------|-------|---------------------------------|--------------------------|
//! | U, V   | n × l, m × l | singular vectors after the first | `obsm["X_<key>"]`, `varm["<key>_loadings"]` |
//! | k      |       | clusters, g = h                 | `rows`, `cols`           |
//!
//! Dhillon (2001): `dhillon2001`. There rows and columns share their clusters, as here where g = h; where g and h differ, rows and
//! columns are clustered apart in the same coordinates, l from the larger.

use ndarray::{Array2, Axis, concatenate, s};

use super::fit::{Coclusters, Side};
use super::start::Labels;
use super::table::{Joint, at_least_one, refuse_clusters};
use crate::data::Values;
use crate::error::Result;
use crate::fit::{Ctx, Draw, Method, Seed};
use crate::graph::kmeans::kmeans;
use crate::linalg::randomized::SparseShifted;
use crate::linalg::sparse_svd::leading_triplets;
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of spectral co-clustering.
    pub struct SpectralCoclustering {
        /// Number of clusters of rows g; 1 ≤ g ≤ rows. Default 5.
        pub rows: usize = 5,
        /// Number of clusters of columns h; 1 ≤ h ≤ columns. Where it is that of the rows, clusters hold rows and columns
        /// together. Default 5.
        pub cols: usize = 5,
        /// Starts of k-means; 1 ≤ restarts. Default 10.
        pub restarts: usize = 10,
    }
}

impl Params for SpectralCoclustering {
    const DOCS: &'static [ParamDoc] = SpectralCoclustering::FIELDS;
}

impl Method for SpectralCoclustering {
    const NAME: &'static str = "spectral-coclustering";
    type Input<'a> = Values<'a>;
    type Fitted = Coclusters;

    fn validate(&self) -> Result<()> {
        at_least_one(&[("rows", self.rows), ("cols", self.cols), ("restarts", self.restarts)])
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<Coclusters> {
        refuse_clusters(input.matrix, self.rows, self.cols)?;
        let joint = Joint::new(input)?;
        let shape = (self.rows, self.cols);
        let [z_rows, z_cols] = embedding(&joint, shape, ctx.seed)?;
        let (rows, cols) = cluster([&z_rows, &z_cols], shape, self.restarts, ctx.seed);
        let side = |labels, clusters, z| Side { embedding: Some(z), ..Side::hard(labels, clusters) };
        let (rows, cols) = (side(rows, self.rows, z_rows), side(cols, self.cols, z_cols));
        Coclusters::new(input, rows, cols, Vec::new(), None, ctx)
    }
}

/// Coordinates of rows (n × l) and of columns (m × l).
fn embedding(joint: &Joint, (g, h): (usize, usize), seed: Seed) -> Result<[Array2<f64>; 2]> {
    let l = (g.max(h) as f64).log2().ceil().max(1.0) as usize;
    let root = |mass: &[f64]| -> Vec<f64> { mass.iter().map(|v| v.sqrt().recip()).collect() };
    let (left, right) = (root(&joint.row_mass), root(&joint.col_mass));
    let a = SparseShifted::plain(joint.rows.map_at(|i, j, v| v * left[i] * right[j]));
    let svd = leading_triplets(&a, l + 1, seed)?.svd;
    let part = |vectors: &Array2<f64>, scale: &[f64]| {
        // A table of rank one has no second vector: all its lines are alike.
        let mut out = vectors.slice(s![.., 1.min(vectors.ncols() - 1)..]).to_owned();
        out.rows_mut().into_iter().zip(scale).for_each(|(mut row, s)| row *= *s);
        out
    };
    Ok([part(&svd.u, &left), part(&svd.v, &right)])
}

fn cluster(z: [&Array2<f64>; 2], (g, h): (usize, usize), restarts: usize, seed: Seed) -> Labels {
    let run = |z: &Array2<f64>, k, item| {
        kmeans(z.view(), k, restarts as u64, seed.child(Draw::Restart, item)).labels
    };
    match concatenate(Axis(0), &[z[0].view(), z[1].view()]) {
        Ok(both) if g == h => {
            let mut labels = run(&both, g, 0);
            let cols = labels.split_off(z[0].nrows());
            (labels, cols)
        }
        _ => (run(z[0], g, 0), run(z[1], h, 1)),
    }
}

/// The labels alone, as a start of other methods.
///
/// # Errors
/// [`crate::Error::Numeric`] where the decomposition does not converge.
pub fn labels(joint: &Joint, shape: (usize, usize), restarts: usize, seed: Seed) -> Result<Labels> {
    let [rows, cols] = embedding(joint, shape, seed)?;
    Ok(cluster([&rows, &cols], shape, restarts, seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;

    #[test]
    fn blocks_on_the_diagonal_are_found_on_both_sides() {
        let x = Array2::from_shape_fn((24, 18), |(i, j)| {
            f64::from(1 + (i * 5 + j * 7) as u32 % 3) + 20.0 * f64::from(i % 3 == j % 3)
        });
        let matrix = Matrix::Dense(x);
        let values = Values { what: "X", matrix: &matrix };
        for cols in [3, 4] {
            let method = SpectralCoclustering { rows: 3, cols, ..Default::default() };
            let fit = method.fit(values, &mut Ctx::new(Seed(1), &mut ())).unwrap();
            assert!((0..21).all(|i| fit.rows.labels[i] == fit.rows.labels[i + 3]));
            if cols == 3 {
                assert!((0..15).all(|j| fit.cols.labels[j] == fit.cols.labels[j + 3]));
                assert!(fit.blocks.kept().unwrap() > 0.9);
            }
        }
    }
}
