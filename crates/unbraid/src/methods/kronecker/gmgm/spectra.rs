//! From tensors to the eigenvalues and eigenvectors of one Gram matrix per axis.
//!
//! Full path: `S_ℓ = Σ_γ mat_ℓ(T_γ) mat_ℓ(T_γ)ᵀ / N_ℓ`, N_ℓ the number of columns of all matricisations,
//! then `S_ℓ = V diag(e) Vᵀ` and `e := e / ‖e‖`. Path of few components: leading left singular vectors
//! of the matricisations side by side, `e = σ²` (or the leading eigenpairs of a skeptic), then
//! `e := e / ‖e‖` unless `normalize` is off.
//!
//! The two Gram matrices of one table share their spectrum. With X Xᵀ = V diag(σ²) Vᵀ the smaller one, the
//! other has the eigenvectors U = Xᵀ V / σ and, beyond them, e = 0. One decomposition of the smaller side
//! is enough, unless the table is so ill-conditioned that the division loses what it divides.

use std::borrow::Cow;

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, Axis, CowArray, Ix2, IxDyn};

use super::tensors::{AxisInfo, Entries, Structure, Tensor, Tensors};
use super::{Centering, Gmgm};
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::{Ctx, Draw};
use crate::linalg::randomized::{Beside, Effort, Operator, SparseShifted, leading};
use crate::linalg::{Eigen, eigh, gram, matmul};
use crate::preprocess::nonparanormal::{
    Nonparanormal, as_the_package, row_scores, skeptic, sparse_row_scores, sparse_skeptic,
};

/// Eigenpairs of the Gram matrix of one axis.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Eigenvalues e as the kernel reads them.
    pub e: Vec<f64>,
    /// Eigenvectors in columns, d × d or d × components. Where one table serves both axes, the longer one
    /// has as many columns as the shorter one is long, those of the last e; the other e are 0.
    pub vectors: Array2<f64>,
    /// The Gram matrix is `scale · V diag(e) Vᵀ`.
    pub scale: f64,
    /// Share of the total that the components explain; 1 on the full path.
    pub explained: f64,
}

/// A centred tensor. The mean of a sparse one is carried beside it.
enum Prepared<'a> {
    Dense(CowArray<'a, f64, IxDyn>),
    Sparse(Cow<'a, Csr>, f64),
}

/// The spectra of all learnt axes, in the order of the structure.
pub fn spectra(
    method: &Gmgm,
    input: &Tensors<'_>,
    structure: &Structure,
    ctx: &mut Ctx<'_>,
) -> Result<Vec<Spectrum>> {
    let prepared = input.tensors.iter().map(|t| prepare(t, method.centering)).collect::<Result<Vec<_>>>()?;
    warn_of_empty_lines(input, ctx);
    if method.n_comps > 0 {
        return few(method, structure, &prepared, ctx);
    }
    let need: usize = structure.axes.iter().map(|a| 5 * a.length * a.length).sum();
    ctx.reserve(8 * need as u64, "set n_comps, so that no square matrix is formed")?;
    let prepared: Vec<Values<'_>> = prepared.into_iter().map(densify).collect();
    if let [x] = &prepared[..]
        && let Some(both) = shared(method, input, structure, x)?
    {
        return Ok(both);
    }
    (0..structure.axes.len()).map(|l| full(method, input, structure, &prepared, l)).collect()
}

/// A dense tensor, borrowed where nothing was done to it.
type Values<'a> = CowArray<'a, f64, IxDyn>;

fn densify(prepared: Prepared<'_>) -> Values<'_> {
    match prepared {
        Prepared::Dense(x) => x,
        Prepared::Sparse(x, mean) => x.to_dense().mapv_into(|v| v - mean).into_dyn().into(),
    }
}

/// Centres one tensor.
fn prepare<'a>(tensor: &Tensor<'a>, centering: Centering) -> Result<Prepared<'a>> {
    match (&tensor.entries, centering) {
        (Entries::Dense(x), Centering::None) => Ok(Prepared::Dense(x.clone().into())),
        (Entries::Dense(x), Centering::Mean) => {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            Ok(Prepared::Dense(x.mapv(|v| v - mean).into()))
        }
        (Entries::Dense(x), Centering::Log) => {
            let rest = x.len() / x.shape()[0];
            for (at, &v) in x.iter().enumerate() {
                positive(tensor, (at / rest, at % rest), v)?;
            }
            let mut out: ArrayD<f64> = x.to_owned();
            for mut line in out.axis_iter_mut(Axis(0)) {
                let (sum, count) = log_mean(line.iter().copied());
                line.mapv_inplace(|v| if v == 0.0 { 0.0 } else { v.ln() - sum / count });
            }
            Ok(Prepared::Dense(out.into()))
        }
        (Entries::Sparse(x), Centering::None) => Ok(Prepared::Sparse(Cow::Borrowed(*x), 0.0)),
        (Entries::Sparse(x), Centering::Mean) => {
            let (n, m) = x.shape();
            let mean = x.values().iter().sum::<f64>() / (n as f64 * m as f64);
            Ok(Prepared::Sparse(Cow::Borrowed(*x), mean))
        }
        (Entries::Sparse(x), Centering::Log) => {
            let mut entries = Vec::with_capacity(x.nnz());
            for i in 0..x.shape().0 {
                let (at, values) = x.row(i);
                let (sum, count) = log_mean(values.iter().copied());
                for (&j, &v) in at.iter().zip(values).filter(|(_, v)| **v != 0.0) {
                    positive(tensor, (i, j as usize), v)?;
                    entries.push((i as u32, j, v.ln() - sum / count));
                }
            }
            Ok(Prepared::Sparse(Cow::Owned(Csr::from_triplets(x.shape(), entries)), 0.0))
        }
    }
}

