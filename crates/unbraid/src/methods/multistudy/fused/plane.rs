//! Rows with two active columns. The first layer has no bias, so which of its units are on depends on the direction of
//! c = (w₁ z₁, w₂ z₂) alone: unit h with weights (a_h, b_h) changes where c crosses the line a c₁ + b c₂ = 0, and
//!
//! ```text
//! V₂ h₁ = T c,     T = Σ_{h on} V₂_h (a_h, b_h),  H₂ × 2, the same in a whole sector of the plane.
//! ```
//!
//! With c turned into the upper half plane, c' = ±c, the H₁ lines are passed in the order of their angles, and each changes T by one
//! column of V₂; below, the units that are on are the other ones, so that V₂ h₁ = (T − Σ_h V₂_h (a_h, b_h)) c'. The order of the lines and the
//! first T belong to the pair of columns and serve every feature with the pair; a feature deals its samples to the sectors and
//! walks along, so that no table of all sectors is stored. The way back walks along again with
//!
//! ```text
//! F = Σ dh₂ c'ᵀ over the samples passed − those of the lower half still to come,     dT_h = F or Σ dh₂ cᵀ − F where line h is passed,
//! dV₂_h += dT_h (a_h, b_h)ᵀ,     d(a_h, b_h) += V₂_hᵀ dT_h
//! ```
//!
//! for units that were on, or off, at the start. The weights that are 0 take dh₂ from here and go on with the products of [`super::chain`]. A pass costs about 6 H₁H₂ multiplications for a feature and 10 H₂ for each sample, in
//! place of 3 H₁(H₂ + 2) for each sample.

use std::collections::BTreeMap;

use ndarray::Array2;
use pulp::Simd;
use rayon::prelude::*;

use super::chain::{self, Block};
use super::{Frame, Sums, row, row_mut};
use crate::nn::Real;
use crate::nn::lanes::axpy;
use crate::nn::panels::{Buffer, ROWS};

/// How many multiplications of the chain cost as much as one of a walk, which loads and stores for each (measured).
const WALK: usize = 4;

/// Multiplications of the chain that cost as much as the walks for a feature with so many samples.
pub(super) fn cost(n: usize, h1: usize, h2: usize) -> usize {
    WALK * (6 * h1 * h2 + n * (10 * h2 + 100))
}

/// Whether a walk is cheaper than the chain for so many samples.
pub(super) fn pays(n: usize, h1: usize, h2: usize) -> bool {
    cost(n, h1, h2) < 3 * n * h1 * (h2 + 2)
}

/// A pair of columns, the same for every feature.
#[derive(Debug)]
pub(super) struct Plane<T> {
    /// Angle of each unit's line, ascending; the unit, and whether it is on before.
    angles: Vec<f64>,
    lines: Vec<(usize, bool)>,
    /// T at the start and that of all units, their two columns one after the other.
    start: Vec<T>,
    whole: Vec<T>,
}

/// Pairs of columns, the smaller first.
pub(super) type Planes<T> = BTreeMap<(usize, usize), Plane<T>>;

/// Grows with the angle of a direction of the upper half plane, from −1 to 1; and whether (x, y) was turned into it.
#[inline(always)]
fn angle(x: f64, y: f64) -> (f64, bool) {
    let below = y < 0.0 || (y == 0.0 && x < 0.0);
    let (x, y) = if below { (-x, -y) } else { (x, y) };
    (-x / (x.abs() + y), below)
}

impl<T: Real> Plane<T> {
    /// Of two rows of V₁ᵀ; `v2t` is V₂ᵀ, H₁ × H₂ up to whole panels.
    fn new(a: &[T], b: &[T], v2t: &Array2<T>) -> Plane<T> {
        let width = v2t.ncols();
        let (mut lines, mut start, mut whole) =
            (Vec::new(), vec![T::ZERO; 2 * width], vec![T::ZERO; 2 * width]);
        for h in 0..v2t.nrows() {
            let (x, y) = (a[h].wide(), b[h].wide());
            if x == 0.0 && y == 0.0 {
                continue;
            }
            // Just above the first axis.
            let on = x > 0.0 || (x == 0.0 && y > 0.0);
            lines.push((angle(-y, x).0, h, on));
            for (at, v) in [a[h], b[h]].into_iter().enumerate() {
                let part = at * width..(at + 1) * width;
                axpy(v, row(v2t, h), &mut whole[part.clone()]);
                if on {
                    axpy(v, row(v2t, h), &mut start[part]);
                }
            }
        }
        lines.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let angles = lines.iter().map(|line| line.0).collect();
        Plane { angles, lines: lines.into_iter().map(|(_, h, on)| (h, on)).collect(), start, whole }
    }

