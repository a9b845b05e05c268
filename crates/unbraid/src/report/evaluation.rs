//! An evaluation of stored networks: what `evaluate network` prints, writes as JSON and draws.

use serde::{Deserialize, Serialize};

use super::chart::{LineChart, Series};
use super::comparison::Class;
use super::finite;
use crate::metrics::degree::DegreeStatistics;
use crate::metrics::modules::{Hub, ModuleTest};
use crate::metrics::network::{Judged, LabelEvaluation, Score, TruthEvaluation};
use crate::metrics::robustness::Robustness;
use crate::stats::tail::TailDependence;

/// Networks of one fit, by axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name under which the fit is stored.
    pub key: String,
    /// Column of the known labels, where there is one.
    pub label: Option<String>,
    /// The labels that occur.
    pub classes: Vec<Class>,
    /// `observations`, `features`, or both.
    pub axes: Vec<AxisEvaluation>,
}

/// One network; parts that were not asked or could not be had are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AxisEvaluation {
    /// `observations` or `features`.
    pub name: String,
    /// Counts and averages of the kept graph.
    pub degrees: Option<DegreeStatistics>,
    /// Ours and the neighbour graph beside the labels.
    pub graphs: Vec<JudgedGraph>,
    /// Beside a true network.
    pub truth: Option<TruthScores>,
    /// Modules of a feature network.
    pub modules: Option<ModuleTable>,
    /// Communities under perturbation.
    pub robustness: Option<Robustness>,
    /// Tail dependence of the values.
    pub tail: Option<TailSummary>,
    /// Curves of the above; only a page has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<LineChart>,
}

/// One graph beside the labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedGraph {
    /// Its name.
    pub graph: String,
    /// The best over all k and resolutions, one per score.
    pub best: Vec<Best>,
    /// The largest nominal assortativity over all k.
    pub nominal: Option<f64>,
    /// The largest numeric assortativity over all k.
    pub numeric: Option<f64>,
    /// At every k.
    #[serde(flatten)]
    pub scores: LabelEvaluation,
}

/// Where a score is largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Which score.
    pub score: Score,
    /// Its value.
    pub value: f64,
    /// Neighbours per vertex, where the graph was made so.
    pub k: Option<usize>,
    /// Leiden resolution.
    pub resolution: f64,
    /// Communities there.
    pub communities: usize,
}

impl JudgedGraph {
    /// A graph with the best of its scores.
    pub fn new(graph: impl Into<String>, scores: LabelEvaluation) -> JudgedGraph {
        let best = |score: Score| {
            let (judged, p) = scores.best(score)?;
            let (resolution, communities) = (p.resolution, p.communities);
            Some(Best { score, value: p.score(score), k: judged.k, resolution, communities })
        };
        JudgedGraph {
            graph: graph.into(),
            best: Score::ALL.into_iter().filter_map(best).collect(),
            nominal: scores.nominal(),
            numeric: scores.numeric(),
            scores,
        }
    }
}

/// Areas under the curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthScores {
    /// Name under which the truth is stored.
    pub key: String,
    /// Whether all of Ψ was ranked, not only the kept edges, after which all other pairs tie.
    pub all_pairs: bool,
    /// The areas.
    #[serde(flatten)]
    pub scores: TruthEvaluation,
}

/// Modules with their share of expression and their hubs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleTable {
    /// Leiden resolution.
    pub resolution: f64,
    /// Vertices in no module, because their community is too small.
    pub outside: usize,
    /// Column whose classes are compared, where there is one.
    pub label: Option<String>,
    /// By falling size.
    pub rows: Vec<ModuleRow>,
}

/// One module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleRow {
    /// Number, from 0.
    pub module: usize,
    /// Features in it.
    pub size: usize,
    /// Mean share of a cell's expression; `None` where shares are undefined.
    pub share: Option<f64>,
    /// The comparison between classes; `None` without labels or where undefined.
    pub test: Option<ModuleTest>,
    /// Features with the most edges inside.
    pub hubs: Vec<NamedHub>,
}

/// A hub with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedHub {
    /// Name of the feature.
    pub name: String,
    /// The rest.
    #[serde(flatten)]
    pub hub: Hub,
}

/// Tail dependence without its pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailSummary {
    /// Pairs drawn.
    pub pairs: usize,
    /// Pairs where it is undefined.
    pub undefined: usize,
    /// q.
    pub quantile: f64,
    /// Mean λ_q of the data.
    pub observed: Option<f64>,
    /// Mean λ_q of Gaussian copulas with the pairs' own correlations.
    pub gaussian: Option<f64>,
    /// Mean λ_q of independent vectors.
    pub independent: f64,
    /// Share of pairs above their own Gaussian copula.
    pub above_gaussian: Option<f64>,
}

impl From<&TailDependence> for TailSummary {
    fn from(t: &TailDependence) -> TailSummary {
        TailSummary {
            pairs: t.pairs.len(),
            undefined: t.undefined,
            quantile: t.options.quantile,
            observed: t.observed,
            gaussian: t.gaussian,
            independent: t.independent,
            above_gaussian: t.above_gaussian,
        }
    }
}

impl AxisEvaluation {
    /// Fills the charts from the rest.
    pub fn draw(&mut self) {
        self.charts.clear();
        self.charts.extend(self.over_resolutions());
        self.charts.extend(self.over_k());
        self.charts.extend(self.robustness.as_ref().map(perturbation));
    }

