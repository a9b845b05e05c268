//! The largest eigenvalues of a large symmetric matrix that is only multiplied with vectors.
//!
//! ```text
//! A V = V H + r e_mᵗ,    Vᵗ V = I,    H = Vᵗ A V,    H S = S Θ,    |A V s_i − θ_i V s_i| = |r| |s_mi|
//! ```
//!
//! V (n × m) grows by A v_j, made orthogonal to all columns twice; at m columns the leading Ritz vectors V S and the remainder r
//! start a new basis (thick restart, `wu2000`). Subspace iteration needs the ratio of neighbouring eigenvalues to some power, this
//! the square root of their gap: eigenvalues of neighbour graphs crowd below 1 and it is a hundred products instead of thousands.
//!
//! An eigenvalue that occurs twice inside one connected matrix is found once until rounding brings the second; blocks that are
//! known beforehand belong in `known` or in calls of their own.

use ndarray::{Array2, ArrayView2, Axis, s};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{eigh, matmul, settle};
use crate::error::Result;
use crate::fit::{Draw, Seed};

/// Entries of a vector that one task updates.
const BLOCK: usize = 4096;
/// Length of a remainder, against the largest entry of H, that is rounding.
const NOTHING: f64 = 1e-13;

/// How long to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Columns of V, m.
    pub basis: usize,
    /// Restarts at most.
    pub restarts: usize,
    /// Residual |A v − θ v| over the largest |θ| at which a pair is found.
    pub tol: f64,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { basis: 60, restarts: 40, tol: 1e-8 }
    }
}

/// Leading eigenpairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Descending.
    pub values: Vec<f64>,
    /// n × k, columns orthonormal; the entry of largest size is positive.
    pub vectors: Array2<f64>,
    /// Largest residual |A v − θ v|.
    pub residual: f64,
}

/// The `k` largest eigenvalues of a symmetric n × n matrix, and their vectors, among what is orthogonal to the rows of `known`
/// (which are orthonormal eigenvectors). `apply` writes A x. Fewer than `k` where the space is smaller.
///
/// # Errors
/// [`crate::Error::Numeric`] when the small eigenproblem does not converge (a product that is not finite).
pub fn largest(
    n: usize,
    k: usize,
    apply: &dyn Fn(&[f64], &mut [f64]),
    known: ArrayView2<'_, f64>,
    effort: Effort,
    seed: Seed,
) -> Result<Pairs> {
    let free = n.saturating_sub(known.nrows());
    let k = k.min(free);
    if k == 0 {
        return Ok(Pairs { values: Vec::new(), vectors: Array2::zeros((n, 0)), residual: 0.0 });
    }
    let m = effort.basis.max(2 * k + 2).min(free);
    let known: Vec<Vec<f64>> = known.rows().into_iter().map(|r| r.to_vec()).collect();
    let mut fresh = Fresh { drawn: 0, seed };
    let mut basis: Vec<Vec<f64>> = vec![fresh.vector(n, &known, &[])];
    let mut h = Array2::<f64>::zeros((m, m));
    let mut from = 0;
    for round in 0.. {
        let (mut rest, mut length) = (Vec::new(), 0.0);
        for j in from..m {
            let mut w = vec![0.0; n];
            apply(&basis[j], &mut w);
            let parts = orthogonalise(&mut w, &known, &basis);
            for (i, part) in parts.into_iter().enumerate() {
                (h[[i, j]], h[[j, i]]) = (part, part);
            }
            let scale = h.iter().fold(0.0f64, |top, v| top.max(v.abs()));
            length = norm(&w);
            let ended = length <= NOTHING * scale.max(f64::MIN_POSITIVE);
            w = match ended {
                // The space found so far is invariant: another start in what is left.
                true if basis.len() < free => fresh.vector(n, &known, &basis),
                true => vec![0.0; n],
                false => w.into_iter().map(|v| v / length).collect(),
            };
            if ended {
                length = 0.0;
            }
            if j + 1 < m {
                basis.push(w);
            } else {
                rest = w;
            }
        }
        let small = eigh(h.view())?;
        let top = |i: usize| m - 1 - i;
        let scale = small.values.iter().fold(0.0f64, |top, v| top.max(v.abs()));
        let residual = (0..k).map(|i| length * small.vectors[[m - 1, top(i)]].abs()).fold(0.0, f64::max);
        let done = residual <= effort.tol * scale || m == free || round == effort.restarts;
        // Half of what is not wanted is kept too: it speeds what is.
        let keep = if done { k } else { (k + (m - k) / 2).min(m - 1) };
        let turn = Array2::from_shape_fn((keep, m), |(i, j)| small.vectors[[j, top(i)]]);
        let rows = Array2::from_shape_fn((m, n), |(i, j)| basis[i][j]);
        let turned = matmul(turn.view(), rows.view());
        let values: Vec<f64> = (0..keep).map(|i| small.values[top(i)]).collect();
        if done {
            let mut vectors = turned.reversed_axes();
            vectors.columns_mut().into_iter().for_each(|mut column| {
                let far = column.iter().fold(0.0f64, |best, v| if v.abs() > best.abs() { *v } else { best });
                if far < 0.0 {
                    column.mapv_inplace(|v| -v);
                }
            });
            return Ok(Pairs { values, vectors: vectors.as_standard_layout().into_owned(), residual });
        }
        basis = turned.axis_iter(Axis(0)).map(|row| row.to_vec()).collect();
        basis.push(rest);
        h.fill(0.0);
        h.slice_mut(s![..keep, ..keep]).diag_mut().iter_mut().zip(values).for_each(|(to, v)| *to = v);
        from = keep;
    }
    unreachable!("the last round returns")
}

