//! `unbraid survival`: factors and times to tables.

use ndarray::Array2;
use unbraid::data::{Annotations, Column, Dataset, Matrix, Slot};
use unbraid_io::Input;

use crate::Work;

/// `fit.h5ad`: forty observations with three factors under `nmf`, the second of which is 1 throughout,
/// and columns of times and events. The first factor hastens the event.
fn with_factors(change: impl Fn(&mut Dataset, &mut Annotations)) -> Work {
    let work = Work::new();
    let n = 40;
    let mut data = Dataset::from_matrix("fit", Matrix::Dense(Array2::from_elem((n, 2), 1.0)));
    let wave = |i: usize, by: f64| (i as f64 * by).sin();
    let scores = Array2::from_shape_fn((n, 3), |(i, j)| match j {
        0 => 2.0 + wave(i, 1.0),
        1 => 1.0,
        _ => 2.0 + wave(i, 2.3),
    });
    let time: Vec<f64> =
        (0..n).map(|i| (100.0 - 30.0 * wave(i, 1.0) + 40.0 * wave(i, 5.1)).round()).collect();
    let event: Vec<Option<i64>> = (0..n).map(|i| Some(i64::from(i % 5 != 0))).collect();
    data.obs.columns.push(("days".into(), Column::Float(time)));
    data.obs.columns.push(("died".into(), Column::Int(event)));
    let mut fit = Annotations::default();
    fit.obsm.insert("X_nmf".into(), Slot::F64(scores));
    change(&mut data, &mut fit);
    unbraid_io::write_h5ad(&work.path("fit.h5ad"), Input::Dataset(&data), &fit).unwrap();
    work
}

const LINE: &str = "survival fit.h5ad --key nmf --time days --event died";

fn json(work: &Work, line: &str) -> serde_json::Value {
    serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap()
}

