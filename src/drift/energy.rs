//! How little evidence a classifier sees for any of its classes.

use serde::{Deserialize, Serialize};

use super::{DriftError, Scorer};

/// The free energy of the logits `f`, `-T log Σ exp(f_c / T)` (Liu et al., "Energy-based
/// Out-of-distribution Detection", NeurIPS 2020, equation 4). Any sign; higher is more anomalous. A row
/// holds the logits of one image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    classes: usize,
    temperature: f64,
}

impl Energy {
    /// For logits of `classes` classes; the paper's temperature is 1.
    ///
    /// # Errors
    /// [`DriftError::BadOption`] for no class, [`DriftError::BadTemperature`].
    pub fn new(classes: usize, temperature: f64) -> Result<Self, DriftError> {
        some_classes(classes)?;
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(DriftError::BadTemperature { temperature });
        }
        Ok(Self {
            classes,
            temperature,
        })
    }
}

impl Scorer for Energy {
    fn dim(&self) -> usize {
        self.classes
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        for (row, score) in rows.chunks_exact(self.classes).zip(scores) {
            let scaled: Vec<f64> = row
                .iter()
                .map(|f| f64::from(*f) / self.temperature)
                .collect();
            *score = -self.temperature * log_sum_exp(&scaled);
        }
    }
}

/// Refuses logits of no class.
pub(super) fn some_classes(classes: usize) -> Result<(), DriftError> {
    if classes > 0 {
        return Ok(());
    }
    Err(DriftError::BadOption {
        what: "the number of classes",
        given: 0,
        least: 1,
        most: 254,
    })
}

/// `log Σ exp(v)`, without overflow.
pub(super) fn log_sum_exp(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    highest + values.iter().map(|v| (v - highest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    #[test]
    fn only_a_temperature_is_accepted() {
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = Energy::new(3, temperature).expect_err("no temperature");
            assert!(refused.to_string().contains("above 0"), "{refused}");
        }
        let refused = Energy::new(0, 1.0).expect_err("no class").to_string();
        assert!(
            refused.starts_with("the number of classes is 0"),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn a_constant_shifts_it_by_as_much(
            // Halves, so that the sums are exact.
            logits in prop::collection::vec((-100_i16..100).prop_map(|v| f32::from(v) / 2.0), 1..8),
            shift in -200_i16..200,
        ) {
            let energy = Energy::new(logits.len(), 1.0).expect("positive");
            let shift = f32::from(shift) / 2.0;
            let shifted: Vec<f32> = logits.iter().map(|f| f + shift).collect();
            let before = energy.score(&logits).expect("finite");
            let after = energy.score(&shifted).expect("finite");
            prop_assert!((before - f64::from(shift) - after).abs() < 1e-12 * (1.0 + before.abs()));
        }

        #[test]
        fn a_score_does_not_depend_on_company(seed in 0_u64..50) {
            check_scorer(&Energy::new(6, 2.0).expect("positive"), &noise(80, 6, seed), seed);
        }
    }
}
