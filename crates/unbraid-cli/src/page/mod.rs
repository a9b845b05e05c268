//! A report as one HTML page that opens from disk: no network, no file beside it.
//!
//! Text and tables are written here and readable without scripts; charts, heat maps and the edge
//! tables are drawn by `page.js` from the same [`Report`], which lies in the page as JSON under the id
//! `unbraid-data`. Names come from files and are escaped in both places. A content security policy
//! forbids the page every request.
//!
//! Charts are uPlot 1.6.32 (MIT), in `vendor/`. Tried side by side on one objective trace, from disk
//! and offline, minified sizes and time to first drawing in headless Chromium: uPlot 51 kB + 2 kB
//! style, 6 ms; Chart.js 4.6.1 210 kB, 127 ms; ECharts 6.1.0 715 kB (`common`; 500 kB `simple`),
//! 115 ms. All three draw what we need and look alike once axes are labelled. uPlot leaves a page
//! four to fourteen times smaller; what it lacks, a heat map, is thirty lines of canvas.

mod coclusters;
mod evaluation;
mod explained;
mod factors;
mod processes;
mod slices;
mod studies;
mod survival;
mod truth;

use std::fmt::Write;

use unbraid::report::{Comparison, Level, NetworkFigure, Report, Run, StabilityFigure, Trace};

