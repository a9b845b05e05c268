//! Which methods can be judged by refits, and how each runs one.

use super::super::common::Network;
use super::super::gmgm::{Gmgm, Iid, Tensors};
use super::super::med_magma::{Criterion, MedMagma};
use super::super::single_axis::SingleAxis;
use super::super::tyler::{Side, Tyler};
use crate::data::Values;
use crate::fit::Method;
use crate::graph::edges::Rule;

/// A method whose networks can be judged by refits.
pub trait Refit: Method + Send + Sync {
    /// What snapshots call it: `stability of medmagma`.
    const STABILITY: &'static str;
    /// The method's view of one table.
    fn view(values: Values<'_>) -> Self::Input<'_>;
    /// The axes that get a network.
    fn sides(&self) -> Vec<Side>;
    /// The method as a refit runs it: no edges of its own, and unless `exact` no more digits than an
    /// order of edges needs.
    fn refit(&self, exact: bool) -> Self;
    /// The network of one axis.
    fn network(fit: &Self::Fitted, side: Side) -> Option<&Network>;
}

impl Refit for MedMagma {
    const STABILITY: &'static str = "stability of medmagma";
    fn view(values: Values<'_>) -> Self::Input<'_> {
        values
    }
    fn sides(&self) -> Vec<Side> {
        vec![Side::Obs, Side::Var]
    }
    fn refit(&self, exact: bool) -> Self {
        let method = MedMagma { keep: Rule::Dense.into(), ..self.clone() };
        if exact {
            return method;
        }
        let tol = if self.criterion == Criterion::Relative { self.tol.max(1e-3) } else { 1e-3 };
        MedMagma { criterion: Criterion::Relative, tol, accelerate: true, ..method }
    }
    fn network(fit: &Self::Fitted, side: Side) -> Option<&Network> {
        Some(&fit.networks[usize::from(side == Side::Var)])
    }
}

impl Refit for Gmgm {
    const STABILITY: &'static str = "stability of gmgm";
    fn view(values: Values<'_>) -> Self::Input<'_> {
        Tensors::matrix(values)
    }
    fn sides(&self) -> Vec<Side> {
        match self.iid {
            Iid::None => vec![Side::Obs, Side::Var],
            Iid::Obs => vec![Side::Var],
            Iid::Var => vec![Side::Obs],
        }
    }
    fn refit(&self, _: bool) -> Self {
        Gmgm { keep: Rule::Dense.into(), ..self.clone() }
    }
    fn network(fit: &Self::Fitted, side: Side) -> Option<&Network> {
        fit.axis(&side.to_string()).map(|axis| &axis.network)
    }
}

impl Refit for SingleAxis {
    const STABILITY: &'static str = "stability of single-axis";
    fn view(values: Values<'_>) -> Self::Input<'_> {
        values
    }
    fn sides(&self) -> Vec<Side> {
        vec![Side::Obs, Side::Var]
    }
    fn refit(&self, _: bool) -> Self {
        SingleAxis { keep: Rule::Dense.into(), ..self.clone() }
    }
    fn network(fit: &Self::Fitted, side: Side) -> Option<&Network> {
        Some(if side == Side::Obs { &fit.obs } else { &fit.var })
    }
}

impl Refit for Tyler {
    const STABILITY: &'static str = "stability of tyler";
    fn view(values: Values<'_>) -> Self::Input<'_> {
        values
    }
    fn sides(&self) -> Vec<Side> {
        vec![self.axis]
    }
    fn refit(&self, _: bool) -> Self {
        Tyler { keep: Rule::Dense.into(), ..self.clone() }
    }
    fn network(fit: &Self::Fitted, _: Side) -> Option<&Network> {
        Some(&fit.network)
    }
}
