//! Simulated data with a known truth.

pub mod kronecker;
