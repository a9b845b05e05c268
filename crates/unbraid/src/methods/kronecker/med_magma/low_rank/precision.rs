//! EM within precisions of low rank: z*, leading singular vectors, eigenvalue kernel.
//!
//! ```text
//! Ψ₁ = c₁ I + U diag(δ₁) Uᵀ,   Ψ₂ = c₂ I + V diag(δ₂) Vᵀ,   Z ≈ U diag(s) Vᵀ
//! ΩZ = (c₁ + c₂) Z + U diag(δ₁) (UᵀZ) + (ZV) diag(δ₂) Vᵀ,    W = Z ∘ ΩZ    on the pattern of T only
//! ```
//!
//! | symbol | shape | meaning | name |
//! |---|---|---|---|
//! | T | n × m | table, sparse | `t` |
//! | u, v | n, m | logarithms of the factors that take T to Z | [`State::scales`] |
//! | U, V | n × k, m × k | leading singular vectors of Z | [`LowRank::vectors`] |
//! | c + δ, c | k, 1 | eigenvalues of Ψ; c belongs to the n − k (m − k) others | [`LowRank`] |
//!
//! z* minimises φ(u, v) = ½ zᵀΩz − m Σu − n Σv as in [`balance`](super::super::balance), here without any
//! n × n, m × m or n × m array: the gradient is (W1 − m, Wᵀ1 − n) and a product with the Hessian is
//!
//! ```text
//! H(d, e) = sums over rows and columns of  Z ∘ Ω(Z ∘ D) + W ∘ D,   Dᵢⱼ = dᵢ + eⱼ
//! ```
//!
//! at two sparse products and one pass over the pattern, O(non-zeros · k). Newton steps by conjugate
//! gradients, halved until φ falls. Tables with zeros keep the floor of [`scaling`] in φ,
//! with the weight of the common shift c₁ + c₂.
//!
//! The kernel runs on the k leading eigenvalues s²/‖Z‖² of the two Gram matrices and one point of
//! multiplicity n − k (m − k) at 0 for the rest. With k = min(n, m) this is the full EM without a Laplace
//! term and with `energy=unit`; a test holds the two to each other.

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::{Criterion, MedMagma};
use super::scaling::{self, Scaling};
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::{Iterate, Seed, Step};
use crate::graph::edges::LowRank;
use crate::linalg::randomized::{Operator, SparseShifted};
use crate::linalg::{matmul, settle, sparse_svd::leading_triplets};

/// Deviation of a row or column sum of W at which z* is good enough.
const BALANCED: f64 = 1e-9;
/// Deviation at which the Newton steps may end early without an error.
const ACCEPTED: f64 = 1e-3;
/// Most Newton steps.
const STEPS: usize = 100;
/// Most conjugate-gradient iterations in one.
const ITERATIONS: usize = 100;
/// Most halvings of one.
const HALVINGS: usize = 30;
/// Longest Newton step in u or v.
const LONGEST: f64 = 1.0;

/// EM bound to one table.
pub struct LowRankEm<'a> {
    /// The table.
    pub t: &'a Csr,
    /// Number of components k.
    pub rank: usize,
    /// Factors at Ψ = I.
    pub start: &'a Scaling,
    /// The parameters.
    pub params: &'a MedMagma,
    /// Of the subspace iteration, where both sides are long.
    pub seed: Seed,
}

/// All that changes between steps.
#[derive(Clone, Serialize, Deserialize)]
pub struct State {
    /// u (n) and v (m).
    pub scales: [Vec<f64>; 2],
    /// Ψ₁ and Ψ₂; `None` is the identity.
    psi: Option<[LowRank; 2]>,
    /// ‖ΔΨ‖ after each sweep: absolute and relative.
    pub change: Vec<[f64; 2]>,
    /// Eigenvalues of Ψ on a clamp after the last sweep.
    pub clamped: usize,
}

impl State {
    /// Ψ₁ and Ψ₂; the identity before the first sweep.
    pub fn precisions(&self) -> [LowRank; 2] {
        match &self.psi {
            Some(psi) => psi.clone(),
            None => [0, 1].map(|k| identity(self.scales[k].len())),
        }
    }
}

fn identity(d: usize) -> LowRank {
    LowRank { shift: 1.0, vectors: Array2::zeros((d, 0)), values: Vec::new() }
}

