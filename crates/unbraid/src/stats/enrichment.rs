//! Over-representation: whether a list of genes holds more of a gene set than chance would put there.
//!
//! Of N genes in the universe K belong to the set; a list of n holds k of them. Under random lists k is
//! hypergeometric, and the test is its upper tail
//!
//! p = P(X ≥ k) = Σ_{x ≥ k} C(K, x) C(N − K, n − x) / C(N, n).
//!
//! Both list and sets are first cut to the universe: the genes that could have been found.

use std::collections::{BTreeSet, HashMap, HashSet};

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
    /// Whether the universe is cut to the genes that are in any set of the collection, whatever its size. A gene that
    /// nobody has annotated cannot be found, so that counting it makes every set look richer. Default false.
    pub annotated_only: bool,
    /// Whether p-values are adjusted over the sets that share a gene with the list only; the others get 1. Default
    /// false: over all tested sets.
    pub adjust_hits: bool,
}

impl Default for EnrichmentOptions {
    fn default() -> EnrichmentOptions {
        EnrichmentOptions {
            smallest: 5,
            largest: 2000,
            ignore_case: false,
            annotated_only: false,
            adjust_hits: false,
        }
    }
}

impl EnrichmentOptions {
    /// The conventions of the platelet study of `moran2026`: annotated genes, sets of 10 to 500, p-values adjusted over
    /// the sets that share a gene with the list.
    pub fn of_factors() -> EnrichmentOptions {
        EnrichmentOptions {
            smallest: 10,
            largest: 500,
            annotated_only: true,
            adjust_hits: true,
            ..EnrichmentOptions::default()
        }
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
    /// (k / n) / (K / N), the overlap over what is expected; 0 for an empty list.
    pub fold: f64,
    /// P(X ≥ k); 0 where it is below the smallest double.
    pub p: f64,
    /// log₁₀ p, finite however small p is.
    pub log10_p: f64,
    /// Benjamini and Hochberg's adjusted p.
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

/// Gene sets cut to a universe once, for any number of lists.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Number of each gene of the universe.
    number: HashMap<String, usize>,
    /// Name and members of each set that has a fitting size, in file order; members rise.
    sets: Vec<(String, Vec<usize>)>,
    options: EnrichmentOptions,
}

impl Collection {
    /// Cuts the sets to the universe and keeps those of fitting size.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty universe, [`Error::Param`] for sizes out of order.
    pub fn new<S: AsRef<str>>(
        universe: &[S],
        sets: &[GeneSet],
        options: EnrichmentOptions,
    ) -> Result<Collection> {
        if options.smallest == 0 || options.largest < options.smallest {
            let found = format!("{} to {}", options.smallest, options.largest);
            return Err(Error::Param {
                name: "sizes",
                found,
                rule: "at least 1, the larger not below the smaller",
            });
        }
        let fold = |gene: &str| folded(gene, options.ignore_case);
        let annotated: Option<HashSet<String>> =
            options.annotated_only.then(|| sets.iter().flat_map(|s| &s.genes).map(|g| fold(g)).collect());
        let mut number = HashMap::new();
        for gene in universe.iter().map(|g| fold(g.as_ref())) {
            if annotated.as_ref().is_none_or(|known| known.contains(&gene)) {
                let next = number.len();
                number.entry(gene).or_insert(next);
            }
        }
        if number.is_empty() {
            let rule = "at least one gene, and one that is in a set where annotated genes alone count";
            return Err(Error::Shape { what: "the universe of genes".into(), found: vec![0], rule });
        }
        let members = |set: &GeneSet| -> Vec<usize> {
            let inside: BTreeSet<usize> =
                set.genes.iter().filter_map(|g| number.get(&fold(g)).copied()).collect();
            inside.into_iter().collect()
        };
        let fits = |m: &Vec<usize>| (options.smallest..=options.largest).contains(&m.len());
        let kept = sets.iter().map(|s| (s.name.clone(), members(s))).filter(|(_, m)| fits(m)).collect();
        Ok(Collection { number, sets: kept, options })
    }

    /// N: genes of the universe.
    pub fn universe(&self) -> usize {
        self.number.len()
    }

    /// Sets that are tested.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether no set has a fitting size.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Tests every set; results by rising p, ties in file order. Genes of the list outside the universe and repeats
    /// count for nothing.
    ///
    /// # Errors
    /// None on a collection that was made; those of [`ln_hypergeometric_tail`] are passed on.
    pub fn test<S: AsRef<str>>(&self, list: &[S]) -> Result<Vec<Enrichment>> {
        let mut at: HashMap<usize, usize> = HashMap::new();
        for (i, gene) in list.iter().enumerate() {
            if let Some(&gene) = self.number.get(&folded(gene.as_ref(), self.options.ignore_case)) {
                at.entry(gene).or_insert(i);
            }
        }
        let (total, drawn) = (self.number.len() as u64, at.len() as u64);
        let mut out = Vec::new();
        for (name, members) in &self.sets {
            let mut hits: Vec<usize> = members.iter().filter_map(|g| at.get(g).copied()).collect();
            hits.sort_unstable();
            let ln_p = ln_hypergeometric_tail(hits.len() as u64, total, members.len() as u64, drawn)?;
            let expected = drawn as f64 * members.len() as f64 / total as f64;
            out.push(Enrichment {
                set: name.clone(),
                size: members.len(),
                overlap: hits.len(),
                expected,
                fold: if expected > 0.0 { hits.len() as f64 / expected } else { 0.0 },
                p: ln_p.exp(),
                log10_p: ln_p / std::f64::consts::LN_10,
                bh: 1.0,
                by: 1.0,
                genes: hits.into_iter().map(|i| list[i].as_ref().to_owned()).collect(),
            });
        }
        let adjusted: Vec<&mut Enrichment> =
            out.iter_mut().filter(|e| e.overlap > 0 || !self.options.adjust_hits).collect();
        let p: Vec<f64> = adjusted.iter().map(|e| e.p).collect();
        let (bh, by) = (adjust(&p, Adjust::BenjaminiHochberg), adjust(&p, Adjust::BenjaminiYekutieli));
        for (e, (bh, by)) in adjusted.into_iter().zip(bh.into_iter().zip(by)) {
            (e.bh, e.by) = (bh, by);
        }
        out.sort_by(|a, b| a.log10_p.total_cmp(&b.log10_p));
        Ok(out)
    }
}

fn folded(gene: &str, ignore_case: bool) -> String {
    if ignore_case { gene.to_lowercase() } else { gene.to_owned() }
}

/// One list against every set of a fitting size, as [`Collection::test`].
///
/// # Errors
/// As [`Collection::new`].
pub fn over_representation<S: AsRef<str>>(
    list: &[S],
    universe: &[S],
    sets: &[GeneSet],
    options: EnrichmentOptions,
) -> Result<Vec<Enrichment>> {
    Collection::new(universe, sets, options)?.test(list)
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
