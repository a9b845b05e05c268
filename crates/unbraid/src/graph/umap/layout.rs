//! From the start to the picture: stochastic gradients.
//!
//! ```text
//! y_i += α 2 [pull(|y_i − y_j|²) (y_i − y_j)]        for every edge ij whose turn it is: p_ij/p_max of the epochs
//! y_i += α   [push(|y_i − y_l|²) (y_i − y_l)]        for each of its samples l of all points
//! α = 1 − epoch/epochs,   [·]: entries held to ±4
//! ```
//!
//! An edge moves both its ends each time it is visited, and it is stored, and visited, from both. Here every point moves itself alone, twice as
//! far, so that points can move side by side. They do so in sixteen groups drawn once, one group after the other: two ends of an edge
//! seldom move at the same time and answer each other as they do one by one. A point's samples come from a stream
//! of its own, so that the bits do not depend on threads.
//!
//! Both coefficients are read from tables over the exponent and the first bits of the squared distance, with straight lines in between: 1e-5
//! of the value, a tenth of the time of a power.

use ndarray::Array2;
use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::curve::Curve;
use crate::data::Csr;
use crate::fit::{Draw, Seed};

/// Groups of points that move together.
const GROUPS: usize = 16;
/// Points below which a group is not worth a second thread.
const SMALL: usize = 128;
/// Bound of one entry of a gradient.
const CLIP: f64 = 4.0;

/// How long and with how many samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Rounds.
    pub epochs: usize,
    /// Samples of the rest for each edge.
    pub negatives: usize,
}

/// The picture from a start (n × 2) on a symmetric graph.
pub fn layout(graph: &Csr, start: Array2<f64>, curve: Curve, pace: Pace, seed: Seed) -> Array2<f64> {
    let n = start.nrows();
    let most = graph.values().iter().fold(0.0f64, |m, p| m.max(*p));
    let share = |p: f64| if most > 0.0 { p / most } else { 0.0 };
    let tables = [Table::new(|d2| curve.pull(d2)), Table::new(|d2| curve.push(d2))];
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut seed.stream(Draw::Shuffle, 0));
    let groups: Vec<&[u32]> = order.chunks(n.div_ceil(GROUPS).max(1)).collect();
    let mut y: Vec<[f64; 2]> = start.rows().into_iter().map(|r| [r[0], r[1]]).collect();
    for epoch in 1..=pace.epochs {
        let alpha = 1.0 - (epoch - 1) as f64 / pace.epochs as f64;
        for group in &groups {
            let moved = |&i: &u32| {
                let mut own = y[i as usize];
                let mut rng = None;
                let (to, p) = graph.row(i as usize);
                for (&j, &p) in to.iter().zip(p) {
                    // Whole visits so far, and up to the epoch before.
                    let turns = |epoch: usize| (share(p) * epoch as f64).floor();
                    if turns(epoch) == turns(epoch - 1) {
                        continue;
                    }
                    own = step(own, y[j as usize], 2.0 * alpha, &tables[0]);
                    let rng = rng
                        .get_or_insert_with(|| seed.stream(Draw::Latent, (epoch * n) as u64 + u64::from(i)));
                    for _ in 0..pace.negatives {
                        let l = (u64::from(rng.next_u32()) * n as u64) >> 32;
                        if l != u64::from(i) {
                            own = step(own, y[l as usize], alpha, &tables[1]);
                        }
                    }
                }
                own
            };
            let next: Vec<[f64; 2]> = match group.len() < SMALL {
                true => group.iter().map(moved).collect(),
                false => group.par_iter().with_min_len(SMALL / 2).map(moved).collect(),
            };
            group.iter().zip(next).for_each(|(&i, at)| y[i as usize] = at);
        }
    }
    Array2::from_shape_fn((n, 2), |(i, c)| y[i][c])
}

/// One move along or against the line to another point.
fn step(own: [f64; 2], other: [f64; 2], alpha: f64, table: &Table) -> [f64; 2] {
    let away = [own[0] - other[0], own[1] - other[1]];
    let d2 = away[0] * away[0] + away[1] * away[1];
    if d2 == 0.0 {
        return own;
    }
    let size = table.at(d2);
    [0, 1].map(|c| own[c] + alpha * (size * away[c]).clamp(-CLIP, CLIP))
}

/// First bits of the fraction that a table tells apart.
const BITS: u32 = 7;
/// Exponents of two that it covers, from 2^LOW on.
const LOW: i32 = -40;
const SPAN: usize = 80;

/// A smooth function of a positive number, by straight lines between the powers of two and their 128ths.
struct Table {
    /// Values at both ends of each piece.
    pieces: Vec<[f64; 2]>,
}

impl Table {
    fn new(f: impl Fn(f64) -> f64) -> Table {
        Table { pieces: (0..SPAN << BITS).map(|at| [f(place(at)), f(place(at + 1))]).collect() }
    }

    #[inline]
    fn at(&self, x: f64) -> f64 {
        let x = x.clamp(place(0), place((SPAN << BITS) - 1));
        let bits = x.to_bits();
        let piece = (bits >> (52 - BITS)) as usize - (((1023 + LOW) as usize) << BITS);
        let within = (bits & ((1 << (52 - BITS)) - 1)) as f64 / (1u64 << (52 - BITS)) as f64;
        let [low, high] = self.pieces[piece];
        low + within * (high - low)
    }
}

/// The number at the start of a piece.
fn place(at: usize) -> f64 {
    f64::from_bits((((1023 + LOW) as u64) << 52) + ((at as u64) << (52 - BITS)))
}
