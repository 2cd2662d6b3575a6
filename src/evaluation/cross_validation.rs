//! How well drift is told from regular images that the head has not seen.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval::central_95;
use super::{BinaryScores, EvaluationError, Interval, PrecisionRecallCurve};

/// Resamples behind every interval.
const RESAMPLES: usize = 500;

/// How to cross-validate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvPlan {
    /// Times the images are dealt into folds anew, at least 1.
    pub repeats: usize,
    /// Folds wanted; reduced to the size of the rarer class, at least 2.
    pub folds: usize,
    /// Probability from which an image is answered "drift" in the reported F1, precision and recall.
    pub threshold: f64,
    /// Draws the folds and the intervals.
    pub seed: u64,
}

impl Default for CvPlan {
    /// 10 x 5 folds, answers at one half.
    fn default() -> Self {
        Self {
            repeats: 10,
            folds: 5,
            threshold: 0.5,
            seed: 42,
        }
    }
}

/// What cross-validation found. Every figure is computed over all labelled images at once, each scored
/// by a head that was not fitted on its label, and averaged over the repeats.
///
/// The threshold of F1, precision and recall is fixed beforehand ([`CvPlan::threshold`]), so it is
/// never chosen on the images it is reported for. The intervals are 95 % percentile bootstraps over the
/// labelled images, drift and regular drawn apart (500 resamples); `sd` is between repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvReport {
    /// Labelled drift images.
    pub n_drift: usize,
    /// Labelled regular images.
    pub n_regular: usize,
    /// Folds used.
    pub folds: usize,
    /// Repeats used.
    pub repeats: usize,
    /// Threshold behind F1, precision and recall.
    pub threshold: f64,
    /// F1 of drift.
    pub f1: Interval,
    /// Precision of drift.
    pub precision: Interval,
    /// Recall of drift.
    pub recall: Interval,
    /// Average precision of the ranking.
    pub average_precision: Interval,
    /// Area under the ROC curve of the ranking.
    pub roc_auc: Interval,
    /// The threshold with the best F1 on [`out_of_fold`](Self::out_of_fold): a proposal for images to
    /// come. Its F1 is optimistic, hence not given.
    pub suggested_threshold: f64,
    /// Mean probability over the repeats for every row of the input; none where it has no label.
    pub out_of_fold: Vec<Option<f32>>,
    /// Precision against recall of [`out_of_fold`](Self::out_of_fold).
    pub curve: PrecisionRecallCurve,
}

/// Why nothing was cross-validated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossValidationError<E: std::error::Error + 'static> {
    /// Too few labels of a kind to hold one out and fit on another.
    #[error(
        "{drift} drift and {regular} regular images are labelled, and measuring needs at least 2 of each: label more (1 for drift, 0 for regular), then retrain"
    )]
    TooFewLabels {
        /// Labelled drift images.
        drift: usize,
        /// Labelled regular images.
        regular: usize,
    },
    /// The head could not be fitted.
    #[error(transparent)]
    Head(E),
    /// The head's scores are no use.
    #[error(transparent)]
    Scores(#[from] EvaluationError),
}

