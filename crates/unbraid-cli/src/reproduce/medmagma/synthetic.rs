//! Figures 2, 5 and 6: how well known networks are found under multiplicative noise and zeros.
//!
//! One data set is one draw of the `kronecker` design; run i of R has the seed `seed + i`, so that
//! `unbraid simulate kronecker --seed i` writes it. Noise and mask have their own streams: along a curve
//! only their strength changes.

use std::collections::BTreeMap;

use ndarray::Array2;
use rayon::prelude::*;
use unbraid::Seed;
use unbraid::data::{Column, Csr, Slot};
use unbraid::graph::edges::keep_top_k;
use unbraid::graph::leiden::search;
use unbraid::metrics::ranking::{Curve as Ranking, RankBy, edge_ranking};
use unbraid::metrics::{assortativity, clustering};
use unbraid::simulate::kronecker::KroneckerDesign;
use unbraid::stats::summary::{median, quantile};

use super::contender::{Fit, KEY, is_about_data};
use super::{Design, Work, grid};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::section::{Cell, Check, Figure, Section, Table};
use crate::watch::Progress;

/// A method on simulated data.
struct Contender {
    name: &'static str,
    tint: usize,
    fit: Fit,
}

const PAPER: &str = "MED-MAGMA (paper)";
const GMGM: &str = "GmGM";
const SINGLE: &str = "single axis";

const CONTENDERS: &[Contender] = &[
    Contender { name: PAPER, tint: 0, fit: Fit { method: "medmagma", set: &["preset=paper"] } },
    Contender { name: "MED-MAGMA (default)", tint: 1, fit: Fit { method: "medmagma", set: &[] } },
    Contender { name: GMGM, tint: 2, fit: Fit { method: "gmgm", set: &["preset=paper"] } },
    Contender { name: SINGLE, tint: 3, fit: Fit { method: "single-axis", set: &["preset=paper"] } },
];

/// Neighbours per vertex among which the published evaluation takes the best communities.
const NEIGHBOURS: [usize; 9] = [1, 2, 3, 4, 5, 10, 15, 20, 25];

/// One curve of data sets: a parameter runs from 0 or more to 1, the others stay.
struct Curve {
    figure: &'static str,
    varies: &'static str,
    large: bool,
    noise: Option<f64>,
    density: Option<f64>,
    communities: bool,
    tol: &'static str,
    rcond: &'static str,
}

const CURVES: [Curve; 4] = [
    Curve {
        figure: "figure2",
        varies: "noise",
        large: false,
        noise: None,
        density: Some(1.0),
        communities: true,
        tol: "1e-7",
        rcond: "1e-15",
    },
    Curve {
        figure: "figure5",
        varies: "noise",
        large: true,
        noise: None,
        density: Some(1.0),
        communities: true,
        tol: "1e-7",
        rcond: "1e-4",
    },
    Curve {
        figure: "figure6",
        varies: "density",
        large: true,
        noise: Some(0.2),
        density: None,
        communities: false,
        tol: "1e-10",
        rcond: "1e-4",
    },
    Curve {
        figure: "figure6",
        varies: "noise",
        large: true,
        noise: None,
        density: Some(0.5),
        communities: false,
        tol: "1e-10",
        rcond: "1e-4",
    },
];

impl Curve {
    /// Values of the parameter that varies.
    fn values(&self, design: &Design) -> Vec<f64> {
        grid(if self.density.is_none() { 0.1 } else { 0.0 }, 1.0, design.points)
    }
    fn simulated(&self, design: &Design, x: f64) -> KroneckerDesign {
        let (observations, features) = match self.large {
            false => (design.rows, design.columns),
            true => (design.large_rows, design.large_columns),
        };
        KroneckerDesign {
            observations,
            features,
            noise: self.noise.unwrap_or(x),
            density: self.density.unwrap_or(x),
            ..KroneckerDesign::default()
        }
    }
    /// What the paper's code sets per figure, on top of the preset.
    fn settings(&self, method: &Contender) -> Vec<String> {
        let mut set = vec!["keep=dense".to_owned()];
        match method.fit.method {
            "medmagma" if method.name == PAPER => set.push(format!("tol={}", self.tol)),
            "single-axis" => set.push(format!("rcond={}", self.rcond)),
            _ => {}
        }
        set
    }
}

