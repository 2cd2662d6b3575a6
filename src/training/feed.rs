//! From examples to the tensors that enter the network.

use std::{
    thread::{self, Scope},
    time::Instant,
};

use crossbeam_channel::{self as channel, Sender};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::activations::to_half;
use super::{Activations, CacheUse, Plan, Sampler, TrainData, TrainError, Variant};
use crate::domain::{ClassId, ImageId};
use crate::imaging::Augmentation;
use crate::jobs::JobContext;
use crate::models::{self, InferenceModel, Model, TrainableSet, stack};

/// Where the pixels of an image come from, at the plan's size. They are read on another thread than that of the
/// steps.
pub trait PixelSource: Sync {
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

/// Images as they are learned from, before any tensor: which variant of each, and its pixels.
#[derive(Clone, Copy)]
struct Pictures<'a> {
    source: &'a dyn PixelSource,
    size: u32,
    augmentation: Augmentation,
    /// Variants of a training image that are kept; the epochs take turns with them. None are kept where it is
    /// `None`: then every epoch has variants of its own.
    kept: Option<u32>,
    seed: u64,
}

impl Pictures<'_> {
    /// The variant of an image that is learned from in `epoch`: by image and epoch alone.
    fn learned(&self, image: ImageId, epoch: usize) -> Variant {
        let number = match self.kept {
            _ if self.augmentation.is_none() => PLAIN,
            // Neighbours in a batch are at different variants.
            Some(variants) => {
                1 + (epoch as u64 + u64::from(image.0)).rem_euclid(u64::from(variants)) as u32
            }
            None => epoch as u32,
        };
        (image, number)
    }

    /// The pixels of `variants`, one after the other: changed by seed, image and number alone.
    fn pixels(&self, variants: &[Variant]) -> Vec<u8> {
        let length = (self.size * self.size) as usize;
        let mut all = Vec::with_capacity(variants.len() * length);
        for &(image, number) in variants {
            let pixels = self.source.pixels(image);
            if number == PLAIN {
                all.extend_from_slice(pixels);
                continue;
            }
            let start = all.len();
            all.resize(start + pixels.len(), 0);
            let seed = mix(self.seed, image.index(), number as usize);
            self.augmentation
                .apply(pixels, self.size, seed, &mut all[start..]);
        }
        all
    }

    /// Images that are learned from in `epoch`.
    fn learned_from(&self, examples: &[Example], epoch: usize) -> Pixels {
        self.batch(
            examples
                .iter()
                .map(|e| self.learned(e.image, epoch))
                .collect(),
        )
    }

    fn batch(&self, variants: Vec<Variant>) -> Pixels {
        let bytes = match self.kept {
            Some(_) => Vec::new(),
            None => self.pixels(&variants),
        };
        Pixels { variants, bytes }
    }
}

/// A batch before it is a tensor.
pub(super) struct Pixels {
    variants: Vec<Variant>,
    /// None where what enters the network is kept.
    bytes: Vec<u8>,
}

/// A step's share of an epoch.
pub(super) struct Batch<'a> {
    /// Counted from 0.
    pub step: usize,
    /// What is learned from.
    pub examples: &'a [Example],
    /// The same, as it enters; see [`Feed::input`].
    pub pixels: Pixels,
}

/// Batches in the order of their steps, made one ahead where they take time to make.
pub(super) struct Batches<'a> {
    batches: Box<dyn Iterator<Item = Batch<'a>> + 'a>,
    wanted: Option<Sender<()>>,
}

impl<'a> Batches<'a> {
    /// The next one; waits for it.
    pub fn next(&mut self) -> Option<Batch<'a>> {
        self.batches.next()
    }

    /// Has the one after that made while this one is learned from. Not before its step is sure to be taken: a
    /// pause or a stop leaves the rest unread.
    pub fn make_next(&self) {
        if let Some(wanted) = &self.wanted {
            // Whoever makes them is gone after the last.
            wanted.send(()).unwrap_or_default();
        }
    }
}

