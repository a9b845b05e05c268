//! The joint space: a code for every cell of the table, with a mixture of blocks as its prior.
//!
//! ```text
//! q(t | z_i, w_j) = N(MLP(z_i, w_j)),   p(t) = Σ_b ρ_b N(t; ν_b, ξ_b²),
//! counts:  x_ij ~ Poisson( r_i c_j/N · exp MLP(t, z_i, w_j) ),   else  x_ij ~ N(MLP(t, z_i, w_j), τ²)
//! log w_k = log p(x_ij | t_k, z_i, w_j) + β ( log p(t_k) − log q(t_k | z_i, w_j) ),   F as for a side
//! ```
//!
//! | symbol | shape   | meaning                             |
//! |--------|---------|-------------------------------------|
//! | z, w   | L, L    | codes of the row and of the column  |
//! | t      | 4       | code of the cell                    |
//! | b      |         | components, ⌈g h/2⌉ unless set      |
//!
//! A code must also tell the value of its own cell from those of others ([`contrast`](super::contrast), with one hidden layer of the
//! value in place of a line's), and its block is argmax_b of ρ_b N(t; ν_b, ξ_b²) at the mean of q(t | z, w).
//!
//! The bound's gradient flows into z and w and on to both encoders: with ŵ_k where they meet the decoder, and with the weights of the
//! doubly reparametrised form where they meet q(t | z, w). With `joint_sees_x` the encoder also reads the cell's value, log(1 + x) for
//! counts; without, t can only refine the mean of a block. Cells of a step are drawn from the rows and columns of its batches,
//! half of them where the table is not 0, with weights that make their mean that of all cells.

use ndarray::{Array2, s};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use super::bound::{Mixing, Objective, Posterior, PriorGradients, Samples};
use super::contrast::Critic;
use super::mixture::Mixture;
use super::network::SPREAD;
use super::side::Rates;
use crate::data::Csr;
use crate::methods::cocluster::start::hardest;
use crate::nn::adam::Adam;
use crate::nn::elementary::exp;
use crate::nn::linear::Linear;
use crate::nn::{Param, Real, flat, flat_mut, lanes};

/// Numbers of a cell's code, and of its hidden layers.
pub const LATENT: usize = 4;
const HIDDEN: usize = 32;
/// Cells that are told apart in a step, and numbers that a value becomes before.
const PAIRS: usize = 128;
const FEATURES: usize = 16;

/// Cells of a step.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// Place of the row in the batch of rows.
    pub row: Vec<usize>,
    /// Place of the column in the batch of columns.
    pub col: Vec<usize>,
    /// Values.
    pub x: Vec<f64>,
    /// log r_i c_j/N for counts; 0 else.
    pub base: Vec<f64>,
    /// Weights of mean 1 over all cells.
    pub weight: Vec<f64>,
}

impl Cells {
    /// Draws `count` cells of the given rows and columns, half where the table is not 0 if it is sparse.
    pub fn draw(
        x: &Csr,
        rows: &[usize],
        cols: &[usize],
        count: usize,
        margins: Option<(&[f64], &[f64], f64)>,
        rng: &mut impl Rng,
    ) -> Cells {
        // Of a table that is not sparse all cells are drawn alike.
        let sparse = (x.nnz() as f64) < 0.3 * (x.shape().0 * x.shape().1) as f64;
        let mut filled = Vec::new();
        if sparse {
            let mut place = vec![u32::MAX; x.shape().1];
            cols.iter().enumerate().for_each(|(b, &j)| place[j] = b as u32);
            for (a, &i) in rows.iter().enumerate() {
                let at = x.row(i).0.iter().map(|&j| place[j as usize]);
                filled.extend(at.filter(|b| *b != u32::MAX).map(|b| (a, b as usize)));
            }
        }
        let share = filled.len() as f64 / (rows.len() * cols.len()) as f64;
        let halves = share > 0.0;
        let mut out = Cells::default();
        for at in 0..count {
            let (a, b) = match halves && at % 2 == 0 {
                true => filled[rng.random_range(0..filled.len())],
                false => (rng.random_range(0..rows.len()), rng.random_range(0..cols.len())),
            };
            let (places, values) = x.row(rows[a]);
            let value = places.binary_search(&(cols[b] as u32)).map_or(0.0, |e| values[e]);
            // Drawn with density ½ + ½/share where it is not 0, and ½ elsewhere.
            let weight = match (halves, value != 0.0) {
                (false, _) => 1.0,
                (true, true) => 1.0 / (0.5 + 0.5 / share),
                (true, false) => 2.0,
            };
            let base = margins.map_or(0.0, |(r, c, n)| (r[rows[a]] * c[cols[b]] * n).max(1e-12).ln());
            out.row.push(a);
            out.col.push(b);
            out.x.push(value);
            out.base.push(base);
            out.weight.push(weight);
        }
        out
    }
}

