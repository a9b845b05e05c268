//! Kronecker-sum models: one precision matrix per axis of a table or tensor.
pub mod med_magma;
