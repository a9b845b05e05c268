//! What a page shows of factors beside survival: Cox models, and the curves of groups by each factor.

use serde::{Deserialize, Serialize};

use super::finite;
use crate::error::Result;
use crate::stats::cox::CoxFit;
use crate::stats::kaplan_meier::{kaplan_meier, log_rank, median};

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// How observations are grouped by a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// At or below the median, and above.
    #[default]
    Median,
    /// By the 1/3 and 2/3 quantiles.
    Tertiles,
}

crate::words!(Split, "a way to group observations", Median = "median", Tertiles = "tertiles");

/// Factors beside survival.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SurvivalFigure {
    /// Observations that were used.
    pub observations: usize,
    /// Events among them.
    pub events: usize,
    /// Observations without a time, an event or factors.
    pub dropped: usize,
    /// Name of the column of times.
    pub time: String,
    /// How events at one time are counted.
    pub ties: String,
    /// How observations are grouped for the curves.
    pub split: String,
    /// One model of all factors; `None` where it cannot be fitted.
    pub joint: Option<CoxTable>,
    /// A model for each factor.
    pub single: Vec<CoxTable>,
    /// Curves by each factor that groups the observations.
    pub curves: Vec<CurveFigure>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoxTable {
    /// One per covariate.
    pub rows: Vec<CoxRow>,
    /// ℓ(β̂).
    pub log_likelihood: f64,
    /// ℓ(0).
    pub null_log_likelihood: f64,
    /// The likelihood-ratio statistic.
    pub lr: f64,
    /// Its p-value.
    pub lr_p: f64,
    /// Harrell's C.
    pub concordance: f64,
    /// Newton steps.
    pub steps: usize,
}

/// One coefficient. Where the likelihood rises without limit nothing is known but the sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoxRow {
    /// Name of the factor.
    pub factor: String,
    /// β̂, per standard deviation.
    pub coef: Option<f64>,
    /// exp β̂.
    pub hazard_ratio: Option<f64>,
    /// Its 95 % interval, exp(β̂ ± 1.96 se).
    pub hazard_ratio_low: Option<f64>,
    /// Upper end.
    pub hazard_ratio_high: Option<f64>,
    /// Standard error.
    pub se: Option<f64>,
    /// β̂ over it.
    pub z: Option<f64>,
    /// Two-sided Wald p.
    pub p: Option<f64>,
    /// p times the number of factors, at most 1.
    pub p_bonferroni: Option<f64>,
    /// p of the test of proportional hazards.
    pub ph_p: Option<f64>,
    /// Whether the coefficient is infinite.
    pub infinite: bool,
    /// Whether β̂ is above 0.
    pub positive: bool,
}

/// Curves of groups by one factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurveFigure {
    /// Name of the factor.
    pub factor: String,
    /// Groups by rising score.
    pub arms: Vec<Arm>,
    /// The log-rank statistic.
    pub chi2: f64,
    /// Its degrees of freedom.
    pub degrees: usize,
    /// Its p-value.
    pub p: f64,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// `low`, `middle` or `high`.
    pub name: String,
    /// Smallest and largest score in it.
    pub scores: [f64; 2],
    /// Observations.
    pub observations: usize,
    /// Events.
    pub events: usize,
    /// When half had the event; `None` where that was not seen.
    pub median: Option<f64>,
    /// The curve at each distinct time, rising.
    pub steps: Vec<ArmStep>,
}

/// A curve just after one time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmStep {
    /// Time.
    pub time: f64,
    /// Share without the event.
    pub share: f64,
    /// Its 95 % band.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Subjects at risk just before.
    pub at_risk: usize,
    /// Watches that ended without the event.
    pub censored: usize,
}

impl CoxTable {
    /// A fitted model, whose covariates are called `names`.
    pub fn new(fit: &CoxFit, names: &[String]) -> CoxTable {
        let row = |(j, name): (usize, &String)| {
            let known = |v: f64| finite(v).filter(|_| !fit.infinite[j]);
            let (coef, se) = (fit.coef[j], fit.se[j]);
            CoxRow {
                factor: name.clone(),
                coef: known(coef),
                hazard_ratio: known(coef.exp()),
                hazard_ratio_low: known((coef - Z * se).exp()),
                hazard_ratio_high: known((coef + Z * se).exp()),
                se: known(se),
                z: known(fit.z[j]),
                p: known(fit.p[j]),
                p_bonferroni: known(fit.bonferroni[j]),
                ph_p: known(fit.ph_p[j]),
                infinite: fit.infinite[j],
                positive: coef > 0.0,
            }
        };
        CoxTable {
            rows: names.iter().enumerate().map(row).collect(),
            log_likelihood: fit.log_likelihood,
            null_log_likelihood: fit.null_log_likelihood,
            lr: fit.lr,
            lr_p: fit.lr_p,
            concordance: fit.concordance,
            steps: fit.steps,
        }
    }
}

