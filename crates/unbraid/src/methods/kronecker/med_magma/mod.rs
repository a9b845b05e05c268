//! MED-MAGMA.

pub mod balance;
pub mod kernel;
pub mod laplace;
pub mod quotient;
