//! The table as both sides read it.
//!
//! ```text
//! gaussian:     encoders and likelihoods see (X − mean)/sd, mean and sd of the whole table
//! other laws:   encoders see x̃, lines weighted by tf-idf and brought to mean square 1 by one number; likelihoods see X
//! multinomial:  likelihood and cross-loss see T/φ,   φ = Σ (T − e)²/e / ((n − 1)(m − 1)),   e the product of T's margins over their sum
//! T(x) = x, or asinh²(√(a x))/a where most of the variance of counts grows with the square of their mean ([`noise`]); encoders see x̃ of T
//! missing:      no term of a likelihood, 0 for the encoders and for the cross-loss
//! ```
//!
//! φ is the dispersion beside the margins. Weights of tf-idf or pixels are no counts: over φ they weigh against the prior as counts of
//! the same scatter would, in whatever unit they come (quasi-likelihood; McCullagh and Nelder 1989: `mccullagh1989`). The Poisson, negative
//! binomial and Bernoulli laws see X itself; the polish reads X/φ with all of them. Bent values have none: T of a product is no product, so that the
//! block model, whose means are a row's times a column's times a block's, has no likelihood for them.
//!
//! [`noise`]: crate::methods::cocluster::noise

use ndarray::Array2;
use sha2::{Digest, Sha256};
use statrs::function::gamma::ln_gamma;

use super::Svcc;
use super::cross::Cross;
use super::likelihood::{Law, Targets};
use super::lines::Lines;
use super::side::Data;
use crate::data::{Csr, Matrix, Missing, Values};
use crate::error::{Error, Result};
use crate::fit::Check;
use crate::methods::cocluster::noise::{Noise, bent};
use crate::methods::cocluster::table::{Joint, filled, nonnegative};
use crate::methods::cocluster::weight::{rarity, weighted};

/// Share of entries above which lines are kept whole.
const DENSE: f64 = 0.2;

/// A table in which NaN may be a missing entry.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Observations × features.
    pub values: Values<'a>,
    /// How NaN is read.
    pub missing: Missing,
}

impl<'a> Observed<'a> {
    /// A table without missing entries.
    pub fn new(values: Values<'a>) -> Self {
        Observed { values, missing: Missing::Error }
    }
}

impl Check for Observed<'_> {
    /// At least one row and one column; every value finite, or NaN where that is a missing entry.
    fn check(&self) -> Result<()> {
        let Values { what, matrix } = self.values;
        let (n, m) = matrix.shape();
        if self.missing == Missing::Error || n == 0 || m == 0 {
            return self.values.check();
        }
        let mut odd = None;
        matrix.for_each_nonzero(|i, j, v| {
            if v.is_infinite() && odd.is_none() {
                odd = Some(((i, j), v));
            }
        });
        match odd {
            Some((at, found)) => Err(Error::Value { what: what.into(), found, at, rule: "finite, or NaN" }),
            None => Ok(()),
        }
    }

    fn digest(&self, hash: &mut Sha256) {
        self.values.digest(hash);
        hash.update(self.missing.to_string());
    }
}

/// What turns a line into what its encoder reads; the same for lines that were not in the fit.
#[derive(Clone, Debug)]
pub struct Reader {
    /// tf-idf weights of the places; empty for a Gaussian law.
    rarity: Vec<f64>,
    /// a of [`bent`], before anything else; 0 for values as they are.
    bend: f64,
    /// Added first, and multiplied by afterwards.
    shift: f64,
    scale: f64,
}

impl Reader {
    /// Lines as an encoder sees them.
    pub fn read(&self, x: &Csr) -> Csr {
        if self.rarity.is_empty() {
            return Csr::from_dense(x.to_dense().mapv(|v| (v + self.shift) * self.scale).view());
        }
        self.weigh(&x.map(|v| bent(self.bend, v)))
    }

    /// Lines whose values are bent.
    fn weigh(&self, bent: &Csr) -> Csr {
        weighted(bent, &self.rarity).map(|v| v * self.scale)
    }

