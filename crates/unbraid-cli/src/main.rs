//! The program `unbraid`: arguments to parameters, bars, checkpoints, pages. It holds no mathematics.
//!
//! Results go to standard output, messages and bars to standard error. Exit codes: 0 done, 1 internal
//! fault, 2 wrong usage or parameter, 3 bad input data, 4 output or checkpoint trouble, 130 interrupted.

/// `println!` that does not mind a reader who leaves early (`unbraid … | head`).
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod apply;
mod args;
mod choice;
mod choose;
mod demo;
mod enrich;
mod evaluate;
mod explained;
mod fault;
mod figure;
mod fit;
mod inspect;
mod join;
mod methods;
mod page;
mod picture;
mod reproduce;
mod set;
mod simulate;
mod stability;
mod stored;
mod survival;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, Reproduce};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Simulate(command) => simulate::run(&command),
        Command::Fit(command) => fit::run(&command),
        Command::Apply(args) => apply::run(&args),
        Command::Evaluate(command) => evaluate::run(&command),
        Command::Stability(command) => stability::run(&command),
        Command::ChooseK(command) => choose::run(&command),
        Command::Survival(args) => survival::run(&args),
        Command::Enrich(args) => enrich::run(&args),
        Command::Reproduce(Reproduce::Medmagma(args)) => reproduce::medmagma::run(&args),
        Command::Reproduce(Reproduce::Qmf(args)) => reproduce::qmf::run(&args),
        Command::Reproduce(Reproduce::Mssvae(args)) => reproduce::mssvae::run(&args),
        Command::Reproduce(Reproduce::Batchblend(args)) => reproduce::batchblend::run(&args),
        Command::Reproduce(Reproduce::Svcc(args)) => reproduce::svcc::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::from(fault.exit_code())
        }
    }
}