/// One method on one data set.
#[derive(Clone, Debug)]
struct Score {
    curve: usize,
    method: usize,
    x: f64,
    run: usize,
    /// Rows and columns: area on |Ψ|, on signed Ψ, average precision on |Ψ|.
    aupr: [f64; 2],
    signed: [f64; 2],
    average: [f64; 2],
    communities: Option<Communities>,
    /// How the fit ended, or why there is none.
    stop: String,
    sweeps: usize,
}

/// The best communities over all k and resolutions, and the graph they were found on.
#[derive(Clone, Debug)]
struct Communities {
    ami: f64,
    k: usize,
    resolution: f64,
    numeric: Option<f64>,
    nominal: Option<f64>,
}

/// Pieces of work.
pub fn pieces(design: &Design) -> u64 {
    (CURVES.len() * design.points * design.seeds * CONTENDERS.len()) as u64
}

/// Runs the part.
///
/// # Errors
/// What a fit fails with, and the user's interrupt.
pub fn run(work: &Work<'_>) -> Result<Section, Fault> {
    let &Work { design, seed, progress, .. } = work;
    let mut jobs = Vec::new();
    for (curve, c) in CURVES.iter().enumerate() {
        for x in c.values(design) {
            jobs.extend((0..design.seeds).map(|run| (curve, x, run)));
        }
    }
    let scores: Vec<Vec<Score>> = jobs
        .par_iter()
        .map(|&(curve, x, run)| scored(design, curve, x, run, seed, progress))
        .collect::<Result<_, Fault>>()?;
    let scores: Vec<Score> = scores.into_iter().flatten().collect();
    Ok(Section {
        title: "Simulated data: figures 2, 5 and 6".into(),
        about: about(design),
        figures: vec![
            noise_figure(design, &scores, 0, "Figure 2")?,
            noise_figure(design, &scores, 1, "Figure 5")?,
            zeros_figure(design, &scores)?,
        ],
        tables: vec![medians(design, &scores), every_run(&scores)],
        checks: checks(design, &scores),
        notes: unfitted(&scores)
            .into_iter()
            .chain([
            "The numbers printed beside ours come from a run of the authors' Python code on seeds 0 to 4 (means); the paper \
             itself shows figures 2, 5 and 6 as curves only. Graphs are drawn by another generator of the same law, so that \
             agreement is in distribution."
                .into(),
            "All true edges of this design have one sign (ψ above 0), which the published Laplace term favours; on graphs \
             with negative or mixed edges it loses to leaving it out. `unbraid simulate kronecker --set sign=mixed` makes \
             such data."
                .into(),
        ]).collect(),
    })
}

/// Which methods could not take which data.
fn unfitted(scores: &[Score]) -> Vec<String> {
    let failed = |method: usize| scores.iter().filter(move |s| s.method == method && !s.aupr[0].is_finite());
    let methods =
        CONTENDERS.iter().enumerate().filter_map(|(method, c)| Some((method, c, failed(method).next()?)));
    let text = |(method, c, first): (usize, &Contender, &Score)| {
        let curve = &CURVES[first.curve];
        format!(
            "{} could not be fitted to {} of {} data sets; they are left out of its medians. The first is run {} of {} at {} \
             {:.2}: {}.",
            c.name,
            failed(method).count(),
            scores.iter().filter(|s| s.method == method).count(),
            first.run,
            curve.figure,
            curve.varies,
            first.x,
            first.stop
        )
    };
    methods.map(text).collect()
}

