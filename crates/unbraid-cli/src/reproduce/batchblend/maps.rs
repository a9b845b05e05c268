//! Figures 3.1 to 3.4, 3.8 and 3.9: metagenes in space, their affinities, cells before and after, of the first simulated set.

use ndarray::{Array2, Axis};
use unbraid::Seed;
use unbraid::graph::umap::Umap;
use unbraid::metrics::trustworthiness::trustworthiness;

use super::Design;
use super::drawings::{self, Map, Square};
use super::fits::{Way, parts, tissue};
use super::scores::METAGENES;
use super::sets::{self, Set, Sources};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis as Scale, Mark, Names, Panel, Series};
use crate::methods::studies::{Asked, levels};
use crate::reproduce::Run;
use crate::reproduce::section::{Check, Figure, Section, Table};

/// Pieces of work: four fits and their pictures.
pub const PIECES: u64 = 5;
/// Maps of metagenes in a row.
const ACROSS: usize = 3;
/// Neighbours in which pictures are judged.
const NEAR: usize = 15;

/// Runs the part.
///
/// # Errors
/// Data that cannot be read, what a fit fails with, the user's interrupt.
pub fn run(design: &Design, sources: &Sources, run: &Run<'_>) -> Result<Section, Fault> {
    let set = sets::simulated(sources, 1, design.side, run.seed)?.swap_remove(0);
    let batch: Vec<usize> = set.batch.codes.iter().map(|&t| t as usize).collect();
    let slices = set.batch.names.len();
    let mut fits = Vec::new();
    for way in [Way::Popari, Way::Thesis, Way::Tissue, Way::Ray] {
        fits.push((way, tissue(way, &set, METAGENES, run.seed.0)?));
        run.progress.done(1, &format!("{}, {}", set.name, way.name()))?;
    }
    let mut figures = vec![kinds(&set, &batch)?];
    for (way, fit) in &fits {
        let z = fit.mixtures();
        let file = match way {
            Way::Popari => "metagenes_popari.svg",
            Way::Ray => "metagenes.svg",
            _ => continue,
        };
        figures.push(Figure {
            file: file.into(),
            title: format!("Metagenes in space: {}", way.name()),
            caption: "Both slices side by side; colour: the part of a cell's mixture, in full from what one cell in a hundred exceeds.".into(),
            svg: drawings::tissue(&maps(&z), &set.places, &batch, slices, ACROSS),
        });
    }
    let tables: Vec<Square<'_>> = fits
        .iter()
        .filter(|(way, _)| matches!(way, Way::Popari | Way::Ray))
        .filter_map(|(way, fit)| Some(Square::numbered(format!("Λ, {}", way.name()), fit.affinity.first()?)))
        .collect();
    figures.push(Figure {
        file: "affinities.svg".into(),
        title: "Affinities of the metagenes".into(),
        caption: "Blue: two metagenes keep apart (Λ above 0); orange: they keep together. Metagenes of the two fits are numbered on their own.".into(),
        svg: drawings::affinities(&tables),
    });
    let mut kept = Table::new(
        "pictures.csv",
        "How many neighbours of the pictures are neighbours in the mixtures (trustworthiness, 15 neighbours).",
        &["picture", "trustworthiness"],
    );
    let mut least = f64::INFINITY;
    for (way, fit) in &fits {
        if matches!(way, Way::Tissue) {
            continue;
        }
        let mut pictures = Vec::new();
        if fit.beta.nrows() > 0 {
            let mut with = fit.activities.clone();
            with.axis_iter_mut(Axis(0)).zip(&batch).for_each(|(mut row, &t)| row += &fit.beta.row(t));
            pictures.push(("X + β", parts(with)));
        }
        pictures.push(("Z", fit.mixtures()));
        let (mut by_batch, mut by_type) = (Vec::new(), Vec::new());
        for (name, points) in &pictures {
            let picture = Umap::default().picture(points.view(), Seed(run.seed.0))?;
            let trust = trustworthiness(points.view(), picture.view(), NEAR)?;
            least = least.min(trust);
            kept.rows.push(cells![format!("{}, {name}", way.name()), trust]);
            by_batch.push(scatter(&format!("{name}, by batch"), &picture, &batch));
            by_type.push(scatter(&format!("{name}, by cell type"), &picture, &codes(&set)));
        }
        let file = match way {
            Way::Popari => "umap_popari",
            Way::Thesis => "umap_thesis",
            _ => "umap",
        };
        let caption = "UMAP of rows of sum 1; near points have like mixtures, distances between far groups mean nothing.";
        for (end, what, panels) in
            [("", "batches", by_batch), ("_types", "cell types, which were not used in the fit", by_type)]
        {
            figures.push(Figure {
                file: format!("{file}{end}.svg"),
                title: format!("Cells by their mixtures: {}", way.name()),
                caption: format!("{caption} Colours: {what}."),
                svg: figure::draw(&panels, Names::None, 330)?,
            });
        }
    }
    figures.push(courses(&fits)?);
    run.progress.done(1, "pictures")?;
    let sizes = |way: Way| fits.iter().find(|f| f.0 == way).map(|f| &f.1.sizes);
    let left = sizes(Way::Thesis).and_then(|s| Some(s.last()? / s.first()?));
    Ok(Section {
        title: "Slices, affinities and pictures: figures 3.1 to 3.4, 3.8 and 3.9".into(),
        about: vec![format!(
            "The first simulated set ({}). What the thesis shows of its simulation and of its fits, drawn anew; which figure of it shows what we only know in part.",
            set.name
        )],
        figures,
        tables: vec![kept],
        checks: vec![
            Check::number(
                "Pictures keep neighbours: least trustworthiness",
                "test of ours",
                "at least 0.9",
                Some(least),
                |v| v >= 0.9,
            ),
            Check::number(
                "The thesis' form loses the cells to the batch: size left",
                "test of ours",
                "below 0.05",
                left,
                |v| v < 0.05,
            ),
        ],
        notes: Vec::new(),
    })
}

