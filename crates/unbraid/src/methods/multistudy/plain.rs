//! The decoder written as the model is: every masked latent c_ij of a feature, then layer by layer. The slow twin of the
//! fused decoder, and the way to predict.

use ndarray::{Array1, Array2, ArrayView1};

use super::likelihood::Row;
use super::network::{Decode, Decoder, Pass, Skip, Tile, gather, scatter_add};
use crate::linalg::{Accum, gemm};
use crate::nn::Real;
use crate::nn::activation::{relu, relu_adjoint};

/// Layer by layer, feature by feature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

/// The parts of the decoder that a study sees.
struct Seen<T> {
    v1: Array2<T>,
    p: Option<Array2<T>>,
    u: Option<Array2<T>>,
    w: Array2<T>,
}

impl<T: Real> Seen<T> {
    fn of(decoder: &Decoder<T>, columns: &[usize]) -> Seen<T> {
        let (mut p, mut u) = (None, None);
        match &decoder.skip {
            Skip::Projected(all) => p = Some(gather(&all.value, columns)),
            Skip::Direct(all) => u = Some(gather(&all.value, columns)),
            Skip::None => {}
        }
        Seen { v1: gather(&decoder.v1.value, columns), p, u, w: gather(&decoder.w.value, columns) }
    }
}

/// c, h₁, h₂, P c and o of one feature.
struct Layers<T> {
    c: Array2<T>,
    h1: Array2<T>,
    h2: Array2<T>,
    past: Option<Array2<T>>,
    o: Array1<T>,
}

fn product<T: Real>(a: &Array2<T>, b: &Array2<T>) -> Array2<T> {
    let mut out = Array2::from_elem((a.nrows(), b.ncols()), T::ZERO);
    gemm(out.view_mut(), Accum::Replace, a.view(), b.view());
    out
}

/// `a · b` of a row with every column.
fn dot_columns<T: Real>(a: ArrayView1<'_, T>, b: &Array2<T>, into: &mut Array1<T>) {
    for (a, row) in a.iter().zip(b.rows()) {
        into.iter_mut().zip(row).for_each(|(o, b)| *o += *a * *b);
    }
}

/// `b` with each of its rows dotted with `g`.
fn dot_rows<T: Real>(b: &Array2<T>, g: &Array1<T>) -> Array1<T> {
    b.rows().into_iter().map(|row| row.iter().zip(g).fold(T::ZERO, |s, (b, g)| s + *b * *g)).collect()
}

fn layers<T: Real>(decoder: &Decoder<T>, seen: &Seen<T>, tile: &Tile<T>, j: usize) -> Layers<T> {
    let mut c = tile.z.clone();
    for (mut row, w) in c.rows_mut().into_iter().zip(seen.w.row(j)) {
        row.iter_mut().for_each(|c| *c *= *w);
    }
    let mut h1 = product(&seen.v1, &c);
    h1.as_slice_mut().into_iter().for_each(relu);
    let mut h2 = product(&decoder.v2.value, &h1);
    for (mut row, b) in h2.rows_mut().into_iter().zip(&decoder.b2.value) {
        row.iter_mut().for_each(|h| *h += *b);
    }
    h2.as_slice_mut().into_iter().for_each(relu);
    let mut o = Array1::from_elem(tile.z.ncols(), decoder.b3.value[[0, j]]);
    let v = decoder.v3.value.row(j);
    dot_columns(v, &h2, &mut o);
    let past = seen.p.as_ref().map(|p| product(p, &c));
    past.iter().for_each(|past| dot_columns(v, past, &mut o));
    seen.u.iter().for_each(|u| dot_columns(u.row(j), &c, &mut o));
    Layers { c, h1, h2, past, o }
}

impl Plain {
    /// o of every feature and sample of a tile, features × samples; `x` of the tile is not read.
    pub fn outputs<T: Real>(decoder: &Decoder<T>, tile: &Tile<T>) -> Array2<T> {
        let seen = Seen::of(decoder, &tile.columns);
        let mut o = Array2::from_elem((decoder.features(), tile.z.ncols()), T::ZERO);
        for (j, mut row) in o.rows_mut().into_iter().enumerate() {
            row.assign(&layers(decoder, &seen, tile, j).o);
        }
        o
    }
}

