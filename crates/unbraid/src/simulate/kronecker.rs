//! One matrix whose rows and columns both form networks, seen through unknown scales.
//!
//! | symbol | shape | meaning | field |
//! |---|---|---|---|
//! | Ψ1 | n × n | precision of the observations | `precision_obs` |
//! | Ψ2 | m × m | precision of the features | `precision_var` |
//! | r1, r2 | n, m | multiplicative noise of rows and columns | `scale_obs`, `scale_var` |
//! | X | n × m | the data | `x` |
//!
//! Each Ψ comes from a preferential-attachment graph with adjacency A and degrees D:
//! Ψ = I ± D^-½ A D^-½ / 1.1, whose eigenvalues lie in [1 − 1/1.1, 1 + 1/1.1] whatever the signs.
//! vec Z ~ N(0, (Ψ1 ⊕ Ψ2)^-1): with Ψ = V diag(a) Vᵀ and white noise E, Z = V1 [E_ij / √(a_i + b_j)] V2ᵀ.
//! X = diag(r1) (B ∘ √τ Z) diag(r2), with B a Bernoulli mask, r the power α of χ²_1 draws, and τ the
//! radial variable of the elliptical family.
//!
//! The design of the MED-MAGMA paper (section 4.1) is the default: trees (one edge per new vertex),
//! positive entries, Gaussian. Signs, more edges and the elliptical families are additions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ndarray::Array2;
use rand::{Rng, RngExt};
use rand_distr::{ChiSquared, Distribution, Exp1, StandardNormal};

use crate::data::{Annotations, Column, Csr, Dataset, Matrix, Slot, Table, Value};
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::graph::leiden::leiden;
use crate::linalg::{self, Eigen};
use crate::params::{ParamDoc, Params};

/// Sign of the off-diagonal entries of Ψ at the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeSign {
    /// All positive, as in the paper.
    Plus,
    /// All negative: neighbours are positively correlated given the rest.
    Minus,
    /// Either with equal chance, edge by edge.
    Mixed,
}

/// Elliptical family of the whole matrix: vec X = √τ · Gaussian, with one τ for the matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// τ = 1.
    Gaussian,
    /// Matrix t with ν degrees of freedom: τ = ν / χ²_ν.
    T(f64),
    /// Symmetric Laplace: τ is exponential with mean 1.
    Laplace,
}

crate::words!(EdgeSign, "a sign of edges", Plus = "plus", Minus = "minus", Mixed = "mixed");

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Family::Gaussian => f.write_str("gaussian"),
            Family::T(df) => write!(f, "t:{df}"),
            Family::Laplace => f.write_str("laplace"),
        }
    }
}

