//! Labelled data under the folders given: `.h5ad` files with a categorical column of observations, and
//! folders with `X.mtx` or `X.mtx.gz` beside `row_labels.txt`.
//!
//! Which column holds the labels: the one named by `--label FILE.h5ad=COLUMN`; else the only categorical
//! column with two classes or more (and fewer classes than rows); of several `cell_type`, else the first
//! whose name contains `label`, else the first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use unbraid::data::{Column, Dataset, Table};
use unbraid_io::ReadOptions;

use super::output;
use crate::fault::Fault;
use crate::picture::Label;
use crate::reproduce::folders::{find, is_h5ad, is_table, matrix_of, unreadable};

/// A file or folder that may hold labelled data.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name tables and pages use: the file's stem or the folder's name.
    pub name: String,
    /// The `.h5ad` file or the folder.
    path: PathBuf,
    /// The column asked for.
    column: Option<String>,
    /// SHA-256 of what is read.
    pub sha256: String,
}

/// A data set with the label of each observation.
pub struct Labelled {
    /// As [`Source::name`].
    pub name: String,
    /// The values.
    pub data: Dataset,
    /// Name of the labels.
    pub column: String,
    /// An index into `classes` for each observation.
    pub labels: Vec<usize>,
    /// The classes in the order of the file.
    pub classes: Vec<String>,
}

/// What the folders hold.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In the order of their paths.
    pub sets: Vec<Source>,
    /// Published results of the 30 sets of the paper, with its SHA-256.
    pub published: Option<(PathBuf, String)>,
    /// The authors' learnt graphs of cells and genes, with their SHA-256.
    pub graphs: Vec<(PathBuf, String)>,
    /// Files of gene sets, with their SHA-256.
    pub gene_sets: Vec<(PathBuf, String)>,
}

impl Sources {
    /// Looks through the folders; a path may also be one file or one folder of a matrix.
    ///
    /// # Errors
    /// A path that cannot be read, a wish for a column that no file takes up.
    pub fn find(paths: &[PathBuf], labels: &[String]) -> Result<Sources, Fault> {
        let mut wishes = Vec::new();
        for text in labels {
            match text.split_once('=') {
                Some((file, column)) if !file.is_empty() && !column.is_empty() => {
                    wishes.push((file, column, false))
                }
                _ => return Err(Fault::Usage(format!("`--label {text}` must be FILE.h5ad=COLUMN"))),
            }
        }
        let mut out = Sources::default();
        for path in find(paths, &wanted)? {
            let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if file.ends_with(".h5ad") || path.is_dir() {
                let wish = wishes.iter_mut().find(|w| w.0 == file);
                let column = wish.map(|w| {
                    w.2 = true;
                    w.1.to_owned()
                });
                let name = file.strip_suffix(".h5ad").unwrap_or(&file).to_owned();
                out.sets.push(Source { name, sha256: hash(&path)?, path, column });
            } else if file.ends_with(".graphml") {
                out.graphs.push((path.clone(), unbraid_io::input_sha256(&path)?));
            } else if is_gene_sets(&file) {
                out.gene_sets.push((path.clone(), unbraid_io::input_sha256(&path)?));
            } else {
                out.published = Some((path.clone(), unbraid_io::input_sha256(&path)?));
            }
        }
        if let Some((file, column, _)) = wishes.iter().find(|w| !w.2) {
            return Err(Fault::Usage(format!("`--label {file}={column}`: there is no {file} under --data")));
        }
        Ok(out)
    }

    /// All that identifies what would be read.
    pub fn fingerprint(&self) -> Value {
        let sets: Vec<Value> = self.sets.iter().map(|s| json!([s.name, s.column, s.sha256])).collect();
        let hashes = |files: &[(PathBuf, String)]| files.iter().map(|f| f.1.clone()).collect::<Vec<_>>();
        json!({
            "sets": sets,
            "published": self.published.as_ref().map(|p| &p.1),
            "graphs": hashes(&self.graphs),
            "gene_sets": hashes(&self.gene_sets),
        })
    }
}

/// Hash of a file, or of the two files of a folder.
fn hash(path: &Path) -> Result<String, Fault> {
    match path.is_dir() {
        true => {
            let matrix = matrix_of(path).ok_or_else(|| unreadable(path, &"no X.mtx"))?;
            Ok(format!(
                "{}+{}",
                unbraid_io::input_sha256(&matrix)?,
                unbraid_io::input_sha256(&path.join("row_labels.txt"))?
            ))
        }
        false => Ok(unbraid_io::input_sha256(path)?),
    }
}