pub(crate) const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");
/// Most parameters that are listed without being asked for.
const LISTED: usize = 24;
const CHART_STYLE: &str = include_str!("vendor/uPlot.min.css");
const CHART_SCRIPT: &str = include_str!("vendor/uPlot.iife.min.js");

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut page = String::with_capacity(300_000);
    let title = escape(&report.title);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
    page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += &format!("<title>{title}</title>\n<style>\n{CHART_STYLE}\n{STYLE}</style>\n</head>\n<body>\n");
    page += &format!("<header>\n<h1><bdi>{title}</bdi></h1>\n<p class=\"soft\">{}</p>\n", tagline(report));
    alerts(&mut page, report);
    page += "</header>\n<main>\n";
    run(&mut page, &report.run);
    objective(&mut page, &report.objective);
    if !report.charts.is_empty() {
        page += "<section>\n<h2>Rank</h2>\n";
        evaluation::charts(&mut page, "fit", &report.charts);
        page += "</section>\n";
    }
    if let Some(f) = &report.factors {
        factors::section(&mut page, f);
    }
    if let Some(b) = &report.blocks {
        coclusters::section(&mut page, b);
    }
    if let Some(e) = &report.coclusters {
        coclusters::evaluation(&mut page, e);
    }
    if let Some(s) = &report.studies {
        studies::section(&mut page, s);
    }
    if let Some(s) = &report.slices {
        slices::section(&mut page, s);
    }
    for (at, figure) in report.maps.iter().enumerate() {
        factors::maps(&mut page, at, figure);
    }
    for (at, figure) in report.networks.iter().enumerate() {
        network(&mut page, at, figure);
    }
    for (at, figure) in report.stability.iter().enumerate() {
        stability(&mut page, at, figure);
    }
    if let Some(c) = &report.comparison {
        comparison(&mut page, c);
    }
    if let Some(e) = &report.evaluation {
        evaluation::section(&mut page, e);
    }
    if let Some(f) = &report.explained {
        explained::section(&mut page, f);
    }
    if let Some(f) = &report.processes {
        processes::section(&mut page, f);
    }
    if let Some(s) = &report.survival {
        survival::section(&mut page, s);
    }
    if let Some(t) = &report.truth {
        truth::section(&mut page, t);
    }
    page += "</main>\n<footer><p>Written by Unbraid. Every number and figure of this page is in the JSON block \
             <code>unbraid-data</code> of its source.</p></footer>\n";
    page += &format!("<script type=\"application/json\" id=\"unbraid-data\">{}</script>\n", json(report));
    page += &format!("<script>{CHART_SCRIPT}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

/// Text as HTML text or attribute value; control characters become visible.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The report as JSON that cannot end the script element it stands in: `<` only ever occurs inside
/// strings, where `\u003c` means the same.
fn json(report: &Report) -> String {
    serde_json::to_string(report).unwrap_or_else(|_| "null".into()).replace('<', "\\u003c")
}

fn tagline(report: &Report) -> String {
    let run = &report.run;
    let mut parts = vec![format!("Unbraid {}", escape(&run.version))];
    parts.push(format!("method <code>{}</code>", escape(&run.method)));
    if !run.seed.is_empty() {
        parts.push(format!("seed {}", escape(&run.seed)));
    }
    if let Some(stop) = &run.stop {
        parts.push(match stop.as_str() {
            "converged" => "converged".into(),
            "max_steps" => "stopped at the largest number of steps".into(),
            "cancelled" => "stopped by the user".into(),
            other => escape(other),
        });
    }
    if let Some(seconds) = run.seconds {
        parts.push(format!("{} s", number(seconds)));
    }
    parts.join(" · ")
}

fn alerts(page: &mut String, report: &Report) {
    page.push_str("<div class=\"alerts\" role=\"status\">\n");
    for alert in &report.alerts {
        let (class, word) = match alert.level {
            Level::Note => ("note", "Note."),
            Level::Warning => ("warning", "Warning."),
            Level::Error => ("error", "Problem."),
        };
        let _ = writeln!(page, "<div class=\"alert {class}\"><b>{word}</b>{}</div>", escape(&alert.text));
    }
    page.push_str("</div>\n");
}

fn run(page: &mut String, run: &Run) {
    page.push_str("<section>\n<h2>What was run, and on what</h2>\n");
    if !run.about.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escape(&run.about));
    }
    if !run.inputs.is_empty() {
        page.push_str(
            "<p class=\"soft\">Data as the method saw them. SHA-256 is that of the file.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th>file</th><th>slot</th>\
             <th class=\"n\">observations</th><th class=\"n\">features</th><th class=\"n\">entries that are not 0</th>\
             <th>SHA-256</th></tr></thead>\n<tbody>\n",
        );
        for input in &run.inputs {
            let all = input.observations as f64 * input.features as f64;
            let share = if all > 0.0 {
                format!(" ({} %)", number(100.0 * input.nonzeros as f64 / all))
            } else {
                String::new()
            };
            let _ = writeln!(
                page,
                "<tr><td class=\"t\"><bdi>{}</bdi></td><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}{share}</td><td class=\"mono\" title=\"{}\">{}</td></tr>",
                escape(&input.name),
                escape(&input.slot),
                count(input.observations),
                count(input.features),
                count(input.nonzeros),
                escape(&input.sha256),
                escape(&input.sha256.chars().take(16).collect::<String>()),
            );
        }
        page.push_str("</tbody></table></div>\n");
    }
    if !run.facts.is_empty() {
        page.push_str("<div class=\"tiles\" style=\"margin-top:16px\">\n");
        for fact in &run.facts {
            tile(page, &fact.name, &fact.value);
        }
        page.push_str("</div>\n");
    }
    if !run.parameters.is_empty() {
        let set = run.parameters.iter().filter(|p| !p.default).count();
        let changed: Vec<String> = (run.parameters.iter().filter(|p| !p.default))
            .map(|p| format!("{}={}", escape(&p.name), escape(&p.value)))
            .collect();
        let named = if set > 0 { format!(": <bdi>{}</bdi>", changed.join(", ")) } else { String::new() };
        let _ = writeln!(
            page,
            "<details{}><summary>{} parameters, {set} of them not at the default{named}</summary>\n<div class=\"scroll\"><table>\n\
             <thead><tr><th>parameter</th><th>value</th><th>meaning</th></tr></thead>\n<tbody>",
            // A long table would push what was found off the screen.
            if set > 0 && run.parameters.len() <= LISTED { " open" } else { "" },
            run.parameters.len()
        );
        for p in &run.parameters {
            let class = if p.default { "" } else { " class=\"set\"" };
            let _ = writeln!(
                page,
                "<tr><td><code>{}</code></td><td{class}><bdi>{}</bdi>{}</td><td class=\"soft t\">{}</td></tr>",
                escape(&p.name),
                escape(&p.value),
                if p.default { "" } else { " (set)" },
                escape(&p.about)
            );
        }
        page.push_str("</tbody></table></div></details>\n");
    }
    page.push_str("</section>\n");
}

