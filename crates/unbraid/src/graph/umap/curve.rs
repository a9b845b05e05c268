//! The shape of nearness in the picture.
//!
//! ```text
//! (a, b) = argmin Σ_x (1/(1 + a x^{2b}) − ψ(x))²,     ψ(x) = 1 for x < min_dist, else exp(−(x − min_dist)/spread)
//! ```
//!
//! on 300 points from 0 to 3 `spread`, by damped Gauss–Newton steps from a = b = 1. 0.1 and 1 give a = 1.577, b = 0.895.

/// Points of the grid.
const GRID: usize = 300;
/// Steps at most.
const STEPS: usize = 500;

/// q = 1/(1 + a d^{2b}).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// a.
    pub a: f64,
    /// b.
    pub b: f64,
}

impl Curve {
    /// The curve nearest to ψ.
    pub fn fit(min_dist: f64, spread: f64) -> Curve {
        let xs: Vec<f64> = (0..GRID).map(|i| 3.0 * spread * i as f64 / (GRID - 1) as f64).collect();
        let psi = |x: f64| if x < min_dist { 1.0 } else { (-(x - min_dist) / spread).exp() };
        let loss = |c: Curve| xs.iter().map(|&x| (c.at(x) - psi(x)).powi(2)).sum::<f64>();
        let mut best = Curve { a: 1.0, b: 1.0 };
        let (mut least, mut damping) = (loss(best), 1e-3);
        for _ in 0..STEPS {
            // Normal equations of the Jacobian in (a, b): ∂q/∂a = −q² x^{2b},  ∂q/∂b = −q² a x^{2b} 2 ln x.
            let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for &x in xs.iter().filter(|x| **x > 0.0) {
                let q = best.at(x);
                let power = x.powf(2.0 * best.b);
                let (da, db) = (-q * q * power, -2.0 * q * q * best.a * power * x.ln());
                let rest = q - psi(x);
                (aa, ab, bb) = (aa + da * da, ab + da * db, bb + db * db);
                (ga, gb) = (ga + da * rest, gb + db * rest);
            }
            let (aa, bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
            let det = aa * bb - ab * ab;
            let step = Curve { a: (bb * ga - ab * gb) / det, b: (aa * gb - ab * ga) / det };
            let next = Curve { a: best.a - step.a, b: best.b - step.b };
            let value = if next.a > 0.0 && next.b > 0.0 { loss(next) } else { f64::INFINITY };
            if value < least {
                let gain = (least - value) / least;
                (best, least, damping) = (next, value, damping * 0.3);
                if gain < 1e-14 {
                    break;
                }
            } else {
                damping *= 4.0;
                if damping > 1e12 {
                    break;
                }
            }
        }
        best
    }

    /// q at a distance.
    pub fn at(self, x: f64) -> f64 {
        1.0 / (1.0 + self.a * x.powf(2.0 * self.b))
    }

    /// Coefficient of y_i − y_j in the gradient of log q at a squared distance above 0; negative.
    pub fn pull(self, d2: f64) -> f64 {
        let power = d2.powf(self.b);
        -2.0 * self.a * self.b * power / (d2 * (1.0 + self.a * power))
    }

    /// Coefficient of y_i − y_j in the gradient of log(1 − q), with 0.001 beside the squared distance; positive.
    pub fn push(self, d2: f64) -> f64 {
        2.0 * self.b / ((0.001 + d2) * (1.0 + self.a * d2.powf(self.b)))
    }
}
