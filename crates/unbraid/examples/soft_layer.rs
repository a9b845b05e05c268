//! Times the soft layer, forward and backward, on inputs from a file; one line of JSON.
//!
//! ```text
//! cargo run --release -p unbraid --example soft_layer -- FILE d n m THREADS REPEATS
//! ```
//!
//! FILE holds doubles, one array after another: w (d × n), the same moved a little (d × n), weights of the
//! targets (d × m), quantile values (d × m), cotangents (d × n). `cold` starts every row afresh, `warm` from the
//! potentials of the unmoved row. Times are those of one thread, then those of THREADS; `control` is
//! arithmetic in registers in as many blocks of about the same length. `benchmarks/soft/layer.py` writes the file and calls this.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;
use unbraid::soft::{Layer, Squash, Work};
use unbraid::{Error, Result};

/// What the layer gives for all rows.
struct Outputs {
    t: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
    dq: Vec<f64>,
}

/// Arithmetic in registers alone, cut into `blocks` that threads take like blocks of rows: what two threads can gain on
/// this machine at this moment. Milliseconds.
fn control(pool: &ThreadPool, blocks: usize, rounds: usize) -> f64 {
    let start = Instant::now();
    pool.install(|| {
        (0..blocks).into_par_iter().for_each(|_| {
            let mut x = [0.5f64; 32];
            for _ in 0..rounds / blocks {
                x.iter_mut().for_each(|x| *x = 0.999 * *x + 1e-7);
            }
            std::hint::black_box(x);
        });
    });
    start.elapsed().as_secs_f64() * 1e3
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (Some(file), &[d, n, m, threads, repeats]) = (words.first(), &numbers[..]) else {
        let found = format!("{words:?}");
        return Err(Error::Param { name: "arguments", found, rule: "FILE d n m THREADS REPEATS" });
    };
    let bytes = std::fs::read(file)?;
    let values: Vec<f64> = bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
    if values.len() != d * (3 * n + 2 * m) || d * n * m * threads * repeats == 0 {
        let found = format!("{} doubles", values.len());
        return Err(Error::Param { name: "FILE", found, rule: "d (3 n + 2 m) doubles, and no size 0" });
    }
    let (w, rest) = values.split_at(d * n);
    let (moved, rest) = rest.split_at(d * n);
    let (b, rest) = rest.split_at(d * m);
    let (q, cot) = rest.split_at(d * m);
    let layer = Layer::new(m, 0.01, Squash::Logistic)?;
    // Threads take blocks of rows as they come free.
    let block = d.div_ceil(8 * threads);
    let pools = [1, threads].map(|count| {
        rayon::ThreadPoolBuilder::new().num_threads(count).build().map_err(std::io::Error::other)
    });
    let works: Vec<Mutex<Work>> = (0..threads).map(|_| Mutex::default()).collect();
    let mut out =
        Outputs { t: vec![0.0; d * n], dw: vec![0.0; d * n], db: vec![0.0; d * m], dq: vec![0.0; d * m] };
    // Milliseconds and mean number of steps.
    let mut pass = |pool: &ThreadPool, w: &[f64], g: &mut [f64]| {
        let start = Instant::now();
        let steps: usize = pool.install(|| {
            (g.par_chunks_mut(block * m), out.t.par_chunks_mut(block * n), out.dw.par_chunks_mut(block * n))
                .into_par_iter()
                .zip((out.db.par_chunks_mut(block * m), out.dq.par_chunks_mut(block * m)))
                .enumerate()
                .map(|(at, ((g, t, dw), (db, dq)))| {
                    let thread = rayon::current_thread_index().unwrap_or(0);
                    let work = &mut *works[thread].lock().unwrap_or_else(PoisonError::into_inner);
                    let mut steps = 0;
                    for (k, g) in g.chunks_mut(m).enumerate() {
                        let (i, row, levels) = (at * block + k, k * n..(k + 1) * n, k * m..(k + 1) * m);
                        let (w, cot) = (&w[i * n..][..n], &cot[i * n..][..n]);
                        let (b, q) = (&b[i * m..][..m], &q[i * m..][..m]);
                        steps += layer.forward(w, None, b, q, g, work, &mut t[row.clone()]).iterations;
                        let (db, dq) = (&mut db[levels.clone()], &mut dq[levels]);
                        layer.backward(w, None, q, cot, work, Some(&mut dw[row]), db, dq);
                    }
                    steps
                })
                .sum()
        });
        (start.elapsed().as_secs_f64() * 1e3, steps as f64 / d as f64)
    };
    let [one, many] = pools;
    let pools = [one?, many?];
    let mut stored = vec![f64::NAN; d * m];
    pass(&pools[0], w, &mut stored);
    // Rounds of the control that take about as long as the layer.
    let (ms, _) = pass(&pools[0], w, &mut vec![f64::NAN; d * m]);
    let rounds = (1e6 * ms / control(&pools[0], 8 * threads, 1_000_000)) as usize;
    let mut bare = [vec![], vec![]];
    // One thread and many take turns, so that both see the same machine.
    let (mut cold, mut warm, mut steps) = ([vec![], vec![]], [vec![], vec![]], [0.0; 2]);
    for _ in 0..repeats {
        let lists = cold.iter_mut().zip(&mut warm).zip(&mut bare);
        for (pool, ((cold, warm), bare)) in pools.iter().zip(lists) {
            bare.push(control(pool, 8 * threads, rounds));
            let (ms, count) = pass(pool, w, &mut vec![f64::NAN; d * m]);
            (steps[0], _) = (count, cold.push(ms));
            let (ms, count) = pass(pool, moved, &mut stored.clone());
            (steps[1], _) = (count, warm.push(ms));
        }
    }
    println!(
        "{{\"cold_ms\": {cold:?}, \"warm_ms\": {warm:?}, \"control_ms\": {bare:?}, \"cold_steps\": {}, \"warm_steps\": {}}}",
        steps[0], steps[1]
    );
    Ok(())
}
