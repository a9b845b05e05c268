//! A move done to a state: codes by regression on the encoder's last hidden layer, last rows by regression on the decoder's.
//!
//! The code of a column that is filled anew is what the encoder's last hidden layer tells, by ridge regression, of the first
//! principal component of its features' residuals without the columns taken out. Its part of the decoder is that of the column
//! taken out that held most of its features. The latent of a column taken out for good is made to tell nothing, or its weights would
//! come back. Then for each feature that is touched
//!
//! ```text
//! (v_j, b₃_j) = argmin Σ_i (x_ij − v · (h₂ + P c)_ij − b)² + ridge,      σ_j² = (Σ_i r_ij² + 2 β) / (N + 2 α + 2)
//! ```
//!
//! at z = μ, so that a trial starts near where it would end.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use super::Move;
use super::propose::standardise;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::{gram, matmul};
use crate::methods::multistudy::elbo;
use crate::methods::multistudy::mssvae::train::{Problem, State};
use crate::methods::multistudy::network::{Network, Skip, Tile};
use crate::methods::multistudy::plain::Plain;
use crate::nn::mlp::Encoder;

/// Ridge of a regression, as a share of the mean square.
const RIDGE: f64 = 1e-4;
/// Weight of a feature in a column that has no weights to go by.
const WEIGHT: f32 = 1.0;

