//! QMFQ: quantile normalisation before *and* after a fixed non-negative factorisation, both learnt.
//!
//! ```text
//! X′ = T_{B′,Q′}(X),   (U, V) = Π(X′),   min over B, Q, B′, Q′ of  D(X ‖ T_{B,Q}(U V)).
//! ```
//!
//! Π is L multiplicative rounds from a fixed start, differentiated through (`projector=kl` or `frobenius`), or the truncated
//! singular value decomposition (`svd`). The factors are thus a function of the maps, and a fitted QMFQ applies to new
//! samples: X′ by the stored maps, v by Π with U fixed, and back ([`super::model`]).
//!
//! | symbol  | shape | meaning                                            | field        |
//! |---------|-------|----------------------------------------------------|--------------|
//! | X       | d × n | features × samples; files hold the transpose       | input        |
//! | B′, Q′  | d × m | weights and (free) values of the quantiles of X′   | `input_maps` |
//! | B, Q    | d × m | the same of the reconstruction, pinned to the range of the feature | `maps` |
//! | U, Vᵀ   | d × k, n × k | factors of X′                               | `loadings`, `scores` |
//! | L       |       | rounds                                             | `nmf_steps`  |
//!
//! Missing entries take no part in D, in the rounds, nor in T′, whose rows are then shorter. A fit holds the U of the last
//! rounds and the best V beside it, as new samples get it: applied to its own table a fit gives its own scores.
//!
//! Differs from the paper: as for [`super::qmf`]; section 3.4 of the paper writes Q′ where sections 3.3 and 3.5 and the
//! authors' code use the pinned Q. Cuturi et al. (2020), section 3.4: `cuturi2020`.

mod problem;
pub mod projector;

use ndarray::Array2;

use self::problem::Problem;
use super::common::{
    Course, Loss, Nonnegative, annotate_factors, pass_constant, refuse_rank, refuse_sizes, refuse_zero,
};
use super::maps::{self, Maps};
use crate::data::{Annotations, Column, Missing};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Method, Stop, StopRule, drive};
use crate::params::{ParamDoc, Params};
use crate::soft::Squash;

/// What the normalised table goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projector {
    /// Multiplicative rounds of the Kullback–Leibler rule.
    Kl,
    /// Those of the squared error.
    Frobenius,
    /// Truncated singular value decomposition, whose factors may be negative.
    Svd,
}

crate::words!(Projector, "a projector", Kl = "kl", Frobenius = "frobenius", Svd = "svd");

crate::params! {
    /// Parameters of QMFQ.
    pub struct Qmfq {
        /// Number of factors k; 1 ≤ k ≤ min(features, samples). Default 10 (paper, section 4.2).
        pub k: usize = 10,
        /// Number of target quantiles m of each map; 2 ≤ levels. Default 16 (8 in the paper's toy experiment).
        pub levels: usize = 16,
        /// Entropic smoothing ε of the soft quantiles, on the squashed scale [0, 1]; 0 < ε. Default 0.01 (paper, section 4.1).
        pub epsilon: f64 = 0.01,
        /// How a row is brought to [0, 1]; see `qmf`. Default logistic.
        pub squash: Squash = Squash::Logistic,
        /// Divergence D between the table and its reconstruction: `kl` or `frobenius`. Default kl (paper, equation 9).
        pub loss: Loss = Loss::Kl,
        /// The factorisation inside: `kl` or `frobenius` multiplicative rounds, or `svd`. Default kl.
        pub projector: Projector = Projector::Kl,
        /// Rounds L of the factorisation in every step; at least 1. Default 100 (paper, section 4.1).
        pub nmf_steps: usize = 100,
        /// Most steps of Adam; at least 1. Default 300.
        pub max_steps: usize = 300,
        /// The fit ends when 50 steps lower the best objective by less than this share; 0 ≤ tol, 0 never ends it early.
        /// Default 0.001.
        pub tol: f64 = 1e-3,
        /// Step size η of Adam; 0 < η. Default 0.01 (paper, section 4.1).
        pub learning_rate: f64 = 0.01,
        /// What NaN in the table means: `error`, or `nan`: an entry that was not measured, with the projectors `kl` and
        /// `frobenius`. Default error.
        pub missing: Missing = Missing::Error,
        /// Largest relative error of the column sums of a transport plan; above 0, at most 0.1. Default 1e-6.
        pub accuracy: f64 = 1e-6,
        /// Whether to write the reconstruction T(U V) as a layer. Default false.
        pub reconstruction: bool = false,
    }
}

