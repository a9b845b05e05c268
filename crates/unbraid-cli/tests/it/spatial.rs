//! `fit popari` and `fit batchblend`: slices with coordinates, what is written, and what is refused.

use unbraid::data::{Annotations, Column, Csr, Dataset, Matrix, Selection, Slot};
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
fn metagenes_of_each_slice_are_written() {
    let work = slices();
    work.ok(&format!("fit popari s.h5ad -o m.h5ad --set metagenes=differential {SMALL}"));
    assert_finite(&work.path("m.h5ad"));
    let fit = work.read("m.h5ad");
    let mean = dense(&fit.varm["popari_metagenes"]);
    let own: Vec<_> = fit.varm.keys().filter(|name| name.starts_with("popari_metagenes_")).collect();
    assert_eq!(own.len(), 2, "{own:?}");
    let [a, b] = [0, 1].map(|t| dense(&fit.varm[own[t]]));
    assert!(a != b && ((&a + &b) / 2.0 - mean).iter().all(|d| d.abs() < 1e-12));
    work.fails(
        &format!("fit popari s.h5ad -o x.h5ad --set lambda_metagenes=-1 {SMALL}"),
        2,
        &["lambda_metagenes", "0 or larger"],
    );
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
    work.fails("fit popari s.h5ad s.h5ad -o x.h5ad", 2, &["named twice"]);
    work.fails("fit popari s.h5ad t.h5ad -o x.h5ad --join obs", 2, &["`popari` takes every file as a slice"]);
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
fn a_file_for_each_slice_is_joined_on_shared_genes() {
    let work = slices();
    let all = unbraid_io::read(&work.path("s.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    for (name, cells, lacks) in [("a.h5ad", 0..64, 3), ("b.h5ad", 64..128, 5)] {
        let var = Some((0..100).filter(|j| *j != lacks).collect());
        let mut part = all.select(&Selection { obs: Some(cells.collect()), var });
        part.obs.columns.retain(|(column, _)| column != "batch");
        if name == "a.h5ad" {
            part.obsm.insert("X_pca".into(), ndarray::Array2::ones((64, 3)));
        }
        unbraid_io::write_h5ad(&work.path(name), Input::Dataset(&part), &Annotations::default()).unwrap();
    }
    let ran = work.ok(&format!("fit batchblend a.h5ad b.h5ad -o ab.h5ad --report ab.html {SMALL}"));
    for part in ["a.h5ad: 1 of 99 features", "b.h5ad: 1 of 99 features", "obsm", "X_pca"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let both = work.read("ab.h5ad");
    assert_eq!(dense(&both.obsm["X_batchblend"]).dim(), (128, 6));
    assert_eq!(dense(&both.varm["batchblend_metagenes"]).dim(), (98, 6));
    let batch = unbraid_io::read(&work.path("ab.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    let batch = batch.obs.column("batch").unwrap().texts().unwrap();
    assert!((0..128).all(|i| batch[i].as_deref() == Some(if i < 64 { "a" } else { "b" })));
    // The same as of one file with the same genes.
    let shared =
        all.select(&Selection { obs: None, var: Some((0..100).filter(|j| ![3, 5].contains(j)).collect()) });
    unbraid_io::write_h5ad(&work.path("one.h5ad"), Input::Dataset(&shared), &Annotations::default()).unwrap();
    work.ok(&format!("fit batchblend one.h5ad -o one.fit.h5ad {SMALL}"));
    assert_eq!(dense(&both.obsm["X_batchblend"]), dense(&work.read("one.fit.h5ad").obsm["X_batchblend"]));
    // A slice without coordinates.
    let mut bare = unbraid_io::read(&work.path("b.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    bare.obsm.clear();
    unbraid_io::write_h5ad(&work.path("bare.h5ad"), Input::Dataset(&bare), &Annotations::default()).unwrap();
    work.fails(
        "fit batchblend a.h5ad bare.h5ad -o x.h5ad",
        3,
        &["obsm[\"spatial\"]", "every file must hold coordinates"],
    );
}

#[test]
fn neighbours_can_be_given() {
    let work = slices();
    let all = unbraid_io::read(&work.path("s.h5ad"), &unbraid_io::ReadOptions::default()).unwrap();
    let places = &all.obsm["spatial"];
    let far = |i: usize, j: usize| {
        (places[[i, 0]] - places[[j, 0]]).abs() + (places[[i, 1]] - places[[j, 1]]).abs()
    };
    let step = (1..64).map(|j| far(0, j)).fold(f64::MAX, f64::min);
    let pair = |i: usize, j: usize| i != j && far(i, j) < 1.2 * step && (i < 64) == (j < 64);
    let pairs = (0..128).flat_map(|i| (0..128).map(move |j| (i, j))).filter(|&(i, j)| pair(i, j));
    let within: Vec<(u32, u32, f64)> = pairs.map(|(i, j)| (i as u32, j as u32, 1.0)).collect();
    let across = [&within[..], &[(3, 100, 1.0)]].concat();
    let mut slots = Annotations::default();
    for (name, edges) in [("spatial_connectivities", within), ("across", across)] {
        slots.obsp.insert(name.into(), Slot::Csr(Csr::from_triplets((128, 128), edges)));
    }
    unbraid_io::write_h5ad(&work.path("g.h5ad"), Input::Dataset(&all), &slots).unwrap();
    let small = SMALL.replace("grid", "given");
    work.ok(&format!("fit batchblend g.h5ad -o given.h5ad {small}"));
    work.ok(&format!("fit batchblend s.h5ad -o found.h5ad {SMALL}"));
    let z = |file: &str| dense(&work.read(file).obsm["X_batchblend"]);
    assert_eq!(z("given.h5ad"), z("found.h5ad"));
    // A file for each slice: the graphs stand side by side.
    for (name, cells) in [("a.h5ad", 0..64), ("b.h5ad", 64..128)] {
        let options =
            unbraid_io::ReadOptions { graph: Some("spatial_connectivities".into()), ..Default::default() };
        let read = unbraid_io::read(&work.path("g.h5ad"), &options).unwrap();
        let mut part = read.select(&Selection { obs: Some(cells.collect()), var: None });
        part.obs.columns.retain(|(column, _)| column != "batch");
        let mut slots = Annotations::default();
        slots
            .obsp
            .insert("spatial_connectivities".into(), Slot::Csr(part.obsp["spatial_connectivities"].clone()));
        unbraid_io::write_h5ad(&work.path(name), Input::Dataset(&part), &slots).unwrap();
    }
    work.ok(&format!("fit batchblend a.h5ad b.h5ad -o ab.h5ad {small}"));
    assert_eq!(z("ab.h5ad"), z("found.h5ad"));
    work.fails(
        &format!("fit batchblend g.h5ad -o x.h5ad {small} --set edges=across"),
        3,
        &["graph of neighbours", "row 3", "column 100", "two batches"],
    );
    work.fails(
        &format!("fit batchblend s.h5ad -o x.h5ad {small}"),
        3,
        &["obsp[\"spatial_connectivities\"]", "obsp is empty"],
    );
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
