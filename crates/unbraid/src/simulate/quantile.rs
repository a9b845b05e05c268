//! A low-rank matrix seen through an unknown increasing map of each feature.
//!
//! | symbol | shape | meaning | slot |
//! |---|---|---|---|
//! | U* | d × k | loadings, Poisson with mean 2 | `varm["truth_loadings"]` |
//! | V* | k × n | scores, each column Dirichlet(½, …, ½) | `obsm["X_truth"]`, transposed |
//! | Q* | d × n | values of each feature, rising: cumulative sums of exp(γ G), G standard normal | `varm["truth_quantiles"]` |
//! | X | d × n | the data | `X`, transposed |
//!
//! Row i of X has the order of row i of U*V* and the values of row i of Q*: with r_i(j) the rank of
//! (U*V*)_ij in its row, equal values in the order of the samples, X_ij = Q*_{i, r_i(j)}. Noise, where
//! asked for, is added afterwards: X_ij += max(σ E_ij, 0), E standard normal.
//!
//! This is the synthetic experiment of the QMF paper (Cuturi and others 2020, section 5), which has γ = 1;
//! the authors' program has γ = 2. Samples are observations in the data set, as in every file.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use rand::Rng;
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};

use crate::data::{Annotations, Dataset, Matrix, Slot, Table, Value};
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::linalg;
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Design of a low-rank matrix behind increasing maps.
    pub struct QuantileDesign {
        /// Number of features d; from 2 to 100000.
        pub features: usize = 160,
        /// Number of observations (samples) n; from 2 to 100000.
        pub observations: usize = 80,
        /// Rank k of the matrix behind the maps; from 1 to 1000.
        pub k: usize = 8,
        /// Spread γ of the gaps exp(γ G) between a feature's values; from 0 (all gaps are 1) to 10. The
        /// paper has 1, the authors' program 2.
        pub gap: f64 = 1.0,
        /// Strength σ of the noise max(σ E, 0) added to the values; 0 (none) or larger. The paper's larger
        /// experiment has 10.
        pub noise: f64 = 0.0,
    }
}

impl Params for QuantileDesign {
    const DOCS: &'static [ParamDoc] = Self::FIELDS;
}

/// A simulated matrix and the truth behind it, features in rows.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantileSample {
    /// X, d × n.
    pub x: Array2<f64>,
    /// U*, d × k.
    pub loadings: Array2<f64>,
    /// V*, k × n; columns sum to 1.
    pub scores: Array2<f64>,
    /// Q*, d × n; rows rise.
    pub quantiles: Array2<f64>,
}

/// What each random stream of a sample is for.
enum Purpose {
    Loadings,
    Scores,
    Gaps,
    Noise,
}

