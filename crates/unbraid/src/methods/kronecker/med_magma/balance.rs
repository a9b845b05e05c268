//! z*: the most probable Z among all row and column rescalings of Y.
//!
//! ```text
//! minimise zᵀΩz  over  Z = diag(s₁) Y diag(s₂),  s > 0,  Π s₁ = Π s₂ = 1,    ΩZ = Ψ₁Z + ZΨ₂
//! ```
//!
//! The paper calls the sub-problem in s₁ non-convex. It has an exact convex form: with Q the
//! quadratic form in s₁, the stationary points of ½sᵀQs − m Σ log s are the same up to scale and there
//! is one only. Jointly, with s = exp of (u, v),
//!
//! ```text
//! φ(u, v) = ½ zᵀΩz − m Σu − n Σv,    W = Z ∘ ΩZ
//! ∂φ/∂u = W1 − m,  ∂φ/∂v = Wᵀ1 − n          (a Sinkhorn balance of the signed matrix W)
//! ∂²φ   = [[Q₁ + diag(W1), 2W], [2Wᵀ, Q₂ + diag(Wᵀ1)]]
//! Q₁    = Ψ₁ ∘ ZZᵀ + diag(diag(Z Ψ₂ Zᵀ)),  Q₂ likewise
//! ```
//!
//! φ is unchanged along (1, −1). We take Newton steps on (u, v) by conjugate gradients and fall back
//! on the convex block steps, rows then columns, where a joint step does not descend. The two Gram
//! matrices in Q enter the second derivative only, so they are computed once per solve and rescaled.
//!
//! | symbol | shape | meaning | name |
//! |---|---|---|---|
//! | Y | n × m | quotient of X | `y` |
//! | u, v | n, m | logarithms of s₁ and s₂, mean 0 | `Scales` |
//! | W | n × m | Z ∘ ΩZ, row sums m and column sums n at z* | `Curvature::cross` |

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linalg::{self, cholesky::Cholesky};

/// Deviation of a row or column sum of W at which z* is exact for every purpose.
const BALANCED: f64 = 1e-10;
/// A Newton step leaves an error of its length times the error of the Hessian, which grows with the
/// way since the Gram matrices were computed. Below this product it is taken without another look.
const LAST_STEP: f64 = 4e-12;
/// Gram matrices are computed afresh after a step longer than this.
const FAR: f64 = 0.1;
/// Longest step in u or v.
const LONGEST: f64 = 1.0;
/// Most Newton steps.
const STEPS: usize = 300;
/// Most halvings of one Newton step.
const HALVINGS: usize = 12;
/// Most conjugate-gradient iterations in one Newton step.
const ITERATIONS: usize = 200;
/// A residual at which rounding may end the solve.
const SETTLED: f64 = 1e-7;
/// Sinkhorn sweeps before the first Newton step from a cold start.
const SWEEPS: usize = 10;
/// Scales further apart than this many e-folds mean that there is no z*.
const RUNAWAY: f64 = 80.0;

/// Logarithms of the magnitudes that take Y to Z, each of mean 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scales {
    /// Rows, length n.
    pub u: Vec<f64>,
    /// Columns, length m.
    pub v: Vec<f64>,
}

impl Scales {
    /// All magnitudes 1.
    pub fn ones(n: usize, m: usize) -> Scales {
        Scales { u: vec![0.0; n], v: vec![0.0; m] }
    }

    /// `diag(e^u) Y diag(e^v)`.
    pub fn apply(&self, y: &Array2<f64>) -> Array2<f64> {
        let v: Vec<f64> = self.v.iter().map(|v| v.exp()).collect();
        let mut z = y.clone();
        for (mut row, u) in z.rows_mut().into_iter().zip(&self.u) {
            let u = u.exp();
            row.iter_mut().zip(&v).for_each(|(z, v)| *z *= u * v);
        }
        z
    }

