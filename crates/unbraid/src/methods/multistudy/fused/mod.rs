//! The decoder in one pass: for the samples of one study and one feature after another, forward, likelihood and the way
//! back at once, so that nothing of the size samples × features × hidden is ever stored.
//!
//! ```text
//! A_j = V₁ diag(w_j) over the columns with w_jk ≠ 0,     h₁ = relu(A_j z),  h₂ = relu(V₂ h₁ + b₂),  o, g = −∂ log p/∂o,
//! dh₂ = v_j gᵀ ∘ [h₂ > 0],  dV₂ += dh₂ h₁ᵀ,  dh₁ = V₂ᵀ dh₂ ∘ [h₁ > 0],  dA = dh₁ zᵀ,  dz += A_jᵀ dh₁,
//! dw_jk = Σ_h dA_hk V₁_hk,   dV₁_hk += dA_hk w_jk
//! ```
//!
//! Only the active columns of a row take part: none, and the row is a constant, o = b₃ + v_j · relu(b₂); one takes the closed
//! form of `line`, two that of `plane` where it is cheaper, and more the products of `chain`. The derivative of a weight that is
//! 0 is not 0: it is formed where `full` asks for it.
//!
//! Features are dealt to a fixed number of parts by cost, each part has its own sums, and the sums are added in order: the bits of
//! a result do not depend on the number of threads. Memory is the parts' sums and a few tiles of hidden × samples.
//! The slow twin is [`super::plain`].

mod chain;
mod kernels;
mod line;
mod plane;
mod rows;

use ndarray::{Array2, s};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use self::line::{Line, Lone, Turn};
use self::plane::{Plane, Planes};
use self::rows::{Orders, deal, lines, pairs};
use super::likelihood::Row;
use super::network::{Decode, Decoder, Pass, Skip, Tile};
use crate::linalg::settle;
use crate::nn::lanes::{axpy, dot, sum};
use crate::nn::panels::{Buffer, ROWS, lanes};
use crate::nn::{Param, Real};

/// Parts that features are dealt to.
const PARTS: usize = 16;

/// The fused decoder with its memory, which one pass leaves to the next.
#[derive(Debug, Default)]
pub struct Fused<T> {
    full: bool,
    parts: Vec<Part<T>>,
}

impl<T: Real> Fused<T> {
    /// `full`: the gradients of weights that are 0 are formed too.
    pub fn new(full: bool) -> Fused<T> {
        Fused { full, parts: Vec::new() }
    }

    /// Whether the gradients of weights that are 0 are formed.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }
}

/// What all parts read.
struct Frame<'a, T> {
    decoder: &'a Decoder<T>,
    tiles: &'a [Tile<T>],
    scale: f64,
    full: bool,
    /// z of each tile with zeros up to a multiple of [`ROWS`] samples.
    z: Vec<Array2<T>>,
    /// zᵀ of each tile with all columns of W, 0 in those of other studies; only where weights that are 0 count too.
    across: Vec<Array2<T>>,
    /// A row of W that is 0.
    none: Vec<T>,
    /// The second layer, and for each tile V₁ of its columns, packed.
    second: chain::Second<T>,
    first: Vec<Buffer<T>>,
    /// V₁ᵀ (with zeros up to whole panels) and Pᵀ, a row for each column of W.
    v1t: Array2<T>,
    pt: Option<Array2<T>>,
    /// V₂ᵀ with zeros up to whole panels.
    v2t: Array2<T>,
    /// relu(b₂).
    rest: Vec<T>,
    /// For each column of W that is the only active one of some row: the column alone.
    lines: Vec<Option<Line<T>>>,
    /// For each tile and position: the samples in order, where a row needs them.
    orders: Orders<T>,
    /// For each pair of columns that are the only active ones of some row.
    planes: Planes<T>,
}

