//! One network as a page shows it: counts, degrees, strongest edges, and a picture of Ψ.

use serde::{Deserialize, Serialize};

use super::finite;
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::graph::Square;
use crate::graph::leiden::leiden;

/// Edges listed on a page.
const LISTED: usize = 500;
/// Largest side of a heat map, in cells.
const SIDE: usize = 200;
/// Share of the coloured cells that lie within the colour scale; the rest take its end.
const WITHIN: f64 = 0.98;

/// One network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkFigure {
    /// What it joins: `observations (cells)`.
    pub name: String,
    /// Vertices.
    pub nodes: usize,
    /// Pairs joined.
    pub edges: usize,
    /// Vertices without an edge.
    pub isolated: usize,
    /// Share of all pairs that are not joined; `None` for fewer than two vertices.
    pub sparsity: Option<f64>,
    /// Edges per vertex, times two; `None` for no vertex.
    pub mean_degree: Option<f64>,
    /// How many vertices have each degree, degrees rising, only those that occur.
    pub degrees: Vec<Degree>,
    /// Edges by falling size of weight, at most 500.
    pub strongest: Vec<Edge>,
    /// The matrix, ordered by cluster; `None` without vertices.
    pub heat: Option<HeatMap>,
}

/// One bar of a degree distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degree {
    /// Number of edges at a vertex.
    pub degree: usize,
    /// Vertices with that many.
    pub count: usize,
}

/// One edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Name of one end.
    pub source: String,
    /// Name of the other.
    pub target: String,
    /// |Ψ_ij|.
    pub weight: f64,
    /// Sign of Ψ_ij, 1 or −1; the partial correlation has the other sign.
    pub sign: i8,
    /// −Ψ_ij / √(Ψ_ii Ψ_jj), where the diagonal is known and positive.
    pub partial: Option<f64>,
}

/// A symmetric matrix in at most 200 × 200 cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    /// Cells along a side.
    pub side: usize,
    /// Largest number of vertices that share one row of cells.
    pub per_cell: usize,
    /// Value of a cell of 100 or −100; larger values take the same colour.
    pub limit: f64,
    /// Lower triangle with its diagonal, row by row, in hundredths of `limit`. A cell shows the entry
    /// of largest size among its pairs; the diagonal of Ψ is left out.
    pub cells: Vec<i8>,
    /// What the clusters are.
    pub grouping: String,
    /// Clusters in order along the side.
    pub groups: Vec<Group>,
}

/// One cluster along a heat map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its label.
    pub label: String,
    /// Vertices in it.
    pub size: usize,
    /// Where it starts and ends along the side, in cells and their parts.
    pub span: (f64, f64),
}

impl NetworkFigure {
    /// The figure of a symmetric n × n matrix whose entries below the diagonal are the edges; its
    /// diagonal is read for partial correlations only. `names` has n entries. Clusters are the Leiden
    /// communities of |Ψ| at resolution 1.
    ///
    /// # Errors
    /// [`Error::Shape`] for a matrix that is not square or names of another number,
    /// [`Error::Value`] for an entry that is not finite.
    pub fn new<'a>(
        name: impl Into<String>,
        names: &[String],
        precision: impl Into<Square<'a>>,
        seed: Seed,
    ) -> Result<NetworkFigure> {
        let precision = precision.into();
        let network = Network::read(names, precision)?;
        let labels = leiden(&network.magnitudes(), 1.0, seed)?;
        // Vertices without an edge are communities of one; they are shown together.
        let lonely = labels.iter().max().map_or(0, |l| l + 1);
        let labels: Vec<usize> =
            (0..network.n).map(|i| if network.degree[i] == 0 { lonely } else { labels[i] }).collect();
        let titles = (0..=lonely)
            .map(|l| if l == lonely { "no edge".to_owned() } else { (l + 1).to_string() })
            .collect::<Vec<_>>();
        network.figure(name.into(), "Leiden communities of |Ψ|, resolution 1", &labels, &titles)
    }

    /// As [`new`](Self::new), ordered by known labels: an index into `titles` for each vertex.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Shape`] for labels that do not fit.
    pub fn with_labels<'a>(
        name: impl Into<String>,
        names: &[String],
        precision: impl Into<Square<'a>>,
        grouping: &str,
        labels: &[usize],
        titles: &[String],
    ) -> Result<NetworkFigure> {
        Network::read(names, precision.into())?.figure(name.into(), grouping, labels, titles)
    }
}

