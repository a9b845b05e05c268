//! What a fit wrote about the features of an `.h5ad` file, read back under the names of [`Annotations`].

use std::path::Path;

use ndarray::Array2;
use unbraid::data::{Annotations, Slot, Table, Value};

use super::dataset::column;
use super::model::{Array, Elem, Numbers};
use super::store::{Node, Store, slot_name};
use crate::error::{Error, Result};
use crate::{Format, ReadOptions};

/// One fit of a file: all that it wrote but what belongs to observations.
#[derive(Debug)]
pub struct Fitted {
    /// Name under which it is stored.
    pub key: String,
    /// Columns `var["<key>_…"]`, arrays `varm["<key>_…"]` and the notes `uns["<key>"]`.
    pub slots: Annotations,
    /// All features of the file, with their columns.
    pub var: Table,
}

impl Fitted {
    /// Names of the factorisations of a file: `<key>` with `varm["<key>_loadings"]` and `uns["<key>"]`.
    ///
    /// # Errors
    /// [`Error::Input`] for another format or a damaged file.
    pub fn keys(path: &Path, options: &ReadOptions) -> Result<Vec<String>> {
        let store = open(path, options)?;
        let mut keys = Vec::new();
        for (name, _) in members(&store, "varm")? {
            if let Some(key) = name.strip_suffix("_loadings")
                && store.node(&format!("uns/{key}"))?.is_some()
            {
                keys.push(key.to_owned());
            }
        }
        Ok(keys)
    }

    /// The fit stored under `key`.
    ///
    /// # Errors
    /// [`Error::Input`] for another format, a damaged file, or one too large.
    pub fn read(path: &Path, key: &str, options: &ReadOptions) -> Result<Fitted> {
        let store = open(path, options)?;
        let var = store.names_and_columns("var")?;
        let begin = format!("{key}_");
        let mut slots = Annotations::default();
        for (name, column) in var.columns.iter().filter(|(name, _)| name.starts_with(&begin)) {
            slots.var.insert(name.clone(), column.clone());
        }
        for (name, node) in members(&store, "varm")?.into_iter().filter(|(name, _)| name.starts_with(&begin))
        {
            let path = format!("varm/{name}");
            let elem = store.elem(&node, &path, 0)?;
            let slot = match matrix(&elem) {
                Some(x) if x.nrows() == var.len() => Slot::F64(x),
                _ => {
                    let rule = format!("it must be a matrix with a row for each of {} features", var.len());
                    let hint = "write the file again from its source";
                    return Err(store.bad(&slot_name(&path), "something else", rule, hint));
                }
            };
            slots.varm.insert(name, slot);
        }
        if !key.is_empty() && !key.contains('/') {
            let path = format!("uns/{key}");
            if let Some(node) = store.node(&path)?
                && let Some(notes) = value(&store.elem(&node, &path, 0)?)
            {
                slots.uns.insert(key.to_owned(), notes);
            }
        }
        Ok(Fitted { key: key.to_owned(), slots, var })
    }
}

fn open(path: &Path, options: &ReadOptions) -> Result<Store> {
    let name = path.display().to_string();
    match Format::of(path)? {
        Format::H5ad => Store::open(path, &name, options.max_bytes),
        other => {
            let rule = "fits are stored in .h5ad files";
            Err(Error::input(&name, "the file", other.to_string(), rule, "give the file that `fit` wrote"))
        }
    }
}

fn members(store: &Store, group: &str) -> Result<Vec<(String, Node)>> {
    match store.node(group)? {
        Some(Node::Group(g)) => store.members(&g, group),
        _ => Ok(Vec::new()),
    }
}

fn matrix(elem: &Elem) -> Option<Array2<f64>> {
    match elem {
        Elem::Array(Array { shape, data }) if shape.len() == 2 => {
            Array2::from_shape_vec((shape[0], shape[1]), data.to_f64()).ok()
        }
        _ => None,
    }
}

