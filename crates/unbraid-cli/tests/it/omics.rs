//! Several tables of the same observations: turned, stacked, with columns from a file of their own.

use std::path::Path;

use ndarray::{Array2, Axis, concatenate};
use unbraid_io::h5ad::{Elem, Frame, Nullable};

use crate::{Work, column, counts, dense, dict, table, text};

/// Features in rows, as tables of expression come.
fn turned(x: &Array2<f64>) -> String {
    let mut out: String = (0..x.nrows()).map(|i| format!("\tobs{i}")).collect();
    for (j, feature) in x.columns().into_iter().enumerate() {
        out += &format!("\nvar{j}");
        feature.iter().for_each(|v| out += &format!("\t{v:?}"));
    }
    out + "\n"
}

fn texts<'a>(elem: Option<&'a Elem>) -> &'a [String] {
    match elem {
        Some(Elem::Strings(s)) => &s.values,
        other => panic!("no texts: {other:?}"),
    }
}

fn frame<'a>(elem: Option<&'a Elem>) -> &'a Frame {
    match elem {
        Some(Elem::Frame(f)) => f,
        other => panic!("no table: {other:?}"),
    }
}

fn named<'a>(frame: &'a Frame, name: &str) -> &'a Elem {
    &frame.columns.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no column {name}")).1
}

/// Settings of a short fit.
const SHORT: &str = "--set k=2 --set max_steps=15";

#[test]
fn a_turned_file_gives_the_fit_of_the_file() {
    let work = Work::new();
    let x = counts(20, 12);
    work.write("plain.tsv", table(&x, "\t"));
    work.write("turned.tsv", turned(&x));
    for method in ["nmf", "qmf"] {
        work.ok(&format!("fit {method} plain.tsv -o a.h5ad {SHORT}"));
        work.ok(&format!("fit {method} turned.tsv --transpose -o b.h5ad {SHORT}"));
        let (a, b) = (work.read("a.h5ad"), work.read("b.h5ad"));
        assert!(
            a.x == b.x && a.obs == b.obs && a.var == b.var && a.obsm == b.obsm && a.varm == b.varm,
            "{method}"
        );
        assert_ne!(dict(&a.uns, method)["transposed"], dict(&b.uns, method)["transposed"]);
    }
    work.fails("fit nmf turned.tsv --transpose -o turned.tsv", 2, &["`--transpose`", "name another output"]);
    // An .h5ad file loses what belongs to the turned axes, and says so.
    let ran = work.ok(&format!("fit nmf a.h5ad --transpose -o c.h5ad {SHORT}"));
    assert!(ran.err.contains("Of a turned .h5ad file the matrix and both tables are kept"), "{}", ran.err);
    assert_eq!(dense(&work.read("c.h5ad").obsm["X_nmf"]).dim(), (12, 2));
}

