//! The two laws of a value: log density and its derivatives.
//!
//! ```text
//! Gaussian:  log p = −½ log 2π − log σ − (x − f)²/(2σ²)
//! negative binomial with mean μ and inverse dispersion φ, m = μ/φ:
//!            log p = Σ_{t<x} log(1 + t/φ) − (x + φ) log(1 + m) + x log μ − log x!
//!            ∂/∂μ  = (x − μ) φ / (μ (φ + μ))
//!            ∂/∂φ  = Σ_{t<x} (μ − t)/((φ + t)(φ + μ)) − log(1 + m) + μ/(φ + μ)
//! ```
//!
//! No form subtracts two log gammas, which would lose every digit where φ is large. A feature has one φ and few distinct
//! small counts, so the sums over t are a table that grows with the counts met ([`NegBinomial`]); beyond the table they are
//! Stirling series.

use std::sync::LazyLock;

use ndarray::Array2;
use rayon::prelude::*;
use statrs::function::gamma::ln_gamma;

use crate::nn::Real;
use crate::nn::activation::softplus;
use crate::nn::elementary::{exp, ln, ln_1p};
use crate::nn::wide::fast;

/// ½ log 2π.
pub const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
/// Counts below this are summed term by term.
const TABLE: usize = 256;
/// Values that are worked on at once.
const BLOCK: usize = 32;
/// Sums of a Gaussian law that run side by side.
const LANES: usize = 8;
/// Smallest argument of a Stirling series.
const STIRLING: f64 = 10.0;

/// log x! for the counts of the table.
static LN_FACTORIAL: LazyLock<[f64; TABLE]> = LazyLock::new(|| {
    let mut sum = 0.0;
    std::array::from_fn(|x| {
        sum += (x.max(1) as f64).ln();
        sum
    })
});

/// log Γ(z) − (z − ½) log z + z − ½ log 2π.
fn stirling(z: f64) -> f64 {
    let s = 1.0 / (z * z);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))) / z
}

/// log z − 1/(2z) − ψ(z).
fn stirling_slope(z: f64) -> f64 {
    let s = 1.0 / (z * z);
    s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s / 132.0))))
}

/// log(1 + u) − u, without cancellation for small u ≥ 0.
fn ln_1p_less(u: f64) -> f64 {
    if u > 1e-2 {
        return u.ln_1p() - u;
    }
    let term = |sum: f64, k: i32| f64::from(k % 2 * 2 - 1) / f64::from(k) + u * sum;
    u * u * (2..=10).rev().fold(0.0, term)
}

/// log density of one value and its derivatives in the mean and in φ.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// log p.
    pub log_p: f64,
    /// ∂ log p/∂μ.
    pub mean: f64,
    /// ∂ log p/∂φ.
    pub phi: f64,
}

/// The negative binomial law of one feature.
#[derive(Clone, Debug)]
pub struct NegBinomial {
    phi: f64,
    /// For x = 0, 1, …: Σ log(1 + t/φ), Σ 1/(φ + t) and Σ t/(φ + t), over t < x.
    table: Vec<[f64; 3]>,
}

impl NegBinomial {
    /// The law with inverse dispersion φ > 0.
    pub fn new(phi: f64) -> NegBinomial {
        NegBinomial { phi, table: vec![[0.0; 3]] }
    }

    /// The same memory for another φ.
    pub fn reset(&mut self, phi: f64) {
        self.phi = phi;
        self.table.truncate(1);
    }

