//! Factors beside survival: models, hazard ratios, and curves of groups, drawn without a script.

use std::fmt::Write;

use unbraid::report::{Arm, CoxRow, CoxTable, CurveFigure, SurvivalFigure};

use super::{count, escape, number, tile};
use crate::survival::p_value;

/// All of it.
pub(super) fn section(page: &mut String, s: &SurvivalFigure) {
    page.push_str("<section>\n<h2>Hazard ratios</h2>\n<div class=\"tiles\">");
    tile(page, "observations", &count(s.observations));
    tile(page, "events", &count(s.events));
    tile(page, "left out", &count(s.dropped));
    tile(page, "factors", &count(s.single.len()));
    if let Some(joint) = &s.joint {
        tile(page, "all factors: likelihood ratio p", &minus(&p_value(joint.lr_p)));
        tile(page, "all factors: concordance", &number(joint.concordance));
    }
    page.push_str("</div>\n");
    forest(page, s);
    page.push_str("</section>\n<section>\n<h2>Cox models</h2>\n");
    let k = s.single.len();
    if let Some(joint) = &s.joint {
        table(page, "All factors together", &joint.rows.iter().map(|r| (r, None)).collect::<Vec<_>>());
        let _ = writeln!(
            page,
            "<p class=\"soft\">One model. Likelihood ratio {} on {k} degrees of freedom, p {}; concordance {}. A factor's \
             p asks whether it adds to the others.</p>",
            number(joint.lr),
            minus(&p_value(joint.lr_p)),
            number(joint.concordance)
        );
    }
    let rows: Vec<_> = s.single.iter().map(|fit| (&fit.rows[0], Some(fit))).collect();
    table(page, "Each factor alone", &rows);
    page.push_str(
        "<p class=\"soft\">A model for each factor: whether it goes with survival at all.</p>\n</section>\n",
    );
    if !s.curves.is_empty() {
        let by = if s.split == "tertiles" { "thirds" } else { "halves" };
        let _ = writeln!(
            page,
            "<section>\n<h2>Kaplan–Meier curves of {by} by each factor</h2>\n<p class=\"soft\">Vertical: share without the \
             event, with 95 % bands. Strokes: watches that ended without it.</p>\n<div class=\"two\">"
        );
        for figure in &s.curves {
            curves(page, figure, &s.time);
        }
        page.push_str("</div>\n</section>\n");
    }
    notes(page, s);
}

/// A minus sign in place of a hyphen.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

fn places(v: Option<f64>, n: usize) -> String {
    v.map_or("–".into(), |v| minus(&format!("{v:.n$}")))
}

fn interval(row: &CoxRow) -> String {
    match (row.hazard_ratio_low, row.hazard_ratio_high) {
        (Some(low), Some(high)) => format!("{} to {}", short(low), short(high)),
        _ => "–".into(),
    }
}

/// Three significant digits or two places.
fn short(v: f64) -> String {
    if (0.01..100.0).contains(&v) { format!("{v:.2}") } else { number(v) }
}

