//! Small convex quadratic programs, solved exactly: over the orthant and over the simplex.
//!
//! ```text
//! min ½ xᵗH x − hᵗx   over   x ≥ 0                 optimal where  g = H x − h ≥ 0,       x_k g_k = 0
//! min ½ zᵗH z − hᵗz   over   z ≥ 0, Σ z = 1        optimal where  g + μ 1 ≥ 0,  z_k (g_k + μ) = 0
//! ```
//!
//! Both by the active-set method of Lawson and Hanson (`lawson1974`): the minimum over a set of free components is solved by
//! Cholesky; a step towards it that leaves the feasible set is cut at the border, where a component is fixed at 0; at a
//! minimum, the fixed component whose multiplier is most negative is freed. Every step lowers the objective, and there
//! are finitely many sets. A start near the solution has nearly its set: two or three factorisations of at most K × K.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | H      | K × K | symmetric, positive semi-definite; a ridge of 1e-12 of its largest diagonal entry makes it definite |
//! | h      | K     | linear term |
//! | x, z   | K     | solution; a feasible start before |

/// Multipliers down to this share of the size of the gradient count as 0.
const SLACK: f64 = 1e-12;
/// Ridge, as a share of the largest diagonal entry.
const RIDGE: f64 = 1e-12;

/// Room for programs of one size; reused.
#[derive(Clone, Debug, Default)]
pub struct Quadratic {
    free: Vec<usize>,
    /// Cholesky factor of the free part, by rows.
    factor: Vec<f64>,
    target: Vec<f64>,
    ones: Vec<f64>,
}

impl Quadratic {
    /// x over the orthant. H is `scale` times the K × K table `h2`, by rows.
    pub fn orthant(&mut self, h2: &[f64], scale: f64, linear: &[f64], x: &mut [f64]) {
        self.solve(h2, scale, linear, x, false);
    }

    /// z over the simplex; the start need not sum to 1.
    pub fn simplex(&mut self, h2: &[f64], scale: f64, linear: &[f64], z: &mut [f64]) {
        let sum: f64 = z.iter().map(|z| z.max(0.0)).sum();
        match sum > 0.0 && sum.is_finite() {
            true => z.iter_mut().for_each(|z| *z = z.max(0.0) / sum),
            false => z.fill(1.0 / z.len() as f64),
        }
        self.solve(h2, scale, linear, z, true);
    }

    fn solve(&mut self, h2: &[f64], scale: f64, linear: &[f64], x: &mut [f64], sums_to_one: bool) {
        let k = x.len();
        let ridge = RIDGE * scale * (0..k).fold(0.0, |m: f64, i| m.max(h2[i * k + i]));
        let entry = |i: usize, j: usize| scale * h2[i * k + j] + if i == j { ridge } else { 0.0 };
        x.iter_mut().for_each(|x| *x = x.max(0.0));
        self.free.clear();
        self.free.extend((0..k).filter(|&i| x[i] > 0.0));
        // Each round frees one component; cycling is impossible but for rounding.
        for _ in 0..4 * k + 4 {
            let mut shift = 0.0;
            // To the minimum over the free components, by way of the borders on the way.
            while !self.free.is_empty() {
                shift = self.minimum(&entry, linear, sums_to_one);
                let mut length = 1.0;
                let mut border = None;
                for (at, &i) in self.free.iter().enumerate() {
                    if self.target[at] <= 0.0 {
                        // A component that starts at 0 and has nowhere to go stops the step at once.
                        let reach = if x[i] > 0.0 { x[i] / (x[i] - self.target[at]) } else { 0.0 };
                        if border.is_none() || reach < length {
                            (length, border) = (reach, Some(at));
                        }
                    }
                }
                for (at, &i) in self.free.iter().enumerate() {
                    x[i] += length * (self.target[at] - x[i]);
                }
                let Some(at) = border else { break };
                x[self.free[at]] = 0.0;
                self.free.remove(at);
            }
            let (mut worst, mut freed) = (0.0, None);
            for j in 0..k {
                if self.free.binary_search(&j).is_ok() {
                    continue;
                }
                let (mut gradient, mut size) = (shift - linear[j], shift.abs() + linear[j].abs());
                for &i in &self.free {
                    let term = scale * h2[j * k + i] * x[i];
                    gradient += term;
                    size += term.abs();
                }
                if gradient < worst && gradient < -SLACK * size {
                    (worst, freed) = (gradient, Some(j));
                }
            }
            let Some(j) = freed else { return };
            let at = self.free.partition_point(|&i| i < j);
            self.free.insert(at, j);
        }
    }

