//! What a page shows of factors that several studies share and of those of one study.
//!
//! W: G × F the final factors, z: N × F their codes, 0 where a factor belongs to another study. A feature is in the set of a
//! factor where |w| is above the threshold. Of the signal that enters the decoder, factor f makes the part
//!
//! ```text
//! share_f = Σ_j w_jf² · Σ_i z_if² / Σ_f (Σ_j w_jf² · Σ_i z_if²),
//! ```
//!
//! which neither the sign nor the scale (w_f c, z_f / c) of a factor changes. In the picture of W features stand by their
//! leading factor, that of largest |w|, and by falling |w| within it, so that blocks show.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{SHARED, finite};

/// Features named for each factor.
const TOP: usize = 10;
/// Most columns of the picture of W.
const CELLS: usize = 480;
/// Most points of a scatter.
const POINTS: usize = 1500;
/// Share of the entries of the picture that its colours tell apart.
const WITHIN: f64 = 0.98;

/// Factors of studies, as a fit holds them.
#[derive(Clone, Copy, Debug)]
pub struct StudyFactors<'a> {
    /// W, features × factors.
    pub mask: ArrayView2<'a, f64>,
    /// The study of each factor; `None` for shared ones.
    pub owners: &'a [Option<usize>],
    /// z, observations × factors.
    pub codes: ArrayView2<'a, f64>,
    /// Study of each observation.
    pub study: &'a [u32],
    /// Names of the studies.
    pub studies: &'a [String],
    /// |w| above which a feature is in a set.
    pub threshold: f64,
}

/// Factors of studies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudiesFigure {
    /// |w| above which a feature is in a set.
    pub threshold: f64,
    /// Features.
    pub features: usize,
    /// Features in some set.
    pub in_sets: usize,
    /// Every study.
    pub studies: Vec<StudySize>,
    /// Shared factors first, then those of each study.
    pub factors: Vec<StudyFactor>,
    /// W; `None` where no feature is in a set.
    pub map: Option<MaskMap>,
    /// Codes of the two factors of all studies with the largest shares; `None` with fewer than two.
    pub scatter: Option<CodeScatter>,
    /// Mean codes by known labels.
    pub labels: Option<LabelCodes>,
}

/// One study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudySize {
    /// Its name.
    pub name: String,
    /// Observations.
    pub observations: usize,
    /// Factors of its own.
    pub factors: usize,
}

/// One factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyFactor {
    /// `shared` or the study.
    pub study: String,
    /// Features in its set.
    pub size: usize,
    /// Part of the signal; `None` where there is none.
    pub share: Option<f64>,
    /// Features of its set by falling |w|, at most ten.
    pub top: Vec<Weight>,
    /// Standard deviation of its codes within each study; `None` where it belongs to another.
    pub spread: Vec<Option<f64>>,
}

/// One feature of a factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// The feature.
    pub name: String,
    /// w.
    pub weight: f64,
}

/// W as a picture, factors in rows and features of some set in columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskMap {
    /// Factors.
    pub rows: usize,
    /// Cells of a row.
    pub columns: usize,
    /// Largest number of features that share a column; it shows the entry of largest size.
    pub per_column: usize,
    /// Row by row, in hundredths of `limit`.
    pub cells: Vec<i8>,
    /// Entries of this size and above have the full colour.
    pub limit: f64,
    /// Name and number of rows of each block: shared, then each study with factors.
    pub blocks: Vec<(String, usize)>,
}

/// Points of observations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeScatter {
    /// Both factors, counted from 1.
    pub factors: (usize, usize),
    /// Codes of the first.
    pub x: Vec<f64>,
    /// Codes of the second.
    pub y: Vec<f64>,
    /// Study of each point.
    pub study: Vec<u32>,
    /// Observations that are not shown.
    pub left_out: usize,
}

/// Mean codes by label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelCodes {
    /// Name of the column.
    pub label: String,
    /// Name, observations and mean code of each factor, in standard deviations of its codes around their mean; `None` where
    /// the factor has none.
    pub rows: Vec<(String, usize, Vec<Option<f64>>)>,
}

impl StudiesFigure {
    /// The figure. `names` are those of the features; `label` is the name of a column, an index into its titles for each
    /// observation, and the titles.
    pub fn new(
        of: &StudyFactors<'_>,
        names: &[String],
        label: Option<(&str, &[usize], &[String])>,
    ) -> StudiesFigure {
        let (features, k) = of.mask.dim();
        let mass: Vec<f64> = (0..k)
            .map(|f| {
                of.mask.column(f).iter().map(|w| w * w).sum::<f64>()
                    * of.codes.column(f).iter().map(|z| z * z).sum::<f64>()
            })
            .collect();
        let all: f64 = mass.iter().sum();
        let share: Vec<Option<f64>> =
            mass.iter().map(|m| if all > 0.0 { finite(m / all) } else { None }).collect();
        let factors = (0..k).map(|f| StudyFactor {
            study: name(of.owners[f], of.studies),
            size: of.mask.column(f).iter().filter(|w| w.abs() > of.threshold).count(),
            share: share[f],
            top: top(of, f, names),
            spread: spread(of, f),
        });
        let size = |m: usize| StudySize {
            name: of.studies[m].clone(),
            observations: of.study.iter().filter(|s| **s as usize == m).count(),
            factors: of.owners.iter().filter(|o| **o == Some(m)).count(),
        };
        let leading = leading(of);
        StudiesFigure {
            threshold: of.threshold,
            features,
            in_sets: leading.len(),
            studies: (0..of.studies.len()).map(size).collect(),
            factors: factors.collect(),
            map: map(of, &leading),
            scatter: scatter(of, &mass),
            labels: label.map(|(label, codes, titles)| LabelCodes {
                label: label.to_owned(),
                rows: by_label(of, codes, titles),
            }),
        }
    }
}

