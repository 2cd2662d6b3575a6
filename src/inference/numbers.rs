//! In what numbers a finished network is run.

use super::Agreement;
use crate::domain;
use crate::models::Precision;

/// Emulated bf16 is slower than fp32.
const ONLY_NATIVE: &str = "bf16 is for processors that multiply it themselves (AVX512-BF16)";

/// What there is to judge bf16 by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// A trained network that answers, and how often its answers in bf16 are those in fp32, where that was measured.
    Answers(Option<Agreement>),
    /// A pretrained network whose features are only compared with each other: an angle between two of them hardly
    /// feels the rounding.
    Features,
}

impl Evidence {
    /// In what to run the network where the user wants `wanted` and `fastest` is the quickest this machine has.
    #[must_use]
    pub fn run_in(self, wanted: domain::Precision, fastest: Precision) -> Precision {
        let enough = match self {
            Self::Answers(agreement) => agreement.is_some_and(Agreement::is_enough),
            Self::Features => true,
        };
        match wanted {
            domain::Precision::Bf16 => fastest,
            domain::Precision::Auto if enough => fastest,
            domain::Precision::Auto | domain::Precision::Fp32 => Precision::Full,
        }
    }

    /// What [`Evidence::run_in`] comes to, and why, for people.
    #[must_use]
    pub fn in_words(self, wanted: domain::Precision, fastest: Precision) -> String {
        let runs = match self.run_in(wanted, fastest) {
            Precision::Full => "fp32",
            Precision::BFloat16 => "bf16",
        };
        if fastest == Precision::Full {
            let wanted = wanted.name();
            return format!("{wanted} is {runs}: {ONLY_NATIVE}.");
        }
        let measured = match self {
            Self::Features => {
                "features are only compared with each other, which hardly feels bf16".to_owned()
            }
            Self::Answers(None) => "bf16 was not compared with fp32 in this run".to_owned(),
            Self::Answers(Some(agreement)) => agreement.to_string(),
        };
        match (wanted, self) {
            (domain::Precision::Auto, Self::Answers(_)) => format!(
                "auto is {runs} here: {measured}, and {} are asked for.",
                Agreement::REQUIRED_IN_WORDS
            ),
            (domain::Precision::Auto, Self::Features) => {
                format!("auto is {runs} here: {measured}.")
            }
            _ => format!("Always {runs}; {measured}."),
        }
    }
}

/// What the user should know who wants `wanted` of a machine whose quickest precision is `fastest`, if anything.
#[must_use]
pub fn fallback(wanted: domain::Precision, fastest: Precision) -> Option<String> {
    let falls_back = wanted == domain::Precision::Bf16 && fastest == Precision::Full;
    falls_back.then(|| format!("networks run in fp32 here, not in bf16: {ONLY_NATIVE}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Precision::{Auto, Bf16, Fp32};

    #[test]
    fn bf16_is_used_where_it_is_wanted_or_proven_and_the_machine_has_it() {
        let answers = |share| Evidence::Answers(Some(Agreement { share, n: 283 }));
        let (full, half) = (Precision::Full, Precision::BFloat16);
        for (evidence, wanted, runs) in [
            (answers(0.996), Auto, half),
            (answers(0.99), Auto, full),
            (Evidence::Answers(None), Auto, full),
            (Evidence::Features, Auto, half),
            (answers(0.5), Bf16, half),
            (Evidence::Answers(None), Bf16, half),
            (answers(1.0), Fp32, full),
            (Evidence::Features, Fp32, full),
        ] {
            assert_eq!(
                evidence.run_in(wanted, half),
                runs,
                "{evidence:?} {wanted:?}"
            );
            assert_eq!(evidence.run_in(wanted, full), full, "no bf16 here");
            let words = evidence.in_words(wanted, half);
            let name = if runs == half { "bf16" } else { "fp32" };
            assert!(
                words.contains(&format!("is {name} here"))
                    || words.contains(&format!("Always {name}")),
                "{words}"
            );
            assert!(
                evidence
                    .in_words(wanted, full)
                    .contains("is fp32: bf16 is for")
            );
        }
        let words = answers(282.0 / 283.0).in_words(Auto, half);
        assert_eq!(
            words,
            "auto is bf16 here: bf16 gives fp32's answer on 99.6 % of 283 images, and 99.5 % are asked for."
        );
    }

    #[test]
    fn who_wants_bf16_of_a_machine_without_it_is_told() {
        assert!(fallback(Bf16, Precision::Full).is_some_and(|s| s.contains("run in fp32 here")));
        for (wanted, fastest) in [
            (Bf16, Precision::BFloat16),
            (Auto, Precision::Full),
            (Fp32, Precision::Full),
        ] {
            assert_eq!(fallback(wanted, fastest), None);
        }
    }
}
