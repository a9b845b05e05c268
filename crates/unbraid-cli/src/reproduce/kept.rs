//! Runs that are kept as files and not made again where all that decides them is the same, so that a long part can be stopped and
//! gone on with.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{output, program};
use crate::fault::Fault;

/// A run, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// All that decides the outcome.
    settings: Value,
    /// Hash of the program that made it.
    program: String,
    outcome: T,
}

/// The folder of runs.
pub struct Runs {
    folder: PathBuf,
    /// Hash of this program.
    program: String,
    /// Runs of another build since [`notes`](Self::notes) last told.
    others: AtomicUsize,
}

impl Runs {
    /// Those under the folder of a reproduction.
    ///
    /// # Errors
    /// A program that cannot be read.
    pub fn new(folder: &Path) -> Result<Runs, Fault> {
        Ok(Runs { folder: folder.join("runs"), program: program()?, others: AtomicUsize::new(0) })
    }

    /// The outcome of a run: from the file of that name where it was made with the same settings, by this version, else made now.
    ///
    /// # Errors
    /// What `make` fails with, a file that cannot be written.
    pub fn get<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        mut settings: Value,
        make: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        settings["version"] = env!("CARGO_PKG_VERSION").into();
        let path = self.folder.join(format!("{name}.json"));
        let read = |bytes: Vec<u8>| serde_json::from_slice::<Kept<T>>(&bytes);
        let kept = std::fs::read(&path).ok().and_then(|bytes| read(bytes).ok());
        if let Some(kept) = kept.filter(|k| k.settings == settings) {
            self.others.fetch_add(usize::from(kept.program != self.program), Ordering::Relaxed);
            return Ok(kept.outcome);
        }
        let made = Kept { settings, program: self.program.clone(), outcome: make()? };
        std::fs::create_dir_all(&self.folder).map_err(|e| output(&self.folder, &e))?;
        let bytes = serde_json::to_vec(&made).map_err(|e| output(&path, &e))?;
        unbraid_io::write_bytes_atomically(&path, &bytes)?;
        // From the file's own digits, so that a run gives what a kept one gives.
        Ok(read(bytes).map_err(|e| output(&path, &e))?.outcome)
    }

    /// What a part says of the runs it got that another build made.
    pub fn notes(&self) -> Vec<String> {
        match self.others.swap(0, Ordering::Relaxed) {
            0 => Vec::new(),
            n => vec![format!(
                "{n} of these runs were kept from another build of this version, with the same settings."
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_is_made_once_for_its_settings_and_one_of_another_build_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::new(folder.path()).unwrap();
        let get = |runs: &Runs, seed: u64, value: f64| {
            runs.get("a", json!({ "seed": seed }), || Ok(vec![value])).unwrap()[0]
        };
        assert_eq!((get(&runs, 0, 0.1), get(&runs, 0, 0.2), get(&runs, 1, 0.3)), (0.1, 0.1, 0.3));
        assert!(runs.notes().is_empty());
        runs.program = "another".into();
        assert_eq!(get(&runs, 1, 0.4), 0.3);
        assert!(runs.notes()[0].starts_with("1 of these runs") && runs.notes().is_empty());
        // What cannot be read is made again.
        std::fs::write(folder.path().join("runs/a.json"), b"{").unwrap();
        assert_eq!(get(&runs, 1, 0.5), 0.5);
        let failing = runs.get::<f64>("b", json!({}), || Err(Fault::Usage("no".into())));
        assert!(failing.is_err() && !folder.path().join("runs/b.json").exists());
    }
}
