//! `unbraid reproduce`: a paper's experiments, run again: tables, figures, a page with the printed
//! numbers beside ours, and checks that are computed.
//!
//! A part is data in, a [`Section`] out. A finished section is kept in the output folder with a hash of
//! all that could change it: this very program, the design, the seed and the data it read. The next run
//! takes it from there when the hash is the same, and runs the part anew when it is not.

mod comparison;
mod contender;
mod modules;
mod page;
pub mod section;
mod sets;
mod synthetic;
mod tails;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use unbraid::Seed;
use unbraid::params::{ParamDoc, Params};

use self::section::{Section, table_of_checks, verdict};
use self::sets::Sources;
use crate::args::{Paper, ReproduceArgs};
use crate::fault::Fault;
use crate::set::Settings;
use crate::watch::{self, Progress};

unbraid::params! {
    /// Sizes of the experiments. The defaults are the published ones.
    pub struct Design {
        /// Simulated data sets per point; at least 1. Default 20, `--quick` 3.
        pub seeds: usize = 20,
        /// Points along the noise and the density; at least 2. Default 10.
        pub points: usize = 10,
        /// Rows of the smaller simulated data (figure 2); at least 4. Default 100.
        pub rows: usize = 100,
        /// Columns of the smaller simulated data; at least 4. Default 150.
        pub columns: usize = 150,
        /// Rows of the larger simulated data (figures 5 and 6); at least 4. Default 200.
        pub large_rows: usize = 200,
        /// Columns of the larger simulated data; at least 4. Default 201.
        pub large_columns: usize = 201,
        /// Leiden resolutions tried per graph of simulated data; at least 1. Default 100, `--quick` 12.
        pub resolutions: usize = 100,
        /// Data sets with more rows are left out of the comparison; at least 8. Default 5000, `--quick` 500.
        pub max_rows: usize = 5000,
        /// Methods that decompose a square matrix of all rows are run up to this many; at least 0.
        /// Default 1500, `--quick` 250. The published evaluation stops at 1000.
        pub max_rows_dense: usize = 1500,
        /// Pairs per axis for the tail dependence (figure 1); at least 1. Default 1000.
        pub pairs: usize = 1000,
        /// Curves per network in the test of robustness; at least 2. Default 10.
        pub repeats: usize = 10,
        /// Rewired graphs per value of a curve; at least 1. Default 10, as robin; `--quick` 1.
        pub averaged: usize = 10,
        /// Whether the networks of all data sets are tested for robustness, and not only those of one.
        /// Default true, `--quick` false.
        pub all_robust: bool = true,
    }
}

impl Params for Design {
    const DOCS: &'static [ParamDoc] = Design::FIELDS;

    /// `quick`: fewer data sets and resolutions, the same sizes.
    fn preset(name: &str) -> Option<Design> {
        (name == "quick").then(|| Design {
            seeds: 3,
            resolutions: 12,
            max_rows: 500,
            max_rows_dense: 250,
            averaged: 1,
            all_robust: false,
            ..Design::default()
        })
    }
}

impl Design {
    fn validate(&self) -> Result<(), Fault> {
        let least = [
            ("seeds", self.seeds, 1, "at least 1"),
            ("points", self.points, 2, "at least 2"),
            ("rows", self.rows, 4, "at least 4"),
            ("columns", self.columns, 4, "at least 4"),
            ("large_rows", self.large_rows, 4, "at least 4"),
            ("large_columns", self.large_columns, 4, "at least 4"),
            ("resolutions", self.resolutions, 1, "at least 1"),
            ("max_rows", self.max_rows, 8, "at least 8"),
            ("pairs", self.pairs, 1, "at least 1"),
            ("repeats", self.repeats, 2, "at least 2"),
            ("averaged", self.averaged, 1, "at least 1"),
        ];
        match least.into_iter().find(|(_, found, least, _)| found < least) {
            Some((name, found, _, rule)) => {
                Err(unbraid::Error::Param { name, found: found.to_string(), rule }.into())
            }
            None => Ok(()),
        }
    }
}

/// `count` numbers from `low` to `high`, evenly spaced, both ends included.
fn grid(low: f64, high: f64, count: usize) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count)
        .map(|i| if i + 1 == count && i > 0 { high } else { low + (high - low) * i as f64 / last })
        .collect()
}

/// Which of several data sets has about as many cells as the paper's case study (E-MTAB-7249), the first
/// of equals.
fn nearest_to_published(cells: impl Iterator<Item = usize>) -> Option<usize> {
    const PUBLISHED: usize = 185;
    cells.enumerate().min_by_key(|(at, n)| (n.abs_diff(PUBLISHED), *at)).map(|(at, _)| at)
}

