//! What a table's lines are taken to be, given the decoder's outputs o.
//!
//! ```text
//! gaussian:     −½ Σ_j ( (x_j − o_j)²/τ² + log τ² + log 2π ),   one log τ² per side
//! multinomial:  Σ_j x_j log softmax(o)_j
//! poisson:      Σ_j x_j (o_j + log d) − exp(o_j + log d) − log x_j!
//! nb:           negative binomial of mean exp(o_j + log d) and inverse dispersion θ_j
//! bernoulli:    Σ_j [x_j > 0] o_j − log(1 + exp o_j)
//! ```
//!
//! d is the sum of the line over its length. What is missing takes no part in any sum. [`Law::log_likelihood`] leaves in the
//! outputs' place what [`Law::pull`] needs, so that an exponential is taken once.

use ndarray::Array2;
use rayon::prelude::*;
use statrs::function::gamma::{digamma, ln_gamma};

use crate::linalg::settle;
use crate::nn::activation::softplus;
use crate::nn::wide::fast;
use crate::nn::{Real, flat, lanes};

/// Law of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// `Multinomial` where no value is negative, else `Gaussian`.
    Auto,
    /// Real values of one variance.
    Gaussian,
    /// Shares of a line's total, which may be a sum of weights.
    Multinomial,
    /// Counts.
    Poisson,
    /// Counts of a larger variance.
    Nb,
    /// 0 or not.
    Bernoulli,
}

crate::words!(
    Law,
    "a likelihood",
    Auto = "auto",
    Gaussian = "gaussian",
    Multinomial = "multinomial",
    Poisson = "poisson",
    Nb = "nb",
    Bernoulli = "bernoulli"
);

/// Lines as the likelihood reads them: entries that are not 0, for all laws.
#[derive(Clone, Debug, Default)]
pub struct Targets<T> {
    /// Where each line's entries begin, one more than there are lines.
    pub indptr: Vec<usize>,
    /// Their places.
    pub at: Vec<u32>,
    /// Their values.
    pub value: Vec<T>,
    /// Sum of each line.
    pub total: Vec<f64>,
    /// Σ log x! of each line, for counts.
    pub factorials: Vec<f64>,
    /// Places that were not measured, line by line; empty where all were.
    pub absent: Vec<Vec<u32>>,
    /// All entries, line by line, where few are 0 and the law reads them (multinomial, poisson); else empty.
    pub full: Array2<T>,
}

impl<T: Real> Targets<T> {
    /// Entries of line `i`.
    pub fn line(&self, i: usize) -> (&[u32], &[T]) {
        let at = self.indptr[i]..self.indptr[i + 1];
        (&self.at[at.clone()], &self.value[at])
    }
    /// Places of line `i` that were not measured.
    pub fn absent(&self, i: usize) -> &[u32] {
        self.absent.get(i).map_or(&[], |a| a)
    }
    /// All entries of line `i`, where they are kept.
    fn full(&self, i: usize) -> Option<&[T]> {
        let width = self.full.ncols();
        (width > 0).then(|| &flat(&self.full)[i * width..][..width])
    }

    /// Σ_j x_j (o_j − top) of line `i`.
    fn linear(&self, i: usize, out: &[T], top: T) -> f64 {
        if let Some(x) = self.full(i) {
            // In the float's own precision over short stretches.
            let mut sum = 0.0;
            fast!(|| for (x, o) in x.chunks(STRETCH).zip(out.chunks(STRETCH)) {
                sum += lanes::fold(x, o, |s, x, o| s + x * (o - top)).wide();
            });
            return sum;
        }
        // In eight sums that do not wait for one another.
        let mut sums = [0.0; 8];
        let mut add = |l: usize, j: u32, v: T| sums[l] += v.wide() * (out[j as usize] - top).wide();
        let (at, x) = self.line(i);
        let (places, values) = (at.chunks_exact(8), x.chunks_exact(8));
        for (l, (j, v)) in places.remainder().iter().zip(values.remainder()).enumerate() {
            add(l, *j, *v);
        }
        for (j, v) in places.zip(values) {
            for l in 0..8 {
                add(l, j[l], v[l]);
            }
        }
        sums.iter().sum()
    }

    /// o_j += s x_j of line `i`.
    fn add_to(&self, i: usize, s: T, out: &mut [T]) {
        match self.full(i) {
            Some(x) => fast!(|| lanes::axpy(s, x, out)),
            None => {
                let (at, x) = self.line(i);
                at.iter().zip(x).for_each(|(&j, v)| out[j as usize] += s * *v);
            }
        }
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.total.len()
    }
    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.total.is_empty()
    }
}

