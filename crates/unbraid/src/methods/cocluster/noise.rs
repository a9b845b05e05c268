//! The noise of counts: how their variance goes with their mean, and values whose variance goes with the mean alone.
//!
//! ```text
//! Var(x_ij) = φ μ_ij + α μ_ij²,   μ_ij = x_i. λ_rj,   λ_rj = Σ_{i in r} x_ij / Σ_{i in r} x_i.        r = r(i), each column by itself
//! D_rj = Σ_{i in r} (x_ij − μ_ij)²/μ_ij / (n_r − 1),   E D_rj = V_rj = φ + α m_rj,   m_rj = Σ_{i in r} x_ij / n_r
//! φ, α ≥ 0 minimise Σ (n_r − 1) ( log V_rj + D_rj/V_rj )      (variances as if D were χ²; the same optimum as of a gamma law)
//! share = Σ x α m_rj/V_rj / Σ x:    what part of the variance of a count, in the mean over all counts, grows with μ²
//! T(x) = asinh²(√(a x))/a,   a = α/φ where share > ½, else a = 0 and T(x) = x
//! ```
//!
//! | symbol | shape | meaning                                  | field   |
//! |--------|-------|------------------------------------------|---------|
//! | φ      |       | variance that goes with the mean         | `linear` |
//! | α      |       | variance that goes with its square       | `square` |
//! | λ      | g × m | rate of a column in a cluster of rows    |         |
//! | a      |       | bend of the values, one over their unit  | [`Noise::bend`] |
//!
//! Molecules that are counted each once, words and pixels have variances in proportion to their mean: α is 0 or small where counts are
//! large. Reads of amplified molecules have not: a molecule that was copied more often has all its reads multiplied, φ μ is soon
//! nothing beside α μ², and a Poisson law believes few features of large counts alone. √T is the transform that makes the variance of
//! a negative binomial constant (Anscombe 1948: `anscombe1948`), as √x does for the Poisson; so T is to the one what x is to the
//! other, with a variance in proportion to its mean, and what is written for counts reads T. It is x for x ≪ 1/a, and zeros stay
//! zeros. Where α matters less than φ to most counts the counts are left as they are: T leaves the unit of counts near 0 and 1, where no
//! transform makes a variance constant.
//!
//! Columns are by themselves, so that features which tell clusters apart are signal and not noise, and what a cluster of columns has in common is not asked.
//! Estimates within clusters of rows follow Davidian and Carroll (1987): `davidian1987`. The clusters of rows are those of
//! information-theoretic co-clustering, first of x, then of T; the sums take the entries that are not 0.

use super::itcc::Itcc;
use super::table::Joint;
use crate::data::{Csr, Matrix, Values};
use crate::error::Result;
use crate::fit::Seed;

/// Starts of the clusters of rows within which the noise is measured.
const STARTS: usize = 3;
/// Most steps of φ and α, and the change of either at which they rest.
const STEPS: usize = 2000;
const REST: f64 = 1e-7;
/// Share of the variance above which values are bent.
const MOST: f64 = 0.5;

/// How the variance of counts goes with their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// φ.
    pub linear: f64,
    /// α.
    pub square: f64,
    /// Part of a count's variance that grows with the square of the mean.
    pub share: f64,
}

/// T(x); x itself for a = 0.
pub fn bent(a: f64, x: f64) -> f64 {
    if a > 0.0 { (a * x).max(0.0).sqrt().asinh().powi(2) / a } else { x }
}

/// A column within a cluster of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    /// D.
    dispersion: f64,
    /// m.
    mean: f64,
    /// n_r − 1.
    free: f64,
    /// Σ x.
    sum: f64,
}

/// All columns within all clusters of two rows or more, those without any count left out.
fn cells(x: &Csr, labels: &[usize], clusters: usize) -> Vec<Cell> {
    let (n, m) = x.shape();
    let mut members = vec![Vec::new(); clusters];
    (0..n).for_each(|i| members[labels[i]].push(i));
    let mut out = Vec::new();
    for rows in members.iter().filter(|rows| rows.len() > 1) {
        let (mut sum, mut square, mut total) = (vec![0.0; m], vec![0.0; m], 0.0);
        for &i in rows {
            let (places, values) = x.row(i);
            let depth: f64 = values.iter().sum();
            total += depth;
            for (&j, &v) in places.iter().zip(values).filter(|(_, v)| **v > 0.0) {
                sum[j as usize] += v;
                square[j as usize] += v * v / depth;
            }
        }
        let n = rows.len() as f64;
        for (&sum, &square) in sum.iter().zip(&square).filter(|(sum, _)| **sum > 0.0) {
            // Σ (x − μ)²/μ = Σ x²/μ − Σ x, for Σ μ = Σ x.
            let dispersion = (square * total / sum - sum).max(0.0) / (n - 1.0);
            out.push(Cell { dispersion, mean: sum / n, free: n - 1.0, sum });
        }
    }
    out
}

