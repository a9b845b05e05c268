//! Codes of samples from the encoders of a fit, and the encoders as a file holds them.
//!
//! ```text
//! μ_ik = encoder of the study of i, or the shared one, by running statistics;   code_if = Σ_(k, ±) ± μ_ik over the columns of factor f
//! ```
//!
//! A sample of a study that the fit does not know has the codes of the shared encoder alone, 0 elsewhere.
//!
//! | slot                              | shape      | content                                                      |
//! |-----------------------------------|------------|--------------------------------------------------------------|
//! | `varm["<key>_encoders"]`          | G × E H₁   | first layers of the E encoders side by side, `f32`            |
//! | `uns["<key>"]["encoders"]`        |            | of each encoder, the other layers row by row, `f32`           |
//! | `uns["<key>"]["factors_from"]`    | pieces × 3 | factor, column of W, sign                                     |
//!
//! Only the heads of μ are stored. The order of the encoders is that of the columns: shared, study 0, study 1, …; one without
//! columns is not there.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, s};

use super::Columns;
use super::likelihood::Law;
use super::merge::Part;
use super::network::Network;
use crate::data::{Annotations, Slot, Value};
use crate::error::{Error, Result};
use crate::methods::slots::{Slots, lost};
use crate::nn::Param;
use crate::nn::linear::Linear;
use crate::nn::mlp::Encoder;
use crate::nn::norm::BatchNorm;

/// Samples that go through the encoders together; the codes do not depend on which.
const BLOCK: usize = 512;

/// The encoders of a fit and how columns of W become factors.
#[derive(Clone, Debug)]
pub struct Coder {
    /// Law of the values, which says what encoders read.
    pub law: Law,
    /// Who owns which column.
    pub columns: Columns,
    /// Columns of W that each factor is made of, with signs.
    pub from: Vec<Vec<(usize, f64)>>,
    shared: Option<Encoder<f32>>,
    own: Vec<Option<Encoder<f32>>>,
}

impl Coder {
    /// Of a network whose columns became `parts`.
    pub fn new(network: &Network<f32>, parts: &[Part]) -> Coder {
        Coder {
            law: network.decoder.law,
            columns: network.columns.clone(),
            from: parts.iter().map(|p| p.from.clone()).collect(),
            shared: network.shared.clone(),
            own: network.own.clone(),
        }
    }

    /// Factors.
    pub fn factors(&self) -> usize {
        self.from.len()
    }

    /// Codes of samples × features, whose studies are indices of those of the fit; `None` for another study.
    pub fn codes(&self, x: ArrayView2<'_, f64>, study: &[Option<usize>]) -> Array2<f64> {
        let mut codes = Array2::zeros((x.nrows(), self.factors()));
        let studies = (0..self.own.len()).map(Some).chain([None]);
        for of in studies {
            let rows: Vec<usize> = (0..study.len()).filter(|&i| study[i] == of).collect();
            for rows in rows.chunks(BLOCK) {
                let mut input = x.select(ndarray::Axis(0), rows).mapv(|v| v as f32);
                self.law.read(&mut input);
                let means = self.means(of, input.view());
                for (at, &i) in rows.iter().enumerate() {
                    for (to, from) in codes.row_mut(i).iter_mut().zip(&self.from) {
                        *to = from.iter().map(|&(k, sign)| sign * f64::from(means[[at, k]])).sum();
                    }
                }
            }
        }
        codes
    }

    /// μ of samples of one study over all columns; 0 in those of other studies.
    fn means(&self, study: Option<usize>, input: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut means = Array2::zeros((input.nrows(), self.columns.total()));
        if let Some(encoder) = &self.shared {
            means.slice_mut(s![.., ..self.columns.shared]).assign(&encoder.evaluate(input).0);
        }
        if let Some(m) = study
            && let Some(encoder) = &self.own[m]
        {
            means.slice_mut(s![.., self.columns.own(m)]).assign(&encoder.evaluate(input).0);
        }
        means
    }

    fn encoders(&self) -> impl Iterator<Item = &Encoder<f32>> {
        self.shared.iter().chain(self.own.iter().flatten())
    }

    /// Bytes that [`annotate`](Self::annotate) adds to a file.
    pub fn bytes(&self) -> usize {
        let of = |e: &Encoder<f32>| {
            let first = e.hidden.first().map_or(0, |(l, _)| l.weight.value.len());
            4 * (first + rest(e).len())
        };
        self.encoders().map(of).sum()
    }

