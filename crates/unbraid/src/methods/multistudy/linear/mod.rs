//! Linear multi-study factor analysis: the baseline without a network.
//!
//! ```text
//! x_i = μ_s + Φ f_i + Λ_s l_i + e_i,   f ~ N(0, I),   l ~ N(0, I),   e ~ N(0, Ψ_s)      of sample i of study s
//! ```
//!
//! by maximum likelihood (`em`). Loadings are known up to a rotation of Φ and of each Λ_s; the one that is reported is the
//! varimax rotation of each block by itself (`varimax`), columns by falling sum of squares, with a positive sum. They are
//! dense. A feature is read as a member of a factor where its |loading| is more than `threshold` of the largest in the column.
//! Columns of Φ that one study alone uses go to that study on the way (`exchange`).
//!
//! | symbol | shape   | meaning                                    | slot or field               |
//! |--------|---------|--------------------------------------------|-----------------------------|
//! | Φ, Λ_s | G × K_S, G × K_m | loadings, [Φ Λ_0 Λ_1 …]           | `varm["<key>_loadings"]`    |
//! | f, l   | N × K   | posterior means; 0 in other studies' columns | `obsm["X_<key>"]`         |
//! | Ψ_s    | G × M   | variance of the noise, diagonal            | `varm["<key>_noise"]`       |
//! | μ_s    |         | mean of each study; taken out first        |                             |
//! |        | K       | "shared" or the study, and members of each | `uns["<key>"]["factors"]`   |
//!
//! De Vito et al. (2019): `devito2019`, who restrict Φ and Λ to lower triangles instead of rotating them, and choose K_S and
//! K_m by information criteria; here both are given.

mod em;
mod exchange;
mod varimax;

use ndarray::{Array2, ArrayView2, Axis, s};
use serde::{Deserialize, Serialize};

use self::em::{Loadings, Moments, Study, expect, maximise};
use super::studies::Studies;
use super::{Columns, factor_table};
use crate::data::{Annotations, Slot, Value};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Draw, Iterate, Method, Seed, Step, Stop, StopRule, drive};
use crate::linalg::matmul;
use crate::linalg::randomized::{Effort, leading};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of linear multi-study factor analysis.
    pub struct Msfa {
        /// Factors of all studies K_S; 0 ≤ shared. Default 8 (MSSVAE paper, simulation).
        pub shared: usize = 8,
        /// Factors of each study's own K_m; 0 ≤ specific. Default 2 (MSSVAE paper, simulation).
        pub specific: usize = 2,
        /// Share of the largest |loading| of a factor above which a feature is its member; 0 ≤ threshold < 1. Default 0.3:
        /// 0.2 to 0.5 read the same members on simulated data.
        pub threshold: f64 = 0.3,
        /// The fit ends when the log likelihood changes by at most this share of itself; 0 ≤ tol. Default 1e-7.
        pub tol: f64 = 1e-7,
        /// Most steps; at least 1. Default 2000.
        pub max_steps: usize = 2000,
        /// Whether shared factors that one study alone uses change places with the weakest of that study's own, after 50, 100, 150
        /// and 200 steps. Default true.
        pub exchange: bool = true,
    }
}

impl Params for Msfa {
    const DOCS: &'static [ParamDoc] = Msfa::FIELDS;
}

/// Fitted loadings.
#[derive(Clone, Debug)]
pub struct MsfaFit {
    /// [Φ Λ_0 Λ_1 …], G × K.
    pub loadings: Array2<f64>,
    /// Who owns which column.
    pub columns: Columns,
    /// Names of the studies.
    pub studies: Vec<String>,
    /// Ψ, G × M.
    pub noise: Array2<f64>,
    /// Posterior means, N × K.
    pub codes: Array2<f64>,
    /// Share of the largest |loading| above which a feature is a member.
    pub threshold: f64,
    /// −log L / N before each step.
    pub objective: Vec<f64>,
    /// How the iteration ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl MsfaFit {
    /// The study of each column, `None` for shared ones.
    pub fn owners(&self) -> Vec<Option<usize>> {
        self.columns.owners()
    }

    /// Loadings of members, 0 elsewhere.
    pub fn mask(&self) -> Array2<f64> {
        let mut out = self.loadings.clone();
        for mut column in out.columns_mut() {
            let least = self.threshold * column.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            column.mapv_inplace(|v| if v.abs() > least { v } else { 0.0 });
        }
        out
    }
}

/// Steps between two looks for columns to exchange, and the number of looks.
const LOOKS: (usize, usize) = (50, 4);