/// The edges of a matrix, each once.
struct Network<'a> {
    n: usize,
    names: &'a [String],
    /// (row, column, value), column < row.
    edges: Vec<(u32, u32, f64)>,
    diagonal: Vec<f64>,
    degree: Vec<usize>,
}

impl<'a> Network<'a> {
    fn read(names: &'a [String], precision: Square<'_>) -> Result<Network<'a>> {
        let n = precision.vertices("the network")?;
        if names.len() != n {
            let found = vec![names.len()];
            return Err(Error::Shape { what: "names".into(), found, rule: "one per vertex of the network" });
        }
        let (mut edges, mut diagonal, mut degree) = (Vec::new(), vec![0.0; n], vec![0; n]);
        precision.each(|i, j, v| {
            if i == j {
                diagonal[i] = v;
            } else if j < i {
                edges.push((i as u32, j as u32, v));
                degree[i] += 1;
                degree[j] += 1;
            }
        });
        Ok(Network { n, names, edges, diagonal, degree })
    }

    fn magnitudes(&self) -> Csr {
        let both = self.edges.iter().flat_map(|&(i, j, v)| [(i, j, v.abs()), (j, i, v.abs())]).collect();
        Csr::from_triplets((self.n, self.n), both)
    }

    fn figure(
        &self,
        name: String,
        grouping: &str,
        labels: &[usize],
        titles: &[String],
    ) -> Result<NetworkFigure> {
        if labels.len() != self.n || labels.iter().any(|&l| l >= titles.len()) {
            let found = vec![labels.len(), titles.len()];
            return Err(Error::Shape {
                what: "labels".into(),
                found,
                rule: "one per vertex, each with a title",
            });
        }
        let n = self.n as f64;
        let pairs = n * (n - 1.0) / 2.0;
        Ok(NetworkFigure {
            name,
            nodes: self.n,
            edges: self.edges.len(),
            isolated: self.degree.iter().filter(|d| **d == 0).count(),
            sparsity: finite(1.0 - self.edges.len() as f64 / pairs),
            mean_degree: finite(2.0 * self.edges.len() as f64 / n),
            degrees: self.degrees(),
            strongest: self.strongest(),
            heat: (self.n > 0).then(|| self.heat(grouping, labels, titles)),
        })
    }

    fn degrees(&self) -> Vec<Degree> {
        let mut counts = std::collections::BTreeMap::new();
        self.degree.iter().for_each(|&d| *counts.entry(d).or_default() += 1);
        counts.into_iter().map(|(degree, count)| Degree { degree, count }).collect()
    }

    fn strongest(&self) -> Vec<Edge> {
        let mut order: Vec<&(u32, u32, f64)> = self.edges.iter().collect();
        let by = |a: &&(u32, u32, f64), b: &&(u32, u32, f64)| {
            b.2.abs().total_cmp(&a.2.abs()).then((a.1, a.0).cmp(&(b.1, b.0)))
        };
        if order.len() > LISTED {
            order.select_nth_unstable_by(LISTED, by);
            order.truncate(LISTED);
        }
        order.sort_by(by);
        let edge = |&&(i, j, v): &&(u32, u32, f64)| {
            let (i, j) = (i as usize, j as usize);
            let (a, b) = (self.diagonal[i], self.diagonal[j]);
            Edge {
                source: self.names[j].clone(),
                target: self.names[i].clone(),
                weight: v.abs(),
                sign: if v < 0.0 { -1 } else { 1 },
                partial: if a > 0.0 && b > 0.0 { finite(-v / a.sqrt() / b.sqrt()) } else { None },
            }
        };
        order.iter().map(edge).collect()
    }

    fn heat(&self, grouping: &str, labels: &[usize], titles: &[String]) -> HeatMap {
        let mut order: Vec<usize> = (0..self.n).collect();
        order.sort_by_key(|&i| (labels[i], i));
        let side = self.n.min(SIDE);
        let mut cell_of = vec![0; self.n];
        for (at, &i) in order.iter().enumerate() {
            cell_of[i] = at * side / self.n;
        }
        let mut largest = vec![0.0f64; side * (side + 1) / 2];
        for &(i, j, v) in &self.edges {
            let (a, b) = (cell_of[i as usize], cell_of[j as usize]);
            let (a, b) = (a.max(b), a.min(b));
            let cell = &mut largest[a * (a + 1) / 2 + b];
            if v.abs() > cell.abs() {
                *cell = v;
            }
        }
        let mut sizes: Vec<f64> = largest.iter().map(|v| v.abs()).filter(|v| *v > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        let limit = match sizes.len() {
            0 => 1.0,
            len => sizes[((len - 1) as f64 * WITHIN) as usize],
        };
        // A cell that holds an edge is never 0, however small the entry.
        let shade = |v: &f64| {
            let hundredths = (v / limit * 100.0).clamp(-100.0, 100.0).round();
            if hundredths == 0.0 && *v != 0.0 { v.signum() as i8 } else { hundredths as i8 }
        };
        let mut groups: Vec<Group> = Vec::new();
        let mut start = 0;
        for (label, title) in titles.iter().enumerate() {
            let size = labels.iter().filter(|l| **l == label).count();
            if size > 0 {
                let cells = |vertices: usize| vertices as f64 * side as f64 / self.n as f64;
                let span = (cells(start), cells(start + size));
                groups.push(Group { label: title.clone(), size, span });
                start += size;
            }
        }
        HeatMap {
            side,
            per_cell: self.n.div_ceil(side.max(1)),
            limit,
            cells: largest.iter().map(shade).collect(),
            grouping: grouping.to_owned(),
            groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("v{i}")).collect()
    }

    #[test]
    fn counts_edges_and_heat_of_a_small_network() {
        let p = array![
            [4.0, -1.0, 0.0, 0.0, 0.0],
            [-1.0, 1.0, 0.0, 0.5, 0.0],
            [0.0, 0.0, 1.0, 0.0, 0.0],
            [0.0, 0.5, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ];
        let f = NetworkFigure::new("cells", &names(5), &p, Seed(0)).unwrap();
        assert_eq!((f.nodes, f.edges, f.isolated), (5, 2, 2));
        assert!((f.sparsity.unwrap() - 0.8).abs() < 1e-15);
        assert_eq!(
            f.degrees.iter().map(|d| (d.degree, d.count)).collect::<Vec<_>>(),
            [(0, 2), (1, 2), (2, 1)]
        );
        let first = &f.strongest[0];
        assert_eq!((first.source.as_str(), first.target.as_str(), first.sign), ("v0", "v1", -1));
        assert_eq!((first.weight, first.partial), (1.0, Some(0.5)));
        let heat = f.heat.as_ref().unwrap();
        assert_eq!((heat.side, heat.per_cell, heat.cells.len()), (5, 1, 15));
        assert_eq!(
            heat.groups.iter().map(|g| (g.label.as_str(), g.size)).collect::<Vec<_>>(),
            [("1", 3), ("no edge", 2)]
        );
        // Order along the side: v0 v1 v3 | v2 v4; the limit is the smaller of two sizes.
        assert_eq!(heat.limit, 0.5);
        assert_eq!(heat.cells, [0, -100, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let sparse = Csr::from_dense(p.view());
        assert_eq!(NetworkFigure::new("cells", &names(5), &sparse, Seed(0)).unwrap(), f);
    }

    #[test]
    fn large_networks_are_cut_and_bad_ones_refused() {
        let p = Array2::from_shape_fn((450, 450), |(i, j)| 1e-3 * (i + j) as f64 - 0.4);
        let f = NetworkFigure::new("genes", &names(450), &p, Seed(0)).unwrap();
        let heat = f.heat.unwrap();
        assert_eq!((f.strongest.len(), heat.side, heat.per_cell, heat.cells.len()), (500, 200, 3, 20_100));
        assert_eq!(heat.groups.last().unwrap().span.1, 200.0);
        assert!(f.strongest.windows(2).all(|w| w[0].weight >= w[1].weight));
        assert!(NetworkFigure::new("x", &names(3), &p, Seed(0)).unwrap_err().to_string().contains("names"));
        assert!(NetworkFigure::new("x", &names(1), &array![[f64::NAN]], Seed(0)).is_err());
        let none: Array2<f64> = Array2::zeros((0, 0));
        let empty = NetworkFigure::new("x", &[], &none, Seed(0)).unwrap();
        assert_eq!((empty.heat, empty.sparsity, empty.mean_degree), (None, None, None));
        let one = NetworkFigure::new("x", &names(1), &array![[2.0]], Seed(0)).unwrap();
        assert_eq!((one.sparsity, one.isolated), (None, 1));
        let titles = ["a".to_owned()];
        assert!(NetworkFigure::with_labels("x", &names(1), &array![[2.0]], "type", &[1], &titles).is_err());
    }
}
