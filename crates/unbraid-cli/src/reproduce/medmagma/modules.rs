//! Figure 4 and the robustness of communities: gene modules, what cell classes do with them, and whether
//! the communities of both networks survive small changes of their edges.

use rayon::prelude::*;
use unbraid::data::Csr;
use unbraid::fit::Draw;
use unbraid::graph::edges::connectivities;
use unbraid::metrics::modules::{ModuleTest, Modules, module_tests, modules};
use unbraid::metrics::robustness::{Robustness, RobustnessOptions, robustness};
use unbraid::stats::enrichment::{EnrichmentOptions, over_representation};
use unbraid::stats::summary::quantile;

use super::contender::{Fit, is_about_data};
use super::sets::{Labelled, Sources};
use super::{Design, Work, nearest_to_published};
use crate::cells;
use crate::fault::Fault;
use crate::figure::{self, Axis, Mark, Names, Panel, Series};
use crate::reproduce::section::{Check, Figure, Section, Table};

/// Networks that are looked at: name, colour, what is typed. One more is one more line.
const NETWORKS: &[(&str, usize, Fit)] = &[
    (
        "MED-MAGMA (paper)",
        0,
        Fit {
            method: "medmagma",
            set: &["preset=paper", "genes=appendix-f", "max_steps=20", "empty=drop", "keep=top:10"],
        },
    ),
    ("MED-MAGMA (default)", 1, Fit { method: "medmagma", set: &["empty=drop", "keep=top:10"] }),
];

/// Communities of fewer genes are no modules.
const SMALLEST: usize = 3;
/// Hubs listed per module.
const HUBS: usize = 5;
/// Level of a test that counts as a difference.
const LEVEL: f64 = 0.05;
/// What the paper prints of E-MTAB-7249: modules, and of those the ones with p at or above [`LEVEL`].
const PRINTED_MODULES: (usize, usize) = (8, 1);
/// What the paper prints as Bayes factors of the cell and the gene network.
const PRINTED_BAYES: [f64; 2] = [108.0, 59.0];
/// ln of the Bayes factor above which Kass and Raftery (1995) call evidence very strong.
const VERY_STRONG: f64 = 5.0;

/// One gene network with its modules.
struct Studied {
    name: String,
    network: usize,
    cells: usize,
    modules: Modules,
    tests: Vec<ModuleTest>,
    /// Mean share of each module in each class: modules × classes that occur.
    by_class: Vec<Vec<f64>>,
    classes: Vec<String>,
    hubs: Vec<Vec<String>>,
    /// Names of the genes that took part.
    genes: Vec<String>,
    /// Of cells and of genes.
    graphs: [Csr; 2],
}

/// One robustness test.
struct Tested {
    /// Data set or `published graph`.
    name: String,
    network: String,
    axis: &'static str,
    result: Robustness,
}
const AXES: [&str; 2] = ["cells", "genes"];

/// Pieces of work.
pub fn pieces(design: &Design, sources: &Sources) -> u64 {
    let networks = NETWORKS.len() * sources.sets.len();
    let tested = if design.all_robust { networks } else { NETWORKS.len().min(networks) };
    (networks + (sources.graphs.len() + AXES.len() * tested) * options(design).ticks()) as u64
}

fn options(design: &Design) -> RobustnessOptions {
    RobustnessOptions { repeats: design.repeats, averaged: design.averaged, ..RobustnessOptions::default() }
}

