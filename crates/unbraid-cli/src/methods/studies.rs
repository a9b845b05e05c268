//! MSSVAE in the list of methods: a table whose samples belong to studies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use unbraid::data::{Annotations, Column, Dataset, Matrix};
use unbraid::error::{Error, Result};
use unbraid::fit::{Annotate, Ctx, Method};
use unbraid::methods::multistudy::coder::Coder;
use unbraid::methods::multistudy::concerns;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::mssvae::{Mssvae, MssvaeFit};
use unbraid::methods::multistudy::studies::Studies;
use unbraid::params::{ParamDoc, Params};
use unbraid::preprocess::prepare::Prepare;
use unbraid::report::{Parameter, SHARED, StudyFactors, Trace};

use super::{Done, Entry, Joins, Plan, documented, preparation};
use crate::fault::Fault;
use crate::join::STUDY;
use crate::picture::Page;
use crate::set::{Settings, listed};

/// MSSVAE among the methods.
pub const ENTRY: Entry = Entry {
    name: Mssvae::NAME,
    about: "MSSVAE: factors shared by several studies and factors of one study, each of a few features",
    example: "study=batch",
    joins: Joins::Studies,
    help,
    plan,
    stability: None,
    choice: None,
};

unbraid::params! {
    /// Where the studies are.
    pub struct Of {
        /// Column of obs that says which study an observation belongs to: labels, texts or whole numbers. With
        /// several files each is a study, named after its file, unless all have that column. Default study.
        pub study: String = STUDY.into(),
        /// Whether the encoders are stored in the output, single precision, which `unbraid apply` needs for new
        /// observations. Default true.
        pub encoders: bool = true,
    }
}

impl Params for Of {
    const DOCS: &'static [ParamDoc] = Of::FIELDS;
}

fn help() -> String {
    let heading = "Parameters for --set and --params, with their defaults:";
    let (of, own, before) = (listed(&Of::default()), listed(&Mssvae::default()), listed(&Prepare::default()));
    documented(&[(heading, &of, Of::DOCS)])
        + &documented(&[("", &own, Mssvae::DOCS)])[1..]
        + "  preset [default]\n      `paper` is the published algorithm; settings go on top of it.\n"
        + &documented(&[("Preparation, the same for every method:", &before, Prepare::DOCS)])
}

fn plan(mut settings: Settings) -> std::result::Result<Box<dyn Plan>, Fault> {
    let of: Of = settings.take_over(Of::default())?;
    let params: Mssvae = settings.take(true)?;
    let prepare: Prepare = settings.take_over(Prepare::default())?;
    let docs = Of::DOCS.iter().chain(Mssvae::DOCS).chain(Prepare::DOCS);
    settings.finish(&docs.map(|d| d.name).chain(["preset"]).collect::<Vec<_>>())?;
    params.validate()?;
    Ok(Box::new(Ready { of, prepare, params }))
}

struct Ready {
    of: Of,
    prepare: Prepare,
    params: Mssvae,
}

impl Plan for Ready {
    fn name(&self) -> &'static str {
        Mssvae::NAME
    }
    fn method(&self) -> &'static str {
        Mssvae::NAME
    }
    fn words(&self) -> [&'static str; 2] {
        ["epochs", "loss"]
    }
    fn joins(&self) -> Joins {
        Joins::Studies
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
    }
    fn reads_counts(&self) -> bool {
        self.params.likelihood == Law::NegBinomial
    }
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = listed(&self.prepare);
        all.extend(listed(&self.of));
        all.extend(listed(&self.params));
        all
    }
    fn documented(&self) -> Vec<Parameter> {
        let mut all = Parameter::list(&self.of);
        all.extend(Parameter::list(&self.params));
        all.extend(preparation(&self.prepare, &Prepare::default()));
        all
    }
    fn fit(&self, tables: &[Dataset], key: &str, ctx: &mut Ctx<'_>, page: Option<&mut Page>) -> Result<Done> {
        let table = &tables[0];
        let Levels { codes, names } = enough(table, &self.of.study)?;
        let begun = Instant::now();
        let input = Studies { values: table.values(), study: &codes, names: &names };
        if self.params.likelihood == Law::Gaussian && looks_like_counts(&table.x) {
            ctx.warn(format!(
                "{} holds whole numbers from 0, which look like counts: take `--set likelihood=nb`, or prepare them \
                 with `--set transform=lognorm`.",
                table.slot
            ));
        }
        let constant = input.constant();
        if !constant.is_empty() {
            let names: Vec<&str> = constant.iter().map(|&j| table.var.names[j].as_str()).collect();
            let (s, hold) = if names.len() == 1 { ("", "holds") } else { ("s", "hold") };
            ctx.warn(format!(
                "{} feature{s} {hold} one value in all observations ({}); they carry nothing and only cost time.",
                names.len(),
                some(&names)
            ));
        }
        let fit = self.params.fit(input, ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let coder = Coder::new(&fit.network, &fit.parts);
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        if self.of.encoders {
            coder.annotate(key, &mut annotations);
        }
        if let Some(page) = page {
            self.draw(page, &fit, (&table.var.names, &codes));
        }
        let (more, lines) = said(&fit, self.of.encoders.then(|| coder.bytes()));
        let epochs = fit.objective.len();
        let next =
            "`unbraid enrich OUTPUT --gmt SETS.gmt`; for simulated data, `unbraid evaluate factors OUTPUT`";
        Ok(Done {
            annotations,
            seconds,
            steps: epochs,
            objective: fit.objective.last().copied(),
            stop: Some(fit.stop),
            how: Some(format!("{epochs} epoch{}", if epochs == 1 { "" } else { "s" })),
            networks: Vec::new(),
            factors: Vec::new(),
            more,
            lines,
            csv: None,
            next: Some(next.into()),
        })
    }
}

