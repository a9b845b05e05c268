//! Everything that can stop a fit, in words a user knows: which thing, what was found, what is allowed.

use std::io;

/// Result with the crate's [`Error`] unless told otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can stop a fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is outside its range.
    #[error("parameter `{name}` is {found}, but must be {rule}")]
    Param {
        /// The parameter's name as the user types it.
        name: &'static str,
        /// What it was set to.
        found: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// An array has the wrong shape.
    #[error("{what} has shape {found:?}, but must be {rule}")]
    Shape {
        /// The slot, as the user knows it.
        what: String,
        /// The shape found.
        found: Vec<usize>,
        /// What is allowed.
        rule: &'static str,
    },
    /// One entry of an array is not allowed.
    #[error("{what} holds {} at row {}, column {} (counted from 0), but must be {rule}", written(*found), at.0, at.1)]
    Value {
        /// The slot, as the user knows it.
        what: String,
        /// The value found.
        found: f64,
        /// Row and column, counted from zero.
        at: (usize, usize),
        /// What is allowed.
        rule: &'static str,
    },
    /// A whole row or column cannot be used.
    #[error("{what}: {axis} {} {problem}; {hint}", some(at))]
    Line {
        /// The slot, as the user knows it.
        what: String,
        /// `"row"` or `"column"`.
        axis: &'static str,
        /// Which ones, counted from zero.
        at: Vec<usize>,
        /// What is wrong with them, as a verb phrase.
        problem: &'static str,
        /// What to do.
        hint: String,
    },
    /// Something the method reads is not there.
    #[error("{what} is missing; {hint}")]
    Missing {
        /// The slot or column.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The fit would need more memory than is allowed.
    #[error("this fit needs about {} of memory, but {} are allowed; {hint}", bytes(*needs), bytes(*cap))]
    Memory {
        /// Estimated peak, in bytes.
        needs: u64,
        /// Allowed, in bytes.
        cap: u64,
        /// What to do.
        hint: &'static str,
    },
    /// The iteration left the finite numbers.
    #[error("the objective is not finite after step {step}")]
    Diverged {
        /// Steps taken when it happened.
        step: usize,
    },
    /// A numerical kernel failed on good input: a fault of ours.
    #[error("{what} failed: {why}")]
    Numeric {
        /// The computation.
        what: &'static str,
        /// What the kernel said.
        why: String,
    },
    /// A snapshot cannot be used.
    #[error("snapshot: {0}")]
    Snapshot(String),
    /// The system failed an input or output call.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The first few places and how many there are: `3, 17 and 40 more`.
fn some(at: &[usize]) -> String {
    const SHOWN: usize = 5;
    let mut text = at.iter().take(SHOWN).map(usize::to_string).collect::<Vec<_>>().join(", ");
    if at.len() > SHOWN {
        text += &format!(" and {} more", at.len() - SHOWN);
    }
    text
}

/// A byte count as a reader says it: `1.5 GB`.
pub fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "bytes" { format!("{count} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A number with no more digits than it has: powers of ten where there would be rows of zeros.
fn written(v: f64) -> String {
    let plain = v == 0.0 || !v.is_finite() || (1e-4..1e16).contains(&v.abs());
    if plain { v.to_string() } else { format!("{v:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_thing_place_and_rule() {
        assert_eq!(
            [0.0, -3.0, 1.5e-4, 4.01e-30, -2e20, f64::NEG_INFINITY].map(written),
            ["0", "-3", "0.00015", "4.01e-30", "-2e20", "-inf"]
        );
        let e = Error::Value { what: "X".into(), found: f64::NAN, at: (3, 7), rule: "finite" };
        assert_eq!(e.to_string(), "X holds NaN at row 3, column 7 (counted from 0), but must be finite");
        let e = Error::Line {
            what: "X".into(),
            axis: "column",
            at: (0..9).collect(),
            problem: "holds no non-zero value",
            hint: "drop it".into(),
        };
        assert_eq!(e.to_string(), "X: column 0, 1, 2, 3, 4 and 4 more holds no non-zero value; drop it");
        assert_eq!(bytes(1_500_000_000), "1.5 GB");
        assert_eq!(bytes(999), "999 bytes");
    }
}
