//! What every method promises: the same bits on any number of threads, the same steps after a resume.

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use unbraid::data::{Annotations, Column, Csr, Matrix, Slot, Value, Values};
use unbraid::fit::{Annotate, Ctx, Draw, Flow, Method, Observer, Seed, Step};
use unbraid::methods::cocluster::itcc::Itcc;
use unbraid::methods::cocluster::kmeans::Kmeans;
use unbraid::methods::cocluster::lbm::Lbm;
use unbraid::methods::cocluster::nmtf::Nmtf;
use unbraid::methods::cocluster::spectral::SpectralCoclustering;
use unbraid::methods::cocluster::svcc::Svcc;
use unbraid::methods::cocluster::svcc::input::Observed;
use unbraid::methods::factor::adam::Adam;
use unbraid::methods::factor::common::{Loss, Nonnegative};
use unbraid::methods::factor::nmf::{Nmf, Solver};
use unbraid::methods::factor::qmf::{Qmf, Sharing};
use unbraid::methods::factor::qmfq::Qmfq;
use unbraid::methods::kronecker::gmgm::{Gmgm, Tensors};
use unbraid::methods::kronecker::med_magma::{Features, Form, Laplace, MedMagma, Rank};
use unbraid::methods::kronecker::single_axis::SingleAxis;
use unbraid::methods::kronecker::stability::{Refits, Stability};
use unbraid::methods::kronecker::tyler::Tyler;
use unbraid::methods::multistudy::each::SvaeMerge;
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::linear::Msfa;
use unbraid::methods::multistudy::mssvae::{Mssvae, WUpdate};
use unbraid::methods::multistudy::studies::Studies;
use unbraid::methods::spatial::Amount;
use unbraid::methods::spatial::batchblend::{Batchblend, Form as Blending};
use unbraid::methods::spatial::neighbours::Rule;
use unbraid::methods::spatial::popari::Popari;
use unbraid::methods::spatial::slices::Slices;
use unbraid::methods::spatial::{Columns, Init as Start, Sharing as Affinity};
use unbraid::simulate::blocks::BlocksDesign;
use unbraid::simulate::msrt::MsrtDesign;
use unbraid::{Error, Result};

/// Standard normal values.
pub fn random(n: usize, m: usize, seed: u64) -> Array2<f64> {
    let mut rng = Seed(seed).stream(Draw::Simulate, 0);
    Array2::from_shape_simple_fn((n, m), || StandardNormal.sample(&mut rng))
}

/// Largest absolute difference.
pub fn gap(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    (a - b).iter().fold(0.0, |m, v| v.abs().max(m))
}

