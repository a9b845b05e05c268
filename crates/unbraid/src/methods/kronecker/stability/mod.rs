//! Stability selection: how often an edge is found again when half of the data is left out.
//!
//! For the network of one axis the *vertices* are the lines of that axis and the *samples* are the lines
//! of the other. Each of B pairs splits the samples at random into two disjoint halves H₁ and H₂ of
//! ⌊N/2⌋ of N samples; the method is fitted to all vertices and one half at a time, and selects a set of
//! edges Ŝ(H):
//!
//! ```text
//! Π̂(i, j) = 1/(2B) Σ_b 1[ij ∈ Ŝ(H_b1)] + 1[ij ∈ Ŝ(H_b2)],      stable: Π̂(i, j) ≥ τ
//! ```
//!
//! | symbol | meaning | name |
//! |---|---|---|
//! | 2B | refits of each network | `refits` |
//! | τ | threshold | `threshold` |
//! | q | edges selected in one refit, in the mean | [`Stable::selected`] |
//! | p | pairs of vertices, d (d − 1)/2 | [`Stable::candidates`] |
//! | Π̂ | share of refits that select an edge | [`Stable::frequencies`] |
//! | E\[V\] | bounds on the expected number of false stable edges | [`Stable::bounds`] |
//!
//! **Samples are halved, never vertices.** Leaving out vertices would change the question: in the model
//! without vertex k its neighbours become dependent, so that a refit on half of the cells *and* half of
//! the genes selects edges of many different graphs, and a pair would be eligible in a quarter of the
//! refits only. With all vertices in every refit each pair is a candidate in each, the halves of a pair
//! are disjoint, and the theory of complementary pairs applies as it stands (`meinshausen2010`,
//! `shah2013`). It costs two fits per refit, one for each axis. A vertex that cannot be fitted in a
//! half (of a sparse table, where it has no value left) has no edge in that refit, and a half that
//! cannot be fitted at all selects nothing: both lower frequencies and never raise them.
//!
//! **What the bounds assume**, and these data grant in part only. (1) Samples are independent draws;
//! here the genes over which a cell network is judged depend on each other through the other network,
//! so that the two halves of a pair are not independent, and with genes left out the rest follows a
//! Kronecker sum only roughly. (2) No false edge is likelier selected than by
//! blind choice. The ends of a path of two edges are truly correlated, so an estimator that does not
//! separate partial from marginal dependence, and an early-stopped one does so in part, selects them
//! too often, and does so stably. The fewer edges a refit selects, the less of this is seen, for true
//! edges are the strongest: hence few `edges`, a small multiple of what is expected to be true.
//! `docs/stability.md` has the false-discovery proportions that were measured against simulated truth,
//! beside these bounds.
//!
//! Refits are independent and run side by side. Their seeds are children of one seed, their results are
//! counted in order, and only pairs that were ever selected are stored.

mod refit;
mod rounds;

pub use refit::Refit;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::rounds::Rounds;
use super::common::annotate_edges;
use super::tyler::Side;
use crate::data::{Annotations, Csr, Slot, Value, Values};
use crate::error::{Error, Result};
use crate::fit::{Annotate, Ctx, Method, Stop, StopRule, drive};
use crate::graph::edges::{Keep, Rule};
use crate::params::{ParamDoc, Params};
use crate::stats::selection;

/// Which edges one refit selects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edges {
    /// `per-vertex:R`: the R·d strongest pairs of the whole network, d its vertices; 0 < R.
    PerVertex(f64),
    /// `errors:V`: as many of the strongest pairs as the general bound allows for V expected errors,
    /// q = √(V (2τ − 1) p); 0 < V.
    Errors(f64),
    /// A rule of `keep`, as `top:10`.
    Keep(Keep),
}

impl fmt::Display for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edges::PerVertex(r) => write!(f, "per-vertex:{r}"),
            Edges::Errors(v) => write!(f, "errors:{v}"),
            Edges::Keep(keep) => keep.fmt(f),
        }
    }
}

/// What `edges` may be.
const EDGES: &str = "per-vertex:R or errors:V with a number above 0, or a rule of `keep` other than dense";

impl FromStr for Edges {
    type Err = String;

    fn from_str(text: &str) -> Result<Edges, String> {
        let edges = match text.split_once(':') {
            Some(("per-vertex", r)) => r.parse().ok().map(Edges::PerVertex),
            Some(("errors", v)) => v.parse().ok().map(Edges::Errors),
            _ => text.parse().ok().map(Edges::Keep),
        };
        let good = edges.filter(|e| e.validate().is_ok());
        good.ok_or_else(|| format!("`{text}` must be {EDGES}"))
    }
}

crate::serde_as_text!(Edges);

