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
//! With I the information at β̂: se_j = √(I⁻¹)_jj, z = β̂/se, Wald p = 2Φ(−|z|). The likelihood-ratio
//! statistic 2(ℓ(β̂) − ℓ(0)) is χ²_k under β = 0. Where the covariates order the events perfectly, ℓ rises
//! for ever along some direction (monotone likelihood); such coefficients are marked.

use ndarray::{Array1, Array2, ArrayView2};
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

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
        CoxFit {
            coef: unit(&at.beta),
            se: unit(&se),
            bonferroni: adjust(&p, Adjust::Bonferroni),
            z,
            p,
            infinite,
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

fn check(x: ArrayView2<'_, f64>, time: &[f64], event: &[bool]) -> Result<()> {
    let (n, k) = x.dim();
    let shape = |what: &str, found: usize, rule| Error::Shape { what: what.into(), found: vec![found], rule };
    if time.len() != n {
        return Err(shape("times", time.len(), "one per row of the covariates"));
    }
    if event.len() != n {
        return Err(shape("events", event.len(), "one per row of the covariates"));
    }
    if k == 0 {
        return Err(Error::Shape {
            what: "covariates".into(),
            found: vec![n, k],
            rule: "at least one column",
        });
    }
    if let Some((i, &found)) = time.iter().enumerate().find(|(_, t)| !(t.is_finite() && **t >= 0.0)) {
        let rule = "a finite time, 0 or later; drop subjects whose time is not known";
        return Err(Error::Value { what: "time".into(), found, at: (i, 0), rule });
    }
    if let Some((at, &found)) = x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "covariates".into(), found, at, rule: "finite" });
    }
    match event.iter().filter(|e| **e).count() {
        0 => Err(Error::Missing {
            what: format!("an event among {n} subjects"),
            hint: "without one, no risk can be estimated; check how events are coded".into(),
        }),
        events if events < k => Err(shape(
            "events that happened",
            events,
            "at least as many as covariates; use fewer covariates or fit each alone",
        )),
        _ => Ok(()),
    }
}

