//! Factors that studies share and factors of one study.

use std::fmt::Write;

use unbraid::report::{LabelCodes, SHARED, StudiesFigure, StudyFactor};

use super::{count, escape, number, plural, tile};

/// W by blocks, the factors, and codes by study.
pub(super) fn section(page: &mut String, s: &StudiesFigure) {
    page.push_str("<section>\n<h2>Factors of the studies</h2>\n<div class=\"tiles\">");
    let shared = s.factors.iter().filter(|f| f.study == SHARED).count();
    tile(page, "factors of all studies", &count(shared));
    for study in &s.studies {
        tile(
            page,
            &format!("of {} ({})", study.name, plural(study.observations, "observation")),
            &count(study.factors),
        );
    }
    tile(page, "features in some set", &format!("{} of {}", count(s.in_sets), count(s.features)));
    page.push_str("</div>\n");
    let Some(map) = &s.map else {
        let _ = writeln!(
            page,
            "<p>No feature is in the set of any factor: no |w| is above {}.</p>\n</section>",
            number(s.threshold)
        );
        return;
    };
    let cell = match map.per_column {
        1 => "One column is one feature.".to_owned(),
        several => format!(
            "One column is up to {several} neighbouring features and shows the entry of largest size among them."
        ),
    };
    let left_out = match s.features - s.in_sets {
        0 => String::new(),
        rest => format!(" {} that are in no set are left out.", plural(rest, "feature")),
    };
    let _ = writeln!(
        page,
        "<figure><h3>Weights W</h3>\n<div class=\"heat wide\" id=\"mask\"><canvas role=\"img\" aria-label=\"Weights of features \
         on factors, shared factors first\"></canvas><div class=\"tip\"></div></div>\n<div class=\"scale\">\
         <span>−{limit}</span><canvas></canvas><span>+{limit}</span></div>\n<figcaption>Rows: factors, those of all studies \
         first, then those of each study. Columns: features, by the factor of largest |w|, then by falling |w|. {cell}{left_out} \
         Colour: w, blue above 0, orange below 0, blank at 0; it rises with the square root of the size and ends at \
         ±{limit}.</figcaption></figure>",
        limit = number(map.limit),
    );
    table(page, s);
    page.push_str("<div class=\"two\">\n");
    if let Some(points) = &s.scatter {
        let left_out = match points.left_out {
            0 => String::new(),
            n => format!(" {} are left out, evenly.", plural(n, "observation")),
        };
        let key = s.studies.iter().map(|m| format!("<span><i></i><bdi>{}</bdi></span>", escape(&m.name)));
        let _ = writeln!(
            page,
            "<figure><h3>Codes on two factors of all studies</h3>\n<div class=\"heat\" id=\"cloud\"><canvas role=\"img\" \
             aria-label=\"Codes of observations on two factors, coloured by study\"></canvas></div>\n<div class=\"key\">{}</div>\
             \n<figcaption>One point is one observation, its colour the study. The factors are those of all studies with the \
             largest shares.{left_out}</figcaption></figure>",
            key.collect::<String>(),
        );
    }
    spread(page, s);
    page.push_str("</div>\n");
    if let Some(labels) = &s.labels {
        by_label(page, labels, &s.factors);
    }
    page.push_str("</section>\n");
}

