//! What lies together: affinities of a section with cell types beside how often the types meet, and metagenes of batches without labels.

use ndarray::{Array2, Axis};
use unbraid::graph::pca::{Scale as Columns, principal_components};
use unbraid::methods::spatial::neighbours::Neighbours;
use unbraid::methods::spatial::patterns::{agreement, meetings, morans_i, preferences};
use unbraid::metrics::integration::{explained, silhouette_batch};
use unbraid::stats::ranks::correlation;

use super::Design;
use super::drawings::{self, Square};
use super::fits::{BEFORE, Way, points, rule, tissue};
use super::maps::maps;
use super::sets::{self, Scale, Set, Sources};
use crate::cells;
use crate::fault::Fault;
use crate::reproduce::section::{Check, Figure, Section, Table};
use crate::reproduce::{Run, mean, plain};

/// Most metagenes of a section.
const MOST: usize = 20;
/// Metagenes of batches without labels.
const FEW: usize = 8;
/// Exchanges of names for a p-value.
const EXCHANGES: usize = 1999;
/// Maps in a row.
const ACROSS: usize = 4;
/// Two families of types whose places follow each other, by how their names begin.
const FAMILIES: [&str; 2] = ["inhibitory", "pyramidal"];
/// What is compared on batches without labels.
const WAYS: [Way; 6] = [Way::Nmf, Way::Pca, Way::Popari, Way::Own, Way::Thesis, Way::Ray];

/// Pieces of work.
pub fn pieces(sources: &Sources) -> u64 {
    (Scale::ALL.len() * (2 * sources.sections.len() + WAYS.len() * sources.unlabelled.len())) as u64
}

/// What the part shows.
struct Shown {
    met: Table,
    alone: Table,
    figures: Vec<Figure>,
    checks: Vec<Check>,
}

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, run: &Run<'_>) -> Result<Section, Fault> {
    let met = Table::new(
        "meetings.csv",
        "Rank correlation, over pairs of cell types, of what Λ says of their mean mixtures (−z̄ᵗΛz̄) with how often they are neighbours (logarithm of \
         found over expected); and of inhibitory with pyramidal types alone, less what each prefers of all (p by exchanging names).",
        &["section", "values", "method", "K", "all pairs", "inhibitory × pyramidal", "p"],
    );
    let alone = Table::new(
        "unlabelled.csv",
        "Batches without labels: how well they mix, and how alike neighbours are (mean Moran's I).",
        &["set", "values", "method", "silhouette batch", "PCR comparison", "Moran's I"],
    );
    let mut shown = Shown { met, alone, figures: Vec::new(), checks: Vec::new() };
    for scale in Scale::ALL {
        for source in &sources.sections {
            let set = sets::section(source, scale, design.genes)?;
            let most = MOST.min(set.data.shape().1 / 2);
            let k = if design.k > 0 { design.k } else { set.kinds.len().min(most).max(2) };
            for way in [Way::Popari, Way::Own] {
                shown.section(&set, scale, way, k, run)?;
            }
        }
    }
    for scale in Scale::ALL {
        for source in &sources.unlabelled {
            let set = sets::unlabelled(source, scale, design.genes)?;
            shown.unlabelled(&set, scale, if design.k > 0 { design.k } else { FEW }, run)?;
        }
    }
    let Shown { met, alone, figures, checks } = shown;
    Ok(Section {
        title: "What lies together".into(),
        about: vec![
            "Not in the thesis. A section with cell types, which are not used in the fit: do affinities of metagenes say which types are neighbours? And batches without \
             labels, of which one can say how well they mix and whether neighbours are alike. NMF and principal components do not see neighbours; POPARI and BATCHBLEND \
             make them alike, so that Moran's I says what they do and not how well."
                .into(),
        ],
        figures,
        tables: [met, alone].into_iter().filter(|t| !t.rows.is_empty()).collect(),
        checks,
        notes: Vec::new(),
    })
}

impl Shown {
    /// Affinities of a section beside the meetings of its types.
    fn section(&mut self, set: &Set, scale: Scale, way: Way, k: usize, run: &Run<'_>) -> Result<(), Fault> {
        let place = format!("{}, {}", set.name, scale.name());
        let fit = tissue(way, set, k, run.seed.0)?;
        run.progress.done(1, &format!("{place}, {}", way.name()))?;
        let z = fit.mixtures();
        let Some(affinity) = fit.affinity.first() else { return Ok(()) };
        let found = meetings(&set.labels, set.kinds.len(), &neighbours(set)?);
        let said = said(set, &z, affinity);
        let all = correlation(&pairs(&said), &pairs(&found));
        let families = FAMILIES.map(|family| of_family(set, family));
        let several = families.iter().all(|f| f.len() > 2);
        let [a, b] = [&said, &found].map(|m| preferences(m, &families[0], &families[1]));
        let beside = several.then(|| agreement(&a, &b, EXCHANGES, run.seed));
        let (rho, p) = (beside.map(|b| b.0), beside.map(|b| b.1));
        self.met.rows.push(cells![set.name.as_str(), scale.name(), way.name(), k, all, rho, p]);
        if several {
            self.checks.push(Check::number(
                format!("{place}, {}: inhibitory types prefer the layers they lie in, p", way.name()),
                "test of ours",
                "below 0.05",
                p,
                |p| p < 0.05,
            ));
        }
        if way == Way::Own {
            if several {
                self.figures.push(preferred(set, scale, &families, &a, &b));
            }
            let svg = drawings::tissue(&maps(&z), &set.places, &vec![0; set.labels.len()], 1, 2 * ACROSS);
            self.figures.push(in_space(set, scale, svg));
            self.figures.push(Figure {
                file: format!("affinities_{}_{}.svg", plain(&set.name), scale.file()),
                title: format!("Affinities of the metagenes: {place}"),
                caption: "Blue: two metagenes keep apart (Λ above 0); orange: they keep together.".into(),
                svg: drawings::affinities(&[Square::numbered("Λ".into(), affinity)]),
            });
        }
        Ok(())
    }