/// Runs the part.
///
/// # Errors
/// A file that cannot be read, a fault of a method, the user's interrupt.
pub fn run(work: &Work<'_>) -> Result<Section, Fault> {
    let (mut sets, mut notes) = (Vec::new(), Vec::new());
    for source in &work.sources.sets {
        match source.load()? {
            Ok(set) if set.data.shape().0 <= work.design.max_rows_dense => sets.push(set),
            Ok(_) => {
                notes.push(format!("{} is left out: it has more rows than max_rows_dense.", source.name))
            }
            Err(why) => notes.push(format!("{} is left out: {why}.", source.name)),
        }
    }
    let jobs: Vec<(&Labelled, usize)> =
        sets.iter().flat_map(|s| (0..NETWORKS.len()).map(move |n| (s, n))).collect();
    let found: Vec<Result<Studied, Fault>> =
        jobs.par_iter().map(|&(set, network)| studied(set, network, work)).collect();
    let mut all = Vec::new();
    for ((set, network), found) in jobs.iter().zip(found) {
        match found {
            Ok(s) => all.push(s),
            Err(why) if is_about_data(&why) => {
                notes.push(format!("{}: no {} network: {why}.", set.name, NETWORKS[*network].0));
            }
            Err(why) => return Err(why),
        }
        work.progress.done(1, &format!("modules of {}", set.name))?;
    }
    if all.is_empty() {
        notes.push("There is no gene network to look at under --data.".into());
    }
    let shown = nearest_to_published(all.iter().map(|s| s.cells));
    let tested = robust(&all, shown, work)?;
    let mut tables = vec![modules_table(&all), robust_table(&tested)];
    if !work.sources.gene_sets.is_empty() && !all.is_empty() {
        tables.extend(enriched(&all, work)?);
    }
    let mut figures = Vec::new();
    if let Some(at) = shown {
        figures.push(modules_figure(&all[at])?);
        figures.push(all_figure(&all)?);
    }
    if !tested.is_empty() {
        figures.push(robust_figure(&tested)?);
    }
    if work.sources.graphs.is_empty() {
        notes.push(
            "The authors' graphs (median_cell_graph.graphml, median_gene_graph.graphml) are not under --data, so that the \
             printed Bayes factors cannot be set beside ours on the same graphs."
                .into(),
        );
    }
    Ok(Section {
        title: "Gene modules and robustness: figure 4".into(),
        about: about(work),
        figures,
        tables,
        checks: checks(&all, &tested),
        notes,
    })
}

fn about(work: &Work<'_>) -> Vec<String> {
    let typed = NETWORKS.iter().map(|n| format!("{}: {}", n.0, n.2.typed(&[])));
    let options = options(work.design);
    vec![
        format!(
            "Modules are the Leiden communities (weighted, resolution 1) of the top-10 gene network, {SMALLEST} genes or more. The \
             share of a module in a cell is the sum of its genes over the sum of all genes kept, of the values as they came; \
             one-way analysis of variance asks whether it differs between the known classes. Networks, as typed after \
             `unbraid fit`: {}.",
            typed.collect::<Vec<_>>().join("; ")
        ),
        format!(
            "Robustness, after the R package robin: 5 to 60 % of the edges are rewired with all degrees kept, and the communities \
             of the rewired graph compared with those of the graph itself by the variation of information; the same for random \
             graphs of the same degrees ({} curves each, {} rewired graphs per value). The printed figure is a Bayes factor; ours \
             of the same form is `ln Bayes, ratio` (natural logarithm), and beside it stand the evidence that the two curves \
             differ at all and a permutation p-value, which no model can inflate.",
            options.repeats, options.averaged
        ),
    ]
}

fn studied(set: &Labelled, network: usize, work: &Work<'_>) -> Result<Studied, Fault> {
    let on = |e: unbraid::Error| Fault::on(&set.data, e);
    let fitted = NETWORKS[network].2.run(&set.data, &[], work.seed)?;
    let (n, m) = set.data.shape();
    let none = || Fault::Usage("no kept edges".into());
    let (cells, genes) = (fitted.observations(n).ok_or_else(none)?, fitted.features(m).ok_or_else(none)?);
    // Only the genes that took part.
    let chosen: Vec<usize> = fitted.chosen.var.clone().unwrap_or_else(|| (0..m).collect());
    let mut place = vec![None; m];
    chosen.iter().enumerate().for_each(|(at, &j)| place[j] = Some(at as u32));
    let inner = genes.entries().filter_map(|(i, j, v)| Some((place[i]?, place[j]?, v)));
    let genes = connectivities(&Csr::from_triplets((chosen.len(), chosen.len()), inner.collect()));
    let x = set.data.x.columns(&chosen);
    let modules = modules(&genes, 1.0, SMALLEST, work.seed).map_err(on)?;
    let shares = modules.shares(&x).map_err(on)?;
    let tests = module_tests(shares.view(), &set.labels).map_err(on)?;
    let hubs = modules.hubs(&genes, HUBS).map_err(on)?;
    let used: Vec<usize> = (0..set.classes.len()).filter(|c| set.labels.contains(c)).collect();
    let mean = |module: usize, class: usize| {
        let of: Vec<f64> = (0..n).filter(|&i| set.labels[i] == class).map(|i| shares[[i, module]]).collect();
        of.iter().sum::<f64>() / of.len().max(1) as f64
    };
    Ok(Studied {
        name: set.name.clone(),
        network,
        cells: n,
        by_class: (0..modules.len()).map(|g| used.iter().map(|&c| mean(g, c)).collect()).collect(),
        classes: used.iter().map(|&c| set.classes[c].clone()).collect(),
        hubs: hubs
            .iter()
            .map(|h| h.iter().map(|h| set.data.var.names[chosen[h.vertex]].clone()).collect())
            .collect(),
        tests,
        modules,
        genes: chosen.iter().map(|&j| set.data.var.names[j].clone()).collect(),
        graphs: [connectivities(&cells), genes],
    })
}

