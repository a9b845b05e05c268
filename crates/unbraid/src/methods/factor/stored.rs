//! A fit as a file holds it, back to the [`Model`] that new samples need.
//!
//! Read are the slots that `annotate` of the methods writes (`varm["<key>_loadings"]`, the maps) and what the program notes
//! in `uns["<key>"]`: the method, its parameters, and how each table was prepared.

use super::common::Loss;
use super::maps::{self, Maps};
use super::model::Model;
use super::nmf::Nmf;
use super::qmf::Qmf;
use super::qmfq::{Projector, Qmfq};
use crate::data::{Annotations, Missing};
use crate::error::{Error, Result};
use crate::fit::Method;
use crate::methods::slots::Slots;
use crate::preprocess::prepare::Constants;
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

impl Stored {
    /// The fit under `key`; `features` is how many features the file has.
    ///
    /// # Errors
    /// [`Error::Missing`] for a slot or note that is not there or has another form, [`Error::Shape`] and [`Error::Value`]
    /// for slots that do not fit together.
    pub fn read(from: &Annotations, key: &str, features: usize) -> Result<Stored> {
        let slots = Slots::of(from, key, features)?;
        let notes = slots.notes;
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
            Qmf::NAME => (None, Some(maps(&slots, "")?), Projector::Frobenius),
            _ => (Some(maps(&slots, "in_")?), Some(maps(&slots, "")?), slots.word(params, "projector")?),
        };
        let model = Model { loss, projector, loadings, input_maps, maps };
        // Fits of earlier versions of `qmfq` had no such parameter.
        let missing =
            if params.contains_key("missing") { slots.word(params, "missing")? } else { Missing::Error };
        let preparation = slots.preparation()?;
        Ok(Stored { method: method.to_owned(), model, missing, used: slots.used, preparation })
    }
}

/// The maps; `which` is empty or `in_`.
fn maps(slots: &Slots<'_>, which: &str) -> Result<Maps> {
    let params = slots.params()?;
    let quantiles = slots.table(&format!("{which}quantiles"))?;
    let squash: Squash = slots.word(params, "squash")?;
    let layer: Layer = maps::layer(
        quantiles.ncols(),
        slots.number(params, "epsilon")?,
        squash,
        slots.number(params, "accuracy")?,
    )?;
    let same = |name: &str| {
        let table = slots.table(&format!("{which}{name}"))?;
        match table.dim() == quantiles.dim() {
            true => Ok(table),
            false => {
                let what = format!("varm[\"{}_{which}{name}\"]", slots.key);
                let found = vec![table.nrows(), table.ncols()];
                Err(Error::Shape { what, found, rule: "of the shape of the quantiles" })
            }
        }
    };
    let (weights, potentials) = (same("weights")?, same("potentials")?);
    let (location, spread) =
        (slots.column(&format!("{which}location"))?, slots.column(&format!("{which}spread"))?);
    if let Some(i) = spread.iter().position(|s| *s <= 0.0) {
        let (what, at) = (format!("var[\"{}_{which}spread\"]", slots.key), (slots.used[i], 0));
        return Err(Error::Value { what, found: spread[i], at, rule: "above 0" });
    }
    Ok(Maps { layer, location, spread, weights, quantiles, potentials })
}