/// Networks and mixture of the joint space.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Joint<T> {
    hidden: Linear<T>,
    mean: Linear<T>,
    spread: Linear<T>,
    deeper: Linear<T>,
    out: Linear<T>,
    feature: Linear<T>,
    critic: Critic<T>,
    /// ρ, ν, ξ.
    pub mixture: Mixture,
    mixing: Mixing,
    /// log τ², 1 × 1; for counts it rests.
    noise: Param<f64>,
    sees_x: bool,
    counts: bool,
    steps: u64,
}

impl<T: Real> Joint<T> {
    /// For codes of `latent` numbers and `blocks` components, whose centres start as standard normal draws.
    pub fn new(latent: usize, blocks: usize, sees_x: bool, counts: bool, rng: &mut impl Rng) -> Joint<T> {
        use rand_distr::{Distribution, StandardNormal};
        let inputs = 2 * latent + usize::from(sees_x);
        let centres = Array2::from_shape_simple_fn((blocks, LATENT), || StandardNormal.sample(rng));
        let mixture =
            Mixture::new(centres, &Array2::ones((blocks, LATENT)), &vec![1.0 / blocks as f64; blocks]);
        Joint {
            hidden: Linear::new(inputs, HIDDEN, rng),
            mean: Linear::new(HIDDEN, LATENT, rng),
            spread: Linear::new(HIDDEN, LATENT, rng),
            deeper: Linear::new(LATENT + 2 * latent, HIDDEN, rng),
            out: Linear::new(HIDDEN, 1, rng),
            feature: Linear::new(1, FEATURES, rng),
            critic: Critic::new(LATENT, FEATURES, rng),
            mixing: Mixing::new(mixture.shape()),
            mixture,
            noise: Param::filled((1, 1), 0.0),
            sees_x,
            counts,
            steps: 0,
        }
    }

    /// A value as networks read it.
    fn seen(&self, x: f64) -> f64 {
        if self.counts { x.ln_1p() } else { x }
    }

    fn inputs(&self, z: &Array2<f64>, w: &Array2<f64>, cells: &Cells) -> Array2<T> {
        let latent = z.ncols();
        let width = 2 * latent + usize::from(self.sees_x);
        let mut out = Array2::from_elem((cells.x.len(), width), T::ZERO);
        let (z, w) = (flat(z), flat(w));
        for (e, to) in flat_mut(&mut out).chunks_exact_mut(width).enumerate() {
            let (row, col) = (&z[cells.row[e] * latent..][..latent], &w[cells.col[e] * latent..][..latent]);
            to.iter_mut().zip(row.iter().chain(col)).for_each(|(to, v)| *to = T::of(*v));
            if self.sees_x {
                to[2 * latent] = T::of(self.seen(cells.x[e]));
            }
        }
        out
    }

    fn encode(&self, inputs: &Array2<T>) -> (Array2<T>, Posterior, Array2<bool>) {
        let h = self.hidden.rectified(inputs.view());
        let mean = self.mean.forward(h.view()).mapv(|v| v.wide());
        let raw = self.spread.forward(h.view()).mapv(|v| v.wide());
        let free = raw.mapv(|v| v > SPREAD.0 && v < SPREAD.1);
        (h, Posterior { mean, log_variance: raw.mapv(|v| v.clamp(SPREAD.0, SPREAD.1)) }, free)
    }

