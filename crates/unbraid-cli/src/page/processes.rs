//! The part of a page that shows the gene sets of factors: tables of dots, gene sets × factors.
//!
//! A dot is a small inline SVG in a cell, and names are text of the table, which wraps: nothing has to be measured, and
//! no name is cut or drawn over another.

use std::fmt::Write;

use unbraid::report::{Dot, ProcessBlock, ProcessFigure, SHARED};

use super::evaluation::{close_table, open_table, row};
use super::{count, escape, number, tile};

/// Radius of the largest dot and of the smallest, in pixels.
const RADII: (f64, f64) = (9.0, 2.5);
/// −log₁₀ p at which the colour ends.
const DARKEST: f64 = 20.0;

/// Shares of enriched factors, a table of dots for each block, and the top sets with their genes.
pub(super) fn section(page: &mut String, f: &ProcessFigure) {
    page.push_str("<section>\n<h2>Gene sets of the factors</h2>\n<div class=\"tiles\">\n");
    let share = |(enriched, tested, all): (usize, usize, usize)| match all {
        0 => "–".to_owned(),
        _ => format!(
            "{enriched} of {all} ({} %){}",
            number((100.0 * enriched as f64 / all as f64).round()),
            if tested < all { format!(", {} too small to test", all - tested) } else { String::new() }
        ),
    };
    tile(page, "shared factors with an enriched set", &share(f.counts(true)));
    if f.blocks.iter().any(|b| b.name != SHARED) {
        tile(page, "factors of one study with one", &share(f.counts(false)));
    }
    tile(page, "gene sets tested", &count(f.sets));
    tile(page, "genes", &count(f.universe));
    page.push_str("</div>\n");
    let (most, strongest) = f.scale();
    let start = -f.level.log10();
    let end = strongest.min(DARKEST).max(start + 1.0);
    let scale = Scale { most: most.max(1), start, end, cut: strongest > DARKEST };
    for block in f.blocks.iter().filter(|b| !b.processes.is_empty()) {
        dots(page, block, &scale);
    }
    if most > 0 {
        scale.legend(page);
    }
    let _ = writeln!(
        page,
        "<p class=\"soft\">Rows: the enriched sets of largest fold of each factor. Columns: factors with an enriched set. \
         Enriched: adjusted p below {} (one-sided hypergeometric test, Benjamini and Yekutieli over the sets that share \
         a gene with the factor). Ringed: one of the factor's top sets. Sets enriched in more than {} % of the \
         factors tested, and in more than one, are not drawn; factors of fewer than {} genes are not tested.</p>",
        number(f.level),
        number(100.0 * f.common),
        count(f.fewest)
    );
    listing(page, f);
    page.push_str("</section>\n");
}

/// How numbers become dots.
struct Scale {
    /// Genes of the largest dot.
    most: usize,
    /// −log₁₀ of the level, where the colour starts.
    start: f64,
    /// −log₁₀ p of the darkest.
    end: f64,
    /// Whether stronger ones look the same.
    cut: bool,
}

impl Scale {
    /// Area goes with genes, colour with −log₁₀ p.
    fn dot(&self, overlap: usize, strength: f64, ring: bool) -> String {
        let radius = (RADII.0 * (overlap as f64 / self.most as f64).sqrt()).max(RADII.1);
        let shade = 18.0 + 82.0 * ((strength - self.start) / (self.end - self.start)).clamp(0.0, 1.0);
        let ring = if ring { " stroke=\"var(--ink)\" stroke-width=\"1.4\"" } else { "" };
        format!(
            "<svg width=\"22\" height=\"22\" viewBox=\"-11 -11 22 22\" aria-hidden=\"true\"><circle r=\"{radius:.1}\" \
             style=\"fill:color-mix(in srgb, var(--accent) {shade:.0}%, var(--card))\"{ring}/></svg>"
        )
    }

    fn legend(&self, page: &mut String) {
        page.push_str("<p class=\"soft dots-key\">genes in common: ");
        let mut sizes = vec![1.max(self.most / 10), 1.max(self.most / 3), self.most];
        sizes.dedup();
        for n in sizes {
            let _ = write!(page, "<span>{}{}</span> ", self.dot(n, self.end, false), count(n));
        }
        page.push_str("· −log₁₀ adjusted p: ");
        for part in [0.0, 0.33, 0.67, 1.0] {
            let value = self.start + part * (self.end - self.start);
            let more = if part == 1.0 && self.cut { " or more" } else { "" };
            let rounded = number((10.0 * value).round() / 10.0);
            let _ = write!(
                page,
                "<span>{}{rounded}{more}</span> ",
                self.dot(self.most.div_ceil(2), value, false)
            );
        }
        page.push_str("</p>\n");
    }
}

