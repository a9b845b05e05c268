//! What a page shows of a factorisation: what each factor is made of, who has it, and the maps learnt on top.
//!
//! X ≈ T(U V) with U: d × k loadings, Vᵀ: n × k scores, all of them 0 or larger. The reconstruction's sum splits into
//! factors,
//!
//! ```text
//! Σ_ij (U V)_ij = Σ_f (Σ_i U_if) (Σ_j V_fj),        share_f = (Σ_i U_if) (Σ_j V_fj) / Σ_ij (U V)_ij,
//! ```
//!
//! and factors are only known up to a scale (U D, D⁻¹ V), so a factor's scores are shown relative to their largest and
//! its loadings relative to their sum.

use std::borrow::Cow;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::finite;

/// Features named for each factor.
const TOP: usize = 12;
/// Share of a factor's loadings that its carriers hold together.
const CARRIED: f64 = 0.9;
/// Most rows of the heat map.
const ROWS: usize = 240;
/// Most curves on a page.
pub const CURVES: usize = 24;
/// Bars of the histogram of stretches.
const BARS: usize = 30;

/// Factors of a fit, as it holds them.
#[derive(Clone, Debug)]
pub struct Factors<'a> {
    /// U, features × factors.
    pub loadings: Cow<'a, Array2<f64>>,
    /// Whether they are relative to the mean signal of each feature, because a map takes any scale of it.
    pub relative: bool,
    /// Vᵀ, observations × factors.
    pub scores: &'a Array2<f64>,
    /// Name of the loss.
    pub loss: &'static str,
}

/// Maps of a fit, one per feature.
pub struct Maps<'a> {
    /// log₂ of the rise above the median of the inputs over the rise below.
    pub stretch: Vec<f64>,
    /// The curve of one feature; its name and stretch are filled in by the page.
    pub curve: Box<dyn Fn(usize) -> Curve + 'a>,
}

/// A factorisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorsFigure {
    /// Name of the loss.
    pub loss: String,
    /// Whether loadings are relative to the mean signal of each feature.
    #[serde(default)]
    pub relative: bool,
    /// Features.
    pub features: usize,
    /// Observations.
    pub observations: usize,
    /// One per column of the loadings, in that order.
    pub factors: Vec<Factor>,
    /// The scores as a picture; `None` without observations or factors.
    pub scores: Option<ScoreMap>,
    /// Scores by known labels.
    pub labels: Option<LabelScores>,
}

/// One factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// Share of the sum of U V; `None` where the sum is 0.
    pub share: Option<f64>,
    /// How few features hold nine tenths of the factor's loadings.
    pub carriers: usize,
    /// Observations in which no other factor scores higher.
    pub dominates: usize,
    /// Features by falling loading, at most 12; those of loading 0 are left out.
    pub top: Vec<Loading>,
}

/// One feature of a factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loading {
    /// The feature.
    pub name: String,
    /// Its part of the factor's loadings, which sum to 1.
    pub part: f64,
}

/// Scores of observations × factors, ordered by the factor that scores highest, and within it by that score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreMap {
    /// Rows of cells.
    pub rows: usize,
    /// Factors.
    pub columns: usize,
    /// Largest number of observations that share a row; it shows their mean.
    pub per_row: usize,
    /// Row by row, in hundredths of the factor's largest score.
    pub cells: Vec<u8>,
    /// Where the rows of each dominating factor start and end, in rows and their parts; `None` for a factor that
    /// dominates nowhere.
    pub spans: Vec<Option<(f64, f64)>>,
}

/// Mean scores by label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// Name of the column.
    pub label: String,
    /// One row per label that occurs.
    pub rows: Vec<LabelRow>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRow {
    /// The label.
    pub name: String,
    /// Observations with it.
    pub size: usize,
    /// Mean score on each factor, as a part of the factor's largest score.
    pub means: Vec<f64>,
}