impl<T: Real> Decode<T> for Plain {
    fn pass(&mut self, decoder: &mut Decoder<T>, tiles: &[Tile<T>], scale: f64) -> Pass<T> {
        let mut out = Pass { log_lik: 0.0, dz: Vec::new(), dsize: Vec::new() };
        let mut law = Row::new(decoder.law);
        for tile in tiles {
            let seen = Seen::of(decoder, &tile.columns);
            let (n, columns) = (tile.z.ncols(), &tile.columns);
            let mut dz = Array2::from_elem(tile.z.dim(), T::ZERO);
            let mut dsize = vec![0.0; tile.size.len()];
            for j in 0..decoder.features() {
                let Layers { c, h1, h2, past, o: mut g } = layers(decoder, &seen, tile, j);
                law.take(decoder.noise.value[[0, j]].wide());
                let (x, v) = (tile.x.row(j).to_vec(), decoder.v3.value.row(j).to_owned());
                let (sum, noise) =
                    law.pass(&x, &tile.size, g.as_slice_mut().unwrap_or_default(), scale, &mut dsize);
                out.log_lik += sum;
                decoder.noise.grad[[0, j]] += T::of(-scale * noise);
                decoder.b3.grad[[0, j]] += g.iter().fold(T::ZERO, |s, g| s + *g);
                // v_j, from h₂ and P c
                let mut dv = dot_rows(&h2, &g);
                past.iter().for_each(|past| dv = &dv + &dot_rows(past, &g));
                decoder.v3.grad.row_mut(j).iter_mut().zip(&dv).for_each(|(to, d)| *to += *d);
                // h₂, h₁, c
                let outer = |v: ArrayView1<'_, T>| Array2::from_shape_fn((v.len(), n), |(h, i)| v[h] * g[i]);
                let masked = |y: &Array2<T>, mut dy: Array2<T>| {
                    if let (Some(y), Some(dy)) = (y.as_slice(), dy.as_slice_mut()) {
                        relu_adjoint(y, dy);
                    }
                    dy
                };
                let dh2 = masked(&h2, outer(v.view()));
                for (to, row) in decoder.b2.grad.iter_mut().zip(dh2.rows()) {
                    *to += row.iter().fold(T::ZERO, |s, d| s + *d);
                }
                gemm(decoder.v2.grad.view_mut(), Accum::Add, dh2.view(), h1.t());
                let mut dh1 = Array2::from_elem(h1.dim(), T::ZERO);
                gemm(dh1.view_mut(), Accum::Replace, decoder.v2.value.t(), dh2.view());
                let dh1 = masked(&h1, dh1);
                let dv1 = product(&dh1, &c.t().as_standard_layout().into_owned());
                scatter_add(&dv1, columns, &mut decoder.v1.grad);
                let mut dc = Array2::from_elem(c.dim(), T::ZERO);
                gemm(dc.view_mut(), Accum::Replace, seen.v1.t(), dh1.view());
                // the skip
                let by_column = dot_rows(&c, &g);
                let mut add_to_c =
                    |q: ArrayView1<'_, T>| dc.iter_mut().zip(outer(q)).for_each(|(d, v)| *d += v);
                match &mut decoder.skip {
                    Skip::Projected(p) => {
                        let q =
                            seen.p.as_ref().map_or(Array1::default(0), |p| dot_rows(&p.t().to_owned(), &v));
                        add_to_c(q.view());
                        for (h, mut row) in p.grad.rows_mut().into_iter().enumerate() {
                            columns.iter().zip(&by_column).for_each(|(&k, r)| row[k] += v[h] * *r);
                        }
                    }
                    Skip::Direct(u) => {
                        seen.u.iter().for_each(|u| add_to_c(u.row(j)));
                        columns.iter().zip(&by_column).for_each(|(&k, r)| u.grad[[j, k]] += *r);
                    }
                    Skip::None => {}
                }
                // w and z
                for (at, &k) in columns.iter().enumerate() {
                    let (dc, z) = (dc.row(at), tile.z.row(at));
                    decoder.w.grad[[j, k]] += dc.iter().zip(z).fold(T::ZERO, |s, (d, z)| s + *d * *z);
                    let w = seen.w[[j, at]];
                    dz.row_mut(at).iter_mut().zip(dc).for_each(|(to, d)| *to += w * *d);
                }
            }
            out.dz.push(dz);
            out.dsize.push(dsize);
        }
        out
    }
}
