//! `unbraid evaluate`: stored networks judged by labels, truth and perturbation, stored factors and clusters by the truth.

mod coclusters;
mod factors;
mod suite;
pub(crate) mod text;

use std::time::Instant;

use serde_json::json;
use unbraid::Seed;
use unbraid::data::{Column, Csr, Dataset, Matrix, Selection};
use unbraid::error::Error;
use unbraid::fit::{Check, Draw};
use unbraid::graph::Square;
use unbraid::graph::edges::{Keep, Rule, connectivities};
use unbraid::graph::knn::expression_neighbours;
use unbraid::metrics::degree::degree_statistics;
use unbraid::metrics::modules::{module_tests, modules};
use unbraid::metrics::network::{LabelEvaluation, against_truth, judge, judge_top_k};
use unbraid::metrics::robustness::robustness;
use unbraid::params::Params;
use unbraid::preprocess::prepare::{Prepare, Transform};
use unbraid::report::{
    AxisEvaluation, Class, Evaluation, JudgedGraph, ModuleRow, ModuleTable, NamedHub, Parameter, Report,
    TruthScores,
};
use unbraid::stats::tail::tail_dependence;
use unbraid_io::{Pairs, ReadOptions};

use crate::args::{EvaluateArgs, Suites};
use crate::choice::Chosen;
use crate::fault::Fault;
use crate::fit::{label, labelled, pool};
use crate::picture::{self, Label};
use crate::set::listed;
use crate::watch::Progress;
use suite::{Neighbours, NetworkSuite, Part};

/// One suite.
pub struct Suite {
    /// As typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// The rest of the example in the help.
    pub example: &'static str,
    /// Its settings with their documentation.
    pub help: fn() -> String,
    run: fn(&EvaluateArgs) -> Result<(), Fault>,
}

/// All suites.
pub const ALL: &[Suite] = &[
    Suite {
        name: "network",
        about: "Networks of observations and features: degrees, labels, truth, modules, robustness",
        example: "cells.fit.h5ad --label cell_type --set parts=all --report cells.evaluation.html",
        help: || {
            crate::methods::documented(&[(
                "Settings for --set and --params, with their defaults:",
                &listed(&NetworkSuite::default()),
                NetworkSuite::DOCS,
            )])
        },
        run: network,
    },
    Suite {
        name: "factors",
        about: "Factors: how much of each known columns explain; of simulated data, supports and scores beside the true ones",
        example: "cells.fit.h5ad --label cell_type --label study --report cells.factors.html",
        help: || {
            crate::methods::documented(&[(
                "Settings for --set and --params, with their defaults:",
                &listed(&factors::FactorsSuite::default()),
                factors::FactorsSuite::DOCS,
            )])
        },
        run: factors::run,
    },
    Suite {
        name: "coclusters",
        about: "Clusters of observations and features beside known classes: accuracy, purity, NMI, ARI, information kept",
        example: "cells.fit.h5ad --label cell_type",
        help: || {
            crate::methods::documented(&[(
                "Settings for --set and --params, with their defaults:",
                &listed(&coclusters::CoclustersSuite::default()),
                coclusters::CoclustersSuite::DOCS,
            )])
        },
        run: coclusters::run,
    },
];

/// Runs the command.
pub fn run(command: &Chosen<Suites>) -> Result<(), Fault> {
    (ALL[command.at].run)(&command.args)
}

fn network(args: &EvaluateArgs) -> Result<(), Fault> {
    let suite: NetworkSuite = args.settings.taken()?;
    suite.validate()?;
    page_is_apart(args)?;
    pool(args.threads)?.install(|| Run::open(args, suite)?.finish())
}

/// Refuses a page in the place of the input, and one that cannot be written.
fn page_is_apart(args: &EvaluateArgs) -> Result<(), Fault> {
    if let Some(page) = &args.report {
        if page.canonicalize().is_ok_and(|p| args.file.canonicalize().is_ok_and(|f| f == p)) {
            let page = page.display();
            return Err(Fault::Usage(format!("`--report {page}` is also the input; name another file")));
        }
        unbraid_io::check_writable(page)?;
    }
    Ok(())
}

