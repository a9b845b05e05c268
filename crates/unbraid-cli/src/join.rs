//! Several tables as one: the same observations side by side, or studies below each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, concatenate};
use unbraid::data::{Column, Csr, Dataset, Matrix, Selection, Table};

use crate::fault::Fault;

/// Tables with the observations of all in the order of the first.
pub fn align(tables: Vec<Dataset>) -> Result<Vec<Dataset>, Fault> {
    let first = tables[0].obs.names.clone();
    tables
        .into_iter()
        .map(|table| {
            let at: BTreeMap<&String, usize> =
                table.obs.names.iter().enumerate().map(|(i, n)| (n, i)).collect();
            if at.len() != first.len() || table.obs.len() != first.len() {
                let rule = "the same observations in every joined file, each named once";
                let found = vec![table.obs.len()];
                return Err(Fault::on(&table, unbraid::Error::Shape { what: "obs".into(), found, rule }));
            }
            let order: Option<Vec<usize>> = first.iter().map(|n| at.get(n).copied()).collect();
            let Some(order) = order else {
                let missing = first.iter().find(|n| !at.contains_key(n)).cloned().unwrap_or_default();
                let hint = "joined files must hold the same observations".to_owned();
                return Err(Fault::on(
                    &table,
                    unbraid::Error::Missing { what: format!("observation `{missing}`"), hint },
                ));
            };
            Ok(table.select(&Selection { obs: Some(order), var: None }))
        })
        .collect()
}

/// Joined tables side by side, with the file of each feature in `var["table"]`. A feature name that
/// several tables use gets its table's name behind it.
pub fn beside(tables: &[Dataset]) -> Dataset {
    let n = tables[0].shape().0;
    let mut uses: BTreeMap<&String, usize> = BTreeMap::new();
    tables.iter().flat_map(|t| &t.var.names).for_each(|name| *uses.entry(name).or_default() += 1);
    // An entry of a sparse matrix takes 12 bytes, one of a dense matrix 8.
    let (filled, all) =
        tables.iter().fold((0, 0), |(f, a), t| (f + t.x.nonzeros(), a + t.shape().0 * t.shape().1));
    let sparse = tables.iter().any(|t| matches!(t.x, Matrix::Sparse(_))) && filled * 3 < all * 2;
    let m = tables.iter().map(|t| t.shape().1).sum();
    let mut whole = Array2::zeros(if sparse { (0, 0) } else { (n, m) });
    let (mut entries, mut names, mut from, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0usize);
    for (t, table) in tables.iter().enumerate() {
        table.x.for_each_nonzero(|i, j, v| match sparse {
            true => entries.push((i as u32, (offset + j) as u32, v)),
            false => whole[[i, offset + j]] = v,
        });
        let unique =
            |name: &String| if uses[name] > 1 { format!("{name} ({})", table.source) } else { name.clone() };
        names.extend(table.var.names.iter().map(unique));
        from.extend(std::iter::repeat_n(Some(t as u32), table.shape().1));
        offset += table.shape().1;
    }
    let mut joined = Dataset::from_matrix(
        tables.iter().map(|t| t.source.as_str()).collect::<Vec<_>>().join(", "),
        match sparse {
            true => Matrix::Sparse(Csr::from_triplets((n, m), entries)),
            false => Matrix::Dense(whole),
        },
    );
    joined.obs = tables[0].obs.clone();
    joined.var = Table::named(names);
    let categories = tables.iter().map(|t| t.source.clone()).collect();
    joined
        .var
        .columns
        .push(("table".into(), Column::Categorical { codes: from, categories, ordered: false }));
    joined.obsm = tables[0].obsm.clone();
    joined
}

/// Selections of the tables as one of the joined table.
pub fn combine(tables: &[Dataset], chosen: &[Selection]) -> Selection {
    if chosen.iter().all(|c| c.var.is_none()) {
        return Selection { obs: chosen[0].obs.clone(), var: None };
    }
    let (mut var, mut offset) = (Vec::new(), 0);
    for (table, c) in tables.iter().zip(chosen) {
        let m = table.shape().1;
        match &c.var {
            Some(at) => var.extend(at.iter().map(|j| offset + j)),
            None => var.extend(offset..offset + m),
        }
        offset += m;
    }
    Selection { obs: chosen[0].obs.clone(), var: Some(var) }
}

