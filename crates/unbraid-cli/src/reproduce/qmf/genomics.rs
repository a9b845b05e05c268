//! Figures 3 and 7: NMF and QMF on tables of several omics of the same patients, how well they fit, and how many
//! of their factors go with survival.
//!
//! Tables are prepared one by one: features in rows are turned, at most 6,000 of largest standard deviation are taken,
//! a table with negative values loses its smallest one, and every table is divided by its largest. Then they stand side
//! by side. The joint Cox model has all factors of a fit as covariates; a factor counts where its p-value times their
//! number is below 0.05.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis as Along, concatenate};
use serde_json::{Value, json};
use unbraid::Seed;
use unbraid::data::{Dataset, Matrix, Values};
use unbraid::fit::{Ctx, Method, Stop};
use unbraid::methods::factor::common::Nonnegative;
use unbraid::methods::factor::nmf::Nmf;
use unbraid::methods::factor::qmf::Qmf;
use unbraid::params::Params;
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::prepare::{Prepare, Scale, Shift, Transform};
use unbraid::stats::cox::{Cox, CoxFit};
use unbraid_io::ReadOptions;

use super::Design;
use super::fits::{along, mean};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Figure, Section, Table};
use crate::watch::UntilInterrupted;

/// Most features of a table.
const FEATURES: usize = 6000;
/// Endings of the tables of a cohort that lies in plain files, and of its survival times.
const TABLES: [&str; 3] = ["_expression.tsv", "_methylation.tsv", "_mirna.tsv"];
const SURVIVAL: &str = "_survival.tsv";
/// Level of the tests.
const LEVEL: f64 = 0.05;

/// Where the tables of a cohort are.
#[derive(Clone, Debug)]
pub struct Cohort {
    name: String,
    place: Place,
    hashes: Vec<String>,
}

#[derive(Clone, Debug)]
enum Place {
    /// Tables and the columns of the patients.
    Files(Vec<PathBuf>, PathBuf),
    /// The folder of a benchmark.
    Folder(PathBuf),
}

fn missing(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    let what = path.display().to_string();
    let hint = format!("`--data` needs a folder that can be read ({why})");
    unbraid::Error::Missing { what, hint }.into()
}

/// The cohorts in some folders, by name.
///
/// # Errors
/// A path that cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Cohort>, Fault> {
    let mut out = Vec::new();
    for path in paths {
        let entries = std::fs::read_dir(path).map_err(|e| missing(path, &e))?;
        let all = entries.map(|e| e.map(|e| e.path())).collect::<Result<BTreeSet<_>, _>>();
        let all = all.map_err(|e| missing(path, &e))?;
        let stem =
            |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for folder in std::iter::once(path).chain(&all).filter(|p| unbraid_io::omics::is_folder(p)) {
            let files: Vec<PathBuf> = match std::fs::read_dir(folder) {
                Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_file()).collect(),
                Err(e) => return Err(missing(folder, &e)),
            };
            let files: BTreeSet<PathBuf> = files.into_iter().collect();
            let hashes = files.iter().map(|f| unbraid_io::input_sha256(f)).collect::<Result<_, _>>()?;
            out.push(Cohort { name: stem(folder), place: Place::Folder(folder.clone()), hashes });
        }
        for survival in &all {
            let Some(name) = stem(survival).strip_suffix(SURVIVAL).map(str::to_owned) else { continue };
            let with = |ending: &str| {
                let plain = path.join(format!("{name}{ending}"));
                [plain.clone(), plain.with_extension("tsv.gz")].into_iter().find(|p| p.is_file())
            };
            let tables: Vec<PathBuf> = TABLES.iter().filter_map(|ending| with(ending)).collect();
            if tables.is_empty() {
                continue;
            }
            let read = tables.iter().chain([survival]);
            let hashes = read.map(|f| unbraid_io::input_sha256(f)).collect::<Result<_, _>>()?;
            out.push(Cohort { name, place: Place::Files(tables, survival.clone()), hashes });
        }
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// All that identifies the data.
pub fn fingerprint(cohorts: &[Cohort]) -> Value {
    cohorts.iter().map(|c| json!([c.name, c.hashes])).collect()
}

/// A cohort ready to be fitted.
struct Patients {
    name: String,
    /// Patients × features, tables side by side.
    x: Matrix,
    groups: Vec<Option<u32>>,
    /// Of each patient, where both are known.
    outcome: Vec<Option<(f64, bool)>>,
}