    /// Minimum over the free components into `target`; the multiplier μ of the sum.
    fn minimum(&mut self, entry: &impl Fn(usize, usize) -> f64, linear: &[f64], sums_to_one: bool) -> f64 {
        let Quadratic { free, factor, target, ones } = self;
        let p = free.len();
        factor.resize(p * p, 0.0);
        for a in 0..p {
            for b in 0..=a {
                let mut sum = entry(free[a], free[b]);
                for c in 0..b {
                    sum -= factor[a * p + c] * factor[b * p + c];
                }
                factor[a * p + b] =
                    if a == b { sum.max(f64::MIN_POSITIVE).sqrt() } else { sum / factor[b * p + b] };
            }
        }
        target.clear();
        target.extend(free.iter().map(|&i| linear[i]));
        substitute(factor, target);
        if !sums_to_one {
            return 0.0;
        }
        ones.clear();
        ones.resize(p, 1.0);
        substitute(factor, ones);
        let shift = (target.iter().sum::<f64>() - 1.0) / ones.iter().sum::<f64>();
        target.iter_mut().zip(&*ones).for_each(|(t, o)| *t -= shift * o);
        shift
    }
}

/// (L Lᵗ)⁻¹ b in place.
fn substitute(factor: &[f64], b: &mut [f64]) {
    let p = b.len();
    for a in 0..p {
        for c in 0..a {
            b[a] -= factor[a * p + c] * b[c];
        }
        b[a] /= factor[a * p + a];
    }
    for a in (0..p).rev() {
        for c in a + 1..p {
            b[a] -= factor[c * p + a] * b[c];
        }
        b[a] /= factor[a * p + a];
    }
}

