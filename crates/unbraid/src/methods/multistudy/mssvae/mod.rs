//! MSSVAE: sparse factors of several studies by a variational autoencoder with a masked decoder.
//!
//! The model is that of [`super`], the objective that of [`super::elbo`]. Each epoch draws N samples with replacement, each
//! study as often as any other, cut into mini-batches; a mini-batch is one step of Adam on everything, then E γ from the new
//! W, then η. λ₀ rises over the epochs ([`super::ssl::annealed`]).
//!
//! Where a study's own column turns out to explain every other study, it becomes a shared one during the fit (`promote`).
//!
//! What is handed on are the F factors that W is turned into at the end ([`super::merge`]): copies of a shared column that
//! studies learnt by themselves are merged, empty columns and stubs dropped, and columns turned to a positive sum.
//!
//! | result                   | shape | meaning                                                      |
//! |--------------------------|-------|--------------------------------------------------------------|
//! | `varm["<key>_loadings"]` | G × F | weights of the factors                                       |
//! | `varm["<key>_member"]`   | G × F | E γ                                                          |
//! | `obsm["X_<key>"]`        | N × F | μ of each sample; 0 in the factors of other studies          |
//! | `varm["<key>_anchors"]`  | G × A | with `anchors`: 1 for the features of one factor alone ([`super::anchors`]) |
//! | `uns["<key>"]`           |       | `factors`, a table with the study of each (or `shared`), `anchors` likewise, noise, objective |
//!
//! Differs from the paper: where the last mini-batch of an epoch would hold less than half, all are of one size; the weight of the
//! latents' KL terms rises over the first epochs (`warmup`); counts start from a linear model (`start`, module `warm`); W is updated by a
//! proximal step (`w_update=gradient` gives the paper's), which ends in exact zeros; the gradients of weights that are 0 are
//! formed in every `refresh`-th step. With counts, features start from a bounded dispersion 1/φ (`dispersion`), and log φ has the
//! step size of W: the moments of a feature put all that its factors do into φ, a law so wide has gradients so small that the
//! penalty of W is larger than any of them, and at a thousandth per step φ leaves that place after thousands. `moran2026`.

mod factors;
mod promote;
pub(super) mod train;
mod warm;

use ndarray::Array2;

use self::train::Problem;
use super::anchors::Anchors;
use super::likelihood::Law;
use super::merge::Part;
use super::network::{Network, SkipKind};
use super::ssl::Membership;
use super::studies::Studies;
use super::{Columns, concerns};
use crate::error::{Error, Result};
use crate::fit::{Ctx, Method, Stop, StopRule, drive};
use crate::params::{ParamDoc, Params};

/// How W is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WUpdate {
    /// Adam on the data's gradient, then the proximal step of the penalty: exact zeros.
    Prox,
    /// Adam on the sum of both gradients, as the paper: weights rattle about 0.
    Gradient,
}

crate::words!(WUpdate, "an update of W", Prox = "prox", Gradient = "gradient");

/// Where W and the encoders start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `Linear` for counts, `Random` for a Gaussian law and where the linear model has too few samples or features.
    Auto,
    /// W = 1 and random encoders.
    Random,
    /// Sets and scores of the linear model ([`super::linear`]).
    Linear,
}

crate::words!(Origin, "a start", Auto = "auto", Random = "random", Linear = "linear");

/// What the priors are divided by in the loss of a mini-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorScale {
    /// The samples of the mini-batch.
    Batch,
    /// The samples of the data: the loss is an unbiased estimate.
    Dataset,
    /// So many samples, whatever the mini-batch; at least 1.
    Samples(u32),
}

impl std::fmt::Display for PriorScale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PriorScale::Batch => f.write_str("batch"),
            PriorScale::Dataset => f.write_str("dataset"),
            PriorScale::Samples(samples) => samples.fmt(f),
        }
    }
}

impl std::str::FromStr for PriorScale {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<PriorScale, String> {
        match (text, text.parse()) {
            ("batch", _) => Ok(PriorScale::Batch),
            ("dataset", _) => Ok(PriorScale::Dataset),
            (_, Ok(samples)) if samples > 0 => Ok(PriorScale::Samples(samples)),
            _ => Err(format!(
                "`{text}` is not a scale of priors; allowed are batch, dataset and whole numbers from 1"
            )),
        }
    }
}

crate::serde_as_text!(PriorScale);

