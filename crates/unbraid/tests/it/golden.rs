//! Golden values: arrays a reference implementation computed, with an origin note beside them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use ndarray::{Array, ArrayBase, ArrayD, Data, Dimension, IxDyn};

/// One case: `testdata/golden/<method>/<case>/case.npz`, `origin.json` beside it.
pub struct Golden {
    name: String,
    arrays: BTreeMap<String, ArrayD<f64>>,
}

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden").join(case)
}

/// Little-endian number of `n` bytes at `at`.
fn number(bytes: &[u8], at: usize, n: usize) -> usize {
    bytes[at..at + n].iter().rev().fold(0, |v, &b| v << 8 | usize::from(b))
}

/// Names and contents of a zip archive's files, read from its central directory; stored and deflated
/// files only, which is all that NumPy writes. Trusts the archive: these are our own files.
fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let end = bytes.windows(4).rposition(|w| w == b"PK\x05\x06").expect("an end of central directory");
    let mut at = number(bytes, end + 16, 4);
    let mut files = Vec::new();
    for _ in 0..number(bytes, end + 10, 2) {
        let field = |offset, n| number(bytes, at + offset, n);
        let (method, size, start) = (field(10, 2), field(20, 4), field(42, 4));
        let name = String::from_utf8(bytes[at + 46..at + 46 + field(28, 2)].to_vec()).unwrap();
        let data = start + 30 + number(bytes, start + 26, 2) + number(bytes, start + 28, 2);
        let packed = &bytes[data..data + size];
        let mut content = Vec::new();
        match method {
            0 => content.extend_from_slice(packed),
            8 => drop(DeflateDecoder::new(packed).read_to_end(&mut content).unwrap()),
            other => panic!("{name}: compression {other}"),
        }
        files.push((name, content));
        at += 46 + field(28, 2) + field(30, 2) + field(32, 2);
    }
    files
}

/// A `.npy` file of floats; `None` for another kind of value.
fn npy(bytes: &[u8]) -> Option<ArrayD<f64>> {
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let wide = if bytes[6] == 1 { 2 } else { 4 };
    let start = 8 + wide + number(bytes, 8, wide);
    let header = std::str::from_utf8(&bytes[8 + wide..start]).unwrap();
    let after = |key: &str| header.split(key).nth(1).unwrap();
    let shape = after("'shape': (").split(')').next().unwrap();
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = &bytes[start..];
    let values: Vec<f64> = match after("'descr': '").split('\'').next().unwrap() {
        "<f8" => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        "<f4" => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        _ => return None,
    };
    if after("'fortran_order': ").starts_with("True") {
        let turned: Vec<usize> = shape.iter().rev().copied().collect();
        let array = ArrayD::from_shape_vec(IxDyn(&turned), values).unwrap().reversed_axes();
        return Some(array.as_standard_layout().into_owned());
    }
    Some(ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap())
}

impl Golden {
    /// Reads every array of floats of the case.
    pub fn open(case: &str) -> Golden {
        let path = folder(case).join("case.npz");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let array =
            |(name, bytes): (String, Vec<u8>)| Some((name.strip_suffix(".npy")?.to_owned(), npy(&bytes)?));
        Golden { name: case.to_owned(), arrays: unzip(&bytes).into_iter().filter_map(array).collect() }
    }

    /// The array of that name, with as many axes as the caller asks for.
    pub fn array<D: Dimension>(&self, name: &str) -> Array<f64, D> {
        let array = self.arrays.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name));
        array.clone().into_dimensionality().unwrap()
    }

    #[allow(dead_code)] // the unit tests, which share this file, do not list names
    /// Names that begin with `prefix`, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.arrays.keys().filter_map(|k| k.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// Largest difference over the largest golden value is at most `tol`.
    pub fn assert_close<S: Data<Elem = f64>, D: Dimension>(
        &self,
        name: &str,
        found: &ArrayBase<S, D>,
        tol: f64,
    ) {
        let gold: Array<f64, D> = self.array(name);
        assert_eq!(gold.shape(), found.shape(), "{} {name}: shape", self.name);
        let size = gold.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let gap = gold.iter().zip(found).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        assert!(found.iter().all(|v| v.is_finite()), "{} {name}: not finite", self.name);
        assert!(gap <= tol * size, "{} {name}: differs by {gap:e}, values up to {size:e}", self.name);
    }
}

#[test]
fn every_case_names_its_origin() {
    let mut cases = 0;
    for method in std::fs::read_dir(folder("")).unwrap() {
        for case in std::fs::read_dir(method.unwrap().path()).unwrap() {
            let case = case.unwrap().path();
            if !case.is_dir() {
                continue; // single files say where they come from in themselves
            }
            let note = std::fs::read_to_string(case.join("origin.json")).unwrap();
            assert!(note.contains("\"origin\""));
            cases += 1;
        }
    }
    assert!(cases >= 8);
}
