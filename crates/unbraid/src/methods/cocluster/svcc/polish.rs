//! Labels of the networks go on in the latent block model of the table, beside those that it finds by itself.
//!
//! ```text
//! F = (N/φ) Σ Q_rc log γ_rc + Σ Γ log π + Σ Δ log ρ + H(Γ) + H(Δ)     (the bound of [`lbm`], with N/φ for N)
//! ```
//!
//! Candidates are the labels with which the joint epochs began, those at their end, and a number of starts from the table alone. Each
//! climbs until F rises no more, and the largest F has the labels: F knows no classes. What the table alone finds is numbered as the
//! networks' clusters that it shares most with, so that codes and memberships keep their numbers.
//!
//! [`lbm`]: crate::methods::cocluster::lbm

use ndarray::Array2;

use crate::error::Result;
use crate::fit::Seed;
use crate::graph::assignment::best_assignment;
use crate::methods::cocluster::lbm::Lbm;
use crate::methods::cocluster::start::Labels;
use crate::methods::cocluster::table::Joint;

/// Labels where F ended, and F.
pub type Ascent = (Labels, f64);

/// From each of some labels; the largest F.
///
/// # Errors
/// Those of [`Lbm::polish`].
pub fn from_labels(joint: &Joint, starts: &[&Labels], (g, h): (usize, usize)) -> Result<Option<Ascent>> {
    let lbm = Lbm { rows: g, cols: h, ..Lbm::default() };
    let mut best: Option<Ascent> = None;
    for start in starts {
        let found = lbm.polish(joint, (*start).clone())?;
        if best.as_ref().is_none_or(|b| found.1 > b.1) {
            best = Some(found);
        }
    }
    Ok(best)
}

/// From the table alone, numbered as `like`.
///
/// # Errors
/// Those of [`Lbm::labels`].
pub fn from_table(
    joint: &Joint,
    starts: usize,
    (g, h): (usize, usize),
    like: &Labels,
    seed: Seed,
) -> Result<Ascent> {
    let lbm = Lbm { rows: g, cols: h, restarts: starts, ..Lbm::default() };
    let (mut labels, bound) = lbm.labels(joint, seed)?;
    renumber(&mut labels.0, &like.0, g);
    renumber(&mut labels.1, &like.1, h);
    Ok((labels, bound))
}

/// Numbers clusters such that as many lines as can be have the number that they have in `like`.
fn renumber(labels: &mut [usize], like: &[usize], clusters: usize) {
    let mut shared = Array2::<f64>::zeros((clusters, clusters));
    labels.iter().zip(like).for_each(|(&a, &b)| shared[[a, b]] += 1.0);
    let to = best_assignment(shared.view());
    labels.iter_mut().for_each(|l| *l = to[*l].unwrap_or(*l));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_take_the_numbers_they_share_most_with() {
        let mut labels = vec![2, 2, 0, 0, 1, 1, 1];
        renumber(&mut labels, &[0, 0, 1, 1, 2, 2, 0], 3);
        assert_eq!(labels, [0, 0, 1, 1, 2, 2, 2]);
    }
}
