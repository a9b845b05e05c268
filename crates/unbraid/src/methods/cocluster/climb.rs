//! Several ascents from different starts, of which the best one is kept.
//!
//! A method states a start and a sweep ([`Climb`]); the loop, its cancelling and resuming are those of [`crate::fit::drive`]. One
//! sweep is a part of a step, a whole ascent a step, and the objective after it is the best so far.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::Result;
use crate::fit::{Ctx, Draw, Iterate, Seed, Step, Stop, StopRule, drive};

/// An ascent that can start anywhere.
pub trait Climb {
    /// Where an ascent is.
    type Point: Clone + Serialize + DeserializeOwned;
    /// The start of ascent number `at`, from a seed of its own.
    fn begin(&self, at: usize, seed: Seed) -> Result<Self::Point>;
    /// One sweep; the objective after it, which is to be large, and whether the ascent has ended.
    fn sweep(&self, point: &mut Self::Point) -> Result<(f64, bool)>;
}

/// How many ascents, and the most sweeps of each.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// Ascents.
    pub restarts: usize,
    /// Sweeps of one.
    pub sweeps: usize,
}

/// The ascent under way and the best before it.
#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Serialize + DeserializeOwned")]
struct State<P> {
    seed: Seed,
    restart: usize,
    now: Option<P>,
    sweeps: usize,
    best: Option<(f64, P)>,
    /// Ascents that ran out of sweeps.
    unfinished: usize,
}

struct Loop<'a, C> {
    climb: &'a C,
    tries: Tries,
}

impl<C: Climb> Iterate for Loop<'_, C> {
    type State = State<C::Point>;

    fn start(&self, seed: Seed) -> Result<Self::State> {
        Ok(State { seed, restart: 0, now: None, sweeps: 0, best: None, unfinished: 0 })
    }

    fn step(&self, s: &mut Self::State) -> Result<Step> {
        let mut point = match s.now.take() {
            Some(point) => point,
            None => self.climb.begin(s.restart, s.seed.child(Draw::Restart, s.restart as u64))?,
        };
        let (after, ended) = self.climb.sweep(&mut point)?;
        s.sweeps += 1;
        if !ended && s.sweeps < self.tries.sweeps {
            s.now = Some(point);
            return Ok(Step::Part);
        }
        s.unfinished += usize::from(!ended);
        // A value that is not finite would stay the best for ever.
        if s.best.as_ref().is_none_or(|(best, _)| after > *best) {
            s.best = Some((after, point));
        }
        (s.restart, s.sweeps) = (s.restart + 1, 0);
        Ok(Step::Sweep(s.best.as_ref().map_or(after, |b| b.0)))
    }

    fn converged(&self, _: &Self::State, _: f64, objective: &[f64]) -> bool {
        objective.len() >= self.tries.restarts
    }
}

/// The end of the best ascent.
pub struct Summit<P> {
    /// Where it is.
    pub point: P,
    /// The best objective after each ascent.
    pub objective: Vec<f64>,
    /// How the loop ended.
    pub stop: Stop,
}

/// Climbs from every start.
///
/// # Errors
/// Those of [`drive`] and of the climb.
pub fn climb<C: Climb>(method: &C, name: &str, tries: Tries, ctx: &mut Ctx<'_>) -> Result<Summit<C::Point>> {
    let rule = StopRule { max_steps: tries.restarts, tol: 0.0 };
    let seed = ctx.seed;
    let (course, stop) = drive(&Loop { climb: method, tries }, rule, ctx)?;
    let state = course.state;
    if state.unfinished > 0 {
        let (some, all) = (state.unfinished, state.restart);
        ctx.warn(format!(
            "{name}: {some} of {all} restarts took all {} sweeps and were still rising; set a larger `max_steps`.",
            tries.sweeps
        ));
    }
    // A fit that was stopped in its first ascent is where that ascent is.
    let point = match (state.best, state.now) {
        (Some((_, point)), _) | (None, Some(point)) => point,
        (None, None) => method.begin(0, seed.child(Draw::Restart, 0))?,
    };
    Ok(Summit { point, objective: course.objective, stop })
}
