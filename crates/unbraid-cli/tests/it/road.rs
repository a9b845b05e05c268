//! From data to results: every method, every format, every option.

use std::process::Stdio;

use ndarray::Array2;
use unbraid::data::{Column, Csr, Dataset, Matrix, Table};
use unbraid_io::h5ad::{AnnData, Array, Elem, Frame, Major, Numbers, Raw, Sparse, write_anndata};

use crate::{
    METHODS, Work, assert_finite, column, counts, dense, dict, floats, gz, mtx, npy, npz, simulated, table,
    tenx, text,
};

/// Every slot of `before` is in `after` as it was.
fn assert_kept(before: &AnnData, after: &AnnData) {
    assert!(before.x == after.x, "X changed");
    for (name, a, b) in [
        ("obsm", &before.obsm, &after.obsm),
        ("varm", &before.varm, &after.varm),
        ("obsp", &before.obsp, &after.obsp),
        ("varp", &before.varp, &after.varp),
        ("layers", &before.layers, &after.layers),
        ("uns", &before.uns, &after.uns),
    ] {
        a.iter().for_each(|(slot, elem)| assert!(b.get(slot) == Some(elem), "{name}[{slot}] changed"));
    }
    for (name, a, b) in [("obs", &before.obs, &after.obs), ("var", &before.var, &after.var)] {
        assert!(a.index == b.index && a.index_name == b.index_name, "names of {name} changed");
        a.columns.iter().for_each(|c| assert!(b.columns.contains(c), "{name}[{}] changed", c.0));
    }
    assert!(before.raw == after.raw && before.other == after.other);
}

/// The network of one axis: signed precision, graph of its absolute values.
fn assert_network(data: &AnnData, axis: &str, key: &str) {
    let pairs = if axis == "obs" { &data.obsp } else { &data.varp };
    let psi = dense(&pairs[&format!("{key}_precision")]);
    let graph = dense(&pairs[&format!("{key}_connectivities")]);
    let d = psi.nrows();
    assert_eq!((psi.dim(), graph.dim()), ((d, d), (d, d)));
    assert!(psi == psi.t(), "{key}: the precision of {axis} is not symmetric");
    assert!(graph == graph.t() && graph.iter().all(|v| *v >= 0.0));
    assert!(psi.diag().iter().all(|v| *v > 0.0), "{key}: the precision of {axis} has its diagonal");
    assert!(psi.iter().any(|v| *v < 0.0), "{key}: the precision of {axis} is signed");
    let off = Array2::from_shape_fn((d, d), |(i, j)| if i == j { 0.0 } else { psi[[i, j]].abs() });
    assert!(graph == off, "{key}: the graph of {axis} holds the absolute values of the kept edges");
}