crate::params! {
    /// Parameters of MSSVAE.
    pub struct Mssvae {
        /// Law of the values: `gaussian`, or `nb` (negative binomial) for counts. Default gaussian.
        pub likelihood: Law = Law::Gaussian,
        /// Columns of all studies K_S to start with; 0 ≤ shared. Empty ones are left at the end. Default 30 (paper, simulation).
        pub shared: usize = 30,
        /// Columns of each study K_m to start with; 0 ≤ specific. Default 5 (paper, simulation).
        pub specific: usize = 5,
        /// Sizes of the two hidden layers of encoders and decoder; at least 1. Default [50, 50] (paper; [256, 128] for RNA).
        pub hidden: [usize; 2] = [50, 50],
        /// Sizes of the hidden layers of the encoders, where they are to be wider than the decoder's, which cost far more; [0, 0]
        /// for those of `hidden`. Default [0, 0] (paper). The second should be twice the number of factors or more.
        pub encoder: [usize; 2] = [0, 0],
        /// Way past the hidden layers: `projected`, `direct` or `none`. Default projected.
        pub skip: SkipKind = SkipKind::Projected,
        /// Where W and the encoders start: `random` (W = 1), `linear` (sets and scores of a linear factor model of the same data,
        /// with as many columns, at most the samples of a study and the features), or `auto`: linear for counts, random
        /// for `likelihood=gaussian`. Default auto (paper: random).
        pub start: Origin = Origin::Auto,
        /// What the priors are divided by in a mini-batch: `batch` (its samples), `dataset` (all samples) or a number of samples, which
        /// leaves the penalty as it is where batches are made smaller. Default batch.
        pub prior_scale: PriorScale = PriorScale::Batch,
        /// Update of W: `prox` (exact zeros) or `gradient` (paper). Default prox.
        pub w_update: WUpdate = WUpdate::Prox,
        /// Share of the epochs over which the weight of the KL terms of the latents rises to 1; from 0 to 1. Default 0.1 (paper: 0):
        /// a latent that is penalised before its encoder has learnt anything gives up, and its column with it.
        pub warmup: f64 = 0.1,
        /// With `w_update=prox`, once the spike has risen, weights that are 0 are given a gradient in every so many steps;
        /// at least 1, which is always. Default 10.
        pub refresh: usize = 10,
        /// Rate λ₀ of the spike at the end of its rise; λ₁ ≤ λ₀. Default 15 (paper).
        pub lambda0: f64 = 15.0,
        /// Shares of the epochs at which λ₀ rises, from 1 to 10 and from 10 to `lambda0`; 0 ≤ the first ≤ the second ≤ 1.
        /// Default [0.05, 0.3] (paper).
        pub stages: [f64; 2] = [0.05, 0.3],
        /// Rate λ₁ of the slab; 0 < λ₁. Default 0.1 (paper).
        pub lambda1: f64 = 0.1,
        /// a of the Beta law of the rates η; 1 ≤ a. Default 1 (paper).
        pub a: f64 = 1.0,
        /// b of the Beta law of the rates η; 1 ≤ b, or 0 for the number of features. Default 0 (paper).
        pub b: f64 = 0.0,
        /// α of the inverse gamma law of σ²; 0 < α. Default 1.5 (paper).
        pub alpha: f64 = 1.5,
        /// With `likelihood=nb`, the largest dispersion 1/φ that a feature starts from; above 0. Default 1 (paper: no bound, here
        /// 10000). The moments of a feature take all its factors for dispersion, and a law so wide gives them no gradient.
        pub dispersion: f64 = 1.0,
        /// Epochs; at least 1. Default 500 (paper, Gaussian simulation; 800 for RNA).
        pub epochs: usize = 500,
        /// Samples of a mini-batch; at least 4. Default 512 (paper).
        pub batch: usize = 512,
        /// Step size of Adam, but for W; above 0. Default 0.01 (paper, Gaussian simulation; 0.001 for RNA).
        pub learning_rate: f64 = 0.01,
        /// Step size of Adam for W, and with `likelihood=nb` for log φ; above 0. Default 0.01 (paper, which has φ with the rest).
        pub learning_rate_w: f64 = 0.01,
        /// Share of the epochs, the last ones, over which both step sizes fall to 0 along a line; from 0 to 1. Default 0 (paper).
        pub decay: f64 = 0.0,
        /// |w| above which a feature belongs to a factor's set; 0 ≤ threshold. Default 0.5 (paper, platelets).
        pub threshold: f64 = 0.5,
        /// Whether a study's own column that explains every other study too is tried as a shared one, and kept as such where the
        /// loss is lower. Default false (paper).
        pub promote: bool = false,
        /// Whether columns of all studies with the same set are made one shared factor at the end. Default true (paper: false).
        pub merge: bool = true,
        /// With `merge`, the smallest Jaccard index of two sets of the same factor; 0 < tau ≤ 1. Default 0.5.
        pub tau: f64 = 0.5,
        /// Fewest features of a factor's set; factors with fewer are dropped at the end. At least 1. Default 3 (paper: 1), as
        /// a factor is told from noise by two features of its own.
        pub min_support: usize = 3,
        /// Variance that the codes of a factor must pass in some study, where their prior has 1; factors below are dropped at the
        /// end, as their codes tell nobody apart. 0 ≤ activity; 0 keeps all. Default 0.01 (paper: 0).
        pub activity: f64 = 0.01,
        /// Whether factors are also counted from correlations, by features that follow one factor alone, as a check of the number
        /// that was found. Default false.
        pub anchors: bool = false,
        /// With `likelihood=nb`, whether values that are not whole are taken as they are. Default false.
        pub fractions: bool = false,
    }
}