/// What each factor is made of.
fn table(page: &mut String, s: &StudiesFigure) {
    page.push_str(
        "<div class=\"scroll\"><table>\n<thead><tr><th class=\"n\">factor</th><th>of</th><th class=\"n\">features</th>\
         <th>share</th><th>top features</th></tr></thead>\n<tbody>\n",
    );
    let largest = s.factors.iter().filter_map(|f| f.share).fold(f64::MIN_POSITIVE, f64::max);
    for (at, f) in s.factors.iter().enumerate() {
        let share = f.share.map_or("–".into(), |v| {
            format!(
                "<span class=\"bar\" style=\"width:{:.1}em\"></span>{} %",
                4.0 * (v / largest).clamp(0.0, 1.0),
                number((1000.0 * v).round() / 10.0)
            )
        });
        let top = f.top.iter().map(|w| {
            format!(
                "<bdi>{}</bdi> <span class=\"soft\">{}</span>",
                escape(&w.name),
                number((100.0 * w.weight).round() / 100.0)
            )
        });
        let _ = write!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"t\" style=\"min-width:5em\"><bdi>{}</bdi></td><td class=\"n\">{}</td><td style=\"white-space:nowrap\">{share}</td><td class=\"t\">{}</td>",
            at + 1,
            escape(&f.study),
            count(f.size),
            top.collect::<Vec<_>>().join(", "),
        );
        page.push_str("</tr>\n");
    }
    let _ = writeln!(
        page,
        "</tbody></table></div>\n<p class=\"soft\">Features: those with |w| above {}, the set of the factor. Share: part of the \
         signal that enters the decoder, Σ w² times Σ z² over the observations. Beside a feature: its weight. Weight and code of a factor are known \
         up to a common sign and scale.</p>",
        number(s.threshold)
    );
}

/// How much codes vary in each study.
fn spread(page: &mut String, s: &StudiesFigure) {
    page.push_str(
        "<figure><h3>Codes by study</h3><div class=\"scroll\"><table><thead><tr><th class=\"n\">factor</th><th>of</th>",
    );
    for study in &s.studies {
        heading(page, &escape(&study.name));
    }
    page.push_str("</tr></thead><tbody>\n");
    let all = s.factors.iter().flat_map(|f| f.spread.iter().flatten());
    let widest = all.fold(f64::MIN_POSITIVE, |a, b| a.max(*b));
    for (at, f) in s.factors.iter().enumerate() {
        let _ = write!(page, "<tr><td class=\"n\">{}</td><td><bdi>{}</bdi></td>", at + 1, escape(&f.study));
        f.spread.iter().for_each(|v| shaded(page, *v, v.map_or(0.0, |v| v / widest)));
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</tbody></table></div><figcaption>Standard deviation of the codes within each study; – where the factor belongs to \
         another.</figcaption></figure>\n",
    );
}

/// The heading of a column of numbers, which may be long.
fn heading(page: &mut String, name: &str) {
    let style = "white-space:normal;overflow-wrap:anywhere;min-width:5.5em";
    let _ = write!(page, "<th class=\"n\" style=\"{style}\"><bdi>{name}</bdi></th>");
}

/// A number on a background as strong as `part`, from −1 to 1.
fn shaded(page: &mut String, value: Option<f64>, part: f64) {
    let colour = if part < 0.0 { "var(--warn-line)" } else { "var(--fill)" };
    let strength = (60.0 * part.abs().min(1.0)).round();
    let text = value.map_or("–".into(), |v| number((100.0 * v).round() / 100.0));
    let _ = write!(
        page,
        "<td class=\"n\" style=\"background:color-mix(in srgb, {colour} {strength}%, transparent)\">{text}</td>"
    );
}

fn by_label(page: &mut String, labels: &LabelCodes, factors: &[StudyFactor]) {
    let _ = write!(
        page,
        "<figure><h3>Mean codes by <bdi>{}</bdi></h3><div class=\"scroll\"><table><thead><tr><th class=\"n\">factor</th><th>of</th>",
        escape(&labels.label)
    );
    for (name, size, _) in &labels.rows {
        heading(page, &format!("{} ({})", escape(name), count(*size)));
    }
    page.push_str("</tr></thead><tbody>\n");
    for (f, factor) in factors.iter().enumerate() {
        let _ =
            write!(page, "<tr><td class=\"n\">{}</td><td><bdi>{}</bdi></td>", f + 1, escape(&factor.study));
        for (_, _, means) in &labels.rows {
            let mean = means.get(f).copied().flatten();
            shaded(page, mean, mean.map_or(0.0, |v| v / 2.0));
        }
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</tbody></table></div><figcaption>Mean code of the observations with a label, in standard deviations from the mean of \
         all that the factor belongs to.</figcaption></figure>\n",
    );
}