/// Cell types as numbers.
fn codes(set: &Set) -> Vec<usize> {
    set.labels.iter().map(|l| l.unwrap_or(0)).collect()
}

/// Where the cell types and the domains lie.
fn kinds(set: &Set, batch: &[usize]) -> Result<Figure, Fault> {
    let found = levels(&set.data, "cell_type", Asked::Slices)?;
    let one = |at: usize| Map {
        title: found.names[at].clone(),
        values: found.codes.iter().map(|&c| f64::from(u8::from(c as usize == at))).collect(),
    };
    let maps: Vec<Map> = (0..found.names.len()).map(one).collect();
    Ok(Figure {
        file: "cell_types.svg".into(),
        title: "The simulated slices: cell types".into(),
        caption: "Both slices side by side; where each cell type lies.".into(),
        svg: drawings::tissue(&maps, &set.places, batch, set.batch.names.len(), ACROSS),
    })
}

/// A map of each metagene, in full colour from what one cell in a hundred exceeds.
pub fn maps(z: &Array2<f64>) -> Vec<Map> {
    let one = |(f, column): (usize, ndarray::ArrayView1<'_, f64>)| {
        let mut sorted = column.to_vec();
        sorted.sort_by(f64::total_cmp);
        let full = sorted.get(sorted.len() * 99 / 100).copied().filter(|v| *v > 0.0);
        let full = full.or(sorted.last().copied()).unwrap_or(1.0).max(f64::MIN_POSITIVE);
        Map { title: format!("metagene {}", f + 1), values: column.iter().map(|v| v / full).collect() }
    };
    z.columns().into_iter().enumerate().map(one).collect()
}

/// Points in the colours of their groups, drawn in turns so that no group hides the others.
fn scatter(title: &str, picture: &Array2<f64>, group: &[usize]) -> Panel {
    const TURNS: usize = 24;
    const TINTS: usize = 9;
    let groups = group.iter().max().map_or(0, |g| g + 1);
    let mut series = Vec::new();
    for turn in 0..TURNS {
        for g in 0..groups {
            let own = (0..group.len()).filter(|&i| group[i] == g && i % TURNS == turn);
            let points = own.map(|i| (picture[[i, 0]], picture[[i, 1]])).collect();
            series.push(Series {
                name: String::new(),
                tint: g % TINTS,
                marks: vec![Mark::Dots(points, true)],
            });
        }
    }
    Panel {
        title: title.into(),
        x: Scale::around("", picture.column(0).iter().copied()),
        y: Scale::around("", picture.column(1).iter().copied()),
        series,
    }
}

/// Mean size of a cell by iteration.
fn courses(fits: &[(Way, unbraid::methods::spatial::fit::TissueFit)]) -> Result<Figure, Fault> {
    let series: Vec<Series> = fits
        .iter()
        .enumerate()
        .map(|(tint, (way, fit))| Series {
            name: way.name().into(),
            tint,
            marks: vec![Mark::Line(
                fit.sizes.iter().enumerate().map(|(i, s)| ((i + 1) as f64, *s)).collect(),
            )],
        })
        .collect();
    let steps = fits.iter().map(|f| f.1.sizes.len()).max().unwrap_or(1) as f64;
    let most = fits.iter().flat_map(|f| &f.1.sizes).fold(1.0f64, |m, v| m.max(*v));
    let panel = Panel {
        title: String::new(),
        x: Scale::numbers("iteration", 0.0..steps),
        y: Scale::numbers("mean size of a cell", 0.0..1.05 * most),
        series,
    };
    Ok(Figure {
        file: "sizes.svg".into(),
        title: "What is left in the cells".into(),
        caption: "Mean size of a cell, in units in which a cell has a mean total of K. Under the thesis' prior the batch takes all of it.".into(),
        svg: figure::draw(&[panel], Names::Ends, 340)?,
    })
}
