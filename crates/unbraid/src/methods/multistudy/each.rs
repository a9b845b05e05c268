//! A sparse autoencoder for each study alone, then merged: the baseline that does with the data of one study at a time what
//! MSSVAE does with all at once.
//!
//! The model of [`super`] with one study has no shared part: all K_S + K_m columns of W are the study's own. After M fits, with
//! networks of their own, columns with the same support in all studies are one shared factor, as the proof of Theorem 2 of
//! `moran2026` makes them ([`super::merge`]), and the rest are the studies' own.
//!
//! | result                   | shape     | meaning                                                       |
//! |--------------------------|-----------|---------------------------------------------------------------|
//! | `varm["<key>_loadings"]` | G × F     | weights of the factors                                        |
//! | `obsm["X_<key>"]`        | N × F     | μ of each sample; 0 in the factors of other studies           |
//! | `uns["<key>"]`           |           | `factors`, a table with the study of each (or `shared`); objective |
//!
//! The parameters are those of [`Mssvae`]; `merge` is always on, `promote` and `anchors` are not read.

use ndarray::{Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};

use super::factor_table;
use super::merge::{self, Part};
use super::mssvae::train::{Problem, State as OfStudy};
use super::mssvae::{Mssvae, MssvaeFit};
use super::studies::Studies;
use crate::data::{Annotations, Matrix, Slot, Value, Values};
use crate::error::Result;
use crate::fit::{Annotate, Course, Ctx, Draw, Iterate, Method, Seed, Step, Stop, StopRule, drive};
use crate::params::{ParamDoc, Params};

/// One sparse autoencoder per study, then merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SvaeMerge(pub Mssvae);

impl Params for SvaeMerge {
    const DOCS: &'static [ParamDoc] = Mssvae::DOCS;

    fn preset(name: &str) -> Option<SvaeMerge> {
        Mssvae::preset(name).map(|p| SvaeMerge(Mssvae { merge: true, ..p }))
    }
}

/// The merged factors of all studies.
#[derive(Clone, Debug)]
pub struct SvaeMergeFit {
    /// The fit of each study by itself.
    pub each: Vec<MssvaeFit>,
    /// The factors, made of the columns of all studies side by side.
    pub parts: Vec<Part>,
    /// Names of the studies.
    pub studies: Vec<String>,
    /// Scores of the columns of all studies side by side, N × M K; 0 in the columns of other studies.
    pub latents: Array2<f64>,
    /// |w| above which a feature is in a factor's set.
    pub threshold: f64,
    /// Loss of each epoch, one study after the other.
    pub objective: Vec<f64>,
    /// How the last fit ended.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl SvaeMergeFit {
    /// Weights of the factors, G × F.
    pub fn mask(&self) -> Array2<f64> {
        merge::mask(&self.parts, self.each.first().map_or(0, |fit| fit.network.decoder.features()))
    }

    /// The study of each factor; `None` for a shared one.
    pub fn owners(&self) -> Vec<Option<usize>> {
        self.parts.iter().map(|p| p.owner).collect()
    }

    /// Scores of the samples, N × F; 0 in the factors of other studies.
    pub fn codes(&self) -> Array2<f64> {
        merge::codes(&self.parts, self.latents.view())
    }
}

/// The fits of all studies, of which those before the one at work are done.
struct Each<'a> {
    problems: Vec<Problem<'a>>,
    epochs: usize,
}

#[derive(Serialize, Deserialize)]
struct State {
    studies: Vec<OfStudy>,
    /// Loss of each epoch of each study.
    losses: Vec<Vec<f64>>,
}

impl Iterate for Each<'_> {
    type State = State;

    fn start(&self, seed: Seed) -> Result<State> {
        let one = |(m, p): (usize, &Problem<'_>)| p.start(seed.child(Draw::Restart, m as u64));
        let studies = self.problems.iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
        Ok(State { losses: vec![Vec::new(); studies.len()], studies })
    }

    /// A step of the first study that is not done.
    fn step(&self, s: &mut State) -> Result<Step> {
        let last = self.problems.len() - 1;
        let m = s.losses.iter().position(|l| l.len() < self.epochs).unwrap_or(last);
        let at = self.problems[m].step(&mut s.studies[m])?;
        if let Step::Sweep(loss) = at {
            s.losses[m].push(loss);
        }
        Ok(at)
    }

    /// As for one study: the schedule is the rule.
    fn converged(&self, _: &State, _: f64, _: &[f64]) -> bool {
        false
    }
}

impl Method for SvaeMerge {
    const NAME: &'static str = "svae-merge";
    type Input<'a> = Studies<'a>;
    type Fitted = SvaeMergeFit;

    fn validate(&self) -> Result<()> {
        self.0.validate()
    }

    fn run(&self, input: Studies<'_>, ctx: &mut Ctx<'_>) -> Result<SvaeMergeFit> {
        let samples = input.samples();
        // Copies and stubs are for the merge of all studies to judge.
        let alone = Mssvae {
            shared: 0,
            specific: self.0.shared + self.0.specific,
            merge: false,
            promote: false,
            min_support: 1,
            activity: 0.0,
            ..self.0.clone()
        };
        let largest = samples.iter().map(Vec::len).max().unwrap_or(0);
        let needs = alone.memory(largest, input.values.matrix.shape().1, 1) * samples.len() as u64;
        ctx.reserve(needs, "choose fewer features or smaller hidden layers")?;
        let tables: Vec<Matrix> = samples.iter().map(|at| input.values.matrix.rows(at)).collect();
        let one_study: Vec<Vec<u32>> = samples.iter().map(|at| vec![0; at.len()]).collect();
        let problems = (0..samples.len()).map(|m| {
            let values = Values { what: input.values.what, matrix: &tables[m] };
            Problem::new(&alone, &Studies { values, study: &one_study[m], names: &input.names[m..=m] })
        });
        let each = Each { problems: problems.collect::<Result<_>>()?, epochs: alone.epochs };
        let rule = StopRule { max_steps: samples.len() * alone.epochs, tol: 0.0 };
        let (course, stop) = drive(&each, rule, ctx)?;
        self.finish(&each, course, stop, &input, ctx)
    }
}

