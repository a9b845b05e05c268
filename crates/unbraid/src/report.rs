//! What a page about one fit is drawn from: plain serializable structs, no drawing.
//!
//! Everything a page shows is in a [`Report`]; a number that is not finite is `None`, never NaN, so
//! that the whole can be written as JSON.

mod chart;
mod coclusters;
mod comparison;
mod evaluation;
mod explained;
mod factors;
mod network;
mod processes;
mod slices;
mod stability;
mod studies;
mod survival;
mod truth;

pub use chart::{LineChart, Series};
pub use coclusters::{BlocksFigure, ClassTable, ClusterRow, CoclusterEvaluation};
pub use comparison::{Class, Comparison, Graph, Row};
pub use evaluation::{
    AxisEvaluation, Best, Evaluation, JudgedGraph, ModuleRow, ModuleTable, NamedHub, TailSummary, TruthScores,
};
pub use explained::{ExplainedColumn, ExplainedFactor, ExplainedFigure, ExplainedMean, NamedShare};
pub use factors::{
    Bar, CURVES, Curve, Factor, Factors, FactorsFigure, LabelRow, LabelScores, Loading, Maps, MapsFigure,
    ScoreMap,
};
pub use network::{Degree, Edge, Group, HeatMap, NetworkFigure};
pub use processes::{Dot, Process, ProcessBlock, ProcessFactor, ProcessFigure};
pub use slices::{Affinity, CellLabels, CellPicture, Metagene, SliceBatch, SliceFit, SliceMap, SlicesFigure};
pub use stability::{Frequent, Point, StabilityFigure};
pub use studies::{
    CodeScatter, LabelCodes, MaskMap, StudiesFigure, StudyFactor, StudyFactors, StudySize, Weight,
};
pub use survival::{Arm, ArmStep, CoxRow, CoxTable, CurveFigure, Split, SurvivalFigure};
pub use truth::{Block, FactorSide, FactorTruth, SHARED, SupportRule, TrueFactor};

use serde::{Deserialize, Serialize};

/// One page: a fit, what it was run on, and what came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// What the reader must know first.
    pub alerts: Vec<Alert>,
    /// What was run, and on what.
    pub run: Run,
    /// Objective after each step, one trace per phase or objective.
    pub objective: Vec<Trace>,
    /// What else the fit was judged by: a spectrum, held-out entries.
    #[serde(default)]
    pub charts: Vec<LineChart>,
    /// Factors, where the method finds some.
    #[serde(default)]
    pub factors: Option<FactorsFigure>,
    /// Clusters of rows and columns, where the method finds some.
    #[serde(default)]
    pub blocks: Option<BlocksFigure>,
    /// Stored clusters beside known classes.
    #[serde(default)]
    pub coclusters: Option<CoclusterEvaluation>,
    /// Factors of studies, where the method finds some.
    #[serde(default)]
    pub studies: Option<StudiesFigure>,
    /// Slices of a tissue.
    #[serde(default)]
    pub slices: Option<SlicesFigure>,
    /// Learnt increasing maps, one figure for each place they act at.
    #[serde(default)]
    pub maps: Vec<MapsFigure>,
    /// One per axis, or per network.
    pub networks: Vec<NetworkFigure>,
    /// How stable the edges of each network are, where refits were made.
    pub stability: Vec<StabilityFigure>,
    /// The network beside a plain neighbour graph, where there are labels to judge by.
    pub comparison: Option<Comparison>,
    /// An evaluation of stored networks.
    #[serde(default)]
    pub evaluation: Option<Evaluation>,
    /// Stored factors beside the true ones.
    #[serde(default)]
    pub truth: Option<FactorTruth>,
    /// What known columns explain of stored factors.
    #[serde(default)]
    pub explained: Option<ExplainedFigure>,
    /// Gene sets of stored factors.
    #[serde(default)]
    pub processes: Option<ProcessFigure>,
    /// Factors beside survival.
    #[serde(default)]
    pub survival: Option<SurvivalFigure>,
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// The result may not be what it seems.
    Warning,
    /// The result should not be used as it is.
    Error,
}

