//! The networks of one side: lines to q(z | x), and z to what the likelihood reads.
//!
//! ```text
//! encoder:  h₁ = relu(x W₁ + b₁),  hₗ = relu(Vₗ hₗ₋₁ + bₗ),   m = V_m h + b_m,   log s² = clamp(V_s h + b_s, −8, 4)
//! decoder:  the same layers from u, in reverse order, to o = V_o h + b_o
//! ```
//!
//! | symbol | shape      | meaning                            |
//! |--------|------------|------------------------------------|
//! | x      | B × width  | lines as the encoder sees them     |
//! | W₁     | width × h  | first layer; a row for each input  |
//! | o      | BK × width | outputs                            |
//!
//! Where few entries of a line are not 0 the first layer reads those alone: forward a line's own, backward those of the batch by
//! columns, so that every row of dW₁ is summed by one task in the order of the lines.

use ndarray::{Array2, ArrayView2, s};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bound::Posterior;
use crate::linalg::{Accum, gemm_in_parts, product_in_parts, settle};
use crate::nn::activation::relu_adjoint;
use crate::nn::lanes::axpy;
use crate::nn::linear::{Linear, rectify};
use crate::nn::wide::fast;
use crate::nn::{Param, Real, add_column_sums, flat, flat_mut};

/// Least and largest log s².
pub const SPREAD: (f64, f64) = (-8.0, 4.0);

/// All lines of one side as an encoder reads them.
pub enum Lines<T> {
    /// Every entry.
    Dense(Array2<T>),
    /// Entries that are not 0: where each line begins, places, values; and the width.
    Sparse(Vec<usize>, Vec<u32>, Vec<T>, usize),
}

/// Some lines.
pub enum Batch<T> {
    /// Every entry.
    Dense(Array2<T>),
    /// Entries that are not 0, by lines: beginnings, places, values.
    Sparse(Vec<usize>, Vec<u32>, Vec<T>),
}

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
                Batch::Dense(
                    Array2::from_shape_vec((lines, width), out)
                        .unwrap_or_else(|_| Array2::from_elem((0, width), T::ZERO)),
                )
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
                Batch::Sparse(begin, place, value)
            }
        }
    }
}

impl<T: Real> Batch<T> {
    /// Number of lines.
    pub fn len(&self) -> usize {
        match self {
            Batch::Dense(x) => x.nrows(),
            Batch::Sparse(begin, ..) => begin.len() - 1,
        }
    }
    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Sums that [`gather`] holds in registers.
const HELD: usize = 64;

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

/// The first layer, x W + b.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct First<T> {
    /// W, inputs × outputs.
    pub weight: Param<T>,
    /// b, 1 × outputs.
    pub bias: Param<T>,
}

impl<T: Real> First<T> {
    fn new(inputs: usize, outputs: usize, rng: &mut impl Rng) -> First<T> {
        First {
            weight: Param::uniform((inputs, outputs), inputs, rng),
            bias: Param::filled((1, outputs), 0.0),
        }
    }

    /// relu(x W + b).
    fn rectified(&self, x: &Batch<T>) -> Array2<T> {
        let mut y = match x {
            Batch::Dense(x) => product_in_parts(x.view(), self.weight.value.view()),
            Batch::Sparse(begin, place, value) => {
                let (rows, width) = (x.len(), self.weight.value.ncols());
                let mut y = Array2::from_elem((rows, width), T::ZERO);
                let w = flat(&self.weight.value);
                let all = flat_mut(&mut y).par_chunks_mut(width).enumerate().with_min_len(16);
                all.for_each(|(b, to)| {
                    settle();
                    let own = begin[b]..begin[b + 1];
                    let (place, value) = (&place[own.clone()], &value[own]);
                    gather(place.iter().map(|j| *j as usize).zip(value.iter().copied()), w, to);
                });
                y
            }
        };
        rectify(&mut y, &self.bias.value);
        y
    }

