//! `fit msfa` and `fit svae-merge`: the same slots, page and refusals as `fit mssvae`, and the count of factors by anchors.

use ndarray::Axis;
use serde_json::Value as Json;
use unbraid::data::{Column, Dataset, Matrix};

use crate::{Work, assert_finite, dense, dict, text};

const EACH: &str = "--set epochs=8 --set hidden=8,6 --set shared=3 --set specific=1 --set batch=40";
/// Each method with settings of a fit that takes a moment.
const METHODS: [(&str, &str, &str); 2] =
    [("msfa", "--set max_steps=30", "30 steps"), ("svae-merge", EACH, "24 epochs")];

/// `s.h5ad`: three simulated studies of 100 features.
fn studies(observations: usize) -> Work {
    let work = Work::new();
    work.ok(&format!("simulate multistudy -o s.h5ad --seed 1000 --set observations={observations}"));
    work
}

fn json(work: &Work, line: &str) -> Json {
    serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap()
}

#[test]
fn the_baselines_are_written_told_judged_and_shown() {
    let work = studies(60);
    for (method, small, steps) in METHODS {
        let said = work.ok(&format!(
            "fit {method} s.h5ad -o fit.h5ad --set study=study --label study --report page.html --threads 1 {small}"
        ));
        for part in ["180 observations × 100 features", steps, "of all studies", "of study2"] {
            assert!(said.out.contains(part), "{method}, {part}: {}", said.out);
        }
        assert_finite(&work.path("fit.h5ad"));
        let fit = work.read("fit.h5ad");
        let notes = dict(&fit.uns, method);
        assert_eq!((text(notes, "method"), text(dict(notes, "params"), "study")), (method, "study"));
        let w = dense(&fit.varm[&format!("{method}_loadings")]);
        let z = dense(&fit.obsm[&format!("X_{method}")]);
        assert_eq!((w.nrows(), z.nrows(), z.ncols()), (100, 180, w.ncols()));
        assert!(!fit.varm.contains_key(&format!("{method}_encoders")));
        assert!(notes.contains_key("factors"), "{method}");
        let said = json(&work, &format!("fit {method} s.h5ad -o again.h5ad --threads 2 {small}"));
        assert_eq!(dense(&work.read("again.h5ad").obsm[&format!("X_{method}")]), z, "{method}");
        let of = |s: &Json| s["factors"].as_u64().unwrap();
        let own: u64 = said["studies"].as_array().unwrap().iter().map(of).sum();
        assert_eq!(said["shared_factors"].as_u64().unwrap() + own, w.ncols() as u64);
        assert!(said["encoder_bytes"].is_null() && said["params"]["encoders"].is_null());
        assert_eq!(json(&work, "evaluate factors fit.h5ad --set disentanglement=false")["key"], method);
        let page = std::fs::read_to_string(work.path("page.html")).unwrap();
        for part in ["Factors of the studies", "id=\"mask\"", "Mean codes by <bdi>study</bdi>"] {
            assert!(page.contains(part), "{method}: {part}");
        }
        assert!(!page.contains("NaN"));
        work.fails("apply fit.h5ad s.h5ad -o y.h5ad", 3, &[method, "no encoders"]);
    }
    // Eight shared factors and two of each study are what it starts from, and the linear features are found by them.
    let said = json(&work, "fit msfa s.h5ad -o fit.h5ad");
    assert_eq!((said["shared_factors"].as_u64(), said["studies"][1]["factors"].as_u64()), (Some(8), Some(2)));
    let scores = json(
        &work,
        "evaluate factors fit.h5ad --set scale=max --set threshold=0.3 --set disentanglement=false",
    );
    assert!(scores.to_string().contains("consensus"), "{scores}");
}

#[test]
fn the_baselines_refuse_what_mssvae_refuses() {
    let work = studies(20);
    let mut odd = unbraid_io::read(&work.path("s.h5ad"), &Default::default()).unwrap();
    odd.obs.columns.push(("one".into(), Column::Text(vec![Some("a".into()); 60])));
    let mut x = odd.x.to_dense();
    x[[3, 7]] = f64::NAN;
    work.dataset("odd.h5ad", &Dataset { x: Matrix::Dense(x), ..odd.clone() });
    work.dataset("two.h5ad", &odd);
    for (method, small, _) in METHODS {
        for (line, code, parts) in [
            ("s.h5ad --set study=donor", 3, &["the column of studies, obs[\"donor\"]"][..]),
            ("two.h5ad --set study=one", 3, &["every observation has `a`"]),
            ("odd.h5ad", 3, &["holds NaN at row 3, column 7"]),
            ("s.h5ad --set studdy=study", 2, &["Did you mean `study`?"]),
            ("s.h5ad --set encoders=true", 2, &["there is no parameter `encoders` here"]),
            ("s.h5ad --max-memory 100KB", 3, &["100.0 kB are allowed"]),
        ] {
            work.fails(&format!("fit {method} {line} -o x.h5ad {small}"), code, parts);
        }
    }
    for (line, parts) in [
        ("svae-merge s.h5ad --set merge=false", "there is no parameter `merge` here"),
        ("svae-merge s.h5ad --set tau=2", "`tau`"),
        ("msfa s.h5ad --set threshold=1", "`threshold`"),
        ("msfa s.h5ad --set shared=90", "`shared`"),
        ("msfa s.h5ad --set preset=paper", "`preset=paper` is not known here"),
    ] {
        work.fails(&format!("fit {line} -o x.h5ad"), 2, &[parts]);
    }
    let said = json(&work, &format!("fit svae-merge s.h5ad -o x.h5ad --set preset=paper {EACH}"));
    assert_eq!(said["params"]["w_update"], "gradient");
}

#[test]
fn factors_are_counted_by_features_of_one_alone() {
    let work = studies(1000);
    let small = "--set epochs=4 --set hidden=8,6 --set shared=3 --set specific=1";
    let ran =
        work.ok(&format!("fit mssvae s.h5ad -o fit.h5ad --set anchors=true --report page.html {small}"));
    let counted = "by features of one factor alone: 8 of all studies, 2 of study0, 2 of study1, 2 of study2";
    assert!(ran.out.contains(counted), "{}", ran.out);
    let warning = "tell of other factors than were found: 8 of all studies, 2 of `study0`";
    assert!(ran.err.contains(warning), "{}", ran.err);
    assert!(std::fs::read_to_string(work.path("page.html")).unwrap().contains("tell of other factors"));
    let fit = work.read("fit.h5ad");
    let marks = dense(&fit.varm["mssvae_anchors"]);
    assert_eq!(marks.dim(), (100, 14));
    assert!(marks.sum_axis(Axis(0)).iter().all(|n| *n >= 2.0));
    assert!(dict(&fit.uns, "mssvae").contains_key("anchors"));
    let said = json(&work, &format!("fit mssvae s.h5ad -o fit.h5ad --set anchors=true {small}"));
    assert_eq!((said["anchors"]["shared_factors"].as_u64(), said["promoted"].as_u64()), (Some(8), Some(0)));
    let said = json(&work, &format!("fit mssvae s.h5ad -o fit.h5ad {small}"));
    assert!(said["anchors"].is_null() && !work.read("fit.h5ad").varm.contains_key("mssvae_anchors"));
}
