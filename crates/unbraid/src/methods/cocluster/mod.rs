//! Rows and columns of a table in clusters at once.
//!
//! The common model: row i lies in one of g clusters, r(i), column j in one of h, c(j), and the table is summed up by its
//! blocks. A table without negative values is read as a joint distribution of rows and columns,
//!
//! ```text
//! P = X / Σ X,   Q_rc = Σ over r(i) = r, c(j) = c of P_ij   (Q = Γᵀ P Δ),
//! I(Q) = Σ Q_rc log( Q_rc / (Q_r Q_c) ),   0 ≤ I(Q) ≤ I(P)   in nats
//! ```
//!
//! and I(Q)/I(P) is the share of the table's information that the blocks keep. N I(Q), N = Σ X, is up to a constant of the
//! table the profile log-likelihood of counts with one rate per block and a magnitude of every row and column
//! ([`blocks`], [`lbm`]).
//!
//! | symbol | shape | meaning                          | field or slot                              |
//! |--------|-------|----------------------------------|--------------------------------------------|
//! | X      | n × m | the table, observations in rows  |                                            |
//! | r, c   | n, m  | clusters of rows and of columns  | `obs["<key>"]`, `var["<key>"]`             |
//! | Γ, Δ   | n × g, m × h | memberships; 0 and 1 for labels | `obsm/varm["<key>_membership"]`     |
//! | Q      | g × h | shares of the blocks             | `uns["<key>"]["blocks"]`                   |
//! | g, h   |       | numbers of clusters              | `rows`, `cols`                             |
//!
//! Clusters are numbered from 0 by falling size. [`itcc`] makes I(Q) large, [`spectral`] cuts the bipartite graph of rows and
//! columns, [`lbm`] gives the blocks a likelihood, [`nmtf`] factorises, [`kmeans`] clusters either side by itself, and
//! [`svcc`] learns both sides by variational autoencoders that share the table.

pub mod blocks;
pub mod climb;
pub mod fit;
pub mod itcc;
pub mod kmeans;
pub mod lbm;
pub mod nmtf;
pub mod noise;
pub mod spectral;
pub mod start;
pub mod svcc;
pub mod table;
pub mod weight;
