//! The networks in the list of methods, and refits that judge them.

use std::time::Instant;

use unbraid::data::{Annotations, Dataset};
use unbraid::fit::{Annotate, Ctx, Method};
use unbraid::methods::kronecker::gmgm::{Gmgm, Tensors};
use unbraid::methods::kronecker::med_magma::low_rank::rank::Evidence;
use unbraid::methods::kronecker::med_magma::{MedMagma, Rank};
use unbraid::methods::kronecker::single_axis::SingleAxis;
use unbraid::methods::kronecker::stability::{Refit, Refits, Stability, Stable};
use unbraid::methods::kronecker::tyler::{self, Tyler};
use unbraid::params::Params;
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::prepare::{Prepare, Transform};
use unbraid::report::{LineChart, Parameter, Series};

use super::{Done, Joins, Picture, Plan, Shown, Summary, preparation};
use crate::fault::Fault;
use crate::picture::Page;
use crate::set::{Settings, listed};

/// Refits that are ready to run.
struct Judged<M> {
    prepare: Prepare,
    stability: Stability<M>,
}

/// The refits with everything that was set.
pub(super) fn stability<M: Shown + Refit>(
    mut settings: Settings,
    refits: Refits,
) -> Result<Box<dyn Plan>, Fault> {
    if settings.names("keep") {
        return Err(Fault::Usage("`keep` is not read here: a refit selects its edges by `--edges`".into()));
    }
    let method: M = settings.take(true)?;
    let prepare: Prepare = settings.take_over(method.prepare())?;
    let known: Vec<&str> = M::DOCS.iter().chain(Prepare::DOCS).map(|d| d.name).chain(["preset"]).collect();
    settings.finish(&known)?;
    let stability = Stability { refits, method };
    stability.validate()?;
    Ok(Box::new(Judged { prepare, stability }))
}

impl<M: Shown + Refit> Plan for Judged<M> {
    fn name(&self) -> &'static str {
        M::STABILITY
    }
    fn method(&self) -> &'static str {
        M::NAME
    }
    fn notes(&self, key: &str) -> String {
        format!("{key}_stability")
    }
    fn words(&self) -> [&'static str; 2] {
        ["refits", "stable edges"]
    }
    fn neighbours(&self, key: &str) -> String {
        format!("{key}_stable_neighbors")
    }
    fn joins(&self) -> Joins {
        Joins::No
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
    }
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = listed(&self.prepare);
        all.extend(listed(&self.stability.method));
        all.remove("keep");
        all.extend(listed(&self.stability.refits));
        all
    }
    fn documented(&self) -> Vec<Parameter> {
        let mut all = Parameter::list(&self.stability.refits);
        all.extend(Parameter::list(&self.stability.method).into_iter().filter(|p| p.name != "keep"));
        all.extend(preparation(&self.prepare, &self.stability.method.prepare()));
        all
    }
    fn fit(
        &self,
        tables: &[Dataset],
        key: &str,
        ctx: &mut Ctx<'_>,
        page: Option<&mut Page>,
    ) -> Result<Done, unbraid::Error> {
        let begun = Instant::now();
        let fit = self.stability.fit(tables[0].values(), ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        if let Some(page) = page {
            page.draw_stability(&fit, &tables[0])?;
        }
        let refits = fit.networks.iter().map(|n| n.refits).max().unwrap_or(0);
        Ok(Done {
            annotations,
            seconds,
            steps: refits,
            objective: None,
            stop: Some(fit.stop),
            how: None,
            networks: fit.networks.iter().map(judged).collect(),
            factors: Vec::new(),
            more: serde_json::Map::new(),
            lines: Vec::new(),
            csv: None,
            next: None,
        })
    }
}

/// What is said of the stability of one network.
fn judged(network: &Stable) -> Summary {
    let (bounds, stable) = (network.bounds(), network.edges());
    let more = serde_json::json!({
        "refits": network.refits,
        "threshold": network.threshold,
        "selected_per_refit": network.selected(),
        "pairs_ever_selected": network.counts.len(),
        "expected_false": {
            // A bound that is not finite becomes null.
            "general": bounds.general, "unimodal": bounds.unimodal, "concave": bounds.concave,
        },
    });
    let share = |bound: f64| match stable {
        0 => format!("{bound:.2}"),
        _ => format!("{bound:.2} ({:.1} %)", (100.0 * bound / stable as f64).min(100.0)),
    };
    let line = format!(
        "found in at least {} % of {} refits, each of which selects {:.0} of {:.0} pairs; expected false among \
         them at most {} without a shape, {} unimodal, {} r-concave",
        100.0 * network.threshold,
        network.refits,
        network.selected(),
        network.candidates(),
        share(bounds.general),
        share(bounds.unimodal),
        share(bounds.concave),
    );
    let more = if let serde_json::Value::Object(map) = more { map } else { serde_json::Map::new() };
    Summary { axis: axis(network.side), nodes: network.nodes, edges: stable, more, line }
}

