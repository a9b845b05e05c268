//! The eigenvalues of the precisions: projected gradient steps on a Kronecker-sum likelihood.
//!
//! With S_ℓ = V_ℓ diag(e_ℓ) V_ℓᵀ the maximum-likelihood Ψ_ℓ has the same eigenvectors, so that only the
//! eigenvalues λ_ℓ are left to find:
//!
//! ```text
//! err(λ) = Σ_ℓ e_ℓ · λ_ℓ − Σ_γ Σ_{i, j, …} log(λ_1i + λ_2j + …)
//! ```
//!
//! The step of the published package is followed exactly: the gradient of the second sum is divided by
//! d_ℓ and a share of its mean is taken out, so it is not the gradient of `err`, and where the
//! iteration stops (a run of small relative changes of `err`) is part of the definition of the result.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::fit::{Iterate, Seed, Step};

/// Smallest eigenvalue (or sum of eigenvalues) a step may lead to.
const FLOOR: f64 = 1e-8;
/// Step sizes tried: `lr_init · 10^−k` for k below this.
const LINE_SEARCH: i32 = 20;

/// `Σ log s` and, for each axis, `Σ 1/s` over the other axes, s the sums of one eigenvalue per axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Over all combinations.
    pub log: f64,
    /// One vector per axis.
    pub inverse: Vec<Vec<f64>>,
}

/// [`Sums`] of one tensor's eigenvalues: of two long axes on Chebyshev nodes, to rounding, where the
/// eigenvalues do not spread too far for it; else over all combinations.
pub fn sums(axes: &[&[f64]]) -> Sums {
    if let [a, b] = axes
        && let Some(sums) = smooth(a, b)
    {
        return sums;
    }
    combined(axes)
}

/// Shortest axis for which nodes are fewer than eigenvalues.
const LONG: usize = 96;

/// [`Sums`] of two axes in O(N (n + m)): x ↦ Σ_j 1/(x + b_j) and Σ_j log(x + b_j) are smooth.
fn smooth(a: &[f64], b: &[f64]) -> Option<Sums> {
    if a.len().min(b.len()) < LONG {
        return None;
    }
    let (over_a, log) = transfer(a, b)?;
    let (over_b, _) = transfer(b, a)?;
    Some(Sums { log, inverse: vec![over_a, over_b] })
}

/// `Σ_j 1/(x_i + y_j)` for each i and `Σ_ij log(x_i + y_j)`, by interpolation in t = log(x + min y).
///
/// Both are analytic for |Im t| < π, so that N Chebyshev nodes on an interval of half-length h leave an
/// error of about ρ^−N, ρ = π/h + √((π/h)² + 1). The first sum is interpolated times x + min y, which
/// lies between 1 and m. `None` where more nodes were needed than a third of the shorter axis.
fn transfer(x: &[f64], y: &[f64]) -> Option<(Vec<f64>, f64)> {
    let least = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let floor = least(y);
    let (low, high) = (least(x) + floor, most(x) + floor);
    if !(low > 1e-30 && high < 1e30 && most(y) - floor < 1e30) {
        return None;
    }
    let centre = 0.5 * (low.ln() + high.ln());
    let half = (0.5 * (high.ln() - low.ln())).max(1e-9);
    let ratio = std::f64::consts::PI / half;
    let nodes = (37.0 / (ratio + (ratio * ratio + 1.0).sqrt()).ln()).ceil() as usize + 4;
    if nodes > x.len().min(y.len()) / 3 {
        return None;
    }
    // Values at the nodes.
    let turn = |k: usize| (std::f64::consts::PI * (k % (4 * nodes)) as f64 / (2 * nodes) as f64).cos();
    let turns: Vec<f64> = (0..4 * nodes).map(turn).collect();
    let mut at_nodes = Vec::with_capacity(nodes);
    for k in 0..nodes {
        let s = (centre + half * turns[2 * k + 1]).exp();
        let (mut inverse, mut log, mut product) = ([0.0; 4], 0.0, [1.0; 4]);
        let mut groups = y.chunks_exact(4);
        for (at, group) in (&mut groups).enumerate() {
            for l in 0..4 {
                let s = s + (group[l] - floor);
                inverse[l] += 1.0 / s;
                product[l] *= s;
            }
            // Eight factors from 1e-30 to 1e30 stay within the range of f64.
            if at % 8 == 7 {
                log += product.iter().map(|p| p.ln()).sum::<f64>();
                product = [1.0; 4];
            }
        }
        log += product.iter().map(|p| p.ln()).sum::<f64>();
        let mut sum: f64 = inverse.iter().sum();
        for v in groups.remainder() {
            let s = s + (v - floor);
            sum += 1.0 / s;
            log += s.ln();
        }
        at_nodes.push([sum * s, log]);
    }
    // Coefficients of the Chebyshev series, the first halved.
    let coefficients: Vec<[f64; 2]> = (0..nodes)
        .map(|m| {
            let scale = if m == 0 { 1.0 } else { 2.0 } / nodes as f64;
            let term = |part: usize| {
                let terms = at_nodes.iter().enumerate();
                scale * terms.map(|(k, f)| f[part] * turns[(m * (2 * k + 1)) % (4 * nodes)]).sum::<f64>()
            };
            [term(0), term(1)]
        })
        .collect();
    // Clenshaw's recursion, eight points at a time.
    let (mut over, mut total) = (Vec::with_capacity(x.len()), 0.0);
    for group in x.chunks(8) {
        let mut u = [0.0; 8];
        for (u, x) in u.iter_mut().zip(group) {
            *u = (((x + floor).ln() - centre) / half).clamp(-1.0, 1.0);
        }
        let (mut one, mut two) = ([[0.0; 8]; 2], [[0.0; 8]; 2]);
        for c in coefficients[1..].iter().rev() {
            for part in 0..2 {
                for l in 0..8 {
                    let next = c[part] + 2.0 * u[l] * one[part][l] - two[part][l];
                    two[part][l] = one[part][l];
                    one[part][l] = next;
                }
            }
        }
        for (l, x) in group.iter().enumerate() {
            let value = |part: usize| coefficients[0][part] + u[l] * one[part][l] - two[part][l];
            over.push(value(0) / (x + floor));
            total += value(1);
        }
    }
    Some((over, total))
}

