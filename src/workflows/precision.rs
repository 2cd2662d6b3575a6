//! In what numbers networks are run on this machine.

use crate::domain;
use crate::inference::{Evidence, fallback};
use crate::models::{Precision, best_device};

use super::RunSummary;

/// What the user should know who wants networks run in `wanted` on this machine, if anything.
#[must_use]
pub fn precision_fallback(wanted: domain::Precision) -> Option<String> {
    fallback(wanted, Precision::fastest(best_device()))
}

/// In what numbers a network is run here where the user wants `wanted`, and why: the network of `run`, or a
/// pretrained one that has not answered anything yet.
#[must_use]
pub fn precision_in_words(wanted: domain::Precision, run: Option<&RunSummary>) -> String {
    let evidence = run.map_or(Evidence::Features, |run| {
        Evidence::Answers(run.bf16_agreement)
    });
    evidence.in_words(wanted, Precision::fastest(best_device()))
}
