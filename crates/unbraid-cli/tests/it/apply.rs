//! `unbraid apply`: a stored factorisation on new samples.

use ndarray::Array2;
use unbraid::data::{Dataset, Matrix, Selection, Table};

use crate::{Work, column, counts, dense, dict, floats, text};
use unbraid_io::h5ad::Elem;

const SMALL: &str = "--set k=3 --set levels=6 --set max_steps=80 --quiet";

/// Positive values of 24 samples and 15 features.
fn values() -> Dataset {
    let x = Array2::from_shape_fn((24, 15), |(i, j)| {
        let rough = ((7 * i + 13 * j) % 11) as f64 / 20.0;
        let (i, j) = (i as f64, j as f64);
        ((i * 0.9).sin() + 1.2) * ((j * 1.3).cos() + 1.1)
            + ((i * 0.4).cos() + 1.0) * ((j * 0.7).sin() + 1.0)
            + rough
            + 0.1
    });
    Dataset::from_matrix("x", Matrix::Dense(x))
}

fn chosen(data: &Dataset, obs: Option<Vec<usize>>, var: Option<Vec<usize>>) -> Dataset {
    data.select(&Selection { obs, var })
}

fn gap(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let size = b.fold(0.0, |m: f64, v| m.max(v.abs()));
    (a - b).fold(0.0, |m: f64, v| m.max(v.abs())) / size
}

fn json(work: &Work, line: &str) -> serde_json::Value {
    serde_json::from_str(&work.ok(&format!("{line} --json")).out).unwrap()
}

#[test]
fn the_samples_of_a_fit_get_its_scores_whatever_the_order_of_features() {
    let work = Work::new();
    let data = values();
    work.dataset("x.h5ad", &data);
    // Reversed features, one more, and half of the samples.
    let (n, m) = data.shape();
    let mut wide = data.clone();
    let mut x = Array2::ones((n, m + 1));
    x.slice_mut(ndarray::s![.., ..m]).assign(&data.x.to_dense());
    wide.x = Matrix::Dense(x);
    wide.var = Table::named((0..m).map(|j| format!("var{j}")).chain(["more".into()]).collect());
    let half: Vec<usize> = (0..n).step_by(2).collect();
    work.dataset("new.h5ad", &chosen(&wide, Some(half.clone()), Some((0..=m).rev().collect())));
    for (method, near, set) in [
        ("nmf", 2e-2, "--set k=3 --set tol=1e-9 --set max_steps=5000 --quiet"),
        ("qmfq", 1e-6, SMALL),
        ("qmfq", 1e-6, "--set k=3 --set levels=6 --set max_steps=30 --set projector=svd --key svd --quiet"),
        ("qmf", f64::INFINITY, SMALL),
    ] {
        let key = if set.contains("svd") { "svd" } else { method };
        work.ok(&format!("fit {method} x.h5ad -o fit.h5ad --set reconstruction=true --set scale=max {set}"));
        let fit = work.read("fit.h5ad");
        let stored = dense(&fit.obsm[&format!("X_{key}")]);
        let said = json(&work, "apply fit.h5ad new.h5ad -o out.h5ad --reconstruction");
        assert_eq!(
            (&said["method"], &said["features_matched"], &said["features_ignored"]),
            (&method.into(), &15.into(), &1.into())
        );
        let out = work.read("out.h5ad");
        let scores = dense(&out.obsm[&format!("X_{key}")]);
        assert!(gap(&scores, &stored.select(ndarray::Axis(0), &half)) <= near, "{method}");
        let losses = column(&out.obs, &format!("{key}_loss"));
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((mean - said["divergence"].as_f64().unwrap()).abs() < 1e-9 * mean, "nothing is missing");
        // The loss of the new half is about that of the fit.
        let Elem::Array(of_fit) = &dict(&fit.uns, key)["objective"] else { panic!("no objective") };
        let last = *floats(&of_fit.data).last().unwrap();
        assert!(mean < 2.0 * last, "{method}: {mean} {last}");
        let layer = format!("{key}_reconstruction");
        let (theirs, ours) = (dense(&fit.layers[&layer]), dense(&out.layers[&layer]));
        let back: Vec<usize> = (0..m).map(|j| m - j).collect();
        let ours = ours.select(ndarray::Axis(1), &back);
        let apart = gap(&ours, &theirs.select(ndarray::Axis(0), &half));
        assert!(apart <= near, "{method}: {apart}");
        assert_eq!(text(dict(&out.uns, &format!("{key}_applied")), "method"), method);
        crate::assert_finite(&work.path("out.h5ad"));
    }
    // All together in one file: the key says which.
    work.ok(&format!("fit nmf x.h5ad -o both.h5ad {SMALL}").replace("--set levels=6", ""));
    work.ok(&format!("fit qmfq both.h5ad -o both.h5ad {SMALL}"));
    work.fails("apply both.h5ad new.h5ad -o out.h5ad", 2, &["several factorisations", "--key: nmf, qmfq"]);
    work.fails(
        "apply both.h5ad new.h5ad -o out.h5ad --key qmf",
        3,
        &["the factorisation `qmf`", "has nmf, qmfq"],
    );
    let ran = work.ok("apply both.h5ad new.h5ad -o out.h5ad --key nmf --report page.html");
    assert!(ran.out.contains("15 of 15 features of the model (1 others ignored)"), "{}", ran.out);
    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    assert!(page.contains("nmf of both.h5ad applied to new.h5ad") && page.contains("Scores"));
}