/// Repeated stratified K-fold cross-validation.
///
/// `labels` has one entry per image: `Some(true)` for drift, `Some(false)` for regular, `None` for an
/// image that takes no part. `score_held_out` gets positions in `labels`, fits a head without the labels
/// of these and returns its probability of drift for each, in the same order. Folds are scored in
/// parallel; the result does not depend on how many threads there are.
///
/// # Errors
/// [`CrossValidationError::TooFewLabels`] below two images of a kind, and whatever the head reports.
pub fn cross_validate<E>(
    labels: &[Option<bool>],
    plan: &CvPlan,
    score_held_out: impl Fn(&[usize]) -> Result<Vec<f64>, E> + Sync,
) -> Result<CvReport, CrossValidationError<E>>
where
    E: std::error::Error + Send + 'static,
{
    let of = |drift| rows_labelled(labels, drift);
    let (drift, regular) = (of(true), of(false));
    let rarer = drift.len().min(regular.len());
    if rarer < 2 {
        return Err(CrossValidationError::TooFewLabels {
            drift: drift.len(),
            regular: regular.len(),
        });
    }
    let folds = plan.folds.clamp(2, rarer);
    let repeats = plan.repeats.max(1);

    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let held_out: Vec<Vec<usize>> = (0..repeats)
        .flat_map(|_| deal(&drift, &regular, folds, &mut rng))
        .collect();
    let fold_scores: Vec<Vec<f64>> = held_out
        .par_iter()
        .map(|fold| score_held_out(fold))
        .collect::<Result<_, E>>()
        .map_err(CrossValidationError::Head)?;

    let rows: Vec<usize> = (0..labels.len()).filter(|r| labels[*r].is_some()).collect();
    let truth: Vec<bool> = rows.iter().map(|r| labels[*r] == Some(true)).collect();
    let mut by_repeat = Vec::with_capacity(repeats);
    for (folds_of, scores_of) in held_out.chunks(folds).zip(fold_scores.chunks(folds)) {
        let mut scores = vec![f64::NAN; labels.len()];
        for (fold, fold_scores) in folds_of.iter().zip(scores_of) {
            if fold.len() != fold_scores.len() {
                return Err(CrossValidationError::Scores(
                    EvaluationError::LengthMismatch {
                        scores: fold_scores.len(),
                        labels: fold.len(),
                    },
                ));
            }
            for (row, score) in fold.iter().zip(fold_scores) {
                if !score.is_finite() {
                    return Err(CrossValidationError::Scores(EvaluationError::NotFinite {
                        row: *row,
                    }));
                }
                scores[*row] = *score;
            }
        }
        by_repeat.push(rows.iter().map(|r| scores[*r]).collect::<Vec<f64>>());
    }

    let mean: Vec<f64> = (0..rows.len())
        .map(|i| by_repeat.iter().map(|s| s[i]).sum::<f64>() / repeats as f64)
        .collect();
    let pooled = BinaryScores::new(&mean, &truth)?;
    let [f1, precision, recall, average_precision, roc_auc] =
        intervals(&by_repeat, &truth, plan.threshold, &mut rng)?;
    let mut out_of_fold = vec![None; labels.len()];
    for (row, score) in rows.iter().zip(&mean) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "probabilities are shown, not summed"
        )]
        let score = *score as f32;
        out_of_fold[*row] = Some(score);
    }
    Ok(CvReport {
        n_drift: drift.len(),
        n_regular: regular.len(),
        folds,
        repeats,
        threshold: plan.threshold,
        f1,
        precision,
        recall,
        average_precision,
        roc_auc,
        suggested_threshold: pooled.best_f1()?.threshold,
        out_of_fold,
        curve: pooled.precision_recall_curve()?,
    })
}

fn rows_labelled(labels: &[Option<bool>], drift: bool) -> Vec<usize> {
    (0..labels.len())
        .filter(|row| labels[*row] == Some(drift))
        .collect()
}

/// Deals both kinds round the folds like cards, so that fold sizes differ by one at most, within each
/// kind and in all.
fn deal(drift: &[usize], regular: &[usize], folds: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let (mut drift, mut regular) = (drift.to_vec(), regular.to_vec());
    drift.shuffle(rng);
    regular.shuffle(rng);
    let mut dealt = vec![Vec::new(); folds];
    for (turn, row) in drift.into_iter().chain(regular).enumerate() {
        dealt[turn % folds].push(row);
    }
    dealt
}

/// The five figures of one scoring, in the order of [`CvReport`]'s fields.
fn figures(scores: &BinaryScores, threshold: f64) -> Result<[f64; 5], EvaluationError> {
    let at = scores.at(threshold);
    Ok([
        at.f1,
        at.precision,
        at.recall,
        scores.average_precision()?,
        scores.roc_auc()?,
    ])
}

