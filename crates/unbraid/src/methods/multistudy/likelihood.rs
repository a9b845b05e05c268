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

use statrs::function::gamma::ln_gamma;

use crate::nn::Real;
use crate::nn::activation::softplus;

/// ½ log 2π.
pub const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
/// Counts below this are summed term by term.
const TABLE: usize = 64;
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
    ln_gamma_phi: f64,
    /// For x = 0, 1, …: Σ log(1 + t/φ), Σ 1/(φ + t) and Σ t/(φ + t), over t < x.
    table: Vec<[f64; 3]>,
}

impl NegBinomial {
    /// The law with inverse dispersion φ > 0.
    pub fn new(phi: f64) -> NegBinomial {
        NegBinomial { phi, ln_gamma_phi: ln_gamma(phi), table: vec![[0.0; 3]] }
    }

    /// The same memory for another φ.
    pub fn reset(&mut self, phi: f64) {
        (self.phi, self.ln_gamma_phi) = (phi, ln_gamma(phi));
        self.table.truncate(1);
    }

    /// log density and derivatives of `x` ≥ 0 (whole or not) at mean `mu` > 0.
    pub fn terms(&mut self, x: f64, mu: f64) -> Terms {
        let phi = self.phi;
        let (m, whole) = (mu / phi, phi + mu);
        let mean = (x - mu) / (mu * (1.0 + m));
        // −log(1 + m) + μ/(φ + μ), whose parts nearly cancel for small m only.
        let zero = if m < 1.0 { -ln_1p_less(m) - m * (mu / whole) } else { mu / whole - m.ln_1p() };
        if x < TABLE as f64 && x.fract() == 0.0 {
            let [ln, inverse, share] = self.small(x as usize);
            let log_p = ln - (x + phi) * m.ln_1p() + x * mu.ln() - LN_FACTORIAL[x as usize];
            return Terms { log_p, mean, phi: (mu * inverse - share) / whole + zero };
        }
        let (log_p, phi) = self.large(x, mu);
        Terms { log_p, mean, phi }
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
                - self.ln_gamma_phi
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

/// log density of a Gaussian value and its derivatives in the mean and in log σ; `precision` is 1/σ².
#[inline(always)]
pub fn gaussian(x: f64, mean: f64, log_sigma: f64, precision: f64) -> Terms {
    let gap = x - mean;
    let square = gap * gap * precision;
    Terms { log_p: -HALF_LN_TAU - log_sigma - 0.5 * square, mean: gap * precision, phi: square - 1.0 }
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
            Law::NegBinomial => (size.exp() * softplus(o).0).max(LEAST_MEAN),
        }
    }

    /// log p(x) and its derivatives in the decoder's output, the log size, and log σ or log φ.
    #[inline(always)]
    fn entry(&mut self, x: f64, o: f64, size: f64) -> [f64; 4] {
        match self.law {
            Law::Gaussian => {
                let t = gaussian(x, o, self.log_sigma, self.precision);
                [t.log_p, t.mean, 0.0, t.phi]
            }
            Law::NegBinomial => {
                let (rate, slope) = softplus(o);
                let size = size.exp();
                let mean = (size * rate).max(LEAST_MEAN);
                let t = self.counts.terms(x, mean);
                [t.log_p, t.mean * size * slope, t.mean * mean, t.phi * self.counts.phi]
            }
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
        for i in 0..o.len() {
            let at = if size.is_empty() { 0.0 } else { size[i].wide() };
            let [log_p, mean, in_size, in_noise] = self.entry(x[i].wide(), o[i].wide(), at);
            sum += log_p;
            noise += in_noise;
            o[i] = T::of(-scale * mean);
            if !size.is_empty() {
                dsize[i] -= scale * in_size;
            }
        }
        (sum, noise)
    }

    /// log p(x) of one value.
    pub fn log_p(&mut self, x: f64, o: f64, size: f64) -> f64 {
        self.entry(x, o, size)[0]
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
        let sum: f64 = (-400..=400)
            .map(|i| 0.02 * gaussian(f64::from(i) * 0.02, 0.3, 0.5f64.ln(), 4.0).log_p.exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-10 && (HALF_LN_TAU - 0.5 * (2.0 * PI).ln()).abs() < 1e-15, "{sum}");
    }
}
