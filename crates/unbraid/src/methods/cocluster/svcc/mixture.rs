//! The prior of a latent space: a mixture of Gaussians with diagonal covariances, and the divergence from it.
//!
//! ```text
//! l_c(z) = log π_c − Σ_d log σ_cd − (L/2) log 2π − ½ Σ_d ((z_d − μ_cd)/σ_cd)²,   log p(z) = logsumexp_c l_c(z),
//! γ_c(z) = exp(l_c(z) − log p(z)),
//! ∂ log p/∂z = −Σ_c γ_c (z − μ_c)/σ_c²,   ∂/∂μ_c = γ_c (z − μ_c)/σ_c²,
//! ∂/∂ log σ_c = γ_c (((z − μ_c)/σ_c)² − 1),   ∂/∂ logit_c = γ_c − π_c
//! ```
//!
//! | symbol  | shape | meaning                          | field       |
//! |---------|-------|----------------------------------|-------------|
//! | π       | c     | shares, softmax of the logits    | `logits`    |
//! | μ       | c × L | centres                          | `mean`      |
//! | log σ   | c × L | log standard deviations          | `log_sigma` |
//!
//! The divergence of q = N(m, s²) from the mixture has no closed form. Two bounds have ([`Ready::vade`], [`Ready::bound`]):
//!
//! ```text
//! KL_c = ½ Σ_d [ (s_d² + (m_d − μ_cd)²)/σ_cd² + 2 log σ_cd − 2 log s_d − 1 ],
//! vade:   Σ_c γ_c KL_c + KL(γ ‖ π),  γ = γ(m)            (Jiang and others 2017: `jiang2017`)
//! bound:  −logsumexp_c( log π_c − KL_c ),  the least of the former over γ, attained at γ*_c ∝ π_c exp(−KL_c)
//!                                                        (Hershey and Olsen 2007: `hershey2007`)
//! ```

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::nn::abreast::{EIGHT, Lanes, by_eight, each, into_rows};
use crate::nn::elementary::{exp, ln};
use crate::nn::wide::fast;
use crate::nn::{Param, flat, flat_mut};

/// Least standard deviation of a component.
pub const LEAST_SIGMA: f64 = 0.05;

/// π, μ and σ as they are learnt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mixture {
    /// 1 × c.
    pub logits: Param<f64>,
    /// μ, c × L.
    pub mean: Param<f64>,
    /// log σ, c × L.
    pub log_sigma: Param<f64>,
}

/// log Σ exp, and the exponents turned into shares.
#[inline(always)]
pub fn softmax(values: &mut [f64]) -> f64 {
    softmaxes::<1>(values.as_chunks_mut().0)[0]
}

/// The same of N points. What is not finite stays so.
#[inline(always)]
fn softmaxes<const N: usize>(values: &mut [Lanes<N>]) -> Lanes<N> {
    let mut top = [f64::NEG_INFINITY; N];
    for v in values.iter() {
        top = each(|l| if v[l] > top[l] { v[l] } else { top[l] });
    }
    for v in values.iter_mut() {
        *v = each(|l| v[l] - top[l]);
    }
    for x in values.as_flattened_mut() {
        *x = if x.is_nan() { *x } else { exp(*x) };
    }
    let mut sum = [0.0; N];
    for v in values.iter() {
        sum = each(|l| sum[l] + v[l]);
    }
    for v in values.iter_mut() {
        *v = each(|l| v[l] / sum[l]);
    }
    // `ln` is for numbers alone.
    each(|l| top[l] + ln(sum[l]) + 0.0 * sum[l])
}

/// What densities need of the parameters, computed once for many points.
pub struct Ready {
    /// π.
    pub shares: Vec<f64>,
    /// log π.
    pub log_shares: Vec<f64>,
    /// log π_c − Σ log σ − (L/2) log 2π.
    constant: Vec<f64>,
    /// μ.
    mean: Array2<f64>,
    /// 1/σ².
    precision: Array2<f64>,
    /// Σ_d log σ_cd.
    log_sigma: Vec<f64>,
}

