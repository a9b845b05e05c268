//! The layer: squash, solve, transport, and the transposed Jacobian.

use super::kernel::{self, Logistic, Pull, Push, Transport};
use super::newton::{self, Row};
use crate::error::{Error, Result};

/// How inputs are brought into (0, 1) before they are transported, with μ and σ the mean and the standard
/// deviation of the row and z = (w − μ)/σ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// 1/(1 + exp(−z π/√3)): the logistic distribution with the mean and variance of the row.
    Logistic,
    /// 1/(1 + exp(−z)).
    LogisticUnitStd,
    /// 1/2 + arctan(z)/π.
    Arctan,
    /// The inputs as they are, on the scale of the targets.
    None,
}

crate::words!(
    Squash,
    "a squashing",
    Logistic = "logistic",
    LogisticUnitStd = "logistic_unit_std",
    Arctan = "arctan",
    None = "none"
);

/// Spread below which a row counts as constant.
const FLAT: f64 = 1e-10;

impl Squash {
    /// Steepness of the logistic, in units of 1/σ.
    fn rate(self) -> f64 {
        match self {
            Squash::Logistic => std::f64::consts::PI / 3f64.sqrt(),
            _ => 1.0,
        }
    }

    /// The squashed value of z.
    fn of(self, z: f64) -> f64 {
        match self {
            Squash::Logistic | Squash::LogisticUnitStd => 1.0 / (1.0 + (-z * self.rate()).exp()),
            Squash::Arctan => 0.5 + z.atan() * std::f64::consts::FRAC_1_PI,
            Squash::None => z,
        }
    }
}

/// One layer: targets, ε, squash, and the tolerance of the Newton iteration.
#[derive(Clone, Debug)]
pub struct Layer {
    targets: Vec<f64>,
    /// Distance of neighbouring targets, if it is the same for all.
    spacing: Option<f64>,
    epsilon: f64,
    squash: Squash,
    tol: f64,
}

/// What [`Layer::forward`] leaves for [`Layer::backward`]; one per thread, reused.
#[derive(Clone, Debug, Default)]
pub struct Work {
    row: Row,
    t: Vec<f64>,
    cot: Vec<f64>,
    out: Vec<f64>,
    s0: Vec<f64>,
    s1: Vec<f64>,
    c: Vec<[f64; 4]>,
    location: f64,
    spread: f64,
    flat: bool,
}

/// How a row was solved.
#[derive(Clone, Copy, Debug)]
pub struct Solved {
    /// Newton steps (and scalings) taken.
    pub iterations: usize,
    /// How often Newton had to be helped by Sinkhorn sweeps.
    pub rescues: usize,
    /// max_j |s_j − b_j| / b_j at the end.
    pub error: f64,
    /// Mean of the inputs (0 without squashing).
    pub location: f64,
    /// Standard deviation of the inputs (1 without squashing).
    pub spread: f64,
}

impl Work {
    /// W of the last forward, n × m; the Laplacian of its plan is factorised.
    pub(super) fn conditional(&mut self, m: usize) -> ndarray::Array2<f64> {
        self.row.factorise(m);
        self.row.conditional(m)
    }

    pub(super) fn x(&self) -> &[f64] {
        &self.row.x
    }

    pub(super) fn laplace(&self, r: &mut [f64]) {
        self.row.laplace(r);
    }
}

impl Layer {
    /// A layer with `levels` targets, evenly spaced on [0, 1].
    pub fn new(levels: usize, epsilon: f64, squash: Squash) -> Result<Layer> {
        if levels == 0 {
            return Err(Error::Param { name: "levels", found: "0".into(), rule: "at least 1" });
        }
        let spacing = 1.0 / (levels.max(2) - 1) as f64;
        let targets = (0..levels).map(|j| j as f64 * spacing).collect();
        Ok(Layer { spacing: Some(spacing), ..Layer::with_targets(targets, epsilon, squash)? })
    }

    /// A layer with targets of the caller's choice, increasing.
    pub fn with_targets(targets: Vec<f64>, epsilon: f64, squash: Squash) -> Result<Layer> {
        let rising = targets.windows(2).all(|t| t[0] < t[1]) && targets.iter().all(|t| t.is_finite());
        if targets.is_empty() || !rising {
            return Err(Error::Param {
                name: "targets",
                found: format!("{targets:?}"),
                rule: "finite and increasing, at least one",
            });
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(Error::Param {
                name: "epsilon",
                found: epsilon.to_string(),
                rule: "finite and above 0",
            });
        }
        let spacing = match targets[..] {
            [first, second, ..] => {
                let h = second - first;
                let even = targets
                    .iter()
                    .enumerate()
                    .all(|(j, y)| (y - first - j as f64 * h).abs() <= 1e-15 * y.abs().max(h));
                even.then_some(h)
            }
            _ => Some(1.0),
        };
        Ok(Layer { targets, spacing, epsilon, squash, tol: 1e-8 })
    }

