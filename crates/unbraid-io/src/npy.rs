//! NumPy's `.npy` and `.npz`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use ndarray::{Array2, ShapeBuilder};
use npyz::{DType, NpyFile, Order, TypeChar};
use unbraid::data::{Dataset, Matrix};

use crate::error::{Error, Result};
use crate::memory::Budget;

/// Numbers of any shape, row by row.
type Values = (Vec<usize>, Vec<f64>);

pub(crate) fn read_npy(path: &Path, name: &str, max_bytes: Option<u64>) -> Result<Dataset> {
    let file = File::open(path).map_err(|e| Error::unreadable(name, &e))?;
    let len = file.metadata().map_err(|e| Error::unreadable(name, &e))?.len();
    let values = array(BufReader::new(file), name, "the array", len, &Budget::new(max_bytes, len))?;
    dataset(values, name, "X")
}

pub(crate) fn read_npz(path: &Path, name: &str, max_bytes: Option<u64>) -> Result<Dataset> {
    dataset(member(path, name, "X", max_bytes)?, name, "X")
}

fn dataset((shape, values): Values, name: &str, slot: &str) -> Result<Dataset> {
    let &[n, m] = shape.as_slice() else {
        let rule = "it must have rows and columns";
        return Err(Error::input(name, slot, format!("the shape {shape:?}"), rule, "reshape it in Python"));
    };
    let x = Array2::from_shape_vec((n, m), values).expect("as many values as the shape says");
    Ok(Dataset::from_matrix(name, Matrix::Dense(x)))
}

/// Names of the arrays of an `.npz` file, in the file's order.
///
/// # Errors
/// [`Error::Input`] when the file is no zip archive.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let name = path.display().to_string();
    let archive = archive(path, &name)?;
    let names = archive.file_names().filter_map(|n| n.ok());
    Ok(names.filter_map(|n| n.strip_suffix(".npy").map(str::to_owned)).collect())
}

/// Shape and values, row by row, of one array of an `.npz` file: integers, booleans and floats of any
/// width and byte order, stored by rows or by columns, packed or not.
///
/// # Errors
/// [`Error::Input`] when the array is not there, is no array of numbers or is damaged.
pub fn read_f64(path: &Path, array: &str) -> Result<(Vec<usize>, Vec<f64>)> {
    member(path, &path.display().to_string(), array, None)
}

type Archive = zip::ZipArchive<BufReader<File>>;

fn archive(path: &Path, name: &str) -> Result<Archive> {
    let file = File::open(path).map_err(|e| Error::unreadable(name, &e))?;
    zip::ZipArchive::new(BufReader::new(file)).map_err(|e| {
        let rule = "an .npz file must be a whole zip archive";
        Error::input(name, "the file", format!("`{e}`"), rule, "write it again with numpy.savez")
    })
}

fn member(path: &Path, name: &str, wanted: &str, max_bytes: Option<u64>) -> Result<Values> {
    let mut archive = archive(path, name)?;
    let slot = format!("the array {wanted:?}");
    let there = archive.file_names().filter_map(|n| n.ok());
    let there: Vec<String> = there.map(|n| n.trim_end_matches(".npy").to_owned()).collect();
    let file_len = std::fs::metadata(path).map_or(0, |m| m.len());
    let entry = archive.by_name(&format!("{wanted}.npy")).map_err(|e| {
        let hint = format!("save it under that name; the file holds {}", there.join(", "));
        Error::input(name, &slot, format!("`{e}`"), "it must be there", hint)
    })?;
    let size = entry.size();
    let budget = Budget::new(max_bytes, file_len);
    array(entry, name, &slot, size, &budget)
}

/// Reads one array from a stream of `len` bytes.
fn array(reader: impl Read, name: &str, slot: &str, len: u64, budget: &Budget) -> Result<Values> {
    let bad =
        |found: String, rule: &str| Error::input(name, slot, found, rule, "write it again with numpy.save");
    let file = NpyFile::new(reader).map_err(|e| bad(format!("`{e}`"), "it must be a NumPy array"))?;
    let count = file.shape().iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let DType::Plain(kind) = file.dtype() else {
        return Err(bad("records".into(), "it must hold numbers"));
    };
    let width = kind.num_bytes().unwrap_or(usize::MAX) as u64;
    let declared = count.and_then(|c| c.checked_mul(width));
    budget.check(name, slot, declared, count.and_then(|c| c.checked_mul(16)))?;
    if declared.is_none_or(|d| d > len) {
        return Err(bad(format!("{len} bytes"), "the shape asks for more; the file is cut short"));
    }
    let shape: Vec<usize> = file.shape().iter().map(|&d| d as usize).collect();
    let by_columns = file.order() == Order::Fortran;
    macro_rules! read {
        ($t:ty) => {
            file.into_vec::<$t>().map(|v| v.into_iter().map(|x| x as f64).collect::<Vec<f64>>())
        };
    }
    let values = match (kind.type_char(), width) {
        (TypeChar::Bool, 1) => {
            file.into_vec::<bool>().map(|v| v.into_iter().map(|b| f64::from(u8::from(b))).collect())
        }
        (TypeChar::Int, 1) => read!(i8),
        (TypeChar::Int, 2) => read!(i16),
        (TypeChar::Int, 4) => read!(i32),
        (TypeChar::Int, 8) => read!(i64),
        (TypeChar::Uint, 1) => read!(u8),
        (TypeChar::Uint, 2) => read!(u16),
        (TypeChar::Uint, 4) => read!(u32),
        (TypeChar::Uint, 8) => read!(u64),
        (TypeChar::Float, 4) => read!(f32),
        (TypeChar::Float, 8) => read!(f64),
        _ => return Err(bad(format!("values of type {kind}"), "it must hold integers, booleans or floats")),
    };
    let values = values.map_err(|e| bad(format!("`{e}`"), "it must be a whole NumPy array"))?;
    if values.len() as u64 != count.unwrap_or(0) {
        return Err(bad(format!("{} values", values.len()), "the shape asks for more"));
    }
    if !by_columns || shape.len() < 2 {
        return Ok((shape, values));
    }
    let turned =
        ndarray::ArrayD::from_shape_vec(shape.as_slice().f(), values).expect("as many as the shape says");
    let values = turned.iter().copied().collect();
    Ok((shape, values))
}
