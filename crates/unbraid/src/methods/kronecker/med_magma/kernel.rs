//! The early-stopped eigenvalue kernel: how strong each eigenvector of a Gram matrix is in Ψ.
//!
//! Given the eigenvalues e₁, e₂ of the two expected Gram matrices, the likelihood in the eigenvalues
//! a, b of Ψ₁, Ψ₂ is, up to constants,
//!
//! ```text
//! F(a, b) = e₁·a + e₂·b − Σᵢⱼ log(aᵢ + bⱼ) + ρ(‖a‖² + ‖b‖²)
//! ```
//!
//! convex in (a, b). The published estimator takes T projected gradient steps of length 1 from
//! a = b = 1 and stops there, far from the optimum: T is a regularisation parameter. Each step
//!
//! ```text
//! g₁ᵢ = e₁ᵢ − Σⱼ 1/(aᵢ + bⱼ) + 2ρaᵢ,   g₂ⱼ likewise                         (true gradient)
//! g₁ ← g₁ − mean g₁ + τ/n,  g₂ ← g₂ − mean g₂ + τ/m,  τ = (Σg₁ + Σg₂)/2      (fixes a + c, b − c)
//! a ← clamp(a − step g₁),  b ← clamp(b − step g₂)                            (halve step if F rises)
//! ```
//!
//! | symbol | shape | meaning | name |
//! |---|---|---|---|
//! | e | n, m | eigenvalues of the expected Gram matrices | `spectra` |
//! | a, b | n, m | eigenvalues of Ψ₁ and Ψ₂ | `values` |
//! | T | 1 | steps | `steps` |
//!
//! Two forms share one recursion over weighted points:
//! *exact* has one point of weight 1 per eigenvalue, O(nm) a step; *nodes* uses that every eigenvalue
//! of an axis obeys the same recursion as a function of e, runs it on a few Chebyshev nodes in e with
//! weights wₖ = Σⱼ ℓₖ(eⱼ) and interpolates a(e) at the end, O((n + m)N) once and O(N²) a step.
//! Outliers, and eigenvalues near a clamp, where a(e) has a kink, are carried exactly beside the nodes.
//!
//! Whether F rises is decided without logarithms where possible: F is convex, so
//! F(new) ≤ F(old) + ∇F(new)·(new − old), and the gradient at the new point is needed anyway.

use std::f64::consts::PI;

/// Smallest and largest eigenvalue of Ψ that the kernel lets through (the authors' constants).
const CLAMP: (f64, f64) = (1e-6, 1e6);
/// Most halvings of the step in one line search.
const HALVINGS: usize = 40;
/// The recursion also ends when no axis moved by more than this in the 2-norm.
const STILL: f64 = 1e-5;
/// Chebyshev nodes per axis, tried in turn until the map a(e) is resolved.
const NODES: [usize; 5] = [12, 20, 32, 48, 64];
/// A map counts as resolved when its last coefficients are this small beside the largest.
const RESOLVED: f64 = 1e-11;
/// Most outliers carried exactly at each end of a spectrum before clamps are seen.
const OUTLIERS: usize = 16;
/// An end point is an outlier when leaving it out shrinks the range of the rest by this factor.
const SHRINKS: f64 = 0.7;

/// Parameters of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// T, the number of gradient steps; regularises.
    pub steps: usize,
    /// Ridge weight ρ.
    pub ridge: f64,
}

/// Where the kernel stopped.
#[derive(Clone, Debug)]
pub struct Strengths {
    /// Eigenvalues of Ψ₁ and Ψ₂, in the order of the spectra given.
    pub values: [Vec<f64>; 2],
    /// F there.
    pub objective: f64,
    /// Steps taken.
    pub steps: usize,
    /// How many eigenvalues sit on a clamp.
    pub clamped: usize,
}

impl Strengths {
    fn new(values: [Vec<f64>; 2], objective: f64, steps: usize) -> Strengths {
        let on_clamp = |a: &&f64| **a <= CLAMP.0 || **a >= CLAMP.1;
        let clamped = values.iter().map(|v| v.iter().filter(on_clamp).count()).sum();
        Strengths { values, objective, steps, clamped }
    }
}