    /// `self + t · step`, each part of mean 0.
    fn plus(&self, t: f64, step: &Scales) -> Scales {
        let add = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + t * d).collect();
        let mut to = Scales { u: add(&self.u, &step.u), v: add(&self.v, &step.v) };
        to.centre();
        to
    }

    /// `self − other`.
    fn minus(&self, other: &Scales) -> Scales {
        self.plus(-1.0, other)
    }

    /// Largest |u| or |v|.
    fn longest(&self) -> f64 {
        self.u.iter().chain(&self.v).fold(0.0f64, |l, s| l.max(s.abs()))
    }

    fn centre(&mut self) {
        for s in [&mut self.u, &mut self.v] {
            let mean = s.iter().sum::<f64>() / s.len() as f64;
            s.iter_mut().for_each(|s| *s -= mean);
        }
    }
}

/// The two precision matrices, `None` for Ψ₁ = I, Ψ₂ = I.
pub type Precisions<'a> = Option<[&'a Array2<f64>; 2]>;

/// W and the diagonals of Q at one Z, rescaled so that zᵀΩz = nm.
struct Point {
    /// diag(e^u) Y diag(e^v), not rescaled: whoever reads it knows it up to a factor.
    z: Array2<f64>,
    /// ‖Z‖² after rescaling.
    energy: f64,
    w: Array2<f64>,
    /// W1 and Wᵀ1.
    sums: [Array1<f64>; 2],
    /// diag(Z Ψ₂ Zᵀ) and diag(Zᵀ Ψ₁ Z).
    crossed: [Array1<f64>; 2],
    /// φ at the best common scale, for u and v of mean 0: ½nm log zᵀΩz before rescaling.
    value: f64,
}

/// Sums over one block of rows of [`Point`].
struct Part {
    /// Σⱼ wᵢⱼ and Σⱼ zᵢⱼ(ZΨ₂)ᵢⱼ of each row.
    rows: Vec<[f64; 2]>,
    /// Σᵢ wᵢⱼ and Σᵢ zᵢⱼ(Ψ₁Z)ᵢⱼ of each column, over the block.
    columns: [Vec<f64>; 2],
    square: f64,
}

impl Point {
    /// W at diag(e^u) Y diag(e^v). Two products and one pass.
    fn new(y: &Array2<f64>, psi: Precisions<'_>, scales: &Scales) -> Point {
        let (n, m) = y.dim();
        let z = scales.apply(y);
        // Ψ₁Z becomes W in the pass below.
        let (mut w, right) = match psi {
            None => (z.clone(), z.clone()),
            Some([psi1, psi2]) => {
                (linalg::matmul(psi1.view(), z.view()), linalg::matmul(z.view(), psi2.view()))
            }
        };
        let (zs, rs) = (slice(&z), slice(&right));
        let part = |(b, w): (usize, &mut [f64])| {
            linalg::settle();
            let from = b * BLOCK * m;
            let mut part = Part { rows: Vec::new(), columns: [vec![0.0; m], vec![0.0; m]], square: 0.0 };
            let [all, own] = &mut part.columns;
            let lines = zs[from..].chunks_exact(m).zip(rs[from..].chunks_exact(m));
            for (w, (z, right)) in w.chunks_exact_mut(m).zip(lines) {
                for j in 0..m {
                    let left = z[j] * w[j];
                    w[j] = left + z[j] * right[j];
                    own[j] += left;
                    all[j] += w[j];
                }
                part.rows.push([w.iter().sum(), dot(z, right)]);
                part.square += dot(z, z);
            }
            part
        };
        let blocks = w.as_slice_mut().expect("row-major");
        let parts: Vec<Part> = if n * m < SMALL {
            blocks.chunks_mut(BLOCK * m).enumerate().map(part).collect()
        } else {
            blocks.par_chunks_mut(BLOCK * m).enumerate().map(part).collect()
        };
        let rows = |k: usize| -> Array1<f64> {
            parts.iter().flat_map(|p| p.rows.iter().map(move |r| r[k])).collect()
        };
        let columns = |k: usize| {
            parts.iter().fold(Array1::zeros(m), |sum: Array1<f64>, p| sum + ndarray::aview1(&p.columns[k]))
        };
        let (sums, crossed) = ([rows(0), columns(0)], [rows(1), columns(1)]);
        let energy = sums[0].sum();
        let scale = (n * m) as f64 / energy;
        w *= scale;
        Point {
            z,
            w,
            energy: scale * parts.iter().map(|p| p.square).sum::<f64>(),
            sums: sums.map(|s| s * scale),
            crossed: crossed.map(|c| c * scale),
            value: (n * m) as f64 / 2.0 * energy.ln(),
        }
    }

