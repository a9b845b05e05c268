//! Whether metagenes meet differently in two groups of slices.
//!
//! ```text
//! D = Λ_A − Λ_B,    Λ_g = argmin f over the slices of group g at the mixtures of the fit,
//! p_ab = share of the partitions of the slices into groups of these sizes for which |D_ab| is no smaller,
//! ```
//!
//! with [`super::affinity`]'s f. Slices are what is exchanged: cells of a slice are not independent of each other, slices are. All partitions are
//! taken where there are at most 1000, else 999 drawn ones and the one seen. `family` is the same for the largest |D|/sd over all
//! pairs, which holds the chance of any false pair to p; sd is that of D_ab over the partitions.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | D      | K × K | difference of the affinities; above 0 where group A keeps two metagenes further apart |
//! | p, family | K × K | for each pair alone, and for the family of all pairs |

use ndarray::Array2;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::affinity::{self, Fields, Ridges};
use super::neighbours::Neighbours;
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::linalg::settle;

/// Most partitions that are all taken.
const ALL: usize = 1000;
/// Steps of an update of Λ, and the gradient at which it ends.
const STEPS: usize = 200;
const TOL: f64 = 1e-7;

/// Affinities of two groups of slices, and how surprising their difference is.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// Λ of both groups.
    pub affinity: [Array2<f64>; 2],
    /// p of each pair alone.
    pub p: Array2<f64>,
    /// p of each pair among all.
    pub family: Array2<f64>,
    /// Partitions that were compared, the one seen among them.
    pub partitions: usize,
}

impl Contrast {
    /// D.
    pub fn difference(&self) -> Array2<f64> {
        &self.affinity[0] - &self.affinity[1]
    }
}

/// Compares slices with `second[t]` false (A) and true (B) at mixtures `z` (N × K); `cells` are the cells of each slice, `ridge` is λ_Λ.
///
/// # Errors
/// [`Error::Missing`] if a group has no slice or fewer than two partitions exist.
pub fn contrast(
    z: &Array2<f64>,
    neighbours: &Neighbours,
    cells: &[Vec<usize>],
    second: &[bool],
    ridge: f64,
    seed: Seed,
) -> Result<Contrast> {
    let chosen = second.iter().filter(|s| **s).count();
    if chosen == 0 || chosen == second.len() || second.len() < 3 {
        let what = format!("slices to exchange (one group has {chosen} of {})", second.len());
        let hint = "two groups of slices, together at least three; six slices give p below 0.05".into();
        return Err(Error::Missing { what, hint });
    }
    let fields: Vec<Fields> = cells.iter().map(|c| Fields::new(z, neighbours, c)).collect();
    let all = partitions(second, chosen, seed);
    let fitted = |own: &[&Fields], start: &Array2<f64>| {
        let share = 1.0 / own.len() as f64;
        let slices: Vec<(f64, &Fields)> = own.iter().map(|f| (share, *f)).collect();
        let mut lambda = start.clone();
        affinity::update(&slices, Ridges { own: ridge, mean: None }, &mut lambda, STEPS, TOL);
        lambda
    };
    // Every partition starts where all slices together end.
    let pooled = fitted(&fields.iter().collect::<Vec<_>>(), &Array2::zeros((z.ncols(), z.ncols())));
    let found: Vec<[Array2<f64>; 2]> = all
        .par_iter()
        .map(|second| {
            settle();
            [false, true].map(|group| {
                let own: Vec<&Fields> =
                    fields.iter().zip(second).filter(|(_, s)| **s == group).map(|(f, _)| f).collect();
                fitted(&own, &pooled)
            })
        })
        .collect();
    let differences: Vec<Array2<f64>> = found.iter().map(|[a, b]| a - b).collect();
    let n = differences.len() as f64;
    let square = differences.iter().fold(Array2::<f64>::zeros(differences[0].dim()), |sum, d| sum + d * d);
    // Exchanged groups change the sign alone, so that the mean is 0 but for the draw.
    let sd = (square / n).mapv(|v| v.sqrt().max(f64::MIN_POSITIVE));
    let largest: Vec<f64> = differences
        .iter()
        .map(|d| d.iter().zip(&sd).fold(0.0, |m: f64, (d, sd)| m.max(d.abs() / sd)))
        .collect();
    let seen = &differences[0];
    // Rounding must not tell equal differences apart.
    let share = |count: usize| count as f64 / n;
    let p = Array2::from_shape_fn(seen.dim(), |at| {
        let least = (1.0 - 1e-9) * seen[at].abs();
        share(differences.iter().filter(|d| d[at].abs() >= least).count())
    });
    let family = Array2::from_shape_fn(seen.dim(), |at| {
        let least = (1.0 - 1e-9) * seen[at].abs() / sd[at];
        share(largest.iter().filter(|l| **l >= least).count())
    });
    let affinity = found.into_iter().next().unwrap_or_else(|| [Array2::zeros((0, 0)), Array2::zeros((0, 0))]);
    Ok(Contrast { affinity, p, family, partitions: all.len() })
}

