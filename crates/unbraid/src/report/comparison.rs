//! Networks beside the graph that users have anyway, judged by known labels.

use serde::{Deserialize, Serialize};

use super::finite;
use crate::error::{Error, Result};
use crate::fit::Seed;
use crate::graph::Square;
use crate::graph::rewire::EdgeList;
use crate::metrics::network::{LabelOptions, Score, judge};

/// Graphs over the same vertices, judged by one labelling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Column with the labels.
    pub label: String,
    /// The labels that occur.
    pub classes: Vec<Class>,
    /// Resolutions tried.
    pub resolutions: Vec<f64>,
    /// One per graph.
    pub rows: Vec<Row>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Vertices that carry it.
    pub size: usize,
}

impl Class {
    /// The labels that occur, in the order of `titles`, with how many vertices carry each.
    pub fn list(labels: &[usize], titles: &[String]) -> Vec<Class> {
        let size = |l: usize| labels.iter().filter(|x| **x == l).count();
        let all = titles.iter().enumerate().map(|(l, name)| Class { name: name.clone(), size: size(l) });
        all.filter(|c| c.size > 0).collect()
    }
}

/// One graph to judge; weights are not read, every entry off the diagonal that is not zero is an edge.
#[derive(Clone, Debug)]
pub struct Graph<'a> {
    /// Name on the page.
    pub name: String,
    /// Neighbours kept per vertex, where the graph was made so.
    pub k: Option<usize>,
    /// n × n, read below the diagonal.
    pub matrix: Square<'a>,
}

/// One graph, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name on the page.
    pub graph: String,
    /// Neighbours kept per vertex.
    pub k: Option<usize>,
    /// Pairs joined.
    pub edges: usize,
    /// Nominal assortativity of the labels; `None` where it is undefined.
    pub assortativity: Option<f64>,
    /// Largest adjusted mutual information of a Leiden partition with the labels.
    pub ami: Option<f64>,
    /// The smallest resolution that reached it.
    pub resolution: Option<f64>,
    /// Communities of that partition.
    pub communities: usize,
}

impl Comparison {
    /// Judges each graph by `labels`, an index into `titles` for each of n vertices. The best of 12
    /// resolutions is chosen with the labels in view, for every graph alike: a comparison of graphs,
    /// not an estimate of how well labels would be found without knowing them.
    ///
    /// # Errors
    /// [`Error::Shape`] for labels or graphs of another number of vertices, [`Error::Value`] for an
    /// entry that is not finite.
    pub fn new(
        label: impl Into<String>,
        labels: &[usize],
        titles: &[String],
        graphs: &[Graph<'_>],
        seed: Seed,
    ) -> Result<Comparison> {
        if labels.is_empty() || labels.iter().any(|&l| l >= titles.len()) {
            let found = vec![labels.len(), titles.len()];
            return Err(Error::Shape { what: "labels".into(), found, rule: "not empty, each with a title" });
        }
        let options = LabelOptions::default();
        let classes = Class::list(labels, titles);
        let rows = graphs.iter().map(|g| row(g, labels, &options, seed)).collect::<Result<_>>()?;
        Ok(Comparison { label: label.into(), classes, resolutions: options.resolutions, rows })
    }
}

fn row(graph: &Graph<'_>, labels: &[usize], options: &LabelOptions, seed: Seed) -> Result<Row> {
    let n = graph.matrix.vertices(&graph.name)?;
    if n != labels.len() {
        let found = vec![n];
        return Err(Error::Shape {
            what: graph.name.clone(),
            found,
            rule: "a graph with one vertex per label",
        });
    }
    let judged = judge(&EdgeList::new(graph.matrix)?.to_csr(), labels, options, seed)?;
    let best = judged.best(Score::Ami);
    Ok(Row {
        graph: graph.name.clone(),
        k: graph.k,
        edges: judged.edges,
        assortativity: judged.nominal.and_then(finite),
        ami: best.and_then(|b| finite(b.ami)),
        resolution: best.map(|b| b.resolution),
        communities: best.map_or(0, |b| b.communities),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_graph_that_follows_the_labels_wins() {
        let n = 40;
        let labels: Vec<usize> = (0..n).map(|i| i % 2).collect();
        let good = Array2::from_shape_fn((n, n), |(i, j)| if i % 2 == j % 2 { -0.5 } else { 0.0 });
        let bad = Array2::from_shape_fn((n, n), |(i, j)| if i / 20 == j / 20 { 0.5 } else { 0.0 });
        let graph = |name: &str, m| Graph { name: name.into(), k: None, matrix: Square::from(m) };
        let graphs = [graph("good", &good), graph("bad", &bad)];
        let titles = ["a".to_owned(), "b".to_owned(), "absent".to_owned()];
        let c = Comparison::new("type", &labels, &titles, &graphs, Seed(0)).unwrap();
        assert_eq!((c.classes.len(), c.resolutions.len(), c.rows.len()), (2, 12, 2));
        assert!((c.rows[0].assortativity.unwrap() - 1.0).abs() < 1e-12 && c.rows[0].ami.unwrap() > 0.999);
        assert_eq!((c.rows[0].communities, c.rows[0].edges), (2, 2 * 20 * 19 / 2));
        assert!(c.rows[1].assortativity.unwrap() < 0.1 && c.rows[1].ami.unwrap() < 0.1);
        assert!(Comparison::new("type", &labels[1..], &titles, &graphs, Seed(0)).is_err());
        assert!(Comparison::new("type", &labels, &titles[..1], &graphs, Seed(0)).is_err());
        assert!(Comparison::new("type", &[], &titles, &[], Seed(0)).is_err());
    }
}