    fn backward(&mut self, x: &Batch<T>, dy: &Array2<T>) {
        let width = dy.ncols();
        add_column_sums(dy, &mut self.bias.grad);
        match x {
            Batch::Dense(x) => gemm_in_parts(self.weight.grad.view_mut(), Accum::Add, x.t(), dy.view()),
            Batch::Sparse(begin, place, value) => {
                let inputs = self.weight.grad.nrows();
                // The batch by columns.
                let mut from = vec![0usize; inputs + 1];
                place.iter().for_each(|j| from[*j as usize + 1] += 1);
                for j in 0..inputs {
                    from[j + 1] += from[j];
                }
                let mut next = from.clone();
                let mut entries = vec![(0u32, T::ZERO); place.len()];
                for b in 0..begin.len() - 1 {
                    for e in begin[b]..begin[b + 1] {
                        let at = &mut next[place[e] as usize];
                        entries[*at] = (b as u32, value[e]);
                        *at += 1;
                    }
                }
                let dy = flat(dy);
                let all = flat_mut(&mut self.weight.grad).par_chunks_mut(width).enumerate().with_min_len(64);
                all.for_each(|(j, to)| {
                    settle();
                    gather(entries[from[j]..from[j + 1]].iter().map(|(b, v)| (*b as usize, *v)), dy, to);
                });
            }
        }
    }
}

fn rectify_adjoint<T: Real>(a: &Array2<T>, d: &mut Array2<T>) {
    if let (Some(a), Some(d)) = (a.as_slice(), d.as_slice_mut()) {
        fast!(|| relu_adjoint(a, d));
    }
}

/// Lines to q(z | x).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Encoder<T> {
    first: First<T>,
    deeper: Vec<Linear<T>>,
    mean: Linear<T>,
    spread: Linear<T>,
}

/// What the backward pass needs of a forward pass.
pub struct Coded<T> {
    /// h₁, h₂, …
    pub layers: Vec<Array2<T>>,
    /// m and log s².
    pub posterior: Posterior,
    /// Where log s² is not at its ends.
    free: Array2<bool>,
}

impl<T: Real> Coded<T> {
    /// The last hidden layer.
    pub fn hidden(&self) -> &Array2<T> {
        &self.layers[self.layers.len() - 1]
    }
}

impl<T: Real> Encoder<T> {
    /// Of lines of the given width; there is at least one hidden layer.
    pub fn new(width: usize, hidden: &[usize], latent: usize, rng: &mut impl Rng) -> Encoder<T> {
        let first = First::new(width, hidden[0], rng);
        let deeper = hidden.windows(2).map(|w| Linear::new(w[0], w[1], rng)).collect();
        let top = hidden[hidden.len() - 1];
        Encoder { first, deeper, mean: Linear::new(top, latent, rng), spread: Linear::new(top, latent, rng) }
    }

    /// q(z | x) of some lines.
    pub fn forward(&self, x: &Batch<T>) -> Coded<T> {
        let mut layers = vec![self.first.rectified(x)];
        for linear in &self.deeper {
            layers.push(linear.rectified(layers[layers.len() - 1].view()));
        }
        let top = layers[layers.len() - 1].view();
        let raw = self.spread.forward(top).mapv(|v| v.wide());
        let mean = self.mean.forward(top).mapv(|v| v.wide());
        let free = raw.mapv(|v| v > SPREAD.0 && v < SPREAD.1);
        let log_variance = raw.mapv(|v| v.clamp(SPREAD.0, SPREAD.1));
        Coded { layers, posterior: Posterior { mean, log_variance }, free }
    }

    /// Entries of a line.
    pub fn width(&self) -> usize {
        self.first.weight.value.nrows()
    }

    /// W₁, and what else m needs: b₁ and in turn the weights and biases of the deeper layers and of m, row by row.
    pub fn stored(&self) -> (&Array2<T>, Vec<T>) {
        let mut rest: Vec<T> = self.first.bias.value.iter().copied().collect();
        for linear in self.deeper.iter().chain([&self.mean]) {
            rest.extend(linear.weight.value.iter().chain(&linear.bias.value).copied());
        }
        (&self.first.weight.value, rest)
    }