    /// The block of each cell.
    pub fn blocks(&self, z: &Array2<f64>, w: &Array2<f64>, cells: &Cells) -> Vec<usize> {
        let codes = self.encode(&self.inputs(z, w, cells)).1.mean;
        hardest(self.mixture.responsibilities(codes.view(), 1.0).view())
    }

    /// The contrastive loss of the first cells; adds `weight` times its gradients, those in q to `d`.
    fn contrast(
        &mut self,
        cells: &Cells,
        samples: &Samples,
        q: &Posterior,
        weight: f64,
        d: &mut Posterior,
    ) -> f64 {
        let (count, k) = (cells.x.len().min(PAIRS), samples.z.nrows() / cells.x.len().max(1));
        let x = Array2::from_shape_fn((count, 1), |(e, _)| T::of(self.seen(cells.x[e])));
        let h = self.feature.rectified(x.view());
        let t = Array2::from_shape_fn((count, LATENT), |(e, l)| T::of(samples.z[[e * k, l]]));
        let (value, dt, mut dh) = self.critic.loss(&t, h.view(), true, weight);
        dh.zip_mut_with(&h, |d, h| *d = if *h > T::ZERO { *d } else { T::ZERO });
        self.feature.backward(x.view(), &dh);
        for ((e, l), v) in dt.indexed_iter() {
            let v = v.wide();
            d.mean[[e, l]] += v;
            d.log_variance[[e, l]] +=
                0.5 * v * samples.noise[[e * k, l]] * (0.5 * q.log_variance[[e, l]]).exp();
        }
        value
    }

