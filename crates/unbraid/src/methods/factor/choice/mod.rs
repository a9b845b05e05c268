//! How many factors: entries held out, and agreement over restarts.
//!
//! For each number of factors k of a list,
//!
//! ```text
//! L_r(k) = mean over (i, j) ∈ H_r of D(x_ij, x̂_ij),      r = 1 … R,
//! ```
//!
//! x̂ the reconstruction of a fit that reads the entries of the speckled mask H_r as missing. The same masks serve every k,
//! so that fits are compared entry by entry. With k° the k of least mean loss, the suggestion is the smallest k for which
//!
//! ```text
//! mean_r (L_r(k) − L_r(k°)) ≤ SE_r (L_r(k) − L_r(k°)),    SE = standard deviation / √R:
//! ```
//!
//! the rule of one standard error (Breiman et al.; Hastie, Tibshirani and Friedman, section 7.10) on paired differences, since
//! how hard a mask is has nothing to do with k. With one mask it is k° itself. Beside it stands ρ(k), the dispersion of
//! the consensus of restarts on the whole table, a sample belonging to the factor that contributes most to it
//! ([`crate::metrics::consensus`]): a second opinion, which does not enter the rule.
//!
//! | symbol | meaning                                     | name       |
//! |--------|---------------------------------------------|------------|
//! | k      | numbers of factors                          | `k`        |
//! | R      | masks                                       | `masks`    |
//! |        | share of the entries that a mask holds out  | `held_out` |
//! |        | fits of each k to the whole table           | `restarts` |
//!
//! For `kl` a reconstruction below a thousandth of the feature's mean counts as that: one value above 0 where a fit says 0
//! would otherwise outweigh all others. Owen and Perry (2009) treat held-out entries of factorisations (`owen2009`);
//! consensus: `brunet2004`, `kim2007`.

mod mask;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::common::{Loss, Nonnegative, refuse_rank, refuse_zero};
use super::maps::Maps;
use super::nmf::{Nmf, NmfFit};
use super::qmf::{Qmf, QmfFit};
use super::qmfq::{Projector, Qmfq, QmfqFit};
use crate::data::{Annotations, Column, Matrix, Missing, Table, Value, Values};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Draw, Iterate, Method, Seed, Step, Stop, StopRule, drive};
use crate::linalg::settle;
use crate::metrics::consensus::dispersion;
use crate::params::{ParamDoc, Params};

/// Least reconstruction of `kl`, as a share of the feature's mean.
const FLOOR: f64 = 1e-3;
/// Fits that run side by side are so many that their tables have no more entries together than this, and at most `MOST`.
const BESIDE: usize = 2_000_000;
const MOST: usize = 8;

/// Numbers of factors, rising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ks(pub Vec<usize>);

/// What they may be typed as.
const KS: &str = "FROM..TO (both included), FROM..TO:STEP or a list as 2,4,8, each at least 1";

impl FromStr for Ks {
    type Err = String;

    fn from_str(text: &str) -> Result<Ks, String> {
        let wrong = || format!("`{text}` must be {KS}");
        let number = |t: &str| t.trim().parse::<usize>().map_err(|_| wrong());
        let mut all = match text.split_once("..") {
            Some((from, to)) => {
                let (to, step) = to.split_once(':').unwrap_or((to, "1"));
                let step = number(step)?;
                let (from, to) = (number(from)?, number(to)?);
                if step == 0 || from > to || (to - from) / step > 10_000 {
                    return Err(wrong());
                }
                (from..=to).step_by(step).collect()
            }
            None => text.split(',').map(number).collect::<Result<Vec<usize>, String>>()?,
        };
        all.sort_unstable();
        all.dedup();
        if all.is_empty() || all[0] == 0 { Err(wrong()) } else { Ok(Ks(all)) }
    }
}

impl fmt::Display for Ks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
    }
}

crate::serde_as_text!(Ks);

crate::params! {
    /// How the number of factors is judged.
    pub struct Choice {
        /// Numbers of factors: FROM..TO (both included), FROM..TO:STEP, or a list as 2,4,8. Default 2..12.
        pub k: Ks = Ks((2..=12).collect()),
        /// Masks R of held-out entries, the same for every k; at least 1. Default 5.
        pub masks: usize = 5,
        /// Share of the measured entries that a mask holds out; from 0.01 to 0.5. Default 0.1.
        pub held_out: f64 = 0.1,
        /// Fits of each k to the whole table, for the agreement of restarts; 0 leaves it out, else at least 2. Default 5.
        pub restarts: usize = 5,
    }
}