    /// Largest |W1/m − 1|, |Wᵀ1/n − 1|.
    fn residual(&self) -> f64 {
        let (n, m) = self.w.dim();
        let off = |sums: &Array1<f64>, to: usize| {
            sums.iter().fold(0.0f64, |r, s| r.max((s / to as f64 - 1.0).abs()))
        };
        off(&self.sums[0], m).max(off(&self.sums[1], n))
    }
}

/// ZZᵀ and ZᵀZ, up to a common factor, with the scales they belong to.
struct Known {
    grams: [Array2<f64>; 2],
    from: Scales,
}

/// ZZᵀ and ZᵀZ.
fn grams(z: &Array2<f64>) -> [Array2<f64>; 2] {
    [linalg::gram(z.view()), linalg::gram(z.t())]
}

/// All entries, row by row.
fn slice(a: &Array2<f64>) -> &[f64] {
    a.as_slice().expect("row-major")
}

/// Row i.
fn line_of(a: &Array2<f64>, i: usize) -> &[f64] {
    &slice(a)[i * a.ncols()..(i + 1) * a.ncols()]
}

/// The Hessian of φ in (u, v), in blocks.
pub struct Curvature {
    /// Q₁ + diag(W1), n × n.
    own: [Array2<f64>; 2],
    /// W, n × m.
    cross: Array2<f64>,
}

impl Curvature {
    /// At the balanced Z; two products and two Gram products.
    pub fn at(y: &Array2<f64>, psi: Precisions<'_>, scales: &Scales) -> Curvature {
        let point = Point::new(y, psi, scales);
        let known = psi.map(|_| Known { grams: grams(&point.z), from: scales.clone() });
        Curvature::new(psi, &point, known.as_ref(), scales)
    }

    /// `known` may belong to scales that `now` has left since; required where Ψ is not the identity.
    fn new(psi: Precisions<'_>, point: &Point, known: Option<&Known>, now: &Scales) -> Curvature {
        let own = [0, 1].map(|k| {
            let diagonal = &point.crossed[k] + &point.sums[k];
            let (Some(psi), Some(known)) = (psi, known) else {
                // Ψ = I: Ψ₁ ∘ ZZᵀ is the diagonal of ZZᵀ, which is what `crossed` holds as well.
                return Array2::from_diag(&(&diagonal + &point.crossed[k]));
            };
            let (gram, now, from) = (&known.grams[k], [&now.u, &now.v][k], [&known.from.u, &known.from.v][k]);
            let drift: Vec<f64> = now.iter().zip(from).map(|(a, b)| (a - b).exp()).collect();
            // tr ZZᵀ is known at both places and sets the common factor.
            let moved: f64 = gram.diag().iter().zip(&drift).map(|(g, d)| g * d * d).sum();
            let factor = point.energy / moved;
            let mut q = Array2::zeros(gram.dim());
            let d = q.ncols();
            let line = |(i, q): (usize, &mut [f64])| {
                let scale = factor * drift[i];
                let (psi, gram) = (line_of(psi[k], i), line_of(gram, i));
                for j in 0..d {
                    q[j] = psi[j] * gram[j] * (scale * drift[j]);
                }
                q[i] += diagonal[i];
            };
            let lines = q.as_slice_mut().expect("row-major");
            if d * d < SMALL {
                lines.chunks_mut(d).enumerate().for_each(line);
            } else {
                lines.par_chunks_mut(d).enumerate().for_each(line);
            }
            q
        });
        Curvature { own, cross: point.w.clone() }
    }

    /// Number of rows n; the rest of the Hessian belongs to the columns.
    pub fn rows(&self) -> usize {
        self.own[0].nrows()
    }

    /// The whole Hessian, (n + m) × (n + m).
    pub fn dense(&self) -> Array2<f64> {
        let (n, m) = self.cross.dim();
        let mut h = Array2::zeros((n + m, n + m));
        h.slice_mut(ndarray::s![..n, ..n]).assign(&self.own[0]);
        h.slice_mut(ndarray::s![n.., n..]).assign(&self.own[1]);
        h.slice_mut(ndarray::s![..n, n..]).assign(&(2.0 * &self.cross));
        h.slice_mut(ndarray::s![n.., ..n]).assign(&(2.0 * &self.cross.t()));
        h
    }

