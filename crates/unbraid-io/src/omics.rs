//! A folder of one cohort's tables, as the multi-omics benchmarks of cancer data lay it out.
//!
//! | file | content |
//! |---|---|
//! | `exp`, `methy`, `mirna` | a matrix each: features in rows, a header of patient names, cells set apart by spaces or tabs |
//! | `survival` | a tab-separated table with the columns PatientID, Survival and Death |
//!
//! Any of the matrices may be absent, but not all; each file may be gzipped. Matrices are written as R's
//! `write.table` does it: names may be in double quotes, and the header may be one shorter than the lines
//! below. R puts dots for the dashes of a name and some files are in lower case, so names are compared in
//! upper case with dashes for `.` and `_`. A name of a TCGA sample (`TCGA-02-0001-01`) is also found by the
//! patient's (`TCGA-02-0001`), which is what tables of survival hold.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use ndarray::Array2;
use unbraid::data::{Column, Dataset, Matrix, Selection, Table};

use crate::columns::{read_columns, spread};
use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::table::{clip, missing, repeated};
use crate::text::Lines;

/// Files with a matrix, in the order of the tables.
const TABLES: [&str; 3] = ["exp", "methy", "mirna"];
/// The file of survival times.
const SURVIVAL: &str = "survival";
/// Length of the patient's part of a TCGA sample name.
const PATIENT: usize = 12;

/// The tables of one folder, which hold the same patients in the same order.
#[derive(Clone, Debug)]
pub struct Omics {
    /// One table for each file; observations are patients. All of them have the survival columns.
    pub tables: Vec<Dataset>,
    /// The file of each table.
    pub files: Vec<PathBuf>,
    /// The file of survival times, where there is one.
    pub survival: Option<PathBuf>,
    /// Who was left out, and whose survival is not known; whole sentences.
    pub warnings: Vec<String>,
}

/// Whether `path` is a folder with at least one of the matrices.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir() && TABLES.iter().any(|stem| find(path, stem).is_some())
}

fn find(folder: &Path, stem: &str) -> Option<PathBuf> {
    [stem.to_owned(), format!("{stem}.gz")].into_iter().map(|n| folder.join(n)).find(|p| p.is_file())
}

/// Reads a folder. Patients that are not in every matrix are left out; those that stay are in the order of
/// the first matrix, by its names. `max_bytes` limits each matrix.
///
/// # Errors
/// [`Error::Input`] with the file and line when a file is damaged, there is no matrix, or the matrices have
/// no patient in common.
pub fn read(folder: &Path, max_bytes: Option<u64>) -> Result<Omics> {
    let files: Vec<PathBuf> = TABLES.iter().filter_map(|stem| find(folder, stem)).collect();
    if files.is_empty() {
        return Err(Error::input(
            &folder.display().to_string(),
            "the folder",
            "no matrix",
            format!("a folder of several tables holds {}", TABLES.join(", ")),
            "name the folder that holds these files",
        ));
    }
    let tables = files.iter().map(|f| matrix(f, max_bytes)).collect::<Result<Vec<_>>>()?;
    let mut warnings = Vec::new();
    let mut tables = common(tables, &folder.display().to_string(), &mut warnings)?;
    let survival = find(folder, SURVIVAL);
    if let Some(path) = &survival {
        let columns = survival_of(path, &tables[0].obs.names, max_bytes, &mut warnings)?;
        tables.iter_mut().for_each(|t| t.obs.columns.clone_from(&columns));
    }
    Ok(Omics { tables, files, survival, warnings })
}

/// A name as it is compared: upper case, dashes for dots and underscores.
fn canonical(name: &str) -> String {
    name.trim().to_uppercase().replace(['.', '_'], "-")
}

/// The patient of a TCGA sample, `None` for any other name.
fn patient(canonical: &str) -> Option<&str> {
    canonical.starts_with("TCGA-").then(|| canonical.get(..PATIENT)).flatten()
}

/// The words of a line; what stands in double quotes is one word.
fn words(line: &str) -> Option<Vec<&str>> {
    let (mut out, mut rest) = (Vec::new(), line.trim_start());
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        out.push(word);
        rest = after.trim_start();
    }
    Some(out)
}

/// One matrix, turned so that rows are patients.
fn matrix(path: &Path, max_bytes: Option<u64>) -> Result<Dataset> {
    let name = path.display().to_string();
    let len = std::fs::metadata(path).map_err(|e| Error::unreadable(&name, &e))?.len();
    let budget = Budget::new(max_bytes, len);
    let mut lines = Lines::open(path, &name, &budget)?;
    const AGAIN: &str = "write the matrix again with R's write.table";
    let split = |lines: &Lines, line: &str| match words(line) {
        Some(words) => Ok(words.into_iter().map(str::to_owned).collect::<Vec<_>>()),
        None => Err(lines.bad("a quote without its end", "names in quotes end with a quote", AGAIN)),
    };
    let header = lines.next()?.unwrap_or_default().to_owned();
    let mut patients = split(&lines, &header)?;
    let (mut features, mut values): (Vec<String>, Vec<f64>) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let line = line.to_owned();
        let words = split(&lines, &line)?;
        // The header of the first kind has a name above the features.
        if features.is_empty() && patients.len() == words.len() && !patients.is_empty() {
            patients.remove(0);
        }
        if words.len() != patients.len() + 1 {
            let rule = format!("the header names {} patients", patients.len());
            return Err(lines.bad(format!("a name and {} values", words.len() - 1), rule, AGAIN));
        }
        for (at, word) in words.iter().enumerate().skip(1) {
            match word.parse::<f64>() {
                Ok(v) => values.push(v),
                Err(_) if missing(word) => values.push(f64::NAN),
                Err(_) => {
                    let found = format!("{:?} for the patient {:?}", clip(word), clip(&patients[at - 1]));
                    return Err(lines.bad(found, "it must be a number", "correct the entry"));
                }
            }
        }
        features.extend(words.into_iter().next());
        if values.len() as u64 * 16 > budget.allowed {
            // The matrix and its transpose are in memory at the same time.
            budget.check(&name, "the matrix", Some(0), Some(values.len() as u64 * 16))?;
        }
    }
    if features.is_empty() || patients.is_empty() {
        let rule = "a matrix has a header of patients and a line for each feature";
        return Err(Error::input(&name, "the file", "no numbers", rule, "check the file"));
    }
    if let Some((_, second)) = repeated(&features) {
        let found = format!("the feature {:?} twice", clip(&features[second]));
        return Err(Error::input(&name, "the file", found, "names must be unique", "rename one of them"));
    }
    let compared: Vec<String> = patients.iter().map(|p| canonical(p)).collect();
    if let Some((first, second)) = repeated(&compared) {
        let found = format!("the patients {:?} and {:?}", clip(&patients[first]), clip(&patients[second]));
        let rule = "names must differ in more than case, `.`, `-` and `_`";
        return Err(Error::input(&name, "line 1", found, rule, "keep one of the two"));
    }
    let shape = (features.len(), patients.len());
    let x = Array2::from_shape_vec(shape, values).expect("every line has a value for each patient");
    let mut data = Dataset::from_matrix(name, Matrix::Dense(x).transpose());
    data.obs = Table::named(patients);
    data.var = Table::named(features);
    Ok(data)
}

