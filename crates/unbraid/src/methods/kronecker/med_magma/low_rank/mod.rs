//! MED-MAGMA within a few components: the default on real tables, and the form for many rows.
//!
//! The denoising step of the method is kept, the precisions are read from the leading singular vectors
//! of what it leaves:
//!
//! ```text
//! Z = diag(√ρ) T diag(√γ),  every row of energy m, every column of energy n      scaling
//! Z ≈ U diag(s) Vᵀ, rank components                                             rank
//! R₁ = cosines of the rows of U diag(s),    Ψ₁ = 2I − R₁                        form=gram
//! R₂ = cosines of the columns of Z,         Ψ₂ = 2I − R₂
//! ```
//!
//! After T steps of the early-stopped kernel the off-diagonals of Ψ are −T S to three digits (spec of the
//! published estimator), so the Gram matrix of the leading part, normalised, *is* the low-rank
//! early-stopped estimate up to the scale of its rows, and `2I − R` its first-order inverse. What the
//! truncation adds is the regularisation that EM at n ≈ m with a single table lacks.
//!
//! The two axes differ on purpose. Cells fall into few types, and averaging over the components that
//! stand above the noise finds them; genes work in many small groups, and a gene graph read from the
//! same few components joins fewer genes of common function than one read from all of Z (measured on
//! eleven sets; `features=factors` gives it nevertheless).
//!
//! `form=precision` runs EM within Ψ = c I + U diag(δ) Uᵀ instead ([`precision`]). It costs more and
//! was not better on labelled sets: cosines of its low-rank part are as good, its partial correlations
//! much worse.
//!
//! | symbol | shape | meaning | name |
//! |---|---|---|---|
//! | T | n × m | table, sparse | `t` |
//! | √ρ, √γ | n, m | factors of rows and columns | [`scaling::Scaling`] |
//! | U, s, V | n × k, k, m × k | leading triplets of Z | [`Components`] |
//! | k | 1 | rank | [`Components::s`] |
//! | R | n × n, m × m | cosines | `−Ψ` off the diagonal |
//!
//! Time O(non-zeros · k) and O(min(n, m)³) up to a short side of 3000, plus n² k flops for the kept
//! edges of the rows; memory O(non-zeros + (n + m) k). Nothing of size n² or n × m is formed.

pub mod precision;
pub mod rank;
pub mod scaling;

use ndarray::{Array2, Axis};

use self::precision::LowRankEm;
use self::rank::Evidence;
use self::scaling::Scaling;
use super::super::common::{Network, Precision, UnitLines};
use super::{Features, Form, MedMagma, Rank};
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::{Ctx, Flow, Step, Stop, StopRule, drive};
use crate::graph::edges::{LowRank, Significance};
use crate::linalg::Svd;
use crate::linalg::randomized::SparseShifted;
use crate::linalg::sparse_svd::{Leading, leading_triplets};

/// Components asked for before the rank is known.
const LOOK: usize = 64;
/// Longest feature axis whose cosines are held as a square matrix.
const SQUARE: usize = 3000;

/// The leading part of Z.
#[derive(Clone, Debug)]
pub struct Components {
    /// Left singular vectors, n × k.
    pub u: Array2<f64>,
    /// Singular values, k.
    pub s: Vec<f64>,
    /// Right singular vectors, m × k.
    pub v: Array2<f64>,
    /// Share of the energy of Z in each component.
    pub explained: Vec<f64>,
}

impl Components {
    fn new(top: Svd, k: usize, energy: f64) -> Components {
        let (u, v) = (rank::first(&top.u, k), rank::first(&top.v, k));
        let s = top.s[..k].to_vec();
        Components { explained: s.iter().map(|s| s * s / energy).collect(), u, s, v }
    }

    /// U diag(s), n × k: the embedding of the observations.
    pub fn embedding(&self) -> Array2<f64> {
        let mut x = self.u.clone();
        x.columns_mut().into_iter().zip(&self.s).for_each(|(mut c, s)| c *= *s);
        x
    }
}

/// A table that has been scaled, with what is known of its rank.
pub struct Scaled {
    /// Non-zero entries of the input.
    t: Csr,
    /// Factors at Ψ = I.
    scaling: Scaling,
    /// Z.
    z: Csr,
    top: Leading,
    /// What `rank=auto` looked at; `None` where the rank was given.
    pub evidence: Option<Evidence>,
    /// Number of components.
    pub rank: usize,
}

/// A fit in this mode.
pub struct Found {
    /// Networks of observations and features.
    pub networks: [Network; 2],
    /// Logarithms of the factors that take T to Z.
    pub scales: [Vec<f64>; 2],
    /// The leading part of Z at Ψ = I.
    pub components: Components,
    /// As in the full mode; empty with `form=gram`.
    pub objective: Vec<f64>,
    /// As in the full mode; empty with `form=gram`.
    pub change: Vec<[f64; 2]>,
    /// How EM ended; converged with `form=gram`.
    pub stop: Stop,
    /// Eigenvalues of Ψ on a clamp at the end.
    pub clamped: usize,
}

/// Parts of a fit: scaling, components, rank, network of the rows, network of the columns.
const PARTS: usize = 5;

/// Tells the observer how many parts are done. A direct fit has no state to save or to stop at.
fn part_done(ctx: &mut Ctx<'_>, done: usize) {
    let _: Flow = ctx.observer.step(Step::Part, done, PARTS);
}

