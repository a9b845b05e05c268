//! What is asked of covariates, times and events before a model is fitted to them.

use ndarray::{Array1, ArrayView2};

use super::likelihood::Look;
use crate::error::{Error, Result};

pub(super) fn check(x: ArrayView2<'_, f64>, time: &[f64], event: &[bool]) -> Result<()> {
    let (n, k) = x.dim();
    let shape = |what: &str, found: usize, rule| Error::Shape { what: what.into(), found: vec![found], rule };
    if time.len() != n {
        return Err(shape("times", time.len(), "one per row of the covariates"));
    }
    if event.len() != n {
        return Err(shape("events", event.len(), "one per row of the covariates"));
    }
    if k == 0 {
        return Err(Error::Shape {
            what: "covariates".into(),
            found: vec![n, k],
            rule: "at least one column",
        });
    }
    if let Some((i, &found)) = time.iter().enumerate().find(|(_, t)| !(t.is_finite() && **t >= 0.0)) {
        let rule = "a finite time, 0 or later; drop subjects whose time is not known";
        return Err(Error::Value { what: "time".into(), found, at: (i, 0), rule });
    }
    if let Some((at, &found)) = x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "covariates".into(), found, at, rule: "finite" });
    }
    match event.iter().filter(|e| **e).count() {
        0 => Err(Error::Missing {
            what: format!("an event among {n} subjects"),
            hint: "without one, no risk can be estimated; check how events are coded".into(),
        }),
        events if events < k => Err(shape(
            "events that happened",
            events,
            "at least as many as covariates; use fewer covariates or fit each alone",
        )),
        _ => Ok(()),
    }
}

/// Mean and standard deviation (n − 1) of each column.
pub(super) fn moments(x: ArrayView2<'_, f64>) -> Result<(Vec<f64>, Vec<f64>)> {
    let n = x.nrows() as f64;
    let (mut mean, mut sd, mut flat) = (Vec::new(), Vec::new(), Vec::new());
    for (j, column) in x.columns().into_iter().enumerate() {
        let (first, size) = (column[0], column.fold(0.0f64, |m, v| m.max(v.abs())));
        // Scaled by the largest value, so that no square overflows.
        let unit = if size > 0.0 { size } else { 1.0 };
        let m = first / unit + column.iter().map(|v| v / unit - first / unit).sum::<f64>() / n;
        let s = (column.iter().map(|v| (v / unit - m).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
        if s <= 1e-13 || !(s * unit).is_normal() {
            flat.push(j);
        }
        mean.push(m * unit);
        sd.push(s * unit);
    }
    match flat.is_empty() {
        true => Ok((mean, sd)),
        false => Err(Error::Line {
            what: "covariates".into(),
            axis: "column",
            at: flat,
            problem: "has the same value for every subject",
            hint: "leave it out".into(),
        }),
    }
}

/// Refuses columns that are sums of earlier ones, by orthogonalising one after the other.
pub(super) fn dependent(z: ArrayView2<'_, f64>) -> Result<()> {
    let mut basis: Vec<Array1<f64>> = Vec::new();
    let mut at = Vec::new();
    for (j, column) in z.columns().into_iter().enumerate() {
        let before = column.dot(&column).sqrt();
        let mut rest = column.to_owned();
        // Twice is enough for a basis that is orthogonal to rounding.
        for _ in 0..2 {
            for b in &basis {
                let along = b.dot(&rest);
                rest.scaled_add(-along, b);
            }
        }
        let after = rest.dot(&rest).sqrt();
        if after <= 1e-7 * before {
            at.push(j);
        } else {
            basis.push(rest / after);
        }
    }
    match at.is_empty() {
        true => Ok(()),
        false => Err(Error::Line {
            what: "covariates".into(),
            axis: "column",
            at,
            problem: "is a linear combination of the columns before it",
            hint: "leave it out, or fit each covariate alone".into(),
        }),
    }
}

/// Covariates without information at β = 0.
pub(super) fn flat(at: &Look) -> Error {
    let diagonal = at.information.diag();
    let most = diagonal.fold(0.0f64, |m, v| m.max(*v));
    let mut columns: Vec<usize> =
        (0..diagonal.len()).filter(|&j| diagonal[j] <= 1e-12 * most.max(1e-12)).collect();
    if columns.is_empty() {
        columns = (0..diagonal.len()).collect();
    }
    Error::Line {
        what: "covariates".into(),
        axis: "column",
        at: columns,
        problem: "does not vary, by itself, among the subjects at risk when events happen",
        hint: "leave it out, or check times and events".into(),
    }
}

/// The error of a one-column fit, with the column's place in the table.
pub(super) fn in_column(error: Error, j: usize) -> Error {
    match error {
        Error::Value { what, found, at, rule } if what == "covariates" => {
            Error::Value { what, found, at: (at.0, j), rule }
        }
        Error::Line { what, axis, problem, hint, .. } => {
            Error::Line { what, axis, at: vec![j], problem, hint }
        }
        other => other,
    }
}
