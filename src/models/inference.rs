//! Networks that only answer.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::{Builder, Model, ModelSpec, Network, Preprocessing, freed::KeepFreed};

/// How exactly a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// fp32 throughout.
    Full,
    /// The body in bf16 (8 bits of mantissa); the last layer in fp32.
    BFloat16,
}

impl Precision {
    /// bf16 where the processor multiplies it itself (AVX512-BF16), fp32 elsewhere: emulated bf16 is
    /// slower than fp32.
    #[must_use]
    pub fn fastest(device: Device) -> Self {
        if device == Device::Cpu && has_bf16() {
            Self::BFloat16
        } else {
            Self::Full
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Full => Kind::Float,
            Self::BFloat16 => Kind::BFloat16,
        }
    }
}

/// Whether the processor multiplies bf16 itself (AVX512-BF16).
pub(super) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// A copy of a network that can only be run: batch norms are folded into the convolutions before them,
/// nothing keeps a gradient, and the body may be in bf16.
pub struct InferenceModel {
    /// Its row in the registry.
    pub spec: &'static ModelSpec,
    /// Side of the square input, pixels.
    pub size: u32,
    /// Number of classes it tells apart.
    pub classes: usize,
    /// What its weights expect of the pixels.
    pub preprocessing: Preprocessing,
    /// How exactly it computes.
    pub precision: Precision,
    /// Where it computes.
    pub device: Device,
    network: Box<dyn Network>,
    /// Dropped last, so that all of this is given back.
    _memory: KeepFreed,
}

impl Model {
    /// A copy that can only be run, and faster. Training this one afterwards does not change the copy.
    #[must_use]
    pub fn optimize_for_inference(&self, precision: Precision) -> InferenceModel {
        let network = tch::no_grad(|| {
            let mut builder = Builder::folded(&self.variables, precision.kind());
            (self.spec.build)(&mut builder, self.size, self.classes)
        });
        InferenceModel {
            spec: self.spec,
            size: self.size,
            classes: self.classes,
            preprocessing: self.preprocessing,
            precision,
            device: self.variables.device(),
            network,
            _memory: KeepFreed::new(),
        }
    }
}

impl InferenceModel {
    /// Number of stages, as in [`Model::stages`].
    #[must_use]
    pub fn stages(&self) -> usize {
        self.network.stages()
    }

    /// Runs some of the stages as [`Model::run`] does. What passes between stages has the precision of
    /// the body; embeddings are fp32.
    ///
    /// # Panics
    /// When there are fewer stages.
    pub fn run(&self, input: &Tensor, stages: Range<usize>) -> Tensor {
        assert!(stages.end <= self.stages(), "one of the model's stages");
        if stages.is_empty() {
            return input.shallow_clone();
        }
        tch::no_grad(|| {
            let mut x = if stages.start == 0 {
                self.preprocessing.apply(input, self.spec.channels)
            } else {
                input.shallow_clone()
            };
            x = x.to_kind(self.precision.kind());
            let ends = stages.end == self.stages();
            for index in stages {
                x = self.network.stage(index, &x, false);
            }
            if ends { x.to_kind(Kind::Float) } else { x }
        })
    }

    /// Embeddings `[batch, embedding_dim]` of images `[batch, 1, size, size]` in `0..=1`.
    pub fn embed(&self, images: &Tensor) -> Tensor {
        self.run(images, 0..self.stages())
    }

    /// Logits `[batch, classes]` of embeddings.
    pub fn head(&self, embeddings: &Tensor) -> Tensor {
        tch::no_grad(|| self.network.head(embeddings, false))
    }

    /// Logits `[batch, classes]` of images `[batch, 1, size, size]` in `0..=1`.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.head(&self.embed(images))
    }

    /// Width of the embedding.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.network.embedding_dim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_answers_the_same_and_does_not_follow_training() {
        let model = Model::new("cnn03", 40, 3, 1, Device::Cpu).expect("built");
        let images = Tensor::rand([2, 1, 40, 40], (Kind::Float, Device::Cpu));
        let full = model.optimize_for_inference(Precision::Full);
        let half = model.optimize_for_inference(Precision::BFloat16);
        let logits = tch::no_grad(|| model.forward(&images, false));
        assert!(full.forward(&images).equal(&logits));
        assert_eq!(half.embed(&images).kind(), Kind::Float);
        let error = (half.forward(&images) - &logits).abs().max();
        let error = error.double_value(&[]);
        assert!(error > 0.0 && error < 0.01, "{error}");

        tch::no_grad(|| {
            for mut variable in model.variables.trainable_variables() {
                drop(variable.zero_());
            }
        });
        assert!(full.forward(&images).equal(&logits));
    }
}
