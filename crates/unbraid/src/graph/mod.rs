//! Graphs from matrices: which edges to keep, nearest neighbours, communities, pictures.

pub mod assignment;
pub mod closest;
pub mod edges;
pub mod keep;
pub mod kmeans;
pub mod knn;
pub mod leiden;
pub mod pca;
pub mod rewire;
mod square;
pub mod umap;

pub use square::Square;
