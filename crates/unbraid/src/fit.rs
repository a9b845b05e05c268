//! The contract every method keeps: parameters in, a typed fit out, one loop for all iterations.
//!
//! A method is its parameters ([`Method`]). An iterative method states a start and a step
//! ([`Iterate`]) and lets [`drive`] own the loop: the stop rule, cancelling, snapshots and resuming
//! are written once. Randomness comes from [`Seed`] alone, one stream per purpose and item, so that a
//! result does not depend on the number of threads.

use std::ops::Range;

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::data::Annotations;
use crate::error::{Error, Result};
use crate::params::Params;

/// A method is its parameters: a plain struct with public fields.
pub trait Method: Params {
    /// Name in commands, files and messages.
    const NAME: &'static str;
    /// Borrowed view of exactly the data this method reads.
    type Input<'a>: Check;
    /// The typed result.
    type Fitted: Annotate;

    /// Refuses parameters outside their range.
    fn validate(&self) -> Result<()>;

    /// The algorithm; parameters and input are already good.
    fn run(&self, input: Self::Input<'_>, ctx: &mut Ctx<'_>) -> Result<Self::Fitted>;

    /// The one door for callers, so that no check can be forgotten: validates the parameters, checks
    /// the input, ties snapshots to both, and runs.
    fn fit(&self, input: Self::Input<'_>, ctx: &mut Ctx<'_>) -> Result<Self::Fitted> {
        self.validate()?;
        input.check()?;
        ctx.tag = Some(Tag::of(Self::NAME, self, &input, ctx.seed)?);
        self.run(input, ctx)
    }
}

/// Input that can say what is wrong with it, and that has a fingerprint.
pub trait Check {
    /// Refuses what no method could use: wrong shapes, values that are not finite.
    fn check(&self) -> Result<()>;
    /// Feeds every value that can change the result to the hash.
    fn digest(&self, hash: &mut Sha256);
}

/// Turns a typed fit into plain tables under AnnData names.
pub trait Annotate {
    /// Adds this fit's slots to `out`, named after `key`.
    fn annotate(&self, key: &str, out: &mut Annotations);
}

/// Rows of a matrix, a block at a time: dense, CSR, or a file larger than memory.
///
/// Mini-batch methods and sums of statistics read only through this.
pub trait Rows: Sync {
    /// Rows and columns.
    fn shape(&self) -> (usize, usize);
    /// Overwrites `into` (made `rows.len()` × columns) with the given rows.
    fn block(&self, rows: Range<usize>, into: &mut Array2<f32>) -> Result<()>;
}

/// What surrounds a fit without being data or parameters. Threads are the caller's rayon pool.
pub struct Ctx<'a> {
    /// Seed of every random stream of the fit.
    pub seed: Seed,
    /// Is told of every step; decides when to save and when to stop.
    pub observer: &'a mut (dyn Observer + Send),
    /// A snapshot to go on from.
    pub resume: Option<Vec<u8>>,
    /// Ties snapshots to method, parameters, data and seed; set by [`Method::fit`].
    pub tag: Option<Tag>,
    /// Largest memory the fit may ask for, in bytes; `None` is no limit.
    pub max_memory: Option<u64>,
    /// What the user should know about this run, in whole sentences.
    pub warnings: Vec<String>,
}

impl<'a> Ctx<'a> {
    /// A context with nothing to resume and no memory limit.
    pub fn new(seed: Seed, observer: &'a mut (dyn Observer + Send)) -> Self {
        Ctx { seed, observer, resume: None, tag: None, max_memory: None, warnings: Vec::new() }
    }

    /// Records a warning once.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Refuses a fit whose estimated peak is above the limit.
    ///
    /// # Errors
    /// [`Error::Memory`] with the estimate.
    pub fn reserve(&self, needs: u64, hint: &'static str) -> Result<()> {
        match self.max_memory {
            Some(cap) if needs > cap => Err(Error::Memory { needs, cap, hint }),
            _ => Ok(()),
        }
    }
}

/// The seed of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub u64);

/// What a random stream is for.
#[derive(Clone, Copy, Debug)]
pub enum Draw {
    /// Starting values.
    Init = 1,
    /// Orders of rows or features.
    Shuffle,
    /// Latent variables.
    Latent,
    /// Restarts and refits.
    Restart,
    /// Simulated data.
    Simulate,
}

impl Seed {
    /// Stream of one purpose and one item (cell, restart, block): equal on one thread or sixty-four.
    pub fn stream(self, draw: Draw, item: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream((draw as u64) << 48 | item);
        rng
    }

    /// Seed of a fit inside a fit: a restart, a half-sample, one value of k.
    pub fn child(self, draw: Draw, item: u64) -> Seed {
        Seed(self.stream(draw, item).next_u64())
    }
}

/// What an observer wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Hand me the state, go on.
    Save,
    /// Hand me the state, return the model so far.
    Stop,
}

