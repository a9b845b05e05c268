//! The one-to-one assignment of largest total weight (`kuhn1955`).
//!
//! Rows of an r × c matrix are paired with different columns, min(r, c) pairs in all, such that the sum of the
//! weights of the pairs is largest. Rows enter one after another; each takes the cheapest path of exchanges that
//! ends in a free column, found as Dijkstra's algorithm finds it under potentials that keep all reduced costs at 0
//! or above. The time is min(r, c)² max(r, c).

use ndarray::ArrayView2;

/// The column of each row; `None` for the rows that are left over where there are more rows than columns. Weights
/// are finite; a weight that is not counts as the smallest one.
pub fn best_assignment(weights: ArrayView2<'_, f64>) -> Vec<Option<usize>> {
    let (rows, columns) = weights.dim();
    if rows <= columns {
        return assign(weights).into_iter().map(Some).collect();
    }
    let mut of_row = vec![None; rows];
    assign(weights.t()).into_iter().enumerate().for_each(|(column, row)| of_row[row] = Some(column));
    of_row
}

/// The column of each row, where there are no more rows than columns.
fn assign(weights: ArrayView2<'_, f64>) -> Vec<usize> {
    let (rows, columns) = weights.dim();
    let least = weights.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::min);
    let cost = |i: usize, j: usize| if weights[[i, j]].is_finite() { -weights[[i, j]] } else { -least };
    // Column 0 stands for the row that is entering, so that real rows and columns count from 1.
    let (mut of_row, mut of_column) = (vec![0.0; rows + 1], vec![0.0; columns + 1]);
    let mut taken_by = vec![0usize; columns + 1];
    let mut before = vec![0usize; columns + 1];
    for row in 1..=rows {
        taken_by[0] = row;
        let mut at = 0;
        let (mut reach, mut done) = (vec![f64::INFINITY; columns + 1], vec![false; columns + 1]);
        while taken_by[at] != 0 {
            done[at] = true;
            let i = taken_by[at];
            let (mut next, mut step) = (0, f64::INFINITY);
            for j in (1..=columns).filter(|&j| !done[j]) {
                let reduced = cost(i - 1, j - 1) - of_row[i] - of_column[j];
                if reduced < reach[j] {
                    (reach[j], before[j]) = (reduced, at);
                }
                if reach[j] < step {
                    (next, step) = (j, reach[j]);
                }
            }
            for j in 0..=columns {
                match done[j] {
                    true => {
                        of_row[taken_by[j]] += step;
                        of_column[j] -= step;
                    }
                    false => reach[j] -= step,
                }
            }
            at = next;
        }
        // Exchange along the path, back to the row that entered.
        while at != 0 {
            taken_by[at] = taken_by[before[at]];
            at = before[at];
        }
    }
    let mut out = vec![0; rows];
    (1..=columns).filter(|&j| taken_by[j] > 0).for_each(|j| out[taken_by[j] - 1] = j - 1);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use ndarray::{Array2, array};
    use rand::RngExt;

    /// The best sum over all ways to give rows different columns.
    fn exhaustive(w: &Array2<f64>, row: usize, free: &mut Vec<bool>) -> f64 {
        if row == w.nrows() {
            return 0.0;
        }
        let mut best = f64::NEG_INFINITY;
        for j in 0..w.ncols() {
            if std::mem::replace(&mut free[j], false) {
                best = best.max(w[[row, j]] + exhaustive(w, row + 1, free));
                free[j] = true;
            }
        }
        best
    }

    #[test]
    fn the_sum_is_the_best_of_all_assignments() {
        let mut rng = Seed(3).stream(Draw::Simulate, 0);
        for case in 0..200 {
            let (r, c) = (1 + case % 4, 4 + case % 3);
            // Coarse values give ties, and some are negative.
            let w = Array2::from_shape_simple_fn((r, c), || match case % 2 {
                0 => f64::from(rng.random_range(-3..4i32)),
                _ => rng.random::<f64>(),
            });
            let best = exhaustive(&w, 0, &mut vec![true; c]);
            for turned in [false, true] {
                let view = if turned { w.t() } else { w.view() };
                let found = best_assignment(view);
                let pairs: Vec<(usize, usize)> =
                    found.iter().enumerate().filter_map(|(i, j)| Some((i, (*j)?))).collect();
                let mut columns: Vec<usize> = pairs.iter().map(|p| p.1).collect();
                columns.sort_unstable();
                columns.dedup();
                assert_eq!((pairs.len(), columns.len()), (r, r), "every pair has its own column");
                let sum: f64 = pairs.iter().map(|&(i, j)| view[[i, j]]).sum();
                assert!((sum - best).abs() < 1e-12, "{w} {sum} {best}");
            }
        }
    }

    #[test]
    fn empty_sides_and_odd_weights_are_taken() {
        assert_eq!(best_assignment(Array2::zeros((0, 3)).view()), []);
        assert_eq!(best_assignment(Array2::zeros((2, 0)).view()), [None, None]);
        assert_eq!(best_assignment(array![[f64::NAN, 1.0], [2.0, 1.0]].view()), [Some(1), Some(0)]);
    }
}
