//! From the table as it came to the table a method reads.

pub mod filters;
pub mod genes;
pub mod nonparanormal;
pub mod pearson;
pub mod prepare;
pub mod totals;
