//! What residuals say about supports.
//!
//! With r the residuals of one study's samples without some columns, and z = μ the code of a column,
//!
//! ```text
//! d_jl = max(|cor(r_j, r_l)|, |cor(r_j², r_l)|, |cor(r_j, r_l²)|),      0 where a column that is left in joins j and l,
//! d_jk = max(|cor(r_j, z_k)|, |cor(r_j, z_k²)|).
//! ```
//!
//! The features of one factor make a group: two that depend on each other most, and all that depend on both and on each other.
//! Of a shared column the least d of all studies counts.

use ndarray::{Array2, Axis};

use super::Move;
use crate::linalg::{Accum, gemm};
use crate::methods::multistudy::mssvae::train::Problem;
use crate::methods::multistudy::network::{Decoder, Network, Tile};
use crate::methods::multistudy::plain::Plain;

/// d from which two features depend on each other.
const DEPENDENT: f64 = 0.35;
/// Share of a set that another must have for the two to be about the same factor.
const MOST: f64 = 0.5;
/// Variance of the codes of a column below which it is on its way out, and left alone; its prior has 1.
const FAINT: f64 = 0.1;

/// Centres rows and scales them to norm 1; a row that does not vary becomes 0.
pub(super) fn standardise(rows: &mut Array2<f32>) {
    for mut row in rows.rows_mut() {
        let n = row.len().max(1) as f64;
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let square: f64 = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        let by = if square > 1e-12 * n * (1.0 + mean * mean) { 1.0 / square.sqrt() } else { 0.0 };
        row.mapv_inplace(|v| ((f64::from(v) - mean) * by) as f32);
    }
}

fn squares(r: &Array2<f32>) -> Array2<f32> {
    let mut squares = r.mapv(|v| v * v);
    standardise(&mut squares);
    squares
}

fn products(a: &Array2<f32>, b: &Array2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((a.nrows(), b.nrows()));
    gemm(out.view_mut(), Accum::Replace, a.view(), b.t());
    out
}

/// d of all pairs of features, from standardised residuals.
pub(super) fn dependence(r: &Array2<f32>) -> Array2<f32> {
    let (same, cross) = (products(r, r), products(&squares(r), r));
    Array2::from_shape_fn(same.raw_dim(), |(j, l)| match j == l {
        true => 0.0,
        false => f32::abs(same[[j, l]]).max(f32::abs(cross[[j, l]])).max(f32::abs(cross[[l, j]])),
    })
}

/// Groups of features that all depend on each other: from the two that do most, the feature whose least d to the group is
/// largest is added while it depends on all; then again from features not grouped yet. Features of two factors, which depend
/// on those of both, end up in both groups; what is mostly in a group that there is, joins it.
pub(super) fn groups(d: &Array2<f32>, fewest: usize) -> Vec<Vec<usize>> {
    let mut free: Vec<usize> = (0..d.nrows()).collect();
    let mut found: Vec<Vec<usize>> = Vec::new();
    loop {
        let pairs = free.iter().flat_map(|&j| free.iter().map(move |&l| (j, l))).filter(|(j, l)| j < l);
        let best = pairs.fold(None, |best: Option<(usize, usize)>, at| match best {
            Some(b) if d[[at.0, at.1]] <= d[[b.0, b.1]] => best,
            _ => Some(at),
        });
        let Some((a, b)) = best.filter(|&(a, b)| f64::from(d[[a, b]]) >= DEPENDENT) else {
            found.iter_mut().for_each(|g| {
                g.sort_unstable();
                g.dedup();
            });
            found.retain(|g| g.len() >= fewest);
            return found;
        };
        let mut group = vec![a, b];
        let mut least: Vec<f32> = (0..d.nrows()).map(|f| d[[f, a]].min(d[[f, b]])).collect();
        loop {
            let next = least
                .iter()
                .enumerate()
                .fold((0, 0.0), |best, (f, &v)| if v > best.1 { (f, v) } else { best });
            if f64::from(next.1) < DEPENDENT {
                break;
            }
            group.push(next.0);
            // d of a feature to itself is 0, so that it is not taken twice.
            least.iter_mut().enumerate().for_each(|(f, v)| *v = v.min(d[[f, next.0]]));
        }
        free.retain(|f| !group.contains(f));
        match found.iter_mut().find(|g| share(&group, g) >= MOST) {
            Some(known) => known.extend(group),
            None => found.push(group),
        }
    }
}

/// Share of the features of `a` that are in `b`.
fn share(a: &[usize], b: &[usize]) -> f64 {
    a.iter().filter(|f| b.contains(f)).count() as f64 / a.len().max(1) as f64
}

/// The smaller of two, entry by entry, over all.
fn least(all: impl Iterator<Item = Array2<f32>>) -> Array2<f32> {
    let smaller = |mut a: Array2<f32>, b: Array2<f32>| {
        a.zip_mut_with(&b, |a, b| *a = a.min(*b));
        a
    };
    all.reduce(smaller).unwrap_or_default()
}

