//! Whether the communities of a network survive small changes of its edges, more than chance would
//! have it: the procedure of the R package robin (Policastro et al. 2021), written anew.
//!
//! A share f of the edges is perturbed, degrees kept ([`EdgeList::perturbed`]), and the Leiden
//! communities of the perturbed graph are compared with those of the graph itself by the variation of
//! information VI / log n. The same is done for random graphs of the same degrees. If the network has
//! communities, its curve over f lies below theirs.
//!
//! | what                 | here                                         | robin |
//! |----------------------|----------------------------------------------|-------|
//! | perturbation         | round(f E) trials of a swap                  | the same |
//! | f                    | 0, 5, …, 60 %                                | the same |
//! | value per repeat     | mean over `averaged` perturbed graphs        | mean over 10, each 1 % from the last |
//! | null                 | a new random graph per repeat                | one random graph for all |
//! | `ln_bayes`           | two curves against one ([`two_sample`])      | none |
//! | `ln_bayes_ratio`     | a curve against none in log₂ (VI + 0.001)/(VI₀ + 0.001), s², ℓ, σ² by likelihood | `robinGPTest`, by gprege from one start |
//! | p-value              | exchange of whole curves ([`permutation`])   | none |
//!
//! `ln_bayes_ratio` is the figure to set beside published ones (108 for cells, 59 for genes in the
//! MED-MAGMA paper): like them it asks whether the ratio *changes* with f, and it grows with the number
//! of repeats. `ln_bayes` asks whether the curves differ at all. A Bayes factor of a model with a wrong
//! noise term can be large by itself, so the permutation p-value stands beside both.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::clustering::variation_of_information;
use crate::data::Csr;
use crate::error::{Error, Result};
use crate::fit::{Draw, Seed};
use crate::graph::leiden::leiden;
use crate::graph::rewire::EdgeList;
use crate::linalg;
use crate::stats::curves::{permutation, signal, two_sample};

/// What is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustnessOptions {
    /// Shares of the edges perturbed, rising, each from 0 to 1, two or more. Default 0, 0.05, …, 0.6.
    pub shares: Vec<f64>,
    /// Curves of the network and of the null; at least 2. Default 10.
    pub repeats: usize,
    /// Perturbed graphs per value; at least 1. Default 1; robin averages 10.
    pub averaged: usize,
    /// Leiden resolution; at least 0. Default 1.
    pub resolution: f64,
    /// Random exchanges behind the p-value; at least 1. Default 9999.
    pub permutations: usize,
}

impl Default for RobustnessOptions {
    fn default() -> RobustnessOptions {
        RobustnessOptions {
            shares: (0..=12).map(|i| f64::from(i) * 0.05).collect(),
            repeats: 10,
            averaged: 1,
            resolution: 1.0,
            permutations: 9999,
        }
    }
}

/// How a network's communities fare beside those of random graphs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// What was asked.
    pub options: RobustnessOptions,
    /// Communities of the network itself.
    pub communities: usize,
    /// VI / log n of each repeat at each share.
    pub real: Vec<Vec<f64>>,
    /// The same for random graphs of the same degrees.
    pub null: Vec<Vec<f64>>,
    /// Mean of `real` over the repeats.
    pub real_mean: Vec<f64>,
    /// Mean of `null` over the repeats.
    pub null_mean: Vec<f64>,
    /// ln of the Bayes factor of two curves against one.
    pub ln_bayes: f64,
    /// ln of the Bayes factor of a curve against none in the log ratio: robin's form.
    pub ln_bayes_ratio: f64,
    /// One-sided permutation p-value that the network's curve lies below the null's.
    pub p: f64,
}

impl RobustnessOptions {
    /// Refuses what is outside its range.
    ///
    /// # Errors
    /// [`Error::Param`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        let inside = self.shares.iter().all(|f| (0.0..=1.0).contains(f));
        if self.shares.len() < 2 || !inside || self.shares.windows(2).any(|w| w[0] >= w[1]) {
            return bad("shares", format!("{:?}", self.shares), "two or more, rising, from 0 to 1");
        }
        if self.repeats < 2 {
            return bad("repeats", self.repeats.to_string(), "at least 2");
        }
        if self.averaged == 0 {
            return bad("averaged", "0".into(), "at least 1");
        }
        if self.permutations == 0 {
            return bad("permutations", "0".into(), "at least 1");
        }
        if !(self.resolution.is_finite() && self.resolution >= 0.0) {
            return bad("resolution", self.resolution.to_string(), "finite and at least 0");
        }
        Ok(())
    }

    /// How often `tick` will be called.
    pub fn ticks(&self) -> usize {
        2 * self.repeats * self.shares.len()
    }
}

