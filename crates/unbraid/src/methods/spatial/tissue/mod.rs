//! The fit that POPARI and BATCHBLEND share: one outer iteration after another over metagenes, noise, mixtures, affinities and batch
//! effects.
//!
//! | phase | an iteration |
//! |---|---|
//! | `Factor`  | M over M ≥ 0 (or the simplex), X of every cell alone, σ; with rays or the thesis' prior, β in between |
//! | `Tissue`  | Λ, M on the simplex, σ, β, X in the tissue |
//!
//! Expression is read twice an iteration, Y M and Yᵗ(X + β): all else is of size K. With the moments of Y kept, the residuals
//!
//! ```text
//! |y_i − M w_i|² = |y_i|² − 2 (YM)_i w_i + w_iᵗ MᵗM w_i,    w_i = x_i + β^{t(i)},
//! ```
//!
//! need no cell × gene table. Slices may be sparse and stay so.
//!
//! A batch may also scale genes (`scales`): then Y stands for y_ig / d_tg. Metagenes may be those of each slice (`columns`).

mod columns;
mod expression;
mod heldout;
mod scales;
mod start;
mod thesis;

use std::borrow::Cow;

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

pub use self::columns::Columns;
use self::expression::{Slice, Table, scatter};
pub use self::heldout::WEIGHTS;
pub use self::scales::{gains, pays, predicted};
use super::affinity::{self, Fields, Ridges};
use super::amount::Amount;
use super::mixtures::{self, LEAST, Target};
use super::neighbours::Neighbours;
use super::rays::Rays;
use super::slices::Slices;
use crate::data::Matrix;
use crate::error::{Error, Result};
use crate::fit::{Draw, Iterate, Seed, Step};
use crate::graph::kmeans::kmeans;
use crate::linalg::randomized::SparseShifted;

/// What stands for the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Blend {
    /// Nothing.
    None,
    /// β where the rays of all cell types meet.
    Rays {
        /// Number of rays P.
        rays: usize,
    },
    /// The thesis' prior: x at most the mean of the other slices, β from what is left, with the weight of its prior.
    Thesis {
        /// λ_β.
        ridge: f64,
    },
}

/// What slices share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All slices.
    Shared,
    /// Each slice has its own, drawn to their mean.
    Differential,
}

crate::words!(Sharing, "a sharing", Shared = "shared", Differential = "differential");

/// Where the factorisation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Non-negative parts of the leading singular vectors.
    Svd,
    /// Clusters of the cells, by k-means on twenty leading components.
    Kmeans,
    /// Singular vectors with the sign of more mass, as POPARI's program has them; mixtures are first fitted after the metagenes.
    Signed,
    /// Communities of the cells in the graph of their nearest neighbours.
    Leiden,
    /// Uniform numbers.
    Random,
}

crate::words!(
    Init,
    "a start",
    Svd = "svd",
    Kmeans = "kmeans",
    Signed = "signed",
    Leiden = "leiden",
    Random = "random"
);

/// What a fit does, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub k: usize,
    pub init: Init,
    pub columns: Columns,
    /// Whether every slice is brought to a mean total of K, or all together.
    pub each: bool,
    pub blend: Blend,
    pub sharing: Sharing,
    /// Iterations of plain factorisation, of finding the rays, of refining, and in the tissue.
    pub factor: usize,
    pub search: usize,
    pub refine: usize,
    pub tissue: usize,
    /// τ of the scales of genes; 0 for none.
    pub gene_scale: f64,
    /// Whether Λ is fitted in every iteration in the tissue, or in the first alone.
    pub relearn: bool,
    /// Share of Λ that mixtures feel.
    pub weight: Amount,
    /// λ_x, λ_Λ, λ̄, and the scale of the first Λ.
    pub penalty: f64,
    pub ridge: f64,
    pub together: f64,
    pub strength: f64,
    /// λ_M of metagenes that every slice has for itself in the tissue; nothing where all share them.
    pub apart: Option<f64>,
    /// Largest change of a mixture at the end of an iteration in the tissue, and most rounds.
    pub tol: f64,
    pub rounds: usize,
}

/// Turns of directions and β when rays are found anew.
const TURNS: usize = 30;
/// Iterations from one clustering to the next while rays are searched for, and afterwards.
const SEARCHED: usize = 50;
const CLUSTERED: usize = 10;
/// Starts of a clustering.
const STARTS: u64 = 5;
/// Steps of the first update of Λ and of the others, and the gradient at which it ends.
const FIRST_STEPS: usize = 50;
const AFFINITY_STEPS: usize = 4;
const AFFINITY_TOL: f64 = 1e-5;
/// Least variance of the noise.
const QUIET: f64 = 1e-12;
/// Turns of metagenes and mixtures in an iteration of refinement.
const REFINED: usize = 3;