/// The authors' graphs, then ours: of the data set shown in a quick run, of all in a full one.
fn robust(all: &[Studied], shown: Option<usize>, work: &Work<'_>) -> Result<Vec<Tested>, Fault> {
    let options = options(work.design);
    let mut out = Vec::new();
    for (path, _) in &work.sources.graphs {
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let axis = AXES[usize::from(file.contains("gene"))];
        let graph = unbraid_io::read_graphml(path)?;
        // Whether to stop is asked after the test.
        let tick = || {
            let _ = work.progress.done(1, &format!("robustness of {file}"));
        };
        let result = robustness(&graph, &options, work.seed, &tick)?;
        work.progress.done(0, &file)?;
        out.push(Tested {
            name: "authors' graph, E-MTAB-7249".into(),
            network: "as published".into(),
            axis,
            result,
        });
    }
    for (at, s) in all.iter().enumerate() {
        if !(work.design.all_robust || Some(at) == shown) {
            continue;
        }
        for (axis, graph) in AXES.into_iter().zip(&s.graphs) {
            // A graph of fewer than two edges has nothing to rewire.
            if graph.nnz() >= 4 {
                let seed = work.seed.child(Draw::Shuffle, at as u64);
                let tick = || {
                    let _ = work.progress.done(1, &format!("robustness of {}, {axis}", s.name));
                };
                let result = robustness(graph, &options, seed, &tick)?;
                out.push(Tested {
                    name: s.name.clone(),
                    network: NETWORKS[s.network].0.into(),
                    axis,
                    result,
                });
            }
            work.progress.done(0, &s.name)?;
        }
    }
    Ok(out)
}

/// −log₁₀ p, if the test is defined; an infinite one is not drawn.
fn strength(test: &ModuleTest) -> Option<f64> {
    test.anova.map(|a| -a.log10_p).filter(|v| v.is_finite())
}

fn modules_figure(s: &Studied) -> Result<Figure, Fault> {
    let count = s.modules.len();
    let y = |module: usize| (count - 1 - module) as f64;
    let names: Vec<String> =
        (0..count).rev().map(|g| format!("module {} ({} genes)", g + 1, s.modules.sizes[g])).collect();
    let bars: Vec<(f64, f64)> = s.tests.iter().filter_map(|t| Some((strength(t)?, y(t.module)))).collect();
    let longest = bars.iter().fold(1.0f64, |m, b| m.max(b.0));
    let first = Panel {
        title: "Difference between the classes".into(),
        x: Axis::numbers("−log₁₀ p of the analysis of variance", 0.0..longest * 1.05),
        y: Axis::names("", names.clone()),
        series: vec![Series { name: String::new(), tint: figure::GREY, marks: vec![Mark::Bars(bars, 0.6)] }],
    };
    let tints = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    let shown = s.classes.len().min(tints.len());
    let series = (0..shown).map(|c| Series {
        name: s.classes[c].clone(),
        tint: tints[c],
        marks: vec![Mark::Dots((0..count).map(|g| (s.by_class[g][c], y(g))).collect(), true)],
    });
    let second = Panel {
        title: "Mean share of a cell's expression, by class".into(),
        x: Axis::around("share", s.by_class.iter().flatten().copied().chain([0.0])),
        y: Axis::names("", names),
        series: series.collect(),
    };
    let cut = match s.classes.len() > shown {
        true => format!(" The first {shown} of {} classes are drawn.", s.classes.len()),
        false => String::new(),
    };
    Ok(Figure {
        file: "figure4.svg".into(),
        title: format!("Figure 4: gene modules of {}, {}", s.name, NETWORKS[s.network].0),
        caption: format!(
            "The paper shows E-MTAB-7249 with {} modules, p from 2e-29 to 1e-2 and one of 0.11; this is the data set given whose \
             number of cells is nearest to it.{cut}",
            PRINTED_MODULES.0
        ),
        svg: figure::draw(&[first, second], Names::Above, 130 + 30 * count.max(3) as u32)?,
    })
}