impl Params for Choice {
    const DOCS: &'static [ParamDoc] = Choice::FIELDS;
}

/// What of a fit predicts entries: U, Vᵀ and the maps.
pub type Parts<'a> = (&'a Array2<f64>, &'a Array2<f64>, Option<&'a Maps>);

/// A factorisation whose number of factors can be chosen.
pub trait Ranked: Method + Send + Sync {
    /// What snapshots call it.
    const CHOICE: &'static str;
    /// The method's view of a table.
    fn view(table: Nonnegative<'_>) -> Self::Input<'_>;
    /// The same method with another k and another reading of NaN, and without a layer.
    fn with(&self, k: usize, missing: Missing) -> Self;
    /// How NaN in the whole table is read, and the loss.
    fn reads(&self) -> (Missing, Loss);
    /// What cannot be judged by missing entries, in words.
    fn refuses(&self) -> Option<Error> {
        None
    }
    /// U, Vᵀ and the maps behind them.
    fn parts(fit: &Self::Fitted) -> Parts<'_>;
    /// The loss after the last step.
    fn last(fit: &Self::Fitted) -> Option<f64>;
}

macro_rules! ranked {
    ($method:ident, $fit:ident, $choice:literal, |$of:ident| $maps:expr $(, $refuses:item)?) => {
        impl Ranked for $method {
            const CHOICE: &'static str = $choice;
            fn view(table: Nonnegative<'_>) -> Self::Input<'_> {
                table
            }
            fn with(&self, k: usize, missing: Missing) -> Self {
                $method { k, missing, reconstruction: false, ..self.clone() }
            }
            fn reads(&self) -> (Missing, Loss) {
                (self.missing, self.loss)
            }
            $($refuses)?
            fn parts($of: &$fit) -> Parts<'_> {
                (&$of.loadings, &$of.scores, $maps)
            }
            fn last(fit: &$fit) -> Option<f64> {
                fit.objective.last().copied()
            }
        }
    };
}

ranked!(Nmf, NmfFit, "choice of k of nmf", |fit| None);
ranked!(Qmf, QmfFit, "choice of k of qmf", |fit| Some(&fit.maps));
ranked!(
    Qmfq,
    QmfqFit,
    "choice of k of qmfq",
    |fit| Some(&fit.maps),
    fn refuses(&self) -> Option<Error> {
        let rule = "kl or frobenius here: held-out entries are missing ones, which a singular value decomposition cannot have";
        (self.projector == Projector::Svd).then(|| Error::Param {
            name: "projector",
            found: "svd".into(),
            rule,
        })
    }
);

/// The choice of k around a method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChooseK<M> {
    /// How it is judged.
    pub choice: Choice,
    /// The method; its own k is not read.
    pub method: M,
}

impl<M: Ranked> Params for ChooseK<M> {
    const DOCS: &'static [ParamDoc] = Choice::FIELDS;
}

/// What was found for one k.
#[derive(Clone, Debug, PartialEq)]
pub struct AtK {
    /// k.
    pub k: usize,
    /// L_r(k) of each mask; `None` for a fit that failed.
    pub held_out: Vec<Option<f64>>,
    /// Their mean.
    pub mean: f64,
    /// Standard error of the mean.
    pub error: f64,
    /// Mean and standard error of L_r(k) − L_r(k°); 0 at k° itself.
    pub above: (f64, f64),
    /// ρ(k), of two restarts at least.
    pub dispersion: Option<f64>,
    /// Mean loss of the restarts on the whole table.
    pub fitted: Option<f64>,
}

/// A judged list of k.
#[derive(Clone, Debug)]
pub struct ChoiceFit {
    /// By rising k; those without any held-out loss are left out.
    pub at: Vec<AtK>,
    /// Which of them has the least mean loss, and which is suggested.
    pub best: usize,
    /// Position of the suggestion.
    pub suggested: usize,
    /// Name of the loss.
    pub loss: Loss,
    /// Masks, and restarts of each k.
    pub masks: usize,
    /// Restarts of each k.
    pub restarts: usize,
    /// How the fits ended; `Cancelled` leaves what was judged so far.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl ChoiceFit {
    /// The suggested number of factors.
    pub fn k(&self) -> usize {
        self.at[self.suggested].k
    }
}

