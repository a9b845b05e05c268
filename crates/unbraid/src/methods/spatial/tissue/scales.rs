//! Scales of genes: a step of them, and whether batches have any, by cells and genes that were held out.
//!
//! A batch may also scale genes, y_ig = d_tg (M w_i)_g + e with Π_t d_tg = 1: then Y stands for y_ig / d_tg, and while the slices are
//! factorised d is multiplied by
//!
//! ```text
//! r_tg = (Σ_{i in t} y_ig f_ig + σ_t²/τ²) / (Σ_{i in t} f_ig² + σ_t²/τ²),    f = M w,
//! ```
//!
//! the least-squares scale under a normal prior with mean 1 and standard deviation τ, over its geometric mean across slices.
//!
//! Half of the cells of every batch (of 4000 at most) give M and d, once without scales of genes (d = 1) and once with them. Each cell of the other half then shows
//! the genes outside a fold H, which give its x, and the fold is predicted:
//!
//! ```text
//! e(H) = Σ_{i held out} Σ_{g ∈ H} (y_ig − d_{t(i)g} (M x_i)_g)²,    x_i from y_ig / d_{t(i)g}, g ∉ H.
//! ```
//!
//! Scales pay if they lower e, as a share of it, by more than two standard errors over folds and halves. What a batch adds
//! needs no such choice: x + β predicts what x alone predicts, and rays that meet at the origin give β = 0.
//!
//! Cells × genes held out together, as `owen2009` hold out blocks of a table.

use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::expression::Table;
use super::{Plan, State, Tissue};
use crate::data::{Matrix, Values};
use crate::error::Result;
use crate::fit::{Draw, Iterate, Seed};
use crate::linalg::settle;
use crate::methods::spatial::neighbours::Neighbours;
use crate::methods::spatial::slices::Slices;

/// Folds of genes.
const FOLDS: usize = 4;
/// Rounds of factorisation of a half.
const ROUNDS: usize = 80;
/// Fewest cells of a batch that can be halved.
const FEWEST: usize = 10;
/// Most cells of a batch that take part.
const MOST: usize = 4000;
/// Cells whose errors are summed one after another.
const BLOCK: usize = 256;

/// e(H) over all halves and folds, without scales of genes and with them; empty where a batch has too few cells.
pub fn predicted(plan: &Plan, input: &Slices<'_>, deviation: f64, seed: Seed) -> Result<Vec<[f64; 2]>> {
    let batch: Vec<usize> = input.batch.iter().map(|&t| t as usize).collect();
    let mut halves = [Vec::new(), Vec::new()];
    for t in 0..input.names.len() {
        let mut cells: Vec<usize> = (0..batch.len()).filter(|&i| batch[i] == t).collect();
        if cells.len() < FEWEST {
            return Ok(Vec::new());
        }
        cells.shuffle(&mut seed.stream(Draw::Shuffle, 1 + t as u64));
        cells.iter().take(MOST).enumerate().for_each(|(at, &i)| halves[at % 2].push(i));
    }
    halves.iter_mut().for_each(|half| half.sort_unstable());
    let genes = input.values.matrix.shape().1;
    let mut order: Vec<usize> = (0..genes).collect();
    order.shuffle(&mut seed.stream(Draw::Shuffle, 0));
    let mut out = vec![[0.0; 2]; 2 * FOLDS];
    for (half, errors) in out.chunks_mut(FOLDS).enumerate() {
        for (with, tau) in [0.0, deviation].into_iter().enumerate() {
            let plan = Plan { gene_scale: tau, ..plan.clone() };
            let [seen, hidden] = [&halves[half], &halves[1 - half]].map(|at| Part::of(input, at));
            let trained =
                Tissue::new(plan.clone(), &seen.slices(input.values.what, input.names), seen.alone(), seed)?;
            let mut state = trained.start(seed)?;
            for at in 0..ROUNDS {
                state.at = at;
                let projected = trained.factorise(&mut state);
                trained.noise(&mut state, &projected);
            }
            let tested = Tissue {
                scale: trained.scale,
                ..Tissue::new(plan, &hidden.slices(input.values.what, input.names), hidden.alone(), seed)?
            };
            state.x = Array2::from_elem((hidden.batch.len(), state.x.ncols()), 1.0);
            for (fold, errors) in errors.iter_mut().enumerate() {
                let genes: Vec<usize> = order.iter().copied().skip(fold).step_by(FOLDS).collect();
                errors[with] = tested.missed(&state, &hidden, &genes);
            }
        }
    }
    Ok(out)
}

/// Least gain of a fold: scales that ran away do not count for more.
const RUIN: f64 = -1e3;

/// Share of e(H) that scales of genes save, for every half and fold whose genes have any error to save.
pub fn gains(errors: &[[f64; 2]]) -> Vec<f64> {
    let gain = |e: &[f64; 2]| {
        let gain = (e[0] - e[1]) / e[0];
        if gain.is_finite() { gain.max(RUIN) } else { RUIN }
    };
    errors.iter().filter(|e| e[0] > 0.0 && e[0].is_finite()).map(gain).collect()
}

