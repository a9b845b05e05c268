//! Tables of text, MatrixMarket, 10x folders and NumPy files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use ndarray::{Array2, array};
use unbraid::data::Dataset;
use unbraid_io::{ReadOptions, Result, input_sha256, inspect, npz, read};

fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    if name.ends_with(".gz") {
        let mut gz = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast());
        gz.write_all(bytes.as_ref()).unwrap();
        gz.finish().unwrap();
    } else {
        fs::write(&path, bytes).unwrap();
    }
    path
}

fn text(name: &str, bytes: impl AsRef<[u8]>) -> Result<Dataset> {
    let dir = tempfile::tempdir().unwrap();
    read(&put(dir.path(), name, bytes), &ReadOptions::default())
}

fn refusal(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let why = text(name, bytes).unwrap_err();
    assert!(!why.is_output());
    why.to_string()
}

#[test]
fn tables_with_and_without_names() {
    let values = array![[1.0, 2.5], [0.0, -3e2]];
    for (name, content, obs, var) in [
        ("a.csv", ",g1,g2\nc1,1,2.5\nc2,0,-3e2\n", ["c1", "c2"], ["g1", "g2"]),
        ("a.csv", "\u{feff},g1,g2\r\nc1,1,2.5\r\nc2,0,-3e2", ["c1", "c2"], ["g1", "g2"]),
        ("a.csv", "id,g1,g2\n7,1,2.5\n8,0,-3e2\n", ["7", "8"], ["g1", "g2"]),
        ("a.csv.gz", "g1,g2\nc1,1,2.5\nc2,0,-3e2\n", ["c1", "c2"], ["g1", "g2"]),
        ("a.tsv", "g1\tg2\n1\t2.5\n0\t-3e2\n\n", ["obs0", "obs1"], ["g1", "g2"]),
        ("a.txt", "c1;1;2.5\nc2;0;-3e2\n", ["c1", "c2"], ["var0", "var1"]),
        ("a.txt", "1\t2.5\n0\t-3e2\n", ["obs0", "obs1"], ["var0", "var1"]),
        ("a.csv", ",\"a, b\",g2\nc1,1,2.5\n\"c\"\"2\",0,-3e2\n", ["c1", "c\"2"], ["a, b", "g2"]),
    ] {
        let data = text(name, content).unwrap_or_else(|e| panic!("{content}: {e}"));
        assert_eq!(data.x.to_dense(), values, "{content}");
        assert_eq!(
            (data.obs.names, data.var.names),
            (obs.map(String::from).to_vec(), var.map(String::from).to_vec())
        );
    }
    let missing = text("a.csv", ",g1,g2\nc1,,NA\n").unwrap().x.to_dense();
    assert!(missing.iter().all(|v| v.is_nan()));
}

#[test]
fn broken_tables_name_line_and_column() {
    for (content, wanted) in [
        (",g1,g2\nc1,1,2\nc2,3\n", "line 3: found 2 cells"),
        (",g1,g2\nc1,1,2\nc2,3,x7\n", "line 3, column 3: found \"x7\""),
        (",g1,g1\nc1,1,2\n", "line 1, column 3: found \"g1\", also the name of column 2"),
        (",g1,g2\nc1,1,2\nc1,1,2\n", "line 3, column 1: found \"c1\", also the name of line 2"),
        ("a,b,c,d\nc1,1,2\n", "line 1: found 4 names"),
        (",g1,g2\n", "no numbers"),
        ("\n\n", "no numbers"),
    ] {
        let why = refusal("t.csv", content);
        assert!(why.contains(wanted), "{content:?}: {why}");
    }
    let latin = refusal("t.csv", b",g\xe9\nc,1\n");
    assert!(latin.contains("UTF-8"), "{latin}");
    assert!(refusal("t.csv", b"").contains("no bytes"));
    let mut cut = Vec::new();
    let mut gz = GzEncoder::new(&mut cut, Compression::fast());
    gz.write_all(&b"1,2\n".repeat(1000)).unwrap();
    gz.finish().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv.gz");
    fs::write(&path, &cut[..cut.len() / 2]).unwrap();
    assert!(read(&path, &ReadOptions::default()).is_err());
    // A small file that unpacks to one endless cell.
    let bomb = put(dir.path(), "bomb.csv.gz", vec![b'7'; 4 << 20]);
    let options = ReadOptions { max_bytes: Some(1 << 20), ..Default::default() };
    let why = read(&bomb, &options).unwrap_err().to_string();
    assert!(why.contains("larger than the memory allowed"), "{why}");
}

