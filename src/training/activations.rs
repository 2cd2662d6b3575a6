//! What enters the first layer that learns, computed once. Frozen layers give the same answer every
//! epoch; an epoch on kept activations costs only the layers behind them.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Plan, ResolvedPhase, Workload};
use crate::domain::ImageId;
use crate::jobs::JobContext;
use crate::models::{InferenceModel, Model, ModelError, TrainableSet, stack};
use crate::storage::{Digest, IdleRecords, RecordFile, StorageError, digest_parts, hex};

/// Images sent through the frozen layers together.
const BATCH: usize = 16;
/// The largest number in fp16.
const LARGEST_HALF: f64 = 65_504.0;
/// The part of the free disk that may be taken: a half.
const SHARE_OF_FREE: u64 = 2;
/// How the name of the files begins.
const NAME: &str = "activations-";

/// What keeping the activations of a phase takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheEstimate {
    /// Images, each variant counted.
    pub images: usize,
    /// Bytes on disk for all of them.
    pub bytes: u64,
    /// Bytes of that which are there already.
    pub kept: u64,
    /// Bytes that are free there, or would be without what was kept for other trainings.
    pub free: u64,
}

impl CacheEstimate {
    /// Whether there is room for what is missing: at most half of what is free is taken.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.missing() <= Self::budget(self.free)
    }

    /// Bytes that are still to be written.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.bytes.saturating_sub(self.kept)
    }

    /// The most that may be taken of so many free bytes.
    #[must_use]
    pub fn budget(free: u64) -> u64 {
        free / SHARE_OF_FREE
    }
}

/// An image as it enters the network: which one, and which variant of it (0 is the image itself).
pub type Variant = (ImageId, u32);

/// Activations at the freeze boundary of a model, fp16, on disk and mapped; keyed by the frozen weights,
/// the stage, and the pixels.
pub struct Activations {
    stage: usize,
    shape: Vec<i64>,
    file: RecordFile,
    keys: HashMap<Variant, Digest>,
    device: Device,
}

impl Activations {
    /// What keeping `images` at the boundary of `set` would take in `folder`, as if none were kept yet.
    #[must_use]
    pub fn estimate(
        model: &Model,
        set: &TrainableSet,
        folder: &Path,
        images: usize,
    ) -> CacheEstimate {
        let numbers: i64 = shape(model, set.first_stage).iter().product();
        CacheEstimate {
            images,
            bytes: images as u64 * numbers as u64 * 2,
            kept: 0,
            free: free_space(folder) + older_bytes(&others(folder, &file_name(model, set))),
        }
    }

    /// Removes what was kept for other trainings, least recently used first, until what is missing of `estimate`
    /// takes at most half of what is free, and all that is kept at most half of what would be free without it.
    /// Returns the bytes that went; what cannot be removed stays.
    #[must_use]
    pub fn make_room(
        model: &Model,
        set: &TrainableSet,
        folder: &Path,
        estimate: &CacheEstimate,
    ) -> u64 {
        let others = others(folder, &file_name(model, set));
        let mut older = older_bytes(&others);
        let mut gone = 0;
        for other in others {
            let free = free_space(folder);
            let without = free + older + estimate.kept;
            let all = older + estimate.bytes.max(estimate.kept);
            if estimate.missing() <= CacheEstimate::budget(free)
                && all <= CacheEstimate::budget(without)
            {
                break;
            }
            let bytes = other.bytes;
            // Where it stays, the disk tells when it is full.
            if other.remove().unwrap_or(false) {
                older -= bytes;
                gone += bytes;
            }
        }
        gone
    }

    /// Opens the cache for the boundary of `set` in `folder`; what was computed before is found again.
    ///
    /// # Errors
    /// [`StorageError`] when an existing cache cannot be read.
    pub fn open(model: &Model, set: &TrainableSet, folder: &Path) -> Result<Self, StorageError> {
        Self::open_file(model, set, folder, &file_name(model, set))
    }

