//! Where Newton starts: quantiles of the binned inputs, and a small stand-in for a long row.

use pulp::{Simd, WithSimd};

use super::layer::Layer;
use super::newton::centre;
use super::row::Row;

struct Fill<'a> {
    x: &'a [f64],
    a: &'a [f64],
    low: f64,
    over: f64,
    moments: &'a mut [[f64; 4]],
}

impl WithSimd for Fill<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // 2⁵²: adding it rounds to an integer, in the low bits.
        const MAGIC: f64 = 4503599627370496.0;
        let mask = self.moments.len() - 1;
        for (x, a) in self.x.iter().zip(self.a) {
            let at = (x - self.low) * self.over - 0.5;
            let round = at.max(0.0) + MAGIC;
            let d = at - (round - MAGIC);
            let ad = a * d;
            let add = [*a, ad, ad * d, ad * d * d];
            let bin = &mut self.moments[round.to_bits() as usize & mask];
            for (sum, a) in bin.iter_mut().zip(add) {
                *sum += a;
            }
        }
    }
}

/// Inputs in bins: mass and the first three moments of the place inside the bin, in widths from its middle.
#[derive(Clone, Debug, Default)]
pub struct Bins {
    moments: Vec<[f64; 4]>,
    low: f64,
    width: f64,
}

impl Bins {
    /// Puts the samples of a row into `count` bins between its bounds.
    pub fn fill(&mut self, row: &Row, count: usize) {
        let (low, high) = row.bounds;
        self.low = low;
        // A row of one value: any width will do.
        self.width = if high - low > 1e-290 { (high - low) / count as f64 } else { 1.0 };
        // A power of two, so that a mask keeps every index inside.
        let room = (count + 1).next_power_of_two();
        self.moments.clear();
        self.moments.resize(room, [0.0; 4]);
        let (x, a) = (&row.x[..row.n], &row.a[..row.n]);
        row.run(Fill { x, a, low, over: 1.0 / self.width, moments: &mut self.moments });
        // The upper bound itself lies in the bin after the last.
        self.moments.truncate(count + 1);
    }

    /// Potentials of the unregularised problem: between y_j and y_{j+1} lies the quantile of x at b_1 + … + b_j,
    /// and g_{j+1} − g_j = (t_j − y_{j+1})² − (t_j − y_j)².
    pub fn start(&self, layer: &Layer, b: &[f64], g: &mut [f64]) {
        let (mut below, mut level, mut k) = (0.0, 0.0, 0);
        let y = layer.targets();
        g[0] = 0.0;
        for j in 0..y.len() - 1 {
            level += b[j];
            while k < self.moments.len() - 1 && below + self.moments[k][0] < level {
                below += self.moments[k][0];
                k += 1;
            }
            let mass = self.moments[k][0];
            let part = if mass > 0.0 { ((level - below) / mass).clamp(0.0, 1.0) } else { 0.5 };
            let t = self.low + (k as f64 + part) * self.width;
            g[j + 1] = g[j] + (y[j + 1] - y[j]) * (y[j + 1] + y[j] - 2.0 * t);
        }
        centre(g);
    }

    /// At most two weighted points for each bin, with its mass and first three moments: sums over them of any
    /// smooth function of x are those over the samples up to the fourth power of the width.
    pub fn condense(&self, coarse: &mut Row, m: usize) {
        let full = |bin: &&[f64; 4]| bin[0] > 0.0;
        let count = self.moments.iter().filter(full).count();
        coarse.resize(2 * count, m);
        let mut at = 0;
        for (k, &[mass, first, second, third]) in self.moments.iter().enumerate() {
            if mass <= 0.0 {
                continue;
            }
            let over = 1.0 / mass;
            let mean = first * over;
            let variance = (second * over - mean * mean).max(0.0);
            let skew = third * over - mean * (3.0 * variance + mean * mean);
            // The two nodes are the zeros of z² − (skew/variance) z − variance.
            let (near, far) = if variance > 1e-10 {
                let half = 0.5 * skew / variance;
                let root = (half * half + variance).sqrt();
                (half - root, half + root)
            } else {
                (0.0, 0.0)
            };
            let share = if far > near { far / (far - near) } else { 1.0 };
            for (node, weight) in [(near, share), (far, 1.0 - share)] {
                coarse.x[at] = (self.low + (k as f64 + 0.5 + mean + node) * self.width)
                    .clamp(self.low, self.low + self.width * self.moments.len() as f64);
                coarse.a[at] = mass * weight.clamp(0.0, 1.0);
                coarse.root[at] = coarse.a[at].sqrt();
                at += 1;
            }
        }
        coarse.a[at..].fill(0.0);
        coarse.root[at..].fill(0.0);
    }
}
