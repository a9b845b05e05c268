//! Columns from a file of their own, turned files, and folders of several tables.

use std::fs;
use std::path::Path;

use ndarray::array;
use unbraid::data::{Annotations, Column};
use unbraid_io::{Input, ReadOptions, align_columns, omics, read, read_columns, write_h5ad};

fn turned() -> ReadOptions {
    ReadOptions { transpose: true, ..Default::default() }
}

#[test]
fn files_with_features_in_rows_are_turned() {
    let dir = tempfile::tempdir().unwrap();
    let x = array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]];
    for (name, content, obs, var) in [
        ("a.tsv", "feature\tp1\tp2\tp3\ng1\t1\t2\t3\ng2\t4\t5\t6\n", "p2", "g2"),
        ("b.csv", "1,2,3\n4,5,6\n", "obs1", "var1"),
        ("c.mtx", "%%MatrixMarket matrix array real general\n2 3\n1\n4\n2\n5\n3\n6\n", "obs1", "var1"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let data = read(&path, &turned()).unwrap();
        assert_eq!(data.x.to_dense(), x, "{name}");
        assert_eq!((data.obs.names[1].as_str(), data.var.names[1].as_str()), (obs, var), "{name}");
    }
    // An .h5ad file exchanges its tables with their columns.
    let mut data = read(&dir.path().join("a.tsv"), &ReadOptions::default()).unwrap();
    data.var.columns.push(("age".into(), Column::Int(vec![Some(1), None, Some(3)])));
    data.obsm.insert("X_pca".into(), array![[1.0], [2.0]]);
    let path = dir.path().join("d.h5ad");
    write_h5ad(&path, Input::Dataset(&data), &Annotations::default()).unwrap();
    let back = read(&path, &turned()).unwrap();
    assert_eq!(back.x.to_dense(), x);
    assert_eq!(back.obs.column("age"), Some(&Column::Int(vec![Some(1), None, Some(3)])));
    assert!(back.obsm.is_empty());
}

#[test]
fn columns_have_the_narrowest_kind_and_are_aligned_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.csv");
    fs::write(&path, "id,days,grade,arm,note\nb,10,1.5,x,one\na,NA,,y,\nc,7,2,x,two\n").unwrap();
    let table = read_columns(&path, None).unwrap();
    let names = ["a", "b", "c", "d"].map(String::from);
    let (columns, without) = align_columns(&table, &names, "c.csv").unwrap();
    assert_eq!(without, 1);
    assert_eq!(columns[0], ("days".into(), Column::Int(vec![None, Some(10), Some(7), None])));
    let Column::Float(grade) = &columns[1].1 else { panic!("{:?}", columns[1]) };
    assert!(grade[0].is_nan() && grade[1] == 1.5 && grade[2] == 2.0 && grade[3].is_nan());
    let Column::Categorical { codes, categories, .. } = &columns[2].1 else { panic!("{:?}", columns[2]) };
    assert_eq!((codes.as_slice(), categories.len()), (&[Some(1), Some(0), Some(0), None][..], 2));
    assert_eq!(columns[3].1, Column::Text(vec![None, Some("one".into()), Some("two".into()), None]));
    let why = align_columns(&table, &names[..2], "c.csv").unwrap_err().to_string();
    assert!(why.contains("1 of 3 that name no observation (\"c\")") && why.contains("\"a\", \"b\""), "{why}");
    for (content, wanted) in [
        ("id,x\n", "1 lines"),
        ("id,x\na,1,2,3\n", "line 1: found 2 names"),
        ("id,x\na,1\nb\n", "line 3: found 1 cells"),
        ("id,x\na,1\na,2\n", "line 3: found \"a\", also the name of line 2"),
        ("id,x,x\na,1,2\n", "\"x\" twice"),
        ("id,a/b\na,1\n", "cannot be the name of a column"),
        ("id\na\n", "one column"),
        ("id,x\na,1.5\nb,inf\n", "line 3: found \"inf\" in the column \"x\""),
    ] {
        fs::write(&path, content).unwrap();
        let why = read_columns(&path, None).unwrap_err().to_string();
        assert!(why.contains(wanted), "{content:?}: {why}");
    }
    // R leaves out the name above the row names.
    fs::write(&path, "x,y\na,1,2\n").unwrap();
    assert_eq!(read_columns(&path, None).unwrap().columns.len(), 2);
}