#[test]
fn every_method_writes_the_documented_slots_and_leaves_the_rest() {
    let work = Work::with_data();
    let before = work.read("data.h5ad");
    for method in METHODS {
        let line = format!("fit {method} data.h5ad -o {method}.h5ad --report {method}.html --seed 5 --json");
        let ran = work.ok(&line);
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let after = work.read(&format!("{method}.h5ad"));
        assert_finite(&work.path(&format!("{method}.h5ad")));
        assert_kept(&before, &after);

        let axes: &[&str] = if method == "tyler" { &["var"] } else { &["obs", "var"] };
        axes.iter().for_each(|axis| assert_network(&after, axis, method));
        let neighbours = dict(&after.uns, &format!("{method}_neighbors"));
        let graph = text(neighbours, "connectivities_key");
        assert!(after.obsp.contains_key(graph) || after.varp.contains_key(graph));
        assert!(after.obsp.contains_key(text(neighbours, "distances_key")) || axes.len() == 1);
        let params = dict(neighbours, "params");
        assert_eq!(text(params, "method"), method);
        let Elem::Array(k) = &params["n_neighbors"] else { panic!() };
        assert_eq!(floats(&k.data), [10.0]);

        let notes = dict(&after.uns, method);
        let sha = unbraid_io::input_sha256(&work.path("data.h5ad")).unwrap();
        assert_eq!(text(notes, "input_sha256"), sha);
        assert_eq!(text(notes, "version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(text(notes, "stop"), "converged");
        assert_eq!(text(notes, "method"), method);
        assert_eq!(notes["seed"], Elem::scalar(Numbers::I64(vec![5])));
        assert_eq!(notes["warnings"], Elem::texts(Vec::new()));
        let Elem::Array(seconds) = &notes["seconds"] else { panic!() };
        assert!(floats(&seconds.data)[0] >= 0.0);
        assert_eq!(text(dict(notes, "params"), "keep"), "top:10");
        let objective = match notes.get("objective") {
            Some(Elem::Array(trace)) => floats(&trace.data),
            None if method == "single-axis" => Vec::new(), // a direct method has no trace
            other => panic!("{other:?}"),
        };
        if method == "medmagma" {
            for (frame, n) in [(&after.obs, 30), (&after.var, 24)] {
                let scale = column(frame, "medmagma_scale");
                assert_eq!(scale.len(), n);
                assert!(scale.iter().all(|s| *s > 0.0));
                let log: f64 = scale.iter().map(|s| s.ln()).sum();
                assert!(log.abs() < 1e-9, "the geometric mean is 1");
            }
        }

        for (field, value) in [
            ("method", method.into()),
            ("key", method.into()),
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("seed", 5.into()),
            ("inputs", vec!["data.h5ad"].into()),
            ("input_sha256", vec![sha.as_str()].into()),
            ("output", format!("{method}.h5ad").into()),
            ("report", format!("{method}.html").into()),
            ("observations", 30.into()),
            ("features", 24.into()),
            ("sweeps", objective.len().into()),
            ("objective", objective.last().copied().into()),
            ("resumed", false.into()),
            ("warnings", serde_json::json!([])),
        ] {
            assert_eq!(said[field], value, "{method}: {field}");
        }
        let stop = if method == "single-axis" { serde_json::Value::Null } else { "converged".into() };
        assert_eq!(said["stop"], stop);
        assert!(said["seconds"].as_f64().unwrap() >= 0.0);
        assert_eq!(said["networks"].as_array().unwrap().len(), axes.len());
        for (network, axis) in said["networks"].as_array().unwrap().iter().zip(axes) {
            let (pairs, name, nodes) = match *axis {
                "obs" => (&after.obsp, "observations", 30),
                _ => (&after.varp, "features", 24),
            };
            let graph = dense(&pairs[&format!("{method}_connectivities")]);
            let edges = graph.iter().filter(|v| **v > 0.0).count() / 2;
            assert_eq!(
                *network,
                serde_json::json!({"axis": if method == "tyler" { "features" } else { name }, "nodes": nodes, "edges": edges})
            );
        }
    }
}

#[test]
fn keys_presets_and_a_second_fit_share_a_file() {
    let work = Work::with_data();
    let words = work.ok("fit medmagma data.h5ad -o data.h5ad --key first").out;
    assert!(words.contains("medmagma on data.h5ad: 30 observations × 24 features, converged"), "{words}");
    let first = work.read("data.h5ad");
    work.ok("fit gmgm data.h5ad -o data.h5ad --key second --quiet");
    let both = work.read("data.h5ad");
    assert_kept(&first, &both);
    for key in ["first", "second"] {
        assert_network(&both, "obs", key);
        assert_network(&both, "var", key);
    }
    // The same key again replaces what is there.
    work.write("p.toml", "steps = 50\nkeep = \"dense\"\nem = true\n");
    let ran =
        work.ok("fit medmagma data.h5ad -o data.h5ad --key first --params p.toml --set steps=60 --json");
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["params"]["steps"], &said["params"]["keep"]), (&60.into(), &"dense".into()));
    let again = work.read("data.h5ad");
    assert!(matches!(&again.obsp["first_precision"], Elem::Array(a) if a.shape == [30, 30]));
    assert!(again.obsp["second_precision"] == both.obsp["second_precision"]);
    let ran = work.ok("fit medmagma data.h5ad -o p.h5ad --set preset=paper --set max_steps=3 --json");
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["params"]["laplace"], &said["stop"]), (&"code".into(), &"max_steps".into()));
    assert!(said["warnings"][0].as_str().unwrap().contains("did not converge in 3 sweeps"), "{}", ran.out);
    assert!(ran.err.contains("warning: EM did not converge"), "a warning, not a failure");
    // A seed beyond the signed integers is kept as it was typed.
    work.ok("fit gmgm data.h5ad -o seed.h5ad --seed 18446744073709551615");
    assert_eq!(text(dict(&work.read("seed.h5ad").uns, "gmgm"), "seed"), "18446744073709551615");
}