impl Cohort {
    fn read(&self) -> Result<Patients, Fault> {
        let (tables, names) = match &self.place {
            Place::Folder(folder) => (unbraid_io::omics::read(folder, None)?.tables, ["Survival", "Death"]),
            Place::Files(files, columns) => {
                let options = ReadOptions { transpose: true, ..ReadOptions::default() };
                let mut tables: Vec<Dataset> =
                    files.iter().map(|f| unbraid_io::read(f, &options)).collect::<Result<_, _>>()?;
                let (table, file) = (unbraid_io::read_columns(columns, None)?, columns.display().to_string());
                let first = &mut tables[0].obs;
                first.columns = unbraid_io::align_columns(&table, &first.names, &file)?.0;
                (tables, ["time_days", "event"])
            }
        };
        let first = &tables[0];
        if let Some(other) = tables.iter().find(|t| t.obs.names != first.obs.names) {
            let rule = "the same patients in the same order in all tables of a cohort";
            let found = vec![other.obs.len()];
            return Err(Fault::on(other, unbraid::Error::Shape { what: "patients".into(), found, rule }));
        }
        let column =
            |name: &str| crate::survival::numbers(&first.obs.columns, name, &first.source, first, true);
        let (time, event) = (column(names[0])?, column(names[1])?);
        let outcome = time
            .into_iter()
            .zip(event)
            .map(|(time, event)| Some((time.filter(|t| *t >= 0.0)?, event? == 1.0)))
            .collect();
        let (mut parts, mut groups) = (Vec::new(), Vec::new());
        for (at, table) in tables.iter().enumerate() {
            // The benchmark's tables hold counts and beta values, the plain files logarithms.
            let counts = matches!(self.place, Place::Folder(_)) && !table.source.contains("methy");
            let features = table.shape().1;
            let prepare = Prepare {
                genes: if features > FEATURES { Genes::Variance(FEATURES) } else { Genes::All },
                transform: if counts { Transform::Log2p1 } else { Transform::None },
                shift: Shift::Min,
                scale: Scale::Max,
                ..Prepare::default()
            };
            let (ready, _) = prepare.apply(table, &mut Vec::new()).map_err(|e| Fault::on(table, e))?;
            groups.extend(std::iter::repeat_n(Some(at as u32), ready.shape().1));
            parts.push(match ready.x {
                Matrix::Dense(x) => x,
                Matrix::Sparse(x) => x.to_dense(),
            });
        }
        let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
        // All tables have the same patients.
        let x = concatenate(Along(1), &views).unwrap_or_else(|_| parts[0].clone());
        Ok(Patients { name: self.name.clone(), x: Matrix::Dense(x), groups, outcome })
    }
}

/// A method of this experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Nmf,
    /// With this ε.
    Qmf(f64),
}

const WAYS: [Way; 3] = [Way::Nmf, Way::Qmf(0.01), Way::Qmf(0.001)];

impl Way {
    fn name(self) -> String {
        match self {
            Way::Nmf => "NMF".into(),
            Way::Qmf(epsilon) => format!("QMF, ε {epsilon}"),
        }
    }

    fn tint(self) -> usize {
        WAYS.iter().position(|w| *w == self).map_or(0, |at| [2, 0, 1][at])
    }

    /// KL by step or epoch, KL at the end, Vᵀ.
    fn fit(self, on: &Patients, epochs: usize, seed: Seed) -> Result<(Vec<f64>, f64, Array2<f64>), Fault> {
        let values = Values { what: &on.name, matrix: &on.x };
        let input = Nonnegative { groups: Some(&on.groups), ..Nonnegative::new(values) };
        let mut observer = UntilInterrupted;
        let mut ctx = Ctx::new(seed, &mut observer);
        let (course, divergence, scores, stop) = match self {
            Way::Nmf => {
                let fit =
                    Nmf { tol: 1e-8, max_steps: 100 * epochs, ..Nmf::default() }.fit(input, &mut ctx)?;
                let last = fit.objective.last().copied().unwrap_or(f64::NAN);
                (fit.objective, last, fit.scores, fit.stop)
            }
            Way::Qmf(epsilon) => {
                let paper = Qmf::preset("paper").unwrap_or_default();
                let fit = Qmf { epsilon, max_steps: epochs, ..paper }.fit(input, &mut ctx)?;
                (fit.objective, fit.divergence, fit.scores, fit.stop)
            }
        };
        match stop {
            Stop::Cancelled => Err(Fault::Interrupted("stopped by the user".into())),
            _ => Ok((course, divergence, scores)),
        }
    }
}

