//! An open HDF5 file: every read is checked against the file's size and the memory allowed before
//! anything is allocated.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hdf5_pure::{AttrValue, Dataset, Datatype, File, Group, Layout, StringPadding, VlenStringReadOptions};

use super::model::{Array, Elem, Numbers, Records, Strings};
use super::numbers::NumberType;
use crate::error::{Error, Result};
use crate::memory::Budget;

/// A group or an array.
pub(crate) enum Node {
    Group(Group),
    Data(Dataset),
}

/// An open file.
pub(crate) struct Store {
    pub file: File,
    /// The name that messages use.
    pub name: String,
    pub budget: Budget,
    path: PathBuf,
    seen: Cell<usize>,
    heaps: RefCell<HashMap<u64, Heap>>,
}

/// A global heap collection: where each numbered object starts and how long it is.
struct Heap {
    bytes: Vec<u8>,
    objects: HashMap<u16, (usize, usize)>,
}

pub(crate) type Attributes = BTreeMap<String, AttrValue>;

/// Rows are read in windows of about this many bytes.
const WINDOW: u64 = 8 << 20;

impl Store {
    /// Opens a file without reading more than its outermost structure.
    pub fn open(path: &Path, name: &str, max_bytes: Option<u64>) -> Result<Store> {
        let len = fs::metadata(path).map_err(|e| Error::unreadable(name, &e))?.len();
        let file = File::open_streaming(path).map_err(|e| match e {
            hdf5_pure::Error::Io(e) => Error::unreadable(name, &e),
            other => Error::input(
                name,
                "the file",
                format!("`{other}`"),
                "an .h5ad file must be a whole HDF5 file",
                "check that the file is complete and is what its name says",
            ),
        })?;
        Ok(Store {
            file,
            name: name.to_owned(),
            budget: Budget::new(max_bytes, len),
            path: path.to_owned(),
            seen: Cell::new(0),
            heaps: RefCell::default(),
        })
    }

    /// An error about a slot.
    pub fn bad(
        &self,
        slot: &str,
        found: impl Into<String>,
        rule: impl Into<String>,
        hint: impl Into<String>,
    ) -> Error {
        Error::input(&self.name, slot, found, rule, hint)
    }

    /// An error of the HDF5 reader about a slot.
    pub fn broken(&self, slot: &str, why: hdf5_pure::Error) -> Error {
        self.bad(
            slot,
            format!("`{why}`"),
            "it must be readable HDF5",
            "the file is damaged or uses a feature that is not read; rewrite it with anndata",
        )
    }

    /// The node at a path, `None` where there is none.
    pub fn node(&self, path: &str) -> Result<Option<Node>> {
        self.child(&self.file.root(), path, path)
    }

    /// The member of a group, `None` where there is none.
    pub fn child(&self, group: &Group, name: &str, slot: &str) -> Result<Option<Node>> {
        match group.dataset(name) {
            Ok(data) => return Ok(Some(Node::Data(data))),
            Err(hdf5_pure::Error::NotADataset(_)) => {}
            Err(hdf5_pure::Error::NotAGroup(_)) => return Ok(None),
            Err(hdf5_pure::Error::Format(hdf5_pure::FormatError::PathNotFound(_))) => return Ok(None),
            Err(why) => return Err(self.broken(slot, why)),
        }
        match group.group(name) {
            Ok(group) => Ok(Some(Node::Group(group))),
            Err(why) => Err(self.broken(slot, why)),
        }
    }

    /// A member that must be an array.
    pub fn data(&self, group: &Group, name: &str, slot: &str) -> Result<Dataset> {
        match self.child(group, name, slot)? {
            Some(Node::Data(data)) => Ok(data),
            Some(Node::Group(_)) => {
                Err(self.bad(slot, "a group", "it must be an array", "rewrite the file with anndata"))
            }
            None => Err(self.bad(slot, "nothing", "it must be there", "rewrite the file with anndata")),
        }
    }

    /// Members in the order of their names.
    pub fn members(&self, group: &Group, slot: &str) -> Result<Vec<(String, Node)>> {
        // Links can make a small file into an endless tree.
        const MOST: usize = 1_000_000;
        let datasets = group.iter_datasets().map_err(|e| self.broken(slot, e))?;
        let groups = group.iter_groups().map_err(|e| self.broken(slot, e))?;
        self.seen.set(self.seen.get() + datasets.len() + groups.len());
        if self.seen.get() > MOST {
            return Err(self.bad(
                slot,
                format!("more than {MOST} groups and arrays"),
                "a file must hold fewer",
                "the file is damaged; get a fresh copy",
            ));
        }
        let mut members: Vec<_> = datasets
            .map(|(name, d)| (name, Node::Data(d)))
            .chain(groups.map(|(name, g)| (name, Node::Group(g))))
            .collect();
        members.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(members)
    }

