//! The body of a small network up to its first dense layer, trained on the CPU outside autograd: fused
//! loops instead of libtorch's operators, and weights that are updated while their gradient is in the
//! cache. The same function and the same gradients, in fp32.

use driftscope_kernels::{Conv, Dense, Layout};
use tch::{Device, Kind, Tensor};

use super::{
    Adam,
    adam::threads,
    layers::Layer,
    values::{is_plain, values, values_mut},
};

/// What a forward pass leaves for the backward pass. Its memory is used again by the next step.
#[derive(Default)]
pub(super) struct FastBody {
    images: Option<Tensor>,
    convs: Vec<Step>,
    /// The dense layer's result: a leaf of the graph.
    result: Option<Tensor>,
}

/// One convolution's part of it.
struct Step {
    shape: Conv,
    values: Vec<f32>,
    places: Vec<u8>,
    /// Gradient of the values, but for the last one: there it takes the place of the values.
    gradient: Vec<f32>,
}

impl FastBody {
    /// Whether these layers can be trained here: on the CPU, in fp32, and with every weight to be learnt.
    pub(super) fn serves<'a>(images: &Tensor, layers: impl IntoIterator<Item = &'a Layer>) -> bool {
        images.device() == Device::Cpu
            && images.kind() == Kind::Float
            && layers.into_iter().all(|Layer { weight, bias }| {
                [weight, bias]
                    .into_iter()
                    .all(|t| is_plain(t) && t.requires_grad())
            })
    }

    /// Images `[n, 1, size, size]` through `convs`, each with max pool and ReLU, and `dense`. The result,
    /// before its ReLU, starts a graph of its own; [`backward`](Self::backward) goes on where that one ends.
    pub(super) fn forward(&mut self, images: &Tensor, convs: &[Layer], dense: &Layer) -> Tensor {
        let images = images.contiguous();
        let [n, _, side, _] = images.size()[..] else {
            panic!("images [n, 1, size, size]")
        };
        let n = n as usize;
        let mut side = side as usize;
        if self.convs.is_empty() {
            self.convs = convs
                .iter()
                .enumerate()
                .map(|(i, layer)| {
                    let size = layer.weight.size();
                    // The dense layer reads planes, as the published weights have it; a convolution pixels.
                    let layout = if i + 1 == convs.len() {
                        Layout::Planar
                    } else {
                        Layout::ChannelsLast
                    };
                    let shape = Conv {
                        channels: size[1] as usize,
                        filters: size[0] as usize,
                        side,
                        layout,
                    };
                    side = shape.pooled();
                    Step {
                        shape,
                        values: Vec::new(),
                        places: Vec::new(),
                        gradient: Vec::new(),
                    }
                })
                .collect();
        }
        let mut input = values(&images);
        for (step, layer) in self.convs.iter_mut().zip(convs) {
            let outputs = n * step.shape.outputs();
            step.values.resize(outputs, 0.0);
            step.places.resize(outputs, 0);
            step.shape.forward(
                values(&layer.weight),
                values(&layer.bias),
                input,
                &mut step.values,
                &mut step.places,
                threads(),
            );
            input = &step.values;
        }
        let result =
            shape_of(dense).forward(values(&dense.weight), values(&dense.bias), input, threads());
        let result = Tensor::from_slice(&result)
            .view([n as i64, -1])
            .set_requires_grad(true);
        self.images = Some(images);
        self.result.insert(result).shallow_clone()
    }

    /// Updates all layers, once the graph behind the result of [`forward`](Self::forward) has run backward.
    pub(super) fn backward(&mut self, convs: &[Layer], dense: &Layer, adam: &mut Adam) {
        let (Some(images), Some(result)) = (self.images.take(), self.result.take()) else {
            return;
        };
        let threads = threads();
        let gradient = result.grad().contiguous();
        let (step, slot) = adam.take(&dense.weight);
        let last = self
            .convs
            .last_mut()
            .expect("a small network begins with a convolution");
        shape_of(dense).backward(
            &step,
            values(&gradient),
            values_mut(&mut slot.variable),
            values_mut(&mut slot.mean),
            values_mut(&mut slot.variance),
            &mut last.values,
            threads,
        );
        adam.update(
            &dense.bias,
            values(&gradient.sum_dim_intlist(0, false, Kind::Float)),
        );
        for (i, layer) in convs.iter().enumerate().rev() {
            let (before, behind) = self.convs.split_at_mut(i);
            let step = &behind[0];
            let (input, input_gradient) = match before.last_mut() {
                Some(Step {
                    values, gradient, ..
                }) => {
                    gradient.resize(values.len(), 0.0);
                    (&values[..], Some(&mut gradient[..]))
                }
                None => (values(&images), None),
            };
            let gradient = if behind.len() == 1 {
                &step.values
            } else {
                &step.gradient
            };
            let (weight, bias) = step.shape.backward(
                values(&layer.weight),
                input,
                gradient,
                &step.places,
                input_gradient,
                threads,
            );
            adam.update(&layer.weight, &weight);
            adam.update(&layer.bias, &bias);
        }
    }
}

