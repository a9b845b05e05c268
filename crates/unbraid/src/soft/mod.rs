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
//! The paper runs Sinkhorn's iteration on both potentials and differentiates by its Algorithm 2; both are in
//! [`sinkhorn`], as the slow twin of the Newton form.

mod kernel;
mod laplacian;
mod layer;
mod newton;
mod operators;
mod row;
pub mod sinkhorn;
mod start;

pub use layer::{Layer, Solved, Squash, Work};
pub use operators::{Plan, soft_quantile, soft_rank, soft_sort};
