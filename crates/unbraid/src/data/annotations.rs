//! Plain tables under AnnData names: methods fill them, only `unbraid-io` writes them.

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{Array2, Axis};

use super::{Column, Csr, Table};
use crate::fit::Rows;

/// New slots for a file, by AnnData group and name.
#[derive(Debug, Default)]
pub struct Annotations {
    /// Columns of the observations.
    pub obs: BTreeMap<String, Column>,
    /// Columns of the features.
    pub var: BTreeMap<String, Column>,
    /// Arrays with one row per observation.
    pub obsm: BTreeMap<String, Slot>,
    /// Arrays with one row per feature.
    pub varm: BTreeMap<String, Slot>,
    /// Observation × observation.
    pub obsp: BTreeMap<String, Slot>,
    /// Feature × feature.
    pub varp: BTreeMap<String, Slot>,
    /// Observation × feature.
    pub layers: BTreeMap<String, Slot>,
    /// Everything else, nested.
    pub uns: BTreeMap<String, Value>,
}

/// One array of [`Annotations`].
pub enum Slot {
    /// Single precision.
    F32(Array2<f32>),
    /// Double precision.
    F64(Array2<f64>),
    /// Sparse.
    Csr(Csr),
    /// Large results (a reconstruction), written by row blocks and never held.
    Blocks(Box<dyn Rows + Send>),
}

impl Slot {
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Slot::F32(x) => x.dim(),
            Slot::F64(x) => x.dim(),
            Slot::Csr(x) => x.shape(),
            Slot::Blocks(x) => x.shape(),
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Slot::F32(_) => "F32",
            Slot::F64(_) => "F64",
            Slot::Csr(_) => "Csr",
            Slot::Blocks(_) => "Blocks",
        };
        write!(f, "{kind}{:?}", self.shape())
    }
}

/// A value of `uns`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f64>),
    /// Numbers in single precision, which come back from a file as [`Value::Floats`].
    Singles(Vec<f32>),
    /// Texts.
    Texts(Vec<String>),
    /// A small matrix.
    Matrix(Array2<f64>),
    /// A small table.
    Table(Table),
    /// Nested values.
    Map(BTreeMap<String, Value>),
}

impl From<f64> for Value {
    fn from(v: f64) -> Value {
        Value::Float(v)
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::Text(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::Text(v)
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Value {
        Value::Bool(v)
    }
}
impl From<i64> for Value {
    fn from(v: i64) -> Value {
        Value::Int(v)
    }
}

/// Rows and columns of a data set that a fit was given; `None` is all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Chosen observations, ascending.
    pub obs: Option<Vec<usize>>,
    /// Chosen features, ascending.
    pub var: Option<Vec<usize>>,
}

impl Annotations {
    /// The map `uns[key]`, made where it is not there.
    pub fn notes(&mut self, key: &str) -> &mut BTreeMap<String, Value> {
        let slot = self.uns.entry(key.to_owned()).or_insert_with(|| Value::Map(BTreeMap::new()));
        if !matches!(slot, Value::Map(_)) {
            *slot = Value::Map(BTreeMap::new());
        }
        match slot {
            Value::Map(map) => map,
            _ => unreachable!("it was made a map above"),
        }
    }

    /// Lifts slots of a fit on selected rows and columns to the whole data set of `shape`.
    ///
    /// What was left out gets no edge, a zero row, an empty label and a zero number (never NaN), and
    /// `obs["<key>_used"]` or `var["<key>_used"]` says which observations or features took part.
    pub fn expand(self, key: &str, chosen: &Selection, shape: (usize, usize)) -> Annotations {
        let mut out = self;
        if let Some(at) = &chosen.obs {
            let lift = Lift { at, to: shape.0 };
            out.obs = out.obs.into_iter().map(|(k, c)| (k, lift.column(&c))).collect();
            out.obs.insert(format!("{key}_used"), lift.used());
            out.obsm = out.obsm.into_iter().map(|(k, s)| (k, lift.rows(s))).collect();
            out.obsp = out.obsp.into_iter().map(|(k, s)| (k, lift.square(s))).collect();
            out.layers = out.layers.into_iter().map(|(k, s)| (k, lift.rows(s))).collect();
        }
        if let Some(at) = &chosen.var {
            let lift = Lift { at, to: shape.1 };
            out.var = out.var.into_iter().map(|(k, c)| (k, lift.column(&c))).collect();
            out.var.insert(format!("{key}_used"), lift.used());
            out.varm = out.varm.into_iter().map(|(k, s)| (k, lift.rows(s))).collect();
            out.varp = out.varp.into_iter().map(|(k, s)| (k, lift.square(s))).collect();
            out.layers = out.layers.into_iter().map(|(k, s)| (k, lift.columns(s))).collect();
        }
        out
    }
}

/// From positions `at` to an axis of length `to`.
struct Lift<'a> {
    at: &'a [usize],
    to: usize,
}

