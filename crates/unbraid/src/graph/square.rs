//! One way to read a square matrix, dense or sparse.

use ndarray::ArrayView2;

use crate::data::Csr;
use crate::error::{Error, Result};

/// A square matrix that is read as a weighted graph: vertex i and vertex j are joined where the entry
/// is not zero.
#[derive(Clone, Copy, Debug)]
pub enum Square<'a> {
    /// n × n, every entry written out.
    Dense(ArrayView2<'a, f64>),
    /// n × n, most entries zero.
    Sparse(&'a Csr),
}

impl<'a> From<&'a Csr> for Square<'a> {
    fn from(x: &'a Csr) -> Self {
        Square::Sparse(x)
    }
}
impl<'a> From<&'a ndarray::Array2<f64>> for Square<'a> {
    fn from(x: &'a ndarray::Array2<f64>) -> Self {
        Square::Dense(x.view())
    }
}
impl<'a> From<ArrayView2<'a, f64>> for Square<'a> {
    fn from(x: ArrayView2<'a, f64>) -> Self {
        Square::Dense(x)
    }
}

impl Square<'_> {
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Square::Dense(x) => x.dim(),
            Square::Sparse(x) => x.shape(),
        }
    }

    /// Number of vertices, when there are as many columns as rows and every entry is finite.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Value`] under the name `what`.
    pub fn vertices(&self, what: &str) -> Result<usize> {
        let (n, m) = self.shape();
        if n != m {
            return Err(Error::Shape { what: what.into(), found: vec![n, m], rule: "square" });
        }
        let mut odd = None;
        self.each(|i, j, v| {
            if !v.is_finite() && odd.is_none() {
                odd = Some((i, j, v));
            }
        });
        match odd {
            Some((i, j, found)) => Err(Error::Value { what: what.into(), found, at: (i, j), rule: "finite" }),
            None => Ok(n),
        }
    }

    /// Calls `f(row, column, value)` for every entry that is not zero, row by row, columns ascending.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f64)) {
        match self {
            Square::Dense(x) => {
                x.indexed_iter().filter(|(_, v)| **v != 0.0).for_each(|((i, j), &v)| f(i, j, v))
            }
            Square::Sparse(x) => x.entries().filter(|e| e.2 != 0.0).for_each(|(i, j, v)| f(i, j, v)),
        }
    }

    /// Calls `f(row, column, value)` with column < row for every pair whose value is not zero: the
    /// undirected edges of a symmetric matrix, each once.
    pub fn edges(&self, mut f: impl FnMut(usize, usize, f64)) {
        match self {
            Square::Dense(x) => {
                for (i, row) in x.rows().into_iter().enumerate() {
                    row.iter().take(i).enumerate().filter(|(_, v)| **v != 0.0).for_each(|(j, &v)| f(i, j, v));
                }
            }
            Square::Sparse(_) => self.each(|i, j, v| {
                if j < i {
                    f(i, j, v);
                }
            }),
        }
    }
}
