//! Which form each row takes, what the forms need, and which part a feature goes to.

use ndarray::Array2;
use rayon::prelude::*;

use super::line::{Line, Order};
use super::{PARTS, plane, row};
use crate::methods::multistudy::network::{Decoder, Tile};
use crate::nn::Real;

/// For each tile and position: the samples in order, where a row needs them.
pub(super) type Orders<T> = Vec<Vec<Option<Order<T>>>>;

/// The one active column of a row in a tile, by its position.
fn lone<T: Real>(w: &[T], columns: &[usize]) -> Option<usize> {
    let mut active = (0..columns.len()).filter(|&p| w[columns[p]] != T::ZERO);
    active.next().filter(|_| active.next().is_none())
}

/// The pairs of columns that are the only active ones of a row in a tile, ascending.
pub(super) fn pairs<T: Real>(decoder: &Decoder<T>, tiles: &[Tile<T>]) -> Vec<(usize, usize)> {
    let mut found = std::collections::BTreeSet::new();
    for j in 0..decoder.features() {
        let w = row(&decoder.w.value, j);
        for tile in tiles {
            let mut active = tile.columns.iter().filter(|k| w[**k] != T::ZERO);
            if let (Some(&k), Some(&l), None) = (active.next(), active.next(), active.next()) {
                found.insert((k, l));
            }
        }
    }
    found.into_iter().collect()
}

/// What rows with one active column need.
pub(super) fn lines<T: Real>(
    decoder: &Decoder<T>,
    tiles: &[Tile<T>],
    v1t: &Array2<T>,
    v2t: &Array2<T>,
    b2: &[T],
    width: usize,
) -> (Vec<Option<Line<T>>>, Orders<T>) {
    let mut orders: Vec<Vec<bool>> = tiles.iter().map(|t| vec![false; t.columns.len()]).collect();
    let mut lines = vec![false; v1t.nrows()];
    for j in 0..decoder.features() {
        for (tile, orders) in tiles.iter().zip(&mut orders) {
            if let Some(p) = lone(row(&decoder.w.value, j), &tile.columns) {
                (orders[p], lines[tile.columns[p]]) = (true, true);
            }
        }
    }
    let line = |(k, needed): (usize, bool)| needed.then(|| Line::new(v1t, k, v2t, b2, width));
    let lines = lines.into_par_iter().enumerate().map(line).collect();
    let order = |(tile, needed): (&Tile<T>, Vec<bool>)| {
        let one = |(p, needed): (usize, bool)| needed.then(|| Order::new(row(&tile.z, p)));
        needed.into_par_iter().enumerate().map(one).collect()
    };
    (lines, tiles.iter().zip(orders).map(order).collect())
}

/// About how many multiplications a feature takes, those of walks and of the law with their weight.
fn cost<T: Real>(decoder: &Decoder<T>, tiles: &[Tile<T>], full: bool, j: usize) -> usize {
    let ((h2, h1), w) = (decoder.v2.value.dim(), row(&decoder.w.value, j));
    let of_tile = |tile: &Tile<T>| {
        let (columns, n) = tile.z.dim();
        let active = tile.columns.iter().filter(|k| w[**k] != T::ZERO).count();
        let (form, rest) = match active {
            0 => (0, 0),
            1 => (2 * h2 * n, (n + 2 * h2) * columns),
            2 if plane::pays(n, h1, h2) => (plane::cost(n, h1, h2), n * h1 * (h2 + columns)),
            _ => (3 * n * h1 * (h2 + active), n * h1 * (columns - active)),
        };
        200 * n + form + if full { rest } else { 0 }
    };
    tiles.iter().map(of_tile).sum()
}

/// Deals features to parts, the dearest first, each to the part with the least cost so far.
pub(super) fn deal<T: Real>(decoder: &Decoder<T>, tiles: &[Tile<T>], full: bool) -> Vec<Vec<usize>> {
    let mut order: Vec<(usize, usize)> =
        (0..decoder.features()).map(|j| (cost(decoder, tiles, full, j), j)).collect();
    order.sort_by_key(|&(cost, j)| (std::cmp::Reverse(cost), j));
    let mut parts = vec![(0, Vec::new()); PARTS.min(decoder.features().max(1))];
    for (cost, j) in order {
        if let Some(least) = parts.iter_mut().min_by_key(|(sum, _)| *sum) {
            least.0 += cost;
            least.1.push(j);
        }
    }
    parts.into_iter().map(|(_, features)| features).collect()
}
