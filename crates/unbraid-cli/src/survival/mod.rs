//! `unbraid survival`: whether the factors of a fit go with the time to an event.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, Axis};
use serde_json::json;
use unbraid::Error;
use unbraid::data::{Column, Dataset};
use unbraid::report::finite;
use unbraid::stats::cox::{Cox, CoxFit};
use unbraid_io::ReadOptions;

use crate::args::SurvivalArgs;
use crate::fault::Fault;

/// Runs the command.
pub fn run(args: &SurvivalArgs) -> Result<(), Fault> {
    for path in args.csv.iter() {
        if path == &args.file || Some(path) == args.obs.as_ref() {
            return Err(Fault::Usage(format!(
                "`--csv {}` is also an input; name another file",
                path.display()
            )));
        }
        unbraid_io::check_writable(path)?;
    }
    let data = unbraid_io::read(&args.file, &ReadOptions::default())?;
    let found = Survival::new(args, &data)?;
    if let Some(path) = &args.csv {
        unbraid_io::write_bytes_atomically(path, found.csv()?.as_bytes())?;
    }
    found.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    match args.json {
        true => say!("{}", found.json(args)),
        false => found.show(args),
    }
    Ok(())
}

/// The fits, with what was left out of them.
struct Survival {
    key: String,
    /// Names of the factors that were fitted, counted from 1.
    factors: Vec<String>,
    /// Observations without a time, an event or a factor.
    dropped: usize,
    joint: Option<CoxFit>,
    single: Vec<CoxFit>,
    warnings: Vec<String>,
}

/// A fault about one slot of the file.
fn fault(data: &Dataset, source: Error) -> Fault {
    Fault::Core { context: format!("{}: ", data.source), source, place: String::new() }
}

impl Survival {
    fn new(args: &SurvivalArgs, data: &Dataset) -> Result<Survival, Fault> {
        let (key, scores) = factors(args.key.as_deref(), data)?;
        let table = args.obs.as_deref().map(|path| Clinical::read(path, &data.obs.names)).transpose()?;
        let column = |name: &str| match &table {
            Some(table) => table.column(name),
            None => in_obs(data, name),
        };
        let (times, events) = (column(&args.time)?, column(&args.event)?);
        let place = |name: &str| match &args.obs {
            Some(path) => format!("{}: column `{name}`", path.display()),
            None => format!("{}: obs[{name:?}]", data.source),
        };
        let used = match data.obs.column(&format!("{key}_used")) {
            Some(Column::Bool(v)) => v.iter().map(|u| *u != Some(false)).collect(),
            _ => vec![true; data.obs.len()],
        };
        let (mut rows, mut time, mut event) = (Vec::new(), Vec::new(), Vec::new());
        for (i, name) in data.obs.names.iter().enumerate() {
            let (Some(t), Some(e)) = (times[i], events[i]) else { continue };
            if !used[i] || scores.row(i).iter().any(|v| !v.is_finite()) {
                continue;
            }
            let bad = |column: &str, found: f64, rule: &'static str| Fault::Core {
                context: String::new(),
                source: Error::Value { what: place(column), found, at: (i, 0), rule },
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
            let hint = format!("see {} and {}", place(&args.time), place(&args.event));
            return Err(fault(data, Error::Missing { what, hint }));
        }
        let dropped = data.obs.len() - rows.len();
        let scores = scores.select(Axis(0), &rows);
        let mut warnings = Vec::new();
        let (factors, scores) = varying(&scores, &mut warnings);
        if factors.is_empty() {
            let (what, hint) =
                (format!("a factor in obsm[\"X_{key}\"] that varies"), "fit again with other settings");
            return Err(fault(data, Error::Missing { what, hint: hint.into() }));
        }
        let cox = Cox { ties: args.ties, ..Cox::default() };
        let single = cox.univariate(scores.view(), &time, &event).map_err(|e| fault(data, e))?;
        // Single fits are worth having where the joint one is impossible.
        let joint = match cox.fit(scores.view(), &time, &event) {
            Ok(fit) => {
                warnings.extend(fit.warnings.iter().map(|w| named(w, &factors)));
                Some(fit)
            }
            Err(e @ (Error::Shape { .. } | Error::Line { .. })) => {
                warnings.push(format!("No joint fit: {e}."));
                None
            }
            Err(e) => return Err(fault(data, e)),
        };
        for (factor, fit) in factors.iter().zip(&single) {
            if fit.infinite[0] {
                warnings.push(format!(
                    "Factor {factor} alone orders the events perfectly; its coefficient is infinite."
                ));
            }
        }
        Ok(Survival { key, factors, dropped, joint, single, warnings })
    }

