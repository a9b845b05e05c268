//! GmGM against the published package, and the promises its fit keeps.

use ndarray::{Array1, Array2, ArrayD, ArrayView1};
use unbraid::data::{Annotations, Csr, Matrix, Slot, Value, Values};
use unbraid::fit::{Annotate, Ctx, Method, Seed, Stop};
use unbraid::graph::edges::{Keep, Rule, connectivities, keep_top_k, select};
use unbraid::linalg::Eigen;
use unbraid::methods::kronecker::gmgm::{Centering, Entries, Gmgm, GmgmFit, Iid, Tensor, Tensors};
use unbraid::params::Params;
use unbraid::preprocess::nonparanormal::Nonparanormal;

use crate::contract::{gap, random};
use crate::golden::Golden;

fn fit(method: &Gmgm, input: Tensors<'_>) -> GmgmFit {
    method.fit(input, &mut Ctx::new(Seed(0), &mut ())).unwrap()
}

fn why(method: &Gmgm, input: Tensors<'_>) -> String {
    method.fit(input, &mut Ctx::new(Seed(0), &mut ())).unwrap_err().to_string()
}

fn dense() -> Gmgm {
    Gmgm { keep: Rule::Dense.into(), ..Gmgm::default() }
}

/// Tensors named and shaped as in the golden file.
fn golden_fit(case: &str, structure: &[(&str, &[&str])], method: &Gmgm) -> (Golden, GmgmFit) {
    let golden = Golden::open(case);
    let data: Vec<ArrayD<f64>> = structure.iter().map(|(t, _)| golden.array(&format!("data_{t}"))).collect();
    let mut tensors = Vec::new();
    for ((what, axes), x) in structure.iter().zip(&data) {
        let axes = axes.iter().map(|a| (*a).into()).collect();
        tensors.push(Tensor { what: (*what).into(), axes, entries: Entries::Dense(x.view()) });
    }
    let fit = fit(method, Tensors { tensors, ..Tensors::default() });
    (golden, fit)
}

fn paper() -> Gmgm {
    Gmgm::preset("paper").unwrap()
}

fn compare(case: &str, structure: &[(&str, &[&str])], method: &Gmgm) {
    let (golden, fit) = golden_fit(case, structure, method);
    assert_eq!(fit.stop, Stop::Converged);
    assert_eq!(fit.axes.len(), golden.names("Psi_").len());
    for axis in &fit.axes {
        let name = |what: &str| format!("{what}_{}", axis.name);
        let known = axis.e.len() - axis.vectors.ncols();
        assert!(axis.e[..known].iter().all(|e| *e == 0.0), "e without a vector are 0");
        let gram = Eigen { values: vec![], vectors: axis.vectors.clone() }
            .recompose(&axis.e[known..].iter().map(|e| e * axis.scale).collect::<Vec<_>>());
        golden.assert_close(&name("gram"), &gram, 1e-11);
        golden.assert_close(&name("e"), &ArrayView1::from(&axis.e), 1e-11);
        golden.assert_close(&name("lam"), &ArrayView1::from(&axis.values), 1e-8);
        let psi = axis.network.precision.to_dense();
        golden.assert_close(&name("Psi"), &psi, 1e-8);
        // |Ψ| of the kept pairs in single precision; the golden graph holds both triangles.
        let tenth: Keep = "fraction:0.1".parse().unwrap();
        let graph = connectivities(&select(&psi, &tenth, None).unwrap()).to_dense();
        golden.assert_close(&name("overall0.1"), &graph, 1e-5);
        let mut score = psi.mapv(f64::abs);
        score.diag_mut().fill(0.0);
        golden.assert_close(&name("top3"), &keep_top_k(score.view(), 3).to_dense(), 1e-8);
    }
}

#[test]
fn one_matrix_agrees_with_the_package() {
    compare("gmgm/matrix_40x60", &[("data", &["row", "col"])], &paper());
}

