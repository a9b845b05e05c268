//! `fit mssvae`: studies from a column or from files, what it refuses, and codes of new samples.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ndarray::{Array2, Axis, s};
use serde_json::Value as Json;
use unbraid::data::{Column, Csr, Dataset, Matrix, Selection, Table};
use unbraid_io::h5ad::Elem;

use crate::{Work, assert_finite, dense, dict, text};

/// Settings of a fit that takes a moment; the columns of all studies stay as they are.
const SMALL: &str =
    "--set epochs=8 --set hidden=8,6 --set shared=3 --set specific=1 --set batch=64 --set merge=false";

/// `s.h5ad`: three simulated studies of 60 samples and 100 features.
fn studies() -> Work {
    let work = Work::new();
    let said = work.ok("simulate multistudy -o s.h5ad --seed 1000 --set observations=60").out;
    assert!(said.contains("next: unbraid fit mssvae s.h5ad -o fit.h5ad --set study=study"), "{said}");
    work
}

fn json(work: &Work, line: &str) -> Json {
    serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap()
}

fn open(work: &Work, file: &str) -> Dataset {
    unbraid_io::read(&work.path(file), &Default::default()).unwrap()
}

/// Small counts in which features 0 to 5 go together.
fn counts(n: usize, m: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, m), |(i, j)| {
        let level = if j < 6 { 3 + 4 * (i * 7 % 5) } else { 4 };
        ((i * 31 + j * 17) % level) as f64
    })
}

/// Counts of two studies, with the given study of each sample.
fn labelled(study: Column) -> Dataset {
    let mut data = Dataset::from_matrix("c", Matrix::Sparse(Csr::from_dense(counts(study.len(), 12).view())));
    data.obs.columns.push(("batch".into(), study));
    data
}

fn two(n: usize) -> Vec<Option<String>> {
    (0..n).map(|i| Some(["a", "b"][i % 2].to_owned())).collect()
}

