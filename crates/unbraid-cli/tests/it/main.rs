//! The program from outside: files in, files and messages out.

mod apply;
mod coclusters;
mod errors;
mod evaluate;
mod factors;
mod help;
mod mssvae;
mod omics;
mod reproduce;
mod resume;
mod road;
mod spatial;
mod stability;
mod studies;
mod survival;
mod truth;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Crc;
use flate2::write::GzEncoder;
use ndarray::Array2;
use unbraid::data::{Annotations, Csr, Dataset, Matrix};
use unbraid::fit::Seed;
use unbraid::simulate::kronecker::KroneckerDesign;
use unbraid_io::Input;
use unbraid_io::h5ad::{AnnData, Array, Dict, Elem, Numbers, Sparse, read_anndata};

/// The methods as typed.
pub(crate) const METHODS: [&str; 4] = ["medmagma", "gmgm", "single-axis", "tyler"];

/// A folder of its own, in which the program runs.
pub(crate) struct Work(tempfile::TempDir);

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Work {
    pub(crate) fn new() -> Work {
        Work(tempfile::tempdir().unwrap())
    }

    /// A folder with `data.h5ad`: 30 × 24 simulated values beside their truth.
    pub(crate) fn with_data() -> Work {
        let work = Work::new();
        work.ok("simulate kronecker -o data.h5ad --seed 2 --set observations=30 --set features=24");
        work
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unbraid"));
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command
    }

    /// Runs the words of `line`, which hold no spaces.
    pub(crate) fn run(&self, line: &str) -> Ran {
        let ran = Ran::from(self.command(line).output().unwrap());
        assert!(!ran.err.contains("panicked"), "{line}: {}", ran.err);
        assert!([0, 2, 3, 4].contains(&ran.code), "{line} ended with {}: {}", ran.code, ran.err);
        ran
    }

    pub(crate) fn ok(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        assert!(!ran.out.contains("NaN"), "{line}: {}", ran.out);
        ran
    }

    /// Runs what must fail with one error that holds all of `parts`.
    pub(crate) fn fails(&self, line: &str, code: i32, parts: &[&str]) {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        let errors = ran.err.lines().filter(|l| l.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{line}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{line}: `{part}` is not in: {}", ran.err);
        }
        assert!(ran.out.is_empty(), "{line}: {}", ran.out);
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// An `.h5ad` file of a matrix, with generated names.
    pub(crate) fn h5ad(&self, name: &str, x: Matrix) {
        self.dataset(name, &Dataset::from_matrix(name, x));
    }

    pub(crate) fn dataset(&self, name: &str, data: &Dataset) {
        unbraid_io::write_h5ad(&self.path(name), Input::Dataset(data), &Annotations::default()).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> AnnData {
        read_anndata(&self.path(name)).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The file without the one slot that differs from run to run.
    pub(crate) fn slots(&self, name: &str, key: &str) -> AnnData {
        let mut data = self.read(name);
        let Some(Elem::Dict(notes)) = data.uns.get_mut(key) else { panic!("{name} has no uns[{key}]") };
        assert!(notes.remove("seconds").is_some());
        data
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl From<Output> for Ran {
    fn from(out: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: out.status.code().unwrap_or(-1), out: text(out.stdout), err: text(out.stderr) }
    }
}

/// Simulated values.
pub(crate) fn simulated(n: usize, m: usize, seed: u64) -> Array2<f64> {
    let design = KroneckerDesign { observations: n, features: m, ..KroneckerDesign::default() };
    design.dataset(Seed(seed)).unwrap().0.x.to_dense()
}

/// Counts from 1 to 40, and a zero in every seventh place.
pub(crate) fn counts(n: usize, m: usize) -> Array2<f64> {
    let mut x = simulated(n, m, 5).mapv(|v| (v.abs() * 3.0).round().min(39.0) + 1.0);
    x.indexed_iter_mut().for_each(|((i, j), v)| {
        if (i * 3 + j * 5) % 7 == 0 {
            *v = 0.0;
        }
    });
    x
}

/// Numbers as floats, whatever their type.
pub(crate) fn floats(data: &Numbers) -> Vec<f64> {
    match data {
        Numbers::F64(v) => v.clone(),
        Numbers::F32(v) => v.iter().map(|&v| v.into()).collect(),
        Numbers::I32(v) => v.iter().map(|&v| v.into()).collect(),
        Numbers::I64(v) => v.iter().map(|&v| v as f64).collect(),
        Numbers::U32(v) => v.iter().map(|&v| v.into()).collect(),
        Numbers::U64(v) => v.iter().map(|&v| v as f64).collect(),
        Numbers::Bool(v) => v.iter().map(|&v| f64::from(u8::from(v))).collect(),
        other => panic!("no floats in {other:?}"),
    }
}

/// A matrix of the file, dense.
pub(crate) fn dense(elem: &Elem) -> Array2<f64> {
    match elem {
        Elem::Array(Array { shape, data }) => {
            Array2::from_shape_vec((shape[0], shape[1]), floats(data)).unwrap()
        }
        Elem::Sparse(Sparse { shape, indptr, indices, data, .. }) => {
            let indptr = floats(indptr).iter().map(|&v| v as usize).collect();
            let indices = floats(indices).iter().map(|&v| v as u32).collect();
            Csr::new("a slot", *shape, indptr, indices, floats(data)).unwrap().to_dense()
        }
        other => panic!("no matrix: {other:?}"),
    }
}

/// A text of `uns`.
pub(crate) fn text<'a>(dict: &'a Dict, name: &str) -> &'a str {
    match dict.get(name) {
        Some(Elem::Strings(s)) if s.shape.is_empty() => &s.values[0],
        other => panic!("{name} is {other:?}"),
    }
}

/// A member of a dictionary that is one.
pub(crate) fn dict<'a>(of: &'a Dict, name: &str) -> &'a Dict {
    match of.get(name) {
        Some(Elem::Dict(d)) => d,
        other => panic!("{name} is {other:?}"),
    }
}

