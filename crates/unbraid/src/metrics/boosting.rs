//! Gradient-boosted regression trees, for their importances (`friedman2001`).
//!
//! F_0 is the mean of the targets; each of 100 trees of depth 3 is grown on the residuals r = y − F, and
//! F grows by a tenth of its leaves' means. A node with n observations, sum S of their residuals, splits where
//!
//! ```text
//! S_L² / n_L + S_R² / n_R − S² / n = n_L n_R / n (mean_L − mean_R)²
//! ```
//!
//! is largest over all features and all values between which a feature rises; this is the loss that the split
//! takes away, and Friedman's gain. The importance of a feature is the sum of the gains of its splits over all
//! trees, divided by the sum over all features.
//!
//! These are the settings and, up to rounding, the trees of scikit-learn's `GradientBoostingRegressor()`: features
//! are compared in single precision, values closer than 1e-7 are equal, a node without variance is a leaf. Where two
//! features split a node equally well scikit-learn takes the one that a random permutation brings first. Here the
//! columns are taken in turn from one that depends on tree and node, so that ties fall on all columns alike and yet
//! nothing is random. Exact ties need features that split a node into the same two sets; they are common in nodes of two
//! or three observations, whose gains are small.

use ndarray::{Array1, ArrayView1, ArrayView2};

use crate::error::{Error, Result};

/// Trees.
const TREES: usize = 100;
/// Splits between the root and a leaf.
const DEPTH: usize = 3;
/// Share of a tree that is added.
const RATE: f64 = 0.1;
/// Values that differ by no more are equal.
const EQUAL: f32 = 1e-7;
/// A node whose variance is no larger is a leaf.
const PURE: f64 = f64::EPSILON;
/// Nodes of a level, at most.
const NODES: usize = 1 << (DEPTH - 1);
/// Mark of an observation that has reached its leaf.
const ENDED: u8 = u8::MAX;

/// Features ordered once, for any number of targets.
#[derive(Clone, Debug)]
pub struct Features {
    rows: usize,
    /// For each feature that varies: its column, its observations by rising value, and the values in that order.
    sorted: Vec<(usize, Vec<u32>, Vec<f32>)>,
    columns: usize,
}

/// Best split of a node so far.
#[derive(Clone, Copy)]
struct Split {
    score: f64,
    feature: usize,
    /// Place in the feature's order from which observations go to the right.
    from: usize,
}

/// A node of the level that is being split.
#[derive(Clone, Copy, Default)]
struct Node {
    count: f64,
    sum: f64,
    squares: f64,
}

/// What a scan over one feature has seen of a node.
#[derive(Clone, Copy, Default)]
struct Scan {
    count: f64,
    sum: f64,
    last: f32,
}

impl Features {
    /// Orders the columns of `x`, observations in rows.
    ///
    /// # Errors
    /// [`Error::Shape`] without rows or columns or for 2³² rows, [`Error::Value`] at an entry that is not finite.
    pub fn new(x: ArrayView2<'_, f64>) -> Result<Features> {
        let (n, k) = x.dim();
        if n == 0 || k == 0 || u32::try_from(n).is_err() {
            let rule = "at least 1 × 1, and fewer than 2^32 rows";
            return Err(Error::Shape { what: "codes".into(), found: vec![n, k], rule });
        }
        if let Some((at, &found)) = x.indexed_iter().find(|(_, v)| !(**v as f32).is_finite()) {
            return Err(Error::Value { what: "codes".into(), found, at, rule: "finite in single precision" });
        }
        let sorted = (0..k).filter_map(|column| {
            let value = |i: u32| x[[i as usize, column]] as f32;
            let mut order: Vec<u32> = (0..n as u32).collect();
            order.sort_by(|&a, &b| value(a).total_cmp(&value(b)).then(a.cmp(&b)));
            let values: Vec<f32> = order.iter().map(|&i| value(i)).collect();
            (values[n - 1] > values[0] + EQUAL).then_some((column, order, values))
        });
        Ok(Features { rows: n, sorted: sorted.collect(), columns: k })
    }

