//! The spatial affinity Λ of a group of slices.
//!
//! ```text
//! f(Λ) = (1/W) Σ_t Σ_{i in t} β_t [ z_iᵗ Λ ν_i + log Z(Λ ν_i) ] + λ_Λ/2 |Λ|² + λ̄/2 |Λ − Λ̄|²,    ν_i = Σ_{j~i} z_j,
//! ∇f = (1/W) Σ β_t (z_i − E_i[z]) ν_iᵗ + λ_Λ Λ + λ̄ (Λ − Λ̄),   made symmetric,    W = Σ_t β_t · edges of t counted from both ends.
//! ```
//!
//! f is convex, log Z being the logarithm of a Laplace transform, and is minimised over symmetric Λ by BFGS ([`crate::linalg::lbfgs`]). At
//! the minimum, but for the ridges, neighbours meet as often as the model expects them to. A positive entry keeps two metagenes apart.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | Z, z_i | N × K | mixtures on the simplex |
//! | Λ      | K × K | symmetric; Λ̄ the mean of the groups |
//! | ν_i    | K     | sum of the mixtures of the neighbours of cell i |
//!
//! POPARI, `popari`, and the specification of its update in the thesis (`shah2025`).

use ndarray::Array2;
use rayon::prelude::*;

use super::neighbours::Neighbours;
use super::partition::log_partition;
use crate::linalg::lbfgs::{self, Course};
use crate::linalg::{matmul, matmul_alone, settle};

/// Cells whose sums are taken one after another.
const BLOCK: usize = 512;

/// Fields ν of the cells of a group that have neighbours.
#[derive(Clone, Debug)]
pub struct Fields {
    /// ν, cells × K.
    nu: Array2<f64>,
    /// Σ_i z_i ν_iᵗ, symmetric.
    together: Array2<f64>,
    edges: f64,
}

impl Fields {
    /// Fields of the cells in `cells`, rising, from the mixtures of all cells.
    pub fn new(z: &Array2<f64>, neighbours: &Neighbours, cells: &[usize]) -> Fields {
        let k = z.ncols();
        let with: Vec<usize> = cells.iter().copied().filter(|&i| !neighbours.of(i).is_empty()).collect();
        let mut nu = Array2::zeros((with.len(), k));
        for (mut nu, &i) in nu.rows_mut().into_iter().zip(&with) {
            for &j in neighbours.of(i) {
                nu += &z.row(j as usize);
            }
        }
        let own = z.select(ndarray::Axis(0), &with);
        let together = matmul(own.t(), nu.view());
        let together = 0.5 * (&together + &together.t());
        let edges = with.iter().map(|&i| neighbours.of(i).len()).sum::<usize>() as f64;
        Fields { nu, together, edges }
    }

    /// Edges counted from both ends.
    pub fn edges(&self) -> f64 {
        self.edges
    }

    /// Σ_i [zᵗΛν + log Z(Λν)], and its gradient in Λ, symmetric.
    pub fn energy(&self, affinity: &Array2<f64>) -> (f64, Array2<f64>) {
        let (n, k) = self.nu.dim();
        let blocks: Vec<usize> = (0..n).step_by(BLOCK).collect();
        let one = |&from: &usize| {
            settle();
            let nu = self.nu.slice(ndarray::s![from..(from + BLOCK).min(n), ..]);
            let eta = matmul_alone(nu, affinity.view());
            let mut means = Array2::zeros(eta.dim());
            let log = match (eta.as_slice(), means.as_slice_mut()) {
                (Some(eta), Some(means)) => log_partition(eta, k, means),
                _ => f64::NAN,
            };
            (log, matmul_alone(means.t(), nu))
        };
        let parts: Vec<(f64, Array2<f64>)> = blocks.par_iter().map(one).collect();
        let mut sum = (affinity * &self.together).sum();
        let mut expected = Array2::zeros((k, k));
        for (log, part) in parts {
            sum += log;
            expected += &part;
        }
        (sum, &self.together - &(0.5 * (&expected + &expected.t())))
    }
}

/// Ridges of an update.
#[derive(Clone, Copy, Debug)]
pub struct Ridges<'a> {
    /// λ_Λ.
    pub own: f64,
    /// λ̄ and Λ̄.
    pub mean: Option<(f64, &'a Array2<f64>)>,
}

/// f and its gradient for slices with weights β.
pub fn objective(
    slices: &[(f64, &Fields)],
    ridges: Ridges<'_>,
    affinity: &Array2<f64>,
) -> (f64, Array2<f64>) {
    let whole: f64 = slices.iter().map(|(beta, fields)| beta * fields.edges()).sum();
    let over = if whole > 0.0 { 1.0 / whole } else { 0.0 };
    let mut value = 0.5 * ridges.own * affinity.iter().map(|v| v * v).sum::<f64>();
    let mut gradient = ridges.own * affinity;
    if let Some((weight, mean)) = ridges.mean {
        let off = affinity - mean;
        value += 0.5 * weight * off.iter().map(|v| v * v).sum::<f64>();
        gradient += &(weight * &off);
    }
    for (beta, fields) in slices {
        let (energy, slope) = fields.energy(affinity);
        value += over * beta * energy;
        gradient += &(over * beta * slope);
    }
    (value, gradient)
}

