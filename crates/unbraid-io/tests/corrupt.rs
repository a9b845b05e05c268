//! Damaged files give an error or wrong values, never a panic, a hang or a runaway allocation.

use std::fs;
use std::path::Path;

use unbraid::data::{Annotations, Column};
use unbraid_io::h5ad::read_anndata;
use unbraid_io::{Input, ReadOptions, inspect, read, write_h5ad};

/// A small generator, so that the same places are hit everywhere.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }
}

fn everything(path: &Path, out: &Path) -> usize {
    let mut fine = 0;
    for layer in ["X", "raw", "csc", "dense32"] {
        let options =
            ReadOptions { layer: Some(layer.into()), max_bytes: Some(1 << 30), ..Default::default() };
        fine += usize::from(read(path, &options).is_ok());
    }
    fine += usize::from(read_anndata(path).is_ok());
    fine += usize::from(inspect(path).is_ok());
    let mut a = Annotations::default();
    a.obs.insert("new".into(), Column::Float(vec![1.0; 7]));
    fine + usize::from(write_h5ad(out, Input::File(path), &a).is_ok())
}

#[test]
fn random_damage_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("x.h5ad"), dir.path().join("out.h5ad"));
    let mut random = Lcg(20240501);
    let mut accepted = 0;
    for file in ["zoo.h5ad", "lzf.h5ad", "records.h5ad", "categories.h5ad"] {
        let whole =
            fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/h5ad").join(file)).unwrap();
        for case in 0..120 {
            let mut bytes = whole.clone();
            if case % 4 == 3 {
                bytes.truncate(random.below(whole.len()));
            } else {
                for _ in 0..1 + case % 8 {
                    let at = random.below(bytes.len());
                    bytes[at] = random.below(256) as u8;
                }
                // Structure sits mostly at the start; hit it harder.
                let at = random.below(4096);
                bytes[at] ^= 1 << random.below(8);
            }
            fs::write(&path, &bytes).unwrap();
            accepted += everything(&path, &out);
        }
    }
    assert!(accepted > 0, "some damage hits nothing that is read");
    // The output's directory holds no leftovers.
    assert!(fs::read_dir(dir.path()).unwrap().count() <= 2);
}