fn about(design: &Design) -> Vec<String> {
    let Design { seeds, points, rows, columns, large_rows, large_columns, resolutions, .. } = design;
    let typed = CONTENDERS.iter().map(|c| format!("{}: {}", c.name, c.fit.typed(&[])));
    vec![
        format!(
            "{seeds} simulated data sets per point, {points} points per curve. Each is one matrix whose rows and columns \
             form preferential-attachment trees, multiplied by χ²₁ to the power of the noise, row by row and column by \
             column: {rows} × {columns} (figure 2), {large_rows} × {large_columns} (figures 5 and 6). In figure 6 \
             entries are kept with the given density before the noise."
        ),
        format!(
            "AUPR is the area under the precision–recall curve of the edges ranked by |Ψ| against the true row graph \
             (1 is perfect; chance is about {:.3}). AMI compares Leiden communities of the graph of the k largest |Ψ| per \
             row, best over k in {NEIGHBOURS:?} and {resolutions} resolutions from 0.01 to 2, with those of the true graph; \
             assortativity (numeric, as published) is taken on that graph without its loops.",
            2.0 / *rows as f64
        ),
        format!("Methods, as typed after `unbraid fit`: {}.", typed.collect::<Vec<_>>().join("; ")),
    ]
}

fn scored(
    design: &Design,
    curve: usize,
    x: f64,
    run: usize,
    seed: Seed,
    progress: &Progress,
) -> Result<Vec<Score>, Fault> {
    let c = &CURVES[curve];
    let seed = Seed(seed.0.wrapping_add(run as u64));
    let (data, truth) = c.simulated(design, x).dataset(seed)?;
    let (Slot::Csr(rows), Slot::Csr(columns)) =
        (&truth.obsp["truth_precision"], &truth.varp["truth_precision"])
    else {
        return Err(missing("the true precision"));
    };
    let Column::Categorical { codes, .. } = &truth.obs["truth_community"] else {
        return Err(missing("the true communities"));
    };
    let labels: Vec<usize> = codes.iter().map(|c| c.map_or(0, |c| c as usize)).collect();
    let mut scores = Vec::new();
    for (method, contender) in CONTENDERS.iter().enumerate() {
        let mut score = Score {
            curve,
            method,
            x,
            run,
            aupr: [f64::NAN; 2],
            signed: [f64::NAN; 2],
            average: [f64::NAN; 2],
            communities: None,
            stop: String::new(),
            sweeps: 0,
        };
        match contender.fit.run(&data, &c.settings(contender), seed) {
            Ok(fitted) => {
                let slot = format!("{KEY}_precision");
                let (Slot::F64(psi), Slot::F64(phi)) =
                    (&fitted.annotations.obsp[&slot], &fitted.annotations.varp[&slot])
                else {
                    return Err(missing("a dense precision"));
                };
                let of = |by| -> Result<[Ranking; 2], Fault> {
                    Ok([edge_ranking(rows, psi, by)?, edge_ranking(columns, phi, by)?])
                };
                let magnitude = of(RankBy::Magnitude)?;
                score.aupr = [magnitude[0].aupr(), magnitude[1].aupr()];
                score.average = [magnitude[0].average_precision(), magnitude[1].average_precision()];
                score.signed = of(RankBy::Signed)?.map(|c| c.aupr());
                if c.communities {
                    score.communities = Some(communities(psi, &labels, design.resolutions, seed)?);
                }
                score.stop = fitted.stop.map_or("direct", |s| s.name()).to_owned();
                score.sweeps = fitted.sweeps;
            }
            // Data that a method cannot take are a result about the method.
            Err(why) if is_about_data(&why) => score.stop = why.to_string(),
            Err(why) => return Err(why),
        }
        scores.push(score);
        progress.done(1, &format!("{} at {} {x:.2}, {}", c.figure, c.varies, contender.name))?;
    }
    Ok(scores)
}

fn missing(what: &str) -> Fault {
    unbraid::Error::Missing { what: what.into(), hint: "this is a fault of the program".into() }.into()
}

/// As the published evaluation: weighted Leiden, one search each, on the k largest |Ψ| of each row, the
/// diagonal among them; the first of equal ones counts.
fn communities(
    psi: &Array2<f64>,
    labels: &[usize],
    resolutions: usize,
    seed: Seed,
) -> Result<Communities, Fault> {
    let magnitude = psi.mapv(f64::abs);
    let codes: Vec<f64> = labels.iter().map(|&l| l as f64).collect();
    let mut best =
        Communities { ami: f64::NEG_INFINITY, k: 0, resolution: 0.0, numeric: None, nominal: None };
    for k in NEIGHBOURS.into_iter().filter(|&k| k <= psi.nrows()) {
        let graph = keep_top_k(magnitude.view(), k);
        let mut here = false;
        for resolution in grid(0.01, 2.0, resolutions) {
            let ami = clustering::ami(&search(&graph, resolution, 1, seed)?, labels)?;
            if ami > best.ami {
                (best.ami, best.k, best.resolution, here) = (ami, k, resolution, true);
            }
        }
        if here {
            let off = graph.entries().filter(|(i, j, _)| i != j).map(|(i, j, _)| (i as u32, j as u32, 1.0));
            let edges = Csr::from_triplets(graph.shape(), off.collect());
            best.numeric = assortativity::numeric(&edges, &codes)?;
            best.nominal = assortativity::nominal(&edges, labels)?;
        }
    }
    Ok(best)
}