    /// The pairs that rows need.
    pub fn all(pairs: Vec<(usize, usize)>, v1t: &Array2<T>, v2t: &Array2<T>) -> Planes<T> {
        let plane = |(k, l)| ((k, l), Plane::new(row(v1t, k), row(v1t, l), v2t));
        pairs.into_par_iter().map(plane).collect()
    }
}

/// A sample on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Stop<T> {
    sample: usize,
    /// c', and c.
    turned: [T; 2],
    c: [T; 2],
    /// −1 where c lies below, else 0.
    off: T,
}

/// What the walk forward leaves to the walk back, beside h₂ in the chain's memory.
#[derive(Debug, Default)]
pub(super) struct Memory<T> {
    stops: Vec<Stop<T>>,
    /// The sector of each sample, and where the stops of each sector begin.
    sectors: Vec<usize>,
    begins: Vec<usize>,
    /// Slopes of o in c.
    slopes: Vec<[T; 2]>,
    /// T; then F.
    table: Buffer<T>,
    /// Σ dh₂ cᵀ.
    total: Buffer<T>,
}

/// Adds v · h₂ to `o`, the outputs of the block's samples; h₂ is left in panels.
#[inline(always)]
pub(super) fn forward<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: Block<'_, T>,
    (plane, pair): (&Plane<T>, [usize; 2]),
    (memory, chain): (&mut Memory<T>, &mut chain::Memory<T>),
    o: &mut [T],
) {
    let (lanes, width, np) = (T::lanes::<S>(), frame.second.width[1], block.n.next_multiple_of(ROWS));
    let Memory { stops, sectors, begins, slopes, table, .. } = memory;
    let columns = &frame.tiles[block.tile].columns;
    let [z1, z2] = pair.map(|p| &row(&frame.z[block.tile], p)[block.from..block.from + block.n]);
    let [w1, w2] = pair.map(|p| block.w[columns[p]]);
    // The samples sector by sector, in their order within one.
    sectors.clear();
    begins.clear();
    begins.resize(plane.lines.len() + 2, 0);
    for (z1, z2) in z1.iter().zip(z2) {
        let (angle, _) = angle((w1 * *z1).wide(), (w2 * *z2).wide());
        // Where c is 0 every unit is off, and any sector will do: the comparisons are false.
        let sector = plane.angles.partition_point(|line| *line < angle);
        sectors.push(sector);
        begins[sector + 1] += 1;
    }
    for at in 1..begins.len() {
        begins[at] += begins[at - 1];
    }
    stops.resize(block.n, Stop::default());
    for (sample, &sector) in sectors.iter().enumerate() {
        let c = [w1 * z1[sample], w2 * z2[sample]];
        let below = c[1] < T::ZERO || (c[1] == T::ZERO && c[0] < T::ZERO);
        let (off, sign) = if below { (-T::ONE, -T::ONE) } else { (T::ZERO, T::ONE) };
        stops[begins[sector]] = Stop { sample, turned: c.map(|c| sign * c), c, off };
        begins[sector] += 1;
    }
    // Each now is where the next one begins.
    begins.rotate_right(1);
    begins[0] = 0;
    slopes.resize(block.n, [T::ZERO; 2]);
    let table = table.take(2 * width);
    table.copy_from_slice(&plane.start);
    let (h2, v) = chain.second(width, np, block.v);
    // Rows that stand for no sample are 0.
    for q in 0..width / lanes {
        h2[(q * np + block.n) * lanes..(q + 1) * np * lanes].fill(T::ZERO);
    }
    let (h2, v, b2) = (h2.as_mut_ptr(), v.as_ptr(), frame.second.bias().as_ptr());
    let (one, whole) = (table.as_mut_ptr(), plane.whole.as_ptr());
    let zero = T::splat(simd, T::ZERO);
    for sector in 0..=plane.lines.len() {
        if sector > 0 {
            let (h, on) = plane.lines[sector - 1];
            let (v2, sign) = (row(&frame.v2t, h).as_ptr(), if on { -T::ONE } else { T::ONE });
            let [a, b] = pair.map(|p| T::splat(simd, sign * row(&frame.v1t, columns[p])[h]));
            for at in (0..width).step_by(lanes) {
                // SAFETY: rows of V₂ᵀ and both columns of T have `width` values.
                unsafe {
                    let (v2, to1, to2) = (T::load::<S>(v2.add(at)), one.add(at), one.add(width + at));
                    T::store::<S>(to1, T::times_plus(simd, a, v2, T::load::<S>(to1)));
                    T::store::<S>(to2, T::times_plus(simd, b, v2, T::load::<S>(to2)));
                }
            }
        }
        for stop in &stops[begins[sector]..begins[sector + 1]] {
            let [c1, c2] = stop.turned.map(|c| T::splat(simd, c));
            let off = T::splat(simd, stop.off);
            let (mut sum, mut slope1, mut slope2) = (zero, zero, zero);
            for q in 0..width / lanes {
                let at = q * lanes;
                // SAFETY: T, v and b₂ have `width` values, h₂ panels of `np` rows.
                unsafe {
                    let (t1, t2) = (T::load::<S>(one.add(at)), T::load::<S>(one.add(width + at)));
                    let t1 = T::times_plus(simd, off, T::load::<S>(whole.add(at)), t1);
                    let t2 = T::times_plus(simd, off, T::load::<S>(whole.add(width + at)), t2);
                    let h =
                        T::times_plus(simd, t1, c1, T::times_plus(simd, t2, c2, T::load::<S>(b2.add(at))));
                    let last = T::where_positive(simd, h, T::load::<S>(v.add(at)));
                    sum = T::times_plus(simd, last, h, sum);
                    slope1 = T::times_plus(simd, last, t1, slope1);
                    slope2 = T::times_plus(simd, last, t2, slope2);
                    T::store::<S>(h2.add((q * np + stop.sample) * lanes), T::relu(simd, h));
                }
            }
            o[stop.sample] += T::sum(simd, sum);
            let still = stop.c[0] == T::ZERO && stop.c[1] == T::ZERO;
            let sign = if still { T::ZERO } else { T::ONE + stop.off + stop.off };
            slopes[stop.sample] = [sign * T::sum(simd, slope1), sign * T::sum(simd, slope2)];
        }
    }
}

