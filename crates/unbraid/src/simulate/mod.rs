//! Data with known truth.
