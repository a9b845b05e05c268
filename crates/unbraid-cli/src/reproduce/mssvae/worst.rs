//! Figure 6: the data set on which the published way of fitting is worst, and the one on which ours is, before and after what
//! follows the fit.

use ndarray::Array2;
use unbraid::methods::multistudy::merge;
use unbraid::methods::multistudy::mssvae::Mssvae;
use unbraid::metrics::supports::block_scores;

use super::Design;
use super::data::{Data, STUDIES};
use super::fits::{Column, Outcome};
use super::maps::{map, true_columns};
use super::scores::outcomes;
use super::ways::Way;
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Names, Panel};
use crate::reproduce::Run;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Cell, Figure, Section, Table};

/// Both ways of fitting with their numbers of data sets; ours at least on those of the published one.
fn ways(design: &Design) -> [(Way, usize); 2] {
    let counted = |way| design.ways(Data::Gaussian).iter().find(|w| w.0 == way).map_or(1, |w| w.1);
    let published = counted(Way::Paper);
    [(Way::Mssvae, counted(Way::Mssvae).max(published)), (Way::Paper, published)]
}

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    ways(design).iter().map(|(_, seeds)| *seeds as u64).sum()
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(design: &Design, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let of = outcomes(design, Data::Gaussian, &ways(design), runs, run)?;
    let columns =
        ["replicate", "W", "shared consensus", "specific consensus", "shared columns", "specific columns"];
    let mut table = Table::new("worst.csv", "What each step makes of the worst replicates.", &columns);
    let mut figures = Vec::new();
    for (at, file, what) in
        [(1, "figure6.svg", "the published way of fitting"), (0, "figure6_ours.svg", "MSSVAE")]
    {
        // The worst as it was fitted, by the shared factors.
        let before = |o: &Outcome| o.before.as_ref().and_then(|b| b.shared).map_or(0.0, |s| s.consensus);
        let worst =
            (0..of[at].len()).reduce(|a, b| if before(&of[at][b]) < before(&of[at][a]) { b } else { a });
        let Some(worst) = worst else { continue };
        let (own, ours) = (&of[at][worst], &of[0][worst]);
        let sample = Data::Gaussian.simulated(design, own.seed)?;
        let truth = true_columns(&sample);
        let features = sample.loadings.nrows();
        let expected = sample.loadings.mapv(|w| w != 0.0);
        let merged = merged(&own.raw, features)?;
        let steps: Vec<(String, &[Column])> = match at {
            1 => vec![
                ("preset=paper, as fitted".into(), &own.raw),
                ("the same, merged".into(), &merged),
                ("MSSVAE on these data".into(), &ours.columns),
            ],
            _ => vec![
                ("MSSVAE, as fitted".into(), &own.raw),
                ("the same, merged".into(), &merged),
                ("all that follows the fit".into(), &own.columns),
            ],
        };
        let mut panels: Vec<Panel> = vec![map("true W".into(), &truth, &truth, features)];
        for (name, columns) in steps {
            panels.push(map(name.clone(), columns, &truth, features));
            let inside = inside(columns, features);
            let owner: Vec<Option<usize>> = columns.iter().map(|c| c.owner).collect();
            let scores = block_scores((expected.view(), &sample.owner), (inside.view(), &owner), STUDIES)?;
            let count = |shared: bool| {
                columns.iter().filter(|c| !c.members.is_empty() && c.owner.is_none() == shared).count()
            };
            table.rows.push(cells![
                format!("{what}, seed {}", own.seed),
                name,
                scores.shared.map_or(Cell::None, |s| s.consensus.into()),
                scores.mean().map_or(Cell::None, |s| s.consensus.into()),
                count(true),
                count(false)
            ]);
        }
        figures.push(Figure {
            file: file.into(),
            title: format!("Figure 6: the worst replicate of {what}"),
            caption: format!(
                "Seed {}, the smallest consensus of shared factors before anything is merged or dropped. Columns stand in the order of \
                 the true ones that they are most like.",
                own.seed
            ),
            svg: figure::draw(&panels, Names::Above, 560)?,
        });
    }
    Ok(Section {
        title: "Worst replicate: figure 6".into(),
        about: vec![
            "In the worst replicate of the paper a shared factor was learnt as a copy in every study's own block. Merging looks for such \
             columns; promotion tries a study's own column as a shared one."
                .into(),
        ],
        figures,
        tables: vec![table],
        notes: runs.notes(),
        ..Section::default()
    })
}

/// Columns merged by the method's defaults, stubs dropped.
fn merged(raw: &[Column], features: usize) -> Result<Vec<Column>, Fault> {
    let Mssvae { threshold, tau, min_support, .. } = Mssvae::default();
    let mut w = Array2::zeros((features, raw.len()));
    for (k, column) in raw.iter().enumerate() {
        column.members.iter().for_each(|&(j, v)| w[[j, k]] = f64::from(v));
    }
    let owner: Vec<Option<usize>> = raw.iter().map(|c| c.owner).collect();
    let mut parts = merge::parts(w.view(), &owner)?;
    merge::merge(&mut parts, STUDIES, threshold, tau);
    merge::drop_stubs(&mut parts, threshold, min_support);
    merge::orient(&mut parts);
    let one = |p: &merge::Part| Column {
        owner: p.owner,
        members: p.support(threshold).into_iter().map(|j| (j, p.weights[j] as f32)).collect(),
    };
    Ok(parts.iter().map(one).collect())
}

fn inside(columns: &[Column], features: usize) -> Array2<bool> {
    let mut out = Array2::from_elem((features, columns.len()), false);
    for (k, column) in columns.iter().enumerate() {
        column.members.iter().for_each(|&(j, _)| out[[j, k]] = true);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_in_every_study_become_one_column() {
        let column =
            |owner, of: std::ops::Range<usize>| Column { owner, members: of.map(|j| (j, 3.0)).collect() };
        let raw = [
            column(None, 0..5),
            column(Some(0), 5..9),
            column(Some(1), 5..10),
            column(Some(2), 5..9),
            column(Some(2), 0..2),
        ];
        let found = merged(&raw, 10).unwrap();
        let owners: Vec<Option<usize>> = found.iter().map(|c| c.owner).collect();
        assert_eq!(owners, [None, None]);
        assert_eq!(found[1].members.iter().map(|m| m.0).collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert!(inside(&found, 10)[[8, 1]] && !inside(&found, 10)[[9, 1]]);
    }
}
