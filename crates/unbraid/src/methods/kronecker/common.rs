//! What the Kronecker-sum models share: a learnt precision, the edges kept of it, and their slots.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array2, CowArray, Ix2};
use rayon::prelude::*;

use crate::data::{Csr, Slot, Value};
use crate::error::Result;
use crate::graph::edges::{self, Keep, LowRank, Rule, Significance, SymmetricRows};
use crate::linalg::{self, randomized::SparseShifted};

/// A precision matrix Ψ of one axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Precision {
    /// Every entry.
    Dense(Array2<f64>),
    /// `c I + U diag(d) Uᵀ`.
    LowRank(LowRank),
    /// `2I − R`, R the cosines of sparse lines.
    Cosines(UnitLines),
}

/// Sparse lines of length 1, for the matrix `2I − R` of their cosines: −⟨line i, line j⟩ off the
/// diagonal, 1 on it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitLines {
    lines: Csr,
    transpose: Csr,
}

impl UnitLines {
    /// From lines of any length; an empty one stays empty.
    pub fn new(lines: Csr) -> UnitLines {
        let size = |i: usize| lines.row(i).1.iter().map(|v| v * v).sum::<f64>().sqrt();
        let sizes: Vec<f64> = (0..lines.shape().0).map(size).collect();
        let lines = lines.map_at(|i, _, v| if sizes[i] > 0.0 { v / sizes[i] } else { 0.0 });
        UnitLines { transpose: lines.transpose(), lines }
    }

    /// Every entry.
    pub fn to_dense(&self) -> Array2<f64> {
        let mut out = SparseShifted::plain(self.lines.clone()).gram();
        out.mapv_inplace(|v| -v);
        out.diag_mut().fill(1.0);
        out
    }
}

impl SymmetricRows for UnitLines {
    fn side(&self) -> usize {
        self.lines.shape().0
    }
    fn row_block(&self, rows: Range<usize>) -> CowArray<'_, f64, Ix2> {
        let d = self.side();
        let mut out = Array2::zeros((rows.len(), d));
        let lines = out.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(d.max(1));
        lines.zip(rows).for_each(|(to, i)| {
            linalg::settle();
            let (at, values) = self.lines.row(i);
            for (&t, &v) in at.iter().zip(values) {
                let (others, theirs) = self.transpose.row(t as usize);
                others.iter().zip(theirs).for_each(|(&j, &w)| to[j as usize] -= v * w);
            }
            to[i] = 1.0;
        });
        out.into()
    }
    fn diagonal(&self) -> Vec<f64> {
        vec![1.0; self.side()]
    }
}

impl Precision {
    /// Every entry; a copy.
    pub fn to_dense(&self) -> Array2<f64> {
        match self {
            Precision::Dense(psi) => psi.clone(),
            Precision::LowRank(low) => low.to_dense(),
            Precision::Cosines(lines) => lines.to_dense(),
        }
    }
}

impl SymmetricRows for Precision {
    fn side(&self) -> usize {
        match self {
            Precision::Dense(psi) => psi.nrows(),
            Precision::LowRank(low) => low.side(),
            Precision::Cosines(lines) => lines.side(),
        }
    }
    fn row_block(&self, rows: Range<usize>) -> CowArray<'_, f64, Ix2> {
        match self {
            Precision::Dense(psi) => psi.row_block(rows),
            Precision::LowRank(low) => low.row_block(rows),
            Precision::Cosines(lines) => lines.row_block(rows),
        }
    }
    fn top_of_rows(&self, k: usize) -> Option<Vec<(u32, u32, f64)>> {
        match self {
            Precision::LowRank(low) => low.top_of_rows(k),
            Precision::Dense(_) | Precision::Cosines(_) => None,
        }
    }
    fn diagonal(&self) -> Vec<f64> {
        match self {
            Precision::Dense(psi) => psi.diagonal(),
            Precision::LowRank(low) => low.diagonal(),
            Precision::Cosines(lines) => lines.diagonal(),
        }
    }
}

/// A precision with the edges that were kept of it.
#[derive(Clone, Debug)]
pub struct Network {
    /// The whole of Ψ.
    pub precision: Precision,
    /// Kept signed entries with the diagonal; `None` where the rule is `dense`.
    pub kept: Option<Csr>,
    /// The K of `top:K`, the mean degree elsewhere; at least 1.
    pub neighbours: usize,
}

impl Network {
    /// Selects the edges.
    ///
    /// # Errors
    /// As [`edges::select`].
    pub fn new(precision: Precision, keep: &Keep, significance: Option<&Significance>) -> Result<Network> {
        keep.validate()?;
        let d = precision.side();
        let kept = match keep.rule {
            Rule::Dense => None,
            _ => Some(edges::select(&precision, keep, significance)?),
        };
        let neighbours = match (keep.rule, &kept) {
            (Rule::Top(k) | Rule::TopWeighted(k), _) => k,
            (_, Some(kept)) => (kept.nnz().saturating_sub(d) as f64 / d.max(1) as f64).round() as usize,
            (_, None) => d.saturating_sub(1),
        };
        Ok(Network { precision, kept, neighbours: neighbours.max(1) })
    }

    /// The graph of the kept edges: |ψ|, symmetric, zero diagonal.
    pub fn connectivities(&self) -> Csr {
        match &self.kept {
            Some(kept) => edges::connectivities(kept),
            None => edges::connectivities(&Csr::from_dense(self.precision.to_dense().view())),
        }
    }
}