/// Every number a fit wrote, as bits.
fn numbers(out: &Annotations) -> Vec<u64> {
    fn slot(s: &Slot, into: &mut Vec<u64>) {
        match s {
            Slot::F32(x) => into.extend(x.iter().map(|v| u64::from(v.to_bits()))),
            Slot::F64(x) => into.extend(x.iter().map(|v| v.to_bits())),
            Slot::Csr(x) => into.extend(x.entries().flat_map(|(i, j, v)| [i as u64, j as u64, v.to_bits()])),
            Slot::Blocks(_) => {}
        }
    }
    fn value(v: &Value, into: &mut Vec<u64>) {
        match v {
            Value::Float(x) => into.push(x.to_bits()),
            Value::Floats(x) => into.extend(x.iter().map(|v| v.to_bits())),
            Value::Map(map) => map.values().for_each(|v| value(v, into)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for (_, column) in out.obs.iter().chain(&out.var) {
        match column {
            Column::Float(x) => all.extend(x.iter().map(|v| v.to_bits())),
            Column::Categorical { codes, .. } => {
                all.extend(codes.iter().map(|c| c.map_or(u64::MAX, u64::from)));
            }
            _ => {}
        }
    }
    [&out.obsm, &out.varm, &out.obsp, &out.varp].into_iter().flatten().for_each(|(_, s)| slot(s, &mut all));
    out.uns.values().for_each(|v| value(v, &mut all));
    all
}

fn annotated<M: Method>(m: &M, input: M::Input<'_>, ctx: &mut Ctx<'_>) -> Result<Vec<u64>> {
    let mut out = Annotations::default();
    m.fit(input, ctx)?.annotate("key", &mut out);
    Ok(numbers(&out))
}

/// Stops after a number of sweeps and keeps the snapshot.
struct StopAt(usize, Option<Vec<u8>>);

impl Observer for StopAt {
    fn step(&mut self, _: Step, sweeps: usize, _: usize) -> Flow {
        if sweeps == self.0 { Flow::Stop } else { Flow::Continue }
    }
    fn snapshot(&mut self, bytes: &[u8]) -> Result<()> {
        self.1 = Some(bytes.to_vec());
        Ok(())
    }
}

fn keeps_the_contract<'a, M: Method + Sync>(m: &M, input: impl Fn() -> M::Input<'a> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| annotated(m, input(), &mut Ctx::new(Seed(3), &mut ())).unwrap())
    };
    let whole = run(1);
    assert!(!whole.is_empty());
    for threads in [2, 8] {
        assert_eq!(run(threads), whole, "{} on {threads} threads", M::NAME);
    }
    for at in [1, 3, 7] {
        let mut stop = StopAt(at, None);
        let cancelled = annotated(m, input(), &mut Ctx::new(Seed(3), &mut stop)).unwrap();
        assert!(!cancelled.is_empty(), "{}: a cancelled fit is usable", M::NAME);
        // A direct method has no steps to stop at.
        let Some(bytes) = stop.1 else { continue };
        let mut no = ();
        let mut ctx = Ctx::new(Seed(3), &mut no);
        ctx.resume = Some(bytes.clone());
        assert_eq!(annotated(m, input(), &mut ctx).unwrap(), whole, "{} resumed at {at}", M::NAME);
        let mut ctx = Ctx::new(Seed(4), &mut no);
        ctx.resume = Some(bytes);
        assert!(matches!(annotated(m, input(), &mut ctx), Err(Error::Snapshot(_))));
    }
}

#[test]
fn methods_keep_the_contract() {
    let matrix = Matrix::Dense(random(230, 200, 1));
    let values = || Values { what: "X", matrix: &matrix };
    let tensors = || Tensors::matrix(values());
    keeps_the_contract(&Gmgm::default(), tensors);
    keeps_the_contract(&Gmgm { n_comps: 12, ..Gmgm::default() }, tensors);
    keeps_the_contract(&SingleAxis::default(), values);
    keeps_the_contract(&Tyler::default(), values);
    keeps_the_contract(&MedMagma { max_steps: 8, ..MedMagma::default() }, values);
    keeps_the_contract(&MedMagma { em: false, ..MedMagma::default() }, values);
    let refits = Refits { refits: 10, ..Refits::default() };
    let method = MedMagma { max_steps: 3, ..MedMagma::default() };
    keeps_the_contract(&Stability { refits: refits.clone(), method }, values);
    keeps_the_contract(&Stability { refits, method: Tyler::default() }, values);
    let rank = Rank::Components(5);
    keeps_the_contract(&MedMagma { rank, ..MedMagma::default() }, values);
    keeps_the_contract(&MedMagma { rank, features: Features::Factors, ..MedMagma::default() }, values);
    let matrix = Matrix::Sparse(Csr::from_dense(random(150, 120, 2).mapv(|v| (v - 0.8).max(0.0)).view()));
    let values = || Values { what: "X", matrix: &matrix };
    keeps_the_contract(&low_rank_em(), values);
    let matrix = Matrix::Dense(random(60, 45, 4).mapv(|v| v * v));
    let table = || Nonnegative::new(Values { what: "X", matrix: &matrix });
    for solver in [Solver::Coordinate, Solver::Multiplicative] {
        for loss in [Loss::Kl, Loss::Frobenius] {
            keeps_the_contract(&Nmf { k: 4, max_steps: 12, solver, loss, ..Nmf::default() }, table);
        }
    }
    let qmf = Qmf { k: 4, levels: 8, max_steps: 12, ..Qmf::default() };
    keeps_the_contract(&qmf, table);
    keeps_the_contract(&Qmf { minibatch: 16, rho: 1e-3, shrink: 0.1, ..qmf.clone() }, table);
    keeps_the_contract(&Qmf { minibatch: 16, maps: Sharing::Tied, adam: Adam::Lazy, ..qmf }, table);
    keeps_the_contract(&Qmfq { k: 4, levels: 8, max_steps: 10, nmf_steps: 5, ..Qmfq::default() }, table);
}

