//! The architectures, their registry and their weights.
//!
//! To add a model: one file that implements [`Network`], one row in [`REGISTRY`].

mod adam;
mod build;
mod cnn;
mod efficientnet;
mod fast;
mod freed;
mod fused;
mod inception;
mod inference;
mod init;
mod input;
mod layers;
mod model;
pub mod published;
mod spec;
mod tensor_file;
mod values;
mod vit;
pub mod weights;
mod work;

use tch::Tensor;

pub use adam::Adam;
pub use build::{Builder, Role, Variable};
pub use inference::{InferenceModel, Precision};
pub use input::{Preprocessing, stack};
pub use model::Model;
pub use spec::{ModelError, ModelInfo, ModelSpec, TrainableSet};
pub use tch::Device;
pub use tensor_file::TensorFile;
pub use work::StageWork;

/// The GPU if libtorch has one to offer, else the CPU.
#[must_use]
pub fn best_device() -> Device {
    Device::cuda_if_available()
}

/// Threads that libtorch's operators use, from now on and for the whole process.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// Threads that libtorch's operators use now.
#[must_use]
pub fn threads() -> usize {
    adam::threads()
}

/// A network: a body in stages that ends in the embedding, then one linear layer.
pub trait Network: Send {
    /// Number of stages of the body, 1 or more. The cuts are where a frozen body ends, so that what
    /// passes them can be computed once.
    fn stages(&self) -> usize;

    /// Runs one stage. Stage 0 takes images `[batch, channels, size, size]` as its weights want them
    /// ([`Preprocessing`]); the last one returns the activations of the penultimate layer,
    /// `[batch, embedding_dim]`. With `train`, batch norms whose own variables require a gradient learn,
    /// and random layers between such variables drop.
    fn stage(&self, index: usize, input: &Tensor, train: bool) -> Tensor;

    /// Logits `[batch, classes]` from embeddings; the dropout before the last layer, if there is one,
    /// happens here when `train`.
    fn head(&self, embeddings: &Tensor, train: bool) -> Tensor;

    /// Width of the embedding.
    fn embedding_dim(&self) -> usize;

    /// What each stage does with one image of `size` pixels, from the shapes of the layers alone.
    fn work(&self, size: u32) -> Vec<StageWork>;

    /// For layers computed outside autograd: goes on where `loss.backward()` ended, and updates them.
    fn finish_backward(&self, _adam: &mut Adam) {}

    /// From now on every variable's gradient is there to be looked at before it is used: no layer updates
    /// itself.
    fn keep_gradients(&mut self) {}
}

/// Every model there is.
pub static REGISTRY: [ModelSpec; 6] = [
    cnn::CNN01,
    cnn::CNN02,
    cnn::CNN03,
    inception::INCEPTION_V3,
    efficientnet::EFFICIENTNET_V2_S,
    vit::VIT_S14,
];

#[cfg(test)]
mod tests {
    use tch::{Kind, nn::OptimizerConfig as _};

    use super::*;

    const FLOATS: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn parameter_counts_are_those_of_the_study() {
        let counts = |spec: &ModelSpec| {
            let info = spec.info(spec.study_px, 6).expect("large enough");
            (info.parameters, info.trainable_by_phase)
        };
        let counts: Vec<(u64, Vec<u64>)> = REGISTRY.iter().map(counts).collect();
        assert_eq!(
            counts,
            [
                (89_719_878, vec![89_719_878]),
                (43_674_886, vec![43_674_886]),
                (20_171_846, vec![20_171_846]),
                (21_815_078, vec![12_294, 5_168_326, 13_636_358]),
                (20_339_046, vec![7_686, 2_348_166, 6_368_646]),
                // timm counts 22,058,502 too.
                (22_058_502, vec![2_310, 3_553_542, 10_654_470]),
            ]
        );
    }

    #[test]
    fn what_is_built_has_the_variables_that_are_promised() {
        for spec in &REGISTRY {
            let size = spec.smallest_px.max(48).next_multiple_of(spec.multiple_px);
            let mut model = Model::new(spec.name, size, 5, 1, Device::Cpu).expect("built");
            let promised = spec.variables(size, 5).expect("large enough");
            assert_eq!(model.declared(), promised, "{}", spec.name);
            let built = model.variables.variables();
            assert_eq!(built.len(), promised.len(), "{}", spec.name);
            for variable in &promised {
                assert_eq!(
                    built[&variable.name].size(),
                    variable.shape,
                    "{}",
                    spec.name
                );
            }
            let images = Tensor::rand([2, 1, i64::from(size), i64::from(size)], FLOATS);
            let embedded = tch::no_grad(|| model.embed(&images, false));
            assert_eq!(embedded.size(), [2, model.embedding_dim() as i64]);
            assert_eq!(model.head(&embedded, false).size(), [2, 5]);

            for set in spec.trainable_sets {
                model.set_trainable(set);
                let count: u64 = promised
                    .iter()
                    .filter(|v| v.role == Role::Trainable && (set.contains)(&v.name))
                    .map(Variable::count)
                    .sum();
                assert_eq!(
                    model.trainable_parameters(),
                    count,
                    "{} {}",
                    spec.name,
                    set.name
                );
                let grads = model.variables.variables();
                let grads: u64 = grads
                    .values()
                    .filter(|t| t.requires_grad())
                    .map(|t| t.numel() as u64)
                    .sum();
                assert_eq!(grads, count, "{} {}", spec.name, set.name);
            }
            let last = spec.trainable_sets.last().expect("one at least");
            assert_eq!(last.name, "all", "{}", spec.name);
            assert!(
                spec.phases
                    .iter()
                    .all(|phase| spec.trainable_set(phase).is_ok())
            );
            let head = format!("{}.weight", spec.head);
            assert!(promised.iter().any(|v| v.name == head), "{head}");
        }
    }

