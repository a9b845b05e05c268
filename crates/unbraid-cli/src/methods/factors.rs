//! The factorisations in the list of methods.

use std::borrow::Cow;

use unbraid::data::{Column, Dataset, Missing};
use unbraid::methods::factor::common::{Loss, Nonnegative};
use unbraid::methods::factor::maps::Maps;
use unbraid::methods::factor::nmf::Nmf;
use unbraid::methods::factor::qmf::Qmf;
use unbraid::methods::factor::qmfq::Qmfq;
use unbraid::report::{self, Curve, Factors};

use super::{Joins, Picture, Shown};

/// The first table, and which of several joined tables each feature came from.
pub fn table(tables: &[Dataset], missing: Missing) -> Nonnegative<'_> {
    let groups = match tables[0].var.column("table") {
        Some(Column::Categorical { codes, .. }) => Some(&codes[..]),
        _ => None,
    };
    Nonnegative { values: tables[0].values(), missing, groups }
}

/// A loss as it is typed.
pub fn name(loss: Loss) -> &'static str {
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

/// The entry of one factorisation, with its maps by what they act on.
macro_rules! factorisation {
    (@loadings $fit:ident) => { Cow::Borrowed(&$fit.loadings) };
    (@loadings $fit:ident $relative:ident) => { Cow::Owned($fit.$relative.relative(&$fit.loadings)) };
    (@is) => { false };
    (@is $relative:ident) => { true };
    ($method:ident, $about:literal $(, relative to $relative:ident)? $(, $title:literal = $maps:ident)*) => {
        impl Shown for $method {
            const ABOUT: &'static str = $about;
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
                    factors: Some(Factors {
                        loadings: factorisation!(@loadings fit $($relative)?),
                        relative: factorisation!(@is $($relative)?),
                        scores: &fit.scores,
                        loss: name(fit.loss),
                    }),
                    maps: vec![$(($title, shown(&fit.$maps))),*],
                    ..Picture::default()
                }
            }
        }
    };
}

factorisation!(Nmf, "NMF: non-negative factors by Kullback-Leibler divergence or squared error");
factorisation!(
    Qmf,
    "QMF: non-negative factors behind one learnt increasing map per feature",
    relative to maps,
    "low-rank signal to values" = maps
);
factorisation!(
    Qmfq,
    "QMFQ: factors of a table whose features are first mapped to a learnt scale, and mapped back",
    "values to what is factorised" = input_maps,
    "low-rank signal to values" = maps
);
