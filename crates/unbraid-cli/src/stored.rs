//! Factors that a fit has stored, read back.

use std::path::Path;

use ndarray::Array2;
use unbraid::data::{Column, Slot, Table, Value};
use unbraid::error::{Error, Result};
use unbraid::report::SHARED;
use unbraid_io::{Fitted, ReadOptions};

use crate::fault::Fault;

/// What each column of loadings is divided by before it is cut at a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 1.
    None,
    /// Its largest |w|.
    Max,
}

unbraid::words!(Scale, "a scale", None = "none", Max = "max");

/// The key given, or the only factorisation of the file that is not the `truth`.
pub fn choose_key(
    file: &Path,
    key: Option<&str>,
    truth: &str,
    options: &ReadOptions,
) -> Result<String, Fault> {
    let mut there = Fitted::keys(file, options)?;
    there.retain(|key| key != truth);
    let source = file.display();
    let missing = |what: String, hint: String| Err(Error::Missing { what, hint }.into());
    let listed = || if there.is_empty() { "none".into() } else { there.join(", ") };
    match (key, &there[..]) {
        (Some(key), there) if there.iter().any(|k| k == key) => Ok(key.to_owned()),
        (Some(key), _) => missing(
            format!("{source}: the factors `{key}`"),
            format!("factors are stored under: {}", listed()),
        ),
        (None, [one]) => Ok(one.clone()),
        (None, []) => missing(
            format!("{source}: fitted factors"),
            "fit some first: unbraid fit nmf FILE -o fit.h5ad".into(),
        ),
        (None, _) => Err(Fault::Usage(format!(
            "{source} holds several factorisations; choose one with --key: {}",
            listed()
        ))),
    }
}

/// An array of `varm`.
pub fn matrix(fit: &Fitted, name: &str) -> Option<Array2<f64>> {
    match fit.slots.varm.get(name)? {
        Slot::F64(x) => Some(x.clone()),
        Slot::F32(x) => Some(x.mapv(f64::from)),
        Slot::Csr(x) => Some(x.to_dense()),
        Slot::Blocks(_) => None,
    }
}

/// Loadings of the factors, features in rows.
pub fn loadings(fit: &Fitted, key: &str) -> Option<Array2<f64>> {
    matrix(fit, &format!("{key}_loadings"))
}

/// The same, or what is missing.
pub fn needed_loadings(fit: &Fitted, key: &str) -> Result<Array2<f64>> {
    loadings(fit, key).ok_or_else(|| {
        let hint = format!("fit factors under --key {key}");
        Error::Missing { what: format!("varm[\"{key}_loadings\"]"), hint }
    })
}

/// The column `study` of the table `uns[key]["factors"]`, where it has a row for each factor.
pub fn column_studies(fit: &Fitted, key: &str, factors: usize) -> Option<Vec<String>> {
    let Some(Value::Map(notes)) = fit.slots.uns.get(key) else { return None };
    let Some(Value::Table(table)) = notes.get("factors") else { return None };
    let (codes, names) = table.column("study")?.labels()?;
    (codes.len() == factors).then(|| codes.into_iter().map(|c| names[c].clone()).collect())
}

/// `shared` or the study of each factor; all are shared where the fit knows no studies.
pub fn owners(fit: &Fitted, key: &str, factors: usize) -> Vec<String> {
    column_studies(fit, key, factors).unwrap_or_else(|| vec![SHARED.to_owned(); factors])
}

/// Which rows of `obs` or `var` a fit was given; `None` is all.
pub fn used(table: &Table, key: &str) -> Option<Vec<usize>> {
    match table.column(&format!("{key}_used"))? {
        Column::Bool(v) => Some((0..v.len()).filter(|&i| v[i] == Some(true)).collect()),
        _ => None,
    }
}
