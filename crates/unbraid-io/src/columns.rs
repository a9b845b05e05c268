//! Columns that belong to the observations and come in a file of their own: survival times, labels.
//!
//! The first line names the columns, the first column the observations. A column of whole numbers is read
//! as such, one of numbers as numbers; any other holds labels where texts repeat and free text where they
//! do not. An empty cell, `NA` or `nan` is a missing entry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use unbraid::data::{Column, Table};

use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::table::{clip, delimiter, missing, repeated};
use crate::text;

/// Examples of names that a message shows.
const SHOWN: usize = 3;

/// Reads a table of columns: tab, comma or semicolon between the cells, plain or gzipped.
///
/// # Errors
/// [`Error::Input`] with the line, for a file without columns or rows, lines of unequal length, names that
/// are used twice, and numbers that are not finite.
pub fn read_columns(path: &Path, max_bytes: Option<u64>) -> Result<Table> {
    let name = path.display().to_string();
    let file_len = std::fs::metadata(path).map_err(|e| Error::unreadable(&name, &e))?.len();
    let budget = Budget::new(max_bytes, file_len);
    let bad = |line: usize, found: String, rule: &str, hint: &str| {
        Error::input(&name, format!("line {line}"), found, rule, hint)
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(path, &name, &budget)?)
        .from_reader(text::open(path, &name, &budget)?);
    let mut rows: Vec<(usize, Vec<String>)> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| {
            let line = e.position().map_or(0, |p| p.line() as usize);
            bad(line, format!("`{e}`"), "the table must be readable UTF-8 text", "check the file")
        })?;
        let line = record.position().map_or(0, |p| p.line() as usize);
        let cells: Vec<String> = record.iter().map(|c| c.trim().to_owned()).collect();
        if cells.iter().any(|c| !c.is_empty()) {
            rows.push((line, cells));
        }
    }
    if rows.len() < 2 {
        let rule = "a table of columns has a line of names and a line for each observation";
        return Err(Error::input(&name, "the file", format!("{} lines", rows.len()), rule, "check the file"));
    }
    let (_, mut header) = rows.remove(0);
    if let Some(first) = header.first_mut() {
        *first = first.trim_start_matches('\u{feff}').to_owned();
    }
    let wide = rows[0].1.len();
    if let Some((line, cells)) = rows.iter().find(|(_, cells)| cells.len() != wide) {
        let rule = format!("the first line below the names has {wide}");
        return Err(bad(*line, format!("{} cells", cells.len()), &rule, "give every line as many cells"));
    }
    // R leaves out the name above the row names.
    let titles = match header.len() {
        len if len == wide => header.split_off(1),
        len if len + 1 == wide => header,
        len => {
            let rule = format!("the lines below have {wide} cells");
            return Err(bad(1, format!("{len} names"), &rule, "name every column once"));
        }
    };
    if titles.is_empty() {
        let rule = "columns come behind the names of the observations";
        let hint = "is the separator a tab, a comma or a semicolon?";
        return Err(bad(1, "one column".into(), rule, hint));
    }
    if let Some(at) = titles.iter().position(|t| t.is_empty() || t.contains('/')) {
        let hint = "name every column, without a `/`";
        return Err(bad(1, format!("the name {:?}", titles[at]), "it cannot be the name of a column", hint));
    }
    let twice = "names must be unique";
    if let Some((_, second)) = repeated(&titles) {
        return Err(bad(1, format!("{:?} twice", clip(&titles[second])), twice, "rename one of the columns"));
    }
    let names: Vec<String> = rows.iter().map(|(_, cells)| cells[0].clone()).collect();
    if let Some((first, second)) = repeated(&names) {
        let found = format!("{:?}, also the name of line {}", clip(&names[second]), rows[first].0);
        return Err(bad(rows[second].0, found, twice, "keep one row for each observation"));
    }
    let mut columns = Vec::with_capacity(titles.len());
    for (at, title) in titles.into_iter().enumerate() {
        let cells: Vec<Option<&str>> =
            rows.iter().map(|(_, cells)| Some(cells[at + 1].as_str()).filter(|c| !missing(c))).collect();
        let column = typed(&cells);
        if let Column::Float(v) = &column
            && let Some(i) = v.iter().position(|v| v.is_infinite())
        {
            let found = format!("{:?} in the column {title:?}", rows[i].1[at + 1]);
            return Err(bad(
                rows[i].0,
                found,
                "numbers must be finite",
                "write NA where a number is missing",
            ));
        }
        columns.push((title, column));
    }
    Ok(Table { names, columns })
}

