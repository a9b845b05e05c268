//! Tyler's scatter of one axis: a precision that does not see the magnitude of any sample.
//!
//! Samples x_1 … x_n of p variables follow x_i = r_i Σ^{1/2} u_i with u_i uniform on the sphere and r_i
//! any magnitudes: the elliptical laws, and the case of one axis of what MED-MAGMA generalises to two.
//! Tyler's estimate solves
//!
//! ```text
//! Σ = (p / n) Σ_i x_i x_iᵀ / (x_iᵀ Σ⁻¹ x_i),   tr Σ = p,
//! ```
//!
//! by iterating the right side. It exists for n > p samples in general position. With shrinkage ρ,
//!
//! ```text
//! Σ̃ = (1 − ρ) (p / n) Σ_i x_i x_iᵀ / (x_iᵀ Σ⁻¹ x_i) + ρ I,   Σ := p Σ̃ / tr Σ̃,
//! ```
//!
//! exists and is unique for any n and 0 < ρ ≤ 1 (Chen, Wiesel and Hero 2011). The precision is Σ⁻¹.
//!
//! | symbol | shape | meaning                                     | field       |
//! |--------|-------|---------------------------------------------|-------------|
//! | x_i    | p     | sample i: a row (`axis=var`), a column (`axis=obs`) | input |
//! | Σ      | p × p | scatter of trace p                          | `scatter`   |
//! | ρ      |       | shrinkage towards I                         | `shrinkage` |
//!
//! The location is taken as zero. Tyler (1987): `tyler1987`; Chen, Wiesel and Hero (2011): `chen2011`.

use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::common::{Network, Precision, annotate_network};
use super::single_axis::pinv;
use crate::data::{Annotations, Value, Values};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Iterate, Method, Seed, Step, Stop, StopRule, drive};
use crate::graph::edges::{Keep, Significance};
use crate::linalg::cholesky::Cholesky;
use crate::linalg::gram;
use crate::params::{ParamDoc, Params};

/// Which side of a table the variables are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Observations are the variables, features the samples.
    Obs,
    /// Features are the variables, observations the samples.
    Var,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Side::Obs { "obs" } else { "var" })
    }
}

/// How far the scatter is pulled towards the identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shrinkage {
    /// `auto`: the plug-in value of Chen, Wiesel and Hero.
    Auto,
    /// ρ itself.
    Fixed(f64),
}

impl fmt::Display for Shrinkage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shrinkage::Auto => f.write_str("auto"),
            Shrinkage::Fixed(rho) => write!(f, "{rho}"),
        }
    }
}

impl FromStr for Shrinkage {
    type Err = String;

    fn from_str(text: &str) -> Result<Shrinkage, String> {
        match text.parse() {
            Ok(rho) => Ok(Shrinkage::Fixed(rho)),
            Err(_) if text == "auto" => Ok(Shrinkage::Auto),
            Err(_) => Err(format!("`{text}` must be auto or a number from 0 to 1")),
        }
    }
}

crate::serde_as_text!(Shrinkage);

crate::params! {
    /// Parameters of Tyler's scatter.
    pub struct Tyler {
        /// Whose network is learnt: `var` (features, observations are the samples) or `obs`. Default var.
        pub axis: Side = Side::Var,
        /// Shrinkage ρ towards the identity: `auto` or 0 ≤ ρ ≤ 1; more than 0 where there are no more samples
        /// than variables. Chen, Wiesel and Hero 2011; default auto, their plug-in value.
        pub shrinkage: Shrinkage = Shrinkage::Auto,
        /// The iteration ends when the relative change of the scatter (Frobenius) is at most this; 0 < tol.
        /// Default 1e-8: the iteration is linear and cheap.
        pub tol: f64 = 1e-8,
        /// Most steps; 1 ≤ steps. Default 1000.
        pub max_steps: usize = 1000,
        /// Which entries of the precision are kept; see `gmgm`. Default top:10.
        pub keep: Keep = Keep::default(),
    }
}

