use super::*;
use ndarray::Array2;
use unbraid::Seed;
use unbraid::data::{Csr, Dataset, Slot};
use unbraid::graph::edges::connectivities;
use unbraid::graph::knn::expression_neighbours;
use unbraid::graph::{Square, leiden::leiden};
use unbraid::methods::kronecker::stability::Stable;
use unbraid::methods::kronecker::tyler::Side;
use unbraid::metrics::degree::degree_statistics;
use unbraid::metrics::modules::{Hub, ModuleTest};
use unbraid::metrics::network::{LabelOptions, against_truth, judge_top_k};
use unbraid::metrics::robustness::{RobustnessOptions, robustness};
use unbraid::report::{
    Alert, AxisEvaluation, Class, CoxRow, CoxTable, Curve, CurveFigure, Evaluation, Fact, Factors,
    FactorsFigure, Graph, Input, JudgedGraph, LineChart, MapsFigure, ModuleRow, ModuleTable, NamedHub,
    Parameter, Series, SliceFit, SlicesFigure, Split, SurvivalFigure, TailSummary, TruthScores,
};
use unbraid::simulate::kronecker::{EdgeSign, KroneckerDesign};
use unbraid::stats::anova::one_way;

const HOSTILE: &str = "</script><script>alert(1)</script><!--<b>\"'&";

/// The k largest correlations of each row, as a stand-in for a fitted precision.
fn stand_in(x: &Array2<f64>, k: usize) -> Csr {
    let norm = x.rows().into_iter().map(|r| r.dot(&r).sqrt().max(1e-300)).collect::<Vec<_>>();
    let n = x.nrows();
    let mut entries = Vec::new();
    for i in 0..n {
        let mut row: Vec<(f64, usize)> =
            (0..n).filter(|&j| j != i).map(|j| (-x.row(i).dot(&x.row(j)) / norm[i] / norm[j], j)).collect();
        row.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        row.truncate(k);
        for (v, j) in row {
            entries.push((i as u32, j as u32, v));
            entries.push((j as u32, i as u32, v));
        }
        entries.push((i as u32, i as u32, 1.0));
    }
    entries.sort_by_key(|&(i, j, _)| (i, j));
    entries.dedup_by_key(|&mut (i, j, _)| (i, j));
    Csr::from_triplets((n, n), entries)
}