/// What is learnt of the noise: log τ² (one number), log θ (one for each output), or nothing.
pub type Noise<'a> = &'a [f64];

/// Outputs of a task; the work is row by row, so that its size changes no bits.
fn rows_at_once(width: usize) -> usize {
    (1 << 14) / width.max(1) + 1
}

/// Entries whose products are added in the float's own precision.
const STRETCH: usize = 256;

/// exp(o + by) in place of every o; their sum.
fn exponentials<T: Real>(values: &mut [T], by: f64) -> T {
    let by = T::of(by);
    fast!(|| {
        values.iter_mut().for_each(|o| *o = (*o + by).exponential());
        lanes::sum(values)
    })
}

impl Law {
    /// Number of noise parameters for lines of `width` entries.
    pub fn noises(self, width: usize) -> usize {
        match self {
            Law::Gaussian => 1,
            Law::Nb => width,
            _ => 0,
        }
    }

    /// log p of line `lines[at / samples]` for each row `at` of outputs, which become what [`pull`](Self::pull) reads.
    pub fn log_likelihood<T: Real>(
        self,
        out: &mut Array2<T>,
        targets: &Targets<T>,
        lines: &[usize],
        noise: Noise<'_>,
    ) -> Vec<f64> {
        let (rows, width) = out.dim();
        let samples = rows / lines.len().max(1);
        let mut value = vec![0.0; rows];
        let some = rows_at_once(width);
        if let Some(out) = out.as_slice_mut() {
            let parts = out.par_chunks_mut(some * width.max(1)).zip(value.par_chunks_mut(some)).enumerate();
            parts.for_each(|(part, (out, value))| {
                settle();
                for (at, (out, value)) in out.chunks_mut(width).zip(value).enumerate() {
                    *value = self.line(out, targets, lines[(part * some + at) / samples], noise);
                }
            });
        }
        value
    }

    fn line<T: Real>(self, out: &mut [T], targets: &Targets<T>, i: usize, noise: Noise<'_>) -> f64 {
        let (at, x) = targets.line(i);
        let absent = targets.absent(i);
        let entries = || at.iter().map(|j| *j as usize).zip(x.iter().map(|v| v.wide()));
        match self {
            Law::Gaussian => {
                // The residual in the output's place.
                out.iter_mut().for_each(|o| *o = -*o);
                at.iter().zip(x).for_each(|(&j, v)| out[j as usize] += *v);
                absent.iter().for_each(|&j| out[j as usize] = T::ZERO);
                let count = (out.len() - absent.len()) as f64;
                let square: f64 = fast!(|| out.iter().map(|e| e.wide() * e.wide()).sum());
                -0.5 * (square * (-noise[0]).exp() + count * (noise[0] + std::f64::consts::TAU.ln()))
            }
            Law::Multinomial | Law::Auto => {
                let lowest = T::of(-1e30);
                absent.iter().for_each(|&j| out[j as usize] = lowest);
                let top = fast!(|| lanes::largest(out));
                let linear = targets.linear(i, out, top);
                let sum = exponentials(out, -top.wide()).wide();
                absent.iter().for_each(|&j| out[j as usize] = T::ZERO);
                // Shares in the outputs' place.
                let scale = T::of(1.0 / sum);
                fast!(|| out.iter_mut().for_each(|o| *o *= scale));
                linear - targets.total[i] * sum.ln()
            }
            Law::Poisson => {
                let offset = (targets.total[i] / out.len() as f64).max(f64::MIN_POSITIVE).ln();
                let linear: f64 = entries().map(|(j, v)| v * (out[j].wide() + offset)).sum();
                exponentials(out, offset);
                absent.iter().for_each(|&j| out[j as usize] = T::ZERO);
                linear - out.iter().map(|o| o.wide()).sum::<f64>() - targets.factorials[i]
            }
            Law::Nb => {
                let offset = (targets.total[i] / out.len() as f64).max(f64::MIN_POSITIVE).ln();
                let linear: f64 = entries().map(|(j, v)| v * (out[j].wide() + offset)).sum();
                exponentials(out, offset);
                absent.iter().for_each(|&j| out[j as usize] = T::ZERO);
                // θ (log θ − log(θ + μ)) of every entry; the rest where x is not 0.
                let mut sum = linear - targets.factorials[i];
                for (o, l) in out.iter().zip(noise) {
                    let theta = l.exp();
                    sum -= theta * (o.wide() / theta).ln_1p();
                }
                for (j, v) in entries() {
                    let theta = noise[j].exp();
                    sum += ln_gamma(v + theta) - ln_gamma(theta) - v * (theta + out[j].wide()).ln();
                }
                sum
            }
            Law::Bernoulli => {
                let linear: f64 = entries().filter(|e| e.1 > 0.0).map(|(j, _)| out[j].wide()).sum();
                let mut sum = 0.0;
                for o in out.iter_mut() {
                    let (value, slope) = softplus(o.wide());
                    sum += value;
                    *o = T::of(slope);
                }
                for &j in absent {
                    // What was taken off for it: −log(1 − slope).
                    sum += (1.0 - out[j as usize].wide()).ln();
                    out[j as usize] = T::ZERO;
                }
                linear - sum
            }
        }
    }

