//! One axis at a time: the pseudo-inverse of each Gram matrix, the baseline of the Kronecker-sum models.
//!
//! ```text
//! Ψ1 = pinv(X Xᵀ),   Ψ2 = pinv(Xᵀ X)
//! ```
//!
//! Eigenvalues at or below `rcond` times the largest count as zero, NumPy's rule for `pinv`.
//!
//! | symbol | shape | meaning                       | field |
//! |--------|-------|-------------------------------|-------|
//! | X      | n × m | values, observations in rows  | input |
//! | Ψ1     | n × n | precision of the observations | `obs` |
//! | Ψ2     | m × m | precision of the features     | `var` |
//!
//! The published comparison scores |Ψ|; the precision here keeps its signs, graphs use |Ψ|.

use ndarray::{Array2, ArrayView2};

use super::common::{Network, Precision, annotate_network};
use crate::data::{Annotations, Value, Values};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Method};
use crate::graph::edges::{Keep, Rule, Significance};
use crate::linalg::{eigh, gram};
use crate::params::{ParamDoc, Params};

crate::params! {
    /// Parameters of the single-axis baseline.
    pub struct SingleAxis {
        /// Eigenvalues at or below this share of the largest count as zero; 0 ≤ rcond < 1. NumPy's rule.
        /// Default 1e-7, the published value for real data: with NumPy's own 1e-15 the directions that
        /// rounding makes up dominate a Gram matrix of deficient rank.
        pub rcond: f64 = 1e-7,
        /// Which entries of a precision are kept; see `gmgm`. Default top:10.
        pub keep: Keep = Keep::default(),
    }
}

impl Params for SingleAxis {
    const DOCS: &'static [ParamDoc] = SingleAxis::FIELDS;

    /// `paper`: NumPy's default threshold and the whole precision.
    fn preset(name: &str) -> Option<SingleAxis> {
        (name == "paper").then(|| SingleAxis { rcond: 1e-15, keep: Rule::Dense.into() })
    }
}

/// Pseudo-inverses of both Gram matrices.
#[derive(Clone, Debug)]
pub struct SingleAxisFit {
    /// pinv(X Xᵀ).
    pub obs: Network,
    /// pinv(Xᵀ X).
    pub var: Network,
    /// Ranks found for the two.
    pub ranks: (usize, usize),
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Pseudo-inverse of a symmetric matrix and its rank; eigenvalues of size at most `rcond` times the
/// largest count as zero.
///
/// # Errors
/// [`Error::Numeric`] when the eigendecomposition does not converge.
pub fn pinv(symmetric: ArrayView2<'_, f64>, rcond: f64) -> Result<(Array2<f64>, usize)> {
    let e = eigh(symmetric)?;
    let cut = rcond * e.values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let inverse: Vec<f64> = e.values.iter().map(|&v| if v.abs() > cut { 1.0 / v } else { 0.0 }).collect();
    let rank = inverse.iter().filter(|v| **v != 0.0).count();
    Ok((e.recompose(&inverse), rank))
}

impl Method for SingleAxis {
    const NAME: &'static str = "single-axis";
    type Input<'a> = Values<'a>;
    type Fitted = SingleAxisFit;

    fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.rcond) {
            let found = self.rcond.to_string();
            return Err(Error::Param { name: "rcond", found, rule: "at least 0 and less than 1" });
        }
        self.keep.validate()
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<SingleAxisFit> {
        let (n, m) = input.matrix.shape();
        ctx.reserve(8 * (5 * (n * n + m * m) + 2 * n * m) as u64, "choose fewer features")?;
        let x = input.matrix.to_dense();
        let network = |rows: ArrayView2<'_, f64>| -> Result<(Network, usize)> {
            let (psi, rank) = pinv(gram(rows).view(), self.rcond)?;
            let significance = Significance::of_matrix(rows.nrows(), rows.ncols());
            Ok((Network::new(Precision::Dense(psi), &self.keep, Some(&significance))?, rank))
        };
        let (obs, of_obs) = network(x.view())?;
        let (var, of_var) = network(x.t())?;
        if of_obs == 0 {
            ctx.warn("All values are zero, so both precisions are zero and have no edge.");
        }
        Ok(SingleAxisFit { obs, var, ranks: (of_obs, of_var), warnings: ctx.warnings.clone() })
    }
}

impl Annotate for SingleAxisFit {
    fn annotate(&self, key: &str, out: &mut Annotations) {
        annotate_network(&mut out.obsp, &mut out.uns, key, &self.obs);
        annotate_network(&mut out.varp, &mut out.uns, key, &self.var);
        let rank = |r: usize| Value::Int(i64::try_from(r).unwrap_or(i64::MAX));
        let notes = out.notes(key);
        notes.insert("obs_rank".into(), rank(self.ranks.0));
        notes.insert("var_rank".into(), rank(self.ranks.1));
        notes.insert("stop".into(), "converged".into());
        notes.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Matrix;
    use crate::fit::Seed;
    use ndarray::array;

    #[test]
    fn pseudo_inverse_meets_the_penrose_conditions() {
        let x = array![[1.0, 2.0, 0.0], [0.5, -1.0, 3.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]];
        let s = gram(x.view());
        let (p, rank) = pinv(s.view(), 1e-10).unwrap();
        assert_eq!(rank, 3);
        let near = |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().all(|v| v.abs() < 1e-9);
        assert!(near(&s.dot(&p).dot(&s), &s));
        assert!(near(&p.dot(&s).dot(&p), &p));
        assert_eq!(p, p.t());
        assert!(near(&s.dot(&p), &s.dot(&p).t().to_owned()));
    }

    #[test]
    fn the_fit_inverts_both_grams_and_names_a_bad_parameter() {
        let x = array![[1.0, 2.0, 0.3], [0.5, -1.0, 3.0]];
        let matrix = Matrix::Dense(x.clone());
        let values = Values { what: "X", matrix: &matrix };
        let method = SingleAxis { keep: Rule::Dense.into(), ..SingleAxis::default() };
        let fit = method.fit(values, &mut Ctx::new(Seed(0), &mut ())).unwrap();
        let identity = fit.obs.precision.to_dense().dot(&x).dot(&x.t());
        assert!((identity - Array2::<f64>::eye(2)).iter().all(|v| v.abs() < 1e-12));
        assert_eq!(fit.ranks, (2, 2));
        let mut out = Annotations::default();
        fit.annotate("s", &mut out);
        assert_eq!(out.varp["s_precision"].shape(), (3, 3));
        let bad = SingleAxis { rcond: f64::NAN, ..method };
        assert!(
            bad.fit(values, &mut Ctx::new(Seed(0), &mut ())).unwrap_err().to_string().contains("`rcond`")
        );
    }
}
