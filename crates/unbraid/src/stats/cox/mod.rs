//! Cox proportional hazards: how covariates change the rate of an event (Cox 1972).
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | x_i | k | covariates of subject i |
//! | t_i, δ_i | | time, and whether it ended with the event (1) or the watch only (0) |
//! | β | k | log hazard ratios |
//! | R(t) | | subjects with t_i ≥ t, at risk just before t |
//! | D(t) | | those with t_i = t and δ_i = 1, d of them |
//!
//! The hazard of subject i is h₀(t) exp(x_iᵀβ) with h₀ left open. With w_i = exp(x_iᵀβ), the partial
//! log-likelihood is, after Efron (1977),
//!
//! ℓ(β) = Σ_t [ Σ_{i∈D(t)} x_iᵀβ − Σ_{l=0}^{d−1} ln( Σ_{R(t)} w_i − (l/d) Σ_{D(t)} w_i ) ],
//!
//! and after Breslow (1974) the same with l = 0 in every term. Its gradient and minus its Hessian are
//! sums of means and covariances of x under the weights; all are gathered in one pass over falling
//! times, O(n log n) once and O(n k²) for each step. ℓ is concave, so Newton's method with halved steps
//! finds its maximum where there is one.
//!
//! Whether β is constant over time is asked of the residuals at the events (`proportional`).
//!
//! With I the information at β̂: se_j = √(I⁻¹)_jj, z = β̂/se, Wald p = 2Φ(−|z|). The likelihood-ratio
//! statistic 2(ℓ(β̂) − ℓ(0)) is χ²_k under β = 0. Where the covariates order the events perfectly, ℓ rises
//! for ever along some direction (monotone likelihood); such coefficients are marked.

mod concordance;
mod covariates;
mod likelihood;
mod proportional;

#[cfg(test)]
mod tests;

pub use concordance::concordance;

use ndarray::{Array2, ArrayView2};
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use self::covariates::{check, dependent, flat, in_column, moments};
use self::likelihood::{Look, Risk};
use super::multiple::{Adjust, adjust};
use crate::error::{Error, Result};
use crate::linalg::cholesky::Cholesky;

/// How events at one time are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// As the mean over the orders in which they could have happened, nearly.
    #[default]
    Efron,
    /// As if each had all the others still at risk.
    Breslow,
}

crate::words!(Ties, "a way to count ties", Efron = "efron", Breslow = "breslow");

/// How a model is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Cox {
    /// Events at one time.
    pub ties: Ties,
    /// Whether coefficients are per standard deviation (n − 1) of a covariate and not per unit. No p-value
    /// depends on it.
    pub standardise: bool,
    /// Most Newton steps; at least 1.
    pub max_steps: usize,
    /// Stop once a step is expected to gain less than this times 1 + |ℓ|.
    pub tol: f64,
}

impl Default for Cox {
    fn default() -> Cox {
        Cox { ties: Ties::Efron, standardise: true, max_steps: 100, tol: 1e-12 }
    }
}

/// A fitted model. Every number is finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoxFit {
    /// β̂, one per covariate.
    pub coef: Vec<f64>,
    /// Standard errors.
    pub se: Vec<f64>,
    /// β̂ over its standard error.
    pub z: Vec<f64>,
    /// Two-sided Wald p-values.
    pub p: Vec<f64>,
    /// The p-values times the number of covariates, at most 1.
    pub bonferroni: Vec<f64>,
    /// Covariates whose coefficient grows without limit (monotone likelihood); their Wald p means nothing.
    pub infinite: Vec<bool>,
    /// χ²_1 of each covariate for a coefficient that changes with the rank of time (Grambsch and Therneau 1994).
    pub ph: Vec<f64>,
    /// Its p-values: small where the hazards are not proportional.
    pub ph_p: Vec<f64>,
    /// ℓ(β̂).
    pub log_likelihood: f64,
    /// ℓ(0).
    pub null_log_likelihood: f64,
    /// 2(ℓ(β̂) − ℓ(0)).
    pub lr: f64,
    /// P(χ²_k ≥ lr).
    pub lr_p: f64,
    /// Harrell's C of x_iᵀβ̂: the chance that of two comparable subjects the earlier event has the larger
    /// risk; ½ where no two are comparable.
    pub concordance: f64,
    /// Subjects.
    pub observations: usize,
    /// Events.
    pub events: usize,
    /// Newton steps.
    pub steps: usize,
    /// What the reader should know, in whole sentences.
    pub warnings: Vec<String>,
}

