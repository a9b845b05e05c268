//! A number, or the one that held-out values choose.

/// An amount that may be left to the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// What predicts held-out values best.
    Auto,
    /// This much; finite and 0 or larger.
    Of(f64),
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Amount::Auto => f.write_str("auto"),
            Amount::Of(amount) => amount.fmt(f),
        }
    }
}

impl std::str::FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Amount, String> {
        match (text, text.parse::<f64>()) {
            ("auto", _) => Ok(Amount::Auto),
            (_, Ok(amount)) if amount >= 0.0 && amount.is_finite() => Ok(Amount::Of(amount)),
            _ => Err(format!("`{text}` is neither auto nor a number from 0")),
        }
    }
}

crate::serde_as_text!(Amount);
