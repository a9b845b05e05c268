//! `unbraid evaluate coclusters`: stored clusters of observations and features beside known classes.

use std::time::Instant;

use serde_json::json;
use unbraid::data::{Column, Dataset, Table};
use unbraid::error::Error;
use unbraid::methods::cocluster::fit::Blocks;
use unbraid::metrics::coclusters::{Agreement, agreement, agreement_of_blocks};
use unbraid::params::{ParamDoc, Params};
use unbraid::report::{CoclusterEvaluation, Parameter, Report};
use unbraid_io::ReadOptions;

use crate::args::EvaluateArgs;
use crate::fault::Fault;
use crate::fit::pool;
use crate::picture;
use crate::set::listed;

unbraid::params! {
    /// Settings of `evaluate coclusters`.
    pub struct CoclustersSuite {
        /// Column of var with the classes of features; `auto` is the one called as --truth, where there is one. Default auto.
        pub var_label: String = "auto".into(),
    }
}

impl Params for CoclustersSuite {
    const DOCS: &'static [ParamDoc] = CoclustersSuite::FIELDS;
}

/// Runs the suite.
pub fn run(args: &EvaluateArgs) -> Result<(), Fault> {
    let suite: CoclustersSuite = args.settings.taken()?;
    super::page_is_apart(args)?;
    pool(args.threads)?.install(|| judged(args, &suite))
}

/// Categorical columns of a table.
fn labels<'a>(table: &'a Table, name: &str) -> Option<&'a Column> {
    table.column(name).filter(|c| matches!(c, Column::Categorical { .. }))
}

/// The key given, or the only name under which both obs and var hold labels.
fn choose_key(args: &EvaluateArgs, data: &Dataset, truth: &str) -> Result<String, Fault> {
    let source = args.file.display();
    let there: Vec<&str> = data
        .obs
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|n| *n != truth && labels(&data.obs, n).is_some() && labels(&data.var, n).is_some())
        .collect();
    let listed = || if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let missing = |what: String, hint: String| Err(Error::Missing { what, hint }.into());
    match (args.key.as_deref(), &there[..]) {
        (Some(key), there) if there.contains(&key) => Ok(key.to_owned()),
        (Some(key), _) => missing(
            format!("{source}: the clusters `{key}`"),
            format!("names with labels in both obs and var are: {}", listed()),
        ),
        (None, [one]) => Ok((*one).to_owned()),
        (None, []) => missing(
            format!("{source}: fitted clusters of observations and features"),
            "fit some first: unbraid fit itcc FILE -o fit.h5ad".into(),
        ),
        (None, _) => Err(Fault::Usage(format!(
            "{source} holds several clusterings; choose one with --key: {}",
            listed()
        ))),
    }
}

/// Clusters and classes of the lines that took part in the fit and have a class.
struct Line {
    clusters: Vec<usize>,
    classes: Vec<usize>,
}

fn beside(clusters: &Column, classes: &Column) -> Option<Line> {
    let Column::Categorical { codes, .. } = clusters else { return None };
    let texts = classes.texts()?;
    let (all, _) = classes.labels()?;
    let known: Vec<usize> = (0..codes.len())
        .filter(|&i| codes[i].is_some() && texts.get(i).is_some_and(Option::is_some))
        .collect();
    Some(Line {
        clusters: known.iter().filter_map(|&i| codes[i].map(|c| c as usize)).collect(),
        classes: known.iter().map(|&i| all[i]).collect(),
    })
}

/// The table by the clusters, without the lines that took no part.
fn blocks(data: &Dataset, key: &str) -> Option<(Blocks, [usize; 2])> {
    let side = |table: &Table| {
        let Column::Categorical { codes, categories, .. } = table.column(key)? else { return None };
        let at: Vec<usize> = (0..codes.len()).filter(|&i| codes[i].is_some()).collect();
        let labels: Vec<usize> = codes.iter().flatten().map(|c| *c as usize).collect();
        Some((at, labels, categories.len()))
    };
    let ((rows, r, g), (cols, c, h)) = (side(&data.obs)?, side(&data.var)?);
    let x = data.x.rows(&rows).columns(&cols).to_csr();
    let used = |labels: &[usize], k: usize| (0..k).filter(|l| labels.contains(l)).count();
    Some((Blocks::of(&x, (&r, g), (&c, h)), [used(&r, g), used(&c, h)]))
}