impl FactorsFigure {
    /// The figure of U and Vᵀ. `names` are those of the features; `label` is the name of a column, an index into its
    /// titles for each observation, and the titles.
    pub fn new(
        factors: &Factors<'_>,
        names: &[String],
        label: Option<(&str, &[usize], &[String])>,
    ) -> FactorsFigure {
        let (loadings, scores) = (factors.loadings.as_ref(), factors.scores);
        let (n, k) = scores.dim();
        let k = k.min(loadings.ncols());
        let mass: Vec<f64> = (0..k).map(|f| loadings.column(f).sum() * scores.column(f).sum()).collect();
        let all: f64 = mass.iter().sum();
        let ordered = Ordered::new(scores, k, &mass, loadings);
        let mut dominates = vec![0; k];
        ordered.dominant.iter().for_each(|&f| dominates[f] += 1);
        FactorsFigure {
            loss: factors.loss.to_owned(),
            relative: factors.relative,
            features: loadings.nrows(),
            observations: n,
            factors: (0..k)
                .map(|f| {
                    let (carriers, top) = made_of(loadings, f, names);
                    let share = if all > 0.0 { finite(mass[f] / all) } else { None };
                    Factor { share, carriers, dominates: dominates[f], top }
                })
                .collect(),
            labels: label.map(|(name, codes, titles)| LabelScores {
                label: name.to_owned(),
                rows: ordered.by_label(codes, titles),
            }),
            scores: (n > 0 && k > 0).then(|| ordered.map()),
        }
    }
}

/// How few features carry a factor, and the first of them.
fn made_of(loadings: &Array2<f64>, f: usize, names: &[String]) -> (usize, Vec<Loading>) {
    let column = loadings.column(f);
    let mut order: Vec<usize> = (0..column.len()).filter(|&i| column[i] > 0.0).collect();
    order.sort_by(|&a, &b| column[b].total_cmp(&column[a]).then(a.cmp(&b)));
    let sum: f64 = column.iter().filter(|v| **v > 0.0).sum();
    let mut held = 0.0;
    let carriers = order.iter().take_while(|&&i| {
        let short = held < CARRIED * sum;
        held += column[i];
        short
    });
    let carriers = carriers.count();
    let named = |&i: &usize| Loading {
        name: names.get(i).cloned().unwrap_or_else(|| format!("feature {i}")),
        part: column[i] / sum,
    };
    (carriers, order.iter().take(TOP).map(named).collect())
}

/// Scores in comparable units, and which factor is largest where.
struct Ordered {
    /// Scores over the factor's largest, n × k, within [0, 1].
    relative: Array2<f64>,
    dominant: Vec<usize>,
}

impl Ordered {
    /// A factor's part of one observation's reconstruction is score × Σ loadings, which no scaling of the factors
    /// changes: by it the dominant factor is found.
    fn new(scores: &Array2<f64>, k: usize, mass: &[f64], loadings: &Array2<f64>) -> Ordered {
        let n = scores.nrows();
        let most: Vec<f64> = (0..k).map(|f| scores.column(f).iter().copied().fold(0.0, f64::max)).collect();
        let relative = Array2::from_shape_fn((n, k), |(i, f)| {
            let part = scores[[i, f]] / most[f];
            if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
        });
        let weight: Vec<f64> = (0..k).map(|f| loadings.column(f).sum()).collect();
        let dominant = (0..n)
            .map(|i| {
                (0..k).fold(0, |best, f| {
                    let part = |f: usize| if mass[f] > 0.0 { scores[[i, f]] * weight[f] } else { 0.0 };
                    if part(f) > part(best) { f } else { best }
                })
            })
            .collect();
        Ordered { relative, dominant }
    }

    fn map(&self) -> ScoreMap {
        let (n, k) = self.relative.dim();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| {
            let (f, g) = (self.dominant[a], self.dominant[b]);
            f.cmp(&g).then(self.relative[[b, g]].total_cmp(&self.relative[[a, f]])).then(a.cmp(&b))
        });
        let rows = n.min(ROWS);
        let mut cells = Vec::with_capacity(rows * k);
        let mut per_row = 0;
        for r in 0..rows {
            let members = &order[r * n / rows..(r + 1) * n / rows];
            per_row = per_row.max(members.len());
            for f in 0..k {
                let mean = members.iter().map(|&i| self.relative[[i, f]]).sum::<f64>() / members.len() as f64;
                cells.push((100.0 * mean).round() as u8);
            }
        }
        let mut spans = Vec::with_capacity(k);
        let mut from = 0;
        for f in 0..k {
            let to = from + self.dominant.iter().filter(|&&g| g == f).count();
            let at = |i: usize| i as f64 * rows as f64 / n as f64;
            spans.push((to > from).then(|| (at(from), at(to))));
            from = to;
        }
        ScoreMap { rows, columns: k, per_row, cells, spans }
    }

    fn by_label(&self, codes: &[usize], titles: &[String]) -> Vec<LabelRow> {
        let k = self.relative.ncols();
        let mut rows: Vec<LabelRow> =
            titles.iter().map(|name| LabelRow { name: name.clone(), size: 0, means: vec![0.0; k] }).collect();
        for (code, scores) in codes.iter().zip(self.relative.rows()) {
            if let Some(row) = rows.get_mut(*code) {
                row.size += 1;
                row.means.iter_mut().zip(scores).for_each(|(sum, v)| *sum += v);
            }
        }
        rows.retain(|row| row.size > 0);
        rows.iter_mut().for_each(|row| row.means.iter_mut().for_each(|v| *v /= row.size as f64));
        rows
    }
}