    /// Weights of the places (none for a Gaussian law); what is added, what is multiplied by, and the bend.
    pub fn parts(&self) -> (&[f64], [f64; 3]) {
        (&self.rarity, [self.shift, self.scale, self.bend])
    }

    /// Of its [`parts`](Self::parts).
    pub fn from_parts(rarity: Vec<f64>, [shift, scale, bend]: [f64; 3]) -> Reader {
        Reader { rarity, bend, shift, scale }
    }

    /// Of lines that are read by tf-idf, their values bent already.
    fn of(x: &Csr, bend: f64) -> Reader {
        let (n, m) = x.shape();
        let mut reader = Reader { rarity: rarity(x), bend, shift: 0.0, scale: 1.0 };
        let square: f64 = reader.weigh(x).values().iter().map(|v| v * v).sum();
        if square > 0.0 {
            reader.scale = ((n * m) as f64 / square).sqrt();
        }
        reader
    }
}

/// Both sides and what joins them.
pub struct Tables {
    /// Rows and columns.
    pub sides: [Data<f32>; 2],
    /// How lines are read.
    pub readers: [Reader; 2],
    /// What the cross-loss reads by rows and by columns: X, or the standardised table.
    pub cross: [Csr; 2],
    /// P and I(P) of what the likelihood sees, where no value is negative.
    pub joint: Option<Joint>,
    /// What the polish reads: P of T with N/φ; of a table with negative values that of what they are above the smallest.
    pub blocks: Option<Joint>,
    /// φ of what the likelihood sees.
    pub dispersion: f64,
    /// The noise of the values, where it was measured.
    pub noise: Option<Noise>,
    /// The cross-loss, `auto` resolved.
    pub kind: Cross,
    /// The law, `auto` resolved.
    pub law: Law,
    /// The table without missing entries, for its blocks.
    pub known: Matrix,
}

