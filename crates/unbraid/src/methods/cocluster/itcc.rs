//! Information-theoretic co-clustering: labels whose blocks keep as much as can be of the table's mutual information.
//!
//! ```text
//! maximise I(Q) over r and c;    rows given c:   r(i) := argmax_r Σ_c P_ic log(Q_rc / Q_r),   P_ic = Σ over c(j) = c of P_ij,
//! which lessens KL(P(·|i) ‖ q(·|r)), and columns given r alike;
//! then single moves: i goes to the cluster where I(Q), the centres moving with it, becomes largest
//! ```
//!
//! | symbol | shape | meaning                         | field                       |
//! |--------|-------|---------------------------------|-----------------------------|
//! | r, c   | n, m  | labels                          | `labels`                    |
//! | Q      | g × h | shares of blocks                | `blocks`                    |
//! | I(Q)   |       | what is made large, in nats     | `objective` (best so far, after each restart) |
//!
//! Dhillon, Mallela and Modha (2003): `dhillon2003`. Moves of one line at a time are theirs too (`dhillon2002`, for one side); they
//! leave optima in which the alternation rests. Several starts, of which the best I(Q) is kept; labels of classes play no part.
//! An alternation costs the entries of the table and n g h + m g h products; the table stays sparse.

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::blocks::{gather, information, profiles, table, xlogx};
use super::climb::{Climb, Tries, climb};
use super::fit::{Coclusters, Side};
use super::start::{Init, Labels, labels};
use super::table::{Joint, at_least_one, refuse_clusters, tolerance};
use crate::data::{Csr, Values};
use crate::error::{Error, Result};
use crate::fit::{Ctx, Method, Seed};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of information-theoretic co-clustering.
    pub struct Itcc {
        /// Number of clusters of rows g; 1 ≤ g ≤ rows. Default 5.
        pub rows: usize = 5,
        /// Number of clusters of columns h; 1 ≤ h ≤ columns. Default 5.
        pub cols: usize = 5,
        /// Where restarts begin: `random` labels, `kmeans` of either side, `spectral` co-clustering, or `mixed`: one of each of
        /// the latter and the others random. Default mixed.
        pub init: Init = Init::Mixed,
        /// Restarts, of which the largest I(Q) is kept; 1 ≤ restarts. Default 10.
        pub restarts: usize = 10,
        /// Whether lines are also moved one by one where the alternation rests. Default true; `preset=paper` has it off.
        pub moves: bool = true,
        /// Most alternations of a restart; 1 ≤ max_steps. Default 200.
        pub max_steps: usize = 200,
        /// A restart ends when a sweep gains no more than this share of I(Q); 0 ≤ tol. Default 1e-9.
        pub tol: f64 = 1e-9,
    }
}

impl Params for Itcc {
    const DOCS: &'static [ParamDoc] = Itcc::FIELDS;

    /// `paper`: alternations from random labels.
    fn preset(name: &str) -> Option<Itcc> {
        (name == "paper").then(|| Itcc { init: Init::Random, moves: false, ..Itcc::default() })
    }
}

/// Labels under way; `moving` once the alternation rests.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    labels: Labels,
    moving: bool,
}

struct Problem<'a> {
    params: &'a Itcc,
    joint: &'a Joint,
    /// Where every restart starts, if that is given.
    given: Option<Labels>,
}

impl Climb for Problem<'_> {
    type Point = Point;

    fn begin(&self, at: usize, seed: Seed) -> Result<Point> {
        let labels = match &self.given {
            Some(given) => given.clone(),
            None => labels(self.params.init, at, self.joint, self.shape(), seed)?,
        };
        Ok(Point { labels, moving: false })
    }

    fn sweep(&self, point: &mut Point) -> Result<(f64, bool)> {
        let ((g, h), joint) = (self.shape(), self.joint);
        let (rows, cols) = (&mut point.labels.0, &mut point.labels.1);
        let kept = |rows: &[usize], cols: &[usize]| information(table(joint, rows, cols, (g, h)).view());
        let before = kept(rows, cols);
        let half = if point.moving { move_singly } else { assign };
        half(&joint.rows, rows, cols, (g, h));
        half(&joint.cols, cols, rows, (h, g));
        let after = kept(rows, cols);
        let rests = after - before <= self.params.tol * after.abs();
        let ended = rests && (point.moving || !self.params.moves);
        point.moving |= rests;
        Ok((after, ended))
    }
}

impl Problem<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.params.rows, self.params.cols)
    }
}