fn is_gene_sets(name: &str) -> bool {
    name.ends_with(".gmt") || name.ends_with(".gmt.gz")
}

/// Whether a path is of use here.
fn wanted(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let published = name.starts_with("medmagma_published_results") && name.ends_with(".csv");
    let graph = ["median_cell_graph.graphml", "median_gene_graph.graphml"].contains(&name.as_str());
    is_table(path) || is_h5ad(path) || path.is_file() && (published || graph || is_gene_sets(&name))
}

impl Source {
    /// Reads it; the reason where it cannot serve: no labels, values below 0, fewer than 8 observations.
    ///
    /// # Errors
    /// A file that cannot be read, a column asked for that is not there.
    pub fn load(&self) -> Result<Result<Labelled, String>, Fault> {
        let (data, label) = match self.path.is_dir() {
            true => self.folder()?,
            false => {
                let data = unbraid_io::read(&self.path, &ReadOptions::default())?;
                let label = self.choose(&data.obs)?;
                (data, label)
            }
        };
        let Some((column, labels, classes)) = label else {
            return Ok(Err("it has no categorical column of observations with two classes or more".into()));
        };
        let (n, m) = data.shape();
        if n < 8 || m < 8 {
            return Ok(Err(format!("{n} × {m} is too small for networks")));
        }
        let mut low = 0.0f64;
        data.x.for_each_nonzero(|_, _, v| low = low.min(v));
        if low < 0.0 {
            return Ok(Err(
                "it holds values below 0, and the methods start from counts, rates or their logarithms"
                    .into(),
            ));
        }
        Ok(Ok(Labelled { name: self.name.clone(), data, column, labels, classes }))
    }

    fn choose(&self, obs: &Table) -> Result<Option<Label>, Fault> {
        let coded = |name: &str, column: &Column| {
            let (labels, classes) = match column {
                Column::Categorical { codes, categories, .. } if codes.iter().all(Option::is_some) => {
                    (codes.iter().flatten().map(|&c| c as usize).collect(), categories.clone())
                }
                other => other.labels()?,
            };
            let used: BTreeSet<usize> = labels.iter().copied().collect();
            (used.len() >= 2 && used.len() < labels.len()).then(|| (name.to_owned(), labels, classes))
        };
        if let Some(name) = &self.column {
            let file = self.path.display();
            let column = obs.column(name).ok_or_else(|| unbraid::Error::Missing {
                what: format!("{file}: obs column `{name}`"),
                hint: format!(
                    "columns are {}",
                    obs.columns.iter().map(|c| c.0.as_str()).collect::<Vec<_>>().join(", ")
                ),
            })?;
            return match coded(name, column) {
                Some(found) => Ok(Some(found)),
                None => Err(unbraid::Error::Missing {
                    what: format!("{file}: labels in obs column `{name}`"),
                    hint: "it needs text or categories, two classes or more, and fewer classes than rows"
                        .into(),
                }
                .into()),
            };
        }
        let categorical = obs.columns.iter().filter(|c| matches!(c.1, Column::Categorical { .. }));
        let mut found: Vec<_> = categorical.filter_map(|(name, column)| coded(name, column)).collect();
        let wanted = found.iter().position(|f| f.0 == "cell_type");
        let named = found.iter().position(|f| f.0.contains("label"));
        let at = wanted.or(named).unwrap_or(0);
        Ok((at < found.len()).then(|| found.swap_remove(at)))
    }

    fn folder(&self) -> Result<(Dataset, Option<Label>), Fault> {
        let matrix = matrix_of(&self.path).ok_or_else(|| unreadable(&self.path, &"no X.mtx"))?;
        let mut data = unbraid_io::read(&matrix, &ReadOptions::default())?;
        data.source = self.name.clone();
        let at = self.path.join("row_labels.txt");
        let text = std::fs::read_to_string(&at).map_err(|e| unreadable(&at, &e))?;
        let lines: Vec<Option<String>> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| Some(l.to_owned())).collect();
        let n = data.shape().0;
        if lines.len() != n {
            let what = format!("{}: labels", at.display());
            return Err(unbraid::Error::Shape {
                what,
                found: vec![lines.len()],
                rule: "one line per row of X",
            }
            .into());
        }
        let label = Column::Text(lines).labels();
        let label = label.filter(|(_, classes)| (2..n).contains(&classes.len()));
        Ok((data, label.map(|(labels, classes)| ("row_labels.txt".to_owned(), labels, classes))))
    }
}

