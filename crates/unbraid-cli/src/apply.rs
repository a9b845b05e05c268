//! `unbraid apply`: scores, codes or clusters of new samples by a stored fit, whose parameters and preparation stay as they are.

mod clusters;
mod studies;
mod told;

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::Array2;
use serde_json::json;
use unbraid::data::{Annotations, Column, Dataset, Matrix, Missing, Selection, Slot, Table, Value};
use unbraid::fit::Seed;
use unbraid::methods::factor::stored::Stored;
use unbraid::preprocess::prepare::{Constants, Transform};
use unbraid::report::{Factors, Report};
use unbraid_io::{Fitted, ReadOptions};

use self::told::Applied;
use crate::args::{Absent, ApplyArgs, FitArgs};
use crate::fault::Fault;
use crate::fit::{self, Inputs};
use crate::join;
use crate::methods::{Joins, Picture, factors};
use crate::picture::{self, Page};

/// Samples that are held dense at a time.
const BLOCK: usize = 1024;

/// Runs the command.
pub fn run(args: &ApplyArgs) -> Result<(), Fault> {
    let reading = args.reading();
    let key = args.key.as_deref().unwrap_or("factors");
    fit::check_arguments(&reading, ("apply", Joins::Stacked), key)?;
    let same = |path: &std::path::Path| {
        path == args.model
            || path.canonicalize().is_ok_and(|p| args.model.canonicalize().is_ok_and(|m| m == p))
    };
    for (name, path) in [("--output", Some(&args.output)), ("--report", args.report.as_ref())] {
        if let Some(path) = path.filter(|p| same(p)) {
            let path = path.display();
            return Err(Fault::Usage(format!("`{name} {path}` is also the model; name another file")));
        }
    }
    fit::pool(args.threads)?.install(|| apply(args, &reading))
}

/// The key the user named, or the only one.
fn choose(args: &ApplyArgs, options: &ReadOptions) -> Result<String, Fault> {
    let keys = Fitted::keys(&args.model, options)?;
    let missing = |what: &str, hint: String| Fault::Core {
        context: format!("{}: ", args.model.display()),
        source: unbraid::Error::Missing { what: what.to_owned(), hint },
        place: String::new(),
    };
    match (&args.key, &keys[..]) {
        (_, []) => {
            let hint = "fits of nmf, qmf, qmfq, mssvae and svcc hold one (`unbraid fit nmf`); a file that `apply` wrote holds none".into();
            Err(missing("a model for new samples", hint))
        }
        (Some(key), _) if !keys.contains(key) => {
            Err(missing(&format!("the factorisation `{key}`"), format!("the file has {}", keys.join(", "))))
        }
        (Some(key), _) => Ok(key.clone()),
        (None, [one]) => Ok(one.clone()),
        (None, several) => Err(Fault::Usage(format!(
            "{} holds several factorisations; choose one with --key: {}",
            args.model.display(),
            several.join(", ")
        ))),
    }
}

/// The part of the model that one table of the fit gave.
struct Part {
    /// Row of the model (among the features that took part) of each name; `None` for features that were left out
    /// of the fit but count towards the sums of its rows.
    features: Vec<(String, Option<usize>)>,
    constants: Constants,
}

/// The tables of the fit, in their order; `together` where one file has the features of all.
fn parts(model: &Fitted, (preparation, used): (&[Constants], &[usize]), together: bool) -> Vec<Part> {
    let several = preparation.len() > 1;
    let from = match model.var.column("table") {
        Some(Column::Categorical { codes, categories, .. }) if several => Some((codes, categories)),
        _ => None,
    };
    let row: BTreeMap<usize, usize> = used.iter().enumerate().map(|(row, &i)| (i, row)).collect();
    let part = |(t, constants): (usize, &Constants)| {
        let takes_all = constants.transform == Transform::Lognorm;
        let features = (0..model.var.len())
            .filter(|&i| from.is_none_or(|(codes, _)| codes[i] == Some(t as u32)))
            .filter(|i| takes_all || row.contains_key(i))
            .map(|i| {
                let name = &model.var.names[i];
                // Names that several tables use were told apart by the table's name behind them.
                let bare = from.and_then(|(_, tables)| {
                    name.strip_suffix(&format!(" ({})", tables[t])).filter(|_| !together)
                });
                (bare.unwrap_or(name).to_owned(), row.get(&i).copied())
            })
            .collect();
        Part { features, constants: *constants }
    };
    preparation.iter().enumerate().map(part).collect()
}

