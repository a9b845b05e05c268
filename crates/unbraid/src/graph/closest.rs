//! The largest inner products of each row of a matrix with the others, exactly, without looking at all.
//!
//! ```text
//! for each i the k largest |⟨xᵢ, xⱼ⟩|, j ≠ i;   ties by the smaller position of the pair
//! ```
//!
//! Rows are sorted into compact tiles by bisection: across the line between two far points, at the median.
//! A tile with centre c and radius ϱ cannot hold a partner of q better than |⟨q, c⟩| + ‖q‖ ϱ, so a tile is
//! skipped for all q whose k-th best is above that. Tiles that are not skipped cost one small dense
//! product in single precision, whose candidates are weighed again in double precision: a candidate is
//! passed over only where rounding cannot have hidden it. At worst this is the n² product, 2n²d flops;
//! where rows form groups, few tiles meet.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::linalg;

/// Most rows of a tile.
const TILE: usize = 256;
/// Allowance for rounding in a bound, relative to the size of the rows.
const SLACK: f64 = 1e-12;
/// Rounding error of a product of length d in single precision, over d ‖x‖ ‖y‖.
const SINGLE: f64 = 1.2e-7;

/// A compact set of rows.
struct Tile {
    /// Positions, ascending.
    rows: Vec<u32>,
    /// The rows in single precision.
    x: Array2<f32>,
    centre: Array1<f64>,
    radius: f64,
    /// Length of the longest row.
    longest: f64,
}

impl Tile {
    fn new(x: ArrayView2<'_, f64>, mut rows: Vec<u32>) -> Tile {
        rows.sort_unstable();
        let own = x.select(Axis(0), &rows.iter().map(|&i| i as usize).collect::<Vec<_>>());
        let centre = mean(own.view());
        let radius = own.rows().into_iter().map(|r| distance(r, centre.view())).fold(0.0, f64::max);
        let longest = own.rows().into_iter().map(|r| r.dot(&r).sqrt()).fold(0.0, f64::max);
        Tile { rows, x: own.mapv(|v| v as f32), centre, radius, longest }
    }
}

fn mean(x: ArrayView2<'_, f64>) -> Array1<f64> {
    x.sum_axis(Axis(0)) / x.nrows().max(1) as f64
}

fn distance(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// Splits rows until none of the parts has more than [`TILE`].
fn tiles(x: ArrayView2<'_, f64>, mut rows: Vec<u32>) -> Vec<Tile> {
    if rows.len() <= TILE {
        return vec![Tile::new(x, rows)];
    }
    let row = |i: u32| x.row(i as usize);
    let centre =
        rows.iter().fold(Array1::zeros(x.ncols()), |sum: Array1<f64>, &i| sum + row(i)) / rows.len() as f64;
    let farthest = |from: ArrayView1<'_, f64>| {
        let mut best = (-1.0, rows[0]);
        for &i in &rows {
            let d = distance(row(i), from);
            if d > best.0 {
                best = (d, i);
            }
        }
        best.1
    };
    let a = farthest(centre.view());
    let b = farthest(row(a));
    let along = &row(b) - &row(a);
    let key: Vec<f64> = rows.iter().map(|&i| row(i).dot(&along)).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let half = rows.len() / 2;
    // Equal projections are told apart by position, so that the halves do not depend on the algorithm.
    order.select_nth_unstable_by(half, |&s, &t| key[s].total_cmp(&key[t]).then(rows[s].cmp(&rows[t])));
    let upper: Vec<u32> = order[half..].iter().map(|&s| rows[s]).collect();
    rows = order[..half].iter().map(|&s| rows[s]).collect();
    let (mut low, high) = rayon::join(
        || {
            linalg::settle();
            tiles(x, rows)
        },
        || {
            linalg::settle();
            tiles(x, upper)
        },
    );
    low.extend(high);
    low
}

/// A partner of a row, and the inner product with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Partner {
    /// Position of the other row.
    pub row: u32,
    /// ⟨xᵢ, xⱼ⟩.
    pub product: f64,
}

/// The best of one row so far.
struct Best {
    own: u32,
    k: usize,
    /// The best, weighed in double precision.
    held: Vec<Partner>,
    /// Not weighed yet.
    offered: Vec<u32>,
    /// The k-th best, once there are k; what is below it has lost.
    floor: f64,
}

impl Best {
    /// Weighs what was offered and keeps the k best.
    fn trim(&mut self, x: ArrayView2<'_, f64>) {
        let own = self.own;
        let mine = x.row(own as usize);
        let weigh = |row: u32| Partner { row, product: mine.dot(&x.row(row as usize)) };
        self.held.extend(self.offered.drain(..).map(weigh).filter(|p| p.product != 0.0));
        if self.held.len() < self.k {
            return;
        }
        let place = |p: &Partner| (own.min(p.row), own.max(p.row));
        let better = |a: &Partner, b: &Partner| {
            b.product.abs().total_cmp(&a.product.abs()).then_with(|| place(a).cmp(&place(b)))
        };
        self.held.select_nth_unstable_by(self.k - 1, better);
        self.held.truncate(self.k);
        self.floor = self.held.iter().map(|p| p.product.abs()).fold(f64::INFINITY, f64::min);
    }
}

