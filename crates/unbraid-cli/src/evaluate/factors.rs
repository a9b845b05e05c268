//! `unbraid evaluate factors`: how much known columns explain of the factors of a fit, and the factors beside the true
//! ones of simulated data.

use std::time::Instant;

use ndarray::{Array2, Axis};
use serde_json::json;
use unbraid::data::Dataset;
use unbraid::error::{Error, Result};
use unbraid::params::{ParamDoc, Params};
use unbraid::report::{ExplainedFigure, FactorSide, FactorTruth, Parameter, Report, SHARED, SupportRule};
use unbraid_io::{Fitted, ReadOptions};

use super::text;
use crate::args::EvaluateArgs;
use crate::explained;
use crate::fault::Fault;
use crate::fit::pool;
use crate::picture;
use crate::set::listed;
use crate::stored::{self, Scale};

unbraid::params! {
    /// Settings of `evaluate factors`.
    pub struct FactorsSuite {
        /// |w| above which a feature belongs to the support of a factor; 0 or larger. Default 0.5 (MSSVAE paper,
        /// platelet analysis).
        pub threshold: f64 = 0.5,
        /// What each column of the loadings is divided by first: `none`, or `max` (its largest |w|), for methods
        /// whose loadings have no scale of their own. Default none.
        pub scale: Scale = Scale::None,
        /// Fewest features of a support; smaller ones count as empty. Default 1.
        pub min_support: usize = 1,
        /// Largest share of the features in the support of a shared factor; larger ones count as empty. From 0 to 1;
        /// the MSSVAE paper has 0.25 for its synthetic RNA. Default 1.
        pub max_share: f64 = 1.0,
        /// Whether the scores are judged, by boosted regressions of every true factor on all of them. Default true.
        pub disentanglement: bool = true,
        /// The obs column that tells the studies of the fit apart, for shares within studies (`--label`); `auto` is the
        /// one of the fit, or the first that holds the studies of all factors. Default auto.
        pub study: String = "auto".to_owned(),
    }
}

impl Params for FactorsSuite {
    const DOCS: &'static [ParamDoc] = FactorsSuite::FIELDS;
}

impl FactorsSuite {
    /// The rule by which supports are read; refuses settings outside their range.
    fn rule(&self) -> Result<SupportRule> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if !(self.threshold >= 0.0 && self.threshold.is_finite()) {
            return bad("threshold", self.threshold.to_string(), "finite and 0 or larger");
        }
        if self.min_support == 0 {
            return bad("min_support", "0".into(), "at least 1");
        }
        if !(0.0..=1.0).contains(&self.max_share) {
            return bad("max_share", self.max_share.to_string(), "from 0 to 1");
        }
        Ok(SupportRule {
            threshold: self.threshold,
            relative: self.scale == Scale::Max,
            fewest: self.min_support,
            widest: self.max_share,
        })
    }
}

/// Runs the suite.
pub fn run(args: &EvaluateArgs) -> Result<(), Fault> {
    let suite: FactorsSuite = args.settings.taken()?;
    let rule = suite.rule()?;
    super::page_is_apart(args)?;
    pool(args.threads)?.install(|| judged(args, &suite, rule))
}

/// What was found of one fit.
struct Judged {
    key: String,
    explained: Option<ExplainedFigure>,
    truth: Option<FactorTruth>,
    warnings: Vec<String>,
}

fn judged(args: &EvaluateArgs, suite: &FactorsSuite, rule: SupportRule) -> Result<(), Fault> {
    let begun = Instant::now();
    let options = ReadOptions { layer: args.layer.clone(), max_bytes: args.max_memory, ..Default::default() };
    let truth_key = args.truth.as_deref().unwrap_or("truth");
    let key = stored::choose_key(&args.file, args.key.as_deref(), truth_key, &options)?;
    let (fit, truth) =
        (Fitted::read(&args.file, &key, &options)?, Fitted::read(&args.file, truth_key, &options)?);
    let design = Fitted::read(&args.file, "simulated", &options)?;
    let data = unbraid_io::read(&args.file, &options)?;
    let fault =
        |e: Error| Fault::Core { context: format!("{}: ", data.source), source: e, place: String::new() };
    let loadings = stored::needed_loadings(&fit, &key).map_err(fault)?;
    let mut found = Judged { key, explained: None, truth: None, warnings: Vec::new() };
    if !args.label.is_empty() {
        let owner = stored::owners(&fit, &found.key, loadings.ncols());
        found.explained = Some(explained::figure(&fit, &data, &owner, &args.label, &suite.study)?);
    }
    // Without labels the truth is all there is to judge by, so that its absence is an error.
    match true_supports(&truth, truth_key) {
        Some(supports) => {
            let fits = [&fit, &truth, &design];
            found.truth =
                Some(beside(&mut found, fits, &data, loadings, supports, (suite, rule)).map_err(fault)?);
        }
        None if args.truth.is_none() && found.explained.is_some() => {}
        None => {
            let hint = "only data with known factors can be judged so, as `unbraid simulate multistudy` writes them; \
                        --label COLUMN judges factors by columns of obs";
            let what = format!(
                "varm[\"{truth_key}_supports\"] or varm[\"{truth_key}_loadings\"], the true factors,"
            );
            return Err(fault(Error::Missing { what, hint: hint.into() }));
        }
    }
    found.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    tell(args, suite, &data, found, begun.elapsed().as_secs_f64())
}

