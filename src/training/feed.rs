//! From examples to the tensors that enter the network.

use std::path::Path;
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::{Activations, CacheUse, Plan, Sampler, TrainError, Variant};
use crate::domain::{ClassId, ImageId};
use crate::jobs::JobContext;
use crate::models::{Model, TrainableSet, stack};

/// Where the pixels of an image come from, at the plan's size.
pub trait PixelSource {
    /// `size * size` bytes, row by row.
    fn pixels(&self, image: ImageId) -> &[u8];
}

/// An image and the class it is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// Which image.
    pub image: ImageId,
    /// One of the regular classes.
    pub class: ClassId,
}

/// Hands batches to a phase: pixels, or the activations of its frozen layers where those are kept.
pub(super) struct Feed<'a> {
    pixels: &'a dyn PixelSource,
    size: u32,
    device: Device,
    /// The first stage that learns.
    first_stage: usize,
    kept: Option<Activations>,
}

impl<'a> Feed<'a> {
    /// A feed of whole images.
    pub fn of_pixels(pixels: &'a dyn PixelSource, model: &Model) -> Self {
        Self {
            pixels,
            size: model.size,
            device: model.variables.device(),
            first_stage: 0,
            kept: None,
        }
    }

    /// The feed of a phase that trains `set`. Where frozen layers come first and `folder` has room, their
    /// activations for `examples` are computed, or found, and kept.
    pub fn for_phase(
        pixels: &'a dyn PixelSource,
        model: &Model,
        set: &TrainableSet,
        plan: &Plan,
        folder: Option<&Path>,
        examples: &[&[Example]],
        context: &JobContext,
    ) -> Result<(Self, Option<CacheUse>), TrainError> {
        let mut feed = Self {
            first_stage: set.first_stage,
            ..Self::of_pixels(pixels, model)
        };
        let (Some(folder), true, true) = (folder, set.first_stage > 0, plan.cache_activations)
        else {
            return Ok((feed, None));
        };
        let variants: Vec<Variant> = examples
            .iter()
            .flat_map(|part| part.iter().map(|e| (e.image, 0)))
            .collect();
        let started = Instant::now();
        let estimate = Activations::estimate(model, set, folder, variants.len());
        let mut used = CacheUse {
            estimate,
            used: estimate.fits(),
            computed: 0,
            seconds: 0.0,
        };
        if used.used {
            let mut kept = Activations::open(model, set, folder)?;
            let read = |(image, _): Variant| pixels.pixels(image).to_vec();
            used.computed = kept.fill(model, &variants, &read, context)?;
            used.seconds = started.elapsed().as_secs_f64();
            if kept.holds(&variants) {
                feed.kept = Some(kept);
            }
        }
        Ok((feed, Some(used)))
    }

    /// What enters stage [`Feed::stage`] for these images.
    pub fn batch(&self, model: &Model, examples: &[Example]) -> Tensor {
        if let Some(kept) = &self.kept {
            let variants: Vec<Variant> = examples.iter().map(|e| (e.image, 0)).collect();
            return kept.batch(&variants);
        }
        let images = stack(
            examples.iter().map(|e| self.pixels.pixels(e.image)),
            self.size,
            self.device,
        );
        if self.first_stage == 0 {
            return images;
        }
        // Rounded as what is kept is, so that a training does not depend on the room on the disk.
        tch::no_grad(|| model.run(&images, 0..self.first_stage, false))
            .to_kind(Kind::Half)
            .to_kind(Kind::Float)
    }

    /// The stage that a batch enters.
    pub fn stage(&self) -> usize {
        self.first_stage
    }
}

/// Class numbers `[n]`.
pub(super) fn targets(examples: &[Example]) -> Tensor {
    let classes: Vec<i64> = examples.iter().map(|e| e.class.index() as i64).collect();
    Tensor::from_slice(&classes)
}

/// The examples of one epoch in their order, by seed and epoch alone.
pub(super) fn order(
    examples: &[Example],
    sampler: Sampler,
    seed: u64,
    epoch: usize,
) -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64);
    match sampler {
        Sampler::Uniform => {
            let mut order = examples.to_vec();
            order.shuffle(&mut rng);
            order
        }
        Sampler::ClassBalanced => {
            let highest = examples.iter().map(|e| e.class.index()).max().unwrap_or(0);
            let mut classes: Vec<Vec<Example>> = vec![Vec::new(); highest + 1];
            for example in examples {
                classes[example.class.index()].push(*example);
            }
            classes.retain(|class| !class.is_empty());
            let draw = |_| {
                let class = &classes[rng.random_range(0..classes.len())];
                class[rng.random_range(0..class.len())]
            };
            (0..examples.len()).map(draw).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_every_image_once_or_every_class_alike() {
        let examples: Vec<Example> = (0..1000)
            .map(|i| Example {
                image: ImageId::from(i),
                class: ClassId::from(usize::from(i % 50 == 0)),
            })
            .collect();
        let uniform = order(&examples, Sampler::Uniform, 1, 1);
        assert_ne!(uniform, examples);
        let mut sorted = uniform.clone();
        sorted.sort_by_key(|e| e.image);
        assert_eq!(sorted, examples);
        assert_eq!(uniform, order(&examples, Sampler::Uniform, 1, 1));
        assert_ne!(uniform, order(&examples, Sampler::Uniform, 1, 2));
        let balanced = order(&examples, Sampler::ClassBalanced, 1, 1);
        assert_eq!(balanced.len(), 1000);
        let rare = balanced.iter().filter(|e| e.class.index() == 1).count();
        // 20 of 1000 images are of the rare class; half of the draws are, within 5 standard deviations.
        assert!((420..580).contains(&rare), "{rare}");
    }
}
