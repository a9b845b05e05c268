//! From elements to a file, and a whole [`AnnData`] at once.

use std::fmt::Display;
use std::path::Path;

use hdf5_pure::{
    AttrValue, CompoundTypeBuilder, DatasetBuilder, Datatype, File, FileAccessProperties, SyncPolicy,
};

use super::model::{
    AnnData, Array, Categorical, Dict, Elem, Frame, Major, Nullable, NullableStrings, Numbers, Opaque,
    Records, Sparse, Strings,
};
use crate::atomic::write_atomically;
use crate::error::{Error, Result};

/// Writes a whole `.h5ad` file; an existing one is replaced once the new one is complete.
///
/// # Errors
/// [`Error::Output`] when a name or shape cannot be stored or the disk refuses.
pub fn write_anndata(path: &Path, data: &AnnData) -> Result<()> {
    write_atomically(path, |to| {
        let file = Writer::create(to)?;
        file.anndata(data)?;
        file.close()
    })
}

/// A file being written; nothing is on disk before [`Writer::commit`].
pub(crate) struct Writer {
    pub file: File,
    /// The file's name in messages.
    name: String,
}

impl Writer {
    fn access() -> FileAccessProperties {
        // The finished file is synced once, by `write_atomically`.
        FileAccessProperties::new().with_sync_policy(SyncPolicy::OnClose)
    }

    /// A new file.
    pub fn create(path: &Path) -> Result<Writer> {
        let file = File::create_with_options(path, Default::default(), Writer::access())
            .map_err(|e| Error::output(path, e))?;
        Ok(Writer { file, name: path.display().to_string() })
    }

    /// An existing file.
    pub fn edit(path: &Path) -> Result<Writer> {
        let file = File::open_rw_with_options(path, Writer::access()).map_err(|e| Error::output(path, e))?;
        Ok(Writer { file, name: path.display().to_string() })
    }

    /// An error about this file.
    pub fn fault(&self, why: impl Display) -> Error {
        Error::Output { file: self.name.clone(), why: why.to_string() }
    }

    /// Puts on disk what was staged.
    pub fn commit(&self) -> Result<()> {
        self.file.commit().map_err(|e| self.fault(e))
    }

    /// Puts everything on disk and closes the file.
    pub fn close(self) -> Result<()> {
        self.commit()?;
        let name = self.name;
        self.file.close().map_err(|e| Error::Output { file: name, why: e.to_string() })
    }

    pub fn anndata(&self, data: &AnnData) -> Result<()> {
        self.set_root("anndata", "0.1.0")?;
        if let Some(x) = &data.x {
            self.elem("X", x)?;
        }
        self.frame("obs", &data.obs)?;
        self.frame("var", &data.var)?;
        let dicts = [
            ("obsm", &data.obsm),
            ("varm", &data.varm),
            ("obsp", &data.obsp),
            ("varp", &data.varp),
            ("layers", &data.layers),
            ("uns", &data.uns),
        ];
        for (name, dict) in dicts {
            self.dict(name, dict)?;
        }
        if let Some(raw) = &data.raw {
            self.group("raw", "raw", "0.1.0", [])?;
            if let Some(x) = &raw.x {
                self.elem("raw/X", x)?;
            }
            self.frame("raw/var", &raw.var)?;
            self.dict("raw/varm", &raw.varm)?;
        }
        for (name, elem) in &data.other {
            self.elem(&self.path("", name)?, elem)?;
        }
        Ok(())
    }

