//! Stability selection against a slow twin, on data with known truth, and its bounds.

use std::collections::BTreeMap;

use ndarray::Array2;
use rand::seq::SliceRandom;
use unbraid::Error;
use unbraid::data::{Csr, Matrix, Values};
use unbraid::fit::{Ctx, Draw, Method, Seed, Stop};
use unbraid::methods::kronecker::gmgm::{Gmgm, Iid};
use unbraid::methods::kronecker::med_magma::MedMagma;
use unbraid::methods::kronecker::single_axis::SingleAxis;
use unbraid::methods::kronecker::stability::{Refit, Refits, Stability, StabilityFit};
use unbraid::methods::kronecker::tyler::{Side, Tyler};
use unbraid::simulate::kronecker::KroneckerDesign;

use crate::contract::random;

fn judge<M: Refit>(stability: &Stability<M>, matrix: &Matrix) -> StabilityFit {
    stability.fit(Values { what: "X", matrix }, &mut Ctx::new(Seed(3), &mut ())).unwrap()
}

/// Dense, one refit after the other, edges by sorting: pairs and how often they were selected.
fn slowly<M: Refit>(
    method: &M,
    x: &Array2<f64>,
    side: Side,
    refits: usize,
    q: usize,
) -> BTreeMap<(u32, u32), u32> {
    let x = if side == Side::Obs { x.t() } else { x.view() };
    let sides = method.sides();
    let mut counts = BTreeMap::new();
    for refit in 0..refits {
        let mut order: Vec<usize> = (0..x.nrows()).collect();
        order.shuffle(&mut Seed(3).stream(Draw::Shuffle, (refit as u64 / 2) * 2 + side as u64));
        let size = x.nrows() / 2;
        let mut half = order[if refit % 2 == 0 { 0..size } else { size..2 * size }].to_vec();
        half.sort_unstable();
        let half = x.select(ndarray::Axis(0), &half);
        let half =
            Matrix::Dense(if side == Side::Obs { half.t().as_standard_layout().into_owned() } else { half });
        let task = refit * sides.len() + sides.iter().position(|s| *s == side).unwrap();
        let seed = Seed(3).child(Draw::Restart, task as u64);
        let mut no = ();
        let input = Values { what: "X", matrix: &half };
        let fit = method.refit(true).fit(M::view(input), &mut Ctx::new(seed, &mut no)).unwrap();
        let psi = M::network(&fit, side).unwrap().precision.to_dense();
        let d = psi.nrows();
        let mut pairs: Vec<(u32, u32)> =
            (0..d as u32).flat_map(|i| (i + 1..d as u32).map(move |j| (i, j))).collect();
        let size = |&(i, j): &(u32, u32)| psi[[i as usize, j as usize]].abs();
        pairs.sort_by(|a, b| size(b).total_cmp(&size(a)));
        pairs[..q].iter().for_each(|&pair| *counts.entry(pair).or_default() += 1);
    }
    counts
}

fn agrees<M: Refit>(method: M) {
    let x = random(26, 21, 5);
    let refits =
        Refits { refits: 12, exact: true, edges: "per-vertex:0.7".parse().unwrap(), ..Refits::default() };
    let sides = method.sides();
    let stability = Stability { refits, method };
    let fit = judge(&stability, &Matrix::Dense(x.clone()));
    assert_eq!(fit.networks.iter().map(|n| n.side).collect::<Vec<_>>(), sides);
    for network in &fit.networks {
        let q = (0.7 * network.nodes as f64).round() as usize;
        let slow = slowly(&stability.method, &x, network.side, 12, q);
        let found: BTreeMap<(u32, u32), u32> = network.counts.iter().map(|&(i, j, c)| ((i, j), c)).collect();
        assert_eq!(found, slow, "{} {}", M::STABILITY, network.side);
        assert_eq!(network.selected(), q as f64);
        let shares = network.frequencies().to_dense();
        assert_eq!(shares, shares.t());
        slow.iter()
            .for_each(|(&(i, j), &c)| assert_eq!(shares[[i as usize, j as usize]], f64::from(c) / 12.0));
        assert!((shares.sum() - 2.0 * q as f64).abs() < 1e-9, "nothing else is stored");
        assert_eq!(network.stable().nnz(), 2 * slow.values().filter(|c| **c >= 11).count());
    }
}

#[test]
fn frequencies_equal_the_slow_twin() {
    agrees(MedMagma { max_steps: 6, ..MedMagma::default() });
    agrees(Gmgm::default());
    agrees(Gmgm { n_comps: 5, ..Gmgm::default() });
    agrees(Gmgm { iid: Iid::Obs, ..Gmgm::default() });
    agrees(SingleAxis::default());
    agrees(Tyler::default());
    agrees(Tyler { axis: Side::Obs, ..Tyler::default() });
}

