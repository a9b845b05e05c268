//! Clusters of rows and columns: what is written, told and shown, and what is refused.

use ndarray::Array2;
use unbraid::data::{Column, Matrix};

use crate::{Work, assert_finite, dense, dict};

/// Labels of observations or of features under a name.
fn labels(work: &Work, var: bool, key: &str) -> (Vec<Option<u32>>, usize) {
    let data = unbraid_io::read(&work.path("fit.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    match (if var { &data.var } else { &data.obs }).column(key) {
        Some(Column::Categorical { codes, categories, .. }) => (codes.clone(), categories.len()),
        other => panic!("{key}: {other:?}"),
    }
}

/// `b.h5ad`: planted blocks of 90 observations and 70 features.
fn blocks() -> Work {
    let work = Work::new();
    let said = work
        .ok("simulate blocks -o b.h5ad --seed 1 --set observations=90 --set features=70 --set rows=3 --set cols=3 --set contrast=1.2 --set mean=4")
        .out;
    assert!(said.contains("next: unbraid fit itcc b.h5ad"), "{said}");
    work
}

#[test]
fn clusters_are_written_told_shown_and_judged() {
    let work = blocks();
    for method in ["svcc", "itcc", "spectral-coclustering", "lbm", "nmtf", "kmeans"] {
        let short = if method == "svcc" {
            " --set epochs=30 --set hidden=64,32 --set learning_rate=2e-3 --set restarts=1"
        } else {
            ""
        };
        let said = work
            .ok(&format!(
                "fit {method} b.h5ad -o fit.h5ad --set rows=3 --set cols=3 --label truth --report page.html{short}"
            ))
            .out;
        assert!(said.contains("3 clusters of observations: "), "{said}");
        assert!(said.contains("nats of information"), "{said}");
        assert_finite(&work.path("fit.h5ad"));
        let fit = work.read("fit.h5ad");
        for (var, lines) in [(false, 90), (true, 70)] {
            let (codes, clusters) = labels(&work, var, method);
            assert_eq!((codes.len(), clusters), (lines, 3), "{method}");
        }
        if method == "lbm" {
            let soft = dense(&fit.obsm["lbm_membership"]);
            assert!(soft.rows().into_iter().all(|r| (r.sum() - 1.0).abs() < 1e-9));
        }
        assert!(dict(&fit.uns, method).contains_key("blocks"));
        let page = std::fs::read_to_string(work.path("page.html")).unwrap();
        assert!(
            page.contains("Heat map of the blocks") && page.contains("The classes were not used"),
            "{method}"
        );
        let judged = work.ok("evaluate coclusters fit.h5ad --json --report e.html").out;
        let judged: serde_json::Value = serde_json::from_str(&judged).unwrap();
        assert_eq!(judged["clusters"], serde_json::json!([3, 3]));
        assert_eq!(judged["blocks"]["classes"], 9);
        if method == "itcc" {
            assert!(judged["rows"]["nmi"].as_f64().unwrap() > 0.8, "{judged}");
            assert!(judged["kept"].as_f64().unwrap() > 0.05);
        }
        assert!(std::fs::read_to_string(work.path("e.html")).unwrap().contains("Purity takes the largest"));
    }
    let said = work.ok("evaluate coclusters fit.h5ad").out;
    assert!(said.contains("accuracy") && said.contains("cells"), "{said}");
}

#[test]
fn a_stored_fit_assigns_new_rows_as_the_fit_did() {
    let work = blocks();
    work.ok("fit svcc b.h5ad -o fit.h5ad --set rows=3 --set cols=3 --set hidden=64,32 --set learning_rate=2e-3 --set restarts=1 --set polish=false");
    work.ok("apply fit.h5ad b.h5ad -o again.h5ad");
    let (fit, again) = (work.read("fit.h5ad"), work.read("again.h5ad"));
    let (a, b) = (dense(&fit.obsm["svcc_membership"]), dense(&again.obsm["svcc_membership"]));
    let far = (&a - &b).iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(far < 1e-4, "{far}");
    let labels = |file: &str| {
        let data = unbraid_io::read(&work.path(file), &unbraid_io::ReadOptions::default()).unwrap();
        data.obs.column("svcc").and_then(Column::labels).unwrap().0
    };
    assert_eq!(labels("fit.h5ad"), labels("again.h5ad"));
    let used: std::collections::BTreeSet<usize> = labels("fit.h5ad").into_iter().collect();
    assert!(used.len() > 1, "one cluster would be assigned by anything");
    // Features in another order, one more, one of the model gone.
    let mut data = unbraid_io::read(&work.path("b.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    data = data.select(&unbraid::data::Selection {
        obs: Some((10..40).collect()),
        var: Some((1..70).rev().collect()),
    });
    work.dataset("new.h5ad", &data);
    let ran = work.run("apply fit.h5ad new.h5ad -o x.h5ad");
    assert!(ran.code == 3 && ran.err.contains("1 of 70 features of the model"), "{}", ran.err);
    let said = work.ok("apply fit.h5ad new.h5ad -o x.h5ad --missing-features zero --json").out;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["observations"].as_u64(), said["features_missing"].as_u64()), (Some(30), Some(1)));
    let near = labels("x.h5ad").iter().zip(&labels("fit.h5ad")[10..40]).filter(|(a, b)| a == b).count();
    assert!(near >= 27, "{near} of 30");
    work.fails("apply fit.h5ad new.h5ad -o x.h5ad --missing-features unmeasured", 2, &["svcc", "zero"]);
    work.fails("apply fit.h5ad b.h5ad -o x.h5ad --reconstruction", 2, &["--reconstruction", "svcc"]);
    // A file whose slots were cut.
    work.ok("fit itcc b.h5ad -o other.h5ad --set rows=3 --set cols=3");
    work.fails("apply other.h5ad b.h5ad -o x.h5ad", 3, &["other.h5ad"]);
    let page = work.ok("fit svcc b.h5ad -o fit.h5ad --set rows=3 --set cols=3 --set epochs=2 --set pretrain=1 --set hidden=8,8 --set restarts=1 --report p.html");
    assert!(page.out.contains("3 epochs"), "{}", page.out);
    let page = std::fs::read_to_string(work.path("p.html")).unwrap();
    assert!(page.contains("3 epochs") && !page.contains("largest number of steps"));
}

