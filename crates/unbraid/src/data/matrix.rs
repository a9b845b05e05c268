//! Dense and compressed sparse row matrices, and the checked view that methods borrow.

use ndarray::{Array2, ArrayView2, Axis};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::fit::{Check, Rows};

/// A matrix in memory, always in double precision: f32 and integer input keep their values.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// Row-major.
    Dense(Array2<f64>),
    /// Compressed sparse rows.
    Sparse(Csr),
}

/// Compressed sparse rows: the entries of row i are `indptr[i]..indptr[i + 1]`, columns ascending
/// and distinct. Stored zeros are allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    shape: (usize, usize),
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

impl Csr {
    /// Checks every invariant before it takes the arrays. Columns within a row may come in any order
    /// and are sorted here; a column named twice in a row is an error.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Value`] with the place, named after `what`.
    pub fn new(
        what: &str,
        shape: (usize, usize),
        indptr: Vec<usize>,
        mut indices: Vec<u32>,
        mut values: Vec<f64>,
    ) -> Result<Csr> {
        let bad = |part: &str, found: Vec<usize>, rule| Error::Shape {
            what: format!("{what}/{part}"),
            found,
            rule,
        };
        if indptr.len() != shape.0 + 1 {
            return Err(bad("indptr", vec![indptr.len()], "one longer than the number of rows"));
        }
        if indices.len() != values.len() {
            return Err(bad("indices", vec![indices.len(), values.len()], "as long as the data"));
        }
        if indptr[0] != 0 || indptr[shape.0] != indices.len() || indptr.windows(2).any(|w| w[0] > w[1]) {
            return Err(bad(
                "indptr",
                vec![indptr[0], indptr[shape.0]],
                "rising from 0 to the number of entries",
            ));
        }
        let mut order: Vec<(u32, f64)> = Vec::new();
        for i in 0..shape.0 {
            let row = indptr[i]..indptr[i + 1];
            if let Some(&j) = indices[row.clone()].iter().find(|&&j| j as usize >= shape.1) {
                let rule = "smaller than the number of columns";
                return Err(Error::Value {
                    what: format!("{what}/indices"),
                    found: j.into(),
                    at: (i, j as usize),
                    rule,
                });
            }
            if indices[row.clone()].windows(2).any(|w| w[0] >= w[1]) {
                order.clear();
                order.extend(indices[row.clone()].iter().copied().zip(values[row.clone()].iter().copied()));
                order.sort_by_key(|&(j, _)| j);
                if let Some(w) = order.windows(2).find(|w| w[0].0 == w[1].0) {
                    let j = w[0].0;
                    let rule = "named once per row";
                    return Err(Error::Value {
                        what: format!("{what}/indices"),
                        found: j.into(),
                        at: (i, j as usize),
                        rule,
                    });
                }
                for (at, &(j, x)) in row.zip(&order) {
                    (indices[at], values[at]) = (j, x);
                }
            }
        }
        Ok(Csr { shape, indptr, indices, values })
    }

    /// From the non-zero entries of a dense matrix.
    pub fn from_dense(x: ArrayView2<'_, f64>) -> Csr {
        let mut out = Csr { shape: x.dim(), indptr: vec![0], indices: Vec::new(), values: Vec::new() };
        for row in x.rows() {
            for (j, &v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                out.indices.push(j as u32);
                out.values.push(v);
            }
            out.indptr.push(out.indices.len());
        }
        out
    }

    /// From (row, column, value) in any order; entries at the same place are added.
    pub fn from_triplets(shape: (usize, usize), mut entries: Vec<(u32, u32, f64)>) -> Csr {
        entries.sort_by_key(|&(i, j, _)| (i, j));
        let mut out = Csr { shape, indptr: vec![0; shape.0 + 1], indices: Vec::new(), values: Vec::new() };
        let mut last = None;
        for (i, j, v) in entries {
            if last == Some((i, j)) {
                *out.values.last_mut().expect("an entry came before") += v;
                continue;
            }
            last = Some((i, j));
            out.indices.push(j);
            out.values.push(v);
            out.indptr[i as usize + 1] = out.indices.len();
        }
        for i in 0..shape.0 {
            out.indptr[i + 1] = out.indptr[i + 1].max(out.indptr[i]);
        }
        out
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }
    /// Number of stored entries.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }
    /// Row starts, one more than rows.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }
    /// Columns of the entries.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }
    /// Values of the entries.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// Columns and values of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f64]) {
        let at = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[at.clone()], &self.values[at])
    }
    /// Every entry as (row, column, value), row by row.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.shape.0).flat_map(move |i| {
            let (j, v) = self.row(i);
            j.iter().zip(v).map(move |(&j, &v)| (i, j as usize, v))
        })
    }
    /// The same pattern with other values.
    pub fn map(&self, mut f: impl FnMut(f64) -> f64) -> Csr {
        Csr { values: self.values.iter().map(|&v| f(v)).collect(), ..self.clone() }
    }
    /// The same pattern with values that may depend on the place: `f(row, column, value)`.
    pub fn map_at(&self, mut f: impl FnMut(usize, usize, f64) -> f64) -> Csr {
        Csr { values: self.entries().map(|(i, j, v)| f(i, j, v)).collect(), ..self.clone() }
    }
    /// The transpose.
    pub fn transpose(&self) -> Csr {
        let (n, m) = self.shape;
        let mut indptr = vec![0usize; m + 1];
        for &j in &self.indices {
            indptr[j as usize + 1] += 1;
        }
        for j in 0..m {
            indptr[j + 1] += indptr[j];
        }
        let mut next = indptr.clone();
        let (mut indices, mut values) = (vec![0u32; self.nnz()], vec![0.0; self.nnz()]);
        for (i, j, v) in self.entries() {
            (indices[next[j]], values[next[j]]) = (i as u32, v);
            next[j] += 1;
        }
        Csr { shape: (m, n), indptr, indices, values }
    }
    /// With every zero written out.
    pub fn to_dense(&self) -> Array2<f64> {
        let mut out = Array2::zeros(self.shape);
        for (i, j, v) in self.entries() {
            out[[i, j]] = v;
        }
        out
    }
    fn select_rows(&self, at: &[usize]) -> Csr {
        let mut out =
            Csr { shape: (at.len(), self.shape.1), indptr: vec![0], indices: Vec::new(), values: Vec::new() };
        for &i in at {
            let (j, v) = self.row(i);
            out.indices.extend_from_slice(j);
            out.values.extend_from_slice(v);
            out.indptr.push(out.indices.len());
        }
        out
    }
}

