//! Ranks, quantiles, distributions: plain functions on slices.

pub mod ranks;
pub mod summary;
