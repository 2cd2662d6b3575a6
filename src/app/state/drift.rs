//! The drift model while it is being taught.

mod gate;
mod miss;

pub use gate::{AtThreshold, Outcomes};
pub use miss::{Followed, Miss};

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::MapState;
use crate::domain::ImageId;
use crate::evaluation::{Aim, CvReport};
use crate::workflows::{Decided, DriftResult, FollowUp};

/// Bars of the score histogram.
pub const BINS: usize = 48;
/// Labels that "what did my last labels change" looks back over.
const LOOK_BACK: usize = 20;

/// Where the drift model is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DriftPhase {
    /// No run has been chosen for the features.
    #[default]
    Idle,
    /// Embeddings are being computed or read.
    Preparing,
    /// Scores are there.
    Ready,
    /// Scores are there and the head is being fitted anew.
    Fitting,
    /// There are no scores: why.
    Failed(String),
}

/// What happened to the drift model.
#[derive(Clone, Debug)]
pub enum DriftEvent {
    /// The embeddings of a run are being prepared.
    Preparing(PathBuf),
    /// A fit has been started.
    Fitting,
    /// A fit is done. `rerank` when the user asked for it: only then may the order of the images change.
    Fitted {
        /// What it gave.
        result: Arc<DriftResult>,
        /// Whether to sort the images anew.
        rerank: bool,
    },
    /// What follows from the latest fit.
    Decided(Arc<Decided>),
    /// What became of the miss that is being followed.
    Followed(FollowUp),
    /// Images were labelled drift (`Some(true)`) or regular, or lost their label.
    Labelled(Vec<(ImageId, Option<bool>)>),
    /// There will be no scores; a sentence for the user.
    Failed(String),
}

/// One scored image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftImage {
    /// Which image.
    pub image: ImageId,
    /// Probability of drift, `0..=1`: for a labelled image out of fold, where that is known. Without a
    /// head, the share of regular images that look less odd.
    pub score: f32,
    /// Whether a person said drift.
    pub label: Option<bool>,
}

/// Images in one bar of the histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// Labelled regular.
    pub regular: u32,
    /// Labelled drift.
    pub drift: u32,
    /// Not labelled.
    pub unlabelled: u32,
}

/// What the latest labels changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Number of labels between the two fits.
    pub labels: usize,
    /// Images that came to lie at or above the threshold, the likeliest drift first.
    pub now_above: Vec<ImageId>,
    /// Images that no longer do, likewise.
    pub no_longer: Vec<ImageId>,
    /// Average precision before and now, where both could be measured.
    pub average_precision: Option<(f64, f64)>,
}

/// The drift model while it is being taught. The order of the images is frozen until the user asks for a
/// new one: a label never makes the list jump.
#[derive(Clone, Debug, Default)]
pub struct DriftState {
    /// Where it is.
    pub phase: DriftPhase,
    /// The run whose features are used.
    pub run: Option<PathBuf>,
    labels: BTreeMap<ImageId, bool>,
    result: Option<Arc<DriftResult>>,
    /// Earlier fits, the oldest first.
    history: Vec<Arc<DriftResult>>,
    images: Vec<DriftImage>,
    order: Vec<ImageId>,
    /// A sentence on the candidates that the ranking leaves out, if there are any.
    pub left_out: Option<String>,
    /// Labels given since the order was made.
    pub labels_since_order: usize,
    /// Where the images lie.
    pub map: MapState,
    /// Changes with scores and labels.
    generation: u64,
    /// The user's threshold, where it is theirs.
    chosen: Option<f32>,
    /// As the project has it: what a moved threshold is compared with.
    settled: Option<f32>,
    decided: Option<Arc<Decided>>,
    miss: Option<Miss>,
    /// What the ranking goes by instead of the head, where the user has chosen so.
    ranking: Option<HashMap<ImageId, f32>>,
}

fn labels_of(result: &DriftResult) -> usize {
    result.n_drift + result.n_regular
}

