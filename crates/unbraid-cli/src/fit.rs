//! `unbraid fit`: files → tables → preparation → method → slots → file, and a page beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use unbraid::Seed;
use unbraid::data::{Annotations, Column, Dataset, Table, Value};
use unbraid::fit::{Ctx, Stop};
use unbraid::preprocess::prepare::{Constants, Prepare, Prepared, Transform};
use unbraid::report::{self, Fact, Report};
use unbraid_io::{Input, ReadOptions};

use crate::args::{FitArgs, Fits, Join};
use crate::choice::Chosen;
use crate::fault::Fault;
use crate::join::{align, below, beside, combine};
use crate::methods::{self, Done, Joins, Plan};
use crate::picture::{self, Label, Page};
use crate::set::{Apart, Settings};
use crate::watch::{self, Watch};

/// Runs the command.
pub fn run(command: &Chosen<Fits>) -> Result<(), Fault> {
    let args = &command.args;
    let entry = &methods::ALL[command.at];
    let mut settings = Settings::new(args.params.as_deref(), &args.set)?;
    let apart = settings.apart();
    let plan = (entry.plan)(settings)?;
    carry_out(args, plan.as_ref(), &apart).map(drop)
}

/// From files to files by any plan; `apart` holds what of the preparation is set for one file.
/// A table as comma-separated text comes back where the plan makes one.
pub fn carry_out(args: &FitArgs, plan: &dyn Plan, apart: &Apart) -> Result<Option<String>, Fault> {
    let key = args.key.clone().unwrap_or_else(|| plan.method().to_owned());
    check_arguments(args, (plan.name(), plan.joins()), &key)?;
    watch::catch_interrupts();
    let pool = pool(args.threads)?;
    pool.install(|| fit(args, plan, &key, apart))
}

/// What the argument parser cannot see; `what` is run, and makes `joins` of several tables.
pub fn check_arguments(args: &FitArgs, (what, joins): (&str, Joins), key: &str) -> Result<(), Fault> {
    let usage = |text: String| Err(Fault::Usage(text));
    if key.is_empty() || key.contains('/') {
        return usage(format!("`--key {key}`: a key must not be empty or hold a `/`"));
    }
    if !(args.checkpoint_every >= 0.0 && args.checkpoint_every.is_finite()) {
        return usage("`--checkpoint-every` must be a number of seconds, 0 or larger".into());
    }
    if args.files.len() > 1 && args.join.is_none() && joins.below().is_none() {
        return usage("several files need `--join obs`, which says how they belong together".into());
    }
    let folder = args.files.iter().find(|f| unbraid_io::omics::is_folder(f));
    if let Some((each, _)) = joins.below() {
        if args.join.is_some() {
            let why = "of other observations; leave out --join, or name one file";
            return usage(format!("`{what}` takes every file as a {each} {why}"));
        }
        if let Some(folder) = folder {
            let folder = folder.display();
            return usage(format!(
                "{folder} is a folder of tables of the same observations; `{what}` takes every file as a {each}"
            ));
        }
    }
    if (args.files.len() > 1 || folder.is_some()) && joins == Joins::No {
        return usage(format!("`{what}` reads one table; give one file"));
    }
    if let Some(folder) = folder {
        let folder = folder.display();
        if args.files.len() > 1 {
            return usage(format!("{folder} is a folder of several tables; give it alone"));
        }
        if args.transpose || args.layer.is_some() {
            return usage(format!(
                "{folder} has features in rows and no layers; leave out --transpose and --layer"
            ));
        }
    }
    if let Some(twice) = (1..args.files.len()).find(|&i| args.files[..i].contains(&args.files[i])) {
        return usage(format!("{} is named twice; joined files must differ", args.files[twice].display()));
    }
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    };
    if args.transpose && args.files.iter().any(|f| same(f, &args.output)) {
        let why = "a file that is turned cannot be replaced by its result; name another output";
        return usage(format!("`--transpose`: {why}"));
    }
    if let Some(obs) = args.obs.as_ref().filter(|o| same(o, &args.output)) {
        return usage(format!("`--obs {}` is also the output; name another file", obs.display()));
    }
    for (name, path) in [("--report", &args.report), ("--checkpoint", &args.checkpoint)] {
        if let Some(path) = path
            && (same(path, &args.output) || args.files.iter().any(|f| same(path, f)))
        {
            return usage(format!(
                "`{name} {}` is also an input or the output; name another file",
                path.display()
            ));
        }
    }
    // Better now than after hours of fitting.
    for path in [Some(&args.output), args.report.as_ref(), args.checkpoint.as_ref()].into_iter().flatten() {
        unbraid_io::check_writable(path)?;
    }
    Ok(())
}

