//! Settings of `evaluate network`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use unbraid::error::{Error, Result};
use unbraid::metrics::network::{LabelOptions, resolutions};
use unbraid::metrics::robustness::RobustnessOptions;
use unbraid::params::{ParamDoc, Params};
use unbraid::stats::tail::TailOptions;

/// One part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Degrees, components, density.
    Degrees,
    /// Assortativity and communities against labels.
    Labels,
    /// Ranking of pairs against a true network.
    Truth,
    /// Modules of features, their shares and hubs.
    Modules,
    /// Communities under perturbation.
    Robustness,
    /// Tail dependence of the values.
    Tail,
}

unbraid::words!(
    Part,
    "a part of the suite",
    Degrees = "degrees",
    Labels = "labels",
    Truth = "truth",
    Modules = "modules",
    Robustness = "robustness",
    Tail = "tail",
);

const ALL: [Part; 6] =
    [Part::Degrees, Part::Labels, Part::Truth, Part::Modules, Part::Robustness, Part::Tail];
const USUAL: [Part; 4] = [Part::Degrees, Part::Labels, Part::Truth, Part::Modules];

/// Which parts are run: names with commas between them, `usual` or `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts(BTreeSet<Part>);

impl Parts {
    pub fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().eq(&ALL) {
            return f.write_str("all");
        }
        if self.0.iter().eq(&USUAL) {
            return f.write_str("usual");
        }
        f.write_str(&self.0.iter().map(Part::to_string).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Parts {
    type Err = String;
    fn from_str(text: &str) -> Result<Parts, String> {
        let mut parts = BTreeSet::new();
        for word in text.split(',').map(str::trim) {
            match word {
                "usual" => parts.extend(USUAL),
                "all" => parts.extend(ALL),
                other => {
                    let part: Part = other.parse().map_err(|e| format!("{e}, usual, all"))?;
                    parts.insert(part);
                }
            }
        }
        Ok(Parts(parts))
    }
}

unbraid::serde_as_text!(Parts);

/// Numbers of neighbours: `auto`, or whole numbers with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Neighbours {
    /// 5, 10, and the number the network was kept with.
    Auto,
    /// These, rising.
    List(Vec<usize>),
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Neighbours::Auto => f.write_str("auto"),
            Neighbours::List(k) => f.write_str(&k.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl FromStr for Neighbours {
    type Err = String;
    fn from_str(text: &str) -> Result<Neighbours, String> {
        if text == "auto" {
            return Ok(Neighbours::Auto);
        }
        let whole = |t: &str| t.trim().parse::<usize>().ok().filter(|k| *k > 0);
        let list: Option<BTreeSet<usize>> = text.split(',').map(whole).collect();
        list.map(|k| Neighbours::List(k.into_iter().collect()))
            .ok_or_else(|| format!("`{text}` must be auto, or whole numbers from 1 as 5,10"))
    }
}

unbraid::serde_as_text!(Neighbours);

/// An even grid: `LOW:HIGH:COUNT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    low: f64,
    high: f64,
    count: usize,
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.low, self.high, self.count)
    }
}

impl FromStr for Grid {
    type Err = String;
    fn from_str(text: &str) -> Result<Grid, String> {
        let read = || {
            let (low, rest) = text.split_once(':')?;
            let (high, count) = rest.split_once(':')?;
            let grid = Grid { low: low.parse().ok()?, high: high.parse().ok()?, count: count.parse().ok()? };
            let good = grid.low >= 0.0 && grid.high >= grid.low && grid.high.is_finite();
            (good && (1..=1000).contains(&grid.count)).then_some(grid)
        };
        read().ok_or_else(|| {
            format!("`{text}` must be LOW:HIGH:COUNT as 0.1:2:12, 0 ≤ LOW ≤ HIGH, COUNT from 1 to 1000")
        })
    }
}

unbraid::serde_as_text!(Grid);

unbraid::params! {
    /// Settings of `evaluate network`.
    pub struct NetworkSuite {
        /// What is run, with commas between: `degrees`, `labels` (needs --label), `truth` (needs
        /// --truth), `modules` (of the features; tested between classes with --label), `robustness`
        /// (communities under perturbation; takes longest), `tail` (tail dependence of the values);
        /// `usual` is the first four, `all` everything. Default usual.
        pub parts: Parts = Parts(USUAL.into()),
        /// Neighbours per vertex, k, at which graphs are judged by labels: `auto` (5, 10 and the number
        /// that the network was kept with), or as `3,5,10`. A network kept with top:K is known for k up
        /// to K, one kept with `dense` for all; others are judged as they are. Default auto.
        pub neighbours: Neighbours = Neighbours::Auto,
        /// Leiden resolutions, `LOW:HIGH:COUNT`; the paper's are 0.02:2:100. Default 0.1:2:12.
        pub resolutions: Grid = Grid { low: 0.1, high: 2.0, count: 12 },
        /// Whether the communities that are compared with labels read the weights |ψ|. Default false,
        /// as in the MED-MAGMA paper's evaluation of real data.
        pub weighted: bool = false,
        /// Leiden resolution of modules (weighted) and of robustness (unweighted); 0 or larger. Default
        /// 1 (MED-MAGMA paper, §6).
        pub module_resolution: f64 = 1.0,
        /// Fewest features of a module; at least 1. Default 3.
        pub smallest: usize = 3,
        /// Hubs named per module. Default 5.
        pub hubs: usize = 5,
        /// Robustness: perturbed copies of the network and of random graphs; at least 2. Default 10
        /// (robin).
        pub repeats: usize = 10,
        /// Robustness: graphs averaged in one value; at least 1. Default 1; robin averages 10.
        pub averaged: usize = 1,
        /// Robustness: random exchanges behind the p-value; at least 1. Default 9999.
        pub permutations: usize = 9999,
        /// Tail dependence: pairs drawn per axis; at least 1. Default 1000 (MED-MAGMA paper, Figure 1).
        pub pairs: usize = 1000,
        /// Tail dependence: quantile above which a value is extreme; above 0 and below 1. Default 0.93
        /// (the same).
        pub quantile: f64 = 0.93,
    }
}