/// A line on the way back: dV₂ and dV₁ of its unit, from dT.
#[inline(always)]
fn pass<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    (h, on): (usize, bool),
    columns: [usize; 2],
    (table, total): (&[T], &[T]),
    sums: &mut Sums<T>,
) {
    let (lanes, width) = (T::lanes::<S>(), frame.v2t.ncols());
    // dT is F, or the rest of the total.
    let (sign, rest) = if on { (T::ONE, T::ZERO) } else { (-T::ONE, T::ONE) };
    let (sign, rest) = (T::splat(simd, sign), T::splat(simd, rest));
    let a = T::splat(simd, row(&frame.v1t, columns[0])[h]);
    let b = T::splat(simd, row(&frame.v1t, columns[1])[h]);
    let (v2, dv2) = (row(&frame.v2t, h).as_ptr(), row_mut(&mut sums.v2t, h).as_mut_ptr());
    let (mut in_a, mut in_b) = (T::splat(simd, T::ZERO), T::splat(simd, T::ZERO));
    let (table, total) = (table.as_ptr(), total.as_ptr());
    for at in (0..width).step_by(lanes) {
        // SAFETY: V₂ᵀ and dV₂ᵀ have `width` values in a row, F and the total as many for each column.
        unsafe {
            let one = T::times(simd, rest, T::load::<S>(total.add(at)));
            let one = T::times_plus(simd, sign, T::load::<S>(table.add(at)), one);
            let two = T::times(simd, rest, T::load::<S>(total.add(width + at)));
            let two = T::times_plus(simd, sign, T::load::<S>(table.add(width + at)), two);
            let sum = T::times_plus(simd, a, one, T::load::<S>(dv2.add(at)));
            T::store::<S>(dv2.add(at), T::times_plus(simd, b, two, sum));
            let v2 = T::load::<S>(v2.add(at));
            (in_a, in_b) = (T::times_plus(simd, v2, one, in_a), T::times_plus(simd, v2, two, in_b));
        }
    }
    row_mut(&mut sums.v1t, columns[0])[h] += T::sum(simd, in_a);
    row_mut(&mut sums.v1t, columns[1])[h] += T::sum(simd, in_b);
}