/// The map of one feature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The feature.
    pub name: String,
    /// The low-rank signal in standard units, rising.
    pub x: Vec<f64>,
    /// T_i there.
    pub y: Vec<f64>,
    /// Cumulative weights b of the learnt quantiles, rising to 1.
    pub levels: Vec<f64>,
    /// The learnt quantiles q, one per level.
    pub quantiles: Vec<f64>,
    /// What the quantiles truly are, where that is known; one per level.
    pub truth: Option<Vec<f64>>,
    /// log₂ of the rise above the median of the inputs over the rise below.
    pub stretch: f64,
}

/// Learnt maps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MapsFigure {
    /// What the maps act on.
    pub title: String,
    /// Maps in all.
    pub features: usize,
    /// Maps that inflate high values: stretch above 0.
    pub inflate: usize,
    /// Maps that deflate them.
    pub deflate: usize,
    /// Median of the stretches.
    pub median: Option<f64>,
    /// Chosen maps by falling stretch.
    pub curves: Vec<Curve>,
    /// Histogram of all stretches.
    pub stretches: Vec<Bar>,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Where it starts
    pub from: f64,
    /// and ends.
    pub to: f64,
    /// How many lie in it.
    pub count: usize,
}

impl MapsFigure {
    /// Which maps to draw, by falling stretch: a third each of the most inflating, those about the median and the
    /// most deflating; all if there are no more than [`CURVES`]. A stretch that is not finite is passed over.
    pub fn choose(stretch: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..stretch.len()).filter(|&i| stretch[i].is_finite()).collect();
        order.sort_by(|&a, &b| stretch[b].total_cmp(&stretch[a]).then(a.cmp(&b)));
        if order.len() <= CURVES {
            return order;
        }
        let (third, n) = (CURVES / 3, order.len());
        let middle = (n - third) / 2;
        let starts = [0, middle, n - third];
        starts.iter().flat_map(|&at| order[at..at + third].iter().copied()).collect()
    }

    /// The figure of all stretches and the chosen curves; points that are not finite are left out, and a curve
    /// without any.
    pub fn new(title: impl Into<String>, stretch: &[f64], curves: Vec<Curve>) -> MapsFigure {
        let mut sorted: Vec<f64> = stretch.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let mut curves: Vec<Curve> = curves.into_iter().filter_map(cleaned).collect();
        curves.sort_by(|a, b| b.stretch.total_cmp(&a.stretch));
        MapsFigure {
            title: title.into(),
            features: stretch.len(),
            inflate: sorted.iter().filter(|v| **v > 0.0).count(),
            deflate: sorted.iter().filter(|v| **v < 0.0).count(),
            median: (n > 0).then(|| 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2])),
            curves,
            stretches: histogram(&sorted),
        }
    }
}

/// Finite points only.
fn cleaned(mut curve: Curve) -> Option<Curve> {
    let pairs = |x: &[f64], y: &[f64]| -> (Vec<f64>, Vec<f64>) {
        x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite()).unzip()
    };
    (curve.x, curve.y) = pairs(&curve.x, &curve.y);
    // The truth has no gaps of its own: it is shown whole or not at all.
    curve.truth = curve
        .truth
        .filter(|t| t.len() == curve.levels.len() && t.iter().chain(&curve.quantiles).all(|v| v.is_finite()));
    (curve.levels, curve.quantiles) = pairs(&curve.levels, &curve.quantiles);
    (curve.stretch.is_finite() && !curve.x.is_empty()).then_some(curve)
}