/// [`Sums`] over all combinations; blocks of the first axis run in parallel and are added in order.
fn combined(axes: &[&[f64]]) -> Sums {
    let (first, rest) = axes.split_first().expect("a tensor has a learnt axis");
    let Some((last, middle)) = rest.split_last() else {
        let inverse = vec![first.iter().map(|v| 1.0 / v).collect()];
        return Sums { log: first.iter().map(|v| v.ln()).sum(), inverse };
    };
    let lowest: f64 = axes.iter().map(|a| a.iter().copied().fold(f64::INFINITY, f64::min)).sum();
    let highest: f64 = axes.iter().map(|a| a.iter().copied().fold(f64::NEG_INFINITY, f64::max)).sum();
    // The logarithm of a product of eight costs an eighth; it must not leave the range of f64.
    let group = if lowest > 1e-35 && highest < 1e35 { 8 } else { 1 };
    let combinations: usize = middle.iter().map(|a| a.len()).product();
    let of_block = |block: &[f64]| {
        crate::linalg::settle();
        let mut out = Sums { log: 0.0, inverse: axes.iter().map(|a| vec![0.0; a.len()]).collect::<Vec<_>>() };
        out.inverse[0].truncate(block.len());
        let mut digits = vec![0usize; middle.len()];
        for (i, &x) in block.iter().enumerate() {
            digits.fill(0);
            for _ in 0..combinations {
                let base = x + digits.iter().zip(middle).map(|(&k, a)| a[k]).sum::<f64>();
                let (heads, tail) = out.inverse.split_at_mut(axes.len() - 1);
                let (log, inverse) = along(base, last, &mut tail[0], group);
                out.log += log;
                heads[0][i] += inverse;
                heads[1..].iter_mut().zip(&digits).for_each(|(h, &k)| h[k] += inverse);
                // The next combination of the middle axes.
                for (k, a) in digits.iter_mut().zip(middle).rev() {
                    *k += 1;
                    if *k < a.len() {
                        break;
                    }
                    *k = 0;
                }
            }
        }
        out
    };
    const BLOCKS: usize = 16;
    let blocks: Vec<&[f64]> = first.chunks(first.len().div_ceil(BLOCKS).max(1)).collect();
    let work = first.len() * combinations * last.len();
    let parts: Vec<Sums> = if work < 1 << 15 {
        blocks.into_iter().map(of_block).collect()
    } else {
        blocks.into_par_iter().map(of_block).collect()
    };
    let mut out = Sums { log: 0.0, inverse: axes.iter().map(|a| vec![0.0; a.len()]).collect() };
    out.inverse[0].clear();
    for part in parts {
        out.log += part.log;
        out.inverse[0].extend_from_slice(&part.inverse[0]);
        for (to, from) in out.inverse[1..].iter_mut().zip(&part.inverse[1..]) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        }
    }
    out
}