    /// How batches without labels mix.
    fn unlabelled(&mut self, set: &Set, scale: Scale, k: usize, run: &Run<'_>) -> Result<(), Fault> {
        let place = format!("{}, {}", set.name, scale.name());
        let near = neighbours(set)?;
        let batch: Vec<usize> = set.batch.codes.iter().map(|&t| t as usize).collect();
        let table = principal_components(set.values(), Columns::Raw, BEFORE)?.scores;
        let before = explained(table.view(), &batch)?;
        let mut mixed = Vec::new();
        for way in WAYS {
            let points = points(way, set, k, run.seed.0)?;
            run.progress.done(1, &format!("{place}, {}", way.name()))?;
            let silhouette = silhouette_batch(points.view(), &vec![0; batch.len()], &batch)?;
            let after = explained(points.view(), &batch)?;
            let order: Vec<f64> = points.columns().into_iter().filter_map(|z| morans_i(z, &near)).collect();
            let order = (!order.is_empty()).then(|| mean(&order));
            let pcr = (before > 0.0).then(|| ((before - after) / before).max(0.0));
            self.alone.rows.push(cells![set.name.as_str(), scale.name(), way.name(), silhouette, pcr, order]);
            mixed.push((way, silhouette));
            if way == Way::Ray {
                let svg = drawings::tissue(&maps(&points), &set.places, &batch, set.batch.names.len(), 2);
                self.figures.push(in_space(set, scale, svg));
            }
        }
        let of = |way: Way| mixed.iter().find(|m| m.0 == way).and_then(|m| m.1);
        self.checks.push(Check::number(
            format!("{place}: silhouette of batches, the default less NMF"),
            "test of ours",
            "above 0",
            of(Way::Ray).zip(of(Way::Nmf)).map(|(ray, nmf)| ray - nmf),
            |v| v > 0.0,
        ));
        Ok(())
    }
}

/// Maps of metagenes.
fn in_space(set: &Set, scale: Scale, svg: String) -> Figure {
    Figure {
        file: format!("metagenes_{}_{}.svg", plain(&set.name), scale.file()),
        title: format!("Metagenes in space: {}, {}", set.name, scale.name()),
        caption: "Batches side by side, each on its own coordinates; colour: the part of a mixture, in full from what one cell in a hundred exceeds.".into(),
        svg,
    }
}

fn neighbours(set: &Set) -> Result<Neighbours, Fault> {
    Ok(set.input().neighbours(rule(set), 1)?)
}

/// −z̄_aᵗ Λ z̄_b of all pairs of types, from their mean mixtures.
fn said(set: &Set, z: &Array2<f64>, affinity: &Array2<f64>) -> Array2<f64> {
    let mut mean = Array2::zeros((set.kinds.len(), z.ncols()));
    let mut count = vec![0.0; set.kinds.len()];
    for (label, row) in set.labels.iter().zip(z.rows()) {
        if let Some(a) = *label {
            let mut of = mean.row_mut(a);
            of += &row;
            count[a] += 1.0;
        }
    }
    mean.axis_iter_mut(Axis(0)).zip(count).for_each(|(mut row, c): (_, f64)| row /= c.max(1.0));
    -mean.dot(affinity).dot(&mean.t())
}

/// Every pair once, with that of a type with itself.
fn pairs(m: &Array2<f64>) -> Vec<f64> {
    m.indexed_iter().filter(|((i, j), _)| i <= j).map(|(_, v)| *v).collect()
}

/// Types whose names begin so.
fn of_family(set: &Set, family: &str) -> Vec<usize> {
    let name = |a: usize| set.kinds[a].to_lowercase();
    let mut of: Vec<usize> = (0..set.kinds.len()).filter(|&a| name(a).starts_with(family)).collect();
    of.sort_by_key(|&a| name(a));
    of
}

/// Which layers inhibitory types prefer: said by affinities, and found.
fn preferred(
    set: &Set,
    scale: Scale,
    families: &[Vec<usize>; 2],
    said: &Array2<f64>,
    found: &Array2<f64>,
) -> Figure {
    let names = |of: &Vec<usize>| -> Vec<String> { of.iter().map(|&a| set.kinds[a].clone()).collect() };
    let square = |title: &str, values| Square {
        title: title.into(),
        values,
        rows: names(&families[0]),
        columns: names(&families[1]),
    };
    // Above 0 is apart, as in Λ.
    let (said, found) = (-said, -found);
    let tables = [square("by affinities", &said), square("by neighbours", &found)];
    Figure {
        file: format!("preferences_{}_{}.svg", plain(&set.name), scale.file()),
        title: format!("Inhibitory and pyramidal types: {}, {}", set.name, scale.name()),
        caption: "Orange: the two types lie together more than each does with the others; blue: less. Left: what Λ says of their mean mixtures; right: edges found over expected.".into(),
        svg: drawings::affinities(&tables),
    }
}