/// One fit of one cohort.
struct Outcome {
    cohort: usize,
    way: Way,
    seed: u64,
    course: Vec<f64>,
    divergence: f64,
    /// The joint model; why there is none.
    cox: Result<CoxFit, String>,
}

impl Outcome {
    /// Factors with p < 0.05 after Bonferroni.
    fn found(&self) -> Option<usize> {
        let fit = self.cox.as_ref().ok()?;
        Some((0..fit.p.len()).filter(|&j| !fit.infinite[j] && fit.bonferroni[j] < LEVEL).count())
    }
}

fn cox(on: &Patients, scores: &Array2<f64>) -> Result<CoxFit, String> {
    let rows: Vec<usize> = (0..on.outcome.len()).filter(|&i| on.outcome[i].is_some()).collect();
    let (time, event): (Vec<f64>, Vec<bool>) = on.outcome.iter().flatten().copied().unzip();
    Cox::default().fit(scores.select(Along(0), &rows).view(), &time, &event).map_err(|e| e.to_string())
}

/// Pieces of work.
pub fn pieces(design: &Design, cohorts: &[Cohort]) -> u64 {
    (cohorts.len() * design.starts * WAYS.len()) as u64
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, and the user's interrupt.
pub fn run(design: &Design, cohorts: &[Cohort], run: &Run<'_>) -> Result<Section, Fault> {
    let title = "Genomics: figures 3 and 7".to_owned();
    if cohorts.is_empty() {
        let note = "No cohort was given, so this part was left out: --data names a folder with NAME_expression.tsv.gz, \
                    NAME_methylation.tsv.gz, NAME_mirna.tsv.gz (features in rows, any of them) and NAME_survival.tsv (time_days, \
                    event), or with folders of the multi-omics benchmark (exp, methy, mirna, survival).";
        return Ok(Section { title, notes: vec![note.into()], ..Section::default() });
    }
    let mut all = Vec::new();
    let mut sizes = Vec::new();
    for (at, cohort) in cohorts.iter().enumerate() {
        let patients = cohort.read()?;
        let events = patients.outcome.iter().flatten().filter(|o| o.1).count();
        sizes.push((patients.name.clone(), patients.x.shape(), events));
        for start in 0..design.starts as u64 {
            let seed = run.seed.0.wrapping_add(start);
            for way in WAYS {
                let (course, divergence, scores) = way.fit(&patients, design.genomics, Seed(seed))?;
                let cox = cox(&patients, &scores);
                all.push(Outcome { cohort: at, way, seed, course, divergence, cox });
                run.progress.done(1, &format!("{}, seed {seed}, {}", cohort.name, way.name()))?;
            }
        }
    }
    Ok(Section {
        title,
        about: about(design, &sizes),
        figures: vec![courses(design, cohorts, &all)?, counts(cohorts, &all)?],
        tables: vec![summary(cohorts, &all), models(cohorts, &all, run.seed.0), every(cohorts, &all)],
        checks: checks(cohorts, &all),
        notes: notes(cohorts, &all),
    })
}

fn about(design: &Design, sizes: &[(String, (usize, usize), usize)]) -> Vec<String> {
    let cohorts: Vec<String> = sizes
        .iter()
        .map(|(name, (n, d), events)| format!("{name}: {d} features, {n} patients, {events} deaths"))
        .collect();
    vec![
        format!("Cohorts: {}.", cohorts.join("; ")),
        format!(
            "{} starts of each method, 10 factors. NMF: KL to a relative change of 1e-8. QMF: the published protocol, {} epochs, \
             16 quantiles, mini-batches of 64 features, step size 0.001, ρ 0.001, with ε 0.01 and 0.001, as the paper gives one \
             and the authors' program the other. A factor counts where its p-value in the joint Cox model (Efron), times 10, is \
             below 0.05.",
            design.starts, design.genomics
        ),
    ]
}

fn of<'a>(all: &'a [Outcome], cohort: usize, way: Way) -> Vec<&'a Outcome> {
    all.iter().filter(|o| o.cohort == cohort && o.way == way).collect()
}

/// Mean, least and largest.
fn spread(values: &[f64]) -> [f64; 3] {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [mean(values), low, high]
}

fn divergences(all: &[&Outcome]) -> [f64; 3] {
    spread(&all.iter().map(|o| o.divergence).collect::<Vec<_>>())
}

