//! Real files, where a machine has them: `UNBRAID_SHARED` names a folder whose `data` holds `.h5ad` files.

use std::path::{Path, PathBuf};

use unbraid::data::{Annotations, Column, Csr, Slot};
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::pearson::residual_variances;
use unbraid_io::h5ad::{AnnData, FileRows, read_anndata, write_anndata};
use unbraid_io::{Input, ReadOptions, inspect, read, write_h5ad};

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "h5ad") {
            out.push(path);
        }
    }
}

/// Equal, NaN to NaN.
fn same(a: &AnnData, b: &AnnData) -> bool {
    a == b || format!("{a:?}") == format!("{b:?}")
}

/// The value, or a panic that names the file.
trait Must<T> {
    fn must(self, path: &Path) -> T;
}

impl<T> Must<T> for unbraid_io::Result<T> {
    fn must(self, path: &Path) -> T {
        self.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// The folder of large data, where there is one.
fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("UNBRAID_SHARED").map(|f| Path::new(&f).join("data"));
    if folder.is_none() {
        println!("skipped: set UNBRAID_SHARED to a folder whose `data` holds .h5ad files");
    }
    folder
}

#[derive(serde::Deserialize)]
struct Residuals {
    top: usize,
    cases: Vec<Chosen>,
}

/// Names of the genes that scanpy chooses, with their variances there and by the formula in double precision.
#[derive(serde::Deserialize)]
struct Chosen {
    file: String,
    chosen: Vec<String>,
    scanpy: Vec<f64>,
    formula: Vec<f64>,
}

#[test]
fn genes_by_pearson_residuals_are_scanpys_on_real_counts() {
    let Some(shared) = shared() else { return };
    let text = include_str!("../../../testdata/golden/preprocess/pearson.json");
    let Residuals { top, cases } = serde_json::from_str(text).unwrap();
    for case in cases {
        let data = read(&shared.join("multi-study").join(&case.file), &ReadOptions::default()).unwrap();
        let variances = residual_variances(data.values()).unwrap();
        let chosen = Genes::Pearson(top).choose(data.values()).unwrap().unwrap();
        let names: Vec<&String> = chosen.iter().map(|&j| &data.var.names[j]).collect();
        assert_eq!(names, case.chosen.iter().collect::<Vec<_>>(), "{}", case.file);
        for ((&j, peer), formula) in chosen.iter().zip(&case.scanpy).zip(&case.formula) {
            let found = variances[j];
            assert!((found - formula).abs() <= 1e-10 * formula, "{}: {found} is not {formula}", case.file);
            assert!((found - peer).abs() <= 1e-4 * peer, "{}: {found}, scanpy {peer}", case.file);
        }
    }
}

#[test]
fn real_files_are_read_extended_and_rewritten() {
    let mut found = Vec::new();
    if let Some(shared) = shared() {
        files(&shared, &mut found);
    }
    if found.is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.h5ad");
    for path in found {
        let data = read(&path, &ReadOptions::default()).must(&path);
        let seen = inspect(&path).must(&path);
        assert_eq!(seen.shape, data.shape());
        let (n, m) = data.shape();
        let mut a = Annotations::default();
        a.var.insert("t".into(), Column::Bool(vec![Some(true); m]));
        let ring = (0..n as u32).map(|i| (i, (i + 1) % n as u32, 1.0)).collect();
        a.obsp.insert("t".into(), Slot::Csr(Csr::from_triplets((n, n), ring)));
        let rows = FileRows::open(&path, None).must(&path);
        a.layers.insert("t".into(), Slot::Blocks(Box::new(rows)));
        write_h5ad(&out, Input::File(&path), &a).must(&path);
        let (before, mut after) = (read_anndata(&path).must(&path), read_anndata(&out).must(&path));
        assert!(after.layers.remove("t").is_some() && after.obsp.remove("t").is_some());
        assert_eq!(after.var.columns.pop().map(|c| c.0).as_deref(), Some("t"));
        assert!(same(&after, &before), "{} changed", path.display());
        write_anndata(&out, &before).must(&path);
        assert!(same(&read_anndata(&out).must(&path), &before), "{} changed", path.display());
    }
}
