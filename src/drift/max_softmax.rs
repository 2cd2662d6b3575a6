//! How unsure a classifier is.

use serde::{Deserialize, Serialize};

use super::energy::some_classes;
use super::{DriftError, Scorer};

/// One minus the largest softmax probability (Hendrycks & Gimpel, "A Baseline for Detecting Misclassified
/// and Out-of-Distribution Examples in Neural Networks", ICLR 2017, section 2). In `[0, 1 - 1/classes]`;
/// higher is more anomalous. A row holds the logits of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxSoftmax {
    classes: usize,
}

impl MaxSoftmax {
    /// For logits of `classes` classes.
    ///
    /// # Errors
    /// [`DriftError::BadOption`] for no class.
    pub fn new(classes: usize) -> Result<Self, DriftError> {
        some_classes(classes)?;
        Ok(Self { classes })
    }
}

impl Scorer for MaxSoftmax {
    fn dim(&self) -> usize {
        self.classes
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        for (row, score) in rows.chunks_exact(self.classes).zip(scores) {
            let logit = |class: usize| f64::from(row[class]);
            let answer =
                (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
            // Summed without the largest: near certainty, 1 - p would be rounded away.
            let others: f64 = (0..row.len())
                .filter(|class| *class != answer)
                .map(|class| (logit(class) - logit(answer)).exp())
                .sum();
            *score = others / (1.0 + others);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    #[test]
    fn doubt_is_told_from_certainty() {
        let score = |logits: &[f32]| {
            let scorer = MaxSoftmax::new(logits.len()).expect("classes");
            scorer.score(logits).expect("finite")
        };
        assert_eq!(score(&[3.0, 3.0, 3.0, 3.0]), 0.75);
        assert_eq!(score(&[7.0]), 0.0);
        // Far below what 1 - p can tell from 0.
        assert!((score(&[50.0, 0.0]) / (-50.0_f64).exp() - 1.0).abs() < 1e-9);
        assert!(MaxSoftmax::new(0).is_err());
    }

    proptest! {
        #[test]
        fn a_constant_changes_nothing(
            // Halves, so that the sums are exact.
            logits in prop::collection::vec((-100_i16..100).prop_map(|v| f32::from(v) / 2.0), 1..8),
            shift in -200_i16..200,
        ) {
            let scorer = MaxSoftmax::new(logits.len()).expect("classes");
            let shifted: Vec<f32> = logits.iter().map(|f| f + f32::from(shift) / 2.0).collect();
            let score = scorer.score(&logits).expect("finite");
            prop_assert_eq!(scorer.score(&shifted), Ok(score));
            prop_assert!((0.0..1.0).contains(&score));
        }

        #[test]
        fn a_score_does_not_depend_on_company(seed in 0_u64..50) {
            check_scorer(&MaxSoftmax::new(6).expect("classes"), &noise(80, 6, seed), seed);
        }
    }
}
