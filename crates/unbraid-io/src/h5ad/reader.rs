//! From a file to [`AnnData`]: every encoding of the AnnData specification, and the older forms.

use std::path::Path;

use hdf5_pure::{AttrValue, Group};

use super::legacy;
use super::model::{
    AnnData, Categorical, Dict, Elem, Frame, Major, Nullable, NullableStrings, Numbers, Opaque, Raw, Sparse,
};
use super::store::{Attributes, Node, Store, slot_name};
use crate::error::Result;

/// Elements may be nested this deep; deeper ones are refused before they exhaust the stack.
const DEEPEST: usize = 64;

/// Reads a whole `.h5ad` file, every slot as stored.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) with the slot that is damaged or of a type that is not read.
pub fn read_anndata(path: &Path) -> Result<AnnData> {
    let store = Store::open(path, &path.display().to_string(), None)?;
    let mut out = AnnData::default();
    for (name, node) in store.members(&store.file.root(), "the file")? {
        match name.as_str() {
            "X" => out.x = Some(store.elem(&node, "X", 0)?),
            "obs" => out.obs = store.frame(&node, "obs")?,
            "var" => out.var = store.frame(&node, "var")?,
            "obsm" => out.obsm = store.dict(&node, "obsm", 0)?,
            "varm" => out.varm = store.dict(&node, "varm", 0)?,
            "obsp" => out.obsp = store.dict(&node, "obsp", 0)?,
            "varp" => out.varp = store.dict(&node, "varp", 0)?,
            "layers" => out.layers = store.dict(&node, "layers", 0)?,
            "uns" => out.uns = store.dict(&node, "uns", 0)?,
            "raw" => out.raw = store.raw(&node)?,
            "raw.X" => out.raw.get_or_insert_default().x = Some(store.elem(&node, "raw/X", 0)?),
            "raw.var" => out.raw.get_or_insert_default().var = store.frame(&node, "raw/var")?,
            "raw.varm" => out.raw.get_or_insert_default().varm = store.dict(&node, "raw/varm", 0)?,
            _ => {
                out.other.insert(name.clone(), store.elem(&node, &name, 0)?);
            }
        }
    }
    legacy::settle_categories(&mut out);
    Ok(out)
}

/// An attribute that is one text.
pub(crate) fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(AttrValue::as_str)
}

impl Store {
    fn raw(&self, node: &Node) -> Result<Option<Raw>> {
        let Node::Group(group) = node else { return Ok(None) };
        let mut raw = Raw::default();
        for (name, node) in self.members(group, "raw")? {
            match name.as_str() {
                "X" => raw.x = Some(self.elem(&node, "raw/X", 0)?),
                "var" => raw.var = self.frame(&node, "raw/var")?,
                "varm" => raw.varm = self.dict(&node, "raw/varm", 0)?,
                _ => {}
            }
        }
        Ok((raw != Raw::default()).then_some(raw))
    }

    /// A table in its present or its older form.
    pub fn frame(&self, node: &Node, path: &str) -> Result<Frame> {
        match self.elem(node, path, 0)? {
            Elem::Frame(frame) => Ok(frame),
            Elem::Records(records) if !records.fields.is_empty() => Ok(legacy::frame(records)),
            other => Err(self.bad(
                &slot_name(path),
                describe(&other),
                "it must be a table",
                "rewrite the file with anndata",
            )),
        }
    }

    /// Named elements in their present or their older form.
    pub fn dict(&self, node: &Node, path: &str, depth: usize) -> Result<Dict> {
        match self.elem(node, path, depth)? {
            Elem::Dict(dict) => Ok(dict),
            Elem::Records(records) => Ok(records.fields.into_iter().collect()),
            Elem::Null => Ok(Dict::new()),
            other => Err(self.bad(
                &slot_name(path),
                describe(&other),
                "it must be a group of named elements",
                "rewrite the file with anndata",
            )),
        }
    }

