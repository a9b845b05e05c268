//! Kronecker-sum models: one precision matrix per axis of a table or tensor.
//!
//! A table Z with n rows and m columns is one draw of a normal law with mean zero,
//!
//! ```text
//! vec(Z) ~ N(0, Ω⁻¹),   Ω = Ψ1 ⊕ Ψ2 = Ψ1 ⊗ I_m + I_n ⊗ Ψ2,   Ω · Z = Ψ1 Z + Z Ψ2,
//! ```
//!
//! so rows depend on each other through Ψ1 and columns through Ψ2. A zero off the diagonal of Ψ1 says that
//! two rows are independent given everything else. With Ψ1 = V1 diag(a) V1ᵀ and Ψ2 = V2 diag(b) V2ᵀ, Ω has
//! the eigenvalues a_i + b_j, and up to a constant
//!
//! ```text
//! −2 log p(Z) = tr(Z Zᵀ Ψ1) + tr(Zᵀ Z Ψ2) − Σ_ij log(a_i + b_j).
//! ```
//!
//! Ψ1 + c I and Ψ2 − c I give the same Ω: only sums of eigenvalues are determined, and the common
//! diagonal is a convention. For tensors Ω is the sum over all axes.
//!
//! | symbol | shape | meaning                                           |
//! |--------|-------|---------------------------------------------------|
//! | Z, X   | n × m | table of values, observations in rows             |
//! | Ψ1     | n × n | precision of the observations                     |
//! | Ψ2     | m × m | precision of the features                         |
//! | a, b   | n, m  | their eigenvalues                                 |
//! | V1, V2 | n × n, m × m | their eigenvectors                         |
//! | S1, S2 | n × n, m × m | Gram matrices Z Zᵀ and Zᵀ Z, scaled        |
//!
//! [`gmgm`] fits the model to one or several tensors (`andrew2024gmgm`). [`single_axis`] inverts one Gram
//! matrix at a time and is what people do without the model; [`tyler`] is its robust form, in which every
//! sample has a magnitude of its own. The edges of a fitted Ψ are chosen and written by [`common`];
//! [`stability`] says how often an edge is found again in half of the data.

pub mod common;
pub mod gmgm;
pub mod med_magma;
pub mod single_axis;
pub mod stability;
pub mod tyler;
