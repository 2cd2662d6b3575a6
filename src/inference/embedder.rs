//! Embedding and logits of images, computed once for each (weights, image, size).

use std::{collections::HashMap, path::Path};

use tch::{Device, Kind, Tensor};

use super::local::{self, LocalFeatures};
use crate::domain::Prediction;
use crate::models::{InferenceModel, Model, Precision, stack};
use crate::storage::{Digest, RecordFile, StorageError, digest_parts, hex};

/// A model that remembers what it has seen.
pub struct Embedder {
    model: InferenceModel,
    weights: Digest,
    cache: RecordFile,
    /// Embeddings that stand in for damaged ones on the disk, by key.
    mended: HashMap<Digest, Vec<f32>>,
    /// Local features, where they are wanted and the network has some.
    local: Option<(LocalFeatures, RecordFile)>,
}

/// The local features that an [`Embedder`] remembers.
pub struct LocalMemory {
    cache: RecordFile,
    weights: Digest,
    size: u32,
    /// Places of an image.
    pub positions: usize,
    /// Values of each.
    pub channels: usize,
}

impl LocalMemory {
    /// Those of the image with this content: place after place, rows from the top, each of length 1.
    #[must_use]
    pub fn get(&self, content: &Digest) -> Option<Vec<f32>> {
        let key = key(content, &self.weights, self.size);
        Some(local::read(self.cache.get(&key)?))
    }
}

/// The embeddings that an [`Embedder`] remembers.
pub struct EmbeddingMemory {
    cache: RecordFile,
    mended: HashMap<Digest, Vec<f32>>,
    weights: Digest,
    size: u32,
    /// Width of an embedding.
    pub dim: usize,
}

impl EmbeddingMemory {
    /// That of the image with this content.
    #[must_use]
    pub fn get(&self, content: &Digest) -> Option<Vec<f32>> {
        let key = key(content, &self.weights, self.size);
        if let Some(embedding) = self.mended.get(&key) {
            return Some(embedding.clone());
        }
        let (floats, _) = self.cache.get(&key)?.as_chunks::<4>();
        let floats = floats.iter().take(self.dim);
        Some(floats.map(|b| f32::from_le_bytes(*b)).collect())
    }
}

/// What a model makes of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedImage {
    /// Activations of the penultimate layer, `embedding_dim` of them.
    pub embedding: Vec<f32>,
    /// One per regular class.
    pub logits: Vec<f32>,
}

impl EmbeddedImage {
    /// Whether all of it are numbers: neither infinite nor none at all.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let values = self.embedding.iter().chain(&self.logits);
        values.into_iter().all(|v| v.is_finite())
    }

    /// Softmax of the logits.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        let highest = self
            .logits
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = self.logits.iter().map(|l| (l - highest).exp()).collect();
        let sum: f32 = powers.iter().sum();
        Prediction {
            probabilities: powers.iter().map(|p| p / sum).collect(),
        }
    }
}

impl Embedder {
    /// Copies `model`, whose weights file has the digest `weights`, to run it in `precision`, with a cache
    /// in `folder`. What other precisions answered is kept apart.
    ///
    /// # Errors
    /// [`StorageError`] when an existing cache cannot be read.
    pub fn new(
        model: &Model,
        weights: Digest,
        precision: Precision,
        folder: &Path,
    ) -> Result<Self, StorageError> {
        let rounded = suffix(precision);
        let name = format!("embeddings-{}{rounded}", &hex(&weights)[..16]);
        let floats = model.embedding_dim() + model.classes;
        let cache = RecordFile::open(folder, &name, floats * 4)?;
        Ok(Self {
            model: model.optimize_for_inference(precision),
            weights,
            cache,
            mended: HashMap::new(),
            local: None,
        })
    }