/// Ψ of both axes of a dense fit of the file.
fn precisions(work: &Work, method: &str, file: &str, more: &str) -> [Array2<f64>; 2] {
    work.ok(&format!("fit {method} {file} -o out.h5ad --key k --set keep=dense --quiet {more}"));
    let out = work.read("out.h5ad");
    [dense(&out.obsp["k_precision"]), dense(&out.varp["k_precision"])]
}

fn near(a: &[Array2<f64>; 2], b: &[Array2<f64>; 2], tol: f64, what: &str) {
    for (a, b) in a.iter().zip(b) {
        let size = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let gap = (a - b).iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(gap <= tol * size, "{what}: {:e}", gap / size);
    }
}

#[test]
fn every_format_of_the_same_values_gives_the_same_fit() {
    let work = Work::new();
    let x = counts(26, 20) * 0.37;
    work.h5ad("x.h5ad", Matrix::Dense(x.clone()));
    work.write("x.csv", table(&x, ","));
    work.write("x.csv.gz", gz(table(&x, ",")));
    work.write("x.tsv.gz", gz(table(&x, "\t")));
    work.write("x.npy", npy(&x));
    work.write("x.npz", npz("X.npy", &npy(&x)));
    work.write("x.mtx", mtx(&x));
    work.write("x.mtx.gz", gz(mtx(&x)));
    tenx(&work, "x10", &x);
    let files = ["x.csv", "x.csv.gz", "x.tsv.gz", "x.npy", "x.npz", "x.mtx", "x.mtx.gz", "x10"];
    for (method, tol) in [("medmagma", 1e-12), ("gmgm", 1e-9)] {
        let whole = precisions(&work, method, "x.h5ad", "");
        for file in files {
            near(&precisions(&work, method, file, ""), &whole, tol, &format!("{method} on {file}"));
        }
    }
    // Names come along where the format has them, and the values are there.
    for file in ["x.csv", "x10"] {
        work.ok(&format!("fit single-axis {file} -o named.h5ad"));
        let named = work.read("named.h5ad");
        let Elem::Strings(genes) = &*named.var.index else { panic!() };
        assert_eq!(genes.values[3], "var3");
        assert_eq!(dense(named.x.as_ref().unwrap()), x, "{file}");
    }
}

fn frame(prefix: &str, n: usize) -> Frame {
    let names = (0..n).map(|i| format!("{prefix}{i}")).collect();
    Frame { index: Box::new(Elem::texts(names)), ..Frame::default() }
}

fn anndata(x: Elem, n: usize, m: usize) -> AnnData {
    AnnData { x: Some(x), obs: frame("c", n), var: frame("g", m), ..AnnData::default() }
}

/// The matrix by rows or by columns, indices and values of the given types.
fn sparse(x: &Array2<f64>, major: Major, data: fn(Vec<f64>) -> Numbers, wide: bool) -> Elem {
    let by = if major == Major::Row { x.view() } else { x.t() };
    let csr = Csr::from_dense(by);
    let whole = |v: Vec<i64>| match wide {
        true => Numbers::I64(v),
        false => Numbers::I32(v.into_iter().map(|v| v as i32).collect()),
    };
    Elem::Sparse(Sparse {
        shape: x.dim(),
        major,
        indptr: whole(csr.indptr().iter().map(|&v| v as i64).collect()),
        indices: whole(csr.indices().iter().map(|&v| v.into()).collect()),
        data: data(csr.values().to_vec()),
    })
}

