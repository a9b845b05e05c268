//! Slices of a tissue: maps of the metagenes, what each batch adds, how metagenes meet, cells before and after.

use std::fmt::Write;

use unbraid::report::{Affinity, Metagene, SlicesFigure};

use super::{escape, evaluation, number, plural, tile};

/// Most slices beside each other in one map.
const BESIDE: usize = 8;
/// Width of one slice on the page.
const WIDE: usize = 140;

/// All that is shown of slices.
pub(super) fn section(page: &mut String, s: &SlicesFigure) {
    page.push_str("<section>\n<h2>Metagenes in the tissue</h2>\n<div class=\"tiles\">");
    for batch in &s.batches {
        tile(page, &batch.name, &plural(batch.cells, "cell"));
    }
    page.push_str("</div>\n");
    maps(page, s);
    page.push_str("</section>\n");
    if s.metagenes.iter().any(|m| !m.beta.is_empty()) {
        page.push_str("<section>\n<h2>What each batch adds</h2>\n");
        added(page, s);
        page.push_str("</section>\n");
    }
    if !s.pictures.is_empty() {
        page.push_str("<section>\n<h2>Cells by their mixtures</h2>\n");
        pictures(page, s);
        page.push_str("</section>\n");
    }
    if !s.affinities.is_empty() {
        page.push_str("<section>\n<h2>Which metagenes meet in space</h2>\n<div class=\"two\">\n");
        s.affinities.iter().enumerate().for_each(|(at, a)| affinity(page, at, a, &s.metagenes));
        page.push_str(
            "</div>\n<p class=\"soft\">Λ of metagenes k and l weighs how often neighbouring cells hold k and l: blue where they keep apart \
             (Λ above 0), orange where they keep together (below 0), blank at 0. On the diagonal: whether a metagene keeps to itself. Affinities \
             are fitted beside those of all other pairs, so that a pair may keep together although both are rare.</p>\n</section>\n",
        );
    }
    if !s.course.is_empty() {
        page.push_str("<section>\n<h2>Cells and batches told apart</h2>\n");
        evaluation::charts(page, "slices", &s.course);
        page.push_str("</section>\n");
    }
}

/// A metagene under its number and first genes.
fn name(at: usize, m: &Metagene) -> String {
    let genes: Vec<String> = m.top.iter().map(|g| format!("<bdi>{}</bdi>", escape(g))).collect();
    format!("{} <span class=\"soft\">{}</span>", at + 1, genes.join(", "))
}

fn maps(page: &mut String, s: &SlicesFigure) {
    let wide = WIDE * s.batches.len().clamp(1, BESIDE);
    let _ = writeln!(
        page,
        "<div class=\"small\" style=\"grid-template-columns:repeat(auto-fill,minmax(min(100%,{wide}px),1fr))\">"
    );
    for (at, m) in s.metagenes.iter().enumerate() {
        let _ = writeln!(
            page,
            "<figure class=\"tissue\"><h4>{}</h4><canvas id=\"tissue-{at}\" role=\"img\" aria-label=\"Metagene {} in the slices\"></canvas>\
             <div class=\"scale\"><span>0</span><canvas></canvas><span>{} %</span></div></figure>",
            name(at, m),
            at + 1,
            number((1000.0 * m.limit).round() / 10.0),
        );
    }
    let left_out = match s.map.left_out {
        0 => String::new(),
        n => format!(" {} are left out, drawn at random.", plural(n, "cell")),
    };
    let _ = writeln!(
        page,
        "</div>\n<p class=\"soft\" style=\"margin-top:12px\">One point is one cell where it lies in its slice; beside each other the slices, in the \
         order above. Colour: the part of the cell's mixture that the metagene makes, up to what 99 % of the cells do not exceed. Beside a \
         number: the genes of largest weight.{left_out}</p>"
    );
}

