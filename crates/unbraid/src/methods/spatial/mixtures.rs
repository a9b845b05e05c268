//! The mixtures X of cells at given metagenes.
//!
//! With H = MᵗM and h_i = Mᵗ(y_i − M β^t), both in units of σ_t²:
//!
//! ```text
//! alone        x_i = argmin ½ xᵗH x − h_iᵗx over x ≥ 0
//! in a tissue  (s_i, z_i) = argmin ½ s² zᵗH z − s h_iᵗz + λ_x s + zᵗ Λ ν_i,    s ≥ s_min, z on the simplex, ν_i = Σ_{j~i} z_j
//! ```
//!
//! Alone is an exact program of K unknowns ([`Quadratic`]). In a tissue the size s = max(s_min, (h_iᵗz − λ_x)/zᵗHz) and z, again an
//! exact program, take turns within a cell; cells of one colour are no neighbours of each other and change side by side. Each of these steps lowers
//!
//! ```text
//! E(X) = Σ_i [ ½ s² zᵗH z − s h_iᵗz + λ_x s ] + ½ Σ_i z_iᵗ Λ ν_i.
//! ```
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | X      | N × K | x_i = s_i z_i |
//! | YM     | N × K | expression times metagenes |
//! | σ²     | T     | noise of each slice |
//!
//! The authors' program subtracts λ_x/2 where the minimum of E wants λ_x, and visits random independent sets.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::neighbours::Neighbours;
use super::quadratic::Quadratic;

/// Least size of a cell.
pub const LEAST: f64 = 1e-5;
/// Cells that are worth a thread.
const TOGETHER: usize = 64;
/// Turns of size and mixture within a cell.
const TURNS: usize = 3;

/// What the mixtures are fitted to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// MᵗM of all slices, or of each; K × K.
    pub grams: &'a [Array2<f64>],
    /// YM, N × K.
    pub projected: ArrayView2<'a, f64>,
    /// MᵗM β, T × K.
    pub offset: ArrayView2<'a, f64>,
    /// σ², by slice.
    pub noise: &'a [f64],
    /// Slice of each cell.
    pub batch: &'a [usize],
    /// λ_x.
    pub penalty: f64,
}

impl Target<'_> {
    fn linear(&self, i: usize, h: &mut [f64]) {
        let rows = self.projected.row(i).into_iter().zip(self.offset.row(self.batch[i]));
        h.iter_mut().zip(rows).for_each(|(h, (y, o))| *h = y - o);
    }

    /// MᵗM of every slice, row by row.
    fn grams(&self) -> Vec<Vec<f64>> {
        let flat = |t: usize| self.grams[t.min(self.grams.len() - 1)].iter().copied().collect();
        (0..self.noise.len()).map(flat).collect()
    }
}

/// X of every cell by itself, warm from the X given.
pub fn alone(target: &Target<'_>, x: &mut Array2<f64>) {
    let k = x.ncols();
    let grams = target.grams();
    let cells: Vec<_> = x.rows_mut().into_iter().enumerate().collect();
    cells.into_par_iter().with_min_len(TOGETHER).for_each_init(
        || (Quadratic::default(), vec![0.0; k], vec![0.0; k]),
        |(room, h, here), (i, mut x)| {
            target.linear(i, h);
            let penalty = target.penalty * target.noise[target.batch[i]];
            h.iter_mut().for_each(|h| *h -= penalty);
            here.iter_mut().zip(&x).for_each(|(to, x)| *to = *x);
            room.orthant(&grams[target.batch[i]], 1.0, h, here);
            x.iter_mut().zip(&*here).for_each(|(x, v)| *x = *v);
        },
    );
}

/// Sizes and mixtures of X; a cell without any has the mixture 1/K.
pub fn parts(x: &Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let k = x.ncols() as f64;
    let mut z = x.clone();
    let mut sizes = Vec::with_capacity(x.nrows());
    for mut row in z.rows_mut() {
        let s = row.sum();
        match s > 0.0 {
            true => row /= s,
            false => row.fill(1.0 / k),
        }
        sizes.push(s);
    }
    (sizes, z)
}

/// Rounds over all cells until no mixture moves by more than `tol`, at most `most`; returns how many, and the last move.
/// `affinity` is Λ of each slice.
pub fn in_tissue(
    target: &Target<'_>,
    affinity: &[&Array2<f64>],
    neighbours: &Neighbours,
    sizes: &mut [f64],
    z: &mut Array2<f64>,
    most: usize,
    tol: f64,
) -> (usize, f64) {
    let k = z.ncols();
    let grams = target.grams();
    let mut moved = f64::INFINITY;
    for round in 0..most {
        moved = 0.0;
        for colour in &neighbours.colours {
            let read = &*z;
            let one = |(room, h, pull, here): &mut (Quadratic, Vec<f64>, Vec<f64>, Vec<f64>), &i: &u32| {
                let i = i as usize;
                let t = target.batch[i];
                let (over, gram) = (1.0 / target.noise[t], &grams[t][..]);
                target.linear(i, h);
                h.iter_mut().for_each(|h| *h *= over);
                // Λ ν
                let nu = &mut *here;
                nu.fill(0.0);
                for &j in neighbours.of(i) {
                    nu.iter_mut().zip(read.row(j as usize)).for_each(|(n, z)| *n += z);
                }
                for (pull, row) in pull.iter_mut().zip(affinity[t].rows()) {
                    *pull = row.iter().zip(&*nu).map(|(a, n)| a * n).sum();
                }
                here.iter_mut().zip(read.row(i)).for_each(|(to, z)| *to = *z);
                for _ in 0..TURNS {
                    let s = size(gram, over, h, target.penalty, here);
                    let before = here.clone();
                    let linear: Vec<f64> = h.iter().zip(&*pull).map(|(h, p)| s * h - p).collect();
                    room.simplex(gram, s * s * over, &linear, here);
                    if before.iter().zip(&*here).all(|(a, b)| (a - b).abs() <= 0.1 * tol) {
                        break;
                    }
                }
                (size(gram, over, h, target.penalty, here), here.clone())
            };
            let found: Vec<(f64, Vec<f64>)> = colour
                .par_iter()
                .with_min_len(TOGETHER)
                .map_init(|| (Quadratic::default(), vec![0.0; k], vec![0.0; k], vec![0.0; k]), one)
                .collect();
            for (&i, (s, new)) in colour.iter().zip(found) {
                sizes[i as usize] = s;
                for (z, new) in z.row_mut(i as usize).iter_mut().zip(new) {
                    moved = f64::max(moved, (*z - new).abs());
                    *z = new;
                }
            }
        }
        if moved <= tol {
            return (round + 1, moved);
        }
    }
    (most, moved)
}