    /// The same with another tolerance on max_j |s_j − b_j| / b_j; 1e-8 unless set.
    pub fn with_tol(self, tol: f64) -> Layer {
        Layer { tol, ..self }
    }

    /// Number of targets m.
    pub fn levels(&self) -> usize {
        self.targets.len()
    }

    /// Regularisation ε.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// How inputs are squashed.
    pub fn squash(&self) -> Squash {
        self.squash
    }

    /// Targets y.
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    pub(super) fn tol(&self) -> f64 {
        self.tol
    }

    pub(super) fn spacing(&self) -> Option<f64> {
        self.spacing
    }

    /// Where squashed values lie, if that is known beforehand.
    pub(super) fn bounds(&self) -> Option<(f64, f64)> {
        (self.squash != Squash::None).then_some((0.0, 1.0))
    }

    /// The normalised row T into `t`.
    ///
    /// `w` holds n finite inputs, `a` their weights (positive, sum 1; uniform if `None`), `b` the m weights of
    /// the targets (positive, sum 1), `q` the m quantile values. `g` holds m potentials: the start of the
    /// iteration if all are finite, otherwise it is made here; the solution (mean 0) afterwards. `work` keeps
    /// what [`Layer::backward`] needs.
    pub fn forward(
        &self,
        w: &[f64],
        a: Option<&[f64]>,
        b: &[f64],
        q: &[f64],
        g: &mut [f64],
        work: &mut Work,
        t: &mut [f64],
    ) -> Solved {
        let (n, m) = (w.len(), self.levels());
        work.row.resize(n, m);
        let long = work.row.x.len();
        for padded in [&mut work.t, &mut work.cot, &mut work.out] {
            padded.resize(long, 0.0);
        }
        work.s0.resize(m, 0.0);
        work.s1.resize(m, 0.0);
        work.c.resize(m, [0.0; 4]);
        work.row.weigh(a);
        self.squash_row(w, work);
        work.row.table(self);
        if !g.iter().all(|g| g.is_finite()) {
            work.row.start(self, b, g);
        }
        let course = work.row.solve(self, b, g);
        // T_i = Σ_j W_ij q_j
        let Work { row, s0, t: inner, .. } = &mut *work;
        s0.iter_mut().zip(&row.v).zip(q).for_each(|((c, v), q)| *c = v * q);
        kernel::run(Transport { table: &row.table, c: s0, inverse: &row.inverse, t: inner });
        t.copy_from_slice(&inner[..n]);
        Solved {
            iterations: course.iterations,
            rescues: course.rescues,
            error: course.error,
            location: work.location,
            spread: work.spread,
        }
    }

    /// x and the location and spread of the row.
    fn squash_row(&self, w: &[f64], work: &mut Work) {
        let n = w.len();
        if self.squash == Squash::None {
            work.row.x[..n].copy_from_slice(w);
            (work.location, work.spread, work.flat) = (0.0, 1.0, false);
            return;
        }
        work.location = w.iter().sum::<f64>() / n as f64;
        let deviation = (w.iter().map(|w| (w - work.location).powi(2)).sum::<f64>() / n as f64).sqrt();
        work.flat = deviation < FLAT;
        work.spread = deviation.max(FLAT);
        match self.squash {
            Squash::Arctan | Squash::None => {
                for (x, w) in work.row.x.iter_mut().zip(w) {
                    *x = self.squash.of((w - work.location) / work.spread);
                }
            }
            Squash::Logistic | Squash::LogisticUnitStd => {
                let rate = self.squash.rate() / work.spread;
                kernel::run(Logistic { w, location: work.location, rate, x: &mut work.row.x[..n] });
            }
        }
    }