impl<M: Ranked> Method for ChooseK<M> {
    const NAME: &'static str = M::CHOICE;
    type Input<'a> = Nonnegative<'a>;
    type Fitted = ChoiceFit;

    fn validate(&self) -> Result<()> {
        let Choice { k, masks, held_out, restarts } = &self.choice;
        refuse_zero(&[("masks", *masks)])?;
        if !(*held_out >= 0.01 && *held_out <= 0.5) {
            let found = held_out.to_string();
            return Err(Error::Param { name: "held_out", found, rule: "from 0.01 to 0.5" });
        }
        if *restarts == 1 {
            return Err(Error::Param { name: "restarts", found: "1".into(), rule: "0 or at least 2" });
        }
        if k.0.is_empty() || k.0[0] == 0 {
            return Err(Error::Param { name: "k", found: k.to_string(), rule: KS });
        }
        self.method.refuses().map_or(Ok(()), Err)?;
        k.0.iter().try_for_each(|&k| self.method.with(k, Missing::Nan).validate())
    }

    fn run(&self, input: Nonnegative<'_>, ctx: &mut Ctx<'_>) -> Result<ChoiceFit> {
        let (n, d) = input.values.matrix.shape();
        self.choice.k.0.iter().try_for_each(|&k| refuse_rank(k, d, n))?;
        if n.min(d) < 4 {
            let (what, found) = (input.values.what.into(), vec![n, d]);
            return Err(Error::Shape {
                what,
                found,
                rule: "at least 4 × 4, so that entries can be held out",
            });
        }
        let judge = Judge::new(self, input, ctx);
        let jobs = judge.jobs();
        let (course, stop) = drive(&judge, StopRule { max_steps: jobs, tol: 0.0 }, ctx)?;
        judge.found(course.state.done, if stop == Stop::MaxSteps { Stop::Converged } else { stop }, ctx)
    }
}

/// The fits bound to a table.
struct Judge<'a, M> {
    params: &'a ChooseK<M>,
    input: Nonnegative<'a>,
    seed: Seed,
    max_memory: Option<u64>,
    /// Mean of the measured entries of each feature, and the floor of `kl` from it.
    floor: Vec<f64>,
}

