//! New samples of studies: codes by the stored encoders of a fit.

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::Array2;
use serde_json::json;
use unbraid::data::{Annotations, Column, Dataset, Missing, Slot, Value};
use unbraid::error::{Error, Result};
use unbraid::fit::{Method, Seed};
use unbraid::methods::multistudy::coder::Coder;
use unbraid::methods::multistudy::each::SvaeMerge;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::linear::Msfa;
use unbraid::methods::multistudy::mssvae::Mssvae;
use unbraid::methods::slots::{Slots, lost};
use unbraid::report::{Fact, Report, StudyFactors};
use unbraid_io::Fitted;

use super::{BLOCK, Found, Matched, matched, parts};
use crate::args::{Absent, ApplyArgs, FitArgs};
use crate::fault::Fault;
use crate::fit::{self, Inputs};
use crate::methods::Joins;
use crate::methods::studies::{Asked, Levels, levels};
use crate::picture::{self, Page};
use crate::stored;

/// Whether the fit is one of studies.
pub(super) fn wrote(model: &Fitted) -> bool {
    match model.slots.uns.get(&model.key) {
        Some(Value::Map(notes)) => notes.get("method") == Some(&Value::from(Mssvae::NAME)),
        _ => false,
    }
}

/// Why a fit of studies cannot be applied, where its method stores nothing that gives codes.
pub(super) fn without_codes(model: &Fitted) -> Option<Error> {
    let Some(Value::Map(notes)) = model.slots.uns.get(&model.key) else { return None };
    let method =
        [Msfa::NAME, SvaeMerge::NAME].into_iter().find(|m| notes.get("method") == Some(&Value::from(*m)))?;
    Some(Error::Missing {
        what: format!("what gives codes to new observations in a fit of {method}"),
        hint: format!("{method} stores no encoders; a fit of {} does", Mssvae::NAME),
    })
}

/// A stored fit of studies.
struct Model {
    coder: Coder,
    studies: Vec<String>,
    column: String,
    fractions: bool,
    threshold: f64,
    /// Features × factors.
    loadings: Array2<f64>,
    owners: Vec<Option<usize>>,
}

impl Model {
    fn read(slots: &Slots<'_>, model: &Fitted) -> Result<Model> {
        let (notes, params) = (slots.notes, slots.params()?);
        let Some(Value::Texts(studies)) = notes.get("studies") else {
            return Err(lost(slots.note("studies"), "a fit names its studies there"));
        };
        let coder = Coder::read(slots)?;
        let loadings = slots.table("loadings")?;
        let names = stored::column_studies(model, slots.key, coder.factors()).unwrap_or_default();
        let owners: Vec<Option<usize>> = names.iter().map(|n| studies.iter().position(|s| s == n)).collect();
        let factors = coder.factors();
        if [loadings.ncols(), owners.len()] != [factors; 2] || coder.columns.specific.len() != studies.len() {
            let what = format!("varm[\"{}_loadings\"]", slots.key);
            let found = vec![loadings.nrows(), loadings.ncols()];
            let rule = "a column for each factor of the notes and of the encoders";
            return Err(Error::Shape { what, found, rule });
        }
        Ok(Model {
            coder,
            studies: studies.clone(),
            column: slots.text(params, "study")?.to_owned(),
            fractions: params.get("fractions") == Some(&Value::Bool(true)),
            threshold: slots.number(params, "threshold")?,
            loadings,
            owners,
        })
    }

    /// The first value that the law does not take.
    fn refused(&self, of: &Matched, new: &Dataset) -> Option<Error> {
        if self.coder.law != Law::NegBinomial {
            return None;
        }
        let mut odd = None;
        of.values.for_each_nonzero(|i, j, v| {
            if odd.is_none() && (v < 0.0 || !self.fractions && v.fract() != 0.0) {
                odd = Some(((i, of.columns[j]), v));
            }
        });
        let (at, found) = odd?;
        let rule = match found < 0.0 {
            true => "0 or larger, as the counts of the fit",
            false => "a whole number, as the counts of the fit",
        };
        Some(Error::Value { what: new.slot.clone(), found, at, rule })
    }

