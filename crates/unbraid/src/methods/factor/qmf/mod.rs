//! QMF: non-negative factors behind one learnt increasing map per feature.
//!
//! ```text
//! min over U, V, B, Q of  D(X ‖ T_{B,Q}(U V)) + ρ/2 (mean Û² + mean V̂²) + τ/2 mean((F − F̄)² + (R − R̄)²),
//! U = exp(Û),  V = exp(V̂),
//! ```
//!
//! D the mean over entries of the divergence, T the maps of [`super::maps`], row by row. A row of U V is squashed by its own
//! mean and standard deviation first, so the scale of a feature's row of U is free: what is learnt of a feature is the
//! order of its samples, and the map that turns it into values. Mini-batches run over features: each takes one step of
//! Adam on the rows of Û, F and R it holds and on all of V̂.
//!
//! | symbol | shape       | meaning                                        | field           |
//! |--------|-------------|------------------------------------------------|-----------------|
//! | X      | d × n       | features × samples; files hold the transpose   | input           |
//! | U      | d × k       | loadings                                       | `loadings`      |
//! | Vᵀ     | n × k       | scores                                         | `scores`        |
//! | B, Q   | d × m       | weights and values of the target quantiles     | `maps`          |
//! | ρ      |             | weight of the squares of Û and V̂               | `rho`           |
//! | τ      |             | pull of the maps towards the mean of their group | `shrink`      |
//!
//! `maps=tied` gives all features of a group (a table of joined tables; else all) one shape B and one R, each feature keeping
//! its own range: the sharing that the paper names as a future direction; `shrink` goes half of that way.
//!
//! Differs from the paper: the loss is the mean, not the sum, as in the authors' code; the squash of the rows, which the
//! paper does not mention, is differentiated through, as there; transport is solved by Newton steps to `accuracy` and not
//! by a fixed number of Sinkhorn sweeps, so that gradients are exact; features without variation take no part. Cuturi et
//! al. (2020), section 3.3: `cuturi2020`.

mod batch;
mod problem;

use ndarray::Array2;

use self::problem::Problem;
use super::adam::Adam;
use super::common::{
    Course, Loss, Nonnegative, annotate_factors, pass_constant, refuse_rank, refuse_sizes, refuse_zero,
};
use super::maps::{self, Maps, Quantiles};
use crate::data::{Annotations, Missing};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Method, Stop, StopRule, drive};
use crate::params::{ParamDoc, Params};
use crate::soft::Squash;

/// Whose map is whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Every feature has its own.
    Each,
    /// The features of a group share one shape.
    Tied,
}

crate::words!(Sharing, "a sharing of maps", Each = "each", Tied = "tied");

crate::params! {
    /// Parameters of QMF.
    pub struct Qmf {
        /// Number of factors k; 1 ≤ k ≤ min(features, samples). Default 10 (paper, section 4.2).
        pub k: usize = 10,
        /// Number of target quantiles m of each map; 2 ≤ levels. Default 16 (paper, section 4.2; 8 in its toy experiment).
        pub levels: usize = 16,
        /// Entropic smoothing ε of the soft quantiles, on the squashed scale [0, 1]; 0 < ε. Default 0.01 (paper, section 4.1).
        pub epsilon: f64 = 0.01,
        /// How a row is brought to [0, 1]: `logistic` of its standard units (with the logistic law's standard deviation),
        /// `logistic_unit_std`, `arctan` or `none`. Default logistic, as the authors' code.
        pub squash: Squash = Squash::Logistic,
        /// Divergence D: `kl` or `frobenius`. Default kl (paper, equation 8).
        pub loss: Loss = Loss::Kl,
        /// Most epochs, passes over all features; at least 1. Default 1000 (paper, section 4.2).
        pub max_steps: usize = 1000,
        /// The fit ends when 50 epochs lower the best objective by less than this share; 0 ≤ tol, 0 never ends it early.
        /// Default 0.001.
        pub tol: f64 = 1e-3,
        /// Step size η of Adam; 0 < η. Default 0.01 (paper, section 4.1).
        pub learning_rate: f64 = 0.01,
        /// Features per step, drawn anew each epoch; 0 is all of them. Default 0; the paper's genomics runs take 64.
        pub minibatch: usize = 0,
        /// What features outside a mini-batch do: `dense` (they go on by their momentum, as the authors' code) or `lazy`
        /// (they stand still). Default dense.
        pub adam: Adam = Adam::Dense,
        /// Weight ρ of the squares of log U and log V; 0 ≤ ρ. Default 0; the paper's genomics runs take 0.001.
        pub rho: f64 = 0.0,
        /// Quantile values: `pinned` to the least and largest value of the feature, or `free`. Default pinned (paper,
        /// section 3.3).
        pub quantiles: Quantiles = Quantiles::Pinned,
        /// Maps: `each` feature its own, or `tied`: one shape for all features of a table, each with its own range.
        /// Default each.
        pub maps: Sharing = Sharing::Each,
        /// Pull τ of each map towards the mean of its group; 0 ≤ τ. Default 0.
        pub shrink: f64 = 0.0,
        /// What NaN in the table means: `error`, or `nan`: an entry that was not measured. Default error.
        pub missing: Missing = Missing::Error,
        /// Largest relative error of the column sums of a transport plan; above 0, at most 0.1. Default 1e-6.
        pub accuracy: f64 = 1e-6,
        /// Whether to write the reconstruction T(U V) as a layer. Default false.
        pub reconstruction: bool = false,
    }
}

