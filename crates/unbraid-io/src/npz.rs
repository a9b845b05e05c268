//! Arrays of NumPy's `.npz` archives.

pub use crate::npy::{names, read_f64};