/// One new table beside its part of the model.
struct Matched {
    /// Prepared values of the features that are there.
    values: Matrix,
    /// Row of the model of each of its columns.
    rows: Vec<Option<usize>>,
    /// Column of the new table of each of its columns.
    columns: Vec<usize>,
    /// Rows of the model without a feature, and their value.
    absent: (Vec<usize>, f64),
}

/// What was found while matching.
#[derive(Default)]
struct Found {
    matched: usize,
    missing: usize,
    /// Values below the smallest of the fit that became 0.
    lifted: usize,
    warnings: Vec<String>,
}

fn named(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Finds the features of a part in a new table by name, and prepares their values as those of the fit were.
fn matched(
    part: &Part,
    new: &Dataset,
    missing: Missing,
    absent: Absent,
    found: &mut Found,
) -> Result<Matched, Fault> {
    let mut at: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    new.var.names.iter().enumerate().for_each(|(j, name)| at.entry(name).or_default().push(j));
    let twice: Vec<&str> = part
        .features
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| at.get(name).is_some_and(|places| places.len() > 1))
        .collect();
    let core = |source| Fault::Core { context: format!("{}: ", new.source), source, place: String::new() };
    if !twice.is_empty() {
        let what = format!(
            "one feature of each name ({} of the model occur more than once: {})",
            twice.len(),
            named(&twice)
        );
        let hint = "rename with adata.var_names_make_unique(), as before the fit".into();
        return Err(core(unbraid::Error::Missing { what, hint }));
    }
    let (there, gone): (Vec<_>, Vec<_>) =
        part.features.iter().partition(|(name, _)| at.contains_key(name.as_str()));
    let gone: Vec<&(String, Option<usize>)> = gone.into_iter().collect();
    let names: Vec<&str> = gone.iter().map(|(name, _)| name.as_str()).collect();
    let all = part.features.len();
    if there.is_empty() || (absent == Absent::Error && !gone.is_empty()) {
        let what = format!("{} of {all} features of the model ({})", gone.len(), named(&names));
        let hint = match (there.is_empty(), new.var.names.first()) {
            (true, Some(first)) => format!(
                "the new features are named as `{first}`; names must be those of the fit, and features in rows need \
                 --transpose"
            ),
            _ => {
                "add them, or take `--missing-features unmeasured` (scores from the others) or `zero`".into()
            }
        };
        return Err(core(unbraid::Error::Missing { what, hint }));
    }
    found.matched += there.len();
    found.missing += gone.len();
    if !gone.is_empty() {
        let how = if absent == Absent::Zero { "count as 0" } else { "take no part in the scores" };
        let sums = match part.constants.transform {
            Transform::Lognorm if absent != Absent::Zero => " and are lacking in the sums of the rows",
            _ => "",
        };
        let (of, count) = (&new.source, gone.len());
        found.warnings.push(format!(
            "{of}: {count} of {all} features of the model are missing ({}); they {how}{sums}.",
            named(&names)
        ));
    }
    let columns: Vec<usize> = there.iter().map(|(name, _)| at[name.as_str()][0]).collect();
    let chosen = new.select(&Selection { obs: None, var: Some(columns.clone()) });
    let prepared = match missing == Missing::Nan || absent == Absent::Unmeasured {
        true => part.constants.apply_to_measured(chosen.values()),
        false => part.constants.apply(chosen.values()),
    };
    let values = prepared.map_err(|e| Fault::on(&chosen, e))?;
    let gone = gone.iter().filter_map(|(_, row)| *row).collect();
    let Constants { shift, scale, .. } = part.constants;
    // Every transform takes 0 to 0.
    let value = if absent == Absent::Zero { -shift / scale } else { f64::NAN };
    Ok(Matched { values, rows: there.iter().map(|(_, row)| *row).collect(), columns, absent: (gone, value) })
}