    /// Any element.
    pub fn elem(&self, node: &Node, path: &str, depth: usize) -> Result<Elem> {
        let slot = slot_name(path);
        if depth > DEEPEST {
            return Err(self.bad(
                &slot,
                format!("groups nested more than {DEEPEST} deep"),
                "a file must be flatter",
                "the file is damaged or its links run in a circle",
            ));
        }
        let attributes = self.attributes(node, &slot)?;
        let encoding = text(&attributes, "encoding-type").unwrap_or_default();
        let group = match node {
            Node::Data(_) if encoding == "null" => return Ok(Elem::Null),
            Node::Data(data) => {
                let mut elem = self.array(data, &slot)?;
                // Before 0.7 a text of `uns` was a list of one.
                if let Elem::Strings(s) = &mut elem
                    && encoding.is_empty()
                    && path.starts_with("uns/")
                    && s.shape == [1]
                {
                    s.shape.clear();
                }
                return Ok(elem);
            }
            Node::Group(group) => group,
        };
        match encoding {
            "csr_matrix" => Ok(Elem::Sparse(self.sparse(group, &attributes, Major::Row, path)?)),
            "csc_matrix" => Ok(Elem::Sparse(self.sparse(group, &attributes, Major::Column, path)?)),
            "dataframe" => Ok(Elem::Frame(self.table(group, &attributes, path, depth)?)),
            "categorical" => self.categorical(group, &attributes, path).map(Elem::Categorical),
            "nullable-integer" | "nullable-boolean" => self.nullable(group, path).map(Elem::Nullable),
            "nullable-string-array" => {
                self.nullable_strings(group, &attributes, path).map(Elem::NullableStrings)
            }
            "" | "dict" | "raw" | "anndata" => match text(&attributes, "h5sparse_format") {
                Some("csr") => Ok(Elem::Sparse(self.sparse(group, &attributes, Major::Row, path)?)),
                Some("csc") => Ok(Elem::Sparse(self.sparse(group, &attributes, Major::Column, path)?)),
                _ => Ok(Elem::Dict(self.elements(group, path, depth)?)),
            },
            _ => {
                let members = self.elements(group, path, depth)?;
                Ok(Elem::Opaque(Opaque { attributes, members }))
            }
        }
    }

    fn elements(&self, group: &Group, path: &str, depth: usize) -> Result<Dict> {
        self.members(group, &slot_name(path))?
            .into_iter()
            .map(|(name, node)| {
                let elem = self.elem(&node, &format!("{path}/{name}"), depth + 1)?;
                Ok((name, elem))
            })
            .collect()
    }

    fn part(&self, group: &Group, path: &str, name: &str) -> Result<Numbers> {
        let slot = format!("{}/{name}", slot_name(path));
        let data = self.data(group, name, &slot)?;
        self.integers(&data, &slot)
    }

    /// Rows and columns of a sparse matrix, from its attributes.
    pub fn sparse_shape(&self, attributes: &Attributes, slot: &str) -> Result<(usize, usize)> {
        let shape = attributes.get("shape").or_else(|| attributes.get("h5sparse_shape"));
        let shape = shape.and_then(AttrValue::to_i64s).unwrap_or_default();
        match shape.as_slice() {
            // Empty rows cost eight bytes each in the row starts, so a length is bounded by the file;
            // the width is not, but no index of ours passes 32 bits.
            &[n, m] if (0..1 << 40).contains(&n) && (0..1 << 32).contains(&m) => Ok((n as usize, m as usize)),
            other => Err(self.bad(
                slot,
                format!("the shape {other:?}"),
                "a sparse matrix needs its numbers of rows and columns",
                "rewrite the file with anndata",
            )),
        }
    }

    fn sparse(&self, group: &Group, attributes: &Attributes, major: Major, path: &str) -> Result<Sparse> {
        let slot = slot_name(path);
        let shape = self.sparse_shape(attributes, &slot)?;
        let data_slot = format!("{slot}/data");
        let data = self.numbers(&self.data(group, "data", &data_slot)?, &data_slot)?;
        let (indptr, indices) = (self.part(group, path, "indptr")?, self.part(group, path, "indices")?);
        let sparse = Sparse { shape, major, indptr, indices, data: data.data };
        self.check_sparse(&sparse, &slot)?;
        Ok(sparse)
    }