/// A pool of the asked size.
pub fn pool(threads: Option<usize>) -> Result<rayon::ThreadPool, Fault> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    if threads == Some(0) {
        return Err(Fault::Usage("`--threads` must be at least 1".into()));
    }
    if let Some(n) = threads.filter(|n| *n > cores) {
        eprintln!("warning: --threads {n} on {cores} cores; more threads than cores are slow.");
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(cores))
        .build()
        .map_err(|e| Fault::Usage(format!("cannot start threads: {e}")))
}

/// The tables as they came, with where they came from.
pub struct Inputs {
    /// One for each file, or one of all where files are studies.
    pub tables: Vec<Dataset>,
    /// The files where they are studies.
    pub studies: Vec<report::Input>,
    /// The file of each table.
    pub files: Vec<PathBuf>,
    /// Fingerprint of each file.
    pub hashes: Vec<String>,
    /// Further files that were read, with their fingerprints: survival of a folder, columns of observations.
    pub beside: Vec<(PathBuf, String)>,
    /// Columns that the files themselves do not hold.
    pub columns: Vec<(String, Column)>,
    /// Whole sentences.
    pub warnings: Vec<String>,
}

/// Reads the files or the folder, the `graph` of the observations, and their columns; files of studies and of slices come as one table.
pub fn read(args: &FitArgs, joins: Joins, graph: Option<&str>) -> Result<Inputs, Fault> {
    let options = ReadOptions {
        layer: args.layer.clone(),
        max_bytes: args.max_memory,
        transpose: args.transpose,
        graph: graph.map(str::to_owned),
    };
    let mut beside: Vec<PathBuf> = Vec::new();
    let mut each: Vec<report::Input> = Vec::new();
    let (mut tables, files, mut warnings) = match &args.files[..] {
        [folder] if unbraid_io::omics::is_folder(folder) => {
            let read = unbraid_io::omics::read(folder, args.max_memory)?;
            beside.extend(read.survival);
            (read.tables, read.files, read.warnings)
        }
        files => {
            let tables = files
                .iter()
                .map(|f| Ok(unbraid_io::read(f, &options)?))
                .collect::<Result<Vec<_>, Fault>>()?;
            let mut warnings = Vec::new();
            let tables = match args.join {
                Some(Join::Obs) => align(tables)?,
                None => match joins.below() {
                    Some((_, column)) if tables.len() > 1 => {
                        each = tables.iter().map(|t| picture::input(t, "")).collect();
                        vec![below(tables, files, column, &mut warnings)?]
                    }
                    _ => tables,
                },
            };
            (tables, files.to_vec(), warnings)
        }
    };
    let hashes = files.iter().map(|f| Ok(unbraid_io::input_sha256(f)?)).collect::<Result<Vec<_>, Fault>>()?;
    each.iter_mut().zip(&hashes).for_each(|(input, hash)| input.sha256.clone_from(hash));
    beside.extend(args.obs.clone());
    let beside = beside
        .into_iter()
        .map(|f| Ok((f.clone(), unbraid_io::input_sha256(&f)?)))
        .collect::<Result<Vec<_>, Fault>>()?;
    if args.transpose && files.iter().any(|f| is_h5ad(f)) {
        warnings
            .push("Of a turned .h5ad file the matrix and both tables are kept, and no other slot.".into());
    }
    let mut columns = Vec::new();
    if let Some(path) = &args.obs {
        let file = path.display().to_string();
        let read = unbraid_io::read_columns(path, args.max_memory)?;
        let names = &tables[0].obs.names;
        let (found, without) = unbraid_io::align_columns(&read, names, &file)?;
        if without > 0 {
            let all = names.len();
            warnings.push(format!("{file}: {without} of {all} observations have no row; it is missing."));
        }
        for table in &mut tables {
            table.obs.columns.retain(|(name, _)| found.iter().all(|(new, _)| new != name));
            table.obs.columns.extend(found.iter().cloned());
        }
        columns = found;
    }
    Ok(Inputs { tables, files, hashes, studies: each, beside, columns, warnings })
}