#[test]
fn types_and_storage_of_the_same_values_give_the_same_fit() {
    let work = Work::new();
    let x = counts(26, 20);
    let (n, m) = x.dim();
    let flat: Vec<f64> = x.iter().copied().collect();
    let array = |data: Numbers| Elem::Array(Array { shape: vec![n, m], data });
    let single = |v: Vec<f64>| Numbers::F32(v.into_iter().map(|v| v as f32).collect());
    let whole = |v: Vec<f64>| Numbers::I32(v.into_iter().map(|v| v as i32).collect());
    let bytes = |v: Vec<f64>| Numbers::U8(v.into_iter().map(|v| v as u8).collect());
    let forms = [
        ("f64", array(Numbers::F64(flat.clone()))),
        ("f32", array(single(flat.clone()))),
        ("i32", array(whole(flat.clone()))),
        ("u8", array(bytes(flat))),
        ("csr of f64", sparse(&x, Major::Row, Numbers::F64, false)),
        ("csr of f32", sparse(&x, Major::Row, single, true)),
        ("csr of u8", sparse(&x, Major::Row, bytes, false)),
        ("csc of f64", sparse(&x, Major::Column, Numbers::F64, true)),
        ("csc of i32", sparse(&x, Major::Column, whole, false)),
    ];
    let mut first: Option<[[Array2<f64>; 2]; 2]> = None;
    for (name, form) in forms {
        write_anndata(&work.path("x.h5ad"), &anndata(form, n, m)).unwrap();
        let fits = ["medmagma", "gmgm"].map(|method| precisions(&work, method, "x.h5ad", ""));
        let Some(first) = &first else {
            first = Some(fits);
            continue;
        };
        assert!(fits[0] == first[0], "medmagma on {name}: other bits");
        near(&fits[1], &first[1], 1e-9, &format!("gmgm on {name}"));
    }
}

#[test]
fn layers_and_raw_are_fitted_instead_of_x() {
    let work = Work::new();
    let (x, y) = (counts(26, 20), simulated(26, 20, 9));
    let wide = counts(26, 31);
    let array = |x: &Array2<f64>| {
        let data = Numbers::F64(x.iter().copied().collect());
        Elem::Array(Array { shape: vec![x.nrows(), x.ncols()], data })
    };
    let mut data = anndata(array(&y), 26, 20);
    data.layers.insert("counts".into(), array(&x));
    data.raw = Some(Raw { x: Some(array(&wide)), var: frame("r", 31), ..Raw::default() });
    write_anndata(&work.path("data.h5ad"), &data).unwrap();
    work.h5ad("x.h5ad", Matrix::Dense(x));
    let layer = precisions(&work, "medmagma", "data.h5ad", "--layer counts");
    assert_kept(&data, &work.read("out.h5ad"));
    assert!(layer == precisions(&work, "medmagma", "x.h5ad", ""));
    assert!(layer != precisions(&work, "medmagma", "data.h5ad", ""));
}

fn named(x: Array2<f64>, file: &str, cells: Vec<usize>, genes: &str) -> Dataset {
    let mut data = Dataset::from_matrix(file, Matrix::Dense(x.select(ndarray::Axis(0), &cells)));
    data.obs = Table::named(cells.iter().map(|i| format!("cell{i}")).collect());
    data.var = Table::numbered(genes, x.ncols());
    data
}

#[test]
fn tables_of_the_same_observations_are_joined_by_name() {
    let work = Work::new();
    let order: Vec<usize> = (0..25).collect();
    let turned: Vec<usize> = (0..25).map(|i| (i * 7 + 2) % 25).collect();
    let (a, b) = (simulated(25, 14, 1), simulated(25, 11, 2));
    work.dataset("rna.h5ad", &named(a, "rna", order.clone(), "gene"));
    work.dataset("atac.h5ad", &named(b.clone(), "atac", order, "peak"));
    work.dataset("turned.h5ad", &named(b, "atac", turned, "peak"));
    let ran = work.ok("fit gmgm rna.h5ad atac.h5ad --join obs -o joint.h5ad --json --report joint.html");
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["observations"], &said["features"]), (&25.into(), &25.into()));
    assert_eq!(said["input_sha256"].as_array().unwrap().len(), 2);
    assert_finite(&work.path("joint.h5ad"));
    let joint = work.read("joint.h5ad");
    let psi = dense(&joint.varp["gmgm_precision"]);
    assert_eq!(psi.dim(), (25, 25));
    assert!(
        psi.indexed_iter().all(|((i, j), v)| (i < 14) == (j < 14) || *v == 0.0),
        "no edge between tables"
    );
    assert_eq!(dense(&joint.obsp["gmgm_precision"]).dim(), (25, 25));
    let Some((_, Elem::Categorical(of))) = joint.var.columns.iter().find(|(n, _)| n == "table") else {
        panic!()
    };
    let Elem::Strings(tables) = &*of.categories else { panic!() };
    assert_eq!(tables.values, ["rna.h5ad", "atac.h5ad"]);
    work.ok("fit gmgm rna.h5ad turned.h5ad --join obs -o other.h5ad");
    let other = work.read("other.h5ad");
    assert!(joint.obsp == other.obsp && joint.varp == other.varp && joint.x == other.x);
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let work = Work::new();
    work.ok("simulate kronecker -o data.h5ad --seed 4 --set observations=90 --set features=130");
    work.ok("simulate kronecker -o again.h5ad --seed 4 --set observations=90 --set features=130");
    assert!(work.read("data.h5ad") == work.read("again.h5ad"));
    for method in METHODS {
        let mut first: Option<AnnData> = None;
        for threads in [2, 2, 1, 8] {
            let more = if method == "medmagma" { "--set max_steps=15" } else { "" };
            work.ok(&format!(
                "fit {method} data.h5ad -o out.h5ad --seed 7 --threads {threads} --quiet {more}"
            ));
            let found = work.slots("out.h5ad", method);
            if let Some(first) = &first {
                assert!(found == *first, "{method} on {threads} threads: other slots");
            }
            first.get_or_insert(found);
        }
    }
}

