//! Simulated data with a known truth.

pub mod kronecker;
pub mod multistudy;
pub mod quantile;