impl Matrix {
    /// The entries that are not zero, in sparse form.
    pub fn to_csr(&self) -> Csr {
        match self {
            Matrix::Dense(x) => Csr::from_dense(x.view()),
            Matrix::Sparse(x) if x.values.iter().all(|v| *v != 0.0) => x.clone(),
            Matrix::Sparse(x) => {
                let mut out =
                    Csr { shape: x.shape, indptr: vec![0], indices: Vec::new(), values: Vec::new() };
                for i in 0..x.shape.0 {
                    let (j, v) = x.row(i);
                    for (&j, &v) in j.iter().zip(v).filter(|(_, v)| **v != 0.0) {
                        out.indices.push(j);
                        out.values.push(v);
                    }
                    out.indptr.push(out.indices.len());
                }
                out
            }
        }
    }
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Matrix::Dense(x) => x.dim(),
            Matrix::Sparse(x) => x.shape(),
        }
    }
    /// Number of entries that are not zero.
    pub fn nonzeros(&self) -> usize {
        match self {
            Matrix::Dense(x) => x.iter().filter(|v| **v != 0.0).count(),
            Matrix::Sparse(x) => x.values.iter().filter(|v| **v != 0.0).count(),
        }
    }
    /// A dense copy.
    pub fn to_dense(&self) -> Array2<f64> {
        match self {
            Matrix::Dense(x) => x.clone(),
            Matrix::Sparse(x) => x.to_dense(),
        }
    }
    /// Every value through `f`; zeros of a sparse matrix stay zero, so `f(0)` must be 0 for it.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Matrix {
        match self {
            Matrix::Dense(x) => Matrix::Dense(x.mapv(f)),
            Matrix::Sparse(x) => Matrix::Sparse(x.map(f)),
        }
    }
    /// The transpose, row-major again.
    pub fn transpose(&self) -> Matrix {
        match self {
            Matrix::Dense(x) => Matrix::Dense(x.t().as_standard_layout().into_owned()),
            Matrix::Sparse(x) => Matrix::Sparse(x.transpose()),
        }
    }
    /// The chosen rows, in the given order.
    pub fn rows(&self, at: &[usize]) -> Matrix {
        match self {
            Matrix::Dense(x) => Matrix::Dense(x.select(Axis(0), at)),
            Matrix::Sparse(x) => Matrix::Sparse(x.select_rows(at)),
        }
    }
    /// The chosen columns, in the given order.
    pub fn columns(&self, at: &[usize]) -> Matrix {
        match self {
            Matrix::Dense(x) => Matrix::Dense(x.select(Axis(1), at).as_standard_layout().into_owned()),
            Matrix::Sparse(x) => Matrix::Sparse(x.transpose().select_rows(at).transpose()),
        }
    }
    /// Calls `f(row, column, value)` for every entry that is not zero, row by row.
    pub fn for_each_nonzero(&self, mut f: impl FnMut(usize, usize, f64)) {
        match self {
            Matrix::Dense(x) => {
                // Row by row: twice as fast as an iterator over both indices.
                for (i, row) in x.rows().into_iter().enumerate() {
                    row.iter().enumerate().filter(|(_, v)| **v != 0.0).for_each(|(j, &v)| f(i, j, v));
                }
            }
            Matrix::Sparse(x) => x.entries().filter(|e| e.2 != 0.0).for_each(|(i, j, v)| f(i, j, v)),
        }
    }
}

/// Borrowed matrix with the name that messages use for it.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Slot the user named: `X`, `layers["counts"]`.
    pub what: &'a str,
    /// The values, observations × features.
    pub matrix: &'a Matrix,
}

