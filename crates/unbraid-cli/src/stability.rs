//! `unbraid stability`: the road of `unbraid fit`, with refits to half-samples in place of one fit.

use unbraid::methods::kronecker::stability::Refits;

use crate::args::Stabilities;
use crate::choice::Chosen;
use crate::fault::Fault;
use crate::fit::carry_out;
use crate::methods;
use crate::set::Settings;

/// Runs the command.
pub fn run(command: &Chosen<Stabilities>) -> Result<(), Fault> {
    let args = &command.args;
    let mut settings = Settings::new(args.fit.params.as_deref(), &args.fit.set)?;
    let default = Refits::default();
    let apart = settings.apart();
    let refits = Refits {
        refits: args.refits.unwrap_or(default.refits),
        threshold: args.threshold.unwrap_or(default.threshold),
        edges: args.edges.unwrap_or(default.edges),
        exact: args.exact,
    };
    let (_, plan) = methods::refitted()
        .nth(command.at)
        .ok_or_else(|| Fault::Usage("no such method; see `unbraid stability --help`".into()))?;
    carry_out(&args.fit, plan(settings, refits)?.as_ref(), &apart).map(drop)
}