/// The model bound to data.
pub(super) struct Problem {
    studies: Vec<Study>,
    columns: Columns,
    features: usize,
    exchange: bool,
}

/// Where the iteration stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    at: Loadings,
    /// Steps so far.
    pub steps: usize,
}

/// Rotated loadings, and scores of all samples.
pub(super) struct Turned {
    /// G × K.
    pub loadings: Array2<f64>,
    /// N × K; 0 in the columns of other studies.
    pub codes: Array2<f64>,
}

impl Problem {
    /// Of x, whose rows fall to studies as `samples` says.
    pub fn new(x: ArrayView2<'_, f64>, samples: &[Vec<usize>], columns: Columns, exchange: bool) -> Problem {
        let studies = samples.iter().map(|at| Study::new(x.select(Axis(0), at))).collect();
        Problem { studies, columns, features: x.ncols(), exchange }
    }

    /// The loadings after varimax, and the scores that go with them.
    pub fn turned(&self, state: &State, samples: &[Vec<usize>]) -> Result<Turned> {
        let (columns, shared) = (&self.columns, self.columns.shared);
        let mut loadings = Array2::zeros((self.features, columns.total()));
        let mut codes = Array2::zeros((self.samples(), columns.total()));
        let (phi, of_all) = rotated(&state.at.phi);
        loadings.slice_mut(s![.., ..shared]).assign(&phi);
        for (m, (moments, samples)) in self.moments(&state.at)?.iter().zip(samples).enumerate() {
            let (lambda, of_own) = rotated(&state.at.own[m]);
            let own = columns.own(m);
            loadings.slice_mut(s![.., own.clone()]).assign(&lambda);
            let f = matmul(moments.scores.slice(s![.., ..shared]), of_all.view());
            let l = matmul(moments.scores.slice(s![.., shared..]), of_own.view());
            for (row, &i) in samples.iter().enumerate() {
                codes.slice_mut(s![i, ..shared]).assign(&f.row(row));
                codes.slice_mut(s![i, own.clone()]).assign(&l.row(row));
            }
        }
        Ok(Turned { loadings, codes })
    }

    fn samples(&self) -> usize {
        self.studies.iter().map(|s| s.x.nrows()).sum()
    }

    fn moments(&self, at: &Loadings) -> Result<Vec<Moments>> {
        self.studies.iter().enumerate().map(|(m, study)| expect(study, m, at)).collect()
    }
}

/// Right singular vectors times singular values, over √n: loadings whose square is the part of the covariance that k
/// factors can explain.
fn principal(x: ArrayView2<'_, f64>, k: usize, seed: Seed) -> Result<Array2<f64>> {
    if k == 0 {
        return Ok(Array2::zeros((x.ncols(), 0)));
    }
    let found = leading(&x, k, Effort { oversamples: 20, ..Effort::default() }, seed)?;
    let mut out = Array2::zeros((x.ncols(), k));
    for (at, size) in found.s.iter().enumerate() {
        out.column_mut(at).assign(&(&found.v.column(at) * (size / (x.nrows() as f64).sqrt())));
    }
    Ok(out)
}

impl Iterate for Problem {
    type State = State;

    /// Φ from all studies, Λ_s from what it leaves of each, and a tenth of the variance as noise.
    fn start(&self, seed: Seed) -> Result<State> {
        let all: Vec<ArrayView2<'_, f64>> = self.studies.iter().map(|s| s.x.view()).collect();
        let all = ndarray::concatenate(Axis(0), &all).unwrap_or_default();
        let phi = principal(all.view(), self.columns.shared, seed.child(Draw::Init, 0))?;
        let mut unit = phi.clone();
        for mut column in unit.columns_mut() {
            let size = column.dot(&column).sqrt();
            column.mapv_inplace(|v| if size > 0.0 { v / size } else { 0.0 });
        }
        let mut own = Vec::new();
        for (m, study) in self.studies.iter().enumerate() {
            let explained = matmul(matmul(study.x.view(), unit.view()).view(), unit.t());
            let rest = &study.x - &explained;
            own.push(principal(rest.view(), self.columns.specific[m], seed.child(Draw::Init, 1 + m as u64))?);
        }
        let noise = |s: &Study| s.variances.iter().zip(&s.floor).map(|(v, f)| (0.1 * v).max(*f)).collect();
        let at = Loadings { phi, own, noise: self.studies.iter().map(noise).collect() };
        Ok(State { at, steps: 0 })
    }

