//! The input of GmGM: tensors with named axes, some of them shared.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArrayView2, ArrayViewD};
use sha2::{Digest, Sha256};

use crate::data::{Csr, Matrix, Values};
use crate::error::{Error, Result};
use crate::fit::Check;

/// The values of one tensor.
#[derive(Clone, Debug)]
pub enum Entries<'a> {
    /// Any number of axes.
    Dense(ArrayViewD<'a, f64>),
    /// Two axes.
    Sparse(&'a Csr),
}

impl Entries<'_> {
    /// Length of each axis.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Entries::Dense(x) => x.shape().to_vec(),
            Entries::Sparse(x) => vec![x.shape().0, x.shape().1],
        }
    }
}

/// One tensor with the names of its axes.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// What messages call it: a slot or a table's name.
    pub what: String,
    /// One name per axis.
    pub axes: Vec<String>,
    /// The values.
    pub entries: Entries<'a>,
}

/// Tensors that may share axes: the same name is the same axis, with one precision.
#[derive(Clone, Debug, Default)]
pub struct Tensors<'a> {
    /// The tensors.
    pub tensors: Vec<Tensor<'a>>,
    /// Axes that number independent replicates and get no precision, besides those whose name begins
    /// with `batch`.
    pub replicates: BTreeSet<String>,
    /// Scale matrix of a Wishart prior of an axis, d × d and positive definite.
    pub priors: BTreeMap<String, ArrayView2<'a, f64>>,
}

impl<'a> Tensors<'a> {
    /// One table with the axes `obs` and `var`.
    pub fn matrix(values: Values<'a>) -> Tensors<'a> {
        let axes = vec!["obs".to_owned(), "var".to_owned()];
        Tensors {
            tensors: vec![Tensor { what: values.what.to_owned(), axes, entries: entries(values.matrix) }],
            ..Tensors::default()
        }
    }

    /// Several feature tables of the same observations: each shares the axis `obs` and has its own axis
    /// `var:<name>`. The fit writes their feature networks as one block-diagonal network in this order.
    pub fn tables(named: impl IntoIterator<Item = (&'a str, Values<'a>)>) -> Tensors<'a> {
        let table = |(name, values): (&str, Values<'a>)| Tensor {
            what: format!("{name}/{}", values.what),
            axes: vec!["obs".to_owned(), format!("var:{name}")],
            entries: entries(values.matrix),
        };
        Tensors { tensors: named.into_iter().map(table).collect(), ..Tensors::default() }
    }

    /// Whether an axis numbers replicates.
    pub fn is_replicate(&self, axis: &str) -> bool {
        axis.starts_with("batch") || self.replicates.contains(axis)
    }

    /// The learnt axes in order of appearance, and which of them each tensor has.
    pub fn structure(&self) -> Structure {
        let mut axes: Vec<AxisInfo> = Vec::new();
        let mut tensors = Vec::new();
        for tensor in &self.tensors {
            let shape = tensor.entries.shape();
            let size: usize = shape.iter().product();
            let mut has = Vec::new();
            for (position, (name, &length)) in tensor.axes.iter().zip(&shape).enumerate() {
                if self.is_replicate(name) {
                    continue;
                }
                let at = axes.iter().position(|a| a.name == *name).unwrap_or_else(|| {
                    axes.push(AxisInfo { name: name.clone(), length, columns: 0 });
                    axes.len() - 1
                });
                axes[at].columns += size / length.max(1);
                has.push((position, at));
            }
            tensors.push(has);
        }
        Structure { axes, tensors }
    }
}

fn entries(matrix: &Matrix) -> Entries<'_> {
    match matrix {
        Matrix::Dense(x) => Entries::Dense(x.view().into_dyn()),
        Matrix::Sparse(x) => Entries::Sparse(x),
    }
}

/// One learnt axis.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisInfo {
    /// Its name.
    pub name: String,
    /// Its length d_ℓ.
    pub length: usize,
    /// Columns of all its matricisations together: what a Gram matrix is divided by.
    pub columns: usize,
}

/// Which tensor has which learnt axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Structure {
    /// The learnt axes.
    pub axes: Vec<AxisInfo>,
    /// For each tensor (position in the tensor, index into `axes`) of its learnt axes, by position.
    pub tensors: Vec<Vec<(usize, usize)>>,
}

