//! The design `msrt`: slices of a tissue whose cells mix metagenes, each slice behind a batch effect of its own.
//!
//! ```text
//! y_i = M (x_i + β^t) + e_i,    x_i = s_i z_i,    e_ig ~ N(0, (noise/G)²), y ≥ 0           (`effect=additive`)
//! y_i = M (x_i + s_i/K β^t) + e_i                                                          (`effect=size`)
//! y_i = diag(d^t) M x_i + e_i,  log d^t_g ~ N(0, (σ_β/10)²)                                (`effect=multiplicative`)
//! ```
//!
//! | symbol | shape | meaning | slot |
//! |--------|-------|---------|------|
//! | Y      | N × G | expression, all slices | `X` |
//! | M      | G × K | metagenes, columns sum to 1 | `varm["truth_metagenes"]` |
//! | X, Z   | N × K | mixtures, x = s z, Σ z = 1 | `obsm["X_truth"]` is X |
//! | s      | N     | size of a cell, Gamma(K/λ_s, scale λ_s) | |
//! | β      | T × K | batch effect, 0 in metagenes not chosen, else σ_β \|N(0, 1)\| | `uns["truth_beta"]` |
//! | d      | T × G | scale of a gene in a batch | `uns["truth_scale"]` |
//!
//! A slice is a grid of `side` × `side` cells on the unit square in four bands, the domains. There are K = 11 metagenes: Gamma(8) draws,
//! of which some are copies of the one before with a tenth of their genes drawn again. Nine cell types load them: four excitatory
//! (½ on metagene 0, 1 on one of 7 to 10), four inhibitory (½ on 1, 1 on one of 3 to 6) and an ubiquitous one (1 on 2). Each domain
//! has the excitatory and inhibitory type of its layer and its neighbours' in shares by `composition`, of `progenitor` slices .53 of the one
//! excitatory type, .2 of each of two inhibitory ones and .07 ubiquitous, of `layer` slices the other way round; `alternating` takes turns. z
//! is the type's loadings with N(0, 0.1²) added where they are not 0, cut at 0, over its sum.
//!
//! Shah (2025), section 3.1 (`shah2025`), on the simulation of `popari`. What the thesis leaves open (bands, which slice has which
//! composition, the truncation) is our choice.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

use crate::data::{Annotations, Column, Dataset, Matrix, Slot, Table, Value};
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::linalg;
use crate::params::{ParamDoc, Params};

/// Number of metagenes K.
const METAGENES: usize = 11;
/// Share of genes in which a metagene differs from the one it copies; 0 draws all of them.
const VARIED: [f64; METAGENES] = [0.0, 0.1, 0.0, 0.0, 0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1];
/// Domains, and layers of each kind of neuron.
const LAYERS: usize = 4;
/// Neighbouring layers that a domain has cells of, the less frequent kind.
const BESIDE: [[usize; 2]; LAYERS] = [[0, 1], [1, 2], [2, 3], [2, 3]];
/// Shape of the draws of a gene.
const SHAPE: f64 = 8.0;
/// Standard deviation of a cell's loadings about its type's.
const SPREAD: f64 = 0.1;

/// What a batch does to the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Adds the same M β to every cell.
    Additive,
    /// Adds M β in proportion to the size of the cell.
    Size,
    /// Multiplies every gene by a scale of its own.
    Multiplicative,
}

crate::words!(
    Effect,
    "a batch effect",
    Additive = "additive",
    Size = "size",
    Multiplicative = "multiplicative"
);

/// Which cell types a slice has more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Composition {
    /// Excitatory and inhibitory slices in turn.
    Alternating,
    /// More excitatory cells in all slices.
    Progenitor,
    /// More inhibitory cells in all slices.
    Layer,
}

crate::words!(
    Composition,
    "a composition",
    Alternating = "alternating",
    Progenitor = "progenitor",
    Layer = "layer"
);

crate::params! {
    /// Design of tissue slices with a batch effect.
    pub struct MsrtDesign {
        /// Slices (batches) T; from 1 to 1000.
        pub batches: usize = 2,
        /// Cells along one side of a slice; from 2 to 2000. A slice has its square.
        pub side: usize = 15,
        /// Genes G; from 11 to 100000.
        pub features: usize = 100,
        /// Strength σ_β of the batch effect; 0 (none) or larger.
        pub sigma: f64 = 2.0,
        /// Share of the metagenes that the batch effect touches; from 0 to 1.
        pub touched: f64 = 0.5,
        /// Whether all batches touch the same metagenes.
        pub same: bool = true,
        /// What the batch does: additive, size or multiplicative.
        pub effect: Effect = Effect::Additive,
        /// Cell types of the slices: alternating, progenitor or layer.
        pub composition: Composition = Composition::Alternating,
        /// Standard deviation of the noise of a gene times the number of genes; 0 or larger.
        pub noise: f64 = 1.0,
        /// Scale λ_s of the sizes of cells, whose mean is 11; above 0. Larger ones differ more.
        pub lambda: f64 = 1.0,
    }
}