/// One published result: method, data set, numeric assortativity, balanced AMI, balanced ARI.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// As the file has it: `EM`, `GmGM`, `GmGM+nonpara`, `Basic`.
    pub method: String,
    /// Accession.
    pub dataset: String,
    /// Numeric assortativity, the largest over k.
    pub assortativity: f64,
    /// Balanced AMI, the largest over k and resolutions.
    pub ami: f64,
}

/// Reads the published results.
///
/// # Errors
/// A file without the columns, or a number that is none.
pub fn published(path: &Path) -> Result<Vec<Published>, Fault> {
    let bad = |why: String| -> Fault {
        unbraid::Error::Missing {
            what: format!("{}: {why}", path.display()),
            hint: "take the file as published".into(),
        }
        .into()
    };
    let mut reader = csv::Reader::from_path(path).map_err(|e| output(path, &e))?;
    let head = reader.headers().map_err(|e| bad(e.to_string()))?.clone();
    let at = |name: &str| head.iter().position(|h| h == name).ok_or_else(|| bad(format!("column `{name}`")));
    let (data, assortativity, ami) = (at("dataset_name")?, at("assortativity")?, at("ami")?);
    let mut out = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad(e.to_string()))?;
        let text = |c: usize| record.get(c).unwrap_or_default();
        // Undefined values are empty in the file.
        let number = |c: usize| match text(c) {
            "" => Ok(f64::NAN),
            t => t.parse::<f64>().map_err(|_| bad(format!("a number instead of `{t}`"))),
        };
        out.push(Published {
            method: text(0).to_owned(),
            dataset: text(data).to_owned(),
            assortativity: number(assortativity)?,
            ami: number(ami)?,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(column: Option<&str>) -> Source {
        let column = column.map(str::to_owned);
        Source { name: "s".into(), path: "s.h5ad".into(), column, sha256: String::new() }
    }

    fn classes(names: &[&str], codes: &[u32]) -> Column {
        Column::Categorical {
            codes: codes.iter().map(|&c| Some(c)).collect(),
            categories: names.iter().map(|n| n.to_string()).collect(),
            ordered: false,
        }
    }

    fn table(columns: &[(&str, Column)]) -> Table {
        let mut t = Table::numbered("cell", 4);
        t.columns = columns.iter().map(|(n, c)| (n.to_string(), c.clone())).collect();
        t
    }

    #[test]
    fn the_rule_for_the_column_is_the_documented_one() {
        let two = classes(&["a", "b"], &[0, 1, 0, 1]);
        let one = classes(&["a"], &[0; 4]);
        let all = classes(&["a", "b", "c", "d"], &[0, 1, 2, 3]);
        let chosen = |columns: &[(&str, Column)], wish| {
            source(wish).choose(&table(columns)).map(|c| c.map(|c| c.0)).map_err(|e| e.to_string())
        };
        let of = |names: &[&'static str]| names.iter().map(|&n| (n, two.clone())).collect::<Vec<_>>();
        let numbers = ("day", Column::Int(vec![Some(1), Some(2), Some(1), Some(2)]));
        assert_eq!(
            chosen(&[("batch", one), ("id", all), ("x", two.clone()), numbers.clone()], None),
            Ok(Some("x".into()))
        );
        assert_eq!(chosen(&of(&["study", "my_labels", "cell_type"]), None), Ok(Some("cell_type".into())));
        assert_eq!(chosen(&of(&["study", "my_labels"]), None), Ok(Some("my_labels".into())));
        assert_eq!(chosen(&of(&["time", "genotype"]), None), Ok(Some("time".into())));
        let numbers = [numbers];
        assert_eq!(chosen(&numbers, None), Ok(None));
        assert_eq!(chosen(&numbers, Some("day")), Ok(Some("day".into())));
        assert!(chosen(&of(&["a"]), Some("b")).unwrap_err().contains("columns are a"));
    }

    #[test]
    fn published_results_are_read_and_damaged_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        std::fs::write(&path, ",assortativity,ami,dataset_name\nEM,0.5,,E-1\n").unwrap();
        let found = published(&path).unwrap();
        assert_eq!((found.len(), found[0].method.as_str(), found[0].assortativity), (1, "EM", 0.5));
        assert!(found[0].ami.is_nan());
        std::fs::write(&path, ",assortativity,dataset_name\nEM,0.5,E-1\n").unwrap();
        assert!(published(&path).unwrap_err().to_string().contains("column `ami`"));
        std::fs::write(&path, ",assortativity,ami,dataset_name\nEM,x,1,E-1\n").unwrap();
        assert!(published(&path).unwrap_err().to_string().contains("`x`"));
    }
}
