//! POPARI and BATCHBLEND in the list of methods: slices of a tissue with coordinates.

use std::borrow::Cow;
use std::time::Instant;

use ndarray::{Array2, ArrayView2};
use unbraid::data::{Annotations, Dataset};
use unbraid::error::{Error, Result};
use unbraid::fit::{Annotate, Ctx, Method};
use unbraid::methods::spatial::batchblend::Batchblend;
use unbraid::methods::spatial::fit::TissueFit;
use unbraid::methods::spatial::neighbours::Rule;
use unbraid::methods::spatial::popari::Popari;
use unbraid::methods::spatial::slices::Slices;
use unbraid::params::{ParamDoc, Params};
use unbraid::preprocess::prepare::Prepare;
use unbraid::report::{Factors, LineChart, Parameter, Series, SliceFit, finite};

use super::groups::Groups;
use super::studies::{Asked, Levels, levels};
use super::{Done, Entry, FactorSummary, Joins, Picture, Plan, SLICE, documented, preparation};
use crate::fault::Fault;
use crate::picture::Page;
use crate::set::{Settings, listed};

/// POPARI among the methods.
pub const POPARI: Entry =
    entry::<Popari>("POPARI: metagenes of tissue slices, and which of them meet in space", "k=11");

/// BATCHBLEND among the methods.
pub const BATCHBLEND: Entry = entry::<Batchblend>(
    "BATCHBLEND: metagenes of tissue slices beside what each batch adds to all its cells",
    "batch=slice",
);

/// A method that reads slices.
trait Sliced:
    Method<Fitted = TissueFit> + for<'a> Method<Input<'a> = Slices<'a>> + Send + Sync + 'static
{
    /// Whether one slice is enough.
    const ONE: bool;
    /// The rule for neighbours, how many, and the ridge of affinities.
    fn space(&self) -> (Rule, usize, f64);
}

impl Sliced for Popari {
    const ONE: bool = true;
    fn space(&self) -> (Rule, usize, f64) {
        (self.graph, self.neighbors, self.lambda_affinity)
    }
}

impl Sliced for Batchblend {
    const ONE: bool = false;
    fn space(&self) -> (Rule, usize, f64) {
        (self.graph, self.neighbors, self.lambda_affinity)
    }
}

const fn entry<M: Sliced>(about: &'static str, example: &'static str) -> Entry {
    Entry {
        name: M::NAME,
        about,
        example,
        joins: Joins::Slices,
        help: help::<M>,
        plan: plan::<M>,
        stability: None,
        choice: None,
    }
}

unbraid::params! {
    /// Where the slices are.
    pub struct Of {
        /// Column of obs that says which slice (batch) a cell belongs to: labels, texts or whole numbers. Without it `popari` takes
        /// all cells for one slice. Of several files each is a slice, unless all have this column. Default batch.
        pub batch: String = SLICE.into(),
        /// Slot of obsm that holds the coordinates of the cells. Default spatial.
        pub spatial: String = "spatial".into(),
        /// With `graph=given`, slot of obsp whose entries other than 0 make two cells neighbours. Default spatial_connectivities, as
        /// squidpy has it.
        pub edges: String = "spatial_connectivities".into(),
        /// Column of obs with two values, one for all cells of a slice: affinities of both groups of slices are compared by exchanging slices.
        /// Default none.
        pub group: String = "none".into(),
    }
}

impl Params for Of {
    const DOCS: &'static [ParamDoc] = Of::FIELDS;
}

fn help<M: Sliced>() -> String {
    let heading = "Parameters for --set and --params, with their defaults:";
    let (of, own, before) = (listed(&Of::default()), listed(&M::default()), listed(&Prepare::default()));
    documented(&[(heading, &of, Of::DOCS)])
        + &documented(&[("", &own, M::DOCS)])[1..]
        + "  preset [default]\n      `paper` is the published algorithm; settings go on top of it.\n"
        + &documented(&[("Preparation, the same for every method:", &before, Prepare::DOCS)])
}

fn plan<M: Sliced>(mut settings: Settings) -> std::result::Result<Box<dyn Plan>, Fault> {
    let of: Of = settings.take_over(Of::default())?;
    let params: M = settings.take(true)?;
    let prepare: Prepare = settings.take_over(Prepare::default())?;
    let docs = Of::DOCS.iter().chain(M::DOCS).chain(Prepare::DOCS);
    settings.finish(&docs.map(|d| d.name).chain(["preset"]).collect::<Vec<_>>())?;
    params.validate()?;
    Ok(Box::new(Ready { of, prepare, params }))
}

struct Ready<M> {
    of: Of,
    prepare: Prepare,
    params: M,
}

impl<M: Sliced> Ready<M> {
    /// The slices of the cells.
    fn batches(&self, table: &Dataset) -> Result<Levels> {
        let usual = self.of.batch == Of::default().batch;
        if M::ONE && usual && table.obs.column(&self.of.batch).is_none() {
            return Ok(Levels { codes: vec![0; table.obs.len()], names: vec!["all".into()] });
        }
        levels(table, &self.of.batch, Asked::Slices)
    }

    /// The coordinates of the cells.
    fn places<'a>(&self, table: &'a Dataset) -> Result<ArrayView2<'a, f64>> {
        let key = &self.of.spatial;
        match table.obsm.get(key) {
            Some(places) => Ok(places.view()),
            None => {
                let there: Vec<&str> = table.obsm.keys().map(String::as_str).collect();
                let hint = match there.is_empty() {
                    true => "obsm is empty; every file must hold coordinates, cells × 2".into(),
                    false => format!("`--set spatial=KEY` names it; obsm has {}", there.join(", ")),
                };
                Err(Error::Missing { what: format!("the coordinates, obsm[{key:?}],"), hint })
            }
        }
    }
}

