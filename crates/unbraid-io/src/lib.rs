//! Files in and out: `.h5ad`, 10x folders, MatrixMarket, `.csv` and `.tsv`, `.npy` and `.npz`.
//!
//! [`read`] turns any of them into the [`Dataset`] that methods read, [`write_h5ad`] adds what a fit
//! found to an `.h5ad` file, and [`inspect`] says what a file holds and what a method would stop at.
//! [`h5ad::AnnData`] is a whole `.h5ad` file in memory, without loss; [`h5ad::FileRows`] reads a matrix
//! larger than memory by blocks of rows. [`read_gmt`] reads gene sets, [`read_columns`] columns of the
//! observations, [`omics`] a folder of several tables.
//!
//! Files are not trusted: sizes, shapes, row starts, indices, categories and texts are checked before
//! anything is allocated, and output replaces an existing file only when it is whole ([`atomic`]).

pub mod atomic;
pub mod h5ad;
pub mod npz;
pub mod omics;

mod columns;
mod error;
mod format;
mod gmt;
mod graphml;
mod inspect;
mod memory;
mod mtx;
mod npy;
mod table;
mod tenx;
mod text;

pub use atomic::{check_writable, write_atomically, write_bytes_atomically};
pub use columns::{align_columns, read_columns};
pub use error::{Error, Result};
pub use format::{Format, input_sha256};
pub use gmt::read_gmt;
pub use graphml::read_graphml;
pub use h5ad::{Fitted, Input, Pairs, write_h5ad};
pub use inspect::{Duplicates, Inspection, SlotInfo, ValueInfo, ValueKind, inspect};
pub use memory::available_memory;

use std::path::Path;

use unbraid::data::{Dataset, Table};

/// What of a file to read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// `X` (also when `None`), the name of a layer, or `raw` for the unfiltered data of an `.h5ad`
    /// file. Only `.h5ad` files have more than `X`.
    pub layer: Option<String>,
    /// Whether the file has features in rows and observations in columns, as many tables of expression do.
    /// Rows and columns of an `.h5ad` file are then exchanged with their tables, and its embeddings of the
    /// rows are not read. A 10x folder is turned in any case.
    pub transpose: bool,
    /// A graph of the observations to read from `obsp`; only `.h5ad` files have them.
    pub graph: Option<String>,
    /// Most memory that one array may take, in bytes; `None` is what is free now.
    pub max_bytes: Option<u64>,
}

/// Reads a feature table: rows are observations, columns features.
///
/// # Errors
/// [`Error::Input`] with the slot, what was found, what is allowed and what to do.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset> {
    let name = path.display().to_string();
    let format = Format::of(path)?;
    if format != Format::H5ad
        && let Some(layer) = options.layer.as_deref().filter(|&l| l != "X")
    {
        return Err(Error::input(
            &name,
            format!("layers[{layer:?}]"),
            "nothing",
            format!("{format} has no layers"),
            "leave out the layer, or convert the file to .h5ad",
        ));
    }
    if format == Format::TenX && options.transpose {
        return Err(Error::input(
            &name,
            "the folder",
            "features in rows",
            "a 10x folder always has them there, and is read so",
            "leave out the transposition",
        ));
    }
    if let Some(graph) = &options.graph
        && (format != Format::H5ad || options.transpose)
    {
        let found = if options.transpose { "a file that is turned".into() } else { format.to_string() };
        let rule = "graphs of observations are read from .h5ad files as they are";
        return Err(Error::input(
            &name,
            format!("obsp[{graph:?}]"),
            found,
            rule,
            "find neighbours by coordinates",
        ));
    }
    let mut data = match format {
        Format::H5ad => h5ad::read(path, &name, options),
        Format::TenX => tenx::read(path, &name, options.max_bytes),
        Format::MatrixMarket => mtx::read(path, &name, options.max_bytes),
        Format::Table => table::read(path, &name, options.max_bytes),
        Format::Npy => npy::read_npy(path, &name, options.max_bytes),
        Format::Npz => npy::read_npz(path, &name, options.max_bytes),
    }?;
    if let Some(graph) = &options.graph {
        let found = Pairs::open(path, options)?.obsp(graph, data.obs.len())?.to_csr();
        data.obsp.insert(graph.clone(), found);
    }
    Ok(if options.transpose { turned(data) } else { data })
}

/// Rows and columns exchanged. Names that were made up for a file without any are made up again.
fn turned(data: Dataset) -> Dataset {
    let (n, m) = data.shape();
    let again = |table: Table, was: &str, is: &str, len: usize| {
        if table == Table::numbered(was, len) { Table::numbered(is, len) } else { table }
    };
    Dataset {
        x: data.x.transpose(),
        obs: again(data.var, "var", "obs", m),
        var: again(data.obs, "obs", "var", n),
        obsm: Default::default(),
        ..data
    }
}
