//! Scaled variational co-clustering: rows and columns are each coded by a variational autoencoder whose prior is a mixture of
//! clusters, and both mixtures must keep the table's mutual information.
//!
//! ```text
//! rows:     z ~ Σ_c π_c N(μ_c, σ_c²),  x_i ~ p_θ(· | z),  q_φ(z | x_i) = N(m_i, s_i²);     columns: the same of Xᵀ
//! L = mean_i [ −F_i + η NCE_i ] + mean_j [ −F_j + η NCE_j ] + κ N (I(P) − I(Q))/n + λ_J L_joint,      Q = Γᵀ P Δ
//! ```
//!
//! | symbol     | shape        | meaning                                            | field, slot or module            |
//! |------------|--------------|----------------------------------------------------|----------------------------------|
//! | F          |              | K-sample bound with weight β of the divergence      | [`bound`], trace                 |
//! | π, μ, σ    | g, g × L     | mixture of the rows' codes; h of the columns'       | [`mixture`]                      |
//! | f          | L            | stretch of the means before the decoder             | `scale`                          |
//! | m          | n × L, m × L | codes: means of q                                   | `obsm["X_<key>"]`, `varm["<key>_loadings"]` |
//! | Γ, Δ       | n × g, m × h | responsibilities γ(m)                               | `obsm/varm["<key>_membership"]`  |
//! | κ, T       |              | weight and temperature of the cross-loss             | `kappa`, `temperature`; [`cross`] |
//! | η          |              | weight of the contrastive term                       | `nce`; [`contrast`]              |
//! | λ_J        |              | weight of the joint space                             | `joint`; [`cells`]               |
//!
//! The schedule ([`train`]): both sides as plain autoencoders with a standard normal prior; clusters from k-means of the codes, or from
//! labels of the table; joint epochs with rising β; then the labels go on in the latent block model ([`polish`]), whose bound also
//! compares restarts. No known class takes part.
//!
//! Vinod and Bajaj (2025): `vinod2025`; the equations that the text at hand leaves open are ours, after `jiang2017`, `tucker2019`,
//! `bauer2021`, `song2024` and `xu2019`. What differs from the paper: the weight of the cross-loss follows from the likelihood of
//! the Poisson block model, weights of the doubly reparametrised gradient have β in them, and polish, mixed gradients and starts from
//! labels are additions. The joint space is off unless asked for: docs/svcc.md has its effect.

pub mod bound;
pub mod cells;
pub mod contrast;
pub mod cross;
pub mod input;
pub mod likelihood;
pub mod lines;
pub mod mixture;
pub mod model;
pub mod network;
pub mod polish;
pub mod prune;
pub mod side;
pub mod train;

use self::bound::{Divergence, EncoderGradient, PriorGradient};
use self::cross::Cross;
use self::input::Observed;
use self::likelihood::Law;
use self::model::SvccFit;
use super::table::{at_least_one, refuse_clusters};
use crate::data::Missing;
use crate::error::{Error, Result};
use crate::fit::{Ctx, Method};
use crate::params::{ParamDoc, Params};

/// Where clusters start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// k-means of the pre-trained codes.
    Kmeans,
    /// Information-theoretic co-clustering of the table.
    Itcc,
    /// Spectral co-clustering of the table.
    Spectral,
}

crate::words!(Start, "a start", Kmeans = "kmeans", Itcc = "itcc", Spectral = "spectral");

