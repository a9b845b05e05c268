//! Variance of the gradient estimators beside the plain ones, with a linear encoder and decoder.

use unbraid::methods::cocluster::svcc::bound::linear::{compare, model};

use super::{Design, short};
use crate::cells;
use crate::fault::Fault;
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Section, Table};

/// Whether the encoder is poor, samples K, variance of the noise.
pub const CASES: [(bool, usize, f64); 7] = [
    (true, 1, 0.6),
    (true, 5, 0.6),
    (false, 1, 0.6),
    (false, 5, 0.6),
    (false, 5, 5.0),
    (false, 5, 20.0),
    (false, 5, 80.0),
];

/// Runs the part.
///
/// # Errors
/// The user's interrupt.
pub fn run(design: &Design, run: &Run<'_>) -> Result<Section, Fault> {
    let columns = [
        "encoder",
        "K",
        "noise",
        "largest |z|, dreg",
        "largest |z|, gdreg",
        "largest |z|, mix",
        "variance, dreg (encoder)",
        "gdreg (mixture)",
        "mix (mixture)",
    ];
    let mut table = Table::new(
        "estimators.csv",
        "Variance of each estimator over that of the plain one, summed over coordinates.",
        &columns,
    );
    let (mut furthest, mut worst) = (0.0f64, 0.0f64);
    for (poor, samples, noise) in CASES {
        let (encoder, prior, mixed) =
            compare(&model(poor, noise.ln(), [1.0, 1.0]), samples, 1.0, design.draws as u64);
        let z = [encoder.furthest(), prior.furthest(), mixed.furthest()];
        furthest = z.iter().fold(furthest, |a, b| a.max(*b));
        worst = worst.max(mixed.ratio());
        let mut row = cells![if poor { "poor" } else { "of the moments" }, samples, noise];
        row.extend(z.map(short));
        row.extend(
            [encoder.ratio(), prior.ratio(), mixed.ratio()]
                .map(|v| crate::reproduce::section::Cell::from((1e4 * v).round() / 1e4)),
        );
        table.rows.push(row);
        run.progress.done(1, &format!("estimators, K = {samples}, noise {noise}"))?;
    }
    Ok(Section {
        title: "Estimators of the gradients".into(),
        about: vec![format!(
            "Five values, two latent numbers, three components; {} draws. z is the difference of the means of two estimators in standard errors, largest over the \
             coordinates.",
            design.draws
        )],
        figures: Vec::new(),
        tables: vec![table],
        checks: vec![
            Check::number(
                "All estimators have the mean of the plain one: largest |z|",
                "test of ours",
                "below 4",
                Some(furthest),
                |v| v < 4.0,
            ),
            Check::number(
                "The mixture of both is never worse than the plain one: largest ratio",
                "test of ours",
                "at most 1.02",
                Some(worst),
                |v| v <= 1.02,
            ),
        ],
        notes: Vec::new(),
    })
}