/// Sums over the features of a part, in the layout of the frame.
#[derive(Debug, Default)]
struct Sums<T> {
    log_lik: f64,
    v1t: Array2<T>,
    /// In panels of H₂, from the chain.
    v2: Buffer<T>,
    /// H₁ × H₂ up to whole panels, from planes.
    v2t: Array2<T>,
    b2: Vec<T>,
    pt: Array2<T>,
    dz: Vec<Array2<T>>,
    dsize: Vec<Vec<f64>>,
    /// Derivative in each column's line; empty where there is none.
    turns: Vec<Turn<T>>,
}

/// Gradients that belong to one feature, for the features of a part in their order.
#[derive(Debug, Default)]
struct Rows<T> {
    w: Array2<T>,
    v3: Array2<T>,
    u: Array2<T>,
    b3: Vec<T>,
    noise: Vec<f64>,
}

/// Memory for the tiles of one feature.
#[derive(Debug, Default)]
struct Work<T> {
    /// Positions in the tile's columns of the active ones.
    active: Vec<usize>,
    /// Slope of the skip in c of the active columns.
    q: Vec<T>,
    /// o, then g.
    g: Vec<T>,
    chain: chain::Memory<T>,
    line: line::Memory<T>,
    /// r, and the gradients of all weights.
    others: [Vec<T>; 2],
    plane: plane::Memory<T>,
}

/// Some features, their sums and memory.
#[derive(Debug, Default)]
struct Part<T> {
    features: Vec<usize>,
    sums: Sums<T>,
    rows: Rows<T>,
    work: Work<T>,
}

/// Makes an array of this shape and clears it, in the memory it has.
fn clear<T: Real>(a: &mut Array2<T>, rows: usize, columns: usize) {
    if a.dim() == (rows, columns) {
        a.fill(T::ZERO);
    } else {
        *a = Array2::from_elem((rows, columns), T::ZERO);
    }
}

/// A row of a matrix in standard layout.
#[inline(always)]
fn row<T>(a: &Array2<T>, i: usize) -> &[T] {
    let width = a.ncols();
    a.as_slice().map_or(&[], |a| &a[i * width..(i + 1) * width])
}

/// A row of a matrix in standard layout.
#[inline(always)]
fn row_mut<T>(a: &mut Array2<T>, i: usize) -> &mut [T] {
    let width = a.ncols();
    a.as_slice_mut().map_or(&mut [], |a| &mut a[i * width..(i + 1) * width])
}

impl<T: Real> Part<T> {
    /// Clears the sums for another pass.
    fn ready(&mut self, frame: &Frame<'_, T>) {
        let d = frame.decoder;
        let (k, features, h2) = (d.v1.value.ncols(), self.features.len(), d.v2.value.nrows());
        let [w1, w2] = frame.second.width;
        let sums = &mut self.sums;
        sums.log_lik = 0.0;
        clear(&mut sums.v1t, k, w1);
        sums.v2.zeros(w1 * w2);
        clear(&mut sums.v2t, d.v1.value.nrows(), w2);
        sums.b2.clear();
        sums.b2.resize(w2, T::ZERO);
        if frame.pt.is_some() {
            clear(&mut sums.pt, k, h2);
        }
        sums.dz.resize_with(frame.tiles.len(), Default::default);
        sums.dsize.resize_with(frame.tiles.len(), Default::default);
        for (at, tile) in frame.tiles.iter().enumerate() {
            clear(&mut sums.dz[at], tile.z.nrows(), tile.z.ncols());
            sums.dsize[at].clear();
            sums.dsize[at].resize(tile.size.len(), 0.0);
        }
        sums.turns.clear();
        sums.turns.extend(frame.lines.iter().map(|l| l.as_ref().map_or(Turn::default(), Line::turn)));
        let rows = &mut self.rows;
        clear(&mut rows.w, features, k);
        clear(&mut rows.v3, features, h2);
        if matches!(d.skip, Skip::Direct(_)) {
            clear(&mut rows.u, features, k);
        }
        rows.b3.clear();
        rows.b3.resize(features, T::ZERO);
        rows.noise.clear();
        rows.noise.resize(features, 0.0);
    }
}

/// A part's pass, in the instructions that the processor has.
struct Run<'a, 'b, T> {
    frame: &'a Frame<'b, T>,
    part: &'a mut Part<T>,
}

