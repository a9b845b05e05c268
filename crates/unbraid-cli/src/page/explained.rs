//! The part of a page that shows what known columns explain of factors.

use std::fmt::Write;

use unbraid::report::{ExplainedFigure, NamedShare, SHARED};

use super::{count, escape, number, tile};

/// A table of factors × columns, shaded as a heat map.
pub(super) fn section(page: &mut String, f: &ExplainedFigure) {
    let by_study = f.study.is_some();
    page.push_str("<section>\n<h2>What explains the factors</h2>\n<div class=\"tiles\">\n");
    tile(page, "factors", &count(f.factors.len()));
    tile(page, "observations", &count(f.observations));
    for (at, column) in f.columns.iter().enumerate() {
        for m in &f.means {
            let kind = if m.name == SHARED { "shared factors" } else { "factors of one study" };
            let what = format!("{}: mean share, {kind}", column.name);
            tile(page, &what, &m.all[at].map_or("–".into(), rounded));
        }
    }
    page.push_str("</div>\n<div class=\"scroll\"><table class=\"shades\">\n<thead><tr><th class=\"n\">factor</th><th>of</th>");
    for c in &f.columns {
        let name = escape(&c.name);
        let _ = write!(page, "<th class=\"n\"><bdi>{name}</bdi></th>");
        if by_study {
            page.push_str("<th class=\"n\">… within studies</th>");
        }
        if c.groups.is_some() {
            page.push_str("<th>most in</th>");
        }
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for factor in &f.factors {
        let _ = write!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"t\"><bdi>{}</bdi></td>",
            factor.factor + 1,
            escape(&factor.study)
        );
        for (c, share) in f.columns.iter().zip(&factor.shares) {
            let NamedShare { all, within, group } = share;
            shaded(page, *all);
            if by_study {
                shaded(page, *within);
            }
            if c.groups.is_some() {
                let _ = write!(page, "<td><bdi>{}</bdi></td>", group.as_deref().map_or("–".into(), escape));
            }
        }
        page.push_str("</tr>\n");
    }
    let columns = f.columns.iter().map(|c| {
        let chance = c.chance.map_or("–".into(), number);
        match c.groups {
            Some(groups) => format!("<bdi>{}</bdi> ({groups} groups): {chance}", escape(&c.name)),
            None => format!("<bdi>{}</bdi> (numbers): {chance}", escape(&c.name)),
        }
    });
    let _ = write!(
        page,
        "</tbody></table></div>\n<p class=\"soft\" style=\"margin-top:10px\">Share of the variance of a factor's scores that lies between the groups of a \
         column (η²; of numbers, the squared correlation with them): 0 where group means are equal, 1 where every group is \
         a point. Most in: the group that departs most from the mean. By chance alone: {}.",
        columns.collect::<Vec<_>>().join(", ")
    );
    if let Some(study) = &f.study {
        let _ = write!(
            page,
            " A factor of one study is 0 in the others. Within studies: the same with the studies of <bdi>{}</bdi> apart, over \
             those that may have the factor and in which the column varies.",
            escape(study)
        );
    }
    let but = if by_study { ", but for the one of the studies" } else { "" };
    let _ = writeln!(page, " The columns were not used to fit{but}.</p>\n</section>");
}

fn rounded(v: f64) -> String {
    format!("{v:.2}")
}

fn shaded(page: &mut String, v: Option<f64>) {
    let _ = match v {
        Some(v) => write!(
            page,
            "<td class=\"n\" style=\"background:color-mix(in srgb, var(--fill) {:.0}%, transparent)\">{}</td>",
            70.0 * v.clamp(0.0, 1.0),
            rounded(v)
        ),
        None => write!(page, "<td class=\"n soft\">–</td>"),
    };
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use unbraid::report::{ExplainedColumn, ExplainedFactor, ExplainedMean};

    /// A shared factor and one of a study, beside a column of groups and one of numbers, all of them called `name`.
    pub fn figure(name: &str) -> ExplainedFigure {
        let named = |all, within| NamedShare { all, within, group: Some(name.into()) };
        let number = NamedShare { group: None, ..named(None, None) };
        let column = |groups| ExplainedColumn { name: name.into(), groups, chance: Some(0.004) };
        let factor = |factor, study: &str| ExplainedFactor {
            factor,
            study: study.into(),
            shares: vec![named(Some(0.873), Some(0.5)), number.clone()],
        };
        let mean = ExplainedMean {
            name: name.into(),
            factors: 1,
            all: vec![Some(0.873), None],
            within: vec![Some(0.5), None],
        };
        ExplainedFigure {
            key: name.into(),
            observations: 900,
            study: Some(name.into()),
            columns: vec![column(Some(3)), column(None)],
            factors: vec![factor(0, "shared"), factor(1, name)],
            means: vec![mean],
        }
    }

    #[test]
    fn shares_are_shaded_and_what_is_undefined_is_a_dash() {
        let mut page = String::new();
        section(&mut page, &figure("cell type"));
        for part in [
            "61%, transparent)\">0.87<",
            "35%, transparent)\">0.50<",
            ">–<",
            "(3 groups): 0.004",
            "(numbers)",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let plain = ExplainedFigure { study: None, ..figure("cell type") };
        let mut page = String::new();
        section(&mut page, &plain);
        assert!(!page.contains("within studies"), "{page}");
    }
}
