//! The partition function of the simplex, its gradient and its Hessian.
//!
//! For η in R^K,
//!
//! ```text
//! Z(η) = ∫ exp(−ηᵗz) dz over the simplex z ≥ 0, Σ z = 1    (K − 1 dimensional, Z(0) = 1/(K − 1)!)
//! −∂ log Z/∂η_k = E[z_k],    ∂² log Z/∂η_k ∂η_l = Cov(z_k, z_l)    under the density exp(−ηᵗz)/Z.
//! ```
//!
//! The closed form Σ_k exp(−η_k)/Π_{j≠k}(η_j − η_k), a divided difference of the exponential, cancels without limit where
//! components are close. With m = max η and d = m − η ≥ 0 the same is a sum of positive terms,
//!
//! ```text
//! Z(η) = e^{−m} Σ_{n≥0} h_n(d) / (n + K − 1)!,
//! ```
//!
//! h_n the complete homogeneous symmetric polynomial: Σ_n h_n uⁿ = Π_k 1/(1 − d_k u). One more factor 1/(1 − d_k u) is Z of
//! K + 1 components with η_k twice, which is Z E\[z_k\]; two more give second moments:
//!
//! ```text
//! E[z_k] = Z(η, η_k)/Z(η),    E[z_k z_l] = (1 + δ_kl) Z(η, η_k, η_l)/Z(η).
//! ```
//!
//! A factor is the recursion h_n := h_n + d_k h_{n−1}. Nothing is subtracted, so that ties and near ties cost no digits. Weights
//! Dⁿ/(n + K − 1)!, D = max d, with h_n in units of Dⁿ, peak at n ≈ D; from D + 12 √(D + 1) + 30 on they are below rounding, and
//! so they are as far below the peak.
//!
//! | symbol | shape | meaning |
//! |--------|-------|---------|
//! | η      | K     | external field of a cell, finite |
//! | d, D   | K     | m − η and its largest |
//! | w_n    |       | weight of the n-th term over that of the largest |
//!
//! Baxter and Opitz forms of divided differences: `deboor2005`; the model that needs them: `shah2025`, section 2.2.

use pulp::{Arch, Simd, WithSimd};
use statrs::function::gamma::ln_gamma;

/// Cells worked on side by side.
pub const SIDE: usize = 8;

/// Terms of the series of one cell: the first one, one past the last, and the weight of the first.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    from: usize,
    to: usize,
    first: f64,
    /// log of the weight that is 1.
    unit: f64,
}

impl Terms {
    fn of(largest: f64, k: usize) -> Terms {
        let reach = 12.0 * (largest + 1.0).sqrt() + 30.0;
        let peak = (largest - k as f64).max(0.0).floor();
        let log = |n: f64| if n > 0.0 { n * largest.ln() } else { 0.0 } - ln_gamma(n + k as f64);
        let from = (peak - reach).max(0.0).floor();
        let unit = log(peak);
        Terms { from: from as usize, to: (largest + reach) as usize, first: (log(from) - unit).exp(), unit }
    }
}

/// log Z and E\[z\] of one cell after another.
///
/// `eta` and `means` are cells × `k`, by rows; `means` is overwritten by E\[z\]. Returns Σ log Z, added cell by cell.
pub fn log_partition(eta: &[f64], k: usize, means: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (eta, means) in eta.chunks(SIDE * k).zip(means.chunks_mut(SIDE * k)) {
        let cells = eta.len() / k;
        let logs = Arch::new().dispatch(Block { eta, k, means });
        sum += logs[..cells].iter().sum::<f64>();
    }
    sum
}

/// A term this far below the sum, past the peak, is the last.
const FADED: f64 = 1e-19;

/// Up to [`SIDE`] cells; those that are not there count as 0.
struct Block<'a> {
    eta: &'a [f64],
    k: usize,
    means: &'a mut [f64],
}

/// Most components that fit into registers and the stack at once.
pub const MOST: usize = 64;

