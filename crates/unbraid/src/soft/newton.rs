//! Newton's method on the m potentials, with its start and its rescues.

use super::kernel::{self, Direct, Moments, Powers, padded};
use super::layer::Layer;

/// A row being solved: squashed inputs, the table, and what the last pass over it found.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Samples, without the padding.
    pub n: usize,
    /// Squashed inputs, padded with the centre.
    pub x: Vec<f64>,
    /// √a, padded with 0.
    pub root: Vec<f64>,
    pub table: Vec<f64>,
    pub inverse: Vec<f64>,
    pub v: Vec<f64>,
    pub s: Vec<f64>,
    pub second: Vec<f64>,
    pub scratch: Vec<f64>,
    pub factor: Vec<f64>,
    pub step: Vec<f64>,
    best: Vec<f64>,
    pinned: usize,
    /// Whether the table holds powers (fixed for the row) or the softmax itself.
    powers: bool,
    centre: f64,
}

/// How a solve went.
pub struct Course {
    pub iterations: usize,
    pub rescues: usize,
    pub error: f64,
}

/// Largest logarithm in the power form that is safely inside the range of a double.
const SAFE: f64 = 680.0;

impl Row {
    /// Makes room for n samples and m targets.
    pub fn resize(&mut self, n: usize, m: usize) {
        let (long, wide) = (n.next_multiple_of(kernel::PAD), padded(m));
        self.n = n;
        self.x.resize(long, 0.0);
        self.root.resize(long, 0.0);
        self.table.resize(long * m, 0.0);
        self.inverse.resize(long, 0.0);
        for small in [&mut self.v, &mut self.s, &mut self.step, &mut self.best] {
            small.resize(m, 0.0);
        }
        self.second.resize(wide * wide, 0.0);
        self.factor.resize(wide * wide, 0.0);
        if self.scratch.len() != wide * kernel::BLOCK {
            self.scratch = vec![0.0; wide * kernel::BLOCK];
        }
    }

    /// Sets the weights; uniform if none are given.
    pub fn weigh(&mut self, a: Option<&[f64]>) {
        let n = self.n;
        match a {
            Some(a) => self.root.iter_mut().zip(a).for_each(|(r, a)| *r = a.sqrt()),
            None => self.root[..n].fill((1.0 / n as f64).sqrt()),
        }
        self.root[n..].fill(0.0);
    }

    /// Pads x and builds the power table if the targets are evenly spaced and its range allows.
    pub fn table(&mut self, layer: &Layer) {
        let (low, high) = match layer.bounds() {
            Some(bounds) => bounds,
            None => self.x[..self.n].iter().fold((f64::MAX, f64::MIN), |(l, h), &x| (l.min(x), h.max(x))),
        };
        self.centre = 0.5 * (low + high);
        let (n, m) = (self.n, layer.levels());
        self.x[n..].fill(self.centre);
        self.powers = false;
        if let Some(spacing) = layer.spacing() {
            let rate = 2.0 * spacing / layer.epsilon();
            let half = 0.5 * (m - 1) as f64;
            if half.max(1.0) * rate * 0.5 * (high - low) < 0.95 * SAFE {
                let Row { x, table, centre, .. } = self;
                kernel::run(Powers { x, centre: *centre, rate, m, table });
                self.powers = true;
            }
        }
    }

    /// W at g: v (and the table in the direct form), row sums, s and the second moments.
    fn moments(&mut self, layer: &Layer, g: &[f64]) {
        if self.powers {
            // logit_ij = (g_j − y_j² + 2 c y_j)/ε + (j − (m−1)/2) log r_i + a constant of the row.
            let (mut low, mut high) = (f64::MAX, f64::MIN);
            for ((v, g), y) in self.v.iter_mut().zip(g).zip(layer.targets()) {
                *v = (g - y * y + 2.0 * self.centre * y) / layer.epsilon();
                low = low.min(*v);
                high = high.max(*v);
            }
            let half = 0.5 * (layer.levels() - 1) as f64;
            let rate = 2.0 * layer.spacing().unwrap_or(0.0) / layer.epsilon();
            let reach = self.x[..self.n].iter().fold(0.0, |m: f64, x| m.max((x - self.centre).abs()));
            // The second moments are taken before they are multiplied by v_j v_k, as small as the square of v.
            self.powers = half * rate * reach + (high - low) <= SAFE && 2.0 * (high - low) <= SAFE;
            self.v.iter_mut().for_each(|v| *v = (*v - high).exp());
        }
        if !self.powers {
            self.v.fill(1.0);
            let Row { x, table, .. } = self;
            kernel::run(Direct { x, y: layer.targets(), g, epsilon: layer.epsilon(), table });
        }
        let Row { table, v, root, inverse, s, second, scratch, .. } = self;
        kernel::run(Moments { table, v, root, inverse, s, second, scratch });
    }

