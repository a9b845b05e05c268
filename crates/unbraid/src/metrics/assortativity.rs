//! Whether edges join vertices that are alike (Newman 2003).
//!
//! Every entry of the matrix that is not zero is one arc from its row to its column; weights are not
//! read. For a symmetric matrix this is the undirected graph. With e_gh the share of arcs from class g
//! to class h, a and b its margins:
//!
//! nominal r = (Σ_g e_gg − Σ_g a_g b_g) / (1 − Σ_g a_g b_g);
//! numeric r = Pearson's correlation of x over the two ends of the arcs.
//!
//! The numeric form on category codes depends on the arbitrary order of the categories; it is here
//! because published tables used it.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::Square;

/// Newman's coefficient for classes; `None` where it is undefined: no arc, or all ends in one class.
///
/// # Errors
/// [`Error::Shape`] when the matrix is not square or there is not one class per vertex,
/// [`Error::Value`] for an entry that is not finite.
pub fn nominal<'a>(graph: impl Into<Square<'a>>, classes: &[usize]) -> Result<Option<f64>> {
    let graph = checked(graph.into(), classes.len())?;
    let (mut within, mut arcs) = (0u64, 0u64);
    let mut ends: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    graph.each(|i, j, _| {
        arcs += 1;
        within += u64::from(classes[i] == classes[j]);
        ends.entry(classes[i]).or_default().0 += 1;
        ends.entry(classes[j]).or_default().1 += 1;
    });
    let total = arcs as f64;
    let chance: f64 = ends.values().map(|&(a, b)| (a as f64 / total) * (b as f64 / total)).sum();
    Ok((arcs > 0 && chance < 1.0).then(|| (within as f64 / total - chance) / (1.0 - chance)))
}

/// Pearson's correlation of `values` over the two ends of the arcs; `None` where it is undefined: no
/// arc, or all ends equal.
///
/// # Errors
/// [`Error::Shape`] when the matrix is not square or there is not one value per vertex,
/// [`Error::Value`] for an entry or value that is not finite.
pub fn numeric<'a>(graph: impl Into<Square<'a>>, values: &[f64]) -> Result<Option<f64>> {
    let graph = checked(graph.into(), values.len())?;
    if let Some((i, &found)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Value { what: "values".into(), found, at: (i, 0), rule: "finite" });
    }
    let (mut arcs, mut from, mut to) = (0u64, 0.0, 0.0);
    graph.each(|i, j, _| {
        arcs += 1;
        from += values[i];
        to += values[j];
    });
    let (from, to) = (from / arcs as f64, to / arcs as f64);
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    graph.each(|i, j, _| {
        let (x, y) = (values[i] - from, values[j] - to);
        both += x * y;
        first += x * x;
        second += y * y;
    });
    let spread = first.sqrt() * second.sqrt();
    Ok((arcs > 0 && spread > 0.0).then(|| both / spread))
}

fn checked(graph: Square<'_>, labels: usize) -> Result<Square<'_>> {
    let n = graph.vertices("graph")?;
    if labels != n {
        return Err(Error::Shape { what: "labels".into(), found: vec![labels], rule: "one per vertex" });
    }
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn pure_mixed_and_undefined_graphs() {
        let pairs =
            array![[0.0, 2.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0], [0.0, 0.0, -1.0, 0.0]];
        assert_eq!(nominal(&pairs, &[0, 0, 7, 7]).unwrap(), Some(1.0));
        assert_eq!(nominal(&pairs, &[0, 7, 7, 0]).unwrap(), Some(-1.0));
        assert_eq!(numeric(&pairs, &[1.0, 1.0, 2.0, 2.0]).unwrap(), Some(1.0));
        assert_eq!(nominal(&pairs, &[3; 4]).unwrap(), None);
        assert_eq!(numeric(&pairs, &[3.0; 4]).unwrap(), None);
        let empty: Array2<f64> = Array2::zeros((2, 2));
        assert_eq!((nominal(&empty, &[0, 1]).unwrap(), numeric(&empty, &[0.0, 1.0]).unwrap()), (None, None));
        assert!(nominal(&pairs, &[0]).is_err() && numeric(&pairs, &[f64::NAN; 4]).is_err());
    }

    /// The closed form of the specification for a symmetric 0/1 matrix.
    #[test]
    fn numeric_is_the_closed_form() {
        let a =
            array![[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]];
        let x = [0.0, 2.0, 1.0, 5.0];
        let two_e = a.sum();
        let k = a.sum_axis(ndarray::Axis(1));
        let mean = (0..4).map(|i| k[i] * x[i]).sum::<f64>() / two_e;
        let square = (0..4).map(|i| k[i] * x[i] * x[i]).sum::<f64>() / two_e;
        let mut cross = 0.0;
        for i in 0..4 {
            for j in 0..4 {
                cross += a[[i, j]] * x[i] * x[j] / two_e;
            }
        }
        let closed = (cross - mean * mean) / (square - mean * mean);
        assert!((numeric(&a, &x).unwrap().unwrap() - closed).abs() < 1e-14);
    }
}