/// Factors found, where every start has a model.
fn found(all: &[&Outcome]) -> Option<[f64; 3]> {
    let counts: Option<Vec<f64>> = all.iter().map(|o| o.found().map(|c| c as f64)).collect();
    counts.filter(|c| !c.is_empty()).map(|c| spread(&c))
}

fn courses(design: &Design, cohorts: &[Cohort], all: &[Outcome]) -> Result<Figure, Fault> {
    let panels: Vec<Panel> = (0..cohorts.len())
        .map(|at| {
            let mut values = Vec::new();
            let series = WAYS.map(|way| {
                let fits = of(all, at, way);
                let mut along = along(&fits.iter().map(|o| &o.course).collect::<Vec<_>>());
                along.truncate(design.genomics);
                // The first epochs are far above what there is to see.
                let from = along.len() / 20;
                let kept = || along.iter().enumerate().skip(from).map(|(i, v)| ((i + 1) as f64, v));
                values.extend(kept().flat_map(|(_, v)| v.iter().copied()));
                let band = kept().map(|(x, v)| (x, v[1].log10(), v[2].log10())).collect();
                let line = kept().map(|(x, v)| (x, v[0].log10())).collect();
                Series { name: way.name(), tint: way.tint(), marks: vec![Mark::Band(band), Mark::Line(line)] }
            });
            Panel {
                title: cohorts[at].name.clone(),
                x: Axis::numbers("steps of NMF, epochs of QMF", 0.0..design.genomics as f64),
                y: Axis::decades("mean KL divergence", values),
                series: series.into(),
            }
        })
        .collect();
    Ok(Figure {
        file: "figure3.svg".into(),
        title: "Figure 3: loss of NMF and QMF".into(),
        caption: "Lines: means over starts; bands: from the smallest to the largest. The first twentieth of each course is left \
                  out. QMF's losses here are taken batch by batch and hold its penalty."
            .into(),
        svg: figure::draw(&panels, Names::Above, 420)?,
    })
}

fn counts(cohorts: &[Cohort], all: &[Outcome]) -> Result<Figure, Fault> {
    let top = all.iter().filter_map(Outcome::found).max().unwrap_or(0).max(3);
    let panels: Vec<Panel> = (0..cohorts.len())
        .map(|at| {
            let series = WAYS.iter().enumerate().filter_map(|(row, &way)| {
                let [mean, low, high] = found(&of(all, at, way))?;
                let y = row as f64;
                let marks =
                    vec![Mark::Bars(vec![(mean, y)], 0.5), Mark::Interval(vec![(low, mean, high, y)])];
                Some(Series { name: way.name(), tint: way.tint(), marks })
            });
            Panel {
                title: cohorts[at].name.clone(),
                x: Axis::numbers("factors with p < 0.05 after Bonferroni", 0.0..top as f64 + 0.5),
                y: Axis::names("", WAYS.map(Way::name).into()),
                series: series.collect(),
            }
        })
        .collect();
    Ok(Figure {
        file: "figure7.svg".into(),
        title: "Figure 7: factors that go with survival".into(),
        caption: "Bars: means over starts; thin lines: from the fewest to the most. The paper shows one run."
            .into(),
        svg: figure::draw(&panels, Names::None, 300)?,
    })
}

/// What the paper prints for a cohort.
fn printed(name: &str, way: Way) -> Option<&'static str> {
    (name.to_lowercase().starts_with("br") && way != Way::Nmf).then_some("2")
}

fn summary(cohorts: &[Cohort], all: &[Outcome]) -> Table {
    let columns =
        ["cohort", "method", "starts", "KL", "smallest", "largest", "factors", "fewest", "most", "printed"];
    let caption = "KL at the end over starts; factors with p < 0.05 after Bonferroni, their mean, fewest and most; what the paper \
                   prints, on its full cohort, where it has one.";
    let mut table = Table::new("genomics.csv", caption, &columns);
    for (at, cohort) in cohorts.iter().enumerate() {
        for way in WAYS {
            let fits = of(all, at, way);
            let ([kl, low, high], found) = (divergences(&fits), found(&fits));
            let count = |i: usize| found.map(|f| f[i]);
            table.rows.push(cells![
                cohort.name.as_str(),
                way.name(),
                fits.len(),
                kl,
                low,
                high,
                count(0),
                count(1),
                count(2),
                printed(&cohort.name, way)
            ]);
        }
    }
    table
}

