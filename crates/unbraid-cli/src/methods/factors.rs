//! The factorisations in the list of methods.

use unbraid::data::{Column, Dataset};
use unbraid::methods::factor::common::{Loss, Missing, Nonnegative};
use unbraid::methods::factor::maps::Maps;
use unbraid::methods::factor::nmf::Nmf;
use unbraid::methods::factor::qmf::Qmf;
use unbraid::methods::factor::qmfq::Qmfq;
use unbraid::report::{self, Curve, Factors};

use super::{Joins, Picture, Shown};

/// The first table, and which of several joined tables each feature came from.
fn table(tables: &[Dataset], missing: Missing) -> Nonnegative<'_> {
    let groups = match tables[0].var.column("table") {
        Some(Column::Categorical { codes, .. }) => Some(&codes[..]),
        _ => None,
    };
    Nonnegative { values: tables[0].values(), missing, groups }
}

fn name(loss: Loss) -> &'static str {
    match loss {
        Loss::Kl => "kl",
        Loss::Frobenius => "frobenius",
    }
}

/// Half the width of a map's curve, in standard deviations of its inputs, and its points.
const REACH: f64 = 3.0;
const POINTS: usize = 61;

fn shown(maps: &Maps) -> report::Maps<'_> {
    let curve = |i: usize| {
        let x: Vec<f64> = (0..POINTS).map(|p| REACH * (2.0 * p as f64 / (POINTS - 1) as f64 - 1.0)).collect();
        let z: Vec<f64> = x.iter().map(|x| maps.location[i] + maps.spread[i] * x).collect();
        let mut y = vec![0.0; POINTS];
        maps.evaluate(i, &z, &mut y);
        let mut sum = 0.0;
        let mut level = |b: &f64| {
            sum += b;
            sum
        };
        let levels = maps.weights.row(i).iter().map(&mut level).collect();
        Curve { x, y, levels, quantiles: maps.quantiles.row(i).to_vec(), ..Curve::default() }
    };
    report::Maps { stretch: maps.stretch(), curve: Box::new(curve) }
}

impl Shown for Nmf {
    const ABOUT: &'static str = "NMF: non-negative factors by Kullback-Leibler divergence or squared error";
    const EXAMPLE: &'static str = "k=8";
    const JOINS: Joins = Joins::Stacked;
    fn allows_missing(&self) -> bool {
        self.missing == Missing::Nan
    }
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        table(tables, self.missing)
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &fit.objective,
            stop: Some(fit.stop),
            factors: Some(Factors { loadings: &fit.loadings, scores: &fit.scores, loss: name(fit.loss) }),
            ..Picture::default()
        }
    }
}

impl Shown for Qmf {
    const ABOUT: &'static str = "QMF: non-negative factors behind one learnt increasing map per feature";
    const EXAMPLE: &'static str = "k=8";
    const JOINS: Joins = Joins::Stacked;
    fn allows_missing(&self) -> bool {
        self.missing == Missing::Nan
    }
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        table(tables, self.missing)
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &fit.objective,
            stop: Some(fit.stop),
            factors: Some(Factors { loadings: &fit.loadings, scores: &fit.scores, loss: name(fit.loss) }),
            maps: vec![("low-rank signal to values", shown(&fit.maps))],
            ..Picture::default()
        }
    }
}

impl Shown for Qmfq {
    const ABOUT: &'static str =
        "QMFQ: factors of a table whose features are first mapped to a learnt scale, and mapped back";
    const EXAMPLE: &'static str = "k=8";
    const JOINS: Joins = Joins::Stacked;
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        table(tables, Missing::Error)
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &fit.objective,
            stop: Some(fit.stop),
            factors: Some(Factors { loadings: &fit.loadings, scores: &fit.scores, loss: name(fit.loss) }),
            maps: vec![
                ("values to what is factorised", shown(&fit.input_maps)),
                ("low-rank signal to values", shown(&fit.maps)),
            ],
            ..Picture::default()
        }
    }
}
