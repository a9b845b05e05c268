//! `simulate multistudy`, `simulate multistudy-rna`, `evaluate factors` and `enrich`.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde_json::Value as Json;
use unbraid::data::{Annotations, Column, Slot, Table, Value};
use unbraid_io::{Fitted, Input};

use crate::Work;

fn json(work: &Work, line: &str) -> Json {
    serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap()
}

/// Adds factors `m` to a file of `simulate multistudy`: the true ones, columns of each block in another order, but for
/// the last one, which is empty.
fn plant(work: &Work, file: &str) {
    let truth = Fitted::read(&work.path(file), "truth", &Default::default()).unwrap();
    let Slot::F64(w) = &truth.slots.varm["truth_loadings"] else { panic!("no loadings") };
    let data = unbraid_io::read(&work.path(file), &Default::default()).unwrap();
    let z = &data.obsm["X_truth"];
    // Shared 0..8, then two for each of three studies.
    let order: Vec<usize> = (0..8).rev().chain([9, 8, 10, 11, 12, 13]).collect();
    let pick = |x: &Array2<f64>| x.select(ndarray::Axis(1), &order);
    let mut loadings = pick(w).mapv(|v| -v);
    loadings.column_mut(13).fill(0.0);
    let mut out = Annotations::default();
    out.varm.insert("m_loadings".into(), Slot::F64(loadings));
    out.obsm.insert("X_m".into(), Slot::F64(pick(z).mapv(|v| 3.0 * v)));
    let mut table = Table::numbered("", 14);
    let study = |k: usize| Some(if k < 8 { "shared".to_owned() } else { format!("study{}", (k - 8) / 2) });
    table.columns.push(("study".into(), Column::Text((0..14).map(study).collect())));
    out.uns.insert("m".into(), Value::Map(BTreeMap::from([("factors".to_owned(), Value::Table(table))])));
    unbraid_io::write_h5ad(&work.path("m.h5ad"), Input::File(&work.path(file)), &out).unwrap();
}

#[test]
fn planted_factors_are_judged_by_study_in_text_json_and_page() {
    let work = Work::new();
    let said = work.ok("simulate multistudy -o toy.h5ad --seed 1 --set observations=60").out;
    assert!(said.contains("180 observations × 100 features"), "{said}");
    plant(&work, "toy.h5ad");
    let found = json(&work, "evaluate factors m.h5ad --report page.html");
    let block = |at: usize| &found["blocks"][at];
    assert_eq!(
        (block(0)["name"].as_str(), block(0)["scores"]["consensus"].as_f64()),
        (Some("shared"), Some(1.0))
    );
    assert_eq!(
        (block(2)["name"].as_str(), block(2)["scores"]["recovery"].as_f64()),
        (Some("study1"), Some(1.0))
    );
    assert_eq!(
        (block(3)["scores"]["found"].as_u64(), block(3)["scores"]["consensus"].as_f64()),
        (Some(1), Some(0.5))
    );
    assert!((found["mean"]["consensus"].as_f64().unwrap() - 2.5 / 3.0).abs() < 1e-12);
    assert!(found["disentanglement"].as_f64().unwrap() > 0.98);
    assert_eq!(found["factors"][0]["found"], 7);
    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    assert!(page.contains("beside <bdi>truth</bdi>") && page.contains("consensus, mean of the studies"));
    let text = work.ok("evaluate factors m.h5ad --set disentanglement=false").out;
    assert!(
        text.contains("mean of the studies") && text.contains("study2") && !text.contains("disentanglement")
    );
    // Weights of 8 and 10 are all below 20, none of the largest of a column's.
    let high = json(&work, "evaluate factors m.h5ad --set threshold=20 --set disentanglement=false");
    assert_eq!(high["all"]["found"], 0);
    let all = json(&work, "evaluate factors m.h5ad --set scale=max --set disentanglement=false");
    assert_eq!(all["all"]["found"], 13);
}

#[test]
fn factors_of_a_method_that_knows_no_studies_are_judged_as_shared() {
    let work = Work::new();
    work.ok("simulate multistudy-rna -o rna.h5ad --set observations=60 --set features=120 --set shared=4 --set specific=1");
    let data = work.read("rna.h5ad");
    assert_eq!(data.obs.columns[0].0, "study");
    work.ok("fit nmf rna.h5ad -o fit.h5ad --set k=5 --set genes=pearson:100");
    let ran = work.ok("evaluate factors fit.h5ad --set scale=max --set threshold=0.3 --json");
    assert!(ran.err.contains("the 100 of 120 features"), "{}", ran.err);
    let found: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((found["features"].as_u64(), found["blocks"].as_array().unwrap().len()), (Some(100), 1));
    assert_eq!(found["mean"], Json::Null);
    assert!((0.0..=1.0).contains(&found["disentanglement"].as_f64().unwrap()));
    assert_eq!(found["factors"].as_array().unwrap().len(), 7);
}