#[test]
fn columns_of_observations_are_added_by_name_and_their_file_is_recorded() {
    let work = Work::new();
    work.write("x.tsv", table(&counts(20, 12), "\t"));
    let line =
        |i: usize| format!("obs{i};{};{};{}\n", 10 * i, i % 2, if i.is_multiple_of(3) { "a" } else { "b" });
    let rows: String = (1..20).rev().map(line).collect();
    work.write("clinical.csv", format!("id;days;died;arm\n{rows}"));
    let fit = format!("fit nmf x.tsv -o fit.h5ad {SHORT} --obs");
    let ran = work.ok(&format!("{fit} clinical.csv --label arm --report page.html"));
    assert!(ran.err.contains("warning: clinical.csv: 1 of 20 observations have no row"), "{}", ran.err);
    let data = work.read("fit.h5ad");
    let Elem::Nullable(Nullable { .. }) = named(&data.obs, "days") else { panic!("obs0 has no time") };
    let Elem::Categorical(_) = named(&data.obs, "arm") else { panic!("labels are labels") };
    let notes = dict(&data.uns, "nmf");
    let sha = |name: &str| unbraid_io::input_sha256(&work.path(name)).unwrap();
    assert_eq!(texts(notes.get("inputs")), ["x.tsv", "clinical.csv"]);
    assert_eq!(texts(notes.get("input_sha256")), [sha("x.tsv"), sha("clinical.csv")]);
    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    assert!(page.contains("Mean scores by") && page.contains(&sha("clinical.csv")[..16]));
    // One file alone is named by a text, as before.
    work.ok(&format!("fit nmf x.tsv -o alone.h5ad {SHORT}"));
    let alone = work.read("alone.h5ad");
    assert_eq!(text(dict(&alone.uns, "nmf"), "inputs"), "x.tsv");
    assert_eq!(text(dict(&alone.uns, "nmf"), "input_sha256"), sha("x.tsv"));
    // The columns are where survival looks for them.
    work.ok("survival fit.h5ad --time days --event died");
    let unknown = format!("id;days;died;arm\ncell7;1;1;a\n{rows}");
    let twice = format!("id;days;died;arm\n{rows}obs3;1;1;a\n");
    for (name, content, parts) in [
        ("unknown.csv", unknown, ["1 of 20 that name no observation (\"cell7\")", "\"obs0\", \"obs1\""]),
        ("twice.csv", twice, ["line 21: found \"obs3\"", "also the name of line 18"]),
        ("short.csv", format!("id;days;died;arm\n{rows}obs0;1\n"), ["line 21: found 2 cells", "has 4"]),
        ("header.csv", "id;days\n".into(), ["1 lines", "a line for each observation"]),
    ] {
        work.write(name, content);
        work.fails(&format!("{fit} {name}"), 3, &[name, parts[0], parts[1]]);
    }
    work.fails(&format!("{fit} none.csv"), 3, &["none.csv", "check the path"]);
    work.fails(&format!("{fit} fit.h5ad"), 2, &["`--obs fit.h5ad` is also the output"]);
}

/// Three tables of twelve samples in different units and orders: counts, logarithms around 0, shares.
fn three(work: &Work) -> [Array2<f64>; 3] {
    let x = [counts(12, 9), counts(12, 7).mapv(|v| v - 9.5), counts(12, 5).mapv(|v| v / 100.0)];
    for (name, x) in ["exp.tsv", "mirna.tsv", "methylation.tsv"].iter().zip(&x) {
        work.write(name, turned(x));
    }
    x
}

const JOIN: &str = "exp.tsv mirna.tsv methylation.tsv --join obs --transpose";

#[test]
fn stacked_tables_are_each_brought_to_one_scale_or_prepared_as_told() {
    let work = Work::new();
    let [exp, mirna, methylation] = three(&work);
    let largest = |x: &Array2<f64>| x.fold(f64::MIN, |m, v| m.max(*v));
    let low = mirna.fold(f64::MAX, |m, v| m.min(*v));
    let by_hand = |exp: Array2<f64>| {
        let moved = &mirna - low;
        let parts = [&exp / largest(&exp), &moved / largest(&moved), &methylation / largest(&methylation)];
        concatenate(Axis(1), &parts.each_ref().map(|p| p.view())).unwrap()
    };
    let usual = by_hand(exp.clone());
    let logs = by_hand(exp.mapv(|v| v.ln_1p() / std::f64::consts::LN_2));
    for (method, set, prepared, shift, scale) in [
        ("nmf", "", &usual, [0.0, low, 0.0], [largest(&exp), largest(&mirna) - low, largest(&methylation)]),
        (
            "qmf",
            " --set transform@exp=log2p1",
            &logs,
            [0.0, low, 0.0],
            [(1.0 + largest(&exp)).log2(), largest(&mirna) - low, largest(&methylation)],
        ),
    ] {
        work.ok(&format!("fit {method} {JOIN} -o joined.h5ad --report joined.html {SHORT}{set}"));
        let page = std::fs::read_to_string(work.path("joined.html")).unwrap();
        assert!(page.contains("values of mirna.tsv") && page.contains("(x + "), "{method}");
        work.write("hand.tsv", table(prepared, "\t"));
        work.ok(&format!("fit {method} hand.tsv -o hand.h5ad {SHORT}"));
        let (joined, hand) = (work.read("joined.h5ad"), work.read("hand.h5ad"));
        let scores = |data: &unbraid_io::h5ad::AnnData| dense(&data.obsm[&format!("X_{method}")]);
        let gap = (&scores(&joined) - &scores(&hand)).mapv(f64::abs);
        assert!(largest(&gap) < 1e-9, "{method}: {gap}");
        assert_eq!(dense(&joined.varm[&format!("{method}_loadings")]).dim(), (21, 2));
        let Elem::Categorical(of) = named(&joined.var, "table") else { panic!("no labels") };
        assert_eq!(texts(Some(&of.categories)), ["exp.tsv", "mirna.tsv", "methylation.tsv"]);
        let prepared = frame(dict(&joined.uns, method).get("preparation"));
        let near = |name: &str, expected: [f64; 3]| {
            let found = column(prepared, name);
            let same = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(same, "{method} {name}: {found:?}, not {expected:?}");
        };
        near("shift", shift);
        near("scale", scale);
        // A table alone stays as it is.
        let alone = frame(dict(&hand.uns, method).get("preparation"));
        assert_eq!((column(alone, "shift"), column(alone, "scale")), (vec![0.0], vec![1.0]));
    }
    // What is set for one file holds for it alone, and two tables are stacked as three are.
    let two = "fit nmf exp.tsv methylation.tsv --join obs --transpose -o two.h5ad";
    work.ok(&format!("{two} {SHORT} --set scale=none --set scale@methylation.tsv=max"));
    let two = work.read("two.h5ad");
    let scales = column(frame(dict(&two.uns, "nmf").get("preparation")), "scale");
    assert_eq!(scales, [1.0, largest(&methylation)]);
}