/// Watches a fit from outside: bars, checkpoints, interrupts.
pub trait Observer {
    /// Called after every step with the number of whole sweeps so far and the most there can be.
    fn step(&mut self, _at: Step, _sweeps: usize, _of: usize) -> Flow {
        Flow::Continue
    }
    /// Takes a sealed snapshot after [`Flow::Save`] or [`Flow::Stop`].
    ///
    /// # Errors
    /// Whatever kept it from being stored; the fit stops with it.
    fn snapshot(&mut self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Observer for () {}

/// One step is a whole sweep with the objective after it, or a part of a long one (a mini-batch) or of a long start, so that saving never
/// waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Part of what comes before the first sweep: so much of so much is done.
    Start(usize, usize),
    /// Part of a sweep.
    Part,
    /// A whole sweep and the objective after it.
    Sweep(f64),
}

/// An iterative algorithm bound to its data: a start and a step, no loop.
pub trait Iterate {
    /// All that changes between steps, positions in the draws included; phases are an enum in here.
    type State: Serialize + DeserializeOwned;
    /// The state before the first step.
    fn start(&self, seed: Seed) -> Result<Self::State>;
    /// One step; must leave the state such that a stored copy of it continues to the same bits.
    fn step(&self, state: &mut Self::State) -> Result<Step>;
    /// Whether the rule `tol` is met. Override where the paper stops differently (MED-MAGMA stops on
    /// the change of the precisions).
    fn converged(&self, _state: &Self::State, tol: f64, objective: &[f64]) -> bool {
        matches!(objective, [.., a, b] if (a - b).abs() <= tol * a.abs())
    }
}

/// When a loop ends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StopRule {
    /// Most sweeps.
    pub max_steps: usize,
    /// Tolerance, in the method's own measure.
    pub tol: f64,
}

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The tolerance was met.
    Converged,
    /// The sweeps ran out.
    MaxSteps,
    /// The observer said stop.
    Cancelled,
}

impl Stop {
    /// The word written to `uns[key]["stop"]`.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Converged => "converged",
            Stop::MaxSteps => "max_steps",
            Stop::Cancelled => "cancelled",
        }
    }
}

/// State and history; this is what a snapshot stores behind its [`Tag`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Course<S> {
    /// The method's own state.
    pub state: S,
    /// The objective after each whole sweep.
    pub objective: Vec<f64>,
}

/// The one loop: stop rule, cancel, snapshot, resume. The rule is tested first, so that a resumed fit
/// takes no extra step.
///
/// # Errors
/// [`Error::Diverged`] when an objective is not finite, [`Error::Snapshot`] when the snapshot to
/// resume belongs to another fit, and whatever the step or the observer fails with.
pub fn drive<P: Iterate>(p: &P, rule: StopRule, ctx: &mut Ctx<'_>) -> Result<(Course<P::State>, Stop)> {
    let mut course: Course<P::State> = match ctx.resume.take() {
        Some(bytes) => unseal(ctx.tag.as_ref(), &bytes)?,
        None => Course { state: p.start(ctx.seed)?, objective: Vec::new() },
    };
    loop {
        if p.converged(&course.state, rule.tol, &course.objective) {
            return Ok((course, Stop::Converged));
        }
        if course.objective.len() >= rule.max_steps {
            return Ok((course, Stop::MaxSteps));
        }
        let at = p.step(&mut course.state)?;
        if let Step::Sweep(objective) = at {
            if !objective.is_finite() {
                return Err(Error::Diverged { step: course.objective.len() + 1 });
            }
            course.objective.push(objective);
        }
        let flow = ctx.observer.step(at, course.objective.len(), rule.max_steps);
        if flow != Flow::Continue {
            let bytes = seal(ctx.tag.as_ref(), &course)?;
            ctx.observer.snapshot(&bytes)?;
        }
        if flow == Flow::Stop {
            return Ok((course, Stop::Cancelled));
        }
    }
}

/// What a snapshot belongs to. All four must agree before a fit goes on from one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// [`Method::NAME`].
    pub method: String,
    /// Version of this crate.
    pub version: String,
    /// SHA-256 of the parameters.
    pub params: [u8; 32],
    /// SHA-256 of the input.
    pub data: [u8; 32],
    /// The seed.
    pub seed: u64,
}

impl Tag {
    /// Fingerprint of one fit.
    fn of(method: &str, params: &impl Serialize, input: &impl Check, seed: Seed) -> Result<Tag> {
        // JSON, not the snapshot's own encoding: parameters may use serde forms that need names.
        let text = serde_json::to_vec(params).map_err(|e| Error::Snapshot(e.to_string()))?;
        let mut data = Sha256::new();
        input.digest(&mut data);
        Ok(Tag {
            method: method.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            params: Sha256::digest(&text).into(),
            data: data.finalize().into(),
            seed: seed.0,
        })
    }

