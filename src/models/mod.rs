//! The architectures, their registry and their weights.
//!
//! To add a model: one file that implements [`Network`], one row in [`REGISTRY`].

mod adam;
mod cnn;
mod fast;
mod init;
mod input;
mod values;
pub mod weights;

use std::path::Path;

use serde::Serialize;
use tch::{Tensor, nn};

pub use adam::Adam;
pub use init::Initializer;
pub use input::stack;
pub use tch::Device;

use crate::storage::Digest;

/// The GPU if libtorch has one to offer, else the CPU.
#[must_use]
pub fn best_device() -> Device {
    Device::cuda_if_available()
}

/// Threads that libtorch's operators use, from now on and for the whole process.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// A network: everything up to the embedding, then one linear layer.
pub trait Network: Send {
    /// Activations of the penultimate layer, `[batch, embedding_dim]`, from images `[batch, 1, size, size]`
    /// in `0..=1`. `train` turns dropout on and lets batch norm learn.
    fn embed(&self, images: &Tensor, train: bool) -> Tensor;

    /// Logits `[batch, classes]` from embeddings.
    fn head(&self, embeddings: &Tensor) -> Tensor;

    /// Width of the embedding.
    fn embedding_dim(&self) -> usize;

    /// For layers computed outside autograd: goes on where `loss.backward()` ended, and updates them.
    fn finish_backward(&self, _adam: &mut Adam) {}
}

/// One row of the registry.
pub struct ModelSpec {
    /// The name in plans and on the command line.
    pub name: &'static str,
    /// Layers in a few words.
    pub summary: &'static str,
    /// Side of the input in the study, pixels.
    pub study_px: u32,
    parameters: fn(size: u32, classes: usize) -> Option<u64>,
    build: fn(&nn::Path<'_>, size: u32, classes: usize, init: &mut Initializer) -> Box<dyn Network>,
}

/// Every model there is.
pub const REGISTRY: [ModelSpec; 3] = [cnn::CNN01, cnn::CNN02, cnn::CNN03];

/// What `driftscope models` prints of one model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    /// Name in the registry.
    pub name: &'static str,
    /// Side of the square input, pixels.
    pub input_px: u32,
    /// All parameters, batch-norm statistics included (Keras' counting).
    pub parameters: u64,
    /// Parameters that each phase of its plan trains.
    pub trainable_by_phase: Vec<u64>,
    /// Layers in a few words.
    pub summary: &'static str,
}

/// Why a model could not be built or filled.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No such row in the registry.
    #[error("there is no model {name:?}; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The input is smaller than the layers shrink it.
    #[error("{name} cannot work at {size} px: its layers leave nothing of so small an image")]
    TooSmall {
        /// The model.
        name: &'static str,
        /// The size asked for.
        size: u32,
    },
    /// A weights file that does not fit.
    #[error(transparent)]
    Weights(#[from] weights::WeightsError),
}

impl ModelSpec {
    /// The model of that name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the names there are.
    pub fn find(name: &str) -> Result<&'static Self, ModelError> {
        REGISTRY
            .iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| ModelError::Unknown {
                name: name.to_owned(),
                known: REGISTRY.map(|spec| spec.name).join(", "),
            })
    }

    /// Number of parameters for square inputs of `size` pixels and `classes` classes, without building it.
    ///
    /// # Errors
    /// [`ModelError::TooSmall`].
    pub fn parameters(&self, size: u32, classes: usize) -> Result<u64, ModelError> {
        (self.parameters)(size, classes).ok_or(ModelError::TooSmall {
            name: self.name,
            size,
        })
    }

    /// Name, input and counts at `size` pixels.
    ///
    /// # Errors
    /// [`ModelError::TooSmall`].
    pub fn info(&self, size: u32, classes: usize) -> Result<ModelInfo, ModelError> {
        let parameters = self.parameters(size, classes)?;
        Ok(ModelInfo {
            name: self.name,
            input_px: size,
            parameters,
            trainable_by_phase: vec![parameters],
            summary: self.summary,
        })
    }
}

/// A built network with its variables.
pub struct Model {
    /// Its row in the registry.
    pub spec: &'static ModelSpec,
    /// Side of the square input, pixels.
    pub size: u32,
    /// Number of classes it tells apart.
    pub classes: usize,
    /// Its variables, under their published names.
    pub variables: nn::VarStore,
    network: Box<dyn Network>,
}

