//! `evaluate network`: what it prints is what the library says, and what it cannot judge is refused.

use serde_json::Value;
use unbraid::data::{Annotations, Column, Csr, Dataset, Matrix};
use unbraid::metrics::network::{LabelOptions, against_truth, judge_top_k};
use unbraid::metrics::ranking::{RankBy, edge_ranking};
use unbraid::{Seed, metrics};
use unbraid_io::Input;

use crate::{Work, counts, dense, simulated};

fn json(work: &Work, line: &str) -> Value {
    serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap()
}

fn axis<'a>(found: &'a Value, name: &str) -> &'a Value {
    found["axes"].as_array().unwrap().iter().find(|a| a["name"] == name).unwrap()
}

/// Counts whose rows carry a type, a stage and a missing label.
fn labelled() -> Dataset {
    let (n, m) = (36, 24);
    let mut x = counts(n, m);
    x.indexed_iter_mut().for_each(|((i, j), v)| {
        if j % 3 == i % 3 {
            *v += 20.0;
        }
    });
    let mut data = Dataset::from_matrix("cells.h5ad", Matrix::Sparse(Csr::from_dense(x.view())));
    let kind = (0..n).map(|i| if i == 0 { None } else { Some(["a", "b", "c"][i % 3].to_owned()) });
    data.obs.columns.push(("kind".into(), Column::Text(kind.collect())));
    data.obs.columns.push(("depth".into(), Column::Float(vec![0.5; n])));
    data
}

#[test]
fn numbers_are_those_of_the_library_on_the_stored_matrices() {
    let work = Work::with_data();
    work.ok("fit medmagma data.h5ad -o fit.h5ad --set keep=dense");
    let before = std::fs::read(work.path("fit.h5ad")).unwrap();
    let found = json(&work, "evaluate network fit.h5ad --truth truth --label truth_community");
    assert_eq!(std::fs::read(work.path("fit.h5ad")).unwrap(), before, "the input is not touched");
    assert_eq!((found["key"].as_str(), found["label"].as_str()), (Some("medmagma"), Some("truth_community")));
    let stored = work.read("fit.h5ad");
    for (name, pairs) in [("observations", &stored.obsp), ("features", &stored.varp)] {
        let (psi, truth) = (dense(&pairs["medmagma_precision"]), dense(&pairs["truth_precision"]));
        let expected = against_truth(&truth, &psi).unwrap();
        let got = &axis(&found, name)["truth"];
        assert_eq!(got["all_pairs"], true);
        assert_eq!(got["edges"].as_u64().unwrap(), expected.edges);
        for (by, areas) in [("magnitude", expected.magnitude), ("signed", expected.signed)] {
            assert_eq!(got[by]["aupr"].as_f64().unwrap(), areas.aupr);
            assert_eq!(got[by]["average_precision"].as_f64().unwrap(), areas.average_precision);
        }
        let curve = edge_ranking(&truth, &psi, RankBy::Magnitude).unwrap();
        assert_eq!(got["chance"].as_f64().unwrap(), curve.chance);
    }
    let data = unbraid_io::read(&work.path("fit.h5ad"), &Default::default()).unwrap();
    let (labels, _) = data.obs.column("truth_community").unwrap().labels().unwrap();
    let psi = dense(&stored.obsp["medmagma_precision"]);
    let expected = judge_top_k(&psi, &[5, 10], &labels, &LabelOptions::default(), Seed(0)).unwrap();
    let graphs = axis(&found, "observations")["graphs"].as_array().unwrap();
    assert_eq!(graphs[0]["graph"], "medmagma");
    assert_eq!(
        serde_json::from_value::<metrics::network::LabelEvaluation>(graphs[0].clone()).unwrap(),
        expected
    );
    let best = expected.best(metrics::network::Score::Ami).unwrap();
    assert_eq!(graphs[0]["best"][0]["value"].as_f64().unwrap(), best.1.ami);
    assert_eq!(graphs[0]["best"][0]["k"].as_u64(), best.0.k.map(|k| k as u64));
    assert!(graphs[1]["graph"].as_str().unwrap().starts_with("nearest neighbours"));
    assert_eq!(graphs[1]["at"][1]["k"], 10);
    assert_eq!(axis(&found, "features")["graphs"].as_array().unwrap().len(), 0);
}

