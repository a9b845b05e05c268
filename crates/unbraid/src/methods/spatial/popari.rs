//! POPARI: spatial metagenes of several slices, and how metagenes meet in the tissue.
//!
//! ```text
//! y_i ~ N(M x_i, σ_t²),    x_i = s_i z_i,    p(z) ∝ exp(−Σ_{i~j} z_iᵗ Λ z_j)/Z,    M, x ≥ 0, columns of M on the simplex
//! ```
//!
//! With `metagenes=differential` every slice has an M of its own in the tissue, drawn to their mean; the authors' program has that from the
//! start, with an absolute weight. A factorisation without neighbours, then iterations over the affinity Λ, the metagenes M, the noise σ and the mixtures X in the
//! tissue. Every step is solved exactly or descends its objective; log Z is that of [`super::partition`]. Slots: [`super::fit`].
//!
//! `popari`. `preset=paper` has the start and the schedule of the authors' program: singular vectors of one sign (`init=signed`), metagenes on
//! the simplex at mixtures held fixed from the first iteration on (`columns=simplex`), 10 + 50 iterations. Still different: log Z is a sum
//! of positive terms, where the closed form loses all digits from about 11 metagenes on; every step is solved, where the program stops
//! early (Λ after at most 1000 steps of 0.01); cells are visited by colour and not by random independent sets; λ_x is not halved.

use super::amount::Amount;
use super::fit::{TissueFit, fitted, validate};
use super::neighbours::Rule;
use super::slices::Slices;
use super::tissue::{Blend, Columns, Init, Plan, Sharing};

use crate::error::{Error, Result};
use crate::fit::{Ctx, Method};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of POPARI.
    pub struct Popari {
        /// Metagenes K; from 2 to 64, and no more than cells or genes. Default 15.
        pub k: usize = 15,
        /// Iterations of factorisation without neighbours; at least 1. Default 100 (POPARI: 10).
        pub nmf_steps: usize = 100,
        /// Most iterations with spatial affinities; at least 1. Default 50 (thesis).
        pub max_steps: usize = 50,
        /// Relative change of the mean squared error at which these end; 0 never. Default 0.
        pub tol: f64 = 0.0,
        /// Neighbours: `delaunay`, `knn`, `grid` or `given` (a graph of the file: `edges`). Default delaunay (POPARI).
        pub graph: Rule = Rule::Delaunay,
        /// With `graph=knn`, nearest cells of each; at least 1. Default 6.
        pub neighbors: usize = 6,
        /// Start: `svd`, `kmeans`, `leiden`, `random` or `signed`, the program's own, which depends on the units of the table. Default svd (POPARI: signed).
        pub init: Init = Init::Svd,
        /// Metagenes while slices are factorised: `free`, over M ≥ 0 and then scaled, or on the `simplex` at mixtures that stay. Default free
        /// (POPARI: simplex).
        pub columns: Columns = Columns::Free,
        /// Affinities: `shared` by all slices, or `differential`. Default shared.
        pub affinity: Sharing = Sharing::Shared,
        /// Weight λ_Λ of the ridge of the affinities; above 0. Default 1e-4.
        pub lambda_affinity: f64 = 1e-4,
        /// With `affinity=differential`, weight of their distance from their mean; 0 or larger. Default 1e-3.
        pub lambda_mean: f64 = 1e-3,
        /// Metagenes in the tissue: `shared` by all slices, or `differential`. Default shared.
        pub metagenes: Sharing = Sharing::Shared,
        /// With `metagenes=differential`, weight λ_M of their distance from their mean against what a slice says of itself; 0 or larger.
        /// Default 1.
        pub lambda_metagenes: f64 = 1.0,
        /// Share of the affinities that mixtures feel: `auto` (what predicts held-out genes best; 0 leaves every cell alone) or a number from
        /// 0. Default 0.03 (POPARI: 1).
        pub neighbor_weight: Amount = Amount::Of(0.03),
        /// Scale of the affinities at the start; 0 or larger. Default 10.
        pub strength: f64 = 10.0,
        /// Weight λ_x of the sizes of cells; 0 or larger. Default 0.
        pub lambda_x: f64 = 0.0,
    }
}

impl Params for Popari {
    const DOCS: &'static [ParamDoc] = Popari::FIELDS;

