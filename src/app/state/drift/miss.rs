//! A miss: labelled drift by one key, learned at once, and what became of it and of what looks like it.

use std::collections::HashMap;

use super::{DriftImage, DriftState};
use crate::domain::ImageId;
use crate::workflows::FollowUp;

/// A miss that was taught to the drift model.
#[derive(Clone, Debug)]
pub struct Miss {
    /// The image.
    pub image: ImageId,
    /// Scores when it was taught.
    before: HashMap<ImageId, f32>,
    /// The threshold then, if there was one.
    threshold_before: Option<f32>,
    found: Option<FollowUp>,
}

/// One image of a miss and its neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Followed {
    /// As it is now. The missed image itself: its score by the head that has learned it.
    pub now: DriftImage,
    /// Its score when the miss was taught, where it had one.
    pub before: Option<f32>,
    /// Whether it lay at or above the threshold then.
    pub was_caught: bool,
    /// Whether it does now.
    pub caught: bool,
}

impl DriftState {
    /// Remembers how things are before `image` is taught as a miss.
    pub fn follow(&mut self, image: ImageId) {
        let scores = self.images.iter().map(|i| (i.image, i.score));
        self.miss = Some(Miss {
            image,
            before: scores.collect(),
            threshold_before: self.threshold(),
            found: None,
        });
    }

    /// The image that is to be looked at after the next fit that has learned it.
    #[must_use]
    pub fn following(&self) -> Option<ImageId> {
        self.miss.as_ref().map(|miss| miss.image)
    }

    /// Whether the fit that has learned the miss is still to come.
    #[must_use]
    pub fn follow_is_pending(&self) -> bool {
        self.miss.as_ref().is_some_and(|miss| miss.found.is_none())
    }

    /// Forgets the miss.
    pub fn unfollow(&mut self) {
        self.miss = None;
    }

    pub(super) fn followed(&mut self, found: FollowUp) {
        if let Some(miss) = self.miss.as_mut().filter(|miss| miss.image == found.image) {
            miss.found = Some(found);
        }
    }

    /// The miss, then what looks most like it, nearest first; empty while the fit that has learned it is still to
    /// come. Without a threshold, drift from one half on is caught.
    #[must_use]
    pub fn followed_images(&self) -> Vec<Followed> {
        let Some((miss, found)) = self
            .miss
            .as_ref()
            .and_then(|m| Some((m, m.found.as_ref()?)))
        else {
            return Vec::new();
        };
        let threshold = self.threshold().unwrap_or(0.5);
        let threshold_before = miss.threshold_before.unwrap_or(0.5);
        let images: HashMap<ImageId, DriftImage> =
            self.images.iter().map(|i| (i.image, *i)).collect();
        let followed = |image: ImageId, learned: Option<f32>| {
            let mut now = *images.get(&image)?;
            now.score = learned.unwrap_or(now.score);
            let before = miss.before.get(&image).copied();
            Some(Followed {
                now,
                before,
                was_caught: before.is_some_and(|score| score >= threshold_before),
                caught: now.score >= threshold,
            })
        };
        let itself = followed(found.image, Some(found.learned));
        let near = found.neighbours.iter();
        itself
            .into_iter()
            .chain(near.filter_map(|(image, _)| followed(*image, None)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fitted, result};
    use super::super::{DriftEvent, DriftState};
    use super::*;

    fn learn(state: &mut DriftState, scores: &[f32], labels: &str) {
        state.apply(DriftEvent::Fitted {
            result: result(scores, labels),
            rerank: false,
        });
    }

    #[test]
    fn a_miss_is_compared_with_how_it_was() {
        let mut state = fitted(&[0.9, 0.8, 0.2, 0.1, 0.3, 0.4, 0.35], "1100---");
        state.set_threshold(0.5);
        state.follow(ImageId(4));
        assert!(state.follow_is_pending() && state.followed_images().is_empty());
        state.apply(DriftEvent::Labelled(vec![(ImageId(4), Some(true))]));
        learn(
            &mut state,
            &[0.9, 0.8, 0.2, 0.1, 0.42, 0.7, 0.45],
            "11001--",
        );
        let found = |image| FollowUp {
            image: ImageId(image),
            learned: 0.93,
            neighbours: vec![(ImageId(5), 0.99), (ImageId(6), 0.9), (ImageId(0), 0.8)],
        };
        state.apply(DriftEvent::Followed(found(3)));
        assert!(state.follow_is_pending(), "of another image");
        state.apply(DriftEvent::Followed(found(4)));
        let followed = state.followed_images();
        let seen: Vec<(u32, bool, bool)> = followed
            .iter()
            .map(|f| (f.now.image.0, f.was_caught, f.caught))
            .collect();
        assert_eq!(
            seen,
            [
                (4, false, true),
                (5, false, true),
                (6, false, false),
                (0, true, true)
            ]
        );
        assert_eq!(
            (followed[0].before, followed[0].now.score),
            (Some(0.3), 0.93)
        );
        // Out of fold, by heads that do not know the label, it would still be missed, and is listed so.
        assert_eq!(state.misses()[0].image, ImageId(4));
        state.unfollow();
        assert!(state.followed_images().is_empty());
    }
}
