//! `unbraid simulate`.

use serde_json::json;
use unbraid::Seed;
use unbraid::data::{Annotations, Dataset};
use unbraid::params::Params;
use unbraid::simulate::kronecker::KroneckerDesign;
use unbraid_io::Input;

use crate::args::Designs;
use crate::choice::Chosen;
use crate::fault::Fault;
use crate::set::{Settings, listed};

/// One design, with its types hidden.
pub struct Design {
    /// As typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// A setting for the example in the help.
    pub example: &'static str,
    /// Its settings with their documentation.
    pub help: fn() -> String,
    run: fn(Settings, Seed) -> Result<(Dataset, Annotations), Fault>,
}

/// All designs.
pub const ALL: &[Design] = &[Design {
    name: "kronecker",
    about: "Gaussian data with a network on each axis under chi-square magnitudes (MED-MAGMA §4.1)",
    example: "noise=0.5",
    help: || {
        crate::methods::documented(&[(
            "Settings for --set and --params, with their defaults:",
            &listed(&KroneckerDesign::default()),
            KroneckerDesign::DOCS,
        )])
    },
    run: |mut settings, seed| {
        let design: KroneckerDesign = settings.take(false)?;
        settings.finish(&KroneckerDesign::DOCS.iter().map(|d| d.name).collect::<Vec<_>>())?;
        Ok(design.dataset(seed)?)
    },
}];

/// Runs the command.
pub fn run(command: &Chosen<Designs>) -> Result<(), Fault> {
    let args = &command.args;
    let design = &ALL[command.at];
    let settings = Settings::new(args.params.as_deref(), &args.set)?;
    let (data, truth) = (design.run)(settings, Seed(args.seed))?;
    unbraid_io::write_h5ad(&args.output, Input::Dataset(&data), &truth)?;
    let (n, m) = data.shape();
    if args.json {
        say!(
            "{}",
            json!({"design": design.name, "seed": args.seed, "observations": n, "features": m, "output": args.output})
        );
    } else {
        say!(
            "{}: {n} observations × {m} features, truth beside the data\n  wrote {}",
            design.name,
            args.output.display()
        );
        say!("  next: unbraid fit medmagma {} -o fit.h5ad", args.output.display());
    }
    Ok(())
}