    /// `paper`: ten iterations of factorisation and fifty in the tissue, from the program's start, metagenes on the simplex
    /// throughout; mixtures feel all of the affinities.
    fn preset(name: &str) -> Option<Popari> {
        (name == "paper").then(|| Popari {
            nmf_steps: 10,
            init: Init::Signed,
            columns: Columns::Simplex,
            neighbor_weight: Amount::Of(1.0),
            ..Popari::default()
        })
    }
}

impl Popari {
    pub(super) fn plan(&self) -> Plan {
        Plan {
            k: self.k,
            init: self.init,
            columns: self.columns,
            each: true,
            blend: Blend::None,
            sharing: self.affinity,
            gene_scale: 0.0,
            relearn: true,
            weight: self.neighbor_weight,
            factor: self.nmf_steps,
            search: 0,
            refine: 0,
            tissue: self.max_steps,
            penalty: self.lambda_x,
            ridge: self.lambda_affinity,
            together: self.lambda_mean,
            strength: self.strength,
            apart: (self.metagenes == Sharing::Differential).then_some(self.lambda_metagenes),
            tol: 1e-5,
            rounds: 1000,
        }
    }
}

impl Method for Popari {
    const NAME: &'static str = "popari";
    type Input<'a> = Slices<'a>;
    type Fitted = TissueFit;

    fn validate(&self) -> Result<()> {
        if !(self.lambda_metagenes >= 0.0 && self.lambda_metagenes.is_finite()) {
            let (name, found) = ("lambda_metagenes", self.lambda_metagenes.to_string());
            return Err(Error::Param { name, found, rule: "finite and 0 or larger" });
        }
        validate(
            self.k,
            [("nmf_steps", self.nmf_steps), ("max_steps", self.max_steps), ("neighbors", self.neighbors)],
            [
                ("lambda_mean", self.lambda_mean),
                ("strength", self.strength),
                ("lambda_x", self.lambda_x),
                ("tol", self.tol),
            ],
            self.lambda_affinity,
        )
    }

