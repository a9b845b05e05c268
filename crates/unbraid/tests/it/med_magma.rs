//! MED-MAGMA against the reference implementation, step by step, and its log-coordinate Laplace term
//! against brute force.

use ndarray::{Array1, Array2, Axis, s};
use rand::Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};
use unbraid::data::{Matrix, Values};
use unbraid::fit::{Ctx, Draw, Method, Seed, Stop};
use unbraid::graph::edges::Rule;
use unbraid::linalg::{self, Eigen};
use unbraid::methods::kronecker::med_magma::balance::{Curvature, Scales, Start, balance};
use unbraid::methods::kronecker::med_magma::em::Em;
use unbraid::methods::kronecker::med_magma::kernel::Kernel;
use unbraid::methods::kronecker::med_magma::quotient::quotient;
use unbraid::methods::kronecker::med_magma::{Fit, KernelForm, MedMagma, Quotient, laplace};
use unbraid::params::Params;

use crate::contract::{gap, random};
use crate::golden::Golden;

const CASES: [&str; 4] = ["dense_12x16", "dense_40x55", "dense_60x80", "sparse_36x30"];

fn paper() -> MedMagma {
    MedMagma { keep: Rule::Dense.into(), ..MedMagma::preset("paper").unwrap() }
}

fn fit(method: &MedMagma, x: &Array2<f64>) -> Fit {
    let matrix = Matrix::Dense(x.clone());
    method.fit(Values { what: "X", matrix: &matrix }, &mut Ctx::new(Seed(0), &mut ())).unwrap()
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let norm = |x: &Array2<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(b)
}

fn quotient_of(golden: &Golden) -> Array2<f64> {
    let matrix = Matrix::Dense(golden.array("X"));
    quotient(Values { what: "X", matrix: &matrix }, Quotient::Skip).unwrap().0
}

/// Each step from the reference's own input to that step, so that a failure names the step.
#[test]
fn every_step_agrees_with_the_reference() {
    for case in CASES {
        let golden = Golden::open(&format!("medmagma/{case}"));
        let y = quotient_of(&golden);
        golden.assert_close("Y", &y, 1e-12);
        let params = paper();
        for it in ["it1", "it2"] {
            let at = |name: &str| format!("{it}_{name}");
            let square = |name: &str| -> [Array2<f64>; 2] {
                ["rows", "cols"].map(|axis| golden.array(&format!("{it}_{name}_{axis}")))
            };
            let line = |name: &str| -> [Vec<f64>; 2] {
                ["rows", "cols"].map(|axis| {
                    golden.array::<ndarray::Ix1>(&format!("{it}_{name}_{axis}")).into_raw_vec_and_offset().0
                })
            };
            let both = |name: &str, found: &[Array2<f64>; 2], tol: f64| {
                for (axis, found) in ["rows", "cols"].iter().zip(found) {
                    golden.assert_close(&format!("{it}_{name}_{axis}"), found, tol);
                }
            };

            let before: [Array2<f64>; 2] =
                ["rows", "cols"].map(|axis| golden.array(&format!("{it}_Psi_{axis}_in")));
            let mut scales = Scales::ones(y.nrows(), y.ncols());
            balance(&y, Some([&before[0], &before[1]]), &mut scales, Start::Cold).unwrap();
            let z = Em { y: y.clone(), params: &params }.z(&scales);
            let off = apart(&z, &golden.array(&at("zstar_exact")));
            assert!(off < 1e-9, "{case} {it}: z* differs by {off:e}");

            let eigen = before.each_ref().map(|psi| linalg::eigh(psi.view()).unwrap());
            let half = laplace::published([&eigen[0], &eigen[1]]);
            both("C", &half.each_ref().map(|c| 2.0 * c), 1e-9);

            // S from the reference's z*, which its optimiser left at about 1e-5 of the exact one.
            let z: Array2<f64> = golden.array(&at("zstar"));
            let [rows, columns] = half;
            both("S", &[z.dot(&z.t()) - rows, z.t().dot(&z) - columns], 1e-9);

            let e = line("e");
            let spectra = square("S").map(|s| linalg::eigh(s.view()).unwrap());
            for k in 0..2 {
                let largest = e[k].iter().fold(0.0f64, |m, v| m.max(v.abs()));
                assert!(e[k].iter().zip(&spectra[k].values).all(|(a, b)| (a - b).abs() < 1e-10 * largest));
            }
            let kernel = Kernel { steps: 1000, ridge: 0.0 };
            let mut trace = Vec::new();
            let exact = kernel.exact([&e[0], &e[1]], Some(&mut trace));
            let nodes = kernel.nodes([&e[0], &e[1]]);
            golden.assert_close(&at("kernel_objective"), &Array1::from(trace), 1e-9);
            let lam = exact.values.each_ref().map(|v| Array1::from(v.clone()));
            let fast = nodes.values.each_ref().map(|v| Array1::from(v.clone()));
            for (k, axis) in ["rows", "cols"].iter().enumerate() {
                golden.assert_close(&format!("{it}_lam_{axis}"), &lam[k], 1e-8);
                golden.assert_close(&format!("{it}_lam_{axis}"), &fast[k], 1e-5);
            }
            let [a, b] = spectra;
            both("Psi", &[a.recompose(&exact.values[0]), b.recompose(&exact.values[1])], 1e-8);
        }
    }
}

