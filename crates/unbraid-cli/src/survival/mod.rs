//! `unbraid survival`: whether the factors of a fit go with the time to an event.

mod text;

use std::path::PathBuf;
use std::time::Instant;

use ndarray::{Array2, Axis};
use unbraid::Error;
use unbraid::data::{Column, Dataset};
use unbraid::report::{CoxTable, CurveFigure, Fact, Report, SurvivalFigure};
use unbraid::stats::cox::Cox;
use unbraid_io::ReadOptions;

use crate::args::SurvivalArgs;
use crate::fault::Fault;
use crate::picture;

/// Runs the command.
pub fn run(args: &SurvivalArgs) -> Result<(), Fault> {
    for (name, path) in [("--csv", &args.csv), ("--report", &args.report)] {
        let Some(path) = path else { continue };
        if path == &args.file || Some(path) == args.obs.as_ref() {
            return Err(Fault::Usage(format!(
                "`{name} {}` is also an input; name another file",
                path.display()
            )));
        }
        unbraid_io::check_writable(path)?;
    }
    let begun = Instant::now();
    let data = unbraid_io::read(&args.file, &ReadOptions::default())?;
    let found = Survival::new(args, &data)?;
    if let Some(path) = &args.csv {
        unbraid_io::write_bytes_atomically(path, text::csv(&found)?.as_bytes())?;
    }
    if let Some(path) = &args.report {
        let report = found.report(args, &data, begun.elapsed().as_secs_f64());
        unbraid_io::write_bytes_atomically(path, crate::page::render(&report).as_bytes())?;
    }
    found.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    match args.json {
        true => say!("{}", text::json(&found, args)),
        false => text::show(&found, args),
    }
    Ok(())
}

/// The fits, with what was left out of them.
struct Survival {
    key: String,
    figure: SurvivalFigure,
    /// The files that were read, with their fingerprints.
    inputs: Vec<(PathBuf, String)>,
    warnings: Vec<String>,
}

/// A fault about one slot of the file.
fn fault(data: &Dataset, source: Error) -> Fault {
    Fault::Core { context: format!("{}: ", data.source), source, place: String::new() }
}

/// Times and events of all observations, and where they come from.
struct Outcome {
    time: Vec<Option<f64>>,
    event: Vec<Option<f64>>,
    /// The file, as messages name it, and whether the columns are its obs.
    place: String,
    within: bool,
}

/// A column in a message.
fn slot(file: &str, within: bool, name: &str) -> String {
    if within { format!("{file}: obs[{name:?}]") } else { format!("{file}: column `{name}`") }
}

impl Outcome {
    /// From the table `--obs`, else from obs.
    fn read(args: &SurvivalArgs, data: &Dataset, warnings: &mut Vec<String>) -> Result<Outcome, Fault> {
        let (columns, place) = match &args.obs {
            None => (data.obs.columns.clone(), data.source.clone()),
            Some(path) => {
                let file = path.display().to_string();
                let table = unbraid_io::read_columns(path, None)?;
                let (columns, without) = unbraid_io::align_columns(&table, &data.obs.names, &file)?;
                if without > 0 {
                    let all = data.obs.len();
                    warnings.push(format!("{file}: {without} of {all} observations have no row."));
                }
                (columns, file)
            }
        };
        let within = args.obs.is_none();
        let of = |name: &str| numbers(&columns, name, &place, data, within);
        Ok(Outcome { time: of(&args.time)?, event: of(&args.event)?, place, within })
    }

    fn column(&self, name: &str) -> String {
        slot(&self.place, self.within, name)
    }
}

