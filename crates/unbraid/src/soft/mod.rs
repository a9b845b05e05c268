//! Soft ranks, sorts and quantile normalisation by regularised optimal transport (cuturi2020).
//!
//! One row of n values w is squashed to x in (0, 1) and moved onto m targets y_1 < … < y_m by the plan P that
//! solves
//!
//! ```text
//! min  Σ_ij P_ij (x_i − y_j)² − ε H(P)    over    P 1 = a,  Pᵀ 1 = b,  P ≥ 0.
//! ```
//!
//! Eliminating the potential of the rows leaves m unknowns g, with
//!
//! ```text
//! W_ij = softmax_j((g_j − (x_i − y_j)²) / ε),   P = diag(a) W,   s = Wᵀ a,
//! maximise  bᵀg − ε Σ_i a_i log Σ_j exp((g_j − (x_i − y_j)²) / ε)
//! gradient  b − s,    minus Hessian  (diag(s) − Wᵀ diag(a) W) / ε,
//! ```
//!
//! a concave problem on which Newton's method needs two to five steps. The normalised row is
//!
//! ```text
//! T_i = Σ_j W_ij q_j,
//! ```
//!
//! a closed form in x_i once g is known: that is how a fitted map is applied to new values.
//!
//! | symbol | shape | meaning                                | name       |
//! |--------|-------|----------------------------------------|------------|
//! | w, x   | n     | inputs, squashed inputs                | `w`, `x`   |
//! | a      | n     | weights of the samples, sum 1          | `a`        |
//! | y, b   | m     | targets and their weights, b sums to 1 | `targets`  |
//! | q      | m     | quantile values                        | `q`        |
//! | g      | m     | potentials, mean 0                     | `g`        |
//! | ε      |       | regularisation, on the scale of x      | `epsilon`  |
//!
//! ```
//! use unbraid::soft::{Layer, Plan, Squash};
//!
//! let layer = Layer::new(3, 0.01, Squash::Logistic)?;
//! let (w, b, q) = ([5.0, 1.0, 3.0, 100.0], [0.25, 0.5, 0.25], [0.0, 1.0, 10.0]);
//! layer.check(&w, None, &b)?;
//! let plan = Plan::solve(&layer, &w, None, &b);
//! assert!(plan.solved.error <= 1e-8);
//! // Ranks in (0, 4], in the order of w; the largest value goes to the largest quantile.
//! let ranks = plan.rank();
//! assert!(ranks[1] < ranks[2] && ranks[2] < ranks[0] && ranks[0] < ranks[3]);
//! assert!((plan.quantile(&q)[3] - 10.0).abs() < 0.1);
//! // Gradients of the first normalised value in w, b and q.
//! let (_, _, dq) = plan.pull_quantile(&q, &[1.0, 0.0, 0.0, 0.0]);
//! assert!((dq.sum() - 1.0).abs() < 1e-12);
//! # Ok::<(), unbraid::Error>(())
//! ```
//!
//! The paper runs Sinkhorn's iteration on both potentials and differentiates by its Algorithm 2; both are in
//! [`sinkhorn`], as the slow twin of the Newton form.

mod adjoint;
mod inverse;
mod kernel;
mod laplacian;
mod layer;
mod newton;
mod operators;
mod row;
pub mod sinkhorn;
mod start;

pub(crate) use kernel::{Exp, fused};
pub use layer::{Layer, Solved, Squash, Work};
pub use operators::{Plan, soft_quantile, soft_rank, soft_sort};