fn name(owner: Option<usize>, studies: &[String]) -> String {
    owner.and_then(|m| studies.get(m)).map_or_else(|| SHARED.to_owned(), String::clone)
}

/// Features of the set of a factor by falling |w|.
fn top(of: &StudyFactors<'_>, f: usize, names: &[String]) -> Vec<Weight> {
    let w = of.mask.column(f);
    let mut order: Vec<usize> = (0..w.len()).filter(|&j| w[j].abs() > of.threshold).collect();
    order.sort_by(|&a, &b| w[b].abs().total_cmp(&w[a].abs()).then(a.cmp(&b)));
    let named = |&j: &usize| Weight {
        name: names.get(j).cloned().unwrap_or_else(|| format!("feature {j}")),
        weight: w[j],
    };
    order.iter().take(TOP).map(named).collect()
}

/// Mean and standard deviation (over n).
fn moments(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let n = values.clone().count();
    if n == 0 {
        return None;
    }
    let mean = values.clone().sum::<f64>() / n as f64;
    Some((mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt()))
}

/// Standard deviations of codes in each study.
fn spread(of: &StudyFactors<'_>, f: usize) -> Vec<Option<f64>> {
    let within = |m: usize| {
        let codes = of.study.iter().zip(of.codes.column(f)).filter(move |(s, _)| **s as usize == m);
        moments(codes.map(|(_, z)| *z)).and_then(|(_, s)| finite(s))
    };
    let seen = |m: usize| of.owners[f].is_none_or(|owner| owner == m);
    (0..of.studies.len()).map(|m| if seen(m) { within(m) } else { None }).collect()
}

/// Features in some set, by leading factor and falling |w|.
fn leading(of: &StudyFactors<'_>) -> Vec<usize> {
    let mut found: Vec<(usize, f64, usize)> = Vec::new();
    for (j, row) in of.mask.rows().into_iter().enumerate() {
        let best = (0..row.len()).reduce(|a, b| if row[b].abs() > row[a].abs() { b } else { a });
        if let Some(f) = best.filter(|&f| row[f].abs() > of.threshold) {
            found.push((f, row[f].abs(), j));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
    found.into_iter().map(|(_, _, j)| j).collect()
}

/// The picture of W.
fn map(of: &StudyFactors<'_>, features: &[usize]) -> Option<MaskMap> {
    let k = of.mask.ncols();
    if features.is_empty() || k == 0 {
        return None;
    }
    let per_column = features.len().div_ceil(CELLS);
    let columns = features.len().div_ceil(per_column);
    let largest = |f: usize, features: &[usize]| {
        features.iter().map(|&j| of.mask[[j, f]]).fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a })
    };
    let values: Vec<f64> =
        (0..k).flat_map(|f| features.chunks(per_column).map(move |c| largest(f, c))).collect();
    let mut sizes: Vec<f64> = values.iter().map(|v| v.abs()).filter(|v| *v > 0.0).collect();
    sizes.sort_by(f64::total_cmp);
    let limit = sizes[((sizes.len() - 1) as f64 * WITHIN).round() as usize];
    let mut blocks: Vec<(String, usize)> = Vec::new();
    for owner in of.owners {
        let name = name(*owner, of.studies);
        match blocks.last_mut() {
            Some((last, rows)) if *last == name => *rows += 1,
            _ => blocks.push((name, 1)),
        }
    }
    let cells = values.iter().map(|v| (100.0 * (v / limit).clamp(-1.0, 1.0)).round() as i8).collect();
    Some(MaskMap { rows: k, columns, per_column, cells, limit, blocks })
}

/// The two shared factors of largest mass.
fn scatter(of: &StudyFactors<'_>, mass: &[f64]) -> Option<CodeScatter> {
    let mut shared: Vec<usize> = (0..mass.len()).filter(|&f| of.owners[f].is_none()).collect();
    shared.sort_by(|&a, &b| mass[b].total_cmp(&mass[a]).then(a.cmp(&b)));
    let [a, b] = *shared.get(..2)? else { return None };
    let n = of.codes.nrows();
    let every = n.div_ceil(POINTS).max(1);
    let at: Vec<usize> = (0..n).step_by(every).collect();
    let rounded = |f: usize| at.iter().map(|&i| (1e4 * of.codes[[i, f]]).round() / 1e4).collect();
    Some(CodeScatter {
        factors: (a + 1, b + 1),
        x: rounded(a),
        y: rounded(b),
        study: at.iter().map(|&i| of.study[i]).collect(),
        left_out: n - at.len(),
    })
}

