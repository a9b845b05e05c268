//! Over-representation: whether a list of genes holds more of a gene set than chance would put there.
//!
//! Of N genes in the universe K belong to the set; a list of n holds k of them. Under random lists k is
//! hypergeometric, and the test is its upper tail
//!
//! p = P(X ≥ k) = Σ_{x ≥ k} C(K, x) C(N − K, n − x) / C(N, n).
//!
//! Both list and sets are first cut to the universe: the genes that could have been found.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::multiple::{Adjust, adjust};
use crate::error::{Error, Result};

/// A named set of genes, one line of a GMT file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneSet {
    /// Its name.
    pub name: String,
    /// What the file says of it, often an address.
    pub description: String,
    /// Symbols, in file order.
    pub genes: Vec<String>,
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrichmentOptions {
    /// Fewest genes of a set within the universe; smaller sets are left out. Default 5.
    pub smallest: usize,
    /// Most genes of a set within the universe; larger sets are left out. Default 2000.
    pub largest: usize,
    /// Whether `Trp53` and `TRP53` are one gene. Default false.
    pub ignore_case: bool,
}

impl Default for EnrichmentOptions {
    fn default() -> EnrichmentOptions {
        EnrichmentOptions { smallest: 5, largest: 2000, ignore_case: false }
    }
}

/// One set, tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrichment {
    /// Name of the set.
    pub set: String,
    /// K: its genes in the universe.
    pub size: usize,
    /// k: those of them in the list.
    pub overlap: usize,
    /// n K / N, the overlap expected by chance.
    pub expected: f64,
    /// P(X ≥ k); 0 where it is below the smallest double.
    pub p: f64,
    /// log₁₀ p, finite however small p is.
    pub log10_p: f64,
    /// Benjamini and Hochberg's adjusted p over all tested sets.
    pub bh: f64,
    /// Benjamini and Yekutieli's, valid although sets overlap.
    pub by: f64,
    /// The genes found, as the list spells them, in its order.
    pub genes: Vec<String>,
}

/// ln P(X ≥ k) for X the number of marked items among `drawn` of `total`, `marked` of which are marked:
/// SciPy's `hypergeom.logsf(k - 1, total, marked, drawn)`. 0 for k = 0, −∞ for an impossible k.
///
/// The probabilities follow from the most likely count by their ratios and are normalised by their sum,
/// so that no factorial is taken.
///
/// # Errors
/// [`Error::Shape`] when more are marked or drawn than there are.
pub fn ln_hypergeometric_tail(k: u64, total: u64, marked: u64, drawn: u64) -> Result<f64> {
    if marked > total || drawn > total {
        let found = vec![marked as usize, drawn as usize];
        return Err(Error::Shape { what: "marked and drawn items".into(), found, rule: "at most all" });
    }
    let (low, high) = ((marked + drawn).saturating_sub(total), marked.min(drawn));
    if k <= low {
        return Ok(0.0);
    }
    if k > high {
        return Ok(f64::NEG_INFINITY);
    }
    let (a, b, all) = (marked as f64, drawn as f64, total as f64);
    // P(x + 1) / P(x)
    let ratio = |x: u64| {
        let x = x as f64;
        (a - x) * (b - x) / ((x + 1.0) * (all - a - b + x + 1.0))
    };
    // Σ_{x ≥ from} and Σ_{x ≤ from} of P(x) / P(from); terms fall on the far side of the mode.
    let up = |from: u64| {
        let (mut sum, mut term) = (1.0f64, 1.0f64);
        for x in from..high {
            term *= ratio(x);
            sum += term;
            if term < 1e-18 * sum && ratio(x) < 1.0 {
                break;
            }
        }
        sum
    };
    let down = |from: u64| {
        let (mut sum, mut term) = (1.0f64, 1.0f64);
        for x in (low..from).rev() {
            term /= ratio(x);
            sum += term;
            if term < 1e-18 * sum && ratio(x) > 1.0 {
                break;
            }
        }
        sum
    };
    let mode = (((a + 1.0) * (b + 1.0) / (all + 2.0)) as u64).clamp(low, high);
    let whole = up(mode) + down(mode) - 1.0;
    if k > mode {
        let ln_at: f64 = (mode..k).map(|x| ratio(x).ln()).sum();
        Ok((ln_at + up(k).ln() - whole.ln()).min(0.0))
    } else {
        // The lower tail up to k − 1 is the small one.
        let ln_at: f64 = (k - 1..mode).map(|x| -ratio(x).ln()).sum();
        Ok((-(ln_at + down(k - 1).ln() - whole.ln()).exp()).ln_1p())
    }
}

