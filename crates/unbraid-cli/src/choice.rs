//! A list of things, each a subcommand with its own help.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, Command as Clap, FromArgMatches, Subcommand};

/// One subcommand.
pub struct Entry {
    /// As typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Below the arguments: settings, and an example.
    pub help: String,
}

/// A list whose entries take the same arguments.
pub trait List {
    /// What follows the name.
    type Args: Args;
    /// Placeholder in the usage: `METHOD`.
    const WORD: &'static str;
    /// Heading of the list: `Methods`.
    const HEADING: &'static str;
    /// An example of the command.
    const EXAMPLE: &'static str;
    /// In the order shown.
    fn entries() -> Vec<Entry>;
}

/// One entry of a list, with its arguments.
#[derive(Debug)]
pub struct Chosen<L: List> {
    /// Position in [`List::entries`].
    pub at: usize,
    /// The rest.
    pub args: L::Args,
    list: PhantomData<L>,
}

impl<L: List> Subcommand for Chosen<L> {
    fn augment_subcommands(command: Clap) -> Clap {
        let command = command
            .subcommand_value_name(L::WORD)
            .subcommand_help_heading(L::HEADING)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .after_help(format!("Example:\n  {}", L::EXAMPLE));
        L::entries().into_iter().fold(command, |command, e| {
            command.subcommand(L::Args::augment_args(Clap::new(e.name)).about(e.about).after_help(e.help))
        })
    }
    fn augment_subcommands_for_update(command: Clap) -> Clap {
        Self::augment_subcommands(command)
    }
    fn has_subcommand(name: &str) -> bool {
        L::entries().iter().any(|e| e.name == name)
    }
}

impl<L: List> FromArgMatches for Chosen<L> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, rest) = matches.subcommand().ok_or_else(missing)?;
        let at = L::entries().iter().position(|e| e.name == name).ok_or_else(missing)?;
        Ok(Chosen { at, args: L::Args::from_arg_matches(rest)?, list: PhantomData })
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