    /// log density and derivatives of `x` ≥ 0 (whole or not) at mean `mu` > 0.
    pub fn terms(&mut self, x: f64, mu: f64) -> Terms {
        let (mut log_p, mut mean, mut phi) = ([mu; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        self.block(&[x; BLOCK], &mut log_p, &mut mean, &mut phi, 1);
        Terms { log_p: log_p[0], mean: mean[0], phi: phi[0] }
    }

    /// [`terms`](Self::terms) of the first `n` of a block of values; `log_p` holds the means before.
    #[inline(always)]
    fn block(
        &mut self,
        x: &[f64; BLOCK],
        log_p: &mut [f64; BLOCK],
        mean: &mut [f64; BLOCK],
        slope: &mut [f64; BLOCK],
        n: usize,
    ) {
        let (phi, mu) = (self.phi, *log_p);
        // Sums over t < x and log x!; 0 for what needs the series.
        let [mut sum, mut inverse, mut share] = [[0.0; BLOCK]; 3];
        let mut series = false;
        for i in 0..n {
            if x[i] < TABLE as f64 && x[i].fract() == 0.0 {
                let [ln, one, part] = self.small(x[i] as usize);
                (sum[i], inverse[i], share[i]) = (ln - LN_FACTORIAL[x[i] as usize], one, part);
            } else {
                series = true;
            }
        }
        for i in 0..BLOCK {
            let (x, mu) = (x[i], mu[i]);
            let (m, whole) = (mu / phi, phi + mu);
            let log = ln_1p(m);
            mean[i] = (x - mu) / (mu * (1.0 + m));
            log_p[i] = sum[i] - (x + phi) * log + x * ln(mu);
            // −log(1 + m) + μ/(φ + μ), whose parts nearly cancel for small m: Σ_{k ≥ 2} (−1)^{k−1} (1 − 1/k) mᵏ
            let mut small = 9.0 / 10.0 - 10.0 / 11.0 * m;
            small = -8.0 / 9.0 + m * small;
            small = 7.0 / 8.0 + m * small;
            small = -6.0 / 7.0 + m * small;
            small = 5.0 / 6.0 + m * small;
            small = -4.0 / 5.0 + m * small;
            small = 3.0 / 4.0 + m * small;
            small = -2.0 / 3.0 + m * small;
            small = 1.0 / 2.0 + m * small;
            let far = mu / whole - log;
            let near = (m - log) - m * (mu / whole);
            let zero = if m < 1.0 { near } else { far };
            let zero = if m < 1e-2 { -small * m * m } else { zero };
            slope[i] = (mu * inverse[i] - share[i]) / whole + zero;
        }
        if series {
            for i in 0..n {
                if !(x[i] < TABLE as f64 && x[i].fract() == 0.0) {
                    (log_p[i], slope[i]) = self.large(x[i], mu[i]);
                }
            }
        }
    }

    /// The sums over t < x.
    #[inline]
    fn small(&mut self, x: usize) -> [f64; 3] {
        while self.table.len() <= x {
            let [ln, inverse, share] = self.table[self.table.len() - 1];
            let t = (self.table.len() - 1) as f64;
            let one = 1.0 / (self.phi + t);
            self.table.push([ln + (t / self.phi).ln_1p(), inverse + one, share + t * one]);
        }
        self.table[x]
    }

    /// log p and its derivative in φ, by series.
    #[cold]
    fn large(&self, x: f64, mu: f64) -> (f64, f64) {
        let phi = self.phi;
        let (m, u, whole) = (mu / phi, x / phi, phi + mu);
        // Below the reach of the series φ is raised by 10, with the terms in between written out.
        let n = if phi < STIRLING { 10 } else { 0 };
        let q = phi + f64::from(n);
        let steps = (0..n).map(|t| phi + f64::from(t));
        let log_p = if x > phi && x >= STIRLING {
            // log Γ(x + φ) − log x! by one series, since x dominates.
            let v = phi / x;
            (x + phi - 0.5) * v.ln_1p() + (phi - 1.0) * x.ln() - phi + stirling(x + phi)
                - stirling(x)
                - ln_gamma(phi)
                - phi * m.ln_1p()
                - x * (phi / mu).ln_1p()
        } else {
            let ratio: f64 = steps.clone().map(|p| p / (x + p)).product();
            let r = x / q;
            let raised = ratio.ln() + x * (f64::from(n) / phi).ln_1p();
            let rising = raised + q * ln_1p_less(r) + (x - 0.5) * r.ln_1p() + stirling(x + q) - stirling(q);
            rising - (x + phi) * m.ln_1p() + x * mu.ln() - ln_gamma(x + 1.0)
        };
        let series = 0.5 * x / (q * (x + q)) + stirling_slope(q) - stirling_slope(x + q);
        let slope = if n == 0 && u.max(m) < 1.0 {
            ln_1p_less(u) - ln_1p_less(m) + (u - m) * (mu / whole) + series
        } else {
            let steps: f64 = steps.map(|p| x / (p * (x + p))).sum();
            steps + (x / q).ln_1p() + series - m.ln_1p() + (mu - x) / whole
        };
        (log_p, slope)
    }
}

/// Which law the values follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Real values with a variance for each feature.
    Gaussian,
    /// Counts with an inverse dispersion for each feature and a size for each sample.
    NegBinomial,
}

crate::words!(Law, "a likelihood", Gaussian = "gaussian", NegBinomial = "nb");

impl Law {
    /// What encoders read of samples × features, in place: log(1 + x) of counts.
    pub fn read(self, x: &mut Array2<f32>) {
        if self == Law::NegBinomial {
            let log = |x: &mut f32| *x = ln_1p(f64::from(*x)) as f32;
            let width = x.ncols().max(1);
            match x.as_slice_memory_order_mut() {
                Some(all) => {
                    all.par_chunks_mut(width).for_each(|part| fast!(|| part.iter_mut().for_each(log)))
                }
                None => x.iter_mut().for_each(log),
            }
        }
    }
}

/// Means of the negative binomial law are kept from 0.
const LEAST_MEAN: f64 = 1e-30;

/// The law of one feature, ready for many samples.
#[derive(Clone, Debug)]
pub struct Row {
    law: Law,
    log_sigma: f64,
    precision: f64,
    counts: NegBinomial,
}

impl Row {
    /// A law without a feature yet.
    pub fn new(law: Law) -> Row {
        Row { law, log_sigma: 0.0, precision: 1.0, counts: NegBinomial::new(1.0) }
    }