fn objective(page: &mut String, traces: &[Trace]) {
    if traces.iter().all(|t| t.values.is_empty()) {
        return;
    }
    page.push_str("<section>\n<h2>Course of the fit</h2>\n<div class=\"two\">\n");
    for (at, trace) in traces.iter().enumerate().filter(|(_, t)| !t.values.is_empty()) {
        let last = trace.values.iter().rev().flatten().next();
        let _ = writeln!(
            page,
            "<figure><h3>{0}</h3><div id=\"objective-{at}\" role=\"img\" aria-label=\"{0} after each step\"></div>\
             <figcaption>Horizontal: step. Vertical: {0}. After {1}: {2}.{3}</figcaption></figure>",
            escape(&trace.name),
            plural(trace.values.len(), "step"),
            last.map_or("not finite".into(), |v| number(*v)),
            changes(&trace.marks),
        );
    }
    page.push_str("</div>\n</section>\n");
}

/// What happened during a fit, in a sentence.
fn changes(marks: &[(usize, String)]) -> String {
    let each: Vec<String> =
        marks.iter().map(|(at, what)| format!("{} from step {}", escape(what), count(*at))).collect();
    if each.is_empty() { String::new() } else { format!(" Dashed: {}.", each.join(", ")) }
}

fn network(page: &mut String, at: usize, n: &NetworkFigure) {
    let name = escape(&n.name);
    let _ = writeln!(page, "<section>\n<h2>Network of the <bdi>{name}</bdi></h2>\n<div class=\"tiles\">");
    tile(page, "vertices", &count(n.nodes));
    tile(page, "edges", &count(n.edges));
    tile(
        page,
        "sparsity (pairs not joined)",
        &n.sparsity.map_or("–".into(), |s| format!("{} %", number(100.0 * s))),
    );
    tile(page, "mean degree", &n.mean_degree.map_or("–".into(), number));
    tile(page, "vertices without an edge", &count(n.isolated));
    page.push_str("</div>\n<div class=\"two\">\n");
    if let Some(heat) = &n.heat {
        let cell = if heat.per_cell > 1 {
            format!(
                " One cell covers up to {0} × {0} pairs and shows the entry of largest size among them.",
                heat.per_cell
            )
        } else {
            " One cell is one pair.".into()
        };
        let _ = writeln!(
            page,
            "<figure><h3>Precision matrix Ψ, ordered by cluster</h3>\n<div class=\"heat\" id=\"heat-{at}\">\
             <canvas role=\"img\" aria-label=\"Heat map of the precision matrix of the {name}, ordered by cluster\"></canvas>\
             <div class=\"tip\"></div></div>\n\
             <div class=\"scale\"><span>−{limit}</span><canvas></canvas><span>+{limit}</span></div>\n\
             <figcaption>Rows and columns: the {name}, in the same order, grouped by {groups}; numbers or names along the \
             sides are the clusters.{cell} Colour: Ψ, blue above 0, orange below 0, blank where there is no edge; a \
             negative entry means a positive partial correlation. The colour rises with the square root of the size \
             and ends at ±{limit}, which holds 98 % of the coloured cells. The diagonal is left out.</figcaption></figure>",
            limit = number(heat.limit),
            groups = escape(&heat.grouping),
        );
    }
    let _ = writeln!(
        page,
        "<figure><h3>Degrees</h3><div id=\"degrees-{at}\" role=\"img\" aria-label=\"Degree distribution\"></div>\
         <figcaption>Horizontal: number of edges at a vertex. Vertical: how many vertices have that number.</figcaption>\
         {}</figure>\n</div>",
        n.heat.as_ref().map_or(String::new(), |h| clusters(&h.groups, &h.grouping)),
    );
    if !n.strongest.is_empty() {
        let _ = writeln!(
            page,
            "<h3>Strongest edges</h3>\n<div id=\"edges-{at}\"><div class=\"find\"><input type=\"search\" \
             placeholder=\"part of a name\" aria-label=\"Show edges whose ends contain\"><span class=\"count soft\">\
             </span></div>\n<div class=\"scroll tall\"></div></div>\n<p class=\"soft\">|Ψ| is the size of the entry of \
             the precision matrix, by which edges are ranked. Partial correlation is −Ψ<sub>ij</sub> / √(Ψ<sub>ii</sub> \
             Ψ<sub>jj</sub>): how two vertices go together when all others are held fixed; methods that stop early shrink it. A column heading sorts.</p>\n\
             <noscript><p>The table and the charts need scripts; the numbers are in the page's JSON block.</p></noscript>"
        );
    }
    page.push_str("</section>\n");
}

