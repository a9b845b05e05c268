//! `.h5ad`: HDF5 files laid out as the AnnData specification says.

mod annotate;
mod convert;
mod dataset;
mod fitted;
mod legacy;
mod model;
mod numbers;
mod pairs;
mod reader;
mod rows;
mod store;
mod writer;

pub use annotate::{Input, write_h5ad};
pub use fitted::Fitted;
pub use model::{
    AnnData, Array, Categorical, Dict, Elem, Frame, Major, Nullable, NullableStrings, Numbers, Opaque, Raw,
    Records, Sparse, Strings,
};
pub use pairs::Pairs;
pub use reader::read_anndata;
pub use rows::FileRows;
pub use writer::write_anndata;

pub(crate) use dataset::read;
pub(crate) use numbers::NumberType;
pub(crate) use reader::text as attribute_text;
pub(crate) use store::{Node, Store, slot_name};