/// Samples of three studies in turn.
fn three_studies(n: u32) -> (Vec<u32>, [String; 3]) {
    ((0..n).map(|i| i % 3).collect(), ["a", "b", "c"].map(String::from))
}

/// A fit of studies that takes a moment.
fn small_mssvae() -> Mssvae {
    Mssvae {
        shared: 4,
        specific: 2,
        hidden: [8, 6],
        batch: 64,
        epochs: 12,
        refresh: 3,
        min_support: 1,
        ..Mssvae::default()
    }
}

#[test]
fn fits_of_studies_keep_the_contract() {
    let x = random(150, 40, 7);
    let counts = x.mapv(|v| (4.0 * v.exp()).floor());
    let (study, names) = three_studies(150);
    let gaussian = small_mssvae();
    let nb = Mssvae { likelihood: Law::NegBinomial, learning_rate: 1e-3, ..small_mssvae() };
    let plain = Mssvae { w_update: WUpdate::Gradient, merge: false, ..small_mssvae() };
    for (params, x) in [(&gaussian, &x), (&nb, &counts), (&plain, &x)] {
        let matrix = Matrix::Dense(x.clone());
        let input =
            || Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
        keeps_the_contract(params, input);
    }
    let matrix = Matrix::Dense(x);
    let input = || Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
    keeps_the_contract(&SvaeMerge(small_mssvae()), input);
    keeps_the_contract(&Msfa { shared: 3, specific: 2, max_steps: 12, tol: 0.0, ..Msfa::default() }, input);
    // Sparse storage gives the same bits.
    let forms = [Matrix::Dense(counts.clone()), Matrix::Sparse(Csr::from_dense(counts.view()))];
    let [dense, sparse] = forms.each_ref().map(|matrix| {
        let input = Studies { values: Values { what: "X", matrix }, study: &study, names: &names };
        annotated(&nb, input, &mut Ctx::new(Seed(3), &mut ())).unwrap()
    });
    assert_eq!(dense, sparse);
}

#[test]
fn fits_of_slices_keep_the_contract() {
    let design = MsrtDesign { side: 7, batches: 3, features: 30, ..MsrtDesign::default() };
    let s = design.sample(Seed(2)).unwrap();
    let batch: Vec<u32> = s.batch.iter().map(|&t| t as u32).collect();
    let names = ["a", "b", "c"].map(String::from);
    let sparse = s.y.mapv(|v| if v > 0.5 { v } else { 0.0 });
    for matrix in [Matrix::Dense(s.y.clone()), Matrix::Sparse(Csr::from_dense(sparse.view()))] {
        let values = || Values { what: "X", matrix: &matrix };
        let input = || Slices {
            values: values(),
            batch: &batch,
            names: &names,
            places: s.places.view(),
            edges: None,
        };
        let graph = Rule::Grid;
        let blend = Batchblend { k: 5, graph, nmf_steps: 4, max_steps: 3, ..Batchblend::default() };
        keeps_the_contract(&blend, input);
        let scaled =
            Batchblend { gene_scale: Amount::Of(0.2), neighbor_weight: Amount::Auto, ..blend.clone() };
        keeps_the_contract(&Batchblend { nmf_steps: 22, ..scaled }, input);
        keeps_the_contract(&Batchblend { form: Blending::Thesis, ..blend }, input);
        let popari = Popari { k: 5, nmf_steps: 2, max_steps: 7, init: Start::Kmeans, ..Popari::default() };
        keeps_the_contract(&popari, input);
        let (init, columns) = (Start::Signed, Columns::Simplex);
        keeps_the_contract(&Popari { init, columns, ..popari.clone() }, input);
        let affinity = Affinity::Differential;
        keeps_the_contract(&Popari { affinity, graph: Rule::Knn, init: Start::Random, ..popari }, input);
    }
}

