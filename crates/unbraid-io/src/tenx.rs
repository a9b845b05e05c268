//! Folders as Cell Ranger writes them: `matrix.mtx`, `barcodes.tsv`, `features.tsv` or `genes.tsv`, each
//! plain or gzipped. The matrix there is genes × cells.

use std::path::{Path, PathBuf};

use unbraid::data::{Column, Dataset, Matrix, Table};

use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::mtx;
use crate::text::Lines;

/// The matrix, the cells and the genes of a folder.
pub(crate) fn files(dir: &Path, name: &str) -> Result<[PathBuf; 3]> {
    let find = |stems: &[&str]| {
        let names = stems.iter().flat_map(|s| [format!("{s}.gz"), (*s).to_owned()]);
        names.map(|n| dir.join(n)).find(|p| p.is_file()).ok_or_else(|| {
            Error::input(
                name,
                stems[0],
                "nothing",
                format!("a 10x folder holds {} (or .gz)", stems.join(" or ")),
                "name the folder that holds the three files, or one file",
            )
        })
    };
    Ok([find(&["matrix.mtx"])?, find(&["barcodes.tsv"])?, find(&["features.tsv", "genes.tsv"])?])
}

pub(crate) fn read(dir: &Path, name: &str, max_bytes: Option<u64>) -> Result<Dataset> {
    let [matrix, barcodes, features] = files(dir, name)?;
    let budget = |path: &Path| Budget::new(max_bytes, std::fs::metadata(path).map_or(0, |m| m.len()));
    let of = |path: &Path| path.display().to_string();
    let x = mtx::read_matrix(&matrix, &of(&matrix), &budget(&matrix))?.transpose();
    let x = match x {
        Matrix::Dense(x) => Matrix::Sparse(unbraid::data::Csr::from_dense(x.view())),
        sparse => sparse,
    };
    let (n, m) = x.shape();
    let cells = columns(&barcodes, &budget(&barcodes))?;
    let genes = columns(&features, &budget(&features))?;
    for (path, found, wanted, axis) in
        [(&barcodes, cells.len(), n, "columns"), (&features, genes.len(), m, "rows")]
    {
        if found != wanted {
            return Err(Error::input(
                &of(path),
                "the file",
                format!("{found} lines"),
                format!("the matrix has {wanted} {axis}"),
                "take all three files from one run",
            ));
        }
    }
    let pick = |rows: &[Vec<String>], at: usize| -> Option<Vec<String>> {
        rows.iter().map(|r| r.get(at).cloned()).collect()
    };
    let obs = Table::named(cells.into_iter().map(|mut r| r.swap_remove(0)).collect());
    // Symbols name the genes when there are any; identifiers are unique, symbols need not be.
    let ids = pick(&genes, 0).unwrap_or_default();
    let mut var = Table::named(pick(&genes, 1).unwrap_or_else(|| ids.clone()));
    var.columns.push(("gene_ids".into(), Column::Text(ids.into_iter().map(Some).collect())));
    if let Some(kinds) = pick(&genes, 2) {
        var.columns.push(("feature_types".into(), Column::Text(kinds.into_iter().map(Some).collect())));
    }
    let obsm = Default::default();
    Ok(Dataset { source: name.to_owned(), slot: "X".into(), x, obs, var, obsm, obsp: Default::default() })
}

fn columns(path: &Path, budget: &Budget) -> Result<Vec<Vec<String>>> {
    let mut lines = Lines::open(path, &path.display().to_string(), budget)?;
    let mut rows = Vec::new();
    while let Some(line) = lines.next()? {
        rows.push(line.split('\t').map(str::to_owned).collect());
    }
    Ok(rows)
}