    /// The transposed Jacobian of the last [`Layer::forward`] on this `work`, with the same `w`, `a`, `b` and `q`.
    ///
    /// `cot` is the cotangent of T. The results overwrite `dw` (left out if `None`), `db` (mean 0; defined up to a
    /// constant, since b sums to 1) and `dq`.
    pub fn backward(
        &self,
        w: &[f64],
        _a: Option<&[f64]>,
        q: &[f64],
        cot: &[f64],
        work: &mut Work,
        dw: Option<&mut [f64]>,
        db: &mut [f64],
        dq: &mut [f64],
    ) {
        let (n, m) = (w.len(), self.levels());
        let Work { row, t, cot: inner, out, s0, s1, c, .. } = &mut *work;
        inner[..n].copy_from_slice(cot);
        inner[n..].fill(0.0);
        kernel::run(Pull { table: &row.table, v: &row.v, inverse: &row.inverse, t, cot: inner, s0, s1 });
        // q̄_j = Σ_i c_i W_ij,  γ_j = Σ_i c_i W_ij (q_j − T_i)/ε,  λ = A⁺ γ = b̄; the two factors ε cancel.
        dq.copy_from_slice(s0);
        for j in 0..m {
            db[j] = q[j] * s0[j] - s1[j];
        }
        row.factorise(m);
        row.laplace(db);
        newton::centre(db);
        let Some(dw) = dw else { return };
        for (j, c) in c.iter_mut().enumerate() {
            let (v, y) = (row.v[j], self.targets[j]);
            *c = [v * y, v * q[j] * y, v * db[j], v * db[j] * y];
        }
        kernel::run(Push {
            table: &row.table,
            inverse: &row.inverse,
            t,
            cot: inner,
            root: &row.root,
            c,
            scale: 2.0 / self.epsilon,
            out,
        });
        self.pull_squash(w, work, &work.out, dw);
    }

    /// Change of x for a change of w.
    pub(super) fn push_squash(&self, w: &[f64], work: &Work, dw: &[f64], dx: &mut [f64]) {
        if self.squash == Squash::None {
            return dx.copy_from_slice(dw);
        }
        let over = 1.0 / work.spread;
        let z = |w: &f64| (w - work.location) * over;
        let n = w.len() as f64;
        let first = dw.iter().sum::<f64>() / n;
        let second = if work.flat { 0.0 } else { dw.iter().zip(w).map(|(d, w)| d * z(w)).sum::<f64>() / n };
        for (((dx, d), w), x) in dx.iter_mut().zip(dw).zip(w).zip(&work.row.x) {
            let slope = match self.squash {
                Squash::Arctan => std::f64::consts::FRAC_1_PI / (1.0 + z(w) * z(w)),
                _ => x * (1.0 - x) * self.squash.rate(),
            };
            *dx = slope * (d - first - z(w) * second) * over;
        }
    }

    /// w̄ from x̄.
    pub(super) fn pull_squash(&self, w: &[f64], work: &Work, out: &[f64], dw: &mut [f64]) {
        let n = w.len();
        let x = &work.row.x;
        let over = 1.0 / work.spread;
        match self.squash {
            Squash::None => return dw.copy_from_slice(&out[..n]),
            // z̄ = x̄ x (1 − x) rate
            Squash::Logistic | Squash::LogisticUnitStd => {
                let rate = self.squash.rate();
                for ((dw, d), x) in dw.iter_mut().zip(out).zip(x) {
                    *dw = d * x * (1.0 - x) * rate;
                }
            }
            Squash::Arctan => {
                for ((dw, d), w) in dw.iter_mut().zip(out).zip(w) {
                    let z = (w - work.location) * over;
                    *dw = d * std::f64::consts::FRAC_1_PI / (1.0 + z * z);
                }
            }
        }
        // w̄ = (z̄ − mean z̄ − z mean(z z̄)) / σ; σ is a constant on its floor.
        let (mut first, mut second) = (0.0, 0.0);
        for (d, w) in dw.iter().zip(w) {
            first += d;
            second += d * (w - work.location) * over;
        }
        first /= n as f64;
        second = if work.flat { 0.0 } else { second / n as f64 };
        for (d, w) in dw.iter_mut().zip(w) {
            *d = (*d - first - (w - work.location) * over * second) * over;
        }
    }

    /// A fitted map at new points: x = squash((z − location)/spread), T = Σ_j q_j softmax_j((g_j − (x − y_j)²)/ε).
    pub fn evaluate(&self, location: f64, spread: f64, g: &[f64], q: &[f64], z: &[f64], out: &mut [f64]) {
        for (out, z) in out.iter_mut().zip(z) {
            let x = self.squash.of((z - location) / spread);
            let logit = |j: usize| (g[j] - (x - self.targets[j]).powi(2)) / self.epsilon;
            let top = (0..g.len()).map(logit).fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut mean) = (0.0, 0.0);
            for j in 0..g.len() {
                let p = (logit(j) - top).exp();
                sum += p;
                mean += p * q[j];
            }
            *out = mean / sum;
        }
    }
}
