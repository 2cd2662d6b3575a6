//! From examples to the tensors that enter the network.

use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::{Activations, CacheUse, Plan, Sampler, TrainData, TrainError, Variant};
use crate::domain::{ClassId, ImageId};
use crate::imaging::Augmentation;
use crate::jobs::JobContext;
use crate::models::{self, InferenceModel, Model, TrainableSet, stack};

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

/// The image itself, unchanged.
const PLAIN: u32 = 0;

/// Hands batches to a phase: pixels, or the activations of its frozen layers where those are kept.
pub(super) struct Feed<'a> {
    pixels: &'a dyn PixelSource,
    size: u32,
    device: Device,
    augmentation: Augmentation,
    /// Variants of a training image that are kept; the epochs take turns with them.
    variants: u32,
    seed: u64,
    /// The first stage that learns.
    first_stage: usize,
    kept: Option<Activations>,
    /// The frozen layers, where something comes before the first stage that learns.
    frozen: Option<InferenceModel>,
}

impl<'a> Feed<'a> {
    /// A feed of whole images.
    pub fn of_pixels(pixels: &'a dyn PixelSource, model: &Model) -> Self {
        Self {
            pixels,
            size: model.size,
            device: model.variables.device(),
            augmentation: Augmentation::default(),
            variants: 1,
            seed: 0,
            first_stage: 0,
            kept: None,
            frozen: None,
        }
    }

    /// The feed of a phase that trains `set`. Where frozen layers come first and the cache folder has room,
    /// their activations for all images of the phase are computed, or found, and kept. `as_before` says whether
    /// they were when this phase was begun, where it goes on after an interruption: what enters the layers
    /// must not hang on the room on the disk of now.
    pub fn for_phase(
        model: &Model,
        set: &TrainableSet,
        plan: &Plan,
        data: &TrainData<'a>,
        as_before: Option<bool>,
        context: &JobContext,
    ) -> Result<(Self, Option<CacheUse>), TrainError> {
        let mut feed = Self {
            first_stage: set.first_stage,
            augmentation: plan.augmentation,
            variants: plan.cached_variants,
            seed: plan.seed,
            frozen: (set.first_stage > 0)
                .then(|| model.optimize_for_inference(models::Precision::Full)),
            ..Self::of_pixels(data.pixels, model)
        };
        let folder = data.cache.as_deref();
        let (Some(folder), Some(body), true) = (folder, &feed.frozen, plan.cache_activations)
        else {
            return Ok((feed, None));
        };
        let kept_of_each = if plan.augmentation.is_none() {
            PLAIN..=PLAIN
        } else {
            1..=plan.cached_variants
        };
        let learned = data
            .train
            .iter()
            .flat_map(|e| kept_of_each.clone().map(move |v| (e.image, v)));
        let measured = data.validation.iter().map(|e| (e.image, PLAIN));
        let variants: Vec<Variant> = learned.chain(measured).collect();
        let started = Instant::now();
        let estimate = Activations::estimate(model, set, folder, variants.len());
        let mut used = CacheUse {
            estimate,
            used: as_before.unwrap_or_else(|| estimate.fits()),
            computed: 0,
            seconds: 0.0,
        };
        if used.used {
            let mut kept = Activations::open(model, set, folder)?;
            let read = |variant: Variant| feed.variant(variant);
            used.computed = kept.fill(body, &variants, &read, context)?;
            used.seconds = started.elapsed().as_secs_f64();
            if kept.holds(&variants) {
                feed.kept = Some(kept);
            }
        }
        Ok((feed, Some(used)))
    }