    fn run(&self, input: Slices<'_>, ctx: &mut Ctx<'_>) -> Result<TissueFit> {
        fitted("popari", self.plan(), (self.graph, self.neighbors, self.tol), input, ctx)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::data::{Matrix, Values};
    use crate::fit::Seed;
    use crate::simulate::msrt::MsrtDesign;

    fn fit(params: &Popari, y: &Array2<f64>, places: &Array2<f64>, batch: &[u32]) -> TissueFit {
        let matrix = Matrix::Dense(y.clone());
        let names = ["a", "b"].map(String::from);
        let names = &names[..1 + batch.iter().any(|&t| t > 0) as usize];
        let values = Values { what: "X", matrix: &matrix };
        let input = Slices { values, batch, names, places: places.view(), edges: None };
        params.fit(input, &mut Ctx::new(Seed(1), &mut ())).unwrap()
    }

    fn paper() -> Popari {
        let alone = Amount::Of(0.0);
        Popari {
            k: 5,
            graph: Rule::Grid,
            max_steps: 1,
            neighbor_weight: alone,
            ..Popari::preset("paper").unwrap()
        }
    }

    #[test]
    fn columns_on_the_simplex_never_raise_the_error_of_a_slice() {
        let s = MsrtDesign { side: 8, ..MsrtDesign::default() }.sample(Seed(3)).unwrap();
        let one: Vec<usize> = (0..64).collect();
        let (y, places) = (s.y.select(ndarray::Axis(0), &one), s.places.select(ndarray::Axis(0), &one));
        for init in [Init::Signed, Init::Svd, Init::Kmeans, Init::Leiden, Init::Random] {
            let found = fit(&Popari { nmf_steps: 30, init, ..paper() }, &y, &places, &[0; 64]);
            let error = &found.objective[..30];
            assert!(error.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-9)), "{init}: {error:?}");
            assert!(error[29] < 0.9 * error[0], "{init}: {error:?}");
        }
    }

    #[test]
    fn the_start_of_the_program_depends_on_units_and_the_default_does_not() {
        let s = MsrtDesign { side: 8, ..MsrtDesign::default() }.sample(Seed(4)).unwrap();
        let batch: Vec<u32> = s.batch.iter().map(|&t| t as u32).collect();
        let moved = |params: &Popari| {
            let z = [1.0, 16.0].map(|unit| fit(params, &(unit * &s.y), &s.places, &batch).mixtures());
            (&z[0] - &z[1]).iter().fold(0.0, |m: f64, d| m.max(d.abs()))
        };
        let (program, default) = (moved(&paper()), moved(&Popari { init: Init::Svd, ..paper() }));
        assert!(program > 0.01 && default < 1e-6, "{program} {default}");
    }

    #[test]
    fn metagenes_of_a_slice_are_found_and_drawn_to_their_mean() {
        let s = MsrtDesign { side: 10, sigma: 0.0, ..MsrtDesign::default() }.sample(Seed(5)).unwrap();
        let batch: Vec<u32> = s.batch.iter().map(|&t| t as u32).collect();
        // Some genes are read at three times their value in the second slice.
        let mut y = s.y.clone();
        let strong: Vec<usize> = (0..y.ncols()).step_by(7).collect();
        for (mut row, _) in y.rows_mut().into_iter().zip(&batch).filter(|(_, t)| **t == 1) {
            strong.iter().for_each(|&g| row[g] *= 3.0);
        }
        let with = |metagenes, lambda_metagenes| {
            let params = Popari { k: 6, graph: Rule::Grid, metagenes, lambda_metagenes, ..Popari::default() };
            fit(&params, &y, &s.places, &batch)
        };
        let shared = with(Sharing::Shared, 1.0);
        assert!(shared.own_metagenes.is_empty());
        let apart = with(Sharing::Differential, 0.1);
        assert_eq!(apart.own_metagenes.len(), 2);
        let mean = (&apart.own_metagenes[0] + &apart.own_metagenes[1]) / 2.0;
        assert!((&mean - &apart.metagenes).iter().all(|d| d.abs() < 1e-12));
        for m in &apart.own_metagenes {
            assert!(
                m.columns().into_iter().all(|c| (c.sum() - 1.0).abs() < 1e-9 && c.iter().all(|v| *v >= 0.0))
            );
        }
        // What a slice says of itself fits it better, the more the less it is held, and differs where genes were changed. (Much of the change is in
        // metagenes that one slice alone uses.)
        let last = |fit: &TissueFit| *fit.objective.last().unwrap();
        let half = with(Sharing::Differential, 1.0);
        let errors = [&apart, &half, &shared].map(last);
        assert!(errors[0] < 0.95 * errors[1] && errors[1] < 0.95 * errors[2], "{errors:?}");
        let part = |m: &Array2<f64>| strong.iter().map(|&g| m.row(g).sum()).sum::<f64>() / m.sum();
        let ratio = |fit: &TissueFit| part(&fit.own_metagenes[1]) / part(&fit.own_metagenes[0]);
        assert!(ratio(&apart) > ratio(&half) && ratio(&half) > 1.01, "{} {}", ratio(&apart), ratio(&half));
        // A large weight leaves no difference.
        let held = with(Sharing::Differential, 1e6);
        let gap =
            (&held.own_metagenes[0] - &held.own_metagenes[1]).iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        assert!(gap < 1e-4, "{gap}");
    }

    #[test]
    fn communities_are_a_start_of_as_many_metagenes_as_asked() {
        let s = MsrtDesign { side: 10, sigma: 0.0, ..MsrtDesign::default() }.sample(Seed(6)).unwrap();
        let batch: Vec<u32> = s.batch.iter().map(|&t| t as u32).collect();
        let of = |k, cells: usize| {
            let params =
                Popari { k, init: Init::Leiden, graph: Rule::Grid, max_steps: 2, ..Popari::default() };
            let matrix = Matrix::Dense(s.y.slice(ndarray::s![..cells, ..]).to_owned());
            let names = ["a", "b"].map(String::from);
            let names = &names[..1 + usize::from(cells > 100)];
            let values = Values { what: "X", matrix: &matrix };
            let places = s.places.slice(ndarray::s![..cells, ..]);
            let input = Slices { values, batch: &batch[..cells], names, places, edges: None };
            params.fit(input, &mut Ctx::new(Seed(1), &mut ()))
        };
        let fit = of(6, 200).unwrap();
        assert_eq!(fit.metagenes.ncols(), 6);
        assert!(
            fit.objective.windows(2).take(50).all(|w| w[1] <= w[0] * (1.0 + 1e-6)),
            "{:?}",
            fit.objective
        );
        // Among twelve cells every two are neighbours: one community, or each cell its own.
        let why = of(5, 12).unwrap_err().to_string();
        assert!(why.contains("5 communities of cells") && why.contains("init=svd"), "{why}");
    }
}
