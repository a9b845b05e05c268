//! Which format a file has, and the fingerprint of its bytes.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::tenx;

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `.h5ad`.
    H5ad,
    /// A folder as Cell Ranger writes it.
    TenX,
    /// `.mtx`, `.mtx.gz`.
    MatrixMarket,
    /// `.csv`, `.tsv`, `.txt`, also gzipped.
    Table,
    /// `.npy`.
    Npy,
    /// `.npz`.
    Npz,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::H5ad => "an .h5ad file",
            Format::TenX => "a 10x folder",
            Format::MatrixMarket => "a MatrixMarket file",
            Format::Table => "a table of text",
            Format::Npy => "an .npy file",
            Format::Npz => "an .npz file",
        })
    }
}

impl Format {
    /// The format of a file or folder, from its first bytes or its name.
    ///
    /// # Errors
    /// [`Error::Input`] when there is nothing readable at `path` or it has none of these formats.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.display().to_string();
        if crate::omics::is_folder(path) {
            return Err(Error::input(
                &name,
                "the folder",
                "several tables",
                "one table is read here",
                "give the folder to `unbraid fit`, or name one file",
            ));
        }
        if path.is_dir() {
            tenx::files(path, &name)?;
            return Ok(Format::TenX);
        }
        let mut start = Vec::new();
        let file = File::open(path).map_err(|e| Error::unreadable(&name, &e))?;
        file.take(16).read_to_end(&mut start).map_err(|e| Error::unreadable(&name, &e))?;
        let ends = |end: &str| {
            let name = name.to_ascii_lowercase();
            name.strip_suffix(".gz").unwrap_or(&name).ends_with(end)
        };
        let is_text = || [".csv", ".tsv", ".txt", ".tab"].iter().any(|e| ends(e));
        match () {
            _ if start.is_empty() => Err(Error::input(
                &name,
                "the file",
                "no bytes",
                "a file must hold data",
                "get the file again",
            )),
            _ if start.starts_with(b"\x89HDF\r\n\x1a\n") || ends(".h5ad") || ends(".h5") => Ok(Format::H5ad),
            _ if start.starts_with(b"\x93NUMPY") || ends(".npy") => Ok(Format::Npy),
            _ if ends(".npz") => Ok(Format::Npz),
            _ if start.starts_with(b"%%MatrixMarket") || ends(".mtx") => Ok(Format::MatrixMarket),
            _ if is_text() => Ok(Format::Table),
            _ => Err(Error::input(
                &name,
                "the file",
                "an unknown format",
                "it must be .h5ad, .mtx, .csv, .tsv, .npy, .npz or a 10x folder",
                "convert it, or give it the ending of its format",
            )),
        }
    }
}

/// SHA-256 of a file's bytes as 64 hexadecimal digits; of a 10x folder, of its matrix, cells and genes
/// one after the other.
///
/// # Errors
/// [`Error::Input`] when a file cannot be read.
pub fn input_sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let files = match path.is_dir() {
        true => tenx::files(path, &path.display().to_string())?.to_vec(),
        false => vec![path.to_owned()],
    };
    for file in files {
        let unreadable = |e| Error::unreadable(&file.display().to_string(), &e);
        let mut open = File::open(&file).map_err(unreadable)?;
        let mut block = vec![0; 1 << 16];
        loop {
            match open.read(&mut block).map_err(unreadable)? {
                0 => break,
                read => hash.update(&block[..read]),
            }
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
