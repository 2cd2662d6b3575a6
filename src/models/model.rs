//! A network with its variables.

use std::{ops::Range, path::Path};

use tch::{Device, Tensor, nn};

use super::{
    Adam, Builder, ModelError, ModelSpec, Network, Preprocessing, Role, TrainableSet, Variable,
    build::enter,
    spec::count_parameters,
    weights::{self, LoadReport},
};
use crate::storage::Digest;

/// A built network with its variables.
pub struct Model {
    /// Its row in the registry.
    pub spec: &'static ModelSpec,
    /// Side of the square input, pixels.
    pub size: u32,
    /// Number of classes it tells apart.
    pub classes: usize,
    /// Its variables, under their published names. Its `trainable_variables` are those of the set last
    /// chosen with [`Model::set_trainable`], all at first.
    pub variables: nn::VarStore,
    /// What its weights expect of the pixels; kept in the weights file.
    pub preprocessing: Preprocessing,
    declared: Vec<Variable>,
    network: Box<dyn Network>,
}

impl Model {
    /// Builds a model with weights drawn from `seed`, distributed as the architecture's authors start
    /// them.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::TooSmall`], [`ModelError::NotAMultiple`].
    pub fn new(
        name: &str,
        size: u32,
        classes: usize,
        seed: u64,
        device: Device,
    ) -> Result<Self, ModelError> {
        Self::build(name, size, classes, Some(seed), device)
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
        let mut model = Self::build(name, size, classes, None, device)?;
        let (digest, preprocessing) = weights::load(path, &model.variables)?;
        if let Some(preprocessing) = preprocessing {
            model.preprocessing = preprocessing;
        }
        Ok((model, digest))
    }

    /// Writes its weights (fp32) and their preprocessing durably and returns the digest of the file.
    ///
    /// # Errors
    /// [`weights::WeightsError::Storage`].
    pub fn save(&self, path: &Path) -> Result<Digest, ModelError> {
        let tensors = self.variables.variables().into_iter().collect();
        Ok(weights::save(path, &tensors, self.preprocessing)?)
    }

    /// Fills the body, and the last layer where it is for the same number of classes, from a file with
    /// published names (see [`weights::load_pretrained`]). What the weights expect of the pixels is, in
    /// this order: `preprocessing`, what the header of the file says under `preprocessing`, or what
    /// weights of this architecture mostly expect.
    ///
    /// # Errors
    /// [`ModelError::Weights`]; the model is unchanged then.
    pub fn load_pretrained(
        &mut self,
        path: &Path,
        preprocessing: Option<Preprocessing>,
    ) -> Result<LoadReport, ModelError> {
        let head = self.spec.head;
        let report = weights::load_pretrained(path, &self.variables, &self.declared, head)?;
        self.preprocessing = preprocessing
            .or(report.preprocessing)
            .unwrap_or(self.spec.preprocessing);
        Ok(report)
    }

    fn build(
        name: &str,
        size: u32,
        classes: usize,
        seed: Option<u64>,
        device: Device,
    ) -> Result<Self, ModelError> {
        let spec = ModelSpec::find(name)?;
        spec.check_size(size)?;
        let variables = nn::VarStore::new(device);
        let mut builder = match seed {
            Some(seed) => Builder::drawn(&variables, seed),
            None => Builder::empty(&variables),
        };
        let network = (spec.build)(&mut builder, size, classes);
        let declared = builder.into_declared();
        Ok(Self {
            spec,
            size,
            classes,
            variables,
            preprocessing: spec.preprocessing,
            declared,
            network,
        })
    }

    /// Number of stages that the body is cut into. What enters stage 0 are images; what leaves the last are
    /// embeddings; what passes between two is worth caching while everything before is frozen.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.network.stages()
    }

    /// Runs some of the stages, one after another. Stage 0 takes images `[batch, 1, size, size]` in
    /// `0..=1`; after the last stage come embeddings `[batch, embedding_dim]`. An empty range returns its
    /// input. `train` puts those batch norms into training mode that are being trained.
    ///
    /// # Panics
    /// When there are fewer stages.
    pub fn run(&self, input: &Tensor, stages: Range<usize>, train: bool) -> Tensor {
        assert!(stages.end <= self.stages(), "one of the model's stages");
        let mut x = if stages.start == 0 && stages.end > 0 {
            self.preprocessing.apply(input, self.spec.channels)
        } else {
            input.shallow_clone()
        };
        for index in stages {
            x = self.network.stage(index, &x, train);
        }
        x
    }

    /// Embeddings `[batch, embedding_dim]` of images `[batch, 1, size, size]` in `0..=1`.
    pub fn embed(&self, images: &Tensor, train: bool) -> Tensor {
        self.run(images, 0..self.stages(), train)
    }

    /// Logits `[batch, classes]` of embeddings; `train` turns on the dropout before the last layer, where
    /// the architecture has one. Its mask comes from libtorch's generator.
    pub fn head(&self, embeddings: &Tensor, train: bool) -> Tensor {
        self.network.head(embeddings, train)
    }

    /// Logits `[batch, classes]` of images `[batch, 1, size, size]` in `0..=1`.
    pub fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        self.head(&self.embed(images, train), train)
    }

    /// One step down the gradient of `loss`, which comes from images this model was just given to
    /// [`run`](Self::run) with `train`. Every variable is one of `adam`'s or requires no gradient.
    pub fn learn(&self, loss: &Tensor, adam: &mut Adam) {
        adam.begin();
        loss.backward();
        self.network.finish_backward(adam);
        adam.finish();
    }

    /// From now on no layer updates itself while it learns, so that gradients can be limited together first.
    pub fn keep_gradients(&mut self) {
        self.network.keep_gradients();
    }

    /// Width of the embedding.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.network.embedding_dim()
    }

    /// Lets the gradient reach exactly the variables of `set`: an optimiser built from
    /// [`Model::variables`] afterwards moves those and no others, and only their batch norms learn.
    pub fn set_trainable(&mut self, set: &TrainableSet) {
        let tensors = self.variables.variables();
        // Entered anew: a store knows no other way to change what it takes for trainable.
        let store = nn::VarStore::new(self.variables.device());
        for variable in &self.declared {
            let wanted = variable.role == Role::Trainable && (set.contains)(&variable.name);
            let tensor = tensors[&variable.name].set_requires_grad(wanted);
            drop(enter(&store, &variable.name, tensor, wanted));
        }
        self.variables = store;
    }

    /// Names of the variables that the gradient reaches now, in the order of `trainable_variables`.
    #[must_use]
    pub fn trainable_names(&self) -> Vec<&str> {
        let tensors = self.variables.variables();
        let reached = |v: &&Variable| tensors[&v.name].requires_grad();
        let names = self.declared.iter().filter(reached);
        names.map(|v| v.name.as_str()).collect()
    }

    /// Its variables, in the order of its layers.
    #[must_use]
    pub fn declared(&self) -> &[Variable] {
        &self.declared
    }

    /// All parameters, batch-norm statistics included (Keras' counting).
    #[must_use]
    pub fn parameters(&self) -> u64 {
        count_parameters(&self.declared)
    }

    /// Parameters that the gradient reaches now.
    #[must_use]
    pub fn trainable_parameters(&self) -> u64 {
        let count = |t: &Tensor| t.numel() as u64;
        self.variables.trainable_variables().iter().map(count).sum()
    }
}
