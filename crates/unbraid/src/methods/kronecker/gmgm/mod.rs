//! GmGM: one precision matrix per axis of tensors that may share axes.
//!
//! Every tensor T_γ is taken as one draw of a normal law with mean zero whose precision over all entries
//! is the Kronecker sum of one precision Ψ_ℓ per axis ℓ (the model of the [family](super)); an axis that
//! several tensors share has one Ψ_ℓ. Eigenvectors of the maximum-likelihood Ψ_ℓ are those of the Gram
//! matrix S_ℓ; eigenvalues come from a short gradient iteration.
//!
//! | symbol  | shape          | meaning                                        | field        |
//! |---------|----------------|------------------------------------------------|--------------|
//! | T_γ     | d_1 × … × d_K  | tensor γ                                       | [`Tensors`]  |
//! | S_ℓ     | d_ℓ × d_ℓ      | Gram matrix of axis ℓ over all tensors         | `scale · vectors · diag(e) · vectorsᵀ` |
//! | e_ℓ     | d_ℓ            | its eigenvalues, of norm 1                     | `e`          |
//! | V_ℓ     | d_ℓ × d_ℓ      | its eigenvectors                               | `vectors`    |
//! | λ_ℓ     | d_ℓ            | eigenvalues of Ψ_ℓ                             | `values`     |
//! | Ψ_ℓ     | d_ℓ × d_ℓ      | precision of axis ℓ                            | `network`    |
//! | ρ       |                | weight of the spectral regulariser             | `regularizer`|
//!
//! With `n_comps = k` the e_ℓ and V_ℓ are the k leading ones, from a randomised decomposition that never
//! makes sparse input dense, and Ψ_ℓ has rank k.
//!
//! With `preset=paper` the fit is the published package's, step for step: the iteration stops after a run of small changes,
//! mostly far from the optimum (which need not exist when d_1 ≠ d_2), so the number of steps acts as
//! the regulariser. What always differs: edges are chosen by the definition of each rule, ranks are ranks
//! (`nonparanormal=code` is the package's reading), logarithmic centring leaves zeros alone. What differs
//! by default: few components are normalised like all of them (`normalize`), and no eigenvalue shrinks
//! to less than half in one step (`damping`), without which the iteration is erratic on data with a few
//! dominant components.
//!
//! Andrew, Westhead and Cutillo (2024), *GmGM: a fast multi-axis Gaussian graphical model*:
//! `andrew2024gmgm`.

mod kernel;
mod spectra;
mod tensors;

pub use kernel::{Kernel, State, Sums, sums};
pub use spectra::Spectrum;
pub use tensors::{AxisInfo, Entries, Structure, Tensor, Tensors};

use std::collections::BTreeMap;

use super::common::{Network, Precision, annotate_graph, annotate_network};
use crate::data::{Annotations, Column, Csr, Slot, Table, Value};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Method, Stop, StopRule, drive};
use crate::graph::edges::{Keep, LowRank, Rule, Significance};
use crate::linalg::Eigen;
use crate::params::{ParamDoc, Params};
use crate::preprocess::nonparanormal::Nonparanormal;

/// What is subtracted before anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Centering {
    /// `none`: nothing.
    #[default]
    None,
    /// `mean`: the mean of all values.
    Mean,
    /// `log`: values that are not zero become their logarithm minus the mean of those of their row.
    Log,
}

/// Which axis of a table numbers independent replicates and gets no network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Iid {
    /// `none`: both axes are learnt.
    #[default]
    None,
    /// `obs`: observations are independent; only feature networks are learnt.
    Obs,
    /// `var`: features are independent; only the observation network is learnt.
    Var,
}

crate::words!(Centering, "a centring", None = "none", Mean = "mean", Log = "log");
crate::words!(Iid, "an axis of replicates", None = "none", Obs = "obs", Var = "var");

