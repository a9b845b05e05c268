//! `unbraid reproduce`: a paper's experiments, run again: tables, figures, a page with the printed
//! numbers beside ours, and checks that are computed.
//!
//! A [`Paper`] is a list of parts. A part is data in, a [`Section`] out. A finished section is kept in the
//! output folder with a hash of all that could change it: this very program, the sizes, the seed and the
//! data it read. The next run takes it from there when the hash is the same, and runs the part anew when it
//! is not.

pub mod batchblend;
mod folders;
mod kept;
pub mod medmagma;
pub mod mssvae;
mod page;
pub mod qmf;
pub mod section;
pub mod svcc;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use unbraid::Seed;
use unbraid::params::Params;

use self::section::{Section, table_of_checks, verdict};
use crate::args::ReproduceArgs;
use crate::fault::Fault;
use crate::set::Settings;
use crate::watch::{self, Progress};

/// What the page says of a paper.
pub struct About {
    /// As typed.
    pub name: &'static str,
    /// What its method is called.
    pub title: &'static str,
    /// Who wrote it.
    pub authors: &'static str,
    /// Its title.
    pub work: &'static str,
    /// Where it is found.
    pub place: &'static str,
}

/// What a part is given beside sizes and data.
pub struct Run<'a> {
    /// Seed of everything random.
    pub seed: Seed,
    /// Told of every piece of work.
    pub progress: &'a Progress,
}

/// The experiments of a paper, with their sizes and data.
pub trait Paper {
    /// One part of it.
    type Part: Copy + ValueEnum;
    /// Which paper.
    const ABOUT: About;
    /// The sizes of the experiments by name.
    fn sizes(&self) -> Map<String, Value>;
    /// Identifies the data that a part reads.
    fn reads(&self, part: Self::Part) -> Value;
    /// Pieces of work of a part, as many as it tells the progress of.
    fn pieces(&self, part: Self::Part) -> u64;
    /// Runs a part.
    ///
    /// # Errors
    /// Data that cannot be read, a fault of a method, the user's interrupt.
    fn run(&self, part: Self::Part, run: &Run<'_>) -> Result<Section, Fault>;
}

/// The sizes: the published or the quick ones with what `--set` says on top.
fn design<D: Params>(args: &ReproduceArgs) -> Result<D, Fault> {
    let mut settings = Settings::new(None, &args.set)?;
    let base = if args.quick { D::preset("quick").unwrap_or_default() } else { D::default() };
    let design = settings.take_over(base)?;
    settings.finish(&D::DOCS.iter().map(|d| d.name).collect::<Vec<_>>())?;
    Ok(design)
}

/// Refuses the first of (name, value, smallest value, that in words) which is too small.
fn least(sizes: &[(&'static str, usize, usize, &'static str)]) -> Result<(), Fault> {
    match sizes.iter().find(|(_, found, least, _)| found < least) {
        Some(&(name, found, _, rule)) => {
            Err(unbraid::Error::Param { name, found: found.to_string(), rule }.into())
        }
        None => Ok(()),
    }
}

/// Mean of some values; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A name in those of files.
pub fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A part as typed.
fn name(part: impl ValueEnum) -> String {
    part.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

fn output(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    unbraid_io::Error::Output { file: path.display().to_string(), why: why.to_string() }.into()
}

/// Hash of all that could change the section of a part.
fn fingerprint<P: Paper>(paper: &P, part: P::Part, program: &str, seed: u64) -> String {
    let what = json!({
        "program": program, "paper": P::ABOUT.name, "part": name(part), "design": paper.sizes(), "seed": seed,
        "data": paper.reads(part),
    });
    Sha256::digest(what.to_string()).iter().map(|b| format!("{b:02x}")).collect()
}

/// A finished part as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of all that could change the section.
    hash: String,
    section: Section,
}

/// Runs the wanted parts of a paper whose arguments are known to be good.
fn run<P: Paper + Sync>(
    paper: &P,
    args: &ReproduceArgs,
    wanted: impl Fn(&P::Part) -> bool,
) -> Result<(), Fault>
where
    P::Part: Send + Sync,
{
    let parts: Vec<P::Part> = P::Part::value_variants().iter().copied().filter(wanted).collect();
    std::fs::create_dir_all(&args.output).map_err(|e| output(&args.output, &e))?;
    unbraid_io::check_writable(&args.output.join("index.html"))?;
    watch::catch_interrupts();
    let pool = crate::fit::pool(args.threads)?;
    let sections = pool.install(|| sections(paper, args, &parts))?;
    write(paper, args, &sections)
}

fn sections<P: Paper>(paper: &P, args: &ReproduceArgs, parts: &[P::Part]) -> Result<Vec<Section>, Fault> {
    let program = program()?;
    let pieces = parts.iter().map(|&p| paper.pieces(p) as usize).sum();
    let progress = Progress::new("reproduce", pieces, false);
    let run = Run { seed: Seed(args.seed), progress: &progress };
    let mut out = Vec::new();
    for &part in parts {
        let hash = fingerprint(paper, part, &program, args.seed);
        let path = args.output.join(format!("{}.part.json", name(part)));
        let found = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let section = match found.filter(|kept| kept.hash == hash) {
            Some(kept) => {
                progress.done(paper.pieces(part), &name(part))?;
                kept.section
            }
            None => {
                let kept = Kept { hash, section: paper.run(part, &run)? };
                let bytes = serde_json::to_vec(&kept).map_err(|e| output(&path, &e))?;
                unbraid_io::write_bytes_atomically(&path, &bytes)?;
                kept.section
            }
        };
        out.push(section);
    }
    Ok(out)
}

/// Hash of this very program: a part made by another build is made again.
fn program() -> Result<String, Fault> {
    let path = std::env::current_exe().map_err(|e| Fault::Usage(format!("cannot find this program: {e}")))?;
    Ok(unbraid_io::input_sha256(&path)?)
}

/// Tables, figures, checks and the page.
fn write<P: Paper>(paper: &P, args: &ReproduceArgs, sections: &[Section]) -> Result<(), Fault> {
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
    let html = page::render(&P::ABOUT, &paper.sizes(), args.quick, args.seed, sections);
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
            json!({"paper": P::ABOUT.name, "design": paper.sizes(), "seed": args.seed, "parts": parts, "files": files, "page": at("index.html")})
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
