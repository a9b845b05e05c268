//! Planted models, promises, refusals.

use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::data::{Matrix, Values};
use crate::fit::Draw;

/// Two studies of 400 samples; features 0–9 follow a shared factor, 8–17 another, 18–23 one of study 0, 24–29 one of study 1.
fn planted(seed: u64) -> (Matrix, Vec<u32>, Vec<String>, Array2<f64>) {
    let mut rng = Seed(seed).stream(Draw::Simulate, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let study: Vec<u32> = (0..800).map(|i| i % 2).collect();
    let mut z = Array2::zeros((800, 4));
    let mut x = Array2::zeros((800, 30));
    for (i, mut row) in x.rows_mut().into_iter().enumerate() {
        for k in [0, 1, 2 + study[i] as usize] {
            z[[i, k]] = normal();
        }
        for (j, to) in row.iter_mut().enumerate() {
            let of =
                |k: usize, range: std::ops::Range<usize>| f64::from(u8::from(range.contains(&j))) * z[[i, k]];
            let sum = 2.0 * of(0, 0..10) + 1.5 * of(1, 8..18) + 1.8 * of(2, 18..24) + 1.8 * of(3, 24..30);
            *to = 5.0 * f64::from(study[i]) + sum + 0.5 * normal();
        }
    }
    (Matrix::Dense(x), study, vec!["a".into(), "b".into()], z)
}

fn fit(params: &Msfa, x: &Matrix, study: &[u32], names: &[String]) -> Result<MsfaFit> {
    let input = Studies { values: Values { what: "X", matrix: x }, study, names };
    params.fit(input, &mut Ctx::new(Seed(1), &mut ()))
}

#[test]
fn a_planted_model_is_found_with_its_members_and_scores() {
    let (x, study, names, z) = planted(1);
    let found = fit(&Msfa { shared: 2, specific: 1, ..Msfa::default() }, &x, &study, &names).unwrap();
    assert_eq!((found.stop, found.owners()), (Stop::Converged, vec![None, None, Some(0), Some(1)]));
    let mask = found.mask();
    let members = |k: usize| (0..30).filter(|&j| mask[[j, k]] != 0.0).collect::<Vec<_>>();
    let expected = [0..10, 8..18, 18..24, 24..30].map(|r| r.collect::<Vec<_>>());
    assert_eq!([0, 1, 2, 3].map(members), expected);
    for (k, (members, size)) in expected.iter().zip([2.0, 1.5, 1.8, 1.8]).enumerate() {
        for &j in members {
            assert!((found.loadings[[j, k]] - size).abs() < 0.25, "{j} {k} {}", found.loadings[[j, k]]);
        }
        let (a, b) = (found.codes.column(k), z.column(k));
        let r = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
        assert!(r > 0.95, "{k} {r}");
    }
    assert!(found.objective.windows(2).all(|p| p[1] <= p[0] + 1e-9 * p[0].abs()));
    // Features of a study's own factor are noise, of about the same size, in the other.
    assert!(found.noise.slice(s![..18, ..]).iter().all(|v| (v - 0.25).abs() < 0.1), "{}", found.noise);
}

#[test]
fn parameters_out_of_range_are_refused() {
    let (x, study, names, _) = planted(2);
    for (params, word) in [
        (Msfa { shared: 0, specific: 0, ..Msfa::default() }, "shared"),
        (Msfa { shared: 30, ..Msfa::default() }, "number of features"),
        (Msfa { threshold: 1.0, ..Msfa::default() }, "threshold"),
        (Msfa { tol: f64::NAN, ..Msfa::default() }, "tol"),
        (Msfa { max_steps: 0, ..Msfa::default() }, "max_steps"),
    ] {
        let why = fit(&params, &x, &study, &names).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
    let few =
        fit(&Msfa { shared: 2, specific: 1, max_steps: 3, ..Msfa::default() }, &x, &study, &names).unwrap();
    assert_eq!((few.stop, few.warnings.len()), (Stop::MaxSteps, 1));
    for (shared, specific) in [(0, 1), (2, 0)] {
        let found = fit(&Msfa { shared, specific, ..Msfa::default() }, &x, &study, &names).unwrap();
        assert_eq!(found.loadings.ncols(), shared + 2 * specific);
        assert!(found.codes.iter().all(|v| v.is_finite()));
    }
}

/// With four columns of Φ for two shared factors, each study's own factor starts in Φ, as it is among the strongest of all. Steps alone
/// need some 400 to bring it out.
#[test]
fn factors_of_one_study_leave_the_shared_columns() {
    let (x, study, names, _) = planted(3);
    let with = Msfa { shared: 4, specific: 1, max_steps: 150, tol: 0.0, ..Msfa::default() };
    let without = Msfa { exchange: false, ..with.clone() };
    let [with, without] = [with, without].map(|p| fit(&p, &x, &study, &names).unwrap());
    let members = |fit: &MsfaFit, k: usize| {
        let mask = fit.mask();
        (0..30).filter(|&j| mask[[j, k]] != 0.0).collect::<Vec<usize>>()
    };
    let own = [(18..24).collect::<Vec<usize>>(), (24..30).collect()];
    assert_eq!([4, 5].map(|k| members(&with, k)), own);
    assert_ne!([4, 5].map(|k| members(&without, k)), own);
    let [better, worse] = [&with, &without].map(|fit| fit.objective[149]);
    assert!(better < worse - 0.01, "{better} {worse}");
}