impl Check for Tensors<'_> {
    /// Names distinct, 1 to 4 learnt axes per tensor, lengths equal where axes are shared, values
    /// finite, priors square.
    fn check(&self) -> Result<()> {
        if self.tensors.is_empty() {
            let hint = "give at least one table".into();
            return Err(Error::Missing { what: "the data".into(), hint });
        }
        let mut lengths: BTreeMap<&str, usize> = BTreeMap::new();
        for tensor in &self.tensors {
            let shape = tensor.entries.shape();
            let bad = |what: String, rule| Err(Error::Shape { what, found: shape.clone(), rule });
            if shape.len() != tensor.axes.len() {
                return bad(tensor.what.clone(), "with as many axes as it names");
            }
            if shape.contains(&0) {
                return bad(tensor.what.clone(), "at least 1 along every axis");
            }
            let distinct: BTreeSet<_> = tensor.axes.iter().collect();
            if distinct.len() != tensor.axes.len() {
                return bad(
                    format!("{} with axes {:?}", tensor.what, tensor.axes),
                    "without a repeated axis",
                );
            }
            let learnt = tensor.axes.iter().filter(|a| !self.is_replicate(a)).count();
            if !(1..=4).contains(&learnt) {
                return bad(tensor.what.clone(), "with 1 to 4 axes that are not replicates");
            }
            for (name, &length) in tensor.axes.iter().zip(&shape) {
                if *lengths.entry(name).or_insert(length) != length && !self.is_replicate(name) {
                    let what =
                        format!("{}, axis `{name}` (length {} elsewhere),", tensor.what, lengths[&**name]);
                    return bad(what, "of one length along a shared axis");
                }
            }
            let odd = match &tensor.entries {
                Entries::Dense(x) => {
                    let rest: usize = shape[1..].iter().product();
                    let place = |at: usize| (at / rest, at % rest);
                    x.iter().enumerate().find(|(_, v)| !v.is_finite()).map(|(at, &v)| (place(at), v))
                }
                Entries::Sparse(x) => x.entries().find(|e| !e.2.is_finite()).map(|(i, j, v)| ((i, j), v)),
            };
            if let Some((at, found)) = odd {
                return Err(Error::Value { what: tensor.what.clone(), found, at, rule: "finite" });
            }
        }
        for (name, scale) in &self.priors {
            let what = format!("the prior scale of axis `{name}`");
            let found = scale.shape().to_vec();
            match lengths.get(&**name) {
                Some(&d) if scale.dim() == (d, d) => {}
                Some(_) => return Err(Error::Shape { what, found, rule: "square, as long as its axis" }),
                None => {
                    return Err(Error::Missing {
                        what: format!("axis `{name}`"),
                        hint: format!("{what} names it"),
                    });
                }
            }
            if let Some((at, &found)) = scale.indexed_iter().find(|(_, v)| !v.is_finite()) {
                return Err(Error::Value { what, found, at, rule: "finite" });
            }
        }
        Ok(())
    }

    fn digest(&self, hash: &mut Sha256) {
        let mut text = |t: &str| {
            hash.update((t.len() as u64).to_le_bytes());
            hash.update(t.as_bytes());
        };
        for tensor in &self.tensors {
            tensor.axes.iter().for_each(|a| text(a));
            tensor.entries.shape().iter().for_each(|n| text(&n.to_string()));
        }
        self.replicates.iter().for_each(|r| text(r));
        self.priors.keys().for_each(|p| text(p));
        // Zeros, stored or not, do not change a result, so they do not change the hash.
        let mut block = Vec::with_capacity(1 << 16);
        let mut value = |at: usize, v: f64| {
            if v != 0.0 {
                block.extend_from_slice(&(at as u64).to_le_bytes());
                block.extend_from_slice(&v.to_bits().to_le_bytes());
            }
            if block.len() >= (1 << 16) - 16 {
                hash.update(&block);
                block.clear();
            }
        };
        for tensor in &self.tensors {
            match &tensor.entries {
                Entries::Dense(x) => x.iter().enumerate().for_each(|(at, &v)| value(at, v)),
                Entries::Sparse(x) => {
                    let m = x.shape().1;
                    x.entries().for_each(|(i, j, v)| value(i * m + j, v));
                }
            }
        }
        self.priors.values().for_each(|p| p.iter().enumerate().for_each(|(at, &v)| value(at, v)));
        hash.update(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3, array};

    fn named<'a>(what: &str, axes: &[&str], x: ArrayViewD<'a, f64>) -> Tensor<'a> {
        let axes = axes.iter().map(|a| (*a).to_owned()).collect();
        Tensor { what: what.into(), axes, entries: Entries::Dense(x) }
    }

    fn why(tensors: Vec<Tensor<'_>>) -> String {
        Tensors { tensors, ..Tensors::default() }.check().unwrap_err().to_string()
    }

    #[test]
    fn structure_counts_columns_and_leaves_batches_out() {
        let (a, b) = (Array3::<f64>::ones((2, 5, 3)), Array2::<f64>::ones((5, 4)));
        let tensors = Tensors {
            tensors: vec![
                named("a", &["batch", "cell", "gene"], a.view().into_dyn()),
                named("b", &["cell", "peak"], b.view().into_dyn()),
            ],
            ..Tensors::default()
        };
        tensors.check().unwrap();
        let s = tensors.structure();
        let got: Vec<_> = s.axes.iter().map(|a| (a.name.as_str(), a.length, a.columns)).collect();
        assert_eq!(got, [("cell", 5, 6 + 4), ("gene", 3, 10), ("peak", 4, 5)]);
        assert_eq!(s.tensors, [vec![(1, 0), (2, 1)], vec![(0, 0), (1, 2)]]);
    }

    #[test]
    fn bad_tensors_are_refused_with_the_place() {
        let (a, b) = (Array2::<f64>::ones((3, 4)), Array2::<f64>::ones((5, 2)));
        let (av, bv) = (a.view().into_dyn(), b.view().into_dyn());
        assert!(why(vec![]).contains("missing"));
        assert!(why(vec![named("a", &["x"], av.clone())]).contains("as many axes"));
        assert!(why(vec![named("a", &["x", "x"], av.clone())]).contains("repeated"));
        assert!(why(vec![named("a", &["batch", "batch2"], av.clone())]).contains("1 to 4"));
        let shared = why(vec![named("a", &["x", "y"], av), named("b", &["x", "z"], bv)]);
        assert!(shared.contains("axis `x` (length 3 elsewhere)"), "{shared}");
        let nan = array![[1.0, 2.0], [3.0, f64::NAN]];
        assert!(why(vec![named("X", &["x", "y"], nan.view().into_dyn())]).contains("row 1, column 1"));
    }
}
