//! A step: both sides, and what joins them, as tasks that wait for nothing but what they read.
//!
//! ```text
//! ahead    rows, cols     lines → q → samples → outputs → ŵ                         then, in the same task,
//! turn     rows, cols     gradients of outputs, decoder and contrast → r
//! joined                  cross-loss, joint space, Dirichlet prior                   after both `ahead`
//! back     rows, cols     gradients of mixture and encoder, Adam                     after its own `turn` and after `joined`
//! ```
//!
//! Products of one side are too small for all cores, so that both sides run side by side, and products are cut into parts that an
//! idle thread takes. Every task's numbers depend on what it reads alone, not on who runs it or when.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, Axis};
use rayon::Scope;

use super::super::bound::{Objective, Weights, noise};
use super::super::cells::{Cells, Joint as Space, LATENT};
use super::super::cross::{Cross, assignment, masses, slopes_of_information, squares_slope};
use super::super::likelihood::Law;
use super::super::side::{Contrast, Encoded, Joined, Pass, Rates, Seen, Side, noise_of};
use super::{Problem, State};
use crate::fit::{Draw, Seed};
use crate::linalg::matmul;
use crate::methods::cocluster::blocks::soft_profiles_of;

/// Cells of a step in the joint space.
const CELLS: usize = 512;
/// Epochs over which the cross-loss rises.
const RAMP: f64 = 5.0;

/// Two things that a task reads and two others make: who brings the second gets both.
struct Meeting<A, B>(Mutex<(Option<A>, Option<B>)>);

/// A task that panics ends the step, so that nobody reads what it left half done.
fn whole<T>(locked: Result<T, PoisonError<T>>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

impl<A, B> Meeting<A, B> {
    fn new() -> Meeting<A, B> {
        Meeting(Mutex::new((None, None)))
    }

    fn bring(&self, put: impl FnOnce(&mut (Option<A>, Option<B>))) -> Option<(A, B)> {
        let mut both = whole(self.0.lock());
        put(&mut both);
        match std::mem::take(&mut *both) {
            (Some(a), Some(b)) => Some((a, b)),
            some => {
                *both = some;
                None
            }
        }
    }
}

/// A side on its way back.
struct Turned<'a> {
    side: &'a mut Side<f32>,
    seen: Arc<Seen>,
    encoded: Encoded<f32>,
    weights: Weights,
    /// Gradient at the decoder's inputs.
    r: Array2<f64>,
}

/// The step under way.
struct Tasks<'a> {
    problem: &'a Problem<'a>,
    objective: Objective,
    rates: Rates,
    /// Seed and place of the noise of both sides.
    streams: [(Seed, u64); 2],
    items: [Vec<usize>; 2],
    contrasted: bool,
    /// What joins the sides works on these.
    joint: Mutex<(&'a mut State, &'a mut Option<Space<f32>>)>,
    seen: Meeting<Arc<Seen>, Arc<Seen>>,
    turned: [Meeting<Turned<'a>, Joined>; 2],
    /// F and contrast of both sides.
    told: Mutex<[[f64; 2]; 2]>,
}

