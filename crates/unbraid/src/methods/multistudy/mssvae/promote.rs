//! Promotion: a shared factor that lives in columns of single studies becomes a shared column.
//!
//! A study that lost a factor takes it for noise, so that no copy of it is left for [`merge`] to see. Whether a column c of study s,
//! with the set S of features, is a factor of study m too is asked of the decoder: the code of c is read from the samples of m by the
//! encoder of s, and
//!
//! ```text
//! gain_m(c) = Σ_{i ∈ m} (log p(x_iS | z_i, z_ic) − log p(x_iS | z_i) − KL_ic)
//! ```
//!
//! with z = μ and without the own columns of m that have most of their features in S. That encoder never saw the factors of m move:
//! their features, but for those in S, are set to their means over the samples of s. A gain in every other study makes c a
//! candidate, unless `merge` would join it with copies as it is; the largest gains go first, one for each set.
//!
//! A candidate moves into an empty shared column with all that the decoder knows of it, and the own columns of every study that
//! have most of their features in S are emptied. The shared encoder gets the regression of the codes, as read above, on its last
//! hidden layer.
//!
//! From the state before, L = E/10 epochs of the E are trained twice on the same mini-batches with the same noise, as it is and
//! with its candidates; the second run stays where its losses of the last L/2 epochs are lower, else the first. The run that is
//! made for comparison counts for no epoch. This is done where candidates are found after 50, 60 and 70 % of the epochs,
//! long after λ₀ has risen, until a trial fails. No truth is used.

use ndarray::{Array1, Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use super::train::{Problem, State};
use crate::linalg::cholesky::Cholesky;
use crate::linalg::gram;
use crate::methods::multistudy::elbo;
use crate::methods::multistudy::fused::Fused;
use crate::methods::multistudy::merge;
use crate::methods::multistudy::network::{Decode, Decoder, Network, Tile};
use crate::methods::multistudy::ssl::Membership;
use crate::nn::mlp::Encoder;

/// Tenths of the epochs after which candidates are looked for.
const DUE: [usize; 3] = [5, 6, 7];
/// Share of the features of a column that make it one on a set.
const MOST: f64 = 0.5;
/// Ridge of a regression, as a share of the mean square.
const RIDGE: f64 = 1e-4;

/// Where training stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    network: Network<f32>,
    membership: Membership,
    step: u64,
    epoch: usize,
}

/// A comparison that is under way.
#[derive(Debug, Serialize, Deserialize)]
struct Trial {
    start: Point,
    candidates: Vec<Candidate>,
    /// Epochs of this run so far.
    epochs: usize,
    /// Sum of its losses over the second half.
    losses: f64,
    /// The same of the run without, and where it came to; while that runs, nothing.
    without: Option<(f64, Point)>,
}

/// What a fit has promoted.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Promotions {
    trial: Option<Box<Trial>>,
    failed: bool,
    /// Columns that were promoted and stayed.
    pub made: usize,
}

/// A column to promote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// It, and the own columns on its set, which are emptied.
    pub column: usize,
    pub emptied: Vec<usize>,
    /// Its code of every sample of the data.
    codes: Vec<f32>,
    gain: f64,
}

