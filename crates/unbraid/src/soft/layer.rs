//! The layer: squash, solve, transport, and the transposed Jacobian.

use super::adjoint::Adjoint;
use super::inverse::Inverse;
use super::kernel::{Centre, Logistic, Pull, Push, Spread, Total, Transport, Unsquash};
use super::newton::{self, Newton};
use super::row::Row;
use super::start::Bins;
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
/// Scale of rows whose squares overflow: 2⁻⁵⁴⁰.
const HUGE: f64 = f64::from_bits((1023 - 540) << 52);
/// Bins for the start of a short row.
const BINS: usize = 63;

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

/// Finest tolerance for which an inverse kept from before may do.
const LOOSE: f64 = 1e-6;
/// Weights of targets further apart than this leave too few digits of products with the Laplacian.
const APART: f64 = 1e-3;

/// Whether weights are of about one size.
fn close(weights: &[f64]) -> bool {
    let (light, heavy) = weights.iter().fold((f64::MAX, 0.0), |(l, h): (f64, f64), s| (l.min(*s), h.max(*s)));
    light >= APART * heavy
}

/// Rows at least this long are solved on a stand-in first.
const LONG: usize = 192;
/// Error of stored potentials from which on they are no better than a new start.
const FAR: f64 = 0.5;

/// What [`Layer::forward`] leaves for [`Layer::backward`]; one per thread, reused.
#[derive(Clone, Debug, Default)]
pub struct Work {
    row: Row,
    /// Few points that stand for the row.
    coarse: Row,
    bins: Bins,
    newton: Newton,
    adjoint: Adjoint,
    /// An inverse of the Laplacian near the potentials, where the tolerance is loose.
    inverse: Inverse,
    /// Whether the inverse was recalled for the row to come, or for the one at hand.
    recalled: bool,
    keeping: bool,
    /// Whether the Laplacian of the row is factorised at its potentials, and whether it is at some a few steps before.
    factorised: bool,
    near: bool,
    /// w − location, on the scale of `sigma`, padded with 0.
    z: Vec<f64>,
    t: Vec<f64>,
    cot: Vec<f64>,
    out: Vec<f64>,
    s0: Vec<f64>,
    s1: Vec<f64>,
    size: Vec<f64>,
    c: Vec<[f64; 4]>,
    location: f64,
    spread: f64,
    /// The spread on the scale of z, which is that of w unless its squares overflow.
    sigma: f64,
    flat: bool,
}

/// How a row was solved.
#[derive(Clone, Copy, Debug)]
pub struct Solved {
    /// Steps taken on the row itself: Newton's, with a new or a kept factor, and scalings.
    pub iterations: usize,
    /// Whether full steps of Newton had to be given up for damped ones (1) or not (0).
    pub rescues: usize,
    /// max_j |s_j − b_j| / b_j at the end; above the tolerance if rounding forbids less.
    pub error: f64,
    /// Mean of the inputs (0 without squashing).
    pub location: f64,
    /// Standard deviation of the inputs (1 without squashing).
    pub spread: f64,
}

impl Work {
    /// Factorises the Laplacian at the potentials of the last forward.
    fn factorise(&mut self) {
        if !self.factorised {
            self.row.factorise();
            self.factorised = true;
        }
    }

    /// λ, mean 0, from γ in place.
    fn solve(&mut self, tol: f64, gamma: &mut [f64]) {
        let Work { row, adjoint, inverse, near, factorised, .. } = self;
        let m = gamma.len();
        let loose = tol >= LOOSE && close(&row.s);
        if loose && !*factorised && !inverse.ready && *near {
            inverse.of(row.arch, m, &mut row.laplacian);
        }
        if !loose || *factorised || !inverse.ready || !adjoint.solve(row, inverse, gamma, tol) {
            self.factorise();
            let Work { row, inverse, size, keeping, .. } = self;
            row.laplacian.solve(row.arch, gamma, size);
            if loose && *keeping {
                inverse.of(row.arch, m, &mut row.laplacian);
            }
        }
        newton::centre(gamma);
    }