/// Hands batches to a phase: pixels, or the activations of its frozen layers where those are kept.
pub(super) struct Feed<'a> {
    pictures: Pictures<'a>,
    device: Device,
    /// The first stage that learns.
    first_stage: usize,
    kept: Option<Activations>,
    /// The frozen layers, where something comes before the first stage that learns.
    frozen: Option<InferenceModel>,
}

impl<'a> Feed<'a> {
    /// A feed of whole images.
    pub fn of_pixels(source: &'a dyn PixelSource, model: &Model) -> Self {
        let pictures = Pictures {
            source,
            size: model.size,
            augmentation: Augmentation::default(),
            kept: None,
            seed: 0,
        };
        Self {
            pictures,
            device: model.variables.device(),
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
        let whole = Self::of_pixels(data.pixels, model);
        let mut feed = Self {
            pictures: Pictures {
                augmentation: plan.augmentation,
                seed: plan.seed,
                ..whole.pictures
            },
            first_stage: set.first_stage,
            frozen: (set.first_stage > 0)
                .then(|| model.optimize_for_inference(models::Precision::Full)),
            ..whole
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
        let mut estimate = Activations::estimate(model, set, folder, variants.len());
        let read = |variant: Variant| feed.pictures.pixels(&[variant]);
        let mut found = None;
        if as_before != Some(false) {
            found = Activations::open_existing(model, set, folder)?;
        }
        if let Some(kept) = &mut found {
            estimate.kept = kept.look_up(&variants, &read, context);
        }
        let mut used = CacheUse {
            estimate,
            used: as_before.unwrap_or_else(|| estimate.fits()),
            computed: 0,
            seconds: 0.0,
            removed: 0,
        };
        if used.used {
            if estimate.fits() {
                used.removed = Activations::make_room(model, set, folder, &estimate);
            }
            let mut kept = match found {
                Some(kept) => kept,
                None => Activations::open(model, set, folder)?,
            };
            used.computed = kept.fill(body, &variants, &read, context)?;
            used.seconds = started.elapsed().as_secs_f64();
            if kept.holds(&variants) {
                feed.pictures.kept = Some(plan.cached_variants);
                feed.kept = Some(kept);
            }
        }
        Ok((feed, Some(used)))
    }

    /// Whether it reads kept activations.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether what the frozen layers make of these images, unchanged, is kept.
    pub fn keeps(&self, examples: &[Example]) -> bool {
        let plain: Vec<Variant> = examples.iter().map(|e| (e.image, PLAIN)).collect();
        self.kept.as_ref().is_some_and(|kept| kept.holds(&plain))
    }

    /// The batches of what is left of an epoch: `size` examples each of `order`, from step `first` on. Pixels are
    /// read, and changed at random where the plan says so, by a thread of `scope`, which ends when the batches are
    /// dropped.
    pub fn batches<'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        order: &'scope [Example],
        size: usize,
        first: usize,
        epoch: usize,
    ) -> Batches<'scope>
    where
        'a: 'scope,
    {
        let pictures = self.pictures;
        let batch = move |(step, examples): (usize, &'scope [Example])| Batch {
            step,
            examples,
            pixels: pictures.learned_from(examples, epoch),
        };
        let batches = order.chunks(size).enumerate().skip(first).map(batch);
        if !self.is_kept() {
            let (made, ready) = channel::bounded(1);
            let (wanted, wants) = channel::bounded(1);
            let ahead = batches.clone();
            let work = move || {
                for batch in ahead {
                    if made.send(batch).is_err() || wants.recv().is_err() {
                        break;
                    }
                }
            };
            let thread = thread::Builder::new().name("pixels ahead".to_owned());
            // A system that gives no thread: each batch is made when its step comes.
            if thread.spawn_scoped(scope, work).is_ok() {
                return Batches {
                    batches: Box::new(ready.into_iter()),
                    wanted: Some(wanted),
                };
            }
        }
        Batches {
            batches: Box::new(batches),
            wanted: None,
        }
    }

    /// What enters stage [`Feed::stage`] for images that are measured on: never changed.
    pub fn plain(&self, examples: &[Example]) -> Tensor {
        let variants = examples.iter().map(|e| (e.image, PLAIN)).collect();
        self.input(&self.pictures.batch(variants))
    }

    /// What enters stage [`Feed::stage`] for a batch.
    pub fn input(&self, batch: &Pixels) -> Tensor {
        if let Some(kept) = &self.kept {
            return kept.batch(&batch.variants);
        }
        let size = self.pictures.size;
        let images = batch.bytes.chunks_exact((size * size) as usize);
        let images = stack(images, size, self.device);
        let Some(body) = &self.frozen else {
            return images;
        };
        // Rounded as what is kept is, so that a training does not depend on the room on the disk.
        to_half(&body.run(&images, 0..self.first_stage)).to_kind(Kind::Float)
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
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering},
    };

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
        let learned = |e: &[Example], n| feed.input(&feed.pictures.learned_from(e, n));
        let epoch = |n| learned(&train[..1], n);
        assert!(!same(&epoch(1), &plain) && !same(&epoch(1), &epoch(2)));
        assert!(same(&epoch(1), &epoch(1)));
        assert!(!same(&epoch(1), &learned(&train[1..], 1)));
    }

    /// Pictures that differ, and how many of them were read.
    struct Counted {
        pictures: Vec<Vec<u8>>,
        read: AtomicUsize,
    }

    impl Counted {
        fn new(n: usize) -> (Self, Vec<Example>) {
            let picture = |i: usize| (0..32 * 32).map(|p| (p * (i + 3) % 251) as u8).collect();
            let example = |i| Example {
                image: ImageId::from(i),
                class: ClassId(0),
            };
            let counted = Self {
                pictures: (0..n).map(picture).collect(),
                read: AtomicUsize::default(),
            };
            (counted, (0..n).map(example).collect())
        }
    }

    impl PixelSource for Counted {
        fn pixels(&self, image: ImageId) -> &[u8] {
            self.read.fetch_add(1, Ordering::Relaxed);
            &self.pictures[image.index()]
        }
    }

    #[test]
    fn epochs_take_turns_with_the_kept_variants_and_what_is_measured_on_is_plain() {
        let folder = tempfile::tempdir().expect("a folder");
        let (pixels, examples) = Counted::new(5);
        let model = Model::new("cnn03", 32, 2, 1, Device::Cpu).expect("built");
        let set = model.spec.trainable_set("head").expect("a part");
        let plan = Plan {
            size: 32,
            augmentation: Augmentation::study(),
            cached_variants: 3,
            ..Plan::default()
        };
        let (train, validation) = examples.split_at(3);
        let data = TrainData {
            pixels: &pixels,
            classes: vec!["one".into(), "two".into()],
            train: train.to_vec(),
            validation: validation.to_vec(),
            test: Vec::new(),
            cache: Some(folder.path().to_owned()),
            checkpoints: None,
        };
        let context = JobContext::detached();
        let (feed, used) =
            Feed::for_phase(&model, set, &plan, &data, None, &context).expect("a feed");
        // Three variants of each image that is learned from, and each of the others as it is.
        assert_eq!(used.map(|u| u.computed), Some(3 * 3 + 2));
        assert!(feed.is_kept() && !feed.keeps(train) && feed.keeps(validation));
        let body = model.optimize_for_inference(models::Precision::Full);
        let through = |variants: &[Variant]| {
            let bytes = feed.pictures.pixels(variants);
            let images = stack(bytes.chunks_exact(32 * 32), 32, Device::Cpu);
            to_half(&tch::no_grad(|| body.run(&images, 0..feed.stage()))).to_kind(Kind::Float)
        };
        let farthest = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
        // libtorch rounds by the size of a batch.
        let same = |a: &Tensor, b: &Tensor| farthest(a, b) < 1e-3;
        let learned = |epoch| feed.input(&feed.pictures.learned_from(&train[..1], epoch));
        for epoch in 1..=6 {
            let now = learned(epoch);
            assert!(same(&now, &learned(epoch + 3)), "{epoch}");
            for other in [epoch + 1, epoch + 2] {
                assert!(!same(&now, &learned(other)), "{epoch} {other}");
            }
        }
        let mut shown: Vec<u32> = (1..=3)
            .map(|epoch| feed.pictures.learned(train[0].image, epoch).1)
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, [1, 2, 3]);
        for number in shown {
            let epoch = (1..=3).find(|e| feed.pictures.learned(train[0].image, *e).1 == number);
            let now = learned(epoch.expect("each once"));
            assert!(same(&now, &through(&[(train[0].image, number)])));
            assert!(!same(&now, &through(&[(train[0].image, PLAIN)])));
        }
        // Validation comes from what is kept, unchanged.
        pixels.read.store(0, Ordering::Relaxed);
        let measured = feed.plain(validation);
        assert_eq!(pixels.read.load(Ordering::Relaxed), 0);
        let plain: Vec<Variant> = validation.iter().map(|e| (e.image, PLAIN)).collect();
        assert!(same(&measured, &through(&plain)));
    }

    fn changing_feed(source: &Counted) -> Feed<'_> {
        let model = Model::new("cnn03", 32, 2, 1, Device::Cpu).expect("built");
        let mut feed = Feed::of_pixels(source, &model);
        feed.pictures.augmentation = Augmentation::study();
        feed.pictures.seed = 7;
        feed
    }

    #[test]
    fn batches_made_ahead_are_those_made_when_their_step_comes() {
        let (source, examples) = Counted::new(23);
        let feed = changing_feed(&source);
        for first in [0, 3, 6] {
            let mut step = first;
            thread::scope(|scope| {
                let mut batches = feed.batches(scope, &examples, 4, first, 5);
                while let Some(batch) = batches.next() {
                    batches.make_next();
                    assert_eq!(batch.step, step);
                    let own = examples.chunks(4).nth(step).expect("a step of the epoch");
                    assert_eq!(batch.examples, own);
                    let direct = feed.pictures.learned_from(own, 5);
                    assert_eq!(batch.pixels.variants, direct.variants);
                    assert_eq!(batch.pixels.bytes, direct.bytes);
                    assert!(feed.input(&batch.pixels).equal(&feed.input(&direct)));
                    step += 1;
                }
            });
            assert_eq!(step, 6);
        }
    }

    #[test]
    fn who_stops_in_the_middle_of_an_epoch_waits_for_one_batch_at_most() {
        let (source, examples) = Counted::new(400);
        let feed = changing_feed(&source);
        let stop = |sure: bool, panics: bool| {
            source.read.store(0, Ordering::Relaxed);
            let ended = catch_unwind(AssertUnwindSafe(|| {
                // A scope ends when its threads have: a hang here is a hang of the training.
                thread::scope(|scope| {
                    let mut batches = feed.batches(scope, &examples, 4, 0, 1);
                    assert_eq!(batches.next().map(|b| b.step), Some(0));
                    batches.make_next();
                    assert_eq!(batches.next().map(|b| b.step), Some(1));
                    if sure {
                        batches.make_next();
                    }
                    assert!(!panics, "a step that fails");
                });
            }));
            assert_eq!(ended.is_err(), panics);
            source.read.load(Ordering::Relaxed)
        };
        // Nothing is read of what nobody wants yet.
        assert_eq!(stop(false, false), 8);
        for panics in [false, true] {
            let read = stop(true, panics);
            assert!(read == 8 || read == 12, "{read}");
        }
    }
}
