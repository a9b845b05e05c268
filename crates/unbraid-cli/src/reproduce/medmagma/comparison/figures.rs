//! The figures of the comparison: dots per data set, sorted values, ours against the published ones.

use super::{AMI, ASSORTATIVITY, All, BALANCED, CONTENDERS, GMGM, NUMERIC, PAPER, SHOWN, SINGLE};
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::medmagma::sets::Published;
use crate::reproduce::section::Figure;

/// Published data that lie here under another name.
const ALIASES: [(&str, &str); 3] =
    [("yan2013_embryo", "E-GEOD-36552"), ("buettner_mesc", "E-MTAB-2805"), ("pancreas_wang", "E-GEOD-83139")];
/// Names of methods in the published file, and ours.
const PUBLISHED: [(&str, &str); 3] = [("EM", PAPER), ("GmGM", GMGM), ("Basic", SINGLE)];

impl All<'_> {
    /// A dot per data set, a mean per method.
    pub(super) fn strips(&self) -> Result<Figure, Fault> {
        let order: Vec<usize> = (0..CONTENDERS.len()).rev().collect();
        let panels = [ASSORTATIVITY, AMI].map(|measure| {
            let all = order.iter().flat_map(|&m| self.values(m, SHOWN, measure));
            let names = order.iter().map(|&m| {
                let count = self.values(m, SHOWN, measure).len();
                format!("{} ({count})", CONTENDERS[m].name)
            });
            let series = order.iter().enumerate().map(|(at, &m)| {
                let values = self.values(m, SHOWN, measure);
                let y = at as f64;
                // Dots are moved apart a little, in a fixed pattern, so that equal values show.
                let dots = values.iter().enumerate().map(|(i, &v)| (v, y + 0.09 * ((i % 5) as f64 - 2.0)));
                let mean = self.interval(&values).map(|i| (i[0], i[1], i[2], y));
                Series {
                    name: CONTENDERS[m].name.into(),
                    tint: CONTENDERS[m].tint,
                    marks: vec![
                        Mark::Dots(dots.collect(), false),
                        Mark::Interval(mean.into_iter().collect()),
                    ],
                }
            });
            Panel {
                title: format!("{} at k = {SHOWN}", measure.name),
                x: Axis::around(measure.name, all.chain([0.0, 1.0])),
                y: Axis::names("", names.collect()),
                series: series.collect(),
            }
        });
        Ok(Figure {
            file: "figure3_comparison.svg".into(),
            title: "Figure 3, extended: all methods beside the neighbour graphs".into(),
            caption: "Small rings: data sets. Large ring and bar: mean and its bootstrap interval (95 %) over data sets; their \
                      number stands in brackets."
                .into(),
            svg: figure::draw(&panels, Names::None, 56 + 46 * CONTENDERS.len() as u32 + 40)?,
        })
    }

    /// Values of each method sorted on their own, as the paper draws them.
    pub(super) fn sorted(&self, results: &[Published]) -> Result<Figure, Fault> {
        let curve = |mut values: Vec<f64>| -> Vec<(f64, f64)> {
            values.retain(|v| v.is_finite());
            values.sort_by(|a, b| b.total_cmp(a));
            let last = values.len().saturating_sub(1).max(1) as f64;
            values.into_iter().enumerate().map(|(i, v)| (i as f64 / last, v)).collect()
        };
        let panels = [NUMERIC, BALANCED].map(|measure| {
            let mut series = Vec::new();
            for (method, c) in CONTENDERS.iter().enumerate() {
                let values = (0..self.sets.len()).filter_map(|s| self.largest(s, method, measure)).collect();
                series.push(Series {
                    name: c.name.into(),
                    tint: c.tint,
                    marks: vec![Mark::Line(curve(values))],
                });
            }
            for (theirs, ours) in PUBLISHED {
                let Some(c) = CONTENDERS.iter().find(|c| c.name == ours) else { continue };
                let values: Vec<f64> = results
                    .iter()
                    .filter(|r| r.method == theirs)
                    .map(|r| if measure.name == NUMERIC.name { r.assortativity } else { r.ami })
                    .collect();
                if !values.is_empty() {
                    let name = format!("published: {}", ours.split(" (").next().unwrap_or(ours));
                    series.push(Series { name, tint: c.tint, marks: vec![Mark::Dashes(curve(values))] });
                }
            }
            let values = series.iter().flat_map(|s| &s.marks).flat_map(|m| match m {
                Mark::Line(p) | Mark::Dashes(p) => p.iter().map(|p| p.1).collect::<Vec<_>>(),
                _ => Vec::new(),
            });
            Panel {
                title: format!("{}, largest over k", measure.name),
                x: Axis::numbers("rank among the data sets, from best to worst", 0.0..1.0),
                y: Axis::around(measure.name, values.chain([0.0, 1.0])),
                series,
            }
        });
        let whose = match results.is_empty() {
            true => "The published results are not under --data.".to_owned(),
            false => {
                "Dashes: the published results on the paper's 30 data sets, which are other data.".to_owned()
            }
        };
        Ok(Figure {
            file: "figure3.svg".into(),
            title: "Figure 3: values of each method, sorted".into(),
            caption: format!(
                "As in the paper each curve is sorted on its own, so that one place on two curves may be two data sets. {whose}"
            ),
            svg: figure::draw(&panels, Names::Ends, 460)?,
        })
    }

    /// Ours against the published value, where a published data set is here.
    pub(super) fn beside(&self, results: &[Published]) -> Result<Option<Figure>, Fault> {
        let accession = |name: &str| {
            let alias = ALIASES.iter().find(|a| name.starts_with(a.0)).map(|a| a.1);
            results.iter().map(|r| r.dataset.as_str()).find(|d| name.contains(d) || alias == Some(*d))
        };
        let mut matched = Vec::new();
        let panels = [NUMERIC, BALANCED].map(|measure| {
            let mut series = vec![Series {
                name: "equal".into(),
                tint: figure::GREY,
                marks: vec![Mark::Dashes(vec![(-0.2, -0.2), (1.0, 1.0)])],
            }];
            for (theirs, ours) in PUBLISHED {
                let Some(method) = CONTENDERS.iter().position(|c| c.name == ours) else { continue };
                let mut dots = Vec::new();
                for (set, s) in self.sets.iter().enumerate() {
                    let Some(accession) = accession(&s.name) else { continue };
                    let row = results.iter().find(|r| r.method == theirs && r.dataset == accession);
                    let printed =
                        row.map(|r| if measure.name == NUMERIC.name { r.assortativity } else { r.ami });
                    if let (Some(printed), Some(own)) = (printed, self.largest(set, method, measure)) {
                        dots.push((printed, own));
                        matched.push(format!("{} is {accession}", s.name));
                    }
                }
                let tint = CONTENDERS[method].tint;
                series.push(Series { name: ours.into(), tint, marks: vec![Mark::Dots(dots, true)] });
            }
            Panel {
                title: measure.name.into(),
                x: Axis::numbers("published", -0.2..1.0),
                y: Axis::numbers("ours", -0.2..1.0),
                series,
            }
        });
        matched.sort();
        matched.dedup();
        if matched.is_empty() {
            return Ok(None);
        }
        Ok(Some(Figure {
            file: "figure3_published.svg".into(),
            title: "Ours against the published values".into(),
            caption: format!(
                "Data of the paper that are here in another preparation: {}. Cells, genes and labels differ from those of the \
                 Single Cell Expression Atlas, so that points need not lie on the line.",
                matched.join("; ")
            ),
            svg: figure::draw(&panels, Names::Above, 420)?,
        }))
    }
}