    /// The Hessian times (d, e). One pass over the blocks; fixed blocks of rows keep the bits of the
    /// sums over rows independent of the pool.
    fn apply(&self, d: &[f64], e: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (n, m) = self.cross.dim();
        let part = |b: usize| {
            linalg::settle();
            let rows = b * BLOCK..((b + 1) * BLOCK).min(n);
            let mut down = vec![0.0; m];
            let across: Vec<f64> = rows
                .map(|i| {
                    let w = line_of(&self.cross, i);
                    down.iter_mut().zip(w).for_each(|(s, w)| *s += 2.0 * d[i] * w);
                    dot(line_of(&self.own[0], i), d) + 2.0 * dot(w, e)
                })
                .collect();
            (across, down)
        };
        let own = |j: usize| {
            linalg::settle();
            dot(line_of(&self.own[1], j), e)
        };
        let blocks = n.div_ceil(BLOCK);
        let (parts, mut out_e): (Vec<_>, Vec<f64>) = if n * n + m * m + n * m < SMALL {
            ((0..blocks).map(part).collect(), (0..m).map(own).collect())
        } else {
            ((0..blocks).into_par_iter().map(part).collect(), (0..m).into_par_iter().map(own).collect())
        };
        let mut out_d = Vec::with_capacity(n);
        for (across, down) in parts {
            out_d.extend(across);
            out_e.iter_mut().zip(down).for_each(|(o, s)| *o += s);
        }
        (out_d, out_e)
    }
}

/// Rows per block of the Hessian product.
const BLOCK: usize = 64;
/// Entries below which the Hessian product stays on one thread.
const SMALL: usize = 250_000;

