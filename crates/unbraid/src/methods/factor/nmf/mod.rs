//! Non-negative matrix factors X ≈ U V (d × n; U: d × k, V: k × n, both ≥ 0), the map T of the
//! [family](super) being the identity.
//!
//! A step updates every sample's scores and then every feature's loadings; no step raises the loss.
//! Sparse tables are never made dense, and missing entries take no part. Hsieh and Dhillon (2011), Hien and
//! Gillis (2021) for the default solver; Lee and Seung (2001) for `multiplicative`.

mod lines;
mod rules;

pub use rules::{multiplicative_round, project};

use ndarray::{Array2, Axis};
use rand::RngExt;

use super::common::{Loss, Missing, Nonnegative, annotate_factors};
use crate::data::{Annotations, Slot, Value};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Draw, Iterate, Method, Seed, Step, Stop, StopRule, drive};
use crate::params::{ParamDoc, Params};

/// How the factors are improved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// Coordinate by coordinate: exact minima for squared error, safeguarded Newton steps for KL.
    Coordinate,
    /// The rules of Lee and Seung.
    Multiplicative,
}

crate::words!(Solver, "a solver", Coordinate = "coordinate", Multiplicative = "multiplicative");

crate::params! {
    /// Parameters of NMF.
    pub struct Nmf {
        /// Number of factors k; 1 ≤ k ≤ the smaller side. Default 10.
        pub k: usize = 10,
        /// What is made small: `kl` or `frobenius`. Default kl.
        pub loss: Loss = Loss::Kl,
        /// `coordinate` (fast) or `multiplicative` (Lee and Seung). Default coordinate.
        pub solver: Solver = Solver::Coordinate,
        /// Passes over the k numbers of a line in one step of `coordinate`; 1 ≤ repeats. Default 2.
        pub repeats: usize = 2,
        /// Most steps; 1 ≤ steps. Default 500.
        pub max_steps: usize = 500,
        /// The fit ends when a step changes the loss by no more than this share of it; 0 ≤ tol. Default 1e-5.
        pub tol: f64 = 1e-5,
        /// Scale the loadings of every factor to sum 1 and order factors by the sum of their scores.
        /// Default true; `preset=paper` leaves both as the rule gives them.
        pub scaled: bool = true,
        /// What NaN means: `error`, or `nan` for an entry that was not measured. Default error.
        pub missing: Missing = Missing::Error,
        /// Write U V, every entry of the table, as a layer. Default false.
        pub reconstruction: bool = false,
    }
}

impl Params for Nmf {
    const DOCS: &'static [ParamDoc] = Nmf::FIELDS;

    /// `paper`: one hundred multiplicative rounds.
    fn preset(name: &str) -> Option<Nmf> {
        (name == "paper").then(|| Nmf {
            solver: Solver::Multiplicative,
            max_steps: 100,
            tol: 0.0,
            scaled: false,
            ..Nmf::default()
        })
    }
}

/// A fitted NMF.
#[derive(Clone, Debug)]
pub struct NmfFit {
    /// U, d × k.
    pub loadings: Array2<f64>,
    /// Vᵀ, n × k.
    pub scores: Array2<f64>,
    /// What was made small.
    pub loss: Loss,
    /// Mean loss of the measured entries after each step.
    pub objective: Vec<f64>,
    /// (U V)ᵀ, n × d, where it was asked for.
    pub reconstruction: Option<Array2<f64>>,
    /// How the iteration ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The iteration bound to a table.
struct Kernel<'a> {
    method: &'a Nmf,
    samples: Vec<lines::Line>,
    features: Vec<lines::Line>,
    /// Number of measured entries and their mean.
    count: f64,
    mean: f64,
}

