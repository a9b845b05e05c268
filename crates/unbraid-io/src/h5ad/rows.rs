//! A matrix in a file, read by blocks of rows.

use std::ops::Range;
use std::path::Path;

use hdf5_pure::{AttrValue, Dataset};
use ndarray::Array2;
use unbraid::fit::Rows;

use super::model::Numbers;
use super::numbers::NumberType;
use super::reader::text;
use super::store::{Node, Store};
use crate::error::Result;

/// A dense or CSR matrix of an `.h5ad` file; only the rows asked for are read.
///
/// Opening checks shape, row starts and types; indices are checked as they are read.
pub struct FileRows {
    shape: (usize, usize),
    what: String,
    form: Form,
}

enum Form {
    Dense { data: Dataset, kind: NumberType },
    Csr { starts: Vec<u64>, indices: (Dataset, NumberType), data: (Dataset, NumberType) },
}

impl FileRows {
    /// Opens `X`, a layer or `raw`.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when there is no such matrix, it is CSC or it is damaged.
    pub fn open(path: &Path, layer: Option<&str>) -> Result<FileRows> {
        let store = Store::open(path, &path.display().to_string(), None)?;
        let place = store.place(layer.unwrap_or("X"))?;
        FileRows::of(&store, &place.node, &place.slot)
    }

    pub(crate) fn of(store: &Store, node: &Node, slot: &str) -> Result<FileRows> {
        let what = format!("{}: {slot}", store.name);
        let group = match node {
            Node::Data(data) => {
                let (shape, kind) = store.describe_dense(data, slot)?;
                return Ok(FileRows { shape, what, form: Form::Dense { data: data.clone(), kind } });
            }
            Node::Group(group) => group,
        };
        let attributes = store.attributes(node, slot)?;
        let csr = text(&attributes, "encoding-type") == Some("csr_matrix")
            || attributes.get("h5sparse_format").and_then(AttrValue::as_str) == Some("csr");
        if !csr {
            return Err(store.bad(
                slot,
                "a matrix stored by columns, or none",
                "rows can be read from dense and CSR matrices",
                "convert it with `.tocsr()` in Python, or read it whole",
            ));
        }
        let shape = store.sparse_shape(&attributes, slot)?;
        let part = |name: &str| -> Result<(Dataset, NumberType, usize)> {
            let at = format!("{slot}/{name}");
            let data = store.data(group, name, &at)?;
            let (lengths, datatype) = store.describe(&data, &at)?;
            match (lengths.as_slice(), NumberType::of(&datatype)) {
                (&[length], Some(kind)) => Ok((data, kind, length)),
                _ => Err(store.bad(
                    &at,
                    datatype.to_string(),
                    "it must be a list of numbers",
                    "rewrite the file",
                )),
            }
        };
        let at = format!("{slot}/indptr");
        let starts = store.integers(&store.data(group, "indptr", &at)?, &at)?.to_i64().unwrap_or_default();
        let (indices, data) = (part("indices")?, part("data")?);
        let rises = starts.windows(2).all(|w| w[0] <= w[1]);
        let ends = (starts.first(), starts.last()) == (Some(&0), Some(&(data.2 as i64)));
        if starts.len() != shape.0 + 1
            || !rises
            || !ends
            || indices.2 != data.2
            || !indices.1.kind.is_integer()
        {
            return Err(store.bad(
                slot,
                format!("{} row starts, {} indices and {} values", starts.len(), indices.2, data.2),
                format!("{} rows need row starts that rise from 0 to the number of entries", shape.0),
                "the file is damaged; write it again from its source",
            ));
        }
        let starts = starts.into_iter().map(|s| s as u64).collect();
        let form = Form::Csr { starts, indices: (indices.0, indices.1), data: (data.0, data.1) };
        Ok(FileRows { shape, what, form })
    }

    /// Overwrites `into` with the given rows in double precision.
    ///
    /// # Errors
    /// [`unbraid::Error::Value`] or [`unbraid::Error::Io`] when the file is damaged there.
    pub fn block_f64(&self, rows: Range<usize>, into: &mut Array2<f64>) -> unbraid::Result<()> {
        if into.dim() != (rows.len(), self.shape.1) {
            *into = Array2::zeros((rows.len(), self.shape.1));
        }
        into.fill(0.0);
        self.each(rows.clone(), |i, j, v| into[[i - rows.start, j]] = v)
    }

