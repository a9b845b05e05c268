//! The fit that POPARI and BATCHBLEND share: one outer iteration after another over metagenes, noise, mixtures, affinities and batch
//! effects.
//!
//! | phase | an iteration |
//! |---|---|
//! | `Factor`  | M over M ≥ 0, σ, X of every cell alone; with rays or the thesis' prior, β in between |
//! | `Tissue`  | Λ, M on the simplex, σ, β, X in the tissue |
//!
//! Expression is read twice an iteration, Y M and Yᵗ(X + β): all else is of size K. With the moments of Y kept, the residuals
//!
//! ```text
//! |y_i − M w_i|² = |y_i|² − 2 (YM)_i w_i + w_iᵗ MᵗM w_i,    w_i = x_i + β^{t(i)},
//! ```
//!
//! need no cell × gene table. Slices may be sparse and stay so.

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::affinity::{self, Fields, Ridges};
use super::metagenes;
use super::mixtures::{self, LEAST, Target};
use super::neighbours::Neighbours;
use super::quadratic::Quadratic;
use super::rays::Rays;
use super::slices::Slices;
use crate::data::Matrix;
use crate::error::{Error, Result};
use crate::fit::{Draw, Iterate, Seed, Step};
use crate::graph::kmeans::kmeans;
use crate::linalg::nndsvd;
use crate::linalg::randomized::{Effort, Operator, SparseShifted, leading};

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

/// Which cells share an affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All slices.
    Shared,
    /// Each slice has its own, drawn to their mean.
    Differential,
}

crate::words!(Sharing, "a sharing of affinities", Shared = "shared", Differential = "differential");

/// Where the factorisation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Non-negative parts of the leading singular vectors.
    Svd,
    /// Clusters of the cells, by k-means on twenty leading components.
    Kmeans,
    /// Uniform numbers.
    Random,
}

crate::words!(Init, "a start", Svd = "svd", Kmeans = "kmeans", Random = "random");

/// What a fit does, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub k: usize,
    pub init: Init,
    /// Whether every slice is brought to a mean total of K, or all together.
    pub each: bool,
    pub blend: Blend,
    pub sharing: Sharing,
    /// Iterations of plain factorisation, of finding the rays, of refining, and in the tissue.
    pub factor: usize,
    pub search: usize,
    pub refine: usize,
    pub tissue: usize,
    /// λ_x, λ_Λ, λ̄, and the scale of the first Λ.
    pub penalty: f64,
    pub ridge: f64,
    pub together: f64,
    pub strength: f64,
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
/// Rounds over the metagenes in the tissue, and their tolerance.
const ROUNDS: usize = 50;
const SETTLED: f64 = 1e-4;
/// Steps of an update of Λ, and the gradient at which it ends.
const AFFINITY_STEPS: usize = 30;
const AFFINITY_TOL: f64 = 1e-6;
/// Least variance of the noise.
const QUIET: f64 = 1e-12;
/// Turns of metagenes and mixtures in an iteration of refinement.
const REFINED: usize = 3;

/// Everything that changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Iterations done.
    pub at: usize,
    /// Mᵗ, K × G; rows sum to 1.
    pub turned: Array2<f64>,
    /// X, N × K, in units in which the mean total of a cell is K.
    pub x: Array2<f64>,
    /// β, T × K.
    pub beta: Array2<f64>,
    /// σ², by slice.
    pub noise: Vec<f64>,
    /// Λ of all slices, or of each; empty before the tissue.
    pub affinity: Vec<Array2<f64>>,
    /// Ray of each cell.
    pub kappa: Vec<usize>,
    /// Mean |x| after each iteration.
    pub sizes: Vec<f64>,
    /// What rays leave, and how well they determine the apex of each slice, when they were last looked at.
    pub conditioning: Vec<f64>,
}

/// Expression as it is stored.
enum Table<'a> {
    Dense(ArrayView2<'a, f64>),
    Sparse(SparseShifted),
}