crate::params! {
    /// Parameters of SVCC.
    pub struct Svcc {
        /// Number of clusters of rows g; 1 ≤ g ≤ rows. Default 5.
        pub rows: usize = 5,
        /// Number of clusters of columns h; 1 ≤ h ≤ columns. Default 5.
        pub cols: usize = 5,
        /// What lines are taken to be: `multinomial`, `poisson`, `nb` (both for whole numbers), `bernoulli` (0 or not),
        /// `gaussian`, or `auto`: multinomial unless some value is negative. Default auto.
        pub likelihood: Law = Law::Auto,
        /// Where clusters start: `kmeans` of the pre-trained codes, `itcc` or `spectral` co-clustering of the table (k-means
        /// where some value is negative). Default kmeans.
        pub init: Start = Start::Kmeans,
        /// Sizes of the encoders' two hidden layers, first to last; the decoders have them in reverse. Default 256,64.
        pub hidden: [usize; 2] = [256, 64],
        /// Size L of a code; 1 ≤ L. Default 10.
        pub latent: usize = 10,
        /// Samples K of the bound; 1 ≤ K. Default 3.
        pub samples: usize = 3,
        /// Most lines of a mini-batch, rows and columns each; 2 ≤ batch. Default 256.
        pub batch: usize = 256,
        /// Epochs of pre-training with a standard normal prior. Default 25.
        pub pretrain: usize = 25,
        /// Joint epochs; 1 ≤ epochs. Default 30.
        pub epochs: usize = 30,
        /// Joint epochs over which β rises to 1. Default 10.
        pub warmup: usize = 10,
        /// β in pre-training and at the start of the joint epochs; from 0 to 1. Default 0.1.
        pub beta: f64 = 0.1,
        /// Step size of the networks (Adam); above 0. Default 1e-3.
        pub learning_rate: f64 = 1e-3,
        /// Step size of the mixtures (Adam); above 0. Default 1e-3.
        pub learning_rate_prior: f64 = 1e-3,
        /// Decoupled decay of the networks' weights; 0 or larger. Default 1e-5.
        pub decay: f64 = 1e-5,
        /// Divergence from the mixture: `iwae` (by the samples), `vade` or `bound` (closed bounds). Default iwae.
        pub kl: Divergence = Divergence::Iwae,
        /// Gradient of the encoders: `dreg` (doubly reparametrised) or `plain`. Default dreg.
        pub encoder_grad: EncoderGradient = EncoderGradient::Dreg,
        /// Gradient of the mixtures: `mix` (of both, by least variance), `gdreg` or `plain`. Default mix.
        pub prior_grad: PriorGradient = PriorGradient::Mix,
        /// Whether means are stretched on the way to the decoder where codes shrink. Default true.
        pub scale: bool = true,
        /// Weight η of the contrastive term; 0 or larger. Default 1.
        pub nce: f64 = 1.0,
        /// Whether the contrastive term runs in both directions. Default true.
        pub symmetric: bool = true,
        /// What joins both sides: `data` (mutual information of the blocks), `squares` (sum of squares between them),
        /// `assignment` (of memberships among themselves, rows = cols), or `auto`: data unless the law is Gaussian. Default auto.
        pub cross: Cross = Cross::Auto,
        /// Weight κ of the cross-loss in units of the block model's likelihood (`assignment`: as it is); 0 or larger. Default 10.
        pub kappa: f64 = 10.0,
        /// Temperature T of the memberships in the cross-loss; above 0. Default 3.
        pub temperature: f64 = 3.0,
        /// Weight λ_J of the joint space of cells; 0 leaves it out. Default 0.
        pub joint: f64 = 0.0,
        /// Components of the joint space; 0 for half of rows × cols. Default 0.
        pub blocks: usize = 0,
        /// Whether the encoder of a cell sees its value. Default false.
        pub joint_sees_x: bool = false,
        /// Whether values are divided by the dispersion that is left beside the margins, so that any unit weighs alike: in the
        /// multinomial likelihood, the cross-loss and the polish. Default true.
        pub dispersion: bool = true,
        /// Whether values whose noise grows mostly with the square of their mean, as that of amplified reads, are bent to asinh²(√(a x))/a,
        /// whose noise grows with the mean: in the multinomial likelihood and the cross-loss; there is no polish then. Default true.
        pub stabilise: bool = true,
        /// Whether labels go on in the latent block model of the table at the end; not where values are bent (`stabilise`). Default true.
        pub polish: bool = true,
        /// Starts of the block model from the table alone, beside the networks' labels; the largest bound has the labels. Default 20.
        pub starts: usize = 20,
        /// Whether clusters without lines are dropped and near copies merged: `rows` and `cols` are then the most there can be.
        /// Default false.
        pub prune: bool = false,
        /// Concentration α₀ of a Dirichlet prior on the shares of clusters; above 0, below 1 empties small ones. Default 1.
        pub dirichlet: f64 = 1.0,
        /// Restarts, of which the largest bound of the block model is kept, without a polish the largest bound of the networks with
        /// information; 1 ≤ restarts. Default 3.
        pub restarts: usize = 3,
        /// What an entry that is not a number means: `error`, or `nan` for one that was not measured and takes no part. Default error.
        pub missing: Missing = Missing::Error,
    }
}

