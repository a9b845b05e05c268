//! Adding what a fit found to a file, leaving everything else as it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use hdf5_pure::{AttrValue, File, Group, Layout, RepackOptions, make_f32_type, make_f64_type, repack};
use ndarray::Array2;
use unbraid::data::{Annotations, Csr, Dataset, Matrix, Slot};

use super::convert::{column_elem, table_frame, value_elem};
use super::model::{Array, Elem, Major, Numbers, Sparse};
use super::reader::read_anndata;
use super::store::{Node, Store};
use super::writer::{Writer, check_name};
use crate::atomic::write_atomically;
use crate::error::{Error, Result};

/// What the annotations belong to.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An `.h5ad` file, which is copied: every slot that is not replaced stays as it is.
    File(&'a Path),
    /// Data from another format, written anew.
    Dataset(&'a Dataset),
}

/// Writes an `.h5ad` file that holds the input's slots and the annotations; slots of the same name are
/// replaced. An existing file at `path`, which may be the input, is replaced once the new one is
/// complete.
///
/// # Errors
/// [`Error::Input`] when the input file is damaged, [`Error::Output`] when an annotation does not fit
/// the input's shape, a name holds `/`, or the disk refuses.
pub fn write_h5ad(path: &Path, input: Input<'_>, annotations: &Annotations) -> Result<()> {
    write_atomically(path, |to| match input {
        Input::Dataset(data) => create(to, data, annotations),
        Input::File(from) => extend(to, from, annotations),
    })
}

fn create(to: &Path, data: &Dataset, annotations: &Annotations) -> Result<()> {
    let file = Writer::create(to)?;
    file.set_root("anndata", "0.1.0")?;
    match &data.x {
        Matrix::Dense(x) => dense(&file, "X", x)?,
        Matrix::Sparse(x) => csr(&file, "X", x)?,
    }
    file.frame("obs", &table_frame(&data.obs).map_err(|e| file.fault(format!("obs: {e}")))?)?;
    file.frame("var", &table_frame(&data.var).map_err(|e| file.fault(format!("var: {e}")))?)?;
    for name in ["obsm", "varm", "obsp", "varp", "layers", "uns"] {
        file.group(name, "dict", "0.1.0", [])?;
    }
    for (name, x) in &data.obsm {
        if !annotations.obsm.contains_key(name) {
            let path = file.path("obsm", name)?;
            file.raw(&path, x.shape(), make_f64_type(), bytes_f64(x.iter()))?;
        }
    }
    file.close()?;
    let there = There::of(to)?;
    check(&there, &to.display().to_string(), annotations)?;
    edit(to, &there, annotations)
}

/// The bytes alone: `fs::copy` would make the copy of a read-only input read-only too.
fn copy_contents(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut from, mut to) = (fs::File::open(from)?, fs::File::create(to)?);
    std::io::copy(&mut from, &mut to).map(drop)
}

/// Edits a copy of the file in place. A file that cannot be edited (written before AnnData 0.7, or with
/// structures that the HDF5 editor refuses) is repacked or rebuilt from memory.
fn extend(to: &Path, from: &Path, annotations: &Annotations) -> Result<()> {
    let there = There::of(from)?;
    check(&there, &to.display().to_string(), annotations)?;
    if there.legacy {
        return rebuild(to, from, annotations);
    }
    let copy = || {
        copy_contents(from, to).map_err(|e| Error::output(to, e))?;
        edit(to, &there, annotations)
    };
    let repacked = || {
        if !there.repackable {
            return Err(Error::output(to, "its chunks cannot be repacked"));
        }
        let _ = fs::remove_file(to);
        repack(from, to, &RepackOptions::new()).map_err(|e| Error::output(to, e))?;
        edit(to, &there, annotations)
    };
    // The editor holds a file of the older form (h5py's default) whole; a repacked copy is edited in place.
    const HELD: u64 = 1 << 30;
    let first = if there.old_form && there.size > HELD && there.repackable {
        repacked().or_else(|_| copy())
    } else {
        copy().or_else(|_| repacked())
    };
    let Err(why) = first else { return Ok(()) };
    rebuild(to, from, annotations).map_err(|e| match (&why, &e) {
        (Error::Output { file, why }, e) => Error::Output {
            file: file.clone(),
            why: format!("the input cannot be edited in place ({why}), nor rebuilt ({e})"),
        },
        _ => why,
    })
}

