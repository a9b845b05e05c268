//! Every run of a method on the data of a seed, judged by the truth.

use std::time::Instant;

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::json;
use unbraid::metrics::supports::{BlockScores, block_scores};
use unbraid::report::{FactorSide, FactorTruth, SupportRule};

use super::Design;
use super::data::{Data, STUDIES};
use super::ways::Way;
use crate::fault::Fault;
use crate::reproduce::kept::Runs;

/// A column of loadings: weights of the members alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    pub owner: Option<usize>,
    pub members: Vec<(usize, f32)>,
}

/// What a run gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub way: Way,
    pub seed: u64,
    pub seconds: f64,
    pub truth: FactorTruth,
    /// Scores of W as it was fitted, before merge and all that follows.
    pub before: Option<BlockScores>,
    /// Factors found.
    pub columns: Vec<Column>,
    /// Columns of W as it was fitted.
    pub raw: Vec<Column>,
    /// Scores of the samples in the factors found, row by row; of the first data set alone.
    pub codes: Vec<Vec<f32>>,
}

/// The columns that have members under a rule.
fn columns(w: &Array2<f64>, owner: &[Option<usize>], rule: SupportRule) -> Vec<Column> {
    let inside = rule.apply(w.view(), owner);
    let one = |k: usize| {
        let members = (0..w.nrows()).filter(|&j| inside[[j, k]]);
        Column { owner: owner[k], members: members.map(|j| (j, w[[j, k]] as f32)).collect() }
    };
    (0..w.ncols()).map(one).collect()
}

/// The run of a method on the data of a seed.
///
/// # Errors
/// What the fit fails with, the user's interrupt, a file that cannot be written.
pub fn outcome(
    runs: &Runs,
    design: &Design,
    data: Data,
    way: Way,
    (seed, first): (u64, u64),
) -> Result<Outcome, Fault> {
    let settings = json!({
        "data": data.listed(design), "method": way.settings(design, data), "seed": seed, "scores": seed == first,
    });
    runs.get(&format!("{}-{way}-{seed}", data.name()), settings, || {
        let sample = data.simulated(design, seed)?;
        let begun = Instant::now();
        let found = way.fit(design, data, &sample, seed)?;
        let seconds = begun.elapsed().as_secs_f64();
        let rule = way.rule(design, data);
        let names: Vec<String> = (0..STUDIES).map(|m| format!("study{m}")).collect();
        let expected = sample.loadings.mapv(|w| w != 0.0);
        let supports = rule.apply(found.loadings.view(), &found.owner);
        let side =
            FactorSide { supports: supports.view(), scores: Some(found.codes.view()), owner: &found.owner };
        let truth = FactorSide {
            supports: expected.view(),
            scores: Some(sample.scores.view()),
            owner: &sample.owner,
        };
        let before = match &found.raw {
            Some((w, owner)) => {
                let raw = rule.apply(w.view(), owner);
                Some(block_scores((expected.view(), &sample.owner), (raw.view(), owner), STUDIES)?)
            }
            None => None,
        };
        let raw = found.raw.as_ref().map_or_else(Vec::new, |(w, owner)| columns(w, owner, rule));
        let keep = seed == first && data == Data::Gaussian;
        let codes = found.codes.rows().into_iter().filter(|_| keep);
        Ok(Outcome {
            way,
            seed,
            seconds,
            truth: FactorTruth::new((way.name(), "truth"), side, truth, &names, true, rule)?,
            before,
            columns: columns(&found.loadings, &found.owner, rule),
            raw,
            codes: codes.map(|r| r.iter().map(|v| *v as f32).collect()).collect(),
        })
    })
}

impl Outcome {
    /// Consensus, relevance and recovery of the shared block; 0 where nothing was found.
    pub fn shared(&self) -> [f64; 3] {
        let scores = self.truth.blocks.first().and_then(|b| b.scores);
        scores.map_or([0.0; 3], |s| [s.consensus, s.relevance, s.recovery])
    }

    /// The same of the studies' blocks, their mean.
    pub fn specific(&self) -> [f64; 3] {
        self.truth.mean.map_or([0.0; 3], |s| [s.consensus, s.relevance, s.recovery])
    }

    /// Factors found: shared, and all of the studies.
    pub fn sizes(&self) -> (usize, usize) {
        let count = |shared: bool| {
            self.columns.iter().filter(|c| c.owner.is_none() == shared && !c.members.is_empty()).count()
        };
        (count(true), count(false))
    }
}
