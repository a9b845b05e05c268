//! One row at given potentials: the table, W, its column sums and its Laplacian.

use pulp::{Arch, WithSimd};

use super::kernel::{self, Carry, Direct, Edges, Excess, Factors, Hankel, Marginals, Powers, padded};
use super::laplacian::Laplacian;
use super::layer::Layer;

/// A row being solved: squashed inputs, the table, and what the last pass over it found.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub arch: Arch,
    /// Samples, without the padding.
    pub n: usize,
    /// Squashed inputs, padded with the centre.
    pub x: Vec<f64>,
    /// Weights a and √a, padded with 0, and whether they are those of [`Row::weigh`] without weights.
    pub a: Vec<f64>,
    pub root: Vec<f64>,
    uniform: bool,
    pub table: Vec<f64>,
    pub inverse: Vec<f64>,
    pub v: Vec<f64>,
    pub s: Vec<f64>,
    pub laplacian: Laplacian,
    pub scratch: Vec<f64>,
    /// Where the squashed inputs lie.
    pub bounds: (f64, f64),
    sums: Vec<f64>,
    vz: Vec<f64>,
    /// Whether the table holds powers (fixed for the row) or the softmax itself.
    powers: bool,
    /// Largest |(j − (m−1)/2) log r_i|.
    reach: f64,
}

/// Largest logarithm in the power form that is safely inside the range of a double.
const SAFE: f64 = 680.0;

impl Row {
    /// Runs a pass on the widest vectors the processor has.
    pub fn run<Op: WithSimd>(&self, op: Op) -> Op::Output {
        self.arch.dispatch(op)
    }

    /// Makes room for n samples and m targets.
    pub fn resize(&mut self, n: usize, m: usize) {
        if (self.n, self.v.len()) == (n, m) {
            return;
        }
        let (long, wide) = (n.next_multiple_of(kernel::PAD), padded(m));
        self.n = n;
        self.uniform = false;
        for each in [&mut self.x, &mut self.a, &mut self.root, &mut self.inverse] {
            each.resize(long, 0.0);
        }
        self.table.resize(long * m, 0.0);
        self.v.resize(m, 0.0);
        self.s.resize(m, 0.0);
        self.sums.resize(kernel::sums(m), 0.0);
        self.scratch.resize((wide + 1) * kernel::BLOCK, 0.0);
    }

    /// Sets the weights; uniform if none are given.
    pub fn weigh(&mut self, a: Option<&[f64]>) {
        let n = self.n;
        if self.uniform && a.is_none() {
            return;
        }
        self.uniform = a.is_none();
        match a {
            Some(a) => {
                self.a[..n].copy_from_slice(a);
                self.root.iter_mut().zip(a).for_each(|(r, a)| *r = a.sqrt());
            }
            None => {
                self.a[..n].fill(1.0 / n as f64);
                self.root[..n].fill((1.0 / n as f64).sqrt());
            }
        }
        self.a[n..].fill(0.0);
        self.root[n..].fill(0.0);
    }

    fn centre(&self) -> f64 {
        0.5 * (self.bounds.0 + self.bounds.1)
    }

    /// Pads x and builds the power table if the targets are evenly spaced and its range allows.
    pub fn table(&mut self, layer: &Layer) {
        let centre = self.centre();
        let (n, m) = (self.n, layer.levels());
        self.x[n..].fill(centre);
        self.powers = false;
        if let Some(spacing) = layer.spacing() {
            let rate = 2.0 * spacing / layer.epsilon();
            self.reach = (0.5 * (m - 1) as f64).max(1.0) * rate * 0.5 * (self.bounds.1 - self.bounds.0);
            if self.reach < 0.95 * SAFE {
                self.powers = true;
                let Row { arch, x, table, .. } = self;
                arch.dispatch(Powers { x, centre, rate, m, table });
            }
        }
    }

    /// W and s at g; returns max_j |s_j − b_j| / b_j, infinite if s is not finite.
    pub fn marginals(&mut self, layer: &Layer, b: &[f64], g: &[f64]) -> f64 {
        if self.powers {
            let (over, centre) = (1.0 / layer.epsilon(), self.centre());
            let Row { arch, v, .. } = self;
            let range = arch.dispatch(Factors { g, y: layer.targets(), centre, over, v });
            // Edges are summed before they are multiplied by v_j v_k, as small as the square of v.
            self.powers = self.reach + range <= SAFE && 2.0 * range <= SAFE;
        }
        if !self.powers {
            self.v.fill(1.0);
            let Row { arch, x, table, .. } = self;
            arch.dispatch(Direct { x, y: layer.targets(), g, epsilon: layer.epsilon(), table });
        }
        let Row { arch, table, v, a, inverse, s, scratch, .. } = self;
        arch.dispatch(Marginals { table, v, a, inverse, s, scratch });
        arch.dispatch(Excess { s, b })
    }

    /// Factorises the Laplacian at the potentials of the last [`Row::marginals`].
    pub fn factorise(&mut self) {
        let Row { arch, table, v, root, inverse, laplacian, scratch, sums, powers, .. } = self;
        let edges = laplacian.edges(v.len());
        if *powers {
            arch.dispatch(Hankel { table, v, root, inverse, edges, scratch });
        } else {
            arch.dispatch(Edges { table, v, root, inverse, edges, scratch, sums });
        }
        self.laplacian.factorise(self.arch, &self.s);
    }

    /// L z at the potentials of the last [`Row::marginals`].
    pub fn apply(&mut self, z: &[f64], out: &mut [f64]) {
        let Row { arch, table, v, a, inverse, scratch, vz, .. } = self;
        vz.clear();
        vz.extend(v.iter().zip(z).map(|(v, z)| v * z));
        arch.dispatch(Carry { table, v, a, inverse, vz, out, scratch });
        out.iter_mut().zip(&self.s).zip(z).for_each(|((out, s), z)| *out = s * z - *out);
    }

    /// W, n × m.
    pub fn conditional(&self, m: usize) -> ndarray::Array2<f64> {
        let long = self.x.len();
        ndarray::Array2::from_shape_fn((self.n, m), |(i, j)| {
            let at = i / kernel::BLOCK * kernel::BLOCK;
            let block = kernel::BLOCK.min(long - at);
            self.table[at * m + j * block + i - at] * self.v[j] * self.inverse[i]
        })
    }
}