impl Problem<'_> {
    /// After an epoch of this loss: compares what is on trial, or looks for candidates. Whether the epoch counts.
    pub(super) fn promote(&self, s: &mut State, loss: f64) -> bool {
        let length = self.params.epochs / 10;
        let Some(mut trial) = s.promotions.trial.take() else {
            let due = DUE.iter().any(|tenth| s.epoch == tenth * self.params.epochs / 10);
            if self.params.promote && due && length > 0 && !s.promotions.failed {
                let candidates = self.candidates(s);
                if !candidates.is_empty() {
                    let start = Point::of(s);
                    let trial = Trial { start, candidates, epochs: 0, losses: 0.0, without: None };
                    s.promotions.trial = Some(Box::new(trial));
                }
            }
            return true;
        };
        let counts = trial.without.is_some();
        trial.epochs += 1;
        if 2 * trial.epochs > length {
            trial.losses += loss;
        }
        if trial.epochs < length {
            s.promotions.trial = Some(trial);
            return counts;
        }
        match trial.without.take() {
            None => {
                trial.without = Some((trial.losses, Point::of(s)));
                (trial.epochs, trial.losses) = (0, 0.0);
                trial.start.clone().put_back(s);
                trial.candidates.iter().for_each(|c| self.apply(s, c));
                s.promotions.trial = Some(trial);
            }
            Some((losses, _)) if trial.losses < losses => s.promotions.made += trial.candidates.len(),
            Some((_, end)) => {
                end.put_back(s);
                s.promotions.failed = true;
            }
        }
        counts
    }

    /// Columns to promote, as many as there are empty shared ones, of falling gain.
    pub(super) fn candidates(&self, s: &State) -> Vec<Candidate> {
        let (owners, params) = (self.columns.owners(), self.params);
        let w = s.network.decoder.w.value.mapv(f64::from);
        // One owner for each column, so that there is no error.
        let mut parts = merge::parts(w.view(), &owners).unwrap_or_default();
        let sets: Vec<Vec<usize>> = parts.iter().map(|p| p.support(params.threshold)).collect();
        if params.merge {
            merge::merge(&mut parts, self.samples.len(), params.threshold, params.tau);
        }
        let copied = |k: usize| parts.iter().any(|p| p.from.len() > 1 && p.from.iter().any(|(c, _)| *c == k));
        let on = |c: usize, set: &[usize]| {
            let inside = sets[c].iter().filter(|j| set.contains(j)).count();
            owners[c].is_some() && inside > 0 && inside as f64 >= MOST * sets[c].len() as f64
        };
        let mut found = Vec::new();
        for (k, owner) in owners.iter().enumerate().filter_map(|(k, o)| Some((k, (*o)?))) {
            if sets[k].len() < params.min_support.max(2) || copied(k) {
                continue;
            }
            let emptied: Vec<usize> = (0..owners.len()).filter(|&c| on(c, &sets[k])).collect();
            let one = self.judged(&s.network, (k, owner), &sets, emptied);
            found.extend(one.filter(|c| !c.emptied.iter().any(|&c| copied(c))));
        }
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.column.cmp(&b.column)));
        let mut used = Vec::new();
        found.retain(|c| {
            let free = !c.emptied.iter().any(|k| used.contains(k));
            used.extend(c.emptied.iter().filter(|_| free));
            free
        });
        found.truncate(self.room(&s.network).count());
        found
    }

    /// Shared columns without any weight.
    fn room<'n>(&self, network: &'n Network<f32>) -> impl Iterator<Item = usize> + 'n {
        let threshold = self.params.threshold as f32;
        let w = &network.decoder.w.value;
        (0..self.columns.shared).filter(move |&k| w.column(k).iter().all(|w| w.abs() <= threshold))
    }

    /// Codes and gain of a column, where every other study gains.
    fn judged(
        &self,
        network: &Network<f32>,
        (k, owner): (usize, usize),
        sets: &[Vec<usize>],
        emptied: Vec<usize>,
    ) -> Option<Candidate> {
        let (set, encoder) = (&sets[k], network.own[owner].as_ref()?);
        let at = k - self.columns.own(owner).start;
        let decoder = network.decoder.of_features(set);
        let means = self.x.select(Axis(0), &self.samples[owner]).mean_axis(Axis(0))?;
        let mut candidate = Candidate { column: k, emptied, codes: vec![0.0; self.x.nrows()], gain: 0.0 };
        let mut others = 0;
        for (m, samples) in self.samples.iter().enumerate() {
            let x = self.x.select(Axis(0), samples);
            let mut seen = x.clone();
            if m != owner {
                let moved = self.columns.own(m).flat_map(|c| sets[c].iter().copied());
                for j in moved.filter(|j| !set.contains(j)) {
                    seen.column_mut(j).fill(means[j]);
                }
            }
            self.params.likelihood.read(&mut seen);
            let (mean, spread) = encoder.evaluate(seen.view());
            let (code, spread) = (mean.column(at), spread.column(at));
            samples.iter().zip(code).for_each(|(&i, z)| candidate.codes[i] = *z);
            if m == owner {
                continue;
            }
            let price: f64 = code
                .iter()
                .zip(spread)
                .map(|(z, s)| elbo::kl(f64::from(*z), f64::from(*s), (0.0, 1.0)))
                .sum();
            let gain = self.explained(network, &decoder, (m, &x), (set, &candidate), code) - price;
            if gain <= 0.0 {
                return None;
            }
            candidate.gain += gain;
            others += 1;
        }
        (others > 0).then_some(candidate)
    }

    /// Σ log p of the features of a set in a study with a foreign code, less that without.
    fn explained(
        &self,
        network: &Network<f32>,
        decoder: &Decoder<f32>,
        (m, x): (usize, &Array2<f32>),
        (set, candidate): (&[usize], &Candidate),
        code: ArrayView1<'_, f32>,
    ) -> f64 {
        let mut input = x.clone();
        self.params.likelihood.read(&mut input);
        let found = elbo::encode(network, m, input.view());
        let all = self.columns.of(m);
        let kept: Vec<usize> = (0..all.len()).filter(|&p| !candidate.emptied.contains(&all[p])).collect();
        let mut columns: Vec<usize> = kept.iter().map(|&p| all[p]).collect();
        let z = found.mean.select(Axis(1), &kept).reversed_axes();
        let x = x.select(Axis(1), set).reversed_axes().as_standard_layout().into_owned();
        let log_lik = |columns: &[usize], z: Array2<f32>| {
            let z = z.as_standard_layout().into_owned();
            let tile = Tile { columns: columns.to_vec(), z, x: x.clone(), size: found.size.clone() };
            Fused::new(false).pass(&mut decoder.clone(), &[tile], 1.0).log_lik
        };
        let without = log_lik(&columns, z.clone());
        columns.push(candidate.column);
        let mut more = z;
        // One more value of each sample, so that there is no error.
        let _ = more.push_row(code);
        log_lik(&columns, more) - without
    }

    /// Does a promotion.
    pub(super) fn apply(&self, s: &mut State, candidate: &Candidate) {
        let Some(to) = self.room(&s.network).next() else { return };
        s.network.decoder.move_column(candidate.column, to);
        let from = s.membership.member.column(candidate.column).to_owned();
        s.membership.member.column_mut(to).assign(&from);
        s.membership.eta[to] = s.membership.eta[candidate.column];
        let mut rows = Array2::zeros((0, 0));
        if let Some(encoder) = &s.network.shared {
            let mut input = self.x.clone();
            self.params.likelihood.read(&mut input);
            rows = encoder.top(input.view()).mapv(f64::from);
        }
        if let Some(encoder) = &mut s.network.shared {
            let codes = candidate.codes.iter().map(|z| f64::from(*z)).collect();
            let (slopes, constant, left) = regression(&rows, codes);
            encoder.set_output(to, &slopes, constant, left.clamp(1e-4, 1.0).ln());
        }
        for &c in &candidate.emptied {
            s.network.decoder.w.clear_column(c);
            s.membership.member.column_mut(c).fill(0.0);
            // A latent that still told of the set would bring the weights back.
            let owner = self.columns.owners()[c];
            let encoder: Option<&mut Encoder<f32>> = owner.and_then(|m| s.network.own[m].as_mut());
            if let (Some(encoder), Some(m)) = (encoder, owner) {
                let none = vec![0.0; encoder.mean.weight.value.ncols()];
                encoder.set_output(c - self.columns.own(m).start, &none, 0.0, 0.0);
            }
        }
    }
}

