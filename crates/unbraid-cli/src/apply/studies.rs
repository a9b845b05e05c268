//! New samples of studies: codes by the stored encoders of a fit.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde_json::json;
use unbraid::data::{Annotations, Dataset, Missing, Slot, Value};
use unbraid::error::{Error, Result};
use unbraid::fit::{Method, Seed};
use unbraid::methods::multistudy::coder::Coder;
use unbraid::methods::multistudy::each::SvaeMerge;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::linear::Msfa;
use unbraid::methods::multistudy::mssvae::Mssvae;
use unbraid::methods::slots::{Slots, lost};
use unbraid::report::{Report, StudyFactors};
use unbraid_io::Fitted;

use super::told::Applied;
use super::{BLOCK, Matched, matched, parts};
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
    let Inputs { tables, hashes, columns, warnings, .. } = fit::read(reading, Joins::Stacked, None)?;
    let table = &tables[0];
    let (n, wide) = table.shape();
    let mut applied = Applied::begin(args, (key, Mssvae::NAME), &hashes, (n, wide), warnings)?;
    let column = args.study.as_deref().unwrap_or(&model.column);
    let found = levels(table, column, Asked::Apply).map_err(|e| Fault::on(table, e))?;
    applied.found.warnings.extend(model.unknown(&found));
    let known: Vec<Option<usize>> =
        found.names.iter().map(|name| model.studies.iter().position(|s| s == name)).collect();
    let study: Vec<Option<usize>> = found.codes.iter().map(|&m| known[m as usize]).collect();

    let part = &parts(fitted, (&preparation, &slots.used), false)[0];
    let of = matched(part, table, Missing::Error, args.missing_features, &mut applied.found)?;
    if let Some(error) = model.refused(&of, table) {
        return Err(Fault::on(table, error));
    }
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
    applied.end(of.columns.len());
    let strange = study.iter().filter(|s| s.is_none()).count();

    let mut out = Annotations::default();
    out.obsm.insert(format!("X_{key}"), Slot::F64(codes.clone()));
    let more = [("study", column.into()), ("of_unknown_studies", Value::Int(strange as i64))];
    applied.note(&mut out, of.columns, columns, &more);
    let label = args.label.as_deref().map(|name| fit::label(name, table)).transpose()?;
    fit::write(reading, table, false, &out)?;

    if args.report.is_some() {
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
        let about = "New samples in terms of a stored fit, whose encoders stay as they are.";
        let strangers = ("observations of studies that the fit does not know", strange.to_string());
        applied.show(page, about, vec![picture::input(table, &hashes[0])], &[strangers])?;
    }
    let factors = codes.ncols();
    applied.tell(
        json!({ "factors": factors, "study": column, "of_unknown_studies": strange }),
        &format!("codes on {factors} factors, {strange} observations of unknown studies"),
        &format!("adata.obsm[\"X_{key}\"]"),
    );
    Ok(())
}
