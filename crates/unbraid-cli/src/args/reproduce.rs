//! What a user types after `unbraid reproduce`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use unbraid::params::Params;

use crate::methods;
use crate::reproduce::{batchblend, medmagma, mssvae, qmf, svcc};
use crate::set::listed;

/// `unbraid reproduce PAPER`.
#[derive(Debug, Subcommand)]
pub enum Reproduce {
    /// MED-MAGMA (Andrew, Westhead and Cutillo 2026): networks under multiplicative noise
    #[command(after_help = sizes::<medmagma::Design>("medmagma"))]
    Medmagma(MedmagmaArgs),
    /// QMF and QMFQ (Cuturi, Teboul, Niles-Weed and Vert 2020): factors behind learnt quantile maps
    #[command(after_help = sizes::<qmf::Design>("qmf"))]
    Qmf(QmfArgs),
    /// MSSVAE (Moran and Krishnan 2026): shared factors of several studies and factors of each
    #[command(after_help = sizes::<mssvae::Design>("mssvae"))]
    Mssvae(MssvaeArgs),
    /// BATCHBLEND (Shah 2025): metagenes of tissue slices beside a batch effect
    #[command(after_help = sizes::<batchblend::Design>("batchblend"))]
    Batchblend(BatchblendArgs),
    /// SVCC (Vinod and Bajaj 2025): clusters of rows and columns by autoencoders that keep the table's information
    #[command(after_help = sizes::<svcc::Design>("svcc"))]
    Svcc(SvccArgs),
}

/// What all papers share.
#[derive(Args, Clone, Debug)]
pub struct ReproduceArgs {
    /// Folder for tables (csv), figures (svg) and index.html; made if missing. A part that is complete
    /// there from the same program, settings and data is not run again
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Fewer data sets and settings: under 10 minutes on 2 cores
    #[arg(long)]
    pub quick: bool,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Threads; all cores if not given. No result but a measured time depends on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// One size of the experiments; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `unbraid reproduce medmagma`.
#[derive(Args, Clone, Debug)]
pub struct MedmagmaArgs {
    /// What all papers share.
    #[command(flatten)]
    pub common: ReproduceArgs,
    /// A folder with labelled data (.h5ad, or folders with X.mtx and row_labels.txt) and the published
    /// results; looked through three levels deep; may be repeated
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// The obs column with the labels of one file. If not given: the only categorical column; of several
    /// `cell_type`, else the first whose name contains `label`, else the first
    #[arg(long, value_name = "FILE.h5ad=COLUMN")]
    pub label: Vec<String>,
    /// Only these parts; may be repeated
    #[arg(long, value_name = "PART", value_enum)]
    pub only: Vec<medmagma::Part>,
}

/// `unbraid reproduce qmf`.
#[derive(Args, Clone, Debug)]
pub struct QmfArgs {
    /// What all papers share.
    #[command(flatten)]
    pub common: ReproduceArgs,
    /// A folder with cohorts: NAME_expression.tsv.gz, NAME_methylation.tsv.gz, NAME_mirna.tsv.gz (features in
    /// rows; any of them) and NAME_survival.tsv, or folders with exp, methy, mirna and survival; may be repeated
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Only these parts; may be repeated
    #[arg(long, value_name = "PART", value_enum)]
    pub only: Vec<qmf::Part>,
}

/// `unbraid reproduce mssvae`.
#[derive(Args, Clone, Debug)]
pub struct MssvaeArgs {
    /// What all papers share. Runs of single methods on single data sets are kept under DIR/runs
    #[command(flatten)]
    pub common: ReproduceArgs,
    /// Only these parts; may be repeated
    #[arg(long, value_name = "PART", value_enum)]
    pub only: Vec<mssvae::Part>,
}

/// `unbraid reproduce batchblend`.
#[derive(Args, Clone, Debug)]
pub struct BatchblendArgs {
    /// What all papers share. Runs of single methods on single sets are kept under DIR/runs
    #[command(flatten)]
    pub common: ReproduceArgs,
    /// A folder with slices: simulated ones (msrt_seed*.h5ad) in place of our own, and labelled ones (.h5ad with batch and cell_type or
    /// domain in obs, spatial in obsm); looked through three levels deep; may be repeated
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Only these parts; may be repeated
    #[arg(long, value_name = "PART", value_enum)]
    pub only: Vec<batchblend::Part>,
}

/// `unbraid reproduce svcc`.
#[derive(Args, Clone, Debug)]
pub struct SvccArgs {
    /// What all papers share. Runs of single methods on single tables are kept under DIR/runs
    #[command(flatten)]
    pub common: ReproduceArgs,
    /// A folder with tables (folders with X.mtx or X.mtx.gz and row_labels.txt, col_labels.txt where columns have classes) in place of
    /// drawn ones, and expression (.h5ad with counts and a categorical column of observations); looked through three levels deep; may
    /// be repeated
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Only these parts; may be repeated
    #[arg(long, value_name = "PART", value_enum)]
    pub only: Vec<svcc::Part>,
}

/// Sizes of a paper's experiments and an example.
fn sizes<D: Params>(paper: &str) -> String {
    let sizes =
        methods::documented(&[("Sizes for --set, with their defaults:", &listed(&D::default()), D::DOCS)]);
    format!("{sizes}\nExample:\n  unbraid reproduce {paper} -o reproduced --quick")
}
