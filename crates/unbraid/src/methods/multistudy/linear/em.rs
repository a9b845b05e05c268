//! One step of expectation and conditional maximisation, and the likelihood.
//!
//! With B_s = [Φ Λ_s], S_s the second moments of the centred samples of study s and n_s their number,
//!
//! ```text
//! E:  V = (I + Bᵀ Ψ⁻¹ B)⁻¹,   C = S Ψ⁻¹ B V,   E = V + V Bᵀ Ψ⁻¹ C            (each of its study)
//!     log L = −½ Σ_s n_s [ G log 2π + log det Ψ − log det V + tr Ψ⁻¹ S − tr (Ψ⁻¹ B)ᵀ C ]
//! CM: for each feature j, T = E_fl E_ll⁻¹, w_s = n_s / ψ_sj,
//!     φ_j = (Σ_s w_s (E_ff − T E_lf))⁻¹ Σ_s w_s (c_f − T c_l),   λ_sj = E_ll⁻¹ (c_l − E_lf φ_j)
//!     ψ_sj = s_jj − 2 b_j · c_j + b_jᵀ E b_j, not below a floor
//! ```
//!
//! where f stands for the columns of Φ and l for those of Λ_s. φ_j and all λ_sj are found jointly for given Ψ, then Ψ, so
//! that the likelihood never falls; ψ on its floor is the best of the allowed ones, because the criterion has one peak.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linalg::cholesky::Cholesky;
use crate::linalg::{gram, matmul, settle};

/// Share of a feature's variance that is noise at least.
const FLOOR: f64 = 1e-3;

/// The samples of one study.
pub(super) struct Study {
    /// n_s × G, of mean 0.
    pub x: Array2<f64>,
    /// Diagonal of S_s.
    pub variances: Vec<f64>,
    /// Smallest ψ.
    pub floor: Vec<f64>,
}

impl Study {
    /// Centres the samples.
    pub fn new(mut x: Array2<f64>) -> Study {
        let n = x.nrows() as f64;
        let means = x.sum_axis(Axis(0)) / n;
        x.rows_mut().into_iter().for_each(|mut row| row -= &means);
        let mut variances = vec![0.0; x.ncols()];
        for row in x.rows() {
            variances.iter_mut().zip(row).for_each(|(to, v)| *to += v * v / n);
        }
        let typical = variances.iter().sum::<f64>() / variances.len().max(1) as f64;
        // A feature that does not vary in this study has noise all the same.
        let least = if typical > 0.0 { FLOOR * FLOOR * typical } else { f64::MIN_POSITIVE.sqrt() };
        let floor = variances.iter().map(|v| (FLOOR * v).max(least)).collect();
        Study { x, variances, floor }
    }
}

/// Φ, all Λ and all Ψ.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Loadings {
    /// G × K_S.
    pub phi: Array2<f64>,
    /// G × K_m of each study.
    pub own: Vec<Array2<f64>>,
    /// Diagonal of Ψ of each study.
    pub noise: Vec<Vec<f64>>,
}

impl Loadings {
    /// B_s.
    fn of(&self, study: usize) -> Array2<f64> {
        // Both have a row for each feature.
        concatenate(Axis(1), &[self.phi.view(), self.own[study].view()]).unwrap_or_default()
    }
}

/// What a study says of its factors.
pub(super) struct Moments {
    /// Posterior means, n_s × K.
    pub scores: Array2<f64>,
    /// Mean of x (f, l)ᵀ, G × K.
    pub cross: Array2<f64>,
    /// Mean of (f, l)(f, l)ᵀ, K × K.
    pub second: Array2<f64>,
    /// Log likelihood of the study.
    pub log_likelihood: f64,
}