#[test]
fn sparse_and_dense_tables_have_the_same_frequencies_and_lonely_vertices_no_edge() {
    let mut x = random(24, 20, 8).mapv(|v| (4.0 * v).round());
    // One observation with a single value: half of the halves hold nothing of it.
    x.row_mut(4).fill(0.0);
    x[[4, 7]] = 2.0;
    let stability =
        Stability { refits: Refits { refits: 10, ..Refits::default() }, method: MedMagma::default() };
    let dense = judge(&stability, &Matrix::Dense(x.clone()));
    let sparse = judge(&stability, &Matrix::Sparse(Csr::from_dense(x.view())));
    assert_eq!(dense.networks, sparse.networks);
    let obs = &dense.networks[0];
    assert!(obs.absent >= 5, "the one gene is in one half of each pair at most");
    assert!(obs.counts.iter().filter(|c| c.0 == 4 || c.1 == 4).all(|c| c.2 <= 5));
    assert!(
        dense.warnings.iter().any(|w| w.contains("of 24 vertices of the obs network cannot be fitted")),
        "{:?}",
        dense.warnings
    );
    assert_eq!(dense.stop, Stop::Converged);
}

#[test]
fn loose_refits_move_frequencies_less_than_another_seed() {
    let sample =
        KroneckerDesign { observations: 120, features: 110, ..Default::default() }.sample(Seed(1)).unwrap();
    let matrix = Matrix::Dense(sample.x);
    for preset in ["default", "paper"] {
        let method = <MedMagma as unbraid::params::Params>::preset(preset).unwrap_or_default();
        let run = |exact, seed| {
            let stability = Stability {
                refits: Refits { refits: 20, exact, ..Refits::default() },
                method: method.clone(),
            };
            stability.fit(Values { what: "X", matrix: &matrix }, &mut Ctx::new(Seed(seed), &mut ())).unwrap()
        };
        let (exact, loose, other) = (run(true, 1), run(false, 1), run(true, 2));
        for k in 0..2 {
            let gap = |a: &StabilityFit, b: &StabilityFit| {
                let (a, b) = (a.networks[k].frequencies().to_dense(), b.networks[k].frequencies().to_dense());
                (a - b).iter().map(|v| v * v).sum::<f64>().sqrt()
            };
            let (ours, seeds) = (gap(&exact, &loose), gap(&exact, &other));
            assert!(ours < 0.5 * seeds, "{preset}, network {k}: {ours} against {seeds}");
        }
    }
}

#[test]
fn stable_edges_are_true_and_the_general_bound_holds() {
    let (mut found, mut wrong, mut bound) = (0.0, 0.0, 0.0);
    for seed in 0..4 {
        let sample = KroneckerDesign::default().sample(Seed(seed)).unwrap();
        let stability = Stability { refits: Refits::default(), method: MedMagma::default() };
        let fit = judge(&stability, &Matrix::Dense(sample.x));
        for (network, truth) in fit.networks.iter().zip([&sample.precision_obs, &sample.precision_var]) {
            let truth = truth.to_dense();
            let edges: Vec<_> =
                network.stable().entries().filter(|e| e.0 < e.1).map(|e| (e.0, e.1)).collect();
            found += edges.len() as f64;
            wrong += edges.iter().filter(|&&(i, j)| truth[[i, j]] == 0.0).count() as f64;
            bound += network.bounds().general;
        }
    }
    assert!(found > 60.0, "{found} stable edges");
    assert!(wrong <= bound && wrong < 0.1 * found, "{wrong} of {found} are false, the bound is {bound}");
}

#[test]
fn small_tables_and_little_memory_are_refused() {
    let stability: Stability<SingleAxis> = Stability::default();
    let matrix = Matrix::Dense(random(3, 9, 1));
    let input = Values { what: "X", matrix: &matrix };
    let why = stability.fit(input, &mut Ctx::new(Seed(0), &mut ())).unwrap_err().to_string();
    assert!(why.contains("[3, 9]") && why.contains("at least 4 × 4"), "{why}");
    let matrix = Matrix::Dense(random(60, 50, 1));
    let mut no = ();
    for (cap, enough) in [(10_000, false), (180_000, false), (50_000_000, true)] {
        let mut ctx = Ctx::new(Seed(0), &mut no);
        ctx.max_memory = Some(cap);
        let fit = stability.fit(Values { what: "X", matrix: &matrix }, &mut ctx);
        assert_eq!(fit.is_ok(), enough, "{cap}");
        assert!(fit.is_ok() || matches!(fit, Err(Error::Memory { .. })));
    }
}
