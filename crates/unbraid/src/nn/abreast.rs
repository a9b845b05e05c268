//! Points side by side: where a point has a handful of coordinates, too few for a register, each takes a lane of as many registers as there
//! are coordinates.
//!
//! Every lane goes through the steps of one point alone, so that the results are those of one point after another. Loops over lanes have a
//! fixed length and become vectors within `nn::wide::fast!`.

/// A number of each of N points, which go through the same steps side by side.
pub type Lanes<const N: usize> = [f64; N];
/// Points that are taken side by side where there are many.
pub const EIGHT: usize = 8;

/// A number for each lane: all are there before one is stored, so that they become a vector.
#[inline(always)]
pub fn each<const N: usize>(mut f: impl FnMut(usize) -> f64) -> Lanes<N> {
    let mut out = [0.0; N];
    for (l, to) in out.iter_mut().enumerate() {
        *to = f(l);
    }
    // Without it the compiler makes vectors of the loop around this one as well, and those gather and scatter.
    std::hint::black_box(());
    out
}

/// Calls `f`, which must be inlined, with up to eight rows of a matrix at a time: the first of them, how many, and their entries, lane
/// by lane; lanes beyond are 0.
#[inline(always)]
pub fn by_eight(rows: &[f64], width: usize, mut f: impl FnMut(usize, usize, &[Lanes<EIGHT>])) {
    let mut lanes = vec![[0.0; EIGHT]; width];
    for (block, rows) in rows.chunks(EIGHT * width.max(1)).enumerate() {
        let count = rows.len() / width.max(1);
        into_lanes(rows, &mut lanes);
        f(EIGHT * block, count, &lanes);
    }
}

/// Up to N rows as lanes; lanes beyond become 0. A function of its own: inlined, the compiler makes gathers of it.
#[inline(never)]
pub fn into_lanes<const N: usize>(rows: &[f64], lanes: &mut [Lanes<N>]) {
    let width = lanes.len().max(1);
    if rows.len() < N * width {
        lanes.fill([0.0; N]);
    }
    for (l, row) in rows.chunks_exact(width).enumerate() {
        lanes.iter_mut().zip(row).for_each(|(to, v)| to[l] = *v);
    }
}

/// Adds `by` times each lane to the row of `to` that `lines` names.
#[inline(never)]
pub fn add_lanes<const N: usize>(lanes: &[Lanes<N>], by: f64, lines: &[usize], to: &mut [f64]) {
    for (l, &line) in lines.iter().enumerate() {
        let line = &mut to[line * lanes.len()..][..lanes.len()];
        line.iter_mut().zip(lanes).for_each(|(to, v)| *to += by * v[l]);
    }
}

/// The lanes as rows.
#[inline(never)]
pub fn into_rows<const N: usize>(lanes: &[Lanes<N>], rows: &mut [f64]) {
    for (l, row) in rows.chunks_exact_mut(lanes.len().max(1)).enumerate() {
        row.iter_mut().zip(lanes).for_each(|(to, v)| *to = v[l]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_lanes_and_come_back() {
        for count in [1, 7, 8, 9, 16, 19] {
            let rows: Vec<f64> = (0..3 * count).map(|v| v as f64 + 1.0).collect();
            let (mut back, mut seen) = (vec![0.0; rows.len()], 0);
            let mut doubled = rows.clone();
            by_eight(&rows, 3, |from, some, lanes| {
                assert!(from == seen && lanes.iter().all(|l| l[some..].iter().all(|v| *v == 0.0)));
                into_rows(lanes, &mut back[3 * from..3 * (from + some)]);
                let lines: [usize; EIGHT] = std::array::from_fn(|l| from + l);
                add_lanes(lanes, 1.0, &lines[..some], &mut doubled);
                seen += some;
            });
            assert!(seen == count && back == rows);
            assert!(doubled.iter().zip(&rows).all(|(d, r)| *d == 2.0 * r));
        }
        by_eight(&[], 3, |_, _, _| panic!("there are no rows"));
    }
}