#[test]
fn coclusters_keep_the_contract() {
    let design = BlocksDesign {
        observations: 70,
        features: 50,
        rows: 3,
        cols: 4,
        mean: 2.0,
        ..BlocksDesign::default()
    };
    let x = design.sample(Seed(2)).unwrap().x;
    for matrix in [Matrix::Dense(x.to_dense()), Matrix::Sparse(x)] {
        let values = || Values { what: "X", matrix: &matrix };
        keeps_the_contract(&Itcc { rows: 3, cols: 4, restarts: 8, ..Itcc::default() }, values);
        keeps_the_contract(&Lbm { rows: 3, cols: 4, restarts: 8, ..Lbm::default() }, values);
        keeps_the_contract(&Nmtf { rows: 3, cols: 4, restarts: 8, max_steps: 30, ..Nmtf::default() }, values);
        keeps_the_contract(&SpectralCoclustering { rows: 3, cols: 3, ..Default::default() }, values);
        keeps_the_contract(&Kmeans { rows: 3, cols: 4, ..Kmeans::default() }, values);
        let observed = || Observed::new(values());
        keeps_the_contract(&small_svcc(), observed);
        keeps_the_contract(&Svcc { joint: 1.0, prune: true, restarts: 2, ..small_svcc() }, observed);
        let short = Svcc { pretrain: 2, epochs: 2, restarts: 2, ..small_svcc() };
        assert_eq!(resumes_at_every_step(&short, observed, 0), 24, "three batches an epoch");
    }
}

/// A fit of clusters that takes a moment.
fn small_svcc() -> Svcc {
    Svcc {
        rows: 3,
        cols: 4,
        hidden: [12, 8],
        latent: 3,
        batch: 32,
        pretrain: 4,
        epochs: 6,
        restarts: 1,
        ..Svcc::default()
    }
}

/// EM in the low-rank mode.
fn low_rank_em() -> MedMagma {
    MedMagma {
        rank: Rank::Components(4),
        form: Form::Precision,
        max_steps: 6,
        tol: 0.0,
        ..MedMagma::default()
    }
}

/// Saves or stops at one call, which may lie within a sweep.
struct StopAtCall {
    left: usize,
    flow: Flow,
    bytes: Option<Vec<u8>>,
}

impl Observer for StopAtCall {
    fn step(&mut self, _: Step, _: usize, _: usize) -> Flow {
        self.left = self.left.wrapping_sub(1);
        if self.left == 0 { self.flow } else { Flow::Continue }
    }
    fn snapshot(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes = Some(bytes.to_vec());
        Ok(())
    }
}

/// Stops and saves at every step there is after the first `before`, which have no state to save, parts of
/// sweeps among them; returns how many there were.
fn resumes_at_every_step<'a, M: Method>(m: &M, input: impl Fn() -> M::Input<'a>, before: usize) -> usize {
    let whole = annotated(m, input(), &mut Ctx::new(Seed(3), &mut ())).unwrap();
    for call in before + 1.. {
        for flow in [Flow::Stop, Flow::Save] {
            let mut stop = StopAtCall { left: call, flow, bytes: None };
            let found = annotated(m, input(), &mut Ctx::new(Seed(3), &mut stop)).unwrap();
            let Some(bytes) = stop.bytes else {
                assert_eq!(found, whole, "{}: watching changes nothing", M::NAME);
                return call - 1 - before;
            };
            if flow == Flow::Save {
                assert_eq!(found, whole, "{}: saving at step {call} changes nothing", M::NAME);
            }
            let mut no = ();
            let mut ctx = Ctx::new(Seed(3), &mut no);
            ctx.resume = Some(bytes);
            assert_eq!(annotated(m, input(), &mut ctx).unwrap(), whole, "{} resumed at step {call}", M::NAME);
        }
    }
    unreachable!("a fit ends")
}