    /// A step with the gradient moves the variables of the set, the moving statistics of its batch norms,
    /// and nothing else; what enters its first stage is the same for any body behind.
    #[test]
    fn a_step_moves_what_is_trainable_and_nothing_else() {
        for spec in REGISTRY.iter().filter(|spec| spec.phases.len() > 1) {
            let size = spec.smallest_px.max(48).next_multiple_of(spec.multiple_px);
            let mut model = Model::new(spec.name, size, 3, 1, Device::Cpu).expect("built");
            // LayerScale starts so small that a step of what lies behind it is lost in rounding.
            for (name, mut variable) in model.variables.variables() {
                if name.ends_with(".gamma") {
                    tch::no_grad(|| drop(variable.fill_(1.0)));
                }
            }
            // Enough that no block is dropped for all of them.
            let images = Tensor::rand([8, 1, i64::from(size), i64::from(size)], FLOATS);
            let targets = Tensor::from_slice(&[0_i64, 2, 1, 0, 1, 2, 0, 1]);
            for set in spec.trainable_sets {
                model.set_trainable(set);
                let before = weights::snapshot(&model.variables);
                let mut sgd = tch::nn::Sgd::default()
                    .build(&model.variables, 0.1)
                    .expect("built");
                let cached = tch::no_grad(|| model.run(&images, 0..set.first_stage, false));
                let embeddings = model.run(&cached, set.first_stage..model.stages(), true);
                let logits = model.head(&embeddings, true);
                sgd.backward_step(&logits.cross_entropy_for_logits(&targets));
                for (name, now) in model.variables.variables() {
                    let moved = !now.equal(&before[&name]);
                    let role = spec_role(&model, &name);
                    let owner = name
                        .replace("running_mean", "bias")
                        .replace("running_var", "bias");
                    let wanted = match role {
                        Role::Constant => false,
                        Role::Trainable | Role::Statistic => (set.contains)(&owner),
                    };
                    assert_eq!(moved, wanted, "{} {} {name}", spec.name, set.name);
                }
            }
        }
    }

    /// A plan may want it of any network, whether it gains by it or not.
    #[test]
    fn every_network_learns_in_bf16_with_gradients_in_fp32() {
        for spec in &REGISTRY {
            let size = spec.smallest_px.max(48).next_multiple_of(spec.multiple_px);
            let model = Model::new(spec.name, size, 3, 1, Device::Cpu).expect("built");
            let images = Tensor::rand([4, 1, i64::from(size), i64::from(size)], FLOATS);
            let targets = Tensor::from_slice(&[0_i64, 2, 1, 0]);
            let embedded = model.embed(&images.to_kind(Kind::BFloat16), true);
            let logits = model.head(&embedded.to_kind(Kind::Float), true);
            logits.cross_entropy_for_logits(&targets).backward();
            for (name, variable) in model.variables.variables() {
                if !variable.requires_grad() {
                    continue;
                }
                let gradient = variable.grad();
                // A block that was dropped for all images has none.
                if gradient.defined() {
                    assert_eq!(gradient.kind(), Kind::Float, "{} {name}", spec.name);
                    let finite = gradient.isfinite().all().int64_value(&[]);
                    assert_eq!(finite, 1, "{} {name}", spec.name);
                }
            }
        }
    }

    fn spec_role(model: &Model, name: &str) -> Role {
        let declared = model.declared().iter().find(|v| v.name == name);
        declared.expect("every variable is declared").role
    }

    #[test]
    fn the_same_seed_gives_the_same_weights() {
        let images = Tensor::ones([1, 1, 40, 40], FLOATS);
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
        for spec in &REGISTRY {
            let smallest = spec.smallest_px;
            assert!(spec.check_size(smallest).is_ok(), "{}", spec.name);
            let error = spec
                .check_size(smallest - 1)
                .expect_err("too small")
                .to_string();
            assert!(error.contains(&format!("{smallest} px")), "{error}");
        }
    }

    #[test]
    fn a_size_that_leaves_part_of_a_patch_is_refused_with_one_that_does_not() {
        for (size, near) in [(100, "98 px"), (299, "294 px"), (223, "224 px")] {
            let error = Model::new("vit_s14", size, 6, 0, Device::Cpu).err();
            let error = error.expect("not a multiple of 14").to_string();
            assert!(error.contains("14 px") && error.contains(near), "{error}");
        }
    }
}