fn example() -> Report {
    let design = KroneckerDesign {
        observations: 160,
        features: 420,
        edges: 2,
        sign: EdgeSign::Mixed,
        noise: 0.3,
        ..Default::default()
    };
    let (data, truth): (Dataset, _) = design.dataset(Seed(3)).unwrap();
    let x = data.x.to_dense();
    let (cells, genes) = (stand_in(&x, 10), stand_in(&x.t().to_owned(), 10));
    let mut names = data.var.names.clone();
    names[7] = HOSTILE.into();
    let Slot::Csr(precision) = &truth.obsp["truth_precision"] else { panic!("the truth is sparse") };
    let labels = leiden(&precision.map(f64::abs), 1.0, Seed(0)).unwrap();
    let titles: Vec<String> =
        (0..=labels.iter().max().map_or(0, |l| *l)).map(|l| format!("community {l}")).collect();
    let (neighbours, name) = expression_neighbours(data.values(), 10, false).unwrap();
    let graphs = [
        Graph { name: "correlation, top 10".into(), k: Some(10), matrix: Square::from(&cells) },
        Graph { name, k: Some(10), matrix: Square::from(&neighbours) },
    ];
    let stable = Stable {
        side: Side::Var,
        nodes: names.len(),
        refits: 100,
        threshold: 0.9,
        counts: (0..200).map(|i| (i, i + 7, 1 + i / 2)).collect(),
        absent: 0,
    };
    Report {
        title: "Networks of cells and genes in kronecker.h5ad".into(),
        charts: vec![LineChart {
            title: HOSTILE.into(),
            x: vec![1.0, 2.0],
            series: vec![Series { name: HOSTILE.into(), values: vec![Some(1.0), None], ..Series::default() }],
            ..LineChart::default()
        }],
        alerts: vec![
            Alert::warning("The fit stopped after 12 steps without reaching the tolerance. The networks are usable; set max_steps higher to see whether they change."),
            Alert { level: Level::Note, text: format!("3 features were left out, among them {HOSTILE}.") },
        ],
        run: Run {
            method: "medmagma".into(),
            about: "Networks among observations and among features at once, from one matrix whose rows and columns carry unknown scales.".into(),
            version: "0.1.0".into(),
            seed: u64::MAX.to_string(),
            seconds: Some(2.4567),
            stop: Some("max_steps".into()),
            inputs: vec![Input {
                name: "kronecker.h5ad".into(),
                slot: "X".into(),
                observations: 160,
                features: 420,
                nonzeros: data.x.nonzeros(),
                sha256: "0123456789abcdef".repeat(4),
            }],
            parameters: Parameter::list(&design),
            facts: vec![
                Fact { name: "threads".into(), value: "2".into() },
                Fact { name: "edges kept".into(), value: "top:10".into() },
            ],
        },
        objective: vec![
            Trace::new("relative change of Ψ", &(1..=12).map(|i| (-f64::from(i)).exp()).collect::<Vec<_>>()),
            Trace::new("log-likelihood", &(1..=12).map(|i| -1e4 - 500.0 / f64::from(i)).collect::<Vec<_>>()),
        ],
        slices: None,
        networks: vec![
            NetworkFigure::new("observations", &data.obs.names, &cells, Seed(0)).unwrap(),
            NetworkFigure::new("features", &names, &genes, Seed(0)).unwrap(),
        ],
        stability: vec![StabilityFigure::new("features", &names, &stable)],
        factors: Some(factors(&names, &labels, &titles)),
        maps: vec![maps("maps of the features", &names), maps(HOSTILE, &names[..1])],
        comparison: Some(
            Comparison::new("truth_community", &labels, &titles, &graphs, Seed(0)).unwrap(),
        ),
        evaluation: Some(evaluation(&cells, &labels, &titles)),
        truth: None,
        blocks: Some(coclusters::tests::figure(HOSTILE)),
        coclusters: Some(coclusters::tests::judged(HOSTILE)),
        explained: Some(explained::tests::figure(HOSTILE)),
        studies: None,
        processes: Some(processes::tests::figure(HOSTILE)),
        survival: Some(survival()),
    }
}

/// Two factors, one of them with an infinite coefficient.
fn survival() -> SurvivalFigure {
    let row = |factor: &str, infinite: bool| {
        let known = |v: f64| (!infinite).then_some(v);
        CoxRow {
            factor: factor.into(),
            coef: known(-0.4),
            hazard_ratio: known(0.67),
            hazard_ratio_low: known(1e-9),
            hazard_ratio_high: known(1.1),
            se: known(0.2),
            z: known(-2.0),
            p: known(0.0455),
            p_bonferroni: known(0.091),
            ph_p: known(0.3),
            infinite,
            positive: true,
        }
    };
    let model = |rows: Vec<CoxRow>| CoxTable {
        rows,
        log_likelihood: -90.0,
        null_log_likelihood: -92.0,
        lr: 4.0,
        lr_p: 0.0455,
        concordance: 0.61,
        steps: 4,
    };
    let rows = || [row("1", false), row(HOSTILE, true)];
    let score: Vec<f64> = (0..60).map(|i| f64::from((i * 17) % 60)).collect();
    let time: Vec<f64> = (0..60).map(|i| f64::from((i * 23) % 50) + score[i as usize] / 3.0).collect();
    let event: Vec<bool> = (0..60).map(|i| i % 4 != 0).collect();
    SurvivalFigure {
        observations: 60,
        events: 45,
        dropped: 1,
        time: HOSTILE.into(),
        ties: "efron".into(),
        split: "tertiles".into(),
        joint: Some(model(rows().to_vec())),
        single: rows().map(|r| model(vec![r])).to_vec(),
        curves: CurveFigure::new(HOSTILE, &score, Split::Tertiles, &time, &event)
            .unwrap()
            .into_iter()
            .collect(),
    }
}