/// Sum of the logarithms of the values that are not zero, and how many there are.
fn log_mean(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.filter(|v| *v != 0.0).fold((0.0, 0.0), |(sum, count), v| (sum + v.ln(), count + 1.0))
}

fn positive(tensor: &Tensor<'_>, at: (usize, usize), found: f64) -> Result<()> {
    if found >= 0.0 {
        return Ok(());
    }
    let rule = "zero or positive, as centering=log takes logarithms";
    Err(Error::Value { what: tensor.what.clone(), found, at, rule })
}

/// The method is defined for rows of zeros, but their edges mean nothing.
fn warn_of_empty_lines(input: &Tensors<'_>, ctx: &mut Ctx<'_>) {
    for tensor in &input.tensors {
        for (p, name) in tensor.axes.iter().enumerate().filter(|(_, a)| !input.is_replicate(a)) {
            let mut empty = vec![true; tensor.entries.shape()[p]];
            match &tensor.entries {
                Entries::Dense(x) => {
                    for (i, line) in x.axis_iter(Axis(p)).enumerate() {
                        empty[i] = line.iter().all(|v| *v == 0.0);
                    }
                }
                Entries::Sparse(x) => x
                    .entries()
                    .filter(|e| e.2 != 0.0)
                    .for_each(|(i, j, _)| empty[if p == 0 { i } else { j }] = false),
            }
            let at: Vec<String> = (0..empty.len()).filter(|&i| empty[i]).map(|i| i.to_string()).collect();
            if !at.is_empty() {
                let more = if at.len() > 5 { format!(" and {} more", at.len() - 5) } else { String::new() };
                let shown = at[..at.len().min(5)].join(", ");
                ctx.warn(format!(
                    "{}: {} of axis `{name}` hold only zeros ({shown}{more}, counted from 0); they get no meaningful edge.",
                    tensor.what,
                    at.len()
                ));
            }
        }
    }
}

