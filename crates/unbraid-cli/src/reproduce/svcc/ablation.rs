//! SVCC with each of its terms left out or changed, one at a time.

use unbraid::methods::cocluster::svcc::bound::{Divergence, EncoderGradient, PriorGradient};
use unbraid::methods::cocluster::svcc::cross::Cross;
use unbraid::methods::cocluster::svcc::{Start, Svcc};
use unbraid::params::Params;

use super::fits::{Outcome, Stage, Way};
use super::sets::{Set, Sources};
use super::{Design, Job, ablated, all, over, short};
use crate::cells;
use crate::fault::Fault;
use crate::reproduce::Run;
use crate::reproduce::kept::Runs;
use crate::reproduce::section::{Check, Section, Table};

/// The variants, the first as it is. Labels of the networks alone go on in the block model, so that what the table finds by itself
/// hides nothing.
fn variants(design: &Design) -> Vec<Way> {
    let base = Svcc { starts: 0, ..design.svcc() };
    let of = |name: &'static str, p: Svcc| Way::Svcc(name, Box::new(p));
    let with = |name: &'static str, change: &dyn Fn(&mut Svcc)| {
        let mut p = base.clone();
        change(&mut p);
        of(name, p)
    };
    let paper = Svcc::preset("paper").unwrap_or_default();
    vec![
        with("as it is", &|_| ()),
        with("no cross-loss", &|p| p.kappa = 0.0),
        with("cross-loss κ = 1", &|p| p.kappa = 1.0),
        with("cross-loss T = 1", &|p| p.temperature = 1.0),
        with("cross-loss of squares", &|p| p.cross = Cross::Squares),
        with("cross-loss of assignments", &|p| p.cross = Cross::Assignment),
        with("no contrast", &|p| p.nce = 0.0),
        with("one-sided contrast", &|p| p.symmetric = false),
        with("no stretch", &|p| p.scale = false),
        with("joint space", &|p| p.joint = 1.0),
        with("joint space that sees x", &|p| (p.joint, p.joint_sees_x) = (1.0, true)),
        with("values as they are", &|p| p.dispersion = false),
        with("no pre-training", &|p| p.pretrain = 0),
        with("β = 1 throughout", &|p| p.beta = 1.0),
        with("plain gradients", &|p| {
            (p.encoder_grad, p.prior_grad) = (EncoderGradient::Plain, PriorGradient::Plain)
        }),
        with("gdreg for the mixture", &|p| p.prior_grad = PriorGradient::Gdreg),
        with("K = 1", &|p| p.samples = 1),
        with("closed bound of the divergence", &|p| p.kl = Divergence::Bound),
        with("VaDE's divergence", &|p| p.kl = Divergence::Vade),
        with("start: ITCC", &|p| p.init = Start::Itcc),
        with("start: spectral", &|p| p.init = Start::Spectral),
        of(
            "preset=paper",
            Svcc { restarts: design.restarts, epochs: design.epochs, pretrain: design.pretrain, ..paper },
        ),
    ]
}

/// Whether a variant can be fitted to a table.
fn fits(way: &Way, set: &Set) -> bool {
    !matches!(way, Way::Svcc(_, p) if p.cross == Cross::Assignment && set.shape.0 != set.shape.1)
}

/// Pieces of work, with those that a table does not allow.
pub fn pieces(design: &Design, sources: &Sources) -> u64 {
    (ablated(design, sources) * design.few * variants(design).len()) as u64
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, runs: &Runs, run: &Run<'_>) -> Result<Section, Fault> {
    let sets = design.some(sources.sets(run.seed, design.side)?);
    let ways = variants(design);
    let pairs: Vec<(&Set, &Way)> =
        sets.iter().flat_map(|s| ways.iter().map(move |w| (s, w))).filter(|(s, w)| fits(w, s)).collect();
    let jobs: Vec<Job<'_>> = (pairs.iter())
        .flat_map(|&(set, way)| (0..design.few as u64).map(move |s| (set, way, s)))
        .map(|(set, way, s)| Job {
            set,
            way,
            file: format!("{} ablation", set.name),
            seed: run.seed.0.wrapping_add(s),
        })
        .collect();
    let outcomes = all(&jobs, runs, run)?;
    let left_out = sets.len() * ways.len() - pairs.len();
    run.progress.done((left_out * design.few) as u64, "variants that a table does not allow")?;
    let rows: Vec<(&Set, &Way, &[Outcome])> =
        pairs.iter().zip(outcomes.chunks(design.few)).map(|(&(s, w), o)| (s, w, o)).collect();
    Ok(Section {
        title: "What each term does".into(),
        about: vec![format!(
            "One thing is changed at a time; means over {} seeds, one restart. Before the polish, and after it from the labels of the networks alone. \
             The difference is to the same seeds as it is, with its standard error over the seeds.",
            design.few
        )],
        figures: Vec::new(),
        tables: vec![table(&rows)],
        checks: checks(&sets, &rows),
        notes: runs.notes(),
    })
}

/// Mean of the differences of NMI before the polish to the first variant, and its standard error.
fn gain(base: &[Outcome], other: &[Outcome]) -> (f64, f64) {
    let each: Vec<f64> = base
        .iter()
        .zip(other)
        .map(|(a, b)| b.at(Stage::Before).rows.nmi - a.at(Stage::Before).rows.nmi)
        .collect();
    let n = each.len() as f64;
    let mean = each.iter().sum::<f64>() / n;
    let variance = each.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

fn table(rows: &[(&Set, &Way, &[Outcome])]) -> Table {
    let columns = [
        "table",
        "variant",
        "NMI at the start",
        "before polish",
        "after",
        "columns before",
        "change before polish",
        "its standard error",
        "seconds",
    ];
    let mut table = Table::new(
        "ablation.csv",
        "NMI of the rows, and of the columns where their classes are known.",
        &columns,
    );
    let mut base: &[Outcome] = &[];
    for (set, way, outcomes) in rows {
        if way.name() == "as it is" {
            base = outcomes;
        }
        let of = |stage: Stage| over(outcomes, |o| o.at(stage).rows.nmi);
        let cols = over(outcomes, |o| o.at(Stage::Before).cols.map_or(f64::NAN, |c| c.nmi));
        let (change, error) = gain(base, outcomes);
        let mut line = cells![set.name.as_str(), way.name()];
        line.extend(
            [
                of(Stage::Start),
                of(Stage::Before),
                of(Stage::End),
                cols,
                change,
                error,
                over(outcomes, |o| o.seconds),
            ]
            .map(short),
        );
        table.rows.push(line);
    }
    table
}

fn checks(sets: &[Set], rows: &[(&Set, &Way, &[Outcome])]) -> Vec<Check> {
    let of =
        |set: &Set, name: &str| rows.iter().find(|r| r.0.name == set.name && r.1.name() == name).map(|r| r.2);
    let mut out = Vec::new();
    for set in sets {
        if let (Some(base), Some(without)) = (of(set, "as it is"), of(set, "no cross-loss")) {
            let claim =
                format!("{}: the cross-loss is what matters: gain of NMI before the polish", set.name);
            out.push(Check::number(claim, "test of ours", "above 0", Some(-gain(base, without).0), |v| {
                v > 0.0
            }));
        }
    }
    out
}