#[test]
fn a_tensor_of_three_axes_agrees_with_the_package() {
    compare("gmgm/tensor_10x12x8", &[("t", &["a", "b", "c"])], &paper());
}

#[test]
fn a_shared_axis_agrees_with_the_package() {
    let structure: [(&str, &[&str]); 2] = [("rna", &["cell", "gene"]), ("atac", &["cell", "peak"])];
    compare("gmgm/shared_axis_25x30_25x18", &structure, &paper());
}

#[test]
fn the_package_reading_of_the_nonparanormal_is_reproduced() {
    let method = Gmgm { nonparanormal: Nonparanormal::Code, ..paper() };
    compare("gmgm/nonparanormal_30x45", &[("data", &["row", "col"])], &method);
}

#[test]
fn one_decomposition_serves_both_axes_as_two_do() {
    // A prior that weighs nothing takes the road of two decompositions.
    for (n, m) in [(150, 150), (110, 160), (160, 110)] {
        let x = table(n, m, 4);
        let one = fit(&dense(), Tensors::matrix(values(&x)));
        let two = fit(&Gmgm { prior: 1e300, ..dense() }, Tensors::matrix(values(&x)));
        for (a, b) in one.axes.iter().zip(&two.axes) {
            assert_eq!(a.vectors.ncols(), n.min(m));
            assert_eq!(b.vectors.ncols(), b.e.len());
            assert!(a.e.iter().zip(&b.e).all(|(x, y)| (x - y).abs() < 1e-13));
            // The same Ψ from the vectors of either road.
            let vectors = b.vectors.clone();
            let psi = Eigen { values: vec![], vectors }.recompose(&a.values);
            let size = psi.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            let far = gap(&psi, &a.network.precision.to_dense());
            assert!(far < 1e-10 * size, "{n} × {m}: {far:e} of {size:e}");
            let identity = a.vectors.t().dot(&a.vectors);
            assert!(
                gap(&identity, &Array2::eye(n.min(m))) < 1e-12,
                "{:e}",
                gap(&identity, &Array2::eye(n.min(m)))
            );
        }
    }
    // A table of deficient rank takes the other road by itself.
    let mut x = random(140, 140, 4);
    let whole = fit(&dense(), Tensors::matrix(values(&Matrix::Dense(x.clone()))));
    let copy = x.row(3).to_owned();
    x.row_mut(90).assign(&copy);
    let lacking = fit(&dense(), Tensors::matrix(values(&Matrix::Dense(x))));
    assert!(lacking.axes.iter().chain(&whole.axes).all(|a| a.vectors.dim() == (140, 140)));
}

fn table(n: usize, m: usize, seed: u64) -> Matrix {
    Matrix::Dense(random(n, m, seed))
}

fn values(matrix: &Matrix) -> Values<'_> {
    Values { what: "X", matrix }
}

/// A sparse table of counts.
fn counts(n: usize, m: usize) -> Array2<f64> {
    random(n, m, 3).mapv(|v| (v * 2.0).round().max(0.0))
}

#[test]
fn all_components_give_the_same_subspace_as_the_gram_path() {
    // With k at the smaller side both paths know the same matrix: e = σ² on one is, up to scale, e on the other.
    let x = table(30, 50, 1);
    let few = fit(&Gmgm { n_comps: 30, ..dense() }, Tensors::matrix(values(&x)));
    let full = fit(&dense(), Tensors::matrix(values(&x)));
    let (a, b) = (few.axis("obs").unwrap(), full.axis("obs").unwrap());
    let mut e: Vec<f64> = a.e.iter().map(|v| v * a.scale / 50.0 / b.scale).collect();
    e.reverse();
    assert!(e.iter().zip(&b.e).all(|(x, y)| (x - y).abs() < 1e-12));
    assert!((a.explained - 1.0).abs() < 1e-12);
    assert_eq!(few.axis("var").unwrap().vectors.dim(), (50, 30));
}