#[test]
fn matrix_market_in_all_its_forms() {
    let head = "%%MatrixMarket matrix";
    let x = array![[0.0, 2.0, 0.0], [1.5, 0.0, 0.0]];
    let general = format!("{head} coordinate real general\n% note\n2 3 2\n1 2 2\n2 1 1.5\n");
    for name in ["m.mtx", "m.mtx.gz"] {
        assert_eq!(text(name, &general).unwrap().x.to_dense(), x);
    }
    let dense = format!("{head} array real general\n2 3\n0\n1.5\n2\n0\n0\n0\n");
    assert_eq!(text("m.mtx", dense).unwrap().x.to_dense(), x);
    let symmetric = format!("{head} coordinate integer symmetric\n2 2 2\n1 1 4\n2 1 3\n");
    assert_eq!(text("m.mtx", symmetric).unwrap().x.to_dense(), array![[4.0, 3.0], [3.0, 0.0]]);
    let pattern = format!("{head} coordinate pattern general\n1 2 1\n1 2\n");
    assert_eq!(text("m.mtx", pattern).unwrap().x.to_dense(), array![[0.0, 1.0]]);
    for (content, wanted) in [
        ("2 2 1\n1 1 1\n".to_owned(), "line 1"),
        (format!("{head} coordinate complex general\n1 1 0\n"), "complex"),
        (format!("{head} coordinate real general\n2 3 2\n1 2 2\n3 1 1.5\n"), "line 4: found \"3 1 1.5\""),
        (format!("{head} coordinate real general\n2 3 2\n1 0 2\n"), "the column must lie between 1 and 3"),
        (format!("{head} coordinate real general\n2 3 2\n1 2 two\n"), "line 3: found \"two\""),
        (format!("{head} coordinate real general\n2 3 2\n1 2 2\n"), "the end after 1 entries"),
        (format!("{head} coordinate real general\n2 3 1\n1 2 2\n1 1 1\n"), "entry number 2"),
        (format!("{head} coordinate real general\n4000000000 3 1\n1 2 2\n"), "no compression"),
        (format!("{head} coordinate real general\n2 3 999999999999\n1 2 2\n"), "no compression"),
        (format!("{head} array real general\n2 2\n1\n2\n3\n"), "the end before row 2, column 2"),
    ] {
        let why = refusal("m.mtx", &content);
        assert!(why.contains(wanted), "{content:?}: {why}");
    }
}

#[test]
fn a_10x_folder_is_turned() {
    let matrix = "%%MatrixMarket matrix coordinate integer general\n3 2 3\n1 1 4\n3 1 2\n2 2 7\n";
    for (end, features) in [("", "genes.tsv"), (".gz", "features.tsv")] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &format!("matrix.mtx{end}"), matrix);
        put(dir.path(), &format!("barcodes.tsv{end}"), "AAA-1\nCCC-1\n");
        let genes = "ENS1\tA1\tGene Expression\nENS2\tB\tGene Expression\nENS3\tA1\tGene Expression\n";
        put(dir.path(), &format!("{features}{end}"), genes);
        let data = read(dir.path(), &ReadOptions::default()).unwrap();
        assert_eq!(data.x.to_dense(), array![[4.0, 0.0, 2.0], [0.0, 7.0, 0.0]]);
        assert_eq!((data.obs.names[1].as_str(), data.var.names[1].as_str()), ("CCC-1", "B"));
        assert!(data.var.column("gene_ids").is_some());
        let seen = inspect(dir.path()).unwrap();
        assert!(seen.problems.iter().any(|p| p.contains("\"A1\"")), "{:?}", seen.problems);
        assert_eq!(input_sha256(dir.path()).unwrap().len(), 64);
        put(dir.path(), &format!("barcodes.tsv{end}"), "AAA-1\n");
        let why = read(dir.path(), &ReadOptions::default()).unwrap_err().to_string();
        assert!(why.contains("1 lines") && why.contains("2 columns"), "{why}");
        fs::remove_file(dir.path().join(format!("barcodes.tsv{end}"))).unwrap();
        assert!(read(dir.path(), &ReadOptions::default()).unwrap_err().to_string().contains("barcodes.tsv"));
    }
}

