//! `unbraid enrich`: which gene sets the factors of a fit stand for.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use unbraid::data::{Column, Dataset};
use unbraid::error::{Error, Result};
use unbraid::metrics::processes::{FactorSets, factor_sets, shown};
use unbraid::params::{ParamDoc, Params};
use unbraid::report::{ExplainedFigure, Parameter, ProcessFigure, Report, SHARED, SupportRule};
use unbraid::stats::enrichment::{Collection, Enrichment, EnrichmentOptions};
use unbraid_io::{Fitted, ReadOptions};

use crate::args::EnrichArgs;
use crate::fault::Fault;
use crate::set::listed;
use crate::stored::{self, Scale};
use crate::{explained, picture};

/// Genes that a list is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Universe {
    /// Those of the fit that are in any set of the collection.
    Annotated,
    /// All of the fit.
    All,
}

unbraid::words!(Universe, "a universe", Annotated = "annotated", All = "all");

unbraid::params! {
    /// Settings of `enrich`.
    pub struct EnrichSuite {
        /// |w| above which a gene belongs to a factor; 0 or larger. Default 0.5 (MSSVAE paper).
        pub threshold: f64 = 0.5,
        /// What each column of the loadings is divided by first: `none`, or `max` (its largest |w|), for methods
        /// whose loadings have no scale of their own. Default none.
        pub scale: Scale = Scale::None,
        /// Fewest genes of a factor that is tested; at least 1. Default 5.
        pub min_genes: usize = 5,
        /// Fewest genes of a set, within the universe; at least 1. Default 10 (MSSVAE paper).
        pub smallest: usize = 10,
        /// Most genes of a set, within the universe. Default 500 (the same).
        pub largest: usize = 500,
        /// Genes that count: `annotated` (genes of the fit that are in any set) or `all` (all genes of the fit).
        /// Default annotated.
        pub universe: Universe = Universe::Annotated,
        /// Whether `Trp53` and `TRP53` are one gene. Default false.
        pub ignore_case: bool = false,
        /// Level below which an adjusted p (Benjamini and Yekutieli, over the sets that share a gene with the
        /// factor) counts as enriched; above 0, at most 1. Default 0.05.
        pub level: f64 = 0.05,
        /// Share of the factors tested above which a set is common: enriched in more of them, and in more than one, it is
        /// not shown; from 0 to 1. Among fewer than 20 factors 0.1 leaves out every set that two have. Default 0.1
        /// (MSSVAE paper).
        pub common: f64 = 0.1,
        /// Sets shown for each shared factor, those of largest fold. Default 3 (MSSVAE paper).
        pub top: usize = 3,
        /// The same for each factor of one study. Default 5 (the same).
        pub top_own: usize = 5,
        /// The obs column that tells the studies of the fit apart, for shares within studies (`--label`); `auto` is the
        /// one of the fit, or the first that holds the studies of all factors. Default auto.
        pub study: String = "auto".to_owned(),
    }
}

impl Params for EnrichSuite {
    const DOCS: &'static [ParamDoc] = EnrichSuite::FIELDS;
}

impl EnrichSuite {
    fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if !(self.threshold >= 0.0 && self.threshold.is_finite()) {
            return bad("threshold", self.threshold.to_string(), "finite and 0 or larger");
        }
        if self.min_genes == 0 {
            return bad("min_genes", "0".into(), "at least 1");
        }
        if !(0.0..=1.0).contains(&self.common) {
            return bad("common", self.common.to_string(), "from 0 to 1");
        }
        if !(self.level > 0.0 && self.level <= 1.0) {
            return bad("level", self.level.to_string(), "above 0 and at most 1");
        }
        Ok(())
    }

    /// What is left out of texts and pictures, in words.
    fn hidden(&self) -> String {
        let share = crate::page::number(100.0 * self.common);
        format!("Sets enriched in more than {share} % of the factors, and in more than one")
    }

    fn options(&self) -> EnrichmentOptions {
        EnrichmentOptions {
            smallest: self.smallest,
            largest: self.largest,
            ignore_case: self.ignore_case,
            annotated_only: self.universe == Universe::Annotated,
            ..EnrichmentOptions::of_factors()
        }
    }
}

