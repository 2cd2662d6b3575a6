//! In what numbers a network computes.

use serde::{Deserialize, Serialize};

/// What the user wants a network to compute in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Precision {
    /// bf16 where it is quicker and nothing is lost by it, else fp32.
    #[default]
    Auto,
    /// fp32.
    Fp32,
    /// bf16 (8 bits of mantissa).
    Bf16,
}

/// A word that names no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the precision is {0:?}; it is one of auto, fp32 and bf16")]
pub struct UnknownPrecision(String);

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Fp32, Self::Bf16];

    /// As it is written in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

impl TryFrom<String> for Precision {
    type Error = UnknownPrecision;

    fn try_from(word: String) -> Result<Self, UnknownPrecision> {
        let named = Self::ALL.into_iter().find(|p| p.name() == word);
        named.ok_or(UnknownPrecision(word))
    }
}

impl From<Precision> for &'static str {
    fn from(precision: Precision) -> Self {
        precision.name()
    }
}
