//! Tables of numbers as text: `.csv`, `.tsv`, plain or gzipped.
//!
//! The first row holds the names of the features and the first column those of the observations; either
//! may be absent. The first row is a header when a cell behind its first is no number or its first is
//! empty; the first column holds names when its first entry is no number, when the header is one cell
//! shorter than the rows, or when the header's first cell is empty or a word like `index` or `sample`.

use std::collections::HashMap;
use std::path::Path;

use ndarray::Array2;
use unbraid::data::{Dataset, Matrix, Table};

use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::text;

/// How a missing number is written; it becomes NaN, which methods refuse with its place.
const MISSING: [&str; 5] = ["", "na", "nan", "n/a", "null"];

/// Whether a cell says that its entry is missing.
pub(crate) fn missing(cell: &str) -> bool {
    MISSING.iter().any(|m| cell.eq_ignore_ascii_case(m))
}

fn number(cell: &str) -> Option<f64> {
    let cell = cell.trim();
    match cell.parse::<f64>() {
        Ok(v) => Some(v),
        Err(_) if missing(cell) => Some(f64::NAN),
        Err(_) => None,
    }
}

/// Whether the first row names the columns: a cell behind the first is no number, or the first is empty.
fn is_header(cells: &[&str]) -> bool {
    let empty_corner = cells.len() > 1 && cells[0].trim().is_empty();
    empty_corner || cells.iter().skip(usize::from(cells.len() > 1)).any(|c| number(c).is_none())
}

/// Whether the header's first cell stands over names, not over numbers.
fn is_corner(cell: &str) -> bool {
    const NAMES: [&str; 13] = [
        "",
        "index",
        "id",
        "name",
        "cell",
        "cell_id",
        "sample",
        "sample_id",
        "barcode",
        "unnamed: 0",
        "feature",
        "gene",
        "patient",
    ];
    NAMES.iter().any(|n| cell.eq_ignore_ascii_case(n))
}

pub(crate) fn read(path: &Path, name: &str, max_bytes: Option<u64>) -> Result<Dataset> {
    let file_len = std::fs::metadata(path).map_err(|e| Error::unreadable(name, &e))?.len();
    let budget = Budget::new(max_bytes, file_len);
    let bad = |line: u64, column: Option<usize>, found: String, rule: &str, hint: &str| {
        let slot = match column {
            Some(c) => format!("line {line}, column {}", c + 1),
            None => format!("line {line}"),
        };
        Error::input(name, slot, found, rule, hint)
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(path, name, &budget)?)
        .from_reader(text::open(path, name, &budget)?);
    let mut header: Vec<String> = Vec::new();
    let mut named = None;
    let (mut names, mut values): (Vec<String>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut first_lines: Vec<u64> = Vec::new();
    let mut width = None;
    let mut record = csv::StringRecord::new();
    let mut first_row = true;
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(e) => {
                let line = e.position().map_or(0, |p| p.line());
                return Err(match e.kind() {
                    csv::ErrorKind::Utf8 { .. } => bad(
                        line,
                        None,
                        "a byte that is not UTF-8".into(),
                        "text must be UTF-8",
                        "convert the file to UTF-8",
                    ),
                    _ => bad(line, None, format!("`{e}`"), "the file must be readable", "check the file"),
                });
            }
        }
        let line = record.position().map_or(0, |p| p.line());
        let mut cells: Vec<&str> = record.iter().collect();
        if first_row {
            cells[0] = cells[0].trim_start_matches('\u{feff}');
            first_row = false;
            if is_header(&cells) {
                header = cells.iter().map(|c| c.trim().to_owned()).collect();
                continue;
            }
        }
        if cells.len() == 1 && cells[0].trim().is_empty() {
            continue;
        }
        let has_names = *named.get_or_insert_with(|| {
            let corner = header.first().is_some_and(|h| is_corner(h));
            corner || header.len() + 1 == cells.len() || number(cells[0]).is_none()
        });
        let wide = *width.get_or_insert(cells.len());
        if cells.len() != wide {
            return Err(bad(
                line,
                None,
                format!("{} cells", cells.len()),
                &format!("the first line of data has {wide}"),
                "give every line as many cells",
            ));
        }
        if has_names {
            names.push(cells[0].trim().to_owned());
        }
        first_lines.push(line);
        for (at, cell) in cells.iter().enumerate().skip(usize::from(has_names)) {
            let Some(v) = number(cell) else {
                let found = format!("{:?}", clip(cell));
                return Err(bad(
                    line,
                    Some(at),
                    found,
                    "it must be a number",
                    "correct the cell or drop the column",
                ));
            };
            values.push(v);
        }
        if values.len() as u64 * 8 > budget.allowed {
            budget.check(name, "the table", Some(0), Some(values.len() as u64 * 8))?;
        }
    }
    let has_names = named.unwrap_or(false);
    let rows = first_lines.len();
    let columns = width.unwrap_or(0).saturating_sub(usize::from(has_names));
    if rows == 0 || columns == 0 {
        let hint = "rows are observations, columns features, cells numbers";
        return Err(Error::input(
            name,
            "the file",
            "no numbers",
            "a table has at least one row and column",
            hint,
        ));
    }
    let features = match header.len() {
        0 => None,
        len if len == columns => Some(header),
        len if len == columns + 1 && has_names => Some(header.split_off(1)),
        len => {
            let rule = format!("the lines below have {}", width.unwrap_or(0));
            return Err(bad(1, None, format!("{len} names"), &rule, "name every column once"));
        }
    };
    let twice = "names must be unique";
    if let Some(features) = &features
        && let Some((first, second)) = repeated(features)
    {
        let offset = usize::from(has_names);
        let found = format!("{:?}, also the name of column {}", clip(&features[second]), first + offset + 1);
        return Err(bad(1, Some(second + offset), found, twice, "rename one of the columns"));
    }
    if let Some((first, second)) = repeated(&names) {
        let found = format!("{:?}, also the name of line {}", clip(&names[second]), first_lines[first]);
        return Err(bad(first_lines[second], Some(0), found, twice, "rename one of the rows"));
    }
    let x = Array2::from_shape_vec((rows, columns), values).expect("every line has as many cells");
    let mut data = Dataset::from_matrix(name, Matrix::Dense(x));
    if let Some(features) = features {
        data.var = Table::named(features);
    }
    if has_names {
        data.obs = Table::named(names);
    }
    Ok(data)
}

/// The first two places that hold the same name.
pub(crate) fn repeated(names: &[String]) -> Option<(usize, usize)> {
    let mut seen = HashMap::with_capacity(names.len());
    names.iter().enumerate().find_map(|(at, name)| seen.insert(name, at).map(|first| (first, at)))
}

/// A cell as a message shows it.
pub(crate) fn clip(cell: &str) -> String {
    match cell.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &cell[..at]),
        None => cell.to_owned(),
    }
}

/// Comma, tab or semicolon: by the file's name, else by what the first line holds most.
pub(crate) fn delimiter(path: &Path, name: &str, budget: &Budget) -> Result<u8> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let stem = file.strip_suffix(".gz").unwrap_or(&file);
    if stem.ends_with(".tsv") {
        return Ok(b'\t');
    }
    let mut reader = text::open(path, name, budget)?;
    let start = reader.fill_buf().map_err(|e| Error::unreadable(name, &e))?;
    let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
    let count = |d: u8| line.iter().filter(|&&b| b == d).count();
    let best = [b',', b'\t', b';'].into_iter().rev().max_by_key(|&d| count(d)).unwrap_or(b',');
    Ok(if stem.ends_with(".csv") && count(b',') > 0 { b',' } else { best })
}
