//! `fit nmf`, `fit qmf`, `fit qmfq` and `choose-k`: slots, kinds of input, interruption, and what is refused.

use std::process::Stdio;
use std::time::Instant;

use ndarray::Array2;
use unbraid::data::{Csr, Dataset, Matrix};
use unbraid_io::h5ad::{Array, Elem, Numbers, write_anndata};

use crate::{Work, assert_finite, column, counts, dense, dict, simulated, text};

const METHODS: [&str; 3] = ["nmf", "qmf", "qmfq"];
const QUICK: &str = "--set k=2 --set max_steps=20 --quiet";

fn nonnegative(n: usize, m: usize) -> Array2<f64> {
    simulated(n, m, 3).mapv(|v| (0.4 * v).exp())
}

#[test]
fn every_method_writes_its_slots() {
    let work = Work::new();
    work.dataset("x.h5ad", &Dataset::from_matrix("x", Matrix::Dense(nonnegative(20, 14))));
    for method in METHODS {
        work.ok(&format!("fit {method} x.h5ad -o out.h5ad --key f --set reconstruction=true {QUICK}"));
        let out = work.read("out.h5ad");
        assert_finite(&work.path("out.h5ad"));
        let shape = |e: &Elem| dense(e).dim();
        assert_eq!((shape(&out.obsm["X_f"]), shape(&out.varm["f_loadings"])), ((20, 2), (14, 2)));
        assert_eq!(shape(&out.layers["f_reconstruction"]), (20, 14));
        for which in [&["", "in_"][..], &[""], &[]][METHODS.iter().rev().position(|m| *m == method).unwrap()]
        {
            for name in ["quantiles", "weights", "potentials"] {
                assert_eq!(
                    dense(&out.varm[&format!("f_{which}{name}")]).nrows(),
                    14,
                    "{method} {which}{name}"
                );
            }
            for name in ["location", "spread", "stretch"] {
                assert_eq!(column(&out.var, &format!("f_{which}{name}")).len(), 14);
            }
        }
        assert_eq!(out.var.columns.iter().any(|c| c.0 == "f_gain"), method == "qmfq");
        let notes = dict(&out.uns, "f");
        assert_eq!((text(notes, "method"), text(notes, "loss")), (method, "kl"));
        assert!(notes.contains_key("preparation") && dict(notes, "params").contains_key("k"));
    }
}

#[test]
fn layers_integers_and_sparse_tables_give_the_same_fit() {
    let work = Work::new();
    let x = counts(18, 12);
    work.h5ad("dense.h5ad", Matrix::Dense(x.clone()));
    work.h5ad("sparse.h5ad", Matrix::Sparse(Csr::from_dense(x.view())));
    let mut file = work.read("dense.h5ad");
    let data = Numbers::I32(x.iter().map(|v| *v as i32).collect());
    let whole = Elem::Array(Array { shape: vec![18, 12], data });
    file.layers.insert("whole".into(), whole.clone());
    write_anndata(&work.path("layer.h5ad"), &file).unwrap();
    file.x = Some(whole);
    write_anndata(&work.path("integer.h5ad"), &file).unwrap();
    for method in METHODS {
        let scores = |input: &str| {
            work.ok(&format!("fit {method} {input} -o out.h5ad {QUICK}"));
            dense(&work.read("out.h5ad").obsm[&format!("X_{method}")])
        };
        let first = scores("dense.h5ad");
        for input in ["sparse.h5ad", "integer.h5ad", "layer.h5ad --layer whole", "dense.h5ad --threads 1"] {
            assert_eq!(scores(input), first, "{method} {input}");
        }
    }
}

