//! What can go wrong with a file: bad input, or output that cannot be written.

use std::io;
use std::path::Path;

/// Result with the crate's [`Error`] unless told otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can stop reading or writing a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file does not hold what it should.
    #[error("{file}: {slot}: found {found}, but {rule}; {hint}")]
    Input {
        /// The file as the user named it.
        file: String,
        /// The slot, line or part of it.
        slot: String,
        /// What was found there.
        found: String,
        /// What is allowed.
        rule: String,
        /// What to do.
        hint: String,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {why}")]
    Output {
        /// The file as the user named it.
        file: String,
        /// What the system or the format said.
        why: String,
    },
    /// An error of the numerical crate, such as a broken sparse matrix.
    #[error("{file}: {source}")]
    Data {
        /// The file as the user named it.
        file: String,
        /// What is wrong with the data.
        source: Box<unbraid::Error>,
    },
    /// An error of the numerical crate that belongs to no file.
    #[error(transparent)]
    Unbraid(#[from] unbraid::Error),
}

impl Error {
    /// Whether the output is at fault, not the input.
    pub fn is_output(&self) -> bool {
        matches!(self, Error::Output { .. })
    }

    pub(crate) fn output(path: &Path, why: impl ToString) -> Error {
        Error::Output { file: path.display().to_string(), why: why.to_string() }
    }

    /// An error of the numerical crate about a file.
    pub(crate) fn data(file: &str, why: unbraid::Error) -> Error {
        Error::Data { file: file.to_owned(), source: Box::new(why) }
    }

    pub(crate) fn input(
        file: &str,
        slot: impl Into<String>,
        found: impl Into<String>,
        rule: impl Into<String>,
        hint: impl Into<String>,
    ) -> Error {
        Error::Input {
            file: file.to_owned(),
            slot: slot.into(),
            found: found.into(),
            rule: rule.into(),
            hint: hint.into(),
        }
    }

    /// A file that the system does not let us read.
    pub(crate) fn unreadable(file: &str, why: &io::Error) -> Error {
        let (rule, hint) = match why.kind() {
            io::ErrorKind::NotFound => ("the file must exist", "check the path"),
            io::ErrorKind::PermissionDenied => ("the file must be readable", "check its permissions"),
            _ => ("the file must be readable", "check the file and the disk"),
        };
        Error::input(file, "the file", format!("`{why}`"), rule, hint)
    }
}