impl<M: Sliced> Plan for Ready<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn method(&self) -> &'static str {
        M::NAME
    }
    fn words(&self) -> [&'static str; 2] {
        ["iterations", "mean squared error"]
    }
    fn joins(&self) -> Joins {
        Joins::Slices
    }
    fn graph(&self) -> Option<&str> {
        (self.params.space().0 == Rule::Given).then_some(self.of.edges.as_str())
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
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
        let places = self.places(table)?;
        let batches = self.batches(table)?;
        let asked = self.of.group != Of::default().group;
        let groups = asked.then(|| Groups::read(table, &self.of.group, &batches)).transpose()?;
        let Levels { codes, names } = batches;
        let begun = Instant::now();
        let edges = self.graph().and_then(|name| table.obsp.get(name));
        let input = Slices { values: table.values(), batch: &codes, names: &names, places, edges };
        let fit = self.params.fit(input, ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        let mixtures = fit.mixtures();
        let compared = groups
            .map(|g| {
                let (rule, nearest, ridge) = self.params.space();
                let neighbours = input.neighbours(rule, nearest)?;
                let found = g.compare(&fit, &mixtures, &neighbours, ridge, ctx.seed);
                found.map(|found| (found, g))
            })
            .transpose()?;
        if let Some((found, groups)) = &compared {
            annotations.notes(key).insert("contrast".into(), groups.note(found));
        }
        if let Some(page) = page {
            let difference = compared
                .as_ref()
                .map(|(found, g)| (format!("{}, less {}", g.names[0], g.names[1]), found.difference()));
            page.draw(&picture(&fit, &mixtures), tables)?;
            let of = SliceFit {
                metagenes: fit.metagenes.view(),
                activities: fit.activities.view(),
                beta: fit.beta.view(),
                affinity: &fit.affinity,
                difference: difference.as_ref().map(|(of, d)| (of.as_str(), d)),
                batch: &fit.batch,
                batches: &fit.batches,
                places,
            };
            page.draw_slices(&of, &table.var.names, vec![course(&fit)])?;
        }
        let (more, mut lines) = said(&fit);
        lines.extend(compared.iter().flat_map(|(found, groups)| groups.said(found)));
        Ok(Done {
            annotations,
            seconds,
            steps: fit.objective.len(),
            objective: fit.objective.last().copied(),
            stop: Some(fit.stop),
            how: Some(format!("{} iterations", fit.objective.len())),
            networks: Vec::new(),
            factors: vec![FactorSummary {
                k: fit.metagenes.ncols(),
                loss: "mean squared error",
                value: fit.objective.last().copied(),
            }],
            more,
            lines,
            csv: None,
            next: None,
        })
    }
}

/// Metagenes and mixtures.
fn picture<'a>(fit: &'a TissueFit, mixtures: &'a Array2<f64>) -> Picture<'a> {
    Picture {
        objective: &fit.objective,
        stop: Some(fit.stop),
        factors: Some(Factors {
            loadings: Cow::Borrowed(&fit.metagenes),
            relative: false,
            scores: mixtures,
            loss: "mean squared error",
        }),
        ..Picture::default()
    }
}

/// How the sizes of cells went.
fn course(fit: &TissueFit) -> LineChart {
    let steps = fit.sizes.len();
    let sizes = Series {
        name: "mean size".into(),
        values: fit.sizes.iter().map(|s| finite(*s)).collect(),
        ..Series::default()
    };
    let mark = (fit.before < steps).then_some(fit.before as f64);
    let tissue = match mark {
        Some(_) => {
            " From the line on, cells see their neighbours, and it should stay where it is: a size that falls there means that cells lose to the batch what is theirs."
        }
        None => "",
    };
    LineChart {
        title: "What is left in the cells".into(),
        x_label: "iteration".into(),
        y_label: "mean size of a cell".into(),
        x: (1..=steps).map(|i| i as f64).collect(),
        series: vec![sizes],
        caption: format!(
            "The size of a cell is the sum of its activities, in units in which a cell has a mean total of K.{tissue}"
        ),
        mark,
    }
}

/// What is said at the end: what each batch adds.
fn said(fit: &TissueFit) -> (serde_json::Map<String, serde_json::Value>, Vec<String>) {
    let mut more = serde_json::Map::new();
    more.insert("batches".into(), fit.batches.clone().into());
    more.insert("size".into(), fit.sizes.last().copied().into());
    let mut lines = Vec::new();
    if fit.beta.nrows() > 0 {
        let added: Vec<f64> = fit.beta.rows().into_iter().map(|row| row.sum()).collect();
        let mut own = vec![(0.0, 0usize); added.len()];
        for (row, &t) in fit.activities.rows().into_iter().zip(&fit.batch) {
            own[t] = (own[t].0 + row.sum(), own[t].1 + 1);
        }
        let shares: Vec<f64> = added
            .iter()
            .zip(&own)
            .map(|(added, (sum, count))| added / (added + sum / *count as f64).max(f64::MIN_POSITIVE))
            .collect();
        let each: Vec<String> = fit
            .batches
            .iter()
            .zip(&shares)
            .map(|(name, share)| format!("{:.0} % of {name}", 100.0 * share))
            .collect();
        lines.push(format!("the batch makes {}", each.join(", ")));
        more.insert("batch_share".into(), shares.into());
    }
    (more, lines)
}