impl Ready {
    /// Number of components.
    pub fn len(&self) -> usize {
        self.shares.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// μ_c and 1/σ_c².
    #[inline(always)]
    pub fn component(&self, c: usize) -> (&[f64], &[f64]) {
        let at = c * self.mean.ncols()..(c + 1) * self.mean.ncols();
        (&flat(&self.mean)[at.clone()], &flat(&self.precision)[at])
    }

    /// l_c(z) of every component.
    #[inline(always)]
    pub fn components<const N: usize>(&self, z: &[Lanes<N>], out: &mut [Lanes<N>]) {
        for (c, to) in out.iter_mut().enumerate() {
            let (mean, precision) = self.component(c);
            let mut square = [0.0; N];
            for ((z, m), p) in z.iter().zip(mean).zip(precision) {
                square = each(|l| square[l] + (z[l] - m) * (z[l] - m) * p);
            }
            *to = each(|l| self.constant[c] - 0.5 * square[l]);
        }
    }

    /// log p(z); γ(z) into `gamma`.
    #[inline(always)]
    pub fn density(&self, z: &[f64], gamma: &mut [f64]) -> f64 {
        self.components::<1>(z.as_chunks().0, gamma.as_chunks_mut().0);
        softmax(gamma)
    }

    /// log p(z) and γ(z) of rows z.
    #[inline(always)]
    pub fn densities(&self, z: &[f64], gamma: &mut [f64], log_p: &mut [f64]) {
        let components = self.len();
        let mut l = vec![[0.0; EIGHT]; components];
        by_eight(
            z,
            self.mean.ncols(),
            #[inline(always)]
            |from, count, z| {
                self.components(z, &mut l);
                log_p[from..from + count].copy_from_slice(&softmaxes(&mut l)[..count]);
                into_rows(&l, &mut gamma[from * components..(from + count) * components]);
            },
        );
    }

    /// Adds w ∂ l_c/∂z, weighted by `weights` of the components, to `out`.
    #[inline(always)]
    pub fn add_slope<const N: usize>(&self, z: &[Lanes<N>], weights: &[Lanes<N>], out: &mut [Lanes<N>]) {
        for (c, w) in weights.iter().enumerate() {
            let (mean, precision) = self.component(c);
            for (((to, z), m), p) in out.iter_mut().zip(z).zip(mean).zip(precision) {
                *to = each(|l| to[l] - w[l] * (z[l] - m) * p);
            }
        }
    }

    /// γ of every row of `points`, tempered by T: ∝ exp(l_c/T).
    pub fn responsibilities(&self, points: ArrayView2<'_, f64>, temperature: f64) -> Array2<f64> {
        let mut out = Array2::zeros((points.nrows(), self.len()));
        let points = points.as_standard_layout();
        let (points, rows) = (points.as_slice().unwrap_or_default(), flat_mut(&mut out));
        fast!(|| {
            let components = self.len();
            let mut tempered = vec![[0.0; EIGHT]; components];
            by_eight(
                points,
                self.mean.ncols(),
                #[inline(always)]
                |from, count, z| {
                    self.components(z, &mut tempered);
                    for v in &mut tempered {
                        *v = each(|l| v[l] / temperature);
                    }
                    softmaxes(&mut tempered);
                    into_rows(&tempered, &mut rows[from * components..(from + count) * components]);
                },
            );
        });
        out
    }

    /// KL_c of N(m, exp(lv)) from every component.
    pub fn kl(&self, m: &[f64], lv: &[f64], out: &mut [f64]) {
        for (c, to) in out.iter_mut().enumerate() {
            let (mean, precision) = (self.mean.row(c), self.precision.row(c));
            let mut sum = 2.0 * self.log_sigma[c];
            for d in 0..m.len() {
                let e = m[d] - mean[d];
                sum += (lv[d].exp() + e * e) * precision[d] - lv[d] - 1.0;
            }
            *to = 0.5 * sum;
        }
    }

    /// Adds Σ_c w_c ∂ KL_c to the gradients of m, of lv and of the mixture.
    fn add_kl_gradient(
        &self,
        m: &[f64],
        lv: &[f64],
        weights: &[f64],
        dm: &mut [f64],
        dlv: &mut [f64],
        to: &mut Gradient,
    ) {
        for (c, w) in weights.iter().enumerate() {
            let (mean, precision) = (self.mean.row(c), self.precision.row(c));
            for d in 0..m.len() {
                let (e, v) = (m[d] - mean[d], lv[d].exp());
                dm[d] += w * e * precision[d];
                dlv[d] += 0.5 * w * (v * precision[d] - 1.0);
                to.mean[[c, d]] -= w * e * precision[d];
                to.log_sigma[[c, d]] += w * (1.0 - (v + e * e) * precision[d]);
            }
        }
    }

    /// The bound of Hershey and Olsen for N(m, exp(lv)); γ* into `gamma`.
    pub fn bound(&self, m: &[f64], lv: &[f64], gamma: &mut [f64]) -> f64 {
        self.kl(m, lv, gamma);
        gamma.iter_mut().zip(&self.log_shares).for_each(|(k, p)| *k = p - *k);
        -softmax(gamma)
    }

    /// Adds `scale` times the gradient of [`bound`](Self::bound), given its γ*.
    pub fn add_bound_gradient(
        &self,
        (m, lv): (&[f64], &[f64]),
        gamma: &[f64],
        scale: f64,
        (dm, dlv): (&mut [f64], &mut [f64]),
        to: &mut Gradient,
    ) {
        let weights: Vec<f64> = gamma.iter().map(|g| scale * g).collect();
        self.add_kl_gradient(m, lv, &weights, dm, dlv, to);
        for (c, g) in gamma.iter().enumerate() {
            to.logits[c] -= scale * (g - self.shares[c]);
        }
    }

    /// VaDE's bound for N(m, exp(lv)); γ(m) into `gamma`.
    pub fn vade(&self, m: &[f64], lv: &[f64], gamma: &mut [f64]) -> f64 {
        self.density(m, gamma);
        let mut kl = vec![0.0; gamma.len()];
        self.kl(m, lv, &mut kl);
        gamma
            .iter()
            .zip(&kl)
            .zip(&self.log_shares)
            .filter(|((g, _), _)| **g > 0.0)
            .map(|((g, k), p)| g * (k + g.ln() - p))
            .sum()
    }

    /// Adds `scale` times the gradient of [`vade`](Self::vade), through γ(m) too.
    pub fn add_vade_gradient(
        &self,
        (m, lv): (&[f64], &[f64]),
        gamma: &[f64],
        scale: f64,
        (dm, dlv): (&mut [f64], &mut [f64]),
        to: &mut Gradient,
    ) {
        let mut kl = vec![0.0; gamma.len()];
        self.kl(m, lv, &mut kl);
        let weights: Vec<f64> = gamma.iter().map(|g| scale * g).collect();
        self.add_kl_gradient(m, lv, &weights, dm, dlv, to);
        // ∂/∂ log π_c = −γ_c
        for (c, w) in weights.iter().enumerate() {
            to.logits[c] -= w - scale * self.shares[c];
        }
        // Through γ: e_c = KL_c + log γ_c − log π_c, and the softmax' Jacobian.
        let e: Vec<f64> = gamma
            .iter()
            .zip(&kl)
            .zip(&self.log_shares)
            .map(|((g, k), p)| k + g.max(f64::MIN_POSITIVE).ln() - p)
            .collect();
        let mean: f64 = gamma.iter().zip(&e).map(|(g, e)| g * e).sum();
        let through: Vec<f64> = gamma.iter().zip(&e).map(|(g, e)| scale * g * (e - mean)).collect();
        self.add_slope::<1>(m.as_chunks().0, through.as_chunks().0, dm.as_chunks_mut().0);
        let mut sums = Sums::<1>::new((self.len(), m.len()));
        sums.add(self, m.as_chunks().0, through.as_chunks().0);
        sums.into(self, to);
    }
}

/// Derivatives of a mixture.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// c.
    pub logits: Vec<f64>,
    /// c × L.
    pub mean: Array2<f64>,
    /// c × L.
    pub log_sigma: Array2<f64>,
}

