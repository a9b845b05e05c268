//! The networks of the model: encoders and the masked decoder, as parameters; what computes with them is elsewhere.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::Columns;
use super::likelihood::Law;
use crate::fit::{Draw, Seed};
use crate::nn::mlp::Encoder;
use crate::nn::{Param, Real};

/// How latents reach the outputs past the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipKind {
    /// v_j · P c: one projection for all features.
    Projected,
    /// u_j · c: a row for each feature.
    Direct,
    /// Not at all.
    None,
}

crate::words!(SkipKind, "a skip connection", Projected = "projected", Direct = "direct", None = "none");

/// The decoder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Decoder<T> {
    /// The law of the values.
    pub law: Law,
    /// V₁, H₁ × K.
    pub v1: Param<T>,
    /// V₂, H₂ × H₁.
    pub v2: Param<T>,
    /// b₂, 1 × H₂.
    pub b2: Param<T>,
    /// Last rows v_j, G × H₂.
    pub v3: Param<T>,
    /// b₃, 1 × G.
    pub b3: Param<T>,
    /// P (H₂ × K) or u (G × K).
    pub skip: Skip<T>,
    /// W, G × K.
    pub w: Param<T>,
    /// log σ or log φ, 1 × G.
    pub noise: Param<T>,
}

/// The skip connection's weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub enum Skip<T> {
    /// P.
    Projected(Param<T>),
    /// u.
    Direct(Param<T>),
    /// Nothing.
    None,
}

impl<T: Real> Decoder<T> {
    /// Layers uniform on ±1/√inputs, W = 1, log noise 0.
    pub fn new(
        law: Law,
        features: usize,
        columns: usize,
        hidden: [usize; 2],
        skip: SkipKind,
        seed: Seed,
    ) -> Decoder<T> {
        let [h1, h2] = hidden;
        let mut rng = seed.stream(Draw::Init, 0);
        let mut layer = |rows, inputs| Param::uniform((rows, inputs), inputs, &mut rng);
        let (v1, v2, v3) = (layer(h1, columns), layer(h2, h1), layer(features, h2));
        let skip = match skip {
            SkipKind::Projected => Skip::Projected(layer(h2, columns)),
            SkipKind::Direct => Skip::Direct(layer(features, columns)),
            SkipKind::None => Skip::None,
        };
        let b2 = Param::uniform((1, h2), h1, &mut rng);
        let b3 = Param::uniform((1, features), h2, &mut rng);
        let (w, noise) = (Param::filled((features, columns), 1.0), Param::filled((1, features), 0.0));
        Decoder { law, v1, v2, b2, v3, b3, skip, w, noise }
    }

    /// G.
    pub fn features(&self) -> usize {
        self.w.value.nrows()
    }

    /// The decoder of some features, as values.
    pub fn of_features(&self, features: &[usize]) -> Decoder<T> {
        let all = |p: &Param<T>| Param::new(p.value.clone());
        let at = |p: &Param<T>, axis| Param::new(p.value.select(Axis(axis), features));
        Decoder {
            law: self.law,
            v1: all(&self.v1),
            v2: all(&self.v2),
            b2: all(&self.b2),
            v3: at(&self.v3, 0),
            b3: at(&self.b3, 1),
            skip: match &self.skip {
                Skip::Projected(p) => Skip::Projected(all(p)),
                Skip::Direct(u) => Skip::Direct(at(u, 0)),
                Skip::None => Skip::None,
            },
            w: at(&self.w, 0),
            noise: at(&self.noise, 1),
        }
    }

    /// Gives what column `from` is to the decoder to column `to`; W is 0 in `from` afterwards.
    pub fn move_column(&mut self, from: usize, to: usize) {
        self.w.move_column(from, to);
        // The old column's first layer may start again from what it was.
        self.v1.copy_column(from, to);
        match &mut self.skip {
            Skip::Projected(p) | Skip::Direct(p) => p.copy_column(from, to),
            Skip::None => {}
        }
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        f("dec.l1.weight", &mut self.v1);
        f("dec.l2.weight", &mut self.v2);
        f("dec.l2.bias", &mut self.b2);
        f("dec.l3.weight", &mut self.v3);
        f("dec.l3.bias", &mut self.b3);
        match &mut self.skip {
            Skip::Projected(p) => f("dec.proj.weight", p),
            Skip::Direct(u) => f("dec.skip.weight", u),
            Skip::None => {}
        }
        f("W", &mut self.w);
        f(if self.law == Law::Gaussian { "log_sigma" } else { "log_phi" }, &mut self.noise);
    }
}

