//! The design `multistudy`: weights, squares and Gaussian noise.
//!
//! x_ij = Σ_k w_jk z_ik^p + e_ij over the columns that study m sees; p = 2 where j, counted from 1, is
//! divisible by 3, else 1; e ~ N(0, `noise`), z ~ N(0, `latent_sd`²).
//!
//! Non-zero weights are N(8, 0.01) in shared columns, N(10, 0.01) in a study's own. Layout, counted from 0, with
//! s = 0.72 G / K_S and t = 0.24 G / (M K_m): shared block k covers [k s, (k + 4/3) s), block q = m K_m + l of the
//! studies [0.73 G + q t, 0.73 G + (q + 3/2) t), the last one extended to G. At the paper's sizes these are
//! [9k, 9k + 12) and [73 + 4q, 79 + 4q).

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{
    Blocks, MultistudySample, Purpose, annotated, by_feature, check_size_of, check_sizes, is_third,
    need_anchors, owners, rows_of, scores, stream, study_codes, weights,
};
use crate::data::{Annotations, Dataset};
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Design of Gaussian studies with shared and own factors.
    pub struct MultistudyDesign {
        /// Number of studies M; from 1 to 1000.
        pub studies: usize = 3,
        /// Observations of each study; from 1 to 1000000.
        pub observations: usize = 1000,
        /// Number of features G; at least two for every factor alone.
        pub features: usize = 100,
        /// Shared factors K_S; from 1 to 1000.
        pub shared: usize = 8,
        /// Factors of each study's own, K_m; from 0 to 1000.
        pub specific: usize = 2,
        /// Standard deviation of the scores; 0 or larger.
        pub latent_sd: f64 = 0.5,
        /// Variance of the noise; 0 (none) or larger.
        pub noise: f64 = 0.2,
    }
}

impl Params for MultistudyDesign {
    const DOCS: &'static [ParamDoc] = Self::FIELDS;
}