    /// As [`open`](Self::open), but `None` where nothing is kept yet; nothing is written then.
    ///
    /// # Errors
    /// [`StorageError`] when an existing cache cannot be read.
    pub fn open_existing(
        model: &Model,
        set: &TrainableSet,
        folder: &Path,
    ) -> Result<Option<Self>, StorageError> {
        let name = file_name(model, set);
        let numbers: i64 = shape(model, set.first_stage).iter().product();
        if RecordFile::count_on_disk(folder, &name, numbers as usize * 2) == 0 {
            return Ok(None);
        }
        Self::open_file(model, set, folder, &name).map(Some)
    }

    fn open_file(
        model: &Model,
        set: &TrainableSet,
        folder: &Path,
        name: &str,
    ) -> Result<Self, StorageError> {
        let stage = set.first_stage;
        let shape = shape(model, stage);
        let numbers: i64 = shape.iter().product();
        Ok(Self {
            stage,
            file: RecordFile::open(folder, name, numbers as usize * 2)?,
            shape,
            keys: HashMap::new(),
            device: model.variables.device(),
        })
    }

    /// The stage that these enter.
    #[must_use]
    pub fn stage(&self) -> usize {
        self.stage
    }

    /// Bytes kept of those of `images` that are there already, without computing any; of fewer if stopped. `pixels` is as
    /// for [`fill`](Self::fill), which need not read the pixels of these again.
    pub fn look_up(
        &mut self,
        images: &[Variant],
        pixels: &dyn Fn(Variant) -> Vec<u8>,
        context: &JobContext,
    ) -> u64 {
        let record = self.shape.iter().product::<i64>() as u64 * 2;
        let mut found = 0;
        for variant in images {
            if context.should_stop() {
                break;
            }
            let key = digest_parts([&pixels(*variant)[..]]);
            self.keys.insert(*variant, key);
            found += u64::from(self.file.contains(&key));
        }
        found * record
    }

    /// Sends those of `images` through the frozen layers of `body` that are not kept yet. `pixels` gives the
    /// `size * size` bytes of a variant. Returns how many were computed; fewer than missing if stopped.
    ///
    /// # Errors
    /// [`StorageError`] when the disk is full.
    pub fn fill(
        &mut self,
        body: &InferenceModel,
        images: &[Variant],
        pixels: &dyn Fn(Variant) -> Vec<u8>,
        context: &JobContext,
    ) -> Result<usize, StorageError> {
        let mut made = 0;
        for (at, batch) in images.chunks(BATCH).enumerate() {
            if context.should_stop() {
                break;
            }
            context.report(
                (at * BATCH) as u64,
                images.len() as u64,
                "computing the frozen layers",
            );
            let mut missing: Vec<(Digest, Vec<u8>)> = Vec::new();
            for variant in batch {
                if self.holds(&[*variant]) {
                    continue;
                }
                let bytes = pixels(*variant);
                let key = digest_parts([&bytes[..]]);
                self.keys.insert(*variant, key);
                if !self.file.contains(&key) && missing.iter().all(|(k, _)| *k != key) {
                    missing.push((key, bytes));
                }
            }
            if missing.is_empty() {
                continue;
            }
            let records = tch::no_grad(|| {
                let images = stack(missing.iter().map(|(_, b)| &b[..]), body.size, self.device);
                half_bytes(&body.run(&images, 0..self.stage))
            });
            let length = records.len() / missing.len();
            let keys = missing.iter().map(|(key, _)| *key);
            self.file.append(keys.zip(records.chunks_exact(length)))?;
            made += missing.len();
        }
        Ok(made)
    }

    /// Whether every one of `images` is kept.
    #[must_use]
    pub fn holds(&self, images: &[Variant]) -> bool {
        let kept = |key: &Digest| self.file.contains(key);
        images.iter().all(|v| self.keys.get(v).is_some_and(kept))
    }