impl Kernel {
    /// One point per eigenvalue: O(nm) a step, the slow twin and the reference for parity.
    ///
    /// `trace`, where given, receives F after every step.
    pub fn exact(&self, spectra: [&[f64]; 2], mut trace: Option<&mut Vec<f64>>) -> Strengths {
        let points = spectra.map(Points::exact);
        let end = self.descend(&points, |at| {
            if let Some(trace) = trace.as_mut() {
                trace.push(self.objective(&points, at));
            }
        });
        let objective = self.objective(&points, &end.at);
        Strengths::new(end.at, objective, end.steps)
    }

    /// Points with multiplicities: one value for all eigenvalues that are equal. O(N²) a step for N points.
    ///
    /// Each axis is (e, multiplicity), both of the same length.
    pub fn weighted(&self, spectra: [(&[f64], &[f64]); 2]) -> Strengths {
        let points = spectra.map(|(e, weight)| Points {
            e: e.to_vec(),
            weight: weight.to_vec(),
            size: weight.iter().sum(),
        });
        let end = self.descend(&points, |_| ());
        let objective = self.objective(&points, &end.at);
        Strengths::new(end.at, objective, end.steps)
    }

    /// The same on Chebyshev nodes: cost independent of n and m but for one interpolation.
    ///
    /// Spectra must be ascending. Agrees with [`Kernel::exact`] to about 1e-10 of the largest value.
    pub fn nodes(&self, spectra: [&[f64]; 2]) -> Strengths {
        let mut cut = spectra.map(|e| Cut::outliers(e, NODES[0]));
        let mut level = [0usize; 2];
        loop {
            let bulk = [0, 1].map(|k| Bulk::new(spectra[k], cut[k], NODES[level[k]]));
            let points = [bulk[0].points(spectra[0]), bulk[1].points(spectra[1])];
            let end = self.descend(&points, |_| ());
            let mut again = false;
            for k in 0..2 {
                let Some(nodes) = &bulk[k].nodes else { continue };
                let found = &end.at[k][..nodes.x.len()];
                if let Some(kink) = nodes.first_touched(&end.touched[k]) {
                    cut[k] = cut[k].below(spectra[k], kink);
                    again = true;
                } else if !nodes.resolves(found, &end.at[1 - k]) && level[k] + 1 < NODES.len() {
                    level[k] += 1;
                    again = true;
                } else if !nodes.resolves(found, &end.at[1 - k]) {
                    // No smooth map to interpolate: carry every eigenvalue.
                    cut[k] = Cut { low: spectra[k].len(), high: 0 };
                    again = true;
                }
            }
            if !again {
                let objective = self.objective(&points, &end.at);
                let values = [0, 1].map(|k| bulk[k].spread(spectra[k], &end.at[k]));
                return Strengths::new(values, objective, end.steps);
            }
        }
    }

    /// F at weighted points.
    fn objective(&self, points: &[Points; 2], at: &[Vec<f64>; 2]) -> f64 {
        let linear = |p: &Points, a: &[f64]| -> f64 {
            p.weight.iter().zip(&p.e).zip(a).map(|((w, e), a)| w * (e * a + self.ridge * a * a)).sum()
        };
        let log: f64 = points[0]
            .weight
            .iter()
            .zip(&at[0])
            .map(|(w, a)| w * points[1].weight.iter().zip(&at[1]).map(|(w, b)| w * (a + b).ln()).sum::<f64>())
            .sum();
        linear(&points[0], &at[0]) + linear(&points[1], &at[1]) - log
    }

    /// True gradient at `at`: g₁ᵢ = e₁ᵢ − Σⱼ wⱼ/(aᵢ + bⱼ) + 2ρaᵢ and the same for the columns, with
    /// one reciprocal for each pair.
    fn gradient(&self, points: &[Points; 2], at: &[Vec<f64>; 2], out: &mut [Vec<f64>; 2]) {
        const LANES: usize = 8;
        let (p, q) = (&points[0], &points[1]);
        let [g1, g2] = out;
        g2.iter_mut().zip(&q.e).zip(&at[1]).for_each(|((g, e), b)| *g = e + 2.0 * self.ridge * b);
        let whole = at[1].len() - at[1].len() % LANES;
        for (i, &a) in at[0].iter().enumerate() {
            let w1 = p.weight[i];
            let mut sums = [0.0; LANES];
            let tiles = g2[..whole].chunks_exact_mut(LANES);
            for ((g, b), w) in tiles.zip(at[1].chunks_exact(LANES)).zip(q.weight.chunks_exact(LANES)) {
                for l in 0..LANES {
                    let r = 1.0 / (a + b[l]);
                    sums[l] += w[l] * r;
                    g[l] -= w1 * r;
                }
            }
            let mut sum = sums.iter().sum::<f64>();
            for j in whole..at[1].len() {
                let r = 1.0 / (a + at[1][j]);
                sum += q.weight[j] * r;
                g2[j] -= w1 * r;
            }
            g1[i] = p.e[i] - sum + 2.0 * self.ridge * a;
        }
    }

