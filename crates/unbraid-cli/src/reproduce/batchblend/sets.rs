//! Slices to fit: simulated sets, drawn here or found as `msrt_seed*.h5ad`, and labelled slices of tissue.
//!
//! Slices are `.h5ad` files with coordinates in `obsm["spatial"]`: labelled ones with `obs["batch"]` of two levels or more and labels in
//! `obs["cell_type"]` or `obs["domain"]`, a section with such labels and no batch or one, and batches without labels. Cells labelled
//! `undetermined` or `Excluded` are fitted and not scored.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::{Value, json};
use unbraid::Seed;
use unbraid::data::{Annotations, Column, Dataset, Selection, Slot, Values};
use unbraid::methods::spatial::slices::Slices;
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::prepare::{Empty, Prepare, Transform};
use unbraid::simulate::msrt::MsrtDesign;
use unbraid_io::ReadOptions;

use crate::fault::Fault;
use crate::methods::studies::{Asked, Levels, levels};
use crate::reproduce::folders;

/// Labels of cells of which nobody knows what they are.
const UNKNOWN: [&str; 2] = ["undetermined", "Excluded"];
/// More slices than these are also fitted in part.
const MANY: usize = 4;
/// Slices of that part.
const FEW: usize = 3;

/// A file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The stem.
    pub name: String,
    pub path: PathBuf,
    pub sha256: String,
}

/// What the folders hold.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Simulated sets, by name.
    pub simulated: Vec<Source>,
    /// Labelled slices, by path.
    pub slices: Vec<Source>,
    /// Labelled sections of one batch.
    pub sections: Vec<Source>,
    /// Batches without labels.
    pub unlabelled: Vec<Source>,
}

impl Sources {
    /// Looks through the folders; a path may also be a file.
    ///
    /// # Errors
    /// A path that cannot be read.
    pub fn find(paths: &[PathBuf]) -> Result<Sources, Fault> {
        let mut out = Sources::default();
        for path in folders::find(paths, &folders::is_h5ad)? {
            let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let source = Source { sha256: unbraid_io::input_sha256(&path)?, name, path };
            if source.name.starts_with("msrt_seed") {
                out.simulated.push(source);
                continue;
            }
            match kind(&source.path)? {
                (true, true) => out.slices.push(source),
                (false, true) => out.sections.push(source),
                (true, false) => out.unlabelled.push(source),
                (false, false) => {}
            }
        }
        Ok(out)
    }

    /// Identifies the simulated sets.
    pub fn simulated_fingerprint(&self) -> Value {
        self.simulated.iter().map(|s| json!([s.name, s.sha256])).collect()
    }

    /// Identifies the slices of tissue.
    pub fn slices_fingerprint(&self) -> Value {
        self.slices.iter().chain(&self.sections).map(|s| json!([s.name, s.sha256])).collect()
    }

    /// Identifies sections and batches without labels.
    pub fn patterns_fingerprint(&self) -> Value {
        self.sections.iter().chain(&self.unlabelled).map(|s| json!([s.name, s.sha256])).collect()
    }
}

/// Whether slices have several batches, and labels.
fn kind(path: &Path) -> Result<(bool, bool), Fault> {
    let data = unbraid_io::read(path, &ReadOptions::default())?;
    if !data.obsm.contains_key("spatial") {
        return Ok((false, false));
    }
    let several = levels(&data, "batch", Asked::Slices).is_ok_and(|l| l.names.len() > 1);
    Ok((several, label(&data).is_some()))
}

fn label(data: &Dataset) -> Option<&'static str> {
    ["cell_type", "domain"].into_iter().find(|name| data.obs.column(name).is_some())
}