/// Inner product with eight running sums, which the compiler turns into vector code.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (ca, cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = ca.remainder().iter().zip(cb.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in ca.zip(cb) {
        for l in 0..LANES {
            sums[l] += a[l] * b[l];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Where a solve starts.
pub enum Start {
    /// Scales that may be far from the answer: a few Sinkhorn sweeps come first.
    Cold,
    /// Scales near the answer, with ZZᵀ and ZᵀZ there, up to a common factor, where they are known.
    Warm(Option<[Array2<f64>; 2]>),
}

/// Balances Y under Ψ, starting from `scales` and leaving u and v of z* there, each of mean 0.
///
/// # Errors
/// [`Error::Line`] naming the rows or columns whose magnitude runs away: the pattern of zeros allows
/// no balance.
pub fn balance(y: &Array2<f64>, psi: Precisions<'_>, scales: &mut Scales, start: Start) -> Result<()> {
    let (n, m) = y.dim();
    let mut known = match start {
        Start::Warm(grams) => grams.map(|grams| Known { grams, from: scales.clone() }),
        Start::Cold => {
            sinkhorn(y, scales);
            None
        }
    };
    let mut point = Point::new(y, psi, scales);
    for _ in 0..STEPS {
        let residual = point.residual();
        if residual < BALANCED {
            return Ok(());
        }
        if psi.is_some() && known.is_none() {
            known = Some(Known { grams: grams(&point.z), from: scales.clone() });
        }
        let curvature = Curvature::new(psi, &point, known.as_ref(), scales);
        let step = newton_step(&curvature, &point, residual.clamp(1e-7, 0.1));
        let longest = step.longest();
        let slope: f64 = step.u.iter().zip(&point.sums[0]).map(|(d, w)| d * (w - m as f64)).sum::<f64>()
            + step.v.iter().zip(&point.sums[1]).map(|(d, w)| d * (w - n as f64)).sum::<f64>();
        let stale = known.as_ref().map_or(0.0, |k| scales.minus(&k.from).longest());
        if longest * (longest + stale) < LAST_STEP && slope <= 0.0 {
            *scales = scales.plus(1.0, &step);
            return Ok(());
        }
        let mut t = (LONGEST / longest).min(1.0);
        let mut better = None;
        for _ in 0..HALVINGS {
            let to = scales.plus(t, &step);
            let trial = Point::new(y, psi, &to);
            // Close to the end φ is flat to rounding; a smaller residual is then the better sign.
            if slope < 0.0
                && (trial.value <= point.value + 1e-4 * t * slope || trial.residual() < residual / 2.0)
            {
                better = Some((to, trial));
                break;
            }
            t /= 2.0;
        }
        match better {
            Some((to, trial)) => {
                (*scales, point) = (to, trial);
                if t * longest > FAR {
                    known = None;
                }
            }
            None => {
                block_sweep(y, psi, scales);
                known = None;
                point = Point::new(y, psi, scales);
                if point.residual() > 0.99 * residual && residual < SETTLED {
                    return Ok(()); // rounding has the last word
                }
            }
        }
        if scales.longest() > RUNAWAY {
            return Err(unbalanced(scales));
        }
    }
    if point.residual() < SETTLED { Ok(()) } else { Err(unbalanced(scales)) }
}

/// Names the lines whose magnitude is most extreme.
fn unbalanced(scales: &Scales) -> Error {
    let most = |s: &[f64]| s.iter().fold(0.0f64, |l, s| l.max(s.abs()));
    let (axis, s) =
        if most(&scales.u) >= most(&scales.v) { ("row", &scales.u) } else { ("column", &scales.v) };
    let limit = 0.9 * most(s);
    Error::Line {
        what: "the matrix".into(),
        axis,
        at: (0..s.len()).filter(|&i| s[i].abs() >= limit).collect(),
        problem: "cannot be balanced: its non-zero values lie in too few lines of the other axis",
        hint: "drop it, or keep only features seen in more observations (`--set genes=variable:N` or \
               `genes=appendix-f`)"
            .into(),
    }
}

/// Rows and columns to equal energy in turn: z* for Ψ = I up to the last digits, O(nm) a sweep.
fn sinkhorn(y: &Array2<f64>, scales: &mut Scales) {
    for _ in 0..SWEEPS {
        for axis in 0..2 {
            let z = scales.apply(y);
            let energy = z.mapv(|z| z * z).sum_axis(Axis(1 - axis));
            let own = [&mut scales.u, &mut scales.v];
            own.into_iter()
                .nth(axis)
                .into_iter()
                .flatten()
                .zip(&energy)
                .for_each(|(s, e)| *s -= 0.5 * e.ln());
        }
        scales.centre();
    }
}

/// Solves `∂²φ (du, dv) = −∂φ` by conjugate gradients with the diagonal as preconditioner, to
/// `accuracy` of the gradient. Stops at a direction of negative curvature.
fn newton_step(curvature: &Curvature, point: &Point, accuracy: f64) -> Scales {
    let (n, m) = point.w.dim();
    let size = n + m;
    let mut r: Vec<f64> = point.sums[0].iter().map(|w| m as f64 - w).collect();
    r.extend(point.sums[1].iter().map(|w| n as f64 - w));
    let scale: Vec<f64> =
        curvature.own.iter().flat_map(|q| q.diag().to_vec()).map(|d| 1.0 / d.abs().max(1e-300)).collect();
    let precondition = |r: &[f64]| -> Vec<f64> { r.iter().zip(&scale).map(|(r, s)| r * s).collect() };
    let mut x = vec![0.0; size];
    let mut z = precondition(&r);
    let mut p = z.clone();
    let mut rz = dot(&r, &z);
    let target = rz * accuracy * accuracy;
    for _ in 0..size.min(ITERATIONS) {
        let (mut q, tail) = curvature.apply(&p[..n], &p[n..]);
        q.extend(tail);
        let pq = dot(&p, &q);
        if pq <= 1e-14 * rz {
            if x.iter().all(|x| *x == 0.0) {
                x.copy_from_slice(&p);
            }
            break;
        }
        let alpha = rz / pq;
        x.iter_mut().zip(&p).for_each(|(x, p)| *x += alpha * p);
        r.iter_mut().zip(&q).for_each(|(r, q)| *r -= alpha * q);
        z = precondition(&r);
        let new = dot(&r, &z);
        if new <= target {
            break;
        }
        let beta = new / rz;
        p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + beta * *p);
        rz = new;
    }
    let mut step = Scales { v: x.split_off(n), u: x };
    step.centre();
    step
}