/// Whether the code of each column varies by more than `least` in some study.
fn active(tiles: &[Tile<f32>], columns: usize, least: f64) -> Vec<bool> {
    let mut active = vec![false; columns];
    for tile in tiles {
        for (&k, z) in tile.columns.iter().zip(tile.z.rows()) {
            let n = z.len().max(1) as f64;
            let mean = z.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            active[k] |= z.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n > least;
        }
    }
    active
}

/// A state as proposals see it.
pub(super) struct Scene<'a, 'b> {
    problem: &'a Problem<'b>,
    decoder: &'a Decoder<f32>,
    /// Each study's samples with z = μ.
    tiles: Vec<Tile<f32>>,
    owners: Vec<Option<usize>>,
    /// Features of each column; none where its code hardly varies.
    supports: Vec<Vec<usize>>,
}

impl<'a, 'b> Scene<'a, 'b> {
    pub fn new(problem: &'a Problem<'b>, network: &'a Network<f32>) -> Scene<'a, 'b> {
        let tiles: Vec<Tile<f32>> = (0..problem.samples.len()).map(|m| problem.tile(network, m)).collect();
        let owners = network.columns.owners();
        let active = active(&tiles, owners.len(), problem.params.activity.max(FAINT));
        let set = |(k, w): (usize, ndarray::ArrayView1<'_, f32>)| {
            let large = |&j: &usize| active[k] && f64::from(w[j].abs()) > problem.params.threshold;
            (0..w.len()).filter(large).collect()
        };
        let supports = network.decoder.w.value.columns().into_iter().enumerate().map(set).collect();
        Scene { problem, decoder: &network.decoder, tiles, owners, supports }
    }

    /// The features that the columns of a move have, or gain.
    pub fn features(&self, one: &Move) -> Vec<usize> {
        let gains = |j: &usize| one.fill.iter().chain(&one.join).any(|(_, group)| group.contains(j));
        let columns = one.columns();
        let has = |j: usize| columns.iter().any(|&k| self.decoder.w.value[[j, k]] != 0.0);
        (0..self.decoder.features()).filter(|j| gains(j) || has(*j)).collect()
    }

    /// Columns with a set.
    fn filled(&self) -> impl Iterator<Item = usize> {
        (0..self.owners.len()).filter(|&k| !self.supports[k].is_empty())
    }

    /// The first column of an owner without a set.
    fn empty(&self, owner: Option<usize>) -> impl Iterator<Item = usize> {
        (0..self.owners.len()).filter(move |&k| self.owners[k] == owner && self.supports[k].is_empty())
    }

    /// The studies that see a column.
    fn studies(&self, k: usize) -> Vec<usize> {
        self.owners[k].map_or((0..self.tiles.len()).collect(), |m| vec![m])
    }

    /// Standardised residuals of some features without some columns in a study, features × samples.
    fn residuals(&self, m: usize, features: &[usize], without: &[usize]) -> Array2<f32> {
        let mut decoder = self.decoder.of_features(features);
        without.iter().for_each(|&k| decoder.w.value.index_axis_mut(Axis(1), k).fill(0.0));
        let mut r = self.tiles[m].x.select(Axis(0), features) - Plain::outputs(&decoder, &self.tiles[m]);
        standardise(&mut r);
        r
    }

    /// d among some features in a study, 0 where one of its columns other than `without` joins two.
    fn among(&self, m: usize, features: &[usize], without: &[usize]) -> Array2<f32> {
        let mut d = dependence(&self.residuals(m, features, without));
        for &k in self.tiles[m].columns.iter().filter(|k| !without.contains(k)) {
            let joined: Vec<usize> =
                (0..features.len()).filter(|&at| self.supports[k].contains(&features[at])).collect();
            for &a in &joined {
                joined.iter().for_each(|&b| d[[a, b]] = 0.0);
            }
        }
        d
    }

    /// Groups of features, from d among them.
    fn groups(&self, features: &[usize], d: &Array2<f32>) -> Vec<Vec<usize>> {
        let found = groups(d, self.problem.params.min_support.max(2)).into_iter();
        found.map(|group| group.into_iter().map(|at| features[at]).collect()).collect()
    }

    /// Features outside a column whose residuals follow its code.
    pub fn joins(&self) -> Vec<Move> {
        let all: Vec<usize> = (0..self.decoder.features()).collect();
        let by_study: Vec<Array2<f32>> = (0..self.tiles.len())
            .map(|m| {
                let mut z = self.tiles[m].z.clone();
                standardise(&mut z);
                let r = self.residuals(m, &all, &[]);
                let (line, square) = (products(&r, &z), products(&r, &squares(&z)));
                let mut d = Array2::zeros((all.len(), self.owners.len()));
                for (at, &k) in self.tiles[m].columns.iter().enumerate() {
                    for &j in &all {
                        d[[j, k]] = f32::abs(line[[j, at]]).max(f32::abs(square[[j, at]]));
                    }
                }
                d
            })
            .collect();
        let mut found = Vec::new();
        for k in self.filled().filter(|&k| self.supports[k].len() >= self.problem.params.min_support) {
            let follows = |j: &usize| {
                let d = |m: usize| f64::from(by_study[m][[*j, k]]);
                !self.supports[k].contains(j) && self.studies(k).into_iter().all(|m| d(m) >= DEPENDENT)
            };
            let join: Vec<usize> = all.iter().copied().filter(follows).collect();
            if !join.is_empty() {
                found.push(Move { join: vec![(k, join)], ..Move::default() });
            }
        }
        found
    }

