//! An evaluation as a reader at the terminal sees it.

use unbraid::metrics::network::{LabelOptions, Score};
use unbraid::metrics::supports::SupportScores;
use unbraid::report::{AxisEvaluation, Evaluation, ExplainedFigure, FactorTruth, ModuleTable};

/// Prints everything that was found.
pub fn show(found: &Evaluation, options: &LabelOptions) {
    for axis in &found.axes {
        say!("\n{}", axis.name);
        degrees(axis);
        graphs(found, axis, options);
        truth(axis);
        if let Some(table) = &axis.modules {
            modules(table);
        }
        robustness(axis);
        tail(axis);
    }
}

/// Prints factors beside the true ones.
pub fn factors(found: &FactorTruth) {
    let relative = if found.rule.relative { " of a column's largest" } else { "" };
    say!(
        "\nsupports, |w| above {}{relative}, beside `{}` over {} features",
        found.rule.threshold,
        found.truth,
        found.features
    );
    let mut rows = vec![head(&["block", "found", "true", "consensus", "relevance", "recovery"])];
    let scored = |name: &str, s: &Option<SupportScores>| {
        let count =
            |of: fn(&SupportScores) -> usize| s.as_ref().map_or_else(|| "0".into(), |s| of(s).to_string());
        let value = |of: fn(&SupportScores) -> f64| number(s.as_ref().map(of));
        vec![
            name.to_owned(),
            count(|s| s.found),
            count(|s| s.truth),
            value(|s| s.consensus),
            value(|s| s.relevance),
            value(|s| s.recovery),
        ]
    };
    rows.extend(found.blocks.iter().map(|b| scored(&b.name, &b.scores)));
    if let Some(m) = found.mean {
        let values = [m.consensus, m.relevance, m.recovery].map(|v| number(Some(v)));
        rows.push(
            ["mean of the studies".into(), String::new(), String::new()].into_iter().chain(values).collect(),
        );
    }
    rows.push(scored("all columns", &found.all));
    table(&rows);
    if let Some(d) = found.disentanglement {
        say!("\n  disentanglement of the scores of {} observations: {d:.3}", found.observations);
    }
    say!("\n  each true factor and the found one that is most like it");
    let mut rows = vec![head(&["true", "of", "features", "found", "of", "Jaccard"])];
    for f in &found.factors {
        rows.push(vec![
            (f.factor + 1).to_string(),
            f.study.clone(),
            f.features.to_string(),
            f.found.map_or_else(|| "–".into(), |c| (c + 1).to_string()),
            f.found_in.clone().unwrap_or_else(|| "–".into()),
            number(Some(f.jaccard)),
        ]);
    }
    table(&rows);
    say!(
        "    consensus: sum of the Jaccard indices of the best one-to-one pairs over the larger number of factors; \
         relevance:\n    mean over the found ones of the best true one; recovery: mean over the true ones of the best \
         found one."
    );
}

/// Prints how much known columns explain of each factor.
pub fn explained(found: &ExplainedFigure) {
    let names: Vec<&str> = found.columns.iter().map(|c| c.name.as_str()).collect();
    say!(
        "\nshare of the variance of the scores explained by {}, {} observations",
        names.join(" and "),
        found.observations
    );
    let by_study = found.study.is_some();
    let mut titles = vec!["factor", "of"];
    for name in &names {
        titles.push(name);
        titles.extend(by_study.then_some("within"));
        titles.push("most in");
    }
    let mut rows = vec![head(&titles)];
    for f in &found.factors {
        let mut row = vec![(f.factor + 1).to_string(), f.study.clone()];
        for s in &f.shares {
            row.push(number(s.all));
            row.extend(by_study.then(|| number(s.within)));
            row.push(s.group.clone().unwrap_or_else(|| "–".into()));
        }
        rows.push(row);
    }
    for m in &found.means {
        let mut row = vec!["mean".to_owned(), format!("{} ({})", m.name, m.factors)];
        for (all, within) in m.all.iter().zip(&m.within) {
            row.push(number(*all));
            row.extend(by_study.then(|| number(*within)));
            row.push(String::new());
        }
        rows.push(row);
    }
    let mut row = vec!["chance".to_owned(), String::new()];
    for c in &found.columns {
        row.push(number(c.chance));
        row.extend(by_study.then(String::new));
        row.push(String::new());
    }
    rows.push(row);
    table(&rows);
    say!("    share: variance between the groups over all variance (of numbers, the squared correlation).");
    if let Some(study) = &found.study {
        say!(
            "    A factor of one study counts as 0 in the others. within: the same within the studies of `{study}` that may \
             have the factor."
        );
    }
}