fn fit(args: &FitArgs, plan: &dyn Plan, key: &str, apart: &Apart) -> Result<Option<String>, Fault> {
    let Inputs { tables, files, hashes, studies, beside: others, columns, mut warnings } =
        read(args, plan.joins(), plan.graph())?;
    let joined = tables.len() > 1;
    // Studies are prepared together.
    let parts = if studies.is_empty() { files.clone() } else { vec![PathBuf::from(&tables[0].source)] };
    let each: Vec<Prepare> =
        apart.prepare(plan.prepare(), &parts)?.into_iter().map(|p| p.among(joined)).collect();
    let mut prepared = Vec::new();
    let mut chosen = Vec::new();
    let mut constants = Vec::new();
    for (table, prepare) in tables.iter().zip(&each) {
        warnings.extend(twice(table));
        let done = match plan.allows_missing() {
            true => prepare.table_with_missing(table, &mut warnings),
            false => prepare.table(table, &mut warnings),
        }
        .map_err(|e| Fault::on(table, hinted(e, plan)))?;
        let Prepared { data, chosen: selection, constants: used } = done;
        constants.push(used);
        if tables.len() > 1 && selection.obs.is_some() {
            let why = "an observation without a value cannot be dropped from one of several joined tables";
            return Err(Fault::Usage(format!("{}: {why}; use `--set empty=error`", table.source)));
        }
        prepared.push(data);
        chosen.push(selection);
    }
    let inputs: Vec<_> = match studies.is_empty() {
        true => prepared.iter().zip(&hashes).map(|(d, h)| picture::input(d, h)).collect(),
        false => studies,
    };
    if prepared.len() > 1 && plan.joins() == Joins::Stacked {
        prepared = vec![beside(&prepared)];
    }
    let label = args.label.as_deref().map(|name| label(name, &prepared[0])).transpose()?;
    if label.is_some() && args.report.is_none() {
        warnings.push("--label is used on the page only; add --report FILE.html.".into());
    }
    let mut page = args.report.as_ref().map(|_| Page {
        report: Report::default(),
        label,
        seed: Seed(args.seed),
        logged: each[0].takes_logs(&tables[0]),
    });
    if let Some(page) = &mut page {
        page.report.run.method = plan.name().to_owned();
    }

    let every = Duration::from_secs_f64(args.checkpoint_every);
    let checkpoint = args.checkpoint.as_deref().map(|p| (p, every));
    let mut watch = Watch::new(plan.name(), plan.words(), args.quiet, checkpoint);
    let mut ctx = Ctx::new(Seed(args.seed), &mut watch);
    ctx.resume = Watch::resume(args.checkpoint.as_deref())?;
    let resumed = ctx.resume.is_some();
    ctx.max_memory = Some(args.max_memory.unwrap_or_else(unbraid_io::available_memory));
    ctx.warnings = warnings;
    let done = plan
        .fit(&prepared, key, &mut ctx, page.as_mut())
        .map_err(|e| Fault::on(&prepared[0], layer_meant(e, plan, args)))?;
    let warnings = std::mem::take(&mut ctx.warnings);
    drop(watch);
    if done.stop == Some(Stop::Cancelled) {
        return Err(Fault::Interrupted(match &args.checkpoint {
            Some(path) => format!(
                "interrupted; the state is in {}. Run the same command again to go on.",
                path.display()
            ),
            None => "interrupted; nothing was written. With `--checkpoint FILE` a fit can be taken up again."
                .into(),
        }));
    }

    let joined = joined.then(|| beside(&tables));
    let whole = joined.as_ref().unwrap_or(&tables[0]);
    let selection = combine(&tables, &chosen);
    let Done { annotations, seconds, steps, objective, stop, how, networks, factors, more, lines, csv, next } =
        done;
    let mut annotations = annotations.expand(key, &selection, whole.shape());
    let read: Vec<(&Path, &str)> = files
        .iter()
        .zip(&hashes)
        .chain(others.iter().map(|(f, h)| (f, h)))
        .map(|(f, h)| (f.as_path(), h.as_str()))
        .collect();
    note(&mut annotations, &plan.notes(key), plan, args, &read, seconds, &warnings);
    let notes = annotations.notes(&plan.notes(key));
    notes.insert("preparation".into(), preparation(&parts, &each, &constants));
    notes.insert("transposed".into(), args.transpose.into());
    for (name, column) in columns {
        annotations.obs.entry(name).or_insert(column);
    }
    write(args, whole, joined.is_some(), &annotations)?;
    if let (Some(path), Some(mut page)) = (&args.report, page) {
        let report = &mut page.report;
        report.title = format!("{} on {}", plan.name(), titles(&args.files));
        report.alerts = picture::alerts(&warnings);
        report.run.about = entry_about(plan.method()).to_owned();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seed = args.seed.to_string();
        report.run.seconds = Some(seconds);
        report.run.inputs = inputs;
        report.run.parameters = plan.documented();
        let (n, m) = whole.shape();
        report.run.facts = vec![
            Fact { name: "shape of the file".into(), value: format!("{n} × {m}") },
            Fact { name: "written to".into(), value: args.output.display().to_string() },
        ];
        report.run.facts.extend(others.iter().map(|(f, h)| columns_from(f, h)));
        let changed = parts.iter().zip(&constants).filter(|(_, c)| c.shift != 0.0 || c.scale != 1.0);
        report.run.facts.extend(changed.map(|(f, c)| brought_to_scale(f, c)));
        let html = crate::page::render(report);
        unbraid_io::write_bytes_atomically(path, html.as_bytes())?;
    }
    if let Some(path) = &args.checkpoint {
        // The fit is written; its checkpoint would only be resumed to the same end.
        let _ = std::fs::remove_file(path);
    }

    for w in &warnings {
        eprintln!("warning: {w}");
    }
    let shape = prepared[0].shape();
    if args.json {
        let networks: Vec<_> = networks
            .into_iter()
            .map(|n| {
                let mut said = n.more;
                said.insert("axis".into(), n.axis.into());
                said.insert("nodes".into(), n.nodes.into());
                said.insert("edges".into(), n.edges.into());
                said
            })
            .collect();
        let factors: Vec<_> =
            factors.iter().map(|f| json!({ "k": f.k, "loss": f.loss, "value": f.value })).collect();
        let mut all = json!({
            "method": plan.method(), "key": key, "version": env!("CARGO_PKG_VERSION"), "seed": args.seed,
            "inputs": read.iter().map(|(f, _)| f).collect::<Vec<_>>(),
            "input_sha256": read.iter().map(|(_, h)| h).collect::<Vec<_>>(), "output": args.output, "report": args.report,
            "observations": shape.0, "features": prepared.iter().map(|p| p.shape().1).sum::<usize>(),
            "stop": stop.map(Stop::name), plan.words()[0]: steps, "objective": objective,
            "seconds": seconds, "resumed": resumed, "networks": networks, "factors": factors,
            "warnings": warnings,
            "params": plan.parameters(),
        });
        if let serde_json::Value::Object(map) = &mut all {
            map.extend(more);
        }
        say!("{all}");
    } else if !args.quiet {
        let ended = stop.map_or_else(String::new, |s| {
            format!(
                ", {} after {} {}",
                s.name().replace("max_steps", "not converged"),
                steps,
                plan.words()[0]
            )
        });
        let how = how.map_or(ended, |how| format!(", {how}"));
        let m: usize = prepared.iter().map(|p| p.shape().1).sum();
        say!(
            "{} on {}: {} observations × {m} features{how}, {seconds:.2} s",
            plan.name(),
            names(&args.files),
            shape.0
        );
        for n in &networks {
            say!("  network of {}: {} nodes, {} edges", n.axis, n.nodes, n.edges);
            if !n.line.is_empty() {
                say!("    {}", n.line);
            }
        }
        for f in &factors {
            let value = f.value.map_or_else(String::new, |v| format!(", {} loss {v:.6}", f.loss));
            say!("  {} factor{}{value}", f.k, if f.k == 1 { "" } else { "s" });
        }
        lines.iter().for_each(|line| say!("  {line}"));
        say!("  wrote {}", args.output.display());
        if let Some(path) = &args.report {
            say!("  wrote {}; open it in a browser", path.display());
        } else if let Some(next) = next {
            let next = next.replace("OUTPUT", &args.output.display().to_string());
            say!("  next: add `--report FILE.html` for a page, or go on with {next}");
        } else {
            let python = if factors.is_empty() {
                format!("scanpy.tl.leiden(adata, neighbors_key=\"{}\")", plan.neighbours(key))
            } else {
                format!("adata.obsm[\"X_{key}\"]")
            };
            say!("  next: add `--report FILE.html` for a page, or in Python: {python}");
        }
    }
    Ok(csv)
}

