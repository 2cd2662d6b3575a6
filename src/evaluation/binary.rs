//! Drift against regular: curves and counts over one score per image.

use serde::{Deserialize, Serialize};

use super::EvaluationError;
use super::confusion::ratio;

/// Scores with their truth, sorted once: everything below then takes one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryScores {
    /// One per distinct score, highest first.
    steps: Vec<Step>,
    positives: u64,
    negatives: u64,
}

/// What answering "positive" from this score on finds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    threshold: f64,
    true_positives: u64,
    false_positives: u64,
}

/// What a threshold does; the answer is "positive" where `score >= threshold`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinaryCounts {
    /// The threshold.
    pub threshold: f64,
    /// Positives found.
    pub true_positives: u64,
    /// False alarms.
    pub false_positives: u64,
    /// Positives missed.
    pub false_negatives: u64,
    /// Negatives left alone.
    pub true_negatives: u64,
    /// Share of the alarms that were right; 0 without alarms.
    pub precision: f64,
    /// Share of the positives that were found; 0 without positives.
    pub recall: f64,
    /// Harmonic mean of the two; 0 where nothing was found.
    pub f1: f64,
}

/// `sklearn.metrics.precision_recall_curve`: thresholds rise; precision and recall have one value more
/// than thresholds, the last being (1, 0).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecallCurve {
    /// Precision at `score >= threshold`, then 1.
    pub precision: Vec<f64>,
    /// Recall at `score >= threshold`, then 0.
    pub recall: Vec<f64>,
    /// Every distinct score, lowest first.
    pub thresholds: Vec<f64>,
}

impl BinaryScores {
    /// `labels` is true for a positive (drift). Any scale, higher means more positive.
    ///
    /// # Errors
    /// [`EvaluationError::LengthMismatch`], [`EvaluationError::Empty`], [`EvaluationError::NotFinite`].
    pub fn new(scores: &[f64], labels: &[bool]) -> Result<Self, EvaluationError> {
        if scores.len() != labels.len() {
            return Err(EvaluationError::LengthMismatch {
                scores: scores.len(),
                labels: labels.len(),
            });
        }
        if scores.is_empty() {
            return Err(EvaluationError::Empty);
        }
        if let Some(row) = scores.iter().position(|s| !s.is_finite()) {
            return Err(EvaluationError::NotFinite { row });
        }
        let mut sorted: Vec<(f64, bool)> =
            scores.iter().copied().zip(labels.iter().copied()).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(Self::from_sorted(
            sorted
                .into_iter()
                .map(|(score, positive)| (score, positive, 1)),
        ))
    }