#[test]
fn the_fixed_point_is_the_references() {
    let golden = Golden::open("medmagma/dense_60x80");
    let x: Array2<f64> = golden.array("X");
    let nodes = fit(&paper(), &x);
    let exact = fit(&MedMagma { kernel: KernelForm::Exact, ..paper() }, &x);
    let mixed = fit(&MedMagma { accelerate: true, ..paper() }, &x);
    assert_eq!([nodes.stop, exact.stop, mixed.stop], [Stop::Converged; 3]);
    assert!(mixed.objective.len() < nodes.objective.len(), "mixing took {} sweeps", mixed.objective.len());
    for (k, axis) in ["rows", "cols"].iter().enumerate() {
        let (p, q) = (nodes.precision(k).to_dense(), exact.precision(k).to_dense());
        golden.assert_close(&format!("final_Psi_{axis}"), &p, 1e-4);
        assert!(apart(&p, &q) <= 1e-8, "{axis}: nodes and exact differ by {:e}", apart(&p, &q));
        let m = mixed.precision(k).to_dense();
        assert!(apart(&m, &q) <= 1e-8, "{axis}: mixed and plain sweeps differ by {:e}", apart(&m, &q));
    }
    let change = Array1::from_iter(nodes.change.iter().map(|c| c[0]));
    let reference: Array1<f64> = golden.array("magnitudes");
    // The reference's optimiser leaves z* at 1e-6, which the last of its sweeps wait for.
    assert!(change.len().abs_diff(reference.len()) <= 3, "{} sweeps and {}", change.len(), reference.len());
    assert!((change[0] / reference[0] - 1.0).abs() < 1e-3, "{} and {}", change[0], reference[0]);
}

#[test]
fn magnitudes_of_the_input_do_not_change_the_networks_and_come_back_as_scales() {
    let x = random(30, 24, 5);
    let r = random(30, 1, 6).mapv(f64::exp);
    let c = random(1, 24, 7).mapv(|v| (2.0 * v).exp());
    let method = MedMagma { keep: Rule::Dense.into(), max_steps: 30, ..MedMagma::default() };
    let (plain, scaled) = (fit(&method, &x), fit(&method, &(&x * &r * &c)));
    for k in 0..2 {
        let (p, q) = (plain.precision(k).to_dense(), scaled.precision(k).to_dense());
        assert!(apart(&p, &q) < 1e-7, "axis {k}: {:e}", apart(&p, &q));
        let ratio: Vec<f64> = scaled.scale[k].iter().zip(&plain.scale[k]).map(|(a, b)| a / b).collect();
        let truth: Vec<f64> = if k == 0 { r.iter().copied().collect() } else { c.iter().copied().collect() };
        let unit = ratio[0] / truth[0];
        assert!(ratio.iter().zip(&truth).all(|(a, t)| (a / t / unit - 1.0).abs() < 1e-7));
        let log: f64 = scaled.scale[k].iter().map(|s| s.ln()).sum();
        assert!(log.abs() < 1e-9, "the geometric mean is 1");
    }
}

