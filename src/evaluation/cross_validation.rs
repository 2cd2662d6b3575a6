//! How well drift is told from regular images that the head has not seen.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval::{OfFigure, central_95_or_wilson};
use super::{BinaryScores, EvaluationError, Interval, PrecisionRecallCurve};

/// Resamples behind every interval.
const RESAMPLES: usize = 500;

/// How to cross-validate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvPlan {
    /// Times the images are dealt into folds anew, at least 1.
    pub repeats: usize,
    /// Folds wanted; reduced to the groups that the rarer class lies in, at least 2.
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
/// labelled images, drift and regular drawn apart and near-duplicates drawn together (500 resamples), and
/// Wilson's where all resamples give the same; `sd` is between repeats.
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
    /// All labels of a kind lie in one group, which is never split.
    #[error(
        "all {images} {kind} labels are near-duplicates of each other, and measuring needs at least 2 {kind} images that are not: label another one, then retrain"
    )]
    OneGroup {
        /// `drift` or `regular`.
        kind: &'static str,
        /// Labelled images of that kind.
        images: usize,
    },
    /// A group for another number of images.
    #[error(
        "there are {groups} groups for {images} images, and each needs one: prepare the drift model again"
    )]
    GroupsMismatch {
        /// Groups given.
        groups: usize,
        /// Images given.
        images: usize,
    },
    /// The head could not be fitted.
    #[error(transparent)]
    Head(E),
    /// The head's scores are no use.
    #[error(transparent)]
    Scores(#[from] EvaluationError),
}

/// Repeated stratified K-fold cross-validation of images that are all different: see
/// [`cross_validate_grouped`].
///
/// # Errors
/// As [`cross_validate_grouped`].
pub fn cross_validate<E>(
    labels: &[Option<bool>],
    plan: &CvPlan,
    score_held_out: impl Fn(&[usize]) -> Result<Vec<f64>, E> + Sync,
) -> Result<CvReport, CrossValidationError<E>>
where
    E: std::error::Error + Send + 'static,
{
    let alone: Vec<usize> = (0..labels.len()).collect();
    cross_validate_grouped(labels, &alone, plan, score_held_out)
}

