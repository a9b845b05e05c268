//! Scores where a share of the entries is replaced: the entries that are chosen exchange their values at random.

use super::fits::{Outcome, Stage, Way};
use super::sets::{Set, Sources};
use super::{Design, Job, ablated, all, over, short};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Check, Figure, Section, Table};
use unbraid::Seed;

/// Shares of the entries.
const SHARES: [f64; 8] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];

fn ways(design: &Design) -> Vec<Way> {
    vec![Way::Kmeans, Way::Spectral, Way::Itcc, Way::Lbm, Way::Svcc("SVCC", Box::new(design.svcc()))]
}

/// Pieces of work.
pub fn pieces(design: &Design, sources: &Sources) -> u64 {
    (ablated(design, sources) * SHARES.len() * design.few * ways(design).len()) as u64
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let sets = design.some(sources.sets(run.seed, design.side)?);
    let ways = ways(design);
    // A copy for each seed.
    let copies: Vec<(usize, f64, u64, Set)> = (sets.iter().enumerate())
        .flat_map(|(at, set)| SHARES.map(|share| (at, set, share)))
        .flat_map(|(at, set, share)| {
            (0..design.few as u64).map(move |s| {
                let seed = run.seed.0.wrapping_add(s);
                (at, share, seed, set.corrupted(share, Seed(seed)))
            })
        })
        .collect();
    let jobs: Vec<Job<'_>> = (copies.iter())
        .flat_map(|copy| ways.iter().map(move |way| (copy, way)))
        .map(|((_, share, seed, set), way)| Job {
            set,
            way,
            file: format!("{} corrupted {share}", set.name),
            seed: *seed,
        })
        .collect();
    let outcomes = all(&jobs, runs, run)?;
    let here = |at: usize, share: f64, way: usize| -> Vec<Outcome> {
        let same = |i: &usize| {
            copies[i / ways.len()].0 == at && copies[i / ways.len()].1 == share && i % ways.len() == way
        };
        (0..jobs.len()).filter(same).map(|i| outcomes[i].clone()).collect()
    };
    let columns = ["table", "share replaced", "method", "NMI", "ARI", "NMI before the polish"];
    let mut table = Table::new("corruption.csv", "Means over the seeds.", &columns);
    let mut panels = Vec::new();
    let mut checks = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let mut series: Vec<Series> = Vec::new();
        let mut at_half = Vec::new();
        for (w, way) in ways.iter().enumerate() {
            let mut line = Vec::new();
            for share in SHARES {
                let found = here(at, share, w);
                let nmi = over(&found, |o| o.at(Stage::End).rows.nmi);
                let ari = over(&found, |o| o.at(Stage::End).rows.ari);
                let before = match way {
                    Way::Svcc(..) => over(&found, |o| o.at(Stage::Before).rows.nmi),
                    _ => f64::NAN,
                };
                let mut row = cells![set.name.as_str(), share, way.name()];
                row.extend([nmi, ari, before].map(short));
                table.rows.push(row);
                line.push((share, nmi));
                if share == 0.5 {
                    at_half.push(nmi);
                }
            }
            series.push(Series {
                name: way.name(),
                tint: way.tint(),
                marks: vec![Mark::Line(line.clone()), Mark::Dots(line, true)],
            });
        }
        let best = at_half[..at_half.len() - 1].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let claim = format!(
            "{}, half of the entries replaced: SVCC beside the best other method, difference of NMI",
            set.name
        );
        let found = at_half.last().map(|v| v - best);
        checks.push(Check::number(
            claim,
            "the authors claim robustness at 50 to 70 %",
            "−0.005 or more",
            found,
            |v| v >= -0.005,
        ));
        panels.push(Panel {
            title: set.name.clone(),
            x: Axis::numbers("share of entries replaced", 0.0..0.72),
            y: Axis::numbers("NMI of rows", 0.0..1.02),
            series,
        });
    }
    Ok(Section {
        title: "Corrupted entries".into(),
        about: vec!["Each entry is chosen with the given chance; the chosen ones exchange their values at random, so that the values of the table stay what they are. A copy and a run for each seed.".into()],
        figures: vec![Figure {
            file: "corruption.svg".into(),
            title: "NMI over the share of replaced entries".into(),
            caption: "Means over the seeds; SVCC at its end.".into(),
            svg: figure::draw(&panels, Names::Above, 340)?,
        }],
        tables: vec![table],
        checks,
        notes: runs.notes(),
    })
}