impl DriftState {
    /// Takes in what happened.
    pub fn apply(&mut self, event: DriftEvent) {
        match event {
            DriftEvent::Preparing(run) => {
                let before = std::mem::take(self);
                *self = Self {
                    phase: DriftPhase::Preparing,
                    run: Some(run),
                    labels: before.labels,
                    // A threshold that the project has settled on stays; one of the old scores means nothing.
                    chosen: before.settled,
                    settled: before.settled,
                    miss: before.miss,
                    map: before.map,
                    generation: before.generation + 1,
                    ranking: before.ranking,
                    ..Self::default()
                };
            }
            DriftEvent::Fitting => {
                if self.result.is_some() {
                    self.phase = DriftPhase::Fitting;
                }
            }
            DriftEvent::Fitted { result, rerank } => self.fitted(&result, rerank),
            DriftEvent::Decided(decided) => self.decided = Some(decided),
            DriftEvent::Followed(found) => self.followed(found),
            DriftEvent::Labelled(labels) => {
                self.labels_since_order += labels.len();
                for (image, label) in labels {
                    match label {
                        Some(drift) => self.labels.insert(image, drift),
                        None => self.labels.remove(&image),
                    };
                }
                self.rescore();
            }
            DriftEvent::Failed(why) => self.phase = DriftPhase::Failed(why),
        }
    }

    fn fitted(&mut self, result: &Arc<DriftResult>, rerank: bool) {
        self.phase = DriftPhase::Ready;
        if let Some(before) = self.result.replace(Arc::clone(result)) {
            self.history.push(before);
        }
        // Whatever is older than the one fit that is compared with is of no use any more.
        let enough = labels_of(result).saturating_sub(LOOK_BACK);
        if let Some(base) = self.history.iter().rposition(|r| labels_of(r) <= enough) {
            self.history.drain(..base);
        }
        self.rescore();
        if rerank || self.order.is_empty() {
            self.rerank();
        }
    }

    fn rescore(&mut self) {
        self.generation += 1;
        let Some(result) = &self.result else { return };
        self.images = result
            .scores
            .iter()
            .map(|s| DriftImage {
                image: s.image,
                score: s.probability.unwrap_or(s.anomaly),
                label: self.labels.get(&s.image).copied(),
            })
            .collect();
    }