impl Gradient {
    /// Zeros for c components in L dimensions.
    pub fn zeros((components, dims): (usize, usize)) -> Gradient {
        let zero = Array2::zeros((components, dims));
        Gradient { logits: vec![0.0; components], mean: zero.clone(), log_sigma: zero }
    }

    /// Adds another to it.
    pub fn add(&mut self, other: &Gradient) {
        self.mean += &other.mean;
        self.log_sigma += &other.log_sigma;
        self.logits.iter_mut().zip(&other.logits).for_each(|(to, v)| *to += v);
    }
}

/// Sums over points, lane by lane, of which a gradient of the mixture is made: Σ w, Σ w e/σ², Σ w (e²/σ² − 1) with e = z − μ.
pub struct Sums<const N: usize> {
    weight: Vec<Lanes<N>>,
    mean: Vec<Lanes<N>>,
    log_sigma: Vec<Lanes<N>>,
}

impl<const N: usize> Sums<N> {
    /// No points of c components in L dimensions.
    pub fn new((components, dims): (usize, usize)) -> Sums<N> {
        let zeros = |count| vec![[0.0; N]; count];
        Sums {
            weight: zeros(components),
            mean: zeros(components * dims),
            log_sigma: zeros(components * dims),
        }
    }

    /// Adds N points with their weights: the chain rule of anything that depends on the l_c.
    #[inline(always)]
    pub fn add(&mut self, ready: &Ready, z: &[Lanes<N>], weights: &[Lanes<N>]) {
        let dims = z.len().max(1);
        let slopes = self.mean.chunks_exact_mut(dims).zip(self.log_sigma.chunks_exact_mut(dims));
        for ((c, w), ((to_mean, to_sigma), total)) in
            weights.iter().enumerate().zip(slopes.zip(&mut self.weight))
        {
            let (mean, precision) = ready.component(c);
            let slopes = to_mean.iter_mut().zip(to_sigma);
            for (((to_mean, to_sigma), z), (m, p)) in slopes.zip(z).zip(mean.iter().zip(precision)) {
                let e: Lanes<N> = each(|l| z[l] - m);
                *to_mean = each(|l| to_mean[l] + w[l] * (e[l] * p));
                *to_sigma = each(|l| to_sigma[l] + w[l] * (e[l] * p * e[l] - 1.0));
            }
            *total = each(|l| total[l] + w[l]);
        }
    }