/// Bars of equal width that have 0 on an edge, so that no bar mixes the two signs.
fn histogram(sorted: &[f64]) -> Vec<Bar> {
    let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    let width = ((high - low) / BARS as f64).max(0.01);
    let bar = |v: f64| (v / width).floor();
    let (first, last) = (bar(low), bar(high));
    let mut counts = vec![0; (last - first) as usize + 1];
    sorted.iter().for_each(|v| counts[(bar(*v) - first) as usize] += 1);
    let at = |b: usize| (first + b as f64) * width;
    counts.iter().enumerate().map(|(b, &count)| Bar { from: at(b), to: at(b + 1), count }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("g{i}")).collect()
    }

    #[test]
    fn factors_are_told_apart_whatever_their_scale() {
        let u = array![[8.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 3.0, 0.0]];
        let v = array![[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.0, 4.0, 0.0], [0.25, 0.0, 0.0]];
        let factors = |u, v| Factors { loadings: Cow::Borrowed(u), relative: false, scores: v, loss: "kl" };
        let titles = ["a".to_owned(), "none".to_owned(), "b".to_owned()];
        let label = Some(("type", &[0, 2, 2, 0][..], &titles[..]));
        let f = FactorsFigure::new(&factors(&u, &v), &names(3), label);
        // 10 · 1.75 and 4 · 6 of 41.5.
        assert!((f.factors[0].share.unwrap() - 17.5 / 41.5).abs() < 1e-12);
        assert_eq!(f.factors.iter().map(|f| f.carriers).collect::<Vec<_>>(), [2, 2, 0]);
        assert_eq!(f.factors.iter().map(|f| f.dominates).collect::<Vec<_>>(), [2, 2, 0]);
        assert_eq!(f.factors[0].top[0], Loading { name: "g0".into(), part: 0.8 });
        let map = f.scores.as_ref().unwrap();
        assert_eq!(map.cells, [100, 0, 0, 25, 0, 0, 0, 100, 0, 50, 50, 0]);
        assert_eq!(map.spans, [Some((0.0, 2.0)), Some((2.0, 4.0)), None]);
        let rows = &f.labels.as_ref().unwrap().rows;
        assert_eq!((rows.len(), rows[1].name.as_str(), &rows[1].means), (2, "b", &vec![0.25, 0.75, 0.0]));
        // The same product in other units looks the same.
        let d = array![4.0, 0.125, 2.0];
        let scaled = FactorsFigure::new(&factors(&(&u * &d), &(&v / &d)), &names(3), label);
        assert_eq!(scaled, f);
    }

    #[test]
    fn a_large_map_keeps_every_observation_and_nothing_is_nan() {
        let v = Array2::from_shape_fn((1001, 4), |(i, f)| ((i * 7 + f * 13) % 29) as f64);
        let u = Array2::ones((5, 4));
        let f = FactorsFigure::new(
            &Factors { loadings: Cow::Borrowed(&u), relative: false, scores: &v, loss: "kl" },
            &[],
            None,
        );
        let map = f.scores.unwrap();
        assert_eq!((map.rows, map.cells.len(), map.per_row), (240, 960, 5));
        assert_eq!(map.spans.last().unwrap().unwrap().1, 240.0);
        assert_eq!(f.factors.iter().map(|f| f.dominates).sum::<usize>(), 1001);
        let nothing = Factors {
            loadings: Cow::Owned(Array2::zeros((2, 1))),
            relative: false,
            scores: &Array2::zeros((3, 1)),
            loss: "kl",
        };
        let f = FactorsFigure::new(&nothing, &names(2), None);
        assert_eq!((f.factors[0].share, f.factors[0].carriers, f.factors[0].top.len()), (None, 0, 0));
        assert_eq!(f.scores.unwrap().cells, [0, 0, 0]);
    }

    #[test]
    fn the_extremes_and_the_middle_of_the_maps_are_drawn() {
        let stretch: Vec<f64> = (0..101).map(|i| f64::from(i) / 10.0 - 5.0).chain([f64::NAN]).collect();
        let chosen = MapsFigure::choose(&stretch);
        assert_eq!((chosen.len(), chosen[0], chosen[7], chosen[12], chosen[23]), (24, 100, 93, 50, 0));
        assert_eq!(MapsFigure::choose(&[0.0, 2.0, f64::NAN]), [1, 0]);
        let curve = |&i: &usize| Curve {
            name: format!("g{i}"),
            x: vec![-1.0, 0.0, f64::NAN],
            y: vec![0.0, 1.0, 2.0],
            levels: vec![0.5, 1.0],
            quantiles: vec![1.0, 2.0],
            truth: Some(vec![1.0]),
            stretch: stretch[i],
        };
        let f = MapsFigure::new("features", &stretch, chosen.iter().map(curve).collect());
        assert_eq!((f.features, f.inflate, f.deflate, f.median), (102, 50, 50, Some(0.0)));
        assert_eq!(f.stretches.iter().map(|b| b.count).sum::<usize>(), 101);
        assert!(f.stretches.iter().all(|b| b.from >= -1e-12 || b.to <= 1e-12), "no bar holds both signs");
        let first = &f.curves[0];
        assert_eq!((first.stretch, first.x.len(), first.truth.as_ref()), (5.0, 2, None));
        assert_eq!(MapsFigure::new("none", &[], Vec::new()).stretches, []);
    }
}