impl Params for MsrtDesign {
    const DOCS: &'static [ParamDoc] = Self::FIELDS;
}

/// Simulated slices and the truth behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct MsrtSample {
    /// Y, N × G, batch after batch.
    pub y: Array2<f64>,
    /// M, G × K.
    pub metagenes: Array2<f64>,
    /// X, N × K.
    pub mixtures: Array2<f64>,
    /// β, T × K.
    pub beta: Array2<f64>,
    /// d, T × G.
    pub scale: Array2<f64>,
    /// Coordinates, N × 2, on the unit square.
    pub places: Array2<f64>,
    /// Batch, domain and type of each cell.
    pub batch: Vec<usize>,
    /// Domain of each cell, 0 to 3.
    pub domain: Vec<usize>,
    /// Type of each cell: 0 to 3 excitatory, 4 to 7 inhibitory, 8 ubiquitous.
    pub kind: Vec<usize>,
}

/// What each random stream of a sample is for; streams of a slice are counted on from here.
enum Purpose {
    Metagenes,
    Touched,
    Kinds = 1 << 10,
    Mixtures = 1 << 20,
    Noise = 1 << 30,
}

/// Loadings of a type on the metagenes.
fn loadings(kind: usize) -> [f64; METAGENES] {
    let mut of = [0.0; METAGENES];
    match kind {
        0..LAYERS => (of[0], of[7 + kind]) = (0.5, 1.0),
        8 => of[2] = 1.0,
        _ => (of[1], of[kind - 1]) = (0.5, 1.0),
    }
    of
}

/// Name of a type.
fn name(kind: usize) -> String {
    match kind {
        0..LAYERS => format!("Excitatory L{}", kind + 1),
        8 => "Non-Neuron Ubiquitous".into(),
        _ => format!("Inhibitory L{}", kind - LAYERS + 1),
    }
}

/// A normal draw, drawn again until it is not negative.
fn not_negative(mean: f64, sd: f64, rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let e: f64 = StandardNormal.sample(rng);
        let value = mean + sd * e;
        if value >= 0.0 {
            return value;
        }
    }
}

