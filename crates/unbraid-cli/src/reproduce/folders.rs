//! What folders given by `--data` hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::fault::Fault;

/// Folders below a given one that are looked into.
const DEPTH: usize = 3;

/// A path under `--data` that cannot be read.
pub fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    let hint = format!("`--data` needs a folder or file that can be read ({why})");
    unbraid::Error::Missing { what: path.display().to_string(), hint }.into()
}

/// The matrix of a folder that holds one beside its labels.
pub fn matrix_of(folder: &Path) -> Option<PathBuf> {
    ["X.mtx", "X.mtx.gz"].iter().map(|n| folder.join(n)).find(|p| p.is_file())
}

/// Whether a path is a folder with a matrix and the labels of its rows.
pub fn is_table(path: &Path) -> bool {
    path.join("row_labels.txt").is_file() && matrix_of(path).is_some()
}

/// Whether a path is a file of the given ending.
pub fn is_h5ad(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|e| e == "h5ad")
}

/// All paths that are wanted, sorted: those given, and what lies in them. Nothing is looked for inside a folder that is wanted itself, or
/// whose name begins with a dot.
///
/// # Errors
/// A path that cannot be read.
pub fn find(paths: &[PathBuf], wanted: &dyn Fn(&Path) -> bool) -> Result<BTreeSet<PathBuf>, Fault> {
    let mut found = BTreeSet::new();
    for path in paths {
        if !path.exists() {
            return Err(unreadable(path, &"no such file or folder"));
        }
        walk(path, DEPTH, wanted, &mut found)?;
    }
    Ok(found)
}

fn walk(
    path: &Path,
    depth: usize,
    wanted: &dyn Fn(&Path) -> bool,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), Fault> {
    if wanted(path) {
        found.insert(path.to_owned());
        return Ok(());
    }
    if path.is_file() || depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(|e| unreadable(path, &e))? {
        let entry = entry.map_err(|e| unreadable(path, &e))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            walk(&entry.path(), depth - 1, wanted, found)?;
        }
    }
    Ok(())
}
