//! Studies that share some factors and have others to themselves.
//!
//! N observations of M studies, G features, K_S shared factors and K_m of each study. In study m a feature sees
//! the shared factors and those of the study; scores of all others are 0.
//!
//! | symbol | shape | meaning                                                          | slot of the file            |
//! |--------|-------|------------------------------------------------------------------|-----------------------------|
//! | W      | G × K | weights, columns in the order shared, study 0, study 1, …        | `varm["truth_loadings"]`    |
//! |        | G × K | 1 where W is not 0                                               | `varm["truth_supports"]`    |
//! | z, ζ   | N × K | scores, N(0, s²) in the columns that the observation's study sees | `obsm["X_truth"]`           |
//! |        | N     | the study                                                        | `obs["study"]`              |
//! |        | K     | "shared" or the study of each column, and how many features it has | `uns["simulated"]["factors"]` |
//!
//! Two designs: [`gaussian`] (`multistudy`) and [`rna`] (`multistudy-rna`), the simulations of
//! `moran2026`, which leaves the layout of W open. Here every factor has a block of consecutive
//! features that overlaps its neighbours' and keeps features of its own (the anchors of the paper's
//! identifiability theorem).

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::data::{Annotations, Column, Dataset, Matrix, Slot, Table, Value};
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::params::Params;

pub mod gaussian;
pub mod rna;

/// Variance of the weights within a block.
const WEIGHT_VARIANCE: f64 = 0.01;

/// Simulated studies and the truth behind them; observations are sorted by study.
#[derive(Clone, Debug, PartialEq)]
pub struct MultistudySample {
    /// The data, N × G.
    pub x: Array2<f64>,
    /// W, G × K.
    pub loadings: Array2<f64>,
    /// Scores, N × K; 0 in columns of other studies.
    pub scores: Array2<f64>,
    /// Study of each observation.
    pub study: Vec<usize>,
    /// Study of each column of W; `None` for shared ones.
    pub owner: Vec<Option<usize>>,
}

/// What each random stream of a sample is for; its items are columns, features or observations.
#[derive(Clone, Copy)]
enum Purpose {
    /// Entries of W, one stream per column.
    Weights,
    /// Which entries outside the blocks are not 0, one per column.
    OffBlock,
    /// Scores, one per observation.
    Scores,
    /// Levels of the features, one in all.
    Levels,
    /// Everything drawn per entry of X, one per observation.
    Values,
}

fn stream(seed: Seed, purpose: Purpose, item: usize) -> rand_chacha::ChaCha8Rng {
    seed.stream(Draw::Simulate, (purpose as u64) << 40 | item as u64)
}

/// Blocks of features: block q covers the whole numbers in [first + q stride, first + q stride + length), cut
/// at `end`.
#[derive(Clone, Copy)]
struct Blocks {
    first: f64,
    stride: f64,
    length: f64,
    count: usize,
    end: usize,
}

impl Blocks {
    fn ranges(self) -> Vec<Range<usize>> {
        // A bound that is whole but for rounding counts as whole.
        let at = |v: f64| ((v - 1e-9).ceil() as usize).min(self.end);
        let start = |q: usize| self.first + q as f64 * self.stride;
        (0..self.count).map(|q| at(start(q))..at(start(q) + self.length)).collect()
    }
}

/// Who owns the columns of W.
fn owners(shared: usize, studies: usize, specific: usize) -> Vec<Option<usize>> {
    let own = (0..studies).flat_map(|m| std::iter::repeat_n(Some(m), specific));
    std::iter::repeat_n(None, shared).chain(own).collect()
}

/// The studies of observations in order, from their sizes.
fn study_codes(sizes: &[usize]) -> Vec<usize> {
    sizes.iter().enumerate().flat_map(|(m, &n)| std::iter::repeat_n(m, n)).collect()
}

/// Refuses a layout in which some factor has fewer than two features to itself: it could not be told from its
/// neighbours.
fn need_anchors(blocks: &[Range<usize>], features: usize) -> Result<()> {
    let mut covers = vec![0usize; features];
    blocks.iter().for_each(|b| b.clone().for_each(|j| covers[j] += 1));
    let own = |b: &Range<usize>| b.clone().filter(|&j| covers[j] == 1).count();
    match blocks.iter().all(|b| own(b) >= 2) {
        true => Ok(()),
        false => Err(Error::Param {
            name: "features",
            found: features.to_string(),
            rule: "large enough that every factor has two features of its own (more features or fewer factors)",
        }),
    }
}

/// W from its blocks: N(level, 0.01) inside, and outside with probability `off_block`.
fn weights(
    blocks: &[Range<usize>],
    owner: &[Option<usize>],
    features: usize,
    (shared, specific): (f64, f64),
    off_block: f64,
    seed: Seed,
) -> Array2<f64> {
    use rand::RngExt;
    let mut w = Array2::zeros((features, owner.len()));
    for (k, (block, owner)) in blocks.iter().zip(owner).enumerate() {
        let level = if owner.is_some() { specific } else { shared };
        let (mut rng, mut outside) = (stream(seed, Purpose::Weights, k), stream(seed, Purpose::OffBlock, k));
        for j in 0..features {
            // Every entry takes its draws, so that a change of `off_block` leaves the others as they are.
            let (e, u): (f64, f64) = (StandardNormal.sample(&mut rng), outside.random());
            if block.contains(&j) || u < off_block {
                w[[j, k]] = level + WEIGHT_VARIANCE.sqrt() * e;
            }
        }
    }
    w
}

