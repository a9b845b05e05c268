//! A fit as a file holds it, back to the [`Model`] that new samples need.
//!
//! Read are the slots that `annotate` of the methods writes (`varm["<key>_loadings"]`, the maps) and what the program notes
//! in `uns["<key>"]`: the method, its parameters, and how each table was prepared.

use std::collections::BTreeMap;
use std::str::FromStr;

use ndarray::{Array2, Axis};

use super::common::{Loss, Missing};
use super::maps::{self, Maps};
use super::model::Model;
use super::nmf::Nmf;
use super::qmf::Qmf;
use super::qmfq::{Projector, Qmfq};
use crate::data::{Annotations, Column, Slot, Value};
use crate::error::{Error, Result};
use crate::fit::Method;
use crate::preprocess::prepare::{Constants, Transform};
use crate::soft::{Layer, Squash};

/// The methods whose fits apply to new samples.
pub const METHODS: [&str; 3] = [Nmf::NAME, Qmf::NAME, Qmfq::NAME];

/// A fit that was stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Name of the method.
    pub method: String,
    /// What new samples need.
    pub model: Model,
    /// How the fit read NaN.
    pub missing: Missing,
    /// Positions of the features of the model among all features of the file, ascending.
    pub used: Vec<usize>,
    /// How the values of each table of the fit were changed before it.
    pub preparation: Vec<Constants>,
}

/// Slots of one fit.
struct Slots<'a> {
    from: &'a Annotations,
    key: &'a str,
    notes: &'a BTreeMap<String, Value>,
    /// Positions of the features that took part.
    used: Vec<usize>,
}

impl Stored {
    /// The fit under `key`; `features` is how many features the file has.
    ///
    /// # Errors
    /// [`Error::Missing`] for a slot or note that is not there or has another form, [`Error::Shape`] and [`Error::Value`]
    /// for slots that do not fit together.
    pub fn read(from: &Annotations, key: &str, features: usize) -> Result<Stored> {
        let Some(Value::Map(notes)) = from.uns.get(key) else {
            return Err(lost(format!("uns[{key:?}]"), "a fit notes there what it was"));
        };
        let used = match from.var.get(&format!("{key}_used")) {
            Some(Column::Bool(used)) => (0..used.len()).filter(|&i| used[i] == Some(true)).collect(),
            _ => (0..features).collect(),
        };
        let slots = Slots { from, key, notes, used };
        let method = slots.text(notes, "method")?;
        if !METHODS.contains(&method) {
            let hint = format!(
                "`{key}` is a fit of {method}, which has no factors for new samples; {} do",
                METHODS.join(", ")
            );
            return Err(Error::Missing { what: format!("a factorisation under `{key}`"), hint });
        }
        let loss: Loss = slots.word(notes, "loss")?;
        let loadings = slots.table("loadings")?;
        if loadings.nrows() == 0 || loadings.ncols() == 0 {
            let (what, found) =
                (format!("varm[\"{key}_loadings\"]"), vec![loadings.nrows(), loadings.ncols()]);
            return Err(Error::Shape { what, found, rule: "at least one feature and one factor" });
        }
        let params = slots.params()?;
        let (input_maps, maps, projector) = match method {
            Nmf::NAME => (None, None, if loss == Loss::Kl { Projector::Kl } else { Projector::Frobenius }),
            Qmf::NAME => (None, Some(slots.maps("")?), Projector::Frobenius),
            _ => (Some(slots.maps("in_")?), Some(slots.maps("")?), slots.word(params, "projector")?),
        };
        let model = Model { loss, projector, loadings, input_maps, maps };
        // Fits of earlier versions of `qmfq` had no such parameter.
        let missing =
            if params.contains_key("missing") { slots.word(params, "missing")? } else { Missing::Error };
        let preparation = slots.preparation()?;
        Ok(Stored { method: method.to_owned(), model, missing, used: slots.used, preparation })
    }
}