impl Params for NetworkSuite {
    const DOCS: &'static [ParamDoc] = NetworkSuite::FIELDS;
}

impl NetworkSuite {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<()> {
        let bad = |name, found: String, rule| Err(Error::Param { name, found, rule });
        if !(self.module_resolution.is_finite() && self.module_resolution >= 0.0) {
            return bad("module_resolution", self.module_resolution.to_string(), "finite and at least 0");
        }
        if self.smallest == 0 {
            return bad("smallest", "0".into(), "at least 1");
        }
        if !(self.quantile > 0.0 && self.quantile < 1.0) {
            return bad("quantile", self.quantile.to_string(), "above 0 and below 1");
        }
        if self.pairs == 0 {
            return bad("pairs", "0".into(), "at least 1");
        }
        self.robustness().validate()
    }

    pub fn labels(&self) -> LabelOptions {
        let Grid { low, high, count } = self.resolutions;
        LabelOptions { resolutions: resolutions(low, high, count), weighted: self.weighted }
    }

    pub fn robustness(&self) -> RobustnessOptions {
        RobustnessOptions {
            repeats: self.repeats,
            averaged: self.averaged,
            resolution: self.module_resolution,
            permutations: self.permutations,
            ..RobustnessOptions::default()
        }
    }

    pub fn tail(&self) -> TailOptions {
        TailOptions { pairs: self.pairs, quantile: self.quantile, distinct: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_both_ways_and_wrong_ones_name_what_is_allowed() {
        for text in ["usual", "all", "labels", "degrees,tail"] {
            assert_eq!(text.parse::<Parts>().unwrap().to_string(), text);
        }
        assert_eq!("usual,robustness,tail".parse::<Parts>().unwrap().to_string(), "all");
        for text in ["auto", "5", "3,5,10"] {
            assert_eq!(text.parse::<Neighbours>().unwrap().to_string(), text);
        }
        assert_eq!("10, 5,5".parse::<Neighbours>().unwrap().to_string(), "5,10");
        assert_eq!("0.02:2:100".parse::<Grid>().unwrap().to_string(), "0.02:2:100");
        assert!("leaves".parse::<Parts>().unwrap_err().contains("robustness, tail, usual, all"));
        assert!("0".parse::<Neighbours>().is_err() && "".parse::<Neighbours>().is_err());
        for wrong in ["1:2", "2:1:3", "-1:2:3", "0:1:0", "0:inf:3", "nan:1:2", "0:1:1001"] {
            assert!(wrong.parse::<Grid>().unwrap_err().contains("LOW:HIGH:COUNT"), "{wrong}");
        }
        let json = serde_json::to_value(NetworkSuite::default()).unwrap();
        assert_eq!(json["parts"], "usual");
        assert_eq!(serde_json::from_value::<NetworkSuite>(json).unwrap(), NetworkSuite::default());
        assert_eq!(NetworkSuite::default().labels(), LabelOptions::default());
        assert_eq!(NetworkSuite::default().robustness(), RobustnessOptions::default());
        assert_eq!(NetworkSuite::default().tail(), TailOptions::default());
    }

    #[test]
    fn ranges_are_kept() {
        let bad = |change: fn(&mut NetworkSuite)| {
            let mut suite = NetworkSuite::default();
            change(&mut suite);
            suite.validate().unwrap_err().to_string()
        };
        assert!(bad(|s| s.module_resolution = f64::NAN).contains("module_resolution"));
        assert!(bad(|s| s.smallest = 0).contains("smallest"));
        assert!(bad(|s| s.repeats = 1).contains("repeats"));
        assert!(bad(|s| s.averaged = 0).contains("averaged"));
        assert!(bad(|s| s.permutations = 0).contains("permutations"));
        assert!(bad(|s| s.pairs = 0).contains("pairs"));
        assert!(bad(|s| s.quantile = 1.0).contains("quantile"));
        assert!(NetworkSuite::default().validate().is_ok());
    }
}