#[test]
fn sparse_and_dense_input_give_the_same_fit() {
    let x = counts(60, 45);
    let (dense_form, sparse_form) = (Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view())));
    for n_comps in [0, 8] {
        for centering in [Centering::None, Centering::Mean, Centering::Log] {
            for nonparanormal in ["none", "rank", "scores", "code"] {
                let method =
                    Gmgm { n_comps, centering, nonparanormal: nonparanormal.parse().unwrap(), ..dense() };
                let a = fit(&method, Tensors::matrix(values(&dense_form)));
                let b = fit(&method, Tensors::matrix(values(&sparse_form)));
                let steps = (a.objective.len(), b.objective.len());
                for (a, b) in a.axes.iter().zip(&b.axes) {
                    let (p, q) = (a.network.precision.to_dense(), b.network.precision.to_dense());
                    let size = p.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
                    assert!(
                        gap(&p, &q) < 1e-7 * size,
                        "{n_comps} {centering} {nonparanormal}: {:e} of {size:e}, steps {steps:?}",
                        gap(&p, &q)
                    );
                }
            }
        }
    }
}

#[test]
fn permuted_observations_permute_the_fit() {
    let x = random(35, 28, 4);
    let order: Vec<usize> = (0..35).map(|i| (i * 11 + 3) % 35).collect();
    let y = x.select(ndarray::Axis(0), &order);
    for nonparanormal in [Nonparanormal::None, Nonparanormal::Rank] {
        let method = Gmgm { nonparanormal, ..dense() };
        let (x, y) = (Matrix::Dense(x.clone()), Matrix::Dense(y.clone()));
        let (a, b) = (fit(&method, Tensors::matrix(values(&x))), fit(&method, Tensors::matrix(values(&y))));
        let psi = |f: &GmgmFit, axis| f.axis(axis).unwrap().network.precision.to_dense();
        let (p, q) = (psi(&a, "obs"), psi(&b, "obs"));
        let moved = Array2::from_shape_fn((35, 35), |(i, j)| p[[order[i], order[j]]]);
        let size = p.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(gap(&moved, &q) < 1e-8 * size);
        assert!(gap(&psi(&a, "var"), &psi(&b, "var")) < 1e-8 * size);
    }
}

#[test]
fn options_of_the_package_change_the_fit_as_they_should() {
    let x = table(20, 30, 5);
    let input = || Tensors::matrix(values(&x));
    let plain = fit(&dense(), input());
    let of = |f: &GmgmFit| f.axis("obs").unwrap().values.clone();
    let smallest = |f: &GmgmFit| f.axes.iter().flat_map(|a| a.values.clone()).fold(f64::INFINITY, f64::min);
    assert!(smallest(&plain) > 0.0);
    // A careful run never raises the objective.
    let careful = fit(&Gmgm { check_overstep: true, ..dense() }, input());
    assert!(careful.objective.windows(2).all(|w| w[1] <= w[0]));
    // A strong regulariser leads to its target, the squared absolute sums of the eigenvectors.
    let strong = Gmgm { regularizer: 1e9, always_regularize: true, ..dense() };
    let axis = fit(&strong, input()).axes[0].clone();
    let target: Vec<f64> =
        axis.vectors.columns().into_iter().map(|v| v.iter().map(|x| x.abs()).sum::<f64>().powi(2)).collect();
    assert!(axis.values.iter().zip(&target).all(|(v, t)| (v - t).abs() < 1e-6 * t));
    let late = fit(&Gmgm { regularizer: 0.1, ..dense() }, input());
    assert!(late.objective.len() > plain.objective.len());
    // Until then both take the same steps, to rounding: the regulariser needs every eigenvector of both axes.
    let pairs = || late.objective.iter().zip(&plain.objective);
    assert!(pairs().all(|(a, b)| (a - b).abs() < 1e-12 * b.abs()));
    // A prior moves the Gram matrix by the inverse of its scale.
    let prior = fit(&Gmgm { prior: 0.5, ..dense() }, input());
    let (a, b) = (&plain.axes[0], &prior.axes[0]);
    assert!((a.e[7] * a.scale + 2.0 - b.e[7] * b.scale).abs() < 1e-10);
    assert_ne!(of(&plain), of(&prior));
    let scale = Array2::eye(20) * 0.5;
    let mut with = input();
    with.priors.insert("obs".into(), scale.view());
    let one = fit(&dense(), with);
    assert!(
        (one.axes[0].scale - b.scale).abs() < 1e-12
            && (one.axes[1].scale - plain.axes[1].scale).abs() < 1e-12
    );
    // Without force_posdef only the sums have to stay positive.
    fit(&Gmgm { force_posdef: false, ..dense() }, input());
    // Steps run out: a warning, and a model.
    let short = fit(&Gmgm { max_steps: 2, ..dense() }, input());
    assert_eq!((short.stop, short.objective.len(), short.warnings.len()), (Stop::MaxSteps, 2, 1));
}