/// The tensor with axis `p` in rows and all others in columns.
fn matricise<'a>(x: &'a ArrayViewD<'_, f64>, p: usize) -> CowArray<'a, f64, Ix2> {
    if x.ndim() == 2 {
        let x = x.view().into_dimensionality::<Ix2>().expect("it has two axes");
        return if p == 0 { x.into() } else { x.reversed_axes().into() };
    }
    let d = x.shape()[p];
    let mut order: Vec<usize> = (0..x.ndim()).collect();
    order.remove(p);
    order.insert(0, p);
    let columns = x.len() / d;
    let flat: Vec<f64> = x.view().permuted_axes(IxDyn(&order)).iter().copied().collect();
    Array2::from_shape_vec((d, columns), flat).expect("as many values as before").into()
}

/// Gram matrix and full eigendecomposition of axis `l`.
fn full(
    method: &Gmgm,
    input: &Tensors<'_>,
    structure: &Structure,
    prepared: &[Values<'_>],
    l: usize,
) -> Result<Spectrum> {
    let axis = &structure.axes[l];
    let d = axis.length;
    let mut sum: Array2<f64> = Array2::zeros((d, d));
    for (tensor, x) in structure.tensors.iter().zip(prepared) {
        for &(p, _) in tensor.iter().filter(|(_, at)| *at == l) {
            let x = x.view();
            let rows = matricise(&x, p);
            sum += &match method.nonparanormal {
                Nonparanormal::None => gram(rows.view()),
                // Weighted like a Gram matrix of rows of unit variance.
                Nonparanormal::Rank => skeptic(rows.view()) * rows.ncols() as f64,
                Nonparanormal::Scores => gram(row_scores(rows.view()).view()),
                Nonparanormal::Code => as_the_package(&gram(rows.view())),
            };
        }
    }
    sum /= axis.columns as f64;
    if let Some(scale) = input.priors.get(&axis.name) {
        sum += &inverse(scale, &axis.name)?;
    } else if method.prior > 0.0 {
        sum.diag_mut().iter_mut().for_each(|v| *v += 1.0 / method.prior);
    }
    let Eigen { values, vectors } = eigh(sum.view())?;
    let scale = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    nonzero(scale, &axis.name)?;
    Ok(Spectrum { e: values.iter().map(|v| v / scale).collect(), vectors, scale, explained: 1.0 })
}

/// Smallest share of the largest eigenvalue at which eigenvectors of one side give those of the other: U is
/// orthogonal to about 1e-16 over this, before it is made orthogonal to rounding.
const CONDITIONED: f64 = 1e-8;

/// Both spectra of a single table from the Gram matrix of its shorter side; `None` where that does not hold
/// (a prior, ranks, replicates, a regulariser that reads every eigenvector) or would lose digits.
fn shared(
    method: &Gmgm,
    input: &Tensors<'_>,
    structure: &Structure,
    x: &Values<'_>,
) -> Result<Option<Vec<Spectrum>>> {
    let ([first, second], 2) = (&structure.axes[..], x.ndim()) else { return Ok(None) };
    let plain = method.nonparanormal == Nonparanormal::None
        && method.prior == 0.0
        && method.regularizer == 0.0
        && input.priors.is_empty();
    if !plain {
        return Ok(None);
    }
    let x = x.view();
    let x = matricise(&x, 0);
    let wide = first.length <= second.length;
    let rows = if wide { x.view() } else { x.t() };
    let (short, long) = if wide { (first, second) } else { (second, first) };
    let Eigen { values, vectors } = eigh(gram(rows).view())?;
    let largest = values.last().copied().unwrap_or(0.0);
    nonzero(largest, &short.name)?;
    if values[0] <= CONDITIONED * largest {
        return Ok(None);
    }
    let mut turned = vectors.clone();
    turned.columns_mut().into_iter().zip(&values).for_each(|(mut v, e)| v /= e.sqrt());
    let u = matmul(rows.t(), turned.view());
    // One Newton–Schulz step, U (3I − UᵀU)/2.
    let mut correction = gram(u.t());
    correction.mapv_inplace(|v| -0.5 * v);
    correction.diag_mut().iter_mut().for_each(|v| *v += 1.5);
    let u = matmul(u.view(), correction.view());
    let spectrum = |axis: &AxisInfo, vectors: Array2<f64>| {
        let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mut e = vec![0.0; axis.length - values.len()];
        e.extend(values.iter().map(|v| v / norm));
        Spectrum { e, vectors, scale: norm / axis.columns as f64, explained: 1.0 }
    };
    let (short, long) = (spectrum(short, vectors), spectrum(long, u));
    Ok(Some(if wide { vec![short, long] } else { vec![long, short] }))
}

fn nonzero(size: f64, axis: &str) -> Result<()> {
    if size > 0.0 && size.is_finite() {
        return Ok(());
    }
    let what = format!("a finite variance along axis `{axis}`");
    Err(Error::Missing { what, hint: "the values are all zero or too large to square".into() })
}

/// Inverse of a prior's scale matrix.
fn inverse(scale: &ArrayView2<'_, f64>, axis: &str) -> Result<Array2<f64>> {
    let e = eigh(*scale)?;
    if let Some(&found) = e.values.iter().find(|v| **v <= 0.0) {
        let what = format!("the eigenvalues of the prior scale of axis `{axis}`");
        return Err(Error::Value { what, found, at: (0, 0), rule: "positive" });
    }
    Ok(e.recompose(&e.values.iter().map(|v| 1.0 / v).collect::<Vec<_>>()))
}

/// Leading components of every axis.
fn few(
    method: &Gmgm,
    structure: &Structure,
    prepared: &[Prepared<'_>],
    ctx: &mut Ctx<'_>,
) -> Result<Vec<Spectrum>> {
    let k = method.n_comps;
    let widest = structure.axes.iter().map(|a| a.length.max(a.columns)).max().unwrap_or(0);
    ctx.reserve(8 * (6 * widest * (k + 100)) as u64, "set a smaller n_comps")?;
    if let Some(axis) = structure.axes.iter().find(|a| k > a.length.min(a.columns)) {
        return Err(Error::Param {
            name: "n_comps",
            found: format!("{k} (axis `{}` has {} × {})", axis.name, axis.length, axis.columns),
            rule: "at most the smaller side of every axis' matrix",
        });
    }
    let matrix = match (prepared, &structure.axes[..]) {
        ([_], [first, second]) => first.columns == second.length && second.columns == first.length,
        _ => false,
    };
    if matrix && method.nonparanormal == Nonparanormal::None {
        // One decomposition serves both axes.
        let (a, energy) = part(&prepared[0], 0, Nonparanormal::None);
        let d = leading(&*a, k, Effort::default(), ctx.seed)?;
        let e: Vec<f64> = d.s.iter().map(|s| s * s).collect();
        let of = |l: usize, vectors| components(method, &structure.axes[l].name, e.clone(), vectors, energy);
        return Ok(vec![of(0, d.u)?, of(1, d.v)?]);
    }
    (0..structure.axes.len()).map(|l| few_of(method, structure, prepared, l, ctx)).collect()
}

/// A spectrum of leading components, normalised when asked.
fn components(method: &Gmgm, axis: &str, e: Vec<f64>, vectors: Array2<f64>, energy: f64) -> Result<Spectrum> {
    let explained = e.iter().sum::<f64>() / energy;
    let norm = e.iter().map(|v| v * v).sum::<f64>().sqrt();
    nonzero(norm, axis)?;
    let scale = if method.normalize { norm } else { 1.0 };
    Ok(Spectrum { e: e.into_iter().map(|v| v / scale).collect(), vectors, scale, explained })
}

impl Structure {
    fn positions(&self, l: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let of = move |(t, axes): (usize, &Vec<(usize, usize)>)| {
            axes.iter().find(|(_, at)| *at == l).map(|&(p, _)| (t, p))
        };
        self.tensors.iter().enumerate().filter_map(of)
    }
}

/// Leading components of axis `l`.
fn few_of(
    method: &Gmgm,
    structure: &Structure,
    prepared: &[Prepared<'_>],
    l: usize,
    ctx: &Ctx<'_>,
) -> Result<Spectrum> {
    let (k, axis) = (method.n_comps, &structure.axes[l]);
    if method.nonparanormal == Nonparanormal::Rank {
        // The skeptic is no product of anything: its square matrix has to be formed.
        ctx.reserve(8 * (4 * axis.length * axis.length) as u64, "set nonparanormal=scores")?;
        let mut sum: Array2<f64> = Array2::zeros((axis.length, axis.length));
        for (t, p) in structure.positions(l) {
            let (s, columns) = match &prepared[t] {
                Prepared::Dense(x) => {
                    let x = x.view();
                    let rows = matricise(&x, p);
                    (skeptic(rows.view()), rows.ncols())
                }
                Prepared::Sparse(x, _) if p == 0 => (sparse_skeptic(x), x.shape().1),
                Prepared::Sparse(x, _) => (sparse_skeptic(&x.transpose()), x.shape().0),
            };
            sum += &(s * columns as f64);
        }
        let all = eigh(sum.view())?;
        let first = axis.length - k;
        let vectors = all.vectors.slice(ndarray::s![.., first..]).to_owned();
        let e = all.values[first..].to_vec();
        let energy = axis.length as f64 * axis.columns as f64;
        return components(method, &axis.name, e, vectors, energy);
    }
    let parts: Vec<_> =
        structure.positions(l).map(|(t, p)| part(&prepared[t], p, method.nonparanormal)).collect();
    let energy: f64 = parts.iter().map(|(_, energy)| energy).sum();
    let beside = Beside(parts.into_iter().map(|(a, _)| a).collect());
    let d = leading(&beside, k, Effort::default(), ctx.seed.child(Draw::Init, l as u64))?;
    let e: Vec<f64> = d.s.iter().map(|s| s * s).collect();
    components(method, &axis.name, e, d.u, energy)
}

/// One matricised tensor as an operator, and its sum of squares.
fn part<'a>(x: &'a Prepared<'_>, p: usize, nonparanormal: Nonparanormal) -> (Box<dyn Operator + 'a>, f64) {
    match x {
        Prepared::Dense(x) => {
            let rows = DenseRows(match nonparanormal {
                Nonparanormal::Scores => row_scores(matricise(&x.view(), p).view()).into(),
                Nonparanormal::Code => row_scores(matricise(&x.view(), p).t()).reversed_axes().into(),
                _ => owned_or_view(x, p),
            });
            let energy = rows.0.iter().map(|v| v * v).sum();
            (Box::new(rows), energy)
        }
        Prepared::Sparse(x, mean) => {
            let (n, m) = x.shape();
            let a = match (nonparanormal, p) {
                (Nonparanormal::Scores, 0) => sparse_row_scores(x),
                (Nonparanormal::Scores, _) => sparse_row_scores(&x.transpose()),
                (Nonparanormal::Code, 0) => sparse_row_scores(&x.transpose()).t(),
                (Nonparanormal::Code, _) => sparse_row_scores(x).t(),
                (_, 0) => SparseShifted::new(x.clone().into_owned(), vec![-mean; n], vec![1.0; m]),
                (_, _) => SparseShifted::new(x.transpose(), vec![-mean; m], vec![1.0; n]),
            };
            let energy = a.energy();
            (Box::new(a), energy)
        }
    }
}

fn owned_or_view<'a>(x: &'a CowArray<'_, f64, IxDyn>, p: usize) -> CowArray<'a, f64, Ix2> {
    if x.ndim() == 2 {
        let x = x.view().into_dimensionality::<Ix2>().expect("it has two axes");
        return if p == 0 { x.into() } else { x.reversed_axes().into() };
    }
    matricise(&x.view(), p).into_owned().into()
}

/// A dense operator that may own its values.
struct DenseRows<'a>(CowArray<'a, f64, Ix2>);

impl Operator for DenseRows<'_> {
    fn shape(&self) -> (usize, usize) {
        self.0.dim()
    }
    fn apply(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        self.0.view().apply(x)
    }
    fn apply_transposed(&self, y: ArrayView2<'_, f64>) -> Array2<f64> {
        self.0.view().apply_transposed(y)
    }
}