/// Iterations before genes are scaled.
const SCALED: usize = 20;

/// Everything that changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Iterations done.
    pub at: usize,
    /// Mᵗ, K × G; rows sum to 1.
    pub turned: Array2<f64>,
    /// M_tᵗ of each slice, K × G; empty where M is that of all.
    pub apart: Vec<Array2<f64>>,
    /// X, N × K, in units in which the mean total of a cell is K.
    pub x: Array2<f64>,
    /// β, T × K.
    pub beta: Array2<f64>,
    /// σ², by slice.
    pub noise: Vec<f64>,
    /// Λ of all slices, or of each; empty before the tissue.
    pub affinity: Vec<Array2<f64>>,
    /// w, the share of Λ that mixtures feel; nothing before the tissue.
    pub weight: Option<f64>,
    /// Prediction errors of held-out genes at each of [`WEIGHTS`], where they were asked.
    pub predicted: Vec<f64>,
    /// Ray of each cell.
    pub kappa: Vec<usize>,
    /// Mean |x| after each iteration.
    pub sizes: Vec<f64>,
    /// d, T × G; empty where genes are not scaled.
    pub gene_scale: Array2<f64>,
    /// How well rays determine the apex of each slice, when they were last looked at.
    pub conditioning: Vec<f64>,
}

/// A fit bound to its data.
pub struct Tissue<'a> {
    plan: Plan,
    table: Table<'a>,
    pub batch: Vec<usize>,
    /// Cells of each slice, rising.
    pub cells: Vec<Vec<usize>>,
    pub neighbours: Neighbours,
    /// Factor that brings a slice to the units of X.
    pub scale: Vec<f64>,
    /// |y|² in these units, by cell, where genes are not scaled.
    squares: Vec<f64>,
    genes: usize,
    seed: Seed,
}

impl<'a> Tissue<'a> {
    pub fn new(plan: Plan, input: &Slices<'a>, neighbours: Neighbours, seed: Seed) -> Result<Tissue<'a>> {
        let (n, genes) = input.values.matrix.shape();
        let batch: Vec<usize> = input.batch.iter().map(|&t| t as usize).collect();
        let mut cells = vec![Vec::new(); input.names.len()];
        batch.iter().enumerate().for_each(|(i, &t)| cells[t].push(i));
        let (mut sums, mut squares) = (vec![0.0; cells.len()], vec![0.0; n]);
        input.values.matrix.for_each_nonzero(|i, _, v| {
            sums[batch[i]] += v;
            squares[i] += v * v;
        });
        let k = plan.k as f64;
        let scale: Vec<f64> = if plan.each {
            let empty = sums.iter().position(|s| !(*s > 0.0));
            if let Some(t) = empty {
                let what = format!("a value above 0 in batch `{}`", input.names[t]);
                return Err(Error::Missing { what, hint: "leave out batches without expression".into() });
            }
            sums.iter().zip(&cells).map(|(sum, cells)| k * cells.len() as f64 / sum).collect()
        } else {
            vec![k * n as f64 / sums.iter().sum::<f64>(); cells.len()]
        };
        squares.iter_mut().zip(&batch).for_each(|(s, &t)| *s *= scale[t] * scale[t]);
        let table = match input.values.matrix {
            matrix if plan.gene_scale > 0.0 || plan.apart.is_some() => {
                let slice = |at: &Vec<usize>| match matrix.rows(at) {
                    Matrix::Dense(y) => Slice::Dense(y),
                    Matrix::Sparse(y) => Slice::Sparse(Box::new((SparseShifted::plain(y.clone()), y))),
                };
                Table::Slices(cells.iter().map(slice).collect())
            }
            Matrix::Dense(x) => Table::Dense(x.view()),
            Matrix::Sparse(x) => Table::Sparse(SparseShifted::plain(x.clone())),
        };
        Ok(Tissue { plan, table, batch, cells, neighbours, scale, squares, genes, seed })
    }

    /// Mean total of a cell in the units of X.
    pub fn total(&self) -> f64 {
        self.plan.k as f64
    }

    fn slices(&self) -> usize {
        self.cells.len()
    }

    /// Rows of all cells times a matrix of all slices, or of each.
    fn times(&self, rows: &Array2<f64>, each: &[Array2<f64>]) -> Array2<f64> {
        if let [all] = each {
            return rows.dot(all);
        }
        let mut out = Array2::zeros(rows.dim());
        for (own, cells) in each.iter().zip(&self.cells) {
            scatter(&rows.select(Axis(0), cells).dot(own), cells, &mut out);
        }
        out
    }

    /// Y M, N × K.
    fn project(&self, s: &State) -> Array2<f64> {
        let mut out = match &self.table {
            Table::Slices(parts) => {
                let mut out = Array2::zeros((self.batch.len(), self.plan.k));
                for (t, (part, d)) in parts.iter().zip(s.gene_scale.rows()).enumerate() {
                    scatter(&part.apply((self.own(s, t) / &d).t()), &self.cells[t], &mut out);
                }
                out
            }
            whole => whole.whole(&self.cells, s.turned.t()),
        };
        out.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row *= self.scale[t]);
        out
    }

