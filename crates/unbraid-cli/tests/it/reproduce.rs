//! `unbraid reproduce` on tiny sizes: every file, the same bits again, nothing reused that should not be.

use std::collections::BTreeMap;

use unbraid::data::{Annotations, Column, Dataset, Matrix, Selection};
use unbraid_io::Input;

use crate::{Work, counts, gz, mtx};

const TINY: &str = "--set seeds=1 --set points=2 --set rows=12 --set columns=14 --set large_rows=12 \
                    --set large_columns=13 --set resolutions=2 --set pairs=20 --set repeats=2 --set averaged=1";

/// A data set whose two classes differ in two blocks of genes.
fn labelled(n: usize, m: usize) -> Dataset {
    let mut x = counts(n, m);
    x.indexed_iter_mut().for_each(|((i, j), v)| {
        if i % 2 == usize::from(j < m / 2) {
            *v *= 5.0;
        }
    });
    let mut data = Dataset::from_matrix("cells", Matrix::Dense(x));
    let categories = ["a".to_owned(), "<b>".to_owned()].to_vec();
    let codes = (0..n as u32).map(|i| Some(i % 2)).collect();
    data.obs.columns.push(("kind".into(), Column::Categorical { codes, categories, ordered: false }));
    data
}

/// A folder `data` with one file, one folder of a matrix, published results, a graph, and what is no data.
fn with_data() -> Work {
    let work = Work::new();
    std::fs::create_dir_all(work.path("data/deep/images")).unwrap();
    work.dataset("data/<cells>.h5ad", &labelled(24, 20));
    work.write("data/deep/images/X.mtx.gz", gz(mtx(&counts(16, 18))));
    work.write("data/deep/images/row_labels.txt", "0\n1\n2\n0\n".repeat(4));
    work.h5ad("data/unlabelled.h5ad", Matrix::Dense(counts(12, 12)));
    let published = ",assortativity,ami,dataset_name\nEM,0.5,0.6,<cells>\nGmGM,0.1,,E-1\n";
    work.write("data/medmagma_published_results_30_datasets.csv", published);
    let ring: String =
        (0..20).map(|i| format!("<edge source=\"n{i}\" target=\"n{}\"/>\n", (i + 1) % 20)).collect();
    let nodes: String = (0..20).map(|i| format!("<node id=\"n{i}\"/>\n")).collect();
    work.write("data/median_cell_graph.graphml", format!("<graphml>{nodes}{ring}</graphml>"));
    let genes = |from: usize| (from..from + 8).map(|j| format!("\tVAR{j}")).collect::<String>();
    work.write("data/sets.gmt", format!("first\tx{}\nsecond\tx{}\n", genes(0), genes(10)));
    work.write("data/notes.txt", "nothing");
    work
}

