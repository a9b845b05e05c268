//! What a page shows of clusters of rows and columns: the table by blocks, what each cluster holds, and known classes beside it.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::finite;
use crate::data::Dataset;
use crate::error::Result;
use crate::methods::cocluster::fit::{Coclusters, Side, lift};
use crate::metrics::coclusters::{Agreement, agreement};

/// Features named for each cluster.
const TOP: usize = 10;

/// The table by blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlocksFigure {
    /// Clusters of observations, by falling size.
    pub rows: Vec<ClusterRow>,
    /// Clusters of features, by falling size.
    pub cols: Vec<ClusterRow>,
    /// Mean value of each block, row by row.
    pub mean: Vec<Vec<Option<f64>>>,
    /// Its share of the table over what margins make of it; empty where some value is negative.
    pub lift: Vec<Vec<Option<f64>>>,
    /// Information the blocks keep and that of the table, in nats, where no value is negative.
    pub information: Option<(f64, f64)>,
    /// Sum of squares between blocks over the sum of squares.
    pub explained: Option<f64>,
    /// Clusters of observations beside known classes.
    pub classes: Option<ClassTable>,
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterRow {
    /// Lines in it.
    pub size: usize,
    /// Its lines of largest sum, for features.
    pub top: Vec<String>,
}

/// Observations by class and cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassTable {
    /// Column of the classes.
    pub label: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Observations, a row for each class.
    pub counts: Vec<Vec<usize>>,
    /// How well they agree.
    pub agreement: Agreement,
}

/// Agreement of stored clusters with known classes: what `evaluate coclusters` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CoclusterEvaluation {
    /// Name under which the clusters are stored.
    pub key: String,
    /// Columns of the classes of observations and of features, where there are some.
    pub labels: [Option<String>; 2],
    /// Observations.
    pub rows: Option<Agreement>,
    /// Features.
    pub cols: Option<Agreement>,
    /// Cells of the table.
    pub blocks: Option<Agreement>,
    /// Clusters of rows and of columns that hold any.
    pub clusters: [usize; 2],
    /// I(Q) in nats, where no value is negative.
    pub information: Option<f64>,
    /// I(P) in nats.
    pub information_of_table: Option<f64>,
    /// I(Q)/I(P).
    pub kept: Option<f64>,
    /// Sum of squares between blocks over the sum of squares.
    pub explained: Option<f64>,
}

impl BlocksFigure {
    /// Of a fit on a table; `label` is a name, the class of each observation and the names of the classes.
    ///
    /// # Errors
    /// Those of [`agreement`].
    pub fn new(
        fit: &Coclusters,
        data: &Dataset,
        label: Option<(&str, &[usize], &[String])>,
    ) -> Result<BlocksFigure> {
        let nested =
            |m: &Array2<f64>| m.rows().into_iter().map(|r| r.iter().map(|v| finite(*v)).collect()).collect();
        let mut sums = vec![0.0; data.var.len()];
        data.x.for_each_nonzero(|_, j, v| sums[j] += v);
        let classes = label
            .map(|(name, codes, titles)| {
                let mut counts = vec![vec![0; fit.rows.clusters]; titles.len()];
                codes.iter().zip(&fit.rows.labels).for_each(|(&k, &c)| counts[k][c] += 1);
                let agreement = agreement(codes, &fit.rows.labels)?;
                Ok::<_, crate::Error>(ClassTable {
                    label: name.to_owned(),
                    classes: titles.to_vec(),
                    counts,
                    agreement,
                })
            })
            .transpose()?;
        Ok(BlocksFigure {
            rows: clusters(&fit.rows, None),
            cols: clusters(&fit.cols, Some((&sums, &data.var.names))),
            mean: nested(&fit.blocks.mean),
            lift: fit.blocks.share.as_ref().map_or(Vec::new(), |q| nested(&lift(q.view()))),
            information: fit.blocks.information,
            explained: finite(fit.blocks.explained),
            classes,
        })
    }

    /// I(Q)/I(P).
    pub fn kept(&self) -> Option<f64> {
        self.information.filter(|i| i.1 > 0.0).map(|i| i.0 / i.1)
    }
}

fn clusters(side: &Side, sums: Option<(&[f64], &[String])>) -> Vec<ClusterRow> {
    let top = |cluster: usize| {
        let Some((sums, names)) = sums else { return Vec::new() };
        let mut at: Vec<usize> = (0..sums.len()).filter(|&j| side.labels[j] == cluster).collect();
        at.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
        at.into_iter().take(TOP).map(|j| names[j].clone()).collect()
    };
    side.sizes().into_iter().enumerate().map(|(c, size)| ClusterRow { size, top: top(c) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Values};
    use crate::fit::{Ctx, Seed};
    use ndarray::array;

    #[test]
    fn a_figure_names_members_and_counts_classes() {
        let x = array![[2.0, 3.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 3.0]];
        let data = Dataset::from_matrix("t", Matrix::Dense(x));
        let (rows, cols) = (Side::hard(vec![0, 0, 1], 2), Side::hard(vec![1, 1, 0], 2));
        let mut no = ();
        let mut ctx = Ctx::new(Seed(0), &mut no);
        let values = Values { what: "X", matrix: &data.x };
        let fit = Coclusters::new(values, rows, cols, vec![], None, &mut ctx).unwrap();
        let titles = ["a".to_owned(), "b".to_owned()];
        let figure = BlocksFigure::new(&fit, &data, Some(("kind", &[1, 1, 0], &titles))).unwrap();
        assert_eq!(figure.cols[0].top, ["var1", "var0"]);
        let classes = figure.classes.as_ref().unwrap();
        assert_eq!((classes.counts[1][0], classes.agreement.accuracy), (2, 1.0));
        assert_eq!(figure.mean[0][0], Some(2.25));
        assert!(figure.lift[0][1] == Some(0.0) && figure.kept().unwrap() > 0.9);
    }
}
