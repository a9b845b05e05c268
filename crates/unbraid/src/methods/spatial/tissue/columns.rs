//! The metagenes of an iteration, from the moments of X + β.
//!
//! Metagenes may be those of each slice, M_t: in the tissue
//!
//! ```text
//! M_t = argmin Σ_{i in t} |y_i − M_t w_i|²/2σ_t² + λ_M q_t/2 |M_t − M|²,    q_t = mean of the diagonal of Σ_{i in t} w_i w_iᵗ/σ_t²,
//! ```
//!
//! on the simplex, and M is their mean: λ_M weighs the others against what a slice says of itself.

use ndarray::{Array2, Axis};

use super::expression::{Slice, Table};
use super::{State, Tissue};
use crate::methods::spatial::metagenes;

/// Rounds over the metagenes in the tissue, and their tolerance.
const ROUNDS: usize = 50;
const SETTLED: f64 = 1e-4;

/// How the metagenes of a factorisation are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Over M ≥ 0, their scales then moved into the mixtures.
    Free,
    /// On the simplex, at mixtures that stay as they are.
    Simplex,
}

crate::words!(Columns, "a way to find metagenes", Free = "free", Simplex = "simplex");

impl Tissue<'_> {
    /// Mᵗ of a slice.
    pub(super) fn own<'s>(&self, s: &'s State, t: usize) -> &'s Array2<f64> {
        s.apart.get(t).unwrap_or(&s.turned)
    }

    /// MᵗM of all slices, or of each.
    pub(super) fn grams(&self, s: &State) -> Vec<Array2<f64>> {
        let square = |m: &Array2<f64>| m.dot(&m.t());
        if s.apart.is_empty() { vec![square(&s.turned)] } else { s.apart.iter().map(square).collect() }
    }

    /// Second moments of X + β and expression times X + β, each cell over its σ².
    fn moments(&self, s: &State) -> (Array2<f64>, Array2<f64>) {
        let w = self.blended(s);
        let mut weighted = w.clone();
        weighted.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row /= s.noise[t]);
        let second = weighted.t().dot(&w);
        if let Table::Slices(parts) = &self.table {
            let products = self.by_slice(parts, s, &weighted);
            let linear = products.into_iter().reduce(|a, b| a + b);
            return (second, linear.unwrap_or_else(|| Array2::zeros((self.genes, self.plan.k))));
        }
        weighted.rows_mut().into_iter().zip(&self.batch).for_each(|(mut row, &t)| row *= self.scale[t]);
        (second, self.table.whole_transposed(&self.cells, weighted.view()))
    }

    /// M of a factorisation; Y M of the new M. Free columns move their scales into X and β.
    pub(super) fn metagenes(&self, s: &mut State, columns: Columns) -> Array2<f64> {
        if let (false, Table::Slices(parts)) = (s.apart.is_empty(), &self.table) {
            self.own_metagenes(s, parts);
            return self.project(s);
        }
        let (second, linear) = self.moments(s);
        if columns == Columns::Simplex {
            metagenes::on_the_simplex(second.view(), linear.view(), &mut s.turned, ROUNDS, SETTLED);
            return self.project(s);
        }
        let scales = metagenes::free(second.view(), linear.view(), &mut s.turned, 1);
        for (a, scale) in scales.into_iter().enumerate() {
            s.x.column_mut(a).mapv_inplace(|v| v * scale);
            s.beta.column_mut(a).mapv_inplace(|v| v * scale);
        }
        self.project(s)
    }

    /// M_t of each slice, and M, their mean.
    fn own_metagenes(&self, s: &mut State, parts: &[Slice]) {
        let w = self.blended(s);
        let products = self.by_slice(parts, s, &w);
        for (t, (product, cells)) in products.iter().zip(&self.cells).enumerate() {
            let own = w.select(Axis(0), cells);
            let mut second = own.t().dot(&own) / s.noise[t];
            let weight = self.plan.apart.unwrap_or(0.0) * second.diag().mean().unwrap_or(0.0);
            second.diag_mut().iter_mut().for_each(|q| *q += weight);
            let linear = product / s.noise[t] + weight * &s.turned.t();
            metagenes::on_the_simplex(second.view(), linear.view(), &mut s.apart[t], ROUNDS, SETTLED);
        }
        let sum = s.apart.iter().fold(Array2::zeros(s.turned.dim()), |sum, m| sum + m);
        s.turned = sum / s.apart.len() as f64;
    }
}
