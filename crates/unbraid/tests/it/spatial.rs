//! Slices of the simulation of the thesis: what BATCHBLEND makes of batches that add and of batches that scale.

use ndarray::Array2;
use unbraid::data::{Csr, Matrix, Values};
use unbraid::fit::{Ctx, Method, Seed};
use unbraid::graph::kmeans::kmeans;
use unbraid::methods::spatial::Amount;
use unbraid::methods::spatial::batchblend::{Batchblend, Form};
use unbraid::methods::spatial::fit::TissueFit;
use unbraid::methods::spatial::neighbours::Rule;
use unbraid::methods::spatial::popari::Popari;
use unbraid::methods::spatial::slices::Slices;
use unbraid::metrics::clustering::nmi;
use unbraid::simulate::msrt::{Effect, MsrtDesign, MsrtSample};

fn fit<M>(params: &M, s: &MsrtSample, matrix: &Matrix) -> TissueFit
where
    M: for<'a> Method<Input<'a> = Slices<'a>, Fitted = TissueFit>,
{
    let batch: Vec<u32> = s.batch.iter().map(|&t| t as u32).collect();
    let names = ["a", "b"].map(String::from);
    let values = Values { what: "X", matrix };
    let input = Slices { values, batch: &batch, names: &names, places: s.places.view(), edges: None };
    params.fit(input, &mut Ctx::new(Seed(1), &mut ())).unwrap()
}

/// NMI of clusters of Z with the cell types, and the silhouette of batches within types: mean over types of mean 1 − |s|.
fn scores(z: &Array2<f64>, s: &MsrtSample) -> (f64, f64) {
    let found = kmeans(z.view(), 9, 10, Seed(2)).labels;
    let distance = |i: usize, j: usize| (&z.row(i) - &z.row(j)).mapv(|d| d * d).sum().sqrt();
    let mut mixed = Vec::new();
    for kind in 0..9 {
        let at: Vec<usize> = (0..s.kind.len()).filter(|&i| s.kind[i] == kind).collect();
        let each = at.iter().map(|&i| {
            let mean = |batch: usize| {
                let of: Vec<usize> = at.iter().copied().filter(|&j| j != i && s.batch[j] == batch).collect();
                of.iter().map(|&j| distance(i, j)).sum::<f64>() / of.len() as f64
            };
            let (own, other) = (mean(s.batch[i]), mean(1 - s.batch[i]));
            1.0 - ((other - own) / own.max(other)).abs()
        });
        let each: Vec<f64> = each.filter(|v| v.is_finite()).collect();
        if !each.is_empty() {
            mixed.push(each.iter().sum::<f64>() / each.len() as f64);
        }
    }
    (nmi(&found, &s.kind).unwrap(), mixed.iter().sum::<f64>() / mixed.len() as f64)
}

fn ray() -> Batchblend {
    Batchblend { k: 11, graph: Rule::Grid, ..Batchblend::default() }
}

#[test]
fn batches_that_add_are_told_from_cells_and_do_not_swallow_them() {
    let s = MsrtDesign::default().sample(Seed(11)).unwrap();
    let matrix = Matrix::Dense(s.y.clone());
    let found = fit(&ray(), &s, &matrix);
    let (types, mixed) = scores(&found.mixtures(), &s);
    assert!(types >= 0.9 && mixed >= 0.9, "{types} {mixed}");
    assert!(found.scaled.len() == 8 && found.gene_scale.nrows() == 0);
    let drift = found.sizes.last().unwrap() / found.sizes[found.before - 1] - 1.0;
    assert!(drift.abs() < 0.01, "{drift}");
    // The batches add what they add, up to what all cells of both share.
    let truth = (&s.beta.row(0) - &s.beta.row(1)).dot(&s.metagenes.t());
    let ours = (&found.beta.row(0) - &found.beta.row(1)).dot(&found.metagenes.t());
    let off = (&truth - &ours).mapv(|v| v * v).sum().sqrt() / truth.mapv(|v| v * v).sum().sqrt();
    assert!(off < 0.2, "{off}");
    // Without a batch effect in the model, batches stay apart.
    let plain = fit(&Popari { k: 11, graph: Rule::Grid, max_steps: 5, ..Popari::default() }, &s, &matrix);
    assert!(scores(&plain.mixtures(), &s).1 < 0.8);
    // The thesis' prior: nothing is left in the cells.
    let thesis = Batchblend { form: Form::Thesis, nmf_steps: 50, hmrf: false, ..ray() };
    let fallen = fit(&thesis, &s, &matrix);
    assert!(fallen.sizes.last().unwrap() < &0.5, "{:?}", fallen.sizes.last());
    assert!(fallen.warnings.iter().any(|w| w.contains("nearly all expression")));
}