impl Survival {
    fn new(args: &SurvivalArgs, data: &Dataset) -> Result<Survival, Fault> {
        let (key, scores) = factors(args.key.as_deref(), data)?;
        let mut warnings = Vec::new();
        let outcome = Outcome::read(args, data, &mut warnings)?;
        let used = match data.obs.column(&format!("{key}_used")) {
            Some(Column::Bool(v)) => v.iter().map(|u| *u != Some(false)).collect(),
            _ => vec![true; data.obs.len()],
        };
        let (mut rows, mut time, mut event) = (Vec::new(), Vec::new(), Vec::new());
        for (i, name) in data.obs.names.iter().enumerate() {
            let (Some(t), Some(e)) = (outcome.time[i], outcome.event[i]) else { continue };
            if !used[i] || scores.row(i).iter().any(|v| !v.is_finite()) {
                continue;
            }
            let bad = |column: &str, found: f64, rule: &'static str| Fault::Core {
                context: String::new(),
                source: Error::Value { what: outcome.column(column), found, at: (i, 0), rule },
                place: format!("observation `{name}`"),
            };
            if !(t.is_finite() && t >= 0.0) {
                return Err(bad(&args.time, t, "a finite time, 0 or later; leave the cell empty to drop it"));
            }
            if e != 0.0 && e != 1.0 {
                return Err(bad(&args.event, e, "1 (it happened) or 0 (it had not when last seen)"));
            }
            rows.push(i);
            time.push(t);
            event.push(e == 1.0);
        }
        if rows.is_empty() {
            let what = "an observation with a time, an event and factors".into();
            let hint = format!("see {} and {}", outcome.column(&args.time), outcome.column(&args.event));
            return Err(fault(data, Error::Missing { what, hint }));
        }
        let scores = scores.select(Axis(0), &rows);
        let (factors, scores) = varying(&scores, &mut warnings);
        if factors.is_empty() {
            let (what, hint) =
                (format!("a factor in obsm[\"X_{key}\"] that varies"), "fit again with other settings");
            return Err(fault(data, Error::Missing { what, hint: hint.into() }));
        }
        let mut figure = SurvivalFigure {
            observations: rows.len(),
            events: event.iter().filter(|e| **e).count(),
            dropped: data.obs.len() - rows.len(),
            time: args.time.clone(),
            ties: args.ties.to_string(),
            split: args.split.to_string(),
            ..SurvivalFigure::default()
        };
        let cox = Cox { ties: args.ties, ..Cox::default() };
        let single = cox.univariate(scores.view(), &time, &event).map_err(|e| fault(data, e))?;
        // Single fits are worth having where the joint one is impossible.
        match cox.fit(scores.view(), &time, &event) {
            Ok(fit) => {
                warnings.extend(fit.warnings.iter().map(|w| named(w, &factors)));
                let table = CoxTable::new(&fit, &factors);
                changing(&table, &mut warnings);
                figure.joint = Some(table);
            }
            Err(e @ (Error::Shape { .. } | Error::Line { .. })) => {
                warnings.push(format!("No joint fit: {e}."));
            }
            Err(e) => return Err(fault(data, e)),
        }
        for (j, (factor, fit)) in factors.iter().zip(&single).enumerate() {
            if fit.infinite[0] {
                warnings.push(format!(
                    "Factor {factor} alone orders the events perfectly; its coefficient is infinite."
                ));
            }
            figure.single.push(CoxTable::new(fit, &factors[j..=j]));
            let score = scores.column(j).to_vec();
            figure.curves.extend(CurveFigure::new(factor, &score, args.split, &time, &event)?);
        }
        let mut inputs = vec![args.file.clone()];
        inputs.extend(args.obs.clone());
        let inputs = inputs
            .into_iter()
            .map(|f| Ok((f.clone(), unbraid_io::input_sha256(&f)?)))
            .collect::<Result<Vec<_>, Fault>>()?;
        Ok(Survival { key, figure, inputs, warnings })
    }

    /// The page.
    fn report(&self, args: &SurvivalArgs, data: &Dataset, seconds: f64) -> Report {
        let mut report = Report::default();
        let file = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
        report.title = format!("Survival by the factors of {} in {file}", self.key);
        report.alerts = picture::alerts(&self.warnings);
        report.run.method = "survival".into();
        report.run.about = "Whether the factors of a fit go with the time to an event.".into();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seconds = Some(seconds);
        report.run.inputs = vec![picture::input(data, &self.inputs[0].1)];
        let fact = |name: &str, value: &str| Fact { name: name.into(), value: value.into() };
        report.run.facts = vec![
            fact("factors", &format!("obsm[\"X_{}\"]", self.key)),
            fact("time", &args.time),
            fact("event", &args.event),
        ];
        report.run.facts.extend(self.inputs[1..].iter().map(|(f, h)| crate::fit::columns_from(f, h)));
        report.survival = Some(self.figure.clone());
        report
    }
}

/// Warns of coefficients that change over time, by the tests of the joint fit together.
fn changing(table: &CoxTable, warnings: &mut Vec<String>) {
    let tests = table.rows.len() as f64;
    let list: Vec<String> = table
        .rows
        .iter()
        .filter_map(|r| Some((r, r.ph_p.filter(|p| p * tests < 0.05)?)))
        .map(|(r, p)| format!("{} (p {})", r.factor, p_value(p)))
        .collect();
    if !list.is_empty() {
        warnings.push(format!(
            "Hazards are not proportional for factor {}: its effect changes over time, and its hazard ratio is a mean \
             over the times of events.",
            list.join(", ")
        ));
    }
}

/// A warning about covariates counted from 1, where some factors were left out before.
fn named(warning: &str, factors: &[String]) -> String {
    let whole = factors.iter().enumerate().all(|(j, f)| *f == (j + 1).to_string());
    match whole || !warning.contains("covariate") {
        true => warning.replace("covariate", "factor"),
        false => {
            format!("{} Factors are counted without those left out.", warning.replace("covariate", "factor"))
        }
    }
}

/// A p-value in four places, or by its size.
pub fn p_value(p: f64) -> String {
    if p >= 1e-4 { format!("{p:.4}") } else { format!("{p:.1e}") }
}