impl<'a> Slots<'a> {
    fn params(&self) -> Result<&'a BTreeMap<String, Value>> {
        match self.notes.get("params") {
            Some(Value::Map(params)) => Ok(params),
            _ => Err(lost(self.note("params"), "a fit notes its parameters there")),
        }
    }

    /// What a note is called.
    fn note(&self, name: &str) -> String {
        format!("uns[{:?}][{name:?}]", self.key)
    }

    fn text(&self, of: &'a BTreeMap<String, Value>, name: &str) -> Result<&'a str> {
        match of.get(name) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(lost(self.note(name), "it must be a text")),
        }
    }

    fn word<W: FromStr<Err = String>>(&self, of: &'a BTreeMap<String, Value>, name: &str) -> Result<W> {
        self.text(of, name)?.parse().map_err(|why: String| lost(self.note(name), &why))
    }

    fn number(&self, of: &BTreeMap<String, Value>, name: &str) -> Result<f64> {
        match of.get(name) {
            Some(Value::Float(v)) => Ok(*v),
            Some(Value::Int(v)) => Ok(*v as f64),
            _ => Err(lost(self.note(name), "it must be a number")),
        }
    }

    /// `varm["<key>_<name>"]` of the features that took part, every entry finite.
    fn table(&self, name: &str) -> Result<Array2<f64>> {
        let what = format!("varm[\"{}_{name}\"]", self.key);
        let Some(Slot::F64(whole)) = self.from.varm.get(&format!("{}_{name}", self.key)) else {
            return Err(lost(what, "a fit writes it; the file may have been cut to some of its slots"));
        };
        if self.used.last().is_some_and(|&last| last >= whole.nrows()) {
            let found = vec![whole.nrows(), whole.ncols()];
            return Err(Error::Shape { what, found, rule: "a row for every feature" });
        }
        match whole.indexed_iter().find(|(_, v)| !v.is_finite()) {
            Some((at, &found)) => Err(Error::Value { what, found, at, rule: "finite" }),
            None => Ok(whole.select(Axis(0), &self.used)),
        }
    }

    /// `var["<key>_<name>"]` likewise.
    fn column(&self, name: &str) -> Result<Vec<f64>> {
        let what = format!("var[\"{}_{name}\"]", self.key);
        let whole: Vec<f64> = match self.from.var.get(&format!("{}_{name}", self.key)) {
            Some(Column::Float(v)) => v.clone(),
            Some(Column::Int(v)) => v.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect(),
            _ => {
                return Err(lost(what, "a fit writes it; the file may have been cut to some of its columns"));
            }
        };
        match self.used.iter().find(|&&i| !whole.get(i).is_some_and(|v| v.is_finite())) {
            Some(&i) => {
                let found = whole.get(i).copied().unwrap_or(f64::NAN);
                Err(Error::Value { what, found, at: (i, 0), rule: "finite" })
            }
            None => Ok(self.used.iter().map(|&i| whole[i]).collect()),
        }
    }

    /// The maps; `which` is empty or `in_`.
    fn maps(&self, which: &str) -> Result<Maps> {
        let params = self.params()?;
        let quantiles = self.table(&format!("{which}quantiles"))?;
        let squash: Squash = self.word(params, "squash")?;
        let layer: Layer = maps::layer(
            quantiles.ncols(),
            self.number(params, "epsilon")?,
            squash,
            self.number(params, "accuracy")?,
        )?;
        let same = |name: &str| {
            let table = self.table(&format!("{which}{name}"))?;
            match table.dim() == quantiles.dim() {
                true => Ok(table),
                false => {
                    let what = format!("varm[\"{}_{which}{name}\"]", self.key);
                    let found = vec![table.nrows(), table.ncols()];
                    Err(Error::Shape { what, found, rule: "of the shape of the quantiles" })
                }
            }
        };
        let (weights, potentials) = (same("weights")?, same("potentials")?);
        let (location, spread) =
            (self.column(&format!("{which}location"))?, self.column(&format!("{which}spread"))?);
        if let Some(i) = spread.iter().position(|s| *s <= 0.0) {
            let (what, at) = (format!("var[\"{}_{which}spread\"]", self.key), (self.used[i], 0));
            return Err(Error::Value { what, found: spread[i], at, rule: "above 0" });
        }
        Ok(Maps { layer, location, spread, weights, quantiles, potentials })
    }

    fn preparation(&self) -> Result<Vec<Constants>> {
        let what = || self.note("preparation");
        let Some(Value::Table(table)) = self.notes.get("preparation") else {
            return Err(lost(what(), "a fit notes there how its values were prepared"));
        };
        let numbers = |name: &str| match table.column(name) {
            Some(Column::Float(v)) => Ok(v.clone()),
            Some(Column::Int(v)) => Ok(v.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect()),
            _ => Err(lost(what(), &format!("it must have numbers under `{name}`"))),
        };
        let (shift, scale) = (numbers("shift")?, numbers("scale")?);
        let transform: Vec<Transform> = match table.column("transform").and_then(Column::labels) {
            Some((codes, names)) => codes
                .iter()
                .map(|&c| names[c].parse().map_err(|why: String| lost(what(), &why)))
                .collect::<Result<_>>()?,
            None => return Err(lost(what(), "it must name the `transform` of each table")),
        };
        let all: Vec<Constants> = (0..table.len())
            .map(|i| Constants { transform: transform[i], shift: shift[i], scale: scale[i] })
            .collect();
        let good = |c: &Constants| c.shift.is_finite() && c.scale > 0.0 && c.scale.is_finite();
        match all.is_empty() || !all.iter().all(good) {
            true => Err(lost(what(), "it must hold a finite shift and a positive scale for each table")),
            false => Ok(all),
        }
    }
}

/// Something that a stored fit should have.
fn lost(what: String, hint: &str) -> Error {
    Error::Missing { what, hint: hint.into() }
}