/// What is known of the common scale of Z.
#[derive(Clone, Copy)]
enum Scale {
    OfZstar,
    Free,
}

/// One small problem in which everything about the spread around z* can be computed outright.
struct Brute {
    psi: [Array2<f64>; 2],
    /// z* scaled so that zᵀΩz = nm.
    z: Array2<f64>,
    /// Covariance of (u, v) to leading order: the pseudo-inverse of the projected Hessian.
    sigma: Eigen,
    /// E[ZZᵀ] of the program.
    formula: Array2<f64>,
    /// E[ZᵀZ] of the program.
    columns: Array2<f64>,
}

fn precision(n: usize, seed: u64) -> Array2<f64> {
    let a = random(n, n, seed);
    a.dot(&a.t()) * (0.5 / n as f64) + Array2::<f64>::eye(n)
}

fn times_omega(psi: &[Array2<f64>; 2], z: &Array2<f64>) -> Array2<f64> {
    psi[0].dot(z) + z.dot(&psi[1])
}

impl Brute {
    fn new(n: usize, m: usize, seed: u64) -> Brute {
        let psi = [precision(n, 100 + seed), precision(m, 200 + seed)];
        let eigen = psi.each_ref().map(|p| linalg::eigh(p.view()).unwrap());
        let noise = random(n, m, 300 + seed);
        let white = Array2::from_shape_fn((n, m), |(i, j)| {
            noise[[i, j]] / (eigen[0].values[i] + eigen[1].values[j]).sqrt()
        });
        let x = eigen[0].vectors.dot(&white).dot(&eigen[1].vectors.t());
        let matrix = Matrix::Dense(x);
        let (y, _) = quotient(Values { what: "X", matrix: &matrix }, Quotient::Exact).unwrap();
        let mut scales = Scales::ones(n, m);
        balance(&y, Some([&psi[0], &psi[1]]), &mut scales, Start::Cold).unwrap();
        let mut z = scales.apply(&y);
        let energy = (&z * &times_omega(&psi, &z)).sum();
        z *= ((n * m) as f64 / energy).sqrt();
        let curvature = Curvature::at(&y, Some([&psi[0], &psi[1]]), &scales);
        let [formula, columns] = laplace::log_coordinates(z.view(), &curvature).unwrap();
        let sigma = Brute::covariance(&psi, &z);
        Brute { psi, z, sigma, formula, columns }
    }