/// One part of the reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Figures 2, 5 and 6: simulated data
    Synthetic,
    /// Figure 1: how often two cells, or two genes, are extreme together
    Tails,
    /// Figure 3: all methods on all labelled data under --data
    Comparison,
    /// Figure 4: gene modules, their analysis of variance, robustness of communities
    Modules,
}

impl Part {
    const ALL: [Part; 4] = [Part::Synthetic, Part::Tails, Part::Comparison, Part::Modules];

    /// As typed.
    fn name(self) -> &'static str {
        match self {
            Part::Synthetic => "synthetic",
            Part::Tails => "tails",
            Part::Comparison => "comparison",
            Part::Modules => "modules",
        }
    }
    /// Whether there is nothing to do without data.
    fn needs_data(self) -> bool {
        self != Part::Synthetic
    }
    fn pieces(self, work: &Work<'_>) -> u64 {
        match self {
            Part::Synthetic => synthetic::pieces(&work.design),
            Part::Tails => tails::pieces(&work.sources),
            Part::Comparison => comparison::pieces(&work.sources),
            Part::Modules => modules::pieces(work),
        }
    }
    fn run(self, work: &Work<'_>) -> Result<Section, Fault> {
        match self {
            Part::Synthetic => synthetic::run(work),
            Part::Tails => tails::run(work),
            Part::Comparison => comparison::run(work),
            Part::Modules => modules::run(work),
        }
    }
    /// Hash of all that could change the section.
    fn fingerprint(self, program: &str, work: &Work<'_>) -> String {
        let data = if self.needs_data() { work.sources.fingerprint() } else { serde_json::Value::Null };
        let what =
            json!({"program": program, "part": self, "design": work.design, "seed": work.seed, "data": data});
        Sha256::digest(what.to_string()).iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// What every part is given.
struct Work<'a> {
    design: Design,
    seed: Seed,
    sources: Sources,
    progress: &'a Progress,
}

/// Runs the command.
pub fn run(args: &ReproduceArgs) -> Result<(), Fault> {
    let Paper::Medmagma = args.paper;
    let mut settings = Settings::new(None, &args.set)?;
    let base = if args.quick { Design::preset("quick").unwrap_or_default() } else { Design::default() };
    let design: Design = settings.take_over(base)?;
    settings.finish(&Design::DOCS.iter().map(|d| d.name).collect::<Vec<_>>())?;
    design.validate()?;
    if let Some(part) = args.only.iter().find(|p| p.needs_data() && args.data.is_empty()) {
        let name = part.name();
        return Err(Fault::Usage(format!(
            "`--only {name}` needs labelled data: give a folder with `--data DIR`"
        )));
    }
    let sources = Sources::find(&args.data, &args.label)?;
    // Without data the parts that need them have nothing to say.
    let wanted = |p: &Part| match args.only.is_empty() {
        true => !(p.needs_data() && args.data.is_empty()),
        false => args.only.contains(p),
    };
    let parts: Vec<Part> = Part::ALL.into_iter().filter(wanted).collect();
    std::fs::create_dir_all(&args.output).map_err(|e| output(&args.output, &e))?;
    unbraid_io::check_writable(&args.output.join("index.html"))?;
    watch::catch_interrupts();
    let pool = crate::fit::pool(args.threads)?;
    let sections = pool.install(|| sections(args, &design, sources, &parts))?;
    write(args, &design, &sections)
}

fn output(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    unbraid_io::Error::Output { file: path.display().to_string(), why: why.to_string() }.into()
}

/// A finished part as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of all that could change the section.
    hash: String,
    section: Section,
}

fn sections(
    args: &ReproduceArgs,
    design: &Design,
    sources: Sources,
    parts: &[Part],
) -> Result<Vec<Section>, Fault> {
    let program = program()?;
    // The bar is as long as the work, which depends on what was found.
    let none = Progress::new("", 0, true);
    let work = Work { design: design.clone(), seed: Seed(args.seed), sources, progress: &none };
    let progress = Progress::new("reproduce", parts.iter().map(|p| p.pieces(&work) as usize).sum(), false);
    let work = Work { progress: &progress, ..work };
    let mut out = Vec::new();
    for &part in parts {
        let hash = part.fingerprint(&program, &work);
        let path = kept_at(&args.output, part);
        let found = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let section = match found.filter(|kept| kept.hash == hash) {
            Some(kept) => {
                progress.done(part.pieces(&work), part.name())?;
                kept.section
            }
            None => {
                let kept = Kept { hash, section: part.run(&work)? };
                let bytes = serde_json::to_vec(&kept).map_err(|e| output(&path, &e))?;
                unbraid_io::write_bytes_atomically(&path, &bytes)?;
                kept.section
            }
        };
        out.push(section);
    }
    Ok(out)
}