/// The way back from `g`, after the forward call for the same samples.
#[inline(always)]
pub(super) fn backward<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    block: Block<'_, T>,
    (plane, pair): (&Plane<T>, [usize; 2]),
    (memory, chain): (&mut Memory<T>, &mut chain::Memory<T>),
    g: &[T],
    sums: &mut Sums<T>,
    dw: &mut [T],
    dv: &mut [T],
) {
    let (lanes, width, np) = (T::lanes::<S>(), frame.second.width[1], block.n.next_multiple_of(ROWS));
    let columns = &frame.tiles[block.tile].columns;
    let Memory { stops, begins, slopes, table, total, .. } = memory;
    // w and z, from the slopes.
    for (at, &p) in pair.iter().enumerate() {
        let (w, z) = (block.w[columns[p]], &row(&frame.z[block.tile], p)[block.from..]);
        let dz = &mut row_mut(&mut sums.dz[block.tile], p)[block.from..];
        let mut own = T::ZERO;
        for i in 0..block.n {
            let dc = g[i] * slopes[i][at];
            own += dc * z[i];
            dz[i] += dc * w;
        }
        dw[columns[p]] += own;
    }
    // dh₂ with the gradients of v and b₂, F at the start, and Σ dh₂ cᵀ, panel by panel.
    let (table, total) = (table.take(2 * width), total.take(2 * width));
    let (h2, v, own) = chain.third(width, np);
    let zero = T::splat(simd, T::ZERO);
    for q in 0..width / lanes {
        let at = q * lanes;
        let [mut of_v, mut of_b, mut below1, mut below2, mut all1, mut all2] = [zero; 6];
        // SAFETY: h₂ has panels of `np` rows, v and the sums `width` values, F and the total twice as many.
        unsafe {
            let last = T::load::<S>(v[at..].as_ptr());
            for stop in stops.iter() {
                let place = h2[(q * np + stop.sample) * lanes..].as_mut_ptr();
                let (h, g) = (T::load::<S>(place), T::splat(simd, g[stop.sample]));
                of_v = T::times_plus(simd, h, g, of_v);
                let d = T::where_positive(simd, h, T::times(simd, last, g));
                of_b = T::plus(simd, of_b, d);
                T::store::<S>(place, d);
                let [c1, c2] = stop.c.map(|c| T::splat(simd, c));
                let under = T::times(simd, T::splat(simd, -stop.off), d);
                (all1, all2) = (T::times_plus(simd, d, c1, all1), T::times_plus(simd, d, c2, all2));
                (below1, below2) =
                    (T::times_plus(simd, under, c1, below1), T::times_plus(simd, under, c2, below2));
            }
            T::store::<S>(own[at..].as_mut_ptr(), of_v);
            let b2 = sums.b2[at..].as_mut_ptr();
            T::store::<S>(b2, T::plus(simd, of_b, T::load::<S>(b2)));
            for (at, below, all) in [(at, below1, all1), (width + at, below2, all2)] {
                T::store::<S>(table[at..].as_mut_ptr(), below);
                T::store::<S>(total[at..].as_mut_ptr(), all);
            }
        }
    }
    dv.iter_mut().zip(&*own).for_each(|(to, d)| *to += *d);
    let d2 = h2.as_ptr();
    for sector in 0..=plane.lines.len() {
        if sector > 0 {
            pass(simd, frame, plane.lines[sector - 1], pair.map(|p| columns[p]), (table, total), sums);
        }
        for stop in &stops[begins[sector]..begins[sector + 1]] {
            let [c1, c2] = stop.turned.map(|c| T::splat(simd, c));
            let (one, two) = table.split_at_mut(width);
            for q in 0..width / lanes {
                let at = q * lanes;
                // SAFETY: F has 2 × `width` values, dh₂ panels of `np` rows.
                unsafe {
                    let d = T::load::<S>(d2.add((q * np + stop.sample) * lanes));
                    let (one, two) = (one[at..].as_mut_ptr(), two[at..].as_mut_ptr());
                    T::store::<S>(one, T::times_plus(simd, d, c1, T::load::<S>(one)));
                    T::store::<S>(two, T::times_plus(simd, d, c2, T::load::<S>(two)));
                }
            }
        }
    }
    if frame.full {
        chain::zeros(simd, frame, block, chain, sums, dw);
    }
}