    /// Sorts the images anew, the most likely drift first.
    pub fn rerank(&mut self) {
        let mut images: Vec<DriftImage> = self.images.iter().map(|i| self.as_ranked(i)).collect();
        images.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.image.cmp(&b.image)));
        self.order = images.into_iter().map(|i| i.image).collect();
        self.labels_since_order = 0;
    }

    /// Ranks by these probabilities of drift, or by the head again. The histogram and the threshold stay the head's.
    pub fn rank_by(&mut self, ranking: Option<HashMap<ImageId, f32>>) {
        self.ranking = ranking;
        self.rerank();
    }

    /// Whether the ranking goes by a network's probabilities instead of the head's.
    #[must_use]
    pub fn ranks_by_network(&self) -> bool {
        self.ranking.is_some()
    }

    /// With the score that it is ranked by. An image that the network has no answer for comes last.
    fn as_ranked(&self, image: &DriftImage) -> DriftImage {
        let ranking = self.ranking.as_ref();
        let score = ranking.map(|ranking| ranking.get(&image.image).copied().unwrap_or(0.0));
        DriftImage {
            score: score.unwrap_or(image.score),
            ..*image
        }
    }

    /// With the threshold that the project has settled on, if it has.
    #[must_use]
    pub fn with_threshold(chosen: Option<f32>) -> Self {
        Self {
            chosen,
            settled: chosen,
            ..Self::default()
        }
    }

    /// Puts the threshold where the user dragged it.
    pub fn set_threshold(&mut self, threshold: f32) {
        if self.threshold().is_some() {
            self.chosen = Some(threshold.clamp(0.0, 1.0));
        }
    }

    /// Back to the proposed threshold.
    pub fn reset_threshold(&mut self) {
        self.chosen = None;
    }

    /// Whether there is a head: before, images are ranked by oddness alone.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.result
            .as_ref()
            .is_some_and(|r| r.scores.iter().any(|s| s.probability.is_some()))
    }

    /// Whether scores can be shown.
    #[must_use]
    pub fn has_scores(&self) -> bool {
        self.result.is_some()
    }

    /// How long the latest fit took, in milliseconds.
    #[must_use]
    pub fn milliseconds(&self) -> Option<f64> {
        self.result.as_ref().map(|r| r.milliseconds)
    }

    /// Cross-validated quality, or the sentence why there is none; `None` before the first fit.
    #[must_use]
    pub fn quality(&self) -> Option<Result<&CvReport, &str>> {
        let result = self.result.as_ref()?;
        Some(result.quality.as_ref().map_err(String::as_str))
    }

    /// Labelled (drift, regular) images now.
    #[must_use]
    pub fn label_counts(&self) -> (usize, usize) {
        let drift = self.labels.values().filter(|d| **d).count();
        (drift, self.labels.len() - drift)
    }

    /// Whether a person said drift, as the labels are now.
    #[must_use]
    pub fn label(&self, image: ImageId) -> Option<bool> {
        self.labels.get(&image).copied()
    }

    /// The threshold: the user's, else the proposed one. None while a class is absent, for then no
    /// threshold means anything.
    #[must_use]
    pub fn threshold(&self) -> Option<f32> {
        let proposed = self.proposed()?;
        Some(self.chosen.unwrap_or(proposed))
    }

    /// The threshold with the best F1 on the labels.
    fn proposed(&self) -> Option<f32> {
        let quality = self.quality()?.ok()?;
        let point = self.point(Aim::F1).and_then(Result::ok);
        let proposed = point.map_or(quality.suggested_threshold, |point| point.threshold);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a probability, compared with f32 scores"
        )]
        Some(proposed as f32)
    }

    /// Whether the threshold is the user's.
    #[must_use]
    pub fn threshold_is_chosen(&self) -> bool {
        self.chosen.is_some()
    }

    /// Every scored image, in the order of the data set.
    #[must_use]
    pub fn images(&self) -> &[DriftImage] {
        &self.images
    }

    /// Changes whenever a score or a label has: what was derived from them is to be derived anew.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Every scored image in the frozen order, the most likely drift first, with the score it is ranked by.
    pub fn ranked(&self) -> impl Iterator<Item = DriftImage> {
        let at: HashMap<ImageId, &DriftImage> = self.images.iter().map(|i| (i.image, i)).collect();
        self.order
            .iter()
            .filter_map(move |i| at.get(i).map(|i| self.as_ranked(i)))
    }

    /// Images by score in [`BINS`] equal bars over `0..=1`.
    #[must_use]
    pub fn histogram(&self) -> Vec<Bin> {
        let mut bins = vec![Bin::default(); BINS];
        for image in &self.images {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped into the bars; a saturating cast puts NaN into the first"
            )]
            let bin = ((image.score * BINS as f32) as usize).min(BINS - 1);
            let bin = &mut bins[bin];
            match image.label {
                Some(true) => bin.drift += 1,
                Some(false) => bin.regular += 1,
                None => bin.unlabelled += 1,
            }
        }
        bins
    }

    /// What the latest 20 labels changed, or all there are; none before two fits can be compared.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        let (now, threshold) = (self.result.as_ref()?, self.threshold()?);
        let enough = labels_of(now).saturating_sub(LOOK_BACK);
        let has_head = |r: &&Arc<DriftResult>| r.scores.iter().any(|s| s.probability.is_some());
        let before = self
            .history
            .iter()
            .rev()
            .find(|r| labels_of(r) <= enough)
            .filter(has_head)
            .or_else(|| self.history.iter().find(has_head))?;
        let above = |r: &DriftResult| -> HashMap<ImageId, bool> {
            r.scores
                .iter()
                .filter_map(|s| Some((s.image, s.probability? >= threshold)))
                .collect()
        };
        let was = above(before);
        let moved = |to: bool| {
            let there = now.scores.iter().filter(|s| {
                let is = s.probability.map(|p| p >= threshold);
                is == Some(to) && was.get(&s.image) == Some(&!to)
            });
            there.map(|s| s.image).collect()
        };
        let ap = |r: &DriftResult| r.quality.as_ref().ok().map(|q| q.average_precision.mean);
        Some(Change {
            labels: labels_of(now).saturating_sub(labels_of(before)),
            now_above: moved(true),
            no_longer: moved(false),
            average_precision: ap(before).zip(ap(now)),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{ClassId, CostMatrix};
    use crate::evaluation::{CvPlan, cross_validate};
    use crate::workflows::DriftScore;

    /// Scores of images 0, 1, …; labels `1` drift, `0` regular, `-` none.
    pub(super) fn result(scores: &[f32], labels: &str) -> Arc<DriftResult> {
        let labels: Vec<Option<bool>> = labels
            .chars()
            .map(|c| match c {
                '1' => Some(true),
                '0' => Some(false),
                _ => None,
            })
            .collect();
        let count = |kind| labels.iter().filter(|l| **l == Some(kind)).count();
        let quality = cross_validate(&labels, &CvPlan::default(), |rows| {
            Ok::<_, std::fmt::Error>(rows.iter().map(|r| f64::from(scores[*r])).collect())
        })
        .map_err(|e| e.to_string());
        let head = quality.is_ok();
        Arc::new(DriftResult {
            scores: scores
                .iter()
                .enumerate()
                .map(|(i, s)| DriftScore {
                    image: ImageId::from(i),
                    probability: head.then_some(*s),
                    anomaly: 1.0 - s,
                })
                .collect(),
            quality,
            head_problem: None,
            n_drift: count(true),
            n_regular: count(false),
            milliseconds: 38.0,
        })
    }

    pub(super) fn fitted(scores: &[f32], labels: &str) -> DriftState {
        let mut state = DriftState::default();
        let given = labels.chars().enumerate().filter_map(|(i, c)| {
            let label = match c {
                '1' => true,
                '0' => false,
                _ => return None,
            };
            Some((ImageId::from(i), Some(label)))
        });
        state.apply(DriftEvent::Labelled(given.collect()));
        state.apply(DriftEvent::Fitted {
            result: result(scores, labels),
            rerank: true,
        });
        state
    }

    fn order(state: &DriftState) -> Vec<u32> {
        state.ranked().map(|i| i.image.0).collect()
    }

    #[test]
    fn without_labels_oddness_ranks_and_no_threshold_is_proposed() {
        let mut state = fitted(&[0.1, 0.9, 0.5], "---");
        assert!(state.has_scores() && !state.has_head());
        assert_eq!(order(&state), [0, 2, 1]);
        assert_eq!(state.threshold(), None);
        state.set_threshold(0.3);
        assert_eq!(state.threshold(), None);
        let why = state.quality().expect("fitted").expect_err("no labels");
        assert!(why.contains("at least 2 of each"), "{why}");
        let none = |_| (None, None);
        assert_eq!(
            state.at_threshold(0.5, &CostMatrix::challenge(), none),
            None
        );
        assert!(state.flips().is_empty() && state.misses().is_empty());
    }

    #[test]
    fn a_label_never_reorders_the_list_but_the_button_does() {
        let mut state = fitted(&[0.9, 0.8, 0.2, 0.1, 0.5], "1100-");
        assert_eq!(order(&state), [0, 1, 4, 2, 3]);
        state.apply(DriftEvent::Labelled(vec![(ImageId(4), Some(true))]));
        assert_eq!(
            (state.label_counts(), state.labels_since_order),
            ((3, 2), 1)
        );
        let refit = result(&[0.9, 0.8, 0.2, 0.1, 0.95], "11001");
        state.apply(DriftEvent::Fitting);
        state.apply(DriftEvent::Fitted {
            result: refit,
            rerank: false,
        });
        assert_eq!(order(&state), [0, 1, 4, 2, 3]);
        state.rerank();
        assert_eq!(order(&state), [4, 0, 1, 2, 3]);
        assert_eq!(state.labels_since_order, 0);
    }

    #[test]
    fn a_threshold_says_what_it_finds_and_costs() {
        let mut state = fitted(&[0.9, 0.3, 0.6, 0.1, 0.5], "1100-");
        state.set_threshold(0.4);
        assert_eq!(state.threshold(), Some(0.4));
        let good = |_| (Some(ClassId(0)), Some(ClassId(0)));
        let at = state
            .at_threshold(0.4, &CostMatrix::challenge(), good)
            .expect("both kinds");
        assert_eq!((at.figures.caught, at.figures.false_alarms), (1, 1));
        assert_eq!(at.above, 1);
        // One drift passed as GOOD and one GOOD stopped as drift, 10,000 each, over four images; any
        // constant answer is wrong about two of the four in the same way, or dearer.
        let here = at.figures.cost.expect("answers");
        assert!((here.mean - 5_000.0).abs() < 1e-6, "{here:?}");
        assert!(at.constant.expect("answers") <= 5_000.0 + 1e-6);
        state.reset_threshold();
        assert!(!state.threshold_is_chosen());
        let bins = state.histogram();
        assert_eq!(
            bins.iter()
                .map(|b| b.drift + b.regular + b.unlabelled)
                .sum::<u32>(),
            5
        );
    }

    #[test]
    fn the_last_labels_are_compared_with_the_fit_before_them() {
        let mut state = fitted(&[0.9, 0.8, 0.2, 0.1, 0.1, 0.9], "1100--");
        assert_eq!(state.change(), None, "one fit is no comparison");
        state.apply(DriftEvent::Labelled(vec![(ImageId(4), Some(true))]));
        state.apply(DriftEvent::Fitted {
            result: result(&[0.9, 0.8, 0.2, 0.1, 0.9, 0.1], "11001-"),
            rerank: false,
        });
        state.set_threshold(0.5);
        let change = state.change().expect("two fits");
        assert_eq!(
            (change.labels, change.now_above, change.no_longer),
            (1, vec![ImageId(4)], vec![ImageId(5)])
        );
        assert!(change.average_precision.is_some());
    }

    #[test]
    fn another_run_starts_over_but_keeps_the_labels() {
        let mut state = fitted(&[0.9, 0.8, 0.2, 0.1], "1100");
        state.apply(DriftEvent::Preparing("run".into()));
        assert_eq!((state.label_counts(), state.has_scores()), ((2, 2), false));
        state.apply(DriftEvent::Fitting);
        assert_eq!(state.phase, DriftPhase::Preparing);
        state.apply(DriftEvent::Failed("the run is gone".into()));
        assert!(matches!(state.phase, DriftPhase::Failed(_)));
    }

    #[test]
    fn old_fits_are_dropped() {
        let mut state = DriftState::default();
        let scores = vec![0.5; 200];
        for n in 0..100 {
            let labels: String = (0..200)
                .map(|i| {
                    if i < n {
                        if i % 2 == 0 { '1' } else { '0' }
                    } else {
                        '-'
                    }
                })
                .collect();
            let mut fit = (*result(&scores, "-".repeat(200).as_str())).clone();
            (fit.n_drift, fit.n_regular) = (n / 2, n - n / 2);
            assert_eq!(labels.len(), 200);
            state.apply(DriftEvent::Fitted {
                result: Arc::new(fit),
                rerank: false,
            });
        }
        assert!(
            state.history.len() <= LOOK_BACK + 1,
            "{}",
            state.history.len()
        );
    }
}