impl Params for Tyler {
    const DOCS: &'static [ParamDoc] = Tyler::FIELDS;

    /// `paper`: Tyler's estimate as it stands, without shrinkage.
    fn preset(name: &str) -> Option<Tyler> {
        (name == "paper").then(|| Tyler { shrinkage: Shrinkage::Fixed(0.0), ..Tyler::default() })
    }
}

/// Tyler's scatter and its inverse.
#[derive(Clone, Debug)]
pub struct TylerFit {
    /// Which side was learnt.
    pub axis: Side,
    /// Σ, of trace p.
    pub scatter: Array2<f64>,
    /// Its (pseudo-)inverse and the kept edges.
    pub network: Network,
    /// The shrinkage used.
    pub shrinkage: f64,
    /// Tyler's objective `(p / n) Σ_i log(x_iᵀ Σ⁻¹ x_i) + log det Σ` before each step.
    pub objective: Vec<f64>,
    /// How the iteration ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The iteration on samples in columns, each of norm 1.
struct FixedPoint {
    /// p × n.
    samples: Array2<f64>,
    rho: f64,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// Σ by rows.
    scatter: Vec<f64>,
    /// Relative change in the last step.
    change: f64,
}

/// The plug-in shrinkage of Chen, Wiesel and Hero (2011), equation 13, from samples of norm 1 in columns.
fn plug_in(samples: ArrayView2<'_, f64>) -> f64 {
    let (p, n) = (samples.nrows() as f64, samples.ncols() as f64);
    // R = (p / n) Σ x xᵀ / ‖x‖², of trace p.
    let r = gram(samples) * (p / n);
    let t = r.iter().map(|v| v * v).sum::<f64>();
    let above = p * p + (1.0 - 2.0 / p) * t;
    let below = p * p - n * p - 2.0 * n + (n + 1.0 + 2.0 * (n - 1.0) / p) * t;
    let rho = above / below;
    if rho.is_finite() && below > 0.0 { rho.clamp(1e-6, 1.0) } else { 1.0 }
}

impl Iterate for FixedPoint {
    type State = State;

    fn start(&self, _: Seed) -> Result<State> {
        let eye = Array2::eye(self.samples.nrows());
        Ok(State { scatter: eye.into_raw_vec_and_offset().0, change: f64::INFINITY })
    }

    fn step(&self, state: &mut State) -> Result<Step> {
        let (p, n) = self.samples.dim();
        let old = ArrayView2::from_shape((p, p), &state.scatter)
            .map_err(|e| Error::Snapshot(format!("the scatter has the wrong size: {e}")))?;
        let factor = Cholesky::new(old).ok_or_else(|| Error::Numeric {
            what: "Tyler's iteration",
            why: "the scatter became singular; samples lie in a subspace, set a larger shrinkage".into(),
        })?;
        // q_i = x_iᵀ Σ⁻¹ x_i
        let white = factor.whiten(self.samples.view());
        let q: Vec<f64> = white.axis_iter(Axis(1)).map(|w| w.iter().map(|v| v * v).sum()).collect();
        let ratio = p as f64 / n as f64;
        let objective = ratio * q.iter().map(|q| q.ln()).sum::<f64>() + factor.log_det();
        // Σ̃ = (1 − ρ) (p / n) Σ x xᵀ / q + ρ I
        let mut weighted = self.samples.clone();
        for (mut x, q) in weighted.axis_iter_mut(Axis(1)).zip(&q) {
            x *= ((1.0 - self.rho) * ratio / q).sqrt();
        }
        let mut new = gram(weighted.view());
        new.diag_mut().iter_mut().for_each(|v| *v += self.rho);
        let scale = p as f64 / new.diag().sum();
        new *= scale;
        let size = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let moved = size(&mut new.iter().zip(old).map(|(a, b)| a - b));
        state.change = moved / size(&mut new.iter().copied());
        state.scatter = new.into_raw_vec_and_offset().0;
        Ok(Step::Sweep(objective))
    }