/// Adds `1 / (base + z)` to `out`; returns `Σ log(base + z)` and `Σ 1 / (base + z)`.
fn along(base: f64, z: &[f64], out: &mut [f64], group: usize) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut log, mut inverse, mut product) = (0.0, [0.0; LANES], [1.0; LANES]);
    let mut held = 0;
    let (mut z8, mut out8) = (z.chunks_exact(LANES), out.chunks_exact_mut(LANES));
    for (z, out) in (&mut z8).zip(&mut out8) {
        for l in 0..LANES {
            let s = base + z[l];
            let r = 1.0 / s;
            out[l] += r;
            inverse[l] += r;
            product[l] *= s;
        }
        held += 1;
        if held == group {
            log += product.iter().map(|p| p.ln()).sum::<f64>();
            (product, held) = ([1.0; LANES], 0);
        }
    }
    if held > 0 {
        log += product.iter().map(|p| p.ln()).sum::<f64>();
    }
    let mut sum: f64 = inverse.iter().sum();
    for (&z, out) in z8.remainder().iter().zip(out8.into_remainder()) {
        let s = base + z;
        *out += 1.0 / s;
        sum += 1.0 / s;
        log += s.ln();
    }
    (log, sum)
}

/// The problem: eigenvalues of the Gram matrices, which tensor has which axis, and how to step.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Eigenvalues e_ℓ of each axis.
    pub e: Vec<Vec<f64>>,
    /// The axes of each tensor.
    pub tensors: Vec<Vec<usize>>,
    /// Axes with a Wishart prior.
    pub prior: Vec<bool>,
    /// Weight ρ of the regulariser and its target for each eigenvalue.
    pub regularizer: Option<(f64, Vec<Vec<f64>>)>,
    /// Regularise from the first step on.
    pub always_regularize: bool,
    /// Keep every λ positive, and not only the sums.
    pub force_posdef: bool,
    /// Refuse steps that raise the objective.
    pub check_overstep: bool,
    /// Share of its value that an eigenvalue keeps at least; 0 is no bound.
    pub damping: f64,
    /// First step size tried in each step.
    pub lr_init: f64,
    /// A relative change of the objective below this is small.
    pub tol: f64,
    /// How many small changes in a row end the iteration.
    pub max_small_steps: usize,
}

/// What changes from step to step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Eigenvalues λ_ℓ of the precisions.
    pub values: Vec<Vec<f64>>,
    /// [`Sums`] of each tensor at `values`.
    sums: Vec<Sums>,
    /// Objective of the last step; infinite before the first.
    previous: f64,
    /// Small changes in a row.
    small: usize,
    /// Whether the regulariser is on.
    regularizing: bool,
    /// Whether the stop rule was met.
    done: bool,
}

impl Kernel {
    fn sums(&self, values: &[Vec<f64>]) -> Vec<Sums> {
        let of = |axes: &Vec<usize>| sums(&axes.iter().map(|&l| values[l].as_slice()).collect::<Vec<_>>());
        self.tensors.iter().map(of).collect()
    }

    /// `Σ e · λ − Σ_γ Σ log(…)`.
    fn objective(&self, values: &[Vec<f64>], sums: &[Sums]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let trace: f64 = self.e.iter().zip(values).map(|(e, v)| dot(e, v)).sum();
        trace - sums.iter().map(|s| s.log).sum::<f64>()
    }

    /// diff_ℓ = ½ [e_ℓ − Σ_γ proj_γℓ − (prior: 1/λ_ℓ once per tensor)], with
    /// proj = inverse / d_ℓ − (1 − 1/K) mean(inverse / d_ℓ).
    fn direction(&self, state: &State) -> Vec<Vec<f64>> {
        let mut diff = self.e.clone();
        for (axes, sums) in self.tensors.iter().zip(&state.sums) {
            let share = 1.0 - 1.0 / axes.len() as f64;
            for (&l, inverse) in axes.iter().zip(&sums.inverse) {
                let d = inverse.len() as f64;
                let offset = share * inverse.iter().map(|v| v / d).sum::<f64>() / d;
                for ((to, v), lambda) in diff[l].iter_mut().zip(inverse).zip(&state.values[l]) {
                    *to -= v / d - offset;
                    if self.prior[l] {
                        *to -= 1.0 / lambda;
                    }
                }
            }
        }
        diff.iter_mut().flatten().for_each(|v| *v /= 2.0);
        diff
    }