impl Problem<'_> {
    /// X Δ of the lines of a batch, Δ the other side's bank.
    fn profile(&self, s: &State, at: usize, items: &[usize]) -> Array2<f64> {
        soft_profiles_of(&self.tables.cross[at], items, s.banks[1 - at].view())
    }

    /// What Q becomes, this side first, where the lines of a batch change their memberships.
    fn changed(
        &self,
        s: &State,
        at: usize,
        items: &[usize],
        gamma: &Array2<f64>,
        profile: &Array2<f64>,
    ) -> Array2<f64> {
        let old = s.banks[at].select(Axis(0), items);
        let q = if at == 0 { s.q.clone() } else { s.q.t().to_owned() };
        q + matmul((gamma - &old).t(), profile.view())
    }

    /// Adds the cross-loss to both sides, and moves banks and Q to the memberships at the codes.
    fn cross(&self, s: &mut State, seen: [&Seen; 2], joined: &mut [Joined; 2], weight: f64) {
        let p = self.params;
        let memberships = seen.map(|seen| seen.ready.responsibilities(seen.first().view(), p.temperature));
        if self.tables.kind == Cross::Assignment {
            let (_, rows, cols) = assignment(memberships[0].view(), memberships[1].view());
            for (at, slope) in [(0, rows), (1, cols)] {
                let (slope, gamma) = (slope * weight, memberships[at].view());
                seen[at].pull_memberships(gamma, slope.view(), p.temperature, &mut joined[at]);
            }
            return;
        }
        let profiles = [0, 1].map(|at| self.profile(s, at, &seen[at].items));
        for at in 0..2 {
            let (gamma, profile, items) = (&memberships[at], &profiles[at], &seen[at].items);
            let q = self.changed(s, at, items, gamma, profile);
            let slope = match self.tables.kind {
                Cross::Squares => {
                    let (n, m) = (masses(s.banks[at].view()), masses(s.banks[1 - at].view()));
                    let mean = Array2::from_shape_fn(q.dim(), |(r, c)| q[[r, c]] / (n[r] * m[c]));
                    // ½ of the sum of squares is the log-likelihood at unit variance.
                    0.5 * squares_slope(&mean, &m, profile.view())
                }
                _ => matmul(profile.view(), slopes_of_information(q.view()).t()),
            };
            let slope = slope * (-weight / items.len() as f64);
            seen[at].pull_memberships(gamma.view(), slope.view(), p.temperature, &mut joined[at]);
        }
        for at in 0..2 {
            let fresh = seen[at].ready.responsibilities(seen[at].posterior.mean.view(), p.temperature);
            // The rows of this step have moved when the columns' profile is taken again.
            let moved = (at == 1).then(|| self.profile(s, 1, &seen[1].items));
            let q = self.changed(s, at, &seen[at].items, &fresh, moved.as_ref().unwrap_or(&profiles[0]));
            s.q = if at == 0 { q } else { q.t().to_owned() };
            for (row, &i) in fresh.rows().into_iter().zip(&seen[at].items) {
                s.banks[at].row_mut(i).assign(&row);
            }
        }
    }

    /// Steps the joint space; the derivatives of its loss in z of both sides.
    fn join(
        &self,
        (seed, place): (Seed, u64),
        space: &mut Space<f32>,
        seen: [&Seen; 2],
        objective: Objective,
        rates: &Rates,
    ) -> [Array2<f64>; 2] {
        let (p, seed) = (self.params, seed.child(Draw::Latent, 2));
        let mut rng = seed.stream(Draw::Shuffle, place);
        let x = &self.tables.cross[0];
        let margins = self.tables.joint.as_ref().filter(|_| self.tables.law != Law::Gaussian);
        let margins = margins.map(|j| (&j.row_mass[..], &j.col_mass[..], j.total));
        let cells = Cells::draw(x, &seen[0].items, &seen[1].items, CELLS, margins, &mut rng);
        let k = p.samples;
        let [z, w] = seen.map(Seen::first);
        let noise = noise(CELLS * k, LATENT, &mut seed.stream(Draw::Latent, place));
        let noise = Array2::from_shape_vec((CELLS * k, LATENT), noise)
            .unwrap_or_else(|_| Array2::zeros((CELLS * k, LATENT)));
        // Beside a mean over rows: λ_J (m/10) times the mean over cells.
        let scale = p.joint * self.shape.1 as f64 / 10.0;
        let weights = (scale, p.nce * p.joint);
        let (_, dz, dw) = space.pass((&z, &w), &cells, objective, noise, weights, rates);
        space.descend(rates);
        [dz, dw]
    }

    /// What joins the sides: cross-loss, joint space, and the prior on the shares of clusters.
    fn joined(
        &self,
        s: &mut State,
        space: &mut Option<Space<f32>>,
        seen: [&Seen; 2],
        objective: Objective,
        rates: &Rates,
    ) -> [Joined; 2] {
        let p = self.params;
        let mut joined = seen.map(Seen::joined);
        if self.pretraining(s) {
            return joined;
        }
        let stream = (self.seed(s), (s.epoch as u64) << 32 | s.next as u64);
        let ((), of_space) = rayon::join(
            || {
                if p.kappa > 0.0 {
                    let ramp = ((s.epoch - p.pretrain + 1) as f64 / RAMP).min(1.0);
                    self.cross(s, seen, &mut joined, p.kappa * ramp);
                }
            },
            || space.as_mut().map(|space| self.join(stream, space, seen, objective, rates)),
        );
        for (to, dz) in joined.iter_mut().zip(of_space.into_iter().flatten()) {
            to.z += &dz;
        }
        if p.dirichlet != 1.0 {
            for at in 0..2 {
                seen[at].lean(p.dirichlet, self.lines(at), &mut joined[at]);
            }
        }
        joined
    }

    /// One step of everything.
    pub(super) fn descend(&self, s: &mut State, sides: &mut [Side<f32>; 2], space: &mut Option<Space<f32>>) {
        let p = self.params;
        // A line may be visited twice in an epoch, when the shorter side wraps round.
        let place = |at: usize| ((s.epoch * 128 + s.next / self.batches(at) % 64) * 2 + at) as u64;
        let tasks = Tasks {
            problem: self,
            objective: self.objective(s),
            rates: self.rates(s),
            streams: [0, 1].map(|at| (self.seed(s), place(at))),
            items: [self.items(s, 0), self.items(s, 1)],
            contrasted: !self.pretraining(s) && p.nce > 0.0,
            joint: Mutex::new((s, space)),
            seen: Meeting::new(),
            turned: [Meeting::new(), Meeting::new()],
            told: Mutex::new([[0.0; 2]; 2]),
        };
        let [rows, cols] = sides;
        rayon::scope(|scope| {
            scope.spawn(|scope| tasks.ahead(scope, 1, cols));
            tasks.ahead(scope, 0, rows);
        });
        let [[rows, told_rows], [cols, told_cols]] = whole(tasks.told.into_inner());
        for (sum, value) in s.sums.iter_mut().zip([rows, cols, told_rows + told_cols]) {
            *sum += value;
        }
    }
}

