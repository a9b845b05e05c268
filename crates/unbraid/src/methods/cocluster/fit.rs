//! What every method of the family finds, and how it is written.

use ndarray::{Array2, ArrayView2};

use super::blocks::{by_size, gather, information, profiles};
use crate::data::{Annotations, Column, Csr, Slot, Table, Value, Values};
use crate::error::Result;
use crate::fit::{Annotate, Ctx, Stop};

/// Rows or columns in clusters.
#[derive(Clone, Debug)]
pub struct Side {
    /// Cluster of each line.
    pub labels: Vec<usize>,
    /// Number of clusters asked for; some may be empty.
    pub clusters: usize,
    /// Γ or Δ, lines × clusters, where the method has soft ones; rows sum to 1.
    pub membership: Option<Array2<f64>>,
    /// Coordinates of the lines, where the method has some.
    pub embedding: Option<Array2<f64>>,
}

impl Side {
    /// Labels alone.
    pub fn hard(labels: Vec<usize>, clusters: usize) -> Side {
        Side { labels, clusters, membership: None, embedding: None }
    }

    /// Clusters that hold a line.
    pub fn used(&self) -> usize {
        let mut seen = vec![false; self.clusters];
        self.labels.iter().for_each(|&l| seen[l] = true);
        seen.into_iter().filter(|s| *s).count()
    }

    /// Lines of each cluster.
    pub fn sizes(&self) -> Vec<usize> {
        let mut size = vec![0; self.clusters];
        self.labels.iter().for_each(|&l| size[l] += 1);
        size
    }

    /// Numbers clusters by falling size; the old number of each new one.
    fn order(&mut self) -> Vec<usize> {
        let (labels, order) = by_size(&self.labels, self.clusters);
        self.labels = labels;
        if let Some(membership) = &mut self.membership {
            *membership = membership.select(ndarray::Axis(1), &order);
        }
        order
    }

    fn column(&self) -> Column {
        Column::Categorical {
            codes: self.labels.iter().map(|&l| Some(l as u32)).collect(),
            categories: (0..self.clusters).map(|c| c.to_string()).collect(),
            ordered: false,
        }
    }
}

/// The blocks of labels.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Mean value of each block, g × h; 0 where a block is empty.
    pub mean: Array2<f64>,
    /// Q, g × h, where no value is negative.
    pub share: Option<Array2<f64>>,
    /// I(Q) and I(P) in nats, where no value is negative.
    pub information: Option<(f64, f64)>,
    /// Sum of squares between blocks over the sum of squares about the mean.
    pub explained: f64,
}

impl Blocks {
    /// Of a table and labels.
    pub fn of(x: &Csr, rows: (&[usize], usize), cols: (&[usize], usize)) -> Blocks {
        let (n, m) = x.shape();
        let sums = gather(profiles(x, cols.0, cols.1).view(), rows.0, rows.1);
        let count = |(labels, clusters): (&[usize], usize)| {
            let mut out = vec![0.0f64; clusters];
            labels.iter().for_each(|&l| out[l] += 1.0);
            out
        };
        let (of_rows, of_cols) = (count(rows), count(cols));
        let cells = Array2::from_shape_fn(sums.dim(), |(r, c)| of_rows[r] * of_cols[c]);
        let mean =
            Array2::from_shape_fn(sums.dim(), |at| if cells[at] > 0.0 { sums[at] / cells[at] } else { 0.0 });
        let whole = x.values().iter().sum::<f64>() / (n * m) as f64;
        let squares = x.values().iter().map(|v| v * v).sum::<f64>() - whole * whole * (n * m) as f64;
        let between: f64 = mean.iter().zip(&cells).map(|(v, w)| w * (v - whole) * (v - whole)).sum();
        let explained = if squares > 0.0 { (between / squares).clamp(0.0, 1.0) } else { 0.0 };
        let positive = x.values().iter().all(|v| *v >= 0.0) && x.values().iter().any(|v| *v > 0.0);
        let share = positive.then(|| &sums / sums.sum());
        let information = share.as_ref().map(|q| (information(q.view()).max(0.0), whole_information(x)));
        Blocks { mean, share, information, explained }
    }