    /// Importance of each feature for the targets; they sum to 1, or are all 0 where no tree has a split.
    ///
    /// # Errors
    /// [`Error::Shape`] for targets of another length, [`Error::Value`] at one that is not finite.
    pub fn importances(&self, y: ArrayView1<'_, f64>) -> Result<Array1<f64>> {
        if y.len() != self.rows {
            let rule = "as many as there are rows of codes";
            return Err(Error::Shape { what: "targets".into(), found: vec![y.len(), self.rows], rule });
        }
        if let Some((i, &found)) = y.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(Error::Value { what: "targets".into(), found, at: (i, 0), rule: "finite" });
        }
        let mean = y.sum() / self.rows as f64;
        let mut residual: Vec<f64> = y.iter().map(|y| y - mean).collect();
        let mut gains = Array1::zeros(self.columns);
        for tree in 0..TREES {
            self.grow(tree, &mut residual, &mut gains);
        }
        let all = gains.sum();
        Ok(if all > 0.0 { gains / all } else { gains })
    }

    /// Grows one tree on the residuals, adds the gains of its splits and takes its part of the leaves' means away.
    fn grow(&self, tree: usize, residual: &mut [f64], gains: &mut Array1<f64>) {
        let mut node = vec![0u8; self.rows];
        for depth in 0..=DEPTH {
            let mut level = [Node::default(); 2 * NODES];
            for (&at, &r) in node.iter().zip(residual.iter()).filter(|(at, _)| **at != ENDED) {
                let here = &mut level[usize::from(at)];
                (here.count, here.sum) = (here.count + 1.0, here.sum + r);
                here.squares += r * r;
            }
            let open = |n: &Node| depth < DEPTH && n.count >= 2.0 && variance(n) > PURE;
            let splits = match level.iter().any(open) {
                true => {
                    let first = |at: usize| (37 * tree + 11 * depth + 5 * at) % self.sorted.len().max(1);
                    self.splits(&node, residual, &level, open, first)
                }
                false => [None; NODES],
            };
            self.divide(&mut node, residual, gains, &level, &splits);
        }
    }

    /// The best split of each node that may be split; of equally good ones that of the feature nearest behind `first`.
    fn splits(
        &self,
        node: &[u8],
        residual: &[f64],
        level: &[Node; 2 * NODES],
        open: impl Fn(&Node) -> bool,
        first: impl Fn(usize) -> usize,
    ) -> [Option<Split>; NODES] {
        let count = self.sorted.len();
        // Place of a feature in the order that node `at` begins with `first(at)`.
        let turn = |at: usize, feature: usize| (feature + count - first(at)) % count;
        let mut best: [Option<Split>; NODES] = [None; NODES];
        let open: [bool; NODES] = std::array::from_fn(|i| open(&level[i]));
        for (feature, (_, order, values)) in self.sorted.iter().enumerate() {
            let mut scan = [Scan::default(); NODES];
            for (place, (&i, &value)) in order.iter().zip(values).enumerate() {
                let at = usize::from(node[i as usize]);
                if at >= NODES || !open[at] {
                    continue;
                }
                let seen = &mut scan[at];
                if seen.count > 0.0 && value > seen.last + EQUAL {
                    let all = &level[at];
                    let right = all.sum - seen.sum;
                    let score = seen.sum * seen.sum / seen.count + right * right / (all.count - seen.count);
                    let better = |b: Split| {
                        score > b.score || (score == b.score && turn(at, feature) < turn(at, b.feature))
                    };
                    if best[at].is_none_or(better) {
                        best[at] = Some(Split { score, feature, from: place });
                    }
                }
                (seen.count, seen.sum) = (seen.count + 1.0, seen.sum + residual[i as usize]);
                seen.last = value;
            }
        }
        best
    }

    /// Sends observations to the nodes of the next level; where a node is not split, takes a tenth of its mean away.
    fn divide(
        &self,
        node: &mut [u8],
        residual: &mut [f64],
        gains: &mut Array1<f64>,
        level: &[Node; 2 * NODES],
        splits: &[Option<Split>; NODES],
    ) {
        let split_of = |at: u8| splits.get(usize::from(at)).copied().flatten();
        for (at, split) in splits.iter().enumerate() {
            if let Some(s) = split {
                let all = &level[at];
                gains[self.sorted[s.feature].0] += (s.score - all.sum * all.sum / all.count).max(0.0);
            }
        }
        // Left and right children of node a are 2a and 2a + 1; a mark in the upper half is not in this level's way.
        const NEXT: u8 = 64;
        for (at, split) in splits.iter().enumerate() {
            let Some(s) = split else { continue };
            let (_, order, _) = &self.sorted[s.feature];
            for (place, &i) in order.iter().enumerate() {
                let here = &mut node[i as usize];
                if usize::from(*here) == at {
                    *here = NEXT + 2 * at as u8 + u8::from(place >= s.from);
                }
            }
        }
        for (here, r) in node.iter_mut().zip(residual) {
            match *here {
                ENDED => {}
                moved if moved >= NEXT => *here = moved - NEXT,
                leaf => {
                    debug_assert!(split_of(leaf).is_none());
                    let all = &level[usize::from(leaf)];
                    *r -= RATE * all.sum / all.count;
                    *here = ENDED;
                }
            }
        }
    }
}

