//! Figure 2: true and fitted W of the first data set side by side, and data against the factors found (d, e).

use unbraid::simulate::multistudy::MultistudySample;

use super::Design;
use super::data::{Data, STUDIES};
use super::fits::{Column, Outcome, outcome};
use super::ways::Way;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Figure, Section};

/// Pieces of work.
pub const PIECES: u64 = 4;
/// Points drawn of a feature.
const POINTS: usize = 600;

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(design: &Design, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let seed = run.seed.0;
    let mut of = Vec::new();
    for way in [Way::Mssvae, Way::Paper, Way::Each, Way::Linear] {
        of.push(outcome(runs, design, Data::Gaussian, way, (seed, seed))?);
        run.progress.done(1, &format!("maps, {}", way.name()))?;
    }
    let sample = Data::Gaussian.simulated(design, seed)?;
    let truth = true_columns(&sample);
    let mut panels = vec![map("true W".into(), &truth, &truth, sample.loadings.nrows())];
    for o in &of {
        panels.push(map(o.way.name().into(), &o.columns, &truth, sample.loadings.nrows()));
    }
    let mut figures = vec![Figure {
        file: "figure2_maps.svg".into(),
        title: "Figure 2: true and fitted W".into(),
        caption: format!(
            "First data set (seed {seed}). Columns stand in the order of the true ones that they are most like; members alone are \
             drawn, darker for larger weights, each column by its own largest."
        ),
        svg: figure::draw(&panels, Names::Above, 560)?,
    }];
    let mut notes = runs.notes();
    match against(&of[0], &sample)? {
        Some(figure) => figures.push(figure),
        None => notes.push("No shared factor was found, so that data against factors are not drawn.".into()),
    }
    Ok(Section {
        title: "Example: figure 2, maps and curves".into(),
        about: vec![
            "W has a row for each feature and a column for each factor: shared ones first, then those of each study. Every third \
             feature follows the squares of its factors, the others the factors themselves."
                .into(),
        ],
        figures,
        notes,
        ..Section::default()
    })
}

/// The true W as columns.
pub fn true_columns(sample: &MultistudySample) -> Vec<Column> {
    let one = |k: usize| {
        let weights = sample.loadings.column(k);
        let members = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
        Column { owner: sample.owner[k], members: members.map(|(j, w)| (j, *w as f32)).collect() }
    };
    (0..sample.loadings.ncols()).map(one).collect()
}

/// Features of both over features of either.
fn likeness(a: &Column, b: &Column) -> f64 {
    let of = |c: &Column| c.members.iter().map(|m| m.0).collect::<Vec<_>>();
    unbraid::metrics::supports::jaccard(&of(a), &of(b))
}

/// A map of columns, empty ones left out, block by block in the order of the true ones they are most like.
pub fn map(title: String, columns: &[Column], truth: &[Column], features: usize) -> Panel {
    let place = |c: &Column| {
        let best = (0..truth.len()).map(|t| (likeness(c, &truth[t]), t)).filter(|b| b.0 > 0.0);
        best.reduce(|a, b| if b.0 > a.0 { b } else { a }).map_or(truth.len(), |b| b.1)
    };
    let mut order: Vec<&Column> = columns.iter().filter(|c| !c.members.is_empty()).collect();
    order.sort_by_cached_key(|c| (c.owner.map_or(0, |m| m + 1), place(c)));
    let series = (0..=STUDIES).map(|block| {
        let mut cells = Vec::new();
        for (x, c) in order.iter().enumerate().filter(|(_, c)| c.owner.map_or(0, |m| m + 1) == block) {
            let top = c.members.iter().fold(0.0f32, |m, w| m.max(w.1.abs()));
            cells.extend(c.members.iter().map(|(j, w)| (x as f64, *j as f64, f64::from(w.abs() / top))));
        }
        let (name, tint) = match block {
            0 => ("shared".to_owned(), 6),
            m => (format!("study {}", m - 1), [0, 1, 2][(m - 1) % 3]),
        };
        Series { name, tint, marks: vec![Mark::Cells(cells)] }
    });
    let wide = order.len().max(truth.len()) as f64;
    Panel {
        title,
        x: Axis::numbers("column", -0.5..wide - 0.5),
        y: Axis::numbers("feature", features as f64 - 0.5..-0.5),
        series: series.collect(),
    }
}

