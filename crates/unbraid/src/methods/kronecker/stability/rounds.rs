//! The refits as steps: halves of the samples, fits side by side, counts in order.

use std::collections::VecDeque;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::tyler::Side;
use super::{Refit, Refits};
use crate::data::{Matrix, Values};
use crate::error::{Error, Result};
use crate::fit::{Ctx, Draw, Iterate, Seed, Step};
use crate::graph::edges::{self, Significance};
use crate::linalg;
use crate::stats::selection;

/// Entries of the square matrices of all fits that run side by side.
const BESIDE: usize = 1 << 22;
/// Most fits side by side.
const MOST: usize = 16;
/// Times that unusable lines are left out of a half before it is given up.
const TRIES: usize = 20;

/// The refits bound to their data.
pub struct Rounds<'a, M> {
    /// How many, and which edges.
    pub refits: &'a Refits,
    /// As a refit runs it.
    pub method: M,
    /// The axes that get a network.
    pub sides: Vec<Side>,
    /// What messages call the table.
    pub what: &'a str,
    /// The table with the samples of the `obs` network (features) in rows, and of the `var` network.
    pub by_side: [Matrix; 2],
    /// Observations and features.
    pub shape: (usize, usize),
    /// Of all halves and fits.
    pub seed: Seed,
    /// For all fits that run side by side.
    pub max_memory: Option<u64>,
}

/// All that changes between refits.
#[derive(Serialize, Deserialize)]
pub struct Tallies {
    /// Refits counted.
    pub done: usize,
    /// One per network.
    pub sides: Vec<Tally>,
    /// Fits made and not counted yet, in order.
    waiting: VecDeque<Outcome>,
    /// Fits with a warning.
    pub troubled: usize,
    /// The first warning.
    pub first: Option<String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    /// (smaller end, larger end, refits that selected it), by position.
    pub counts: Vec<(u32, u32, u32)>,
    /// Times that a half said nothing of a vertex.
    pub absent: u64,
    /// Refits of which nothing could be fitted.
    pub failed: usize,
}

/// One fit to one half.
#[derive(Serialize, Deserialize)]
struct Outcome {
    /// Selected pairs by position, the smaller end first.
    edges: Vec<(u32, u32)>,
    /// Vertices that the half says nothing of.
    absent: usize,
    /// Whether nothing could be fitted.
    failed: bool,
    warning: Option<String>,
}

impl Outcome {
    fn nothing(nodes: usize, why: String) -> Outcome {
        Outcome { edges: Vec::new(), absent: nodes, failed: true, warning: Some(why) }
    }
}

impl<M: Refit> Rounds<'_, M> {
    /// Vertices of one network.
    pub fn nodes(&self, side: Side) -> usize {
        if side == Side::Obs { self.shape.0 } else { self.shape.1 }
    }

    /// The samples of one refit: a half of a random order, and for odd refits the other half.
    fn half(&self, refit: usize, side: Side) -> Vec<usize> {
        let samples = if side == Side::Obs { self.shape.1 } else { self.shape.0 };
        let mut order: Vec<usize> = (0..samples).collect();
        order.shuffle(&mut self.seed.stream(Draw::Shuffle, ((refit / 2) * 2 + side as usize) as u64));
        let size = samples / 2;
        let mut half = order[(refit % 2) * size..][..size].to_vec();
        half.sort_unstable();
        half
    }

    /// Fit number `task`: all networks of refit 0, then of refit 1, …
    ///
    /// Lines of the half that hold nothing, or that the method says it cannot use, are left out; what
    /// cannot be fitted at all selects nothing.
    fn fit(&self, task: usize, beside: usize) -> Result<Outcome> {
        linalg::settle();
        let (refit, side) = (task / self.sides.len(), self.sides[task % self.sides.len()]);
        let (mut samples, nodes) = (self.half(refit, side), self.nodes(side));
        let mut unusable = vec![false; nodes];
        for _ in 0..TRIES {
            let half = self.by_side[side as usize].rows(&samples);
            let mut valued = vec![false; nodes];
            half.for_each_nonzero(|_, j, _| valued[j] = true);
            let at: Vec<usize> = (0..nodes).filter(|&j| valued[j] && !unusable[j]).collect();
            let half = if at.len() < nodes { half.columns(&at) } else { half };
            let mut full = vec![false; samples.len()];
            half.for_each_nonzero(|i, _, _| full[i] = true);
            if full.contains(&false) {
                samples = (0..full.len()).filter(|&i| full[i]).map(|i| samples[i]).collect();
                continue;
            }
            if at.len().min(samples.len()) < 2 {
                return Ok(Outcome::nothing(nodes, format!("the half of refit {} holds nothing", refit + 1)));
            }
            let half = if side == Side::Obs { half.transpose() } else { half };
            let mut unwatched = ();
            let mut ctx = Ctx::new(self.seed.child(Draw::Restart, task as u64), &mut unwatched);
            ctx.max_memory = self.max_memory.map(|cap| cap / beside as u64);
            let fit = match self.method.fit(M::view(Values { what: self.what, matrix: &half }), &mut ctx) {
                Ok(fit) => fit,
                Err(Error::Line { axis, at: lines, .. }) if !lines.is_empty() => {
                    if (axis == "row") == (side == Side::Obs) {
                        lines.iter().for_each(|&i| unusable[at[i]] = true);
                    } else {
                        let mut position = 0..;
                        samples.retain(|_| !lines.contains(&position.next().unwrap_or(0)));
                    }
                    continue;
                }
                Err(e @ (Error::Diverged { .. } | Error::Numeric { .. } | Error::Missing { .. })) => {
                    return Ok(Outcome::nothing(nodes, format!("refit {}: {e}", refit + 1)));
                }
                Err(e) => return Err(e),
            };
            let Some(network) = M::network(&fit, side) else {
                return Err(Error::Numeric { what: "a refit", why: format!("it has no {side} network") });
            };
            let rule = self.refits.edges.rule(nodes, at.len(), self.refits.threshold);
            let (n, m) = half.shape();
            let significance = match side {
                Side::Obs => Significance::of_matrix(n, m),
                Side::Var => Significance::of_matrix(m, n),
            };
            let kept = edges::select(&network.precision, &rule, Some(&significance))?;
            let pair = |(i, j, _): (usize, usize, f64)| (at[i] as u32, at[j] as u32);
            return Ok(Outcome {
                edges: kept.entries().filter(|e| e.0 < e.1).map(pair).collect(),
                absent: nodes - at.len(),
                failed: false,
                warning: ctx.warnings.into_iter().next(),
            });
        }
        let why = format!("refit {}: after {TRIES} tries lines are left that cannot be used", refit + 1);
        Ok(Outcome::nothing(nodes, why))
    }

    /// How many fits run side by side: their matrices together stay small, and a large fit, which uses
    /// all threads by itself, runs alone. Results do not depend on it.
    fn beside(&self) -> usize {
        let (n, m) = self.shape;
        let squares = n * n + m * m;
        let most = (BESIDE / squares.max(1)).clamp(1, MOST);
        let dense = 100 * squares as u64;
        if self.max_memory.is_some_and(|cap| most as u64 * dense > cap) { 1 } else { most }
    }
}