impl WithSimd for Block<'_> {
    type Output = [f64; SIDE];
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; SIDE] {
        let Block { eta, k, means } = self;
        let cells = eta.len() / k;
        // r_k = d_k/D by component, cells beside each other.
        let mut ratio = [[0.0; SIDE]; MOST];
        let (mut top, mut largest) = ([0.0; SIDE], [0.0; SIDE]);
        let mut terms = [Terms::of(0.0, k); SIDE];
        for cell in 0..cells {
            let eta = &eta[cell * k..(cell + 1) * k];
            let (low, high) =
                eta.iter().fold((f64::MAX, f64::MIN), |(l, h): (f64, f64), e| (l.min(*e), h.max(*e)));
            (top[cell], largest[cell]) = (high, high - low);
            let over = if high > low { 1.0 / (high - low) } else { 0.0 };
            eta.iter().zip(&mut ratio).for_each(|(e, r)| r[cell] = (high - e) * over);
            terms[cell] = Terms::of(largest[cell], k);
        }
        let ratio = &ratio[..k];
        let mut plain = [[0.0; SIDE]; MOST];
        let mut twice = [[0.0; SIDE]; MOST];
        let mut sums = [[0.0; SIDE]; MOST];
        let (plain, twice, sums) = (&mut plain[..k], &mut twice[..k], &mut sums[..k]);
        let mut total = [0.0; SIDE];
        let mut weight = [0.0; SIDE];
        let last = terms.iter().map(|t| t.to).max().unwrap_or(0);
        for n in 0..last {
            for cell in 0..SIDE {
                if terms[cell].from == n {
                    weight[cell] = terms[cell].first;
                }
            }
            // h_n in units of Dⁿ: prefix by prefix of the components; before the first term there is 1 = h_0.
            let mut h = if n == 0 { [1.0; SIDE] } else { [0.0; SIDE] };
            for (plain, r) in plain.iter_mut().zip(ratio) {
                for cell in 0..SIDE {
                    h[cell] = fused::<S>(r[cell], plain[cell], h[cell]);
                }
                *plain = h;
            }
            let over = 1.0 / (n + k) as f64;
            let mut part = [0.0; SIDE];
            for cell in 0..SIDE {
                total[cell] = fused::<S>(weight[cell], h[cell], total[cell]);
                part[cell] = weight[cell] * over;
            }
            for ((twice, r), sum) in twice.iter_mut().zip(ratio).zip(&mut *sums) {
                for cell in 0..SIDE {
                    twice[cell] = fused::<S>(r[cell], twice[cell], h[cell]);
                    sum[cell] = fused::<S>(part[cell], twice[cell], sum[cell]);
                }
            }
            // Past the peak terms fall faster and faster: what is left is below rounding once the last one is, for all cells.
            let mut live = false;
            for cell in 0..SIDE {
                live |= (n as f64) < largest[cell] || weight[cell] * h[cell] > FADED * total[cell];
                weight[cell] = part[cell] * largest[cell];
            }
            if !live {
                break;
            }
        }
        for cell in 0..cells {
            let over = 1.0 / total[cell];
            let means = &mut means[cell * k..(cell + 1) * k];
            means.iter_mut().zip(&*sums).for_each(|(m, s)| *m = s[cell] * over);
        }
        std::array::from_fn(|cell| terms[cell].unit - top[cell] + total[cell].ln())
    }
}

