//! The partial log-likelihood with its derivatives, gathered in one pass over falling times.
//!
//! With S0 = Σ w, S1 = Σ w x, S2 = Σ w x xᵀ over the subjects at risk, less the share l/d of the same sums
//! over the d events of a time (Efron), x̄ = S1/S0 and
//!
//! ∇ℓ = Σ_t Σ_l (x_l − x̄),  −∇²ℓ = Σ_t Σ_l (S2/S0 − x̄ x̄ᵀ).

use ndarray::{Array1, Array2, ArrayView2};

use super::Ties;
use crate::linalg::cholesky::Cholesky;

/// Subjects in falling order of time.
pub(super) struct Risk<'a> {
    x: ArrayView2<'a, f64>,
    pub(super) time: &'a [f64],
    pub(super) event: &'a [bool],
    order: Vec<usize>,
    pub(super) events: usize,
    ties: Ties,
}

/// ℓ with its gradient and minus its Hessian at β.
pub(super) struct Look {
    pub(super) beta: Vec<f64>,
    pub(super) value: f64,
    pub(super) gradient: Array1<f64>,
    pub(super) information: Array2<f64>,
}

impl Look {
    pub(super) fn factor(&self) -> Option<Cholesky> {
        let finite = self.information.iter().all(|v| v.is_finite());
        let factor = finite.then(|| Cholesky::new(self.information.view())).flatten()?;
        // Rounding can let a singular matrix through.
        (factor.spread() > 1e-9).then_some(factor)
    }
}

/// Weighted sums over a set of subjects: Σ w, Σ w x, Σ w x xᵀ (lower triangle).
struct Sums {
    weight: f64,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn new(k: usize) -> Sums {
        Sums { weight: 0.0, first: vec![0.0; k], second: vec![0.0; k * k] }
    }

    fn clear(&mut self) {
        self.weight = 0.0;
        self.first.fill(0.0);
        self.second.fill(0.0);
    }

    fn add(&mut self, w: f64, x: &[f64]) {
        self.weight += w;
        let k = x.len();
        for (a, &u) in x.iter().enumerate() {
            let wu = w * u;
            self.first[a] += wu;
            self.second[a * k..=a * k + a].iter_mut().zip(x).for_each(|(s, &v)| *s += wu * v);
        }
    }
}

impl<'a> Risk<'a> {
    pub(super) fn new(x: ArrayView2<'a, f64>, time: &'a [f64], event: &'a [bool], ties: Ties) -> Risk<'a> {
        let mut order: Vec<usize> = (0..time.len()).collect();
        order.sort_by(|&a, &b| time[b].total_cmp(&time[a]).then(a.cmp(&b)));
        let events = event.iter().filter(|e| **e).count();
        Risk { x, time, event, order, events, ties }
    }

    /// x_iᵀβ.
    pub(super) fn scores(&self, beta: &[f64]) -> Vec<f64> {
        self.x.rows().into_iter().map(|r| r.iter().zip(beta).map(|(x, b)| x * b).sum()).collect()
    }

    /// `None` where a weight leaves the range of doubles.
    pub(super) fn look(&self, beta: &[f64]) -> Option<Look> {
        self.pass(beta, |_, _| {})
    }

    /// Schoenfeld residuals: for every event, in falling order of time, its time and its covariates less the
    /// mean of x̄ over the events of that time.
    pub(super) fn residuals(&self, beta: &[f64]) -> Vec<(f64, Vec<f64>)> {
        let mut out = Vec::with_capacity(self.events);
        self.pass(beta, |here, centre| {
            for &i in here.iter().filter(|&&i| self.event[i]) {
                let rest = self.x.row(i).iter().zip(centre).map(|(x, c)| x - c).collect();
                out.push((self.time[i], rest));
            }
        });
        out
    }

    /// The pass; `at_events` is told the subjects of each time with events, and the mean of x̄ over these events.
    fn pass(&self, beta: &[f64], mut at_events: impl FnMut(&[usize], &[f64])) -> Option<Look> {
        let k = beta.len();
        let scores = self.scores(beta);
        // ℓ does not change when all scores do by the same amount.
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut at_risk, mut dying) = (Sums::new(k), Sums::new(k));
        let mut value = 0.0;
        let mut gradient = vec![0.0; k];
        let mut information = Array2::zeros((k, k));
        let (mut row, mut mean, mut centre) = (vec![0.0; k], vec![0.0; k], vec![0.0; k]);
        let mut start = 0;
        while start < self.order.len() {
            let now = self.time[self.order[start]];
            let length = self.order[start..].iter().take_while(|&&i| self.time[i] == now).count();
            dying.clear();
            centre.fill(0.0);
            let mut deaths = 0usize;
            let here = &self.order[start..start + length];
            for &i in here {
                row.iter_mut().zip(self.x.row(i)).for_each(|(r, x)| *r = *x);
                let w = (scores[i] - top).exp();
                at_risk.add(w, &row);
                if self.event[i] {
                    deaths += 1;
                    value += scores[i] - top;
                    gradient.iter_mut().zip(&row).for_each(|(g, x)| *g += x);
                    if self.ties == Ties::Efron {
                        dying.add(w, &row);
                    }
                }
            }
            for l in 0..deaths {
                let gone = l as f64 / deaths as f64;
                let weight = at_risk.weight - gone * dying.weight;
                value -= weight.ln();
                for a in 0..k {
                    mean[a] = (at_risk.first[a] - gone * dying.first[a]) / weight;
                    gradient[a] -= mean[a];
                    centre[a] += mean[a] / deaths as f64;
                    for b in 0..=a {
                        let second = at_risk.second[a * k + b] - gone * dying.second[a * k + b];
                        information[[a, b]] += second / weight - mean[a] * mean[b];
                    }
                }
            }
            if deaths > 0 {
                at_events(here, &centre);
            }
            start += length;
        }
        for a in 0..k {
            for b in 0..a {
                information[[b, a]] = information[[a, b]];
            }
        }
        let finite = value.is_finite() && gradient.iter().all(|g| g.is_finite());
        finite.then(|| Look { beta: beta.to_vec(), value, gradient: gradient.into(), information })
    }
}