impl Iterate for LowRankEm<'_> {
    type State = State;

    fn start(&self, _: Seed) -> Result<State> {
        let log = |s: &[f64]| s.iter().map(|s| s.ln()).collect();
        let scales = [log(&self.start.rows), log(&self.start.columns)];
        Ok(State { scales, psi: None, change: Vec::new(), clamped: 0 })
    }

    fn step(&self, state: &mut State) -> Result<Step> {
        let old = state.precisions();
        // Z := z*(Ψ₁, Ψ₂); the start is it for Ψ = I.
        if state.psi.is_some() {
            balance(self.t, &old, &mut state.scales)?;
        }
        let z = scaled(self.t, &state.scales);
        let energy: f64 = z.values().iter().map(|z| z * z).sum();
        let (n, m) = z.shape();
        // Z ≈ U diag(s) Vᵀ
        let top = leading_triplets(&SparseShifted::plain(z), self.rank, self.seed)?.svd;
        // (a, b) := kernel(s²/‖Z‖² and zeros)
        let k = top.s.len();
        let mut e: Vec<f64> = top.s.iter().map(|s| s * s / energy).collect();
        e.push(0.0);
        let weight = |d: usize| -> Vec<f64> {
            let mut w = vec![1.0; k];
            w.push((d - k) as f64);
            w
        };
        let (wn, wm) = (weight(n), weight(m));
        let strengths = self.params.kernel().weighted([(&e, &wn), (&e, &wm)]);
        let [a, b] = strengths.values;
        let new = [(top.u, a), (top.v, b)].map(|(vectors, a)| LowRank {
            shift: a[k],
            // Row by row, as a stored copy comes back: the same layout gives the same bits.
            vectors: vectors.as_standard_layout().into_owned(),
            values: a[..k].iter().map(|x| x - a[k]).collect(),
        });
        state.change.push(change(&old, &new));
        state.clamped = strengths.clamped;
        state.psi = Some(new);
        Ok(Step::Sweep(strengths.objective))
    }

    fn converged(&self, state: &State, tol: f64, _: &[f64]) -> bool {
        let part = match self.params.criterion {
            Criterion::Absolute => 0,
            Criterion::Relative => 1,
        };
        state.change.last().is_some_and(|c| c[part] < tol)
    }
}

/// `diag(e^u) T diag(e^v)`.
pub fn scaled(t: &Csr, [u, v]: &[Vec<f64>; 2]) -> Csr {
    let [u, v] = [u, v].map(|s| s.iter().map(|s| s.exp()).collect::<Vec<f64>>());
    t.map_at(|i, j, x| u[i] * x * v[j])
}

/// ‖Ψ‖² and ⟨Ψ, Φ⟩ of matrices of low rank, through k × k products.
fn inner(a: &LowRank, b: &LowRank) -> f64 {
    let trace = |p: &LowRank| -> f64 {
        p.vectors.columns().into_iter().zip(&p.values).map(|(u, d)| d * u.dot(&u)).sum()
    };
    let cross = matmul(a.vectors.t(), b.vectors.view());
    let both: f64 = cross.indexed_iter().map(|((i, j), c)| a.values[i] * b.values[j] * c * c).sum();
    a.shift * b.shift * a.vectors.nrows() as f64 + a.shift * trace(b) + b.shift * trace(a) + both
}

/// `sqrt(‖ΔΨ₁‖²/n² + ‖ΔΨ₂‖²/m²)`, and the same relative to Ψ.
fn change(old: &[LowRank; 2], new: &[LowRank; 2]) -> [f64; 2] {
    let (mut moved, mut size) = (0.0, 0.0);
    for (a, b) in old.iter().zip(new) {
        let entries = (a.vectors.nrows() as f64).powi(2);
        let own = inner(b, b);
        moved += (inner(a, a) + own - 2.0 * inner(a, b)).max(0.0) / entries;
        size += own / entries;
    }
    [moved.sqrt(), (moved / size).sqrt()]
}

/// φ, its gradient and its Hessian at one Z.
struct Point<'a> {
    psi: &'a [LowRank; 2],
    shift: f64,
    z: Csr,
    w: Csr,
    /// Lines of the floor: κ α e^{2u} (n) and β e^{2v} (m).
    floor: [Vec<f64>; 2],
    /// W1 − m and Wᵀ1 − n.
    gradient: [Vec<f64>; 2],
    value: f64,
}

