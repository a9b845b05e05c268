//! The index page: every figure with what was printed beside ours, tables, and what holds.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::About;
use super::section::{Cell, Check, Section, Table, verdict};
use crate::page::{STYLE, escape, number};

/// Rows of a table that the page shows; the file has all of them.
const ROWS: usize = 400;

/// Beside the style of all pages.
const MORE_STYLE: &str = "figure svg { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
.yes { color: #00765a; font-weight: 600; } .no { color: #b83a26; font-weight: 600; }
nav a { margin-right: 1.2em; } a { color: var(--accent); }
@media (prefers-color-scheme: dark) { .yes { color: #5ad1a8; } .no { color: #f08b76; } }
";

/// The whole page.
pub fn render(
    about: &About,
    sizes: &Map<String, Value>,
    quick: bool,
    seed: u64,
    sections: &[Section],
) -> String {
    let mut page = String::with_capacity(400_000);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    let About { title, authors, work, place, .. } = about;
    let _ = writeln!(
        page,
        "<title>{title}, reproduced</title>\n<style>\n{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<header>\n\
         <h1>{title}, reproduced</h1>"
    );
    let _ = writeln!(
        page,
        "<p class=\"soft\">Unbraid {} · seed {seed} · {}</p>\n<p>Experiments of {authors}, <i>{work}</i> \
         ({place}), run again by this program. A verdict below is computed from the numbers on this page, not written by hand.</p>",
        env!("CARGO_PKG_VERSION"),
        if quick { "quick run, fewer data sets than published" } else { "full run" },
    );
    let links =
        sections.iter().enumerate().map(|(at, s)| format!("<a href=\"#part-{at}\">{}</a>", escape(&s.title)));
    let _ = writeln!(page, "<nav>{}</nav>\n</header>\n<main>", links.collect::<String>());
    summary(&mut page, sections);
    for (at, section) in sections.iter().enumerate() {
        one(&mut page, at, section);
    }
    listing(&mut page, sizes);
    page += "</main>\n<footer><p>Written by Unbraid. Every table is a csv file and every figure an svg file beside this \
             page.</p></footer>\n</body>\n</html>\n";
    page
}

fn summary(page: &mut String, sections: &[Section]) {
    let all = || sections.iter().flat_map(|s| &s.checks);
    if all().next().is_none() {
        return;
    }
    let count = |which: Option<bool>| all().filter(|c| c.holds == which).count();
    let _ = writeln!(
        page,
        "<section>\n<h2>What holds</h2>\n<div class=\"tiles\"><div><div class=\"k\">hold</div><div class=\"v\">{}</div></div>\
         <div><div class=\"k\">do not hold</div><div class=\"v\">{}</div></div><div><div class=\"k\">not decided</div>\
         <div class=\"v\">{}</div></div></div>",
        count(Some(true)),
        count(Some(false)),
        count(None)
    );
    checks(page, all());
    page.push_str("</section>\n");
}

fn checks<'a>(page: &mut String, checks: impl Iterator<Item = &'a Check>) {
    page.push_str(
        "<div class=\"scroll\"><table>\n<thead><tr><th>statement</th><th>source</th><th>expected or printed</th>\
         <th class=\"n\">ours</th><th>verdict</th></tr></thead>\n<tbody>\n",
    );
    for c in checks {
        let class = match c.holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "soft",
        };
        let _ = writeln!(
            page,
            "<tr><td class=\"t\">{}</td><td class=\"soft\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"{class}\">{}</td></tr>",
            escape(&c.claim),
            escape(&c.source),
            escape(&c.expected),
            escape(&c.found).replace('-', "−"),
            verdict(c.holds)
        );
    }
    page.push_str("</tbody></table></div>\n");
}

fn one(page: &mut String, at: usize, section: &Section) {
    let _ = writeln!(page, "<section id=\"part-{at}\">\n<h2>{}</h2>", escape(&section.title));
    for text in &section.about {
        let _ = writeln!(page, "<p>{}</p>", escape(text));
    }
    for figure in &section.figures {
        // The drawing was made by this program from escaped texts.
        let _ = writeln!(
            page,
            "<figure><h3>{}</h3>\n{}\n<figcaption>{} <a href=\"{3}\">{3}</a></figcaption></figure>",
            escape(&figure.title),
            figure.svg,
            escape(&figure.caption),
            escape(&figure.file)
        );
    }
    for note in &section.notes {
        let _ = writeln!(page, "<div class=\"alert note\"><b>Note.</b>{}</div>", escape(note));
    }
    for t in &section.tables {
        table(page, t);
    }
    page.push_str("</section>\n");
}

fn table(page: &mut String, t: &Table) {
    if !t.shown {
        let _ = writeln!(
            page,
            "<p>{} {} rows in <a href=\"{2}\">{2}</a>.</p>",
            escape(&t.caption),
            t.rows.len(),
            escape(&t.file)
        );
        return;
    }
    let numeric: Vec<bool> = (0..t.columns.len())
        .map(|c| t.rows.iter().all(|r| !matches!(r.get(c), Some(Cell::Text(_)))))
        .collect();
    let class = |c: usize| if numeric[c] { " class=\"n\"" } else { "" };
    let _ = writeln!(
        page,
        "<details open><summary>{}</summary><p class=\"soft\">All of it in <a href=\"{1}\">{1}</a>.</p>\
         <div class=\"scroll tall\"><table>\n<thead><tr>",
        escape(&t.caption),
        escape(&t.file)
    );
    for (c, name) in t.columns.iter().enumerate() {
        let _ = write!(page, "<th{} style=\"padding:5px 10px\">{}</th>", class(c), escape(name));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in t.rows.iter().take(ROWS) {
        page.push_str("<tr>");
        for (c, cell) in row.iter().enumerate() {
            let text = match cell {
                Cell::Count(v) => v.to_string(),
                Cell::Number(v) => number(*v),
                Cell::Text(v) => format!("<bdi>{}</bdi>", escape(v)),
                Cell::None => "–".into(),
            };
            let _ = write!(page, "<td{}>{text}</td>", class(c));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div></details>\n");
}

fn listing(page: &mut String, sizes: &Map<String, Value>) {
    page.push_str("<section>\n<h2>Sizes of the experiments</h2>\n<div class=\"scroll\"><table><tbody>\n");
    for (name, value) in sizes {
        let _ = writeln!(
            page,
            "<tr><td><code>{}</code></td><td class=\"n\">{}</td></tr>",
            escape(name),
            escape(&value.to_string())
        );
    }
    page.push_str("</tbody></table></div>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::super::section::Figure;
    use super::*;
    use crate::cells;

    #[test]
    fn names_are_escaped_and_nothing_is_fetched() {
        let mut table = Table::new("t.csv", "<caption>", &["<col>", "n"]);
        table.rows.push(cells!["<script>alert(1)</script>", 0.5]);
        let figure = Figure {
            file: "f.svg".into(),
            title: "T".into(),
            caption: "<c>".into(),
            svg: "<svg></svg>".into(),
        };
        let check = Check::number("<claim>", "s", "below 1", Some(-2.0), |v| v < 1.0);
        let section = Section {
            title: "<title>".into(),
            figures: vec![figure],
            tables: vec![table],
            checks: vec![check],
            notes: vec!["<note>".into()],
            ..Section::default()
        };
        let about = About { name: "p", title: "P", authors: "A and B", work: "On things", place: "arXiv 1" };
        let page = render(&about, &Map::new(), true, 7, &[section]);
        for raw in
            ["<script", "<caption>", "<col>", "<claim>", "<title><", "<note>", "<c>", "http://", "src="]
        {
            assert!(!page.contains(raw), "{raw}");
        }
        assert!(page.contains("<svg></svg>") && page.contains("class=\"yes\"") && page.contains("quick run"));
    }
}