#[test]
fn an_axis_of_replicates_is_not_learnt() {
    let x = table(200, 6, 6);
    let one = fit(&Gmgm { iid: Iid::Obs, tol: 1e-12, ..dense() }, Tensors::matrix(values(&x)));
    assert_eq!(one.axes.len(), 1);
    let axis = one.axis("var").unwrap();
    // One axis alone: the stationary point of the scaled gradient is λ = 1 / (d e).
    assert!(axis.values.iter().zip(&axis.e).all(|(l, e)| (l * e * 6.0 - 1.0).abs() < 1e-3), "{axis:?}");
    // The same through a batch axis, and a batch of one changes nothing.
    let Matrix::Dense(m) = &x else { unreachable!() };
    let named = |axes: [&str; 3], x| Tensors {
        tensors: vec![Tensor {
            what: "X".into(),
            axes: axes.map(String::from).to_vec(),
            entries: Entries::Dense(x),
        }],
        ..Tensors::default()
    };
    let cube = m.view().insert_axis(ndarray::Axis(0)).into_dyn();
    let batched = fit(&dense(), named(["batch", "obs", "var"], cube));
    let plain = fit(&dense(), Tensors::matrix(values(&x)));
    assert_eq!(batched.axes.len(), 2);
    assert!(batched.axes.iter().zip(&plain.axes).all(|(a, b)| {
        let near = |(x, y): (&f64, &f64)| (x - y).abs() < 1e-10 * y.abs();
        a.values.len() == b.values.len() && a.values.iter().zip(&b.values).all(near)
    }));
}