impl<M: Refit> Iterate for Rounds<'_, M> {
    type State = Tallies;

    fn start(&self, _: Seed) -> Result<Tallies> {
        let sides = vec![Tally::default(); self.sides.len()];
        Ok(Tallies { done: 0, sides, waiting: VecDeque::new(), troubled: 0, first: None })
    }

    /// Makes the next fits if too few wait, and counts one refit. The objective is the number of edges
    /// at or above the threshold so far.
    fn step(&self, state: &mut Tallies) -> Result<Step> {
        let each = self.sides.len();
        if state.waiting.len() < each {
            let next = state.done * each + state.waiting.len();
            let beside = self.beside();
            let tasks = next..(next + beside).min(self.refits.refits * each);
            let made: Vec<Result<Outcome>> = tasks.into_par_iter().map(|t| self.fit(t, beside)).collect();
            for outcome in made {
                state.waiting.push_back(outcome?);
            }
            if state.waiting.len() < each {
                return Ok(Step::Part);
            }
        }
        state.done += 1;
        let mut stable = 0;
        for (tally, outcome) in state.sides.iter_mut().zip(state.waiting.drain(..each)) {
            tally.absent += outcome.absent as u64;
            tally.failed += usize::from(outcome.failed);
            tally.counts = merged(&tally.counts, &outcome.edges);
            state.troubled += usize::from(outcome.warning.is_some());
            state.first = state.first.take().or(outcome.warning);
            let needed = selection::needed(self.refits.threshold, state.done) as u32;
            stable += tally.counts.iter().filter(|c| c.2 >= needed).count();
        }
        Ok(Step::Sweep(stable as f64))
    }

    fn converged(&self, _: &Tallies, _: f64, _: &[f64]) -> bool {
        false
    }
}

/// Counts with one more set of pairs; both by position.
fn merged(counts: &[(u32, u32, u32)], edges: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
    let mut out = Vec::with_capacity(counts.len() + edges.len() / 4);
    let (mut old, mut new) = (counts.iter().peekable(), edges.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return out,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(o), Some(n)) => (o.0, o.1).cmp(n),
        };
        let count = if order.is_gt() {
            0
        } else {
            old.next().map_or(0, |o| {
                out.push(*o);
                o.2
            })
        };
        if order.is_ge()
            && let Some(&(i, j)) = new.next()
        {
            if count > 0 {
                out.pop();
            }
            out.push((i, j, count + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::kronecker::single_axis::SingleAxis;

    #[test]
    fn counts_are_merged_by_position() {
        let mut counts = Vec::new();
        for edges in [vec![(0, 2), (1, 2)], vec![], vec![(0, 1), (1, 2), (3, 4)], vec![(0, 2), (3, 4)]] {
            counts = merged(&counts, &edges);
        }
        assert_eq!(counts, [(0, 1, 1), (0, 2, 2), (1, 2, 2), (3, 4, 2)]);
    }

    #[test]
    fn halves_are_disjoint_and_of_one_size() {
        let refits = Refits::default();
        for (n, m) in [(10, 12), (11, 13)] {
            let x = Matrix::Dense(ndarray::Array2::ones((n, m)));
            let rounds = Rounds {
                refits: &refits,
                method: SingleAxis::default(),
                sides: vec![Side::Obs, Side::Var],
                what: "X",
                by_side: [x.transpose(), x],
                shape: (n, m),
                seed: Seed(1),
                max_memory: None,
            };
            let mut all = Vec::new();
            for (side, samples) in [(Side::Obs, m), (Side::Var, n)] {
                for pair in 0..20 {
                    let [a, b] = [2 * pair, 2 * pair + 1].map(|r| rounds.half(r, side));
                    assert_eq!([a.len(), b.len()], [samples / 2; 2]);
                    assert!(
                        a.iter().all(|i| !b.contains(i) && *i < samples) && b.iter().all(|i| *i < samples)
                    );
                    all.push((side as usize, a));
                }
            }
            all.sort();
            all.dedup();
            assert!(all.len() > 30, "the pairs differ");
        }
    }
}