#[test]
fn new_samples_are_prepared_by_the_constants_of_the_fit() {
    let work = Work::new();
    work.dataset("counts.h5ad", &Dataset::from_matrix("c", Matrix::Dense(counts(30, 20))));
    let signed = values();
    let signed = Dataset { x: signed.x.map(|v| v - 2.0), ..signed };
    work.dataset("signed.h5ad", &signed);
    for (file, set) in [
        ("counts.h5ad", "--set transform=lognorm --set genes=variable:12"),
        ("counts.h5ad", "--set transform=log1p --set genes=variable:12 --set scale=max"),
        ("signed.h5ad", "--set shift=min --set scale=max"),
    ] {
        work.ok(&format!("fit qmfq {file} -o fit.h5ad {SMALL} {set}"));
        let stored = dense(&work.read("fit.h5ad").obsm["X_qmfq"]);
        let all = unbraid_io::read(&work.path(file), &Default::default()).unwrap();
        work.dataset("new.h5ad", &chosen(&all, Some(vec![7, 3]), None));
        work.ok("apply fit.h5ad new.h5ad -o out.h5ad");
        let out = work.read("out.h5ad");
        assert!(gap(&dense(&out.obsm["X_qmfq"]), &stored.select(ndarray::Axis(0), &[7, 3])) < 1e-6, "{set}");
        assert_eq!(out.var.columns.iter().any(|c| c.0 == "qmfq_used"), set.contains("genes"));
    }
    // Values below the smallest and above the largest of the fit.
    let mut beyond = chosen(&signed, Some(vec![1, 2]), None);
    beyond.x = beyond.x.map(|v| 3.0 * v);
    work.dataset("new.h5ad", &beyond);
    let ran = work.ok("apply fit.h5ad new.h5ad -o out.h5ad");
    for part in [
        "below the smallest value of the fit and became 0",
        "outside the range of the fit",
        "the maps end there",
    ] {
        assert!(ran.err.contains(part), "`{part}`: {}", ran.err);
    }
    crate::assert_finite(&work.path("out.h5ad"));
}

#[test]
fn features_that_are_missing_are_named_or_go_by_the_policy() {
    let work = Work::new();
    let data = values();
    work.dataset("x.h5ad", &data);
    work.ok(&format!("fit nmf x.h5ad -o fit.h5ad {SMALL}").replace("--set levels=6", ""));
    work.dataset("new.h5ad", &chosen(&data, None, Some((2..15).collect())));
    work.write("out.h5ad", b"earlier");
    let line = "apply fit.h5ad new.h5ad -o out.h5ad";
    work.fails(
        line,
        3,
        &["new.h5ad: 2 of 15 features of the model (`var0`, `var1`)", "--missing-features unmeasured"],
    );
    assert_eq!(std::fs::read(work.path("out.h5ad")).unwrap(), b"earlier");
    let stored = dense(&work.read("fit.h5ad").obsm["X_nmf"]);
    let ran = work.ok(&format!("{line} --missing-features unmeasured"));
    assert!(ran.err.contains("2 of 15 features") && ran.err.contains("take no part"), "{}", ran.err);
    let scores = dense(&work.read("out.h5ad").obsm["X_nmf"]);
    assert!(gap(&scores, &stored) < 0.2, "the others tell the same: {}", gap(&scores, &stored));
    let ran = work.ok(&format!("{line} --missing-features zero"));
    assert!(ran.err.contains("they count as 0"), "{}", ran.err);
    let zero = dense(&work.read("out.h5ad").obsm["X_nmf"]);
    assert!(gap(&zero, &stored) > gap(&scores, &stored), "zeros are measurements");
    // Other names altogether.
    let mut other = data.clone();
    other.var = Table::numbered("gene", 15);
    work.dataset("other.h5ad", &other);
    for policy in ["error", "zero"] {
        let line = format!("apply fit.h5ad other.h5ad -o out.h5ad --missing-features {policy}");
        work.fails(&line, 3, &["15 of 15 features", "the new features are named as `gene0`", "--transpose"]);
    }
    let mut twice = data.clone();
    twice.var.names[3] = "var2".into();
    work.dataset("twice.h5ad", &twice);
    let parts = ["1 of the model occur more than once: `var2`", "var_names_make_unique"];
    work.fails("apply fit.h5ad twice.h5ad -o out.h5ad", 3, &parts);
}