impl Iterate for Kernel<'_> {
    /// U (d × k) and Vᵀ (n × k).
    type State = (Array2<f64>, Array2<f64>);

    fn start(&self, seed: Seed) -> Result<Self::State> {
        let k = self.method.k;
        let size = (self.mean / k as f64).sqrt();
        let draw = |rows: usize, item| {
            let mut rng = seed.stream(Draw::Init, item);
            Array2::from_shape_simple_fn((rows, k), || 2.0 * size * (rng.random::<f64>() + 0.01))
        };
        Ok((draw(self.features.len(), 0), draw(self.samples.len(), 1)))
    }

    fn step(&self, (u, v): &mut Self::State) -> Result<Step> {
        let how = (self.method.loss, self.method.solver, self.method.repeats);
        lines::sweep(how, &self.samples, u.view(), v);
        Ok(Step::Sweep(lines::sweep(how, &self.features, v.view(), u) / self.count))
    }
}

impl Method for Nmf {
    const NAME: &'static str = "nmf";
    type Input<'a> = Nonnegative<'a>;
    type Fitted = NmfFit;

    fn validate(&self) -> Result<()> {
        let least = |v: usize, name, rule| match v {
            0 => Err(Error::Param { name, found: v.to_string(), rule }),
            _ => Ok(()),
        };
        least(self.k, "k", "at least 1")?;
        least(self.repeats, "repeats", "at least 1")?;
        least(self.max_steps, "max_steps", "at least 1")?;
        if !(self.tol.is_finite() && self.tol >= 0.0) {
            return Err(Error::Param {
                name: "tol",
                found: self.tol.to_string(),
                rule: "0 or a positive number",
            });
        }
        Ok(())
    }

    fn run(&self, input: Nonnegative<'_>, ctx: &mut Ctx<'_>) -> Result<NmfFit> {
        let matrix = input.values.matrix;
        let (n, d) = matrix.shape();
        if self.k > n.min(d) {
            let rule = "at most the number of samples and of features";
            return Err(Error::Param { name: "k", found: self.k.to_string(), rule });
        }
        let (mut absent, mut total) = (0usize, 0.0);
        matrix.for_each_nonzero(|_, _, v| if v.is_nan() { absent += 1 } else { total += v });
        let count = n as f64 * d as f64 - absent as f64;
        let (samples, features) = (lines::lines(matrix), lines::lines(&matrix.transpose()));
        let kernel = Kernel { method: self, samples, features, count, mean: total / count };
        let (course, stop) = drive(&kernel, StopRule { max_steps: self.max_steps, tol: self.tol }, ctx)?;
        if stop == Stop::MaxSteps && self.tol > 0.0 {
            ctx.warn(format!("NMF took all {} steps without meeting its stop rule.", self.max_steps));
        }
        let (mut loadings, mut scores) = course.state;
        if self.scaled {
            (loadings, scores) = ordered(loadings, scores);
        }
        let reconstruction = self.reconstruction.then(|| crate::linalg::matmul(scores.view(), loadings.t()));
        let (objective, warnings) = (course.objective, ctx.warnings.clone());
        Ok(NmfFit { loadings, scores, loss: self.loss, objective, reconstruction, stop, warnings })
    }
}

/// Loadings of sum 1, factors by falling sum of scores.
fn ordered(mut u: Array2<f64>, mut v: Array2<f64>) -> (Array2<f64>, Array2<f64>) {
    for a in 0..u.ncols() {
        let sum = u.column(a).sum();
        if sum > 0.0 {
            u.column_mut(a).mapv_inplace(|x| x / sum);
            v.column_mut(a).mapv_inplace(|x| x * sum);
        }
    }
    let sizes = v.sum_axis(Axis(0));
    let mut order: Vec<usize> = (0..u.ncols()).collect();
    order.sort_by(|&a, &b| sizes[b].total_cmp(&sizes[a]));
    (u.select(Axis(1), &order), v.select(Axis(1), &order))
}

impl Annotate for NmfFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        annotate_factors(out, key, &self.loadings, &self.scores);
        if let Some(z) = &self.reconstruction {
            out.layers.insert(format!("{key}_reconstruction"), Slot::F64(z.clone()));
        }
        let notes = out.notes(key);
        notes.insert("loss".into(), self.loss.to_string().into());
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}