impl Check for Values<'_> {
    /// At least one row and one column, every value finite.
    fn check(&self) -> Result<()> {
        let (n, m) = self.matrix.shape();
        if n == 0 || m == 0 {
            return Err(Error::Shape { what: self.what.into(), found: vec![n, m], rule: "at least 1 × 1" });
        }
        let odd = match self.matrix {
            Matrix::Dense(x) => x.indexed_iter().find(|(_, v)| !v.is_finite()).map(|(at, &v)| (at, v)),
            Matrix::Sparse(x) => x.entries().find(|e| !e.2.is_finite()).map(|(i, j, v)| ((i, j), v)),
        };
        match odd {
            Some((at, found)) => Err(Error::Value { what: self.what.into(), found, at, rule: "finite" }),
            None => Ok(()),
        }
    }

    fn digest(&self, hash: &mut Sha256) {
        let (n, m) = self.matrix.shape();
        hash.update((n as u64).to_le_bytes());
        hash.update((m as u64).to_le_bytes());
        // Stored zeros and the storage form do not change a result, so they do not change the hash.
        let mut block = Vec::with_capacity(1 << 16);
        let mut push = |at: usize, v: f64| {
            block.extend_from_slice(&(at as u64).to_le_bytes());
            block.extend_from_slice(&v.to_bits().to_le_bytes());
            if block.len() >= (1 << 16) - 16 {
                hash.update(&block);
                block.clear();
            }
        };
        self.matrix.for_each_nonzero(|i, j, v| push(i * m + j, v));
        hash.update(&block);
    }
}

impl Rows for Matrix {
    fn shape(&self) -> (usize, usize) {
        Matrix::shape(self)
    }
    fn block(&self, rows: std::ops::Range<usize>, into: &mut Array2<f32>) -> Result<()> {
        let m = Matrix::shape(self).1;
        if into.dim() != (rows.len(), m) {
            *into = Array2::zeros((rows.len(), m));
        }
        match self {
            Matrix::Dense(x) => {
                let from = x.slice(ndarray::s![rows, ..]);
                into.zip_mut_with(&from, |to, &v| *to = v as f32);
            }
            Matrix::Sparse(x) => {
                into.fill(0.0);
                for (to, i) in rows.enumerate() {
                    let (j, v) = x.row(i);
                    j.iter().zip(v).for_each(|(&j, &v)| into[[to, j as usize]] = v as f32);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn small() -> Array2<f64> {
        array![[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]
    }

    #[test]
    fn sparse_and_dense_forms_agree() {
        let (d, s) = (Matrix::Dense(small()), Matrix::Sparse(Csr::from_dense(small().view())));
        assert_eq!(d.nonzeros(), 3);
        for at in [vec![1usize, 0], vec![1]] {
            assert_eq!(d.rows(&at).to_dense(), s.rows(&at).to_dense());
            assert_eq!(d.columns(&at).to_dense(), s.columns(&at).to_dense());
        }
        assert_eq!(d.transpose().to_dense(), s.transpose().to_dense());
        let hash = |m: &Matrix| {
            let mut h = Sha256::new();
            Values { what: "X", matrix: m }.digest(&mut h);
            h.finalize()
        };
        assert_eq!(hash(&d), hash(&s));
        assert_ne!(hash(&d), hash(&d.transpose()));
        let (mut a, mut b) = (Array2::zeros((0, 0)), Array2::zeros((0, 0)));
        d.block(1..2, &mut a).unwrap();
        s.block(1..2, &mut b).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn csr_refuses_what_others_crash_on() {
        let csr = |indptr: &[usize], indices: &[u32]| {
            Csr::new("X", (2, 3), indptr.to_vec(), indices.to_vec(), vec![1.0; indices.len()])
        };
        assert!(csr(&[0, 1, 2], &[0, 3]).unwrap_err().to_string().contains("X/indices"));
        assert!(csr(&[0, 2, 1], &[0]).unwrap_err().to_string().contains("indptr"));
        assert!(csr(&[0, 1], &[0]).unwrap_err().to_string().contains("indptr"));
        assert!(csr(&[0, 2, 2], &[1, 1]).unwrap_err().to_string().contains("once per row"));
        assert_eq!(csr(&[0, 2, 2], &[2, 1]).unwrap().indices(), [1, 2]);
    }

    #[test]
    fn triplets_add_up_and_leave_empty_rows() {
        let x = Csr::from_triplets((3, 2), vec![(2, 1, 1.0), (0, 0, 2.0), (2, 1, 4.0)]);
        assert_eq!(x.to_dense(), array![[2.0, 0.0], [0.0, 0.0], [0.0, 5.0]]);
        assert_eq!(x.indptr(), [0, 1, 1, 2]);
    }

    #[test]
    fn a_value_that_is_not_finite_is_located() {
        let mut x = small();
        x[[1, 2]] = f64::NAN;
        let m = Matrix::Dense(x);
        let why = Values { what: "X", matrix: &m }.check().unwrap_err().to_string();
        assert!(why.contains("NaN at row 1, column 2"), "{why}");
    }
}