    /// The recursion of the module's head on weighted points; `on_step` sees every accepted point.
    fn descend(&self, points: &[Points; 2], mut on_step: impl FnMut(&[Vec<f64>; 2])) -> Descent {
        let like = |v: f64| [vec![v; points[0].e.len()], vec![v; points[1].e.len()]];
        let (mut at, mut trial) = (like(1.0), like(0.0));
        let (mut gradient, mut ahead, mut down) = (like(0.0), like(0.0), like(0.0));
        let mut touched = [vec![false; at[0].len()], vec![false; at[1].len()]];
        let mut step = 1.0f64;
        let mut steps = 0;
        self.gradient(points, &at, &mut gradient);
        while steps < self.steps {
            let sums = [0, 1].map(|k| dot(&points[k].weight, &gradient[k]));
            let tau = (sums[0] + sums[1]) / 2.0;
            for k in 0..2 {
                let shift = (tau - sums[k]) / points[k].size;
                down[k].iter_mut().zip(&gradient[k]).for_each(|(d, g)| *d = g + shift);
            }
            let mut before = None;
            let mut accepted = false;
            for _ in 0..HALVINGS {
                for k in 0..2 {
                    for ((t, a), d) in trial[k].iter_mut().zip(&at[k]).zip(&down[k]) {
                        *t = (a - step * d).clamp(CLAMP.0, CLAMP.1);
                    }
                }
                self.gradient(points, &trial, &mut ahead);
                let bound: f64 =
                    [0, 1].iter().map(|&k| rise(&points[k].weight, &ahead[k], &trial[k], &at[k])).sum();
                accepted = bound <= 0.0
                    || self.objective(points, &trial)
                        <= *before.get_or_insert_with(|| self.objective(points, &at));
                if accepted {
                    break;
                }
                step *= 0.5;
            }
            steps += 1;
            if !accepted {
                break;
            }
            let moved = [0, 1].map(|k| distance(&points[k].weight, &trial[k], &at[k]));
            std::mem::swap(&mut at, &mut trial);
            std::mem::swap(&mut gradient, &mut ahead);
            for k in 0..2 {
                for (t, a) in touched[k].iter_mut().zip(&at[k]) {
                    *t |= *a <= CLAMP.0 || *a >= CLAMP.1;
                }
            }
            on_step(&at);
            if moved[0].max(moved[1]) < STILL {
                break;
            }
        }
        Descent { at, steps, touched }
    }
}

/// `Σ wᵢ gᵢ`.
fn dot(weight: &[f64], g: &[f64]) -> f64 {
    weight.iter().zip(g).map(|(w, g)| w * g).sum()
}

/// `Σ wᵢ gᵢ (newᵢ − oldᵢ)`, the bound on the rise of a convex function.
fn rise(weight: &[f64], g: &[f64], new: &[f64], old: &[f64]) -> f64 {
    weight.iter().zip(g).zip(new.iter().zip(old)).map(|((w, g), (n, o))| w * g * (n - o)).sum()
}

/// `sqrt Σ wᵢ (newᵢ − oldᵢ)²`; weights of nodes may be negative, so the sum is kept from it.
fn distance(weight: &[f64], new: &[f64], old: &[f64]) -> f64 {
    let square: f64 = weight.iter().zip(new.iter().zip(old)).map(|(w, (n, o))| w * (n - o) * (n - o)).sum();
    square.max(0.0).sqrt()
}

/// Weighted points of one axis: the recursion needs nothing else.
#[derive(Clone, Debug)]
struct Points {
    e: Vec<f64>,
    weight: Vec<f64>,
    /// True number of eigenvalues, the sum of the weights.
    size: f64,
}