fn files(work: &Work, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let all = std::fs::read_dir(work.path(folder)).unwrap().map(|e| e.unwrap());
    let all = all.filter(|e| e.path().is_file());
    all.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

fn text(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(files.get(name).unwrap_or_else(|| panic!("no {name}")).clone()).unwrap()
}

#[test]
fn a_tiny_run_writes_every_part_and_the_same_bits_on_any_number_of_threads() {
    let work = with_data();
    let ran = work.ok(&format!("reproduce medmagma -o one --data data --json --threads 1 {TINY}"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((said["paper"].as_str(), said["parts"].as_array().unwrap().len()), (Some("medmagma"), 4));
    let one = files(&work, "one");
    for name in [
        "checks.csv",
        "comparison.csv",
        "comparison_means.csv",
        "comparison_paired.csv",
        "comparison_sets.csv",
        "enrichment.csv",
        "enrichment_sums.csv",
        "figure1.svg",
        "figure1_sets.svg",
        "figure2.svg",
        "figure3.svg",
        "figure3_comparison.svg",
        "figure3_published.svg",
        "figure4.svg",
        "figure4_sets.svg",
        "figure4_robustness.svg",
        "figure5.svg",
        "figure6.svg",
        "index.html",
        "modules.csv",
        "robustness.csv",
        "synthetic.csv",
        "synthetic_medians.csv",
        "tails.csv",
        "tails_pairs.csv",
    ] {
        let content = text(&one, name);
        assert!(!content.contains("NaN") && !content.contains("inf,"), "{name}");
    }
    let listed: Vec<&str> = said["files"].as_array().unwrap().iter().filter_map(|f| f.as_str()).collect();
    assert_eq!(listed.len(), one.len() - 4, "all but the four kept parts: {listed:?}");
    // Four curves, two points, four methods, and the head.
    assert_eq!(text(&one, "synthetic.csv").lines().count(), 4 * 2 * 4 + 1);
    let sets = text(&one, "comparison_sets.csv");
    assert!(
        sets.contains("<cells>,24,20,") && sets.contains("images,16,18,") && sets.lines().count() == 3,
        "{sets}"
    );
    let page = text(&one, "index.html");
    assert!(page.contains("&lt;cells&gt;") && !page.contains("<cells>") && !page.contains("<b>a"));
    assert!(page.contains("unlabelled is left out: it has no categorical column"));
    assert_eq!(page.matches("<svg ").count(), 11);
    assert!(
        text(&one, "robustness.csv").contains("authors&#39; graph")
            || text(&one, "robustness.csv").contains("authors' graph")
    );

    work.ok(&format!("reproduce medmagma -o two --data data --threads 2 {TINY}"));
    let two = files(&work, "two");
    assert!(one.keys().eq(two.keys()));
    for (name, content) in &one {
        assert!(*content == two[name], "{name} differs");
    }
}

#[test]
fn a_part_is_taken_from_before_only_when_nothing_changed() {
    let work = Work::new();
    let run = |more: &str| work.ok(&format!("reproduce medmagma -o out --only synthetic {TINY} {more}"));
    run("");
    let first = files(&work, "out");
    let kept = text(&first, "synthetic.part.json");
    let marked = kept.replace("Simulated data:", "Marked data:");
    assert_ne!(kept, marked);
    work.write("out/synthetic.part.json", &marked);
    assert!(run("").out.starts_with("Marked data:"), "the part is not run again");
    assert!(run("--seed 1").out.starts_with("Simulated data:"), "another seed is another run");
    assert_ne!(files(&work, "out")["synthetic.csv"], first["synthetic.csv"]);
    work.write("out/synthetic.part.json", &marked);
    assert!(run("--set points=3").out.starts_with("Simulated data:"), "other sizes are another run");
    for damaged in [marked[..marked.len() / 2].to_owned(), String::new(), "{}".into()] {
        work.write("out/synthetic.part.json", damaged);
        assert!(run("").out.starts_with("Simulated data:"), "a damaged part is run again");
    }
    assert_eq!(files(&work, "out"), first);
}

#[test]
fn wrong_usage_and_bad_data_are_named() {
    let work = with_data();
    let fails = |line: &str, code, parts: &[&str]| {
        work.fails(&format!("reproduce medmagma {line}"), code, parts);
    };
    fails("-o out --only comparison", 2, &["--only comparison", "--data DIR"]);
    fails("-o out --data nowhere", 3, &["nowhere", "no such file or folder"]);
    fails("-o out --set points=1", 2, &["`points` is 1", "at least 2"]);
    fails("-o out --set sedes=1", 2, &["`sedes`", "Did you mean `seeds`?"]);
    fails("-o out --data data --label kind", 2, &["FILE.h5ad=COLUMN"]);
    fails("-o out --data data --label other.h5ad=kind", 2, &["other.h5ad", "under --data"]);
    assert!(!work.path("out").exists(), "nothing is written before the arguments are known to be good");
    fails(
        &format!("-o out --data data --only tails --label unlabelled.h5ad=kind {TINY}"),
        3,
        &["obs column `kind`", "columns are"],
    );
    work.write("data/deep/images/row_labels.txt", "0\n1\n");
    fails(&format!("-o out --data data --only tails {TINY}"), 3, &["row_labels.txt", "one line per row"]);
    work.write("file", "");
    fails("-o file", 4, &["file"]);
    let ran = work.run("reproduce nature -o out");
    assert!(ran.code == 2 && ran.err.contains("medmagma"), "{}", ran.err);
}

/// `reproduce qmf` at sizes where every part takes a moment.
const SMALL: &str = "--quick --set seeds=2 --set features=20 --set samples=16 --set k=2 --set levels=4 --set epochs=12 \
                     --set outer=4 --set inner=5 --set held=3 --set sweep_features=16 --set sweep_samples=16 \
                     --set sweep_epochs=3 --set sweep_outer=2 --set longest=64";

/// Its parts whose files do not hold times.
const SIMULATED: &str = "--only toy --only new-samples --only sweeps";

#[test]
fn the_qmf_paper_writes_every_part_without_data_and_the_same_bits_on_any_number_of_threads() {
    let work = Work::new();
    let ran =
        work.ok(&format!("reproduce qmf -o one --json --threads 1 --only jacobian {SIMULATED} {SMALL}"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((said["paper"].as_str(), said["parts"].as_array().unwrap().len()), (Some("qmf"), 4));
    let one = files(&work, "one");
    for name in [
        "epoch.csv",
        "figure2.svg",
        "figure4.svg",
        "figure5.svg",
        "figure6.svg",
        "index.html",
        "jacobian.csv",
        "new_samples.csv",
        "new_samples.svg",
        "sweeps.csv",
        "toy.csv",
    ] {
        let content = text(&one, name);
        assert!(!content.contains("NaN") && !content.contains("inf,"), "{name}");
    }
    // Three methods on two data sets, and the head.
    assert_eq!(text(&one, "toy_runs.csv").lines().count(), 3 * 2 + 1);
    let new = text(&one, "new_samples.csv");
    assert!(["QMFQ,2,", "QMF,2,", "NMF,2,", "feature means,2,"].iter().all(|m| new.contains(m)), "{new}");
    let page = text(&one, "index.html");
    assert!(
        page.contains("QMF and QMFQ, reproduced") && page.contains("Cuturi, Teboul, Niles-Weed and Vert")
    );
    assert_eq!(page.matches("<svg ").count(), 5);

    work.ok(&format!("reproduce qmf -o two --threads 2 {SIMULATED} {SMALL}"));
    let two = files(&work, "two");
    assert_eq!(two.len(), one.len() - 4, "all but the times");
    let shared = |name: &&String| !["checks.csv", "index.html"].contains(&name.as_str());
    for name in two.keys().filter(shared) {
        assert!(one[name] == two[name], "{name} differs");
    }
}

#[test]
fn a_part_of_the_qmf_paper_is_run_again_only_when_something_changed() {
    let work = Work::new();
    let run = |more: &str| work.ok(&format!("reproduce qmf -o out --only new-samples {SMALL} {more}"));
    run("");
    let kept = text(&files(&work, "out"), "new-samples.part.json");
    let marked = kept.replace("New samples", "Marked samples");
    assert_ne!(kept, marked);
    work.write("out/new-samples.part.json", &marked);
    assert!(run("").out.starts_with("Marked samples"), "the part is not run again");
    assert!(run("--set held=4").out.starts_with("New samples"), "other sizes are another run");
    let fails = |line: &str, parts: &[&str]| {
        work.fails(&format!("reproduce qmf {line}"), 2, parts);
    };
    fails("-o new --only synthetic", &["synthetic", "new-samples"]);
    fails("-o new --set levels=1", &["`levels` is 1", "at least 2"]);
    fails("-o new --set ephocs=1", &["`ephocs`", "Did you mean `epochs`?"]);
    assert!(!work.path("new").exists(), "nothing is written before the arguments are known to be good");
}

/// `reproduce mssvae` at sizes where every part takes a moment.
const FEW: &str = "--quick --set seeds=2 --set observations=40 --set features=100 --set epochs=3 --set rna_observations=240 \
                   --set rna_features=130 --set rna_epochs=2 --set rna_hidden=[8,8] --set linear_steps=5";

#[test]
fn the_mssvae_paper_writes_every_part_and_the_same_figures_on_any_number_of_threads() {
    let work = Work::new();
    let ran = work.ok(&format!("reproduce mssvae -o one --json --threads 1 {FEW}"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((said["paper"].as_str(), said["parts"].as_array().unwrap().len()), (Some("mssvae"), 4));
    let runs = std::fs::read_dir(work.path("one/runs")).unwrap().count();
    assert_eq!(runs, 2 * 5 + 5);
    std::fs::rename(work.path("one/runs"), work.path("runs")).unwrap();
    let one = files(&work, "one");
    let drawn: Vec<&String> = one.keys().filter(|n| n.ends_with(".svg")).collect();
    assert!(drawn.len() >= 9, "{drawn:?}");
    for name in drawn.iter().map(|n| n.as_str()).chain(["gaussian.csv", "rna.csv", "worst.csv", "index.html"])
    {
        let content = text(&one, name);
        assert!(!content.contains("NaN") && !content.contains("inf,"), "{name}");
    }
    assert_eq!(text(&one, "gaussian_runs.csv").lines().count(), 2 * 5 + 1);
    let page = text(&one, "index.html");
    assert!(page.contains("MSSVAE, reproduced") && page.contains("shorter than the published 800"));

    work.ok(&format!("reproduce mssvae -o two --threads 2 {FEW}"));
    std::fs::rename(work.path("two/runs"), work.path("runs_two")).unwrap();
    let two = files(&work, "two");
    assert!(one.keys().eq(two.keys()));
    for name in drawn {
        assert!(one[name] == two[name], "{name} differs");
    }
}

#[test]
fn runs_of_the_mssvae_paper_are_kept_one_by_one() {
    let work = Work::new();
    let run = |more: &str| work.ok(&format!("reproduce mssvae -o out --only gaussian {FEW} {more}"));
    run("");
    let path = "out/runs/gaussian-linear-0.json";
    let kept = std::fs::read_to_string(work.path(path)).unwrap();
    let mut marked: serde_json::Value = serde_json::from_str(&kept).unwrap();
    marked["outcome"]["seconds"] = 54321.5.into();
    work.write(path, marked.to_string());
    let table = |more: &str| {
        std::fs::remove_file(work.path("out/gaussian.part.json")).unwrap();
        run(more);
        text_of(&work, "out/gaussian_runs.csv")
    };
    assert!(table("").contains("54321.5"), "the run is not run again");
    assert!(table("--set rna_epochs=3").contains("54321.5"), "other sizes of other data change nothing");
    assert!(!table("--set observations=41").contains("54321.5"), "other data are another run");
    work.write(path, "{}");
    assert!(!table("").contains("54321.5"), "a damaged run is run again");
    let count = |more: &str| table(more).lines().count() - 1;
    assert_eq!(count("--set methods=mssvae,linear:1"), 2 + 1, "the second method on the first data set only");
    for (line, parts) in [
        ("-o new --only genomics", ["genomics", "gaussian"]),
        ("-o new --set methods=mssvea", ["`mssvea` is not a method", "mssvae, told"]),
        ("-o new --set rna_each=[3,0]", ["`batch` is 0", "at least 4"]),
        ("-o new --set seeds=0", ["`seeds` is 0", "at least 1"]),
        ("-o new --set rna_rate=0", ["`learning_rate` is 0", "positive"]),
    ] {
        work.fails(&format!("reproduce mssvae {line}"), 2, &parts);
    }
    assert!(!work.path("new").exists(), "nothing is written before the arguments are known to be good");
}

fn text_of(work: &Work, path: &str) -> String {
    std::fs::read_to_string(work.path(path)).unwrap()
}

#[test]
fn svcc_writes_every_part_keeps_its_runs_and_takes_tables_and_expression_from_a_folder() {
    let work = Work::new();
    let tiny = "--quick --set seeds=2 --set few=1 --set side=40 --set epochs=2 --set pretrain=1 --set draws=1000 --set genes=20 --set gene_clusters=3";
    let ran = work.ok(&format!("reproduce svcc -o one --json --threads 1 {tiny}"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((said["paper"].as_str(), said["parts"].as_array().unwrap().len()), (Some("svcc"), 4));
    let one = files(&work, "one");
    for name in [
        "ablation.csv",
        "corruption.csv",
        "corruption.svg",
        "estimators.csv",
        "index.html",
        "printed.csv",
        "tables.csv",
        "tables.svg",
        "tables_runs.csv",
    ] {
        let content = text(&one, name);
        assert!(!content.contains("NaN") && !content.contains("inf,"), "{name}");
    }
    // Two drawn tables, six methods once and SVCC and SVCC from ITCC at three stages.
    assert_eq!(text(&one, "tables.csv").lines().count(), 1 + 2 * (5 + 2 * 3));
    assert_eq!(text(&one, "corruption.csv").lines().count(), 1 + 2 * 8 * 5);
    assert!(text(&one, "ablation.csv").contains("drawn_o,no cross-loss,"));
    let page = text(&one, "index.html");
    assert!(page.contains("SVCC, reproduced") && page.contains("Vinod and Bajaj"));
    // The same bits on other threads, but for seconds.
    work.ok(&format!("reproduce svcc -o two --threads 2 {tiny} --only corruption --only estimators"));
    let two = files(&work, "two");
    for name in ["corruption.csv", "corruption.svg", "estimators.csv"] {
        assert_eq!(one[name], two[name], "{name}");
    }
    // A run that is kept is not run again: its seconds stay.
    std::fs::remove_file(work.path("one/tables.part.json")).unwrap();
    work.ok(&format!("reproduce svcc -o one --only tables {tiny}"));
    assert_eq!(files(&work, "one")["tables_runs.csv"], one["tables_runs.csv"]);
    // Tables and expression of a folder.
    std::fs::create_dir_all(work.path("data/blocks")).unwrap();
    work.write("data/blocks/X.mtx.gz", gz(mtx(&counts(24, 18))));
    work.write("data/blocks/row_labels.txt", "0\n1\n2\n0\n".repeat(6));
    work.dataset("data/cells.h5ad", &labelled(24, 20));
    let ran = work.ok(&format!("reproduce svcc -o three --data data --only tables --only expression {tiny}"));
    assert!(ran.out.contains("Cells by expression"), "{}", ran.out);
    let three = files(&work, "three");
    assert!(
        text(&three, "tables.csv").contains("blocks,ITCC,")
            && text(&three, "expression.csv").contains("cells,24,20,2,")
    );
    work.write("data/blocks/row_labels.txt", "0\n1\n");
    work.fails(
        &format!("reproduce svcc -o x --data data --only tables {tiny}"),
        3,
        &["row_labels.txt", "one line for each line of X"],
    );
    work.fails(&format!("reproduce svcc -o x --only expression {tiny}"), 2, &["--data DIR"]);
    work.fails("reproduce svcc -o x --set seeds=0", 2, &["`seeds` is 0"]);
    work.fails("reproduce svcc -o x --data nowhere", 3, &["nowhere"]);
}

#[test]
fn batchblend_writes_every_part_keeps_its_runs_and_takes_slices_from_a_folder() {
    let work = Work::new();
    let tiny = "--set sets=1 --set side=8 --set grid_seeds=1 --set strengths=0,2 --set touched=0.5 --set seeds=1 --set genes=20 --set k=3";
    std::fs::create_dir_all(work.path("data")).unwrap();
    work.ok("simulate msrt -o data/tissue.h5ad --seed 3 --set side=8");
    // One slice of these with its labels is a section; both without labels are batches without labels.
    let read = |name: &str| unbraid_io::read(&work.path(name), &unbraid_io::ReadOptions::default()).unwrap();
    let write = |name: &str, data: &Dataset| {
        unbraid_io::write_h5ad(&work.path(name), Input::Dataset(data), &Annotations::default()).unwrap()
    };
    let tissue = read("data/tissue.h5ad");
    let half = Selection { obs: Some((0..tissue.obs.len() / 2).collect()), var: None };
    write("data/section.h5ad", &tissue.select(&half));
    let mut bare = tissue.clone();
    bare.obs.columns.retain(|(name, _)| name == "batch");
    write("data/bare.h5ad", &bare);
    let ran = work.ok(&format!("reproduce batchblend -o one --data data --json --threads 1 {tiny}"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((said["paper"].as_str(), said["parts"].as_array().unwrap().len()), (Some("batchblend"), 5));
    let one = files(&work, "one");
    for name in [
        "affinities.svg",
        "cell_types.svg",
        "figure3_5.svg",
        "figure3_6.svg",
        "figure3_7.svg",
        "grid.csv",
        "index.html",
        "affinities_section_counts.svg",
        "meetings.csv",
        "metagenes.svg",
        "metagenes_bare_logs.svg",
        "metagenes_popari.svg",
        "metagenes_section_logs.svg",
        "pictures.csv",
        "scores.csv",
        "sizes.svg",
        "slices.csv",
        "slices_runs.csv",
        "table3_1.csv",
        "table3_1.svg",
        "table3_4.csv",
        "umap.svg",
        "umap_popari.svg",
        "umap_thesis.svg",
        "umap_types.svg",
        "unlabelled.csv",
    ] {
        assert!(one.contains_key(name), "no {name}");
    }
    let table = text(&one, "table3_1.csv");
    assert!(table.contains("BATCHBLEND,printed,0.833,0.547,0.061,0.012,0.479"), "{table}");
    // The slices, and the section in halves under two effects.
    assert_eq!(text(&one, "slices.csv").lines().count(), 1 + 3 * 2 * 10);
    assert!(text(&one, "slices.csv").contains("section, halves, one adds"));
    assert_eq!(text(&one, "unlabelled.csv").lines().count(), 1 + 2 * 6);
    assert_eq!(text(&one, "meetings.csv").lines().count(), 1 + 2 * 2);
    // The same bits on other threads, but for seconds.
    work.ok(&format!("reproduce batchblend -o two --data data --threads 2 {tiny}"));
    let two = files(&work, "two");
    for name in [
        "grid.csv",
        "table3_1.csv",
        "umap.svg",
        "metagenes.svg",
        "pictures.csv",
        "meetings.csv",
        "unlabelled.csv",
    ] {
        assert_eq!(one[name], two[name], "{name}");
    }
    // A run that is kept is not run again: its seconds stay.
    let runs = work.path("one/runs");
    assert!(std::fs::read_dir(&runs).unwrap().count() >= 7 + 8 + 16);
    std::fs::remove_file(work.path("one/slices.part.json")).unwrap();
    work.ok(&format!("reproduce batchblend -o one --data data --only slices {tiny}"));
    assert_eq!(files(&work, "one")["slices_runs.csv"], one["slices_runs.csv"]);
    work.fails(&format!("reproduce batchblend -o x --only slices {tiny}"), 2, &["--data DIR"]);
    work.fails(&format!("reproduce batchblend -o x --only patterns {tiny}"), 2, &["--data DIR", "section"]);
    work.fails("reproduce batchblend -o x --set touched=2", 2, &["`touched` is 2", "from 0 to 1"]);
    work.fails("reproduce batchblend -o x --set strengths=0,much", 2, &["strengths", "`much` is no number"]);
    work.fails("reproduce batchblend -o x --data nowhere", 3, &["nowhere"]);
}
