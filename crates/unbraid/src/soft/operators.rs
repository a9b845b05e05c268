//! Soft rank, sort and quantile normalisation of one row, with both Jacobians of its plan.
//!
//! ```text
//! R_i = n Σ_j W_ij (b_1 + … + b_j),   S_j = (1/b_j) Σ_i P_ij x_i,   T_i = Σ_j W_ij q_j
//! ```
//!
//! Forward, for changes ẋ and ḃ:
//!
//! ```text
//! u_ij = 2 ẋ_i y_j / ε,   r_j = Σ_i P_ij (u_ij − Σ_k W_ik u_ik),   A ġ = ḃ − r,
//! Ṗ_ij = P_ij (u_ij + ġ_j/ε − Σ_k W_ik (u_ik + ġ_k/ε)).
//! ```
//!
//! Transposed, for a cotangent H of P:
//!
//! ```text
//! h_i = Σ_j W_ij H_ij,   γ_j = (1/ε) Σ_i P_ij (H_ij − h_i),   A λ = γ,   b̄ = λ,
//! x̄_i = (2/ε) (Σ_j P_ij Z_ij y_j − (Σ_j P_ij Z_ij)(Σ_j W_ij y_j)),   Z_ij = H_ij − λ_j.
//! ```

use ndarray::{Array1, Array2, ArrayView2, Zip};

use super::layer::{Layer, Solved, Work};
use super::newton;

/// The solved plan of one row.
#[derive(Clone, Debug)]
pub struct Plan {
    layer: Layer,
    work: Work,
    w: Vec<f64>,
    a: Array1<f64>,
    b: Array1<f64>,
    conditional: Array2<f64>,
    /// How the row was solved.
    pub solved: Solved,
}

impl Plan {
    /// Solves one row: inputs `w`, their weights `a` (uniform if `None`), weights `b` of the targets.
    pub fn solve(layer: &Layer, w: &[f64], a: Option<&[f64]>, b: &[f64]) -> Plan {
        let (n, m) = (w.len(), layer.levels());
        let mut work = Work::default();
        let mut g = vec![f64::NAN; m];
        let solved = layer.forward(w, a, b, layer.targets(), &mut g, &mut work, &mut vec![0.0; n]);
        let conditional = work.conditional(m);
        let a = a.map_or_else(|| Array1::from_elem(n, 1.0 / n as f64), |a| Array1::from(a.to_vec()));
        Plan {
            layer: layer.clone(),
            work,
            w: w.to_vec(),
            a,
            b: Array1::from(b.to_vec()),
            conditional,
            solved,
        }
    }

