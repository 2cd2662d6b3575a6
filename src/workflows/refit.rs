//! What follows from a label of drift: a fit, its decisions, the queue. The window and `bench drift` run the same.

use std::collections::HashMap;

use crate::domain::ImageId;
use crate::project::Snapshot;
use crate::queue::Reason;

use super::{Decided, DriftResult, DriftSession, FollowUp, QUEUE_SEED};

/// Images near each labelled drift image that are told to be so.
const NEAR_DRIFT: usize = 20;
/// Neighbours of a miss that are looked at once it is learned.
const FOLLOWED: usize = 8;
/// Images that the queue which finds drift holds beyond the present one.
const DEALT: usize = 60;
/// Repeats of the cross-validation behind a live refit: few, so that its figures come with the next image.
const REFIT_REPEATS: usize = 2;

/// What a fit of the drift model brings.
pub struct Refitted {
    /// Scores and quality.
    pub result: DriftResult,
    /// What follows from them.
    pub decided: Decided,
    /// What became of the miss that is followed, once it is learned.
    pub followed: Option<FollowUp>,
    /// Cosine similarity of images to the nearest one labelled drift.
    pub near: HashMap<ImageId, f32>,
    /// What to label next, each image with its reason; or why there is no queue, without which the fit still counts.
    pub queue: Result<Vec<(ImageId, Reason)>, String>,
}

impl DriftSession {
    /// All that is made anew after a label. `labels` are true for drift, `repeated` the images that were shown
    /// again blind, `followed` the miss of which the user wants to know whether it is caught now.
    #[must_use]
    pub fn after_label(
        &self,
        snapshot: &Snapshot,
        labels: &[(ImageId, bool)],
        repeated: &[ImageId],
        followed: Option<ImageId>,
    ) -> Refitted {
        let found: Vec<ImageId> = labels
            .iter()
            .filter(|(_, drift)| *drift)
            .map(|(image, _)| *image)
            .collect();
        let result = self.refit(labels, REFIT_REPEATS);
        let mut near: HashMap<ImageId, f32> = HashMap::new();
        for image in &found {
            for (other, similarity) in self.neighbours(*image, NEAR_DRIFT) {
                let best = near.entry(other).or_insert(similarity);
                *best = best.max(similarity);
            }
        }
        let queue = self.queue(labels, repeated, DEALT, QUEUE_SEED);
        let decided = self.decide(snapshot, labels, &result, QUEUE_SEED);
        let followed = followed.filter(|image| found.contains(image));
        Refitted {
            followed: followed.and_then(|image| self.follow_up(labels, image, FOLLOWED)),
            result,
            decided,
            near,
            queue: queue.map_err(|error| error.to_string()),
        }
    }
}