    /// Whether it reads kept activations.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// What enters stage [`Feed::stage`] for images that are learned from: changed at random where the plan
    /// says so, by seed, image and epoch alone.
    pub fn training(&self, examples: &[Example], epoch: usize) -> Tensor {
        if self.augmentation.is_none() {
            return self.plain(examples);
        }
        let number = |e: &Example| {
            if self.kept.is_some() {
                // Neighbours in a batch are at different variants.
                1 + (epoch as u64 + u64::from(e.image.0)).rem_euclid(u64::from(self.variants))
                    as u32
            } else {
                epoch as u32
            }
        };
        let variants: Vec<Variant> = examples.iter().map(|e| (e.image, number(e))).collect();
        self.batch(&variants)
    }

    /// What enters stage [`Feed::stage`] for images that are measured on: never changed.
    pub fn plain(&self, examples: &[Example]) -> Tensor {
        let variants: Vec<Variant> = examples.iter().map(|e| (e.image, PLAIN)).collect();
        self.batch(&variants)
    }

    fn batch(&self, variants: &[Variant]) -> Tensor {
        if let Some(kept) = &self.kept {
            return kept.batch(variants);
        }
        let pixels: Vec<Vec<u8>> = variants.iter().map(|v| self.variant(*v)).collect();
        let images = stack(pixels.iter().map(|p| &p[..]), self.size, self.device);
        let Some(body) = &self.frozen else {
            return images;
        };
        // Rounded as what is kept is, so that a training does not depend on the room on the disk.
        body.run(&images, 0..self.first_stage)
            .to_kind(Kind::Half)
            .to_kind(Kind::Float)
    }

    /// The pixels of a variant of an image.
    fn variant(&self, (image, number): Variant) -> Vec<u8> {
        let pixels = self.pixels.pixels(image);
        if number == PLAIN {
            return pixels.to_vec();
        }
        let mut changed = vec![0; pixels.len()];
        let seed = mix(self.seed, image.index(), number as usize);
        self.augmentation
            .apply(pixels, self.size, seed, &mut changed);
        changed
    }

    /// The stage that a batch enters.
    pub fn stage(&self) -> usize {
        self.first_stage
    }
}

/// A number that follows from three (SplitMix64's finaliser, Steele et al. 2014).
pub(super) fn mix(seed: u64, a: usize, b: usize) -> u64 {
    let mut z = seed ^ ((a as u64) << 32) ^ b as u64;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
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

    struct Ramp;

    impl PixelSource for Ramp {
        fn pixels(&self, _: ImageId) -> &[u8] {
            const PIXELS: [u8; 32 * 32] = {
                let mut pixels = [0; 32 * 32];
                let mut i = 0;
                while i < pixels.len() {
                    pixels[i] = (i % 251) as u8;
                    i += 1;
                }
                pixels
            };
            &PIXELS
        }
    }

    #[test]
    fn only_images_that_are_learned_from_are_ever_changed() {
        let model = Model::new("cnn03", 32, 2, 1, Device::Cpu).expect("built");
        let set = model.spec.trainable_set("all").expect("a part");
        let plan = Plan {
            size: 32,
            augmentation: Augmentation::study(),
            ..Plan::default()
        };
        let example = |i| Example {
            image: ImageId(i),
            class: ClassId(0),
        };
        let (train, validation) = ([example(0), example(1)], [example(2)]);
        let data = TrainData {
            pixels: &Ramp,
            classes: vec!["one".into(), "two".into()],
            train: train.to_vec(),
            validation: validation.to_vec(),
            test: Vec::new(),
            cache: None,
            checkpoints: None,
        };
        let context = JobContext::detached();
        let (feed, _) = Feed::for_phase(&model, set, &plan, &data, None, &context).expect("a feed");
        let same = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]) == 0.0;
        let plain = stack([Ramp.pixels(ImageId(0))].into_iter(), 32, Device::Cpu);
        assert!(same(&feed.plain(&validation), &plain));
        let epoch = |n| feed.training(&train[..1], n);
        assert!(!same(&epoch(1), &plain) && !same(&epoch(1), &epoch(2)));
        assert!(same(&epoch(1), &epoch(1)));
        assert!(!same(&epoch(1), &feed.training(&train[1..], 1)));
    }
}