/// β beside what the cells hold themselves.
fn added(page: &mut String, s: &SlicesFigure) {
    page.push_str("<div class=\"scroll\"><table>\n<thead><tr><th>metagene</th>");
    for batch in &s.batches {
        let _ = write!(page, "<th><bdi>{}</bdi></th>", escape(&batch.name));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let all = s.metagenes.iter().flat_map(|m| m.beta.iter().chain(&m.own).flatten());
    let most = all.fold(f64::MIN_POSITIVE, |a, b| a.max(*b));
    let bar = |v: f64, colour: &str| {
        format!(
            "<span class=\"bar\" style=\"width:{:.2}em;background:{colour};margin:0\"></span>",
            6.0 * (v / most).clamp(0.0, 1.0)
        )
    };
    for (at, m) in s.metagenes.iter().enumerate() {
        let _ = write!(page, "<tr><td class=\"t\">{}</td>", name(at, m));
        for (beta, own) in m.beta.iter().zip(&m.own) {
            let (beta, own) = (beta.unwrap_or(0.0), own.unwrap_or(0.0));
            let _ = write!(
                page,
                "<td style=\"white-space:nowrap\">{}{} {} <span class=\"soft\">+ {}</span></td>",
                bar(beta, "var(--warn-line)"),
                bar(own, "var(--fill)"),
                number((100.0 * beta).round() / 100.0),
                number((100.0 * own).round() / 100.0),
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("<tr><td>part of all expression</td>");
    for batch in &s.batches {
        let share =
            batch.share.map_or("–".into(), |v| format!("{} %", number((1000.0 * v).round() / 10.0)));
        let _ = write!(page, "<td>{share}</td>");
    }
    page.push_str(
        "</tr>\n</tbody></table></div>\n<p class=\"soft\" style=\"margin-top:10px\">First bar and number: β, what the batch adds to every one of its cells; \
         second: the mean of what the cells hold themselves, in units of the data. Last row: the part that the batch makes of a mean cell.</p>\n",
    );
}

fn pictures(page: &mut String, s: &SlicesFigure) {
    page.push_str("<div class=\"two\">\n");
    let mut colourings =
        vec![("batch", "batch".to_owned(), s.batches.iter().map(|b| &b.name).collect::<Vec<_>>())];
    if let Some(l) = &s.labels {
        colourings.push(("label", l.label.clone(), l.titles.iter().collect()));
    }
    for (kind, by, titles) in &colourings {
        for (at, picture) in s.pictures.iter().enumerate() {
            let key = titles.iter().map(|t| format!("<span><i></i><bdi>{}</bdi></span>", escape(t)));
            let _ = writeln!(
                page,
                "<figure><h3>{0}, by <bdi>{1}</bdi></h3>\n<div class=\"heat\" id=\"cells-{kind}-{at}\"><canvas role=\"img\" aria-label=\"{0}, \
                 coloured by {1}\"></canvas></div>\n<div class=\"key\">{2}</div></figure>",
                escape(&picture.title),
                escape(by),
                key.collect::<String>(),
            );
        }
    }
    let (beside, unused) = match (s.pictures.len(), s.labels.is_some()) {
        (2, true) => (
            "Both pictures are of the same cells; what differs is β. Where batches are told apart in the first and mixed in the second, β is what told them apart. ",
            " The labels were not used in the fit.",
        ),
        (2, false) => (
            "Both pictures are of the same cells; what differs is β. Where batches are told apart in the first and mixed in the second, β is what told them apart. ",
            "",
        ),
        (_, true) => ("", " The labels were not used in the fit."),
        _ => ("", ""),
    };
    let shown = match s.pictured.len() + s.map.left_out < s.batches.iter().map(|b| b.cells).sum::<usize>()
        || s.map.left_out > 0
    {
        true => format!(" {} are drawn, at random.", plural(s.pictured.len(), "cell")),
        false => String::new(),
    };
    let _ = writeln!(
        page,
        "</div>\n<p class=\"soft\">UMAP of the mixtures (15 neighbours), rows brought to sum 1. {beside}Near points have like mixtures; distances between far groups mean \
         nothing.{shown}{unused}</p>"
    );
}

fn affinity(page: &mut String, at: usize, a: &Affinity, metagenes: &[Metagene]) {
    let pair = |&(k, l, v): &(usize, usize, f64)| {
        let gene = |f: usize| {
            let top = metagenes.get(f - 1).and_then(|m| m.top.first());
            top.map_or(String::new(), |g| format!(" <span class=\"soft\"><bdi>{}</bdi></span>", escape(g)))
        };
        let both = if k == l {
            format!("{k}{} with itself", gene(k))
        } else {
            format!("{k}{} and {l}{}", gene(k), gene(l))
        };
        format!(
            "<tr><td class=\"t\">{both}</td><td class=\"n\">{}</td></tr>",
            number((100.0 * v).round() / 100.0)
        )
    };
    let rows = |heading: &str, pairs: &[(usize, usize, f64)]| match pairs.is_empty() {
        true => String::new(),
        false => format!(
            "<tr><th>{heading}</th><th class=\"n\">Λ</th></tr>{}",
            pairs.iter().map(pair).collect::<String>()
        ),
    };
    let _ = writeln!(
        page,
        "<figure><h3>Λ of <bdi>{of}</bdi></h3>\n<div class=\"heat\" id=\"affinity-{at}\"><canvas role=\"img\" aria-label=\"Affinities of \
         {of}\"></canvas><div class=\"tip\"></div></div>\n<div class=\"scale\"><span>−{limit}</span><canvas></canvas><span>+{limit}</span></div></figure>\n\
         <figure><h3>Most of all</h3><div class=\"scroll\"><table><tbody>{}{}</tbody></table></div></figure>",
        rows("keep together", &a.together),
        rows("keep apart", &a.apart),
        of = escape(&a.of),
        limit = number(a.limit),
    );
}
