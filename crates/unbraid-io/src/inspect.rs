//! What a file holds, and what a method would stop at.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use unbraid::data::Dataset;

use crate::error::Result;
use crate::format::Format;
use crate::h5ad::{FileRows, Node, NumberType, Store, attribute_text, slot_name};
use crate::{ReadOptions, read};

/// The content of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file as named.
    pub file: String,
    /// Its format.
    pub format: Format,
    /// Observations and features.
    pub shape: (usize, usize),
    /// Every matrix, table and array, in the order of the file.
    pub slots: Vec<SlotInfo>,
    /// The values of `X`, `raw/X` and every layer.
    pub values: Vec<ValueInfo>,
    /// Observation names that occur more than once: how many, and the first few.
    pub duplicate_obs: Duplicates,
    /// Feature names that occur more than once.
    pub duplicate_var: Duplicates,
    /// What a method would stop at, each with what to do.
    pub problems: Vec<String>,
}

/// Names that occur more than once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Duplicates {
    /// How many different names.
    pub count: usize,
    /// The first five.
    pub examples: Vec<String>,
}

/// One matrix, table or array.
#[derive(Clone, Debug, Serialize)]
pub struct SlotInfo {
    /// As in Python: `obsm["X_pca"]`.
    pub path: String,
    /// `array`, `csr_matrix`, `dataframe`, `categorical`, … as AnnData calls them.
    pub kind: String,
    /// Type of the values, as NumPy calls it.
    pub dtype: Option<String>,
    /// Length of each axis.
    pub shape: Option<Vec<usize>>,
    /// Stored entries of a sparse matrix.
    pub nnz: Option<usize>,
    /// Whether the values are compressed.
    pub compressed: bool,
}

/// What the values of a matrix look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// Whole numbers from 0.
    Counts,
    /// Real numbers from 0.
    NonNegative,
    /// Real numbers of both signs.
    Real,
}

/// The values of one matrix.
#[derive(Clone, Debug, Serialize)]
pub struct ValueInfo {
    /// As in Python: `layers["counts"]`.
    pub slot: String,
    /// What they look like; NaN and infinity aside.
    pub kind: ValueKind,
    /// Smallest finite value, zeros included.
    pub min: f64,
    /// Largest finite value, zeros included.
    pub max: f64,
    /// Fraction of entries that are zero.
    pub zeros: f64,
    /// Entries that are NaN.
    pub nan: usize,
    /// Entries that are infinite.
    pub infinite: usize,
    /// Rows without a value that is not zero.
    pub empty_rows: usize,
    /// Columns without a value that is not zero.
    pub empty_columns: usize,
    /// First entry that is NaN or infinite: row and column.
    pub first_odd: Option<(usize, usize)>,
}

/// Reads a file's structure and the values of its matrices; those of an `.h5ad` file by blocks of rows,
/// so that it may be larger than memory.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) when the file is damaged.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let mut out = match Format::of(path)? {
        Format::H5ad => inspect_h5ad(path)?,
        format => inspect_dataset(path, format, &read(path, &ReadOptions::default())?),
    };
    out.problems = problems(&out);
    Ok(out)
}

fn inspect_dataset(path: &Path, format: Format, data: &Dataset) -> Inspection {
    let (n, m) = data.shape();
    let mut tally = Tally::new((n, m));
    data.x.for_each_nonzero(|i, j, v| tally.add(i, j, v));
    let sparse = matches!(data.x, unbraid::data::Matrix::Sparse(_));
    Inspection {
        file: path.display().to_string(),
        format,
        shape: (n, m),
        slots: vec![SlotInfo {
            path: "X".into(),
            kind: if sparse { "csr_matrix" } else { "array" }.into(),
            dtype: Some("float64".into()),
            shape: Some(vec![n, m]),
            nnz: sparse.then(|| data.x.nonzeros()),
            compressed: false,
        }],
        values: vec![tally.finish("X")],
        duplicate_obs: duplicates(&data.obs.names),
        duplicate_var: duplicates(&data.var.names),
        problems: Vec::new(),
    }
}

