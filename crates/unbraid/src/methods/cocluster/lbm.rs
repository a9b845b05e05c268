//! The latent block model for counts: a likelihood for the blocks, and with it a criterion for their number.
//!
//! ```text
//! r(i) ~ π,   c(j) ~ ρ,   X_ij | r, c ~ Poisson(x_i. x_.j γ_{r(i) c(j)}),   x_i., x_.j the sums of the table
//! Γ_ir ∝ π_r exp( Σ_c x_ic log γ_rc ),  x_ic = (X Δ)_ic;   Δ_jc ∝ ρ_c exp( Σ_r x_rj log γ_rc );
//! γ_rc = x_rc/(x_r. x_.c),   π_r = mean Γ_ir,   ρ_c = mean Δ_jc
//! F = Σ x_rc log γ_rc + Σ Γ log π + Σ Δ log ρ + H(Γ) + H(Δ)    (variational bound, up to a constant of the table)
//! ICL = log p(X, r, c) − (g−1)/2 log n − (h−1)/2 log m − gh/2 log(nm)    at the labels of largest membership
//! ```
//!
//! | symbol | shape        | meaning                         | field or slot                    |
//! |--------|--------------|---------------------------------|----------------------------------|
//! | Γ, Δ   | n × g, m × h | memberships                     | `obsm/varm["<key>_membership"]`  |
//! | γ      | g × h        | rates of blocks beyond margins  | `lift` of `uns["<key>"]["blocks"]` |
//! | F, ICL |              | bound and criterion             | `objective`, `uns["<key>"]["icl"]` |
//!
//! Govaert and Nadif (2010): `govaert2010`; the criterion after Biernacki, Celeux and Govaert (2000): `biernacki2000`. The expected
//! total Σ μ ν γ does not depend on the memberships, because γ is that of the margins, and leaves the updates. Values may be
//! fractions, which the likelihood takes as counts.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use super::blocks::{soft_profiles, xlogx};
use super::climb::{Climb, Tries, climb};
use super::fit::{Coclusters, Side};
use super::itcc::Itcc;
use super::start::{Init, Labels, hardest, labels, one_hot};
use super::table::{Joint, at_least_one, refuse_clusters, tolerance};
use crate::data::{Csr, Values};
use crate::error::Result;
use crate::fit::{Ctx, Method, Seed};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of the Poisson latent block model.
    pub struct Lbm {
        /// Number of clusters of rows g; 1 ≤ g ≤ rows. Default 5.
        pub rows: usize = 5,
        /// Number of clusters of columns h; 1 ≤ h ≤ columns. Default 5.
        pub cols: usize = 5,
        /// Where restarts begin: `random` labels, `kmeans` of either side, `spectral` co-clustering, or `mixed`: one of each of
        /// the latter and the others random. Default mixed.
        pub init: Init = Init::Mixed,
        /// Whether a start is first improved by information-theoretic co-clustering, which is this model with labels in place
        /// of memberships and equal cluster sizes. Default true; `preset=paper` has it off.
        pub itcc: bool = true,
        /// Restarts, of which the largest F is kept; 1 ≤ restarts. Default 10.
        pub restarts: usize = 10,
        /// Most sweeps of a restart; 1 ≤ max_steps. Default 200.
        pub max_steps: usize = 200,
        /// A restart ends when a sweep gains no more than this share of F; 0 ≤ tol. Default 1e-8.
        pub tol: f64 = 1e-8,
    }
}

impl Params for Lbm {
    const DOCS: &'static [ParamDoc] = Lbm::FIELDS;

    /// `paper`: EM from random labels.
    fn preset(name: &str) -> Option<Lbm> {
        (name == "paper").then(|| Lbm { init: Init::Random, itcc: false, ..Lbm::default() })
    }
}

/// Memberships under way and F.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    rows: Array2<f64>,
    cols: Array2<f64>,
    bound: f64,
}

struct Problem<'a> {
    params: &'a Lbm,
    joint: &'a Joint,
}

/// Rates below this share of independence count as it: a block without counts would forbid them for ever.
const LEAST: f64 = 1e-10;

impl Climb for Problem<'_> {
    type Point = Point;

    fn begin(&self, at: usize, seed: Seed) -> Result<Point> {
        let p = self.params;
        self.from(labels(p.init, at, self.joint, (p.rows, p.cols), seed)?)
    }

    fn sweep(&self, point: &mut Point) -> Result<(f64, bool)> {
        let (joint, n) = (self.joint, self.joint.total);
        update(&joint.rows, &mut point.rows, point.cols.view(), n);
        update(&joint.cols, &mut point.cols, point.rows.view(), n);
        let bound = bound(joint, &point.rows, &point.cols);
        let rests = bound - point.bound <= self.params.tol * bound.abs();
        point.bound = bound;
        Ok((bound, rests))
    }
}

