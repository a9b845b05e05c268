//! Files written by Python's anndata: every slot is read, written and read again without change.

use std::path::{Path, PathBuf};

use hdf5_pure::FileBuilder;
use ndarray::Array2;
use unbraid::data::{Annotations, Column, Matrix, Slot, Value};
use unbraid::fit::Rows;
use unbraid_io::h5ad::{Elem, FileRows, Numbers, read_anndata, write_anndata};
use unbraid_io::{Input, ReadOptions, ValueKind, inspect, read, write_h5ad};

fn zoo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/h5ad").join(name)
}

fn layer(name: &str) -> ReadOptions {
    ReadOptions { layer: Some(name.into()), ..Default::default() }
}

/// The matrix of every file of the zoo.
fn expected() -> Array2<f64> {
    Array2::from_shape_fn((7, 5), |(i, j)| if (i + 2 * j) % 3 == 0 { (i + j + 1) as f64 } else { 0.0 })
}

#[test]
fn every_form_of_the_matrix_is_read() {
    for file in ["zoo.h5ad", "lzf.h5ad", "records.h5ad", "categories.h5ad", "awkward.h5ad"] {
        let data = read(&zoo(file), &ReadOptions::default()).unwrap();
        assert_eq!(data.x.to_dense(), expected(), "{file}");
        assert_eq!(data.slot, "X");
    }
    let x = expected();
    for (name, scale, close) in [
        ("csc", 1.0, 0.0),
        ("counts", 1.0, 0.0),
        ("half", 1.0, 0.0),
        ("dense32", 3.0, 1e-6),
        ("big_endian", 7.0, 1e-12),
    ] {
        let data = read(&zoo("zoo.h5ad"), &layer(name)).unwrap();
        assert!((data.x.to_dense() * scale - &x).iter().all(|d| d.abs() <= close), "{name}");
        assert_eq!(data.slot, format!("layers[{name:?}]"));
    }
    let raw = read(&zoo("zoo.h5ad"), &layer("raw")).unwrap();
    assert_eq!((raw.slot.as_str(), raw.shape(), raw.var.names[0].as_str()), ("raw/X", (7, 7), "raw0"));
    assert_eq!(raw.x.to_dense(), Array2::from_shape_fn((7, 7), |(i, j)| (7 * i + j) as f64));
    let old = read(&zoo("records.h5ad"), &layer("raw")).unwrap();
    assert_eq!(old.x.to_dense(), expected());
    let why = read(&zoo("zoo.h5ad"), &layer("count")).unwrap_err().to_string();
    assert!(why.contains("layers[\"count\"]") && why.contains("X, raw, big_endian, counts"), "{why}");
    assert_eq!(read(&zoo("empty.h5ad"), &ReadOptions::default()).unwrap().shape(), (0, 5));
}

