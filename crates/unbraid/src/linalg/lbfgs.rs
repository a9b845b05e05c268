//! Minimising a smooth function of many variables by its gradients: BFGS with a memory of a few steps (`nocedal2006`,
//! algorithms 7.4 and 7.5), each step shortened until the function has fallen enough.

/// Steps that are remembered.
const MEMORY: usize = 8;
/// Share of the fall that the slope promises which a step must reach.
const ENOUGH: f64 = 1e-4;
/// Most halvings of a step.
const HALVINGS: usize = 40;

/// How a minimisation went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// The function at the point returned, never above that at the start.
    pub value: f64,
    /// Steps taken.
    pub steps: usize,
    /// Largest entry of the gradient at the point returned.
    pub slope: f64,
}

/// Moves `x` to a point where no entry of the gradient is larger than `tol`, by at most `most` steps. `of` gives the function at a
/// point and writes the gradient.
pub fn minimise(
    mut of: impl FnMut(&[f64], &mut [f64]) -> f64,
    x: &mut [f64],
    most: usize,
    tol: f64,
) -> Course {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = of(x, &mut gradient);
    let (mut next, mut next_gradient) = (x.to_vec(), vec![0.0; n]);
    // (step, change of the gradient, 1 / their product)
    let mut memory: std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)> = Default::default();
    let mut steps = 0;
    let slope = |g: &[f64]| g.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    while steps < most && slope(&gradient) > tol {
        let mut along: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(memory.len());
        for (step, change, over) in memory.iter().rev() {
            let share = over * dot(step, &along);
            along.iter_mut().zip(change).for_each(|(a, c)| *a -= share * c);
            shares.push(share);
        }
        let scale = match memory.back() {
            Some((step, change, _)) => dot(step, change) / dot(change, change),
            // A first step of length at most one.
            None => 1.0 / dot(&gradient, &gradient).sqrt().max(1.0),
        };
        along.iter_mut().for_each(|a| *a *= scale);
        for ((step, change, over), share) in memory.iter().zip(shares.iter().rev()) {
            let back = over * dot(change, &along);
            along.iter_mut().zip(step).for_each(|(a, s)| *a += (share - back) * s);
        }
        let fall = dot(&gradient, &along);
        if !(fall < 0.0) {
            if memory.is_empty() {
                break;
            }
            memory.clear();
            continue;
        }
        let mut length = 1.0;
        let mut found = false;
        for _ in 0..HALVINGS {
            next.iter_mut().zip(&*x).zip(&along).for_each(|((n, x), a)| *n = x + length * a);
            let there = of(&next, &mut next_gradient);
            if there <= value + ENOUGH * length * fall {
                found = true;
                let step: Vec<f64> = next.iter().zip(&*x).map(|(n, x)| n - x).collect();
                let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(n, g)| n - g).collect();
                let along = dot(&step, &change);
                if along > 1e-14 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
                    memory.push_back((step, change, 1.0 / along));
                }
                if memory.len() > MEMORY {
                    memory.pop_front();
                }
                value = there;
                x.copy_from_slice(&next);
                std::mem::swap(&mut gradient, &mut next_gradient);
                break;
            }
            length *= 0.5;
        }
        if !found {
            // Rounding hides the rest of the fall; with a memory, try the gradient once more.
            if memory.is_empty() {
                break;
            }
            memory.clear();
            continue;
        }
        steps += 1;
    }
    Course { value, steps, slope: slope(&gradient) }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valley_is_followed_to_its_bottom() {
        // Rosenbrock's function in six variables.
        let of = |x: &[f64], g: &mut [f64]| {
            g.fill(0.0);
            let mut sum = 0.0;
            for i in 0..x.len() - 1 {
                let (a, b) = (1.0 - x[i], x[i + 1] - x[i] * x[i]);
                sum += a * a + 100.0 * b * b;
                g[i] += -2.0 * a - 400.0 * x[i] * b;
                g[i + 1] += 200.0 * b;
            }
            sum
        };
        let mut x = vec![0.3, 0.0, 0.5, 0.3, 1.5, 0.7];
        let course = minimise(of, &mut x, 1000, 1e-8);
        assert!(course.slope <= 1e-8 && course.value < 1e-14, "{course:?}");
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-8), "{x:?}");
    }

    #[test]
    fn values_never_rise() {
        let mut seen = Vec::new();
        let mut x = vec![3.0, -2.0];
        let of = |x: &[f64], g: &mut [f64]| {
            (g[0], g[1]) = (x[0].sinh(), 4.0 * x[1].sinh());
            x[0].cosh() + 4.0 * x[1].cosh()
        };
        for _ in 0..20 {
            seen.push(minimise(of, &mut x, 1, 0.0).value);
        }
        assert!(seen.windows(2).all(|w| w[1] <= w[0]) && (seen[19] - 5.0).abs() < 1e-9, "{seen:?}");
    }
}