/// Whether scales of genes pay.
pub fn pays(errors: &[[f64; 2]]) -> bool {
    let gain = gains(errors);
    let n = gain.len() as f64;
    let mean = gain.iter().sum::<f64>() / n;
    let spread = gain.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (n - 1.0);
    gain.len() > 1 && mean > 2.0 * (spread / n).sqrt()
}

/// Least scale in one step.
const LEAST_SCALE: f64 = 1e-3;

/// Some of the cells.
struct Part {
    matrix: Matrix,
    batch: Vec<u32>,
    places: Array2<f64>,
}

impl Part {
    fn of(input: &Slices<'_>, at: &[usize]) -> Part {
        let matrix = input.values.matrix.rows(at);
        let batch = at.iter().map(|&i| input.batch[i]).collect();
        Part { matrix, batch, places: input.places.select(Axis(0), at) }
    }

    fn slices<'b>(&'b self, what: &'b str, names: &'b [String]) -> Slices<'b> {
        let values = Values { what, matrix: &self.matrix };
        Slices { values, batch: &self.batch, names, places: self.places.view(), edges: None }
    }

    /// No cell has a neighbour.
    fn alone(&self) -> Neighbours {
        Neighbours::from_edges(self.batch.len(), [])
    }
}

impl Tissue<'_> {
    /// One step of the scales of genes.
    pub(super) fn rescale(&self, s: &mut State) {
        let Table::Slices(parts) = &self.table else { return };
        let w = self.blended(s);
        let products = self.by_slice(parts, s, &w);
        let mut logs = Array2::<f64>::zeros(s.gene_scale.dim());
        for (t, (product, cells)) in products.iter().zip(&self.cells).enumerate() {
            let own = w.select(Axis(0), cells);
            let image = own.t().dot(&own).dot(&s.turned);
            let prior = s.noise[t] / self.plan.gene_scale.powi(2);
            for g in 0..self.genes {
                let m = s.turned.column(g);
                let (along, square) = (m.dot(&product.row(g)), m.dot(&image.column(g)));
                logs[[t, g]] = ((along + prior) / (square + prior)).max(LEAST_SCALE).ln();
            }
        }
        let mean = logs.sum_axis(Axis(0)) / self.slices() as f64;
        for (mut d, log) in s.gene_scale.rows_mut().into_iter().zip(logs.rows()) {
            d.iter_mut().zip(log).zip(&mean).for_each(|((d, log), mean)| *d *= (log - mean).exp());
        }
    }

    /// e(H) of the cells of this tissue, `cells`, at the M, d and σ of a state; `genes` is H.
    fn missed(&self, s: &State, cells: &Part, genes: &[usize]) -> f64 {
        let mut kept = s.clone();
        genes.iter().for_each(|&g| kept.turned.column_mut(g).fill(0.0));
        let projected = self.project(&kept);
        self.alone(&mut kept, &projected);
        let values = cells.matrix.columns(genes);
        let m = s.turned.select(Axis(1), genes);
        let sums: Vec<f64> = (0..self.batch.len())
            .collect::<Vec<_>>()
            .par_chunks(BLOCK)
            .map(|at| {
                settle();
                let mut sum = 0.0;
                let mut seen = vec![0.0; genes.len()];
                for &i in at {
                    match &values {
                        Matrix::Dense(y) => seen.iter_mut().zip(y.row(i)).for_each(|(to, y)| *to = *y),
                        Matrix::Sparse(y) => {
                            seen.fill(0.0);
                            let (places, y) = y.row(i);
                            places.iter().zip(y).for_each(|(&h, y)| seen[h as usize] = *y);
                        }
                    }
                    let (t, fitted) = (self.batch[i], kept.x.row(i).dot(&m));
                    for ((&g, y), fitted) in genes.iter().zip(&seen).zip(fitted) {
                        let d = s.gene_scale.get((t, g)).copied().unwrap_or(1.0);
                        sum += (self.scale[t] * y - d * fitted).powi(2);
                    }
                }
                sum
            })
            .collect();
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_must_stand_out_from_its_spread() {
        assert!(!pays(&[]) && !pays(&[[1.0, 0.5]]));
        assert!(pays(&[[1.0, 0.9], [2.0, 1.7], [1.0, 0.88]]));
        assert!(
            !pays(&[[1.0, 0.9], [1.0, 1.1], [1.0, 0.99]]) && !pays(&[[1.0, 1.1], [1.0, 1.2], [1.0, 1.1]])
        );
    }
    #[test]
    fn folds_without_error_and_scales_that_ran_away_give_finite_gains() {
        // Fewer genes than folds leave a fold empty.
        let found = gains(&[[0.0, 0.0], [2.0, 1.0], [1.0, f64::NAN], [1.0, f64::INFINITY], [1.0, 1e9]]);
        assert_eq!(found, [0.5, RUIN, RUIN, RUIN]);
        assert!(pays(&[[0.0, 0.0], [1.0, 0.9], [1.0, 0.89]]) && !pays(&[[1.0, 0.1], [1.0, f64::NAN]]));
    }
}