fn edit(to: &Path, there: &There, annotations: &Annotations) -> Result<()> {
    let file = Writer::edit(to)?;
    add(&file, there, annotations)?;
    file.close()?;
    fill_blocks(to, annotations)
}

fn rebuild(to: &Path, from: &Path, annotations: &Annotations) -> Result<()> {
    let whole = read_anndata(from)?;
    let _ = fs::remove_file(to);
    let file = Writer::create(to)?;
    file.anndata(&whole)?;
    file.close()?;
    drop(whole);
    edit(to, &There::of(to)?, annotations)
}

/// What a file holds already.
#[derive(Default)]
struct There {
    shape: (usize, usize),
    size: u64,
    /// Whether a table or a group of arrays is stored as records.
    legacy: bool,
    /// Whether the file has HDF5's first superblock, as h5py writes it.
    old_form: bool,
    /// Whether a repacked copy can be read by the HDF5 library.
    repackable: bool,
    members: BTreeMap<&'static str, Vec<String>>,
    /// Columns whose categories lie in `__categories`.
    shared_labels: BTreeMap<&'static str, Vec<String>>,
    order: BTreeMap<&'static str, Vec<String>>,
    index: BTreeMap<&'static str, String>,
}

const GROUPS: [&str; 8] = ["obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns"];

impl There {
    fn of(path: &Path) -> Result<There> {
        let store = Store::open(path, &path.display().to_string(), None)?;
        let mut there = There {
            size: store.budget.file_len,
            old_form: store.file.superblock().version < 2,
            repackable: repackable(&store, &store.file.root(), 0)?,
            ..There::default()
        };
        for name in GROUPS {
            match store.node(name)? {
                Some(Node::Group(group)) => {
                    let members: Vec<String> =
                        store.members(&group, name)?.into_iter().map(|m| m.0).collect();
                    if members.iter().any(|m| m == "__categories")
                        && let Some(Node::Group(labels)) = store.child(&group, "__categories", name)?
                    {
                        let shared = store.members(&labels, name)?.into_iter().map(|m| m.0).collect();
                        there.shared_labels.insert(name, shared);
                    }
                    there.members.insert(name, members);
                }
                Some(Node::Data(_)) => there.legacy = true,
                None => {}
            }
        }
        there.legacy |= store.node("raw.X")?.is_some();
        for name in ["obs", "var"] {
            let Some(node) = store.node(name)? else {
                return Err(store.bad(
                    name,
                    "nothing",
                    "an AnnData file has this table",
                    "is it an AnnData file?",
                ));
            };
            let frame = store.frame(&node, name)?;
            match name {
                "obs" => there.shape.0 = frame.len(),
                _ => there.shape.1 = frame.len(),
            }
            there.order.insert(name, frame.columns.into_iter().map(|c| c.0).collect());
            there.index.insert(name, frame.index_name);
        }
        Ok(there)
    }

    fn has(&self, group: &str, name: &str) -> bool {
        self.members.get(group).is_some_and(|m| m.iter().any(|n| n == name))
    }
}

