//! What a fit of slices comes to.
//!
//! | result | shape | meaning |
//! |--------|-------|---------|
//! | `varm["<key>_metagenes"]`  | G × K | M, columns sum to 1 |
//! | `varm["<key>_metagenes_<batch>"]` | G × K | M of a batch, where they are not shared |
//! | `obsm["X_<key>"]`          | N × K | Z, rows sum to 1 |
//! | `obsm["<key>_activities"]` | N × K | X, in units of the data |
//! | `obsm["X_<key>_batch"]`    | N × K | X + β |
//! | `uns["<key>"]`             |       | `beta` (T × K), `affinity` (K × K, or by batch), `noise` (σ), `sizes` (mean \|x\| by iteration), `batches`, `neighbor_weight` (and `neighbor_errors` of held-out genes by weight), `gene_scale_gain` (share of the error of held-out genes that scales of genes save, by fold) |
//!
//!
//! Units of the data: y ≈ M (x + β), times `gene_scale` (T × G) where genes are scaled. `beta` and `X_<key>_batch` are those of BATCHBLEND alone.

use ndarray::Array2;

use super::neighbours::Rule;
use super::partition::MOST;
use super::slices::Slices;
use super::tissue::{Blend, Plan, State, Tissue, WEIGHTS, gains};
use crate::data::{Annotations, Slot, Value};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Stop, StopRule, drive};

/// Change of the mean size of a cell in the tissue that is no drift.
const DRIFT: f64 = 0.01;
/// Conditioning below which an apex is hardly determined.
const PARALLEL: f64 = 1e-3;

/// A fitted model.
#[derive(Clone, Debug)]
pub struct TissueFit {
    /// M, G × K; columns sum to 1.
    pub metagenes: Array2<f64>,
    /// M_t of each batch, G × K, where they are not shared: M is their mean. Else empty.
    pub own_metagenes: Vec<Array2<f64>>,
    /// X, N × K, in units of the data.
    pub activities: Array2<f64>,
    /// β, T × K, in units of the data; empty without batch effects.
    pub beta: Array2<f64>,
    /// d, T × G, what each batch multiplies a gene with; empty where genes are not scaled.
    pub gene_scale: Array2<f64>,
    /// Batch of each cell.
    pub batch: Vec<usize>,
    /// Names of the batches.
    pub batches: Vec<String>,
    /// Λ of all batches, or of each.
    pub affinity: Vec<Array2<f64>>,
    /// σ of each batch, in units of the data.
    pub noise: Vec<f64>,
    /// Mean squared error after each iteration, in units in which a cell has a mean total of K.
    pub objective: Vec<f64>,
    /// Mean size of a cell after each iteration, in the same units.
    pub sizes: Vec<f64>,
    /// Share of the affinities that mixtures felt; nothing where neighbours were not looked at.
    pub weight: Option<f64>,
    /// Error of held-out genes at each of the shares that were tried, less Σ y², in units of σ²; empty where none was.
    pub predicted: Vec<f64>,
    /// Errors of held-out genes without and with scales of genes, by half of the cells and fold of the genes; empty where both were not
    /// compared.
    pub scaled: Vec<[f64; 2]>,
    /// Iterations without affinities.
    pub before: usize,
    /// How the fit ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl TissueFit {
    /// Z: mixtures, rows sum to 1.
    pub fn mixtures(&self) -> Array2<f64> {
        super::mixtures::parts(&self.activities).1
    }
}