    /// The weighted mean of F over the cells and their contrast, and the gradients of −`scale` times the one and `nce` times the other
    /// in z and w; adds those of every parameter.
    pub fn pass(
        &mut self,
        (z, w): (&Array2<f64>, &Array2<f64>),
        cells: &Cells,
        objective: Objective,
        noise: Array2<f64>,
        (scale, nce): (f64, f64),
        rates: &Rates,
    ) -> ([f64; 2], Array2<f64>, Array2<f64>) {
        let (count, latent, k) = (cells.x.len(), z.ncols(), objective.samples);
        let inputs = self.inputs(z, w, cells);
        let (h, q, free) = self.encode(&inputs);
        let ready = self.mixture.ready();
        let samples = Samples::draw(&q, noise, &ready);
        let width = LATENT + 2 * latent;
        let mut u = Array2::from_elem((count * k, width), T::ZERO);
        for (at, to) in flat_mut(&mut u).chunks_exact_mut(width).enumerate() {
            let (code, both) = to.split_at_mut(LATENT);
            code.iter_mut().zip(&flat(&samples.z)[at * LATENT..]).for_each(|(to, v)| *to = T::of(*v));
            both.copy_from_slice(&flat(&inputs)[at / k * inputs.ncols()..][..2 * latent]);
        }
        let g = self.deeper.rectified(u.view());
        let o = self.out.forward(g.view());
        let log_variance = self.noise.value[[0, 0]];
        let half = 0.5 * (std::f64::consts::TAU.ln() + log_variance);
        let (mut a, mut slope) = (vec![0.0; count * k], vec![0.0; count * k]);
        let mut noise_slope = vec![0.0; count * k];
        let factorials: Vec<f64> = cells.x.iter().map(|x| ln_gamma(x.max(0.0) + 1.0)).collect();
        for at in 0..count * k {
            let (e, o) = (at / k, o[[at, 0]].wide());
            let x = cells.x[e];
            if self.counts {
                let log = (cells.base[e] + o).min(30.0);
                let rate = exp(log);
                a[at] = x * log - rate - factorials[e];
                slope[at] = x - rate;
            } else {
                let rest = x - o;
                let precision = (-log_variance).exp();
                a[at] = -0.5 * rest * rest * precision - half;
                slope[at] = rest * precision;
                noise_slope[at] = 0.5 * (rest * rest * precision - 1.0);
            }
        }
        let mut weights = objective.weigh(&a, &samples);
        // The weight of a cell goes with every seed.
        let total = -scale / count as f64;
        let seed = |at: usize| total * cells.weight[at / k] * weights.share[at];
        let dout = Array2::from_shape_fn((count * k, 1), |(at, _)| T::of(seed(at) * slope[at]));
        let dnoise: f64 = (0..count * k).map(|at| seed(at) * noise_slope[at]).sum();
        self.out.backward(g.view(), &dout);
        let mut dg = self.out.input_gradient(&dout);
        dg.zip_mut_with(&g, |d, g| *d = if *g > T::ZERO { *d } else { T::ZERO });
        self.deeper.backward(u.view(), &dg);
        let du = self.deeper.input_gradient(&dg).mapv(|v| v.wide());
        let mut prior = PriorGradients::zeros(self.mixture.shape());
        let scales: Vec<f64> = cells.weight.iter().map(|w| total * w).collect();
        let r = du.slice(s![.., ..LATENT]);
        let mut d =
            objective.pull(&q, &samples, &mut weights, r, (&[1.0; LATENT], &scales), &ready, &mut prior);
        let told = if nce > 0.0 { self.contrast(cells, &samples, &q, nce, &mut d) } else { 0.0 };
        let gradient = self.mixing.combine(rates.gradient, prior);
        self.mixture.mean.grad += &gradient.mean;
        self.mixture.log_sigma.grad += &gradient.log_sigma;
        self.mixture.logits.grad.iter_mut().zip(&gradient.logits).for_each(|(to, v)| *to += v);
        let dm = d.mean.mapv(T::of);
        let mut ds = d.log_variance.mapv(T::of);
        ds.zip_mut_with(&free, |d, free| *d = if *free { *d } else { T::ZERO });
        self.mean.backward(h.view(), &dm);
        self.spread.backward(h.view(), &ds);
        let mut dh = self.mean.input_gradient(&dm);
        self.spread.backward_input(&ds, &mut dh);
        dh.zip_mut_with(&h, |d, h| *d = if *h > T::ZERO { *d } else { T::ZERO });
        self.hidden.backward(inputs.view(), &dh);
        let dx = self.hidden.input_gradient(&dh);
        let (mut dz, mut dw) = (Array2::zeros(z.dim()), Array2::zeros(w.dim()));
        let mut both = vec![0.0; 2 * latent];
        for (e, dx) in flat(&dx).chunks_exact(inputs.ncols()).enumerate() {
            // Through q, and directly in every sample.
            both.iter_mut().zip(dx).for_each(|(to, v)| *to = v.wide());
            let samples = flat(&du)[e * k * width..][..k * width].chunks_exact(width);
            samples.for_each(|du| lanes::axpy(1.0, &du[LATENT..], &mut both));
            lanes::axpy(1.0, &both[..latent], &mut flat_mut(&mut dz)[cells.row[e] * latent..][..latent]);
            lanes::axpy(1.0, &both[latent..], &mut flat_mut(&mut dw)[cells.col[e] * latent..][..latent]);
        }
        self.noise.grad[[0, 0]] += dnoise;
        let mean = weights.value.iter().zip(&cells.weight).map(|(v, w)| v * w).sum::<f64>() / count as f64;
        ([mean, told], dz, dw)
    }

    /// One step of Adam on everything, gradients cleared.
    pub fn descend(&mut self, rates: &Rates) {
        self.steps += 1;
        let adam = Adam::at(self.steps, rates.network);
        self.visit(&mut |_, p| adam.descend_and_clear(p, 1.0));
        adam.descend(&mut self.noise);
        self.noise.value.mapv_inplace(|v| v.clamp(-8.0, 4.0));
        self.noise.clear();
        let adam = Adam::at(self.steps, rates.prior);
        for p in [&mut self.mixture.logits, &mut self.mixture.mean, &mut self.mixture.log_sigma] {
            adam.descend(p);
            p.clear();
        }
        self.mixture.confine();
    }

