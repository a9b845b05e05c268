//! POPARI: spatial metagenes of several slices, and how metagenes meet in the tissue.
//!
//! ```text
//! y_i ~ N(M x_i, σ_t²),    x_i = s_i z_i,    p(z) ∝ exp(−Σ_{i~j} z_iᵗ Λ z_j)/Z,    M, x ≥ 0, columns of M on the simplex
//! ```
//!
//! A factorisation without neighbours, then iterations over the affinity Λ, the metagenes M, the noise σ and the mixtures X in the
//! tissue. Every step is solved exactly or descends its objective; log Z is that of [`super::partition`]. Slots: [`super::fit`].
//!
//! `popari`. Differs from the authors' program (`preset=paper` has its schedule): log Z is a sum of positive terms, where
//! the closed form loses all digits from about 11 metagenes on; cells are visited by colour and not by random independent sets; Λ is
//! found by BFGS; λ_x is not halved.

use super::amount::Amount;
use super::fit::{TissueFit, fitted, validate};
use super::neighbours::Rule;
use super::slices::Slices;
use super::tissue::{Blend, Init, Plan, Sharing};

use crate::error::Result;
use crate::fit::{Ctx, Method};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of POPARI.
    pub struct Popari {
        /// Metagenes K; from 2 to 64, and no more than cells or genes. Default 15.
        pub k: usize = 15,
        /// Iterations of factorisation without neighbours; at least 1. Default 100 (POPARI: 10).
        pub nmf_steps: usize = 100,
        /// Most iterations with spatial affinities; at least 1. Default 50 (thesis).
        pub max_steps: usize = 50,
        /// Relative change of the mean squared error at which these end; 0 never. Default 0.
        pub tol: f64 = 0.0,
        /// Neighbours: `delaunay`, `knn`, `grid` or `given` (a graph of the file: `edges`). Default delaunay (POPARI).
        pub graph: Rule = Rule::Delaunay,
        /// With `graph=knn`, nearest cells of each; at least 1. Default 6.
        pub neighbors: usize = 6,
        /// Start: `svd`, `kmeans` or `random`. Default svd.
        pub init: Init = Init::Svd,
        /// Affinities: `shared` by all slices, or `differential`. Default shared.
        pub affinity: Sharing = Sharing::Shared,
        /// Weight λ_Λ of the ridge of the affinities; above 0. Default 1e-4.
        pub lambda_affinity: f64 = 1e-4,
        /// With `affinity=differential`, weight of their distance from their mean; 0 or larger. Default 1e-3.
        pub lambda_mean: f64 = 1e-3,
        /// Share of the affinities that mixtures feel: `auto` (what predicts held-out genes best; 0 leaves every cell alone) or a number from
        /// 0. Default 0.03 (POPARI: 1).
        pub neighbor_weight: Amount = Amount::Of(0.03),
        /// Scale of the affinities at the start; 0 or larger. Default 10.
        pub strength: f64 = 10.0,
        /// Weight λ_x of the sizes of cells; 0 or larger. Default 0.
        pub lambda_x: f64 = 0.0,
    }
}

impl Params for Popari {
    const DOCS: &'static [ParamDoc] = Popari::FIELDS;

    /// `paper`: ten iterations of factorisation and fifty in the tissue, in which mixtures feel all of the affinities.
    fn preset(name: &str) -> Option<Popari> {
        (name == "paper").then(|| Popari {
            nmf_steps: 10,
            neighbor_weight: Amount::Of(1.0),
            ..Popari::default()
        })
    }
}

impl Method for Popari {
    const NAME: &'static str = "popari";
    type Input<'a> = Slices<'a>;
    type Fitted = TissueFit;

    fn validate(&self) -> Result<()> {
        validate(
            self.k,
            [("nmf_steps", self.nmf_steps), ("max_steps", self.max_steps), ("neighbors", self.neighbors)],
            [
                ("lambda_mean", self.lambda_mean),
                ("strength", self.strength),
                ("lambda_x", self.lambda_x),
                ("tol", self.tol),
            ],
            self.lambda_affinity,
        )
    }

    fn run(&self, input: Slices<'_>, ctx: &mut Ctx<'_>) -> Result<TissueFit> {
        let plan = Plan {
            k: self.k,
            init: self.init,
            each: true,
            blend: Blend::None,
            sharing: self.affinity,
            gene_scale: 0.0,
            relearn: true,
            weight: self.neighbor_weight,
            factor: self.nmf_steps,
            search: 0,
            refine: 0,
            tissue: self.max_steps,
            penalty: self.lambda_x,
            ridge: self.lambda_affinity,
            together: self.lambda_mean,
            strength: self.strength,
            tol: 1e-5,
            rounds: 1000,
        };
        fitted("popari", plan, (self.graph, self.neighbors, self.tol), input, ctx)
    }
}