/// Studies or slices below each other: features that every file has, by name, in the order of the first; columns of obs and
/// slots of obsm that every file has; the file of each observation in the given `column` of obs, unless all have that column already.
/// An observation name that several files use gets its file's name behind it.
pub fn below(
    tables: Vec<Dataset>,
    files: &[PathBuf],
    column: &str,
    warnings: &mut Vec<String>,
) -> Result<Dataset, Fault> {
    let parts = part_names(files);
    let mut at: Vec<BTreeMap<&str, usize>> = Vec::new();
    for table in &tables {
        let of: BTreeMap<&str, usize> =
            table.var.names.iter().enumerate().map(|(j, name)| (name.as_str(), j)).collect();
        if of.len() < table.var.len() {
            let what = "one feature of each name".to_owned();
            let hint = "files are joined by names of features; rename with adata.var_names_make_unique()";
            return Err(Fault::on(table, unbraid::Error::Missing { what, hint: hint.into() }));
        }
        at.push(of);
    }
    let names: Vec<String> = tables[0]
        .var
        .names
        .iter()
        .filter(|n| at.iter().all(|of| of.contains_key(n.as_str())))
        .cloned()
        .collect();
    if names.is_empty() {
        let first = |t: &Dataset| t.var.names.first().cloned().unwrap_or_default();
        let hint = format!(
            "features are named as `{}` in the first file and as `{}` in the last; features in rows need --transpose",
            first(&tables[0]),
            first(&tables[tables.len() - 1])
        );
        let what = "a feature that all files have".to_owned();
        return Err(Fault::Core {
            context: String::new(),
            source: unbraid::Error::Missing { what, hint },
            place: String::new(),
        });
    }
    for table in tables.iter().filter(|t| t.var.len() > names.len()) {
        let (gone, all) = (table.var.len() - names.len(), table.var.len());
        warnings.push(format!(
            "{}: {gone} of {all} features are not in every file and were left out.",
            table.source
        ));
    }
    let mut uses: BTreeMap<&String, usize> = BTreeMap::new();
    tables.iter().flat_map(|t| &t.obs.names).for_each(|name| *uses.entry(name).or_default() += 1);
    let unique = |m: usize| {
        let (uses, part) = (&uses, &parts[m]);
        move |name: &String| if uses[name] > 1 { format!("{name} ({part})") } else { name.clone() }
    };
    let sparse = tables.iter().any(|t| matches!(t.x, Matrix::Sparse(_)));
    let n = tables.iter().map(|t| t.shape().0).sum();
    let mut whole = Array2::zeros(if sparse { (0, 0) } else { (n, names.len()) });
    let (mut entries, mut obs, mut from, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0usize);
    for (m, table) in tables.iter().enumerate() {
        let mut to: Vec<Option<usize>> = vec![None; table.var.len()];
        names.iter().enumerate().for_each(|(j, name)| to[at[m][name.as_str()]] = Some(j));
        table.x.for_each_nonzero(|i, j, v| match (to[j], sparse) {
            (Some(j), true) => entries.push(((offset + i) as u32, j as u32, v)),
            (Some(j), false) => whole[[offset + i, j]] = v,
            (None, _) => {}
        });
        obs.extend(table.obs.names.iter().map(unique(m)));
        from.extend(std::iter::repeat_n(Some(m as u32), table.shape().0));
        offset += table.shape().0;
    }
    let x = match sparse {
        true => Matrix::Sparse(Csr::from_triplets((n, names.len()), entries)),
        false => Matrix::Dense(whole),
    };
    let source = tables.iter().map(|t| t.source.as_str()).collect::<Vec<_>>().join(", ");
    let mut joined = Dataset::from_matrix(source, x);
    joined.slot = tables[0].slot.clone();
    joined.obs = Table { names: obs, columns: common_columns(&tables, warnings) };
    joined.var = Table::named(names);
    joined.obsm = common_slots(&tables, warnings);
    joined.obsp = apart(&tables);
    if joined.obs.column(column).is_none() {
        let file = Column::Categorical { codes: from, categories: parts, ordered: false };
        joined.obs.columns.push((column.into(), file));
    }
    Ok(joined)
}

