//! How many components a table has, judged without labels.
//!
//! *The spectrum.* Z has lines of equal energy (`scaling`), so noise without structure has singular
//! values below the Marchenko–Pastur edge √n + √m. The first component of a table without negative values
//! is its mean, with vectors of one sign, and stands above the edge always; it is taken out, the rest R is scaled to equal energies
//! again, and the singular values of R above the edge are counted (after `landa2022biwhitening`, who find
//! the rank of a count matrix by scaling rows and columns until its noise follows that law):
//!
//! ```text
//! r = #{ k : σₖ(R) > √n + √m },     rank = 1 + r
//! ```
//!
//! A first component whose vectors change sign is no mean: then R = Z and rank = r.
//!
//! *Is there low rank at all?* Dependence between rows and between columns spreads the bulk of the
//! spectrum a little beyond the edge (on data from the Kronecker-sum model itself by 2–19 %, and by up to
//! 30 % where one side is 20 to 100 times the other), where clusters and programmes stand far above it (by
//! 46 % or more on every labelled set of counts at hand). So two things are asked for, and the full model is used unless both hold:
//!
//! 1. `σ₁(R) ≥ 4/3 (√n + √m)`;
//! 2. held-out entries are predicted better with the r components than without them.
//!
//! *Held-out entries* (bi-cross-validation, `owen2009bicross`): rows and columns are split into three
//! parts; block (I, J) is predicted from the others by
//! `Ẑ(I, J) = Z(I, J') [Z(I', J')]ₖ⁺ Z(I', J)`, and
//! `R²ₖ = 1 − Σ ‖Z(I, J) − Ẑₖ(I, J)‖² / Σ ‖Z(I, J)‖²` over three blocks. Its best k is the second opinion on
//! the rank that is reported.
//!
//! | symbol | shape | meaning | name |
//! |---|---|---|---|
//! | Z | n × m | table with lines of equal energy | `z` |
//! | σ(R)/edge | min(n, m) | spectrum of what is judged over the edge | [`Evidence::ratios`] |
//! | R²ₖ | rank + 6 | held-out share explained by k components | [`Evidence::held_out`] |

use ndarray::{Array1, Array2, s};
use rand::seq::SliceRandom;

use super::scaling;
use crate::data::{Csr, Matrix};
use crate::error::Result;
use crate::fit::{Draw, Seed};
use crate::linalg::matmul;
use crate::linalg::randomized::{Operator, SparseShifted};
use crate::linalg::sparse_svd::{Leading, leading_triplets};

/// How far above the edge the leading value must stand.
pub const LEADS: f64 = 4.0 / 3.0;
/// Components looked at first, and at most, where the spectrum is not known whole.
const LOOK: (usize, usize) = (50, 400);
/// Parts that rows and columns are split into.
const PARTS: usize = 3;
/// Components beyond the rank that held-out entries judge too.
const BEYOND: usize = 5;

/// What the rank was judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// σₖ(R) / (√n + √m), descending.
    pub ratios: Vec<f64>,
    /// R²ₖ of held-out entries for k = 0, 1, …; empty where it was not needed.
    pub held_out: Vec<f64>,
    /// The number of ratios above 1, and one for the mean where there is one; at least 1.
    pub rank: usize,
    /// Whether the table counts as low rank.
    pub low: bool,
}

impl Evidence {
    /// The number of components that predicts held-out entries best.
    pub fn best_held_out(&self) -> Option<usize> {
        (0..self.held_out.len()).max_by(|&a, &b| {
            // The smaller of two equals.
            self.held_out[a].total_cmp(&self.held_out[b]).then(b.cmp(&a))
        })
    }
}