#[test]
fn survival_is_drawn_without_a_script() {
    let page = render(&Report { survival: Some(survival()), ..Report::default() });
    for part in
        ["All factors together", "Each factor alone", "+∞", "middle", "at risk", "Log-rank", "How to read"]
    {
        assert!(page.contains(part), "{part}");
    }
    let body = page.split("unbraid-data").next().unwrap();
    assert!(!body.contains("NaN") && !body.contains(">inf"), "a number that is none is drawn");
    // Two bars of the finite rows; a curve and a band for each third.
    assert_eq!(body.matches("stroke-width=\"2\"").count(), 2 + 2 + 3);
    assert_eq!(body.matches("fill-opacity").count(), 3);
    // The interval that leaves the axis ends in an arrow.
    assert!(body.contains("l-6 4l6 4"));
}

/// Four factors, blocks of the features and of the observations.
fn factors(names: &[String], labels: &[usize], titles: &[String]) -> FactorsFigure {
    let block = |i: usize, n: usize, f: usize| {
        let own = if i * 4 / n == f { 4.0 } else { 0.15 };
        own * (1.0 + ((i * 37 + f * 11) % 17) as f64) / 9.0
    };
    let loadings = Array2::from_shape_fn((names.len(), 4), |(i, f)| block(i, names.len(), f));
    let scores = Array2::from_shape_fn((labels.len(), 4), |(j, f)| block(j, labels.len(), f));
    let factors = Factors {
        loadings: std::borrow::Cow::Borrowed(&loadings),
        relative: false,
        scores: &scores,
        loss: "kl",
    };
    FactorsFigure::new(&factors, names, Some(("type", labels, titles)))
}

/// Maps from deflating to inflating.
fn maps(title: &str, names: &[String]) -> MapsFigure {
    let stretch: Vec<f64> = (0..names.len()).map(|i| ((i * 61) % 101) as f64 / 25.0 - 2.0).collect();
    let curve = |i: usize| {
        let x: Vec<f64> = (0..=40).map(|t| f64::from(t) / 8.0 - 2.5).collect();
        let levels: Vec<f64> = (1..=8).map(|j| f64::from(j) / 8.0).collect();
        let quantile = |b: f64| b.powf(stretch[i].exp2());
        Curve {
            name: names[i].clone(),
            y: x.iter().map(|z| quantile(1.0 / (1.0 + (-z).exp()))).collect(),
            quantiles: levels.iter().map(|b| quantile(*b)).collect(),
            truth: i.is_multiple_of(2).then(|| levels.iter().map(|b| 1.1 * quantile(*b)).collect()),
            stretch: stretch[i],
            x,
            levels,
        }
    };
    MapsFigure::new(title, &stretch, MapsFigure::choose(&stretch).into_iter().map(curve).collect())
}

/// Every part of an evaluation.
fn evaluation(graph: &Csr, labels: &[usize], titles: &[String]) -> Evaluation {
    let graph = connectivities(graph);
    let judged = judge_top_k(&graph, &[5, 10], labels, &LabelOptions::default(), Seed(0)).unwrap();
    let options = RobustnessOptions { shares: vec![0.0, 0.3, 0.6], repeats: 3, ..Default::default() };
    let anova = one_way(&[1.0, 1.0, 2.0, 2.0], &[0, 0, 1, 1]).unwrap();
    let test = ModuleTest { module: 0, mean: 0.4, anova, bonferroni: Some(0.0), bh: Some(0.0) };
    let hub = NamedHub { name: "hub".into(), hub: Hub { vertex: 1, degree: 7, strength: 0.5 } };
    let row = ModuleRow { module: 0, size: 12, share: Some(0.4), test: Some(test), hubs: vec![hub] };
    let areas = against_truth(&graph, &graph).unwrap();
    let mut axis = AxisEvaluation {
        name: "observations".into(),
        degrees: Some(degree_statistics(&graph).unwrap()),
        graphs: vec![JudgedGraph::new("ours", judged)],
        truth: Some(TruthScores { key: "truth".into(), all_pairs: false, scores: areas }),
        modules: Some(ModuleTable {
            resolution: 1.0,
            outside: 2,
            label: Some("type".into()),
            rows: vec![row],
        }),
        robustness: Some(robustness(&graph, &options, Seed(0), &|| {}).unwrap()),
        tail: Some(TailSummary {
            pairs: 1000,
            undefined: 3,
            quantile: 0.93,
            observed: Some(0.3),
            gaussian: Some(0.2),
            independent: 0.07,
            above_gaussian: None,
        }),
        charts: Vec::new(),
    };
    axis.draw();
    Evaluation {
        key: "medmagma".into(),
        label: Some("type".into()),
        classes: Class::list(labels, titles),
        axes: vec![axis],
    }
}

