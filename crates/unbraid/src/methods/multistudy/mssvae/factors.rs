//! From the fitted W to factors: copies merged, stubs and idle columns dropped, columns turned ([`merge`]), and the slots they are written to.

use ndarray::{Array2, ArrayView2};

use super::{Mssvae, MssvaeFit};
use crate::data::{Annotations, Column, Slot, Table, Value};
use crate::fit::Annotate;
use crate::methods::multistudy::likelihood::Law;
use crate::methods::multistudy::merge::{self, Part};
use crate::methods::multistudy::{Columns, factor_table};

/// The factors of a fitted W, G × K, and of the codes of the samples of each study, N × K.
pub(super) fn factors(
    params: &Mssvae,
    columns: &Columns,
    w: &Array2<f32>,
    latents: ArrayView2<'_, f64>,
    samples: &[Vec<usize>],
) -> Vec<Part> {
    let w = w.mapv(f64::from);
    // One owner for each column, so that there is no error.
    let mut parts = merge::parts(w.view(), &columns.owners()).unwrap_or_default();
    if params.merge {
        merge::merge(&mut parts, columns.specific.len(), params.threshold, params.tau);
    }
    merge::drop_stubs(&mut parts, params.threshold, params.min_support);
    merge::drop_idle(&mut parts, latents, samples, params.activity);
    merge::orient(&mut parts);
    parts
}

impl MssvaeFit {
    /// W as it was fitted, G × K.
    pub fn weights(&self) -> Array2<f64> {
        self.network.decoder.w.value.mapv(f64::from)
    }

    /// Weights of the factors, G × F.
    pub fn mask(&self) -> Array2<f64> {
        merge::mask(&self.parts, self.network.decoder.features())
    }

    /// The study of each factor; `None` for a shared one.
    pub fn owners(&self) -> Vec<Option<usize>> {
        self.parts.iter().map(|p| p.owner).collect()
    }

    /// Scores of the samples, N × F; 0 in the factors of other studies.
    pub fn codes(&self) -> Array2<f64> {
        merge::codes(&self.parts, self.latents.view())
    }

    /// E γ of the factors, G × F; of a merged one the largest of its columns.
    pub fn member(&self) -> Array2<f64> {
        let raw = &self.membership.member;
        let largest = |j: usize, part: &Part| part.from.iter().map(|&(k, _)| raw[[j, k]]).fold(0.0, f64::max);
        Array2::from_shape_fn((raw.nrows(), self.parts.len()), |(j, f)| largest(j, &self.parts[f]))
    }

    /// Features of each factor: |w| above the threshold.
    pub fn supports(&self) -> Vec<Vec<usize>> {
        self.parts.iter().map(|p| p.support(self.threshold)).collect()
    }

    /// σ² or φ of each feature.
    pub fn noise(&self) -> Vec<f64> {
        let power = if self.network.decoder.law == Law::Gaussian { 2.0 } else { 1.0 };
        self.network.decoder.noise.value.iter().map(|l| (power * f64::from(*l)).exp()).collect()
    }

    /// A row for each factor: its study, features in its set, mean of |w| over them, columns of W it was made of.
    fn table(&self) -> Table {
        let supports = self.supports();
        let mean = |(p, s): (&Part, &Vec<usize>)| {
            s.iter().map(|&j| p.weights[j].abs()).sum::<f64>() / s.len().max(1) as f64
        };
        let means = self.parts.iter().zip(&supports).map(mean).collect();
        let columns = self.parts.iter().map(|p| Some(p.from.len() as i64)).collect();
        let mut table = factor_table(&self.owners(), &self.studies, supports.iter().map(Vec::len));
        table.columns.push(("weight".into(), Column::Float(means)));
        table.columns.push(("columns".into(), Column::Int(columns)));
        table
    }
}

impl Annotate for MssvaeFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        out.varm.insert(format!("{key}_loadings"), Slot::F64(self.mask()));
        out.varm.insert(format!("{key}_member"), Slot::F64(self.member()));
        out.obsm.insert(format!("X_{key}"), Slot::F64(self.codes()));
        let table = self.table();
        if let Some(found) = &self.anchors {
            let marks = merge::mask(&found.parts, self.network.decoder.features());
            let sizes = found.parts.iter().map(|p| p.support(0.5).len());
            let table = factor_table(&found.owners(), &self.studies, sizes);
            out.notes(key).insert("anchors".into(), Value::Table(table));
            out.varm.insert(format!("{key}_anchors"), Slot::F64(marks));
        }
        let notes = out.notes(key);
        notes.insert("promoted".into(), (self.promoted as i64).into());
        notes.insert("likelihood".into(), self.network.decoder.law.to_string().into());
        notes.insert("factors".into(), Value::Table(table));
        notes.insert("studies".into(), Value::Texts(self.studies.clone()));
        notes.insert("shared_columns".into(), (self.columns.shared as i64).into());
        let specific = self.columns.specific.iter().map(|&k| k as f64).collect();
        notes.insert("specific_columns".into(), Value::Floats(specific));
        notes.insert("eta".into(), Value::Floats(self.membership.eta.clone()));
        notes.insert("noise".into(), Value::Floats(self.noise()));
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}