/// One thing the reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How much it matters.
    pub level: Level,
    /// Whole sentences.
    pub text: String,
}

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the method as typed.
    pub method: String,
    /// What the method does, in a sentence or two.
    pub about: String,
    /// Version of the program.
    pub version: String,
    /// Seed, as text: a page's numbers hold 53 bits only.
    pub seed: String,
    /// Wall-clock seconds of the fit.
    pub seconds: Option<f64>,
    /// Why the fit ended: `converged`, `max_steps` or `cancelled`.
    pub stop: Option<String>,
    /// The data, in the order given.
    pub inputs: Vec<Input>,
    /// Every parameter that the fit read.
    pub parameters: Vec<Parameter>,
    /// Further facts: rank found, rows left out, threads.
    pub facts: Vec<Fact>,
}

/// One matrix that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// File, as the user named it.
    pub name: String,
    /// Slot that was read: `X`.
    pub slot: String,
    /// Observations.
    pub observations: usize,
    /// Features.
    pub features: usize,
    /// Entries that are not zero.
    pub nonzeros: usize,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name as typed.
    pub name: String,
    /// Value as typed.
    pub value: String,
    /// Whether it is what it would have been if not set.
    pub default: bool,
    /// Meaning and range.
    pub about: String,
}

/// One further fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// How much.
    pub value: String,
}

/// One objective over the steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// What was measured, with its direction: `relative change of Ψ`.
    pub name: String,
    /// Value after step 1, 2, …
    pub values: Vec<Option<f64>>,
    /// Steps at which something changed, and what, as `λ₀ = 10`.
    #[serde(default)]
    pub marks: Vec<(usize, String)>,
}

impl Alert {
    /// A warning.
    pub fn warning(text: impl Into<String>) -> Alert {
        Alert { level: Level::Warning, text: text.into() }
    }
}

impl Trace {
    /// A trace of the values; what is not finite becomes a gap.
    pub fn new(name: impl Into<String>, values: &[f64]) -> Trace {
        Trace { name: name.into(), values: values.iter().map(|&v| finite(v)).collect(), marks: Vec::new() }
    }
}

impl Parameter {
    /// Every field of a parameter struct beside its default and its doc comment.
    pub fn list<P: crate::params::Params>(params: &P) -> Vec<Parameter> {
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let fields = |params: &P| serde_json::to_value(params).unwrap_or_default();
        let (set, default) = (fields(params), fields(&P::default()));
        P::DOCS
            .iter()
            .map(|doc| Parameter {
                name: doc.name.to_owned(),
                value: text(set[doc.name].clone()),
                default: set[doc.name] == default[doc.name],
                about: doc.doc.split_whitespace().collect::<Vec<_>>().join(" "),
            })
            .collect()
    }
}

/// A number that JSON can hold.
pub fn finite(v: f64) -> Option<f64> {
    v.is_finite().then_some(v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::kronecker::KroneckerDesign;

    #[test]
    fn a_report_survives_json_and_holds_no_nan() {
        let report = Report {
            title: "</script>".into(),
            alerts: vec![Alert::warning("Not converged.")],
            objective: vec![Trace::new("loss", &[1.0, f64::NAN, f64::INFINITY])],
            ..Default::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains("[1.0,null,null]"));
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn parameters_say_what_was_changed() {
        let found = Parameter::list(&KroneckerDesign { noise: 0.5, ..Default::default() });
        let noise = found.iter().find(|p| p.name == "noise").unwrap();
        assert_eq!((noise.value.as_str(), noise.default), ("0.5", false));
        assert!(noise.about.contains("multiplicative noise"));
        let sign = found.iter().find(|p| p.name == "sign").unwrap();
        assert_eq!((sign.value.as_str(), sign.default), ("plus", true));
    }
}
