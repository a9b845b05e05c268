//! MatrixMarket: `coordinate` and `array` matrices, plain or gzipped.

use std::path::Path;

use unbraid::data::{Csr, Dataset, Matrix};

use crate::error::Result;
use crate::memory::Budget;
use crate::text::Lines;

#[derive(Clone, Copy, PartialEq)]
enum Symmetry {
    General,
    Symmetric,
    Skew,
}

/// Reads a matrix whose rows are observations.
pub(crate) fn read(path: &Path, name: &str, max_bytes: Option<u64>) -> Result<Dataset> {
    let len = std::fs::metadata(path).map_or(0, |m| m.len());
    let budget = Budget::new(max_bytes, len);
    Ok(Dataset::from_matrix(name, read_matrix(path, name, &budget)?))
}

/// Reads the matrix alone, as the file has it.
pub(crate) fn read_matrix(path: &Path, name: &str, budget: &Budget) -> Result<Matrix> {
    const HINT: &str = "write the file again, for example with scipy.io.mmwrite";
    let mut lines = Lines::open(path, name, budget)?;
    let header = lines.next()?.unwrap_or_default().to_ascii_lowercase();
    let words: Vec<&str> = header.split_whitespace().collect();
    let ["%%matrixmarket", "matrix", form, field, symmetry] = words.as_slice() else {
        let rule = "a MatrixMarket file starts with `%%MatrixMarket matrix …`";
        return Err(lines.bad(format!("{header:?}"), rule, "check that this is a MatrixMarket file"));
    };
    let dense = match *form {
        "coordinate" => false,
        "array" => true,
        _ => return Err(lines.bad(format!("the form {form:?}"), "it must be coordinate or array", HINT)),
    };
    if !["real", "integer", "pattern", "double"].contains(field) || (dense && *field == "pattern") {
        return Err(lines.bad(format!("the field {field:?}"), "it must be real, integer or pattern", HINT));
    }
    let pattern = *field == "pattern";
    let symmetry = match *symmetry {
        "general" => Symmetry::General,
        "symmetric" => Symmetry::Symmetric,
        "skew-symmetric" => Symmetry::Skew,
        _ => {
            let rule = "it must be general, symmetric or skew-symmetric";
            return Err(lines.bad(format!("the symmetry {symmetry:?}"), rule, HINT));
        }
    };
    let sizes = loop {
        let Some(line) = lines.next()? else {
            return Err(lines.bad("the end of the file", "the sizes must come first", HINT));
        };
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('%') {
            break line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
        }
    };
    let (n, m, count) = match (sizes.as_deref(), dense) {
        (Some(&[n, m, count]), false) => (n, m, count),
        (Some(&[n, m]), true) => (n, m, 0),
        _ => return Err(lines.bad("no sizes", "rows, columns and entries are whole numbers", HINT)),
    };
    if n > u32::MAX.into() || m > u32::MAX.into() {
        return Err(lines.bad(format!("{n} × {m}"), "each size must stay below 2^32", HINT));
    }
    if symmetry != Symmetry::General && n != m {
        return Err(lines.bad(format!("{n} × {m}"), "a symmetric matrix is square", HINT));
    }
    let (n, m) = (n as usize, m as usize);
    // Every entry takes at least a digit and a line's end, each row start eight bytes.
    let declared = if dense { (n as u64).checked_mul(m as u64) } else { Some(count) };
    let needed = declared.and_then(|d| d.checked_mul(32)).and_then(|d| d.checked_add(8 * n as u64));
    let least = declared.and_then(|d| d.checked_mul(2)).map(|d| d.max(n.max(m) as u64));
    budget.check(name, "the matrix", least, needed)?;
    if dense {
        dense_values(&mut lines, n, m, symmetry)
    } else {
        entries(&mut lines, n, m, count, pattern, symmetry)
    }
}

fn number(lines: &Lines, word: Option<&str>) -> Result<f64> {
    match word.map(str::parse::<f64>) {
        Some(Ok(v)) => Ok(v),
        _ => {
            let found = word.map_or("nothing".to_owned(), |w| format!("{w:?}"));
            Err(lines.bad(found, "it must be a number", "repair the line"))
        }
    }
}

fn entries(
    lines: &mut Lines,
    n: usize,
    m: usize,
    count: u64,
    pattern: bool,
    symmetry: Symmetry,
) -> Result<Matrix> {
    let mut found: Vec<(u32, u32, f64)> = Vec::new();
    let mut read = 0;
    while let Some(line) = lines.next()? {
        let line = line.trim();
        if line.is_empty() || line.starts_with('%') {
            continue;
        }
        let line = line.to_owned();
        let mut words = line.split_whitespace();
        let mut place = |of: usize, what: &str| match words.next().map(str::parse::<usize>) {
            Some(Ok(at)) if (1..=of).contains(&at) => Ok(at as u32 - 1),
            _ => Err(lines.bad(
                format!("{line:?}"),
                format!("the {what} must lie between 1 and {of}"),
                "repair the line",
            )),
        };
        let (i, j) = (place(n, "row")?, place(m, "column")?);
        let v = if pattern { 1.0 } else { number(lines, words.next())? };
        if words.next().is_some() {
            return Err(lines.bad(
                format!("{line:?}"),
                "row, column and value stand alone",
                "repair the line",
            ));
        }
        read += 1;
        if read > count {
            return Err(lines.bad(
                format!("entry number {read}"),
                format!("the file announces {count}"),
                "correct the third number of the sizes, or remove what is too many",
            ));
        }
        found.push((i, j, v));
        if i != j && symmetry != Symmetry::General {
            found.push((j, i, if symmetry == Symmetry::Skew { -v } else { v }));
        }
    }
    if read < count {
        return Err(lines.bad(
            format!("the end after {read} entries"),
            format!("the file announces {count}"),
            "the file is cut short; get a whole copy",
        ));
    }
    Ok(Matrix::Sparse(Csr::from_triplets((n, m), found)))
}

fn dense_values(lines: &mut Lines, n: usize, m: usize, symmetry: Symmetry) -> Result<Matrix> {
    let mut out = ndarray::Array2::zeros((n, m));
    // Values come column by column; of a symmetric matrix only those on and below the diagonal.
    let first = |j: usize| match symmetry {
        Symmetry::General => 0,
        Symmetry::Symmetric => j,
        Symmetry::Skew => j + 1,
    };
    let mut places = (0..m).flat_map(|j| (first(j)..n).map(move |i| (i, j)));
    while let Some(line) = lines.next()? {
        let line = line.trim().to_owned();
        if line.is_empty() || line.starts_with('%') {
            continue;
        }
        let v = number(lines, Some(&line))?;
        let Some((i, j)) = places.next() else {
            return Err(lines.bad("one value more", format!("the matrix is {n} × {m}"), "remove it"));
        };
        out[[i, j]] = v;
        if i != j {
            match symmetry {
                Symmetry::General => {}
                Symmetry::Symmetric => out[[j, i]] = v,
                Symmetry::Skew => out[[j, i]] = -v,
            }
        }
    }
    match places.next() {
        None => Ok(Matrix::Dense(out)),
        Some((i, j)) => Err(lines.bad(
            format!("the end before row {}, column {}", i + 1, j + 1),
            format!("the matrix is {n} × {m}"),
            "the file is cut short; get a whole copy",
        )),
    }
}
