//! `unbraid choose-k`: the road of `unbraid fit`, with fits of several k to masked tables in place of one fit.

use unbraid::methods::factor::choice::Choice;

use crate::args::Choices;
use crate::choice::Chosen;
use crate::fault::Fault;
use crate::fit::carry_out;
use crate::methods;
use crate::set::Settings;

/// Runs the command.
pub fn run(command: &Chosen<Choices>) -> Result<(), Fault> {
    let args = &command.args;
    let mut settings = Settings::new(args.fit.params.as_deref(), &args.fit.set)?;
    let default = Choice::default();
    let apart = settings.apart();
    let choice = Choice {
        k: args.k.clone().unwrap_or(default.k),
        masks: args.masks.unwrap_or(default.masks),
        held_out: args.held_out.unwrap_or(default.held_out),
        restarts: args.restarts.unwrap_or(default.restarts),
    };
    let (_, plan) = methods::ranked()
        .nth(command.at)
        .ok_or_else(|| Fault::Usage("no such method; see `unbraid choose-k --help`".into()))?;
    let plan = plan(settings, choice)?;
    if let Some(path) = &args.csv {
        let taken = |other: &std::path::PathBuf| other == path;
        if taken(&args.fit.output) || args.fit.files.iter().any(taken) || args.fit.report.iter().any(taken) {
            let path = path.display();
            return Err(Fault::Usage(format!(
                "`--csv {path}` is also an input or another output; name another file"
            )));
        }
        unbraid_io::check_writable(path)?;
    }
    let table = carry_out(&args.fit, plan.as_ref(), &apart)?;
    if let (Some(path), Some(table)) = (&args.csv, table) {
        unbraid_io::write_bytes_atomically(path, table.as_bytes())?;
    }
    Ok(())
}