impl Params for Qmf {
    const DOCS: &'static [ParamDoc] = Qmf::FIELDS;

    /// `paper`: the genomics protocol of section 4.2.
    fn preset(name: &str) -> Option<Qmf> {
        (name == "paper").then(|| Qmf {
            tol: 0.0,
            minibatch: 64,
            learning_rate: 1e-3,
            rho: 1e-3,
            // The authors' code stops at 1e-2; from 1e-4 on the losses of a fit do not tell the accuracy any more.
            accuracy: 1e-4,
            ..Qmf::default()
        })
    }
}

/// Factors, maps, and how the fit went.
#[derive(Clone, Debug)]
pub struct QmfFit {
    /// U, d × k, factors by falling share of U V.
    pub loadings: Array2<f64>,
    /// Vᵀ, n × k.
    pub scores: Array2<f64>,
    /// T.
    pub maps: Maps,
    /// Which divergence was made small.
    pub loss: Loss,
    /// Mean divergence over the measured entries at the end.
    pub divergence: f64,
    /// Objective of each epoch, taken batch by batch before its step.
    pub objective: Vec<f64>,
    /// Features without variation, reproduced as they are.
    pub constant: Vec<usize>,
    /// T(U V), n × d, where it was asked for.
    pub reconstruction: Option<Array2<f64>>,
    /// How the fit ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Method for Qmf {
    const NAME: &'static str = "qmf";
    type Input<'a> = Nonnegative<'a>;
    type Fitted = QmfFit;

    fn validate(&self) -> Result<()> {
        maps::layer(self.levels, self.epsilon, self.squash, self.accuracy)?;
        refuse_zero(&[("k", self.k), ("max_steps", self.max_steps)])?;
        refuse_sizes(self.learning_rate, &[("tol", self.tol), ("rho", self.rho), ("shrink", self.shrink)])?;
        if self.maps == Sharing::Tied && self.quantiles == Quantiles::Free {
            let rule = "pinned with maps=tied, where every feature keeps its own range";
            return Err(Error::Param { name: "quantiles", found: "free".into(), rule });
        }
        Ok(())
    }

    fn run(&self, input: Nonnegative<'_>, ctx: &mut Ctx<'_>) -> Result<QmfFit> {
        let (n, d) = input.values.matrix.shape();
        refuse_rank(self.k, d, n)?;
        let held =
            2 * d * n + 24 * self.k * n + d * (3 * self.k + 10 * self.levels) + 32 * n * (self.levels + 4);
        ctx.reserve(8 * held as u64, "choose fewer features")?;
        let problem = Problem::new(self, &input, ctx.seed)?;
        let constant = problem.constant();
        pass_constant(input.values.what, constant.len(), d, ctx)?;
        let (course, stop) = drive(&problem, StopRule { max_steps: self.max_steps, tol: self.tol }, ctx)?;
        problem.finish(course, stop, constant, ctx)
    }
}

impl Annotate for QmfFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        annotate_factors(out, key, &self.loadings, &self.scores);
        self.maps.annotate(out, key, "");
        Course {
            loss: self.loss,
            divergence: self.divergence,
            objective: &self.objective,
            stop: self.stop,
            warnings: &self.warnings,
            reconstruction: self.reconstruction.as_ref(),
        }
        .annotate(key, out);
    }
}