    /// Potentials of the unregularised problem: between y_j and y_{j+1} lies the quantile of x at b_1 + … + b_j.
    pub fn start(&self, layer: &Layer, b: &[f64], g: &mut [f64]) {
        const BINS: usize = 512;
        let mut mass = [0.0; BINS];
        let (low, high) = match layer.bounds() {
            Some(bounds) => bounds,
            None => self.x[..self.n].iter().fold((f64::MAX, f64::MIN), |(l, h), &x| (l.min(x), h.max(x))),
        };
        let width = (high - low).max(f64::MIN_POSITIVE);
        let scale = BINS as f64 / width;
        for (x, root) in self.x[..self.n].iter().zip(&self.root) {
            let k = ((x - low) * scale) as usize;
            mass[k.min(BINS - 1)] += root * root;
        }
        let (mut below, mut level, mut k) = (0.0, 0.0, 0);
        let y = layer.targets();
        g[0] = 0.0;
        for j in 0..y.len() - 1 {
            level += b[j];
            while k < BINS - 1 && below + mass[k] < level {
                below += mass[k];
                k += 1;
            }
            let part = if mass[k] > 0.0 { ((level - below) / mass[k]).clamp(0.0, 1.0) } else { 0.5 };
            let t = low + (k as f64 + part) * width / BINS as f64;
            g[j + 1] = g[j] + (t - y[j + 1]).powi(2) - (t - y[j]).powi(2);
        }
        centre(g);
    }

    /// Solves Wᵀa = b for g, to a relative error of `layer.tol()`; leaves the table at the g returned.
    pub fn solve(&mut self, layer: &Layer, b: &[f64], g: &mut [f64]) -> Course {
        const STEPS: usize = 100;
        let epsilon = layer.epsilon();
        let (mut iterations, mut rescues, mut halvings, mut sweeps) = (0, 0, 0, 0);
        let mut before = f64::INFINITY;
        self.best.copy_from_slice(g);
        // No pair of potentials differs by more than the costs do, but for ε log of the weights.
        let (y, x) = (layer.targets(), &self.x[..self.n]);
        let low = x.iter().fold(y[0], |m, &x| m.min(x));
        let span = x.iter().fold(y[y.len() - 1], |m, &x| m.max(x)) - low;
        let reach = 2.0 * span * span / epsilon + 50.0;
        loop {
            self.moments(layer, g);
            let error = self.error(b);
            if error <= layer.tol() {
                return Course { iterations, rescues, error };
            }
            if iterations >= STEPS {
                return self.finish(layer, b, g, iterations, rescues);
            }
            iterations += 1;
            if error >= before || !error.is_finite() {
                if halvings < 6 {
                    halvings += 1;
                    g.iter_mut().zip(&self.best).for_each(|(g, best)| *g = 0.5 * (*g + best));
                    continue;
                }
                g.copy_from_slice(&self.best);
                if rescues == 3 {
                    return self.finish(layer, b, g, iterations, rescues);
                }
                self.moments(layer, g);
                self.sweep(layer, b, g, 10);
                rescues += 1;
                (halvings, before) = (0, f64::INFINITY);
                continue;
            }
            // Far from the solution a scaling is safer than a step of Newton: s_j is nearly exponential in g_j.
            let apart = b.iter().zip(&self.s).any(|(b, s)| *s > 8.0 * b || *b > 8.0 * s);
            if apart && sweeps < 30 {
                sweeps += 1;
                before = f64::INFINITY;
                self.best.copy_from_slice(g);
                g.iter_mut().zip(b).zip(&self.s).for_each(|((g, b), s)| *g += epsilon * (b / s).ln());
                centre(g);
                continue;
            }
            (halvings, before) = (0, error);
            self.best.copy_from_slice(g);
            self.step.iter_mut().zip(b).zip(&self.s).for_each(|((r, b), s)| *r = b - s);
            self.factorise(b.len());
            let mut step = std::mem::take(&mut self.step);
            self.laplace(&mut step);
            self.step = step;
            let length = self.step.iter().fold(0.0, |m: f64, s| m.max(s.abs()));
            let scale = epsilon * (reach / length).min(1.0);
            g.iter_mut().zip(&self.step).for_each(|(g, step)| *g += scale * step);
            centre(g);
        }
    }

