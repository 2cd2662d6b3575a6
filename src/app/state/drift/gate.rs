//! What a threshold does: to the labelled images, to those that change side, and to what is answered.

use std::collections::HashMap;

use super::{DriftImage, DriftState};
use crate::domain::{ClassId, CostMatrix, ImageId};
use crate::drift::Decision;
use crate::evaluation::{
    Aim, GateCosts, GateFigures, Gated, OperatingPoint, cheapest_constant, measure,
};
use crate::workflows::Decided;

/// What a threshold does to the labelled images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtThreshold {
    /// Found, missed and false alarms, and cost where a run has answered the labelled images.
    pub figures: GateFigures,
    /// Mean cost of the best constant answer, where costs are known.
    pub constant: Option<f64>,
    /// Images without a label at or above the threshold.
    pub above: usize,
}

/// How many candidates get which kind of answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// A regular class.
    pub class: usize,
    /// Drift.
    pub drift: usize,
    /// A person should look.
    pub review: usize,
}

impl DriftState {
    /// What `threshold` does; none while a class is absent. `known` gives the labelled class of an image,
    /// where a label names one, and the answer of the run for it; cost is counted where both are known, with drift
    /// as frequent as is assumed (as frequent as among the labels before that is known).
    #[must_use]
    pub fn at_threshold(
        &self,
        threshold: f32,
        cost: &CostMatrix,
        known: impl Fn(ImageId) -> (Option<ClassId>, Option<ClassId>),
    ) -> Option<AtThreshold> {
        let labelled: Vec<(&DriftImage, bool)> = self
            .images
            .iter()
            .filter_map(|i| Some((i, i.label?)))
            .collect();
        let drift = labelled.iter().filter(|(_, drift)| *drift).count();
        if drift == 0 || drift == labelled.len() {
            return None;
        }
        let share = drift as f64 / labelled.len() as f64;
        let rate = self.decided.as_ref().map_or(share, |d| d.rate.assumed);
        let mut priced = Vec::new();
        let gated: Vec<Gated> = labelled
            .iter()
            .map(|(image, drift)| {
                let (label, answer) = known(image.image);
                let label = label.or(answer);
                let drift_class = ClassId::from(cost.len() - 1);
                let actual = if *drift { Some(drift_class) } else { label };
                if let Some(actual) = actual {
                    let answers = (0..cost.len()).map(|answer| cost.cost(actual, answer.into()));
                    priced.push((*drift, answers.collect()));
                }
                Gated {
                    score: f64::from(image.score),
                    drift: *drift,
                    costs: answer.map(|a| GateCosts::new(cost, *drift, label, a)),
                }
            })
            .collect();
        let threshold64 = f64::from(threshold);
        let figures = measure(&gated, |at| gated[at].score >= threshold64, rate);
        Some(AtThreshold {
            figures,
            constant: figures.cost.and_then(|_| cheapest_constant(&priced, rate)),
            above: self
                .images
                .iter()
                .filter(|i| i.label.is_none() && i.score >= threshold)
                .count(),
        })
    }

    /// What follows from the latest fit; none before the first.
    #[must_use]
    pub fn decided(&self) -> Option<&Decided> {
        self.decided.as_deref()
    }

    /// The operating point for `aim`, or the sentence why there is none; none before the first fit.
    #[must_use]
    pub fn point(&self, aim: Aim) -> Option<Result<&OperatingPoint, &str>> {
        let points = &self.decided.as_ref()?.points;
        let (_, point) = points.iter().find(|(of, _)| *of == aim)?;
        Some(point.as_ref().map_err(String::as_str))
    }

    /// Why there is no operating point for `aim` to go to, if so.
    #[must_use]
    pub fn why_no_point(&self, aim: Aim) -> Option<String> {
        match self.point(aim) {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(format!("No threshold: {why}.")),
            None => Some("No threshold yet: rank the images first.".to_owned()),
        }
    }

    /// Puts the threshold at the operating point for `aim`, where there is one.
    pub fn go_to_point(&mut self, aim: Aim) {
        if let Some(Ok(point)) = self.point(aim) {
            #[expect(clippy::cast_possible_truncation, reason = "as scores are")]
            let threshold = point.threshold as f32;
            self.set_threshold(threshold);
        }
    }

    /// The threshold that the project has settled on; the proposed one where it has not.
    #[must_use]
    pub fn settled_threshold(&self) -> Option<f32> {
        let proposed = self.proposed()?;
        Some(self.settled.unwrap_or(proposed))
    }

