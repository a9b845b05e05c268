//! What a page shows of slices of a tissue: where metagenes are, how they meet, what each batch adds, and the cells before and after.
//!
//! ```text
//! before: (x_i + β^t) / |x_i + β^t|₁        after: z_i = x_i / |x_i|₁
//! ```
//!
//! Both are drawn by UMAP ([`graph::umap`](crate::graph::umap)), of the same cells with the same seed, so that what differs is β. Of more cells than a
//! page can hold some are drawn at random.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};

use super::{LineChart, finite};
use crate::error::Result;
use crate::fit::{Draw, Seed};
use crate::graph::umap::Umap;

/// Most cells on maps, and most numbers of all maps.
const CELLS: usize = 6000;
const NUMBERS: usize = 120_000;
/// Most cells in a picture before and after.
const PICTURED: usize = 2000;
/// Fewest cells of which a picture says something.
const FEW: usize = 10;
/// Genes named for each metagene.
const TOP: usize = 3;
/// Share of the cells whose values a map's colours tell apart.
const WITHIN: f64 = 0.99;
/// Pairs of metagenes named for each sign.
const PAIRS: usize = 5;
/// Steps of a coordinate.
const FINE: f64 = 1000.0;

/// A fit of slices.
#[derive(Clone, Copy, Debug)]
pub struct SliceFit<'a> {
    /// M, genes × K.
    pub metagenes: ArrayView2<'a, f64>,
    /// X, cells × K.
    pub activities: ArrayView2<'a, f64>,
    /// β, batches × K; no row without batch effects.
    pub beta: ArrayView2<'a, f64>,
    /// Λ of all batches, or of each.
    pub affinity: &'a [Array2<f64>],
    /// Λ of one group of slices less that of another, and what it is called.
    pub difference: Option<(&'a str, &'a Array2<f64>)>,
    /// Batch of each cell.
    pub batch: &'a [usize],
    /// Names of the batches.
    pub batches: &'a [String],
    /// Coordinates, cells × 1 or more; the first two are drawn.
    pub places: ArrayView2<'a, f64>,
}

/// Slices of a tissue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlicesFigure {
    /// Every batch.
    pub batches: Vec<SliceBatch>,
    /// Every metagene.
    pub metagenes: Vec<Metagene>,
    /// Cells on the maps.
    pub map: SliceMap,
    /// Λ of all batches, or of each.
    pub affinities: Vec<Affinity>,
    /// Cells before and after, in the order of drawing; places are those in `pictured`.
    pub pictures: Vec<CellPicture>,
    /// Cells of the pictures, as positions in `map`.
    pub pictured: Vec<u32>,
    /// Known labels of the cells of the map.
    pub labels: Option<CellLabels>,
    /// How sizes of cells went.
    pub course: Vec<LineChart>,
}

/// One slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceBatch {
    /// Its name.
    pub name: String,
    /// Its cells.
    pub cells: usize,
    /// What the batch makes of the expression of a mean cell; `None` without batch effects.
    pub share: Option<f64>,
}

/// One metagene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metagene {
    /// Its genes of largest weight.
    pub top: Vec<String>,
    /// β of each batch; empty without batch effects.
    pub beta: Vec<Option<f64>>,
    /// Mean activity of the cells of each batch.
    pub own: Vec<Option<f64>>,
    /// Part of a mixture that has the full colour.
    pub limit: f64,
}

/// Cells with places and mixtures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceMap {
    /// Batch of each cell.
    pub batch: Vec<u32>,
    /// Place across, from 0 to 1000; slices have one scale each, the same in both directions.
    pub x: Vec<u16>,
    /// Place upwards.
    pub y: Vec<u16>,
    /// For each metagene, parts of the mixtures in hundredths of its limit.
    pub parts: Vec<Vec<u8>>,
    /// Cells that are not shown.
    pub left_out: usize,
}

/// Λ of some slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affinity {
    /// Of which.
    pub of: String,
    /// Row by row, in hundredths of `limit`.
    pub cells: Vec<i8>,
    /// Entries of this size and above have the full colour.
    pub limit: f64,
    /// Pairs that keep together most, counted from 1, and Λ.
    pub together: Vec<(usize, usize, f64)>,
    /// Pairs that keep apart most.
    pub apart: Vec<(usize, usize, f64)>,
}

/// Cells in two dimensions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellPicture {
    /// What it shows.
    pub title: String,
    /// Across, from 0 to 1000.
    pub x: Vec<u16>,
    /// Upwards.
    pub y: Vec<u16>,
}

