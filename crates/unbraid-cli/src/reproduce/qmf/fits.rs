//! NMF, QMF and QMFQ at the settings of the paper's section 4.1, with one form of result.

use std::mem::take;

use ndarray::{Array2, ArrayView2};
use unbraid::Seed;
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Method, Stop};
use unbraid::linalg::matmul;
use unbraid::methods::factor::common::Nonnegative;
use unbraid::methods::factor::model::Model;
use unbraid::methods::factor::nmf::{Nmf, Solver};
use unbraid::methods::factor::qmf::Qmf;
use unbraid::methods::factor::qmfq::Qmfq;

use crate::fault::Fault;
pub use crate::reproduce::mean;
use crate::watch::UntilInterrupted;

/// Smoothing ε of the soft quantiles and step size of Adam.
pub const EPSILON: f64 = 0.01;
pub const RATE: f64 = 0.01;

/// A method with what differs between the experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Multiplicative rounds for KL.
    Nmf { k: usize, rounds: usize },
    /// Epochs of mini-batches of `batch` features; 0 is all of them.
    Qmf { k: usize, levels: usize, epochs: usize, batch: usize },
    /// Steps of Adam through `rounds` rounds of NMF.
    Qmfq { k: usize, levels: usize, steps: usize, rounds: usize },
}

/// What came of it.
pub struct Fitted {
    /// KL by round, epoch or step: after each of NMF, before each of the others.
    pub course: Vec<f64>,
    /// KL at the end.
    pub divergence: f64,
    /// Vᵀ, n × k.
    pub scores: Array2<f64>,
    /// U and the maps.
    pub model: Model,
}

impl Way {
    /// In figures and tables.
    pub fn name(self) -> &'static str {
        match self {
            Way::Nmf { .. } => "NMF",
            Way::Qmf { .. } => "QMF",
            Way::Qmfq { .. } => "QMFQ",
        }
    }

    /// Its colour.
    pub fn tint(self) -> usize {
        match self {
            Way::Nmf { .. } => 2,
            Way::Qmf { .. } => 0,
            Way::Qmfq { .. } => 1,
        }
    }

    /// As typed after `unbraid fit`.
    pub fn typed(self) -> String {
        match self {
            Way::Nmf { k, rounds } => format!("nmf --set preset=paper --set k={k} --set max_steps={rounds}"),
            Way::Qmf { k, levels, epochs, batch } => format!(
                "qmf --set k={k} --set levels={levels} --set max_steps={epochs} --set minibatch={batch} --set tol=0"
            ),
            Way::Qmfq { k, levels, steps, rounds } => format!(
                "qmfq --set k={k} --set levels={levels} --set max_steps={steps} --set nmf_steps={rounds} --set tol=0"
            ),
        }
    }

    /// Fits `x`, d × n.
    ///
    /// # Errors
    /// What the method refuses, and the user's interrupt.
    pub fn fit(self, x: ArrayView2<'_, f64>, seed: Seed) -> Result<Fitted, Fault> {
        let matrix = Matrix::Dense(x.t().as_standard_layout().into_owned());
        let input = Nonnegative::new(Values { what: "simulated data", matrix: &matrix });
        let mut observer = UntilInterrupted;
        let mut ctx = Ctx::new(seed, &mut observer);
        let (scores, course, divergence, stop, model) = match self {
            Way::Nmf { k, rounds } => {
                let paper = Nmf { scaled: false, tol: 0.0, solver: Solver::Multiplicative, ..Nmf::default() };
                let mut fit = Nmf { k, max_steps: rounds, ..paper }.fit(input, &mut ctx)?;
                let last = fit.objective.last().copied().unwrap_or(f64::NAN);
                (fit.scores.clone(), take(&mut fit.objective), last, fit.stop, Model::from(fit))
            }
            Way::Qmf { k, levels, epochs, batch } => {
                let sizes = Qmf { k, levels, max_steps: epochs, minibatch: batch, ..Qmf::default() };
                let mut fit =
                    Qmf { epsilon: EPSILON, learning_rate: RATE, tol: 0.0, ..sizes }.fit(input, &mut ctx)?;
                (fit.scores.clone(), take(&mut fit.objective), fit.divergence, fit.stop, Model::from(fit))
            }
            Way::Qmfq { k, levels, steps, rounds } => {
                let sizes = Qmfq { k, levels, max_steps: steps, nmf_steps: rounds, ..Qmfq::default() };
                let mut fit =
                    Qmfq { epsilon: EPSILON, learning_rate: RATE, tol: 0.0, ..sizes }.fit(input, &mut ctx)?;
                (fit.scores.clone(), take(&mut fit.objective), fit.divergence, fit.stop, Model::from(fit))
            }
        };
        if stop == Stop::Cancelled {
            return Err(Fault::Interrupted("stopped by the user".into()));
        }
        Ok(Fitted { course, divergence, scores, model })
    }
}

impl Fitted {
    /// The fitted values of one feature.
    pub fn row(&self, feature: usize) -> Vec<f64> {
        let u = self.model.loadings.row(feature).insert_axis(ndarray::Axis(1));
        let z = matmul(self.scores.view(), u).into_raw_vec_and_offset().0;
        let Some(maps) = &self.model.maps else { return z };
        let mut out = vec![0.0; z.len()];
        maps.evaluate(feature, &z, &mut out);
        out
    }
}

/// The mean and the smallest and largest of equally long courses, by position.
pub fn along(courses: &[&Vec<f64>]) -> Vec<[f64; 3]> {
    let long = courses.iter().map(|c| c.len()).min().unwrap_or(0);
    let at = |i: usize| {
        let all = courses.iter().map(|c| c[i]);
        let (sum, low, high) =
            all.fold((0.0, f64::INFINITY, f64::NEG_INFINITY), |(s, l, h), v| (s + v, l.min(v), h.max(v)));
        [sum / courses.len() as f64, low, high]
    };
    (0..long).map(at).collect()
}