    /// Why a snapshot with the tag `self` cannot continue the fit `wanted`.
    fn mismatch(&self, wanted: &Tag) -> Option<String> {
        if self.method != wanted.method {
            return Some(format!("it belongs to method `{}`, not `{}`", self.method, wanted.method));
        }
        if self.version != wanted.version {
            return Some(format!("it was written by version {}, this is {}", self.version, wanted.version));
        }
        if self.seed != wanted.seed {
            return Some(format!("it was started with seed {}, not {}", self.seed, wanted.seed));
        }
        if self.params != wanted.params {
            return Some("it was started with other parameters".into());
        }
        (self.data != wanted.data).then(|| "it was started on other data".into())
    }
}

/// First bytes of every snapshot.
const MAGIC: &[u8; 8] = b"unbraid1";

/// `MAGIC | SHA-256 of the rest | tag | course`.
fn seal<S: Serialize>(tag: Option<&Tag>, course: &Course<S>) -> Result<Vec<u8>> {
    let fault = |e: postcard::Error| Error::Snapshot(e.to_string());
    let body = postcard::to_stdvec(&(tag, course)).map_err(fault)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&Sha256::digest(&body));
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Opens what [`seal`] made, if it belongs to `tag`.
fn unseal<S: DeserializeOwned>(tag: Option<&Tag>, bytes: &[u8]) -> Result<Course<S>> {
    const HINT: &str = "delete it, or name another checkpoint file, to start afresh";
    let damaged = || Error::Snapshot(format!("the checkpoint is damaged or not one of ours; {HINT}"));
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(damaged)?;
    let (sum, body) = rest.split_at_checked(32).ok_or_else(damaged)?;
    if Sha256::digest(body).as_slice() != sum {
        return Err(damaged());
    }
    let (found, rest): (Option<Tag>, &[u8]) = postcard::take_from_bytes(body).map_err(|_| damaged())?;
    if let (Some(found), Some(wanted)) = (&found, tag)
        && let Some(why) = found.mismatch(wanted)
    {
        return Err(Error::Snapshot(format!("the checkpoint cannot be resumed: {why}; {HINT}")));
    }
    postcard::from_bytes(rest).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves a number; the objective is the number.
    struct Halve;

    impl Iterate for Halve {
        type State = f64;
        fn start(&self, _: Seed) -> Result<f64> {
            Ok(1.0)
        }
        fn step(&self, x: &mut f64) -> Result<Step> {
            *x /= 2.0;
            Ok(Step::Sweep(*x))
        }
        fn converged(&self, x: &f64, tol: f64, _: &[f64]) -> bool {
            *x < tol
        }
    }

    /// Stops at one step and keeps the snapshot.
    struct StopAt(usize, Vec<u8>);

    impl Observer for StopAt {
        fn step(&mut self, _: Step, sweeps: usize, _: usize) -> Flow {
            if sweeps == self.0 { Flow::Stop } else { Flow::Continue }
        }
        fn snapshot(&mut self, bytes: &[u8]) -> Result<()> {
            self.1 = bytes.to_vec();
            Ok(())
        }
    }

    fn tag(seed: u64) -> Tag {
        Tag { method: "halve".into(), version: "1".into(), params: [0; 32], data: [0; 32], seed }
    }

    #[test]
    fn a_resumed_fit_takes_the_same_steps_and_no_extra_one() {
        let rule = StopRule { max_steps: 100, tol: 1e-3 };
        let whole = drive(&Halve, rule, &mut Ctx::new(Seed(0), &mut ())).unwrap();
        for at in 1..=10 {
            let mut stop = StopAt(at, Vec::new());
            let (_, how) = drive(&Halve, rule, &mut Ctx::new(Seed(0), &mut stop)).unwrap();
            assert_eq!(how, Stop::Cancelled);
            let (mut no, mut ctx) = ((), None);
            let ctx = ctx.insert(Ctx::new(Seed(0), &mut no));
            ctx.resume = Some(stop.1);
            let (course, how) = drive(&Halve, rule, ctx).unwrap();
            assert_eq!(how, Stop::Converged);
            assert_eq!(course.objective, whole.0.objective);
        }
    }

    #[test]
    fn a_snapshot_of_another_fit_is_refused_with_the_reason() {
        let course = Course { state: 0.5, objective: vec![0.5] };
        let bytes = seal(Some(&tag(1)), &course).unwrap();
        let why = unseal::<f64>(Some(&tag(2)), &bytes).unwrap_err().to_string();
        assert!(why.contains("seed 1, not 2"), "{why}");
        let other = Tag { data: [1; 32], ..tag(1) };
        assert!(unseal::<f64>(Some(&other), &bytes).unwrap_err().to_string().contains("other data"));
        assert_eq!(unseal::<f64>(Some(&tag(1)), &bytes).unwrap().state, 0.5);
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let bytes = seal(Some(&tag(1)), &Course { state: 0.5, objective: vec![] }).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(unseal::<f64>(Some(&tag(1)), &bad).is_err(), "byte {at}");
            assert!(unseal::<f64>(Some(&tag(1)), &bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn streams_differ_by_purpose_and_item() {
        let first = |draw, item| Seed(7).stream(draw, item).next_u64();
        let all = [first(Draw::Init, 0), first(Draw::Init, 1), first(Draw::Latent, 0), Seed(8).0];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }
}
