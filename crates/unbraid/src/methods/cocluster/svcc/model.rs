//! A fitted model: its clusters, what they were before the polish, and what gives new rows their clusters.
//!
//! ```text
//! clusters of a new row x:  γ(m(x)),   m the mean of q(z | x), γ the responsibilities of the mixture of the rows
//! ```
//!
//! | slot                          | shape      | content                                                         |
//! |-------------------------------|------------|-----------------------------------------------------------------|
//! | `varm["<key>_encoder"]`       | m × H₁     | first layer of the rows' encoder, `f32`                          |
//! | `var["<key>_rarity"]`         | m          | weights of tf-idf; not there for a Gaussian law                  |
//! | `uns["<key>"]["encoder"]`     |            | its other layers row by row without the head of log s², `f32`    |
//! | `uns["<key>"]["mixture"]`     | g × (1+2L) | log π, μ and log σ of each cluster                               |
//! | `uns["<key>"]["reader"]`      | 3          | what is added to values, what they are multiplied by then, and their bend before both |
//! | `uns["<key>"]["law"]`         |            | law of the values                                               |
//! | `layers["<key>_block"]`       | n × m      | blocks of the joint space from 1 on, where there is one          |

use ndarray::{Array2, Axis, s};

use super::input::{Reader, lines};
use super::likelihood::Law;
use super::mixture::Mixture;
use super::network::Encoder;
use super::side::Side;
use crate::data::{Annotations, Column, Csr, Slot, Value, Values};
use crate::error::{Error, Result};
use crate::fit::Annotate;
use crate::methods::cocluster::fit::{Coclusters, Side as Found};
use crate::methods::cocluster::start::{Labels, hardest};
use crate::methods::cocluster::table::nonnegative;
use crate::methods::slots::{Slots, lost};
use crate::nn::Param;

/// Lines that go through the encoder together.
const BLOCK: usize = 512;

/// What gives rows their clusters.
#[derive(Clone, Debug)]
pub struct Coder {
    /// Lines to codes.
    pub encoder: Encoder<f32>,
    /// Prior of the codes, its components in the order of the clusters.
    pub mixture: Mixture,
    /// How lines are read.
    pub reader: Reader,
    /// Law of the values.
    pub law: Law,
}

/// A fit of SVCC.
#[derive(Clone, Debug)]
pub struct SvccFit {
    /// Clusters and blocks.
    pub clusters: Coclusters,
    /// Labels at the start of the joint epochs, at their end, and after the polish, numbered as the mixture's components.
    pub labels: [Labels; 3],
    /// Both sides.
    pub sides: [Side<f32>; 2],
    /// Block of each entry of the table in the joint space, counted from 1, where there is one: `layers["<key>_block"]`.
    pub cells: Option<Csr>,
    /// What gives new rows their clusters.
    pub coder: Coder,
}

impl Coder {
    /// Clusters of rows over the columns of the fit: responsibilities at the means of their codes. No polish.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of columns; [`Error::Value`] and [`Error::Line`] for what the likelihood cannot read.
    pub fn assign(&self, values: Values<'_>) -> Result<Found> {
        let (n, m) = values.matrix.shape();
        if m != self.encoder.width() {
            let rule = "as many columns as the table that was fitted";
            return Err(Error::Shape { what: values.what.into(), found: vec![n, m], rule });
        }
        if self.law != Law::Gaussian {
            nonnegative(values, "0 or larger")?;
        }
        let x = values.matrix.to_csr();
        if let Some(at) = (0..n).find(|&i| x.row(i).1.iter().all(|v| *v == 0.0)) {
            return Err(Error::Line {
                what: values.what.into(),
                axis: "row",
                at: vec![at],
                problem: "holds no value but 0 and belongs to no cluster",
                hint: "drop it".into(),
            });
        }
        let read = lines(&self.reader.read(&x));
        let mut codes = Array2::zeros((n, self.mixture.shape().1));
        for from in (0..n).step_by(BLOCK) {
            let some: Vec<usize> = (from..(from + BLOCK).min(n)).collect();
            let found = self.encoder.forward(&read.batch(&some, None)).posterior.mean;
            codes.slice_mut(s![from..from + some.len(), ..]).assign(&found);
        }
        let membership = self.mixture.responsibilities(codes.view(), 1.0);
        let (labels, clusters) = (hardest(membership.view()), membership.ncols());
        Ok(Found { labels, clusters, membership: Some(membership), embedding: Some(codes) })
    }

    fn annotate(&self, key: &str, out: &mut Annotations) {
        let (first, rest) = self.encoder.stored();
        out.varm.insert(format!("{key}_encoder"), Slot::F32(first.clone()));
        let (rarity, numbers) = self.reader.parts();
        if !rarity.is_empty() {
            out.var.insert(format!("{key}_rarity"), Column::Float(rarity.to_vec()));
        }
        let (ready, (g, dims)) = (self.mixture.ready(), self.mixture.shape());
        let mixture = Array2::from_shape_fn((g, 1 + 2 * dims), |(c, d)| match d {
            0 => ready.shares[c].max(f64::MIN_POSITIVE).ln(),
            d if d <= dims => self.mixture.mean.value[[c, d - 1]],
            d => self.mixture.log_sigma.value[[c, d - 1 - dims]],
        });
        let notes = out.notes(key);
        notes.insert("encoder".into(), Value::Singles(rest));
        notes.insert("mixture".into(), Value::Matrix(mixture));
        notes.insert("reader".into(), Value::Floats(numbers.to_vec()));
        notes.insert("law".into(), self.law.to_string().into());
    }

    /// The coder of a stored fit.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`] or [`Error::Value`] for slots that are not there or do not fit together.
    pub fn read(slots: &Slots<'_>) -> Result<Coder> {
        let notes = slots.notes;
        let law: Law = slots.word(notes, "law")?;
        let numbers = slots.numbers(notes, "reader")?;
        let &[shift, scale, bend] = &numbers[..] else {
            return Err(lost(slots.note("reader"), "it must be three numbers"));
        };
        let rarity = if law == Law::Gaussian { Vec::new() } else { slots.column("rarity")? };
        let bad = |name| lost(slots.note(name), "its size is not that of the fit's other slots");
        let mixture = match notes.get("mixture") {
            Some(Value::Matrix(m))
                if m.nrows() > 0 && m.ncols() % 2 == 1 && m.iter().all(|v| v.is_finite()) =>
            {
                m
            }
            _ => {
                return Err(lost(
                    slots.note("mixture"),
                    "it must be a matrix of finite numbers, a row for each cluster",
                ));
            }
        };
        let dims = mixture.ncols() / 2;
        let part = |from: usize, to: usize| Param::new(mixture.slice(s![.., from..to]).to_owned());
        let logits = Param::new(mixture.slice(s![.., 0]).to_owned().insert_axis(Axis(0)));
        let mixture = Mixture { logits, mean: part(1, 1 + dims), log_sigma: part(1 + dims, 1 + 2 * dims) };
        let first = slots.table("encoder")?.mapv(|v| v as f32);
        let encoder = Encoder::restored(first, dims, &slots.numbers(notes, "encoder")?)
            .ok_or_else(|| bad("encoder"))?;
        Ok(Coder { encoder, mixture, reader: Reader::from_parts(rarity, [shift, scale, bend]), law })
    }
}

impl Annotate for SvccFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        self.clusters.annotate(key, out);
        self.coder.annotate(key, out);
        if let Some(cells) = &self.cells {
            out.layers.insert(format!("{key}_block"), Slot::Csr(cells.clone()));
        }
    }
}