impl Params for Mssvae {
    const DOCS: &'static [ParamDoc] = Mssvae::FIELDS;

    /// `paper`: plain gradients of the penalty, and W as it is at the end.
    fn preset(name: &str) -> Option<Mssvae> {
        (name == "paper").then(|| Mssvae {
            w_update: WUpdate::Gradient,
            warmup: 0.0,
            start: Origin::Random,
            promote: false,
            merge: false,
            min_support: 1,
            activity: 0.0,
            dispersion: 1e4,
            ..Mssvae::default()
        })
    }
}

/// A fitted model.
#[derive(Clone, Debug)]
pub struct MssvaeFit {
    /// Encoders and decoder.
    pub network: Network<f32>,
    /// Who owns which column.
    pub columns: Columns,
    /// E γ (G × K) and η of each column.
    pub membership: Membership,
    /// The factors that W was turned into.
    pub parts: Vec<Part>,
    /// Names of the studies.
    pub studies: Vec<String>,
    /// μ of each sample, N × K; 0 in the columns of other studies.
    pub latents: Array2<f64>,
    /// μ_ℓ of each sample; empty for a Gaussian law.
    pub log_sizes: Vec<f64>,
    /// Loss of each epoch, batch by batch before its step.
    pub objective: Vec<f64>,
    /// |w| above which a feature is in a set.
    pub threshold: f64,
    /// Own columns that were made shared ones during the fit.
    pub promoted: usize,
    /// Features of one factor alone, where they were asked for.
    pub anchors: Option<Anchors>,
    /// How the fit ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Mssvae {
    /// Sizes of the hidden layers of the encoders.
    pub(super) fn encoder_sizes(&self) -> [usize; 2] {
        if self.encoder == [0, 0] { self.hidden } else { self.encoder }
    }

    /// Where a fit of so many features starts.
    ///
    /// # Errors
    /// [`Error::Param`] for a linear start with more columns than samples of a study or features.
    pub(super) fn origin(&self, samples: &[Vec<usize>], features: usize) -> Result<Origin> {
        let most = samples.iter().map(Vec::len).min().unwrap_or(0).min(features);
        let fits = self.shared + self.specific <= most;
        match self.start {
            Origin::Auto if self.likelihood == Law::NegBinomial && fits => Ok(Origin::Linear),
            Origin::Auto => Ok(Origin::Random),
            Origin::Linear if !fits => {
                let found = format!("linear with {} columns", self.shared + self.specific);
                let rule = "random where `shared` and `specific` are more than the features or the samples of a study";
                Err(Error::Param { name: "start", found, rule })
            }
            given => Ok(given),
        }
    }