fn stability(page: &mut String, at: usize, s: &StabilityFigure) {
    let name = escape(&s.name);
    let percent = number(100.0 * s.threshold);
    let bound = |b: Option<f64>| b.map_or("–".into(), number);
    let _ = writeln!(
        page,
        "<section>\n<h2>Stability of the network of the <bdi>{name}</bdi></h2>\n<div class=\"tiles\">"
    );
    tile(page, "vertices", &count(s.nodes));
    tile(page, "refits to half of the data", &count(s.refits));
    tile(page, "edges selected in one refit", &number(s.selected));
    tile(page, &format!("stable edges (in at least {percent} % of refits)"), &count(s.stable));
    tile(page, "expected false, at most: without a shape", &bound(s.at.general));
    tile(page, "… unimodal", &bound(s.at.unimodal));
    tile(page, "… r-concave", &bound(s.at.concave));
    let _ = writeln!(
        page,
        "</div>\n<div class=\"two\">\n<figure><h3>Edges and expected errors by threshold</h3>\
         <div id=\"stability-{at}\" role=\"img\" aria-label=\"Stable edges and bounds on false ones by threshold\"></div>\
         <figcaption>Horizontal: share of refits asked for, in percent. Vertical (logarithmic): edges at or above it, and \
         bounds on how many of them are expected to be false: Meinshausen and Bühlmann, and Shah and Samworth under a \
         unimodal and an r-concave distribution of the shares.</figcaption></figure>\n\
         <figure><h3>How often pairs were selected</h3><div id=\"frequencies-{at}\" role=\"img\" \
         aria-label=\"Histogram of selection frequencies\"></div>\
         <figcaption>Horizontal: share of refits, in percent. Vertical (logarithmic): pairs selected in that share; \
         {ever} of {pairs} pairs were selected at least once.</figcaption></figure>\n</div>",
        ever = count(s.ever),
        pairs = count(s.nodes * s.nodes.saturating_sub(1) / 2),
    );
    page.push_str(
        "<p class=\"soft\">The bounds hold if no false edge is likelier selected than by blind choice and samples are \
         independent. Both hold in part only: the ends of a path of two edges depend on each other too, and cells \
         and genes depend on one another. They bound the number of false edges in expectation, not in this run.</p>\n",
    );
    if !s.strongest.is_empty() {
        page.push_str(
            "<details><summary>Most frequent edges</summary><div class=\"scroll tall\"><table><thead><tr><th>from</th>\
             <th>to</th><th class=\"n\">share of refits</th></tr></thead><tbody>",
        );
        for e in &s.strongest {
            let _ = write!(
                page,
                "<tr><td class=\"t\"><bdi>{}</bdi></td><td class=\"t\"><bdi>{}</bdi></td><td class=\"n\">{}</td></tr>",
                escape(&e.source),
                escape(&e.target),
                number(e.frequency)
            );
        }
        page.push_str("</tbody></table></div></details>\n");
    }
    page.push_str("</section>\n");
}

