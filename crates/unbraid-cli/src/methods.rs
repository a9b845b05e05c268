//! All methods behind one list: how each reads its input and what a person sees of its fit.

use std::time::Instant;

use unbraid::data::{Annotations, Dataset};
use unbraid::fit::{Annotate, Ctx, Method, Stop};
use unbraid::methods::kronecker::common::Network;
use unbraid::methods::kronecker::gmgm::{Gmgm, Tensors};
use unbraid::methods::kronecker::med_magma::{MedMagma, Rank};
use unbraid::methods::kronecker::single_axis::SingleAxis;
use unbraid::methods::kronecker::tyler::{self, Tyler};
use unbraid::params::{ParamDoc, Params};
use unbraid::preprocess::genes::Genes;
use unbraid::preprocess::prepare::{Prepare, Transform};
use unbraid::report::Parameter;

use crate::fault::Fault;
use crate::picture::Page;
use crate::set::{Settings, listed};

/// One method, with its types hidden.
pub struct Entry {
    /// As typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// A setting for the example in the help.
    pub example: &'static str,
    /// The parameters with their documentation.
    pub help: fn() -> String,
    /// Reads the parameters.
    pub plan: fn(Settings) -> Result<Box<dyn Plan>, Fault>,
}

/// All methods, in the order of the help.
pub const ALL: &[Entry] = &[entry::<MedMagma>(), entry::<Gmgm>(), entry::<SingleAxis>(), entry::<Tyler>()];

const fn entry<M: Shown>() -> Entry {
    Entry { name: M::NAME, about: M::ABOUT, example: M::EXAMPLE, help: help::<M>, plan: plan::<M> }
}

/// What the program adds to a method.
pub trait Shown: Method + Send + Sync + 'static {
    /// One line for the help.
    const ABOUT: &'static str;
    /// A setting for the example.
    const EXAMPLE: &'static str;
    /// Whether it reads several tables of the same observations.
    const JOINS: bool = false;
    /// The preparation unless the user says otherwise.
    fn prepare(&self) -> Prepare {
        Prepare::default()
    }
    /// The method's view of the tables, of which there is at least one.
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a>;
    /// What a person looks at.
    fn picture(fit: &Self::Fitted) -> Picture<'_>;
}

/// What a person looks at.
pub struct Picture<'a> {
    /// Objective after each sweep.
    pub objective: &'a [f64],
    /// Other traces by name.
    pub traces: Vec<(&'static str, Vec<f64>)>,
    /// How the fit ended; `None` for a direct method.
    pub stop: Option<Stop>,
    /// Networks by axis: `observations` or `features`.
    pub networks: Vec<(&'static str, &'a Network)>,
}

/// A fit after its types are gone.
pub struct Done {
    /// Slots for the output.
    pub annotations: Annotations,
    /// Wall-clock seconds of the fit alone.
    pub seconds: f64,
    /// Objective after each sweep.
    pub objective: Vec<f64>,
    /// How it ended.
    pub stop: Option<Stop>,
    /// Axis name, nodes and kept edges of each network.
    pub networks: Vec<(&'static str, usize, usize)>,
}

/// Parameters that are ready to fit.
pub trait Plan: Sync + Send {
    /// Name of the method.
    fn name(&self) -> &'static str;
    /// Whether it reads several tables.
    fn joins(&self) -> bool;
    /// The preparation before it.
    fn prepare(&self) -> &Prepare;
    /// All parameters, those of the preparation first.
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value>;
    /// The same with documentation, for the page.
    fn documented(&self) -> Vec<Parameter>;
    /// Fits and annotates under `key`; draws onto `page` where there is one.
    fn fit(
        &self,
        tables: &[Dataset],
        key: &str,
        ctx: &mut Ctx<'_>,
        page: Option<&mut Page>,
    ) -> Result<Done, unbraid::Error>;
}

struct Ready<M> {
    prepare: Prepare,
    params: M,
}

/// Parameters as help: a heading, the values, the documentation.
pub fn documented(parts: &[(&str, &serde_json::Map<String, serde_json::Value>, &[ParamDoc])]) -> String {
    let mut out = String::new();
    for (heading, values, docs) in parts {
        out += &format!("{heading}\n");
        for d in *docs {
            let value = match &values[d.name] {
                serde_json::Value::String(s) => s.clone(),
                other => other.to_string(),
            };
            out += &format!("  {} [{value}]\n", d.name);
            for line in wrap(d.doc, 92) {
                out += &format!("      {line}\n");
            }
        }
    }
    out
}

fn help<M: Shown>() -> String {
    let own = documented(&[(
        "Parameters for --set and --params, with their defaults:",
        &listed(&M::default()),
        M::DOCS,
    )]);
    let preset = match M::preset("paper") {
        Some(_) => {
            "  preset [default]\n      `paper` is the published algorithm; settings go on top of it.\n"
        }
        None => "",
    };
    own + preset
        + &documented(&[(
            "Preparation, the same for every method:",
            &listed(&M::default().prepare()),
            Prepare::DOCS,
        )])
}

/// Words into lines of at most `width`.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn plan<M: Shown>(mut settings: Settings) -> Result<Box<dyn Plan>, Fault> {
    let params: M = settings.take(true)?;
    let prepare: Prepare = settings.take_over(params.prepare())?;
    let known: Vec<&str> = M::DOCS.iter().chain(Prepare::DOCS).map(|d| d.name).chain(["preset"]).collect();
    settings.finish(&known)?;
    params.validate()?;
    Ok(Box::new(Ready { prepare, params }))
}

