//! Methods for a table whose samples belong to studies: MSSVAE, and the two it is compared with.

mod kinds;
mod levels;

use std::time::Instant;

use unbraid::data::{Annotations, Dataset, Matrix};
use unbraid::error::Result;
use unbraid::fit::{Annotate, Ctx, Method, Stop};
use unbraid::methods::multistudy::anchors::Anchors;
use unbraid::methods::multistudy::coder::Coder;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::studies::Studies;
use unbraid::params::{ParamDoc, Params};
use unbraid::preprocess::prepare::Prepare;
use unbraid::report::{Parameter, StudyFactors, Trace};

use self::levels::{enough, some};
use super::{Done, Entry, Joins, Plan, STUDY, documented, preparation};
use crate::fault::Fault;
use crate::picture::Page;
use crate::set::{Settings, listed};

pub use levels::{Asked, Levels, levels};

/// What the program adds to a method for studies.
pub trait OfStudies: Params + Send + Sync + 'static
where
    Self: for<'a> Method<Input<'a> = Studies<'a>>,
{
    /// One line for the help.
    const ABOUT: &'static str;
    /// What steps are called and what is measured after each.
    const WORDS: [&'static str; 2];
    /// Whether its encoders can be stored for new observations.
    const CODER: bool;
    /// Parameters that it has and does not read.
    const UNREAD: &'static [&'static str] = &[];
    /// What to do next, with OUTPUT for the file.
    const NEXT: &'static str;
    /// The law of its values, where there is a choice.
    fn law(&self) -> Option<Law>;
    /// What is drawn onto its trace: steps and names.
    fn marks(&self) -> Vec<(usize, String)> {
        Vec::new()
    }
    /// The factors of a fit.
    fn found(fit: &Self::Fitted) -> Found<'_>;
    /// What gives codes of new observations.
    fn coder(_fit: &Self::Fitted) -> Option<Coder> {
        None
    }
}

/// A fit as a person sees it.
pub struct Found<'a> {
    /// Features × factors.
    pub mask: ndarray::Array2<f64>,
    /// Observations × factors.
    pub codes: ndarray::Array2<f64>,
    /// Study of each factor.
    pub owners: Vec<Option<usize>>,
    /// Names of the studies.
    pub studies: &'a [String],
    /// |w| above which a feature is in a factor's set.
    pub threshold: f64,
    /// Objective of each step.
    pub objective: &'a [f64],
    /// How it ended.
    pub stop: Stop,
    /// Own columns that became shared ones.
    pub promoted: usize,
    /// Factors counted from correlations.
    pub anchors: Option<&'a Anchors>,
}

/// A method for studies among all.
pub const fn entry<M: OfStudies>() -> Entry {
    Entry {
        name: M::NAME,
        about: M::ABOUT,
        example: "study=batch",
        joins: Joins::Studies,
        help: help::<M>,
        plan: plan::<M>,
        stability: None,
        choice: None,
    }
}

unbraid::params! {
    /// Where the studies are.
    pub struct Of {
        /// Column of obs that says which study an observation belongs to: labels, texts or whole numbers. With
        /// several files each is a study, named after its file, unless all have that column. Default study.
        pub study: String = STUDY.into(),
    }
}

impl Params for Of {
    const DOCS: &'static [ParamDoc] = Of::FIELDS;
}

unbraid::params! {
    /// What is stored.
    pub struct Stored {
        /// Whether the encoders are stored in the output, single precision, which `unbraid apply` needs for new
        /// observations. Default true.
        pub encoders: bool = true,
    }
}

impl Params for Stored {
    const DOCS: &'static [ParamDoc] = Stored::FIELDS;
}

/// The parameters that a method reads.
fn read<M: OfStudies>() -> Vec<ParamDoc> {
    M::DOCS.iter().filter(|d| !M::UNREAD.contains(&d.name)).copied().collect()
}

fn help<M: OfStudies>() -> String {
    let heading = "Parameters for --set and --params, with their defaults:";
    let (of, own, before) = (listed(&Of::default()), listed(&M::default()), listed(&Prepare::default()));
    let mut out = documented(&[(heading, &of, Of::DOCS)]);
    if M::CODER {
        out += &documented(&[("", &listed(&Stored::default()), Stored::DOCS)])[1..];
    }
    out += &documented(&[("", &own, &read::<M>())])[1..];
    if M::preset("paper").is_some() {
        out += "  preset [default]\n      `paper` is the published algorithm; settings go on top of it.\n";
    }
    out + &documented(&[("Preparation, the same for every method:", &before, Prepare::DOCS)])
}

fn plan<M: OfStudies>(mut settings: Settings) -> std::result::Result<Box<dyn Plan>, Fault> {
    let of: Of = settings.take_over(Of::default())?;
    let stored = if M::CODER { settings.take_over(Stored::default())? } else { Stored { encoders: false } };
    let docs = read::<M>();
    let more: &[ParamDoc] = if M::CODER { Stored::DOCS } else { &[] };
    let docs = Of::DOCS.iter().chain(more).chain(&docs).chain(Prepare::DOCS);
    let known: Vec<&str> = docs.map(|d| d.name).chain(M::preset("paper").map(|_| "preset")).collect();
    if M::UNREAD.iter().any(|name| settings.names(name)) {
        settings.keep(M::UNREAD);
        settings.finish(&known)?;
    }
    let params: M = settings.take(true)?;
    let prepare: Prepare = settings.take_over(Prepare::default())?;
    settings.finish(&known)?;
    params.validate()?;
    Ok(Box::new(Ready { of, stored, prepare, params }))
}