/// The narrowest kind that holds every cell.
fn typed(cells: &[Option<&str>]) -> Column {
    let there = || cells.iter().flatten();
    if there().next().is_some() {
        if there().all(|c| c.parse::<i64>().is_ok()) {
            return Column::Int(cells.iter().map(|c| c.and_then(|c| c.parse().ok())).collect());
        }
        if there().all(|c| c.parse::<f64>().is_ok()) {
            let number = |c: &Option<&str>| c.and_then(|c| c.parse().ok()).unwrap_or(f64::NAN);
            return Column::Float(cells.iter().map(number).collect());
        }
    }
    let texts: BTreeSet<&str> = there().copied().collect();
    if texts.len() < there().count() {
        let at: BTreeMap<&str, u32> = texts.iter().zip(0..).map(|(t, code)| (*t, code)).collect();
        let codes = cells.iter().map(|c| c.map(|c| at[c])).collect();
        let categories = texts.into_iter().map(str::to_owned).collect();
        return Column::Categorical { codes, categories, ordered: false };
    }
    Column::Text(cells.iter().map(|c| c.map(str::to_owned)).collect())
}

/// The columns of `table` with one entry for each of `names`, and how many of these have no row, for
/// which the entries are missing. `file` is what messages call the table.
///
/// # Errors
/// [`Error::Input`] when a row of the table belongs to none of the names.
pub fn align_columns(table: &Table, names: &[String], file: &str) -> Result<(Vec<(String, Column)>, usize)> {
    let row: HashMap<&str, usize> = table.names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let strange: Vec<&str> = table.names.iter().map(String::as_str).filter(|n| !known.contains(n)).collect();
    if !strange.is_empty() {
        let list = |names: Vec<&str>| {
            names.iter().take(SHOWN).map(|n| format!("{:?}", clip(n))).collect::<Vec<_>>().join(", ")
        };
        return Err(Error::input(
            file,
            "the names in the first column",
            format!("{} of {} that name no observation ({})", strange.len(), table.len(), list(strange)),
            format!("the observations are called {} …", list(names.iter().map(String::as_str).collect())),
            "write the names as in the data, or leave those rows out (are the data's observations in its columns? then add --transpose)",
        ));
    }
    let at: Vec<Option<usize>> = names.iter().map(|n| row.get(n.as_str()).copied()).collect();
    let without = at.iter().filter(|at| at.is_none()).count();
    Ok((table.columns.iter().map(|(title, c)| (title.clone(), spread(c, &at))).collect(), without))
}

/// The chosen entries; missing where none is chosen.
pub(crate) fn spread(column: &Column, at: &[Option<usize>]) -> Column {
    fn pick<T: Clone>(v: &[Option<T>], at: &[Option<usize>]) -> Vec<Option<T>> {
        at.iter().map(|at| at.and_then(|i| v[i].clone())).collect()
    }
    match column {
        Column::Float(v) => Column::Float(at.iter().map(|at| at.map_or(f64::NAN, |i| v[i])).collect()),
        Column::Int(v) => Column::Int(pick(v, at)),
        Column::Bool(v) => Column::Bool(pick(v, at)),
        Column::Text(v) => Column::Text(pick(v, at)),
        Column::Categorical { codes, categories, ordered } => {
            Column::Categorical { codes: pick(codes, at), categories: categories.clone(), ordered: *ordered }
        }
    }
}
