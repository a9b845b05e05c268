//! A result a person looks at, as plain serializable data.