    /// I(Q)/I(P), where it is defined.
    pub fn kept(&self) -> Option<f64> {
        self.information.filter(|(_, all)| *all > 0.0).map(|(kept, all)| kept / all)
    }
}

/// I(P) of a table without negative values.
fn whole_information(x: &Csr) -> f64 {
    let (n, m) = x.shape();
    let (mut rows, mut cols) = (vec![0.0; n], vec![0.0; m]);
    x.entries().for_each(|(i, j, v)| {
        rows[i] += v;
        cols[j] += v;
    });
    let total: f64 = rows.iter().sum();
    let mut sums = vec![0.0; n];
    x.entries()
        .filter(|e| e.2 > 0.0)
        .for_each(|(i, j, v)| sums[i] += v / total * (v * total / rows[i] / cols[j]).ln());
    sums.iter().sum::<f64>().max(0.0)
}

/// A fit of the family.
#[derive(Clone, Debug)]
pub struct Coclusters {
    /// Observations.
    pub rows: Side,
    /// Features.
    pub cols: Side,
    /// The table by blocks.
    pub blocks: Blocks,
    /// Objective after each step.
    pub objective: Vec<f64>,
    /// How it ended; `None` for a direct method.
    pub stop: Option<Stop>,
    /// Further numbers of the method by name.
    pub numbers: Vec<(&'static str, f64)>,
    /// Further traces by name.
    pub traces: Vec<(&'static str, Vec<f64>)>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Coclusters {
    /// Numbers the clusters and fills the blocks; warns of clusters that stay empty.
    ///
    /// # Errors
    /// None today; the signature leaves room for those of the table.
    pub fn new(
        input: Values<'_>,
        mut rows: Side,
        mut cols: Side,
        objective: Vec<f64>,
        stop: Option<Stop>,
        ctx: &mut Ctx<'_>,
    ) -> Result<Coclusters> {
        rows.order();
        cols.order();
        for (side, what) in [(&rows, "rows"), (&cols, "columns")] {
            let (used, asked) = (side.used(), side.clusters);
            if used < asked {
                ctx.warn(format!("{used} of {asked} clusters of {what} hold any; the others are empty."));
            }
        }
        let x = input.matrix.to_csr();
        let blocks = Blocks::of(&x, (&rows.labels, rows.clusters), (&cols.labels, cols.clusters));
        let warnings = ctx.warnings.clone();
        Ok(Coclusters {
            rows,
            cols,
            blocks,
            objective,
            stop,
            numbers: Vec::new(),
            traces: Vec::new(),
            warnings,
        })
    }

    /// A row for each block.
    pub fn block_table(&self) -> Table {
        let (g, h) = self.blocks.mean.dim();
        let (rows, cols) = (self.rows.sizes(), self.cols.sizes());
        let at = || (0..g).flat_map(|r| (0..h).map(move |c| (r, c)));
        let ints =
            |f: &dyn Fn((usize, usize)) -> usize| Column::Int(at().map(|p| Some(f(p) as i64)).collect());
        let floats = |m: &Array2<f64>| Column::Float(at().map(|p| m[p]).collect());
        let mut table = Table::numbered("", g * h);
        table.columns = vec![
            ("row_cluster".into(), ints(&|p| p.0)),
            ("col_cluster".into(), ints(&|p| p.1)),
            ("rows".into(), ints(&|p| rows[p.0])),
            ("cols".into(), ints(&|p| cols[p.1])),
            ("mean".into(), floats(&self.blocks.mean)),
        ];
        if let Some(share) = &self.blocks.share {
            table.columns.push(("share".into(), floats(share)));
            table.columns.push(("lift".into(), floats(&lift(share.view()))));
        }
        table
    }
}

/// Q_rc / (Q_r Q_c), 1 where rows and columns of a block are independent; 0 where a block is empty.
pub fn lift(share: ArrayView2<'_, f64>) -> Array2<f64> {
    let rows: Vec<f64> = share.rows().into_iter().map(|r| r.sum()).collect();
    let cols: Vec<f64> = share.columns().into_iter().map(|c| c.sum()).collect();
    Array2::from_shape_fn(share.dim(), |(r, c)| {
        let expected = rows[r] * cols[c];
        if expected > 0.0 { share[[r, c]] / expected } else { 0.0 }
    })
}

impl Annotate for Coclusters {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        out.obs.insert(key.to_owned(), self.rows.column());
        out.var.insert(key.to_owned(), self.cols.column());
        let membership = format!("{key}_membership");
        for (side, into) in [(&self.rows, &mut out.obsm), (&self.cols, &mut out.varm)] {
            if let Some(soft) = &side.membership {
                into.insert(membership.clone(), Slot::F64(soft.clone()));
            }
        }
        if let Some(z) = &self.rows.embedding {
            out.obsm.insert(format!("X_{key}"), Slot::F64(z.clone()));
        }
        if let Some(z) = &self.cols.embedding {
            out.varm.insert(format!("{key}_loadings"), Slot::F64(z.clone()));
        }
        let blocks = self.block_table();
        let notes = out.notes(key);
        notes.insert("blocks".into(), Value::Table(blocks));
        notes.insert("explained".into(), self.blocks.explained.into());
        if let Some((kept, all)) = self.blocks.information {
            notes.insert("information".into(), kept.into());
            notes.insert("information_of_table".into(), all.into());
        }
        for (name, value) in &self.numbers {
            notes.insert((*name).into(), (*value).into());
        }
        for (name, values) in &self.traces {
            notes.insert((*name).into(), Value::Floats(values.clone()));
        }
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        if let Some(stop) = self.stop {
            notes.insert("stop".into(), stop.name().into());
        }
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;
    use crate::fit::Seed;
    use ndarray::array;

    #[test]
    fn blocks_say_what_they_keep() {
        let x = array![[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 3.0]];
        let matrix = Matrix::Dense(x);
        let values = Values { what: "X", matrix: &matrix };
        let (rows, cols) = (Side::hard(vec![1, 1, 0, 0], 3), Side::hard(vec![1, 1, 0], 2));
        let mut no = ();
        let mut ctx = Ctx::new(Seed(0), &mut no);
        let fit = Coclusters::new(values, rows, cols, vec![], None, &mut ctx).unwrap();
        assert_eq!(fit.rows.labels, [0, 0, 1, 1]);
        assert_eq!(fit.blocks.mean, array![[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]);
        assert!(
            (fit.blocks.kept().unwrap() - 1.0).abs() < 1e-12 && (fit.blocks.explained - 1.0).abs() < 1e-12
        );
        assert!(fit.warnings[0].contains("2 of 3 clusters of rows"));
        let lift = lift(fit.blocks.share.as_ref().unwrap().view());
        assert!((lift[[0, 0]] - 14.0 / 8.0).abs() < 1e-12 && lift[[2, 1]] == 0.0);
        let mut out = Annotations::default();
        fit.annotate("itcc", &mut out);
        assert!(out.obs.contains_key("itcc") && out.var.contains_key("itcc"));
        // Signed tables have no distribution.
        let matrix = Matrix::Dense(array![[1.0, -1.0], [1.0, -1.0]]);
        let values = Values { what: "X", matrix: &matrix };
        let (rows, cols) = (Side::hard(vec![0, 0], 1), Side::hard(vec![0, 1], 2));
        let fit = Coclusters::new(values, rows, cols, vec![], None, &mut ctx).unwrap();
        assert!(fit.blocks.information.is_none() && (fit.blocks.explained - 1.0).abs() < 1e-12);
    }
}
