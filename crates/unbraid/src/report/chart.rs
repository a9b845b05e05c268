//! Curves over one common axis, as a page draws them.

use serde::{Deserialize, Serialize};

/// One chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineChart {
    /// Heading.
    pub title: String,
    /// Name of the horizontal axis.
    pub x_label: String,
    /// Name of the vertical axis.
    pub y_label: String,
    /// Rising.
    pub x: Vec<f64>,
    /// Curves over `x`.
    pub series: Vec<Series>,
    /// What the reader should know, in whole sentences.
    pub caption: String,
    /// Where a vertical line stands.
    #[serde(default)]
    pub mark: Option<f64>,
}

/// One curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Which of the page's colours, counted from 0; curves that belong together share one.
    pub colour: usize,
    /// Whether the curve is drawn thin: a bound, not the value itself.
    pub thin: bool,
    /// One per `x`; `None` is a gap.
    pub values: Vec<Option<f64>>,
}
