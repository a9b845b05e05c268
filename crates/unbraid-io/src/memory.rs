//! How much a file may make us allocate.

use std::fs;

use unbraid::error::bytes;

use crate::error::{Error, Result};

/// Memory that is free for use now, in bytes; 8 GiB where the system does not say.
pub fn available_memory() -> u64 {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?.to_owned();
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let allowed = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|t| t.trim().parse().ok());
    free.unwrap_or(8 << 30).min(allowed.unwrap_or(u64::MAX))
}

/// What reading one file may use, and how large that file is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub allowed: u64,
    pub file_len: u64,
}

impl Budget {
    pub fn new(max_bytes: Option<u64>, file_len: u64) -> Budget {
        Budget { allowed: max_bytes.unwrap_or_else(available_memory), file_len }
    }

    /// Refuses an array before it is allocated: `declared` bytes are in the file's words, `needed` in ours.
    pub fn check(&self, file: &str, slot: &str, declared: Option<u64>, needed: Option<u64>) -> Result<()> {
        // Deflate, the best of the filters, shrinks at most 1032-fold.
        const BEST_RATIO: u64 = 1040;
        const SMALL: u64 = 64 << 20;
        let possible = self.file_len.saturating_mul(BEST_RATIO).max(SMALL);
        let say = |n: Option<u64>| n.map_or("more than 10^19 bytes".to_owned(), bytes);
        if declared.is_none_or(|d| d > possible) {
            return Err(Error::input(
                file,
                slot,
                format!("an array of {} in a file of {}", say(declared), bytes(self.file_len)),
                "no compression reaches that",
                "the file is damaged; get a fresh copy",
            ));
        }
        if needed.is_none_or(|n| n > self.allowed) {
            return Err(Error::input(
                file,
                slot,
                format!("an array that needs {} in memory", say(needed)),
                format!("at most {} may be used", bytes(self.allowed)),
                "allow more memory, or choose a smaller layer or fewer features",
            ));
        }
        Ok(())
    }
}