    /// Starts the next [`Layer::forward`] from what [`Work::keep`] stored when the same row was visited before: m × m
    /// numbers, NaN before the first visit. Used where the tolerance of the layer is 1e-6 or looser; the potentials g must
    /// be those of that visit, or nearer.
    pub fn recall(&mut self, levels: usize, kept: &[f32]) {
        self.inverse.recall(levels, kept);
        self.recalled = true;
    }

    /// Stores what the last forward and backward learnt about the row that was recalled, m × m numbers.
    pub fn keep(&mut self, levels: usize, kept: &mut [f32]) {
        self.inverse.keep(levels, kept);
    }

    /// W of the last forward, n × m; the Laplacian of its plan is factorised.
    pub(super) fn conditional(&mut self, m: usize) -> ndarray::Array2<f64> {
        self.factorise();
        self.row.conditional(m)
    }

    pub(super) fn x(&self) -> &[f64] {
        &self.row.x
    }

    /// Solves with the Laplacian for r, summed from terms no larger than `size`.
    pub(super) fn laplace(&self, r: &mut [f64], size: &[f64]) {
        self.row.laplacian.clone().solve(self.row.arch, r, size);
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

    /// Whether [`Work::recall`] is of use: the tolerance is 1e-6 or looser.
    pub fn remembers(&self) -> bool {
        self.tol >= LOOSE
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

    pub(super) fn spacing(&self) -> Option<f64> {
        self.spacing
    }

    /// Refuses inputs that [`Layer::forward`] and [`Plan::solve`](super::Plan::solve) are not defined for: no
    /// samples, values that are not finite, weights of another number, not above 0, or with a sum other than 1.
    pub fn check(&self, w: &[f64], a: Option<&[f64]>, b: &[f64]) -> Result<()> {
        if w.is_empty() {
            let rule = "at least one value long";
            return Err(Error::Shape { what: "the row".into(), found: vec![0], rule });
        }
        let value = |what: &str, found: f64, at: usize, rule| {
            Err(Error::Value { what: what.into(), found, at: (0, at), rule })
        };
        if let Some(at) = w.iter().position(|w| !w.is_finite()) {
            return value("the row", w[at], at, "finite");
        }
        let weights = [
            ("the weights of the samples", a, w.len()),
            ("the weights of the targets", Some(b), self.levels()),
        ];
        for (what, weights, count) in weights {
            let Some(weights) = weights else { continue };
            if weights.len() != count {
                let rule = "one weight for each sample or target";
                return Err(Error::Shape { what: what.into(), found: vec![weights.len()], rule });
            }
            if let Some(at) = weights.iter().position(|a| !(*a > 0.0 && a.is_finite())) {
                return value(what, weights[at], at, "finite and above 0");
            }
            let sum: f64 = weights.iter().sum();
            if (sum - 1.0).abs() > 1e-9 {
                return Err(Error::Param { name: "sum of the weights", found: sum.to_string(), rule: "1" });
            }
        }
        Ok(())
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
        for padded in [&mut work.t, &mut work.cot, &mut work.out, &mut work.z] {
            padded.resize(long, 0.0);
        }
        for small in [&mut work.s0, &mut work.s1, &mut work.size] {
            small.resize(m, 0.0);
        }
        work.c.resize(m, [0.0; 4]);
        work.row.weigh(a);
        self.squash_row(w, work);
        work.row.table(self);
        let course = self.solve(b, g, work);
        // T_i = Σ_j W_ij q_j
        let Work { row, s0, t: inner, .. } = &mut *work;
        s0.iter_mut().zip(&row.v).zip(q).for_each(|((c, v), q)| *c = v * q);
        row.run(Transport { table: &row.table, c: s0, inverse: &row.inverse, t: inner });
        t.copy_from_slice(&inner[..n]);
        Solved {
            iterations: course.iterations,
            rescues: course.rescues,
            error: course.error,
            location: work.location,
            spread: work.spread,
        }
    }

    /// Potentials of the row, from `g` if finite. A long row without a good start is solved on a
    /// stand-in first: its Laplacian is so close to that of the row that a step or two with it are enough.
    fn solve(&self, b: &[f64], g: &mut [f64], work: &mut Work) -> newton::Course {
        let Work { row, coarse, bins, newton, factorised, near, inverse, recalled, keeping, .. } = work;
        (*factorised, *near) = (false, false);
        *keeping = std::mem::take(recalled);
        inverse.ready &= *keeping && self.remembers() && close(b);
        let n = row.n;
        let stored = g.iter().all(|g| g.is_finite());
        let mut known = stored.then(|| row.marginals(self, b, g));
        if let Some(error) = known.filter(|error| inverse.ready && *error < FAR) {
            match newton.follow(row, self, b, g, self.tol, error, inverse) {
                Some(course) => return course,
                None => known = Some(row.marginals(self, b, g)),
            }
        }
        inverse.ready = false;
        if n < LONG || known.is_some_and(|error| error < FAR) {
            if !stored {
                bins.fill(row, BINS);
                bins.start(self, b, g);
            }
            return newton.solve(row, self, b, g, self.tol, known, near);
        }
        bins.fill(row, (n / 8).clamp(32, 256));
        if !stored {
            bins.start(self, b, g);
        }
        bins.condense(coarse, self.levels());
        coarse.bounds = row.bounds;
        coarse.arch = row.arch;
        coarse.table(self);
        newton.solve(coarse, self, b, g, 1e-5_f64.max(self.tol), None, &mut false);
        coarse.factorise();
        std::mem::swap(&mut row.laplacian, &mut coarse.laplacian);
        *near = true;
        newton.solve(row, self, b, g, self.tol, None, near)
    }

    /// x and the location and spread of the row.
    fn squash_row(&self, w: &[f64], work: &mut Work) {
        let n = w.len();
        let Work { row, z, .. } = work;
        if self.squash == Squash::None {
            row.x[..n].copy_from_slice(w);
            row.bounds = w.iter().fold((f64::MAX, f64::MIN), |(l, h), &x| (l.min(x), h.max(x)));
            (work.location, work.spread, work.flat) = (0.0, 1.0, false);
            return;
        }
        row.bounds = (0.0, 1.0);
        // Squares of huge values overflow: such a row is scaled by a power of two first.
        let mut scale = 1.0;
        let (location, deviation) = loop {
            z[n..].fill(0.0);
            z[..n].copy_from_slice(w);
            if scale != 1.0 {
                z[..n].iter_mut().for_each(|z| *z *= scale);
            }
            let location = row.run(Total { w: z }) / n as f64;
            let deviation = (row.run(Centre { location, n, z }) / n as f64).sqrt();
            if scale != 1.0 || deviation.is_finite() {
                break (location, deviation);
            }
            scale = HUGE;
        };
        (work.location, work.flat) = (location / scale, deviation < FLAT * scale);
        work.sigma = deviation.max(FLAT * scale);
        work.spread = work.sigma / scale;
        match self.squash {
            Squash::Arctan | Squash::None => {
                for (x, z) in row.x.iter_mut().zip(&*z) {
                    *x = self.squash.of(z / work.sigma);
                }
            }
            Squash::Logistic | Squash::LogisticUnitStd => {
                let rate = self.squash.rate() / work.sigma;
                row.arch.dispatch(Logistic { z: &z[..n], rate, x: &mut row.x[..n] });
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
        let Work { row, t, cot: inner, s0, s1, size, .. } = &mut *work;
        inner[..n].copy_from_slice(cot);
        inner[n..].fill(0.0);
        let (table, v, inverse) = (&row.table, &row.v, &row.inverse);
        row.arch.dispatch(Pull { table, v, inverse, t, cot: inner, s0, s1, scratch: &mut row.scratch });
        // q̄_j = Σ_i c_i W_ij,  γ_j = Σ_i c_i W_ij (q_j − T_i)/ε,  λ = A⁺ γ = b̄; the two factors ε cancel.
        dq.copy_from_slice(s0);
        for j in 0..m {
            db[j] = q[j] * s0[j] - s1[j];
            size[j] = (q[j] * s0[j]).abs() + s1[j].abs();
        }
        work.solve(self.tol, db);
        let Work { row, t, cot: inner, out, c, .. } = &mut *work;
        let Some(dw) = dw else { return };
        for (j, c) in c.iter_mut().enumerate() {
            let (v, y) = (row.v[j], self.targets[j]);
            *c = [v * y, v * q[j] * y, v * db[j], v * db[j] * y];
        }
        row.run(Push {
            table: &row.table,
            inverse: &row.inverse,
            t,
            cot: inner,
            a: &row.a,
            c,
            scale: 2.0 / self.epsilon,
            out,
        });
        let mut out = std::mem::take(&mut work.out);
        self.pull_squash(work, &mut out, dw);
        work.out = out;
    }

    /// Change of x for a change of w.
    pub(super) fn push_squash(&self, work: &Work, dw: &[f64], dx: &mut [f64]) {
        if self.squash == Squash::None {
            return dx.copy_from_slice(dw);
        }
        let over = 1.0 / work.sigma;
        let n = dw.len() as f64;
        let first = dw.iter().sum::<f64>() / n;
        let second = dw.iter().zip(&work.z).map(|(d, z)| d * z * over).sum::<f64>() / n;
        let second = if work.flat { 0.0 } else { second };
        for (((dx, d), z), x) in dx.iter_mut().zip(dw).zip(&work.z).zip(&work.row.x) {
            let z = z * over;
            let slope = match self.squash {
                Squash::Arctan => std::f64::consts::FRAC_1_PI / (1.0 + z * z),
                _ => x * (1.0 - x) * self.squash.rate(),
            };
            *dx = slope * (d - first - z * second) / work.spread;
        }
    }

    /// w̄ from x̄, padded, which is overwritten.
    pub(super) fn pull_squash(&self, work: &Work, out: &mut [f64], dw: &mut [f64]) {
        let n = dw.len();
        let Work { row, z, spread, sigma, flat, .. } = work;
        let over = 1.0 / *sigma;
        // z̄ = x̄ dx/dz
        let (slope, (first, second)) = match self.squash {
            Squash::None => return dw.copy_from_slice(&out[..n]),
            Squash::Logistic | Squash::LogisticUnitStd => {
                out[n..].fill(0.0);
                (self.squash.rate(), row.run(Unsquash { x: &row.x, z, bar: out }))
            }
            Squash::Arctan => {
                let mut sums = (0.0, 0.0);
                for (bar, z) in out[..n].iter_mut().zip(z) {
                    *bar /= 1.0 + (z * over).powi(2);
                    sums = (sums.0 + *bar, sums.1 + *bar * z);
                }
                (std::f64::consts::FRAC_1_PI, sums)
            }
        };
        // w̄ = (z̄ − mean z̄ − z mean(z z̄)) / σ; σ is a constant on its floor.
        let first = first / n as f64;
        let second = if *flat { 0.0 } else { second * over * over / n as f64 };
        row.run(Spread { z, bar: out, first, second, scale: slope / *spread, out: dw });
    }

    /// A fitted map at new points: x = squash((z − location)/spread), T = Σ_j q_j softmax_j((g_j − (x − y_j)²)/ε).
    pub fn evaluate(&self, location: f64, spread: f64, g: &[f64], q: &[f64], z: &[f64], out: &mut [f64]) {
        for (out, z) in out.iter_mut().zip(z) {
            // A quarter of each, so that the difference of two huge values is finite.
            let x = self.squash.of((0.25 * z - 0.25 * location) / (0.25 * spread));
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

#[cfg(test)]
mod tests;