/// Refuses settings that both methods have.
pub(super) fn validate(
    k: usize,
    steps: [(&'static str, usize); 3],
    weights: [(&'static str, f64); 4],
    ridge: f64,
) -> Result<()> {
    let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
    if !(2..=MOST).contains(&k) {
        return bad("k", k.to_string(), "from 2 to 64");
    }
    if let Some((name, _)) = steps.iter().find(|(_, steps)| *steps == 0) {
        return bad(name, "0".into(), "at least 1");
    }
    if let Some((name, value)) = weights.iter().find(|(_, v)| !(*v >= 0.0 && v.is_finite())) {
        return bad(name, value.to_string(), "finite and 0 or larger");
    }
    if !(ridge > 0.0 && ridge.is_finite()) {
        return bad("lambda_affinity", ridge.to_string(), "finite and above 0");
    }
    Ok(())
}

/// Runs a plan and reads the result off.
pub(super) fn fitted(
    name: &str,
    plan: Plan,
    (rule, nearest, tol): (Rule, usize, f64),
    input: Slices<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<TissueFit> {
    let (n, g) = input.values.matrix.shape();
    if plan.k > n.min(g) {
        let rule = "no more than cells or genes";
        return Err(Error::Param { name: "k", found: plan.k.to_string(), rule });
    }
    let copies = if plan.gene_scale > 0.0 || plan.apart.is_some() { 4 } else { 2 };
    let held = 8 * (12 * n * plan.k + 6 * g * plan.k + copies * input.values.matrix.nonzeros());
    ctx.reserve(held as u64, "choose fewer genes or a smaller k")?;
    let neighbours = input.neighbours(rule, nearest)?;
    let alone = (0..n).filter(|&i| neighbours.of(i).is_empty()).count();
    if alone > 0 && plan.tissue > 0 {
        let (s, have) = if alone == 1 { ("", "has") } else { ("s", "have") };
        ctx.warn(format!(
            "{alone} cell{s} {have} no neighbour; their mixtures follow their expression alone."
        ));
    }
    let ((before, all), blend, scaled) = (plan.lengths(), plan.blend, plan.gene_scale > 0.0);
    let tissue = Tissue::new(plan, &input, neighbours, ctx.seed)?;
    let (course, stop) = drive(&tissue, StopRule { max_steps: all, tol }, ctx)?;
    let s = course.state;
    concerns(name, &s, before, blend, &tissue, input.names, ctx);
    let unit = |values: &Array2<f64>, slice: &dyn Fn(usize) -> usize| {
        let mut out = values.clone();
        out.rows_mut().into_iter().enumerate().for_each(|(i, mut row)| row /= tissue.scale[slice(i)]);
        out
    };
    Ok(TissueFit {
        metagenes: s.turned.t().as_standard_layout().into_owned(),
        own_metagenes: s.apart.iter().map(|m| m.t().as_standard_layout().into_owned()).collect(),
        activities: unit(&s.x, &|i| tissue.batch[i]),
        beta: if blend == Blend::None { Array2::zeros((0, s.x.ncols())) } else { unit(&s.beta, &|t| t) },
        noise: s.noise.iter().zip(&tissue.scale).map(|(v, scale)| v.sqrt() / scale).collect(),
        gene_scale: if scaled { s.gene_scale } else { Array2::zeros((0, 0)) },
        batch: tissue.batch,
        batches: input.names.to_vec(),
        affinity: s.affinity,
        weight: s.weight,
        predicted: s.predicted,
        scaled: Vec::new(),
        objective: course.objective,
        sizes: s.sizes,
        before,
        stop,
        warnings: ctx.warnings.clone(),
    })
}

/// What a user should know of a fit.
fn concerns(
    name: &str,
    s: &State,
    before: usize,
    blend: Blend,
    tissue: &Tissue<'_>,
    names: &[String],
    ctx: &mut Ctx<'_>,
) {
    let (first, last) = (s.sizes.get(before.saturating_sub(1)), s.sizes.last());
    if let (true, Some(first), Some(last)) = (s.at > before, first, last) {
        let drift = last / first - 1.0;
        if drift.abs() > DRIFT {
            ctx.warn(format!(
                "The mean size of a cell changed by {:.1} % while affinities were fitted; what a cell holds and what its batch adds are \
                 not told apart well.",
                100.0 * drift
            ));
        }
    }
    if matches!(blend, Blend::Thesis { .. }) && last.is_some_and(|last| *last < 0.05 * tissue.total()) {
        ctx.warn(format!(
            "{name} with the prior of the thesis has taken nearly all expression for a batch effect: mixtures are below the mean of the \
             other batches in every cell, so that they can only fall. `form=ray` does not."
        ));
    }
    for (t, conditioning) in s.conditioning.iter().enumerate() {
        if *conditioning < PARALLEL {
            ctx.warn(format!(
                "The cell types of batch `{}` are nearly parallel ({conditioning:.1e}), so that its batch effect is hardly determined.",
                names[t]
            ));
        }
    }
    if let Blend::Rays { .. } = blend {
        let rays = s.kappa.iter().max().map_or(0, |c| c + 1);
        let mut seen = vec![vec![false; tissue.cells.len()]; rays];
        s.kappa.iter().zip(&tissue.batch).for_each(|(&c, &t)| seen[c][t] = true);
        let used = seen.iter().filter(|of| of.iter().any(|s| *s)).count();
        let lone = seen.iter().filter(|of| of.iter().filter(|s| **s).count() == 1).count();
        if 2 * lone > used {
            ctx.warn(format!(
                "{lone} of {used} rays have cells of one batch only; batches that share few cell types cannot be aligned by them."
            ));
        }
    }
}

impl Annotate for TissueFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        out.varm.insert(format!("{key}_metagenes"), Slot::F64(self.metagenes.clone()));
        for (m, name) in self.own_metagenes.iter().zip(&self.batches) {
            // A name in a slot must not hold what parts groups.
            out.varm.insert(format!("{key}_metagenes_{}", name.replace('/', "_")), Slot::F64(m.clone()));
        }
        out.obsm.insert(format!("X_{key}"), Slot::F64(self.mixtures()));
        out.obsm.insert(format!("{key}_activities"), Slot::F64(self.activities.clone()));
        if self.beta.nrows() > 0 {
            let mut with = self.activities.clone();
            with.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row += &self.beta.row(t));
            out.obsm.insert(format!("X_{key}_batch"), Slot::F64(with));
        }
        let notes = out.notes(key);
        notes.insert("batches".into(), Value::Texts(self.batches.clone()));
        notes.insert("noise".into(), Value::Floats(self.noise.clone()));
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("sizes".into(), Value::Floats(self.sizes.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        if self.beta.nrows() > 0 {
            notes.insert("beta".into(), Value::Matrix(self.beta.clone()));
        }
        if let Some(weight) = self.weight {
            notes.insert("neighbor_weight".into(), weight.into());
        }
        if !self.predicted.is_empty() {
            let tried = WEIGHTS.iter().zip(&self.predicted).map(|(w, e)| (w.to_string(), (*e).into()));
            notes.insert("neighbor_errors".into(), Value::Map(tried.collect()));
        }
        if !self.scaled.is_empty() {
            notes.insert("gene_scale_gain".into(), Value::Floats(gains(&self.scaled)));
        }
        if self.gene_scale.nrows() > 0 {
            notes.insert("gene_scale".into(), Value::Matrix(self.gene_scale.clone()));
        }
        match &self.affinity[..] {
            [] => {}
            [all] => drop(notes.insert("affinity".into(), Value::Matrix(all.clone()))),
            each => {
                let by_batch =
                    self.batches.iter().cloned().zip(each.iter().cloned().map(Value::Matrix)).collect();
                notes.insert("affinity".into(), Value::Map(by_batch));
            }
        }
    }
}
