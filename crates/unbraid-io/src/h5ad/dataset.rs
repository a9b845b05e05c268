//! From a file to the [`Dataset`] that methods read.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5_pure::Dataset as Data;
use ndarray::Array2;
use unbraid::data::{Column, Csr, Dataset, Matrix, Table};

use super::legacy;
use super::model::{Array, Elem, Frame, Major, Numbers, Sparse};
use super::numbers::NumberType;
use super::reader::describe;
use super::store::{Node, Store, slot_name};
use crate::ReadOptions;
use crate::error::{Error, Result};

/// Where a matrix lies and how messages call it.
pub(crate) struct Place {
    pub node: Node,
    pub path: String,
    pub slot: String,
    pub raw: bool,
}

pub(crate) fn read(path: &Path, name: &str, options: &ReadOptions) -> Result<Dataset> {
    let store = Store::open(path, name, options.max_bytes)?;
    let place = store.place(options.layer.as_deref().unwrap_or("X"))?;
    let obs = store.names_and_columns("obs")?;
    let var = store.features(&place)?;
    let x = store.matrix(&place, (obs.len(), var.len()))?;
    let obsm = store.embeddings(obs.len())?;
    Ok(Dataset { source: name.to_owned(), slot: place.slot, x, obs, var, obsm, obsp: Default::default() })
}

impl Store {
    /// Finds `X`, `raw` or a layer.
    pub fn place(&self, layer: &str) -> Result<Place> {
        let place =
            |path: &str, slot: String, node: Node, raw: bool| Place { node, path: path.into(), slot, raw };
        match layer {
            "X" => {
                if let Some(node) = self.node("X")? {
                    return Ok(place("X", "X".into(), node, false));
                }
            }
            "raw" => {
                for path in ["raw/X", "raw.X"] {
                    if let Some(node) = self.node(path)? {
                        return Ok(place(path, "raw/X".into(), node, true));
                    }
                }
            }
            _ => {
                if let Some(Node::Group(layers)) = self.node("layers")? {
                    let members = self.members(&layers, "layers")?;
                    if let Some((_, node)) = members.into_iter().find(|(name, _)| name == layer) {
                        let path = format!("layers/{layer}");
                        return Ok(place(&path, slot_name(&path), node, false));
                    }
                }
            }
        }
        let slot = match layer {
            "X" => "X".to_owned(),
            "raw" => "raw/X".to_owned(),
            _ => format!("layers[{layer:?}]"),
        };
        let there = self.layers()?;
        let hint = match there.is_empty() {
            true => "the file holds no matrix at all; is it an AnnData file?".to_owned(),
            false => format!("choose one of the layers {}", there.join(", ")),
        };
        Err(self.bad(&slot, "nothing", "the layer asked for must be there", hint))
    }

    /// The matrices [`Store::place`] finds.
    pub fn layers(&self) -> Result<Vec<String>> {
        let mut there: Vec<String> = Vec::new();
        if self.node("X")?.is_some() {
            there.push("X".into());
        }
        if self.node("raw/X")?.is_some() || self.node("raw.X")?.is_some() {
            there.push("raw".into());
        }
        if let Some(Node::Group(layers)) = self.node("layers")? {
            there.extend(self.members(&layers, "layers")?.into_iter().map(|m| m.0));
        }
        Ok(there)
    }

    /// The features of a matrix.
    pub fn features(&self, place: &Place) -> Result<Table> {
        self.names_and_columns(match place.raw {
            true if self.node("raw.var")?.is_some() => "raw.var",
            true => "raw/var",
            false => "var",
        })
    }

    /// Names and columns of `obs`, `var` or `raw/var`.
    pub fn names_and_columns(&self, path: &str) -> Result<Table> {
        let slot = slot_name(path);
        let Some(node) = self.node(path)? else {
            return Err(self.bad(
                &slot,
                "nothing",
                "an AnnData file has this table",
                "is it an AnnData file?",
            ));
        };
        let old = matches!(node, Node::Data(_));
        let mut frame = self.frame(&node, path)?;
        if old && let Some(uns) = self.node("uns")? {
            legacy::settle(&mut self.dict(&uns, "uns", 0)?, &mut [&mut frame]);
        }
        self.table_of(frame, &slot)
    }

