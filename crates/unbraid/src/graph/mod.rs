//! Graphs from matrices: which edges to keep, nearest neighbours, communities.

pub mod closest;
pub mod edges;
pub mod knn;
pub mod leiden;
pub mod pca;
mod square;

pub use square::Square;
pub mod keep;