crate::params! {
    /// Parameters of GmGM; the defaults are the published package's, but for `keep`,
    /// `normalize` and `damping`.
    pub struct Gmgm {
        /// Number of leading components k of each axis; 0 uses all of them. With k > 0 no square matrix is
        /// formed, sparse input stays sparse and every precision has rank k. 0 ≤ k ≤ the smaller side.
        /// GmGM's `n_comps`; default 0, the exact fit.
        pub n_comps: usize = 0,
        /// With `n_comps`, divide the eigenvalues of a Gram matrix by their norm before the iteration, as is
        /// always done without it; else the result depends on the unit of the data. Default true; the package
        /// does not, and so `preset=paper` has false.
        pub normalize: bool = true,
        /// Share of its value that every eigenvalue of a precision keeps in one step at least; 0 ≤ share < 1.
        /// Without it steps overshoot where few components dominate: the iteration then jumps about until
        /// `max_steps`, and the last digit of the input decides on the result. Default 0.5; the package has no
        /// such bound, and so `preset=paper` has 0.
        pub damping: f64 = 0.5,
        /// Scale c of a Wishart prior with scale matrix c I on every axis; 0 is no prior. 0 ≤ c, and 0 with
        /// `n_comps`. GmGM theorem 3; default 0, as the package.
        pub prior: f64 = 0.0,
        /// What is subtracted first: `none`, `mean` (of all values), `log` (logarithms of the values that are
        /// not zero, minus their mean in each row; for counts). GmGM's `centering_method`; default none.
        pub centering: Centering = Centering::None,
        /// Weight ρ of the spectral absolute L1 regulariser, which pulls each eigenvalue towards the squared
        /// sum of the absolute entries of its eigenvector; 0 ≤ ρ. GmGM's `SpectralAbsoluteL1`; default 0.
        pub regularizer: f64 = 0.0,
        /// Regularise from the first step on, and not only after the plain iteration has stopped.
        /// GmGM's `always_regularize`; default false.
        pub always_regularize: bool = false,
        /// Keep every precision positive definite, and not only their Kronecker sum.
        /// GmGM's `force_posdef`; default true.
        pub force_posdef: bool = true,
        /// Refuse every step that raises the objective. GmGM's `check_overstep_each_iter`; default false.
        pub check_overstep: bool = false,
        /// Most steps of the eigenvalue iteration; 1 ≤ steps. GmGM's `max_iter`; default 1000.
        pub max_steps: usize = 1000,
        /// A relative change of the objective below this is small; 0 < tol. GmGM's `tol`; default 0.001.
        pub tol: f64 = 1e-3,
        /// How many small changes in a row end the iteration; 1 ≤ steps. GmGM's `max_small_steps`; default 5.
        pub max_small_steps: usize = 5,
        /// First step size tried in every step, then a tenth of it, and so on; 0 < size.
        /// GmGM's `lr_init`; default 1.
        pub lr_init: f64 = 1.0,
        /// Robustness to unknown monotone maps of the values: `none`, `rank` (Spearman's ρ through
        /// 2 sin(π ρ/6)), `scores` (normal scores), `code` (what the package computes, for comparison).
        /// Liu et al. 2012; default none.
        pub nonparanormal: Nonparanormal = Nonparanormal::None,
        /// Which entries of a precision are kept: dense, top:K, fraction:P, weighted:P, top-weighted:K,
        /// nonsingleton:P, significant:ALPHA, bonferroni:ALPHA, each optionally with +min_edges:K.
        /// Default top:10, the graph of the published evaluations.
        pub keep: Keep = Keep::default(),
        /// Axis whose entries are independent replicates and get no network: `none`, `obs` or `var`.
        /// The model with one axis; default none.
        pub iid: Iid = Iid::None,
    }
}

impl Params for Gmgm {
    const DOCS: &'static [ParamDoc] = Gmgm::FIELDS;

