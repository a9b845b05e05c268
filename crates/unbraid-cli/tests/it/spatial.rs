//! `fit popari` and `fit batchblend`: slices with coordinates, what is written, and what is refused.

use unbraid::data::{Annotations, Column, Dataset, Matrix};
use unbraid_io::Input;

use crate::{Work, assert_finite, dense, dict, text};

/// Settings of a fit that takes a moment.
const SMALL: &str = "--set k=6 --set graph=grid --set nmf_steps=10 --set max_steps=3";

/// `s.h5ad`: two simulated slices of 64 cells.
fn slices() -> Work {
    let work = Work::new();
    let said = work.ok("simulate msrt -o s.h5ad --seed 1 --set side=8").out;
    assert!(said.contains("128 observations × 100 features"), "{said}");
    assert!(said.contains("next: unbraid fit batchblend s.h5ad"), "{said}");
    work
}

#[test]
fn fits_are_written_told_and_shown() {
    let work = slices();
    for (method, beta) in [("popari", false), ("batchblend", true)] {
        let said = work
            .ok(&format!("fit {method} s.h5ad -o fit.h5ad --label cell_type --report page.html {SMALL}"))
            .out;
        assert!(said.contains("128 observations × 100 features"), "{said}");
        assert_eq!(said.contains("the batch makes "), beta, "{said}");
        assert_finite(&work.path("fit.h5ad"));
        let fit = work.read("fit.h5ad");
        let z = dense(&fit.obsm[&format!("X_{method}")]);
        assert_eq!(z.dim(), (128, 6));
        assert!(z.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
        let m = dense(&fit.varm[&format!("{method}_metagenes")]);
        assert!(m.columns().into_iter().all(|column| (column.sum() - 1.0).abs() < 1e-9));
        let x = dense(&fit.obsm[&format!("{method}_activities")]);
        let notes = dict(&fit.uns, method);
        assert_eq!((text(notes, "method"), text(dict(notes, "params"), "spatial")), (method, "spatial"));
        assert_eq!(fit.obsm.contains_key(&format!("X_{method}_batch")), beta);
        if beta {
            let with = dense(&fit.obsm[&format!("X_{method}_batch")]);
            // One row of β for all cells of a batch.
            let added = &with - &x;
            for cells in [0..64, 64..128] {
                let first = added.row(cells.start).to_owned();
                assert!(cells.into_iter().all(|i| (&added.row(i) - &first).iter().all(|d| d.abs() < 1e-9)));
            }
        }
        let page = std::fs::read_to_string(work.path("page.html")).unwrap();
        for part in [
            "What is left in the cells",
            "Metagenes in the tissue",
            "Cells by their mixtures",
            "Which metagenes meet in space",
        ] {
            assert!(page.contains(part), "{method}: {part}");
        }
        assert_eq!(page.contains("What each batch adds"), beta, "{method}");
        assert!(!page.contains("<h2>Rank</h2>"), "{method}");
    }
    // The same bits on any number of threads.
    for threads in [1, 2] {
        work.ok(&format!("fit batchblend s.h5ad -o t{threads}.h5ad --threads {threads} {SMALL}"));
    }
    let z = |file: &str| dense(&work.read(file).obsm["X_batchblend"]);
    assert_eq!(z("t1.h5ad"), z("t2.h5ad"));
}

#[test]
fn the_prior_of_the_thesis_collapses_and_says_so() {
    let work = slices();
    let ran = work.ok("fit batchblend s.h5ad -o x.h5ad --set preset=paper --set k=6 --set graph=grid");
    assert!(ran.err.contains("taken nearly all expression for a batch effect"), "{}", ran.err);
}

#[test]
fn what_is_missing_is_named() {
    let work = slices();
    work.fails(
        "fit batchblend s.h5ad -o x.h5ad --set spatial=xy",
        3,
        &["obsm[\"xy\"]", "obsm has", "spatial"],
    );
    work.fails(
        "fit batchblend s.h5ad -o x.h5ad --set batch=sample",
        3,
        &["obs[\"sample\"]", "batch (2 levels)"],
    );
    work.fails("fit batchblend s.h5ad -o x.h5ad --set k=1", 2, &["k", "from 2 to 64"]);
    work.fails(
        "fit popari s.h5ad -o x.h5ad --set k=64 --set genes=variance:20",
        2,
        &["k", "no more than cells or genes"],
    );
    work.fails("fit popari s.h5ad s.h5ad -o x.h5ad", 2, &["several files"]);
    // One slice is enough for POPARI alone.
    let data = |places: ndarray::Array2<f64>, x: ndarray::Array2<f64>| {
        let mut data = Dataset::from_matrix("one", Matrix::Dense(x));
        data.obs.columns.push(("batch".into(), Column::Text(vec![Some("a".into()); 30])));
        data.obsm.insert("spatial".into(), places);
        data
    };
    let places =
        ndarray::Array2::from_shape_fn((30, 2), |(i, j)| (i * (3 + 5 * j) % 17) as f64 + 0.1 * i as f64);
    let x = ndarray::Array2::from_shape_fn((30, 12), |(i, j)| ((i * 7 + j * 3) % 5) as f64);
    let write = |name: &str, data: &Dataset| {
        unbraid_io::write_h5ad(&work.path(name), Input::Dataset(data), &Annotations::default()).unwrap()
    };
    write("one.h5ad", &data(places.clone(), x.clone()));
    work.ok("fit popari one.h5ad -o p.h5ad --set k=3 --set nmf_steps=5 --set max_steps=2");
    work.fails("fit batchblend one.h5ad -o x.h5ad --set k=3", 3, &["a second batch", "popari"]);
    let mut lost = places.clone();
    lost[[4, 1]] = f64::NAN;
    write("lost.h5ad", &data(lost, x.clone()));
    work.fails(
        "fit popari lost.h5ad -o x.h5ad --set k=3",
        3,
        &["coordinates", "row 4", "column 1", "finite"],
    );
    let mut negative = x;
    negative[[2, 3]] = -1.0;
    write("negative.h5ad", &data(places, negative));
    work.fails("fit popari negative.h5ad -o x.h5ad --set k=3", 3, &["-1", "0 or larger"]);
}

#[test]
fn groups_of_slices_are_compared() {
    let work = Work::new();
    work.ok("simulate msrt -o s.h5ad --seed 1 --set side=8 --set batches=6 --set sigma=0");
    let mut table = unbraid_io::read(&work.path("s.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    let batch = table.obs.column("batch").unwrap().texts().unwrap();
    // Slices of the simulation are of two kinds in turn.
    let at = |i: usize| batch.iter().position(|b| *b == batch[i]).unwrap() / 64;
    let groups: Vec<Option<String>> =
        (0..batch.len()).map(|i| Some(["even", "odd"][at(i) % 2].to_string())).collect();
    table.obs.columns.push(("kind".into(), Column::Text(groups)));
    let halves = (0..batch.len()).map(|i| Some(["a", "b"][i % 2].to_string())).collect();
    table.obs.columns.push(("cell".into(), Column::Text(halves)));
    unbraid_io::write_h5ad(&work.path("g.h5ad"), Input::Dataset(&table), &Annotations::default()).unwrap();
    let said =
        work.ok(&format!("fit popari g.h5ad -o fit.h5ad --set group=kind --report page.html {SMALL}")).out;
    // Three slices of six: p cannot be below a tenth.
    assert!(said.contains("meets differently in even and odd by 20 partitions of the slices"), "{said}");
    let fit = work.read("fit.h5ad");
    let contrast = dict(dict(&fit.uns, "popari"), "contrast");
    assert!(contrast.contains_key("difference") && contrast.contains_key("family"), "{contrast:?}");
    let page = std::fs::read_to_string(work.path("page.html")).unwrap();
    assert!(page.contains("even, less odd"));
    work.fails(
        &format!("fit popari g.h5ad -o x.h5ad --set group=cell {SMALL}"),
        3,
        &["one group of slice", "every cell of a slice"],
    );
    work.fails(
        &format!("fit popari g.h5ad -o x.h5ad --set group=batch {SMALL}"),
        3,
        &["two groups of slices", "a column with two values"],
    );
}
