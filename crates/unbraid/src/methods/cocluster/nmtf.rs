//! Orthogonal non-negative factorisation in three.
//!
//! ```text
//! minimise ‖X̃ − F S Gᵀ‖²  over F (n × g), S (g × h), G (m × h), all ≥ 0, with FᵀF and GᵀG near diagonal,    X̃ the weighted table;
//! G ← G ∘ √( X̃ᵀF S / G Gᵀ X̃ᵀF S ),   F ← F ∘ √( X̃ G Sᵀ / F Fᵀ X̃ G Sᵀ ),   S ← S ∘ √( FᵀX̃ G / FᵀF S GᵀG )
//! ```
//!
//! | symbol | shape | meaning                      | field or slot                    |
//! |--------|-------|------------------------------|----------------------------------|
//! | F, G   | n × g, m × h | rows and columns on clusters; rows scaled to sum 1 | `obsm/varm["<key>_membership"]` |
//! | S      | g × h | what joins them              |                                  |
//!
//! Ding, Li, Peng and Park (2006): `ding2006`. The orthogonality is in the updates' denominators alone, as there. Labels are the
//! largest entries of F and G. Weights: [`super::weight`].

use ndarray::{Array2, ArrayView2, Zip};
use serde::{Deserialize, Serialize};

use super::blocks::soft_profiles;
use super::climb::{Climb, Tries, climb};
use super::fit::{Coclusters, Side};
use super::start::{Init, hardest, labels, one_hot};
use super::table::{Joint, at_least_one, refuse_clusters, tolerance};
use super::weight::Weighting;
use crate::data::{Csr, Values};
use crate::error::Result;
use crate::fit::{Ctx, Draw, Method, Seed};
use crate::linalg::matmul;
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of orthogonal non-negative tri-factorisation.
    pub struct Nmtf {
        /// Number of clusters of rows g; 1 ≤ g ≤ rows. Default 5.
        pub rows: usize = 5,
        /// Number of clusters of columns h; 1 ≤ h ≤ columns. Default 5.
        pub cols: usize = 5,
        /// Whether F and G are kept near orthogonal; without, their updates have the plain denominators. Default true.
        pub orthogonal: bool = true,
        /// What values count for: `tfidf`, `none` or `auto` (tfidf). Default auto.
        pub weighting: Weighting = Weighting::Auto,
        /// Where restarts begin: `random`, `kmeans` (labels of either side, with 0.2 added to the 0 and 1), `spectral` alike, or
        /// `mixed`: one of each of the latter and the others random. Default mixed.
        pub init: Init = Init::Mixed,
        /// Restarts, of which the least loss is kept; 1 ≤ restarts. Default 5.
        pub restarts: usize = 5,
        /// Most sweeps of a restart; 1 ≤ max_steps. Default 300.
        pub max_steps: usize = 300,
        /// A restart ends when a sweep changes the loss by no more than this share of ‖X̃‖²; 0 ≤ tol. Default 1e-6.
        pub tol: f64 = 1e-6,
    }
}

impl Params for Nmtf {
    const DOCS: &'static [ParamDoc] = Nmtf::FIELDS;
}

/// Factors under way and the share of ‖X̃‖² they explain.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    f: Array2<f64>,
    s: Array2<f64>,
    g: Array2<f64>,
    explained: f64,
}

struct Problem<'a> {
    params: &'a Nmtf,
    joint: &'a Joint,
    x: Csr,
    xt: Csr,
    energy: f64,
}

/// Keeps divisions finite and entries off 0.
const TINY: f64 = 1e-12;

fn scaled(to: &mut Array2<f64>, up: &Array2<f64>, down: &Array2<f64>) {
    Zip::from(to).and(up).and(down).for_each(|t, u, d| *t = (*t * (u / (d + TINY)).sqrt()).max(TINY));
}

/// One factor given B = X̃ times the others: the step of F with B = X̃ G Sᵀ, of G with B = X̃ᵀ F S.
fn update(
    factor: &mut Array2<f64>,
    b: &Array2<f64>,
    orthogonal: bool,
    plain: impl FnOnce(&Array2<f64>) -> Array2<f64>,
) {
    let down = match orthogonal {
        true => matmul(factor.view(), matmul(factor.t(), b.view()).view()),
        false => plain(factor),
    };
    scaled(factor, b, &down);
}

fn gram(a: ArrayView2<'_, f64>) -> Array2<f64> {
    matmul(a.t(), a)
}