#[test]
fn every_part_is_shown_and_threads_change_nothing() {
    let work = Work::new();
    work.dataset("cells.h5ad", &labelled());
    work.ok("fit medmagma cells.h5ad -o fit.h5ad --set genes=variable:18 --set keep=top:6");
    let line = "evaluate network fit.h5ad --label kind --set parts=all --set repeats=3 --set pairs=50";
    let mut one = json(&work, &format!("{line} --threads 1"));
    let mut four = json(&work, &format!("{line} --threads 4"));
    for found in [&mut one, &mut four] {
        assert!(found["seconds"].take().as_f64().unwrap() > 0.0);
    }
    assert_eq!(one, four);
    assert_eq!((one["observations"].as_u64(), one["features"].as_u64()), (Some(36), Some(18)));
    let (cells, genes) = (axis(&one, "observations"), axis(&one, "features"));
    assert_eq!(genes["degrees"]["vertices"], 18);
    assert_eq!(one["classes"].as_array().unwrap().len(), 4);
    // top:6 is known for 5 and 6.
    let ks: Vec<u64> =
        cells["graphs"][0]["at"].as_array().unwrap().iter().map(|j| j["k"].as_u64().unwrap()).collect();
    assert_eq!(ks, [5, 6]);
    let modules = genes["modules"]["rows"].as_array().unwrap();
    let shares: f64 = modules.iter().map(|m| m["share"].as_f64().unwrap()).sum();
    assert!(!modules.is_empty() && shares > 0.3 && shares < 1.0 + 1e-9, "{shares}");
    for m in modules {
        assert!(m["test"]["anova"]["log10_p"].as_f64().unwrap() < 0.0);
        let hub = m["hubs"][0]["name"].as_str().unwrap();
        assert!(hub.starts_with("var"), "{hub}");
    }
    for axis in [cells, genes] {
        let r = &axis["robustness"];
        assert_eq!(r["real"].as_array().unwrap().len(), 3);
        assert!(r["p"].as_f64().unwrap() > 0.0 && r["ln_bayes"].is_f64());
        // Two or three values of each variable lie above the quantile.
        assert!((0.0..0.3).contains(&axis["tail"]["independent"].as_f64().unwrap()));
        assert_eq!(axis["tail"]["pairs"], 50);
    }
    let ran = work.ok(&format!("{line} --report page.html"));
    for part in [
        "medmagma in fit.h5ad: 36 observations × 18 features",
        "by `kind` (4 classes); communities: best of 12 Leiden resolutions from 0.1 to 2, unweighted",
        "nearest neighbours (18 PCs of log1p)",
        "modules at resolution 1",
        "under perturbation, 3 repeats",
        "upper-tail dependence at quantile 0.93, 50 random pairs",
        "wrote page.html",
    ] {
        assert!(ran.out.contains(part), "{part} is not in {}", ran.out);
    }
    assert!(!ran.err.contains('█') && ran.err.is_empty(), "no bar off a terminal: {}", ran.err);
    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    assert!(page.contains("id=\"lines-0-2\"") && page.contains("Modules of features"));
    let plain = work.ok("evaluate network fit.h5ad");
    assert!(
        plain.out.contains("next: --label COLUMN judges by known classes; columns are kind\n"),
        "{}",
        plain.out
    );
    assert!(!plain.out.contains("perturbation") && plain.out.contains("hubs"));
}

