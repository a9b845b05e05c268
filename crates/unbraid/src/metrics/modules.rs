//! Modules of a gene network and what cells do with them.
//!
//! Modules are the Leiden communities of the gene graph (weighted, resolution 1: MED-MAGMA paper, §6).
//! The share of module g in cell i is
//!
//! s_ig = Σ_{j in g} x_ij / Σ_j x_ij,
//!
//! over raw values and all genes of the graph; 0 where the cell holds nothing. Whether s differs between
//! known classes of cells is tested module by module by a one-way analysis of variance. Hubs are the
//! genes with the most edges inside their own module.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::data::{Csr, Matrix};
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::graph::leiden::leiden;
use crate::stats::anova::{Anova, one_way};
use crate::stats::multiple::{Adjust, adjust};

/// Modules of one graph, numbered by falling size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Modules {
    /// Module of every vertex; `None` where its module is smaller than the smallest allowed.
    pub of: Vec<Option<usize>>,
    /// Vertices per module, falling.
    pub sizes: Vec<usize>,
}

/// A gene with many edges inside its module.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hub {
    /// Vertex.
    pub vertex: usize,
    /// Edges to vertices of the same module.
    pub degree: usize,
    /// Sum of their weights.
    pub strength: f64,
}

/// A module's share of expression, compared between classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleTest {
    /// Module.
    pub module: usize,
    /// Mean share over all cells.
    pub mean: f64,
    /// The test; `None` where it is undefined.
    pub anova: Option<Anova>,
    /// p after Bonferroni over the modules tested; `None` where the test is undefined.
    pub bonferroni: Option<f64>,
    /// p after Benjamini and Hochberg over the modules tested; `None` where the test is undefined.
    pub bh: Option<f64>,
}

/// The communities of a graph at one resolution, weighted; those of fewer than `smallest` vertices are
/// no modules. Published: resolution 1.
///
/// # Errors
/// As [`leiden`].
pub fn modules(graph: &Csr, resolution: f64, smallest: usize, seed: Seed) -> Result<Modules> {
    let labels = leiden(graph, resolution, seed)?;
    Ok(Modules::from_labels(&labels, smallest))
}

