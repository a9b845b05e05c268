//! Every method on every table; labels score and never choose.

use super::fits::{Outcome, Scores, Stage, Way};
use super::printed::{MEASURED, PRINTED};
use super::sets::{Set, Sources};
use super::{Design, Job, ablated, all, over, short};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Check, Figure, Section, Table};

/// Five others and SVCC; and, on the tables that are ablated, SVCC from the labels of ITCC.
const WAYS: usize = 6;
/// A difference of NMI that is none.
const LEVEL: f64 = 0.005;

/// Pieces of work.
pub fn pieces(design: &Design, sources: &Sources) -> u64 {
    let tables = if sources.tables.is_empty() { 2 } else { sources.tables.len() };
    ((tables * WAYS + ablated(design, sources)) * design.seeds) as u64
}

/// The outcomes of a method on a set, a seed each.
struct Row<'a> {
    set: &'a Set,
    way: &'a Way,
    outcomes: &'a [Outcome],
}

impl Row<'_> {
    fn nmi(&self, stage: Stage) -> f64 {
        over(self.outcomes, |o| o.at(stage).rows.nmi)
    }
    fn cols(&self, stage: Stage) -> f64 {
        over(self.outcomes, |o| o.at(stage).cols.map_or(f64::NAN, |c| c.nmi))
    }
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    use unbraid::methods::cocluster::svcc::{Start, Svcc};
    let sets = sources.sets(run.seed, design.side)?;
    let mut ways: Vec<Way> = Way::others().into();
    ways.push(Way::Svcc("SVCC", Box::new(design.svcc())));
    ways.push(Way::Svcc("SVCC from ITCC", Box::new(Svcc { init: Start::Itcc, ..design.svcc() })));
    let some: Vec<String> = design.some(sets.clone()).into_iter().map(|s| s.name).collect();
    let wanted = |set: &Set, at: usize| at < WAYS || some.contains(&set.name);
    let jobs: Vec<Job<'_>> = (sets.iter())
        .flat_map(|set| ways.iter().enumerate().map(move |(at, way)| (set, at, way)))
        .filter(|(set, at, _)| wanted(set, *at))
        .map(|(set, _, way)| (set, way))
        .flat_map(|(set, way)| (0..design.seeds as u64).map(move |s| (set, way, s)))
        .map(|(set, way, s)| Job { set, way, file: set.name.clone(), seed: run.seed.0.wrapping_add(s) })
        .collect();
    let outcomes = all(&jobs, runs, run)?;
    let rows: Vec<Row<'_>> = outcomes
        .chunks(design.seeds)
        .zip(jobs.iter().step_by(design.seeds))
        .map(|(outcomes, job)| Row { set: job.set, way: job.way, outcomes })
        .collect();
    let notes = sets.iter().map(|s| {
        let ((n, m), (g, h)) = (s.x.shape(), s.shape);
        format!("{}: {n} × {m}, {g} × {h} clusters asked for.", s.name)
    });
    Ok(Section {
        title: "Every method on every table".into(),
        about: vec![format!(
            "Means over {} seeds. As many clusters of rows as classes, and of columns as of rows where their classes are not known. All \
             settings are the defaults, with {} restart of SVCC. Classes score and never choose. Tables with negative values are given \
             to methods that read none less their smallest value.",
            design.seeds, design.restarts
        )],
        figures: vec![figure(&sets, &rows)?],
        tables: vec![summary(&rows), beside_printed(&rows), every(&jobs, &outcomes)],
        checks: checks(&sets, &rows),
        notes: notes.chain(runs.notes()).collect(),
    })
}

fn stages(way: &Way) -> &'static [(Stage, &'static str)] {
    match way {
        Way::Svcc(..) => &[(Stage::Start, ", start"), (Stage::Before, ", before polish"), (Stage::End, "")],
        _ => &[(Stage::End, "")],
    }
}