    /// The activations of a batch, fp32.
    ///
    /// # Panics
    /// When one of them was never filled in.
    pub fn batch(&self, images: &[Variant]) -> Tensor {
        let mut bytes = Vec::new();
        for variant in images {
            let record = self.file.get(&self.keys[variant]);
            bytes.extend_from_slice(record.expect("filled before it is used"));
        }
        let mut shape = self.shape.clone();
        shape[0] = images.len() as i64;
        // Earlier versions kept what is beyond fp16 as infinite.
        Tensor::from_data_size(&bytes, &shape, Kind::Half)
            .to_device(self.device)
            .to_kind(Kind::Float)
            .clamp(-LARGEST_HALF, LARGEST_HALF)
    }
}

/// The shape of one image's activations before stage `stage`, `[1, …]`.
fn shape(model: &Model, stage: usize) -> Vec<i64> {
    tch::no_grad(|| {
        let side = i64::from(model.size);
        let image = Tensor::zeros([1, 1, side, side], (Kind::Float, model.variables.device()));
        model.run(&image, 0..stage, false).size()
    })
}

/// The name of the cache for the boundary of `set`.
fn file_name(model: &Model, set: &TrainableSet) -> String {
    format!("{NAME}{}", &hex(&frozen_digest(model, set))[..16])
}

/// How many images the caches in `folder` hold for each phase of `plan`, before it is started: whichever images these
/// are, for that is only seen in their pixels. 0 for a phase whose frozen layers an earlier one is still to train. The
/// network is only built where there is a cache of the right kind, and once for as long as the program runs.
///
/// # Errors
/// [`ModelError`] for a plan that names what does not exist, and for weights that do not fit.
pub fn kept_images(plan: &Plan, classes: usize, folder: &Path) -> Result<Vec<usize>, ModelError> {
    let phases = plan.resolved_phases();
    let nothing = vec![0; phases.len()];
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let name = name.strip_suffix(".keys")?;
        name.starts_with(NAME).then(|| name.to_owned())
    });
    let files: Vec<String> = files.collect();
    if files.is_empty() || !plan.cache_activations {
        return Ok(nothing);
    }
    let mut lengths = Vec::new();
    for phase in &phases {
        let work = Workload::new(&plan.model, plan.size, classes, &phase.trainable)?;
        // fp16
        lengths.push(work.boundary as usize * 2);
    }
    let count = |file: &String, length| RecordFile::count_on_disk(folder, file, length);
    let may_be = |length: &usize| files.iter().any(|file| count(file, *length) > 0);
    if !lengths.iter().any(may_be) {
        return Ok(nothing);
    }
    let names = names(plan, &phases, classes)?;
    let counts = names.iter().zip(&lengths).map(|(name, length)| {
        let there = name.as_ref().filter(|name| files.contains(name));
        there.map_or(0, |name| count(name, *length))
    });
    Ok(counts.collect())
}

/// The name of each phase's cache, where it follows from what the plan starts from.
fn names(
    plan: &Plan,
    phases: &[ResolvedPhase],
    classes: usize,
) -> Result<Vec<Option<String>>, ModelError> {
    /// By all that decides them.
    static KNOWN: Mutex<BTreeMap<String, Vec<Option<String>>>> = Mutex::new(BTreeMap::new());
    let parts: Vec<&str> = phases.iter().map(|p| p.trainable.as_str()).collect();
    let file = plan.weights.as_ref().and_then(|file| {
        let facts = fs::metadata(file).ok()?;
        Some((file, facts.len(), facts.modified().ok()))
    });
    let network = (&plan.model, plan.size, classes, plan.seed);
    let key = format!("{network:?} {file:?} {:?} {parts:?}", plan.preprocessing);
    if let Some(names) = KNOWN.lock().get(&key) {
        return Ok(names.clone());
    }
    let mut model = Model::new(&plan.model, plan.size, classes, plan.seed, Device::Cpu)?;
    if let Some(file) = &plan.weights {
        model.load_pretrained(Path::new(file), plan.preprocessing)?;
    }
    let mut names = Vec::new();
    let mut trained: Vec<&TrainableSet> = Vec::new();
    for part in parts {
        let set = model.spec.trainable_set(part)?;
        let moved = |name: &str| trained.iter().any(|before| (before.contains)(name));
        let known = (model.declared().iter()).all(|v| (set.contains)(&v.name) || !moved(&v.name));
        names.push(known.then(|| file_name(&model, set)));
        trained.push(set);
    }
    KNOWN.lock().insert(key, names.clone());
    Ok(names)
}

