//! Whether probabilities can be believed.

use serde::{Deserialize, Serialize};

use super::EvaluationError;

fn check(probabilities: &[f64], labels: &[bool]) -> Result<(), EvaluationError> {
    if probabilities.len() != labels.len() {
        return Err(EvaluationError::LengthMismatch {
            scores: probabilities.len(),
            labels: labels.len(),
        });
    }
    if probabilities.is_empty() {
        return Err(EvaluationError::Empty);
    }
    match probabilities.iter().position(|p| !p.is_finite()) {
        Some(row) => Err(EvaluationError::NotFinite { row }),
        None => Ok(()),
    }
}

fn mean_over(probabilities: &[f64], labels: &[bool], loss: impl Fn(f64, bool) -> f64) -> f64 {
    let sum: f64 = probabilities
        .iter()
        .zip(labels)
        .map(|(p, l)| loss(*p, *l))
        .sum();
    sum / labels.len() as f64
}

/// Mean squared distance of the positive's probability from the truth (Brier 1950), in `[0, 1]`:
/// `sklearn.metrics.brier_score_loss`.
///
/// # Errors
/// [`EvaluationError`] for no, too few or non-finite values.
pub fn brier_score(probabilities: &[f64], labels: &[bool]) -> Result<f64, EvaluationError> {
    check(probabilities, labels)?;
    Ok(mean_over(probabilities, labels, |p, label| {
        (p - f64::from(u8::from(label))).powi(2)
    }))
}

/// Mean negative log-likelihood in nats: `sklearn.metrics.log_loss` for two classes, probabilities
/// clipped to `[eps, 1 - eps]` with the machine epsilon, so that one sure mistake costs 36.
///
/// # Errors
/// [`EvaluationError`] for no, too few or non-finite values.
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> Result<f64, EvaluationError> {
    check(probabilities, labels)?;
    Ok(mean_over(probabilities, labels, |p, label| {
        let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        -(if label { p } else { 1.0 - p }).ln()
    }))
}

/// One bar of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower end of the bin; the upper end is the next bin's lower end, 1 for the last.
    pub lo: f64,
    /// Images in the bin.
    pub count: u64,
    /// Mean confidence of its images; 0 for an empty bin.
    pub confidence: f64,
    /// Share of its images where the answer was right; 0 for an empty bin.
    pub accuracy: f64,
}

/// A reliability diagram over `bins` bins of equal width on `[0, 1]` (lower end included; 1 falls in
/// the last). For several classes give the probability of the answer and whether it was right; for two,
/// the probability of the positive and the truth.
///
/// # Errors
/// [`EvaluationError`] for no, too few or non-finite values.
pub fn reliability_bins(
    confidences: &[f64],
    right: &[bool],
    bins: usize,
) -> Result<Vec<ReliabilityBin>, EvaluationError> {
    check(confidences, right)?;
    let bins = bins.max(1);
    let mut sums = vec![(0_u64, 0.0_f64, 0_u64); bins];
    for (confidence, right) in confidences.iter().zip(right) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the bins; a cast from float saturates"
        )]
        let bin = ((confidence * bins as f64) as usize).min(bins - 1);
        sums[bin].0 += 1;
        sums[bin].1 += confidence;
        sums[bin].2 += u64::from(*right);
    }
    let share = |sum: f64, count: u64| if count == 0 { 0.0 } else { sum / count as f64 };
    Ok(sums
        .into_iter()
        .enumerate()
        .map(|(index, (count, confidence, right))| ReliabilityBin {
            lo: index as f64 / bins as f64,
            count,
            confidence: share(confidence, count),
            accuracy: share(right as f64, count),
        })
        .collect())
}

/// Expected calibration error (Guo et al. 2017): mean distance of confidence from accuracy over
/// [`reliability_bins`], weighted by their counts, in `[0, 1]`. 15 bins are usual.
///
/// # Errors
/// [`EvaluationError`] for no, too few or non-finite values.
pub fn expected_calibration_error(
    confidences: &[f64],
    right: &[bool],
    bins: usize,
) -> Result<f64, EvaluationError> {
    let sum: f64 = reliability_bins(confidences, right, bins)?
        .iter()
        .map(|b| b.count as f64 * (b.confidence - b.accuracy).abs())
        .sum();
    Ok(sum / right.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_and_right_answer_costs_nothing() {
        let (p, l) = ([1.0, 0.0, 1.0], [true, false, true]);
        assert_eq!(brier_score(&p, &l), Ok(0.0));
        assert!(log_loss(&p, &l).is_ok_and(|v| v < 1e-15));
        assert_eq!(expected_calibration_error(&p, &l, 10), Ok(0.0));
    }

    #[test]
    fn a_sure_and_wrong_answer_costs_a_finite_price() {
        let loss = log_loss(&[1.0], &[false]).expect("one value");
        assert!((36.0..37.0).contains(&loss), "{loss}");
    }

    #[test]
    fn wrong_input_is_refused() {
        assert_eq!(brier_score(&[], &[]), Err(EvaluationError::Empty));
        assert!(log_loss(&[f64::NAN], &[true]).is_err());
        assert!(reliability_bins(&[0.5], &[], 10).is_err());
    }

    #[test]
    fn bins_hold_every_image() {
        let p = [0.0, 0.099, 0.1, 0.55, 1.0];
        let bins = reliability_bins(&p, &[false, false, true, true, true], 10).expect("values");
        assert_eq!(
            bins.iter().map(|b| b.count).collect::<Vec<_>>(),
            [2, 1, 0, 0, 0, 1, 0, 0, 0, 1]
        );
    }
}
