//! The fused decoder against the plain one: values and every gradient, on random patterns of zeros.

use rand::RngExt;

use super::*;
use crate::fit::{Draw, Seed};
use crate::methods::multistudy::likelihood::Law;
use crate::methods::multistudy::network::SkipKind;
use crate::methods::multistudy::plain::Plain;
use crate::nn::check::normal;

/// A decoder whose rows have 0, 1, 2, 3, … and all columns active, and samples of two studies.
fn problem(law: Law, skip: SkipKind, hidden: [usize; 2], seed: u64) -> (Decoder<f64>, Vec<Tile<f64>>) {
    let (features, columns) = (40, 7);
    let mut decoder = Decoder::<f64>::new(law, features, columns, hidden, skip, Seed(seed));
    let mut rng = Seed(seed).stream(Draw::Simulate, 1);
    decoder.b2.value = normal(1, hidden[1], seed + 1) * 0.3;
    decoder.noise.value = normal(1, features, seed + 2) * 0.3;
    for (j, mut row) in decoder.w.value.rows_mut().into_iter().enumerate() {
        row.iter_mut().for_each(|w| *w = 2.0 * rng.random::<f64>() - 1.0);
        // Rows by turns: full, and with the first 0, 1, 2, 3 of a random order.
        let keep = if j % 5 == 4 { columns } else { j % 5 };
        let mut order: Vec<usize> = (0..columns).collect();
        rand::seq::SliceRandom::shuffle(&mut order[..], &mut rng);
        order[keep..].iter().for_each(|&k| row[k] = 0.0);
    }
    let tile = |columns: Vec<usize>, n: usize, seed: u64| {
        let x = normal(features, n, seed);
        let x = if law == Law::Gaussian { x } else { x.mapv(|v| (4.0 * v.exp()).floor()) };
        let size = if law == Law::Gaussian {
            vec![]
        } else {
            normal(1, n, seed + 1).iter().map(|v| 1.0 + 0.2 * v).collect()
        };
        let mut z = normal(columns.len(), n, seed + 2);
        // A sample whose latents are 0: every rectifier of the first layer at its corner.
        z.column_mut(3).fill(0.0);
        Tile { z, columns, x, size }
    };
    // More samples than fit one block, where it costs little.
    let many = if hidden[0] == 50 { 205 } else { 37 };
    (decoder, vec![tile(vec![0, 1, 2, 3, 4], many, seed + 3), tile(vec![0, 1, 2, 5, 6], 8, seed + 8)])
}

fn narrow(p: &Param<f64>) -> Param<f32> {
    Param::new(p.value.mapv(|v| v as f32))
}

fn narrow_all(d: &Decoder<f64>, tiles: &[Tile<f64>]) -> (Decoder<f32>, Vec<Tile<f32>>) {
    let skip = match &d.skip {
        Skip::Projected(p) => Skip::Projected(narrow(p)),
        Skip::Direct(u) => Skip::Direct(narrow(u)),
        Skip::None => Skip::None,
    };
    let [v1, v2, b2, v3, b3, w, noise] = [&d.v1, &d.v2, &d.b2, &d.v3, &d.b3, &d.w, &d.noise].map(narrow);
    let tiles = tiles.iter().map(|t| Tile {
        columns: t.columns.clone(),
        z: t.z.mapv(|v| v as f32),
        x: t.x.mapv(|v| v as f32),
        size: t.size.iter().map(|v| *v as f32).collect(),
    });
    (Decoder { law: d.law, v1, v2, b2, v3, b3, skip, w, noise }, tiles.collect())
}

/// Every result of a pass by name; the gradients of weights that are 0 only where they are asked for.
fn results<T: Real>(
    mut decoder: Decoder<T>,
    tiles: &[Tile<T>],
    full: bool,
    decode: &mut impl Decode<T>,
) -> Vec<(String, Array2<f64>)> {
    let pass = decode.pass(&mut decoder, tiles, 0.02);
    let mut found = vec![("log_lik".to_owned(), Array2::from_elem((1, 1), pass.log_lik))];
    for (at, dz) in pass.dz.iter().enumerate() {
        found.push((format!("dz {at}"), dz.mapv(|v| v.wide())));
    }
    for (at, dsize) in pass.dsize.into_iter().enumerate().filter(|(_, d)| !d.is_empty()) {
        found.push((format!("dsize {at}"), Array2::from_shape_vec((1, dsize.len()), dsize).unwrap()));
    }
    decoder.visit(&mut |name, p| {
        let mut grad = p.grad.mapv(|v| v.wide());
        if name == "W" && !full {
            grad.zip_mut_with(&p.value, |g, w| *g = if *w == T::ZERO { 0.0 } else { *g });
        }
        found.push((name.to_owned(), grad));
    });
    found
}

fn agree(what: &str, found: &[(String, Array2<f64>)], plain: &[(String, Array2<f64>)], tol: f64) {
    assert_eq!(found.len(), plain.len());
    for ((name, a), (_, b)) in found.iter().zip(plain) {
        let size = b.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let gap = a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        assert!(a.iter().all(|v| v.is_finite()), "{what} {name}");
        assert!(size > 0.0, "{what} {name}: nothing to compare");
        assert!(gap <= tol * size, "{what} {name}: {gap:e} of {size:e}");
    }
}

#[test]
fn the_fused_decoder_is_the_plain_one() {
    for (seed, hidden) in [(1, [6, 5]), (20, [50, 50]), (40, [24, 13])] {
        for law in [Law::Gaussian, Law::NegBinomial] {
            for skip in [SkipKind::Projected, SkipKind::Direct, SkipKind::None] {
                let (decoder, tiles) = problem(law, skip, hidden, seed);
                for full in [true, false] {
                    let plain = results(decoder.clone(), &tiles, full, &mut Plain);
                    let mut fused = Fused::new(full);
                    // Twice, because a pass leaves its memory to the next.
                    for _ in 0..2 {
                        let found = results(decoder.clone(), &tiles, full, &mut fused);
                        agree(&format!("{law} {skip} {hidden:?} {full}"), &found, &plain, 1e-12);
                    }
                    let (decoder, tiles) = narrow_all(&decoder, &tiles);
                    let found = results(decoder.clone(), &tiles, full, &mut Fused::new(full));
                    agree(&format!("f32 {law} {skip} {hidden:?} {full}"), &found, &plain, 1e-5);
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (decoder, tiles) = problem(Law::NegBinomial, SkipKind::Projected, [50, 50], 3);
    let (decoder, tiles) = narrow_all(&decoder, &tiles);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| results(decoder.clone(), &tiles, false, &mut Fused::new(false)))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(8));
}