#[test]
fn a_feature_that_does_not_vary_is_reproduced_with_a_warning() {
    let work = Work::new();
    let mut x = nonnegative(16, 10);
    x.column_mut(3).fill(2.5);
    x.column_mut(7).fill(0.0);
    work.h5ad("x.h5ad", Matrix::Dense(x));
    for method in ["qmf", "qmfq"] {
        let ran = work.ok(&format!("fit {method} x.h5ad -o out.h5ad --set reconstruction=true {QUICK}"));
        assert!(ran.err.contains("warning: 2 features have the same value in all samples"), "{}", ran.err);
        let table = dense(&work.read("out.h5ad").layers[&format!("{method}_reconstruction")]);
        assert!(table.column(3).iter().all(|v| *v == 2.5) && table.column(7).iter().all(|v| *v == 0.0));
        assert_finite(&work.path("out.h5ad"));
        // The fit applies to them, too.
        work.ok("apply out.h5ad x.h5ad -o applied.h5ad --reconstruction");
        let again = dense(&work.read("applied.h5ad").layers[&format!("{method}_reconstruction")]);
        assert!(again.column(3).iter().all(|v| (v - 2.5).abs() < 1e-12));
    }
}

#[test]
fn missing_entries_take_no_part_and_are_predicted() {
    let work = Work::new();
    let mut x = nonnegative(20, 12);
    (0..20).for_each(|i| x[[i, (i * 5) % 12]] = f64::NAN);
    work.h5ad("x.h5ad", Matrix::Dense(x.clone()));
    for method in METHODS {
        let line = format!("fit {method} x.h5ad -o out.h5ad {QUICK}");
        work.fails(
            &line,
            3,
            &["x.h5ad: X holds NaN at row 0, column 0", "missing=nan", "observation `obs0`"],
        );
        work.ok(&format!("{line} --set missing=nan --set reconstruction=true"));
        assert_finite(&work.path("out.h5ad"));
        let predicted = dense(&work.read("out.h5ad").layers[&format!("{method}_reconstruction")]);
        assert!(predicted.iter().all(|v| v.is_finite() && *v >= 0.0));
        // Fitted again to its own table, with the same entries missing.
        work.ok("apply out.h5ad x.h5ad -o applied.h5ad");
        let (a, b) = (work.read("out.h5ad"), work.read("applied.h5ad"));
        let name = format!("X_{method}");
        let gap = (&dense(&a.obsm[&name]) - &dense(&b.obsm[&name])).fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(method != "qmfq" || gap < 1e-6, "{gap}");
    }
    let line = format!("fit qmfq x.h5ad -o out.h5ad {QUICK} --set missing=nan --set projector=svd");
    work.fails(&line, 2, &["`missing` is nan", "projector=svd", "every entry"]);
}