/// Judges `z`, whose leading triplets are `top`.
///
/// # Errors
/// [`crate::Error::Numeric`] when a decomposition or scaling does not settle.
pub fn judge(z: &Csr, top: &Leading, seed: Seed) -> Result<Evidence> {
    let (n, m) = z.shape();
    let edge = (n as f64).sqrt() + (m as f64).sqrt();
    let (u, v) = (top.svd.u.column(0).to_owned(), top.svd.v.column(0).to_owned());
    let one_sign = |x: &Array1<f64>| {
        let (low, high) = x.iter().fold((0.0f64, 0.0f64), |(l, h), x| (l.min(*x), h.max(*x)));
        low.abs().min(high) <= 1e-9 * high.max(low.abs())
    };
    let mean = usize::from(one_sign(&u) && one_sign(&v));
    let rest = match mean {
        1 => scaling::residual(z, top.svd.s[0], &u, &v),
        _ => Some(SparseShifted::plain(z.clone())),
    };
    let Some(rest) = rest else {
        return Ok(Evidence { rank: 1, low: false, held_out: Vec::new(), ratios: vec![0.0; n.min(m)] });
    };
    let mut look = LOOK.0;
    let ratios = loop {
        let found = leading_triplets(&rest, look, seed)?.values;
        // The last value seen is below the edge: every one above it has been seen.
        if found.len() >= n.min(m) || found.last().is_none_or(|s| *s <= edge) || look >= LOOK.1 {
            break found.into_iter().map(|s| s / edge).collect::<Vec<f64>>();
        }
        look *= 2;
    };
    drop(rest);
    let above = ratios.iter().filter(|r| **r > 1.0).count();
    let rank = (mean + above).clamp(1, n.min(m));
    let mut evidence = Evidence { rank, low: false, held_out: Vec::new(), ratios };
    if above > 0 {
        evidence.held_out = held_out(z, rank + BEYOND, seed)?;
        let at = |k: usize| evidence.held_out.get(k).or(evidence.held_out.last()).copied().unwrap_or(0.0);
        evidence.low = evidence.ratios[0] >= LEADS && at(rank) > at(mean);
    }
    Ok(evidence)
}

/// R²ₖ for k = 0, …, `most` (fewer where the parts are smaller).
///
/// # Errors
/// [`crate::Error::Numeric`] when a decomposition does not converge.
pub fn held_out(z: &Csr, most: usize, seed: Seed) -> Result<Vec<f64>> {
    let (n, m) = z.shape();
    let folds = |d: usize, item: u64| -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..d).collect();
        order.shuffle(&mut seed.stream(Draw::Shuffle, item));
        let mut folds = vec![Vec::new(); PARTS];
        order.into_iter().enumerate().for_each(|(at, i)| folds[at % PARTS].push(i));
        folds.iter_mut().for_each(|f| f.sort_unstable());
        folds
    };
    let (rows, columns) = (folds(n, 0), folds(m, 1));
    let others = |folds: &[Vec<usize>], f: usize| -> Vec<usize> {
        let mut all: Vec<usize> =
            folds.iter().enumerate().filter(|(g, _)| *g != f).flat_map(|(_, x)| x.clone()).collect();
        all.sort_unstable();
        all
    };
    let least = (n - n.div_ceil(PARTS)).min(m - m.div_ceil(PARTS));
    let most = most.min(least);
    let (mut energy, mut errors) = (0.0, vec![0.0; most + 1]);
    let whole = Matrix::Sparse(z.clone());
    for f in 0..PARTS {
        let (own, rest) = (whole.rows(&rows[f]), whole.rows(&others(&rows, f)));
        let (inside, outside) = (&columns[f], others(&columns, f));
        let block = |m: &Matrix, at: &[usize]| SparseShifted::plain(m.columns(at).to_csr());
        let (a, b) = (block(&own, inside), block(&own, &outside));
        let (c, d) = (block(&rest, inside), block(&rest, &outside));
        let top = leading_triplets(&d, most, seed)?.svd;
        // Ẑₖ = Σ_{l ≤ k} pₗ qₗᵀ / sₗ with P = B V, Q = Cᵀ U.
        let (p, q) = (b.apply(top.v.view()), c.apply_transposed(top.u.view()));
        let (pp, qq) = (matmul(p.t(), p.view()), matmul(q.t(), q.view()));
        let aq = a.apply(q.view());
        let size = a.energy();
        energy += size;
        let (mut cross, mut square) = (0.0, 0.0);
        errors[0] += size;
        for k in 0..most {
            let inverse = |l: usize| if top.s[l] > 1e-12 * top.s[0] { 1.0 / top.s[l] } else { 0.0 };
            cross += inverse(k) * p.column(k).dot(&aq.column(k));
            let beside: f64 = (0..k).map(|l| pp[[k, l]] * qq[[k, l]] * inverse(l)).sum();
            square += inverse(k) * (2.0 * beside + pp[[k, k]] * qq[[k, k]] * inverse(k));
            errors[k + 1] += size - 2.0 * cross + square;
        }
    }
    Ok(errors.into_iter().map(|e| 1.0 - e / energy).collect())
}