impl Problem<'_> {
    /// The samples of a study as the decoder reads them in evaluation, z = μ.
    pub(super) fn tile(&self, network: &Network<f32>, study: usize) -> Tile<f32> {
        let x = self.x.select(Axis(0), &self.samples[study]);
        let found = elbo::encode(network, study, x.view());
        let turned = |a: Array2<f32>| a.t().as_standard_layout().into_owned();
        Tile { columns: self.columns.of(study), z: turned(found.mean), x: turned(x), size: found.size }
    }

    /// The encoder that gives the latent of a column, and which of its outputs that is.
    fn head<'n>(&self, network: &'n mut Network<f32>, k: usize) -> Option<(&'n mut Encoder<f32>, usize)> {
        let (encoder, first) = match self.columns.owners()[k] {
            None => (network.shared.as_mut(), 0),
            Some(m) => (network.own[m].as_mut(), self.columns.own(m).start),
        };
        encoder.map(|e| (e, k - first))
    }

    /// Does a move.
    pub(super) fn apply(&self, s: &mut State, next: &Move) {
        let owners = self.columns.owners();
        let old = s.network.clone();
        let of_old = |k: usize| old.decoder.w.value.column(k);
        // A column that is filled may hold weights that its code made nothing of.
        let cleared: BTreeSet<usize> =
            next.empty.iter().copied().chain(next.fill.iter().map(|(k, _)| *k)).collect();
        // Before anything changes: the residuals that new codes follow.
        let tiles: Vec<Tile<f32>> = (0..self.samples.len()).map(|m| self.tile(&old, m)).collect();
        let targets: Vec<Array1<f64>> = next
            .fill
            .iter()
            .map(|(k, group)| {
                let mut decoder = old.decoder.of_features(group);
                cleared.iter().for_each(|&c| decoder.w.value.index_axis_mut(Axis(1), c).fill(0.0));
                let of = |m: usize| {
                    let mut r = tiles[m].x.select(Axis(0), group) - Plain::outputs(&decoder, &tiles[m]);
                    standardise(&mut r);
                    r.mapv(f64::from)
                };
                let all: Vec<Array2<f64>> = self.seen(owners[*k]).map(of).collect();
                let views: Vec<ArrayView2<'_, f64>> = all.iter().map(|r| r.view()).collect();
                principal_scores(&concatenate(Axis(1), &views).unwrap_or_default())
            })
            .collect();
        let mut touched: Vec<usize> = Vec::new();
        for &k in &cleared {
            touched.extend((0..self.x.ncols()).filter(|&j| of_old(k)[j] != 0.0));
            for j in 0..self.x.ncols() {
                s.network.decoder.w.place([j, k], 0.0, [j, k]);
                s.membership.member[[j, k]] = 0.0;
            }
            if let Some((encoder, at)) = self.head(&mut s.network, k) {
                for head in [&mut encoder.mean, &mut encoder.spread] {
                    (0..head.weight.value.ncols()).for_each(|h| head.weight.place([at, h], 0.0, [at, h]));
                    head.bias.place([0, at], 0.0, [0, at]);
                }
            }
        }
        let held = |c: usize, group: &[usize]| group.iter().filter(|&&j| of_old(c)[j] != 0.0).count();
        // Each takes the part of another column: with the same one, the decoder could not tell two new columns apart.
        let mut given = next.empty.clone();
        for ((k, group), target) in next.fill.iter().zip(targets) {
            let from = given.iter().copied().max_by_key(|&c| (held(c, group), usize::MAX - c));
            given.retain(|c| Some(*c) != from);
            if let Some(from) = from {
                let decoder = &mut s.network.decoder;
                decoder.v1.copy_column(*k, &old.decoder.v1, from);
                match (&mut decoder.skip, &old.decoder.skip) {
                    (Skip::Projected(p), Skip::Projected(of)) | (Skip::Direct(p), Skip::Direct(of)) => {
                        p.copy_column(*k, of, from);
                    }
                    _ => {}
                }
            }
            self.weigh(s, &old, (*k, from.unwrap_or(*k)), group);
            s.membership.eta[*k] = 0.5;
            // Old codes of the same encoder, if any, have what a new one needs.
            let kin: Vec<usize> = next.empty.iter().copied().filter(|&c| owners[c] == owners[*k]).collect();
            if let Some(from) = from.filter(|_| !kin.is_empty()) {
                self.turn(&mut s.network, &old, (*k, from), &kin, &tiles, &target);
                touched.extend(group);
                continue;
            }
            self.teach(&mut s.network, *k, &target);
            touched.extend(group);
        }
        for (k, group) in &next.join {
            self.weigh(s, &old, (*k, *k), group);
            touched.extend(group);
        }
        touched.sort_unstable();
        touched.dedup();
        self.settle_rows(&mut s.network, &touched);
    }

    /// The studies that see a column of this owner.
    fn seen(&self, owner: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        (0..self.samples.len()).filter(move |m| owner.is_none_or(|o| o == *m))
    }

    /// Weights of the features in a column, as large as those that the column `from` had.
    fn weigh(&self, s: &mut State, old: &Network<f32>, (k, from): (usize, usize), group: &[usize]) {
        let column = old.decoder.w.value.column(from);
        let large: Vec<usize> =
            (0..column.len()).filter(|&j| f64::from(column[j].abs()) > self.params.threshold).collect();
        let mean = large.iter().map(|&j| column[j].abs()).sum::<f32>() / large.len().max(1) as f32;
        let typical = if large.is_empty() { WEIGHT } else { mean };
        for &j in group {
            let (value, like) = match large.contains(&j) {
                true => (column[j], j),
                false => (typical, large.first().copied().unwrap_or(j)),
            };
            s.network.decoder.w.place_like([j, k], value, &old.decoder.w, [like, from]);
            s.membership.member[[j, k]] = 1.0;
        }
    }

    /// Sets the encoder's head of a column to a combination of the heads of old ones, from their codes.
    fn turn(
        &self,
        network: &mut Network<f32>,
        old: &Network<f32>,
        (k, from): (usize, usize),
        kin: &[usize],
        tiles: &[Tile<f32>],
        target: &Array1<f64>,
    ) {
        let owner = self.columns.owners()[k];
        let of = |m: usize| {
            let at: Vec<usize> =
                kin.iter().filter_map(|c| tiles[m].columns.iter().position(|p| p == c)).collect();
            tiles[m].z.select(Axis(0), &at)
        };
        let codes: Vec<Array2<f32>> = self.seen(owner).map(of).collect();
        let views: Vec<ArrayView2<'_, f32>> = codes.iter().map(|z| z.view()).collect();
        let codes = concatenate(Axis(1), &views).unwrap_or_default().t().mapv(f64::from);
        let fit = ridge(&codes, target);
        let mut old = old.clone();
        let places: Vec<usize> =
            kin.iter().filter_map(|&c| self.head(&mut old, c).map(|(_, at)| at)).collect();
        let Some((before, like)) = self.head(&mut old, from) else { return };
        let Some((encoder, at)) = self.head(network, k) else { return };
        let mix = |a: &Array2<f32>, h: usize, turned: bool| -> f32 {
            let one =
                |(&c, slope): (&usize, &f64)| slope * f64::from(if turned { a[[h, c]] } else { a[[c, h]] });
            places.iter().zip(&fit.slopes).map(one).sum::<f64>() as f32
        };
        for h in 0..encoder.mean.weight.value.ncols() {
            let value = mix(&before.mean.weight.value, h, false);
            encoder.mean.weight.place_like([at, h], value, &before.mean.weight, [like, h]);
            let spread = before.spread.weight.value[[like, h]];
            encoder.spread.weight.place_like([at, h], spread, &before.spread.weight, [like, h]);
        }
        let constant = mix(&before.mean.bias.value, 0, true) + fit.constant as f32;
        encoder.mean.bias.place_like([0, at], constant, &before.mean.bias, [0, like]);
        // Variances of a combination of independent codes.
        let scale = fit.slopes.iter().map(|a| a * a).sum::<f64>().max(1e-6).ln() as f32;
        let spread = before.spread.bias.value[[0, like]] + scale;
        encoder.spread.bias.place_like([0, at], spread, &before.spread.bias, [0, like]);
    }

    /// Gives a column an encoder's head for a code that the encoder does not know: one unit of each hidden layer, those that
    /// are used least, carries the regression of the target on x.
    fn teach(&self, network: &mut Network<f32>, k: usize, target: &Array1<f64>) {
        let owner = self.columns.owners()[k];
        let rows: Vec<usize> = self.seen(owner).flat_map(|m| self.samples[m].iter().copied()).collect();
        let Some((encoder, at)) = self.head(network, k) else { return };
        let x = self.x.select(Axis(0), &rows).mapv(f64::from);
        let fit = ridge(&x, target);
        let share = fit.left / target.dot(target).max(1e-12);
        let scale = (1.0 - share).max(1e-6).sqrt();
        let weights: Vec<f64> = fit.slopes.iter().map(|b| b / scale).collect();
        encoder.carry(&weights, fit.constant / scale, at, scale);
        encoder.spread.bias.place([0, at], share.clamp(1e-3, 1.0).ln() as f32, [0, at]);
    }

    /// Last rows and noise of features, by regression.
    fn settle_rows(&self, network: &mut Network<f32>, features: &[usize]) {
        let tiles: Vec<Tile<f32>> = (0..self.samples.len()).map(|m| self.tile(network, m)).collect();
        for &j in features {
            let decoder = &mut network.decoder;
            let parts: Vec<(Array2<f32>, Array1<f32>)> =
                tiles.iter().map(|tile| Plain::last(decoder, tile, j)).collect();
            let layers: Vec<ArrayView2<'_, f32>> = parts.iter().map(|(layer, _)| layer.view()).collect();
            let layer = concatenate(Axis(1), &layers).unwrap_or_default();
            let a = layer.t().mapv(f64::from).as_standard_layout().into_owned();
            let y: Array1<f64> = tiles
                .iter()
                .zip(&parts)
                .flat_map(|(tile, (_, aside))| {
                    tile.x.row(j).iter().zip(aside).map(|(x, o)| f64::from(x - o)).collect::<Vec<_>>()
                })
                .collect();
            let fit = ridge(&a, &y);
            // Without an active column the layer is constant, and v_j waits for one.
            if decoder.w.value.row(j).iter().any(|w| *w != 0.0) {
                for (h, slope) in fit.slopes.iter().enumerate() {
                    decoder.v3.place([j, h], *slope as f32, [j, h]);
                }
                decoder.b3.place([0, j], fit.constant as f32, [0, j]);
            } else {
                let constant = layer.column(0).dot(&decoder.v3.value.row(j));
                decoder.b3.place([0, j], (y.sum() / y.len() as f64) as f32 - constant, [0, j]);
            }
            if let Some(law) = self.start.law {
                let variance = (fit.left + 2.0 * law.beta) / (y.len() as f64 + 2.0 * law.alpha + 2.0);
                decoder.noise.place([0, j], (0.5 * variance.ln()) as f32, [0, j]);
            }
        }
    }
}

