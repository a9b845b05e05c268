//! The design `multistudy-rna`: counts of genes that follow the factors through a link.
//!
//! ```text
//! base_ij = b_j + Σ_k w_jk t_j(z_ik),   t_j(z) = sin(¾ π z) where j, counted from 1, is divisible by 3, else z
//! μ_ij = l_i softplus(base_ij) / Σ_j softplus(base_ij),   l_i = exp N(12, 0.25)
//! BCV_ij = (0.1 + μ_ij^{-1/2}) √(60 / χ²_60),   x_ij ~ Poisson(Gamma(shape 1 / BCV², mean μ_ij))
//! ```
//!
//! b_j ~ N(0, 0.25), z ~ N(0, `latent_sd`²); the normal laws are given by their variances. Non-zero weights are
//! N(10, 0.01) in shared columns, N(12, 0.01) in a study's own. Layout, counted from 0, with s = 0.7 G / K_S and
//! t = 0.3 G / (M K_m): shared block k covers [k s, (k + 5/4) s), block q = m K_m + l of the studies
//! [0.7 G + q t, 0.7 G + (q + 5/4) t) cut at G; outside its block an entry is not 0 with probability `off_block`.
//! Each study but the last has 0.9 N / M observations, at three studies 30, 30 and 40 %.
//!
//! The paper speaks of one BCV per gene, but its formula has a draw of χ² for every entry; so it is here. It gives
//! neither K_S, K_m nor the law of the scores; those are ours.

use ndarray::{Array2, ArrayView1};
use rand_distr::{ChiSquared, Distribution, Gamma, Poisson, StandardNormal};
use rayon::prelude::*;

use super::{
    Blocks, MultistudySample, Purpose, annotated, by_feature, check_size_of, check_sizes, is_third,
    need_anchors, owners, rows_of, scores, stream, study_codes, weights,
};
use crate::data::{Annotations, Dataset};
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::params::{ParamDoc, Params};

/// Degrees of freedom behind the biological coefficients of variation.
const FREEDOM: f64 = 60.0;
/// Smallest mean of an entry.
const LEAST_MEAN: f64 = 1e-12;

crate::params! {
    /// Design of counts of genes in several studies with shared and own factors.
    pub struct MultistudyRnaDesign {
        /// Number of studies M; from 1 to 1000.
        pub studies: usize = 3,
        /// Observations N of all studies together; from 2 for each study to 1000000.
        pub observations: usize = 3200,
        /// Number of features (genes) G; at least two for every factor alone.
        pub features: usize = 5000,
        /// Shared factors K_S; from 1 to 1000. The paper does not say.
        pub shared: usize = 20,
        /// Factors of each study's own, K_m; from 0 to 1000. The paper does not say.
        pub specific: usize = 4,
        /// Standard deviation of the scores; 0 or larger. The paper does not say.
        pub latent_sd: f64 = 0.5,
        /// Share of the entries outside a factor's block that are not 0; from 0 to 1.
        pub off_block: f64 = 0.05,
        /// Mean of the logarithm of an observation's total; from 0 to 20.
        pub library: f64 = 12.0,
        /// Standard deviation of that logarithm; 0 or larger.
        pub library_sd: f64 = 0.5,
    }
}

impl Params for MultistudyRnaDesign {
    const DOCS: &'static [ParamDoc] = Self::FIELDS;
}

