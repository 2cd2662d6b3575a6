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
/// The one image that is its turn now may be missing still. Where more are, the labels were not given in the order of
/// the queue but to images chosen for what they look like, and those of the order that have one tell nothing: then
/// there is no sample.
#[must_use]
pub fn control_sample(labels: &[Option<bool>], seed: u64) -> ControlSample {
    let due = due(labels.iter().flatten().count());
    let order = control_order(labels.len(), seed);
    let known: Vec<bool> = order
        .iter()
        .take(due)
        .map_while(|image| labels[*image])
        .collect();
    let sample = if known.len() + 1 < due {
        &[]
    } else {
        known.as_slice()
    };
    ControlSample {
        drift: sample.iter().filter(|drift| **drift).count(),
        images: sample.len(),
    }
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
        // Those that the order would show next are passed over.
        for image in &order[30..45] {
            labels[*image] = Some(false);
        }
        assert_eq!(control_sample(&labels, 3).images, 0);
    }

    #[test]
    fn labels_given_for_what_images_look_like_are_no_sample_of_them() {
        // A tenth is drift, and the user labels all of it and little else: by the map, or from the top of a ranking.
        let (images, mut said) = (400, 0);
        for seed in 0..200 {
            let drift = |image: usize| image.is_multiple_of(10);
            let looked = |image: usize| drift(image) || image % 40 == 1;
            let labels: Vec<Option<bool>> = (0..images)
                .map(|image| looked(image).then_some(drift(image)))
                .collect();
            let sample = control_sample(&labels, seed);
            assert_eq!(sample.drift, 0, "{sample:?}");
            said += sample.images;
        }
        assert_eq!(said, 0);
    }
}
