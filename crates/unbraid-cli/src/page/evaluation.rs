//! The part of a page that shows an evaluation of stored networks.

use std::fmt::Write;

use unbraid::metrics::network::Score;
use unbraid::report::{AxisEvaluation, Evaluation, LineChart, ModuleTable};

use super::{count, escape, number, plural, tile};

/// One section per axis.
pub(super) fn section(page: &mut String, e: &Evaluation) {
    for (at, axis) in e.axes.iter().enumerate() {
        let (name, key) = (escape(&axis.name), escape(&e.key));
        let _ = writeln!(page, "<section>\n<h2>Network of the <bdi>{name}</bdi>: <bdi>{key}</bdi></h2>");
        tiles(page, axis);
        graphs(page, e, axis);
        truth(page, axis);
        if let Some(table) = &axis.modules {
            modules(page, table);
        }
        robustness(page, axis);
        charts(page, &at.to_string(), &axis.charts);
        page.push_str("</section>\n");
    }
}

pub(super) fn optional(v: Option<f64>) -> String {
    v.map_or("–".into(), number)
}

/// `<th>` for each; a leading `*` marks a column of text.
pub(super) fn open_table(page: &mut String, columns: &[&str]) {
    page.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in columns {
        let _ = match column.strip_prefix('*') {
            Some(text) => write!(page, "<th>{text}</th>"),
            None => write!(page, "<th class=\"n\">{column}</th>"),
        };
    }
    page.push_str("</tr></thead>\n<tbody>\n");
}

pub(super) fn close_table(page: &mut String, note: &str) {
    let _ = writeln!(page, "</tbody></table></div>\n<p class=\"soft\" style=\"margin-top:10px\">{note}</p>");
}

/// One row: a text, numbers, and perhaps a text at the end.
pub(super) fn row(page: &mut String, first: &str, numbers: &[String], last: Option<&str>) {
    let text = |t: &str| format!("<td class=\"t\"><bdi>{}</bdi></td>", escape(t));
    *page += &format!("<tr>{}", text(first));
    numbers.iter().for_each(|n| *page += &format!("<td class=\"n\">{}</td>", escape(n)));
    *page += &format!("{}</tr>\n", last.map_or_else(String::new, text));
}

fn tiles(page: &mut String, axis: &AxisEvaluation) {
    page.push_str("<div class=\"tiles\">\n");
    if let Some(d) = &axis.degrees {
        tile(page, "vertices", &count(d.vertices));
        tile(page, "edges", &count(d.edges));
        tile(page, "mean degree", &optional(d.mean));
        tile(page, "median degree", &optional(d.median));
        tile(page, "largest degree", &count(d.max));
        tile(page, "vertices without an edge", &count(d.isolated));
        tile(page, "connected components", &count(d.components));
        tile(page, "density", &optional(d.density));
        tile(page, "mean weight |Ψ|", &optional(d.mean_weight));
    }
    page.push_str("</div>\n");
    if let Some(t) = &axis.tail {
        page.push_str("<h3>Upper-tail dependence of the values</h3>\n<div class=\"tiles\">\n");
        let name = format!("mean of {} random pairs at quantile {}", count(t.pairs), number(t.quantile));
        tile(page, &name, &optional(t.observed));
        tile(page, "in Gaussian copulas of the same correlations", &optional(t.gaussian));
        tile(page, "for independent values", &number(t.independent));
        tile(page, "pairs above their Gaussian copula", &share(t.above_gaussian));
        page.push_str("</div>\n");
    }
}

fn share(v: Option<f64>) -> String {
    v.map_or("–".into(), |v| format!("{} %", number(100.0 * v)))
}

fn graphs(page: &mut String, e: &Evaluation, axis: &AxisEvaluation) {
    let (Some(label), false) = (&e.label, axis.graphs.is_empty()) else { return };
    let _ = writeln!(
        page,
        "<h3>Beside the labels of <code>{}</code>, which has {}</h3>",
        escape(label),
        plural(e.classes.len(), "label")
    );
    open_table(
        page,
        &[
            "*graph",
            "k",
            "edges",
            "assortativity",
            "of codes",
            "AMI",
            "at resolution",
            "communities",
            "balanced AMI",
            "ARI",
            "balanced ARI",
        ],
    );
    for g in &axis.graphs {
        for j in &g.scores.at {
            let best = |s: Score| optional(j.best(s).map(|p| p.score(s)));
            let at = j.best(Score::Ami);
            row(
                page,
                &g.graph,
                &[
                    j.k.map_or("–".into(), count),
                    count(j.edges),
                    optional(j.nominal),
                    optional(j.numeric),
                    best(Score::Ami),
                    optional(at.map(|p| p.resolution)),
                    at.map_or("–".into(), |p| count(p.communities)),
                    best(Score::BalancedAmi),
                    best(Score::Ari),
                    best(Score::BalancedAri),
                ],
                None,
            );
        }
    }
    close_table(
        page,
        "Assortativity: 1 when edges join vertices of one class only, 0 when they join at random. That of the codes is \
         Pearson's correlation of the numbers of the classes, which depends on their order. AMI and ARI: agreement of \
         Leiden communities with the labels, 1 for a perfect match, 0 by chance; balanced: after the communities were \
         given equal mass. The best of the resolutions is chosen with the labels in view, for every graph and score \
         alike. A neighbour graph joins what looks alike; a precision network joins what depends on each other when \
         the rest is held fixed.",
    );
}

