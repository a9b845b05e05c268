//! Whether a coefficient changes over time (Schoenfeld 1982; Grambsch and Therneau 1994).
//!
//! With r_i the residual of event i, its covariates less their mean among those at risk, V = I⁻¹ the covariance of
//! β̂ and D the number of events, the scaled residuals r*_i = D V r_i vary around β(t) − β̂. With g_i the rank of
//! event i by time, equal times sharing their mean rank, their slope along g gives
//!
//! χ²_j = ( Σ_i (g_i − ḡ) r*_ij )² / ( D V_jj Σ_i (g_i − ḡ)² ),
//!
//! which follows χ²_1 where β_j is constant. It takes the covariance of a residual to be the same at every event.

use ndarray::ArrayView2;

use crate::stats::ranks::average_ranks;

/// χ² of each covariate; 0 where all events have one time. `half` is L⁻¹ of I = L Lᵀ, so that V = L⁻ᵀ L⁻¹.
pub(super) fn statistics(residuals: &[(f64, Vec<f64>)], half: ArrayView2<'_, f64>) -> Vec<f64> {
    let times: Vec<f64> = residuals.iter().map(|(t, _)| *t).collect();
    let ranks = average_ranks(&times);
    let events = residuals.len() as f64;
    let mean = ranks.iter().sum::<f64>() / events;
    let spread: f64 = ranks.iter().map(|g| (g - mean).powi(2)).sum();
    let k = half.ncols();
    let mut slope = ndarray::Array1::<f64>::zeros(k);
    for (g, (_, r)) in ranks.iter().zip(residuals) {
        slope.iter_mut().zip(r).for_each(|(s, r)| *s += (g - mean) * r);
    }
    let scaled = half.t().dot(&half.dot(&slope));
    let variance = |j: usize| half.column(j).dot(&half.column(j));
    (0..k)
        .map(|j| {
            // D² from both residuals, over D.
            let chi = events * scaled[j].powi(2) / (variance(j) * spread);
            if spread > 0.0 && chi.is_finite() { chi } else { 0.0 }
        })
        .collect()
}