    /// Whether the threshold is not where the project has it.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.threshold().is_some() && self.chosen != self.settled
    }

    /// Settles on the threshold where it is now; returns what the project is to remember, none for the proposed
    /// one.
    pub fn settle(&mut self) -> Option<f32> {
        self.settled = self.chosen;
        self.settled
    }

    /// Puts the threshold back to where the project has it.
    pub fn unmove(&mut self) {
        self.chosen = self.settled;
    }

    /// Images on another side of the threshold than of the settled one, those nearest to the settled one first.
    /// All of them are drift now, or no longer, as the threshold was moved down or up.
    #[must_use]
    pub fn flips(&self) -> Vec<DriftImage> {
        let (Some(now), Some(settled)) = (self.threshold(), self.settled_threshold()) else {
            return Vec::new();
        };
        let flipped = |image: &&DriftImage| (image.score >= now) != (image.score >= settled);
        let mut flips: Vec<DriftImage> = self.images.iter().filter(flipped).copied().collect();
        let distance = |image: &DriftImage| (image.score - settled).abs();
        flips.sort_by(|a, b| {
            distance(a)
                .total_cmp(&distance(b))
                .then(a.image.cmp(&b.image))
        });
        flips
    }

    /// Images labelled drift that lie below the threshold, the lowest first.
    #[must_use]
    pub fn misses(&self) -> Vec<DriftImage> {
        let Some(threshold) = self.threshold() else {
            return Vec::new();
        };
        let missed = |image: &&DriftImage| image.label == Some(true) && image.score < threshold;
        let mut misses: Vec<DriftImage> = self.images.iter().filter(missed).copied().collect();
        misses.sort_by(|a, b| a.score.total_cmp(&b.score).then(a.image.cmp(&b.image)));
        misses
    }

    /// The chosen threshold, which then decides; none where the answer that costs least is taken.
    fn deciding(&self) -> Option<f64> {
        self.threshold()
            .filter(|_| self.chosen.is_some())
            .map(f64::from)
    }

    /// Candidates by the kind of their answer, whether they are labelled or not.
    #[must_use]
    pub fn outcomes(&self, drift: ClassId) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let Some(decided) = &self.decided else {
            return outcomes;
        };
        let threshold = self.deciding();
        for verdict in &decided.verdicts {
            *match verdict.decide(threshold, decided.look, drift).0 {
                Decision::Class(_) => &mut outcomes.class,
                Decision::Drift(_) => &mut outcomes.drift,
                Decision::NeedsReview(_) => &mut outcomes.review,
            } += 1;
        }
        outcomes
    }

    /// Images without a label that a person should look at, the dearest answers first; each with what its answer
    /// is expected to cost more than the truth.
    #[must_use]
    pub fn review(&self, drift: ClassId) -> Vec<(DriftImage, f64)> {
        let Some(decided) = &self.decided else {
            return Vec::new();
        };
        let threshold = self.deciding();
        let images: HashMap<ImageId, &DriftImage> =
            self.images.iter().map(|i| (i.image, i)).collect();
        let mut review: Vec<(DriftImage, f64)> = decided
            .verdicts
            .iter()
            .filter(|verdict| !self.labels.contains_key(&verdict.image))
            .filter_map(|verdict| {
                let (decision, regret) = verdict.decide(threshold, decided.look, drift);
                let image = **images.get(&verdict.image)?;
                matches!(decision, Decision::NeedsReview(_)).then_some((image, regret))
            })
            .collect();
        review.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.image.cmp(&b.0.image)));
        review
    }

    /// One scored image.
    #[must_use]
    pub fn image(&self, image: ImageId) -> Option<DriftImage> {
        self.images.iter().find(|i| i.image == image).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::tests::fitted;
    use super::*;

    fn ids(images: &[DriftImage]) -> Vec<u32> {
        images.iter().map(|i| i.image.0).collect()
    }

    #[test]
    fn moving_the_threshold_tells_which_images_change_side() {
        let mut state = fitted(&[0.9, 0.3, 0.6, 0.1, 0.5, 0.45], "1100--");
        assert!(state.flips().is_empty() && !state.is_moved());
        state.set_threshold(0.55);
        assert_eq!(state.settle(), Some(0.55));
        assert!(state.flips().is_empty() && !state.is_moved());
        state.set_threshold(0.4);
        assert_eq!(ids(&state.flips()), [4, 5], "now drift, the nearest first");
        assert!(state.is_moved());
        state.set_threshold(0.7);
        assert_eq!(ids(&state.flips()), [2], "no longer drift");
        state.unmove();
        assert_eq!(state.threshold(), Some(0.55));
        assert_eq!(ids(&state.misses()), [1]);
        // The proposal can be settled on too.
        state.reset_threshold();
        assert!(state.is_moved());
        assert_eq!(state.settle(), None);
        assert!(!state.is_moved());
    }

    proptest! {
        /// The images listed are those between the settled threshold and the one it was moved to, each once; all have
        /// changed to the side that the threshold left them on, and no more drift is caught by a higher one.
        #[test]
        fn flips_are_the_images_between_two_thresholds(
            rows in prop::collection::vec((0_u8..=20, any::<bool>()), 4..40), settled in 0_u8..=20, now in 0_u8..=20,
            shift in any::<bool>(),
        ) {
            // On scores, and halfway between them.
            let at = |t: u8| f32::from(t) / 20.0 + if shift { 0.025 } else { 0.0 };
            let scores: Vec<f32> = rows.iter().map(|(score, _)| f32::from(*score) / 20.0).collect();
            // Two of either kind are labelled, so that there is a threshold.
            let label = |(at, (_, drift)): (usize, &(u8, bool))| match at {
                0 | 1 => '1',
                2 | 3 => '0',
                _ if at % 3 == 0 => '-',
                _ => if *drift { '1' } else { '0' },
            };
            let labels: String = rows.iter().enumerate().map(label).collect();
            let mut state = fitted(&scores, &labels);
            state.set_threshold(at(settled));
            state.settle();
            state.set_threshold(at(now));
            let (from, to) = (state.settled_threshold(), state.threshold());
            let (from, to) = (from.expect("settled"), to.expect("moved"));
            let (low, high) = (from.min(to), from.max(to));
            let listed = ids(&state.flips());
            let between = (0_u32..).zip(&scores).filter(|(_, s)| low <= **s && **s < high);
            let expected: BTreeSet<u32> = between.map(|(at, _)| at).collect();
            prop_assert_eq!(listed.len(), expected.len());
            prop_assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
            for image in state.flips() {
                prop_assert_eq!(image.score >= to, to < from);
            }
            let cost = CostMatrix::challenge();
            let caught = |threshold| {
                let at = state.at_threshold(threshold, &cost, |_| (None, None));
                at.expect("both kinds are labelled").figures.caught
            };
            prop_assert!(caught(high) <= caught(low));
        }
    }
}