/// A column of numbers.
pub(crate) fn column(frame: &unbraid_io::h5ad::Frame, name: &str) -> Vec<f64> {
    match frame.columns.iter().find(|(n, _)| n == name) {
        Some((_, Elem::Array(a))) => floats(&a.data),
        other => panic!("{name} is {other:?}"),
    }
}

/// Little-endian `.npy` of doubles.
pub(crate) fn npy(x: &Array2<f64>) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {}), }}", x.nrows(), x.ncols());
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    x.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

/// A zip archive of one stored file, as NumPy's `savez` writes it.
pub(crate) fn npz(name: &str, content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let mut shared = Vec::new();
    [20u16, 0, 0, 0, 33].iter().for_each(|v| shared.extend(v.to_le_bytes()));
    [crc.sum(), content.len() as u32, content.len() as u32]
        .iter()
        .for_each(|v| shared.extend(v.to_le_bytes()));
    [name.len() as u16, 0].iter().for_each(|v| shared.extend(v.to_le_bytes()));
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend(&shared);
    zip.extend(name.as_bytes());
    zip.extend(content);
    let directory = zip.len() as u32;
    zip.extend(b"PK\x01\x02\x14\x00");
    zip.extend(&shared);
    zip.extend([0; 14]);
    zip.extend(name.as_bytes());
    let size = zip.len() as u32 - directory;
    zip.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    zip.extend(size.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

pub(crate) fn gz(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes.as_ref()).unwrap();
    packed.finish().unwrap()
}

/// A table with names on both axes.
pub(crate) fn table(x: &Array2<f64>, delimiter: &str) -> String {
    let mut text: String = (0..x.ncols()).map(|j| format!("{delimiter}var{j}")).collect();
    for (i, row) in x.rows().into_iter().enumerate() {
        text += &format!("\nobs{i}");
        row.iter().for_each(|v| text += &format!("{delimiter}{v:?}"));
    }
    text + "\n"
}

/// A MatrixMarket file of the non-zeros.
pub(crate) fn mtx(x: &Array2<f64>) -> String {
    let entries: Vec<String> = x
        .indexed_iter()
        .filter(|(_, v)| **v != 0.0)
        .map(|((i, j), v)| format!("{} {} {v:?}\n", i + 1, j + 1))
        .collect();
    let (n, m) = x.dim();
    format!("%%MatrixMarket matrix coordinate real general\n{n} {m} {}\n{}", entries.len(), entries.concat())
}

/// The three files of a 10x folder, genes × cells.
pub(crate) fn tenx(work: &Work, folder: &str, x: &Array2<f64>) {
    let lines = |f: &dyn Fn(usize) -> String, n: usize| (0..n).map(f).collect::<String>();
    work.write(&format!("{folder}/matrix.mtx.gz"), gz(mtx(&x.t().to_owned())));
    work.write(&format!("{folder}/barcodes.tsv.gz"), gz(lines(&|i| format!("obs{i}\n"), x.nrows())));
    let genes = lines(&|j| format!("ENSG{j}\tvar{j}\tGene Expression\n"), x.ncols());
    work.write(&format!("{folder}/features.tsv.gz"), gz(genes));
}

/// Every number of a file is finite.
pub(crate) fn assert_finite(path: &Path) {
    fn visit(name: &str, elem: &Elem) {
        let numbers = |data: &Numbers| {
            let whole = match data {
                Numbers::F64(v) => v.iter().all(|v| v.is_finite()),
                Numbers::F32(v) => v.iter().all(|v| v.is_finite()),
                _ => true,
            };
            assert!(whole, "{name} holds values that are not finite");
        };
        match elem {
            Elem::Array(a) => numbers(&a.data),
            Elem::Sparse(s) => numbers(&s.data),
            Elem::Frame(f) => f.columns.iter().for_each(|(n, e)| visit(&format!("{name}/{n}"), e)),
            Elem::Dict(d) => d.iter().for_each(|(n, e)| visit(&format!("{name}/{n}"), e)),
            _ => {}
        }
    }
    let data = read_anndata(path).unwrap();
    let groups = [("obsm", &data.obsm), ("varm", &data.varm), ("obsp", &data.obsp), ("varp", &data.varp)];
    for (name, group) in groups.into_iter().chain([("uns", &data.uns)]) {
        group.iter().for_each(|(n, e)| visit(&format!("{name}/{n}"), e));
    }
    visit("obs", &Elem::Frame(data.obs.clone()));
    visit("var", &Elem::Frame(data.var.clone()));
}
