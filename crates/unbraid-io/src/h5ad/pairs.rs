//! Networks of an `.h5ad` file: `obsp`, `varp`, and what their makers noted in `uns`.

use std::path::Path;

use unbraid::data::Matrix;

use super::dataset::Place;
use super::model::Elem;
use super::store::{Node, Store, slot_name};
use crate::error::{Error, Result};
use crate::{Format, ReadOptions};

/// An open file whose pairwise slots can be read one by one.
pub struct Pairs {
    store: Store,
    /// Names in `obsp`, sorted.
    pub obsp: Vec<String>,
    /// Names in `varp`, sorted.
    pub varp: Vec<String>,
}

impl Pairs {
    /// Lists the pairwise slots of an `.h5ad` file.
    ///
    /// # Errors
    /// [`Error::Input`] for another format or a damaged file.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Pairs> {
        let name = path.display().to_string();
        let format = Format::of(path)?;
        if format != Format::H5ad {
            let rule = "networks are stored in .h5ad files";
            return Err(Error::input(
                &name,
                "the file",
                format.to_string(),
                rule,
                "give the file a fit wrote",
            ));
        }
        let store = Store::open(path, &name, options.max_bytes)?;
        let names = |group: &str| match store.node(group)? {
            Some(Node::Group(g)) => Ok(store.members(&g, group)?.into_iter().map(|m| m.0).collect()),
            _ => Ok::<Vec<String>, Error>(Vec::new()),
        };
        let (obsp, varp) = (names("obsp")?, names("varp")?);
        Ok(Pairs { store, obsp, varp })
    }

    /// The matrix `obsp[name]`, which must be `side` × `side`.
    ///
    /// # Errors
    /// [`Error::Input`] for a slot that is missing, damaged, too large, or of another shape.
    pub fn obsp(&self, name: &str, side: usize) -> Result<Matrix> {
        self.matrix("obsp", name, side)
    }

    /// The matrix `varp[name]`, which must be `side` × `side`.
    ///
    /// # Errors
    /// As [`Pairs::obsp`].
    pub fn varp(&self, name: &str, side: usize) -> Result<Matrix> {
        self.matrix("varp", name, side)
    }

    fn matrix(&self, group: &str, name: &str, side: usize) -> Result<Matrix> {
        let path = format!("{group}/{name}");
        let slot = slot_name(&path);
        let Some(node) = self.store.node(&path)? else {
            let there = if group == "obsp" { &self.obsp } else { &self.varp };
            let hint = match there.is_empty() {
                true => format!("{group} is empty"),
                false => format!("{group} holds {}", there.join(", ")),
            };
            return Err(self.store.bad(&slot, "nothing", "the matrix asked for must be there", hint));
        };
        let place = Place { node, path, slot, raw: false };
        self.store.matrix_of(&place, |found| match found == (side, side) {
            true => Ok(()),
            false => Err(self.store.bad(
                &place.slot,
                format!("a matrix of shape {found:?}"),
                format!("it joins {side} vertices"),
                "the file is damaged; write it again from its source",
            )),
        })
    }

    /// A text inside `uns`, by the names of its groups and its own; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Input`] for a damaged file.
    pub fn note(&self, names: &[&str]) -> Result<Option<String>> {
        if names.iter().any(|n| n.is_empty() || n.contains('/')) {
            return Ok(None);
        }
        let path = format!("uns/{}", names.join("/"));
        let Some(node @ Node::Data(_)) = self.store.node(&path)? else { return Ok(None) };
        Ok(match self.store.elem(&node, &path, 0)? {
            Elem::Strings(s) if s.shape.is_empty() => s.values.into_iter().next(),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h5ad::{AnnData, Array, Elem, Numbers, write_anndata};
    use crate::{Input, write_h5ad};
    use ndarray::Array2;
    use std::collections::BTreeMap;
    use unbraid::data::{Annotations, Csr, Dataset, Slot, Value};

    fn file(folder: &Path) -> std::path::PathBuf {
        let mut slots = Annotations::default();
        let path = Csr::from_triplets((4, 4), vec![(0, 1, 2.0), (1, 0, 2.0)]);
        slots.obsp.insert("a_precision".into(), Slot::Csr(path));
        slots.varp.insert("a_precision".into(), Slot::F64(Array2::eye(3)));
        let inner =
            BTreeMap::from([("keep".to_owned(), Value::from("top:1")), ("k".to_owned(), Value::Int(3))]);
        slots.uns.insert("a".into(), Value::Map(BTreeMap::from([("params".to_owned(), Value::Map(inner))])));
        let out = folder.join("a.h5ad");
        let data = Dataset::from_matrix("a", Matrix::Dense(Array2::ones((4, 3))));
        write_h5ad(&out, Input::Dataset(&data), &slots).unwrap();
        out
    }

    #[test]
    fn slots_and_notes_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = Pairs::open(&file(folder.path()), &ReadOptions::default()).unwrap();
        assert_eq!((pairs.obsp.as_slice(), pairs.varp.len()), (&["a_precision".to_owned()][..], 1));
        let Matrix::Sparse(x) = pairs.obsp("a_precision", 4).unwrap() else { panic!("not sparse") };
        assert_eq!(x.entries().collect::<Vec<_>>(), [(0, 1, 2.0), (1, 0, 2.0)]);
        assert_eq!(pairs.varp("a_precision", 3).unwrap(), Matrix::Dense(Array2::eye(3)));
        assert_eq!(pairs.note(&["a", "params", "keep"]).unwrap().as_deref(), Some("top:1"));
        for other in
            [&["a", "params", "k"][..], &["a", "params"], &["b", "keep"], &["a/params", "keep"], &["", "x"]]
        {
            assert_eq!(pairs.note(other).unwrap(), None, "{other:?}");
        }
    }

    #[test]
    fn wrong_files_slots_and_shapes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let pairs = Pairs::open(&path, &ReadOptions::default()).unwrap();
        let why = pairs.obsp("b", 4).unwrap_err().to_string();
        assert!(
            why.contains("obsp[\"b\"]: found nothing") && why.contains("obsp holds a_precision"),
            "{why}"
        );
        for found in [pairs.obsp("a_precision", 5), pairs.varp("a_precision", 4)] {
            let why = found.unwrap_err().to_string();
            assert!(why.contains("a_precision") && why.contains("vertices"), "{why}");
        }
        let csv = folder.path().join("x.csv");
        std::fs::write(&csv, "a,b\n1,2\n").unwrap();
        let refused = |path: &Path| Pairs::open(path, &ReadOptions::default()).err().unwrap().to_string();
        assert!(refused(&csv).contains("networks are stored in .h5ad files"));
        assert!(refused(&folder.path().join("none.h5ad")).contains("must exist"));
        // A truncated file may be refused late, but never by a panic.
        let whole = std::fs::read(&path).unwrap();
        let cut = folder.path().join("cut.h5ad");
        for length in (0..whole.len()).step_by(whole.len() / 40) {
            std::fs::write(&cut, &whole[..length]).unwrap();
            if let Ok(pairs) = Pairs::open(&cut, &ReadOptions::default()) {
                let _ = (pairs.obsp("a_precision", 4), pairs.varp("a_precision", 3), pairs.note(&["a", "x"]));
            }
        }
        // A vector where a matrix should be.
        let mut data = AnnData { x: None, ..crate::h5ad::read_anndata(&path).unwrap() };
        data.obsp
            .insert("odd".into(), Elem::Array(Array { shape: vec![4], data: Numbers::F64(vec![0.0; 4]) }));
        write_anndata(&cut, &data).unwrap();
        let pairs = Pairs::open(&cut, &ReadOptions::default()).unwrap();
        assert!(pairs.obsp("odd", 4).unwrap_err().to_string().contains("must be a matrix of numbers"));
    }
}