    /// Attributes of a node, those that have a value we can hold.
    pub fn attributes(&self, node: &Node, slot: &str) -> Result<Attributes> {
        let found = match node {
            Node::Group(g) => g.attrs(),
            Node::Data(d) => d.attrs(),
        };
        Ok(found.map_err(|e| self.broken(slot, e))?.into_iter().collect())
    }

    /// Shape and type of an array, after checking that it can be what it says.
    pub fn describe(&self, data: &Dataset, slot: &str) -> Result<(Vec<usize>, Datatype)> {
        let shape = data.shape().map_err(|e| self.broken(slot, e))?;
        let datatype = data.datatype().map_err(|e| self.broken(slot, e))?;
        if matches!(data.layout(), Ok(Layout::Virtual)) {
            return Err(self.bad(
                slot,
                "an array that points into other files",
                "its values must be in this file",
                "load and rewrite the file with anndata",
            ));
        }
        let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let declared = count.and_then(|n| n.checked_mul(datatype.type_size().into()));
        self.budget.check(&self.name, slot, declared, declared)?;
        if let Some(chunk) = data.chunk_shape().map_err(|e| self.broken(slot, e))? {
            let declared = chunk
                .iter()
                .try_fold(1u64, |n, &d| n.checked_mul(d))
                .and_then(|n| n.checked_mul(datatype.type_size().into()));
            self.budget.check(&self.name, slot, declared, declared)?;
        }
        Ok((shape.into_iter().map(|d| d as usize).collect(), datatype))
    }

    /// How many rows to read at once: whole chunks, about [`WINDOW`] bytes.
    pub fn window(&self, data: &Dataset, shape: &[usize], element: usize) -> usize {
        let wide = shape.iter().skip(1).fold(1u64, |n, &d| n.saturating_mul(d as u64));
        let row = wide.max(1).saturating_mul(element.max(1) as u64);
        let chunk = data.chunk_shape().ok().flatten().and_then(|c| c.first().copied()).unwrap_or(1).max(1);
        let rows = (WINDOW / row).max(1);
        usize::try_from(rows.div_ceil(chunk).saturating_mul(chunk)).unwrap_or(usize::MAX)
    }

    /// The numbers of rows `start..start + count`.
    pub fn number_rows(
        &self,
        data: &Dataset,
        slot: &str,
        kind: NumberType,
        start: usize,
        count: usize,
        into: &mut Numbers,
    ) -> Result<()> {
        let raw = data.read_raw_rows(start as u64, count as u64).map_err(|e| self.broken(slot, e))?;
        into.extend_from_bytes(&raw, kind.big_endian);
        Ok(())
    }

    /// A whole array of numbers.
    pub fn numbers(&self, data: &Dataset, slot: &str) -> Result<Array> {
        let (shape, datatype) = self.describe(data, slot)?;
        let Some(kind) = NumberType::of(&datatype) else {
            return Err(self.bad(
                slot,
                format!("values of type {datatype}"),
                "they must be numbers",
                "convert the slot in Python and write the file again",
            ));
        };
        self.numbers_of(data, slot, shape, kind)
    }

    fn numbers_of(&self, data: &Dataset, slot: &str, shape: Vec<usize>, kind: NumberType) -> Result<Array> {
        let count: usize = shape.iter().product();
        let mut values = Numbers::with_capacity(kind.kind, count);
        let rows = shape.first().copied().unwrap_or(1);
        let window = self.window(data, &shape, kind.kind.size());
        if count > 0 {
            for start in (0..rows).step_by(window) {
                self.number_rows(data, slot, kind, start, window.min(rows - start), &mut values)?;
            }
        }
        if values.len() != count {
            return Err(self.short(slot, values.len(), count));
        }
        Ok(Array { shape, data: values })
    }

    fn short(&self, slot: &str, found: usize, count: usize) -> Error {
        self.bad(
            slot,
            format!("{found} values"),
            format!("its shape asks for {count}"),
            "the file is damaged; get a fresh copy",
        )
    }

    /// A one-dimensional array of whole numbers.
    pub fn integers(&self, data: &Dataset, slot: &str) -> Result<Numbers> {
        let array = self.numbers(data, slot)?;
        if array.shape.len() != 1 || !array.data.kind().is_integer() {
            return Err(self.bad(
                slot,
                format!("{} values of shape {:?}", array.data.type_name(), array.shape),
                "it must be a list of whole numbers",
                "rewrite the file with anndata",
            ));
        }
        Ok(array.data)
    }