    /// Adds the slots.
    pub fn annotate(&self, key: &str, out: &mut Annotations) {
        let first: Vec<&Array2<f32>> =
            self.encoders().filter_map(|e| Some(&e.hidden.first()?.0.weight.value)).collect();
        let features = first.first().map_or(0, |w| w.ncols());
        let width: usize = first.iter().map(|w| w.nrows()).sum();
        let mut side = Array2::zeros((features, width));
        let mut at = 0;
        for weight in first {
            side.slice_mut(s![.., at..at + weight.nrows()]).assign(&weight.t());
            at += weight.nrows();
        }
        out.varm.insert(format!("{key}_encoders"), Slot::F32(side));
        let pieces: Vec<[f64; 3]> = (self.from.iter().enumerate())
            .flat_map(|(f, from)| from.iter().map(move |&(k, sign)| [f as f64, k as f64, sign]))
            .collect();
        let from = Array2::from_shape_fn((pieces.len(), 3), |(i, c)| pieces[i][c]);
        let layers: BTreeMap<String, Value> = self
            .encoders()
            .enumerate()
            .map(|(e, encoder)| (e.to_string(), Value::Singles(rest(encoder))))
            .collect();
        let notes = out.notes(key);
        notes.insert("encoders".into(), Value::Map(layers));
        notes.insert("factors_from".into(), Value::Matrix(from));
    }

    /// The coder of a stored fit.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`] or [`Error::Value`] for slots that are not there or do not fit together.
    pub fn read(slots: &Slots<'_>) -> Result<Coder> {
        let (notes, params) = (slots.notes, slots.params()?);
        let law: Law = slots.word(notes, "likelihood")?;
        let shared = slots.whole(notes, "shared_columns")?;
        let own = slots.numbers(notes, "specific_columns")?;
        let columns = Columns { shared, specific: own.iter().map(|k| *k as usize).collect() };
        let sizes = |name| {
            hidden(slots.text(params, name)?)
                .ok_or_else(|| lost(slots.note(name), "it must be two sizes, as [50,50]"))
        };
        // Fits of before there was `encoder` have encoders as wide as the decoder.
        let own_sizes = if params.contains_key("encoder") { sizes("encoder")? } else { [0, 0] };
        let hidden = if own_sizes == [0, 0] { sizes("hidden")? } else { own_sizes };
        let side = slots.table("encoders")?;
        let outputs: Vec<usize> =
            std::iter::once(columns.shared).chain(columns.specific.iter().copied()).collect();
        let there = outputs.iter().filter(|k| **k > 0).count();
        if side.ncols() != there * hidden[0] {
            let (what, found) =
                (format!("varm[\"{}_encoders\"]", slots.key), vec![side.nrows(), side.ncols()]);
            return Err(Error::Shape { what, found, rule: "a first layer of each encoder" });
        }
        let Some(Value::Map(layers)) = notes.get("encoders") else {
            return Err(lost(slots.note("encoders"), "a fit writes it; the file may have been cut"));
        };
        let mut at = 0;
        let mut encoders = Vec::new();
        for &k in &outputs {
            encoders.push(if k == 0 {
                None
            } else {
                let first = side.slice(s![.., at * hidden[0]..(at + 1) * hidden[0]]).t().mapv(|v| v as f32);
                let values = slots.numbers(layers, &at.to_string())?;
                let built = built(first, hidden, k, &values).ok_or_else(|| {
                    lost(slots.note("encoders"), "its sizes are not those of the fit's parameters")
                })?;
                at += 1;
                Some(built)
            });
        }
        let total = columns.total();
        let from = from(notes.get("factors_from"), total)
            .ok_or_else(|| lost(slots.note("factors_from"), "it must hold factor, column and sign"))?;
        let mut encoders = encoders.into_iter();
        Ok(Coder { law, columns, from, shared: encoders.next().flatten(), own: encoders.collect() })
    }
}

/// The pieces of the factors, in order.
fn from(value: Option<&Value>, columns: usize) -> Option<Vec<Vec<(usize, f64)>>> {
    let Some(Value::Matrix(pieces)) = value else { return None };
    let mut out: Vec<Vec<(usize, f64)>> = Vec::new();
    for row in pieces.rows() {
        let (f, k) = (row[0] as usize, row[1] as usize);
        if row.len() != 3 || f > out.len() || k >= columns || row[2].abs() != 1.0 {
            return None;
        }
        if f == out.len() {
            out.push(Vec::new());
        }
        out[f].push((k, row[2]));
    }
    Some(out)
}

/// `[50,50]`.
fn hidden(text: &str) -> Option<[usize; 2]> {
    let sizes = text.trim_start_matches('[').trim_end_matches(']').split(',');
    let sizes: Vec<usize> = sizes.map(|s| s.trim().parse().ok()).collect::<Option<_>>()?;
    sizes.try_into().ok()
}

/// All but the first weights and the head of the log variance, in a row.
fn rest(encoder: &Encoder<f32>) -> Vec<f32> {
    let mut out: Vec<f32> = Vec::new();
    for (at, (linear, norm)) in encoder.hidden.iter().enumerate() {
        if at > 0 {
            out.extend(&linear.weight.value);
        }
        out.extend(&linear.bias.value);
        out.extend(&norm.weight.value);
        out.extend(&norm.bias.value);
        out.extend(&norm.mean);
        out.extend(&norm.variance);
    }
    out.extend(&encoder.mean.weight.value);
    out.extend(&encoder.mean.bias.value);
    out
}