    fn table_of(&self, frame: Frame, slot: &str) -> Result<Table> {
        let names = match *frame.index {
            Elem::Strings(s) => s.values,
            Elem::NullableStrings(s) => s.values,
            Elem::Array(ref a) => match a.data.to_i64() {
                Some(v) => v.iter().map(i64::to_string).collect(),
                None => a.data.to_f64().iter().map(f64::to_string).collect(),
            },
            ref other => match column(other).and_then(|c| texts(&c)) {
                Some(names) => names,
                None => {
                    return Err(self.bad(
                        &format!("{slot}/{}", frame.index_name),
                        describe(other),
                        "names must be texts",
                        "make them strings in Python and write the file again",
                    ));
                }
            },
        };
        let columns = frame.columns.into_iter().filter_map(|(name, c)| Some((name, column(&c)?))).collect();
        Ok(Table { names, columns })
    }

    fn embeddings(&self, n: usize) -> Result<BTreeMap<String, Array2<f64>>> {
        let mut arrays: Vec<(String, Array)> = Vec::new();
        match self.node("obsm")? {
            Some(Node::Group(group)) => {
                for (name, node) in self.members(&group, "obsm")? {
                    let slot = slot_name(&format!("obsm/{name}"));
                    let Node::Data(data) = node else { continue };
                    let (_, datatype) = self.describe(&data, &slot)?;
                    if NumberType::of(&datatype).is_some() {
                        arrays.push((name, self.numbers(&data, &slot)?));
                    }
                }
            }
            Some(node @ Node::Data(_)) => {
                for (name, elem) in self.dict(&node, "obsm", 0)? {
                    if let Elem::Array(a) = elem {
                        arrays.push((name, a));
                    }
                }
            }
            None => {}
        }
        let mut out = BTreeMap::new();
        for (name, a) in arrays {
            let (rows, columns) = match a.shape.as_slice() {
                [rows] => (*rows, 1),
                [rows, columns] => (*rows, *columns),
                _ => continue,
            };
            if rows != n {
                return Err(self.bad(
                    &slot_name(&format!("obsm/{name}")),
                    format!("{rows} rows"),
                    format!("the file has {n} observations"),
                    "the file is damaged; write it again from its source",
                ));
            }
            let values = Array2::from_shape_vec((rows, columns), a.data.to_f64());
            out.insert(name, values.expect("as many values as the shape says"));
        }
        Ok(out)
    }

    /// A matrix in double precision, dense or CSR as stored; CSC becomes CSR. Its shape is compared to
    /// the tables' before anything is allocated for it.
    pub fn matrix(&self, place: &Place, shape: (usize, usize)) -> Result<Matrix> {
        self.matrix_of(place, |found| self.check_shape(&place.slot, found, shape))
    }

    /// As [`Store::matrix`], the shape judged by `check`.
    pub fn matrix_of(&self, place: &Place, check: impl Fn((usize, usize)) -> Result<()>) -> Result<Matrix> {
        let slot = &place.slot;
        match &place.node {
            Node::Data(data) => {
                check(self.describe_dense(data, slot)?.0)?;
                self.dense(data, slot).map(Matrix::Dense)
            }
            Node::Group(_) => match self.elem(&place.node, &place.path, 0)? {
                Elem::Sparse(sparse) => {
                    check(sparse.shape)?;
                    self.csr(sparse, slot).map(Matrix::Sparse)
                }
                other => Err(self.bad(
                    slot,
                    describe(&other),
                    "it must be a dense, CSR or CSC matrix",
                    "choose another layer, or convert it in Python",
                )),
            },
        }
    }

    /// Refuses a matrix that is not as long and wide as its tables.
    pub fn check_shape(&self, slot: &str, found: (usize, usize), wanted: (usize, usize)) -> Result<()> {
        match found == wanted {
            true => Ok(()),
            false => Err(self.bad(
                slot,
                format!("a matrix of shape {found:?}"),
                format!("the file has {} observations and {} features", wanted.0, wanted.1),
                "the file is damaged; write it again from its source",
            )),
        }
    }

    /// Shape and type of a dense matrix of numbers.
    pub fn describe_dense(&self, data: &Data, slot: &str) -> Result<((usize, usize), NumberType)> {
        let (shape, datatype) = self.describe(data, slot)?;
        match (shape.as_slice(), NumberType::of(&datatype)) {
            (&[n, m], Some(kind)) => Ok(((n, m), kind)),
            _ => Err(self.bad(
                slot,
                format!("values of type {datatype} and shape {shape:?}"),
                "it must be a matrix of numbers",
                "choose another layer, or convert it in Python",
            )),
        }
    }