/// An element of `uns` as a value; `None` for what has no such form.
fn value(elem: &Elem) -> Option<Value> {
    Some(match elem {
        Elem::Dict(dict) => {
            Value::Map(dict.iter().filter_map(|(name, e)| Some((name.clone(), value(e)?))).collect())
        }
        Elem::Strings(s) => match &s.shape[..] {
            [] => Value::Text(s.values.first()?.clone()),
            [_] => Value::Texts(s.values.clone()),
            _ => return None,
        },
        Elem::Array(Array { shape, data }) => match (&shape[..], data) {
            ([], Numbers::Bool(v)) => Value::Bool(*v.first()?),
            ([], _) => match data.to_i64() {
                Some(v) => Value::Int(*v.first()?),
                None => Value::Float(*data.to_f64().first()?),
            },
            ([_], _) => match data.to_i64() {
                Some(v) => Value::Ints(v),
                None => Value::Floats(data.to_f64()),
            },
            _ => Value::Matrix(matrix(elem)?),
        },
        Elem::Frame(frame) => {
            let names = column(&frame.index)?.labels()?;
            let columns = frame.columns.iter();
            let columns = columns.filter_map(|(name, e)| Some((name.clone(), column(e)?))).collect();
            Value::Table(Table { names: names.0.into_iter().map(|c| names.1[c].clone()).collect(), columns })
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, write_h5ad};
    use std::collections::BTreeMap;
    use unbraid::data::{Column, Dataset, Matrix};

    #[test]
    fn what_a_fit_wrote_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5ad");
        let mut slots = Annotations::default();
        let loadings = Array2::from_shape_fn((3, 2), |(i, j)| (i + 10 * j) as f64);
        slots.varm.insert("a_loadings".into(), Slot::F64(loadings.clone()));
        slots.varm.insert("b_loadings".into(), Slot::F64(loadings.clone()));
        slots.var.insert("a_location".into(), Column::Float(vec![0.5, 1.0, 2.0]));
        let mut table = Table::named(vec!["x.csv".into(), "y.csv".into()]);
        table.columns.push(("shift".into(), Column::Float(vec![0.0, -1.5])));
        table
            .columns
            .push(("transform".into(), Column::Text(vec![Some("none".into()), Some("log1p".into())])));
        let notes = BTreeMap::from([
            ("k".to_owned(), Value::Int(3)),
            ("tol".to_owned(), Value::Float(0.5)),
            ("on".to_owned(), Value::Bool(true)),
            ("objective".to_owned(), Value::Floats(vec![1.5, 2.5])),
            ("word".to_owned(), Value::from("kl")),
            ("warnings".to_owned(), Value::Texts(vec!["one".into()])),
            ("preparation".to_owned(), Value::Table(table)),
            (
                "inner".to_owned(),
                Value::Map(BTreeMap::from([("m".to_owned(), Value::Matrix(Array2::eye(2)))])),
            ),
        ]);
        slots.uns.insert("a".into(), Value::Map(notes.clone()));
        let data = Dataset::from_matrix("a", Matrix::Dense(Array2::ones((4, 3))));
        write_h5ad(&path, Input::Dataset(&data), &slots).unwrap();
        assert_eq!(Fitted::keys(&path, &ReadOptions::default()).unwrap(), ["a"]);
        let found = Fitted::read(&path, "a", &ReadOptions::default()).unwrap();
        assert_eq!(found.slots.uns["a"], Value::Map(notes));
        assert_eq!(found.slots.var["a_location"], Column::Float(vec![0.5, 1.0, 2.0]));
        let Slot::F64(x) = &found.slots.varm["a_loadings"] else { panic!("not dense") };
        assert_eq!((x, found.slots.varm.len(), found.var.len()), (&loadings, 1, 3));
        for key in ["c", "", "a/k"] {
            assert!(Fitted::read(&path, key, &ReadOptions::default()).unwrap().slots.uns.is_empty(), "{key}");
        }
        let csv = folder.path().join("x.csv");
        std::fs::write(&csv, "a,b\n1,2\n").unwrap();
        let why = Fitted::keys(&csv, &ReadOptions::default()).unwrap_err().to_string();
        assert!(why.contains("fits are stored in .h5ad files"), "{why}");
    }
}