/// N(0, s²) in the columns that a study sees, 0 in the others.
fn scores(study: &[usize], owner: &[Option<usize>], sd: f64, seed: Seed) -> Array2<f64> {
    let mut z = Array2::zeros((study.len(), owner.len()));
    for (i, (&m, mut row)) in study.iter().zip(z.rows_mut()).enumerate() {
        let mut rng = stream(seed, Purpose::Scores, i);
        for (value, owner) in row.iter_mut().zip(owner) {
            let e: f64 = StandardNormal.sample(&mut rng);
            if owner.is_none_or(|o| o == m) {
                *value = sd * e;
            }
        }
    }
    z
}

/// Columns and values of the non-zeros of each row of W.
fn by_feature(w: &Array2<f64>) -> Vec<Vec<(usize, f64)>> {
    let row = |r: ndarray::ArrayView1<'_, f64>| {
        r.iter().copied().enumerate().filter(|(_, v)| *v != 0.0).collect::<Vec<_>>()
    };
    w.rows().into_iter().map(row).collect()
}

/// The rows of a matrix in standard layout, to be filled in parallel.
fn rows_of(x: &mut Array2<f64>) -> impl IndexedParallelIterator<Item = &mut [f64]> {
    let width = x.ncols().max(1);
    x.as_slice_mut().unwrap_or_default().par_chunks_mut(width)
}

/// Whether feature `j`, counted from 0, is one of the non-linear ones: every third, counted from 1.
fn is_third(j: usize) -> bool {
    (j + 1).is_multiple_of(3)
}

/// Refuses sizes that no multi-study design can have.
fn check_sizes(studies: usize, features: usize, shared: usize, specific: usize) -> Result<()> {
    let within = |name, v: usize, (low, high), rule| match (low..=high).contains(&v) {
        true => Ok(()),
        false => Err(Error::Param { name, found: v.to_string(), rule }),
    };
    within("studies", studies, (1, 1000), "from 1 to 1000")?;
    within("features", features, (2, 1_000_000), "from 2 to 1000000")?;
    within("shared", shared, (1, 1000), "from 1 to 1000")?;
    within("specific", specific, (0, 1000), "from 0 to 1000")
}

/// Refuses a number that is negative or not finite.
fn check_size_of(name: &'static str, v: f64) -> Result<()> {
    match v >= 0.0 && v.is_finite() {
        true => Ok(()),
        false => Err(Error::Param { name, found: v.to_string(), rule: "finite and 0 or larger" }),
    }
}

/// The sample under AnnData names, with the design in `uns["simulated"]`.
fn annotated<D: Params>(name: &str, design: &D, seed: Seed, s: MultistudySample) -> (Dataset, Annotations) {
    let mut truth = Annotations::default();
    let studies: Vec<String> = (0..=s.study.last().copied().unwrap_or(0)).map(study_name).collect();
    let factor_of = |o: &Option<usize>| Some(o.map_or_else(|| "shared".to_owned(), study_name));
    let supports = s.loadings.mapv(|w| f64::from(w != 0.0));
    let mut factors = Table::numbered("", s.owner.len());
    let counts = supports.columns().into_iter().map(|c| Some(c.sum() as i64)).collect();
    factors.columns.push(("study".into(), Column::Text(s.owner.iter().map(factor_of).collect())));
    factors.columns.push(("features".into(), Column::Int(counts)));
    truth.varm.insert("truth_loadings".into(), Slot::F64(s.loadings));
    truth.varm.insert("truth_supports".into(), Slot::F64(supports));
    truth.obsm.insert("X_truth".into(), Slot::F64(s.scores));
    let mut facts = facts(name, design, seed);
    facts.insert("factors".into(), Value::Table(factors));
    truth.uns.insert("simulated".into(), Value::Map(facts));
    let (n, g) = s.x.dim();
    let mut data = Dataset::from_matrix(name, Matrix::Dense(s.x));
    data.obs = Table::numbered("sample", n);
    let codes = s.study.iter().map(|&m| Some(m as u32)).collect();
    data.obs
        .columns
        .push(("study".into(), Column::Categorical { codes, categories: studies, ordered: false }));
    data.var = Table::numbered("gene", g);
    (data, truth)
}

fn study_name(m: usize) -> String {
    format!("study{m}")
}

fn facts<D: Params>(name: &str, design: &D, seed: Seed) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::from([
        ("design".to_owned(), name.into()),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").into()),
        ("seed".to_owned(), seed.0.to_string().into()),
    ]);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(design) {
        out.extend(fields.into_iter().map(|(k, v)| {
            let value = match (v.as_i64(), v.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, Some(number)) => Value::Float(number),
                _ => Value::Text(v.to_string()),
            };
            (k, value)
        }));
    }
    out
}
