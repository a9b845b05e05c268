//! Non-negative low-rank factors, alone and behind learnt monotone maps.
//!
//! The common model: features in rows, samples in columns, as in the papers,
//!
//! ```text
//! X ≈ T(U V),   X: d × n,  U: d × k ≥ 0,  V: k × n ≥ 0,
//! ```
//!
//! T the identity (`nmf`), or one increasing map per feature (`qmf`, `qmfq`; [`crate::soft`]). Tables store samples
//! in rows; each method transposes once, in `run`. Results: `varm["<key>_loadings"]` is U, `obsm["X_<key>"]` is Vᵀ.
//!
//! | symbol | shape  | meaning                             | field      |
//! |--------|--------|-------------------------------------|------------|
//! | U      | d × k  | features on factors                 | `loadings` |
//! | Vᵀ     | n × k  | samples on factors                  | `scores`   |
//! | k      |        | number of factors                   | `k`        |

pub mod adam;
pub mod choice;
pub mod common;
mod divergence;
pub mod maps;
pub mod model;
pub mod nmf;
pub mod qmf;
pub mod qmfq;
pub mod stored;