impl Tables {
    /// Reads a table as the parameters have it.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::Line`] for what the likelihood or the cross-loss cannot read, [`Error::Param`] where they do
    /// not fit the table.
    pub fn new(input: Observed<'_>, params: &Svcc) -> Result<Tables> {
        let Svcc { likelihood: law, cross, dispersion: divide, .. } = *params;
        let what = input.values.what;
        let raw = input.values.matrix.to_csr();
        let mut absent = [Vec::new(), Vec::new()];
        if raw.values().iter().any(|v| v.is_nan()) {
            absent = [vec![Vec::new(); raw.shape().0], vec![Vec::new(); raw.shape().1]];
            for (i, j, _) in raw.entries().filter(|e| e.2.is_nan()) {
                absent[0][i].push(j as u32);
                absent[1][j].push(i as u32);
            }
        }
        let known = Matrix::Sparse(raw.map(|v| if v.is_nan() { 0.0 } else { v }));
        let values = Values { what, matrix: &known };
        filled(values)?;
        let mut x = known.to_csr();
        let signed = x.values().iter().any(|v| *v < 0.0);
        let law = match law {
            Law::Auto if signed => Law::Gaussian,
            Law::Auto => Law::Multinomial,
            given => given,
        };
        if law != Law::Gaussian {
            nonnegative(values, "0 or larger; `--set likelihood=gaussian` takes any value")?;
        }
        if matches!(law, Law::Poisson | Law::Nb)
            && let Some((i, j, found)) = x.entries().find(|e| e.2.fract() != 0.0)
        {
            let rule = "a whole number; `--set likelihood=multinomial` takes fractions";
            return Err(Error::Value { what: what.into(), found, at: (i, j), rule });
        }
        let kind = match cross {
            Cross::Auto if law == Law::Gaussian => Cross::Squares,
            Cross::Auto => Cross::Data,
            Cross::Data if signed => {
                let rule = "`squares` or `auto` where some value is negative";
                return Err(Error::Param { name: "cross", found: "data".into(), rule });
            }
            given => given,
        };
        let noise = if signed || !params.stabilise {
            None
        } else {
            Some(Noise::of(&x, what, (params.rows, params.cols))?)
        };
        let bend = noise.map_or(0.0, |n| n.bend());
        let (mut joint, mut blocks, mut dispersion) = (None, None, 1.0);
        if !signed {
            let bent = if bend > 0.0 { x.map(|v| bent(bend, v)) } else { x.clone() };
            let matrix = Matrix::Sparse(bent);
            let found = Joint::new(Values { what, matrix: &matrix })?;
            let phi = if divide { found.dispersion() } else { 1.0 };
            if law == Law::Multinomial {
                dispersion = phi;
                x = matrix.to_csr().map(|v| v / phi);
                joint = Some(found.clone().divided(phi));
            } else {
                joint = Some(Joint::new(values)?);
            }
            // Means of bent values are no products of a row, a column and a block.
            blocks = (bend == 0.0).then(|| found.divided(phi));
        }
        let gaussian = law == Law::Gaussian;
        let y = if gaussian || kind == Cross::Squares { Some(standardised(&x, &absent[0])) } else { None };
        if let (Some((y, _)), true) = (&y, signed) {
            let least = y.values().iter().fold(0.0, |a: f64, v| a.min(*v));
            let above = Matrix::Dense(y.to_dense().mapv(|v| v - least));
            let found = Joint::new(Values { what, matrix: &above }).ok();
            blocks = found.map(|found| {
                let phi = if divide { found.dispersion() } else { 1.0 };
                found.divided(phi)
            });
        }
        let (read, readers) = match (&y, gaussian) {
            (Some((y, reader)), true) => (y, [reader.clone(), reader.clone()]),
            _ => {
                let bend = if law == Law::Multinomial { bend } else { 0.0 };
                (&x, [Reader::of(&x, bend), Reader::of(&x.transpose(), bend)])
            }
        };
        let side = |at: usize| {
            let turned = |x: &Csr| if at == 0 { x.clone() } else { x.transpose() };
            let read = turned(read);
            let seen = if gaussian { read.clone() } else { readers[at].weigh(&turned(&x)) };
            let targets = Targets { absent: absent[at].clone(), ..targets(&read, law) };
            Data { lines: lines(&seen), targets, law, bias: bias(&read, law) }
        };
        let sides = [side(0), side(1)];
        let by_rows = match (kind, y) {
            (Cross::Squares, Some((y, _))) => y,
            _ => x,
        };
        let by_cols = by_rows.transpose();
        let cross = [by_rows, by_cols];
        Ok(Tables { sides, readers, cross, joint, blocks, dispersion, noise, kind, law, known })
    }
}

/// The table less its mean, over its standard deviation, missing entries at 0.
fn standardised(x: &Csr, absent: &[Vec<u32>]) -> (Csr, Reader) {
    let mut dense = x.to_dense();
    let gone: usize = absent.iter().map(Vec::len).sum();
    let n = (dense.len() - gone) as f64;
    let mean = dense.sum() / n;
    // Missing entries are at the mean.
    absent.iter().enumerate().for_each(|(i, at)| at.iter().for_each(|j| dense[[i, *j as usize]] = mean));
    let variance = dense.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    let scale = if variance > 0.0 { variance.sqrt().recip() } else { 1.0 };
    let reader = Reader { rarity: Vec::new(), bend: 0.0, shift: -mean, scale };
    (Csr::from_dense(dense.mapv(|v| (v - mean) * scale).view()), reader)
}

/// Few zeros: dense; many: sparse.
pub fn lines(x: &Csr) -> Lines<f32> {
    if few_zeros(x) {
        return Lines::Dense(x.to_dense().mapv(|v| v as f32));
    }
    let values = x.values().iter().map(|v| *v as f32).collect();
    Lines::Sparse(x.indptr().to_vec(), x.indices().to_vec(), values, x.shape().1)
}

fn few_zeros(x: &Csr) -> bool {
    let (n, m) = x.shape();
    x.nnz() as f64 > DENSE * n as f64 * m as f64
}