fn number(v: Option<f64>) -> String {
    v.map_or_else(|| "–".into(), |v| format!("{v:.3}"))
}

/// Four significant digits of a number of any size.
fn short(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e5).contains(&size) => {
            let text = format!("{v:.*}", (3 - size.log10().floor() as i32).max(0) as usize);
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
        _ => format!("{v:.1e}"),
    }
}

/// Columns as wide as they need, the first to the left.
fn table(rows: &[Vec<String>]) {
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(c, (text, &w))| match c {
            0 => format!("{text:<w$}"),
            _ => format!("{text:>w$}"),
        });
        say!("    {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

fn degrees(axis: &AxisEvaluation) {
    let Some(d) = &axis.degrees else { return };
    let optional = |v: Option<f64>| v.map_or_else(|| "–".into(), short);
    say!(
        "  {} vertices, {} edges; degree: mean {}, median {}, most {}; {} without an edge; {} component{}; \
         density {}, mean weight {}",
        d.vertices,
        d.edges,
        optional(d.mean),
        optional(d.median),
        d.max,
        d.isolated,
        d.components,
        if d.components == 1 { "" } else { "s" },
        optional(d.density),
        optional(d.mean_weight),
    );
}

fn graphs(found: &Evaluation, axis: &AxisEvaluation, options: &LabelOptions) {
    let (Some(label), false) = (&found.label, axis.graphs.is_empty()) else { return };
    let count = options.resolutions.len();
    let range = match (options.resolutions.first(), options.resolutions.last()) {
        (Some(a), Some(b)) if count > 1 => format!("best of {count} Leiden resolutions from {a} to {b}"),
        (Some(a), _) => format!("Leiden resolution {a}"),
        _ => String::new(),
    };
    let weighted = if options.weighted { "weighted" } else { "unweighted" };
    say!("\n  by `{label}` ({} classes); communities: {range}, {weighted}", found.classes.len());
    let mut rows = vec![head(&[
        "graph",
        "k",
        "edges",
        "nominal",
        "numeric",
        "AMI",
        "at",
        "communities",
        "balanced AMI",
        "ARI",
        "balanced ARI",
    ])];
    for g in &axis.graphs {
        for judged in &g.scores.at {
            let best = |s: Score| judged.best(s).map(|p| p.score(s));
            let at = judged.best(Score::Ami);
            rows.push(vec![
                g.graph.clone(),
                judged.k.map_or_else(|| "–".into(), |k| k.to_string()),
                judged.edges.to_string(),
                number(judged.nominal),
                number(judged.numeric),
                number(best(Score::Ami)),
                at.map_or_else(|| "–".into(), |p| format!("{:.2}", p.resolution)),
                at.map_or_else(|| "–".into(), |p| p.communities.to_string()),
                number(best(Score::BalancedAmi)),
                number(best(Score::Ari)),
                number(best(Score::BalancedAri)),
            ]);
        }
        if g.scores.at.len() > 1 {
            let best = |s: Score| g.best.iter().find(|b| b.score == s);
            let at = best(Score::Ami);
            rows.push(vec![
                format!("{}, best", g.graph),
                "any".into(),
                String::new(),
                number(g.nominal),
                number(g.numeric),
                number(at.map(|b| b.value)),
                at.map_or_else(|| "–".into(), |b| format!("{:.2}", b.resolution)),
                at.map_or_else(|| "–".into(), |b| b.communities.to_string()),
                number(best(Score::BalancedAmi).map(|b| b.value)),
                number(best(Score::Ari).map(|b| b.value)),
                number(best(Score::BalancedAri).map(|b| b.value)),
            ]);
        }
    }
    table(&rows);
    say!(
        "    nominal, numeric: assortativity of the labels and of their codes. The best of the resolutions is \
         chosen with\n    the labels in view, for every graph and score alike."
    );
}

fn truth(axis: &AxisEvaluation) {
    let Some(t) = &axis.truth else { return };
    let s = &t.scores;
    let pairs = if t.all_pairs { "all pairs ranked" } else { "kept edges ranked, other pairs tied" };
    say!("\n  against `{}`: {} true edges among {} pairs; {pairs}", t.key, s.edges, s.pairs);
    let mut rows = vec![head(&["ranked by", "AUPR", "average precision"])];
    for (by, a) in [("|Ψ|", s.magnitude), ("Ψ", s.signed), ("−Ψ", s.negated)] {
        rows.push(vec![by.into(), number(Some(a.aupr)), number(Some(a.average_precision))]);
    }
    rows.push(vec!["chance".into(), number(Some(s.chance)), number(Some(s.chance))]);
    table(&rows);
}

fn modules(t: &ModuleTable) {
    let outside = if t.outside > 0 { format!(", {} features in none", t.outside) } else { String::new() };
    say!("\n  {} modules at resolution {}{outside}", t.rows.len(), t.resolution);
    let mut rows = vec![match &t.label {
        Some(_) => head(&["module", "features", "share", "F", "log10 p", "BH", "  hubs (edges inside)"]),
        None => head(&["module", "features", "share", "  hubs (edges inside)"]),
    }];
    for r in &t.rows {
        let mut row = vec![r.module.to_string(), r.size.to_string(), number(r.share)];
        if t.label.is_some() {
            let anova = r.test.and_then(|t| t.anova);
            row.push(anova.map_or_else(|| "–".into(), |a| short(a.f)));
            row.push(anova.map_or_else(|| "–".into(), |a| format!("{:.2}", a.log10_p)));
            row.push(r.test.and_then(|t| t.bh).map_or_else(|| "–".into(), |p| format!("{p:.1e}")));
        }
        let hubs: Vec<String> = r.hubs.iter().map(|h| format!("{} ({})", h.name, h.hub.degree)).collect();
        row.push(format!("  {}", hubs.join(", ")));
        rows.push(row);
    }
    // Hubs are text and stand to the left.
    let last = rows[0].len() - 1;
    let width = rows.iter().map(|r| r[last].chars().count()).max().unwrap_or(0);
    rows.iter_mut().for_each(|r| r[last] = format!("{:<width$}", r[last]));
    table(&rows);
    if let Some(label) = &t.label {
        say!(
            "    share: of a cell's expression, mean over cells. F, p: one-way analysis of variance of the share \
             between the\n    classes of `{label}`; BH: p after Benjamini and Hochberg over the modules."
        );
    }
}

fn robustness(axis: &AxisEvaluation) {
    let Some(r) = &axis.robustness else { return };
    say!(
        "\n  {} communities at resolution {} under perturbation, {} repeats: VI / log n",
        r.communities,
        r.options.resolution,
        r.options.repeats
    );
    let cells = |name: &str, values: &mut dyn Iterator<Item = String>| -> Vec<String> {
        std::iter::once(name.to_owned()).chain(values).collect()
    };
    table(&[
        cells("edges tried", &mut r.options.shares.iter().map(|s| format!("{:.0} %", 100.0 * s))),
        cells("network", &mut r.real_mean.iter().map(|v| format!("{v:.2}"))),
        cells("random graphs", &mut r.null_mean.iter().map(|v| format!("{v:.2}"))),
    ]);
    say!(
        "    ln Bayes factor {} (two curves against one), {} (of the log ratio, robin's form); permutation p = {}",
        short(r.ln_bayes),
        short(r.ln_bayes_ratio),
        short(r.p)
    );
}

fn tail(axis: &AxisEvaluation) {
    let Some(t) = &axis.tail else { return };
    say!("\n  upper-tail dependence at quantile {}, {} random pairs", t.quantile, t.pairs);
    say!(
        "    values {}, Gaussian copulas of the same correlations {}, independent {}; {} of the pairs above their \
         copula; undefined for {}",
        number(t.observed),
        number(t.gaussian),
        number(Some(t.independent)),
        t.above_gaussian.map_or_else(|| "–".into(), |v| format!("{:.0} %", 100.0 * v)),
        t.undefined
    );
}