impl Problem<'_> {
    /// Memberships from labels.
    fn from(&self, mut start: Labels) -> Result<Point> {
        let p = self.params;
        if p.itcc {
            start = Itcc { rows: p.rows, cols: p.cols, ..Itcc::default() }.polish(self.joint, start)?;
        }
        let soft = |labels: &[usize], clusters| {
            // Not quite 0 and 1, so that an empty cluster can fill.
            let even = 1e-3 / clusters as f64;
            one_hot(labels, clusters).mapv(|v| (1.0 - 1e-3) * v + even)
        };
        Ok(Point { rows: soft(&start.0, p.rows), cols: soft(&start.1, p.cols), bound: f64::NEG_INFINITY })
    }
}

/// log γ up to a constant, own × other, and the profiles it came from.
fn log_rates(profiles: ArrayView2<'_, f64>, own: ArrayView2<'_, f64>) -> Array2<f64> {
    let q = crate::linalg::matmul(own.t(), profiles);
    super::fit::lift(q.view()).mapv(|v| v.max(LEAST).ln())
}

/// log of the mean membership of each cluster.
fn log_shares(own: &Array2<f64>) -> Vec<f64> {
    let lines = own.nrows() as f64;
    own.columns().into_iter().map(|c| (c.sum() / lines).max(f64::MIN_POSITIVE).ln()).collect()
}

/// Memberships of one side given the other's.
fn update(lines: &Csr, own: &mut Array2<f64>, other: ArrayView2<'_, f64>, total: f64) {
    let profiles = soft_profiles(lines, other);
    let (log, shares) = (log_rates(profiles.view(), own.view()), log_shares(own));
    let scores = crate::linalg::matmul(profiles.view(), log.t());
    for (mut to, score) in own.rows_mut().into_iter().zip(scores.rows()) {
        to.iter_mut().zip(score).zip(&shares).for_each(|((t, s), p)| *t = total * s + p);
        let top = to.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        to.mapv_inplace(|v| (v - top).exp());
        let sum = to.sum();
        to /= sum;
    }
}

/// F.
fn bound(joint: &Joint, rows: &Array2<f64>, cols: &Array2<f64>) -> f64 {
    let profiles = soft_profiles(&joint.rows, cols.view());
    let q = crate::linalg::matmul(rows.t(), profiles.view());
    let log = log_rates(profiles.view(), rows.view());
    let fit = joint.total * (&q * &log).sum();
    let side = |own: &Array2<f64>| {
        let shares = log_shares(own);
        let prior: f64 = own.columns().into_iter().zip(&shares).map(|(c, p)| c.sum() * p).sum();
        prior - own.iter().map(|v| xlogx(*v)).sum::<f64>()
    };
    fit + side(rows) + side(cols)
}

/// log p(X, r, c) − penalties, all constants counted.
pub fn icl(joint: &Joint, rows: &Side, cols: &Side) -> f64 {
    let (n, m) = joint.shape();
    let (g, h) = (rows.clusters as f64, cols.clusters as f64);
    let q = super::blocks::table(joint, &rows.labels, &cols.labels, (rows.clusters, cols.clusters));
    let total = joint.total;
    // Σ x log(x_i. x_.j γ) − Σ x_i. x_.j γ − Σ log x!, the second sum being N.
    let margins: f64 = [&joint.row_mass, &joint.col_mass].into_iter().flatten().map(|p| xlogx(*p)).sum();
    let factorials: f64 = joint.rows.values().iter().map(|p| ln_gamma(p * total + 1.0)).sum();
    let fit = total * (super::blocks::information(q.view()) + margins + total.ln()) - total - factorials;
    let side = |sizes: Vec<usize>, lines: usize| -> f64 {
        sizes.iter().map(|&s| xlogx(s as f64)).sum::<f64>() - xlogx(lines as f64)
    };
    let (n_, m_) = (n as f64, m as f64);
    fit + side(rows.sizes(), n) + side(cols.sizes(), m)
        - 0.5 * (g - 1.0) * n_.ln()
        - 0.5 * (h - 1.0) * m_.ln()
        - 0.5 * g * h * (n_ * m_).ln()
}

impl Method for Lbm {
    const NAME: &'static str = "lbm";
    type Input<'a> = Values<'a>;
    type Fitted = Coclusters;