impl Point {
    fn of(s: &State) -> Point {
        Point { network: s.network.clone(), membership: s.membership.clone(), step: s.step, epoch: s.epoch }
    }

    fn put_back(self, s: &mut State) {
        (s.network, s.membership, s.step, s.epoch) = (self.network, self.membership, self.step, self.epoch);
    }
}

/// Regression of y on the columns of `a` and a constant with a small ridge: slopes, constant, mean square that is left.
fn regression(a: &Array2<f64>, y: Array1<f64>) -> (Vec<f64>, f64, f64) {
    let n = a.nrows().max(1) as f64;
    let (mean, middle) = (a.sum_axis(Axis(0)) / n, y.sum() / n);
    let (centred, y) = (a - &mean, y - middle);
    let mut square = gram(centred.t());
    let ridge = RIDGE * square.diag().sum() / a.ncols().max(1) as f64 + 1e-9;
    square.diag_mut().mapv_inplace(|v| v + ridge);
    let right = centred.t().dot(&y).to_vec();
    let slopes = Cholesky::new(square.view()).map_or(vec![0.0; a.ncols()], |c| c.solve(&right));
    let fitted = centred.dot(&Array1::from(slopes.clone()));
    let left = (&y - &fitted).mapv(|v| v * v).sum() / n;
    let constant = middle - mean.iter().zip(&slopes).map(|(m, b)| m * b).sum::<f64>();
    (slopes, constant, left)
}

#[cfg(test)]
mod tests;
