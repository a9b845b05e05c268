//! k-means: Lloyd's iteration from k-means++ starts (`arthur2007`), the best of several by the sum of squares.

use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, RngExt};

use crate::fit::{Draw, Seed};

/// Most rounds of Lloyd's iteration.
const ROUNDS: usize = 300;

/// A clustering and its centres.
#[derive(Clone, Debug)]
pub struct Means {
    /// Cluster of each point.
    pub labels: Vec<usize>,
    /// Centres, clusters × coordinates.
    pub centres: Array2<f64>,
    /// Sum of squared distances to the centres.
    pub inertia: f64,
}

/// Splits points (rows) into at most `k` clusters; of `starts` starts the one with the least inertia, the first of equals.
pub fn kmeans(points: ArrayView2<'_, f64>, k: usize, starts: u64, seed: Seed) -> Means {
    let mut best: Option<Means> = None;
    for start in 0..starts.max(1) {
        let found = once(points, k.clamp(1, points.nrows().max(1)), &mut seed.stream(Draw::Restart, start));
        if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
            best = Some(found);
        }
    }
    best.unwrap_or(Means { labels: Vec::new(), centres: Array2::zeros((0, 0)), inertia: 0.0 })
}

fn distance(a: ndarray::ArrayView1<'_, f64>, b: ndarray::ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn once(points: ArrayView2<'_, f64>, k: usize, rng: &mut impl Rng) -> Means {
    let (n, dims) = points.dim();
    // k-means++: the next centre with a chance in proportion to the squared distance from those there are.
    let mut centres = Array2::zeros((k, dims));
    let mut nearest = vec![f64::INFINITY; n];
    let tries = 2 + (k as f64).ln() as usize;
    let mut at = (rng.random::<f64>() * n as f64) as usize;
    for c in 0..k {
        if c > 0 {
            let total: f64 = nearest.iter().sum();
            let mut chosen = (f64::INFINITY, at);
            for _ in 0..tries {
                let mut level = rng.random::<f64>() * total;
                let candidate = nearest
                    .iter()
                    .position(|d| {
                        level -= d;
                        level < 0.0
                    })
                    .unwrap_or(n - 1);
                let left: f64 = nearest
                    .iter()
                    .zip(points.rows())
                    .map(|(d, p)| d.min(distance(p, points.row(candidate))))
                    .sum();
                if left < chosen.0 {
                    chosen = (left, candidate);
                }
            }
            at = chosen.1;
        }
        centres.row_mut(c).assign(&points.row(at));
        for (d, p) in nearest.iter_mut().zip(points.rows()) {
            *d = d.min(distance(p, centres.row(c)));
        }
    }
    let mut labels = vec![usize::MAX; n];
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (label, p) in labels.iter_mut().zip(points.rows()) {
            let mut best = (f64::INFINITY, 0);
            for (c, centre) in centres.rows().into_iter().enumerate() {
                let d = distance(p, centre);
                if d < best.0 {
                    best = (d, c);
                }
            }
            changed |= *label != best.1;
            *label = best.1;
        }
        if !changed {
            break;
        }
        let mut count = vec![0.0; k];
        let mut sums = Array2::<f64>::zeros((k, dims));
        for (&label, p) in labels.iter().zip(points.rows()) {
            count[label] += 1.0;
            let mut row = sums.row_mut(label);
            row += &p;
        }
        for c in 0..k {
            // An empty cluster keeps its centre.
            if count[c] > 0.0 {
                centres.row_mut(c).assign(&(&sums.row(c) / count[c]));
            }
        }
    }
    let inertia =
        labels.iter().zip(points.axis_iter(Axis(0))).map(|(&l, p)| distance(p, centres.row(l))).sum();
    Means { labels, centres, inertia }
}