fn all_figure(all: &[Studied]) -> Result<Figure, Fault> {
    let mut names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
    names.dedup();
    names.reverse();
    let y = |name: &str| names.iter().position(|n| *n == name).unwrap_or(0) as f64;
    let series = NETWORKS.iter().enumerate().map(|(network, (name, tint, _))| {
        let dots = all.iter().filter(|s| s.network == network).flat_map(|s| {
            let at = y(&s.name) + 0.24 * (network as f64 - (NETWORKS.len() as f64 - 1.0) / 2.0);
            s.tests.iter().filter_map(move |t| Some((strength(t)?, at)))
        });
        Series { name: (*name).into(), tint: *tint, marks: vec![Mark::Dots(dots.collect(), false)] }
    });
    let values = all.iter().flat_map(|s| &s.tests).filter_map(strength);
    let panel = Panel {
        title: "Every module of every data set".into(),
        x: Axis::around("−log₁₀ p of the analysis of variance", values.chain([0.0])),
        y: Axis::names("", names.iter().map(|n| n.to_string()).collect()),
        series: series.collect(),
    };
    Ok(Figure {
        file: "figure4_sets.svg".into(),
        title: "Do the modules differ between the classes?".into(),
        caption: format!("A ring is a module of {SMALLEST} genes or more. 1.3 is p = 0.05."),
        svg: figure::draw(&[panel], Names::Above, 120 + 24 * names.len() as u32)?,
    })
}

fn robust_figure(tested: &[Tested]) -> Result<Figure, Fault> {
    // The authors' graphs where they are there, else the first ones of ours.
    let panels: Vec<Panel> = tested
        .iter()
        .take(2)
        .map(|t| {
            let r = &t.result;
            let side = |name: &str, tint: usize, curves: &[Vec<f64>], mean: &[f64]| {
                let at = |i: usize| -> Vec<f64> { curves.iter().map(|c| c[i]).collect() };
                let shares = &r.options.shares;
                let band = shares
                    .iter()
                    .enumerate()
                    .filter_map(|(i, &f)| Some((f, quantile(&at(i), 0.1)?, quantile(&at(i), 0.9)?)));
                let line = shares.iter().copied().zip(mean.iter().copied()).collect();
                Series { name: name.into(), tint, marks: vec![Mark::Band(band.collect()), Mark::Line(line)] }
            };
            let most = r.real.iter().chain(&r.null).flatten().fold(0.0f64, |m, v| m.max(*v));
            Panel {
                title: format!("{}: {}", t.axis, t.name),
                x: Axis::numbers(
                    "share of edges rewired",
                    0.0..r.options.shares.last().copied().unwrap_or(1.0),
                ),
                y: Axis::numbers("variation of information / log n", 0.0..(most * 1.05).max(0.05)),
                series: vec![
                    side("random graphs", figure::GREY, &r.null, &r.null_mean),
                    side("network", 0, &r.real, &r.real_mean),
                ],
            }
        })
        .collect();
    Ok(Figure {
        file: "figure4_robustness.svg".into(),
        title: "Robustness of the communities".into(),
        caption: "Mean over the curves; the band holds the middle 80 %. Communities that mean something change less under rewiring \
                  than those of random graphs of the same degrees."
            .into(),
        svg: figure::draw(&panels, Names::Ends, 380)?,
    })
}

fn modules_table(all: &[Studied]) -> Table {
    let columns = [
        "data set",
        "network",
        "module",
        "genes",
        "mean share",
        "F",
        "p",
        "log10 p",
        "Bonferroni",
        "Benjamini–Hochberg",
        "largest share in class",
        "hubs",
    ];
    let mut table = Table::new("modules.csv", "Modules with their analysis of variance.", &columns);
    for s in all {
        for t in &s.tests {
            let of = &s.by_class[t.module];
            let largest =
                (0..of.len()).max_by(|&a, &b| of[a].total_cmp(&of[b])).map(|c| s.classes[c].as_str());
            table.rows.push(cells![
                s.name.as_str(),
                NETWORKS[s.network].0,
                t.module + 1,
                s.modules.sizes[t.module],
                t.mean,
                t.anova.map(|a| a.f),
                t.anova.map(|a| a.p),
                t.anova.map(|a| a.log10_p),
                t.bonferroni,
                t.bh,
                largest,
                s.hubs[t.module].join(" ")
            ]);
        }
    }
    table
}

fn robust_table(tested: &[Tested]) -> Table {
    let columns = [
        "data set",
        "network",
        "of",
        "communities",
        "ln Bayes, ratio",
        "ln Bayes, two curves",
        "permutation p",
        "mean distance of the curves",
    ];
    let caption = "Robustness of the communities. The paper prints 108 for the cell and 59 for the gene network of E-MTAB-7249.";
    let mut table = Table::new("robustness.csv", caption, &columns);
    for t in tested {
        let r = &t.result;
        let apart: f64 = r.null_mean.iter().zip(&r.real_mean).map(|(n, r)| n - r).sum::<f64>();
        table.rows.push(cells![
            t.name.as_str(),
            t.network.as_str(),
            t.axis,
            r.communities,
            r.ln_bayes_ratio,
            r.ln_bayes,
            r.p,
            apart / r.real_mean.len() as f64
        ]);
    }
    table
}