    /// W, n × m: where each sample goes; its rows sum to 1.
    pub fn conditional(&self) -> ArrayView2<'_, f64> {
        self.conditional.view()
    }

    /// Squashed inputs.
    pub fn x(&self) -> Array1<f64> {
        Array1::from(self.work.x()[..self.w.len()].to_vec())
    }

    /// Weights of the targets summed from the first.
    fn levels(&self) -> Array1<f64> {
        let mut sum = 0.0;
        self.b.mapv(|b| {
            sum += b;
            sum
        })
    }

    /// Ranks R, in (0, n].
    pub fn rank(&self) -> Array1<f64> {
        self.conditional.dot(&self.levels()) * self.w.len() as f64
    }

    /// Values sorted softly: S_j = (1/b_j) Σ_i P_ij values_i.
    pub fn sort(&self, values: &[f64]) -> Array1<f64> {
        let weighted: Array1<f64> = self.a.iter().zip(values).map(|(a, v)| a * v).collect();
        self.conditional.t().dot(&weighted) / &self.b
    }

    /// Quantile normalisation onto q.
    pub fn quantile(&self, q: &[f64]) -> Array1<f64> {
        self.conditional.dot(&Array1::from(q.to_vec()))
    }

    /// Forward Jacobian of W: its change for changes of w and of b (which sum to 0).
    pub fn push(&self, dw: &[f64], db: &[f64]) -> Array2<f64> {
        let (epsilon, y) = (self.layer.epsilon(), self.layer.targets());
        let mut dx = vec![0.0; dw.len()];
        self.layer.push_squash(&self.work, dw, &mut dx);
        let mut change = Array2::from_shape_fn(self.conditional.dim(), |(i, j)| 2.0 * dx[i] * y[j] / epsilon);
        let mut dg = db.to_vec();
        let mut size: Vec<f64> = db.iter().map(|d| d.abs()).collect();
        for (i, w) in self.conditional.rows().into_iter().enumerate() {
            let mean = w.dot(&change.row(i));
            for (j, (dg, size)) in dg.iter_mut().zip(&mut size).enumerate() {
                *dg -= self.a[i] * w[j] * (change[[i, j]] - mean);
                *size += self.a[i] * w[j] * (change[[i, j]].abs() + mean.abs());
            }
        }
        // The factor lacks 1/ε, as does the sum below.
        self.work.laplace(&mut dg, &size);
        for (mut change, w) in change.rows_mut().into_iter().zip(self.conditional.rows()) {
            change.iter_mut().zip(&dg).for_each(|(c, g)| *c += g);
            let mean = w.dot(&change);
            Zip::from(&mut change).and(w).for_each(|c, &w| *c = w * (*c - mean));
        }
        change
    }

    /// Transposed Jacobian of the plan P = diag(a) W: the cotangents of w and of b (mean 0) for that of P.
    pub fn pull(&self, cot: ArrayView2<'_, f64>) -> (Array1<f64>, Array1<f64>) {
        let (xbar, bbar) = self.pull_x(cot);
        (self.unsquash(&xbar), bbar)
    }

    /// The cotangent of w for that of x.
    fn unsquash(&self, xbar: &Array1<f64>) -> Array1<f64> {
        let mut wbar = vec![0.0; self.w.len()];
        let mut padded = xbar.to_vec();
        padded.resize(self.work.x().len(), 0.0);
        self.layer.pull_squash(&self.work, &mut padded, &mut wbar);
        Array1::from(wbar)
    }

    fn pull_x(&self, cot: ArrayView2<'_, f64>) -> (Array1<f64>, Array1<f64>) {
        let (epsilon, y) = (self.layer.epsilon(), self.layer.targets());
        let m = y.len();
        let (mut lambda, mut size) = (vec![0.0; m], vec![0.0; m]);
        for (i, w) in self.conditional.rows().into_iter().enumerate() {
            let mean = w.dot(&cot.row(i));
            for j in 0..m {
                lambda[j] += self.a[i] * w[j] * (cot[[i, j]] - mean);
                size[j] += self.a[i] * w[j] * (cot[[i, j]].abs() + mean.abs());
            }
        }
        self.work.laplace(&mut lambda, &size);
        newton::centre(&mut lambda);
        let xbar = self.conditional.rows().into_iter().enumerate().map(|(i, w)| {
            let (mut z, mut zy, mut mean) = (0.0, 0.0, 0.0);
            for j in 0..m {
                let d = w[j] * (cot[[i, j]] - lambda[j]);
                z += d;
                zy += d * y[j];
                mean += w[j] * y[j];
            }
            2.0 / epsilon * self.a[i] * (zy - z * mean)
        });
        (xbar.collect(), Array1::from(lambda))
    }

    /// Transposed Jacobian of [`Plan::rank`]: cotangents of w and of b.
    pub fn pull_rank(&self, cot: &[f64]) -> (Array1<f64>, Array1<f64>) {
        let n = self.w.len() as f64;
        let levels = self.levels();
        let (wbar, mut bbar) = self.pull(
            Array2::from_shape_fn(self.conditional.dim(), |(i, j)| n * cot[i] * levels[j] / self.a[i]).view(),
        );
        // Levels also move with b: b_k is in every sum from k on.
        let mut tail = 0.0;
        for k in (0..bbar.len()).rev() {
            tail += n * cot.iter().zip(self.conditional.column(k)).map(|(c, w)| c * w).sum::<f64>();
            bbar[k] += tail;
        }
        (wbar, bbar)
    }

    /// Transposed Jacobian of [`Plan::sort`] of the squashed inputs: cotangents of w and of b.
    pub fn pull_sort(&self, cot: &[f64]) -> (Array1<f64>, Array1<f64>) {
        let x = self.x();
        let sorted = self.sort(&x.to_vec());
        let per = Array1::from(cot.to_vec()) / &self.b;
        let (mut xbar, mut bbar) =
            self.pull_x(Array2::from_shape_fn(self.conditional.dim(), |(i, j)| per[j] * x[i]).view());
        xbar += &(self.conditional.dot(&per) * &self.a);
        bbar -= &(per * sorted);
        (self.unsquash(&xbar), bbar)
    }

    /// Transposed Jacobian of [`Plan::quantile`]: cotangents of w, of b and of q.
    pub fn pull_quantile(&self, q: &[f64], cot: &[f64]) -> (Array1<f64>, Array1<f64>, Array1<f64>) {
        let (wbar, bbar) = self
            .pull(Array2::from_shape_fn(self.conditional.dim(), |(i, j)| cot[i] * q[j] / self.a[i]).view());
        (wbar, bbar, self.conditional.t().dot(&Array1::from(cot.to_vec())))
    }
}

/// Soft ranks of one row, in (0, n].
pub fn soft_rank(layer: &Layer, w: &[f64], a: Option<&[f64]>, b: &[f64]) -> Array1<f64> {
    Plan::solve(layer, w, a, b).rank()
}

/// The m soft order statistics of one row, on the scale of w.
pub fn soft_sort(layer: &Layer, w: &[f64], a: Option<&[f64]>, b: &[f64]) -> Array1<f64> {
    Plan::solve(layer, w, a, b).sort(w)
}

/// One row moved softly onto the quantile values q.
pub fn soft_quantile(layer: &Layer, w: &[f64], a: Option<&[f64]>, b: &[f64], q: &[f64]) -> Array1<f64> {
    Plan::solve(layer, w, a, b).quantile(q)
}