/// The partition seen, then others of the same sizes: all of them, or drawn ones.
fn partitions(second: &[bool], chosen: usize, seed: Seed) -> Vec<Vec<bool>> {
    let t = second.len();
    let mut count = 1.0;
    (0..chosen).for_each(|i| count *= (t - i) as f64 / (i + 1) as f64);
    let mut out = vec![second.to_vec()];
    if count.round() <= ALL as f64 {
        let mut from: Vec<usize> = (0..chosen).collect();
        loop {
            let mut here = vec![false; t];
            from.iter().for_each(|&i| here[i] = true);
            if here != second {
                out.push(here);
            }
            // The next set of `chosen` slices in the order of the dictionary.
            let Some(at) = (0..chosen).rev().find(|&i| from[i] < t - chosen + i) else { break };
            from[at] += 1;
            (at + 1..chosen).for_each(|i| from[i] = from[i - 1] + 1);
        }
    } else {
        for draw in 1..ALL as u64 {
            let mut here = second.to_vec();
            here.shuffle(&mut seed.stream(Draw::Shuffle, draw));
            out.push(here);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn partitions_are_all_there_are() {
        let all = partitions(&[true, false, true, false, false], 2, Seed(0));
        assert_eq!(all.len(), 10);
        let mut sorted = all.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 10);
        assert!(all[0] == [true, false, true, false, false]);
        assert!(all.iter().all(|p| p.iter().filter(|s| **s).count() == 2));
        assert_eq!(partitions(&[[true; 10], [false; 10]].concat(), 10, Seed(0)).len(), 1000);
    }

    /// Slices of a ring; in some, metagenes 0 and 1 meet, in the others each keeps to itself.
    #[test]
    fn a_planted_difference_stands_out_and_none_does_not() {
        let (slices, n, k) = (8, 60, 3);
        let case = |mixed: &dyn Fn(usize) -> bool| {
            let mut rng = Seed(3).stream(Draw::Simulate, 0);
            let z = Array2::from_shape_fn((slices * n, k), |(i, a)| {
                let (t, at) = (i / n, i % n);
                let kind = if mixed(t) { at % 2 } else { at / 15 % 2 };
                (if a == kind { 0.8 } else { 0.1 }, a)
            })
            .mapv(|(v, _): (f64, usize)| v + 0.05 * rng.random::<f64>());
            let z = &z / &z.sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
            let edges = (0..slices * n).filter(|i| i % n < n - 1).map(|i| (i as u32, i as u32 + 1));
            let cells: Vec<Vec<usize>> = (0..slices).map(|t| (t * n..(t + 1) * n).collect()).collect();
            let second: Vec<bool> = (0..slices).map(|t| t % 2 == 1).collect();
            contrast(&z, &Neighbours::from_edges(slices * n, edges), &cells, &second, 1e-3, Seed(1)).unwrap()
        };
        let planted = case(&|t| t % 2 == 1);
        assert_eq!(planted.partitions, 70);
        // Group A keeps 0 and 1 apart.
        assert!(planted.difference()[[0, 1]] > 0.0);
        assert!((planted.p[[0, 1]] - 2.0 / 70.0).abs() < 1e-12, "{:?}", planted.p);
        assert!(planted.family[[0, 1]] < 0.05, "{:?}", planted.family);
        let none = case(&|t| t / 2 % 2 == 1);
        assert!(none.p[[0, 1]] > 0.1 && none.family.iter().all(|p| *p > 0.05), "{:?}", none.p);
    }

    #[test]
    fn one_group_or_two_slices_are_refused() {
        let z = Array2::from_elem((4, 2), 0.5);
        let neighbours = Neighbours::from_edges(4, [(0, 1), (2, 3)]);
        let cells = [vec![0, 1], vec![2, 3]];
        for second in [[false, false], [false, true]] {
            assert!(contrast(&z, &neighbours, &cells, &second, 1e-3, Seed(0)).is_err());
        }
    }
}