    /// The encoder with one deeper layer of which [`stored`](Self::stored) gave these; log s² is 0. `None` where sizes do not fit.
    pub fn restored(first: Array2<T>, latent: usize, rest: &[f64]) -> Option<Encoder<T>> {
        let width = first.ncols();
        // b₁, and with H₂ numbers in the second layer H₂ (H₁ + 1) + L (H₂ + 1).
        let left = rest.len().checked_sub(width + latent)?;
        let top = left / (width + 1 + latent);
        if top == 0 || left != top * (width + 1 + latent) {
            return None;
        }
        let mut rest = rest.iter().map(|v| T::of(*v));
        let mut take = |rows, cols| {
            Param::new(Array2::from_shape_simple_fn((rows, cols), || rest.next().unwrap_or(T::ZERO)))
        };
        let bias = take(1, width);
        let deeper = vec![Linear { weight: take(top, width), bias: take(1, top) }];
        let mean = Linear { weight: take(latent, top), bias: take(1, latent) };
        let none = |rows, cols| Param::new(Array2::from_elem((rows, cols), T::ZERO));
        let spread = Linear { weight: none(latent, top), bias: none(1, latent) };
        Some(Encoder { first: First { weight: Param::new(first), bias }, deeper, mean, spread })
    }

    /// Adds the gradients of every parameter from those of m and log s², and of the last hidden layer of the first lines where there
    /// is one.
    pub fn backward(&mut self, x: &Batch<T>, coded: &Coded<T>, d: &Posterior, hidden: Option<&Array2<T>>) {
        let top = coded.hidden();
        let dm = d.mean.mapv(T::of);
        let mut ds = d.log_variance.mapv(T::of);
        ds.zip_mut_with(&coded.free, |d, free| *d = if *free { *d } else { T::ZERO });
        self.mean.backward(top.view(), &dm);
        self.spread.backward(top.view(), &ds);
        let mut dh = Array2::from_elem(top.dim(), T::ZERO);
        if let Some(hidden) = hidden {
            dh.slice_mut(s![..hidden.nrows(), ..]).assign(hidden);
        }
        self.mean.backward_input(&dm, &mut dh);
        self.spread.backward_input(&ds, &mut dh);
        for (l, linear) in self.deeper.iter_mut().enumerate().rev() {
            rectify_adjoint(&coded.layers[l + 1], &mut dh);
            let below = &coded.layers[l];
            linear.backward(below.view(), &dh);
            dh = linear.input_gradient(&dh);
        }
        rectify_adjoint(&coded.layers[0], &mut dh);
        self.first.backward(x, &dh);
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        f("encoder.first.weight", &mut self.first.weight);
        f("encoder.first.bias", &mut self.first.bias);
        for (l, linear) in self.deeper.iter_mut().enumerate() {
            linear.visit(&format!("encoder.l{}", l + 2), f);
        }
        self.mean.visit("encoder.mean", f);
        self.spread.visit("encoder.spread", f);
    }
}

/// Points to what the likelihood reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Decoder<T> {
    hidden: Vec<Linear<T>>,
    /// The last layer, whose bias starts at the log shares of the outputs.
    pub out: Linear<T>,
}

impl<T: Real> Decoder<T> {
    /// From L numbers through the given hidden layers to lines of the given width, whose biases start at `bias`.
    pub fn new(latent: usize, hidden: &[usize], bias: &[f64], rng: &mut impl Rng) -> Decoder<T> {
        let mut width = latent;
        let layers = hidden.iter().map(|&size| {
            let layer = Linear::new(width, size, rng);
            width = size;
            layer
        });
        let hidden = layers.collect();
        let mut out = Linear::new(width, bias.len(), rng);
        out.bias.value.iter_mut().zip(bias).for_each(|(to, v)| *to = T::of(*v));
        Decoder { hidden, out }
    }

