//! Two judges of the same images: how good each is, and whether one is better.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::interval::{OfFigure, central_95, central_95_or_wilson};
use super::{BinaryScores, EvaluationError, Interval};

/// Resamples behind every interval.
const RESAMPLES: usize = 1000;

/// How well one judge tells drift from regular images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Average precision of the ranking.
    pub average_precision: Interval,
    /// F1 of drift.
    pub f1: Interval,
    /// Precision of drift.
    pub precision: Interval,
    /// Recall of drift.
    pub recall: Interval,
    /// Area under the ROC curve of the ranking.
    pub roc_auc: Interval,
}

/// Two judges on the same images. The intervals are 95 % percentile bootstraps over these images, drift and
/// regular drawn apart, and a draw is the same for both judges: what makes an image hard for either cancels out
/// of the gains (Efron & Tibshirani 1993, chapter 8). Where all draws give a judge the same figure its interval is
/// Wilson's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedReport {
    /// Drift images.
    pub n_drift: usize,
    /// Regular images.
    pub n_regular: usize,
    /// Score from which an image is answered "drift" in F1, precision and recall; fixed beforehand.
    pub threshold: f64,
    /// The judge compared with.
    pub first: Judged,
    /// The one that is compared.
    pub second: Judged,
    /// Average precision of the second less that of the first.
    pub average_precision_gain: Interval,
    /// F1 of the second less that of the first.
    pub f1_gain: Interval,
}

impl PairedReport {
    /// Compares the scores of two judges, higher for drift, on images of which `drift` tells the truth.
    ///
    /// # Errors
    /// [`EvaluationError::LengthMismatch`], [`EvaluationError::Empty`], [`EvaluationError::NotFinite`];
    /// [`EvaluationError::OneClassOnly`] without drift or without regular images.
    pub fn new(
        drift: &[bool],
        first: &[f64],
        second: &[f64],
        threshold: f64,
        seed: u64,
    ) -> Result<Self, EvaluationError> {
        let judges = [first, second].map(|scores| Sorted::new(scores, drift));
        let [first, second] = judges;
        let judges = [first?, second?];
        let every = vec![1; drift.len()];
        let whole = figures(&judges, drift, &every, threshold)?;
        let kinds = [true, false].map(|kind| -> Vec<usize> {
            (0..drift.len()).filter(|at| drift[*at] == kind).collect()
        });
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut drawn = vec![Vec::with_capacity(RESAMPLES); whole.len()];
        for _ in 0..RESAMPLES {
            let mut times = vec![0; drift.len()];
            for kind in &kinds {
                for _ in kind {
                    times[kind[rng.random_range(0..kind.len())]] += 1;
                }
            }
            let resampled = figures(&judges, drift, &times, threshold)?;
            for (values, value) in drawn.iter_mut().zip(resampled) {
                values.push(value);
            }
        }
        let units = kinds.each_ref().map(Vec::len);
        let intervals = (0..).zip(whole.into_iter().zip(drawn));
        let intervals = intervals.map(|(at, (mean, values))| {
            let [lo, hi] = match rests_on(at) {
                Some(of) => central_95_or_wilson(values, of, units),
                None => central_95(values),
            };
            Interval {
                mean,
                lo,
                hi,
                sd: 0.0,
            }
        });
        let intervals: Vec<Interval> = intervals.collect();
        let judged = |at: usize| Judged {
            average_precision: intervals[at],
            f1: intervals[at + 1],
            precision: intervals[at + 2],
            recall: intervals[at + 3],
            roc_auc: intervals[at + 4],
        };
        Ok(Self {
            n_drift: kinds[0].len(),
            n_regular: kinds[1].len(),
            threshold,
            first: judged(0),
            second: judged(FIGURES),
            average_precision_gain: intervals[2 * FIGURES],
            f1_gain: intervals[2 * FIGURES + 1],
        })
    }

    /// Which judge ranks better, as far as these images can tell: none where the interval of the gain in average
    /// precision holds 0.
    #[must_use]
    pub fn better(&self) -> Option<Better> {
        let gain = &self.average_precision_gain;
        if gain.lo > 0.0 {
            Some(Better::Second)
        } else if gain.hi < 0.0 {
            Some(Better::First)
        } else {
            None
        }
    }
}

/// One of two judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The one compared with.
    First,
    /// The one that is compared.
    Second,
}

/// Figures of one judge.
const FIGURES: usize = 5;

/// What the figure at a place of [`figures`] rests on; none for a gain, which is 0 between judges that say the same.
fn rests_on(at: usize) -> Option<OfFigure> {
    (at < 2 * FIGURES).then_some(match at % FIGURES {
        0 | 4 => OfFigure::Ranking,
        1 => OfFigure::F1,
        _ => OfFigure::Drift,
    })
}

