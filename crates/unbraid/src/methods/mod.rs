//! The methods, one folder per family of models. Families never import each other.

pub mod cocluster;
pub mod factor;
pub mod kronecker;
pub mod multistudy;
pub mod slots;
pub mod spatial;
