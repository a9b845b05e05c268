//! Numbers that say how good a result is: ranked edges, agreement of clusterings, assortativity, whole
//! networks, modules and their robustness, clusters of rows and columns, supports of factors, their gene sets, their disentanglement and what explains them,
//! trustworthiness of pictures, mixing of batches.

pub mod assortativity;
pub mod boosting;
pub mod clustering;
pub mod coclusters;
pub mod consensus;
pub mod degree;
pub mod disentanglement;
pub mod explained;
pub mod integration;
pub mod modules;
pub mod network;
pub mod processes;
pub mod ranking;
pub mod robustness;
pub mod supports;
pub mod trustworthiness;

#[cfg(test)]
mod factors_golden;
#[cfg(test)]
mod golden;
