//! Unbraid takes expression matrices apart and names the strands.
//!
//! One road leads through the crate: a [`data::Dataset`] is prepared by [`preprocess`], a method of
//! [`methods`] borrows from it exactly what it reads, [`fit::Method::fit`] gives a typed fit, and the
//! fit writes plain tables into [`data::Annotations`] under the names AnnData tools expect.
//!
//! The crate knows no file format, prints nothing and links no C library. Reading and writing live in
//! `unbraid-io`, bars and pages in `unbraid-cli`.
//!
//! Order of knowledge, lower never names higher: [`error`], [`fit`] < [`data`] < [`linalg`],
//! [`stats`], [`graph`], [`soft`], [`nn`] < [`preprocess`], [`simulate`], [`metrics`] < [`methods`] < [`report`].

pub mod error;
pub mod fit;
pub mod params;

pub mod data;

pub mod graph;
pub mod linalg;
pub mod nn;
pub mod soft;
pub mod stats;

pub mod metrics;
pub mod preprocess;
pub mod simulate;

pub mod methods;

pub mod report;

/// Reader of golden cases, shared with the integration tests.
#[cfg(test)]
#[path = "../tests/it/golden.rs"]
mod golden;

pub use error::{Error, Result};
pub use fit::{Ctx, Method, Seed, Stop, StopRule};