#[test]
fn both_tables_are_printed_and_written() {
    let work = with_factors(|_, _| {});
    let ran = work.ok(&format!("{LINE} --csv out.csv"));
    for part in
        ["40 observations, 32 events, 2 factors", "All factors together", "Each factor alone", "Bonferroni"]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert!(ran.err.contains("warning: Factor 2 is the same"), "{}", ran.err);
    let found = json(&work, LINE);
    let first = &found["joint"]["factors"][0];
    assert_eq!((&first["factor"], found["dropped"].as_u64()), (&"1".into(), Some(0)));
    let number = |v: &serde_json::Value, name: &str| v[name].as_f64().unwrap();
    assert!(number(first, "coef") > 0.3 && number(first, "p") < 0.01, "{found}");
    assert!((number(first, "p_bonferroni") - 2.0 * number(first, "p")).abs() < 1e-12);
    assert!(number(&found["univariate"][0], "concordance") > 0.6);
    assert_eq!(found["univariate"][1]["factor"], "3");
    let csv = std::fs::read_to_string(work.path("out.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines[0].starts_with("factor,fit,coef,hazard_ratio,hazard_ratio_low,hazard_ratio_high,se,z,p,p_b")
    );
    let coef: f64 = lines[1].split(',').nth(2).unwrap().parse().unwrap();
    assert_eq!(coef, number(first, "coef"));
    let breslow = json(&work, &format!("{LINE} --ties breslow"));
    assert_ne!(breslow["joint"]["factors"][0]["coef"], first["coef"], "times tie");
    assert_eq!(json(&work, &LINE.replace("--key nmf ", ""))["key"], "nmf");
}

#[test]
fn the_page_shows_both_tables_hazard_ratios_and_curves() {
    let work = with_factors(|_, _| {});
    for (more, groups) in [("", 2), (" --split tertiles", 3)] {
        let ran = work.ok(&format!("{LINE} --report page.html{more}"));
        assert!(ran.out.contains("wrote page.html"), "{}", ran.out);
        let page = std::fs::read_to_string(work.path("page.html")).unwrap();
        let sha = unbraid_io::input_sha256(&work.path("fit.h5ad")).unwrap();
        for part in [
            "Survival by the factors of nmf in fit.h5ad",
            "All factors together",
            "Each factor alone",
            "Factor 2 is the same",
            &sha,
        ] {
            assert!(page.contains(part), "{part}");
        }
        // Two factors vary; each has a band for each group.
        assert_eq!(page.matches("fill-opacity=\"0.13\"").count(), 2 * groups);
        assert!(!page.contains("NaN"));
        let found = json(&work, &format!("{LINE}{more}"));
        assert_eq!(found["log_rank"][0]["groups"].as_array().unwrap().len(), groups);
        assert!(found["log_rank"][0]["p"].as_f64().unwrap() < 0.05, "{found}");
    }
}

#[test]
fn an_effect_that_changes_over_time_is_said() {
    // The factor hastens early events and delays late ones.
    let work = with_factors(|data, fit| {
        let score = |i: usize| (i as f64 * 1.7).sin();
        let days = |i: usize| if i < 20 { 20.0 - 15.0 * score(i) } else { 70.0 + 25.0 * score(i) };
        data.obs.columns[0].1 = Column::Float((0..40).map(|i| days(i).round()).collect());
        data.obs.columns[1].1 = Column::Int(vec![Some(1); 40]);
        fit.obsm.insert("X_nmf".into(), Slot::F64(Array2::from_shape_fn((40, 1), |(i, _)| score(i) + 2.0)));
    });
    let ran = work.ok(LINE);
    assert!(ran.err.contains("Hazards are not proportional for factor 1 (p "), "{}{}", ran.err, ran.out);
    assert!(json(&work, LINE)["joint"]["factors"][0]["ph_p"].as_f64().unwrap() < 0.05);
}

#[test]
fn columns_may_be_text_in_the_file_or_in_a_table() {
    let work = with_factors(|_, _| {});
    let plain = json(&work, LINE);
    let days = crate::column(&work.read("fit.h5ad").obs, "days");
    let line =
        |i: usize| format!("obs{i}\t{}\t{}\n", days[i], if i.is_multiple_of(5) { "0" } else { "TRUE" });
    let table = format!("patient\tdays\tdied\n{}", (0..40).rev().map(line).collect::<String>());
    work.write("clinical.tsv", &table);
    work.write("clinical.csv", table.replace('\t', ","));
    for file in ["clinical.tsv", "clinical.csv"] {
        let found = json(&work, &format!("{LINE} --obs {file}"));
        assert_eq!(found["joint"], plain["joint"], "{file}");
        assert_eq!(found["inputs"], serde_json::json!(["fit.h5ad", file]));
        let sha = unbraid_io::input_sha256(&work.path(file)).unwrap();
        assert_eq!(found["input_sha256"][1], sha);
    }
    let text = with_factors(|data, _| {
        data.obs.columns[0].1 = Column::Text(days.iter().map(|d| Some(d.to_string())).collect());
    });
    assert_eq!(json(&text, LINE)["joint"], plain["joint"]);
}

#[test]
fn what_is_missing_is_dropped_and_counted() {
    let work = with_factors(|data, fit| {
        let Column::Float(days) = &mut data.obs.columns[0].1 else { panic!("not numbers") };
        days[3] = f64::NAN;
        let Column::Int(died) = &mut data.obs.columns[1].1 else { panic!("not whole") };
        died[4] = None;
        let used = (0..40).map(|i| Some(i != 7)).collect();
        fit.obs.insert("nmf_used".into(), Column::Bool(used));
    });
    let found = json(&work, LINE);
    assert_eq!((found["dropped"].as_u64(), found["observations"].as_u64()), (Some(3), Some(37)));
    assert!(work.ok(LINE).out.contains("3 observations dropped"));
    work.write("some.tsv", "id\tdays\tdied\nobs1\t5\t1\nobs2\tNA\t1\nobs6\t8\t1\nobs9\t7\t0\nobs8\t9\t1\n");
    let found = json(&work, &format!("{LINE} --obs some.tsv"));
    assert_eq!((found["dropped"].as_u64(), found["observations"].as_u64()), (Some(36), Some(4)));
}

#[test]
fn a_joint_fit_that_is_impossible_leaves_the_single_ones() {
    let work = with_factors(|data, _| {
        let died = (0..40).map(|i| Some(i64::from(i == 12))).collect();
        data.obs.columns[1].1 = Column::Int(died);
    });
    let ran = work.ok(LINE);
    assert!(ran.err.contains("No joint fit"), "{}", ran.err);
    assert!(ran.out.contains("Each factor alone") && !ran.out.contains("All factors"), "{}", ran.out);
    assert!(json(&work, LINE)["joint"].is_null());
}

#[test]
fn mistakes_name_file_slot_and_what_to_do() {
    let work = with_factors(|data, _| {
        let labels = vec![Some("dead".to_owned()); 40];
        data.obs.columns.push(("status".into(), Column::Text(labels)));
        data.obs.columns.push(("none".into(), Column::Int(vec![Some(0); 40])));
        data.obs.columns.push(("empty".into(), Column::Float(vec![f64::NAN; 40])));
        let early = (0..40).map(|i| Some(5 - i)).collect();
        data.obs.columns.push(("early".into(), Column::Int(early)));
    });
    work.fails("survival none.h5ad --key nmf --time days --event died", 3, &["none.h5ad"]);
    work.fails(&LINE.replace("nmf", "qmf"), 3, &["fit.h5ad", "obsm[\"X_qmf\"]", "the file has nmf"]);
    work.fails(&LINE.replace("days", "weeks"), 3, &["fit.h5ad", "obs[\"weeks\"]", "days, died", "--obs"]);
    work.fails(
        &LINE.replace("died", "status"),
        3,
        &["fit.h5ad: obs[\"status\"], observation `obs0`", "dead"],
    );
    work.fails(&LINE.replace("died", "days"), 3, &["obs[\"days\"]", "1 (it happened)", "observation `obs0`"]);
    work.fails(&LINE.replace("days", "early"), 3, &["obs[\"early\"]", "holds -1", "observation `obs6`"]);
    work.fails(&LINE.replace("died", "none"), 3, &["fit.h5ad", "an event among 40", "coded"]);
    work.fails(&LINE.replace("days", "empty"), 3, &["fit.h5ad", "obs[\"empty\"]"]);
    work.fails(&format!("{LINE} --obs none.tsv"), 3, &["none.tsv", "check the path"]);
    work.fails(&format!("{LINE} --csv fit.h5ad"), 2, &["--csv fit.h5ad"]);
    work.fails(&format!("{LINE} --csv none/x.csv"), 4, &["none/x.csv"]);
    work.fails(&format!("{LINE} --report fit.h5ad"), 2, &["--report fit.h5ad"]);
    work.fails(&format!("{LINE} --report none/x.html"), 4, &["none/x.html"]);
    let ran = work.run(&format!("{LINE} --split halves"));
    assert!(ran.code == 2 && ran.err.contains("median, tertiles"), "{}", ran.err);
    let ran = work.run(&format!("{LINE} --ties exact"));
    assert!(ran.code == 2 && ran.err.contains("efron, breslow"), "{}", ran.err);
    for (name, text, part) in [
        (
            "twice.tsv",
            "id\tdays\tdied\nobs1\t1\t1\nobs1\t2\t1\n",
            "line 3: found \"obs1\", also the name of line 2",
        ),
        ("other.tsv", "id\tdays\tdied\ncell1\t1\t1\n", "1 of 1 that name no observation (\"cell1\")"),
        ("ragged.tsv", "id\tdays\tdied\nobs1\t1\t1\nobs2\t1\n", "line 3"),
        ("column.tsv", "id\tweeks\tdied\nobs1\t1\t1\n", "the columns are: weeks, died"),
        ("word.tsv", "id\tdays\tdied\nobs1\tlong\t1\n", "column `days`, observation `obs1`: found \"long\""),
        ("empty.tsv", "", "empty.tsv"),
    ] {
        work.write(name, text);
        work.fails(&format!("{LINE} --obs {name}"), 3, &[name, part]);
    }
}

#[test]
fn simulated_factors_can_be_tested_too() {
    let work = Work::new();
    let ran =
        work.ok("simulate quantile -o toy.h5ad --seed 2 --set features=30 --set observations=50 --set k=3");
    assert!(ran.out.contains("50 observations × 30 features"), "{}", ran.out);
    let next = ran.out.lines().last().unwrap().split("unbraid ").nth(1).unwrap().to_owned();
    work.ok(&next);
    let lines: String = (0..50).map(|i| format!("sample{i},{},1\n", (i * 37) % 50 + 1)).collect();
    work.write("clinical.csv", format!("id,days,died\n{lines}"));
    let found = json(&work, "survival toy.h5ad --time days --event died --obs clinical.csv");
    // Three shares that sum to 1 cannot be fitted together.
    assert_eq!(found["key"], "truth");
    assert!(found["joint"].is_null() && found["univariate"].as_array().unwrap().len() == 3);
    assert!(found["warnings"][0].as_str().unwrap().contains("linear combination"));
}
