//! What a fit wrote into a file, read back slot by slot: what every family needs to apply a stored fit to new samples.

use std::collections::BTreeMap;
use std::str::FromStr;

use ndarray::{Array2, Axis};

use crate::data::{Annotations, Column, Slot, Value};
use crate::error::{Error, Result};
use crate::preprocess::prepare::{Constants, Transform};

/// Slots of one fit.
pub struct Slots<'a> {
    /// All that the fit wrote about features.
    pub from: &'a Annotations,
    /// Name under which it is stored.
    pub key: &'a str,
    /// `uns["<key>"]`.
    pub notes: &'a BTreeMap<String, Value>,
    /// Positions of the features that took part.
    pub used: Vec<usize>,
}

impl<'a> Slots<'a> {
    /// The fit under `key` of a file with `features` features.
    ///
    /// # Errors
    /// [`Error::Missing`] without its notes.
    pub fn of(from: &'a Annotations, key: &'a str, features: usize) -> Result<Slots<'a>> {
        let Some(Value::Map(notes)) = from.uns.get(key) else {
            return Err(lost(format!("uns[{key:?}]"), "a fit notes there what it was"));
        };
        let used = match from.var.get(&format!("{key}_used")) {
            Some(Column::Bool(used)) => (0..used.len()).filter(|&i| used[i] == Some(true)).collect(),
            _ => (0..features).collect(),
        };
        Ok(Slots { from, key, notes, used })
    }

    /// Its parameters.
    ///
    /// # Errors
    /// [`Error::Missing`] without them.
    pub fn params(&self) -> Result<&'a BTreeMap<String, Value>> {
        match self.notes.get("params") {
            Some(Value::Map(params)) => Ok(params),
            _ => Err(lost(self.note("params"), "a fit notes its parameters there")),
        }
    }

    /// What a note is called.
    pub fn note(&self, name: &str) -> String {
        format!("uns[{:?}][{name:?}]", self.key)
    }

    /// A text among notes.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not there or no text.
    pub fn text(&self, of: &'a BTreeMap<String, Value>, name: &str) -> Result<&'a str> {
        match of.get(name) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(lost(self.note(name), "it must be a text")),
        }
    }

    /// A word among notes.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not there or not known.
    pub fn word<W: FromStr<Err = String>>(&self, of: &'a BTreeMap<String, Value>, name: &str) -> Result<W> {
        self.text(of, name)?.parse().map_err(|why: String| lost(self.note(name), &why))
    }

    /// A number among notes.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not there or no number.
    pub fn number(&self, of: &BTreeMap<String, Value>, name: &str) -> Result<f64> {
        match of.get(name) {
            Some(Value::Float(v)) => Ok(*v),
            Some(Value::Int(v)) => Ok(*v as f64),
            _ => Err(lost(self.note(name), "it must be a number")),
        }
    }

    /// A whole number of 0 or more among notes.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not there or another value.
    pub fn whole(&self, of: &BTreeMap<String, Value>, name: &str) -> Result<usize> {
        match of.get(name) {
            Some(Value::Int(v)) => usize::try_from(*v).ok(),
            Some(Value::Float(v)) if *v >= 0.0 && v.fract() == 0.0 => Some(*v as usize),
            _ => None,
        }
        .ok_or_else(|| lost(self.note(name), "it must be a whole number"))
    }

    /// Finite numbers among notes.
    ///
    /// # Errors
    /// [`Error::Missing`] where they are not there or not finite.
    pub fn numbers(&self, of: &BTreeMap<String, Value>, name: &str) -> Result<Vec<f64>> {
        let numbers: Option<Vec<f64>> = match of.get(name) {
            Some(Value::Floats(v)) => Some(v.clone()),
            Some(Value::Singles(v)) => Some(v.iter().map(|v| f64::from(*v)).collect()),
            Some(Value::Ints(v)) => Some(v.iter().map(|v| *v as f64).collect()),
            _ => None,
        };
        numbers
            .filter(|v| v.iter().all(|v| v.is_finite()))
            .ok_or_else(|| lost(self.note(name), "it must be finite numbers"))
    }

    /// `varm["<key>_<name>"]` of the features that took part, every entry finite.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`] or [`Error::Value`] where it is not so.
    pub fn table(&self, name: &str) -> Result<Array2<f64>> {
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
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Value`] where it is not so.
    pub fn column(&self, name: &str) -> Result<Vec<f64>> {
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

    /// How the values of each table of the fit were changed before it.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not noted.
    pub fn preparation(&self) -> Result<Vec<Constants>> {
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
pub fn lost(what: String, hint: &str) -> Error {
    Error::Missing { what, hint: hint.into() }
}