    /// Own columns most of whose features a shared one has, which is as large.
    pub fn drops(&self) -> Vec<Move> {
        let mut found = Vec::new();
        for c in self.filled().filter(|&c| self.owners[c].is_some()) {
            let set = &self.supports[c];
            let over = |&k: &usize| {
                self.owners[k].is_none()
                    && self.supports[k].len() >= set.len()
                    && share(set, &self.supports[k]) >= MOST
            };
            let by_share = |&a: &usize, &b: &usize| {
                share(set, &self.supports[a]).total_cmp(&share(set, &self.supports[b])).then(b.cmp(&a))
            };
            if let Some(k) = self.filled().filter(over).max_by(by_share) {
                let rest: Vec<usize> =
                    set.iter().copied().filter(|j| !self.supports[k].contains(j)).collect();
                let join = if rest.is_empty() { Vec::new() } else { vec![(k, rest)] };
                found.push(Move { empty: vec![c], join, ..Move::default() });
            }
        }
        found
    }

    /// An own column whose set is a group in every study, once the own columns on that set are taken out.
    pub fn promotions(&self) -> Vec<Move> {
        let mut found = Vec::new();
        let Some(to) = self.empty(None).next().filter(|_| self.tiles.len() > 1) else { return found };
        let mut used: Vec<usize> = Vec::new();
        let mut own: Vec<usize> = self.filled().filter(|&k| self.owners[k].is_some()).collect();
        own.sort_by_key(|&k| (usize::MAX - self.supports[k].len(), k));
        for k in own {
            let set = &self.supports[k];
            if set.len() < self.problem.params.min_support.max(2) || used.contains(&k) {
                continue;
            }
            let on = |&c: &usize| self.owners[c].is_some() && share(&self.supports[c], set) >= MOST;
            let out: Vec<usize> = self.filled().filter(on).collect();
            let everywhere = (0..self.tiles.len()).all(|m| {
                let mut groups = self.groups(set, &self.among(m, set, &out)).into_iter();
                groups.any(|group| group.len() as f64 >= MOST * set.len() as f64)
            });
            if everywhere {
                used.extend(&out);
                found.push(Move { empty: out, fill: vec![(to, set.clone())], ..Move::default() });
            }
        }
        found
    }

    /// A column, or all that share most of their features with it, whose features make other groups without them.
    pub fn partings(&self) -> Vec<Move> {
        let mut found: Vec<Move> = Vec::new();
        let fewest = self.problem.params.min_support.max(2);
        let mut filled: Vec<usize> = self.filled().collect();
        filled.sort_by_key(|&k| (usize::MAX - self.supports[k].len(), k));
        for k in filled {
            if found.iter().any(|m| m.empty.contains(&k)) {
                continue;
            }
            let like = |&c: &usize| {
                self.owners[c] == self.owners[k] && share(&self.supports[c], &self.supports[k]) >= MOST
            };
            let out: Vec<usize> = self.filled().filter(like).collect();
            // A column by itself must hold two sets; fewer features cannot.
            if out.len() == 1 && self.supports[k].len() < 2 * fewest {
                continue;
            }
            let mut pool: Vec<usize> = out.iter().flat_map(|&c| self.supports[c].iter().copied()).collect();
            pool.sort_unstable();
            pool.dedup();
            // With features that the columns lost, such as squares of what they mix.
            let all: Vec<usize> = (0..self.decoder.features()).collect();
            let d = least(self.studies(k).into_iter().map(|m| self.among(m, &all, &out)));
            let follows =
                |&j: &usize| pool.iter().filter(|&&l| f64::from(d[[j, l]]) >= DEPENDENT).count() >= fewest;
            let wide: Vec<usize> = all.iter().copied().filter(|j| pool.contains(j) || follows(j)).collect();
            let mut groups = self.groups(&wide, &d.select(Axis(0), &wide).select(Axis(1), &wide));
            groups.retain(|g| share(g, &pool) >= MOST);
            // What depends on nothing so clearly is for the penalty to judge.
            pool.retain(|f| !groups.iter().any(|g| g.contains(f)));
            for group in &mut groups {
                group.extend(&pool);
                group.sort_unstable();
            }
            let known = groups.len() == out.len()
                && groups.iter().all(|g| out.iter().any(|&c| self.supports[c] == *g));
            let changed = match groups.len() {
                0 => false,
                1 => out.len() > 1,
                _ => !known,
            };
            let room: Vec<usize> = out.iter().copied().chain(self.empty(self.owners[k])).collect();
            if changed && groups.len() <= room.len() {
                let fill = room.into_iter().zip(groups).collect();
                found.push(Move { empty: out, fill, ..Move::default() });
            }
        }
        found
    }
}