/// Slices with labels.
pub struct Set {
    /// In tables and file names.
    pub name: String,
    /// Identifies the values: a hash, or design and seed.
    pub identity: Value,
    /// The table that methods see.
    pub data: Dataset,
    /// Batches.
    pub batch: Levels,
    /// Coordinates, cells × 2.
    pub places: Array2<f64>,
    /// Label of each cell; `None` where it is not known.
    pub labels: Vec<Option<usize>>,
    /// Names of the labels.
    pub kinds: Vec<String>,
    /// Whether cells lie on a regular grid.
    pub grid: bool,
    /// True mixtures, of simulated sets.
    pub truth: Option<Array2<f64>>,
}

impl Set {
    /// What the methods of slices read.
    pub fn input(&self) -> Slices<'_> {
        Slices {
            values: self.values(),
            batch: &self.batch.codes,
            names: &self.batch.names,
            places: self.places.view(),
            edges: None,
        }
    }

    /// The values alone.
    pub fn values(&self) -> Values<'_> {
        self.data.values()
    }
}

/// The simulated sets: those found, or drawn.
///
/// # Errors
/// A file that cannot be read or lacks something.
pub fn simulated(sources: &Sources, count: usize, side: usize, seed: Seed) -> Result<Vec<Set>, Fault> {
    if sources.simulated.is_empty() {
        let design = MsrtDesign { side, ..MsrtDesign::default() };
        return (0..count as u64).map(|i| drawn(&design, seed.0.wrapping_add(i))).collect();
    }
    let read = |source: &Source| {
        let data = unbraid_io::read(&source.path, &ReadOptions::default())?;
        set(source.name.clone(), json!(source.sha256), data, true)
    };
    sources.simulated.iter().map(read).collect()
}

/// Number of simulated sets.
pub fn count(sources: &Sources, sets: usize) -> usize {
    if sources.simulated.is_empty() { sets } else { sources.simulated.len() }
}

/// A set drawn from a design.
///
/// # Errors
/// A design that is not allowed.
pub fn drawn(design: &MsrtDesign, seed: u64) -> Result<Set, Fault> {
    let (mut data, truth): (Dataset, Annotations) = design.dataset(Seed(seed))?;
    let identity = json!({"design": design, "seed": seed, "version": env!("CARGO_PKG_VERSION")});
    if let Some(Slot::F64(x)) = truth.obsm.get("X_truth") {
        data.obsm.insert("X_truth".into(), x.clone());
    }
    set(format!("seed {seed}"), identity, data, true)
}

/// A table as a set.
///
/// # Errors
/// Without coordinates or labels.
pub fn set(name: String, identity: Value, mut data: Dataset, grid: bool) -> Result<Set, Fault> {
    let missing = |what: &str, hint: &str| -> Fault {
        unbraid::Error::Missing { what: format!("{what} of {name}"), hint: hint.into() }.into()
    };
    let batch = match data.obs.column("batch") {
        Some(_) => levels(&data, "batch", Asked::Slices)?,
        None => Levels { codes: vec![0; data.obs.len()], names: vec!["all".into()] },
    };
    let column = label(&data).ok_or_else(|| missing("labels", "obs needs `cell_type` or `domain`"))?;
    let labels = levels(&data, column, Asked::Slices)?;
    let kinds: Vec<String> =
        labels.names.iter().filter(|n| !UNKNOWN.contains(&n.as_str())).cloned().collect();
    let place: Vec<Option<usize>> =
        labels.names.iter().map(|n| kinds.iter().position(|kind| kind == n)).collect();
    let known = |code: &u32| place[*code as usize];
    let places = data.obsm.remove("spatial");
    let places = places.ok_or_else(|| missing("the coordinates", "obsm needs `spatial`"))?;
    let truth = ["X_truth", "ground_truth_X"].into_iter().find_map(|name| data.obsm.remove(name));
    Ok(Set {
        labels: labels.codes.iter().map(known).collect(),
        kinds,
        name,
        identity,
        data,
        batch,
        places,
        grid,
        truth,
    })
}

/// How the counts of a tissue are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Counts,
    Logs,
}

