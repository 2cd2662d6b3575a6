//! Temperature scaling: one number that makes a network's confidence honest.

use serde::{Deserialize, Serialize};

use super::EvaluationError;
use crate::domain::ClassId;

/// The number that logits are divided by before softmax (Guo et al., "On Calibration of Modern Neural
/// Networks", ICML 2017). Above 1 it makes the model less sure; the answer never changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature(pub f64);

/// Bounds of the inverse temperature: without them, logits that make no mistake would ask for 0 K.
const INVERSE_MIN: f64 = 0.01;
const INVERSE_MAX: f64 = 100.0;

impl Default for Temperature {
    /// 1: the softmax as it is.
    fn default() -> Self {
        Self(1.0)
    }
}

impl Temperature {
    /// The temperature in `[0.01, 100]` with the smallest mean negative log-likelihood of `truth`, to a
    /// relative 1e-9. `logits` are row by row, `classes` for each image. Fit it on validation images.
    ///
    /// The likelihood is convex in the inverse temperature, so the root of its slope is found by Newton
    /// steps kept inside a shrinking bracket.
    ///
    /// # Errors
    /// [`EvaluationError::Empty`], [`EvaluationError::LengthMismatch`] (where the logits are not
    /// `classes` for each label), [`EvaluationError::NotFinite`], [`EvaluationError::ClassOutOfRange`].
    pub fn fit(logits: &[f32], classes: usize, truth: &[ClassId]) -> Result<Self, EvaluationError> {
        check(logits, classes, truth)?;
        let slope_at = |inverse: f64| {
            let (mut slope, mut curvature) = (0.0, 0.0);
            for (row, class) in logits.chunks_exact(classes).zip(truth) {
                let (mean, variance) = moments(row, inverse);
                slope += mean - f64::from(row[class.index()]);
                curvature += variance;
            }
            (slope, curvature)
        };
        let (mut lo, mut hi) = (INVERSE_MIN, INVERSE_MAX);
        let slope_at_lo = slope_at(lo).0;
        if slope_at_lo > 0.0 {
            return Ok(Self(1.0 / lo));
        }
        if slope_at(hi).0 <= 0.0 {
            // A slope of 0 everywhere means equal logits, to which every temperature is the same.
            return Ok(if slope_at_lo == 0.0 {
                Self::default()
            } else {
                Self(1.0 / hi)
            });
        }
        let mut inverse = 1.0;
        while (hi - lo) > 1e-9 * lo {
            let (slope, curvature) = slope_at(inverse);
            if slope > 0.0 {
                hi = inverse;
            } else {
                lo = inverse;
            }
            let newton = inverse - slope / curvature;
            let next = if newton > lo && newton < hi {
                newton
            } else {
                (lo * hi).sqrt()
            };
            if (next - inverse).abs() <= 1e-12 * inverse {
                break;
            }
            inverse = next;
        }
        Ok(Self(1.0 / inverse))
    }

    /// Softmax of `logits / T`: sums to 1.
    #[must_use]
    pub fn probabilities(self, logits: &[f32]) -> Vec<f64> {
        let mut p = exponentials(logits, 1.0 / self.0).collect::<Vec<_>>();
        let sum: f64 = p.iter().sum();
        for value in &mut p {
            *value /= sum;
        }
        p
    }

    /// Mean negative log-likelihood in nats of `truth` under these logits.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn negative_log_likelihood(
        self,
        logits: &[f32],
        classes: usize,
        truth: &[ClassId],
    ) -> Result<f64, EvaluationError> {
        check(logits, classes, truth)?;
        let sum: f64 = logits
            .chunks_exact(classes)
            .zip(truth)
            .map(|(row, class)| {
                let partition: f64 = exponentials(row, 1.0 / self.0).sum();
                partition.ln() - (f64::from(row[class.index()]) - f64::from(largest(row))) / self.0
            })
            .sum();
        Ok(sum / truth.len() as f64)
    }
}

fn check(logits: &[f32], classes: usize, truth: &[ClassId]) -> Result<(), EvaluationError> {
    if truth.is_empty() || classes == 0 {
        return Err(EvaluationError::Empty);
    }
    if logits.len() != truth.len() * classes {
        return Err(EvaluationError::LengthMismatch {
            scores: logits.len() / classes,
            labels: truth.len(),
        });
    }
    if let Some(at) = logits.iter().position(|v| !v.is_finite()) {
        return Err(EvaluationError::NotFinite { row: at / classes });
    }
    match truth.iter().position(|class| class.index() >= classes) {
        Some(row) => Err(EvaluationError::ClassOutOfRange {
            row,
            class: truth[row].index(),
            classes,
        }),
        None => Ok(()),
    }
}

fn largest(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `exp((z - max z) * inverse)`: at most 1, so nothing overflows.
fn exponentials(row: &[f32], inverse: f64) -> impl Iterator<Item = f64> {
    let top = f64::from(largest(row));
    row.iter()
        .map(move |z| ((f64::from(*z) - top) * inverse).exp())
}

/// Mean and variance of the logits of one image under its own softmax: slope and curvature of its
/// negative log-likelihood in the inverse temperature.
fn moments(row: &[f32], inverse: f64) -> (f64, f64) {
    let partition: f64 = exponentials(row, inverse).sum();
    let weighted = |value: &dyn Fn(f64) -> f64| {
        exponentials(row, inverse)
            .zip(row)
            .map(|(e, z)| e * value(f64::from(*z)))
            .sum::<f64>()
            / partition
    };
    let mean = weighted(&|z| z);
    (mean, weighted(&|z| (z - mean).powi(2)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_input_is_refused() {
        let truth = [ClassId(0)];
        let fit = Temperature::fit;
        assert_eq!(fit(&[], 3, &[]), Err(EvaluationError::Empty));
        assert!(matches!(
            fit(&[0.0; 2], 3, &truth),
            Err(EvaluationError::LengthMismatch { .. })
        ));
        assert!(fit(&[0.0, f32::NAN, 0.0], 3, &truth).is_err());
        assert!(
            fit(&[0.0; 3], 3, &[ClassId(3)]).is_err_and(|e| e.to_string().contains("3 classes"))
        );
    }

    #[test]
    fn flawless_logits_stop_at_the_bound() {
        let t = Temperature::fit(&[1.0, 0.0, 0.0, 1.0], 2, &[ClassId(0), ClassId(1)]);
        assert_eq!(t, Ok(Temperature(0.01)));
        let wrong = Temperature::fit(&[1.0, 0.0, 0.0, 1.0], 2, &[ClassId(1), ClassId(0)]);
        assert_eq!(wrong, Ok(Temperature(100.0)));
    }

    proptest! {
        #[test]
        fn no_other_temperature_is_more_likely(
            rows in prop::collection::vec((prop::array::uniform3(-5.0_f32..5.0), 0_u8..3), 1..40),
            other in 0.01_f64..100.0,
        ) {
            let logits: Vec<f32> = rows.iter().flat_map(|(z, _)| *z).collect();
            let truth: Vec<ClassId> = rows.iter().map(|(_, c)| ClassId(*c)).collect();
            let nll = |t: Temperature| t.negative_log_likelihood(&logits, 3, &truth).expect("valid");
            let best = Temperature::fit(&logits, 3, &truth).expect("valid");
            prop_assert!(nll(best) <= nll(Temperature(other)) + 1e-12);
        }

        #[test]
        fn probabilities_sum_to_one(z in prop::collection::vec(-1e30_f32..1e30, 1..9), t in 0.01_f64..100.0) {
            let p = Temperature(t).probabilities(&z);
            prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(p.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}
