//! Non-negative matrix factors, the map T of the [family](super) being the identity.
//!
//! ```text
//! X ≈ U V,   minimise over U, V ≥ 0   Σ over measured i, j of loss(X_ij, (U V)_ij),
//! kl: x log(x / z) − x + z,   frobenius: ½ (x − z)².
//! ```
//!
//! | symbol | shape | meaning                                        | field         |
//! |--------|-------|------------------------------------------------|---------------|
//! | X      | d × n | features × samples (tables store the transpose) |               |
//! | U      | d × k | features on factors                            | `loadings`    |
//! | Vᵀ     | n × k | samples on factors                             | `scores`      |
//! | k      |       | number of factors                              | `k`           |
//! | β      |       | how far beyond the last point a step begins    | `State::beta` |
//!
//! A step of `coordinate` improves every sample's scores, then every feature's loadings (`sweep`), and each half begins beyond
//! where the last one ended, if that paid:
//!
//! ```text
//! V′ := better(V; U_y),  V_y := max(0, V′ + β (V′ − V)),   U′ := better(U_y; V_y),  U_y := max(0, U′ + β (U′ − U)).
//! ```
//!
//! Where the loss at (U′, V_y) is above that at (U, V), the step is done again from (U, V) without β, and β shrinks: no step
//! raises the loss. Extrapolation: Ang and Gillis (2019), `ang2019`; the halves: Gillis and Glineur (2012), `gillis2012`, for
//! squared error, Newton's method for KL (the quadratic models of Hsieh and Dhillon 2011, `hsieh2011`; other KL solvers are
//! compared in Hien and Gillis 2021, `hien2021`). `multiplicative` takes the rules of Lee and Seung (2001), `lee2001`.
//!
//! Sparse tables are never made dense where less than half is filled, and missing entries take no part. A step on m stored entries
//! costs 4 m k products for squared error and 2 m (k²/2 + 4 k) for KL.

mod kernel;
mod pass;
mod rules;
mod start;
mod sweep;
mod table;
#[cfg(test)]
mod twin;

pub use rules::{half, multiplicative_round};
pub use start::Init;

use ndarray::{Array2, ArrayView2, Axis, Zip};
use serde::{Deserialize, Serialize};

use self::sweep::{How, sweep};
use super::common::{Loss, Nonnegative, annotate_factors};
use crate::data::{Annotations, Missing, Slot, Value};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Check, Ctx, Iterate, Method, Seed, Step, Stop, StopRule, drive};
use crate::params::{ParamDoc, Params};

/// How the factors are improved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// Coordinate descent on each line's quadratic: its own for squared error, Newton's for KL; extrapolated.
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
        /// Where the iteration starts: `random`, `nndsvd` (leading singular vectors, cut to their non-negative parts) or `nndsvda`
        /// (the same, zeros replaced by the mean). Default random.
        pub init: Init = Init::Random,
        /// Most passes over the k numbers of a line in one step of `coordinate`, which ends earlier where they gain
        /// little; 1 ≤ repeats. Default 10.
        pub repeats: usize = 10,
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

/// First β, its growth after a step that paid, the growth of its limit, and its cut after one that did not.
const BETA: f64 = 0.5;
const GROWTH: f64 = 1.05;
const LIMIT: f64 = 1.01;
const CUT: f64 = 1.5;
/// Share of a number below which extrapolation does not lower it for KL, whose loss has no slope at 0.
const KEPT: f64 = 0.01;

/// U, V and what extrapolation remembers.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    u: Array2<f64>,
    v: Array2<f64>,
    /// U_y.
    ahead: Array2<f64>,
    beta: f64,
    limit: f64,
    loss: Option<f64>,
}

/// The iteration bound to a table.
struct Kernel<'a> {
    method: &'a Nmf,
    given: Option<(Array2<f64>, Array2<f64>)>,
    matrix: &'a crate::data::Matrix,
    samples: table::Side<'a>,
    features: table::Side<'a>,
    /// Number of measured entries and their mean.
    count: f64,
    mean: f64,
    /// The power of two by which the table was multiplied: products of its values neither overflow nor vanish.
    scale: f64,
}

impl Kernel<'_> {
    /// x + β (x − before), not below 0, or a share of x for KL.
    fn beyond(&self, beta: f64, x: &Array2<f64>, before: &Array2<f64>) -> Array2<f64> {
        let kept = if self.method.loss == Loss::Kl { KEPT } else { 0.0 };
        Zip::from(x).and(before).map_collect(|&x, &before| (x + beta * (x - before)).max(kept * x))
    }

    /// V_y from U_y and V, and Xᵀ V_y where it comes with it.
    fn scores(
        &self,
        u: ArrayView2<'_, f64>,
        v: &Array2<f64>,
        beta: f64,
    ) -> (Array2<f64>, Option<Array2<f64>>) {
        if self.method.loss == Loss::Frobenius
            && !self.samples.has_absent()
            && let Some(x) = self.samples.dense()
        {
            let beyond = |x: f64, before: f64| (x + beta * (x - before)).max(0.0);
            let (v, crossed) = pass::pass(self.how(false), &self.samples, x, u, v, beyond);
            return (v, Some(crossed));
        }
        let mut fresh = v.clone();
        sweep(self.how(false), &self.samples, u, None, &mut fresh);
        (if beta > 0.0 { self.beyond(beta, &fresh, v) } else { fresh }, None)
    }

    /// Improves U given V_y, and Xᵀ V_y where it is known; returns the loss.
    fn loadings(&self, v: ArrayView2<'_, f64>, known: Option<Array2<f64>>, u: &mut Array2<f64>) -> f64 {
        sweep(self.how(true), &self.features, v, known, u)
    }

    fn how(&self, measured: bool) -> How {
        How { loss: self.method.loss, solver: self.method.solver, passes: self.method.repeats, measured }
    }
}

