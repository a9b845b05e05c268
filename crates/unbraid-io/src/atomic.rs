//! Output that is either the whole new file or the old one, never a part of either.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

const SUFFIX: &str = ".unbraid-tmp";

/// Lets `fill` write a temporary file beside `path`, then syncs it, renames it to `path` and syncs the
/// directory. On any error the temporary file is removed and an existing `path` is left as it was.
///
/// Temporary files that earlier, no longer running processes left for the same target are removed.
///
/// # Errors
/// What `fill` returned, or [`Error::Output`] naming `path`.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fault = |why: std::io::Error| Error::output(path, why);
    let (dir, name) = place(path)?;
    let target = dir.join(&name);
    let (dir, name) = (dir.as_path(), name.as_os_str());
    remove_stale(dir, &stem(name));
    let temporary = Temporary(dir.join(temporary_name(name)));
    fill(&temporary.0).map_err(|e| match e {
        Error::Output { file, why } if file == temporary.0.display().to_string() => Error::output(path, why),
        other => other,
    })?;
    let written = File::options().read(true).write(true).open(&temporary.0).map_err(fault)?;
    if let Ok(old) = fs::metadata(&target) {
        let _ = written.set_permissions(old.permissions());
    }
    written.sync_all().map_err(fault)?;
    drop(written);
    fs::rename(&temporary.0, &target).map_err(fault)?;
    // Not every system can sync a directory; the rename itself has happened.
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
    Ok(())
}

/// The directory and the name of the file that stands for `path`, a link followed.
fn place(path: &Path) -> Result<(PathBuf, OsString)> {
    if path.is_dir() {
        return Err(Error::output(path, "it is a directory; name a file"));
    }
    // A link keeps pointing to the file it points to.
    let target = match path.is_symlink() {
        true => fs::canonicalize(path).map_err(|why| Error::output(path, why))?,
        false => path.to_owned(),
    };
    let name = target.file_name().ok_or_else(|| Error::output(path, "the path names no file"))?;
    let dir = match target.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    if !dir.is_dir() {
        return Err(Error::output(path, format!("the directory {} does not exist", dir.display())));
    }
    Ok((dir.to_owned(), name.to_owned()))
}

/// Whether [`write_atomically`] could begin to write `path`, asked before a long computation. Leaves
/// nothing behind.
///
/// # Errors
/// [`Error::Output`] naming `path`.
pub fn check_writable(path: &Path) -> Result<()> {
    let (dir, name) = place(path)?;
    let trial = Temporary(dir.join(temporary_name(&name)));
    File::create(&trial.0).map(drop).map_err(|why| Error::output(path, why))
}

/// [`write_atomically`] for bytes in memory.
///
/// # Errors
/// [`Error::Output`] naming `path`.
pub fn write_bytes_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |to| {
        let mut file = File::create(to).map_err(|e| Error::output(to, e))?;
        file.write_all(bytes).map_err(|e| Error::output(to, e))
    })
}

/// Removes its file when dropped; after the rename there is none.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `.NAME.`, shortened where the whole would be too long for a file name.
fn stem(name: &std::ffi::OsStr) -> OsString {
    const LONGEST: usize = 200;
    let mut stem = OsString::from(".");
    if name.len() <= LONGEST {
        stem.push(name);
    } else {
        let text = name.to_string_lossy();
        let cut = (0..=LONGEST / 2).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        stem.push(&text[..cut]);
    }
    stem.push(".");
    stem
}

/// `.NAME.PID.unbraid-tmp`, with a number after the process id when one process writes several.
fn temporary_name(name: &std::ffi::OsStr) -> OsString {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let mut file = stem(name);
    file.push(std::process::id().to_string());
    match WRITTEN.fetch_add(1, Ordering::Relaxed) {
        0 => {}
        n => file.push(format!("-{n}")),
    }
    file.push(SUFFIX);
    file
}

fn remove_stale(dir: &Path, stem: &std::ffi::OsStr) {
    let Some(stem) = stem.to_str() else { return };
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix(stem)).and_then(|n| n.strip_suffix(SUFFIX));
        let Some(owner) = owner.and_then(|o| o.split('-').next()).and_then(|o| o.parse::<u32>().ok()) else {
            continue;
        };
        if owner != std::process::id() && !runs(owner, &entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the process still runs. Without a process table to look into, a day is taken as its life.
fn runs(pid: u32, entry: &fs::DirEntry) -> bool {
    if Path::new("/proc/self").exists() {
        return Path::new(&format!("/proc/{pid}")).exists();
    }
    let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
    age.is_none_or(|age| age.as_secs() < 24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_existing_file_survives_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.bin");
        write_bytes_atomically(&path, b"old").unwrap();
        let failed = write_atomically(&path, |to| {
            fs::write(to, b"half").unwrap();
            Err(Error::output(to, "disk full"))
        });
        let why = failed.unwrap_err();
        assert!(why.is_output() && why.to_string().contains("out.bin: disk full"), "{why}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(left(dir.path()), ["out.bin"]);
        write_bytes_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(left(dir.path()), ["out.bin"]);
    }

    #[test]
    fn writing_is_tried_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.bin");
        check_writable(&path).unwrap();
        assert!(left(dir.path()).is_empty());
        fs::write(&path, b"old").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(left(dir.path()), ["out.bin"]);
        for bad in [dir.path().to_owned(), path.join("x"), dir.path().join("none/x"), "..".into()] {
            assert!(check_writable(&bad).unwrap_err().is_output(), "{}", bad.display());
        }
    }

    #[test]
    fn only_leftovers_of_dead_runs_of_this_target_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        // Process ids on Linux stay far below this one.
        let dead = ".a.4294967294.unbraid-tmp";
        let keep = [".b.4294967294.unbraid-tmp", ".a.notes.unbraid-tmp", ".a.1.txt"];
        for name in keep.iter().chain([&dead]) {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        write_bytes_atomically(&dir.path().join("a"), b"x").unwrap();
        let names = left(dir.path());
        assert!(keep.iter().all(|k| names.contains(&k.to_string())), "{names:?}");
        assert!(!names.contains(&dead.to_string()) || cfg!(not(target_os = "linux")));
    }

    #[test]
    fn odd_targets_are_refused_clearly() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_bytes_atomically(dir.path(), b"x").unwrap_err().to_string().contains("directory"));
        let gone = dir.path().join("no/such/file");
        assert!(write_bytes_atomically(&gone, b"x").unwrap_err().is_output());
        let long = dir.path().join("n".repeat(250));
        write_bytes_atomically(&long, b"x").unwrap();
        assert_eq!(fs::read(long).unwrap(), b"x");
    }
}