/// One sweep of the convex block problems: rows given the column scales, then columns given the row
/// scales. Each is ½sᵀQs − m Σ log s in scaled variables, by damped Newton steps that cannot leave
/// s > 0; the slow twin of the joint steps.
pub fn block_sweep(y: &Array2<f64>, psi: Precisions<'_>, scales: &mut Scales) {
    for axis in 0..2 {
        let point = Point::new(y, psi, scales);
        let z = &point.z * (point.energy / point.z.iter().map(|z| z * z).sum::<f64>()).sqrt();
        let (z, other) = if axis == 0 { (z.view(), y.ncols()) } else { (z.t(), y.nrows()) };
        let mut q = quadratic(z, psi.map(|p| p[axis]), &point.crossed[axis]);
        let weight = other as f64;
        let own = [&mut scales.u, &mut scales.v].into_iter().nth(axis).into_iter().flatten();
        let mut log = vec![0.0; q.nrows()];
        for _ in 0..STEPS {
            // M = D Q D at s = 1; (M + weight I) d = weight − M1
            let g: Vec<f64> = q.rows().into_iter().map(|row| weight - row.sum()).collect();
            let mut h = q.clone();
            h.diag_mut().mapv_inplace(|d| d + weight);
            let Some(factor) = Cholesky::new(h.view()) else { break };
            let d = factor.solve(&g);
            let lambda = (dot(&g, &d).max(0.0) / weight).sqrt();
            let t = if lambda < 0.25 { 1.0 } else { 1.0 / (1.0 + lambda) };
            let s: Vec<f64> = d.iter().map(|d| 1.0 + t * d).collect();
            Zip::indexed(&mut q).for_each(|(i, j), q| *q *= s[i] * s[j]);
            log.iter_mut().zip(&s).for_each(|(l, s)| *l += s.ln());
            if lambda < 1e-12 {
                break;
            }
        }
        own.zip(log).for_each(|(s, l)| *s += l);
        scales.centre();
    }
}