/// `obsm["X_<key>"]` and its key: the one named, or the only one that has loadings of features or is alone.
fn factors(key: Option<&str>, data: &Dataset) -> Result<(String, Array2<f64>), Fault> {
    let known: Vec<&str> = data.obsm.keys().filter_map(|k| k.strip_prefix("X_")).collect();
    let listed = match known.is_empty() {
        true => "the file has none; fit a factor method first, as `unbraid fit nmf`".to_owned(),
        false => format!("the file has {}", known.join(", ")),
    };
    let key = match (key, &known[..]) {
        (Some(key), _) => key,
        (None, [one]) => one,
        (None, _) => {
            let what = "`--key`, which says the factors to use,".into();
            return Err(fault(data, Error::Missing { what, hint: listed }));
        }
    };
    match data.obsm.get(&format!("X_{key}")) {
        Some(scores) if scores.ncols() > 0 => Ok((key.to_owned(), scores.clone())),
        Some(_) => {
            let (what, found) = (format!("obsm[\"X_{key}\"]"), vec![data.obs.len(), 0]);
            Err(fault(data, Error::Shape { what, found, rule: "at least one column" }))
        }
        None => Err(fault(data, Error::Missing { what: format!("obsm[\"X_{key}\"]"), hint: listed })),
    }
}

/// Factors that are not the same for everyone, with their names.
fn varying(scores: &Array2<f64>, warnings: &mut Vec<String>) -> (Vec<String>, Array2<f64>) {
    let varies = |j: usize| {
        let column = scores.column(j);
        let size = column.fold(0.0f64, |m, v| m.max(v.abs()));
        column.iter().any(|v| (v - column[0]).abs() > 1e-12 * size)
    };
    let (keep, flat): (Vec<usize>, Vec<usize>) = (0..scores.ncols()).partition(|&j| varies(j));
    let name = |j: &usize| (j + 1).to_string();
    if !flat.is_empty() {
        let names: Vec<String> = flat.iter().map(name).collect();
        warnings
            .push(format!("Factor {} is the same for every observation and was left out.", names.join(", ")));
    }
    (keep.iter().map(name).collect(), scores.select(Axis(1), &keep))
}

/// Words for a number that is not known.
const MISSING: [&str; 8] = ["", "na", "nan", "n/a", "null", "none", "unknown", "[not available]"];

/// A number as text; `Ok(None)` where it is missing.
fn cell(text: &str) -> Result<Option<f64>, ()> {
    let text = text.trim();
    if MISSING.iter().any(|m| text.eq_ignore_ascii_case(m)) {
        return Ok(None);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(Some(1.0)),
        "false" => Ok(Some(0.0)),
        number => number.parse().map(|v: f64| Some(v).filter(|v| !v.is_nan())).map_err(|_| ()),
    }
}

/// A column as numbers; `within` says whether it is one of the file itself.
pub fn numbers(
    columns: &[(String, Column)],
    name: &str,
    file: &str,
    data: &Dataset,
    within: bool,
) -> Result<Vec<Option<f64>>, Fault> {
    let Some((_, column)) = columns.iter().find(|(title, _)| title == name) else {
        let known: Vec<&str> = columns.iter().map(|(n, _)| n.as_str()).collect();
        let hint = match (within, known.is_empty()) {
            (true, true) => "obs has no columns; give a table with --obs FILE.tsv".to_owned(),
            (true, false) => format!("obs has {}; or give a table with --obs FILE.tsv", known.join(", ")),
            (false, _) => format!("the columns are: {}", known.join(", ")),
        };
        return Err(Error::Missing { what: slot(file, within, name), hint }.into());
    };
    let texts: Vec<Option<&str>> = match column {
        Column::Float(v) => return Ok(v.iter().map(|v| (!v.is_nan()).then_some(*v)).collect()),
        Column::Int(v) => return Ok(v.iter().map(|v| v.map(|v| v as f64)).collect()),
        Column::Bool(v) => return Ok(v.iter().map(|v| v.map(|v| f64::from(u8::from(v)))).collect()),
        Column::Text(v) => v.iter().map(Option::as_deref).collect(),
        Column::Categorical { codes, categories, .. } => {
            codes.iter().map(|c| c.and_then(|c| categories.get(c as usize)).map(String::as_str)).collect()
        }
    };
    let read = |(i, text): (usize, &Option<&str>)| match text {
        None => Ok(None),
        Some(text) => cell(text).map_err(|()| {
            let whole = slot(file, within, name);
            Fault::File(unbraid_io::Error::Input {
                file: file.to_owned(),
                slot: format!("{}, observation `{}`", &whole[file.len() + 2..], data.obs.names[i]),
                found: format!("{text:?}"),
                rule: "it must be a number".into(),
                hint: "correct it, or leave it empty to drop the observation".into(),
            })
        }),
    };
    texts.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_or_missing() {
        for (text, value) in
            [("1.5", Some(1.5)), (" TRUE ", Some(1.0)), ("NaN", None), ("", None), ("[Not Available]", None)]
        {
            assert_eq!(cell(text), Ok(value), "{text}");
        }
        assert_eq!(cell("dead"), Err(()));
    }
}
