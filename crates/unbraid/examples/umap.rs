//! UMAP of a table, for `benchmarks/umap/pictures.py`.
//!
//! `umap FOLDER NEIGHBORS MIN_DIST SEED THREADS RUNS`. The folder holds raw little-endian numbers: `shape` (points, coordinates; u64) and
//! `values` (f64). Writes `picture` (points × 2, f64) there and prints, for each run, seconds, and the trustworthiness at 15 neighbours. The clock
//! starts with the table in memory.

use std::time::Instant;

use ndarray::Array2;
use unbraid::fit::Seed;
use unbraid::graph::umap::Umap;
use unbraid::metrics::trustworthiness::trustworthiness;

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, neighbors, min_dist, seed, threads, runs] = &words[..] else {
        return Err("FOLDER NEIGHBORS MIN_DIST SEED THREADS RUNS".into());
    };
    let shape = std::fs::read(format!("{folder}/shape"))?;
    let [n, d] = shape.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b) as usize).collect::<Vec<_>>()[..]
    else {
        return Err("shape: two numbers".into());
    };
    let values = std::fs::read(format!("{folder}/values"))?;
    let values = values.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
    let points = Array2::from_shape_vec((n, d), values)?;
    let umap = Umap { neighbors: neighbors.parse()?, min_dist: min_dist.parse()?, ..Umap::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    for _ in 0..runs.parse()? {
        let begun = Instant::now();
        let picture = pool.install(|| umap.picture(points.view(), Seed(seed.parse().unwrap_or(0))))?;
        let seconds = begun.elapsed().as_secs_f64();
        let kept = pool.install(|| trustworthiness(points.view(), picture.view(), 15))?;
        println!("{seconds:.4} {kept:.6}");
        let bytes: Vec<u8> = picture.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(format!("{folder}/picture"), bytes)?;
    }
    Ok(())
}