impl Modules {
    /// From labels numbered by falling size, as [`leiden`] gives them.
    pub fn from_labels(labels: &[usize], smallest: usize) -> Modules {
        let mut sizes = vec![0usize; labels.iter().max().map_or(0, |l| l + 1)];
        labels.iter().for_each(|&l| sizes[l] += 1);
        let large = |l: &usize| sizes[*l] >= smallest.max(1);
        let of = labels.iter().map(|l| large(l).then_some(*l)).collect();
        sizes.retain(|&s| s >= smallest.max(1));
        Modules { of, sizes }
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Vertices of one module, ascending.
    pub fn members(&self, module: usize) -> Vec<usize> {
        (0..self.of.len()).filter(|&i| self.of[i] == Some(module)).collect()
    }

    /// Share of each module in each row of `x` (rows × vertices, values at or above 0): rows × modules.
    /// A sparse `x` is read entry by entry.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of columns, [`Error::Value`] for an entry that is negative or
    /// not finite.
    pub fn shares(&self, x: &Matrix) -> Result<Array2<f64>> {
        let (n, m) = x.shape();
        if m != self.of.len() {
            let rule = "one column per vertex of the gene graph";
            return Err(Error::Shape { what: "values".into(), found: vec![n, m], rule });
        }
        let mut out = Array2::zeros((n, self.len()));
        let mut total = vec![0.0; n];
        let mut odd = None;
        x.for_each_nonzero(|i, j, v| {
            if !(v.is_finite() && v >= 0.0) && odd.is_none() {
                odd = Some((i, j, v));
            }
            total[i] += v;
            if let Some(module) = self.of[j] {
                out[[i, module]] += v;
            }
        });
        if let Some((i, j, found)) = odd {
            let rule = "finite and not negative for shares of expression";
            return Err(Error::Value { what: "values".into(), found, at: (i, j), rule });
        }
        for (mut row, total) in out.rows_mut().into_iter().zip(total) {
            if total > 0.0 {
                row /= total;
            }
        }
        Ok(out)
    }

    /// The `most` vertices of each module with the most edges inside it, ties by strength and position.
    ///
    /// # Errors
    /// [`Error::Shape`] for a graph over other vertices.
    pub fn hubs(&self, graph: &Csr, most: usize) -> Result<Vec<Vec<Hub>>> {
        if graph.shape() != (self.of.len(), self.of.len()) {
            let found = vec![graph.shape().0, graph.shape().1];
            return Err(Error::Shape { what: "graph".into(), found, rule: "that of the modules" });
        }
        let mut inside: BTreeMap<usize, Hub> = BTreeMap::new();
        for (i, j, w) in graph.entries().filter(|&(i, j, w)| i != j && w != 0.0) {
            if self.of[i].is_some() && self.of[i] == self.of[j] {
                let hub = inside.entry(i).or_insert(Hub { vertex: i, degree: 0, strength: 0.0 });
                hub.degree += 1;
                hub.strength += w.abs();
            }
        }
        let mut out = vec![Vec::new(); self.len()];
        for hub in inside.into_values() {
            if let Some(module) = self.of[hub.vertex] {
                out[module].push(hub);
            }
        }
        for hubs in &mut out {
            hubs.sort_by(|a, b| {
                b.degree.cmp(&a.degree).then(b.strength.total_cmp(&a.strength)).then(a.vertex.cmp(&b.vertex))
            });
            hubs.truncate(most);
        }
        Ok(out)
    }
}

/// One-way analysis of variance of each column of `shares` (cells × modules) between the classes of the
/// cells; a missing label is a class like any other.
///
/// # Errors
/// As [`one_way`].
pub fn module_tests(shares: ArrayView2<'_, f64>, classes: &[usize]) -> Result<Vec<ModuleTest>> {
    let columns: Vec<Vec<f64>> = shares.columns().into_iter().map(|c| c.to_vec()).collect();
    let found = columns.iter().map(|c| one_way(c, classes)).collect::<Result<Vec<_>>>()?;
    let p: Vec<f64> = found.iter().flatten().map(|a| a.p).collect();
    let adjusted = |how| adjust(&p, how).into_iter();
    let (mut bonferroni, mut bh) = (adjusted(Adjust::Bonferroni), adjusted(Adjust::BenjaminiHochberg));
    let mean = |c: &[f64]| if c.is_empty() { 0.0 } else { c.iter().sum::<f64>() / c.len() as f64 };
    Ok(found
        .into_iter()
        .enumerate()
        .map(|(module, anova)| ModuleTest {
            module,
            mean: mean(&columns[module]),
            bonferroni: anova.and_then(|_| bonferroni.next()),
            bh: anova.and_then(|_| bh.next()),
            anova,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Two cliques of genes 0–3 and 4–6, one edge between them, and a lonely gene 7.
    fn graph() -> Csr {
        let mut entries = Vec::new();
        for (group, last) in [(0..4u32, 4u32), (4..7, 7)] {
            for i in group {
                for j in i + 1..last {
                    entries.extend([(i, j, 1.0), (j, i, 1.0)]);
                }
            }
        }
        entries.extend([(3, 4, 0.2), (4, 3, 0.2), (0, 5, 0.1), (5, 0, 0.1)]);
        entries.retain(|e| !matches!((e.0, e.1), (0, 1) | (1, 0)));
        Csr::from_triplets((8, 8), entries)
    }

    #[test]
    fn cliques_are_modules_with_their_hubs() {
        let g = graph();
        let found = modules(&g, 1.0, 2, Seed(1)).unwrap();
        assert_eq!(found.sizes, [4, 3]);
        assert_eq!(found.of[7], None);
        assert_eq!(found.members(1), [4, 5, 6]);
        let hubs = found.hubs(&g, 2).unwrap();
        assert_eq!(hubs[0].iter().map(|h| (h.vertex, h.degree)).collect::<Vec<_>>(), [(2, 3), (3, 3)]);
        assert_eq!((hubs[1][0].vertex, hubs[1][0].degree, hubs[1][0].strength), (4, 2, 2.0));
        assert_eq!(modules(&g, 1.0, 1, Seed(1)).unwrap().len(), 3);
        assert!(found.hubs(&Csr::from_triplets((2, 2), vec![]), 1).is_err());
    }

    #[test]
    fn shares_are_sums_over_totals_sparse_or_dense() {
        let found = modules(&graph(), 1.0, 2, Seed(1)).unwrap();
        let x = array![
            [1.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 4.0],
            [0.0; 8],
            [0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 5.0, 0.0]
        ];
        let dense = found.shares(&Matrix::Dense(x.clone())).unwrap();
        assert_eq!(dense, array![[0.3, 0.3], [0.0, 0.0], [0.0, 1.0]]);
        assert_eq!(found.shares(&Matrix::Sparse(Csr::from_dense(x.view()))).unwrap(), dense);
        let why = found.shares(&Matrix::Dense(-x)).unwrap_err().to_string();
        assert!(why.contains("-1 at row 0, column 0"), "{why}");
        assert!(found.shares(&Matrix::Dense(array![[1.0]])).is_err());
    }

    #[test]
    fn tests_are_adjusted_over_the_modules_that_have_one() {
        let shares = array![[0.1, 0.5, 0.2], [0.2, 0.5, 0.9], [0.8, 0.5, 0.3], [0.9, 0.5, 0.8]];
        let found = module_tests(shares.view(), &[0, 0, 1, 1]).unwrap();
        assert_eq!(found[1].anova, None);
        assert_eq!((found[1].bh, found[1].mean), (None, 0.5));
        let direct = one_way(&[0.1, 0.2, 0.8, 0.9], &[0, 0, 1, 1]).unwrap().unwrap();
        assert_eq!(found[0].anova, Some(direct));
        assert_eq!(found[0].bonferroni, Some(2.0 * direct.p));
        assert!(found[2].bh.unwrap() > 0.9 && found[0].bh.unwrap() < 0.05);
    }
}
