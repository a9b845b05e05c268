//! Whole fits on planted blocks.

use ndarray::{Array2, Axis};

use super::input::Observed;
use super::likelihood::Law;
use super::{Start, Svcc};
use crate::data::{Csr, Matrix, Missing, Values};
use crate::fit::{Ctx, Method, Seed};
use crate::methods::cocluster::svcc::model::SvccFit;
use crate::metrics::coclusters::agreement;
use crate::simulate::blocks::{BlocksDesign, BlocksSample};

fn planted() -> BlocksSample {
    let design = BlocksDesign {
        observations: 150,
        features: 100,
        rows: 3,
        cols: 3,
        mean: 4.0,
        contrast: 0.9,
        ..BlocksDesign::default()
    };
    design.sample(Seed(4)).unwrap()
}

fn small() -> Svcc {
    Svcc {
        rows: 3,
        cols: 3,
        hidden: [64, 32],
        latent: 5,
        batch: 50,
        pretrain: 25,
        epochs: 30,
        learning_rate: 2e-3,
        restarts: 1,
        ..Svcc::default()
    }
}

fn fit(params: &Svcc, matrix: &Matrix) -> SvccFit {
    let input = Observed { values: Values { what: "X", matrix }, missing: params.missing };
    params.fit(input, &mut Ctx::new(Seed(1), &mut ())).unwrap()
}

#[test]
fn planted_blocks_are_found_before_any_polish_and_new_rows_assigned() {
    let s = planted();
    let matrix = Matrix::Sparse(s.x.clone());
    let found = fit(&small(), &matrix);
    let own = agreement(&s.rows, &found.labels[1].0).unwrap();
    assert!(own.nmi > 0.8, "{own:?}");
    assert!(agreement(&s.cols, &found.labels[1].1).unwrap().nmi > 0.85);
    assert!(agreement(&s.rows, &found.clusters.rows.labels).unwrap().nmi > 0.9);
    // The rows of the fit, as new ones, have the clusters they had before the polish.
    let again = found.coder.assign(Values { what: "X", matrix: &matrix }).unwrap();
    assert_eq!(agreement(&found.labels[1].0, &again.labels).unwrap().ari, 1.0);
    let some = matrix.rows(&[3, 70, 5]);
    let three = found.coder.assign(Values { what: "X", matrix: &some }).unwrap();
    assert_eq!(three.labels, [again.labels[3], again.labels[70], again.labels[5]]);
    let narrow = matrix.columns(&[0, 1]);
    assert!(found.coder.assign(Values { what: "X", matrix: &narrow }).is_err());
}

/// Reads whose variance grows with the square of the mean are bent, and the networks have the last word on them.
#[test]
fn reads_are_bent_and_their_labels_are_those_of_the_networks() {
    let design = BlocksDesign {
        observations: 150,
        features: 100,
        rows: 3,
        cols: 3,
        mean: 20.0,
        contrast: 0.9,
        dispersion: 1.0,
        ..BlocksDesign::default()
    };
    let s = design.sample(Seed(4)).unwrap();
    let number = |found: &SvccFit, name: &str| {
        found.clusters.numbers.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    };
    let found = fit(&small(), &Matrix::Sparse(s.x.map(|v| 10.0 * v)));
    let (share, bend) = (number(&found, "noise_share").unwrap(), number(&found, "bend").unwrap());
    assert!(share > 0.5 && bend > 0.0, "{share} {bend}");
    assert_eq!((number(&found, "block_bound"), &found.labels[1]), (None, &found.labels[2]));
    let nmi = agreement(&s.rows, &found.labels[2].0).unwrap().nmi;
    assert!(nmi > 0.7, "{nmi}");
    let counts = fit(&small(), &Matrix::Sparse(planted().x));
    assert_eq!(number(&counts, "bend"), Some(0.0));
    assert!(number(&counts, "block_bound").is_some());
}

#[test]
fn every_law_and_start_finds_them_too() {
    let s = planted();
    let matrix = Matrix::Dense(s.x.to_dense());
    for (likelihood, init) in
        [(Law::Poisson, Start::Itcc), (Law::Nb, Start::Spectral), (Law::Multinomial, Start::Kmeans)]
    {
        let params = Svcc { likelihood, init, joint: 0.5, ..small() };
        let found = fit(&params, &matrix);
        let nmi = agreement(&s.rows, &found.labels[1].0).unwrap().nmi;
        assert!(nmi > 0.7, "{likelihood} from {init}: {nmi}");
        let traces = &found.clusters.traces;
        let blocks = found.cells.as_ref().expect("there is a joint space");
        assert!(blocks.shape() == (150, 100) && blocks.values().iter().all(|b| (1.0..=5.0).contains(b)));
        assert!(traces.iter().all(|t| t.1.len() == 55 && t.1.iter().all(|v| v.is_finite())));
    }
    // Logarithms less their mean are signed: Gaussian and squares.
    let mut y = s.x.to_dense().mapv(f64::ln_1p);
    let mean = y.mean_axis(Axis(1)).unwrap().insert_axis(Axis(1));
    y -= &mean;
    let found = fit(&small(), &Matrix::Dense(y));
    assert!(found.clusters.blocks.information.is_none());
    let nmi = agreement(&s.rows, &found.labels[1].0).unwrap().nmi;
    assert!(nmi > 0.3, "signed: {nmi}");
}

/// Which thread takes a task of a step, and when, changes nothing.
#[test]
fn all_terms_give_the_same_bits_on_any_number_of_threads() {
    let s = planted();
    let mut thin = s.x.to_dense();
    thin.indexed_iter_mut().for_each(|((i, j), v)| *v = if (i + j) % 9 == 0 { *v + 1.0 } else { 0.0 });
    let thin = Matrix::Sparse(Csr::from_dense(thin.view()));
    for matrix in [Matrix::Sparse(s.x), thin] {
        let params = Svcc { joint: 1.0, pretrain: 2, epochs: 4, polish: false, stabilise: false, ..small() };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| fit(&params, &matrix));
            let means = found.sides.map(|side| side.mixture.mean.value);
            (found.clusters.traces, found.labels, means)
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(one == run(threads), "{threads} threads");
        }
    }
}

#[test]
fn a_tenth_of_the_entries_may_be_missing() {
    let s = planted();
    let mut x: Array2<f64> = s.x.to_dense();
    x.indexed_iter_mut().filter(|((i, j), _)| (i * 7 + j * 3) % 10 == 0).for_each(|(_, v)| *v = f64::NAN);
    let found = fit(&Svcc { missing: Missing::Nan, likelihood: Law::Poisson, ..small() }, &Matrix::Dense(x));
    let nmi = agreement(&s.rows, &found.labels[1].0).unwrap().nmi;
    assert!(nmi > 0.7, "{nmi}");
}

#[test]
fn too_many_clusters_become_fewer() {
    let s = planted();
    let params = Svcc { rows: 8, cols: 8, prune: true, dirichlet: 0.5, epochs: 30, warmup: 5, ..small() };
    let found = fit(&params, &Matrix::Sparse(s.x.clone()));
    let (rows, cols) = (found.clusters.rows.clusters, found.clusters.cols.clusters);
    assert!(rows <= 8 && cols <= 8 && found.clusters.rows.used() == rows, "{rows} × {cols}");
    assert!(agreement(&s.rows, &found.clusters.rows.labels).unwrap().purity > 0.85);
}