/// Mean and standard deviation (n − 1) of each column.
fn moments(x: ArrayView2<'_, f64>) -> Result<(Vec<f64>, Vec<f64>)> {
    let n = x.nrows() as f64;
    let (mut mean, mut sd, mut flat) = (Vec::new(), Vec::new(), Vec::new());
    for (j, column) in x.columns().into_iter().enumerate() {
        let (first, size) = (column[0], column.fold(0.0f64, |m, v| m.max(v.abs())));
        // Scaled by the largest value, so that no square overflows.
        let unit = if size > 0.0 { size } else { 1.0 };
        let m = first / unit + column.iter().map(|v| v / unit - first / unit).sum::<f64>() / n;
        let s = (column.iter().map(|v| (v / unit - m).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
        if s <= 1e-13 || !(s * unit).is_normal() {
            flat.push(j);
        }
        mean.push(m * unit);
        sd.push(s * unit);
    }
    match flat.is_empty() {
        true => Ok((mean, sd)),
        false => Err(Error::Line {
            what: "covariates".into(),
            axis: "column",
            at: flat,
            problem: "has the same value for every subject",
            hint: "leave it out".into(),
        }),
    }
}

/// Refuses columns that are sums of earlier ones, by orthogonalising one after the other.
fn dependent(z: ArrayView2<'_, f64>) -> Result<()> {
    let mut basis: Vec<Array1<f64>> = Vec::new();
    let mut at = Vec::new();
    for (j, column) in z.columns().into_iter().enumerate() {
        let before = column.dot(&column).sqrt();
        let mut rest = column.to_owned();
        // Twice is enough for a basis that is orthogonal to rounding.
        for _ in 0..2 {
            for b in &basis {
                let along = b.dot(&rest);
                rest.scaled_add(-along, b);
            }
        }
        let after = rest.dot(&rest).sqrt();
        if after <= 1e-7 * before {
            at.push(j);
        } else {
            basis.push(rest / after);
        }
    }
    match at.is_empty() {
        true => Ok(()),
        false => Err(Error::Line {
            what: "covariates".into(),
            axis: "column",
            at,
            problem: "is a linear combination of the columns before it",
            hint: "leave it out, or fit each covariate alone".into(),
        }),
    }
}

/// Covariates without information at β = 0.
fn flat(at: &Look) -> Error {
    let diagonal = at.information.diag();
    let most = diagonal.fold(0.0f64, |m, v| m.max(*v));
    let mut columns: Vec<usize> =
        (0..diagonal.len()).filter(|&j| diagonal[j] <= 1e-12 * most.max(1e-12)).collect();
    if columns.is_empty() {
        columns = (0..diagonal.len()).collect();
    }
    Error::Line {
        what: "covariates".into(),
        axis: "column",
        at: columns,
        problem: "does not vary, by itself, among the subjects at risk when events happen",
        hint: "leave it out, or check times and events".into(),
    }
}

/// The error of a one-column fit, with the column's place in the table.
fn in_column(error: Error, j: usize) -> Error {
    match error {
        Error::Value { what, found, at, rule } if what == "covariates" => {
            Error::Value { what, found, at: (at.0, j), rule }
        }
        Error::Line { what, axis, problem, hint, .. } => {
            Error::Line { what, axis, at: vec![j], problem, hint }
        }
        other => other,
    }
}

/// Subjects in falling order of time.
struct Risk<'a> {
    x: ArrayView2<'a, f64>,
    time: &'a [f64],
    event: &'a [bool],
    order: Vec<usize>,
    events: usize,
    ties: Ties,
}

/// ℓ with its gradient and minus its Hessian at β.
struct Look {
    beta: Vec<f64>,
    value: f64,
    gradient: Array1<f64>,
    information: Array2<f64>,
}

impl Look {
    fn factor(&self) -> Option<Cholesky> {
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
    fn new(x: ArrayView2<'a, f64>, time: &'a [f64], event: &'a [bool], ties: Ties) -> Risk<'a> {
        let mut order: Vec<usize> = (0..time.len()).collect();
        order.sort_by(|&a, &b| time[b].total_cmp(&time[a]).then(a.cmp(&b)));
        let events = event.iter().filter(|e| **e).count();
        Risk { x, time, event, order, events, ties }
    }

    /// x_iᵀβ.
    fn scores(&self, beta: &[f64]) -> Vec<f64> {
        self.x.rows().into_iter().map(|r| r.iter().zip(beta).map(|(x, b)| x * b).sum()).collect()
    }

    /// `None` where a weight leaves the range of doubles.
    fn look(&self, beta: &[f64]) -> Option<Look> {
        let k = beta.len();
        let scores = self.scores(beta);
        // ℓ does not change when all scores do by the same amount.
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut at_risk, mut dying) = (Sums::new(k), Sums::new(k));
        let mut value = 0.0;
        let mut gradient = vec![0.0; k];
        let mut information = Array2::zeros((k, k));
        let (mut row, mut mean) = (vec![0.0; k], vec![0.0; k]);
        let mut start = 0;
        while start < self.order.len() {
            let now = self.time[self.order[start]];
            let length = self.order[start..].iter().take_while(|&&i| self.time[i] == now).count();
            dying.clear();
            let mut deaths = 0usize;
            for &i in &self.order[start..start + length] {
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
                    for b in 0..=a {
                        let second = at_risk.second[a * k + b] - gone * dying.second[a * k + b];
                        information[[a, b]] += second / weight - mean[a] * mean[b];
                    }
                }
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

/// Harrell's C: among pairs in which the earlier time is an event, the share in which its score is the
/// larger one; equal scores count half. Of two equal times, an event comes before a censored one and two
/// events are not compared. ½ where no pair is comparable. O(n log n).
pub fn concordance(score: &[f64], time: &[f64], event: &[bool]) -> f64 {
    let n = score.len().min(time.len()).min(event.len());
    // Adding 0 turns −0 into 0, which the order of all doubles tells apart.
    let unsigned = |v: &[f64]| -> Vec<f64> { v[..n].iter().map(|v| v + 0.0).collect() };
    let (score, time) = (unsigned(score), unsigned(time));
    let mut sorted: Vec<f64> = score.clone();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let rank = |s: f64| sorted.partition_point(|v| v.total_cmp(&s).is_lt()) + 1;
    // A tree of partial counts over the ranks.
    let mut tree = vec![0u64; sorted.len() + 1];
    let up_to = |tree: &[u64], mut at: usize| {
        let mut sum = 0;
        while at > 0 {
            sum += tree[at];
            at &= at - 1;
        }
        sum
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| time[b].total_cmp(&time[a]).then(event[a].cmp(&event[b])));
    let (mut pairs, mut halves, mut inside) = (0u64, 0u64, 0u64);
    let mut pending: Vec<usize> = Vec::new();
    for (at, &i) in order.iter().enumerate() {
        let r = rank(score[i]);
        if event[i] {
            let (below, same) = (up_to(&tree, r - 1), up_to(&tree, r) - up_to(&tree, r - 1));
            pairs += inside;
            halves += 2 * below + same;
        }
        pending.push(r);
        let next = order.get(at + 1);
        // Events at one time enter together, after all of them have been compared.
        if next.is_none_or(|&j| time[j] != time[i] || !event[i]) {
            for mut r in pending.drain(..) {
                inside += 1;
                while r < tree.len() {
                    tree[r] += 1;
                    r += r & r.wrapping_neg();
                }
            }
        }
    }
    if pairs == 0 { 0.5 } else { halves as f64 / (2 * pairs) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;

    /// Covariates, times on a coarse grid, so that many tie, and events.
    fn data(n: usize, k: usize, grid: f64, seed: u64) -> (Array2<f64>, Vec<f64>, Vec<bool>) {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_fn((n, k), |_| rng.random_range(-1.0..1.0));
        let time = (0..n)
            .map(|i| {
                let rate = (x.row(i).iter().sum::<f64>() * 0.7).exp();
                let t: f64 = -rng.random_range(1e-6..1.0f64).ln() / rate;
                (t * grid).ceil() / grid
            })
            .collect();
        let event = (0..n).map(|_| rng.random_bool(0.7)).collect();
        (x, time, event)
    }

    /// ℓ by its definition, every sum anew.
    fn slow(x: &Array2<f64>, time: &[f64], event: &[bool], ties: Ties, beta: &[f64]) -> f64 {
        let score = |i: usize| x.row(i).iter().zip(beta).map(|(a, b)| a * b).sum::<f64>();
        let mut times: Vec<f64> = time.to_vec();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let mut value = 0.0;
        for t in times {
            let dead: Vec<usize> = (0..time.len()).filter(|&i| time[i] == t && event[i]).collect();
            let risk: f64 = (0..time.len()).filter(|&i| time[i] >= t).map(|i| score(i).exp()).sum();
            let gone: f64 = dead.iter().map(|&i| score(i).exp()).sum();
            for (l, &i) in dead.iter().enumerate() {
                let share = if ties == Ties::Efron { l as f64 / dead.len() as f64 } else { 0.0 };
                value += score(i) - (risk - share * gone).ln();
            }
        }
        value
    }

    #[test]
    fn the_likelihood_is_its_definition_and_its_derivatives_are_differences() {
        let (x, time, event) = data(60, 3, 5.0, 1);
        let beta = [0.3, -0.8, 1.1];
        for ties in [Ties::Efron, Ties::Breslow] {
            let risk = Risk::new(x.view(), &time, &event, ties);
            let here = risk.look(&beta).unwrap();
            assert!((here.value - slow(&x, &time, &event, ties, &beta)).abs() < 1e-10);
            let h = 1e-5;
            for a in 0..3 {
                let moved = |by: f64| {
                    let mut b = beta;
                    b[a] += by;
                    b
                };
                let (up, down) = (moved(h), moved(-h));
                let value = |b: &[f64]| slow(&x, &time, &event, ties, b);
                assert!((here.gradient[a] - (value(&up) - value(&down)) / (2.0 * h)).abs() < 1e-7);
                let (up, down) = (risk.look(&up).unwrap(), risk.look(&down).unwrap());
                for b in 0..3 {
                    let slope = -(up.gradient[b] - down.gradient[b]) / (2.0 * h);
                    assert!((here.information[[a, b]] - slope).abs() < 1e-6);
                }
            }
        }
        let efron = Risk::new(x.view(), &time, &event, Ties::Efron).look(&beta).unwrap().value;
        assert!((efron - slow(&x, &time, &event, Ties::Breslow, &beta)).abs() > 0.1, "times do tie");
    }

    #[test]
    fn the_maximum_is_one_and_no_unit_changes_it() {
        let (x, time, event) = data(150, 3, 20.0, 2);
        for ties in [Ties::Efron, Ties::Breslow] {
            let plain = Cox { ties, standardise: false, ..Cox::default() };
            let fit = plain.fit(x.view(), &time, &event).unwrap();
            let best = slow(&x, &time, &event, ties, &fit.coef);
            assert!((best - fit.log_likelihood).abs() < 1e-9);
            for j in 0..3 {
                for by in [-1e-3, 1e-3] {
                    let mut near = fit.coef.clone();
                    near[j] += by;
                    assert!(slow(&x, &time, &event, ties, &near) < best);
                }
            }
            let moved = x.mapv(|v| 1e6 * v + 3e7);
            let other = plain.fit(moved.view(), &time, &event).unwrap();
            for j in 0..3 {
                assert!((other.coef[j] * 1e6 - fit.coef[j]).abs() < 1e-6);
                assert!((other.p[j] - fit.p[j]).abs() < 1e-6);
            }
            let scaled = Cox { ties, ..Cox::default() }.fit(x.view(), &time, &event).unwrap();
            assert!((scaled.z[1] - fit.z[1]).abs() < 1e-10 && fit.warnings.is_empty());
            assert!(fit.p.iter().all(|p| *p < 0.05) && fit.lr_p < 1e-6 && fit.concordance > 0.6);
        }
    }

    #[test]
    fn monotone_likelihood_is_said() {
        // The larger the covariate, the earlier the event.
        let x = Array2::from_shape_fn((30, 1), |(i, _)| 30.0 - i as f64);
        let time: Vec<f64> = (1..=30).map(f64::from).collect();
        let fit = Cox::default().fit(x.view(), &time, &[true; 30]).unwrap();
        assert_eq!(fit.infinite, [true], "{fit:?}");
        assert!(fit.warnings[0].contains("without limit"), "{:?}", fit.warnings);
        assert!(fit.lr_p < 1e-6 && fit.concordance == 1.0);
        let numbers = [&fit.coef, &fit.se, &fit.z, &fit.p].map(|v| v[0]);
        assert!(numbers.iter().all(|v| v.is_finite()), "{fit:?}");
        // A group in which nothing happens.
        let (mut x, time, mut event) = data(80, 2, 1e9, 3);
        for i in 0..80 {
            x[[i, 1]] = f64::from(u8::from(i < 20));
            event[i] &= i >= 20;
        }
        let fit = Cox::default().fit(x.view(), &time, &event).unwrap();
        assert_eq!(fit.infinite, [false, true]);
        assert!(fit.warnings[0].contains("covariate 2"), "{:?}", fit.warnings);
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let (x, time, event) = data(20, 2, 1e9, 4);
        let cox = Cox::default();
        let says = |e: Error, part: &str| assert!(e.to_string().contains(part), "{e}");
        let mut bad = time.clone();
        bad[3] = -1.0;
        says(cox.fit(x.view(), &bad, &event).unwrap_err(), "time holds -1 at row 3");
        bad[3] = f64::NAN;
        says(cox.fit(x.view(), &bad, &event).unwrap_err(), "NaN at row 3");
        says(cox.fit(x.view(), &time, &[false; 20]).unwrap_err(), "an event among 20 subjects is missing");
        let mut one = [false; 20];
        one[0] = true;
        says(cox.fit(x.view(), &time, &one).unwrap_err(), "at least as many as covariates");
        says(cox.fit(x.view(), &time[..9], &event).unwrap_err(), "times has shape [9]");
        says(cox.fit(x.view(), &time, &event[..9]).unwrap_err(), "events has shape [9]");
        says(cox.fit(x.slice(ndarray::s![.., ..0]), &time, &event).unwrap_err(), "at least one column");
        let mut y = x.clone();
        y.column_mut(1).fill(0.1);
        says(cox.fit(y.view(), &time, &event).unwrap_err(), "column 1 has the same value");
        says(cox.univariate(y.view(), &time, &event).unwrap_err(), "column 1 has the same value");
        y.column_mut(1).assign(&(2.0 * &x.column(0) + 1.0));
        says(cox.fit(y.view(), &time, &event).unwrap_err(), "linear combination");
        y[[5, 1]] = f64::INFINITY;
        says(cox.univariate(y.view(), &time, &event).unwrap_err(), "row 5, column 1");
        says(Cox { max_steps: 0, ..cox.clone() }.fit(x.view(), &time, &event).unwrap_err(), "max_steps");
        // Only one subject differs, and it is gone before the first event.
        let early = Array2::from_shape_fn((20, 1), |(i, _)| f64::from(u8::from(i == 0)));
        let time: Vec<f64> = (0..20).map(f64::from).collect();
        let event: Vec<bool> = (0..20).map(|i| i > 0).collect();
        says(cox.fit(early.view(), &time, &event).unwrap_err(), "among the subjects at risk");
    }

    #[test]
    fn concordance_counts_pairs() {
        let (x, time, event) = data(70, 1, 4.0, 5);
        let score: Vec<f64> = x.column(0).mapv(|v| (v * 4.0).round()).to_vec();
        let (mut pairs, mut good) = (0.0, 0.0);
        for i in 0..70 {
            for j in 0..70 {
                if event[i] && (time[i] < time[j] || (time[i] == time[j] && !event[j])) {
                    pairs += 1.0;
                    good += f64::from(u8::from(score[i] > score[j]));
                    good += 0.5 * f64::from(u8::from(score[i] == score[j]));
                }
            }
        }
        assert!((concordance(&score, &time, &event) - good / pairs).abs() < 1e-14);
        assert_eq!(concordance(&[1.0], &[1.0], &[true]), 0.5);
    }

    #[test]
    fn tails_at_known_quantiles() {
        for (found, expected) in [
            (two_sided(-1.959963984540054), 0.05),
            (two_sided(6.0), 1.9731752900753e-9),
            (two_sided(0.0), 1.0),
            (chi_square_tail(5.991464547107979, 2), 0.05),
            (chi_square_tail(0.0, 4), 1.0),
        ] {
            assert!((found - expected).abs() < 1e-9 * expected, "{found}, not {expected}");
        }
        assert_eq!(chi_square_tail(-1.0, 3), 1.0);
    }
}