impl MultistudyRnaDesign {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        check_sizes(self.studies, self.features, self.shared, self.specific)?;
        if !(2 * self.studies..=1_000_000).contains(&self.observations) {
            let found = self.observations.to_string();
            return Err(Error::Param {
                name: "observations",
                found,
                rule: "from 2 for each study to 1000000",
            });
        }
        check_size_of("latent_sd", self.latent_sd)?;
        if !(0.0..=1.0).contains(&self.off_block) {
            let found = self.off_block.to_string();
            return Err(Error::Param { name: "off_block", found, rule: "from 0 to 1" });
        }
        if !(0.0..=20.0).contains(&self.library) {
            let found = self.library.to_string();
            return Err(Error::Param { name: "library", found, rule: "from 0 to 20" });
        }
        check_size_of("library_sd", self.library_sd)?;
        need_anchors(&self.blocks(), self.features)
    }

    /// The block of features of each column.
    pub fn blocks(&self) -> Vec<std::ops::Range<usize>> {
        let (g, own, end) = (self.features as f64, self.studies * self.specific, self.features);
        let stride = 0.7 * g / self.shared as f64;
        let mut out = Blocks { first: 0.0, stride, length: 1.25 * stride, count: self.shared, end }.ranges();
        let stride = 0.3 * g / own.max(1) as f64;
        out.extend(Blocks { first: 0.7 * g, stride, length: 1.25 * stride, count: own, end }.ranges());
        out
    }

    /// Observations of each study.
    pub fn sizes(&self) -> Vec<usize> {
        let each = (0.9 * self.observations as f64 / self.studies as f64).round() as usize;
        let mut sizes = vec![each.max(1); self.studies];
        let before: usize = sizes[1..].iter().sum();
        if let Some(last) = sizes.last_mut() {
            *last = self.observations - before;
        }
        sizes
    }

    /// Draws one sample; the same seed gives the same bits on any number of threads.
    ///
    /// # Errors
    /// [`Error::Param`] as [`validate`](Self::validate).
    pub fn sample(&self, seed: Seed) -> Result<MultistudySample> {
        self.validate()?;
        let owner = owners(self.shared, self.studies, self.specific);
        let study = study_codes(&self.sizes());
        let loadings = weights(&self.blocks(), &owner, self.features, (10.0, 12.0), self.off_block, seed);
        let scores = scores(&study, &owner, self.latent_sd, seed);
        let rows = by_feature(&loadings);
        let mut rng = stream(seed, Purpose::Levels, 0);
        let levels: Vec<f64> = (0..self.features)
            .map(|_| {
                let e: f64 = StandardNormal.sample(&mut rng);
                0.5 * e
            })
            .collect();
        let mut x = Array2::zeros((study.len(), self.features));
        rows_of(&mut x).enumerate().try_for_each(|(i, row)| {
            let mut rng = stream(seed, Purpose::Values, i);
            let e: f64 = StandardNormal.sample(&mut rng);
            let total = (self.library + self.library_sd * e).exp();
            means(&levels, &rows, scores.row(i), total, row);
            row.iter_mut().try_for_each(|value| {
                *value = count(*value, &mut rng)?;
                Ok::<(), Error>(())
            })
        })?;
        Ok(MultistudySample { x, loadings, scores, study, owner })
    }

    /// A sample as a data set with its truth under the names of the [module](super).
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn dataset(&self, seed: Seed) -> Result<(Dataset, Annotations)> {
        Ok(annotated("multistudy-rna", self, seed, self.sample(seed)?))
    }
}

/// μ_ij of one observation: its softplus of every feature, scaled to its total.
fn means(levels: &[f64], rows: &[Vec<(usize, f64)>], z: ArrayView1<'_, f64>, total: f64, mu: &mut [f64]) {
    let bent: Vec<f64> = z.iter().map(|z| (0.75 * std::f64::consts::PI * z).sin()).collect();
    let mut sum = 0.0;
    for (j, value) in mu.iter_mut().enumerate() {
        let t = |k: usize| if is_third(j) { bent[k] } else { z[k] };
        *value = softplus(levels[j] + rows[j].iter().map(|&(k, w)| w * t(k)).sum::<f64>());
        sum += *value;
    }
    mu.iter_mut().for_each(|value| *value *= total / sum);
}

/// log(1 + eᵗ) without overflow.
fn softplus(t: f64) -> f64 {
    t.max(0.0) + (-t.abs()).exp().ln_1p()
}