/// Values below 0 of features of the model become 0, where the table of the fit was shifted.
fn lift(part: &Part, of: &mut Matched, new: &Dataset, found: &mut Found) -> Result<(), Fault> {
    let mut low = None;
    of.values.for_each_nonzero(|i, j, v| {
        if v < 0.0 && of.rows[j].is_some() {
            found.lifted += 1;
            low.get_or_insert(((i, j), v));
        }
    });
    let Some(((i, j), value)) = low else { return Ok(()) };
    if part.constants.shift == 0.0 {
        let rule = "0 or larger after the preparation of the fit, which took no negative values";
        let (what, at) = (new.slot.clone(), (i, of.columns[j]));
        return Err(Fault::on(new, unbraid::Error::Value { what, found: value, at, rule }));
    }
    of.values = of.values.map(|v| v.max(0.0));
    Ok(())
}

fn apply(args: &ApplyArgs, reading: &FitArgs) -> Result<(), Fault> {
    let options = ReadOptions { max_bytes: args.max_memory, ..Default::default() };
    let key = choose(args, &options)?;
    let model = Fitted::read(&args.model, &key, &options)?;
    let at_model =
        |source| Fault::Core { context: format!("{}: ", args.model.display()), source, place: String::new() };
    if studies::wrote(&model) {
        return studies::apply(args, reading, &model);
    }
    if clusters::wrote(&model) {
        return clusters::apply(args, reading, &model);
    }
    if let Some(why) = studies::without_codes(&model) {
        return Err(at_model(why));
    }
    if args.study.is_some() {
        return Err(Fault::Usage(format!(
            "`--study` is not read here: `{key}` is a factorisation without studies"
        )));
    }
    let stored = Stored::read(&model.slots, &key, model.var.len()).map_err(at_model)?;
    let Inputs { tables, hashes, columns, warnings, .. } = fit::read(reading, Joins::Stacked, None)?;
    let together = tables.len() == 1 && stored.preparation.len() > 1;
    if tables.len() != stored.preparation.len() && !together {
        return Err(Fault::Usage(format!(
            "{} was fitted to {} table{}, but {} are given; give as many, in that order, with --join obs",
            args.model.display(),
            stored.preparation.len(),
            if stored.preparation.len() == 1 { "" } else { "s" },
            tables.len()
        )));
    }
    let wide: usize = tables.iter().map(|t| t.shape().1).sum();
    let (n, d) = (tables[0].shape().0, stored.model.loadings.nrows());
    let mut applied = Applied::begin(args, (&key, &stored.method), &hashes, (n, wide), warnings)?;
    let parts = parts(&model, (&stored.preparation, &stored.used), together);
    let mut all = Vec::new();
    for (t, part) in parts.iter().enumerate() {
        let new = &tables[if together { 0 } else { t }];
        let mut of = matched(part, new, stored.missing, args.missing_features, &mut applied.found)?;
        lift(part, &mut of, new, &mut applied.found)?;
        all.push(of);
    }
    let joined = (tables.len() > 1).then(|| join::beside(&tables));
    let whole = joined.as_ref().unwrap_or(&tables[0]);

    // Where each feature of the model lies in the new table.
    let mut place: Vec<Option<usize>> = vec![None; d];
    let mut offset = 0;
    for (part, table) in all.iter().zip(tables.iter().chain(std::iter::repeat(&tables[0]))) {
        for (row, &column) in part.rows.iter().zip(&part.columns) {
            if let Some(row) = row {
                place[*row] = Some(offset + column);
            }
        }
        offset += if together { 0 } else { table.shape().1 };
    }
    let mut scores = Array2::zeros((n, stored.model.loadings.ncols()));
    let mut losses = Vec::with_capacity(n);
    let mut layer = args.reconstruction.then(|| Array2::zeros((n, wide)));
    let (mut outside, mut measured, mut sum) = (vec![0usize; d], 0usize, 0.0);
    for begin in (0..n).step_by(BLOCK) {
        let rows: Vec<usize> = (begin..(begin + BLOCK).min(n)).collect();
        // d × samples of the block
        let mut x = Array2::from_elem((d, rows.len()), f64::NAN);
        for part in &all {
            part.absent.0.iter().for_each(|&row| x.row_mut(row).fill(part.absent.1));
            let block = part.values.rows(&rows).to_dense();
            for (values, row) in block.columns().into_iter().zip(&part.rows) {
                if let Some(row) = row {
                    x.row_mut(*row).assign(&values);
                }
            }
        }
        if let Some(j) = x.columns().into_iter().position(|c| c.iter().all(|v| v.is_nan())) {
            let at = vec![begin + j];
            let (problem, hint) = ("holds no measured value", "leave it out".into());
            let source =
                unbraid::Error::Line { what: tables[0].slot.clone(), axis: "row", at, problem, hint };
            return Err(Fault::on(&tables[0], source));
        }
        let block = stored.model.transform(x.view()).map_err(|e| Fault::on(whole, e))?;
        outside.iter_mut().zip(stored.model.outside(x.view())).for_each(|(to, c)| *to += c);
        let seen = x.iter().filter(|v| !v.is_nan()).count();
        (measured, sum) = (measured + seen, sum + block.divergence * seen as f64);
        losses.extend(block.losses);
        for (j, &i) in rows.iter().enumerate() {
            scores.row_mut(i).assign(&block.scores.row(j));
            if let Some(layer) = &mut layer {
                for (f, place) in place.iter().enumerate() {
                    if let Some(column) = place {
                        layer[[i, *column]] = block.reconstruction[[f, j]];
                    }
                }
            }
        }
    }
    applied.end(all.iter().map(|m| m.columns.len()).sum());
    let divergence = sum / measured.max(1) as f64;
    let count: usize = outside.iter().sum();
    let lifted = applied.found.lifted;
    if lifted > 0 {
        let (s, lie) = if lifted == 1 { ("", "lies") } else { ("s", "lie") };
        let warnings = &mut applied.found.warnings;
        warnings.push(format!("{lifted} value{s} {lie} below the smallest value of the fit and became 0."));
    }
    if count > 0 {
        let features = outside.iter().filter(|c| **c > 0).count();
        let most = (0..d).max_by_key(|&i| (outside[i], std::cmp::Reverse(i))).unwrap_or(0);
        let name = &model.var.names[stored.used[most]];
        applied.found.warnings.push(format!(
            "{count} of {measured} values ({:.1} %) lie outside the range of the fit, in {features} of {d} features, most \
             of them in `{name}`; the maps end there.",
            100.0 * count as f64 / measured.max(1) as f64
        ));
    }

    let mut out = Annotations::default();
    out.obsm.insert(format!("X_{key}"), Slot::F64(scores.clone()));
    out.obs.insert(format!("{key}_loss"), Column::Float(losses.clone()));
    if let Some(layer) = layer {
        out.layers.insert(format!("{key}_reconstruction"), Slot::F64(layer));
    }
    let (loss, factors) = (factors::name(stored.model.loss), scores.ncols());
    applied.note(
        &mut out,
        place.iter().flatten().copied(),
        columns,
        &[("loss", loss.into()), ("divergence", divergence.into()), ("outside", Value::Int(count as i64))],
    );
    let inputs: Vec<_> = tables.iter().zip(&hashes).map(|(t, h)| picture::input(t, h)).collect();
    let label = args.label.as_deref().map(|name| fit::label(name, whole)).transpose()?;
    fit::write(reading, whole, joined.is_some(), &out)?;

    if args.report.is_some() {
        let mut page = Page { report: Report::default(), label, seed: Seed(0), logged: false };
        let names: Vec<String> = stored.used.iter().map(|&i| model.var.names[i].clone()).collect();
        // As the page of the fit has them.
        let relative = stored.model.maps.as_ref().filter(|_| stored.model.input_maps.is_none());
        let loadings = match relative {
            Some(maps) => Cow::Owned(maps.relative(&stored.model.loadings)),
            None => Cow::Borrowed(&stored.model.loadings),
        };
        let shown = Factors { loadings, relative: relative.is_some(), scores: &scores, loss };
        let picture = Picture { factors: Some(shown), ..Picture::default() };
        // The features of the page are those of the model.
        let mut features = Dataset::from_matrix(whole.source.clone(), Matrix::Dense(Array2::zeros((0, 0))));
        features.var = Table::named(names);
        page.draw(&picture, &[features])?;
        let about = "New samples in terms of a stored fit, whose factors and maps stay as they are.";
        let what = if loss == "kl" { "mean kl loss" } else { "mean squared loss" };
        applied.show(page, about, inputs, &[(what, format!("{divergence:.6}"))])?;
    }
    applied.tell(
        json!({
            "factors": factors, "loss": loss, "divergence": divergence, "values_outside": count,
            "values_measured": measured,
        }),
        &format!("{factors} factors, mean {loss} loss {divergence:.6}"),
        &format!("adata.obsm[\"X_{key}\"], adata.obs[\"{key}_loss\"]"),
    );
    Ok(())
}
