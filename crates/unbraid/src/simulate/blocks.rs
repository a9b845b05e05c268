//! Counts with planted clusters of rows and of columns, under unknown magnitudes of both.
//!
//! ```text
//! X_ij ~ Poisson( μ d_i e_j γ_{r(i) c(j)} u_ij ),   log d_i, log e_j ~ N(0, δ²),  log γ_rc ~ N(0, σ²),
//! u_ij ~ Gamma with mean 1 and variance φ (φ = 0: u = 1),   sizes of clusters in shares ~ Dirichlet(α)
//! ```
//!
//! | symbol | shape | meaning                          | slot                                   |
//! |--------|-------|----------------------------------|----------------------------------------|
//! | X      | n × m | the counts                       | `X`                                    |
//! | r, c   | n, m  | clusters                         | `obs["truth"]`, `var["truth"]`         |
//! | d, e   | n, m  | depth of rows, popularity of columns | `obs["truth_scale"]`, `var["truth_scale"]` |
//! | γ      | g × h | rates of blocks, of mean 1       | `uns["simulated"]["rates"]`            |
//!
//! d and e are scaled to mean 1, γ to mean 1 over the cells' blocks, so that μ is the mean count; rows and columns that came out
//! empty get a single count in a cell of their own, so that every line can be clustered.

use std::collections::BTreeMap;

use ndarray::Array2;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};

use crate::data::{Annotations, Column, Csr, Dataset, Matrix, Table, Value};
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Design of counts in blocks.
    pub struct BlocksDesign {
        /// Number of observations n; from 2 to 100000.
        pub observations: usize = 600,
        /// Number of features m; from 2 to 100000.
        pub features: usize = 400,
        /// Number of clusters of observations g; from 1 to 1000.
        pub rows: usize = 5,
        /// Number of clusters of features h; from 1 to 1000.
        pub cols: usize = 4,
        /// Mean count μ; above 0.
        pub mean: f64 = 1.0,
        /// Spread σ of the log rates of blocks; 0 or larger. The harder a table, the smaller it is.
        pub contrast: f64 = 0.3,
        /// Spread δ of the log magnitudes of rows and columns; 0 or larger.
        pub spread: f64 = 0.6,
        /// Variance φ of the noise that every rate is multiplied by; 0 (none, Poisson counts) or larger.
        pub dispersion: f64 = 0.0,
        /// Evenness α of the sizes of clusters; above 0, large for equal sizes.
        pub evenness: f64 = 8.0,
    }
}

impl Params for BlocksDesign {
    const DOCS: &'static [ParamDoc] = Self::FIELDS;
}

/// Counts and the truth behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct BlocksSample {
    /// X, n × m.
    pub x: Csr,
    /// r.
    pub rows: Vec<usize>,
    /// c.
    pub cols: Vec<usize>,
    /// d.
    pub depth: Vec<f64>,
    /// e.
    pub popularity: Vec<f64>,
    /// γ, g × h.
    pub rates: Array2<f64>,
}

/// What each random stream of a sample is for; the counts have one per row beyond these.
enum Purpose {
    Rows,
    Cols,
    Depth,
    Popularity,
    Rates,
    Counts = 1 << 20,
}