impl Edges {
    fn validate(&self) -> Result<()> {
        let good = match self {
            Edges::PerVertex(v) | Edges::Errors(v) => v.is_finite() && *v > 0.0,
            Edges::Keep(keep) => keep.rule != Rule::Dense && keep.validate().is_ok(),
        };
        if good {
            return Ok(());
        }
        Err(Error::Param { name: "edges", found: self.to_string(), rule: EDGES })
    }

    /// The rule for a network of `d` vertices of which `there` take part.
    fn rule(&self, d: usize, there: usize, threshold: f64) -> Keep {
        let strongest = |q: f64| {
            // Half a pair more, so that rounding cannot lose the last.
            Keep::from(Rule::Fraction(((q.floor().max(1.0) + 0.5) / pairs(there).max(1.0)).min(1.0)))
        };
        match self {
            Edges::PerVertex(r) => strongest((r * d as f64).round()),
            Edges::Errors(v) => strongest((v * (2.0 * threshold - 1.0) * pairs(d)).sqrt()),
            Edges::Keep(keep) => *keep,
        }
    }
}

/// d (d − 1)/2.
fn pairs(d: usize) -> f64 {
    0.5 * d as f64 * (d as f64 - 1.0)
}

crate::params! {
    /// How networks are judged by refits.
    pub struct Refits {
        /// Refits 2B of each network: an even number, two for each pair of complementary halves; 4 ≤ refits.
        /// Default 100 (Shah and Samworth 2013: B = 50).
        pub refits: usize = 100,
        /// Share τ of the refits in which a stable edge is selected at least; 0.5 < τ ≤ 1. Default 0.9.
        pub threshold: f64 = 0.9,
        /// Edges that one refit selects: a rule of `keep`, per-vertex:R (the R·d strongest pairs among d
        /// vertices), or errors:V (as many of the strongest as bound the expected number of false stable
        /// edges by V). Default top:3, the three strongest of each vertex: on simulated networks at most 2 %
        /// of the stable edges were false; with top:10 up to 13 % (docs/stability.md).
        pub edges: Edges = Edges::Keep(Keep { rule: Rule::Top(3), min_edges: 0 }),
        /// Whether refits use the method's tolerance as it is. `false` stops MED-MAGMA's refits at a relative
        /// change of 1e-3 and accelerates them, which moves frequencies less than another seed does.
        pub exact: bool = false,
    }
}

impl Params for Refits {
    const DOCS: &'static [ParamDoc] = Refits::FIELDS;
}

/// Stability selection around a method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stability<M> {
    /// How the networks are judged.
    pub refits: Refits,
    /// The method.
    pub method: M,
}

impl<M: Refit> Params for Stability<M> {
    const DOCS: &'static [ParamDoc] = Refits::FIELDS;
}

/// Bounds on the expected number of false stable edges; see [`selection`]. Infinite or `p` where a bound
/// says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Meinshausen and Bühlmann: no assumption on a shape.
    pub general: f64,
    /// Shah and Samworth: unimodal.
    pub unimodal: f64,
    /// Shah and Samworth: r-concave.
    pub concave: f64,
}

/// How often each edge of one network was selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Stable {
    /// Whose network.
    pub side: Side,
    /// Vertices d.
    pub nodes: usize,
    /// Refits that were counted.
    pub refits: usize,
    /// τ.
    pub threshold: f64,
    /// (smaller end, larger end, refits that selected it), by position; pairs never selected are left out.
    pub counts: Vec<(u32, u32, u32)>,
    /// Times that a half said nothing of a vertex.
    pub absent: u64,
}

impl Stable {
    /// q: edges selected in one refit, in the mean.
    pub fn selected(&self) -> f64 {
        self.counts.iter().map(|c| f64::from(c.2)).sum::<f64>() / self.refits.max(1) as f64
    }

    /// p: pairs of vertices.
    pub fn candidates(&self) -> f64 {
        pairs(self.nodes)
    }

    /// Fewest selections of a stable edge.
    fn needed(&self) -> u32 {
        selection::needed(self.threshold, self.refits).max(1) as u32
    }

    /// Number of stable edges.
    pub fn edges(&self) -> usize {
        let needed = self.needed();
        self.counts.iter().filter(|c| c.2 >= needed).count()
    }

    /// Share of the refits that selected each pair, d × d, symmetric, zero diagonal.
    pub fn frequencies(&self) -> Csr {
        self.graph(1)
    }

    /// The stable edges, weighted by their share.
    pub fn stable(&self) -> Csr {
        self.graph(self.needed())
    }

