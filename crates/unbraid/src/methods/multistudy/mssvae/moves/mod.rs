//! Moves between supports that gradients do not make, each tried out and kept only where the objective gains.
//!
//! Two columns that hold two factors turned into each other do not part; the squares of a factor may sit in a column of
//! their own; a feature whose weight is 0 does not come back where its slope at 0 is 0, as that of a square; and a shared factor
//! that studies learnt in columns of their own, or only one of them did, is not seen by the shared encoder. All leave a trace in
//! the residuals ([`propose`]).
//!
//! | move    | taken out                                 | where                                 | then                        |
//! |---------|-------------------------------------------|---------------------------------------|-----------------------------|
//! | join    | nothing                                   | features' residuals follow a code     | a weight for each           |
//! | drop    | an own column                             | a shared one has most of its features | that one has all            |
//! | promote | own columns on the set of one of them     | the set is a group in every study     | a shared column on it       |
//! | part    | columns of which one has most of another's features, or one column | other groups where they were | a column for each group |
//!
//! Moves begin when 55 % of the epochs are over, long after λ₀ has risen, and end in time for a last twenty-fifth without. From
//! a state with something to try, T = 0.08 · epochs are trained as ever; then from the same state with all moves that touch
//! different columns, on the same mini-batches; both in steps that shrink, as what the loss wavers by in full steps is more than a
//! move gains. With F the features and C the columns that a move touches, the two runs are compared by its part of the objective,
//!
//! ```text
//! mean_i (Σ_{j ∈ F} −log p(x_ij | z_i) + Σ_{k ∈ C} KL_ik) − (Σ_{k ∈ C} log p(w_k, η_k) + Σ_{j ∈ F} log p(σ_j))/D,
//! log p(w_k, η_k) = Σ_j log(η_k ψ(w_jk | λ₁) + (1 − η_k) ψ(w_jk | λ₀)) + log Beta(η_k | a, b),
//! ```
//!
//! over all samples, studies counting alike, with one draw of z_i that is the same in both, and averaged over the last quarter of the
//! epochs; ψ is the Laplace density. If all moves gain, their run goes on; if some do, they are run by themselves once more;
//! if none, the other run goes on. Epochs of trials count as epochs, so that moves take no more time than is set;
//! without anything to try, a fit is the same as without moves. No truth is used.

mod apply;
mod propose;

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use self::propose::Scene;
use super::train::{Problem, State};
use crate::fit::Draw;
use crate::methods::multistudy::elbo;
use crate::methods::multistudy::likelihood::Law;
use crate::methods::multistudy::network::{Network, Tile};
use crate::methods::multistudy::plain::Plain;
use crate::methods::multistudy::ssl::Membership;
use crate::metrics::supports::jaccard;

/// Jaccard index from which two sets of features make the same move.
const SAME: f64 = 0.8;
/// Shares of the epochs between which moves are tried.
const SPAN: [f64; 2] = [0.55, 0.96];
/// Share of the epochs that a run of a trial takes.
const RUN: f64 = 0.08;
/// What step sizes are multiplied by in the first and in the last epoch of a run.
const PACE: [f64; 2] = [0.5, 0.05];

/// What is done with a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Move {
    /// Columns that are emptied.
    empty: Vec<usize>,
    /// Columns that are filled anew, and their features.
    fill: Vec<(usize, Vec<usize>)>,
    /// Columns that keep their codes and gain features.
    join: Vec<(usize, Vec<usize>)>,
    /// Features that those columns have, or gain.
    features: Vec<usize>,
}

impl Move {
    /// Every column it touches, rising.
    fn columns(&self) -> BTreeSet<usize> {
        let anew = self.fill.iter().chain(&self.join).map(|(k, _)| *k);
        self.empty.iter().copied().chain(anew).collect()
    }