    /// About the bytes that a fit takes.
    pub(super) fn memory(&self, n: usize, features: usize, studies: usize) -> u64 {
        let [h1, h2] = self.hidden;
        let k = self.shared + studies * self.specific;
        let [e1, e2] = self.encoder_sizes();
        let weights = (studies + 2) * (features * e1 + e1 * e2) + h1 * h2 + features * (2 * k + h2);
        let parts = 16 * (k * (h1 + h2) + h1 * h2 + self.batch * (k + 2 * h1 + h2)) + features * (2 * k + h2);
        // A comparison keeps the network as it was, and as it became without promotions.
        let copies = if self.promote { 3 } else { 1 };
        let held = 3 * n * features + 4 * copies * weights + parts + 2 * self.batch * features;
        // Correlations and a product of them, and a dense table, in double precision.
        let counted = if self.anchors { 2 * (2 * features * features + 3 * n * features) } else { 0 };
        // The table twice in double precision while the linear start centres it.
        let linear =
            self.start == Origin::Linear || self.start == Origin::Auto && self.likelihood == Law::NegBinomial;
        let led = if linear { 4 * n * features + 8 * features * k } else { 0 };
        4 * (held + counted + led) as u64
    }
}

impl Method for Mssvae {
    const NAME: &'static str = "mssvae";
    type Input<'a> = Studies<'a>;
    type Fitted = MssvaeFit;

    fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if self.shared + self.specific == 0 {
            return bad("shared", "0".into(), "at least 1 where `specific` is 0");
        }
        if self.hidden.contains(&0) {
            return bad("hidden", format!("{:?}", self.hidden), "two sizes of at least 1");
        }
        if self.encoder_sizes().contains(&0) {
            return bad("encoder", format!("{:?}", self.encoder), "two sizes of at least 1, or [0,0]");
        }
        if self.batch < 4 {
            return bad("batch", self.batch.to_string(), "at least 4");
        }
        for (name, value) in
            [("epochs", self.epochs), ("refresh", self.refresh), ("min_support", self.min_support)]
        {
            if value == 0 {
                return bad(name, "0".into(), "at least 1");
            }
        }
        for (name, value) in [
            ("lambda1", self.lambda1),
            ("alpha", self.alpha),
            ("dispersion", self.dispersion),
            ("learning_rate", self.learning_rate),
            ("learning_rate_w", self.learning_rate_w),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return bad(name, value.to_string(), "a positive number");
            }
        }
        if !(self.lambda0 >= self.lambda1 && self.lambda0.is_finite()) {
            return bad("lambda0", self.lambda0.to_string(), "at least lambda1");
        }
        for (name, value, free) in [("a", self.a, false), ("b", self.b, true)] {
            if !(value >= 1.0 && value.is_finite() || free && value == 0.0) {
                return bad(name, value.to_string(), "at least 1 (`b` may be 0: the number of features)");
            }
        }
        for (name, value) in [("warmup", self.warmup), ("decay", self.decay)] {
            if !(0.0..=1.0).contains(&value) {
                return bad(name, value.to_string(), "from 0 to 1");
            }
        }
        let [first, second] = self.stages;
        if !(0.0 <= first && first <= second && second <= 1.0) {
            return bad("stages", format!("{:?}", self.stages), "two rising shares from 0 to 1");
        }
        if !(self.tau > 0.0 && self.tau <= 1.0) {
            return bad("tau", self.tau.to_string(), "above 0 and at most 1");
        }
        for (name, value) in [("threshold", self.threshold), ("activity", self.activity)] {
            if !(value >= 0.0 && value.is_finite()) {
                return bad(name, value.to_string(), "0 or a positive number");
            }
        }
        Ok(())
    }

    fn run(&self, input: Studies<'_>, ctx: &mut Ctx<'_>) -> Result<MssvaeFit> {
        let (n, features) = input.values.matrix.shape();
        ctx.reserve(
            self.memory(n, features, input.names.len()),
            "choose fewer features or smaller hidden layers",
        )?;
        concerns::before(self, &input)?.into_iter().for_each(|text| ctx.warn(text));
        let problem = Problem::new(self, &input)?;
        let (course, stop) = drive(&problem, StopRule { max_steps: self.epochs, tol: 0.0 }, ctx)?;
        let mut fit = problem.finish(course, stop, ctx)?;
        if self.anchors && stop != Stop::Cancelled {
            fit.anchors = Some(Anchors::find(&input, self.likelihood, self.tau)?);
        }
        concerns::after(self, &fit).into_iter().for_each(|text| ctx.warn(text));
        fit.warnings.clone_from(&ctx.warnings);
        Ok(fit)
    }
}

#[cfg(test)]
mod tests;