fn truth(page: &mut String, axis: &AxisEvaluation) {
    let Some(t) = &axis.truth else { return };
    let s = &t.scores;
    let _ = writeln!(page, "<h3>Beside the true network <bdi>{}</bdi></h3>", escape(&t.key));
    open_table(page, &["*pairs ranked by", "area under precision–recall", "average precision"]);
    for (by, a) in [("|Ψ|", s.magnitude), ("Ψ", s.signed), ("−Ψ", s.negated)] {
        row(page, by, &[number(a.aupr), number(a.average_precision)], None);
    }
    row(page, "chance", &[number(s.chance), number(s.chance)], None);
    let ranked = if t.all_pairs {
        "All pairs are ranked."
    } else {
        "Only the kept edges are ranked; all other pairs tie behind them."
    };
    close_table(
        page,
        &format!("{} true edges among {} pairs. {ranked}", count(s.edges as usize), count(s.pairs as usize)),
    );
}

fn modules(page: &mut String, t: &ModuleTable) {
    let _ = writeln!(page, "<h3>Modules of features</h3>");
    let mut columns = vec!["*module", "features", "mean share"];
    if t.label.is_some() {
        columns.extend(["F", "log₁₀ p", "Benjamini–Hochberg", "Bonferroni"]);
    }
    columns.push("*hubs (edges inside)");
    open_table(page, &columns);
    for r in &t.rows {
        let mut cells = vec![count(r.size), optional(r.share)];
        if t.label.is_some() {
            let anova = r.test.and_then(|t| t.anova);
            cells.push(optional(anova.map(|a| a.f).filter(|f| f.is_finite())));
            cells.push(optional(anova.map(|a| a.log10_p).filter(|p| p.is_finite())));
            cells.push(optional(r.test.and_then(|t| t.bh)));
            cells.push(optional(r.test.and_then(|t| t.bonferroni)));
        }
        let hubs: Vec<String> = r.hubs.iter().map(|h| format!("{} ({})", h.name, h.hub.degree)).collect();
        row(page, &r.module.to_string(), &cells, Some(&hubs.join(", ")));
    }
    let outside = match t.outside {
        0 => String::new(),
        n => format!(" {} in communities too small to be modules.", plural(n, "feature")),
    };
    let test = t.label.as_ref().map_or_else(String::new, |label| {
        format!(
            " F and p: one-way analysis of variance of the share between the classes of <code>{}</code>; the last \
             columns adjust p for the number of modules.",
            escape(label)
        )
    });
    close_table(
        page,
        &format!(
            "Modules are the Leiden communities of the weighted network at resolution {}. Share: the module's part of a \
             cell's expression, mean over cells.{test}{outside}",
            number(t.resolution)
        ),
    );
}

fn robustness(page: &mut String, axis: &AxisEvaluation) {
    let Some(r) = &axis.robustness else { return };
    let _ = writeln!(
        page,
        "<h3>Robustness of the {} communities</h3>\n<div class=\"tiles\">",
        count(r.communities)
    );
    tile(page, "ln Bayes factor: two curves against one", &number(r.ln_bayes));
    tile(page, "ln Bayes factor of the log ratio (robin's form)", &number(r.ln_bayes_ratio));
    tile(page, "permutation p-value", &number(r.p));
    page.push_str("</div>\n");
}

/// Curves, with `of` in the names of their boxes.
pub fn charts(page: &mut String, of: &str, charts: &[LineChart]) {
    if charts.is_empty() {
        return;
    }
    page.push_str("<div class=\"two\">\n");
    for (at, chart) in charts.iter().enumerate() {
        let _ = writeln!(
            page,
            "<figure><h3>{0}</h3><div id=\"lines-{of}-{at}\" role=\"img\" aria-label=\"{0}\"></div>\
             <figcaption>{1}</figcaption></figure>",
            escape(&chart.title),
            escape(&chart.caption)
        );
    }
    page.push_str("</div>\n");
}