impl Model {
    /// Builds a model with weights drawn from `seed` (Glorot uniform, biases 0, as in Keras).
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::TooSmall`].
    pub fn new(
        name: &str,
        size: u32,
        classes: usize,
        seed: u64,
        device: Device,
    ) -> Result<Self, ModelError> {
        let spec = ModelSpec::find(name)?;
        spec.parameters(size, classes)?;
        let variables = nn::VarStore::new(device);
        let mut init = Initializer::new(seed);
        let network = (spec.build)(&variables.root(), size, classes, &mut init);
        Ok(Self {
            spec,
            size,
            classes,
            variables,
            network,
        })
    }

    /// Builds a model and fills it from a weights file of its own; also returns the file's digest.
    ///
    /// # Errors
    /// As [`Model::new`], and [`ModelError::Weights`].
    pub fn load(
        name: &str,
        size: u32,
        classes: usize,
        path: &Path,
        device: Device,
    ) -> Result<(Self, Digest), ModelError> {
        let model = Self::new(name, size, classes, 0, device)?;
        let digest = weights::load(path, &model.variables)?;
        Ok((model, digest))
    }

    /// Embeddings `[batch, embedding_dim]` of images `[batch, 1, size, size]` in `0..=1`.
    pub fn embed(&self, images: &Tensor, train: bool) -> Tensor {
        self.network.embed(images, train)
    }

    /// Logits `[batch, classes]` of embeddings.
    pub fn head(&self, embeddings: &Tensor) -> Tensor {
        self.network.head(embeddings)
    }

    /// Logits `[batch, classes]` of images `[batch, 1, size, size]` in `0..=1`.
    pub fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        self.head(&self.embed(images, train))
    }

    /// One step down the gradient of `loss`, which comes from images this model was just given to
    /// [`forward`](Self::forward) with `train`. Every variable is one of `adam`'s or requires no gradient.
    pub fn learn(&self, loss: &Tensor, adam: &mut Adam) {
        adam.begin();
        loss.backward();
        self.network.finish_backward(adam);
        adam.finish();
    }

    /// Width of the embedding.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.network.embedding_dim()
    }

    /// Trainable parameters.
    #[must_use]
    pub fn trainable_parameters(&self) -> u64 {
        let count = |t: &Tensor| t.numel() as u64;
        self.variables.trainable_variables().iter().map(count).sum()
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn parameter_counts_are_those_of_the_study() {
        let counts = REGISTRY.map(|spec| spec.parameters(299, 6).expect("large enough"));
        assert_eq!(counts, [89_719_878, 43_674_886, 20_171_846]);
    }

    #[test]
    fn what_is_built_has_the_parameters_that_are_promised() {
        for spec in &REGISTRY {
            let model = Model::new(spec.name, 48, 5, 1, Device::Cpu).expect("built");
            let promised = spec.parameters(48, 5).expect("large enough");
            assert_eq!(model.trainable_parameters(), promised, "{}", spec.name);
            let images = Tensor::rand([3, 1, 48, 48], (Kind::Float, Device::Cpu));
            let embedded = model.embed(&images, false);
            assert_eq!(embedded.size(), [3, model.embedding_dim() as i64]);
            assert_eq!(model.forward(&images, false).size(), [3, 5]);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_weights() {
        let images = Tensor::ones([1, 1, 40, 40], (Kind::Float, Device::Cpu));
        let logits = |seed| {
            let model = Model::new("cnn03", 40, 6, seed, Device::Cpu).expect("built");
            Vec::<f32>::try_from(model.forward(&images, false).view([-1])).expect("floats")
        };
        assert_eq!(logits(3), logits(3));
        assert_ne!(logits(3), logits(4));
    }

    #[test]
    fn unknown_names_and_tiny_images_are_refused() {
        let unknown = ModelSpec::find("resnet").err().map(|e| e.to_string());
        assert!(unknown.is_some_and(|e| e.contains("cnn01, cnn02, cnn03")));
        assert!(Model::new("cnn03", 20, 6, 0, Device::Cpu).is_err());
        assert!(Model::new("cnn03", 22, 6, 0, Device::Cpu).is_ok());
    }
}
