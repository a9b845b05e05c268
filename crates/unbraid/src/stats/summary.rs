//! Quantiles, and how far a mean can be trusted.

use rand::RngExt;

use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};

/// The `q`-quantile of the values that are finite, by linear interpolation between order statistics
/// (NumPy's default, type 7 of Hyndman and Fan 1996); `None` without any. 0 ≤ q ≤ 1.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    (!finite.is_empty()).then(|| super::tail::quantile(&finite, q))
}

/// The middle value; `None` without a finite one.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// A mean with an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The mean of the values.
    pub mean: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean of `values` with the percentile bootstrap interval of the given `level` (Efron 1979): the
/// values are drawn with replacement `times` times, and the interval holds the middle share `level` of
/// the means. With one value both ends are that value.
///
/// # Errors
/// [`Error::Value`] for a value that is not finite, [`Error::Shape`] without values, [`Error::Param`]
/// for a level outside 0 < level < 1 or no draw.
pub fn bootstrap_mean(values: &[f64], level: f64, times: usize, seed: Seed) -> Result<Interval> {
    if values.is_empty() {
        return Err(Error::Shape { what: "values".into(), found: vec![0], rule: "at least one" });
    }
    if let Some((i, &found)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "values".into(), found, at: (i, 0), rule: "finite" });
    }
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::Param { name: "level", found: level.to_string(), rule: "above 0 and below 1" });
    }
    if times == 0 {
        return Err(Error::Param { name: "times", found: "0".into(), rule: "at least 1" });
    }
    let count = values.len() as f64;
    let mut rng = seed.stream(Draw::Restart, 0);
    let means: Vec<f64> = (0..times)
        .map(|_| (0..values.len()).map(|_| values[rng.random_range(0..values.len())]).sum::<f64>() / count)
        .collect();
    let mean = values.iter().sum::<f64>() / count;
    let end = |q| quantile(&means, q).unwrap_or(mean);
    Ok(Interval { low: end((1.0 - level) / 2.0), mean, high: end((1.0 + level) / 2.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn quantiles_interpolate_and_leave_out_what_is_not_finite() {
        let v = [4.0, 1.0, f64::NAN, 3.0, 2.0, f64::INFINITY];
        assert_eq!(quantile(&v, 0.0), Some(1.0));
        assert_eq!(quantile(&v, 1.0), Some(4.0));
        assert_eq!(median(&v), Some(2.5));
        assert!((quantile(&v, 0.1).unwrap() - 1.3).abs() < 1e-15);
        assert_eq!((median(&[]), median(&[7.0])), (None, Some(7.0)));
    }

    /// Over many samples of a normal law a 90 % interval holds the true mean about nine times in ten.
    #[test]
    fn the_interval_covers_the_mean_as_often_as_it_says() {
        let mut rng = Seed(4).stream(Draw::Simulate, 0);
        let covered = (0..400u64)
            .filter(|&i| {
                let v: Vec<f64> = (0..40).map(|_| StandardNormal.sample(&mut rng)).collect();
                let b = bootstrap_mean(&v, 0.9, 500, Seed(i)).unwrap();
                assert!(b.low <= b.mean && b.mean <= b.high);
                b.low <= 0.0 && b.high >= 0.0
            })
            .count();
        assert!((336..=380).contains(&covered), "{covered} of 400");
    }

    #[test]
    fn bad_values_are_refused_and_one_value_is_its_own_interval() {
        let of = |v: &[f64], level| bootstrap_mean(v, level, 10, Seed(0));
        assert_eq!(of(&[2.0], 0.95).unwrap(), Interval { low: 2.0, mean: 2.0, high: 2.0 });
        assert!(of(&[], 0.95).is_err() && of(&[1.0, f64::NAN], 0.95).is_err() && of(&[1.0], 1.0).is_err());
    }
}
