//! Slices of a tissue: metagenes that mix in cells, how they meet in space, and what a batch adds.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | Y      | N × G | expression of the cells of all slices (batches) t = 1 … T |
//! | M      | G × K | metagenes, columns on the simplex |
//! | X, s, Z | N × K, N, N × K | mixtures x_i = s_i z_i, z on the simplex |
//! | β      | T × K | what a batch adds to all its cells |
//! | σ      | T     | noise of a slice |
//! | Λ      | K × K | affinity, symmetric: positive where two metagenes keep apart |
//!
//! ```text
//! −log p = Σ_i |y_i − M (x_i + β^{t(i)})|² / 2σ_t² + N_t G log σ_t + Σ_{i~j} z_iᵗ Λ z_j + log Z(Λ) + λ_x Σ s_i + λ_Λ/2 |Λ|²
//! ```
//!
//! [`popari`] has no β (`popari`), [`batchblend`] has one (`shah2025`). [`partition`] is log Z of a cell, [`affinity`] the update
//! of Λ, `metagenes` that of M, `mixtures` that of X, `rays` that of β, `tissue` the order in which they come; [`patterns`] says what lies together.

pub mod affinity;
mod amount;
pub mod batchblend;
pub mod contrast;
pub mod fit;
mod metagenes;
mod mixtures;
pub mod neighbours;
pub mod partition;
pub mod patterns;
pub mod popari;
mod quadratic;
mod rays;
pub mod slices;
mod tissue;

pub use amount::Amount;
pub use tissue::{Columns, Init, Sharing};