/// Labels of cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellLabels {
    /// Name of the column.
    pub label: String,
    /// Titles of the labels.
    pub titles: Vec<String>,
    /// Label of each cell of the map.
    pub codes: Vec<u32>,
}

impl SlicesFigure {
    /// The figure. `names` are those of the genes; `label` is the name of a column, an index into its titles for each cell, and the titles.
    ///
    /// # Errors
    /// As [`Umap::picture`].
    pub fn new(
        of: &SliceFit<'_>,
        names: &[String],
        label: Option<(&str, &[usize], &[String])>,
        seed: Seed,
    ) -> Result<SlicesFigure> {
        let (n, k) = of.activities.dim();
        let shown = some(n, CELLS.min(NUMBERS / k.max(1)), seed, 0);
        let pictured = some(shown.len(), PICTURED, seed, 1);
        let z = parts(of.activities.to_owned());
        let limits: Vec<f64> = z.columns().into_iter().map(|c| high(&c.to_vec(), WITHIN)).collect();
        let (x, y) = places(of, &shown);
        let hundredth = |f: usize| {
            let of = |&i: &usize| (100.0 * (z[[i, f]] / limits[f]).clamp(0.0, 1.0)).round() as u8;
            shown.iter().map(of).collect()
        };
        let means = means(of);
        let share = |t: usize| {
            let (own, added) = (means.row(t).sum(), of.beta.row(t).sum());
            finite(added / (own + added))
        };
        let with = of.beta.nrows() > 0;
        let batch = |t: usize| SliceBatch {
            name: of.batches[t].clone(),
            cells: of.batch.iter().filter(|b| **b == t).count(),
            share: if with { share(t) } else { None },
        };
        let metagene = |f: usize| Metagene {
            top: top(of.metagenes.column(f).to_vec(), names),
            beta: of.beta.column(f).iter().map(|v| finite(*v)).collect(),
            own: means.column(f).iter().map(|v| finite(*v)).collect(),
            limit: limits[f],
        };
        let rows: Vec<usize> = pictured.iter().map(|&i| shown[i]).collect();
        Ok(SlicesFigure {
            batches: (0..of.batches.len()).map(batch).collect(),
            metagenes: (0..k).map(metagene).collect(),
            map: SliceMap {
                batch: shown.iter().map(|&i| of.batch[i] as u32).collect(),
                x,
                y,
                parts: (0..k).map(hundredth).collect(),
                left_out: n - shown.len(),
            },
            affinities: affinities(of),
            pictures: pictures(of, &z, &rows, seed)?,
            pictured: pictured.into_iter().map(|i| i as u32).collect(),
            labels: label.map(|(name, codes, titles)| CellLabels {
                label: name.to_owned(),
                titles: titles.to_vec(),
                codes: shown.iter().map(|&i| codes[i] as u32).collect(),
            }),
            course: Vec::new(),
        })
    }
}

/// At most `most` of `n`, rising.
fn some(n: usize, most: usize, seed: Seed, item: u64) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    let mut out = sample(&mut seed.stream(Draw::Shuffle, item), n, most).into_vec();
    out.sort_unstable();
    out
}

/// Rows over their sums; a row without anything stays as it is.
fn parts(mut x: Array2<f64>) -> Array2<f64> {
    for mut row in x.rows_mut() {
        let sum = row.sum();
        if sum > 0.0 {
            row /= sum;
        }
    }
    x
}

/// The value that a share of the values does not exceed; never 0.
fn high(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    let value = sorted.get(at).copied().unwrap_or(0.0);
    // A metagene of few cells: its largest.
    let value = if value > 0.0 { value } else { sorted.last().copied().unwrap_or(0.0) };
    if value > 0.0 { value } else { 1.0 }
}

fn top(weights: Vec<f64>, names: &[String]) -> Vec<String> {
    let mut order: Vec<usize> = (0..weights.len()).filter(|&j| weights[j] > 0.0).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
    let name = |&j: &usize| names.get(j).cloned().unwrap_or_else(|| format!("gene {j}"));
    order.iter().take(TOP).map(name).collect()
}

