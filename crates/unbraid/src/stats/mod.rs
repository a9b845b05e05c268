//! Ranks, quantiles, distributions, tests: plain functions on slices.

pub mod anova;
pub mod cox;
pub mod curves;
pub mod enrichment;
pub mod kaplan_meier;
pub mod multiple;
pub mod ranks;
pub mod selection;
pub mod summary;
pub mod tail;

#[cfg(test)]
mod golden;