/// s of a cell at its z.
fn size(gram: &[f64], over: f64, h: &[f64], penalty: f64, z: &[f64]) -> f64 {
    let k = z.len();
    let (mut square, mut along) = (0.0, -penalty);
    for i in 0..k {
        square += z[i] * over * (0..k).map(|j| gram[i * k + j] * z[j]).sum::<f64>();
        along += h[i] * z[i];
    }
    if square > 0.0 { (along / square).max(LEAST) } else { LEAST }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// E(X) of the cells in a tissue.
    fn energy(
        target: &Target<'_>,
        affinity: &[&Array2<f64>],
        neighbours: &Neighbours,
        sizes: &[f64],
        z: &Array2<f64>,
    ) -> f64 {
        let k = z.ncols();
        let mut h = vec![0.0; k];
        let mut sum = 0.0;
        for i in 0..z.nrows() {
            let (t, s, own) = (target.batch[i], sizes[i], z.row(i));
            target.linear(i, &mut h);
            let over = 1.0 / target.noise[t];
            for a in 0..k {
                sum += over * s * own[a] * (0.5 * s * target.grams[t].row(a).dot(&own) - h[a]);
            }
            sum += target.penalty * s;
            for &j in neighbours.of(i) {
                sum += 0.5 * own.dot(&affinity[t].dot(&z.row(j as usize)));
            }
        }
        sum
    }

    #[test]
    fn rounds_lower_the_energy_and_end_where_no_cell_can_do_better() {
        for seed in 0..30 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let (n, g, k) = (30, 12, 2 + seed as usize % 6);
            let mut table = |r, c| Array2::from_shape_simple_fn((r, c), || rng.random::<f64>());
            let (m, y, mut x, beta) = (table(g, k), table(n, g), table(n, k), 0.1 * table(2, k));
            let affinity = 8.0 * (table(k, k) - 0.5);
            let affinity = &affinity + &affinity.t();
            // The second slice has metagenes of its own.
            let other = &m + &(0.3 * table(g, k));
            let (first, second) = (y.slice(ndarray::s![..15, ..]), y.slice(ndarray::s![15.., ..]));
            let projected = ndarray::concatenate![ndarray::Axis(0), first.dot(&m), second.dot(&other)];
            let grams = [m.t().dot(&m), other.t().dot(&other)];
            let offset =
                ndarray::stack![ndarray::Axis(0), beta.row(0).dot(&grams[0]), beta.row(1).dot(&grams[1])];
            let batch: Vec<usize> = (0..n).map(|i| i / 15).collect();
            let target = Target {
                grams: &grams,
                projected: projected.view(),
                offset: offset.view(),
                noise: &[0.2, 0.5],
                batch: &batch,
                penalty: 0.05,
            };
            let edges: Vec<(u32, u32)> = (0..29).filter(|i| *i != 14).map(|i| (i, i + 1)).collect();
            let neighbours = Neighbours::from_edges(n, edges);
            let all = [&affinity, &affinity];
            alone(&target, &mut x);
            let (mut sizes, mut z) = parts(&x);
            sizes.iter_mut().for_each(|s| *s = s.max(LEAST));
            let mut before = energy(&target, &all, &neighbours, &sizes, &z);
            for _ in 0..60 {
                in_tissue(&target, &all, &neighbours, &mut sizes, &mut z, 1, 0.0);
                let after = energy(&target, &all, &neighbours, &sizes, &z);
                assert!(after <= before + 1e-10 * (1.0 + before.abs()), "{seed}: {before} {after}");
                before = after;
            }
            let (rounds, moved) = in_tissue(&target, &all, &neighbours, &mut sizes, &mut z, 2000, 1e-10);
            assert!(moved <= 1e-10, "{seed}: {rounds} {moved}");
            // The slow twin: no small move of one cell inside its set lowers the energy.
            let best = energy(&target, &all, &neighbours, &sizes, &z);
            for i in (0..n).step_by(7) {
                for a in 0..k {
                    let mut other = z.clone();
                    other.row_mut(i).mapv_inplace(|v| (1.0 - 1e-4) * v);
                    other[[i, a]] += 1e-4;
                    for share in [0.999, 1.0, 1.001] {
                        let mut s = sizes.clone();
                        s[i] = (s[i] * share).max(LEAST);
                        let there = energy(&target, &all, &neighbours, &s, &other);
                        assert!(there >= best - 1e-9 * (1.0 + best.abs()), "{seed} {i} {a}: {best} {there}");
                    }
                }
            }
        }
    }
}