/// What one fit says.
#[derive(Clone, Serialize, Deserialize)]
struct Outcome {
    /// Loss of the held-out entries, or of the fit to the whole table; `None` where it failed.
    loss: Option<f64>,
    /// The factor of each sample, for restarts.
    cluster: Vec<u32>,
    /// The first warning, or why it failed.
    warning: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct State {
    done: Vec<Outcome>,
    waiting: VecDeque<Outcome>,
}

impl<'a, M: Ranked> Judge<'a, M> {
    fn new(params: &'a ChooseK<M>, input: Nonnegative<'a>, ctx: &Ctx<'_>) -> Judge<'a, M> {
        let (n, d) = input.values.matrix.shape();
        let (mut sum, mut count) = (vec![0.0; d], vec![n; d]);
        input.values.matrix.for_each_nonzero(|_, j, v| {
            if v.is_nan() {
                count[j] -= 1;
            } else {
                sum[j] += v;
            }
        });
        let whole = sum.iter().sum::<f64>() / count.iter().sum::<usize>().max(1) as f64;
        let mean = |(sum, count): (&f64, &usize)| {
            if *sum > 0.0 { sum / *count as f64 } else { whole }
        };
        let floor = match params.method.reads().1 {
            Loss::Kl => sum.iter().zip(&count).map(mean).map(|m| FLOOR * m).collect(),
            Loss::Frobenius => vec![0.0; d],
        };
        Judge { params, input, seed: ctx.seed, max_memory: ctx.max_memory, floor }
    }

    /// First all k of the first mask, and so on, then all k of each restart.
    fn jobs(&self) -> usize {
        let Choice { k, masks, restarts, .. } = &self.params.choice;
        k.0.len() * (masks + restarts)
    }

    fn beside(&self) -> usize {
        let (n, d) = self.input.values.matrix.shape();
        (BESIDE / (n * d).max(1)).clamp(1, MOST)
    }

    fn fit(&self, job: usize, beside: usize) -> Result<Outcome> {
        settle();
        let Choice { k, masks, held_out, .. } = &self.params.choice;
        let (round, k) = (job / k.0.len(), k.0[job % k.0.len()]);
        let mut unwatched = ();
        let mut ctx = Ctx::new(self.seed.child(Draw::Restart, job as u64), &mut unwatched);
        ctx.max_memory = self.max_memory.map(|cap| cap / beside as u64);
        let own = self.input.values.matrix;
        let held = match round < *masks {
            true => mask::draw(own, *held_out, self.seed, round),
            false => Vec::new(),
        };
        let masked;
        let (matrix, missing): (&Matrix, Missing) = match held.is_empty() {
            true => (own, self.params.method.reads().0),
            false => {
                masked = mask::without(own, &held);
                (&masked, Missing::Nan)
            }
        };
        let values = Values { what: self.input.values.what, matrix };
        let table = Nonnegative { values, missing, groups: self.input.groups };
        let fit = match self.params.method.with(k, missing).fit(M::view(table), &mut ctx) {
            Ok(fit) => fit,
            Err(e @ (Error::Diverged { .. } | Error::Numeric { .. } | Error::Missing { .. })) => {
                return Ok(Outcome { loss: None, cluster: Vec::new(), warning: Some(e.to_string()) });
            }
            Err(e) => return Err(e),
        };
        let warning = ctx.warnings.into_iter().next();
        Ok(match round < *masks {
            true => Outcome { loss: Some(self.predicted(&fit, &held)), cluster: Vec::new(), warning },
            false => Outcome { loss: M::last(&fit), cluster: clusters(M::parts(&fit)), warning },
        })
    }

    /// Mean loss of the held-out entries.
    fn predicted(&self, fit: &M::Fitted, held: &[(u32, u32)]) -> f64 {
        let (u, v, maps) = M::parts(fit);
        let loss = self.params.method.reads().1;
        let truth = mask::values(self.input.values.matrix, held);
        let sum: f64 = held
            .iter()
            .zip(truth)
            .map(|(&(j, i), x)| {
                let (i, j) = (i as usize, j as usize);
                let mut z = [u.row(i).dot(&v.row(j))];
                if let Some(maps) = maps {
                    let signal = z;
                    maps.evaluate(i, &signal, &mut z);
                }
                loss.of(x, z[0].max(self.floor[i]))
            })
            .sum();
        sum / held.len().max(1) as f64
    }

    /// Sums up the fits.
    fn found(&self, done: Vec<Outcome>, stop: Stop, ctx: &mut Ctx<'_>) -> Result<ChoiceFit> {
        let Choice { k: ks, masks, restarts, .. } = &self.params.choice;
        let of = |at: usize, rounds: std::ops::Range<usize>| {
            let done = &done;
            rounds.filter_map(move |r| done.get(r * ks.0.len() + at))
        };
        let mut all = Vec::new();
        for (at, &k) in ks.0.iter().enumerate() {
            let held_out: Vec<Option<f64>> = of(at, 0..*masks).map(|o| o.loss).collect();
            let known: Vec<f64> = held_out.iter().flatten().copied().collect();
            if known.is_empty() {
                continue;
            }
            let (mean, error) = moments(&known);
            let restarted: Vec<&Outcome> =
                of(at, *masks..masks + restarts).filter(|o| o.loss.is_some()).collect();
            let clusterings: Vec<Vec<usize>> =
                restarted.iter().map(|o| o.cluster.iter().map(|&c| c as usize).collect()).collect();
            let dispersion = (clusterings.len() > 1).then(|| dispersion(&clusterings)).transpose()?;
            let losses: Vec<f64> = restarted.iter().filter_map(|o| o.loss).collect();
            let fitted = (!losses.is_empty()).then(|| moments(&losses).0);
            all.push(AtK { k, held_out, mean, error, above: (0.0, 0.0), dispersion, fitted });
        }
        let Some(best) = (0..all.len()).min_by(|&a, &b| all[a].mean.total_cmp(&all[b].mean)) else {
            let why = done.iter().find_map(|o| o.warning.clone());
            let hint = why.unwrap_or_else(|| "let at least one fit of a masked table end".into());
            return Err(Error::Missing { what: "a k whose held-out entries were predicted".into(), hint });
        };
        let least = all[best].held_out.clone();
        for row in &mut all {
            let pairs = row.held_out.iter().zip(&least);
            let above: Vec<f64> = pairs.filter_map(|(a, b)| Some((*a)? - (*b)?)).collect();
            row.above = if above.is_empty() { (f64::MAX, 0.0) } else { moments(&above) };
        }
        let suggested = all.iter().position(|row| row.above.0 <= row.above.1).unwrap_or(best).min(best);
        let failed = done.iter().filter(|o| o.loss.is_none()).count();
        if let Some(first) =
            done.iter().find_map(|o| o.warning.as_deref().filter(|_| failed > 0 && o.loss.is_none()))
        {
            ctx.warn(format!("{failed} of {} fits failed, the first: {first}", done.len()));
        }
        let warned = done.iter().filter(|o| o.loss.is_some() && o.warning.is_some()).count();
        if let Some(first) = done.iter().find_map(|o| o.warning.as_deref().filter(|_| o.loss.is_some())) {
            ctx.warn(format!("{warned} of {} fits warned, the first: {first}", done.len()));
        }
        if all.len() > 1 && suggested + 1 == all.len() {
            ctx.warn(format!(
                "The suggestion is the largest k that was tried, {}; try larger ones.",
                all[suggested].k
            ));
        }
        Ok(ChoiceFit {
            at: all,
            best,
            suggested,
            loss: self.params.method.reads().1,
            masks: *masks,
            restarts: *restarts,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }
}

/// Mean and standard error of the mean.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, if values.len() > 1 { (squares / (n - 1.0) / n).sqrt() } else { 0.0 })
}

/// The factor that contributes most to each sample.
fn clusters((u, v, _): Parts<'_>) -> Vec<u32> {
    let size: Vec<f64> = u.columns().into_iter().map(|c| c.iter().map(|u| u.abs()).sum()).collect();
    let of = |v: ArrayView1<'_, f64>| {
        let share = |l: usize| v[l].abs() * size[l];
        (0..v.len()).reduce(|a, b| if share(b) > share(a) { b } else { a }).unwrap_or(0) as u32
    };
    v.rows().into_iter().map(of).collect()
}

impl<M: Ranked> Iterate for Judge<'_, M> {
    type State = State;