    /// What studies that the fit does not know get.
    fn unknown(&self, found: &Levels) -> Option<String> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for &m in &found.codes {
            let name = found.names[m as usize].as_str();
            if !self.studies.iter().any(|s| s == name) {
                *sizes.entry(name).or_default() += 1;
            }
        }
        if sizes.is_empty() {
            return None;
        }
        let each = |(name, n): (&&str, &usize)| {
            format!("`{name}` ({n} observation{})", if *n == 1 { "" } else { "s" })
        };
        let each: Vec<String> = sizes.iter().map(each).collect();
        let shared = self.coder.columns.shared;
        let merged = self.owners.iter().zip(&self.coder.from);
        let merged = merged.filter(|(owner, from)| owner.is_none() && from.iter().all(|(k, _)| *k >= shared));
        let too = match merged.count() {
            0 => String::new(),
            n => format!(
                ", and so are those on {n} shared factors that were merged from columns of the studies"
            ),
        };
        Some(format!(
            "The fit does not know {}; its studies are {}. They have codes of the shared encoder; their codes on factors of one \
             study are 0{too}.",
            each.join(", "),
            self.studies.join(", ")
        ))
    }
}

/// What the arguments ask for that a fit of studies does not have.
fn check(args: &ApplyArgs, key: &str) -> std::result::Result<(), Fault> {
    let usage = |text: String| Err(Fault::Usage(text));
    if args.files.len() > 1 {
        return usage(format!("`{key}` is a fit of studies, which is applied to one file"));
    }
    if args.reconstruction {
        return usage(format!("`--reconstruction` is not read here: `{key}` is a fit of {}", Mssvae::NAME));
    }
    if args.missing_features == Absent::Unmeasured {
        let why = "its encoders read every feature";
        return usage(format!(
            "`--missing-features unmeasured` does not go with a fit of {}: {why}",
            Mssvae::NAME
        ));
    }
    Ok(())
}

