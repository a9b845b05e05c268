//! Names of the rules by which edges are kept, as a user types them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// One rule for which off-diagonal entries are edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `dense`: every entry.
    Dense,
    /// `top:K`: the K largest |ψ| of each row, in either direction; 1 ≤ K.
    Top(usize),
    /// `fraction:P`: the ⌊P (d² − d)/2⌋ pairs with the largest |ψ|; 0 < P ≤ 1.
    Fraction(f64),
    /// `weighted:P`: as `fraction`, after |ψ_ij| was divided by the column sum of |ψ| (diagonal left
    /// out); a pair counts with the larger of its two scores.
    Weighted(f64),
    /// `top-weighted:K`: as `top`, after the same division.
    TopWeighted(usize),
    /// `nonsingleton:P`: every pair above the largest threshold that leaves at least ⌈P d⌉ rows with an
    /// edge; 0 < P ≤ 1.
    Nonsingleton(f64),
    /// `significant:α`: |ψ|/2 at or above the normal quantile z(1 − α) over the [`Significance`](super::edges::Significance)
    /// coefficient; 0 < α < 1.
    Significant(f64),
    /// `bonferroni:α`: the same with α divided by the number of pairs.
    Bonferroni(f64),
}

/// Which entries of a precision matrix are kept: a rule, and how many edges every row keeps at least.
///
/// As text: `dense`, `top:10`, `fraction:0.1`, `weighted:0.1`, `top-weighted:10`, `nonsingleton:0.9`,
/// `significant:0.05`, `bonferroni:0.05`, each optionally followed by `+min_edges:K`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keep {
    /// The rule.
    pub rule: Rule,
    /// The K strongest edges of each row are kept whatever the rule says; 0 is none.
    pub min_edges: usize,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep::from(Rule::Top(10))
    }
}

impl From<Rule> for Keep {
    fn from(rule: Rule) -> Keep {
        Keep { rule, min_edges: 0 }
    }
}

const GRAMMAR: &str = "one of dense, top:K, fraction:P, weighted:P, top-weighted:K, nonsingleton:P, \
    significant:ALPHA, bonferroni:ALPHA (K a whole number from 1, 0 < P ≤ 1, 0 < ALPHA < 1), optionally \
    followed by +min_edges:K";

impl Keep {
    /// Refuses numbers outside their range.
    ///
    /// # Errors
    /// [`Error::Param`] naming `keep`.
    pub fn validate(&self) -> Result<()> {
        let good = match self.rule {
            Rule::Dense => true,
            Rule::Top(k) | Rule::TopWeighted(k) => k >= 1,
            Rule::Fraction(p) | Rule::Weighted(p) | Rule::Nonsingleton(p) => p > 0.0 && p <= 1.0,
            Rule::Significant(a) | Rule::Bonferroni(a) => a > 0.0 && a < 1.0,
        };
        if good {
            return Ok(());
        }
        Err(Error::Param { name: "keep", found: self.to_string(), rule: GRAMMAR })
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Dense => write!(f, "dense"),
            Rule::Top(k) => write!(f, "top:{k}"),
            Rule::Fraction(p) => write!(f, "fraction:{p}"),
            Rule::Weighted(p) => write!(f, "weighted:{p}"),
            Rule::TopWeighted(k) => write!(f, "top-weighted:{k}"),
            Rule::Nonsingleton(p) => write!(f, "nonsingleton:{p}"),
            Rule::Significant(a) => write!(f, "significant:{a}"),
            Rule::Bonferroni(a) => write!(f, "bonferroni:{a}"),
        }?;
        if self.min_edges > 0 { write!(f, "+min_edges:{}", self.min_edges) } else { Ok(()) }
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Keep, String> {
        let wrong = || format!("`{text}` must be {GRAMMAR}");
        let (rule, least) = match text.split_once('+') {
            Some((rule, least)) => (rule, Some(least)),
            None => (text, None),
        };
        let (name, number) = match rule.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (rule, None),
        };
        let whole = || number.and_then(|n| n.parse::<usize>().ok()).ok_or_else(wrong);
        let real = || number.and_then(|n| n.parse::<f64>().ok()).ok_or_else(wrong);
        let rule = match name {
            "dense" if number.is_none() => Rule::Dense,
            "top" => Rule::Top(whole()?),
            "fraction" => Rule::Fraction(real()?),
            "weighted" => Rule::Weighted(real()?),
            "top-weighted" => Rule::TopWeighted(whole()?),
            "nonsingleton" => Rule::Nonsingleton(real()?),
            "significant" => Rule::Significant(real()?),
            "bonferroni" => Rule::Bonferroni(real()?),
            _ => return Err(wrong()),
        };
        let min_edges = match least {
            None => 0,
            Some(l) => l.strip_prefix("min_edges:").and_then(|k| k.parse().ok()).ok_or_else(wrong)?,
        };
        let keep = Keep { rule, min_edges };
        keep.validate().map_err(|_| wrong())?;
        Ok(keep)
    }
}

crate::serde_as_text!(Keep);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 10] = [
        "dense",
        "top:3",
        "fraction:0.07",
        "fraction:1",
        "weighted:0.1",
        "top-weighted:2",
        "nonsingleton:0.5",
        "significant:0.05",
        "bonferroni:0.05",
        "weighted:0.02+min_edges:2",
    ];

    #[test]
    fn text_goes_both_ways_and_wrong_text_is_refused() {
        for rule in ALL {
            let keep: Keep = rule.parse().unwrap();
            assert_eq!(keep.to_string(), rule);
            let json = serde_json::to_string(&keep).unwrap();
            assert_eq!(serde_json::from_str::<Keep>(&json).unwrap(), keep);
        }
        assert_eq!(Keep::default().to_string(), "top:10");
        for wrong in [
            "",
            "top",
            "top:0",
            "top:-1",
            "top:1.5",
            "dense:3",
            "fraction:0",
            "fraction:1.1",
            "fraction:nan",
            "significant:1",
            "bonferroni:0",
            "top:3+min:2",
            "top:3+",
            "all",
        ] {
            assert!(wrong.parse::<Keep>().unwrap_err().contains("top:K"), "{wrong}");
        }
        let why = Keep::from(Rule::Fraction(2.0)).validate().unwrap_err().to_string();
        assert!(why.contains("`keep` is fraction:2"), "{why}");
    }
}