/// Settings and an example.
pub fn help() -> String {
    let settings = crate::methods::documented(&[(
        "Settings for --set and --params, with their defaults:",
        &listed(&EnrichSuite::default()),
        EnrichSuite::DOCS,
    )]);
    format!(
        "{settings}\nExample:\n  unbraid enrich cells.fit.h5ad --gmt hallmark.gmt --gmt go_bp.gmt.gz --label cell_type --report sets.html\n\n\
         Features called by Ensembl numbers, symbols in a table; a method whose loadings have no scale:\n  \
         unbraid enrich cells.fit.h5ad --gmt hallmark.gmt --var symbols.tsv --key nmf --set scale=max"
    )
}

/// The factors with their tests.
struct Found {
    key: String,
    /// `shared` or the study of each factor.
    study: Vec<String>,
    universe: usize,
    sets: usize,
    factors: Vec<FactorSets>,
    explained: Option<ExplainedFigure>,
    warnings: Vec<String>,
}

/// Runs the command.
pub fn run(args: &EnrichArgs) -> Result<(), Fault> {
    let begun = Instant::now();
    let suite: EnrichSuite = args.settings.taken()?;
    suite.validate()?;
    for (name, path) in [("--csv", &args.csv), ("--report", &args.report)] {
        let Some(path) = path else { continue };
        if path == &args.file || args.gmt.contains(path) || Some(path) == args.var.as_ref() {
            return Err(Fault::Usage(format!(
                "`{name} {}` is also an input; name another file",
                path.display()
            )));
        }
        unbraid_io::check_writable(path)?;
    }
    let data = unbraid_io::read(&args.file, &ReadOptions::default())?;
    let found = tests(args, &suite, &data)?;
    found.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    if let Some(path) = &args.csv {
        unbraid_io::write_bytes_atomically(path, csv(&found)?.as_bytes())?;
    }
    if let Some(path) = &args.report {
        let report = page(args, &suite, &data, &found, begun.elapsed().as_secs_f64())?;
        unbraid_io::write_bytes_atomically(path, crate::page::render(&report).as_bytes())?;
    }
    match args.settings.json {
        true => say!("{}", as_json(args, &suite, &found)),
        false => show(args, &suite, &found),
    }
    Ok(())
}

fn tests(args: &EnrichArgs, suite: &EnrichSuite, data: &Dataset) -> Result<Found, Fault> {
    let options = ReadOptions::default();
    let key = stored::choose_key(&args.file, args.key.as_deref(), "truth", &options)?;
    let fit = Fitted::read(&args.file, &key, &options)?;
    let fault =
        |e: Error| Fault::Core { context: format!("{}: ", data.source), source: e, place: String::new() };
    let loadings = stored::needed_loadings(&fit, &key).map_err(fault)?;
    let study = stored::owners(&fit, &key, loadings.ncols());
    let rule = SupportRule {
        threshold: suite.threshold,
        relative: suite.scale == Scale::Max,
        fewest: 1,
        widest: 1.0,
    };
    let owner = vec![None; loadings.ncols()];
    let mut warnings = Vec::new();
    let names = match &args.var {
        Some(path) => table_symbols(path, args.symbols.as_deref(), &data.var.names, &mut warnings)?,
        None => symbols(args, data).map_err(fault)?,
    };
    let supports = rule.apply(loadings.view(), &owner);
    // What took no part in the fit could not have been found.
    let at = stored::used(&data.var, &key).unwrap_or_else(|| (0..names.len()).collect());
    let supports = supports.select(ndarray::Axis(0), &at);
    let names: Vec<&str> = at.iter().map(|&j| names[j].as_str()).collect();
    let mut sets = Vec::new();
    for path in &args.gmt {
        sets.extend(unbraid_io::read_gmt(path)?);
    }
    let fold = |g: &str| if suite.ignore_case { g.to_lowercase() } else { g.to_owned() };
    let known: BTreeSet<String> = names.iter().map(|g| fold(g)).collect();
    let hits = sets.iter().flat_map(|s| &s.genes).filter(|g| known.contains(&fold(g))).count();
    let missing = |hint: String| {
        let what = format!("a gene set with {} to {} genes of the fit", suite.smallest, suite.largest);
        Err(fault(Error::Missing { what, hint }))
    };
    if let (0, Some(first)) = (hits, names.first()) {
        return missing(format!(
            "no gene of the sets is called as a feature is (`{first}`); name a column of symbols with --symbols, a \
             table of symbols with --var, or see --set ignore_case=true"
        ));
    }
    let collection = Collection::new(&names, &sets, suite.options())?;
    if collection.is_empty() {
        return missing(format!("genes match {hits} times; see --set smallest and --set largest"));
    }
    let factors = factor_sets(supports.view(), &names, &collection, suite.min_genes)?;
    let explained = match args.label.is_empty() {
        true => None,
        false => Some(explained::figure(&fit, data, &study, &args.label, &suite.study)?),
    };
    let (universe, sets) = (collection.universe(), collection.len());
    Ok(Found { key, study, universe, sets, factors, explained, warnings })
}