impl FromStr for Family {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not one of gaussian, t:DF with DF above 0, laplace");
        match text.split_once(':') {
            None if text == "gaussian" => Ok(Family::Gaussian),
            None if text == "laplace" => Ok(Family::Laplace),
            Some(("t", df)) => df.parse().map(Family::T).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

crate::serde_as_text!(Family);

crate::params! {
    /// Design of a simulated matrix with networks on both axes.
    pub struct KroneckerDesign {
        /// Number of observations n; from 2 to 30000.
        pub observations: usize = 100,
        /// Number of features m; from 2 to 30000.
        pub features: usize = 150,
        /// Edges of each new vertex of the preferential-attachment graphs; from 1 to 1000. 1, the
        /// paper's, gives trees.
        pub edges: usize = 1,
        /// Sign of the entries of Ψ at the edges: plus (the paper's), minus, mixed.
        pub sign: EdgeSign = EdgeSign::Plus,
        /// Elliptical family: gaussian (the paper's), t:DF, laplace.
        pub family: Family = Family::Gaussian,
        /// Strength α of the multiplicative noise, χ²_1 to the power α per row and column; from 0 (none) to 10.
        pub noise: f64 = 1.0,
        /// Chance that an entry is kept; the others are 0. Above 0, at most 1.
        pub density: f64 = 1.0,
    }
}

impl Params for KroneckerDesign {
    const DOCS: &'static [ParamDoc] = Self::FIELDS;
}

/// A simulated matrix and the truth behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct KroneckerSample {
    /// n × m.
    pub x: Array2<f64>,
    /// True Ψ1, n × n, with its diagonal of ones.
    pub precision_obs: Csr,
    /// True Ψ2, m × m, with its diagonal of ones.
    pub precision_var: Csr,
    /// True r1, n factors above 0.
    pub scale_obs: Vec<f64>,
    /// True r2, m factors above 0.
    pub scale_var: Vec<f64>,
}

/// What each random stream of a sample is for.
enum Purpose {
    GraphObs,
    GraphVar,
    SignObs,
    SignVar,
    White,
    Radius,
    ScaleObs,
    ScaleVar,
    Mask,
}

impl KroneckerDesign {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        for (name, size) in [("observations", self.observations), ("features", self.features)] {
            if !(2..=30_000).contains(&size) {
                return bad(name, size.to_string(), "from 2 to 30000");
            }
        }
        if !(1..=1000).contains(&self.edges) {
            return bad("edges", self.edges.to_string(), "from 1 to 1000");
        }
        if !(0.0..=10.0).contains(&self.noise) {
            return bad("noise", self.noise.to_string(), "from 0 to 10");
        }
        if !(self.density > 0.0 && self.density <= 1.0) {
            return bad("density", self.density.to_string(), "above 0 and at most 1");
        }
        match self.family {
            Family::T(df) if !(df.is_finite() && df > 0.0) => {
                bad("family", self.family.to_string(), "gaussian, laplace, or t:DF with DF above 0")
            }
            _ => Ok(()),
        }
    }

    /// Draws one sample; the same seed gives the same bits on any number of threads.
    ///
    /// # Errors
    /// [`Error::Param`] as [`validate`](Self::validate), [`Error::Numeric`] from the decomposition.
    pub fn sample(&self, seed: Seed) -> Result<KroneckerSample> {
        self.validate()?;
        let (n, m) = (self.observations, self.features);
        let stream = |purpose: Purpose| seed.stream(Draw::Simulate, purpose as u64);
        let graph_obs = attachment(n, self.edges, &mut stream(Purpose::GraphObs));
        let graph_var = attachment(m, self.edges, &mut stream(Purpose::GraphVar));
        let precision_obs = precision(n, &graph_obs, self.sign, &mut stream(Purpose::SignObs));
        let precision_var = precision(m, &graph_var, self.sign, &mut stream(Purpose::SignVar));
        let eigen_obs = linalg::eigh(precision_obs.to_dense().view())?;
        let eigen_var = linalg::eigh(precision_var.to_dense().view())?;
        let mut x = kronecker_sum_sample(&eigen_obs, &eigen_var, &mut stream(Purpose::White));
        x *= self.family.radius(&mut stream(Purpose::Radius)).sqrt();
        if self.density < 1.0 {
            let mut rng = stream(Purpose::Mask);
            x.mapv_inplace(|v| if rng.random_bool(self.density) { v } else { 0.0 });
        }
        let scale_obs = scales(n, self.noise, &mut stream(Purpose::ScaleObs));
        let scale_var = scales(m, self.noise, &mut stream(Purpose::ScaleVar));
        x.indexed_iter_mut().for_each(|((i, j), v)| *v *= scale_obs[i] * scale_var[j]);
        Ok(KroneckerSample { x, precision_obs, precision_var, scale_obs, scale_var })
    }