/// The E-step of a study.
pub(super) fn expect(study: &Study, m: usize, at: &Loadings) -> Result<Moments> {
    let (n, features) = study.x.dim();
    let b = at.of(m);
    let mut weighted = b.clone();
    weighted.rows_mut().into_iter().zip(&at.noise[m]).for_each(|(mut row, psi)| row /= *psi);
    let mut precision = matmul(b.t(), weighted.view());
    precision.diag_mut().iter_mut().for_each(|v| *v += 1.0);
    let (v, log_det) = inverse(precision.view())?;
    let scores = matmul(matmul(study.x.view(), weighted.view()).view(), v.view());
    let cross = matmul(study.x.t(), scores.view()) / n as f64;
    let second = gram(scores.t()) / n as f64 + &v;
    let explained: f64 = weighted.iter().zip(&cross).map(|(a, b)| a * b).sum();
    let noise = at.noise[m].iter().zip(&study.variances);
    let rest: f64 = noise.map(|(psi, s)| psi.ln() + s / psi).sum();
    let constant = features as f64 * (2.0 * std::f64::consts::PI).ln();
    let log_likelihood = -0.5 * n as f64 * (constant + rest + log_det - explained);
    Ok(Moments { scores, cross, second, log_likelihood })
}

/// The conditional maximisation; rows are independent of each other.
pub(super) fn maximise(studies: &[Study], moments: &[Moments], at: &mut Loadings) -> Result<()> {
    let shared = at.phi.ncols();
    let parts = moments.iter().map(|m| Split::new(m, shared)).collect::<Result<Vec<Split>>>()?;
    let old = &*at;
    let rows: Vec<Row> = (0..at.phi.nrows())
        .into_par_iter()
        .map(|j| {
            settle();
            row(j, studies, moments, &parts, old)
        })
        .collect::<Result<_>>()?;
    for (j, found) in rows.into_iter().enumerate() {
        at.phi.row_mut(j).assign(&found.phi);
        for (m, (own, psi)) in found.own.into_iter().zip(found.noise).enumerate() {
            at.own[m].row_mut(j).assign(&own);
            at.noise[m][j] = psi;
        }
    }
    Ok(())
}

/// What of E does not depend on the feature.
struct Split {
    /// T = E_fl E_ll⁻¹.
    t: Array2<f64>,
    /// E_ll⁻¹.
    inner: Array2<f64>,
    /// E_ff − T E_lf.
    outer: Array2<f64>,
}

impl Split {
    fn new(of: &Moments, shared: usize) -> Result<Split> {
        let e = &of.second;
        let (inner, _) = inverse(e.slice(s![shared.., shared..]))?;
        let t = matmul(e.slice(s![..shared, shared..]), inner.view());
        let outer = &e.slice(s![..shared, ..shared]) - &matmul(t.view(), e.slice(s![shared.., ..shared]));
        Ok(Split { t, inner, outer })
    }
}

/// A feature's φ, and λ and ψ of each study.
struct Row {
    phi: Array1<f64>,
    own: Vec<Array1<f64>>,
    noise: Vec<f64>,
}

fn row(j: usize, studies: &[Study], moments: &[Moments], parts: &[Split], old: &Loadings) -> Result<Row> {
    let shared = old.phi.ncols();
    let (mut left, mut right) = (Array2::zeros((shared, shared)), Array1::zeros(shared));
    for (m, (study, part)) in studies.iter().zip(parts).enumerate() {
        let weight = study.x.nrows() as f64 / old.noise[m][j];
        let c = moments[m].cross.row(j);
        left.scaled_add(weight, &part.outer);
        right.scaled_add(weight, &(&c.slice(s![..shared]) - &part.t.dot(&c.slice(s![shared..]))));
    }
    let phi = solve(left.view(), right.view())?;
    let (mut own, mut noise) = (Vec::with_capacity(studies.len()), Vec::with_capacity(studies.len()));
    for (m, (study, part)) in studies.iter().zip(parts).enumerate() {
        let (c, e) = (moments[m].cross.row(j), &moments[m].second);
        let lambda = part.inner.dot(&(&c.slice(s![shared..]) - &e.slice(s![shared.., ..shared]).dot(&phi)));
        let b = concatenate(Axis(0), &[phi.view(), lambda.view()]).unwrap_or_default();
        let psi = study.variances[j] - 2.0 * b.dot(&c) + b.dot(&e.dot(&b));
        noise.push(psi.max(study.floor[j]));
        own.push(lambda);
    }
    Ok(Row { phi, own, noise })
}