    /// AMI over the resolutions at the last k of each graph.
    fn over_resolutions(&self) -> Option<LineChart> {
        let first = self.graphs.first()?.scores.at.last()?;
        let x: Vec<f64> = first.partitions.iter().map(|p| p.resolution).collect();
        let at = first.k.map_or_else(|| "of the kept graph".to_owned(), |k| format!("at k = {k}"));
        let curve = |(colour, g): (usize, &JudgedGraph)| {
            let last = g.scores.at.last()?;
            let values = last.partitions.iter().map(|p| finite(p.ami)).collect();
            Some(Series { name: g.graph.clone(), colour, thin: false, values })
        };
        (x.len() > 1).then(|| LineChart {
            title: format!("Agreement with the labels over resolutions, {at}"),
            x_label: "Leiden resolution".into(),
            y_label: "AMI".into(),
            x,
            series: self.graphs.iter().enumerate().filter_map(curve).collect(),
            caption: "Horizontal: resolution of the Leiden communities. Vertical: their adjusted mutual \
                      information with the labels, 1 for a perfect match, 0 by chance."
                .into(),
            mark: None,
        })
    }

    /// Best AMI and assortativity over k.
    fn over_k(&self) -> Option<LineChart> {
        let first = self.graphs.first()?;
        let x: Vec<f64> = first.scores.at.iter().filter_map(|j| Some(j.k? as f64)).collect();
        let pick = |g: &JudgedGraph, f: &dyn Fn(&Judged) -> Option<f64>| -> Vec<Option<f64>> {
            g.scores.at.iter().map(|j| f(j).and_then(finite)).collect()
        };
        let curves = |(colour, g): (usize, &JudgedGraph)| {
            let best = |j: &Judged| j.best(Score::Ami).map(|p| p.ami);
            let of = |what: &str| format!("{}: {what}", g.graph);
            [
                Series { name: of("best AMI"), colour, thin: false, values: pick(g, &best) },
                Series { name: of("assortativity"), colour, thin: true, values: pick(g, &|j| j.nominal) },
            ]
        };
        (x.len() > 1).then(|| LineChart {
            title: "Agreement with the labels over neighbours per vertex".into(),
            x_label: "neighbours per vertex, k".into(),
            y_label: "score".into(),
            x,
            series: self.graphs.iter().enumerate().flat_map(curves).collect(),
            caption: "Horizontal: k, the entries kept per row. Vertical: the best AMI over all resolutions, \
                      and (thin) the nominal assortativity of the labels."
                .into(),
            mark: None,
        })
    }
}

/// Curves of the network and of random graphs, with their extremes.
fn perturbation(r: &Robustness) -> LineChart {
    let extreme = |curves: &[Vec<f64>], f: fn(f64, f64) -> f64| -> Vec<Option<f64>> {
        let points = r.options.shares.len();
        (0..points).map(|t| curves.iter().map(|c| c[t]).reduce(f).and_then(finite)).collect()
    };
    let series = |name: &str, colour: usize, mean: &[f64], curves: &[Vec<f64>]| {
        let values = mean.iter().map(|&v| finite(v)).collect();
        let bound = |word: &str, f| Series {
            name: format!("{name}, {word}"),
            colour,
            thin: true,
            values: extreme(curves, f),
        };
        [
            Series { name: format!("{name}, mean"), colour, thin: false, values },
            bound("lowest", f64::min),
            bound("highest", f64::max),
        ]
    };
    let real = series("network", 0, &r.real_mean, &r.real);
    let null = series("random graphs", 1, &r.null_mean, &r.null);
    LineChart {
        title: "Communities under perturbation".into(),
        x_label: "share of edges perturbed".into(),
        y_label: "variation of information / log n".into(),
        x: r.options.shares.clone(),
        series: real.into_iter().chain(null).collect(),
        caption: format!(
            "Horizontal: share of the edges tried for a swap that keeps all degrees. Vertical: how far the \
             communities move, 0 for not at all. {} repeats; thin: the lowest and highest of them. Random \
             graphs have the same degrees.",
            r.options.repeats
        ),
        mark: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::network::Partition;

    fn judged(k: usize, ami: [f64; 2]) -> Judged {
        let partition = |(resolution, ami)| Partition {
            resolution,
            communities: 2,
            ami,
            balanced_ami: ami,
            ari: ami,
            balanced_ari: ami,
        };
        Judged {
            k: Some(k),
            edges: 3,
            nominal: Some(0.5),
            numeric: None,
            partitions: [0.5, 1.0].into_iter().zip(ami).map(partition).collect(),
        }
    }

    #[test]
    fn charts_follow_the_numbers_and_survive_json() {
        let graph = |name: &str, at| JudgedGraph::new(name, LabelEvaluation { at });
        let mut axis = AxisEvaluation {
            name: "observations".into(),
            graphs: vec![
                graph("ours", vec![judged(5, [0.1, 0.4]), judged(10, [0.3, f64::NAN])]),
                graph("plain", vec![judged(5, [0.2, 0.2]), judged(10, [0.6, 0.5])]),
            ],
            ..Default::default()
        };
        axis.draw();
        assert_eq!(axis.charts.len(), 2);
        assert_eq!(axis.charts[0].x, [0.5, 1.0]);
        assert_eq!(axis.charts[0].series[0].values, [Some(0.3), None]);
        assert_eq!(axis.charts[1].x, [5.0, 10.0]);
        assert_eq!(axis.charts[1].series[2].values, [Some(0.2), Some(0.6)]);
        axis.graphs[0].scores.at[1].partitions[1] = axis.graphs[0].scores.at[1].partitions[0];
        let best = axis.graphs[1].best[0];
        assert_eq!((best.score, best.value, best.k, best.resolution), (Score::Ami, 0.6, Some(10), 0.5));
        assert_eq!((axis.graphs[1].nominal, axis.graphs[1].numeric), (Some(0.5), None));
        let text = serde_json::to_string(&axis).unwrap();
        assert_eq!(serde_json::from_str::<AxisEvaluation>(&text).unwrap().charts, axis.charts);
        AxisEvaluation::default().draw();
    }
}