/// Values of one method on one curve by x, in the order of x.
fn by_x(
    scores: &[Score],
    curve: usize,
    method: usize,
    value: impl Fn(&Score) -> Option<f64>,
) -> Vec<(f64, Vec<f64>)> {
    let mut out: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for s in scores.iter().filter(|s| s.curve == curve && s.method == method) {
        // Parameters are not negative, so that their bits are in their order.
        let entry = out.entry(s.x.to_bits()).or_insert((s.x, Vec::new()));
        entry.1.extend(value(s));
    }
    out.into_values().collect()
}

/// Medians of one method along a curve.
fn medians_of(
    scores: &[Score],
    curve: usize,
    name: &str,
    value: impl Fn(&Score) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let Some(method) = CONTENDERS.iter().position(|c| c.name == name) else { return Vec::new() };
    by_x(scores, curve, method, value).into_iter().filter_map(|(x, v)| Some((x, median(&v)?))).collect()
}

type Value = fn(&Score) -> Option<f64>;

fn panel(scores: &[Score], curve: usize, title: &str, y: Axis, value: Value) -> Panel {
    let series = CONTENDERS.iter().enumerate().map(|(method, c)| {
        let along = by_x(scores, curve, method, value);
        let band = along.iter().filter_map(|(x, v)| Some((*x, quantile(v, 0.1)?, quantile(v, 0.9)?)));
        let line = along.iter().filter_map(|(x, v)| Some((*x, median(v)?)));
        let marks = vec![Mark::Band(band.collect()), Mark::Line(line.collect())];
        Series { name: c.name.into(), tint: c.tint, marks }
    });
    let x = match CURVES[curve].varies {
        "noise" => Axis::numbers("strength α of the noise", 0.0..1.0),
        _ => Axis::numbers("share of entries kept", 0.1..1.0),
    };
    Panel { title: title.into(), x, y, series: series.collect() }
}

fn area_of_rows(s: &Score) -> Option<f64> {
    Some(s.aupr[0])
}

fn noise_figure(design: &Design, scores: &[Score], curve: usize, title: &str) -> Result<Figure, Fault> {
    let assortative: Value = |s| s.communities.as_ref()?.numeric;
    let found: Value = |s| Some(s.communities.as_ref()?.ami);
    let unit = |name: &str| Axis::numbers(name, 0.0..1.0);
    let lowest = scores.iter().filter(|s| s.curve == curve).filter_map(assortative).fold(0.0, f64::min);
    let panels = [
        panel(scores, curve, "Edges found", unit("AUPR of the row graph"), area_of_rows),
        panel(
            scores,
            curve,
            "Alike neighbours",
            Axis::numbers("assortativity", if lowest < 0.0 { lowest - 0.05 } else { 0.0 }..1.0),
            assortative,
        ),
        panel(scores, curve, "Communities found", unit("AMI"), found),
    ];
    let size = CURVES[curve].simulated(design, 0.0);
    Ok(Figure {
        file: format!("{}.svg", CURVES[curve].figure),
        title: format!("{title}: noise, {} × {}", size.observations, size.features),
        caption: format!(
            "Median of {} data sets; the band holds the middle 80 %. A method that removes the noise gives a level line.",
            design.seeds
        ),
        svg: figure::draw(&panels, Names::Ends, 380)?,
    })
}

