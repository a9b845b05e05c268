//! Non-negative matrix factors X ≈ U V (d × n; U: d × k, V: k × n, both ≥ 0), the map T of the
//! [family](super) being the identity.

mod rules;

pub use rules::{multiplicative_round, project};
