//! The one integration binary: golden values, the contract of every method, the road through the crate.

mod contract;
mod cox;
mod gmgm;
mod golden;
mod low_rank;
mod med_magma;
mod nmf;
mod soft;
mod soft_properties;
mod spatial;
mod stability;
mod tyler;