/// An error of the preparation, with what would take NaN where the method has that.
fn hinted(error: unbraid::Error, plan: &dyn Plan) -> unbraid::Error {
    match error {
        unbraid::Error::Value { what, found, at, .. }
            if found.is_nan() && !plan.allows_missing() && plan.parameters().contains_key("missing") =>
        {
            let rule = "finite; `--set missing=nan` takes NaN as a missing entry";
            unbraid::Error::Value { what, found, at, rule }
        }
        other => other,
    }
}

/// An error of a method that reads counts, with the layer that holds them where there is one.
fn layer_meant(error: unbraid::Error, plan: &dyn Plan, args: &FitArgs) -> unbraid::Error {
    let unbraid::Error::Value { what, found, at, .. } = &error else { return error };
    let [file] = &args.files[..] else { return error };
    if !plan.reads_counts() || !found.is_finite() || !is_h5ad(file) {
        return error;
    }
    let Ok(inspected) = unbraid_io::inspect(file) else { return error };
    let counts = |v: &&unbraid_io::ValueInfo| v.kind == unbraid_io::ValueKind::Counts && v.slot != *what;
    let Some(slot) = inspected.values.iter().find(counts).map(|v| v.slot.as_str()) else { return error };
    let layer = slot.strip_prefix("layers[\"").and_then(|s| s.strip_suffix("\"]")).unwrap_or("raw");
    unbraid::Error::Missing {
        what: format!("a table of whole numbers ({what} holds {found} at row {}, column {})", at.0, at.1),
        hint: format!("`--layer {layer}` reads {slot}, which is one"),
    }
}