    /// Takes the feature whose log σ or log φ is `noise`.
    pub fn take(&mut self, noise: f64) {
        match self.law {
            Law::Gaussian => (self.log_sigma, self.precision) = (noise, (-2.0 * noise).exp()),
            Law::NegBinomial => self.counts.reset(noise.exp()),
        }
    }

    /// Mean of x where the decoder's output is `o` and the log size of the sample `size`.
    pub fn mean(&self, o: f64, size: f64) -> f64 {
        match self.law {
            Law::Gaussian => o,
            Law::NegBinomial => (exp(size) * softplus(o).0).max(LEAST_MEAN),
        }
    }

    /// For the feature's values in some samples: Σ log p and its derivative in log σ or log φ; `o` becomes
    /// −`scale` ∂ log p/∂o, and the same of the log sizes is added to `dsize`.
    #[inline(always)]
    pub fn pass<T: Real>(
        &mut self,
        x: &[T],
        size: &[T],
        o: &mut [T],
        scale: f64,
        dsize: &mut [f64],
    ) -> (f64, f64) {
        let (mut sum, mut noise) = (0.0, 0.0);
        if self.law == Law::Gaussian {
            // By lanes, so that the compiler may use registers of them.
            let mut squares = [0.0; LANES];
            let (n, precision) = (o.len(), self.precision);
            let one = |x: &T, o: &mut T| {
                let gap = x.wide() - o.wide();
                *o = T::of(-scale * (gap * precision));
                gap * gap * precision
            };
            let (mut o, x) = (o.chunks_exact_mut(LANES), x[..n].chunks_exact(LANES));
            let last = x.remainder();
            for (o, x) in o.by_ref().zip(x) {
                for l in 0..LANES {
                    squares[l] += one(&x[l], &mut o[l]);
                }
            }
            sum = o.into_remainder().iter_mut().zip(last).map(|(o, x)| one(x, o)).sum();
            sum += squares.iter().sum::<f64>();
            noise = sum - n as f64;
            return (-0.5 * sum - n as f64 * (HALF_LN_TAU + self.log_sigma), noise);
        }
        let mut from = 0;
        while from < o.len() {
            let n = BLOCK.min(o.len() - from);
            let (mut value, mut out, mut log_size) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
            for i in 0..n {
                value[i] = x[from + i].wide();
                out[i] = o[from + i].wide();
                log_size[i] = size[from + i].wide();
            }
            let (mut mean, mut log_p) = ([0.0; BLOCK], [0.0; BLOCK]);
            let (mut in_mean, mut in_phi, mut in_out) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
            for i in 0..BLOCK {
                let (rate, slope) = softplus(out[i]);
                let size = exp(log_size[i]);
                mean[i] = size * rate;
                mean[i] = if mean[i] > LEAST_MEAN { mean[i] } else { LEAST_MEAN };
                in_out[i] = size * slope;
                log_p[i] = mean[i];
            }
            self.counts.block(&value, &mut log_p, &mut in_mean, &mut in_phi, n);
            for i in 0..n {
                sum += log_p[i];
                noise += in_phi[i] * self.counts.phi;
                o[from + i] = T::of(-scale * (in_mean[i] * in_out[i]));
                dsize[from + i] -= scale * (in_mean[i] * mean[i]);
            }
            from += n;
        }
        (sum, noise)
    }

