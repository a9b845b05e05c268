//! Text files, plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::memory::Budget;

/// Lines of a text file: numbered from 1, UTF-8, without their ends; a byte order mark is skipped.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    pub name: String,
    pub number: usize,
    buffer: Vec<u8>,
    longest: u64,
}

/// Opens a file for reading, unpacking it when it starts as gzip does; reading fails once more text has
/// come out of it than may be held.
pub(crate) fn open(path: &Path, name: &str, budget: &Budget) -> Result<Box<dyn BufRead>> {
    let unreadable = |e| Error::unreadable(name, &e);
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
    let packed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    Ok(match packed {
        true => {
            let limited = Limited { inner: MultiGzDecoder::new(file), left: budget.allowed };
            Box::new(BufReader::with_capacity(1 << 16, limited))
        }
        false => Box::new(file),
    })
}

/// A reader that fails instead of giving more than `left` bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("the unpacked text is larger than the memory allowed")),
        }
        Ok(read)
    }
}

impl Lines {
    pub fn open(path: &Path, name: &str, budget: &Budget) -> Result<Lines> {
        let reader = open(path, name, budget)?;
        Ok(Lines {
            reader,
            name: name.to_owned(),
            number: 0,
            buffer: Vec::new(),
            longest: budget.allowed / 4,
        })
    }

    /// The next line, `None` at the end.
    pub fn next(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let mut limited = self.reader.by_ref().take(self.longest);
        let read = limited.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|e| Error::unreadable(&self.name, &e))?;
        self.number += 1;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == self.longest {
            return Err(self.bad("a line without an end", "lines must fit in memory", "is it a text file?"));
        }
        let mut line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.number == 1 {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        match std::str::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(e) => Err(Error::input(
                &self.name,
                format!("line {}", self.number),
                format!("the byte {:#04x} at position {}", line[e.valid_up_to()], e.valid_up_to()),
                "text must be UTF-8",
                "convert the file to UTF-8",
            )),
        }
    }

    /// An error about the last line read.
    pub fn bad(&self, found: impl Into<String>, rule: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::input(&self.name, format!("line {}", self.number), found, rule, hint)
    }
}
