//! What is said of new samples whatever the kind of the model: in the file, on the page and on the terminal.

use std::time::Instant;

use serde_json::{Value as Json, json};
use unbraid::data::{Annotations, Column, Value};
use unbraid::report::{Fact, Input};

use super::Found;
use crate::args::ApplyArgs;
use crate::fault::Fault;
use crate::fit;
use crate::picture::{self, Page};

/// New samples in terms of a stored fit.
pub(super) struct Applied<'a> {
    args: &'a ApplyArgs,
    /// Key of the fit, and its method.
    key: &'a str,
    method: &'a str,
    /// SHA-256 of the model and of the files.
    model_hash: String,
    hashes: &'a [String],
    /// Of the files together.
    observations: usize,
    features: usize,
    /// Features of the model, and warnings.
    pub found: Found,
    /// Features of the files that the model does not have.
    ignored: usize,
    begun: Instant,
    seconds: f64,
}

impl<'a> Applied<'a> {
    /// Before anything is computed, with the warnings so far; the clock starts.
    ///
    /// # Errors
    /// A model that cannot be read.
    pub fn begin(
        args: &'a ApplyArgs,
        (key, method): (&'a str, &'a str),
        hashes: &'a [String],
        (observations, features): (usize, usize),
        warnings: Vec<String>,
    ) -> Result<Applied<'a>, Fault> {
        Ok(Applied {
            args,
            key,
            method,
            model_hash: unbraid_io::input_sha256(&args.model)?,
            hashes,
            observations,
            features,
            found: Found { warnings, ..Found::default() },
            ignored: 0,
            begun: Instant::now(),
            seconds: 0.0,
        })
    }

    /// All is computed; as many features of the files as given have a place in the model.
    pub fn end(&mut self, matched: usize) {
        self.ignored = self.features.saturating_sub(matched);
        self.seconds = self.begun.elapsed().as_secs_f64();
    }

    /// What goes into the file beside the results: which features took part, where not all did, columns from elsewhere, and notes, those of the kind of
    /// model in `more`.
    pub fn note(
        &self,
        out: &mut Annotations,
        used: impl IntoIterator<Item = usize>,
        columns: impl IntoIterator<Item = (String, Column)>,
        more: &[(&str, Value)],
    ) {
        let mut took_part = vec![Some(false); self.features];
        used.into_iter().for_each(|j| took_part[j] = Some(true));
        if took_part.contains(&Some(false)) {
            out.var.insert(format!("{}_used", self.key), Column::Bool(took_part));
        }
        for (name, column) in columns {
            out.obs.entry(name).or_insert(column);
        }
        let found = &self.found;
        let new: [(&str, Value); 8] = [
            ("method", self.method.into()),
            ("model", self.args.model.display().to_string().into()),
            ("model_sha256", self.model_hash.as_str().into()),
            ("input_sha256", Value::Texts(self.hashes.to_vec())),
            ("features_matched", Value::Int(found.matched as i64)),
            ("features_missing", Value::Int(found.missing as i64)),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("warnings", Value::Texts(found.warnings.clone())),
        ];
        let notes = out.notes(&format!("{}_applied", self.key));
        notes.extend(new.into_iter().chain(more.iter().cloned()).map(|(k, v)| (k.to_owned(), v)));
    }

    /// Writes the page, where one is wanted; the kind of model has drawn on it and adds facts.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn show(
        &self,
        mut page: Page,
        about: &str,
        inputs: Vec<Input>,
        more: &[(&str, String)],
    ) -> Result<(), Fault> {
        let Some(path) = &self.args.report else { return Ok(()) };
        let (report, args, found) = (&mut page.report, self.args, &self.found);
        let model = args.model.file_name().unwrap_or(args.model.as_os_str()).to_string_lossy();
        report.title = format!("{} of {model} applied to {}", self.key, fit::titles(&args.files));
        report.alerts = picture::alerts(&found.warnings);
        report.run.method = "apply".into();
        report.run.about = about.into();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seconds = Some(self.seconds);
        report.run.inputs = inputs;
        let all = found.matched + found.missing;
        let facts = [
            ("method of the model", self.method.to_owned()),
            ("model", args.model.display().to_string()),
            ("SHA-256 of the model", self.model_hash.clone()),
            ("features of the model found", format!("{} of {all}", found.matched)),
        ];
        let last = [("written to", args.output.display().to_string())];
        let facts = facts.into_iter().chain(more.iter().cloned()).chain(last);
        report.run.facts = facts.map(|(name, value)| Fact { name: name.into(), value }).collect();
        unbraid_io::write_bytes_atomically(path, crate::page::render(report).as_bytes())?;
        Ok(())
    }

    /// Warnings, and the outcome as one object or as lines: what was found, and what to do next where there is no page.
    pub fn tell(&self, more: Json, what: &str, next: &str) {
        let (args, found) = (self.args, &self.found);
        found.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
        if args.json {
            let mut all = json!({
                "command": "apply", "method": self.method, "key": self.key, "version": env!("CARGO_PKG_VERSION"),
                "model": args.model, "model_sha256": self.model_hash, "inputs": args.files, "input_sha256": self.hashes,
                "output": args.output, "report": args.report, "observations": self.observations,
                "features_matched": found.matched, "features_missing": found.missing, "features_ignored": self.ignored,
                "seconds": self.seconds, "warnings": found.warnings,
            });
            if let (Json::Object(all), Json::Object(more)) = (&mut all, more) {
                all.extend(more);
            }
            say!("{all}");
        } else if !args.quiet {
            say!(
                "{} of {} applied to {}: {} observations × {} of {} features of the model ({} others ignored), {:.2} s",
                self.key,
                args.model.display(),
                fit::names(&args.files),
                self.observations,
                found.matched,
                found.matched + found.missing,
                self.ignored,
                self.seconds,
            );
            say!("  {what}");
            say!("  wrote {}", args.output.display());
            match &args.report {
                Some(path) => say!("  wrote {}; open it in a browser", path.display()),
                None => say!("  next, in Python: {next}"),
            }
        }
    }
}
