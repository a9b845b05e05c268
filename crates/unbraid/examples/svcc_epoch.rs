//! Times the joint epochs of SVCC with all its terms on a table from a file; one line of JSON.
//!
//! ```text
//! cargo run --release -p unbraid --example svcc_epoch -- FILE ROWS COLS THREADS EPOCHS [pretrain=N] [progress]
//! ```
//!
//! FILE holds n, m and the number of entries (u64), then their rows and columns (u32) and values (f64). `epoch` is the median of the
//! joint epochs after the first, `gflop` what the products of an epoch need (the codes of all lines with which it begins; forward and
//! backward of encoders, copies for the contrast and decoders; of first layers that read sparse lines the entries alone), `gemm` the rate of one product of large matrices by the
//! same library on the same threads, `processors` what both spent on the joint epochs. With `progress` every sweep is told as it ends. `benchmarks/svcc/epoch.py` calls this.

use std::time::Instant;

use ndarray::Array2;
use unbraid::data::{Csr, Matrix, Missing, Values};
use unbraid::fit::{Ctx, Flow, Method, Observer, Seed, Step};
use unbraid::linalg::{Accum, gemm};
use unbraid::methods::cocluster::svcc::Svcc;
use unbraid::methods::cocluster::svcc::input::Observed;
use unbraid::{Error, Result};

/// GFLOP/s of a product of two square matrices, the best of five.
fn gemm_rate(side: usize) -> f64 {
    let a = Array2::from_shape_fn((side, side), |(i, j)| ((i * 7 + j * 3) % 11) as f32 - 5.0);
    let mut out = a.clone();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        gemm(out.view_mut(), Accum::Replace, a.view(), a.view());
        best = best.min(begun.elapsed().as_secs_f64());
    }
    2e-9 * (side as f64).powi(3) / best
}

/// Peak resident memory in MB, where the system tells.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}

fn read(path: &str) -> Result<Csr> {
    let bytes = std::fs::read(path)?;
    let number =
        |at: usize| u64::from_le_bytes(bytes[8 * at..8 * at + 8].try_into().unwrap_or_default()) as usize;
    let (n, m, count) = (number(0), number(1), number(2));
    let word = |at: usize| u32::from_le_bytes(bytes[24 + 4 * at..28 + 4 * at].try_into().unwrap_or_default());
    let value = |at: usize| {
        let from = 24 + 8 * count + 8 * at;
        f64::from_le_bytes(bytes[from..from + 8].try_into().unwrap_or_default())
    };
    Ok(Csr::from_triplets((n, m), (0..count).map(|e| (word(e), word(count + e), value(e))).collect()))
}

/// GFLOP of an epoch.
fn work(p: &Svcc, x: &Csr) -> f64 {
    let (n, m) = x.shape();
    let steps = n.div_ceil(p.batch).max(m.div_ceil(p.batch)).max(3);
    let [h1, h2] = p.hidden;
    let side = |lines: usize, width: usize| {
        // A line is visited four times at most.
        let batches = lines.div_ceil(p.batch).max((steps / 4).min(lines / 2));
        let visits = steps as f64 * lines as f64 / batches as f64;
        let share = x.nnz() as f64 / (n * m) as f64;
        let read = if share > 0.2 { width as f64 } else { share * width as f64 };
        // Two operations forward, two for the weights, two for the inputs where they are wanted.
        let deeper = (h1 * h2 + 2 * h2 * p.latent) as f64;
        let encoder = 4.0 * read * h1 as f64 + 6.0 * deeper;
        let decoder = 6.0 * (p.latent * h2 + h2 * h1 + h1 * width) as f64;
        let codes = 2.0 * (read * h1 as f64 + deeper);
        lines as f64 * codes + visits * (2.0 * encoder + p.samples as f64 * decoder)
    };
    1e-9 * (side(n, m) + side(m, n))
}

/// Seconds that processors have spent on this process, where the system tells.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    // Ticks of a hundredth of a second, in the fourteenth and the fifteenth field of all.
    after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The time at which each sweep ended and what processors had spent, and whether to tell as it goes.
struct Clock(Instant, Vec<[f64; 2]>, bool);

impl Observer for Clock {
    fn step(&mut self, at: Step, _: usize, _: usize) -> Flow {
        if let Step::Sweep(_) = at {
            self.1.push([self.0.elapsed().as_secs_f64(), processor()]);
            if self.2 {
                eprintln!(
                    "sweep {}: {:.1} s, processors {:.1} s",
                    self.1.len(),
                    self.0.elapsed().as_secs_f64(),
                    processor()
                );
            }
        }
        Flow::Continue
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().skip(1).take(4).filter_map(|w| w.parse().ok()).collect();
    let (Some(path), &[rows, cols, threads, epochs]) = (words.first(), &numbers[..]) else {
        let rule = "as the example's head says";
        return Err(Error::Param { name: "arguments", found: format!("{words:?}"), rule });
    };
    let pretrain = words.iter().find_map(|w| w.strip_prefix("pretrain=")?.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(std::io::Error::other)?;
    pool.install(|| {
        let x = read(path)?;
        let params =
            Svcc { rows, cols, pretrain, epochs, restarts: 1, joint: 1.0, polish: false, ..Svcc::default() };
        let (gflop, gemm) = (work(&params, &x), gemm_rate(2048));
        let matrix = Matrix::Sparse(x);
        let input = Observed { values: Values { what: "X", matrix: &matrix }, missing: Missing::Error };
        let mut clock = Clock(Instant::now(), Vec::new(), words.iter().any(|w| w == "progress"));
        let begun = Instant::now();
        params.fit(input, &mut Ctx::new(Seed(0), &mut clock))?;
        let seconds = begun.elapsed().as_secs_f64();
        let ends = &clock.1;
        let mut each: Vec<f64> = ends.windows(2).skip(pretrain).map(|w| w[1][0] - w[0][0]).collect();
        each.sort_by(f64::total_cmp);
        let epoch = each.get(each.len() / 2).copied().unwrap_or(f64::NAN);
        let (begin, end) = (ends.get(pretrain.wrapping_sub(1)).copied().unwrap_or_default(), ends.last().copied().unwrap_or_default());
        let [joint, spent] = [0, 1].map(|at| end[at] - begin[at]);
        println!(
            "{}",
            serde_json::json!({
                "epoch": epoch, "epochs": each, "joint": joint, "processors": spent, "seconds": seconds, "gflop": gflop, "gemm": gemm, "peak_mb": peak()
            })
        );
        Ok(())
    })
}