impl Scale {
    /// Both, in order.
    pub const ALL: [Scale; 2] = [Scale::Counts, Scale::Logs];

    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Counts => "counts",
            Scale::Logs => "10 000 a cell, log(1 + x)",
        }
    }

    /// The preparation of a table: the most variable of its genes where it has more.
    pub fn prepare(self, table: &Dataset, genes: usize) -> Prepare {
        let transform = match self {
            Scale::Counts => Transform::None,
            Scale::Logs => Transform::Lognorm,
        };
        let genes = if table.shape().1 > genes { Genes::Variable(genes) } else { Genes::All };
        Prepare { genes, transform, empty: Empty::Drop, ..Prepare::default() }
    }

    /// In file names.
    pub fn file(self) -> &'static str {
        match self {
            Scale::Counts => "counts",
            Scale::Logs => "logs",
        }
    }
}

/// The slices of a file, prepared: all, and of many the three with most cells by themselves.
///
/// # Errors
/// A file that cannot be read or lacks something.
pub fn tissues(source: &Source, scale: Scale, genes: usize) -> Result<Vec<Set>, Fault> {
    let whole = unbraid_io::read(&source.path, &ReadOptions::default())?;
    let of = levels(&whole, "batch", Asked::Slices)?;
    let mut choices = vec![(source.name.clone(), (0..of.names.len()).collect::<BTreeSet<usize>>())];
    if of.names.len() > MANY {
        let mut cells = vec![0usize; of.names.len()];
        of.codes.iter().for_each(|&t| cells[t as usize] += 1);
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_by_key(|&t| (std::cmp::Reverse(cells[t]), t));
        choices.push((format!("{}, largest three", source.name), order[..FEW].iter().copied().collect()));
    }
    let mut out = Vec::new();
    for (name, slices) in choices {
        let at: Vec<usize> =
            (0..of.codes.len()).filter(|&i| slices.contains(&(of.codes[i] as usize))).collect();
        let part = match at.len() == of.codes.len() {
            true => whole.clone(),
            false => whole.select(&Selection { obs: Some(at), var: None }),
        };
        let prepare = scale.prepare(&part, genes);
        let (data, _) = prepare.apply(&part, &mut Vec::new())?;
        let identity = json!([source.sha256, slices, prepare]);
        // Spots and cells lie as they lie: Delaunay.
        out.push(set(name, identity, data, false)?);
    }
    Ok(out)
}

/// A section of one batch, prepared.
///
/// # Errors
/// A file that cannot be read or lacks something.
pub fn section(source: &Source, scale: Scale, genes: usize) -> Result<Set, Fault> {
    whole(source, unbraid_io::read(&source.path, &ReadOptions::default())?, scale, genes)
}

fn whole(source: &Source, data: Dataset, scale: Scale, genes: usize) -> Result<Set, Fault> {
    let prepare = scale.prepare(&data, genes);
    let (data, _) = prepare.apply(&data, &mut Vec::new())?;
    set(source.name.clone(), json!([source.sha256, prepare]), data, false)
}

/// Batches without labels, prepared: every cell has the same one.
///
/// # Errors
/// As [`section`].
pub fn unlabelled(source: &Source, scale: Scale, genes: usize) -> Result<Set, Fault> {
    let mut data = unbraid_io::read(&source.path, &ReadOptions::default())?;
    let same = Column::Text(vec![Some("cell".into()); data.obs.len()]);
    data.obs.columns.push(("cell_type".into(), same));
    whole(source, data, scale, genes)
}

/// How many sets [`tissues`] makes of a file; 1 or 2.
pub fn choices(source: &Source) -> usize {
    let read = unbraid_io::read(&source.path, &ReadOptions::default());
    let many = |data: Dataset| levels(&data, "batch", Asked::Slices).is_ok_and(|l| l.names.len() > MANY);
    if read.is_ok_and(many) { 2 } else { 1 }
}
