//! Tables with known clusters: folders with `X.mtx` or `X.mtx.gz` beside `row_labels.txt` (and `col_labels.txt`), and expression
//! (`.h5ad` with counts and a categorical column of observations). Without any, tables are drawn.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use unbraid::Seed;
use unbraid::data::{Column, Csr, Dataset, Matrix, Selection, Values};
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::prepare::{Empty, Prepare, Transform};
use unbraid::simulate::blocks::{BlocksDesign, exchanged};
use unbraid_io::ReadOptions;

use crate::fault::Fault;
use crate::reproduce::folders::{self, is_h5ad, is_table, matrix_of, unreadable};

/// A file or folder with a table.
#[derive(Clone, Debug)]
pub struct Source {
    /// The stem, or the folder's name.
    pub name: String,
    path: PathBuf,
    sha256: String,
}

/// What the folders hold.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Folders of a matrix.
    pub tables: Vec<Source>,
    /// Expression.
    pub cells: Vec<Source>,
}

/// A table with known clusters of its rows.
#[derive(Clone)]
pub struct Set {
    /// In tables and file names.
    pub name: String,
    /// Identifies the values.
    pub identity: Value,
    /// The table, without lines of zeros.
    pub x: Matrix,
    /// Class of each row.
    pub rows: Vec<usize>,
    /// Class of each column, where it is known.
    pub cols: Option<Vec<usize>>,
    /// Clusters asked for: the classes that there are.
    pub shape: (usize, usize),
}

impl Sources {
    /// Looks through the folders; a path may also be one of what they hold.
    ///
    /// # Errors
    /// A path that cannot be read.
    pub fn find(paths: &[PathBuf]) -> Result<Sources, Fault> {
        let mut out = Sources::default();
        for path in folders::find(paths, &|path| is_h5ad(path) || is_table(path))? {
            let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            match matrix_of(&path) {
                Some(matrix) => {
                    let files = [matrix, path.join("row_labels.txt"), path.join("col_labels.txt")];
                    let hashes: Vec<String> = files
                        .iter()
                        .filter(|f| f.is_file())
                        .map(|f| unbraid_io::input_sha256(f))
                        .collect::<Result<_, _>>()?;
                    out.tables.push(Source { name, path, sha256: hashes.join("+") });
                }
                None => out.cells.push(Source { name, sha256: unbraid_io::input_sha256(&path)?, path }),
            }
        }
        Ok(out)
    }

    /// Identifies what is read.
    pub fn fingerprint(&self) -> Value {
        self.tables.iter().chain(&self.cells).map(|s| json!([s.name, s.sha256])).collect()
    }

    /// The tables; drawn ones where there are none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn sets(&self, seed: Seed, side: usize) -> Result<Vec<Set>, Fault> {
        if self.tables.is_empty() {
            return drawn(seed, side);
        }
        self.tables.iter().map(Source::table).collect()
    }
}

/// Two drawn tables: counts of Poisson, and counts of more than that.
fn drawn(seed: Seed, side: usize) -> Result<Vec<Set>, Fault> {
    let base = BlocksDesign { observations: side, features: side * 2 / 3, ..BlocksDesign::default() };
    let over = BlocksDesign { contrast: 0.45, mean: 0.5, dispersion: 0.8, ..base.clone() };
    let draw = |(name, design): (&str, BlocksDesign)| -> Result<Set, Fault> {
        let s = design.sample(seed)?;
        let shape = (design.rows, design.cols);
        let identity = json!({"design": design, "seed": seed, "version": env!("CARGO_PKG_VERSION")});
        Ok(Set {
            name: name.into(),
            identity,
            x: Matrix::Sparse(s.x),
            rows: s.rows,
            cols: Some(s.cols),
            shape,
        })
    };
    [("drawn_p", base), ("drawn_o", over)].into_iter().map(draw).collect()
}

/// The number of each line of a file of labels, one for each of `lines`.
fn codes(path: &Path, lines: usize) -> Result<(Vec<usize>, usize), Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    let found: Vec<Option<String>> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| Some(l.to_owned())).collect();
    if found.len() != lines {
        let (what, found) = (format!("{}: labels", path.display()), vec![found.len()]);
        return Err(unbraid::Error::Shape { what, found, rule: "one line for each line of X" }.into());
    }
    let (codes, names) = Column::Text(found).labels().unwrap_or_default();
    Ok((codes, names.len()))
}

/// The table without its lines of zeros, and which lines stay.
fn filled(x: &Matrix) -> (Matrix, Vec<usize>, Vec<usize>) {
    let (n, m) = x.shape();
    let (mut rows, mut cols) = (vec![false; n], vec![false; m]);
    x.for_each_nonzero(|i, j, _| (rows[i], cols[j]) = (true, true));
    let at = |seen: Vec<bool>| (0..seen.len()).filter(|&i| seen[i]).collect::<Vec<_>>();
    let (rows, cols) = (at(rows), at(cols));
    (Matrix::Sparse(x.rows(&rows).columns(&cols).to_csr()), rows, cols)
}

