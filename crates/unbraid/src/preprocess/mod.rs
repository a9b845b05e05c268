//! From the table as it came to the table a method reads.

pub mod genes;
pub mod nonparanormal;
pub mod prepare;
pub mod totals;
