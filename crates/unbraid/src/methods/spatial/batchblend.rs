//! BATCHBLEND: spatial metagenes beside a batch effect that all cells of a slice share.
//!
//! ```text
//! y_i ~ N(M (x_i + β^t), σ_t²),    x_i = s_i z_i,    p(z) ∝ exp(−Σ_{i~j} z_iᵗ Λ z_j)/Z,    M, x, β ≥ 0
//! ```
//!
//! x + β is all that one slice tells. What tells them apart is that cells of a type lie, slice by slice, on lines that meet at M β^t
//! (`form=ray`). The fit factorises the slices, looks for the rays, refines both, and goes on in the tissue.
//! `form=thesis` is the prior of the thesis, |x − x̄| with x̄ the mean of the other slices, in the form its program gives it, which holds
//! x below x̄: means can only fall, and X with them (`preset=paper` stops after 50 iterations).
//!
//! Slots: [`super::fit`].
//!
//! `shah2025`; `popari` for POPARI, which is the same without β.

use super::amount::Amount;
use super::fit::{TissueFit, fitted, validate};
use super::neighbours::Rule;
use super::slices::Slices;
use super::tissue::{self, Blend, Columns, Init, Plan, Sharing};
use crate::error::{Error, Result};
use crate::fit::{Ctx, Method};
use crate::params::{ParamDoc, Params};

/// How β is told from X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By rays that all slices share.
    Ray,
    /// By the prior of the thesis.
    Thesis,
}

crate::words!(Form, "a form", Ray = "ray", Thesis = "thesis");

crate::params! {
    /// Parameters of BATCHBLEND.
    pub struct Batchblend {
        /// Metagenes K; from 2 to 64, and no more than cells or genes. Default 15.
        pub k: usize = 15,
        /// How the batch effect is told from the mixtures: `ray` (lines of cell types meet at it) or `thesis`. Default ray.
        pub form: Form = Form::Ray,
        /// With `form=ray`, number of rays P; 0 for K. Default 0.
        pub rays: usize = 0,
        /// With `form=thesis`, weight λ_β of the prior of β; 0 or larger. Default 0 (thesis, section 2.6, leaves it open).
        pub lambda_beta: f64 = 0.0,
        /// Standard deviation τ about 1 of the scale that a batch puts on a gene (capture, chemistry); 0 for none, `auto` for 0.2 where it
        /// predicts held-out genes of held-out cells better than 0. Default auto.
        pub gene_scale: Amount = Amount::Auto,
        /// Iterations of factorisation without batch effect; at least 1. Default 100.
        pub nmf_steps: usize = 100,
        /// Whether the fit goes on with spatial affinities. Default true.
        pub hmrf: bool = true,
        /// With `hmrf`, most iterations with spatial affinities; at least 1. Default 15: the noise rises slowly with more (POPARI: 50).
        pub max_steps: usize = 15,
        /// Relative change of the mean squared error at which these end; 0 never. Default 0.
        pub tol: f64 = 0.0,
        /// Neighbours: `delaunay`, `knn`, `grid` or `given` (a graph of the file: `edges`). Default delaunay (POPARI).
        pub graph: Rule = Rule::Delaunay,
        /// With `graph=knn`, nearest cells of each; at least 1. Default 6.
        pub neighbors: usize = 6,
        /// Start: `svd`, `kmeans`, `leiden` or `random`. Default svd.
        pub init: Init = Init::Svd,
        /// Affinities: `shared` by all slices, or `differential`. Default shared.
        pub affinity: Sharing = Sharing::Shared,
        /// Weight λ_Λ of the ridge of the affinities; above 0. Default 1e-4 (POPARI).
        pub lambda_affinity: f64 = 1e-4,
        /// With `affinity=differential`, weight of their distance from their mean; 0 or larger. Default 1e-3 (POPARI).
        pub lambda_mean: f64 = 1e-3,
        /// Whether affinities are fitted again in every iteration. Default false: the first fit sees mixtures that expression alone has made;
        /// later ones see mixtures that the affinities have drawn together, and grow without end on real slices (POPARI: true).
        pub relearn: bool = false,
        /// Share of the affinities that mixtures feel: `auto` (what predicts held-out genes best; 0 leaves every cell alone) or a number from
        /// 0. Default 0.03: cell types on real slices lose by more
        /// (POPARI: 1); regions of spots that hold many cells gain by `auto`.
        pub neighbor_weight: Amount = Amount::Of(0.03),
        /// Scale of the affinities at the start; 0 or larger. Default 10 (POPARI).
        pub strength: f64 = 10.0,
        /// Weight λ_x of the sizes of cells; 0 or larger. Default 0 (POPARI).
        pub lambda_x: f64 = 0.0,
    }
}