impl<T: Real> WithSimd for Run<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Run { frame, part } = self;
        let mut law = Row::new(frame.decoder.law);
        for slot in 0..part.features.len() {
            law.take(frame.decoder.noise.value[[0, part.features[slot]]].wide());
            for at in 0..frame.tiles.len() {
                feature(simd, frame, part, slot, at, &mut law);
            }
        }
    }
}

/// One feature and the samples of one study.
#[inline(always)]
fn feature<T: Real, S: Simd>(
    simd: S,
    frame: &Frame<'_, T>,
    part: &mut Part<T>,
    slot: usize,
    at: usize,
    law: &mut Row,
) {
    let (tile, decoder) = (&frame.tiles[at], frame.decoder);
    let Part { features, sums, rows, work } = part;
    let j = features[slot];
    let (n, w, v) = (tile.z.ncols(), row(&decoder.w.value, j), row(&decoder.v3.value, j));
    work.active.clear();
    work.active.extend((0..tile.columns.len()).filter(|&p| w[tile.columns[p]] != T::ZERO));
    let Work { active, q, g, chain, line: memory, others, plane: walk } = work;
    let alone = match active[..] {
        [p] => {
            frame.lines[tile.columns[p]].as_ref().zip(frame.orders[at][p].as_ref()).map(|found| (p, found))
        }
        _ => None,
    };
    g.resize(n, T::ZERO);
    // The skip, and the constant part.
    g.fill(decoder.b3.value[[0, j]]);
    q.clear();
    for p in 0..tile.columns.len() {
        let k = tile.columns[p];
        let slope = match (&frame.pt, &decoder.skip) {
            _ if !frame.full && w[k] == T::ZERO => T::ZERO,
            (Some(pt), _) => dot(row(pt, k), v),
            (None, Skip::Direct(u)) => u.value[[j, k]],
            _ => T::ZERO,
        };
        q.push(slope);
        if slope != T::ZERO && w[k] != T::ZERO {
            axpy(slope * w[k], row(&tile.z, p), g);
        }
    }
    // h₂ and o, then g, and back.
    let (x, scale) = (&row(&tile.x, j)[..n], frame.scale);
    let (dw, dv) = (row_mut(&mut rows.w, slot), row_mut(&mut rows.v3, slot));
    let (mut log_lik, mut noise) = (0.0, 0.0);
    if active.is_empty() {
        let constant = dot(v, &frame.rest);
        g.iter_mut().for_each(|o| *o += constant);
        (log_lik, noise) = law.pass(x, &tile.size, g, scale, &mut sums.dsize[at]);
        let total = sum(g);
        axpy(total, &frame.rest, dv);
        for ((b2, v), rest) in sums.b2.iter_mut().zip(v).zip(&frame.rest) {
            *b2 += if *rest > T::ZERO { total * *v } else { T::ZERO };
        }
    } else if let Some((p, (line, order))) = alone {
        let k = tile.columns[p];
        let lone = Lone { w: w[k], v, b2: frame.second.bias() };
        line.forward(simd, order, lone, memory, g);
        (log_lik, noise) = law.pass(x, &tile.size, g, scale, &mut sums.dsize[at]);
        let (turn, dz) = (&mut sums.turns[k], row_mut(&mut sums.dz[at], p));
        let own = line.backward(simd, order, lone, memory, g, (dv, &mut sums.b2), turn, dz);
        if frame.full {
            let zt = &frame.across[at];
            let [slopes, all] = others;
            slopes.resize(zt.ncols(), T::ZERO);
            all.clear();
            all.resize(slopes.len(), T::ZERO);
            line.others(order, lone, memory, zt, slopes, all);
            all[k] = T::ZERO;
            axpy(T::ONE, all, dw);
        }
        dw[k] += own;
    } else {
        for from in (0..n).step_by(chain::BLOCK) {
            let samples = from..n.min(from + chain::BLOCK);
            let block = chain::Block { tile: at, from, n: samples.len(), active, w, v };
            let [h2, h1] = decoder.v2.value.shape()[..] else { continue };
            let pair = match active[..] {
                [p, q] if plane::pays(block.n, h1, h2) => {
                    frame.planes.get(&(tile.columns[p], tile.columns[q])).map(|plane| (plane, [p, q]))
                }
                _ => None,
            };
            match pair {
                Some(pair) => {
                    plane::forward(simd, frame, block, pair, (walk, chain), &mut g[samples.clone()])
                }
                None => chain::forward(simd, frame, block, chain, &mut g[samples.clone()]),
            }
            let size = tile.size.get(samples.clone()).unwrap_or_default();
            let dsize = sums.dsize[at].get_mut(samples.clone()).unwrap_or_default();
            let (ll, dn) = law.pass(&x[samples.clone()], size, &mut g[samples.clone()], scale, dsize);
            (log_lik, noise) = (log_lik + ll, noise + dn);
            match pair {
                Some(pair) => {
                    plane::backward(simd, frame, block, pair, (walk, chain), &g[samples], sums, dw, dv)
                }
                None => chain::backward(simd, frame, block, chain, &g[samples], sums, dw, dv),
            }
        }
    }
    sums.log_lik += log_lik;
    rows.noise[slot] -= scale * noise;
    rows.b3[slot] += sum(g);
    if matches!(decoder.skip, Skip::None) {
        return;
    }
    for (p, &k) in tile.columns.iter().enumerate() {
        if w[k] == T::ZERO && !frame.full {
            continue;
        }
        let r = dot(row(&tile.z, p), g);
        dw[k] += q[p] * r;
        if w[k] == T::ZERO {
            continue;
        }
        axpy(q[p] * w[k], g, row_mut(&mut sums.dz[at], p));
        match &frame.pt {
            Some(pt) => {
                axpy(w[k] * r, row(pt, k), dv);
                axpy(w[k] * r, v, row_mut(&mut sums.pt, k));
            }
            None => rows.u[[slot, k]] += w[k] * r,
        }
    }
}