fn zeros_figure(design: &Design, scores: &[Score]) -> Result<Figure, Fault> {
    let unit = || Axis::numbers("AUPR of the row graph", 0.0..1.0);
    let panels = [
        panel(scores, 2, "Zeros, noise 0.2", unit(), area_of_rows),
        panel(scores, 3, "Noise, half of the entries zero", unit(), area_of_rows),
    ];
    Ok(Figure {
        file: "figure6.svg".into(),
        title: format!("Figure 6: zeros, {} × {}", design.large_rows, design.large_columns),
        caption: format!(
            "Median of {} data sets; the band holds the middle 80 %. Zeros are set before the noise.",
            design.seeds
        ),
        svg: figure::draw(&panels, Names::Ends, 380)?,
    })
}

fn medians(design: &Design, scores: &[Score]) -> Table {
    let columns = [
        "figure",
        "varies",
        "value",
        "method",
        "data sets",
        "AUPR rows",
        "AUPR columns",
        "signed AUPR rows",
        "signed AUPR columns",
        "average precision rows",
        "average precision columns",
        "AMI",
        "assortativity",
        "did not converge",
        "could not be fitted",
    ];
    let mut table = Table::new("synthetic_medians.csv", "Medians over the data sets of a point.", &columns);
    for (curve, c) in CURVES.iter().enumerate() {
        for x in c.values(design) {
            for (method, contender) in CONTENDERS.iter().enumerate() {
                let here: Vec<&Score> =
                    scores.iter().filter(|s| s.curve == curve && s.method == method && s.x == x).collect();
                let of = |value: &dyn Fn(&Score) -> Option<f64>| -> Cell {
                    median(&here.iter().filter_map(|s| value(s)).collect::<Vec<_>>()).into()
                };
                table.rows.push(cells![
                    c.figure,
                    c.varies,
                    x,
                    contender.name,
                    here.iter().filter(|s| s.aupr[0].is_finite()).count(),
                    of(&|s| Some(s.aupr[0])),
                    of(&|s| Some(s.aupr[1])),
                    of(&|s| Some(s.signed[0])),
                    of(&|s| Some(s.signed[1])),
                    of(&|s| Some(s.average[0])),
                    of(&|s| Some(s.average[1])),
                    of(&|s| Some(s.communities.as_ref()?.ami)),
                    of(&|s| s.communities.as_ref()?.numeric),
                    here.iter().filter(|s| s.stop == "max_steps").count(),
                    here.iter().filter(|s| !s.aupr[0].is_finite()).count(),
                ]);
            }
        }
    }
    table
}

fn every_run(scores: &[Score]) -> Table {
    let columns = [
        "figure",
        "varies",
        "value",
        "run",
        "method",
        "aupr_rows",
        "aupr_columns",
        "signed_aupr_rows",
        "signed_aupr_columns",
        "average_precision_rows",
        "average_precision_columns",
        "ami",
        "ami_k",
        "ami_resolution",
        "assortativity_numeric",
        "assortativity_nominal",
        "stop",
        "sweeps",
    ];
    let mut table = Table::new("synthetic.csv", "Every fit.", &columns);
    table.shown = false;
    for s in scores {
        let c = s.communities.as_ref();
        table.rows.push(cells![
            CURVES[s.curve].figure,
            CURVES[s.curve].varies,
            s.x,
            s.run,
            CONTENDERS[s.method].name,
            s.aupr[0],
            s.aupr[1],
            s.signed[0],
            s.signed[1],
            s.average[0],
            s.average[1],
            c.map(|c| c.ami),
            c.map(|c| c.k),
            c.map(|c| c.resolution),
            c.and_then(|c| c.numeric),
            c.and_then(|c| c.nominal),
            s.stop.as_str(),
            s.sweeps,
        ]);
    }
    table
}

/// Value of a curve at x, linear between its points.
fn at(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = curve.iter().position(|p| p.0 >= x)?;
    let (right, left) = (curve[next], curve[next.saturating_sub(1)]);
    match right.0 - left.0 {
        width if width > 0.0 => Some(left.1 + (right.1 - left.1) * (x - left.0) / width),
        _ => Some(right.1),
    }
}

