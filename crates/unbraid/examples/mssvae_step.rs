//! Times the decoder of MSSVAE, forward and backward, on inputs from a file, or the steps of a whole fit; one line of JSON.
//!
//! ```text
//! cargo run --release -p unbraid --example mssvae_step -- decoder FILE LAW G K_S K_M H1 H2 THREADS REPEATS n n …
//! cargo run --release -p unbraid --example mssvae_step -- fit gaussian|rna EPOCHS THREADS [W]
//! ```
//!
//! FILE holds floats, one array after another: V₁, V₂, b₂, v (G × H₂), b₃, P, W (G × K), log noise, and for each study of n
//! samples z (K_c × n), x (G × n), log sizes (n). `gemm` is the rate of one product of large matrices by the same library on
//! the same threads. `full` forms the gradients of weights that are 0 too. A fit writes W (G × K) to a file if one is named.
//! `benchmarks/mssvae/step.py` calls this.

use std::time::{Duration, Instant};

use ndarray::Array2;
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Flow, Method, Observer, Seed, Step};
use unbraid::linalg::{Accum, gemm};
use unbraid::methods::multistudy::fused::Fused;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::mssvae::Mssvae;
use unbraid::methods::multistudy::network::{Decode, Decoder, Skip, SkipKind, Tile};
use unbraid::methods::multistudy::studies::Studies;
use unbraid::nn::Param;
use unbraid::simulate::multistudy::gaussian::MultistudyDesign;
use unbraid::simulate::multistudy::rna::MultistudyRnaDesign;
use unbraid::{Error, Result};

fn bad<T>(found: &[String]) -> Result<T> {
    let rule = "as the example's head says";
    Err(Error::Param { name: "arguments", found: format!("{found:?}"), rule })
}

/// Seconds of some calls.
fn times(repeats: usize, mut call: impl FnMut()) -> Vec<f64> {
    let one = |_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    };
    (0..repeats).map(one).collect()
}

/// GFLOP/s of a product of two square matrices, the best of three.
fn gemm_rate(side: usize) -> f64 {
    let a = Array2::from_shape_fn((side, side), |(i, j)| ((i * 7 + j * 3) % 11) as f32 - 5.0);
    let mut out = a.clone();
    let seconds = times(4, || gemm(out.view_mut(), Accum::Replace, a.view(), a.view()));
    2e-9 * (side as f64).powi(3) / seconds.into_iter().fold(f64::INFINITY, f64::min)
}

/// Peak resident memory in MB, where the system tells.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}

fn decoder(words: &[String]) -> Result<()> {
    let numbers: Vec<usize> = words.iter().skip(2).filter_map(|word| word.parse().ok()).collect();
    let (Some(file), Some(law), &[g, ks, km, h1, h2, _, repeats, ref sizes @ ..]) =
        (words.first(), words.get(1), &numbers[..])
    else {
        return bad(words);
    };
    let law = if law == "nb" { Law::NegBinomial } else { Law::Gaussian };
    let bytes = std::fs::read(file)?;
    let mut values = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
    let mut take =
        |rows, columns| Array2::from_shape_simple_fn((rows, columns), || values.next().unwrap_or(f32::NAN));
    let k = ks + km * sizes.len();
    let mut net = Decoder::<f32>::new(law, g, k, [h1, h2], SkipKind::Projected, Seed(0));
    net.v1 = Param::new(take(h1, k));
    net.v2 = Param::new(take(h2, h1));
    net.b2 = Param::new(take(1, h2));
    net.v3 = Param::new(take(g, h2));
    net.b3 = Param::new(take(1, g));
    net.skip = Skip::Projected(Param::new(take(h2, k)));
    net.w = Param::new(take(g, k));
    net.noise = Param::new(take(1, g));
    let mut tiles = Vec::new();
    for (m, &n) in sizes.iter().enumerate() {
        let columns = (0..ks).chain(ks + m * km..ks + (m + 1) * km).collect();
        let (z, x, size) = (take(ks + km, n), take(g, n), take(1, n));
        let size = if law == Law::NegBinomial { size.into_iter().collect() } else { Vec::new() };
        tiles.push(Tile { columns, z, x, size });
    }
    let scale = 1.0 / sizes.iter().sum::<usize>() as f64;
    let mut report = serde_json::Map::new();
    report.insert("gemm".into(), gemm_rate(2048).into());
    let before = peak();
    for full in [false, true] {
        let mut fused = Fused::new(full);
        let (mut loss, mut norms) = (0.0, serde_json::Map::new());
        let seconds = times(repeats + 1, || {
            net.visit(&mut |_, p| p.clear());
            let pass = fused.pass(&mut net, &tiles, scale);
            loss = -pass.log_lik * scale;
            let square = |a: &Array2<f32>| a.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            norms.insert("z".into(), pass.dz.iter().map(square).sum::<f64>().sqrt().into());
            net.visit(&mut |name, p| {
                norms.insert(name.into(), square(&p.grad).sqrt().into());
            });
        });
        let name = if full { "full" } else { "active" };
        // The first call also makes the memory.
        report
            .insert(name.into(), serde_json::json!({"seconds": seconds[1..], "loss": loss, "norms": norms}));
    }
    report.insert("peak_mb".into(), peak().into());
    report.insert("inputs_mb".into(), before.into());
    println!("{}", serde_json::Value::Object(report));
    Ok(())
}