/// Samples of one study as the decoder reads them; features and columns are rows, samples are contiguous.
#[derive(Clone, Debug)]
pub struct Tile<T> {
    /// Columns of W that the study uses.
    pub columns: Vec<usize>,
    /// z, columns × samples.
    pub z: Array2<T>,
    /// x, features × samples.
    pub x: Array2<T>,
    /// log ℓ of each sample; empty for a Gaussian law.
    pub size: Vec<T>,
}

/// What a pass through the decoder gives besides the gradients of its parameters.
#[derive(Clone, Debug)]
pub struct Pass<T> {
    /// Σ log p over entries.
    pub log_lik: f64,
    /// Derivative in z of each tile, in the layout of `z`.
    pub dz: Vec<Array2<T>>,
    /// Derivative in the log sizes of each tile.
    pub dsize: Vec<Vec<f64>>,
}

/// A way to compute −`scale` Σ log p and its derivatives.
pub trait Decode<T> {
    /// Adds the gradients of every parameter of the decoder, and returns the rest.
    fn pass(&mut self, decoder: &mut Decoder<T>, tiles: &[Tile<T>], scale: f64) -> Pass<T>;
}

/// Sizes of the hidden layers.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of every encoder.
    pub encoders: [usize; 2],
    /// Of the decoder.
    pub decoder: [usize; 2],
}

impl From<[usize; 2]> for Sizes {
    fn from(hidden: [usize; 2]) -> Sizes {
        Sizes { encoders: hidden, decoder: hidden }
    }
}

/// Encoders and decoder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Network<T> {
    /// Who owns which column.
    pub columns: Columns,
    /// R^G → R^{K_S}; sees all samples. `None` without shared columns.
    pub shared: Option<Encoder<T>>,
    /// R^G → R^{K_m}; each sees its study's samples. `None` for a study without columns.
    pub own: Vec<Option<Encoder<T>>>,
    /// R^G → R, for sizes; sees all samples. `None` for a Gaussian law.
    pub library: Option<Encoder<T>>,
    /// The decoder.
    pub decoder: Decoder<T>,
}

impl<T: Real> Network<T> {
    /// Every network at its start; a stream of the seed for each.
    pub fn new(
        law: Law,
        features: usize,
        columns: Columns,
        sizes: Sizes,
        skip: SkipKind,
        seed: Seed,
    ) -> Network<T> {
        let encoder = |outputs: usize, item: u64| {
            let mut rng = seed.stream(Draw::Init, item);
            (outputs > 0).then(|| Encoder::new(features, &sizes.encoders, outputs, &mut rng))
        };
        Network {
            shared: encoder(columns.shared, 1),
            own: columns.specific.iter().zip(3..).map(|(&k, item)| encoder(k, item)).collect(),
            library: encoder(usize::from(law == Law::NegBinomial), 2),
            decoder: Decoder::new(law, features, columns.total(), sizes.decoder, skip, seed),
            columns,
        }
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        self.shared.iter_mut().for_each(|e| e.visit("encS", f));
        for (m, encoder) in self.own.iter_mut().enumerate() {
            encoder.iter_mut().for_each(|e| e.visit(&format!("enc{m}"), f));
        }
        self.library.iter_mut().for_each(|e| e.visit("encL", f));
        self.decoder.visit(f);
    }
}

/// The chosen columns of a matrix, in order.
pub fn gather<T: Real>(a: &Array2<T>, columns: &[usize]) -> Array2<T> {
    a.select(Axis(1), columns)
}

/// Adds columns back to their places.
pub fn scatter_add<T: Real>(from: &Array2<T>, columns: &[usize], into: &mut Array2<T>) {
    for (mut row, from) in into.rows_mut().into_iter().zip(from.rows()) {
        columns.iter().zip(from).for_each(|(&k, v)| row[k] += *v);
    }
}