fn judged(args: &EvaluateArgs, suite: &CoclustersSuite) -> Result<(), Fault> {
    let begun = Instant::now();
    let options = ReadOptions { layer: args.layer.clone(), max_bytes: args.max_memory, ..Default::default() };
    let data = unbraid_io::read(&args.file, &options)?;
    let truth = args.truth.as_deref().unwrap_or("truth");
    let key = choose_key(args, &data, truth)?;
    let row_label = match &args.label[..] {
        [] => data.obs.column(truth).map(|_| truth.to_owned()),
        [one] => {
            crate::fit::label(one, &data)?;
            Some(one.clone())
        }
        _ => return Err(Fault::Usage("`evaluate coclusters` takes one --label".into())),
    };
    let col_label = match suite.var_label.as_str() {
        "auto" => data.var.column(truth).map(|_| truth.to_owned()),
        name if data.var.column(name).and_then(Column::labels).is_some() => Some(name.to_owned()),
        name => {
            let names: Vec<&str> = data.var.columns.iter().map(|(n, _)| n.as_str()).collect();
            let hint = format!(
                "columns of var are: {}",
                if names.is_empty() { "none".into() } else { names.join(", ") }
            );
            return Err(Fault::on(
                &data,
                Error::Missing { what: format!("the label column `{name}` in var"), hint },
            ));
        }
    };
    if row_label.is_none() && col_label.is_none() {
        let hint = "--label COLUMN names classes of observations, --set var_label=COLUMN those of features; files of \
                    `unbraid simulate blocks` hold both under `truth`";
        let what = "a column of known classes".into();
        return Err(Fault::on(&data, Error::Missing { what, hint: hint.into() }));
    }
    let side = |table: &Table, label: &Option<String>| {
        let classes = table.column(label.as_deref()?)?;
        beside(table.column(&key)?, classes)
    };
    let (rows, cols) = (side(&data.obs, &row_label), side(&data.var, &col_label));
    let fault = |e: Error| Fault::on(&data, e);
    let score = |line: &Option<Line>| line.as_ref().map(|l| agreement(&l.classes, &l.clusters)).transpose();
    let cells = match (&rows, &cols) {
        (Some(r), Some(c)) => {
            Some(agreement_of_blocks([&r.classes, &r.clusters], [&c.classes, &c.clusters]).map_err(fault)?)
        }
        _ => None,
    };
    let mut found = CoclusterEvaluation {
        key: key.clone(),
        labels: [row_label, col_label],
        rows: score(&rows).map_err(fault)?,
        cols: score(&cols).map_err(fault)?,
        blocks: cells,
        ..CoclusterEvaluation::default()
    };
    if let Some((blocks, clusters)) = blocks(&data, &key) {
        found.clusters = clusters;
        (found.information, found.information_of_table) =
            (blocks.information.map(|i| i.0), blocks.information.map(|i| i.1));
        (found.kept, found.explained) = (blocks.kept(), Some(blocks.explained));
    }
    tell(args, suite, &data, found, begun.elapsed().as_secs_f64())
}

fn tell(
    args: &EvaluateArgs,
    suite: &CoclustersSuite,
    data: &Dataset,
    found: CoclusterEvaluation,
    seconds: f64,
) -> Result<(), Fault> {
    let (n, m) = data.shape();
    if args.settings.json {
        let mut out = json!({
            "suite": "coclusters", "file": args.file, "version": env!("CARGO_PKG_VERSION"), "seconds": seconds,
            "params": listed(suite), "report": args.report,
        });
        if let (Some(out), Ok(serde_json::Value::Object(more))) =
            (out.as_object_mut(), serde_json::to_value(&found))
        {
            out.extend(more);
        }
        say!("{out}");
    } else {
        say!("{} in {}: {n} observations × {m} features", found.key, args.file.display());
        say!("  {} clusters of observations, {} of features", found.clusters[0], found.clusters[1]);
        match (found.information, found.information_of_table, found.kept) {
            (Some(kept), Some(all), Some(share)) => {
                say!("  the blocks keep {kept:.4} of {all:.4} nats of information ({:.1} %)", 100.0 * share);
            }
            _ => say!(
                "  the blocks explain {:.1} % of the sum of squares",
                100.0 * found.explained.unwrap_or(0.0)
            ),
        }
        say!(
            "\n  {:14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "",
            "accuracy",
            "purity",
            "NMI",
            "ARI",
            "classes",
            "clusters"
        );
        let line = |name: &str, a: &Option<Agreement>| {
            if let Some(Agreement { accuracy, purity, nmi, ari, classes, clusters }) = a {
                say!(
                    "  {name:14}{accuracy:>10.3}{purity:>10.3}{nmi:>10.3}{ari:>10.3}{classes:>10}{clusters:>10}"
                );
            }
        };
        line("observations", &found.rows);
        line("features", &found.cols);
        line("cells", &found.blocks);
    }
    if let Some(path) = &args.report {
        let mut report = Report::default();
        let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
        report.title = format!("Clusters of {} in {name} beside known classes", found.key);
        report.run.method = found.key.clone();
        report.run.about = "Stored clusters judged by known classes.".into();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seed = args.seed.to_string();
        report.run.seconds = Some(seconds);
        report.run.inputs = vec![picture::input(data, &unbraid_io::input_sha256(&args.file)?)];
        report.run.parameters = Parameter::list(suite);
        report.coclusters = Some(found);
        let html = crate::page::render(&report);
        unbraid_io::write_bytes_atomically(path, html.as_bytes())?;
        if !args.settings.json {
            say!("\nwrote {}; open it in a browser", path.display());
        }
    }
    Ok(())
}