impl Params for Qmfq {
    const DOCS: &'static [ParamDoc] = Qmfq::FIELDS;

    /// `paper`: all 300 steps of section 4.1.
    fn preset(name: &str) -> Option<Qmfq> {
        (name == "paper").then(|| Qmfq { tol: 0.0, ..Qmfq::default() })
    }
}

/// Factors, both maps, and how the fit went.
#[derive(Clone, Debug)]
pub struct QmfqFit {
    /// U, d × k, factors by falling share of U V.
    pub loadings: Array2<f64>,
    /// Vᵀ, n × k.
    pub scores: Array2<f64>,
    /// T′, from the table to what is factorised.
    pub input_maps: Maps,
    /// T, from the factorisation to the reconstruction.
    pub maps: Maps,
    /// Which divergence was made small.
    pub loss: Loss,
    /// What the table mapped by T′ goes through.
    pub projector: Projector,
    /// Mean divergence over the measured entries at the end.
    pub divergence: f64,
    /// Objective before each step.
    pub objective: Vec<f64>,
    /// By feature, log₂ of its share of X′ over its share of X: above 0 where T′ gives the feature more weight.
    pub gain: Vec<f64>,
    /// Features without variation, reproduced as they are.
    pub constant: Vec<usize>,
    /// T(U V), n × d, where it was asked for.
    pub reconstruction: Option<Array2<f64>>,
    /// How the fit ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Method for Qmfq {
    const NAME: &'static str = "qmfq";
    type Input<'a> = Nonnegative<'a>;
    type Fitted = QmfqFit;

    fn validate(&self) -> Result<()> {
        maps::layer(self.levels, self.epsilon, self.squash, self.accuracy)?;
        refuse_zero(&[("k", self.k), ("nmf_steps", self.nmf_steps), ("max_steps", self.max_steps)])?;
        refuse_sizes(self.learning_rate, &[("tol", self.tol)])?;
        if self.projector == Projector::Svd && self.missing == Missing::Nan {
            // The best approximation of given rank to some of the entries is not a decomposition, and it has local minima.
            let rule = "error with projector=svd: a singular value decomposition needs every entry";
            return Err(Error::Param { name: "missing", found: "nan".into(), rule });
        }
        Ok(())
    }

    fn run(&self, input: Nonnegative<'_>, ctx: &mut Ctx<'_>) -> Result<QmfqFit> {
        let (n, d) = input.values.matrix.shape();
        refuse_rank(self.k, d, n)?;
        let course =
            if self.projector == Projector::Svd { 3 * n.min(d) } else { (self.nmf_steps + 4) * self.k };
        let held = 8 * d * n + (d + n) * course + 16 * d * self.levels + 32 * n * (self.levels + 4);
        ctx.reserve(8 * held as u64, "choose fewer features, or a smaller `nmf_steps`")?;
        let problem = Problem::new(self, &input)?;
        let constant = problem.constant();
        pass_constant(input.values.what, constant.len(), d, ctx)?;
        if n < 2 || d - constant.len() < self.k {
            let found = format!("{} for {} features that vary", self.k, d - constant.len());
            return Err(Error::Param {
                name: "k",
                found,
                rule: "at most as many as there are features that vary",
            });
        }
        let problem = problem.started(ctx.seed);
        let (course, stop) = drive(&problem, StopRule { max_steps: self.max_steps, tol: self.tol }, ctx)?;
        problem.finish(course, stop, constant, ctx)
    }
}

impl Annotate for QmfqFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        annotate_factors(out, key, &self.loadings, &self.scores);
        self.input_maps.annotate(out, key, "in_");
        self.maps.annotate(out, key, "");
        out.var.insert(format!("{key}_gain"), Column::Float(self.gain.clone()));
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