struct Ready<M> {
    of: Of,
    stored: Stored,
    prepare: Prepare,
    params: M,
}

impl<M: OfStudies> Ready<M> {
    /// Without what it does not read.
    fn own(&self) -> Vec<Parameter> {
        let stored = if M::CODER { Parameter::list(&self.stored) } else { Vec::new() };
        let own = Parameter::list(&self.params).into_iter().filter(|p| !M::UNREAD.contains(&p.name.as_str()));
        Parameter::list(&self.of).into_iter().chain(stored).chain(own).collect()
    }

    /// What the values and features of a table give cause to say.
    fn concerns(&self, table: &Dataset, input: &Studies<'_>, ctx: &mut Ctx<'_>) {
        if self.params.law() != Some(Law::NegBinomial) && looks_like_counts(&table.x) {
            let law = self.params.law().map_or("", |_| "take `--set likelihood=nb`, or ");
            ctx.warn(format!(
                "{} holds whole numbers from 0, which look like counts: {law}prepare them with `--set transform=lognorm`.",
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
    }

    /// Trace, factors and facts of a fit, from the names of its features and the studies of its observations.
    fn draw(&self, page: &mut Page, found: &Found<'_>, (names, study): (&[String], &[u32])) {
        let mut trace = Trace::new(M::WORDS[1], found.objective);
        trace.marks =
            self.params.marks().into_iter().filter(|(step, _)| *step <= found.objective.len()).collect();
        page.report.objective.push(trace);
        let factors = StudyFactors {
            mask: found.mask.view(),
            owners: &found.owners,
            codes: found.codes.view(),
            study,
            studies: found.studies,
            threshold: found.threshold,
        };
        page.draw_studies(&factors, names);
    }
}

impl<M: OfStudies> Plan for Ready<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn method(&self) -> &'static str {
        M::NAME
    }
    fn words(&self) -> [&'static str; 2] {
        M::WORDS
    }
    fn joins(&self) -> Joins {
        Joins::Studies
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
    }
    fn reads_counts(&self) -> bool {
        self.params.law() == Some(Law::NegBinomial)
    }
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = listed(&self.prepare);
        all.extend(listed(&self.of));
        if M::CODER {
            all.extend(listed(&self.stored));
        }
        all.extend(listed(&self.params).into_iter().filter(|(name, _)| !M::UNREAD.contains(&name.as_str())));
        all
    }
    fn documented(&self) -> Vec<Parameter> {
        let mut all = self.own();
        all.extend(preparation(&self.prepare, &Prepare::default()));
        all
    }
    fn fit(&self, tables: &[Dataset], key: &str, ctx: &mut Ctx<'_>, page: Option<&mut Page>) -> Result<Done> {
        let table = &tables[0];
        let Levels { codes, names } = enough(table, &self.of.study)?;
        let begun = Instant::now();
        let input = Studies { values: table.values(), study: &codes, names: &names };
        self.concerns(table, &input, ctx);
        let fit = self.params.fit(input, ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let coder = M::coder(&fit).filter(|_| self.stored.encoders);
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        if let Some(coder) = &coder {
            coder.annotate(key, &mut annotations);
        }
        let found = M::found(&fit);
        if let Some(page) = page {
            self.draw(page, &found, (&table.var.names, &codes));
        }
        let (more, lines) = said(&found, coder.map(|c| c.bytes()));
        let steps = found.objective.len();
        let scheduled = found.stop == Stop::MaxSteps && M::WORDS[0] == "epochs";
        let how = scheduled.then(|| format!("{steps} epoch{}", if steps == 1 { "" } else { "s" }));
        Ok(Done {
            annotations,
            seconds,
            steps,
            objective: found.objective.last().copied(),
            stop: Some(found.stop),
            how,
            networks: Vec::new(),
            factors: Vec::new(),
            more,
            lines,
            csv: None,
            next: Some(M::NEXT.into()),
        })
    }
}

/// What is said at the end: how many factors each has, and how large the encoders are.
fn said(
    found: &Found<'_>,
    encoders: Option<usize>,
) -> (serde_json::Map<String, serde_json::Value>, Vec<String>) {
    let of = |owner: Option<usize>| found.owners.iter().filter(|o| **o == owner).count();
    let sentence = |of: &dyn Fn(Option<usize>) -> usize| {
        let each = found.studies.iter().enumerate().map(|(m, name)| format!("{} of {name}", of(Some(m))));
        format!("{} of all studies, {}", of(None), each.collect::<Vec<_>>().join(", "))
    };
    let counted = |of: &dyn Fn(Option<usize>) -> usize| -> serde_json::Value {
        let each = found.studies.iter().enumerate();
        each.map(|(m, name)| serde_json::json!({ "name": name, "factors": of(Some(m)) })).collect()
    };
    let mut lines = vec![format!("factors: {}", sentence(&of))];
    let mut more = serde_json::Map::new();
    more.insert("shared_factors".into(), of(None).into());
    more.insert("studies".into(), counted(&of));
    if found.promoted > 0 {
        let s = if found.promoted == 1 { "" } else { "s" };
        lines.push(format!("promoted: {} column{s} of one study became shared", found.promoted));
    }
    more.insert("promoted".into(), found.promoted.into());
    let anchors = found.anchors.map(|anchors| {
        let of = |owner| anchors.count(owner);
        lines.push(format!("by features of one factor alone: {}", sentence(&of)));
        serde_json::json!({ "shared_factors": of(None), "studies": counted(&of) })
    });
    more.insert("anchors".into(), anchors.into());
    lines.extend(
        encoders.map(|size| format!("encoders for `unbraid apply`: {}", unbraid::error::bytes(size as u64))),
    );
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