impl CurveFigure {
    /// The curves of the groups by a score; `None` where all observations fall into one.
    ///
    /// # Errors
    /// As [`kaplan_meier`] and [`log_rank`].
    pub fn new(
        factor: &str,
        score: &[f64],
        split: Split,
        time: &[f64],
        event: &[bool],
    ) -> Result<Option<CurveFigure>> {
        let (names, group) = groups(score, split);
        if names.len() < 2 {
            return Ok(None);
        }
        let test = log_rank(time, event, &group)?;
        let arm = |(g, name): (usize, &&str)| {
            let of: Vec<usize> = (0..score.len()).filter(|&i| group[i] == g).collect();
            let (t, e): (Vec<f64>, Vec<bool>) = of.iter().map(|&i| (time[i], event[i])).unzip();
            let curve = kaplan_meier(&t, &e)?;
            let scores = of.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &i| {
                [low.min(score[i]), high.max(score[i])]
            });
            Ok(Arm {
                name: (*name).to_owned(),
                scores,
                observations: of.len(),
                events: e.iter().filter(|e| **e).count(),
                median: median(&curve),
                steps: curve
                    .iter()
                    .map(|s| ArmStep {
                        time: s.time,
                        share: s.share,
                        low: s.low,
                        high: s.high,
                        at_risk: s.at_risk,
                        censored: s.censored,
                    })
                    .collect(),
            })
        };
        let arms = names.iter().enumerate().map(arm).collect::<Result<Vec<_>>>()?;
        Ok(Some(CurveFigure {
            factor: factor.to_owned(),
            arms,
            chi2: test.chi2,
            degrees: test.degrees,
            p: test.p,
        }))
    }
}

/// Names of the groups that hold anyone, and the group of each observation.
fn groups(score: &[f64], split: Split) -> (Vec<&'static str>, Vec<usize>) {
    let mut sorted = score.to_vec();
    sorted.sort_by(f64::total_cmp);
    let all: &[&str] = match split {
        Split::Median => &["low", "high"],
        Split::Tertiles => &["low", "middle", "high"],
    };
    let n = score.len();
    // The largest score of a group of the first `part` of `parts`.
    let cut = |part: usize| sorted[(n * part).div_ceil(all.len()).max(1) - 1];
    let cuts: Vec<f64> = if n == 0 { Vec::new() } else { (1..all.len()).map(cut).collect() };
    let raw: Vec<usize> = score.iter().map(|s| cuts.iter().filter(|c| s > *c).count()).collect();
    // Equal scores stay together, which can leave a group empty.
    let kept: Vec<usize> = (0..all.len()).filter(|g| raw.contains(g)).collect();
    let place = |g: usize| kept.iter().filter(|k| **k < g).count();
    (kept.iter().map(|&g| all[g]).collect(), raw.into_iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_equal_where_scores_differ_and_equal_scores_stay_together() {
        let score: Vec<f64> = (0..9).map(|i| f64::from((i * 4) % 9)).collect();
        let (names, group) = groups(&score, Split::Tertiles);
        assert_eq!(names, ["low", "middle", "high"]);
        assert_eq!([0, 1, 2].map(|g| group.iter().filter(|x| **x == g).count()), [3, 3, 3]);
        let (names, group) = groups(&score, Split::Median);
        assert_eq!((names.len(), group.iter().filter(|x| **x == 0).count()), (2, 5));
        let (names, group) = groups(&[0.0, 0.0, 0.0, 5.0], Split::Tertiles);
        assert_eq!((names, group), (vec!["low", "high"], vec![0, 0, 0, 1]));
        assert_eq!(groups(&[2.0, 2.0, 1.0], Split::Median).0, ["low"]);
        assert!(groups(&[], Split::Median).0.is_empty());
    }

    #[test]
    fn curves_hold_everyone_and_no_nan() {
        let score: Vec<f64> = (0..20).map(f64::from).collect();
        let time: Vec<f64> = (0..20).map(|i| f64::from(20 - i)).collect();
        let event: Vec<bool> = (0..20).map(|i| i % 3 != 0).collect();
        let figure = CurveFigure::new("1", &score, Split::Median, &time, &event).unwrap().unwrap();
        assert_eq!(figure.arms.iter().map(|a| a.observations).sum::<usize>(), 20);
        assert_eq!(figure.arms.iter().map(|a| a.events).sum::<usize>(), 13);
        assert_eq!(figure.arms[1].scores, [10.0, 19.0]);
        assert!(figure.p < 0.01 && figure.arms[0].median > figure.arms[1].median);
        let text = serde_json::to_string(&figure).unwrap();
        assert_eq!(serde_json::from_str::<CurveFigure>(&text).unwrap(), figure);
        assert!(CurveFigure::new("1", &[1.0; 20], Split::Median, &time, &event).unwrap().is_none());
    }
}
