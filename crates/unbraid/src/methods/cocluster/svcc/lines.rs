//! Lines of a table as an encoder reads them, and the products of its first layer with them.
//!
//! ```text
//! times:       X W        B × width by width × h
//! add_turned:  G += Xᵀ D  width × B by B × h
//! ```
//!
//! Where few entries of a line are not 0, products read those alone, in one of two orders. By lines: a line's sums stay in registers, and rows of W
//! are read here and there. By inputs: every row of W, or of G, is read once and in order, and sums of all lines are near at hand; this is how Xᵀ D
//! goes, and X W where W is larger than caches. Every sum has its terms in the order of the inputs, or of the lines, either way: the same bits.

use std::sync::OnceLock;

use ndarray::Array2;
use rayon::prelude::*;

use crate::linalg::{Accum, gemm_in_parts, product_in_parts, settle};
use crate::nn::lanes::axpy;
use crate::nn::wide::fast;
use crate::nn::{Real, flat, flat_mut};

/// All lines of one side as an encoder reads them.
pub enum Lines<T> {
    /// Every entry.
    Dense(Array2<T>),
    /// Entries that are not 0, by rising place: where each line begins, places, values; and the width.
    Sparse(Vec<usize>, Vec<u32>, Vec<T>, usize),
}

/// Some lines.
pub enum Batch<T> {
    /// Every entry.
    Dense(Array2<T>),
    /// Entries that are not 0.
    Sparse(Entries<T>),
}

/// Entries of some lines, by rising place.
pub struct Entries<T> {
    /// Where each line begins, one more than there are lines.
    begin: Vec<usize>,
    place: Vec<u32>,
    value: Vec<T>,
    by_inputs: OnceLock<ByInputs<T>>,
}

/// The same by inputs: where each begins, lines and values.
struct ByInputs<T> {
    begin: Vec<usize>,
    entries: Vec<(u32, T)>,
}

/// Columns of W whose sums are held in registers, or of all lines near at hand.
const HELD: usize = 64;
/// Entries of W above which it is read in order.
const LARGE: usize = 1 << 19;

impl<T: Real> Lines<T> {
    /// Entries of a line.
    pub fn width(&self) -> usize {
        match self {
            Lines::Dense(x) => x.ncols(),
            Lines::Sparse(.., width) => *width,
        }
    }

    /// Entries that are stored of a line.
    pub fn stored(&self, line: usize) -> usize {
        match self {
            Lines::Dense(x) => x.ncols(),
            Lines::Sparse(begin, ..) => begin[line + 1] - begin[line],
        }
    }

    /// The chosen lines; with `dropped`, which tells for each stored entry of each of them whether it goes, corrupted copies of all
    /// of them after them.
    pub fn batch(&self, at: &[usize], dropped: Option<&[Vec<bool>]>) -> Batch<T> {
        match self {
            Lines::Dense(x) => {
                let (width, all) = (x.ncols(), flat(x));
                let line = |i: usize| &all[i * width..][..width];
                let lines = if dropped.is_some() { 2 * at.len() } else { at.len() };
                let mut out = Vec::with_capacity(lines * width);
                at.iter().for_each(|&i| out.extend_from_slice(line(i)));
                for (&i, dropped) in at.iter().zip(dropped.unwrap_or_default()) {
                    let kept = line(i).iter().zip(dropped);
                    fast!(|| out.extend(kept.map(|(v, gone)| if *gone { T::ZERO } else { *v })));
                }
                let whole = Array2::from_shape_vec((lines, width), out);
                Batch::Dense(whole.unwrap_or_else(|_| Array2::from_elem((0, width), T::ZERO)))
            }
            Lines::Sparse(indptr, places, values, _) => {
                let (mut begin, mut place, mut value) = (vec![0], Vec::new(), Vec::new());
                for &i in at {
                    place.extend_from_slice(&places[indptr[i]..indptr[i + 1]]);
                    value.extend_from_slice(&values[indptr[i]..indptr[i + 1]]);
                    begin.push(place.len());
                }
                for (&i, dropped) in at.iter().zip(dropped.unwrap_or_default()) {
                    for (e, _) in (indptr[i]..indptr[i + 1]).zip(dropped).filter(|(_, gone)| !**gone) {
                        place.push(places[e]);
                        value.push(values[e]);
                    }
                    begin.push(place.len());
                }
                Batch::Sparse(Entries { begin, place, value, by_inputs: OnceLock::new() })
            }
        }
    }
}