/// What the genes are called in the gene sets, by a column of var.
fn symbols(args: &EnrichArgs, data: &Dataset) -> Result<Vec<String>> {
    let Some(name) = &args.symbols else { return Ok(data.var.names.clone()) };
    let labels = data.var.column(name).and_then(|c| c.labels());
    let (codes, texts) = labels.ok_or_else(|| {
        let known: Vec<&str> = data.var.columns.iter().map(|(n, _)| n.as_str()).collect();
        let hint =
            format!("var has {}", if known.is_empty() { "no columns".into() } else { known.join(", ") });
        Error::Missing { what: format!("var[{name:?}], a column of texts,"), hint }
    })?;
    Ok(codes.into_iter().map(|c| texts[c].clone()).collect())
}

/// The same by a table of its own: `column` of it, or its only one. Features without a symbol keep their names.
fn table_symbols(
    path: &Path,
    column: Option<&str>,
    features: &[String],
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, Fault> {
    let table = unbraid_io::read_columns(path, None)?;
    let file = path.display();
    let titles: Vec<&str> = table.columns.iter().map(|(n, _)| n.as_str()).collect();
    let column = match (column, &titles[..]) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => {
            return Err(Fault::Usage(format!(
                "{file} has several columns; name the one of symbols with --symbols: {}",
                titles.join(", ")
            )));
        }
    };
    let texts: Vec<Option<String>> = match table.column(column) {
        Some(Column::Text(texts)) => texts.clone(),
        Some(Column::Categorical { codes, categories, .. }) => {
            codes.iter().map(|c| c.and_then(|c| categories.get(c as usize).cloned())).collect()
        }
        _ => {
            let hint = format!("its columns are {}", titles.join(", "));
            return Err(
                Error::Missing { what: format!("{file}: `{column}`, a column of texts,"), hint }.into()
            );
        }
    };
    let symbol: HashMap<&str, &String> =
        table.names.iter().zip(&texts).filter_map(|(name, s)| Some((name.as_str(), s.as_ref()?))).collect();
    let without = features.iter().filter(|f| !symbol.contains_key(f.as_str())).count();
    if without == features.len() {
        let hint = format!(
            "features are called {:?} …, rows of the table {:?} …",
            features.first().map_or("", String::as_str),
            table.names.first().map_or("", String::as_str)
        );
        return Err(Error::Missing { what: format!("{file}: a row of any feature"), hint }.into());
    }
    if without > 0 {
        warnings.push(format!("{file}: {without} of {} features have no symbol.", features.len()));
    }
    let named = |f: &String| symbol.get(f.as_str()).map_or_else(|| f.clone(), |s| (*s).clone());
    Ok(features.iter().map(named).collect())
}

/// The gene sets of the factors as a picture.
fn figure(suite: &EnrichSuite, found: &Found) -> ProcessFigure {
    let (sizes, tops) = ((found.universe, found.sets), (suite.top, suite.top_own));
    ProcessFigure::new(
        &found.key,
        sizes,
        &found.factors,
        &found.study,
        (suite.level, suite.min_genes, suite.common),
        tops,
    )
}

fn page(
    args: &EnrichArgs,
    suite: &EnrichSuite,
    data: &Dataset,
    found: &Found,
    seconds: f64,
) -> Result<Report, Fault> {
    let mut report = Report::default();
    let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    report.title = format!("Gene sets of the factors of {} in {name}", found.key);
    report.alerts = picture::alerts(&found.warnings);
    report.run.method = found.key.clone();
    report.run.about = "Over-representation of gene sets among the genes of each stored factor.".into();
    report.run.version = env!("CARGO_PKG_VERSION").to_owned();
    report.run.seconds = Some(seconds);
    report.run.inputs = vec![picture::input(data, &unbraid_io::input_sha256(&args.file)?)];
    report.run.parameters = Parameter::list(suite);
    report.explained = found.explained.clone();
    report.processes = Some(figure(suite, found));
    Ok(report)
}

/// How many sets of a factor are shown.
fn top(suite: &EnrichSuite, study: &str) -> usize {
    if study == SHARED { suite.top } else { suite.top_own }
}