/// Mean activities by batch, batches × K.
fn means(of: &SliceFit<'_>) -> Array2<f64> {
    let mut sums = Array2::zeros((of.batches.len(), of.activities.ncols()));
    let mut cells = vec![0.0f64; of.batches.len()];
    for (row, &t) in of.activities.rows().into_iter().zip(of.batch) {
        let mut sum = sums.row_mut(t);
        sum += &row;
        cells[t] += 1.0;
    }
    for (mut row, cells) in sums.rows_mut().into_iter().zip(cells) {
        row /= cells.max(1.0);
    }
    sums
}

/// Whole numbers from 0 to 1000 for both coordinates of some points, on one scale.
fn fine(points: &[[f64; 2]]) -> Vec<[u16; 2]> {
    let ends = |c: usize| {
        points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p[c]), h.max(p[c])))
    };
    let (across, up) = (ends(0), ends(1));
    let span = (across.1 - across.0).max(up.1 - up.0);
    let place = |v: f64, (low, high): (f64, f64)| match span > 0.0 {
        // In the middle of the shorter side.
        true => (FINE * (0.5 + (v - 0.5 * (low + high)) / span)).round().clamp(0.0, FINE) as u16,
        false => (FINE / 2.0) as u16,
    };
    points.iter().map(|p| [place(p[0], across), place(p[1], up)]).collect()
}

/// Places of the shown cells, slice by slice.
fn places(of: &SliceFit<'_>, shown: &[usize]) -> (Vec<u16>, Vec<u16>) {
    let mut out = vec![[0, 0]; shown.len()];
    for t in 0..of.batches.len() {
        let at: Vec<usize> = (0..shown.len()).filter(|&s| of.batch[shown[s]] == t).collect();
        let second = |i: usize| if of.places.ncols() > 1 { of.places[[i, 1]] } else { 0.0 };
        let points: Vec<[f64; 2]> =
            at.iter().map(|&s| [of.places[[shown[s], 0]], second(shown[s])]).collect();
        at.iter().zip(fine(&points)).for_each(|(&s, place)| out[s] = place);
    }
    (out.iter().map(|p| p[0]).collect(), out.iter().map(|p| p[1]).collect())
}

fn affinities(of: &SliceFit<'_>) -> Vec<Affinity> {
    let one = of.affinity.len() == 1;
    let own = of
        .affinity
        .iter()
        .enumerate()
        .map(|(t, lambda)| (if one { "all slices".into() } else { of.batches[t].clone() }, lambda));
    own.chain(of.difference.map(|(name, difference)| (name.to_string(), difference)))
        .filter(|(_, lambda)| lambda.iter().any(|v| *v != 0.0))
        .map(|(name, lambda)| {
            let limit = lambda.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let mut pairs: Vec<(usize, usize, f64)> = (0..lambda.nrows())
                .flat_map(|i| (0..=i).map(move |j| (j + 1, i + 1, lambda[[i, j]])))
                .filter(|p| p.2.is_finite())
                .collect();
            pairs.sort_by(|a, b| a.2.total_cmp(&b.2));
            let together = pairs.iter().filter(|p| p.2 < 0.0).take(PAIRS).copied().collect();
            let apart = pairs.iter().rev().filter(|p| p.2 > 0.0).take(PAIRS).copied().collect();
            Affinity {
                of: name,
                cells: lambda
                    .iter()
                    .map(|v| (100.0 * v / limit).round().clamp(-100.0, 100.0) as i8)
                    .collect(),
                limit,
                together,
                apart,
            }
        })
        .collect()
}