fn summary(rows: &[Row<'_>]) -> Table {
    let columns = [
        "table",
        "method",
        "accuracy",
        "purity",
        "NMI",
        "ARI",
        "clusters",
        "NMI of columns",
        "least NMI",
        "largest NMI",
        "I(Q)/I(P)",
        "seconds",
    ];
    let mut table = Table::new("tables.csv", "Rows beside their classes: means over the seeds.", &columns);
    for row in rows {
        for &(stage, what) in stages(row.way) {
            let of = |f: &dyn Fn(&Scores) -> f64| over(row.outcomes, |o| f(o.at(stage)));
            let all = || row.outcomes.iter().map(|o| o.at(stage).rows.nmi);
            let mut line = cells![row.set.name.as_str(), format!("{}{what}", row.way.name())];
            line.extend(
                [of(&|s| s.rows.accuracy), of(&|s| s.rows.purity), of(&|s| s.rows.nmi), of(&|s| s.rows.ari)]
                    .map(short),
            );
            line.extend([of(&|s| s.rows.clusters as f64), row.cols(stage)].map(short));
            line.extend(
                [all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max)].map(short),
            );
            let last = stage == Stage::End;
            let or = |v: f64| short(if last { v } else { f64::NAN });
            line.extend([
                or(over(row.outcomes, |o| o.kept.unwrap_or(f64::NAN))),
                or(over(row.outcomes, |o| o.seconds)),
            ]);
            table.rows.push(line);
        }
    }
    table
}