impl Points {
    fn exact(e: &[f64]) -> Points {
        Points { e: e.to_vec(), weight: vec![1.0; e.len()], size: e.len() as f64 }
    }
}

/// End of the recursion on points.
struct Descent {
    at: [Vec<f64>; 2],
    steps: usize,
    /// Points that touched a clamp at any step.
    touched: [Vec<bool>; 2],
}

/// How many eigenvalues at each end of an ascending spectrum are carried exactly.
#[derive(Clone, Copy, Debug)]
struct Cut {
    low: usize,
    high: usize,
}

impl Cut {
    /// Leaves out end points that stand far from the rest, and keeps at least `rest` in the bulk.
    fn outliers(e: &[f64], rest: usize) -> Cut {
        let mut cut = Cut { low: 0, high: 0 };
        while cut.low + cut.high + rest < e.len() {
            let (lo, hi) = (cut.low, e.len() - 1 - cut.high);
            let range = e[hi] - e[lo];
            let (without_low, without_high) = (e[hi] - e[lo + 1], e[hi - 1] - e[lo]);
            if without_low <= without_high && without_low < SHRINKS * range && cut.low < OUTLIERS {
                cut.low += 1;
            } else if without_high < SHRINKS * range && cut.high < OUTLIERS {
                cut.high += 1;
            } else {
                break;
            }
        }
        cut
    }

    /// Also leaves out every eigenvalue from `kink` on, and at least one more than before.
    fn below(self, e: &[f64], kink: f64) -> Cut {
        let high = e.iter().rev().take_while(|e| **e >= kink).count();
        Cut { high: high.max(self.high + 1).min(e.len() - self.low), ..self }
    }
}

/// A spectrum as Chebyshev nodes for the bulk and exact points for its ends.
struct Bulk {
    cut: Cut,
    nodes: Option<Nodes>,
}

impl Bulk {
    /// Nodes where they are fewer than the eigenvalues they stand for.
    fn new(e: &[f64], cut: Cut, count: usize) -> Bulk {
        let bulk = &e[cut.low..e.len() - cut.high];
        Bulk { cut, nodes: (bulk.len() > count).then(|| Nodes::new(bulk, count)) }
    }

    /// Nodes first, then the low end, then the high end.
    fn points(&self, e: &[f64]) -> Points {
        let Some(nodes) = &self.nodes else { return Points::exact(e) };
        let mut points = Points { e: nodes.x.clone(), weight: nodes.weight.clone(), size: e.len() as f64 };
        points.e.extend_from_slice(&e[..self.cut.low]);
        points.e.extend_from_slice(&e[e.len() - self.cut.high..]);
        points.weight.resize(points.e.len(), 1.0);
        points
    }

    /// Values at all eigenvalues from values at the points.
    fn spread(&self, e: &[f64], at: &[f64]) -> Vec<f64> {
        let Some(nodes) = &self.nodes else { return at.to_vec() };
        let count = nodes.x.len();
        let coefficients = nodes.coefficients(&at[..count]);
        let mut out = at[count..count + self.cut.low].to_vec();
        let bulk = &e[self.cut.low..e.len() - self.cut.high];
        out.extend(bulk.iter().map(|&e| nodes.evaluate(&coefficients, e).clamp(CLAMP.0, CLAMP.1)));
        out.extend_from_slice(&at[count + self.cut.low..]);
        out
    }
}

/// Chebyshev nodes xₖ of the first kind on the range of a set of points, with wₖ = Σⱼ ℓₖ(eⱼ).
struct Nodes {
    centre: f64,
    half: f64,
    x: Vec<f64>,
    weight: Vec<f64>,
}