#[test]
fn batches_that_scale_genes_need_scales_of_genes() {
    let design = MsrtDesign { effect: Effect::Multiplicative, ..MsrtDesign::default() };
    let s = design.sample(Seed(12)).unwrap();
    let matrix = Matrix::Dense(s.y.clone());
    let plain = Batchblend { gene_scale: Amount::Of(0.0), ..ray() };
    let without = scores(&fit(&plain, &s, &matrix).mixtures(), &s);
    // Held-out genes ask for them here, and not where batches add.
    let scaled = fit(&ray(), &s, &matrix);
    assert_eq!((scaled.scaled.len(), scaled.gene_scale.dim()), (8, (2, 100)));
    let with = scores(&scaled.mixtures(), &s);
    assert!(with.0 >= 0.9 && with.1 >= 0.85, "{with:?}");
    assert!(without.0 < 0.9 && without.1 < 0.7, "{without:?}");
    let ratio = |d: &Array2<f64>| (&d.row(0).mapv(f64::ln) - &d.row(1).mapv(f64::ln)).to_vec();
    let (truth, ours) = (ratio(&s.scale), ratio(&scaled.gene_scale));
    let off = truth.iter().zip(&ours).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let size = truth.iter().map(|a| a * a).sum::<f64>();
    assert!(off < 0.05 * size, "{off} of {size}");
}

#[test]
fn sparse_slices_give_the_same_fit() {
    let s = MsrtDesign { side: 8, ..MsrtDesign::default() }.sample(Seed(13)).unwrap();
    let dense = s.y.mapv(|v| if v > 0.1 { v } else { 0.0 });
    let sparse = Matrix::Sparse(Csr::from_dense(dense.view()));
    for gene_scale in [0.0, 0.2] {
        let gene_scale = Amount::Of(gene_scale);
        let params = Batchblend { k: 6, gene_scale, max_steps: 3, nmf_steps: 30, ..ray() };
        let (a, b) = (fit(&params, &s, &Matrix::Dense(dense.clone())), fit(&params, &s, &sparse));
        let gap = (&a.mixtures() - &b.mixtures()).iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(gap < 1e-4, "{gene_scale}: {gap}");
    }
}

#[test]
fn neighbours_count_as_much_as_they_predict() {
    let s = MsrtDesign { side: 10, ..MsrtDesign::default() }.sample(Seed(14)).unwrap();
    let matrix = Matrix::Dense(s.y.clone());
    let asked =
        Popari { k: 11, graph: Rule::Grid, max_steps: 1, neighbor_weight: Amount::Auto, ..Popari::default() };
    let found = fit(&asked, &s, &matrix);
    assert_eq!(found.predicted.len(), 5);
    let least = found.predicted.iter().copied().fold(f64::INFINITY, f64::min);
    let best = found.predicted.iter().position(|e| *e == least).unwrap();
    assert_eq!(found.weight, Some([0.0, 0.03, 0.1, 0.3, 1.0][best]));
    // Expression that does not follow its place: neighbours tell nothing.
    let (n, half) = (s.y.nrows(), s.y.nrows() / 2);
    let turned: Vec<usize> = (0..n).map(|i| i / half * half + i * 37 % half).collect();
    let moved = Matrix::Dense(s.y.select(ndarray::Axis(0), &turned));
    let strewn = fit(&asked, &s, &moved);
    let gain = |fit: &TissueFit| fit.predicted[0] - fit.predicted[4];
    assert!(gain(&found) > gain(&strewn) + 1e-6, "{} {}", gain(&found), gain(&strewn));
    // Without a share of them, the fit is that of every cell alone.
    let none = Popari { neighbor_weight: Amount::Of(0.0), ..asked.clone() };
    assert_eq!(fit(&none, &s, &matrix).weight, Some(0.0));
}