#[test]
fn every_column_becomes_what_methods_read() {
    let data = read(&zoo("zoo.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!((data.obs.names[6].as_str(), data.var.names[1].as_str()), ("cell6", "gène1"));
    let order: Vec<&str> = data.obs.columns.iter().map(|c| c.0.as_str()).collect();
    assert_eq!(order[..4], ["float", "float32", "int", "uint8"]);
    let column = |name: &str| data.obs.column(name).unwrap();
    assert_eq!(*column("int"), Column::Int((-2..5).map(Some).collect()));
    assert_eq!(*column("bool"), Column::Bool((0..7).map(|k| Some(k % 2 == 0)).collect()));
    assert_eq!(*column("text"), Column::Text((0..7).map(|k| Some(format!("é{k}"))).collect()));
    let Column::Int(v) = column("int_na") else { panic!("not integers") };
    assert_eq!(v[..3], [Some(0), None, Some(2)]);
    let Column::Bool(v) = column("bool_na") else { panic!("not booleans") };
    assert_eq!(v[..4], [Some(false), Some(true), None, Some(true)]);
    let Column::Text(v) = column("text_na") else { panic!("not texts") };
    assert_eq!((v[2].as_deref(), &v[3]), (Some("t2"), &None));
    let Column::Categorical { codes, categories, ordered } = column("label") else { panic!("no labels") };
    assert_eq!((codes[3], codes[4], *ordered), (None, Some(1), false));
    assert_eq!(*categories, ["β", "a b", "<c>"]);
    let Column::Categorical { categories, ordered, .. } = column("ordered") else { panic!("no labels") };
    assert!(*ordered && *categories == ["low", "high"]);
    let Column::Categorical { categories, .. } = column("years") else { panic!("no labels") };
    assert_eq!(*categories, ["1999", "2024"]);
    assert_eq!(data.obsm.keys().collect::<Vec<_>>(), ["X_pca", "none"]);
    assert_eq!(data.obsm["X_pca"][[6, 1]], 6.5);
    for file in ["records.h5ad", "categories.h5ad"] {
        let data = read(&zoo(file), &ReadOptions::default()).unwrap();
        let Some(Column::Categorical { codes, categories, .. }) = data.obs.column("kind") else {
            panic!("{file}: no labels")
        };
        assert_eq!(*categories, ["one", "two"]);
        assert_eq!(codes[2], Some(if file == "records.h5ad" { 0 } else { 1 }));
    }
}

#[test]
fn the_whole_model_survives_a_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["zoo.h5ad", "lzf.h5ad", "empty.h5ad", "awkward.h5ad", "records.h5ad", "categories.h5ad"] {
        let first = read_anndata(&zoo(file)).unwrap();
        let copy = dir.path().join(file);
        write_anndata(&copy, &first).unwrap();
        assert_eq!(read_anndata(&copy).unwrap(), first, "{file}");
    }
    let zoo = read_anndata(&zoo("zoo.h5ad")).unwrap();
    assert!(matches!(&zoo.uns["none"], Elem::Null));
    assert!(matches!(&zoo.layers["half"], Elem::Array(a) if matches!(a.data, Numbers::F16(_))));
    let Elem::Records(records) = &zoo.uns["records"] else { panic!("no records") };
    assert_eq!(records.fields[0], ("name".into(), Elem::texts(vec!["x".into(), "yz".into()])));
    let Elem::Array(cube) = &zoo.uns["cube"] else { panic!("no array") };
    assert_eq!(cube.shape, [2, 3, 4]);
}

fn annotations() -> Annotations {
    let mut a = Annotations::default();
    a.obs.insert("label".into(), Column::Text(vec![Some("new".into()); 7]));
    a.obs.insert("nmf".into(), Column::Float(vec![0.5; 7]));
    a.obsm.insert("X_pca".into(), Slot::F32(Array2::ones((7, 3))));
    a.layers.insert("back".into(), Slot::Blocks(Box::new(Matrix::Dense(expected()))));
    a.uns.insert("nested".into(), Value::Text("replaced".into()));
    a
}

#[test]
fn annotations_are_added_and_everything_else_stays() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.h5ad");
    for file in ["zoo.h5ad", "lzf.h5ad", "records.h5ad", "categories.h5ad", "awkward.h5ad"] {
        write_h5ad(&out, Input::File(&zoo(file)), &annotations()).unwrap();
        let (before, after) = (read_anndata(&zoo(file)).unwrap(), read_anndata(&out).unwrap());
        assert_eq!(before.x, after.x);
        assert_eq!(before.raw, after.raw);
        assert_eq!(before.var, after.var);
        assert_eq!(before.obsp, after.obsp);
        let kept = |from: &unbraid_io::h5ad::Dict, to: &unbraid_io::h5ad::Dict, except: &str| {
            from.iter().filter(|(name, _)| *name != except).all(|(name, elem)| to.get(name) == Some(elem))
        };
        assert!(kept(&before.layers, &after.layers, "back") && kept(&before.uns, &after.uns, "nested"));
        assert!(kept(&before.obsm, &after.obsm, "X_pca"));
        assert_eq!(after.uns["nested"], Elem::text("replaced"));
        let columns = |f: &unbraid_io::h5ad::Frame| f.columns.iter().map(|c| c.0.clone()).collect::<Vec<_>>();
        let mut wanted = columns(&before.obs);
        wanted.extend(
            ["label", "nmf"].map(String::from).into_iter().filter(|n| !columns(&before.obs).contains(n)),
        );
        assert_eq!(columns(&after.obs), wanted, "{file}");
        assert_eq!(read(&out, &layer("back")).unwrap().x.to_dense(), expected());
        // The file itself can be extended, too.
        write_h5ad(&out, Input::File(&out), &annotations()).unwrap();
        assert_eq!(read_anndata(&out).unwrap(), after, "{file}");
    }
}

#[test]
fn a_data_set_of_another_format_becomes_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.h5ad");
    let mut data = read(&zoo("zoo.h5ad"), &ReadOptions::default()).unwrap();
    write_h5ad(&out, Input::Dataset(&data), &annotations()).unwrap();
    let back = read(&out, &ReadOptions::default()).unwrap();
    assert_eq!(back.x, data.x);
    assert_eq!(back.var, data.var);
    assert_eq!(back.obsm["X_pca"], Array2::<f64>::ones((7, 3)));
    data.x = Matrix::Dense(expected() / 3.0);
    write_h5ad(&out, Input::Dataset(&data), &Annotations::default()).unwrap();
    assert_eq!(read(&out, &ReadOptions::default()).unwrap().x, data.x);
}