    /// From (score, positive, how many times) with the highest score first and no score NaN.
    pub(super) fn from_sorted(sorted: impl Iterator<Item = (f64, bool, u64)>) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let (mut positives, mut negatives) = (0, 0);
        for (score, positive, times) in sorted {
            if positive {
                positives += times;
            } else {
                negatives += times;
            }
            let step = Step {
                threshold: score,
                true_positives: positives,
                false_positives: negatives,
            };
            match steps.last_mut() {
                Some(last) if last.threshold == score => *last = step,
                _ => steps.push(step),
            }
        }
        Self {
            steps,
            positives,
            negatives,
        }
    }

    /// Number of positives (drift).
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.positives
    }

    /// Number of negatives (regular).
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negatives
    }

    fn one_class_only(&self) -> EvaluationError {
        EvaluationError::OneClassOnly {
            drift: usize::try_from(self.positives).unwrap_or(usize::MAX),
            regular: usize::try_from(self.negatives).unwrap_or(usize::MAX),
        }
    }

    fn counts(&self, threshold: f64, found: u64, alarms: u64) -> BinaryCounts {
        BinaryCounts {
            threshold,
            true_positives: found,
            false_positives: alarms,
            false_negatives: self.positives - found,
            true_negatives: self.negatives - alarms,
            precision: ratio(found, found + alarms),
            recall: ratio(found, self.positives),
            f1: ratio(2 * found, found + alarms + self.positives),
        }
    }

    /// What answering "positive" at `score >= threshold` does.
    #[must_use]
    pub fn at(&self, threshold: f64) -> BinaryCounts {
        let taken = self.steps.partition_point(|s| s.threshold >= threshold);
        let (found, alarms) = taken.checked_sub(1).map_or((0, 0), |last| {
            (
                self.steps[last].true_positives,
                self.steps[last].false_positives,
            )
        });
        self.counts(threshold, found, alarms)
    }

    /// [`at`](Self::at) for each of `thresholds`.
    #[must_use]
    pub fn threshold_table(&self, thresholds: &[f64]) -> Vec<BinaryCounts> {
        thresholds.iter().map(|t| self.at(*t)).collect()
    }

    /// What every distinct score does as a threshold, highest first.
    pub fn all_thresholds(&self) -> impl Iterator<Item = BinaryCounts> {
        self.steps
            .iter()
            .map(|s| self.counts(s.threshold, s.true_positives, s.false_positives))
    }

    /// The threshold with the largest F1 on these very images (the highest of equals). Its F1 is
    /// optimistic: never report it for the images it was chosen on.
    ///
    /// # Errors
    /// [`EvaluationError::OneClassOnly`]: without drift the best threshold would switch detection off.
    pub fn best_f1(&self) -> Result<BinaryCounts, EvaluationError> {
        if self.positives == 0 || self.negatives == 0 {
            return Err(self.one_class_only());
        }
        let mut best = self.counts(f64::INFINITY, 0, 0);
        for counts in self.all_thresholds() {
            if counts.f1 > best.f1 {
                best = counts;
            }
        }
        Ok(best)
    }

    /// `sklearn.metrics.precision_recall_curve`.
    ///
    /// # Errors
    /// [`EvaluationError::OneClassOnly`] without positives.
    pub fn precision_recall_curve(&self) -> Result<PrecisionRecallCurve, EvaluationError> {
        if self.positives == 0 {
            return Err(self.one_class_only());
        }
        let mut curve = PrecisionRecallCurve {
            precision: Vec::with_capacity(self.steps.len() + 1),
            recall: Vec::with_capacity(self.steps.len() + 1),
            thresholds: Vec::with_capacity(self.steps.len()),
        };
        for s in self.steps.iter().rev() {
            curve.precision.push(ratio(
                s.true_positives,
                s.true_positives + s.false_positives,
            ));
            curve.recall.push(ratio(s.true_positives, self.positives));
            curve.thresholds.push(s.threshold);
        }
        curve.precision.push(1.0);
        curve.recall.push(0.0);
        Ok(curve)
    }

    /// `sklearn.metrics.average_precision_score`: the sum of precision times gained recall.
    ///
    /// # Errors
    /// [`EvaluationError::OneClassOnly`] without positives.
    pub fn average_precision(&self) -> Result<f64, EvaluationError> {
        if self.positives == 0 {
            return Err(self.one_class_only());
        }
        let mut found = 0;
        let mut sum = 0.0;
        for s in &self.steps {
            let precision = ratio(s.true_positives, s.true_positives + s.false_positives);
            sum += precision * (s.true_positives - found) as f64;
            found = s.true_positives;
        }
        Ok(sum / self.positives as f64)
    }

    /// `sklearn.metrics.roc_auc_score`: the chance that a positive scores above a negative, ties
    /// counting half.
    ///
    /// # Errors
    /// [`EvaluationError::OneClassOnly`] without positives or without negatives.
    pub fn roc_auc(&self) -> Result<f64, EvaluationError> {
        if self.positives == 0 || self.negatives == 0 {
            return Err(self.one_class_only());
        }
        let (mut tp, mut fp, mut area) = (0_u64, 0_u64, 0.0);
        for s in &self.steps {
            area += (s.false_positives - fp) as f64 * (s.true_positives + tp) as f64 / 2.0;
            (tp, fp) = (s.true_positives, s.false_positives);
        }
        Ok(area / (self.positives as f64 * self.negatives as f64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few distinct scores, so that ties are common; at least one image of each kind.
    fn scored() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
        prop::collection::vec((0_i32..12, any::<bool>()), 2..60).prop_map(|mut rows| {
            rows[0].1 = true;
            rows[1].1 = false;
            rows.into_iter()
                .map(|(s, l)| (f64::from(s) / 4.0, l))
                .unzip()
        })
    }

    #[test]
    fn wrong_input_is_refused() {
        let new = BinaryScores::new;
        assert_eq!(new(&[], &[]), Err(EvaluationError::Empty));
        assert_eq!(
            new(&[1.0, f64::NAN], &[true, false]),
            Err(EvaluationError::NotFinite { row: 1 })
        );
        assert!(matches!(
            new(&[1.0], &[]),
            Err(EvaluationError::LengthMismatch { .. })
        ));
        let regular = new(&[0.1, 0.2], &[false, false]).expect("finite");
        assert!(regular.average_precision().is_err());
        assert!(regular.best_f1().is_err());
        let drift = new(&[0.1, 0.2], &[true, true]).expect("finite");
        assert_eq!(drift.average_precision(), Ok(1.0));
        assert!(
            drift
                .roc_auc()
                .is_err_and(|e| e.to_string().contains("2 drift and 0 regular"))
        );
    }

    #[test]
    fn both_zeros_are_one_score() {
        let s = BinaryScores::new(&[0.0, -0.0], &[true, false]).expect("finite");
        assert_eq!(s.roc_auc(), Ok(0.5));
        assert_eq!(s.all_thresholds().count(), 1);
    }

    proptest! {
        #[test]
        fn ranking_figures_ignore_a_monotone_change_of_scale((scores, labels) in scored()) {
            let changed: Vec<f64> = scores.iter().map(|s| (3.0 * s - 1.0).exp()).collect();
            let a = BinaryScores::new(&scores, &labels).expect("finite");
            let b = BinaryScores::new(&changed, &labels).expect("finite");
            prop_assert_eq!(a.average_precision(), b.average_precision());
            prop_assert_eq!(a.roc_auc(), b.roc_auc());
            prop_assert_eq!(a.best_f1().map(|c| c.f1), b.best_f1().map(|c| c.f1));
        }

        #[test]
        fn the_order_of_the_images_does_not_matter((scores, labels) in scored()) {
            let a = BinaryScores::new(&scores, &labels).expect("finite");
            let reversed: (Vec<f64>, Vec<bool>) = scores.into_iter().zip(labels).rev().unzip();
            prop_assert_eq!(a, BinaryScores::new(&reversed.0, &reversed.1).expect("finite"));
        }

        #[test]
        fn roc_auc_is_the_share_of_ordered_pairs((scores, labels) in scored()) {
            let (mut wins, mut pairs) = (0.0, 0.0);
            for (p, _) in scores.iter().zip(&labels).filter(|(_, l)| **l) {
                for (n, _) in scores.iter().zip(&labels).filter(|(_, l)| !**l) {
                    pairs += 1.0;
                    wins += if p > n { 1.0 } else if p == n { 0.5 } else { 0.0 };
                }
            }
            let auc = BinaryScores::new(&scores, &labels).expect("finite").roc_auc();
            prop_assert!((auc.expect("both kinds") - wins / pairs).abs() < 1e-12);
        }

        #[test]
        fn counts_at_a_threshold_are_counted((scores, labels) in scored(), t in -0.5..3.5_f64) {
            let at = BinaryScores::new(&scores, &labels).expect("finite").at(t);
            let count = |positive: bool, alarm: bool| {
                scores.iter().zip(&labels).filter(|(s, l)| **l == positive && (**s >= t) == alarm).count() as u64
            };
            prop_assert_eq!(
                [at.true_positives, at.false_positives, at.false_negatives, at.true_negatives],
                [count(true, true), count(false, true), count(true, false), count(false, false)]
            );
        }

        /// A raised threshold finds no more, and loses exactly what lies between the two.
        #[test]
        fn a_raised_threshold_finds_no_more(
            (scores, labels) in scored(), a in -1_i32..13, b in -1_i32..13, shift in prop::bool::ANY,
        ) {
            // On scores, and halfway between them.
            let at = |t: i32| f64::from(t) / 4.0 + if shift { 0.125 } else { 0.0 };
            let (low, high) = (at(a.min(b)), at(a.max(b)));
            let s = BinaryScores::new(&scores, &labels).expect("finite");
            let (before, after) = (s.at(low), s.at(high));
            prop_assert!(after.recall <= before.recall);
            prop_assert!(after.true_negatives >= before.true_negatives);
            let between = |positive: bool| {
                let images = scores.iter().zip(&labels);
                images.filter(|(s, l)| **l == positive && low <= **s && **s < high).count() as u64
            };
            prop_assert_eq!(before.true_positives - after.true_positives, between(true));
            prop_assert_eq!(before.false_positives - after.false_positives, between(false));
            // Down the list of all thresholds as well.
            let recalls: Vec<f64> = s.all_thresholds().map(|c| c.recall).collect();
            prop_assert!(recalls.is_sorted());
        }

        #[test]
        fn no_threshold_beats_the_best((scores, labels) in scored(), t in -0.5..3.5_f64) {
            let s = BinaryScores::new(&scores, &labels).expect("finite");
            let best = s.best_f1().expect("both kinds");
            prop_assert!(s.at(t).f1 <= best.f1);
            prop_assert_eq!(s.at(best.threshold), best);
        }
    }
}