/// One negative binomial draw of mean μ with a coefficient of variation of its own.
fn count(mean: f64, rng: &mut rand_chacha::ChaCha8Rng) -> Result<f64> {
    let law = |e: String| Error::Numeric { what: "a distribution of the design", why: e };
    let mean = mean.max(LEAST_MEAN);
    let chi = ChiSquared::new(FREEDOM).map_err(|e| law(e.to_string()))?.sample(rng);
    // BCV = (0.1 + μ^{-1/2}) √(60 / χ²)
    let bcv = (0.1 + mean.powf(-0.5)) * (FREEDOM / chi).sqrt();
    let shape = 1.0 / (bcv * bcv);
    let rate = Gamma::new(shape, mean / shape).map_err(|e| law(e.to_string()))?.sample(rng);
    // A gamma of tiny shape underflows to 0, of which the count is 0.
    if rate < f64::MIN_POSITIVE {
        return Ok(0.0);
    }
    Ok(Poisson::new(rate).map_err(|e| law(e.to_string()))?.sample(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> MultistudyRnaDesign {
        MultistudyRnaDesign { observations: 320, features: 400, ..Default::default() }
    }

    #[test]
    fn blocks_and_studies_have_the_sizes_of_the_design() {
        let design = MultistudyRnaDesign::default();
        assert_eq!(design.sizes(), [960, 960, 1280]);
        let blocks = design.blocks();
        assert_eq!((blocks.len(), blocks[0].clone(), blocks[19].clone()), (32, 0..219, 3325..3544));
        assert_eq!((blocks[20].clone(), blocks[31].clone()), (3500..3657, 4875..5000));
        let one = MultistudyRnaDesign { studies: 1, observations: 7, features: 400, ..Default::default() };
        assert_eq!(one.sizes(), [7]);
    }

    #[test]
    fn weights_and_totals_follow_their_laws() {
        let design = MultistudyRnaDesign { observations: 1200, ..small() };
        let s = design.sample(Seed(2)).unwrap();
        let (mut off, mut outside) = (0, 0);
        for (k, block) in design.blocks().iter().enumerate() {
            let level = if k < 20 { 10.0 } else { 12.0 };
            for j in 0..400 {
                let w = s.loadings[[j, k]];
                assert!(w == 0.0 || (w - level).abs() < 0.6);
                match block.contains(&j) {
                    true => assert!(w != 0.0),
                    false => (off, outside) = (off + usize::from(w != 0.0), outside + 1),
                }
            }
        }
        assert!((off as f64 / outside as f64 - 0.05).abs() < 0.006, "{off} of {outside}");
        assert!(s.x.iter().all(|v| *v >= 0.0 && v.fract() == 0.0));
        let logs = s.x.sum_axis(ndarray::Axis(1)).mapv(f64::ln);
        let mean = logs.sum() / 1200.0;
        let variance = logs.mapv(|v| (v - mean).powi(2)).sum() / 1200.0;
        assert!((mean - 12.0).abs() < 0.06 && (variance - 0.25).abs() < 0.04, "{mean} {variance}");
        // An observation of study 0 has no score in columns of the others.
        assert!(s.scores.row(0).iter().skip(24).all(|z| *z == 0.0));
        assert!(s.scores.row(0).iter().take(24).all(|z| *z != 0.0));
    }

    /// Without scores and with one total, a gene has one mean μ, and E BCV² = (0.1 + μ^{-1/2})² 60/58.
    #[test]
    fn counts_have_the_mean_and_variance_of_the_formula() {
        let design = MultistudyRnaDesign {
            observations: 3000,
            features: 200,
            shared: 8,
            specific: 1,
            latent_sd: 0.0,
            library: 9.0,
            library_sd: 0.0,
            ..Default::default()
        };
        let s = design.sample(Seed(5)).unwrap();
        assert!((s.x.sum() / 3000.0 / 9f64.exp() - 1.0).abs() < 0.01);
        let mut ratio = 0.0;
        for column in s.x.columns() {
            let mean = column.sum() / 3000.0;
            let variance = column.mapv(|v| (v - mean).powi(2)).sum() / 2999.0;
            let expected = mean + (mean * (0.1 + mean.powf(-0.5))).powi(2) * 60.0 / 58.0;
            ratio += variance / expected / 200.0;
        }
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
    }

    #[test]
    fn means_follow_the_link_and_sum_to_the_total() {
        let rows = [vec![(0, 2.0)], vec![], vec![(0, 2.0), (1, -1.0)]];
        let mut mu = [0.0; 3];
        means(&[0.1, -0.3, 0.2], &rows, ndarray::aview1(&[0.5, 1.0]), 90.0, &mut mu);
        let bent = |z: f64| (0.75 * std::f64::consts::PI * z).sin();
        let soft = |t: f64| (1.0 + t.exp()).ln();
        let want = [soft(0.1 + 1.0), soft(-0.3), soft(0.2 + 2.0 * bent(0.5) - bent(1.0))];
        let sum: f64 = want.iter().sum();
        assert!(mu.iter().zip(want).all(|(m, w)| (m - 90.0 * w / sum).abs() < 1e-12), "{mu:?}");
        assert_eq!((softplus(800.0), softplus(-800.0)), (800.0, 0.0));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let design = MultistudyRnaDesign { observations: 60, ..small() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| design.sample(Seed(7)).unwrap())
        };
        assert!(run(1) == run(2) && run(1) == run(8));
    }

    #[test]
    fn parameters_are_checked() {
        let bad = |change: fn(&mut MultistudyRnaDesign)| {
            let mut d = small();
            change(&mut d);
            d.sample(Seed(0)).unwrap_err().to_string()
        };
        assert!(bad(|d| d.observations = 5).contains("observations"));
        assert!(bad(|d| d.features = 40).contains("two features of its own"));
        assert!(bad(|d| d.latent_sd = -1.0).contains("latent_sd"));
        assert!(bad(|d| d.off_block = 1.5).contains("off_block"));
        assert!(bad(|d| d.library = f64::NAN).contains("library"));
        assert!(bad(|d| d.library_sd = f64::INFINITY).contains("library_sd"));
    }
}