#[test]
fn a_fit_is_written_told_judged_and_shown() {
    let work = studies();
    let said = work
        .ok(&format!(
            "fit mssvae s.h5ad -o fit.h5ad --set study=study --label study --report page.html {SMALL}"
        ))
        .out;
    for part in [
        "180 observations × 100 features, 8 epochs",
        "of all studies",
        "of study2",
        "encoders for `unbraid apply`: ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_finite(&work.path("fit.h5ad"));
    let fit = work.read("fit.h5ad");
    let notes = dict(&fit.uns, "mssvae");
    assert_eq!((text(notes, "method"), text(dict(notes, "params"), "study")), ("mssvae", "study"));
    let (w, z) = (dense(&fit.varm["mssvae_loadings"]), dense(&fit.obsm["X_mssvae"]));
    assert_eq!((w.nrows(), z.nrows(), z.ncols()), (100, 180, w.ncols()));
    let said = json(&work, &format!("fit mssvae s.h5ad -o fit.h5ad {SMALL}"));
    assert_eq!((said["epochs"].as_u64(), said["studies"].as_array().unwrap().len()), (Some(8), 3));
    let own: u64 = said["studies"].as_array().unwrap().iter().map(|s| s["factors"].as_u64().unwrap()).sum();
    assert_eq!(said["shared_factors"].as_u64().unwrap() + own, w.ncols() as u64);
    assert_eq!(json(&work, "evaluate factors fit.h5ad --set disentanglement=false")["key"], "mssvae");

    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    for part in [
        "Factors of the studies",
        "id=\"mask\"",
        "id=\"cloud\"",
        "<bdi>study1</bdi></th>",
        "Dashed: λ₀ = 1 from step 1, ",
        "Mean codes by <bdi>study</bdi>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("NaN"));
}

#[test]
fn studies_are_read_from_any_column_of_labels() {
    let work = Work::new();
    let small =
        format!("-o fit.h5ad --set study=batch --set likelihood=nb --set learning_rate=0.001 {SMALL}");
    let codes: Vec<Option<u32>> = (0..40).map(|i| Some(2 * (i % 2))).collect();
    let categories = ["zeta", "unused", "alpha"].map(String::from).to_vec();
    for (column, names) in [
        (Column::Categorical { codes, categories, ordered: false }, ["zeta", "alpha"]),
        (Column::Text(two(40)), ["a", "b"]),
        (Column::Int((0..40).map(|i| Some([10, 9][i % 2])).collect()), ["9", "10"]),
        (Column::Bool((0..40).map(|i| Some(i % 2 == 0)).collect()), ["false", "true"]),
    ] {
        work.dataset("c.h5ad", &labelled(column));
        let said = json(&work, &format!("fit mssvae c.h5ad {small}"));
        let found: Vec<&str> =
            said["studies"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(found, names);
    }
    // A table beside the file, as of one that has no columns.
    work.h5ad("plain.h5ad", Matrix::Dense(counts(40, 12)));
    let rows: String = (0..40).map(|i| format!("obs{i}\t{}\n", ["x", "y"][i % 2])).collect();
    work.write("batches.tsv", format!("cell\tbatch\n{rows}"));
    let said = json(&work, &format!("fit mssvae plain.h5ad --obs batches.tsv {small}"));
    assert_eq!(said["studies"][1]["name"], "y");
}

#[test]
fn every_file_is_a_study_and_features_meet_by_name() {
    let work = studies();
    let whole = open(&work, "s.h5ad");
    let column = whole.obs.column("study").unwrap().texts().unwrap();
    for name in ["study0", "study1", "study2"] {
        let rows = (0..180).filter(|&i| column[i].as_deref() == Some(name)).collect();
        let mut part = whole.select(&Selection { obs: Some(rows), var: None });
        part.obs.columns.clear();
        part.obsm.clear();
        // Other names of samples in common, another order of features, and one feature less in the last.
        part.obs = Table::numbered("cell", part.obs.len());
        let var: Vec<usize> = if name == "study2" { (0..99).rev().collect() } else { (0..100).collect() };
        work.dataset(&format!("{name}.h5ad"), &part.select(&Selection { obs: None, var: Some(var) }));
    }
    let ran = work
        .ok(&format!("fit mssvae study0.h5ad study1.h5ad study2.h5ad -o all.h5ad --report p.html {SMALL}"));
    assert!(ran.err.contains("study0.h5ad: 1 of 100 features are not in every file"), "{}", ran.err);
    let all = open(&work, "all.h5ad");
    assert_eq!((all.shape(), all.var.names[98].as_str()), ((180, 99), "gene98"));
    assert_eq!(all.obs.names[60], "cell0 (study1)");
    assert_eq!(all.obs.column("study").unwrap().texts().unwrap()[60].as_deref(), Some("study1"));
    // The same fit as of one file without that feature.
    let one = whole.select(&Selection { obs: None, var: Some((0..99).collect()) });
    work.dataset("one.h5ad", &one);
    work.ok(&format!("fit mssvae one.h5ad -o one.fit.h5ad {SMALL}"));
    let codes = |file: &str| dense(&work.read(file).obsm["X_mssvae"]);
    assert_eq!(codes("all.h5ad"), codes("one.fit.h5ad"));
    let page = std::fs::read_to_string(work.path("p.html")).unwrap();
    assert!(page.contains("study0.h5ad") && page.contains("study2.h5ad"));

    work.h5ad("other.h5ad", Matrix::Dense(Array2::ones((3, 4))));
    work.fails(
        "fit mssvae study0.h5ad other.h5ad -o x.h5ad --join obs",
        2,
        &["every file as a study", "leave out --join"],
    );
    let mut named = whole.clone();
    named.var = Table::named((0..100).map(|j| format!("G{j}")).collect());
    work.dataset("named.h5ad", &named);
    work.fails(
        "fit mssvae study0.h5ad named.h5ad -o x.h5ad",
        3,
        &["a feature that all files have", "`gene0`", "`G0`"],
    );
    work.fails(
        "fit mssvae study0.h5ad study1.h5ad -o x.h5ad --set transform@study0.h5ad=log1p",
        2,
        &["names none of the files"],
    );
}

#[test]
fn what_cannot_be_studies_is_refused_with_what_could_be() {
    let work = Work::new();
    let fails = |data: &Dataset, more: &str, code: i32, parts: &[&str]| {
        work.dataset("c.h5ad", data);
        work.fails(&format!("fit mssvae c.h5ad -o x.h5ad --set likelihood=nb {more}"), code, parts);
        assert!(!work.path("x.h5ad").exists());
    };
    let data = labelled(Column::Text(two(40)));
    fails(
        &data,
        "",
        3,
        &[
            "c.h5ad: the column of studies, obs[\"study\"], is missing",
            "`--set study=COLUMN`",
            "batch (2 levels)",
        ],
    );
    let of = "--set study=batch";
    let one = labelled(Column::Text(vec![Some("a".into()); 40]));
    fails(
        &one,
        of,
        3,
        &[
            "a second study (every observation has `a` in obs[\"batch\"])",
            "no column of obs tells studies apart",
        ],
    );
    let mut lone = two(40);
    lone[7] = Some("c".into());
    fails(
        &labelled(Column::Text(lone)),
        of,
        3,
        &["a second observation of study `c`", "3 studies (a, b, c)"],
    );
    let many = (0..40).map(|i| Some(format!("cell{i:02}"))).collect();
    fails(&labelled(Column::Text(many)), of, 3, &["40 studies (cell00, cell01", "and 34 more"]);
    fails(
        &labelled(Column::Float((0..40).map(f64::from).collect())),
        of,
        3,
        &["holds numbers that need not be whole"],
    );
    let mut gaps = two(40);
    gaps[3] = None;
    gaps[9] = None;
    fails(
        &labelled(Column::Text(gaps)),
        of,
        3,
        &["obs[\"batch\"]: row 3, 9 has no study", "observation `obs3`, observation `obs9`"],
    );
    let word = (0..40).map(|i| Some(["shared", "b"][i % 2].to_owned())).collect();
    fails(&labelled(Column::Text(word)), of, 3, &["another name for study `shared`"]);

    for (set, code, parts) in [
        ("lambda0=0.05", 2, &["parameter `lambda0` is 0.05", "at least lambda1"][..]),
        ("batch=3", 2, &["`batch`", "at least 4"]),
        ("hidden=8", 2, &["`hidden` must be 2 values, as [50,50]"]),
        ("hidden=8,x", 2, &["`hidden` must be 2 values"]),
        ("epochs=0", 2, &["`epochs`"]),
        ("studdy=batch", 2, &["Did you mean `study`?"]),
    ] {
        fails(&data, &format!("{of} --set {set}"), code, parts);
    }
    let groups = (0..40).map(|i| Some(format!("s{}", i % 5))).collect();
    fails(
        &labelled(Column::Text(groups)),
        "--set study=batch --set batch=8",
        2,
        &["`batch` is 8 for 5 studies", "2 samples of each study"],
    );
}

#[test]
fn values_that_are_no_counts_are_located_and_the_layer_that_holds_them_is_named() {
    let work = Work::new();
    let of = format!("--set study=batch --set likelihood=nb {SMALL}");
    let data = labelled(Column::Text(two(40)));
    for (value, word, rule) in [
        (f64::NAN, "NaN", "finite"),
        (-2.0, "-2", "0 or larger with `likelihood=nb`"),
        (0.5, "0.5", "a whole number with `likelihood=nb`; `fractions=true` takes it as it is"),
    ] {
        let mut x = data.x.to_dense();
        x[[3, 7]] = value;
        work.dataset("c.h5ad", &Dataset { x: Matrix::Dense(x), ..data.clone() });
        let place = format!("X holds {word} at row 3, column 7");
        work.fails(
            &format!("fit mssvae c.h5ad -o x.h5ad {of}"),
            3,
            &[&place, rule, "observation `obs3`, feature `var7`"],
        );
    }
    let ran = work.ok(&format!("fit mssvae c.h5ad -o x.h5ad --set fractions=true {of}"));
    assert!(ran.err.contains("1 values of X are not whole"), "{}", ran.err);
    assert_finite(&work.path("x.h5ad"));

    // The same with the counts in a layer.
    let mut slots = unbraid::data::Annotations::default();
    slots.layers.insert("counts".into(), unbraid::data::Slot::F64(data.x.to_dense()));
    let halves = Dataset { x: data.x.map(|v| v / 2.0), ..data.clone() };
    unbraid_io::write_h5ad(&work.path("l.h5ad"), unbraid_io::Input::Dataset(&halves), &slots).unwrap();
    work.fails(
        &format!("fit mssvae l.h5ad -o y.h5ad {of}"),
        3,
        &["a table of whole numbers (X holds", "`--layer counts` reads layers[\"counts\"]"],
    );
    work.ok(&format!("fit mssvae l.h5ad -o y.h5ad --layer counts {of}"));
    // Counts that are taken for measurements.
    let ran = work.ok(&format!("fit mssvae l.h5ad -o z.h5ad --layer counts --set study=batch {SMALL}"));
    assert!(ran.err.contains("look like counts: take `--set likelihood=nb`"), "{}", ran.err);
}

#[test]
fn features_that_carry_nothing_and_odd_sizes_are_warned_of() {
    let work = Work::new();
    let mut x = counts(40, 12).mapv(|v| v + 0.1);
    x.column_mut(4).fill(0.0);
    x.column_mut(8).fill(0.3);
    let mut data = Dataset { x: Matrix::Dense(x), ..labelled(Column::Text(two(40))) };
    work.dataset("c.h5ad", &data);
    let set = "--set study=batch --set epochs=8 --set hidden=8,6";
    let ran = work.ok(&format!("fit mssvae c.h5ad -o x.h5ad {set}"));
    for part in [
        "2 features hold one value in all observations (var4, var8)",
        "The 40 samples are one mini-batch, so that 8 epochs are 8 steps; `batch=16` takes more",
        "`shared=30` columns are more than the 12 features",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_finite(&work.path("x.h5ad"));
    let ran = work.ok(&format!("fit mssvae c.h5ad -o x.h5ad {set} --set batch=12"));
    assert!(ran.err.contains("about 6.0 samples of each of 2 studies"), "{}", ran.err);
    // Nothing is left under a spike that is too strong, and everything that follows holds.
    let ran = work.ok(&format!("fit mssvae c.h5ad -o none.h5ad {set} --set threshold=9 --report none.html"));
    assert!(ran.err.contains("No factor is left"), "{}", ran.err);
    assert_finite(&work.path("none.h5ad"));
    assert!(
        std::fs::read_to_string(work.path("none.html"))
            .unwrap()
            .contains("No feature is in the set of any factor")
    );
    // All features constant.
    data.x = Matrix::Dense(Array2::ones((40, 12)));
    work.dataset("c.h5ad", &data);
    work.ok(&format!("fit mssvae c.h5ad -o x.h5ad {set}"));
    assert_finite(&work.path("x.h5ad"));
}

#[test]
fn a_killed_fit_goes_on_to_the_same_bits_on_any_number_of_threads() {
    let work = studies();
    let fit = |out: &str, threads: usize| {
        format!(
            "fit mssvae s.h5ad -o {out} --key m --seed 3 --threads {threads} --quiet {SMALL} --set epochs=60"
        )
    };
    for threads in [1, 2, 8] {
        work.ok(&fit(&format!("{threads}.h5ad"), threads));
    }
    let whole = work.slots("1.h5ad", "m");
    assert!(
        whole == work.slots("2.h5ad", "m") && whole == work.slots("8.h5ad", "m"),
        "other bits on more threads"
    );
    let line = format!("{} --checkpoint state --checkpoint-every 0", fit("out.h5ad", 2));
    let mut killed = 0;
    for wait in [0, 15, 40, 80] {
        let mut child = work.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !work.path("state").exists() && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the fit does not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait));
        let _ = child.kill();
        if child.wait().unwrap().code().is_some() {
            continue;
        }
        killed += 1;
        assert!(!work.path("out.h5ad").exists() || work.slots("out.h5ad", "m") == whole, "half of an output");
    }
    assert!(killed > 0, "no kill hit the fit");
    work.ok(&line);
    assert!(work.slots("out.h5ad", "m") == whole, "other bits after {killed} kills");
    assert!(!work.path("state").exists());
    // A checkpoint of other studies is not taken up.
    work.write("state", b"something else");
    work.fails(&line, 4, &["snapshot"]);
}

/// Samples of the fit in another order, features in another order and some more: the codes of the fit.
#[test]
fn samples_of_a_fit_get_its_codes_and_unknown_studies_the_shared_ones() {
    let work = studies();
    let data = open(&work, "s.h5ad");
    for (law, file) in [("gaussian", "s.h5ad"), ("nb", "n.h5ad")] {
        if law == "nb" {
            let x = data.x.map(|v| (10.0 * (0.05 * v).exp()).floor());
            work.dataset(file, &Dataset { x, ..data.clone() });
        }
        work.ok(&format!("fit mssvae {file} -o fit.h5ad --set genes=variance:60 --set likelihood={law} --set learning_rate=0.001 --set lambda0=1 --set threshold=0.1 {SMALL}"));
        let fit = dense(&work.read("fit.h5ad").obsm["X_mssvae"]);
        let said = json(&work, &format!("apply fit.h5ad {file} -o same.h5ad"));
        assert_eq!(
            (said["features_matched"].as_u64(), said["features_ignored"].as_u64()),
            (Some(60), Some(40))
        );
        assert_eq!(said["of_unknown_studies"], 0);
        assert_eq!(
            dense(&work.read("same.h5ad").obsm["X_mssvae"]),
            fit,
            "{law}: the fit's own codes, bit for bit"
        );

        let rows: Vec<usize> = (0..180).step_by(3).rev().collect();
        let new = open(&work, file)
            .select(&Selection { obs: Some(rows.clone()), var: Some((0..100).rev().collect()) });
        work.dataset("new.h5ad", &new);
        work.ok("apply fit.h5ad new.h5ad -o new.scored.h5ad --report new.html --quiet");
        let codes = dense(&work.read("new.scored.h5ad").obsm["X_mssvae"]);
        let gap = (&codes - &fit.select(Axis(0), &rows)).fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(gap < 1e-6, "{law}: {gap:e}");
        assert!(std::fs::read_to_string(work.path("new.html")).unwrap().contains("Factors of the studies"));

        // Study 1 under a name that the fit does not know.
        let mut renamed = new.clone();
        let names = new.obs.column("study").unwrap().texts().unwrap();
        let other =
            names.iter().map(|n| n.clone().map(|n| if n == "study1" { "elsewhere".into() } else { n }));
        renamed.obs.columns = vec![("place".into(), Column::Text(other.collect()))];
        work.dataset("renamed.h5ad", &renamed);
        work.fails(
            "apply fit.h5ad renamed.h5ad -o x.h5ad",
            3,
            &["obs[\"study\"]", "`--study COLUMN`", "place (3 levels)"],
        );
        let ran = work.ok("apply fit.h5ad renamed.h5ad -o x.h5ad --study place");
        assert!(
            ran.err.contains(
                "does not know `elsewhere` (20 observations); its studies are study0, study1, study2"
            ),
            "{}",
            ran.err
        );
        let found = dense(&work.read("x.h5ad").obsm["X_mssvae"]);
        let table = dict(&work.read("fit.h5ad").uns, "mssvae").get("factors").cloned();
        let Some(Elem::Frame(table)) = table else { panic!("no table of factors") };
        let Some((_, Elem::Strings(of))) = table.columns.iter().find(|(n, _)| n == "study") else {
            panic!("no study")
        };
        let mut own = 0;
        for i in 0..60 {
            for (f, owner) in of.values.iter().enumerate() {
                let unknown = names[i].as_deref() == Some("study1");
                let expected = if unknown && owner != "shared" { 0.0 } else { codes[[i, f]] };
                own += usize::from(unknown && owner == "study1");
                assert!((found[[i, f]] - expected).abs() < 1e-6);
            }
        }
        assert!(own > 0, "no factor of the study to leave out");
    }
}

#[test]
fn what_new_samples_lack_is_said() {
    let work = studies();
    work.ok(&format!("fit mssvae s.h5ad -o fit.h5ad {SMALL}"));
    let data = open(&work, "s.h5ad");
    let fewer = data.select(&Selection { obs: None, var: Some((0..93).collect()) });
    work.dataset("fewer.h5ad", &fewer);
    work.fails(
        "apply fit.h5ad fewer.h5ad -o x.h5ad",
        3,
        &["7 of 100 features of the model (`gene93`", "is missing"],
    );
    let ran = work.ok("apply fit.h5ad fewer.h5ad -o x.h5ad --missing-features zero");
    assert!(
        ran.err.contains("7 of 100 features of the model are missing") && ran.err.contains("count as 0"),
        "{}",
        ran.err
    );
    work.fails(
        "apply fit.h5ad fewer.h5ad -o x.h5ad --missing-features unmeasured",
        2,
        &["encoders read every feature"],
    );
    work.fails(
        "apply fit.h5ad s.h5ad -o x.h5ad --reconstruction",
        2,
        &["`--reconstruction` is not read here"],
    );
    work.fails("apply fit.h5ad s.h5ad fewer.h5ad -o x.h5ad --join obs", 2, &["applied to one file"]);
    let mut odd = data.clone();
    let mut x = data.x.to_dense();
    x.slice_mut(s![5, 9..10]).fill(f64::NAN);
    odd.x = Matrix::Dense(x);
    work.dataset("odd.h5ad", &odd);
    work.fails("apply fit.h5ad odd.h5ad -o x.h5ad", 3, &["X holds NaN at row 5"]);
    work.ok(&format!("fit mssvae s.h5ad -o bare.h5ad --set encoders=false {SMALL}"));
    work.fails("apply bare.h5ad s.h5ad -o y.h5ad", 3, &["varm[\"mssvae_encoders\"]", "is missing"]);
    // A factorisation has no studies to name.
    work.h5ad("p.h5ad", Matrix::Dense(counts(20, 8)));
    work.ok("fit nmf p.h5ad -o nmf.h5ad --set k=2 --set max_steps=5 --quiet");
    work.fails("apply nmf.h5ad p.h5ad -o y.h5ad --study batch", 2, &["`--study` is not read here"]);
}
