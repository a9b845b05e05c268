//! Whether an embedding keeps what is known of cells together and batches mixed (`luecken2022`).
//!
//! ```text
//! s_i = (b_i − a_i)/max(a_i, b_i),   a_i: mean distance to the others of its group,   b_i: least mean distance to another group
//! silhouette_label = (mean s + 1)/2,                         groups: labels
//! silhouette_batch = mean over labels of mean (1 − |s|),     groups: the batches within a label
//! explained        = Σ_t n_t |x̄_t − x̄|² / Σ_i |x_i − x̄|²,    the share of the variance that batches explain
//! pcr_comparison   = max(0, (explained before − explained after)/explained before)
//! ```
//!
//! `explained` is principal component regression: variance times R² summed over all components of the centred points is the scatter between
//! batches, whatever the components. A point alone in its group has s = 0. Labels of one batch, and those in which every
//! cell is of another, do not count.

use std::collections::BTreeMap;

use ndarray::{Array1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::linalg::settle;

/// Refuses tables and groups that do not fit, and entries that are not finite.
fn check(points: ArrayView2<'_, f64>, groups: &[&[usize]]) -> Result<()> {
    for of in groups {
        if of.len() != points.nrows() {
            let rule = "one for each point";
            return Err(Error::Shape { what: "the groups".into(), found: vec![of.len()], rule });
        }
    }
    match points.indexed_iter().find(|(_, v)| !v.is_finite()) {
        Some((at, &found)) => Err(Error::Value { what: "points".into(), found, at, rule: "finite" }),
        None => Ok(()),
    }
}

/// Numbers groups from 0 in the order of their codes.
fn numbered(groups: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut sizes = BTreeMap::new();
    groups.iter().for_each(|g| *sizes.entry(*g).or_insert(0usize) += 1);
    let at: BTreeMap<usize, usize> = sizes.keys().copied().zip(0..).collect();
    (groups.iter().map(|g| at[g]).collect(), sizes.into_values().collect())
}

/// Silhouette width of every point (rows, n × d), in Euclidean distance; 0 where there is one group.
///
/// # Errors
/// [`Error::Shape`] for groups of another length, [`Error::Value`] for an entry that is not finite.
pub fn silhouettes(points: ArrayView2<'_, f64>, groups: &[usize]) -> Result<Vec<f64>> {
    check(points, &[groups])?;
    let (group, sizes) = numbered(groups);
    let points = points.as_standard_layout();
    let width = |i: usize| {
        settle();
        let own = points.row(i);
        let mut sums = vec![0.0; sizes.len()];
        for (other, &g) in points.rows().into_iter().zip(&group) {
            let squared: f64 = own.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            sums[g] += squared.sqrt();
        }
        if sizes[group[i]] < 2 || sizes.len() < 2 {
            return 0.0;
        }
        let a = sums[group[i]] / (sizes[group[i]] - 1) as f64;
        let others = (0..sizes.len()).filter(|&g| g != group[i]).map(|g| sums[g] / sizes[g] as f64);
        let b = others.fold(f64::INFINITY, f64::min);
        if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
    };
    Ok((0..group.len()).into_par_iter().map(width).collect())
}

/// How well labels are apart; from 0 to 1, 0.5 where they are not.
///
/// # Errors
/// As [`silhouettes`].
pub fn silhouette_label(points: ArrayView2<'_, f64>, labels: &[usize]) -> Result<f64> {
    let widths = silhouettes(points, labels)?;
    Ok((widths.iter().sum::<f64>() / widths.len().max(1) as f64 + 1.0) / 2.0)
}

/// How well batches are mixed within labels; from 0 to 1 (mixed). `None` where no label has cells of two batches.
///
/// # Errors
/// As [`silhouettes`].
pub fn silhouette_batch(
    points: ArrayView2<'_, f64>,
    labels: &[usize],
    batch: &[usize],
) -> Result<Option<f64>> {
    check(points, &[labels, batch])?;
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    labels.iter().enumerate().for_each(|(i, l)| members.entry(*l).or_default().push(i));
    let mut means = Vec::new();
    for at in members.values() {
        let of: Vec<usize> = at.iter().map(|&i| batch[i]).collect();
        let batches = numbered(&of).1.len();
        if batches < 2 || batches == at.len() {
            continue;
        }
        let widths = silhouettes(points.select(Axis(0), at).view(), &of)?;
        means.push(widths.iter().map(|s| 1.0 - s.abs()).sum::<f64>() / widths.len() as f64);
    }
    Ok((!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64))
}

/// The share of the variance of the points that batches explain; 0 where nothing varies.
///
/// # Errors
/// As [`silhouettes`].
pub fn explained(points: ArrayView2<'_, f64>, batch: &[usize]) -> Result<f64> {
    check(points, &[batch])?;
    let Some(centre) = points.mean_axis(Axis(0)) else { return Ok(0.0) };
    let (group, sizes) = numbered(batch);
    let mut means = vec![Array1::<f64>::zeros(points.ncols()); sizes.len()];
    let mut total = 0.0;
    for (row, &g) in points.rows().into_iter().zip(&group) {
        let away = &row - &centre;
        total += away.dot(&away);
        means[g] += &away;
    }
    let between: f64 = means.iter().zip(&sizes).map(|(sum, n)| sum.dot(sum) / *n as f64).sum();
    Ok(if total > 0.0 { between / total } else { 0.0 })
}

/// How much less batches explain after than before; from 0 to 1. `None` where they explained nothing before.
///
/// # Errors
/// As [`silhouettes`].
pub fn pcr_comparison(
    before: ArrayView2<'_, f64>,
    after: ArrayView2<'_, f64>,
    batch: &[usize],
) -> Result<Option<f64>> {
    let (before, after) = (explained(before, batch)?, explained(after, batch)?);
    Ok((before > 0.0).then(|| ((before - after) / before).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        points: Vec<Vec<f64>>,
        labels: Vec<usize>,
        batch: Vec<usize>,
        samples: Vec<f64>,
        mixed: f64,
        explained: f64,
    }

    #[test]
    fn silhouettes_and_shares_are_those_of_scikit_learn() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/golden/metrics/silhouette.json");
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for case in golden.cases {
            let x =
                Array2::from_shape_fn((case.points.len(), case.points[0].len()), |(i, j)| case.points[i][j]);
            let found = silhouettes(x.view(), &case.labels).unwrap();
            assert!(found.iter().zip(&case.samples).all(|(a, b)| (a - b).abs() < 1e-12));
            let mean = case.samples.iter().sum::<f64>() / case.samples.len() as f64;
            assert!((silhouette_label(x.view(), &case.labels).unwrap() - (mean + 1.0) / 2.0).abs() < 1e-12);
            let mixed = silhouette_batch(x.view(), &case.labels, &case.batch).unwrap().unwrap();
            assert!((mixed - case.mixed).abs() < 1e-12);
            assert!((explained(x.view(), &case.batch).unwrap() - case.explained).abs() < 1e-12);
        }
    }

    #[test]
    fn odd_groups_have_values_and_bad_ones_none() {
        let x = ndarray::array![[0.0, 1.0], [0.0, 1.0], [2.0, 2.0]];
        assert_eq!(silhouettes(x.view(), &[7, 7, 7]).unwrap(), [0.0; 3]);
        assert_eq!(silhouettes(x.view(), &[0, 0, 9]).unwrap(), [1.0, 1.0, 0.0]);
        assert_eq!(silhouette_batch(x.view(), &[0, 0, 0], &[1, 1, 1]).unwrap(), None);
        assert_eq!(silhouette_batch(x.view(), &[0, 0, 0], &[1, 2, 3]).unwrap(), None);
        assert_eq!(explained(Array2::zeros((3, 2)).view(), &[0, 1, 1]).unwrap(), 0.0);
        assert_eq!(pcr_comparison(Array2::zeros((3, 2)).view(), x.view(), &[0, 1, 1]).unwrap(), None);
        assert_eq!(pcr_comparison(x.view(), x.view(), &[0, 1, 1]).unwrap(), Some(0.0));
        assert!(silhouettes(x.view(), &[0, 1]).is_err() && explained(x.view(), &[0; 4]).is_err());
        assert!(silhouette_batch(x.view(), &[0; 3], &[0; 2]).is_err());
        let bad = x.mapv(|v| if v == 2.0 { f64::NAN } else { v });
        assert!(silhouettes(bad.view(), &[0, 0, 1]).unwrap_err().to_string().contains("row 2, column 0"));
    }
}