/// The encoder whose [`rest`] is `values`; `None` unless they have its length.
fn built(first: Array2<f32>, hidden: [usize; 2], outputs: usize, values: &[f64]) -> Option<Encoder<f32>> {
    let mut left = values;
    let mut take = |shape: (usize, usize)| -> Option<Array2<f32>> {
        let (these, rest) = left.split_at_checked(shape.0 * shape.1)?;
        left = rest;
        Array2::from_shape_vec(shape, these.iter().map(|v| *v as f32).collect()).ok()
    };
    let mut layers = Vec::new();
    let mut weight = Some(first);
    for size in hidden {
        let weight = match weight.take() {
            Some(first) => first,
            None => take((size, hidden[0]))?,
        };
        let bias = take((1, size))?;
        let mut norm = BatchNorm::new(size);
        norm.weight = Param::new(take((1, size))?);
        norm.bias = Param::new(take((1, size))?);
        norm.mean = take((1, size))?.into_raw_vec_and_offset().0;
        norm.variance = take((1, size))?.into_raw_vec_and_offset().0;
        layers.push((Linear { weight: Param::new(weight), bias: Param::new(bias) }, norm));
    }
    let mean =
        Linear { weight: Param::new(take((outputs, hidden[1]))?), bias: Param::new(take((1, outputs))?) };
    let none = |shape| Param::new(Array2::zeros(shape));
    let spread = Linear { weight: none((outputs, hidden[1])), bias: none((1, outputs)) };
    left.is_empty().then_some(Encoder { hidden: layers, mean, spread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Seed;
    use crate::methods::multistudy::network::SkipKind;
    use crate::nn::check::normal;

    fn example(law: Law, specific: Vec<usize>) -> Coder {
        let columns = Columns { shared: 3, specific };
        let mut network =
            Network::<f32>::new(law, 7, columns.clone(), [5, 4].into(), SkipKind::Projected, Seed(1));
        // Statistics other than those of the start.
        let x = normal(20, 7, 2).mapv(|v| v as f32 + 1.0);
        for encoder in network.shared.iter_mut().chain(network.own.iter_mut().flatten()) {
            encoder.train(x.view());
        }
        let part = |from: &[(usize, f64)]| Part {
            owner: None,
            weights: ndarray::Array1::zeros(7),
            from: from.to_vec(),
        };
        let last = columns.total() - 1;
        Coder::new(&network, &[part(&[(0, 1.0)]), part(&[(2, -1.0)]), part(&[(3, 1.0), (last, -1.0)])])
    }

    #[test]
    fn a_stored_coder_gives_the_same_bits() {
        let counts = Law::NegBinomial;
        let cases = [
            (Law::Gaussian, vec![1, 2], false),
            (counts, vec![1, 0, 2], false),
            (counts, vec![1, 0, 2], true),
        ];
        for (law, specific, own_sizes) in cases {
            let coder = example(law, specific);
            let mut out = Annotations::default();
            coder.annotate("k", &mut out);
            // As a file gives it back: double precision.
            for slot in out.varm.values_mut() {
                if let Slot::F32(x) = slot {
                    *slot = Slot::F64(x.mapv(f64::from));
                }
            }
            let own = coder.columns.specific.iter().map(|&k| k as i64).collect();
            let notes = out.notes("k");
            notes.insert("likelihood".into(), law.to_string().into());
            notes.insert("shared_columns".into(), 3.into());
            notes.insert("specific_columns".into(), Value::Ints(own));
            // Fits of before there was `encoder`, fits whose encoders have sizes of their own, and fits whose encoders do not.
            let sizes = match law {
                Law::Gaussian => vec![("hidden", "[5,4]")],
                Law::NegBinomial if own_sizes => vec![("hidden", "[3,2]"), ("encoder", "[5,4]")],
                Law::NegBinomial => vec![("hidden", "[5,4]"), ("encoder", "[0,0]")],
            };
            let sizes = sizes.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            notes.insert("params".into(), Value::Map(sizes.collect()));
            let read = |out: &Annotations| Coder::read(&Slots::of(out, "k", 7)?);
            let found = read(&out).unwrap();
            let x = normal(9, 7, 3).mapv(f64::abs);
            let last = coder.own.len() - 1;
            let study: Vec<Option<usize>> = (0..9).map(|i| [Some(0), Some(last), None][i % 3]).collect();
            let codes = coder.codes(x.view(), &study);
            assert_eq!(found.codes(x.view(), &study), codes);
            assert!(codes.iter().any(|v| *v != 0.0));
            // One row at a time, and an unknown study has the shared codes alone.
            for i in 0..9 {
                let one = coder.codes(x.slice(s![i..i + 1, ..]), &study[i..i + 1]);
                let near = one.row(0).iter().zip(codes.row(i)).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(near, "{one} {codes}");
                assert_eq!(codes[[i, 2]] == 0.0, i % 3 == 2);
                let shared = coder.codes(x.slice(s![i..i + 1, ..]), &[None]);
                assert!((shared[[0, 1]] - codes[[i, 1]]).abs() < 1e-6);
            }
            out.notes("k").insert("encoders".into(), Value::Map(BTreeMap::new()));
            assert!(read(&out).unwrap_err().to_string().contains("uns[\"k\"]"));
        }
    }
}