    /// Whatever a plain array holds: numbers, texts or records.
    pub fn array(&self, data: &Dataset, slot: &str) -> Result<Elem> {
        let (shape, datatype) = self.describe(data, slot)?;
        if let Some(kind) = NumberType::of(&datatype) {
            return Ok(Elem::Array(self.numbers_of(data, slot, shape, kind)?));
        }
        match &datatype {
            Datatype::String { .. } | Datatype::VariableLength { is_string: true, .. } => {
                Ok(Elem::Strings(self.strings_of(data, slot, shape, &datatype)?))
            }
            Datatype::Compound { .. } => Ok(Elem::Records(self.records(data, slot, shape, &datatype)?)),
            other => Err(self.bad(
                slot,
                format!("values of type {other}"),
                "numbers, texts and records can be read",
                "convert the slot in Python and write the file again",
            )),
        }
    }

    /// A whole array of texts.
    pub fn strings(&self, data: &Dataset, slot: &str) -> Result<Strings> {
        let (shape, datatype) = self.describe(data, slot)?;
        self.strings_of(data, slot, shape, &datatype)
    }

    fn strings_of(
        &self,
        data: &Dataset,
        slot: &str,
        shape: Vec<usize>,
        datatype: &Datatype,
    ) -> Result<Strings> {
        let count: usize = shape.iter().product();
        // A text in memory takes 24 bytes and its letters.
        self.budget.check(&self.name, slot, Some(0), (count as u64).checked_mul(24))?;
        let values = match datatype {
            Datatype::String { .. } => {
                let raw = data.read_raw().map_err(|e| self.broken(slot, e))?;
                self.fixed_texts(&raw, datatype, slot)?
            }
            Datatype::VariableLength { is_string: true, .. } => {
                let most = usize::try_from(self.budget.allowed).unwrap_or(usize::MAX);
                // Many entries may share one text of the heap.
                let most = most.min((self.budget.file_len as usize).saturating_mul(1040).max(64 << 20));
                let options = VlenStringReadOptions::new().with_max_payload_bytes(most as _);
                data.read_vlen_strings(options).map_err(|e| self.broken(slot, e))?
            }
            other => {
                return Err(self.bad(
                    slot,
                    format!("values of type {other}"),
                    "they must be texts",
                    "convert the slot in Python and write the file again",
                ));
            }
        };
        if values.len() != count {
            return Err(self.short(slot, values.len(), count));
        }
        if let Some(at) = values.iter().position(|v| v.contains('\u{fffd}')) {
            return Err(self.not_utf8(slot, at));
        }
        Ok(Strings { shape, values })
    }

    fn not_utf8(&self, slot: &str, at: usize) -> Error {
        self.bad(
            slot,
            format!("a text at position {at} that is not UTF-8"),
            "texts must be UTF-8",
            "decode the names in Python and write the file again",
        )
    }