/// A digest of everything that decides what enters the first stage that learns: the weights that stay as
/// they are, the input's side, and the stage.
fn frozen_digest(model: &Model, set: &TrainableSet) -> Digest {
    let variables = model.variables.variables();
    let mut names: Vec<&String> = variables.keys().filter(|n| !(set.contains)(n)).collect();
    names.sort_unstable();
    let mut parts = vec![
        model.spec.name.as_bytes().to_vec(),
        model.preprocessing.name().as_bytes().to_vec(),
        model.size.to_le_bytes().to_vec(),
        set.first_stage.to_le_bytes().to_vec(),
    ];
    for name in names {
        let tensor = variables[name].to_device(Device::Cpu).to_kind(Kind::Float);
        let tensor = tensor.contiguous();
        let mut bytes = vec![0; tensor.numel() * 4];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        parts.push(name.as_bytes().to_vec());
        parts.push(digest_parts([&bytes[..]]).to_vec());
    }
    digest_parts(parts.iter().map(|part| &part[..]))
}

/// As fp16 has it. What is beyond fp16 becomes the largest number it has: infinite activations would end the training
/// for a reason that has nothing to do with its learning rate.
pub(super) fn to_half(tensor: &Tensor) -> Tensor {
    tensor
        .clamp(-LARGEST_HALF, LARGEST_HALF)
        .to_kind(Kind::Half)
}

fn half_bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = to_half(tensor).to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * 2];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// What is kept in `folder` under another name than `own` and that no training uses, least recently used first.
fn others(folder: &Path, own: &str) -> Vec<IdleRecords> {
    let mut files = RecordFile::idle(folder, NAME);
    files.retain(|file| file.name != own);
    files
}