/// The time of each step.
struct Clock {
    last: Instant,
    steps: Vec<Duration>,
}

impl Observer for Clock {
    fn step(&mut self, _: Step, _: usize, _: usize) -> Flow {
        self.steps.push(self.last.elapsed());
        self.last = Instant::now();
        Flow::Continue
    }
}

fn fit(words: &[String]) -> Result<()> {
    let (Some(design), Some(epochs)) = (words.first(), words.get(1).and_then(|w| w.parse().ok())) else {
        return bad(words);
    };
    let (sample, params) = match design.as_str() {
        "gaussian" => {
            (MultistudyDesign::default().sample(Seed(1000))?, Mssvae { epochs, ..Mssvae::default() })
        }
        "rna" => {
            let params = Mssvae {
                likelihood: Law::NegBinomial,
                shared: 50,
                specific: 10,
                hidden: [256, 128],
                learning_rate: 0.001,
                epochs,
                ..Mssvae::default()
            };
            (MultistudyRnaDesign::default().sample(Seed(1000))?, params)
        }
        _ => return bad(words),
    };
    let study: Vec<u32> = sample.study.iter().map(|&m| m as u32).collect();
    let names: Vec<String> = (0..3).map(|m| format!("study{m}")).collect();
    let matrix = Matrix::Dense(sample.x);
    let values = Values { matrix: &matrix, what: "X" };
    let mut clock = Clock { last: Instant::now(), steps: Vec::new() };
    let start = Instant::now();
    let found =
        params.fit(Studies { values, study: &study, names: &names }, &mut Ctx::new(Seed(1), &mut clock))?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(path) = words.get(3) {
        let bytes: Vec<u8> = found.network.decoder.w.value.iter().flat_map(|w| w.to_le_bytes()).collect();
        std::fs::write(path, bytes)?;
    }
    let steps: Vec<f64> = clock.steps.iter().map(Duration::as_secs_f64).collect();
    let loss = found.objective.last();
    println!("{}", serde_json::json!({"seconds": seconds, "loss": loss, "peak_mb": peak(), "steps": steps}));
    Ok(())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (mode, rest) = words.split_first().map_or(("", &[][..]), |(mode, rest)| (mode.as_str(), rest));
    let threads = match mode {
        "decoder" => rest.get(7),
        _ => rest.get(2),
    };
    let threads = threads.and_then(|t| t.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(std::io::Error::other)?;
    pool.install(|| match mode {
        "decoder" => decoder(rest),
        "fit" => fit(rest),
        _ => bad(&words),
    })
}
