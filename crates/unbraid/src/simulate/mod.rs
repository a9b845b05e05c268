//! Simulated data with a known truth.

pub mod batch;
pub mod blocks;
pub mod kronecker;
pub mod msrt;
pub mod multistudy;
pub mod quantile;