    fn show(&self, args: &SurvivalArgs) {
        let first = &self.single[0];
        say!(
            "Cox proportional hazards ({} ties) of `{}`: {} observations, {} events, {} factors; coefficients are per \
             standard deviation",
            args.ties,
            self.key,
            first.observations,
            first.events,
            self.factors.len()
        );
        if self.dropped > 0 {
            say!("  {} observations dropped: no time, no event or no factors", self.dropped);
        }
        let head = ["factor", "coef", "hazard ratio", "se", "z", "p", "p Bonferroni"];
        if let Some(fit) = &self.joint {
            say!("\nAll factors together");
            table(&head, (0..self.factors.len()).map(|j| self.cells(fit, j, j)).collect());
            say!(
                "  likelihood ratio {:.3} on {} degrees of freedom, p {}; concordance {:.3}",
                fit.lr,
                fit.coef.len(),
                p_value(fit.lr_p),
                fit.concordance
            );
        }
        say!("\nEach factor alone");
        let head = [&head[..], &["LR p", "concordance"]].concat();
        let rows = self.single.iter().enumerate().map(|(j, fit)| {
            let mut cells = self.cells(fit, 0, j);
            cells.extend([p_value(fit.lr_p), format!("{:.3}", fit.concordance)]);
            cells
        });
        table(&head, rows.collect());
        let tables = match self.joint {
            Some(_) => "both tables",
            None => "the table",
        };
        say!("\nBonferroni: p times the {} factors, at most 1, in {tables}.", self.factors.len());
        if let Some(path) = &args.csv {
            say!("wrote {}", path.display());
        }
    }

    /// Factor `j`, which is covariate `at` of the fit.
    fn cells(&self, fit: &CoxFit, at: usize, j: usize) -> Vec<String> {
        let name = self.factors[j].clone();
        if fit.infinite[at] {
            let sign = if fit.coef[at] > 0.0 { "+infinite" } else { "-infinite" };
            return [&name, sign, "-", "-", "-", "-", "-"].map(String::from).to_vec();
        }
        vec![
            name,
            format!("{:.4}", fit.coef[at]),
            format!("{:.4}", fit.coef[at].exp()),
            format!("{:.4}", fit.se[at]),
            format!("{:.3}", fit.z[at]),
            p_value(fit.p[at]),
            p_value(fit.bonferroni[at]),
        ]
    }