/// Names of files without their endings, or whole where two would be the same.
fn part_names(files: &[PathBuf]) -> Vec<String> {
    let stem = |f: &Path| {
        let name = f.file_name().unwrap_or(f.as_os_str()).to_string_lossy().into_owned();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        plain.rsplit_once('.').map_or(plain, |(stem, _)| stem).to_owned()
    };
    let stems: Vec<String> = files.iter().map(|f| stem(f)).collect();
    let whole = (1..stems.len()).any(|i| stems[..i].contains(&stems[i]));
    if whole { files.iter().map(|f| f.display().to_string()).collect() } else { stems }
}

/// Columns of obs that all tables have, one below the other.
fn common_columns(tables: &[Dataset], warnings: &mut Vec<String>) -> Vec<(String, Column)> {
    let mut out: Vec<(String, Column)> = Vec::new();
    let mut lost: Vec<&str> = Vec::new();
    for (name, _) in tables.iter().flat_map(|t| &t.obs.columns) {
        if out.iter().any(|(n, _)| n == name) || lost.contains(&name.as_str()) {
            continue;
        }
        let all: Option<Vec<&Column>> = tables.iter().map(|t| t.obs.column(name)).collect();
        match all.and_then(|all| one_below_the_other(&all)) {
            Some(column) => out.push((name.clone(), column)),
            None => lost.push(name),
        }
    }
    if !lost.is_empty() {
        warnings.push(format!(
            "Columns of obs that not every file has in the same form were left out: {}.",
            lost.join(", ")
        ));
    }
    out
}

/// Slots of obsm that all tables have in one width, one below the other.
fn common_slots(tables: &[Dataset], warnings: &mut Vec<String>) -> BTreeMap<String, Array2<f64>> {
    let mut out = BTreeMap::new();
    let mut lost: BTreeSet<&str> = BTreeSet::new();
    for name in tables.iter().flat_map(|t| t.obsm.keys()) {
        let all: Option<Vec<_>> = tables.iter().map(|t| Some(t.obsm.get(name)?.view())).collect();
        match all.and_then(|all| concatenate(Axis(0), &all).ok()) {
            Some(slot) => drop(out.insert(name.clone(), slot)),
            None => drop(lost.insert(name)),
        }
    }
    if !lost.is_empty() {
        warnings.push(format!(
            "Slots of obsm that not every file has in the same width were left out: {}.",
            lost.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    out
}

/// Graphs that all tables have, in which observations of two tables are not joined.
fn apart(tables: &[Dataset]) -> BTreeMap<String, Csr> {
    let n = tables.iter().map(|t| t.obs.len()).sum();
    let names = tables[0].obsp.keys().filter(|name| tables.iter().all(|t| t.obsp.contains_key(*name)));
    names
        .map(|name| {
            let (mut entries, mut offset) = (Vec::new(), 0);
            for table in tables {
                for i in 0..table.obs.len() {
                    let (ends, values) = table.obsp[name].row(i);
                    let row = (offset + i) as u32;
                    entries.extend(ends.iter().zip(values).map(|(&j, &v)| (row, offset as u32 + j, v)));
                }
                offset += table.obs.len();
            }
            (name.clone(), Csr::from_triplets((n, n), entries))
        })
        .collect()
}

/// Columns of one form as one; `None` where numbers and labels meet.
fn one_below_the_other(columns: &[&Column]) -> Option<Column> {
    let floats = columns.iter().map(|c| if let Column::Float(v) = c { Some(&v[..]) } else { None });
    if let Some(all) = floats.collect::<Option<Vec<_>>>() {
        return Some(Column::Float(all.concat()));
    }
    let whole = columns.iter().map(|c| if let Column::Int(v) = c { Some(&v[..]) } else { None });
    if let Some(all) = whole.collect::<Option<Vec<_>>>() {
        return Some(Column::Int(all.concat()));
    }
    let texts = columns.iter().map(|c| c.texts()).collect::<Option<Vec<_>>>()?.concat();
    // In the order of their first use.
    let (mut categories, mut at): (Vec<String>, BTreeMap<&String, u32>) = (Vec::new(), BTreeMap::new());
    for label in texts.iter().flatten() {
        at.entry(label).or_insert_with(|| {
            categories.push(label.clone());
            categories.len() as u32 - 1
        });
    }
    let codes = texts.iter().map(|label| at.get(label.as_ref()?).copied()).collect();
    Some(Column::Categorical { codes, categories, ordered: false })
}