/// Moves Λ, symmetric, to the minimum of f: until no entry of the gradient is above `tol`, by at most `most` steps.
pub fn update(
    slices: &[(f64, &Fields)],
    ridges: Ridges<'_>,
    affinity: &mut Array2<f64>,
    most: usize,
    tol: f64,
) -> Course {
    let shape = affinity.dim();
    let mut flat: Vec<f64> = affinity.iter().copied().collect();
    let of = |x: &[f64], out: &mut [f64]| {
        let here = Array2::from_shape_fn(shape, |(i, j)| x[i * shape.1 + j]);
        let (value, gradient) = objective(slices, ridges, &here);
        out.iter_mut().zip(&gradient).for_each(|(o, g)| *o = *g);
        value
    };
    let course = lbfgs::minimise(of, &mut flat, most, tol);
    affinity.iter_mut().zip(&flat).for_each(|(a, f)| *a = *f);
    course
}

/// Where Λ starts: minus the correlation of metagenes across edges, made symmetric, less its mean, times `scale`.
pub fn start(z: &Array2<f64>, neighbours: &Neighbours, cells: &[usize], scale: f64) -> Array2<f64> {
    let k = z.ncols();
    let pairs: Vec<(usize, usize)> =
        cells.iter().flat_map(|&i| neighbours.of(i).iter().map(move |&j| (i, j as usize))).collect();
    let n = pairs.len() as f64;
    if pairs.len() < 2 {
        return Array2::zeros((k, k));
    }
    // Every edge is there both ways, so that both ends have one mean and one spread.
    let mut mean = ndarray::Array1::<f64>::zeros(k);
    pairs.iter().for_each(|&(i, _)| mean += &z.row(i));
    mean /= n;
    let mut spread = ndarray::Array1::<f64>::zeros(k);
    let mut product = Array2::<f64>::zeros((k, k));
    for &(i, j) in &pairs {
        let (a, b) = (&z.row(i) - &mean, &z.row(j) - &mean);
        spread += &(&a * &a);
        for (mut row, a) in product.rows_mut().into_iter().zip(&a) {
            row.scaled_add(*a, &b);
        }
    }
    let sd = spread.mapv(|v| (v / (n - 1.0)).sqrt().max(1e-12));
    let mut out = Array2::from_shape_fn((k, k), |(a, b)| {
        -(product[[a, b]] + product[[b, a]]) / (2.0 * n * sd[a] * sd[b])
    });
    let mean = out.mean().unwrap_or(0.0);
    out.mapv_inplace(|v| scale * (v - mean));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn case(seed: u64, k: usize) -> (Array2<f64>, Neighbours) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let n = 40;
        let mut z = Array2::from_shape_simple_fn((n, k), || rng.random::<f64>().powi(3));
        z.rows_mut().into_iter().for_each(|mut r| {
            let sum = r.sum();
            r /= sum;
        });
        let edges: Vec<(u32, u32)> = (0..70)
            .map(|_| ((rng.random::<f64>() * 39.9) as u32, (rng.random::<f64>() * 39.9) as u32))
            .collect();
        (z, Neighbours::from_edges(n, edges))
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (z, neighbours) = case(1, 4);
        let all: Vec<usize> = (0..40).collect();
        let fields = Fields::new(&z, &neighbours, &all);
        let mean = Array2::from_elem((4, 4), 0.3);
        let ridges = Ridges { own: 0.01, mean: Some((0.02, &mean)) };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let mut affinity = Array2::from_shape_simple_fn((4, 4), || 6.0 * rng.random::<f64>() - 3.0);
        affinity = &affinity + &affinity.t();
        let (_, gradient) = objective(&[(0.7, &fields)], ridges, &affinity);
        for a in 0..4 {
            for b in 0..=a {
                let at = |h: f64| {
                    let mut moved = affinity.clone();
                    moved[[a, b]] += h;
                    if a != b {
                        moved[[b, a]] += h;
                    }
                    objective(&[(0.7, &fields)], ridges, &moved).0
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                let right = gradient[[a, b]] * if a == b { 1.0 } else { 2.0 };
                assert!((slope - right).abs() < 1e-8 * (1.0 + right.abs()), "{a} {b}: {slope} {right}");
            }
        }
    }

    #[test]
    fn updates_reach_the_minimum_and_never_rise() {
        for seed in 0..20 {
            let k = 2 + seed as usize % 9;
            let (z, neighbours) = case(seed, k);
            let cells: Vec<usize> = (0..40).collect();
            let (first, second) = cells.split_at(25);
            let fields = [Fields::new(&z, &neighbours, first), Fields::new(&z, &neighbours, second)];
            let slices = [(0.5, &fields[0]), (0.5, &fields[1])];
            let ridges = Ridges { own: 1e-4, mean: None };
            let mut affinity = start(&z, &neighbours, &cells, 10.0);
            let mut before = objective(&slices, ridges, &affinity).0;
            for _ in 0..3 {
                let course = update(&slices, ridges, &mut affinity, 2, 0.0);
                assert!(course.value <= before, "{seed}: {before} {course:?}");
                before = course.value;
            }
            let course = update(&slices, ridges, &mut affinity, 2000, 1e-9);
            assert!(course.slope <= 1e-9, "{seed}: {course:?}");
            // The slow twin: plain descent from another start ends in the same place.
            if seed < 4 {
                let mut other = Array2::<f64>::zeros((k, k));
                for _ in 0..100_000 {
                    let (_, gradient) = objective(&slices, ridges, &other);
                    other.scaled_add(-8.0, &gradient);
                    if gradient.iter().all(|g| g.abs() < 1e-12) {
                        break;
                    }
                }
                let gap = (&other - &affinity).iter().fold(0.0, |m: f64, g| m.max(g.abs()));
                let size = affinity.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
                assert!(gap < 1e-4 * size.max(1.0), "{seed}: {gap} of {size}");
                let there = objective(&slices, ridges, &other).0;
                assert!((there - course.value).abs() < 1e-8, "{there} {course:?}");
            }
        }
    }
}
