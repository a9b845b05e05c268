//! Numbers that say how good a result is: ranked edges, agreement of clusterings, assortativity, whole
//! networks, modules and their robustness.

pub mod assortativity;
pub mod clustering;
pub mod consensus;
pub mod degree;
pub mod modules;
pub mod network;
pub mod ranking;
pub mod robustness;

#[cfg(test)]
mod golden;
