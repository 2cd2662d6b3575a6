//! Declares the variables of a network: with starting values, empty, or only on paper.

use std::collections::HashMap;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor, nn};

use super::{
    init::Start,
    layers::{BatchNorm, BatchNormOptions, Conv, Head, Layer},
};

/// What a variable is to training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows the gradient.
    Trainable,
    /// Moving mean and variance of batch norm: counted as Keras counts, never trained.
    Statistic,
    /// Part of the published files but no parameter of the architecture: neither trained nor counted.
    Constant,
}

/// One variable of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its published name, e.g. `Mixed_7c.branch1x1.conv.weight`.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// What it is to training.
    pub role: Role,
}

impl Variable {
    /// Number of values in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shape.iter().product::<i64>().unsigned_abs()
    }
}

/// Where values come from.
enum Source<'a> {
    /// No memory is taken: the network can only be looked at.
    Paper,
    /// All zero, to be filled from a file.
    Empty(&'a nn::VarStore),
    /// Drawn from a seed.
    Drawn(&'a nn::VarStore, Box<ChaCha8Rng>),
    /// Taken from a built network for inference: batch norm folded, what is not `precise` in this kind.
    Folded(HashMap<String, Tensor>, Kind),
}

/// How a variable is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// In fp32 even where the body is run in less.
    Precise,
    /// Weights of a convolution, channels side by side, which oneDNN reads fastest.
    ChannelsLast,
}

/// Handed to an architecture, which asks it for one variable after another.
pub struct Builder<'a> {
    source: Source<'a>,
    declared: Vec<Variable>,
}

impl<'a> Builder<'a> {
    /// Only notes names and shapes; takes no memory.
    #[must_use]
    pub fn on_paper() -> Self {
        Self::new(Source::Paper)
    }

    /// Registers zeros in `store`, to be filled from a file.
    #[must_use]
    pub fn empty(store: &'a nn::VarStore) -> Self {
        Self::new(Source::Empty(store))
    }

    /// Registers starting values in `store`; the same seed gives the same values.
    #[must_use]
    pub fn drawn(store: &'a nn::VarStore, seed: u64) -> Self {
        let rng = Box::new(ChaCha8Rng::seed_from_u64(seed));
        Self::new(Source::Drawn(store, rng))
    }

    /// Takes the values of `variables` for inference: batch norms are folded into the convolutions before
    /// them, and the body is in `kind`.
    #[must_use]
    pub fn folded(variables: &nn::VarStore, kind: Kind) -> Self {
        Self::new(Source::Folded(variables.variables(), kind))
    }

    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            declared: Vec::new(),
        }
    }

    /// Everything declared so far, in order.
    #[must_use]
    pub fn into_declared(self) -> Vec<Variable> {
        self.declared
    }

    /// A variable that follows the gradient.
    pub(super) fn trainable(&mut self, name: &str, shape: &[i64], start: Start) -> Tensor {
        self.add(name, shape, start, Role::Trainable, Form::Plain)
    }

    /// A variable that follows the gradient and stays in fp32 when the body is run in less.
    pub(super) fn precise(&mut self, name: &str, shape: &[i64], start: Start) -> Tensor {
        self.add(name, shape, start, Role::Trainable, Form::Precise)
    }

    /// `weight` and `bias` (starting at 0) under `name`. `shape` is `[out, in]` or
    /// `[out, in, height, width]`.
    pub(super) fn layer(&mut self, name: &str, shape: &[i64], start: Start) -> Layer {
        Layer {
            weight: self.trainable(&format!("{name}.weight"), shape, start),
            bias: self.trainable(&format!("{name}.bias"), &shape[..1], Start::Constant(0.0)),
        }
    }

    /// The last layer, Glorot uniform, behind dropout of this share. It stays in fp32.
    pub(super) fn head(&mut self, name: &str, classes: usize, width: i64, dropout: f64) -> Head {
        let classes = classes as i64;
        let weight = self.precise(&format!("{name}.weight"), &[classes, width], Start::Glorot);
        let bias = self.precise(&format!("{name}.bias"), &[classes], Start::Constant(0.0));
        Head {
            layer: Layer { weight, bias },
            dropout,
        }
    }

    /// A convolution without bias followed by batch norm: `conv` and `norm` are their names, `shape` is
    /// `[out, in / groups, height, width]`.
    pub(super) fn conv_norm(
        &mut self,
        conv: &str,
        norm: &str,
        shape: [i64; 4],
        start: Start,
        options: BatchNormOptions,
    ) -> Conv {
        let weight = format!("{conv}.weight");
        let weight = self.add(&weight, &shape, start, Role::Trainable, Form::ChannelsLast);
        let norm = self.batch_norm(norm, shape[0], options);
        match self.source {
            Source::Folded(_, kind) => Conv::folded(&weight, &norm, kind),
            _ => Conv::new(weight, norm),
        }
    }

    fn batch_norm(&mut self, name: &str, width: i64, options: BatchNormOptions) -> BatchNorm {
        let scale = if options.scale {
            Role::Trainable
        } else {
            Role::Constant
        };
        let mut add = |part: &str, start: f32, role| {
            let name = format!("{name}.{part}");
            self.add(&name, &[width], Start::Constant(start), role, Form::Precise)
        };
        BatchNorm {
            weight: add("weight", 1.0, scale),
            bias: add("bias", 0.0, Role::Trainable),
            mean: add("running_mean", 0.0, Role::Statistic),
            variance: add("running_var", 1.0, Role::Statistic),
            options,
        }
    }

    fn add(&mut self, name: &str, shape: &[i64], start: Start, role: Role, form: Form) -> Tensor {
        self.declared.push(Variable {
            name: name.to_owned(),
            shape: shape.to_owned(),
            role,
        });
        let (store, values) = match &mut self.source {
            Source::Paper => {
                return Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand(shape, false);
            }
            Source::Folded(variables, kind) => {
                // What a fold reads stays as it is until then.
                let kind = if form == Form::Plain {
                    *kind
                } else {
                    Kind::Float
                };
                let tensor = variables[name].detach().to_kind(kind);
                // Shared with the network that is copied, unless it was converted.
                return if kind == Kind::Float {
                    tensor.copy()
                } else {
                    tensor
                };
            }
            Source::Empty(store) => (store, None),
            Source::Drawn(store, rng) => (store, Some(start.draw(shape, rng))),
        };
        let options = (Kind::Float, store.device());
        let tensor = if form == Form::ChannelsLast {
            Tensor::empty_strided(shape, channels_last_strides(shape), options)
        } else {
            Tensor::empty(shape, options)
        };
        let tensor = tch::no_grad(|| {
            let mut tensor = tensor;
            match values {
                Some(values) => tensor.copy_(&values),
                None => drop(tensor.zero_()),
            }
            tensor
        });
        enter(store, name, tensor, role == Role::Trainable)
    }
}

/// Puts `tensor` into `store` under a name with dots; a trainable one requires a gradient from now on.
pub(super) fn enter(store: &nn::VarStore, name: &str, tensor: Tensor, trainable: bool) -> Tensor {
    let mut path = store.root();
    let mut rest = name;
    while let Some((folder, below)) = rest.split_once('.') {
        path = path.sub(folder);
        rest = below;
    }
    path.add(rest, tensor, trainable)
}

/// Strides that keep the channels of `[n, c, h, w]` side by side.
fn channels_last_strides(shape: &[i64]) -> [i64; 4] {
    let [_, c, h, w] = *shape else {
        unreachable!("only weights of convolutions are laid out so")
    };
    [c * h * w, 1, c * w, c]
}
