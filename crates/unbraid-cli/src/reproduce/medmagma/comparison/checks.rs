//! The statements about the default.

use super::{AMI, ASSORTATIVITY, All, CONTENDERS, DEFAULT, FULL, NORMALISED, PAPER, SHOWN};
use crate::reproduce::section::Check;

/// The ten single-cell sets on which the aim for the default was stated.
const TEN: [&str; 10] = [
    "islam_es_mef_92",
    "deng_embryo_133",
    "usoskin_neurons_150",
    "treutlein_lung_time_185",
    "treutlein_lung_80",
    "buettner_mesc_cellcycle_182",
    "ginhoux_dendritic_245",
    "pollen_brain_lines_299",
    "ipsc_cardiomyocyte_time_315",
    "zheng_pbmc_500",
];

impl All<'_> {
    /// The statements about the default, where it takes part.
    pub(super) fn checks(&self) -> Vec<Check> {
        let Some(default) = CONTENDERS.iter().position(|c| c.name == DEFAULT) else { return Vec::new() };
        let mut out = Vec::new();
        let mean = |v: &[f64]| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
        let ten: Vec<usize> =
            TEN.iter().filter_map(|name| self.sets.iter().position(|s| s.name == *name)).collect();
        if ten.len() == TEN.len() {
            for (measure, least) in [(ASSORTATIVITY, 0.79), (AMI, 0.74)] {
                let values: Vec<f64> =
                    ten.iter().filter_map(|&s| self.value(s, default, SHOWN, measure)).collect();
                let found = (values.len() == TEN.len()).then(|| mean(&values)).flatten();
                out.push(Check::number(
                    format!("the default's mean {} at k = {SHOWN} on the ten single-cell sets is at least {least}", measure.name),
                    "aim of this program",
                    format!("≥ {least}"),
                    found,
                    move |v| v >= least,
                ));
            }
        }
        for k in [5, 10] {
            for measure in [ASSORTATIVITY, AMI] {
                for other in [PAPER, FULL] {
                    let differences = self.differences(DEFAULT, other, k, measure);
                    let least = differences.iter().min_by(|a, b| a.1.total_cmp(&b.1));
                    let on = least.map_or(String::new(), |l| format!(", least on {}", self.sets[l.0].name));
                    out.push(Check::number(
                        format!(
                            "the default's {} at k = {k} is on no data set below that of {other}{on}",
                            measure.name
                        ),
                        "aim of this program",
                        "least difference ≥ 0",
                        least.map(|l| l.1),
                        |v| v >= 0.0,
                    ));
                }
                let values: Vec<f64> =
                    self.differences(DEFAULT, NORMALISED, k, measure).iter().map(|d| d.1).collect();
                let (text, least) = match measure.name == AMI.name {
                    true => ("at most 0.03 below", -0.03),
                    false => ("above", 0.0),
                };
                out.push(Check::number(
                    format!("the default's mean {} at k = {k} is {text} that of {NORMALISED}", measure.name),
                    "aim of this program",
                    format!("mean difference > {least}"),
                    mean(&values),
                    move |v| v > least,
                ));
            }
        }
        out
    }
}
