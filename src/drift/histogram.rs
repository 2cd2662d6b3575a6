//! How scores are spread, by label.

use serde::{Deserialize, Serialize};

use super::DriftError;

/// One bar of a score histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistogramBin {
    /// Lower end, included.
    pub lo: f64,
    /// Upper end, included in the last bin only.
    pub hi: f64,
    /// Images labelled drift.
    pub drift: u64,
    /// Images labelled regular.
    pub regular: u64,
    /// Images without label.
    pub unlabelled: u64,
}

/// Counts `scores` in `bins` bins of equal width on `[lo, hi]` by label (true for drift); scores beyond an
/// end fall in the outermost bin. The range is given, not taken from the scores, so that bars stay where
/// they are while labels come in.
///
/// # Errors
/// [`DriftError::LengthMismatch`], [`DriftError::NonFinite`].
pub fn score_histogram(
    scores: &[f64],
    labels: &[Option<bool>],
    [lo, hi]: [f64; 2],
    bins: usize,
) -> Result<Vec<HistogramBin>, DriftError> {
    if scores.len() != labels.len() {
        return Err(DriftError::LengthMismatch {
            rows: scores.len(),
            labels: labels.len(),
        });
    }
    if let Some(row) = scores.iter().position(|s| !s.is_finite()) {
        return Err(DriftError::NonFinite { row });
    }
    let bins = bins.max(1);
    let width = (hi - lo) / bins as f64;
    let mut counted: Vec<HistogramBin> = (0..bins)
        .map(|bin| HistogramBin {
            lo: lo + bin as f64 * width,
            hi: lo + (bin + 1) as f64 * width,
            drift: 0,
            regular: 0,
            unlabelled: 0,
        })
        .collect();
    for (score, label) in scores.iter().zip(labels) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from float saturates, and the last bin takes the rest"
        )]
        let bin = (((score - lo) / width) as usize).min(bins - 1);
        let bin = &mut counted[bin];
        match label {
            Some(true) => bin.drift += 1,
            Some(false) => bin.regular += 1,
            None => bin.unlabelled += 1,
        }
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_one_bar() {
        let scores = [-1.0, 0.0, 0.25, 0.5, 1.0, 9.0];
        let labels = [Some(false), Some(false), None, Some(true), Some(true), None];
        let bins = score_histogram(&scores, &labels, [0.0, 1.0], 2).expect("finite");
        let counts: Vec<_> = bins
            .iter()
            .map(|b| (b.drift, b.regular, b.unlabelled))
            .collect();
        assert_eq!(counts, [(0, 2, 1), (2, 0, 1)]);
        assert_eq!((bins[0].lo, bins[0].hi, bins[1].hi), (0.0, 0.5, 1.0));
    }

    #[test]
    fn odd_input_does_not_panic() {
        let labels = [None];
        assert!(score_histogram(&[f64::NAN], &labels, [0.0, 1.0], 2).is_err());
        assert!(score_histogram(&[], &labels, [0.0, 1.0], 2).is_err());
        let flat = score_histogram(&[0.5], &labels, [0.5, 0.5], 0).expect("finite");
        assert_eq!(flat.iter().map(|b| b.unlabelled).sum::<u64>(), 1);
    }
}