/// An axis as people say it.
pub fn axis(side: tyler::Side) -> &'static str {
    if side == tyler::Side::Obs { "observations" } else { "features" }
}

impl Shown for MedMagma {
    const ABOUT: &'static str = "MED-MAGMA: cell and gene networks under unknown row and column magnitudes";
    const EXAMPLE: &'static str = "rank=20";
    /// Counts as for any other tool; the full mode reads the values as they are.
    fn prepare(&self) -> Prepare {
        match self.rank {
            Rank::Full => Prepare::default(),
            _ => Prepare { genes: Genes::Auto, transform: Transform::Auto, ..Prepare::default() },
        }
    }
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        tables[0].values()
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &fit.objective,
            traces: vec![("relative change of Ψ", fit.change.iter().map(|c| c[1]).collect())],
            stop: Some(fit.stop),
            networks: vec![("observations", &fit.networks[0]), ("features", &fit.networks[1])],
            charts: fit.evidence.as_ref().map(rank_charts).unwrap_or_default(),
            how: match (&fit.components, fit.objective.is_empty()) {
                (Some(c), true) => Some(format!("low rank, {} components", c.s.len())),
                _ => None,
            },
            ..Picture::default()
        }
    }
}

/// What `rank=auto` looked at.
fn rank_charts(evidence: &Evidence) -> Vec<LineChart> {
    let curve = |name: &str, colour, values: Vec<Option<f64>>| Series {
        name: name.into(),
        colour,
        thin: false,
        values,
    };
    let level = |name: &str, at: f64, over: usize| Series {
        name: name.into(),
        colour: 1,
        thin: true,
        values: vec![Some(at); over],
    };
    let shown = evidence.ratios.len().min(3 * evidence.rank + 10);
    let verdict = if evidence.low { "low rank" } else { "no low rank, so every component counts" };
    let mut charts = vec![LineChart {
        title: "Singular values over the noise edge".into(),
        x_label: "component (the mean left out)".into(),
        y_label: "σ / (√n + √m)".into(),
        x: (1..=shown).map(|k| k as f64).collect(),
        series: vec![
            curve("table", 0, evidence.ratios[..shown].iter().map(|r| Some(*r)).collect()),
            level("edge of pure noise", 1.0, shown),
        ],
        caption: format!(
            "Values above 1 stand out of the noise. The first must reach 4/3: {verdict}, rank {} with the mean.",
            evidence.rank
        ),
        mark: None,
    }];
    if evidence.held_out.len() > 1 {
        charts.push(LineChart {
            title: "Held-out entries".into(),
            x_label: "components".into(),
            y_label: "R² of entries not seen".into(),
            x: (0..evidence.held_out.len()).map(|k| k as f64).collect(),
            series: vec![curve("R²", 0, evidence.held_out.iter().map(|r| Some(*r)).collect())],
            caption: format!(
                "A second opinion on the rank: {} components predict best.",
                evidence.best_held_out().unwrap_or(0)
            ),
            mark: None,
        });
    }
    charts
}

impl Shown for Gmgm {
    const ABOUT: &'static str = "GmGM: networks of all axes of one or several tables that share axes";
    const EXAMPLE: &'static str = "transform=log1p";
    const JOINS: Joins = Joins::Tables;
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        match tables {
            [one] => Tensors::matrix(one.values()),
            several => Tensors::tables(several.iter().map(|t| (t.source.as_str(), t.values()))),
        }
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        let named = |axis: &str| if axis == "obs" { "observations" } else { "features" };
        Picture {
            objective: &fit.objective,
            stop: Some(fit.stop),
            networks: fit.axes.iter().map(|a| (named(&a.name), &a.network)).collect(),
            ..Picture::default()
        }
    }
}

impl Shown for SingleAxis {
    const ABOUT: &'static str = "Single axis: pseudo-inverses of both Gram matrices, the plain baseline";
    const EXAMPLE: &'static str = "rcond=1e-4";
    const JOINS: Joins = Joins::Stacked;
    /// Its Gram matrices are of the values as they are.
    fn prepare(&self) -> Prepare {
        Prepare::default()
    }
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        tables[0].values()
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture { networks: vec![("observations", &fit.obs), ("features", &fit.var)], ..Picture::default() }
    }
}

impl Shown for Tyler {
    const ABOUT: &'static str = "Tyler's scatter: one axis, robust to the magnitude of every sample";
    const EXAMPLE: &'static str = "axis=var";
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        tables[0].values()
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &fit.objective,
            stop: Some(fit.stop),
            networks: vec![(axis(fit.axis), &fit.network)],
            ..Picture::default()
        }
    }
}
