//! The methods of a comparison as data: a name, a colour, and what to type for it.

use unbraid::Seed;
use unbraid::data::{Annotations, Csr, Dataset, Selection, Slot};
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

/// In a setting: the smaller side of the prepared table.
const SIDE: &str = "{side}";

/// Key of the annotations.
pub const KEY: &str = "fit";

impl Fit {
    /// The parameters, `more` on top.
    ///
    /// # Errors
    /// A setting that the method does not know.
    pub fn plan(&self, more: &[String]) -> Result<Box<dyn Plan>, Fault> {
        self.plan_for(more, 0)
    }

    /// As [`plan`](Self::plan), with the smaller side of the prepared table for [`SIDE`].
    fn plan_for(&self, more: &[String], side: usize) -> Result<Box<dyn Plan>, Fault> {
        let entry = methods::ALL.iter().find(|m| m.name == self.method);
        let entry = entry.ok_or_else(|| Fault::Usage(format!("no method {}", self.method)))?;
        let set = self.set.iter().map(|s| s.replace(SIDE, &side.to_string()));
        let set: Vec<String> = set.chain(more.iter().cloned()).collect();
        (entry.plan)(Settings::new(None, &set)?)
    }

    /// What is typed after `unbraid fit`.
    pub fn typed(&self, more: &[String]) -> String {
        let set = self.set.iter().map(|s| s.replace(SIDE, "CELLS")).chain(more.iter().cloned());
        set.fold(self.method.to_owned(), |text, s| format!("{text} --set {s}"))
    }

    /// Prepares the table as the method asks, and fits.
    ///
    /// # Errors
    /// What the method or its preparation refuses, with the name of the data.
    pub fn run(&self, data: &Dataset, more: &[String], seed: Seed) -> Result<Fitted, Fault> {
        let mut plan = self.plan(more)?;
        let (prepared, chosen) =
            plan.prepare().apply(data, &mut Vec::new()).map_err(|e| Fault::on(data, e))?;
        let (n, m) = prepared.shape();
        if self.set.iter().any(|s| s.contains(SIDE)) {
            plan = self.plan_for(more, n.min(m))?;
        }
        let mut observer = UntilInterrupted;
        let mut ctx = Ctx::new(seed, &mut observer);
        ctx.max_memory = Some(unbraid_io::available_memory());
        let done = plan
            .fit(std::slice::from_ref(&prepared), KEY, &mut ctx, None)
            .map_err(|e| Fault::on(&prepared, e))?;
        Ok(Fitted { annotations: done.annotations, chosen, stop: done.stop, sweeps: done.steps })
    }
}

impl Fitted {
    /// The kept signed entries of the precision of the observations, in an `n` × `n` matrix of all of
    /// them; those that took no part have no edge. `None` for a dense precision.
    pub fn observations(&self, n: usize) -> Option<Csr> {
        let Slot::Csr(kept) = self.annotations.obsp.get(&format!("{KEY}_precision"))? else { return None };
        Some(placed(kept, self.chosen.obs.as_deref(), n))
    }

    /// The same of the features.
    pub fn features(&self, n: usize) -> Option<Csr> {
        let Slot::Csr(kept) = self.annotations.varp.get(&format!("{KEY}_precision"))? else { return None };
        Some(placed(kept, self.chosen.var.as_deref(), n))
    }
}

/// Whether a method refused the data, which is a result about the method. Too little memory is none: it
/// says something about the machine.
pub fn is_about_data(why: &Fault) -> bool {
    use unbraid::Error as E;
    match why {
        Fault::Core { source, .. } => {
            matches!(
                source,
                E::Shape { .. } | E::Value { .. } | E::Line { .. } | E::Missing { .. } | E::Param { .. }
            )
        }
        _ => false,
    }
}

/// Entries at the places they had before a choice of rows.
fn placed(kept: &Csr, chosen: Option<&[usize]>, n: usize) -> Csr {
    match chosen {
        None => kept.clone(),
        Some(at) => {
            let entries = kept.entries().map(|(i, j, v)| (at[i] as u32, at[j] as u32, v));
            Csr::from_triplets((n, n), entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_back_to_their_places() {
        let kept = Csr::from_triplets((2, 2), vec![(0, 1, -0.5), (1, 0, -0.5)]);
        let all: Vec<_> = placed(&kept, Some(&[1, 3]), 4).entries().collect();
        assert_eq!(all, [(1, 3, -0.5), (3, 1, -0.5)]);
        assert_eq!(placed(&kept, None, 2), kept);
    }

    #[test]
    fn too_little_memory_is_no_result() {
        let line = unbraid::Error::Shape { what: "X".into(), found: vec![0], rule: "more" };
        let memory = unbraid::Error::Memory { needs: 2, cap: 1, hint: "wait" };
        assert!(is_about_data(&line.into()) && !is_about_data(&memory.into()));
        assert!(!is_about_data(&Fault::Usage("x".into())));
    }

    #[test]
    fn the_smaller_side_is_filled_in() {
        let fit = Fit { method: "gmgm", set: &["n_comps={side}", "keep=top:3"] };
        let design = unbraid::simulate::kronecker::KroneckerDesign {
            observations: 12,
            features: 9,
            ..Default::default()
        };
        let (data, _) = design.dataset(Seed(0)).unwrap();
        let fitted = fit.run(&data, &[], Seed(0)).unwrap();
        assert_eq!(fitted.observations(12).unwrap().shape(), (12, 12));
        assert_eq!(fitted.features(9).unwrap().shape(), (9, 9));
        assert_eq!(fit.typed(&["x=1".into()]), "gmgm --set n_comps=CELLS --set keep=top:3 --set x=1");
    }
}