/// Tests every set that has a fitting size within the universe; results by rising p, ties in file order.
/// Genes of the list outside the universe and repeats count for nothing.
///
/// # Errors
/// [`Error::Shape`] for an empty universe, [`Error::Param`] for sizes out of order.
pub fn over_representation<S: AsRef<str>>(
    list: &[S],
    universe: &[S],
    sets: &[GeneSet],
    options: EnrichmentOptions,
) -> Result<Vec<Enrichment>> {
    if options.smallest == 0 || options.largest < options.smallest {
        let found = format!("{} to {}", options.smallest, options.largest);
        return Err(Error::Param {
            name: "sizes",
            found,
            rule: "at least 1, the larger not below the smaller",
        });
    }
    let fold = |gene: &str| if options.ignore_case { gene.to_lowercase() } else { gene.to_owned() };
    let known: BTreeSet<String> = universe.iter().map(|g| fold(g.as_ref())).collect();
    if known.is_empty() {
        let rule = "at least one gene";
        return Err(Error::Shape { what: "the universe of genes".into(), found: vec![0], rule });
    }
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for (i, gene) in list.iter().enumerate() {
        let gene = fold(gene.as_ref());
        if known.contains(&gene) {
            at.entry(gene).or_insert(i);
        }
    }
    let (total, drawn) = (known.len() as u64, at.len() as u64);
    let mut out = Vec::new();
    for set in sets {
        let members: BTreeSet<String> =
            set.genes.iter().map(|g| fold(g)).filter(|g| known.contains(g)).collect();
        if !(options.smallest..=options.largest).contains(&members.len()) {
            continue;
        }
        let mut hits: Vec<usize> = members.iter().filter_map(|g| at.get(g).copied()).collect();
        hits.sort_unstable();
        let ln_p = ln_hypergeometric_tail(hits.len() as u64, total, members.len() as u64, drawn)?;
        out.push(Enrichment {
            set: set.name.clone(),
            size: members.len(),
            overlap: hits.len(),
            expected: drawn as f64 * members.len() as f64 / total as f64,
            p: ln_p.exp(),
            log10_p: ln_p / std::f64::consts::LN_10,
            bh: 1.0,
            by: 1.0,
            genes: hits.into_iter().map(|i| list[i].as_ref().to_owned()).collect(),
        });
    }
    let p: Vec<f64> = out.iter().map(|e| e.p).collect();
    let (bh, by) = (adjust(&p, Adjust::BenjaminiHochberg), adjust(&p, Adjust::BenjaminiYekutieli));
    for (e, (bh, by)) in out.iter_mut().zip(bh.into_iter().zip(by)) {
        (e.bh, e.by) = (bh, by);
    }
    out.sort_by(|a, b| a.log10_p.total_cmp(&b.log10_p));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ of the probabilities from binomial coefficients.
    #[test]
    fn the_tail_equals_the_direct_sum_on_every_small_table() {
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        for total in [1, 5, 9, 14] {
            for marked in 0..=total {
                for drawn in 0..=total {
                    for k in 0..=total + 1 {
                        let direct: f64 = (k..=marked.min(drawn))
                            .filter(|&x| drawn - x <= total - marked)
                            .map(|x| choose(marked, x) * choose(total - marked, drawn - x))
                            .sum::<f64>()
                            / choose(total, drawn);
                        let found = ln_hypergeometric_tail(k, total, marked, drawn).unwrap().exp();
                        assert!((found - direct).abs() < 1e-13, "{k} {total} {marked} {drawn}");
                    }
                }
            }
        }
        assert!(ln_hypergeometric_tail(1, 5, 6, 1).is_err());
        let tiny = ln_hypergeometric_tail(900, 20_000, 1000, 1000).unwrap();
        assert!(tiny.is_finite() && tiny < -1000.0);
    }

    fn set(name: &str, genes: &[&str]) -> GeneSet {
        GeneSet {
            name: name.into(),
            description: String::new(),
            genes: genes.iter().map(|g| g.to_string()).collect(),
        }
    }

    #[test]
    fn list_and_sets_are_cut_to_the_universe() {
        let universe = ["a", "b", "c", "d", "e", "f"];
        let sets = [set("first", &["A", "b", "b", "zz"]), set("second", &["d", "e"]), set("tiny", &["f"])];
        let options = EnrichmentOptions { smallest: 2, ignore_case: true, ..Default::default() };
        let found = over_representation(&["B", "a", "nope", "b"], &universe, &sets, options).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].set.as_str(), found[0].size, found[0].overlap), ("first", 2, 2));
        assert_eq!(found[0].genes, ["B", "a"]);
        // 1 of the 15 pairs.
        assert!((found[0].p - 1.0 / 15.0).abs() < 1e-15 && (found[0].bh - 2.0 / 15.0).abs() < 1e-15);
        assert!((found[0].by - 0.2).abs() < 1e-15 && (found[0].expected - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!((found[1].p, found[1].genes.len()), (1.0, 0));
        let exact = EnrichmentOptions { smallest: 1, ..Default::default() };
        let found = over_representation(&["B", "a"], &universe, &sets[..1], exact).unwrap();
        assert_eq!((found[0].size, found[0].overlap), (1, 0));
        assert!(over_representation::<&str>(&[], &[], &sets, exact).is_err());
        let wrong = EnrichmentOptions { smallest: 0, ..exact };
        assert!(over_representation(&["a"], &universe, &sets, wrong).is_err());
    }
}
