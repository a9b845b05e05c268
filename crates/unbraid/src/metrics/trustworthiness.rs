//! Whether neighbours in a picture are neighbours in the data (`venna2001`).
//!
//! ```text
//! T = 1 − 2 / (n k (2n − 3k − 1)) Σ_i Σ_{j ∈ N_i} max(0, r_ij − k)
//! ```
//!
//! N_i: the k points nearest to i in the picture; r_ij: the rank of j among all points by distance to i in the data, the nearest 1. Of points
//! at one distance the first ones come first. 1 where no neighbour of the picture is far in the data; about 0.5 by chance.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::knn::nearest;
use crate::linalg::settle;

/// T of a picture (n × 2, or n × anything) of `points` (n × d) in neighbourhoods of `k` points; needs 1 ≤ k < n/2.
///
/// # Errors
/// [`Error::Param`] for k, [`Error::Shape`] for tables of different length, [`Error::Value`] for an entry that is not finite.
pub fn trustworthiness(points: ArrayView2<'_, f64>, picture: ArrayView2<'_, f64>, k: usize) -> Result<f64> {
    let n = points.nrows();
    if picture.nrows() != n {
        return Err(Error::Shape {
            what: "the picture".into(),
            found: picture.shape().to_vec(),
            rule: "as many rows as the points",
        });
    }
    if k == 0 || 2 * k >= n {
        let rule = "at least 1 and smaller than half the number of points";
        return Err(Error::Param { name: "k", found: k.to_string(), rule });
    }
    if let Some((at, &found)) = points.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "points".into(), found, at, rule: "finite" });
    }
    let near = nearest(picture, k)?;
    let points = points.as_standard_layout();
    let beyond: Vec<u64> = (0..n)
        .into_par_iter()
        .map(|i| {
            settle();
            let own = points.row(i);
            let squared =
                |j: usize| -> f64 { own.iter().zip(points.row(j)).map(|(a, b)| (a - b) * (a - b)).sum() };
            let from: Vec<f64> = (0..n).map(squared).collect();
            let rank = |j: usize| {
                let closer = |t: &usize| *t != i && (from[*t] < from[j] || (from[*t] == from[j] && *t < j));
                1 + (0..n).filter(closer).count()
            };
            near.index.row(i).iter().map(|&j| rank(j as usize).saturating_sub(k) as u64).sum()
        })
        .collect();
    let (n, k) = (n as f64, k as f64);
    Ok(1.0 - 2.0 * beyond.iter().sum::<u64>() as f64 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::graph::umap::Umap;
    use ndarray::{Array2, s};
    use rand::RngExt;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        trustworthiness: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        points: Vec<Vec<f64>>,
        picture: Vec<Vec<f64>>,
        k: usize,
        value: f64,
    }

    #[test]
    fn equals_scikit_learn() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/golden/umap/pictures.json");
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let table =
            |rows: &[Vec<f64>]| Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j]);
        for case in golden.trustworthiness {
            let found =
                trustworthiness(table(&case.points).view(), table(&case.picture).view(), case.k).unwrap();
            assert!((found - case.value).abs() < 1e-12, "{found} {}", case.value);
        }
    }

    #[test]
    fn the_points_are_their_own_best_picture_and_bad_input_is_refused() {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let mut x = Array2::from_shape_simple_fn((10, 2), || rng.random::<f64>());
        assert_eq!(trustworthiness(x.view(), x.view(), 3).unwrap(), 1.0);
        assert!(trustworthiness(x.view(), x.view(), 5).is_err());
        assert!(trustworthiness(x.view(), x.view(), 0).is_err());
        assert!(trustworthiness(x.view(), x.slice(s![..9, ..]), 3).is_err());
        x[[4, 1]] = f64::NAN;
        assert!(trustworthiness(x.view(), x.view(), 3).unwrap_err().to_string().contains("row 4, column 1"));
    }

    #[test]
    fn umap_keeps_the_neighbours_of_a_rolled_sheet() {
        let mut rng = Seed(2).stream(Draw::Simulate, 0);
        let mut x = Array2::zeros((1500, 3));
        for mut row in x.rows_mut() {
            let (turn, high) = (4.0 + 9.0 * rng.random::<f64>(), 20.0 * rng.random::<f64>());
            (row[0], row[1], row[2]) = (turn * turn.cos(), high, turn * turn.sin());
        }
        let picture = Umap::default().picture(x.view(), Seed(0)).unwrap();
        let kept = trustworthiness(x.view(), picture.view(), 15).unwrap();
        assert!(kept > 0.99, "{kept}");
    }
}