    /// Makes of the outputs, as [`log_likelihood`](Self::log_likelihood) left them, the derivative of Σ seed · log p in them; adds
    /// that in the noise to `noise_slope`.
    pub fn pull<T: Real>(
        self,
        out: &mut Array2<T>,
        targets: &Targets<T>,
        lines: &[usize],
        seeds: &[f64],
        noise: Noise<'_>,
        noise_slope: &mut [f64],
    ) {
        let (rows, width) = out.dim();
        let samples = rows / lines.len().max(1);
        if self == Law::Gaussian {
            let scale = (-noise[0]).exp();
            for ((at, row), seed) in out.rows().into_iter().enumerate().zip(seeds) {
                let square: f64 = row.iter().map(|e| e.wide() * e.wide()).sum();
                let count = (width - targets.absent(lines[at / samples]).len()) as f64;
                noise_slope[0] += 0.5 * seed * (square * scale - count);
            }
        }
        if self == Law::Nb {
            // θ ∂/∂θ of every entry, line by line.
            for ((at, row), seed) in out.rows().into_iter().enumerate().zip(seeds) {
                let i = lines[at / samples];
                for ((o, l), to) in row.iter().zip(noise).zip(noise_slope.iter_mut()) {
                    let (mu, theta) = (o.wide(), l.exp());
                    *to += seed * theta * (mu / (theta + mu) - (mu / theta).ln_1p());
                }
                let (places, x) = targets.line(i);
                for (&j, v) in places.iter().zip(x) {
                    let (v, theta, mu) = (v.wide(), noise[j as usize].exp(), row[j as usize].wide());
                    noise_slope[j as usize] +=
                        seed * theta * (digamma(v + theta) - digamma(theta) - v / (theta + mu));
                }
            }
        }
        let some = rows_at_once(width);
        let Some(out) = out.as_slice_mut() else { return };
        let parts = out.par_chunks_mut(some * width.max(1)).zip(seeds.par_chunks(some)).enumerate();
        parts.for_each(|(part, (out, seeds))| {
            settle();
            for (at, (out, seed)) in out.chunks_mut(width).zip(seeds).enumerate() {
                let i = lines[(part * some + at) / samples];
                self.pull_line(out, targets, i, *seed, noise);
            }
        });
    }