    /// Names the encoding of the whole file.
    pub fn set_root(&self, encoding: &str, version: &str) -> Result<()> {
        for (name, value) in encoded(encoding, version) {
            self.file.root().set_attr(name, value).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }

    /// `parent/name`, refusing names that HDF5 would take for a path.
    pub fn path(&self, parent: &str, name: &str) -> Result<String> {
        check_name(parent, name).map_err(|why| self.fault(why))?;
        Ok(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") })
    }

    /// A group with its encoding and further attributes.
    pub fn group<'a>(
        &self,
        path: &str,
        encoding: &str,
        version: &str,
        further: impl IntoIterator<Item = (&'a str, AttrValue)>,
    ) -> Result<()> {
        let group = self.file.root().create_group(path).map_err(|e| self.fault(e))?;
        for (name, value) in encoded(encoding, version).into_iter().chain(further) {
            group.set_attr(name, value).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }

    /// An array with its encoding, filled by `build`.
    pub fn dataset(
        &self,
        path: &str,
        encoding: &str,
        version: &str,
        build: impl FnOnce(&mut DatasetBuilder),
    ) -> Result<()> {
        let built = self.file.root().create_dataset(path, |b| {
            build(b);
            for (name, value) in encoded(encoding, version) {
                b.set_attr(name, value);
            }
        });
        built.map(drop).map_err(|e| self.fault(e))
    }

    /// Plain numbers of any shape.
    pub fn raw(&self, path: &str, shape: &[usize], datatype: Datatype, bytes: Vec<u8>) -> Result<()> {
        let encoding = if shape.is_empty() { "numeric-scalar" } else { "array" };
        self.dataset(path, encoding, "0.2.0", |b| {
            let shape: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
            b.with_raw_data(datatype, bytes, shape.iter().product()).with_shape(&shape);
        })
    }

    /// Any element.
    pub fn elem(&self, path: &str, elem: &Elem) -> Result<()> {
        match elem {
            Elem::Array(a) => self.array(path, a),
            Elem::Strings(s) => self.strings(path, s),
            Elem::Sparse(s) => self.sparse(path, s),
            Elem::Frame(f) => self.frame(path, f),
            Elem::Categorical(c) => self.categorical(path, c),
            Elem::Nullable(n) => self.nullable(path, n),
            Elem::NullableStrings(n) => self.nullable_strings(path, n),
            Elem::Records(r) => self.records(path, r),
            Elem::Dict(d) => self.dict(path, d),
            Elem::Null => self.dataset(path, "null", "0.1.0", |b| {
                b.with_f32_data(&[0.0]).with_shape(&[]);
            }),
            Elem::Opaque(o) => self.opaque(path, o),
        }
    }

    fn array(&self, path: &str, a: &Array) -> Result<()> {
        self.shaped(path, &a.shape, a.data.len())?;
        self.raw(path, &a.shape, a.data.kind().datatype(), a.data.to_bytes())
    }

    fn shaped(&self, path: &str, shape: &[usize], count: usize) -> Result<()> {
        if shape.iter().product::<usize>() != count {
            return Err(self.fault(format!("{path} has shape {shape:?}, but {count} values")));
        }
        Ok(())
    }

    fn strings(&self, path: &str, s: &Strings) -> Result<()> {
        self.shaped(path, &s.shape, s.values.len())?;
        if let Some(text) = s.values.iter().find(|v| v.contains('\0')) {
            return Err(self.fault(format!("{path}: the text {text:?} holds a zero byte; remove it")));
        }
        let encoding = if s.shape.is_empty() { "string" } else { "string-array" };
        self.dataset(path, encoding, "0.2.0", |b| {
            let texts: Vec<&str> = s.values.iter().map(String::as_str).collect();
            let shape: Vec<u64> = s.shape.iter().map(|&d| d as u64).collect();
            b.with_vlen_strings(&texts).with_shape(&shape);
        })
    }

    fn sparse(&self, path: &str, s: &Sparse) -> Result<()> {
        let encoding = match s.major {
            Major::Row => "csr_matrix",
            Major::Column => "csc_matrix",
        };
        let shape = AttrValue::I64Array(vec![s.shape.0 as i64, s.shape.1 as i64]);
        self.group(path, encoding, "0.1.0", [("shape", shape)])?;
        for (name, part) in [("data", &s.data), ("indices", &s.indices), ("indptr", &s.indptr)] {
            self.numbers(&format!("{path}/{name}"), part)?;
        }
        Ok(())
    }

    fn numbers(&self, path: &str, v: &Numbers) -> Result<()> {
        self.raw(path, &[v.len()], v.kind().datatype(), v.to_bytes())
    }

    /// A table.
    pub fn frame(&self, path: &str, f: &Frame) -> Result<()> {
        let order: Vec<String> = f.columns.iter().map(|(name, _)| name.clone()).collect();
        if order.contains(&f.index_name) {
            return Err(self.fault(format!("{path}: a column has the index's name, {:?}", f.index_name)));
        }
        let attributes = [
            ("_index", AttrValue::VarLenString(f.index_name.clone())),
            ("column-order", AttrValue::VarLenStringArray(order)),
        ];
        self.group(path, "dataframe", "0.2.0", attributes)?;
        self.elem(&self.path(path, &f.index_name)?, &f.index)?;
        for (name, column) in &f.columns {
            self.elem(&self.path(path, name)?, column)?;
        }
        Ok(())
    }

    fn categorical(&self, path: &str, c: &Categorical) -> Result<()> {
        let ordered = AttrValue::U8(c.ordered.into());
        self.group(path, "categorical", "0.2.0", [("ordered", ordered)])?;
        self.elem(&format!("{path}/categories"), &c.categories)?;
        self.numbers(&format!("{path}/codes"), &c.codes)
    }

    fn nullable(&self, path: &str, n: &Nullable) -> Result<()> {
        let encoding =
            if matches!(n.values, Numbers::Bool(_)) { "nullable-boolean" } else { "nullable-integer" };
        self.group(path, encoding, "0.1.0", [])?;
        self.numbers(&format!("{path}/values"), &n.values)?;
        self.numbers(&format!("{path}/mask"), &Numbers::Bool(n.mask.clone()))
    }

    fn nullable_strings(&self, path: &str, n: &NullableStrings) -> Result<()> {
        let na = n.na_value.clone().map(|v| ("na-value", AttrValue::VarLenString(v)));
        self.group(path, "nullable-string-array", "0.1.0", na)?;
        self.elem(&format!("{path}/values"), &Elem::texts(n.values.clone()))?;
        self.numbers(&format!("{path}/mask"), &Numbers::Bool(n.mask.clone()))
    }

    /// Named elements.
    pub fn dict(&self, path: &str, d: &Dict) -> Result<()> {
        self.group(path, "dict", "0.1.0", [])?;
        for (name, elem) in d {
            self.elem(&self.path(path, name)?, elem)?;
        }
        Ok(())
    }

    fn opaque(&self, path: &str, o: &Opaque) -> Result<()> {
        let group = self.file.root().create_group(path).map_err(|e| self.fault(e))?;
        for (name, value) in &o.attributes {
            group.set_attr(name, value.clone()).map_err(|e| self.fault(e))?;
        }
        for (name, elem) in &o.members {
            self.elem(&self.path(path, name)?, elem)?;
        }
        Ok(())
    }

    /// Records; their texts get the width of the longest.
    fn records(&self, path: &str, r: &Records) -> Result<()> {
        let count: usize = r.shape.iter().product();
        let mut columns: Vec<(Vec<u8>, usize)> = Vec::new();
        let mut record = CompoundTypeBuilder::new();
        for (name, field) in &r.fields {
            let (base, bytes, shape) = match field {
                Elem::Array(a) => (a.data.kind().datatype(), a.data.to_bytes(), &a.shape),
                Elem::Strings(s) => {
                    // anndata decodes texts of fixed width as ASCII.
                    if let Some(text) = s.values.iter().find(|v| !v.is_ascii()) {
                        let why = format!("{path}[{name:?}] holds {text:?}: records take ASCII texts only");
                        return Err(self.fault(why));
                    }
                    let width = s.values.iter().map(String::len).max().unwrap_or(0).max(1);
                    let mut bytes = vec![0; width * s.values.len()];
                    for (to, text) in bytes.chunks_exact_mut(width).zip(&s.values) {
                        to[..text.len()].copy_from_slice(text.as_bytes());
                    }
                    let datatype = Datatype::String {
                        size: width as u32,
                        padding: hdf5_pure::StringPadding::NullPad,
                        charset: hdf5_pure::CharacterSet::Ascii,
                    };
                    (datatype, bytes, &s.shape)
                }
                _ => return Err(self.fault(format!("{path}[{name:?}]: records hold numbers and texts only"))),
            };
            let inner = shape.strip_prefix(r.shape.as_slice()).unwrap_or_default();
            let width = base.type_size() as usize * inner.iter().product::<usize>();
            self.shaped(&format!("{path}[{name:?}]"), shape, bytes.len() / base.type_size() as usize)?;
            if bytes.len() != width * count || width == 0 {
                return Err(
                    self.fault(format!("{path}[{name:?}]: its shape does not start with the records'"))
                );
            }
            let datatype = match inner {
                [] => base,
                _ => Datatype::Array {
                    base_type: Box::new(base),
                    dimensions: inner.iter().map(|&d| d as u32).collect(),
                },
            };
            record = record.field(name, datatype);
            columns.push((bytes, width));
        }
        let datatype = record.build().map_err(|e| self.fault(format!("{path}: {e}")))?;
        let mut bytes = Vec::with_capacity(count * datatype.type_size() as usize);
        for i in 0..count {
            columns.iter().for_each(|(b, width)| bytes.extend_from_slice(&b[i * width..(i + 1) * width]));
        }
        self.dataset(path, "rec-array", "0.2.0", |b| {
            let shape: Vec<u64> = r.shape.iter().map(|&d| d as u64).collect();
            b.with_raw_data(datatype, bytes, count as u64).with_shape(&shape);
        })
    }
}

/// Refuses names that HDF5 would take for a path.
pub(crate) fn check_name(parent: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name == "." || name.contains('/') || name.contains('\0') {
        return Err(format!("the name {name:?} in {parent} is empty or holds `/`; choose another"));
    }
    Ok(())
}

fn encoded(encoding: &str, version: &str) -> [(&'static str, AttrValue); 2] {
    [
        ("encoding-type", AttrValue::VarLenString(encoding.to_owned())),
        ("encoding-version", AttrValue::VarLenString(version.to_owned())),
    ]
}