/// Figure 2d and e: a feature that follows a factor and one that follows its square, against the factor found for it.
fn against(ours: &Outcome, sample: &MultistudySample) -> Result<Option<Figure>, Fault> {
    let found =
        ours.truth.factors.iter().filter(|f| f.study == "shared" && f.found_in.as_deref() == Some("shared"));
    let best = found.reduce(|a, b| if b.jaccard > a.jaccard { b } else { a });
    let Some((factor, column)) = best.and_then(|f| Some((f.factor, f.found?))) else { return Ok(None) };
    let only = |j: &usize| sample.loadings.row(*j).iter().filter(|w| **w != 0.0).count() == 1;
    let own: Vec<usize> =
        (0..sample.loadings.nrows()).filter(|&j| sample.loadings[[j, factor]] != 0.0).filter(only).collect();
    let code: Vec<f64> =
        ours.codes.iter().map(|r| f64::from(r.get(column).copied().unwrap_or(0.0))).collect();
    // The factor found has a scale of its own: true scores are `scale` times its scores.
    let z = sample.scores.column(factor);
    let (cross, square) = code.iter().zip(z).fold((0.0, 0.0), |(c, s), (e, z)| (c + e * z, s + e * e));
    let scale = if square > 0.0 { cross / square } else { 0.0 };
    let mut panels = Vec::new();
    for (power, name) in [(1, "the factor"), (2, "the square of the factor")] {
        let Some(&j) = own.iter().find(|j| ((**j + 1) % 3 == 0) == (power == 2)) else { continue };
        let step = code.len().div_ceil(POINTS);
        let dots: Vec<(f64, f64)> =
            (0..code.len()).step_by(step).map(|i| (code[i], sample.x[[i, j]])).collect();
        let x = Axis::around("score of the factor found", dots.iter().map(|d| d.0));
        let grid = (0..=100).map(|i| x.range.start + (x.range.end - x.range.start) * f64::from(i) / 100.0);
        let y = Axis::around("value", dots.iter().map(|d| d.1));
        let law = grid.map(|t| (t, sample.loadings[[j, factor]] * (scale * t).powi(power)));
        // Where it leaves the panel it is not drawn.
        let law = law.filter(|p| y.range.contains(&p.1)).collect();
        panels.push(Panel {
            title: format!("feature {j} follows {name}"),
            x,
            y,
            series: vec![
                Series { name: "samples".into(), tint: 4, marks: vec![Mark::Dots(dots, false)] },
                Series { name: "true law".into(), tint: 6, marks: vec![Mark::Dashes(law)] },
            ],
        });
    }
    Ok(Some(Figure {
        file: "figure2_curves.svg".into(),
        title: "Figure 2d, e: data against a factor found".into(),
        caption: format!(
            "First data set, shared factor {factor}. Rings: every few samples. Dashes: the true law, in units of the scores found."
        ),
        svg: figure::draw(&panels, Names::Above, 380)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_in_blocks_and_in_the_order_of_the_truth() {
        let column =
            |owner, of: std::ops::Range<usize>| Column { owner, members: of.map(|j| (j, 2.0)).collect() };
        let truth = [column(None, 0..4), column(None, 4..8), column(Some(1), 8..10)];
        let found = [column(Some(1), 8..10), column(None, 5..8), column(None, 9..9), column(None, 0..4)];
        let panel = map(String::new(), &found, &truth, 10);
        let cells = |block: usize| match &panel.series[block].marks[0] {
            Mark::Cells(cells) => cells.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(cells(0)[0], (0.0, 0.0, 1.0));
        assert_eq!((cells(0)[4], cells(0).len()), ((1.0, 5.0, 1.0), 7));
        assert_eq!(cells(2), [(2.0, 8.0, 1.0), (2.0, 9.0, 1.0)]);
        assert!(cells(1).is_empty() && cells(3).is_empty());
    }
}
