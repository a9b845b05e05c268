//! The schedule: pre-training, a start for the clusters, joint epochs, polish, restarts.
//!
//! ```text
//! pre-training    prior N(0, I), β = β₀, each side by itself
//! start           labels of the codes or of the table;  μ_c mean code, σ_c² variance within + mean s² + 10⁻³, π_c share
//! joint epoch e   β = β₀ + (1 − β₀) min(e/warmup, 1),  cross-loss times min((e + 1)/5, 1);
//!                 banks of memberships, Q and f afresh from the codes of all lines
//! step            a batch of rows and one of columns, the shorter side wrapping round (a line is visited four times at most), three steps an epoch at least:  bound, contrast, cross-loss, joint space
//! end             labels argmax γ(m), polished;  restarts by the bound of the polish, else by mean F_i + (m/n) mean F_j + N I(Q)/n
//! ```
//!
//! Q is that of the whole table at every step: memberships outside the batch are those of the banks, and what a batch changes in
//! the banks it changes in Q.

mod step;

use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::bound::{Objective, Posterior};
use super::cells::{Cells, Joint as Space};
use super::cross::Cross;
use super::input::{Observed, Tables};
use super::likelihood::Law;
use super::model::{Coder, SvccFit};
use super::polish;
use super::prune::survivors;
use super::side::{Rates, Side, Sizes, noise_of};
use super::{Start, Svcc};
use crate::data::Values;
use crate::error::Result;
use crate::fit::{Course, Ctx, Draw, Iterate, Seed, Step, Stop, StopRule, drive};
use crate::graph::kmeans::kmeans;
use crate::linalg::matmul;
use crate::methods::cocluster::blocks::{by_size, information, soft_profiles, table};
use crate::methods::cocluster::fit::{Blocks, Coclusters, Side as Found};
use crate::methods::cocluster::itcc::Itcc;
use crate::methods::cocluster::spectral;
use crate::methods::cocluster::start::{Labels, hardest};

/// Restarts of a start by information-theoretic co-clustering: ten of them end in different optima on weighted texts.
const ITCC: usize = 100;
/// Fewest steps of an epoch: lines of small tables are visited several times.
const STEPS: usize = 3;
/// Most visits of a line in an epoch: the work of an epoch is then in proportion to the table, however many more lines the other side has.
const VISITS: usize = 4;

/// Parameters bound to a table.
pub struct Problem<'a> {
    params: &'a Svcc,
    tables: Tables,
    shape: (usize, usize),
}

/// What a restart has ended in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// What restarts are compared by where there is no polish.
    pub score: f64,
    /// Block of each entry of the table in the joint space, where there is one.
    pub cells: Option<Vec<u32>>,
    /// The block model's bound after the polish.
    pub bound: Option<f64>,
    /// Both sides.
    pub sides: [Side<f32>; 2],
    /// Codes of both.
    pub mean: [Array2<f64>; 2],
    /// γ at the codes.
    pub membership: [Array2<f64>; 2],
    /// Labels at the start of the joint epochs, at their end, and after the polish.
    pub labels: [Labels; 3],
    /// F of rows, F of columns, contrast and share of information kept, after each epoch.
    pub traces: Vec<[f64; 4]>,
}

/// Both sides, and the joint space where there is one.
type Networks = ([Side<f32>; 2], Option<Space<f32>>);

/// All that changes.
#[derive(Serialize, Deserialize)]
pub struct State {
    seed: Seed,
    restart: usize,
    /// Epoch of this restart, those of pre-training first.
    epoch: usize,
    /// Next batch of the epoch.
    next: usize,
    sides: Option<Networks>,
    /// Γ and Δ, tempered.
    banks: [Array2<f64>; 2],
    /// Q without its division by N, or S of the squares.
    q: Array2<f64>,
    start: Labels,
    /// F of both sides and the contrast, summed over the steps of the epoch.
    sums: [f64; 3],
    traces: Vec<[f64; 4]>,
    best: Option<Ended>,
}