impl Ready {
    /// Loss, factors and facts of a fit, from the names of its features and the studies of its observations.
    fn draw(&self, page: &mut Page, fit: &MssvaeFit, (names, study): (&[String], &[u32])) {
        let mut trace = Trace::new("loss", &fit.objective);
        let stages =
            concerns::stages(&self.params).into_iter().filter(|(epoch, _)| *epoch <= fit.objective.len());
        trace.marks = stages.map(|(epoch, lambda)| (epoch, format!("λ₀ = {lambda}"))).collect();
        page.report.objective.push(trace);
        let (mask, codes, owners) = (fit.mask(), fit.codes(), fit.owners());
        let factors = StudyFactors {
            mask: mask.view(),
            owners: &owners,
            codes: codes.view(),
            study,
            studies: &fit.studies,
            threshold: fit.threshold,
        };
        page.draw_studies(&factors, names);
    }
}

/// What is said at the end: how many factors each has, and how large the encoders are.
fn said(
    fit: &MssvaeFit,
    encoders: Option<usize>,
) -> (serde_json::Map<String, serde_json::Value>, Vec<String>) {
    let owners = fit.owners();
    let of = |owner: Option<usize>| owners.iter().filter(|o| **o == owner).count();
    let own: Vec<(&String, usize)> =
        fit.studies.iter().enumerate().map(|(m, name)| (name, of(Some(m)))).collect();
    let each: Vec<String> = own.iter().map(|(name, k)| format!("{k} of {name}")).collect();
    let mut lines = vec![format!("factors: {} of all studies, {}", of(None), each.join(", "))];
    lines.extend(
        encoders.map(|size| format!("encoders for `unbraid apply`: {}", unbraid::error::bytes(size as u64))),
    );
    let mut more = serde_json::Map::new();
    more.insert("shared_factors".into(), of(None).into());
    let studies = own.iter().map(|(name, k)| serde_json::json!({ "name": name, "factors": k }));
    more.insert("studies".into(), studies.collect());
    more.insert("encoder_bytes".into(), encoders.into());
    (more, lines)
}

/// Whether every value is a whole number of 0 or more, and not all are 0 or 1.
fn looks_like_counts(x: &Matrix) -> bool {
    let (mut whole, mut large) = (true, false);
    x.for_each_nonzero(|_, _, v| {
        whole &= v >= 0.0 && v.fract() == 0.0;
        large |= v > 1.0;
    });
    whole && large
}

/// The studies of observations.
pub struct Levels {
    /// Study of each, an index of `names`.
    pub codes: Vec<u32>,
    /// Those that occur, in the order of the column's categories, or sorted.
    pub names: Vec<String>,
}