impl Climb for Problem<'_> {
    type Point = Point;

    fn begin(&self, at: usize, seed: Seed) -> Result<Point> {
        let p = self.params;
        let (rows, cols) = labels(p.init, at, self.joint, (p.rows, p.cols), seed)?;
        let mut rng = seed.stream(Draw::Init, 7);
        let mut soft = |labels: &[usize], clusters| {
            use rand::RngExt;
            one_hot(labels, clusters).mapv(|v| v + 0.1 + 0.2 * rng.random::<f64>())
        };
        let (f, g) = (soft(&rows, p.rows), soft(&cols, p.cols));
        // Block means, so that the first product has the size of the table.
        let fx = matmul(f.t(), soft_profiles(&self.x, g.view()).view());
        let size = |a: &Array2<f64>| -> Vec<f64> { a.columns().into_iter().map(|c| c.sum()).collect() };
        let (of, to) = (size(&f), size(&g));
        let s = Array2::from_shape_fn((p.rows, p.cols), |(r, c)| fx[[r, c]] / (of[r] * to[c]) + TINY);
        Ok(Point { f, s, g, explained: 0.0 })
    }

    fn sweep(&self, point: &mut Point) -> Result<(f64, bool)> {
        let Point { f, s, g, explained } = point;
        let own = self.params.orthogonal;
        let fs = matmul(f.view(), s.view());
        update(g, &soft_profiles(&self.xt, fs.view()), own, |g| matmul(g.view(), gram(fs.view()).view()));
        let gs = matmul(g.view(), s.t());
        update(f, &soft_profiles(&self.x, gs.view()), own, |f| matmul(f.view(), gram(gs.view()).view()));
        let fxg = matmul(f.t(), soft_profiles(&self.x, g.view()).view());
        let (ff, gg) = (gram(f.view()), gram(g.view()));
        let down = matmul(matmul(ff.view(), s.view()).view(), gg.view());
        scaled(s, &fxg, &down);
        // ‖X̃ − F S Gᵀ‖² = ‖X̃‖² − 2⟨FᵀX̃G, S⟩ + ⟨FᵀF S GᵀG, S⟩
        let model = (&matmul(matmul(ff.view(), s.view()).view(), gg.view()) * &*s).sum();
        let after = (2.0 * (&fxg * &*s).sum() - model) / self.energy;
        let rests = (after - *explained).abs() <= self.params.tol;
        *explained = after;
        Ok((after, rests))
    }
}

impl Method for Nmtf {
    const NAME: &'static str = "nmtf";
    type Input<'a> = Values<'a>;
    type Fitted = Coclusters;

    fn validate(&self) -> Result<()> {
        let Nmtf { rows, cols, restarts, max_steps, tol, .. } = *self;
        at_least_one(&[("rows", rows), ("cols", cols), ("restarts", restarts), ("max_steps", max_steps)])?;
        tolerance(tol)
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<Coclusters> {
        refuse_clusters(input.matrix, self.rows, self.cols)?;
        let joint = Joint::new(input)?;
        let x = self.weighting.apply(&joint.rows);
        let energy = x.values().iter().map(|v| v * v).sum();
        let problem = Problem { params: self, joint: &joint, xt: x.transpose(), x, energy };
        let tries = Tries { restarts: self.restarts, sweeps: self.max_steps };
        let summit = climb(&problem, "NMTF", tries, ctx)?;
        let side = |factor: Array2<f64>| {
            let mut unit = factor.clone();
            // Columns of one length, as orthonormal ones have it: sizes of clusters decide nothing.
            unit.columns_mut().into_iter().for_each(|mut c| {
                let size = c.dot(&c).sqrt().max(TINY);
                c /= size;
            });
            let labels = hardest(unit.view());
            unit.rows_mut().into_iter().for_each(|mut r| {
                let sum = r.sum().max(TINY);
                r /= sum;
            });
            Side { membership: Some(unit), ..Side::hard(labels, factor.ncols()) }
        };
        let (rows, cols) = (side(summit.point.f), side(summit.point.g));
        Coclusters::new(input, rows, cols, summit.objective, Some(summit.stop), ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;

    #[test]
    fn blocks_are_found_and_plain_sweeps_never_lose() {
        let x = Array2::from_shape_fn((30, 24), |(i, j)| {
            f64::from((i * 5 + j * 7) as u32 % 4) + 12.0 * f64::from(i % 3 == j % 3)
        });
        let matrix = Matrix::Dense(x);
        let values = Values { what: "X", matrix: &matrix };
        for orthogonal in [true, false] {
            let params = Nmtf { rows: 3, cols: 3, orthogonal, ..Nmtf::default() };
            let fit = params.fit(values, &mut Ctx::new(Seed(2), &mut ())).unwrap();
            assert!((0..27).all(|i| fit.rows.labels[i] == fit.rows.labels[i + 3]), "{orthogonal}");
            assert!((0..21).all(|j| fit.cols.labels[j] == fit.cols.labels[j + 3]), "{orthogonal}");
        }
        let params = Nmtf { rows: 3, cols: 2, orthogonal: false, ..Nmtf::default() };
        let joint = Joint::new(values).unwrap();
        let x = Weighting::Auto.apply(&joint.rows);
        let energy = x.values().iter().map(|v| v * v).sum();
        let problem = Problem { params: &params, joint: &joint, xt: x.transpose(), x, energy };
        let mut point = problem.begin(3, Seed(1)).unwrap();
        let mut last = f64::NEG_INFINITY;
        for _ in 0..40 {
            let (value, _) = problem.sweep(&mut point).unwrap();
            assert!(value >= last - 1e-12, "{value} after {last}");
            last = value;
        }
    }
}
