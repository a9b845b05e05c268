//! Agreement of two labellings of the same items.
//!
//! With the contingency table n_ij, its margins a_i, b_j and total N:
//!
//! MI = Σ n_ij/N log(N n_ij / a_i b_j),  NMI = MI / ½(H(a) + H(b)),
//! AMI = (MI − E MI) / (½(H(a) + H(b)) − E MI)  (Vinh, Epps and Bailey 2010; E over random labellings
//! with the same margins), the adjusted Rand index of Hubert and Arabie (1985), and the variation of
//! information VI = H(a) + H(b) − 2 MI (Meilă 2007).
//!
//! The balanced forms (Maan et al. 2024) first scale every row of the table, a class of the first
//! labelling, to the same mass. Their counts are rounded to whole items; margins, entropies and E MI
//! are then those of the rounded table, whose total may differ from N by the rounding.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// A contingency table of two labellings.
#[derive(Clone, Debug, PartialEq)]
pub struct Contingency {
    /// (class, cluster, items), only where there are items.
    cells: Vec<(usize, usize, u64)>,
    rows: Vec<u64>,
    columns: Vec<u64>,
    total: u64,
}

impl Contingency {
    /// Counts the items by label.
    ///
    /// # Errors
    /// [`Error::Shape`] for labellings of different length or of no item.
    pub fn new(first: &[usize], second: &[usize]) -> Result<Contingency> {
        if first.len() != second.len() || first.is_empty() {
            let found = vec![first.len(), second.len()];
            return Err(Error::Shape { what: "labels".into(), found, rule: "equally long and not empty" });
        }
        let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        first.iter().zip(second).for_each(|(&i, &j)| *counts.entry((i, j)).or_default() += 1);
        Ok(Contingency::of(counts))
    }

    fn of(counts: BTreeMap<(usize, usize), u64>) -> Contingency {
        let (mut rows, mut columns): (BTreeMap<usize, u64>, BTreeMap<usize, u64>) = Default::default();
        for (&(i, j), &n) in counts.iter().filter(|(_, n)| **n > 0) {
            *rows.entry(i).or_default() += n;
            *columns.entry(j).or_default() += n;
        }
        let place = |margin: &BTreeMap<usize, u64>| -> BTreeMap<usize, usize> {
            margin.keys().enumerate().map(|(at, &label)| (label, at)).collect()
        };
        let (row, column) = (place(&rows), place(&columns));
        Contingency {
            cells: counts
                .iter()
                .filter(|(_, n)| **n > 0)
                .map(|((i, j), &n)| (row[i], column[j], n))
                .collect(),
            total: rows.values().sum(),
            rows: rows.into_values().collect(),
            columns: columns.into_values().collect(),
        }
    }

    /// Classes and clusters that occur.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }

    /// (class, cluster, items) wherever there are items, both counted from 0 in the order of the labels.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        self.cells.iter().copied()
    }

    /// The table of pairs of items, one of `self` and one of `other`, under pairs of labels.
    pub fn product(&self, other: &Contingency) -> Contingency {
        let (r, c) = other.shape();
        let both = self
            .cells()
            .flat_map(|(i, j, n)| other.cells().map(move |(k, l, m)| ((i * r + k, j * c + l), n * m)));
        Contingency::of(both.collect())
    }

    /// Every class of the first labelling scaled to the mean class size, counts rounded (ties to even).
    pub fn balanced(&self) -> Contingency {
        let target = (self.total as f64 / self.rows.len() as f64).round_ties_even();
        let scaled = |&(i, j, n): &(usize, usize, u64)| {
            ((i, j), (n as f64 / (self.rows[i] as f64 / target)).round_ties_even() as u64)
        };
        Contingency::of(self.cells.iter().map(scaled).collect())
    }

    /// Ordered pairs of items, an item and itself included, that both labellings put together: Σ n_ij².
    pub fn pairs_together(&self) -> f64 {
        self.cells.iter().map(|c| c.2 as f64 * c.2 as f64).sum()
    }

    /// Mutual information in nats.
    pub fn mutual_information(&self) -> f64 {
        let total = self.total as f64;
        let term = |&(i, j, n): &(usize, usize, u64)| {
            let n = n as f64;
            n / total * ((total / self.rows[i] as f64) * (n / self.columns[j] as f64)).ln()
        };
        self.cells.iter().map(term).sum::<f64>().max(0.0)
    }

    /// Its mean over all labellings with the same margins.
    pub fn expected_mutual_information(&self) -> f64 {
        // Tables have few distinct margins; each pair is summed once.
        let tally = |margin: &[u64]| {
            let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
            margin.iter().for_each(|&a| *counts.entry(a).or_default() += 1.0);
            counts
        };
        let (rows, columns) = (tally(&self.rows), tally(&self.columns));
        let mut sum = 0.0;
        for (&a, &times_a) in &rows {
            for (&b, &times_b) in &columns {
                sum += times_a * times_b * expected_term(a, b, self.total);
            }
        }
        sum
    }

    /// Normalised mutual information, arithmetic mean of the entropies.
    pub fn nmi(&self) -> f64 {
        if self.rows.len() == 1 && self.columns.len() == 1 {
            return 1.0;
        }
        self.mutual_information() / self.mean_entropy()
    }

    /// Adjusted mutual information, arithmetic mean of the entropies.
    pub fn ami(&self) -> f64 {
        match (self.rows.len(), self.columns.len()) {
            (0 | 1, 0 | 1) => return 1.0,
            (1, _) | (_, 1) => return 0.0,
            _ => {}
        }
        let expected = self.expected_mutual_information();
        // A perfect match of all-distinct labels is 0/0, which counts as 1.
        let above_zero = |v: f64| if v < 0.0 { v.min(-f64::EPSILON) } else { v.max(f64::EPSILON) };
        above_zero(self.mutual_information() - expected) / above_zero(self.mean_entropy() - expected)
    }

    /// Adjusted Rand index.
    pub fn ari(&self) -> f64 {
        let pairs = |n: u64| n as f64 * (n as f64 - 1.0) / 2.0;
        let both: f64 = self.cells.iter().map(|c| pairs(c.2)).sum();
        let first: f64 = self.rows.iter().map(|&n| pairs(n)).sum();
        let second: f64 = self.columns.iter().map(|&n| pairs(n)).sum();
        if both == first && both == second {
            return 1.0;
        }
        let expected = first * second / pairs(self.total);
        (both - expected) / ((first + second) / 2.0 - expected)
    }

    /// Variation of information H(a) + H(b) − 2 MI in nats: a metric, 0 for equal partitions, at most
    /// log N (Meilă 2007).
    pub fn variation_of_information(&self) -> f64 {
        let total = self.total as f64;
        let term = |&(i, j, n): &(usize, usize, u64)| {
            let n = n as f64;
            n / total * ((self.rows[i] as f64 / n).ln() + (self.columns[j] as f64 / n).ln())
        };
        self.cells.iter().map(term).sum()
    }

    fn mean_entropy(&self) -> f64 {
        let total = self.total as f64;
        let entropy = |margin: &[u64]| -> f64 {
            margin.iter().map(|&a| -(a as f64 / total) * (a as f64 / total).ln()).sum()
        };
        (entropy(&self.rows) + entropy(&self.columns)) / 2.0
    }
}

/// E[n/N log(N n / a b)] with n hypergeometric: `a` of N items are drawn, `b` of N are marked.
///
/// The probabilities follow from the most likely count by their ratios and are normalised by their
/// sum, so that no factorial is taken.
fn expected_term(a: u64, b: u64, total: u64) -> f64 {
    const NEGLIGIBLE: f64 = 1e-30;
    let (low, high) = ((a + b).saturating_sub(total), a.min(b));
    let (fa, fb, fn_) = (a as f64, b as f64, total as f64);
    let mode = (((fa + 1.0) * (fb + 1.0) / (fn_ + 2.0)) as u64).clamp(low, high);
    let value = |n: f64| if n > 0.0 { n / fn_ * ((fn_ / fa) * (n / fb)).ln() } else { 0.0 };
    // P(n + 1) / P(n)
    let ratio = |n: f64| (fa - n) * (fb - n) / ((n + 1.0) * (fn_ - fa - fb + n + 1.0));
    let (mut mass, mut sum) = (1.0, value(mode as f64));
    let mut p = 1.0;
    for n in mode..high {
        p *= ratio(n as f64);
        if p < NEGLIGIBLE {
            break;
        }
        mass += p;
        sum += p * value((n + 1) as f64);
    }
    p = 1.0;
    for n in (low..mode).rev() {
        p /= ratio(n as f64);
        if p < NEGLIGIBLE {
            break;
        }
        mass += p;
        sum += p * value(n as f64);
    }
    sum / mass
}

/// Adjusted mutual information of two labellings; symmetric, at most 1, 0 on average by chance.
///
/// # Errors
/// As [`Contingency::new`].
pub fn ami(first: &[usize], second: &[usize]) -> Result<f64> {
    Ok(Contingency::new(first, second)?.ami())
}

/// Normalised mutual information of two labellings; symmetric, from 0 to 1.
///
/// # Errors
/// As [`Contingency::new`].
pub fn nmi(first: &[usize], second: &[usize]) -> Result<f64> {
    Ok(Contingency::new(first, second)?.nmi())
}