    /// max_j |s_j − b_j| / b_j; infinite if s is not finite.
    fn error(&self, b: &[f64]) -> f64 {
        let error = b.iter().zip(&self.s).fold(0.0, |m: f64, (b, s)| {
            let e = (s - b).abs() / b;
            if e > m || e.is_nan() { e } else { m }
        });
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// Sinkhorn's sweeps: g_j += ε log(b_j / s_j).
    fn sweep(&mut self, layer: &Layer, b: &[f64], g: &mut [f64], times: usize) {
        for _ in 0..times {
            for ((g, b), s) in g.iter_mut().zip(b).zip(&self.s) {
                *g += layer.epsilon() * (b / s.max(f64::MIN_POSITIVE)).ln();
            }
            centre(g);
            self.moments(layer, g);
        }
    }

    /// Sinkhorn to the end, for rows on which Newton failed.
    fn finish(
        &mut self,
        layer: &Layer,
        b: &[f64],
        g: &mut [f64],
        iterations: usize,
        rescues: usize,
    ) -> Course {
        self.moments(layer, g);
        let mut count = iterations;
        while self.error(b) > layer.tol() && count < 2000 {
            self.sweep(layer, b, g, 10);
            count += 10;
        }
        Course { iterations: count, rescues: rescues + 1, error: self.error(b) }
    }

    /// W, n × m.
    pub fn conditional(&self, m: usize) -> ndarray::Array2<f64> {
        let long = self.x.len();
        ndarray::Array2::from_shape_fn((self.n, m), |(i, j)| {
            let at = i / kernel::BLOCK * kernel::BLOCK;
            let block = kernel::BLOCK.min(long - at);
            self.table[at * m + j * block + i - at] * self.v[j] * self.inverse[i]
        })
    }

    /// Solves (diag(s) − Wᵀ diag(a) W) z = r in place, for r that sums to 0; the pinned component of z is 0.
    pub fn laplace(&self, r: &mut [f64]) {
        let last = r.len() - 1;
        r.swap(self.pinned, last);
        solve_factor(&self.factor, r);
        r.swap(self.pinned, last);
    }

    /// Factor of diag(s) − Wᵀ diag(a) W with one component pinned.
    pub fn factorise(&mut self, m: usize) {
        let wide = padded(m);
        let Row { second, factor, s, pinned, .. } = self;
        // The heaviest node is pinned (it takes the last place), so that a weightless one keeps its own digits.
        let heaviest = (0..m).max_by(|&j, &k| s[j].total_cmp(&s[k])).unwrap_or(m - 1);
        *pinned = heaviest;
        let place = |j: usize| {
            if j == heaviest {
                m - 1
            } else if j == m - 1 {
                heaviest
            } else {
                j
            }
        };
        // A graph Laplacian: its diagonal is the sum of the weights of the edges, free of cancellation.
        for j in 0..m {
            factor[j * wide + j] = 0.0;
        }
        for j in 0..m {
            for k in 0..j {
                let edge = second[j * wide + k];
                let (j, k) = (place(j), place(k));
                factor[j.min(k) * wide + j.max(k)] = -edge;
                factor[j * wide + j] += edge;
                factor[k * wide + k] += edge;
            }
        }
        // Pivoting is not needed in a Laplacian.
        for j in 0..m.saturating_sub(1) {
            let pivot = factor[j * wide + j] * (1.0 + 1e-14);
            // Below the rounding of s the node hangs on nothing that can be told from zero.
            let over = if pivot > 1e-17 * s[place(j)] { 1.0 / pivot } else { 0.0 };
            factor[j * wide + j] = over;
            let (left, right) = factor.split_at_mut((j + 1) * wide);
            let column = &left[j * wide..];
            for (k, below) in (j + 1..m - 1).zip(right.chunks_exact_mut(wide)) {
                let f = column[k] * over;
                for (b, c) in below[k..m].iter_mut().zip(&column[k..m]) {
                    *b -= f * c;
                }
            }
        }
    }
}

/// Solves with the factor; the last component of the solution is 0.
fn solve_factor(factor: &[f64], r: &mut [f64]) {
    let m = r.len();
    let wide = padded(m);
    for j in 0..m.saturating_sub(1) {
        let column = &factor[j * wide..][..m];
        let f = r[j] * column[j];
        for k in j + 1..m - 1 {
            r[k] -= f * column[k];
        }
        r[j] = f;
    }
    r[m - 1] = 0.0;
    for j in (0..m.saturating_sub(1)).rev() {
        let column = &factor[j * wide..][..m];
        let sum: f64 = (j + 1..m - 1).map(|k| column[k] * r[k]).sum();
        r[j] -= sum * column[j];
    }
}

/// Takes the mean off.
pub fn centre(g: &mut [f64]) {
    let mean = g.iter().sum::<f64>() / g.len() as f64;
    g.iter_mut().for_each(|g| *g -= mean);
}
