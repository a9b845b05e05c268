//! Factors and the maps learnt on top of them.

use std::fmt::Write;

use unbraid::report::{FactorsFigure, LabelScores, MapsFigure};

use super::{count, escape, number, plural, tile};

/// What each factor is made of, and who has it.
pub(super) fn section(page: &mut String, f: &FactorsFigure) {
    page.push_str("<section>\n<h2>Factors</h2>\n<div class=\"tiles\">");
    tile(page, "factors", &count(f.factors.len()));
    tile(page, "observations", &count(f.observations));
    tile(page, "features", &count(f.features));
    tile(page, "loss", &f.loss);
    page.push_str(
        "</div>\n<div class=\"scroll\"><table>\n<thead><tr><th class=\"n\">factor</th><th>share</th>\
         <th class=\"n\">carriers</th><th class=\"n\">largest in</th><th>top features</th></tr></thead>\n<tbody>\n",
    );
    let largest =
        f.factors.iter().filter_map(|factor| factor.share).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    for (at, factor) in f.factors.iter().enumerate() {
        let share = factor.share.map_or("–".into(), |s| {
            format!(
                "<span class=\"bar\" style=\"width:{:.1}em\"></span>{} %",
                // The largest share has the whole width.
                5.0 * (s / largest).clamp(0.0, 1.0),
                number((1000.0 * s).round() / 10.0)
            )
        });
        let top = factor.top.iter().map(|l| {
            format!(
                "<bdi>{}</bdi> <span class=\"soft\">{}</span>",
                escape(&l.name),
                number((1000.0 * l.part).round() / 10.0)
            )
        });
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td>{share}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"t\">{}</td></tr>",
            at + 1,
            count(factor.carriers),
            count(factor.dominates),
            top.collect::<Vec<_>>().join(", "),
        );
    }
    page.push_str(
        "</tbody></table></div>\n<p class=\"soft\">Share: part of the sum of the low-rank table. Carriers: how few features \
         hold 90 % of the factor's loadings. Largest in: observations in which no other factor contributes more. Beside a \
         feature: its part of the factor's loadings, in percent.</p>\n<div class=\"two\">\n",
    );
    if let Some(map) = &f.scores {
        let row = match map.per_row {
            0 | 1 => "One row is one observation.".into(),
            several => format!("One row is the mean of up to {several} observations."),
        };
        let _ = writeln!(
            page,
            "<figure><h3>Scores</h3>\n<div class=\"heat\" id=\"scores\"><canvas role=\"img\" aria-label=\"Heat map of the \
             scores of the observations on the factors\"></canvas></div>\n<figcaption>Columns: factors. Rows: \
             observations, ordered by the factor that contributes most and then by its score. {row} Colour: score, \
             from blank for 0 to the factor's largest.</figcaption></figure>"
        );
    }
    if let Some(labels) = &f.labels {
        by_label(page, labels, f.factors.len());
    }
    page.push_str("</div>\n</section>\n");
}

fn by_label(page: &mut String, labels: &LabelScores, factors: usize) {
    let _ = write!(
        page,
        "<figure><h3>Mean scores by <bdi>{}</bdi></h3><div class=\"scroll\"><table><thead><tr><th>label</th>\
         <th class=\"n\">observations</th>",
        escape(&labels.label)
    );
    for f in 1..=factors {
        let _ = write!(page, "<th class=\"n\">{f}</th>");
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in &labels.rows {
        let _ = write!(
            page,
            "<tr><td class=\"t\"><bdi>{}</bdi></td><td class=\"n\">{}</td>",
            escape(&row.name),
            count(row.size)
        );
        for mean in &row.means {
            let shade = (60.0 * mean.clamp(0.0, 1.0)).round();
            let _ = write!(
                page,
                "<td class=\"n\" style=\"background:color-mix(in srgb, var(--fill) {shade}%, transparent)\">{}</td>",
                number((100.0 * mean).round() / 100.0)
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</tbody></table></div><figcaption>Scores as parts of the factor's largest. The labels were not used in the \
         fit.</figcaption></figure>\n",
    );
}

/// Learnt maps, one small chart each.
pub(super) fn maps(page: &mut String, at: usize, m: &MapsFigure) {
    let _ = writeln!(
        page,
        "<section>\n<h2>Learnt maps: <bdi>{}</bdi></h2>\n<div class=\"tiles\">",
        escape(&m.title)
    );
    tile(page, "maps", &count(m.features));
    tile(page, "inflate high values", &count(m.inflate));
    tile(page, "deflate high values", &count(m.deflate));
    tile(page, "median stretch", &m.median.map_or("–".into(), |v| number((100.0 * v).round() / 100.0)));
    let _ = writeln!(
        page,
        "</div>\n<figure><h3>Stretch of all maps</h3><div id=\"stretch-{at}\" role=\"img\" aria-label=\"Histogram of \
         stretches\"></div><figcaption>Horizontal: log₂ of how much a map rises above the median of its inputs over how \
         much it rises below. Above 0 high values are inflated, below 0 deflated. Vertical: maps.</figcaption></figure>"
    );
    if !m.curves.is_empty() {
        let _ = writeln!(
            page,
            "<h3>{}, by falling stretch</h3>\n<div class=\"small\">",
            plural(m.curves.len(), "map")
        );
        for (i, curve) in m.curves.iter().enumerate() {
            let name = escape(&curve.name);
            let _ = writeln!(
                page,
                "<figure><h4><bdi>{name}</bdi> <span class=\"soft\">{}</span></h4>\
                 <div id=\"map-{at}-{i}\" role=\"img\" aria-label=\"Map of {name}\"></div>\
                 <div id=\"quantiles-{at}-{i}\" role=\"img\" aria-label=\"Quantiles of {name}\"></div></figure>",
                number((100.0 * curve.stretch).round() / 100.0)
            );
        }
        page.push_str(
            "</div>\n<p class=\"soft\">Beside a name: its stretch. Upper chart: the value T(z) over the low-rank signal z in \
             standard units. Lower chart: the learnt quantiles over their cumulative weights, dashed where the true ones \
             are known.</p>\n",
        );
    }
    page.push_str("</section>\n");
}