    /// Refuses row starts that fall and entries outside the matrix.
    pub fn check_sparse(&self, s: &Sparse, slot: &str) -> Result<()> {
        let hint = "the file is damaged; write it again from its source";
        let (long, wide, axis) = match s.major {
            Major::Row => (s.shape.0, s.shape.1, "rows"),
            Major::Column => (s.shape.1, s.shape.0, "columns"),
        };
        let starts = s.indptr.to_i64().unwrap_or_default();
        if starts.len() != long + 1 {
            let rule = format!("it must be one longer than the {long} {axis}");
            return Err(self.bad(&format!("{slot}/indptr"), format!("{} values", starts.len()), rule, hint));
        }
        if s.indices.len() != s.data.len() {
            let found = format!("{} values", s.indices.len());
            let rule = format!("it must be as long as the data, {}", s.data.len());
            return Err(self.bad(&format!("{slot}/indices"), found, rule, hint));
        }
        let falls = starts.windows(2).position(|w| w[1] < w[0]);
        if starts[0] != 0 || starts[long] != s.indices.len() as i64 || falls.is_some() {
            let found = match falls {
                Some(at) => format!("{} after {} at position {}", starts[at + 1], starts[at], at + 1),
                None => format!("{} … {}", starts[0], starts[long]),
            };
            let rule = format!("it must rise from 0 to the number of entries, {}", s.indices.len());
            return Err(self.bad(&format!("{slot}/indptr"), found, rule, hint));
        }
        let indices = s.indices.to_i64().unwrap_or_default();
        if let Some(at) = indices.iter().position(|&j| j < 0 || j >= wide as i64) {
            let row = starts.partition_point(|&start| start <= at as i64) - 1;
            return Err(self.bad(
                &format!("{slot}/indices"),
                format!("{} in number {row} of the {axis}", indices[at]),
                format!("it must lie between 0 and {}", wide as i64 - 1),
                hint,
            ));
        }
        Ok(())
    }

    fn table(&self, group: &Group, attributes: &Attributes, path: &str, depth: usize) -> Result<Frame> {
        let slot = slot_name(path);
        let index_name = text(attributes, "_index").unwrap_or("_index").to_owned();
        let index = match self.child(group, &index_name, &slot)? {
            Some(node) => self.elem(&node, &format!("{path}/{index_name}"), depth + 1)?,
            None => {
                return Err(self.bad(
                    &slot,
                    format!("no column {index_name:?}"),
                    "a table needs the column its `_index` names",
                    "rewrite the file with anndata",
                ));
            }
        };
        let Some(rows) = index.len() else {
            return Err(self.bad(
                &slot,
                "a scalar index",
                "it must be a list",
                "rewrite the file with anndata",
            ));
        };
        let order = match attributes.get("column-order") {
            Some(order) => order.as_strings().map(<[String]>::to_vec).unwrap_or_default(),
            None => {
                let names = self.members(group, &slot)?.into_iter().map(|m| m.0);
                names.filter(|n| *n != index_name && n != "__categories").collect()
            }
        };
        let mut columns = Vec::with_capacity(order.len());
        for name in order {
            let path = format!("{path}/{name}");
            let slot = slot_name(&path);
            let Some(node) = self.child(group, &name, &slot)? else {
                return Err(self.bad(
                    &slot,
                    "nothing",
                    "`column-order` names it, so it must be there",
                    "rewrite the file with anndata",
                ));
            };
            let mut column = self.elem(&node, &path, depth + 1)?;
            let legacy_path = format!("__categories/{name}");
            if let (Elem::Array(codes), Some(categories)) = (&column, self.child(group, &legacy_path, &slot)?)
            {
                let ordered = self.attributes(&categories, &slot)?;
                let ordered = ordered.get("ordered").and_then(AttrValue::as_i64) == Some(1);
                let codes = codes.data.clone();
                let categories =
                    Box::new(self.elem(&categories, &format!("{path}/categories"), depth + 1)?);
                column = Elem::Categorical(self.labels(codes, categories, ordered, &slot)?);
            }
            if !matches!(column, Elem::Opaque(_)) && column.len() != Some(rows) {
                let found = column.len().map_or("a scalar".into(), |n| format!("{n} rows"));
                let rule = format!("its table has {rows}");
                return Err(self.bad(&slot, found, rule, "rewrite the file with anndata"));
            }
            columns.push((name, column));
        }
        Ok(Frame { index_name, index: Box::new(index), columns })
    }