    fn pull_line<T: Real>(self, out: &mut [T], targets: &Targets<T>, i: usize, seed: f64, noise: Noise<'_>) {
        let (at, x) = targets.line(i);
        let scale = |out: &mut [T], by: f64| {
            let by = T::of(by);
            fast!(|| out.iter_mut().for_each(|o| *o *= by));
        };
        let add = |out: &mut [T]| targets.add_to(i, T::of(seed), out);
        match self {
            Law::Gaussian => scale(out, seed * (-noise[0]).exp()),
            Law::Multinomial | Law::Auto => {
                scale(out, -seed * targets.total[i]);
                add(out);
            }
            Law::Poisson => {
                scale(out, -seed);
                add(out);
            }
            Law::Nb => {
                // x − (x + θ) μ/(θ + μ) = x (1 − h/θ) − h,  h = θμ/(θ + μ)
                for (o, l) in out.iter_mut().zip(noise) {
                    let (mu, theta) = (o.wide(), l.exp());
                    *o = T::of(-seed * theta * mu / (theta + mu));
                }
                for (&j, v) in at.iter().zip(x) {
                    let to = &mut out[j as usize];
                    *to += T::of(v.wide() * (seed + to.wide() / noise[j as usize].exp()));
                }
            }
            Law::Bernoulli => {
                scale(out, -seed);
                at.iter()
                    .zip(x)
                    .filter(|(_, v)| **v > T::ZERO)
                    .for_each(|(&j, _)| out[j as usize] += T::of(seed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use crate::nn::check::{normal, slopes};
    use ndarray::{Array1, Ix1, Ix2};

    pub(super) fn targets(y: &Array2<f64>, absent: Vec<Vec<u32>>) -> Targets<f64> {
        let mut out = Targets { indptr: vec![0], absent, ..Targets::default() };
        for row in y.rows() {
            for (j, &v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                out.at.push(j as u32);
                out.value.push(v);
            }
            out.indptr.push(out.at.len());
            out.total.push(row.sum());
            out.factorials.push(row.iter().map(|v| if *v > 0.0 { ln_gamma(v + 1.0) } else { 0.0 }).sum());
        }
        out
    }

    #[test]
    fn values_and_slopes_are_those_of_the_golden_case() {
        let case = Golden::open("svcc/likelihoods");
        let (o, y): (Array2<f64>, Array2<f64>) = (case.array("decoder_out"), case.array("y"));
        let offset: Array2<f64> = case.array("log_offset");
        let theta: Array1<f64> = case.array("nb_inverse_dispersion");
        let mut t = targets(&y, vec![]);
        // The case has an offset of its own: it is given as the total that would have it.
        let totals = t.total.clone();
        let given: Vec<f64> = offset.iter().map(|v| v.exp() * y.ncols() as f64).collect();
        let lines: Vec<usize> = (0..y.nrows()).collect();
        let noise: Vec<f64> = theta.iter().map(|v| v.ln()).collect();
        for (law, name) in
            [(Law::Multinomial, "multinomial"), (Law::Poisson, "poisson"), (Law::Nb, "neg_binomial")]
        {
            t.total = if law == Law::Multinomial { totals.clone() } else { given.clone() };
            let mut out = o.clone();
            let value = law.log_likelihood(&mut out, &t, &lines, &noise);
            case.assert_close::<_, Ix1>(name, &Array1::from(value), 1e-10);
            law.pull(&mut out, &t, &lines, &[1.0; 4], &noise, &mut [0.0; 6]);
            case.assert_close::<_, Ix2>(&format!("grad_{name}"), &out, 1e-8);
        }
    }

    #[test]
    fn every_law_follows_differences_and_leaves_out_what_is_missing() {
        let y = Array2::from_shape_fn((2, 5), |(i, j)| ((3 * i + 2 * j) % 4) as f64);
        // Samples of two lines, two of each; the second line lacks an entry, which the table holds as 0.
        let mut y = y;
        y[[1, 2]] = 0.0;
        let t = targets(&y, vec![vec![], vec![2]]);
        let (lines, seeds) = ([0, 1], [0.7, -0.4, 1.1, 0.3]);
        for law in [Law::Gaussian, Law::Multinomial, Law::Poisson, Law::Nb, Law::Bernoulli] {
            let noise: Vec<f64> = (0..law.noises(5)).map(|j| 0.3 - 0.2 * j as f64).collect();
            let row = |v: &[f64]| Array2::from_shape_vec((1, v.len()), v.to_vec()).unwrap();
            type State = (Array2<f64>, Array2<f64>);
            let loss = |s: &State| -> f64 {
                let value = law.log_likelihood(&mut s.0.clone(), &t, &lines, s.1.as_slice().unwrap());
                value.iter().zip(&seeds).map(|(v, s)| v * s).sum()
            };
            let state = (normal(4, 5, 3), row(&noise));
            let mut out = state.0.clone();
            law.log_likelihood(&mut out, &t, &lines, &noise);
            let mut slope = vec![0.0; noise.len()];
            law.pull(&mut out, &t, &lines, &seeds, &noise, &mut slope);
            assert!(out[[2, 2]] == 0.0 && out[[3, 2]] == 0.0, "{law}");
            slopes(&law.to_string(), &state, |s| &mut s.0, &out, loss);
            if !noise.is_empty() {
                slopes(&format!("noise of {law}"), &state, |s| &mut s.1, &row(&slope), loss);
            }
        }
    }

    #[test]
    fn full_lines_are_read_as_their_entries_are() {
        // Wider than a stretch, with a rest; some entries are 0.
        let y = Array2::from_shape_fn((3, 2 * STRETCH + 37), |(i, j)| ((5 * i + 3 * j) % 4) as f64);
        let entries = targets(&y, vec![vec![], vec![0, 300], vec![]]);
        let full = Targets { full: y.clone(), ..targets(&y, vec![vec![], vec![0, 300], vec![]]) };
        let (lines, seeds) = ([2, 0, 1], [0.7, -0.4, 1.1, 0.3, 0.2, -0.9]);
        for law in [Law::Multinomial, Law::Poisson] {
            let run = |t: &Targets<f64>| {
                let mut out = normal(6, y.ncols(), 5);
                let value = law.log_likelihood(&mut out, t, &lines, &[]);
                law.pull(&mut out, t, &lines, &seeds, &[], &mut []);
                (value, out)
            };
            let ((a, da), (b, db)) = (run(&entries), run(&full));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12 * a.abs()), "{law}");
            assert!((da - db).iter().all(|v| v.abs() < 1e-13), "{law}");
        }
    }
}