    /// From now on it remembers local features too, in `folder`: about 74 KB an image for InceptionV3 at
    /// 299 px. A network of one stage has none and stays as it is.
    ///
    /// # Errors
    /// [`StorageError`] when an existing cache cannot be read.
    pub fn keep_local(&mut self, folder: &Path) -> Result<(), StorageError> {
        if let Some(local) = LocalFeatures::of(&self.model) {
            let rounded = suffix(self.model.precision);
            let name = format!("local-{}{rounded}", &hex(&self.weights)[..16]);
            let cache = RecordFile::open(folder, &name, local.record_len())?;
            self.local = Some((local, cache));
        }
        Ok(())
    }

    /// Gives up the network and keeps what it remembers of places; none where local features were not kept.
    #[must_use]
    pub fn into_local_memory(self) -> Option<LocalMemory> {
        let (local, cache) = self.local?;
        Some(LocalMemory {
            cache,
            weights: self.weights,
            size: self.model.size,
            positions: local.positions,
            channels: local.channels,
        })
    }

    /// Gives up the network and keeps the embeddings that it remembers.
    #[must_use]
    pub fn into_memory(self) -> EmbeddingMemory {
        EmbeddingMemory {
            dim: self.model.embedding_dim(),
            cache: self.cache,
            mended: self.mended,
            weights: self.weights,
            size: self.model.size,
        }
    }

    /// Side of the square images it reads, pixels.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.model.size
    }

    /// Width of the embedding.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.model.embedding_dim()
    }

    /// What is remembered of the image with this content; nothing where that is no finite numbers, as a damaged disk
    /// may leave it: then the image is to be looked at again.
    #[must_use]
    pub fn cached(&self, content: &Digest) -> Option<EmbeddedImage> {
        let key = self.key(content);
        let record = self.cache.get(&key)?;
        if self
            .local
            .as_ref()
            .is_some_and(|(_, cache)| !cache.contains(&key))
        {
            return None;
        }
        let (floats, _) = record.as_chunks::<4>();
        let mut embedding: Vec<f32> = floats.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let logits = embedding.split_off(self.model.embedding_dim());
        Some(EmbeddedImage { embedding, logits }).filter(EmbeddedImage::is_finite)
    }

    /// Runs the network over a batch of `(content digest, size * size pixels)` and remembers the result.
    ///
    /// # Errors
    /// [`StorageError`] when the cache cannot grow, e.g. because the disk is full.
    pub fn run(&mut self, batch: &[(Digest, &[u8])]) -> Result<Vec<EmbeddedImage>, StorageError> {
        let pixels = batch.iter().map(|(_, pixels)| *pixels);
        let images = stack(pixels, self.model.size, self.model.device);
        let stages = self.model.stages();
        let early = self.model.run(&images, 0..1);
        let embeddings = self.model.run(&early, 1..stages);
        if let Some((local, cache)) = &mut self.local {
            let keys = batch
                .iter()
                .map(|(content, _)| key(content, &self.weights, self.model.size));
            let records: Vec<(Digest, Vec<u8>)> = keys.zip(local.records(&early)).collect();
            cache.append(records.iter().map(|(key, record)| (*key, &record[..])))?;
        }
        let logits = floats(&self.model.head(&embeddings));
        let embeddings = floats(&embeddings);
        let dim = self.model.embedding_dim();
        let rows: Vec<EmbeddedImage> = embeddings
            .chunks(dim)
            .zip(logits.chunks(self.model.classes))
            .map(|(embedding, logits)| EmbeddedImage {
                embedding: embedding.to_vec(),
                logits: logits.to_vec(),
            })
            .collect();
        let records: Vec<(Digest, Vec<u8>)> = batch
            .iter()
            .zip(&rows)
            .map(|((content, _), row)| {
                let values = row.embedding.iter().chain(&row.logits);
                (
                    self.key(content),
                    values.flat_map(|v| v.to_le_bytes()).collect(),
                )
            })
            .collect();
        // Whoever runs an image that is there has found it damaged; what is written once stays.
        for ((key, _), row) in records.iter().zip(&rows) {
            if self.cache.contains(key) {
                self.mended.insert(*key, row.embedding.clone());
            }
        }
        self.cache
            .append(records.iter().map(|(key, record)| (*key, &record[..])))?;
        Ok(rows)
    }

    fn key(&self, content: &Digest) -> Digest {
        key(content, &self.weights, self.model.size)
    }
}