impl Table<'_> {
    fn operator(&self) -> &dyn Operator {
        match self {
            Table::Dense(x) => x,
            Table::Sparse(x) => x,
        }
    }
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
    /// |y|² in these units, by cell.
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

    /// Y M, N × K.
    fn project(&self, turned: &Array2<f64>) -> Array2<f64> {
        let mut out = self.table.operator().apply(turned.t());
        out.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row *= self.scale[t]);
        out
    }

    /// X + β.
    fn blended(&self, s: &State) -> Array2<f64> {
        let mut w = s.x.clone();
        w.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row += &s.beta.row(t));
        w
    }

    /// σ² of each slice from YM at the M of the state; the mean squared error over all.
    fn noise(&self, s: &mut State, projected: &Array2<f64>) -> f64 {
        let (w, gram) = (self.blended(s), s.turned.dot(&s.turned.t()));
        let image = w.dot(&gram);
        let mut left = vec![0.0; self.slices()];
        for i in 0..w.nrows() {
            let fitted: f64 = w
                .row(i)
                .iter()
                .zip(projected.row(i))
                .zip(image.row(i))
                .map(|((w, y), g)| w * (g - 2.0 * y))
                .sum();
            left[self.batch[i]] += (self.squares[i] + fitted).max(0.0);
        }
        let g = self.genes as f64;
        for ((noise, left), cells) in s.noise.iter_mut().zip(&left).zip(&self.cells) {
            *noise = (left / (g * cells.len() as f64)).max(QUIET);
        }
        left.iter().sum::<f64>() / (g * w.nrows() as f64)
    }

    /// Second moments of X + β and expression times X + β, each cell over its σ².
    fn moments(&self, s: &State) -> (Array2<f64>, Array2<f64>) {
        let w = self.blended(s);
        let mut weighted = w.clone();
        weighted.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row /= s.noise[t]);
        let second = weighted.t().dot(&w);
        weighted.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row *= self.scale[t]);
        (second, self.table.operator().apply_transposed(weighted.view()))
    }

    /// M over M ≥ 0, its scales moved into X and β; Y M of the new M.
    fn free_metagenes(&self, s: &mut State) -> Array2<f64> {
        let (second, linear) = self.moments(s);
        let scales = metagenes::free(second.view(), linear.view(), &mut s.turned, 1);
        for (a, scale) in scales.into_iter().enumerate() {
            s.x.column_mut(a).mapv_inplace(|v| v * scale);
            s.beta.column_mut(a).mapv_inplace(|v| v * scale);
        }
        self.project(&s.turned)
    }

    /// X of every cell alone.
    fn alone(&self, s: &mut State, projected: &Array2<f64>) {
        let gram = s.turned.dot(&s.turned.t());
        let offset = s.beta.dot(&gram);
        let target = Target {
            gram: gram.view(),
            projected: projected.view(),
            offset: offset.view(),
            noise: &s.noise,
            batch: &self.batch,
            penalty: self.plan.penalty,
        };
        mixtures::alone(&target, &mut s.x);
    }

    /// One round of plain factorisation.
    fn factorise(&self, s: &mut State) -> Array2<f64> {
        let projected = self.free_metagenes(s);
        self.alone(s, &projected);
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

    /// The thesis' steps after X: x at most the mean of the other slices, and β from the mean of what is left.
    fn thesis(&self, s: &mut State, projected: &Array2<f64>, ridge: f64) {
        let (slices, k) = (self.slices(), self.plan.k);
        let mut means = Array2::<f64>::zeros((slices, k));
        for (t, cells) in self.cells.iter().enumerate() {
            cells.iter().for_each(|&i| {
                let mut row = means.row_mut(t);
                row += &s.x.row(i);
            });
        }
        let all = means.sum_axis(Axis(0));
        let n = self.batch.len() as f64;
        for (t, cells) in self.cells.iter().enumerate() {
            let others = n - cells.len() as f64;
            if others == 0.0 {
                continue;
            }
            let mean = (&all - &means.row(t)) / others;
            for &i in cells {
                let mut x = s.x.row_mut(i);
                let most = x
                    .iter()
                    .zip(&mean)
                    .filter(|(x, _)| **x > 0.0)
                    .fold(1.0, |share: f64, (x, mean)| share.min(mean / x));
                x *= most;
            }
        }
        let gram = s.turned.dot(&s.turned.t());
        let flat: Vec<f64> = gram.iter().copied().collect();
        let mut room = Quadratic::default();
        for (t, cells) in self.cells.iter().enumerate() {
            let mut linear = vec![0.0; k];
            for &i in cells {
                let image = gram.dot(&s.x.row(i));
                for a in 0..k {
                    linear[a] += (projected[[i, a]] - image[a]) / cells.len() as f64;
                }
            }
            let mut beta = s.beta.row(t).to_vec();
            room.orthant(&flat, 1.0 + 2.0 * ridge * s.noise[t], &linear, &mut beta);
            s.beta.row_mut(t).iter_mut().zip(beta).for_each(|(to, b)| *to = b);
        }
    }

    /// Λ of each slice.
    pub fn affinities<'s>(&self, s: &'s State) -> Vec<&'s Array2<f64>> {
        (0..self.slices()).map(|t| &s.affinity[if s.affinity.len() == 1 { 0 } else { t }]).collect()
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
        let fields: Vec<Fields> = self.cells.iter().map(|c| Fields::new(&z, &self.neighbours, c)).collect();
        match plan.sharing {
            Sharing::Shared => {
                let share = 1.0 / self.slices() as f64;
                let slices: Vec<(f64, &Fields)> = fields.iter().map(|f| (share, f)).collect();
                let ridges = Ridges { own: plan.ridge, mean: None };
                affinity::update(&slices, ridges, &mut s.affinity[0], AFFINITY_STEPS, AFFINITY_TOL);
            }
            Sharing::Differential => {
                let mean = s.affinity.iter().fold(Array2::zeros((plan.k, plan.k)), |sum, a| sum + a)
                    / s.affinity.len() as f64;
                for (own, fields) in s.affinity.iter_mut().zip(&fields) {
                    let ridges = Ridges { own: plan.ridge, mean: Some((plan.together, &mean)) };
                    affinity::update(&[(1.0, fields)], ridges, own, AFFINITY_STEPS, AFFINITY_TOL);
                }
            }
        }
        let (second, linear) = self.moments(s);
        metagenes::on_the_simplex(second.view(), linear.view(), &mut s.turned, ROUNDS, SETTLED);
        let projected = self.project(&s.turned);
        self.noise(s, &projected);
        match plan.blend {
            Blend::None => {}
            Blend::Rays { rays } => {
                if self.phase(s.at).1 % CLUSTERED == 0 {
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
        let gram = s.turned.dot(&s.turned.t());
        let offset = s.beta.dot(&gram);
        let target = Target {
            gram: gram.view(),
            projected: projected.view(),
            offset: offset.view(),
            noise: &s.noise,
            batch: &self.batch,
            penalty: plan.penalty,
        };
        mixtures::in_tissue(
            &target,
            &self.affinities(s),
            &self.neighbours,
            &mut sizes,
            &mut z,
            plan.rounds,
            plan.tol,
        );
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
        };
        for (mut m, mut x) in turned.rows_mut().into_iter().zip(x.columns_mut()) {
            let sum = m.sum();
            m /= sum;
            x *= sum;
        }
        let mut state = State {
            at: 0,
            turned,
            x,
            beta: Array2::zeros((self.slices(), k)),
            noise: vec![1.0; self.slices()],
            affinity: Vec::new(),
            kappa: Vec::new(),
            sizes: Vec::new(),
            conditioning: Vec::new(),
        };
        let projected = self.project(&state.turned);
        self.alone(&mut state, &projected);
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
                    let anew = phase == Phase::Search && at % SEARCHED == 0;
                    if anew || phase == Phase::Refine && at % CLUSTERED == 0 {
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

impl Tissue<'_> {
    /// NNDSVDa: non-negative parts of the singular vectors, the mean in place of zeros (`boutsidis2008`).
    fn singular(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let k = self.plan.k;
        let svd = leading(self.table.operator(), k, Effort { power: 4, oversamples: 30 }, seed)?;
        let (n, g) = (self.batch.len(), self.genes);
        let (mut x, mut turned) = (Array2::zeros((n, k)), Array2::zeros((k, g)));
        for a in 0..k.min(svd.s.len()) {
            let (u, v) = nndsvd::pair(a == 0, svd.s[a], svd.u.column(a), svd.v.column(a));
            x.column_mut(a).assign(&u);
            turned.row_mut(a).assign(&v);
        }
        let mean = |table: &Array2<f64>| table.mean().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        let (of_x, of_m) = (mean(&x), mean(&turned));
        x.mapv_inplace(|v: f64| if v > 0.0 { v } else { of_x });
        turned.mapv_inplace(|v: f64| if v > 0.0 { v } else { of_m });
        Ok((x, turned))
    }

    /// Mean profiles of clusters, and the cluster of each cell.
    fn clusters(&self, seed: Seed) -> Result<(Array2<f64>, Array2<f64>)> {
        let k = self.plan.k;
        let svd = leading(self.table.operator(), 20, Effort { power: 4, oversamples: 30 }, seed)?;
        let mut scores = svd.u;
        scores.columns_mut().into_iter().zip(&svd.s).for_each(|(mut c, s)| c *= *s);
        scores.rows_mut().into_iter().zip(&self.batch).for_each(|(mut r, &t)| r *= self.scale[t]);
        let labels = kmeans(scores.view(), k, STARTS, seed).labels;
        let mut x = Array2::from_elem((labels.len(), k), 1e-10);
        let mut count = vec![0.0; k];
        labels.iter().for_each(|&c| count[c] += 1.0);
        let mut share = Array2::zeros((labels.len(), k));
        for (i, &c) in labels.iter().enumerate() {
            x[[i, c]] = 1.0;
            share[[i, c]] = self.scale[self.batch[i]] / count[c];
        }
        let mut turned = self
            .table
            .operator()
            .apply_transposed(share.view())
            .reversed_axes()
            .as_standard_layout()
            .into_owned();
        turned.mapv_inplace(|v| v.max(1e-10));
        Ok((x, turned))
    }
}
