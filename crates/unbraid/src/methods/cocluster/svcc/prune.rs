//! Fewer clusters than asked for.
//!
//! ```text
//! a component goes where π_c < 1/(2n) or no line has its largest membership there;
//! two become one where ½ (KL(N_a ‖ N_b) + KL(N_b ‖ N_a)) < 0.1: the larger share keeps its place and takes the other's
//! ```

use ndarray::{Array2, ArrayView2};

use super::mixture::{Mixture, Ready};
use crate::methods::cocluster::start::hardest;

/// Half-sum of divergences below which components are one.
const SAME: f64 = 0.1;

/// The components that stay, and the shares they have then.
pub fn survivors(mixture: &Mixture, membership: ArrayView2<'_, f64>) -> (Vec<usize>, Vec<f64>) {
    let ready = mixture.ready();
    let n = membership.nrows().max(1) as f64;
    let mut shares = ready.shares.clone();
    let mut held = vec![false; shares.len()];
    hardest(membership).into_iter().for_each(|c| held[c] = true);
    let mut stay: Vec<bool> = held.iter().zip(&shares).map(|(h, s)| *h && *s >= 0.5 / n).collect();
    let apart = distances(mixture, &ready);
    let mut order: Vec<usize> = (0..shares.len()).filter(|c| stay[*c]).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
    for (at, &a) in order.iter().enumerate() {
        for &b in &order[at + 1..] {
            if stay[a] && stay[b] && apart[[a, b]] < SAME {
                stay[b] = false;
                shares[a] += shares[b];
            }
        }
    }
    let kept: Vec<usize> = (0..shares.len()).filter(|c| stay[*c]).collect();
    // A mixture of nothing is none.
    if kept.is_empty() {
        return ((0..shares.len()).collect(), shares);
    }
    let left = kept.iter().map(|c| shares[*c]).collect();
    (kept, left)
}

/// ½ (KL(N_a ‖ N_b) + KL(N_b ‖ N_a)) of every pair.
fn distances(mixture: &Mixture, ready: &Ready) -> Array2<f64> {
    let components = ready.len();
    let mut from = Array2::zeros((components, components));
    for c in 0..components {
        let (m, lv) =
            (mixture.mean.value.row(c).to_vec(), mixture.log_sigma.value.row(c).mapv(|l| 2.0 * l).to_vec());
        if let Some(to) = from.row_mut(c).as_slice_mut() {
            ready.kl(&m, &lv, to);
        }
    }
    (&from + &from.t()) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn empty_components_go_and_copies_become_one() {
        let mean = array![[0.0, 0.0], [3.0, 0.0], [3.05, 0.0], [-4.0, 1.0]];
        let mixture = Mixture::new(mean, &Array2::ones((4, 2)), &[0.3, 0.25, 0.25, 0.2]);
        let points = array![[0.1, 0.0], [2.9, 0.0], [3.1, 0.1], [0.0, 0.2]];
        let (stay, shares) = survivors(&mixture, mixture.responsibilities(points.view(), 1.0).view());
        assert_eq!(stay, [0, 1], "component 2 is a copy of 1, and nothing lies in 3");
        assert!((shares[1] - 0.5).abs() < 1e-12);
    }
}