#[test]
fn bad_input_is_named_and_located() {
    let mut x = random(5, 4, 1);
    x[[3, 2]] = f64::NAN;
    let nan = Matrix::Dense(x);
    let message = why(&Gmgm::default(), Tensors::matrix(values(&nan)));
    assert!(message.contains("X holds NaN at row 3, column 2"), "{message}");
    let good = table(5, 4, 1);
    let input = || Tensors::matrix(values(&good));
    let plain = Gmgm::default;
    for (method, name) in [
        (Gmgm { tol: 0.0, ..plain() }, "tol"),
        (Gmgm { prior: -1.0, ..plain() }, "prior"),
        (Gmgm { prior: 1.0, n_comps: 2, ..plain() }, "prior"),
        (Gmgm { regularizer: f64::NAN, ..plain() }, "regularizer"),
        (Gmgm { lr_init: 0.0, ..plain() }, "lr_init"),
        (Gmgm { damping: 1.0, ..plain() }, "damping"),
        (Gmgm { max_steps: 0, ..plain() }, "max_steps"),
        (Gmgm { max_small_steps: 0, ..plain() }, "max_small_steps"),
        (Gmgm { n_comps: 5, ..plain() }, "n_comps"),
        (Gmgm { keep: Rule::Top(0).into(), ..plain() }, "keep"),
    ] {
        let message = why(&method, input());
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    let zero = Matrix::Dense(Array2::zeros((4, 3)));
    assert!(why(&plain(), Tensors::matrix(values(&zero))).contains("all zero"));
    assert!(why(&Gmgm { n_comps: 2, ..plain() }, Tensors::matrix(values(&zero))).contains("all zero"));
    let negative = Matrix::Dense(random(4, 3, 2));
    let log = Gmgm { centering: Centering::Log, ..plain() };
    assert!(why(&log, Tensors::matrix(values(&negative))).contains("centering=log"));
    let mut part = random(6, 5, 2);
    part.row_mut(4).fill(0.0);
    let part = Matrix::Dense(part);
    let warned = fit(&plain(), Tensors::matrix(values(&part)));
    assert!(warned.warnings[0].contains("1 of axis `obs` hold only zeros (4"), "{:?}", warned.warnings);
    let mut small = ();
    let mut ctx = Ctx::new(Seed(0), &mut small);
    ctx.max_memory = Some(1000);
    assert!(plain().fit(input(), &mut ctx).unwrap_err().to_string().contains("n_comps"));
    // One cell, one gene: nothing to learn, nothing to panic about.
    let one = Matrix::Dense(ndarray::array![[2.0]]);
    fit(&plain(), Tensors::matrix(values(&one)));
}

#[test]
fn slots_are_written_under_their_names() {
    let (a, b) = (table(12, 7, 1), table(12, 5, 2));
    let method = Gmgm { keep: Rule::Top(2).into(), ..Gmgm::default() };
    let joint = fit(&method, Tensors::tables([("rna", values(&a)), ("atac", values(&b))]));
    let mut out = Annotations::default();
    joint.annotate("g", &mut out);
    assert_eq!(out.obsp["g_connectivities"].shape(), (12, 12));
    // Features of both tables, in order, no edge between tables.
    let Slot::Csr(graph) = &out.varp["g_connectivities"] else { panic!("not sparse") };
    assert_eq!(graph.shape(), (12, 12));
    assert!(graph.entries().all(|(i, j, _)| (i < 7) == (j < 7)));
    assert!(out.uns.contains_key("g_neighbors"));
    let Value::Map(notes) = &out.uns["g"] else { panic!("not a map") };
    assert_eq!(notes["stop"], Value::from("converged"));
    assert!(matches!(&notes["objective"], Value::Floats(o) if o.len() == joint.objective.len()));
    // An axis with a name of its own goes to `uns`.
    let x = Array1::linspace(-1.0, 1.0, 24).into_shape_with_order((2, 3, 4)).unwrap();
    let tensor = Tensor {
        what: "t".into(),
        axes: ["obs", "time", "var"].map(String::from).to_vec(),
        entries: Entries::Dense(x.view().into_dyn()),
    };
    let mut out = Annotations::default();
    fit(&method, Tensors { tensors: vec![tensor], ..Tensors::default() }).annotate("g", &mut out);
    let Value::Map(notes) = &out.uns["g"] else { panic!("not a map") };
    let Value::Map(networks) = &notes["networks"] else { panic!("not a map") };
    assert!(matches!(&networks["time"], Value::Table(t) if t.len() >= 3));
    assert_eq!(out.varp["g_precision"].shape(), (4, 4));
}

#[test]
fn presets_and_help_say_what_there_is() {
    assert_eq!(Gmgm::preset("paper").unwrap().keep, Rule::Dense.into());
    assert!(Gmgm::preset("none").is_none());
    assert_eq!(Gmgm::DOCS.len(), 16);
    let toml = serde_json::json!({"keep": "top:3+min_edges:1", "nonparanormal": "scores", "iid": "obs"});
    let method: Gmgm = serde_json::from_value(toml).unwrap();
    assert_eq!((method.keep.min_edges, method.iid), (1, Iid::Obs));
    assert!(serde_json::from_str::<Gmgm>("{\"kep\": 1}").is_err());
}