    /// Whether it does much the same.
    fn like(&self, other: &Move) -> bool {
        let pairs = |a: &[(usize, Vec<usize>)], b: &[(usize, Vec<usize>)]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && jaccard(&a.1, &b.1) >= SAME)
        };
        self.empty == other.empty && pairs(&self.fill, &other.fill) && pairs(&self.join, &other.join)
    }
}

/// Where training stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    network: Network<f32>,
    membership: Membership,
    step: u64,
    epoch: usize,
}

impl Point {
    fn of(s: &State) -> Point {
        Point { network: s.network.clone(), membership: s.membership.clone(), step: s.step, epoch: s.epoch }
    }

    fn put_back(self, s: &mut State) {
        (s.network, s.membership, s.step, s.epoch) = (self.network, self.membership, self.step, self.epoch);
    }
}

/// Moves on trial.
#[derive(Debug, Serialize, Deserialize)]
struct Trial {
    start: Point,
    moves: Vec<Move>,
    /// Epochs of this run so far.
    epochs: usize,
    /// Sums of each move's part of the objective over the last epochs of this run.
    sums: Vec<f64>,
    /// The same sums of the run without moves, and where it came to; while that runs, nothing.
    without: Option<(Vec<f64>, Point)>,
    /// Whether moves that did not gain have been left out.
    again: bool,
}

/// Moves tried and kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::methods::multistudy) struct Moves {
    /// Epochs trained, trials included.
    epochs: usize,
    trial: Option<Box<Trial>>,
    tried: Vec<Move>,
    /// How many stayed.
    pub kept: usize,
}

/// Epochs of a run of a trial.
fn run(epochs: usize) -> usize {
    (RUN * epochs as f64) as usize
}

impl Moves {
    /// What step sizes are multiplied by.
    pub fn pace(&self, epochs: usize) -> f64 {
        let Some(trial) = &self.trial else { return 1.0 };
        let last = (run(epochs).max(2) - 1) as f64;
        let [from, to] = PACE;
        from + (to - from) * trial.epochs as f64 / last
    }
}