    /// From the definition: H = Dᵀ diag(z) Ω diag(z) D + Dᵀ diag(z ∘ Ωz) D with D: (u, v) ↦ uᵢ + vⱼ, entries of
    /// z in row order, and its pseudo-inverse on Σu = Σv = 0.
    fn covariance(psi: &[Array2<f64>; 2], z: &Array2<f64>) -> Eigen {
        let (n, m) = z.dim();
        let flat: Vec<f64> = z.iter().copied().collect();
        let omega = Array2::from_shape_fn((n * m, n * m), |(a, b)| {
            let ((i, j), (k, l)) = ((a / m, a % m), (b / m, b % m));
            f64::from(u8::from(j == l)) * psi[0][[i, k]] + f64::from(u8::from(i == k)) * psi[1][[j, l]]
        });
        let d = Array2::from_shape_fn((n * m, n + m), |(a, t)| {
            f64::from(u8::from(if t < n { a / m == t } else { a % m == t - n }))
        });
        let tilted = Array2::from_shape_fn((n * m, n * m), |(a, b)| flat[a] * omega[[a, b]] * flat[b]);
        let weight = tilted.sum_axis(Axis(1));
        let h = d.t().dot(&(tilted + Array2::from_diag(&weight))).dot(&d);
        let free = Array2::from_shape_fn((n + m, n + m), |(s, t)| {
            let same = f64::from(u8::from(s == t));
            match (s < n, t < n) {
                (true, true) => same - 1.0 / n as f64,
                (false, false) => same - 1.0 / m as f64,
                _ => 0.0,
            }
        });
        let mut eigen = linalg::eigh(free.dot(&h).dot(&free).view()).unwrap();
        let largest = eigen.values[n + m - 1];
        let null = eigen.values.iter().filter(|v| v.abs() < 1e-10 * largest).count();
        assert_eq!(null, 2, "two directions are constrained");
        eigen.values.iter_mut().for_each(|v| *v = if v.abs() < 1e-10 * largest { 0.0 } else { 1.0 / *v });
        eigen
    }

    /// Σⱼ zₐⱼ zᵦⱼ exp ½Var(uₐ + uᵦ + 2vⱼ), entry by entry.
    fn direct(&self) -> Array2<f64> {
        let (n, m) = self.z.dim();
        let sigma = self.sigma.recompose(&self.sigma.values);
        Array2::from_shape_fn((n, n), |(a, b)| {
            (0..m)
                .map(|j| {
                    let mut w = Array1::<f64>::zeros(n + m);
                    w[a] += 1.0;
                    w[b] += 1.0;
                    w[n + j] += 2.0;
                    self.z[[a, j]] * self.z[[b, j]] * (0.5 * w.dot(&sigma.dot(&w))).exp()
                })
                .sum()
        })
    }