fn older_bytes(files: &[IdleRecords]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

/// Bytes that go from `folder` when a training needs the room: kept activations that no training uses.
#[must_use]
pub fn kept_bytes(folder: &Path) -> u64 {
    older_bytes(&RecordFile::idle(folder, NAME))
}

/// Bytes free where `folder` is, or will be; 0 where the system does not say.
#[must_use]
pub fn free_space(folder: &Path) -> u64 {
    let mut place = PathBuf::from(folder);
    while !place.exists() && place.pop() {}
    fs4::available_space(&place).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Precision, Preprocessing};
    use crate::training::Phase;

    const SIZE: u32 = 76;

    fn pixels((image, variant): Variant) -> Vec<u8> {
        let value = |p: usize| ((p * 7 + image.index() * 31 + variant as usize * 13) % 251) as u8;
        (0..(SIZE * SIZE) as usize).map(value).collect()
    }

    #[test]
    fn what_is_beyond_fp16_is_the_largest_it_has_and_no_number_stays_none() {
        let values = Tensor::from_slice(&[1e6_f32, -1e6, 65_519.0, 0.1, f32::NAN]);
        let half = to_half(&values).to_kind(Kind::Float);
        let half = Vec::<f32>::try_from(half).expect("values");
        assert_eq!(half[..3], [65_504.0, -65_504.0, 65_504.0]);
        assert!((half[3] - 0.1).abs() < 1e-4 && half[4].is_nan(), "{half:?}");
    }

    #[test]
    fn kept_activations_are_those_of_the_body_and_are_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut model = Model::new("inception_v3", SIZE, 3, 1, Device::Cpu).expect("built");
        let set = model.spec.trainable_set("last_30").expect("a part");
        model.set_trainable(set);
        let images: Vec<Variant> = (0..3)
            .map(|i| (ImageId(i), 0))
            .chain([(ImageId(0), 1)])
            .collect();
        let context = JobContext::detached();
        let body = model.optimize_for_inference(Precision::Full);
        let mut kept = Activations::open(&model, set, folder.path()).expect("opened");
        assert!(!kept.holds(&images));
        assert_eq!(
            kept.fill(&body, &images, &pixels, &context)
                .expect("filled"),
            4
        );
        assert!(kept.holds(&images));
        let whole = tch::no_grad(|| {
            let bytes: Vec<Vec<u8>> = images.iter().map(|v| pixels(*v)).collect();
            let batch = stack(bytes.iter().map(|b| &b[..]), SIZE, Device::Cpu);
            model.run(&batch, 0..kept.stage(), false)
        });
        let difference = (kept.batch(&images) - &whole).abs().max().double_value(&[]);
        let largest = whole.abs().max().double_value(&[]);
        // Half precision keeps 11 bits, and folding a batch norm costs less than the last of them.
        assert!(difference <= largest / 2000.0, "{difference} of {largest}");
        let estimate = Activations::estimate(&model, set, folder.path(), 4);
        assert_eq!(estimate.bytes, whole.numel() as u64 * 2);
        assert!(estimate.free > 0);
        drop(kept);

        let mut again = Activations::open(&model, set, folder.path()).expect("opened");
        assert_eq!(
            again
                .fill(&body, &images, &pixels, &context)
                .expect("filled"),
            0
        );
        drop(again);
        // Other frozen weights, other activations.
        let mut other = Model::new("inception_v3", SIZE, 3, 2, Device::Cpu).expect("built");
        other.set_trainable(set);
        let other_body = other.optimize_for_inference(Precision::Full);
        let mut fresh = Activations::open(&other, set, folder.path()).expect("opened");
        assert_eq!(
            fresh
                .fill(&other_body, &images[..1], &pixels, &context)
                .expect("filled"),
            1
        );
    }

    #[test]
    fn what_was_kept_for_other_trainings_goes_when_room_is_needed() {
        let folder = tempfile::tempdir().expect("a folder");
        let model = Model::new("inception_v3", SIZE, 3, 1, Device::Cpu).expect("built");
        let set = model.spec.trainable_set("last_30").expect("a part");
        let own = file_name(&model, set);
        let write = |name: &str| {
            let mut file = RecordFile::open(folder.path(), name, 1000).expect("opened");
            let record = [0; 1000];
            file.append([(digest_parts([name.as_bytes()]), &record[..])])
                .expect("appended");
            file
        };
        for name in ["activations-old", "activations-new", &own, "embeddings"] {
            drop(write(name));
        }
        let used = write("activations-used");
        assert_eq!(kept_bytes(folder.path()), 3000);
        let free = free_space(folder.path());
        let estimate = Activations::estimate(&model, set, folder.path(), 1);
        // Seemingly large, so that what else is written to the disk meanwhile does not matter.
        let bin = folder.path().join("activations-large.bin");
        drop(write("activations-large"));
        fs::File::create(&bin)
            .and_then(|file| file.set_len(1 << 40))
            .expect("made");
        let with = Activations::estimate(&model, set, folder.path(), 1);
        let older = (with.free - estimate.free).abs_diff(1 << 40);
        assert!(older < 1 << 30, "{older}");
        fs::remove_file(&bin).expect("removed");
        fs::remove_file(bin.with_extension("keys")).expect("removed");
        let make = |bytes| {
            let needed = CacheEstimate { bytes, ..estimate };
            Activations::make_room(&model, set, folder.path(), &needed)
        };
        assert_eq!(make(1), 0);
        // More than any disk has room for takes all that may go, and nothing else.
        let left = |names: &[&str]| {
            let there = |name: &&str| folder.path().join(format!("{name}.bin")).exists();
            assert!(names.iter().all(there), "{names:?}");
        };
        left(&["activations-old", "activations-new"]);
        assert_eq!(make(free * 4), 2000);
        assert_eq!(kept_bytes(folder.path()), 1000);
        left(&[&own, "activations-used", "embeddings"]);
        drop(used);
    }

    #[test]
    fn half_of_the_free_disk_is_the_most_that_is_taken() {
        let estimate = |bytes| CacheEstimate {
            images: 1,
            bytes,
            kept: 0,
            free: 1000,
        };
        assert!(estimate(500).fits() && !estimate(501).fits());
        // What is there already needs no room, however full the disk is.
        let with = |kept, free| CacheEstimate {
            kept,
            free,
            ..estimate(10_000)
        };
        assert!(with(9_500, 1000).fits() && !with(9_499, 1000).fits());
        assert!(with(10_000, 0).fits() && !with(9_999, 0).fits());
        // Records of other images may be there too.
        assert_eq!(with(12_000, 0).missing(), 0);
    }

    #[test]
    fn what_is_kept_is_found_before_a_training_starts() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = Plan {
            model: "inception_v3".to_owned(),
            size: SIZE,
            phases: ["head", "last_30", "head"].map(Phase::of).to_vec(),
            ..Plan::default()
        };
        let kept = |plan: &Plan| kept_images(plan, 3, folder.path()).expect("a plan");
        assert_eq!(kept(&plan), [0, 0, 0]);
        let model = Model::new(&plan.model, SIZE, 3, plan.seed, Device::Cpu).expect("built");
        let body = model.optimize_for_inference(Precision::Full);
        let images: Vec<Variant> = (0..3).map(|i| (ImageId(i), 0)).collect();
        let context = JobContext::detached();
        for (part, n) in [("head", 3), ("last_30", 2)] {
            let set = model.spec.trainable_set(part).expect("a part");
            let none = Activations::open_existing(&model, set, folder.path()).expect("looked");
            assert!(none.is_none());
            let mut cache = Activations::open(&model, set, folder.path()).expect("opened");
            (cache.fill(&body, &images[..n], &pixels, &context)).expect("filled");
            drop(cache);
            let cache = Activations::open_existing(&model, set, folder.path()).expect("looked");
            let mut cache = cache.expect("there");
            let estimate = Activations::estimate(&model, set, folder.path(), 3);
            let found = cache.look_up(&images, &pixels, &context);
            assert_eq!(found, estimate.bytes / 3 * n as u64, "{part}");
            assert_eq!(cache.holds(&images), n == 3);
        }
        // What the third phase finds frozen, the second has trained.
        assert_eq!(kept(&plan), [3, 2, 0]);
        let other = |plan: Plan| assert_eq!(kept(&plan), [0, 0, 0], "{plan:?}");
        let plan = || plan.clone();
        other(Plan { seed: 1, ..plan() });
        other(Plan { size: 75, ..plan() });
        other(Plan {
            cache_activations: false,
            ..plan()
        });
        let preprocessing = Some(Preprocessing::MinusOneToOne);
        let weights = folder.path().join("w.safetensors");
        model.save(&weights).expect("saved");
        let weights = Some(weights.display().to_string());
        // The same weights, now from a file.
        let from_file = Plan {
            weights: weights.clone(),
            seed: 7,
            ..plan()
        };
        assert_eq!(kept(&from_file), [3, 2, 0]);
        other(Plan {
            weights,
            preprocessing,
            ..plan()
        });
    }
}