    /// |y|², by cell.
    fn squares(&self, s: &State) -> Cow<'_, [f64]> {
        let Table::Slices(parts) = &self.table else { return Cow::Borrowed(&self.squares) };
        let mut out = vec![0.0; self.batch.len()];
        for (t, ((part, cells), d)) in parts.iter().zip(&self.cells).zip(s.gene_scale.rows()).enumerate() {
            let over: Vec<f64> = d.iter().map(|d| (self.scale[t] / d).powi(2)).collect();
            cells.iter().zip(part.squares(&over)).for_each(|(&i, square)| out[i] = square);
        }
        Cow::Owned(out)
    }

    /// Y_tᵗ W_t of every slice, G × K, W in the units of X.
    fn by_slice(&self, parts: &[Slice], s: &State, w: &Array2<f64>) -> Vec<Array2<f64>> {
        let products = parts.iter().zip(&self.cells).zip(s.gene_scale.rows()).enumerate();
        products
            .map(|(t, ((part, cells), d))| {
                let mut product = part.apply_transposed(w.select(Axis(0), cells).view());
                for (mut row, d) in product.rows_mut().into_iter().zip(&d) {
                    row *= self.scale[t] / d;
                }
                product
            })
            .collect()
    }

    /// X + β.
    fn blended(&self, s: &State) -> Array2<f64> {
        let mut w = s.x.clone();
        w.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row += &s.beta.row(t));
        w
    }

    /// σ² of each slice from YM at the M of the state; the mean squared error over all.
    fn noise(&self, s: &mut State, projected: &Array2<f64>) -> f64 {
        let w = self.blended(s);
        let image = self.times(&w, &self.grams(s));
        let squares = self.squares(s);
        let mut left = vec![0.0; self.slices()];
        for i in 0..w.nrows() {
            let fitted: f64 = w
                .row(i)
                .iter()
                .zip(projected.row(i))
                .zip(image.row(i))
                .map(|((w, y), g)| w * (g - 2.0 * y))
                .sum();
            left[self.batch[i]] += (squares[i] + fitted).max(0.0);
        }
        let g = self.genes as f64;
        for ((noise, left), cells) in s.noise.iter_mut().zip(&left).zip(&self.cells) {
            *noise = (left / (g * cells.len() as f64)).max(QUIET);
        }
        left.iter().sum::<f64>() / (g * w.nrows() as f64)
    }

    /// What mixtures are fitted to: YM, MᵗM and MᵗM β.
    fn target<'t>(
        &'t self,
        noise: &'t [f64],
        projected: &'t Array2<f64>,
        grams: &'t [Array2<f64>],
        offset: &'t Array2<f64>,
    ) -> Target<'t> {
        Target {
            grams,
            projected: projected.view(),
            offset: offset.view(),
            noise,
            batch: &self.batch,
            penalty: self.plan.penalty,
        }
    }

    /// MᵗM β, T × K.
    fn offset(&self, s: &State, grams: &[Array2<f64>]) -> Array2<f64> {
        let mut out = Array2::zeros(s.beta.dim());
        for (t, mut row) in out.rows_mut().into_iter().enumerate() {
            row.assign(&s.beta.row(t).dot(&grams[t.min(grams.len() - 1)]));
        }
        out
    }

    /// X of every cell alone.
    fn alone(&self, s: &mut State, projected: &Array2<f64>) {
        let grams = self.grams(s);
        let offset = self.offset(s, &grams);
        let target = self.target(&s.noise, projected, &grams, &offset);
        mixtures::alone(&target, &mut s.x);
    }

    /// One round of plain factorisation.
    fn factorise(&self, s: &mut State) -> Array2<f64> {
        let mut projected = self.metagenes(s, self.plan.columns);
        self.alone(s, &projected);
        if self.plan.gene_scale > 0.0 && s.at >= SCALED {
            self.rescale(s);
            projected = self.project(s);
            self.alone(s, &projected);
        }
        projected
    }

    /// Rays of the cells by their mixtures.
    fn cluster(&self, s: &mut State, rays: usize) {
        let (_, z) = mixtures::parts(&s.x);
        let seed = self.seed.child(Draw::Restart, s.at as u64);
        s.kappa = kmeans(z.view(), rays, STARTS, seed).labels;
    }

    /// β where the rays meet, after some turns.
    fn meet(&self, s: &mut State, projected: &Array2<f64>, turns: usize) -> Result<()> {
        let gram = s.turned.dot(&s.turned.t());
        let rays = Rays::new(gram.view(), projected.view(), &s.kappa, &self.batch)?;
        let directions = rays.meet(&mut s.beta, turns, 1e-9)?;
        s.conditioning = rays.conditioning(&directions)?;
        Ok(())
    }

    /// w Λ of each slice.
    fn felt(&self, s: &State, weight: f64) -> Vec<Array2<f64>> {
        (0..self.slices()).map(|t| weight * &s.affinity[t.min(s.affinity.len() - 1)]).collect()
    }

    /// Λ at the mixtures given.
    fn meet_in_space(&self, s: &mut State, z: &Array2<f64>, steps: usize) {
        let plan = &self.plan;
        let fields: Vec<Fields> = self.cells.iter().map(|c| Fields::new(z, &self.neighbours, c)).collect();
        match plan.sharing {
            Sharing::Shared => {
                let share = 1.0 / self.slices() as f64;
                let slices: Vec<(f64, &Fields)> = fields.iter().map(|f| (share, f)).collect();
                let ridges = Ridges { own: plan.ridge, mean: None };
                affinity::update(&slices, ridges, &mut s.affinity[0], steps, AFFINITY_TOL);
            }
            Sharing::Differential => {
                let mean = s.affinity.iter().fold(Array2::zeros((plan.k, plan.k)), |sum, a| sum + a)
                    / s.affinity.len() as f64;
                for (own, fields) in s.affinity.iter_mut().zip(&fields) {
                    let ridges = Ridges { own: plan.ridge, mean: Some((plan.together, &mean)) };
                    affinity::update(&[(1.0, fields)], ridges, own, steps, AFFINITY_TOL);
                }
            }
        }
    }

    /// An iteration in the tissue; the mean squared error after it.
    fn in_tissue(&self, s: &mut State) -> Result<f64> {
        let plan = &self.plan;
        let (mut sizes, mut z) = mixtures::parts(&s.x);
        sizes.iter_mut().for_each(|s| *s = s.max(LEAST));
        if s.affinity.is_empty() {
            let all: Vec<usize> = (0..self.batch.len()).collect();
            s.affinity = match plan.sharing {
                Sharing::Shared => vec![affinity::start(&z, &self.neighbours, &all, plan.strength)],
                Sharing::Differential => self
                    .cells
                    .iter()
                    .map(|c| affinity::start(&z, &self.neighbours, c, plan.strength))
                    .collect(),
            };
        }
        let first = self.phase(s.at).1 == 0;
        if first || plan.relearn {
            self.meet_in_space(s, &z, if first { FIRST_STEPS } else { AFFINITY_STEPS });
        }
        let weight = match (s.weight, plan.weight) {
            (Some(weight), _) | (None, Amount::Of(weight)) => weight,
            (None, Amount::Auto) => {
                s.predicted = self.held_out(s).to_vec();
                let best = (0..WEIGHTS.len()).min_by(|&a, &b| s.predicted[a].total_cmp(&s.predicted[b]));
                WEIGHTS[best.unwrap_or(0)]
            }
        };
        s.weight = Some(weight);
        if plan.apart.is_some() && s.apart.is_empty() {
            s.apart = vec![s.turned.clone(); self.slices()];
        }
        let projected = self.metagenes(s, Columns::Simplex);
        self.noise(s, &projected);
        match plan.blend {
            Blend::None => {}
            Blend::Rays { rays } => {
                if self.phase(s.at).1.is_multiple_of(CLUSTERED) {
                    self.cluster(s, rays);
                }
                self.meet(s, &projected, 1)?;
            }
            Blend::Thesis { ridge } => {
                self.thesis(s, &projected, ridge);
                (sizes, z) = mixtures::parts(&s.x);
                sizes.iter_mut().for_each(|s| *s = s.max(LEAST));
            }
        }
        let grams = self.grams(s);
        let offset = self.offset(s, &grams);
        let target = self.target(&s.noise, &projected, &grams, &offset);
        if weight > 0.0 {
            let felt = self.felt(s, weight);
            let felt: Vec<&Array2<f64>> = felt.iter().collect();
            mixtures::in_tissue(&target, &felt, &self.neighbours, &mut sizes, &mut z, plan.rounds, plan.tol);
        } else {
            mixtures::alone(&target, &mut s.x);
            return Ok(self.noise(s, &projected));
        }
        s.x = z;
        s.x.rows_mut().into_iter().zip(&sizes).for_each(|(mut row, s)| row *= *s);
        Ok(self.noise(s, &projected))
    }

    /// Phase of an iteration, and how many of the phase are done.
    fn phase(&self, at: usize) -> (Phase, usize) {
        let mut at = at;
        for (phase, length) in [
            (Phase::Factor, self.plan.factor),
            (Phase::Search, self.plan.search),
            (Phase::Refine, self.plan.refine),
        ] {
            match at < length {
                true => return (phase, at),
                false => at -= length,
            }
        }
        (Phase::Tissue, at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Factor,
    Search,
    Refine,
    Tissue,
}

impl Plan {
    /// Iterations before the tissue, and of all.
    pub fn lengths(&self) -> (usize, usize) {
        let before = self.factor + self.search + self.refine;
        (before, before + self.tissue)
    }
}

impl Iterate for Tissue<'_> {
    type State = State;

    fn start(&self, seed: Seed) -> Result<State> {
        let (n, k) = (self.batch.len(), self.plan.k);
        let (mut x, mut turned) = match self.plan.init {
            Init::Svd => self.singular(seed)?,
            Init::Random => {
                use rand::RngExt;
                let draw = |rows: usize, columns: usize, item| {
                    let mut rng = seed.stream(Draw::Init, item);
                    Array2::from_shape_simple_fn((rows, columns), || rng.random::<f64>() + 0.01)
                };
                (draw(n, k, 1), draw(k, self.genes, 2))
            }
            Init::Kmeans => self.clusters(seed)?,
            Init::Leiden => self.communities(seed)?,
            Init::Signed => self.signed(seed)?,
        };
        for (mut m, mut x) in turned.rows_mut().into_iter().zip(x.columns_mut()) {
            let sum = m.sum();
            m /= sum;
            x *= sum;
        }
        let mut state = State {
            at: 0,
            turned,
            apart: Vec::new(),
            x,
            beta: Array2::zeros((self.slices(), k)),
            noise: vec![1.0; self.slices()],
            affinity: Vec::new(),
            weight: None,
            predicted: Vec::new(),
            kappa: Vec::new(),
            gene_scale: match self.table {
                Table::Slices(_) => Array2::ones((self.slices(), self.genes)),
                _ => Array2::zeros((0, 0)),
            },
            sizes: Vec::new(),
            conditioning: Vec::new(),
        };
        let projected = self.project(&state);
        if self.plan.init != Init::Signed {
            self.alone(&mut state, &projected);
        }
        self.noise(&mut state, &projected);
        Ok(state)
    }

    fn step(&self, s: &mut State) -> Result<Step> {
        let (phase, at) = self.phase(s.at);
        let error = match phase {
            Phase::Tissue => self.in_tissue(s)?,
            _ => {
                let mut projected = self.factorise(s);
                if let Blend::Thesis { ridge } = self.plan.blend {
                    self.noise(s, &projected);
                    self.thesis(s, &projected, ridge);
                }
                if let Blend::Rays { rays } = self.plan.blend {
                    let anew = phase == Phase::Search && at.is_multiple_of(SEARCHED);
                    if anew || phase == Phase::Refine && at.is_multiple_of(CLUSTERED) {
                        self.cluster(s, rays);
                    }
                    if anew {
                        self.meet(s, &projected, TURNS)?;
                        self.alone(s, &projected);
                    }
                    if phase == Phase::Refine {
                        self.meet(s, &projected, 1)?;
                        for _ in 0..REFINED {
                            projected = self.factorise(s);
                        }
                    }
                }
                self.noise(s, &projected)
            }
        };
        s.at += 1;
        s.sizes.push(s.x.sum() / s.x.nrows() as f64);
        Ok(Step::Sweep(error))
    }

    fn converged(&self, state: &State, tol: f64, objective: &[f64]) -> bool {
        // Phases have their own length; only the tissue can settle before its end.
        let (before, _) = self.plan.lengths();
        tol > 0.0
            && state.at > before + 1
            && matches!(objective, [.., a, b] if (a - b).abs() <= tol * a.abs())
    }
}