    fn categorical(&self, group: &Group, attributes: &Attributes, path: &str) -> Result<Categorical> {
        let slot = slot_name(path);
        let codes = self.part(group, path, "codes")?;
        let at = format!("{slot}/categories");
        let Some(node) = self.child(group, "categories", &at)? else {
            return Err(self.bad(&at, "nothing", "it must be there", "rewrite the file with anndata"));
        };
        let categories = Box::new(self.elem(&node, &format!("{path}/categories"), DEEPEST)?);
        let ordered = attributes.get("ordered").and_then(AttrValue::as_i64) == Some(1);
        self.labels(codes, categories, ordered, &slot)
    }

    /// Refuses codes outside the categories.
    fn labels(
        &self,
        codes: Numbers,
        categories: Box<Elem>,
        ordered: bool,
        slot: &str,
    ) -> Result<Categorical> {
        let hint = "the file is damaged; write it again from its source";
        let Some(count) = categories.len().filter(|_| {
            matches!(
                *categories,
                Elem::Array(_) | Elem::Strings(_) | Elem::NullableStrings(_) | Elem::Nullable(_)
            )
        }) else {
            let at = format!("{slot}/categories");
            return Err(self.bad(&at, describe(&categories), "it must be a list of labels", hint));
        };
        let Some(values) = codes.to_i64() else {
            let at = format!("{slot}/codes");
            return Err(self.bad(&at, codes.type_name(), "codes must be whole numbers", hint));
        };
        if let Some(at) = values.iter().position(|&c| c < -1 || c >= count as i64) {
            return Err(self.bad(
                &format!("{slot}/codes"),
                format!("{} at row {at}", values[at]),
                format!("it must be −1 or one of the {count} categories"),
                hint,
            ));
        }
        Ok(Categorical { codes, categories, ordered })
    }

    fn mask(&self, group: &Group, path: &str, count: usize) -> Result<Vec<bool>> {
        let slot = format!("{}/mask", slot_name(path));
        let mask = self.numbers(&self.data(group, "mask", &slot)?, &slot)?.data;
        let Some(mask) = mask.to_i64().filter(|m| m.len() == count) else {
            let found = format!("{} values of type {}", mask.len(), mask.type_name());
            let rule = format!("it must hold {count} booleans");
            return Err(self.bad(&slot, found, rule, "rewrite the file with anndata"));
        };
        Ok(mask.into_iter().map(|m| m != 0).collect())
    }

    fn nullable(&self, group: &Group, path: &str) -> Result<Nullable> {
        let slot = format!("{}/values", slot_name(path));
        let values = self.numbers(&self.data(group, "values", &slot)?, &slot)?.data;
        let mask = self.mask(group, path, values.len())?;
        Ok(Nullable { values, mask })
    }

    fn nullable_strings(
        &self,
        group: &Group,
        attributes: &Attributes,
        path: &str,
    ) -> Result<NullableStrings> {
        let slot = format!("{}/values", slot_name(path));
        let values = self.strings(&self.data(group, "values", &slot)?, &slot)?.values;
        let mask = self.mask(group, path, values.len())?;
        Ok(NullableStrings { values, mask, na_value: text(attributes, "na-value").map(str::to_owned) })
    }
}

/// What an element is, for messages.
pub(crate) fn describe(elem: &Elem) -> String {
    let kind = match elem {
        Elem::Array(a) => a.data.type_name(),
        Elem::Strings(_) | Elem::NullableStrings(_) => "texts",
        Elem::Sparse(s) if s.major == Major::Row => "a CSR matrix",
        Elem::Sparse(_) => "a CSC matrix",
        Elem::Frame(_) => "a table",
        Elem::Categorical(_) => "labels",
        Elem::Nullable(n) => n.values.type_name(),
        Elem::Records(_) => "records",
        Elem::Dict(_) => "a group of named elements",
        Elem::Null => "None",
        Elem::Opaque(_) => "a group of an encoding that is not read",
    };
    match elem.shape() {
        Some(shape) => format!("{kind} of shape {shape:?}"),
        None => kind.to_owned(),
    }
}