/// Tells the files of precisions apart.
fn suffix(precision: Precision) -> &'static str {
    match precision {
        Precision::Full => "",
        // Counted up when what is rounded, and how, changes.
        Precision::BFloat16 => "-bf16-2",
    }
}

fn key(content: &Digest, weights: &Digest, size: u32) -> Digest {
    digest_parts([&content[..], weights, &size.to_le_bytes()])
}

/// The numbers of logits `[n, classes]`, row by row: computed now, whatever they wait for.
#[must_use]
pub fn answers(logits: &Tensor) -> Vec<f32> {
    floats(logits)
}

pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(Device::Cpu).to_kind(Kind::Float);
    Vec::try_from(tensor.contiguous().view([-1])).expect("fp32 values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::digest;

    #[test]
    fn an_image_is_remembered_across_restarts_and_weights_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let embedder = |weights: &[u8], seed| {
            let model = Model::new("cnn03", 32, 4, seed, Device::Cpu).expect("built");
            Embedder::new(&model, digest(weights), Precision::Full, folder.path()).expect("opened")
        };
        let pixels = vec![100; 32 * 32];
        let content = digest(b"image");
        let mut first = embedder(b"a", 1);
        assert_eq!(first.cached(&content), None);
        let rows = first.run(&[(content, &pixels)]).expect("run");
        let sum: f32 = rows[0].prediction().probabilities.iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
        drop(first);
        assert_eq!(embedder(b"a", 1).cached(&content), Some(rows[0].clone()));
        assert_eq!(embedder(b"b", 2).cached(&content), None);
    }

    #[test]
    fn a_damaged_embedding_is_made_again_and_the_new_one_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let embedder = || {
            let model = Model::new("cnn03", 32, 4, 1, Device::Cpu).expect("built");
            Embedder::new(&model, digest(b"a"), Precision::Full, folder.path()).expect("opened")
        };
        let image = (digest(b"image"), &[100; 32 * 32][..]);
        let whole = embedder().run(&[image]).expect("run").remove(0);
        let files = std::fs::read_dir(folder.path()).expect("listed");
        let mut files = files.map(|entry| entry.expect("there").path());
        let file = files.find(|path| path.extension().is_some_and(|e| e == "bin"));
        let file = file.expect("a cache");
        let mut bytes = std::fs::read(&file).expect("read");
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&file, bytes).expect("written");
        let mut damaged = embedder();
        assert_eq!(damaged.cached(&image.0), None);
        let again = damaged.run(&[image]).expect("run").remove(0);
        assert_eq!(again, whole);
        let remembered = damaged.into_memory().get(&image.0);
        assert_eq!(remembered, Some(whole.embedding));
    }

    #[test]
    fn an_answer_does_not_depend_on_the_batch() {
        let folder = tempfile::tempdir().expect("a folder");
        let model = || Model::new("cnn02", 32, 4, 5, Device::Cpu).expect("built");
        let (a, b) = (vec![10; 32 * 32], vec![200; 32 * 32]);
        let embedder = |weights: &[u8]| {
            let weights = digest(weights);
            Embedder::new(&model(), weights, Precision::Full, folder.path()).expect("opened")
        };
        let (mut alone, mut together) = (embedder(b"1"), embedder(b"2"));
        let one = alone.run(&[(digest(b"a"), &a)]).expect("run");
        let two = together
            .run(&[(digest(b"b"), &b), (digest(b"a"), &a)])
            .expect("run");
        for (x, y) in one[0].logits.iter().zip(&two[1].logits) {
            assert!((x - y).abs() < 1e-5);
        }
    }
}
