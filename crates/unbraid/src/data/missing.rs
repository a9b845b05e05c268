//! What a value that is not a number means.

/// What NaN in a table means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An error, which names the place.
    Error,
    /// An entry that was not measured, and takes no part in a fit.
    Nan,
}

crate::words!(Missing, "a treatment of missing values", Error = "error", Nan = "nan");