impl Problem<'_> {
    /// After an epoch: judges what is on trial, and tries what there is to try.
    pub(super) fn consider(&self, s: &mut State) {
        if !self.params.moves || self.params.likelihood != Law::Gaussian {
            return;
        }
        s.moves.epochs += 1;
        let length = run(self.params.epochs);
        let [from, to] = SPAN.map(|share| (share * self.params.epochs as f64) as usize);
        // Room for a run, and for another one.
        let room = |runs: usize| s.moves.epochs + runs * length <= to;
        let Some(mut trial) = s.moves.trial.take() else {
            let due = length > 0 && s.moves.epochs >= from && room(2);
            if due && (s.moves.epochs - from).is_multiple_of(length.div_ceil(4)) {
                let moves = self.proposals(s);
                if !moves.is_empty() {
                    let (start, sums) = (Point::of(s), vec![0.0; moves.len()]);
                    s.moves.trial =
                        Some(Box::new(Trial { start, moves, epochs: 0, sums, without: None, again: false }));
                }
            }
            return;
        };
        trial.epochs += 1;
        if 4 * trial.epochs > 3 * length {
            let parts = self.parts(s, &trial.moves);
            trial.sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        if trial.epochs < length {
            s.moves.trial = Some(trial);
            return;
        }
        let sums = std::mem::replace(&mut trial.sums, vec![0.0; trial.moves.len()]);
        let (before, end) = match trial.without.take() {
            None => {
                trial.without = Some((sums, Point::of(s)));
                return self.rerun(s, trial);
            }
            Some(without) => without,
        };
        let gains: Vec<bool> = sums.iter().zip(&before).map(|(with, without)| with < without).collect();
        let all = match trial.again {
            false => gains.iter().all(|g| *g),
            true => sums.iter().sum::<f64>() < before.iter().sum::<f64>(),
        };
        if all {
            s.moves.kept += trial.moves.len();
        } else if trial.again || !gains.contains(&true) || !room(1) {
            end.put_back(s);
        } else {
            let kept =
                |v: &[f64]| v.iter().zip(&gains).filter(|(_, g)| **g).map(|(v, _)| *v).collect::<Vec<f64>>();
            trial.without = Some((kept(&before), end));
            trial.sums = kept(&trial.sums);
            let mut gains = gains.iter();
            trial.moves.retain(|_| gains.next() == Some(&true));
            trial.again = true;
            self.rerun(s, trial);
        }
    }

    /// Back to the start of a trial, and on with its moves.
    fn rerun(&self, s: &mut State, mut trial: Box<Trial>) {
        trial.start.clone().put_back(s);
        trial.moves.iter().for_each(|one| self.apply(s, one));
        if !trial.again {
            s.moves.tried.extend_from_slice(&trial.moves);
        }
        trial.epochs = 0;
        s.moves.trial = Some(trial);
    }

    /// Moves that are worth a trial, were not tried, and touch different columns.
    fn proposals(&self, s: &State) -> Vec<Move> {
        let scene = Scene::new(self, &s.network);
        let mut found: Vec<Move> = Vec::new();
        for propose in [Scene::partings, Scene::promotions, Scene::joins, Scene::drops] {
            for mut one in propose(&scene) {
                one.features = scene.features(&one);
                let known = s.moves.tried.iter().any(|t| t.like(&one));
                if !known && found.iter().all(|m| m.columns().is_disjoint(&one.columns())) {
                    found.push(one);
                }
            }
        }
        found
    }

    /// The parts of the objective that moves touch, each by itself.
    fn parts(&self, s: &State, moves: &[Move]) -> Vec<f64> {
        let (decoder, slab) = (&s.network.decoder, self.slab(s.epoch));
        let divisor = self.divisor(self.params.batch);
        let columns: Vec<BTreeSet<usize>> = moves.iter().map(Move::columns).collect();
        let mut sums: Vec<f64> = (0..moves.len())
            .map(|at| {
                let mut prior = 0.0;
                for &k in &columns[at] {
                    prior += s.membership.log_density(&slab, k, decoder.w.value.column(k));
                }
                for &j in &moves[at].features {
                    let l = f64::from(decoder.noise.value[[0, j]]);
                    prior += self.start.law.map_or(0.0, |law| law.log_density(l));
                }
                -prior / divisor
            })
            .collect();
        for (study, samples) in self.samples.iter().enumerate() {
            let x = self.x.select(Axis(0), samples);
            let found = elbo::encode(&s.network, study, x.view());
            let (n, seen) = (samples.len(), self.columns.of(study));
            let mut rng = s.seed.stream(Draw::Restart, study as u64);
            let mut z = found.mean.clone();
            for (z, s) in z.iter_mut().zip(&found.log_variance) {
                let e: f32 = StandardNormal.sample(&mut rng);
                *z += (0.5 * s).exp() * e;
            }
            let z = z.t().as_standard_layout().into_owned();
            let tile = Tile { columns: seen.clone(), z, x: Array2::default((0, 0)), size: Vec::new() };
            for ((sum, one), columns) in sums.iter_mut().zip(moves).zip(&columns) {
                let o = Plain::outputs(&decoder.of_features(&one.features), &tile);
                let mut part = 0.0;
                for (&j, o) in one.features.iter().zip(o.rows()) {
                    let l = f64::from(decoder.noise.value[[0, j]]);
                    let square: f64 = x.column(j).iter().zip(o).map(|(x, o)| f64::from(x - o).powi(2)).sum();
                    part += n as f64 * l + 0.5 * square * (-2.0 * l).exp();
                }
                for at in (0..seen.len()).filter(|&at| columns.contains(&seen[at])) {
                    let codes = found.mean.column(at).into_iter().zip(found.log_variance.column(at));
                    part +=
                        codes.map(|(m, s)| elbo::kl(f64::from(*m), f64::from(*s), (0.0, 1.0))).sum::<f64>();
                }
                *sum += part / (n * self.samples.len()) as f64;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests;