fn show(args: &EnrichArgs, suite: &EnrichSuite, found: &Found) {
    let counts = figure(suite, found);
    let (shared, own) = (counts.counts(true), counts.counts(false));
    say!(
        "{} in {}: {} of {} factors tested against {} gene sets, {} genes",
        found.key,
        args.file.display(),
        shared.1 + own.1,
        found.factors.len(),
        found.sets,
        found.universe
    );
    let of = |(enriched, tested, all): (usize, usize, usize)| {
        let small =
            if tested < all { format!(", {} too small to test", all - tested) } else { String::new() };
        format!("{enriched} of {all}{small}")
    };
    say!("  shared factors with a set at an adjusted p below {}: {}", suite.level, of(shared));
    if own.2 > 0 {
        say!("  factors of one study with one: {}", of(own));
    }
    say!("");
    let best = shown(&found.factors, suite.level, suite.common, |f| top(suite, &found.study[f.factor]));
    for (f, best) in found.factors.iter().zip(best) {
        let count = f.enriched(suite.level).count();
        let note = match f.tests.is_empty() {
            true => "too few genes to be tested".into(),
            false => format!("{count} enriched"),
        };
        say!("  factor {} ({}): {} genes, {note}", f.factor + 1, found.study[f.factor], f.genes);
        for e in best {
            say!("    {}  {}/{} genes, fold {:.1}, p {:.1e}", e.set, e.overlap, e.size, e.fold, e.by);
        }
    }
    say!(
        "\n  p: one-sided hypergeometric, adjusted after Benjamini and Yekutieli over the sets that share a gene with the \
         factor.\n  {}, are not shown.",
        suite.hidden()
    );
    if let Some(explained) = &found.explained {
        crate::evaluate::text::explained(explained);
    }
    for path in [&args.csv, &args.report].into_iter().flatten() {
        say!("  wrote {}", path.display());
    }
}

fn as_json(args: &EnrichArgs, suite: &EnrichSuite, found: &Found) -> serde_json::Value {
    let figure = figure(suite, found);
    let blocks = figure.blocks.iter().map(|b| {
        let filled = b.factors.iter().filter(|f| f.genes > 0).count();
        json!({"name": b.name, "factors": filled, "tested": b.tested, "enriched": b.enriched})
    });
    let (shared, own) = (figure.counts(true), figure.counts(false));
    let best = shown(&found.factors, suite.level, suite.common, |f| top(suite, &found.study[f.factor]));
    let factors = found.factors.iter().zip(best).map(|(f, best)| {
        let enriched: Vec<&Enrichment> = f.enriched(suite.level).collect();
        let shown: Vec<&str> = best.iter().map(|e| e.set.as_str()).collect();
        json!({
            "factor": f.factor, "study": found.study[f.factor], "genes": f.genes, "tested": !f.tests.is_empty(),
            "enriched": enriched, "shown": shown,
        })
    });
    json!({
        "file": args.file, "key": found.key, "version": env!("CARGO_PKG_VERSION"), "gmt": args.gmt,
        "genes": found.universe, "sets": found.sets, "tested": shared.1 + own.1, "enriched": shared.0 + own.0,
        "blocks": blocks.collect::<Vec<_>>(), "params": listed(suite), "factors": factors.collect::<Vec<_>>(),
        "explained": found.explained, "warnings": found.warnings, "csv": args.csv, "report": args.report,
    })
}

fn csv(found: &Found) -> Result<String, Fault> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let fault = |e: &dyn std::fmt::Display| Error::Numeric { what: "writing the table", why: e.to_string() };
    let head =
        ["factor", "study", "genes", "set", "size", "overlap", "fold", "p", "log10_p", "bh", "by", "found"];
    out.write_record(head).map_err(|e| fault(&e))?;
    for f in &found.factors {
        for e in &f.tests {
            let line = [
                (f.factor + 1).to_string(),
                found.study[f.factor].clone(),
                f.genes.to_string(),
                e.set.clone(),
                e.size.to_string(),
                e.overlap.to_string(),
                e.fold.to_string(),
                e.p.to_string(),
                e.log10_p.to_string(),
                e.bh.to_string(),
                e.by.to_string(),
                e.genes.join(" "),
            ];
            out.write_record(line).map_err(|e| fault(&e))?;
        }
    }
    let bytes = out.into_inner().map_err(|e| fault(&e))?;
    String::from_utf8(bytes).map_err(|e| fault(&e).into())
}