#[test]
fn the_page_stands_alone_and_names_from_files_are_only_text() {
    let work = Work::new();
    let mut data = Dataset::from_matrix("x", Matrix::Dense(simulated(30, 24, 3)));
    const SCRIPT: &str = "<script>alert(1)</script>";
    const IMAGE: &str = "</script><img src=x onerror=alert(2)>";
    data.var.names[0] = SCRIPT.into();
    data.obs.names[1] = IMAGE.into();
    let codes = (0..30).map(|i| Some(u32::from(i % 2 == 0))).collect();
    let categories = vec![IMAGE.to_owned(), "b & \"c\"".to_owned()];
    data.obs.columns.push(("kind".into(), Column::Categorical { codes, categories, ordered: false }));
    work.dataset("x.h5ad", &data);
    for method in METHODS {
        work.ok(&format!("fit {method} x.h5ad -o out.h5ad --report page.html --label kind"));
        let page = std::fs::read_to_string(work.path("page.html")).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
        for never in [SCRIPT, "<img src=x", "NaN"] {
            // Vendored code may test for NaN; data may not hold it.
            let place = if never == "NaN" { data_of(&page) } else { page.clone() };
            assert!(!place.contains(never), "{method}: {never} stands in the page");
        }
        for load in [
            "src=\"http",
            "src='http",
            "href=\"http",
            "url(http",
            "url(\"http",
            "@import",
            "<link",
            "src=\"//",
        ] {
            assert!(!page.contains(load), "{method}: the page loads something by {load}");
        }
        assert!(page.contains(&unbraid_io::input_sha256(&work.path("x.h5ad")).unwrap()), "{method}");
    }
    let words = work.ok("inspect x.h5ad").out;
    assert!(words.contains("30 observations × 24 features"));
}

/// The page without its scripts.
fn data_of(page: &str) -> String {
    page.split("<script").map(|part| part.split_once("</script>").map_or(part, |(_, rest)| rest)).collect()
}

#[test]
fn chosen_genes_and_dropped_lines_are_marked_as_used() {
    let work = Work::new();
    let mut x = counts(40, 60);
    x.row_mut(7).fill(0.0);
    x.column_mut(11).fill(0.0);
    work.h5ad("x.h5ad", Matrix::Dense(x));
    let marked = |name: &str, set: &str| -> (Vec<f64>, AnnData) {
        let ran = work.ok(&format!("fit {name} x.h5ad -o out.h5ad --key k --set empty=drop {set} --json"));
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let dropped = said["warnings"].as_array().unwrap().iter();
        assert!(dropped.clone().any(|w| w == "1 row without a non-zero value was left out."), "{}", ran.out);
        let out = work.read("out.h5ad");
        assert_finite(&work.path("out.h5ad"));
        let used = column(&out.var, "k_used");
        assert_eq!(said["features"], used.iter().sum::<f64>() as usize);
        let cells = column(&out.obs, "k_used");
        assert!(cells.iter().enumerate().all(|(i, u)| (*u == 1.0) == (i != 7)));
        (used, out)
    };
    for method in ["medmagma", "gmgm"] {
        let (used, out) = marked(method, "--set genes=variable:20");
        assert_eq!(used.iter().sum::<f64>(), 20.0);
        let psi = dense(&out.varp["k_connectivities"]);
        assert_eq!(psi.dim(), (60, 60), "slots cover all features");
        for (j, used) in used.iter().enumerate() {
            let edges = psi.row(j).iter().filter(|v| **v != 0.0).count();
            assert_eq!(edges > 0, *used == 1.0, "feature {j} has {edges} edges");
        }
        if method == "medmagma" {
            let scale = column(&out.var, "k_scale");
            assert!(scale.iter().zip(&used).all(|(s, u)| (*s > 0.0) == (*u == 1.0)));
        }
        let (square, _) = marked(method, "--set genes=appendix-f");
        assert!(square.iter().sum::<f64>() <= 60.0 && square[11] == 0.0);
        let (all, _) = marked(method, "--set transform=log1p");
        assert_eq!(all.iter().sum::<f64>(), 59.0);
    }
}