/// Over-representation of gene sets in the modules: one row per module and file with the best set, and
/// one per network and data set that sums up.
fn enriched(all: &[Studied], work: &Work<'_>) -> Result<[Table; 2], Fault> {
    let columns = [
        "data set",
        "network",
        "module",
        "genes",
        "file",
        "sets tested",
        "sets with BH < 0.05",
        "best set",
        "its genes",
        "overlap",
        "expected",
        "p",
        "BH",
    ];
    let caption = "Gene sets in the modules, against the genes of the network (hypergeometric, names matched without regard to case).";
    let mut each = Table::new("enrichment.csv", caption, &columns);
    each.shown = false;
    let columns =
        ["data set", "network", "file", "modules", "modules with a set of BH < 0.05", "sets with BH < 0.05"];
    let caption = "How many modules are enriched for a gene set. Files without five of the genes in a set are left out.";
    let mut summed = Table::new("enrichment_sums.csv", caption, &columns);
    let options = EnrichmentOptions { ignore_case: true, ..EnrichmentOptions::default() };
    for (path, _) in &work.sources.gene_sets {
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let sets = unbraid_io::read_gmt(path)?;
        for s in all {
            let universe: Vec<&str> = s.genes.iter().map(String::as_str).collect();
            let (mut tested, mut modules, mut enriched) = (0, 0, 0);
            for module in 0..s.modules.len() {
                let list: Vec<&str> = s.modules.members(module).into_iter().map(|j| universe[j]).collect();
                let found = over_representation(&list, &universe, &sets, options)?;
                let below = found.iter().filter(|e| e.bh < LEVEL).count();
                tested += found.len();
                modules += usize::from(below > 0);
                enriched += below;
                let Some(best) = found.first() else { continue };
                each.rows.push(cells![
                    s.name.as_str(),
                    NETWORKS[s.network].0,
                    module + 1,
                    s.modules.sizes[module],
                    file.as_str(),
                    found.len(),
                    below,
                    best.set.as_str(),
                    best.size,
                    best.overlap,
                    best.expected,
                    best.p,
                    best.bh
                ]);
            }
            if tested > 0 {
                let count = s.modules.len();
                summed.rows.push(cells![
                    s.name.as_str(),
                    NETWORKS[s.network].0,
                    file.as_str(),
                    count,
                    modules,
                    enriched
                ]);
            }
        }
    }
    Ok([summed, each])
}

fn checks(all: &[Studied], tested: &[Tested]) -> Vec<Check> {
    let mut out = Vec::new();
    for (network, (name, _, _)) in NETWORKS.iter().enumerate() {
        let tests =
            || all.iter().filter(|s| s.network == network).flat_map(|s| &s.tests).filter_map(|t| t.anova);
        let (below, count) = (tests().filter(|a| a.p < LEVEL).count(), tests().count());
        let (modules, without) = PRINTED_MODULES;
        let least = (modules - without) as f64 / modules as f64;
        out.push(Check::number(
            format!("{name}: of the modules of all data sets ({count}) the share that differs between classes is as printed"),
            "paper, §6 (7 of 8 modules)",
            format!("≥ {least:.3} with p < {LEVEL}"),
            (count > 0).then_some(below as f64 / count as f64),
            |v| v >= least,
        ));
    }
    for t in tested {
        let published = t.network == "as published";
        let printed = PRINTED_BAYES[usize::from(t.axis == AXES[1])];
        let (source, expected) = match published {
            true => ("paper, §6 (robin)", format!("> {VERY_STRONG} (printed: {printed})")),
            false => ("the same test on our network", format!("> {VERY_STRONG}")),
        };
        out.push(Check::number(
            format!(
                "{}, {}: ln Bayes factor says very strongly that the communities are robust",
                t.name, t.axis
            ),
            source,
            expected,
            Some(t.result.ln_bayes_ratio),
            |v| v > VERY_STRONG,
        ));
        out.push(Check::number(
            format!("{}, {}: so says the permutation p-value", t.name, t.axis),
            "a test without a model",
            "below 0.01",
            Some(t.result.p),
            |v| v < 0.01,
        ));
    }
    out
}