impl BlocksDesign {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        for (name, size) in [("observations", self.observations), ("features", self.features)] {
            if !(2..=100_000).contains(&size) {
                return bad(name, size.to_string(), "from 2 to 100000");
            }
        }
        for (name, clusters, lines, rule) in [
            ("rows", self.rows, self.observations, "from 1 to 1000 and no more than `observations`"),
            ("cols", self.cols, self.features, "from 1 to 1000 and no more than `features`"),
        ] {
            if !(1..=lines.min(1000)).contains(&clusters) {
                return bad(name, clusters.to_string(), rule);
            }
        }
        for (name, value) in
            [("contrast", self.contrast), ("spread", self.spread), ("dispersion", self.dispersion)]
        {
            if !(0.0..=100.0).contains(&value) {
                return bad(name, value.to_string(), "from 0 to 100");
            }
        }
        for (name, value) in [("mean", self.mean), ("evenness", self.evenness)] {
            if !(value > 0.0 && value <= 1e6) {
                return bad(name, value.to_string(), "above 0 and at most 1000000");
            }
        }
        Ok(())
    }

    /// Draws one sample; the same seed gives the same bits on any number of threads.
    ///
    /// # Errors
    /// [`Error::Param`] as [`validate`](Self::validate).
    pub fn sample(&self, seed: Seed) -> Result<BlocksSample> {
        self.validate()?;
        let (n, m) = (self.observations, self.features);
        let stream = |purpose: Purpose| seed.stream(Draw::Simulate, purpose as u64);
        let rows = self.labels(n, self.rows, &mut stream(Purpose::Rows))?;
        let cols = self.labels(m, self.cols, &mut stream(Purpose::Cols))?;
        let magnitudes = |lines: usize, mut rng: rand_chacha::ChaCha8Rng| {
            let mut out: Vec<f64> = (0..lines).map(|_| lognormal(self.spread, &mut rng)).collect();
            let mean = out.iter().sum::<f64>() / lines as f64;
            out.iter_mut().for_each(|v| *v /= mean);
            out
        };
        let depth = magnitudes(n, stream(Purpose::Depth));
        let popularity = magnitudes(m, stream(Purpose::Popularity));
        let mut rng = stream(Purpose::Rates);
        let mut rates =
            Array2::from_shape_simple_fn((self.rows, self.cols), || lognormal(self.contrast, &mut rng));
        let expected: f64 = rows.iter().map(|&r| cols.iter().map(|&c| rates[[r, c]]).sum::<f64>()).sum();
        rates.mapv_inplace(|v| v * (n * m) as f64 / expected);
        let noise = match self.dispersion > 0.0 {
            true => Some(law(1.0 / self.dispersion, self.dispersion)?),
            false => None,
        };
        let mut entries: Vec<(u32, u32, f64)> = Vec::new();
        for i in 0..n {
            let mut rng = seed.stream(Draw::Simulate, Purpose::Counts as u64 + i as u64);
            for j in 0..m {
                let mut rate = self.mean * depth[i] * popularity[j] * rates[[rows[i], cols[j]]];
                if let Some(noise) = &noise {
                    rate *= noise.sample(&mut rng);
                }
                let count = match Poisson::new(rate) {
                    Ok(poisson) => poisson.sample(&mut rng),
                    // A rate that rounds to 0.
                    Err(_) => 0.0,
                };
                if count > 0.0 {
                    entries.push((i as u32, j as u32, count));
                }
            }
        }
        fill(&mut entries, (n, m));
        Ok(BlocksSample { x: Csr::from_triplets((n, m), entries), rows, cols, depth, popularity, rates })
    }

    /// Clusters of random sizes, none empty, in random order.
    fn labels(&self, lines: usize, clusters: usize, rng: &mut impl Rng) -> Result<Vec<usize>> {
        let gamma = law(self.evenness, 1.0)?;
        let draws: Vec<f64> = (0..clusters).map(|_| gamma.sample(rng).max(f64::MIN_POSITIVE)).collect();
        let total: f64 = draws.iter().sum();
        let mut out: Vec<usize> = (0..clusters).collect();
        while out.len() < lines {
            let mut level = rng.random::<f64>() * total;
            let found = draws.iter().position(|d| {
                level -= d;
                level < 0.0
            });
            out.push(found.unwrap_or(clusters - 1));
        }
        out.shuffle(rng);
        Ok(out)
    }

    /// A sample as a data set with its truth under AnnData names.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn dataset(&self, seed: Seed) -> Result<(Dataset, Annotations)> {
        let s = self.sample(seed)?;
        let mut truth = Annotations::default();
        let column = |labels: &[usize], clusters: usize| Column::Categorical {
            codes: labels.iter().map(|&l| Some(l as u32)).collect(),
            categories: (0..clusters).map(|c| c.to_string()).collect(),
            ordered: false,
        };
        truth.obs.insert("truth".into(), column(&s.rows, self.rows));
        truth.var.insert("truth".into(), column(&s.cols, self.cols));
        truth.obs.insert("truth_scale".into(), Column::Float(s.depth));
        truth.var.insert("truth_scale".into(), Column::Float(s.popularity));
        let mut facts = self.facts(seed);
        facts.insert("rates".into(), Value::Matrix(s.rates));
        truth.uns.insert("simulated".into(), Value::Map(facts));
        let mut data = Dataset::from_matrix("blocks", Matrix::Sparse(s.x));
        data.obs = Table::numbered("row", self.observations);
        data.var = Table::numbered("column", self.features);
        Ok((data, truth))
    }

    fn facts(&self, seed: Seed) -> BTreeMap<String, Value> {
        let int = |v: usize| Value::Int(v as i64);
        let facts: [(&str, Value); 12] = [
            ("design", "blocks".into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("seed", seed.0.to_string().into()),
            ("observations", int(self.observations)),
            ("features", int(self.features)),
            ("rows", int(self.rows)),
            ("cols", int(self.cols)),
            ("mean", self.mean.into()),
            ("contrast", self.contrast.into()),
            ("spread", self.spread.into()),
            ("dispersion", self.dispersion.into()),
            ("evenness", self.evenness.into()),
        ];
        facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

fn law(shape: f64, scale: f64) -> Result<Gamma<f64>> {
    Gamma::new(shape, scale)
        .map_err(|e| Error::Numeric { what: "a distribution of the design", why: e.to_string() })
}

fn lognormal(sd: f64, rng: &mut impl Rng) -> f64 {
    let e: f64 = StandardNormal.sample(rng);
    (sd * e).exp()
}

/// One count for every line without any, in the cell (i, i mod m) or (j mod n, j).
fn fill(entries: &mut Vec<(u32, u32, f64)>, (n, m): (usize, usize)) {
    let (mut rows, mut cols) = (vec![false; n], vec![false; m]);
    entries.iter().for_each(|e| (rows[e.0 as usize], cols[e.1 as usize]) = (true, true));
    for i in (0..n).filter(|&i| !rows[i]) {
        entries.push((i as u32, (i % m) as u32, 1.0));
        cols[i % m] = true;
    }
    for j in (0..m).filter(|&j| !cols[j]) {
        entries.push(((j % n) as u32, j as u32, 1.0));
    }
}

/// The table with each entry chosen with chance `share`, where the chosen ones exchange their values at random.
pub fn exchanged(mut x: Array2<f64>, share: f64, seed: Seed) -> Array2<f64> {
    let mut rng = seed.stream(Draw::Simulate, (1 << 30) + (share * 1e6) as u64);
    let mut at: Vec<(usize, usize)> = x.indexed_iter().map(|(at, _)| at).collect();
    at.retain(|_| rng.random::<f64>() < share);
    let mut values: Vec<f64> = at.iter().map(|&at| x[at]).collect();
    values.shuffle(&mut rng);
    at.iter().zip(values).for_each(|(&at, v)| x[at] = v);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_rates_and_every_line_a_count() {
        let design = BlocksDesign { mean: 2.0, ..BlocksDesign::default() };
        let s = design.sample(Seed(3)).unwrap();
        assert_eq!(s, design.sample(Seed(3)).unwrap());
        assert!((s.rows.iter().max(), s.cols.iter().max()) == (Some(&4), Some(&3)));
        let x = s.x.to_dense();
        let mut sums = Array2::<f64>::zeros((5, 4));
        let mut sizes = Array2::<f64>::zeros((5, 4));
        for ((i, j), v) in x.indexed_iter() {
            sums[[s.rows[i], s.cols[j]]] += v;
            sizes[[s.rows[i], s.cols[j]]] += 2.0 * s.depth[i] * s.popularity[j];
        }
        let found = &sums / &sizes;
        assert!(found.iter().zip(&s.rates).all(|(a, b)| (a / b - 1.0).abs() < 0.06), "{found} {}", s.rates);
        let faint = BlocksDesign { mean: 1e-4, dispersion: 0.8, ..design };
        let s = faint.sample(Seed(1)).unwrap();
        assert!((0..600).all(|i| !s.x.row(i).0.is_empty()));
        let turned = s.x.transpose();
        assert!((0..400).all(|j| !turned.row(j).0.is_empty()));
    }

    #[test]
    fn ranges_are_kept() {
        let why = |d: BlocksDesign| d.validate().unwrap_err().to_string();
        let base = BlocksDesign::default;
        assert!(why(BlocksDesign { rows: 0, ..base() }).contains("rows"));
        assert!(why(BlocksDesign { cols: 401, ..base() }).contains("cols"));
        assert!(why(BlocksDesign { mean: 0.0, ..base() }).contains("mean"));
        assert!(why(BlocksDesign { contrast: f64::NAN, ..base() }).contains("contrast"));
        assert!(why(BlocksDesign { features: 1, ..base() }).contains("features"));
    }
}