impl<'a> Tasks<'a> {
    /// Forward through one side, and back through its decoder.
    fn ahead<'s>(&'s self, scope: &Scope<'s>, at: usize, side: &'a mut Side<f32>) {
        let (p, data, items) = (self.problem.params, &self.problem.tables.sides[at], &self.items[at]);
        let (seed, place) = self.streams[at];
        let copies = self.contrasted.then_some((seed, place));
        let eps = noise_of(seed, place, items, p.samples, p.latent);
        let memory = (copies, std::mem::take(&mut side.spare));
        let Pass { seen, mut encoded, mut decoded } = side.forward(data, items, self.objective, eps, memory);
        let seen = Arc::new(seen);
        let mine = Some(seen.clone());
        if let Some(both) = self.seen.bring(|to| if at == 0 { to.0 = mine } else { to.1 = mine }) {
            scope.spawn(move |scope| self.joined(scope, both));
        }
        let contrast = Contrast { symmetric: p.symmetric, weight: p.nce, stream: (seed, place) };
        let contrast = self.contrasted.then_some(contrast);
        let (told, r) = side.turn(data, &seen, &mut encoded, &mut decoded, contrast);
        self.tell(at, 1, told);
        let weights;
        (weights, side.spare) = decoded.done();
        let turned = Turned { side, seen, encoded, weights, r };
        if let Some(both) = self.turned[at].bring(|to| to.0 = Some(turned)) {
            self.back(at, both);
        }
    }

    /// What joins the sides.
    fn joined<'s>(&'s self, scope: &Scope<'s>, (rows, cols): (Arc<Seen>, Arc<Seen>)) {
        let mut joint = whole(self.joint.lock());
        let (s, space) = &mut *joint;
        let joined = self.problem.joined(s, space, [&rows, &cols], self.objective, &self.rates);
        for (at, joined) in joined.into_iter().enumerate() {
            if let Some(both) = self.turned[at].bring(|to| to.1 = Some(joined)) {
                scope.spawn(move |_| self.back(at, both));
            }
        }
    }

    /// Back through mixture and encoder of one side, and its step.
    fn back(&self, at: usize, (turned, joined): (Turned<'a>, Joined)) {
        let Turned { side, seen, encoded, weights, r } = turned;
        let (objective, rates) = (self.objective, &self.rates);
        let value = side.backward_encoder(&seen, &encoded, weights, r.view(), &joined, objective, rates);
        side.descend(rates);
        self.tell(at, 0, value);
    }

    fn tell(&self, at: usize, what: usize, value: f64) {
        whole(self.told.lock())[at][what] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_the_second_thing_gets_both() {
        let meeting = Meeting::new();
        assert_eq!(meeting.bring(|to| to.1 = Some("b")), None);
        assert_eq!(meeting.bring(|to| to.0 = Some(1)), Some((1, "b")));
        assert_eq!(meeting.bring(|to| to.0 = Some(2)), None, "nothing is left of what was taken");
    }
}