/// Σ (n_r − 1)(log V + D/V).
#[cfg(test)]
fn misfit(cells: &[Cell], (linear, square): (f64, f64)) -> f64 {
    let one = |c: &Cell| {
        let v = linear + square * c.mean;
        c.free * (v.ln() + c.dispersion / v)
    };
    cells.iter().map(one).sum()
}

/// One step of φ and α, which does not raise the misfit: log V lies below its tangent, D/V = D/(φ + α m) below
/// D (φ₀²/φ + α₀² m/α)/V₀², and the sum of both bounds is least where φ and α are multiplied by the roots taken here.
fn step(cells: &[Cell], (linear, square): (f64, f64)) -> (f64, f64) {
    let mut sums = [0.0; 4];
    for c in cells {
        let v = linear + square * c.mean;
        let (up, down) = (c.free * c.dispersion / (v * v), c.free / v);
        sums.iter_mut().zip([up, down, up * c.mean, down * c.mean]).for_each(|(s, t)| *s += t);
    }
    (linear * (sums[0] / sums[1]).sqrt(), square * (sums[2] / sums[3]).sqrt())
}

impl Noise {
    /// Within clusters of the rows of x. Counts of which nothing can be told are taken for Poisson's.
    pub fn within(x: &Csr, labels: &[usize], clusters: usize) -> Noise {
        let cells = cells(x, labels, clusters);
        let mean = |f: &dyn Fn(&Cell) -> f64, by: &dyn Fn(&Cell) -> f64| {
            cells.iter().map(|c| f(c) * by(c)).sum::<f64>() / cells.iter().map(by).sum::<f64>()
        };
        let all = mean(&|c| c.dispersion, &|c| c.free);
        let typical = mean(&|c| c.mean, &|c| c.free);
        // Both begin with half of the variance of a typical cell.
        let mut at = (all / 2.0, all / 2.0 / typical);
        for _ in 0..STEPS {
            let new = step(&cells, at);
            let moved = (new.0 - at.0).abs() + typical * (new.1 - at.1).abs();
            at = new;
            if moved <= REST * (at.0 + typical * at.1) {
                break;
            }
        }
        let share = mean(&|c| at.1 * c.mean / (at.0 + at.1 * c.mean), &|c| c.sum);
        let good = [at.0, at.1, at.1 / at.0, share].iter().all(|v| v.is_finite());
        if good { Noise { linear: at.0, square: at.1, share } } else { Noise::POISSON }
    }

    /// φ = 1, α = 0.
    pub const POISSON: Noise = Noise { linear: 1.0, square: 0.0, share: 0.0 };

    /// Of a table without negative values and without lines of zeros, within g clusters of rows where columns have h.
    ///
    /// # Errors
    /// Those of [`Joint::new`] and of [`Itcc::labels`].
    pub fn of(x: &Csr, what: &str, (g, h): (usize, usize)) -> Result<Noise> {
        let itcc = Itcc { rows: g, cols: h, restarts: STARTS, ..Itcc::default() };
        let again = |a: f64| -> Result<Noise> {
            let matrix = Matrix::Sparse(x.map(|v| bent(a, v)));
            let joint = Joint::new(Values { what, matrix: &matrix })?;
            // The table is read alike in fits with other seeds.
            let labels = itcc.labels(&joint, Seed(0))?.0;
            Ok(Noise::within(x, &labels, g))
        };
        let first = again(0.0)?;
        if first.bend() > 0.0 { again(first.bend()) } else { Ok(first) }
    }