    /// A sample as a data set, with its truth under AnnData names: `obsp["truth_precision"]`,
    /// `varp["truth_precision"]`, `obs["truth_scale"]`, `var["truth_scale"]`, the Leiden communities of
    /// the true graphs in `obs["truth_community"]` and `var["truth_community"]`, and the design in
    /// `uns["simulated"]`.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn dataset(&self, seed: Seed) -> Result<(Dataset, Annotations)> {
        let s = self.sample(seed)?;
        let mut truth = Annotations::default();
        truth.obs.insert("truth_community".into(), community(&s.precision_obs, seed)?);
        truth.var.insert("truth_community".into(), community(&s.precision_var, seed)?);
        truth.obs.insert("truth_scale".into(), Column::Float(s.scale_obs));
        truth.var.insert("truth_scale".into(), Column::Float(s.scale_var));
        truth.obsp.insert("truth_precision".into(), Slot::Csr(s.precision_obs));
        truth.varp.insert("truth_precision".into(), Slot::Csr(s.precision_var));
        truth.uns.insert("simulated".into(), Value::Map(self.facts(seed)));
        let mut data = Dataset::from_matrix("kronecker", Matrix::Dense(s.x));
        data.obs = Table::numbered("cell", self.observations);
        data.var = Table::numbered("gene", self.features);
        Ok((data, truth))
    }

    fn facts(&self, seed: Seed) -> BTreeMap<String, Value> {
        let KroneckerDesign { observations, features, edges, sign, family, noise, density } = self;
        let int = |v: usize| Value::Int(v as i64);
        let facts: [(&str, Value); 10] = [
            ("design", "kronecker".into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("seed", seed.0.to_string().into()),
            ("observations", int(*observations)),
            ("features", int(*features)),
            ("edges", int(*edges)),
            ("sign", sign.to_string().into()),
            ("family", family.to_string().into()),
            ("noise", (*noise).into()),
            ("density", (*density).into()),
        ];
        facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

impl Family {
    /// τ.
    fn radius(self, rng: &mut impl Rng) -> f64 {
        match self {
            Family::Gaussian => 1.0,
            // `validate` leaves only degrees of freedom that the distribution takes.
            Family::T(df) => ChiSquared::new(df).map_or(1.0, |chi| df / chi.sample(rng)),
            Family::Laplace => Exp1.sample(rng),
        }
    }
}

/// Edges (new, old) of a preferential-attachment graph: every new vertex joins `m` distinct earlier
/// ones (all, while there are fewer), each with chance proportional to 1 + its degree, which is what
/// igraph's undirected generator does.
pub fn attachment(n: usize, m: usize, rng: &mut impl Rng) -> Vec<(u32, u32)> {
    // Every vertex once, and once more for each of its edges: a uniform draw is the wanted one.
    let mut tickets: Vec<u32> = Vec::with_capacity(n * (2 * m + 1));
    let mut edges = Vec::with_capacity(n * m);
    for new in 0..n as u32 {
        let wanted = m.min(new as usize);
        let mut chosen: Vec<u32> = Vec::with_capacity(wanted);
        if wanted == new as usize {
            chosen.extend(0..new);
        }
        while chosen.len() < wanted {
            let old = tickets[rng.random_range(0..tickets.len())];
            if !chosen.contains(&old) {
                chosen.push(old);
            }
        }
        tickets.extend(&chosen);
        tickets.extend(std::iter::repeat_n(new, 1 + wanted));
        edges.extend(chosen.into_iter().map(|old| (new, old)));
    }
    edges
}

/// Ψ = I ± D^-½ A D^-½ / 1.1.
fn precision(n: usize, edges: &[(u32, u32)], sign: EdgeSign, rng: &mut impl Rng) -> Csr {
    const SHRINK: f64 = 1.1;
    let mut degree = vec![0.0f64; n];
    edges.iter().flat_map(|&(i, j)| [i, j]).for_each(|i| degree[i as usize] += 1.0);
    let mut entries: Vec<(u32, u32, f64)> = (0..n as u32).map(|i| (i, i, 1.0)).collect();
    for &(i, j) in edges {
        let sign = match sign {
            EdgeSign::Plus => 1.0,
            EdgeSign::Minus => -1.0,
            EdgeSign::Mixed if rng.random_bool(0.5) => 1.0,
            EdgeSign::Mixed => -1.0,
        };
        let value = sign / (degree[i as usize] * degree[j as usize]).sqrt() / SHRINK;
        entries.extend([(i, j, value), (j, i, value)]);
    }
    Csr::from_triplets((n, n), entries)
}

/// Z with vec Z ~ N(0, (Ψ1 ⊕ Ψ2)^-1) from the decompositions of both precisions, n × m; needs
/// a_i + b_j > 0.
pub fn kronecker_sum_sample(first: &Eigen, second: &Eigen, rng: &mut impl Rng) -> Array2<f64> {
    let (n, m) = (first.values.len(), second.values.len());
    let white = Array2::from_shape_fn((n, m), |(i, j)| {
        let e: f64 = StandardNormal.sample(rng);
        e / (first.values[i] + second.values[j]).sqrt()
    });
    let half = linalg::matmul(first.vectors.view(), white.view());
    linalg::matmul(half.view(), second.vectors.t())
}

/// χ²_1 draws to the power α.
fn scales(n: usize, alpha: f64, rng: &mut impl Rng) -> Vec<f64> {
    (0..n)
        .map(|_| {
            let e: f64 = StandardNormal.sample(rng);
            (e * e).max(f64::MIN_POSITIVE).powf(alpha).max(f64::MIN_POSITIVE)
        })
        .collect()
}

/// Leiden communities of |Ψ|, weighted and with the diagonal, at resolution 1.
fn community(precision: &Csr, seed: Seed) -> Result<Column> {
    let labels = leiden(&precision.map(f64::abs), 1.0, seed)?;
    let k = labels.iter().max().map_or(0, |l| l + 1);
    Ok(Column::Categorical {
        codes: labels.iter().map(|&l| Some(l as u32)).collect(),
        categories: (0..k).map(|l| l.to_string()).collect(),
        ordered: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> KroneckerDesign {
        KroneckerDesign { observations: 30, features: 40, ..Default::default() }
    }

    #[test]
    fn trees_have_one_edge_fewer_than_vertices_and_hubs() {
        for (n, m, expected) in [(200, 1, 199), (2, 1, 1), (50, 3, 3 + 47 * 3)] {
            let edges = attachment(n, m, &mut Seed(1).stream(Draw::Simulate, 0));
            assert_eq!(edges.len(), expected);
            let mut unique = edges.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), expected);
            assert!(edges.iter().all(|(new, old)| old < new));
        }
    }

    #[test]
    fn precisions_are_positive_definite_for_every_sign() {
        for sign in [EdgeSign::Plus, EdgeSign::Minus, EdgeSign::Mixed] {
            for edges in [1, 4] {
                let s = KroneckerDesign { sign, edges, ..small() }.sample(Seed(2)).unwrap();
                for p in [&s.precision_obs, &s.precision_var] {
                    let values = linalg::eigh(p.to_dense().view()).unwrap().values;
                    assert!(values[0] > 1.0 - 1.0 / 1.1 - 1e-9);
                    assert!(values[values.len() - 1] < 1.0 + 1.0 / 1.1 + 1e-9);
                }
                let off: Vec<f64> = s.precision_obs.entries().filter(|e| e.0 < e.1).map(|e| e.2).collect();
                let positive = off.iter().filter(|v| **v > 0.0).count();
                match sign {
                    EdgeSign::Plus => assert_eq!(positive, off.len()),
                    EdgeSign::Minus => assert_eq!(positive, 0),
                    EdgeSign::Mixed => assert!(positive > 0 && positive < off.len()),
                }
            }
        }
    }

    #[test]
    fn covariance_is_the_inverse_of_the_kronecker_sum() {
        let (n, m) = (3, 4);
        let mut rng = Seed(4).stream(Draw::Simulate, 0);
        let first = precision(n, &attachment(n, 1, &mut rng), EdgeSign::Plus, &mut rng).to_dense();
        let second = precision(m, &attachment(m, 1, &mut rng), EdgeSign::Minus, &mut rng).to_dense();
        let (a, b) = (linalg::eigh(first.view()).unwrap(), linalg::eigh(second.view()).unwrap());
        let times = 40_000;
        let mut found: Array2<f64> = Array2::zeros((n * m, n * m));
        for _ in 0..times {
            let z = kronecker_sum_sample(&a, &b, &mut rng).into_shape_with_order(n * m).unwrap();
            for i in 0..n * m {
                for j in 0..n * m {
                    found[[i, j]] += z[i] * z[j] / f64::from(times);
                }
            }
        }
        let omega = Array2::from_shape_fn((n * m, n * m), |(p, q)| {
            let ((i, j), (k, l)) = ((p / m, p % m), (q / m, q % m));
            (if j == l { first[[i, k]] } else { 0.0 }) + (if i == k { second[[j, l]] } else { 0.0 })
        });
        let gap = &omega.dot(&found) - &Array2::<f64>::eye(n * m);
        assert!(gap.iter().all(|v| v.abs() < 0.06), "{gap:?}");
    }

    #[test]
    fn scales_multiply_and_the_mask_comes_before_them() {
        let noisy = small().sample(Seed(5)).unwrap();
        let clean = KroneckerDesign { noise: 0.0, ..small() }.sample(Seed(5)).unwrap();
        assert!(clean.scale_obs.iter().chain(&clean.scale_var).all(|&r| r == 1.0));
        for ((i, j), &v) in noisy.x.indexed_iter() {
            assert_eq!(v, clean.x[[i, j]] * (noisy.scale_obs[i] * noisy.scale_var[j]));
        }
        let sparse = KroneckerDesign { density: 0.3, ..small() }.sample(Seed(5)).unwrap();
        let kept = sparse.x.iter().zip(&noisy.x).filter(|(s, _)| **s != 0.0);
        assert!(kept.clone().all(|(s, d)| s == d));
        let share = kept.count() as f64 / sparse.x.len() as f64;
        assert!((share - 0.3).abs() < 0.05, "{share}");
        for family in [Family::T(3.0), Family::Laplace] {
            let other = KroneckerDesign { family, ..small() }.sample(Seed(5)).unwrap();
            let ratio = other.x[[0, 0]] / noisy.x[[0, 0]];
            assert!(
                ratio > 0.0 && other.x.iter().zip(&noisy.x).all(|(o, d)| (o / d / ratio - 1.0).abs() < 1e-9)
            );
        }
    }

    #[test]
    fn same_seed_same_bits_on_any_pool() {
        let design = KroneckerDesign { observations: 220, features: 210, density: 0.8, ..Default::default() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| design.sample(Seed(6)).unwrap())
        };
        let one = run(1);
        assert!(run(2) == one && run(8) == one);
        assert!(design.sample(Seed(7)).unwrap() != one);
    }

    #[test]
    fn parameters_are_checked_and_typed_as_words() {
        let bad = |change: fn(&mut KroneckerDesign)| {
            let mut d = small();
            change(&mut d);
            d.sample(Seed(0)).unwrap_err().to_string()
        };
        assert!(bad(|d| d.observations = 1).contains("observations"));
        assert!(bad(|d| d.edges = 0).contains("edges"));
        assert!(bad(|d| d.noise = f64::NAN).contains("noise"));
        assert!(bad(|d| d.density = 0.0).contains("density"));
        assert!(bad(|d| d.family = Family::T(-1.0)).contains("family"));
        for text in ["gaussian", "t:4.5", "laplace"] {
            assert_eq!(text.parse::<Family>().unwrap().to_string(), text);
        }
        assert!("t:x".parse::<Family>().is_err() && "up".parse::<EdgeSign>().is_err());
        let typed: KroneckerDesign = serde_json::from_str(r#"{"family":"t:3","sign":"mixed"}"#).unwrap();
        assert_eq!((typed.family, typed.sign, typed.edges), (Family::T(3.0), EdgeSign::Mixed, 1));
    }

    #[test]
    fn the_data_set_carries_its_truth() {
        let (data, truth) = small().dataset(Seed(1)).unwrap();
        assert_eq!(data.shape(), (30, 40));
        assert_eq!(truth.obsp["truth_precision"].shape(), (30, 30));
        assert_eq!(truth.varp["truth_precision"].shape(), (40, 40));
        assert_eq!((truth.obs["truth_scale"].len(), truth.var["truth_community"].len()), (30, 40));
        let Value::Map(facts) = &truth.uns["simulated"] else { panic!("no design") };
        assert_eq!(facts["sign"], Value::Text("plus".into()));
    }
}