/// The factors of a fit beside the true ones; `fits` are the fit, the truth and the notes of the design.
fn beside(
    judged: &mut Judged,
    [fit, truth, design]: [&Fitted; 3],
    data: &Dataset,
    loadings: Array2<f64>,
    true_supports: Array2<f64>,
    (suite, rule): (&FactorsSuite, SupportRule),
) -> Result<FactorTruth> {
    let (key, truth_key, warnings) = (judged.key.as_str(), truth.key.as_str(), &mut judged.warnings);
    let true_names = match truth_key {
        "truth" => stored::column_studies(design, "simulated", true_supports.ncols()),
        other => stored::column_studies(truth, other, true_supports.ncols()),
    }
    .unwrap_or_else(|| vec![SHARED.to_owned(); true_supports.ncols()]);
    let by_study = stored::column_studies(fit, key, loadings.ncols()).is_some();
    let found_names = stored::owners(fit, key, loadings.ncols());
    let mut studies: Vec<String> = Vec::new();
    for name in true_names.iter().chain(&found_names).filter(|n| *n != SHARED) {
        if !studies.contains(name) {
            studies.push(name.clone());
        }
    }
    let owners = |names: &[String]| -> Vec<Option<usize>> {
        names.iter().map(|n| studies.iter().position(|s| s == n)).collect()
    };
    let (true_owner, found_owner) = (owners(&true_names), owners(&found_names));

    // What took no part in the fit can neither be found nor missed.
    let (features, rows) = (stored::used(&data.var, key), stored::used(&data.obs, key));
    if let Some(at) = &features {
        let all = data.var.len();
        warnings
            .push(format!("Supports are compared over the {} of {all} features that were fitted.", at.len()));
    }
    let cut = |w: Array2<f64>| features.as_ref().map_or(w.clone(), |at| w.select(Axis(0), at));
    let (loadings, true_supports) = (cut(loadings), cut(true_supports));
    let found = rule.apply(loadings.view(), &found_owner);
    let expected = true_supports.mapv(|v| v != 0.0);
    let scores = |key: &str| {
        let all = data.obsm.get(&format!("X_{key}")).filter(|_| suite.disentanglement)?;
        Some(rows.as_ref().map_or(all.clone(), |at| all.select(Axis(0), at)))
    };
    let (codes, factors) = (scores(key), scores(truth_key));
    if suite.disentanglement && (codes.is_none() || factors.is_none()) {
        warnings.push(format!(
            "obsm holds no X_{key} or no X_{truth_key}, so that scores are not judged; supports are."
        ));
    }
    let side =
        FactorSide { supports: found.view(), scores: codes.as_ref().map(|x| x.view()), owner: &found_owner };
    let true_side = FactorSide {
        supports: expected.view(),
        scores: factors.as_ref().map(|x| x.view()),
        owner: &true_owner,
    };
    FactorTruth::new((key, truth_key), side, true_side, &studies, by_study, rule)
}

/// Prints, and writes the page.
fn tell(
    args: &EvaluateArgs,
    suite: &FactorsSuite,
    data: &Dataset,
    found: Judged,
    seconds: f64,
) -> Result<(), Fault> {
    let (n, m) = data.shape();
    let Judged { key, explained, truth, warnings } = found;
    if args.settings.json {
        let mut out = json!({
            "suite": "factors", "file": args.file, "key": key, "version": env!("CARGO_PKG_VERSION"),
            "seconds": seconds, "params": listed(suite), "warnings": warnings, "report": args.report,
            "explained": explained,
        });
        if let (Some(out), Ok(serde_json::Value::Object(truth))) =
            (out.as_object_mut(), serde_json::to_value(&truth))
        {
            out.extend(truth);
        }
        say!("{out}");
    } else {
        say!("{key} in {}: {n} observations × {m} features", args.file.display());
        if let Some(explained) = &explained {
            text::explained(explained);
        }
        if let Some(truth) = &truth {
            text::factors(truth);
        }
    }
    if let Some(path) = &args.report {
        let mut report = Report::default();
        let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
        let by = if truth.is_some() { "beside the truth" } else { "beside known columns" };
        report.title = format!("Factors of {key} in {name} {by}");
        report.alerts = picture::alerts(&warnings);
        report.run.method = key;
        report.run.about = "Stored factors judged by what is known beside them.".into();
        report.run.version = env!("CARGO_PKG_VERSION").to_owned();
        report.run.seed = args.seed.to_string();
        report.run.seconds = Some(seconds);
        report.run.inputs = vec![picture::input(data, &unbraid_io::input_sha256(&args.file)?)];
        report.run.parameters = Parameter::list(suite);
        report.explained = explained;
        report.truth = truth;
        let html = crate::page::render(&report);
        unbraid_io::write_bytes_atomically(path, html.as_bytes())?;
        if !args.settings.json {
            say!("\nwrote {}; open it in a browser", path.display());
        }
    }
    Ok(())
}

fn true_supports(truth: &Fitted, key: &str) -> Option<Array2<f64>> {
    stored::matrix(truth, &format!("{key}_supports")).or_else(|| stored::loadings(truth, key))
}
