//! Clusters of rows and columns: the heat map of the blocks, what clusters hold, and known classes beside them.

use std::fmt::Write;

use unbraid::metrics::coclusters::Agreement;
use unbraid::report::{BlocksFigure, ClassTable, CoclusterEvaluation};

use super::{count, escape, number, tile};

/// Percent of a hue for a value on the way to the largest.
fn shade(share: f64) -> f64 {
    (75.0 * share.clamp(0.0, 1.0)).round()
}

pub(super) fn section(page: &mut String, b: &BlocksFigure) {
    page.push_str("<section>\n<h2>Blocks</h2>\n<div class=\"tiles\">");
    let used =
        |clusters: &[unbraid::report::ClusterRow]| count(clusters.iter().filter(|c| c.size > 0).count());
    tile(page, "clusters of observations", &used(&b.rows));
    tile(page, "clusters of features", &used(&b.cols));
    if let (Some((kept, all)), Some(share)) = (b.information, b.kept()) {
        tile(
            page,
            "information kept, of the table's",
            &format!("{} %", number((1000.0 * share).round() / 10.0)),
        );
        tile(page, "in nats", &format!("{} of {}", number(kept), number(all)));
    }
    if let Some(explained) = b.explained {
        tile(page, "sum of squares explained", &format!("{} %", number((1000.0 * explained).round() / 10.0)));
    }
    page.push_str("</div>\n<div class=\"two\">\n");
    heat(page, b);
    if let Some(classes) = &b.classes {
        by_class(page, classes);
    }
    page.push_str("</div>\n");
    members(page, b);
    page.push_str("</section>\n");
}

/// The blocks as cells, shaded by how far they are above or below what their margins say.
fn heat(page: &mut String, b: &BlocksFigure) {
    let relative = !b.lift.is_empty();
    let values = if relative { &b.lift } else { &b.mean };
    let numbers = || values.iter().flatten().flatten().copied();
    // Of shares the logarithm has two directions of one length; of signed means the value itself.
    let height = |v: f64| if relative { if v > 0.0 { v.ln() } else { f64::NEG_INFINITY } } else { v };
    let top = numbers().map(|v| height(v).abs()).filter(|v| v.is_finite()).fold(0.0, f64::max).max(1e-12);
    page.push_str(
        "<figure><h3>Heat map of the blocks</h3><div class=\"scroll\"><table><thead><tr><th></th><th class=\"n\">size</th>",
    );
    for (c, cluster) in b.cols.iter().enumerate() {
        let _ =
            write!(page, "<th class=\"n\">{c}<br><span class=\"soft\">{}</span></th>", count(cluster.size));
    }
    page.push_str("</tr></thead><tbody>\n");
    for (r, (row, cluster)) in values.iter().zip(&b.rows).enumerate() {
        let _ = write!(page, "<tr><th>{r}</th><td class=\"n\">{}</td>", count(cluster.size));
        for value in row {
            match value {
                Some(v) => {
                    let share = (height(*v) / top).clamp(-1.0, 1.0);
                    let hue = if share < 0.0 { "var(--below, #3b6fb6)" } else { "var(--above, #c2571a)" };
                    let _ = write!(
                        page,
                        "<td class=\"n\" style=\"background:color-mix(in srgb, {hue} {}%, transparent)\">{}</td>",
                        shade(share.abs()),
                        number((100.0 * v).round() / 100.0)
                    );
                }
                None => page.push_str("<td class=\"n\">–</td>"),
            }
        }
        page.push_str("</tr>\n");
    }
    let caption = match relative {
        true => {
            "Rows: clusters of observations; columns: clusters of features, with their sizes. Number: the block's share of the \
             table over the product of the shares of its row and its column: 1 where they have nothing to do with each other. \
             Orange is above, blue below."
        }
        false => {
            "Rows: clusters of observations; columns: clusters of features, with their sizes. Number: mean value of the block. \
             Orange is above 0, blue below."
        }
    };
    let _ = writeln!(page, "</tbody></table></div><figcaption>{caption}</figcaption></figure>");
}

fn by_class(page: &mut String, classes: &ClassTable) {
    let _ = write!(
        page,
        "<figure><h3>Clusters beside <bdi>{}</bdi></h3><div class=\"scroll\"><table><thead><tr><th>class</th>",
        escape(&classes.label)
    );
    let clusters = classes.counts.first().map_or(0, Vec::len);
    for c in 0..clusters {
        let _ = write!(page, "<th class=\"n\">{c}</th>");
    }
    page.push_str("</tr></thead><tbody>\n");
    for (name, row) in classes.classes.iter().zip(&classes.counts) {
        let size: usize = row.iter().sum();
        let _ = write!(page, "<tr><td class=\"t\"><bdi>{}</bdi></td>", escape(name));
        for n in row {
            let share = shade(*n as f64 / size.max(1) as f64);
            let _ = write!(
                page,
                "<td class=\"n\" style=\"background:color-mix(in srgb, var(--fill) {share}%, transparent)\">{}</td>",
                count(*n)
            );
        }
        page.push_str("</tr>\n");
    }
    let _ = writeln!(
        page,
        "</tbody></table></div><figcaption>Observations by class and cluster; shaded by the share of the class. {} The \
         classes were not used in the fit.</figcaption></figure>",
        said(&classes.agreement)
    );
}