impl QuantileDesign {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        for (name, size) in [("features", self.features), ("observations", self.observations)] {
            if !(2..=100_000).contains(&size) {
                return bad(name, size.to_string(), "from 2 to 100000");
            }
        }
        if !(1..=1000).contains(&self.k) {
            return bad("k", self.k.to_string(), "from 1 to 1000");
        }
        if !(0.0..=10.0).contains(&self.gap) {
            return bad("gap", self.gap.to_string(), "from 0 to 10");
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return bad("noise", self.noise.to_string(), "finite and 0 or larger");
        }
        Ok(())
    }

    /// Draws one sample; the same seed gives the same bits on any number of threads.
    ///
    /// # Errors
    /// [`Error::Param`] as [`validate`](Self::validate).
    pub fn sample(&self, seed: Seed) -> Result<QuantileSample> {
        self.validate()?;
        let (d, n, k) = (self.features, self.observations, self.k);
        let stream = |purpose: Purpose| seed.stream(Draw::Simulate, purpose as u64);
        let fixed = |e: String| Error::Numeric { what: "a distribution of the design", why: e };
        let poisson = Poisson::new(2.0).map_err(|e| fixed(e.to_string()))?;
        let gamma = Gamma::new(0.5, 1.0).map_err(|e| fixed(e.to_string()))?;
        let mut rng = stream(Purpose::Loadings);
        let loadings = Array2::from_shape_fn((d, k), |_| poisson.sample(&mut rng));
        let scores = dirichlet(k, n, gamma, &mut stream(Purpose::Scores));
        let mut rng = stream(Purpose::Gaps);
        let mut quantiles = Array2::from_shape_fn((d, n), |_| {
            let g: f64 = StandardNormal.sample(&mut rng);
            (self.gap * g).exp()
        });
        quantiles.accumulate_axis_inplace(Axis(1), |before, here| *here += before);
        let product = linalg::matmul(loadings.view(), scores.view());
        let mut x = Array2::zeros((d, n));
        for i in 0..d {
            let row = product.row(i);
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
            order.into_iter().enumerate().for_each(|(rank, j)| x[[i, j]] = quantiles[[i, rank]]);
        }
        if self.noise > 0.0 {
            let mut rng = stream(Purpose::Noise);
            x.mapv_inplace(|v| {
                let e: f64 = StandardNormal.sample(&mut rng);
                v + (self.noise * e).max(0.0)
            });
        }
        Ok(QuantileSample { x, loadings, scores, quantiles })
    }

    /// A sample as a data set, samples in rows, with its truth under AnnData names:
    /// `varm["truth_loadings"]` (d × k), `obsm["X_truth"]` (n × k), `varm["truth_quantiles"]` (d × n), and
    /// the design in `uns["simulated"]`.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn dataset(&self, seed: Seed) -> Result<(Dataset, Annotations)> {
        let s = self.sample(seed)?;
        let turned = |a: Array2<f64>| a.reversed_axes().as_standard_layout().into_owned();
        let mut truth = Annotations::default();
        truth.varm.insert("truth_loadings".into(), Slot::F64(s.loadings));
        truth.obsm.insert("X_truth".into(), Slot::F64(turned(s.scores)));
        truth.varm.insert("truth_quantiles".into(), Slot::F64(s.quantiles));
        truth.uns.insert("simulated".into(), Value::Map(self.facts(seed)));
        let mut data = Dataset::from_matrix("quantile", Matrix::Dense(turned(s.x)));
        data.obs = Table::numbered("sample", self.observations);
        data.var = Table::numbered("gene", self.features);
        Ok((data, truth))
    }

    fn facts(&self, seed: Seed) -> BTreeMap<String, Value> {
        let QuantileDesign { features, observations, k, gap, noise } = self;
        let int = |v: usize| Value::Int(v as i64);
        let facts: [(&str, Value); 8] = [
            ("design", "quantile".into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("seed", seed.0.to_string().into()),
            ("features", int(*features)),
            ("observations", int(*observations)),
            ("k", int(*k)),
            ("gap", (*gap).into()),
            ("noise", (*noise).into()),
        ];
        facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

/// Columns of shares: Gamma draws over their sum.
fn dirichlet(k: usize, n: usize, gamma: Gamma<f64>, rng: &mut impl Rng) -> Array2<f64> {
    let mut shares = Array2::zeros((k, n));
    for mut column in shares.columns_mut() {
        // Draws of so small a shape can underflow; above 0, their sum can be divided by.
        column.mapv_inplace(|_: f64| gamma.sample(rng).max(f64::MIN_POSITIVE));
        let sum = column.sum();
        column.mapv_inplace(|v| v / sum);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_order_of_the_product_and_the_values_of_the_quantiles() {
        let s = QuantileDesign::default().sample(Seed(1)).unwrap();
        assert_eq!((s.x.dim(), s.loadings.dim(), s.scores.dim()), ((160, 80), (160, 8), (8, 80)));
        let product = s.loadings.dot(&s.scores);
        for i in 0..160 {
            let mut row = s.x.row(i).to_vec();
            for a in 0..80 {
                for b in 0..80 {
                    // The product here may be summed in another order than the design's.
                    let gap = product[[i, a]] - product[[i, b]];
                    assert!(gap.abs() < 1e-12 || (gap < 0.0) == (row[a] < row[b]), "{i} {a} {b}");
                }
            }
            row.sort_by(f64::total_cmp);
            assert_eq!(row, s.quantiles.row(i).to_vec());
            assert!(row[0] > 0.0 && row.windows(2).all(|w| w[0] < w[1]));
        }
    }

    #[test]
    fn equal_values_keep_the_order_of_the_samples() {
        // With one factor every share is 1, so all samples tie in every row.
        let s = QuantileDesign { k: 1, ..Default::default() }.sample(Seed(3)).unwrap();
        assert_eq!(s.x, s.quantiles);
    }

    #[test]
    fn draws_follow_their_laws() {
        let design = QuantileDesign { features: 2000, observations: 1000, k: 5, ..Default::default() };
        let s = design.sample(Seed(2)).unwrap();
        let n = s.loadings.len() as f64;
        let mean = s.loadings.sum() / n;
        let variance = s.loadings.mapv(|v| (v - mean).powi(2)).sum() / n;
        assert!((mean - 2.0).abs() < 0.08 && (variance - 2.0).abs() < 0.15, "{mean} {variance}");
        assert!(s.loadings.iter().all(|v| v.fract() == 0.0));
        assert!(s.scores.columns().into_iter().all(|c| (c.sum() - 1.0).abs() < 1e-12));
        // A share of Dirichlet(½, …) over five has variance (1/5)(4/5) / (5/2 + 1).
        let spread = s.scores.mapv(|v| (v - 0.2).powi(2)).sum() / s.scores.len() as f64;
        assert!((spread - 0.16 / 3.5).abs() < 0.003, "{spread}");
        let logs = s.quantiles.column(0).mapv(f64::ln);
        let wide = QuantileDesign { gap: 2.0, ..design.clone() }.sample(Seed(2)).unwrap();
        let twice = wide.quantiles.column(0).mapv(f64::ln);
        assert!(logs.iter().zip(&twice).all(|(a, b)| (2.0 * a - b).abs() < 1e-9));
        let even = QuantileDesign { gap: 0.0, ..design }.sample(Seed(2)).unwrap();
        assert_eq!(even.quantiles[[7, 9]], 10.0);
    }

    #[test]
    fn noise_comes_on_top_of_the_same_values() {
        let design = QuantileDesign { features: 50, observations: 40, ..Default::default() };
        let plain = design.sample(Seed(4)).unwrap();
        let noisy = QuantileDesign { noise: 10.0, ..design }.sample(Seed(4)).unwrap();
        assert_eq!((&plain.loadings, &plain.quantiles), (&noisy.loadings, &noisy.quantiles));
        let gaps = &noisy.x - &plain.x;
        assert!(gaps.iter().all(|g| *g >= 0.0));
        let moved = gaps.iter().filter(|g| **g > 0.0).count() as f64 / 2000.0;
        assert!((moved - 0.5).abs() < 0.05, "{moved}");
    }

    #[test]
    fn parameters_are_checked() {
        let bad = |change: fn(&mut QuantileDesign)| {
            let mut d = QuantileDesign::default();
            change(&mut d);
            d.sample(Seed(0)).unwrap_err().to_string()
        };
        assert!(bad(|d| d.features = 1).contains("features"));
        assert!(bad(|d| d.observations = 0).contains("observations"));
        assert!(bad(|d| d.k = 0).contains("`k`"));
        assert!(bad(|d| d.gap = -1.0).contains("gap"));
        assert!(bad(|d| d.noise = f64::NAN).contains("noise"));
    }

    #[test]
    fn the_data_set_carries_its_truth() {
        let design = QuantileDesign { features: 30, observations: 20, k: 3, ..Default::default() };
        let (data, truth) = design.dataset(Seed(1)).unwrap();
        assert_eq!(data.shape(), (20, 30));
        assert_eq!(truth.varm["truth_loadings"].shape(), (30, 3));
        assert_eq!(truth.obsm["X_truth"].shape(), (20, 3));
        assert_eq!(truth.varm["truth_quantiles"].shape(), (30, 20));
        let x = design.sample(Seed(1)).unwrap().x;
        assert_eq!(data.x.to_dense(), x.t());
        let Value::Map(facts) = &truth.uns["simulated"] else { panic!("no design") };
        assert_eq!(facts["k"], Value::Int(3));
    }
}
