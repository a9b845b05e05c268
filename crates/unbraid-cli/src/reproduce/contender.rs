//! The methods of a comparison as data: a name, a colour, and what to type for it.

use unbraid::Seed;
use unbraid::data::{Annotations, Dataset, Selection};
use unbraid::fit::{Ctx, Stop};

use crate::fault::Fault;
use crate::methods::{self, Plan};
use crate::set::Settings;
use crate::watch::UntilInterrupted;

/// One way to a network, as `unbraid fit METHOD --set …` would make it.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// As typed.
    pub method: &'static str,
    /// What `--set` gets.
    pub set: &'static [&'static str],
}

/// What came of a fit.
pub struct Fitted {
    /// Under the key [`KEY`].
    pub annotations: Annotations,
    /// Rows and columns of the table that took part.
    pub chosen: Selection,
    /// How the iteration ended.
    pub stop: Option<Stop>,
    /// Sweeps it took.
    pub sweeps: usize,
}

/// Key of the annotations.
pub const KEY: &str = "fit";

impl Fit {
    /// The parameters, `more` on top.
    ///
    /// # Errors
    /// A setting that the method does not know.
    pub fn plan(&self, more: &[String]) -> Result<Box<dyn Plan>, Fault> {
        let entry = methods::ALL.iter().find(|m| m.name == self.method);
        let entry = entry.ok_or_else(|| Fault::Usage(format!("no method {}", self.method)))?;
        let set: Vec<String> = self.set.iter().map(|s| s.to_string()).chain(more.iter().cloned()).collect();
        (entry.plan)(Settings::new(None, &set)?)
    }

    /// What is typed after `unbraid fit`.
    pub fn typed(&self, more: &[String]) -> String {
        let set = self.set.iter().map(|s| s.to_string()).chain(more.iter().cloned());
        set.fold(self.method.to_owned(), |text, s| format!("{text} --set {s}"))
    }

    /// Prepares the table as the method asks, and fits.
    ///
    /// # Errors
    /// What the method or its preparation refuses, with the name of the data.
    pub fn run(&self, data: &Dataset, more: &[String], seed: Seed) -> Result<Fitted, Fault> {
        let plan = self.plan(more)?;
        let (prepared, chosen) =
            plan.prepare().apply(data, &mut Vec::new()).map_err(|e| Fault::on(data, e))?;
        let mut observer = UntilInterrupted;
        let mut ctx = Ctx::new(seed, &mut observer);
        ctx.max_memory = Some(unbraid_io::available_memory());
        let done = plan
            .fit(std::slice::from_ref(&prepared), KEY, &mut ctx, None)
            .map_err(|e| Fault::on(&prepared, e))?;
        Ok(Fitted { annotations: done.annotations, chosen, stop: done.stop, sweeps: done.objective.len() })
    }
}
