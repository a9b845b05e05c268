//! `--set group=COLUMN`: affinities of two groups of slices compared.

use ndarray::Array2;
use unbraid::data::{Dataset, Value};
use unbraid::error::{Error, Result};
use unbraid::fit::Seed;
use unbraid::methods::spatial::contrast::{Contrast, contrast};
use unbraid::methods::spatial::fit::TissueFit;
use unbraid::methods::spatial::neighbours::Neighbours;

use super::studies::{Asked, Levels, levels};

/// Chance of any false pair below which a pair is told.
const TOLD: f64 = 0.05;

/// Two groups of slices.
pub struct Groups {
    /// Their names.
    pub names: [String; 2],
    /// Whether a slice is of the second.
    second: Vec<bool>,
}

impl Groups {
    /// From a column of obs; every slice is of one group.
    ///
    /// # Errors
    /// A column that is not there, has not two values, or differs within a slice.
    pub fn read(table: &Dataset, column: &str, batches: &Levels) -> Result<Groups> {
        let what = format!("obs[{column:?}]");
        let Levels { codes, names } = levels(table, column, Asked::Groups)?;
        let Ok([first, second]) = <[String; 2]>::try_from(names.clone()) else {
            let what = format!("two groups of slices ({what} has {})", names.join(", "));
            return Err(Error::Missing {
                what,
                hint: "`--set group=COLUMN` names a column with two values".into(),
            });
        };
        let mut of = vec![None; batches.names.len()];
        for (&t, &code) in batches.codes.iter().zip(&codes) {
            if *of[t as usize].get_or_insert(code) != code {
                let what =
                    format!("one group of slice `{}` ({what} has two there)", batches.names[t as usize]);
                let hint = "slices are what is compared; give every cell of a slice the same group".into();
                return Err(Error::Missing { what, hint });
            }
        }
        Ok(Groups { names: [first, second], second: of.iter().map(|g| *g == Some(1)).collect() })
    }

    /// The comparison at the mixtures of a fit.
    ///
    /// # Errors
    /// Too few slices.
    pub fn compare(
        &self,
        fit: &TissueFit,
        mixtures: &Array2<f64>,
        neighbours: &Neighbours,
        ridge: f64,
        seed: Seed,
    ) -> Result<Contrast> {
        let mut cells = vec![Vec::new(); fit.batches.len()];
        fit.batch.iter().enumerate().for_each(|(i, &t)| cells[t].push(i));
        contrast(mixtures, neighbours, &cells, &self.second, ridge, seed)
    }

    /// What goes into the file.
    pub fn note(&self, found: &Contrast) -> Value {
        let fields = [
            ("groups", Value::Texts(self.names.to_vec())),
            ("difference", Value::Matrix(found.difference())),
            ("p", Value::Matrix(found.p.clone())),
            ("family", Value::Matrix(found.family.clone())),
            ("partitions", (found.partitions as i64).into()),
        ];
        Value::Map(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// What is said of it.
    pub fn said(&self, found: &Contrast) -> Vec<String> {
        let [first, second] = &self.names;
        let (difference, k) = (found.difference(), found.p.nrows());
        let mut pairs: Vec<(usize, usize)> = (0..k).flat_map(|b| (0..=b).map(move |a| (a, b))).collect();
        pairs.sort_by(|x, y| found.family[[x.0, x.1]].total_cmp(&found.family[[y.0, y.1]]));
        let told: Vec<String> = pairs
            .iter()
            .filter(|at| found.family[[at.0, at.1]] < TOLD)
            .map(|&(a, b)| {
                let (less, more) = if difference[[a, b]] > 0.0 { (first, second) } else { (second, first) };
                let (p, family) = (found.p[[a, b]], found.family[[a, b]]);
                format!(
                    "metagenes {} and {} meet less in {less} than in {more} (p {p:.3}, among all pairs {family:.3})",
                    a + 1,
                    b + 1
                )
            })
            .collect();
        let least = 1.0 / found.partitions as f64;
        match told.is_empty() {
            true => vec![format!(
                "no pair of metagenes meets differently in {first} and {second} by {} partitions of the slices (the least p there can be is {least:.3})",
                found.partitions
            )],
            false => told,
        }
    }
}