#[test]
fn settings_of_one_file_and_joins_that_cannot_be_are_refused() {
    let work = Work::new();
    three(&work);
    for method in ["nmf", "qmf"] {
        let fit = format!("fit {method} {JOIN} -o out.h5ad");
        work.fails(
            &format!("{fit} --set transform@rna=log2p1"),
            2,
            &["transform@rna=log2p1", "`rna` names none of the files", "exp.tsv, mirna.tsv, methylation.tsv"],
        );
        work.fails(&format!("{fit} --set k@exp=3"), 2, &["only the preparation can differ between files"]);
        work.fails(&format!("{fit} --set scale@exp=most"), 2, &["scale", "none, max, auto"]);
        work.fails(&format!("{fit} --set shift=none"), 3, &["mirna.tsv", "0 or larger"]);
        work.fails(&format!("{fit} --set transform@mirna=log2p1"), 3, &["mirna.tsv", "larger than -1"]);
        work.fails(&format!("fit {method} exp.tsv mirna.tsv -o out.h5ad"), 2, &["--join obs"]);
    }
    let fewer = turned(&counts(11, 4));
    work.write("fewer.tsv", fewer);
    let line = "fit nmf exp.tsv fewer.tsv --join obs --transpose -o out.h5ad";
    work.fails(line, 3, &["fewer.tsv: obs", "the same observations in every joined file"]);
    assert!(!work.path("out.h5ad").exists());
}

