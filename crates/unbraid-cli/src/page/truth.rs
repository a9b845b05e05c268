//! The part of a page that shows factors beside the true ones.

use unbraid::metrics::supports::SupportScores;
use unbraid::report::FactorTruth;

use super::evaluation::{close_table, open_table, optional, row};
use super::{count, escape, number, plural, tile};

/// Scores by block, and every true factor with the found one most like it.
pub(super) fn section(page: &mut String, t: &FactorTruth) {
    let (key, truth) = (escape(&t.key), escape(&t.truth));
    *page += &format!("<section>\n<h2>Factors of <bdi>{key}</bdi> beside <bdi>{truth}</bdi></h2>\n");
    page.push_str("<div class=\"tiles\">\n");
    let shared = t.blocks.first().and_then(|b| b.scores);
    tile(page, "consensus of the shared factors", &optional(shared.map(|s| s.consensus)));
    if t.blocks.len() > 1 {
        tile(page, "consensus, mean of the studies", &optional(t.mean.map(|m| m.consensus)));
    }
    tile(page, "consensus of all columns", &optional(t.all.map(|s| s.consensus)));
    tile(page, "disentanglement of the scores", &optional(t.disentanglement));
    page.push_str("</div>\n<h3>Supports</h3>\n");
    open_table(page, &["*block", "found", "true", "consensus", "relevance", "recovery"]);
    let all = ("all columns".to_owned(), t.all);
    for (name, scores) in t.blocks.iter().map(|b| (b.name.clone(), b.scores)).chain([all]) {
        let value = |of: fn(&SupportScores) -> f64| optional(scores.as_ref().map(of));
        let sizes = scores.map_or((0, 0), |s| (s.found, s.truth));
        let cells = [
            count(sizes.0),
            count(sizes.1),
            value(|s| s.consensus),
            value(|s| s.relevance),
            value(|s| s.recovery),
        ];
        row(page, &name, &cells, None);
    }
    let relative = if t.rule.relative { " of the largest of its column" } else { "" };
    let rule = format!(
        "A feature belongs to a factor where |w| is above {}{relative}; {} compared. Found, true: factors with a feature. \
         Consensus: sum of the Jaccard indices of the best one-to-one pairs, over the larger number of factors. \
         Relevance: mean over the found factors of the best true one. Recovery: mean over the true factors of the best \
         found one. All lie between 0 and 1.",
        number(t.rule.threshold),
        plural(t.features, "feature")
    );
    close_table(page, &rule);
    page.push_str("<h3>True factors</h3>\n");
    open_table(page, &["*of", "factor", "features", "found factor", "Jaccard", "*of"]);
    for f in &t.factors {
        let found = f.found.map_or("–".into(), |c| count(c + 1));
        let cells = [count(f.factor + 1), count(f.features), found, number(f.jaccard)];
        row(page, &f.study, &cells, Some(f.found_in.as_deref().unwrap_or("–")));
    }
    close_table(page, "The found factor of largest Jaccard index |A ∩ B| / |A ∪ B|, whatever its block.");
    page.push_str("</section>\n");
}