/// The leading `k` columns.
pub fn first(x: &Array2<f64>, k: usize) -> Array2<f64> {
    x.slice(s![.., ..k]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::svd;
    use rand_distr::{Distribution, StandardNormal};

    /// Three groups of rows, means per group and column, noise.
    fn grouped(n: usize, m: usize, strength: f64) -> Array2<f64> {
        let mut rng = Seed(9).stream(Draw::Simulate, 0);
        let mut normal = |n, m| -> Array2<f64> {
            Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng))
        };
        let (means, noise) = (normal(3, m), normal(n, m));
        Array2::from_shape_fn((n, m), |(i, j)| 4.0 + strength * means[[i % 3, j]] + noise[[i, j]])
    }

    fn judged(x: &Array2<f64>) -> Evidence {
        let t = Csr::from_dense(x.view());
        let z = scaling::of_table(&t, "X").unwrap().apply(&t);
        let top = leading_triplets(&SparseShifted::plain(z.clone()), 2, Seed(1)).unwrap();
        judge(&z, &top, Seed(1)).unwrap()
    }

    #[test]
    fn groups_are_seen_and_noise_is_not() {
        let found = judged(&grouped(90, 120, 1.0));
        assert_eq!((found.rank, found.low), (3, true), "{:?}", &found.ratios[..4]);
        assert_eq!(found.best_held_out(), Some(3));
        let noise = judged(&grouped(90, 120, 0.0));
        assert!(!noise.low, "{:?}", &noise.ratios[..4]);
        assert!(noise.ratios[0] < 1.1);
    }

    #[test]
    fn held_out_errors_are_those_of_the_definition() {
        let x = grouped(20, 26, 1.0);
        let z = Csr::from_dense(x.view());
        let seed = Seed(5);
        let fast = held_out(&z, 4, seed).unwrap();
        // The slow twin: explicit blocks, pseudo-inverses, sums of squares.
        let split = |d: usize, item: u64| {
            let mut order: Vec<usize> = (0..d).collect();
            order.shuffle(&mut seed.stream(Draw::Shuffle, item));
            let mut part = vec![0; d];
            order.into_iter().enumerate().for_each(|(at, i)| part[i] = at % PARTS);
            part
        };
        let (rows, columns) = (split(20, 0), split(26, 1));
        for k in 0..=4 {
            let (mut error, mut energy) = (0.0, 0.0);
            for f in 0..PARTS {
                let pick = |part: &[usize], inside: bool| -> Vec<usize> {
                    (0..part.len()).filter(|&i| (part[i] == f) == inside).collect()
                };
                let block = |r: bool, c: bool| {
                    x.select(ndarray::Axis(0), &pick(&rows, r)).select(ndarray::Axis(1), &pick(&columns, c))
                };
                let d = svd(block(false, false).view()).unwrap();
                let inverse =
                    Array2::from_diag(&ndarray::Array1::from_iter(d.s[..k].iter().map(|s| 1.0 / s)));
                let plus = first(&d.v, k).dot(&inverse).dot(&first(&d.u, k).t());
                let a = block(true, true);
                let gap = &a - &block(true, false).dot(&plus).dot(&block(false, true));
                error += gap.iter().map(|v| v * v).sum::<f64>();
                energy += a.iter().map(|v| v * v).sum::<f64>();
            }
            assert!((fast[k] - (1.0 - error / energy)).abs() < 1e-9, "k = {k}");
        }
    }
}