#[test]
fn what_cannot_be_judged_says_what_is_missing() {
    let work = Work::with_data();
    work.ok("fit nmf data.h5ad -o plain.h5ad --set k=2 --set shift=min");
    for (line, code, parts) in [
        ("data.h5ad", 3, &["fitted factors", "unbraid fit nmf"][..]),
        ("plain.h5ad", 3, &["varm[\"truth_supports\"]", "unbraid simulate multistudy"]),
        ("plain.h5ad --key qmf", 3, &["the factors `qmf`", "nmf"]),
        ("plain.h5ad --set threshold=-1", 2, &["threshold"]),
        ("plain.h5ad --set max_share=2", 2, &["max_share"]),
        ("plain.h5ad --set min_support=0", 2, &["min_support"]),
        ("plain.h5ad --report plain.h5ad", 2, &["also the input"]),
    ] {
        work.fails(&format!("evaluate factors {line}"), code, parts);
    }
    work.fails(
        "simulate multistudy -o x.h5ad --set features=20",
        2,
        &["features", "two features of its own"],
    );
    work.fails("fit nmf data.h5ad -o x.h5ad --set min_share=2 --set k=2", 2, &["min_share"]);
}

#[test]
fn gene_sets_of_planted_factors_are_found() {
    let work = Work::new();
    work.ok("simulate multistudy -o toy.h5ad --seed 1 --set observations=20");
    plant(&work, "toy.h5ad");
    // The genes of the shared block 7 and of study 0's second, a wide set, and one of no known gene.
    let line = |name: &str, genes: std::ops::Range<usize>, word: &str| {
        let genes: Vec<String> = genes.map(|g| format!("{word}{g}")).collect();
        format!("{name}\tnone\t{}\n", genes.join("\t"))
    };
    let sets = [
        line("SHARED_7", 63..75, "gene"),
        line("OWN_1", 77..83, "gene"),
        line("ALL", 0..100, "gene"),
        line("OTHER", 0..30, "x"),
    ];
    work.write("sets.gmt", sets.concat());
    work.write("other.gmt", &sets[3]);
    let found = json(&work, "enrich m.h5ad --gmt sets.gmt --set smallest=5 --csv out.csv");
    assert_eq!(
        (found["sets"].as_u64(), found["genes"].as_u64(), found["tested"].as_u64()),
        (Some(3), Some(100), Some(13))
    );
    let factor = |k: usize| &found["factors"][k];
    // Columns were planted in another order: the first is block 7, the ninth study 0's second.
    assert_eq!(factor(0)["shown"], serde_json::json!(["SHARED_7"]));
    assert_eq!(
        (factor(8)["study"].as_str(), factor(8)["shown"][0].as_str()),
        (Some("study0"), Some("OWN_1"))
    );
    assert_eq!((factor(13)["tested"].as_bool(), factor(13)["genes"].as_u64()), (Some(false), Some(0)));
    let table = std::fs::read_to_string(work.path("out.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 13 * 3);
    let text = work.ok("enrich m.h5ad --gmt sets.gmt --set smallest=5").out;
    assert!(text.contains("factor 1 (shared): 12 genes") && text.contains("SHARED_7  12/12 genes"), "{text}");
    for (line, code, parts) in [
        ("m.h5ad --gmt sets.gmt --set level=0", 2, &["level"][..]),
        ("m.h5ad --gmt sets.gmt --set smallest=0", 2, &["sizes"]),
        ("m.h5ad --gmt sets.gmt --set smallest=101", 3, &["a gene set with 101 to 500", "--set smallest"]),
        ("m.h5ad --gmt none.gmt", 3, &["none.gmt"]),
        (
            "m.h5ad --gmt other.gmt",
            3,
            &["no gene of the sets is called as a feature is (`gene0`)", "--symbols"],
        ),
        ("m.h5ad --gmt sets.gmt --symbols name", 3, &["var[\"name\"]"]),
        ("toy.h5ad --gmt sets.gmt", 3, &["fitted factors"]),
        ("m.h5ad --gmt sets.gmt --csv sets.gmt", 2, &["also an input"]),
    ] {
        work.fails(&format!("enrich {line}"), code, parts);
    }
}
