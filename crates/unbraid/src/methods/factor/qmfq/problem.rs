//! The objective of QMFQ and its gradient: both layers row by row, the projector between them as a whole.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::adam::{Adam, Tensor};
use super::super::common::{Loss, Nonnegative, by_share, warn_of_the_end};
use super::super::maps::{self, Maps, Quantiles, softmax, softmax_adjoint};
use super::super::model::scores;
use super::projector::{Rounds, Truncated};
use super::{Projector, Qmfq, QmfqFit};
use crate::error::Result;
use crate::fit::{Course, Ctx, Draw, Iterate, Seed, Step, Stop};
use crate::linalg::{matmul, settle};
use crate::soft::{Layer, Solved, Work};

/// Steps over which the stop rule looks.
const WINDOW: usize = 50;

pub(super) struct Problem<'a> {
    params: &'a Qmfq,
    layer: Layer,
    /// The features that vary × samples; NaN where an entry is missing.
    x: Array2<f64>,
    /// The measured samples of each of these features; `None` where all are.
    seen: Vec<Option<Vec<usize>>>,
    /// Measured entries of the whole table.
    measured: usize,
    /// Positions of these features in the table, and how many it has.
    at: Vec<usize>,
    features: usize,
    ranges: Vec<(f64, f64)>,
    /// Value of the features that do not vary.
    level: Vec<(usize, f64)>,
    /// Start of the rounds, the same in every step.
    pub u: Array2<f64>,
    pub v: Array2<f64>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub f: Tensor,
    pub r: Tensor,
    pub f_in: Tensor,
    pub r_in: Tensor,
    /// Potentials of both layers; NaN before the first step.
    g: Vec<f64>,
    g_in: Vec<f64>,
    step: u32,
}

/// Gradients by rows, as the tensors of [`State`].
pub(super) struct Gradient {
    pub objective: f64,
    pub f: Vec<f64>,
    pub r: Vec<f64>,
    pub f_in: Vec<f64>,
    pub r_in: Vec<f64>,
}

/// Π(X′), either way.
enum Factors {
    Rounds(Rounds),
    Truncated(Truncated),
}

impl Factors {
    fn pair(&self) -> (Array2<f64>, Array2<f64>) {
        match self {
            Factors::Rounds(rounds) => {
                let (u, v) = rounds.last();
                (u.clone(), v.clone())
            }
            Factors::Truncated(t) => t.factors(),
        }
    }
    fn back(&self, x: ArrayView2<'_, f64>, z_bar: ArrayView2<'_, f64>) -> Array2<f64> {
        match self {
            Factors::Rounds(rounds) => rounds.back(x, z_bar),
            Factors::Truncated(t) => t.back(z_bar),
        }
    }
}

/// One layer of all rows: what forward passes of rows give.
struct Passed {
    out: Array2<f64>,
    solved: Vec<Solved>,
}