/// Means of the authors' code on seeds 0 to 4 of the 100 × 150 design: method, noise, rows, columns.
const REFERENCE: [(&str, f64, f64, f64); 9] = [
    (PAPER, 0.0, 0.725, 0.521),
    (PAPER, 0.5, 0.725, 0.521),
    (PAPER, 1.0, 0.725, 0.521),
    (GMGM, 0.0, 0.658, 0.432),
    (GMGM, 0.5, 0.056, 0.032),
    (GMGM, 1.0, 0.025, 0.015),
    (SINGLE, 0.0, 0.157, 0.018),
    (SINGLE, 0.5, 0.030, 0.014),
    (SINGLE, 1.0, 0.026, 0.014),
];
/// Largest difference of a median from those means that counts as agreement.
const AGREES: f64 = 0.04;

fn checks(design: &Design, scores: &[Score]) -> Vec<Check> {
    let mut out = Vec::new();
    let axes: [(&str, Value); 2] = [("rows", |s| Some(s.aupr[0])), ("columns", |s| Some(s.aupr[1]))];
    for (curve, figure) in [(0, "figure 2"), (1, "figure 5")] {
        for (axis, value) in axes {
            for name in [PAPER, "MED-MAGMA (default)"] {
                let line = medians_of(scores, curve, name, value);
                let (low, high) = line
                    .iter()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.1), h.max(p.1)));
                out.push(Check::number(
                    format!(
                        "{figure}, {axis}: the median AUPR of {name} moves by less than 0.01 over the noise"
                    ),
                    "paper, figure 2 (level line)",
                    "below 0.01",
                    (!line.is_empty()).then_some(high - low),
                    |v| v < 0.01,
                ));
            }
            let line = medians_of(scores, curve, GMGM, value);
            let share = match (at(&line, 0.0), at(&line, 1.0)) {
                (Some(clean), Some(noisy)) if clean > 0.0 => Some(noisy / clean),
                _ => None,
            };
            out.push(Check::number(
                format!("{figure}, {axis}: the median AUPR of GmGM at noise 1 is below a quarter of its value at noise 0"),
                "paper, figure 2 (collapse)",
                "below 0.25",
                share,
                |v| v < 0.25,
            ));
        }
    }
    // The means belong to one size; another one says nothing about them.
    if (design.rows, design.columns) == (100, 150) {
        for (name, noise, rows, columns) in REFERENCE {
            for ((axis, value), expected) in axes.into_iter().zip([rows, columns]) {
                out.push(Check::number(
                    format!("figure 2, {axis}: the median AUPR of {name} at noise {noise} is that of the authors' code"),
                    "authors' code, mean of seeds 0–4",
                    format!("{expected:.3} ± {AGREES}"),
                    at(&medians_of(scores, 0, name, value), noise),
                    |v| (v - expected).abs() <= AGREES,
                ));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_linear_between_its_points() {
        let curve = [(0.0, 1.0), (0.5, 2.0), (1.0, 0.0)];
        assert_eq!((at(&curve, 0.0), at(&curve, 0.25), at(&curve, 1.0)), (Some(1.0), Some(1.5), Some(0.0)));
        assert_eq!((at(&curve, 1.1), at(&[], 0.5)), (None, None));
    }

    #[test]
    fn communities_of_a_graph_of_two_blocks_are_found_at_the_first_k_that_shows_them() {
        let labels: Vec<usize> = (0..20).map(|i| i / 10).collect();
        let psi = Array2::from_shape_fn((20, 20), |(i, j)| {
            if i == j {
                2.0
            } else if i / 10 == j / 10 {
                -0.5 - ((i * 7 + j * 7) % 5) as f64 / 10.0
            } else {
                0.01
            }
        });
        let found = communities(&psi, &labels, 5, Seed(0)).unwrap();
        assert_eq!(found.ami, 1.0);
        assert_eq!((found.numeric, found.nominal), (Some(1.0), Some(1.0)));
        assert!(found.k > 1 && found.k <= 10, "{found:?}");
    }

    #[test]
    fn every_curve_is_a_design_the_simulator_takes() {
        let design = Design::default();
        for curve in &CURVES {
            let values = curve.values(&design);
            assert_eq!((values.len(), values[values.len() - 1]), (10, 1.0));
            for x in values {
                curve.simulated(&design, x).validate().unwrap();
            }
            for c in CONTENDERS {
                c.fit.plan(&curve.settings(c)).unwrap();
            }
        }
    }
}