impl Nodes {
    fn new(e: &[f64], count: usize) -> Nodes {
        let (lo, hi) = (e[0], e[e.len() - 1]);
        let (centre, half) = ((lo + hi) / 2.0, ((hi - lo) / 2.0).max(f64::MIN_POSITIVE));
        let mut nodes = Nodes { centre, half, x: Vec::new(), weight: Vec::new() };
        nodes.x = (0..count).map(|k| centre + half * angle(k, count).cos()).collect();
        // Σⱼ T_q(sⱼ), by the three-term recurrence.
        let mut moments = vec![0.0; count];
        for &e in e {
            let s = nodes.scaled(e);
            let (mut before, mut now) = (1.0, s);
            moments[0] += 1.0;
            for moment in &mut moments[1..] {
                *moment += now;
                (before, now) = (now, 2.0 * s * now - before);
            }
        }
        // ℓₖ(s) = (1/N)(1 + 2 Σ_q T_q(xₖ) T_q(s))
        nodes.weight = (0..count)
            .map(|k| {
                let tail: f64 = (1..count).map(|q| (q as f64 * angle(k, count)).cos() * moments[q]).sum();
                (moments[0] + 2.0 * tail) / count as f64
            })
            .collect();
        nodes
    }

    /// e on the interval −1 to 1.
    fn scaled(&self, e: f64) -> f64 {
        ((e - self.centre) / self.half).clamp(-1.0, 1.0)
    }

    /// Chebyshev coefficients of the polynomial through `values` at the nodes.
    fn coefficients(&self, values: &[f64]) -> Vec<f64> {
        let count = values.len();
        let sum = |q: usize| -> f64 {
            values.iter().enumerate().map(|(k, v)| v * (q as f64 * angle(k, count)).cos()).sum()
        };
        (0..count).map(|q| if q == 0 { 1.0 } else { 2.0 } / count as f64 * sum(q)).collect()
    }

    /// Clenshaw's sum.
    fn evaluate(&self, coefficients: &[f64], e: f64) -> f64 {
        let s = self.scaled(e);
        let (mut b1, mut b2) = (0.0, 0.0);
        for c in coefficients[1..].iter().rev() {
            (b1, b2) = (2.0 * s * b1 - b2 + c, b1);
        }
        s * b1 - b2 + coefficients[0]
    }

    /// Whether the nodes resolve a(e), and 1/(a(e) + b) for the smallest b of the other axis, which
    /// is the steepest function that the sums over this axis contain.
    fn resolves(&self, values: &[f64], other: &[f64]) -> bool {
        let least = other.iter().copied().fold(f64::INFINITY, f64::min);
        let steep: Vec<f64> = values.iter().map(|a| 1.0 / (a + least)).collect();
        [values, &steep].iter().all(|values| {
            let c = self.coefficients(values);
            let largest = c.iter().fold(0.0f64, |m, c| m.max(c.abs()));
            let tail = c[c.len() - 2..].iter().fold(0.0f64, |m, c| m.max(c.abs()));
            tail <= RESOLVED * largest
        })
    }

    /// The smallest node that touched a clamp; larger e means smaller a, so the kink begins there at
    /// the latest. One node further in keeps a margin.
    fn first_touched(&self, touched: &[bool]) -> Option<f64> {
        // Nodes descend with k.
        let k = (0..self.x.len()).rev().find(|&k| touched[k])?;
        Some(self.x[(k + 1).min(self.x.len() - 1)])
    }
}

