//! `nmf` from a given start, for `benchmarks/nmf/speed.py`: the loss and the seconds after every step.
//!
//! `nmf_speed FOLDER LOSS SOLVER THREADS STEPS RUNS`. The folder holds raw little-endian numbers: `shape` (samples, features, k,
//! stored entries or 0 for a dense table; u64), `values`, for a sparse table `indptr` (u64) and `indices` (u32), and the start
//! `scores` and `loadings`. One line for each run: pairs of seconds and summed loss. The clock starts with the table in memory.

use std::time::Instant;

use ndarray::Array2;
use unbraid::data::{Csr, Matrix, Values};
use unbraid::fit::{Ctx, Flow, Observer, Seed, Step};
use unbraid::methods::factor::common::Nonnegative;
use unbraid::methods::factor::nmf::Nmf;

type Fault = Box<dyn std::error::Error + Send + Sync>;

struct Clock(Instant, Vec<(f64, f64)>);

impl Observer for Clock {
    fn step(&mut self, at: Step, _: usize, _: usize) -> Flow {
        if let Step::Sweep(loss) = at {
            self.1.push((self.0.elapsed().as_secs_f64(), loss));
        }
        Flow::Continue
    }
}

fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, loss, solver, threads, steps, runs] = &words[..] else {
        return Err("FOLDER LOSS SOLVER THREADS STEPS RUNS".into());
    };
    let bytes = |name: &str| std::fs::read(format!("{folder}/{name}"));
    let f64s = |name: &str| -> Result<Vec<f64>, Fault> {
        Ok(bytes(name)?.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect())
    };
    let whole = |name: &str| -> Result<Vec<usize>, Fault> {
        Ok(bytes(name)?.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b) as usize).collect())
    };
    let [n, d, k, stored] = whole("shape")?[..] else { return Err("shape: four numbers".into()) };
    let matrix = if stored == 0 {
        Matrix::Dense(Array2::from_shape_vec((n, d), f64s("values")?)?)
    } else {
        let indices = bytes("indices")?.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        Matrix::Sparse(Csr::new("X", (n, d), whole("indptr")?, indices, f64s("values")?)?)
    };
    let loadings = Array2::from_shape_vec((d, k), f64s("loadings")?)?;
    let scores = Array2::from_shape_vec((n, k), f64s("scores")?)?;
    let method = Nmf {
        k,
        loss: loss.parse()?,
        solver: solver.parse()?,
        max_steps: steps.parse()?,
        tol: 0.0,
        ..Nmf::default()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    for _ in 0..runs.parse()? {
        let input = Nonnegative::new(Values { what: "X", matrix: &matrix });
        let mut clock = Clock(Instant::now(), Vec::new());
        let (loadings, scores) = (loadings.clone(), scores.clone());
        pool.install(|| method.fit_from(input, loadings, scores, &mut Ctx::new(Seed(0), &mut clock)))?;
        let size = (n * d) as f64;
        let line: Vec<String> = clock.1.iter().map(|(s, l)| format!("{s:.6} {:.12e}", l * size)).collect();
        println!("{}", line.join(" "));
    }
    Ok(())
}
