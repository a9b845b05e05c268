//! What every method promises: the same bits on any number of threads, the same steps after a resume.

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use unbraid::data::{Annotations, Matrix, Slot, Value, Values};
use unbraid::fit::{Annotate, Ctx, Draw, Flow, Method, Observer, Seed, Step};
use unbraid::methods::kronecker::gmgm::{Gmgm, Tensors};
use unbraid::methods::kronecker::single_axis::SingleAxis;
use unbraid::methods::kronecker::tyler::Tyler;
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
}

#[test]
fn integer_and_single_precision_values_give_the_same_fit() {
    // All input is held in double precision, so this says that equal values have equal fits in either form.
    let x = random(20, 15, 2).mapv(|v| (v * 4.0).round());
    let forms = [Matrix::Dense(x.clone()), Matrix::Sparse(unbraid::data::Csr::from_dense(x.view()))];
    let run = |matrix: &Matrix| {
        let input = Tensors::matrix(Values { what: "X", matrix });
        annotated(&Gmgm::default(), input, &mut Ctx::new(Seed(0), &mut ())).unwrap()
    };
    assert_eq!(run(&forms[0]), run(&forms[1]));
}