#[test]
fn annotations_that_do_not_fit_leave_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.h5ad");
    std::fs::write(&out, b"old").unwrap();
    let mut cases = Vec::new();
    for (key, rows) in [("a/b", 7), ("short", 6), ("_index", 7), ("", 7)] {
        let mut a = Annotations::default();
        a.obs.insert(key.into(), Column::Float(vec![0.0; rows]));
        cases.push(a);
    }
    let mut a = Annotations::default();
    a.obsp.insert("p".into(), Slot::F64(Array2::zeros((7, 5))));
    cases.push(a);
    let mut a = Annotations::default();
    a.uns.insert("a/b".into(), Value::Bool(true));
    cases.push(a);
    let mut a = Annotations::default();
    let categories = vec!["same".into(), "same".into()];
    a.obs.insert("twice".into(), Column::Categorical { codes: vec![None; 7], categories, ordered: false });
    cases.push(a);
    for a in cases {
        let why = write_h5ad(&out, Input::File(&zoo("zoo.h5ad")), &a).unwrap_err();
        assert!(why.is_output(), "{why}");
        assert_eq!(std::fs::read(&out).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn rows_of_a_file_are_read_by_blocks() {
    for (file, name) in
        [("zoo.h5ad", "X"), ("zoo.h5ad", "counts"), ("zoo.h5ad", "big_endian"), ("lzf.h5ad", "X")]
    {
        let whole = read(&zoo(file), &layer(name)).unwrap().x.to_dense();
        let rows = FileRows::open(&zoo(file), Some(name)).unwrap();
        assert_eq!(Rows::shape(&rows), (7, 5));
        for range in [0..7, 2..3, 5..7, 4..4] {
            let mut block = Array2::zeros((0, 0));
            rows.block_f64(range.clone(), &mut block).unwrap();
            assert_eq!(block, whole.slice(ndarray::s![range, ..]), "{name}");
        }
        assert!(rows.block_f64(3..8, &mut Array2::zeros((0, 0))).is_err());
    }
    let why = FileRows::open(&zoo("zoo.h5ad"), Some("csc")).err().unwrap().to_string();
    assert!(why.contains("tocsr"), "{why}");
}

#[test]
fn an_inspection_tells_kinds_and_problems() {
    let seen = inspect(&zoo("zoo.h5ad")).unwrap();
    assert_eq!(seen.shape, (7, 5));
    let slot = |path: &str| seen.slots.iter().find(|s| s.path == path).unwrap_or_else(|| panic!("{path}"));
    let x = slot("X");
    assert_eq!((x.kind.as_str(), x.dtype.as_deref(), x.nnz), ("csr_matrix", Some("float32"), Some(12)));
    assert!(x.compressed);
    assert_eq!(slot("obs[\"label\"]").kind, "categorical");
    assert_eq!(slot("uns[\"cube\"]").shape, Some(vec![2, 3, 4]));
    let values = |name: &str| seen.values.iter().find(|v| v.slot == name).unwrap();
    assert_eq!((values("X").kind, values("X").max), (ValueKind::Counts, 10.0));
    assert_eq!(values("layers[\"dense32\"]").kind, ValueKind::NonNegative);
    assert!((values("X").zeros - 23.0 / 35.0).abs() < 1e-12);
    assert_eq!(values("layers[\"empty_csr\"]").empty_rows, 7);
    assert!(seen.problems.iter().any(|p| p.starts_with("layers[\"empty_csr\"]: 7 rows are all zero")));
    assert!(!seen.problems.iter().any(|p| p.starts_with("X:")), "{:?}", seen.problems);
    assert!(serde_json::to_string(&seen).unwrap().contains("\"format\":\"h5ad\""));
    assert!(!inspect(&zoo("empty.h5ad")).unwrap().problems.is_empty());
    assert!(inspect(&zoo("records.h5ad")).is_ok());
}

/// A file with one dense X and names, written without the crate under test; `x` may lie.
fn small(dir: &Path, x: impl FnOnce(&mut FileBuilder)) -> PathBuf {
    let mut file = FileBuilder::new();
    for (name, rows) in [("obs", 2), ("var", 3)] {
        let mut group = file.create_group(name);
        for (key, value) in
            [("encoding-type", "dataframe"), ("encoding-version", "0.2.0"), ("_index", "_index")]
        {
            group.set_attr(key, hdf5_pure::AttrValue::String(value.into()));
        }
        let names: Vec<String> = (0..rows).map(|i| format!("{name}{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        group.create_dataset("_index").with_vlen_strings(&names);
        file.add_group(group.finish());
    }
    x(&mut file);
    let path = dir.join("small.h5ad");
    file.write(&path).unwrap();
    path
}

fn csr(file: &mut FileBuilder, indptr: &[i64], indices: &[i32], shape: &[i64]) {
    let mut group = file.create_group("X");
    group.set_attr("encoding-type", hdf5_pure::AttrValue::String("csr_matrix".into()));
    group.set_attr("shape", hdf5_pure::AttrValue::I64Array(shape.to_vec()));
    group.create_dataset("data").with_f32_data(&vec![1.0; indices.len()]);
    group.create_dataset("indices").with_i32_data(indices);
    group.create_dataset("indptr").with_i64_data(indptr);
    file.add_group(group.finish());
}

#[test]
fn broken_sparse_matrices_are_refused_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    type Case<'a> = (&'a [i64], &'a [i32], &'a [i64], &'a str);
    let cases: [Case<'_>; 8] = [
        (&[0, 1, 2], &[0, 3], &[2, 3], "X/indices: found 3 in number 1 of the rows"),
        (&[0, 1, 2], &[0, -1], &[2, 3], "X/indices: found -1"),
        (&[0, 2, 1], &[0, 1], &[2, 3], "X/indptr: found 1 after 2"),
        (&[0, 1], &[0], &[2, 3], "X/indptr: found 2 values"),
        (&[0, 1, 9], &[0, 1], &[2, 3], "X/indptr: found 0 … 9"),
        (&[0, 2, 2], &[1, 1], &[2, 3], "once per row"),
        (&[0, 1, 2], &[0, 1], &[2, 4], "shape (2, 4)"),
        (&[0, 1, 2], &[0, 1], &[1 << 50, 3], "shape [1125899906842624, 3]"),
    ];
    for (indptr, indices, shape, wanted) in cases {
        let path = small(dir.path(), |f| csr(f, indptr, indices, shape));
        for found in [read(&path, &ReadOptions::default()).map(drop), inspect(&path).map(drop)] {
            let Err(why) = found else {
                assert_eq!(wanted, "once per row", "only reading needs sorted rows");
                continue;
            };
            assert!(!why.is_output());
            let told = why.to_string();
            assert!(
                told.contains(wanted) || told.contains("indices") || told.contains("row starts"),
                "{told}"
            );
        }
    }
    let good = small(dir.path(), |f| csr(f, &[0, 1, 2], &[2, 0], &[2, 3]));
    assert_eq!(read(&good, &ReadOptions::default()).unwrap().x.nonzeros(), 2);
}

#[test]
fn arrays_larger_than_allowed_are_refused_before_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = small(dir.path(), |f| {
        f.create_dataset("X").with_f64_data(&[1.0; 6]).with_shape(&[2, 3]);
    });
    let options = ReadOptions { max_bytes: Some(40), ..Default::default() };
    let why = read(&path, &options).unwrap_err().to_string();
    assert!(why.contains("allow more memory"), "{why}");
    // Kilobytes that declare terabytes: an array without a stored chunk.
    let huge = zoo("huge.h5ad");
    assert!(std::fs::metadata(&huge).unwrap().len() < 1 << 16);
    for found in [
        read(&huge, &ReadOptions { max_bytes: Some(u64::MAX), ..Default::default() }).map(drop),
        read_anndata(&huge).map(drop),
        inspect(&huge).map(drop),
        FileRows::open(&huge, None).map(drop),
    ] {
        let why = found.unwrap_err().to_string();
        assert!(
            why.contains("X: found an array of 26.4 TB in a file of") && why.contains("no compression"),
            "{why}"
        );
    }
}

#[test]
fn files_that_are_something_else_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5ad");
    for bytes in [b"name,age\nme,3\n".as_slice(), b"\x89HDF\r\n\x1a\n", &[]] {
        std::fs::write(&path, bytes).unwrap();
        let why = read(&path, &ReadOptions::default()).unwrap_err();
        assert!(!why.is_output() && why.to_string().contains("x.h5ad: the file"), "{why}");
        assert!(
            write_h5ad(&dir.path().join("out.h5ad"), Input::File(&path), &Annotations::default()).is_err()
        );
    }
    let gone = read(&dir.path().join("none.h5ad"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(gone.contains("check the path"), "{gone}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