impl<'a> Problem<'a> {
    /// Reads the table.
    ///
    /// # Errors
    /// Those of [`Tables::new`].
    pub fn new(params: &'a Svcc, input: Observed<'_>) -> Result<Problem<'a>> {
        let tables = Tables::new(input, params)?;
        Ok(Problem { params, tables, shape: input.values.matrix.shape() })
    }

    fn lines(&self, side: usize) -> usize {
        [self.shape.0, self.shape.1][side]
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        let full = |side: usize| self.lines(side).div_ceil(self.params.batch);
        full(0).max(full(1)).max(STEPS)
    }

    /// Batches in which all lines of a side are visited once: full ones, or smaller ones where an epoch would visit them too often.
    fn batches(&self, side: usize) -> usize {
        self.lines(side).div_ceil(self.params.batch).max((self.steps() / VISITS).min(self.lines(side) / 2))
    }

    fn seed(&self, s: &State) -> Seed {
        s.seed.child(Draw::Restart, s.restart as u64)
    }

    /// The lines of a batch, in an order of its own each time round.
    fn items(&self, s: &State, side: usize) -> Vec<usize> {
        let (n, batches) = (self.lines(side), self.batches(side));
        let (round, at) = (s.next / batches, s.next % batches);
        let mut order: Vec<usize> = (0..n).collect();
        let mut rng = self.seed(s).stream(Draw::Shuffle, (s.epoch as u64) << 24 | (2 * round + side) as u64);
        order.shuffle(&mut rng);
        order[at * n / batches..(at + 1) * n / batches].to_vec()
    }

    fn pretraining(&self, s: &State) -> bool {
        s.epoch < self.params.pretrain
    }

    fn objective(&self, s: &State) -> Objective {
        let p = self.params;
        let risen = match self.pretraining(s) {
            true => 0.0,
            false => ((s.epoch - p.pretrain) as f64 / p.warmup.max(1) as f64).min(1.0),
        };
        let beta = p.beta + (1.0 - p.beta) * risen;
        Objective { samples: p.samples, beta, divergence: p.kl, encoder: p.encoder_grad }
    }

    fn rates(&self, s: &State) -> Rates {
        let p = self.params;
        Rates {
            network: p.learning_rate,
            prior: p.learning_rate_prior,
            decay: p.decay,
            gradient: p.prior_grad,
            moves: !self.pretraining(s),
        }
    }

    fn begin(&self, seed: Seed) -> Networks {
        let p = self.params;
        let sizes = Sizes { hidden: p.hidden.to_vec(), latent: p.latent };
        let sides = [0, 1].map(|at| Side::new(&self.tables.sides[at], &sizes, seed, at as u64));
        let space = (p.joint > 0.0).then(|| {
            let blocks = if p.blocks > 0 { p.blocks } else { (p.rows * p.cols).div_ceil(2) };
            let counts = self.tables.law != Law::Gaussian;
            Space::new(p.latent, blocks, p.joint_sees_x, counts, &mut seed.stream(Draw::Init, 2))
        });
        (sides, space)
    }

    fn embed(&self, sides: &[Side<f32>; 2]) -> [Posterior; 2] {
        let of = |at: usize| {
            let all: Vec<usize> = (0..self.lines(at)).collect();
            sides[at].embed(&self.tables.sides[at].lines, &all)
        };
        let (rows, cols) = rayon::join(|| of(0), || of(1));
        [rows, cols]
    }

    /// Labels of the codes or of the table become mixtures.
    fn start_clusters(
        &self,
        s: &mut State,
        sides: &mut [Side<f32>; 2],
        codes: &[Posterior; 2],
    ) -> Result<()> {
        let (seed, p) = (self.seed(s), self.params);
        let shape = (p.rows, p.cols);
        s.start = match (p.init, &self.tables.joint) {
            (Start::Itcc, Some(joint)) => {
                Itcc { rows: shape.0, cols: shape.1, restarts: ITCC, ..Itcc::default() }
                    .labels(joint, seed)?
            }
            (Start::Spectral, Some(joint)) => spectral::labels(joint, shape, 10, seed)?,
            _ => {
                let means = |at: usize, clusters| {
                    let seed = seed.child(Draw::Init, 7 + at as u64);
                    kmeans(codes[at].mean.view(), clusters, 10, seed).labels
                };
                (means(0, shape.0), means(1, shape.1))
            }
        };
        sides[0].set_mixture(&codes[0], &s.start.0, shape.0);
        sides[1].set_mixture(&codes[1], &s.start.1, shape.1);
        Ok(())
    }

    /// Before a joint epoch: fewer clusters where that is asked for; banks, Q and stretches from the codes of all lines.
    fn refresh(&self, s: &mut State, sides: &mut [Side<f32>; 2], codes: &[Posterior; 2], prune: bool) {
        for at in 0..2 {
            if prune {
                let membership = sides[at].mixture.responsibilities(codes[at].mean.view(), 1.0);
                let (stay, shares) = survivors(&sides[at].mixture, membership.view());
                if stay.len() < membership.ncols() {
                    sides[at].keep(&stay, &shares);
                }
            }
            s.banks[at] = sides[at].mixture.responsibilities(codes[at].mean.view(), self.params.temperature);
            if self.params.scale {
                sides[at].set_stretch(&codes[at].mean);
            }
        }
        s.q = matmul(s.banks[0].t(), soft_profiles(&self.tables.cross[0], s.banks[1].view()).view());
    }

    /// Mean of F over all lines at β = 1.
    fn value(&self, side: &Side<f32>, at: usize, seed: Seed) -> f64 {
        let p = self.params;
        let objective =
            Objective { samples: p.samples, beta: 1.0, divergence: p.kl, encoder: p.encoder_grad };
        let n = self.lines(at);
        let mut sum = 0.0;
        for from in (0..n).step_by(p.batch) {
            let items: Vec<usize> = (from..(from + p.batch).min(n)).collect();
            // Noise of no epoch.
            let eps = noise_of(seed.child(Draw::Latent, 3), at as u64, &items, p.samples, p.latent);
            sum += side.value(&self.tables.sides[at], &items, objective, eps);
        }
        sum / n as f64
    }

    /// Labels, memberships and what restarts are compared by.
    fn end(&self, s: &mut State, (mut sides, space): Networks) -> Result<Ended> {
        sides.iter_mut().for_each(|side| side.spare = Vec::new());
        let codes = self.embed(&sides);
        let membership = [0, 1].map(|at| sides[at].mixture.responsibilities(codes[at].mean.view(), 1.0));
        let labels = (hardest(membership[0].view()), hardest(membership[1].view()));
        let shape = (membership[0].ncols(), membership[1].ncols());
        let kept = match &self.tables.joint {
            Some(joint) => joint.total * information(table(joint, &labels.0, &labels.1, shape).view()),
            None => {
                let blocks = Blocks::of(&self.tables.cross[0], (&labels.0, shape.0), (&labels.1, shape.1));
                0.5 * blocks.explained * self.tables.cross[0].values().iter().map(|v| v * v).sum::<f64>()
            }
        };
        let seed = self.seed(s);
        let [of_rows, of_cols] = [0, 1].map(|at| self.value(&sides[at], at, seed));
        let n = self.shape.0 as f64;
        let score = of_rows + self.shape.1 as f64 / n * of_cols + kept / n;
        let mean = codes.map(|c| c.mean);
        let cells = space.map(|space| self.cells(&space, &mean));
        // Where clusters were dropped, those of the start are others.
        let begun = Some(&s.start).filter(|_| shape == (self.params.rows, self.params.cols));
        let starts: Vec<&Labels> = begun.into_iter().chain([&labels]).collect();
        let ascent = match &self.tables.blocks {
            Some(joint) if self.params.polish => polish::from_labels(joint, &starts, shape)?,
            _ => None,
        };
        let (polished, bound) = ascent.map_or((labels.clone(), None), |(l, bound)| (l, Some(bound)));
        let labels = [s.start.clone(), labels, polished];
        Ok(Ended {
            score,
            bound,
            cells,
            sides,
            mean,
            membership,
            labels,
            traces: std::mem::take(&mut s.traces),
        })
    }

    /// The blocks of all entries that are stored, in the order of the rows.
    fn cells(&self, space: &Space<f32>, codes: &[Array2<f64>; 2]) -> Vec<u32> {
        let x = &self.tables.cross[0];
        let mut out = Vec::with_capacity(x.nnz());
        for i in 0..self.shape.0 {
            let (places, values) = x.row(i);
            let col: Vec<usize> = places.iter().map(|j| *j as usize).collect();
            let none = vec![0.0; col.len()];
            let cells =
                Cells { row: vec![0; col.len()], col, x: values.to_vec(), base: none.clone(), weight: none };
            let row = codes[0].select(Axis(0), &[i]);
            out.extend(space.blocks(&row, &codes[1], &cells).into_iter().map(|b| b as u32));
        }
        out
    }

    /// What the table finds by itself, where that has the larger bound; whether it had.
    fn beside_the_table(&self, ended: &mut Ended, seed: Seed) -> Result<bool> {
        let shape = (ended.membership[0].ncols(), ended.membership[1].ncols());
        let (Some(joint), Some(bound)) = (&self.tables.blocks, ended.bound) else { return Ok(false) };
        if self.params.starts == 0 {
            return Ok(false);
        }
        let found = polish::from_table(joint, self.params.starts, shape, &ended.labels[2], seed)?;
        // The same labels reach the same bound but for rounding.
        let better = found.1 > bound + 1e-6 * bound.abs();
        if better {
            (ended.labels[2], ended.bound) = (found.0, Some(found.1));
        }
        Ok(better)
    }

    /// Runs all restarts.
    ///
    /// # Errors
    /// Those of [`drive`].
    pub fn fit(&self, ctx: &mut Ctx<'_>) -> Result<SvccFit> {
        let p = self.params;
        let rule = StopRule { max_steps: p.restarts * (p.pretrain + p.epochs), tol: 0.0 };
        let (course, stop) = drive(self, rule, ctx)?;
        let Course { state, objective } = course;
        let seed = ctx.seed.child(Draw::Init, 9);
        let mut ended = self.ended(state)?;
        let of_table = stop != Stop::Cancelled && self.beside_the_table(&mut ended, seed)?;
        let side = |at: usize, labels: &[usize]| {
            let soft = ended.membership[at].clone();
            let clusters = soft.ncols();
            Found {
                embedding: Some(ended.mean[at].clone()),
                membership: Some(soft),
                ..Found::hard(labels.to_vec(), clusters)
            }
        };
        let (rows, cols) = (side(0, &ended.labels[2].0), side(1, &ended.labels[2].1));
        let components = by_size(&rows.labels, rows.clusters).1;
        let values = Values { what: "X", matrix: &self.tables.known };
        let mut clusters = Coclusters::new(values, rows, cols, objective, Some(stop), ctx)?;
        clusters.numbers.push(("score", ended.score));
        if let Some(bound) = ended.bound {
            clusters.numbers.push(("block_bound", bound));
            clusters.numbers.push(("labels_of_networks", f64::from(u8::from(!of_table))));
        }
        clusters.numbers.push(("dispersion", self.tables.dispersion));
        if let Some(noise) = self.tables.noise {
            clusters.numbers.push(("noise_share", noise.share));
            clusters.numbers.push(("bend", noise.bend()));
        }
        let names = ["bound_of_rows", "bound_of_cols", "contrast", "kept"];
        for (at, name) in names.into_iter().enumerate() {
            clusters.traces.push((name, ended.traces.iter().map(|t| t[at]).collect()));
        }
        let of_rows = &ended.sides[0];
        let coder = Coder {
            encoder: of_rows.encoder.clone(),
            mixture: of_rows.mixture.select(&components),
            reader: self.tables.readers[0].clone(),
            law: self.tables.law,
        };
        let cells = ended.cells.map(|blocks| {
            let mut blocks = blocks.into_iter();
            self.tables.cross[0].map(|_| blocks.next().map_or(0.0, |b| f64::from(b) + 1.0))
        });
        Ok(SvccFit { clusters, labels: ended.labels, sides: ended.sides, cells, coder })
    }

    /// The best restart, or the one under way.
    ///
    /// # Errors
    /// Those of the start.
    pub fn ended(&self, mut state: State) -> Result<Ended> {
        if let Some(best) = state.best.take() {
            return Ok(best);
        }
        let seed = self.seed(&state);
        let (mut sides, space) = state.sides.take().unwrap_or_else(|| self.begin(seed));
        // A fit that was stopped before its clusters began has those of the codes so far.
        if state.epoch <= self.params.pretrain && state.start.0.is_empty() {
            let codes = self.embed(&sides);
            self.start_clusters(&mut state, &mut sides, &codes)?;
        }
        self.end(&mut state, (sides, space))
    }
}