    fn dense(&self, data: &Data, slot: &str) -> Result<Array2<f64>> {
        let ((n, m), kind) = self.describe_dense(data, slot)?;
        let count = (n as u64).saturating_mul(m as u64);
        self.budget.check(&self.name, slot, Some(0), count.checked_mul(8))?;
        let mut values: Vec<f64> = Vec::with_capacity(n * m);
        let window = self.window(data, &[n, m], kind.kind.size());
        if n * m > 0 {
            for start in (0..n).step_by(window) {
                let rows = window.min(n - start);
                let mut block = Numbers::with_capacity(kind.kind, rows * m);
                self.number_rows(data, slot, kind, start, rows, &mut block)?;
                values.extend(block.to_f64());
            }
        }
        let found = values.len();
        Array2::from_shape_vec((n, m), values).map_err(|_| {
            self.bad(
                slot,
                format!("{found} values"),
                format!("its shape asks for {}", n * m),
                "the file is damaged; get a fresh copy",
            )
        })
    }

    fn csr(&self, s: Sparse, slot: &str) -> Result<Csr> {
        let needed = (s.data.len() as u64).saturating_mul(12) + (s.indptr.len() as u64).saturating_mul(8);
        self.budget.check(&self.name, slot, Some(0), Some(needed))?;
        let fault = |why| Error::data(&self.name, why);
        let whole = |v: &Numbers| v.to_i64().unwrap_or_default();
        let indptr: Vec<usize> = whole(&s.indptr).into_iter().map(|v| v as usize).collect();
        let indices: Vec<u32> = whole(&s.indices).into_iter().map(|v| v as u32).collect();
        let values = s.data.to_f64();
        match s.major {
            Major::Row => Csr::new(slot, s.shape, indptr, indices, values).map_err(fault),
            Major::Column => {
                let turned = Csr::new(slot, (s.shape.1, s.shape.0), indptr, indices, values);
                Ok(turned.map_err(fault)?.transpose())
            }
        }
    }
}

/// Labels or texts as texts; `None` for numbers.
fn texts(column: &Column) -> Option<Vec<String>> {
    let (codes, names) = column.labels()?;
    Some(codes.into_iter().map(|c| names[c].clone()).collect())
}

/// A column that methods can read; `None` for what has no such form.
pub(crate) fn column(elem: &Elem) -> Option<Column> {
    match elem {
        Elem::Array(Array { shape, data }) if shape.len() == 1 => Some(numbers_column(data, None)),
        Elem::Nullable(n) => Some(numbers_column(&n.values, Some(&n.mask))),
        Elem::Strings(s) if s.shape.len() == 1 => {
            Some(Column::Text(s.values.iter().cloned().map(Some).collect()))
        }
        Elem::NullableStrings(s) => Some(Column::Text(
            s.values.iter().zip(&s.mask).map(|(v, &gone)| (!gone).then(|| v.clone())).collect(),
        )),
        Elem::Categorical(c) => {
            let categories = match c.categories.as_ref() {
                Elem::Strings(s) => s.values.clone(),
                Elem::NullableStrings(s) => s.values.clone(),
                Elem::Array(a) => match (&a.data, a.data.to_i64()) {
                    (Numbers::Bool(v), _) => {
                        v.iter().map(|&b| if b { "True" } else { "False" }.to_owned()).collect()
                    }
                    (_, Some(v)) => v.iter().map(i64::to_string).collect(),
                    (_, None) => a.data.to_f64().iter().map(f64::to_string).collect(),
                },
                Elem::Nullable(n) => n.values.to_i64()?.iter().map(i64::to_string).collect(),
                _ => return None,
            };
            let codes = c.codes.to_i64()?.into_iter().map(|c| u32::try_from(c).ok()).collect();
            Some(Column::Categorical { codes, categories, ordered: c.ordered })
        }
        _ => None,
    }
}

fn numbers_column(data: &Numbers, mask: Option<&[bool]>) -> Column {
    let gone = |i: usize| mask.is_some_and(|m| m[i]);
    match (data, data.to_i64()) {
        (Numbers::Bool(v), _) => {
            Column::Bool(v.iter().enumerate().map(|(i, &b)| (!gone(i)).then_some(b)).collect())
        }
        (_, Some(v)) => {
            Column::Int(v.into_iter().enumerate().map(|(i, x)| (!gone(i)).then_some(x)).collect())
        }
        (_, None) => Column::Float(
            data.to_f64().into_iter().enumerate().map(|(i, x)| if gone(i) { f64::NAN } else { x }).collect(),
        ),
    }
}