    /// `paper`: as the package runs when nothing is set, with the whole precision.
    fn preset(name: &str) -> Option<Gmgm> {
        (name == "paper").then(|| Gmgm {
            keep: Rule::Dense.into(),
            normalize: false,
            damping: 0.0,
            ..Gmgm::default()
        })
    }
}

/// One learnt axis.
#[derive(Clone, Debug)]
pub struct AxisFit {
    /// Its name.
    pub name: String,
    /// Eigenvalues e of its Gram matrix as the iteration read them.
    pub e: Vec<f64>,
    /// Eigenvectors in columns, those of the last e: of the longer axis of a single table there are as many
    /// as the shorter one is long, and the e before them are 0.
    pub vectors: ndarray::Array2<f64>,
    /// The Gram matrix is `scale · vectors diag(e) vectorsᵀ`.
    pub scale: f64,
    /// Share of the variance that the components explain; 1 without `n_comps`.
    pub explained: f64,
    /// Eigenvalues λ of the precision, in the order of `e`.
    pub values: Vec<f64>,
    /// The precision and its kept edges.
    pub network: Network,
}

/// A fitted GmGM.
#[derive(Clone, Debug)]
pub struct GmgmFit {
    /// The learnt axes in order of appearance in the input.
    pub axes: Vec<AxisFit>,
    /// The objective after each step.
    pub objective: Vec<f64>,
    /// How the iteration ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl GmgmFit {
    /// The axis of that name.
    pub fn axis(&self, name: &str) -> Option<&AxisFit> {
        self.axes.iter().find(|a| a.name == name)
    }
}

impl Method for Gmgm {
    const NAME: &'static str = "gmgm";
    type Input<'a> = Tensors<'a>;
    type Fitted = GmgmFit;

    fn validate(&self) -> Result<()> {
        let param = |good: bool, name, found: String, rule| match good {
            true => Ok(()),
            false => Err(Error::Param { name, found, rule }),
        };
        let least = |v: f64| v.is_finite() && v >= 0.0;
        let some = |v: f64| v.is_finite() && v > 0.0;
        param(least(self.prior), "prior", self.prior.to_string(), "0 or a positive number")?;
        param(
            least(self.regularizer),
            "regularizer",
            self.regularizer.to_string(),
            "0 or a positive number",
        )?;
        param(some(self.tol), "tol", self.tol.to_string(), "a positive number")?;
        param(some(self.lr_init), "lr_init", self.lr_init.to_string(), "a positive number")?;
        let share = (0.0..1.0).contains(&self.damping);
        param(share, "damping", self.damping.to_string(), "at least 0 and less than 1")?;
        param(self.max_steps >= 1, "max_steps", self.max_steps.to_string(), "at least 1")?;
        param(self.max_small_steps >= 1, "max_small_steps", self.max_small_steps.to_string(), "at least 1")?;
        let clash = self.prior > 0.0 && self.n_comps > 0;
        param(!clash, "prior", self.prior.to_string(), "0 when n_comps is set")?;
        self.keep.validate()
    }

    fn run(&self, input: Tensors<'_>, ctx: &mut Ctx<'_>) -> Result<GmgmFit> {
        let input = self.without_replicates(input)?;
        let structure = input.structure();
        if self.n_comps > 0 && !input.priors.is_empty() {
            let found = self.n_comps.to_string();
            return Err(Error::Param { name: "n_comps", found, rule: "0 when an axis has a prior" });
        }
        let spectra = spectra::spectra(self, &input, &structure, ctx)?;
        let kernel = self.kernel(&input, &structure, &spectra);
        let (course, stop) = drive(&kernel, StopRule { max_steps: self.max_steps, tol: self.tol }, ctx)?;
        if stop == Stop::MaxSteps {
            ctx.warn(format!("GmGM took all {} steps without meeting its stop rule.", self.max_steps));
        }
        let mut axes = Vec::with_capacity(spectra.len());
        for ((l, spectrum), values) in spectra.into_iter().enumerate().zip(course.state.values) {
            let Spectrum { e, vectors, scale, explained } = spectrum;
            let precision = self.precision(&vectors, &values);
            let significance = significance(&input, &structure, l);
            let network = Network::new(precision, &self.keep, Some(&significance))?;
            let name = structure.axes[l].name.clone();
            axes.push(AxisFit { name, e, vectors, scale, explained, values, network });
        }
        Ok(GmgmFit { axes, objective: course.objective, stop, warnings: ctx.warnings.clone() })
    }
}