/// Estimated peak of this mode in bytes for an n × m table with that many non-zeros.
pub fn memory(n: usize, m: usize, nonzeros: usize, rank: Rank) -> u64 {
    let k = match rank {
        Rank::Components(k) => k,
        _ => LOOK,
    } as u64;
    let (n, m, entries) = (n as u64, m as u64, nonzeros as u64);
    let short = n.min(m);
    let whole = if short <= SQUARE as u64 { 4 * short * short } else { 0 };
    // Up to nine copies of the entries live together, at 12 bytes each; factors, vectors, one block of rows.
    12 * 9 * entries + 8 * (whole + 6 * k * (n + m)) + (64 << 20)
}

/// Scales the table and, for `rank=auto`, judges its rank.
///
/// # Errors
/// [`Error::Line`] for a row or column without a non-zero value or a row that cannot be scaled, [`Error::Param`] for a rank that the
/// table does not have, [`Error::Numeric`] when a scaling or decomposition does not settle.
pub fn scale(t: Csr, what: &str, params: &MedMagma, ctx: &mut Ctx<'_>) -> Result<Scaled> {
    let (n, m) = t.shape();
    if let Rank::Components(k) = params.rank
        && k > n.min(m)
    {
        let rule = "auto, full, or at most the number of rows and of columns";
        return Err(Error::Param { name: "rank", found: k.to_string(), rule });
    }
    refuse_empty(&t, what)?;
    let t = scaling::in_units(t);
    let scaling = scaling::of_table(&t, what)?;
    let z = scaling.apply(&t);
    part_done(ctx, 1);
    let look = match params.rank {
        Rank::Components(k) => k,
        _ => LOOK,
    };
    let mut top = leading_triplets(&SparseShifted::plain(z.clone()), look, ctx.seed)?;
    part_done(ctx, 2);
    let (evidence, rank) = match params.rank {
        Rank::Components(k) => (None, k),
        _ => {
            let evidence = rank::judge(&z, &top, ctx.seed)?;
            part_done(ctx, 3);
            let rank = evidence.rank;
            if rank > look && evidence.low {
                top = leading_triplets(&SparseShifted::plain(z.clone()), rank, ctx.seed)?;
            }
            (Some(evidence), rank)
        }
    };
    Ok(Scaled { t, scaling, z, top, evidence, rank })
}

/// Names rows and columns that hold nothing.
fn refuse_empty(t: &Csr, what: &str) -> Result<()> {
    let (n, m) = t.shape();
    let mut seen = vec![false; m];
    t.entries().for_each(|(_, j, _)| seen[j] = true);
    let rows: Vec<usize> = (0..n).filter(|&i| t.row(i).0.is_empty()).collect();
    let columns: Vec<usize> = (0..m).filter(|&j| !seen[j]).collect();
    for (axis, at) in [("row", rows), ("column", columns)] {
        if !at.is_empty() {
            return Err(Error::Line {
                what: what.to_owned(),
                axis,
                at,
                problem: "holds no non-zero value",
                hint: "drop it, or use `--set empty=drop`".into(),
            });
        }
    }
    Ok(())
}

impl Scaled {
    /// The networks.
    ///
    /// # Errors
    /// [`Error::Numeric`] when an iteration does not settle, and as `graph::edges::select`.
    pub fn fit(self, params: &MedMagma, ctx: &mut Ctx<'_>) -> Result<Found> {
        let Scaled { t, scaling, z, top, rank, .. } = self;
        let (n, m) = t.shape();
        let energy: f64 = z.values().iter().map(|z| z * z).sum();
        let components = Components::new(top.svd, rank, energy);
        let significance = [Significance::of_matrix(n, m), Significance::of_matrix(m, n)];
        let network =
            |axis: usize, psi: Precision| Network::new(psi, &params.keep, Some(&significance[axis]));
        if params.form == Form::Precision {
            let em = LowRankEm { t: &t, rank, start: &scaling, params, seed: ctx.seed };
            let rule = StopRule { max_steps: params.max_steps, tol: params.tol };
            let (course, stop) = drive(&em, rule, ctx)?;
            let state = course.state;
            let [rows, columns] = state.precisions();
            let networks = [network(0, Precision::LowRank(rows))?, network(1, Precision::LowRank(columns))?];
            return Ok(Found {
                networks,
                scales: state.scales,
                components,
                objective: course.objective,
                change: state.change,
                stop,
                clamped: state.clamped,
            });
        }
        drop(t);
        let rows = network(0, cosines(components.embedding()))?;
        part_done(ctx, 4);
        let columns = match params.features {
            Features::Factors => {
                let mut x = components.v.clone();
                x.columns_mut().into_iter().zip(&components.s).for_each(|(mut c, s)| c *= *s);
                cosines(x)
            }
            Features::Table => {
                let lines = UnitLines::new(z.transpose());
                if m <= SQUARE { Precision::Dense(lines.to_dense()) } else { Precision::Cosines(lines) }
            }
        };
        let columns = network(1, columns)?;
        part_done(ctx, 5);
        let log = |s: &[f64]| s.iter().map(|s| s.ln()).collect();
        Ok(Found {
            networks: [rows, columns],
            scales: [log(&scaling.rows), log(&scaling.columns)],
            components,
            objective: Vec::new(),
            change: Vec::new(),
            stop: Stop::Converged,
            clamped: 0,
        })
    }
}

/// `2I − R` for the cosines R of the rows of `x`.
fn cosines(mut x: Array2<f64>) -> Precision {
    for mut row in x.axis_iter_mut(Axis(0)) {
        let size = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if size > 0.0 {
            row /= size;
        }
    }
    let k = x.ncols();
    Precision::LowRank(LowRank { shift: 2.0, vectors: x, values: vec![-1.0; k] })
}