    /// Smallest eigenvalue, or smallest sum of eigenvalues in any tensor.
    fn lowest(&self, values: &[Vec<f64>]) -> f64 {
        let least = |l: usize| values[l].iter().copied().fold(f64::INFINITY, f64::min);
        let of = |axes: &Vec<usize>| match self.force_posdef {
            true => axes.iter().map(|&l| least(l)).fold(f64::INFINITY, f64::min),
            false => axes.iter().map(|&l| least(l)).sum(),
        };
        self.tensors.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    /// Whether every positive eigenvalue keeps its share.
    fn is_gentle(&self, old: &[Vec<f64>], new: &[Vec<f64>]) -> bool {
        let pairs = || old.iter().flatten().zip(new.iter().flatten());
        self.damping == 0.0 || pairs().all(|(&old, &new)| new >= self.damping * old || old <= 0.0)
    }

    /// The first step size whose result is allowed: the size, the eigenvalues and their sums.
    fn line_search(&self, state: &State) -> Option<(f64, Vec<Vec<f64>>, Vec<Sums>)> {
        let diff = self.direction(state);
        for k in 0..LINE_SEARCH {
            let size = self.lr_init / 10f64.powi(k);
            let moved = |(v, d): (&Vec<f64>, &Vec<f64>)| v.iter().zip(d).map(|(v, d)| v - size * d).collect();
            let trial: Vec<Vec<f64>> = state.values.iter().zip(&diff).map(moved).collect();
            // A comparison with NaN is false, so NaN is refused as well.
            if self.lowest(&trial) > FLOOR && self.is_gentle(&state.values, &trial) {
                let sums = self.sums(&trial);
                if !self.check_overstep || self.objective(&trial, &sums) <= state.previous {
                    return Some((size, trial, sums));
                }
            }
        }
        None
    }
}

impl Iterate for Kernel {
    type State = State;

    fn start(&self, _: Seed) -> Result<State> {
        let values: Vec<Vec<f64>> = self.e.iter().map(|e| vec![1.0; e.len()]).collect();
        let regularizing = self.always_regularize && self.regularizer.is_some();
        let sums = self.sums(&values);
        Ok(State { values, sums, previous: f64::INFINITY, small: 0, regularizing, done: false })
    }

    fn step(&self, state: &mut State) -> Result<Step> {
        let found = self.line_search(state);
        let stuck = found.is_none();
        let mut size = self.lr_init / 10f64.powi(LINE_SEARCH - 1);
        if let Some((taken, values, sums)) = found {
            (size, state.values, state.sums) = (taken, values, sums);
        }
        let objective = self.objective(&state.values, &state.sums);
        if let (true, Some((rho, target))) = (state.regularizing, &self.regularizer) {
            // λ := (λ + t ρ shift) / (1 + t ρ)
            let rho = size * rho;
            for (values, target) in state.values.iter_mut().zip(target) {
                values.iter_mut().zip(target).for_each(|(v, t)| *v = (*v + rho * t) / (1.0 + rho));
            }
            state.sums = self.sums(&state.values);
        }
        let tol = if state.regularizing && !self.always_regularize { self.tol / 10.0 } else { self.tol };
        let change = (state.previous - objective).abs();
        state.previous = objective;
        if stuck {
            state.small = self.max_small_steps;
        } else if change / objective.abs() < tol {
            state.small += 1;
        } else {
            state.small = 0;
        }
        if state.small >= self.max_small_steps {
            if self.regularizer.is_some() && !state.regularizing {
                (state.regularizing, state.small) = (true, 0);
            } else {
                state.done = true;
            }
        }
        Ok(Step::Sweep(objective))
    }