impl<T: Real> Batch<T> {
    /// X W.
    pub fn times(&self, w: &Array2<T>) -> Array2<T> {
        match self {
            Batch::Dense(x) => product_in_parts(x.view(), w.view()),
            Batch::Sparse(x) if w.len() > LARGE => x.times_by_inputs(w),
            Batch::Sparse(x) => x.times_by_lines(w),
        }
    }

    /// to += Xᵀ D.
    pub fn add_turned(&self, d: &Array2<T>, to: &mut Array2<T>) {
        match self {
            Batch::Dense(x) => gemm_in_parts(to.view_mut(), Accum::Add, x.t(), d.view()),
            Batch::Sparse(x) => x.add_turned(d, to),
        }
    }
}

impl<T: Real> Entries<T> {
    fn lines(&self) -> usize {
        self.begin.len() - 1
    }

    fn by_inputs(&self, inputs: usize) -> &ByInputs<T> {
        self.by_inputs.get_or_init(|| {
            let mut begin = vec![0usize; inputs + 1];
            self.place.iter().for_each(|j| begin[*j as usize + 1] += 1);
            for j in 0..inputs {
                begin[j + 1] += begin[j];
            }
            let mut next = begin.clone();
            let mut entries = vec![(0u32, T::ZERO); self.place.len()];
            for b in 0..self.lines() {
                for e in self.begin[b]..self.begin[b + 1] {
                    let at = &mut next[self.place[e] as usize];
                    entries[*at] = (b as u32, self.value[e]);
                    *at += 1;
                }
            }
            ByInputs { begin, entries }
        })
    }

    fn times_by_lines(&self, w: &Array2<T>) -> Array2<T> {
        let width = w.ncols();
        let mut y = Array2::from_elem((self.lines(), width), T::ZERO);
        let w = flat(w);
        let all = flat_mut(&mut y).par_chunks_mut(width.max(1)).enumerate().with_min_len(16);
        all.for_each(|(b, to)| {
            settle();
            let own = self.begin[b]..self.begin[b + 1];
            let (place, value) = (&self.place[own.clone()], &self.value[own]);
            gather(place.iter().map(|j| *j as usize).zip(value.iter().copied()), w, to);
        });
        y
    }

    /// Some columns of W at a time, by one task each.
    fn times_by_inputs(&self, w: &Array2<T>) -> Array2<T> {
        let (inputs, width) = w.dim();
        let (x, w) = (self.by_inputs(inputs), flat(w));
        let strip = |from: usize| {
            settle();
            let mut sums = vec![[T::ZERO; HELD]; self.lines()];
            fast!(|| for (j, row) in w.chunks_exact(width.max(1)).enumerate() {
                let (row, own) = (&row[from..], &x.entries[x.begin[j]..x.begin[j + 1]]);
                // Of a length that the compiler knows, but for the last columns.
                match row.first_chunk::<HELD>() {
                    Some(row) => own.iter().for_each(|(b, v)| axpy(*v, row, &mut sums[*b as usize])),
                    None => own.iter().for_each(|(b, v)| axpy(*v, row, &mut sums[*b as usize])),
                }
            });
            sums
        };
        let strips: Vec<Vec<[T; HELD]>> = (0..width).into_par_iter().step_by(HELD).map(strip).collect();
        let mut y = Array2::from_elem((self.lines(), width), T::ZERO);
        for (b, to) in flat_mut(&mut y).chunks_exact_mut(width.max(1)).enumerate() {
            for (to, sums) in to.chunks_mut(HELD).zip(&strips) {
                to.copy_from_slice(&sums[b][..to.len()]);
            }
        }
        y
    }

