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