#[test]
fn values_that_no_factors_can_have_are_refused() {
    let work = Work::new();
    let x = nonnegative(12, 9);
    let mut negative = x.clone();
    negative[[2, 5]] = -0.5;
    let mut infinite = x.clone();
    infinite[[2, 5]] = f64::INFINITY;
    let mut absent = x.clone();
    absent.column_mut(4).fill(f64::NAN);
    for (name, table) in [
        ("x.h5ad", x),
        ("negative.h5ad", negative),
        ("infinite.h5ad", infinite),
        ("absent.h5ad", absent),
        ("zero.h5ad", Array2::zeros((12, 9))),
        ("flat.h5ad", Array2::from_elem((12, 9), 3.0)),
    ] {
        work.h5ad(name, Matrix::Dense(table));
    }
    for method in METHODS {
        let fails = |rest: &str, code: i32, parts: &[&str]| {
            work.fails(&format!("fit {method} {rest} -o out.h5ad --quiet"), code, parts);
            assert!(!work.path("out.h5ad").exists(), "{rest}");
        };
        let place = ["row 2, column 5", "observation `obs2`, feature `var5`"];
        fails(
            "negative.h5ad",
            3,
            &["negative.h5ad: X holds -0.5", place[0], place[1], "0 or larger", "shift"],
        );
        fails("infinite.h5ad", 3, &["infinite.h5ad: X holds inf", place[0], place[1], "finite"]);
        fails("absent.h5ad", 3, &["absent.h5ad: X holds NaN at row 0, column 4", "feature `var4`"]);
        fails("absent.h5ad --set missing=nan", 3, &["column 4 holds no measured value", "feature `var4`"]);
        fails("zero.h5ad", 3, &["zero.h5ad: a value above 0 in X is missing", "nothing to fit"]);
        fails("x.h5ad --set k=0", 2, &["`k` is 0", "at least 1"]);
        fails("x.h5ad --set k=10", 2, &["`k` is 10"]);
        fails("x.h5ad --set k=-1", 2, &["whole number"]);
        fails("x.h5ad --set max_steps=0", 2, &["`max_steps` is 0"]);
        fails("x.h5ad --set tol=-1", 2, &["`tol` is -1", "0 or a positive number"]);
        fails("x.h5ad --set loss=huber", 2, &["`huber` is not a loss", "kl, frobenius"]);
        fails("x.h5ad --set missing=zero", 2, &["`zero` is not a treatment of missing values", "error, nan"]);
        fails("x.h5ad --set epsilonn=1", 2, &["no parameter `epsilonn`"]);
        fails("x.h5ad --set preset=nature", 2, &["`preset=nature` is not known", "preset=paper"]);
        fails("x.h5ad x.h5ad", 2, &["--join obs"]);
        // A preset is the base, and what is set goes on top, whatever the order.
        work.ok(&format!(
            "fit {method} x.h5ad -o out.h5ad --set k=2 --set max_steps=3 --set preset=paper --quiet"
        ));
        let out = work.read("out.h5ad");
        let params = dict(dict(&out.uns, method), "params");
        assert_eq!(params["max_steps"], Elem::scalar(Numbers::I64(vec![3])));
        assert_eq!(params["tol"], Elem::scalar(Numbers::F64(vec![0.0])));
        std::fs::remove_file(work.path("out.h5ad")).unwrap();
    }
    for method in ["qmf", "qmfq"] {
        let fails = |rest: &str, code: i32, parts: &[&str]| {
            work.fails(&format!("fit {method} {rest} -o out.h5ad --quiet"), code, parts);
        };
        for levels in [0, 1] {
            let found = format!("`levels` is {levels}");
            fails(
                &format!("x.h5ad --set k=2 --set levels={levels}"),
                2,
                &[&found, "at least 2", "a constant"],
            );
        }
        for epsilon in ["0", "-0.01"] {
            fails(&format!("x.h5ad --set k=2 --set epsilon={epsilon}"), 2, &["`epsilon`", "above 0"]);
        }
        fails("x.h5ad --set epsilon=nan", 2, &["epsilon", "finite"]);
        fails("x.h5ad --set squash=tanh", 2, &["`tanh` is not", "logistic"]);
        fails("x.h5ad --set k=2 --set learning_rate=0", 2, &["`learning_rate` is 0", "a positive number"]);
        fails("x.h5ad --set k=2 --set accuracy=0", 2, &["`accuracy` is 0"]);
        fails("x.h5ad --set k=2 --max-memory 20kB", 3, &["20.0 kB are allowed"]);
        fails("flat.h5ad --set k=2", 3, &["flat.h5ad: a feature that varies in X is missing"]);
    }
    work.fails(
        "fit qmf x.h5ad -o out.h5ad --set maps=tied --set quantiles=free",
        2,
        &["`quantiles` is free", "maps=tied"],
    );
    work.fails("fit qmf x.h5ad -o out.h5ad --set rho=-1", 2, &["`rho` is -1"]);
    work.fails("fit qmfq x.h5ad -o out.h5ad --set nmf_steps=0", 2, &["`nmf_steps` is 0"]);
    work.fails("fit qmfq x.h5ad -o out.h5ad --set projector=ica", 2, &["`ica` is not a projector", "svd"]);
}