    /// E[ZZᵀ] under the conditional law of the magnitudes given the quotient, by importance sampling from a
    /// wide t distribution, and the effective number of draws. At the scale of z* the density of (u, v) is
    /// proportional to exp(−½zᵀΩz). With the common scale of Z integrated out it is (zᵀΩz)^(−nm/2), and
    /// the statistic is nm ZZᵀ / zᵀΩz.
    fn sampled(&self, scale: Scale, draws: usize, seed: u64) -> (Array2<f64>, f64) {
        const FREEDOM: f64 = 6.0;
        const WIDER: f64 = 1.3;
        let (n, m) = self.z.dim();
        let dims = n + m - 2;
        let mut rng = Seed(seed).stream(Draw::Latent, 0);
        let chi = ChiSquared::new(FREEDOM).unwrap();
        let root = &self.sigma.vectors * &Array1::from_iter(self.sigma.values.iter().map(|v| v.sqrt()));
        let free: Vec<usize> = (0..n + m).filter(|&k| self.sigma.values[k] > 0.0).collect();
        let mut all = Vec::with_capacity(draws);
        for _ in 0..draws {
            let spread = (FREEDOM / chi.sample(&mut rng)).sqrt();
            let mut g = Array1::<f64>::zeros(n + m);
            free.iter().for_each(|&k| g[k] = spread * normal(&mut rng));
            let proposal = -(FREEDOM + dims as f64) / 2.0 * (g.dot(&g) / FREEDOM).ln_1p();
            let at = root.dot(&g) * WIDER;
            let z = Array2::from_shape_fn((n, m), |(i, j)| self.z[[i, j]] * (at[i] + at[n + j]).exp());
            let q = (&z * &times_omega(&self.psi, &z)).sum();
            let size = (n * m) as f64;
            let (log, factor) = match scale {
                Scale::OfZstar => (-q / 2.0, 1.0),
                Scale::Free => (-size / 2.0 * q.ln(), size / q),
            };
            all.push((log - proposal, z.dot(&z.t()) * factor));
        }
        let top = all.iter().fold(f64::NEG_INFINITY, |t, (w, _)| t.max(*w));
        let (mut total, mut squares, mut mean) = (0.0, 0.0, Array2::zeros((n, n)));
        for (log, gram) in &all {
            let w = (log - top).exp();
            (total, squares) = (total + w, squares + w * w);
            mean.scaled_add(w, gram);
        }
        (mean / total, total * total / squares)
    }
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

#[test]
fn the_log_coordinate_term_is_its_definition() {
    for (n, m) in [(3, 3), (3, 4), (4, 3), (5, 5), (5, 6), (6, 7)] {
        for seed in 0..5 {
            let brute = Brute::new(n, m, seed);
            let gap = apart(&brute.formula, &brute.direct());
            assert!(gap < 1e-10, "{n} × {m}, seed {seed}: {gap:e}");
        }
    }
}

/// At the scale of z* the term is the expectation. With the scale free it overstates all of S by about
/// 1/n + 1/m, because E[zᵀΩz] is then nm and not nm + n + m − 2; rescaled to that energy it is the
/// expectation again.
#[test]
fn the_log_coordinate_term_is_the_spread_that_sampling_finds() {
    const SEEDS: u64 = 4;
    for (n, m) in [(4, 4), (5, 5), (5, 6), (6, 7)] {
        for scale in [Scale::OfZstar, Scale::Free] {
            let mut mean = [0.0; 4];
            for seed in 0..SEEDS {
                let brute = Brute::new(n, m, seed);
                let (truth, effective) = brute.sampled(scale, 20_000, seed);
                assert!(effective > 4_000.0, "{n} × {m}: {effective} effective draws are too few");
                let plug_in = brute.z.dot(&brute.z.t());
                let eigen = brute.psi.each_ref().map(|p| linalg::eigh(p.view()).unwrap());
                let [half, _] = laplace::published([&eigen[0], &eigen[1]]);
                let factor = match scale {
                    Scale::OfZstar => 1.0,
                    Scale::Free => {
                        let [rows, columns] = &brute.psi;
                        (n * m) as f64 / ((&brute.formula * rows).sum() + (&brute.columns * columns).sum())
                    }
                };
                let found = [&(&brute.formula * factor), &plug_in, &(&plug_in - &half), &(&plug_in + &half)];
                mean.iter_mut().zip(found).for_each(|(m, s)| *m += apart(s, &truth) / SEEDS as f64);
            }
            println!("{n} × {m}: log-coordinates, plug-in, code, paper {mean:.3?}");
            assert!(mean[1..].iter().all(|e| mean[0] < 0.55 * e), "{n} × {m}: {mean:?}");
        }
    }
}

#[test]
fn a_matrix_with_too_few_lines_or_an_empty_line_is_refused() {
    let why = |x: Array2<f64>| {
        let matrix = Matrix::Dense(x);
        let input = Values { what: "X", matrix: &matrix };
        MedMagma::default().fit(input, &mut Ctx::new(Seed(0), &mut ())).unwrap_err().to_string()
    };
    assert!(why(random(1, 5, 1)).contains("at least 2 × 2"));
    assert!(why(random(5, 1, 1)).contains("at least 2 × 2"));
    let mut x = random(6, 5, 1);
    x.row_mut(4).fill(0.0);
    assert!(why(x.clone()).contains("row 4 holds no non-zero value"));
    let turned = x.t().to_owned();
    assert!(why(turned).contains("column 4 holds no non-zero value"));
    // Cut to 2 × 2 it works.
    let small = fit(&MedMagma::default(), &random(6, 5, 2).slice(s![..2, ..2]).to_owned());
    assert!(
        small.scale.iter().flatten().all(|v| v.is_finite())
            && gap(&small.precision(0).to_dense(), &small.precision(0).to_dense().t().to_owned()) < 1e-12
    );
}