/// What a likelihood reads.
fn targets(x: &Csr, law: Law) -> Targets<f32> {
    let sum =
        |f: &dyn Fn(f64) -> f64| (0..x.shape().0).map(|i| x.row(i).1.iter().map(|v| f(*v)).sum()).collect();
    let counts = matches!(law, Law::Poisson | Law::Nb);
    // The laws that read whole lines.
    let whole = matches!(law, Law::Multinomial | Law::Poisson) && few_zeros(x);
    Targets {
        indptr: x.indptr().to_vec(),
        at: x.indices().to_vec(),
        value: x.values().iter().map(|v| *v as f32).collect(),
        total: sum(&|v| v),
        factorials: if counts { sum(&|v| ln_gamma(v + 1.0)) } else { Vec::new() },
        absent: Vec::new(),
        full: if whole { x.to_dense().mapv(|v| v as f32) } else { Array2::default((0, 0)) },
    }
}

/// The outputs that would be right if all lines were alike.
fn bias(x: &Csr, law: Law) -> Vec<f64> {
    let (n, m) = x.shape();
    let (mut sums, mut seen) = (vec![0.0; m], vec![0usize; m]);
    x.entries().for_each(|(_, j, v)| {
        sums[j] += v;
        seen[j] += usize::from(v > 0.0);
    });
    let total: f64 = sums.iter().sum();
    let n = n as f64;
    (0..m)
        .map(|j| match law {
            Law::Gaussian => sums[j] / n,
            Law::Multinomial | Law::Auto => (sums[j] / total).max(1e-12).ln(),
            // exp(o + log d), d the line's mean: shares over their mean.
            Law::Poisson | Law::Nb => (sums[j] / total * m as f64).max(1e-12).ln(),
            Law::Bernoulli => {
                let p = (seen[j] as f64 + 0.5) / (n + 1.0);
                (p / (1.0 - p)).ln()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn read(x: Array2<f64>, law: Law, cross: Cross) -> Result<Tables> {
        let matrix = Matrix::Dense(x);
        Tables::new(
            Observed { values: Values { what: "X", matrix: &matrix }, missing: Missing::Nan },
            &Svcc { likelihood: law, cross, rows: 1, cols: 1, ..Svcc::default() },
        )
    }

    #[test]
    fn laws_follow_the_table_and_refuse_what_they_cannot_read() {
        let counts = array![[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]];
        let t = read(counts.clone(), Law::Auto, Cross::Auto).unwrap();
        assert_eq!((t.law, t.kind), (Law::Multinomial, Cross::Data));
        let t = read(&counts - 1.0, Law::Auto, Cross::Auto).unwrap();
        assert_eq!((t.law, t.kind), (Law::Gaussian, Cross::Squares));
        assert!(t.joint.is_none() && t.blocks.is_some());
        let why =
            |x: Array2<f64>, law, cross| read(x, law, cross).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(why(&counts - 1.0, Law::Poisson, Cross::Auto).contains("row 0, column 1"));
        assert!(why(&counts * 0.5, Law::Nb, Cross::Auto).contains("0.5 at row 0, column 0"));
        assert!(why(&counts - 1.5, Law::Gaussian, Cross::Data).contains("squares"));
        assert!(why(array![[0.0, 0.0], [1.0, 2.0]], Law::Auto, Cross::Auto).contains("row 0 holds no value"));
    }

    #[test]
    fn missing_entries_take_no_part() {
        let nan = f64::NAN;
        let x = array![[1.0, nan, 2.0], [3.0, 1.0, 0.0]];
        let t = read(x.clone(), Law::Poisson, Cross::Auto).unwrap();
        assert_eq!((t.sides[0].targets.absent(0), t.sides[1].targets.absent(1)), (&[1][..], &[0][..]));
        assert_eq!((t.sides[0].targets.total[0], t.sides[0].law), (3.0, Law::Poisson));
        let t = read(x, Law::Gaussian, Cross::Auto).unwrap();
        let Lines::Dense(rows) = &t.sides[0].lines else { panic!("a full table is dense") };
        assert!(rows[[0, 1]] == 0.0 && rows.sum().abs() < 1e-5);
        let matrix = Matrix::Dense(array![[nan, 1.0]]);
        let values = Values { what: "X", matrix: &matrix };
        assert!(Observed { values, missing: Missing::Error }.check().is_err());
        assert!(Observed { values, missing: Missing::Nan }.check().is_ok());
    }
}