    /// log p(x) of one value.
    pub fn log_p(&mut self, x: f64, o: f64, size: f64) -> f64 {
        self.pass(&[x], &[size], &mut [o], 1.0, &mut [0.0]).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use ndarray::Ix2;
    use std::f64::consts::PI;

    /// The golden grid reaches φ = 10¹⁰ and counts of 10⁷.
    #[test]
    fn negative_binomial_agrees_with_sixty_digits() {
        let grid = Golden::open("mssvae/nb_logpmf").array::<Ix2>("grid");
        for row in grid.rows() {
            let (x, mu, phi) = (row[0], row[1], row[2]);
            let found = NegBinomial::new(phi).terms(x, mu);
            for (what, found, gold) in
                [("log p", found.log_p, row[3]), ("d mean", found.mean, row[4]), ("d phi", found.phi, row[5])]
            {
                let gap = (found - gold).abs();
                assert!(gap <= 1e-10 * gold.abs(), "{what} of {x} at {mu}, {phi}: {found:e}, not {gold:e}");
            }
        }
    }

    /// Whole counts at the edge of the table, and values that are not whole.
    #[test]
    fn table_and_series_meet() {
        for phi in [1e-3, 0.4, 3.0, 9.99, 10.0, 80.0, 1e4] {
            let mut law = NegBinomial::new(phi);
            for x in [12.0, 40.0, 63.0] {
                let (table, (log_p, slope)) = (law.terms(x, 30.0), law.large(x, 30.0));
                assert!((table.log_p - log_p).abs() < 1e-11 * log_p.abs(), "{phi} {x}: {table:?} {log_p}");
                assert!((table.phi - slope).abs() < 1e-9 * slope.abs(), "{phi} {x}: {table:?} {slope}");
            }
            let (at, h) = (law.terms(2.5, 3.0), 1e-5 * phi);
            let side = |p: f64| NegBinomial::new(p).terms(2.5, 3.0).log_p;
            let slope = (side(phi + h) - side(phi - h)) / (2.0 * h);
            assert!((slope - at.phi).abs() < 1e-6 * slope.abs() + 1e-10, "{phi}: {slope} {}", at.phi);
        }
    }

    #[test]
    fn densities_sum_to_one() {
        let mut law = NegBinomial::new(0.7);
        let sum: f64 = (0..4000).map(|x| law.terms(f64::from(x), 20.0).log_p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        let mut law = Row::new(Law::Gaussian);
        law.take(0.5f64.ln());
        let sum: f64 = (-400..=400).map(|i| 0.02 * law.log_p(f64::from(i) * 0.02, 0.3, 0.0).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-10 && (HALF_LN_TAU - 0.5 * (2.0 * PI).ln()).abs() < 1e-15, "{sum}");
    }
}