fn kept_at(folder: &Path, part: Part) -> PathBuf {
    folder.join(format!("{}.part.json", part.name()))
}

/// Hash of this very program: a part made by another build is made again.
fn program() -> Result<String, Fault> {
    let path = std::env::current_exe().map_err(|e| Fault::Usage(format!("cannot find this program: {e}")))?;
    Ok(unbraid_io::input_sha256(&path)?)
}

/// Tables, figures, checks and the page.
fn write(args: &ReproduceArgs, design: &Design, sections: &[Section]) -> Result<(), Fault> {
    let at = |name: &str| args.output.join(name);
    for section in sections {
        for figure in &section.figures {
            unbraid_io::write_bytes_atomically(&at(&figure.file), figure.svg.as_bytes())?;
        }
        for table in &section.tables {
            unbraid_io::write_bytes_atomically(&at(&table.file), &table.csv())?;
        }
    }
    let checks = table_of_checks(sections);
    unbraid_io::write_bytes_atomically(&at(&checks.file), &checks.csv())?;
    let html = page::render(design, args.quick, args.seed, sections);
    unbraid_io::write_bytes_atomically(&at("index.html"), html.as_bytes())?;
    let files: Vec<PathBuf> = sections
        .iter()
        .flat_map(|s| s.figures.iter().map(|f| &f.file).chain(s.tables.iter().map(|t| &t.file)))
        .chain([&checks.file])
        .map(|f| at(f))
        .chain([at("index.html")])
        .collect();
    if args.json {
        let parts: Vec<_> = sections
            .iter()
            .map(|s| json!({"title": s.title, "checks": s.checks, "notes": s.notes}))
            .collect();
        say!(
            "{}",
            json!({"paper": "medmagma", "design": design, "seed": args.seed, "parts": parts, "files": files, "page": at("index.html")})
        );
        return Ok(());
    }
    for section in sections {
        say!("{}", section.title);
        for check in &section.checks {
            say!(
                "  {:<14} {} (expected {}, found {})",
                verdict(check.holds),
                check.claim,
                check.expected,
                check.found
            );
        }
        for note in &section.notes {
            say!("  note: {note}");
        }
    }
    say!("wrote {} files to {}", files.len(), args.output.display());
    say!("wrote {}; open it in a browser", at("index.html").display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_have_both_ends() {
        assert_eq!(grid(0.0, 1.0, 3), [0.0, 0.5, 1.0]);
        assert_eq!(grid(0.1, 1.0, 10)[9], 1.0);
        assert_eq!((grid(0.0, 1.0, 1), grid(0.0, 1.0, 0)), (vec![0.0], vec![]));
    }

    #[test]
    fn a_fingerprint_changes_with_everything_that_matters() {
        let progress = Progress::new("", 0, true);
        let work = |change: fn(&mut Work<'_>)| {
            let mut work = Work {
                design: Design::default(),
                seed: Seed(0),
                sources: Sources::default(),
                progress: &progress,
            };
            change(&mut work);
            work
        };
        let of = |part: Part, program, change| part.fingerprint(program, &work(change));
        let published: fn(&mut Work<'_>) = |w| w.sources.published = Some(("p.csv".into(), "hash".into()));
        let first = of(Part::Comparison, "a", |_| ());
        assert_eq!(first.len(), 64);
        assert_eq!(first, of(Part::Comparison, "a", |_| ()));
        let other = [
            of(Part::Synthetic, "a", |_| ()),
            of(Part::Comparison, "b", |_| ()),
            of(Part::Comparison, "a", |w| w.design.seeds = 3),
            of(Part::Comparison, "a", |w| w.seed = Seed(1)),
            of(Part::Comparison, "a", published),
        ];
        assert!(other.iter().all(|h| *h != first));
        assert_eq!(other[0], of(Part::Synthetic, "a", published));
    }

    #[test]
    fn sizes_are_checked() {
        let bad = Design { points: 1, ..Design::default() }.validate().unwrap_err();
        assert!(bad.to_string().contains("`points` is 1") && bad.exit_code() == 2, "{bad}");
        assert!(Design::preset("quick").unwrap().validate().is_ok());
    }
}