    fn validate(&self) -> Result<()> {
        let Lbm { rows, cols, restarts, max_steps, tol, .. } = *self;
        at_least_one(&[("rows", rows), ("cols", cols), ("restarts", restarts), ("max_steps", max_steps)])?;
        tolerance(tol)
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<Coclusters> {
        refuse_clusters(input.matrix, self.rows, self.cols)?;
        let joint = Joint::new(input)?;
        let problem = Problem { params: self, joint: &joint };
        let tries = Tries { restarts: self.restarts, sweeps: self.max_steps };
        let summit = climb(&problem, "LBM", tries, ctx)?;
        let side = |soft: Array2<f64>| {
            let clusters = soft.ncols();
            Side { membership: Some(soft.clone()), ..Side::hard(hardest(soft.view()), clusters) }
        };
        let (rows, cols) = (side(summit.point.rows), side(summit.point.cols));
        let criterion = icl(&joint, &rows, &cols);
        let mut fit = Coclusters::new(input, rows, cols, summit.objective, Some(summit.stop), ctx)?;
        fit.numbers.push(("icl", criterion));
        Ok(fit)
    }
}

impl Lbm {
    /// The labels of largest membership where F ends largest of all restarts, and F; no snapshot is taken.
    ///
    /// # Errors
    /// [`crate::Error::Numeric`] where a start's decomposition does not converge.
    pub fn labels(&self, joint: &Joint, seed: Seed) -> Result<(Labels, f64)> {
        let problem = Problem { params: self, joint };
        let tries = Tries { restarts: self.restarts, sweeps: self.max_steps };
        let point = climb(&problem, "LBM", tries, &mut Ctx::new(seed, &mut ()))?.point;
        Ok(((hardest(point.rows.view()), hardest(point.cols.view())), point.bound))
    }

    /// Goes on from given labels until F rises no more: the polish of other methods' labels. The labels of largest membership,
    /// and F.
    ///
    /// # Errors
    /// Those of [`Itcc::polish`].
    pub fn polish(&self, joint: &Joint, start: Labels) -> Result<(Labels, f64)> {
        let problem = Problem { params: self, joint };
        let mut point = problem.from(start)?;
        for _ in 0..self.max_steps {
            if problem.sweep(&mut point)?.1 {
                break;
            }
        }
        Ok(((hardest(point.rows.view()), hardest(point.cols.view())), point.bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;
    use crate::fit::Draw;
    use rand_distr::{Distribution, Poisson};

    fn planted() -> Matrix {
        let mut rng = Seed(6).stream(Draw::Simulate, 0);
        Matrix::Dense(Array2::from_shape_fn((60, 48), |(i, j)| {
            let rate = [[4.0, 1.0], [0.7, 3.0], [2.5, 2.5]][i % 3][j % 2];
            let poisson: Poisson<f64> = Poisson::new(rate).unwrap();
            poisson.sample(&mut rng) + f64::from(i == 0)
        }))
    }

    #[test]
    fn no_sweep_lowers_the_bound_and_the_criterion_finds_the_number_of_clusters() {
        let matrix = planted();
        let values = Values { what: "X", matrix: &matrix };
        let joint = Joint::new(values).unwrap();
        let params = Lbm { rows: 3, cols: 2, itcc: false, ..Lbm::default() };
        let problem = Problem { params: &params, joint: &joint };
        for at in 0..4 {
            let mut point = problem.begin(at, Seed(at as u64)).unwrap();
            let mut last = f64::NEG_INFINITY;
            for _ in 0..30 {
                let (value, _) = problem.sweep(&mut point).unwrap();
                assert!(value >= last - 1e-9 * (1.0 + value.abs()), "{value} after {last}");
                last = value;
            }
        }
        let criterion = |rows, cols| {
            let fit = Lbm { rows, cols, restarts: 4, ..Lbm::default() };
            let fit = fit.fit(values, &mut Ctx::new(Seed(1), &mut ())).unwrap();
            (fit.numbers[0].1, fit)
        };
        let (best, fit) = criterion(3, 2);
        assert!((1..57).all(|i| fit.rows.labels[i] == fit.rows.labels[i + 3]));
        for (g, h) in [(2, 2), (4, 2), (3, 1), (3, 3)] {
            assert!(criterion(g, h).0 < best, "{g} × {h}");
        }
    }

    #[test]
    fn the_criterion_is_the_plain_sum() {
        let matrix = planted();
        let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
        let rows = Side::hard((0..60).map(|i| i % 3).collect(), 3);
        let cols = Side::hard((0..48).map(|j| j % 2).collect(), 2);
        let x = matrix.to_dense();
        let of = |i: usize| x.row(i).sum();
        let to = |j: usize| x.column(j).sum();
        let mut block = Array2::<f64>::zeros((3, 2));
        x.indexed_iter().for_each(|((i, j), v)| block[[i % 3, j % 2]] += v);
        let mut plain = 0.0;
        for ((i, j), &v) in x.indexed_iter() {
            let (r, c) = (i % 3, j % 2);
            let rate = of(i) * to(j) * block[[r, c]] / (block.row(r).sum() * block.column(c).sum());
            plain += v * rate.ln() - rate - ln_gamma(v + 1.0);
        }
        plain += 60.0 * (20.0f64 / 60.0).ln() + 48.0 * 0.5f64.ln();
        plain -= 60.0f64.ln() + 0.5 * 48.0f64.ln() + 3.0 * (60.0f64 * 48.0).ln();
        assert!((icl(&joint, &rows, &cols) - plain).abs() < 1e-8 * plain.abs());
    }
}