    fn converged(&self, state: &State, _: f64, _: &[f64]) -> bool {
        state.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Draw;
    use ndarray::Array2;
    use rand::RngExt;

    fn random(n: usize, seed: u64) -> Vec<f64> {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        (0..n).map(|_| rng.random_range(0.1..3.0)).collect()
    }

    fn naive(axes: &[&[f64]]) -> Sums {
        let sizes: Vec<usize> = axes.iter().map(|a| a.len()).collect();
        let mut out = Sums { log: 0.0, inverse: sizes.iter().map(|&n| vec![0.0; n]).collect() };
        for at in ndarray::indices(sizes).into_iter() {
            let s: f64 = axes.iter().enumerate().map(|(l, a)| a[at[l]]).sum();
            out.log += s.ln();
            (0..axes.len()).for_each(|l| out.inverse[l][at[l]] += 1.0 / s);
        }
        out
    }

    #[test]
    fn sums_agree_with_the_loops_for_one_to_four_axes() {
        let all: Vec<Vec<f64>> =
            [21, 18, 5, 9].iter().enumerate().map(|(s, &n)| random(n, s as u64)).collect();
        let wide = [random(300, 7), random(211, 8)];
        let mut cases: Vec<Vec<&[f64]>> =
            (1..=4).map(|k| all[..k].iter().map(Vec::as_slice).collect()).collect();
        cases.push(wide.iter().map(Vec::as_slice).collect());
        for axes in cases {
            let (fast, slow) = (sums(&axes), naive(&axes));
            assert!((fast.log - slow.log).abs() < 1e-10 * slow.log.abs().max(1.0));
            for (f, s) in fast.inverse.iter().flatten().zip(slow.inverse.iter().flatten()) {
                assert!((f - s).abs() < 1e-10 * s);
            }
        }
        // Far outside the range in which products are safe.
        for spread in [0.0, 1e-12, 1.0, 6.0, 20.0] {
            let apart = |n: usize, seed| random(n, seed).iter().map(|v| (spread * v).exp() * 1e-3).collect();
            let (a, b): (Vec<f64>, Vec<f64>) = (apart(300, 9), apart(211, 10));
            let (fast, slow) = (sums(&[&a, &b]), naive(&[&a, &b]));
            assert_eq!(smooth(&a, &b).is_some(), spread < 3.0, "{spread}");
            assert!((fast.log - slow.log).abs() < 1e-12 * slow.log.abs().max(1.0));
            for (f, s) in fast.inverse.iter().flatten().zip(slow.inverse.iter().flatten()) {
                assert!((f - s).abs() < 1e-12 * s, "{spread}: {f} {s}");
            }
        }
        let (tiny, huge) = (vec![1e-200; 9], vec![1e200; 9]);
        assert!((sums(&[&tiny, &tiny]).log - 81.0 * 2e-200f64.ln()).abs() < 1e-8);
        assert!((sums(&[&huge, &tiny]).log - 81.0 * 1e200f64.ln()).abs() < 1e-8);
    }

    #[test]
    fn inverse_sums_are_the_gradient_of_the_log_determinant() {
        let axes = [random(6, 1), random(5, 2), random(4, 3)];
        let of = |axes: &[Vec<f64>]| sums(&axes.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let exact = of(&axes);
        let h = 1e-5;
        for l in 0..3 {
            for i in 0..axes[l].len() {
                let (mut up, mut down) = (axes.clone(), axes.clone());
                up[l][i] += h;
                down[l][i] -= h;
                let slope = (of(&up).log - of(&down).log) / (2.0 * h);
                assert!((slope - exact.inverse[l][i]).abs() < 1e-8 * slope.abs());
            }
        }
    }

    #[test]
    fn the_objective_is_the_explicit_kronecker_likelihood() {
        let (a, b) = (random(3, 4), random(4, 5));
        let (e1, e2) = (random(3, 6), random(4, 7));
        let kernel = Kernel {
            e: vec![e1.clone(), e2.clone()],
            tensors: vec![vec![0, 1]],
            prior: vec![false; 2],
            regularizer: None,
            always_regularize: false,
            force_posdef: true,
            check_overstep: false,
            damping: 0.0,
            lr_init: 1.0,
            tol: 1e-3,
            max_small_steps: 5,
        };
        let values = vec![a.clone(), b.clone()];
        let found = kernel.objective(&values, &kernel.sums(&values));
        // Ω = Ψ1 ⊕ Ψ2 = Ψ1 ⊗ I + I ⊗ Ψ2 with random eigenvectors; tr(S Ψ) and log det Ω written out.
        let basis = |n, seed| {
            let x = Array2::from_shape_vec((n, n), random(n * n, seed)).unwrap();
            crate::linalg::eigh(crate::linalg::gram(x.view()).view()).unwrap()
        };
        let (v1, v2) = (basis(3, 8), basis(4, 9));
        let (psi1, psi2) = (v1.recompose(&a), v2.recompose(&b));
        let omega = Array2::from_shape_fn((12, 12), |(r, c)| {
            let (i, j, k, l) = (r / 4, r % 4, c / 4, c % 4);
            let same = |x: usize, y: usize| f64::from(u8::from(x == y));
            psi1[[i, k]] * same(j, l) + same(i, k) * psi2[[j, l]]
        });
        let log_det: f64 = crate::linalg::eigh(omega.view()).unwrap().values.iter().map(|v| v.ln()).sum();
        let trace = (v1.recompose(&e1) * &psi1).sum() + (v2.recompose(&e2) * &psi2).sum();
        assert!((found - (trace - log_det)).abs() < 1e-10);
    }

    #[test]
    fn bits_do_not_depend_on_the_pool() {
        let (a, b) = (random(400, 1), random(300, 2));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sums(&[&a, &b]))
        };
        let one = run(1);
        assert_eq!(run(2), one);
        assert_eq!(run(8), one);
    }
}
