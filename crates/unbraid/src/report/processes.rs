//! Gene sets of factors as `enrich` prints them, writes them as JSON and draws them: one table of dots for the shared
//! factors and one for those of each study.

use serde::{Deserialize, Serialize};

use super::truth::SHARED;
use crate::metrics::processes::{FactorSets, shown};
use crate::stats::enrichment::Enrichment;

/// Gene sets of all factors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessFigure {
    /// Name under which the fit is stored.
    pub key: String,
    /// Level below which an adjusted p counts.
    pub level: f64,
    /// Genes that count.
    pub universe: usize,
    /// Gene sets tested.
    pub sets: usize,
    /// Fewest genes of a factor that is tested.
    pub fewest: usize,
    /// Share of the factors tested above which a set is common, and not drawn.
    pub common: f64,
    /// The shared factors, then those of each study.
    pub blocks: Vec<ProcessBlock>,
}

/// The factors of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessBlock {
    /// `shared` or the study.
    pub name: String,
    /// Factors with enough genes to be tested.
    pub tested: usize,
    /// Those with an enriched set.
    pub enriched: usize,
    /// All factors of the kind.
    pub factors: Vec<ProcessFactor>,
    /// Sets drawn, in the order of the factors they are drawn for.
    pub processes: Vec<Process>,
}

/// One factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessFactor {
    /// Its column, from 0.
    pub factor: usize,
    /// Its genes.
    pub genes: usize,
    /// Whether it was tested.
    pub tested: bool,
    /// Its enriched sets.
    pub enriched: usize,
}

/// One gene set with a dot for every factor of the block that it is enriched in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The set.
    pub set: String,
    /// Its genes in the universe.
    pub size: usize,
    /// By factor.
    pub dots: Vec<Dot>,
}

/// A set in a factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dot {
    /// Position among the block's factors.
    pub at: usize,
    /// Genes of both.
    pub overlap: usize,
    /// Over what chance gives.
    pub fold: f64,
    /// Adjusted p (Benjamini and Yekutieli).
    pub by: f64,
    /// Whether it is one of the factor's top sets.
    pub top: bool,
    /// The genes of both, for top sets.
    pub genes: Vec<String>,
}

impl Dot {
    /// −log₁₀ of the adjusted p; an adjusted p of 0 counts as the smallest double.
    pub fn strength(&self) -> f64 {
        -self.by.max(f64::MIN_POSITIVE).log10()
    }
}

impl ProcessFigure {
    /// Blocks of factors that belong to `study` each ([`SHARED`] or a study's name). Drawn are, of every shared factor, the
    /// `top.0` enriched sets of largest fold and of every other the `top.1`, without common ones ([`shown`]).
    pub fn new(
        key: &str,
        (universe, sets): (usize, usize),
        found: &[FactorSets],
        study: &[String],
        (level, fewest, common): (f64, usize, f64),
        top: (usize, usize),
    ) -> ProcessFigure {
        let best = shown(found, level, common, |f| if study[f.factor] == SHARED { top.0 } else { top.1 });
        let mut names = vec![SHARED.to_owned()];
        for name in study {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let block = |name: String| {
            let of: Vec<usize> = (0..found.len()).filter(|&k| study[found[k].factor] == name).collect();
            let factor = |&k: &usize| ProcessFactor {
                factor: found[k].factor,
                genes: found[k].genes,
                tested: !found[k].tests.is_empty(),
                enriched: found[k].enriched(level).count(),
            };
            let factors: Vec<ProcessFactor> = of.iter().map(factor).collect();
            let mut processes: Vec<Process> = Vec::new();
            for e in of.iter().flat_map(|&k| &best[k]) {
                if processes.iter().all(|p| p.set != e.set) {
                    processes.push(Process { set: e.set.clone(), size: e.size, dots: Vec::new() });
                }
            }
            for p in &mut processes {
                for (at, &k) in of.iter().enumerate() {
                    let Some(e) = found[k].enriched(level).find(|e| e.set == p.set) else { continue };
                    p.dots.push(dot(at, e, best[k].iter().any(|b| b.set == p.set)));
                }
            }
            let (tested, enriched) = (
                factors.iter().filter(|f| f.tested).count(),
                factors.iter().filter(|f| f.enriched > 0).count(),
            );
            ProcessBlock { name, tested, enriched, factors, processes }
        };
        let blocks: Vec<ProcessBlock> = names.into_iter().map(block).collect();
        let blocks = blocks.into_iter().filter(|b| !b.factors.is_empty()).collect();
        ProcessFigure { key: key.to_owned(), level, universe, sets, fewest, common, blocks }
    }

    /// Factors with an enriched set, those tested and all with a gene: of the shared ones (`true`) or of the studies'.
    pub fn counts(&self, shared: bool) -> (usize, usize, usize) {
        let those = self.blocks.iter().filter(|b| (b.name == SHARED) == shared);
        those.fold((0, 0, 0), |sum, b| {
            let filled = b.factors.iter().filter(|f| f.genes > 0).count();
            (sum.0 + b.enriched, sum.1 + b.tested, sum.2 + filled)
        })
    }

    /// The genes of the largest dot and the largest strength, which scale the picture.
    pub fn scale(&self) -> (usize, f64) {
        let dots = || self.blocks.iter().flat_map(|b| &b.processes).flat_map(|p| &p.dots);
        (dots().map(|d| d.overlap).max().unwrap_or(0), dots().map(Dot::strength).fold(0.0, f64::max))
    }
}

fn dot(at: usize, e: &Enrichment, top: bool) -> Dot {
    let genes = if top { e.genes.clone() } else { Vec::new() };
    Dot { at, overlap: e.overlap, fold: e.fold, by: e.by, top, genes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(set: &str, fold: f64, by: f64) -> Enrichment {
        let genes = vec!["g".to_owned()];
        let (expected, log10_p) = (1.0, by.log10());
        Enrichment { set: set.into(), size: 9, overlap: 4, expected, fold, p: by, log10_p, bh: by, by, genes }
    }

    #[test]
    fn blocks_count_and_draw_their_own_factors() {
        let sets = |factor, genes, tests| FactorSets { factor, genes, tests };
        let found = [
            sets(0, 30, vec![test("a", 2.0, 1e-9), test("b", 5.0, 1e-3), test("c", 9.0, 0.2)]),
            sets(1, 12, vec![test("d", 3.0, 1e-4), test("e", 4.0, 1e-4)]),
            sets(2, 3, Vec::new()),
            sets(3, 20, vec![test("f", 1.5, 0.7)]),
        ];
        let study = ["shared", "x", "x", "shared"].map(str::to_owned);
        let f = ProcessFigure::new("m", (100, 6), &found, &study, (0.05, 5, 0.1), (1, 2));
        assert_eq!(f.blocks.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["shared", "x"]);
        assert_eq!((f.counts(true), f.counts(false)), ((1, 2, 2), (1, 1, 2)));
        let drawn = |b: usize| f.blocks[b].processes.iter().map(|p| p.set.as_str()).collect::<Vec<_>>();
        assert_eq!((drawn(0), drawn(1)), (vec!["b"], vec!["e", "d"]));
        assert_eq!(f.blocks[0].processes[0].dots[0].genes, ["g"]);
        assert_eq!(f.scale(), (4, 4.0));
        let text = serde_json::to_string(&f).unwrap();
        assert_eq!(serde_json::from_str::<ProcessFigure>(&text).unwrap(), f);
        assert!(Dot { by: 0.0, ..f.blocks[0].processes[0].dots[0].clone() }.strength() > 300.0);
    }
}