    fn fixed_texts(&self, raw: &[u8], datatype: &Datatype, slot: &str) -> Result<Vec<String>> {
        let Datatype::String { size, padding, .. } = datatype else { return Ok(Vec::new()) };
        let trim = |text: &[u8]| -> usize {
            match padding {
                StringPadding::NullTerminate => text.iter().position(|&b| b == 0).unwrap_or(text.len()),
                StringPadding::SpacePad => text.iter().rposition(|&b| b != b' ').map_or(0, |at| at + 1),
                _ => text.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1),
            }
        };
        raw.chunks_exact((*size).max(1) as usize)
            .enumerate()
            .map(|(at, text)| {
                let text = std::str::from_utf8(&text[..trim(text)]);
                text.map(str::to_owned).map_err(|_| self.not_utf8(slot, at))
            })
            .collect()
    }

    fn records(&self, data: &Dataset, slot: &str, shape: Vec<usize>, datatype: &Datatype) -> Result<Records> {
        let Datatype::Compound { size, members } = datatype else {
            return Err(self.bad(slot, "no record", "it must be a record", "rewrite the file with anndata"));
        };
        let (size, count) = (*size as usize, shape.iter().product::<usize>());
        let raw = data.read_raw().map_err(|e| self.broken(slot, e))?;
        if size == 0 || raw.len() != size * count {
            return Err(self.short(slot, raw.len() / size.max(1), count));
        }
        let mut fields = Vec::with_capacity(members.len());
        for member in members {
            let slot = format!("{slot}[{:?}]", member.name);
            let (from, width) = (member.byte_offset as usize, member.datatype.type_size() as usize);
            if from.checked_add(width).is_none_or(|end| end > size) {
                return Err(self.bad(
                    &slot,
                    "a field outside its record",
                    "fields must lie within the record",
                    "the file is damaged; get a fresh copy",
                ));
            }
            let column: Vec<u8> =
                raw.chunks_exact(size).flat_map(|r| &r[from..from + width]).copied().collect();
            fields.push((member.name.clone(), self.field(&column, &member.datatype, &shape, &slot)?));
        }
        Ok(Records { shape, fields })
    }

    /// One field of all records; `column` holds its bytes record by record.
    fn field(&self, column: &[u8], datatype: &Datatype, shape: &[usize], slot: &str) -> Result<Elem> {
        let (base, inner) = match datatype {
            Datatype::Array { base_type, dimensions } => (base_type.as_ref(), dimensions.as_slice()),
            other => (other, [].as_slice()),
        };
        let shape: Vec<usize> = shape.iter().copied().chain(inner.iter().map(|&d| d as usize)).collect();
        let count: usize = shape.iter().product();
        if let Some(kind) = NumberType::of(base) {
            let mut data = Numbers::with_capacity(kind.kind, count);
            data.extend_from_bytes(column, kind.big_endian);
            return Ok(Elem::Array(Array { shape, data }));
        }
        let values = match base {
            Datatype::String { .. } => self.fixed_texts(column, base, slot)?,
            Datatype::VariableLength { is_string: true, .. } => {
                let (references, _) = column.as_chunks::<16>();
                let texts = references.iter().enumerate().map(|(at, r)| self.heap_text(r, at, slot));
                texts.collect::<Result<_>>()?
            }
            other => {
                return Err(self.bad(
                    slot,
                    format!("values of type {other}"),
                    "numbers and texts can be read",
                    "convert the slot in Python and write the file again",
                ));
            }
        };
        Ok(Elem::Strings(Strings { shape, values }))
    }

    /// A text in a global heap: length, address of the collection, number within it.
    fn heap_text(&self, reference: &[u8; 16], at: usize, slot: &str) -> Result<String> {
        let word = |from: usize| u32::from_le_bytes(reference[from..from + 4].try_into().expect("4 bytes"));
        let length = word(0) as usize;
        let address = u64::from(word(4)) | u64::from(word(8)) << 32;
        let number = word(12) as u16;
        if length == 0 {
            return Ok(String::new());
        }
        let damaged = || {
            self.bad(
                slot,
                format!("a text at position {at} that points nowhere"),
                "texts must be stored in the file",
                "the file is damaged; get a fresh copy",
            )
        };
        if !self.heaps.borrow().contains_key(&address) {
            let heap = self.heap(address).ok_or_else(damaged)?;
            self.heaps.borrow_mut().insert(address, heap);
        }
        let heaps = self.heaps.borrow();
        let heap = &heaps[&address];
        let (from, size) = heap.objects.get(&number).copied().ok_or_else(damaged)?;
        let text = heap.bytes.get(from..from + length.min(size)).ok_or_else(damaged)?;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| self.not_utf8(slot, at))
    }

    fn heap(&self, address: u64) -> Option<Heap> {
        let mut file = fs::File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(address)).ok()?;
        let mut head = [0; 16];
        file.read_exact(&mut head).ok()?;
        let size = u64::from_le_bytes(head[8..].try_into().ok()?);
        let held: u64 = self.heaps.borrow().values().map(|h| h.bytes.len() as u64).sum();
        if &head[..4] != b"GCOL"
            || size < 16
            || size > self.budget.file_len - address.min(self.budget.file_len)
        {
            return None;
        }
        (held + size <= self.budget.allowed).then_some(())?;
        let mut bytes = head.to_vec();
        file.take(size - 16).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == size).then_some(())?;
        // Objects follow each other: number, references, 4 unused bytes, size, bytes padded to 8.
        let (mut objects, mut from) = (HashMap::new(), 16);
        while from + 16 <= bytes.len() {
            let number = u16::from_le_bytes([bytes[from], bytes[from + 1]]);
            let size = u64::from_le_bytes(bytes[from + 8..from + 16].try_into().ok()?);
            let size = usize::try_from(size).ok().filter(|&s| s <= bytes.len())?;
            if number == 0 {
                break;
            }
            objects.insert(number, (from + 16, size));
            from += 16 + size.next_multiple_of(8);
        }
        Some(Heap { bytes, objects })
    }
}

/// The name of a slot as a Python user writes it: `obsm["X_pca"]` for `obsm/X_pca`.
pub(crate) fn slot_name(path: &str) -> String {
    let path = path.trim_matches('/');
    let Some((first, rest)) = path.split_once('/') else { return path.to_owned() };
    const KEYED: [&str; 8] = ["obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns"];
    if !KEYED.contains(&first) {
        return path.to_owned();
    }
    match rest.split_once('/') {
        None => format!("{first}[{rest:?}]"),
        Some((key, rest)) => format!("{first}[{key:?}]/{rest}"),
    }
}
