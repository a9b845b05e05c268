//! Chores of the project: `cargo run -p xtask -- order` and `cargo run -p xtask -- golden`.
//!
//! Both are also tests, so that `cargo test --workspace` runs them.

mod golden;
mod order;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- order | golden
  order   module imports follow the order of knowledge, families stand alone, faer's global setting is unused
  golden  lists golden cases with their origin; one without origin is a fault";

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn main() -> ExitCode {
    let faults = match std::env::args().nth(1).as_deref() {
        Some("order") => order::faults(&root()),
        Some("golden") => golden::cases(&root()).map(|cases| {
            for case in &cases {
                println!("{:<36} {}", case.name, case.origin.as_deref().unwrap_or("NO ORIGIN"));
            }
            golden::faults(&cases)
        }),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match faults {
        Ok(faults) if faults.is_empty() => {
            println!("in order");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            faults.iter().for_each(|f| eprintln!("{f}"));
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