    /// Calls `f` with each parameter of the networks and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        self.hidden.visit("joint.hidden", f);
        self.mean.visit("joint.mean", f);
        self.spread.visit("joint.spread", f);
        self.deeper.visit("joint.deeper", f);
        self.out.visit("joint.out", f);
        self.feature.visit("joint.feature", f);
        self.critic.visit(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::methods::cocluster::svcc::bound::{Divergence, EncoderGradient, PriorGradient};
    use crate::nn::check::{normal, slopes};

    #[test]
    fn gradients_follow_differences_with_the_noise_held() {
        let mut rng = Seed(3).stream(Draw::Init, 0);
        let (z, w) = (normal(3, 2, 1), normal(4, 2, 2));
        let cells = Cells {
            row: vec![0, 1, 2, 1, 0],
            col: vec![3, 1, 0, 2, 1],
            x: vec![0.0, 2.0, 1.0, 5.0, 0.0],
            base: vec![0.1, -0.3, 0.4, 0.9, -1.0],
            weight: vec![2.0, 0.4, 0.4, 0.4, 2.0],
        };
        let rates =
            Rates { network: 0.0, prior: 0.0, decay: 0.0, gradient: PriorGradient::Plain, moves: true };
        let objective = Objective {
            samples: 3,
            beta: 0.6,
            divergence: Divergence::Iwae,
            encoder: EncoderGradient::Plain,
        };
        for (sees_x, counts) in [(false, true), (true, true), (true, false)] {
            let mut joint = Joint::<f64>::new(2, 3, sees_x, counts, &mut rng);
            let noise = normal(15, LATENT, 6);
            type State = (Joint<f64>, Array2<f64>, Array2<f64>);
            let loss = |s: &State| {
                let mut joint = s.0.clone();
                let found = joint.pass((&s.1, &s.2), &cells, objective, noise.clone(), (1.3, 0.7), &rates).0;
                -1.3 * found[0] + 0.7 * found[1]
            };
            let state = (joint.clone(), z.clone(), w.clone());
            let (_, dz, dw) = joint.pass((&z, &w), &cells, objective, noise.clone(), (1.3, 0.7), &rates);
            slopes("z", &state, |s| &mut s.1, &dz, loss);
            slopes("w", &state, |s| &mut s.2, &dw, loss);
            slopes("hidden", &state, |s| &mut s.0.hidden.weight.value, &joint.hidden.weight.grad, loss);
            slopes("spread", &state, |s| &mut s.0.spread.bias.value, &joint.spread.bias.grad, loss);
            slopes("deeper", &state, |s| &mut s.0.deeper.weight.value, &joint.deeper.weight.grad, loss);
            slopes("out", &state, |s| &mut s.0.out.bias.value, &joint.out.bias.grad, loss);
            slopes("feature", &state, |s| &mut s.0.feature.weight.value, &joint.feature.weight.grad, loss);
            slopes("centres", &state, |s| &mut s.0.mixture.mean.value, &joint.mixture.mean.grad, loss);
            slopes("noise", &state, |s| &mut s.0.noise.value, &joint.noise.grad, loss);
            slopes("shares", &state, |s| &mut s.0.mixture.logits.value, &joint.mixture.logits.grad, loss);
        }
    }

    #[test]
    fn weighted_cells_have_the_mean_of_all() {
        let x = Csr::from_dense(normal(40, 30, 7).mapv(|v| if v > 1.2 { v } else { 0.0 }).view());
        let (rows, cols): (Vec<usize>, Vec<usize>) = ((0..40).collect(), (0..30).collect());
        let cells = Cells::draw(&x, &rows, &cols, 40_000, None, &mut Seed(1).stream(Draw::Latent, 0));
        let mean = |v: &dyn Fn(f64) -> f64| {
            cells.x.iter().zip(&cells.weight).map(|(x, w)| w * v(*x)).sum::<f64>() / 40_000.0
        };
        let all = x.values().iter().sum::<f64>() / 1200.0;
        assert!((mean(&|_| 1.0) - 1.0).abs() < 0.02 && (mean(&|v| v) - all).abs() < 0.03 * all);
    }
}
