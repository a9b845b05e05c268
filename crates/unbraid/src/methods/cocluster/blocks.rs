//! The table of blocks and the information it keeps.
//!
//! ```text
//! Q = Γᵀ P Δ,   I(Q) = Σ Q log Q − Σ Q_r log Q_r − Σ Q_c log Q_c
//! ```

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::table::Joint;
use crate::data::Csr;
use crate::linalg::settle;
use crate::nn::wide::fast;

/// Σ over columns in cluster c of each row: n × `clusters`, from the clusters of the columns.
pub fn profiles(lines: &Csr, labels: &[usize], clusters: usize) -> Array2<f64> {
    let n = lines.shape().0;
    let mut out = Array2::zeros((n, clusters));
    let fill = |(i, to): (usize, &mut [f64])| {
        let (at, values) = lines.row(i);
        at.iter().zip(values).for_each(|(&j, &v)| to[labels[j as usize]] += v);
    };
    each_row(&mut out, lines.nnz(), fill);
    out
}

/// Clusters whose sums of a row are taken at once, so that an entry costs one multiplication of vectors.
const EIGHT: usize = 8;
/// Entries of a row that are added side by side.
const WAYS: usize = 4;

/// A Δ for soft memberships Δ of the columns.
pub fn soft_profiles(lines: &Csr, membership: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((lines.shape().0, membership.ncols()));
    fill_profiles(lines, membership, &mut out, lines.nnz(), |i| i);
    out
}

/// The rows `at` of A Δ.
pub fn soft_profiles_of(lines: &Csr, at: &[usize], membership: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((at.len(), membership.ncols()));
    let entries = at.iter().map(|&i| lines.row(i).0.len()).sum();
    fill_profiles(lines, membership, &mut out, entries, |i| at[i]);
    out
}

fn fill_profiles(
    lines: &Csr,
    membership: ArrayView2<'_, f64>,
    out: &mut Array2<f64>,
    entries: usize,
    row: impl Fn(usize) -> usize + Sync,
) {
    let width = membership.ncols();
    for from in (0..width).step_by(EIGHT) {
        let some = EIGHT.min(width - from);
        let mut part = vec![[0.0; EIGHT]; membership.nrows()];
        for (to, of) in part.iter_mut().zip(membership.rows()) {
            to.iter_mut().zip(of.iter().skip(from)).for_each(|(to, v)| *to = *v);
        }
        let fill = |(i, to): (usize, &mut [f64])| {
            let (places, values) = lines.row(row(i));
            let sum = fast!(|| weighted_sum(places, values, &part));
            to[from..from + some].copy_from_slice(&sum[..some]);
        };
        each_row(out, entries * some, fill);
    }
}

/// Σ v · row j over the entries of a line, in sums that do not wait for one another.
#[inline(always)]
fn weighted_sum(places: &[u32], values: &[f64], rows: &[[f64; EIGHT]]) -> [f64; EIGHT] {
    let mut sums = [[0.0; EIGHT]; WAYS];
    let (ways, by_ways) = (places.as_chunks::<WAYS>(), values.as_chunks::<WAYS>());
    for (j, v) in ways.0.iter().zip(by_ways.0) {
        for way in 0..WAYS {
            let (sum, row) = (sums[way], rows[j[way] as usize]);
            sums[way] = std::array::from_fn(|l| sum[l] + v[way] * row[l]);
        }
    }
    let mut sum = [0.0; EIGHT];
    for (&j, v) in ways.1.iter().zip(by_ways.1) {
        for l in 0..EIGHT {
            sum[l] += v * rows[j as usize][l];
        }
    }
    for way in 0..WAYS {
        for l in 0..EIGHT {
            sum[l] += sums[way][l];
        }
    }
    sum
}

/// Fills rows side by side where the work is worth it; a row belongs to one task, so that bits do not depend on threads.
fn each_row(out: &mut Array2<f64>, work: usize, fill: impl Fn((usize, &mut [f64])) + Sync) {
    let width = out.ncols().max(1);
    let Some(all) = out.as_slice_mut() else { return };
    if work < 1 << 15 {
        return all.chunks_mut(width).enumerate().for_each(fill);
    }
    all.par_chunks_mut(width).enumerate().with_min_len(32).for_each(|row| {
        settle();
        fill(row);
    });
}