impl SvaeMerge {
    fn finish(
        &self,
        each: &Each<'_>,
        course: Course<State>,
        stop: Stop,
        input: &Studies<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Result<SvaeMergeFit> {
        let p = &self.0;
        let State { studies, losses } = course.state;
        let fits = each.problems.iter().zip(studies.into_iter().zip(losses));
        let fits = fits
            .map(|(problem, (state, objective))| problem.finish(Course { state, objective }, stop, ctx))
            .collect::<Result<Vec<MssvaeFit>>>()?;
        let width = p.shared + p.specific;
        let mut latents = Array2::zeros((input.study.len(), fits.len() * width));
        let mut weights = Vec::with_capacity(fits.len());
        for (m, (fit, samples)) in fits.iter().zip(input.samples()).enumerate() {
            let columns = m * width..(m + 1) * width;
            for (row, i) in samples.into_iter().enumerate() {
                latents.slice_mut(s![i, columns.clone()]).assign(&fit.latents.row(row));
            }
            weights.push(fit.weights());
        }
        let views: Vec<_> = weights.iter().map(|w| w.view()).collect();
        // All have a row for each feature.
        let weights = concatenate(Axis(1), &views).unwrap_or_default();
        let owners: Vec<Option<usize>> = (0..fits.len() * width).map(|k| Some(k / width)).collect();
        let mut parts = merge::parts(weights.view(), &owners)?;
        merge::merge(&mut parts, fits.len(), p.threshold, p.tau);
        merge::drop_stubs(&mut parts, p.threshold, p.min_support);
        merge::drop_idle(&mut parts, latents.view(), &input.samples(), p.activity);
        merge::orient(&mut parts);
        Ok(SvaeMergeFit {
            each: fits,
            parts,
            studies: input.names.to_vec(),
            latents,
            threshold: p.threshold,
            objective: course.objective,
            stop,
            warnings: ctx.warnings.clone(),
        })
    }
}

impl Annotate for SvaeMergeFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        out.varm.insert(format!("{key}_loadings"), Slot::F64(self.mask()));
        out.obsm.insert(format!("X_{key}"), Slot::F64(self.codes()));
        let sizes = self.parts.iter().map(|p| p.support(self.threshold).len());
        let table = factor_table(&self.owners(), &self.studies, sizes);
        let notes = out.notes(key);
        notes.insert("factors".into(), Value::Table(table));
        notes.insert("objective".into(), Value::Floats(self.objective.clone()));
        notes.insert("stop".into(), self.stop.name().into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::simulate::multistudy::gaussian::MultistudyDesign;

    fn fit(params: &SvaeMerge, ctx: &mut Ctx<'_>) -> Result<SvaeMergeFit, Error> {
        let design = MultistudyDesign {
            studies: 2,
            observations: 300,
            features: 60,
            shared: 3,
            specific: 1,
            noise: 0.05,
            ..Default::default()
        };
        let sample = design.sample(Seed(3))?;
        let matrix = Matrix::Dense(sample.x);
        let study: Vec<u32> = sample.study.iter().map(|m| *m as u32).collect();
        let names = ["a".to_owned(), "b".to_owned()];
        let values = Values { what: "X", matrix: &matrix };
        params.fit(Studies { values, study: &study, names: &names }, ctx)
    }

    fn small() -> SvaeMerge {
        let sizes =
            Mssvae { shared: 5, specific: 1, hidden: [16, 16], epochs: 600, batch: 100, ..Mssvae::default() };
        SvaeMerge(sizes)
    }

    #[test]
    fn factors_of_single_studies_become_shared_where_they_agree() {
        let found = fit(&small(), &mut Ctx::new(Seed(1), &mut ())).unwrap();
        assert_eq!((found.each.len(), found.objective.len()), (2, 1200));
        let owners = found.owners();
        assert!(owners.iter().filter(|o| o.is_none()).count() >= 2, "{owners:?}");
        // A shared factor is made of one column of each study, and has the scores of both.
        let codes = found.codes();
        for (f, part) in found.parts.iter().enumerate().filter(|(_, p)| p.owner.is_none()) {
            let of: Vec<usize> = part.from.iter().map(|(k, _)| k / 6).collect();
            assert_eq!(of, [0, 1]);
            assert!((0..600).filter(|&i| codes[[i, f]] != 0.0).count() > 590);
        }
        for (f, m) in owners.iter().enumerate().filter_map(|(f, o)| Some((f, (*o)?))) {
            assert!((0..600).all(|i| i / 300 == m || codes[[i, f]] == 0.0));
        }
        let sizes = found.parts.iter().map(|p| p.support(0.5).len());
        assert!(sizes.into_iter().all(|s| s >= 3));
    }

    #[test]
    fn what_one_study_does_not_say_is_refused_as_for_all() {
        let mut nobody = ();
        let mut ctx = Ctx::new(Seed(1), &mut nobody);
        let why = fit(&SvaeMerge(Mssvae { tau: 2.0, ..small().0 }), &mut ctx).unwrap_err();
        assert!(why.to_string().contains("tau"));
        ctx.max_memory = Some(1000);
        assert!(matches!(fit(&small(), &mut ctx), Err(Error::Memory { .. })));
    }
}