impl MsrtDesign {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if !(1..=1000).contains(&self.batches) {
            return bad("batches", self.batches.to_string(), "from 1 to 1000");
        }
        if !(2..=2000).contains(&self.side) {
            return bad("side", self.side.to_string(), "from 2 to 2000");
        }
        if !(METAGENES..=100_000).contains(&self.features) {
            return bad("features", self.features.to_string(), "from 11 to 100000");
        }
        if !(0.0..=1.0).contains(&self.touched) {
            return bad("touched", self.touched.to_string(), "from 0 to 1");
        }
        for (name, value) in [("sigma", self.sigma), ("noise", self.noise)] {
            if !(value >= 0.0 && value.is_finite()) {
                return bad(name, value.to_string(), "finite and 0 or larger");
            }
        }
        if !(self.lambda > 0.0 && self.lambda.is_finite()) {
            return bad("lambda", self.lambda.to_string(), "finite and above 0");
        }
        Ok(())
    }

    /// M: Gamma draws, some metagenes copies of the last that is none, with a few genes drawn again.
    fn metagenes(&self, gene: Gamma<f64>, rng: &mut ChaCha8Rng) -> Array2<f64> {
        let g = self.features;
        let mut m = Array2::zeros((g, METAGENES));
        let mut base = 0;
        let mut order: Vec<usize> = (0..g).collect();
        for (k, varied) in VARIED.into_iter().enumerate() {
            let drawn = if varied == 0.0 { g } else { (varied * g as f64).floor() as usize };
            match varied == 0.0 {
                true => base = k,
                false => {
                    let copy = m.column(base).to_owned();
                    m.column_mut(k).assign(&copy);
                    order.shuffle(rng);
                }
            }
            order[..drawn].iter().for_each(|&at| m[[at, k]] = gene.sample(rng));
        }
        for mut column in m.columns_mut() {
            let sum = column.sum();
            column /= sum;
        }
        m
    }

    /// Domain and type of the cells of a slice.
    fn cells(&self, batch: usize, rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
        let (side, n) = (self.side, self.side * self.side);
        let height = |row: usize| row as f64 / (side - 1) as f64;
        let domain: Vec<usize> =
            (0..n).map(|i| ((LAYERS as f64 * height(i / side)) as usize).min(LAYERS - 1)).collect();
        let progenitor = match self.composition {
            Composition::Alternating => batch.is_multiple_of(2),
            Composition::Progenitor => true,
            Composition::Layer => false,
        };
        let mut kind = vec![8; n];
        for layer in 0..LAYERS {
            let mut at: Vec<usize> = (0..n).filter(|&i| domain[i] == layer).collect();
            at.shuffle(rng);
            let [beside, other] = BESIDE[layer];
            // The kind there is most of has one type, that of the layer; the other two.
            let (main, rest) = if progenitor { (0, LAYERS) } else { (LAYERS, 0) };
            let shares = [(main + layer, 0.53), (rest + beside, 0.2), (rest + other, 0.2)];
            let (mut below, mut from) = (0.0, 0);
            for (of, share) in shares {
                below += share;
                let to = (below * at.len() as f64).floor() as usize;
                at[from..to].iter().for_each(|&i| kind[i] = of);
                from = to;
            }
        }
        (domain, kind)
    }

    /// Draws one sample; the same seed gives the same bits on any number of threads.
    ///
    /// # Errors
    /// [`Error::Param`] as [`validate`](Self::validate).
    pub fn sample(&self, seed: Seed) -> Result<MsrtSample> {
        self.validate()?;
        let (g, slice) = (self.features, self.side * self.side);
        let n = slice * self.batches;
        let stream = |purpose: u64| seed.stream(Draw::Simulate, purpose);
        let law = |shape: f64, scale: f64| {
            Gamma::new(shape, scale)
                .map_err(|e| Error::Numeric { what: "a distribution of the design", why: e.to_string() })
        };
        let (gene, size) = (law(SHAPE, 1.0)?, law(METAGENES as f64 / self.lambda, self.lambda)?);
        let metagenes = self.metagenes(gene, &mut stream(Purpose::Metagenes as u64));
        // What the batches do.
        let mut rng = stream(Purpose::Touched as u64);
        let mut beta = Array2::zeros((self.batches, METAGENES));
        let mut scale = Array2::ones((self.batches, g));
        let mut chosen: Vec<usize> = (0..METAGENES).collect();
        let touched = (self.touched * METAGENES as f64 + 0.5).floor() as usize;
        for t in 0..self.batches {
            if t == 0 || !self.same {
                chosen.shuffle(&mut rng);
            }
            if self.effect == Effect::Multiplicative {
                scale.row_mut(t).mapv_inplace(|_: f64| {
                    let e: f64 = StandardNormal.sample(&mut rng);
                    (0.1 * self.sigma * e).exp()
                });
                continue;
            }
            for &k in &chosen[..touched] {
                let e: f64 = StandardNormal.sample(&mut rng);
                beta[[t, k]] = self.sigma * e.abs();
            }
        }
        let mut sample = MsrtSample {
            y: Array2::zeros((n, g)),
            metagenes,
            mixtures: Array2::zeros((n, METAGENES)),
            beta,
            scale,
            places: Array2::zeros((n, 2)),
            batch: (0..n).map(|i| i / slice).collect(),
            domain: Vec::with_capacity(n),
            kind: Vec::with_capacity(n),
        };
        for t in 0..self.batches {
            let (domain, kind) = self.cells(t, &mut stream(Purpose::Kinds as u64 + t as u64));
            let mut rng = stream(Purpose::Mixtures as u64 + t as u64);
            let mut mean = Array2::zeros((slice, METAGENES));
            for (i, &kind) in kind.iter().enumerate() {
                let at = t * slice + i;
                let last = (self.side - 1) as f64;
                let place = [(i % self.side) as f64 / last, (i / self.side) as f64 / last];
                sample.places.row_mut(at).iter_mut().zip(place).for_each(|(to, p)| *to = p);
                let mut x = loadings(kind);
                x.iter_mut().filter(|x| **x > 0.0).for_each(|x| *x = not_negative(*x, SPREAD, &mut rng));
                let (sum, s): (f64, f64) = (x.iter().sum(), size.sample(&mut rng));
                let share = if self.effect == Effect::Size { s / METAGENES as f64 } else { 1.0 };
                for k in 0..METAGENES {
                    sample.mixtures[[at, k]] = s * x[k] / sum;
                    mean[[i, k]] = sample.mixtures[[at, k]] + share * sample.beta[[t, k]];
                }
            }
            let mut expression = linalg::matmul(mean.view(), sample.metagenes.t());
            let mut rng = stream(Purpose::Noise as u64 + t as u64);
            let sd = self.noise / g as f64;
            for mut row in expression.rows_mut() {
                for (y, d) in row.iter_mut().zip(sample.scale.row(t)) {
                    *y = if sd > 0.0 { not_negative(*y * d, sd, &mut rng) } else { *y * d };
                }
            }
            sample.y.slice_axis_mut(Axis(0), (t * slice..(t + 1) * slice).into()).assign(&expression);
            sample.domain.extend(domain);
            sample.kind.extend(kind);
        }
        Ok(sample)
    }

    /// A sample as a data set with its truth under AnnData names: `obs["batch"]`, `obs["cell_type"]`, `obs["domain"]`,
    /// `obsm["spatial"]` (N × 2), `obsm["X_truth"]` (N × K), `varm["truth_metagenes"]` (G × K), `uns["truth_beta"]` (T × K),
    /// `uns["truth_scale"]` (T × G), and the design in `uns["simulated"]`.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn dataset(&self, seed: Seed) -> Result<(Dataset, Annotations)> {
        let s = self.sample(seed)?;
        let mut truth = Annotations::default();
        truth.obsm.insert("X_truth".into(), Slot::F64(s.mixtures));
        truth.varm.insert("truth_metagenes".into(), Slot::F64(s.metagenes));
        truth.uns.insert("truth_beta".into(), Value::Matrix(s.beta));
        truth.uns.insert("truth_scale".into(), Value::Matrix(s.scale));
        truth.uns.insert("simulated".into(), Value::Map(self.facts(seed)));
        let slice = self.side * self.side;
        let mut data = Dataset::from_matrix("msrt", Matrix::Dense(s.y));
        let names = (0..s.batch.len()).map(|i| format!("b{}_c{}", i / slice, i % slice)).collect();
        data.obs = Table::named(names);
        let labels = |codes: Vec<usize>, categories: Vec<String>| Column::Categorical {
            codes: codes.into_iter().map(|c| Some(c as u32)).collect(),
            categories,
            ordered: false,
        };
        let numbered = |prefix: &str, from: usize, count: usize| {
            (0..count).map(|i| format!("{prefix}{}", i + from)).collect::<Vec<_>>()
        };
        data.obs.columns = vec![
            ("cell_type".into(), labels(s.kind, (0..9).map(name).collect())),
            ("domain".into(), labels(s.domain, numbered("L", 1, LAYERS))),
            ("batch".into(), labels(s.batch, numbered("batch", 0, self.batches))),
        ];
        data.var = Table::numbered("gene", self.features);
        data.obsm.insert("spatial".into(), s.places);
        Ok((data, truth))
    }

    fn facts(&self, seed: Seed) -> BTreeMap<String, Value> {
        let MsrtDesign { batches, side, features, sigma, touched, same, effect, composition, noise, lambda } =
            self;
        let int = |v: usize| Value::Int(v as i64);
        let facts: [(&str, Value); 13] = [
            ("design", "msrt".into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("seed", seed.0.to_string().into()),
            ("batches", int(*batches)),
            ("side", int(*side)),
            ("features", int(*features)),
            ("sigma", (*sigma).into()),
            ("touched", (*touched).into()),
            ("same", (*same).into()),
            ("effect", effect.to_string().into()),
            ("composition", composition.to_string().into()),
            ("noise", (*noise).into()),
            ("lambda", (*lambda).into()),
        ];
        facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sd(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn expression_is_the_mixture_behind_the_batch() {
        let quiet = MsrtDesign { noise: 0.0, batches: 3, ..Default::default() };
        for effect in [Effect::Additive, Effect::Size, Effect::Multiplicative] {
            let s = MsrtDesign { effect, ..quiet.clone() }.sample(Seed(1)).unwrap();
            for i in [0, 224, 225, 674] {
                let t = s.batch[i];
                let size = s.mixtures.row(i).sum();
                let share = if effect == Effect::Size { size / 11.0 } else { 1.0 };
                for g in 0..100 {
                    let mean: f64 = (0..11)
                        .map(|k| s.metagenes[[g, k]] * (s.mixtures[[i, k]] + share * s.beta[[t, k]]))
                        .sum();
                    assert!((s.y[[i, g]] - s.scale[[t, g]] * mean).abs() < 1e-12, "{effect} {i} {g}");
                }
            }
        }
    }

    #[test]
    fn draws_follow_their_laws() {
        let s = MsrtDesign { side: 40, batches: 4, ..Default::default() }.sample(Seed(2)).unwrap();
        let (mean, spread) = sd(s.mixtures.rows().into_iter().map(|r| r.sum()));
        assert!((mean - 11.0).abs() < 0.2 && (spread - 11f64.sqrt()).abs() < 0.2, "{mean} {spread}");
        assert!(s.metagenes.columns().into_iter().all(|c| (c.sum() - 1.0).abs() < 1e-12));
        // Six of the eleven metagenes, the same in every batch.
        for t in 0..4 {
            let touched: Vec<usize> = (0..11).filter(|&k| s.beta[[t, k]] > 0.0).collect();
            assert_eq!(touched.len(), 6);
            assert!(touched.iter().all(|&k| s.beta[[0, k]] > 0.0));
        }
        // What is left of the expression is the noise.
        let full = linalg::matmul(s.mixtures.view(), s.metagenes.t());
        let effect = linalg::matmul(s.beta.view(), s.metagenes.t());
        let rest = (0..s.batch.len()).flat_map(|i| {
            let t = s.batch[i];
            (0..100).map(move |g| (i, g, t)).collect::<Vec<_>>()
        });
        let (mean, spread) = sd(rest.map(|(i, g, t)| s.y[[i, g]] - full[[i, g]] - effect[[t, g]]));
        assert!(mean.abs() < 1e-3 && (spread - 0.01).abs() < 5e-4, "{mean} {spread}");
        // Copies of a metagene differ in a tenth of the genes.
        let differ = |a: usize, b: usize| {
            let (a, b) = (s.metagenes.column(a), s.metagenes.column(b));
            // Their sums differ, so that equal genes have one ratio: the most frequent.
            let mut ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let middle = ratios[50];
            ratios.iter().filter(|r| (*r - middle).abs() > 1e-9).count()
        };
        assert!(differ(0, 1) <= 10 && differ(3, 4) <= 10 && differ(3, 6) <= 10, "{}", differ(0, 1));
        assert!(differ(0, 2) > 80);
    }

    #[test]
    fn slices_have_their_cells_in_layers() {
        let s = MsrtDesign { side: 40, ..Default::default() }.sample(Seed(3)).unwrap();
        for t in 0..2 {
            for layer in 0..4 {
                let here: Vec<usize> = (0..3200)
                    .filter(|&i| s.batch[i] == t && s.domain[i] == layer)
                    .map(|i| s.kind[i])
                    .collect();
                let share =
                    |kind: usize| here.iter().filter(|&&k| k == kind).count() as f64 / here.len() as f64;
                let main = if t == 0 { layer } else { 4 + layer };
                assert!((share(main) - 0.53).abs() < 0.01 && (share(8) - 0.07).abs() < 0.01);
                let rest = if t == 0 { 4 } else { 0 };
                assert!(BESIDE[layer].iter().all(|&l| (share(rest + l) - 0.2).abs() < 0.01));
            }
        }
        assert_eq!(s.places.row(41).to_vec(), [1.0 / 39.0, 1.0 / 39.0]);
    }

    #[test]
    fn parameters_are_checked() {
        let bad = |change: fn(&mut MsrtDesign)| {
            let mut d = MsrtDesign::default();
            change(&mut d);
            d.sample(Seed(0)).unwrap_err().to_string()
        };
        assert!(bad(|d| d.batches = 0).contains("batches"));
        assert!(bad(|d| d.side = 1).contains("side"));
        assert!(bad(|d| d.features = 10).contains("features"));
        assert!(bad(|d| d.touched = 1.1).contains("touched"));
        assert!(bad(|d| d.sigma = f64::NAN).contains("sigma"));
        assert!(bad(|d| d.noise = -1.0).contains("noise"));
        assert!(bad(|d| d.lambda = 0.0).contains("lambda"));
    }

    #[test]
    fn the_data_set_carries_its_truth() {
        let (data, truth) = MsrtDesign { side: 5, ..Default::default() }.dataset(Seed(1)).unwrap();
        assert_eq!(data.shape(), (50, 100));
        assert_eq!(data.obsm["spatial"].dim(), (50, 2));
        assert_eq!(truth.obsm["X_truth"].shape(), (50, 11));
        let (codes, names) = data.obs.column("batch").unwrap().labels().unwrap();
        assert_eq!((codes[24], codes[25], names.len()), (0, 1, 2));
        let Value::Map(facts) = &truth.uns["simulated"] else { panic!("no design") };
        assert_eq!(facts["effect"], Value::Text("additive".into()));
    }
}