/// The scores of a judge and the images in their order, the highest score first.
struct Sorted<'a> {
    scores: &'a [f64],
    order: Vec<usize>,
}

impl<'a> Sorted<'a> {
    fn new(scores: &'a [f64], drift: &[bool]) -> Result<Self, EvaluationError> {
        // Sorted once here, so that each resample takes one pass.
        BinaryScores::new(scores, drift)?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        Ok(Self { scores, order })
    }
}

/// The figures of both judges, then the gains, each image counted so many times.
fn figures(
    judges: &[Sorted<'_>; 2],
    drift: &[bool],
    times: &[u64],
    threshold: f64,
) -> Result<Vec<f64>, EvaluationError> {
    let mut all = Vec::with_capacity(2 * FIGURES + 2);
    for Sorted { scores, order } in judges {
        let counted = order
            .iter()
            .filter(|at| times[**at] > 0)
            .map(|at| (scores[*at], drift[*at], times[*at]));
        let scores = BinaryScores::from_sorted(counted);
        let at = scores.at(threshold);
        all.extend([
            scores.average_precision()?,
            at.f1,
            at.precision,
            at.recall,
            scores.roc_auc()?,
        ]);
    }
    all.extend([all[FIGURES] - all[0], all[FIGURES + 1] - all[1]]);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 40 images, a quarter drift; drift scores higher by `by`, in units of the noise.
    fn judge(by: f64, seed: u64) -> (Vec<bool>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let drift: Vec<bool> = (0..40).map(|i| i % 4 == 0).collect();
        let scores = drift
            .iter()
            .map(|d| rng.random_range(0.0..0.5) + if *d { by } else { 0.0 })
            .collect();
        (drift, scores)
    }

    #[test]
    fn the_figures_are_those_of_each_judge_alone() {
        let (drift, first) = judge(0.2, 1);
        let (_, second) = judge(0.4, 2);
        let report = PairedReport::new(&drift, &first, &second, 0.5, 3).expect("both kinds");
        assert_eq!((report.n_drift, report.n_regular), (10, 30));
        for (judged, scores) in [(report.first, &first), (report.second, &second)] {
            let alone = BinaryScores::new(scores, &drift).expect("scores");
            let ap = alone.average_precision().expect("both kinds");
            assert!((judged.average_precision.mean - ap).abs() < 1e-12);
            assert_eq!(judged.f1.mean, alone.at(0.5).f1);
            assert!(judged.f1.lo <= judged.f1.mean && judged.f1.mean <= judged.f1.hi);
        }
        let gain = report.second.average_precision.mean - report.first.average_precision.mean;
        assert!((report.average_precision_gain.mean - gain).abs() < 1e-12);
        let again = PairedReport::new(&drift, &first, &second, 0.5, 3).expect("both kinds");
        assert_eq!(again, report);
    }

    #[test]
    fn a_better_judge_is_told_from_a_worse_one_and_not_from_itself() {
        let (drift, blind) = judge(0.0, 1);
        let (_, sharp) = judge(0.6, 2);
        let report = |a, b| PairedReport::new(&drift, a, b, 0.5, 4).expect("both kinds");
        assert_eq!(report(&blind, &sharp).better(), Some(Better::Second));
        assert_eq!(report(&sharp, &blind).better(), Some(Better::First));
        let same = report(&blind, &blind);
        assert_eq!(same.better(), None);
        // A draw is the same for both, so that nothing is left of it.
        let gain = same.average_precision_gain;
        assert_eq!((gain.lo, gain.mean, gain.hi), (0.0, 0.0, 0.0));
    }

    #[test]
    fn one_kind_alone_is_refused() {
        let error = PairedReport::new(&[true, true], &[0.1, 0.2], &[0.1, 0.2], 0.5, 1);
        assert!(matches!(
            error,
            Err(EvaluationError::OneClassOnly { drift: 2, .. })
        ));
        let error = PairedReport::new(&[true, false], &[0.1], &[0.1, 0.2], 0.5, 1);
        assert!(matches!(error, Err(EvaluationError::LengthMismatch { .. })));
    }

    proptest! {
        #[test]
        fn swapping_the_judges_turns_the_gain_round(by in 0.0..0.5_f64, seed in 0_u64..50) {
            let (drift, first) = judge(0.2, seed);
            let (_, second) = judge(by, seed + 100);
            let there = PairedReport::new(&drift, &first, &second, 0.5, seed).expect("both");
            let back = PairedReport::new(&drift, &second, &first, 0.5, seed).expect("both");
            prop_assert_eq!(there.first, back.second);
            let (a, b) = (there.average_precision_gain, back.average_precision_gain);
            prop_assert!((a.mean + b.mean).abs() < 1e-12);
            prop_assert!((a.lo + b.hi).abs() < 1e-9 && (a.hi + b.lo).abs() < 1e-9);
        }
    }
}
