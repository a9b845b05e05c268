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
fn known_columns_explain_planted_factors_in_text_json_and_page() {
    let work = Work::new();
    work.ok("simulate multistudy -o toy.h5ad --seed 1 --set observations=60");
    plant(&work, "toy.h5ad");
    let found =
        json(&work, "evaluate factors m.h5ad --label study --report page.html --set disentanglement=false");
    let explained = &found["explained"];
    assert_eq!(
        (explained["study"].as_str(), explained["columns"][0]["groups"].as_u64()),
        (Some("study"), Some(3))
    );
    // Scores are drawn around 0 in every study, so that no study explains them; beside the truth as before.
    let share = |k: usize| explained["factors"][k]["shares"][0]["all"].as_f64().unwrap();
    assert!((0..14).all(|k| share(k) < 0.2), "{explained}");
    assert_eq!(explained["factors"][8]["shares"][0]["within"], Json::Null);
    assert_eq!(
        (found["all"]["found"].as_u64(), explained["means"][1]["factors"].as_u64()),
        (Some(13), Some(6))
    );
    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    assert!(page.contains("What explains the factors") && page.contains("within studies"));
    let text = work.ok("evaluate factors m.h5ad --label study --set disentanglement=false").out;
    assert!(
        text.contains("explained by study, 180 observations") && text.contains("of one study (6)"),
        "{text}"
    );
    for (line, code, parts) in [
        ("--label none", 3, &["the column `none` in obs", "columns of obs are: study"][..]),
        ("--label study --set study=none", 3, &["the column `none` in obs"]),
    ] {
        work.fails(&format!("evaluate factors m.h5ad {line}"), code, parts);
    }
}

#[test]
fn factors_without_a_truth_are_judged_by_columns_of_numbers_and_labels() {
    let work = Work::with_data();
    let names = unbraid_io::read(&work.path("data.h5ad"), &Default::default()).unwrap().obs.names;
    let line = |(i, n): (usize, &String)| format!("{n}\t{}\tg{}\n", i as f64 / 4.0 + 0.1, i % 2);
    let table: String = names.iter().enumerate().map(line).collect();
    work.write("obs.tsv", format!("cell\tdose\tkind\n{table}"));
    work.ok("fit nmf data.h5ad --obs obs.tsv -o plain.h5ad --set k=2 --set shift=min");
    let found = json(&work, "evaluate factors plain.h5ad --label dose --label kind");
    let explained = &found["explained"];
    assert_eq!((&explained["study"], &explained["columns"][0]["groups"]), (&Json::Null, &Json::Null));
    assert_eq!(explained["columns"][1]["groups"], 2);
    assert_eq!((&found["blocks"], explained["means"].as_array().unwrap().len()), (&Json::Null, 1));
    assert!(explained["factors"][1]["shares"][1]["group"].as_str().unwrap().starts_with('g'));
    let text = work.ok("evaluate factors plain.h5ad --label kind").out;
    assert!(text.contains("explained by kind") && !text.contains("within"), "{text}");
    work.fails("evaluate factors plain.h5ad --label kind --truth truth", 3, &["the true factors"]);
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
    // The same genes by numbers, with their names in a table that has more of them.
    let rows: String = (0..120).map(|g| format!("gene{g}\tS{g}\n")).collect();
    work.write("ids.tsv", format!("id\tsymbol\n{rows}"));
    work.write("symbols.gmt", sets[..3].concat().replace("gene", "S"));
    let line =
        "enrich m.h5ad --gmt symbols.gmt --set smallest=5 --var ids.tsv --label study --report sets.html";
    let named = json(&work, line);
    assert_eq!(named["factors"][8]["shown"], found["factors"][8]["shown"]);
    assert_eq!(named["factors"][8]["enriched"][0]["genes"][0], "S77");
    assert_eq!(
        named["blocks"][1],
        serde_json::json!({"name": "study0", "factors": 2, "tested": 2, "enriched": 1})
    );
    assert_eq!(named["explained"]["columns"][0]["name"], "study");
    let page = std::fs::read_to_string(work.path("sets.html")).unwrap();
    assert!(page.contains("OWN_<wbr>1") && page.contains("Factors of <bdi>study0</bdi>: 1 of 2 enriched"));
    assert!(page.contains("What explains the factors"));
    work.write("few.tsv", "id\tsymbol\nother\tS1\n");
    work.write("two.tsv", "id\tsymbol\tlength\ngene1\tS1\t5\n");
    for (line, code, parts) in [
        (
            "m.h5ad --gmt symbols.gmt --var few.tsv",
            3,
            &["a row of any feature", "\"gene0\"", "\"other\""][..],
        ),
        ("m.h5ad --gmt symbols.gmt --var two.tsv", 2, &["--symbols: symbol, length"]),
        ("m.h5ad --gmt symbols.gmt --var two.tsv --symbols length", 3, &["`length`, a column of texts"]),
        ("m.h5ad --gmt sets.gmt --report m.h5ad", 2, &["also an input"]),
        ("m.h5ad --gmt sets.gmt --set level=0", 2, &["level"]),
        ("m.h5ad --gmt sets.gmt --set common=2", 2, &["common"]),
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