impl Cox {
    /// Fits all covariates (columns of `x`, n × k) together.
    ///
    /// # Errors
    /// [`Error::Shape`] when lengths differ, there is no covariate, no event, or fewer events than
    /// covariates; [`Error::Value`] for a covariate or time that is not finite or a negative time;
    /// [`Error::Line`] for covariates that are constant, depend on the others, or do not vary among those
    /// at risk at an event.
    pub fn fit(&self, x: ArrayView2<'_, f64>, time: &[f64], event: &[bool]) -> Result<CoxFit> {
        self.validate()?;
        check(x, time, event)?;
        let (mean, sd) = moments(x)?;
        let z = Array2::from_shape_fn(x.dim(), |(i, j)| (x[[i, j]] - mean[j]) / sd[j]);
        dependent(z.view())?;
        let risk = Risk::new(z.view(), time, event, self.ties);
        let k = x.ncols();
        let mut at = risk.look(&vec![0.0; k]).ok_or_else(|| numeric("ℓ(0) is not finite"))?;
        let null = at.value;
        let mut factor = at.factor().ok_or_else(|| flat(&at))?;
        let (mut steps, mut converged, mut last) = (0, false, vec![0.0; k]);
        while steps < self.max_steps {
            let step = factor.solve(at.gradient.as_slice().unwrap_or(&[]));
            let gain: f64 = 0.5 * step.iter().zip(&at.gradient).map(|(s, g)| s * g).sum::<f64>();
            last.clone_from(&step);
            if gain <= self.tol * (1.0 + at.value.abs()) {
                // One more full step costs nothing and squares the error, unless ℓ has no maximum.
                converged = true;
                if !runs_away(&step)
                    && let Some(next) = risk.look(&add(&at.beta, &step, 1.0))
                    && next.value >= at.value - 1e-12 * (1.0 + at.value.abs())
                    && let Some(f) = next.factor()
                {
                    (at, factor) = (next, f);
                }
                break;
            }
            let mut length = 1.0;
            let next = (0..30).find_map(|_| {
                let next = risk.look(&add(&at.beta, &step, length)).filter(|n| n.value > at.value);
                length *= 0.5;
                next.and_then(|n| Some((n.factor()?, n)))
            });
            let Some((f, n)) = next else { break };
            (factor, at) = (f, n);
            steps += 1;
        }
        Ok(self.summary(&risk, x.dim(), at, &factor, &sd, Run { null, steps, converged, last }))
    }

    /// Fits each covariate alone; `bonferroni` then counts all of them.
    ///
    /// # Errors
    /// As [`Cox::fit`], with the column of the covariate.
    pub fn univariate(&self, x: ArrayView2<'_, f64>, time: &[f64], event: &[bool]) -> Result<Vec<CoxFit>> {
        let k = x.ncols();
        (0..k)
            .map(|j| {
                let mut fit =
                    self.fit(x.slice(ndarray::s![.., j..=j]), time, event).map_err(|e| in_column(e, j))?;
                fit.bonferroni = vec![(fit.p[0] * k as f64).min(1.0)];
                Ok(fit)
            })
            .collect()
    }

    fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if self.max_steps == 0 {
            return bad("max_steps", "0".into(), "1 or larger");
        }
        if !(self.tol > 0.0 && self.tol.is_finite()) {
            return bad("tol", self.tol.to_string(), "finite and above 0");
        }
        Ok(())
    }

    fn summary(
        &self,
        risk: &Risk<'_>,
        (n, k): (usize, usize),
        at: Look,
        factor: &Cholesky,
        sd: &[f64],
        run: Run,
    ) -> CoxFit {
        let mut warnings = Vec::new();
        let identity = Array2::<f64>::eye(k);
        let half = factor.whiten(identity.view());
        let se: Vec<f64> = half.columns().into_iter().map(|c| c.dot(&c).sqrt()).collect();
        // At a maximum the last step is tiny; without one it stays near one unit of some log odds.
        let away = runs_away(&run.last);
        let infinite: Vec<bool> = run.last.iter().map(|s| away && s.abs() > AWAY).collect();
        if away {
            let which: Vec<String> = (0..k).filter(|&j| infinite[j]).map(|j| (j + 1).to_string()).collect();
            warnings.push(format!(
                "The likelihood rises without limit: the covariates order the events perfectly. The coefficient of \
                 covariate {} has no finite value; read the likelihood-ratio test instead of its Wald p, or use \
                 fewer covariates.",
                which.join(", ")
            ));
        } else if !run.converged {
            warnings.push(format!("Newton's method did not converge within {} steps.", run.steps));
        }
        let events = risk.events;
        if events < 10 * k {
            warnings.push(format!(
                "{events} events for {k} covariates: with fewer than 10 events for each, coefficients and their \
                 p-values are unreliable."
            ));
        }
        let z: Vec<f64> = at.beta.iter().zip(&se).map(|(b, s)| b / s).collect();
        let p: Vec<f64> = z.iter().map(|z| two_sided(*z)).collect();
        let lr = (2.0 * (at.value - run.null)).max(0.0);
        let unit = |v: &[f64]| -> Vec<f64> {
            let scale = |j: usize| if self.standardise { 1.0 } else { sd[j] };
            v.iter().enumerate().map(|(j, v)| v / scale(j)).collect()
        };
        let scores = risk.scores(&at.beta);
        let ph = proportional::statistics(&risk.residuals(&at.beta), half.view());
        CoxFit {
            coef: unit(&at.beta),
            se: unit(&se),
            bonferroni: adjust(&p, Adjust::Bonferroni),
            z,
            p,
            infinite,
            ph_p: ph.iter().map(|c| chi_square_tail(*c, 1)).collect(),
            ph,
            log_likelihood: at.value,
            null_log_likelihood: run.null,
            lr,
            lr_p: chi_square_tail(lr, k),
            concordance: concordance(&scores, risk.time, risk.event),
            observations: n,
            events,
            steps: run.steps,
            warnings,
        }
    }
}

/// How the iteration went.
struct Run {
    null: f64,
    steps: usize,
    converged: bool,
    last: Vec<f64>,
}

/// A last step of this many standard deviations is none towards a maximum.
const AWAY: f64 = 0.05;

fn runs_away(step: &[f64]) -> bool {
    step.iter().any(|s| s.abs() > AWAY)
}

fn add(beta: &[f64], step: &[f64], length: f64) -> Vec<f64> {
    beta.iter().zip(step).map(|(b, s)| b + length * s).collect()
}

fn numeric(why: &str) -> Error {
    Error::Numeric { what: "the partial likelihood", why: why.to_owned() }
}

/// 2Φ(−|z|), the upper tail of z² under χ²_1.
pub fn two_sided(z: f64) -> f64 {
    chi_square_tail(z * z, 1)
}

/// P(χ²_k ≥ x), for k ≥ 1.
pub fn chi_square_tail(x: f64, k: usize) -> f64 {
    ChiSquared::new(k as f64).map_or(1.0, |law| law.sf(x.max(0.0))).clamp(0.0, 1.0)
}