#[test]
fn a_fit_resumes_from_every_step() {
    let mut x = random(20, 16, 4);
    x.indexed_iter_mut().for_each(|((i, j), v)| {
        if (i * 7 + j * 3) % 5 == 0 {
            *v = 0.0
        }
    });
    let matrix = Matrix::Sparse(Csr::from_dense(x.view()));
    let values = || Values { what: "X", matrix: &matrix };
    assert!(resumes_at_every_step(&Gmgm::default(), || Tensors::matrix(values()), 0) > 3);
    assert!(resumes_at_every_step(&Tyler::default(), values, 0) > 3);
    assert_eq!(resumes_at_every_step(&SingleAxis::default(), values, 0), 0);
    let refits = Refits { refits: 20, ..Refits::default() };
    let stability = Stability { refits, method: Gmgm::default() };
    assert!(resumes_at_every_step(&stability, values, 0) >= 20);
    for laplace in [Laplace::None, Laplace::Code, Laplace::LogCoord] {
        for accelerate in [false, true] {
            let rank = Rank::Full;
            let method =
                MedMagma { rank, laplace, accelerate, max_steps: 7, tol: 0.0, ..MedMagma::default() };
            assert_eq!(resumes_at_every_step(&method, values, 0), 21, "three steps a sweep");
        }
    }
    // The scaling and the decomposition before the first sweep are done afresh.
    assert_eq!(resumes_at_every_step(&low_rank_em(), values, 2), 6);
    let x = random(40, 12, 8);
    let (study, names) = three_studies(40);
    let matrix = Matrix::Dense(x);
    let input = || Studies { values: Values { what: "X", matrix: &matrix }, study: &study, names: &names };
    let studies = Mssvae { batch: 16, epochs: 4, ..small_mssvae() };
    assert_eq!(resumes_at_every_step(&studies, input, 0), 12, "three mini-batches an epoch");
    // 200 steps of the linear start, its sets, ten epochs of encoders, their end.
    let counts = Matrix::Dense(random(40, 12, 8).mapv(|v| (4.0 * v.exp()).floor()));
    let input = || Studies { values: Values { what: "X", matrix: &counts }, study: &study, names: &names };
    let studies = Mssvae { likelihood: Law::NegBinomial, learning_rate: 1e-3, ..studies };
    assert_eq!(resumes_at_every_step(&studies, input, 197), 200 + 1 + 30 + 1 + 12 - 197);
}

fn psi(out: &Annotations) -> [Option<Array2<f64>>; 2] {
    [&out.obsp, &out.varp].map(|pairs| match &pairs.get("key_precision")? {
        Slot::F64(psi) => Some(psi.clone()),
        other => panic!("{other:?} is not dense"),
    })
}

/// A dense Ψ of both axes, where the method has them.
fn fitted<M: Method>(m: &M, input: M::Input<'_>) -> [Option<Array2<f64>>; 2] {
    let mut out = Annotations::default();
    m.fit(input, &mut Ctx::new(Seed(3), &mut ())).unwrap().annotate("key", &mut out);
    psi(&out)
}

fn near(a: &[Option<Array2<f64>>; 2], b: &[Option<Array2<f64>>; 2], tol: f64, what: &str) {
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.is_some(), b.is_some());
        let (Some(a), Some(b)) = (a, b) else { continue };
        let size = b.iter().fold(0.0f64, |m, v| v.abs().max(m));
        assert!(gap(a, b) < tol * size, "{what}: {:e} of {size:e}", gap(a, b));
    }
}