#[test]
fn a_folder_of_a_cohort_goes_from_tables_to_survival() {
    let work = Work::new();
    let patients: Vec<String> = (0..16).map(|i| format!("TCGA.02.{i:04}.01")).collect();
    let matrix = |x: Array2<f64>, from: usize| {
        let mut out = patients[from..].iter().map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join(" ");
        for (j, feature) in x.columns().into_iter().enumerate() {
            out += &format!("\n\"f{from}|{j}\"");
            feature.iter().skip(from).for_each(|v| out += &format!(" {v:?}"));
        }
        out + "\n"
    };
    work.write("gbm/exp", matrix(counts(16, 8), 0));
    work.write("gbm/methy.gz", crate::gz(matrix(counts(16, 6).mapv(|v| v / 40.0), 0)));
    // The first patient has no microRNA, and the second no survival.
    work.write("gbm/mirna", matrix(counts(16, 5).mapv(|v| v - 3.0), 1));
    let lines: String = (2..16)
        .map(|i| format!("tcga-02-{i:04}\t{}\t{}\n", 40 + (i * 29) % 70, u8::from(i % 4 != 0)))
        .collect();
    work.write("gbm/survival", format!("PatientID\tSurvival\tDeath\n{lines}"));
    let ran = work.ok(&format!("fit nmf gbm -o gbm.h5ad {SHORT} --set transform@exp=log2p1 --json"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["observations"], &said["features"]), (&15.into(), &19.into()));
    assert_eq!(said["inputs"], serde_json::json!(["gbm/exp", "gbm/methy.gz", "gbm/mirna", "gbm/survival"]));
    assert!(ran.err.contains("1 of 16 patients are not in every table"), "{}", ran.err);
    assert!(ran.err.contains("1 of 15 patients have no row"), "{}", ran.err);
    let data = work.read("gbm.h5ad");
    let notes = dict(&data.uns, "nmf");
    let sha = |name: &str| unbraid_io::input_sha256(&work.path(name)).unwrap();
    assert_eq!(
        texts(notes.get("input_sha256")),
        ["gbm/exp", "gbm/methy.gz", "gbm/mirna", "gbm/survival"].map(sha)
    );
    assert_eq!(column(frame(notes.get("preparation")), "shift"), [0.0, 0.0, -3.0]);
    let ran = work.ok("survival gbm.h5ad --time Survival --event Death --report page.html");
    assert!(ran.out.contains("14 observations, 11 events, 2 factors"), "{}", ran.out);
    work.fails("fit nmf gbm --transpose -o out.h5ad", 2, &["gbm has features in rows"]);
    work.fails("fit medmagma gbm -o out.h5ad", 2, &["`medmagma` reads one table"]);
    work.fails("fit nmf gbm gbm/exp --join obs -o out.h5ad", 2, &["gbm is a folder of several tables"]);
    work.fails(
        "fit nmf gbm -o out.h5ad --set scale@rna=max",
        2,
        &["`rna` names none", "gbm/exp, gbm/methy.gz"],
    );
    work.write("gbm/survival", "PatientID\tDeath\ntcga-02-0001\t1\n");
    work.fails("fit nmf gbm -o out.h5ad", 3, &["gbm/survival", "\"Survival\"", "no such column"]);
}

#[test]
fn tumours_go_from_two_tables_to_hazard_ratios() {
    let Some(shared) = std::env::var_os("UNBRAID_SHARED") else {
        eprintln!("skipped: UNBRAID_SHARED is not set");
        return;
    };
    let from = Path::new(&shared).join("data/tcga_multiomics_small");
    let work = Work::new();
    for name in ["gbm_expression.tsv.gz", "gbm_mirna.tsv.gz", "gbm_survival.tsv"] {
        std::fs::copy(from.join(name), work.path(name)).unwrap();
    }
    let files = "gbm_expression.tsv.gz gbm_mirna.tsv.gz --join obs --transpose --obs gbm_survival.tsv";
    let ran = work.ok(&format!("fit nmf {files} -o gbm.h5ad --set k=5 --set max_steps=40 --json"));
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["observations"], &said["features"]), (&100.into(), &1970.into()));
    assert_eq!(said["input_sha256"].as_array().unwrap().len(), 3);
    let ran = work.ok("survival gbm.h5ad --time time_days --event event --report page.html --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&found["observations"], &found["events"]), (&100.into(), &96.into()));
    assert_eq!(found["joint"]["factors"].as_array().unwrap().len(), 5);
    assert!(work.path("page.html").exists());
}

#[test]
fn help_shows_how_tables_are_joined() {
    let work = Work::new();
    for line in ["fit --help", "fit nmf --help", "fit qmf --help"] {
        let help = work.run(line).out;
        for part in
            ["--join obs --transpose --obs clinical.tsv", "--set transform@mirna=log2p1", "gbm/ -o gbm.h5ad"]
        {
            assert!(help.contains(part), "{line}: {part}");
        }
    }
    let help = work.run("fit qmf --help").out;
    for part in ["KEY@FILE=VALUE", "`exp`, `methy` and `mirna`", "shift [auto]", "scale [auto]"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