/// Reads the column of obs.
///
/// # Errors
/// [`Error::Missing`] for a column that is not there or holds no labels, [`Error::Line`] where an observation has none.
pub fn levels(table: &Dataset, column: &str, asked: Asked) -> Result<Levels> {
    let what = format!("obs[{column:?}]");
    let Some(found) = table.obs.column(column) else {
        let what = format!("the column of {}, {what},", asked.words().1);
        return Err(Error::Missing { what, hint: others(table, column, asked) });
    };
    let Some(texts) = found.texts() else {
        let of = asked.words().0;
        let what = format!("a {of} of each observation ({what} holds numbers that need not be whole)");
        return Err(Error::Missing { what, hint: others(table, column, asked) });
    };
    let at: Vec<usize> = (0..texts.len()).filter(|&i| texts[i].is_none()).collect();
    if !at.is_empty() {
        let problem = asked.words().2;
        let hint = "fill the column, or leave these observations out".into();
        return Err(Error::Line { what, axis: "row", at, problem, hint });
    }
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    let there: BTreeSet<&String> = texts.iter().collect();
    let names: Vec<String> = match found {
        Column::Categorical { categories, .. } => {
            categories.iter().filter(|name| there.contains(name)).cloned().collect()
        }
        Column::Int(v) => {
            // As numbers: 2 before 10.
            let sorted: BTreeSet<i64> = v.iter().flatten().copied().collect();
            sorted.iter().map(i64::to_string).collect()
        }
        _ => there.into_iter().cloned().collect(),
    };
    let code: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
    let codes = texts.iter().map(|text| code.get(text).copied().unwrap_or(0)).collect();
    Ok(Levels { codes, names })
}

/// The same for a fit: at least two studies of at least two observations.
fn enough(table: &Dataset, column: &str) -> Result<Levels> {
    let found = levels(table, column, Asked::Fit)?;
    let mut sizes = vec![0usize; found.names.len()];
    found.codes.iter().for_each(|&m| sizes[m as usize] += 1);
    if let [one] = &found.names[..] {
        let what = format!("a second study (every observation has `{one}` in obs[{column:?}])");
        return Err(Error::Missing { what, hint: others(table, column, Asked::Fit) });
    }
    if found.names.iter().any(|name| name == SHARED) {
        let what = format!("another name for study `{SHARED}` of obs[{column:?}]");
        let hint = "the word is taken for factors of all studies; rename the study".into();
        return Err(Error::Missing { what, hint });
    }
    if let Some(m) = sizes.iter().position(|n| *n < 2) {
        let names: Vec<&str> = found.names.iter().map(String::as_str).collect();
        let what = format!("a second observation of study `{}`", names[m]);
        let hint = format!(
            "obs[{column:?}] has {} studies ({}); leave small ones out or join them to others; {}",
            names.len(),
            some(&names),
            others(table, column, Asked::Fit)
        );
        return Err(Error::Missing { what, hint });
    }
    Ok(found)
}

/// The first few, and how many more.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Who asks for the studies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `fit`, by a setting.
    Fit,
    /// `apply`, by an argument.
    Apply,
    /// `fit` of slices, by a setting.
    Slices,
}

impl Asked {
    /// One of what a column tells apart, several, and the complaint where there is none.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Asked::Slices => ("batch", "batches", "has no batch"),
            _ => ("study", "studies", "has no study"),
        }
    }
}

/// Columns of obs that could be meant.
fn others(table: &Dataset, but: &str, asked: Asked) -> String {
    let (how, least) = match asked {
        Asked::Fit => ("`--set study=COLUMN`", 2),
        Asked::Apply => ("`--study COLUMN`", 1),
        Asked::Slices => ("`--set batch=COLUMN`", 1),
    };
    let n = table.obs.len();
    let shown = |(name, column): &(String, Column)| {
        let texts = column.texts().filter(|_| name != but)?;
        let levels = texts.iter().flatten().collect::<BTreeSet<_>>().len();
        (levels >= least && 2 * levels <= n).then(|| format!("{name} ({levels} levels)"))
    };
    let usable: Vec<String> = table.obs.columns.iter().filter_map(shown).collect();
    let usable: Vec<&str> = usable.iter().map(String::as_str).collect();
    let all: Vec<&str> = table.obs.columns.iter().map(|(name, _)| name.as_str()).collect();
    match (usable.is_empty(), all.is_empty()) {
        (false, _) => format!("{how} names it; columns with levels are: {}", some(&usable)),
        (true, false) => {
            format!("no column of obs tells {} apart; there are {}", asked.words().1, some(&all))
        }
        (true, true) if asked == Asked::Slices => "obs has no columns; `--obs FILE.tsv` adds some".into(),
        (true, true) => {
            "obs has no columns; `--obs FILE.tsv` adds some, or give a file for each study".into()
        }
    }
}