fn chosen(all: &[usize], at: &[usize]) -> Vec<usize> {
    at.iter().map(|&i| all[i]).collect()
}

impl Source {
    fn table(&self) -> Result<Set, Fault> {
        let matrix = matrix_of(&self.path).ok_or_else(|| unreadable(&self.path, &"no X.mtx"))?;
        let whole = unbraid_io::read(&matrix, &ReadOptions::default())?.x;
        let (rows, g) = codes(&self.path.join("row_labels.txt"), whole.shape().0)?;
        let of_cols = self.path.join("col_labels.txt");
        let cols = if of_cols.is_file() { Some(codes(&of_cols, whole.shape().1)?) } else { None };
        let h = cols.as_ref().map_or(g, |c| c.1);
        let (x, r, c) = filled(&whole);
        let cols = cols.map(|(all, _)| chosen(&all, &c));
        let (name, identity) = (self.name.clone(), json!(self.sha256));
        Ok(Set { name, identity, rows: chosen(&rows, &r), cols, shape: (g.min(r.len()), h.min(c.len())), x })
    }

    /// Counts of the most variable genes with `clusters` clusters of them, and logarithms of all genes; the reason where a file
    /// cannot serve.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn expression(&self, genes: usize, clusters: usize) -> Result<Result<(Set, Dataset), String>, Fault> {
        let data = unbraid_io::read(&self.path, &ReadOptions::default())?;
        let mut odd = false;
        data.x.for_each_nonzero(|_, _, v| odd |= !(v >= 0.0 && v.fract() == 0.0));
        if odd {
            return Ok(Err("its values are no counts".into()));
        }
        let n = data.shape().0;
        let found = data.obs.columns.iter().filter(|c| matches!(c.1, Column::Categorical { .. }));
        let found = found.filter_map(|(name, c)| c.labels().map(|l| (name, l)));
        let mut found: Vec<_> = found.filter(|(_, (_, classes))| (2..n).contains(&classes.len())).collect();
        found.sort_by_key(|(name, _)| *name != "cell_type");
        let Some((_, (labels, classes))) = found.into_iter().next() else {
            return Ok(Err("it has no categorical column of observations with two classes or more".into()));
        };
        let genes = if data.shape().1 > genes { Genes::Variable(genes) } else { Genes::All };
        let prepare = Prepare { genes, empty: Empty::Drop, ..Prepare::default() };
        let (counts, _) = prepare.apply(&data, &mut Vec::new())?;
        let logs = Prepare { transform: Transform::Lognorm, empty: Empty::Drop, ..Prepare::default() };
        let (logs, _) = logs.apply(&data, &mut Vec::new())?;
        if counts.shape().0 != n || logs.shape().0 != n {
            return Ok(Err("it has observations without any count".into()));
        }
        let shape = (classes.len(), clusters.min(counts.shape().1));
        let (x, rows, _) = filled(&counts.x);
        let identity = json!([self.sha256, prepare, clusters]);
        let set =
            Set { name: self.name.clone(), identity, x, rows: chosen(&labels, &rows), cols: None, shape };
        let logs = logs.select(&Selection { obs: Some(rows), var: None });
        Ok(Ok((set, logs)))
    }
}

impl Set {
    /// What methods read.
    pub fn values(&self) -> Values<'_> {
        Values { what: "X", matrix: &self.x }
    }

    /// Whether some value is below 0.
    pub fn signed(&self) -> bool {
        let mut below = false;
        self.x.for_each_nonzero(|_, _, v| below |= v < 0.0);
        below
    }

    /// The table less its smallest value.
    pub fn lifted(&self) -> Set {
        let dense = self.x.to_dense();
        let least = dense.iter().fold(0.0, |a: f64, v| a.min(*v));
        Set { x: Matrix::Sparse(Csr::from_dense(dense.mapv(|v| v - least).view())), ..self.clone() }
    }

    /// A copy in which each entry is replaced with chance `share`: the entries that are chosen exchange their values at random.
    pub fn corrupted(&self, share: f64, seed: Seed) -> Set {
        let (x, r, c) = filled(&Matrix::Dense(exchanged(self.x.to_dense(), share, seed)));
        let rows = chosen(&self.rows, &r);
        let cols = self.cols.as_ref().map(|all| chosen(all, &c));
        let identity = json!([self.identity, "corrupted", share, seed]);
        Set { x, rows, cols, identity, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_keeps_the_values_and_changes_no_more_than_its_share() {
        let set = &drawn(Seed(1), 60).unwrap()[0];
        assert_eq!(set.x.shape(), (60, 40));
        let new = set.corrupted(0.3, Seed(2));
        let sum = |x: &Matrix| x.to_dense().sum();
        assert_eq!(sum(&new.x), sum(&set.x));
        if new.x.shape() == set.x.shape() {
            let changed = (&new.x.to_dense() - &set.x.to_dense()).iter().filter(|v| **v != 0.0).count();
            assert!(changed > 100 && changed < 840, "{changed}");
        }
        assert_eq!(set.corrupted(0.0, Seed(2)).x.to_dense(), set.x.to_dense());
    }
}