/// Adjusted Rand index of two labellings; symmetric, at most 1, 0 on average by chance.
///
/// # Errors
/// As [`Contingency::new`].
pub fn ari(first: &[usize], second: &[usize]) -> Result<f64> {
    Ok(Contingency::new(first, second)?.ari())
}

/// Variation of information of two labellings in nats; symmetric, from 0 to log N.
///
/// # Errors
/// As [`Contingency::new`].
pub fn variation_of_information(first: &[usize], second: &[usize]) -> Result<f64> {
    Ok(Contingency::new(first, second)?.variation_of_information())
}

/// [`ami`] after the classes of `balanced`, the first labelling, were given equal mass; not symmetric.
///
/// # Errors
/// As [`Contingency::new`].
pub fn balanced_ami(balanced: &[usize], other: &[usize]) -> Result<f64> {
    Ok(Contingency::new(balanced, other)?.balanced().ami())
}

/// [`ari`] after the classes of `balanced`, the first labelling, were given equal mass; not symmetric.
///
/// # Errors
/// As [`Contingency::new`].
pub fn balanced_ari(balanced: &[usize], other: &[usize]) -> Result<f64> {
    Ok(Contingency::new(balanced, other)?.balanced().ari())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean over every one of the orders of the second labelling.
    #[test]
    fn expected_information_is_the_mean_over_all_permutations() {
        let (first, second) = ([0, 0, 0, 1, 1, 2], [0, 1, 1, 2, 2, 2]);
        fn permute(v: &mut Vec<usize>, at: usize, visit: &mut impl FnMut(&[usize])) {
            if at == v.len() {
                return visit(v);
            }
            for i in at..v.len() {
                v.swap(at, i);
                permute(v, at + 1, visit);
                v.swap(at, i);
            }
        }
        let (mut sum, mut times) = (0.0, 0.0);
        permute(&mut second.to_vec(), 0, &mut |p| {
            sum += Contingency::new(&first, p).unwrap().mutual_information();
            times += 1.0;
        });
        let found = Contingency::new(&first, &second).unwrap().expected_mutual_information();
        assert!((found - sum / times).abs() < 1e-14);
    }

    /// The plain sum of hypergeometric probabilities from binomial coefficients.
    #[test]
    fn expected_terms_equal_the_direct_sum() {
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        for (a, b, n) in [(3, 4, 9), (1, 1, 5), (30, 25, 60), (50, 45, 60), (60, 10, 60)] {
            let direct: f64 = ((a + b).max(n) - n..=a.min(b))
                .filter(|&x| x > 0)
                .map(|x| {
                    let p = choose(b, x) * choose(n - b, a - x) / choose(n, a);
                    let (x, n) = (x as f64, n as f64);
                    p * x / n * (n * x / (a as f64 * b as f64)).ln()
                })
                .sum();
            assert!((expected_term(a, b, n) - direct).abs() < 1e-13, "{a} {b} {n}");
        }
        // Margins so large that factorials lose digits: the term nears its limit (N−a)(N−b)/2N² a/N….
        assert!(expected_term(500_000, 400_000, 1_000_000).is_finite());
    }

    #[test]
    fn limits() {
        let (a, b) = ([0, 0, 1, 1], [5, 5, 9, 9]);
        for f in [ami, nmi, ari, balanced_ami, balanced_ari] {
            assert!((f(&a, &b).unwrap() - 1.0).abs() < 1e-12);
            assert_eq!(f(&[3, 3], &[1, 1]).unwrap(), 1.0);
            assert_eq!(f(&[0, 0, 0], &[0, 1, 1]).unwrap(), 0.0);
            assert!((f(&[0, 1, 2], &[2, 1, 0]).unwrap() - 1.0).abs() < 1e-12);
            assert!(f(&[0], &[0, 1]).is_err() && f(&[], &[]).is_err());
        }
        let vi = |a: &[usize], b: &[usize]| variation_of_information(a, b).unwrap();
        assert_eq!((vi(&a, &b), vi(&[0, 0], &[0, 1])), (0.0, 2f64.ln()));
        assert!((vi(&[0, 1, 2, 3], &[0; 4]) - 4f64.ln()).abs() < 1e-15);
        // One large class no longer hides a small one that was split at random.
        let first: Vec<usize> = (0..100).map(|i| usize::from(i >= 90)).collect();
        let second: Vec<usize> = (0..100).map(|i| if i < 90 { 0 } else { i % 2 }).collect();
        assert!(balanced_ari(&first, &second).unwrap() < ari(&first, &second).unwrap());
    }
}