/// The tables with the patients that are in each, in the order and by the names of the first.
fn common(tables: Vec<Dataset>, folder: &str, warnings: &mut Vec<String>) -> Result<Vec<Dataset>> {
    let places: Vec<HashMap<String, usize>> = tables
        .iter()
        .map(|t| t.obs.names.iter().enumerate().map(|(i, n)| (canonical(n), i)).collect())
        .collect();
    let shared: Vec<String> = tables[0]
        .obs
        .names
        .iter()
        .map(|n| canonical(n))
        .filter(|n| places.iter().all(|p| p.contains_key(n)))
        .collect();
    if shared.is_empty() {
        let seen: Vec<String> =
            tables.iter().map(|t| format!("{:?} in {}", clip(&t.obs.names[0]), t.source)).collect();
        return Err(Error::input(
            folder,
            "the patients",
            format!("no patient that every matrix holds ({})", seen.join(", ")),
            "the matrices are joined on the patients common to all",
            "name the patients alike in all files",
        ));
    }
    let out: Vec<Dataset> = tables
        .iter()
        .zip(&places)
        .map(|(table, places)| {
            let all = table.obs.len();
            if all > shared.len() {
                let gone = all - shared.len();
                warnings.push(format!(
                    "{}: {gone} of {all} patients are not in every table and were left out.",
                    table.source
                ));
            }
            let obs = Some(shared.iter().map(|n| places[n]).collect());
            table.select(&Selection { obs, var: None })
        })
        .collect();
    let names = out[0].obs.names.clone();
    Ok(out.into_iter().map(|t| Dataset { obs: Table::named(names.clone()), ..t }).collect())
}

/// The columns Survival and Death, and any further ones, of the given patients.
fn survival_of(
    path: &Path,
    patients: &[String],
    max_bytes: Option<u64>,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, Column)>> {
    let name = path.display().to_string();
    let table = read_columns(path, max_bytes)?;
    for wanted in ["Survival", "Death"] {
        match table.columns.iter().find(|(title, _)| title.eq_ignore_ascii_case(wanted)) {
            Some((_, Column::Int(_) | Column::Float(_))) => {}
            found => {
                let what = found.map_or_else(|| "no such column".to_owned(), |_| "texts".to_owned());
                return Err(Error::input(
                    &name,
                    format!("the column {wanted:?}"),
                    what,
                    "the table has the columns PatientID, Survival and Death, the last two numbers",
                    "write a missing number as NA, and set the columns apart by tabs",
                ));
            }
        }
    }
    let keys: Vec<String> = table.names.iter().map(|n| canonical(n)).collect();
    if let Some((first, second)) = repeated(&keys) {
        let found = format!("{:?} and {:?}", clip(&table.names[first]), clip(&table.names[second]));
        let rule = "names must differ in more than case, `.`, `-` and `_`";
        return Err(Error::input(&name, "PatientID", found, rule, "keep one of the two"));
    }
    let row: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    // The table may name the samples, and the matrices the patients; several samples of one decide nothing.
    let (mut of_patient, mut several) = (HashMap::new(), HashSet::new());
    for (i, p) in keys.iter().enumerate().filter_map(|(i, n)| Some((i, patient(n)?))) {
        if of_patient.insert(p, i).is_some() {
            several.insert(p);
        }
    }
    let at: Vec<Option<usize>> = patients
        .iter()
        .map(|n| {
            let n = canonical(n);
            let by_patient =
                || patient(&n).filter(|p| !several.contains(p)).and_then(|p| of_patient.get(p)).copied();
            row.get(n.as_str()).copied().or_else(by_patient)
        })
        .collect();
    let without = at.iter().filter(|at| at.is_none()).count();
    if without == patients.len() {
        return Err(Error::input(
            &name,
            "PatientID",
            format!("names as {:?}", clip(&table.names[0])),
            format!("none of them is a patient of the matrices, as {:?}", clip(&patients[0])),
            "name the patients as in the matrices",
        ));
    }
    if without > 0 {
        warnings
            .push(format!("{name}: {without} of {} patients have no row; it is missing.", patients.len()));
    }
    Ok(table.columns.into_iter().map(|(title, c)| (title, spread(&c, &at))).collect())
}