impl Iterate for Problem<'_> {
    type State = State;

    fn start(&self, seed: Seed) -> Result<State> {
        let none = Array2::zeros((0, 0));
        Ok(State {
            seed,
            restart: 0,
            epoch: 0,
            next: 0,
            sides: None,
            banks: [none.clone(), none.clone()],
            q: none,
            start: (Vec::new(), Vec::new()),
            sums: [0.0; 3],
            traces: Vec::new(),
            best: None,
        })
    }

    fn step(&self, s: &mut State) -> Result<Step> {
        let p = self.params;
        let seed = self.seed(s);
        let (mut sides, mut space) = s.sides.take().unwrap_or_else(|| self.begin(seed));
        if s.next == 0 && s.epoch >= p.pretrain {
            let codes = self.embed(&sides);
            if s.epoch == p.pretrain {
                self.start_clusters(s, &mut sides, &codes)?;
            }
            // Components are judged once the prior counts in full.
            let prune = p.prune && s.epoch > p.pretrain + p.warmup;
            self.refresh(s, &mut sides, &codes, prune);
        }
        self.descend(s, &mut sides, &mut space);
        s.next += 1;
        let steps = self.steps();
        if s.next < steps {
            s.sides = Some((sides, space));
            return Ok(Step::Part);
        }
        let [rows, cols, contrast] = s.sums.map(|v| v / steps as f64);
        let kept = match (&self.tables.joint, self.pretraining(s), self.tables.kind) {
            (Some(joint), false, Cross::Data) if joint.information > 0.0 => {
                information((&s.q / joint.total).view()) / joint.information
            }
            _ => 0.0,
        };
        s.traces.push([rows, cols, contrast, kept]);
        (s.next, s.sums, s.epoch) = (0, [0.0; 3], s.epoch + 1);
        if s.epoch < p.pretrain + p.epochs {
            s.sides = Some((sides, space));
        } else {
            let ended = self.end(s, (sides, space))?;
            let by = |e: &Ended| e.bound.unwrap_or(e.score);
            if s.best.as_ref().is_none_or(|b| by(&ended) > by(b)) {
                s.best = Some(ended);
            }
            s.start = (Vec::new(), Vec::new());
            (s.epoch, s.restart) = (0, s.restart + 1);
        }
        // What falls: the loss of both sides, a line each.
        Ok(Step::Sweep(-rows - cols))
    }

    /// The rise of β belongs to the number of epochs, so that all are taken.
    fn converged(&self, _: &State, _: f64, _: &[f64]) -> bool {
        false
    }
}