fn beside_printed(rows: &[Row<'_>]) -> Table {
    let columns = [
        "table",
        "source",
        "method",
        "accuracy as printed",
        "NMI as printed",
        "our accuracy",
        "our purity",
        "our NMI",
        "our clusters",
    ];
    let caption = "What others print beside SVCC at its end. Much of the literature prints purity as accuracy, with more clusters than classes.";
    let mut table = Table::new("printed.csv", caption, &columns);
    for (set, source, method, accuracy, nmi) in PRINTED {
        let Some(row) = rows.iter().find(|r| r.set.name == set && r.way.name() == "SVCC") else { continue };
        let of = |f: &dyn Fn(&Scores) -> f64| short(over(row.outcomes, |o| f(o.at(Stage::End))));
        let mut line = cells![set, source, method, accuracy / 100.0, nmi.map(|v| v / 100.0)];
        line.extend([
            of(&|s| s.rows.accuracy),
            of(&|s| s.rows.purity),
            of(&|s| s.rows.nmi),
            of(&|s| s.rows.clusters as f64),
        ]);
        table.rows.push(line);
    }
    table
}

fn every(jobs: &[Job<'_>], outcomes: &[Outcome]) -> Table {
    let columns =
        ["table", "method", "seed", "accuracy", "purity", "NMI", "ARI", "NMI of columns", "I(Q)", "seconds"];
    let mut table = Table::new("tables_runs.csv", "Every run.", &columns);
    table.shown = false;
    for (job, o) in jobs.iter().zip(outcomes) {
        for &(stage, what) in stages(job.way) {
            let s = o.at(stage);
            let information = if stage == Stage::End { o.information } else { None };
            table.rows.push(cells![
                job.set.name.as_str(),
                format!("{}{what}", job.way.name()),
                job.seed as usize,
                s.rows.accuracy,
                s.rows.purity,
                s.rows.nmi,
                s.rows.ari,
                s.cols.map(|c| c.nmi),
                information,
                o.seconds
            ]);
        }
    }
    table
}

fn figure(sets: &[Set], rows: &[Row<'_>]) -> Result<Figure, Fault> {
    let names: Vec<String> = sets.iter().rev().map(|s| s.name.clone()).collect();
    let place = |set: &Set| names.iter().position(|n| *n == set.name).unwrap_or(0) as f64;
    let mut series: Vec<Series> = Vec::new();
    for row in rows.iter().filter(|r| r.way.name() != "SVCC from ITCC") {
        let name = row.way.name();
        let at = series.iter().position(|s| s.name == name).unwrap_or_else(|| {
            series.push(Series { name: name.clone(), tint: row.way.tint(), marks: Vec::new() });
            series.len() - 1
        });
        let point = (row.nmi(Stage::End), place(row.set) + 0.09 * (at as f64 - 2.5));
        series[at].marks.push(Mark::Dots(vec![point], true));
    }
    let panel = Panel {
        title: "Rows beside their classes".into(),
        x: Axis::numbers("NMI", 0.0..1.02),
        y: Axis::names("", names),
        series,
    };
    let height = 90 + 36 * sets.len() as u32;
    Ok(Figure {
        file: "tables.svg".into(),
        title: "All methods".into(),
        caption: "Mean NMI of the rows over the seeds.".into(),
        svg: figure::draw(&[panel], Names::Above, height)?,
    })
}

fn checks(sets: &[Set], rows: &[Row<'_>]) -> Vec<Check> {
    let of = |set: &str, way: &str| rows.iter().find(|r| r.set.name == set && r.way.name() == way);
    let mut out = Vec::new();
    if let Some(row) = of("classic3", "ITCC") {
        let best = row.outcomes.iter().filter_map(|o| o.information).fold(f64::NEG_INFINITY, f64::max);
        out.push(Check::number(
            "ITCC on classic3 keeps the information of coclust, nats",
            "coclust",
            "0.36825 or more",
            Some(best),
            |v| v >= 0.36825,
        ));
        out.push(Check::number(
            "… and its NMI",
            "coclust",
            "0.93 or more",
            Some(row.nmi(Stage::End)),
            |v| v >= 0.93,
        ));
    }
    for (set, way, nmi) in MEASURED {
        if let Some(row) = of(set, way) {
            let best = row.outcomes.iter().map(|o| o.at(Stage::End).rows.nmi).fold(0.0, f64::max);
            let claim = format!("{way} on {set}: NMI of its best seed beside what another program gave once");
            out.push(Check::number(
                claim,
                "another program",
                format!("{nmi} − 0.01 or more"),
                Some(best),
                |v| v >= nmi - 0.01,
            ));
        }
    }
    let before = [
        ("planted_p", "SVCC", false, 0.88),
        ("planted_p", "SVCC", true, 0.94),
        ("planted_o", "SVCC", false, 0.55),
        ("cstr", "SVCC", false, 0.71),
        ("cstr", "SVCC from ITCC", false, 0.77),
    ];
    for (set, way, cols, least) in before {
        if let Some(row) = of(set, way) {
            let found = if cols { row.cols(Stage::Before) } else { row.nmi(Stage::Before) };
            let what = if cols { "columns" } else { "rows" };
            let claim = format!("{way} on {set}, {what}, before the polish: NMI");
            out.push(Check::number(claim, "test of ours", format!("{least} or more"), Some(found), |v| {
                v >= least
            }));
        }
    }
    for set in ["planted_p", "planted_o", "cstr"] {
        if let Some(row) = of(set, "SVCC") {
            let gain = row.nmi(Stage::Before) - row.nmi(Stage::Start);
            let claim =
                format!("On {set} the networks are better than their start: gain of NMI, paired over seeds");
            out.push(Check::number(claim, "test of ours", "above 0", Some(gain), |v| v > 0.0));
        }
    }
    for set in sets {
        for other in ["ITCC", "spectral"] {
            if let (Some(a), Some(b)) = (of(&set.name, "SVCC"), of(&set.name, other)) {
                let gain = a.nmi(Stage::End) - b.nmi(Stage::End);
                let claim = format!(
                    "{}: SVCC at its end is at least as good as {other}: difference of mean NMI",
                    set.name
                );
                out.push(Check::number(
                    claim,
                    "test of ours",
                    format!("−{LEVEL} or more"),
                    Some(gain),
                    |v| v >= -LEVEL,
                ));
            }
        }
    }
    out
}