fn angle(k: usize, count: usize) -> f64 {
    (k as f64 + 0.5) * PI / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Draw, Seed};
    use crate::linalg;
    use ndarray::Array2;
    use rand_distr::{Distribution, StandardNormal};

    const KERNEL: Kernel = Kernel { steps: 1000, ridge: 0.0 };

    /// Spectra of ZZᵀ and ZᵀZ for a random Z of unit norm, columns of unequal size.
    fn spectra(n: usize, m: usize, seed: u64) -> [Vec<f64>; 2] {
        let mut rng = Seed(seed).stream(Draw::Simulate, 0);
        let mut z = Array2::from_shape_simple_fn((n, m), || -> f64 { StandardNormal.sample(&mut rng) });
        z.rows_mut().into_iter().enumerate().for_each(|(i, mut r)| r *= 0.5 + (i % 5) as f64);
        let norm = z.iter().map(|v| v * v).sum::<f64>().sqrt();
        z /= norm;
        [linalg::gram(z.view()), linalg::gram(z.t())].map(|s| linalg::eigh(s.view()).unwrap().values)
    }

    fn worst(a: &Strengths, b: &Strengths) -> f64 {
        let mut worst = 0.0f64;
        for k in 0..2 {
            let largest = a.values[k].iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (x, y) in a.values[k].iter().zip(&b.values[k]) {
                worst = worst.max((x - y).abs() / largest);
            }
        }
        worst
    }

    fn both(e: &[Vec<f64>; 2], kernel: Kernel) -> f64 {
        let e = [e[0].as_slice(), e[1].as_slice()];
        worst(&kernel.exact(e, None), &kernel.nodes(e))
    }

    #[test]
    fn nodes_agree_with_the_exact_kernel() {
        for (n, m, seed) in [(30, 40, 1), (100, 150, 2), (90, 20, 3), (130, 130, 4)] {
            for steps in [1, 10, 200, 1000] {
                let e = spectra(n, m, seed);
                let gap = both(&e, Kernel { steps, ..KERNEL });
                assert!(gap < 1e-9, "{n} × {m}, {steps} steps: {gap:e}");
            }
        }
    }

    #[test]
    fn nodes_agree_with_outliers_negative_values_and_clamps() {
        let base = spectra(80, 110, 5);
        let shifted = |f: &dyn Fn(usize, usize, f64) -> f64| -> [Vec<f64>; 2] {
            let mut k = 0;
            base.clone().map(|e| {
                let len = e.len();
                let mut e: Vec<f64> = e.into_iter().enumerate().map(|(i, e)| f(i, len, e)).collect();
                k += 1;
                e.sort_by(f64::total_cmp);
                e
            })
        };
        let cases = [
            ("a negative outlier", shifted(&|i, _, e| if i == 0 { e - 40.0 } else { e - 0.5 })),
            ("one huge value", shifted(&|i, len, e| if i + 1 == len { 0.9 } else { e })),
            ("many values past the clamp", shifted(&|i, len, e| if 4 * i > 3 * len { 0.3 + e } else { e })),
            (
                "half of them past the clamp",
                shifted(&|i, len, e| if 2 * i > len { 0.3 + 20.0 * e } else { e }),
            ),
            ("slightly negative", shifted(&|_, _, e| e - 0.004)),
        ];
        for (name, e) in cases {
            let gap = both(&e, KERNEL);
            assert!(gap < 1e-8, "{name}: {gap:e}");
            let gap = both(&e, Kernel { ridge: 0.01, ..KERNEL });
            assert!(gap < 1e-8, "{name}, ridge: {gap:e}");
        }
    }

    #[test]
    fn multiplicities_stand_for_repeated_eigenvalues() {
        let repeated = [vec![0.0, 0.0, 0.0, 0.3, 0.7], vec![0.0, 0.0, 0.3, 0.7]];
        let long = KERNEL.exact([&repeated[0], &repeated[1]], None);
        let e = [0.0, 0.3, 0.7];
        let short = KERNEL.weighted([(&e, &[3.0, 1.0, 1.0]), (&e, &[2.0, 1.0, 1.0])]);
        assert!((long.values[0][2] - short.values[0][0]).abs() < 1e-12 * long.values[0][2]);
        assert!((long.values[1][3] - short.values[1][2]).abs() < 1e-12 * long.values[1][3].abs().max(1.0));
        assert!((long.objective - short.objective).abs() < 1e-9);
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        let e = spectra(6, 9, 6);
        let kernel = Kernel { steps: 1, ridge: 0.3 };
        let points = [Points::exact(&e[0]), Points::exact(&e[1])];
        let at =
            [vec![1.3, 0.7, 2.0, 1.1, 0.9, 1.6], (1..=9).map(|j| 0.4 + 0.2 * j as f64).collect::<Vec<_>>()];
        let mut g = at.clone();
        kernel.gradient(&points, &at, &mut g);
        for k in 0..2 {
            for i in 0..at[k].len() {
                let shifted = |h: f64| {
                    let mut at = at.clone();
                    at[k][i] += h;
                    kernel.objective(&points, &at)
                };
                let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((slope - g[k][i]).abs() < 1e-7, "axis {k}, {i}: {slope} against {}", g[k][i]);
            }
        }
    }

    #[test]
    fn the_objective_falls_at_every_step() {
        let e = spectra(40, 50, 7);
        let mut trace = Vec::new();
        KERNEL.exact([&e[0], &e[1]], Some(&mut trace));
        assert_eq!(trace.len(), 1000);
        assert!(trace.windows(2).all(|w| w[1] <= w[0]));
    }
}
