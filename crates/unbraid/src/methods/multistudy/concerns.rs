//! What a user should know before and after a fit of MSSVAE.

use super::anchors::Anchors;
use super::likelihood::Law;
use super::mssvae::{Mssvae, MssvaeFit};
use super::ssl::annealed;
use super::studies::Studies;
use crate::error::{Error, Result};

/// Samples of a study in a mini-batch below which its statistics say little.
const FEW: usize = 8;
/// Share of the epochs at the end whose losses are compared.
const LAST: f64 = 0.05;
/// Part of what the loss fell since the last stage began that may still be falling in those epochs.
const STILL: f64 = 0.02;

/// Warnings from the data and the parameters.
///
/// # Errors
/// [`Error::Param`] for mini-batches that cannot hold two samples of every study.
pub fn before(params: &Mssvae, input: &Studies<'_>) -> Result<Vec<String>> {
    let (studies, (n, features)) = (input.names.len(), input.values.matrix.shape());
    let batch = params.batch;
    if batch < 2 * studies {
        let found = format!("{batch} for {studies} studies");
        return Err(Error::Param { name: "batch", found, rule: "at least 2 samples of each study" });
    }
    let mut said = Vec::new();
    if batch < FEW * studies {
        said.push(format!(
            "A mini-batch of {batch} holds about {:.1} samples of each of {studies} studies, which is few for the statistics \
             of their encoders; take a `batch` of {} or more.",
            batch as f64 / studies as f64,
            FEW * studies
        ));
    }
    if n <= batch {
        let better = (n / 6).max(FEW * studies);
        let hint = if better < n { format!("; `batch={better}` takes more") } else { String::new() };
        said.push(format!(
            "The {n} samples are one mini-batch, so that {} epochs are {} steps{hint}.",
            params.epochs, params.epochs
        ));
    }
    for (name, columns) in [("shared", params.shared), ("specific", params.specific)] {
        if columns > features {
            said.push(format!(
                "`{name}={columns}` columns are more than the {features} features; a factor needs two features of its own, so \
                 that many will be empty."
            ));
        }
    }
    if params.likelihood == Law::NegBinomial && params.fractions {
        let mut odd = 0usize;
        input.values.matrix.for_each_nonzero(|_, _, v| odd += usize::from(v.fract() != 0.0));
        if odd > 0 {
            let what = input.values.what;
            said.push(format!(
                "{odd} values of {what} are not whole; the negative binomial law takes them as they are."
            ));
        }
    }
    Ok(said)
}

/// Epochs, counted from 1, at which λ₀ takes a new value, and the value.
pub fn stages(params: &Mssvae) -> Vec<(usize, f64)> {
    let at = |epoch| annealed(epoch, params.epochs, params.lambda0, params.stages).max(params.lambda1);
    let changed = |&e: &usize| e == 0 || at(e) != at(e - 1);
    (0..params.epochs).filter(changed).map(|e| (e + 1, at(e))).collect()
}

/// Warnings from the result.
pub fn after(params: &Mssvae, fit: &MssvaeFit) -> Vec<String> {
    let mut said = Vec::new();
    let begun = stages(params).last().map_or(0, |(epoch, _)| epoch - 1);
    if let Some(fallen) = still_falling(&fit.objective, begun.min(fit.objective.len())) {
        said.push(format!(
            "The loss was still falling at the end: {:.0} % of its fall since λ₀ reached its last value came in the last {:.0} % \
             of the epochs. More `epochs` may change the factors.",
            100.0 * fallen,
            100.0 * LAST
        ));
    }
    let owners = fit.owners();
    if owners.is_empty() {
        // Said by the fit itself.
        return said;
    }
    if params.shared > 0 && !owners.contains(&None) {
        said.push(
            "No shared factor is left: every factor belongs to one study. Either the studies have nothing in common, or `lambda0` \
             is too large for the scale of the values."
                .into(),
        );
    }
    said.extend(fit.anchors.as_ref().and_then(|anchors| disagreement(anchors, &owners, &fit.studies)));
    let bare: Vec<&str> = (0..fit.studies.len())
        .filter(|m| params.specific > 0 && !owners.contains(&Some(*m)))
        .map(|m| fit.studies[m].as_str())
        .collect();
    if !bare.is_empty() {
        said.push(format!("No factor of its own is left for {}.", named(&bare)));
    }
    let features = fit.network.decoder.features();
    let full = fit.supports().iter().filter(|s| 2 * s.len() > features).count();
    if features >= 10 && 2 * full > owners.len() {
        said.push(format!(
            "{full} of {} factors hold more than half of all features, so that sets say little. W needs more `epochs`, or a larger \
             `lambda0`, to become sparse.",
            owners.len()
        ));
    }
    let weights = fit.weights();
    let stubs = weights.columns().into_iter().filter(|w| {
        let size = w.iter().filter(|w| w.abs() > params.threshold).count();
        size > 0 && size < params.min_support
    });
    let stubs = stubs.count();
    if stubs >= 3 && 2 * stubs >= owners.len() {
        said.push(format!(
            "{stubs} columns of W had fewer than {} features and were dropped, beside {} factors that were kept. So many \
             fragments hint at a fit that has not settled, or at too few samples.",
            params.min_support,
            owners.len()
        ));
    }
    said
}