impl Iterate for Kernel<'_> {
    type State = State;

    fn start(&self, seed: Seed) -> Result<State> {
        let (u, v) = match &self.given {
            Some((u, v)) => {
                let root = self.scale.sqrt();
                (u.mapv(|u| u * root), v.mapv(|v| v * root))
            }
            None => {
                let units = (self.mean, self.scale);
                start::start(self.method.init, self.matrix, self.method.k, units, seed)?
            }
        };
        let (u, v) = (u.as_standard_layout().into_owned(), v.as_standard_layout().into_owned());
        Ok(State { ahead: u.clone(), u, v, beta: BETA, limit: 1.0, loss: None })
    }

    fn step(&self, state: &mut State) -> Result<Step> {
        let extrapolate = self.method.solver == Solver::Coordinate;
        let beta = if extrapolate { state.beta } else { 0.0 };
        let (v, known) = self.scores(state.ahead.view(), &state.v, beta);
        let mut u = std::mem::replace(&mut state.ahead, Array2::zeros((0, 0)));
        let mut loss = self.loadings(v.view(), known, &mut u);
        if !extrapolate || state.loss.is_none_or(|before| loss <= before) {
            state.ahead = if extrapolate { self.beyond(state.beta, &u, &state.u) } else { u.clone() };
            (state.u, state.v) = (u, v);
            state.beta = (GROWTH * state.beta).min(state.limit);
            state.limit = (LIMIT * state.limit).min(1.0);
        } else {
            state.limit = state.beta;
            state.beta /= CUT;
            let (v, known) = self.scores(state.u.view(), &state.v, 0.0);
            loss = self.loadings(v.view(), known, &mut state.u);
            (state.v, state.ahead) = (v, state.u.clone());
        }
        state.loss = Some(loss);
        let unit = if self.method.loss == Loss::Kl { self.scale } else { self.scale * self.scale };
        Ok(Step::Sweep(loss / unit / self.count))
    }
}

impl Nmf {
    /// The fit from a given start: loadings (d × k) and scores (n × k), both finite and 0 or larger.
    ///
    /// For KL a factor that is 0 throughout stays so, and no snapshot is taken.
    ///
    /// # Errors
    /// Those of [`Method::fit`]; [`Error::Shape`] or [`Error::Value`] for the start.
    pub fn fit_from(
        &self,
        input: Nonnegative<'_>,
        loadings: Array2<f64>,
        scores: Array2<f64>,
        ctx: &mut Ctx<'_>,
    ) -> Result<NmfFit> {
        self.validate()?;
        input.check()?;
        let (n, d) = input.values.matrix.shape();
        for (what, side, rows) in [("the first loadings", &loadings, d), ("the first scores", &scores, n)] {
            if side.dim() != (rows, self.k) {
                let (found, rule) =
                    (vec![side.nrows(), side.ncols()], "as many rows as the table, k columns");
                return Err(Error::Shape { what: what.into(), found, rule });
            }
            if let Some((at, &found)) = side.indexed_iter().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
                return Err(Error::Value { what: what.into(), found, at, rule: "finite and 0 or larger" });
            }
        }
        ctx.tag = None;
        self.solve(input, Some((loadings, scores)), ctx)
    }

    fn solve(
        &self,
        input: Nonnegative<'_>,
        given: Option<(Array2<f64>, Array2<f64>)>,
        ctx: &mut Ctx<'_>,
    ) -> Result<NmfFit> {
        let matrix = input.values.matrix;
        let (n, d) = matrix.shape();
        super::common::refuse_rank(self.k, d, n)?;
        let (matrix, tally) = table::stored(matrix);
        let matrix = &*matrix;
        let count = n as f64 * d as f64 - tally.absent as f64;
        let mean = tally.total / count;
        let scale = scale_of(mean);
        let tally = if scale == 1.0 { tally } else { table::Tally::of(matrix, scale) };
        let (samples, features) = table::sides(matrix, tally, self.loss, scale);
        let kernel = Kernel { method: self, given, matrix, samples, features, count, mean, scale };
        let (course, stop) = drive(&kernel, StopRule { max_steps: self.max_steps, tol: self.tol }, ctx)?;
        if stop == Stop::MaxSteps && self.tol > 0.0 {
            ctx.warn(format!("NMF took all {} steps without meeting its stop rule.", self.max_steps));
        }
        let root = scale.sqrt();
        let (mut loadings, mut scores) = (course.state.u / root, course.state.v / root);
        if self.scaled {
            (loadings, scores) = ordered(loadings, scores);
        }
        let reconstruction = self.reconstruction.then(|| crate::linalg::matmul(scores.view(), loadings.t()));
        let (objective, warnings) = (course.objective, ctx.warnings.clone());
        Ok(NmfFit { loadings, scores, loss: self.loss, objective, reconstruction, stop, warnings })
    }
}

/// An even power of two that brings a mean far from 1 near it; 1 for the others.
fn scale_of(mean: f64) -> f64 {
    let twos = mean.log2().round();
    if twos.abs() < 30.0 { 1.0 } else { (-2.0 * (0.5 * twos).round()).clamp(-1000.0, 1000.0).exp2() }
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
        self.solve(input, None, ctx)
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