impl Params for Svcc {
    const DOCS: &'static [ParamDoc] = Svcc::FIELDS;

    /// `paper`: doubly reparametrised gradients, one-sided contrast, the joint space on, κ = 1, values as they are, k-means start, no
    /// polish.
    fn preset(name: &str) -> Option<Svcc> {
        (name == "paper").then(|| Svcc {
            prior_grad: PriorGradient::Gdreg,
            symmetric: false,
            kappa: 1.0,
            temperature: 1.0,
            joint: 1.0,
            dispersion: false,
            stabilise: false,
            polish: false,
            restarts: 1,
            ..Svcc::default()
        })
    }
}

impl Method for Svcc {
    const NAME: &'static str = "svcc";
    type Input<'a> = Observed<'a>;
    type Fitted = SvccFit;

    fn validate(&self) -> Result<()> {
        let Svcc { rows, cols, latent, samples, epochs, restarts, .. } = *self;
        at_least_one(&[
            ("rows", rows),
            ("cols", cols),
            ("latent", latent),
            ("samples", samples),
            ("epochs", epochs),
            ("restarts", restarts),
        ])?;
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if self.batch < 2 {
            return bad("batch", self.batch.to_string(), "at least 2");
        }
        if self.hidden.contains(&0) {
            let found = format!("{:?}", self.hidden);
            return bad("hidden", found, "two sizes of at least 1");
        }
        if !(0.0..=1.0).contains(&self.beta) {
            return bad("beta", self.beta.to_string(), "from 0 to 1");
        }
        let positive = [
            ("learning_rate", self.learning_rate),
            ("learning_rate_prior", self.learning_rate_prior),
            ("temperature", self.temperature),
            ("dirichlet", self.dirichlet),
        ];
        if let Some((name, v)) = positive.into_iter().find(|(_, v)| !(*v > 0.0 && v.is_finite())) {
            return bad(name, v.to_string(), "a positive number");
        }
        let weights =
            [("decay", self.decay), ("nce", self.nce), ("kappa", self.kappa), ("joint", self.joint)];
        if let Some((name, v)) = weights.into_iter().find(|(_, v)| !(*v >= 0.0 && v.is_finite())) {
            return bad(name, v.to_string(), "0 or a positive number");
        }
        if self.cross == Cross::Assignment && rows != cols {
            return bad("cross", "assignment".into(), "another form where `rows` and `cols` differ");
        }
        Ok(())
    }

    fn run(&self, input: Observed<'_>, ctx: &mut Ctx<'_>) -> Result<SvccFit> {
        let (n, m) = input.values.matrix.shape();
        refuse_clusters(input.values.matrix, self.rows, self.cols)?;
        // Weights with their gradients and two moments, for both sides; outputs of a batch; the table in several forms.
        let first = self.hidden[0];
        let weights = 2 * 4 * 4 * first * (n + m);
        let outputs = 2 * 4 * 2 * self.batch.min(n.max(m)) * self.samples * n.max(m);
        let table =
            120 * input.values.matrix.nonzeros() + 8 * n * m * usize::from(self.likelihood == Law::Gaussian);
        ctx.reserve((weights + outputs + table) as u64, "set a smaller `batch` or smaller `hidden` layers")?;
        train::Problem::new(self, input)?.fit(ctx)
    }
}

#[cfg(test)]
mod fits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept() {
        let why = |p: Svcc| p.validate().unwrap_err().to_string();
        let base = Svcc::default;
        assert!(why(Svcc { rows: 0, ..base() }).contains("rows"));
        assert!(why(Svcc { batch: 1, ..base() }).contains("batch"));
        assert!(why(Svcc { hidden: [8, 0], ..base() }).contains("hidden"));
        assert!(why(Svcc { beta: 1.5, ..base() }).contains("beta"));
        assert!(why(Svcc { learning_rate: f64::NAN, ..base() }).contains("learning_rate"));
        assert!(why(Svcc { temperature: 0.0, ..base() }).contains("temperature"));
        assert!(why(Svcc { kappa: -1.0, ..base() }).contains("kappa"));
        assert!(why(Svcc { cross: Cross::Assignment, rows: 3, ..base() }).contains("assignment"));
        assert!(base().validate().is_ok() && Svcc::preset("paper").unwrap().validate().is_ok());
    }
}
