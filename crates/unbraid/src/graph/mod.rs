//! Graphs from matrices: which edges to keep, nearest neighbours, communities.

pub mod edges;
pub mod keep;