/// The point of the simplex next to v, in place: max(v − θ, 0) with Σ = 1 (`michelot1986`). `room` is scratch.
pub fn project_to_simplex(v: &mut [f64], room: &mut Vec<f64>) {
    // Shrinks the set of components above the threshold that it implies, until it stays.
    room.clear();
    room.extend_from_slice(v);
    let mut theta = (room.iter().sum::<f64>() - 1.0) / room.len() as f64;
    loop {
        let before = room.len();
        room.retain(|v| *v > theta);
        if room.len() == before || room.is_empty() {
            break;
        }
        theta = (room.iter().sum::<f64>() - 1.0) / room.len() as f64;
    }
    v.iter_mut().for_each(|v| *v = (*v - theta).max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    type Rng = rand_chacha::ChaCha8Rng;

    fn problem(rng: &mut Rng, k: usize) -> (Vec<f64>, Vec<f64>) {
        let rows = k + 1 + (rng.random::<f64>() * 20.0) as usize;
        let a: Vec<f64> = (0..rows * k).map(|_| rng.random::<f64>() - 0.2).collect();
        let mut h2 = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..k {
                h2[i * k + j] = (0..rows).map(|r| a[r * k + i] * a[r * k + j]).sum();
            }
        }
        (h2, (0..k).map(|_| 4.0 * rng.random::<f64>() - 1.0).collect())
    }

    fn value(h2: &[f64], scale: f64, h: &[f64], x: &[f64]) -> f64 {
        let k = x.len();
        let quadratic: f64 = (0..k).map(|i| (0..k).map(|j| x[i] * h2[i * k + j] * x[j]).sum::<f64>()).sum();
        0.5 * scale * quadratic - x.iter().zip(h).map(|(x, h)| x * h).sum::<f64>()
    }

    /// The slow twin: projected gradient steps, very many.
    fn descend(h2: &[f64], scale: f64, h: &[f64], project: impl Fn(&mut Vec<f64>)) -> Vec<f64> {
        let k = h.len();
        let step = 1.0 / (scale * (0..k).map(|i| h2[i * k + i]).sum::<f64>());
        let mut x = vec![1.0 / k as f64; k];
        let (mut y, mut t) = (x.clone(), 1.0f64);
        for _ in 0..200_000 {
            let mut next: Vec<f64> = (0..k)
                .map(|i| y[i] - step * (scale * (0..k).map(|j| h2[i * k + j] * y[j]).sum::<f64>() - h[i]))
                .collect();
            project(&mut next);
            let ahead = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
            let restart: f64 = (0..k).map(|i| (y[i] - next[i]) * (next[i] - x[i])).sum();
            y = (0..k)
                .map(|i| next[i] + if restart > 0.0 { 0.0 } else { (t - 1.0) / ahead * (next[i] - x[i]) })
                .collect();
            t = if restart > 0.0 { 1.0 } else { ahead };
            x = next;
        }
        x
    }

    #[test]
    fn solutions_are_those_of_projected_gradients() {
        let mut rng = Rng::seed_from_u64(3);
        let mut room = Quadratic::default();
        for trial in 0..12 {
            let k = 1 + trial;
            let (h2, h) = problem(&mut rng, k);
            let scale = 0.3 + 3.0 * rng.random::<f64>();
            let mut x: Vec<f64> = (0..k).map(|_| (rng.random::<f64>() - 0.5).max(0.0)).collect();
            room.orthant(&h2, scale, &h, &mut x);
            let twin = descend(&h2, scale, &h, |x| x.iter_mut().for_each(|x| *x = x.max(0.0)));
            let gap = x.iter().zip(&twin).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
            assert!(gap < 1e-8 * (1.0 + twin.iter().fold(0.0, |m: f64, t| m.max(*t))), "{k}: {x:?} {twin:?}");
            let mut z: Vec<f64> = (0..k).map(|_| rng.random::<f64>()).collect();
            room.simplex(&h2, scale, &h, &mut z);
            let twin = descend(&h2, scale, &h, |z| project_to_simplex(z, &mut Vec::new()));
            let gap = z.iter().zip(&twin).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
            assert!(gap < 1e-8 && (z.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{k}: {z:?} {twin:?}");
        }
    }

    #[test]
    fn no_solve_raises_the_objective() {
        let mut rng = Rng::seed_from_u64(4);
        let mut room = Quadratic::default();
        for _ in 0..3000 {
            let k = 1 + (rng.random::<f64>() * 15.0) as usize;
            let (mut h2, h) = problem(&mut rng, k);
            if rng.random::<f64>() < 0.2 && k > 1 {
                // Two components that nothing tells apart.
                for i in 0..k {
                    h2[i * k] = h2[i * k + 1];
                }
                for j in 0..k {
                    h2[j] = h2[k + j];
                }
            }
            let start: Vec<f64> = (0..k).map(|_| (rng.random::<f64>() - 0.3).max(0.0)).collect();
            let mut x = start.clone();
            room.orthant(&h2, 1.0, &h, &mut x);
            let (before, after) = (value(&h2, 1.0, &h, &start), value(&h2, 1.0, &h, &x));
            assert!(
                after <= before + 1e-9 * (1.0 + before.abs()) && x.iter().all(|x| *x >= 0.0),
                "{before} {after}"
            );
            let sum: f64 = start.iter().sum();
            if sum > 0.0 {
                let on: Vec<f64> = start.iter().map(|s| s / sum).collect();
                let mut z = start.clone();
                room.simplex(&h2, 1.0, &h, &mut z);
                let (before, after) = (value(&h2, 1.0, &h, &on), value(&h2, 1.0, &h, &z));
                assert!(
                    after <= before + 1e-9 * (1.0 + before.abs()) && z.iter().all(|z| *z >= 0.0),
                    "{before} {after}"
                );
            }
        }
    }

    #[test]
    fn projections_are_the_nearest_points() {
        let mut rng = Rng::seed_from_u64(5);
        let mut room = Vec::new();
        for _ in 0..2000 {
            let k = 1 + (rng.random::<f64>() * 30.0) as usize;
            let v: Vec<f64> = (0..k).map(|_| 6.0 * rng.random::<f64>() - 3.0).collect();
            let mut z = v.clone();
            project_to_simplex(&mut z, &mut room);
            // The slow twin: the threshold by sorting.
            let mut sorted = v.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let (mut sum, mut theta) = (0.0, 0.0);
            for (n, s) in sorted.iter().enumerate() {
                sum += s;
                let at = (sum - 1.0) / (n + 1) as f64;
                if *s > at {
                    theta = at;
                }
            }
            assert!(z.iter().zip(&v).all(|(z, v)| (z - (v - theta).max(0.0)).abs() < 1e-12), "{v:?}");
        }
    }
}