    fn start(&self, _: Seed) -> Result<State> {
        Ok(State { done: Vec::new(), waiting: VecDeque::new() })
    }

    /// Makes the next fits if none waits, and counts one. The objective is its loss.
    fn step(&self, state: &mut State) -> Result<Step> {
        if state.waiting.is_empty() {
            let (next, beside) = (state.done.len(), self.beside());
            let jobs = next..(next + beside).min(self.jobs());
            let made: Vec<Result<Outcome>> = jobs.into_par_iter().map(|job| self.fit(job, beside)).collect();
            for outcome in made {
                state.waiting.push_back(outcome?);
            }
        }
        let Some(outcome) = state.waiting.pop_front() else { return Ok(Step::Part) };
        let loss = outcome.loss.filter(|l| l.is_finite()).unwrap_or(0.0);
        state.done.push(outcome);
        Ok(Step::Sweep(loss))
    }

    fn converged(&self, _: &State, _: f64, _: &[f64]) -> bool {
        false
    }
}

impl Annotate for ChoiceFit {
    /// `uns["<key>_choice"]`: `table` with a row for each k, the losses of each mask, and the suggestion.
    fn annotate(&self, key: &str, out: &mut Annotations) {
        let number = |f: &dyn Fn(&AtK) -> Option<f64>| {
            Column::Float(self.at.iter().map(|row| f(row).unwrap_or(0.0)).collect())
        };
        let mut table = Table::named(self.at.iter().map(|row| row.k.to_string()).collect());
        table.columns = vec![
            ("k".into(), Column::Int(self.at.iter().map(|row| Some(row.k as i64)).collect())),
            ("held_out".into(), number(&|row| Some(row.mean))),
            ("standard_error".into(), number(&|row| Some(row.error))),
            ("above_best".into(), number(&|row| Some(row.above.0))),
            ("above_best_error".into(), number(&|row| Some(row.above.1))),
        ];
        if self.at.iter().all(|row| row.dispersion.is_some()) {
            table.columns.push(("dispersion".into(), number(&|row| row.dispersion)));
            table.columns.push(("loss".into(), number(&|row| row.fitted)));
        }
        let map = out.notes(&format!("{key}_choice"));
        map.insert("suggested".into(), Value::Int(self.k() as i64));
        map.insert("best".into(), Value::Int(self.at[self.best].k as i64));
        map.insert("table".into(), Value::Table(table));
        if self
            .at
            .iter()
            .all(|row| row.held_out.len() == self.masks && row.held_out.iter().all(Option::is_some))
        {
            let shape = (self.at.len(), self.masks);
            let masks = Array2::from_shape_fn(shape, |(i, r)| self.at[i].held_out[r].unwrap_or(0.0));
            map.insert("held_out".into(), Value::Matrix(masks));
        }
        map.insert("loss".into(), self.loss.to_string().into());
        map.insert("stop".into(), self.stop.name().into());
        map.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::matmul;
    use rand::RngExt;

    #[test]
    fn numbers_of_factors_are_read() {
        for (text, all) in [("2..4", "2,3,4"), ("2..8:3", "2,5,8"), ("7, 3,3", "3,7"), ("5", "5")] {
            assert_eq!(text.parse::<Ks>().unwrap().to_string(), all);
        }
        for text in ["", "0", "0..3", "4..2", "2..4:0", "2..", "two", "1,-2"] {
            assert!(text.parse::<Ks>().unwrap_err().contains("FROM..TO"), "{text}");
        }
    }

    /// Poisson counts around a table of rank 4.
    fn table() -> Matrix {
        let mut rng = Seed(11).stream(Draw::Simulate, 0);
        let mut draw = |n, m| Array2::from_shape_simple_fn((n, m), || rng.random::<f64>().powi(4));
        let mean = matmul(draw(70, 4).view(), draw(4, 50).view()) * 60.0;
        let mut uniform = Seed(11).stream(Draw::Simulate, 1);
        let mut poisson = |mean: f64| {
            let (bound, mut product, mut count) = ((-mean).exp(), 1.0, -1.0);
            while product > bound {
                product *= uniform.random::<f64>();
                count += 1.0;
            }
            count
        };
        Matrix::Dense(mean.mapv(&mut poisson))
    }

    #[test]
    fn the_number_of_factors_of_simulated_counts_is_found_on_any_number_of_threads() {
        let matrix = table();
        let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
        let choice = Choice { k: Ks((2..=7).collect()), masks: 4, restarts: 3, ..Choice::default() };
        let choose = ChooseK { choice, method: Nmf::default() };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| choose.fit(input, &mut Ctx::new(Seed(1), &mut ())).unwrap())
        };
        let fit = run(2);
        assert_eq!(fit.k(), 4, "{:?}", fit.at);
        assert_eq!(run(1).at, fit.at);
        let row = &fit.at[2];
        assert!(row.dispersion.unwrap() > 0.9 && row.held_out.len() == 4 && row.error > 0.0, "{row:?}");
        assert!(fit.at[0].mean > 1.2 * row.mean, "{:?}", fit.at);
        let mut out = Annotations::default();
        fit.annotate("nmf", &mut out);
        let Value::Map(map) = &out.uns["nmf_choice"] else { panic!("no map") };
        assert_eq!(map["suggested"], Value::Int(4));
        let Value::Table(t) = &map["table"] else { panic!("no table") };
        assert_eq!((t.len(), t.columns.len()), (6, 7));
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let why =
            |choice: Choice| ChooseK { choice, method: Qmf::default() }.validate().unwrap_err().to_string();
        assert!(why(Choice { masks: 0, ..Choice::default() }).contains("`masks` is 0"));
        assert!(why(Choice { restarts: 1, ..Choice::default() }).contains("0 or at least 2"));
        for held_out in [0.0, 0.6, f64::NAN, -0.1] {
            assert!(why(Choice { held_out, ..Choice::default() }).contains("from 0.01 to 0.5"));
        }
        let method = Qmfq { projector: Projector::Svd, ..Qmfq::default() };
        let choose = ChooseK { choice: Choice::default(), method };
        assert!(choose.validate().unwrap_err().to_string().contains("`projector` is svd"));
    }
}