/// Sums over the rows and over the columns of a sparse matrix.
fn sums(x: &Csr) -> [Vec<f64>; 2] {
    let rows = (0..x.shape().0).map(|i| x.row(i).1.iter().sum()).collect();
    let mut columns = vec![0.0; x.shape().1];
    x.entries().for_each(|(_, j, v)| columns[j] += v);
    [rows, columns]
}

/// `(ΩA) ∘ Z` on the pattern that `a` and `z` share.
fn weighted(a: &Csr, z: &Csr, psi: &[LowRank; 2], shift: f64) -> Csr {
    let op = SparseShifted::plain(a.clone());
    let [p1, p2] = psi;
    let times = |mut x: Array2<f64>, d: &[f64]| {
        x.columns_mut().into_iter().zip(d).for_each(|(mut c, d)| c *= *d);
        x
    };
    // (UᵀA)ᵀ diag(δ₁), m × k, and (AV) diag(δ₂), n × k.
    let left = times(op.apply_transposed(p1.vectors.view()), &p1.values);
    let right = times(op.apply(p2.vectors.view()), &p2.values);
    let dot =
        |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let lines: Vec<Vec<f64>> = (0..z.shape().0)
        .into_par_iter()
        .with_min_len(16)
        .map(|i| {
            settle();
            let ((at, z), (_, a)) = (z.row(i), a.row(i));
            let (u, r) = (p1.vectors.row(i), right.row(i));
            at.iter()
                .zip(z.iter().zip(a))
                .map(|(&j, (z, a))| {
                    let j = j as usize;
                    z * (shift * a + dot(u, left.row(j)) + dot(r, p2.vectors.row(j)))
                })
                .collect()
        })
        .collect();
    let mut lines = lines.iter().flatten();
    z.map(|_| *lines.next().unwrap_or(&0.0))
}