/// A small cohort; the matrices hold different patients, in different orders and spellings.
fn cohort(dir: &Path) {
    fs::write(
        dir.join("exp"),
        "\"TCGA.02.0001.01\" \"TCGA.02.0003.01\" \"TCGA.02.0006.01\"\n\"A|1\" 1 2 3\n\"B 2\" -4 5 6.5\n",
    )
    .unwrap();
    fs::write(dir.join("mirna"), "id tcga-02-0006-01 tcga-02-0001-01 tcga-02-0009-01\nm1 30 10 90\n")
        .unwrap();
    fs::write(
        dir.join("survival"),
        "PatientID\tSurvival\tDeath\ntcga-02-0001\t100\t1\nTCGA.02.0003\tNA\t0\nTCGA-02-0009\t5\t0\n",
    )
    .unwrap();
}

#[test]
fn a_folder_is_joined_on_its_common_patients() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!omics::is_folder(dir.path()));
    cohort(dir.path());
    assert!(omics::is_folder(dir.path()));
    let read = omics::read(dir.path(), None).unwrap();
    assert_eq!(read.files, [dir.path().join("exp"), dir.path().join("mirna")]);
    let [exp, mirna] = read.tables.as_slice() else { panic!("{:?}", read.tables) };
    assert_eq!(exp.x.to_dense(), array![[1.0, -4.0], [3.0, 6.5]]);
    assert_eq!(mirna.x.to_dense(), array![[10.0], [30.0]]);
    assert_eq!(exp.var.names, ["A|1", "B 2"]);
    assert_eq!(mirna.obs.names, ["TCGA.02.0001.01", "TCGA.02.0006.01"]);
    assert_eq!(exp.obs, mirna.obs);
    assert_eq!(exp.obs.column("Survival"), Some(&Column::Int(vec![Some(100), None])));
    assert_eq!(exp.obs.column("Death"), Some(&Column::Int(vec![Some(1), None])));
    let said = read.warnings.join("\n");
    assert_eq!(read.warnings.len(), 3, "{said}");
    assert!(said.contains("1 of 3 patients are not in every table") && said.contains("1 of 2"), "{said}");
    fs::remove_file(dir.path().join("survival")).unwrap();
    let read = omics::read(dir.path(), None).unwrap();
    assert!(read.survival.is_none() && read.tables[0].obs.columns.is_empty());
}

#[test]
fn damaged_folders_name_file_and_line() {
    for (file, content, wanted) in [
        ("exp", "", "exp: the file: found no numbers"),
        ("exp", "a b\n", "exp: the file: found no numbers"),
        ("exp", "\"a\" \"b\n", "exp: line 1: found a quote without its end"),
        ("exp", "p q\ng 1 2\nh 1\n", "exp: line 3: found a name and 1 values"),
        ("exp", "p q\ng 1 x\n", "exp: line 2: found \"x\" for the patient \"q\""),
        ("exp", "p q\ng 1 2\ng 1 2\n", "the feature \"g\" twice"),
        ("exp", "a.b A-B\ng 1 2\n", "the patients \"a.b\" and \"A-B\""),
        ("exp", "p q\ng 1 2\n", "no patient that every matrix holds (\"p\" in"),
        ("survival", "PatientID\tDeath\ntcga-02-0001\t1\n", "the column \"Survival\": found no such column"),
        ("survival", "PatientID\tSurvival\tDeath\nx\tlong\t1\n", "the column \"Survival\": found texts"),
        ("survival", "PatientID\tSurvival\tDeath\nx\t3\t1\n", "PatientID: found names as \"x\""),
        ("survival", "PatientID\tSurvival\tDeath\na.b\t3\t1\nA-B\t3\t1\n", "found \"a.b\" and \"A-B\""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        cohort(dir.path());
        fs::write(dir.path().join(file), content).unwrap();
        let why = omics::read(dir.path(), None).unwrap_err().to_string();
        assert!(why.contains(wanted), "{content:?}: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path());
    fs::write(dir.path().join("exp"), b"p\xff q\ng 1 2\n").unwrap();
    assert!(omics::read(dir.path(), None).unwrap_err().to_string().contains("UTF-8"));
    cohort(dir.path());
    let why = omics::read(dir.path(), Some(40)).unwrap_err().to_string();
    assert!(why.contains("memory"), "{why}");
    // Programs that read one table say what the folder is.
    let why = read(dir.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(why.contains("several tables"), "{why}");
    let empty = tempfile::tempdir().unwrap();
    assert!(omics::read(empty.path(), None).unwrap_err().to_string().contains("exp, methy, mirna"));
}