#[test]
fn what_cannot_be_clustered_is_refused_and_lines_of_zeros_are_left_out() {
    let work = Work::new();
    let mut x = Array2::from_shape_fn((12, 9), |(i, j)| f64::from(u8::from((i + j) % 3 == 0)) + 1.0);
    x.row_mut(4).fill(0.0);
    x.column_mut(2).fill(0.0);
    work.h5ad("x.h5ad", Matrix::Dense(x.clone()));
    let ran = work.ok("fit itcc x.h5ad -o fit.h5ad --set rows=2 --set cols=2");
    assert!(ran.err.contains("warning"), "{}", ran.err);
    let (codes, _) = labels(&work, false, "itcc");
    assert!(codes[4].is_none() && codes[5].is_some());
    let ran = work.run("fit itcc x.h5ad -o f.h5ad --set empty=error");
    assert!(ran.code == 3 && ran.err.contains("row 4 holds no value but 0"), "{}", ran.err);
    let ran = work.run("fit itcc x.h5ad -o f.h5ad --set rows=12");
    assert!(ran.err.contains("12 for 11 rows"), "{}", ran.err);
    let ran = work.run("fit lbm x.h5ad -o f.h5ad --set rows=0");
    assert!(ran.code == 2 && ran.err.contains("rows"), "{}", ran.err);
    x[[3, 1]] = -2.0;
    work.h5ad("y.h5ad", Matrix::Dense(x));
    let ran = work.run("fit nmtf y.h5ad -o f.h5ad --set rows=2 --set cols=2");
    assert!(ran.code == 3 && ran.err.contains("-2 at row 3, column 1"), "{}", ran.err);
    assert!(ran.err.contains("shift=min"), "{}", ran.err);
    work.ok("fit itcc y.h5ad -o f.h5ad --set rows=2 --set cols=2 --set shift=min");
    let ran = work.run("evaluate coclusters x.h5ad");
    assert!(ran.code == 3 && ran.err.contains("unbraid fit itcc"), "{}", ran.err);
    let ran = work.run("evaluate coclusters fit.h5ad");
    assert!(ran.code == 3 && ran.err.contains("a column of known classes"), "{}", ran.err);
}