impl Gmgm {
    /// The input with the axes that `iid` names among the replicates.
    fn without_replicates<'a>(&self, mut input: Tensors<'a>) -> Result<Tensors<'a>> {
        let prefix = match self.iid {
            Iid::None => return Ok(input),
            Iid::Obs => "obs",
            Iid::Var => "var",
        };
        let named = |a: &&String| **a == prefix || a.starts_with(&format!("{prefix}:"));
        let axes: Vec<String> =
            input.tensors.iter().flat_map(|t| t.axes.iter().filter(named).cloned()).collect();
        if axes.is_empty() {
            let rule = "an axis that the data have";
            return Err(Error::Param { name: "iid", found: self.iid.to_string(), rule });
        }
        input.replicates.extend(axes);
        crate::fit::Check::check(&input)?;
        Ok(input)
    }

    fn kernel(&self, input: &Tensors<'_>, structure: &Structure, spectra: &[Spectrum]) -> Kernel {
        let target = |s: &Spectrum| {
            s.vectors.columns().into_iter().map(|v| v.iter().map(|x| x.abs()).sum::<f64>().powi(2)).collect()
        };
        Kernel {
            e: spectra.iter().map(|s| s.e.clone()).collect(),
            tensors: structure.tensors.iter().map(|t| t.iter().map(|&(_, l)| l).collect()).collect(),
            prior: structure
                .axes
                .iter()
                .map(|a| self.prior > 0.0 || input.priors.contains_key(&a.name))
                .collect(),
            regularizer: (self.regularizer > 0.0)
                .then(|| (self.regularizer, spectra.iter().map(target).collect())),
            always_regularize: self.always_regularize,
            force_posdef: self.force_posdef,
            check_overstep: self.check_overstep,
            damping: self.damping,
            lr_init: self.lr_init,
            tol: self.tol,
            max_small_steps: self.max_small_steps,
        }
    }

    /// Ψ = V diag(λ) Vᵀ.
    fn precision(&self, vectors: &ndarray::Array2<f64>, values: &[f64]) -> Precision {
        let values = values.to_vec();
        if self.n_comps > 0 {
            return Precision::LowRank(LowRank { shift: 0.0, vectors: vectors.clone(), values });
        }
        let missing = vectors.nrows() - vectors.ncols();
        if missing > 0 {
            // What the vectors do not span has e = 0 and one λ in common.
            let shift = values[0];
            let values = values[missing..].iter().map(|v| v - shift).collect();
            return Precision::Dense(LowRank { shift, vectors: vectors.clone(), values }.to_dense());
        }
        let vectors = vectors.clone();
        Precision::Dense(Eigen { values: Vec::new(), vectors }.recompose(&values))
    }
}

/// d_γ all values of a tensor, v_γ one over its number of axes, replicates included.
fn significance(input: &Tensors<'_>, structure: &Structure, l: usize) -> Significance {
    let with = |(t, axes): (&Tensor<'_>, &Vec<(usize, usize)>)| {
        axes.iter().any(|(_, at)| *at == l).then(|| {
            let shape = t.entries.shape();
            (shape.iter().product::<usize>() as f64, 1.0 / shape.len() as f64)
        })
    };
    let tensors: Vec<(f64, f64)> = input.tensors.iter().zip(&structure.tensors).filter_map(with).collect();
    Significance::new(&tensors, structure.axes[l].length)
}