/// Rows in another order, sparse storage, integers: the same fit. NaN and infinity: an error with the place.
fn follows_its_input<M: Method>(m: &M, input: impl for<'a> Fn(&'a Matrix) -> M::Input<'a>) {
    let (n, d) = (24, 18);
    let order: Vec<usize> = (0..n).map(|i| (i * 5 + 3) % n).collect();
    let x = random(n, d, 6);
    let whole = fitted(m, input(&Matrix::Dense(x.clone())));
    let mut moved = fitted(m, input(&Matrix::Dense(x.select(ndarray::Axis(0), &order))));
    if let Some(rows) = &mut moved[0] {
        // Back to the order of the rows before.
        let mut back = vec![0; n];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        *rows = Array2::from_shape_fn((n, n), |(i, j)| rows[[back[i], back[j]]]);
    }
    near(&moved, &whole, 1e-8, &format!("{} with rows in another order", M::NAME));

    let whole_numbers = x.mapv(|v| (v * 4.0).round());
    let forms = [Matrix::Dense(whole_numbers.clone()), Matrix::Sparse(Csr::from_dense(whole_numbers.view()))];
    let [dense, sparse] = forms.each_ref().map(|x| fitted(m, input(x)));
    near(&sparse, &dense, 1e-9, &format!("{} of a sparse matrix", M::NAME));

    for (bad, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let mut x = x.clone();
        x[[3, 7]] = bad;
        for matrix in [Matrix::Sparse(Csr::from_dense(x.view())), Matrix::Dense(x)] {
            let why = m.fit(input(&matrix), &mut Ctx::new(Seed(0), &mut ())).err().unwrap().to_string();
            assert!(why.contains(&format!("holds {word} at row 3, column 7")), "{}: {why}", M::NAME);
        }
    }
}

fn matrix_of(x: &Matrix) -> Values<'_> {
    Values { what: "X", matrix: x }
}

fn tensors_of(x: &Matrix) -> Tensors<'_> {
    Tensors::matrix(matrix_of(x))
}

#[test]
fn fits_follow_their_input() {
    let keep = || "dense".parse().unwrap();
    follows_its_input(&Gmgm { keep: keep(), ..Gmgm::default() }, tensors_of);
    follows_its_input(&SingleAxis { keep: keep(), ..SingleAxis::default() }, matrix_of);
    follows_its_input(&Tyler { keep: keep(), ..Tyler::default() }, matrix_of);
    follows_its_input(&MedMagma { keep: keep(), ..MedMagma::default() }, matrix_of);
    follows_its_input(&MedMagma { keep: keep(), em: false, ..MedMagma::default() }, matrix_of);
    let rank = Rank::Components(4);
    follows_its_input(&MedMagma { keep: keep(), rank, ..MedMagma::default() }, matrix_of);
    follows_its_input(&MedMagma { keep: keep(), ..low_rank_em() }, matrix_of);
}

/// Counts from whatever thread the fit runs on.
#[derive(Default)]
struct Count(usize, Option<std::thread::ThreadId>);

impl Observer for Count {
    fn step(&mut self, _: Step, _: usize, _: usize) -> Flow {
        (self.0, self.1) = (self.0 + 1, Some(std::thread::current().id()));
        Flow::Continue
    }
}

#[test]
fn an_observer_can_watch_from_another_thread() {
    let matrix = Matrix::Dense(random(20, 16, 4));
    let mut count = Count::default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let method = MedMagma { rank: Rank::Full, max_steps: 4, tol: 0.0, ..MedMagma::default() };
    pool.install(|| method.fit(matrix_of(&matrix), &mut Ctx::new(Seed(0), &mut count)).unwrap());
    assert_eq!(count.0, 12);
    assert_ne!(count.1, Some(std::thread::current().id()), "the fit ran in the pool");
}

#[test]
fn integer_and_single_precision_values_give_the_same_fit() {
    // All input is held in double precision, so this says that equal values have equal fits in either form.
    let x = random(20, 15, 2).mapv(|v| (v * 4.0).round());
    let forms = [Matrix::Dense(x.clone()), Matrix::Sparse(Csr::from_dense(x.view()))];
    let run = |matrix: &Matrix| {
        annotated(&Gmgm::default(), tensors_of(matrix), &mut Ctx::new(Seed(0), &mut ())).unwrap()
    };
    assert_eq!(run(&forms[0]), run(&forms[1]));
    let run = |matrix: &Matrix| {
        let method = MedMagma { max_steps: 10, ..MedMagma::default() };
        annotated(&method, matrix_of(matrix), &mut Ctx::new(Seed(0), &mut ())).unwrap()
    };
    assert_eq!(run(&forms[0]), run(&forms[1]));
}