impl<T: Real> Decode<T> for Fused<T> {
    fn pass(&mut self, decoder: &mut Decoder<T>, tiles: &[Tile<T>], scale: f64) -> Pass<T> {
        let turned = |p: &Param<T>| p.value.t().as_standard_layout().into_owned();
        let second = chain::Second::new(&decoder.v2.value, &decoder.b2.value);
        let (h1, k) = decoder.v1.value.dim();
        let mut v1t = Array2::from_elem((k, second.width[0]), T::ZERO);
        v1t.slice_mut(s![.., ..h1]).assign(&decoder.v1.value.t());
        let mut v2t = Array2::from_elem((h1, second.width[1]), T::ZERO);
        let h2 = decoder.v2.value.nrows();
        v2t.slice_mut(s![.., ..h2]).assign(&decoder.v2.value.t());
        let planes = Plane::all(pairs(decoder, tiles), &v1t, &v2t);
        let whole = |tile: &Tile<T>| {
            let (columns, n) = tile.z.dim();
            let mut z = Array2::from_elem((columns, n.next_multiple_of(ROWS)), T::ZERO);
            z.slice_mut(s![.., ..n]).assign(&tile.z);
            z
        };
        // Columns of Q, where weights that are 0 count too.
        let width = if self.full { k.next_multiple_of(lanes::<T>()) } else { 0 };
        let (lines, orders) = lines(decoder, tiles, &v1t, &v2t, second.bias(), width);
        let across = |tile: &Tile<T>| {
            let mut zt = Array2::from_elem((if self.full { tile.z.ncols() } else { 0 }, width), T::ZERO);
            for (i, mut z) in zt.rows_mut().into_iter().enumerate() {
                tile.columns.iter().enumerate().for_each(|(p, &k)| z[k] = tile.z[[p, i]]);
            }
            zt
        };
        let frame = Frame {
            tiles,
            scale,
            full: self.full,
            z: tiles.iter().map(whole).collect(),
            across: tiles.iter().map(across).collect(),
            none: vec![T::ZERO; k],
            first: tiles.iter().map(|t| chain::pack_first(second.width[0], &v1t, &t.columns)).collect(),
            second,
            v1t,
            v2t,
            planes,
            pt: match &decoder.skip {
                Skip::Projected(p) => Some(turned(p)),
                _ => None,
            },
            rest: decoder.b2.value.iter().map(|b| b.larger(T::ZERO)).collect(),
            lines,
            orders,
            decoder,
        };
        let dealt = deal(decoder, tiles, self.full);
        self.parts.resize_with(dealt.len(), Part::default);
        self.parts.par_iter_mut().zip(dealt).for_each(|(part, features)| {
            settle();
            part.features = features;
            part.ready(&frame);
            pulp::Arch::new().dispatch(Run { frame: &frame, part });
        });
        let zero = |tile: &Tile<T>| Array2::from_elem(tile.z.dim(), T::ZERO);
        let mut out = Pass {
            log_lik: 0.0,
            dz: tiles.iter().map(zero).collect(),
            dsize: tiles.iter().map(|t| vec![0.0; t.size.len()]).collect(),
        };
        // The derivatives in the columns' lines, over all parts, and from there to V₁ and V₂.
        let mut turns: Vec<Turn<T>> = Vec::new();
        let mut dv1t = Array2::from_elem(frame.v1t.dim(), T::ZERO);
        let mut dv2t = Array2::from_elem(frame.v2t.dim(), T::ZERO);
        let [w1, w2] = frame.second.width;
        let mut panels = vec![T::ZERO; w1 * w2];
        let mut dpt = Array2::from_elem(self.parts.first().map_or((0, 0), |p| p.sums.pt.dim()), T::ZERO);
        for Part { sums, .. } in &self.parts {
            turns.resize_with(sums.turns.len(), Default::default);
            for (to, from) in turns.iter_mut().flatten().zip(sums.turns.iter().flatten()) {
                to.resize(from.len(), T::ZERO);
                axpy(T::ONE, from, to);
            }
            dv1t += &sums.v1t;
            dv2t += &sums.v2t;
            dpt += &sums.pt;
            axpy(T::ONE, sums.v2.taken(w1 * w2), &mut panels);
        }
        for (k, turn) in turns.iter().enumerate().filter(|(_, turn)| !turn[0].is_empty()) {
            Line::fold(turn, row(&frame.v1t, k), &frame.v2t, row_mut(&mut dv1t, k), &mut dv2t);
        }
        frame.second.unpack(&panels, &mut decoder.v2.grad);
        decoder.v1.grad += &dv1t.slice(s![.., ..h1]).t();
        decoder.v2.grad += &dv2t.slice(s![.., ..h2]).t();
        if let Skip::Projected(p) = &mut decoder.skip {
            p.grad += &dpt.t();
        }
        for part in &self.parts {
            add(decoder, part, &mut out);
        }
        out
    }
}

/// Adds one part's results, in the order of the parts.
fn add<T: Real>(decoder: &mut Decoder<T>, part: &Part<T>, out: &mut Pass<T>) {
    let Part { features, sums, rows, .. } = part;
    out.log_lik += sums.log_lik;
    decoder.b2.grad.iter_mut().zip(&sums.b2).for_each(|(to, s)| *to += *s);
    out.dz.iter_mut().zip(&sums.dz).for_each(|(to, s)| *to += s);
    for (to, s) in out.dsize.iter_mut().zip(&sums.dsize) {
        to.iter_mut().zip(s).for_each(|(to, s)| *to += s);
    }
    for (slot, &j) in features.iter().enumerate() {
        axpy(T::ONE, row(&rows.w, slot), row_mut(&mut decoder.w.grad, j));
        axpy(T::ONE, row(&rows.v3, slot), row_mut(&mut decoder.v3.grad, j));
        if let Skip::Direct(u) = &mut decoder.skip {
            axpy(T::ONE, row(&rows.u, slot), row_mut(&mut u.grad, j));
        }
        decoder.b3.grad[[0, j]] += rows.b3[slot];
        decoder.noise.grad[[0, j]] += T::of(rows.noise[slot]);
    }
}

#[cfg(test)]
mod tests;