/// Writes the output: a copy of an `.h5ad` input with the new slots, else the table with them.
pub fn write(args: &FitArgs, whole: &Dataset, joined: bool, slots: &Annotations) -> Result<(), Fault> {
    if args.output.extension().is_none_or(|e| e != "h5ad") {
        eprintln!(
            "warning: {} is written as h5ad although its name does not end in .h5ad.",
            args.output.display()
        );
    }
    let copied = !joined && !args.transpose && is_h5ad(&args.files[0]);
    let input = match (&args.files[..], copied) {
        ([one], true) => Input::File(one),
        _ => Input::Dataset(whole),
    };
    Ok(unbraid_io::write_h5ad(&args.output, input, slots)?)
}

fn entry_about(name: &str) -> &'static str {
    methods::ALL.iter().find(|m| m.name == name).map_or("", |m| m.about)
}

/// Files as the user named them.
pub fn names(files: &[PathBuf]) -> String {
    files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// File names without their folders.
pub fn titles(files: &[PathBuf]) -> String {
    let name = |f: &PathBuf| f.file_name().unwrap_or(f.as_os_str()).to_string_lossy().into_owned();
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn is_h5ad(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "h5ad")
}

/// The label column the user named, of the given observations.
pub fn label(name: &str, data: &Dataset) -> Result<Label, Fault> {
    let labels = data.obs.column(name).and_then(Column::labels);
    let (codes, titles) = labels.ok_or_else(|| {
        let known = labelled(data);
        Fault::on(
            data,
            unbraid::Error::Missing {
                what: format!("the label column `{name}` in obs"),
                hint: format!(
                    "columns with labels are: {}",
                    if known.is_empty() { "none".into() } else { known.join(", ") }
                ),
            },
        )
    })?;
    Ok((name.to_owned(), codes, titles))
}

/// Columns of obs that can be labels.
pub fn labelled(data: &Dataset) -> Vec<&str> {
    data.obs.columns.iter().filter(|(_, c)| c.labels().is_some()).map(|(n, _)| n.as_str()).collect()
}

/// What to say about names that occur more than once: a fit goes by position, other programs may not.
fn twice(table: &Dataset) -> Vec<String> {
    [("obs", &table.obs.names), ("var", &table.var.names)]
        .into_iter()
        .filter_map(|(slot, names)| {
            let mut seen = BTreeSet::new();
            let name = names.iter().find(|n| !seen.insert(*n))?;
            let of = &table.source;
            Some(format!(
                "{of}: {slot} holds the name {name:?} more than once; results are stored by position. \
                 Rename with adata.{slot}_names_make_unique()."
            ))
        })
        .collect()
}

/// A table of columns among the facts of a page.
pub fn columns_from(file: &Path, sha256: &str) -> Fact {
    let short = sha256.get(..16).unwrap_or(sha256);
    Fact { name: format!("columns of observations, SHA-256 {short}"), value: file.display().to_string() }
}

/// How a table was shifted and divided, among the facts of a page.
fn brought_to_scale(file: &Path, c: &Constants) -> Fact {
    let number = crate::page::number;
    let x = if c.transform == Transform::None { "x" } else { "f(x)" };
    let moved = if c.shift == 0.0 { x.to_owned() } else { format!("({x} + {})", number(-c.shift)) };
    let value = if c.scale == 1.0 { moved } else { format!("{moved} / {}", number(c.scale)) };
    Fact { name: format!("values of {}", file.display()), value }
}

/// How each table was prepared, as a table with a row for each file.
fn preparation(files: &[PathBuf], each: &[Prepare], constants: &[Constants]) -> Value {
    let texts = |of: &dyn Fn(usize) -> String| Column::Text((0..files.len()).map(|i| Some(of(i))).collect());
    let mut out = Table::named(files.iter().map(|f| f.display().to_string()).collect());
    out.columns = vec![
        ("genes".into(), texts(&|i| each[i].genes.to_string())),
        ("transform".into(), texts(&|i| constants[i].transform.to_string())),
        ("shift".into(), Column::Float(constants.iter().map(|c| c.shift).collect())),
        ("scale".into(), Column::Float(constants.iter().map(|c| c.scale).collect())),
    ];
    Value::Table(out)
}

/// What every fit says of itself in `uns[map]`.
fn note(
    out: &mut Annotations,
    map: &str,
    plan: &dyn Plan,
    args: &FitArgs,
    files: &[(&Path, &str)],
    seconds: f64,
    warnings: &[String],
) {
    let texts = |of: Vec<String>| if let [one] = &of[..] { one.as_str().into() } else { Value::Texts(of) };
    let params = plan.parameters().into_iter().map(|(k, v)| (k, value(v))).collect();
    let map = out.notes(map);
    let new: [(&str, Value); 8] = [
        ("method", plan.method().into()),
        ("params", Value::Map(params)),
        ("seed", i64::try_from(args.seed).map_or_else(|_| args.seed.to_string().into(), Value::Int)),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("inputs", texts(files.iter().map(|(f, _)| f.display().to_string()).collect())),
        ("input_sha256", texts(files.iter().map(|(_, h)| (*h).to_owned()).collect())),
        ("seconds", seconds.into()),
        ("warnings", Value::Texts(warnings.to_vec())),
    ];
    map.extend(new.map(|(k, v)| (k.to_owned(), v)));
}

/// A parameter as a value of `uns`.
fn value(v: serde_json::Value) -> Value {
    match v {
        serde_json::Value::Bool(b) => b.into(),
        serde_json::Value::Number(n) => match (n.is_f64(), n.as_i64()) {
            (false, Some(i)) => Value::Int(i),
            _ => n.as_f64().unwrap_or(f64::MAX).into(),
        },
        serde_json::Value::String(s) => s.into(),
        other => other.to_string().into(),
    }
}