    /// What the machine-readable outputs say of factor `j`; `None` where the coefficient is infinite.
    fn numbers(fit: &CoxFit, at: usize) -> [(&'static str, Option<f64>); 6] {
        let known = |v: f64| finite(v).filter(|_| !fit.infinite[at]);
        [
            ("coef", known(fit.coef[at])),
            ("hazard_ratio", known(fit.coef[at].exp())),
            ("se", known(fit.se[at])),
            ("z", known(fit.z[at])),
            ("p", known(fit.p[at])),
            ("p_bonferroni", known(fit.bonferroni[at])),
        ]
    }

    fn json(&self, args: &SurvivalArgs) -> serde_json::Value {
        let row = |fit: &CoxFit, at: usize, j: usize| {
            let mut row: serde_json::Map<String, serde_json::Value> =
                Self::numbers(fit, at).into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
            row.insert("factor".into(), self.factors[j].clone().into());
            row.insert("infinite".into(), fit.infinite[at].into());
            row
        };
        let whole = |fit: &CoxFit| {
            json!({"log_likelihood": fit.log_likelihood, "null_log_likelihood": fit.null_log_likelihood,
                   "lr": fit.lr, "lr_p": fit.lr_p, "concordance": fit.concordance, "steps": fit.steps})
        };
        let joint = self.joint.as_ref().map(|fit| {
            let rows: Vec<_> = (0..self.factors.len()).map(|j| row(fit, j, j)).collect();
            json!({"fit": whole(fit), "factors": rows})
        });
        let single: Vec<_> = self
            .single
            .iter()
            .enumerate()
            .map(|(j, fit)| {
                let mut row = row(fit, 0, j);
                row.insert("lr_p".into(), fit.lr_p.into());
                row.insert("concordance".into(), fit.concordance.into());
                row
            })
            .collect();
        json!({
            "file": args.file, "key": self.key, "ties": args.ties, "version": env!("CARGO_PKG_VERSION"),
            "observations": self.single[0].observations, "events": self.single[0].events,
            "dropped": self.dropped, "joint": joint, "univariate": single, "warnings": self.warnings,
        })
    }

    fn csv(&self) -> Result<String, Fault> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let text = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let mut lines: Vec<Vec<String>> = Vec::new();
        let joint =
            self.joint.iter().flat_map(|fit| (0..self.factors.len()).map(move |j| ("joint", fit, j, j)));
        let single = self.single.iter().enumerate().map(|(j, fit)| ("univariate", fit, 0, j));
        for (kind, fit, at, j) in joint.chain(single) {
            let mut line = vec![self.factors[j].clone(), kind.to_owned()];
            line.extend(Self::numbers(fit, at).map(|(_, v)| text(v)));
            line.extend([text(Some(fit.lr_p)), text(Some(fit.concordance)), fit.infinite[at].to_string()]);
            lines.push(line);
        }
        let head = Self::numbers(&self.single[0], 0).map(|(name, _)| name);
        let head = [&["factor", "fit"], &head[..], &["lr_p", "concordance", "infinite"]].concat();
        let internal =
            |e: &dyn std::fmt::Display| Fault::from(Error::Io(std::io::Error::other(e.to_string())));
        out.write_record(head).map_err(|e| internal(&e))?;
        for line in lines {
            out.write_record(line).map_err(|e| internal(&e))?;
        }
        let bytes = out.into_inner().map_err(|e| internal(&e))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
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

fn p_value(p: f64) -> String {
    if p >= 1e-4 { format!("{p:.4}") } else { format!("{p:.1e}") }
}

/// Right-aligned columns.
fn table(head: &[&str], rows: Vec<Vec<String>>) {
    let width = |c: usize| rows.iter().map(|r| r[c].len()).chain([head[c].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line =
        |cells: Vec<&str>| cells.iter().zip(&widths).map(|(c, w)| format!("  {c:>w$}")).collect::<String>();
    say!("{}", line(head.to_vec()));
    rows.iter().for_each(|row| say!("{}", line(row.iter().map(String::as_str).collect())));
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

/// A column of the file as numbers.
fn in_obs(data: &Dataset, name: &str) -> Result<Vec<Option<f64>>, Fault> {
    let Some(column) = data.obs.column(name) else {
        let known: Vec<&str> = data.obs.columns.iter().map(|(n, _)| n.as_str()).collect();
        let hint = match known.is_empty() {
            true => "obs has no columns; give a table with --obs FILE.tsv".to_owned(),
            false => format!("obs has {}; or give a table with --obs FILE.tsv", known.join(", ")),
        };
        return Err(fault(data, Error::Missing { what: format!("obs[{name:?}]"), hint }));
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
            let (of, row) = (&data.source, &data.obs.names[i]);
            wrong(&format!("{of}: obs[{name:?}], observation `{row}`"), text)
        }),
    };
    texts.iter().enumerate().map(read).collect()
}

/// A text that is no number.
fn wrong(place: &str, found: &str) -> Fault {
    let (file, slot) = place.split_once(": ").unwrap_or((place, "the column"));
    Fault::File(unbraid_io::Error::Input {
        file: file.to_owned(),
        slot: slot.to_owned(),
        found: format!("{found:?}"),
        rule: "it must be a number".into(),
        hint: "correct it, or leave it empty to drop the observation".into(),
    })
}

/// A text table over observations: names in the first column, a header in the first line.
struct Clinical {
    file: String,
    header: Vec<String>,
    /// The line of each observation of the data, where the table has it.
    rows: Vec<Option<(u64, Vec<String>)>>,
}

impl Clinical {
    fn read(path: &Path, names: &[String]) -> Result<Clinical, Fault> {
        let file = path.display().to_string();
        let bad = |slot: String, found: String, rule: &str, hint: &str| {
            let (file, rule, hint) = (file.clone(), rule.to_owned(), hint.to_owned());
            Fault::File(unbraid_io::Error::Input { file, slot, found, rule, hint })
        };
        let text = std::fs::read_to_string(path).map_err(|e| {
            let hint = "check the path; the table is plain text in UTF-8";
            bad("the file".into(), format!("`{e}`"), "it must be a readable table", hint)
        })?;
        let text = text.trim_start_matches('\u{feff}');
        let first = text.lines().next().unwrap_or_default();
        let delimiter = if first.contains('\t') { b'\t' } else { b',' };
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(text.as_bytes());
        let mut header: Vec<String> = Vec::new();
        let mut lines: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| {
                let line = e.position().map_or(0, |p| p.line());
                let hint = "give every line as many cells as the first";
                bad(format!("line {line}"), format!("`{e}`"), "it must be a table", hint)
            })?;
            let line = record.position().map_or(0, |p| p.line());
            let cells: Vec<String> = record.iter().map(|c| c.trim().to_owned()).collect();
            if header.is_empty() {
                header = cells;
            } else if let Some((before, _)) = lines.insert(cells[0].clone(), (line, cells.clone())) {
                let found = format!("the name {:?}, also that of line {before}", cells[0]);
                return Err(bad(
                    format!("line {line}"),
                    found,
                    "names must be unique",
                    "keep one line of each",
                ));
            }
        }
        let rows: Vec<_> = names.iter().map(|name| lines.get(name).cloned()).collect();
        if rows.iter().all(Option::is_none) {
            let found = match lines.keys().next() {
                Some(name) => format!("names as {name:?}"),
                None => "no lines below the header".into(),
            };
            let rule = match names.first() {
                Some(name) => format!("the observations of the data are named as {name:?}"),
                None => "the data have no observations".into(),
            };
            let hint = "the first column must hold names of observations";
            return Err(bad("the first column".into(), found, &rule, hint));
        }
        Ok(Clinical { file, header, rows })
    }

    fn column(&self, name: &str) -> Result<Vec<Option<f64>>, Fault> {
        let at = self.header.iter().skip(1).position(|h| h == name).map(|at| at + 1).ok_or_else(|| {
            let known = self.header.get(1..).unwrap_or_default().join(", ");
            Fault::File(unbraid_io::Error::Input {
                file: self.file.clone(),
                slot: "line 1".into(),
                found: format!("no column `{name}`"),
                rule: "the first line must name the columns".into(),
                hint: format!("the columns are: {}", if known.is_empty() { "none".into() } else { known }),
            })
        })?;
        let read = |row: &Option<(u64, Vec<String>)>| match row {
            None => Ok(None),
            Some((line, cells)) => cell(&cells[at])
                .map_err(|()| wrong(&format!("{}: line {line}, column `{name}`", self.file), &cells[at])),
        };
        self.rows.iter().map(read).collect()
    }
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