#[inline(always)]
fn fused<S: Simd>(a: f64, b: f64, c: f64) -> f64 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// Cov(z) of one cell, K × K by rows, into `covariance`.
pub fn covariance(eta: &[f64], covariance: &mut [f64]) {
    let k = eta.len();
    let (low, high) = eta.iter().fold((f64::MAX, f64::MIN), |(l, h): (f64, f64), e| (l.min(*e), h.max(*e)));
    let largest = high - low;
    let over = if largest > 0.0 { 1.0 / largest } else { 0.0 };
    let ratio: Vec<f64> = eta.iter().map(|e| (high - e) * over).collect();
    let terms = Terms::of(largest, k);
    let (mut plain, mut twice, mut first) = (vec![0.0; k], vec![0.0; k], vec![0.0; k]);
    let mut thrice = vec![0.0; k * k];
    covariance.fill(0.0);
    let (mut total, mut weight) = (0.0, 0.0);
    for n in 0..terms.to {
        if n == terms.from {
            weight = terms.first;
        }
        let mut h = if n == 0 { 1.0 } else { 0.0 };
        for (plain, r) in plain.iter_mut().zip(&ratio) {
            h += r * *plain;
            *plain = h;
        }
        total += weight * h;
        let one = weight / (n + k) as f64;
        let two = one / (n + k + 1) as f64;
        for i in 0..k {
            twice[i] = h + ratio[i] * twice[i];
            first[i] += one * twice[i];
            for j in 0..=i {
                let at = i * k + j;
                thrice[at] = twice[i] + ratio[j] * thrice[at];
                covariance[at] += two * thrice[at];
            }
        }
        weight = one * largest;
    }
    // Rows sum to 0: a variance from its covariances loses fewer digits than from E[z²] − E[z]² where z is near a corner.
    for i in 0..k {
        for j in 0..i {
            let value = covariance[i * k + j] / total - (first[i] / total) * (first[j] / total);
            (covariance[i * k + j], covariance[j * k + i]) = (value, value);
        }
    }
    for i in 0..k {
        covariance[i * k + i] = 0.0;
        covariance[i * k + i] = -covariance[i * k..(i + 1) * k].iter().sum::<f64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;
    use ndarray::{Ix0, Ix1, Ix2};

    /// To 50 digits, by confluent divided differences.
    #[test]
    fn logarithm_gradient_and_hessian_are_those_of_the_golden_cases() {
        let case = Golden::open("batchblend/partition");
        for number in 0..33 {
            let name = |what: &str| format!("{what}_{number:02}");
            let eta = case.array::<Ix1>(&name("eta")).to_vec();
            let k = eta.len();
            let (mut means, mut cov) = (vec![0.0; k], vec![0.0; k * k]);
            let log = log_partition(&eta, k, &mut means);
            covariance(&eta, &mut cov);
            let right = case.array::<Ix0>(&name("logz")).into_scalar();
            assert!((log - right).abs() <= 1e-11 * right.abs().max(1.0), "{number} K {k}: {log} {right}");
            let close = |found: &[f64], right: Vec<f64>, what: &str| {
                let size = right.iter().fold(0.0, |s: f64, v| s.max(v.abs()));
                let gap = found.iter().zip(&right).fold(0.0, |s: f64, (a, b)| s.max((a - b).abs()));
                assert!(gap <= 1e-11 * size, "{number} K {k} {what}: {gap:e} of {size:e}");
            };
            close(&means, case.array::<Ix1>(&name("mean")).to_vec(), "E[z]");
            close(&cov, case.array::<Ix2>(&name("cov")).iter().copied().collect(), "Cov(z)");
        }
    }

    #[test]
    fn cells_side_by_side_have_the_bits_of_one() {
        let k = 7;
        let eta: Vec<f64> =
            (0..19 * k).map(|i| 30.0 * (1.7 * i as f64).sin() * (0.3 * i as f64).cos()).collect();
        let mut together = vec![0.0; eta.len()];
        let sum = log_partition(&eta, k, &mut together);
        let mut parts = 0.0;
        for (cell, means) in eta.chunks(k).zip(together.chunks(k)) {
            let mut alone = vec![0.0; k];
            parts += log_partition(cell, k, &mut alone);
            assert!(alone.iter().zip(means).all(|(a, b)| (a - b).abs() <= 1e-15), "{alone:?} {means:?}");
            assert!((alone.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        }
        assert!((sum - parts).abs() <= 1e-13 * sum.abs());
    }

    #[test]
    fn far_fields_leave_one_corner() {
        let mut means = [0.0; 3];
        let log = log_partition(&[0.0, 900.0, 2000.0], 3, &mut means);
        // ∫∫ exp(−900 z₂ − 2000 z₃) is nearly 1/(900 · 2000).
        assert!((log + (900f64 * 2000.0).ln()).abs() < 1e-10, "{log}");
        assert!((means[1] * 900.0 - 1.0).abs() < 1e-9 && (means[2] * 2000.0 - 1.0).abs() < 1e-9, "{means:?}");
    }
}
