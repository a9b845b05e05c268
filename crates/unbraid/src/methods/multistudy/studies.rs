//! A table whose samples belong to studies.

use sha2::{Digest, Sha256};

use crate::data::Values;
use crate::error::{Error, Result};
use crate::fit::Check;

/// Samples × features, and the study of each sample.
#[derive(Clone, Copy, Debug)]
pub struct Studies<'a> {
    /// Samples × features.
    pub values: Values<'a>,
    /// Study of each sample, an index of `names`.
    pub study: &'a [u32],
    /// Names of the studies.
    pub names: &'a [String],
}

impl Studies<'_> {
    /// Samples of each study, ascending.
    pub fn samples(&self) -> Vec<Vec<usize>> {
        let mut samples = vec![Vec::new(); self.names.len()];
        for (i, &m) in self.study.iter().enumerate() {
            if let Some(of) = samples.get_mut(m as usize) {
                of.push(i);
            }
        }
        samples
    }
}

impl Studies<'_> {
    /// Features with the same value in all samples, ascending.
    pub fn constant(&self) -> Vec<usize> {
        let (n, features) = self.values.matrix.shape();
        // Number of entries that are not 0, their smallest and largest.
        let mut seen = vec![(0usize, f64::INFINITY, f64::NEG_INFINITY); features];
        self.values.matrix.for_each_nonzero(|_, j, v| {
            let (count, low, high) = &mut seen[j];
            (*count, *low, *high) = (*count + 1, low.min(v), high.max(v));
        });
        let same = |(count, low, high): (usize, f64, f64)| count == 0 || (count == n && low == high);
        (0..features).filter(|&j| same(seen[j])).collect()
    }
}

impl Check for Studies<'_> {
    /// Finite values; at least two studies, each of at least two samples.
    fn check(&self) -> Result<()> {
        let (what, matrix) = (self.values.what, self.values.matrix);
        let (n, features) = matrix.shape();
        if n == 0 || features == 0 {
            return Err(Error::Shape {
                what: what.into(), found: vec![n, features], rule: "at least 1 × 1"
            });
        }
        if self.study.len() != n {
            let found = vec![self.study.len()];
            return Err(Error::Shape {
                what: "the column of studies".into(),
                found,
                rule: "one for each sample",
            });
        }
        if let Some(m) = self.study.iter().find(|m| **m as usize >= self.names.len()) {
            let what = format!("the name of study {m}");
            return Err(Error::Missing { what, hint: "name every study that occurs".into() });
        }
        let mut odd = None;
        matrix.for_each_nonzero(|i, j, v| {
            if odd.is_none() && !v.is_finite() {
                odd = Some(((i, j), v));
            }
        });
        if let Some((at, found)) = odd {
            return Err(Error::Value { what: what.into(), found, at, rule: "finite" });
        }
        if self.names.len() < 2 {
            let hint =
                "name the column of `obs` that tells studies apart; factors of one study need no shared part";
            return Err(Error::Missing { what: "a second study".into(), hint: hint.into() });
        }
        let small = self.samples().iter().position(|s| s.len() < 2);
        if let Some(m) = small {
            return Err(Error::Missing {
                what: format!("a second sample of study `{}`", self.names[m]),
                hint: "a study needs at least 2 samples; drop it or join it to another".into(),
            });
        }
        Ok(())
    }

    fn digest(&self, hash: &mut Sha256) {
        self.values.digest(hash);
        self.study.iter().for_each(|m| hash.update(m.to_le_bytes()));
    }
}