/// Q = Ψ ∘ ZZᵀ + diag(crossed).
fn quadratic(z: ArrayView2<'_, f64>, psi: Option<&Array2<f64>>, crossed: &Array1<f64>) -> Array2<f64> {
    let mut q = match psi {
        Some(psi) => psi * &linalg::gram(z),
        None => Array2::from_diag(&z.mapv(|z| z * z).sum_axis(Axis(1))),
    };
    q.diag_mut().zip_mut_with(crossed, |q, c| *q += c);
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;
    use rand_distr::{Distribution, StandardNormal};

    fn random(n: usize, m: usize, zeros: f64, seed: u64) -> Array2<f64> {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_simple_fn((n, m), || -> f64 { StandardNormal.sample(&mut rng) });
        x.mapv(|v| if rng.random::<f64>() < zeros { 0.0 } else { v * rng.random::<f64>() })
    }

    fn precision(n: usize, seed: u64) -> Array2<f64> {
        linalg::gram(random(n, n, 0.0, seed).view()) * (5.0 / n as f64) + 0.2 * Array2::<f64>::eye(n)
    }

    fn energy(y: &Array2<f64>, psi: Precisions<'_>, scales: &Scales) -> f64 {
        let z = scales.apply(y);
        match psi {
            None => 2.0 * z.mapv(|z| z * z).sum(),
            Some([a, b]) => (&z * &(a.dot(&z) + z.dot(b))).sum(),
        }
    }

    #[test]
    fn joint_steps_agree_with_the_block_twin() {
        for (n, m, zeros) in [(8, 12, 0.0), (15, 15, 0.3), (30, 20, 0.2)] {
            let y = random(n, m, zeros, 1);
            let (a, b) = (precision(n, 2), precision(m, 3));
            for psi in [None, Some([&a, &b])] {
                let mut fast = Scales::ones(n, m);
                balance(&y, psi, &mut fast, Start::Cold).unwrap();
                let mut slow = Scales::ones(n, m);
                (0..400).for_each(|_| block_sweep(&y, psi, &mut slow));
                let gap = fast.minus(&slow).longest();
                assert!(gap < 1e-8, "{n} × {m}, zeros {zeros}: {gap:e}");
            }
        }
    }

    /// A general constrained optimiser: projected gradient descent on zᵀΩz over Σu = Σv = 0 with
    /// numerical derivatives, from several starts.
    #[test]
    fn it_is_the_minimum_that_a_general_optimiser_finds() {
        for seed in 1..4 {
            let (n, m) = (5, 7);
            let y = random(n, m, 0.0, seed);
            let (a, b) = (precision(n, seed + 10), precision(m, seed + 20));
            let psi = Some([&a, &b]);
            let mut found = Scales::ones(n, m);
            balance(&y, psi, &mut found, Start::Cold).unwrap();
            let at = energy(&y, psi, &found);
            for start in 0..3u64 {
                let mut rng = Seed(start).stream(Draw::Init, 0);
                let mut s = Scales::ones(n, m);
                s.u.iter_mut().chain(&mut s.v).for_each(|x| *x = 0.5 * (rng.random::<f64>() - 0.5));
                s.centre();
                let mut step = 0.1;
                for _ in 0..6000 {
                    let now = energy(&y, psi, &s).ln();
                    let slope = |pick: &dyn Fn(&mut Scales, f64)| {
                        let (mut up, mut down) = (s.clone(), s.clone());
                        pick(&mut up, 1e-6);
                        pick(&mut down, -1e-6);
                        (energy(&y, psi, &up).ln() - energy(&y, psi, &down).ln()) / 2e-6
                    };
                    let mut d = Scales {
                        u: (0..n).map(|i| -slope(&|s, h| s.u[i] += h)).collect(),
                        v: (0..m).map(|j| -slope(&|s, h| s.v[j] += h)).collect(),
                    };
                    d.centre();
                    while step > 1e-12 && !(energy(&y, psi, &s.plus(step, &d)).ln() <= now) {
                        step *= 0.5;
                    }
                    s = s.plus(step, &d);
                    step = (step * 1.3).min(1.0);
                }
                let other = energy(&y, psi, &s);
                assert!(at <= other * (1.0 + 1e-12), "seed {seed}: {at} above {other}");
                assert!((other / at - 1.0).abs() < 1e-6, "seed {seed}, start {start}: {at} and {other}");
                assert!(found.minus(&s).longest() < 1e-3);
            }
        }
    }

    #[test]
    fn derivatives_match_finite_differences() {
        let (n, m) = (6, 5);
        let y = random(n, m, 0.0, 4);
        let (a, b) = (precision(n, 5), precision(m, 6));
        let psi = Some([&a, &b]);
        let mut at = Scales::ones(n, m);
        balance(&y, psi, &mut at, Start::Cold).unwrap();
        // ½zᵀΩz in all n + m coordinates, scaled so that zᵀΩz = nm at the centre.
        let scale = (n * m) as f64 / energy(&y, psi, &at);
        let half = |s: &Scales| 0.5 * scale * energy(&y, psi, s);
        let moved = |k: usize, h: f64, l: usize, g: f64| {
            let mut s = at.clone();
            for (k, h) in [(k, h), (l, g)] {
                if k < n { s.u[k] += h } else { s.v[k - n] += h }
            }
            half(&s)
        };
        let hessian = Curvature::at(&y, psi, &at).dense();
        let point = Point::new(&y, psi, &at);
        let h = 1e-4;
        for k in 0..n + m {
            let slope = (moved(k, h, k, 0.0) - moved(k, -h, k, 0.0)) / (2.0 * h);
            let w = if k < n { point.sums[0][k] } else { point.sums[1][k - n] };
            assert!((slope - w).abs() < 1e-5, "gradient {k}");
            for l in 0..n + m {
                let second = (moved(k, h, l, h) - moved(k, h, l, -h) - moved(k, -h, l, h)
                    + moved(k, -h, l, -h))
                    / (4.0 * h * h);
                assert!(
                    (second - hessian[[k, l]]).abs() < 1e-4,
                    "{k}, {l}: {second} against {}",
                    hessian[[k, l]]
                );
            }
        }
    }

    #[test]
    fn a_pattern_without_a_balance_is_refused() {
        // Two columns seen in one row only, in a square matrix: no scales give both their share.
        let mut y = random(6, 6, 0.0, 7);
        for i in 1..6 {
            (y[[i, 0]], y[[i, 1]]) = (0.0, 0.0);
        }
        let why = balance(&y, None, &mut Scales::ones(6, 6), Start::Cold).unwrap_err().to_string();
        assert!(why.contains("cannot be balanced"), "{why}");
    }
}
