//! The quotient map: what is left of X when row and column magnitudes are divided out.
//!
//! X = diag(r) Z diag(c) has log|X| = log r + log|Z| + log c, so removing row and column effects from
//! the logarithms of the non-zero entries gives a Y that does not depend on r and c:
//!
//! ```text
//! L = log|X| on the non-zeros,   L̃ᵢⱼ = Lᵢⱼ − uᵢ − vⱼ,   Y = sign(X) exp(L̃),   zeros stay zero
//! ```
//!
//! Without zeros u and v are row and column means (minus the grand mean once) and Y is exactly
//! invariant. With zeros the authors keep the one-shot means over the non-zeros
//! ([`Quotient::Skip`]), which is invariant only approximately; [`Quotient::Exact`] fits u and v by
//! least squares on the pattern, which is invariant exactly. z* lies on the same fibre either way, so
//! the networks differ by the overall scale of Z only.

use ndarray::Array2;

use super::balance::Scales;
use crate::data::Values;
use crate::error::{Error, Result};

/// How row and column effects are taken from the logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotient {
    /// Means over the non-zeros, in one shot (the authors' code).
    Skip,
    /// Least squares on the pattern of non-zeros.
    Exact,
}

crate::words!(Quotient, "a quotient", Skip = "skip", Exact = "exact");

/// Largest change of an effect at which the least-squares fit ends.
const SETTLED: f64 = 1e-13;
/// Most sweeps of the least-squares fit; its rate depends on the pattern, not on the values.
const SWEEPS: usize = 5000;

/// Y = f(X), dense, n × m, and the logarithms of what was divided out: X = diag(e^u) Y diag(e^v).
///
/// # Errors
/// [`Error::Line`] naming the rows or columns that hold no non-zero value: their magnitude is not
/// defined.
pub fn quotient(x: Values<'_>, how: Quotient) -> Result<(Array2<f64>, Scales)> {
    let (n, m) = x.matrix.shape();
    let (mut in_row, mut in_column) = (vec![0.0; n], vec![0.0; m]);
    let mut entries = Vec::with_capacity(x.matrix.nonzeros());
    x.matrix.for_each_nonzero(|i, j, v| {
        in_row[i] += 1.0;
        in_column[j] += 1.0;
        entries.push((i as u32, j as u32, v.abs().ln()));
    });
    for (axis, counts) in [("row", &in_row), ("column", &in_column)] {
        let at: Vec<usize> = (0..counts.len()).filter(|&i| counts[i] == 0.0).collect();
        if !at.is_empty() {
            let hint = "drop it first, or add `--set empty=drop`".to_owned();
            return Err(Error::Line {
                what: x.what.to_owned(),
                axis,
                at,
                problem: "holds no non-zero value, so its magnitude is not defined",
                hint,
            });
        }
    }
    let (mut u, mut v) = (vec![0.0; n], vec![0.0; m]);
    let full = entries.len() == n * m;
    if full || how == Quotient::Skip {
        for &(i, j, l) in &entries {
            u[i as usize] += l / in_row[i as usize];
            v[j as usize] += l / in_column[j as usize];
        }
        let mean = entries.iter().map(|e| e.2).sum::<f64>() / entries.len() as f64;
        v.iter_mut().for_each(|v| *v -= mean);
    } else {
        for _ in 0..SWEEPS {
            let moved = sweep(&entries, &mut u, &v, &in_row, |e| (e.0, e.1)).max(sweep(
                &entries,
                &mut v,
                &u,
                &in_column,
                |e| (e.1, e.0),
            ));
            if moved < SETTLED {
                break;
            }
        }
    }
    let mut y = Array2::zeros((n, m));
    let mut at = entries.iter();
    x.matrix.for_each_nonzero(|i, j, value| {
        let (_, _, l) = at.next().expect("the pattern was read before");
        y[[i, j]] = value.signum() * (l - u[i] - v[j]).exp();
    });
    Ok((y, Scales { u, v }))
}

/// `mine := mean over my entries of (L − theirs)`; the largest change.
fn sweep(
    entries: &[(u32, u32, f64)],
    mine: &mut [f64],
    theirs: &[f64],
    count: &[f64],
    split: impl Fn(&(u32, u32, f64)) -> (u32, u32),
) -> f64 {
    let mut sums = vec![0.0; mine.len()];
    for e in entries {
        let (a, b) = split(e);
        sums[a as usize] += e.2 - theirs[b as usize];
    }
    let mut moved = 0.0f64;
    for ((old, sum), count) in mine.iter_mut().zip(sums).zip(count) {
        let new = sum / count;
        moved = moved.max((new - *old).abs());
        *old = new;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;
    use crate::fit::{Draw, Seed};
    use rand::RngExt;
    use rand_distr::{Distribution, StandardNormal};

    /// A random matrix with a share of zeros, and the same with rows and columns rescaled.
    fn pair(n: usize, m: usize, zeros: f64) -> (Matrix, Matrix) {
        let mut rng = Seed(1).stream(Draw::Simulate, 0);
        let mut x = Array2::from_shape_simple_fn((n, m), || -> f64 { StandardNormal.sample(&mut rng) });
        x.mapv_inplace(|v| if rng.random::<f64>() < zeros { 0.0 } else { v });
        let r = Array2::from_shape_simple_fn((n, 1), || rng.random::<f64>() + 0.01);
        let c = Array2::from_shape_simple_fn((1, m), || 10.0 * rng.random::<f64>() + 0.01);
        let scaled = &x * &r * &c;
        (Matrix::Dense(x), Matrix::Dense(scaled))
    }

    fn gap(a: &Matrix, b: &Matrix, how: Quotient) -> f64 {
        let y = |matrix| quotient(Values { what: "X", matrix }, how).unwrap().0;
        (y(a) - y(b)).iter().fold(0.0, |m, v| v.abs().max(m))
    }

    #[test]
    fn magnitudes_leave_no_trace() {
        let (x, scaled) = pair(12, 9, 0.0);
        assert!(gap(&x, &scaled, Quotient::Skip) < 1e-12);
        let (x, scaled) = pair(12, 9, 0.4);
        assert!(gap(&x, &scaled, Quotient::Exact) < 1e-10);
        assert!(gap(&x, &scaled, Quotient::Skip) > 1e-3, "one shot is not invariant with zeros");
    }

    #[test]
    fn an_empty_column_is_named() {
        let mut x = pair(4, 4, 0.0).0.to_dense();
        x.column_mut(2).fill(0.0);
        let m = Matrix::Dense(x);
        let why = quotient(Values { what: "X", matrix: &m }, Quotient::Skip).unwrap_err().to_string();
        assert!(why.contains("column 2 holds no non-zero value"), "{why}");
    }
}