    /// Adds N points of weights γ whose components go along with them: v per coordinate.
    #[inline(always)]
    pub fn add_pathwise(&mut self, ready: &Ready, z: &[Lanes<N>], gamma: &[Lanes<N>], v: &[Lanes<N>]) {
        let dims = z.len().max(1);
        let slopes = self.mean.chunks_exact_mut(dims).zip(self.log_sigma.chunks_exact_mut(dims));
        for ((c, g), (to_mean, to_sigma)) in gamma.iter().enumerate().zip(slopes) {
            let (mean, _) = ready.component(c);
            let slopes = to_mean.iter_mut().zip(to_sigma);
            for (((to_mean, to_sigma), v), (z, m)) in slopes.zip(v).zip(z.iter().zip(mean)) {
                let along: Lanes<N> = each(|l| g[l] * v[l]);
                let e: Lanes<N> = each(|l| z[l] - m);
                *to_mean = each(|l| to_mean[l] + along[l]);
                *to_sigma = each(|l| to_sigma[l] + along[l] * e[l]);
            }
        }
    }

    /// Adds the sums to a gradient, that in the logits from Σ w.
    pub fn into(self, ready: &Ready, to: &mut Gradient) {
        let sum = |lanes: &Lanes<N>| lanes.iter().sum::<f64>();
        let weight: Vec<f64> = self.weight.iter().map(sum).collect();
        let total: f64 = weight.iter().sum();
        for ((to, w), share) in to.logits.iter_mut().zip(&weight).zip(&ready.shares) {
            *to += w - total * share;
        }
        to.mean.iter_mut().zip(&self.mean).for_each(|(to, v)| *to += sum(v));
        to.log_sigma.iter_mut().zip(&self.log_sigma).for_each(|(to, v)| *to += sum(v));
    }
}

impl Mixture {
    /// Components of the given centres, standard deviations and shares.
    pub fn new(mean: Array2<f64>, sigma: &Array2<f64>, shares: &[f64]) -> Mixture {
        let logits = shares.iter().map(|s| s.max(1e-6).ln()).collect::<Vec<_>>();
        let logits = Array2::from_shape_fn((1, logits.len()), |(_, c)| logits[c]);
        let log_sigma = sigma.mapv(|s| s.max(LEAST_SIGMA).ln());
        Mixture { logits: Param::new(logits), mean: Param::new(mean), log_sigma: Param::new(log_sigma) }
    }