/// For every row of `x` (n × d) its `k` partners of largest |inner product|, products of 0 left out; in
/// no particular order.
pub fn closest(x: ArrayView2<'_, f64>, k: usize) -> Vec<Vec<Partner>> {
    let n = x.nrows();
    if n == 0 || k == 0 {
        return vec![Vec::new(); n];
    }
    let tiles = tiles(x, (0..n as u32).collect());
    let mut centres = Array2::zeros((tiles.len(), x.ncols()));
    centres.rows_mut().into_iter().zip(&tiles).for_each(|(mut c, t)| c.assign(&t.centre));
    let found: Vec<Vec<Vec<Partner>>> = tiles
        .par_iter()
        .map(|tile| {
            linalg::settle();
            of_tile(x, tile, &tiles, centres.view(), k)
        })
        .collect();
    let mut out = vec![Vec::new(); n];
    for (tile, lists) in tiles.iter().zip(found) {
        tile.rows.iter().zip(lists).for_each(|(&i, list)| out[i as usize] = list);
    }
    out
}

/// [`closest`] for the rows of one tile.
fn of_tile(
    x: ArrayView2<'_, f64>,
    tile: &Tile,
    tiles: &[Tile],
    centres: ArrayView2<'_, f64>,
    k: usize,
) -> Vec<Vec<Partner>> {
    let own = x.select(Axis(0), &tile.rows.iter().map(|&i| i as usize).collect::<Vec<_>>());
    let size: Vec<f64> = own.rows().into_iter().map(|r| r.dot(&r).sqrt()).collect();
    let to_centre = linalg::matmul_alone(own.view(), centres.t());
    let bound = |q: usize, t: usize| {
        to_centre[[q, t]].abs() + size[q] * (tiles[t].radius * (1.0 + SLACK) + SLACK * tiles[t].longest)
    };
    let blank = |&own| Best { own, k, held: Vec::new(), offered: Vec::new(), floor: 0.0 };
    let mut best: Vec<Best> = tile.rows.iter().map(blank).collect();
    // The most promising tiles first, so that the floors rise early.
    let promise: Vec<f64> =
        (0..tiles.len()).map(|t| (0..best.len()).map(|q| bound(q, t)).fold(0.0, f64::max)).collect();
    let mut order: Vec<usize> = (0..tiles.len()).collect();
    order.sort_by(|&a, &b| promise[b].total_cmp(&promise[a]).then(a.cmp(&b)));
    for t in order {
        let wanted: Vec<usize> = (0..best.len()).filter(|&q| bound(q, t) >= best[q].floor).collect();
        if wanted.is_empty() {
            continue;
        }
        let other = &tiles[t];
        // All rows where most are wanted; else a product with fewer.
        let some;
        let (at, single) = if 2 * wanted.len() > best.len() {
            ((0..best.len()).collect(), tile.x.view())
        } else {
            some = tile.x.select(Axis(0), &wanted);
            (wanted, some.view())
        };
        let products = linalg::matmul_alone(single, other.x.t());
        for (line, q) in products.outer_iter().zip(at) {
            let best = &mut best[q];
            let rounding = SINGLE * x.ncols() as f64 * size[q] * other.longest;
            let least = (best.floor - rounding) as f32;
            let line = line.to_slice().expect("rows of a new array are contiguous");
            for (product, &row) in line.iter().zip(&other.rows) {
                if product.abs() >= least && row != best.own {
                    best.offered.push(row);
                }
            }
            if !best.offered.is_empty() {
                best.trim(x);
            }
        }
    }
    best.into_iter().map(|b| b.held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand_distr::{Distribution, StandardNormal};

    fn points(n: usize, d: usize, groups: usize) -> Array2<f64> {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let mut normal =
            |n| Array2::from_shape_simple_fn((n, d), || -> f64 { StandardNormal.sample(&mut rng) });
        let (centres, noise) = (normal(groups), normal(n));
        Array2::from_shape_fn((n, d), |(i, j)| 4.0 * centres[[i % groups, j]] + noise[[i, j]])
    }

    /// All products, sorted.
    fn twin(x: &Array2<f64>, k: usize) -> Vec<Vec<u32>> {
        let all = x.dot(&x.t());
        (0..x.nrows())
            .map(|i| {
                let mut order: Vec<usize> =
                    (0..x.nrows()).filter(|&j| j != i && all[[i, j]] != 0.0).collect();
                order.sort_by(|&a, &b| all[[i, b]].abs().total_cmp(&all[[i, a]].abs()));
                let mut best: Vec<u32> = order[..k.min(order.len())].iter().map(|&j| j as u32).collect();
                best.sort_unstable();
                best
            })
            .collect()
    }

    #[test]
    fn partners_are_those_of_all_products() {
        for (n, d, groups, k) in [(1500, 6, 9, 10), (700, 20, 1, 5), (300, 3, 2, 400), (1, 4, 1, 3)] {
            let x = points(n, d, groups);
            let found: Vec<Vec<u32>> = closest(x.view(), k)
                .into_iter()
                .map(|list| {
                    let mut rows: Vec<u32> = list.iter().map(|p| p.row).collect();
                    rows.sort_unstable();
                    rows
                })
                .collect();
            assert_eq!(found, twin(&x, k), "{n} × {d}");
        }
    }

    #[test]
    fn ties_go_to_the_smaller_position_and_zeros_are_no_partners() {
        let mut x = Array2::zeros((900, 2));
        x.rows_mut().into_iter().enumerate().for_each(|(i, mut r)| r[i % 2] = 1.0);
        x.row_mut(7).fill(0.0);
        let found = closest(x.view(), 3);
        let rows = |i: usize| {
            let mut rows: Vec<u32> = found[i].iter().map(|p| p.row).collect();
            rows.sort_unstable();
            rows
        };
        assert_eq!(rows(500), [0, 2, 4]);
        assert_eq!(rows(501), [1, 3, 5]);
        assert_eq!(rows(7), [0u32; 0]);
    }
}