/// Repeated stratified K-fold cross-validation that holds out groups whole (scikit-learn's
/// `StratifiedGroupKFold`), so that no image is judged by a head that has learned its near-duplicate.
///
/// `labels` has one entry per image: `Some(true)` for drift, `Some(false)` for regular, `None` for an
/// image that takes no part. `groups` has one entry per image too; images of equal entries share a fold.
/// `score_held_out` gets positions in `labels`, fits a head without the labels
/// of these and returns its probability of drift for each, in the same order. Folds are scored in
/// parallel; the result does not depend on how many threads there are.
///
/// # Errors
/// [`CrossValidationError::TooFewLabels`] below two images of a kind, [`CrossValidationError::OneGroup`] when
/// those of a kind are all of one group, [`CrossValidationError::GroupsMismatch`], and whatever the head
/// reports.
pub fn cross_validate_grouped<E>(
    labels: &[Option<bool>],
    groups: &[usize],
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
    if groups.len() != labels.len() {
        return Err(CrossValidationError::GroupsMismatch {
            groups: groups.len(),
            images: labels.len(),
        });
    }
    let mut fewest = rarer;
    for (kind, rows) in [("drift", &drift), ("regular", &regular)] {
        let distinct: BTreeSet<usize> = rows.iter().map(|row| groups[*row]).collect();
        if distinct.len() < 2 {
            return Err(CrossValidationError::OneGroup {
                kind,
                images: rows.len(),
            });
        }
        fewest = fewest.min(distinct.len());
    }
    let folds = plan.folds.clamp(2, fewest);
    let repeats = plan.repeats.max(1);

    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let held_out: Vec<Vec<usize>> = (0..repeats)
        .flat_map(|_| deal(&drift, &regular, groups, folds, &mut rng))
        .collect();
    let fold_scores: Vec<Vec<f64>> = held_out
        .par_iter()
        .map(|fold| score_held_out(fold))
        .collect::<Result<_, E>>()
        .map_err(CrossValidationError::Head)?;

    let rows: Vec<usize> = (0..labels.len()).filter(|r| labels[*r].is_some()).collect();
    let truth: Vec<bool> = rows.iter().map(|r| labels[*r] == Some(true)).collect();
    let of_rows: Vec<usize> = rows.iter().map(|r| groups[*r]).collect();
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
        intervals(&by_repeat, &truth, &of_rows, plan.threshold, &mut rng)?;
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

/// Images that are held out together.
#[derive(Default)]
struct Unit {
    rows: Vec<usize>,
    /// How many of them are drift, and how many regular.
    counts: [usize; 2],
}

/// Deals the groups of both kinds round the folds: each to the fold that has the least of what it brings. What
/// holds both kinds goes first and then the largest, so that what is left over is small. Every fold gets
/// both kinds, given as many groups of each kind as folds. Images that are all different are dealt like
/// cards: fold sizes differ by one at most, within each kind and in all.
fn deal(
    drift: &[usize],
    regular: &[usize],
    groups: &[usize],
    folds: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<usize>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut unit_of: HashMap<usize, usize> = HashMap::new();
    for (kind, rows) in [drift, regular].into_iter().enumerate() {
        let mut rows = rows.to_vec();
        rows.shuffle(rng);
        for row in rows {
            let unit = *unit_of.entry(groups[row]).or_insert_with(|| {
                units.push(Unit::default());
                units.len() - 1
            });
            units[unit].rows.push(row);
            units[unit].counts[kind] += 1;
        }
    }
    // Stable, so that equals stay shuffled.
    let both = |unit: &Unit| unit.counts.iter().all(|n| *n > 0);
    units.sort_by_key(|unit| Reverse((both(unit), unit.rows.len())));
    let totals = [drift.len(), regular.len()];
    let mut dealt = vec![Vec::new(); folds];
    let mut counts = vec![[0_usize; 2]; folds];
    for unit in units {
        let brings = |kind: &usize| unit.counts[*kind] > 0;
        let kinds = || (0..2).filter(brings);
        let key = |fold: usize| {
            let lacking = kinds().filter(|kind| counts[fold][*kind] == 0).count();
            // Shares of the kinds, in integers: of one kind alone it is its number.
            let share = |kind: usize| unit.counts[kind] * counts[fold][kind] * totals[1 - kind];
            let load: usize = kinds().map(share).sum();
            (Reverse(lacking), load, counts[fold].iter().sum::<usize>())
        };
        let fold = (0..folds).min_by_key(|fold| key(*fold)).unwrap_or(0);
        dealt[fold].extend(unit.rows);
        for (count, more) in counts[fold].iter_mut().zip(unit.counts) {
            *count += more;
        }
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
    groups: &[usize],
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
    // Drawn whole, as near-duplicates say little more than one of them.
    let kinds: [Vec<Vec<usize>>; 2] = [true, false].map(|kind| {
        let mut units: Vec<Vec<usize>> = Vec::new();
        let mut unit_of: HashMap<usize, usize> = HashMap::new();
        for i in (0..truth.len()).filter(|i| truth[*i] == kind) {
            let unit = *unit_of.entry(groups[i]).or_insert(units.len());
            if unit == units.len() {
                units.push(Vec::new());
            }
            units[unit].push(i);
        }
        units
    });

    let all = figures_weighted(&vec![1; truth.len()])?;
    let mut resampled: [Vec<f64>; 5] = Default::default();
    for _ in 0..RESAMPLES {
        let mut times = vec![0; truth.len()];
        for kind in &kinds {
            for _ in 0..kind.len() {
                for i in &kind[rng.random_range(0..kind.len())] {
                    times[*i] += 1;
                }
            }
        }
        let drawn = figures_weighted(&times)?;
        for (figure, values) in resampled.iter_mut().enumerate() {
            values.push(drawn.iter().map(|f| f[figure]).sum::<f64>() / drawn.len() as f64);
        }
    }
    let mut figure = 0;
    Ok(resampled.map(|values| {
        let at = figure;
        let repeats: Vec<f64> = all.iter().map(|f| f[at]).collect();
        figure += 1;
        let mean = repeats.iter().sum::<f64>() / repeats.len() as f64;
        let squares: f64 = repeats.iter().map(|v| (v - mean).powi(2)).sum();
        // F1, precision and recall, then what ranks.
        let rests_on = [OfFigure::F1, OfFigure::Drift, OfFigure::Drift]
            .get(at)
            .copied()
            .unwrap_or(OfFigure::Ranking);
        let [lo, hi] = central_95_or_wilson(values, rests_on, kinds.each_ref().map(Vec::len));
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
    fn a_handful_without_a_mistake_or_with_nothing_else_leaves_doubt() {
        let labels = [
            Some(true),
            Some(true),
            Some(false),
            Some(false),
            Some(false),
        ];
        let groups = [0, 1, 2, 3, 4];
        let drift = |row: usize| labels[row] == Some(true);
        let judge = |right: bool| {
            let says = move |held_out: &[usize]| {
                let score = |row: &usize| if drift(*row) == right { 0.9 } else { 0.1 };
                Ok::<_, Infallible>(held_out.iter().map(score).collect::<Vec<f64>>())
            };
            cross_validate_grouped(&labels, &groups, &plan(2, 3), says).expect("two of each")
        };
        // Wilson's interval of 2 of 2, and of 0 of 2.
        let (sure, wrong) = (judge(true), judge(false));
        assert_eq!((sure.recall.mean, sure.recall.hi), (1.0, 1.0));
        assert!((sure.recall.lo - 0.342).abs() < 1e-3, "{:?}", sure.recall);
        assert!((sure.f1.lo - 0.510).abs() < 1e-3, "{:?}", sure.f1);
        assert!(sure.average_precision.lo < 0.4 && sure.roc_auc.lo < 0.4);
        assert_eq!((wrong.recall.mean, wrong.recall.lo), (0.0, 0.0));
        assert!((wrong.recall.hi - 0.658).abs() < 1e-3, "{:?}", wrong.recall);
        assert!(wrong.f1.hi > 0.6 && wrong.precision.hi > 0.6);
    }

    #[test]
    fn labels_that_are_all_one_picture_are_refused() {
        let labels = [Some(true), Some(true), Some(false), Some(false), None];
        let check = |groups: &[usize]| {
            let e = cross_validate_grouped(&labels, groups, &plan(5, 1), oracle(&labels));
            e.expect_err("no two groups").to_string()
        };
        let e = check(&[7, 7, 1, 2, 7]);
        assert!(
            e.starts_with("all 2 drift labels are near-duplicates"),
            "{e}"
        );
        assert!(check(&[1, 2, 7, 7, 7]).contains("2 regular labels"));
        assert!(check(&[1, 2]).contains("2 groups for 5 images"));
    }

    #[test]
    fn near_duplicates_are_drawn_together() {
        // Ten copies of each image say no more than one of each: the intervals are as wide.
        let once: Vec<Option<bool>> = (0..24).map(|i| Some(i % 4 == 0)).collect();
        let copies: Vec<Option<bool>> = once.iter().flat_map(|label| [*label; 10]).collect();
        let groups: Vec<usize> = (0..copies.len()).map(|i| i / 10).collect();
        let judge = |rows: &[usize], every: usize| {
            let noisy = |row: &usize| {
                let image = row / every;
                let noise = ((image * 7919) % 101) as f64 / 101.0;
                if image.is_multiple_of(4) {
                    1.0 - noise
                } else {
                    noise
                }
            };
            Ok::<_, Infallible>(rows.iter().map(noisy).collect::<Vec<f64>>())
        };
        let width = |i: Interval| i.hi - i.lo;
        let plan = plan(5, 1);
        let alone = cross_validate(&once, &plan, |rows| judge(rows, 1)).expect("enough");
        let grouped = cross_validate_grouped(&copies, &groups, &plan, |rows| judge(rows, 10));
        let fooled = cross_validate(&copies, &plan, |rows| judge(rows, 10)).expect("enough");
        let (alone, grouped) = (width(alone.f1), width(grouped.expect("enough").f1));
        assert!((grouped - alone).abs() < 0.2 * alone, "{grouped} {alone}");
        assert!(
            width(fooled.f1) < 0.6 * alone,
            "{} {alone}",
            width(fooled.f1)
        );
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
            let alone: Vec<usize> = (0..n_drift + n_regular).collect();
            let dealt = deal(&drift, &regular, &alone, folds, &mut rng);
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

        #[test]
        fn a_group_is_never_split_and_every_fold_has_both_kinds(
            images in prop::collection::vec((0_usize..14, prop::bool::ANY), 4..90),
            wanted in 2_usize..10, seed: u64,
        ) {
            let groups: Vec<usize> = images.iter().map(|(group, _)| *group).collect();
            let of = |kind: bool| -> Vec<usize> {
                (0..images.len()).filter(|i| images[*i].1 == kind).collect()
            };
            let (drift, regular) = (of(true), of(false));
            let distinct = |rows: &[usize]| rows.iter().map(|r| groups[*r]).collect::<BTreeSet<_>>().len();
            let most = distinct(&drift).min(distinct(&regular));
            prop_assume!(most >= 2);
            let folds = wanted.min(most);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let dealt = deal(&drift, &regular, &groups, folds, &mut rng);
            prop_assert_eq!(dealt.concat().len(), images.len());
            let mut fold_of: HashMap<usize, usize> = HashMap::new();
            for (fold, rows) in dealt.iter().enumerate() {
                for row in rows {
                    prop_assert_eq!(*fold_of.entry(groups[*row]).or_insert(fold), fold);
                }
                for kind in [true, false] {
                    prop_assert!(rows.iter().any(|row| images[*row].1 == kind), "fold {} {:?}", fold, dealt);
                }
            }
        }
    }
}
