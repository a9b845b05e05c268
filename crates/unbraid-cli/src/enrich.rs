//! `unbraid enrich`: which gene sets the factors of a fit stand for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unbraid::data::Dataset;
use unbraid::error::{Error, Result};
use unbraid::metrics::processes::{FactorSets, factor_sets, shown};
use unbraid::params::{ParamDoc, Params};
use unbraid::report::{SHARED, SupportRule};
use unbraid::stats::enrichment::{Collection, Enrichment, EnrichmentOptions};
use unbraid_io::{Fitted, ReadOptions};

use crate::fault::Fault;
use crate::set::{Settings, listed};
use crate::stored::{self, Scale};

/// `unbraid enrich`.
#[derive(Args, Clone, Debug)]
pub struct EnrichArgs {
    /// An .h5ad file that a factor method wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Gene sets, one a line: name, description, genes, with tabs between (.gmt, .gmt.gz); may be repeated
    #[arg(long, value_name = "FILE.gmt", required = true)]
    pub gmt: Vec<PathBuf>,
    /// Name under which the fit is stored; the only one of the file if not given
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// A column of var with the genes' symbols; the names of the features if not given
    #[arg(long, value_name = "COLUMN")]
    pub symbols: Option<String>,
    /// Also write every test as comma-separated text
    #[arg(long, value_name = "FILE.csv")]
    pub csv: Option<PathBuf>,
    /// A TOML file of settings
    #[arg(long, value_name = "FILE.toml")]
    pub params: Option<PathBuf>,
    /// One setting; may be repeated and wins over --params
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

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
        /// Sets shown for each factor, those of largest fold; sets enriched in more than a tenth of the factors, and
        /// in more than one, are not shown. Default 3 (MSSVAE paper, shared factors).
        pub top: usize = 3,
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
        if !(self.level > 0.0 && self.level <= 1.0) {
            return bad("level", self.level.to_string(), "above 0 and at most 1");
        }
        Ok(())
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
        "{settings}\nExample:\n  unbraid enrich cells.fit.h5ad --key nmf --gmt hallmark.gmt --set scale=max"
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
}

/// Runs the command.
pub fn run(args: &EnrichArgs) -> Result<(), Fault> {
    let mut settings = Settings::new(args.params.as_deref(), &args.set)?;
    let suite: EnrichSuite = settings.take(false)?;
    settings.finish(&EnrichSuite::DOCS.iter().map(|d| d.name).collect::<Vec<_>>())?;
    suite.validate()?;
    if let Some(path) = &args.csv {
        if path == &args.file || args.gmt.contains(path) {
            return Err(Fault::Usage(format!(
                "`--csv {}` is also an input; name another file",
                path.display()
            )));
        }
        unbraid_io::check_writable(path)?;
    }
    let found = tests(args, &suite)?;
    if let Some(path) = &args.csv {
        unbraid_io::write_bytes_atomically(path, csv(&found)?.as_bytes())?;
    }
    match args.json {
        true => say!("{}", as_json(args, &suite, &found)),
        false => show(args, &suite, &found),
    }
    Ok(())
}

fn tests(args: &EnrichArgs, suite: &EnrichSuite) -> Result<Found, Fault> {
    let options = ReadOptions::default();
    let key = stored::choose_key(&args.file, args.key.as_deref(), "truth", &options)?;
    let fit = Fitted::read(&args.file, &key, &options)?;
    let data = unbraid_io::read(&args.file, &options)?;
    let fault =
        |e: Error| Fault::Core { context: format!("{}: ", data.source), source: e, place: String::new() };
    let loadings = stored::needed_loadings(&fit, &key).map_err(fault)?;
    let study = stored::column_studies(&fit, &key, loadings.ncols())
        .unwrap_or_else(|| vec![SHARED.to_owned(); loadings.ncols()]);
    let rule = SupportRule {
        threshold: suite.threshold,
        relative: suite.scale == Scale::Max,
        fewest: 1,
        widest: 1.0,
    };
    let owner = vec![None; loadings.ncols()];
    let names = symbols(args, &data).map_err(fault)?;
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
            "no gene of the sets is called as a feature is (`{first}`); name a column of symbols with --symbols, or \
             see --set ignore_case=true"
        ));
    }
    let collection = Collection::new(&names, &sets, suite.options())?;
    if collection.is_empty() {
        return missing(format!("genes match {hits} times; see --set smallest and --set largest"));
    }
    let factors = factor_sets(supports.view(), &names, &collection, suite.min_genes)?;
    Ok(Found { key, study, universe: collection.universe(), sets: collection.len(), factors })
}

/// What the genes are called in the gene sets.
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

/// Factors tested, and those with an enriched set.
fn counted(suite: &EnrichSuite, found: &Found) -> (usize, usize) {
    let tested = found.factors.iter().filter(|f| !f.tests.is_empty()).count();
    let enriched = found.factors.iter().filter(|f| f.enriched(suite.level).next().is_some()).count();
    (tested, enriched)
}

fn show(args: &EnrichArgs, suite: &EnrichSuite, found: &Found) {
    let (tested, enriched) = counted(suite, found);
    say!(
        "{} in {}: {tested} of {} factors tested against {} gene sets, {} genes",
        found.key,
        args.file.display(),
        found.factors.len(),
        found.sets,
        found.universe
    );
    say!("  {enriched} with a set at an adjusted p below {}\n", suite.level);
    let best = shown(&found.factors, suite.level, suite.top);
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
         factor.\n  Sets enriched in more than a tenth of the factors, and in more than one, are not shown."
    );
    if let Some(path) = &args.csv {
        say!("  wrote {}", path.display());
    }
}

fn as_json(args: &EnrichArgs, suite: &EnrichSuite, found: &Found) -> serde_json::Value {
    let (tested, enriched) = counted(suite, found);
    let best = shown(&found.factors, suite.level, suite.top);
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
        "genes": found.universe, "sets": found.sets, "tested": tested, "enriched": enriched,
        "params": listed(suite), "factors": factors.collect::<Vec<_>>(), "csv": args.csv,
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