    fn graph(&self, least: u32) -> Csr {
        let share = |count: u32| f64::from(count) / self.refits.max(1) as f64;
        let kept = self.counts.iter().filter(|c| c.2 >= least);
        let both = kept.flat_map(|&(i, j, c)| [(i, j, share(c)), (j, i, share(c))]).collect();
        Csr::from_triplets((self.nodes, self.nodes), both)
    }

    /// Bounds at the smallest share at or above τ that occurs among these refits.
    pub fn bounds(&self) -> Bounds {
        let (q, p, pairs) = (self.selected(), self.candidates(), self.refits / 2);
        let threshold = (f64::from(self.needed()) / self.refits.max(1) as f64).min(1.0);
        Bounds {
            general: selection::general(q, p, threshold),
            unimodal: selection::unimodal(q, p, threshold, pairs),
            concave: selection::concave(q, p, threshold, pairs),
        }
    }

    /// How many pairs were selected in 1, 2, … of the refits.
    pub fn histogram(&self) -> Vec<usize> {
        let mut out = vec![0; self.refits];
        self.counts.iter().for_each(|c| out[c.2 as usize - 1] += 1);
        out
    }
}

/// Networks judged by refits.
#[derive(Clone, Debug)]
pub struct StabilityFit {
    /// One per network of the method.
    pub networks: Vec<Stable>,
    /// How the refits ended; `Cancelled` leaves the frequencies so far.
    pub stop: Stop,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl<M: Refit> Method for Stability<M> {
    const NAME: &'static str = M::STABILITY;
    type Input<'a> = Values<'a>;
    type Fitted = StabilityFit;

    fn validate(&self) -> Result<()> {
        let Refits { refits, threshold, edges, .. } = &self.refits;
        let wrong = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if *refits < 4 || refits % 2 == 1 || *refits > 1_000_000 {
            return wrong("refits", refits.to_string(), "an even number from 4 to 1000000");
        }
        if !(*threshold > 0.5 && *threshold <= 1.0) {
            return wrong("threshold", threshold.to_string(), "above 0.5 and at most 1");
        }
        edges.validate()?;
        self.method.validate()
    }

    fn run(&self, input: Values<'_>, ctx: &mut Ctx<'_>) -> Result<StabilityFit> {
        let (n, m) = input.matrix.shape();
        if n.min(m) < 4 {
            let rule = "at least 4 × 4: every half needs two samples";
            return Err(Error::Shape { what: input.what.into(), found: vec![n, m], rule });
        }
        ctx.reserve(self.memory(n, m), "choose fewer features or fewer `--edges`")?;
        let rounds = Rounds {
            refits: &self.refits,
            method: self.method.refit(self.refits.exact),
            sides: self.method.sides(),
            what: input.what,
            // Samples of the other axis are rows of the table or of its transpose.
            by_side: [input.matrix.transpose(), input.matrix.clone()],
            shape: (n, m),
            seed: ctx.seed,
            max_memory: ctx.max_memory,
        };
        let rule = StopRule { max_steps: self.refits.refits, tol: 0.0 };
        let (course, stop) = drive(&rounds, rule, ctx)?;
        let rounds::Tallies { done, sides, troubled, first, .. } = course.state;
        if sides.iter().any(|tally| done > 0 && tally.failed == done) {
            let what = format!("{}: a half that can be fitted", input.what);
            return Err(Error::Missing { what, hint: first.unwrap_or_default() });
        }
        let networks: Vec<Stable> = rounds
            .sides
            .iter()
            .zip(sides)
            .map(|(&side, tally)| Stable {
                side,
                nodes: rounds.nodes(side),
                refits: done,
                threshold: self.refits.threshold,
                counts: tally.counts,
                absent: tally.absent,
            })
            .collect();
        if let Some(first) = first {
            ctx.warn(format!("{troubled} of {} refits warned, the first: {first}", done * networks.len()));
        }
        for network in networks.iter().filter(|n| n.absent > 0) {
            let mean = network.absent as f64 / done.max(1) as f64;
            ctx.warn(format!(
                "In the mean refit {mean:.1} of {} vertices of the {} network cannot be fitted to the half and \
                 have no edge.",
                network.nodes, network.side
            ));
        }
        // MaxSteps is the plan here: all refits were made.
        let stop = if stop == Stop::MaxSteps { Stop::Converged } else { stop };
        Ok(StabilityFit { networks, stop, warnings: ctx.warnings.clone() })
    }
}

impl<M: Refit> Stability<M> {
    /// Peak in bytes besides the fits, which answer for themselves: two copies of the table, the halves,
    /// and the counts if no refit selected what another did.
    fn memory(&self, n: usize, m: usize) -> u64 {
        let ever = |d: usize| {
            let q = match self.refits.edges.rule(d, d, self.refits.threshold).rule {
                Rule::Fraction(share) | Rule::Weighted(share) | Rule::Nonsingleton(share) => share * pairs(d),
                Rule::Top(k) | Rule::TopWeighted(k) => (k * d) as f64,
                _ => pairs(d),
            };
            (q * self.refits.refits as f64).min(pairs(d))
        };
        (8.0 * 4.0 * n as f64 * m as f64 + 2.0 * 12.0 * (ever(n) + ever(m))) as u64
    }
}

impl Annotate for StabilityFit {
    /// `<key>_stability`, the share of refits of every pair ever selected, and the graph of the stable
    /// edges under the key `<key>_stable`, in `obsp` and `varp`; numbers in `uns["<key>_stability"]`.
    fn annotate(&self, key: &str, out: &mut Annotations) {
        for network in &self.networks {
            let pairs = if network.side == Side::Obs { &mut out.obsp } else { &mut out.varp };
            pairs.insert(format!("{key}_stability"), Slot::Csr(network.frequencies()));
            let degree = 2.0 * network.edges() as f64 / network.nodes as f64;
            let neighbours = (degree.round() as usize).max(1);
            annotate_edges(pairs, &mut out.uns, &format!("{key}_stable"), network.stable(), neighbours);
        }
        let map = out.notes(&format!("{key}_stability"));
        for network in &self.networks {
            map.insert(network.side.to_string(), Value::Map(network.summary()));
        }
        map.insert("stop".into(), self.stop.name().into());
        map.insert("warnings".into(), Value::Texts(self.warnings.clone()));
    }
}

impl Stable {
    /// Counts and bounds by name; a bound that is not finite is left out.
    fn summary(&self) -> BTreeMap<String, Value> {
        let whole = |v: usize| Value::Int(i64::try_from(v).unwrap_or(i64::MAX));
        let bounds = self.bounds();
        let mut map = BTreeMap::from([
            ("vertices", whole(self.nodes)),
            ("refits", whole(self.refits)),
            ("threshold", self.threshold.into()),
            ("selected_per_refit", self.selected().into()),
            ("pairs_ever_selected", whole(self.counts.len())),
            ("stable_edges", whole(self.edges())),
            ("histogram", Value::Ints(self.histogram().into_iter().map(|c| c as i64).collect())),
        ]);
        for (name, bound) in
            [("general", bounds.general), ("unimodal", bounds.unimodal), ("concave", bounds.concave)]
        {
            if bound.is_finite() {
                map.insert(name, bound.into());
            }
        }
        map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::edges;
    use crate::methods::kronecker::single_axis::SingleAxis;

    #[test]
    fn rules_select_as_many_as_they_say() {
        let psi =
            ndarray::Array2::from_shape_fn((30, 30), |(i, j)| 1.0 / (1.0 + (i * i + j * j + i * j) as f64));
        let count = |rule: &str| {
            let rule = rule.parse::<Edges>().unwrap().rule(30, 30, 0.9);
            edges::select(&psi, &rule, None).unwrap().entries().filter(|e| e.0 < e.1).count()
        };
        assert_eq!([count("per-vertex:1"), count("per-vertex:0.5"), count("per-vertex:1000")], [30, 15, 435]);
        assert_eq!(count("per-vertex:0.001"), 1, "at least one");
        // √(2 · 0.8 · 435) = 26.4
        assert_eq!(count("errors:2"), 26);
        assert_eq!(count("fraction:0.1"), 43);
        for wrong in
            ["per-vertex:0", "per-vertex:-1", "errors:nan", "errors:0", "errors:inf", "dense", "", "2"]
        {
            assert!(wrong.parse::<Edges>().unwrap_err().contains("per-vertex:R"), "{wrong}");
        }
        for good in ["per-vertex:1.5", "errors:3", "top:10", "weighted:0.1+min_edges:1"] {
            assert_eq!(good.parse::<Edges>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        let why = |refits: Refits| {
            let stability = Stability { refits, method: SingleAxis::default() };
            stability.validate().unwrap_err().to_string()
        };
        for refits in [0, 2, 7, 2_000_000] {
            assert!(why(Refits { refits, ..Refits::default() }).contains("`refits`"));
        }
        for threshold in [0.5, 0.0, 1.01, f64::NAN, -1.0] {
            assert!(why(Refits { threshold, ..Refits::default() }).contains("`threshold`"));
        }
        for edges in [Edges::PerVertex(f64::NAN), Edges::Errors(-1.0), Edges::Keep(Rule::Dense.into())] {
            assert!(why(Refits { edges, ..Refits::default() }).contains("`edges`"));
        }
        let stability =
            Stability { refits: Refits::default(), method: SingleAxis { rcond: -1.0, ..Default::default() } };
        assert!(stability.validate().unwrap_err().to_string().contains("`rcond`"));
    }
}
