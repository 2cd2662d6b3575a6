//! What the registry says of an architecture, without building it.

use serde::Serialize;

use super::{
    Builder, Network, Preprocessing, REGISTRY, Role, StageWork, Variable, weights::WeightsError,
};

/// A part of a network that is trained while everything else is frozen.
#[derive(Clone, Copy, Debug)]
pub struct TrainableSet {
    /// `head`, `last_30`, `last_100` or `all`. The numbers are the study's, which counted Keras layers of
    /// InceptionV3; other architectures document their equivalent.
    pub name: &'static str,
    /// Nothing before this stage is trained, so its input can be computed once; the number of stages when
    /// only the head is trained.
    pub first_stage: usize,
    /// Whether the variable of this name belongs to it.
    pub contains: fn(name: &str) -> bool,
}

impl TrainableSet {
    /// Everything.
    pub const ALL: Self = Self {
        name: "all",
        first_stage: 0,
        contains: |_| true,
    };
}

/// One row of the registry.
pub struct ModelSpec {
    /// The name in plans and on the command line.
    pub name: &'static str,
    /// Layers in a few words.
    pub summary: &'static str,
    /// Side of the input in the study, pixels.
    pub study_px: u32,
    /// Smallest side of the input, pixels.
    pub smallest_px: u32,
    /// The side of the input is a multiple of this, pixels.
    pub multiple_px: u32,
    /// Channels that its first layer reads: 1, or 3 with the gray values repeated.
    pub channels: i64,
    /// Whether its layers learn in bf16 where the processor has it, with fp32 master weights.
    pub learns_in_bf16: bool,
    /// What its weights expect unless they say otherwise.
    pub preprocessing: Preprocessing,
    /// Parts that can be trained on their own, the smallest first; the last is `all`.
    pub trainable_sets: &'static [TrainableSet],
    /// Names of the sets that the study trained one after another.
    pub phases: &'static [&'static str],
    /// Name of the last layer, the only one that depends on the number of classes.
    pub head: &'static str,
    pub(super) build: fn(builder: &mut Builder<'_>, size: u32, classes: usize) -> Box<dyn Network>,
}

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
    #[error(
        "{name} cannot work at {size} px: its layers leave nothing of so small an image; give it {smallest} px or more"
    )]
    TooSmall {
        /// The model.
        name: &'static str,
        /// The size asked for.
        size: u32,
        /// The least it can do with.
        smallest: u32,
    },
    /// The input cannot be cut into whole patches.
    #[error(
        "{name} cannot work at {size} px: it reads patches of {multiple} px, so give it a multiple of that, such as {near} px"
    )]
    NotAMultiple {
        /// The model.
        name: &'static str,
        /// The size asked for.
        size: u32,
        /// Side of a patch.
        multiple: u32,
        /// The nearest size that would do.
        near: u32,
    },
    /// No part of that name can be trained on its own.
    #[error("{model} has no trainable part {name:?}; there are {known}")]
    UnknownSet {
        /// The model.
        model: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A weights file that does not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
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
            .ok_or_else(|| {
                let known: Vec<&str> = REGISTRY.iter().map(|spec| spec.name).collect();
                ModelError::Unknown {
                    name: name.to_owned(),
                    known: known.join(", "),
                }
            })
    }

    /// The part of that name.
    ///
    /// # Errors
    /// [`ModelError::UnknownSet`] with the names there are.
    pub fn trainable_set(&self, name: &str) -> Result<&'static TrainableSet, ModelError> {
        let sets = self.trainable_sets;
        sets.iter().find(|set| set.name == name).ok_or_else(|| {
            let known: Vec<&str> = sets.iter().map(|set| set.name).collect();
            ModelError::UnknownSet {
                model: self.name,
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
    }

    /// Whether it can read square images of `size` pixels.
    ///
    /// # Errors
    /// [`ModelError::TooSmall`], [`ModelError::NotAMultiple`].
    pub fn check_size(&self, size: u32) -> Result<(), ModelError> {
        if size < self.smallest_px {
            return Err(ModelError::TooSmall {
                name: self.name,
                size,
                smallest: self.smallest_px,
            });
        }
        if !size.is_multiple_of(self.multiple_px) {
            let below = size / self.multiple_px * self.multiple_px;
            let near = if size - below > self.multiple_px / 2 {
                below + self.multiple_px
            } else {
                below
            };
            return Err(ModelError::NotAMultiple {
                name: self.name,
                size,
                multiple: self.multiple_px,
                near,
            });
        }
        Ok(())
    }

    /// Its variables for square inputs of `size` pixels and `classes` classes, in the order of its layers.
    /// Nothing is built and no memory taken.
    ///
    /// # Errors
    /// As [`ModelSpec::check_size`].
    pub fn variables(&self, size: u32, classes: usize) -> Result<Vec<Variable>, ModelError> {
        self.check_size(size)?;
        let mut builder = Builder::on_paper();
        drop((self.build)(&mut builder, size, classes));
        Ok(builder.into_declared())
    }

    /// Number of parameters for square inputs of `size` pixels and `classes` classes, batch-norm
    /// statistics included (Keras' counting), without building it.
    ///
    /// # Errors
    /// As [`ModelSpec::check_size`].
    pub fn parameters(&self, size: u32, classes: usize) -> Result<u64, ModelError> {
        Ok(count_parameters(&self.variables(size, classes)?))
    }

    /// Parameters that `set` trains, for square inputs of `size` pixels and `classes` classes.
    ///
    /// # Errors
    /// As [`ModelSpec::check_size`].
    pub fn trainable_parameters(
        &self,
        size: u32,
        classes: usize,
        set: &TrainableSet,
    ) -> Result<u64, ModelError> {
        Ok(count_trainable(&self.variables(size, classes)?, set))
    }

    /// What each stage of the body does with one image of `size` pixels, and then the last layer. Nothing
    /// is built and nothing run.
    ///
    /// # Errors
    /// As [`ModelSpec::check_size`].
    pub fn work(&self, size: u32, classes: usize) -> Result<Vec<StageWork>, ModelError> {
        self.check_size(size)?;
        let network = (self.build)(&mut Builder::on_paper(), size, classes);
        let mut work = network.work(size);
        let classes = classes as u64;
        work.push(StageWork {
            multiply_adds: network.embedding_dim() as u64 * classes,
            outputs: classes,
        });
        Ok(work)
    }

    /// Name, input and counts at `size` pixels.
    ///
    /// # Errors
    /// As [`ModelSpec::check_size`].
    pub fn info(&self, size: u32, classes: usize) -> Result<ModelInfo, ModelError> {
        let variables = self.variables(size, classes)?;
        let phases = self.phases.iter().map(|phase| {
            let set = self.trainable_set(phase)?;
            Ok(count_trainable(&variables, set))
        });
        Ok(ModelInfo {
            name: self.name,
            input_px: size,
            parameters: count_parameters(&variables),
            trainable_by_phase: phases.collect::<Result<_, ModelError>>()?,
            summary: self.summary,
        })
    }
}

/// Keras' counting: what is trained, and the moving statistics of batch norm.
pub(super) fn count_parameters(variables: &[Variable]) -> u64 {
    let counted = variables.iter().filter(|v| v.role != Role::Constant);
    counted.map(Variable::count).sum()
}

/// Parameters of `set` that follow the gradient.
fn count_trainable(variables: &[Variable], set: &TrainableSet) -> u64 {
    let trained = |v: &&Variable| v.role == Role::Trainable && (set.contains)(&v.name);
    variables.iter().filter(trained).map(Variable::count).sum()
}