/// Random directions, orthogonal to what is there.
struct Fresh {
    drawn: u64,
    seed: Seed,
}

impl Fresh {
    fn vector(&mut self, n: usize, known: &[Vec<f64>], basis: &[Vec<f64>]) -> Vec<f64> {
        let mut rng = self.seed.stream(Draw::Init, self.drawn);
        self.drawn += 1;
        let mut v: Vec<f64> = StandardNormal.sample_iter(&mut rng).take(n).collect();
        orthogonalise(&mut v, known, basis);
        let length = norm(&v).max(f64::MIN_POSITIVE);
        v.iter_mut().for_each(|v| *v /= length);
        v
    }
}

/// Takes the parts along orthonormal vectors out of `w`, twice, and returns those along `basis`.
fn orthogonalise(w: &mut [f64], known: &[Vec<f64>], basis: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; basis.len()];
    let all: Vec<&[f64]> = known.iter().chain(basis).map(Vec::as_slice).collect();
    for _ in 0..2 {
        let from: &[f64] = w;
        let parts: Vec<f64> = all.par_iter().map(|v| dot(v, from)).collect();
        w.par_chunks_mut(BLOCK).enumerate().for_each(|(b, w)| {
            settle();
            for (v, part) in all.iter().zip(&parts) {
                let v = &v[b * BLOCK..][..w.len()];
                w.iter_mut().zip(v).for_each(|(w, v)| *w -= part * v);
            }
        });
        sum.iter_mut().zip(&parts[known.len()..]).for_each(|(sum, part)| *sum += part);
    }
    sum
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a8, a1) = a.as_chunks::<LANES>();
    let (b8, b1) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a8.iter().zip(b8) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    lanes.iter().sum::<f64>() + a1.iter().zip(b1).map(|(a, b)| a * b).sum::<f64>()
}

fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn symmetric(n: usize) -> Array2<f64> {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let a = Array2::from_shape_simple_fn((n, n), || rng.random::<f64>() - 0.5);
        &a + &a.t()
    }

    fn product(a: &Array2<f64>) -> impl Fn(&[f64], &mut [f64]) + '_ {
        |x, out| out.copy_from_slice(a.dot(&ndarray::aview1(x)).as_slice().unwrap())
    }

    #[test]
    fn pairs_are_those_of_the_dense_decomposition() {
        for (n, k) in [(1, 1), (2, 2), (5, 3), (40, 6), (300, 4)] {
            let a = symmetric(n);
            let all = eigh(a.view()).unwrap();
            let none = Array2::zeros((0, n));
            let effort = Effort { basis: 20, ..Effort::default() };
            let found = largest(n, k, &product(&a), none.view(), effort, Seed(2)).unwrap();
            for i in 0..k {
                assert!((found.values[i] - all.values[n - 1 - i]).abs() < 1e-9, "{n} {i}");
                let cosine = found.vectors.column(i).dot(&all.vectors.column(n - 1 - i)).abs();
                assert!(cosine > 1.0 - 1e-9, "{n} {i} {cosine}");
            }
            // What is known is left out.
            let known = all.vectors.column(n - 1).to_owned().insert_axis(Axis(0));
            let found = largest(n, k, &product(&a), known.view(), effort, Seed(2)).unwrap();
            assert_eq!(found.values.len(), k.min(n - 1));
            assert!(
                found.values.iter().zip(all.values.iter().rev().skip(1)).all(|(a, b)| (a - b).abs() < 1e-9)
            );
        }
    }

    #[test]
    fn an_invariant_start_does_not_end_it() {
        // The identity: every vector is an eigenvector, so that each step needs a new direction.
        let a = Array2::eye(12);
        let none = Array2::zeros((0, 12));
        let found = largest(12, 5, &product(&a), none.view(), Effort::default(), Seed(0)).unwrap();
        assert!(found.values.iter().all(|v| (v - 1.0).abs() < 1e-12));
        let gram = found.vectors.t().dot(&found.vectors);
        assert!((gram - Array2::<f64>::eye(5)).iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn bits_depend_on_the_seed_and_not_on_the_pool() {
        let a = symmetric(200);
        let none = Array2::zeros((0, 200));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| largest(200, 3, &product(&a), none.view(), Effort::default(), Seed(7)).unwrap())
        };
        let one = run(1);
        for threads in [2, 8] {
            let other = run(threads);
            assert_eq!((other.values, other.vectors), (one.values.clone(), one.vectors.clone()));
        }
    }
}