impl MultistudyDesign {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        check_sizes(self.studies, self.features, self.shared, self.specific)?;
        if !(1..=1_000_000).contains(&self.observations) {
            let found = self.observations.to_string();
            return Err(Error::Param { name: "observations", found, rule: "from 1 to 1000000" });
        }
        check_size_of("latent_sd", self.latent_sd)?;
        check_size_of("noise", self.noise)?;
        need_anchors(&self.blocks(), self.features)
    }

    /// The features of each column.
    pub fn blocks(&self) -> Vec<std::ops::Range<usize>> {
        let (g, own) = (self.features as f64, self.studies * self.specific);
        let stride = 0.72 * g / self.shared as f64;
        let shared =
            Blocks { first: 0.0, stride, length: stride * 4.0 / 3.0, count: self.shared, end: self.features };
        let stride = 0.24 * g / own.max(1) as f64;
        let specific =
            Blocks { first: 0.73 * g, stride, length: 1.5 * stride, count: own, end: self.features };
        let mut out = shared.ranges();
        out.extend(specific.ranges());
        if let (Some(last), true) = (out.last_mut(), own > 0) {
            last.end = self.features;
        }
        out
    }

    /// Draws one sample; the same seed gives the same bits on any number of threads.
    ///
    /// # Errors
    /// [`Error::Param`] as [`validate`](Self::validate).
    pub fn sample(&self, seed: Seed) -> Result<MultistudySample> {
        self.validate()?;
        let owner = owners(self.shared, self.studies, self.specific);
        let study = study_codes(&vec![self.observations; self.studies]);
        let loadings = weights(&self.blocks(), &owner, self.features, (8.0, 10.0), 0.0, seed);
        let scores = scores(&study, &owner, self.latent_sd, seed);
        let rows = by_feature(&loadings);
        let mut x = Array2::zeros((study.len(), self.features));
        let sd = self.noise.sqrt();
        rows_of(&mut x).enumerate().for_each(|(i, row)| {
            let (z, mut rng) = (scores.row(i), stream(seed, Purpose::Values, i));
            for (j, value) in row.iter_mut().enumerate() {
                let e: f64 = StandardNormal.sample(&mut rng);
                let power = |z: f64| if is_third(j) { z * z } else { z };
                *value = rows[j].iter().map(|&(k, w)| w * power(z[k])).sum::<f64>() + sd * e;
            }
        });
        Ok(MultistudySample { x, loadings, scores, study, owner })
    }

    /// A sample as a data set with its truth under the names of the [module](super).
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn dataset(&self, seed: Seed) -> Result<(Dataset, Annotations)> {
        Ok(annotated("multistudy", self, seed, self.sample(seed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Column, Value};

    #[test]
    fn blocks_are_those_of_the_paper_at_its_sizes_and_scale() {
        let blocks = MultistudyDesign::default().blocks();
        assert_eq!(blocks[..8], (0..8).map(|k| 9 * k..9 * k + 12).collect::<Vec<_>>());
        assert_eq!(blocks[8..13], (0..5).map(|q| 73 + 4 * q..79 + 4 * q).collect::<Vec<_>>());
        assert_eq!(blocks[13], 93..100);
        let wide = MultistudyDesign { features: 300, ..Default::default() };
        assert_eq!((wide.blocks()[1].clone(), wide.blocks()[9].clone()), (27..63, 231..249));
    }

    #[test]
    fn without_noise_the_values_are_the_formula() {
        let design = MultistudyDesign { observations: 20, noise: 0.0, ..Default::default() };
        let s = design.sample(Seed(4)).unwrap();
        assert_eq!((s.x.dim(), s.loadings.dim(), s.scores.dim()), ((60, 100), (100, 14), (60, 14)));
        for i in 0..60 {
            let m = i / 20;
            assert_eq!(s.study[i], m);
            for k in 0..14 {
                let sees = k < 8 || (k - 8) / 2 == m;
                assert_eq!(s.scores[[i, k]] != 0.0, sees, "{i} {k}");
            }
            for j in 0..100 {
                let power = if [2, 5, 98].contains(&j) || (j + 1) % 3 == 0 { 2 } else { 1 };
                let sum: f64 = (0..14).map(|k| s.loadings[[j, k]] * s.scores[[i, k]].powi(power)).sum();
                assert!((s.x[[i, j]] - sum).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn draws_follow_their_laws() {
        let s = MultistudyDesign::default().sample(Seed(1)).unwrap();
        let quiet = MultistudyDesign { noise: 0.0, ..Default::default() }.sample(Seed(1)).unwrap();
        assert_eq!((&s.loadings, &s.scores), (&quiet.loadings, &quiet.scores));
        let moments = |v: Vec<f64>| {
            let n = v.len() as f64;
            let mean = v.iter().sum::<f64>() / n;
            (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
        };
        let (mean, variance) = moments((&s.x - &quiet.x).into_iter().collect());
        assert!(mean.abs() < 0.004 && (variance - 0.2).abs() < 0.003, "noise {mean} {variance}");
        let (mean, variance) = moments(s.scores.iter().copied().filter(|v| *v != 0.0).collect());
        assert!(mean.abs() < 0.01 && (variance - 0.25).abs() < 0.007, "scores {mean} {variance}");
        for (columns, level) in [(0..8, 8.0), (8..14, 10.0)] {
            let w = columns.flat_map(|k| s.loadings.column(k).to_vec()).filter(|v| *v != 0.0).collect();
            let (mean, variance) = moments(w);
            assert!((mean - level).abs() < 0.05 && (variance - 0.01).abs() < 0.005, "{mean} {variance}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let design = MultistudyDesign { observations: 50, ..Default::default() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| design.sample(Seed(7)).unwrap())
        };
        assert!(run(1) == run(2) && run(1) == run(8));
        assert_ne!(run(1), design.sample(Seed(8)).unwrap());
    }

    #[test]
    fn parameters_are_checked() {
        let bad = |change: fn(&mut MultistudyDesign)| {
            let mut d = MultistudyDesign::default();
            change(&mut d);
            d.sample(Seed(0)).unwrap_err().to_string()
        };
        assert!(bad(|d| d.studies = 0).contains("studies"));
        assert!(bad(|d| d.observations = 0).contains("observations"));
        assert!(bad(|d| d.features = 20).contains("two features of its own"));
        assert!(bad(|d| d.shared = 0).contains("shared"));
        assert!(bad(|d| d.specific = 5000).contains("specific"));
        assert!(bad(|d| d.latent_sd = f64::NAN).contains("latent_sd"));
        assert!(bad(|d| d.noise = -0.1).contains("noise"));
        assert!(MultistudyDesign { specific: 0, studies: 2, ..Default::default() }.sample(Seed(0)).is_ok());
    }

    #[test]
    fn the_data_set_carries_its_truth() {
        let design = MultistudyDesign { observations: 10, ..Default::default() };
        let (data, truth) = design.dataset(Seed(1)).unwrap();
        assert_eq!(data.shape(), (30, 100));
        assert_eq!(truth.varm["truth_loadings"].shape(), (100, 14));
        assert_eq!(truth.obsm["X_truth"].shape(), (30, 14));
        let (study, names) = data.obs.column("study").unwrap().labels().unwrap();
        assert_eq!((study[9], study[10], names.len()), (0, 1, 3));
        let Value::Map(facts) = &truth.uns["simulated"] else { panic!("no design") };
        let Value::Table(factors) = &facts["factors"] else { panic!("no table") };
        let Some(Column::Text(owner)) = factors.column("study") else { panic!("no column") };
        assert_eq!(owner[7].as_deref(), Some("shared"));
        assert_eq!(owner[13].as_deref(), Some("study2"));
        assert_eq!(
            factors.column("features"),
            Some(&Column::Int([12; 8].into_iter().chain([6; 5]).chain([7]).map(Some).collect()))
        );
        assert_eq!((&facts["studies"], &facts["noise"]), (&Value::Int(3), &Value::Float(0.2)));
    }
}