    /// Hidden layers and outputs.
    pub fn forward(&self, u: ArrayView2<'_, T>) -> (Vec<Array2<T>>, Array2<T>) {
        let mut layers: Vec<Array2<T>> = Vec::new();
        for linear in &self.hidden {
            layers.push(linear.rectified(layers.last().map_or(u, |h| h.view())));
        }
        let out = self.out.forward(layers.last().map_or(u, |h| h.view()));
        (layers, out)
    }

    /// Adds the gradients of every parameter from that of the outputs; the gradient of u.
    pub fn backward(&mut self, u: ArrayView2<'_, T>, layers: &[Array2<T>], dout: &Array2<T>) -> Array2<T> {
        let top = layers.last().map_or(u, |h| h.view());
        self.out.backward(top, dout);
        let mut d = self.out.input_gradient(dout);
        for (l, linear) in self.hidden.iter_mut().enumerate().rev() {
            rectify_adjoint(&layers[l], &mut d);
            let below = if l == 0 { u } else { layers[l - 1].view() };
            linear.backward(below, &d);
            d = linear.input_gradient(&d);
        }
        d
    }

    /// Calls `f` with each parameter and its name.
    pub fn visit(&mut self, f: &mut impl FnMut(&str, &mut Param<T>)) {
        for (l, linear) in self.hidden.iter_mut().enumerate() {
            linear.visit(&format!("decoder.l{}", l + 1), f);
        }
        self.out.visit("decoder.out", f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::nn::check::{normal, slopes};
    use ndarray::array;

    fn sparse(x: &Array2<f64>) -> Batch<f64> {
        let (mut begin, mut place, mut value) = (vec![0], vec![], vec![]);
        for row in x.rows() {
            row.iter().enumerate().filter(|(_, v)| **v != 0.0).for_each(|(j, v)| {
                place.push(j as u32);
                value.push(*v);
            });
            begin.push(place.len());
        }
        Batch::Sparse(begin, place, value)
    }

    #[test]
    fn encoders_follow_differences_sparse_or_not() {
        let mut rng = Seed(1).stream(Draw::Init, 0);
        let mut encoder = Encoder::<f64>::new(6, &[5, 4], 2, &mut rng);
        let x = normal(7, 6, 2).mapv(|v| if v > 0.2 { v } else { 0.0 });
        let (to_mean, to_spread, to_hidden) = (normal(7, 2, 3), normal(7, 2, 4), normal(7, 4, 5));
        let loss = |e: &Encoder<f64>| {
            let c = e.forward(&Batch::Dense(x.clone()));
            (&c.posterior.mean * &to_mean).sum()
                + (&c.posterior.log_variance * &to_spread).sum()
                + (c.hidden() * &to_hidden).sum()
        };
        let start = encoder.clone();
        let d = Posterior { mean: to_mean.clone(), log_variance: to_spread.clone() };
        let mut grads = Vec::new();
        for batch in [Batch::Dense(x.clone()), sparse(&x)] {
            let mut e = start.clone();
            let coded = e.forward(&batch);
            e.backward(&batch, &coded, &d, Some(&to_hidden));
            let mut all = Vec::new();
            e.visit(&mut |name, p| all.push((name.to_owned(), p.grad.clone())));
            grads.push(all);
        }
        for (a, b) in grads[0].iter().zip(&grads[1]) {
            assert!((&a.1 - &b.1).iter().all(|v| v.abs() < 1e-12), "{}", a.0);
        }
        fn nth(e: &mut Encoder<f64>, at: usize) -> &mut Array2<f64> {
            match at {
                0 => &mut e.first.weight.value,
                1 => &mut e.first.bias.value,
                2 => &mut e.deeper[0].weight.value,
                3 => &mut e.deeper[0].bias.value,
                4 => &mut e.mean.weight.value,
                5 => &mut e.mean.bias.value,
                6 => &mut e.spread.weight.value,
                _ => &mut e.spread.bias.value,
            }
        }
        for (at, (name, grad)) in grads[0].iter().enumerate() {
            slopes(name, &start, |e| nth(e, at), grad, loss);
        }
        encoder.visit(&mut |_, p| p.clear());
    }

    #[test]
    fn wide_first_layers_read_sparse_lines_as_dense_ones() {
        // Two stretches of sums that are held, and a rest.
        let width = 2 * HELD + 7;
        let x = normal(9, 40, 2).mapv(|v| if v > 0.6 { v } else { 0.0 });
        let start = First::<f64>::new(40, width, &mut Seed(3).stream(Draw::Init, 0));
        let dy = normal(9, width, 4);
        let run = |batch: Batch<f64>| {
            let mut first = start.clone();
            let y = first.rectified(&batch);
            first.backward(&batch, &dy);
            (y, first.weight.grad, first.bias.grad)
        };
        let (a, b) = (run(Batch::Dense(x.clone())), run(sparse(&x)));
        let near = |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().all(|v| v.abs() < 1e-13);
        assert!(near(&a.0, &b.0) && near(&a.1, &b.1) && a.2 == b.2);
        let plain = (x.dot(&start.weight.value) + &start.bias.value).mapv(|v| v.max(0.0));
        assert!(near(&a.0, &plain) && near(&a.1, &x.t().dot(&dy)));
    }

    #[test]
    fn stored_encoders_give_the_same_means() {
        let encoder = Encoder::<f64>::new(6, &[5, 4], 2, &mut Seed(1).stream(Draw::Init, 0));
        let x = Batch::Dense(normal(7, 6, 2));
        let (first, rest) = encoder.stored();
        let again = Encoder::restored(first.clone(), 2, &rest).unwrap();
        assert_eq!(again.forward(&x).posterior.mean, encoder.forward(&x).posterior.mean);
        assert!(Encoder::<f64>::restored(first.clone(), 2, &rest[1..]).is_none());
        assert!(Encoder::<f64>::restored(first.clone(), 3, &rest).is_none());
    }

    #[test]
    fn decoders_follow_differences() {
        let mut rng = Seed(2).stream(Draw::Init, 0);
        let mut decoder = Decoder::<f64>::new(2, &[4, 5], &[0.1; 6], &mut rng);
        let (u, weights) = (normal(7, 2, 6), normal(7, 6, 7));
        let state = (decoder.clone(), u.clone());
        let loss = |s: &(Decoder<f64>, Array2<f64>)| (s.0.forward(s.1.view()).1 * &weights).sum();
        let (layers, _) = decoder.forward(u.view());
        let du = decoder.backward(u.view(), &layers, &weights);
        slopes("u", &state, |s| &mut s.1, &du, loss);
        slopes("out", &state, |s| &mut s.0.out.weight.value, &decoder.out.weight.grad, loss);
        slopes("l1", &state, |s| &mut s.0.hidden[0].weight.value, &decoder.hidden[0].weight.grad, loss);
        slopes("l2", &state, |s| &mut s.0.hidden[1].bias.value, &decoder.hidden[1].bias.grad, loss);
    }

    #[test]
    fn corrupted_copies_lack_what_was_dropped() {
        let x = Lines::<f64>::Sparse(vec![0, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0], 3);
        let dropped = [vec![false], vec![true, false]];
        let Batch::Sparse(begin, place, value) = x.batch(&[1, 0], Some(&dropped)) else { panic!() };
        assert_eq!(begin, [0, 1, 3, 4, 5]);
        assert_eq!((place, value), (vec![1, 0, 2, 1, 2], vec![3.0, 1.0, 2.0, 3.0, 2.0]));
        let x = Lines::Dense(array![[1.0, 2.0], [3.0, 4.0]]);
        let Batch::Dense(found) = x.batch(&[1], Some(&[vec![false, true]])) else { panic!() };
        assert_eq!(found, array![[3.0, 4.0], [3.0, 0.0]]);
        let Batch::Dense(found) = x.batch(&[1, 0], None) else { panic!() };
        assert_eq!(found, array![[3.0, 4.0], [1.0, 2.0]]);
    }
}