fn shape_of(dense: &Layer) -> Dense {
    let size = dense.weight.size();
    Dense {
        inputs: size[1] as usize,
        outputs: size[0] as usize,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tch::{Reduction, nn, nn::OptimizerConfig as _};

    use super::*;
    use crate::models::Model;

    /// Grey noise of 8 bits, and a flat square in every second image, where all places of a pool are equal.
    fn images(n: i64, side: i64) -> Tensor {
        let value = |i: i64| {
            let (image, y, x) = (i / (side * side), i / side % side, i % side);
            if image % 2 == 0 && y < side / 2 && x < side / 2 {
                return 0.5;
            }
            let noise = (i as u32).wrapping_mul(2_654_435_761) >> 24;
            noise as f32 / 255.0
        };
        let values: Vec<f32> = (0..n * side * side).map(value).collect();
        Tensor::from_slice(&values).view([n, 1, side, side])
    }

    fn targets(n: i64) -> Tensor {
        Tensor::from_slice(&(0..n).map(|i| i % 4).collect::<Vec<i64>>())
    }

    fn loss(logits: &Tensor) -> Tensor {
        let targets = targets(logits.size()[0]);
        logits.cross_entropy_loss::<Tensor>(&targets, None, Reduction::Mean, -100, 0.0)
    }

    /// The network as the study has it, by libtorch's operators and in the study's order.
    fn study(variables: &HashMap<String, Tensor>, images: &Tensor) -> Tensor {
        let layer = |kind: &str, i: usize| {
            let weight = variables.get(&format!("{kind}{i}.weight"))?;
            Some((weight, &variables[&format!("{kind}{i}.bias")]))
        };
        let mut x = images.shallow_clone();
        for (weight, bias) in (1..).map_while(|i| layer("conv", i)) {
            x = x
                .conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)
                .relu();
            x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        }
        x = x.flatten(1, -1);
        for (weight, bias) in (1..).map_while(|i| layer("dense", i)) {
            x = x.linear(weight, Some(bias)).relu();
        }
        x.linear(&variables["out.weight"], Some(&variables["out.bias"]))
    }

    fn model(name: &str, side: i64) -> Model {
        Model::new(name, side as u32, 4, 3, Device::Cpu).expect("built")
    }

    fn norm(tensor: &Tensor) -> f64 {
        tensor.norm().double_value(&[])
    }

    #[test]
    fn gradients_are_those_of_autograd() {
        for name in ["cnn01", "cnn02", "cnn03"] {
            // Odd sides, whose last row and column no pool reads, and batches that fill no tile.
            for (n, side) in [(1, 40), (5, 41), (8, 43)] {
                let images = images(n, side);
                let model = model(name, side);
                let reference = self::model(name, side);
                let variables = reference.variables.variables();
                let expected = study(&variables, &images);
                loss(&expected).backward();
                let mut adam = Adam::new(model.variables.trainable_variables(), 1e-3);
                let logits = model.forward(&images, true);
                assert!(
                    norm(&(&logits - &expected)) < 1e-5 * norm(&expected),
                    "{name} {side}"
                );
                model.learn(&loss(&logits), &mut adam);
                for (name, variable) in model.variables.variables() {
                    // The first mean is a tenth of the gradient.
                    let (_, slot) = adam.take(&variable);
                    let expected = variables[&name].grad();
                    let wrong = norm(&(&slot.mean * 10.0 - &expected));
                    assert!(
                        wrong < 1e-4 * norm(&expected),
                        "{name} at {side} px: {wrong}"
                    );
                }
            }
        }
    }

    #[test]
    fn twenty_steps_lose_as_libtorch_does() {
        let images = images(6, 41);
        for name in ["cnn01", "cnn02", "cnn03"] {
            let model = model(name, 41);
            let mut adam = Adam::new(model.variables.trainable_variables(), 1e-4);
            let reference = self::model(name, 41);
            let variables = reference.variables.variables();
            let mut libtorch = nn::Adam::default()
                .build(&reference.variables, 1e-4)
                .expect("built");
            for step in 0..20 {
                let ours = loss(&model.forward(&images, true));
                model.learn(&ours, &mut adam);
                let theirs = loss(&study(&variables, &images));
                libtorch.backward_step(&theirs);
                let (ours, theirs) = (ours.double_value(&[]), theirs.double_value(&[]));
                assert!(
                    (ours - theirs).abs() < 1e-4,
                    "{name}, step {step}: {ours}, {theirs}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_learnt_here_is_left_to_autograd() {
        let images = images(2, 40);
        let model = model("cnn02", 40);
        let frozen = &model.variables.variables()["conv1.weight"];
        let before = frozen.copy();
        drop(frozen.set_requires_grad(false));
        let mut adam = Adam::new(model.variables.trainable_variables(), 1e-3);
        model.learn(&loss(&model.forward(&images, true)), &mut adam);
        assert_eq!(norm(&(frozen - before)), 0.0);
        let learnt = &model.variables.variables()["conv2.weight"];
        assert!(norm(&learnt.grad()) > 0.0);
    }
}