fn said(a: &Agreement) -> String {
    let n = |v: f64| number((1000.0 * v).round() / 1000.0);
    format!(
        "Accuracy (clusters and classes paired one to one) {}, purity {}, NMI {}, ARI {}; {} classes, {} clusters.",
        n(a.accuracy),
        n(a.purity),
        n(a.nmi),
        n(a.ari),
        count(a.classes),
        count(a.clusters)
    )
}

fn members(page: &mut String, b: &BlocksFigure) {
    page.push_str(
        "<div class=\"scroll\"><table><thead><tr><th class=\"n\">cluster of features</th><th class=\"n\">size</th>\
         <th>features with the largest sums</th></tr></thead><tbody>\n",
    );
    for (c, cluster) in b.cols.iter().enumerate() {
        let names: Vec<String> = cluster.top.iter().map(|n| format!("<bdi>{}</bdi>", escape(n))).collect();
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{c}</td><td class=\"n\">{}</td><td class=\"t\">{}</td></tr>",
            count(cluster.size),
            names.join(", ")
        );
    }
    page.push_str("</tbody></table></div>\n");
}

/// Stored clusters beside known classes.
pub(super) fn evaluation(page: &mut String, e: &CoclusterEvaluation) {
    let _ = writeln!(
        page,
        "<section>\n<h2>Clusters of <bdi>{}</bdi></h2>\n<div class=\"tiles\">",
        escape(&e.key)
    );
    tile(page, "clusters of observations", &count(e.clusters[0]));
    tile(page, "clusters of features", &count(e.clusters[1]));
    if let Some(kept) = e.kept {
        tile(page, "information kept", &format!("{} %", number((1000.0 * kept).round() / 10.0)));
    }
    page.push_str(
        "</div>\n<div class=\"scroll\"><table><thead><tr><th></th><th class=\"n\">accuracy</th><th class=\"n\">purity</th>\
         <th class=\"n\">NMI</th><th class=\"n\">ARI</th><th class=\"n\">classes</th><th class=\"n\">clusters</th></tr>\
         </thead><tbody>\n",
    );
    for (name, found) in [("observations", &e.rows), ("features", &e.cols), ("cells", &e.blocks)] {
        let Some(a) = found else { continue };
        let _ = write!(page, "<tr><td>{name}</td>");
        for v in [a.accuracy, a.purity, a.nmi, a.ari] {
            let _ = write!(page, "<td class=\"n\">{}</td>", number((1000.0 * v).round() / 1000.0));
        }
        let _ = writeln!(
            page,
            "<td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            count(a.classes),
            count(a.clusters)
        );
    }
    page.push_str(
        "</tbody></table></div>\n<p class=\"soft\">Accuracy pairs clusters with classes one to one. Purity takes the largest \
         class of every cluster, and rises with their number; much of the literature prints it as accuracy.</p>\n</section>\n",
    );
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use unbraid::report::ClusterRow;

    fn agreement() -> Agreement {
        Agreement { accuracy: 0.75, purity: 0.8, nmi: 0.5, ari: 0.4, classes: 2, clusters: 2 }
    }

    /// Two clusters of either side, with a name everywhere a name can be.
    pub(in super::super) fn figure(name: &str) -> BlocksFigure {
        let cluster = |size| ClusterRow { size, top: vec![name.to_owned(), "b".into()] };
        BlocksFigure {
            rows: vec![cluster(3), cluster(1)],
            cols: vec![cluster(2), cluster(0)],
            mean: vec![vec![Some(1.5), None], vec![Some(0.0), Some(2.0)]],
            lift: vec![vec![Some(1.5), None], vec![Some(0.0), Some(2.0)]],
            information: Some((0.1, 0.4)),
            explained: Some(0.25),
            classes: Some(ClassTable {
                label: name.to_owned(),
                classes: vec![name.to_owned(), "c".into()],
                counts: vec![vec![2, 0], vec![1, 1]],
                agreement: agreement(),
            }),
        }
    }

    /// Stored clusters under that name.
    pub(in super::super) fn judged(name: &str) -> CoclusterEvaluation {
        CoclusterEvaluation {
            key: name.to_owned(),
            rows: Some(agreement()),
            clusters: [2, 2],
            kept: Some(0.25),
            ..CoclusterEvaluation::default()
        }
    }

    #[test]
    fn blocks_are_shaded_by_their_distance_from_independence() {
        let mut page = String::new();
        section(&mut page, &figure("gene"));
        assert!(page.contains("information kept") && page.contains("25 %"));
        // The largest block above has the full shade, an empty one below as well, and what is not known has none.
        assert!(page.contains("#c2571a) 75%") && page.contains("#3b6fb6) 75%") && page.contains("–"));
        let signed = BlocksFigure { lift: vec![], ..figure("gene") };
        let mut page = String::new();
        section(&mut page, &signed);
        assert!(page.contains("mean value of the block"));
        let mut page = String::new();
        evaluation(&mut page, &judged("svcc"));
        assert!(page.contains("observations") && page.contains("0.75"));
    }
}
