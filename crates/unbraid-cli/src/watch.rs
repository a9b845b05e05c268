//! The observer of a fit at the terminal: progress bar, checkpoints, interrupts.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unbraid::fit::{Flow, Observer, Step};

use crate::fault::Fault;

/// How often the user asked to stop.
static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

/// No bar is shown for fits shorter than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Catches interrupts once per process: the first asks the fit to save and stop, the second ends the
/// program at once.
pub fn catch_interrupts() {
    // A second handler cannot be set; the first is as good.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTS.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(130);
        }
    });
}

/// Whether the user asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTS.load(Ordering::SeqCst) > 0
}

/// Watches one fit.
pub struct Watch {
    bar: Option<Bar>,
    begun: Instant,
    checkpoint: Option<Checkpoint>,
}

/// The bar of a fit: first over the steps of its start where there is a long one, then over its sweeps.
struct Bar {
    bar: ProgressBar,
    /// How sweeps are shown.
    style: String,
    /// What is shown, once anything is.
    place: Option<Place>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    Sweeps,
}

impl Bar {
    /// Shows `done` of `of`; rates begin anew when the bar appears and when the start is over.
    fn show(&mut self, place: Place, done: usize, of: usize) {
        if self.place != Some(place) {
            let start = "{prefix} {bar:30} {pos}/{len} steps of the start, {per_sec}, {eta} left";
            let template = if place == Place::Start { start } else { &self.style };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.set_length(of as u64);
            self.bar.set_position(done as u64);
            self.bar.reset_eta();
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.place = Some(place);
        }
        self.bar.set_position(done as u64);
    }
}

/// Counts equal pieces of work, from any thread.
pub struct Progress(Option<(ProgressBar, Instant)>);

impl Progress {
    /// `quiet` or an output that is no terminal means no bar.
    pub fn new(name: &str, pieces: usize, quiet: bool) -> Progress {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(pieces as u64), ProgressDrawTarget::hidden());
            if let Ok(style) =
                ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}, {eta} left {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            (bar, Instant::now())
        });
        Progress(bar)
    }

    /// One piece is done.
    pub fn tick(&self) {
        self.pieces(1, "");
    }

    /// Several pieces are done, the last of them called `what`.
    ///
    /// # Errors
    /// [`Fault::Interrupted`] when the user asked to stop.
    pub fn done(&self, pieces: u64, what: &str) -> Result<(), Fault> {
        self.pieces(pieces, what);
        match interrupted() {
            true => Err(Fault::Interrupted("stopped by the user".into())),
            false => Ok(()),
        }
    }

    fn pieces(&self, pieces: u64, what: &str) {
        if let Some((bar, begun)) = &self.0 {
            if bar.is_hidden() && begun.elapsed() > PATIENCE {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            if !what.is_empty() {
                bar.set_message(what.to_owned());
            }
            bar.inc(pieces);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Where and how often the state is saved.
struct Checkpoint {
    path: PathBuf,
    every: Duration,
    last: Instant,
}

impl Watch {
    /// `quiet` or an output that is no terminal means no bar. `words` are what steps are called and what
    /// is measured after each: `sweeps` and `objective`.
    pub fn new(name: &str, words: [&str; 2], quiet: bool, checkpoint: Option<(&Path, Duration)>) -> Watch {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            let [steps, measure] = words;
            let style = format!(
                "{{prefix}} {{bar:30}} {{pos}}/{{len}} {steps}, {{per_sec}}, at most {{eta}} left, {measure} {{msg}}"
            );
            bar.set_prefix(name.to_owned());
            bar.set_message("–");
            Bar { bar, style, place: None }
        });
        let now = Instant::now();
        let checkpoint =
            checkpoint.map(|(path, every)| Checkpoint { path: path.to_owned(), every, last: now });
        Watch { bar, begun: now, checkpoint }
    }

    /// The stored state of an earlier run, if there is one.
    pub fn resume(path: Option<&Path>) -> Result<Option<Vec<u8>>, Fault> {
        let Some(path) = path else { return Ok(None) };
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unbraid::Error::Snapshot(format!("{}: {e}", path.display())).into()),
        }
    }
}

impl Observer for Watch {
    fn step(&mut self, at: Step, sweeps: usize, of: usize) -> Flow {
        if let Some(bar) = &mut self.bar {
            if let Step::Sweep(objective) = at {
                bar.bar.set_message(format!("{objective:.6e}"));
            }
            if self.begun.elapsed() > PATIENCE {
                match at {
                    Step::Start(done, of) => bar.show(Place::Start, done, of),
                    _ => bar.show(Place::Sweeps, sweeps, of),
                }
            }
        }
        if interrupted() {
            return Flow::Stop;
        }
        match &self.checkpoint {
            Some(c) if c.last.elapsed() >= c.every => Flow::Save,
            _ => Flow::Continue,
        }
    }

    fn snapshot(&mut self, bytes: &[u8]) -> unbraid::Result<()> {
        if let Some(c) = &mut self.checkpoint {
            unbraid_io::write_bytes_atomically(&c.path, bytes)
                .map_err(|e| unbraid::Error::Snapshot(e.to_string()))?;
            c.last = Instant::now();
        }
        Ok(())
    }
}

/// Lets a fit go on until the user asks to stop.
pub struct UntilInterrupted;

impl Observer for UntilInterrupted {
    fn step(&mut self, _at: Step, _sweeps: usize, _of: usize) -> Flow {
        if interrupted() { Flow::Stop } else { Flow::Continue }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(Bar { bar, .. }) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
