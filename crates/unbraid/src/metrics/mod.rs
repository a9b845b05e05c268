//! Numbers that say how good a result is: ranked edges, agreement of clusterings, assortativity.

pub mod assortativity;
pub mod clustering;
pub mod ranking;

#[cfg(test)]
mod golden;
