//! What enters the first layer that learns, computed once. Frozen layers give the same answer every
//! epoch; an epoch on kept activations costs only the layers behind them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::domain::ImageId;
use crate::jobs::JobContext;
use crate::models::{InferenceModel, Model, TrainableSet, stack};
use crate::storage::{Digest, RecordFile, StorageError, digest_parts, hex};

/// Images sent through the frozen layers together.
const BATCH: usize = 16;
/// The share of the free disk that may be taken.
const SHARE_OF_FREE: f64 = 0.5;

/// What keeping the activations of a phase takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheEstimate {
    /// Images, each variant counted.
    pub images: usize,
    /// Bytes on disk for all of them.
    pub bytes: u64,
    /// Bytes that are free there.
    pub free: u64,
}

impl CacheEstimate {
    /// Whether there is room: at most half of what is free is taken.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.bytes as f64 <= self.free as f64 * SHARE_OF_FREE
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
    /// What keeping `images` at the boundary of `set` would take in `folder`.
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
            free: free_space(folder),
        }
    }

    /// Opens the cache for the boundary of `set` in `folder`; what was computed before is found again.
    ///
    /// # Errors
    /// [`StorageError`] when an existing cache cannot be read.
    pub fn open(model: &Model, set: &TrainableSet, folder: &Path) -> Result<Self, StorageError> {
        let stage = set.first_stage;
        let shape = shape(model, stage);
        let numbers: i64 = shape.iter().product();
        let name = format!("activations-{}", &hex(&frozen_digest(model, set))[..16]);
        Ok(Self {
            stage,
            file: RecordFile::open(folder, &name, numbers as usize * 2)?,
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
        Tensor::from_data_size(&bytes, &shape, Kind::Half)
            .to_device(self.device)
            .to_kind(Kind::Float)
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

fn half_bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor
        .to_device(Device::Cpu)
        .to_kind(Kind::Half)
        .contiguous();
    let mut bytes = vec![0; tensor.numel() * 2];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Bytes free where `folder` is, or will be.
pub(super) fn free_space(folder: &Path) -> u64 {
    let mut place = PathBuf::from(folder);
    while !place.exists() && place.pop() {}
    fs4::available_space(&place).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Precision;

    const SIZE: u32 = 76;

    fn pixels((image, variant): Variant) -> Vec<u8> {
        let value = |p: usize| ((p * 7 + image.index() * 31 + variant as usize * 13) % 251) as u8;
        (0..(SIZE * SIZE) as usize).map(value).collect()
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
    fn half_of_the_free_disk_is_the_most_that_is_taken() {
        let estimate = |bytes| CacheEstimate {
            images: 1,
            bytes,
            free: 1000,
        };
        assert!(estimate(500).fits() && !estimate(501).fits());
    }
}