/// Scores of the samples on the first principal component of features × samples, of mean square 1.
fn principal_scores(r: &Array2<f64>) -> Array1<f64> {
    let square = matmul(r.view(), r.t());
    // The power method, from the row of largest sum so that it starts near.
    let sums = square.rows().into_iter().map(|row| row.iter().map(|v| v.abs()).sum::<f64>());
    let start = sums.enumerate().fold((0, 0.0), |best, (j, s)| if s > best.1 { (j, s) } else { best }).0;
    let mut v = square.row(start).to_owned();
    for _ in 0..50 {
        let next = square.dot(&v);
        let norm = next.dot(&next).sqrt();
        if norm == 0.0 {
            break;
        }
        v = next / norm;
    }
    let scores = r.t().dot(&v);
    let scale = (scores.dot(&scores) / scores.len().max(1) as f64).sqrt().max(1e-12);
    scores / scale
}

/// A regression.
struct Line {
    slopes: Vec<f64>,
    constant: f64,
    /// Sum of squares left.
    left: f64,
}

/// Regression of `y` on the columns of `a` and a constant, with a small ridge.
fn ridge(a: &Array2<f64>, y: &Array1<f64>) -> Line {
    let n = a.nrows().max(1) as f64;
    let mean = a.sum_axis(Axis(0)) / n;
    let middle = y.sum() / n;
    let (centred, y) = (a - &mean, y - middle);
    let mut square = gram(centred.t());
    let ridge = RIDGE * square.diag().sum() / a.ncols().max(1) as f64 + 1e-9;
    square.diag_mut().mapv_inplace(|v| v + ridge);
    let right = centred.t().dot(&y);
    let slopes = Cholesky::new(square.view()).map_or(vec![0.0; a.ncols()], |c| c.solve(&right.to_vec()));
    let fitted = centred.dot(&Array1::from(slopes.clone()));
    let left = (&y - &fitted).mapv(|v| v * v).sum();
    let constant = middle - mean.iter().zip(&slopes).map(|(m, b)| m * b).sum::<f64>();
    Line { slopes, constant, left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_new_code_is_the_component_as_the_hidden_layer_tells_it() {
        let r = array![[1.0, -1.0, 2.0, -2.0], [2.0, -2.0, 4.0, -4.0]];
        let expected = [1.0, -1.0, 2.0, -2.0].map(|v: f64| v / 2.5f64.sqrt());
        assert!(principal_scores(&r).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9));
        let a = array![[0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [4.0, 0.5]];
        let line = ridge(&a, &a.column(0).mapv(|v| 3.0 * v - 1.0));
        assert!((line.slopes[0] - 3.0).abs() < 0.01 && line.slopes[1].abs() < 0.01);
        assert!((line.constant + 1.0).abs() < 0.01 && line.left < 1e-3);
        // Nothing that varies leaves the constant.
        let flat = ridge(&Array2::ones((3, 2)), &array![1.0, 2.0, 3.0]);
        assert!((flat.constant - 2.0).abs() < 1e-9 && (flat.left - 2.0).abs() < 1e-9);
    }
}
