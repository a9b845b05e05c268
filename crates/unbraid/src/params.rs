//! Parameters say meaning, symbol, range and source once: the doc comment is also the help text.

use serde::{Serialize, de::DeserializeOwned};

/// One parameter, as a user reads about it.
#[derive(Clone, Copy, Debug)]
pub struct ParamDoc {
    /// Name as typed after `--set`.
    pub name: &'static str,
    /// Meaning, symbol, range and source: the field's doc comment.
    pub doc: &'static str,
}

/// A plain parameter struct: `Default` is what we recommend, presets are named sets of values.
pub trait Params: Default + Clone + Serialize + DeserializeOwned {
    /// Every field with its doc comment.
    const DOCS: &'static [ParamDoc];

    /// The named set of values, `None` where there is no such preset.
    fn preset(_name: &str) -> Option<Self> {
        None
    }
}

/// Declares a parameter struct once: public fields, doc comments, defaults, serde, [`Params::DOCS`].
///
/// ```
/// unbraid::params! {
///     /// A ridge.
///     pub struct Ridge {
///         /// Weight `ρ` of the squared norm; 0 ≤ ρ.
///         pub rho: f64 = 0.5,
///     }
/// }
/// use unbraid::params::Params;
/// assert_eq!(Ridge::default().rho, 0.5);
/// assert!(Ridge::DOCS[0].doc.contains("squared norm"));
/// # impl Params for Ridge { const DOCS: &'static [unbraid::params::ParamDoc] = Ridge::FIELDS; }
/// ```
#[macro_export]
macro_rules! params {
    (
        $(#[$outer:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ pub $field:ident : $ty:ty = $default:expr ),+ $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field : $ty ),+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field : $default ),+ }
            }
        }

        impl $name {
            /// Every field with its doc comment.
            pub const FIELDS: &'static [$crate::params::ParamDoc] = &[
                $( $crate::params::ParamDoc { name: stringify!($field), doc: concat!($($doc, "\n"),+) } ),+
            ];
        }
    };
}

/// Serde through `Display` and `FromStr`, for parameters typed as words such as `top:10`.
#[macro_export]
macro_rules! serde_as_text {
    ($name:ty) => {
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> ::std::result::Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> ::std::result::Result<Self, D::Error> {
                let text = <String as ::serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

/// An enum typed as single words: Display, FromStr (whose error lists the words) and serde.
#[macro_export]
macro_rules! words {
    ($name:ident, $what:literal, $($variant:ident = $word:literal),+ $(,)?) => {
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(match self { $($name::$variant => $word),+ })
            }
        }
        impl ::std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> ::std::result::Result<Self, String> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(format!("`{text}` is not {}; allowed are {}", $what, [$($word),+].join(", "))),
                }
            }
        }
        $crate::serde_as_text!($name);
    };
}