    /// One standard normal component: the prior before clusters are known.
    pub fn standard(dims: usize) -> Mixture {
        Mixture::new(Array2::zeros((1, dims)), &Array2::ones((1, dims)), &[1.0])
    }

    /// Components and dimensions.
    pub fn shape(&self) -> (usize, usize) {
        self.mean.value.dim()
    }

    /// What densities need.
    pub fn ready(&self) -> Ready {
        let (components, dims) = self.shape();
        let mut shares: Vec<f64> = self.logits.value.iter().copied().collect();
        let log_sum = softmax(&mut shares);
        let log_shares: Vec<f64> = self.logits.value.iter().map(|l| l - log_sum).collect();
        let log_sigma: Vec<f64> = self.log_sigma.value.rows().into_iter().map(|r| r.sum()).collect();
        let root = 0.5 * dims as f64 * std::f64::consts::TAU.ln();
        let constant = (0..components).map(|c| log_shares[c] - log_sigma[c] - root).collect();
        let rows = |a: &Array2<f64>| a.as_standard_layout().into_owned();
        let precision = rows(&self.log_sigma.value).mapv(|l| (-2.0 * l).exp());
        Ready { shares, log_shares, constant, mean: rows(&self.mean.value), precision, log_sigma }
    }

    /// Keeps σ at or above its least value.
    pub fn confine(&mut self) {
        self.log_sigma.value.mapv_inplace(|l| l.max(LEAST_SIGMA.ln()));
    }

    /// γ of every row of `points`, tempered by T: ∝ exp(l_c/T).
    pub fn responsibilities(&self, points: ArrayView2<'_, f64>, temperature: f64) -> Array2<f64> {
        self.ready().responsibilities(points, temperature)
    }