#[test]
fn a_killed_fit_goes_on_to_the_same_bits() {
    let work = Work::new();
    work.h5ad("x.h5ad", Matrix::Dense(nonnegative(60, 50)));
    for (command, notes) in [
        ("fit nmf x.h5ad --set k=4 --set tol=0 --set max_steps=400", "nmf"),
        ("fit qmf x.h5ad --set k=4 --set tol=0 --set max_steps=150 --set minibatch=16", "qmf"),
        ("fit qmfq x.h5ad --set k=4 --set tol=0 --set max_steps=25", "qmfq"),
        ("choose-k nmf x.h5ad --k 2..6 --masks 3 --restarts 3", "nmf_choice"),
    ] {
        let line = format!(
            "{command} -o out.h5ad --seed 3 --threads 2 --checkpoint state --checkpoint-every 0 --quiet"
        );
        work.ok(&line);
        let begun = Instant::now();
        work.ok(&line);
        let time = begun.elapsed();
        let whole = work.slots("out.h5ad", notes);
        let mut resumed = 0;
        for kill in 1..=6u32 {
            std::fs::remove_file(work.path("out.h5ad")).unwrap();
            let mut child = work.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(time.mul_f64(0.12 * f64::from(kill)));
            child.kill().unwrap();
            child.wait().unwrap();
            resumed += usize::from(work.path("state").exists());
            work.ok(&line);
            assert!(work.slots("out.h5ad", notes) == whole, "{command}, kill {kill}: other bits");
        }
        assert!(resumed > 0, "{command}: no kill hit the fit");
        work.ok(&line.replace("--threads 2", "--threads 1"));
        assert!(work.slots("out.h5ad", notes) == whole, "{command}: one thread");
        assert_eq!(work.files(), ["out.h5ad", "x.h5ad"]);
    }
}

#[test]
fn a_choice_of_k_is_printed_written_and_drawn() {
    let work = Work::new();
    work.h5ad("x.h5ad", Matrix::Dense(counts(30, 20)));
    let line = "choose-k nmf x.h5ad -o out.h5ad --k 1,2,4 --masks 3 --restarts 2";
    let ran = work.ok(&format!("{line} --csv k.csv --report k.html"));
    for part in ["held-out loss", "dispersion", "suggested k: ", "choice of k of nmf on x.h5ad"] {
        assert!(ran.out.contains(part), "`{part}`: {}", ran.out);
    }
    let said: serde_json::Value = serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap();
    let rows = said["table"].as_array().unwrap();
    assert_eq!(rows.iter().map(|r| r["k"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 4]);
    assert!(rows.iter().all(|r| r["masks"].as_array().unwrap().len() == 3 && r["dispersion"].is_f64()));
    assert!([1, 2, 4].contains(&said["suggested_k"].as_u64().unwrap()));
    let csv = std::fs::read_to_string(work.path("k.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.starts_with(
        "k,held_out,standard_error,above_best,above_best_error,dispersion,loss,suggested,mask_1"
    ));
    let page = std::fs::read_to_string(work.path("k.html")).unwrap();
    assert!(page.contains("Loss of held-out entries") && page.contains("Agreement of restarts"));
    let out = work.read("out.h5ad");
    let notes = dict(&out.uns, "nmf_choice");
    assert!(
        notes.contains_key("table") && notes.contains_key("suggested") && notes.contains_key("preparation")
    );
    assert_finite(&work.path("out.h5ad"));
    for (more, parts) in [
        ("--k 0..3", &["FROM..TO"][..]),
        ("--k 3..2", &["FROM..TO"]),
        ("--k 2..40", &["`k` is 21", "smaller of the two"]),
        ("--masks 0", &["`masks` is 0"]),
        ("--held-out 0.9", &["`held_out` is 0.9", "0.01 to 0.5"]),
        ("--restarts 1", &["0 or at least 2"]),
        ("--set k=3", &["`--set k` is not read here; use --k"]),
        ("--set stps=3", &["no parameter `stps`"]),
        ("--csv x.h5ad", &["`--csv x.h5ad` is also an input"]),
    ] {
        let ran = work.run(&format!("choose-k nmf x.h5ad -o none.h5ad {more}"));
        assert_eq!(ran.code, 2, "{more}: {}", ran.err);
        parts.iter().for_each(|part| assert!(ran.err.contains(part), "{more}: {}", ran.err));
        assert!(!work.path("none.h5ad").exists());
    }
    let svd = "choose-k qmfq x.h5ad -o none.h5ad --set projector=svd";
    work.fails(svd, 2, &["`projector` is svd", "held-out entries are missing ones"]);
}