#[test]
fn inspect_says_what_is_there_and_what_is_wrong() {
    let work = Work::with_data();
    let words = work.ok("inspect data.h5ad").out;
    assert!(words.contains("data.h5ad (an .h5ad file): 30 observations × 24 features"), "{words}");
    assert!(words.contains("obsp[\"truth_precision\"]") && words.contains("Nothing here would stop a fit"));
    let said: serde_json::Value = serde_json::from_str(&work.ok("inspect data.h5ad --json").out).unwrap();
    assert_eq!((&said["format"], &said["shape"]), (&"h5ad".into(), &serde_json::json!([30, 24])));
    assert_eq!(said["problems"], serde_json::json!([]));
    assert_eq!(said["values"][0]["slot"], "X");
    assert!(said["slots"].as_array().unwrap().iter().any(|s| s["path"] == "X" && s["dtype"] == "float64"));

    let mut x = counts(12, 9);
    x[[3, 2]] = f64::NAN;
    x[[5, 4]] = f64::INFINITY;
    x.row_mut(7).fill(0.0);
    for (name, matrix) in
        [("dense", Matrix::Dense(x.clone())), ("sparse", Matrix::Sparse(Csr::from_dense(x.view())))]
    {
        work.h5ad("bad.h5ad", matrix);
        let said: serde_json::Value = serde_json::from_str(&work.run("inspect bad.h5ad --json").out).unwrap();
        let problems = said["problems"].to_string();
        for part in ["1 NaN and 1 infinite values, the first at row 3, column 2", "1 row is all zero"] {
            assert!(problems.contains(part), "{name}: {problems}");
        }
        assert_eq!(said["values"][0]["nan"], 1);
        let ran = work.run("inspect bad.h5ad");
        assert!(ran.code == 0 && ran.out.contains("What a method would stop at"), "{}", ran.out);
    }
    work.write("x.csv", table(&counts(12, 9), ","));
    assert!(work.ok("inspect x.csv").out.contains("12 observations × 9 features"));
}

#[test]
fn the_demo_runs_anywhere_and_finds_the_networks() {
    let work = Work::new();
    let said: serde_json::Value = serde_json::from_str(&work.ok("demo --json").out).unwrap();
    assert_eq!(work.files(), ["unbraid-demo"]);
    let chance = said["chance"][0].as_f64().unwrap();
    for score in said["scores"].as_array().unwrap() {
        let area = score["aupr_observations"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&area));
        if score["method"] == "medmagma" {
            assert!(area > 10.0 * chance, "{score}, chance {chance}");
        }
    }
    assert_finite(&work.path("unbraid-demo/demo.h5ad"));
    assert!(work.path("unbraid-demo/demo.html").exists());
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    let work = Work::with_data();
    for line in [
        "inspect data.h5ad",
        "inspect data.h5ad --json",
        "fit gmgm data.h5ad -o out.h5ad --json",
        "fit gmgm --help",
        "fit gmgm data.h5ad -o out.h5ad",
    ] {
        let mut child = work.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = child.wait_with_output().unwrap();
        let err = String::from_utf8(ran.stderr).unwrap();
        assert!(!err.contains("panicked"), "{line}: {err}");
        assert_eq!(ran.status.code(), Some(0), "{line}: {err}");
    }
    assert!(work.path("out.h5ad").exists(), "the result is written all the same");
}