/// Codes of the new samples, written beside them.
pub(super) fn apply(args: &ApplyArgs, reading: &FitArgs, fitted: &Fitted) -> std::result::Result<(), Fault> {
    let key = &fitted.key;
    check(args, key)?;
    let at_model =
        |source| Fault::Core { context: format!("{}: ", args.model.display()), source, place: String::new() };
    let slots = Slots::of(&fitted.slots, key, fitted.var.len()).map_err(at_model)?;
    let model = Model::read(&slots, fitted).map_err(at_model)?;
    let preparation = slots.preparation().map_err(at_model)?;
    let Inputs { tables, hashes, columns, mut warnings, .. } = fit::read(reading, Joins::Stacked, None)?;
    let table = &tables[0];
    let begun = Instant::now();
    let column = args.study.as_deref().unwrap_or(&model.column);
    let found = levels(table, column, Asked::Apply).map_err(|e| Fault::on(table, e))?;
    warnings.extend(model.unknown(&found));
    let known: Vec<Option<usize>> =
        found.names.iter().map(|name| model.studies.iter().position(|s| s == name)).collect();
    let study: Vec<Option<usize>> = found.codes.iter().map(|&m| known[m as usize]).collect();

    let part = &parts(fitted, (&preparation, &slots.used), false)[0];
    let mut seen = Found::default();
    let of = matched(part, table, Missing::Error, args.missing_features, &mut seen)?;
    if let Some(error) = model.refused(&of, table) {
        return Err(Fault::on(table, error));
    }
    warnings.append(&mut seen.warnings);
    let (n, wide) = table.shape();
    let ignored = wide - of.columns.len();
    let mut codes = Array2::zeros((n, model.coder.factors()));
    for begin in (0..n).step_by(BLOCK) {
        let rows: Vec<usize> = (begin..(begin + BLOCK).min(n)).collect();
        let mut x = Array2::zeros((rows.len(), slots.used.len()));
        of.absent.0.iter().for_each(|&j| x.column_mut(j).fill(of.absent.1));
        let block = of.values.rows(&rows).to_dense();
        for (values, to) in block.columns().into_iter().zip(&of.rows) {
            if let Some(j) = to {
                x.column_mut(*j).assign(&values);
            }
        }
        let found = model.coder.codes(x.view(), &study[begin..begin + rows.len()]);
        codes.slice_mut(ndarray::s![begin..begin + rows.len(), ..]).assign(&found);
    }
    if let Some(((i, _), _)) = codes.indexed_iter().find(|(_, v)| !v.is_finite()) {
        let (problem, hint) = ("has codes that are not finite", "its values are too large".into());
        let source = Error::Line { what: table.slot.clone(), axis: "row", at: vec![i], problem, hint };
        return Err(Fault::on(table, source));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let model_hash = unbraid_io::input_sha256(&args.model)?;
    let strange = study.iter().filter(|s| s.is_none()).count();

    let mut out = Annotations::default();
    out.obsm.insert(format!("X_{key}"), Slot::F64(codes.clone()));
    if ignored > 0 {
        let mut used = vec![Some(false); wide];
        of.columns.iter().for_each(|&j| used[j] = Some(true));
        out.var.insert(format!("{key}_used"), Column::Bool(used));
    }
    for (name, column) in columns {
        out.obs.entry(name).or_insert(column);
    }
    let new: [(&str, Value); 10] = [
        ("method", Mssvae::NAME.into()),
        ("model", args.model.display().to_string().into()),
        ("model_sha256", model_hash.as_str().into()),
        ("input_sha256", Value::Texts(hashes.clone())),
        ("study", column.into()),
        ("of_unknown_studies", Value::Int(strange as i64)),
        ("features_matched", Value::Int(seen.matched as i64)),
        ("features_missing", Value::Int(seen.missing as i64)),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("warnings", Value::Texts(warnings.clone())),
    ];
    out.notes(&format!("{key}_applied")).extend(new.map(|(k, v)| (k.to_owned(), v)));
    let label = args.label.as_deref().map(|name| fit::label(name, table)).transpose()?;
    fit::write(reading, table, false, &out)?;

    if let Some(path) = &args.report {
        let mut page = Page { report: Report::default(), label, seed: Seed(0), logged: false };
        let names: Vec<String> = slots.used.iter().map(|&j| fitted.var.names[j].clone()).collect();
        // Studies of the fit first, then those it does not know.
        let mut studies = model.studies.clone();
        let mut place = |name: &String| {
            let at = studies.iter().position(|s| s == name).unwrap_or(studies.len());
            if at == studies.len() {
                studies.push(name.clone());
            }
            at as u32
        };
        let places: Vec<u32> = found.names.iter().map(&mut place).collect();
        let study: Vec<u32> = found.codes.iter().map(|&m| places[m as usize]).collect();
        let factors = StudyFactors {
            mask: model.loadings.view(),
            owners: &model.owners,
            codes: codes.view(),
            study: &study,
            studies: &studies,
            threshold: model.threshold,
        };
        page.draw_studies(&factors, &names);
        let report = &mut page.report;
        report.run.method = "apply".into();
        report.title =
            format!("{key} of {} applied to {}", super::file_name(&args.model), fit::titles(&args.files));
        report.alerts = picture::alerts(&warnings);
        report.run.about = "New samples in terms of a stored fit, whose encoders stay as they are.".into();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seconds = Some(seconds);
        report.run.inputs = vec![picture::input(table, &hashes[0])];
        report.run.facts = [
            ("model", args.model.display().to_string()),
            ("SHA-256 of the model", model_hash.clone()),
            ("features of the model found", format!("{} of {}", seen.matched, seen.matched + seen.missing)),
            ("observations of studies that the fit does not know", strange.to_string()),
            ("written to", args.output.display().to_string()),
        ]
        .map(|(name, value)| Fact { name: name.into(), value })
        .to_vec();
        unbraid_io::write_bytes_atomically(path, crate::page::render(report).as_bytes())?;
    }

    warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    if args.json {
        say!(
            "{}",
            json!({
                "command": "apply", "method": Mssvae::NAME, "key": key, "version": env!("CARGO_PKG_VERSION"),
                "model": args.model, "model_sha256": model_hash, "inputs": args.files, "input_sha256": hashes,
                "output": args.output, "report": args.report, "observations": n, "factors": codes.ncols(),
                "study": column, "of_unknown_studies": strange,
                "features_matched": seen.matched, "features_missing": seen.missing, "features_ignored": ignored,
                "seconds": seconds, "warnings": warnings,
            })
        );
    } else if !args.quiet {
        say!(
            "{key} of {} applied to {}: {n} observations × {} of {} features of the model ({ignored} others ignored), \
             {seconds:.2} s",
            args.model.display(),
            fit::names(&args.files),
            seen.matched,
            seen.matched + seen.missing,
        );
        say!("  codes on {} factors, {strange} observations of unknown studies", codes.ncols());
        say!("  wrote {}", args.output.display());
        match &args.report {
            Some(path) => say!("  wrote {}; open it in a browser", path.display()),
            None => say!("  next, in Python: adata.obsm[\"X_{key}\"]"),
        }
    }
    Ok(())
}
