//! Methods that cluster rows and columns, in the list of methods.

use serde_json::{Map, Value, json};
use unbraid::data::{Dataset, Missing};
use unbraid::methods::cocluster::fit::Coclusters;
use unbraid::methods::cocluster::itcc::Itcc;
use unbraid::methods::cocluster::kmeans::Kmeans;
use unbraid::methods::cocluster::lbm::Lbm;
use unbraid::methods::cocluster::nmtf::Nmtf;
use unbraid::methods::cocluster::spectral::SpectralCoclustering;
use unbraid::methods::cocluster::svcc::Svcc;
use unbraid::methods::cocluster::svcc::input::Observed;
use unbraid::preprocess::prepare::{Empty, Prepare};

use super::{Joins, Picture, Shown};

/// A method of the family. Lines of zeros belong to no cluster, and are left out.
macro_rules! shown {
    ($method:ident, $about:literal) => {
        impl Shown for $method {
            const ABOUT: &'static str = $about;
            const EXAMPLE: &'static str = "rows=6";
            const JOINS: Joins = Joins::No;
            fn prepare(&self) -> Prepare {
                Prepare { empty: Empty::Drop, ..Prepare::default() }
            }
            fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
                tables[0].values()
            }
            fn picture(fit: &Self::Fitted) -> Picture<'_> {
                picture(fit)
            }
        }
    };
}

shown!(Itcc, "ITCC: clusters of rows and columns whose blocks keep the table's mutual information");
shown!(
    SpectralCoclustering,
    "Spectral co-clustering: the graph of rows and columns cut into pieces (Dhillon)"
);
shown!(Lbm, "Poisson latent block model: clusters with a likelihood, and a criterion for their number");
shown!(Nmtf, "Orthogonal non-negative factorisation in three: rows, columns and what joins them");
shown!(Kmeans, "k-means of rows and of columns, each side by itself: the plain baseline");

impl Shown for Svcc {
    const ABOUT: &'static str =
        "SVCC: rows and columns coded by autoencoders whose clusters keep the table's information";
    const EXAMPLE: &'static str = "rows=6";
    fn prepare(&self) -> Prepare {
        Prepare { empty: Empty::Drop, ..Prepare::default() }
    }
    fn allows_missing(&self) -> bool {
        self.missing == Missing::Nan
    }
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        Observed { values: tables[0].values(), missing: self.missing }
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        // The number of epochs is part of the schedule: there is nothing to converge to.
        let epochs = fit.clusters.objective.len();
        Picture { how: Some(format!("{epochs} epochs")), ..picture(&fit.clusters) }
    }
}

pub(super) fn picture(fit: &Coclusters) -> Picture<'_> {
    Picture {
        objective: &fit.objective,
        traces: fit.traces.clone(),
        stop: fit.stop,
        blocks: Some(fit),
        ..Picture::default()
    }
}

/// What `--json` says.
pub(super) fn numbers(fit: &Coclusters) -> Map<String, Value> {
    let out = json!({
        "rows": fit.rows.clusters, "cols": fit.cols.clusters,
        "rows_used": fit.rows.used(), "cols_used": fit.cols.used(),
        "row_sizes": fit.rows.sizes(), "col_sizes": fit.cols.sizes(),
        "information": fit.blocks.information.map(|i| i.0),
        "information_of_table": fit.blocks.information.map(|i| i.1),
        "kept": fit.blocks.kept(),
        "explained": fit.blocks.explained,
    });
    let mut out = if let Value::Object(map) = out { map } else { Map::new() };
    out.extend(fit.numbers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    out
}

/// What a person reads.
pub(super) fn lines(fit: &Coclusters) -> Vec<String> {
    let sizes = |sizes: Vec<usize>| {
        let text: Vec<String> = sizes.iter().take(12).map(usize::to_string).collect();
        text.join(", ") + if sizes.len() > 12 { ", …" } else { "" }
    };
    let keep = match (fit.blocks.kept(), fit.blocks.information) {
        (Some(kept), Some((kept_nats, all))) => {
            format!("the blocks keep {kept_nats:.4} of {all:.4} nats of information ({:.1} %)", 100.0 * kept)
        }
        _ => format!("the blocks explain {:.1} % of the sum of squares", 100.0 * fit.blocks.explained),
    };
    vec![
        format!("{} clusters of observations: {}", fit.rows.used(), sizes(fit.rows.sizes())),
        format!("{} clusters of features: {}", fit.cols.used(), sizes(fit.cols.sizes())),
        keep,
    ]
}