/// Perturbs a symmetric graph, read below the diagonal and without weights; `tick` is called after each
/// value, [`RobustnessOptions::ticks`] times, from any thread.
///
/// # Errors
/// [`Error::Param`] for the options, [`Error::Shape`] for a graph of fewer than two edges,
/// [`Error::Value`] for an entry that is not finite.
pub fn robustness(
    graph: &Csr,
    options: &RobustnessOptions,
    seed: Seed,
    tick: &(dyn Fn() + Sync),
) -> Result<Robustness> {
    options.validate()?;
    let real = EdgeList::new(graph)?;
    if real.edges.len() < 2 {
        let rule = "two or more to perturb";
        return Err(Error::Shape { what: "edges".into(), found: vec![real.edges.len()], rule });
    }
    let own = leiden(&real.to_csr(), options.resolution, seed)?;
    let repeats = options.repeats as u64;
    let curves: Vec<Vec<f64>> = (0..2 * repeats)
        .into_par_iter()
        .map(|at| {
            linalg::settle();
            // Even items are the network, odd ones random graphs.
            let seed = seed.child(Draw::Restart, at);
            match at % 2 {
                0 => curve(&real, &own, options, seed, tick),
                _ => {
                    let null = real.randomised(&mut seed.stream(Draw::Simulate, 0));
                    let own = leiden(&null.to_csr(), options.resolution, seed)?;
                    curve(&null, &own, options, seed, tick)
                }
            }
        })
        .collect::<Result<_>>()?;
    let half = |odd: usize| -> Array2<f64> {
        let shape = (options.repeats, options.shares.len());
        Array2::from_shape_fn(shape, |(r, t)| curves[2 * r + odd][t])
    };
    let (real, null) = (half(0), half(1));
    // The constants are robin's.
    let ratio = Array2::from_shape_fn(real.dim(), |at| ((real[at] + 0.001) / (null[at] + 0.001)).log2());
    let mean = |a: ArrayView2<'_, f64>| {
        a.columns().into_iter().map(|c| c.sum() / c.len() as f64).collect::<Vec<f64>>()
    };
    let rows = |a: ArrayView2<'_, f64>| a.rows().into_iter().map(|r| r.to_vec()).collect();
    Ok(Robustness {
        communities: own.iter().max().map_or(0, |l| l + 1),
        ln_bayes: two_sample(&options.shares, real.view(), null.view())?.ln_bayes,
        ln_bayes_ratio: signal(&options.shares, ratio.view())?.ln_bayes,
        p: permutation(real.view(), null.view(), options.permutations, seed)?,
        real_mean: mean(real.view()),
        null_mean: mean(null.view()),
        real: rows(real.view()),
        null: rows(null.view()),
        options: options.clone(),
    })
}

/// VI / log n at every share, between `own` and the communities of perturbed graphs.
fn curve(
    graph: &EdgeList,
    own: &[usize],
    options: &RobustnessOptions,
    seed: Seed,
    tick: &(dyn Fn() + Sync),
) -> Result<Vec<f64>> {
    let scale = 1.0 / (graph.vertices as f64).ln();
    let value = |at: usize| {
        let mut sum = 0.0;
        for copy in 0..options.averaged {
            let seed = seed.child(Draw::Shuffle, (at * options.averaged + copy) as u64);
            let moved = graph.perturbed(options.shares[at], &mut seed.stream(Draw::Shuffle, 0))?;
            let found = leiden(&moved.to_csr(), options.resolution, seed)?;
            sum += variation_of_information(own, &found)? * scale;
        }
        tick();
        Ok(sum / options.averaged as f64)
    };
    (0..options.shares.len()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// `inside` and `across`: chances of an edge within and between six blocks of 15.
    fn blocks(inside: f64, across: f64) -> Csr {
        let mut rng = Seed(5).stream(Draw::Simulate, 0);
        let mut edges = Vec::new();
        for i in 0..90u32 {
            for j in 0..i {
                if rng.random_bool(if i % 6 == j % 6 { inside } else { across }) {
                    edges.push((j, i));
                }
            }
        }
        EdgeList { vertices: 90, edges }.to_csr()
    }

    fn few() -> RobustnessOptions {
        RobustnessOptions { shares: vec![0.0, 0.1, 0.2, 0.4, 0.6], repeats: 5, ..Default::default() }
    }

    #[test]
    fn communities_are_robust_and_random_graphs_are_not() {
        let count = AtomicUsize::new(0);
        let tick = || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let real = robustness(&blocks(0.7, 0.03), &few(), Seed(1), &tick).unwrap();
        assert_eq!(count.into_inner(), few().ticks());
        assert_eq!(real.communities, 6);
        assert!(real.real_mean.iter().zip(&real.null_mean).skip(1).all(|(r, n)| r + 0.1 < *n), "{real:?}");
        assert!(real.real_mean[0] < 1e-12 && real.real_mean[1] < 0.1);
        assert!(real.ln_bayes > 10.0 && real.p < 0.01);
        assert!(real.real.iter().chain(&real.null).flatten().all(|v| (0.0..=1.0).contains(v)));
        let none = robustness(&blocks(0.1, 0.1), &few(), Seed(1), &|| {}).unwrap();
        assert!(none.ln_bayes < real.ln_bayes / 2.0 && none.p > 0.01, "{none:?}");
    }

    #[test]
    fn same_bits_on_any_pool() {
        let g = blocks(0.5, 0.05);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = RobustnessOptions { averaged: 2, repeats: 2, ..few() };
            pool.install(|| robustness(&g, &options, Seed(3), &|| {}).unwrap())
        };
        let one = run(1);
        assert!(run(2) == one && run(8) == one);
    }

    #[test]
    fn bad_options_and_graphs_are_refused() {
        let g = blocks(0.5, 0.05);
        let bad = |o: RobustnessOptions| robustness(&g, &o, Seed(0), &|| {}).unwrap_err().to_string();
        assert!(bad(RobustnessOptions { shares: vec![0.1], ..few() }).contains("shares"));
        assert!(bad(RobustnessOptions { shares: vec![0.1, f64::NAN], ..few() }).contains("shares"));
        assert!(bad(RobustnessOptions { repeats: 1, ..few() }).contains("repeats"));
        assert!(bad(RobustnessOptions { averaged: 0, ..few() }).contains("averaged"));
        assert!(bad(RobustnessOptions { permutations: 0, ..few() }).contains("permutations"));
        assert!(bad(RobustnessOptions { resolution: f64::NAN, ..few() }).contains("resolution"));
        let empty = Csr::from_triplets((3, 3), vec![]);
        assert!(robustness(&empty, &few(), Seed(0), &|| {}).unwrap_err().to_string().contains("edges"));
    }
}