fn models(cohorts: &[Cohort], all: &[Outcome], seed: u64) -> Table {
    let columns = ["cohort", "method", "factor", "coef", "hazard ratio", "se", "z", "p", "p Bonferroni"];
    let caption = "Joint Cox models of the first start. Coefficients are per standard deviation of a factor.";
    let mut table = Table::new("genomics_cox.csv", caption, &columns);
    for o in all.iter().filter(|o| o.seed == seed) {
        let Ok(fit) = &o.cox else { continue };
        for j in 0..fit.coef.len() {
            let known = |v: f64| (!fit.infinite[j]).then_some(v);
            table.rows.push(cells![
                cohorts[o.cohort].name.as_str(),
                o.way.name(),
                j + 1,
                known(fit.coef[j]),
                known(fit.coef[j].exp()),
                known(fit.se[j]),
                known(fit.z[j]),
                known(fit.p[j]),
                known(fit.bonferroni[j])
            ]);
        }
    }
    table
}

fn every(cohorts: &[Cohort], all: &[Outcome]) -> Table {
    let columns =
        ["cohort", "method", "seed", "steps", "kl", "factors", "smallest_p", "lr_p", "concordance", "events"];
    let mut table = Table::new("genomics_runs.csv", "Every fit.", &columns);
    for o in all {
        let fit = o.cox.as_ref().ok();
        table.rows.push(cells![
            cohorts[o.cohort].name.as_str(),
            o.way.name(),
            o.seed as usize,
            o.course.len(),
            o.divergence,
            o.found(),
            fit.map(|f| f.p.iter().copied().fold(1.0, f64::min)),
            fit.map(|f| f.lr_p),
            fit.map(|f| f.concordance),
            fit.map(|f| f.events)
        ]);
    }
    table
}

fn checks(cohorts: &[Cohort], all: &[Outcome]) -> Vec<Check> {
    let mut out = Vec::new();
    for (at, cohort) in cohorts.iter().enumerate() {
        let name = &cohort.name;
        let nmf = of(all, at, Way::Nmf);
        for way in [WAYS[1], WAYS[2]] {
            let fits = of(all, at, way);
            out.push(Check::number(
                format!("{name}: the largest KL of {} is below the smallest of NMF (ratio)", way.name()),
                "paper, figure 3",
                "< 1",
                Some(divergences(&fits)[2] / divergences(&nmf)[1]),
                |v| v < 1.0,
            ));
            if printed(name, way).is_some() {
                let more = found(&fits).zip(found(&nmf)).map(|(q, n)| q[0] - n[0]);
                out.push(Check::number(
                    format!(
                        "{name}: {} finds more factors that go with survival than NMF (difference of means)",
                        way.name()
                    ),
                    "paper, figure 7",
                    "> 0",
                    more,
                    |v| v > 0.0,
                ));
            }
        }
    }
    out
}

fn notes(cohorts: &[Cohort], all: &[Outcome]) -> Vec<String> {
    let mut out = vec![
        "The paper has nine cancers with up to 6,000 features per omic; a cohort given here may be a smaller one. A count of \
         factors with small p-values depends on the start, which is why several are shown; of the printed counts only that of \
         breast cancer, 2, has a cohort here."
            .to_owned(),
    ];
    for o in all {
        if let Err(why) = &o.cox {
            out.push(format!(
                "{}, {}, seed {}: no Cox model: {why}.",
                cohorts[o.cohort].name,
                o.way.name(),
                o.seed
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohorts_are_found_by_their_survival_and_tables() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("a_survival.tsv", "patient\ttime_days\tevent\np1\t3\t1\np2\t5\t0\n");
        put("a_expression.tsv", "gene\tp1\tp2\ng1\t-1\t1\ng2\t0\t3\n");
        put("a_mirna.tsv", "gene\tp1\tp2\nm1\t2\t4\n");
        put("b_survival.tsv", "patient\ttime_days\tevent\np1\t3\t1\n");
        let found = find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(found.len(), 1);
        let read = found[0].read().unwrap();
        assert_eq!(read.outcome, [Some((3.0, true)), Some((5.0, false))]);
        let Matrix::Dense(x) = read.x else { panic!("dense") };
        // Each table by itself: −1 is subtracted and 4 divides the first, 4 divides the second.
        assert_eq!(x, ndarray::array![[0.0, 0.25, 0.5], [0.5, 1.0, 1.0]]);
        assert_eq!(read.groups, [Some(0), Some(0), Some(1)]);
        assert!(find(&[folder.path().join("none")]).is_err());
    }
}