/// A `.npy` file of version 1.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut head = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((head.len() as u16).to_le_bytes());
    out.extend(head.as_bytes());
    out.extend(data);
    out
}

#[test]
fn numpy_arrays_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let f64s: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let wanted = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let of = |bytes: Vec<u8>| text("x.npy", bytes).map(|d| d.x.to_dense());
    assert_eq!(of(npy("<f8", false, "(2, 3)", &f64s)).unwrap(), wanted);
    let turned = Array2::from_shape_vec((3, 2), vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]).unwrap();
    assert_eq!(of(npy("<f8", true, "(3, 2)", &f64s)).unwrap(), turned);
    let big: Vec<u8> = [1i16, 2, 3, 4, 5, 6].iter().flat_map(|v| v.to_be_bytes()).collect();
    assert_eq!(of(npy(">i2", false, "(2, 3)", &big)).unwrap(), wanted);
    assert_eq!(of(npy("|b1", false, "(1, 2)", &[1, 0])).unwrap(), array![[1.0, 0.0]]);
    for (bytes, wanted) in [
        (npy("<f8", false, "(2, 30)", &f64s), "cut short"),
        (npy("<f8", false, "(4000000000, 4000000000)", &f64s), "no compression"),
        (npy("<f8", false, "(6,)", &f64s), "rows and columns"),
        (npy("<c8", false, "(2, 3)", &f64s), "integers, booleans or floats"),
        (b"\x93NUMPY\x01\x00\xff\xff".to_vec(), "NumPy array"),
    ] {
        let why = of(bytes).unwrap_err().to_string();
        assert!(why.contains(wanted), "{why}");
    }
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let path = dir.path().join("x.npz");
        let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in [("X", npy("<f8", false, "(2, 3)", &f64s)), ("n", npy("|u1", false, "()", &[7]))]
        {
            zip.start_file(format!("{name}.npy"), options).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap();
        assert_eq!(npz::names(&path).unwrap(), ["X", "n"]);
        assert_eq!(npz::read_f64(&path, "n").unwrap(), (vec![], vec![7.0]));
        assert_eq!(read(&path, &ReadOptions::default()).unwrap().x.to_dense(), wanted);
        let why = npz::read_f64(&path, "Y").unwrap_err().to_string();
        assert!(why.contains("the file holds X, n"), "{why}");
    }
    let why = text("x.npz", b"PK but no archive").unwrap_err().to_string();
    assert!(why.contains("zip"), "{why}");
}

#[test]
fn what_is_not_a_format_is_told_so() {
    assert!(refusal("notes.doc", "hello").contains("unknown format"));
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "a.csv", ",g\nc,1\n");
    let options = ReadOptions { layer: Some("counts".into()), ..Default::default() };
    assert!(read(&path, &options).unwrap_err().to_string().contains("no layers"));
    // From `printf ",g\\nc,1\\n" | sha256sum`.
    let sum = "024f3bcc383d17dea893610f7c012b1787feb55bc103bbb05a5f913101aebc40";
    assert_eq!(input_sha256(&path).unwrap(), sum);
}