    /// How many rows make a block of some megabytes, in whole chunks.
    pub(crate) fn step(&self) -> usize {
        const BLOCK: usize = 1 << 20;
        let (n, m) = self.shape;
        match &self.form {
            Form::Dense { data, .. } => {
                let chunk = data.chunk_shape().ok().flatten().and_then(|c| c.first().copied()).unwrap_or(1);
                let chunk = usize::try_from(chunk).unwrap_or(1).max(1);
                (BLOCK / m.max(1)).max(1).div_ceil(chunk).saturating_mul(chunk)
            }
            Form::Csr { starts, .. } => {
                let entries = starts.last().copied().unwrap_or(0) as usize;
                (BLOCK / (entries / n.max(1)).max(1)).max(1)
            }
        }
    }

    /// Calls `f(row, column, value)` for every stored entry of the given rows.
    pub(crate) fn each(
        &self,
        rows: Range<usize>,
        mut f: impl FnMut(usize, usize, f64),
    ) -> unbraid::Result<()> {
        let (n, m) = self.shape;
        if rows.end > n || rows.start > rows.end {
            return Err(unbraid::Error::Shape {
                what: format!("rows {rows:?} of {}", self.what),
                found: vec![n, m],
                rule: "at least as long",
            });
        }
        match &self.form {
            Form::Dense { data, kind } => {
                let values = self.read(data, *kind, rows.start as u64, rows.len() as u64)?.to_f64();
                if values.len() != rows.len() * m {
                    return Err(self.short());
                }
                for (at, v) in values.into_iter().enumerate() {
                    f(rows.start + at / m, at % m, v);
                }
            }
            Form::Csr { starts, indices, data } => {
                let (from, to) = (starts[rows.start], starts[rows.end]);
                if from == to {
                    return Ok(());
                }
                let columns = self.read(&indices.0, indices.1, from, to - from)?.to_i64().unwrap_or_default();
                let values = self.read(&data.0, data.1, from, to - from)?.to_f64();
                if columns.len() as u64 != to - from || values.len() != columns.len() {
                    return Err(self.short());
                }
                for i in rows {
                    for at in (starts[i] - from) as usize..(starts[i + 1] - from) as usize {
                        let j = columns[at];
                        if j < 0 || j >= m as i64 {
                            return Err(unbraid::Error::Value {
                                what: format!("{}/indices", self.what),
                                found: j as f64,
                                at: (i, at),
                                rule: "smaller than the number of columns",
                            });
                        }
                        f(i, j as usize, values[at]);
                    }
                }
            }
        }
        Ok(())
    }

    fn read(&self, data: &Dataset, kind: NumberType, start: u64, count: u64) -> unbraid::Result<Numbers> {
        let raw = data.read_raw_rows(start, count);
        let raw =
            raw.map_err(|e| unbraid::Error::Io(std::io::Error::other(format!("{}: {e}", self.what))))?;
        let mut out = Numbers::with_capacity(kind.kind, raw.len() / kind.kind.size());
        out.extend_from_bytes(&raw, kind.big_endian);
        Ok(out)
    }

    fn short(&self) -> unbraid::Error {
        let kind = std::io::ErrorKind::UnexpectedEof;
        unbraid::Error::Io(std::io::Error::new(
            kind,
            format!("{}: fewer values than its shape says", self.what),
        ))
    }
}

impl Rows for FileRows {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }
    fn block(&self, rows: Range<usize>, into: &mut Array2<f32>) -> unbraid::Result<()> {
        if into.dim() != (rows.len(), self.shape.1) {
            *into = Array2::zeros((rows.len(), self.shape.1));
        }
        into.fill(0.0);
        self.each(rows.clone(), |i, j, v| into[[i - rows.start, j]] = v as f32)
    }
}

impl From<FileRows> for Box<dyn Rows + Send> {
    fn from(rows: FileRows) -> Self {
        Box::new(rows)
    }
}
