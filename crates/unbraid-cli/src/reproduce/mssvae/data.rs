//! The two simulations.

use serde_json::Value;
use unbraid::Seed;
use unbraid::simulate::multistudy::MultistudySample;
use unbraid::simulate::multistudy::gaussian::MultistudyDesign;
use unbraid::simulate::multistudy::rna::MultistudyRnaDesign;

use super::Design;
use crate::fault::Fault;
use crate::set::listed;

/// Number of studies in both simulations.
pub const STUDIES: usize = 3;

/// A simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    Gaussian,
    Rna,
}

impl Data {
    /// In file names and after `unbraid simulate`.
    pub fn name(self) -> &'static str {
        match self {
            Data::Gaussian => "gaussian",
            Data::Rna => "rna",
        }
    }

    /// Number of data sets.
    pub fn seeds(self, design: &Design) -> usize {
        match self {
            Data::Gaussian => design.seeds,
            Data::Rna => design.rna_seeds,
        }
    }

    /// The data of a seed.
    ///
    /// # Errors
    /// What the simulation refuses.
    pub fn simulated(self, design: &Design, seed: u64) -> Result<MultistudySample, Fault> {
        Ok(match self {
            Data::Gaussian => gaussian(design).sample(Seed(seed))?,
            Data::Rna => rna(design).sample(Seed(seed))?,
        })
    }

    /// Numbers of factors in truth: of all studies, and of each.
    pub fn numbers(self, design: &Design) -> (usize, usize) {
        match self {
            Data::Gaussian => (gaussian(design).shared, gaussian(design).specific),
            Data::Rna => (rna(design).shared, rna(design).specific),
        }
    }

    /// The parameters of the simulation.
    pub fn listed(self, design: &Design) -> serde_json::Map<String, Value> {
        match self {
            Data::Gaussian => listed(&gaussian(design)),
            Data::Rna => listed(&rna(design)),
        }
    }

    /// Refuses what the simulation would.
    ///
    /// # Errors
    /// The first size that is out of range.
    pub fn validate(self, design: &Design) -> Result<(), Fault> {
        match self {
            Data::Gaussian => gaussian(design).validate()?,
            Data::Rna => rna(design).validate()?,
        }
        Ok(())
    }
}

fn gaussian(design: &Design) -> MultistudyDesign {
    let &Design { observations, features, .. } = design;
    MultistudyDesign { studies: STUDIES, observations, features, ..MultistudyDesign::default() }
}

fn rna(design: &Design) -> MultistudyRnaDesign {
    let &Design { rna_observations: observations, rna_features: features, .. } = design;
    MultistudyRnaDesign { studies: STUDIES, observations, features, ..MultistudyRnaDesign::default() }
}
