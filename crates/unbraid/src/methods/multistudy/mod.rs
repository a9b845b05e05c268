//! Factors shared by several studies and factors of one study, through a masked nonlinear decoder.
//!
//! ```text
//! z_i ~ N(0, I),   c_ij = w_j ∘ z_i over the columns of the study of sample i,
//! h₁ = relu(V₁ c),   h₂ = relu(V₂ h₁ + b₂),   o_ij = v_j · h₂ + skip_j(c) + b₃_j,
//! x_ij ~ N(o_ij, σ_j²)      or      x_ij ~ NB(mean ℓ_i softplus(o_ij), inverse dispersion φ_j),
//! w_jk ~ γ_jk Laplace(λ₁) + (1 − γ_jk) Laplace(λ₀),   γ_jk ~ Bernoulli(η_k),   η_k ~ Beta(a, b),   σ_j² ~ InverseGamma(α, β)
//! ```
//!
//! The decoder is one network for all features but its last row v_j, b₃_j; what tells features apart is the row w_j of the
//! mask W, mostly zeros: a column of W is the set of features that its factor moves. W has columns for all studies and
//! columns for each study ([`Columns`]); a column of another study is zero for a sample, so it is neither stored nor
//! multiplied. skip_j is v_j · P c (`projected`), u_j · c (`direct`) or nothing: the paper's v_j · (h₂ + c) fits no sizes it
//! uses, and these are the readings that do.
//!
//! | symbol | shape    | meaning                                             | field or module |
//! |--------|----------|-----------------------------------------------------|-----------------|
//! | W      | G × K    | mask; columns [all studies, study 0, study 1, …]     | `w`             |
//! | V₁     | H₁ × K   | first layer, no bias                                 | `v1`            |
//! | V₂, b₂ | H₂ × H₁  | second layer                                         | `v2`, `b2`      |
//! | v, b₃  | G × H₂   | last rows                                            | `v3`, `b3`      |
//! | P or u | H₂ × K or G × K | skip                                          | `skip`          |
//! | σ or φ | G        | noise, as its logarithm                              | [`likelihood`]  |
//! | E γ, η, λ* | G × K, K, G × K | expected membership, its rate, weight of \|w\| | [`ssl`]      |
//! | α, β, φ at the start, law of ℓ | | from the data                          | [`init`]        |
//!
//! Differs from the paper: signs of the penalty, of the KL term and the log σ of the likelihood are those of the model, the
//! encoders' second head is a log variance, and the moment estimator of φ has the square it needs. Moran and Krishnan
//! (2026): `moran2026`.

pub mod anchors;
pub mod coder;
pub mod concerns;
pub mod each;
pub mod elbo;
pub mod fused;
pub mod init;
pub mod likelihood;
pub mod linear;
pub mod merge;
pub mod mssvae;
pub mod network;
pub mod plain;
pub mod ssl;
pub mod studies;

use std::ops::Range;

use crate::data::{Column, Table};

/// What the study of a shared factor is called in tables.
pub const SHARED: &str = "shared";

/// A row for each factor: its study and the number of features in its set.
pub(crate) fn factor_table(
    owners: &[Option<usize>],
    studies: &[String],
    sizes: impl Iterator<Item = usize>,
) -> Table {
    let mut table = Table::numbered("", owners.len());
    let name = |o: &Option<usize>| Some(o.map_or_else(|| SHARED.to_owned(), |m| studies[m].clone()));
    table.columns = vec![
        ("study".into(), Column::Text(owners.iter().map(name).collect())),
        ("features".into(), Column::Int(sizes.map(|s| Some(s as i64)).collect())),
    ];
    table
}

/// Which columns of W belong to whom: the shared ones first, then each study's.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Columns {
    /// K_S.
    pub shared: usize,
    /// K_m of each study.
    pub specific: Vec<usize>,
}

impl Columns {
    /// K, all columns.
    pub fn total(&self) -> usize {
        self.shared + self.specific.iter().sum::<usize>()
    }

    /// The columns of study `m` alone.
    pub fn own(&self, m: usize) -> Range<usize> {
        let from = self.shared + self.specific[..m].iter().sum::<usize>();
        from..from + self.specific[m]
    }

    /// The study of each column; `None` for shared ones.
    pub fn owners(&self) -> Vec<Option<usize>> {
        let own = self.specific.iter().enumerate().flat_map(|(m, &k)| std::iter::repeat_n(Some(m), k));
        std::iter::repeat_n(None, self.shared).chain(own).collect()
    }

    /// The columns that a sample of study `m` uses.
    pub fn of(&self, m: usize) -> Vec<usize> {
        (0..self.shared).chain(self.own(m)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_each_other() {
        let columns = Columns { shared: 3, specific: vec![1, 2, 2] };
        assert_eq!(columns.total(), 8);
        assert_eq!(columns.of(0), [0, 1, 2, 3]);
        assert_eq!(columns.of(1), [0, 1, 2, 4, 5]);
        assert_eq!(columns.own(2), 6..8);
        let owners = [None, None, None, Some(0), Some(1), Some(1), Some(2), Some(2)];
        assert_eq!(columns.owners(), owners);
    }
}
