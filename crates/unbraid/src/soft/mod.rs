//! Soft ranks, sorts and quantile normalisation by regularised optimal transport.
