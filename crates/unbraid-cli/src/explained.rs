//! How much columns of obs explain of stored factors.

use ndarray::Axis;
use unbraid::data::{Column, Dataset, Value};
use unbraid::error::Error;
use unbraid::report::{ExplainedFigure, SHARED};
use unbraid_io::Fitted;

use crate::fault::Fault;
use crate::stored;

/// What each of the `columns` of obs explains of the scores of a fit. `owner` has `shared` or the study of each factor;
/// `study` is the column of obs that tells studies apart, `auto` for the one of the fit, else the first whose labels hold the
/// owners.
pub fn figure(
    fit: &Fitted,
    data: &Dataset,
    owner: &[String],
    columns: &[String],
    study: &str,
) -> Result<ExplainedFigure, Fault> {
    let key = fit.key.as_str();
    let fault = |e: Error| Fault::on(data, e);
    let listed = || {
        let names: Vec<&str> = data.obs.columns.iter().map(|(n, _)| n.as_str()).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    };
    let named = |name: &str| {
        data.obs.column(name).ok_or_else(|| {
            let hint = format!("columns of obs are: {}", listed());
            fault(Error::Missing { what: format!("the column `{name}` in obs"), hint })
        })
    };
    let known = columns.iter().map(|name| Ok((name.as_str(), named(name)?)));
    let mut known = known.collect::<Result<Vec<(&str, &Column)>, Fault>>()?;
    let mut study = match study {
        "auto" => of_fit(fit, data).or_else(|| telling(data, owner)),
        name => Some((name, named(name)?)),
    };
    let scores = data.obsm.get(&format!("X_{key}")).ok_or_else(|| {
        let hint = "the scores of the factors are what columns explain; fit again";
        fault(Error::Missing { what: format!("obsm[\"X_{key}\"]"), hint: hint.into() })
    })?;
    if scores.ncols() != owner.len() {
        let found = vec![scores.ncols(), owner.len()];
        let what = format!("obsm[\"X_{key}\"] and varm[\"{key}_loadings\"]");
        return Err(fault(Error::Shape { what, found, rule: "a column for each factor in both" }));
    }
    // What took no part in the fit has no scores.
    let (mut held, mut own) = (Vec::new(), None);
    let mut used = scores.view();
    let chosen;
    if let Some(at) = stored::used(&data.obs, key) {
        chosen = scores.select(Axis(0), &at);
        used = chosen.view();
        held = known.iter().map(|(_, c)| c.rows(&at)).collect();
        own = study.map(|(_, c)| c.rows(&at));
    }
    known.iter_mut().zip(&held).for_each(|((_, to), column)| *to = column);
    if let (Some((_, to)), Some(column)) = (&mut study, &own) {
        *to = column;
    }
    ExplainedFigure::new(key, used, owner, study, &known).map_err(fault)
}

/// The column that the fit took its studies from.
fn of_fit<'a>(fit: &Fitted, data: &'a Dataset) -> Option<(&'a str, &'a Column)> {
    let Some(Value::Map(notes)) = fit.slots.uns.get(&fit.key) else { return None };
    let Some(Value::Map(params)) = notes.get("params") else { return None };
    let Some(Value::Text(name)) = params.get("study") else { return None };
    let found = data.obs.columns.iter().find(|(n, c)| n == name && c.labels().is_some());
    found.map(|(name, column)| (name.as_str(), column))
}

/// The first column of obs whose labels hold the studies that own factors.
fn telling<'a>(data: &'a Dataset, owner: &[String]) -> Option<(&'a str, &'a Column)> {
    let studies: Vec<&String> = owner.iter().filter(|n| *n != SHARED).collect();
    let holds = |column: &Column| {
        column.labels().is_some_and(|(_, titles)| studies.iter().all(|s| titles.contains(s)))
    };
    let found = data.obs.columns.iter().find(|(_, c)| !studies.is_empty() && holds(c));
    found.map(|(name, column)| (name.as_str(), column))
}