impl Params for Batchblend {
    const DOCS: &'static [ParamDoc] = Batchblend::FIELDS;

    /// `paper`: the thesis' prior, 50 iterations of factorisation, no affinities (with `hmrf=true` they count in full), no scales of genes.
    fn preset(name: &str) -> Option<Batchblend> {
        (name == "paper").then(|| Batchblend {
            form: Form::Thesis,
            nmf_steps: 50,
            hmrf: false,
            neighbor_weight: Amount::Of(1.0),
            gene_scale: Amount::Of(0.0),
            ..Batchblend::default()
        })
    }
}

/// Iterations that look for rays, and that refine them.
const SEARCH: usize = 150;
const REFINE: usize = 40;

/// τ that is tried against 0.
const DEVIATION: f64 = 0.2;

impl Batchblend {
    fn plan(&self, gene_scale: f64) -> Plan {
        let rays = if self.rays == 0 { self.k } else { self.rays };
        let (blend, search, refine) = match self.form {
            Form::Ray => (Blend::Rays { rays }, SEARCH, REFINE),
            Form::Thesis => (Blend::Thesis { ridge: self.lambda_beta }, 0, 0),
        };
        Plan {
            k: self.k,
            init: self.init,
            columns: Columns::Free,
            each: false,
            blend,
            sharing: self.affinity,
            gene_scale,
            relearn: self.relearn,
            weight: self.neighbor_weight,
            factor: self.nmf_steps,
            search,
            refine,
            tissue: if self.hmrf { self.max_steps } else { 0 },
            penalty: self.lambda_x,
            ridge: self.lambda_affinity,
            together: self.lambda_mean,
            strength: self.strength,
            apart: None,
            tol: 1e-5,
            rounds: 50,
        }
    }
}

impl Method for Batchblend {
    const NAME: &'static str = "batchblend";
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
                ("lambda_beta", self.lambda_beta),
            ],
            self.lambda_affinity,
        )?;
        let amount = |amount: Amount| if let Amount::Of(amount) = amount { amount } else { 0.0 };
        let (scale, weight) = (amount(self.gene_scale), amount(self.neighbor_weight));
        for (name, value) in [("tol", self.tol), ("gene_scale", scale), ("neighbor_weight", weight)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::Param { name, found: value.to_string(), rule: "finite and 0 or larger" });
            }
        }
        if self.rays == 1 {
            let rule = "at least 2, or 0 for k: one line has no point where it meets others";
            return Err(Error::Param { name: "rays", found: "1".into(), rule });
        }
        Ok(())
    }

    fn run(&self, input: Slices<'_>, ctx: &mut Ctx<'_>) -> Result<TissueFit> {
        if input.names.len() < 2 {
            let what = format!("a second batch (all cells are of `{}`)", input.names.join(", "));
            let hint =
                "a batch effect is told from the tissue by comparing batches; `unbraid fit popari` fits one"
                    .into();
            return Err(Error::Missing { what, hint });
        }
        let (gene_scale, scaled) = match self.gene_scale {
            Amount::Of(deviation) => (deviation, Vec::new()),
            Amount::Auto => {
                let errors = tissue::predicted(&self.plan(0.0), &input, DEVIATION, ctx.seed)?;
                (if tissue::pays(&errors) { DEVIATION } else { 0.0 }, errors)
            }
        };
        let rule = (self.graph, self.neighbors, self.tol);
        let fit = fitted("batchblend", self.plan(gene_scale), rule, input, ctx)?;
        Ok(TissueFit { scaled, ..fit })
    }
}