impl<M: Shown> Plan for Ready<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn joins(&self) -> bool {
        M::JOINS
    }
    fn prepare(&self) -> &Prepare {
        &self.prepare
    }
    fn parameters(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = listed(&self.prepare);
        all.extend(listed(&self.params));
        all
    }
    fn documented(&self) -> Vec<Parameter> {
        let mut all = Parameter::list(&self.params);
        all.extend(Parameter::list(&self.prepare));
        all
    }
    fn fit(
        &self,
        tables: &[Dataset],
        key: &str,
        ctx: &mut Ctx<'_>,
        page: Option<&mut Page>,
    ) -> Result<Done, unbraid::Error> {
        let begun = Instant::now();
        let fit = self.params.fit(self.params.input(tables), ctx)?;
        let seconds = begun.elapsed().as_secs_f64();
        let picture = M::picture(&fit);
        let mut annotations = Annotations::default();
        fit.annotate(key, &mut annotations);
        if let Some(page) = page {
            page.draw(&picture, tables)?;
        }
        let edges = |n: &Network| n.connectivities().nnz() / 2;
        Ok(Done {
            seconds,
            objective: picture.objective.to_vec(),
            stop: picture.stop,
            networks: picture
                .networks
                .iter()
                .map(|(name, n)| (*name, unbraid::graph::edges::SymmetricRows::side(&n.precision), edges(n)))
                .collect(),
            annotations,
        })
    }
}

impl Shown for MedMagma {
    const ABOUT: &'static str = "MED-MAGMA: cell and gene networks under unknown row and column magnitudes";
    const EXAMPLE: &'static str = "rank=20";
    /// Counts as for any other tool; the full mode reads the values as they are.
    fn prepare(&self) -> Prepare {
        match self.rank {
            Rank::Full => Prepare::default(),
            _ => Prepare { genes: Genes::Auto, transform: Transform::Auto, ..Prepare::default() },
        }
    }
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        tables[0].values()
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &fit.objective,
            traces: vec![("relative change of Ψ", fit.change.iter().map(|c| c[1]).collect())],
            stop: Some(fit.stop),
            networks: vec![("observations", &fit.networks[0]), ("features", &fit.networks[1])],
        }
    }
}

impl Shown for Gmgm {
    const ABOUT: &'static str = "GmGM: networks of all axes of one or several tables that share axes";
    const EXAMPLE: &'static str = "transform=log1p";
    const JOINS: bool = true;
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        match tables {
            [one] => Tensors::matrix(one.values()),
            several => Tensors::tables(several.iter().map(|t| (t.source.as_str(), t.values()))),
        }
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        let named = |axis: &str| if axis == "obs" { "observations" } else { "features" };
        Picture {
            objective: &fit.objective,
            traces: Vec::new(),
            stop: Some(fit.stop),
            networks: fit.axes.iter().map(|a| (named(&a.name), &a.network)).collect(),
        }
    }
}

impl Shown for SingleAxis {
    const ABOUT: &'static str = "Single axis: pseudo-inverses of both Gram matrices, the plain baseline";
    const EXAMPLE: &'static str = "rcond=1e-4";
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        tables[0].values()
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        Picture {
            objective: &[],
            traces: Vec::new(),
            stop: None,
            networks: vec![("observations", &fit.obs), ("features", &fit.var)],
        }
    }
}

impl Shown for Tyler {
    const ABOUT: &'static str = "Tyler's scatter: one axis, robust to the magnitude of every sample";
    const EXAMPLE: &'static str = "axis=var";
    fn input<'a>(&self, tables: &'a [Dataset]) -> Self::Input<'a> {
        tables[0].values()
    }
    fn picture(fit: &Self::Fitted) -> Picture<'_> {
        let axis = if fit.axis == tyler::Side::Obs { "observations" } else { "features" };
        Picture {
            objective: &fit.objective,
            traces: Vec::new(),
            stop: Some(fit.stop),
            networks: vec![(axis, &fit.network)],
        }
    }
}
