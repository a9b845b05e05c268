//! Which study each observation belongs to, read from a column of obs.

use std::collections::{BTreeMap, BTreeSet};

use unbraid::data::{Column, Dataset};
use unbraid::error::{Error, Result};
use unbraid::report::SHARED;

/// The studies of observations.
pub struct Levels {
    /// Study of each, an index of `names`.
    pub codes: Vec<u32>,
    /// Those that occur, in the order of the column's categories, or sorted.
    pub names: Vec<String>,
}

/// Reads the column of obs.
///
/// # Errors
/// [`Error::Missing`] for a column that is not there or holds no labels, [`Error::Line`] where an observation has none.
pub fn levels(table: &Dataset, column: &str, asked: Asked) -> Result<Levels> {
    let what = format!("obs[{column:?}]");
    let Some(found) = table.obs.column(column) else {
        let what = format!("the column of {}, {what},", asked.words().1);
        return Err(Error::Missing { what, hint: others(table, column, asked) });
    };
    let Some(texts) = found.texts() else {
        let of = asked.words().0;
        let what = format!("a {of} of each observation ({what} holds numbers that need not be whole)");
        return Err(Error::Missing { what, hint: others(table, column, asked) });
    };
    let at: Vec<usize> = (0..texts.len()).filter(|&i| texts[i].is_none()).collect();
    if !at.is_empty() {
        let problem = asked.words().2;
        let hint = "fill the column, or leave these observations out".into();
        return Err(Error::Line { what, axis: "row", at, problem, hint });
    }
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    let there: BTreeSet<&String> = texts.iter().collect();
    let names: Vec<String> = match found {
        Column::Categorical { categories, .. } => {
            categories.iter().filter(|name| there.contains(name)).cloned().collect()
        }
        Column::Int(v) => {
            // As numbers: 2 before 10.
            let sorted: BTreeSet<i64> = v.iter().flatten().copied().collect();
            sorted.iter().map(i64::to_string).collect()
        }
        _ => there.into_iter().cloned().collect(),
    };
    let code: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
    let codes = texts.iter().map(|text| code.get(text).copied().unwrap_or(0)).collect();
    Ok(Levels { codes, names })
}

/// The same for a fit: at least two studies of at least two observations.
pub(super) fn enough(table: &Dataset, column: &str) -> Result<Levels> {
    let found = levels(table, column, Asked::Fit)?;
    let mut sizes = vec![0usize; found.names.len()];
    found.codes.iter().for_each(|&m| sizes[m as usize] += 1);
    if let [one] = &found.names[..] {
        let what = format!("a second study (every observation has `{one}` in obs[{column:?}])");
        return Err(Error::Missing { what, hint: others(table, column, Asked::Fit) });
    }
    if found.names.iter().any(|name| name == SHARED) {
        let what = format!("another name for study `{SHARED}` of obs[{column:?}]");
        let hint = "the word is taken for factors of all studies; rename the study".into();
        return Err(Error::Missing { what, hint });
    }
    if let Some(m) = sizes.iter().position(|n| *n < 2) {
        let names: Vec<&str> = found.names.iter().map(String::as_str).collect();
        let what = format!("a second observation of study `{}`", names[m]);
        let hint = format!(
            "obs[{column:?}] has {} studies ({}); leave small ones out or join them to others; {}",
            names.len(),
            some(&names),
            others(table, column, Asked::Fit)
        );
        return Err(Error::Missing { what, hint });
    }
    Ok(found)
}

/// The first few, and how many more.
pub(super) fn some(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Who asks for the studies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `fit`, by a setting.
    Fit,
    /// `apply`, by an argument.
    Apply,
    /// `fit` of slices, by a setting.
    Slices,
    /// The same for groups of slices.
    Groups,
}

impl Asked {
    /// One of what a column tells apart, several, and the complaint where there is none.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Asked::Slices => ("batch", "batches", "has no batch"),
            Asked::Groups => ("group", "groups", "has no group"),
            _ => ("study", "studies", "has no study"),
        }
    }
}

/// Columns of obs that could be meant.
fn others(table: &Dataset, but: &str, asked: Asked) -> String {
    let (how, least) = match asked {
        Asked::Fit => ("`--set study=COLUMN`", 2),
        Asked::Apply => ("`--study COLUMN`", 1),
        Asked::Slices => ("`--set batch=COLUMN`", 1),
        Asked::Groups => ("`--set group=COLUMN`", 2),
    };
    let n = table.obs.len();
    let shown = |(name, column): &(String, Column)| {
        let texts = column.texts().filter(|_| name != but)?;
        let levels = texts.iter().flatten().collect::<BTreeSet<_>>().len();
        (levels >= least && 2 * levels <= n).then(|| format!("{name} ({levels} levels)"))
    };
    let usable: Vec<String> = table.obs.columns.iter().filter_map(shown).collect();
    let usable: Vec<&str> = usable.iter().map(String::as_str).collect();
    let all: Vec<&str> = table.obs.columns.iter().map(|(name, _)| name.as_str()).collect();
    match (usable.is_empty(), all.is_empty()) {
        (false, _) => format!("{how} names it; columns with levels are: {}", some(&usable)),
        (true, false) => {
            format!("no column of obs tells {} apart; there are {}", asked.words().1, some(&all))
        }
        (true, true) if asked == Asked::Slices => "obs has no columns; `--obs FILE.tsv` adds some".into(),
        (true, true) => {
            "obs has no columns; `--obs FILE.tsv` adds some, or give a file for each study".into()
        }
    }
}