fn inspect_h5ad(path: &Path) -> Result<Inspection> {
    let store = Store::open(path, &path.display().to_string(), None)?;
    let mut slots = Vec::new();
    for (name, node) in store.members(&store.file.root(), "the file")? {
        visit(&store, &name, &node, 0, &mut slots)?;
    }
    let names = |path: &str| Ok::<_, crate::Error>(store.names_and_columns(path)?.names);
    let (obs, var) = (names("obs")?, names("var")?);
    let mut values = Vec::new();
    for layer in store.layers()? {
        let place = store.place(&layer)?;
        let shape = (obs.len(), if place.raw { store.features(&place)?.len() } else { var.len() });
        // A matrix stored by columns is read whole, others by blocks of rows.
        let by_columns = match &place.node {
            Node::Group(_) => {
                let attributes = store.attributes(&place.node, &place.slot)?;
                attribute_text(&attributes, "encoding-type") == Some("csc_matrix")
                    || attribute_text(&attributes, "h5sparse_format") == Some("csc")
            }
            Node::Data(_) => false,
        };
        if by_columns {
            let x = store.matrix(&place, shape)?;
            let mut tally = Tally::new(x.shape());
            x.for_each_nonzero(|i, j, v| tally.add(i, j, v));
            values.push(tally.finish(&place.slot));
            continue;
        }
        let rows = FileRows::of(&store, &place.node, &place.slot)?;
        let (n, m) = unbraid::fit::Rows::shape(&rows);
        store.check_shape(&place.slot, (n, m), shape)?;
        let mut tally = Tally::new((n, m));
        let step = rows.step();
        for start in (0..n).step_by(step) {
            let block = rows.each(start..(start + step).min(n), |i, j, v| tally.add(i, j, v));
            block.map_err(|why| crate::Error::data(&store.name, why))?;
        }
        values.push(tally.finish(&place.slot));
    }
    Ok(Inspection {
        file: store.name.clone(),
        format: Format::H5ad,
        shape: (obs.len(), var.len()),
        slots,
        values,
        duplicate_obs: duplicates(&obs),
        duplicate_var: duplicates(&var),
        problems: Vec::new(),
    })
}

/// Lists a node, and the members of groups that are no single element.
fn visit(store: &Store, path: &str, node: &Node, depth: usize, out: &mut Vec<SlotInfo>) -> Result<()> {
    let slot = slot_name(path);
    if depth > 64 {
        return Err(store.bad(
            &slot,
            "groups nested too deep",
            "a file must be flatter",
            "the file is damaged",
        ));
    }
    let attributes = store.attributes(node, &slot)?;
    let encoding = attribute_text(&attributes, "encoding-type").unwrap_or_default();
    let mut info = SlotInfo {
        path: slot.clone(),
        kind: encoding.into(),
        dtype: None,
        shape: None,
        nnz: None,
        compressed: false,
    };
    let group = match node {
        Node::Data(data) => {
            let (shape, datatype) = store.describe(data, &slot)?;
            info.dtype = Some(dtype(&datatype));
            info.compressed = !data.filters().is_empty();
            info.shape = Some(shape);
            if info.kind.is_empty() {
                info.kind = "array".into();
            }
            out.push(info);
            return Ok(());
        }
        Node::Group(group) => group,
    };
    let legacy = attribute_text(&attributes, "h5sparse_format").map(|f| format!("{f}_matrix"));
    info.kind = legacy.unwrap_or(info.kind);
    let part = |name: &str| -> Result<Option<(Vec<usize>, String, bool)>> {
        let Some(Node::Data(data)) = store.child(group, name, &slot)? else { return Ok(None) };
        let (shape, datatype) = store.describe(&data, &slot)?;
        Ok(Some((shape, dtype(&datatype), !data.filters().is_empty())))
    };
    match info.kind.as_str() {
        "csr_matrix" | "csc_matrix" => {
            let (n, m) = store.sparse_shape(&attributes, &slot)?;
            info.shape = Some(vec![n, m]);
            if let Some((length, dtype, compressed)) = part("data")? {
                (info.nnz, info.dtype, info.compressed) = (length.first().copied(), Some(dtype), compressed);
            }
            out.push(info);
            return Ok(());
        }
        "categorical" | "nullable-integer" | "nullable-boolean" | "nullable-string-array" => {
            let values = if info.kind == "categorical" { "codes" } else { "values" };
            if let Some((shape, dtype, compressed)) = part(values)? {
                (info.shape, info.dtype, info.compressed) = (Some(shape), Some(dtype), compressed);
            }
            out.push(info);
            return Ok(());
        }
        "dataframe" => out.push(info),
        _ => {}
    }
    for (name, member) in store.members(group, &slot)? {
        if name != "__categories" {
            visit(store, &format!("{path}/{name}"), &member, depth + 1, out)?;
        }
    }
    Ok(())
}

