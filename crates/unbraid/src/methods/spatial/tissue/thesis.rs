//! The steps of the thesis' prior, which collapse: see the documentation of BATCHBLEND.

use ndarray::{Array2, Axis};

use super::super::quadratic::Quadratic;
use super::{State, Tissue};

impl Tissue<'_> {
    /// The thesis' steps after X: x at most the mean of the other slices, and β from the mean of what is left.
    pub(super) fn thesis(&self, s: &mut State, projected: &Array2<f64>, ridge: f64) {
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
}
