//! From the table as it came to the table a method reads.

pub mod nonparanormal;