/// What features of one factor alone say, where the fit says something else.
fn disagreement(anchors: &Anchors, owners: &[Option<usize>], studies: &[String]) -> Option<String> {
    if anchors.parts.is_empty() {
        return Some(
            "No two features follow one factor alone in the same way, so that correlations say nothing about the number of factors."
                .into(),
        );
    }
    let who = || std::iter::once(None).chain((0..studies.len()).map(Some));
    let found = |o: Option<usize>| owners.iter().filter(|owner| **owner == o).count();
    if who().all(|o| found(o) == anchors.count(o)) {
        return None;
    }
    let list = |of: &dyn Fn(Option<usize>) -> usize| {
        let name = |o: Option<usize>| o.map_or("all studies".to_owned(), |m| format!("`{}`", studies[m]));
        who().map(|o| format!("{} of {}", of(o), name(o))).collect::<Vec<_>>().join(", ")
    };
    Some(format!(
        "Features that follow one factor alone tell of other factors than were found: {}, where the fit has {}. Columns may \
         hold two factors or be copies, or a factor has no two such features.",
        list(&|o| anchors.count(o)),
        list(&found)
    ))
}

/// Studies in a sentence.
fn named(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more studies"),
        _ => shown,
    }
}

/// The part of the fall since step `begun` that came in the last epochs, where it is more than noise and more than
/// [`STILL`]; mini-batches differ, so that the means of two windows are compared with their standard errors.
fn still_falling(losses: &[f64], begun: usize) -> Option<f64> {
    let window = ((LAST * losses.len() as f64) as usize).max(5);
    let since = losses.get(begun..)?;
    if since.len() < 4 * window {
        return None;
    }
    let moments = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        let square: f64 = v.iter().map(|x| (x - mean).powi(2)).sum();
        (mean, square / (v.len() - 1) as f64 / v.len() as f64)
    };
    let end = since.len();
    let (first, _) = moments(&since[..window]);
    let (before, before_error) = moments(&since[end - 2 * window..end - window]);
    let (last, last_error) = moments(&since[end - window..]);
    let step = before - last;
    let fallen = step / (first - last);
    (step > 3.0 * (before_error + last_error).sqrt() && first > last && fallen > STILL).then_some(fallen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_falls_is_told_from_one_that_has_settled() {
        let noise = |i: usize| ((i * 37 % 17) as f64 - 8.0) / 100.0;
        let falling: Vec<f64> = (0..400).map(|i| 100.0 - 0.1 * i as f64 + noise(i)).collect();
        let settled: Vec<f64> =
            (0..400).map(|i| 60.0 + 40.0 * (-(i as f64) / 20.0).exp() + noise(i)).collect();
        let share = still_falling(&falling, 100).unwrap();
        assert!((share - 2.0 / 28.0).abs() < 0.01, "{share}");
        assert_eq!(still_falling(&settled, 0), None);
        assert_eq!(still_falling(&settled[..30], 20), None, "too short to tell");
        assert_eq!(still_falling(&falling, 500), None);
    }

    #[test]
    fn anchors_speak_up_where_they_count_otherwise() {
        let part =
            |owner| super::super::merge::Part { owner, weights: ndarray::array![1.0, 1.0], from: vec![] };
        let names = ["a".to_owned(), "b".to_owned()];
        let anchors = Anchors { parts: vec![part(None), part(Some(1))] };
        assert_eq!(disagreement(&anchors, &[Some(1), None], &names), None);
        let said = disagreement(&anchors, &[None, Some(0)], &names).unwrap();
        assert!(
            said.contains(
                "1 of all studies, 0 of `a`, 1 of `b`, where the fit has 1 of all studies, 1 of `a`"
            ),
            "{said}"
        );
        assert!(disagreement(&Anchors { parts: vec![] }, &[None], &names).unwrap().contains("say nothing"));
    }

    #[test]
    fn the_stages_are_those_of_the_fit() {
        let params = Mssvae { epochs: 100, ..Mssvae::default() };
        assert_eq!(stages(&params), [(1, 1.0), (6, 10.0), (31, 15.0)]);
        let flat = Mssvae { lambda0: 0.5, ..params };
        assert_eq!(stages(&flat), [(1, 0.5)]);
    }
}