/// Whether every chunk of the file has a shape that the repacker stores correctly: hdf5-pure 0.47 gives
/// an axis of 2¹⁶ to 2²⁴ four bytes, the HDF5 library insists on three.
fn repackable(store: &Store, group: &Group, depth: usize) -> Result<bool> {
    for (name, node) in store.members(group, "the file")? {
        let fine = match node {
            Node::Group(inner) => depth < 64 && repackable(store, &inner, depth + 1)?,
            Node::Data(data) => {
                let chunk = data.chunk_shape().map_err(|e| store.broken(&name, e))?.unwrap_or_default();
                chunk.iter().all(|&d| d < 1 << 16 || (1 << 24..1 << 32).contains(&d))
            }
        };
        if !fine {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses annotations that do not fit before anything is written.
fn check(there: &There, file: &str, new: &Annotations) -> Result<()> {
    let (n, m) = there.shape;
    let fault = |why: String| Error::Output { file: file.to_owned(), why };
    for (table, rows, columns) in [("obs", n, &new.obs), ("var", m, &new.var)] {
        for (name, column) in columns {
            check_name(table, name).map_err(fault)?;
            if there.index.get(table) == Some(name) {
                return Err(fault(format!("{table}[{name:?}] is the index; choose another key")));
            }
            if column.len() != rows {
                let why = format!("{table}[{name:?}] has {} rows, but {table} has {rows}", column.len());
                return Err(fault(why));
            }
            column_elem(column).map_err(|e| fault(format!("{table}[{name:?}]: {e}")))?;
        }
    }
    for (group, slots, shape) in groups(new, n, m) {
        for (name, slot) in slots {
            check_name(group, name).map_err(fault)?;
            let found = slot.shape();
            let wanted = (shape.0, shape.1.unwrap_or(found.1));
            if found != wanted {
                let why = format!("{group}[{name:?}] has shape {found:?}, but must have {wanted:?}");
                return Err(fault(why));
            }
        }
    }
    for (name, value) in &new.uns {
        check_name("uns", name).map_err(fault)?;
        value_elem(value).map_err(|e| fault(format!("uns[{name:?}]: {e}")))?;
    }
    Ok(())
}

/// A group, its new slots, and the shape they must have; `None` is any number of columns.
type Slots<'a> = (&'static str, &'a BTreeMap<String, Slot>, (usize, Option<usize>));

fn groups(new: &Annotations, n: usize, m: usize) -> [Slots<'_>; 5] {
    [
        ("obsm", &new.obsm, (n, None)),
        ("varm", &new.varm, (m, None)),
        ("obsp", &new.obsp, (n, Some(n))),
        ("varp", &new.varp, (m, Some(m))),
        ("layers", &new.layers, (n, Some(m))),
    ]
}

fn add(file: &Writer, there: &There, new: &Annotations) -> Result<()> {
    for (table, columns) in [("obs", &new.obs), ("var", &new.var)] {
        let mut order = there.order.get(table).cloned().unwrap_or_default();
        for (name, column) in columns {
            let path = file.path(table, name)?;
            remove(file, there, table, name)?;
            file.elem(&path, &column_elem(column).map_err(|e| file.fault(format!("{path}: {e}")))?)?;
            if !order.contains(name) {
                order.push(name.clone());
            }
        }
        if !columns.is_empty() {
            let group = file.file.root().group(table).map_err(|e| file.fault(e))?;
            let order = AttrValue::VarLenStringArray(order);
            group.set_attr("column-order", order).map_err(|e| file.fault(e))?;
        }
    }
    for (group, slots, _) in groups(new, there.shape.0, there.shape.1) {
        if !slots.is_empty() {
            ensure_group(file, there, group)?;
        }
        for (name, slot) in slots {
            let path = file.path(group, name)?;
            remove(file, there, group, name)?;
            put_slot(file, &path, slot)?;
        }
    }
    if !new.uns.is_empty() {
        ensure_group(file, there, "uns")?;
    }
    for (name, value) in &new.uns {
        let path = file.path("uns", name)?;
        remove(file, there, "uns", name)?;
        file.elem(&path, &value_elem(value).map_err(|e| file.fault(format!("{path}: {e}")))?)?;
    }
    Ok(())
}

fn ensure_group(file: &Writer, there: &There, name: &str) -> Result<()> {
    match there.members.contains_key(name) {
        true => Ok(()),
        false => file.group(name, "dict", "0.1.0", []),
    }
}

fn remove(file: &Writer, there: &There, group: &str, name: &str) -> Result<()> {
    let delete = |path: &str| file.file.root().delete(path).map_err(|e| file.fault(e));
    if there.has(group, name) {
        delete(&format!("{group}/{name}"))?;
    }
    if there.shared_labels.get(group).is_some_and(|labels| labels.iter().any(|l| l == name)) {
        delete(&format!("{group}/__categories/{name}"))?;
    }
    Ok(())
}

/// Staged slots are held in memory until they are committed.
const LARGE: usize = 16 << 20;

fn put_slot(file: &Writer, path: &str, slot: &Slot) -> Result<()> {
    match slot {
        Slot::F32(x) => {
            let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
            file.raw(path, x.shape(), make_f32_type(), bytes)?;
        }
        Slot::F64(x) => file.raw(path, x.shape(), make_f64_type(), bytes_f64(x.iter()))?,
        Slot::Csr(x) => csr(file, path, x)?,
        Slot::Blocks(x) => return reserve(file, path, x.shape()),
    }
    let (n, m) = slot.shape();
    if n.saturating_mul(m) > LARGE / 8 { file.commit() } else { Ok(()) }
}

fn bytes_f64<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<u8> {
    values.flat_map(|v| v.to_le_bytes()).collect()
}

/// In single precision where that keeps every value, else in double.
fn narrow(values: &[f64]) -> Numbers {
    match values.iter().all(|&v| f64::from(v as f32).to_bits() == v.to_bits() || v.is_nan()) {
        true => Numbers::F32(values.iter().map(|&v| v as f32).collect()),
        false => Numbers::F64(values.to_vec()),
    }
}

fn dense(file: &Writer, path: &str, x: &Array2<f64>) -> Result<()> {
    let values = x.as_standard_layout();
    let data = narrow(values.as_slice().expect("standard layout is one slice"));
    file.elem(path, &Elem::Array(Array { shape: x.shape().to_vec(), data }))
}

fn csr(file: &Writer, path: &str, x: &Csr) -> Result<()> {
    // SciPy wants both index arrays of one type.
    let wide = x.nnz() > i32::MAX as usize || x.shape().1 > i32::MAX as usize;
    let (indptr, indices) = match wide {
        true => (
            Numbers::I64(x.indptr().iter().map(|&v| v as i64).collect()),
            Numbers::I64(x.indices().iter().map(|&v| v.into()).collect()),
        ),
        false => (
            Numbers::I32(x.indptr().iter().map(|&v| v as i32).collect()),
            Numbers::I32(x.indices().iter().map(|&v| v as i32).collect()),
        ),
    };
    let data = if path == "X" { narrow(x.values()) } else { Numbers::F64(x.values().to_vec()) };
    file.elem(path, &Elem::Sparse(Sparse { shape: x.shape(), major: Major::Row, indptr, indices, data }))
}

/// Makes room for a large result; [`fill_blocks`] writes it once the file has its final form.
///
/// The zeros are pages that the system only promises: they are never written to, so they take no memory.
fn reserve(file: &Writer, path: &str, shape: (usize, usize)) -> Result<()> {
    let size = shape.0.checked_mul(shape.1).and_then(|n| n.checked_mul(4));
    let size = size.filter(|&size| Vec::<u8>::new().try_reserve_exact(size).is_ok());
    let Some(size) = size else {
        let why = format!("{path} of shape {shape:?} is too large for this machine; do not ask for it");
        return Err(file.fault(why));
    };
    file.raw(path, &[shape.0, shape.1], make_f32_type(), vec![0; size])?;
    file.commit()
}

/// Writes the large results into their places, one block of rows after the other.
fn fill_blocks(to: &Path, annotations: &Annotations) -> Result<()> {
    const BLOCK: usize = 4 << 20;
    for (group, slots, _) in groups(annotations, 0, 0) {
        for (name, slot) in slots {
            let Slot::Blocks(rows) = slot else { continue };
            let (n, m) = rows.shape();
            if n == 0 || m == 0 {
                continue;
            }
            let path = format!("{group}/{name}");
            let address = address_of(to, &path, (n as u64) * (m as u64) * 4)?;
            let fault = |e: std::io::Error| Error::output(to, e);
            let mut file = fs::File::options().write(true).open(to).map_err(fault)?;
            file.seek(SeekFrom::Start(address)).map_err(fault)?;
            let mut block = Array2::zeros((0, 0));
            let step = (BLOCK / 4 / m).clamp(1, n);
            for start in (0..n).step_by(step) {
                rows.block(start..(start + step).min(n), &mut block)?;
                let bytes: Vec<u8> = block.iter().flat_map(|v| v.to_le_bytes()).collect();
                file.write_all(&bytes).map_err(fault)?;
            }
        }
    }
    Ok(())
}

/// Where the values of a dense array of `size` bytes lie in a file.
fn address_of(file: &Path, path: &str, size: u64) -> Result<u64> {
    let opened = File::open_streaming(file).map_err(|e| Error::output(file, e))?;
    let layout = opened.dataset(path).and_then(|d| d.layout()).map_err(|e| Error::output(file, e))?;
    match layout {
        Layout::Contiguous { address: Some(address), size: found } if found == size => Ok(address),
        other => Err(Error::output(file, format!("{path} was laid out as {other:?}"))),
    }
}