#[test]
fn several_tables_go_to_several_files_or_to_one_with_all() {
    let work = Work::new();
    let data = values();
    let (a, b) = (chosen(&data, None, Some((0..8).collect())), chosen(&data, None, Some((8..15).collect())));
    // The same names in both tables.
    let b = Dataset { var: Table::numbered("var", 7), x: b.x.map(|v| 50.0 * v), ..b };
    for (name, table) in [("a.h5ad", &a), ("b.h5ad", &b)] {
        work.dataset(name, table);
        work.dataset(&format!("new.{name}"), &chosen(table, Some((4..9).rev().collect()), None));
    }
    work.ok(&format!("fit qmfq a.h5ad b.h5ad --join obs -o fit.h5ad --set scale=max {SMALL}"));
    let stored = dense(&work.read("fit.h5ad").obsm["X_qmfq"]);
    let wanted = stored.select(ndarray::Axis(0), &[8, 7, 6, 5, 4]);
    work.ok("apply fit.h5ad new.a.h5ad new.b.h5ad --join obs -o out.h5ad");
    assert!(gap(&dense(&work.read("out.h5ad").obsm["X_qmfq"]), &wanted) < 1e-6);
    // The fit's own output holds both tables side by side.
    work.ok("apply fit.h5ad fit.h5ad -o out.h5ad");
    assert!(gap(&dense(&work.read("out.h5ad").obsm["X_qmfq"]), &stored) < 1e-6);
    assert!(dense(&work.read("out.h5ad").varm["qmfq_loadings"]).nrows() == 15, "the fit is still there");
    work.fails("apply fit.h5ad new.a.h5ad new.b.h5ad -o out.h5ad", 2, &["--join obs"]);
    work.fails(
        "apply fit.h5ad new.a.h5ad new.b.h5ad a.h5ad --join obs -o out.h5ad",
        3,
        &["the same observations in every joined file"],
    );
    work.fails(
        "apply fit.h5ad new.b.h5ad new.a.h5ad --join obs -o out.h5ad",
        3,
        &["1 of 8 features of the model"],
    );
    work.fails("apply fit.h5ad new.a.h5ad -o out.h5ad", 3, &["of 8 features of the model", "var0 (a.h5ad)"]);
}

#[test]
fn what_cannot_be_applied_is_said() {
    let work = Work::new();
    let data = values();
    work.dataset("x.h5ad", &data);
    work.ok(&format!("fit qmf x.h5ad -o fit.h5ad {SMALL}"));
    work.ok("fit gmgm x.h5ad -o network.h5ad --quiet");
    work.fails(
        "apply x.h5ad x.h5ad -o out.h5ad",
        3,
        &["x.h5ad: a model for new samples is missing", "unbraid fit nmf"],
    );
    work.fails("apply network.h5ad x.h5ad -o out.h5ad", 3, &["a model for new samples is missing"]);
    work.fails("apply none.h5ad x.h5ad -o out.h5ad", 3, &["none.h5ad"]);
    work.fails("apply fit.h5ad none.h5ad -o out.h5ad", 3, &["none.h5ad"]);
    work.fails("apply fit.h5ad x.h5ad -o fit.h5ad", 2, &["`--output fit.h5ad` is also the model"]);
    work.write("x.csv", "a,b\n1,2\n");
    work.fails("apply x.csv x.h5ad -o out.h5ad", 3, &["fits are stored in .h5ad files"]);
    for (value, parts) in [
        (-1.0, &["new.h5ad: X holds -1", "0 or larger", "observation `obs2`, feature `var5`"][..]),
        (f64::NAN, &["new.h5ad: X holds NaN", "observation `obs2`, feature `var5`"]),
        (f64::INFINITY, &["new.h5ad: X holds inf", "observation `obs2`, feature `var5`"]),
    ] {
        let mut x = data.x.to_dense();
        x[[2, 5]] = value;
        work.dataset("new.h5ad", &Dataset { x: Matrix::Dense(x), ..data.clone() });
        work.fails("apply fit.h5ad new.h5ad -o out.h5ad", 3, parts);
        if value.is_nan() {
            work.ok("apply fit.h5ad new.h5ad -o nan.h5ad --missing-features unmeasured");
            crate::assert_finite(&work.path("nan.h5ad"));
        }
    }
    // Slots of the fit cut away.
    let mut cut = work.read("fit.h5ad");
    cut.varm.remove("qmf_potentials");
    unbraid_io::h5ad::write_anndata(&work.path("cut.h5ad"), &cut).unwrap();
    work.fails("apply cut.h5ad x.h5ad -o out.h5ad", 3, &["varm[\"qmf_potentials\"] is missing"]);
    assert!(!work.path("out.h5ad").exists());
}
