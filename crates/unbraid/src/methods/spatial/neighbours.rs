//! Which cells of a slice are neighbours.
//!
//! Edges join cells of the same batch only. They are those of the Delaunay triangulation that are no longer than the 94.5th
//! percentile of all of a slice's edges (as the authors' program has it, which so cuts what crosses gaps), of the k nearest cells of
//! each cell, or of a grid: cells no further apart than 1.2 times the median distance to the nearest; or they are given. Cells are coloured
//! greedily, in their order, so that no two neighbours have one colour: all cells of a colour can be updated side by side.

use delaunator::{Point, triangulate};
use ndarray::{ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::graph::knn;

/// How the neighbours of a cell are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Delaunay triangulation without its longest edges; two coordinates.
    Delaunay,
    /// The nearest cells.
    Knn,
    /// A grid.
    Grid,
    /// Those of a graph that comes with the slices.
    Given,
}

crate::words!(
    Rule,
    "a rule for neighbours",
    Delaunay = "delaunay",
    Knn = "knn",
    Grid = "grid",
    Given = "given"
);

/// Share of the edges of a triangulation that are kept, the shortest.
const KEPT: f64 = 0.945;
/// Cells of a grid this many times the usual distance apart are neighbours.
const REACH: f64 = 1.2;

/// Neighbours of all cells, and colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    start: Vec<usize>,
    list: Vec<u32>,
    /// Cells of each colour, rising.
    pub colours: Vec<Vec<u32>>,
}

impl Neighbours {
    /// Neighbours of cell i, rising.
    pub fn of(&self, i: usize) -> &[u32] {
        &self.list[self.start[i]..self.start[i + 1]]
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.start.len() - 1
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Edges counted from both ends.
    pub fn directed(&self) -> usize {
        self.list.len()
    }

    /// From pairs of cells, in any order, given once or often; pairs of a cell with itself are left out.
    pub fn from_edges(cells: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Neighbours {
        let mut both: Vec<(u32, u32)> =
            edges.into_iter().filter(|(i, j)| i != j).flat_map(|(i, j)| [(i, j), (j, i)]).collect();
        both.sort_unstable();
        both.dedup();
        let mut start = vec![0; cells + 1];
        both.iter().for_each(|(i, _)| start[*i as usize + 1] += 1);
        for i in 0..cells {
            start[i + 1] += start[i];
        }
        let list: Vec<u32> = both.into_iter().map(|(_, j)| j).collect();
        let mut colour = vec![usize::MAX; cells];
        let mut colours: Vec<Vec<u32>> = Vec::new();
        for i in 0..cells {
            let near = &list[start[i]..start[i + 1]];
            let free = (0..).find(|c| near.iter().all(|&j| colour[j as usize] != *c)).unwrap_or(0);
            colour[i] = free;
            if free == colours.len() {
                colours.push(Vec::new());
            }
            colours[free].push(i as u32);
        }
        Neighbours { start, list, colours }
    }

    /// By a rule, within each batch; `places` is N × 2 (or more, but for the triangulation), `nearest` is the k of `knn`.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Value`] for coordinates that the rule cannot use; [`Error::Missing`] for [`Rule::Given`], whose graph
    /// [`Slices::neighbours`](super::slices::Slices::neighbours) knows.
    pub fn find(
        places: ArrayView2<'_, f64>,
        batch: &[usize],
        rule: Rule,
        nearest: usize,
    ) -> Result<Neighbours> {
        let (n, dims) = places.dim();
        if dims == 0 || (rule == Rule::Delaunay && dims != 2) {
            return Err(Error::Shape {
                what: "the coordinates".into(),
                found: vec![n, dims],
                rule: "two columns for a triangulation; with more take graph=knn",
            });
        }
        if let Some(((i, j), &found)) = places.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::Value { what: "the coordinates".into(), found, at: (i, j), rule: "finite" });
        }
        let mut edges = Vec::new();
        for t in 0..batch.iter().max().map_or(0, |b| b + 1) {
            let cells: Vec<usize> = (0..n).filter(|&i| batch[i] == t).collect();
            let here = places.select(Axis(0), &cells);
            let found = match rule {
                Rule::Delaunay => triangulated(here.view())?,
                Rule::Knn => close(here.view(), nearest)?,
                Rule::Grid => grid(here.view())?,
                Rule::Given => {
                    let hint = "give a graph with the slices, or find neighbours by their coordinates";
                    return Err(Error::Missing { what: "the graph of neighbours".into(), hint: hint.into() });
                }
            };
            edges.extend(found.into_iter().map(|(i, j)| (cells[i] as u32, cells[j] as u32)));
        }
        Ok(Neighbours::from_edges(n, edges))
    }
}

fn close(places: ArrayView2<'_, f64>, nearest: usize) -> Result<Vec<(usize, usize)>> {
    let n = places.nrows();
    let k = nearest.min(n.saturating_sub(1));
    if k == 0 {
        return Ok(Vec::new());
    }
    let found = knn::nearest(places, k)?;
    Ok((0..n)
        .flat_map(|i| (0..k).map(move |c| (i, c)))
        .map(|(i, c)| (i, found.index[[i, c]] as usize))
        .collect())
}

fn grid(places: ArrayView2<'_, f64>) -> Result<Vec<(usize, usize)>> {
    let n = places.nrows();
    // 26 is all around a cell in three dimensions.
    let k = 26.min(n.saturating_sub(1));
    if k == 0 {
        return Ok(Vec::new());
    }
    let found = knn::nearest(places, k)?;
    let mut least: Vec<f64> = (0..n).map(|i| found.distance[[i, 0]]).collect();
    least.sort_by(f64::total_cmp);
    let reach = REACH * least[n / 2];
    Ok((0..n)
        .flat_map(|i| (0..k).map(move |c| (i, c)))
        .filter(|&(i, c)| found.distance[[i, c]] <= reach)
        .map(|(i, c)| (i, found.index[[i, c]] as usize))
        .collect())
}

fn triangulated(places: ArrayView2<'_, f64>) -> Result<Vec<(usize, usize)>> {
    let points: Vec<Point> = places.rows().into_iter().map(|p| Point { x: p[0], y: p[1] }).collect();
    let triangles = triangulate(&points).triangles;
    if triangles.is_empty() {
        // Fewer than three cells, or all on a line.
        return close(places, 2);
    }
    let mut edges: Vec<(usize, usize)> = triangles
        .chunks_exact(3)
        .flat_map(|t| [(t[0], t[1]), (t[1], t[2]), (t[2], t[0])])
        .map(|(i, j)| (i.min(j), i.max(j)))
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let length = |&(i, j): &(usize, usize)| (points[i].x - points[j].x).hypot(points[i].y - points[j].y);
    let mut lengths: Vec<f64> = edges.iter().map(length).collect();
    lengths.sort_by(f64::total_cmp);
    let at = KEPT * (lengths.len() - 1) as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    let cut = lengths[low] + share * (lengths[(low + 1).min(lengths.len() - 1)] - lengths[low]);
    edges.retain(|edge| length(edge) <= cut);
    Ok(edges)
}