fn intervals(
    by_repeat: &[Vec<f64>],
    truth: &[bool],
    threshold: f64,
    rng: &mut ChaCha8Rng,
) -> Result<[Interval; 5], EvaluationError> {
    let orders: Vec<Vec<usize>> = by_repeat
        .iter()
        .map(|scores| {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            order
        })
        .collect();
    let figures_weighted = |times: &[u64]| -> Result<Vec<[f64; 5]>, EvaluationError> {
        by_repeat
            .iter()
            .zip(&orders)
            .map(|(scores, order)| {
                let drawn = order
                    .iter()
                    .filter(|i| times[**i] > 0)
                    .map(|i| (scores[*i], truth[*i], times[*i]));
                figures(&BinaryScores::from_sorted(drawn), threshold)
            })
            .collect()
    };
    let kinds: [Vec<usize>; 2] =
        [true, false].map(|kind| (0..truth.len()).filter(|i| truth[*i] == kind).collect());

    let all = figures_weighted(&vec![1; truth.len()])?;
    let mut resampled: [Vec<f64>; 5] = Default::default();
    for _ in 0..RESAMPLES {
        let mut times = vec![0; truth.len()];
        for kind in &kinds {
            for _ in 0..kind.len() {
                times[kind[rng.random_range(0..kind.len())]] += 1;
            }
        }
        let drawn = figures_weighted(&times)?;
        for (figure, values) in resampled.iter_mut().enumerate() {
            values.push(drawn.iter().map(|f| f[figure]).sum::<f64>() / drawn.len() as f64);
        }
    }
    let mut figure = 0;
    Ok(resampled.map(|values| {
        let repeats: Vec<f64> = all.iter().map(|f| f[figure]).collect();
        figure += 1;
        let mean = repeats.iter().sum::<f64>() / repeats.len() as f64;
        let squares: f64 = repeats.iter().map(|v| (v - mean).powi(2)).sum();
        let [lo, hi] = central_95(values);
        Interval {
            mean,
            lo,
            hi,
            sd: (squares / (repeats.len() as f64 - 1.0).max(1.0)).sqrt(),
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn plan(folds: usize, repeats: usize) -> CvPlan {
        CvPlan {
            folds,
            repeats,
            ..CvPlan::default()
        }
    }

    /// Scores that know the truth with some noise, whatever is held out.
    fn oracle(labels: &[Option<bool>]) -> impl Fn(&[usize]) -> Result<Vec<f64>, Infallible> + Sync {
        move |held_out: &[usize]| {
            Ok(held_out
                .iter()
                .map(|row| {
                    let noise = ((row * 7919) % 101) as f64 / 150.0;
                    if labels[*row] == Some(true) {
                        1.0 - noise
                    } else {
                        noise
                    }
                })
                .collect())
        }
    }

    #[test]
    fn one_kind_too_few_is_refused_with_both_counts() {
        for labels in [
            vec![],
            vec![Some(true); 9],
            vec![Some(true), Some(false), Some(false), None],
        ] {
            let e = cross_validate(&labels, &plan(5, 2), oracle(&labels)).expect_err("too few");
            assert!(e.to_string().contains("at least 2 of each"), "{e}");
        }
    }

    #[test]
    fn folds_shrink_to_the_rarer_kind() {
        let mut labels = vec![Some(false); 40];
        labels[3] = Some(true);
        labels[17] = Some(true);
        labels[20] = None;
        let report = cross_validate(&labels, &plan(5, 3), oracle(&labels)).expect("enough");
        assert_eq!((report.n_drift, report.n_regular), (2, 37));
        assert_eq!((report.folds, report.repeats), (2, 3));
        assert_eq!(report.out_of_fold[20], None);
        assert_eq!(report.out_of_fold.iter().flatten().count(), 39);
    }

    #[test]
    fn scores_of_no_use_are_reported() {
        let labels = [Some(true), Some(true), Some(false), Some(false)];
        let nan = |held: &[usize]| Ok::<_, Infallible>(vec![f64::NAN; held.len()]);
        let short = |_: &[usize]| Ok::<_, Infallible>(vec![]);
        assert!(matches!(
            cross_validate(&labels, &plan(2, 1), nan),
            Err(CrossValidationError::Scores(
                EvaluationError::NotFinite { .. }
            ))
        ));
        assert!(matches!(
            cross_validate(&labels, &plan(2, 1), short),
            Err(CrossValidationError::Scores(
                EvaluationError::LengthMismatch { .. }
            ))
        ));
    }

    #[test]
    fn a_noisy_ranking_has_an_interval_around_its_figure() {
        let labels: Vec<Option<bool>> = (0..120).map(|i| Some(i % 8 == 0)).collect();
        let report = cross_validate(&labels, &plan(5, 4), oracle(&labels)).expect("enough");
        for i in [
            report.f1,
            report.precision,
            report.recall,
            report.average_precision,
            report.roc_auc,
        ] {
            assert!(
                0.0 <= i.lo && i.lo <= i.mean && i.mean <= i.hi && i.hi <= 1.0,
                "{i:?}"
            );
        }
        assert!(report.f1.lo < report.f1.hi);
        // The oracle says the same in every repeat.
        assert_eq!(report.f1.sd, 0.0);
        let again = cross_validate(&labels, &plan(5, 4), oracle(&labels)).expect("enough");
        assert_eq!(report, again);
    }

    proptest! {
        #[test]
        fn every_image_is_held_out_once_and_kinds_are_spread(
            n_drift in 2_usize..20, n_regular in 2_usize..60, wanted in 2_usize..10, seed: u64,
        ) {
            let drift: Vec<usize> = (0..n_drift).collect();
            let regular: Vec<usize> = (n_drift..n_drift + n_regular).collect();
            let folds = wanted.min(n_drift).min(n_regular);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let dealt = deal(&drift, &regular, folds, &mut rng);
            let mut all: Vec<usize> = dealt.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n_drift + n_regular).collect::<Vec<_>>());
            for kind in [0..n_drift, n_drift..n_drift + n_regular] {
                let sizes: Vec<usize> = dealt
                    .iter()
                    .map(|f| f.iter().filter(|r| kind.contains(r)).count())
                    .collect();
                let (min, max) = (sizes.iter().min(), sizes.iter().max());
                prop_assert!(max.expect("folds") - min.expect("folds") <= 1);
                prop_assert!(*min.expect("folds") >= 1);
            }
        }
    }
}
