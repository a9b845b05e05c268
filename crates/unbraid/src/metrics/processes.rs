//! Which gene sets the factors of a fit stand for.
//!
//! The genes of factor k are its support; each support of at least `fewest` genes is tested for over-representation
//! against a [`Collection`]. A factor is *enriched* where some set has an adjusted p (Benjamini and Yekutieli) below
//! `level`. For a picture ([`shown`]) sets that are enriched in more than a tenth of the factors tested, and in more than
//! one, are left out, since they say nothing about any one of them, and the others are ranked by fold (`moran2026`).

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::supports::members;
use crate::error::{Error, Result};
use crate::stats::enrichment::{Collection, Enrichment};

/// Sets tested against one factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorSets {
    /// Column of the supports.
    pub factor: usize,
    /// Genes of its support.
    pub genes: usize,
    /// Every set by rising p; empty where the support has too few genes to be tested.
    pub tests: Vec<Enrichment>,
}

impl FactorSets {
    /// The sets with an adjusted p below `level`, by rising p.
    pub fn enriched(&self, level: f64) -> impl Iterator<Item = &Enrichment> {
        self.tests.iter().filter(move |e| e.by < level)
    }
}

/// Tests the support of every column. `names` are those of the rows; supports of fewer than `fewest` genes are listed
/// without tests.
///
/// # Errors
/// [`Error::Shape`] where names and rows differ in number.
pub fn factor_sets<S: AsRef<str> + Sync>(
    supports: ArrayView2<'_, bool>,
    names: &[S],
    collection: &Collection,
    fewest: usize,
) -> Result<Vec<FactorSets>> {
    if supports.nrows() != names.len() {
        let found = vec![supports.nrows(), names.len()];
        return Err(Error::Shape { what: "supports and names".into(), found, rule: "one name per row" });
    }
    members(supports)
        .into_par_iter()
        .enumerate()
        .map(|(factor, genes)| {
            let list: Vec<&str> = genes.iter().map(|&j| names[j].as_ref()).collect();
            let tests = if list.len() >= fewest.max(1) { collection.test(&list)? } else { Vec::new() };
            Ok(FactorSets { factor, genes: list.len(), tests })
        })
        .collect()
}

/// For each factor the enriched sets of largest fold, as many as `top` says for it, without those that are enriched in more
/// than a share `common` of the factors tested, and in more than one.
pub fn shown(
    all: &[FactorSets],
    level: f64,
    common: f64,
    top: impl Fn(&FactorSets) -> usize,
) -> Vec<Vec<&Enrichment>> {
    let mut often: BTreeMap<&str, usize> = BTreeMap::new();
    for e in all.iter().flat_map(|f| f.enriched(level)) {
        *often.entry(&e.set).or_default() += 1;
    }
    let tested = all.iter().filter(|f| !f.tests.is_empty()).count();
    let most = (common * tested as f64).max(1.0);
    let of = |f: &'_ FactorSets| -> Vec<usize> {
        let special = |e: &Enrichment| e.by < level && often[e.set.as_str()] as f64 <= most;
        let mut at: Vec<usize> = (0..f.tests.len()).filter(|&i| special(&f.tests[i])).collect();
        // Stable, so that equal folds stay in the order of p.
        at.sort_by(|&a, &b| f.tests[b].fold.total_cmp(&f.tests[a].fold));
        at.truncate(top(f));
        at
    };
    all.iter().map(|f| of(f).into_iter().map(|i| &f.tests[i]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::enrichment::{EnrichmentOptions, GeneSet};
    use ndarray::Array2;

    fn set(name: &str, genes: std::ops::Range<usize>) -> GeneSet {
        GeneSet {
            name: name.into(),
            description: String::new(),
            genes: genes.map(|g| format!("g{g}")).collect(),
        }
    }

    #[test]
    fn planted_sets_are_found_small_supports_are_skipped_and_common_sets_hidden() {
        let names: Vec<String> = (0..400).map(|g| format!("g{g}")).collect();
        let sets = [set("first", 0..20), set("second", 100..130), set("wide", 0..160), set("rest", 160..400)];
        let collection = Collection::new(&names, &sets, EnrichmentOptions::of_factors()).unwrap();
        // Factor 0 is the first set and some of the wide one, 1 the second, 2 has four genes, 3 is empty.
        let holds = |j: usize, k: usize| match k {
            0 => j < 25,
            1 => (100..130).contains(&j),
            2 => j < 4,
            _ => false,
        };
        let supports = Array2::from_shape_fn((400, 4), |(j, k)| holds(j, k));
        let found = factor_sets(supports.view(), &names, &collection, 5).unwrap();
        let best = |k: usize| found[k].enriched(0.05).map(|e| e.set.as_str()).collect::<Vec<_>>();
        assert_eq!((best(0), best(1)), (vec!["first", "wide"], vec!["second", "wide"]));
        assert_eq!((found[2].genes, found[2].tests.len(), found[3].tests.len()), (4, 0, 0));
        // The wide set is enriched in both factors that were tested.
        let picture = shown(&found, 0.05, 0.1, |_| 3);
        let names_of = |k: usize| picture[k].iter().map(|e| e.set.as_str()).collect::<Vec<_>>();
        assert_eq!((names_of(0), names_of(1), names_of(2).len()), (vec!["first"], vec!["second"], 0));
        assert_eq!(shown(&found, 0.05, 1.0, |_| 3)[1].len(), 2);
        assert_eq!(found[0].tests[0].fold, 20.0 / 25.0 / (20.0 / 400.0));
        assert!(factor_sets(supports.view(), &names[1..], &collection, 5).is_err());
    }
}
