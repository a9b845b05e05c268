//! `unbraid simulate`.

use serde_json::json;
use unbraid::Seed;
use unbraid::data::{Annotations, Dataset};
use unbraid::params::Params;
use unbraid::simulate::blocks::BlocksDesign;
use unbraid::simulate::kronecker::KroneckerDesign;
use unbraid::simulate::msrt::MsrtDesign;
use unbraid::simulate::multistudy::gaussian::MultistudyDesign;
use unbraid::simulate::multistudy::rna::MultistudyRnaDesign;
use unbraid::simulate::quantile::QuantileDesign;
use unbraid_io::Input;

use crate::args::{Designs, SettingArgs};
use crate::choice::Chosen;
use crate::fault::Fault;
use crate::set::listed;

/// Draws from a design with settings.
type Sampler = fn(&SettingArgs, Seed) -> Result<(Dataset, Annotations), Fault>;

/// One design, with its types hidden.
pub struct Design {
    /// As typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// A setting for the example in the help.
    pub example: &'static str,
    /// The command that goes on from the file.
    next: &'static str,
    /// And its settings.
    set: &'static str,
    /// Its settings with their documentation.
    pub help: fn() -> String,
    run: Sampler,
}

/// All designs.
pub const ALL: &[Design] = &[
    Design {
        name: "kronecker",
        about: "Gaussian data with a network on each axis under chi-square magnitudes (MED-MAGMA §4.1)",
        example: "noise=0.5",
        next: "fit medmagma",
        set: "",
        help: help::<KroneckerDesign>,
        run: |settings, seed| Ok(settings.taken::<KroneckerDesign>()?.dataset(seed)?),
    },
    Design {
        name: "quantile",
        about: "A low-rank matrix of which every feature passed an increasing map of its own (QMF §5)",
        example: "noise=10",
        next: "fit qmf",
        set: "",
        help: help::<QuantileDesign>,
        run: |settings, seed| Ok(settings.taken::<QuantileDesign>()?.dataset(seed)?),
    },
    Design {
        name: "multistudy",
        about: "Gaussian studies with shared factors and factors of their own (MSSVAE §4)",
        example: "observations=300",
        next: "fit mssvae",
        set: " --set study=study",
        help: help::<MultistudyDesign>,
        run: |settings, seed| Ok(settings.taken::<MultistudyDesign>()?.dataset(seed)?),
    },
    Design {
        name: "multistudy-rna",
        about: "Counts of genes in studies with shared factors and factors of their own (MSSVAE §4)",
        example: "observations=320",
        next: "fit mssvae",
        set: " --set study=study --set likelihood=nb",
        help: help::<MultistudyRnaDesign>,
        run: |settings, seed| Ok(settings.taken::<MultistudyRnaDesign>()?.dataset(seed)?),
    },
    Design {
        name: "blocks",
        about: "Counts with planted clusters of rows and of columns under unknown magnitudes of both",
        example: "contrast=0.5",
        next: "fit itcc",
        set: " --set rows=5 --set cols=4",
        help: help::<BlocksDesign>,
        run: |settings, seed| Ok(settings.taken::<BlocksDesign>()?.dataset(seed)?),
    },
    Design {
        name: "msrt",
        about: "Tissue slices of cell types in layers, each behind a batch effect (BATCHBLEND §3.1)",
        example: "sigma=3",
        next: "fit batchblend",
        set: " --set k=11 --set graph=grid",
        help: help::<MsrtDesign>,
        run: |settings, seed| Ok(settings.taken::<MsrtDesign>()?.dataset(seed)?),
    },
];

/// The settings of a design with their documentation.
fn help<D: Params>() -> String {
    let settings = listed(&D::default());
    crate::methods::documented(&[(
        "Settings for --set and --params, with their defaults:",
        &settings,
        D::DOCS,
    )])
}

/// Runs the command.
pub fn run(command: &Chosen<Designs>) -> Result<(), Fault> {
    let args = &command.args;
    let design = &ALL[command.at];
    let (data, truth) = (design.run)(&args.settings, Seed(args.seed))?;
    unbraid_io::write_h5ad(&args.output, Input::Dataset(&data), &truth)?;
    let (n, m) = data.shape();
    if args.settings.json {
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
        say!("  next: unbraid {} {} -o fit.h5ad{}", design.next, args.output.display(), design.set);
    }
    Ok(())
}
