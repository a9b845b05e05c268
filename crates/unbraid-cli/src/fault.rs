//! What stops the program, as a message and an exit code.

use std::fmt;

use unbraid::data::Dataset;

/// Everything that ends a command early.
#[derive(Debug)]
pub enum Fault {
    /// Wrong usage that the argument parser cannot see.
    Usage(String),
    /// A method or its input, with the file it came from where there is one.
    Core {
        /// What the message begins with, usually the file's name and a colon.
        context: String,
        /// What stopped it.
        source: unbraid::Error,
        /// Names of the place, where the error has one.
        place: String,
    },
    /// A file.
    File(unbraid_io::Error),
    /// The user's interrupt, after saving.
    Interrupted(String),
}

impl Fault {
    /// A core error on `data`: names the file and, for an error with a place, the observation and feature.
    pub fn on(data: &Dataset, source: unbraid::Error) -> Fault {
        let name = |axis: &str, names: &[String], i: usize| names.get(i).map(|n| format!("{axis} `{n}`"));
        let place = match &source {
            unbraid::Error::Value { at, .. } => {
                [name("observation", &data.obs.names, at.0), name("feature", &data.var.names, at.1)]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
            }
            unbraid::Error::Line { axis, at, .. } => {
                let (word, names) = if *axis == "row" {
                    ("observation", &data.obs.names)
                } else {
                    ("feature", &data.var.names)
                };
                at.iter().take(3).filter_map(|&i| name(word, names, i)).collect()
            }
            _ => Vec::new(),
        };
        Fault::Core { context: format!("{}: ", data.source), source, place: place.join(", ") }
    }

    /// 1 internal, 2 usage, 3 input, 4 output, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        use unbraid::Error as E;
        let core = |e: &E| match e {
            E::Param { .. } => 2,
            E::Shape { .. } | E::Value { .. } | E::Line { .. } | E::Missing { .. } | E::Memory { .. } => 3,
            E::Snapshot(_) | E::Io(_) => 4,
            _ => 1,
        };
        match self {
            Fault::Usage(_) => 2,
            Fault::Core { source, .. } => core(source),
            Fault::File(unbraid_io::Error::Unbraid(e)) => core(e),
            Fault::File(e) if e.is_output() => 4,
            Fault::File(_) => 3,
            Fault::Interrupted(_) => 130,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Usage(text) | Fault::Interrupted(text) => f.write_str(text),
            Fault::Core { context, source, place } if place.is_empty() => write!(f, "{context}{source}"),
            Fault::Core { context, source, place } => write!(f, "{context}{source} ({place})"),
            Fault::File(e) => e.fmt(f),
        }
    }
}

impl From<unbraid_io::Error> for Fault {
    fn from(e: unbraid_io::Error) -> Fault {
        Fault::File(e)
    }
}

impl From<unbraid::Error> for Fault {
    fn from(source: unbraid::Error) -> Fault {
        Fault::Core { context: String::new(), source, place: String::new() }
    }
}