impl<'a> Point<'a> {
    fn new(t: &Csr, psi: &'a [LowRank; 2], scales: &[Vec<f64>; 2], floor: &[Vec<f64>; 2]) -> Point<'a> {
        let shift = psi[0].shift + psi[1].shift;
        let z = scaled(t, scales);
        let w = weighted(&z, &z, psi, shift);
        let lines = |k: usize, c: f64| -> Vec<f64> {
            floor[k].iter().zip(&scales[k]).map(|(f, s)| c * f * (2.0 * s).exp()).collect()
        };
        let floor = [lines(0, shift), lines(1, 1.0)];
        let total = [0, 1].map(|k| floor[k].iter().sum::<f64>());
        let (n, m) = t.shape();
        let mut gradient = sums(&w);
        let energy: f64 = gradient[0].iter().sum::<f64>() + total[0] * total[1];
        for k in 0..2 {
            let target = [m, n][k] as f64;
            gradient[k].iter_mut().zip(&floor[k]).for_each(|(g, f)| *g += f * total[1 - k] - target);
        }
        let logs = |k: usize| scales[k].iter().sum::<f64>();
        let value = 0.5 * energy - m as f64 * logs(0) - n as f64 * logs(1);
        Point { psi, shift, z, w, floor, gradient, value }
    }

    /// Largest |W1/m − 1|, |Wᵀ1/n − 1|.
    fn residual(&self) -> f64 {
        let (n, m) = self.z.shape();
        let off =
            |k: usize, to: usize| self.gradient[k].iter().fold(0.0f64, |r, g| r.max((g / to as f64).abs()));
        off(0, m).max(off(1, n))
    }

    /// H(d, e).
    fn curve(&self, d: &[Vec<f64>; 2]) -> [Vec<f64>; 2] {
        let moved = self.z.map_at(|i, j, z| z * (d[0][i] + d[1][j]));
        let mut out = sums(&weighted(&moved, &self.z, self.psi, self.shift));
        let own = sums(&self.w.map_at(|i, j, w| w * (d[0][i] + d[1][j])));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for k in 0..2 {
            let (f, g) = (&self.floor[k], &self.floor[1 - k]);
            let (whole, along) = (g.iter().sum::<f64>(), dot(g, &d[1 - k]));
            for i in 0..out[k].len() {
                out[k][i] += own[k][i] + 2.0 * f[i] * (d[k][i] * whole + along);
            }
        }
        out
    }

    /// A step that falls: conjugate gradients on `H x = −g`, ended where H does not curve upwards.
    fn step(&self, tol: f64) -> [Vec<f64>; 2] {
        let (n, m) = self.z.shape();
        // At z* the diagonal of H is near 2m for rows and 2n for columns.
        let weigh = |r: &[Vec<f64>; 2]| -> [Vec<f64>; 2] {
            [0, 1].map(|k| r[k].iter().map(|r| r / (2.0 * [m, n][k] as f64)).collect())
        };
        let dot = |a: &[Vec<f64>; 2], b: &[Vec<f64>; 2]| -> f64 {
            (0..2).map(|k| a[k].iter().zip(&b[k]).map(|(a, b)| a * b).sum::<f64>()).sum()
        };
        let add = |a: &mut [Vec<f64>; 2], c: f64, b: &[Vec<f64>; 2]| {
            (0..2).for_each(|k| a[k].iter_mut().zip(&b[k]).for_each(|(a, b)| *a += c * b));
        };
        let mut x = [vec![0.0; n], vec![0.0; m]];
        let mut r = [0, 1].map(|k| self.gradient[k].iter().map(|g| -g).collect::<Vec<f64>>());
        let mut y = weigh(&r);
        let mut p = y.clone();
        let first = dot(&r, &y);
        let mut rho = first;
        for at in 0..ITERATIONS {
            let hp = self.curve(&p);
            let curvature = dot(&p, &hp);
            if curvature <= 1e-10 * dot(&p, &p) {
                if at == 0 {
                    x = p;
                }
                break;
            }
            let alpha = rho / curvature;
            add(&mut x, alpha, &p);
            add(&mut r, -alpha, &hp);
            y = weigh(&r);
            let next = dot(&r, &y);
            if next <= tol * tol * first {
                break;
            }
            for k in 0..2 {
                p[k].iter_mut().zip(&y[k]).for_each(|(p, y)| *p = y + next / rho * *p);
            }
            rho = next;
        }
        x
    }
}

/// u and v of z* under Ψ, from where they are.
///
/// # Errors
/// [`Error::Numeric`] when the steps do not settle.
pub fn balance(t: &Csr, psi: &[LowRank; 2], scales: &mut [Vec<f64>; 2]) -> Result<()> {
    let floor = scaling::floor(t);
    let (n, m) = t.shape();
    // The common factor first: zᵀΩz = nm.
    let now = Point::new(t, psi, scales, &floor);
    let energy = now.gradient[0].iter().sum::<f64>() + (n * m) as f64;
    let common = 0.5 * ((n * m) as f64 / energy).ln();
    scales[0].iter_mut().for_each(|u| *u += common);
    let mut point = Point::new(t, psi, scales, &floor);
    for _ in 0..STEPS {
        let residual = point.residual();
        if residual < BALANCED {
            return Ok(());
        }
        let step = point.step(residual.sqrt().clamp(1e-6, 0.1));
        let longest = step.iter().flatten().fold(0.0f64, |l, s| l.max(s.abs()));
        let mut length = if longest > LONGEST { LONGEST / longest } else { 1.0 };
        let mut found = None;
        for _ in 0..HALVINGS {
            let trial = [0, 1]
                .map(|k| scales[k].iter().zip(&step[k]).map(|(s, d)| s + length * d).collect::<Vec<f64>>());
            let next = Point::new(t, psi, &trial, &floor);
            // Near z* φ is flat to rounding, so a smaller residual counts as well.
            if next.value < point.value || next.residual() < 0.5 * residual {
                found = Some((trial, next));
                break;
            }
            length *= 0.5;
        }
        match found {
            Some((trial, next)) => (*scales, point) = (trial, next),
            None if residual < ACCEPTED => return Ok(()),
            None => break,
        }
    }
    let residual = point.residual();
    if residual < ACCEPTED {
        return Ok(());
    }
    let why = format!(
        "row and column sums are still off by {residual:.1e} after {STEPS} Newton steps; `--set form=gram` needs no such balance"
    );
    Err(Error::Numeric { what: "z* under a precision of low rank", why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Draw;
    use crate::linalg::randomized::Effort;
    use rand::RngExt;
    use rand_distr::{Distribution, StandardNormal};

    fn table(n: usize, m: usize, filled: f64) -> Csr {
        let mut rng = Seed(3).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_simple_fn((n, m), || -> f64 {
            let v: f64 = StandardNormal.sample(&mut rng);
            if rng.random::<f64>() < filled { v + 1.5 } else { 0.0 }
        });
        Csr::from_dense(x.view())
    }

    fn psi(n: usize, m: usize) -> [LowRank; 2] {
        let mut rng = Seed(8).stream(Draw::Simulate, 0);
        [n, m].map(|d| {
            let x = Array2::from_shape_simple_fn((d, 3), || StandardNormal.sample(&mut rng));
            let q = crate::linalg::randomized::leading(&x.view(), 3, Effort::default(), Seed(0)).unwrap().u;
            LowRank { shift: 1.3, vectors: q, values: vec![-0.6, 0.4, -0.3] }
        })
    }

    #[test]
    fn w_gradient_and_hessian_are_those_of_the_dense_form() {
        for filled in [1.0, 0.4] {
            let (n, m) = (9, 12);
            let t = table(n, m, filled);
            let (psi, floor) = (psi(n, m), scaling::floor(&t));
            let scales = [(0..n).map(|i| 0.1 * (i as f64).sin()).collect::<Vec<f64>>(), vec![0.05; m]];
            let point = Point::new(&t, &psi, &scales, &floor);
            let z = scaled(&t, &scales).to_dense();
            let omega = psi[0].to_dense().dot(&z) + z.dot(&psi[1].to_dense());
            assert!((point.w.to_dense() - &z * &omega).iter().all(|v| v.abs() < 1e-12));
            let value = |s: &[Vec<f64>; 2]| Point::new(&t, &psi, s, &floor).value;
            let gradient = |s: &[Vec<f64>; 2]| Point::new(&t, &psi, s, &floor).gradient;
            for k in 0..2 {
                for i in 0..scales[k].len() {
                    let shifted = |h: f64| {
                        let mut s = scales.clone();
                        s[k][i] += h;
                        s
                    };
                    let h = 1e-5;
                    let slope = (value(&shifted(h)) - value(&shifted(-h))) / (2.0 * h);
                    assert!((slope - point.gradient[k][i]).abs() < 1e-6, "{slope} {}", point.gradient[k][i]);
                    let mut unit = [vec![0.0; n], vec![0.0; m]];
                    unit[k][i] = 1.0;
                    let (up, down) = (gradient(&shifted(h)), gradient(&shifted(-h)));
                    let curve = point.curve(&unit);
                    for l in 0..2 {
                        for j in 0..curve[l].len() {
                            let twin = (up[l][j] - down[l][j]) / (2.0 * h);
                            assert!((twin - curve[l][j]).abs() < 1e-5, "{twin} {}", curve[l][j]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn z_star_balances_and_magnitudes_do_not_matter_without_zeros() {
        let (n, m) = (20, 30);
        let t = table(n, m, 1.0);
        let psi = psi(n, m);
        let solve = |t: &Csr| {
            let mut scales = [vec![0.0; n], vec![0.0; m]];
            balance(t, &psi, &mut scales).unwrap();
            scaled(t, &scales).to_dense()
        };
        let z = solve(&t);
        let noisy = t.map_at(|i, j, v| v * (0.3 + i as f64) / (1.0 + j as f64));
        assert!((solve(&noisy) - &z).iter().all(|d| d.abs() < 1e-6));
        let w = &z * &(psi[0].to_dense().dot(&z) + z.dot(&psi[1].to_dense()));
        assert!(w.sum_axis(ndarray::Axis(1)).iter().all(|s| (s / m as f64 - 1.0).abs() < 1e-8));
        assert!(w.sum_axis(ndarray::Axis(0)).iter().all(|s| (s / n as f64 - 1.0).abs() < 1e-8));
    }

    #[test]
    fn change_is_that_of_the_dense_matrices() {
        let (a, b) = (psi(9, 12), [identity(9), identity(12)]);
        let dense = |p: &[LowRank; 2]| [p[0].to_dense(), p[1].to_dense()];
        let (x, y) = (dense(&a), dense(&b));
        let square = |k: usize, x: &Array2<f64>| x.iter().map(|v| v * v).sum::<f64>() / [81.0, 144.0][k];
        let moved: f64 = (0..2).map(|k| square(k, &(&x[k] - &y[k]))).sum();
        let size: f64 = (0..2).map(|k| square(k, &x[k])).sum();
        let found = change(&b, &a);
        assert!((found[0] - moved.sqrt()).abs() < 1e-12);
        assert!((found[1] - (moved / size).sqrt()).abs() < 1e-12);
    }
}