fn table(page: &mut String, title: &str, rows: &[(&CoxRow, Option<&CoxTable>)]) {
    let mut head = vec!["coef", "hazard ratio", "95 % interval", "se", "z", "p", "p Bonferroni", "PH p"];
    if rows.iter().any(|(_, fit)| fit.is_some()) {
        head.extend(["LR p", "concordance"]);
    }
    let _ = writeln!(page, "<h3>{title}</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>factor</th>");
    for name in head {
        let _ = write!(page, "<th class=\"n\">{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (row, fit) in rows {
        let coef = match row.infinite {
            true => if row.positive { "+∞" } else { "−∞" }.to_owned(),
            false => places(row.coef, 3),
        };
        let p = |v: Option<f64>, warn: bool| {
            let text = v.map_or("–".into(), |p| minus(&p_value(p)));
            if warn && v.is_some_and(|p| p < 0.05) { format!("<b>{text}</b>") } else { text }
        };
        let mut cells = vec![
            coef,
            row.hazard_ratio.map_or("–".into(), short),
            interval(row),
            places(row.se, 3),
            places(row.z, 2),
            p(row.p, false),
            p(row.p_bonferroni, true),
            p(row.ph_p, false),
        ];
        if let Some(fit) = fit {
            cells.extend([p(Some(fit.lr_p), false), places(Some(fit.concordance), 3)]);
        }
        let _ = write!(page, "<tr><td><bdi>{}</bdi></td>", escape(&row.factor));
        for cell in &cells {
            let _ = write!(page, "<td class=\"n\">{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// Colours of the two models and of groups.
const JOINT: &str = "var(--accent)";
const SINGLE: &str = "var(--bad-line)";

/// Hazard ratios with their intervals on a logarithmic axis.
fn forest(page: &mut String, s: &SurvivalFigure) {
    let joint = |j: usize| s.joint.as_ref().map(|fit| &fit.rows[j]);
    let all: Vec<&CoxRow> =
        s.single.iter().map(|fit| &fit.rows[0]).chain(s.joint.iter().flat_map(|fit| &fit.rows)).collect();
    let ends = all.iter().flat_map(|r| [r.hazard_ratio_low, r.hazard_ratio_high]).flatten();
    // Intervals of thousands would press the others together; they end in an arrow.
    let (low, high) = ends.fold((-0.25f64, 0.25f64), |(l, h), v| (l.min(v.log2()), h.max(v.log2())));
    let (low, high) = (low.max(-5.0), high.min(5.0));
    let step = [0.25, 0.5, 1.0, 2.0].into_iter().find(|s| (high - low) / s <= 9.0).unwrap_or(2.0);
    let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
    let (wide, left, right, row) = (1000.0, 70.0, 250.0, 40.0);
    let bottom = 34.0 + row * s.single.len() as f64;
    let x = |v: f64| left + (wide - left - right) * ((v - low) / (high - low)).clamp(0.0, 1.0);
    let _ = writeln!(
        page,
        "<figure><div class=\"scroll\"><svg viewBox=\"0 0 {wide} {:.0}\" role=\"img\" aria-label=\"Hazard ratios of the factors with \
         95 % intervals\" style=\"width:100%;min-width:760px\" fill=\"none\" font-size=\"14\">",
        bottom + 48.0
    );
    let mut at = low;
    while at <= high + 1e-9 {
        let (h, line) = (x(at), if at.abs() < 1e-9 { "var(--soft)" } else { "var(--grid)" });
        let _ = writeln!(
            page,
            "<path d=\"M{h:.1} 30V{bottom:.0}\" stroke=\"{line}\"/><text x=\"{h:.1}\" y=\"{:.0}\" fill=\"var(--soft)\" \
             text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            short_tick(at.exp2())
        );
        at += step;
    }
    let _ = writeln!(
        page,
        "<text x=\"{:.0}\" y=\"{:.0}\" fill=\"var(--soft)\" text-anchor=\"middle\">hazard ratio per standard deviation \
         (logarithmic)</text>\
         <text x=\"0\" y=\"18\" fill=\"var(--soft)\">factor</text><text x=\"{:.0}\" y=\"18\" fill=\"var(--soft)\">hazard \
         ratio, 95 % interval, p</text>",
        (x(low) + x(high)) / 2.0,
        bottom + 38.0,
        wide - right + 20.0
    );
    let mut legend = x(low);
    for (name, colour, shown) in [("together", JOINT, s.joint.is_some()), ("alone", SINGLE, true)] {
        if shown {
            let _ = writeln!(
                page,
                "<path d=\"M{legend:.0} 13h26\" stroke=\"{colour}\" stroke-width=\"2\"/>{}<text x=\"{:.0}\" y=\"18\" \
                 fill=\"{colour}\">{name}</text>",
                point(legend + 13.0, 13.0, colour, name == "alone"),
                legend + 32.0
            );
            legend += 120.0;
        }
    }
    for j in 0..s.single.len() {
        let top = 34.0 + row * j as f64;
        let single = &s.single[j].rows[0];
        let _ = writeln!(
            page,
            "<text x=\"0\" y=\"{:.1}\" fill=\"var(--ink)\">{}</text>",
            top + row / 2.0 + 5.0,
            escape(&single.factor)
        );
        let pair = joint(j).into_iter().map(|r| (r, JOINT)).chain([(single, SINGLE)]);
        let several = s.joint.is_some();
        for (at, (r, colour)) in pair.enumerate() {
            let y = if several { top + 12.0 + 16.0 * at as f64 } else { top + row / 2.0 };
            bar(page, r, colour, y, (low, high), &x);
            let label = match (r.hazard_ratio, r.p) {
                (Some(ratio), Some(p)) => {
                    format!("{} ({}), p {}", short(ratio), interval(r), minus(&p_value(p)))
                }
                _ => "infinite".into(),
            };
            let _ = writeln!(
                page,
                "<text x=\"{:.0}\" y=\"{:.1}\" fill=\"{colour}\" font-size=\"13\">{label}</text>",
                wide - right + 20.0,
                y + 4.5
            );
        }
    }
    page.push_str(
        "</svg></div><figcaption>Right of 1 the event comes earlier where the factor is strong. Marks: exp β per standard \
         deviation; lines: 95 % intervals, with an arrow where they go on.</figcaption></figure>\n",
    );
}

fn short_tick(v: f64) -> String {
    if v >= 10.0 { format!("{v:.0}") } else { number((v * 100.0).round() / 100.0) }
}

/// A filled mark: a square, or a disc.
fn point(x: f64, y: f64, colour: &str, round: bool) -> String {
    match round {
        true => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"),
        false => {
            format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"{colour}\"/>",
                x - 4.0,
                y - 4.0
            )
        }
    }
}

fn bar(page: &mut String, r: &CoxRow, colour: &str, y: f64, range: (f64, f64), x: &dyn Fn(f64) -> f64) {
    let (Some(ratio), Some(low), Some(high)) = (r.hazard_ratio, r.hazard_ratio_low, r.hazard_ratio_high)
    else {
        return;
    };
    // An interval can reach to 0 by rounding.
    let (low, high) = (low.log2().max(-1e3), high.log2().min(1e3));
    let mut path = format!("M{:.1} {y:.1}H{:.1}", x(low), x(high));
    if low < range.0 {
        let _ = write!(path, "M{:.1} {:.1}l-6 4l6 4", x(low) + 6.0, y - 4.0);
    }
    if high > range.1 {
        let _ = write!(path, "M{:.1} {:.1}l6 4l-6 4", x(high) - 6.0, y - 4.0);
    }
    let _ = writeln!(page, "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\"/>");
    if (range.0..=range.1).contains(&ratio.log2()) {
        let _ = writeln!(page, "{}", point(x(ratio.log2()), y, colour, colour == SINGLE));
    }
}

/// Round numbers from 0 to `last`, five to eight of them.
fn ticks(last: f64) -> Vec<f64> {
    let rough = last / 7.0;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * unit).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    // Counted, not added up, so that rounding cannot lose one.
    (0..=7).map(|i| step * f64::from(i)).take_while(|t| *t <= last * (1.0 + 1e-9)).collect()
}

/// Curves with bands and marks, and below them how many are at risk.
fn curves(page: &mut String, f: &CurveFigure, time: &str) {
    let (wide, left, right, top, floor) = (520.0, 64.0, 508.0, 12.0, 262.0);
    let last = f.arms.iter().filter_map(|a| a.steps.last()).map(|s| s.time).fold(0.0, f64::max);
    if last <= 0.0 {
        return;
    }
    let x = |t: f64| left + (right - left) * t / last;
    let y = |s: f64| top + (floor - top) * (1.0 - s);
    let ground = floor + 58.0 + 18.0 * f.arms.len() as f64;
    let name = escape(&f.factor);
    let _ = writeln!(
        page,
        "<figure><h3>Factor <bdi>{name}</bdi></h3><svg viewBox=\"0 0 {wide} {ground:.0}\" role=\"img\" aria-label=\"Share without \
         the event over time, groups by factor {name}\" style=\"width:100%\" fill=\"none\" font-size=\"12\">"
    );
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let v = y(part);
        let _ = writeln!(
            page,
            "<path d=\"M{left} {v:.1}H{right}\" stroke=\"var(--grid)\"/><text x=\"{:.0}\" y=\"{:.1}\" \
             fill=\"var(--soft)\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            v + 4.0,
            number(part)
        );
    }
    let marks = ticks(last);
    for &t in &marks {
        let _ = writeln!(
            page,
            "<path d=\"M{0:.1} {floor}v4\" stroke=\"var(--soft)\"/><text x=\"{0:.1}\" y=\"{1:.0}\" fill=\"var(--soft)\" \
             text-anchor=\"middle\">{2}</text>",
            x(t),
            floor + 17.0,
            number(t)
        );
    }
    let _ = writeln!(
        page,
        "<text x=\"{:.0}\" y=\"{:.0}\" fill=\"var(--soft)\" text-anchor=\"middle\">{}</text><text x=\"0\" y=\"{:.0}\" \
         fill=\"var(--soft)\">at risk</text>",
        (left + right) / 2.0,
        floor + 34.0,
        escape(time),
        floor + 34.0
    );
    let colours = match f.arms.len() {
        2 => [JOINT, SINGLE, SINGLE],
        _ => [JOINT, "var(--soft)", SINGLE],
    };
    for (arm, colour) in f.arms.iter().zip(colours) {
        band(page, arm, colour, &x, &y);
    }
    for (at, (arm, colour)) in f.arms.iter().zip(colours).enumerate() {
        let mut path = format!("M{:.1} {:.1}", x(0.0), y(1.0));
        let mut ended = String::new();
        for s in &arm.steps {
            let _ = write!(path, "H{:.1}V{:.1}", x(s.time), y(s.share));
            if s.censored > 0 {
                let _ = write!(ended, "M{:.1} {:.1}v8", x(s.time), y(s.share) - 4.0);
            }
        }
        let line = floor + 52.0 + 18.0 * at as f64;
        let _ = writeln!(
            page,
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\"/><path d=\"{ended}\" stroke=\"{colour}\"/>\
             <text x=\"0\" y=\"{line:.0}\" fill=\"{colour}\">{0}</text><text x=\"{right}\" y=\"{1:.0}\" fill=\"{colour}\" \
             text-anchor=\"end\">{0}</text>",
            escape(&arm.name),
            top + 14.0 + 16.0 * at as f64
        );
        for &t in &marks {
            let left = arm.steps.iter().find(|s| s.time >= t).map_or(0, |s| s.at_risk);
            let _ = writeln!(
                page,
                "<text x=\"{:.1}\" y=\"{line:.0}\" fill=\"var(--ink)\" text-anchor=\"middle\">{left}</text>",
                x(t)
            );
        }
    }
    page.push_str("</svg><figcaption>");
    for arm in &f.arms {
        let half = arm.median.map_or("not reached".into(), number);
        let _ = write!(
            page,
            "<b>{}</b> (score {} to {}): {} observations, {} events, median {half}. ",
            escape(&arm.name),
            number(arm.scores[0]),
            number(arm.scores[1]),
            count(arm.observations),
            count(arm.events)
        );
    }
    let degrees = if f.degrees == 1 { "degree" } else { "degrees" };
    let _ = writeln!(
        page,
        "Log-rank χ² {} on {} {degrees} of freedom, p {}.</figcaption></figure>",
        number(f.chi2),
        f.degrees,
        minus(&p_value(f.p))
    );
}

/// The 95 % band as one outline: along the upper ends and back along the lower.
fn band(page: &mut String, arm: &Arm, colour: &str, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let Some(end) = arm.steps.last() else { return };
    let mut path = format!("M{:.1} {:.1}", x(0.0), y(1.0));
    for s in &arm.steps {
        let _ = write!(path, "H{:.1}V{:.1}", x(s.time), y(s.high));
    }
    let _ = write!(path, "V{:.1}", y(end.low));
    for (at, s) in arm.steps.iter().enumerate().rev() {
        let before = if at == 0 { 1.0 } else { arm.steps[at - 1].low };
        let _ = write!(path, "H{:.1}V{:.1}", x(s.time), y(before));
    }
    let _ = writeln!(page, "<path d=\"{path}Z\" fill=\"{colour}\" fill-opacity=\"0.13\"/>");
}

fn notes(page: &mut String, s: &SurvivalFigure) {
    let k = s.single.len();
    let _ = writeln!(
        page,
        "<section>\n<h2>How to read this</h2>\n\
         <p><b>Cox models.</b> The hazard of an observation is h₀(t) exp(xᵀβ) with h₀ left open; x are the factor scores, each \
         brought to mean 0 and standard deviation 1, so that β is per standard deviation. Ties are counted after {}. \
         Intervals and p are Wald's, from the information matrix at the maximum; LR p is the likelihood-ratio test of a \
         model against none. Concordance: of two observations that can be compared, how often the one with the higher \
         predicted risk has the earlier event; ½ is chance.</p>\n\
         <p><b>Bonferroni.</b> p times the {k} factors, at most 1; bold below 0.05. It knows nothing of other fits, seeds \
         or numbers of factors that were tried before.</p>\n\
         <p><b>PH p.</b> Whether the effect of a factor stays the same over time: scaled Schoenfeld residuals against the \
         rank of the event times (Grambsch and Therneau 1994). Where it is small, the hazard ratio is a mean over the \
         times of events.</p>\n\
         <p><b>Curves.</b> Share without the event after Kaplan and Meier; bands are 95 % intervals from Greenwood's \
         variance on the scale of log(−log); small strokes mark watches that ended without the event. Groups are cut by the \
         {} of a factor without a look at the outcome. Log-rank p are not corrected for the number of factors; cutting a score \
         into groups throws away what the Cox model of the factor alone uses.</p>\n</section>",
        if s.ties == "breslow" { "Breslow" } else { "Efron" },
        s.split
    );
}