/// One evaluation under way.
struct Run<'a> {
    args: &'a EvaluateArgs,
    suite: NetworkSuite,
    seed: Seed,
    begun: Instant,
    key: String,
    /// The rule by which edges were kept, where the file says so.
    keep: Option<Keep>,
    /// The rows and columns that were fitted.
    data: Dataset,
    label: Option<Label>,
    sides: Vec<Side>,
    warnings: Vec<String>,
}

/// One stored network, cut to what was fitted.
struct Side {
    name: &'static str,
    /// Signed entries, all or kept.
    precision: Option<Matrix>,
    /// The kept graph, weights above 0.
    graph: Csr,
    truth: Option<Matrix>,
}

/// The axis of every observation's network.
const OBSERVATIONS: &str = "observations";
const FEATURES: &str = "features";

impl<'a> Run<'a> {
    /// Reads the file.
    fn open(args: &'a EvaluateArgs, suite: NetworkSuite) -> Result<Run<'a>, Fault> {
        let options =
            ReadOptions { layer: args.layer.clone(), max_bytes: args.max_memory, ..Default::default() };
        let pairs = Pairs::open(&args.file, &options)?;
        let source = args.file.display();
        let key = choose_key(args, &pairs)?;
        let whole = unbraid_io::read(&args.file, &options)?;
        if let [_, second, ..] = &args.label[..] {
            return Err(Fault::Usage(format!(
                "`--label {second}` is a second one; networks are judged by one column"
            )));
        }
        let label = args.label.first().map(|name| label(name, &whole)).transpose()?;
        let (n, m) = whole.shape();
        let used = |table: &unbraid::data::Table| match table.column(&format!("{key}_used")) {
            Some(Column::Bool(v)) => Some((0..v.len()).filter(|&i| v[i] == Some(true)).collect()),
            _ => None::<Vec<usize>>,
        };
        let chosen = Selection { obs: used(&whole.obs), var: used(&whole.var) };
        let mut sides = Vec::new();
        let mut true_somewhere = false;
        let axes = [(OBSERVATIONS, &pairs.obsp, n, &chosen.obs), (FEATURES, &pairs.varp, m, &chosen.var)];
        for (name, there, side, used) in axes {
            let read = |slot: String| -> Result<Option<Matrix>, Fault> {
                if !there.contains(&slot) {
                    return Ok(None);
                }
                let whole = match name {
                    OBSERVATIONS => pairs.obsp(&slot, side)?,
                    _ => pairs.varp(&slot, side)?,
                };
                Ok(Some(match used {
                    Some(at) => whole.rows(at).columns(at),
                    None => whole,
                }))
            };
            let truth = match &args.truth {
                Some(truth) => read(format!("{truth}_precision"))?,
                None => None,
            };
            true_somewhere |= truth.is_some();
            let (precision, kept) =
                (read(format!("{key}_precision"))?, read(format!("{key}_connectivities"))?);
            let Some(kept) = kept.or_else(|| precision.clone()) else { continue };
            let what = format!("{key}_connectivities of the {name}");
            square(&kept).vertices(&what)?;
            if let Some(p) = &precision {
                square(p).vertices(&format!("{key}_precision of the {name}"))?;
            }
            let graph = connectivities(&match kept {
                Matrix::Dense(x) => Csr::from_dense(x.view()),
                Matrix::Sparse(x) => x,
            });
            sides.push(Side { name, precision, graph, truth });
        }
        if let (Some(truth), false) = (&args.truth, true_somewhere) {
            let there = names_with(&pairs, "_precision");
            return Err(missing(
                format!("{source}: the true network `{truth}`"),
                format!("matrices are stored under: {}", listing(&there)),
            ));
        }
        let keep = pairs.note(&[&key, "params", "keep"])?.and_then(|k| k.parse::<Keep>().ok());
        let data = whole.select(&chosen);
        data.values().check().map_err(|e| Fault::on(&data, e))?;
        let label = label.map(|(name, codes, titles)| match &chosen.obs {
            Some(at) => (name, at.iter().map(|&i| codes[i]).collect(), titles),
            None => (name, codes, titles),
        });
        let seed = Seed(args.seed);
        let begun = Instant::now();
        Ok(Run { args, suite, seed, begun, key, keep, data, label, sides, warnings: Vec::new() })
    }

    /// Judges everything, then prints, and writes the page.
    fn finish(mut self) -> Result<(), Fault> {
        let pieces = match self.suite.parts.has(Part::Robustness) {
            true => self.suite.robustness().ticks() * self.sides.len(),
            false => 0,
        };
        let graphs = if self.label.is_some() { 2 } else { 0 };
        let progress = Progress::new("evaluate", pieces + graphs + self.sides.len(), self.args.quiet);
        let mut axes = Vec::new();
        for side in std::mem::take(&mut self.sides) {
            let axis = self.axis(&side, &progress).map_err(|e| Fault::on(&self.data, e))?;
            axes.push(axis);
        }
        drop(progress);
        let classes = self.label.as_ref().map_or_else(Vec::new, |(_, l, t)| Class::list(l, t));
        let label = self.label.as_ref().map(|l| l.0.clone());
        let found = Evaluation { key: self.key.clone(), label, classes, axes };
        for w in &self.warnings {
            eprintln!("warning: {w}");
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let (n, m) = self.data.shape();
        if self.args.settings.json {
            say!(
                "{}",
                json!({
                    "suite": "network", "file": self.args.file, "key": found.key, "version": env!("CARGO_PKG_VERSION"),
                    "seed": self.args.seed, "observations": n, "features": m, "label": found.label,
                    "classes": found.classes, "axes": found.axes, "seconds": seconds, "params": listed(&self.suite),
                    "warnings": self.warnings, "report": self.args.report,
                })
            );
        } else {
            say!("{} in {}: {n} observations × {m} features", self.key, self.args.file.display());
            text::show(&found, &self.suite.labels());
            if self.label.is_none() && self.suite.parts.has(Part::Labels) {
                let useful = |name: &&str| {
                    let labels = self.data.obs.column(name).and_then(Column::labels);
                    !name.ends_with("_used") && labels.is_some_and(|(_, t)| t.len() > 1 && 2 * t.len() <= n)
                };
                let known: Vec<&str> = labelled(&self.data).into_iter().filter(useful).collect();
                if !known.is_empty() {
                    say!("\nnext: --label COLUMN judges by known classes; columns are {}", known.join(", "));
                }
            }
        }
        if let Some(path) = &self.args.report {
            let html = crate::page::render(&self.report(found, seconds)?);
            unbraid_io::write_bytes_atomically(path, html.as_bytes())?;
            if !self.args.settings.json {
                say!("\nwrote {}; open it in a browser", path.display());
            }
        }
        Ok(())
    }

    fn report(&self, mut found: Evaluation, seconds: f64) -> Result<Report, Fault> {
        found.axes.iter_mut().for_each(AxisEvaluation::draw);
        let mut report = Report::default();
        let name = self.args.file.file_name().unwrap_or(self.args.file.as_os_str()).to_string_lossy();
        report.title = format!("Networks of {} in {name}, evaluated", self.key);
        report.alerts = picture::alerts(&self.warnings);
        report.run.method = self.key.clone();
        report.run.about = "Stored networks judged by what is known beside them.".into();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seed = self.args.seed.to_string();
        report.run.seconds = Some(seconds);
        report.run.inputs = vec![picture::input(&self.data, &unbraid_io::input_sha256(&self.args.file)?)];
        report.run.parameters = Parameter::list(&self.suite);
        report.evaluation = Some(found);
        Ok(report)
    }

    /// One network.
    fn axis(&mut self, side: &Side, progress: &Progress) -> Result<AxisEvaluation, Error> {
        let parts = self.suite.parts.clone();
        let mut out = AxisEvaluation { name: side.name.to_owned(), ..AxisEvaluation::default() };
        if parts.has(Part::Degrees) {
            out.degrees = Some(degree_statistics(&side.graph)?);
        }
        if parts.has(Part::Truth)
            && let Some(truth) = &side.truth
        {
            out.truth = Some(self.truth(side, truth)?);
        }
        if parts.has(Part::Robustness) {
            let options = self.suite.robustness();
            match side.graph.nnz() < 4 {
                true => {
                    self.warnings.push(format!("The network of the {} has no edges to perturb.", side.name))
                }
                false => {
                    let tick = || progress.tick();
                    out.robustness = Some(robustness(&side.graph, &options, self.seed, &tick)?);
                }
            }
        }
        if parts.has(Part::Tail) {
            out.tail = self.tail(side.name)?;
        }
        if side.name == FEATURES && parts.has(Part::Modules) {
            out.modules = Some(self.modules(&side.graph)?);
        }
        if side.name == OBSERVATIONS && parts.has(Part::Labels) {
            out.graphs = self.labels(side, progress)?;
        }
        progress.tick();
        Ok(out)
    }

    /// Ours and the neighbour graph beside the labels, where there are any.
    fn labels(&mut self, side: &Side, progress: &Progress) -> Result<Vec<JudgedGraph>, Error> {
        let Some((_, labels, _)) = self.label.as_ref() else { return Ok(Vec::new()) };
        let n = labels.len();
        let options = self.suite.labels();
        let most = match (&side.precision, self.keep.map(|k| k.rule)) {
            (Some(Matrix::Dense(_)), _) | (Some(_), Some(Rule::Dense)) => n - 1,
            (Some(_), Some(Rule::Top(k))) => k.min(n - 1),
            _ => 0,
        };
        let mut ks: Vec<usize> = match &self.suite.neighbours {
            Neighbours::Auto => {
                let kept = match self.keep.map(|k| k.rule) {
                    Some(Rule::Top(k)) => k.min(most),
                    _ => 10.min(most),
                };
                [5, 10, kept].into_iter().filter(|&k| k >= 1 && k <= most).collect()
            }
            Neighbours::List(k) => k.clone(),
        };
        ks.sort_unstable();
        ks.dedup();
        if let (Some(&largest), true) = (ks.last(), most > 0)
            && largest > most
        {
            return Err(Error::Param {
                name: "neighbours",
                found: largest.to_string(),
                rule: "smaller than the number of observations and no larger than the K of the fit's keep=top:K \
                       (fit again with a larger K, or with keep=dense)",
            });
        }
        let plain_ks: Vec<usize> = match most {
            // The mean degree of a graph of k neighbours is a little above k.
            0 => vec![((side.graph.nnz() as f64 / n as f64).round() as usize).clamp(1, (n - 1).max(1))],
            _ => ks.clone(),
        };
        if let (Neighbours::List(_), 0) = (&self.suite.neighbours, most) {
            self.warnings.push(format!(
                "`{}` was not kept with top:K or dense, so that it is judged as it is, not at the numbers of \
                 neighbours asked for.",
                self.key
            ));
        }
        let ours = match (&side.precision, most) {
            (Some(precision), 1..) => judge_top_k(square(precision), &ks, labels, &options, self.seed)?,
            _ => LabelEvaluation { at: vec![judge(&side.graph, labels, &options, self.seed)?] },
        };
        progress.tick();
        let mut plain = (String::new(), LabelEvaluation { at: Vec::new() });
        let prepare = Prepare { transform: Transform::Auto, ..Prepare::default() };
        let logged = prepare.takes_logs(&self.data);
        let (usual, _) = prepare.apply(&self.data, &mut Vec::new())?;
        for k in plain_ks {
            let (graph, name) = expression_neighbours(usual.values(), k, logged)?;
            let mut judged = judge(&graph, labels, &options, self.seed)?;
            judged.k = Some(k);
            plain.0 = name;
            plain.1.at.push(judged);
        }
        progress.tick();
        Ok(vec![JudgedGraph::new(self.key.clone(), ours), JudgedGraph::new(plain.0, plain.1)])
    }

    /// Areas under the curve against the true network.
    fn truth(&mut self, side: &Side, truth: &Matrix) -> Result<TruthScores, Error> {
        let graph = Matrix::Sparse(side.graph.clone());
        let estimate = side.precision.as_ref().unwrap_or(&graph);
        let all_pairs =
            matches!(estimate, Matrix::Dense(_)) || self.keep.is_some_and(|k| k.rule == Rule::Dense);
        if !all_pairs {
            self.warnings.push(format!(
                "Only the kept edges of the {} are ranked against the truth, all other pairs tie behind them; \
                 fit with --set keep=dense to rank every pair.",
                side.name
            ));
        }
        let scores = against_truth(square(truth), square(estimate))?;
        Ok(TruthScores { key: self.args.truth.clone().unwrap_or_default(), all_pairs, scores })
    }

    /// Modules of the features, their share of expression and their hubs.
    fn modules(&mut self, graph: &Csr) -> Result<ModuleTable, Error> {
        let found = modules(graph, self.suite.module_resolution, self.suite.smallest, self.seed)?;
        let hubs = found.hubs(graph, self.suite.hubs)?;
        let shares = match found.shares(&self.data.x) {
            Ok(shares) => Some(shares),
            Err(Error::Value { found, .. }) => {
                self.warnings.push(format!(
                    "{} holds {found}; shares of expression need values at or above 0, so that modules are \
                     listed without them. Name a layer of counts with --layer.",
                    self.data.slot
                ));
                None
            }
            Err(other) => return Err(other),
        };
        let tests = match (&shares, &self.label) {
            (Some(shares), Some((_, labels, _))) => Some(module_tests(shares.view(), labels)?),
            _ => None,
        };
        let mean = |g: usize| shares.as_ref().map(|s| s.column(g).sum() / s.nrows().max(1) as f64);
        let name = |vertex: usize| self.data.var.names[vertex].clone();
        let rows = hubs.into_iter().enumerate().map(|(g, hubs)| ModuleRow {
            module: g,
            size: found.sizes[g],
            share: mean(g),
            test: tests.as_ref().map(|t| t[g]),
            hubs: hubs.into_iter().map(|hub| NamedHub { name: name(hub.vertex), hub }).collect(),
        });
        Ok(ModuleTable {
            resolution: self.suite.module_resolution,
            outside: found.of.iter().filter(|m| m.is_none()).count(),
            label: tests.is_some().then(|| self.label.as_ref().map(|l| l.0.clone())).flatten(),
            rows: rows.collect(),
        })
    }

    /// Tail dependence between rows or between columns; `None` where there are too few.
    fn tail(&self, axis: &str) -> Result<Option<unbraid::report::TailSummary>, Error> {
        let (n, m) = self.data.shape();
        if n < 2 || m < 2 {
            return Ok(None);
        }
        let rows = axis == OBSERVATIONS;
        let seed = self.seed.child(Draw::Shuffle, u64::from(rows));
        let turned;
        let x = match rows {
            true => &self.data.x,
            false => {
                turned = self.data.x.transpose();
                &turned
            }
        };
        Ok(Some((&tail_dependence(x, self.suite.tail(), seed)?).into()))
    }
}

/// The matrix as a graph reads it.
fn square(m: &Matrix) -> Square<'_> {
    match m {
        Matrix::Dense(x) => x.into(),
        Matrix::Sparse(x) => x.into(),
    }
}

/// What stands before `suffix` in the names of the pairwise slots.
fn names_with(pairs: &Pairs, suffix: &str) -> Vec<String> {
    let all = pairs.obsp.iter().chain(&pairs.varp).filter_map(|n| n.strip_suffix(suffix));
    let unique: std::collections::BTreeSet<&str> = all.filter(|n| !n.is_empty()).collect();
    unique.into_iter().map(str::to_owned).collect()
}

fn listing(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn missing(what: String, hint: String) -> Fault {
    Error::Missing { what, hint }.into()
}

/// The key given, or the only one of the file.
fn choose_key(args: &EvaluateArgs, pairs: &Pairs) -> Result<String, Fault> {
    let there = names_with(pairs, "_connectivities");
    let source = args.file.display();
    match (&args.key, &there[..]) {
        (Some(key), _) if there.contains(key) => Ok(key.clone()),
        (Some(key), _) => Err(missing(
            format!("{source}: the network `{key}`"),
            format!("networks are stored under: {}", listing(&there)),
        )),
        (None, [one]) => Ok(one.clone()),
        (None, []) => Err(missing(
            format!("{source}: a fitted network"),
            "fit one first: unbraid fit medmagma FILE -o fit.h5ad".into(),
        )),
        (None, several) => Err(Fault::Usage(format!(
            "{source} holds several networks; choose one with --key: {}",
            several.join(", ")
        ))),
    }
}