impl Lift<'_> {
    fn spread<T: Clone>(&self, from: &[T], empty: T) -> Vec<T> {
        let mut out = vec![empty; self.to];
        self.at.iter().zip(from).for_each(|(&i, v)| out[i] = v.clone());
        out
    }

    fn used(&self) -> Column {
        Column::Bool(self.spread(&vec![Some(true); self.at.len()], Some(false)))
    }

    fn column(&self, c: &Column) -> Column {
        match c {
            Column::Float(v) => Column::Float(self.spread(v, 0.0)),
            Column::Int(v) => Column::Int(self.spread(v, Some(0))),
            Column::Bool(v) => Column::Bool(self.spread(v, Some(false))),
            Column::Text(v) => Column::Text(self.spread(v, None)),
            Column::Categorical { codes, categories, ordered } => Column::Categorical {
                codes: self.spread(codes, None),
                categories: categories.clone(),
                ordered: *ordered,
            },
        }
    }

    fn rows(&self, s: Slot) -> Slot {
        fn place<T: Copy + Default>(x: &Array2<T>, at: &[usize], to: usize) -> Array2<T> {
            let mut out = Array2::from_elem((to, x.ncols()), T::default());
            at.iter().zip(x.rows()).for_each(|(&i, row)| out.index_axis_mut(Axis(0), i).assign(&row));
            out
        }
        match s {
            Slot::F32(x) => Slot::F32(place(&x, self.at, self.to)),
            Slot::F64(x) => Slot::F64(place(&x, self.at, self.to)),
            Slot::Csr(x) => {
                let entries = x.entries().map(|(i, j, v)| (self.at[i] as u32, j as u32, v)).collect();
                Slot::Csr(Csr::from_triplets((self.to, x.shape().1), entries))
            }
            Slot::Blocks(x) => Slot::Blocks(x),
        }
    }

    fn columns(&self, s: Slot) -> Slot {
        match s {
            Slot::F64(x) => {
                let mut out = Array2::zeros((x.nrows(), self.to));
                self.at.iter().zip(x.columns()).for_each(|(&j, column)| out.column_mut(j).assign(&column));
                Slot::F64(out)
            }
            Slot::F32(x) => {
                let mut out = Array2::zeros((x.nrows(), self.to));
                self.at.iter().zip(x.columns()).for_each(|(&j, column)| out.column_mut(j).assign(&column));
                Slot::F32(out)
            }
            Slot::Csr(x) => {
                let entries = x.entries().map(|(i, j, v)| (i as u32, self.at[j] as u32, v)).collect();
                Slot::Csr(Csr::from_triplets((x.shape().0, self.to), entries))
            }
            Slot::Blocks(x) => Slot::Blocks(x),
        }
    }

    /// A square slot; dense ones become sparse, since most of the whole square is left out.
    fn square(&self, s: Slot) -> Slot {
        let entry = |i: usize, j: usize, v: f64| (self.at[i] as u32, self.at[j] as u32, v);
        let entries = match s {
            Slot::F32(x) => x.indexed_iter().map(|((i, j), &v)| entry(i, j, v.into())).collect(),
            Slot::F64(x) => x.indexed_iter().map(|((i, j), &v)| entry(i, j, v)).collect(),
            Slot::Csr(x) => x.entries().map(|(i, j, v)| entry(i, j, v)).collect(),
            Slot::Blocks(x) => return Slot::Blocks(x),
        };
        Slot::Csr(Csr::from_triplets((self.to, self.to), entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_fit_on_some_features_is_lifted_to_all() {
        let mut a = Annotations::default();
        a.var.insert("m_scale".into(), Column::Float(vec![2.0, 3.0]));
        a.varp.insert("m_p".into(), Slot::F64(array![[1.0, -1.0], [-1.0, 4.0]]));
        a.varm.insert("m_l".into(), Slot::F64(array![[5.0], [6.0]]));
        a.layers.insert("m_r".into(), Slot::F64(array![[7.0, 8.0]]));
        let chosen = Selection { obs: None, var: Some(vec![1, 3]) };
        let a = a.expand("m", &chosen, (9, 4));
        assert_eq!(a.var["m_scale"], Column::Float(vec![0.0, 2.0, 0.0, 3.0]));
        assert_eq!(a.var["m_used"], Column::Bool([false, true, false, true].map(Some).to_vec()));
        let Slot::Csr(p) = &a.varp["m_p"] else { panic!("not sparse") };
        assert_eq!(p.entries().collect::<Vec<_>>(), [(1, 1, 1.0), (1, 3, -1.0), (3, 1, -1.0), (3, 3, 4.0)]);
        let Slot::F64(l) = &a.varm["m_l"] else { panic!("not dense") };
        assert_eq!(l, &array![[0.0], [5.0], [0.0], [6.0]]);
        let Slot::F64(r) = &a.layers["m_r"] else { panic!("not dense") };
        assert_eq!(r, &array![[0.0, 7.0, 0.0, 8.0]]);
    }
    #[test]
    fn notes_are_kept_and_made() {
        let mut out = Annotations::default();
        out.notes("m").insert("a".into(), 1.0.into());
        out.notes("m").insert("b".into(), 2.0.into());
        assert_eq!(out.notes("m").len(), 2);
    }
}