fn factor(a: ArrayView2<'_, f64>) -> Result<Cholesky> {
    Cholesky::new(a).ok_or_else(|| Error::Numeric {
        what: "the linear factors",
        why: "their second moments became singular; set fewer factors".into(),
    })
}

/// Inverse and log determinant of a symmetric positive definite matrix, which may be empty.
fn inverse(a: ArrayView2<'_, f64>) -> Result<(Array2<f64>, f64)> {
    let k = a.nrows();
    if k == 0 {
        return Ok((Array2::zeros((0, 0)), 0.0));
    }
    let factor = factor(a)?;
    // a⁻¹ = L⁻ᵀ L⁻¹
    let half = factor.whiten(Array2::eye(k).view());
    Ok((gram(half.t()), factor.log_det()))
}

fn solve(a: ArrayView2<'_, f64>, b: ArrayView1<'_, f64>) -> Result<Array1<f64>> {
    if b.is_empty() {
        return Ok(Array1::zeros(0));
    }
    Ok(Array1::from(factor(a)?.solve(&b.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand_distr::{Distribution, StandardNormal};

    fn random(n: usize, m: usize, seed: u64) -> Array2<f64> {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng))
    }

    /// Two studies of correlated features, and loadings that are not fitted to them.
    fn case() -> (Vec<Study>, Loadings) {
        let mix = random(6, 6, 9);
        let studies = [(30, 1), (20, 2)].map(|(n, seed)| Study::new(random(n, 6, seed).dot(&mix)));
        let own = vec![random(6, 1, 4), random(6, 1, 5)];
        let noise = vec![vec![0.5, 0.7, 1.0, 1.5, 0.9, 2.0], vec![1.1, 0.6, 0.8, 1.3, 2.5, 0.4]];
        (studies.into(), Loadings { phi: random(6, 2, 3), own, noise })
    }

    fn log_likelihood(studies: &[Study], at: &Loadings) -> f64 {
        studies.iter().enumerate().map(|(m, s)| expect(s, m, at).unwrap().log_likelihood).sum()
    }

    #[test]
    fn the_likelihood_is_the_density_of_the_samples() {
        let (studies, at) = case();
        for (m, study) in studies.iter().enumerate() {
            let b = at.of(m);
            let mut cov = b.dot(&b.t());
            cov.diag_mut().iter_mut().zip(&at.noise[m]).for_each(|(v, psi)| *v += psi);
            let chol = Cholesky::new(cov.view()).unwrap();
            let squares: f64 = chol.whiten(study.x.t()).iter().map(|v| v * v).sum();
            let n = study.x.nrows() as f64;
            let direct = -0.5 * (n * (6.0 * (2.0 * std::f64::consts::PI).ln() + chol.log_det()) + squares);
            let found = expect(study, m, &at).unwrap().log_likelihood;
            assert!((found - direct).abs() < 1e-9 * direct.abs(), "{found} {direct}");
        }
    }

    /// Gradients of log L are those of the expected complete likelihood, here in one parameter at a time.
    fn gradients(studies: &[Study], at: &Loadings) -> (Array2<f64>, Vec<Array2<f64>>, Vec<Vec<f64>>) {
        let shared = at.phi.ncols();
        let mut phi = Array2::zeros(at.phi.dim());
        let (mut own, mut noise) = (Vec::new(), Vec::new());
        for (m, study) in studies.iter().enumerate() {
            let (n, b, e) = (study.x.nrows() as f64, at.of(m), expect(study, m, at).unwrap());
            let mut slope = &e.cross - &b.dot(&e.second);
            slope.rows_mut().into_iter().zip(&at.noise[m]).for_each(|(mut r, psi)| r *= n / psi);
            phi += &slope.slice(s![.., ..shared]);
            own.push(slope.slice(s![.., shared..]).to_owned());
            let be = b.dot(&e.second);
            let left = |j: usize| {
                study.variances[j] - 2.0 * b.row(j).dot(&e.cross.row(j)) + b.row(j).dot(&be.row(j))
            };
            let of = |(j, psi): (usize, &f64)| 0.5 * n * (left(j) / (psi * psi) - 1.0 / psi);
            noise.push(at.noise[m].iter().enumerate().map(of).collect());
        }
        (phi, own, noise)
    }

    #[test]
    fn moments_give_the_gradient_of_the_likelihood() {
        let (studies, at) = case();
        let (phi, own, noise) = gradients(&studies, &at);
        let h = 1e-5;
        let slope = |change: &dyn Fn(&mut Loadings, f64)| {
            let [mut up, mut down] = [at.clone(), at.clone()];
            change(&mut up, h);
            change(&mut down, -h);
            (log_likelihood(&studies, &up) - log_likelihood(&studies, &down)) / (2.0 * h)
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{a} {b}");
        for j in 0..6 {
            for k in 0..2 {
                near(slope(&|l, h| l.phi[[j, k]] += h), phi[[j, k]]);
            }
            for m in 0..2 {
                near(slope(&|l, h| l.own[m][[j, 0]] += h), own[m][[j, 0]]);
                near(slope(&|l, h| l.noise[m][j] += h), noise[m][j]);
            }
        }
    }

    #[test]
    fn the_likelihood_never_falls_and_ends_where_its_gradient_is_0() {
        let mix = random(6, 6, 9);
        // More samples than the case above has, so that no ψ comes to rest on its floor.
        let noisy = |n, seed| {
            let shift = random(n, 2, seed).dot(&mix.slice(s![..2, ..])) + random(n, 6, seed + 50);
            Study::new(shift)
        };
        let studies = [noisy(300, 1), noisy(200, 2)];
        let mut at = Loadings { phi: random(6, 1, 3), ..case().1 };
        let mut last = f64::NEG_INFINITY;
        for _ in 0..3000 {
            let moments: Vec<Moments> =
                studies.iter().enumerate().map(|(m, s)| expect(s, m, &at).unwrap()).collect();
            let now: f64 = moments.iter().map(|m| m.log_likelihood).sum();
            assert!(now >= last - 1e-9 * now.abs(), "{last} {now}");
            last = now;
            maximise(&studies, &moments, &mut at).unwrap();
        }
        let free = (0..2).all(|m| at.noise[m].iter().zip(&studies[m].floor).all(|(v, f)| v > f));
        assert!(free, "{:?}", at.noise);
        let (phi, own, noise) = gradients(&studies, &at);
        let all = phi.iter().chain(own.iter().flatten()).chain(noise.iter().flatten());
        let steepest = all.fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(steepest < 1e-4 * last.abs(), "{steepest}");
    }

    #[test]
    fn features_that_do_not_vary_have_noise_and_empty_blocks_are_allowed() {
        let mut x = random(30, 4, 1);
        x.column_mut(2).fill(3.0);
        let studies = [Study::new(x)];
        let mut at =
            Loadings { phi: Array2::zeros((4, 0)), own: vec![random(4, 1, 2)], noise: vec![vec![1.0; 4]] };
        for _ in 0..20 {
            let moments = [expect(&studies[0], 0, &at).unwrap()];
            assert!(moments[0].log_likelihood.is_finite());
            maximise(&studies, &moments, &mut at).unwrap();
        }
        assert!(at.noise[0][2] > 0.0 && at.own[0][[2, 0]] == 0.0);
    }
}