/// The clusters along a heat map with their sizes, the largest twelve.
fn clusters(groups: &[unbraid::report::Group], grouping: &str) -> String {
    const SHOWN: usize = 12;
    let mut out = format!(
        "<details><summary>{}</summary><div class=\"scroll\"><table><caption>{}</caption><thead><tr><th>cluster</th>\
         <th class=\"n\">vertices</th></tr></thead><tbody>",
        plural(groups.len(), "cluster"),
        escape(grouping)
    );
    for g in groups.iter().take(SHOWN) {
        let _ = write!(
            out,
            "<tr><td><bdi>{}</bdi></td><td class=\"n\">{}</td></tr>",
            escape(&g.label),
            count(g.size)
        );
    }
    if groups.len() > SHOWN {
        let rest: usize = groups[SHOWN..].iter().map(|g| g.size).sum();
        let _ = write!(
            out,
            "<tr><td>{} more</td><td class=\"n\">{}</td></tr>",
            groups.len() - SHOWN,
            count(rest)
        );
    }
    out + "</tbody></table></div></details>"
}

fn comparison(page: &mut String, c: &Comparison) {
    let optional = |v: Option<f64>| v.map_or("–".into(), number);
    let bar = |v: Option<f64>| match v {
        Some(v) if v > 0.0 => {
            format!("<span class=\"bar\" style=\"width:{:.1}em\"></span>", 5.0 * v.min(1.0))
        }
        _ => String::new(),
    };
    let _ = writeln!(
        page,
        "<section>\n<h2>Beside a plain nearest-neighbour graph</h2>\n<p>The graphs are judged by the column \
         <code>{}</code>, which has {}. The labels were not used in the fit.</p>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th>graph</th><th class=\"n\">k</th><th class=\"n\">edges</th><th class=\"n\">assortativity</th>\
         <th class=\"n\">best AMI</th><th class=\"n\">at resolution</th><th class=\"n\">communities</th></tr></thead>\n<tbody>",
        escape(&c.label),
        if c.classes.len() == 1 { "1 class".into() } else { format!("{} classes", count(c.classes.len())) },
    );
    for row in &c.rows {
        let _ = writeln!(
            page,
            "<tr><td class=\"t\"><bdi>{}</bdi></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}{}</td>\
             <td class=\"n\">{}{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&row.graph),
            row.k.map_or("–".into(), count),
            count(row.edges),
            bar(row.assortativity),
            optional(row.assortativity),
            bar(row.ami),
            optional(row.ami),
            optional(row.resolution),
            count(row.communities),
        );
    }
    let range = match (c.resolutions.first(), c.resolutions.last()) {
        (Some(a), Some(b)) => {
            format!("{} resolutions from {} to {}", c.resolutions.len(), number(*a), number(*b))
        }
        _ => "no resolution".into(),
    };
    let _ = writeln!(
        page,
        "</tbody></table></div>\n<p class=\"soft\" style=\"margin-top:10px\">Assortativity: 1 when edges join vertices of \
         one class only, 0 when they join at random, below 0 when they join different classes. AMI: adjusted mutual \
         information of the labels with the Leiden communities of the unweighted graph, 1 for a perfect match and 0 \
         by chance; the best of {range}, chosen with the labels in view for every graph alike. A neighbour graph joins \
         what looks alike; a precision network joins what depends on each other when the rest is held fixed. The first \
         often follows known classes more closely, which does not make it the better answer to the second question.</p>"
    );
    page.push_str("<details><summary>Classes</summary><div class=\"scroll\"><table><thead><tr><th>class</th><th class=\"n\">vertices</th></tr></thead><tbody>");
    for class in &c.classes {
        let _ = write!(
            page,
            "<tr><td><bdi>{}</bdi></td><td class=\"n\">{}</td></tr>",
            escape(&class.name),
            count(class.size)
        );
    }
    page.push_str("</tbody></table></div></details>\n</section>\n");
}

fn tile(page: &mut String, name: &str, value: &str) {
    let _ = writeln!(
        page,
        "<div><div class=\"k\">{}</div><div class=\"v\"><bdi>{}</bdi></div></div>",
        escape(name),
        escape(value)
    );
}

/// `1 step`, `2 steps`.
fn plural(n: usize, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Digits in groups of three.
fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Four significant digits.
pub(crate) fn number(v: f64) -> String {
    let size = v.abs();
    let text = if v == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e6).contains(&size) {
        let places = (3 - size.log10().floor() as i32).max(0) as usize;
        let text = format!("{v:.places$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    } else {
        format!("{v:.2e}")
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests;