    fn converged(&self, state: &State, tol: f64, _: &[f64]) -> bool {
        state.change <= tol
    }
}

impl Method for Tyler {
    const NAME: &'static str = "tyler";
    type Input<'a> = Values<'a>;
    type Fitted = TylerFit;

    fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if !(self.tol > 0.0 && self.tol.is_finite()) {
            return bad("tol", self.tol.to_string(), "a positive number");
        }
        if self.max_steps == 0 {
            return bad("max_steps", "0".into(), "at least 1");
        }
        match self.shrinkage {
            Shrinkage::Fixed(rho) if !(0.0..=1.0).contains(&rho) => {
                bad("shrinkage", rho.to_string(), "auto or a number from 0 to 1")
            }
            _ => self.keep.validate(),
        }
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<TylerFit> {
        let (n, m) = input.matrix.shape();
        let p = if self.axis == Side::Obs { n } else { m };
        ctx.reserve(8 * (6 * p * p + 5 * n * m) as u64, "choose fewer features")?;
        let dense = input.matrix.to_dense();
        let all = if self.axis == Side::Obs { dense.view() } else { dense.t() };
        // Only directions count; a sample of zeros has none.
        let norm: Vec<f64> =
            all.axis_iter(Axis(1)).map(|x| x.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
        let used: Vec<usize> = (0..norm.len()).filter(|&i| norm[i] > 0.0).collect();
        if used.len() < norm.len() {
            let count = norm.len() - used.len();
            ctx.warn(format!("{}: {count} samples hold only zeros and were left out.", input.what));
        }
        if used.is_empty() {
            let what = format!("a value other than 0 in {}", input.what);
            return Err(Error::Missing { what, hint: "there is nothing to fit".into() });
        }
        let mut samples = all.select(Axis(1), &used).as_standard_layout().into_owned();
        for (mut x, &i) in samples.axis_iter_mut(Axis(1)).zip(&used) {
            x /= norm[i];
        }
        let rho = match self.shrinkage {
            Shrinkage::Auto => plug_in(samples.view()),
            Shrinkage::Fixed(rho) if rho == 0.0 && used.len() <= p => {
                return Err(Error::Param {
                    name: "shrinkage",
                    found: format!("0 with {} samples of {p} variables", used.len()),
                    rule: "more than 0 where there are no more samples than variables",
                });
            }
            Shrinkage::Fixed(rho) => rho,
        };
        let count = samples.ncols();
        let problem = FixedPoint { samples, rho };
        let (course, stop) = drive(&problem, StopRule { max_steps: self.max_steps, tol: self.tol }, ctx)?;
        if stop == Stop::MaxSteps {
            let left = course.state.change;
            ctx.warn(format!(
                "Tyler's iteration took all {} steps; the last changed {left:.1e}.",
                self.max_steps
            ));
        }
        let scatter = Array2::from_shape_vec((p, p), course.state.scatter)
            .map_err(|e| Error::Snapshot(format!("the scatter has the wrong size: {e}")))?;
        let (psi, _) = pinv(scatter.view(), 1e-14)?;
        let significance = Significance::of_matrix(p, count);
        let network = Network::new(Precision::Dense(psi), &self.keep, Some(&significance))?;
        Ok(TylerFit {
            axis: self.axis,
            scatter,
            network,
            shrinkage: rho,
            objective: course.objective,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }
}

impl Annotate for TylerFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        let pairs = if self.axis == Side::Obs { &mut out.obsp } else { &mut out.varp };
        annotate_network(pairs, &mut out.uns, key, &self.network);
        let notes = out.notes(key);
        notes.insert("shrinkage".into(), self.shrinkage.into());
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}
