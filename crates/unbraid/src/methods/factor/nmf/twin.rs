//! The halves in plain loops over the measured entries of one line, and the halves on hundreds of odd tables.

use ndarray::Array2;
use rand::RngExt;

use super::Solver;
use super::sweep::{How, sweep};
use super::table::{sides, stored};
use crate::data::{Csr, Matrix};
use crate::fit::{Draw, Seed};
use crate::methods::factor::common::{Loss, TINY};

/// A line's measured entries: values and rows of F.
type Measured = Vec<(f64, Vec<f64>)>;

fn fitted(v: &[f64], f: &[f64]) -> f64 {
    v.iter().zip(f).map(|(v, f)| v * f).sum()
}

fn loss_of(loss: Loss, line: &Measured, v: &[f64]) -> f64 {
    line.iter().map(|(x, f)| loss.of(*x, fitted(v, f))).sum()
}

/// `passes` rounds of exact minima of ½ vᵀ G v − vᵀ (r + G v₀), r the negative slope at v₀.
fn descend(gram: &[Vec<f64>], r: &mut [f64], v: &mut [f64], passes: usize) {
    for _ in 0..passes {
        for a in 0..v.len() {
            let new = match gram[a][a] {
                g if g > 1e-290 => (v[a] + r[a] / g).max(0.0),
                _ if r[a] < 0.0 => 0.0,
                _ => v[a],
            };
            for b in 0..v.len() {
                r[b] -= gram[a][b] * (new - v[a]);
            }
            v[a] = new;
        }
    }
}

fn gram_of(line: &Measured, k: usize, weight: impl Fn(f64, &[f64]) -> f64) -> Vec<Vec<f64>> {
    let entry = |a: usize, b: usize| line.iter().map(|(x, f)| weight(*x, f) * f[a] * f[b]).sum();
    (0..k).map(|a| (0..k).map(|b| entry(a, b)).collect()).collect()
}

fn squares(line: &Measured, v: &[f64], solver: Solver, passes: usize) -> Vec<f64> {
    let k = v.len();
    let gram = gram_of(line, k, |_, _| 1.0);
    let b: Vec<f64> = (0..k).map(|a| line.iter().map(|(x, f)| x * f[a]).sum()).collect();
    let down: Vec<f64> = gram.iter().map(|row| fitted(row, v)).collect();
    let mut v = v.to_vec();
    if solver == Solver::Multiplicative {
        (0..k).for_each(|a| v[a] *= b[a] / (down[a] + TINY));
    } else {
        let mut r: Vec<f64> = b.iter().zip(&down).map(|(b, d)| b - d).collect();
        descend(&gram, &mut r, &mut v, passes);
    }
    v
}

fn divergence(line: &Measured, v: &[f64], solver: Solver, passes: usize) -> Vec<f64> {
    let k = v.len();
    let c: Vec<f64> = (0..k).map(|a| line.iter().map(|(_, f)| f[a]).sum()).collect();
    let total: f64 = line.iter().map(|(x, _)| x).sum();
    let mut v = v.to_vec();
    if solver == Solver::Coordinate {
        let reach = fitted(&c, &v);
        let whole: f64 = c.iter().sum();
        match reach {
            r if r > 0.0 && (total / r).is_finite() => v.iter_mut().for_each(|v| *v *= total / r),
            _ => v.fill(if whole > 0.0 { total / whole } else { 0.0 }),
        }
    }
    let z = |v: &[f64], f: &[f64]| fitted(v, f) + TINY;
    let s: Vec<f64> = (0..k).map(|a| line.iter().map(|(x, f)| f[a] * x / z(&v, f)).sum()).collect();
    if solver == Solver::Multiplicative {
        return (0..k).map(|a| v[a] * s[a] / (c[a] + TINY)).collect();
    }
    let gram = gram_of(line, k, |x, f| x / z(&v, f) / z(&v, f));
    let mut r: Vec<f64> = s.iter().zip(&c).map(|(s, c)| s - c).collect();
    let start: Vec<f64> = r.clone();
    let mut target = v.clone();
    descend(&gram, &mut r, &mut target, passes);
    let delta: Vec<f64> = target.iter().zip(&v).map(|(t, v)| t - v).collect();
    let first = -fitted(&start, &delta);
    let at = |t: f64| -> Vec<f64> { v.iter().zip(&delta).map(|(v, d)| (v + t * d).max(0.0)).collect() };
    if first >= 0.0 {
        return v;
    }
    let mut t = 1.0;
    for _ in 0..40 {
        let slope: f64 = fitted(&c, &delta)
            - line
                .iter()
                .map(|(x, f)| {
                    x * fitted(&delta, f) / ((fitted(&v, f) + t * fitted(&delta, f)).max(0.0) + TINY)
                })
                .sum::<f64>();
        if slope <= -1e-12 * first {
            return at(t);
        }
        t *= (0.97 * first / (first - slope)).clamp(0.1, 0.97);
    }
    v
}

/// A table with zeros, empty lines and missing entries, a factor and a start, both with zeros.
struct Odd {
    x: Array2<f64>,
    f: Array2<f64>,
    v: Array2<f64>,
}