/// Every line to the cluster whose distribution over the other side's clusters is closest to its own.
fn assign(lines: &Csr, own: &mut [usize], other: &[usize], (g, h): (usize, usize)) {
    let profiles = profiles(lines, other, h);
    let q = gather(profiles.view(), own, g);
    // log(Q_rc / Q_r); a line with mass where a cluster has none is infinitely far from it.
    let mass: Vec<f64> = q.rows().into_iter().map(|r| r.sum()).collect();
    let log = Array2::from_shape_fn((g, h), |(r, c)| (q[[r, c]] / mass[r].max(f64::MIN_POSITIVE)).ln());
    let best = |row: ndarray::ArrayView1<'_, f64>, was: usize| {
        let score = |r: usize| -> f64 {
            row.iter().zip(log.row(r)).map(|(p, l)| if *p > 0.0 { p * l } else { 0.0 }).sum()
        };
        // Of equals the cluster it is in, so that nothing moves without gain.
        let mut top = (score(was), was);
        for r in (0..g).filter(|&r| mass[r] > 0.0) {
            let s = score(r);
            if s > top.0 {
                top = (s, r);
            }
        }
        top.1
    };
    let new: Vec<usize> =
        (0..own.len()).into_par_iter().with_min_len(256).map(|i| best(profiles.row(i), own[i])).collect();
    own.copy_from_slice(&new);
}

/// Lines in their order, each to the cluster where the information of the blocks, centres included, becomes largest.
fn move_singly(lines: &Csr, own: &mut [usize], other: &[usize], (g, h): (usize, usize)) {
    let profiles = profiles(lines, other, h);
    let mut q = gather(profiles.view(), own, g);
    // The part of I(Q) that row r of Q has: Σ_c Q_rc log Q_rc − Q_r log Q_r; columns' masses do not change.
    let part = |row: &mut dyn Iterator<Item = f64>| {
        let (mut cells, mut mass) = (0.0, 0.0);
        for v in row {
            cells += xlogx(v);
            mass += v;
        }
        cells - xlogx(mass)
    };
    for i in 0..own.len() {
        let (p, was) = (profiles.row(i), own[i]);
        let without = |v: (&f64, &f64)| (v.0 - v.1).max(0.0);
        let loss = part(&mut q.row(was).iter().copied()) - part(&mut q.row(was).iter().zip(p).map(without));
        let mut top = (loss, was);
        for r in (0..g).filter(|&r| r != was) {
            let row = q.row(r);
            let gain = part(&mut row.iter().zip(p).map(|(a, b)| a + b)) - part(&mut row.iter().copied());
            // Rounding is no gain.
            if gain > top.0 + 1e-15 {
                top = (gain, r);
            }
        }
        if top.1 != was {
            own[i] = top.1;
            q.row_mut(was).iter_mut().zip(p).for_each(|(v, p)| *v = (*v - p).max(0.0));
            q.row_mut(top.1).iter_mut().zip(p).for_each(|(v, p)| *v += p);
        }
    }
}

impl Method for Itcc {
    const NAME: &'static str = "itcc";
    type Input<'a> = Values<'a>;
    type Fitted = Coclusters;

    fn validate(&self) -> Result<()> {
        let Itcc { rows, cols, restarts, max_steps, tol, .. } = *self;
        at_least_one(&[("rows", rows), ("cols", cols), ("restarts", restarts), ("max_steps", max_steps)])?;
        tolerance(tol)
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<Coclusters> {
        refuse_clusters(input.matrix, self.rows, self.cols)?;
        let joint = Joint::new(input)?;
        let problem = Problem { params: self, joint: &joint, given: None };
        let tries = Tries { restarts: self.restarts, sweeps: self.max_steps };
        let summit = climb(&problem, "ITCC", tries, ctx)?;
        let (rows, cols) = summit.point.labels;
        let (rows, cols) = (Side::hard(rows, self.rows), Side::hard(cols, self.cols));
        Coclusters::new(input, rows, cols, summit.objective, Some(summit.stop), ctx)
    }
}

impl Itcc {
    /// The labels alone, as a start of other methods; no snapshot is taken.
    ///
    /// # Errors
    /// [`Error::Numeric`] where a start's decomposition does not converge.
    pub fn labels(&self, joint: &Joint, seed: Seed) -> Result<Labels> {
        let problem = Problem { params: self, joint, given: None };
        let tries = Tries { restarts: self.restarts, sweeps: self.max_steps };
        Ok(climb(&problem, "ITCC", tries, &mut Ctx::new(seed, &mut ()))?.point.labels)
    }