#[test]
fn graphs_that_hold_no_ranks_are_judged_as_they_are() {
    let work = Work::with_data();
    work.ok("fit medmagma data.h5ad -o fit.h5ad --set keep=fraction:0.1");
    let line = "evaluate network fit.h5ad --label truth_community --truth truth --set neighbours=3";
    let ran = work.ok(line);
    assert!(ran.err.contains("judged as it is"), "{}", ran.err);
    assert!(ran.err.contains("--set keep=dense to rank every pair"), "{}", ran.err);
    // Negative values have no shares.
    assert!(ran.err.contains("X holds -") && ran.err.contains("--layer"), "{}", ran.err);
    let found = json(&work, line);
    let graphs = &axis(&found, "observations")["graphs"];
    assert_eq!(graphs[0]["at"][0]["k"], Value::Null);
    assert!(graphs[1]["at"][0]["k"].as_u64().unwrap() >= 1);
    assert_eq!(axis(&found, "observations")["truth"]["all_pairs"], false);
    // A graph of another program, without a precision.
    let data = Dataset::from_matrix("x", Matrix::Dense(counts(12, 9)));
    let mut slots = Annotations::default();
    let ring = (0..12u32).flat_map(|i| [(i, (i + 1) % 12, 1.0), ((i + 1) % 12, i, 1.0)]).collect();
    slots
        .obsp
        .insert("mine_connectivities".into(), unbraid::data::Slot::Csr(Csr::from_triplets((12, 12), ring)));
    unbraid_io::write_h5ad(&work.path("ring.h5ad"), Input::Dataset(&data), &slots).unwrap();
    let found = json(&work, "evaluate network ring.h5ad");
    assert_eq!(found["axes"].as_array().unwrap().len(), 1);
    assert_eq!(axis(&found, "observations")["degrees"]["components"], 1);
    assert_eq!(axis(&found, "observations")["degrees"]["median"], 2.0);
}

#[test]
fn what_cannot_be_judged_is_refused_with_what_there_is() {
    let work = Work::with_data();
    work.ok("fit medmagma data.h5ad -o one.h5ad");
    work.ok("fit gmgm one.h5ad -o two.h5ad");
    work.write("page.html", "an earlier page");
    work.write("x.csv", "a,b\n1,2\n");
    let mut odd = simulated(12, 9, 1);
    odd[[2, 3]] = f64::NAN;
    let mut slots = Annotations::default();
    slots
        .obsp
        .insert("k_connectivities".into(), unbraid::data::Slot::Csr(Csr::from_triplets((12, 12), vec![])));
    let data = Dataset::from_matrix("odd", Matrix::Dense(odd));
    unbraid_io::write_h5ad(&work.path("odd.h5ad"), Input::Dataset(&data), &slots).unwrap();
    for (line, code, parts) in [
        ("data.h5ad", 3, &["data.h5ad: a fitted network is missing", "unbraid fit medmagma"][..]),
        ("two.h5ad", 2, &["several networks", "--key: gmgm, medmagma"]),
        ("two.h5ad --key tyler", 3, &["the network `tyler` is missing", "gmgm, medmagma"]),
        ("one.h5ad --key a/b", 3, &["the network `a/b` is missing"]),
        ("one.h5ad --label kind", 3, &["`kind` in obs is missing", "truth_community"]),
        ("one.h5ad --truth other", 3, &["the true network `other` is missing", "medmagma, truth"]),
        ("one.h5ad --layer none", 3, &["layers[\"none\"]", "choose one of the layers X"]),
        ("x.csv", 3, &["x.csv: the file", "networks are stored in .h5ad files"]),
        ("nowhere.h5ad", 3, &["nowhere.h5ad", "must exist"]),
        ("odd.h5ad", 3, &["odd.h5ad: X holds NaN at row 2, column 3", "observation `obs2`"]),
        ("one.h5ad --label truth_community --set neighbours=11", 2, &["`neighbours` is 11", "keep=dense"]),
        ("one.h5ad --set neighbours=0", 2, &["neighbours=0", "whole numbers from 1"]),
        ("one.h5ad --set parts=leaves", 2, &["parts=leaves", "robustness, tail, usual, all"]),
        ("one.h5ad --set resolutions=1:2", 2, &["LOW:HIGH:COUNT"]),
        ("one.h5ad --set repeats=1", 2, &["`repeats` is 1", "at least 2"]),
        ("one.h5ad --set quantile=1", 2, &["`quantile` is 1"]),
        ("one.h5ad --set nonsense=1", 2, &["no parameter `nonsense`", "module_resolution"]),
        ("one.h5ad --threads 0", 2, &["--threads"]),
        ("one.h5ad --report one.h5ad", 2, &["also the input"]),
        ("one.h5ad --report nowhere/page.html", 4, &["nowhere/page.html"]),
        ("two.h5ad --report page.html", 2, &["several networks"]),
    ] {
        work.fails(&format!("evaluate network {line}"), code, parts);
    }
    assert_eq!(std::fs::read_to_string(work.path("page.html")).unwrap(), "an earlier page");
}