fn dtype(datatype: &hdf5_pure::Datatype) -> String {
    match (NumberType::of(datatype), datatype) {
        (Some(kind), _) => kind.kind.name().into(),
        (
            None,
            hdf5_pure::Datatype::String { .. } | hdf5_pure::Datatype::VariableLength { is_string: true, .. },
        ) => "string".into(),
        (None, hdf5_pure::Datatype::Compound { .. }) => "records".into(),
        (None, other) => other.to_string(),
    }
}

fn duplicates(names: &[String]) -> Duplicates {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    names.iter().for_each(|n| *seen.entry(n).or_default() += 1);
    let twice: Vec<_> = seen.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
    let examples = twice.iter().take(5).map(|&n| n.to_owned()).collect();
    Duplicates { count: twice.len(), examples }
}

/// Running account of a matrix's values.
struct Tally {
    shape: (usize, usize),
    min: f64,
    max: f64,
    nonzero: u64,
    nan: usize,
    infinite: usize,
    whole: bool,
    first_odd: Option<(usize, usize)>,
    rows: Vec<bool>,
    columns: Vec<bool>,
}

impl Tally {
    fn new(shape: (usize, usize)) -> Tally {
        Tally {
            shape,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            nonzero: 0,
            nan: 0,
            infinite: 0,
            whole: true,
            first_odd: None,
            rows: vec![false; shape.0],
            columns: vec![false; shape.1],
        }
    }

    fn add(&mut self, i: usize, j: usize, v: f64) {
        if v == 0.0 {
            return;
        }
        self.nonzero += 1;
        (self.rows[i], self.columns[j]) = (true, true);
        if v.is_finite() {
            self.min = self.min.min(v);
            self.max = self.max.max(v);
            self.whole &= v.fract() == 0.0;
            return;
        }
        self.first_odd.get_or_insert((i, j));
        match v.is_nan() {
            true => self.nan += 1,
            false => self.infinite += 1,
        }
    }

    fn finish(self, slot: &str) -> ValueInfo {
        let entries = self.shape.0 as f64 * self.shape.1 as f64;
        let any_zero = (self.nonzero as f64) < entries || self.min > self.max;
        let (min, max) = if any_zero { (self.min.min(0.0), self.max.max(0.0)) } else { (self.min, self.max) };
        ValueInfo {
            slot: slot.into(),
            kind: match (min >= 0.0, self.whole) {
                (true, true) => ValueKind::Counts,
                (true, false) => ValueKind::NonNegative,
                _ => ValueKind::Real,
            },
            min,
            max,
            zeros: if entries > 0.0 { 1.0 - self.nonzero as f64 / entries } else { 0.0 },
            nan: self.nan,
            infinite: self.infinite,
            empty_rows: self.rows.iter().filter(|&&r| !r).count(),
            empty_columns: self.columns.iter().filter(|&&c| !c).count(),
            first_odd: self.first_odd,
        }
    }
}

fn problems(of: &Inspection) -> Vec<String> {
    let mut out = Vec::new();
    let (n, m) = of.shape;
    if n == 0 || m == 0 {
        out.push(format!("the file has {n} observations and {m} features; every method needs one of each"));
    }
    if of.values.is_empty() {
        out.push("the file holds no matrix: add X or a layer".into());
    }
    for v in &of.values {
        if let Some((i, j)) = v.first_odd {
            out.push(format!(
                "{} holds {} NaN and {} infinite values, the first at row {i}, column {j} (counted from 0): \
                 fill them in or drop their rows or columns",
                v.slot, v.nan, v.infinite
            ));
        }
        let lines = [(v.empty_rows, "row", "observation"), (v.empty_columns, "column", "feature")];
        for (empty, line, what) in lines.into_iter().filter(|l| l.0 > 0 && n > 0 && m > 0) {
            let (s, are, these) = if empty == 1 { ("", "is", "this") } else { ("s", "are", "these") };
            out.push(format!("{}: {empty} {line}{s} {are} all zero: drop {these} {what}{s}", v.slot));
        }
    }
    for (table, d, call) in [
        ("obs", &of.duplicate_obs, "obs_names_make_unique"),
        ("var", &of.duplicate_var, "var_names_make_unique"),
    ] {
        if d.count > 0 {
            out.push(format!(
                "{} names of {table} occur more than once, such as {:?}: rename them, for example with adata.{call}()",
                d.count, d.examples[0]
            ));
        }
    }
    out
}
