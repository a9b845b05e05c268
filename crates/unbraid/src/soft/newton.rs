//! Newton's method on the m potentials.
//!
//! The step solves L z = b − s with L the Laplacian, and g += ε t z. A pass for s alone costs a fraction of one
//! for L, so that a factor is kept while steps with it still reduce the error well. Full steps (t = 1) are taken
//! as long as they reduce max_j |s_j − b_j| / b_j. When one does not, the steps are damped,
//!
//! ```text
//! t = log(1 + β) / β,   β = max_j z_j − min_j z_j,
//! ```
//!
//! for which the objective rises at every step, whatever the start: along z its third derivative is at most β times
//! the second (sun2019). Damped steps become full ones by themselves as β falls.
//!
//! Far away, where some s_j is many times too small or too large, a scaling g_j += ε log(b_j / s_j) is the better
//! step, as s_j is nearly exponential in g_j.

use super::inverse::Inverse;
use super::kernel::padded;
use super::layer::Layer;
use super::row::Row;

/// How a solve went.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub iterations: usize,
    pub rescues: usize,
    pub error: f64,
}

/// What the solver needs besides the row; reused.
#[derive(Clone, Debug, Default)]
pub struct Newton {
    best: Vec<f64>,
    step: Vec<f64>,
    size: Vec<f64>,
    image: Vec<f64>,
}

/// Most steps.
const STEPS: usize = 500;
/// Most scalings in a row.
const SCALINGS: usize = 30;
/// A factor is used again while a step reduces the error at least to this share.
const GOOD: f64 = 0.1;
/// Longest step, in units of ε, that is tried undamped.
const LONG: f64 = 8.0;
/// Steps without improvement, near the end, that tell that rounding forbids more.
const STALLS: usize = 6;

impl Newton {
    /// Solves Wᵀa = b for g, to a relative error of `tol`; leaves the row at the g returned.
    ///
    /// `known` is the error of the row at g, if its sums are those at g already. `factor` says that the Laplacian of the
    /// row holds a factor worth a try; on return, whether it holds one of a few steps before.
    pub fn solve(
        &mut self,
        row: &mut Row,
        layer: &Layer,
        b: &[f64],
        g: &mut [f64],
        tol: f64,
        mut known: Option<f64>,
        factor: &mut bool,
    ) -> Course {
        let epsilon = layer.epsilon();
        let Newton { best, step, size, .. } = self;
        best.clear();
        best.extend_from_slice(g);
        let mut course = Course { iterations: 0, rescues: 0, error: f64::INFINITY };
        let mut usable = std::mem::take(factor);
        let (mut fresh, mut damped) = (false, false);
        let (mut least, mut before, mut scalings, mut stalls) = (f64::INFINITY, f64::INFINITY, 0, 0);
        loop {
            course.error = known.take().unwrap_or_else(|| row.marginals(layer, b, g));
            if course.error <= tol {
                *factor = usable;
                return course;
            }
            if course.error < least {
                (least, stalls) = (course.error, 0);
                best.copy_from_slice(g);
            } else {
                stalls += usize::from(least < 1e-6);
                if !damped {
                    // A fresh factor and a full step: only damping is left.
                    damped = fresh;
                    course.rescues += usize::from(fresh);
                    usable = false;
                    g.copy_from_slice(best);
                    course.error = row.marginals(layer, b, g);
                }
            }
            if course.iterations == STEPS || stalls == STALLS {
                break;
            }
            course.iterations += 1;
            let apart = b.iter().zip(&row.s).any(|(b, s)| *s > 8.0 * b || *b > 8.0 * s);
            if (apart && scalings < SCALINGS) || !course.error.is_finite() {
                scalings += 1;
                for ((g, b), s) in g.iter_mut().zip(b).zip(&row.s) {
                    *g += epsilon * (b / s.max(f64::MIN_POSITIVE)).ln();
                }
                centre(g);
                (usable, fresh, least, before) = (false, false, f64::INFINITY, f64::INFINITY);
                continue;
            }
            fresh = damped || !usable || course.error > GOOD * before;
            if fresh {
                row.factorise();
                usable = true;
            }
            step.clear();
            step.extend(b.iter().zip(&row.s).map(|(b, s)| b - s));
            size.clear();
            size.extend(b.iter().zip(&row.s).map(|(b, s)| b + s));
            row.laplacian.solve(row.arch, step, size);
            let (low, high) = step.iter().fold((0.0, 0.0), |(l, h): (f64, f64), s| (l.min(*s), h.max(*s)));
            let length = (high - low).min(f64::MAX);
            let short = damped || length > LONG;
            let share = if short && length > 0.0 { length.ln_1p() / length } else { 1.0 };
            g.iter_mut().zip(&*step).for_each(|(g, z)| *g += epsilon * (share * z));
            centre(g);
            before = course.error;
            if short && !damped {
                // Its error may rise: let it stand.
                (least, before, usable) = (f64::INFINITY, f64::INFINITY, false);
            }
        }
        g.copy_from_slice(best);
        course.error = row.marginals(layer, b, g);
        course
    }
}

/// Most steps with a kept inverse.
const FOLLOWED: usize = 8;
/// A kept inverse is given up for a new factor once a step leaves more than this share of the error.
const FAIR: f64 = 0.4;

impl Newton {
    /// As [`Newton::solve`], for a row that has been solved before at potentials near g, with the inverse H kept from then:
    /// full steps g += ε H (b − s), from each of which H learns. `known` is the error at g. Returns nothing, with
    /// g the best found and H no longer ready, where that does not go well.
    pub fn follow(
        &mut self,
        row: &mut Row,
        layer: &Layer,
        b: &[f64],
        g: &mut [f64],
        tol: f64,
        known: f64,
        inverse: &mut Inverse,
    ) -> Option<Course> {
        let m = g.len();
        let Newton { best, step, size: residual, image, .. } = self;
        for each in [&mut *step, &mut *residual, &mut *image] {
            each.resize(padded(m), 0.0);
            each[m..].fill(0.0);
        }
        let mut course = Course { iterations: 0, rescues: 0, error: known };
        residual.iter_mut().zip(b.iter().zip(&row.s)).for_each(|(r, (b, s))| *r = b - s);
        while course.error > tol {
            inverse.times(row.arch, residual, step);
            best.clear();
            best.extend_from_slice(g);
            g.iter_mut().zip(&*step).for_each(|(g, z)| *g += layer.epsilon() * z);
            centre(g);
            let before = std::mem::replace(&mut course.error, row.marginals(layer, b, g));
            course.iterations += 1;
            let done = course.error <= tol;
            if !done && (course.iterations == FOLLOWED || !(course.error <= FAIR * before)) {
                inverse.ready = false;
                if !(course.error < before) {
                    g.copy_from_slice(best);
                }
                return None;
            }
            // y = L p about half way: the change of s.
            for ((y, r), (b, s)) in image.iter_mut().zip(&mut *residual).zip(b.iter().zip(&row.s)) {
                let before = std::mem::replace(r, b - s);
                *y = before - *r;
            }
            inverse.learn(row.arch, step, image);
        }
        Some(course)
    }
}

/// Takes the mean off.
pub fn centre(g: &mut [f64]) {
    let mean = g.iter().sum::<f64>() / g.len() as f64;
    g.iter_mut().for_each(|g| *g -= mean);
}