/// Mean codes of each label, over the observations that a factor can have.
fn by_label(
    of: &StudyFactors<'_>,
    labels: &[usize],
    titles: &[String],
) -> Vec<(String, usize, Vec<Option<f64>>)> {
    let rows = |f: usize| {
        let seen = move |i: &usize| of.owners[f].is_none_or(|m| of.study[*i] as usize == m);
        (0..of.codes.nrows()).filter(seen)
    };
    let whole: Vec<Option<(f64, f64)>> =
        (0..of.codes.ncols()).map(|f| moments(rows(f).map(|i| of.codes[[i, f]]))).collect();
    let mean = |l: usize, f: usize| {
        let (mean, sd) = whole[f].filter(|(_, sd)| *sd > 0.0)?;
        let (own, _) = moments(rows(f).filter(|&i| labels[i] == l).map(|i| of.codes[[i, f]]))?;
        finite((own - mean) / sd)
    };
    let row = |(l, title): (usize, &String)| {
        let size = labels.iter().filter(|x| **x == l).count();
        (title.clone(), size, (0..of.codes.ncols()).map(|f| mean(l, f)).collect())
    };
    titles.iter().enumerate().map(row).filter(|(_, size, _)| *size > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn blocks_shares_and_spreads_are_those_of_a_small_fit() {
        // Features 0 and 3 follow the shared factor, 1 that of study b; 2 follows nothing.
        let mask = array![[2.0, 0.0], [0.0, -3.0], [0.1, 0.0], [4.0, 0.6]];
        let codes = array![[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, -2.0]];
        let (study, studies) = ([0, 0, 1, 1], ["a".to_owned(), "b".to_owned()]);
        let names: Vec<String> = (0..4).map(|j| format!("g{j}")).collect();
        let of = StudyFactors {
            mask: mask.view(),
            owners: &[None, Some(1)],
            codes: codes.view(),
            study: &study,
            studies: &studies,
            threshold: 0.5,
        };
        let titles = ["low".to_owned(), "high".to_owned(), "never".to_owned()];
        let figure = StudiesFigure::new(&of, &names, Some(("level", &[0, 1, 0, 1], &titles)));
        assert_eq!((figure.features, figure.in_sets), (4, 3));
        let factors: Vec<(&str, usize)> = figure.factors.iter().map(|f| (f.study.as_str(), f.size)).collect();
        assert_eq!(factors, [("shared", 2), ("b", 2)]);
        assert_eq!(
            figure.factors[0].top,
            [Weight { name: "g3".into(), weight: 4.0 }, Weight { name: "g0".into(), weight: 2.0 }]
        );
        // Σ w² is 20.01 and 9.36, Σ z² 10 and 8.
        let share = figure.factors[0].share.unwrap();
        assert!((share - 200.1 / (200.1 + 74.88)).abs() < 1e-12);
        assert_eq!(figure.factors[1].spread, [None, Some(2.0)]);
        assert_eq!(figure.factors[0].spread, [Some(1.0), Some(0.0)]);
        let map = figure.map.unwrap();
        // Columns g3, g0, g1.
        assert_eq!((map.rows, map.columns, map.per_column), (2, 3, 1));
        assert_eq!(map.blocks, [("shared".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(map.limit, 4.0);
        assert_eq!(map.cells, [100, 50, 0, 15, 0, -75]);
        assert_eq!(figure.scatter, None, "one shared factor has no pair");
        let labels = figure.labels.unwrap();
        assert_eq!(labels.rows.len(), 2);
        assert_eq!((labels.rows[0].1, labels.rows[0].2[1]), (2, Some(1.0)));
    }

    #[test]
    fn many_features_share_columns_and_nothing_found_shows_nothing() {
        let mask =
            ndarray::Array2::from_shape_fn((1000, 2), |(j, f)| if j % 2 == f { 1.0 + j as f64 } else { 0.0 });
        let codes = ndarray::Array2::from_shape_fn((4000, 2), |(i, f)| (i + f) as f64);
        let (study, studies) = (vec![0; 4000], ["a".to_owned()]);
        let of = StudyFactors {
            mask: mask.view(),
            owners: &[None, None],
            codes: codes.view(),
            study: &study,
            studies: &studies,
            threshold: 0.5,
        };
        let figure = StudiesFigure::new(&of, &[], None);
        let map = figure.map.unwrap();
        assert_eq!((map.per_column, map.columns, map.cells.len()), (3, 334, 668));
        let scatter = figure.scatter.unwrap();
        assert_eq!((scatter.factors, scatter.x.len(), scatter.left_out), ((2, 1), 1334, 2666));
        let none = ndarray::Array2::zeros((5, 0));
        let of = StudyFactors { mask: none.view(), owners: &[], codes: none.view(), study: &[0; 5], ..of };
        let figure = StudiesFigure::new(&of, &[], None);
        assert_eq!((figure.in_sets, figure.map, figure.scatter), (0, None, None));
    }
}
