//! Everything an `.h5ad` file can hold, in memory and without loss: [`AnnData`].

use std::collections::BTreeMap;

use hdf5_pure::AttrValue;

/// A whole `.h5ad` file. Axis 0 are the observations, axis 1 the features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnnData {
    /// The matrix, n × d; a file may come without one.
    pub x: Option<Elem>,
    /// Columns of the n observations.
    pub obs: Frame,
    /// Columns of the d features.
    pub var: Frame,
    /// Arrays of n rows.
    pub obsm: Dict,
    /// Arrays of d rows.
    pub varm: Dict,
    /// Arrays n × n.
    pub obsp: Dict,
    /// Arrays d × d.
    pub varp: Dict,
    /// Matrices n × d.
    pub layers: Dict,
    /// Everything else, nested.
    pub uns: Dict,
    /// The data before features were dropped.
    pub raw: Option<Raw>,
    /// Groups and arrays at the top of the file that AnnData does not define.
    pub other: Dict,
}

/// The unfiltered data of a file: as many observations, more features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw {
    /// n × its own number of features.
    pub x: Option<Elem>,
    /// Its features.
    pub var: Frame,
    /// Arrays over its features.
    pub varm: Dict,
}

/// Named elements, in the order of their names.
pub type Dict = BTreeMap<String, Elem>;

/// One element of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Elem {
    /// Numbers of any rank; rank 0 is a scalar.
    Array(Array),
    /// Texts of any rank; rank 0 is a scalar.
    Strings(Strings),
    /// CSR or CSC.
    Sparse(Sparse),
    /// A table.
    Frame(Frame),
    /// Labels.
    Categorical(Categorical),
    /// Numbers or booleans with missing entries.
    Nullable(Nullable),
    /// Texts with missing entries.
    NullableStrings(NullableStrings),
    /// Rows of named fields, NumPy's structured array.
    Records(Records),
    /// Nested elements.
    Dict(Dict),
    /// `None`.
    Null,
    /// A group of an encoding that is not read here (awkward arrays), kept part by part.
    Opaque(Opaque),
}

/// Row-major numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub data: Numbers,
}

/// Values of one type, as stored; the byte order and the compression of the file are not kept.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Numbers {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    /// The bits of half precision numbers.
    F16(Vec<u16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Row-major texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strings {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many texts as the product of `shape`.
    pub values: Vec<String>,
}

/// Which axis a sparse matrix compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// CSR.
    Row,
    /// CSC.
    Column,
}

/// A sparse matrix as stored: indices need not be sorted, zeros may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    /// Rows and columns.
    pub shape: (usize, usize),
    /// CSR or CSC.
    pub major: Major,
    /// Starts of the rows (columns), one more than there are.
    pub indptr: Numbers,
    /// Column (row) of each entry.
    pub indices: Numbers,
    /// Value of each entry.
    pub data: Numbers,
}

/// A table: an index and columns of the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Name of the index; `_index` where it has none.
    pub index_name: String,
    /// Names of the rows, usually [`Strings`].
    pub index: Box<Elem>,
    /// Columns in order.
    pub columns: Vec<(String, Elem)>,
}

impl Default for Frame {
    fn default() -> Frame {
        let empty = Strings { shape: vec![0], values: Vec::new() };
        Frame { index_name: "_index".into(), index: Box::new(Elem::Strings(empty)), columns: Vec::new() }
    }
}

impl Frame {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.index.len().unwrap_or(0)
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Labels: a position in `categories` for each entry, −1 where it is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Categorical {
    /// Signed integers.
    pub codes: Numbers,
    /// Texts or numbers, of rank 1.
    pub categories: Box<Elem>,
    /// Whether the order of the categories means something.
    pub ordered: bool,
}

/// Integers or booleans with missing entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Nullable {
    /// The values; where the mask is set they mean nothing.
    pub values: Numbers,
    /// Whether the entry is missing.
    pub mask: Vec<bool>,
}

/// Texts with missing entries.
#[derive(Clone, Debug, PartialEq)]
pub struct NullableStrings {
    /// The texts; where the mask is set they mean nothing.
    pub values: Vec<String>,
    /// Whether the entry is missing.
    pub mask: Vec<bool>,
    /// Which missing value pandas uses: `pd.NA` or `np.nan`.
    pub na_value: Option<String>,
}

/// Rows of named fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Each an [`Elem::Array`] whose shape starts with that of the records, or [`Elem::Strings`].
    pub fields: Vec<(String, Elem)>,
}

/// A group kept part by part.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// Attributes of the group, its encoding among them.
    pub attributes: BTreeMap<String, AttrValue>,
    /// Its members.
    pub members: Dict,
}

impl Elem {
    /// Length of the first axis; `None` for a scalar, a dictionary or a group that is not read here.
    pub fn len(&self) -> Option<usize> {
        match self {
            Elem::Array(a) => a.shape.first().copied(),
            Elem::Strings(s) => s.shape.first().copied(),
            Elem::Sparse(s) => Some(s.shape.0),
            Elem::Frame(f) => Some(f.len()),
            Elem::Categorical(c) => Some(c.codes.len()),
            Elem::Nullable(n) => Some(n.mask.len()),
            Elem::NullableStrings(n) => Some(n.mask.len()),
            Elem::Records(r) => r.shape.first().copied(),
            Elem::Dict(_) | Elem::Null | Elem::Opaque(_) => None,
        }
    }
    /// Whether the first axis has no entry; `None` as for [`Elem::len`].
    pub fn is_empty(&self) -> Option<bool> {
        self.len().map(|n| n == 0)
    }
    /// The shape of a matrix or array; `None` for what has none.
    pub fn shape(&self) -> Option<Vec<usize>> {
        match self {
            Elem::Array(a) => Some(a.shape.clone()),
            Elem::Strings(s) => Some(s.shape.clone()),
            Elem::Sparse(s) => Some(vec![s.shape.0, s.shape.1]),
            Elem::Frame(f) => Some(vec![f.len(), f.columns.len()]),
            Elem::Records(r) => Some(r.shape.clone()),
            other => other.len().map(|n| vec![n]),
        }
    }
    /// A text of rank 0.
    pub fn text(value: impl Into<String>) -> Elem {
        Elem::Strings(Strings { shape: Vec::new(), values: vec![value.into()] })
    }
    /// Texts of rank 1.
    pub fn texts(values: Vec<String>) -> Elem {
        Elem::Strings(Strings { shape: vec![values.len()], values })
    }
    /// Numbers of rank 1.
    pub fn numbers(data: Numbers) -> Elem {
        Elem::Array(Array { shape: vec![data.len()], data })
    }
    /// A number of rank 0.
    pub fn scalar(data: Numbers) -> Elem {
        Elem::Array(Array { shape: Vec::new(), data })
    }
}