/// Sums the rows of `profiles` by cluster: `clusters` × columns.
pub fn gather(profiles: ArrayView2<'_, f64>, labels: &[usize], clusters: usize) -> Array2<f64> {
    let mut out = Array2::<f64>::zeros((clusters, profiles.ncols()));
    for (row, &label) in profiles.rows().into_iter().zip(labels) {
        let mut to = out.row_mut(label);
        to += &row;
    }
    out
}

/// Q of labels.
pub fn table(joint: &Joint, rows: &[usize], cols: &[usize], shape: (usize, usize)) -> Array2<f64> {
    gather(profiles(&joint.rows, cols, shape.1).view(), rows, shape.0)
}

/// x log x, 0 at 0.
#[inline]
pub fn xlogx(x: f64) -> f64 {
    if x > 0.0 { x * x.ln() } else { 0.0 }
}

/// I of a joint distribution; the table need not sum to 1 exactly, and is taken as it is.
pub fn information(q: ArrayView2<'_, f64>) -> f64 {
    let total = xlogx(q.sum());
    let cells: f64 = q.iter().map(|&v| xlogx(v)).sum();
    let rows: f64 = q.rows().into_iter().map(|r| xlogx(r.sum())).sum();
    let cols: f64 = q.columns().into_iter().map(|c| xlogx(c.sum())).sum();
    cells - rows - cols + total
}

/// Labels renumbered by falling size, of equals the one that comes first; and the old number of each new one.
pub fn by_size(labels: &[usize], clusters: usize) -> (Vec<usize>, Vec<usize>) {
    let mut size = vec![0usize; clusters];
    let mut first = vec![labels.len(); clusters];
    for (at, &label) in labels.iter().enumerate() {
        size[label] += 1;
        first[label] = first[label].min(at);
    }
    let mut order: Vec<usize> = (0..clusters).collect();
    order.sort_by_key(|&c| (std::cmp::Reverse(size[c]), first[c], c));
    let mut new = vec![0; clusters];
    order.iter().enumerate().for_each(|(to, &from)| new[from] = to);
    (labels.iter().map(|&l| new[l]).collect(), order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Values};
    use ndarray::array;

    #[test]
    fn soft_and_hard_profiles_agree_and_information_never_rises() {
        let x = Array2::from_shape_fn((7, 5), |(i, j)| ((i * 3 + j * 5) % 4) as f64 + f64::from(i == j));
        let matrix = Matrix::Dense(x);
        let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
        let (rows, cols) = ([0, 1, 2, 0, 1, 2, 0], [1, 0, 1, 1, 0]);
        let mut delta = Array2::zeros((5, 2));
        cols.iter().enumerate().for_each(|(j, &c)| delta[[j, c]] = 1.0);
        let hard = profiles(&joint.rows, &cols, 2);
        assert!((&hard - &soft_profiles(&joint.rows, delta.view())).iter().all(|v| v.abs() < 1e-16));
        let soft = Array2::from_shape_fn((joint.rows.shape().1, 19), |(j, c)| 1.0 / (1 + j + 3 * c) as f64);
        let all = soft_profiles(&joint.rows, soft.view());
        assert!((&all - &joint.rows.to_dense().dot(&soft)).iter().all(|v| v.abs() < 1e-14));
        assert_eq!(
            soft_profiles_of(&joint.rows, &[1, 0], soft.view()),
            all.select(ndarray::Axis(0), &[1, 0])
        );
        let q = table(&joint, &rows, &cols, (3, 2));
        assert!((q.sum() - 1.0).abs() < 1e-14);
        let found = information(q.view());
        assert!(found >= 0.0 && found <= joint.information);
        let all: Vec<usize> = (0..7).collect();
        let each: Vec<usize> = (0..5).collect();
        let whole = information(table(&joint, &all, &each, (7, 5)).view());
        assert!((whole - joint.information).abs() < 1e-14);
    }

    #[test]
    fn clusters_are_numbered_by_size() {
        let (labels, order) = by_size(&[3, 1, 1, 0, 0, 1], 4);
        assert_eq!((labels, order), (vec![2, 0, 0, 1, 1, 0], vec![1, 0, 3, 2]));
        assert_eq!(information(array![[0.5, 0.0], [0.0, 0.5]].view()), 2f64.ln());
    }
}