    /// Goes on from given labels until neither alternation nor moves gain: the polish of other methods' labels. I(Q) does
    /// not fall.
    ///
    /// # Errors
    /// [`Error::Shape`] for labels of another length, [`Error::Value`] for a label beyond the clusters.
    pub fn polish(&self, joint: &Joint, start: Labels) -> Result<Labels> {
        let (n, m) = joint.shape();
        for (what, labels, lines, clusters) in
            [("row labels", &start.0, n, self.rows), ("column labels", &start.1, m, self.cols)]
        {
            if labels.len() != lines {
                let rule = "one label for each line of the table";
                return Err(Error::Shape { what: what.into(), found: vec![labels.len()], rule });
            }
            if let Some(at) = labels.iter().position(|&l| l >= clusters) {
                let (found, rule) = (labels[at] as f64, "below the number of clusters");
                return Err(Error::Value { what: what.into(), found, at: (at, 0), rule });
            }
        }
        let problem = Problem { params: self, joint, given: Some(start) };
        let mut point = problem.begin(0, Seed(0))?;
        for _ in 0..self.max_steps {
            if problem.sweep(&mut point)?.1 {
                break;
            }
        }
        Ok(point.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;
    use crate::fit::Draw;
    use rand_distr::{Distribution, Poisson};

    fn planted(n: usize, m: usize) -> Matrix {
        let mut rng = Seed(5).stream(Draw::Simulate, 0);
        Matrix::Dense(Array2::from_shape_fn((n, m), |(i, j)| {
            let rate = [[3.0, 1.0, 0.4], [0.5, 2.0, 2.5]][i % 2][j % 3] * (1.0 + (i % 5) as f64);
            let poisson: Poisson<f64> = Poisson::new(rate).unwrap();
            poisson.sample(&mut rng)
        }))
    }

    #[test]
    fn planted_blocks_are_found_and_no_sweep_loses_information() {
        let matrix = planted(40, 36);
        let values = Values { what: "X", matrix: &matrix };
        let joint = Joint::new(values).unwrap();
        let params = Itcc { rows: 2, cols: 3, ..Itcc::default() };
        let fit = params.fit(values, &mut Ctx::new(Seed(1), &mut ())).unwrap();
        assert_eq!(fit.stop, Some(crate::fit::Stop::Converged));
        assert!((0..38).all(|i| fit.rows.labels[i] == fit.rows.labels[i + 2]));
        assert!((0..33).all(|j| fit.cols.labels[j] == fit.cols.labels[j + 3]));
        for moves in [false, true] {
            let params = Itcc { moves, ..params.clone() };
            let problem = Problem { params: &params, joint: &joint, given: None };
            for at in 0..6 {
                let mut point = problem.begin(at, Seed(at as u64)).unwrap();
                let mut last = 0.0;
                for _ in 0..50 {
                    let (value, ended) = problem.sweep(&mut point).unwrap();
                    assert!(value >= last - 1e-14, "{value} after {last}");
                    last = value;
                    if ended {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_move_gains_what_the_information_says() {
        let matrix = planted(12, 9);
        let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
        let mut rows: Vec<usize> = (0..12).map(|i| i * 7 % 3).collect();
        let cols: Vec<usize> = (0..9).map(|j| j % 3).collect();
        let kept = |rows: &[usize]| information(table(&joint, rows, &cols, (3, 3)).view());
        let (start, before) = (rows.clone(), kept(&rows));
        move_singly(&joint.rows, &mut rows, &cols, (3, 3));
        assert!(rows != start && kept(&rows) > before);
        // Where nothing moves any more, no single move is better.
        for _ in 0..20 {
            move_singly(&joint.rows, &mut rows, &cols, (3, 3));
        }
        let best = kept(&rows);
        for i in 0..12 {
            for r in 0..3 {
                let mut other = rows.clone();
                other[i] = r;
                assert!(kept(&other) <= best + 1e-12);
            }
        }
    }

    #[test]
    fn polish_takes_labels_and_refuses_odd_ones() {
        let matrix = planted(40, 36);
        let joint = Joint::new(Values { what: "X", matrix: &matrix }).unwrap();
        let params = Itcc { rows: 2, cols: 3, ..Itcc::default() };
        let start = ((0..40).map(|i| usize::from(i % 4 == 1)).collect(), (0..36).map(|j| j % 3).collect());
        let (rows, _) = params.polish(&joint, start).unwrap();
        assert!((0..38).all(|i| rows[i] == rows[i + 2]));
        assert!(params.polish(&joint, (vec![0; 3], vec![0; 36])).is_err());
        assert!(params.polish(&joint, (vec![2; 40], vec![0; 36])).unwrap_err().to_string().contains("row 0"));
    }
}
