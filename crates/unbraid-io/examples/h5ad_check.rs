//! Reads files, or writes them again, so that another reader can compare: `read FILE…`,
//! `model FILE OUT` (through [`AnnData`](unbraid_io::h5ad::AnnData)), `annotate FILE OUT` (with one
//! annotation of every kind), `convert FILE OUT` (through a data set), `large FILE OUT COLUMNS` (with a
//! result that is made block by block, to watch the memory).

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::Path;

use ndarray::Array2;
use unbraid::data::{Annotations, Column, Csr, Slot, Table, Value};
use unbraid::fit::Rows;
use unbraid_io::{Input, ReadOptions, h5ad, read, write_h5ad};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["read", files @ ..] => {
            for file in files {
                let d = read(Path::new(file), &ReadOptions::default())?;
                println!("{file}: {:?}, {} nonzero", d.shape(), d.x.nonzeros());
            }
        }
        ["model", from, to] => h5ad::write_anndata(Path::new(to), &h5ad::read_anndata(Path::new(from))?)?,
        ["annotate", from, to] => {
            let (n, m) = read(Path::new(from), &ReadOptions::default())?.shape();
            write_h5ad(Path::new(to), Input::File(Path::new(from)), &every_kind(n, m))?;
        }
        ["convert", from, to] => {
            let data = read(Path::new(from), &ReadOptions::default())?;
            let (n, m) = data.shape();
            write_h5ad(Path::new(to), Input::Dataset(&data), &every_kind(n, m))?;
        }
        ["large", from, to, columns] => {
            let n = read(Path::new(from), &ReadOptions::default())?.shape().0;
            let mut a = Annotations::default();
            a.obsm.insert("large".into(), Slot::Blocks(Box::new(Counting { shape: (n, columns.parse()?) })));
            write_h5ad(Path::new(to), Input::File(Path::new(from)), &a)?;
        }
        _ => return Err("usage: h5ad_check read|model|annotate|convert|large FILE [OUT [COLUMNS]]".into()),
    }
    Ok(())
}

/// A matrix of any size that is never held: the entry is row + column.
struct Counting {
    shape: (usize, usize),
}

impl Rows for Counting {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }
    fn block(&self, rows: Range<usize>, into: &mut Array2<f32>) -> unbraid::Result<()> {
        *into = Array2::from_shape_fn((rows.len(), self.shape.1), |(i, j)| (rows.start + i + j) as f32);
        Ok(())
    }
}

/// Annotations of every kind for n observations and m features.
fn every_kind(n: usize, m: usize) -> Annotations {
    let mut a = Annotations::default();
    let labels = |n: usize| Column::Categorical {
        codes: (0..n).map(|i| (i % 4 < 3).then_some(i as u32 % 4)).collect(),
        categories: vec!["α".into(), "b c".into(), "<script>".into()],
        ordered: true,
    };
    for (columns, n) in [(&mut a.obs, n), (&mut a.var, m)] {
        let missing = |i: usize| i % 3 == 1;
        columns.insert("t_float".into(), Column::Float((0..n).map(|i| i as f64 / 3.0).collect()));
        columns.insert("t_int".into(), Column::Int((0..n).map(|i| Some(i as i64 - 1)).collect()));
        columns.insert(
            "t_int_na".into(),
            Column::Int((0..n).map(|i| (!missing(i)).then_some(i as i64)).collect()),
        );
        columns.insert("t_bool".into(), Column::Bool((0..n).map(|i| Some(i % 2 == 0)).collect()));
        columns.insert(
            "t_bool_na".into(),
            Column::Bool((0..n).map(|i| (!missing(i)).then_some(i % 2 == 0)).collect()),
        );
        columns.insert("t_text".into(), Column::Text((0..n).map(|i| Some(format!("é{i}"))).collect()));
        columns.insert(
            "t_text_na".into(),
            Column::Text((0..n).map(|i| (!missing(i)).then(|| format!("é{i}"))).collect()),
        );
        columns.insert("t_label".into(), labels(n));
    }
    let band = |n: usize| {
        let entries = (0..n as u32).flat_map(|i| [(i, i, 2.0), (i, (i + 1) % n as u32, -0.5)]);
        Slot::Csr(Csr::from_triplets((n, n), entries.collect()))
    };
    a.obsm.insert("X_t".into(), Slot::F64(Array2::from_shape_fn((n, 3), |(i, j)| i as f64 + 0.1 * j as f64)));
    a.obsm.insert("X_t32".into(), Slot::F32(Array2::from_shape_fn((n, 2), |(i, j)| (i * j) as f32)));
    a.varm.insert("t_loadings".into(), Slot::F64(Array2::from_elem((m, 2), 0.25)));
    a.obsp.insert("t_connectivities".into(), band(n));
    a.varp.insert("t_precision".into(), band(m));
    let layer = Array2::from_shape_fn((n, m), |(i, j)| (i + j) as f64);
    let rows = unbraid::data::Matrix::Dense(layer);
    a.layers.insert("t_reconstruction".into(), Slot::Blocks(Box::new(rows)));
    let table = Table {
        names: vec!["f1".into(), "f2".into()],
        columns: vec![("study".into(), labels(2)), ("features".into(), Column::Int(vec![Some(3), Some(4)]))],
    };
    let inner = BTreeMap::from([
        ("k".to_owned(), Value::Int(5)),
        ("tol".to_owned(), Value::Float(1e-6)),
        ("preset".to_owned(), Value::Text("paper".into())),
        ("hmrf".to_owned(), Value::Bool(true)),
    ]);
    let map = BTreeMap::from([
        ("params".to_owned(), Value::Map(inner)),
        ("objective".to_owned(), Value::Floats(vec![3.0, 2.0, f64::NAN])),
        ("ints".to_owned(), Value::Ints(vec![1, 2])),
        ("warnings".to_owned(), Value::Texts(Vec::new())),
        ("studies".to_owned(), Value::Texts(vec!["a".into(), "ü".into()])),
        ("affinity".to_owned(), Value::Matrix(Array2::eye(2))),
        ("factors".to_owned(), Value::Table(table)),
        ("empty".to_owned(), Value::Map(BTreeMap::new())),
    ]);
    a.uns.insert("t".into(), Value::Map(map));
    a
}