/// Writes one network: `<key>_precision` (dense for `keep=dense`, else the kept signed entries with the
/// diagonal) and `<key>_connectivities` into `pairs`, which is `obsp` or `varp`, and
/// `uns["<key>_neighbors"]`, the map by which Scanpy finds the graph.
///
/// `<key>_distances` holds 1 / weight on the same edges: an order of the neighbours, no metric. Scanpy's
/// PAGA refuses a graph without it; Leiden and UMAP read the connectivities only. For the features the
/// same map serves the transposed table (`adata.T`).
pub fn annotate_network(
    pairs: &mut BTreeMap<String, Slot>,
    uns: &mut BTreeMap<String, Value>,
    key: &str,
    network: &Network,
) {
    let precision = match &network.kept {
        Some(kept) => Slot::Csr(kept.clone()),
        None => Slot::F64(network.precision.to_dense()),
    };
    annotate_graph(pairs, uns, key, precision, network.connectivities(), network.neighbours);
}

/// [`annotate_network`] from its parts.
pub fn annotate_graph(
    pairs: &mut BTreeMap<String, Slot>,
    uns: &mut BTreeMap<String, Value>,
    key: &str,
    precision: Slot,
    connectivities: Csr,
    neighbours: usize,
) {
    pairs.insert(format!("{key}_precision"), precision);
    annotate_edges(pairs, uns, key, connectivities, neighbours);
}

/// `<key>_connectivities`, `<key>_distances` and `uns["<key>_neighbors"]` of a graph without a precision.
pub fn annotate_edges(
    pairs: &mut BTreeMap<String, Slot>,
    uns: &mut BTreeMap<String, Value>,
    key: &str,
    connectivities: Csr,
    neighbours: usize,
) {
    pairs.insert(format!("{key}_distances"), Slot::Csr(connectivities.map(|w| 1.0 / w)));
    pairs.insert(format!("{key}_connectivities"), Slot::Csr(connectivities));
    // One map for both axes; the observations, which Scanpy clusters, come first and stay.
    uns.entry(format!("{key}_neighbors")).or_insert_with(|| {
        let params = [
            ("method".to_owned(), Value::from(key)),
            ("n_neighbors".to_owned(), Value::Int(i64::try_from(neighbours).unwrap_or(i64::MAX))),
        ];
        Value::Map(BTreeMap::from([
            ("connectivities_key".to_owned(), Value::from(format!("{key}_connectivities"))),
            ("distances_key".to_owned(), Value::from(format!("{key}_distances"))),
            ("params".to_owned(), Value::Map(params.into())),
        ]))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Annotations;
    use ndarray::array;

    fn psi() -> Precision {
        Precision::Dense(array![[2.0, -0.5, 0.1], [-0.5, 3.0, 0.0], [0.1, 0.0, 1.0]])
    }

    #[test]
    fn slots_have_the_names_and_forms_scanpy_reads() {
        let mut out = Annotations::default();
        let network = Network::new(psi(), &"top:1".parse().unwrap(), None).unwrap();
        annotate_network(&mut out.obsp, &mut out.uns, "m", &network);
        let dense = Network::new(psi(), &"dense".parse().unwrap(), None).unwrap();
        annotate_network(&mut out.varp, &mut out.uns, "m", &dense);
        let Slot::Csr(kept) = &out.obsp["m_precision"] else { panic!("not sparse") };
        let Precision::Dense(all) = psi() else { panic!("not dense") };
        assert_eq!(kept.to_dense(), all);
        let Slot::F64(whole) = &out.varp["m_precision"] else { panic!("not dense") };
        assert_eq!(whole, &all);
        let Slot::Csr(g) = &out.varp["m_connectivities"] else { panic!("not sparse") };
        assert_eq!(g.to_dense(), array![[0.0, 0.5, 0.1], [0.5, 0.0, 0.0], [0.1, 0.0, 0.0]]);
        let Slot::Csr(far) = &out.varp["m_distances"] else { panic!("not sparse") };
        assert_eq!(far.to_dense(), array![[0.0, 2.0, 10.0], [2.0, 0.0, 0.0], [10.0, 0.0, 0.0]]);
        let Value::Map(map) = &out.uns["m_neighbors"] else { panic!("not a map") };
        assert_eq!(map["connectivities_key"], Value::from("m_connectivities"));
        let Value::Map(params) = &map["params"] else { panic!("not a map") };
        assert_eq!(params["n_neighbors"], Value::Int(1));
    }

    #[test]
    fn cosines_of_sparse_lines_are_those_of_dense_ones() {
        let x = array![[1.0, 0.0, 2.0], [0.0, 3.0, 4.0], [0.0, 0.0, 0.5], [1.0, 1.0, 0.0]];
        let lines = UnitLines::new(Csr::from_dense(x.view()));
        let size: Vec<f64> = x.rows().into_iter().map(|r| r.dot(&r).sqrt()).collect();
        let twin = Array2::from_shape_fn((4, 4), |(i, j)| {
            if i == j { 1.0 } else { -x.row(i).dot(&x.row(j)) / (size[i] * size[j]) }
        });
        let near = |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().all(|v| v.abs() < 1e-14);
        assert!(near(&lines.to_dense(), &twin));
        assert!(near(&lines.row_block(1..3).to_owned(), &twin.slice(ndarray::s![1..3, ..]).to_owned()));
    }
}