/// UMAP of some cells, with the batch and without it.
fn pictures(of: &SliceFit<'_>, z: &Array2<f64>, rows: &[usize], seed: Seed) -> Result<Vec<CellPicture>> {
    if rows.len() < FEW {
        return Ok(Vec::new());
    }
    let picture = |title: &str, points: Array2<f64>| -> Result<CellPicture> {
        let found = Umap::default().picture(points.view(), seed)?;
        let points: Vec<[f64; 2]> = found.rows().into_iter().map(|r| [r[0], r[1]]).collect();
        let places = fine(&points);
        Ok(CellPicture {
            title: title.to_owned(),
            x: places.iter().map(|p| p[0]).collect(),
            y: places.iter().map(|p| p[1]).collect(),
        })
    };
    let mut out = Vec::new();
    if of.beta.nrows() > 0 {
        let mut with = of.activities.select(Axis(0), rows);
        for (mut row, &i) in with.rows_mut().into_iter().zip(rows) {
            row += &of.beta.row(of.batch[i]);
        }
        out.push(picture("With the batch: X + β", parts(with))?);
    }
    let title = if of.beta.nrows() > 0 { "Without it: Z" } else { "Mixtures Z" };
    out.push(picture(title, z.select(Axis(0), rows))?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn example(n: usize, k: usize) -> (Array2<f64>, Array2<f64>, Vec<usize>, Array2<f64>) {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_simple_fn((n, k), || rng.random::<f64>());
        let batch = (0..n).map(|i| usize::from(2 * i >= n)).collect();
        let places = Array2::from_shape_simple_fn((n, 2), || 5.0 * rng.random::<f64>());
        (Array2::from_shape_fn((7, k), |(j, f)| ((j + f) % 7) as f64), x, batch, places)
    }

    #[test]
    fn a_figure_holds_maps_affinities_and_both_pictures() {
        let (m, x, batch, places) = example(60, 3);
        let beta = ndarray::array![[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]];
        let lambda = [ndarray::array![[0.0, -1.0, 2.0], [-1.0, 0.5, 0.0], [2.0, 0.0, -4.0]]];
        let names = ["a".to_owned(), "b".to_owned()];
        let fit = SliceFit {
            metagenes: m.view(),
            activities: x.view(),
            beta: beta.view(),
            affinity: &lambda,
            difference: None,
            batch: &batch,
            batches: &names,
            places: places.view(),
        };
        let genes: Vec<String> = (0..7).map(|j| format!("g{j}")).collect();
        let codes: Vec<usize> = (0..60).map(|i| i % 2).collect();
        let found = SlicesFigure::new(&fit, &genes, Some(("kind", &codes, &names)), Seed(0)).unwrap();
        assert_eq!(found.metagenes[0].top, ["g6", "g5", "g4"]);
        assert_eq!(found.metagenes[1].beta, [Some(0.0), Some(2.0)]);
        let own: f64 = found.metagenes.iter().map(|m| m.own[0].unwrap()).sum();
        assert!((found.batches[0].share.unwrap() - 1.5 / (1.5 + own)).abs() < 1e-12);
        assert_eq!((found.map.x.len(), found.map.parts.len(), found.map.left_out), (60, 3, 0));
        assert!(found.map.parts.iter().flatten().all(|v| *v <= 100) && found.map.parts[0].contains(&100));
        let l = &found.affinities[0];
        assert_eq!((l.together[0], l.apart[0], l.limit), ((3, 3, -4.0), (1, 3, 2.0), 4.0));
        assert_eq!((l.of.as_str(), l.cells[2], l.cells[8]), ("all slices", 50, -100));
        assert_eq!((found.pictures.len(), found.pictures[0].x.len(), found.pictured.len()), (2, 60, 60));
        assert_eq!(found.labels.as_ref().unwrap().codes[..4], [0, 1, 0, 1]);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<SlicesFigure>(&text).unwrap(), found);
        // Without β there is one picture and no share.
        let none = Array2::zeros((0, 3));
        let found =
            SlicesFigure::new(&SliceFit { beta: none.view(), affinity: &[], ..fit }, &genes, None, Seed(0))
                .unwrap();
        assert_eq!((found.pictures.len(), found.batches[0].share, found.affinities.len()), (1, None, 0));
    }

    #[test]
    fn many_cells_are_drawn_in_part_and_few_or_equal_ones_do_no_harm() {
        let (m, mut x, batch, places) = example(7000, 2);
        x.row_mut(0).fill(0.0);
        let (none, names) = (Array2::zeros((0, 2)), ["a".to_owned(), "b".to_owned()]);
        let fit = SliceFit {
            metagenes: m.view(),
            activities: x.view(),
            beta: none.view(),
            affinity: &[],
            difference: None,
            batch: &batch,
            batches: &names,
            places: places.view(),
        };
        let found = SlicesFigure::new(&fit, &[], None, Seed(0)).unwrap();
        assert_eq!((found.map.x.len(), found.map.left_out, found.pictured.len()), (6000, 1000, 2000));
        assert_eq!(found.metagenes[0].top[0], "gene 6");
        let (one, line) = (ndarray::array![[1.0, 0.0], [0.0, 0.0]], ndarray::array![[3.0], [3.0]]);
        let fit = SliceFit { activities: one.view(), batch: &[0, 1], places: line.view(), ..fit };
        let found = SlicesFigure::new(&fit, &[], None, Seed(0)).unwrap();
        assert!(found.pictures.is_empty());
        assert_eq!((found.map.x, found.metagenes[1].limit), (vec![500, 500], 1.0));
    }
}