impl<'a> Problem<'a> {
    pub fn new(params: &'a Qmfq, input: &Nonnegative<'_>) -> Result<Problem<'a>> {
        let all = input.features_by_samples();
        let layer = maps::layer(params.levels, params.epsilon, params.squash, params.accuracy)?;
        let range = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)))
        };
        let ranges: Vec<(f64, f64)> = all.rows().into_iter().map(range).collect();
        let measured = all.iter().filter(|v| !v.is_nan()).count();
        let (at, still): (Vec<usize>, Vec<usize>) =
            (0..all.nrows()).partition(|&i| ranges[i].0 < ranges[i].1);
        let x = all.select(Axis(0), &at);
        let seen = |row: ArrayView1<'_, f64>| {
            let at: Vec<usize> = (0..row.len()).filter(|&j| !row[j].is_nan()).collect();
            (at.len() < row.len()).then_some(at)
        };
        Ok(Problem {
            params,
            layer,
            seen: x.rows().into_iter().map(seen).collect(),
            measured,
            x,
            ranges: at.iter().map(|&i| ranges[i]).collect(),
            level: still.iter().map(|&i| (i, ranges[i].0)).collect(),
            features: all.nrows(),
            at,
            u: Array2::zeros((0, 0)),
            v: Array2::zeros((0, 0)),
        })
    }

    /// Features without variation.
    pub fn constant(&self) -> Vec<usize> {
        self.level.iter().map(|l| l.0).collect()
    }

    /// With the start of the rounds: U and V uniform on (0.01, 1.01).
    pub fn started(self, seed: Seed) -> Problem<'a> {
        let (d, n) = self.x.dim();
        let mut rng = seed.stream(Draw::Init, 0);
        let mut draw = |shape| Array2::from_shape_simple_fn(shape, || rng.random::<f64>() + 0.01);
        let (u, v) = (draw((d, self.params.k)), draw((self.params.k, n)));
        Problem { u, v, ..self }
    }

    /// The state with the given parameters of the maps.
    pub fn state(&self, f: Vec<f64>, r: Vec<f64>, f_in: Vec<f64>, r_in: Vec<f64>) -> State {
        let m = self.layer.levels();
        let none = vec![f64::NAN; self.x.nrows() * m];
        State {
            f: Tensor::new(f, m),
            r: Tensor::new(r, m - 1),
            f_in: Tensor::new(f_in, m),
            r_in: Tensor::new(r_in, m),
            g: none.clone(),
            g_in: none,
            step: 0,
        }
    }

    /// b and q of row `i` of a layer, and the rises of q.
    fn targets(&self, rule: Quantiles, f: &Tensor, r: &Tensor, i: usize) -> [Vec<f64>; 3] {
        let m = self.layer.levels();
        let (mut b, mut q, mut rise) = (vec![0.0; m], vec![0.0; m], vec![0.0; r.width]);
        softmax(f.row(i), &mut b);
        rule.values(r.row(i), self.ranges[i], &mut rise, &mut q);
        [b, q, rise]
    }

    /// The samples that the map of row `i` was learnt from: T′, which is free, sees measured entries only.
    fn seen_by(&self, rule: Quantiles, i: usize) -> Option<&[usize]> {
        if rule == Quantiles::Free { self.seen[i].as_deref() } else { None }
    }

    /// T of every row; the potentials start where `g` is and are stored there.
    fn forward(&self, rule: Quantiles, w: &Array2<f64>, f: &Tensor, r: &Tensor, g: &mut [f64]) -> Passed {
        let (m, n) = (self.layer.levels(), w.ncols());
        let mut out = Array2::zeros(w.dim());
        let rows = out.as_slice_mut().unwrap_or_default().par_chunks_mut(n);
        let solved = rows
            .zip(g.par_chunks_mut(m))
            .enumerate()
            .map_init(Work::default, |work, (i, (t, g))| {
                settle();
                let [b, q, _] = self.targets(rule, f, r, i);
                let Some(at) = self.seen_by(rule, i) else {
                    return self.layer.forward(&w.row(i).to_vec(), None, &b, &q, g, work, t);
                };
                let (w, mut short) = (picked(w.row(i), at), vec![0.0; at.len()]);
                let solved = self.layer.forward(&w, None, &b, &q, g, work, &mut short);
                t.fill(f64::NAN);
                at.iter().zip(short).for_each(|(&j, v)| t[j] = v);
                solved
            })
            .collect();
        Passed { out, solved }
    }

    /// Cotangents of w, F and R of every row. The forward pass of a row is repeated from its own solution, which costs one
    /// evaluation and saves a table of n × m numbers per row.
    fn backward(
        &self,
        rule: Quantiles,
        w: &Array2<f64>,
        f: &Tensor,
        r: &Tensor,
        g: &[f64],
        cot: &Array2<f64>,
        inputs: bool,
    ) -> (Array2<f64>, Vec<f64>, Vec<f64>) {
        let m = self.layer.levels();
        let width = rule.width(m);
        let one = |work: &mut Work, i: usize| {
            settle();
            let [b, q, rise] = self.targets(rule, f, r, i);
            let (w, cot) = match self.seen_by(rule, i) {
                Some(at) => (picked(w.row(i), at), picked(cot.row(i), at)),
                None => (w.row(i).to_vec(), cot.row(i).to_vec()),
            };
            let n = w.len();
            let (mut g, mut t) = (g[i * m..(i + 1) * m].to_vec(), vec![0.0; n]);
            self.layer.forward(&w, None, &b, &q, &mut g, work, &mut t);
            let (mut dw, mut db, mut dq) = (vec![0.0; n], vec![0.0; m], vec![0.0; m]);
            let into = inputs.then_some(&mut dw[..]);
            self.layer.backward(&w, None, &q, &cot, work, into, &mut db, &mut dq);
            let (mut df, mut dr) = (vec![0.0; m], vec![0.0; width]);
            softmax_adjoint(&b, &db, &mut df);
            rule.adjoint(&rise, self.ranges[i], &dq, &mut dr);
            (dw, df, dr)
        };
        let found: Vec<_> = (0..w.nrows()).into_par_iter().map_init(Work::default, one).collect();
        let mut out = (Array2::zeros(w.dim()), Vec::new(), Vec::new());
        for (i, (dw, df, dr)) in found.into_iter().enumerate() {
            out.0.row_mut(i).iter_mut().zip(dw).for_each(|(to, v)| *to = v);
            out.1.extend(df);
            out.2.extend(dr);
        }
        out
    }

    fn project(&self, x: ArrayView2<'_, f64>) -> Result<Factors> {
        let rounds = |loss| Rounds::run(loss, x, self.u.clone(), self.v.clone(), self.params.nmf_steps);
        Ok(match self.params.projector {
            Projector::Kl => Factors::Rounds(rounds(Loss::Kl)),
            Projector::Frobenius => Factors::Rounds(rounds(Loss::Frobenius)),
            Projector::Svd => Factors::Truncated(Truncated::run(x, self.params.k)?),
        })
    }

    fn divergence(&self, t: &Array2<f64>) -> f64 {
        let loss = self.params.loss;
        t.iter().zip(&self.x).filter(|(_, x)| !x.is_nan()).map(|(&t, &x)| loss.of(x, t)).sum()
    }

    /// The objective and its gradient; potentials are stored in the state.
    pub fn gradient(&self, s: &mut State) -> Result<Gradient> {
        let (free, pinned) = (Quantiles::Free, Quantiles::Pinned);
        // X′ = T′(X),  (U, V) = Π(X′),  Z = U V,  T(Z)
        let inner = self.forward(free, &self.x, &s.f_in, &s.r_in, &mut s.g_in).out;
        let factors = self.project(inner.view())?;
        let (u, v) = factors.pair();
        let z = matmul(u.view(), v.view());
        let t = self.forward(pinned, &z, &s.f, &s.r, &mut s.g).out;
        let scale = 1.0 / self.measured as f64;
        let objective = scale * self.divergence(&t);
        let mut cot = t;
        let loss = self.params.loss;
        cot.zip_mut_with(&self.x, |t, &x| *t = if x.is_nan() { 0.0 } else { scale * loss.slope(x, *t) });
        // and back
        let (z_bar, f, r) = self.backward(pinned, &z, &s.f, &s.r, &s.g, &cot, true);
        let x_bar = factors.back(inner.view(), z_bar.view());
        let (_, f_in, r_in) = self.backward(free, &self.x, &s.f_in, &s.r_in, &s.g_in, &x_bar, false);
        Ok(Gradient { objective, f, r, f_in, r_in })
    }

    /// The fit from the last state.
    pub fn finish(
        &self,
        course: Course<State>,
        stop: Stop,
        constant: Vec<usize>,
        ctx: &mut Ctx<'_>,
    ) -> Result<QmfqFit> {
        let mut s = course.state;
        let inner = self.forward(Quantiles::Free, &self.x, &s.f_in, &s.r_in, &mut s.g_in);
        let u = self.project(inner.out.view())?.pair().0;
        // The rounds leave V one step behind U. As new samples, those of the fit take the best V beside the last U, so
        // that a fit applied to its own table is the fit.
        let v = scores(self.params.projector, inner.out.view(), u.view())?;
        let z = matmul(u.view(), v.view());
        let outer = self.forward(Quantiles::Pinned, &z, &s.f, &s.r, &mut s.g);
        let (d, n) = (self.features, self.x.ncols());
        let steps = (self.params.max_steps, "steps");
        warn_of_the_end("QMFQ", steps, self.params.tol, stop, ctx);
        let order = by_share(u.view(), v.view());
        let mut loadings = Array2::zeros((d, self.params.k));
        for (row, &i) in u.rows().into_iter().zip(&self.at) {
            loadings.row_mut(i).iter_mut().zip(&order).for_each(|(to, &l)| *to = row[l]);
        }
        let mut gain = vec![0.0; d];
        let sum = |row: ArrayView1<'_, f64>| row.iter().filter(|v| !v.is_nan()).sum::<f64>();
        let whole = |x: &Array2<f64>| x.rows().into_iter().map(sum).sum::<f64>();
        let (all, all_in) = (whole(&self.x), whole(&inner.out));
        for (row, &i) in self.at.iter().enumerate() {
            let share = (sum(inner.out.row(row)) / all_in) / (sum(self.x.row(row)) / all);
            gain[i] = share.max(f64::MIN_POSITIVE).log2();
        }
        let table = self.params.reconstruction.then(|| {
            let mut table = Array2::zeros((n, d));
            outer.out.rows().into_iter().zip(&self.at).for_each(|(t, &i)| table.column_mut(i).assign(&t));
            self.level.iter().for_each(|&(i, level)| table.column_mut(i).fill(level));
            table
        });
        Ok(QmfqFit {
            loadings,
            scores: v.select(Axis(0), &order).t().as_standard_layout().into_owned(),
            input_maps: self.maps(Quantiles::Free, &s.f_in, &s.r_in, &s.g_in, &inner.solved),
            maps: self.maps(Quantiles::Pinned, &s.f, &s.r, &s.g, &outer.solved),
            loss: self.params.loss,
            projector: self.params.projector,
            divergence: self.divergence(&outer.out) / self.measured as f64,
            objective: course.objective,
            gain,
            constant,
            reconstruction: table,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }

    /// The maps of all features of the table; those of features without variation are constant.
    fn maps(&self, rule: Quantiles, f: &Tensor, r: &Tensor, g: &[f64], solved: &[Solved]) -> Maps {
        let m = self.layer.levels();
        let mut maps = Maps::new(self.layer.clone(), self.features);
        maps.weights.fill(1.0 / m as f64);
        for (row, &i) in self.at.iter().enumerate() {
            let [b, q, _] = self.targets(rule, f, r, row);
            (maps.location[i], maps.spread[i]) = (solved[row].location, solved[row].spread);
            maps.weights.row_mut(i).iter_mut().zip(b).for_each(|(to, v)| *to = v);
            maps.quantiles.row_mut(i).iter_mut().zip(q).for_each(|(to, v)| *to = v);
            maps.potentials.row_mut(i).iter_mut().zip(&g[row * m..]).for_each(|(to, v)| *to = *v);
        }
        if rule == Quantiles::Pinned {
            self.level.iter().for_each(|&(i, level)| maps.quantiles.row_mut(i).fill(level));
        }
        maps
    }
}

/// The values at the given places.
fn picked(row: ArrayView1<'_, f64>, at: &[usize]) -> Vec<f64> {
    at.iter().map(|&j| row[j]).collect()
}

impl Iterate for Problem<'_> {
    type State = State;

    /// F, R and F′ zero, R′ = −log n.
    fn start(&self, _: Seed) -> Result<State> {
        let ((d, n), m) = (self.x.dim(), self.layer.levels());
        let log = -(n as f64).ln();
        Ok(self.state(vec![0.0; d * m], vec![0.0; d * (m - 1)], vec![0.0; d * m], vec![log; d * m]))
    }

    fn step(&self, s: &mut State) -> Result<Step> {
        let g = self.gradient(s)?;
        s.step += 1;
        let (step, rate) = (s.step, self.params.learning_rate);
        for (tensor, gradient) in
            [(&mut s.f, &g.f), (&mut s.r, &g.r), (&mut s.f_in, &g.f_in), (&mut s.r_in, &g.r_in)]
        {
            for (i, row) in gradient.chunks_exact(tensor.width).enumerate() {
                tensor.descend(Adam::Lazy, i, step, rate, row);
            }
        }
        Ok(Step::Sweep(g.objective))
    }

    fn converged(&self, _: &State, tol: f64, objective: &[f64]) -> bool {
        maps::settled(objective, WINDOW, tol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Matrix, Missing, Values};
    use crate::golden::Golden;
    use ndarray::Ix2;

    #[test]
    fn loss_factors_and_gradients_are_those_of_the_reference() {
        let case = Golden::open("qmfq/small");
        let matrix = Matrix::Dense(case.array::<Ix2>("X").t().as_standard_layout().into_owned());
        let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
        for projector in [Projector::Kl, Projector::Frobenius] {
            let params = Qmfq {
                k: 2,
                levels: 5,
                epsilon: 0.05,
                nmf_steps: 4,
                accuracy: 1e-12,
                projector,
                ..Qmfq::default()
            };
            let mut problem = Problem::new(&params, &input).unwrap();
            (problem.u, problem.v) = (case.array("U0"), case.array("V0"));
            let [f, r, f_in, r_in] = ["F", "R", "Fp", "Rp"]
                .map(|name| case.array::<Ix2>(name).iter().copied().collect::<Vec<f64>>());
            let mut s = problem.state(f, r, f_in, r_in);
            let found = problem.gradient(&mut s).unwrap();
            let which = if projector == Projector::Kl { "kl" } else { "fro" };
            let named = |name: &str| format!("{which}_{name}");
            let inner =
                problem.forward(Quantiles::Free, &problem.x, &s.f_in, &s.r_in, &mut s.g_in.clone()).out;
            case.assert_close(&named("Xp"), &inner, 1e-9);
            let (u, v) = problem.project(inner.view()).unwrap().pair();
            case.assert_close(&named("U"), &u, 1e-9);
            case.assert_close(&named("V"), &v, 1e-9);
            let loss = case.array::<ndarray::Ix0>(&named("loss")).into_scalar();
            assert!((found.objective - loss).abs() < 1e-9 * loss, "{projector}: {} {loss}", found.objective);
            for (name, values, width) in
                [("dF", &found.f, 5), ("dR", &found.r, 4), ("dFp", &found.f_in, 5), ("dRp", &found.r_in, 5)]
            {
                let square = Array2::from_shape_vec((7, width), values.clone()).unwrap();
                case.assert_close(&named(name), &square, 1e-7);
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences_through_both_layers() {
        let mut rng = Seed(4).stream(Draw::Simulate, 0);
        let x = Array2::from_shape_simple_fn((11, 6), || rng.random::<f64>() * 3.0);
        let mut holed = x.clone();
        [(0, 1), (4, 1), (7, 3), (10, 5)].into_iter().for_each(|at| holed[at] = f64::NAN);
        let (whole, holed) = (Matrix::Dense(x), Matrix::Dense(holed));
        for (projector, matrix) in [
            (Projector::Kl, &whole),
            (Projector::Frobenius, &whole),
            (Projector::Svd, &whole),
            (Projector::Kl, &holed),
            (Projector::Frobenius, &holed),
        ] {
            let input =
                Nonnegative { missing: Missing::Nan, ..Nonnegative::new(Values { what: "X", matrix }) };
            let params = Qmfq {
                k: 2,
                levels: 4,
                epsilon: 0.05,
                nmf_steps: 6,
                accuracy: 1e-12,
                projector,
                ..Qmfq::default()
            };
            let problem = Problem::new(&params, &input).unwrap().started(Seed(1));
            let mut near =
                |size: usize| (0..size).map(|_| 0.5 * rng.random::<f64>() - 0.25).collect::<Vec<f64>>();
            let mut s = problem.state(near(24), near(18), near(24), near(24));
            let found = problem.gradient(&mut s).unwrap();
            let at = |change: &dyn Fn(&mut State)| {
                let mut moved = s.clone();
                change(&mut moved);
                problem.gradient(&mut moved).unwrap().objective
            };
            let h = 1e-5;
            for i in [0usize, 7, 17] {
                let slopes = [
                    (at(&|s| s.f.values[i] += h) - at(&|s| s.f.values[i] -= h), found.f[i]),
                    (at(&|s| s.r.values[i] += h) - at(&|s| s.r.values[i] -= h), found.r[i]),
                    (at(&|s| s.f_in.values[i] += h) - at(&|s| s.f_in.values[i] -= h), found.f_in[i]),
                    (at(&|s| s.r_in.values[i] += h) - at(&|s| s.r_in.values[i] -= h), found.r_in[i]),
                ];
                for (part, (rise, slope)) in slopes.into_iter().enumerate() {
                    let gap = (rise / (2.0 * h) - slope).abs();
                    assert!(
                        gap < 1e-7 + 1e-5 * slope.abs(),
                        "{projector} {part} {i}: {} {slope}",
                        rise / (2.0 * h)
                    );
                }
            }
        }
    }
}
