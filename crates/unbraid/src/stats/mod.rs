//! Ranks, quantiles, distributions: plain functions on slices.