    /// Every row of the sum by one task, in the order of the lines.
    fn add_turned(&self, d: &Array2<T>, to: &mut Array2<T>) {
        let (inputs, width) = to.dim();
        let (x, d) = (self.by_inputs(inputs), flat(d));
        let all = flat_mut(to).par_chunks_mut(width.max(1)).enumerate().with_min_len(64);
        all.for_each(|(j, to)| {
            settle();
            let own = &x.entries[x.begin[j]..x.begin[j + 1]];
            gather(own.iter().map(|(b, v)| (*b as usize, *v)), d, to);
        });
    }
}

/// to += Σ v · row j of `rows`, which are as wide as `to`: some sums at a time, which stay in registers over all entries.
fn gather<T: Real>(entries: impl Iterator<Item = (usize, T)> + Clone, rows: &[T], to: &mut [T]) {
    let width = to.len();
    fast!(|| {
        let mut held = to.chunks_exact_mut(HELD);
        let mut from = 0;
        for to in &mut held {
            let mut sums = [T::ZERO; HELD];
            sums.copy_from_slice(to);
            for (j, v) in entries.clone() {
                let row = &rows[j * width + from..][..HELD];
                for (sum, w) in sums.iter_mut().zip(row) {
                    *sum += v * *w;
                }
            }
            to.copy_from_slice(&sums);
            from += HELD;
        }
        let rest = held.into_remainder();
        for (j, v) in entries {
            axpy(v, &rows[j * width + from..][..rest.len()], rest);
        }
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::nn::check::normal;
    use ndarray::array;

    /// The entries of a table that are not 0.
    pub(in super::super) fn sparse(x: &Array2<f64>) -> Batch<f64> {
        let x = crate::data::Csr::from_dense(x.view());
        let lines =
            Lines::Sparse(x.indptr().to_vec(), x.indices().to_vec(), x.values().to_vec(), x.shape().1);
        lines.batch(&(0..x.shape().0).collect::<Vec<_>>(), None)
    }

    #[test]
    fn sparse_lines_multiply_as_dense_ones_by_lines_and_by_inputs() {
        // Two stretches of columns that are held, and a rest; one line and one input without entries.
        let width = 2 * HELD + 7;
        let mut x = normal(9, 40, 2).mapv(|v| if v > 0.6 { v } else { 0.0 });
        x.row_mut(4).fill(0.0);
        x.column_mut(11).fill(0.0);
        let (w, d, start) = (normal(40, width, 3), normal(9, width, 4), normal(40, width, 5));
        let near = |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().all(|v| v.abs() < 1e-13);
        let (dense, Batch::Sparse(entries)) = (Batch::Dense(x.clone()), sparse(&x)) else { panic!() };
        let plain = x.dot(&w);
        let by_lines = entries.times_by_lines(&w);
        assert!(near(&dense.times(&w), &plain) && near(&by_lines, &plain));
        assert_eq!(by_lines, entries.times_by_inputs(&w), "the same bits in either order");
        for batch in [dense, Batch::Sparse(entries)] {
            let mut to = start.clone();
            batch.add_turned(&d, &mut to);
            assert!(near(&to, &(&start + &x.t().dot(&d))));
        }
    }

    #[test]
    fn corrupted_copies_lack_what_was_dropped() {
        let x = Lines::<f64>::Sparse(vec![0, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0], 3);
        let dropped = [vec![false], vec![true, false]];
        let Batch::Sparse(found) = x.batch(&[1, 0], Some(&dropped)) else { panic!() };
        assert_eq!(found.begin, [0, 1, 3, 4, 5]);
        assert_eq!((found.place, found.value), (vec![1, 0, 2, 1, 2], vec![3.0, 1.0, 2.0, 3.0, 2.0]));
        let x = Lines::Dense(array![[1.0, 2.0], [3.0, 4.0]]);
        let Batch::Dense(found) = x.batch(&[1], Some(&[vec![false, true]])) else { panic!() };
        assert_eq!(found, array![[3.0, 4.0], [3.0, 0.0]]);
        let Batch::Dense(found) = x.batch(&[1, 0], None) else { panic!() };
        assert_eq!(found, array![[3.0, 4.0], [1.0, 2.0]]);
    }
}
