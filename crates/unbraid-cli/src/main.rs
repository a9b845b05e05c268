//! The program `unbraid`.

#[allow(dead_code)]
mod page;

fn main() {}
