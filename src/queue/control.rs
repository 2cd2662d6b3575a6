//! A random sample, so that the share of drift can be told without bias.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Of all images labelled, the share that stems from the control sample.
pub(super) const SHARE: f64 = 0.1;

/// What the control sample says so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSample {
    /// Its images labelled drift.
    pub drift: usize,
    /// Its images, all of them labelled.
    pub images: usize,
}

/// All `images` in the random order of `seed`: however many are taken from its front are a control sample.
#[must_use]
pub fn control_order(images: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// How long the control sample is once `labelled` images are.
pub(super) fn due(labelled: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    let due = (labelled as f64 * SHARE) as usize;
    due
}

/// Counts drift in the control sample of `labels` (true for drift). The length of the sample follows from
/// the number of labels alone, never from what they say, and images that another part of the queue had
/// shown already count like the rest: the share of drift in it estimates that of all images without bias.
/// As far as the sample is not labelled yet it ends before the first image that is missing.
#[must_use]
pub fn control_sample(labels: &[Option<bool>], seed: u64) -> ControlSample {
    let labelled = labels.iter().flatten().count();
    let sample = control_order(labels.len(), seed)
        .into_iter()
        .take(due(labelled))
        .map_while(|image| labels[image]);
    sample.fold(
        ControlSample {
            drift: 0,
            images: 0,
        },
        |so_far, drift| ControlSample {
            drift: so_far.drift + usize::from(drift),
            images: so_far.images + 1,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_as_long_as_the_labels_say() {
        let order = control_order(100, 3);
        let mut labels = vec![None; 100];
        for image in &order[..30] {
            labels[*image] = Some(false);
        }
        labels[order[1]] = Some(true);
        labels[order[20]] = Some(true);
        let so_far = control_sample(&labels, 3);
        assert_eq!((so_far.drift, so_far.images), (1, 3));
        labels[order[2]] = None;
        let so_far = control_sample(&labels, 3);
        assert_eq!((so_far.drift, so_far.images), (1, 2));
        assert_eq!(control_sample(&[], 3).images, 0);
    }
}