impl Annotate for GmgmFit {
    /// `obsp` for the axis `obs`, `varp` for `var` or for the axes `var:…` as one block-diagonal network;
    /// networks of other axes go to `uns[key]["networks"]` as tables of edges.
    fn annotate(&self, key: &str, out: &mut Annotations) {
        let tables: Vec<&AxisFit> = self.axes.iter().filter(|a| a.name.starts_with("var:")).collect();
        let mut networks = BTreeMap::new();
        for axis in &self.axes {
            match axis.name.as_str() {
                "obs" => annotate_network(&mut out.obsp, &mut out.uns, key, &axis.network),
                "var" => annotate_network(&mut out.varp, &mut out.uns, key, &axis.network),
                name if name.starts_with("var:") => {}
                name => {
                    networks.insert(name.replace('/', "_"), Value::Table(edge_table(&axis.network)));
                }
            }
        }
        if !tables.is_empty() {
            let all = |n: &Network| match &n.kept {
                Some(kept) => kept.clone(),
                None => Csr::from_dense(n.precision.to_dense().view()),
            };
            let precision = block_diagonal(tables.iter().map(|a| all(&a.network)));
            let graph = block_diagonal(tables.iter().map(|a| a.network.connectivities()));
            let neighbours = tables.iter().map(|a| a.network.neighbours).max().unwrap_or(1);
            annotate_graph(&mut out.varp, &mut out.uns, key, Slot::Csr(precision), graph, neighbours);
        }
        let axes = self.axes.iter().map(|a| (a.name.replace('/', "_"), Value::Map(summary(a)))).collect();
        let notes = out.notes(key);
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
        notes.insert("axes".into(), Value::Map(axes));
        if !networks.is_empty() {
            notes.insert("networks".into(), Value::Map(networks));
        }
    }
}

/// Eigenvalues of one axis at a glance.
fn summary(axis: &AxisFit) -> BTreeMap<String, Value> {
    let mut values = axis.values.clone();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share) as usize).copied();
    let at = |share: f64| Value::Float(at(share).unwrap_or(0.0));
    let length = crate::graph::edges::SymmetricRows::side(&axis.network.precision);
    BTreeMap::from([
        ("length".to_owned(), Value::Int(i64::try_from(length).unwrap_or(i64::MAX))),
        ("components".to_owned(), Value::Int(i64::try_from(values.len()).unwrap_or(i64::MAX))),
        ("explained".to_owned(), Value::Float(axis.explained)),
        ("smallest_eigenvalue".to_owned(), at(0.0)),
        ("median_eigenvalue".to_owned(), at(0.5)),
        ("largest_eigenvalue".to_owned(), at(1.0)),
    ])
}

/// Kept edges as columns `from`, `to`, `precision`.
fn edge_table(network: &Network) -> Table {
    let kept = match &network.kept {
        Some(kept) => kept.clone(),
        None => Csr::from_dense(network.precision.to_dense().view()),
    };
    let edges: Vec<_> = kept.entries().filter(|e| e.0 <= e.1).collect();
    let position = |i: usize| i64::try_from(i).ok();
    let mut table = Table::numbered("edge", edges.len());
    table.columns = vec![
        ("from".into(), Column::Int(edges.iter().map(|e| position(e.0)).collect())),
        ("to".into(), Column::Int(edges.iter().map(|e| position(e.1)).collect())),
        ("precision".into(), Column::Float(edges.iter().map(|e| e.2).collect())),
    ];
    table
}

/// Square matrices along the diagonal.
fn block_diagonal(blocks: impl Iterator<Item = Csr>) -> Csr {
    let (mut entries, mut start) = (Vec::new(), 0);
    for block in blocks {
        let to = |i: usize| (start + i) as u32;
        entries.extend(block.entries().map(|(i, j, v)| (to(i), to(j), v)));
        start += block.shape().0;
    }
    Csr::from_triplets((start, start), entries)
}