    fn step(&self, state: &mut State) -> Result<Step> {
        let (every, looks) = LOOKS;
        if self.exchange && state.steps.is_multiple_of(every) && (1..=looks).contains(&(state.steps / every))
        {
            exchange::exchange(&self.studies, &mut state.at)?;
        }
        let moments = self.moments(&state.at)?;
        let log_likelihood: f64 = moments.iter().map(|m| m.log_likelihood).sum();
        maximise(&self.studies, &moments, &mut state.at)?;
        state.steps += 1;
        Ok(Step::Sweep(-log_likelihood / self.samples() as f64))
    }
}

/// Columns by falling sum of squares, of a varimax-rotated block, and the rotation that made them.
fn rotated(block: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
    let r = varimax::rotation(block);
    let b = matmul(block.view(), r.view());
    let mut order: Vec<usize> = (0..b.ncols()).collect();
    let size = |k: usize| b.column(k).dot(&b.column(k));
    order.sort_by(|&p, &q| size(q).total_cmp(&size(p)).then(p.cmp(&q)));
    let (mut b, mut r) = (b.select(Axis(1), &order), r.select(Axis(1), &order));
    for (mut b, mut r) in b.columns_mut().into_iter().zip(r.columns_mut()) {
        if b.sum() < 0.0 {
            b.mapv_inplace(|v| -v);
            r.mapv_inplace(|v| -v);
        }
    }
    (b, r)
}

impl Method for Msfa {
    const NAME: &'static str = "msfa";
    type Input<'a> = Studies<'a>;
    type Fitted = MsfaFit;

    fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if self.shared + self.specific == 0 {
            return bad("shared", "0".into(), "at least 1 where `specific` is 0");
        }
        if !(0.0..1.0).contains(&self.threshold) {
            return bad("threshold", self.threshold.to_string(), "0 or larger and below 1");
        }
        if !(self.tol >= 0.0 && self.tol.is_finite()) {
            return bad("tol", self.tol.to_string(), "0 or a positive number");
        }
        if self.max_steps == 0 {
            return bad("max_steps", "0".into(), "at least 1");
        }
        Ok(())
    }

    fn run(&self, input: Studies<'_>, ctx: &mut Ctx<'_>) -> Result<MsfaFit> {
        let (n, features) = input.values.matrix.shape();
        let samples = input.samples();
        let columns = Columns { shared: self.shared, specific: vec![self.specific; samples.len()] };
        let most = samples.iter().map(Vec::len).min().unwrap_or(0).min(features);
        if self.shared + self.specific > most {
            let found = (self.shared + self.specific).to_string();
            let rule = "with `specific` at most the number of features and of samples of the smallest study";
            return Err(Error::Param { name: "shared", found, rule });
        }
        let held = 4 * n * features + 3 * features * columns.total() + 2 * n * columns.total();
        ctx.reserve(8 * held as u64, "choose fewer features or factors")?;
        let problem = Problem::new(input.values.matrix.to_dense().view(), &samples, columns, self.exchange);
        let rule = StopRule { max_steps: self.max_steps, tol: self.tol };
        let (course, stop) = drive(&problem, rule, ctx)?;
        if stop == Stop::MaxSteps && self.tol > 0.0 {
            ctx.warn("The likelihood of the linear factors was still rising at the last step; set a larger `max_steps`.");
        }
        problem.finish(self, &course.state, (course.objective, stop), &input, ctx)
    }
}

impl Problem {
    fn finish(
        &self,
        params: &Msfa,
        state: &State,
        (objective, stop): (Vec<f64>, Stop),
        input: &Studies<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Result<MsfaFit> {
        let Turned { loadings, codes } = self.turned(state, &input.samples())?;
        let at = &state.at;
        let noise = Array2::from_shape_fn((self.features, at.noise.len()), |(j, m)| at.noise[m][j]);
        Ok(MsfaFit {
            loadings,
            columns: self.columns.clone(),
            studies: input.names.to_vec(),
            noise,
            codes,
            threshold: params.threshold,
            objective,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }
}

impl Annotate for MsfaFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        out.varm.insert(format!("{key}_loadings"), Slot::F64(self.loadings.clone()));
        out.varm.insert(format!("{key}_noise"), Slot::F64(self.noise.clone()));
        out.obsm.insert(format!("X_{key}"), Slot::F64(self.codes.clone()));
        let mask = self.mask();
        let sizes = mask.columns().into_iter().map(|c| c.iter().filter(|v| **v != 0.0).count());
        let table = factor_table(&self.owners(), &self.studies, sizes);
        let notes = out.notes(key);
        notes.insert("factors".into(), Value::Table(table));
        notes.insert("threshold".into(), self.threshold.into());
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}

#[cfg(test)]
mod tests;