    /// a.
    pub fn bend(&self) -> f64 {
        if self.share > MOST { self.square / self.linear } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::cocluster::lbm::Lbm;
    use crate::metrics::coclusters::agreement;
    use crate::simulate::blocks::{BlocksDesign, BlocksSample};

    /// Molecules of a negative binomial, each read `copies` times: φ = copies, α = `square`.
    fn reads(mean: f64, square: f64, copies: f64) -> (BlocksSample, Csr) {
        let design = BlocksDesign {
            observations: 240,
            features: 160,
            rows: 4,
            cols: 4,
            mean,
            contrast: 0.8,
            spread: 0.8,
            dispersion: square,
            ..BlocksDesign::default()
        };
        let s = design.sample(Seed(3)).unwrap();
        let x = s.x.map(|v| v * copies);
        (s, x)
    }

    #[test]
    fn dispersions_are_the_plain_sums() {
        let (s, x) = reads(1.0, 0.5, 3.0);
        let dense = x.to_dense();
        let found = cells(&x, &s.rows, 4);
        let mut plain = Vec::new();
        for r in 0..4 {
            let rows: Vec<usize> = (0..240).filter(|&i| s.rows[i] == r).collect();
            let total: f64 = rows.iter().map(|&i| dense.row(i).sum()).sum();
            for j in 0..160 {
                let sum: f64 = rows.iter().map(|&i| dense[[i, j]]).sum();
                let term = |&i: &usize| {
                    let mean = dense.row(i).sum() * sum / total;
                    (dense[[i, j]] - mean).powi(2) / mean
                };
                if sum > 0.0 {
                    plain.push(rows.iter().map(term).sum::<f64>() / (rows.len() - 1) as f64);
                }
            }
        }
        assert_eq!(found.len(), plain.len());
        assert!(found.iter().zip(&plain).all(|(c, p)| (c.dispersion - p).abs() < 1e-9 * (1.0 + p)));
    }

    #[test]
    fn no_step_raises_the_misfit_and_planted_noise_is_found() {
        for (mean, square, copies) in [(1.0, 0.0, 1.0), (1.0, 0.5, 1.0), (20.0, 1.0, 10.0)] {
            let (s, x) = reads(mean, square, copies);
            let cells = cells(&x, &s.rows, 4);
            let mut at = (3.0, 3.0);
            let mut last = misfit(&cells, at);
            for _ in 0..200 {
                at = step(&cells, at);
                let now = misfit(&cells, at);
                assert!(now <= last + 1e-9 * last.abs(), "{now} after {last}");
                last = now;
            }
            let found = Noise::within(&x, &s.rows, 4);
            // Beside an α that makes nearly all of the variance φ is told less well.
            let near = if found.share > 0.9 { 0.25 } else { 0.15 };
            assert!((found.linear / copies - 1.0).abs() < near, "{found:?}");
            assert!((found.square - square).abs() < 0.05 + 0.15 * square, "{found:?}");
            // In another unit the shares are the same, and the bend is that of the unit.
            let other = Noise::within(&x.map(|v| v * 7.0), &s.rows, 4);
            assert!((other.share - found.share).abs() < 1e-4, "{other:?} {found:?}");
            assert!((other.linear / found.linear - 7.0).abs() < 0.01, "{other:?} {found:?}");
            assert_eq!(found.bend() > 0.0, mean > 1.0);
        }
    }

    #[test]
    fn bent_values_start_as_counts_and_have_variances_in_proportion_to_their_means() {
        assert_eq!((bent(0.0, 3.0), bent(2.0, 0.0)), (3.0, 0.0));
        assert!((bent(2.0, 1e-7) / 1e-7 - 1.0).abs() < 1e-6);
        let variance_over_mean = |mean: f64, a: f64| {
            let design = BlocksDesign {
                observations: 200,
                features: 50,
                rows: 1,
                cols: 1,
                mean,
                spread: 0.0,
                dispersion: 0.3,
                ..BlocksDesign::default()
            };
            let x = design.sample(Seed(8)).unwrap().x.to_dense().mapv(|v| bent(a, v));
            x.var(0.0) / x.mean().unwrap()
        };
        let range = |a: f64| variance_over_mean(200.0, a) / variance_over_mean(10.0, a);
        assert!(range(0.0) > 10.0 && (0.7..1.4).contains(&range(0.3)), "{} {}", range(0.0), range(0.3));
    }

    #[test]
    fn blocks_of_reads_are_found_in_bent_values_where_counts_as_they_are_mislead() {
        let design = BlocksDesign {
            observations: 240,
            features: 160,
            rows: 4,
            cols: 4,
            mean: 20.0,
            contrast: 0.9,
            spread: 1.5,
            dispersion: 2.0,
            ..BlocksDesign::default()
        };
        let s = design.sample(Seed(3)).unwrap();
        let x = s.x.map(|v| v * 30.0);
        let noise = Noise::of(&x, "X", (4, 4)).unwrap();
        assert!(noise.share > 0.9 && noise.bend() > 0.0, "{noise:?}");
        let found = |a: f64| {
            let matrix = Matrix::Sparse(x.map(|v| bent(a, v)));
            let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
            let phi = joint.dispersion();
            let lbm = Lbm { rows: 4, cols: 4, ..Lbm::default() };
            let labels = lbm.labels(&joint.divided(phi), Seed(1)).unwrap().0;
            agreement(&s.rows, &labels.0).unwrap().nmi
        };
        let (plain, bent) = (found(0.0), found(noise.bend()));
        assert!(bent > plain + 0.1 && bent > 0.6, "{plain} {bent}");
    }

    #[test]
    fn counts_without_noise_to_measure_are_left_alone() {
        let one = Csr::from_triplets((2, 2), vec![(0, 0, 1.0), (1, 1, 1.0)]);
        assert_eq!(Noise::within(&one, &[0, 1], 2), Noise::POISSON);
        assert_eq!(Noise::of(&one, "X", (2, 2)).unwrap().bend(), 0.0);
        let flat = Csr::from_triplets((2, 1), vec![(0, 0, 2.0), (1, 0, 2.0)]);
        assert_eq!(Noise::of(&flat, "X", (1, 1)).unwrap().bend(), 0.0);
    }
}