/// Mean square of the residuals about their mean.
fn variance(n: &Node) -> f64 {
    let mean = n.sum / n.count;
    n.squares / n.count - mean * mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use ndarray::Array2;
    use rand::RngExt;

    #[test]
    fn one_step_is_split_where_it_rises() {
        // The target is a step of the second feature; the first is a decoy, the third does not vary.
        let x = Array2::from_shape_fn((40, 3), |(i, j)| match j {
            0 => ((i * 7) % 40) as f64,
            1 => i as f64,
            _ => 1.0,
        });
        let y = Array1::from_shape_fn(40, |i| if i < 25 { 0.0 } else { 4.0 });
        let found = Features::new(x.view()).unwrap().importances(y.view()).unwrap();
        // What is left of the steps is rounding.
        assert!(found[0] < 1e-14 && found[2] == 0.0 && (found[1] - 1.0).abs() < 1e-14, "{found}");
        let flat = Array1::from_elem(40, 3.0);
        assert_eq!(Features::new(x.view()).unwrap().importances(flat.view()).unwrap().sum(), 0.0);
    }

    #[test]
    fn equal_features_share_what_they_explain() {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_simple_fn((60, 1), || rng.random::<f64>());
        let thrice = ndarray::concatenate![ndarray::Axis(1), x, x, x];
        let y = x.column(0).mapv(|v| v * v);
        let found = Features::new(thrice.view()).unwrap().importances(y.view()).unwrap();
        assert!(found.iter().all(|v| (0.2..0.5).contains(v)), "{found}");
    }

    #[test]
    fn odd_input_is_refused_with_its_place() {
        let mut x = Array2::from_shape_fn((4, 2), |(i, j)| (i + j) as f64);
        let features = Features::new(x.view()).unwrap();
        assert!(features.importances(Array1::zeros(3).view()).is_err());
        let y = ndarray::array![0.0, f64::NAN, 1.0, 2.0];
        assert!(features.importances(y.view()).unwrap_err().to_string().contains("row 1"));
        x[[2, 1]] = f64::INFINITY;
        assert!(Features::new(x.view()).unwrap_err().to_string().contains("row 2, column 1"));
        assert!(Features::new(Array2::zeros((0, 2)).view()).is_err());
    }
}