/// Writes the example where one can look at it.
#[test]
fn an_example_page_is_self_contained_and_small() {
    let page = render(&example());
    std::fs::write(std::env::temp_dir().join("unbraid-page-example.html"), &page).unwrap();
    let links = ["src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest"];
    let body = page.replace(CHART_SCRIPT, "").replace(CHART_STYLE, "");
    for link in links {
        assert!(!body.contains(link), "{link}");
    }
    assert!(page.len() < 500_000, "{}", page.len());
    let alerts = page.find("class=\"alert warning\"").unwrap();
    assert!(alerts < page.find("What was run").unwrap());
    assert!(page.contains("18446744073709551615"));
}

#[test]
fn hostile_names_stay_text() {
    let mut report = example();
    report.title = HOSTILE.into();
    for text in [&mut report.run.method, &mut report.run.about, &mut report.run.version, &mut report.run.seed]
    {
        *text = HOSTILE.into();
    }
    report.run.stop = Some(HOSTILE.into());
    let input = &mut report.run.inputs[0];
    for text in [&mut input.name, &mut input.slot, &mut input.sha256] {
        *text = HOSTILE.into();
    }
    for p in &mut report.run.parameters {
        (p.name, p.value, p.about) = (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
    }
    for f in &mut report.run.facts {
        (f.name, f.value) = (HOSTILE.into(), HOSTILE.into());
    }
    for t in &mut report.objective {
        t.name = HOSTILE.into();
    }
    for n in &mut report.networks {
        n.name = HOSTILE.into();
        let heat = n.heat.as_mut().unwrap();
        heat.grouping = HOSTILE.into();
        heat.groups.iter_mut().for_each(|g| g.label = HOSTILE.into());
        n.strongest.iter_mut().for_each(|e| e.source = HOSTILE.into());
    }
    let f = report.factors.as_mut().unwrap();
    f.loss = HOSTILE.into();
    f.factors[0].top[0].name = HOSTILE.into();
    let by = f.labels.as_mut().unwrap();
    (by.label, by.rows[0].name) = (HOSTILE.into(), HOSTILE.into());
    report.maps[0].curves[0].name = HOSTILE.into();
    let c = report.comparison.as_mut().unwrap();
    c.label = HOSTILE.into();
    c.classes.iter_mut().for_each(|class| class.name = HOSTILE.into());
    c.rows.iter_mut().for_each(|row| row.graph = HOSTILE.into());
    let e = report.evaluation.as_mut().unwrap();
    (e.key, e.label) = (HOSTILE.into(), Some(HOSTILE.into()));
    let axis = &mut e.axes[0];
    axis.name = HOSTILE.into();
    axis.graphs[0].graph = HOSTILE.into();
    axis.truth.as_mut().unwrap().key = HOSTILE.into();
    let modules = axis.modules.as_mut().unwrap();
    modules.label = Some(HOSTILE.into());
    modules.rows[0].hubs[0].name = HOSTILE.into();
    // An infinite F is written as null, which is not read back as a number.
    modules.rows[0].test = None;
    axis.draw();
    let page = render(&report);
    // Only our own three script elements, and no comment or mark-up from a name.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script>").count(), 3);
    assert!(!page.contains("<!--") && !page.contains("<b>\""));
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    let start = page.find("id=\"unbraid-data\">").unwrap() + "id=\"unbraid-data\">".len();
    let block = &page[start..start + page[start..].find("</script>").unwrap()];
    assert!(!block.contains('<'));
    let back: Report = serde_json::from_str(block).unwrap();
    assert_eq!(back.title, HOSTILE);
    assert!(back.networks[1].strongest.iter().all(|e| e.source == HOSTILE));
    let cells = |r: &Report| r.networks[1].heat.as_ref().unwrap().cells.clone();
    assert!(cells(&back) == cells(&report));
}

#[test]
fn an_evaluation_shows_every_part_and_no_infinity() {
    let page = render(&example());
    for part in [
        "Network of the <bdi>observations</bdi>: <bdi>medmagma</bdi>",
        "Beside the labels of <code>type</code>",
        "Beside the true network <bdi>truth</bdi>",
        "Only the kept edges are ranked",
        "<td class=\"t\"><bdi>hub (7)</bdi></td>",
        "2 features in communities too small",
        "Robustness of the",
        "Upper-tail dependence",
        "id=\"lines-0-0\"",
        "id=\"lines-0-2\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("inf<") && !page.contains("NaN<"));
}

#[test]
fn factors_and_maps_are_shown_with_all_their_parts() {
    let page = render(&example());
    for part in [
        "<h2>Factors</h2>",
        "id=\"scores\"",
        "Mean scores by <bdi>type</bdi>",
        "<bdi>maps of the features</bdi>",
        "id=\"stretch-1\"",
        "id=\"map-0-23\"",
        "id=\"quantiles-0-23\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("id=\"map-0-24\"") && !page.contains("NaN<"));
    let plain = Report { factors: None, maps: Vec::new(), ..example() };
    assert!(!render(&plain).contains("<h2>Factors</h2>"));
}

#[test]
fn slices_are_shown_with_all_their_parts_and_their_names_stay_text() {
    let n = 40;
    let x = Array2::from_shape_fn((n, 3), |(i, f)| ((7 * i + 3 * f) % 11) as f64);
    let metagenes = Array2::from_shape_fn((6, 3), |(j, f)| ((j + 2 * f) % 6) as f64);
    let beta = Array2::from_elem((2, 3), 1.5);
    let lambda = [Array2::from_shape_fn((3, 3), |(i, j)| (i + j) as f64 - 2.0)];
    let batch: Vec<usize> = (0..n).map(|i| i % 2).collect();
    let places = Array2::from_shape_fn((n, 2), |(i, c)| ((i * (3 + c)) % 13) as f64);
    let names = [HOSTILE.to_owned(), "b".to_owned()];
    let genes = vec![HOSTILE.to_owned(); 6];
    let fit = SliceFit {
        metagenes: metagenes.view(),
        activities: x.view(),
        beta: beta.view(),
        affinity: &lambda,
        difference: None,
        batch: &batch,
        batches: &names,
        places: places.view(),
    };
    let draw = |fit: &SliceFit<'_>| {
        let mut figure = SlicesFigure::new(fit, &genes, Some((HOSTILE, &batch, &names)), Seed(0)).unwrap();
        figure.course.push(LineChart { title: HOSTILE.into(), x: vec![1.0], ..LineChart::default() });
        render(&Report { slices: Some(figure), ..Report::default() })
    };
    let page = draw(&fit);
    assert_eq!(
        page.matches("alert(1)").count(),
        page.matches("&lt;script&gt;alert(1)").count() + page.matches("u003cscript>alert(1)").count()
    );
    for part in [
        "Metagenes in the tissue",
        "What each batch adds",
        "<td>part of all expression</td>",
        "id=\"tissue-2\"",
        "id=\"cells-batch-1\"",
        "id=\"cells-label-0\"",
        "id=\"affinity-0\"",
        "keep together",
        "keep apart",
        "id=\"lines-slices-0\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<h2>Rank</h2>"));
    let none = Array2::zeros((0, 3));
    let page = draw(&SliceFit { beta: none.view(), affinity: &[], ..fit });
    assert!(!page.contains("What each batch adds") && !page.contains("Which metagenes meet"));
    assert!(page.contains("id=\"cells-batch-0\"") && !page.contains("id=\"cells-batch-1\""));
}

#[test]
fn an_empty_report_is_a_page_too() {
    let page = render(&Report::default());
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let odd = Report {
        objective: vec![Trace::new("loss", &[f64::NAN]), Trace::new("none", &[])],
        networks: vec![NetworkFigure::new("x", &[], &Array2::<f64>::zeros((0, 0)), Seed(0)).unwrap()],
        ..Default::default()
    };
    assert!(render(&odd).contains("not finite"));
}

#[test]
fn numbers_read_well() {
    let of = [0.0, 1.0, -0.98765, 1234.567, 0.00012345, 2e9, 99.99999, 0.5].map(number);
    assert_eq!(of, ["0", "1", "−0.9877", "1235", "1.23e−4", "2.00e9", "100", "0.5"]);
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!((plural(1, "step"), plural(2, "step")), ("1 step".into(), "2 steps".into()));
}
