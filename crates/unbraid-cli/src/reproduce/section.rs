//! What one part of a reproduction leaves behind: figures, tables, and checks that were computed.

use serde::{Deserialize, Serialize};

/// One part, ready to be written and shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Paragraphs under the heading: what was done.
    pub about: Vec<String>,
    /// Figures in order.
    pub figures: Vec<Figure>,
    /// Tables in order.
    pub tables: Vec<Table>,
    /// Statements that the numbers either bear out or do not.
    pub checks: Vec<Check>,
    /// What the reader should know: what was left out and why.
    pub notes: Vec<String>,
}

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// File name.
    pub file: String,
    /// Heading.
    pub title: String,
    /// What is seen, and how it was made.
    pub caption: String,
    /// The drawing.
    pub svg: String,
}

/// One table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// File name.
    pub file: String,
    /// What a row is.
    pub caption: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Whether the page shows it, and not only the file holds it.
    pub shown: bool,
}

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A whole number.
    Count(u64),
    /// A number.
    Number(f64),
    /// Words.
    Text(String),
    /// Not there.
    None,
}

impl From<f64> for Cell {
    fn from(v: f64) -> Cell {
        if v.is_finite() { Cell::Number(v) } else { Cell::None }
    }
}
impl From<usize> for Cell {
    fn from(v: usize) -> Cell {
        Cell::Count(v as u64)
    }
}
impl From<&str> for Cell {
    fn from(v: &str) -> Cell {
        Cell::Text(v.to_owned())
    }
}
impl From<String> for Cell {
    fn from(v: String) -> Cell {
        Cell::Text(v)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(v: Option<T>) -> Cell {
        v.map_or(Cell::None, Into::into)
    }
}

/// A row of a table from anything that is a cell.
#[macro_export]
macro_rules! cells {
    ($($v:expr),* $(,)?) => { vec![$($crate::reproduce::section::Cell::from($v)),*] };
}

impl Table {
    /// A table that the page shows.
    pub fn new(file: &str, caption: impl Into<String>, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|c| c.to_string()).collect();
        Table { file: file.into(), caption: caption.into(), columns, rows: Vec::new(), shown: true }
    }

    /// As comma-separated values, missing entries empty. Numbers are written such that reading them
    /// gives the same bits.
    pub fn csv(&self) -> Vec<u8> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let text = |cell: &Cell| match cell {
            Cell::Count(v) => v.to_string(),
            Cell::Number(v) => v.to_string(),
            Cell::Text(v) => v.clone(),
            Cell::None => String::new(),
        };
        // A vector takes every byte, and all rows are as long as the head.
        let mut write = |record: Vec<String>| out.write_record(record).expect("rows as long as the head");
        write(self.columns.clone());
        self.rows.iter().for_each(|row| write(row.iter().map(text).collect()));
        out.into_inner().expect("a vector takes every byte")
    }
}

/// A statement with the number that decides it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// The statement, true if the numbers bear it out.
    pub claim: String,
    /// Where it comes from: the paper, its code, a test of ours.
    pub source: String,
    /// What was expected or printed.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Whether it holds; `None` where nothing could be computed.
    pub holds: Option<bool>,
}

impl Check {
    /// A number against a rule; nothing is decided by one that is missing or not finite.
    pub fn number(
        claim: impl Into<String>,
        source: &str,
        expected: impl Into<String>,
        found: Option<f64>,
        rule: impl Fn(f64) -> bool,
    ) -> Check {
        let found = found.filter(|v| v.is_finite());
        Check {
            claim: claim.into(),
            source: source.into(),
            expected: expected.into(),
            found: found.map_or_else(|| "–".into(), |v| format!("{v:.4}")),
            holds: found.map(rule),
        }
    }
}

/// The checks of all parts as one table.
pub fn table_of_checks(sections: &[Section]) -> Table {
    let columns = ["part", "claim", "source", "expected", "found", "verdict"];
    let mut table = Table::new("checks.csv", "Statements and what the numbers say.", &columns);
    for section in sections {
        for c in &section.checks {
            let row = cells![
                section.title.as_str(),
                c.claim.as_str(),
                c.source.as_str(),
                c.expected.as_str(),
                c.found.as_str(),
                verdict(c.holds)
            ];
            table.rows.push(row);
        }
    }
    table
}

/// In words.
pub fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "does not hold",
        None => "not decided",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_and_leaves_missing_numbers_empty() {
        let mut t = Table::new("t.csv", "", &["a", "b,c"]);
        t.rows.push(cells![0.1 + 0.2, "x\"y"]);
        t.rows.push(cells![f64::NAN, 3usize]);
        t.rows.push(cells![None::<f64>, Some("z")]);
        assert_eq!(
            String::from_utf8(t.csv()).unwrap(),
            "a,\"b,c\"\n0.30000000000000004,\"x\"\"y\"\n,3\n,z\n"
        );
    }

    #[test]
    fn a_check_is_decided_by_its_number() {
        let of = |found| Check::number("c", "s", "below 1", found, |v| v < 1.0);
        assert_eq!((of(Some(0.5)).holds, of(Some(2.0)).holds), (Some(true), Some(false)));
        assert_eq!((of(None).holds, of(Some(f64::NAN)).found.as_str()), (None, "–"));
        let sections = [Section { checks: vec![of(Some(2.0))], ..Section::default() }];
        let csv = String::from_utf8(table_of_checks(&sections).csv()).unwrap();
        assert!(csv.contains("below 1,2.0000,does not hold"));
    }
}