fn dots(page: &mut String, block: &ProcessBlock, scale: &Scale) {
    let title = match block.name.as_str() {
        SHARED => "Shared factors".to_owned(),
        name => format!("Factors of <bdi>{}</bdi>", escape(name)),
    };
    let drawn: Vec<usize> = (0..block.factors.len())
        .filter(|&at| block.processes.iter().any(|p| p.dots.iter().any(|d| d.at == at)))
        .collect();
    let _ = write!(
        page,
        "<h3>{title}: {} of {} enriched</h3>\n<div class=\"scroll\"><table class=\"dots\"><thead><tr><th>gene set (genes)</th>",
        block.enriched,
        block.factors.iter().filter(|f| f.genes > 0).count(),
    );
    for &at in &drawn {
        let f = &block.factors[at];
        let _ = write!(page, "<th title=\"{} genes\">{}</th>", f.genes, f.factor + 1);
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for p in &block.processes {
        let _ = write!(
            page,
            "<tr><td class=\"t\">{} <span class=\"soft\">{}</span></td>",
            name(&p.set),
            count(p.size)
        );
        for &at in &drawn {
            match p.dots.iter().find(|d| d.at == at) {
                None => page.push_str("<td></td>"),
                Some(d) => {
                    let _ = write!(
                        page,
                        "<td title=\"factor {}: {} genes, fold {}, adjusted p {:.1e}\">{}</td>",
                        block.factors[at].factor + 1,
                        d.overlap,
                        number(d.fold),
                        d.by,
                        scale.dot(d.overlap, d.strength(), d.top)
                    );
                }
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// A name that may break after its underscores.
fn name(set: &str) -> String {
    format!("<bdi>{}</bdi>", escape(set).replace('_', "_<wbr>"))
}

/// The top sets as numbers, with the genes found.
fn listing(page: &mut String, f: &ProcessFigure) {
    let mut rows: Vec<(usize, &str, &str, usize, &Dot)> = Vec::new();
    for b in &f.blocks {
        for p in &b.processes {
            let top = p.dots.iter().filter(|d| d.top);
            rows.extend(top.map(|d| (b.factors[d.at].factor, b.name.as_str(), p.set.as_str(), p.size, d)));
        }
    }
    if rows.is_empty() {
        page.push_str("<p>No factor has an enriched set to show.</p>\n");
        return;
    }
    rows.sort_by(|a, b| (a.0, -a.4.fold).partial_cmp(&(b.0, -b.4.fold)).unwrap_or(std::cmp::Ordering::Equal));
    page.push_str("<details><summary>Top sets of each factor, with their genes</summary>\n");
    open_table(page, &["*set", "factor", "genes", "of", "fold", "adjusted p", "*genes in common"]);
    for (factor, _, set, size, d) in rows {
        let cells = [
            count(factor + 1),
            count(d.overlap),
            count(size),
            number((10.0 * d.fold).round() / 10.0),
            format!("{:.1e}", d.by),
        ];
        row(page, set, &cells, Some(&d.genes.join(", ")));
    }
    close_table(
        page,
        "Genes: of the set among those of the factor, and of the set among all that were fitted.",
    );
    page.push_str("</details>\n");
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use unbraid::report::{Process, ProcessFactor};

    /// Two shared factors that share a set, and one of a study without any; all names are `name`.
    pub fn figure(name: &str) -> ProcessFigure {
        let dot = |at, overlap, by, top| Dot { at, overlap, fold: 4.25, by, top, genes: vec![name.into()] };
        let factor = |factor, genes| ProcessFactor {
            factor,
            genes,
            tested: genes > 4,
            enriched: usize::from(genes > 4),
        };
        let process = Process {
            set: name.into(),
            size: 30,
            dots: vec![dot(0, 16, 1e-60, true), dot(1, 4, 1e-3, false)],
        };
        let block = |name: &str, factors: Vec<ProcessFactor>, processes| ProcessBlock {
            name: name.into(),
            tested: factors.iter().filter(|f| f.tested).count(),
            enriched: factors.iter().filter(|f| f.enriched > 0).count(),
            factors,
            processes,
        };
        ProcessFigure {
            key: name.into(),
            level: 0.05,
            universe: 1000,
            sets: 70,
            fewest: 5,
            common: 0.1,
            blocks: vec![
                block(SHARED, vec![factor(0, 40), factor(1, 12)], vec![process]),
                block(name, vec![factor(2, 3)], Vec::new()),
            ],
        }
    }

    #[test]
    fn dots_go_with_genes_and_names_may_break() {
        let mut page = String::new();
        section(&mut page, &figure("GO_LONG_NAME"));
        // Areas of 16 and 4 genes; the second is not one of its factor's top sets.
        for part in [
            "r=\"9.0\"",
            "r=\"4.5\"",
            "GO_<wbr>LONG_<wbr>NAME",
            "2 of 2 (100 %)",
            "0 of 1 (0 %), 1 too small to test",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(page.matches("stroke-width").count(), 1, "{page}");
        assert!(page.contains("or more") && page.contains("fold 4.25, adjusted p 1.0e-60"), "{page}");
        let mut none = figure("x");
        none.blocks.iter_mut().for_each(|b| b.processes.clear());
        let mut page = String::new();
        section(&mut page, &none);
        assert!(page.contains("No factor has an enriched set") && !page.contains("<circle"), "{page}");
    }
}
