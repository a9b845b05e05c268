//! Columns of Φ that one study alone uses change places with the weakest of its own.
//!
//! ```text
//! a_ks = mean over the samples of study s of (E f_ik)²,   Φ by varimax
//! k belongs to s where a_kt ≤ ¼ a_ks in every other study t;   λ ← φ_k √a_ks for the column of Λ_s of least sum of squares, φ_k ← that
//! ```
//!
//! With more columns in Φ than there are shared factors, the strongest factors of single studies start there, and expectation and
//! maximisation do not bring them out: their scores have variance a_ks > 1 in one study and none in the others, where the model
//! has 1 in all, which costs likelihood. An exchange is made where the column that goes is the stronger one; the steps that
//! follow decide what becomes of both.

use ndarray::Array2;

use super::em::{Loadings, Moments, Study, expect};
use super::rotated;
use crate::error::Result;

/// Largest mean square of the scores in other studies, as a share of that in the study that a column belongs to.
const ELSEWHERE: f64 = 0.25;

/// Rotates every block and makes the exchanges.
pub(super) fn exchange(studies: &[Study], at: &mut Loadings) -> Result<()> {
    at.phi = rotated(&at.phi).0;
    for own in &mut at.own {
        *own = rotated(own).0;
    }
    if studies.len() < 2 {
        return Ok(());
    }
    let moments = studies.iter().enumerate().map(|(m, s)| expect(s, m, at)).collect::<Result<Vec<_>>>()?;
    let mut wanted: Vec<(f64, usize, usize, f64)> = (0..at.phi.ncols())
        .filter_map(|k| {
            let (m, size) = owner(&moments, k)?;
            Some((squares(&at.phi, k) * size, k, m, size))
        })
        .collect();
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (strength, k, m, size) in wanted {
        let own = &mut at.own[m];
        let weakest = (0..own.ncols()).min_by(|&p, &q| squares(own, p).total_cmp(&squares(own, q)));
        let Some(weakest) = weakest.filter(|&w| squares(own, w) < strength) else { continue };
        let back = own.column(weakest).to_owned();
        own.column_mut(weakest).assign(&(&at.phi.column(k) * size.sqrt()));
        at.phi.column_mut(k).assign(&back);
    }
    Ok(())
}

/// The study that alone uses column k of Φ, and a_ks there.
fn owner(moments: &[Moments], k: usize) -> Option<(usize, f64)> {
    let sizes: Vec<f64> = moments
        .iter()
        .map(|m| m.scores.column(k).iter().map(|v| v * v).sum::<f64>() / m.scores.nrows().max(1) as f64)
        .collect();
    let (m, &most) = sizes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let alone = sizes.iter().enumerate().all(|(other, size)| other == m || *size <= ELSEWHERE * most);
    (alone && most > 0.0).then_some((m, most))
}

fn squares(block: &Array2<f64>, k: usize) -> f64 {
    block.column(k).dot(&block.column(k))
}