fn odd(item: u64, dense: bool, gaps: bool, zeros: bool) -> Odd {
    let mut rng = Seed(17).stream(Draw::Simulate, item);
    let mut size = |most: usize| 1 + (rng.random::<f64>() * most as f64) as usize;
    // Now and then longer than a chunk.
    let (n, p) = (size(20), if item.is_multiple_of(7) { 120 + size(160) } else { size(30) });
    let least = n.min(p);
    let k = [1, least, size(least)][item as usize % 3];
    let filled = if dense { 0.8 } else { 0.3 };
    let spread = [0.5, 3.0][item as usize % 2];
    let mut draw = |n: usize, m: usize, share: f64| {
        Array2::from_shape_simple_fn((n, m), || match rng.random::<f64>() < share {
            true => (spread * (rng.random::<f64>() + rng.random::<f64>() - 1.0)).exp(),
            false => 0.0,
        })
    };
    let share = if zeros { 0.7 } else { 1.0 };
    let (mut x, f, v) = (draw(n, p, filled), draw(p, k, share), draw(n, k, share));
    if n > 3 {
        x.row_mut(n / 2).fill(0.0);
    }
    if p > 3 {
        x.column_mut(p / 2).fill(0.0);
    }
    if gaps {
        let mut gap = |_: usize| rng.random::<f64>() < 0.15;
        x.iter_mut().enumerate().filter(|(i, _)| gap(*i)).for_each(|(_, v)| *v = f64::NAN);
    }
    Odd { x, f, v }
}

fn measured(odd: &Odd, i: usize) -> Measured {
    let row = odd.x.row(i);
    row.iter().zip(odd.f.rows()).filter(|(x, _)| !x.is_nan()).map(|(&x, f)| (x, f.to_vec())).collect()
}

const LOSSES: [Loss; 2] = [Loss::Kl, Loss::Frobenius];
const SOLVERS: [Solver; 2] = [Solver::Coordinate, Solver::Multiplicative];

fn half(
    odd: &Odd,
    form: &Matrix,
    loss: Loss,
    solver: Solver,
    passes: usize,
    turned: bool,
) -> (Array2<f64>, f64) {
    let mut v = odd.v.clone();
    let matrix = if turned { form.transpose() } else { form.clone() };
    let (matrix, tally) = stored(&matrix);
    let (samples, features) = sides(&matrix, tally, loss, 1.0);
    let how = How { loss, solver, passes, measured: true };
    let total = sweep(how, if turned { &features } else { &samples }, odd.f.view(), None, &mut v);
    (v, total)
}

#[test]
fn halves_are_those_of_plain_loops_with_zeros_and_missing_entries_left_out() {
    for item in 0..60 {
        for (dense, gaps) in [(true, false), (true, true), (false, false), (false, true)] {
            let odd = odd(item, dense, gaps, false);
            let forms = [Matrix::Dense(odd.x.clone()), Matrix::Sparse(Csr::from_dense(odd.x.view()))];
            for (loss, solver) in LOSSES.into_iter().flat_map(|l| SOLVERS.map(|s| (l, s))) {
                // The rule that ends the passes looks at eight lines at once; two passes come before it.
                let [(v, total), (same, other)] =
                    forms.each_ref().map(|m| half(&odd, m, loss, solver, 2, false));
                assert_eq!(v, same, "{item} {loss} {solver}");
                // The squares of a table are summed in the order in which it is stored.
                assert!((total - other).abs() <= 1e-13 * (1.0 + total.abs()), "{total} {other}");
                let (turned, _) = half(&odd, &forms[0], loss, solver, 2, true);
                let mut sum = 0.0;
                for i in 0..v.nrows() {
                    let line = measured(&odd, i);
                    let start = odd.v.row(i).to_vec();
                    let twin = match loss {
                        Loss::Kl => divergence(&line, &start, solver, 2),
                        Loss::Frobenius => squares(&line, &start, solver, 2),
                    };
                    let size = twin.iter().fold(1e-3, |m: f64, v| m.max(*v));
                    for a in 0..twin.len() {
                        for found in [v[[i, a]], turned[[i, a]]] {
                            let gap = (found - twin[a]).abs() / size;
                            assert!(gap < 1e-7, "{item} {loss} {solver} {i} {a}: {found} {}", twin[a]);
                        }
                    }
                    sum += loss_of(loss, &line, &v.row(i).to_vec());
                }
                assert!((sum - total).abs() <= 1e-9 * (1.0 + sum.abs()), "{item} {loss}: {sum} {total}");
            }
        }
    }
}

#[test]
fn no_half_raises_the_loss_of_any_line() {
    for item in 0..400 {
        for (dense, gaps) in [(true, false), (true, true), (false, false), (false, true)] {
            let odd = odd(item, dense, gaps, item % 4 == 1);
            let matrix = Matrix::Dense(odd.x.clone());
            for (loss, solver) in LOSSES.into_iter().flat_map(|l| SOLVERS.map(|s| (l, s))) {
                let (v, _) = half(&odd, &matrix, loss, solver, 10, false);
                for i in 0..v.nrows() {
                    let line = measured(&odd, i);
                    let (before, after) = (
                        loss_of(loss, &line, &odd.v.row(i).to_vec()),
                        loss_of(loss, &line, &v.row(i).to_vec()),
                    );
                    let size: f64 = line.iter().map(|(x, _)| loss.of(0.0, *x)).sum();
                    assert!(v.row(i).iter().all(|v| v.is_finite() && *v >= 0.0));
                    assert!(
                        after <= before + 1e-12 * (size + before.abs()),
                        "{item} {loss} {solver} line {i}: {after} after {before}"
                    );
                }
            }
        }
    }
}