    /// The components chosen, in that order; what Adam knows of them is forgotten.
    pub fn select(&self, at: &[usize]) -> Mixture {
        let rows = |p: &Param<f64>| Param::new(p.value.select(ndarray::Axis(0), at));
        let logits = Param::new(self.logits.value.select(ndarray::Axis(1), at));
        Mixture { logits, mean: rows(&self.mean), log_sigma: rows(&self.log_sigma) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use ndarray::{Array1, Ix1};

    fn read(case: &Golden) -> Mixture {
        let logits: Array1<f64> = case.array("logits");
        Mixture {
            logits: Param::new(logits.insert_axis(ndarray::Axis(0))),
            mean: Param::new(case.array("mu")),
            log_sigma: Param::new(case.array("log_sigma")),
        }
    }

    #[test]
    fn densities_and_gradients_are_those_of_the_golden_case() {
        let case = Golden::open("svcc/gmm");
        let (mixture, z): (Mixture, Array2<f64>) = (read(&case), case.array("z"));
        let ready = mixture.ready();
        let (n, c) = (z.nrows(), ready.len());
        let (mut log, mut gamma, mut dz) = (Array1::zeros(n), Array2::zeros((n, c)), Array2::zeros(z.dim()));
        let (mut gradient, mut sums) = (Gradient::zeros(mixture.shape()), Sums::<1>::new(mixture.shape()));
        for i in 0..n {
            let (point, mut g) = (z.row(i).to_vec(), vec![0.0; c]);
            log[i] = ready.density(&point, &mut g);
            let (z, w) = (point.as_chunks().0, g.as_chunks().0);
            ready.add_slope::<1>(z, w, dz.row_mut(i).as_slice_mut().unwrap().as_chunks_mut().0);
            sums.add(&ready, z, w);
            gamma.row_mut(i).assign(&Array1::from(g));
        }
        sums.into(&ready, &mut gradient);
        let (mut shares, mut logs) = (Array2::<f64>::zeros((n, c)), vec![0.0; n]);
        ready.densities(flat(&z), flat_mut(&mut shares), &mut logs);
        assert!((&shares - &gamma).iter().all(|v| v.abs() < 1e-15));
        assert!(logs.iter().zip(&log).all(|(a, b)| (a - b).abs() < 1e-13));
        case.assert_close("log_density", &log, 1e-12);
        case.assert_close("responsibilities", &gamma, 1e-12);
        case.assert_close("grad_z", &dz, 1e-10);
        case.assert_close("grad_logits", &Array1::from(gradient.logits), 1e-10);
        case.assert_close("grad_mu", &gradient.mean, 1e-10);
        case.assert_close("grad_log_sigma", &gradient.log_sigma, 1e-10);
        let tempered = mixture.responsibilities(z.view(), 1.0);
        assert!((&tempered - &gamma).iter().all(|v| v.abs() < 1e-14));
    }

    #[test]
    fn closed_divergences_are_those_of_the_golden_case() {
        let case = Golden::open("svcc/kl_closed_form");
        let mixture = read(&case);
        let ready = mixture.ready();
        let (m, lv): (Array2<f64>, Array2<f64>) = (case.array("q_mean"), case.array("q_logvar"));
        let (n, c) = (m.nrows(), ready.len());
        let mut kl = Array2::zeros((n, c));
        let (mut best, mut at_mean) = (kl.clone(), kl.clone());
        let (mut bound, mut vade) = (Array1::<f64>::zeros(n), Array1::<f64>::zeros(n));
        for i in 0..n {
            let (m, lv) = (m.row(i).to_vec(), lv.row(i).to_vec());
            ready.kl(&m, &lv, kl.row_mut(i).as_slice_mut().unwrap());
            bound[i] = ready.bound(&m, &lv, best.row_mut(i).as_slice_mut().unwrap());
            vade[i] = ready.vade(&m, &lv, at_mean.row_mut(i).as_slice_mut().unwrap());
            assert!(bound[i] <= vade[i] + 1e-12);
        }
        case.assert_close("kl_per_component", &kl, 1e-12);
        case.assert_close("hershey_olsen", &bound, 1e-12);
        case.assert_close("optimal_gamma", &best, 1e-10);
        case.assert_close("gamma_at_mean", &at_mean, 1e-10);
        case.assert_close::<_, Ix1>("vade_bound", &vade, 1e-12);
    }

    #[test]
    fn gradients_of_both_bounds_match_differences() {
        use crate::nn::check::{normal, slopes};
        let mixture = Mixture {
            logits: Param::new(normal(1, 3, 1)),
            mean: Param::new(normal(3, 2, 2)),
            log_sigma: Param::new(0.3 * normal(3, 2, 3)),
        };
        let (m, lv) = (normal(1, 2, 4), normal(1, 2, 5));
        type State = (Mixture, Array2<f64>, Array2<f64>);
        let state: State = (mixture.clone(), m.clone(), lv.clone());
        for vade in [false, true] {
            let loss = |s: &State| {
                let (m, lv, mut gamma) = (s.1.row(0).to_vec(), s.2.row(0).to_vec(), vec![0.0; 3]);
                let ready = s.0.ready();
                1.7 * if vade { ready.vade(&m, &lv, &mut gamma) } else { ready.bound(&m, &lv, &mut gamma) }
            };
            let ready = mixture.ready();
            let (point, spread, mut gamma) = (m.row(0).to_vec(), lv.row(0).to_vec(), vec![0.0; 3]);
            let (mut dm, mut dlv) = (vec![0.0; 2], vec![0.0; 2]);
            let mut to = Gradient::zeros((3, 2));
            let at = (&point[..], &spread[..]);
            match vade {
                true => {
                    ready.vade(&point, &spread, &mut gamma);
                    ready.add_vade_gradient(at, &gamma, 1.7, (&mut dm, &mut dlv), &mut to);
                }
                false => {
                    ready.bound(&point, &spread, &mut gamma);
                    ready.add_bound_gradient(at, &gamma, 1.7, (&mut dm, &mut dlv), &mut to);
                }
            }
            let row = |v: Vec<f64>| Array2::from_shape_vec((1, v.len()), v).unwrap();
            slopes("m", &state, |s| &mut s.1, &row(dm), loss);
            slopes("lv", &state, |s| &mut s.2, &row(dlv), loss);
            slopes("logits", &state, |s| &mut s.0.logits.value, &row(to.logits), loss);
            slopes("mean", &state, |s| &mut s.0.mean.value, &to.mean, loss);
            slopes("log_sigma", &state, |s| &mut s.0.log_sigma.value, &to.log_sigma, loss);
        }
    }
}
